/*
 * MySQL: waiting, errors, disconnecting, and statements of text.
 *
 * The library counts in whole seconds, for each wait anew. Here everything
 * waits in mydb_wait_for(), which goes by one absolute deadline, that of the
 * operation: MARIADB_OPT_IO_WAIT puts it in the place of the library's own
 * poll(). It gets no pointer of ours, so that deadline is a variable of the
 * thread.
 */
#include "config.h"

#include "durable_mysql.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <errmsg.h>
#include <mysqld_error.h>

#include "clock.h"
#include "failpoint.h"
#include "forks.h"
#include "status.h"
#include "wait.h"

/* ---- waiting ---- */

_Thread_local int64_t mydb_deadline_us;

int
mydb_wait_for(int fd, short events)
{
	return wait_ready(fd, events, mydb_deadline_us);
}

int
mydb_io_wait(my_socket fd, my_bool is_read, int timeout)
{
	(void)timeout;
	return mydb_wait_for(fd, is_read ? POLLIN : POLLOUT);
}

void
mydb_set_deadline(const struct mydb *store, int64_t timeout_ms)
{
	const int64_t max_ms = INT64_C(24) * 3600 * 1000;
	int64_t now_ms = clock_monotonic_ms();
	int64_t end_ms = now_ms + (timeout_ms > 0 ? timeout_ms : max_ms);

	if (store->sql.durable.deadline_ms < end_ms)
		end_ms = store->sql.durable.deadline_ms;
	mydb_deadline_us = end_ms * 1000;
}

/*
 * The server gives a statement up before we do, and says so: a lock that
 * somebody holds is an answer, of a server that is there, and its locks do not
 * stay in the way. A quarter is for the answer to come.
 */
int64_t
mydb_server_ms(int64_t wait_ms)
{
	int64_t ms = wait_ms - wait_ms / 4;

	return ms > 0 ? ms : 1;
}

/*
 * Whether what the server gives does for what is left: no more than seven
 * eighths of it, and not much less than is meant.
 */
static bool
is_fit(const struct mydb *store, int64_t *out_wanted_ms)
{
	int64_t left_ms = mydb_deadline_us / 1000 - clock_monotonic_ms();
	int64_t wanted_ms = mydb_server_ms(left_ms);

	*out_wanted_ms = wanted_ms;
	return store->server_ms == 0 || left_ms <= 0 ||
	       failpoint_is_off("server-time") ||
	       (store->server_ms <= left_ms - left_ms / 8 &&
		   store->server_ms >= wanted_ms - wanted_ms / 4);
}

enum sgate_status
mydb_fit_time(
    struct mydb *store, const char *operation, struct sgate_error *err)
{
	enum sgate_status status;
	int64_t wanted_ms;
	char sql[80];

	if (is_fit(store, &wanted_ms))
		return SGATE_OK;
	snprintf(sql, sizeof(sql),
	    "SET SESSION max_statement_time = %lld.%03lld",
	    (long long)(wanted_ms / 1000), (long long)(wanted_ms % 1000));
	status = mydb_query(&store->sql.durable, sql, operation, err);
	if (status == SGATE_OK)
		store->server_ms = wanted_ms;
	return status;
}

enum sgate_status
mydb_query_in_time(struct durable *d, const char *text, const char *operation,
    struct sgate_error *err)
{
	const struct mydb *store = (const struct mydb *)d;
	struct buf sql = {0};
	enum sgate_status status;
	int64_t wanted_ms;
	char before[80];

	if (is_fit(store, &wanted_ms))
		return mydb_query(d, text, operation, err);
	snprintf(before, sizeof(before),
	    "SET STATEMENT max_statement_time = %lld.%03lld FOR ",
	    (long long)(wanted_ms / 1000), (long long)(wanted_ms % 1000));
	buf_add_text(&sql, before);
	buf_add_text(&sql, text);
	status =
	    mydb_query(d, buf_failed(&sql) ? text : sql.data, operation, err);
	buf_clear(&sql);
	return status;
}

/* ---- errors ---- */

/*
 * The server's and the library's answers and ours. What is not here says
 * nothing about any row either, so it is SGATE_UNAVAILABLE. closes: the
 * connection cannot be used any more, or leads to a server that must not be.
 * COMMIT has a rule of its own.
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
    {MYDB_LOCK_NOWAIT, SGATE_UNAVAILABLE, false, "somebody else holds the row"},
    {ER_LOCK_DEADLOCK, SGATE_UNAVAILABLE, false, "a deadlock"},
    {ER_STATEMENT_TIMEOUT, SGATE_UNAVAILABLE, false,
	"somebody else holds the row, or the server is slow"},
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
    {ER_BINLOG_STMT_MODE_AND_ROW_ENGINE, SGATE_UNAVAILABLE, false,
	"set binlog_format of the server to MIXED or ROW"},
    {ER_NEED_REPREPARE, SGATE_UNAVAILABLE, true,
	"raise table_definition_cache of the server"},
    {ER_MAX_PREPARED_STMT_COUNT_REACHED, SGATE_UNAVAILABLE, true,
	"raise max_prepared_stmt_count of the server"},
    {ER_DUP_ENTRY, SGATE_CONFLICT, false, "is there already"},
    {ER_DATA_TOO_LONG, SGATE_INVALID, false, "a value is refused"},
    {ER_WARN_DATA_OUT_OF_RANGE, SGATE_INVALID, false, "a value is refused"},
    {ER_BAD_NULL_ERROR, SGATE_INVALID, false, "a value is refused"},
};

static bool
is_of_library(unsigned code)
{
	return code >= CR_MIN_ERROR && code <= CR_MAX_ERROR;
}

bool
mydb_was_given_up(unsigned code)
{
	return code == ER_STATEMENT_TIMEOUT || code == ER_QUERY_INTERRUPTED;
}

/* It is there, and may take from others what it does not take from us. */
static bool
is_servers_word(unsigned code)
{
	switch (code) {
	case 0:
	case ER_OPTION_PREVENTS_STATEMENT:
	case ER_READ_ONLY_MODE:
	case ER_UNKNOWN_COM_ERROR:
	case ER_CONNECTION_KILLED:
	case ER_SERVER_SHUTDOWN:
	case ER_NORMAL_SHUTDOWN:
		return false;
	default:
		return !is_of_library(code);
	}
}

bool
mydb_is_known(unsigned code)
{
	size_t i;

	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (answers[i].code == code)
			return true;
	return is_of_library(code);
}

/*
 * Any failure ends the transaction: after a duplicate it would go on, after a
 * deadlock its rest would be committed by itself.
 */
enum sgate_status
mydb_fail(struct mydb *store, const char *operation, unsigned code,
    const char *text, struct sgate_error *err)
{
	enum sgate_status status = SGATE_UNAVAILABLE;
	const char *advice = "this should not happen: see the server's log";
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
	/* None of these leaves it usable. */
	if (is_of_library(code))
		closes = true;
	if (is_servers_word(code))
		store->sql.durable.has_answered = true;
	store->last_code = (int)code;
	error_set(err, status, MYDB_SOURCE, operation, (int)code,
	    "%.80s: %.100s: %s", store->peer, text, advice);
	store->is_broken = store->in_transaction && store->is_begun;
	if (closes)
		store->sql.durable.is_unreachable = true;
	if (closes && !store->is_connecting) {
		/* The next connection begins with the next host. */
		if (store->hosts_count > 0)
			store->host = (store->host + 1) % store->hosts_count;
		mydb_disconnect(&store->sql.durable);
	}
	return status;
}

enum sgate_status
mydb_conn_fail(
    struct mydb *store, const char *operation, struct sgate_error *err)
{
	return mydb_fail(store, operation, mysql_errno(store->conn),
	    mysql_error(store->conn), err);
}

/* ---- the connection ---- */

bool
mydb_is_of_this_process(const struct mydb *store)
{
	return store->forks == forks_count() || failpoint_is_off("fork");
}

void
mydb_disconnect(struct durable *d)
{
	struct mydb *store = (struct mydb *)d;
	my_socket fd;
	size_t i;

	/* In a child it is the parent's. */
	if (!mydb_is_of_this_process(store) || store->conn == NULL)
		return;
	fd = mysql_get_socket(store->conn);
	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
	mysql_close(store->conn);
	store->conn = NULL;
	for (i = 0; i < SQL_STATEMENTS; i++) {
		if (store->prepared[i] != NULL)
			mysql_stmt_close(store->prepared[i]);
		store->prepared[i] = NULL;
	}
	store->is_broken = store->in_transaction && store->is_begun;
}

/* ---- statements of text ---- */

/*
 * The server refuses a message that is too long before it has read it, and
 * hangs up: the end of the connection overtakes what it says, and a server that
 * has gone looks the same. So it is not sent at all.
 */
enum sgate_status
mydb_fit_length(struct mydb *store, size_t len, const char *operation,
    struct sgate_error *err)
{
	if (store->message_max == 0 || len < store->message_max)
		return SGATE_OK;
	store->last_code = ER_NET_PACKET_TOO_LARGE;
	store->is_broken = store->in_transaction && store->is_begun;
	return error_set(err, SGATE_TOO_LARGE, MYDB_SOURCE, operation,
	    ER_NET_PACKET_TOO_LARGE,
	    "%.80s: a statement of %zu bytes, where it takes %zu: raise "
	    "max_allowed_packet of the server",
	    store->peer, len, store->message_max - 1);
}

enum sgate_status
mydb_send(struct mydb *store, const char *sql, size_t len,
    const char *operation, struct sgate_error *err)
{
	enum sgate_status status =
	    mydb_fit_length(store, len + 1, operation, err);

	if (status == SGATE_OK && mysql_real_query(store->conn, sql, len) != 0)
		status = mydb_conn_fail(store, operation, err);
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
	enum sgate_status status;
	MYSQL_RES *result;
	MYSQL_ROW row;

	if (store->conn == NULL)
		return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation,
		    0, "%.100s: the connection is gone", store->peer);
	status = mydb_send(store, sql, strlen(sql), operation, err);
	if (status != SGATE_OK)
		return status;
	result = mysql_store_result(store->conn);
	if (result == NULL)
		return mysql_errno(store->conn) == 0
			   ? SGATE_OK
			   : mydb_conn_fail(store, operation, err);
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

/* ---- several statements ---- */

enum sgate_status
mydb_query_many(struct mydb *store, struct mydb_texts *texts,
    const char *operation, struct sgate_error *err)
{
	mydb_row_fn *const *take = texts->take;
	MYSQL *conn = store->conn;
	enum sgate_status status;
	MYSQL_RES *result;
	MYSQL_ROW row;
	int more;

	texts->answered = 0;
	texts->changes = 0;
	if (buf_failed(texts->sql))
		return error_memory(err, operation);
	status =
	    mydb_send(store, texts->sql->data, texts->sql->len, operation, err);
	if (status != SGATE_OK)
		return status;
	do {
		result = mysql_store_result(conn);
		if (result == NULL && mysql_errno(conn) != 0)
			return mydb_conn_fail(store, operation, err);
		if (result == NULL)
			texts->changes += mysql_affected_rows(conn);
		while (result != NULL && *take != NULL &&
		       (row = mysql_fetch_row(result)) != NULL)
			(*take)(texts->arg, row, mysql_fetch_lengths(result));
		take += result != NULL && *take != NULL ? 1 : 0;
		mysql_free_result(result);
		texts->answered++;
		more = mysql_next_result(conn);
	} while (more == 0);
	if (more > 0)
		return mydb_conn_fail(store, operation, err);
	/* The library says nothing when it had no memory for them. */
	if (*take != NULL)
		return mydb_fail(store, operation, CR_COMMANDS_OUT_OF_SYNC,
		    "an answer without rows", err);
	return SGATE_OK;
}

bool
mydb_read_counter(const MYSQL_ROW row, const unsigned long *lengths,
    unsigned *out_group, struct durable_snapshot *out_at)
{
	struct durable_snapshot at = {0};
	uint64_t group = 0, epoch = 0;

	if (row[0] == NULL || row[1] == NULL || row[2] == NULL ||
	    row[3] == NULL || lengths[2] != sizeof(at.store.id) ||
	    !bytes_to_uint(bytes_of(row[0]), DURABLE_SETTINGS, &group) ||
	    !bytes_to_uint(bytes_of(row[1]), INT64_MAX, &at.counter) ||
	    !bytes_to_uint(bytes_of(row[3]), SQL_EPOCH_MAX, &epoch))
		return false;
	memcpy(at.store.id, row[2], sizeof(at.store.id));
	at.store.epoch = (unsigned)epoch;
	*out_group = (unsigned)group;
	*out_at = at;
	return true;
}
