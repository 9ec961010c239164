/* Sessions that are rows of a table in a file of SQLite. Opened to read alone.
 */
#include "config.h"

#include "legacy_own.h"

#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "status.h"

struct table {
	struct legacy_source source;
	const struct legacy_settings *settings;
	sqlite3 *db;
	sqlite3_stmt *after, *one;
	struct legacy_query query;
	struct buf last; /* id */
	unsigned rows;   /* that this time's question has given */
	bool is_asked;
	struct legacy_field columns[LEGACY_COLUMNS_MAX];
	struct legacy_field fields[LEGACY_COLUMNS_MAX];
};

/* What is longer than may be, is one byte longer. */
static const struct legacy_dialect dialect = {.source = "sqlite",
    .bytes_before = "substr(CAST(",
    .bytes_behind = " AS BLOB), 1, 1048577)",
    .text_before = "substr(CAST(",
    .text_behind = " AS TEXT), 1, 4096)"};

static void
table_close(struct legacy_source *source)
{
	struct table *table = (struct table *)source;

	sqlite3_finalize(table->after);
	sqlite3_finalize(table->one);
	sqlite3_close(table->db);
	legacy_query_clear(&table->query);
	buf_wipe(&table->last);
	free(table);
}

static enum sgate_status
fail(const struct table *table, const char *operation, struct sgate_error *err)
{
	int code = sqlite3_extended_errcode(table->db);

	return error_set(err,
	    code == SQLITE_ERROR || (code & 0xff) == SQLITE_CANTOPEN ||
		    (code & 0xff) == SQLITE_NOTADB
		? SGATE_INVALID
		: SGATE_UNAVAILABLE,
	    "sqlite", operation, code, "%.100s: %.150s", table->settings->place,
	    sqlite3_errmsg(table->db));
}

static enum sgate_status
prepare(struct table *table, struct sgate_error *err)
{
	const struct buf *after = &table->query.after, *one = &table->query.one;

	sqlite3_busy_timeout(table->db, LEGACY_WAIT_MS);
	if (sqlite3_prepare_v2(table->db, after->data, (int)after->len,
		&table->after, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(table->db, one->data, (int)one->len, &table->one,
		NULL) != SQLITE_OK)
		return fail(table, "prepare", err);
	return SGATE_OK;
}

static enum sgate_status
table_open(const struct legacy_settings *settings, const char *path,
    struct legacy_source **out, struct sgate_error *err)
{
	struct table *table = calloc(1, sizeof(*table));
	enum sgate_status status;

	if (table == NULL)
		return error_memory(err, "open");
	table->source.type = &legacy_sqlite;
	table->settings = settings;
	status = legacy_query_make(settings, &dialect, &table->query, err);
	if (status == SGATE_OK &&
	    sqlite3_open_v2(path, &table->db,
		SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		status = fail(table, "open", err);
	if (status == SGATE_OK)
		status = prepare(table, err);
	if (status == SGATE_OK)
		*out = &table->source;
	else
		table_close(&table->source);
	return status;
}

static enum sgate_status
take_row(struct table *table, sqlite3_stmt *stmt, struct legacy_raw *out,
    struct sgate_error *err)
{
	size_t i;

	for (i = 0; i < table->query.columns; i++) {
		const void *data = sqlite3_column_blob(stmt, (int)i);
		int len = sqlite3_column_bytes(stmt, (int)i);

		table->columns[i].is_null =
		    sqlite3_column_type(stmt, (int)i) == SQLITE_NULL;
		table->columns[i].value =
		    (struct sgate_bytes){data, (size_t)len};
		if (data == NULL && len > 0)
			return error_memory(err, "read");
	}
	legacy_query_take(
	    table->settings, &table->query, table->columns, table->fields, out);
	return SGATE_OK;
}

static enum sgate_status
ask(struct table *table, sqlite3_stmt *stmt, struct sgate_bytes id,
    struct sgate_error *err)
{
	sqlite3_reset(stmt);
	if (sqlite3_bind_text(stmt, 1, id.len == 0 ? "" : id.data, (int)id.len,
		SQLITE_TRANSIENT) != SQLITE_OK)
		return fail(table, "bind", err);
	return SGATE_OK;
}

static enum sgate_status
table_next(struct legacy_source *source, struct legacy_raw *out,
    struct sgate_error *err)
{
	struct table *table = (struct table *)source;
	enum sgate_status status;
	int code;

	for (;;) {
		if (!table->is_asked) {
			status = ask(
			    table, table->after, buf_bytes(&table->last), err);
			if (status != SGATE_OK)
				return status;
			table->is_asked = true;
			table->rows = 0;
		}
		code = sqlite3_step(table->after);
		if (code == SQLITE_ROW)
			break;
		if (code != SQLITE_DONE)
			return fail(table, "read", err);
		sqlite3_reset(table->after);
		table->is_asked = false;
		if (table->rows < LEGACY_ROWS)
			return SGATE_NOT_FOUND;
	}
	table->rows++;
	status = take_row(table, table->after, out, err);
	buf_reset(&table->last);
	buf_add_bytes(&table->last, out->id);
	return buf_failed(&table->last) ? error_memory(err, "read") : status;
}

static enum sgate_status
table_find(struct legacy_source *source, struct sgate_bytes id,
    struct legacy_raw *out, struct sgate_error *err)
{
	struct table *table = (struct table *)source;
	enum sgate_status status = ask(table, table->one, id, err);
	int code;

	if (status != SGATE_OK)
		return status;
	code = sqlite3_step(table->one);
	if (code == SQLITE_DONE)
		return SGATE_NOT_FOUND;
	return code == SQLITE_ROW ? take_row(table, table->one, out, err)
				  : fail(table, "read", err);
}

const struct legacy_source_type legacy_sqlite = {
    "sqlite:", LEGACY_TABLE, table_open, table_close, table_next, table_find};
