/*
 * Inside the MySQL driver, for its own files alone, which are the only ones
 * that see mysql.h:
 *
 *   durable_mysql.c         the table, connecting, where operations
 * begin durable_mysql_client.c  waiting, errors, disconnecting, statements of
 * text durable_mysql_run.c     prepared statements, columns, transactions
 *   durable_mysql_rows.c    texts and operations that are MySQL's own
 *   durable_mysql_create.c  many new sessions in one transaction
 *   durable_mysql_change.c  many changes in one transaction
 *   durable_mysql_exec.c    the caller's own statements
 *   durable_mysql_schema.c  making and looking after the tables
 *   durable_mysql_hosts.c   which of several hosts is the primary
 *   durable_mysql_doctor.c  what may be wrong with the servers
 */
#ifndef SESSGATE_DURABLE_MYSQL_H
#define SESSGATE_DURABLE_MYSQL_H

#include <mysql.h>

#include "buf.h"
#include "sql.h"

#define MYDB_SOURCE "mysql"
#define MYDB_SCHEMA_VERSION 2
#define MYDB_TABLES 10
/* Rows of user_lock. All hosts must mean the same: another number is another
 * version of the schema. */
#define MYDB_USER_LOCKS 4096
/* Oracle's answer to NOWAIT; MariaDB's is ER_LOCK_WAIT_TIMEOUT. */
#define MYDB_LOCK_NOWAIT 3572

#define MYDB_HOSTS_MAX 16

struct mydb_host {
	char address[46];
	unsigned port;
	struct place_address at; /* the same */
};

/* What a connection is for: what is asked of the tables when it is made. */
enum mydb_purpose {
	MYDB_TO_USE,   /* tables of our version; the first that writes jumps */
	MYDB_TO_MAKE,  /* whatever is there; statements take their time */
	MYDB_TO_CHECK, /* whatever is there */
};

/* By how much the first who writes to a server raises the numbers. */
#define MYDB_JUMP 1000000

struct mydb {
	struct sql_store sql;    /* first */
	struct mydb_host *hosts; /* none: socket */
	size_t hosts_count;
	size_t host; /* the one to try first */
	/* Several hosts and struct durable.at: where and who the primary was
	 * when the connection was made. */
	uint64_t generation, primary;
	struct mydb **looks; /* one a host; NULL: nobody has looked yet */
	/* Whose data the one had that was found last, until this handle has
	 * connected to it. */
	uint64_t found_whose;
	char *socket;
	char *database;
	char *user;
	char *password_file;
	int64_t read_timeout_ms;
	int64_t write_timeout_ms;
	unsigned forks; /* of the process that may use it */

	MYSQL *conn; /* NULL until the first operation */
	MYSQL_STMT *prepared[SQL_STATEMENTS];
	unsigned connection; /* counts them */
	int64_t server_ms;   /* what the server gives a statement; 0: no end */
	size_t message_max;  /* it takes none so long; 0: it was not asked */
	enum mydb_purpose purpose;
	bool is_mariadb; /* else Oracle's */
	bool in_transaction;
	bool is_begun;  /* the server has heard of the transaction */
	bool is_broken; /* the transaction can only be rolled back */
	bool is_connecting;
	int last_code;  /* native, of the last failure */
	char peer[120]; /* for people: "10.0.0.1:3306", or the socket */
	char *column;   /* what mydb_column() gave last */
	size_t column_size;
};

static inline struct mydb *
mydb_of(const struct sql_run *r)
{
	return (struct mydb *)r->store;
}

/* ---- durable_mysql_client.c ---- */

/* When the operation of this thread ends: monotonic. Waits go by it. */
extern _Thread_local int64_t mydb_deadline_us;
/* What one operation may take from now on; 0: until the handle's deadline. */
void mydb_set_deadline(const struct mydb *store, int64_t timeout_ms);
/* What the server is given for what we wait for so long. */
int64_t mydb_server_ms(int64_t wait_ms);
/*
 * Before a statement that may meet a lock: the server's time ends before ours.
 * A message more where little is left of the call's.
 */
SGATE_MUST_CHECK enum sgate_status mydb_fit_time(
    struct mydb *store, const char *operation, struct sgate_error *err);
/* A statement that commits, in one message in any case: mydb_query(). */
SGATE_MUST_CHECK enum sgate_status mydb_query_in_time(struct durable *d,
    const char *text, const char *operation, struct sgate_error *err);
/* As poll(): 1 ready, 0 the time is over, -1. EINTR does not start it anew. */
int mydb_wait_for(int fd, short events);
/* MARIADB_OPT_IO_WAIT: in the place of the library's own poll(). */
int mydb_io_wait(my_socket fd, my_bool is_read, int timeout);

/*
 * What the server or the library said, as a status. Call it before anything
 * else is called on the connection.
 */
enum sgate_status mydb_fail(struct mydb *store, const char *operation,
    unsigned code, const char *text, struct sgate_error *err);
/* The statement was given up: its time was over, or somebody has ended it. */
bool mydb_was_given_up(unsigned code);
/* Whether it is told what that code means. */
bool mydb_is_known(unsigned code);
enum sgate_status mydb_conn_fail(
    struct mydb *store, const char *operation, struct sgate_error *err);
bool mydb_is_of_this_process(const struct mydb *store);
/* Without a word to the server: it sees the connection end. */
void mydb_disconnect(struct durable *d);

/*
 * Before a message of so many bytes is sent, the one that says what it is among
 * them: SGATE_TOO_LARGE if the server does not take it. The connection stays;
 * a transaction that has begun can only be rolled back.
 */
SGATE_MUST_CHECK enum sgate_status mydb_fit_length(struct mydb *store,
    size_t len, const char *operation, struct sgate_error *err);
/* Sends a text, with that, and waits for the first answer to it. */
SGATE_MUST_CHECK enum sgate_status mydb_send(struct mydb *store,
    const char *sql, size_t len, const char *operation,
    struct sgate_error *err);

/*
 * Several statements in one message. take: for each that gives rows, in their
 * order, what takes one of them; NULL behind the last.
 */
typedef void mydb_row_fn(
    void *arg, MYSQL_ROW row, const unsigned long *lengths);
struct mydb_texts {
	const struct buf *sql;
	mydb_row_fn *const *take;
	void *arg;
	size_t answered;  /* set: statements that were done */
	uint64_t changes; /* set: rows, of those that give none */
};
SGATE_MUST_CHECK enum sgate_status mydb_query_many(struct mydb *store,
    struct mydb_texts *texts, const char *operation, struct sgate_error *err);
/* A row of grp, seq, store_id, epoch. False: it is damaged. */
SGATE_MUST_CHECK bool mydb_read_counter(const MYSQL_ROW row,
    const unsigned long *lengths, unsigned *out_group,
    struct durable_snapshot *out_at);

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

/* ---- durable_mysql.c ---- */

/*
 * Every operation begins here: the right process, time left, a connection. A
 * connection that died while nobody used it is replaced, so that a server that
 * was started again costs no failed request.
 */
SGATE_MUST_CHECK enum sgate_status mydb_enter(
    struct mydb *store, const char *operation, struct sgate_error *err);
/* The rest of it, for who has begun: within the deadline that is set. */
SGATE_MUST_CHECK enum sgate_status mydb_connected(
    struct mydb *store, const char *operation, struct sgate_error *err);
/* The same with a new connection for that purpose. */
SGATE_MUST_CHECK enum sgate_status mydb_enter_new(struct durable *d,
    enum mydb_purpose purpose, const char *operation, struct sgate_error *err);
/* SGATE_UNAVAILABLE, and another host next time, if it is read-only. Learns
 * what messages it takes, too. */
SGATE_MUST_CHECK enum sgate_status mydb_refuse_read_only(
    struct mydb *store, const char *operation, struct sgate_error *err);
void mydb_close(struct durable *d);
/* A handle of its own on one host of these, or (NULL) the socket. NULL: out of
 * memory. */
struct mydb *mydb_copy(const struct mydb *store, const struct mydb_host *host);
/* The server has closed it, or says something unasked. */
bool mydb_is_stale(const struct mydb *store);

/* ---- durable_mysql_run.c ---- */

extern const struct sql_driver mydb_driver;
enum sgate_status mydb_begin(struct durable *d, struct sgate_error *err);
/* A value as it stands in a statement's text. */
void mydb_add_literal(struct buf *sql, const struct sql_value *value);
/* The values that were bound, as one row of VALUES: " (1,2)" or ", (1,2)". */
void mydb_add_row(struct buf *sql, const struct sql_run *r, bool is_first);
/*
 * A transaction's first statements were lost with a connection that ended
 * before them: true, and they may be sent once more on a new one.
 */
bool mydb_may_open_again(struct mydb *store, enum sgate_status status);
enum sgate_status mydb_commit(struct durable *d, struct sgate_error *err);
void mydb_rollback(struct durable *d);
/*
 * A text without rows that is a transaction of its own: once more when it met a
 * deadlock or a lock that somebody else held. SGATE_UNCERTAIN as for commit.
 */
SGATE_MUST_CHECK enum sgate_status mydb_query_alone(struct durable *d,
    const char *sql, const char *operation, struct sgate_error *err);

/*
 * The caller's own statement: errors in it are SGATE_INVALID. Values are what
 * they are; what one points to is in *storage.
 */
SGATE_MUST_CHECK enum sgate_status mydb_open_own(struct sql_run *r,
    struct durable *d, const char *sql, struct sgate_error *err);
size_t mydb_params_count(const struct sql_run *r);
size_t mydb_columns_count(const struct sql_run *r);
SGATE_MUST_CHECK enum sgate_status mydb_get_own(struct sql_run *r,
    unsigned column, struct buf *storage, struct sgate_value *out);

/* ---- durable_mysql_rows.c ---- */

extern const struct sql_text mydb_texts[SQL_STATEMENTS];
/* Which row of user_lock is a user's: 0 to MYDB_USER_LOCKS - 1. */
unsigned mydb_user_place(struct sgate_bytes realm, struct sgate_bytes user);
enum sgate_status mydb_user_lock(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, bool exclusive, struct durable_user *out,
    struct sgate_error *err);
enum sgate_status mydb_counter_next(struct durable *d, unsigned group,
    uint64_t *out_seq, struct sgate_error *err);
enum sgate_status mydb_changes(struct durable *d, unsigned group,
    uint64_t after, int64_t now_ms, size_t limit, durable_session_fn *fn,
    void *arg, struct sgate_error *err);
enum sgate_status mydb_touch(struct durable *d,
    const struct durable_touch *touches, size_t count, struct sgate_error *err);
enum sgate_status mydb_stats(struct durable *d, int64_t now_ms, size_t limit,
    struct durable_count *count, bool *out_done, struct sgate_error *err);

/* ---- durable_mysql_create.c ---- */

enum sgate_status mydb_create_many(struct durable *d,
    struct durable_creation *creations, size_t count, bool is_patient,
    struct sgate_error *err);

/* ---- durable_mysql_change.c ---- */

enum sgate_status mydb_lock_many(struct durable *d,
    struct durable_change *changes, size_t count, struct sgate_error *err);
enum sgate_status mydb_store_many(struct durable *d,
    struct durable_change *changes, size_t count, struct sgate_error *err);

/* ---- durable_mysql_exec.c ---- */

/*
 * SGATE_OK for a statement that cannot leave the transaction or write to our
 * tables; else SGATE_DENIED or SGATE_INVALID, and *why.
 */
SGATE_MUST_CHECK enum sgate_status mydb_judge_sql(
    const char *sql, const char **out_why);
enum sgate_status mydb_exec(struct durable *d, const char *sql,
    const struct sgate_value *params, size_t params_count, sgate_row_fn *row,
    void *row_arg, struct sgate_error *err);

/* ---- durable_mysql_hosts.c ---- */

enum sgate_status mydb_locate(
    struct durable *d, struct place *at, struct sgate_error *err);
void mydb_hosts_free(struct mydb *store);
/* Whether somebody else finds out which host is the primary. */
bool mydb_is_led(const struct mydb *store);
/* Whether that is another one than the connection was made to. */
bool mydb_is_elsewhere(const struct mydb *store);
/* Sets store->host; SGATE_UNAVAILABLE: it is not known. */
SGATE_MUST_CHECK enum sgate_status mydb_find_host(
    struct mydb *store, const char *operation, struct sgate_error *err);
/* SGATE_UNAVAILABLE unless this connection's server is the one that was found.
 * After mydb_set_ident(). */
SGATE_MUST_CHECK enum sgate_status mydb_check_who(
    struct mydb *store, const char *operation, struct sgate_error *err);
/* The server that mydb_set_ident() has named; 0: it does not tell. */
SGATE_MUST_CHECK enum sgate_status mydb_who(struct durable *d,
    const char *operation, uint64_t *out, struct sgate_error *err);

/* ---- durable_mysql_doctor.c ---- */

enum sgate_status mydb_examine(
    struct durable *d, finding_fn *fn, void *arg, struct sgate_error *err);

/* ---- durable_mysql_schema.c ---- */

/* Names the server of this connection: @sessgate_ident, of its start too. */
SGATE_MUST_CHECK enum sgate_status mydb_set_ident(
    struct durable *d, const char *operation, struct sgate_error *err);

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
#endif
