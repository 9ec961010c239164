/*
 * Inside the MySQL driver, for its own files alone: durable_mysql.c has the
 * connection, transactions and all calls of the client library; the others
 * read and write rows with what is declared here, and see no type of it:
 * durable_mysql_rows.c (statements, sessions, users), durable_mysql_copies.c
 * (what copies of rows are judged by and made from), durable_mysql_audit.c
 * (audit, idempotency, leases, service keys), durable_mysql_schema.c (making
 * and looking after the tables), durable_mysql_exec.c (the caller's own
 * statements).
 */
#ifndef SESSGATE_DURABLE_MYSQL_H
#define SESSGATE_DURABLE_MYSQL_H

#include "durable.h"

#define MYDB_SOURCE "mysql"
#define MYDB_SCHEMA_VERSION 1
#define MYDB_TABLES 9
/* 31 December 9999: sums of two such times do not overflow. */
#define MYDB_TIME_MAX_MS INT64_C(253402300799999)
/* No value of ours comes near this; larger ones are refused. */
#define MYDB_VALUE_MAX_BYTES (4 * 1024 * 1024)

struct mydb;
struct st_mysql_stmt;

/* Kept prepared for the life of a connection; the texts: mydb_statements. */
enum mydb_statement {
	MYDB_STMT_STORE_GET,
	MYDB_STMT_AUDIT_INSERT,
	MYDB_STMT_AUDIT_EXISTS,
	MYDB_STMT_IDEMPOTENCY_GET,
	MYDB_STMT_IDEMPOTENCY_INSERT,
	MYDB_STMT_IDEMPOTENCY_REMOVE,
	MYDB_STMT_USER_SHARE,
	MYDB_STMT_USER_LOCK,
	MYDB_STMT_USER_MAKE,
	MYDB_STMT_USER_BLOCK,
	MYDB_STMT_USER_UNBLOCK,
	MYDB_STMT_USER_SESSIONS,
	MYDB_STMT_SESSION_GET,
	MYDB_STMT_SESSION_GET_AT,
	MYDB_STMT_SESSION_LOCK,
	MYDB_STMT_SESSION_INSERT,
	MYDB_STMT_SESSION_STORE,
	MYDB_STMT_SNAPSHOT,
	MYDB_STMT_POLL,
	MYDB_STMT_CHANGES,
	MYDB_STMT_COUNTER_NEXT,
	MYDB_STMT_TOUCH,
	MYDB_STMT_TOUCH_SUCCESSOR,
	MYDB_STMT_WALK,
	MYDB_STMT_PURGE_SESSIONS,
	MYDB_STMT_PURGE_IDEMPOTENCY,
	MYDB_STMT_PURGE_LEASES,
	MYDB_STMT_STATS,
	MYDB_STMT_LEASE_PUT,
	MYDB_STMT_LEASE_GET,
	MYDB_STMT_LEASE_LIST,
	MYDB_STMT_SERVICE_GET,
	MYDB_STMT_SERVICE_PUT,
	MYDB_STMT_SERVICE_REMOVE,
	MYDB_STMT_SERVICE_LIST,
	MYDB_STMT_COUNT
};

/* For the text that is built. */
#define MYDB_AUDIT_COLUMNS                                                     \
	"event_id, at_ms, host, actor, kind, reason, ref, realm, user_id, "    \
	"client_ip, detail"

/* needs_transaction: SGATE_INTERNAL without one. */
struct mydb_statement_text {
	const char *sql;
	bool needs_transaction;
};
extern const struct mydb_statement_text mydb_statements[MYDB_STMT_COUNT];

/* ---- the connection ---- */

/* What a connection is for: what is asked of the tables when it is made. */
enum mydb_purpose {
	MYDB_TO_USE,   /* tables of our version; the first that writes jumps */
	MYDB_TO_MAKE,  /* whatever is there; statements take their time */
	MYDB_TO_CHECK, /* whatever is there */
};

/*
 * Begins an operation without run_open(): the right process, time left, a new
 * connection for that purpose.
 */
SGATE_MUST_CHECK enum sgate_status mydb_enter_new(struct durable *d,
    enum mydb_purpose purpose, const char *operation, struct sgate_error *err);
void mydb_disconnect(struct durable *d);
bool mydb_is_mariadb(const struct durable *d); /* else Oracle's */
/* "mysql 10.0.0.1:3306", or the socket. Borrowed. */
const char *mydb_peer(const struct durable *d);
/* A statement that is used once and gives no rows, or none that matter. */
SGATE_MUST_CHECK enum sgate_status mydb_query(struct durable *d,
    const char *sql, const char *operation, struct sgate_error *err);
/* Its first column of the first row; SGATE_NOT_FOUND: no row, or NULL. */
SGATE_MUST_CHECK enum sgate_status mydb_ask(struct durable *d, const char *sql,
    const char *operation, int64_t *out, struct sgate_error *err);
/* Each row's first column, as text. */
typedef void mydb_word_fn(void *arg, const char *word);
SGATE_MUST_CHECK enum sgate_status mydb_ask_words(struct durable *d,
    const char *sql, const char *operation, mydb_word_fn *fn, void *arg,
    struct sgate_error *err);

/* The caller's bug: SGATE_INTERNAL. */
enum sgate_status mydb_misused(struct durable *d, const char *operation,
    const char *what, struct sgate_error *err);
bool mydb_in_transaction(const struct durable *d);
SGATE_MUST_CHECK enum sgate_status mydb_begin(
    struct durable *d, struct sgate_error *err);
/* Commit when status is SGATE_OK, else roll back and return status. */
SGATE_MUST_CHECK enum sgate_status mydb_end(
    struct durable *d, enum sgate_status status, struct sgate_error *err);
/*
 * A whole transaction of the driver's own, once more when it met a deadlock or
 * a lock that somebody else held, if there is time.
 */
typedef enum sgate_status mydb_work_fn(
    struct durable *d, void *arg, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status mydb_transaction(
    struct durable *d, mydb_work_fn *work, void *arg, struct sgate_error *err);

/* ---- statements ---- */

#define MYDB_PARAMS_MAX 64

struct mydb_param {
	enum { MYDB_NULL, MYDB_INTEGER, MYDB_BYTES, MYDB_TEXT } kind;
	int64_t integer;
	const void *data;
	size_t len;
};

/*
 * One run of a statement: open, bind the parameters in order, step, get the
 * columns in order, close. Columns that cannot be right stick until
 * run_row_status().
 */
struct mydb_run {
	struct mydb *store;
	struct st_mysql_stmt *stmt;
	unsigned connection; /* the statement goes with it */
	bool is_kept;        /* for the next run */
	bool is_own;         /* the caller's text */
	bool is_executed;
	const char *operation;
	struct sgate_error *err;
	struct mydb_param params[MYDB_PARAMS_MAX];
	size_t bound;
	unsigned column;    /* the next one */
	int damaged_column; /* the first that cannot be right, -1: none */
};

/* After SGATE_OK close it. Clears *err. */
SGATE_MUST_CHECK enum sgate_status run_open(struct mydb_run *r,
    struct durable *d, enum mydb_statement which, const char *operation,
    struct sgate_error *err);
/* A text that is used once. is_own: errors in it are SGATE_INVALID. */
SGATE_MUST_CHECK enum sgate_status run_open_text(struct mydb_run *r,
    struct durable *d, const char *sql, bool is_own, const char *operation,
    struct sgate_error *err);
void run_close(struct mydb_run *r);

/* Bytes and texts must stay until the step. */
void run_bind_int(struct mydb_run *r, int64_t value);
/* SIZE_MAX: no limit. */
void run_bind_limit(struct mydb_run *r, size_t limit);
void run_bind_null(struct mydb_run *r);
void run_bind_blob(struct mydb_run *r, const void *data, size_t len);
void run_bind_bytes(struct mydb_run *r, struct sgate_bytes bytes);
void run_bind_text(struct mydb_run *r, const char *text);
/* Any kind of value, for the caller's own statement. */
void run_bind_value(struct mydb_run *r, const struct sgate_value *value);
size_t run_params_count(const struct mydb_run *r);
size_t run_columns_count(const struct mydb_run *r);

/* SGATE_OK: a row. SGATE_NOT_FOUND: no (more) row. */
SGATE_MUST_CHECK enum sgate_status run_step(struct mydb_run *r);
/* One step of a statement without rows, and close: SGATE_OK when it ran. */
SGATE_MUST_CHECK enum sgate_status run_finish(struct mydb_run *r);
/* Of the last step: rows found by an UPDATE or DELETE; LAST_INSERT_ID(n). */
uint64_t run_changes(const struct mydb_run *r);
uint64_t run_insert_id(const struct mydb_run *r);

/*
 * Each takes the next column. What is not of the length or range is noted as
 * damaged; the value is then the least, or empty.
 */
int64_t run_get_int(struct mydb_run *r, int64_t min, int64_t max);
int64_t run_get_time(struct mydb_run *r);
void run_get_blob(struct mydb_run *r, void *out, size_t len);
/* False: NULL, and *out is zeroed. */
bool run_get_blob_or_null(struct mydb_run *r, void *out, size_t len);
/* 0, 4 or 16 bytes: the length. */
size_t run_get_address(struct mydb_run *r, unsigned char out[16]);
/* Without NUL, shorter than size. */
void run_get_text(struct mydb_run *r, char *out, size_t size);
/* False: NULL, and out is "". */
bool run_get_text_or_null(struct mydb_run *r, char *out, size_t size);
/* Text without NUL, up to max bytes; borrowed until the next is got. */
struct sgate_bytes run_get_bytes(struct mydb_run *r, size_t max);
/* Whatever it is; what it points to is in *storage. */
SGATE_MUST_CHECK enum sgate_status run_get_value(
    struct mydb_run *r, struct sgate_value *out, struct buf *storage);
/* Note the column that was got last. */
void run_damaged(struct mydb_run *r);
/* SGATE_CORRUPT when a column of the row was damaged. row: for the text. */
SGATE_MUST_CHECK enum sgate_status run_row_status(
    struct mydb_run *r, const char *row);
/* SGATE_CORRUPT for a row that must be there. */
enum sgate_status run_missing(struct mydb_run *r, const char *row);

/* Whether a time, or an address's length, can be read again. */
bool mydb_time_is_sound(int64_t at_ms);
bool mydb_address_is_sound(size_t len);

/* ---- the table of durable.h ---- */

/* durable_mysql_schema.c */
/* SGATE_INVALID unless the tables are ours; all: look at each of them. */
SGATE_MUST_CHECK enum sgate_status mydb_check_tables(struct durable *d,
    bool all, const char *operation, struct sgate_error *err);
/* What a new connection of a server that was started anew does first. */
SGATE_MUST_CHECK enum sgate_status mydb_jump(
    struct durable *d, const char *operation, struct sgate_error *err);
enum sgate_status mydb_schema_init(struct durable *d, struct sgate_error *err);
enum sgate_status mydb_schema_check(struct durable *d, struct sgate_error *err);
enum sgate_status mydb_maintain(struct durable *d, int64_t now_ms,
    int64_t audit_before_ms, unsigned *out_made, unsigned *out_dropped,
    struct sgate_error *err);
enum sgate_status mydb_restored(
    struct durable *d, unsigned *out_epoch, struct sgate_error *err);

/* durable_mysql_rows.c */
/* A row of SESSION_COLUMNS and data. *out is new. */
SGATE_MUST_CHECK enum sgate_status mydb_session_read(
    struct mydb_run *r, struct sgate_session **out);
enum sgate_status mydb_session_get(struct durable *d,
    const struct sgate_ref *ref, unsigned flags, struct sgate_session **out,
    struct durable_snapshot *out_at, struct sgate_error *err);
enum sgate_status mydb_session_insert(struct durable *d,
    const struct sgate_session *session, struct sgate_error *err);
enum sgate_status mydb_session_store(struct durable *d,
    const struct sgate_session *session, struct sgate_error *err);
enum sgate_status mydb_counter_next(struct durable *d, unsigned group,
    uint64_t *out_seq, struct sgate_error *err);
enum sgate_status mydb_user_lock(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, bool exclusive, struct durable_user *out,
    struct sgate_error *err);
enum sgate_status mydb_user_block(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, int64_t blocked_ms, struct sgate_bytes reason,
    struct sgate_error *err);
enum sgate_status mydb_user_sessions(struct durable *d,
    struct sgate_bytes realm, struct sgate_bytes user, size_t limit,
    durable_session_fn *fn, void *arg, struct sgate_error *err);
enum sgate_status mydb_touch(struct durable *d,
    const struct durable_touch *touches, size_t count, struct sgate_error *err);
enum sgate_status mydb_expired(struct durable *d, int64_t now_ms, size_t limit,
    struct sgate_ref *cursor, bool *out_wrapped, durable_session_fn *fn,
    void *arg, struct sgate_error *err);
enum sgate_status mydb_live(struct durable *d, int64_t now_ms, size_t limit,
    struct sgate_ref *cursor, bool *out_wrapped, durable_session_fn *fn,
    void *arg, struct sgate_error *err);
enum sgate_status mydb_purge(struct durable *d, int64_t sessions_before_ms,
    int64_t audit_before_ms, int64_t now_ms, size_t limit,
    uint64_t *out_sessions, uint64_t *out_others, struct sgate_error *err);
enum sgate_status mydb_stats(struct durable *d, int64_t now_ms,
    struct sgate_stats *out, struct sgate_error *err);

/* durable_mysql_copies.c */
/* The columns of a counter and of the store. */
SGATE_MUST_CHECK enum sgate_status mydb_snapshot_read(
    struct mydb_run *r, struct durable_snapshot *out);
enum sgate_status mydb_snapshot(struct durable *d, unsigned group,
    struct durable_snapshot *out, struct sgate_error *err);
enum sgate_status mydb_poll(
    struct durable *d, struct durable_poll *out, struct sgate_error *err);
enum sgate_status mydb_changes(struct durable *d, unsigned group,
    uint64_t after, int64_t now_ms, size_t limit, durable_session_fn *fn,
    void *arg, struct sgate_error *err);

/* durable_mysql_audit.c */
/* The least event id of a moment: its first 48 bits are milliseconds. */
void mydb_event_id_at(int64_t at_ms, unsigned char out[DURABLE_EVENT_BYTES]);
enum sgate_status mydb_audit_insert(struct durable *d,
    const struct durable_audit *audit, struct sgate_error *err);
enum sgate_status mydb_audit_list(struct durable *d,
    const struct durable_audit_filter *filter, durable_audit_fn *fn, void *arg,
    struct sgate_error *err);
enum sgate_status mydb_audit_exists(struct durable *d,
    const unsigned char event_id[DURABLE_EVENT_BYTES], struct sgate_error *err);
enum sgate_status mydb_idempotency_get(struct durable *d,
    const unsigned char id[32], struct durable_idempotency *out,
    struct sgate_error *err);
enum sgate_status mydb_idempotency_insert(struct durable *d,
    const struct durable_idempotency *row, struct sgate_error *err);
enum sgate_status mydb_idempotency_remove(
    struct durable *d, const unsigned char id[32], struct sgate_error *err);
enum sgate_status mydb_lease_take(struct durable *d, const char *name,
    const char *holder, int64_t now_ms, int64_t until_ms,
    struct sgate_error *err);
enum sgate_status mydb_lease_list(struct durable *d, durable_lease_fn *fn,
    void *arg, struct sgate_error *err);
enum sgate_status mydb_service_get(struct durable *d,
    const unsigned char key_hash[32], struct durable_service *out,
    struct sgate_error *err);
enum sgate_status mydb_service_put(struct durable *d,
    const struct durable_service *svc, struct sgate_error *err);
enum sgate_status mydb_service_remove(
    struct durable *d, const char *name, struct sgate_error *err);
enum sgate_status mydb_service_list(struct durable *d, durable_service_fn *fn,
    void *arg, struct sgate_error *err);

/* durable_mysql_exec.c */
/*
 * SGATE_OK for a statement that cannot leave the transaction or write to our
 * tables; else SGATE_DENIED or SGATE_INVALID, and *why.
 */
SGATE_MUST_CHECK enum sgate_status mydb_judge_sql(
    const char *sql, const char **out_why);
enum sgate_status mydb_exec(struct durable *d, const char *sql,
    const struct sgate_value *params, size_t params_count, sgate_row_fn *row,
    void *row_arg, struct sgate_error *err);
#endif
