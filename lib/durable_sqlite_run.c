/* SQLite: the running of statements, ours and the caller's own. */
#include "config.h"

#include "durable_sqlite.h"

#include <stdlib.h>
#include <string.h>

#include "status.h"

/* ---- our statements: struct sql_driver ---- */

static const char *
run_peer(const struct sql_store *store)
{
	return ((const struct sqlite_store *)store)->path;
}

static bool
run_in_transaction(const struct durable *d)
{
	return ((const struct sqlite_store *)d)->in_transaction;
}

static enum sgate_status
run_open(struct sql_run *r, enum sql_statement which)
{
	struct sqlite_store *store = sqlite_of(r);
	sqlite3_stmt **kept = &store->prepared[which];
	enum sgate_status status = sqlite_enter(store, r->operation, r->err);
	int code;

	if (status != SGATE_OK)
		return status;
	if (*kept == NULL) {
		code =
		    sqlite3_prepare_v3(store->db, sql_text(r->store, which).sql,
			-1, SQLITE_PREPARE_PERSISTENT, kept, NULL);
		if (code != SQLITE_OK)
			return sqlite_fail(store, r->operation, code, r->err);
	}
	r->stmt = *kept;
	return SGATE_OK;
}

static enum sgate_status
run_open_text(struct sql_run *r, const char *sql)
{
	struct sqlite_store *store = sqlite_of(r);
	sqlite3_stmt *stmt = NULL;
	enum sgate_status status = sqlite_enter(store, r->operation, r->err);
	int code;

	if (status != SGATE_OK)
		return status;
	code = sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL);
	if (code != SQLITE_OK)
		return sqlite_fail(store, r->operation, code, r->err);
	r->stmt = stmt;
	return SGATE_OK;
}

static void
run_close(struct sql_run *r)
{
	if (r->which != SQL_STATEMENTS)
		sqlite3_reset(r->stmt);
	else
		sqlite3_finalize(r->stmt);
	r->stmt = NULL;
}

static int
bind_param(sqlite3_stmt *stmt, int number, const struct sql_value *value)
{
	switch (value->kind) {
	case SQL_NULL:
		return sqlite3_bind_null(stmt, number);
	case SQL_INTEGER:
		return sqlite3_bind_int64(stmt, number, value->integer);
	case SQL_TEXT:
		return sqlite3_bind_text64(stmt, number, value->bytes.data,
		    value->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
	case SQL_BLOB:
		return sqlite3_bind_blob64(stmt, number, value->bytes.data,
		    value->bytes.len, SQLITE_STATIC);
	}
	return SQLITE_MISUSE;
}

static int
bind_params(struct sql_run *r)
{
	int code = SQLITE_OK;
	size_t i;

	for (i = 0; i < r->bound && code == SQLITE_OK; i++)
		code = bind_param(r->stmt, (int)i + 1, &r->params[i]);
	return code;
}

static enum sgate_status
run_step(struct sql_run *r)
{
	struct sqlite_store *store = sqlite_of(r);
	int code = SQLITE_OK;

	if (!r->is_executed)
		code = bind_params(r);
	r->is_executed = true;
	if (code == SQLITE_OK) {
		store->may_interrupt = true;
		code = sqlite3_step(r->stmt);
		store->may_interrupt = false;
	}
	if (code == SQLITE_ROW)
		return SGATE_OK;
	if (code == SQLITE_DONE)
		return SGATE_NOT_FOUND;
	return sqlite_fail(store, r->operation, code, r->err);
}

static bool
run_column(struct sql_run *r, unsigned column, enum sql_kind kind, size_t max,
    struct sql_value *out)
{
	static const int types[] = {[SQL_NULL] = SQLITE_NULL,
	    [SQL_INTEGER] = SQLITE_INTEGER,
	    [SQL_TEXT] = SQLITE_TEXT,
	    [SQL_BLOB] = SQLITE_BLOB};
	int type = sqlite3_column_type(r->stmt, (int)column);
	const void *data;
	size_t len;

	out->kind = type == SQLITE_NULL ? SQL_NULL : kind;
	if (out->kind == SQL_NULL)
		return true;
	if (type != types[kind])
		return false;
	if (kind == SQL_INTEGER) {
		out->integer = sqlite3_column_int64(r->stmt, (int)column);
		return true;
	}
	/* As a blob: SQLite need not add a NUL to a large value. */
	data = sqlite3_column_blob(r->stmt, (int)column);
	len = (size_t)sqlite3_column_bytes(r->stmt, (int)column);
	if (len > max || (data == NULL && len > 0))
		return false;
	if (len > 0)
		out->bytes = (struct sgate_bytes){data, len};
	return true;
}

static const char *
run_column_name(struct sql_run *r, unsigned column)
{
	const char *name = sqlite3_column_name(r->stmt, (int)column);

	return name == NULL ? "?" : name;
}

static uint64_t
run_changes(const struct sql_run *r)
{
	return (uint64_t)sqlite3_changes64(sqlite_of(r)->db);
}

const struct sql_driver sqlite_driver = {
    .source = SQLITE_SOURCE,
    .texts = sqlite_texts,
    .no_index = "+",
    .peer = run_peer,
    .open = run_open,
    .open_text = run_open_text,
    .step = run_step,
    .column = run_column,
    .column_name = run_column_name,
    .changes = run_changes,
    .close = run_close,
    .in_transaction = run_in_transaction,
    .transaction = sqlite_transaction,
};

/* ---- the caller's own statement ---- */

/* What is wrong with the caller's text is the caller's to know. */
static enum sgate_status
exec_fail(struct sql_run *r, int code)
{
	enum sgate_status status =
	    sqlite_fail(sqlite_of(r), r->operation, code, r->err);

	if (code != SQLITE_ERROR && code != SQLITE_RANGE &&
	    code != SQLITE_MISMATCH)
		return status;
	return error_set(r->err, SGATE_INVALID, SQLITE_SOURCE, r->operation,
	    code, "%.200s", sqlite3_errmsg(sqlite_of(r)->db));
}

/* One statement; behind it nothing but blanks, comments and semicolons. */
static enum sgate_status
exec_prepare(struct sql_run *r, const char *sql)
{
	sqlite3 *db = sqlite_of(r)->db;
	sqlite3_stmt *stmt = NULL;
	sqlite3_stmt *next = NULL;
	const char *rest = sql;
	const char *problem = NULL;
	int code = sqlite3_prepare_v3(db, sql, -1, 0, &stmt, &rest);

	r->stmt = stmt;
	while (code == SQLITE_OK && next == NULL && *rest != '\0')
		code = sqlite3_prepare_v3(db, rest, -1, 0, &next, &rest);
	sqlite3_finalize(next);
	/* A second one that is wrong in itself is a second one all the same. */
	if (stmt != NULL && (next != NULL || code != SQLITE_OK))
		problem = "more than one statement in the text";
	else if (stmt == NULL && code == SQLITE_OK)
		problem = "there is no statement in the text";
	if (problem != NULL)
		return error_set(r->err, SGATE_INVALID, SQLITE_SOURCE,
		    r->operation, 0, "%s", problem);
	return code == SQLITE_OK ? SGATE_OK : exec_fail(r, code);
}

static int
exec_bind_one(sqlite3_stmt *stmt, int number, const struct sgate_value *value)
{
	const char *data = value->bytes.len == 0 ? "" : value->bytes.data;

	switch (value->kind) {
	case SGATE_VALUE_NULL:
		return sqlite3_bind_null(stmt, number);
	case SGATE_VALUE_INTEGER:
		return sqlite3_bind_int64(stmt, number, value->integer);
	case SGATE_VALUE_TEXT:
		return sqlite3_bind_text64(stmt, number, data, value->bytes.len,
		    SQLITE_STATIC, SQLITE_UTF8);
	case SGATE_VALUE_BLOB:
		return sqlite3_bind_blob64(
		    stmt, number, data, value->bytes.len, SQLITE_STATIC);
	}
	return SQLITE_MISUSE;
}

static enum sgate_status
exec_bind(struct sql_run *r, const struct sgate_value *params, size_t count)
{
	int wanted = sqlite3_bind_parameter_count(r->stmt);
	int code;
	size_t i;

	if (count != (size_t)wanted)
		return error_set(r->err, SGATE_INVALID, SQLITE_SOURCE,
		    r->operation, 0,
		    "the statement has %d parameters, given are %zu", wanted,
		    count);
	for (i = 0; i < count; i++) {
		if ((unsigned)params[i].kind > SGATE_VALUE_BLOB)
			return error_set(r->err, SGATE_INVALID, SQLITE_SOURCE,
			    r->operation, 0, "parameter %zu: unknown kind",
			    i + 1);
		code = exec_bind_one(r->stmt, (int)i + 1, &params[i]);
		if (code != SQLITE_OK)
			return exec_fail(r, code);
	}
	return SGATE_OK;
}

/* A REAL becomes text: there is no kind for it. */
static void
exec_column(sqlite3_stmt *stmt, int column, struct sgate_value *out)
{
	*out = (struct sgate_value){0};
	switch (sqlite3_column_type(stmt, column)) {
	case SQLITE_NULL:
		return;
	case SQLITE_INTEGER:
		out->kind = SGATE_VALUE_INTEGER;
		out->integer = sqlite3_column_int64(stmt, column);
		return;
	case SQLITE_BLOB:
		out->kind = SGATE_VALUE_BLOB;
		out->bytes.data = sqlite3_column_blob(stmt, column);
		break;
	default:
		out->kind = SGATE_VALUE_TEXT;
		out->bytes.data =
		    (const char *)sqlite3_column_text(stmt, column);
		break;
	}
	out->bytes.len = (size_t)sqlite3_column_bytes(stmt, column);
	if (out->bytes.data == NULL)
		out->bytes = (struct sgate_bytes){"", 0};
}

static enum sgate_status
exec_rows(struct sql_run *r, sgate_row_fn *row, void *row_arg)
{
	int count = sqlite3_column_count(r->stmt);
	struct sgate_value *values;
	int code = SQLITE_OK;
	bool is_stopped = false;
	int i;

	values = calloc((size_t)count + 1, sizeof(*values));
	if (values == NULL)
		return error_memory(r->err, r->operation);
	while (code == SQLITE_OK && !is_stopped) {
		sqlite_of(r)->may_interrupt = true;
		code = sqlite3_step(r->stmt);
		sqlite_of(r)->may_interrupt = false;
		if (code != SQLITE_ROW)
			break;
		code = SQLITE_OK;
		for (i = 0; i < count; i++)
			exec_column(r->stmt, i, &values[i]);
		if (row != NULL)
			is_stopped = row(row_arg, values, (size_t)count) != 0;
	}
	free(values);
	if (code == SQLITE_OK || code == SQLITE_DONE)
		return SGATE_OK;
	return exec_fail(r, code);
}

enum sgate_status
sqlite_exec(struct durable *d, const char *sql,
    const struct sgate_value *params, size_t params_count, sgate_row_fn *row,
    void *row_arg, struct sgate_error *err)
{
	struct sqlite_store *store = (struct sqlite_store *)d;
	struct sql_run r = {.store = &store->sql,
	    .operation = "exec",
	    .err = err,
	    .which = SQL_STATEMENTS};
	enum sgate_status status;

	error_clear(err);
	if (!store->in_transaction)
		return sql_misused(d, "exec", "needs a transaction", err);
	status = sqlite_enter(store, "exec", err);
	if (status != SGATE_OK)
		return status;
	/* Also while it runs: SQLite may prepare it again. */
	store->is_own_statement = true;
	status = exec_prepare(&r, sql);
	if (status == SGATE_OK)
		status = exec_bind(&r, params, params_count);
	if (status == SGATE_OK)
		status = exec_rows(&r, row, row_arg);
	run_close(&r);
	store->is_own_statement = false;
	return status;
}
