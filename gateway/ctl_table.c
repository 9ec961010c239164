/* Tables and times for people. */
#include "config.h"

#include "ctl_table.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* ---- text ---- */

/*
 * Characters that a terminal acts upon instead of showing them: C1 controls
 * (U+0080 to U+009F), line separators, and the bidirectional controls of
 * Unicode (UAX 9) with which text can be made to read as other text.
 */
static bool
is_harmful(const unsigned char *c, size_t len)
{
	if (len == 1)
		return c[0] < 0x20 || c[0] == 0x7f;
	if (len == 2)
		return c[0] == 0xc2 && c[1] < 0xa0;
	if (len == 3 && c[0] == 0xe2 && c[1] == 0x80)
		return c[2] == 0x8e || c[2] == 0x8f ||
		       (c[2] >= 0xa8 && c[2] <= 0xae);
	return len == 3 && c[0] == 0xe2 && c[1] == 0x81 && c[2] >= 0xa6 &&
	       c[2] <= 0xa9;
}

void
ctl_add_clean(struct buf *out, struct sgate_bytes bytes)
{
	const unsigned char *c;
	size_t len, i;

	while (bytes.len > 0) {
		c = (const unsigned char *)bytes.data;
		len = bytes_utf8_length(bytes);
		if (len == 0 || is_harmful(c, len)) {
			len = len == 0 ? 1 : len;
			for (i = 0; i < len; i++)
				buf_printf(out, "\\x%02x", c[i]);
		} else {
			buf_add(out, bytes.data, len);
		}
		bytes.data += len;
		bytes.len -= len;
	}
}

/* Columns on a terminal, one a character: good enough for names. */
static size_t
width(struct sgate_bytes text)
{
	size_t i, n = 0;

	for (i = 0; i < text.len; i++)
		if (((unsigned char)text.data[i] & 0xc0) != 0x80)
			n++;
	return n;
}

/* ---- time ---- */

void
ctl_add_duration(struct buf *out, int64_t ms)
{
	int64_t seconds = ms / 1000;

	if (seconds < 1)
		buf_printf(out, "%" PRId64 " ms", ms);
	else if (seconds < 60)
		buf_printf(out, "%" PRId64 " s", seconds);
	else if (seconds < 3600)
		buf_printf(out, "%" PRId64 " min", seconds / 60);
	else if (seconds < 86400 && seconds % 3600 >= 60)
		buf_printf(out, "%" PRId64 " h %" PRId64 " min", seconds / 3600,
		    seconds % 3600 / 60);
	else if (seconds < 2 * 86400)
		buf_printf(out, "%" PRId64 " h", seconds / 3600);
	else
		buf_printf(out, "%" PRId64 " days", seconds / 86400);
}

void
ctl_add_time(struct buf *out, int64_t utc_ms, int64_t now_ms)
{
	time_t seconds = (time_t)(utc_ms / 1000);
	int64_t past;
	struct tm tm;
	char text[64];

	if (localtime_r(&seconds, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %z", &tm) == 0) {
		buf_printf(out, "%" PRId64 " ms", utc_ms);
		return;
	}
	buf_add_text(out, text);
	past = now_ms - utc_ms;
	if (past > -1000 && past < 1000) {
		buf_add_text(out, " (now)");
		return;
	}
	/* What is ahead is rounded up: half an hour from now is 30 min. */
	buf_add_text(out, past < 0 ? " (in " : " (");
	ctl_add_duration(out, past < 0 ? 999 - past : past);
	buf_add_text(out, past < 0 ? ")" : " ago)");
}

/* ---- tables ---- */

static void
end_cell(struct ctl_table *table)
{
	size_t end = table->text.len;

	buf_add(&table->ends, &end, sizeof(end));
	table->cells++;
}

void
ctl_table_init(
    struct ctl_table *table, size_t columns, const char *const *headers)
{
	size_t i;

	memset(table, 0, sizeof(*table));
	table->columns = columns;
	for (i = 0; headers != NULL && i < columns; i++)
		ctl_table_text(table, headers[i]);
}

void
ctl_table_clear(struct ctl_table *table)
{
	/* create --print-token puts the token in a cell. */
	buf_wipe(&table->text);
	buf_clear(&table->ends);
	table->cells = 0;
}

void
ctl_table_add(struct ctl_table *table, struct sgate_bytes value)
{
	if (value.len == 0)
		buf_add_char(&table->text, '-');
	else
		ctl_add_clean(&table->text, value);
	end_cell(table);
}

void
ctl_table_text(struct ctl_table *table, const char *value)
{
	ctl_table_add(table, bytes_of(value));
}

void
ctl_table_int(struct ctl_table *table, int64_t value)
{
	buf_add_int(&table->text, value);
	end_cell(table);
}

void
ctl_table_time(struct ctl_table *table, int64_t utc_ms, int64_t now_ms)
{
	if (utc_ms == 0)
		buf_add_char(&table->text, '-');
	else
		ctl_add_time(&table->text, utc_ms, now_ms);
	end_cell(table);
}

void
ctl_table_pair(
    struct ctl_table *table, const char *name, struct sgate_bytes value)
{
	ctl_table_text(table, name);
	ctl_table_add(table, value);
}

static struct sgate_bytes
cell(const struct ctl_table *table, size_t index)
{
	struct sgate_bytes text;
	size_t begin = 0, end;

	/* The array lies in a buffer of bytes: copied out for alignment. */
	memcpy(&end, table->ends.data + index * sizeof(end), sizeof(end));
	if (index > 0)
		memcpy(&begin, table->ends.data + (index - 1) * sizeof(end),
		    sizeof(begin));
	text.data = table->text.data + begin;
	text.len = end - begin;
	return text;
}

bool
ctl_table_print(const struct ctl_table *table, FILE *out)
{
	size_t widths[CTL_TABLE_COLUMNS_MAX] = {0};
	struct sgate_bytes text;
	size_t i, column, w;

	if (buf_failed(&table->text) || buf_failed(&table->ends) ||
	    table->columns == 0 || table->columns > CTL_TABLE_COLUMNS_MAX)
		return false;
	for (i = 0; i < table->cells; i++) {
		w = width(cell(table, i));
		if (w > widths[i % table->columns])
			widths[i % table->columns] = w;
	}
	for (i = 0; i < table->cells; i++) {
		column = i % table->columns;
		text = cell(table, i);
		fwrite(text.data, 1, text.len, out);
		if (column + 1 == table->columns || i + 1 == table->cells)
			fputc('\n', out);
		else
			fprintf(out, "%*s",
			    (int)(widths[column] - width(text) + 2), "");
	}
	return true;
}
