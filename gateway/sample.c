/* What is kept of the last hour, and how it is looked at: sample.h. */
#include "config.h"

#include "sample.h"

#include "clock.h"
#include "outage.h"

#include <string.h>

static uint64_t
load(const _Atomic int64_t *value)
{
	int64_t loaded = atomic_load_explicit(value, memory_order_relaxed);

	return loaded < 0 ? SAMPLE_UNKNOWN : (uint64_t)loaded;
}

static uint64_t
load_count(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

/* ---- what is looked at many times ---- */

static void
note(struct sampler *sampler, enum sample_value which, uint64_t value)
{
	uint64_t *worst = &sampler->worst[which - SAMPLE_STATES];

	if (value == SAMPLE_UNKNOWN)
		return;
	if (*worst == SAMPLE_UNKNOWN || *worst < value)
		*worst = value;
}

static uint64_t
store_state(const struct shared_store *store, const struct breaker *breaker)
{
	enum store_state state = outage_store(store);

	if (state == STORE_DOWN)
		return SAMPLE_STORE_DOWN;
	switch (breaker_state(breaker)) {
	case BREAKER_OPEN:
		return SAMPLE_STORE_OPEN;
	case BREAKER_HALF:
		return SAMPLE_STORE_HALF;
	case BREAKER_CLOSED:
		break;
	}
	return state == STORE_UP ? SAMPLE_STORE_USED : SAMPLE_UNKNOWN;
}

static void
note_store(struct sampler *sampler, enum sample_value state,
    enum sample_value latency, const struct shared_store *store,
    const struct breaker *breaker)
{
	note(sampler, state, store_state(store, breaker));
	if (outage_store(store) == STORE_UP)
		note(sampler, latency, load(&store->latency_us));
}

static void
note_stores(struct sampler *sampler, const struct gateway *gw)
{
	const struct shared *shared = gw->shared;
	const struct stores *stores = &shared->stores;
	int64_t left_ms, age_ms;

	/* Before the first question to a store nothing is known. */
	if (outage_store(&shared->state.durable) != STORE_UNKNOWN)
		note(sampler, SAMPLE_SERVING, outage_now(gw, &left_ms));
	note_store(sampler, SAMPLE_DURABLE, SAMPLE_DURABLE_US,
	    &shared->state.durable, &stores->durable);
	if (!conf_has_redis(gw->conf))
		return;
	note_store(sampler, SAMPLE_CACHE, SAMPLE_CACHE_US, &shared->state.cache,
	    &stores->cache);
	age_ms = outage_fence_age_ms(&stores->fence);
	if (age_ms >= 0)
		note(sampler, SAMPLE_FENCE_AGE_MS, (uint64_t)age_ms);
	note(sampler, SAMPLE_GROUPS_BEHIND,
	    atomic_load_explicit(&stores->groups_behind, memory_order_relaxed));
}

static void
note_spool(struct sampler *sampler, const struct gateway *gw)
{
	const struct stores_spool *spool = &gw->shared->stores.spool;

	if (!conf_has_spool(gw->conf) || load(&spool->looked_ms) == 0)
		return;
	note(sampler, SAMPLE_SPOOL_EVENTS,
	    load_count(&spool->to_durable) + load_count(&spool->to_cache));
	note(sampler, SAMPLE_SPOOL_BYTES, load_count(&spool->bytes));
}

static void
note_workers(struct sampler *sampler, const struct shared *shared)
{
	uint64_t busy = 0, idle = 0;
	size_t i;
	int state;

	for (i = 0; i < SHARED_WORKERS_MAX; i++) {
		state = atomic_load_explicit(
		    &shared->workers[i].state, memory_order_relaxed);
		busy += state == SHARED_BUSY;
		idle += state == SHARED_IDLE;
	}
	note(sampler, SAMPLE_WORKERS, busy + idle);
	note(sampler, SAMPLE_BUSY_MOST, busy);
	sampler->busy += busy;
}

/* ---- the sample ---- */

static uint64_t
maintenance(const struct stores *stores)
{
	uint64_t strictest = SAMPLE_MAINTENANCE_OFF, mode;
	const struct settings_maintenance *m;
	struct settings settings;
	uint32_t i;

	if (!settings_get(&stores->settings, &settings))
		return SAMPLE_UNKNOWN;
	for (i = 0; i < settings.maintenances_count; i++) {
		m = &settings.maintenances[i];
		if (m->until_ms != 0 && m->until_ms <= clock_utc_ms())
			continue;
		mode = m->is_emergency ? SAMPLE_MAINTENANCE_EMERGENCY
				       : SAMPLE_MAINTENANCE_NORMAL;
		strictest = mode > strictest ? mode : strictest;
	}
	return strictest;
}

static void
add_checks(const struct tally *sum, uint64_t *values)
{
	size_t mount, outcome, server, i;

	for (mount = 0; mount < TALLY_MOUNTS; mount++)
		for (outcome = 0; outcome < TALLY_OUTCOMES; outcome++)
			for (server = 0; server < STORES_SERVERS; server++)
				values[SAMPLE_OUTCOMES + outcome] += load_count(
				    &sum->checks[mount][outcome][server]);
	for (server = 0; server < STORES_SERVERS; server++)
		for (i = 0; i < TALLY_BUCKETS; i++)
			values[SAMPLE_CHECK_TIMES + i] +=
			    load_count(&sum->check_times[server].buckets[i]);
}

/* Requests that create, change or end sessions. */
static void
add_changes(const struct tally *sum, uint64_t *values)
{
	size_t operation, i;

	for (operation = TALLY_NO_OPERATION + 1; operation < TALLY_OPERATIONS;
	     operation++)
		for (i = 0; i < TALLY_BUCKETS; i++)
			values[SAMPLE_CHANGE_TIMES + i] += load_count(
			    &sum->operation_times[operation].buckets[i]);
}

static void
copy_counters(const struct shared *shared, uint64_t *values)
{
	struct tally sum BUF_NO_ZEROS;
	size_t i;

	shared_sum(shared, &sum);
	for (i = 0; i < TALLY_COUNTERS; i++)
		values[SAMPLE_COUNTERS + i] = load_count(&sum.counters[i]);
	for (i = 0; i < SGATE_REASON_COUNT; i++)
		values[SAMPLE_REASONS + i] = load_count(&sum.denials[i]);
	for (i = 0; i < STORES_COUNTERS; i++)
		values[SAMPLE_STORES + i] = load_count(&sum.stores[i]);
	add_checks(&sum, values);
	add_changes(&sum, values);
	values[SAMPLE_WORKER_DEATHS] = load_count(&shared->worker_deaths);
	values[SAMPLE_RELOADS] = load_count(&shared->generation);
}

static void
put(struct sampler *sampler, struct shared *shared, int64_t now_ms)
{
	uint64_t values[HISTORY_VALUES] = {0};

	note(sampler, SAMPLE_MAINTENANCE, maintenance(&shared->stores));
	note(sampler, SAMPLE_BUSY_MEAN, 1000 * sampler->busy / sampler->looks);
	if (load(&shared->state.stats_at_ms) != 0)
		note(sampler, SAMPLE_LIVE, load_count(&shared->state.live));
	copy_counters(shared, values);
	memcpy(values + SAMPLE_STATES, sampler->worst, sizeof(sampler->worst));
	history_put(&shared->history, now_ms, values);
}

void
sample_look(struct sampler *sampler, const struct gateway *gw, int64_t now_ms)
{
	/* All bits: SAMPLE_UNKNOWN. */
	if (sampler->looks == 0)
		memset(sampler->worst, 0xff, sizeof(sampler->worst));
	sampler->looks++;
	note_stores(sampler, gw);
	note_spool(sampler, gw);
	note_workers(sampler, gw->shared);
	if (history_interval(now_ms) == sampler->interval)
		return;
	/* What the keeper before this one has seen of it stands. */
	if (sampler->interval != 0 ||
	    !history_has(&gw->shared->history, now_ms))
		put(sampler, gw->shared, now_ms);
	sampler->interval = history_interval(now_ms);
	sampler->looks = 0;
	sampler->busy = 0;
}

/* ---- of the samples of an hour ---- */

int64_t
sample_growth(const struct history_sample *samples, size_t i, int counter)
{
	const struct history_sample *from = &samples[i], *to = &samples[i + 1];
	uint64_t grown = to->values[counter] - from->values[counter];

	if (!from->is_there || !to->is_there || to->at_ms <= from->at_ms ||
	    to->values[counter] < from->values[counter] || grown > INT64_MAX)
		return -1;
	return (int64_t)grown;
}

/* Of so many in so many milliseconds. */
static int64_t
thousandths_a_second(int64_t count, int64_t ms)
{
	if (count <= INT64_MAX / 1000000)
		return count * 1000000 / ms;
	return count / ms <= INT64_MAX / 1000000 ? count / ms * 1000000
						 : INT64_MAX;
}

void
sample_rates(const struct history_sample *samples, int counter,
    int64_t out[HISTORY_INTERVALS])
{
	int64_t grown;
	size_t i;

	for (i = 0; i < HISTORY_INTERVALS; i++) {
		grown = sample_growth(samples, i, counter);
		if (grown >= 0)
			out[i] = thousandths_a_second(
			    grown, samples[i + 1].at_ms - samples[i].at_ms);
		else
			out[i] = -1;
	}
}

int64_t
sample_quantile_us(const struct history_sample *samples, size_t from, size_t to,
    int times, double share)
{
	struct tally_times grown = {0};
	int64_t count;
	size_t i, bucket;

	for (i = from; i < to; i++)
		for (bucket = 0; bucket < TALLY_BUCKETS; bucket++) {
			count = sample_growth(samples, i, times + (int)bucket);
			/* More cannot be, and their sum is to fit. */
			if (count > 0 && count < INT32_MAX)
				tally_add(
				    &grown.buckets[bucket], (uint64_t)count);
		}
	return tally_times_quantile_us(&grown, share);
}

void
sample_states(const struct history_sample *samples, enum sample_value which,
    int64_t factor, int64_t out[HISTORY_INTERVALS])
{
	uint64_t value;
	size_t i;

	for (i = 0; i < HISTORY_INTERVALS; i++) {
		value = samples[i + 1].values[which];
		out[i] = samples[i + 1].is_there &&
				 value <= (uint64_t)(INT64_MAX / factor)
			     ? (int64_t)value * factor
			     : -1;
	}
}
