/*
 * Health, readiness, status and statistics: read from shared memory,
 * never from a store, so that they answer while stores hang. What is there may
 * have been written by anybody who broke into a worker: copied, bounds-checked.
 * What they tell of the stores: api_stores.c; the same for machines:
 * api_metrics.c.
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

static uint64_t
load_count(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

/* Whether sessions can be looked up. */
static bool
is_serving(const struct gateway *gw)
{
	int64_t left_ms;

	return outage_now(gw, &left_ms) != OUTAGE_TOTAL;
}

/* 200 or 503 by state; the object is open. */
static void
begin(struct call *c, bool is_up, struct json *j)
{
	reply_begin(&c->reply, is_up ? 200 : 503);
	if (!is_up)
		reply_header(&c->reply, "Retry-After", bytes_of("2"));
	reply_body(&c->reply, "application/json");
	json_init(j, c->reply.out);
	json_object(j, NULL);
}

void
api_status_public(struct call *c)
{
	bool is_up = is_serving(c->gw);
	struct json j;

	/* Whoever asks names no realm, or one that is served here. */
	if (call_find_realm(c) != SGATE_REASON_OK)
		c->realm = bytes_of("");
	begin(c, is_up, &j);
	json_text(&j, "status", is_up ? "up" : "down");
	api_json_maintenance(&j, c, false);
	api_json_end(c, &j);
}

void
api_status_health(struct call *c, const struct api_path *path)
{
	bool is_up = is_serving(c->gw);
	struct json j;

	(void)path;
	begin(c, is_up, &j);
	json_text(&j, "status", is_up ? "up" : "down");
	api_json_maintenance(&j, c, true);
	api_stores_json(&j, c->gw);
	api_json_end(c, &j);
}

static bool
has_worker(const struct shared *shared)
{
	size_t i;

	for (i = 0; i < SHARED_WORKERS_MAX; i++) {
		int state = atomic_load_explicit(
		    &shared->workers[i].state, memory_order_relaxed);

		if (state == SHARED_IDLE || state == SHARED_BUSY)
			return true;
	}
	return false;
}

/* Whether it makes sense to send requests here. */
void
api_status_ready(struct call *c, const struct api_path *path)
{
	const struct shared *shared = c->gw->shared;
	const char *why = NULL;
	struct json j;

	(void)path;
	if (atomic_load(&shared->stopping) != 0)
		why = "stopping";
	else if (!has_worker(shared))
		why = "workers";
	else if (!is_serving(c->gw))
		why = "stores";
	begin(c, why == NULL, &j);
	json_bool(&j, "ready", why == NULL);
	if (why == NULL)
		json_null(&j, "why");
	else
		json_text(&j, "why", why);
	api_json_end(c, &j);
}

/* ---- status ---- */

static const char *
worker_state_text(int state)
{
	static const char *const texts[] = {
	    [SHARED_STARTING] = "starting",
	    [SHARED_IDLE] = "idle",
	    [SHARED_BUSY] = "busy",
	    [SHARED_STOPPING] = "stopping",
	};

	if (state <= SHARED_FREE || state > SHARED_STOPPING)
		return NULL;
	return texts[state];
}

/* 0 would be a whole process group to kill(1): not known yet is null. */
static void
add_pid(struct json *j, const char *key, const _Atomic int *pid)
{
	int value = atomic_load_explicit(pid, memory_order_relaxed);

	if (value > 0)
		json_int(j, key, value);
	else
		json_null(j, key);
}

static void
add_workers(struct json *j, const struct shared *shared)
{
	int64_t now_us = clock_monotonic_us();
	size_t i;

	json_array(j, "workers");
	for (i = 0; i < SHARED_WORKERS_MAX; i++) {
		const struct shared_worker *w = &shared->workers[i];
		const char *text = worker_state_text(
		    atomic_load_explicit(&w->state, memory_order_relaxed));

		if (text == NULL)
			continue;
		json_object(j, NULL);
		add_pid(j, "pid", &w->pid);
		json_text(j, "state", text);
		json_int(j, "for_ms", (now_us - load(&w->since_us)) / 1000);
		api_json_seconds(j, "started_at", load(&w->started_ms));
		json_int(j, "requests", (int64_t)load_count(&w->requests));
		json_end(j);
	}
	json_end(j);
}

static void
add_counters(struct json *j, const struct tally *sum)
{
	int i;

	json_object(j, "counters");
	for (i = 0; i < TALLY_COUNTERS; i++)
		json_int(j, tally_counter_name((enum tally_counter)i),
		    (int64_t)load_count(&sum->counters[i]));
	json_end(j);
	json_object(j, "denials");
	for (i = SGATE_REASON_NONE; i < SGATE_REASON_COUNT; i++)
		json_int(j, sgate_reason_text((enum sgate_reason)i),
		    (int64_t)load_count(&sum->denials[i]));
	json_end(j);
}

static void
add_keeper(struct json *j, const struct shared *shared)
{
	int64_t beat_ms = load(&shared->state.heartbeat_ms);

	json_object(j, "keeper");
	add_pid(j, "pid", &shared->keeper_pid);
	if (beat_ms == 0)
		json_null(j, "heartbeat_age_ms");
	else
		json_int(j, "heartbeat_age_ms", clock_monotonic_ms() - beat_ms);
	json_int(j, "deaths", (int64_t)load_count(&shared->keeper_deaths));
	json_end(j);
	json_object(j, "reap");
	api_json_seconds(j, "at", load(&shared->state.reaped_at_ms));
	json_int(j, "ended", (int64_t)load_count(&shared->state.reaped_ended));
	json_int(
	    j, "deleted", (int64_t)load_count(&shared->state.reaped_deleted));
	json_end(j);
}

/* Of many: how many, the middle one, and the slowest of a hundred. */
static void
add_times(struct json *j, const char *key, const struct tally_times *times)
{
	static const struct {
		const char *key;
		double share;
	} quantiles[] = {{"p50_us", 0.5}, {"p99_us", 0.99}};
	int64_t us;
	size_t i;

	json_object(j, key);
	json_int(j, "count", (int64_t)tally_times_count(times));
	for (i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
		us = tally_times_quantile_us(times, quantiles[i].share);
		if (us < 0)
			json_null(j, quantiles[i].key);
		else
			json_int(j, quantiles[i].key, us);
	}
	json_end(j);
}

static void
add_latency(struct json *j, const struct gateway *gw, const struct tally *sum)
{
	unsigned i;

	json_object(j, "latency");
	add_times(j, "local", &sum->check_times[STORES_LOCAL]);
	if (conf_has_redis(gw->conf))
		add_times(j, "redis", &sum->check_times[STORES_CACHE]);
	add_times(
	    j, outage_durable_name(gw), &sum->check_times[STORES_DURABLE]);
	add_times(j, "none", &sum->check_times[STORES_NOBODY]);
	for (i = TALLY_CREATE; i < TALLY_OPERATIONS; i++)
		add_times(j, tally_operation_name((enum tally_operation)i),
		    &sum->operation_times[i]);
	json_end(j);
}

/* As the tracker last wrote it. */
static void
add_tracker(struct json *j, const struct shared *shared)
{
	const struct shared_tracker *t = &shared->state.tracker;
	int64_t beat_ms = load(&t->heartbeat_ms);
	int64_t proved_ms = load(&t->proved_ms);

	if (beat_ms == 0) {
		json_null(j, "tracker");
		return;
	}
	json_object(j, "tracker");
	add_pid(j, "pid", &shared->tracker_pid);
	json_int(j, "heartbeat_age_ms", clock_monotonic_ms() - beat_ms);
	json_int(j, "deaths", (int64_t)load_count(&shared->tracker_deaths));
	json_text(
	    j, "mode", atomic_load(&t->is_polled) != 0 ? "polled" : "tracked");
	json_bool(j, "listening", atomic_load(&t->is_listening) != 0);
	if (proved_ms == 0)
		json_null(j, "proved_age_ms");
	else
		json_int(j, "proved_age_ms", clock_boot_ms() - proved_ms);
	json_int(j, "connections", (int64_t)load_count(&t->connections));
	json_int(j, "changes", (int64_t)load_count(&t->changes));
	json_int(j, "drops", (int64_t)load_count(&t->drops));
	json_int(j, "kept", (int64_t)load_count(&t->kept));
	json_int(j, "emptied", (int64_t)load_count(&t->emptied));
	json_end(j);
}

void
api_status_full(struct call *c, const struct api_path *path)
{
	const struct shared *shared = c->gw->shared;
	struct tally sum BUF_NO_ZEROS;
	struct json j;

	(void)path;
	if (shared == NULL) {
		api_deny(c, SGATE_REASON_STORE);
		return;
	}
	shared_sum(shared, &sum);
	api_json_begin(c, 200, &j);
	json_text(&j, "version", sgate_version());
	api_json_seconds(&j, "server_time", clock_utc_ms());
	outage_add_problems(&j, c->gw);
	api_json_seconds(&j, "started_at", load(&shared->started_ms));
	json_int(&j, "generation", (int64_t)load_count(&shared->generation));
	json_bool(&j, "stopping", atomic_load(&shared->stopping) != 0);
	add_pid(&j, "master_pid", &shared->master_pid);
	json_int(
	    &j, "worker_deaths", (int64_t)load_count(&shared->worker_deaths));
	add_keeper(&j, shared);
	add_tracker(&j, shared);
	api_stores_json(&j, c->gw);
	api_spool_json(&j, c->gw);
	api_settings_json(&j, &shared->stores);
	add_workers(&j, shared);
	add_counters(&j, &sum);
	add_latency(&j, c->gw, &sum);
	api_stores_counts(&j, &sum);
	api_json_end(c, &j);
}

/* ---- stats ---- */

static void
add_stat(struct json *j, const char *key, const _Atomic uint64_t *value,
    bool is_known)
{
	if (is_known)
		json_int(j, key, (int64_t)load_count(value));
	else
		json_null(j, key);
}

/* As the keeper last counted them; null until it has. */
void
api_status_stats(struct call *c, const struct api_path *path)
{
	const struct shared *shared = c->gw->shared;
	struct tally sum BUF_NO_ZEROS;
	bool is_known;
	struct json j;

	(void)path;
	if (shared == NULL) {
		api_deny(c, SGATE_REASON_STORE);
		return;
	}
	is_known = load(&shared->state.stats_at_ms) != 0;
	shared_sum(shared, &sum);
	api_json_begin(c, 200, &j);
	add_stat(&j, "live", &shared->state.live, is_known);
	add_stat(&j, "anonymous", &shared->state.anonymous, is_known);
	add_stat(&j, "users", &shared->state.users, is_known);
	add_stat(&j, "ended", &shared->state.ended, is_known);
	api_json_seconds(&j, "counted_at", load(&shared->state.stats_at_ms));
	api_spool_json(&j, c->gw);
	add_latency(&j, c->gw, &sum);
	api_stores_counts(&j, &sum);
	api_json_end(c, &j);
}
