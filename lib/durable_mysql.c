/*
 * The durable store in MySQL (MariaDB): the table of durable.h, hosts and
 * connecting.
 *
 * One connection a handle, opened in the first operation, after fork. It owns
 * its prepared statements and its settings, so it is never reconnected by the
 * library: whatever says that it is gone (or that its server must not be
 * written to) closes it, and the next operation makes a new one, with the next
 * host of the list.
 *
 * An operation takes at most read_timeout, or write_timeout in a transaction,
 * and never longer than the handle's deadline. Connecting is the library's
 * non-blocking form; how the rest waits is told in durable_mysql_client.c.
 * Under TLS the library does not wait there: TLS is not offered; a server on
 * another machine is reached through a tunnel or a network of its own. Names
 * would be looked up without a deadline: hosts are addresses.
 */
#include "config.h"

#include "durable_mysql.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <errmsg.h>
#include <mysqld_error.h>

#include "buf.h"
#include "clock.h"
#include "failpoint.h"
#include "forks.h"
#include "password.h"
#include "status.h"

/* ---- connecting ---- */

/*
 * No option file is read. Passwords are never sent as they are, and no file of
 * ours is sent because a server asks for it.
 */
static bool
set_options(MYSQL *conn)
{
	const unsigned ceiling_s = 3600; /* mydb_io_wait() is the limit */
	const unsigned no_files = 0;
	const unsigned long packet_max = 64ul * 1024 * 1024;
#ifdef SESSGATE_FAILPOINTS
	const my_bool reconnects = failpoint_is_off("reconnect");

	/* What is never done otherwise: the library connects again, silently
	 * and without our settings and statements. */
	if (mysql_options(conn, MYSQL_OPT_RECONNECT, &reconnects) != 0)
		return false;
#endif

	return mysql_options(conn, MYSQL_OPT_NONBLOCK, NULL) == 0 &&
	       mysql_options(conn, MARIADB_OPT_IO_WAIT, (void *)mydb_io_wait) ==
		   0 &&
	       mysql_options(conn, MYSQL_OPT_CONNECT_TIMEOUT, &ceiling_s) ==
		   0 &&
	       mysql_options(conn, MYSQL_OPT_READ_TIMEOUT, &ceiling_s) == 0 &&
	       mysql_options(conn, MYSQL_OPT_WRITE_TIMEOUT, &ceiling_s) == 0 &&
	       mysql_options(conn, MYSQL_OPT_LOCAL_INFILE, &no_files) == 0 &&
	       mysql_options(conn, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet_max) ==
		   0 &&
	       mysql_options(conn, MYSQL_SET_CHARSET_NAME, "utf8mb4") == 0 &&
	       mysql_options(conn, MARIADB_OPT_RESTRICTED_AUTH,
		   "mysql_native_password,client_ed25519,"
		   "caching_sha2_password") == 0;
}

/* The non-blocking form: also a connection that nobody answers has an end. */
static bool
connect_in_time(
    struct mydb *store, const struct mydb_host *host, const char *password)
{
	MYSQL *done = NULL;
	int waits;
	int ready;

	waits = mysql_real_connect_start(&done, store->conn,
	    host == NULL ? NULL : host->address, store->user, password,
	    store->database, host == NULL ? 0 : host->port,
	    host == NULL ? store->socket : NULL,
	    CLIENT_FOUND_ROWS | CLIENT_MULTI_STATEMENTS);
	while (waits != 0) {
		ready = mydb_wait_for(mysql_get_socket(store->conn),
		    (short)(((waits & MYSQL_WAIT_READ) != 0 ? POLLIN : 0) |
			    ((waits & MYSQL_WAIT_WRITE) != 0 ? POLLOUT : 0)));
		if (ready <= 0)
			return false;
		waits = mysql_real_connect_cont(&done, store->conn,
		    waits & (MYSQL_WAIT_READ | MYSQL_WAIT_WRITE));
	}
	return done != NULL;
}

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void
start_library(void)
{
	/* A failure is that of mysql_init(). */
	(void)!mysql_library_init(0, NULL, NULL);
}

static enum sgate_status
connect_to(struct mydb *store, const struct mydb_host *host,
    const char *operation, struct sgate_error *err)
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
	/* Which the first mysql_init() does otherwise, in any thread. */
	pthread_once(&library_once, start_library);
	store->connection++;
	store->message_max = 0;
	store->conn = mysql_init(NULL);
	if (store->conn == NULL || !set_options(store->conn))
		status = error_memory(err, operation);
	else if (!connect_in_time(store, host, password)) {
		if (mysql_errno(store->conn) != 0)
			status = mydb_conn_fail(store, operation, err);
		else
			status = error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE,
			    operation, CR_SERVER_LOST,
			    "%.80s: no answer in time", store->peer);
	}
	explicit_bzero(password, sizeof(password));
	return status;
}

/*
 * What a statement does must not depend on what the server's owner has set for
 * all connections, so each setting that could change it is set here.
 *
 * The server gives a statement up before we do: mydb_server_ms(). Lock waits
 * count in whole seconds there. So it does with a transaction of a host that
 * was cut off in the middle: the server does not learn of that, and its locks
 * would hold up all other hosts.
 *
 * Oracle's server limits no statement but plain reads: there a lock that is
 * held for longer than write_timeout does look as a server that hangs.
 */
static enum sgate_status
set_session(struct mydb *store, const char *operation, struct sgate_error *err)
{
	int64_t most_ms = store->read_timeout_ms > store->write_timeout_ms
			      ? store->read_timeout_ms
			      : store->write_timeout_ms;
	char sql[800];
	char limit[80], idle[80] = "";
	enum sgate_status status;
	int64_t server_ms;

	store->is_mariadb =
	    strstr(mysql_get_server_info(store->conn), "MariaDB") != NULL;
	server_ms = store->purpose == MYDB_TO_USE ? mydb_server_ms(most_ms) : 0;
	if (failpoint_is_off("server-time"))
		server_ms = most_ms;
	snprintf(limit, sizeof(limit),
	    store->is_mariadb ? "max_statement_time = %lld.%03lld"
			      : "max_execution_time = %lld%03lld",
	    (long long)(server_ms / 1000), (long long)(server_ms % 1000));
	if (store->is_mariadb && store->purpose == MYDB_TO_USE)
		snprintf(idle, sizeof(idle),
		    ", idle_transaction_timeout = %lld",
		    (long long)(1 + (most_ms - 1) / 1000));
	snprintf(sql, sizeof(sql),
	    "SET SESSION autocommit = 1, sql_mode = 'STRICT_ALL_TABLES,"
	    "NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
	    "NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', "
	    "character_set_client = utf8mb4, character_set_results = utf8mb4, "
	    "collation_connection = utf8mb4_bin, "
	    "completion_type = 'NO_CHAIN', sql_safe_updates = 0, "
	    "sql_select_limit = 18446744073709551615, sql_big_selects = 1, "
	    "innodb_lock_wait_timeout = 1, lock_wait_timeout = %d, %s%s",
	    store->purpose == MYDB_TO_USE ? 1 : 10, limit, idle);
	status = mydb_query(&store->sql.durable, sql, operation, err);
	store->server_ms = store->is_mariadb ? server_ms : 0;
	if (status == SGATE_OK)
		status = mydb_query(&store->sql.durable,
		    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, "
		    "READ WRITE",
		    operation, err);
	return status;
}

struct server_says {
	bool is_writable;
	size_t message_max;
};

/* "0|16777216" */
static void
take_server_says(void *arg, const char *word)
{
	struct server_says *says = arg;
	const char *max = strchr(word, '|');

	if (max == NULL)
		return;
	/* Newer servers have kinds of it, by names. */
	says->is_writable =
	    strncmp(word, "0|", 2) == 0 || strncasecmp(word, "OFF|", 4) == 0;
	says->message_max = strtoul(max + 1, NULL, 10);
}

enum sgate_status
mydb_refuse_read_only(
    struct mydb *store, const char *operation, struct sgate_error *err)
{
	struct server_says says = {false, 0};
	/* It takes no message as long as the larger one of the two. */
	enum sgate_status status = mydb_ask_words(&store->sql.durable,
	    "SELECT CONCAT_WS('|', @@GLOBAL.read_only, "
	    "GREATEST(@@max_allowed_packet, @@net_buffer_length))",
	    operation, take_server_says, &says, err);

	if (status == SGATE_OK)
		store->message_max = says.message_max;
	if (status == SGATE_OK && !says.is_writable)
		return mydb_fail(store, operation, ER_OPTION_PREVENTS_STATEMENT,
		    "read_only is on", err);
	return status;
}

static enum sgate_status
connect_and_look(struct mydb *store, const struct mydb_host *host,
    const char *operation, struct sgate_error *err)
{
	enum sgate_status status = connect_to(store, host, operation, err);

	if (status == SGATE_OK)
		status = set_session(store, operation, err);
	if (status == SGATE_OK && store->purpose != MYDB_TO_CHECK)
		status = mydb_refuse_read_only(store, operation, err);
	if (status != SGATE_OK || store->purpose != MYDB_TO_USE)
		return status;
	status = mydb_check_tables(&store->sql.durable, false, operation, err);
	if (status == SGATE_OK)
		status = mydb_jump(&store->sql.durable, operation, err);
	return status;
}

/*
 * For a session there is no answer where there are no tables, or where a server
 * says something that it should not: never "no such row".
 */
static enum sgate_status
no_answer(struct mydb *store, const char *operation, enum sgate_status status,
    struct sgate_error *err)
{
	if (status == SGATE_OK || status == SGATE_UNAVAILABLE ||
	    status == SGATE_NO_MEMORY)
		return status;
	if (err == NULL)
		return SGATE_UNAVAILABLE;
	if (status != SGATE_INVALID && err->text[0] == '\0')
		return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation,
		    0, "%.100s: an answer that cannot be", store->peer);
	err->status = SGATE_UNAVAILABLE;
	err->reason = SGATE_REASON_STORE;
	return SGATE_UNAVAILABLE;
}

static enum sgate_status
connect_host(struct mydb *store, const char *operation, struct sgate_error *err)
{
	enum sgate_status status = connect_and_look(store,
	    store->hosts_count > 0 ? &store->hosts[store->host] : NULL,
	    operation, err);

	if (status == SGATE_OK)
		return status;
	mydb_disconnect(&store->sql.durable);
	if (store->hosts_count > 0)
		store->host = (store->host + 1) % store->hosts_count;
	return status;
}

/*
 * Each host once; one that does not answer leaves time for the others. Where
 * somebody looks for the primary, only that: another one that takes writes may
 * lack what was acknowledged.
 */
static enum sgate_status
store_connect(struct mydb *store, enum mydb_purpose purpose,
    const char *operation, struct sgate_error *err)
{
	const int64_t end_us = mydb_deadline_us;
	size_t count = store->hosts_count > 0 ? store->hosts_count : 1;
	enum sgate_status status = SGATE_UNAVAILABLE;
	int64_t now_us;
	size_t left;

	store->purpose = purpose;
	if (purpose == MYDB_TO_USE && mydb_is_led(store)) {
		status = mydb_find_host(store, operation, err);
		if (status != SGATE_OK)
			return status;
		count = 1;
	}
	store->is_connecting = true;
	store->last_code = 0;
	for (left = count; left > 0; left--) {
		now_us = clock_monotonic_us();
		if (left < count && now_us >= end_us)
			break;
		mydb_deadline_us = now_us + (end_us - now_us) / (int64_t)left;
		error_clear(err);
		status = connect_host(store, operation, err);
		if (status == SGATE_OK)
			break;
	}
	if (status == SGATE_UNAVAILABLE &&
	    !mydb_was_given_up((unsigned)store->last_code))
		store->sql.durable.is_unreachable = true;
	store->sql.durable.is_refused =
	    status == SGATE_UNAVAILABLE && clock_monotonic_us() < end_us &&
	    (store->last_code == CR_CONNECTION_ERROR ||
		store->last_code == CR_CONN_HOST_ERROR);
	store->is_connecting = false;
	mydb_deadline_us = end_us;
	return no_answer(store, operation, status, err);
}

bool
mydb_is_stale(const struct mydb *store)
{
	struct pollfd poller = {
	    .fd = mysql_get_socket(store->conn), .events = POLLIN};

	/* The library has closed it: a statement could not be taken back. */
	if (poller.fd < 0)
		return true;
	if (failpoint_is_off("reconnect"))
		return false;
	return poll(&poller, 1, 0) != 0;
}

enum sgate_status
mydb_enter(struct mydb *store, const char *operation, struct sgate_error *err)
{
	if (!mydb_is_of_this_process(store))
		return sql_misused(&store->sql.durable, operation,
		    "opened in another process: open it after fork()", err);
	if (clock_monotonic_ms() >= store->sql.durable.deadline_ms)
		return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation,
		    0, "%.100s: no time left to begin", store->peer);
	mydb_set_deadline(store, store->in_transaction
				     ? store->write_timeout_ms
				     : store->read_timeout_ms);
	return mydb_connected(store, operation, err);
}

enum sgate_status
mydb_connected(
    struct mydb *store, const char *operation, struct sgate_error *err)
{
	enum sgate_status status;

	if (store->in_transaction && (store->is_begun || store->is_broken)) {
		if (!store->is_broken && store->conn != NULL)
			return SGATE_OK;
		return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation,
		    0,
		    "%.100s: the transaction was rolled back by an error "
		    "before",
		    store->peer);
	}
	if (store->conn != NULL &&
	    (store->purpose != MYDB_TO_USE || mydb_is_stale(store) ||
		mydb_is_elsewhere(store)))
		mydb_disconnect(&store->sql.durable);
	if (store->conn != NULL)
		return SGATE_OK;
	status = store_connect(store, MYDB_TO_USE, operation, err);
	store->is_broken = store->in_transaction && status != SGATE_OK;
	return status;
}

enum sgate_status
mydb_enter_new(struct durable *d, enum mydb_purpose purpose,
    const char *operation, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;

	error_clear(err);
	if (!mydb_is_of_this_process(store))
		return sql_misused(d, operation,
		    "opened in another process: open it after fork()", err);
	if (store->in_transaction)
		return sql_misused(d, operation, "within a transaction", err);
	if (clock_monotonic_ms() >= d->deadline_ms)
		return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation,
		    0, "%.100s: no time left to begin", store->peer);
	mydb_disconnect(d);
	mydb_set_deadline(store, 0);
	return store_connect(store, purpose, operation, err);
}

/* ---- open, close ---- */

static bool
parse_host(const char *text, struct mydb_host *out)
{
	unsigned char address[16];
	size_t len;

	out->port = CONF_MYSQL_PORT;
	len = address_port_parse(text, address, &out->port);
	address_text(address, len, out->address);
	out->at.len = len;
	out->at.port = out->port;
	memcpy(out->at.address, address, len);
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
	if (count > MYDB_HOSTS_MAX)
		return error_set(err, SGATE_INVALID, MYDB_SOURCE, "open", 0,
		    "mysql.hosts: more than %d of them", MYDB_HOSTS_MAX);
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

void
mydb_close(struct durable *d)
{
	struct mydb *store = (struct mydb *)d;

	if (store == NULL)
		return;
	mydb_disconnect(d);
	mydb_hosts_free(store);
	free(store->hosts);
	free(store->socket);
	free(store->database);
	free(store->user);
	free(store->password_file);
	free(store->column);
	free(store);
}

/* Settings and no hosts yet; NULL: out of memory. */
static struct mydb *
make(const char *socket, const char *database, const char *user,
    const char *password_file)
{
	struct mydb *store = calloc(1, sizeof(*store));

	if (store == NULL)
		return NULL;
	store->sql.durable.ops = &durable_mysql;
	store->sql.driver = &mydb_driver;
	store->forks = forks_count();
	store->socket = copy_text(socket);
	store->database = copy_text(database);
	store->user = copy_text(user);
	store->password_file = copy_text(password_file);
	if (store->socket != NULL && store->database != NULL &&
	    store->user != NULL && store->password_file != NULL)
		return store;
	mydb_close(&store->sql.durable);
	return NULL;
}

struct mydb *
mydb_copy(const struct mydb *store, const struct mydb_host *host)
{
	struct mydb *copy = make(
	    store->socket, store->database, store->user, store->password_file);

	if (copy == NULL)
		return NULL;
	copy->read_timeout_ms = store->read_timeout_ms;
	copy->write_timeout_ms = store->write_timeout_ms;
	if (host == NULL)
		return copy;
	copy->hosts = malloc(sizeof(*copy->hosts));
	if (copy->hosts == NULL) {
		mydb_close(&copy->sql.durable);
		return NULL;
	}
	copy->hosts[0] = *host;
	copy->hosts_count = 1;
	return copy;
}

static enum sgate_status
mydb_open(const struct sgate_conf *conf, struct durable **out,
    struct sgate_error *err)
{
	enum sgate_status status;
	struct mydb *store;

	*out = NULL;
	error_clear(err);
	store = make(conf->mysql.socket, conf->mysql.database, conf->mysql.user,
	    conf->mysql.password_file);
	if (store == NULL)
		return error_memory(err, "open");
	store->read_timeout_ms = conf->mysql.read_timeout_ms;
	store->write_timeout_ms = conf->mysql.write_timeout_ms;
	status = take_hosts(store, conf, err);
	if (status != SGATE_OK) {
		mydb_close(&store->sql.durable);
		return status;
	}
	snprintf(store->peer, sizeof(store->peer), "%s",
	    store->hosts_count > 0 ? store->hosts[0].address : store->socket);
	*out = &store->sql.durable;
	return SGATE_OK;
}

const struct durable_ops durable_mysql = {
    .name = "mysql",
    .is_shared = true,
    .open = mydb_open,
    .close = mydb_close,
    .ping = sql_ping,
    .locate = mydb_locate,
    .examine = mydb_examine,
    .schema_init = mydb_schema_init,
    .schema_check = mydb_schema_check,
    .maintain = mydb_maintain,
    .restored = mydb_restored,
    .store_get = sql_store_get,
    .begin = mydb_begin,
    .commit = mydb_commit,
    .rollback = mydb_rollback,
    .audit_insert = sql_audit_insert,
    .audit_list = sql_audit_list,
    .audit_exists = sql_audit_exists,
    .idempotency_get = sql_idempotency_get,
    .idempotency_insert = sql_idempotency_insert,
    .idempotency_remove = sql_idempotency_remove,
    .user_lock = mydb_user_lock,
    .user_block = sql_user_block,
    .blocked_users = sql_blocked_users,
    .user_sessions = sql_user_sessions,
    .session_get = sql_session_get,
    .create_many = mydb_create_many,
    .lock_many = mydb_lock_many,
    .store_many = mydb_store_many,
    .session_insert = sql_session_insert,
    .session_store = sql_session_store,
    .snapshot = sql_snapshot,
    .poll = sql_poll,
    .changes = mydb_changes,
    .changed = sql_changed,
    .live = sql_live,
    .counter_next = mydb_counter_next,
    .setting_list = sql_setting_list,
    .setting_put = sql_setting_put,
    .latest_expiry = sql_latest_expiry,
    .touch = mydb_touch,
    .expired = sql_expired,
    .purge = sql_purge,
    .stats = mydb_stats,
    .lease_take = sql_lease_take,
    .lease_list = sql_lease_list,
    .service_get = sql_service_get,
    .service_put = sql_service_put,
    .service_remove = sql_service_remove,
    .service_list = sql_service_list,
    .exec = mydb_exec,
};
