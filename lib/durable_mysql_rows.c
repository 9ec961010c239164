/*
 * MySQL: the statements, and the rows of sessions and users. The client
 * library's own calls are in durable_mysql.c.
 */
#include "config.h"

#include "durable_mysql.h"

#include <string.h>

#include "buf.h"
#include "status.h"

/* ---- statements ---- */

#define SESSION_COLUMNS                                                        \
	"ref, seq, version, realm, user_id, secret_hash, prev_hash, "          \
	"prev_until_ms, successor_used_ms, context_id, contexts, roles, "      \
	"state, end_reason, ended_ms, created_ms, auth_ms, last_seen_ms, "     \
	"idle_ms, absolute_ms, client_ip, user_agent, format, exports"
#define STORE_COLUMNS                                                          \
	"(SELECT store_id FROM store WHERE id = 1), "                          \
	"(SELECT epoch FROM store WHERE id = 1)"
#define SERVICE_COLUMNS "name, key_hash, scopes, realm, created_ms, expires_ms"

/* The order of columns and parameters is the one of the code that uses it. */
const struct mydb_statement_text mydb_statements[MYDB_STMT_COUNT] = {
    [MYDB_STMT_STORE_GET] = {"SELECT store_id, epoch FROM store WHERE id = 1",
	false},
    [MYDB_STMT_AUDIT_INSERT] = {"INSERT INTO audit (" MYDB_AUDIT_COLUMNS
				") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	true},
    [MYDB_STMT_AUDIT_EXISTS] = {"SELECT 1 FROM audit WHERE event_id = ?",
	false},
    [MYDB_STMT_IDEMPOTENCY_GET] = {"SELECT body_hash, ref, key_id, nonce, "
				   "expires_ms FROM idempotency WHERE id = ?",
	false},
    [MYDB_STMT_IDEMPOTENCY_INSERT] =
	{"INSERT INTO idempotency (id, body_hash, ref, "
	 "key_id, nonce, expires_ms) "
	 "VALUES (?, ?, ?, ?, ?, ?)",
	    true},
    [MYDB_STMT_IDEMPOTENCY_REMOVE] = {"DELETE FROM idempotency WHERE id = ?",
	true},
    [MYDB_STMT_USER_SHARE] =
	{"SELECT blocked_ms, blocked_reason FROM user_state "
	 "WHERE realm = ? AND user_id = ? LOCK IN SHARE MODE",
	    true},
    [MYDB_STMT_USER_LOCK] =
	{"SELECT blocked_ms, blocked_reason FROM user_state "
	 "WHERE realm = ? AND user_id = ? FOR UPDATE",
	    true},
    /* Takes the row's lock also where it is there. */
    [MYDB_STMT_USER_MAKE] = {"INSERT INTO user_state (realm, user_id) "
			     "VALUES (?, ?) "
			     "ON DUPLICATE KEY UPDATE user_id = user_id",
	true},
    [MYDB_STMT_USER_BLOCK] =
	{"INSERT INTO user_state (realm, user_id, blocked_ms, blocked_reason) "
	 "VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE "
	 "blocked_ms = VALUES(blocked_ms), "
	 "blocked_reason = VALUES(blocked_reason)",
	    true},
    [MYDB_STMT_USER_UNBLOCK] =
	{"UPDATE user_state SET blocked_ms = 0, blocked_reason = '' "
	 "WHERE realm = ? AND user_id = ?",
	    true},
    [MYDB_STMT_USER_SESSIONS] =
	{"SELECT " SESSION_COLUMNS ", '' FROM session "
	 "WHERE realm = ? AND user_id = ? AND state = 1 "
	 "ORDER BY created_ms DESC, ref DESC LIMIT ?",
	    false},
    /*
     * One statement is one snapshot; what is not asked for is not read. No
     * joins: a row of another table that is missing must not hide this one.
     */
    [MYDB_STMT_SESSION_GET] = {"SELECT " SESSION_COLUMNS
			       ", IF(?, data, '') FROM session WHERE ref = ?",
	false},
    [MYDB_STMT_SESSION_GET_AT] =
	{"SELECT " SESSION_COLUMNS ", IF(?, data, ''), "
	 "(SELECT m.seq FROM meta m WHERE m.grp = ?), " STORE_COLUMNS
	 " FROM session WHERE ref = ?",
	    false},
    /* Without what is around it: the counter's lock is the last one. */
    [MYDB_STMT_SESSION_LOCK] =
	{"SELECT " SESSION_COLUMNS
	 ", IF(?, data, '') FROM session WHERE ref = ? FOR UPDATE",
	    true},
    [MYDB_STMT_SESSION_INSERT] =
	{"INSERT INTO session (" SESSION_COLUMNS
	 ", data, grp) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, "
	 "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
	 "?)",
	    true},
    /* realm, user, created and absolute are not changed. */
    [MYDB_STMT_SESSION_STORE] =
	{"UPDATE session SET seq = ?, version = ?, secret_hash = ?, "
	 "prev_hash = ?, prev_until_ms = ?, successor_used_ms = ?, "
	 "context_id = ?, contexts = ?, roles = ?, state = ?, "
	 "end_reason = ?, ended_ms = ?, auth_ms = ?, last_seen_ms = ?, "
	 "idle_ms = ?, client_ip = ?, user_agent = ?, format = ?, "
	 "exports = ?, data = ? WHERE ref = ?",
	    true},
    [MYDB_STMT_SNAPSHOT] =
	{"SELECT (SELECT m.seq FROM meta m WHERE m.grp = ?), " STORE_COLUMNS,
	    false},
    /* NOW(3): when the statement began, so not later than its snapshot. */
    [MYDB_STMT_POLL] =
	{"SELECT grp, seq, ident, "
	 "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED), " STORE_COLUMNS
	 " FROM meta ORDER BY grp",
	    false},
    /*
     * The last number is read to its end: what one transaction changed is
     * never cut apart.
     */
    [MYDB_STMT_CHANGES] =
	{"SELECT " SESSION_COLUMNS ", data FROM session "
	 "FORCE INDEX (change_log) "
	 "WHERE grp = ? AND seq > ? AND absolute_ms > ? AND seq <= "
	 "COALESCE((SELECT l.seq FROM session l FORCE INDEX (change_log) "
	 "WHERE l.grp = ? AND l.seq > ? AND l.absolute_ms > ? "
	 "ORDER BY l.seq LIMIT 1 OFFSET ?), 9223372036854775807) "
	 "ORDER BY seq, ref",
	    false},
    [MYDB_STMT_COUNTER_NEXT] =
	{"UPDATE meta SET seq = LAST_INSERT_ID(seq + 1) WHERE grp = ?", true},
    [MYDB_STMT_TOUCH] =
	{"UPDATE session SET last_seen_ms = GREATEST(last_seen_ms, ?) "
	 "WHERE ref = ? AND state = 1",
	    true},
    [MYDB_STMT_TOUCH_SUCCESSOR] = {"UPDATE session SET successor_used_ms = ? "
				   "WHERE ref = ? AND state = 1 "
				   "AND secret_hash = ? "
				   "AND prev_hash IS NOT NULL "
				   "AND successor_used_ms = 0",
	true},
    [MYDB_STMT_WALK] = {"SELECT " SESSION_COLUMNS ", '' FROM session "
			"WHERE ref > ? ORDER BY ref LIMIT ?",
	false},
    [MYDB_STMT_PURGE_SESSIONS] = {"DELETE FROM session WHERE absolute_ms < ? "
				  "ORDER BY absolute_ms LIMIT ?",
	true},
    [MYDB_STMT_PURGE_IDEMPOTENCY] =
	{"DELETE FROM idempotency WHERE expires_ms <= ? "
	 "ORDER BY expires_ms LIMIT ?",
	    true},
    [MYDB_STMT_PURGE_LEASES] =
	{"DELETE FROM lease WHERE until_ms <= ? ORDER BY name LIMIT ?", true},
    /* One pass over the key user_live; the sessions themselves stay shut. */
    [MYDB_STMT_STATS] =
	{"SELECT CAST(COALESCE(SUM(IF(user_id = '', 0, live)), 0) AS SIGNED), "
	 "CAST(COALESCE(SUM(IF(user_id = '', live, 0)), 0) AS SIGNED), "
	 "COUNT(IF(user_id <> '' AND live > 0, 1, NULL)), "
	 "CAST(COALESCE(SUM(ended), 0) AS SIGNED) FROM (SELECT user_id, "
	 "SUM(state = 1 AND absolute_ms > ?) AS live, "
	 "SUM(state = 2) AS ended FROM session "
	 "GROUP BY realm, user_id) AS users",
	    false},
    /* Assignments go from left to right: the second sees the new holder. */
    [MYDB_STMT_LEASE_PUT] =
	{"INSERT INTO lease (name, holder, until_ms) VALUES (?, ?, ?) "
	 "ON DUPLICATE KEY UPDATE "
	 "holder = IF(until_ms <= ?, VALUES(holder), holder), "
	 "until_ms = IF(holder = VALUES(holder), VALUES(until_ms), until_ms)",
	    true},
    [MYDB_STMT_LEASE_GET] = {"SELECT holder, until_ms FROM lease "
			     "WHERE name = ? FOR UPDATE",
	true},
    [MYDB_STMT_LEASE_LIST] = {"SELECT name, holder, until_ms FROM lease "
			      "ORDER BY name",
	false},
    [MYDB_STMT_SERVICE_GET] = {"SELECT " SERVICE_COLUMNS " FROM service_key "
			       "WHERE key_hash = ?",
	false},
    [MYDB_STMT_SERVICE_PUT] = {"INSERT INTO service_key (" SERVICE_COLUMNS
			       ") VALUES (?, ?, ?, ?, ?, ?)",
	true},
    [MYDB_STMT_SERVICE_REMOVE] = {"DELETE FROM service_key WHERE name = ?",
	true},
    [MYDB_STMT_SERVICE_LIST] = {"SELECT " SERVICE_COLUMNS " FROM service_key "
				"ORDER BY name",
	false},
};

/* ---- sessions ---- */

#define CONTEXTS_MAX_BYTES (SESSION_CONTEXTS_MAX * (SESSION_CONTEXT_MAX + 1))
#define ROLES_MAX_BYTES (SESSION_ROLES_MAX * (SESSION_ROLE_MAX + 1))

bool
mydb_time_is_sound(int64_t at_ms)
{
	return at_ms >= 0 && at_ms <= MYDB_TIME_MAX_MS;
}

bool
mydb_address_is_sound(size_t len)
{
	return len == 0 || len == 4 || len == 16;
}

/* A JSON object, or nothing (DURABLE_NO_DATA). */
static bool
is_object_text(const char *text)
{
	size_t len = strlen(text);

	return len == 0 || (len >= 2 && text[0] == '{' && text[len - 1] == '}');
}

static bool
texts_are_sound(const struct sgate_session *s)
{
	return bytes_is_utf8(bytes_of(s->realm)) &&
	       bytes_is_utf8(bytes_of(s->user)) &&
	       bytes_is_utf8(bytes_of(s->context)) &&
	       strlen(s->contexts) <= CONTEXTS_MAX_BYTES &&
	       strlen(s->roles) <= ROLES_MAX_BYTES &&
	       strlen(s->exports) <= SESSION_EXPORTS_MAX &&
	       strlen(s->data) <= MYDB_VALUE_MAX_BYTES &&
	       is_object_text(s->data);
}

/* Nothing is written that would be refused when it is read. */
static bool
session_is_sound(const struct sgate_session *s)
{
	const int64_t times[] = {s->ended_ms, s->prev_until_ms,
	    s->successor_used_ms, s->created_ms, s->auth_ms, s->last_seen_ms,
	    s->idle_ms, s->absolute_ms};
	size_t i;

	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		if (!mydb_time_is_sound(times[i]))
			return false;
	return s->seq <= INT64_MAX && s->version >= 1 &&
	       s->version <= INT64_MAX &&
	       (s->state == SESSION_LIVE || s->state == SESSION_ENDED) &&
	       (unsigned)s->end_reason < SGATE_REASON_COUNT &&
	       mydb_address_is_sound(s->client_ip_len) && texts_are_sound(s);
}

/* The parameters of MYDB_STMT_SESSION_INSERT, or all that may change. */
static void
session_bind(struct mydb_run *r, const struct sgate_session *s, bool is_new)
{
	if (is_new)
		run_bind_blob(r, s->ref.bytes, SGATE_REF_BYTES);
	run_bind_int(r, (int64_t)s->seq);
	run_bind_int(r, (int64_t)s->version);
	if (is_new) {
		run_bind_text(r, s->realm);
		run_bind_text(r, s->user);
	}
	run_bind_blob(r, s->secret_hash, TOKEN_HASH_BYTES);
	if (s->has_prev)
		run_bind_blob(r, s->prev_hash, TOKEN_HASH_BYTES);
	else
		run_bind_null(r);
	run_bind_int(r, s->prev_until_ms);
	run_bind_int(r, s->successor_used_ms);
	run_bind_text(r, s->context);
	run_bind_text(r, s->contexts);
	run_bind_text(r, s->roles);
	run_bind_int(r, s->state);
	run_bind_int(r, s->end_reason);
	run_bind_int(r, s->ended_ms);
	if (is_new)
		run_bind_int(r, s->created_ms);
	run_bind_int(r, s->auth_ms);
	run_bind_int(r, s->last_seen_ms);
	run_bind_int(r, s->idle_ms);
	if (is_new)
		run_bind_int(r, s->absolute_ms);
	run_bind_blob(r, s->client_ip, s->client_ip_len);
	run_bind_text(r, s->user_agent);
	run_bind_int(r, SESSION_FORMAT);
	run_bind_text(r, s->exports);
	run_bind_text(r, s->data);
	if (is_new)
		run_bind_int(r, token_ref_group(&s->ref));
	else
		run_bind_blob(r, s->ref.bytes, SGATE_REF_BYTES);
}

/* The columns that say whose session it is. */
static void
session_utf8(struct mydb_run *r, char *out, size_t size)
{
	run_get_text(r, out, size);
	if (!bytes_is_utf8(bytes_of(out)))
		run_damaged(r);
}

/* A column as a new heap string of the session. */
static void
session_column(struct mydb_run *r, char **field, size_t max, bool *out_memory)
{
	if (!session_set(field, run_get_bytes(r, max)))
		*out_memory = false;
}

/* The columns of SESSION_COLUMNS, then data. */
static bool
session_read_columns(struct mydb_run *r, struct sgate_session *s)
{
	bool memory = true;

	run_get_blob(r, s->ref.bytes, SGATE_REF_BYTES);
	s->seq = (uint64_t)run_get_int(r, 0, INT64_MAX);
	s->version = (uint64_t)run_get_int(r, 1, INT64_MAX);
	session_utf8(r, s->realm, sizeof(s->realm));
	session_utf8(r, s->user, sizeof(s->user));
	run_get_blob(r, s->secret_hash, TOKEN_HASH_BYTES);
	s->has_prev = run_get_blob_or_null(r, s->prev_hash, TOKEN_HASH_BYTES);
	s->prev_until_ms = run_get_time(r);
	s->successor_used_ms = run_get_time(r);
	session_utf8(r, s->context, sizeof(s->context));
	session_column(r, &s->contexts, CONTEXTS_MAX_BYTES, &memory);
	session_column(r, &s->roles, ROLES_MAX_BYTES, &memory);
	s->state =
	    (enum session_state)run_get_int(r, SESSION_LIVE, SESSION_ENDED);
	s->end_reason =
	    (enum sgate_reason)run_get_int(r, 0, SGATE_REASON_COUNT - 1);
	s->ended_ms = run_get_time(r);
	s->created_ms = run_get_time(r);
	s->auth_ms = run_get_time(r);
	s->last_seen_ms = run_get_time(r);
	s->idle_ms = run_get_time(r);
	s->absolute_ms = run_get_time(r);
	s->client_ip_len = run_get_address(r, s->client_ip);
	run_get_text(r, s->user_agent, sizeof(s->user_agent));
	run_get_int(r, SESSION_FORMAT, SESSION_FORMAT);
	session_column(r, &s->exports, SESSION_EXPORTS_MAX, &memory);
	session_column(r, &s->data, MYDB_VALUE_MAX_BYTES, &memory);
	if (memory && !is_object_text(s->data))
		run_damaged(r);
	return memory;
}

enum sgate_status
mydb_session_read(struct mydb_run *r, struct sgate_session **out)
{
	struct sgate_session *session = session_new();
	char row[SGATE_REF_HEX + 1];
	enum sgate_status status;

	*out = NULL;
	r->damaged_column = -1;
	if (session == NULL || !session_read_columns(r, session)) {
		sgate_session_free(session);
		error_memory(r->err, r->operation);
		return SGATE_NO_MEMORY;
	}
	sgate_ref_text(&session->ref, row);
	status = run_row_status(r, row);
	if (status != SGATE_OK)
		sgate_session_free(session);
	else
		*out = session;
	return status;
}

enum sgate_status
mydb_session_get(struct durable *d, const struct sgate_ref *ref, unsigned flags,
    struct sgate_session **out, struct durable_snapshot *out_at,
    struct sgate_error *err)
{
	bool is_locked = (flags & DURABLE_FOR_UPDATE) != 0;
	enum mydb_statement which = MYDB_STMT_SESSION_LOCK;
	struct durable_snapshot at = {0};
	struct mydb_run r;
	enum sgate_status status;

	*out = NULL;
	if (out_at != NULL)
		*out_at = at;
	if (!is_locked)
		which = out_at != NULL ? MYDB_STMT_SESSION_GET_AT
				       : MYDB_STMT_SESSION_GET;
	status = run_open(&r, d, which, "session_get", err);
	if (status != SGATE_OK)
		return status;
	run_bind_int(&r, (flags & DURABLE_NO_DATA) == 0);
	if (which == MYDB_STMT_SESSION_GET_AT)
		run_bind_int(&r, token_ref_group(ref));
	run_bind_blob(&r, ref->bytes, SGATE_REF_BYTES);
	status = run_step(&r);
	if (status == SGATE_OK)
		status = mydb_session_read(&r, out);
	if (status == SGATE_OK && which == MYDB_STMT_SESSION_GET_AT)
		status = mydb_snapshot_read(&r, &at);
	run_close(&r);
	/* The row is locked: nobody else takes a number for it. */
	if (status == SGATE_OK && is_locked && out_at != NULL)
		status = mydb_snapshot(d, token_ref_group(ref), &at, err);
	if (status == SGATE_OK && out_at != NULL)
		*out_at = at;
	if (status != SGATE_OK) {
		sgate_session_free(*out);
		*out = NULL;
	}
	return status;
}

static enum sgate_status
session_write(struct durable *d, enum mydb_statement which,
    const char *operation, const struct sgate_session *session,
    struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status = run_open(&r, d, which, operation, err);

	if (status != SGATE_OK)
		return status;
	if (!session_is_sound(session))
		return mydb_misused(
		    d, operation, "a value that no session has", err);
	session_bind(&r, session, which == MYDB_STMT_SESSION_INSERT);
	status = run_finish(&r);
	if (status == SGATE_OK && run_changes(&r) == 0)
		return SGATE_NOT_FOUND;
	return status;
}

enum sgate_status
mydb_session_insert(struct durable *d, const struct sgate_session *session,
    struct sgate_error *err)
{
	return session_write(
	    d, MYDB_STMT_SESSION_INSERT, "session_insert", session, err);
}

enum sgate_status
mydb_session_store(struct durable *d, const struct sgate_session *session,
    struct sgate_error *err)
{
	return session_write(
	    d, MYDB_STMT_SESSION_STORE, "session_store", session, err);
}

enum sgate_status
mydb_counter_next(struct durable *d, unsigned group, uint64_t *out_seq,
    struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status;

	*out_seq = 0;
	status = run_open(&r, d, MYDB_STMT_COUNTER_NEXT, "counter_next", err);
	if (status != SGATE_OK)
		return status;
	run_bind_int(&r, group);
	status = run_finish(&r);
	if (status != SGATE_OK)
		return status;
	if (run_changes(&r) != 1)
		return run_missing(&r, "a counter of table meta");
	*out_seq = run_insert_id(&r);
	return SGATE_OK;
}

/* ---- users ---- */

static enum sgate_status
user_row(struct durable *d, enum mydb_statement which, struct sgate_bytes realm,
    struct sgate_bytes user, struct durable_user *out, struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status = run_open(&r, d, which, "user_lock", err);

	if (status != SGATE_OK)
		return status;
	run_bind_bytes(&r, realm);
	run_bind_bytes(&r, user);
	status = run_step(&r);
	if (status == SGATE_OK) {
		out->blocked_ms = run_get_time(&r);
		run_get_text(
		    &r, out->blocked_reason, sizeof(out->blocked_reason));
		status = run_row_status(&r, "a user's row");
	}
	run_close(&r);
	return status;
}

static enum sgate_status
user_make(struct durable *d, struct sgate_bytes realm, struct sgate_bytes user,
    struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status =
	    run_open(&r, d, MYDB_STMT_USER_MAKE, "user_lock", err);

	if (status != SGATE_OK)
		return status;
	run_bind_bytes(&r, realm);
	run_bind_bytes(&r, user);
	return run_finish(&r);
}

/*
 * The lock that is needed is taken at once: shared first and exclusive after
 * it is a deadlock as soon as two do it. Only a user's first login makes the
 * row; its lock is exclusive then.
 */
enum sgate_status
mydb_user_lock(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, bool exclusive, struct durable_user *out,
    struct sgate_error *err)
{
	struct durable_user row = {0};
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status =
	    user_row(d, exclusive ? MYDB_STMT_USER_LOCK : MYDB_STMT_USER_SHARE,
		realm, user, &row, err);
	if (status == SGATE_NOT_FOUND) {
		status = user_make(d, realm, user, err);
		if (status == SGATE_OK)
			status = user_row(
			    d, MYDB_STMT_USER_LOCK, realm, user, &row, err);
	}
	if (status == SGATE_OK)
		*out = row;
	return status;
}

enum sgate_status
mydb_user_block(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, int64_t blocked_ms, struct sgate_bytes reason,
    struct sgate_error *err)
{
	const size_t reason_max =
	    sizeof(((struct durable_user *)NULL)->blocked_reason) - 1;
	struct mydb_run r;
	enum sgate_status status;

	if (!mydb_time_is_sound(blocked_ms) || reason.len > reason_max)
		return mydb_misused(
		    d, "user_block", "a value that no user has", err);
	status = run_open(&r, d,
	    blocked_ms != 0 ? MYDB_STMT_USER_BLOCK : MYDB_STMT_USER_UNBLOCK,
	    "user_block", err);

	if (status != SGATE_OK)
		return status;
	run_bind_bytes(&r, realm);
	run_bind_bytes(&r, user);
	if (blocked_ms != 0) {
		run_bind_int(&r, blocked_ms);
		run_bind_bytes(&r, reason);
	}
	return run_finish(&r);
}

enum sgate_status
mydb_user_sessions(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, size_t limit, durable_session_fn *fn, void *arg,
    struct sgate_error *err)
{
	struct sgate_session *session;
	struct mydb_run r;
	bool is_stopped = false;
	enum sgate_status status =
	    run_open(&r, d, MYDB_STMT_USER_SESSIONS, "user_sessions", err);

	if (status != SGATE_OK)
		return status;
	run_bind_bytes(&r, realm);
	run_bind_bytes(&r, user);
	run_bind_limit(&r, limit == 0 ? SIZE_MAX : limit);
	while (!is_stopped && (status = run_step(&r)) == SGATE_OK) {
		status = mydb_session_read(&r, &session);
		if (status != SGATE_OK)
			break;
		is_stopped = fn(arg, session) != 0;
		sgate_session_free(session);
	}
	run_close(&r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

/* ---- touches ---- */

static enum sgate_status
touch_last_seen(struct durable *d, const struct durable_touch *touch,
    struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status =
	    run_open(&r, d, MYDB_STMT_TOUCH, "touch", err);

	if (status != SGATE_OK)
		return status;
	run_bind_int(&r, touch->last_seen_ms);
	run_bind_blob(&r, touch->ref.bytes, SGATE_REF_BYTES);
	return run_finish(&r);
}

static enum sgate_status
touch_successor(struct durable *d, const struct durable_touch *touch,
    struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status =
	    run_open(&r, d, MYDB_STMT_TOUCH_SUCCESSOR, "touch", err);

	if (status != SGATE_OK)
		return status;
	run_bind_int(&r, touch->successor_used_ms);
	run_bind_blob(&r, touch->ref.bytes, SGATE_REF_BYTES);
	run_bind_blob(&r, touch->secret_hash, TOKEN_HASH_BYTES);
	return run_finish(&r);
}

struct touches {
	const struct durable_touch *items;
	size_t count;
};

static enum sgate_status
touch_all(struct durable *d, void *arg, struct sgate_error *err)
{
	const struct touches *touches = arg;
	enum sgate_status status = SGATE_OK;
	size_t i;

	for (i = 0; i < touches->count && status == SGATE_OK; i++) {
		const struct durable_touch *touch = &touches->items[i];

		if (touch->last_seen_ms > 0)
			status = touch_last_seen(d, touch, err);
		if (status == SGATE_OK && touch->successor_used_ms > 0)
			status = touch_successor(d, touch, err);
	}
	return status;
}

enum sgate_status
mydb_touch(struct durable *d, const struct durable_touch *touches, size_t count,
    struct sgate_error *err)
{
	struct touches all = {touches, count};
	size_t i;

	error_clear(err);
	for (i = 0; i < count; i++)
		if (!mydb_time_is_sound(touches[i].last_seen_ms) ||
		    !mydb_time_is_sound(touches[i].successor_used_ms))
			return mydb_misused(
			    d, "touch", "a time that cannot be", err);
	return mydb_transaction(d, touch_all, &all, err);
}

/* ---- care ---- */

/* Which rows a walk over all of them gives. */
enum walk { WALK_EXPIRED, WALK_LIVE };

static bool
is_wanted(const struct sgate_session *session, enum walk walk, int64_t now_ms)
{
	if (session->state != SESSION_LIVE)
		return false;
	if (walk == WALK_LIVE)
		return session->absolute_ms > now_ms;
	return session_expiry(session, now_ms) != SGATE_REASON_OK;
}

/*
 * A damaged row must not stop it for ever: the walk goes on behind it and
 * answers SGATE_CORRUPT in the end, with the cursor moved on.
 */
static enum sgate_status
walk_rows(struct durable *d, enum walk walk, int64_t now_ms, size_t limit,
    struct sgate_ref *cursor, bool *out_wrapped, durable_session_fn *fn,
    void *arg, struct sgate_error *err)
{
	const struct sgate_ref start = *cursor;
	struct sgate_session *session;
	struct mydb_run r;
	enum sgate_status status;
	enum sgate_status row_status = SGATE_OK;
	size_t seen = 0;
	bool is_stopped = false;

	*out_wrapped = false;
	status = run_open(
	    &r, d, MYDB_STMT_WALK, walk == WALK_LIVE ? "live" : "expired", err);
	if (status != SGATE_OK)
		return status;
	run_bind_blob(&r, start.bytes, SGATE_REF_BYTES);
	run_bind_limit(&r, limit);
	while (!is_stopped && (status = run_step(&r)) == SGATE_OK) {
		seen++;
		status = mydb_session_read(&r, &session);
		if (status == SGATE_CORRUPT) {
			row_status = status;
			r.column = 0;
			run_get_blob(&r, cursor->bytes, SGATE_REF_BYTES);
			continue;
		}
		if (status != SGATE_OK)
			break;
		*cursor = session->ref;
		if (is_wanted(session, walk, now_ms))
			is_stopped = fn(arg, session) != 0;
		sgate_session_free(session);
	}
	run_close(&r);
	if (status != SGATE_OK && status != SGATE_NOT_FOUND)
		return status;
	*out_wrapped = !is_stopped && seen < limit;
	if (*out_wrapped)
		memset(cursor, 0, sizeof(*cursor));
	return row_status;
}

enum sgate_status
mydb_expired(struct durable *d, int64_t now_ms, size_t limit,
    struct sgate_ref *cursor, bool *out_wrapped, durable_session_fn *fn,
    void *arg, struct sgate_error *err)
{
	return walk_rows(
	    d, WALK_EXPIRED, now_ms, limit, cursor, out_wrapped, fn, arg, err);
}

enum sgate_status
mydb_live(struct durable *d, int64_t now_ms, size_t limit,
    struct sgate_ref *cursor, bool *out_wrapped, durable_session_fn *fn,
    void *arg, struct sgate_error *err)
{
	return walk_rows(
	    d, WALK_LIVE, now_ms, limit, cursor, out_wrapped, fn, arg, err);
}

struct purge {
	int64_t sessions_before_ms;
	int64_t now_ms;
	size_t limit;
	uint64_t sessions;
	uint64_t others;
};

static enum sgate_status
purge_one(struct durable *d, enum mydb_statement which, int64_t before_ms,
    size_t limit, uint64_t *count, struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status = run_open(&r, d, which, "purge", err);

	if (status != SGATE_OK)
		return status;
	run_bind_int(&r, before_ms);
	run_bind_limit(&r, limit);
	status = run_finish(&r);
	if (status == SGATE_OK)
		*count += run_changes(&r);
	return status;
}

static enum sgate_status
purge_all(struct durable *d, void *arg, struct sgate_error *err)
{
	struct purge *purge = arg;
	enum sgate_status status;

	purge->sessions = 0;
	purge->others = 0;
	status = purge_one(d, MYDB_STMT_PURGE_SESSIONS,
	    purge->sessions_before_ms, purge->limit, &purge->sessions, err);
	if (status == SGATE_OK)
		status = purge_one(d, MYDB_STMT_PURGE_IDEMPOTENCY,
		    purge->now_ms, purge->limit, &purge->others, err);
	if (status == SGATE_OK)
		status = purge_one(d, MYDB_STMT_PURGE_LEASES, purge->now_ms,
		    purge->limit, &purge->others, err);
	return status;
}

/* Audit rows go with their partition: mydb_maintain(). */
enum sgate_status
mydb_purge(struct durable *d, int64_t sessions_before_ms,
    int64_t audit_before_ms, int64_t now_ms, size_t limit,
    uint64_t *out_sessions, uint64_t *out_others, struct sgate_error *err)
{
	struct purge purge = {.sessions_before_ms = sessions_before_ms,
	    .now_ms = now_ms,
	    .limit = limit};
	enum sgate_status status;

	(void)audit_before_ms;
	*out_sessions = 0;
	*out_others = 0;
	status = mydb_transaction(d, purge_all, &purge, err);
	if (status == SGATE_OK) {
		*out_sessions = purge.sessions;
		*out_others = purge.others;
	}
	return status;
}

enum sgate_status
mydb_stats(struct durable *d, int64_t now_ms, struct sgate_stats *out,
    struct sgate_error *err)
{
	struct sgate_stats stats = {0};
	struct mydb_run r;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = run_open(&r, d, MYDB_STMT_STATS, "stats", err);
	if (status != SGATE_OK)
		return status;
	run_bind_int(&r, now_ms);
	status = run_step(&r);
	if (status == SGATE_OK) {
		stats.live = (uint64_t)run_get_int(&r, 0, INT64_MAX);
		stats.anonymous = (uint64_t)run_get_int(&r, 0, INT64_MAX);
		stats.users = (uint64_t)run_get_int(&r, 0, INT64_MAX);
		stats.ended = (uint64_t)run_get_int(&r, 0, INT64_MAX);
		status = run_row_status(&r, "statistics");
	}
	run_close(&r);
	if (status == SGATE_OK)
		*out = stats;
	return status;
}
