/*
 * Inside the SQLite driver, for its own files alone: durable_sqlite.c has the
 * connection, transactions, the schema and all calls of SQLite;
 * durable_sqlite_rows.c and durable_sqlite_audit.c read and write rows with
 * what is declared here, and see no type of SQLite.
 */
#ifndef SESSGATE_DURABLE_SQLITE_H
#define SESSGATE_DURABLE_SQLITE_H

#include "durable.h"

/* 31 December 9999: sums of two such times do not overflow. */
#define SQLITE_TIME_MAX_MS INT64_C(253402300799999)
/* No value of ours comes near this; larger ones are refused. */
#define SQLITE_VALUE_MAX_BYTES (4 * 1024 * 1024)

struct sqlite_store;
struct sqlite3_stmt;

/* Kept prepared for the life of a connection; the texts: sqlite_statements. */
enum sqlite_statement {
	SQLITE_STMT_BEGIN,
	SQLITE_STMT_COMMIT,
	SQLITE_STMT_STORE_GET,
	SQLITE_STMT_AUDIT_INSERT,
	SQLITE_STMT_AUDIT_EXISTS,
	SQLITE_STMT_IDEMPOTENCY_GET,
	SQLITE_STMT_IDEMPOTENCY_INSERT,
	SQLITE_STMT_IDEMPOTENCY_REMOVE,
	SQLITE_STMT_USER_GET,
	SQLITE_STMT_USER_BLOCK,
	SQLITE_STMT_USER_UNBLOCK,
	SQLITE_STMT_USER_SESSIONS,
	SQLITE_STMT_SESSION_GET,
	SQLITE_STMT_SESSION_INSERT,
	SQLITE_STMT_SESSION_STORE,
	SQLITE_STMT_COUNTER_NEXT,
	SQLITE_STMT_TOUCH,
	SQLITE_STMT_TOUCH_SUCCESSOR,
	SQLITE_STMT_EXPIRED,
	SQLITE_STMT_PURGE_SESSIONS,
	SQLITE_STMT_PURGE_AUDIT,
	SQLITE_STMT_PURGE_IDEMPOTENCY,
	SQLITE_STMT_PURGE_LEASES,
	SQLITE_STMT_STATS,
	SQLITE_STMT_LEASE_GET,
	SQLITE_STMT_LEASE_PUT,
	SQLITE_STMT_LEASE_LIST,
	SQLITE_STMT_SERVICE_GET,
	SQLITE_STMT_SERVICE_PUT,
	SQLITE_STMT_SERVICE_REMOVE,
	SQLITE_STMT_SERVICE_LIST,
	SQLITE_STMT_COUNT
};

/* For the texts that are built. */
#define SQLITE_AUDIT_COLUMNS                                                   \
	"event_id, at_ms, host, actor, kind, reason, ref, realm, user_id, "    \
	"client_ip, detail"

/* needs_transaction: SGATE_INTERNAL without one. */
struct sqlite_statement_text {
	const char *sql;
	bool needs_transaction;
};
extern const struct sqlite_statement_text sqlite_statements[SQLITE_STMT_COUNT];

/*
 * One run of a statement: open, bind the parameters in order, step, get the
 * columns in order, close. Errors of binding stick until the step; columns
 * that cannot be right stick until query_row_status().
 */
struct sqlite_query {
	struct sqlite_store *store;
	struct sqlite3_stmt *stmt;
	bool is_kept; /* for the next run */
	const char *operation;
	struct sgate_error *err;
	int bound;          /* parameters so far; may be set to skip some */
	int bind_code;      /* the first that failed */
	int column;         /* the next one */
	int damaged_column; /* the first that cannot be right, -1: none */
};

/* After SGATE_OK close it. Clears *err. */
SGATE_MUST_CHECK enum sgate_status query_open(struct sqlite_query *q,
    struct durable *d, enum sqlite_statement which, const char *operation,
    struct sgate_error *err);
/* A text that is used once. */
SGATE_MUST_CHECK enum sgate_status query_open_text(struct sqlite_query *q,
    struct durable *d, const char *sql, const char *operation,
    struct sgate_error *err);
void query_close(struct sqlite_query *q);

/* Blobs, bytes and texts must stay until the query is closed. */
void query_bind_int(struct sqlite_query *q, int64_t value);
/* SIZE_MAX: no limit. */
void query_bind_limit(struct sqlite_query *q, size_t limit);
void query_bind_null(struct sqlite_query *q);
void query_bind_blob(struct sqlite_query *q, const void *data, size_t len);
void query_bind_bytes(struct sqlite_query *q, struct sgate_bytes text);
void query_bind_text(struct sqlite_query *q, const char *text);

/* SGATE_OK: a row. SGATE_NOT_FOUND: no (more) row. */
SGATE_MUST_CHECK enum sgate_status query_step(struct sqlite_query *q);
/* One step of a statement without rows, and close: SGATE_OK when it ran. */
SGATE_MUST_CHECK enum sgate_status query_run(struct sqlite_query *q);
/* How many rows the last INSERT, UPDATE or DELETE changed. */
uint64_t query_changes(const struct sqlite_query *q);

/*
 * Each takes the next column. What is not of the type, length or range is
 * noted as damaged; the value is then the least, or empty.
 */
int64_t query_get_int(struct sqlite_query *q, int64_t min, int64_t max);
int64_t query_get_time(struct sqlite_query *q);
void query_get_blob(struct sqlite_query *q, void *out, size_t len);
/* False: NULL, and *out is zeroed. */
bool query_get_blob_or_null(struct sqlite_query *q, void *out, size_t len);
/* 0, 4 or 16 bytes: the length. */
size_t query_get_address(struct sqlite_query *q, unsigned char out[16]);
/* Without NUL, shorter than size. */
void query_get_text(struct sqlite_query *q, char *out, size_t size);
/* False: NULL, and out is "". */
bool query_get_text_or_null(struct sqlite_query *q, char *out, size_t size);
/* Text without NUL, up to max bytes; borrowed until the next step. */
struct sgate_bytes query_get_bytes(struct sqlite_query *q, size_t max);
/* Note the column that was got last. */
void query_damaged(struct sqlite_query *q);
/* SGATE_CORRUPT when a column of the row was damaged. row: for the text. */
SGATE_MUST_CHECK enum sgate_status query_row_status(
    struct sqlite_query *q, const char *row);

/* SGATE_CORRUPT for a row that must be there. */
enum sgate_status query_missing(struct sqlite_query *q, const char *row);

/* The caller's bug: SGATE_INTERNAL. */
enum sgate_status sqlite_misused(struct durable *d, const char *operation,
    const char *what, struct sgate_error *err);
bool sqlite_in_transaction(const struct durable *d);
SGATE_MUST_CHECK enum sgate_status sqlite_begin(
    struct durable *d, struct sgate_error *err);
/* Commit when status is SGATE_OK, else roll back and return status. */
SGATE_MUST_CHECK enum sgate_status sqlite_end(
    struct durable *d, enum sgate_status status, struct sgate_error *err);

/* Whether a time, or an address's length, can be read again. */
bool sqlite_time_is_sound(int64_t at_ms);
bool sqlite_address_is_sound(size_t len);

/* durable_sqlite_rows.c: as durable.h says. */
enum sgate_status sqlite_session_get(struct durable *d,
    const struct sgate_ref *ref, unsigned flags, struct sgate_session **out,
    struct durable_snapshot *out_at, struct sgate_error *err);
enum sgate_status sqlite_session_insert(struct durable *d,
    const struct sgate_session *session, struct sgate_error *err);
enum sgate_status sqlite_session_store(struct durable *d,
    const struct sgate_session *session, struct sgate_error *err);
enum sgate_status sqlite_counter_next(struct durable *d, unsigned group,
    uint64_t *out_seq, struct sgate_error *err);
enum sgate_status sqlite_user_lock(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, bool exclusive, struct durable_user *out,
    struct sgate_error *err);
enum sgate_status sqlite_user_block(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, int64_t blocked_ms, struct sgate_bytes reason,
    struct sgate_error *err);
enum sgate_status sqlite_user_sessions(struct durable *d,
    struct sgate_bytes realm, struct sgate_bytes user, size_t limit,
    durable_session_fn *fn, void *arg, struct sgate_error *err);
enum sgate_status sqlite_touch(struct durable *d,
    const struct durable_touch *touches, size_t count, struct sgate_error *err);
enum sgate_status sqlite_expired(struct durable *d, int64_t now_ms,
    size_t limit, struct sgate_ref *cursor, bool *out_wrapped,
    durable_session_fn *fn, void *arg, struct sgate_error *err);
enum sgate_status sqlite_purge(struct durable *d, int64_t sessions_before_ms,
    int64_t audit_before_ms, int64_t now_ms, size_t limit,
    uint64_t *out_sessions, uint64_t *out_others, struct sgate_error *err);
enum sgate_status sqlite_stats(struct durable *d, int64_t now_ms,
    struct sgate_stats *out, struct sgate_error *err);
/* durable_sqlite_audit.c */
/* The least event id of a moment: its first 48 bits are milliseconds. */
void sqlite_event_id_at(int64_t at_ms, unsigned char out[DURABLE_EVENT_BYTES]);
enum sgate_status sqlite_audit_insert(struct durable *d,
    const struct durable_audit *audit, struct sgate_error *err);
enum sgate_status sqlite_audit_list(struct durable *d,
    const struct durable_audit_filter *filter, durable_audit_fn *fn, void *arg,
    struct sgate_error *err);
enum sgate_status sqlite_audit_exists(struct durable *d,
    const unsigned char event_id[DURABLE_EVENT_BYTES], struct sgate_error *err);
enum sgate_status sqlite_idempotency_get(struct durable *d,
    const unsigned char id[32], struct durable_idempotency *out,
    struct sgate_error *err);
enum sgate_status sqlite_idempotency_insert(struct durable *d,
    const struct durable_idempotency *row, struct sgate_error *err);
enum sgate_status sqlite_idempotency_remove(
    struct durable *d, const unsigned char id[32], struct sgate_error *err);
enum sgate_status sqlite_lease_take(struct durable *d, const char *name,
    const char *holder, int64_t now_ms, int64_t until_ms,
    struct sgate_error *err);
enum sgate_status sqlite_lease_list(struct durable *d, durable_lease_fn *fn,
    void *arg, struct sgate_error *err);
enum sgate_status sqlite_service_get(struct durable *d,
    const unsigned char key_hash[32], struct durable_service *out,
    struct sgate_error *err);
enum sgate_status sqlite_service_put(struct durable *d,
    const struct durable_service *svc, struct sgate_error *err);
enum sgate_status sqlite_service_remove(
    struct durable *d, const char *name, struct sgate_error *err);
enum sgate_status sqlite_service_list(struct durable *d, durable_service_fn *fn,
    void *arg, struct sgate_error *err);
#endif
