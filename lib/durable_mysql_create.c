/*
 * MySQL: many new sessions in one transaction, as text: a statement for all
 * rows of a table, and statements in one message as far as nothing between them
 * has to be judged:
 *
 *   1  START TRANSACTION; audit rows; the users' rows, locked shared
 *   2  only with users who have none: their rows, and these read again, locked
 *   3  sessions; counters and the store's id and epoch
 *
 * The order of locks is that of one creation by itself. Users are named in
 * ascending order, so that two who do this wait for one another one way only;
 * the rows' index is forced, so that nobody locks what he does not name.
 */
#include "config.h"

#include "durable_mysql.h"

#include <stdlib.h>
#include <string.h>

#include <errmsg.h>

#include "buf.h"
#include "failpoint.h"
#include "status.h"

struct creations {
	struct mydb *store;
	struct durable_creation *items;
	size_t count;
	/* Those of users, ascending by realm and user, each user once. */
	struct durable_creation *users[DURABLE_CREATIONS_MAX];
	bool has_row[DURABLE_CREATIONS_MAX]; /* of users */
	size_t users_count;
	bool has_blocked;
	unsigned groups; /* bits: whose counter was read */
	bool is_damaged;
	const char *operation;
	struct sgate_error *err;
};

/* ---- users ---- */

static int
compare_users(const struct sgate_session *a, const struct sgate_session *b)
{
	int order = strcmp(a->realm, b->realm);

	return order != 0 ? order : strcmp(a->user, b->user);
}

static int
compare_items(const void *a, const void *b)
{
	const struct durable_creation *const *left = a, *const *right = b;

	return compare_users((*left)->session, (*right)->session);
}

static void
find_users(struct creations *c)
{
	size_t found = 0, i;

	for (i = 0; i < c->count; i++)
		if (c->items[i].session->user[0] != '\0')
			c->users[found++] = &c->items[i];
	qsort(c->users, found, sizeof(c->users[0]), compare_items);
	for (i = 0; i < found; i++)
		if (c->users_count == 0 ||
		    compare_items(
			&c->users[c->users_count - 1], &c->users[i]) != 0)
			c->users[c->users_count++] = c->users[i];
}

static bool
is_text(const MYSQL_ROW row, const unsigned long *lengths, unsigned column,
    const char *text)
{
	return row[column] != NULL && strlen(text) == lengths[column] &&
	       memcmp(row[column], text, lengths[column]) == 0;
}

/* realm, user_id, blocked_ms */
static void
take_user(struct creations *c, MYSQL_ROW row, const unsigned long *lengths)
{
	bool is_blocked = row[2] != NULL && strcmp(row[2], "0") != 0;
	size_t i;

	for (i = 0; i < c->users_count; i++)
		if (is_text(row, lengths, 0, c->users[i]->session->realm) &&
		    is_text(row, lengths, 1, c->users[i]->session->user))
			c->has_row[i] = true;
	if (!is_blocked)
		return;
	c->has_blocked = true;
	for (i = 0; i < c->count; i++)
		if (is_text(row, lengths, 0, c->items[i].session->realm) &&
		    is_text(row, lengths, 1, c->items[i].session->user))
			c->items[i].is_blocked = true;
}

/* grp, seq, store_id, epoch */
static void
take_counter(struct creations *c, MYSQL_ROW row, const unsigned long *lengths)
{
	struct durable_snapshot at = {0};
	uint64_t group = 0, epoch = 0;
	size_t i;

	if (row[0] == NULL || row[1] == NULL || row[2] == NULL ||
	    row[3] == NULL || lengths[2] != sizeof(at.store.id) ||
	    !bytes_to_uint(bytes_of(row[0]), DURABLE_SETTINGS, &group) ||
	    !bytes_to_uint(bytes_of(row[1]), INT64_MAX, &at.counter) ||
	    !bytes_to_uint(bytes_of(row[3]), SQL_EPOCH_MAX, &epoch)) {
		c->is_damaged = true;
		return;
	}
	memcpy(at.store.id, row[2], sizeof(at.store.id));
	at.store.epoch = (unsigned)epoch;
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

static void
add_row(struct buf *sql, const struct sql_run *r, bool is_first)
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
	enum sgate_status status = SGATE_OK;
	struct sql_run r;
	size_t i;

	buf_add_text(sql, "INSERT INTO audit (" SQL_AUDIT_COLUMNS ") VALUES");
	for (i = 0; i < c->count && status == SGATE_OK; i++) {
		sql_collect(&r, &c->store->sql.durable, c->operation, c->err);
		status = sql_audit_bind(&r, c->items[i].audit);
		add_row(sql, &r, i == 0);
	}
	return status;
}

static enum sgate_status
add_sessions(struct creations *c, struct buf *sql)
{
	enum sgate_status status = SGATE_OK;
	struct sql_run r;
	size_t i;

	buf_add_text(sql,
	    "INSERT INTO session (" SQL_SESSION_COLUMNS ", data, grp) VALUES");
	for (i = 0; i < c->count && status == SGATE_OK; i++) {
		sql_collect(&r, &c->store->sql.durable, c->operation, c->err);
		status = sql_session_bind(&r, c->items[i].session);
		add_row(sql, &r, i == 0);
	}
	return status;
}

/* Of those of users who were not found, or of all. */
static void
add_users_read(
    const struct creations *c, struct buf *sql, const char *lock, bool is_rest)
{
	const char *before = "(realm = ";
	size_t i;

	buf_add_text(sql, "; SELECT realm, user_id, blocked_ms FROM user_state "
			  "FORCE INDEX (PRIMARY) WHERE ");
	for (i = 0; i < c->users_count; i++) {
		if (is_rest && c->has_row[i])
			continue;
		buf_add_text(sql, before);
		add_bytes(sql, c->users[i]->session->realm);
		buf_add_text(sql, " AND user_id = ");
		add_bytes(sql, c->users[i]->session->user);
		before = ") OR (realm = ";
	}
	buf_add_text(sql, ") ");
	buf_add_text(sql, lock);
}

static void
add_users_new(const struct creations *c, struct buf *sql)
{
	const char *before = " (";
	size_t i;

	buf_add_text(sql, "INSERT INTO user_state (realm, user_id) VALUES");
	for (i = 0; i < c->users_count; i++) {
		if (c->has_row[i])
			continue;
		buf_add_text(sql, before);
		add_bytes(sql, c->users[i]->session->realm);
		buf_add_char(sql, ',');
		add_bytes(sql, c->users[i]->session->user);
		before = "), (";
	}
	buf_add_text(sql, ") ON DUPLICATE KEY UPDATE user_id = "
			  "user_state.user_id");
}

/* ---- what comes back ---- */

typedef void take_fn(
    struct creations *c, MYSQL_ROW row, const unsigned long *lengths);

/* The rows, if any, are the last statement's; take NULL: there are none. */
static enum sgate_status
send_text(struct creations *c, const struct buf *sql, take_fn *take)
{
	MYSQL *conn = c->store->conn;
	MYSQL_RES *result;
	bool has_rows = false;
	MYSQL_ROW row;
	int more;

	if (buf_failed(sql))
		return error_memory(c->err, c->operation);
	if (mysql_real_query(conn, sql->data, sql->len) != 0)
		return mydb_conn_fail(c->store, c->operation, c->err);
	do {
		result = mysql_store_result(conn);
		if (result == NULL && mysql_errno(conn) != 0)
			return mydb_conn_fail(c->store, c->operation, c->err);
		has_rows |= result != NULL;
		while (take != NULL && result != NULL &&
		       (row = mysql_fetch_row(result)) != NULL)
			take(c, row, mysql_fetch_lengths(result));
		mysql_free_result(result);
		more = mysql_next_result(conn);
	} while (more == 0);
	if (more > 0)
		return mydb_conn_fail(c->store, c->operation, c->err);
	/* The library says nothing when it had no memory for them. */
	if (take != NULL && !has_rows)
		return mydb_fail(c->store, c->operation,
		    CR_COMMANDS_OUT_OF_SYNC, "an answer without rows", c->err);
	return SGATE_OK;
}

/* Nothing was changed yet when the connection had ended before. */
static enum sgate_status
open_with_audit(struct creations *c)
{
	enum sgate_status status;
	struct buf sql = {0};
	int tries;

	buf_add_text(&sql, "START TRANSACTION; ");
	status = add_audit(c, &sql);
	if (c->users_count > 0)
		add_users_read(c, &sql, "LOCK IN SHARE MODE", false);
	for (tries = 1; status == SGATE_OK; tries++) {
		c->store->is_begun = true;
		status =
		    send_text(c, &sql, c->users_count > 0 ? take_user : NULL);
		if (status == SGATE_OK || tries > 1 ||
		    !mydb_may_open_again(c->store, status))
			break;
		status = mydb_connected(c->store, c->operation, c->err);
	}
	buf_clear(&sql);
	return status;
}

static enum sgate_status
make_users(struct creations *c)
{
	enum sgate_status status;
	struct buf sql = {0};
	size_t i;

	for (i = 0; i < c->users_count && c->has_row[i]; i++)
		;
	if (i == c->users_count)
		return SGATE_OK;
	add_users_new(c, &sql);
	add_users_read(c, &sql, "FOR UPDATE", true);
	status = send_text(c, &sql, take_user);
	buf_clear(&sql);
	for (i = 0; i < c->users_count && status == SGATE_OK; i++)
		if (!c->has_row[i])
			status = error_set(c->err, SGATE_UNAVAILABLE,
			    MYDB_SOURCE, c->operation, 0,
			    "a user's row that was made is not there");
	return status;
}

static enum sgate_status
insert_sessions(struct creations *c)
{
	enum sgate_status status;
	struct buf sql = {0};

	status = add_sessions(c, &sql);
	buf_add_text(
	    &sql, "; SELECT grp, seq, " SQL_STORE_COLUMNS " FROM meta");
	if (status == SGATE_OK)
		status = send_text(c, &sql, take_counter);
	buf_wipe(&sql);
	if (status == SGATE_CONFLICT)
		return error_set(c->err, SGATE_INTERNAL, MYDB_SOURCE,
		    c->operation, 0, "a new random ref is taken already");
	if (status == SGATE_OK &&
	    (c->is_damaged || c->groups != (1u << TOKEN_GROUPS) - 1))
		return error_set(c->err, SGATE_CORRUPT, MYDB_SOURCE,
		    c->operation, 0,
		    "table meta or store is damaged: look at it with "
		    "`sessgatectl db check`");
	return status;
}

enum sgate_status
mydb_create_many(struct durable *d, struct durable_creation *creations,
    size_t count, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	struct creations c = {.store = store,
	    .items = creations,
	    .count = count,
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
	find_users(&c);
	status = mydb_enter(store, c.operation, err);
	if (status == SGATE_OK)
		status = open_with_audit(&c);
	if (status == SGATE_OK)
		status = make_users(&c);
	if (status == SGATE_OK && c.has_blocked)
		return error_set(err, SGATE_DENIED, MYDB_SOURCE, c.operation, 0,
		    "a user is blocked");
	if (status == SGATE_OK)
		status = insert_sessions(&c);
	return status;
}
