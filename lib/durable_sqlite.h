/*
 * Inside the SQLite driver, for its own files alone, which are the only ones
 * that see sqlite3.h: durable_sqlite.c has the connection, transactions and the
 * schema, durable_sqlite_run.c runs statements, durable_sqlite_rows.c has the
 * texts and operations that are SQLite's own.
 */
#ifndef SESSGATE_DURABLE_SQLITE_H
#define SESSGATE_DURABLE_SQLITE_H

#include <sys/types.h>

#include <sqlite3.h>

#include "sql.h"

#define SQLITE_SOURCE "sqlite"
#define SQLITE_OUR_TABLES 9

struct sqlite_store {
	struct sql_store sql; /* first */
	char *path;
	int64_t busy_timeout_ms;
	unsigned forks; /* of the process that may use it */
	sqlite3 *db;    /* NULL until the first operation */
	sqlite3_stmt *prepared[SQL_STATEMENTS];
	dev_t device; /* the file that db has open */
	ino_t inode;
	int64_t moved_check_ms; /* monotonic: the next one */
	int64_t wait_until_us;  /* of the busy handler, monotonic */
	bool in_transaction;
	bool is_own_statement; /* the caller's text is prepared: authorize() */
	bool may_interrupt;    /* the progress handler may end a statement */
};

static inline struct sqlite_store *
sqlite_of(const struct sql_run *r)
{
	return (struct sqlite_store *)r->store;
}

/* ---- durable_sqlite.c ---- */

/*
 * What SQLite answered, as a status. Call it before anything else is called on
 * the connection.
 */
enum sgate_status sqlite_fail(struct sqlite_store *store, const char *operation,
    int code, struct sgate_error *err);
/*
 * Every operation begins here: the right process, time left, a connection to
 * the file that the path names, with our tables in it.
 */
SGATE_MUST_CHECK enum sgate_status sqlite_enter(
    struct sqlite_store *store, const char *operation, struct sgate_error *err);
/* As struct sql_driver says. */
SGATE_MUST_CHECK enum sgate_status sqlite_transaction(
    struct durable *d, sql_work_fn *work, void *arg, struct sgate_error *err);

/* ---- durable_sqlite_run.c ---- */

extern const struct sql_driver sqlite_driver;
enum sgate_status sqlite_exec(struct durable *d, const char *sql,
    const struct sgate_value *params, size_t params_count, sgate_row_fn *row,
    void *row_arg, struct sgate_error *err);

/* ---- durable_sqlite_rows.c ---- */

extern const struct sql_text sqlite_texts[SQL_STATEMENTS];
enum sgate_status sqlite_user_lock(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, bool exclusive, struct durable_user *out,
    struct sgate_error *err);
enum sgate_status sqlite_counter_next(struct durable *d, unsigned group,
    uint64_t *out_seq, struct sgate_error *err);
enum sgate_status sqlite_touch(struct durable *d,
    const struct durable_touch *touches, size_t count, struct sgate_error *err);
enum sgate_status sqlite_stats(struct durable *d, int64_t now_ms, size_t limit,
    struct durable_count *count, bool *out_done, struct sgate_error *err);

#endif
