/*
 * What sessgatectl prints for people: aligned tables and moments of time.
 * Everything that came from outside goes through ctl_add_clean() on its way to
 * a terminal.
 */
#ifndef SESSGATE_CTL_TABLE_H
#define SESSGATE_CTL_TABLE_H

#include <stdio.h>

#include "buf.h"

#define CTL_TABLE_COLUMNS_MAX 12

struct ctl_table {
	size_t columns;
	size_t cells; /* complete ones */
	struct buf text;
	struct buf ends; /* where each cell ends in text: array of size_t */
};

/* headers: `columns` of them, or NULL for a table of names and values. */
void ctl_table_init(
    struct ctl_table *table, size_t columns, const char *const *headers);
void ctl_table_clear(struct ctl_table *table);
/* The next cell, left to right; an empty one is shown as "-". */
void ctl_table_add(struct ctl_table *table, struct sgate_bytes value);
void ctl_table_text(struct ctl_table *table, const char *value);
void ctl_table_int(struct ctl_table *table, int64_t value);
/* A moment as ctl_add_time() writes it; 0 is "-". */
void ctl_table_time(struct ctl_table *table, int64_t utc_ms, int64_t now_ms);
/* A name and its value, for tables of two columns. */
void ctl_table_pair(
    struct ctl_table *table, const char *name, struct sgate_bytes value);
/* False when memory ran out (nothing is printed then). */
SGATE_MUST_CHECK bool ctl_table_print(const struct ctl_table *table, FILE *out);

/*
 * For a terminal: control characters (C0, DEL, C1, the ones that turn the
 * direction of text) and bytes that are not UTF-8 become \xNN.
 */
void ctl_add_clean(struct buf *out, struct sgate_bytes bytes);
/* "2026-11-22 14:03:05 +0100 (3 min ago)" in local time. */
void ctl_add_time(struct buf *out, int64_t utc_ms, int64_t now_ms);
/* "3 min", "2 h 5 min", "12 days". */
void ctl_add_duration(struct buf *out, int64_t ms);

#endif
