/*
 * MySQL: prepared statements, their columns, and transactions: struct
 * sql_driver.
 */
#include "config.h"

#include "durable_mysql.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <errmsg.h>
#include <mysqld_error.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* A rollback may go past the deadline by this; then the connection goes. */
#define ROLLBACK_MS 20
/* Numbers and dates as text fit in it. */
#define COLUMN_MIN_BYTES 1024

static const char *
run_peer(const struct sql_store *store)
{
	return ((const struct mydb *)store)->peer;
}

/* ---- statements ---- */

/*
 * What is wrong with the caller's text is the caller's to know: whatever is not
 * said of the server or the connection.
 */
static bool
is_callers(unsigned code, enum sgate_status status)
{
	switch (code) {
	case ER_PARSE_ERROR:
	case ER_NO_SUCH_TABLE:
	case ER_BAD_FIELD_ERROR:
	case ER_TABLEACCESS_DENIED_ERROR:
	case ER_COLUMNACCESS_DENIED_ERROR:
		return true;
	default:
		return status == SGATE_UNAVAILABLE && !mydb_is_known(code);
	}
}

static enum sgate_status
stmt_fail(struct sql_run *r)
{
	unsigned code = mysql_stmt_errno(r->stmt);
	char text[160];
	enum sgate_status status;

	/* The statement goes with the connection. */
	snprintf(text, sizeof(text), "%s", mysql_stmt_error(r->stmt));
	status = mydb_fail(mydb_of(r), r->operation, code, text, r->err);
	if (r->is_own && is_callers(code, status))
		return error_set(r->err, SGATE_INVALID, MYDB_SOURCE,
		    r->operation, (int)code, "%.200s", text);
	return status;
}

static enum sgate_status
run_prepare(struct sql_run *r, const char *sql)
{
	struct mydb *store = mydb_of(r);
	const size_t len = strlen(sql);
	enum sgate_status status =
	    mydb_fit_length(store, 1 + len, r->operation, r->err);
	MYSQL_STMT *stmt;

	if (status != SGATE_OK)
		return status;
	stmt = mysql_stmt_init(store->conn);
	if (stmt == NULL)
		return error_memory(r->err, r->operation);
	r->stmt = stmt;
	if (mysql_stmt_prepare(stmt, sql, len) != 0) {
		status = stmt_fail(r);
		mysql_stmt_close(stmt);
		r->stmt = NULL;
	}
	return status;
}

/*
 * A transaction begins, for the server, with its first statement. That of
 * nearly all is the audit row: it goes in one message with START TRANSACTION,
 * as text, and is not prepared.
 */
static bool
is_opening(const struct sql_run *r)
{
	return r->is_first && r->which == SQL_AUDIT_INSERT;
}

static enum sgate_status
begin_now(struct sql_run *r)
{
	struct mydb *store = mydb_of(r);

	if (!r->is_first)
		return SGATE_OK;
	store->is_begun = true;
	return mydb_query(
	    &store->sql.durable, "START TRANSACTION", r->operation, r->err);
}

/* With a connection: what is to be told first, and the statement. */
static enum sgate_status
run_enter(struct sql_run *r, const char *sql)
{
	struct mydb *store = mydb_of(r);
	enum sgate_status status;

	r->connection = 0;
	status = r->was_repeated ? mydb_connected(store, r->operation, r->err)
				 : mydb_enter(store, r->operation, r->err);
	if (status != SGATE_OK)
		return status;
	r->connection = store->connection;
	status = mydb_fit_time(store, r->operation, r->err);
	if (status != SGATE_OK)
		return status;
	r->is_first = store->in_transaction && !store->is_begun;
	if (is_opening(r))
		return SGATE_OK;
	status = begin_now(r);
	if (status != SGATE_OK || sql != NULL)
		return status == SGATE_OK ? run_prepare(r, sql) : status;
	r->stmt = store->prepared[r->which];
	if (r->stmt == NULL) {
		status = run_prepare(r, sql_text(r->store, r->which).sql);
		store->prepared[r->which] = r->stmt;
	}
	return status;
}

/*
 * A connection that ended while it was used, before anything could have been
 * changed by it: the same is asked once more of a new one. An answer that did
 * not come in time is no such end.
 */
static bool
may_ask_again(const struct mydb *store, enum sgate_status status)
{
	return status == SGATE_UNAVAILABLE && store->conn == NULL &&
	       !failpoint_is_off("reconnect") &&
	       clock_monotonic_us() < mydb_deadline_us;
}

static void
forget_connection(struct mydb *store)
{
	store->is_begun = false;
	store->is_broken = false;
	store->sql.durable.is_unreachable = false;
}

bool
mydb_may_open_again(struct mydb *store, enum sgate_status status)
{
	if (!may_ask_again(store, status))
		return false;
	forget_connection(store);
	return true;
}

static bool
may_repeat(struct sql_run *r, enum sgate_status status)
{
	struct mydb *store = mydb_of(r);

	if (r->connection == 0 || r->was_repeated ||
	    (store->in_transaction && !r->is_first) ||
	    !may_ask_again(store, status))
		return false;
	r->was_repeated = true;
	r->stmt = NULL;
	forget_connection(store);
	return true;
}

static enum sgate_status
run_open(struct sql_run *r, enum sql_statement which)
{
	enum sgate_status status = run_enter(r, NULL);

	(void)which;
	return may_repeat(r, status) ? run_enter(r, NULL) : status;
}

static enum sgate_status
run_open_text(struct sql_run *r, const char *sql)
{
	enum sgate_status status = run_enter(r, sql);

	return may_repeat(r, status) ? run_enter(r, sql) : status;
}

static void
run_close(struct sql_run *r)
{
	const struct mydb *store = mydb_of(r);

	if (r->stmt == NULL)
		return;
	if (r->which == SQL_STATEMENTS)
		mysql_stmt_close(r->stmt);
	else if (store->conn != NULL && r->connection == store->connection)
		mysql_stmt_free_result(r->stmt);
	r->stmt = NULL;
}

/* Our columns of text are bytes; the caller's have a character set. */
static void
bind_param(struct sql_value *value, bool is_own, MYSQL_BIND *bind,
    unsigned long *length)
{
	memset(bind, 0, sizeof(*bind));
	switch (value->kind) {
	case SQL_NULL:
		bind->buffer_type = MYSQL_TYPE_NULL;
		return;
	case SQL_INTEGER:
		bind->buffer_type = MYSQL_TYPE_LONGLONG;
		bind->buffer = &value->integer;
		return;
	case SQL_TEXT:
		bind->buffer_type =
		    is_own ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
		break;
	case SQL_BLOB:
		bind->buffer_type = MYSQL_TYPE_BLOB;
		break;
	}
	*length = value->bytes.len;
	bind->buffer = (void *)(uintptr_t)value->bytes.data;
	bind->buffer_length = value->bytes.len;
	bind->length = length;
}

/*
 * Where a column lies in the row that was fetched last: a number little-endian,
 * bytes behind their length; NULL for NULL. mysql_stmt_fetch_column() begins
 * there, too, and takes 860 instructions for what most columns are.
 */
static const unsigned char *
column_at(const MYSQL_STMT *stmt, unsigned column)
{
	return stmt->bind[column].u.row_ptr;
}

static void
read_long(const MYSQL_STMT *stmt, unsigned column, struct sql_value *out)
{
	const unsigned char *at = column_at(stmt, column);
	uint64_t number = 0;

	out->kind = at == NULL ? SQL_NULL : SQL_INTEGER;
	if (at != NULL)
		memcpy(&number, at, sizeof(number));
	out->integer = (int64_t)le64toh(number);
}

/* False: it is longer than max. */
static bool
read_bytes(
    const MYSQL_STMT *stmt, unsigned column, size_t max, struct sql_value *out)
{
	const unsigned char *at = column_at(stmt, column);
	size_t len = stmt->bind[column].length_value;

	if (at == NULL) {
		out->kind = SQL_NULL;
		return true;
	}
	/* The length takes 1, 3, 4 or 9 bytes, as its first one says. */
	at += *at <= 250 ? 1 : *at == 252 ? 3 : *at == 253 ? 4 : 9;
	out->bytes = (struct sgate_bytes){(const char *)at, len};
	return len <= max;
}

/* False: it does not fit, or there is no such column. */
static bool
fetch_integer(MYSQL_STMT *stmt, unsigned column, struct sql_value *out)
{
	const MYSQL_FIELD *field = &stmt->fields[column];
	my_bool is_null = 0;
	my_bool is_cut = 0;
	MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_LONGLONG,
	    .buffer = &out->integer,
	    .is_null = &is_null,
	    .error = &is_cut};

	if (field->type == MYSQL_TYPE_LONGLONG &&
	    (field->flags & UNSIGNED_FLAG) == 0) {
		read_long(stmt, column, out);
		return true;
	}
	if (mysql_stmt_fetch_column(stmt, &bind, column, 0) != 0 || is_cut)
		return false;
	out->kind = is_null ? SQL_NULL : SQL_INTEGER;
	return true;
}

/* What the length of bytes takes before them. */
static size_t
length_len(size_t len)
{
	return len <= 250 ? 1 : len <= 0xffff ? 3 : len <= 0xffffff ? 4 : 9;
}

/*
 * COM_STMT_EXECUTE: what it is, 1; the statement, 4; flags, 1; how often, 4;
 * and for parameters: which are NULL, a bit each; that their types follow, 1;
 * those, 2 each; the values.
 */
static size_t
execute_len(const struct sql_run *r)
{
	size_t len = 10;
	size_t i;

	if (r->bound > 0)
		len += (r->bound + 7) / 8 + 1 + 2 * r->bound;
	for (i = 0; i < r->bound; i++) {
		const struct sql_value *value = &r->params[i];

		if (value->kind == SQL_INTEGER)
			len += sizeof(value->integer);
		else if (value->kind != SQL_NULL)
			len += length_len(value->bytes.len) + value->bytes.len;
	}
	return len;
}

static enum sgate_status
execute(struct sql_run *r)
{
	MYSQL_BIND binds[SQL_PARAMS_MAX];
	unsigned long lengths[SQL_PARAMS_MAX];
	MYSQL_STMT *stmt = r->stmt;
	enum sgate_status status;
	size_t i;

	if (r->bound != mysql_stmt_param_count(stmt))
		return sql_misused(&r->store->durable, r->operation,
		    "a wrong number of parameters", r->err);
	status =
	    mydb_fit_length(mydb_of(r), execute_len(r), r->operation, r->err);
	if (status != SGATE_OK)
		return status;
	for (i = 0; i < r->bound; i++)
		bind_param(&r->params[i], r->is_own, &binds[i], &lengths[i]);
	if ((r->bound > 0 && mysql_stmt_bind_param(stmt, binds) != 0) ||
	    mysql_stmt_execute(stmt) != 0 ||
	    (mysql_stmt_field_count(stmt) > 0 &&
		mysql_stmt_store_result(stmt) != 0))
		return stmt_fail(r);
	r->changes = mysql_stmt_affected_rows(stmt);
	r->insert_id = mysql_stmt_insert_id(stmt);
	return SGATE_OK;
}

void
mydb_add_literal(struct buf *sql, const struct sql_value *value)
{
	switch (value->kind) {
	case SQL_NULL:
		buf_add_text(sql, "NULL");
		break;
	case SQL_INTEGER:
		buf_add_int(sql, value->integer);
		break;
	case SQL_TEXT:
	case SQL_BLOB:
		buf_add_text(sql, "X'");
		buf_add_hex(sql, value->bytes.data, value->bytes.len);
		buf_add_text(sql, "'");
		break;
	}
}

static enum sgate_status
execute_opening(struct sql_run *r)
{
	struct mydb *store = mydb_of(r);
	const char *text = sql_text(r->store, r->which).sql;
	enum sgate_status status = SGATE_OK;
	struct buf sql = {0};
	size_t used = 0;

	buf_add_text(&sql, "START TRANSACTION; ");
	for (; *text != '\0'; text++) {
		if (*text != '?')
			buf_add_char(&sql, *text);
		else if (used < r->bound)
			mydb_add_literal(&sql, &r->params[used++]);
	}
	store->is_begun = true;
	if (buf_failed(&sql))
		status = error_memory(r->err, r->operation);
	else
		status =
		    mydb_send(store, sql.data, sql.len, r->operation, r->err);
	if (status != SGATE_OK)
		goto out;
	if (mysql_next_result(store->conn) < 0)
		status = mydb_fail(store, r->operation, CR_COMMANDS_OUT_OF_SYNC,
		    "one answer to two statements", r->err);
	else if (mysql_errno(store->conn) != 0)
		status = mydb_conn_fail(store, r->operation, r->err);
	else
		r->changes = mysql_affected_rows(store->conn);
out:
	buf_clear(&sql);
	return status;
}

/*
 * A server that was the primary when the connection was made may be a replica
 * now, which says what was true: what decides about a session, or about copies,
 * is not taken from it. The last column of these tells; where there is no row,
 * "no such session" would be the worst of all wrong answers, so it is asked.
 */
static bool
names_primary(enum sql_statement which)
{
	return which == SQL_SESSION_GET || which == SQL_SESSION_PEEK ||
	       which == SQL_SESSION_GET_AT || which == SQL_POLL;
}

static enum sgate_status
check_is_primary(struct sql_run *r)
{
	struct mydb *store = mydb_of(r);
	MYSQL_STMT *stmt = r->stmt;
	struct sql_value is_primary = {.kind = SQL_NULL};

	if (store->in_transaction || !names_primary(r->which))
		return SGATE_OK;
	if (mysql_stmt_num_rows(stmt) == 0)
		return mydb_refuse_read_only(store, r->operation, r->err);
	if (mysql_stmt_fetch(stmt) == 1 ||
	    !fetch_integer(stmt, mysql_stmt_field_count(stmt) - 1, &is_primary))
		return stmt_fail(r);
	r->is_fetched = true;
	if (is_primary.kind == SQL_INTEGER && is_primary.integer == 1)
		return SGATE_OK;
	return mydb_fail(store, r->operation, ER_OPTION_PREVENTS_STATEMENT,
	    "read_only is on", r->err);
}

static enum sgate_status
run_execute(struct sql_run *r)
{
	enum sgate_status status;

	if (is_opening(r))
		return execute_opening(r);
	status = execute(r);
	return status == SGATE_OK ? check_is_primary(r) : status;
}

static enum sgate_status
run_step(struct sql_run *r)
{
	enum sgate_status status;
	int code;

	if (!r->is_executed) {
		status = run_execute(r);
		if (r->which != SQL_STATEMENTS && may_repeat(r, status)) {
			status = run_enter(r, NULL);
			if (status == SGATE_OK)
				status = run_execute(r);
		}
		if (status != SGATE_OK)
			return status;
		r->is_executed = true;
	}
	if (r->stmt == NULL || mysql_stmt_field_count(r->stmt) == 0)
		return SGATE_NOT_FOUND;
	code = r->is_fetched ? 0 : mysql_stmt_fetch(r->stmt);
	r->is_fetched = false;
	if (code == 0 || code == MYSQL_DATA_TRUNCATED)
		return SGATE_OK;
	return code == MYSQL_NO_DATA ? SGATE_NOT_FOUND : stmt_fail(r);
}

static uint64_t
run_changes(const struct sql_run *r)
{
	return r->changes;
}

/* ---- columns ---- */

static const MYSQL_FIELD *
field_at(const struct sql_run *r, unsigned column)
{
	const MYSQL_STMT *stmt = r->stmt;

	return &stmt->fields[column];
}

static bool
is_integer(const MYSQL_FIELD *field)
{
	switch (field->type) {
	case MYSQL_TYPE_TINY:
	case MYSQL_TYPE_SHORT:
	case MYSQL_TYPE_INT24:
	case MYSQL_TYPE_LONG:
	case MYSQL_TYPE_LONGLONG:
	case MYSQL_TYPE_YEAR:
		return true;
	default:
		return false;
	}
}

static bool
is_bytes(const MYSQL_FIELD *field)
{
	switch (field->type) {
	case MYSQL_TYPE_VARCHAR:
	case MYSQL_TYPE_VAR_STRING:
	case MYSQL_TYPE_STRING:
	case MYSQL_TYPE_TINY_BLOB:
	case MYSQL_TYPE_MEDIUM_BLOB:
	case MYSQL_TYPE_LONG_BLOB:
	case MYSQL_TYPE_BLOB:
		return true;
	default:
		return false;
	}
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

/* What it has, as text where it is a number or a date. */
static bool
fetch_bytes(
    struct sql_run *r, unsigned column, size_t max, struct sql_value *out)
{
	struct mydb *store = mydb_of(r);
	unsigned long len = 0;
	my_bool is_null = 0;
	my_bool is_cut = 0;
	MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_STRING,
	    .length = &len,
	    .is_null = &is_null,
	    .error = &is_cut};
	int tries;

	for (tries = 0; tries < 2; tries++) {
		if (len > max || !column_grow(store, len + 1))
			return false;
		bind.buffer = store->column;
		bind.buffer_length = store->column_size;
		if (mysql_stmt_fetch_column(r->stmt, &bind, column, 0) != 0)
			return false;
		if (is_null) {
			out->kind = SQL_NULL;
			return true;
		}
		if (len < store->column_size)
			break;
	}
	out->bytes = (struct sgate_bytes){store->column, len};
	return len <= max && len < store->column_size;
}

static bool
run_column(struct sql_run *r, unsigned column, enum sql_kind kind, size_t max,
    struct sql_value *out)
{
	const MYSQL_FIELD *field;

	if (column >= mysql_stmt_field_count(r->stmt))
		return false;
	field = field_at(r, column);
	out->kind = kind;
	if (kind == SQL_INTEGER)
		return is_integer(field) && fetch_integer(r->stmt, column, out);
	return is_bytes(field) && read_bytes(r->stmt, column, max, out);
}

static const char *
run_column_name(struct sql_run *r, unsigned column)
{
	if (column >= mysql_stmt_field_count(r->stmt))
		return "?";
	return field_at(r, column)->name;
}

/* ---- the caller's own statement ---- */

static enum sgate_value_kind
own_kind(const MYSQL_FIELD *field)
{
	const unsigned binary_charset = 63;
	/* What does not fit comes as text. */
	bool is_large = field->type == MYSQL_TYPE_LONGLONG &&
			(field->flags & UNSIGNED_FLAG) != 0;

	if (is_integer(field) && !is_large)
		return SGATE_VALUE_INTEGER;
	/* A string of bytes: not text, and not a number or date. */
	if (field->charsetnr == binary_charset &&
	    (is_bytes(field) || field->type == MYSQL_TYPE_BIT ||
		field->type == MYSQL_TYPE_GEOMETRY))
		return SGATE_VALUE_BLOB;
	return SGATE_VALUE_TEXT;
}

enum sgate_status
mydb_open_own(struct sql_run *r, struct durable *d, const char *sql,
    struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;

	*r = (struct sql_run){.store = &store->sql,
	    .operation = "exec",
	    .err = err,
	    .which = SQL_STATEMENTS,
	    .is_own = true};
	error_clear(err);
	return run_enter(r, sql);
}

size_t
mydb_params_count(const struct sql_run *r)
{
	return mysql_stmt_param_count(r->stmt);
}

size_t
mydb_columns_count(const struct sql_run *r)
{
	return mysql_stmt_field_count(r->stmt);
}

enum sgate_status
mydb_get_own(struct sql_run *r, unsigned column, struct buf *storage,
    struct sgate_value *out)
{
	enum sgate_value_kind kind = own_kind(field_at(r, column));
	struct sql_value value = {.kind = SQL_INTEGER};
	bool is_sound;

	*out = (struct sgate_value){.kind = SGATE_VALUE_NULL};
	if (kind == SGATE_VALUE_INTEGER)
		is_sound = fetch_integer(r->stmt, column, &value);
	else
		is_sound = fetch_bytes(r, column, SQL_VALUE_MAX_BYTES, &value);
	if (!is_sound)
		return error_set(r->err, SGATE_TOO_LARGE, MYDB_SOURCE,
		    r->operation, 0, "column %u is larger than %d bytes",
		    column + 1, SQL_VALUE_MAX_BYTES);
	if (value.kind == SQL_NULL)
		return SGATE_OK;
	out->kind = kind;
	out->integer = value.integer;
	if (kind == SGATE_VALUE_INTEGER)
		return SGATE_OK;
	buf_reset(storage);
	buf_add_bytes(storage, value.bytes);
	out->bytes = value.bytes.len == 0 ? (struct sgate_bytes){"", 0}
					  : buf_bytes(storage);
	return buf_failed(storage) ? error_memory(r->err, r->operation)
				   : SGATE_OK;
}

/* ---- transactions ---- */

static bool
in_transaction(const struct durable *d)
{
	return ((const struct mydb *)d)->in_transaction;
}

void
mydb_rollback(struct durable *d)
{
	struct mydb *store = (struct mydb *)d;
	const int64_t least_us =
	    clock_monotonic_us() + INT64_C(1000) * ROLLBACK_MS;
	bool was_begun;

	if (!mydb_is_of_this_process(store) || !store->in_transaction)
		return;
	store->in_transaction = false;
	store->is_broken = false;
	was_begun = store->is_begun;
	store->is_begun = false;
	if (store->conn == NULL || !was_begun)
		return;
	mydb_set_deadline(store, store->write_timeout_ms);
	if (mydb_deadline_us < least_us)
		mydb_deadline_us = least_us;
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
		return sql_misused(d, "begin", "in a transaction already", err);
	status = mydb_enter(store, "begin", err);
	if (status == SGATE_OK) {
		store->in_transaction = true;
		store->is_begun = false;
		store->is_broken = false;
	}
	return status;
}

/*
 * A COMMIT, or a statement that commits by itself, that failed. These errors
 * the server gives before it has decided; after any other, and without an
 * answer, it may have happened: also when its time was over, for the server
 * says that of what it has just done, too. The connection goes then, so that
 * the server rolls back what has not been committed and a repeat waits for that
 * at its audit row.
 */
static enum sgate_status
commit_failed(struct mydb *store, struct sgate_error *err)
{
	mydb_disconnect(&store->sql.durable);
	if (failpoint_is_off("settle"))
		return SGATE_UNAVAILABLE;
	if (err != NULL) {
		err->status = SGATE_UNCERTAIN;
		err->reason = SGATE_REASON_STORE;
	}
	return SGATE_UNCERTAIN;
}

static bool
is_exact(unsigned code)
{
	return code == ER_LOCK_DEADLOCK || code == ER_LOCK_WAIT_TIMEOUT ||
	       code == ER_OPTION_PREVENTS_STATEMENT ||
	       code == ER_READ_ONLY_MODE;
}

enum sgate_status
mydb_commit(struct durable *d, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	enum sgate_status status;

	error_clear(err);
	if (!store->in_transaction)
		return sql_misused(d, "commit", "needs a transaction", err);
	status = mydb_enter(store, "commit", err);
	if (status == SGATE_OK && !store->is_begun) {
		store->in_transaction = false;
		return status;
	}
	/* What the server has ended before it hears COMMIT is not in doubt. */
	if (status == SGATE_OK &&
	    ((store->conn->server_status & SERVER_STATUS_IN_TRANS) == 0 ||
		mydb_is_stale(store)))
		status =
		    error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, "commit", 0,
			"%.100s: the transaction is gone", store->peer);
	if (status != SGATE_OK) {
		mydb_rollback(d);
		return status;
	}
	status = mydb_query_in_time(d, "COMMIT", "commit", err);
	if (status != SGATE_OK && is_exact((unsigned)store->last_code)) {
		mydb_disconnect(d);
		status = SGATE_UNAVAILABLE;
	} else if (status != SGATE_OK) {
		status = commit_failed(store, err);
	}
	store->in_transaction = false;
	store->is_begun = false;
	store->is_broken = false;
	return status;
}

/* It was in somebody's way, and there is time: the same once more. */
static bool
may_try_again(const struct mydb *store, enum sgate_status status, int tries)
{
	return status == SGATE_UNAVAILABLE && tries == 1 &&
	       (store->last_code == ER_LOCK_DEADLOCK ||
		   store->last_code == ER_LOCK_WAIT_TIMEOUT) &&
	       clock_monotonic_ms() < store->sql.durable.deadline_ms;
}

enum sgate_status
mydb_query_alone(struct durable *d, const char *sql, const char *operation,
    struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	enum sgate_status status;
	int tries;

	if (store->in_transaction)
		return sql_misused(d, operation, "within a transaction", err);
	for (tries = 1;; tries++) {
		store->last_code = 0;
		status = mydb_enter(store, operation, err);
		if (status != SGATE_OK)
			return status;
		mydb_set_deadline(store, store->write_timeout_ms);
		status = mydb_query_in_time(d, sql, operation, err);
		/* The server rolls a statement back that it refuses. */
		if (status == SGATE_UNAVAILABLE &&
		    (store->conn == NULL ||
			mydb_was_given_up((unsigned)store->last_code)) &&
		    !is_exact((unsigned)store->last_code))
			return commit_failed(store, err);
		if (!may_try_again(store, status, tries))
			return status;
	}
}

static enum sgate_status
run_transaction(
    struct durable *d, sql_work_fn *work, void *arg, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	enum sgate_status status;
	int tries;

	for (tries = 1;; tries++) {
		store->last_code = 0;
		status = mydb_begin(d, err);
		if (status != SGATE_OK)
			return status;
		status = work(d, arg, err);
		if (status == SGATE_OK)
			status = mydb_commit(d, err);
		else
			mydb_rollback(d);
		if (!may_try_again(store, status, tries))
			return status;
	}
}

const struct sql_driver mydb_driver = {
    .source = MYDB_SOURCE,
    .texts = mydb_texts,
    .no_index = "",
    .has_nulls = true,
    .peer = run_peer,
    .open = run_open,
    .open_text = run_open_text,
    .step = run_step,
    .column = run_column,
    .column_name = run_column_name,
    .changes = run_changes,
    .close = run_close,
    .in_transaction = in_transaction,
    .transaction = run_transaction,
};
