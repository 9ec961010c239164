/*
 * MySQL: changes of many sessions in one transaction, in four messages:
 *
 *   START TRANSACTION; the rows, locked in the order of their key; audit rows,
 *   counters, the rows as they are now, and what the counters say; COMMIT
 *
 * So a counter, which all changes of a sixteenth of all sessions wait for, is
 * held for two messages, one of them COMMIT, whatever the number of changes.
 *
 * The order of locks is that of one change by itself but for the audit rows,
 * which come behind the sessions' as those of ends do: nobody else waits for an
 * event id that has just been made. They are not tried twice with the same id.
 */
#include "config.h"

#include "durable_mysql.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "status.h"

/* The places of SQL_SESSION_LOCK_MANY. */
_Static_assert(DURABLE_CHANGES_MAX == 32, "refs in its text");

/* ---- the rows ---- */

static struct durable_change *
change_of(
    struct durable_change *changes, size_t count, const struct sgate_ref *ref)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (memcmp(changes[i].ref, ref, sizeof(*ref)) == 0)
			return &changes[i];
	return NULL;
}

/* The last one fills what is left: a statement has so many places. */
static void
bind_refs(struct sql_run *r, const struct durable_change *changes, size_t count)
{
	size_t i, places = count > 1 ? DURABLE_CHANGES_MAX : 1;

	for (i = 0; i < places; i++)
		sql_bind_blob(
		    r, changes[i < count ? i : count - 1].ref, SGATE_REF_BYTES);
}

static enum sgate_status
take_rows(struct sql_run *r, struct durable_change *changes, size_t count)
{
	struct sgate_session *session;
	struct durable_change *change;
	enum sgate_status status;

	while ((status = sql_step(r)) == SGATE_OK) {
		status = sql_session_read(r, &session);
		if (status != SGATE_OK)
			return status;
		change = change_of(changes, count, &session->ref);
		if (change == NULL || change->session != NULL)
			sgate_session_free(session);
		else
			change->session = session;
	}
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

enum sgate_status
mydb_lock_many(struct durable *d, struct durable_change *changes, size_t count,
    struct sgate_error *err)
{
	const struct mydb *store = (const struct mydb *)d;
	struct sql_run r;
	enum sgate_status status;
	size_t i;

	for (i = 0; i < count; i++)
		changes[i].session = NULL;
	if (count == 0 || count > DURABLE_CHANGES_MAX)
		return sql_misused(d, "lock_many", "none, or too many", err);
	if (!store->in_transaction || store->is_begun)
		return sql_misused(d, "lock_many",
		    "needs a transaction that has just begun", err);
	status = sql_open(&r, d,
	    count > 1 ? SQL_SESSION_LOCK_MANY : SQL_SESSION_LOCK_FREE,
	    "lock_many", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_int(&r, true);
	bind_refs(&r, changes, count);
	status = take_rows(&r, changes, count);
	sql_close(&r);
	for (i = 0; i < count && status != SGATE_OK; i++) {
		sgate_session_free(changes[i].session);
		changes[i].session = NULL;
	}
	return status;
}

/* ---- what becomes of them ---- */

struct storing {
	struct mydb *store;
	struct durable_change *items;
	size_t count;
	size_t changed, groups_count;
	unsigned groups; /* bits: of what is changed */
	bool is_damaged;
	struct sgate_error *err;
};

static const char operation[] = "store_many";

static int
compare_events(const void *a, const void *b)
{
	const struct durable_change *const *left = a, *const *right = b;

	return memcmp((*left)->audit->event_id, (*right)->audit->event_id,
	    DURABLE_EVENT_BYTES);
}

static enum sgate_status
add_audits(struct storing *s, struct buf *sql)
{
	const struct durable_change *items[DURABLE_CHANGES_MAX];
	enum sgate_status status = SGATE_OK;
	struct sql_run r;
	size_t i, count = 0;

	for (i = 0; i < s->count; i++)
		if (s->items[i].audit != NULL)
			items[count++] = &s->items[i];
	qsort(items, count, sizeof(items[0]), compare_events);
	buf_add_text(sql, "INSERT INTO audit (" SQL_AUDIT_COLUMNS ") VALUES");
	for (i = 0; i < count && status == SGATE_OK; i++) {
		sql_collect(&r, &s->store->sql.durable, operation, s->err);
		status = sql_audit_bind(&r, items[i]->audit);
		mydb_add_row(sql, &r, i == 0);
	}
	return status;
}

static void
add_groups(const struct storing *s, struct buf *sql)
{
	const char *before = "grp IN (";
	unsigned group;

	for (group = 0; group < TOKEN_GROUPS; group++) {
		if ((s->groups & 1u << group) == 0)
			continue;
		buf_add_text(sql, before);
		buf_add_uint(sql, group);
		before = ",";
	}
	buf_add_text(sql, ")");
}

/*
 * The text that a statement for one row has, with its values. seq is the
 * group's number, which this transaction has just raised: the first of them.
 */
static enum sgate_status
add_row(struct storing *s, const struct durable_change *change, struct buf *sql)
{
	const char *text = sql_text(&s->store->sql, SQL_SESSION_STORE).sql;
	enum sgate_status status;
	struct sql_run r;
	size_t used = 0;

	sql_collect(&r, &s->store->sql.durable, operation, s->err);
	status = sql_session_bind_store(&r, change->session);
	buf_add_text(sql, "; ");
	for (; *text != '\0' && status == SGATE_OK; text++) {
		if (*text != '?') {
			buf_add_char(sql, *text);
		} else if (used++ == 0) {
			buf_add_text(
			    sql, "(SELECT m.seq FROM meta m WHERE m.grp = ");
			buf_add_uint(sql, token_ref_group(change->ref));
			buf_add_char(sql, ')');
		} else if (used <= r.bound) {
			mydb_add_literal(sql, &r.params[used - 1]);
		}
	}
	return status;
}

static enum sgate_status
make_text(struct storing *s, struct buf *sql)
{
	enum sgate_status status = add_audits(s, sql);
	size_t i;

	buf_add_text(sql, "; UPDATE meta SET seq = seq + 1 WHERE ");
	add_groups(s, sql);
	buf_add_text(sql, " ORDER BY grp");
	for (i = 0; i < s->count && status == SGATE_OK; i++)
		if (s->items[i].audit != NULL)
			status = add_row(s, &s->items[i], sql);
	buf_add_text(sql, "; SELECT grp, seq, store_id, epoch "
			  "FROM meta, store WHERE id = 1 AND ");
	add_groups(s, sql);
	return status;
}

/* grp, seq, store_id, epoch */
static void
take_number(void *arg, MYSQL_ROW row, const unsigned long *lengths)
{
	struct storing *s = arg;
	struct durable_snapshot at;
	unsigned group;
	size_t i;

	if (!mydb_read_counter(row, lengths, &group, &at)) {
		s->is_damaged = true;
		return;
	}
	s->groups_count++;
	for (i = 0; i < s->count; i++)
		if (token_ref_group(s->items[i].ref) == group)
			s->items[i].at = at;
}

static enum sgate_status
send_text(struct storing *s, const struct buf *sql)
{
	static mydb_row_fn *const take[] = {take_number, NULL};
	struct mydb_texts texts = {.sql = sql, .take = take, .arg = s};
	size_t groups = (size_t)__builtin_popcount(s->groups);
	enum sgate_status status;

	status = mydb_enter(s->store, operation, s->err);
	if (status == SGATE_OK)
		status = mydb_fit_time(s->store, operation, s->err);
	if (status == SGATE_OK)
		status = mydb_query_many(s->store, &texts, operation, s->err);
	if (status != SGATE_OK)
		return status;
	/* An audit row and a row each, and the counters. */
	if (s->is_damaged || s->groups_count != groups ||
	    texts.changes != 2 * s->changed + groups)
		return error_set(s->err, SGATE_CORRUPT, MYDB_SOURCE, operation,
		    0,
		    "table meta or store is damaged: look at it with "
		    "`sessgatectl db check`");
	return SGATE_OK;
}

enum sgate_status
mydb_store_many(struct durable *d, struct durable_change *changes, size_t count,
    struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	struct storing s = {
	    .store = store, .items = changes, .count = count, .err = err};
	enum sgate_status status;
	struct buf sql = {0};
	size_t i;

	error_clear(err);
	for (i = 0; i < count && count <= DURABLE_CHANGES_MAX; i++) {
		memset(&changes[i].at, 0, sizeof(changes[i].at));
		if (changes[i].audit == NULL)
			continue;
		if (changes[i].session == NULL)
			return sql_misused(d, operation, "no such row", err);
		s.changed++;
		s.groups |= 1u << token_ref_group(changes[i].ref);
	}
	if (s.changed == 0 || count > DURABLE_CHANGES_MAX)
		return sql_misused(d, operation, "none, or too many", err);
	if (!store->in_transaction || !store->is_begun)
		return sql_misused(d, operation, "needs lock_many before", err);
	status = make_text(&s, &sql);
	if (status == SGATE_OK)
		status = send_text(&s, &sql);
	buf_wipe(&sql);
	return status;
}
