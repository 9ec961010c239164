/*
 * Sessions that are rows of a table of MySQL. The account needs SELECT on that
 * table and nothing else.
 */
#include "config.h"

#include "legacy_own.h"

#include <stdlib.h>
#include <string.h>

#include <mysql.h>

#include "status.h"

#define DEFAULT_PORT 3306

struct table {
	struct legacy_source source;
	const struct legacy_settings *settings;
	MYSQL *mysql;
	MYSQL_STMT *after, *one;
	struct legacy_query query;
	struct buf last; /* id */
	unsigned rows;   /* that this time's question has given */
	bool is_asked;
	/* One buffer for the data, the others are short. */
	struct buf memory;
	MYSQL_BIND binds[LEGACY_COLUMNS_MAX];
	unsigned long lengths[LEGACY_COLUMNS_MAX];
	my_bool nulls[LEGACY_COLUMNS_MAX];
	struct legacy_field columns[LEGACY_COLUMNS_MAX];
	struct legacy_field fields[LEGACY_COLUMNS_MAX];
};

/* What is longer than may be, is one byte longer. */
static const struct legacy_dialect dialect = {.source = "mysql",
    .bytes_before = "LEFT(CAST(",
    .bytes_behind = " AS BINARY), 1048577)",
    .text_before = "LEFT(CAST(",
    .text_behind = " AS CHAR), 1024)"};

static void
table_close(struct legacy_source *source)
{
	struct table *table = (struct table *)source;

	if (table->after != NULL)
		mysql_stmt_close(table->after);
	if (table->one != NULL)
		mysql_stmt_close(table->one);
	if (table->mysql != NULL)
		mysql_close(table->mysql);
	legacy_query_clear(&table->query);
	buf_wipe(&table->last);
	buf_wipe(&table->memory);
	free(table);
}

/* The server's own words: of the account, the table, the column. */
static enum sgate_status
fail(const char *operation, unsigned code, const char *text,
    struct sgate_error *err)
{
	return error_set(err, SGATE_UNAVAILABLE, "mysql", operation, (int)code,
	    "%s: %.200s", operation, text);
}

static enum sgate_status
fail_stmt(MYSQL_STMT *stmt, const char *operation, struct sgate_error *err)
{
	return fail(
	    operation, mysql_stmt_errno(stmt), mysql_stmt_error(stmt), err);
}

/* ---- opening ---- */

static enum sgate_status
connect_to(struct table *table, const struct legacy_address *address,
    struct sgate_error *err)
{
	const struct legacy_settings *settings = table->settings;
	const unsigned seconds = LEGACY_WAIT_MS / 1000, no = 0;

	table->mysql = mysql_init(NULL);
	if (table->mysql == NULL)
		return error_memory(err, "connect");
	mysql_options(table->mysql, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
	mysql_options(table->mysql, MYSQL_OPT_READ_TIMEOUT, &seconds);
	mysql_options(table->mysql, MYSQL_OPT_WRITE_TIMEOUT, &seconds);
	/* No server gets a file of ours. */
	mysql_options(table->mysql, MYSQL_OPT_LOCAL_INFILE, &no);
	mysql_options(table->mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	if (mysql_real_connect(table->mysql, address->host, settings->account,
		settings->password, address->database, address->port,
		address->path, 0) == NULL)
		return fail("connect", mysql_errno(table->mysql),
		    mysql_error(table->mysql), err);
	return SGATE_OK;
}

static void
bind_columns(struct table *table)
{
	size_t i, at = 0;

	for (i = 0; i < table->query.columns; i++) {
		MYSQL_BIND *bind = &table->binds[i];

		bind->buffer_type = i == LEGACY_COLUMN_DATA ? MYSQL_TYPE_BLOB
							    : MYSQL_TYPE_STRING;
		bind->buffer = table->memory.data + at;
		bind->buffer_length = i == LEGACY_COLUMN_DATA
					  ? LEGACY_BODY_MAX + 1
					  : LEGACY_COLUMN_BYTES_MAX;
		bind->length = &table->lengths[i];
		bind->is_null = &table->nulls[i];
		at += bind->buffer_length;
	}
}

static enum sgate_status
prepare(struct table *table, const struct buf *text, MYSQL_STMT **out,
    struct sgate_error *err)
{
	*out = mysql_stmt_init(table->mysql);
	if (*out == NULL)
		return error_memory(err, "prepare");
	if (mysql_stmt_prepare(*out, text->data, text->len) != 0 ||
	    mysql_stmt_bind_result(*out, table->binds) != 0)
		return fail_stmt(*out, "prepare", err);
	return SGATE_OK;
}

static enum sgate_status
open_table(struct table *table, const char *text, struct sgate_error *err)
{
	struct legacy_address address;
	enum sgate_status status;

	if (!legacy_address_parse(text, DEFAULT_PORT, &address) ||
	    address.database[0] == '\0')
		status = error_set(err, SGATE_INVALID, "mysql", "open", 0,
		    "\"mysql:%.100s\": give mysql:DATABASE@HOST:PORT or "
		    "mysql:DATABASE@/SOCKET",
		    text);
	else
		status = connect_to(table, &address, err);
	legacy_address_clear(&address);
	if (status != SGATE_OK)
		return status;
	if (buf_extend(&table->memory,
		LEGACY_BODY_MAX + 1 +
		    table->query.columns * LEGACY_COLUMN_BYTES_MAX) == NULL)
		return error_memory(err, "open");
	bind_columns(table);
	status = prepare(table, &table->query.after, &table->after, err);
	if (status == SGATE_OK)
		status = prepare(table, &table->query.one, &table->one, err);
	return status;
}

static enum sgate_status
table_open(const struct legacy_settings *settings, const char *text,
    struct legacy_source **out, struct sgate_error *err)
{
	struct table *table = calloc(1, sizeof(*table));
	enum sgate_status status;

	if (table == NULL)
		return error_memory(err, "open");
	table->source.type = &legacy_mysql;
	table->settings = settings;
	status = legacy_query_make(settings, &dialect, &table->query, err);
	if (status == SGATE_OK)
		status = open_table(table, text, err);
	if (status == SGATE_OK)
		*out = &table->source;
	else
		table_close(&table->source);
	return status;
}

/* ---- reading ---- */

static enum sgate_status
ask(MYSQL_STMT *stmt, struct sgate_bytes id, struct sgate_error *err)
{
	char copy[LEGACY_COLUMN_BYTES_MAX];
	unsigned long len = id.len;
	MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_STRING,
	    .buffer = copy,
	    .buffer_length = sizeof(copy),
	    .length = &len};
	enum sgate_status status = SGATE_OK;

	if (id.len > sizeof(copy))
		return error_set(err, SGATE_INTERNAL, "mysql", "ask", 0,
		    "an id of %zu bytes", id.len);
	if (id.len > 0)
		memcpy(copy, id.data, id.len);
	if (mysql_stmt_bind_param(stmt, &bind) != 0 ||
	    mysql_stmt_execute(stmt) != 0)
		status = fail_stmt(stmt, "read", err);
	explicit_bzero(copy, id.len);
	return status;
}

/* SGATE_NOT_FOUND: no more rows. */
static enum sgate_status
take_row(struct table *table, MYSQL_STMT *stmt, struct legacy_raw *out,
    struct sgate_error *err)
{
	size_t i;
	int code = mysql_stmt_fetch(stmt);

	if (code == MYSQL_NO_DATA) {
		mysql_stmt_free_result(stmt);
		return SGATE_NOT_FOUND;
	}
	if (code != 0 && code != MYSQL_DATA_TRUNCATED)
		return fail_stmt(stmt, "read", err);
	for (i = 0; i < table->query.columns; i++) {
		size_t len = table->lengths[i];
		size_t max = table->binds[i].buffer_length;

		table->columns[i].is_null = table->nulls[i] != 0;
		table->columns[i].value.data = table->binds[i].buffer;
		table->columns[i].value.len = table->nulls[i] != 0 ? 0
					      : len < max          ? len
								   : max;
	}
	legacy_query_take(
	    table->settings, &table->query, table->columns, table->fields, out);
	return SGATE_OK;
}

static enum sgate_status
table_next(struct legacy_source *source, struct legacy_raw *out,
    struct sgate_error *err)
{
	struct table *table = (struct table *)source;
	enum sgate_status status;

	for (;;) {
		if (!table->is_asked) {
			status =
			    ask(table->after, buf_bytes(&table->last), err);
			if (status != SGATE_OK)
				return status;
			table->is_asked = true;
			table->rows = 0;
		}
		status = take_row(table, table->after, out, err);
		if (status != SGATE_NOT_FOUND)
			break;
		table->is_asked = false;
		if (table->rows < LEGACY_ROWS)
			return SGATE_NOT_FOUND;
	}
	if (status != SGATE_OK)
		return status;
	table->rows++;
	buf_reset(&table->last);
	buf_add_bytes(&table->last, out->id);
	return buf_failed(&table->last) ? error_memory(err, "read") : SGATE_OK;
}

static enum sgate_status
table_find(struct legacy_source *source, struct sgate_bytes id,
    struct legacy_raw *out, struct sgate_error *err)
{
	struct table *table = (struct table *)source;
	enum sgate_status status;

	/* The walk is given up: it holds the connection. */
	mysql_stmt_free_result(table->after);
	table->is_asked = false;
	status = ask(table->one, id, err);
	if (status == SGATE_OK)
		status = take_row(table, table->one, out, err);
	return status;
}

const struct legacy_source_type legacy_mysql = {
    "mysql:", LEGACY_TABLE, table_open, table_close, table_next, table_find};
