/*
 * MySQL: many new sessions in one transaction, as text: a statement for all
 * rows of a table, and all statements but COMMIT in one message:
 *
 *   START TRANSACTION; audit rows; the users' locks, shared; who is blocked;
 *   sessions; counters and the store's id and epoch
 *
 * Of many, the first few that are blocked are read, whoever they are: mostly
 * those are all. Where there are more, who is among these is a message more.
 *
 * COMMIT is a message of its own although nothing would have to be judged that
 * the server cannot judge: a server that is slow may read a message when nobody
 * waits for it any more. So far that makes rows which are rolled back with the
 * connection: who has no answer knows that nothing was done, and may create the
 * session without the store. With COMMIT in it he would not know, nor find out:
 * a message that was not read yet has no audit row at which to wait for it.
 * Nor would much be gained: measured with one connection, a transaction takes
 * the server and its caller as long with COMMIT in the first message as without
 * (about 400 us; 330 with prepared statements, sent one behind another).
 *
 * The server does not go on behind a statement that it refuses. What it says is
 * judged before COMMIT: rows of somebody who is blocked are rolled back.
 *
 * The order of locks is that of one creation by itself. Those of users are
 * waited for by one that is by itself (is_patient); the index is forced, so
 * that nobody locks what he does not name.
 *
 * Rows go in by when they were made, not as they were handed over: InnoDB
 * leaves a page half empty where one that is earlier comes after one that is
 * later.
 */
#include "config.h"

#include "durable_mysql.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "failpoint.h"
#include "status.h"

/* So many blocked users are read whatever they are called. */
#define BLOCKED_LISTED 32

struct creations {
	struct mydb *store;
	struct durable_creation *items;
	size_t count;
	bool is_patient;
	unsigned locks[DURABLE_CREATIONS_MAX]; /* ascending, each once */
	size_t locks_count;
	size_t locks_had;
	bool has_blocked;
	size_t blocked_read;
	bool is_audited;         /* the audit rows were taken */
	unsigned wanted, groups; /* bits: whose counter is needed, was read */
	bool is_damaged;
	const char *operation;
	struct sgate_error *err;
};

/* ---- in which order ---- */

static int
compare_made(const void *a, const void *b)
{
	const struct sgate_session *left =
	    (*(const struct durable_creation *const *)a)->session;
	const struct sgate_session *right =
	    (*(const struct durable_creation *const *)b)->session;

	if (left->created_ms != right->created_ms)
		return left->created_ms < right->created_ms ? -1 : 1;
	return memcmp(&left->ref, &right->ref, sizeof(left->ref));
}

static int
compare_events(const void *a, const void *b)
{
	const struct durable_creation *const *left = a, *const *right = b;

	return memcmp((*left)->audit->event_id, (*right)->audit->event_id,
	    DURABLE_EVENT_BYTES);
}

static void
sort_items(const struct creations *c,
    int (*compare)(const void *a, const void *b),
    const struct durable_creation *out[DURABLE_CREATIONS_MAX])
{
	size_t i;

	for (i = 0; i < c->count; i++)
		out[i] = &c->items[i];
	qsort(out, c->count, sizeof(out[0]), compare);
}

/* ---- users ---- */

static int
compare_locks(const void *a, const void *b)
{
	const unsigned *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

static void
find_locks(struct creations *c)
{
	size_t found = 0, i;

	for (i = 0; i < c->count; i++) {
		const struct sgate_session *s = c->items[i].session;

		if (s->user[0] != '\0')
			c->locks[found++] = mydb_user_place(
			    bytes_of(s->realm), bytes_of(s->user));
	}
	qsort(c->locks, found, sizeof(c->locks[0]), compare_locks);
	for (i = 0; i < found; i++)
		if (i == 0 || c->locks[i] != c->locks[i - 1])
			c->locks[c->locks_count++] = c->locks[i];
}

/* A creation by itself, of somebody: most are when little is to be done. */
static bool
is_one(const struct creations *c)
{
	return c->count == 1 && c->locks_count == 1;
}

static bool
is_text(const MYSQL_ROW row, const unsigned long *lengths, unsigned column,
    const char *text)
{
	return row[column] != NULL && strlen(text) == lengths[column] &&
	       memcmp(row[column], text, lengths[column]) == 0;
}

static void
take_lock(void *arg, MYSQL_ROW row, const unsigned long *lengths)
{
	struct creations *c = arg;

	(void)row;
	(void)lengths;
	c->locks_had++;
}

/* realm, user_id */
static void
take_blocked(void *arg, MYSQL_ROW row, const unsigned long *lengths)
{
	struct creations *c = arg;
	size_t i;

	c->blocked_read++;
	for (i = 0; i < c->count; i++) {
		if (is_text(row, lengths, 0, c->items[i].session->realm) &&
		    is_text(row, lengths, 1, c->items[i].session->user))
			c->has_blocked = c->items[i].is_blocked = true;
	}
}

/* id, and realm and user_id if he is blocked: add_user() */
static void
take_lock_of_one(void *arg, MYSQL_ROW row, const unsigned long *lengths)
{
	struct creations *c = arg;

	take_lock(c, row, lengths);
	if (row[1] != NULL)
		take_blocked(c, row + 1, lengths + 1);
}

/* grp, seq, store_id, epoch */
static void
take_counter(void *arg, MYSQL_ROW row, const unsigned long *lengths)
{
	struct creations *c = arg;
	struct durable_snapshot at;
	unsigned group;
	size_t i;

	if (!mydb_read_counter(row, lengths, &group, &at)) {
		c->is_damaged = true;
		return;
	}
	if (group < TOKEN_GROUPS)
		c->groups |= 1u << group;
	for (i = 0; i < c->count; i++)
		if (token_ref_group(&c->items[i].session->ref) == group)
			c->items[i].at = at;
}

/* ---- what is sent ---- */

static void
add_bytes(struct buf *sql, const char *text)
{
	struct sql_value value = {.kind = SQL_TEXT, .bytes = bytes_of(text)};

	mydb_add_literal(sql, &value);
}

void
mydb_add_row(struct buf *sql, const struct sql_run *r, bool is_first)
{
	size_t i;

	buf_add_text(sql, is_first ? " (" : ", (");
	for (i = 0; i < r->bound && i < SQL_PARAMS_MAX; i++) {
		if (i > 0)
			buf_add_char(sql, ',');
		mydb_add_literal(sql, &r->params[i]);
	}
	buf_add_char(sql, ')');
}

static enum sgate_status
add_audit(struct creations *c, struct buf *sql)
{
	const struct durable_creation *items[DURABLE_CREATIONS_MAX];
	enum sgate_status status = SGATE_OK;
	struct sql_run r;
	size_t i;

	sort_items(c, compare_events, items);
	buf_add_text(sql, "INSERT INTO audit (" SQL_AUDIT_COLUMNS ") VALUES");
	for (i = 0; i < c->count && status == SGATE_OK; i++) {
		sql_collect(&r, &c->store->sql.durable, c->operation, c->err);
		status = sql_audit_bind(&r, items[i]->audit);
		mydb_add_row(sql, &r, i == 0);
	}
	return status;
}

static enum sgate_status
add_sessions(struct creations *c, struct buf *sql)
{
	const struct durable_creation *items[DURABLE_CREATIONS_MAX];
	enum sgate_status status = SGATE_OK;
	struct sql_run r;
	size_t i;

	sort_items(c, compare_made, items);
	buf_add_text(sql,
	    "INSERT INTO session (" SQL_SESSION_COLUMNS ", data, grp) VALUES");
	for (i = 0; i < c->count && status == SGATE_OK; i++) {
		sql_collect(&r, &c->store->sql.durable, c->operation, c->err);
		status = sql_session_bind(&r, items[i]->session);
		mydb_add_row(sql, &r, i == 0);
	}
	return status;
}

static const char *
lock_clause(const struct creations *c)
{
	if (c->is_patient)
		return "LOCK IN SHARE MODE";
	return c->store->is_mariadb ? "LOCK IN SHARE MODE NOWAIT"
				    : "FOR SHARE NOWAIT";
}

/*
 * One user's lock and whether he is blocked, in one statement: as USER_LOCK of
 * durable_mysql_rows.c the right side is read when the left one is locked.
 */
static void
add_user(const struct creations *c, struct buf *sql)
{
	const struct sgate_session *s = c->items[0].session;

	buf_add_text(sql, "; SELECT l.id, u.realm, u.user_id FROM user_lock l "
			  "LEFT JOIN user_state u ON u.realm = ");
	add_bytes(sql, s->realm);
	buf_add_text(sql, " AND u.user_id = ");
	add_bytes(sql, s->user);
	buf_add_text(sql, " AND u.blocked_ms <> 0 WHERE l.id = ");
	buf_add_uint(sql, c->locks[0]);
	buf_add_char(sql, ' ');
	buf_add_text(sql, lock_clause(c));
}

/* The locks of the users, and then who is blocked. */
static void
add_users(const struct creations *c, struct buf *sql)
{
	size_t i;

	buf_add_text(sql, "; SELECT id FROM user_lock FORCE INDEX (PRIMARY) "
			  "WHERE id IN (");
	for (i = 0; i < c->locks_count; i++) {
		if (i > 0)
			buf_add_char(sql, ',');
		buf_add_uint(sql, c->locks[i]);
	}
	buf_add_text(sql, ") ");
	buf_add_text(sql, lock_clause(c));
	buf_add_text(sql, "; SELECT realm, user_id FROM user_state "
			  "WHERE blocked_ms <> 0 LIMIT ");
	buf_add_uint(sql, BLOCKED_LISTED);
}

/* Which of these are blocked: an index read for each. */
static void
add_blocked(const struct creations *c, struct buf *sql)
{
	const char *before = "(realm = ";
	size_t i;

	buf_add_text(sql, "SELECT realm, user_id FROM user_state "
			  "WHERE blocked_ms <> 0 AND (");
	for (i = 0; i < c->count; i++) {
		const struct sgate_session *s = c->items[i].session;

		if (s->user[0] == '\0')
			continue;
		buf_add_text(sql, before);
		add_bytes(sql, s->realm);
		buf_add_text(sql, " AND user_id = ");
		add_bytes(sql, s->user);
		before = ") OR (realm = ";
	}
	buf_add_text(sql, "))");
}

/* ---- what comes back ---- */

/* Of each statement that gives rows, in the order of make_text(). */
static mydb_row_fn *const *
takes_of(const struct creations *c)
{
	static mydb_row_fn *const of_none[] = {take_counter, NULL};
	static mydb_row_fn *const of_one[] = {
	    take_lock_of_one, take_counter, NULL};
	static mydb_row_fn *const of_many[] = {
	    take_lock, take_blocked, take_counter, NULL};

	if (c->locks_count == 0)
		return of_none;
	return is_one(c) ? of_one : of_many;
}

static enum sgate_status
send_text(struct creations *c, const struct buf *sql, mydb_row_fn *const *take)
{
	struct mydb_texts texts = {.sql = sql, .take = take, .arg = c};
	enum sgate_status status =
	    mydb_query_many(c->store, &texts, c->operation, c->err);

	/* The first one is START TRANSACTION. */
	c->is_audited = c->is_audited || texts.answered >= 2;
	return status;
}

/* Of many, all that there are: 17 rows are read sooner than most are chosen. */
static void
add_counters(struct creations *c, struct buf *sql)
{
	size_t i;

	for (i = 0; i < c->count; i++)
		c->wanted |= 1u << token_ref_group(&c->items[i].session->ref);
	buf_add_text(sql, "; SELECT grp, seq, store_id, epoch "
			  "FROM meta, store WHERE id = 1");
	if (c->count > 1)
		return;
	buf_add_text(sql, " AND grp = ");
	buf_add_uint(sql, token_ref_group(&c->items[0].session->ref));
}

static enum sgate_status
make_text(struct creations *c, struct buf *sql)
{
	enum sgate_status status;

	buf_add_text(sql, "START TRANSACTION; ");
	status = add_audit(c, sql);
	if (is_one(c))
		add_user(c, sql);
	else if (c->locks_count > 0)
		add_users(c, sql);
	buf_add_text(sql, "; ");
	if (status == SGATE_OK)
		status = add_sessions(c, sql);
	add_counters(c, sql);
	return status;
}

/* There are more than were read. */
static enum sgate_status
ask_blocked(struct creations *c)
{
	static mydb_row_fn *const take[] = {take_blocked, NULL};
	enum sgate_status status;
	struct buf sql = {0};

	add_blocked(c, &sql);
	status = send_text(c, &sql, take);
	buf_wipe(&sql);
	return status;
}

/* Before COMMIT nothing is changed: a connection that had ended is made anew.
 */
static enum sgate_status
send_all(struct creations *c)
{
	enum sgate_status status;
	struct buf sql = {0};
	int tries;

	status = make_text(c, &sql);
	for (tries = 1; status == SGATE_OK; tries++) {
		c->locks_had = c->blocked_read = 0;
		status = mydb_fit_time(c->store, c->operation, c->err);
		if (status == SGATE_OK) {
			c->store->is_begun = true;
			status = send_text(c, &sql, takes_of(c));
		}
		if (status == SGATE_OK || tries > 1 ||
		    !mydb_may_open_again(c->store, status))
			break;
		status = mydb_connected(c->store, c->operation, c->err);
	}
	buf_wipe(&sql);
	if (status == SGATE_OK && c->blocked_read >= BLOCKED_LISTED)
		status = ask_blocked(c);
	return status;
}

static enum sgate_status
judge(struct creations *c, enum sgate_status status)
{
	if (status == SGATE_CONFLICT && c->is_audited)
		return error_set(c->err, SGATE_INTERNAL, MYDB_SOURCE,
		    c->operation, 0, "a new random ref is taken already");
	if (status != SGATE_OK)
		return status;
	if (c->locks_had != c->locks_count)
		return error_set(c->err, SGATE_CORRUPT, MYDB_SOURCE,
		    c->operation, 0,
		    "table user_lock lacks rows: `sessgatectl db init` makes "
		    "them");
	if (c->has_blocked)
		return error_set(c->err, SGATE_DENIED, MYDB_SOURCE,
		    c->operation, 0, "a user is blocked");
	if (c->is_damaged || (c->groups & c->wanted) != c->wanted)
		return error_set(c->err, SGATE_CORRUPT, MYDB_SOURCE,
		    c->operation, 0,
		    "table meta or store is damaged: look at it with "
		    "`sessgatectl db check`");
	return status;
}

enum sgate_status
mydb_create_many(struct durable *d, struct durable_creation *creations,
    size_t count, bool is_patient, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	struct creations c = {.store = store,
	    .items = creations,
	    .count = count,
	    .is_patient = is_patient,
	    .operation = "create_many",
	    .err = err};
	enum sgate_status status;
	size_t i;

	for (i = 0; i < count; i++) {
		creations[i].is_blocked = false;
		memset(&creations[i].at, 0, sizeof(creations[i].at));
	}
	if (count == 0 || count > DURABLE_CREATIONS_MAX)
		return sql_misused(d, c.operation, "none, or too many", err);
	if (!store->in_transaction || store->is_begun)
		return sql_misused(d, c.operation,
		    "needs a transaction that has just begun", err);
	find_locks(&c);
	status = mydb_enter(store, c.operation, err);
	if (status == SGATE_OK)
		status = judge(&c, send_all(&c));
	return status;
}
