/*
 * SQLite: the statements, and the rows of sessions and users. SQLite's own
 * calls are in durable_sqlite.c.
 */
#include "config.h"

#include "durable_sqlite.h"

#include <string.h>

#include "buf.h"
#include "status.h"

/* ---- statements ---- */

#define SESSION_COLUMNS                                                        \
	"ref, seq, version, realm, user_id, secret_hash, prev_hash, "          \
	"prev_until_ms, successor_used_ms, context_id, contexts, roles, "      \
	"state, end_reason, ended_ms, created_ms, auth_ms, last_seen_ms, "     \
	"idle_ms, absolute_ms, client_ip, user_agent, format, exports"
#define SERVICE_COLUMNS "name, key_hash, scopes, realm, created_ms, expires_ms"

/* The order of columns and parameters is the one of the code that uses it. */
const struct sqlite_statement_text sqlite_statements[SQLITE_STMT_COUNT] = {
    [SQLITE_STMT_BEGIN] = {"BEGIN IMMEDIATE", false},
    [SQLITE_STMT_COMMIT] = {"COMMIT", false},
    [SQLITE_STMT_STORE_GET] = {"SELECT store_id, epoch FROM store WHERE id = 1",
	false},
    [SQLITE_STMT_AUDIT_INSERT] = {"INSERT INTO audit (" SQLITE_AUDIT_COLUMNS
				  ") "
				  "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	true},
    [SQLITE_STMT_AUDIT_EXISTS] = {"SELECT 1 FROM audit WHERE event_id = ?",
	false},
    [SQLITE_STMT_IDEMPOTENCY_GET] = {"SELECT body_hash, ref, key_id, nonce, "
				     "expires_ms FROM idempotency WHERE id = ?",
	false},
    [SQLITE_STMT_IDEMPOTENCY_INSERT] =
	{"INSERT INTO idempotency (id, body_hash, ref, "
	 "key_id, nonce, expires_ms) "
	 "VALUES (?, ?, ?, ?, ?, ?)",
	    true},
    [SQLITE_STMT_IDEMPOTENCY_REMOVE] = {"DELETE FROM idempotency WHERE id = ?",
	true},
    [SQLITE_STMT_USER_GET] =
	{"SELECT blocked_ms, blocked_reason FROM user_state "
	 "WHERE realm = ? AND user_id = ?",
	    true},
    [SQLITE_STMT_USER_BLOCK] =
	{"INSERT OR REPLACE INTO user_state (realm, user_id, "
	 "blocked_ms, blocked_reason) VALUES (?, ?, ?, ?)",
	    true},
    [SQLITE_STMT_USER_UNBLOCK] = {"DELETE FROM user_state "
				  "WHERE realm = ? AND user_id = ?",
	true},
    [SQLITE_STMT_USER_SESSIONS] =
	{"SELECT " SESSION_COLUMNS ", 0, '' FROM session "
	 "WHERE realm = ? AND user_id = ? AND state = 1 "
	 "ORDER BY created_ms DESC, ref DESC LIMIT ?",
	    false},
    /* One statement is one snapshot; what is not asked for is not read. */
    [SQLITE_STMT_SESSION_GET] =
	{"SELECT " SESSION_COLUMNS ", CASE WHEN ?2 THEN "
	 "(SELECT m.seq FROM meta m WHERE m.grp = s.grp) "
	 "ELSE 0 END, CASE WHEN ?3 THEN data ELSE '' END "
	 "FROM session s WHERE ref = ?1",
	    false},
    [SQLITE_STMT_SESSION_INSERT] =
	{"INSERT INTO session (" SESSION_COLUMNS
	 ", data, grp) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, "
	 "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
	 "?)",
	    true},
    /* The same numbers; realm, user, created and absolute are not changed. */
    [SQLITE_STMT_SESSION_STORE] =
	{"UPDATE session SET seq = ?2, version = ?3, "
	 "secret_hash = ?6, prev_hash = ?7, "
	 "prev_until_ms = ?8, successor_used_ms = ?9, "
	 "context_id = ?10, contexts = ?11, roles = ?12, "
	 "state = ?13, end_reason = ?14, ended_ms = ?15, "
	 "auth_ms = ?17, last_seen_ms = ?18, idle_ms = ?19, "
	 "client_ip = ?21, user_agent = ?22, format = ?23, "
	 "exports = ?24, data = ?25 "
	 "WHERE ref = ?1 AND grp = ?26",
	    true},
    [SQLITE_STMT_COUNTER_NEXT] = {"UPDATE meta SET seq = seq + 1 WHERE grp = ? "
				  "RETURNING seq",
	true},
    [SQLITE_STMT_TOUCH] =
	{"UPDATE session SET last_seen_ms = ?2 WHERE ref = ?1 "
	 "AND state = 1 AND last_seen_ms < ?2",
	    true},
    [SQLITE_STMT_TOUCH_SUCCESSOR] =
	{"UPDATE session SET successor_used_ms = ?2 "
	 "WHERE ref = ?1 AND state = 1 "
	 "AND secret_hash = ?3 "
	 "AND prev_hash IS NOT NULL "
	 "AND successor_used_ms = 0",
	    true},
    [SQLITE_STMT_EXPIRED] = {"SELECT " SESSION_COLUMNS ", 0, '' FROM session "
			     "WHERE ref > ? ORDER BY ref LIMIT ?",
	false},
    [SQLITE_STMT_PURGE_SESSIONS] =
	{"DELETE FROM session WHERE rowid IN (SELECT rowid "
	 "FROM session WHERE absolute_ms < ? "
	 "ORDER BY absolute_ms LIMIT ?)",
	    true},
    [SQLITE_STMT_PURGE_AUDIT] = {"DELETE FROM audit WHERE event_id IN (SELECT "
				 "event_id FROM audit WHERE event_id < ? "
				 "ORDER BY event_id LIMIT ?)",
	true},
    [SQLITE_STMT_PURGE_IDEMPOTENCY] =
	{"DELETE FROM idempotency WHERE id IN (SELECT "
	 "id FROM idempotency WHERE expires_ms <= ? "
	 "ORDER BY expires_ms LIMIT ?)",
	    true},
    [SQLITE_STMT_PURGE_LEASES] =
	{"DELETE FROM lease WHERE name IN (SELECT name "
	 "FROM lease WHERE until_ms <= ? LIMIT ?)",
	    true},
    /* One pass over the index user_live; the sessions themselves stay shut. */
    [SQLITE_STMT_STATS] =
	{"SELECT coalesce(sum(iif(user_id = '', 0, live)), 0), "
	 "coalesce(sum(iif(user_id = '', live, 0)), 0), "
	 "count(iif(user_id <> '' AND live > 0, 1, NULL)), "
	 "coalesce(sum(ended), 0) FROM (SELECT user_id, "
	 "sum(state = 1 AND absolute_ms > ?) AS live, "
	 "sum(state = 2) AS ended FROM session "
	 "GROUP BY realm, user_id)",
	    false},
    [SQLITE_STMT_LEASE_GET] =
	{"SELECT holder, until_ms FROM lease WHERE name = ?", true},
    [SQLITE_STMT_LEASE_PUT] =
	{"INSERT OR REPLACE INTO lease (name, holder, until_ms) "
	 "VALUES (?, ?, ?)",
	    true},
    [SQLITE_STMT_LEASE_LIST] = {"SELECT name, holder, until_ms FROM lease "
				"ORDER BY name",
	false},
    [SQLITE_STMT_SERVICE_GET] = {"SELECT " SERVICE_COLUMNS " FROM service_key "
				 "WHERE key_hash = ?",
	false},
    [SQLITE_STMT_SERVICE_PUT] = {"INSERT INTO service_key (" SERVICE_COLUMNS
				 ") "
				 "VALUES (?, ?, ?, ?, ?, ?)",
	true},
    [SQLITE_STMT_SERVICE_REMOVE] = {"DELETE FROM service_key WHERE name = ?",
	true},
    [SQLITE_STMT_SERVICE_LIST] = {"SELECT " SERVICE_COLUMNS " FROM service_key "
				  "ORDER BY name",
	false},
};

/* ---- sessions ---- */

#define CONTEXTS_MAX_BYTES (SESSION_CONTEXTS_MAX * (SESSION_CONTEXT_MAX + 1))
#define ROLES_MAX_BYTES (SESSION_ROLES_MAX * (SESSION_ROLE_MAX + 1))

bool
sqlite_time_is_sound(int64_t at_ms)
{
	return at_ms >= 0 && at_ms <= SQLITE_TIME_MAX_MS;
}

bool
sqlite_address_is_sound(size_t len)
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
	       strlen(s->data) <= SQLITE_VALUE_MAX_BYTES &&
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
		if (!sqlite_time_is_sound(times[i]))
			return false;
	return s->seq <= INT64_MAX && s->version >= 1 &&
	       s->version <= INT64_MAX &&
	       (s->state == SESSION_LIVE || s->state == SESSION_ENDED) &&
	       (unsigned)s->end_reason < SGATE_REASON_COUNT &&
	       sqlite_address_is_sound(s->client_ip_len) && texts_are_sound(s);
}

/* The parameters of SQLITE_STMT_SESSION_INSERT and SQLITE_STMT_SESSION_STORE.
 */
static void
session_bind(struct sqlite_query *q, const struct sgate_session *s)
{
	query_bind_blob(q, s->ref.bytes, SGATE_REF_BYTES);
	query_bind_int(q, (int64_t)s->seq);
	query_bind_int(q, (int64_t)s->version);
	query_bind_text(q, s->realm);
	query_bind_text(q, s->user);
	query_bind_blob(q, s->secret_hash, TOKEN_HASH_BYTES);
	if (s->has_prev)
		query_bind_blob(q, s->prev_hash, TOKEN_HASH_BYTES);
	else
		query_bind_null(q);
	query_bind_int(q, s->prev_until_ms);
	query_bind_int(q, s->successor_used_ms);
	query_bind_text(q, s->context);
	query_bind_text(q, s->contexts);
	query_bind_text(q, s->roles);
	query_bind_int(q, s->state);
	query_bind_int(q, s->end_reason);
	query_bind_int(q, s->ended_ms);
	query_bind_int(q, s->created_ms);
	query_bind_int(q, s->auth_ms);
	query_bind_int(q, s->last_seen_ms);
	query_bind_int(q, s->idle_ms);
	query_bind_int(q, s->absolute_ms);
	query_bind_blob(q, s->client_ip, s->client_ip_len);
	query_bind_text(q, s->user_agent);
	query_bind_int(q, SESSION_FORMAT);
	query_bind_text(q, s->exports);
	query_bind_text(q, s->data);
	query_bind_int(q, token_ref_group(&s->ref));
}

/* The columns that say whose session it is. */
static void
session_utf8(struct sqlite_query *q, char *out, size_t size)
{
	query_get_text(q, out, size);
	if (!bytes_is_utf8(bytes_of(out)))
		query_damaged(q);
}

/* A column as a new heap string of the session. */
static void
session_column(
    struct sqlite_query *q, char **field, size_t max, bool *out_memory)
{
	if (!session_set(field, query_get_bytes(q, max)))
		*out_memory = false;
}

/* The columns of SESSION_COLUMNS, then a counter, then data. */
static bool
session_read_columns(
    struct sqlite_query *q, struct sgate_session *s, uint64_t *out_counter)
{
	bool memory = true;

	query_get_blob(q, s->ref.bytes, SGATE_REF_BYTES);
	s->seq = (uint64_t)query_get_int(q, 0, INT64_MAX);
	s->version = (uint64_t)query_get_int(q, 1, INT64_MAX);
	session_utf8(q, s->realm, sizeof(s->realm));
	session_utf8(q, s->user, sizeof(s->user));
	query_get_blob(q, s->secret_hash, TOKEN_HASH_BYTES);
	s->has_prev = query_get_blob_or_null(q, s->prev_hash, TOKEN_HASH_BYTES);
	s->prev_until_ms = query_get_time(q);
	s->successor_used_ms = query_get_time(q);
	session_utf8(q, s->context, sizeof(s->context));
	session_column(q, &s->contexts, CONTEXTS_MAX_BYTES, &memory);
	session_column(q, &s->roles, ROLES_MAX_BYTES, &memory);
	s->state =
	    (enum session_state)query_get_int(q, SESSION_LIVE, SESSION_ENDED);
	s->end_reason =
	    (enum sgate_reason)query_get_int(q, 0, SGATE_REASON_COUNT - 1);
	s->ended_ms = query_get_time(q);
	s->created_ms = query_get_time(q);
	s->auth_ms = query_get_time(q);
	s->last_seen_ms = query_get_time(q);
	s->idle_ms = query_get_time(q);
	s->absolute_ms = query_get_time(q);
	s->client_ip_len = query_get_address(q, s->client_ip);
	query_get_text(q, s->user_agent, sizeof(s->user_agent));
	query_get_int(q, SESSION_FORMAT, SESSION_FORMAT);
	session_column(q, &s->exports, SESSION_EXPORTS_MAX, &memory);
	*out_counter = (uint64_t)query_get_int(q, 0, INT64_MAX);
	session_column(q, &s->data, SQLITE_VALUE_MAX_BYTES, &memory);
	if (memory && !is_object_text(s->data))
		query_damaged(q);
	return memory;
}

static enum sgate_status
session_read(
    struct sqlite_query *q, struct sgate_session **out, uint64_t *out_counter)
{
	struct sgate_session *session = session_new();
	char row[SGATE_REF_HEX + 1];
	enum sgate_status status;

	*out = NULL;
	q->damaged_column = -1;
	if (session == NULL || !session_read_columns(q, session, out_counter)) {
		sgate_session_free(session);
		error_memory(q->err, q->operation);
		return SGATE_NO_MEMORY;
	}
	sgate_ref_text(&session->ref, row);
	status = query_row_status(q, row);
	if (status != SGATE_OK)
		sgate_session_free(session);
	else
		*out = session;
	return status;
}

enum sgate_status
sqlite_session_get(struct durable *d, const struct sgate_ref *ref,
    unsigned flags, struct sgate_session **out, struct durable_snapshot *out_at,
    struct sgate_error *err)
{
	struct sqlite_query q;
	uint64_t counter = 0;
	enum sgate_status status;

	*out = NULL;
	if (out_at != NULL)
		memset(out_at, 0, sizeof(*out_at));
	if ((flags & DURABLE_FOR_UPDATE) != 0 && !sqlite_in_transaction(d))
		return sqlite_misused(
		    d, "session_get", "needs a transaction", err);
	status = query_open(&q, d, SQLITE_STMT_SESSION_GET, "session_get", err);
	if (status != SGATE_OK)
		return status;
	query_bind_blob(&q, ref->bytes, SGATE_REF_BYTES);
	query_bind_int(&q, out_at != NULL);
	query_bind_int(&q, (flags & DURABLE_NO_DATA) == 0);
	status = query_step(&q);
	if (status == SGATE_OK)
		status = session_read(&q, out, &counter);
	query_close(&q);
	if (status == SGATE_OK && out_at != NULL)
		out_at->counter = counter;
	return status;
}

static enum sgate_status
session_write(struct durable *d, enum sqlite_statement which,
    const char *operation, const struct sgate_session *session,
    struct sgate_error *err)
{
	struct sqlite_query q;
	enum sgate_status status = query_open(&q, d, which, operation, err);

	if (status != SGATE_OK)
		return status;
	if (!session_is_sound(session))
		return sqlite_misused(
		    d, operation, "a value that no session has", err);
	session_bind(&q, session);
	status = query_run(&q);
	if (status == SGATE_OK && query_changes(&q) == 0)
		return SGATE_NOT_FOUND;
	return status;
}

enum sgate_status
sqlite_session_insert(struct durable *d, const struct sgate_session *session,
    struct sgate_error *err)
{
	return session_write(
	    d, SQLITE_STMT_SESSION_INSERT, "session_insert", session, err);
}

enum sgate_status
sqlite_session_store(struct durable *d, const struct sgate_session *session,
    struct sgate_error *err)
{
	return session_write(
	    d, SQLITE_STMT_SESSION_STORE, "session_store", session, err);
}

enum sgate_status
sqlite_counter_next(struct durable *d, unsigned group, uint64_t *out_seq,
    struct sgate_error *err)
{
	struct sqlite_query q;
	enum sgate_status status;

	*out_seq = 0;
	status =
	    query_open(&q, d, SQLITE_STMT_COUNTER_NEXT, "counter_next", err);
	if (status != SGATE_OK)
		return status;
	query_bind_int(&q, group);
	status = query_step(&q);
	if (status == SGATE_NOT_FOUND)
		status = query_missing(&q, "a counter of table meta");
	if (status == SGATE_OK) {
		*out_seq = (uint64_t)query_get_int(&q, 1, INT64_MAX);
		status = query_row_status(&q, "a counter");
	}
	query_close(&q);
	return status;
}

/* ---- users ---- */

/*
 * The file's write lock, held since begin, is every user's exclusive lock, so
 * no row is needed for it: only blocked users have one.
 */
enum sgate_status
sqlite_user_lock(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, bool exclusive, struct durable_user *out,
    struct sgate_error *err)
{
	struct durable_user row = {0};
	struct sqlite_query q;
	enum sgate_status status;

	(void)exclusive;
	memset(out, 0, sizeof(*out));
	status = query_open(&q, d, SQLITE_STMT_USER_GET, "user_lock", err);
	if (status != SGATE_OK)
		return status;
	query_bind_bytes(&q, realm);
	query_bind_bytes(&q, user);
	status = query_step(&q);
	if (status == SGATE_OK) {
		row.blocked_ms = query_get_time(&q);
		query_get_text(
		    &q, row.blocked_reason, sizeof(row.blocked_reason));
		status = query_row_status(&q, "a user's row");
	}
	query_close(&q);
	if (status == SGATE_OK)
		*out = row;
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

enum sgate_status
sqlite_user_block(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, int64_t blocked_ms, struct sgate_bytes reason,
    struct sgate_error *err)
{
	const size_t reason_max =
	    sizeof(((struct durable_user *)NULL)->blocked_reason) - 1;
	struct sqlite_query q;
	enum sgate_status status;

	if (!sqlite_time_is_sound(blocked_ms) || reason.len > reason_max)
		return sqlite_misused(
		    d, "user_block", "a value that no user has", err);
	status = query_open(&q, d,
	    blocked_ms != 0 ? SQLITE_STMT_USER_BLOCK : SQLITE_STMT_USER_UNBLOCK,
	    "user_block", err);

	if (status != SGATE_OK)
		return status;
	query_bind_bytes(&q, realm);
	query_bind_bytes(&q, user);
	if (blocked_ms != 0) {
		query_bind_int(&q, blocked_ms);
		query_bind_bytes(&q, reason);
	}
	return query_run(&q);
}

enum sgate_status
sqlite_user_sessions(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, size_t limit, durable_session_fn *fn, void *arg,
    struct sgate_error *err)
{
	struct sgate_session *session;
	struct sqlite_query q;
	uint64_t counter;
	bool is_stopped = false;
	enum sgate_status status =
	    query_open(&q, d, SQLITE_STMT_USER_SESSIONS, "user_sessions", err);

	if (status != SGATE_OK)
		return status;
	query_bind_bytes(&q, realm);
	query_bind_bytes(&q, user);
	query_bind_limit(&q, limit == 0 ? SIZE_MAX : limit);
	while (!is_stopped && (status = query_step(&q)) == SGATE_OK) {
		status = session_read(&q, &session, &counter);
		if (status != SGATE_OK)
			break;
		is_stopped = fn(arg, session) != 0;
		sgate_session_free(session);
	}
	query_close(&q);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

/* ---- touches ---- */

static enum sgate_status
touch_last_seen(struct durable *d, const struct durable_touch *touch,
    struct sgate_error *err)
{
	struct sqlite_query q;
	enum sgate_status status =
	    query_open(&q, d, SQLITE_STMT_TOUCH, "touch", err);

	if (status != SGATE_OK)
		return status;
	query_bind_blob(&q, touch->ref.bytes, SGATE_REF_BYTES);
	query_bind_int(&q, touch->last_seen_ms);
	return query_run(&q);
}

static enum sgate_status
touch_successor(struct durable *d, const struct durable_touch *touch,
    struct sgate_error *err)
{
	struct sqlite_query q;
	enum sgate_status status =
	    query_open(&q, d, SQLITE_STMT_TOUCH_SUCCESSOR, "touch", err);

	if (status != SGATE_OK)
		return status;
	query_bind_blob(&q, touch->ref.bytes, SGATE_REF_BYTES);
	query_bind_int(&q, touch->successor_used_ms);
	query_bind_blob(&q, touch->secret_hash, TOKEN_HASH_BYTES);
	return query_run(&q);
}

enum sgate_status
sqlite_touch(struct durable *d, const struct durable_touch *touches,
    size_t count, struct sgate_error *err)
{
	enum sgate_status status;
	size_t i;

	error_clear(err);
	for (i = 0; i < count; i++)
		if (!sqlite_time_is_sound(touches[i].last_seen_ms) ||
		    !sqlite_time_is_sound(touches[i].successor_used_ms))
			return sqlite_misused(
			    d, "touch", "a time that cannot be", err);
	status = sqlite_begin(d, err);
	if (status != SGATE_OK)
		return status;
	for (i = 0; i < count && status == SGATE_OK; i++) {
		if (touches[i].last_seen_ms > 0)
			status = touch_last_seen(d, &touches[i], err);
		if (status == SGATE_OK && touches[i].successor_used_ms > 0)
			status = touch_successor(d, &touches[i], err);
	}
	return sqlite_end(d, status, err);
}

/* ---- care ---- */

/*
 * A damaged row must not stop the reaper for ever: the walk goes on behind it
 * and answers SGATE_CORRUPT in the end, with the cursor moved on.
 */
enum sgate_status
sqlite_expired(struct durable *d, int64_t now_ms, size_t limit,
    struct sgate_ref *cursor, bool *out_wrapped, durable_session_fn *fn,
    void *arg, struct sgate_error *err)
{
	const struct sgate_ref start = *cursor;
	struct sgate_session *session;
	struct sqlite_query q;
	enum sgate_status status;
	enum sgate_status row_status = SGATE_OK;
	uint64_t counter;
	size_t seen = 0;
	bool is_stopped = false;

	*out_wrapped = false;
	status = query_open(&q, d, SQLITE_STMT_EXPIRED, "expired", err);
	if (status != SGATE_OK)
		return status;
	query_bind_blob(&q, start.bytes, SGATE_REF_BYTES);
	query_bind_limit(&q, limit);
	while (!is_stopped && (status = query_step(&q)) == SGATE_OK) {
		seen++;
		status = session_read(&q, &session, &counter);
		if (status == SGATE_CORRUPT) {
			row_status = status;
			q.column = 0;
			query_get_blob(&q, cursor->bytes, SGATE_REF_BYTES);
			continue;
		}
		if (status != SGATE_OK)
			break;
		*cursor = session->ref;
		if (session->state == SESSION_LIVE &&
		    session_expiry(session, now_ms) != SGATE_REASON_OK)
			is_stopped = fn(arg, session) != 0;
		sgate_session_free(session);
	}
	query_close(&q);
	if (status != SGATE_OK && status != SGATE_NOT_FOUND)
		return status;
	*out_wrapped = !is_stopped && seen < limit;
	if (*out_wrapped)
		memset(cursor, 0, sizeof(*cursor));
	return row_status;
}

static enum sgate_status
purge_one(struct durable *d, enum sqlite_statement which, int64_t before_ms,
    size_t limit, uint64_t *count, struct sgate_error *err)
{
	unsigned char before[DURABLE_EVENT_BYTES];
	struct sqlite_query q;
	enum sgate_status status = query_open(&q, d, which, "purge", err);

	if (status != SGATE_OK)
		return status;
	sqlite_event_id_at(before_ms, before);
	if (which == SQLITE_STMT_PURGE_AUDIT)
		query_bind_blob(&q, before, sizeof(before));
	else
		query_bind_int(&q, before_ms);
	query_bind_limit(&q, limit);
	status = query_run(&q);
	if (status == SGATE_OK)
		*count += query_changes(&q);
	return status;
}

enum sgate_status
sqlite_purge(struct durable *d, int64_t sessions_before_ms,
    int64_t audit_before_ms, int64_t now_ms, size_t limit,
    uint64_t *out_sessions, uint64_t *out_others, struct sgate_error *err)
{
	uint64_t sessions = 0;
	uint64_t others = 0;
	enum sgate_status status;

	*out_sessions = 0;
	*out_others = 0;
	status = sqlite_begin(d, err);
	if (status != SGATE_OK)
		return status;
	status = purge_one(d, SQLITE_STMT_PURGE_SESSIONS, sessions_before_ms,
	    limit, &sessions, err);
	if (status == SGATE_OK)
		status = purge_one(d, SQLITE_STMT_PURGE_AUDIT, audit_before_ms,
		    limit, &others, err);
	if (status == SGATE_OK)
		status = purge_one(d, SQLITE_STMT_PURGE_IDEMPOTENCY, now_ms,
		    limit, &others, err);
	if (status == SGATE_OK)
		status = purge_one(
		    d, SQLITE_STMT_PURGE_LEASES, now_ms, limit, &others, err);
	status = sqlite_end(d, status, err);
	if (status == SGATE_OK) {
		*out_sessions = sessions;
		*out_others = others;
	}
	return status;
}

enum sgate_status
sqlite_stats(struct durable *d, int64_t now_ms, struct sgate_stats *out,
    struct sgate_error *err)
{
	struct sgate_stats stats = {0};
	struct sqlite_query q;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = query_open(&q, d, SQLITE_STMT_STATS, "stats", err);
	if (status != SGATE_OK)
		return status;
	query_bind_int(&q, now_ms);
	status = query_step(&q);
	if (status == SGATE_OK) {
		stats.live = (uint64_t)query_get_int(&q, 0, INT64_MAX);
		stats.anonymous = (uint64_t)query_get_int(&q, 0, INT64_MAX);
		stats.users = (uint64_t)query_get_int(&q, 0, INT64_MAX);
		stats.ended = (uint64_t)query_get_int(&q, 0, INT64_MAX);
		status = query_row_status(&q, "statistics");
	}
	query_close(&q);
	if (status == SGATE_OK)
		*out = stats;
	return status;
}
