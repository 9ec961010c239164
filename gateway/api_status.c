/*
 * Health, readiness, status and statistics: read from shared memory, never
 * from a store, so that they answer while stores hang. What is there may have
 * been written by anybody who broke into a worker: copied, bounds-checked.
 */
#include "config.h"

#include "api.h"
#include "clock.h"

#include <string.h>

/* A finding of the keeper that is older than this counts as not known. */
#define STATE_FRESH_MS 30000

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

enum store_state { STORE_UNKNOWN, STORE_DOWN, STORE_UP };

static enum store_state
store_state(const struct shared *shared)
{
	int64_t checked_ms;

	if (shared == NULL)
		return STORE_UNKNOWN;
	checked_ms = load(&shared->state.durable_checked_ms);
	if (checked_ms == 0 || clock_utc_ms() - checked_ms > STATE_FRESH_MS)
		return STORE_UNKNOWN;
	return atomic_load_explicit(
		   &shared->state.durable_up, memory_order_relaxed)
		   ? STORE_UP
		   : STORE_DOWN;
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
	bool is_up = store_state(c->gw->shared) == STORE_UP;
	struct json j;

	begin(c, is_up, &j);
	json_text(&j, "status", is_up ? "up" : "down");
	api_json_end(c, &j);
}

static void
add_store(struct json *j, const struct shared *shared)
{
	enum store_state state = store_state(shared);

	json_object(j, "durable");
	if (state == STORE_UNKNOWN)
		json_null(j, "up");
	else
		json_bool(j, "up", state == STORE_UP);
	if (shared == NULL || load(&shared->state.durable_checked_ms) == 0) {
		json_null(j, "checked_at");
		json_null(j, "latency_us");
	} else {
		api_json_seconds(
		    j, "checked_at", load(&shared->state.durable_checked_ms));
		json_int(
		    j, "latency_us", load(&shared->state.durable_latency_us));
	}
	json_end(j);
}

void
api_status_health(struct call *c, const struct api_path *path)
{
	bool is_up = store_state(c->gw->shared) == STORE_UP;
	struct json j;

	(void)path;
	begin(c, is_up, &j);
	json_text(&j, "status", is_up ? "up" : "down");
	add_store(&j, c->gw->shared);
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
	bool is_ready = store_state(shared) == STORE_UP && has_worker(shared) &&
			atomic_load(&shared->stopping) == 0;
	struct json j;

	(void)path;
	begin(c, is_ready, &j);
	json_bool(&j, "ready", is_ready);
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
	int64_t now_ms = clock_monotonic_ms();
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
		json_int(j, "for_ms", now_ms - load(&w->since_ms));
		api_json_seconds(j, "started_at", load(&w->started_ms));
		json_int(j, "requests", (int64_t)load_count(&w->requests));
		json_end(j);
	}
	json_end(j);
}

static void
add_counters(struct json *j, const struct shared *shared)
{
	int i;

	json_object(j, "counters");
	for (i = 0; i < SHARED_COUNTER_COUNT; i++)
		json_int(j, shared_counter_name((enum shared_counter)i),
		    (int64_t)load_count(&shared->counters[i]));
	json_end(j);
	json_object(j, "denials");
	for (i = SGATE_REASON_NONE; i < SGATE_REASON_COUNT; i++)
		json_int(j, sgate_reason_text((enum sgate_reason)i),
		    (int64_t)load_count(&shared->reasons[i]));
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

void
api_status_full(struct call *c, const struct api_path *path)
{
	const struct shared *shared = c->gw->shared;
	struct json j;

	(void)path;
	if (shared == NULL) {
		api_deny(c, SGATE_REASON_STORE);
		return;
	}
	api_json_begin(c, 200, &j);
	json_text(&j, "version", sgate_version());
	api_json_seconds(&j, "server_time", clock_utc_ms());
	api_json_seconds(&j, "started_at", load(&shared->started_ms));
	json_int(&j, "generation", (int64_t)load_count(&shared->generation));
	json_bool(&j, "stopping", atomic_load(&shared->stopping) != 0);
	add_pid(&j, "master_pid", &shared->master_pid);
	json_int(
	    &j, "worker_deaths", (int64_t)load_count(&shared->worker_deaths));
	add_keeper(&j, shared);
	add_store(&j, shared);
	add_workers(&j, shared);
	add_counters(&j, shared);
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
	bool is_known;
	struct json j;

	(void)path;
	if (shared == NULL) {
		api_deny(c, SGATE_REASON_STORE);
		return;
	}
	is_known = load(&shared->state.stats_at_ms) != 0;
	api_json_begin(c, 200, &j);
	add_stat(&j, "live", &shared->state.live, is_known);
	add_stat(&j, "anonymous", &shared->state.anonymous, is_known);
	add_stat(&j, "users", &shared->state.users, is_known);
	add_stat(&j, "ended", &shared->state.ended, is_known);
	api_json_seconds(&j, "counted_at", load(&shared->state.stats_at_ms));
	api_json_end(c, &j);
}
