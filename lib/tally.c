/* Names, sums and quantiles of what processes count. */
#include "config.h"

#include "tally.h"

static const char *const counter_names[TALLY_COUNTERS] = {
    [TALLY_REQUESTS] = "requests",
    [TALLY_CHECK_ALLOWED] = "check_allowed",
    [TALLY_CHECK_DENIED] = "check_denied",
    [TALLY_CHECK_UNAVAILABLE] = "check_unavailable",
    [TALLY_API_OK] = "api_ok",
    [TALLY_API_REFUSED] = "api_refused",
    [TALLY_API_UNAVAILABLE] = "api_unavailable",
    [TALLY_CREATED] = "created",
    [TALLY_ENDED] = "ended",
    [TALLY_CHANGED] = "changed",
    [TALLY_TOUCHES_QUEUED] = "touches_queued",
    [TALLY_TOUCHES_WRITTEN] = "touches_written",
    [TALLY_BAD_PEERS] = "bad_peers",
};

static const char *const mount_names[TALLY_MOUNTS] = {
    [TALLY_LIGHTTPD] = "lighttpd",
    [TALLY_APACHE] = "apache",
    [TALLY_APACHE_FCGID] = "apache-fcgid",
    [TALLY_NGINX] = "nginx",
    [TALLY_UNKNOWN_MOUNT] = "other",
};

static const char *const verdict_names[TALLY_VERDICTS] = {
    [TALLY_ALLOWED] = "allowed",
    [TALLY_DENIED] = "denied",
    [TALLY_UNAVAILABLE] = "unavailable",
};

static const char *const operation_names[TALLY_OPERATIONS] = {
    [TALLY_NO_OPERATION] = "other",
    [TALLY_CREATE] = "create",
    [TALLY_CHANGE] = "change",
    [TALLY_END] = "end",
};

static const char *const result_names[TALLY_RESULTS] = {
    [TALLY_RESULT_OK] = "ok",
    [TALLY_RESULT_REFUSED] = "refused",
    [TALLY_RESULT_UNAVAILABLE] = "unavailable",
};

const uint64_t tally_bounds_us[TALLY_BUCKETS] = {20, 50, 100, 200, 500, 1000,
    2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000, 2000000,
    5000000, 10000000, UINT64_MAX};

/* Of 1 us, 2, 4, ... 8.4 s. */
const uint8_t tally_first_bound[TALLY_POWERS] = {0, 0, 0, 0, 0, 1, 2, 3, 4, 5,
    6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 16, 17};

#define NAME(names, index)                                                     \
	((unsigned)(index) < sizeof(names) / sizeof((names)[0])                \
		? (names)[index]                                               \
		: "unknown")

const char *
tally_counter_name(enum tally_counter counter)
{
	return NAME(counter_names, counter);
}

const char *
tally_mount_name(enum tally_mount mount)
{
	return NAME(mount_names, mount);
}

const char *
tally_verdict_name(enum tally_verdict verdict)
{
	return NAME(verdict_names, verdict);
}

const char *
tally_operation_name(enum tally_operation operation)
{
	return NAME(operation_names, operation);
}

const char *
tally_result_name(enum tally_result result)
{
	return NAME(result_names, result);
}

const char *
tally_outcome_name(unsigned outcome)
{
	return outcome == TALLY_ANONYMOUS
		   ? "anonymous"
		   : sgate_reason_text((enum sgate_reason)outcome);
}

enum tally_verdict
tally_outcome_verdict(unsigned outcome)
{
	switch (outcome) {
	case SGATE_REASON_OK:
	case TALLY_ANONYMOUS:
		return TALLY_ALLOWED;
	case SGATE_REASON_RATE:
	case SGATE_REASON_MAINTENANCE:
	case SGATE_REASON_STORE:
	case SGATE_REASON_OVERLOAD:
		return TALLY_UNAVAILABLE;
	default:
		return TALLY_DENIED;
	}
}

/* ---- sums ---- */

static uint64_t
load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

void
tally_add_all(struct tally *sum, const struct tally *of)
{
	_Atomic uint64_t *to = (_Atomic uint64_t *)sum;
	const _Atomic uint64_t *from = (const _Atomic uint64_t *)of;
	size_t i;

	_Static_assert(_Alignof(_Atomic uint64_t) == sizeof(uint64_t) &&
			   sizeof(struct tally) % sizeof(uint64_t) == 0,
	    "a tally is made of words");
	for (i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		tally_add_own(&to[i], load(&from[i]));
}

uint64_t
tally_verdicts(const struct tally *tally, enum tally_verdict verdict)
{
	uint64_t count = 0;
	unsigned mount, outcome, store;

	for (mount = 0; mount < TALLY_MOUNTS; mount++)
		for (outcome = 0; outcome < TALLY_OUTCOMES; outcome++)
			for (store = 0; store < STORES_SERVERS; store++)
				if (tally_outcome_verdict(outcome) == verdict)
					count +=
					    load(&tally->checks[mount][outcome]
							       [store]);
	return count;
}

/* ---- times ---- */

uint64_t
tally_times_count(const struct tally_times *times)
{
	uint64_t count = 0;
	unsigned i;

	for (i = 0; i < TALLY_BUCKETS; i++)
		count += load(&times->buckets[i]);
	return count;
}

int64_t
tally_times_quantile_us(const struct tally_times *times, double share)
{
	double wanted = (double)tally_times_count(times) * share, before = 0;
	uint64_t low = 0, high;
	double here;
	unsigned i;

	if (wanted <= 0)
		return -1;
	for (i = 0; i < TALLY_BUCKETS - 1; i++) {
		here = (double)load(&times->buckets[i]);
		high = tally_bounds_us[i];
		if (before + here >= wanted)
			return (int64_t)low +
			       (int64_t)((double)(high - low) *
					 (wanted - before) / here);
		before += here;
		low = high;
	}
	return (int64_t)low;
}
