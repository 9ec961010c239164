/*
 * Pictures of the last hour, as SVG within HTML: lines, stacked areas, bands.
 * No script, no style attribute, nothing from elsewhere; well-formed XML,
 * whatever the values are. The classes are page_admin.css's.
 *
 * An SVG has shapes alone and is stretched to the width that there is; what is
 * to be read stands beside it as text, which keeps its size. Whoever does not
 * see it has its title, a description in words, and a table.
 *
 * All values are integers, so that nothing can be infinite or no number.
 */
#ifndef SESSGATE_PICTURE_H
#define SESSGATE_PICTURE_H

#include "buf.h"
#include "history.h"

/* One value for each interval of the hour, oldest first, none below 0. */
#define PICTURE_POINTS HISTORY_INTERVALS
/* Nobody took it: neither 0 nor a line. */
#define PICTURE_NONE INT64_C(-1)
#define PICTURE_LINES_MAX 5
#define PICTURE_STATES_MAX 4

enum picture_unit {
	PICTURE_COUNT,      /* "12" */
	PICTURE_MILLI,      /* thousandths: "1.5" */
	PICTURE_PER_SECOND, /* thousandths: "1.5/s" */
	PICTURE_US,         /* microseconds: "1.5 ms" */
	PICTURE_BYTES       /* "1.5 KiB" */
};
/* A number with its unit, short: three digits, or all of a smaller whole. */
void picture_number(struct buf *out, int64_t value, enum picture_unit unit);

struct picture_line {
	const char *name;
	const int64_t *values; /* PICTURE_POINTS */
};

/* Texts are escaped; id is one of [a-z-]+, and no other picture's. */
struct picture {
	const char *id, *title;
	const char *about; /* a sentence below the title; NULL: none */
	enum picture_unit unit;
	bool is_stacked; /* areas on each other; else lines */
	bool is_peak;    /* the table tells the most of five minutes */
	int64_t end_ms;  /* UTC, of the right edge */
	/* PICTURE_POINTS: where there is data; NULL: where a line is. */
	const bool *is_known;
	size_t count;
	struct picture_line lines[PICTURE_LINES_MAX];
};
void picture_add(struct buf *out, const struct picture *picture);

/* What is in one of a few states: values are indexes into states, whose later
 * ones are drawn higher, and are told of. */
struct picture_band {
	const char *name;
	const int64_t *values;
	const char *states[PICTURE_STATES_MAX]; /* NULL: no more */
};
struct picture_bands {
	const char *id, *title, *about;
	int64_t end_ms;
	size_t count;
	const struct picture_band *bands;
};
void picture_add_bands(struct buf *out, const struct picture_bands *bands);

#endif
