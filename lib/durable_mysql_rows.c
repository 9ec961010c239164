/* MySQL: the texts and operations that are its own. */
#include "config.h"

#include "durable_mysql.h"

#include <mysqld_error.h>
#include <string.h>

#include "buf.h"
#include "crc32c.h"
#include "failpoint.h"
#include "status.h"

/* ---- texts ---- */

/* Whether the server is not read-only: check_is_primary(). */
#define IS_PRIMARY "CONCAT(@@GLOBAL.read_only) IN ('0', 'OFF')"

/*
 * The lock, and with it whether the user is blocked. The right side of a LEFT
 * JOIN is read after the left one, here: when the lock is had, and a read that
 * locks sees what is committed by then.
 */
#define USER_LOCK                                                              \
	"SELECT COALESCE(u.blocked_ms, 0), COALESCE(u.blocked_reason, '') "    \
	"FROM user_lock l LEFT JOIN user_state u "                             \
	"ON u.realm = ? AND u.user_id = ? WHERE l.id = ? "

const struct sql_text mydb_texts[SQL_STATEMENTS] = {
    [SQL_SESSION_GET] = {"SELECT " SQL_SESSION_COLUMNS ", data, " IS_PRIMARY
			 " FROM session WHERE ref = ?",
	false},
    [SQL_SESSION_PEEK] = {"SELECT " SQL_SESSION_COLUMNS ", " IS_PRIMARY
			  " FROM session WHERE ref = ?",
	false},
    [SQL_SESSION_GET_AT] = {SQL_SESSION_GET_COLUMNS
	", " SQL_SNAPSHOT_COLUMNS ", " IS_PRIMARY " FROM session "
	"WHERE ref = ?",
	false},
    [SQL_USER_SHARE] = {USER_LOCK "LOCK IN SHARE MODE", true},
    [SQL_USER_LOCK] = {USER_LOCK "FOR UPDATE", true},
    [SQL_USER_BLOCK] =
	{"INSERT INTO user_state (realm, user_id, blocked_ms, blocked_reason) "
	 "VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE "
	 "blocked_ms = VALUES(blocked_ms), "
	 "blocked_reason = VALUES(blocked_reason)",
	    true},
    /* Without what is around it: the counter's lock is the last one. */
    [SQL_SESSION_LOCK] = {SQL_SESSION_GET_COLUMNS
	" FROM session WHERE ref = ? FOR UPDATE",
	true},
    /* Nobody waits for a row that is in another's way. */
    [SQL_SESSION_LOCK_FREE] = {SQL_SESSION_GET_COLUMNS
	" FROM session WHERE ref = ? FOR UPDATE SKIP LOCKED",
	true},
    /* The same of several, locked in the order of their key. */
    [SQL_SESSION_LOCK_MANY] = {SQL_SESSION_GET_COLUMNS
	" FROM session FORCE INDEX (PRIMARY) WHERE ref IN ("
	"?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
	"?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
	"ORDER BY ref FOR UPDATE SKIP LOCKED",
	true},
    /* NOW(3): when the statement began, so not later than its snapshot. */
    [SQL_POLL] =
	{"SELECT grp, seq, ident, "
	 "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED), " SQL_STORE_COLUMNS
	 ", " IS_PRIMARY " FROM meta ORDER BY grp",
	    false},
    /*
     * The last number is read to its end: what one transaction changed is
     * never cut apart.
     */
    [SQL_CHANGES] =
	{"SELECT " SQL_SESSION_COLUMNS ", data FROM session "
	 "FORCE INDEX (change_log) "
	 "WHERE grp = ? AND seq > ? AND absolute_ms > ? AND seq <= "
	 "COALESCE((SELECT l.seq FROM session l FORCE INDEX (change_log) "
	 "WHERE l.grp = ? AND l.seq > ? AND l.absolute_ms > ? "
	 "ORDER BY l.seq LIMIT 1 OFFSET ?), 9223372036854775807) "
	 "ORDER BY seq, ref",
	    false},
    [SQL_COUNTER_NEXT] =
	{"UPDATE meta SET seq = LAST_INSERT_ID(seq + 1) WHERE grp = ?", true},
    [SQL_PURGE_SESSIONS] = {"DELETE FROM session WHERE absolute_ms < ? "
			    "ORDER BY absolute_ms LIMIT ?",
	true},
    [SQL_PURGE_IDEMPOTENCY] = {"DELETE FROM idempotency WHERE expires_ms <= ? "
			       "ORDER BY expires_ms LIMIT ?",
	true},
    [SQL_PURGE_LEASES] =
	{"DELETE FROM lease WHERE until_ms <= ? ORDER BY name LIMIT ?", true},
    /*
     * All behind a row in the order of the key user_live, of which each piece
     * reads its own part; the sessions themselves stay shut. A comparison of
     * whole rows would read it from the start each time.
     */
    [SQL_STATS] =
	{"SELECT realm, user_id, state, created_ms, absolute_ms, ref "
	 "FROM session FORCE INDEX (user_live) WHERE realm > ? OR (realm = ? "
	 "AND (user_id > ? OR (user_id = ? "
	 "AND (state > ? OR (state = ? "
	 "AND (created_ms > ? OR (created_ms = ? "
	 "AND (absolute_ms > ? OR (absolute_ms = ? AND ref > ?))))))))) "
	 "ORDER BY realm, user_id, state, created_ms, absolute_ms, ref LIMIT ?",
	    false},
    /* Assignments go from left to right: the second sees the new holder. */
    [SQL_LEASE_PUT] =
	{"INSERT INTO lease (name, holder, until_ms) VALUES (?, ?, ?) "
	 "ON DUPLICATE KEY UPDATE "
	 "holder = IF(until_ms <= ?, VALUES(holder), holder), "
	 "until_ms = IF(holder = VALUES(holder), VALUES(until_ms), until_ms)",
	    true},
    [SQL_LEASE_GET] = {"SELECT holder, until_ms FROM lease "
		       "WHERE name = ? FOR UPDATE",
	true},
};

/* ---- users ---- */

unsigned
mydb_user_place(struct sgate_bytes realm, struct sgate_bytes user)
{
	/* A realm has no NUL: with it, two fields are never one. */
	uint32_t sum = crc32c(0, realm.data, realm.len);

	sum = crc32c(sum, "", 1);
	return crc32c(sum, user.data, user.len) % MYDB_USER_LOCKS;
}

/* The server gave up waiting before we did (mydb_server_ms()). */
static bool
was_in_the_way(const struct durable *d)
{
	int code = ((const struct mydb *)d)->last_code;

	return code == ER_STATEMENT_TIMEOUT || code == ER_LOCK_WAIT_TIMEOUT;
}

/*
 * The lock that is needed is taken at once: shared first and exclusive after
 * it is a deadlock as soon as two do it.
 */
enum sgate_status
mydb_user_lock(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, bool exclusive, struct durable_user *out,
    struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	if (failpoint_is_off("user-lock"))
		exclusive = false;
	status = sql_open(&r, d, exclusive ? SQL_USER_LOCK : SQL_USER_SHARE,
	    "user_lock", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_bytes(&r, realm);
	sql_bind_bytes(&r, user);
	sql_bind_int(&r, mydb_user_place(realm, user));
	status = sql_user_read(&r, out);
	if (status == SGATE_NOT_FOUND)
		return sql_missing(&r, "a row of table user_lock");
	d->is_busy = status == SGATE_UNAVAILABLE && was_in_the_way(d);
	return status;
}

/* ---- numbers ---- */

enum sgate_status
mydb_counter_next(struct durable *d, unsigned group, uint64_t *out_seq,
    struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status;

	*out_seq = 0;
	status = sql_open(&r, d, SQL_COUNTER_NEXT, "counter_next", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_int(&r, group);
	status = sql_step(&r);
	if (status == SGATE_NOT_FOUND)
		status = r.changes == 1
			     ? SGATE_OK
			     : sql_missing(&r, "a counter of table meta");
	if (status == SGATE_OK)
		*out_seq = r.insert_id;
	sql_close(&r);
	return status;
}

/*
 * A row that cannot be read is not passed over: who brings the others to a copy
 * would call it complete.
 */
enum sgate_status
mydb_changes(struct durable *d, unsigned group, uint64_t after, int64_t now_ms,
    size_t limit, durable_session_fn *fn, void *arg, struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status;
	int i;

	if (after > INT64_MAX || limit == 0)
		return sql_misused(
		    d, "changes", "a number that cannot be", err);
	status = sql_open(&r, d, SQL_CHANGES, "changes", err);
	if (status != SGATE_OK)
		return status;
	for (i = 0; i < 2; i++) {
		sql_bind_int(&r, group);
		sql_bind_int(&r, (int64_t)after);
		sql_bind_int(&r, now_ms);
	}
	sql_bind_limit(&r, limit - 1);
	return sql_sessions(&r, fn, arg);
}

/* ---- touches ---- */

/* A batch of the longest ones is some 20 KiB of text. */
struct touches {
	const struct durable_touch *items;
	size_t count;
};

static void
add_ref(struct buf *sql, const struct durable_touch *touch)
{
	buf_add_text(sql, "X'");
	buf_add_hex(sql, touch->ref.bytes, SGATE_REF_BYTES);
	buf_add_text(sql, "'");
}

static bool
is_same_ref(const struct durable_touch *a, const struct durable_touch *b)
{
	return memcmp(&a->ref, &b->ref, sizeof(a->ref)) == 0;
}

/* The latest of each ref: of two branches the first would be taken. */
static void
add_last_seen(struct buf *sql, const struct touches *touches)
{
	int64_t last_seen_ms = 0;
	size_t i;

	buf_add_text(sql, "last_seen_ms = GREATEST(last_seen_ms, CASE ref");
	for (i = 0; i < touches->count; i++) {
		const struct durable_touch *touch = &touches->items[i];

		if (last_seen_ms < touch->last_seen_ms)
			last_seen_ms = touch->last_seen_ms;
		if (i + 1 < touches->count && is_same_ref(touch, touch + 1))
			continue;
		buf_add_text(sql, " WHEN ");
		add_ref(sql, touch);
		buf_add_text(sql, " THEN ");
		buf_add_int(sql, last_seen_ms);
		last_seen_ms = 0;
	}
	buf_add_text(sql, " ELSE 0 END)");
}

/* What is not set is NULL, so no number other than 0. */
static void
add_successors(struct buf *sql, const struct touches *touches)
{
	bool is_any = false;
	size_t i;

	for (i = 0; i < touches->count; i++) {
		const struct durable_touch *touch = &touches->items[i];

		if (touch->successor_used_ms == 0)
			continue;
		if (!is_any)
			buf_add_text(sql, ", successor_used_ms = CASE "
					  "WHEN successor_used_ms <> 0 OR "
					  "prev_hash IS NULL "
					  "THEN successor_used_ms");
		is_any = true;
		buf_add_text(sql, " WHEN ref = ");
		add_ref(sql, touch);
		buf_add_text(sql, " AND secret_hash = X'");
		buf_add_hex(sql, touch->secret_hash, TOKEN_HASH_BYTES);
		buf_add_text(sql, "' THEN ");
		buf_add_int(sql, touch->successor_used_ms);
	}
	if (is_any)
		buf_add_text(sql, " ELSE successor_used_ms END");
}

static void
add_refs(struct buf *sql, const struct touches *touches)
{
	size_t i;

	for (i = 0; i < touches->count; i++) {
		buf_add_text(sql, i == 0 ? " WHERE ref IN (" : ", ");
		add_ref(sql, &touches->items[i]);
	}
	/* Rows are locked in the order of their key. */
	buf_add_text(sql, ") AND state = 1 ORDER BY ref");
}

/* One statement, which is a transaction of its own. */
enum sgate_status
mydb_touch(struct durable *d, const struct durable_touch *touches, size_t count,
    struct sgate_error *err)
{
	const struct touches all = {touches, count};
	struct buf sql = {0};
	enum sgate_status status;

	error_clear(err);
	status = sql_touches_check(d, touches, count, err);
	if (status != SGATE_OK || count == 0)
		return status;
	buf_add_text(&sql, "UPDATE session SET ");
	add_last_seen(&sql, &all);
	add_successors(&sql, &all);
	add_refs(&sql, &all);
	if (buf_failed(&sql))
		status = error_memory(err, "touch");
	else
		status = mydb_query_alone(d, buf_text(&sql), "touch", err);
	buf_clear(&sql);
	return status;
}

/* ---- counting ---- */

static void
bind_last_seen(struct sql_run *r, const struct durable_count *count)
{
	int i;

	for (i = 0; i < 2; i++)
		sql_bind_text(r, count->realm);
	for (i = 0; i < 2; i++)
		sql_bind_text(r, count->user);
	for (i = 0; i < 2; i++)
		sql_bind_int(r, count->state);
	for (i = 0; i < 2; i++)
		sql_bind_int(r, count->created_ms);
	for (i = 0; i < 2; i++)
		sql_bind_int(r, count->absolute_ms);
	sql_bind_blob(r, count->ref.bytes, SGATE_REF_BYTES);
}

/* Whatever the numbers are: damage is for those who read the row. */
static enum sgate_status
count_row(struct sql_run *r, int64_t now_ms, struct durable_count *count)
{
	struct durable_count row = {.created_from_ms = count->created_from_ms,
	    .stats = count->stats,
	    .rows = count->rows + 1};
	bool is_same_user;
	bool is_live;

	sql_get_text(r, row.realm, sizeof(row.realm));
	sql_get_text(r, row.user, sizeof(row.user));
	row.state = sql_get_int(r, INT64_MIN, INT64_MAX);
	row.created_ms = sql_get_int(r, INT64_MIN, INT64_MAX);
	row.absolute_ms = sql_get_int(r, INT64_MIN, INT64_MAX);
	sql_get_blob(r, row.ref.bytes, SGATE_REF_BYTES);
	is_same_user = strcmp(row.realm, count->realm) == 0 &&
		       strcmp(row.user, count->user) == 0;
	row.is_user_counted = is_same_user && count->is_user_counted;
	if (row.state == SESSION_ENDED)
		row.stats.ended++;
	is_live = row.state == SESSION_LIVE && row.absolute_ms > now_ms &&
		  row.created_ms >= row.created_from_ms;
	if (is_live && row.user[0] == '\0') {
		row.stats.anonymous++;
	} else if (is_live) {
		row.stats.live++;
		row.stats.users += row.is_user_counted ? 0 : 1;
		row.is_user_counted = true;
	}
	*count = row;
	return sql_row_status(r, "a session");
}

enum sgate_status
mydb_stats(struct durable *d, int64_t now_ms, size_t limit,
    struct durable_count *count, bool *out_done, struct sgate_error *err)
{
	struct durable_count next = *count;
	struct sql_run r;
	enum sgate_status status;

	*out_done = false;
	status = sql_open(&r, d, SQL_STATS, "stats", err);
	if (status != SGATE_OK)
		return status;
	bind_last_seen(&r, count);
	sql_bind_limit(&r, limit);
	while ((status = sql_step(&r)) == SGATE_OK) {
		status = count_row(&r, now_ms, &next);
		if (status != SGATE_OK)
			break;
	}
	sql_close(&r);
	if (status != SGATE_NOT_FOUND)
		return status;
	*out_done = next.rows - count->rows < limit;
	*count = next;
	return SGATE_OK;
}
