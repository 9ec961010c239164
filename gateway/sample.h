/*
 * What a sample of the last hour holds (lib/history.h), and how it is taken.
 * Counters are as they stand, so that what happened in an interval is a
 * difference. What is no counter is looked at many times in an interval, and
 * the worst that was seen is kept: an outage of half a second is there, too.
 */
#ifndef SESSGATE_SAMPLE_H
#define SESSGATE_SAMPLE_H

#include "serve.h"

/* Where the values of a sample stand. */
enum sample_value {
	SAMPLE_COUNTERS = 0, /* enum tally_counter */
	SAMPLE_REASONS = SAMPLE_COUNTERS + TALLY_COUNTERS,
	SAMPLE_STORES = SAMPLE_REASONS + SGATE_REASON_COUNT,
	SAMPLE_WORKER_DEATHS = SAMPLE_STORES + STORES_COUNTERS,
	SAMPLE_RELOADS,
	SAMPLE_OUTCOMES, /* of checks, by struct tally: however they came */
	SAMPLE_CHECK_TIMES = SAMPLE_OUTCOMES + TALLY_OUTCOMES, /* buckets */
	SAMPLE_CHANGE_TIMES = SAMPLE_CHECK_TIMES + TALLY_BUCKETS,

	/* From here on no counters; UINT64_MAX: not known. */
	SAMPLE_STATES = SAMPLE_CHANGE_TIMES + TALLY_BUCKETS,
	SAMPLE_SERVING = SAMPLE_STATES, /* enum outage */
	SAMPLE_DURABLE,                 /* enum sample_store */
	SAMPLE_CACHE,
	SAMPLE_MAINTENANCE,  /* enum sample_maintenance, of any realm */
	SAMPLE_WORKERS,      /* that take requests */
	SAMPLE_BUSY_MOST,    /* of these, busy at once */
	SAMPLE_BUSY_MEAN,    /* thousandths */
	SAMPLE_FENCE_AGE_MS, /* of the worst group */
	SAMPLE_GROUPS_BEHIND,
	SAMPLE_SPOOL_EVENTS, /* that a store has not got */
	SAMPLE_SPOOL_BYTES,
	SAMPLE_DURABLE_US, /* how long the probe took */
	SAMPLE_CACHE_US,
	SAMPLE_LIVE, /* sessions */
	SAMPLE_VALUES
};
#define SAMPLE_UNKNOWN UINT64_MAX
_Static_assert(SAMPLE_VALUES <= HISTORY_VALUES, "a sample has room for all");

/* Of two the larger one is worse. */
enum sample_store {
	SAMPLE_STORE_USED,
	SAMPLE_STORE_HALF, /* its breaker lets some ask */
	SAMPLE_STORE_OPEN, /* its breaker is open: it is not asked */
	SAMPLE_STORE_DOWN  /* the same, and the keeper found it down */
};
enum sample_maintenance {
	SAMPLE_MAINTENANCE_OFF,
	SAMPLE_MAINTENANCE_NORMAL,
	SAMPLE_MAINTENANCE_EMERGENCY
};

/* What was seen since the last sample; zeros to begin with. */
struct sampler {
	int64_t interval; /* that is looked at; 0: none yet */
	uint64_t looks, busy;
	uint64_t worst[SAMPLE_VALUES - SAMPLE_STATES];
};

/* A look at this moment of clock_boot_ms(); where another interval begins, a
 * sample is put into shared memory. */
void sample_look(
    struct sampler *sampler, const struct gateway *gw, int64_t now_ms);

/* ---- of the samples of an hour, as history_read() gives them ---- */

/* How much a counter has grown in the interval from sample `i` to the next;
 * below 0: not known, as where a counter has fallen. */
int64_t sample_growth(
    const struct history_sample *samples, size_t i, int counter);
/* The same in thousandths a second, for each interval. */
void sample_rates(const struct history_sample *samples, int counter,
    int64_t out[HISTORY_INTERVALS]);
/*
 * Below what that share (0 to 1) of the times were, in microseconds, of the
 * intervals from `from` on and before `to`; below 0: there were none, or
 * nothing is known. times: SAMPLE_CHECK_TIMES, SAMPLE_CHANGE_TIMES.
 */
int64_t sample_quantile_us(const struct history_sample *samples, size_t from,
    size_t to, int times, double share);
/* What is no counter, times factor; below 0: not known. */
void sample_states(const struct history_sample *samples,
    enum sample_value which, int64_t factor, int64_t out[HISTORY_INTERVALS]);

#endif
