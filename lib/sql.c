/*
 * Runs of statements: what is bound, what a column may hold, and the texts that
 * all stores understand. The order of columns and parameters is the one of the
 * code in sql_session.c and sql_audit.c.
 */
#include "config.h"

#include "sql.h"

#include <stddef.h>
#include <string.h>

#include "buf.h"
#include "status.h"

/* ---- texts ---- */

#define SERVICE_COLUMNS "name, key_hash, scopes, realm, created_ms, expires_ms"

static const struct sql_text common_texts[SQL_STATEMENTS] = {
    [SQL_STORE_GET] = {"SELECT store_id, epoch FROM store WHERE id = 1", false},
    [SQL_AUDIT_INSERT] = {"INSERT INTO audit (" SQL_AUDIT_COLUMNS ") "
			  "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	true},
    [SQL_AUDIT_EXISTS] = {"SELECT 1 FROM audit WHERE event_id = ?", false},
    [SQL_IDEMPOTENCY_GET] = {"SELECT body_hash, ref, key_id, nonce, "
			     "expires_ms FROM idempotency WHERE id = ?",
	false},
    [SQL_IDEMPOTENCY_INSERT] = {"INSERT INTO idempotency (id, body_hash, ref, "
				"key_id, nonce, expires_ms) "
				"VALUES (?, ?, ?, ?, ?, ?)",
	true},
    [SQL_IDEMPOTENCY_REMOVE] = {"DELETE FROM idempotency WHERE id = ?", true},
    [SQL_USER_UNBLOCK] = {"DELETE FROM user_state "
			  "WHERE realm = ? AND user_id = ?",
	true},
    [SQL_USERS_BLOCKED] = {"SELECT realm, user_id FROM user_state "
			   "WHERE blocked_ms > 0 LIMIT ?",
	false},
    /* In the order of the key user_live, so that a limit ends the reading. */
    [SQL_USER_SESSIONS] = {"SELECT " SQL_SESSION_COLUMNS ", '' FROM session "
			   "WHERE realm = ? AND user_id = ? AND state = 1 "
			   "ORDER BY created_ms DESC, absolute_ms DESC, ref "
			   "DESC LIMIT ?",
	false},
    /*
     * One statement is one snapshot; what is not asked for is not read. No
     * joins: a row of another table that is missing must not hide this one.
     */
    [SQL_SESSION_GET] = {"SELECT " SQL_SESSION_COLUMNS ", data FROM session "
			 "WHERE ref = ?",
	false},
    /* Without data, which is most of what is asked. */
    [SQL_SESSION_PEEK] = {"SELECT " SQL_SESSION_COLUMNS " FROM session "
			  "WHERE ref = ?",
	false},
    [SQL_SESSION_GET_AT] = {SQL_SESSION_GET_COLUMNS ", " SQL_SNAPSHOT_COLUMNS
						    " FROM session "
						    "WHERE ref = ?",
	false},
    [SQL_SESSION_INSERT] = {"INSERT INTO session (" SQL_SESSION_COLUMNS
			    ", data, grp) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, "
			    "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
			    "?)",
	true},
    /* realm, user, created and absolute are not changed. */
    [SQL_SESSION_STORE] =
	{"UPDATE session SET seq = ?, version = ?, secret_hash = ?, "
	 "prev_hash = ?, prev_until_ms = ?, successor_used_ms = ?, "
	 "context_id = ?, contexts = ?, roles = ?, state = ?, "
	 "end_reason = ?, ended_ms = ?, auth_ms = ?, last_seen_ms = ?, "
	 "idle_ms = ?, client_ip = ?, user_agent = ?, format = ?, "
	 "exports = ?, data = ? WHERE ref = ?",
	    true},
    [SQL_SNAPSHOT] = {"SELECT " SQL_SNAPSHOT_COLUMNS, false},
    /* That seq > 0 is said for SQLite, whose index has no others. */
    [SQL_CHANGED] = {"SELECT ref FROM session WHERE grp = ? AND seq > ? "
		     "AND seq > 0 LIMIT ?",
	false},
    [SQL_WALK] = {"SELECT " SQL_SESSION_COLUMNS ", '' FROM session "
		  "WHERE ref > ? ORDER BY ref LIMIT ?",
	false},
    [SQL_WALK_WHOLE] = {"SELECT " SQL_SESSION_COLUMNS ", data FROM session "
			"WHERE ref > ? ORDER BY ref LIMIT ?",
	false},
    [SQL_LEASE_GET] = {"SELECT holder, until_ms FROM lease WHERE name = ?",
	true},
    [SQL_LEASE_LIST] = {"SELECT name, holder, until_ms FROM lease "
			"ORDER BY name",
	false},
    [SQL_SETTING_LIST] = {"SELECT name, value FROM setting LIMIT ?", false},
    [SQL_SETTING_PUT] = {"REPLACE INTO setting (name, value, seq) "
			 "VALUES (?, ?, ?)",
	true},
    /* The end of the key `reap`. */
    [SQL_LATEST_EXPIRY] = {"SELECT MAX(absolute_ms) FROM session", false},
    [SQL_SERVICE_GET] = {"SELECT " SERVICE_COLUMNS " FROM service_key "
			 "WHERE key_hash = ?",
	false},
    [SQL_SERVICE_PUT] = {"INSERT INTO service_key (" SERVICE_COLUMNS ") "
			 "VALUES (?, ?, ?, ?, ?, ?)",
	true},
    [SQL_SERVICE_REMOVE] = {"DELETE FROM service_key WHERE name = ?", true},
    [SQL_SERVICE_LIST] = {"SELECT " SERVICE_COLUMNS " FROM service_key "
			  "ORDER BY name",
	false},
};

struct sql_text
sql_text(const struct sql_store *store, enum sql_statement which)
{
	const struct sql_text *own = &store->driver->texts[which];

	return own->sql != NULL ? *own : common_texts[which];
}

/* ---- runs ---- */

enum sgate_status
sql_misused(struct durable *d, const char *operation, const char *what,
    struct sgate_error *err)
{
	const struct sql_store *store = (const struct sql_store *)d;

	return error_set(err, SGATE_INTERNAL, store->driver->source, operation,
	    0, "%.100s: %s", store->driver->peer(store), what);
}

static void
run_init(struct sql_run *r, struct durable *d, enum sql_statement which,
    const char *operation, struct sgate_error *err)
{
	/* But for the parameters, which are bound before they are looked at. */
	memset((char *)r + offsetof(struct sql_run, bound), 0,
	    sizeof(*r) - offsetof(struct sql_run, bound));
	r->store = (struct sql_store *)d;
	r->operation = operation;
	r->err = err;
	r->damaged_column = -1;
	r->which = which;
	error_clear(err);
}

enum sgate_status
sql_open(struct sql_run *r, struct durable *d, enum sql_statement which,
    const char *operation, struct sgate_error *err)
{
	run_init(r, d, which, operation, err);
	if (sql_text(r->store, which).needs_transaction &&
	    !r->store->driver->in_transaction(d))
		return sql_misused(d, operation, "needs a transaction", err);
	return r->store->driver->open(r, which);
}

enum sgate_status
sql_open_text(struct sql_run *r, struct durable *d, const char *sql,
    const char *operation, struct sgate_error *err)
{
	run_init(r, d, SQL_STATEMENTS, operation, err);
	return r->store->driver->open_text(r, sql);
}

void
sql_collect(struct sql_run *r, struct durable *d, const char *operation,
    struct sgate_error *err)
{
	run_init(r, d, SQL_STATEMENTS, operation, err);
}

void
sql_close(struct sql_run *r)
{
	r->store->driver->close(r);
}

static void
bind(struct sql_run *r, const struct sql_value *value)
{
	if (r->bound < SQL_PARAMS_MAX)
		r->params[r->bound] = *value;
	/* One too many is refused by the step. */
	r->bound++;
}

void
sql_bind_int(struct sql_run *r, int64_t value)
{
	bind(r, &(struct sql_value){.kind = SQL_INTEGER, .integer = value});
}

void
sql_bind_if_set(struct sql_run *r, int64_t value)
{
	if (value == 0 && r->store->driver->has_nulls)
		sql_bind_null(r);
	else
		sql_bind_int(r, value);
}

void
sql_bind_limit(struct sql_run *r, size_t limit)
{
	sql_bind_int(r, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
}

void
sql_bind_null(struct sql_run *r)
{
	bind(r, &(struct sql_value){.kind = SQL_NULL});
}

void
sql_bind_blob(struct sql_run *r, const void *data, size_t len)
{
	bind(r, &(struct sql_value){
		    .kind = SQL_BLOB, .bytes = {len == 0 ? "" : data, len}});
}

void
sql_bind_bytes(struct sql_run *r, struct sgate_bytes text)
{
	bind(r, &(struct sql_value){.kind = SQL_TEXT,
		    .bytes = {text.len == 0 ? "" : text.data, text.len}});
}

void
sql_bind_text(struct sql_run *r, const char *text)
{
	sql_bind_bytes(r, bytes_of(text));
}

enum sgate_status
sql_step(struct sql_run *r)
{
	r->column = 0;
	if (r->bound > SQL_PARAMS_MAX)
		return sql_misused(&r->store->durable, r->operation,
		    "too many parameters", r->err);
	return r->store->driver->step(r);
}

enum sgate_status
sql_finish(struct sql_run *r, uint64_t *out_changes)
{
	enum sgate_status status = sql_step(r);

	if (status == SGATE_NOT_FOUND)
		status = SGATE_OK;
	if (out_changes != NULL)
		*out_changes =
		    status == SGATE_OK ? r->store->driver->changes(r) : 0;
	sql_close(r);
	return status;
}

/* ---- columns ---- */

bool
sql_time_is_sound(int64_t at_ms)
{
	return at_ms >= 0 && at_ms <= SQL_TIME_MAX_MS;
}

bool
sql_address_is_sound(size_t len)
{
	return len == 0 || len == 4 || len == 16;
}

void
sql_damaged(struct sql_run *r)
{
	if (r->damaged_column < 0)
		r->damaged_column = (int)r->column - 1;
}

/* False: NULL, or damaged; *out is empty then. */
static bool
take(struct sql_run *r, enum sql_kind kind, size_t max, struct sql_value *out)
{
	*out = (struct sql_value){.kind = kind, .bytes = {"", 0}};
	if (!r->store->driver->column(r, r->column++, kind, max, out)) {
		*out = (struct sql_value){.kind = kind, .bytes = {"", 0}};
		sql_damaged(r);
		return false;
	}
	return out->kind != SQL_NULL;
}

int64_t
sql_get_int(struct sql_run *r, int64_t min, int64_t max)
{
	struct sql_value value;

	if (take(r, SQL_INTEGER, 0, &value) && value.integer >= min &&
	    value.integer <= max)
		return value.integer;
	sql_damaged(r);
	return min;
}

int64_t
sql_get_time(struct sql_run *r)
{
	return sql_get_int(r, 0, SQL_TIME_MAX_MS);
}

int64_t
sql_get_if_set(struct sql_run *r, int64_t max)
{
	struct sql_value value;

	if (take(r, SQL_INTEGER, 0, &value) && value.integer >= 0 &&
	    value.integer <= max)
		return value.integer;
	if (value.kind != SQL_NULL)
		sql_damaged(r);
	return 0;
}

bool
sql_get_blob_or_null(struct sql_run *r, void *out, size_t len)
{
	struct sql_value value;

	memset(out, 0, len);
	if (!take(r, SQL_BLOB, len, &value))
		return value.kind != SQL_NULL;
	if (value.bytes.len == len)
		memcpy(out, value.bytes.data, len);
	else
		sql_damaged(r);
	return true;
}

void
sql_get_blob(struct sql_run *r, void *out, size_t len)
{
	if (!sql_get_blob_or_null(r, out, len))
		sql_damaged(r);
}

size_t
sql_get_address(struct sql_run *r, unsigned char out[16])
{
	struct sql_value value;

	memset(out, 0, 16);
	if (!take(r, SQL_BLOB, 16, &value) ||
	    !sql_address_is_sound(value.bytes.len)) {
		sql_damaged(r);
		return 0;
	}
	if (value.bytes.len > 0)
		memcpy(out, value.bytes.data, value.bytes.len);
	return value.bytes.len;
}

/* False: NULL. */
static bool
take_text(struct sql_run *r, size_t max, struct sgate_bytes *out)
{
	struct sql_value value;

	*out = (struct sgate_bytes){"", 0};
	if (!take(r, SQL_TEXT, max, &value))
		return value.kind != SQL_NULL;
	if (memchr(value.bytes.data, '\0', value.bytes.len) != NULL)
		sql_damaged(r);
	else
		*out = value.bytes;
	return true;
}

struct sgate_bytes
sql_get_bytes(struct sql_run *r, size_t max)
{
	struct sgate_bytes text;

	if (!take_text(r, max, &text))
		sql_damaged(r);
	return text;
}

bool
sql_get_text_or_null(struct sql_run *r, char *out, size_t size)
{
	struct sgate_bytes text;
	bool is_there = take_text(r, size - 1, &text);

	memcpy(out, text.data, text.len);
	out[text.len] = '\0';
	return is_there;
}

void
sql_get_text(struct sql_run *r, char *out, size_t size)
{
	if (!sql_get_text_or_null(r, out, size))
		sql_damaged(r);
}

enum sgate_status
sql_row_status(struct sql_run *r, const char *row)
{
	const struct sql_driver *driver = r->store->driver;

	if (r->damaged_column < 0)
		return SGATE_OK;
	return error_set(r->err, SGATE_CORRUPT, driver->source, r->operation, 0,
	    "%.100s: %s: column %.64s cannot be right; left in place",
	    driver->peer(r->store), row,
	    driver->column_name(r, (unsigned)r->damaged_column));
}

enum sgate_status
sql_missing(struct sql_run *r, const char *row)
{
	const struct sql_driver *driver = r->store->driver;

	return error_set(r->err, SGATE_CORRUPT, driver->source, r->operation, 0,
	    "%.100s: %s is missing", driver->peer(r->store), row);
}
