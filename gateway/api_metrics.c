/*
 * GET v1/metrics: the figures of the whole pool of this host as OpenMetrics 1.0
 * text, or, for who asks for text/plain and does not name OpenMetrics, in the
 * older format of Prometheus. The two differ in the names that TYPE and HELP
 * have for counters, and in UNIT and EOF.
 *
 * From shared memory, as everything of api_status.c. Labels have names of ours
 * alone, so their sets are bounded. What is not known is left out: a 0 would be
 * taken for a finding.
 */
#include "config.h"

#include "api.h"
#include "clock.h"
#include "outage.h"

struct metrics {
	struct buf *out;
	bool is_classic;
	const struct gateway *gw;
	const struct shared *shared;
	const struct tally *sum;
};

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

/* ---- the format ---- */

static void
add_family(const struct metrics *m, const char *name, const char *type,
    const char *unit, const char *help)
{
	bool is_counter = type[0] == 'c';
	const char *suffix = m->is_classic && is_counter ? "_total" : "";

	buf_printf(m->out, "# TYPE sessgate_%s%s %s\n", name, suffix, type);
	if (unit != NULL && !m->is_classic)
		buf_printf(m->out, "# UNIT sessgate_%s %s\n", name, unit);
	buf_printf(m->out, "# HELP sessgate_%s%s %s\n", name, suffix, help);
}

static void
add_count(const struct metrics *m, const char *name, const char *label,
    const char *value, uint64_t count)
{
	if (label == NULL)
		buf_printf(m->out, "sessgate_%s ", name);
	else
		buf_printf(
		    m->out, "sessgate_%s{%s=\"%s\"} ", name, label, value);
	buf_add_uint(m->out, count);
	buf_add_char(m->out, '\n');
}

/* A counter without labels, with its family. */
static void
add_counter(
    const struct metrics *m, const char *name, const char *help, uint64_t count)
{
	add_family(m, name, "counter", NULL, help);
	buf_printf(m->out, "sessgate_%s_total %llu\n", name,
	    (unsigned long long)count);
}

/* A gauge without labels, with its family. */
static void
add_gauge(const struct metrics *m, const char *name, const char *unit,
    const char *help, uint64_t value)
{
	add_family(m, name, "gauge", unit, help);
	add_count(m, name, NULL, NULL, value);
}

/* "12.345" for 12345 of a thousandth. */
static void
add_decimal(struct buf *out, uint64_t value, unsigned per_unit, int digits)
{
	buf_printf(out, "%llu.%0*llu\n", (unsigned long long)(value / per_unit),
	    digits, (unsigned long long)(value % per_unit));
}

static void
add_seconds(
    const struct metrics *m, const char *name, const char *help, int64_t ms)
{
	add_family(m, name, "gauge", "seconds", help);
	buf_printf(m->out, "sessgate_%s ", name);
	add_decimal(m->out, ms > 0 ? (uint64_t)ms : 0, 1000, 3);
}

/* ---- times ---- */

/* As OpenMetrics wants numbers: the shortest that is the same, with a point. */
static const char *const bounds_text[TALLY_BUCKETS] = {"2e-05", "5e-05",
    "0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005", "0.01", "0.02",
    "0.05", "0.1", "0.2", "0.5", "1.0", "2.0", "5.0", "10.0", "+Inf"};

static void
add_times(const struct metrics *m, const char *name, const char *label,
    const char *value, const struct tally_times *times)
{
	uint64_t count = 0;
	unsigned i;

	for (i = 0; i < TALLY_BUCKETS; i++) {
		count += load_count(&times->buckets[i]);
		buf_printf(m->out,
		    "sessgate_%s_bucket{%s=\"%s\",le=\"%s\"} %llu\n", name,
		    label, value, bounds_text[i], (unsigned long long)count);
	}
	buf_printf(m->out, "sessgate_%s_count{%s=\"%s\"} %llu\n", name, label,
	    value, (unsigned long long)count);
	buf_printf(m->out, "sessgate_%s_sum{%s=\"%s\"} ", name, label, value);
	add_decimal(m->out, load_count(&times->sum_us), 1000000, 6);
}

/* "redis", "mysql", "sqlite", "local", "none". */
static const char *
server_name(const struct metrics *m, unsigned server)
{
	switch (server) {
	case STORES_LOCAL:
		return "local";
	case STORES_CACHE:
		return "redis";
	case STORES_DURABLE:
		return outage_durable_name(m->gw);
	default:
		return "none";
	}
}

/* ---- what was counted ---- */

/* Those that have been: all that can be would be some hundreds. */
static void
add_checks(const struct metrics *m)
{
	unsigned mount, outcome, server;
	uint64_t count;

	add_family(m, "checks", "counter", NULL,
	    "Answers to \"whose request is this?\", by what they were, why, "
	    "how they were asked for and which store answered.");
	for (mount = 0; mount < TALLY_MOUNTS; mount++)
		for (outcome = 0; outcome < TALLY_OUTCOMES; outcome++)
			for (server = 0; server < STORES_SERVERS; server++) {
				count = load_count(
				    &m->sum->checks[mount][outcome][server]);
				if (count == 0)
					continue;
				buf_printf(m->out,
				    "sessgate_checks_total{verdict=\"%s\","
				    "reason=\"%s\",mount=\"%s\",store=\"%s\"} "
				    "%llu\n",
				    tally_verdict_name(
					tally_outcome_verdict(outcome)),
				    tally_outcome_name(outcome),
				    tally_mount_name((enum tally_mount)mount),
				    server_name(m, server),
				    (unsigned long long)count);
			}
	add_family(m, "check_duration_seconds", "histogram", "seconds",
	    "From the last byte of a check to its answer, by which store "
	    "answered.");
	for (server = 0; server < STORES_SERVERS; server++)
		if (server != STORES_CACHE || conf_has_redis(m->gw->conf))
			add_times(m, "check_duration_seconds", "store",
			    server_name(m, server),
			    &m->sum->check_times[server]);
}

static void
add_operations(const struct metrics *m)
{
	unsigned operation, result;
	const char *name;

	add_family(m, "operations", "counter", NULL,
	    "Requests that create, change or end sessions, by what came of "
	    "them.");
	for (operation = TALLY_CREATE; operation < TALLY_OPERATIONS;
	     operation++)
		for (result = 0; result < TALLY_RESULTS; result++)
			buf_printf(m->out,
			    "sessgate_operations_total{operation=\"%s\","
			    "result=\"%s\"} %llu\n",
			    tally_operation_name(
				(enum tally_operation)operation),
			    tally_result_name((enum tally_result)result),
			    (unsigned long long)load_count(
				&m->sum->operations[operation][result]));
	add_family(m, "operation_duration_seconds", "histogram", "seconds",
	    "From the last byte of a request that creates, changes or ends to "
	    "its answer.");
	for (operation = TALLY_CREATE; operation < TALLY_OPERATIONS;
	     operation++) {
		name = tally_operation_name((enum tally_operation)operation);
		add_times(m, "operation_duration_seconds", "operation", name,
		    &m->sum->operation_times[operation]);
	}
}

static void
add_writes(const struct metrics *m)
{
	static const enum stores_counter writes[] = {
	    [STORES_CACHE] = STORES_CACHE_WRITES,
	    [STORES_DURABLE] = STORES_DURABLE_WRITES,
	};
	uint64_t checks = 0;
	unsigned i;

	for (i = TALLY_CHECK_ALLOWED; i <= TALLY_CHECK_UNAVAILABLE; i++)
		checks += load_count(&m->sum->counters[i]);
	if (checks == 0)
		return;
	add_family(m, "writes_per_thousand_checks", "gauge", NULL,
	    "Writes into a store for each thousand checks, since the start.");
	for (i = STORES_CACHE; i <= STORES_DURABLE; i++) {
		if (i == STORES_CACHE && !conf_has_redis(m->gw->conf))
			continue;
		buf_printf(m->out,
		    "sessgate_writes_per_thousand_checks{store=\"%s\"} ",
		    server_name(m, i));
		add_decimal(m->out,
		    (uint64_t)((double)load_count(&m->sum->stores[writes[i]]) *
			       1e6 / (double)checks),
		    1000, 3);
	}
}

static const char *const counter_help[TALLY_COUNTERS] = {
    [TALLY_REQUESTS] = "Requests that were answered, of all kinds.",
    [TALLY_CHECK_ALLOWED] = "Checks that were let through.",
    [TALLY_CHECK_DENIED] = "Checks that were refused.",
    [TALLY_CHECK_UNAVAILABLE] = "Checks that were answered 503.",
    [TALLY_API_OK] = "Answers of the API below 400.",
    [TALLY_API_REFUSED] = "Answers of the API of 400 to 499.",
    [TALLY_API_UNAVAILABLE] = "Answers of the API of 500 and above.",
    [TALLY_CREATED] = "Sessions that were created.",
    [TALLY_ENDED] = "Sessions that were ended by requests.",
    [TALLY_CHANGED] = "Changes of sessions.",
    [TALLY_TOUCHES_QUEUED] = "Activity that was put into shared memory.",
    [TALLY_TOUCHES_WRITTEN] = "Activity that was written to the store.",
    [TALLY_BAD_PEERS] = "Connections closed without a whole request.",
};

static void
add_counters(const struct metrics *m)
{
	int i;

	for (i = 0; i < TALLY_COUNTERS; i++)
		add_counter(m, tally_counter_name((enum tally_counter)i),
		    counter_help[i], load_count(&m->sum->counters[i]));
	add_family(m, "denials", "counter", NULL,
	    "Refusals by their exact reason, of all that were noted.");
	for (i = SGATE_REASON_NONE; i < SGATE_REASON_COUNT; i++)
		add_count(m, "denials_total", "reason",
		    sgate_reason_text((enum sgate_reason)i),
		    load_count(&m->sum->denials[i]));
}

/* ---- processes ---- */

static void
add_processes(const struct metrics *m)
{
	static const char *const states[] = {
	    [SHARED_STARTING] = "starting",
	    [SHARED_IDLE] = "idle",
	    [SHARED_BUSY] = "busy",
	    [SHARED_STOPPING] = "stopping",
	};
	uint64_t counts[SHARED_STOPPING + 1] = {0};
	const struct shared *shared = m->shared;
	int i, state;

	for (i = 0; i < SHARED_WORKERS_MAX; i++) {
		state = atomic_load_explicit(
		    &shared->workers[i].state, memory_order_relaxed);
		if (state > SHARED_FREE && state <= SHARED_STOPPING)
			counts[state]++;
	}
	add_family(m, m->is_classic ? "build_info" : "build",
	    m->is_classic ? "gauge" : "info", NULL, "The version that runs.");
	buf_add_text(m->out, "sessgate_build_info{version=\"");
	buf_add_text(m->out, sgate_version());
	buf_add_text(m->out, "\"} 1\n");
	add_seconds(m, "start_time_seconds",
	    "When the instance was started, since 1970.",
	    load(&shared->started_ms));
	add_family(m, "workers", "gauge", NULL, "Workers by what they do.");
	for (i = SHARED_STARTING; i <= SHARED_STOPPING; i++)
		add_count(m, "workers", "state", states[i], counts[i]);
	add_counter(m, "worker_deaths", "Workers that ended in disorder.",
	    load_count(&shared->worker_deaths));
	add_counter(m, "keeper_deaths", "Keepers that ended in disorder.",
	    load_count(&shared->keeper_deaths));
	add_counter(m, "reloads", "Reloads of the configuration.",
	    load_count(&shared->generation));
	if (load(&shared->state.heartbeat_ms) != 0)
		add_seconds(m, "keeper_heartbeat_age_seconds",
		    "How long ago the keeper was last seen at work.",
		    clock_monotonic_ms() - load(&shared->state.heartbeat_ms));
}

static void
add_tracker(const struct metrics *m)
{
	const struct shared_tracker *t = &m->shared->state.tracker;

	if (load(&t->heartbeat_ms) == 0)
		return;
	add_gauge(m, "tracker_listening", NULL,
	    "Whether changes are heard from Redis.",
	    atomic_load(&t->is_listening) != 0);
	add_counter(m, "tracker_deaths", "Trackers that ended in disorder.",
	    load_count(&m->shared->tracker_deaths));
	add_counter(m, "tracker_connections", "Connections that began to hear.",
	    load_count(&t->connections));
	add_counter(m, "tracker_changes", "Records that Redis has named.",
	    load_count(&t->changes));
	add_counter(m, "tracker_drops",
	    "Entries taken out of the local cache for that.",
	    load_count(&t->drops));
	add_counter(m, "tracker_kept",
	    "Of these, brought back: they were only touched.",
	    load_count(&t->kept));
	add_counter(m, "tracker_emptied", "Times that all was dropped.",
	    load_count(&t->emptied));
}

static void
add_sessions(const struct metrics *m)
{
	const struct shared_state *state = &m->shared->state;

	if (load(&state->stats_at_ms) != 0) {
		add_family(m, "sessions", "gauge", NULL,
		    "Sessions in the durable store, as last counted.");
		add_count(
		    m, "sessions", "kind", "live", load_count(&state->live));
		add_count(m, "sessions", "kind", "anonymous",
		    load_count(&state->anonymous));
		add_count(
		    m, "sessions", "kind", "ended", load_count(&state->ended));
		add_gauge(m, "users", NULL, "Users with a live session.",
		    load_count(&state->users));
	}
	add_counter(m, "reaped_ended",
	    "Expired sessions that the reaper ended.",
	    load_count(&state->reaped_ended));
	add_counter(m, "reaped_deleted", "Rows that the reaper deleted.",
	    load_count(&state->reaped_deleted));
}

/* ---- stores ---- */

/* A store that was asked at all. */
struct measured {
	const char *name;
	const struct shared_store *store;
	const struct breaker *breaker;
};

static size_t
find_measured(const struct metrics *m, struct measured out[2])
{
	const struct shared *shared = m->shared;
	size_t count = 0;

	if (outage_store(&shared->state.durable) != STORE_UNKNOWN)
		out[count++] = (struct measured){
		    "durable", &shared->state.durable, &shared->stores.durable};
	if (conf_has_redis(m->gw->conf) &&
	    outage_store(&shared->state.cache) != STORE_UNKNOWN)
		out[count++] = (struct measured){
		    "cache", &shared->state.cache, &shared->stores.cache};
	return count;
}

static void
add_stores(const struct metrics *m)
{
	struct measured stores[2];
	size_t i, count = find_measured(m, stores);
	int64_t us;

	if (count == 0)
		return;
	add_family(m, "store_up", "gauge", NULL,
	    "Whether the keeper's probe answers.");
	for (i = 0; i < count; i++)
		add_count(m, "store_up", "store", stores[i].name,
		    outage_store(stores[i].store) == STORE_UP);
	add_family(m, "store_latency_seconds", "gauge", "seconds",
	    "How long the keeper's last probe took.");
	for (i = 0; i < count; i++) {
		us = load(&stores[i].store->latency_us);
		buf_printf(m->out,
		    "sessgate_store_latency_seconds{store=\"%s\"} ",
		    stores[i].name);
		add_decimal(m->out, us > 0 ? (uint64_t)us : 0, 1000000, 6);
	}
	add_family(m, "store_breaker_open", "gauge", NULL,
	    "Whether nobody asks the store, but for probes.");
	for (i = 0; i < count; i++)
		add_count(m, "store_breaker_open", "store", stores[i].name,
		    breaker_is_open(stores[i].breaker));
	add_family(m, "store_breaker_opened", "counter", NULL,
	    "Times that the breaker has opened.");
	for (i = 0; i < count; i++)
		add_count(m, "store_breaker_opened_total", "store",
		    stores[i].name, atomic_load(&stores[i].breaker->opened));
}

static void
add_fence(const struct metrics *m)
{
	const struct stores *stores = &m->shared->stores;
	int64_t age_ms = outage_fence_age_ms(&stores->fence);

	if (age_ms >= 0)
		add_seconds(m, "fence_age_seconds",
		    "How long ago the last complete round of the worst group "
		    "began.",
		    age_ms);
	add_gauge(m, "fence_groups_behind", NULL,
	    "Groups whose copies in Redis are in doubt.",
	    atomic_load(&stores->groups_behind));
	add_gauge(m, "fence_groups_foreign", NULL,
	    "Of these, those of another database.",
	    atomic_load(&stores->groups_foreign));
	add_gauge(m, "fence_alarmed", NULL,
	    "Whether MySQL's numbers have fallen.",
	    atomic_load(&stores->fence.is_alarmed) != 0);
}

static void
add_spool(const struct metrics *m)
{
	const struct stores_spool *spool = &m->shared->stores.spool;

	if (load(&spool->looked_ms) == 0)
		return;
	add_gauge(m, "spool_files", NULL, "Files of the spool.",
	    load_count(&spool->files));
	add_gauge(m, "spool_bytes", "bytes", "Size of the spool.",
	    load_count(&spool->bytes));
	add_family(m, "spool_waiting", "gauge", NULL,
	    "Events that a store has not got yet.");
	add_count(m, "spool_waiting", "store", "durable",
	    load_count(&spool->to_durable));
	add_count(
	    m, "spool_waiting", "store", "cache", load_count(&spool->to_cache));
	add_seconds(m, "spool_oldest_seconds", "How old the oldest of them is.",
	    api_spool_oldest_ms(spool));
	add_gauge(m, "spool_refused", NULL,
	    "Of these, what a store does not take although it answers.",
	    load_count(&spool->refused));
	add_gauge(m, "spool_damaged", NULL, "Places that were damaged.",
	    load_count(&spool->damaged));
	add_gauge(m, "spool_torn", NULL,
	    "Places that a killed writer did not finish.",
	    load_count(&spool->torn));
	add_gauge(m, "spool_foreign", NULL, "Files of another version.",
	    load_count(&spool->foreign));
}

static void
add_settings(const struct metrics *m)
{
	struct settings settings;
	uint64_t counts[2] = {0, 0};
	uint32_t i;

	if (!settings_get(&m->shared->stores.settings, &settings))
		return;
	for (i = 0; i < settings.maintenances_count; i++)
		if (settings.maintenances[i].until_ms == 0 ||
		    settings.maintenances[i].until_ms > clock_utc_ms())
			counts[settings.maintenances[i].is_emergency ? 1 : 0]++;
	add_family(m, "maintenance", "gauge", NULL,
	    "Maintenances in force, by mode: of all realms, or of one.");
	add_count(m, "maintenance", "mode", "normal", counts[0]);
	add_count(m, "maintenance", "mode", "emergency", counts[1]);
	add_gauge(m, "flushes", NULL, "Flushes that can still end sessions.",
	    settings.flushes_count);
}

static const char *
stores_help(enum stores_counter counter)
{
	static const char *const texts[STORES_COUNTERS] = {
	    [STORES_SERVED_LOCAL] = "Lookups that the local cache answered.",
	    [STORES_SERVED_CACHE] = "Lookups that a copy in Redis answered.",
	    [STORES_SERVED_DURABLE] = "Lookups that a row answered.",
	    [STORES_SERVED_BLIND] =
		"Lookups that a copy answered as MySQL could not.",
	    [STORES_UNAVAILABLE] = "Lookups that nobody could answer.",
	    [STORES_REFUSED_TOMBSTONE] = "Lookups that a tombstone refused.",
	    [STORES_CACHE_MISSES] = "Lookups that found no copy in Redis.",
	    [STORES_DISTRUSTED] = "Copies behind the fence.",
	    [STORES_CACHE_ERRORS] = "Questions to Redis that failed.",
	    [STORES_DURABLE_ERRORS] =
		"Questions to the durable store that failed.",
	    [STORES_CACHE_SKIPPED] = "Questions to Redis that were not asked.",
	    [STORES_DURABLE_SKIPPED] =
		"Questions to the durable store that were not asked.",
	    [STORES_CACHE_WRITES] = "Writes that were sent to Redis.",
	    [STORES_DURABLE_WRITES] =
		"Writes that the durable store has answered.",
	    [STORES_BATCH_CREATIONS] = "Creations committed in batches.",
	    [STORES_BATCH_COMMITS] = "Commits of these batches.",
	    [STORES_SPOOLED] = "Events that the spool alone has acknowledged.",
	    [STORES_SPOOL_FAILED] = "Events that could not be spooled.",
	};

	return texts[counter] != NULL ? texts[counter]
				      : "A decision about the stores: "
					"gateway/README.md explains it.";
}

static void
add_decisions(const struct metrics *m)
{
	char name[64];
	int i;

	for (i = 0; i < STORES_COUNTERS; i++) {
		snprintf(name, sizeof(name), "stores_%s",
		    stores_counter_name((enum stores_counter)i));
		add_counter(m, name, stores_help((enum stores_counter)i),
		    load_count(&m->sum->stores[i]));
	}
}

/* ---- the route ---- */

static bool
names(struct sgate_bytes accept, const char *type)
{
	return accept.len > 0 &&
	       memmem(accept.data, accept.len, type, strlen(type)) != NULL;
}

void
api_status_metrics(struct call *c, const struct api_path *path)
{
	struct tally sum BUF_NO_ZEROS;
	struct metrics m = {.out = c->reply.out,
	    .gw = c->gw,
	    .shared = c->gw->shared,
	    .sum = &sum};

	(void)path;
	if (m.shared == NULL) {
		api_deny(c, SGATE_REASON_STORE);
		return;
	}
	m.is_classic = names(c->req->accept, "text/plain") &&
		       !names(c->req->accept, "openmetrics");
	shared_sum(m.shared, &sum);
	reply_begin(&c->reply, 200);
	reply_body(&c->reply,
	    m.is_classic
		? "text/plain; version=0.0.4; charset=utf-8"
		: "application/openmetrics-text; version=1.0.0; charset=utf-8");
	add_counters(&m);
	add_checks(&m);
	add_operations(&m);
	add_writes(&m);
	add_processes(&m);
	add_tracker(&m);
	add_sessions(&m);
	add_stores(&m);
	if (conf_has_redis(m.gw->conf))
		add_fence(&m);
	if (conf_has_spool(m.gw->conf))
		add_spool(&m);
	add_decisions(&m);
	add_settings(&m);
	if (!m.is_classic)
		buf_add_text(m.out, "# EOF\n");
}
