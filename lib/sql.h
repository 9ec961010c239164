/*
 * What the stores that speak SQL have in common: the operations of durable.h
 * on their rows, written once, over the few functions that a driver gives in
 * struct sql_driver. No type of a client library is seen here, and no I/O is
 * done but through the driver.
 *
 *   sql.c          runs of statements: parameters, columns, what is refused
 *   sql_session.c  sessions, users, what is around a row, tidying
 *   sql_audit.c    audit, idempotency, leases, service keys
 *
 * What a row may hold is checked when it is read, by its columns, and before it
 * is written: nothing is written that would be refused when it is read.
 */
#ifndef SESSGATE_SQL_H
#define SESSGATE_SQL_H

#include "durable.h"

/* 31 December 9999: sums of two such times do not overflow. */
#define SQL_TIME_MAX_MS INT64_C(253402300799999)
/* No value of ours comes near this; larger ones are refused. */
#define SQL_VALUE_MAX_BYTES (4 * 1024 * 1024)
#define SQL_PARAMS_MAX 64
#define SQL_EPOCH_MAX 9999

/* ---- statements ---- */

/* Kept prepared for the life of a connection. */
enum sql_statement {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_STORE_GET,
	SQL_AUDIT_INSERT,
	SQL_AUDIT_EXISTS,
	SQL_IDEMPOTENCY_GET,
	SQL_IDEMPOTENCY_INSERT,
	SQL_IDEMPOTENCY_REMOVE,
	SQL_USER_GET,
	SQL_USER_SHARE,
	SQL_USER_LOCK,
	SQL_USER_BLOCK,
	SQL_USER_UNBLOCK,
	SQL_USERS_BLOCKED,
	SQL_USER_SESSIONS,
	SQL_SESSION_GET,
	SQL_SESSION_PEEK,
	SQL_SESSION_GET_AT,
	SQL_SESSION_LOCK,
	SQL_SESSION_LOCK_FREE,
	SQL_SESSION_LOCK_MANY,
	SQL_SESSION_INSERT,
	SQL_SESSION_STORE,
	SQL_SNAPSHOT,
	SQL_POLL,
	SQL_CHANGES,
	SQL_CHANGED,
	SQL_COUNTER_NEXT,
	SQL_SETTING_LIST,
	SQL_SETTING_PUT,
	SQL_LATEST_EXPIRY,
	SQL_TOUCH,
	SQL_TOUCH_SUCCESSOR,
	SQL_WALK, /* without data */
	SQL_WALK_WHOLE,
	SQL_PURGE_SESSIONS,
	SQL_PURGE_AUDIT,
	SQL_PURGE_IDEMPOTENCY,
	SQL_PURGE_LEASES,
	SQL_STATS,
	SQL_LEASE_PUT,
	SQL_LEASE_GET,
	SQL_LEASE_LIST,
	SQL_SERVICE_GET,
	SQL_SERVICE_PUT,
	SQL_SERVICE_REMOVE,
	SQL_SERVICE_LIST,
	SQL_STATEMENTS
};

/* needs_transaction: SGATE_INTERNAL without one. */
struct sql_text {
	const char *sql;
	bool needs_transaction;
};

/* Columns in the order of the code that reads and writes them. */
#define SQL_SESSION_COLUMNS                                                    \
	"ref, seq, version, realm, user_id, secret_hash, prev_hash, "          \
	"prev_until_ms, successor_used_ms, context_id, contexts, roles, "      \
	"state, end_reason, ended_ms, created_ms, auth_ms, last_seen_ms, "     \
	"idle_ms, absolute_ms, client_ip, user_agent, format, exports"
/* The first parameter: whether with data. */
#define SQL_SESSION_GET_COLUMNS                                                \
	"SELECT " SQL_SESSION_COLUMNS ", CASE WHEN ? THEN data ELSE '' END"
#define SQL_STORE_COLUMNS                                                      \
	"(SELECT store_id FROM store WHERE id = 1), "                          \
	"(SELECT epoch FROM store WHERE id = 1)"
#define SQL_SNAPSHOT_COLUMNS                                                   \
	"(SELECT m.seq FROM meta m WHERE m.grp = ?), " SQL_STORE_COLUMNS
#define SQL_AUDIT_COLUMNS                                                      \
	"event_id, at_ms, host, actor, kind, reason, ref, realm, user_id, "    \
	"client_ip, detail"

/* ---- drivers ---- */

struct sql_run;
struct sql_driver;

/* Drivers embed this as the first member of their own handle. */
struct sql_store {
	struct durable durable; /* first */
	const struct sql_driver *driver;
};

enum sql_kind { SQL_NULL, SQL_INTEGER, SQL_TEXT, SQL_BLOB };

/* A parameter or a column. */
struct sql_value {
	enum sql_kind kind;
	int64_t integer;
	struct sgate_bytes bytes; /* of a column: until the next is got */
};

/* Works within a transaction; may run twice. */
typedef enum sgate_status sql_work_fn(
    struct durable *d, void *arg, struct sgate_error *err);

/*
 * open, open_text: find or prepare the statement, in a connection that can be
 * used and within the time; stmt is set. step: as sql_step(); the first one
 * sends the parameters. column: false when what is there is not of that kind
 * (NULL is of each), or longer than max. close: also of a run that failed.
 */
struct sql_driver {
	const char *source;           /* "sqlite", for errors */
	const struct sql_text *texts; /* without one: the common text */
	/* Before a column that must not choose the index: "+", or "". */
	const char *no_index;
	/* What is not set is NULL, which takes no room there; else 0. */
	bool has_nulls;
	/* What people know the store by. Borrowed. */
	const char *(*peer)(const struct sql_store *store);

	enum sgate_status (*open)(struct sql_run *r, enum sql_statement which);
	enum sgate_status (*open_text)(struct sql_run *r, const char *sql);
	enum sgate_status (*step)(struct sql_run *r);
	bool (*column)(struct sql_run *r, unsigned column, enum sql_kind kind,
	    size_t max, struct sql_value *out);
	const char *(*column_name)(struct sql_run *r, unsigned column);
	uint64_t (*changes)(const struct sql_run *r);
	void (*close)(struct sql_run *r);

	bool (*in_transaction)(const struct durable *d);
	/*
	 * A whole transaction; some drivers do it once more when it was in
	 * somebody's way. SGATE_UNCERTAIN as for commit.
	 */
	enum sgate_status (*transaction)(struct durable *d, sql_work_fn *work,
	    void *arg, struct sgate_error *err);
};

/* The driver's own text, else the common one; sql NULL: there is none. */
struct sql_text sql_text(
    const struct sql_store *store, enum sql_statement which);

/* ---- runs ---- */

/*
 * One run of a statement: open, bind the parameters in order, step, get the
 * columns in order, close. A parameter too many sticks until the step, columns
 * that cannot be right until sql_row_status().
 */
struct sql_run {
	struct sql_store *store;
	const char *operation;
	struct sgate_error *err;
	struct sql_value params[SQL_PARAMS_MAX];
	size_t bound;
	unsigned column;    /* the next one */
	int damaged_column; /* the first that cannot be right, -1: none */
	/* The driver's. */
	void *stmt;
	enum sql_statement which; /* SQL_STATEMENTS: a text of its own */
	unsigned connection;      /* the statement goes with it */
	bool is_executed;
	bool is_fetched;   /* its first row, but not given yet */
	bool is_own;       /* the caller's text */
	bool is_first;     /* of its transaction */
	bool was_repeated; /* on a new connection */
	uint64_t changes;
	uint64_t insert_id;
};

/* After SGATE_OK close it. Clears *err. */
SGATE_MUST_CHECK enum sgate_status sql_open(struct sql_run *r,
    struct durable *d, enum sql_statement which, const char *operation,
    struct sgate_error *err);
/* A text that is used once. */
SGATE_MUST_CHECK enum sgate_status sql_open_text(struct sql_run *r,
    struct durable *d, const char *sql, const char *operation,
    struct sgate_error *err);
void sql_close(struct sql_run *r);

/*
 * A run that is never opened: its parameters alone, for a driver that writes
 * the rows of many in one statement.
 */
void sql_collect(struct sql_run *r, struct durable *d, const char *operation,
    struct sgate_error *err);

/* Blobs, bytes and texts must stay until the run is closed. */
void sql_bind_int(struct sql_run *r, int64_t value);
/* 0: not set. */
void sql_bind_if_set(struct sql_run *r, int64_t value);
/* SIZE_MAX: no limit. */
void sql_bind_limit(struct sql_run *r, size_t limit);
void sql_bind_null(struct sql_run *r);
void sql_bind_blob(struct sql_run *r, const void *data, size_t len);
void sql_bind_bytes(struct sql_run *r, struct sgate_bytes text);
void sql_bind_text(struct sql_run *r, const char *text);

/* SGATE_OK: a row. SGATE_NOT_FOUND: no (more) row. */
SGATE_MUST_CHECK enum sgate_status sql_step(struct sql_run *r);
/* One step of a statement without rows, and close: SGATE_OK when it ran. */
SGATE_MUST_CHECK enum sgate_status sql_finish(
    struct sql_run *r, uint64_t *out_changes);

/*
 * Each takes the next column. What is not of the kind, length or range is
 * noted as damaged; the value is then the least, or empty.
 */
int64_t sql_get_int(struct sql_run *r, int64_t min, int64_t max);
int64_t sql_get_time(struct sql_run *r);
/* What sql_bind_if_set() wrote: from 0, which NULL is, too. */
int64_t sql_get_if_set(struct sql_run *r, int64_t max);
void sql_get_blob(struct sql_run *r, void *out, size_t len);
/* False: NULL, and *out is zeroed. */
bool sql_get_blob_or_null(struct sql_run *r, void *out, size_t len);
/* 0, 4 or 16 bytes: the length. */
size_t sql_get_address(struct sql_run *r, unsigned char out[16]);
/* Without NUL, shorter than size. */
void sql_get_text(struct sql_run *r, char *out, size_t size);
/* False: NULL, and out is "". */
bool sql_get_text_or_null(struct sql_run *r, char *out, size_t size);
/* Text without NUL, up to max bytes; borrowed until the next is got. */
struct sgate_bytes sql_get_bytes(struct sql_run *r, size_t max);
/* Note the column that was got last. */
void sql_damaged(struct sql_run *r);
/* SGATE_CORRUPT when a column of the row was damaged. row: for the text. */
SGATE_MUST_CHECK enum sgate_status sql_row_status(
    struct sql_run *r, const char *row);
/* SGATE_CORRUPT for a row that must be there. */
enum sgate_status sql_missing(struct sql_run *r, const char *row);
/* The caller's bug: SGATE_INTERNAL. */
enum sgate_status sql_misused(struct durable *d, const char *operation,
    const char *what, struct sgate_error *err);
/* Whether a time can be read again. */
bool sql_time_is_sound(int64_t at_ms);
bool sql_address_is_sound(size_t len);

/* ---- sql_session.c: as durable.h says ---- */

/* A row of SQL_SESSION_COLUMNS and data. *out is new. */
SGATE_MUST_CHECK enum sgate_status sql_session_read(
    struct sql_run *r, struct sgate_session **out);
/* Every row that a run gives, which is then closed. */
SGATE_MUST_CHECK enum sgate_status sql_sessions(
    struct sql_run *r, durable_session_fn *fn, void *arg);
/* The columns of SQL_STORE_COLUMNS. */
void sql_store_read(struct sql_run *r, struct record_store *out);
/* The one row of a run that has blocked_ms and blocked_reason; the run ends. */
SGATE_MUST_CHECK enum sgate_status sql_user_read(
    struct sql_run *r, struct durable_user *out);
/* SGATE_INTERNAL for a time that cannot be. */
SGATE_MUST_CHECK enum sgate_status sql_touches_check(struct durable *d,
    const struct durable_touch *touches, size_t count, struct sgate_error *err);

enum sgate_status sql_ping(struct durable *d, struct sgate_error *err);
enum sgate_status sql_store_get(struct durable *d, unsigned char id[16],
    unsigned *out_epoch, struct sgate_error *err);
enum sgate_status sql_session_get(struct durable *d,
    const struct sgate_ref *ref, unsigned flags, struct sgate_session **out,
    struct durable_snapshot *out_at, struct sgate_error *err);
/* The parameters of SQL_SESSION_STORE, likewise. */
SGATE_MUST_CHECK enum sgate_status sql_session_bind_store(
    struct sql_run *r, const struct sgate_session *session);
/* The parameters of SQL_SESSION_INSERT. SGATE_INTERNAL: a value that no session
 * has. */
SGATE_MUST_CHECK enum sgate_status sql_session_bind(
    struct sql_run *r, const struct sgate_session *session);
enum sgate_status sql_session_insert(struct durable *d,
    const struct sgate_session *session, struct sgate_error *err);
enum sgate_status sql_session_store(struct durable *d,
    const struct sgate_session *session, struct sgate_error *err);
enum sgate_status sql_snapshot(struct durable *d, unsigned group,
    struct durable_snapshot *out, struct sgate_error *err);
enum sgate_status sql_poll(
    struct durable *d, struct durable_poll *out, struct sgate_error *err);
enum sgate_status sql_changed(struct durable *d, unsigned group, uint64_t after,
    size_t limit, durable_ref_fn *fn, void *arg, bool *out_is_all,
    struct sgate_error *err);
enum sgate_status sql_user_block(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, int64_t blocked_ms, struct sgate_bytes reason,
    struct sgate_error *err);
enum sgate_status sql_blocked_users(struct durable *d, size_t limit,
    durable_user_fn *fn, void *arg, struct sgate_error *err);
enum sgate_status sql_user_sessions(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, size_t limit, durable_session_fn *fn, void *arg,
    struct sgate_error *err);
enum sgate_status sql_setting_list(struct durable *d, durable_setting_fn *fn,
    void *arg, struct sgate_error *err);
enum sgate_status sql_setting_put(struct durable *d, const char *name,
    struct sgate_bytes value, uint64_t number, struct sgate_error *err);
enum sgate_status sql_latest_expiry(
    struct durable *d, int64_t *out_ms, struct sgate_error *err);
enum sgate_status sql_expired(struct durable *d, int64_t now_ms,
    int64_t created_before_ms, size_t limit, struct sgate_ref *cursor,
    bool *out_wrapped, durable_session_fn *fn, void *arg,
    struct sgate_error *err);
enum sgate_status sql_live(struct durable *d, int64_t now_ms, size_t limit,
    struct sgate_ref *cursor, bool *out_wrapped, durable_session_fn *fn,
    void *arg, struct sgate_error *err);
enum sgate_status sql_purge(struct durable *d, int64_t sessions_before_ms,
    int64_t audit_before_ms, int64_t now_ms, size_t limit,
    uint64_t *out_sessions, uint64_t *out_others, struct sgate_error *err);

/* ---- sql_audit.c: as durable.h says ---- */

/* The least event id of a moment: its first 48 bits are milliseconds. */
void sql_event_id_at(int64_t at_ms, unsigned char out[DURABLE_EVENT_BYTES]);
/* The parameters of SQL_AUDIT_INSERT. SGATE_INTERNAL: a value that no event
 * has. */
SGATE_MUST_CHECK enum sgate_status sql_audit_bind(
    struct sql_run *r, const struct durable_audit *audit);
enum sgate_status sql_audit_insert(struct durable *d,
    const struct durable_audit *audit, struct sgate_error *err);
enum sgate_status sql_audit_list(struct durable *d,
    const struct durable_audit_filter *filter, durable_audit_fn *fn, void *arg,
    struct sgate_error *err);
enum sgate_status sql_audit_exists(struct durable *d,
    const unsigned char event_id[DURABLE_EVENT_BYTES], struct sgate_error *err);
enum sgate_status sql_idempotency_get(struct durable *d,
    const unsigned char id[32], struct durable_idempotency *out,
    struct sgate_error *err);
enum sgate_status sql_idempotency_insert(struct durable *d,
    const struct durable_idempotency *row, struct sgate_error *err);
enum sgate_status sql_idempotency_remove(
    struct durable *d, const unsigned char id[32], struct sgate_error *err);
enum sgate_status sql_lease_take(struct durable *d, const char *name,
    const char *holder, int64_t now_ms, int64_t until_ms,
    struct sgate_error *err);
enum sgate_status sql_lease_list(struct durable *d, durable_lease_fn *fn,
    void *arg, struct sgate_error *err);
enum sgate_status sql_service_get(struct durable *d,
    const unsigned char key_hash[32], struct durable_service *out,
    struct sgate_error *err);
enum sgate_status sql_service_put(struct durable *d,
    const struct durable_service *svc, struct sgate_error *err);
enum sgate_status sql_service_remove(
    struct durable *d, const char *name, struct sgate_error *err);
enum sgate_status sql_service_list(struct durable *d, durable_service_fn *fn,
    void *arg, struct sgate_error *err);

#endif
