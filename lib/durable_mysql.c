/*
 * The durable store in MySQL (MariaDB): the table of durable.h, and the only
 * place that sees mysql.h. This file has the connection, its deadlines,
 * transactions and the running of statements.
 *
 * One connection a handle, opened in the first operation, after fork. It owns
 * its prepared statements and its settings, so it is never reconnected by the
 * library: whatever says that it is gone (or that its server must not be
 * written to) closes it, and the next operation makes a new one, with the next
 * host of the list.
 *
 * Deadlines. The library counts in whole seconds, for each wait anew. Here
 * connecting is its non-blocking form, and everything else waits in io_wait(),
 * which MARIADB_OPT_IO_WAIT puts in the place of the library's own poll(): it
 * goes by one absolute deadline, that of the operation. It gets no pointer of
 * ours, so that deadline is a variable of the thread. Under TLS the library
 * does not wait there: TLS is not offered; a server on another machine is
 * reached through a tunnel or a network of its own. Names would be looked up
 * without a deadline: hosts are addresses.
 *
 * An operation takes at most read_timeout, or write_timeout in a transaction,
 * and never longer than the handle's deadline.
 */
#include "config.h"

#include "durable_mysql.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <errmsg.h>
#include <mysql.h>
#include <mysqld_error.h>

#include "buf.h"
#include "clock.h"
#include "failpoint.h"
#include "password.h"
#include "status.h"

#define DEFAULT_PORT 3306
/* A rollback may go past the deadline by this; then the connection goes. */
#define ROLLBACK_MS 20
/* Numbers and dates as text fit in it. */
#define COLUMN_MIN_BYTES 1024

struct host {
	char address[46];
	unsigned port;
};

struct mydb {
	struct durable durable; /* first */
	struct host *hosts;     /* none: socket */
	size_t hosts_count;
	size_t host; /* the one to try first */
	char *socket;
	char *database;
	char *user;
	char *password_file;
	int64_t read_timeout_ms;
	int64_t write_timeout_ms;
	unsigned fork_generation; /* of the process that may use it */

	MYSQL *conn; /* NULL until the first operation */
	MYSQL_STMT *prepared[MYDB_STMT_COUNT];
	unsigned connection; /* counts them */
	enum mydb_purpose purpose;
	bool is_mariadb;
	bool in_transaction;
	bool is_broken; /* the transaction can only be rolled back */
	bool is_connecting;
	int last_code;  /* native, of the last failure */
	char peer[120]; /* for people */
	char *column;   /* what run_get_bytes() gave last */
	size_t column_size;
};

/* ---- waiting ---- */

static _Thread_local int64_t io_deadline_us;

/* As poll(): 1 ready, 0 the time is over, -1. EINTR does not start it anew. */
static int
wait_for(int fd, short events)
{
	struct pollfd poller = {.fd = fd, .events = events};
	int64_t left_us;
	int ready;

	do {
		left_us = io_deadline_us - clock_monotonic_us();
		if (left_us < 0)
			left_us = 0;
		ready = poll(&poller, 1, (int)((left_us + 999) / 1000));
	} while (ready < 0 && errno == EINTR);
	if (ready == 0)
		errno = ETIMEDOUT;
	return ready;
}

static int
io_wait(my_socket fd, my_bool is_read, int timeout)
{
	(void)timeout;
	return wait_for(fd, is_read ? POLLIN : POLLOUT);
}

/* What one operation may take from now on. */
static void
set_deadline(const struct mydb *store, int64_t timeout_ms)
{
	const int64_t max_ms = INT64_C(24) * 3600 * 1000;
	int64_t now_ms = clock_monotonic_ms();
	int64_t end_ms = now_ms + (timeout_ms > 0 ? timeout_ms : max_ms);

	if (store->durable.deadline_ms < end_ms)
		end_ms = store->durable.deadline_ms;
	io_deadline_us = end_ms * 1000;
}

/* ---- errors ---- */

/*
 * The server's and the library's answers and ours; what is not here is
 * SGATE_INTERNAL. closes: the connection cannot be used any more, or leads to
 * a server that must not be. COMMIT has a rule of its own.
 */
static const struct {
	unsigned code;
	enum sgate_status status;
	bool closes;
	const char *advice;
} answers[] = {
    {CR_CONNECTION_ERROR, SGATE_UNAVAILABLE, true, "is the server running?"},
    {CR_CONN_HOST_ERROR, SGATE_UNAVAILABLE, true, "is the server running?"},
    {CR_SERVER_GONE_ERROR, SGATE_UNAVAILABLE, true, "the connection is gone"},
    {CR_SERVER_LOST, SGATE_UNAVAILABLE, true,
	"the connection is gone, or there was no answer in time"},
    {CR_SERVER_LOST_EXTENDED, SGATE_UNAVAILABLE, true,
	"the connection is gone, or there was no answer in time"},
    {CR_COMMANDS_OUT_OF_SYNC, SGATE_UNAVAILABLE, true, "its answers are mixed"},
    {CR_MALFORMED_PACKET, SGATE_UNAVAILABLE, true, "its answers are damaged"},
    {CR_AUTH_PLUGIN_CANNOT_LOAD, SGATE_UNAVAILABLE, true,
	"give the account a password of another kind"},
    {CR_AUTH_PLUGIN_ERR, SGATE_UNAVAILABLE, true,
	"give the account a password of another kind"},
    {CR_OUT_OF_MEMORY, SGATE_NO_MEMORY, true, "out of memory"},
    {ER_UNKNOWN_STMT_HANDLER, SGATE_UNAVAILABLE, true,
	"its statements are gone"},
    {ER_UNKNOWN_COM_ERROR, SGATE_UNAVAILABLE, true,
	"the server is not ready (a cluster's node without its cluster?)"},
    {ER_OPTION_PREVENTS_STATEMENT, SGATE_UNAVAILABLE, true,
	"the server is read-only: write to the primary"},
    {ER_READ_ONLY_MODE, SGATE_UNAVAILABLE, true,
	"the server is read-only: write to the primary"},
    {ER_CONNECTION_KILLED, SGATE_UNAVAILABLE, true,
	"the connection was ended by the server"},
    {ER_SERVER_SHUTDOWN, SGATE_UNAVAILABLE, true, "the server is stopping"},
    {ER_NORMAL_SHUTDOWN, SGATE_UNAVAILABLE, true, "the server is stopping"},
    {ER_CON_COUNT_ERROR, SGATE_UNAVAILABLE, true,
	"raise max_connections of the server, or have fewer workers"},
    {ER_USER_LIMIT_REACHED, SGATE_UNAVAILABLE, true,
	"raise the account's limits"},
    {ER_ACCESS_DENIED_ERROR, SGATE_UNAVAILABLE, true,
	"correct mysql.user, mysql.password_file or the account"},
    {ER_ACCESS_DENIED_NO_PASSWORD_ERROR, SGATE_UNAVAILABLE, true,
	"correct mysql.user, mysql.password_file or the account"},
    {ER_ACCOUNT_HAS_BEEN_LOCKED, SGATE_UNAVAILABLE, true,
	"unlock the account: see conf/schema/mysql-accounts.sql"},
    {ER_DBACCESS_DENIED_ERROR, SGATE_UNAVAILABLE, true,
	"the account lacks its grants: see conf/schema/mysql-accounts.sql"},
    {ER_BAD_DB_ERROR, SGATE_UNAVAILABLE, true,
	"make the database, or correct mysql.database"},
    {ER_HOST_IS_BLOCKED, SGATE_UNAVAILABLE, true, "FLUSH HOSTS on the server"},
    {ER_HOST_NOT_PRIVILEGED, SGATE_UNAVAILABLE, true,
	"the account is for other hosts"},
    {ER_LOCK_WAIT_TIMEOUT, SGATE_UNAVAILABLE, false,
	"somebody else holds the row"},
    {ER_LOCK_DEADLOCK, SGATE_UNAVAILABLE, false, "a deadlock"},
    {ER_STATEMENT_TIMEOUT, SGATE_UNAVAILABLE, false,
	"not done in the time allowed"},
    {ER_QUERY_INTERRUPTED, SGATE_UNAVAILABLE, false, "was interrupted"},
    {ER_TABLEACCESS_DENIED_ERROR, SGATE_UNAVAILABLE, false,
	"the account lacks its grants: see conf/schema/mysql-accounts.sql"},
    {ER_COLUMNACCESS_DENIED_ERROR, SGATE_UNAVAILABLE, false,
	"the account lacks its grants: see conf/schema/mysql-accounts.sql"},
    {ER_SPECIFIC_ACCESS_DENIED_ERROR, SGATE_UNAVAILABLE, false,
	"the account lacks its grants: see conf/schema/mysql-accounts.sql"},
    {ER_NO_SUCH_TABLE, SGATE_UNAVAILABLE, false,
	"look at it with `sessgatectl db check`"},
    {ER_BAD_FIELD_ERROR, SGATE_UNAVAILABLE, false,
	"look at it with `sessgatectl db check`"},
    {ER_NO_PARTITION_FOR_GIVEN_VALUE, SGATE_UNAVAILABLE, false,
	"run `sessgatectl db maintain`"},
    {ER_DISK_FULL, SGATE_UNAVAILABLE, false, "make room on its file system"},
    {ER_RECORD_FILE_FULL, SGATE_UNAVAILABLE, false,
	"make room on its file system"},
    {ER_ERROR_ON_WRITE, SGATE_UNAVAILABLE, false, "see to the server's disk"},
    {ER_ERROR_ON_READ, SGATE_UNAVAILABLE, false, "see to the server's disk"},
    {ER_GET_ERRNO, SGATE_UNAVAILABLE, false, "see the server's log"},
    {ER_NOT_KEYFILE, SGATE_CORRUPT, false, "a table is damaged: left in place"},
    {ER_CRASHED_ON_USAGE, SGATE_CORRUPT, false,
	"a table is damaged: left in place"},
    {ER_OUTOFMEMORY, SGATE_UNAVAILABLE, false, "the server is out of memory"},
    {ER_OUT_OF_RESOURCES, SGATE_UNAVAILABLE, false,
	"the server is out of memory"},
    {ER_NET_PACKET_TOO_LARGE, SGATE_TOO_LARGE, true,
	"raise max_allowed_packet of the server"},
    {CR_NET_PACKET_TOO_LARGE, SGATE_TOO_LARGE, true, "a value is too large"},
    {ER_DUP_ENTRY, SGATE_CONFLICT, false, "is there already"},
    {ER_DATA_TOO_LONG, SGATE_INVALID, false, "a value is refused"},
    {ER_WARN_DATA_OUT_OF_RANGE, SGATE_INVALID, false, "a value is refused"},
    {ER_BAD_NULL_ERROR, SGATE_INVALID, false, "a value is refused"},
};

/*
 * Call it before anything else is called on the connection. Any failure ends
 * the transaction: after a duplicate it would go on, after a deadlock its rest
 * would be committed by itself.
 */
static enum sgate_status
store_fail(struct mydb *store, const char *operation, unsigned code,
    const char *text, struct sgate_error *err)
{
	enum sgate_status status = SGATE_INTERNAL;
	const char *advice = "this should not happen";
	bool closes = false;
	size_t i;

	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (answers[i].code == code) {
			status = answers[i].status;
			advice = answers[i].advice;
			closes = answers[i].closes;
			break;
		}
	}
	/* Errors of the library itself: none of them leaves it usable. */
	if (code >= CR_MIN_ERROR && code <= CR_MAX_ERROR)
		closes = true;
	store->last_code = (int)code;
	error_set(err, status, MYDB_SOURCE, operation, (int)code,
	    "%.80s: %.100s: %s", store->peer, text, advice);
	store->is_broken = store->in_transaction;
	if (closes && !store->is_connecting) {
		/* The next connection begins with the next host. */
		if (store->hosts_count > 0)
			store->host = (store->host + 1) % store->hosts_count;
		mydb_disconnect(&store->durable);
	}
	return status;
}

static enum sgate_status
conn_fail(struct mydb *store, const char *operation, struct sgate_error *err)
{
	return store_fail(store, operation, mysql_errno(store->conn),
	    mysql_error(store->conn), err);
}

enum sgate_status
mydb_misused(struct durable *d, const char *operation, const char *what,
    struct sgate_error *err)
{
	const struct mydb *store = (struct mydb *)d;

	return error_set(err, SGATE_INTERNAL, MYDB_SOURCE, operation, 0,
	    "%.100s: %s", store->peer, what);
}

/* ---- the connection ---- */

/* Counts forks: a connection belongs to the process that made it. */
static unsigned fork_generation;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void
fork_happened(void)
{
	fork_generation++;
}

static void
fork_watch(void)
{
	pthread_atfork(NULL, NULL, fork_happened);
}

const char *
mydb_peer(const struct durable *d)
{
	return ((const struct mydb *)d)->peer;
}

bool
mydb_is_mariadb(const struct durable *d)
{
	return ((const struct mydb *)d)->is_mariadb;
}

/* Without a word to the server: it sees the connection end. */
void
mydb_disconnect(struct durable *d)
{
	struct mydb *store = (struct mydb *)d;
	my_socket fd;
	size_t i;

	/* In a child it is the parent's. */
	if (store->fork_generation != fork_generation || store->conn == NULL)
		return;
	fd = mysql_get_socket(store->conn);
	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
	mysql_close(store->conn);
	store->conn = NULL;
	for (i = 0; i < MYDB_STMT_COUNT; i++) {
		if (store->prepared[i] != NULL)
			mysql_stmt_close(store->prepared[i]);
		store->prepared[i] = NULL;
	}
	store->is_broken = store->in_transaction;
}

/*
 * No option file is read. Passwords are never sent as they are, and no file of
 * ours is sent because a server asks for it.
 */
static bool
set_options(MYSQL *conn)
{
	const unsigned ceiling_s = 3600; /* io_wait() is the limit */
	const unsigned no_files = 0;
#ifdef SESSGATE_FAILPOINTS
	const my_bool reconnects = failpoint_is_off("reconnect");

	/* What is never done otherwise: the library connects again, silently
	 * and without our settings and statements. */
	if (mysql_options(conn, MYSQL_OPT_RECONNECT, &reconnects) != 0)
		return false;
#endif

	return mysql_options(conn, MYSQL_OPT_NONBLOCK, NULL) == 0 &&
	       mysql_options(conn, MARIADB_OPT_IO_WAIT, (void *)io_wait) == 0 &&
	       mysql_options(conn, MYSQL_OPT_CONNECT_TIMEOUT, &ceiling_s) ==
		   0 &&
	       mysql_options(conn, MYSQL_OPT_READ_TIMEOUT, &ceiling_s) == 0 &&
	       mysql_options(conn, MYSQL_OPT_WRITE_TIMEOUT, &ceiling_s) == 0 &&
	       mysql_options(conn, MYSQL_OPT_LOCAL_INFILE, &no_files) == 0 &&
	       mysql_options(conn, MYSQL_SET_CHARSET_NAME, "utf8mb4") == 0 &&
	       mysql_options(conn, MARIADB_OPT_RESTRICTED_AUTH,
		   "mysql_native_password,client_ed25519,"
		   "caching_sha2_password") == 0;
}

/* The non-blocking form: also a connection that nobody answers has an end. */
static bool
connect_in_time(
    struct mydb *store, const struct host *host, const char *password)
{
	MYSQL *done = NULL;
	int waits;
	int ready;

	waits = mysql_real_connect_start(&done, store->conn,
	    host == NULL ? NULL : host->address, store->user, password,
	    store->database, host == NULL ? 0 : host->port,
	    host == NULL ? store->socket : NULL, CLIENT_FOUND_ROWS);
	while (waits != 0) {
		ready = wait_for(mysql_get_socket(store->conn),
		    (short)(((waits & MYSQL_WAIT_READ) != 0 ? POLLIN : 0) |
			    ((waits & MYSQL_WAIT_WRITE) != 0 ? POLLOUT : 0)));
		if (ready <= 0)
			return false;
		waits = mysql_real_connect_cont(&done, store->conn,
		    waits & (MYSQL_WAIT_READ | MYSQL_WAIT_WRITE));
	}
	return done != NULL;
}

static enum sgate_status
connect_to(struct mydb *store, const struct host *host, const char *operation,
    struct sgate_error *err)
{
	char password[PASSWORD_MAX + 1] = "";
	enum sgate_status status = SGATE_OK;

	if (host == NULL)
		snprintf(store->peer, sizeof(store->peer), "%s", store->socket);
	else
		snprintf(store->peer, sizeof(store->peer),
		    strchr(host->address, ':') != NULL ? "[%s]:%u" : "%s:%u",
		    host->address, host->port);
	if (store->password_file[0] != '\0')
		status = password_read(store->password_file, MYDB_SOURCE,
		    operation, password, err);
	if (status != SGATE_OK)
		return status;
	store->connection++;
	store->conn = mysql_init(NULL);
	if (store->conn == NULL || !set_options(store->conn))
		status = error_memory(err, operation);
	else if (!connect_in_time(store, host, password)) {
		if (mysql_errno(store->conn) != 0)
			status = conn_fail(store, operation, err);
		else
			status = error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE,
			    operation, CR_SERVER_LOST,
			    "%.80s: no answer in time", store->peer);
	}
	explicit_bzero(password, sizeof(password));
	return status;
}

enum sgate_status
mydb_query(struct durable *d, const char *sql, const char *operation,
    struct sgate_error *err)
{
	return mydb_ask_words(d, sql, operation, NULL, NULL, err);
}

enum sgate_status
mydb_ask_words(struct durable *d, const char *sql, const char *operation,
    mydb_word_fn *fn, void *arg, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	MYSQL_RES *result;
	MYSQL_ROW row;

	if (store->conn == NULL)
		return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation,
		    0, "%.100s: the connection is gone", store->peer);
	if (mysql_real_query(store->conn, sql, strlen(sql)) != 0)
		return conn_fail(store, operation, err);
	result = mysql_store_result(store->conn);
	if (result == NULL)
		return mysql_errno(store->conn) == 0
			   ? SGATE_OK
			   : conn_fail(store, operation, err);
	while (fn != NULL && (row = mysql_fetch_row(result)) != NULL)
		fn(arg, row[0] == NULL ? "" : row[0]);
	mysql_free_result(result);
	return SGATE_OK;
}

struct number {
	int64_t value;
	bool is_there;
};

static void
take_number(void *arg, const char *word)
{
	struct number *number = arg;
	char *end;
	long long value = strtoll(word, &end, 10);

	if (number->is_there || *word == '\0' || *end != '\0')
		return;
	*number = (struct number){value, true};
}

enum sgate_status
mydb_ask(struct durable *d, const char *sql, const char *operation,
    int64_t *out, struct sgate_error *err)
{
	struct number number = {0, false};
	enum sgate_status status =
	    mydb_ask_words(d, sql, operation, take_number, &number, err);

	*out = number.value;
	if (status == SGATE_OK && !number.is_there)
		return SGATE_NOT_FOUND;
	return status;
}

/*
 * The server gives a statement up when we have: nobody waits for its answer,
 * and its locks are in the way. Lock waits count in whole seconds there.
 */
static enum sgate_status
set_session(struct mydb *store, const char *operation, struct sgate_error *err)
{
	int64_t most_ms = store->read_timeout_ms > store->write_timeout_ms
			      ? store->read_timeout_ms
			      : store->write_timeout_ms;
	char sql[512];
	char limit[80] = "";
	enum sgate_status status;

	store->is_mariadb =
	    strstr(mysql_get_server_info(store->conn), "MariaDB") != NULL;
	if (store->purpose == MYDB_TO_USE)
		snprintf(limit, sizeof(limit),
		    store->is_mariadb ? ", max_statement_time = %lld.%03lld"
				      : ", max_execution_time = %lld%03lld",
		    (long long)(most_ms / 1000), (long long)(most_ms % 1000));
	snprintf(sql, sizeof(sql),
	    "SET SESSION autocommit = 1, sql_mode = 'STRICT_ALL_TABLES,"
	    "NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
	    "NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', "
	    "innodb_lock_wait_timeout = 1, lock_wait_timeout = %d%s",
	    store->purpose == MYDB_TO_USE ? 1 : 10, limit);
	status = mydb_query(&store->durable, sql, operation, err);
	if (status == SGATE_OK)
		status = mydb_query(&store->durable,
		    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
		    operation, err);
	return status;
}

static enum sgate_status
refuse_read_only(
    struct mydb *store, const char *operation, struct sgate_error *err)
{
	int64_t is_read_only = 0;
	enum sgate_status status = mydb_ask(&store->durable,
	    "SELECT @@GLOBAL.read_only", operation, &is_read_only, err);

	if (status == SGATE_OK && is_read_only != 0)
		return store_fail(store, operation,
		    ER_OPTION_PREVENTS_STATEMENT, "read_only is on", err);
	return status;
}

static enum sgate_status
connect_and_look(struct mydb *store, const struct host *host,
    const char *operation, struct sgate_error *err)
{
	enum sgate_status status = connect_to(store, host, operation, err);

	if (status == SGATE_OK)
		status = set_session(store, operation, err);
	if (status == SGATE_OK && store->purpose != MYDB_TO_CHECK)
		status = refuse_read_only(store, operation, err);
	if (status != SGATE_OK || store->purpose != MYDB_TO_USE)
		return status;
	status = mydb_check_tables(&store->durable, false, operation, err);
	/* For a session there is no answer where there are no tables. */
	if (status == SGATE_INVALID) {
		status = SGATE_UNAVAILABLE;
		if (err != NULL) {
			err->status = SGATE_UNAVAILABLE;
			err->reason = SGATE_REASON_STORE;
		}
	}
	if (status == SGATE_OK)
		status = mydb_jump(&store->durable, operation, err);
	return status;
}

/* Each host once; one that does not answer leaves time for the others. */
static enum sgate_status
store_connect(struct mydb *store, enum mydb_purpose purpose,
    const char *operation, struct sgate_error *err)
{
	const int64_t end_us = io_deadline_us;
	size_t count = store->hosts_count > 0 ? store->hosts_count : 1;
	enum sgate_status status = SGATE_UNAVAILABLE;
	int64_t now_us;
	size_t left;

	store->purpose = purpose;
	store->is_connecting = true;
	for (left = count; left > 0; left--) {
		now_us = clock_monotonic_us();
		if (left < count && now_us >= end_us)
			break;
		io_deadline_us = now_us + (end_us - now_us) / (int64_t)left;
		error_clear(err);
		status = connect_and_look(store,
		    store->hosts_count > 0 ? &store->hosts[store->host] : NULL,
		    operation, err);
		if (status == SGATE_OK)
			break;
		mydb_disconnect(&store->durable);
		if (store->hosts_count > 0)
			store->host = (store->host + 1) % store->hosts_count;
	}
	store->is_connecting = false;
	io_deadline_us = end_us;
	return status;
}

/* The server has closed it, or says something unasked. */
static bool
is_stale(const struct mydb *store)
{
	struct pollfd poller = {
	    .fd = mysql_get_socket(store->conn), .events = POLLIN};

	if (failpoint_is_off("reconnect"))
		return false;
	return poll(&poller, 1, 0) != 0;
}

/*
 * Every operation begins here: the right process, time left, a connection. A
 * connection that died while nobody used it is replaced here, so that a server
 * that was started again costs no failed request.
 */
static enum sgate_status
store_enter(struct mydb *store, const char *operation, struct sgate_error *err)
{
	if (store->fork_generation != fork_generation)
		return mydb_misused(&store->durable, operation,
		    "opened in another process: open it after fork()", err);
	if (clock_monotonic_ms() >= store->durable.deadline_ms)
		return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation,
		    0, "%.100s: no time left to begin", store->peer);
	set_deadline(store, store->in_transaction ? store->write_timeout_ms
						  : store->read_timeout_ms);
	if (store->in_transaction) {
		if (!store->is_broken && store->conn != NULL)
			return SGATE_OK;
		return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation,
		    0,
		    "%.100s: the transaction was rolled back by an error "
		    "before",
		    store->peer);
	}
	if (store->conn != NULL &&
	    (store->purpose != MYDB_TO_USE || is_stale(store)))
		mydb_disconnect(&store->durable);
	if (store->conn == NULL)
		return store_connect(store, MYDB_TO_USE, operation, err);
	return SGATE_OK;
}

enum sgate_status
mydb_enter_new(struct durable *d, enum mydb_purpose purpose,
    const char *operation, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;

	error_clear(err);
	if (store->fork_generation != fork_generation)
		return mydb_misused(d, operation,
		    "opened in another process: open it after fork()", err);
	if (store->in_transaction)
		return mydb_misused(d, operation, "within a transaction", err);
	if (clock_monotonic_ms() >= d->deadline_ms)
		return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation,
		    0, "%.100s: no time left to begin", store->peer);
	mydb_disconnect(d);
	set_deadline(store, 0);
	return store_connect(store, purpose, operation, err);
}

/* ---- statements ---- */

static enum sgate_status
stmt_fail(struct mydb_run *r)
{
	unsigned code = mysql_stmt_errno(r->stmt);
	char text[160];
	enum sgate_status status;

	/* The statement goes with the connection. */
	snprintf(text, sizeof(text), "%s", mysql_stmt_error(r->stmt));
	status = store_fail(r->store, r->operation, code, text, r->err);
	/* What is wrong with the caller's text is the caller's to know. */
	if (r->is_own &&
	    (status == SGATE_INTERNAL || code == ER_PARSE_ERROR ||
		code == ER_NO_SUCH_TABLE || code == ER_BAD_FIELD_ERROR ||
		code == ER_TABLEACCESS_DENIED_ERROR ||
		code == ER_COLUMNACCESS_DENIED_ERROR))
		return error_set(r->err, SGATE_INVALID, MYDB_SOURCE,
		    r->operation, (int)code, "%.200s", text);
	return status;
}

static enum sgate_status
stmt_prepare(struct mydb_run *r, MYSQL_STMT **out, const char *sql)
{
	r->stmt = mysql_stmt_init(r->store->conn);
	if (r->stmt == NULL)
		return error_memory(r->err, r->operation);
	r->connection = r->store->connection;
	if (mysql_stmt_prepare(r->stmt, sql, strlen(sql)) != 0) {
		enum sgate_status status = stmt_fail(r);

		mysql_stmt_close(r->stmt);
		r->stmt = NULL;
		return status;
	}
	if (out != NULL)
		*out = r->stmt;
	return SGATE_OK;
}

static enum sgate_status
run_start(struct mydb_run *r, struct durable *d, const char *operation,
    struct sgate_error *err)
{
	*r = (struct mydb_run){.store = (struct mydb *)d,
	    .operation = operation,
	    .err = err,
	    .damaged_column = -1};
	error_clear(err);
	return store_enter(r->store, operation, err);
}

enum sgate_status
run_open(struct mydb_run *r, struct durable *d, enum mydb_statement which,
    const char *operation, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	enum sgate_status status;

	status = run_start(r, d, operation, err);
	if (status != SGATE_OK)
		return status;
	if (mydb_statements[which].needs_transaction && !store->in_transaction)
		return mydb_misused(d, operation, "needs a transaction", err);
	r->is_kept = true;
	r->stmt = store->prepared[which];
	r->connection = store->connection;
	if (r->stmt != NULL)
		return SGATE_OK;
	return stmt_prepare(
	    r, &store->prepared[which], mydb_statements[which].sql);
}

enum sgate_status
run_open_text(struct mydb_run *r, struct durable *d, const char *sql,
    bool is_own, const char *operation, struct sgate_error *err)
{
	enum sgate_status status = run_start(r, d, operation, err);

	if (status != SGATE_OK)
		return status;
	r->is_own = is_own;
	return stmt_prepare(r, NULL, sql);
}

void
run_close(struct mydb_run *r)
{
	bool is_alive =
	    r->store->conn != NULL && r->connection == r->store->connection;

	if (r->stmt != NULL && !r->is_kept)
		mysql_stmt_close(r->stmt);
	else if (r->stmt != NULL && is_alive)
		mysql_stmt_free_result(r->stmt);
	r->stmt = NULL;
}

static struct mydb_param *
next_param(struct mydb_run *r)
{
	static struct mydb_param none;

	/* One too many is refused by the step. */
	return r->bound < MYDB_PARAMS_MAX ? &r->params[r->bound++] : &none;
}

void
run_bind_int(struct mydb_run *r, int64_t value)
{
	*next_param(r) =
	    (struct mydb_param){.kind = MYDB_INTEGER, .integer = value};
}

void
run_bind_limit(struct mydb_run *r, size_t limit)
{
	run_bind_int(r, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
}

void
run_bind_null(struct mydb_run *r)
{
	*next_param(r) = (struct mydb_param){.kind = MYDB_NULL};
}

void
run_bind_blob(struct mydb_run *r, const void *data, size_t len)
{
	*next_param(r) = (struct mydb_param){
	    .kind = MYDB_BYTES, .data = len == 0 ? "" : data, .len = len};
}

void
run_bind_bytes(struct mydb_run *r, struct sgate_bytes bytes)
{
	run_bind_blob(r, bytes.data, bytes.len);
}

void
run_bind_text(struct mydb_run *r, const char *text)
{
	run_bind_blob(r, text, strlen(text));
}

void
run_bind_value(struct mydb_run *r, const struct sgate_value *value)
{
	switch (value->kind) {
	case SGATE_VALUE_INTEGER:
		run_bind_int(r, value->integer);
		break;
	case SGATE_VALUE_TEXT:
		run_bind_bytes(r, value->bytes);
		if (r->bound > 0)
			r->params[r->bound - 1].kind = MYDB_TEXT;
		break;
	case SGATE_VALUE_BLOB:
		run_bind_bytes(r, value->bytes);
		break;
	default:
		run_bind_null(r);
		break;
	}
}

size_t
run_params_count(const struct mydb_run *r)
{
	return mysql_stmt_param_count(r->stmt);
}

size_t
run_columns_count(const struct mydb_run *r)
{
	return mysql_stmt_field_count(r->stmt);
}

static void
bind_param(struct mydb_param *param, MYSQL_BIND *bind, unsigned long *length)
{
	memset(bind, 0, sizeof(*bind));
	switch (param->kind) {
	case MYDB_NULL:
		bind->buffer_type = MYSQL_TYPE_NULL;
		return;
	case MYDB_INTEGER:
		bind->buffer_type = MYSQL_TYPE_LONGLONG;
		bind->buffer = &param->integer;
		return;
	case MYDB_TEXT:
		bind->buffer_type = MYSQL_TYPE_STRING;
		break;
	case MYDB_BYTES:
		bind->buffer_type = MYSQL_TYPE_BLOB;
		break;
	}
	*length = param->len;
	bind->buffer = (void *)(uintptr_t)param->data;
	bind->buffer_length = param->len;
	bind->length = length;
}

static enum sgate_status
run_execute(struct mydb_run *r)
{
	MYSQL_BIND binds[MYDB_PARAMS_MAX];
	unsigned long lengths[MYDB_PARAMS_MAX];
	size_t i;

	if (r->bound != mysql_stmt_param_count(r->stmt))
		return mydb_misused(&r->store->durable, r->operation,
		    "a wrong number of parameters", r->err);
	for (i = 0; i < r->bound; i++)
		bind_param(&r->params[i], &binds[i], &lengths[i]);
	if ((r->bound > 0 && mysql_stmt_bind_param(r->stmt, binds) != 0) ||
	    mysql_stmt_execute(r->stmt) != 0 ||
	    (mysql_stmt_field_count(r->stmt) > 0 &&
		mysql_stmt_store_result(r->stmt) != 0))
		return stmt_fail(r);
	r->is_executed = true;
	return SGATE_OK;
}

enum sgate_status
run_step(struct mydb_run *r)
{
	enum sgate_status status;
	int code;

	r->column = 0;
	if (!r->is_executed) {
		status = run_execute(r);
		if (status != SGATE_OK)
			return status;
	}
	if (mysql_stmt_field_count(r->stmt) == 0)
		return SGATE_NOT_FOUND;
	code = mysql_stmt_fetch(r->stmt);
	if (code == 0 || code == MYSQL_DATA_TRUNCATED)
		return SGATE_OK;
	return code == MYSQL_NO_DATA ? SGATE_NOT_FOUND : stmt_fail(r);
}

enum sgate_status
run_finish(struct mydb_run *r)
{
	enum sgate_status status = run_step(r);

	/* What run_changes() tells lives in the statement, which is kept. */
	if (!r->is_kept || status != SGATE_NOT_FOUND)
		run_close(r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

uint64_t
run_changes(const struct mydb_run *r)
{
	return r->stmt == NULL ? 0 : mysql_stmt_affected_rows(r->stmt);
}

uint64_t
run_insert_id(const struct mydb_run *r)
{
	return r->stmt == NULL ? 0 : mysql_stmt_insert_id(r->stmt);
}

/* ---- columns ---- */

void
run_damaged(struct mydb_run *r)
{
	if (r->damaged_column < 0)
		r->damaged_column = (int)r->column - 1;
}

int64_t
run_get_int(struct mydb_run *r, int64_t min, int64_t max)
{
	int64_t value = 0;
	my_bool is_null = 0;
	my_bool is_cut = 0;
	MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_LONGLONG,
	    .buffer = &value,
	    .is_null = &is_null,
	    .error = &is_cut};

	if (mysql_stmt_fetch_column(r->stmt, &bind, r->column++, 0) != 0 ||
	    is_null || is_cut || value < min || value > max) {
		run_damaged(r);
		return min;
	}
	return value;
}

int64_t
run_get_time(struct mydb_run *r)
{
	return run_get_int(r, 0, MYDB_TIME_MAX_MS);
}

static bool
column_grow(struct mydb *store, size_t size)
{
	char *larger;

	if (size < COLUMN_MIN_BYTES)
		size = COLUMN_MIN_BYTES;
	if (size <= store->column_size)
		return true;
	larger = realloc(store->column, size);
	if (larger == NULL)
		return false;
	store->column = larger;
	store->column_size = size;
	return true;
}

/* The next column as bytes in store->column; false: NULL, or damaged. */
static bool
take_column(struct mydb_run *r, size_t max, size_t *out_len, bool *out_null)
{
	struct mydb *store = r->store;
	unsigned column = r->column++;
	unsigned long len = 0;
	my_bool is_null = 0;
	my_bool is_cut = 0;
	MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_STRING,
	    .length = &len,
	    .is_null = &is_null,
	    .error = &is_cut};
	int tries;

	*out_null = false;
	*out_len = 0;
	for (tries = 0; tries < 2; tries++) {
		if (!column_grow(store, len + 1)) {
			run_damaged(r);
			return false;
		}
		bind.buffer = store->column;
		bind.buffer_length = store->column_size;
		if (mysql_stmt_fetch_column(r->stmt, &bind, column, 0) != 0) {
			run_damaged(r);
			return false;
		}
		*out_null = is_null != 0;
		if (is_null)
			return false;
		if (len > max) {
			run_damaged(r);
			return false;
		}
		if (len < store->column_size)
			break;
	}
	*out_len = len;
	return true;
}

bool
run_get_blob_or_null(struct mydb_run *r, void *out, size_t len)
{
	size_t got;
	bool is_null;

	memset(out, 0, len);
	if (!take_column(r, len, &got, &is_null))
		return !is_null;
	if (got != len)
		run_damaged(r);
	else
		memcpy(out, r->store->column, len);
	return true;
}

void
run_get_blob(struct mydb_run *r, void *out, size_t len)
{
	if (!run_get_blob_or_null(r, out, len))
		run_damaged(r);
}

size_t
run_get_address(struct mydb_run *r, unsigned char out[16])
{
	size_t len;
	bool is_null;

	memset(out, 0, 16);
	if (!take_column(r, 16, &len, &is_null) ||
	    !mydb_address_is_sound(len)) {
		run_damaged(r);
		return 0;
	}
	memcpy(out, r->store->column, len);
	return len;
}

struct sgate_bytes
run_get_bytes(struct mydb_run *r, size_t max)
{
	struct sgate_bytes text = {"", 0};
	size_t len;
	bool is_null;

	if (!take_column(r, max, &len, &is_null)) {
		run_damaged(r);
		return text;
	}
	if (memchr(r->store->column, '\0', len) != NULL) {
		run_damaged(r);
		return text;
	}
	return (struct sgate_bytes){r->store->column, len};
}

void
run_get_text(struct mydb_run *r, char *out, size_t size)
{
	struct sgate_bytes text = run_get_bytes(r, size - 1);

	memcpy(out, text.data, text.len);
	out[text.len] = '\0';
}

bool
run_get_text_or_null(struct mydb_run *r, char *out, size_t size)
{
	size_t len;
	bool is_null;

	out[0] = '\0';
	if (!take_column(r, size - 1, &len, &is_null))
		return !is_null;
	if (memchr(r->store->column, '\0', len) != NULL) {
		run_damaged(r);
		return true;
	}
	memcpy(out, r->store->column, len);
	out[len] = '\0';
	return true;
}

static bool
is_integer(const MYSQL_FIELD *field)
{
	switch (field->type) {
	case MYSQL_TYPE_TINY:
	case MYSQL_TYPE_SHORT:
	case MYSQL_TYPE_INT24:
	case MYSQL_TYPE_LONG:
	case MYSQL_TYPE_YEAR:
		return true;
	case MYSQL_TYPE_LONGLONG:
		/* What does not fit comes as text. */
		return (field->flags & UNSIGNED_FLAG) == 0;
	default:
		return false;
	}
}

/* A string of bytes: not text, and not a number or date. */
static bool
is_blob(const MYSQL_FIELD *field)
{
	const unsigned binary_charset = 63;

	switch (field->type) {
	case MYSQL_TYPE_VARCHAR:
	case MYSQL_TYPE_VAR_STRING:
	case MYSQL_TYPE_STRING:
	case MYSQL_TYPE_TINY_BLOB:
	case MYSQL_TYPE_MEDIUM_BLOB:
	case MYSQL_TYPE_LONG_BLOB:
	case MYSQL_TYPE_BLOB:
	case MYSQL_TYPE_BIT:
	case MYSQL_TYPE_GEOMETRY:
		return field->charsetnr == binary_charset;
	default:
		return false;
	}
}

enum sgate_status
run_get_value(struct mydb_run *r, struct sgate_value *out, struct buf *storage)
{
	MYSQL_RES *fields = mysql_stmt_result_metadata(r->stmt);
	const MYSQL_FIELD *field;
	size_t len;
	bool is_null;

	*out = (struct sgate_value){.kind = SGATE_VALUE_NULL};
	if (fields == NULL)
		return error_memory(r->err, r->operation);
	field = mysql_fetch_field_direct(fields, r->column);
	if (take_column(r, MYDB_VALUE_MAX_BYTES, &len, &is_null)) {
		out->kind =
		    is_blob(field) ? SGATE_VALUE_BLOB : SGATE_VALUE_TEXT;
		if (is_integer(field)) {
			r->column--;
			out->kind = SGATE_VALUE_INTEGER;
			out->integer = run_get_int(r, INT64_MIN, INT64_MAX);
		} else {
			buf_reset(storage);
			buf_add(storage, r->store->column, len);
			out->bytes = buf_bytes(storage);
			if (len == 0)
				out->bytes = (struct sgate_bytes){"", 0};
		}
	}
	mysql_free_result(fields);
	if (buf_failed(storage))
		return error_memory(r->err, r->operation);
	if (r->damaged_column >= 0)
		return error_set(r->err, SGATE_TOO_LARGE, MYDB_SOURCE,
		    r->operation, 0, "column %u is larger than %d bytes",
		    r->column, MYDB_VALUE_MAX_BYTES);
	return SGATE_OK;
}

enum sgate_status
run_row_status(struct mydb_run *r, const char *row)
{
	MYSQL_RES *fields;
	const char *name = "?";
	int column = r->damaged_column;
	enum sgate_status status;

	if (column < 0)
		return SGATE_OK;
	fields = mysql_stmt_result_metadata(r->stmt);
	if (fields != NULL)
		name = mysql_fetch_field_direct(fields, (unsigned)column)->name;
	status = error_set(r->err, SGATE_CORRUPT, MYDB_SOURCE, r->operation, 0,
	    "%.80s: %s: column %.64s cannot be right; left in place",
	    r->store->peer, row, name);
	mysql_free_result(fields);
	return status;
}

enum sgate_status
run_missing(struct mydb_run *r, const char *row)
{
	return error_set(r->err, SGATE_CORRUPT, MYDB_SOURCE, r->operation, 0,
	    "%.100s: %s is missing", r->store->peer, row);
}

/* ---- transactions ---- */

static void
mydb_rollback(struct durable *d)
{
	struct mydb *store = (struct mydb *)d;
	const int64_t least_us =
	    clock_monotonic_us() + INT64_C(1000) * ROLLBACK_MS;

	if (store->fork_generation != fork_generation || !store->in_transaction)
		return;
	store->in_transaction = false;
	store->is_broken = false;
	if (store->conn == NULL)
		return;
	set_deadline(store, store->write_timeout_ms);
	if (io_deadline_us < least_us)
		io_deadline_us = least_us;
	/* Closing the connection rolls back what would not be. */
	if (mydb_query(d, "ROLLBACK", "rollback", NULL) != SGATE_OK)
		mydb_disconnect(d);
}

enum sgate_status
mydb_begin(struct durable *d, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	enum sgate_status status;

	error_clear(err);
	if (store->in_transaction)
		return mydb_misused(
		    d, "begin", "in a transaction already", err);
	status = store_enter(store, "begin", err);
	if (status == SGATE_OK)
		status = mydb_query(d, "START TRANSACTION", "begin", err);
	if (status == SGATE_OK) {
		store->in_transaction = true;
		store->is_broken = false;
	}
	return status;
}

bool
mydb_in_transaction(const struct durable *d)
{
	return ((const struct mydb *)d)->in_transaction;
}

/*
 * A COMMIT that failed. These errors the server gives before it has decided;
 * after any other, and without an answer, it may have happened. The connection
 * goes then, so that the server rolls back what has not been committed and a
 * repeat waits for that at its audit row.
 */
static enum sgate_status
commit_failed(struct mydb *store, unsigned code, struct sgate_error *err)
{
	bool is_exact =
	    code == ER_LOCK_DEADLOCK || code == ER_LOCK_WAIT_TIMEOUT ||
	    code == ER_OPTION_PREVENTS_STATEMENT || code == ER_READ_ONLY_MODE;

	mydb_disconnect(&store->durable);
	if (is_exact || failpoint_is_off("settle"))
		return SGATE_UNAVAILABLE;
	if (err != NULL) {
		err->status = SGATE_UNCERTAIN;
		err->reason = SGATE_REASON_STORE;
	}
	return SGATE_UNCERTAIN;
}

static enum sgate_status
mydb_commit(struct durable *d, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	enum sgate_status status;

	error_clear(err);
	if (!store->in_transaction)
		return mydb_misused(d, "commit", "needs a transaction", err);
	status = store_enter(store, "commit", err);
	/* What the server has ended before it hears COMMIT is not in doubt. */
	if (status == SGATE_OK &&
	    ((store->conn->server_status & SERVER_STATUS_IN_TRANS) == 0 ||
		is_stale(store)))
		status =
		    error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, "commit", 0,
			"%.100s: the transaction is gone", store->peer);
	if (status != SGATE_OK) {
		mydb_rollback(d);
		return status;
	}
	status = mydb_query(d, "COMMIT", "commit", err);
	if (status != SGATE_OK)
		status = commit_failed(store, (unsigned)store->last_code, err);
	store->in_transaction = false;
	store->is_broken = false;
	return status;
}

enum sgate_status
mydb_end(struct durable *d, enum sgate_status status, struct sgate_error *err)
{
	if (status == SGATE_OK)
		return mydb_commit(d, err);
	mydb_rollback(d);
	return status;
}

enum sgate_status
mydb_transaction(
    struct durable *d, mydb_work_fn *work, void *arg, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	enum sgate_status status;
	int tries;

	for (tries = 1;; tries++) {
		store->last_code = 0;
		status = mydb_begin(d, err);
		if (status != SGATE_OK)
			return status;
		status = mydb_end(d, work(d, arg, err), err);
		if (status != SGATE_UNAVAILABLE || tries == 2 ||
		    (store->last_code != ER_LOCK_DEADLOCK &&
			store->last_code != ER_LOCK_WAIT_TIMEOUT) ||
		    clock_monotonic_ms() >= d->deadline_ms)
			return status;
	}
}

/* ---- open, close ---- */

static bool
parse_host(const char *text, struct host *out)
{
	unsigned char address[16];
	size_t len;

	out->port = DEFAULT_PORT;
	len = address_port_parse(text, address, &out->port);
	address_text(address, len, out->address);
	return len > 0;
}

static enum sgate_status
take_hosts(
    struct mydb *store, const struct sgate_conf *conf, struct sgate_error *err)
{
	char *const *hosts = conf->mysql.hosts;
	size_t count = 0;
	size_t i;

	while (hosts != NULL && hosts[count] != NULL)
		count++;
	if (count == 0 && store->socket[0] == '\0')
		return error_set(err, SGATE_INVALID, MYDB_SOURCE, "open", 0,
		    "mysql.hosts or mysql.socket must be given");
	if (count == 0)
		return SGATE_OK;
	store->hosts = calloc(count, sizeof(*store->hosts));
	if (store->hosts == NULL)
		return error_memory(err, "open");
	for (i = 0; i < count; i++)
		if (!parse_host(hosts[i], &store->hosts[i]))
			return error_set(err, SGATE_INVALID, MYDB_SOURCE,
			    "open", 0,
			    "mysql.hosts: \"%.100s\": must be an address, or "
			    "address:port",
			    hosts[i]);
	store->hosts_count = count;
	return SGATE_OK;
}

static char *
copy_text(const char *text)
{
	return strdup(text == NULL ? "" : text);
}

static void
mydb_close(struct durable *d)
{
	struct mydb *store = (struct mydb *)d;

	if (store == NULL)
		return;
	mydb_disconnect(d);
	free(store->hosts);
	free(store->socket);
	free(store->database);
	free(store->user);
	free(store->password_file);
	free(store->column);
	free(store);
}

static enum sgate_status
mydb_open(const struct sgate_conf *conf, struct durable **out,
    struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	struct mydb *store;

	*out = NULL;
	error_clear(err);
	pthread_once(&fork_once, fork_watch);
	store = calloc(1, sizeof(*store));
	if (store == NULL)
		return error_memory(err, "open");
	store->durable.ops = &durable_mysql;
	store->fork_generation = fork_generation;
	store->read_timeout_ms = conf->mysql.read_timeout_ms;
	store->write_timeout_ms = conf->mysql.write_timeout_ms;
	store->socket = copy_text(conf->mysql.socket);
	store->database = copy_text(conf->mysql.database);
	store->user = copy_text(conf->mysql.user);
	store->password_file = copy_text(conf->mysql.password_file);
	if (store->socket == NULL || store->database == NULL ||
	    store->user == NULL || store->password_file == NULL)
		status = error_memory(err, "open");
	if (status == SGATE_OK)
		status = take_hosts(store, conf, err);
	if (status != SGATE_OK) {
		mydb_close(&store->durable);
		return status;
	}
	snprintf(store->peer, sizeof(store->peer), "%s",
	    store->hosts_count > 0 ? store->hosts[0].address : store->socket);
	*out = &store->durable;
	return SGATE_OK;
}

static enum sgate_status
mydb_ping(struct durable *d, struct sgate_error *err)
{
	unsigned char id[16];
	unsigned epoch;

	return durable_mysql.store_get(d, id, &epoch, err);
}

static enum sgate_status
mydb_store_get(struct durable *d, unsigned char id[16], unsigned *out_epoch,
    struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status;

	memset(id, 0, 16);
	*out_epoch = 0;
	status = run_open(&r, d, MYDB_STMT_STORE_GET, "store_get", err);
	if (status != SGATE_OK)
		return status;
	status = run_step(&r);
	if (status == SGATE_NOT_FOUND)
		status = run_missing(&r, "the row of table store");
	if (status == SGATE_OK) {
		run_get_blob(&r, id, 16);
		*out_epoch = (unsigned)run_get_int(&r, 0, 9999);
		status = run_row_status(&r, "store");
	}
	run_close(&r);
	return status;
}

const struct durable_ops durable_mysql = {
    .name = "mysql",
    .open = mydb_open,
    .close = mydb_close,
    .ping = mydb_ping,
    .schema_init = mydb_schema_init,
    .schema_check = mydb_schema_check,
    .maintain = mydb_maintain,
    .restored = mydb_restored,
    .store_get = mydb_store_get,
    .begin = mydb_begin,
    .commit = mydb_commit,
    .rollback = mydb_rollback,
    .audit_insert = mydb_audit_insert,
    .audit_list = mydb_audit_list,
    .audit_exists = mydb_audit_exists,
    .idempotency_get = mydb_idempotency_get,
    .idempotency_insert = mydb_idempotency_insert,
    .idempotency_remove = mydb_idempotency_remove,
    .user_lock = mydb_user_lock,
    .user_block = mydb_user_block,
    .user_sessions = mydb_user_sessions,
    .session_get = mydb_session_get,
    .session_insert = mydb_session_insert,
    .session_store = mydb_session_store,
    .snapshot = mydb_snapshot,
    .poll = mydb_poll,
    .changes = mydb_changes,
    .live = mydb_live,
    .counter_next = mydb_counter_next,
    .touch = mydb_touch,
    .expired = mydb_expired,
    .purge = mydb_purge,
    .stats = mydb_stats,
    .lease_take = mydb_lease_take,
    .lease_list = mydb_lease_list,
    .service_get = mydb_service_get,
    .service_put = mydb_service_put,
    .service_remove = mydb_service_remove,
    .service_list = mydb_service_list,
    .exec = mydb_exec,
};
