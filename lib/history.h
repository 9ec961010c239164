/*
 * The last hour in samples, for pictures: in shared memory, of fixed size,
 * written by one process and read by all without a lock. What the values mean
 * is the sampler's (gateway/sample.h); here they are words.
 *
 * The hour is cut into intervals by the clock since boot, which nobody sets.
 * An interval's sample has one place in the ring, and says which interval it is
 * of. So a reader sees by itself where nobody took samples: what stands there
 * is of an hour ago, or of none. Zeros: there is none yet.
 */
#ifndef SESSGATE_HISTORY_H
#define SESSGATE_HISTORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_EVERY_MS 10000
/* An hour of intervals has one sample more at its beginning. */
#define HISTORY_INTERVALS 360
#define HISTORY_SAMPLES (HISTORY_INTERVALS + 1)
#define HISTORY_VALUES 192

/* A place: odd while it is written, and for good if the writer died in it. */
struct history_place {
	_Atomic uint64_t turn;
	_Atomic int64_t interval;
	_Atomic int64_t at_ms;
	_Atomic uint64_t values[HISTORY_VALUES];
};

struct history {
	struct history_place places[HISTORY_SAMPLES];
};

struct history_sample {
	bool is_there;
	int64_t at_ms; /* clock_boot_ms() */
	uint64_t values[HISTORY_VALUES];
};

/* Which interval a moment of clock_boot_ms() begins or lies in. */
static inline int64_t
history_interval(int64_t at_ms)
{
	return at_ms / HISTORY_EVERY_MS;
}

/* One writer at a time. at_ms: clock_boot_ms(), not negative. */
void history_put(struct history *history, int64_t at_ms,
    const uint64_t values[HISTORY_VALUES]);

/* Whether there is one of the interval that this moment lies in. */
bool history_has(const struct history *history, int64_t at_ms);

/*
 * Copies the samples up to now, oldest first; where none was taken, or one is
 * just being written, is_there is false. Moments are not in the future, and lie
 * in their interval: all else may be anything, as always in shared memory.
 */
void history_read(const struct history *history, int64_t now_ms,
    struct history_sample out[HISTORY_SAMPLES]);

#endif
