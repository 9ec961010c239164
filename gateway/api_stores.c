/*
 * What health and status tell of the two stores, the fence between
 * them, the spool, and the decisions about all of it. From shared memory, as
 * all of it.
 */
#include "config.h"

#include "api.h"
#include "clock.h"
#include "outage.h"

#include <string.h>

static int64_t
load(const _Atomic int64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

static void
add_store(struct json *j, const char *key, const char *name,
    const struct shared_store *store, const struct breaker *breaker)
{
	static const struct shared_store none;
	enum store_state state;

	if (store == NULL)
		store = &none;
	state = outage_store(store);
	json_object(j, key);
	json_text(j, "name", name);
	if (state == STORE_UNKNOWN)
		json_null(j, "up");
	else
		json_bool(j, "up", state == STORE_UP);
	api_json_seconds(j, "since_at", load(&store->since_ms));
	api_json_seconds(j, "checked_at", load(&store->checked_ms));
	if (load(&store->checked_ms) == 0)
		json_null(j, "latency_us");
	else
		json_int(j, "latency_us", load(&store->latency_us));
	if (breaker == NULL) {
		json_null(j, "breaker");
	} else {
		json_text(j, "breaker", breaker_state_text(breaker));
		json_int(j, "breaker_opened",
		    (int64_t)atomic_load(&breaker->opened));
	}
	json_end(j);
}

static void
add_fence(struct json *j, const struct stores *stores)
{
	int64_t age_ms = outage_fence_age_ms(&stores->fence);

	json_object(j, "fence");
	if (age_ms < 0)
		json_null(j, "age_ms");
	else
		json_int(j, "age_ms", age_ms);
	json_int(
	    j, "groups_behind", (int64_t)atomic_load(&stores->groups_behind));
	json_int(
	    j, "groups_foreign", (int64_t)atomic_load(&stores->groups_foreign));
	json_bool(j, "alarmed", atomic_load(&stores->fence.is_alarmed) != 0);
	json_end(j);
}

static uint64_t
load_count(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

int64_t
api_spool_oldest_ms(const struct stores_spool *spool)
{
	int64_t oldest_ms = load(&spool->oldest_ms);
	int64_t now_ms = clock_utc_ms();

	return oldest_ms == 0 || now_ms < oldest_ms ? 0 : now_ms - oldest_ms;
}

static void
add_spool(struct json *j, const struct stores_spool *spool)
{
	json_object(j, "spool");
	api_json_seconds(j, "looked_at", load(&spool->looked_ms));
	json_int(j, "files", (int64_t)load_count(&spool->files));
	json_int(j, "bytes", (int64_t)load_count(&spool->bytes));
	json_int(j, "to_durable", (int64_t)load_count(&spool->to_durable));
	json_int(j, "to_cache", (int64_t)load_count(&spool->to_cache));
	json_int(j, "oldest_ms", api_spool_oldest_ms(spool));
	json_int(j, "refused", (int64_t)load_count(&spool->refused));
	json_int(j, "damaged", (int64_t)load_count(&spool->damaged));
	json_int(j, "torn", (int64_t)load_count(&spool->torn));
	json_int(j, "foreign", (int64_t)load_count(&spool->foreign));
	api_json_seconds(j, "failed_at", load(&spool->failed_ms));
	json_end(j);
}

void
api_spool_json(struct json *j, const struct gateway *gw)
{
	const struct shared *shared = gw->shared;

	/* What has not been looked at is not known. */
	if (!conf_has_spool(gw->conf) || shared == NULL ||
	    load(&shared->stores.spool.looked_ms) == 0)
		json_null(j, "spool");
	else
		add_spool(j, &shared->stores.spool);
}

/* `looked` of about `live` sessions, while it runs. */
static void
add_warming(struct json *j, const struct gateway *gw)
{
	const struct stores_warm *warm = &gw->shared->stores.warm;
	bool is_due = atomic_load(&warm->done) != atomic_load(&warm->losses);
	bool is_running = atomic_load(&warm->is_running) != 0;

	json_object(j, "warming");
	json_text(j, "state",
	    gw->conf->redis.warm_rate == 0 ? "off"
	    : !is_due                      ? "done"
	    : is_running                   ? "running"
					   : "waiting");
	json_int(j, "looked", (int64_t)load_count(&warm->looked));
	if (load(&gw->shared->state.stats_at_ms) == 0)
		json_null(j, "live");
	else
		json_int(
		    j, "live", (int64_t)load_count(&gw->shared->state.live));
	json_end(j);
}

void
api_stores_json(struct json *j, const struct gateway *gw)
{
	const struct shared *shared = gw->shared;

	add_store(j, "durable", outage_durable_name(gw),
	    shared == NULL ? NULL : &shared->state.durable,
	    shared == NULL ? NULL : &shared->stores.durable);
	if (!conf_has_redis(gw->conf)) {
		json_null(j, "cache");
		json_null(j, "fence");
		json_null(j, "warming");
		return;
	}
	add_store(j, "cache", "redis",
	    shared == NULL ? NULL : &shared->state.cache,
	    shared == NULL ? NULL : &shared->stores.cache);
	if (shared == NULL)
		json_null(j, "fence");
	else
		add_fence(j, &shared->stores);
	if (shared == NULL)
		json_null(j, "warming");
	else
		add_warming(j, gw);
}

void
api_stores_counts(struct json *j, const struct tally *sum)
{
	int i;

	json_object(j, "stores");
	for (i = 0; i < STORES_COUNTERS; i++)
		json_int(j, stores_counter_name((enum stores_counter)i),
		    (int64_t)atomic_load_explicit(
			&sum->stores[i], memory_order_relaxed));
	json_end(j);
}
