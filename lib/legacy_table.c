/*
 * What the sources of MySQL and SQLite ask a table: one statement for both, but
 * for how bytes are had as they were stored.
 */
#include "config.h"

#include "legacy_own.h"

#include <string.h>

#include "status.h"

/* No quoting rule to get wrong: other names are refused. */
static bool
is_name(const char *name)
{
	return bytes_is_name(bytes_of(name), 64, "_$.-");
}

static enum sgate_status
check_names(const struct legacy_settings *settings, const char *source,
    struct sgate_error *err)
{
	const struct {
		const char *option, *name;
	} names[] = {{"table", legacy_table(settings)},
	    {"id-column", legacy_id_column(settings)},
	    {"data-column", legacy_data_column(settings)},
	    {"expiry-column", legacy_expiry_column(settings)}};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].name == NULL && i >= 2)
			continue;
		if (names[i].name == NULL)
			return error_set(err, SGATE_INVALID, source, "open", 0,
			    "its makers give it no %s: say which with --%s",
			    names[i].option, names[i].option);
		if (!is_name(names[i].name))
			return error_set(err, SGATE_INVALID, source, "open", 0,
			    "--%s: \"%.64s\" is no name; it must be up to 64 "
			    "of [A-Za-z0-9_$.-]",
			    names[i].option, names[i].name);
	}
	return SGATE_OK;
}

static void
add_column(
    struct buf *out, const char *before, const char *name, const char *behind)
{
	if (name == NULL)
		buf_add_text(out, ", ''");
	else
		buf_printf(out, ", %s`%s`%s", before, name, behind);
}

static void
add_select(struct buf *out, const struct legacy_settings *settings,
    const struct legacy_dialect *d)
{
	const char *const *more = settings->reader->columns;
	size_t i;

	buf_printf(out, "SELECT %s`%s`%s", d->text_before,
	    legacy_id_column(settings), d->text_behind);
	add_column(out, d->bytes_before, legacy_data_column(settings),
	    d->bytes_behind);
	add_column(out, d->text_before, legacy_expiry_column(settings),
	    d->text_behind);
	for (i = 0; more != NULL && more[i] != NULL; i++)
		add_column(out, d->text_before, more[i], d->text_behind);
	buf_printf(out, " FROM `%s` WHERE `%s` ", legacy_table(settings),
	    legacy_id_column(settings));
}

enum sgate_status
legacy_query_make(const struct legacy_settings *settings,
    const struct legacy_dialect *dialect, struct legacy_query *out,
    struct sgate_error *err)
{
	const char *const *more = settings->reader->columns;
	enum sgate_status status = check_names(settings, dialect->source, err);

	memset(out, 0, sizeof(*out));
	if (status != SGATE_OK)
		return status;
	out->columns = LEGACY_COLUMN_MORE;
	while (more != NULL && *more++ != NULL)
		out->columns++;
	add_select(&out->after, settings, dialect);
	buf_printf(&out->after, "> ? ORDER BY `%s` LIMIT %d",
	    legacy_id_column(settings), LEGACY_ROWS);
	add_select(&out->one, settings, dialect);
	buf_add_text(&out->one, "= ? LIMIT 1");
	return buf_failed(&out->after) || buf_failed(&out->one)
		   ? error_memory(err, "open")
		   : SGATE_OK;
}

void
legacy_query_clear(struct legacy_query *query)
{
	buf_clear(&query->after);
	buf_clear(&query->one);
}

void
legacy_query_take(const struct legacy_settings *settings,
    const struct legacy_query *query, const struct legacy_field *columns,
    struct legacy_field *fields, struct legacy_raw *out)
{
	const char *const *names = settings->reader->columns;
	size_t i;

	out->id = columns[LEGACY_COLUMN_ID].value;
	out->body = columns[LEGACY_COLUMN_DATA].value;
	out->expiry = columns[LEGACY_COLUMN_EXPIRY].value;
	if (out->body.len > LEGACY_BODY_MAX)
		out->why = LEGACY_WHY_LARGE;
	out->fields_count = query->columns - LEGACY_COLUMN_MORE;
	if (out->fields_count == 0)
		return;
	out->fields = fields;
	for (i = 0; i < out->fields_count; i++) {
		fields[i] = columns[LEGACY_COLUMN_MORE + i];
		fields[i].name = bytes_of(names[i]);
	}
}
