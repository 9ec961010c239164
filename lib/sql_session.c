/* Rows of sessions and users, what is around them, and what tidies them. */
#include "config.h"

#include "sql.h"

#include <string.h>

#include "buf.h"
#include "status.h"

#define CONTEXTS_MAX_BYTES (SESSION_CONTEXTS_MAX * (SESSION_CONTEXT_MAX + 1))
#define ROLES_MAX_BYTES (SESSION_ROLES_MAX * (SESSION_ROLE_MAX + 1))

/* ---- writing a session ---- */

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
	       strlen(s->data) <= SQL_VALUE_MAX_BYTES &&
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
		if (!sql_time_is_sound(times[i]))
			return false;
	return s->seq <= INT64_MAX && s->version >= 1 &&
	       s->version <= INT64_MAX &&
	       (s->state == SESSION_LIVE || s->state == SESSION_ENDED) &&
	       (unsigned)s->end_reason < SGATE_REASON_COUNT &&
	       sql_address_is_sound(s->client_ip_len) && texts_are_sound(s);
}

/* The parameters of SQL_SESSION_INSERT, or those of SQL_SESSION_STORE. */
static void
session_bind(struct sql_run *r, const struct sgate_session *s, bool is_new)
{
	if (is_new)
		sql_bind_blob(r, s->ref.bytes, SGATE_REF_BYTES);
	sql_bind_if_set(r, (int64_t)s->seq);
	sql_bind_int(r, (int64_t)s->version);
	if (is_new) {
		sql_bind_text(r, s->realm);
		sql_bind_text(r, s->user);
	}
	sql_bind_blob(r, s->secret_hash, TOKEN_HASH_BYTES);
	if (s->has_prev)
		sql_bind_blob(r, s->prev_hash, TOKEN_HASH_BYTES);
	else
		sql_bind_null(r);
	sql_bind_if_set(r, s->prev_until_ms);
	sql_bind_if_set(r, s->successor_used_ms);
	sql_bind_text(r, s->context);
	sql_bind_text(r, s->contexts);
	sql_bind_text(r, s->roles);
	sql_bind_int(r, s->state);
	sql_bind_int(r, s->end_reason);
	sql_bind_if_set(r, s->ended_ms);
	if (is_new)
		sql_bind_int(r, s->created_ms);
	sql_bind_int(r, s->auth_ms);
	sql_bind_int(r, s->last_seen_ms);
	sql_bind_int(r, s->idle_ms);
	if (is_new)
		sql_bind_int(r, s->absolute_ms);
	sql_bind_blob(r, s->client_ip, s->client_ip_len);
	sql_bind_text(r, s->user_agent);
	sql_bind_int(r, SESSION_FORMAT);
	sql_bind_text(r, s->exports);
	sql_bind_text(r, s->data);
	if (is_new)
		sql_bind_int(r, token_ref_group(&s->ref));
	else
		sql_bind_blob(r, s->ref.bytes, SGATE_REF_BYTES);
}

static enum sgate_status
bind_sound(struct sql_run *r, const struct sgate_session *session, bool is_new)
{
	if (!session_is_sound(session))
		return sql_misused(&r->store->durable, r->operation,
		    "a value that no session has", r->err);
	session_bind(r, session, is_new);
	return SGATE_OK;
}

enum sgate_status
sql_session_bind(struct sql_run *r, const struct sgate_session *session)
{
	return bind_sound(r, session, true);
}

enum sgate_status
sql_session_bind_store(struct sql_run *r, const struct sgate_session *session)
{
	return bind_sound(r, session, false);
}

static enum sgate_status
session_write(struct durable *d, enum sql_statement which,
    const char *operation, const struct sgate_session *session,
    struct sgate_error *err)
{
	struct sql_run r;
	uint64_t changes;
	enum sgate_status status = sql_open(&r, d, which, operation, err);

	if (status != SGATE_OK)
		return status;
	if (!session_is_sound(session)) {
		sql_close(&r);
		return sql_misused(
		    d, operation, "a value that no session has", err);
	}
	session_bind(&r, session, which == SQL_SESSION_INSERT);
	status = sql_finish(&r, &changes);
	return status == SGATE_OK && changes == 0 ? SGATE_NOT_FOUND : status;
}

enum sgate_status
sql_session_insert(struct durable *d, const struct sgate_session *session,
    struct sgate_error *err)
{
	return session_write(
	    d, SQL_SESSION_INSERT, "session_insert", session, err);
}

enum sgate_status
sql_session_store(struct durable *d, const struct sgate_session *session,
    struct sgate_error *err)
{
	return session_write(
	    d, SQL_SESSION_STORE, "session_store", session, err);
}

/* ---- reading a session ---- */

/* The columns that say whose session it is. */
static void
get_utf8(struct sql_run *r, char *out, size_t size)
{
	sql_get_text(r, out, size);
	if (!bytes_is_utf8(bytes_of(out)))
		sql_damaged(r);
}

/* A column as a new heap string of the session. */
static void
get_string(struct sql_run *r, char **field, size_t max, bool *out_memory)
{
	if (!session_set(field, sql_get_bytes(r, max)))
		*out_memory = false;
}

/* What SQL_SESSION_PEEK leaves out. False: memory is out. */
static bool
read_data(struct sql_run *r, struct sgate_session *s)
{
	bool memory = true;

	get_string(r, &s->data, SQL_VALUE_MAX_BYTES, &memory);
	if (memory && !is_object_text(s->data))
		sql_damaged(r);
	return memory;
}

/* False: memory is out. */
static bool
read_columns(struct sql_run *r, struct sgate_session *s)
{
	bool memory = true;

	sql_get_blob(r, s->ref.bytes, SGATE_REF_BYTES);
	s->seq = (uint64_t)sql_get_if_set(r, INT64_MAX);
	s->version = (uint64_t)sql_get_int(r, 1, INT64_MAX);
	get_utf8(r, s->realm, sizeof(s->realm));
	get_utf8(r, s->user, sizeof(s->user));
	sql_get_blob(r, s->secret_hash, TOKEN_HASH_BYTES);
	s->has_prev = sql_get_blob_or_null(r, s->prev_hash, TOKEN_HASH_BYTES);
	s->prev_until_ms = sql_get_if_set(r, SQL_TIME_MAX_MS);
	s->successor_used_ms = sql_get_if_set(r, SQL_TIME_MAX_MS);
	get_utf8(r, s->context, sizeof(s->context));
	get_string(r, &s->contexts, CONTEXTS_MAX_BYTES, &memory);
	get_string(r, &s->roles, ROLES_MAX_BYTES, &memory);
	s->state =
	    (enum session_state)sql_get_int(r, SESSION_LIVE, SESSION_ENDED);
	s->end_reason =
	    (enum sgate_reason)sql_get_int(r, 0, SGATE_REASON_COUNT - 1);
	s->ended_ms = sql_get_if_set(r, SQL_TIME_MAX_MS);
	s->created_ms = sql_get_time(r);
	s->auth_ms = sql_get_time(r);
	s->last_seen_ms = sql_get_time(r);
	s->idle_ms = sql_get_time(r);
	s->absolute_ms = sql_get_time(r);
	s->client_ip_len = sql_get_address(r, s->client_ip);
	sql_get_text(r, s->user_agent, sizeof(s->user_agent));
	sql_get_int(r, SESSION_FORMAT, SESSION_FORMAT);
	get_string(r, &s->exports, SESSION_EXPORTS_MAX, &memory);
	if (r->which != SQL_SESSION_PEEK)
		memory = read_data(r, s) && memory;
	return memory;
}

enum sgate_status
sql_session_read(struct sql_run *r, struct sgate_session **out)
{
	struct sgate_session *session = session_new();
	char row[SGATE_REF_HEX + 1];
	enum sgate_status status;

	*out = NULL;
	r->damaged_column = -1;
	if (session == NULL || !read_columns(r, session)) {
		sgate_session_free(session);
		return error_memory(r->err, r->operation);
	}
	sgate_ref_text(&session->ref, row);
	status = sql_row_status(r, row);
	if (status != SGATE_OK)
		sgate_session_free(session);
	else
		*out = session;
	return status;
}

enum sgate_status
sql_sessions(struct sql_run *r, durable_session_fn *fn, void *arg)
{
	struct sgate_session *session;
	bool is_stopped = false;
	enum sgate_status status = SGATE_OK;

	while (!is_stopped && (status = sql_step(r)) == SGATE_OK) {
		status = sql_session_read(r, &session);
		if (status != SGATE_OK)
			break;
		is_stopped = fn(arg, session) != 0;
		sgate_session_free(session);
	}
	sql_close(r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

/* ---- what is around a row ---- */

void
sql_store_read(struct sql_run *r, struct record_store *out)
{
	sql_get_blob(r, out->id, sizeof(out->id));
	out->epoch = (unsigned)sql_get_int(r, 0, SQL_EPOCH_MAX);
}

/* The columns of SQL_SNAPSHOT_COLUMNS. */
static enum sgate_status
snapshot_read(struct sql_run *r, struct durable_snapshot *out)
{
	out->counter = (uint64_t)sql_get_int(r, 0, INT64_MAX);
	sql_store_read(r, &out->store);
	return sql_row_status(r, "a counter, or the row of table store");
}

enum sgate_status
sql_snapshot(struct durable *d, unsigned group, struct durable_snapshot *out,
    struct sgate_error *err)
{
	struct durable_snapshot at = {0};
	struct sql_run r;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = sql_open(&r, d, SQL_SNAPSHOT, "snapshot", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_int(&r, group);
	status = sql_step(&r);
	if (status == SGATE_NOT_FOUND)
		status = sql_missing(&r, "the snapshot");
	if (status == SGATE_OK)
		status = snapshot_read(&r, &at);
	sql_close(&r);
	if (status == SGATE_OK)
		*out = at;
	return status;
}

enum sgate_status
sql_store_get(struct durable *d, unsigned char id[16], unsigned *out_epoch,
    struct sgate_error *err)
{
	struct record_store store = {.epoch = 0};
	struct sql_run r;
	enum sgate_status status;

	memset(id, 0, 16);
	*out_epoch = 0;
	status = sql_open(&r, d, SQL_STORE_GET, "store_get", err);
	if (status != SGATE_OK)
		return status;
	status = sql_step(&r);
	if (status == SGATE_NOT_FOUND)
		status = sql_missing(&r, "the row of table store");
	if (status == SGATE_OK) {
		sql_store_read(&r, &store);
		status = sql_row_status(&r, "store");
	}
	sql_close(&r);
	if (status != SGATE_OK)
		return status;
	memcpy(id, store.id, sizeof(store.id));
	*out_epoch = store.epoch;
	return SGATE_OK;
}

/* ---- numbers ---- */

/* Each counter once; *has counts them. */
static enum sgate_status
poll_read(struct sql_run *r, struct durable_poll *poll, unsigned *has)
{
	int64_t group = sql_get_int(r, 0, DURABLE_SETTINGS);
	uint64_t number = (uint64_t)sql_get_int(r, 0, INT64_MAX);

	sql_get_text(r, poll->ident, sizeof(poll->ident));
	poll->now_ms = sql_get_time(r);
	sql_store_read(r, &poll->store);
	if (group == DURABLE_SETTINGS)
		poll->settings = number;
	else if (group < TOKEN_GROUPS)
		poll->counters[group] = number;
	else
		return SGATE_OK;
	++*has;
	return sql_row_status(r, "a row of table meta");
}

enum sgate_status
sql_poll(struct durable *d, struct durable_poll *out, struct sgate_error *err)
{
	struct durable_poll poll = {.now_ms = 0};
	struct sql_run r;
	unsigned has = 0;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = sql_open(&r, d, SQL_POLL, "poll", err);
	if (status != SGATE_OK)
		return status;
	while ((status = sql_step(&r)) == SGATE_OK) {
		status = poll_read(&r, &poll, &has);
		if (status != SGATE_OK)
			break;
	}
	if (status == SGATE_NOT_FOUND)
		status = has == TOKEN_GROUPS + 1
			     ? SGATE_OK
			     : sql_missing(&r, "a counter of table meta");
	sql_close(&r);
	if (status == SGATE_OK)
		*out = poll;
	return status;
}

/* One more is asked for than is given: whether there are more. */
enum sgate_status
sql_changed(struct durable *d, unsigned group, uint64_t after, size_t limit,
    durable_ref_fn *fn, void *arg, bool *out_is_all, struct sgate_error *err)
{
	struct sgate_ref ref;
	struct sql_run r;
	enum sgate_status status;
	size_t given = 0;

	*out_is_all = false;
	if (after > INT64_MAX)
		return sql_misused(
		    d, "changed", "a number that cannot be", err);
	status = sql_open(&r, d, SQL_CHANGED, "changed", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_int(&r, group);
	sql_bind_int(&r, (int64_t)after);
	sql_bind_limit(&r, limit + 1);
	while ((status = sql_step(&r)) == SGATE_OK && given < limit) {
		sql_get_blob(&r, ref.bytes, sizeof(ref.bytes));
		status = sql_row_status(&r, "a ref");
		if (status != SGATE_OK)
			break;
		given++;
		if (fn(arg, &ref) != 0)
			break;
	}
	*out_is_all = status == SGATE_NOT_FOUND;
	if (status == SGATE_NOT_FOUND)
		status = SGATE_OK;
	sql_close(&r);
	return status;
}

enum sgate_status
sql_ping(struct durable *d, struct sgate_error *err)
{
	unsigned char id[16];
	unsigned epoch;

	return sql_store_get(d, id, &epoch, err);
}

/*
 * FOR UPDATE reads what is around the row in a statement of its own: nobody
 * else takes a number for a row that is locked.
 */
enum sgate_status
sql_session_get(struct durable *d, const struct sgate_ref *ref, unsigned flags,
    struct sgate_session **out, struct durable_snapshot *out_at,
    struct sgate_error *err)
{
	bool is_locked = (flags & DURABLE_FOR_UPDATE) != 0;
	bool has_at = out_at != NULL && !is_locked;
	bool has_data = (flags & DURABLE_NO_DATA) == 0;
	struct durable_snapshot at = {0};
	struct sql_run r;
	enum sgate_status status;

	*out = NULL;
	if (out_at != NULL)
		*out_at = at;
	status = sql_open(&r, d,
	    is_locked  ? SQL_SESSION_LOCK
	    : has_at   ? SQL_SESSION_GET_AT
	    : has_data ? SQL_SESSION_GET
		       : SQL_SESSION_PEEK,
	    "session_get", err);
	if (status != SGATE_OK)
		return status;
	if (is_locked || has_at)
		sql_bind_int(&r, has_data);
	if (has_at)
		sql_bind_int(&r, token_ref_group(ref));
	sql_bind_blob(&r, ref->bytes, SGATE_REF_BYTES);
	status = sql_step(&r);
	if (status == SGATE_OK)
		status = sql_session_read(&r, out);
	if (status == SGATE_OK && has_at)
		status = snapshot_read(&r, &at);
	sql_close(&r);
	if (status == SGATE_OK && out_at != NULL && is_locked)
		status = sql_snapshot(d, token_ref_group(ref), &at, err);
	if (status != SGATE_OK) {
		sgate_session_free(*out);
		*out = NULL;
	} else if (out_at != NULL) {
		*out_at = at;
	}
	return status;
}

/* ---- users ---- */

enum sgate_status
sql_user_read(struct sql_run *r, struct durable_user *out)
{
	struct durable_user row = {0};
	enum sgate_status status = sql_step(r);

	if (status == SGATE_OK) {
		row.blocked_ms = sql_get_time(r);
		sql_get_text(r, row.blocked_reason, sizeof(row.blocked_reason));
		status = sql_row_status(r, "a user's row");
	}
	sql_close(r);
	if (status == SGATE_OK)
		*out = row;
	return status;
}

enum sgate_status
sql_user_block(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, int64_t blocked_ms, struct sgate_bytes reason,
    struct sgate_error *err)
{
	const size_t reason_max =
	    sizeof(((struct durable_user *)NULL)->blocked_reason) - 1;
	struct sql_run r;
	enum sgate_status status;

	if (!sql_time_is_sound(blocked_ms) || reason.len > reason_max)
		return sql_misused(
		    d, "user_block", "a value that no user has", err);
	status =
	    sql_open(&r, d, blocked_ms != 0 ? SQL_USER_BLOCK : SQL_USER_UNBLOCK,
		"user_block", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_bytes(&r, realm);
	sql_bind_bytes(&r, user);
	if (blocked_ms != 0) {
		sql_bind_int(&r, blocked_ms);
		sql_bind_bytes(&r, reason);
	}
	return sql_finish(&r, NULL);
}

enum sgate_status
sql_blocked_users(struct durable *d, size_t limit, durable_user_fn *fn,
    void *arg, struct sgate_error *err)
{
	char realm[SESSION_REALM_MAX + 1], user[SESSION_USER_MAX + 1];
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_USERS_BLOCKED, "blocked_users", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_limit(&r, limit);
	while ((status = sql_step(&r)) == SGATE_OK) {
		sql_get_text(&r, realm, sizeof(realm));
		sql_get_text(&r, user, sizeof(user));
		status = sql_row_status(&r, "a user's row");
		if (status != SGATE_OK ||
		    fn(arg, bytes_of(realm), bytes_of(user)) != 0)
			break;
	}
	sql_close(&r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

/* ---- settings ---- */

enum sgate_status
sql_setting_list(struct durable *d, durable_setting_fn *fn, void *arg,
    struct sgate_error *err)
{
	char name[DURABLE_SETTING_NAME_MAX + 1];
	struct sgate_bytes value;
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_SETTING_LIST, "setting_list", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_limit(&r, DURABLE_SETTINGS_MAX);
	while ((status = sql_step(&r)) == SGATE_OK) {
		sql_get_text(&r, name, sizeof(name));
		value = sql_get_bytes(&r, DURABLE_SETTING_MAX_BYTES);
		status = sql_row_status(&r, "a setting");
		if (status != SGATE_OK || fn(arg, name, value) != 0)
			break;
	}
	sql_close(&r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

enum sgate_status
sql_setting_put(struct durable *d, const char *name, struct sgate_bytes value,
    uint64_t number, struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status;

	if (name[0] == '\0' || strlen(name) > DURABLE_SETTING_NAME_MAX ||
	    value.len > DURABLE_SETTING_MAX_BYTES || number > INT64_MAX)
		return sql_misused(
		    d, "setting_put", "a setting that cannot be", err);
	status = sql_open(&r, d, SQL_SETTING_PUT, "setting_put", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_text(&r, name);
	sql_bind_bytes(&r, value);
	sql_bind_int(&r, (int64_t)number);
	return sql_finish(&r, NULL);
}

enum sgate_status
sql_latest_expiry(struct durable *d, int64_t *out_ms, struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status;

	*out_ms = 0;
	status = sql_open(&r, d, SQL_LATEST_EXPIRY, "latest_expiry", err);
	if (status != SGATE_OK)
		return status;
	status = sql_step(&r);
	if (status == SGATE_OK) {
		*out_ms = sql_get_if_set(&r, SQL_TIME_MAX_MS);
		status = sql_row_status(&r, "the latest expiry");
	}
	sql_close(&r);
	if (status != SGATE_OK)
		*out_ms = 0;
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

enum sgate_status
sql_user_sessions(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, size_t limit, durable_session_fn *fn, void *arg,
    struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_USER_SESSIONS, "user_sessions", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_bytes(&r, realm);
	sql_bind_bytes(&r, user);
	sql_bind_limit(&r, limit == 0 ? SIZE_MAX : limit);
	return sql_sessions(&r, fn, arg);
}

/* ---- care ---- */

enum sgate_status
sql_touches_check(struct durable *d, const struct durable_touch *touches,
    size_t count, struct sgate_error *err)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (!sql_time_is_sound(touches[i].last_seen_ms) ||
		    !sql_time_is_sound(touches[i].successor_used_ms))
			return sql_misused(
			    d, "touch", "a time that cannot be", err);
	return SGATE_OK;
}

/* A walk over all rows in the order of their key. */
struct walk {
	const char *operation;
	enum sql_statement statement;
	bool (*is_wanted)(
	    const struct sgate_session *session, const struct walk *walk);
	int64_t now_ms;
	int64_t created_before_ms;
	size_t limit;
	struct sgate_ref *cursor;
	durable_session_fn *fn;
	void *arg;
};

static bool
is_expired(const struct sgate_session *session, const struct walk *walk)
{
	return session->state == SESSION_LIVE &&
	       (session->created_ms < walk->created_before_ms ||
		   session_expiry(session, walk->now_ms) != SGATE_REASON_OK);
}

static bool
is_live(const struct sgate_session *session, const struct walk *walk)
{
	return session->state == SESSION_LIVE &&
	       session->absolute_ms > walk->now_ms;
}

/*
 * A damaged row must not stop it for ever: the walk goes on behind it and
 * answers SGATE_CORRUPT in the end, with the cursor moved on.
 */
static enum sgate_status
walk_rows(struct durable *d, const struct walk *walk, bool *out_wrapped,
    struct sgate_error *err)
{
	const struct sgate_ref start = *walk->cursor;
	struct sgate_session *session;
	struct sql_run r;
	enum sgate_status row_status = SGATE_OK;
	enum sgate_status status;
	size_t seen = 0;
	bool is_stopped = false;

	*out_wrapped = false;
	status = sql_open(&r, d, walk->statement, walk->operation, err);
	if (status != SGATE_OK)
		return status;
	sql_bind_blob(&r, start.bytes, SGATE_REF_BYTES);
	sql_bind_limit(&r, walk->limit);
	while (!is_stopped && (status = sql_step(&r)) == SGATE_OK) {
		seen++;
		status = sql_session_read(&r, &session);
		if (status == SGATE_CORRUPT) {
			row_status = status;
			r.column = 0;
			sql_get_blob(&r, walk->cursor->bytes, SGATE_REF_BYTES);
			continue;
		}
		if (status != SGATE_OK)
			break;
		*walk->cursor = session->ref;
		if (walk->is_wanted(session, walk))
			is_stopped = walk->fn(walk->arg, session) != 0;
		sgate_session_free(session);
	}
	sql_close(&r);
	if (status != SGATE_OK && status != SGATE_NOT_FOUND)
		return status;
	*out_wrapped = !is_stopped && seen < walk->limit;
	if (*out_wrapped)
		memset(walk->cursor, 0, sizeof(*walk->cursor));
	return row_status;
}

enum sgate_status
sql_expired(struct durable *d, int64_t now_ms, int64_t created_before_ms,
    size_t limit, struct sgate_ref *cursor, bool *out_wrapped,
    durable_session_fn *fn, void *arg, struct sgate_error *err)
{
	const struct walk walk = {"expired", SQL_WALK, is_expired, now_ms,
	    created_before_ms, limit, cursor, fn, arg};

	return walk_rows(d, &walk, out_wrapped, err);
}

enum sgate_status
sql_live(struct durable *d, int64_t now_ms, size_t limit,
    struct sgate_ref *cursor, bool *out_wrapped, durable_session_fn *fn,
    void *arg, struct sgate_error *err)
{
	const struct walk walk = {
	    "live", SQL_WALK_WHOLE, is_live, now_ms, 0, limit, cursor, fn, arg};

	return walk_rows(d, &walk, out_wrapped, err);
}

struct purge {
	int64_t sessions_before_ms;
	int64_t audit_before_ms;
	int64_t now_ms;
	size_t limit;
	uint64_t sessions;
	uint64_t others;
};

static enum sgate_status
purge_one(struct durable *d, enum sql_statement which, int64_t before_ms,
    size_t limit, uint64_t *count, struct sgate_error *err)
{
	unsigned char before[DURABLE_EVENT_BYTES];
	struct sql_run r;
	uint64_t changes;
	enum sgate_status status = sql_open(&r, d, which, "purge", err);

	if (status != SGATE_OK)
		return status;
	sql_event_id_at(before_ms, before);
	if (which == SQL_PURGE_AUDIT)
		sql_bind_blob(&r, before, sizeof(before));
	else
		sql_bind_int(&r, before_ms);
	sql_bind_limit(&r, limit);
	status = sql_finish(&r, &changes);
	*count += changes;
	return status;
}

static enum sgate_status
purge_all(struct durable *d, void *arg, struct sgate_error *err)
{
	const struct sql_store *store = (const struct sql_store *)d;
	struct purge *purge = arg;
	enum sgate_status status;

	purge->sessions = 0;
	purge->others = 0;
	status = purge_one(d, SQL_PURGE_SESSIONS, purge->sessions_before_ms,
	    purge->limit, &purge->sessions, err);
	/* Where there is maintain, audit rows go with their partition. */
	if (status == SGATE_OK && sql_text(store, SQL_PURGE_AUDIT).sql != NULL)
		status = purge_one(d, SQL_PURGE_AUDIT, purge->audit_before_ms,
		    purge->limit, &purge->others, err);
	if (status == SGATE_OK)
		status = purge_one(d, SQL_PURGE_IDEMPOTENCY, purge->now_ms,
		    purge->limit, &purge->others, err);
	if (status == SGATE_OK)
		status = purge_one(d, SQL_PURGE_LEASES, purge->now_ms,
		    purge->limit, &purge->others, err);
	return status;
}

enum sgate_status
sql_purge(struct durable *d, int64_t sessions_before_ms,
    int64_t audit_before_ms, int64_t now_ms, size_t limit,
    uint64_t *out_sessions, uint64_t *out_others, struct sgate_error *err)
{
	const struct sql_store *store = (const struct sql_store *)d;
	struct purge purge = {.sessions_before_ms = sessions_before_ms,
	    .audit_before_ms = audit_before_ms,
	    .now_ms = now_ms,
	    .limit = limit};
	enum sgate_status status;

	*out_sessions = 0;
	*out_others = 0;
	status = store->driver->transaction(d, purge_all, &purge, err);
	if (status == SGATE_OK) {
		*out_sessions = purge.sessions;
		*out_others = purge.others;
	}
	return status;
}
