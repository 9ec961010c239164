/*
 * The durable store in one SQLite file: the table of durable.h, the connection,
 * transactions and the schema.
 *
 * Many processes share the file, each with a connection of its own that is
 * opened in its first operation, after fork. WAL: readers and the one writer
 * do not wait for each other; synchronous=FULL: a commit is on the disk before
 * it is answered. A write transaction is BEGIN IMMEDIATE, so it holds the only
 * write lock there is from its start: it never meets a changed snapshot, and
 * the locks of users, rows and counters that durable.h asks for come with it.
 *
 * What a read costs: two fcntl() (its mark in the -shm file, on and off), and
 * one pread() for each page that it needs and has not in its cache, which is
 * empty whenever somebody else has committed. The two fcntl() keep a writer
 * from overwriting what is being read, so they cannot go. mmap is off: after
 * each commit of somebody else SQLite maps the file anew, which costs more than
 * it saves (48 us a read instead of 11), and a file that shrinks would be a
 * SIGBUS.
 */
#include "config.h"

#include "durable_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "failpoint.h"
#include "forks.h"
#include "lib/schema_sqlite.h" /* made from conf/schema/sqlite.sql */
#include "status.h"
#include "wait.h"

#define SCHEMA_VERSION 1

/*
 * How often a connection that only reads looks whether its path still names
 * its file; one that is to write looks each time.
 */
#define MOVED_CHECK_MS 1000
/* Steps of SQLite's machine between two looks at the deadline: some 20 us. */
#define PROGRESS_STEPS 1000

/* ---- errors ---- */

/*
 * SQLite's answers and ours. An extended code stands before its primary one;
 * what is not here is SGATE_INTERNAL. COMMIT has a rule of its own.
 */
static const struct {
	int code;
	enum sgate_status status;
	const char *advice;
} answers[] = {
    {SQLITE_BUSY, SGATE_UNAVAILABLE, "held by another process all the time"},
    {SQLITE_LOCKED, SGATE_UNAVAILABLE, "held by another process all the time"},
    {SQLITE_PROTOCOL, SGATE_UNAVAILABLE, "too many processes want it at once"},
    {SQLITE_INTERRUPT, SGATE_UNAVAILABLE, "not done in the time allowed"},
    {SQLITE_FULL, SGATE_UNAVAILABLE, "make room on its file system"},
    {SQLITE_IOERR_NOMEM, SGATE_NO_MEMORY, "out of memory"},
    {SQLITE_IOERR, SGATE_UNAVAILABLE,
	"see to the disk, its free space and the kernel log"},
    {SQLITE_READONLY, SGATE_UNAVAILABLE,
	"make the file and its directory writable for this user"},
    {SQLITE_PERM, SGATE_UNAVAILABLE, "make it accessible for this user"},
    {SQLITE_CANTOPEN, SGATE_UNAVAILABLE,
	"make the file and its directory writable for this user"},
    {SQLITE_CORRUPT, SGATE_CORRUPT,
	"left in place: save a copy, then restore a backup"},
    {SQLITE_NOTADB, SGATE_CORRUPT,
	"left in place: correct sqlite.file or restore a backup"},
    {SQLITE_NOMEM, SGATE_NO_MEMORY, "out of memory"},
    {SQLITE_TOOBIG, SGATE_TOO_LARGE, "a value is too large"},
    {SQLITE_CONSTRAINT_PRIMARYKEY, SGATE_CONFLICT, "is there already"},
    {SQLITE_CONSTRAINT_UNIQUE, SGATE_CONFLICT, "is there already"},
    {SQLITE_CONSTRAINT_ROWID, SGATE_CONFLICT, "is there already"},
    {SQLITE_CONSTRAINT, SGATE_INVALID, "a value is refused"},
    {SQLITE_AUTH, SGATE_DENIED, "not allowed in a statement of one's own"},
    {SQLITE_ERROR, SGATE_UNAVAILABLE,
	"not as expected: look at it with `sessgatectl db check`"},
    {SQLITE_SCHEMA, SGATE_UNAVAILABLE, "its tables change all the time"},
};

/* Call it before anything else is called on the connection. */
enum sgate_status
sqlite_fail(struct sqlite_store *store, const char *operation, int code,
    struct sgate_error *err)
{
	enum sgate_status status = SGATE_INTERNAL;
	const char *advice = "this should not happen";
	const char *text = sqlite3_errstr(code);
	int system = 0;
	size_t i;

	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (answers[i].code == code ||
		    answers[i].code == (code & 0xff)) {
			status = answers[i].status;
			advice = answers[i].advice;
			break;
		}
	}
	if (store->db != NULL && sqlite3_extended_errcode(store->db) == code) {
		text = sqlite3_errmsg(store->db);
		if ((code & 0xff) == SQLITE_IOERR ||
		    (code & 0xff) == SQLITE_CANTOPEN)
			system = sqlite3_system_errno(store->db);
	}
	return error_set(err, status, SQLITE_SOURCE, operation, code,
	    "%.80s: %.60s%s%.30s: %s", store->path, text,
	    system == 0 ? "" : ": ", system == 0 ? "" : strerror(system),
	    advice);
}

/* ---- waiting ---- */

/*
 * SQLite has no queue for its locks: who waits asks again. The first steps are
 * about as long as a commit takes.
 */
static int
wait_for_lock(void *arg, int count)
{
	static const int steps_us[] = {100, 200, 300, 500, 1000, 2000, 5000};
	const int last = (int)(sizeof(steps_us) / sizeof(steps_us[0])) - 1;
	struct sqlite_store *store = arg;
	int64_t now_us = clock_monotonic_us();
	int64_t deadline_us = store->sql.durable.deadline_ms > INT64_MAX / 1000
				  ? INT64_MAX
				  : store->sql.durable.deadline_ms * 1000;
	struct timespec pause = {0, 0};
	int64_t left_us;

	wait_look();
	if (count == 0) {
		store->wait_until_us = deadline_us;
		if (store->busy_timeout_ms > 0 &&
		    now_us + store->busy_timeout_ms * 1000 < deadline_us)
			store->wait_until_us =
			    now_us + store->busy_timeout_ms * 1000;
	}
	left_us = store->wait_until_us - now_us;
	if (left_us <= 0)
		return 0;
	if (left_us > steps_us[count < last ? count : last])
		left_us = steps_us[count < last ? count : last];
	pause.tv_nsec = (long)left_us * 1000;
	nanosleep(&pause, NULL);
	return 1;
}

/*
 * SQLite asks this also when a statement has just finished, and would take a
 * COMMIT that is done for interrupted: BEGIN and COMMIT never are.
 */
static int
is_past_deadline(void *arg)
{
	const struct sqlite_store *store = arg;

	return store->may_interrupt &&
	       clock_monotonic_ms() >= store->sql.durable.deadline_ms;
}

/* ---- the caller's own statements ---- */

static bool
is_our_table(const char *name)
{
	static const char *const tables[SQLITE_OUR_TABLES] = {"store", "meta",
	    "setting", "session", "user_state", "audit", "idempotency",
	    "service_key", "lease"};
	size_t i;

	for (i = 0; name != NULL && i < SQLITE_OUR_TABLES; i++)
		if (sqlite3_stricmp(name, tables[i]) == 0)
			return true;
	return false;
}

/*
 * Asked while a statement is prepared. Statements of our own may do all; the
 * caller's may not leave the transaction, change the connection or write to
 * our tables.
 */
static int
authorize(void *arg, int action, const char *first, const char *second,
    const char *database, const char *trigger)
{
	const struct sqlite_store *store = arg;

	(void)database;
	(void)trigger;
	if (!store->is_own_statement)
		return SQLITE_OK;
	switch (action) {
	case SQLITE_TRANSACTION:
	case SQLITE_SAVEPOINT:
	case SQLITE_ATTACH:
	case SQLITE_DETACH:
	case SQLITE_PRAGMA:
		return SQLITE_DENY;
	case SQLITE_INSERT:
	case SQLITE_UPDATE:
	case SQLITE_DELETE:
	case SQLITE_DROP_TABLE:
		return is_our_table(first) ? SQLITE_DENY : SQLITE_OK;
	case SQLITE_ALTER_TABLE:
	case SQLITE_CREATE_INDEX:
	case SQLITE_DROP_INDEX:
	case SQLITE_CREATE_TRIGGER:
	case SQLITE_CREATE_TEMP_TRIGGER:
		return is_our_table(second) ? SQLITE_DENY : SQLITE_OK;
	default:
		return SQLITE_OK;
	}
}

/* ---- the connection ---- */

/*
 * A connection that is used on both sides of a fork destroys the file, so each
 * use looks. One of its own does not help a child either while it has inherited
 * another: SQLite shares the file's locks among the connections of a process,
 * and believes to hold those that the parent holds. Another process then takes
 * itself for the last one and removes the WAL into which the child commits.
 */
static atomic_uint open_connections; /* of this process */
static bool has_inherited;           /* was any open when it was forked? */
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void
fork_happened(void)
{
	has_inherited = has_inherited || atomic_load(&open_connections) > 0;
	atomic_store(&open_connections, 0);
}

static void
fork_watch(void)
{
	pthread_atfork(NULL, NULL, fork_happened);
}

static void
store_disconnect(struct sqlite_store *store)
{
	size_t i;

	/* In a child it is the parent's: closing it would write to the file. */
	if (store->forks != forks_count())
		return;
	for (i = 0; i < SQL_STATEMENTS; i++) {
		sqlite3_finalize(store->prepared[i]);
		store->prepared[i] = NULL;
	}
	if (store->db != NULL)
		atomic_fetch_sub(&open_connections, 1);
	sqlite3_close_v2(store->db);
	store->db = NULL;
	store->in_transaction = false;
}

/* Whether the path names the file that is open. */
static bool
store_is_moved(const struct sqlite_store *store)
{
	struct stat st;

	return stat(store->path, &st) != 0 || st.st_dev != store->device ||
	       st.st_ino != store->inode;
}

/* An empty file for us alone; the -wal and -shm files take its mode. */
static enum sgate_status
store_create_file(
    struct sqlite_store *store, const char *operation, struct sgate_error *err)
{
	int fd = open(store->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
	    S_IRUSR | S_IWUSR);

	if (fd < 0 && errno != EEXIST)
		return error_set(err, SGATE_UNAVAILABLE, SQLITE_SOURCE,
		    operation, errno,
		    "%.100s: cannot be made: %s: its directory must exist and "
		    "be writable for this user",
		    store->path, strerror(errno));
	/* Made just now, so no lock of another connection goes with it. */
	if (fd >= 0)
		close(fd);
	return SGATE_OK;
}

static enum sgate_status
store_find_file(
    struct sqlite_store *store, const char *operation, struct sgate_error *err)
{
	struct stat st;

	if (stat(store->path, &st) != 0)
		return error_set(err,
		    errno == ENOENT ? SGATE_INVALID : SGATE_UNAVAILABLE,
		    SQLITE_SOURCE, operation, errno, "%.100s: %s: %s",
		    store->path, strerror(errno),
		    errno == ENOENT ? "make it with `sessgatectl db init`"
				    : "it must be accessible for this user");
	if (!S_ISREG(st.st_mode))
		return error_set(err, SGATE_UNAVAILABLE, SQLITE_SOURCE,
		    operation, 0,
		    "%.100s: not a regular file: correct sqlite.file",
		    store->path);
	store->device = st.st_dev;
	store->inode = st.st_ino;
	store->moved_check_ms = clock_monotonic_ms() + MOVED_CHECK_MS;
	return SGATE_OK;
}

/* A statement that is used once, its first column as an integer or a word. */
static int
store_ask(struct sqlite_store *store, const char *sql, int *out_number,
    char out_word[16])
{
	sqlite3_stmt *stmt = NULL;
	const char *word;
	int code;

	*out_number = 0;
	out_word[0] = '\0';
	code = sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		*out_number = sqlite3_column_int(stmt, 0);
		word = (const char *)sqlite3_column_text(stmt, 0);
		sqlite3_snprintf(16, out_word, "%s", word == NULL ? "" : word);
		code = SQLITE_DONE;
	}
	sqlite3_finalize(stmt);
	return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int
store_configure(struct sqlite_store *store)
{
	sqlite3 *db = store->db;

	sqlite3_busy_handler(db, wait_for_lock, store);
	sqlite3_progress_handler(db, PROGRESS_STEPS, is_past_deadline, store);
	sqlite3_set_authorizer(db, authorize, store);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_limit(db, SQLITE_LIMIT_LENGTH, SQL_VALUE_MAX_BYTES);
	sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, SQL_VALUE_MAX_BYTES);
	sqlite3_limit(db, SQLITE_LIMIT_WORKER_THREADS, 0);
	return sqlite3_exec(db,
	    "PRAGMA synchronous=FULL;"
	    "PRAGMA cache_size=-512;" /* KiB */
	    "PRAGMA mmap_size=0;"
	    "PRAGMA temp_store=MEMORY;"
	    "PRAGMA journal_size_limit=16777216;",
	    NULL, NULL, NULL);
}

/* SGATE_INVALID unless the table `store` says our version. */
static enum sgate_status
store_check_version(
    struct sqlite_store *store, const char *operation, struct sgate_error *err)
{
	const char *problem = NULL;
	char word[16];
	int version;
	int code;

	code = store_ask(store, "SELECT schema_version FROM store WHERE id = 1",
	    &version, word);
	if (code != SQLITE_OK && code != SQLITE_ERROR)
		return sqlite_fail(store, operation, code, err);
	if (code == SQLITE_ERROR || word[0] == '\0')
		problem = "its table `store` is not sessgate's: correct "
			  "sqlite.file or restore a backup";
	else if (version < SCHEMA_VERSION)
		problem = "made by an older sessgate: convert it with the "
			  "release after that one";
	else if (version > SCHEMA_VERSION)
		problem = "made by a newer sessgate: install that one";
	if (problem == NULL)
		return SGATE_OK;
	return error_set(err, SGATE_INVALID, SQLITE_SOURCE, operation, 0,
	    "%.100s: schema version %d, needed is %d: %s", store->path, version,
	    SCHEMA_VERSION, problem);
}

static enum sgate_status
store_check_tables(
    struct sqlite_store *store, const char *operation, struct sgate_error *err)
{
	char word[16];
	int count;
	int code;

	code = store_ask(store,
	    "SELECT count(*) FROM sqlite_schema WHERE type = 'table' "
	    "AND name IN ('store', 'meta', 'setting', 'session', 'user_state', "
	    "'audit', 'idempotency', 'service_key', 'lease')",
	    &count, word);
	if (code != SQLITE_OK)
		return sqlite_fail(store, operation, code, err);
	if (count != SQLITE_OUR_TABLES)
		return error_set(err, SGATE_INVALID, SQLITE_SOURCE, operation,
		    0,
		    "%.100s: has %d of sessgate's %d tables: make them with "
		    "`sessgatectl db init`",
		    store->path, count, SQLITE_OUR_TABLES);
	return store_check_version(store, operation, err);
}

static enum sgate_status
store_check_wal(
    struct sqlite_store *store, const char *operation, struct sgate_error *err)
{
	char word[16];
	int number;
	int code = store_ask(store, "PRAGMA journal_mode", &number, word);

	if (code != SQLITE_OK)
		return sqlite_fail(store, operation, code, err);
	if (strcmp(word, "wal") != 0)
		return error_set(err, SGATE_UNAVAILABLE, SQLITE_SOURCE,
		    operation, 0,
		    "%.100s: its journal mode is %s, not wal: put it right "
		    "with `sessgatectl db init`",
		    store->path, word);
	return SGATE_OK;
}

/*
 * Two processes that turn the same new file to WAL get in each other's way,
 * and SQLite does not wait then: try again until the deadline.
 */
static enum sgate_status
store_set_wal(
    struct sqlite_store *store, const char *operation, struct sgate_error *err)
{
	char word[16];
	int number;
	int code;
	int count = 0;

	do {
		code =
		    store_ask(store, "PRAGMA journal_mode=WAL", &number, word);
	} while ((code & 0xff) == SQLITE_BUSY && wait_for_lock(store, count++));
	if (code != SQLITE_OK)
		return sqlite_fail(store, operation, code, err);
	return store_check_wal(store, operation, err);
}

enum connect_for { CONNECT_TO_USE, CONNECT_TO_CHECK, CONNECT_TO_INIT };

/* Open the file as it is; what is in it has not been looked at. */
static enum sgate_status
store_open_file(
    struct sqlite_store *store, const char *operation, struct sgate_error *err)
{
	enum sgate_status status = store_find_file(store, operation, err);
	int code;

	if (status != SGATE_OK)
		return status;
	/* Before it opens: whoever forks meanwhile has inherited it. */
	atomic_fetch_add(&open_connections, 1);
	code = sqlite3_open_v2(store->path, &store->db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
		SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE,
	    NULL);
	if (store->db == NULL)
		atomic_fetch_sub(&open_connections, 1);
	if (code == SQLITE_OK)
		code = store_configure(store);
	if (code != SQLITE_OK)
		return sqlite_fail(store, operation, code, err);
	if (sqlite3_db_readonly(store->db, "main") != 0)
		return sqlite_fail(store, operation, SQLITE_READONLY, err);
	/* Replaced between stat() and open(): the next try finds the new one.*/
	if (store_is_moved(store))
		return error_set(err, SGATE_UNAVAILABLE, SQLITE_SOURCE,
		    operation, 0, "%.100s: was replaced while it was opened",
		    store->path);
	return SGATE_OK;
}

static enum sgate_status
store_connect(struct sqlite_store *store, enum connect_for purpose,
    const char *operation, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;

	if (purpose == CONNECT_TO_INIT)
		status = store_create_file(store, operation, err);
	if (status == SGATE_OK)
		status = store_open_file(store, operation, err);
	if (status == SGATE_OK && purpose == CONNECT_TO_INIT)
		status = store_set_wal(store, operation, err);
	else if (status == SGATE_OK && purpose == CONNECT_TO_USE)
		status = store_check_tables(store, operation, err);
	if (status == SGATE_OK && purpose == CONNECT_TO_USE)
		status = store_check_wal(store, operation, err);
	/* For a session there is no answer where there are no tables. */
	if (status == SGATE_INVALID && purpose != CONNECT_TO_CHECK) {
		status = SGATE_UNAVAILABLE;
		if (err != NULL) {
			err->status = SGATE_UNAVAILABLE;
			err->reason = SGATE_REASON_STORE;
		}
	}
	if (status != SGATE_OK)
		store_disconnect(store);
	return status;
}

/*
 * Every operation begins here: the right process, time left, a connection to
 * the file that the path names.
 */
static enum sgate_status
store_enter(struct sqlite_store *store, enum connect_for purpose,
    const char *operation, struct sgate_error *err)
{
	int64_t now_ms = clock_monotonic_ms();

	if (store->forks != forks_count())
		return sql_misused(&store->sql.durable, operation,
		    "opened in another process: open it after fork()", err);
	if (has_inherited)
		return sql_misused(&store->sql.durable, operation,
		    "a store was open when this process was forked: fork() "
		    "before the first use",
		    err);
	if (now_ms >= store->sql.durable.deadline_ms)
		return error_set(err, SGATE_UNAVAILABLE, SQLITE_SOURCE,
		    operation, 0, "%.100s: no time left to begin", store->path);
	if (store->in_transaction) {
		if (sqlite3_get_autocommit(store->db) == 0)
			return SGATE_OK;
		return error_set(err, SGATE_UNAVAILABLE, SQLITE_SOURCE,
		    operation, 0,
		    "%.100s: the transaction was rolled back by an error "
		    "before",
		    store->path);
	}
	if (store->db != NULL && now_ms >= store->moved_check_ms) {
		store->moved_check_ms = now_ms + MOVED_CHECK_MS;
		if (store_is_moved(store))
			store_disconnect(store);
	}
	if (store->db == NULL)
		return store_connect(store, purpose, operation, err);
	return SGATE_OK;
}

enum sgate_status
sqlite_enter(
    struct sqlite_store *store, const char *operation, struct sgate_error *err)
{
	return store_enter(store, CONNECT_TO_USE, operation, err);
}

/* ---- transactions ---- */

static void
sqlite_rollback(struct durable *d)
{
	struct sqlite_store *store = (struct sqlite_store *)d;

	if (store->forks != forks_count() || store->db == NULL ||
	    !store->in_transaction)
		return;
	store->in_transaction = false;
	if (sqlite3_get_autocommit(store->db) == 0)
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	/* Closing the connection rolls back what would not be. */
	if (sqlite3_get_autocommit(store->db) == 0)
		store_disconnect(store);
}

static enum sgate_status
sqlite_begin(struct durable *d, struct sgate_error *err)
{
	struct sqlite_store *store = (struct sqlite_store *)d;
	struct sql_run r;
	enum sgate_status status;
	int code;

	error_clear(err);
	if (store->in_transaction)
		return sql_misused(&store->sql.durable, "begin",
		    "in a transaction already", err);
	/* A write into a file that has lost its name would be lost with it. */
	store->moved_check_ms = 0;
	status = sql_open(&r, d, SQL_BEGIN, "begin", err);
	if (status != SGATE_OK)
		return status;
	code = sqlite3_step(r.stmt);
	if (code == SQLITE_DONE)
		store->in_transaction = true;
	else
		status = sqlite_fail(store, "begin", code, err);
	sql_close(&r);
	return status;
}

/*
 * A COMMIT that failed. The frames of a transaction are written to the WAL,
 * its commit frame last, then the WAL is synced, then the index in shared
 * memory is moved on; SQLite rolls back when any of it fails. Busy, or a write
 * that failed (FULL, IOERR_WRITE): there is no commit frame, so it surely did
 * not happen. After the write it cannot be known: the frame is in the file,
 * out of sight, until the next writer overwrites it or a recovery finds it.
 * The connection is opened anew then, so that audit_exists answers by what is
 * in the file.
 */
static enum sgate_status
commit_failed(struct sqlite_store *store, int code, struct sgate_error *err)
{
	bool is_exact = (code & 0xff) == SQLITE_BUSY || code == SQLITE_FULL ||
			code == SQLITE_IOERR_WRITE;
	enum sgate_status status = sqlite_fail(store, "commit", code, err);

	sqlite3_reset(store->prepared[SQL_COMMIT]);
	sqlite_rollback(&store->sql.durable);
	if (is_exact)
		return status;
	store_disconnect(store);
	if (err != NULL) {
		err->status = SGATE_UNCERTAIN;
		err->reason = SGATE_REASON_STORE;
	}
	return SGATE_UNCERTAIN;
}

static enum sgate_status
sqlite_commit(struct durable *d, struct sgate_error *err)
{
	struct sqlite_store *store = (struct sqlite_store *)d;
	struct sql_run r;
	enum sgate_status status;
	int code;

	error_clear(err);
	if (!store->in_transaction)
		return sql_misused(
		    &store->sql.durable, "commit", "needs a transaction", err);
	status = sql_open(&r, d, SQL_COMMIT, "commit", err);
	if (status != SGATE_OK) {
		sqlite_rollback(d);
		return status;
	}
	wait_block();
	failpoint("sqlite-commit");
	code = sqlite3_step(r.stmt);
	wait_unblock();
	if (code != SQLITE_DONE)
		return commit_failed(store, code, err);
	sql_close(&r);
	store->in_transaction = false;
	return SGATE_OK;
}

static enum sgate_status
sqlite_end(struct durable *d, enum sgate_status status, struct sgate_error *err)
{
	if (status == SGATE_OK)
		return sqlite_commit(d, err);
	sqlite_rollback(d);
	return status;
}

enum sgate_status
sqlite_transaction(
    struct durable *d, sql_work_fn *work, void *arg, struct sgate_error *err)
{
	enum sgate_status status = sqlite_begin(d, err);

	if (status != SGATE_OK)
		return status;
	return sqlite_end(d, work(d, arg, err), err);
}

/* ---- open, close, schema ---- */

static enum sgate_status
sqlite_open(const struct sgate_conf *conf, struct durable **out,
    struct sgate_error *err)
{
	struct sqlite_store *store;

	*out = NULL;
	error_clear(err);
	/* Absolute also keeps SQLite's special names out: "", ":memory:". */
	if (conf->sqlite.file == NULL || conf->sqlite.file[0] != '/')
		return error_set(err, SGATE_INVALID, SQLITE_SOURCE, "open", 0,
		    "sqlite.file: \"%.100s\": must be an absolute path",
		    conf->sqlite.file == NULL ? "" : conf->sqlite.file);
	pthread_once(&fork_once, fork_watch);
	store = calloc(1, sizeof(*store));
	if (store == NULL ||
	    (store->path = strdup(conf->sqlite.file)) == NULL) {
		free(store);
		return error_memory(err, "open");
	}
	store->sql.durable.ops = &durable_sqlite;
	store->sql.driver = &sqlite_driver;
	store->busy_timeout_ms = conf->sqlite.busy_timeout_ms;
	store->forks = forks_count();
	*out = &store->sql.durable;
	return SGATE_OK;
}

static void
sqlite_close(struct durable *d)
{
	struct sqlite_store *store = (struct sqlite_store *)d;

	if (store == NULL)
		return;
	store_disconnect(store);
	free(store->path);
	free(store);
}

/* A version that is there is checked first: its tables may be other ones. */
static enum sgate_status
schema_make(struct durable *d, void *arg, struct sgate_error *err)
{
	struct sqlite_store *store = (struct sqlite_store *)d;
	enum sgate_status status = SGATE_OK;
	char word[16];
	int count;
	int code;

	(void)arg;
	code = store_ask(store,
	    "SELECT count(*) FROM sqlite_schema WHERE name = 'store'", &count,
	    word);
	if (code == SQLITE_OK && count > 0)
		status = store_check_version(store, "schema_init", err);
	if (status != SGATE_OK)
		return status;
	if (code == SQLITE_OK) {
		store->may_interrupt = true;
		code = sqlite3_exec(store->db, schema_sqlite, NULL, NULL, NULL);
		store->may_interrupt = false;
	}
	if (code != SQLITE_OK)
		return sqlite_fail(store, "schema_init", code, err);
	return SGATE_OK;
}

static enum sgate_status
sqlite_schema_init(struct durable *d, struct sgate_error *err)
{
	struct sqlite_store *store = (struct sqlite_store *)d;
	enum sgate_status status;

	error_clear(err);
	if (store->in_transaction)
		return sql_misused(&store->sql.durable, "schema_init",
		    "within a transaction", err);
	store_disconnect(store);
	status = store_enter(store, CONNECT_TO_INIT, "schema_init", err);
	if (status == SGATE_OK)
		status = sqlite_transaction(d, schema_make, NULL, err);
	if (status != SGATE_OK)
		store_disconnect(store);
	return status;
}

static enum sgate_status
sqlite_schema_check(struct durable *d, struct sgate_error *err)
{
	struct sqlite_store *store = (struct sqlite_store *)d;
	enum sgate_status status;

	error_clear(err);
	if (store->in_transaction)
		return sql_misused(&store->sql.durable, "schema_check",
		    "within a transaction", err);
	store_disconnect(store);
	status = store_enter(store, CONNECT_TO_CHECK, "schema_check", err);
	if (status == SGATE_OK)
		status = store_check_tables(store, "schema_check", err);
	if (status == SGATE_OK)
		status = store_check_wal(store, "schema_check", err);
	if (status != SGATE_OK)
		store_disconnect(store);
	return status;
}

const struct durable_ops durable_sqlite = {
    .name = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .ping = sql_ping,
    .schema_init = sqlite_schema_init,
    .schema_check = sqlite_schema_check,
    .store_get = sql_store_get,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .audit_insert = sql_audit_insert,
    .audit_list = sql_audit_list,
    .audit_exists = sql_audit_exists,
    .idempotency_get = sql_idempotency_get,
    .idempotency_insert = sql_idempotency_insert,
    .idempotency_remove = sql_idempotency_remove,
    .user_lock = sqlite_user_lock,
    .user_block = sql_user_block,
    .blocked_users = sql_blocked_users,
    .user_sessions = sql_user_sessions,
    .session_get = sql_session_get,
    .session_insert = sql_session_insert,
    .session_store = sql_session_store,
    .poll = sql_poll,
    .changed = sql_changed,
    .counter_next = sqlite_counter_next,
    .setting_list = sql_setting_list,
    .setting_put = sql_setting_put,
    .latest_expiry = sql_latest_expiry,
    .touch = sqlite_touch,
    .expired = sql_expired,
    .purge = sql_purge,
    .stats = sqlite_stats,
    .lease_take = sql_lease_take,
    .lease_list = sql_lease_list,
    .service_get = sql_service_get,
    .service_put = sql_service_put,
    .service_remove = sql_service_remove,
    .service_list = sql_service_list,
    .exec = sqlite_exec,
};
