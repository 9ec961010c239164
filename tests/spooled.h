/*
 * A spool in a directory of its own, for tests: frames that are known by a
 * number, so that what is read can be compared with what was written.
 */
#ifndef TESTS_SPOOLED_H
#define TESTS_SPOOLED_H

#include "spool_file.h"

/* The time in the event id of frame 0; frame n is n ms later. */
#define SPOOLED_MS INT64_C(1800000000000)

struct spooled {
	char dir[64]; /* of the test; the spool is "spool" in it */
	char spool_dir[80];
	struct spool_limits limits; /* 64 MiB, no reserve, 15 min */
	struct sgate_error err;
};
void spooled_open(struct spooled *s);
void spooled_close(struct spooled *s);
/* In the spool's directory. */
void spooled_path(const struct spooled *s, const char *name, char out[160]);
/* How many names end so; the last one in out (may be NULL). */
size_t spooled_count(
    const struct spooled *s, const char *suffix, char out[160]);
/* Everything in it is gone. */
void spooled_empty(const struct spooled *s);

/* Another writer or reader of it. */
struct spool *spooled_writer(struct spooled *s);
struct spool_reader *spooled_reader(struct spooled *s);

/* Frame n: texts and lengths of all kinds, always the same. */
void spooled_frame(unsigned n, struct spool_frame *out);
/* The number of a frame that is equal to it; else the test fails. */
unsigned spooled_number(const struct spool_frame *frame);
/* Appends frame n; the answer. */
enum sgate_status spooled_append(
    struct spooled *s, struct spool *spool, unsigned n, bool is_synced);
/* Appends frames from..to-1, not synced. */
void spooled_fill(struct spooled *s, unsigned from, unsigned to);

/* Looks until all is seen: whole, or nothing changes any more. */
void spooled_look(struct spooled *s, struct spool_reader *reader);
/*
 * All that a store has not got, by a pass: numbers in `out`, up to max; how
 * many. is_done: marks them.
 */
size_t spooled_pass(struct spooled *s, struct spool_reader *reader,
    unsigned store, bool is_done, unsigned *out, size_t max);
/* The same by a reader of its own. */
size_t spooled_read(struct spooled *s, unsigned *out, size_t max);

/* A whole file in memory; free() it. */
unsigned char *spooled_load(const char *path, size_t *out_len);
void spooled_store(const char *path, const unsigned char *bytes, size_t len);

#endif
