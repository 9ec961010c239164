/*
 * Inside the reader of the spool: a file as it knows it, and walking its
 * frames. spool_read.c and spool_scan.c alone include this.
 */
#ifndef SESSGATE_SPOOL_READER_H
#define SESSGATE_SPOOL_READER_H

#include "spool_file.h"

/* The stores, as places in arrays: 1 << index is its bit SPOOL_TO_*. */
#define SPOOL_STORES 2

#define SPOOL_WINDOW_BYTES 8192

/* What is held of a file only while it is walked. */
struct spool_scan {
	/* Of the file, from `at` on; larger only while a large frame is looked
	 * at. */
	unsigned char *bytes;
	size_t size;
	int64_t at;
	size_t len;
	/* The next frame of the pass; offset -1: none. */
	int64_t head;
	size_t head_len;
	struct spool_frame frame;
};

struct spool_reader_file {
	char stem[SPOOL_STEM_MAX + 1];
	unsigned char writer[SPOOL_WRITER_BYTES];
	bool is_seen; /* in the directory, by the last look */
	bool is_foreign;
	int64_t bytes; /* at the last look */
	/* All frames that begin before this are counted below. */
	int64_t known;
	uint64_t pending[SPOOL_STORES];
	int64_t from[SPOOL_STORES];      /* none is pending before this */
	int64_t oldest_ms[SPOOL_STORES]; /* of those; 0: none */
	int64_t newest_ms;               /* of all its frames */
	struct spool_marks marks[SPOOL_STORES];
	bool is_changed;      /* marks, since they were written */
	int64_t done_boot_ms; /* since when nothing is pending; 0: it is */
	struct spool_scan *scan;
};

/* ---- spool_scan.c ---- */

/*
 * The next frame at or behind *offset that ends at or before `limit`. SGATE_OK:
 * *offset is where it begins, *out_len its length; out->record is borrowed till
 * the file is read on. SGATE_NOT_FOUND: none; SGATE_UNAVAILABLE: it cannot be
 * told; SGATE_NO_MEMORY.
 */
SGATE_MUST_CHECK enum sgate_status spool_scan_next(int dir,
    struct spool_reader_file *file, int64_t *offset, int64_t limit,
    struct spool_frame *out, size_t *out_len, struct sgate_error *err);
/* Whether a frame begins at `offset` that the file, as long as `limit`, cuts.
 */
bool spool_scan_is_cut(
    int dir, struct spool_reader_file *file, int64_t offset, int64_t limit);
/* Whether its header says that it is of another version, and if it is right
 * where the frames begin; else 0. */
SGATE_MUST_CHECK enum sgate_status spool_scan_header(int dir,
    struct spool_reader_file *file, enum spool_header *out_header,
    struct sgate_error *err);
/*
 * Finds the next frame at or behind `offset` that a store (by index) has not
 * got: file->scan->head and ->frame. Answers as above.
 */
SGATE_MUST_CHECK enum sgate_status spool_scan_pending(int dir,
    struct spool_reader_file *file, unsigned index, int64_t offset,
    struct sgate_error *err);
/* Lets go of the memory that a large frame took; the head stays. */
void spool_scan_shrink(struct spool_reader_file *file);
/* Lets go of what was read; the head, too. */
void spool_scan_clear(struct spool_reader_file *file);

#endif
