/*
 * What one process has counted: one struct of words that only grow. A worker's
 * lies in its row of shared memory and is written by it alone, so counting
 * needs no lock; whoever has the row next goes on where it stood, so that no
 * sum falls when a worker ends. All others count in one that they share.
 * Readers add all of them up (shared_sum()).
 */
#ifndef SESSGATE_TALLY_H
#define SESSGATE_TALLY_H

#include <stdatomic.h>
#include <stdint.h>

#include "sessgate.h"
#include "stores.h"

/* What is counted. When you add one, extend tally_counter_name(). */
enum tally_counter {
	TALLY_REQUESTS, /* answered, by front_serve.c; all others elsewhere */
	/* By shared_sum(), from `checks`. */
	TALLY_CHECK_ALLOWED,
	TALLY_CHECK_DENIED,
	TALLY_CHECK_UNAVAILABLE,
	TALLY_API_OK,
	TALLY_API_REFUSED,
	TALLY_API_UNAVAILABLE,
	TALLY_CREATED,
	TALLY_ENDED, /* sessions, by a request; the reaper's: state */
	TALLY_CHANGED,
	TALLY_TOUCHES_QUEUED,
	TALLY_TOUCHES_WRITTEN,
	TALLY_BAD_PEERS, /* closed: no whole request, or a malformed one */
	TALLY_COUNTERS
};
/* "requests", ... Never NULL. */
const char *tally_counter_name(enum tally_counter counter);

/* How a check came, by the names of `sessgatectl config mount`. */
enum tally_mount {
	TALLY_LIGHTTPD,      /* an authorizer, and nothing else known */
	TALLY_APACHE,        /* mod_authnz_fcgi */
	TALLY_APACHE_FCGID,  /* mod_fcgid */
	TALLY_NGINX,         /* a responder with SESSGATE_CHECK */
	TALLY_UNKNOWN_MOUNT, /* whatever else calls itself Apache's */
	TALLY_MOUNTS
};
const char *tally_mount_name(enum tally_mount mount);

/*
 * What a check came to: a reason (SGATE_REASON_OK: a live session was let
 * through), or that somebody without a session was let through.
 */
#define TALLY_ANONYMOUS ((unsigned)SGATE_REASON_COUNT)
#define TALLY_OUTCOMES (SGATE_REASON_COUNT + 1)
/* "ok", "anonymous", or as sgate_reason_text(). */
const char *tally_outcome_name(unsigned outcome);

enum tally_verdict {
	TALLY_ALLOWED,
	TALLY_DENIED,
	TALLY_UNAVAILABLE,
	TALLY_VERDICTS
};
const char *tally_verdict_name(enum tally_verdict verdict);
/* What the answer was: 503 is what no session could have changed. */
enum tally_verdict tally_outcome_verdict(unsigned outcome);

/* Requests that create, change or end sessions, and what came of them. */
enum tally_operation {
	TALLY_NO_OPERATION,
	TALLY_CREATE,
	TALLY_CHANGE,
	TALLY_END,
	TALLY_OPERATIONS
};
const char *tally_operation_name(enum tally_operation operation);
enum tally_result {
	TALLY_RESULT_OK,          /* below 400 */
	TALLY_RESULT_REFUSED,     /* 4xx */
	TALLY_RESULT_UNAVAILABLE, /* 5xx */
	TALLY_RESULTS
};
const char *tally_result_name(enum tally_result result);

/*
 * Times from the last byte of a request to its answer, by upper bounds of 20 us
 * to 10 s; the last bucket has none. A bucket has what is not in one before.
 */
#define TALLY_BUCKETS 19
extern const uint64_t tally_bounds_us[TALLY_BUCKETS];
struct tally_times {
	_Atomic uint64_t buckets[TALLY_BUCKETS];
	_Atomic uint64_t sum_us;
};

/* Words of 64 bits, all of them counts: tally_add_all(). */
struct tally {
	_Atomic uint64_t is_used; /* somebody has counted here */
	_Atomic uint64_t counters[TALLY_COUNTERS];
	_Atomic uint64_t denials[SGATE_REASON_COUNT]; /* that were noted */
	_Atomic uint64_t stores[STORES_COUNTERS];
	_Atomic uint64_t checks[TALLY_MOUNTS][TALLY_OUTCOMES][STORES_SERVERS];
	_Atomic uint64_t operations[TALLY_OPERATIONS][TALLY_RESULTS];
	struct tally_times check_times[STORES_SERVERS];
	struct tally_times operation_times[TALLY_OPERATIONS];
} __attribute__((aligned(64))); /* no two workers write one cache line */

/* Of a struct that others count in, too. */
static inline void
tally_add(_Atomic uint64_t *word, uint64_t count)
{
	atomic_fetch_add_explicit(word, count, memory_order_relaxed);
}

/* Of one's own: a reader never sees half of it, and nobody else writes. */
static inline void
tally_add_own(_Atomic uint64_t *word, uint64_t count)
{
	atomic_store_explicit(word,
	    atomic_load_explicit(word, memory_order_relaxed) + count,
	    memory_order_relaxed);
}

/*
 * The bucket of a time. Between a power of two and the next there is one bound
 * at most: it is enough to look at the first that is not below the power.
 */
#define TALLY_POWERS 24
extern const uint8_t tally_first_bound[TALLY_POWERS];
static inline unsigned
tally_bucket(uint64_t us)
{
	unsigned power = 63 - (unsigned)__builtin_clzll(us | 1), first;

	first =
	    tally_first_bound[power < TALLY_POWERS ? power : TALLY_POWERS - 1];
	return first + (us > tally_bounds_us[first] ? 1 : 0);
}

/* Of one's own. The clock is one that never goes back. */
static inline void
tally_add_time(struct tally_times *times, int64_t us)
{
	tally_add_own(&times->buckets[tally_bucket((uint64_t)us)], 1);
	tally_add_own(&times->sum_us, (uint64_t)us);
}

/* How many of these there were. */
uint64_t tally_times_count(const struct tally_times *times);
/* Below what `share` (0 to 1) of them were, between bounds as if they were
 * spread evenly; above the last bound that one. Below 0: there were none. */
int64_t tally_times_quantile_us(const struct tally_times *times, double share);

/* Adds each word of *of to *sum, which nobody else has. */
void tally_add_all(struct tally *sum, const struct tally *of);
/* Checks of that verdict. */
uint64_t tally_verdicts(const struct tally *tally, enum tally_verdict verdict);

#endif
