/*
 * The keeper: what is done in the background, and keeper.sock.
 *
 * One loop, no threads: front_step() waits for requests up to a tick, then
 * whatever is due is done, each piece bounded by a budget that is far below
 * the silence after which the master replaces the keeper. Nobody waits for it:
 * without a keeper sessions are judged by rows whose last activity is not
 * written yet and by what is pending in shared memory, and no copy is believed.
 *
 * The round of the fence comes before all else: it bounds how long another
 * host's logout is not known here. The other chores come in pieces of at most a
 * second, and between two pieces a round that is due is done (breathe()). What
 * needs the durable store is left out while its breaker is open.
 *
 * Warming Redis is the one chore that may take minutes: slices of it, between
 * everything else, at redis.warm_rate.
 */
#include "config.h"

#include "worker.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "clock.h"
#include "front.h"
#include "log.h"
#include "outage.h"
#include "sample.h"
#include "session_manager.h"
#include "shipper.h"
#include "status.h"

#define STEP_MS 100
#define TOUCH_EVERY_MS 1000
#define TOUCH_BATCH 256
#define TOUCH_ROUND_MS 2000 /* then the rest waits for the next round */
#define TOUCH_LAST_TRIES 3
#define LOCATE_EVERY_MS 500
#define PROBE_EVERY_MS 2000
#define PROBE_AGAIN_MS 300
#define ANNOUNCE_EVERY_MS 30000
#define ANNOUNCE_TTL_MS 90000
#define COUNT_MIN_MS 2000
#define COUNT_MAX_MS 300000
#define COUNT_SLICE_MS 50
#define REAP_CHUNKS_MAX 100 /* a round */
#define REAP_PAUSE_MS 20
/* To the next round where this one has not come to the end of what is to be
 * deleted: else more would be made than goes away. */
#define REAP_AGAIN_MS 1000
#define SHIP_MS 400 /* for both stores; then the others have their turn */
#define SHIP_LAST_MS 1500
#define BUDGET_MS 1000
#define WARM_ROWS 100
#define WARM_SLICE_MS 50
#define WARM_CALL_MS 500 /* of a store that is slow; then a round */
#define WARM_BURST_MS 200
#define WARM_AGAIN_MS 1000
#define WARM_LEASE_EVERY_MS 3000
#define WARM_LEASE_TTL_MS 10000
#define HOST_MAX 64
#define DURABLE_OPEN 1u
#define CACHE_OPEN 2u

struct keeper {
	const struct process_args *args;
	struct sgate_manager *mgr;
	struct shipper *shipper; /* NULL: there is no spool */
	bool is_shipping;
	struct front *front;
	struct gateway status_only; /* keeper.sock's: no manager */
	sigset_t wait_mask;
	char host[HOST_MAX + 1];
	struct durable_touch batch[TOUCH_BATCH];
	size_t touch_cursor; /* where the next round goes on */
	enum outage outage;  /* as the probe before has found it */
	struct sampler sampler;
	unsigned durable_failed, cache_failed; /* probes, in a row */
	struct durable_count count;            /* under way, or zeros */
	int64_t count_took_ms;
	unsigned breakers; /* as they were: bits of DURABLE_OPEN, CACHE_OPEN */
	bool is_lost;      /* a primary, as it was looked for before */
	int64_t round_at_ms; /* when the last round began */
	struct manager_warming warming;
	bool is_warming; /* it has the lease */
	int64_t
	    warm_room; /* thousandths of sessions that the rate has room for */
	int64_t warmed_ms, warm_lease_at_ms, warm_after_ms;
	int64_t locate_at_ms, fence_at_ms, touch_at_ms, probe_at_ms, look_at_ms,
	    stats_at_ms, announce_at_ms, reap_at_ms;
};

static volatile sig_atomic_t is_told_to_end;

static void
on_term(int number)
{
	(void)number;
	is_told_to_end = 1;
}

static struct shared_state *
state_of(const struct keeper *keeper)
{
	return &keeper->args->shared->state;
}

static void
beat(const struct keeper *keeper)
{
	atomic_store(&state_of(keeper)->heartbeat_ms, clock_monotonic_ms());
}

static bool
is_due(int64_t *at_ms, int64_t every_ms)
{
	int64_t now_ms = clock_monotonic_ms();

	if (now_ms < *at_ms)
		return false;
	*at_ms = now_ms + every_ms;
	return true;
}

static void
complain(const char *what, const struct sgate_error *err)
{
	static struct log_limit limit = {.burst = 5, .period_ms = 60000};

	log_limited(&limit, LOG_LEVEL_WARNING, "%s: %s: %s; trying again later",
	    what, err->source, err->text);
}

static void
set_budget(struct keeper *keeper, int64_t budget_ms)
{
	struct sgate_caller caller = {
	    .actor = bytes_of("keeper"), .budget_ms = budget_ms};
	struct sgate_error err;

	if (sgate_manager_set_caller(keeper->mgr, &caller, &err) != SGATE_OK)
		complain("set the caller", &err);
}

/* ---- the fence ---- */

static unsigned
open_breakers(const struct keeper *keeper)
{
	const struct stores *stores = &keeper->args->shared->stores;

	return (breaker_is_open(&stores->durable) ? DURABLE_OPEN : 0) |
	       (breaker_is_open(&stores->cache) ? CACHE_OPEN : 0);
}

static bool
has_durable(const struct keeper *keeper)
{
	return (open_breakers(keeper) & DURABLE_OPEN) == 0;
}

static void
beat_in_round(void *arg)
{
	beat(arg);
}

static void
tell(void *arg, bool is_error, const char *text)
{
	(void)arg;
	if (is_error)
		log_error("fence: %s", text);
	else
		log_warning("fence: %s", text);
}

/* A store that replies with errors is down with its breaker closed. */
static bool
is_outage_told(const struct keeper *keeper)
{
	const struct shared_state *state = state_of(keeper);

	return outage_store(&state->durable) == STORE_DOWN ||
	       (conf_has_redis(keeper->args->conf) &&
		   outage_store(&state->cache) == STORE_DOWN);
}

/* During a reload there are two keepers for a moment. */
static bool
is_its_turn(const struct keeper *keeper)
{
	return atomic_load(&keeper->args->shared->keeper_pid) == getpid();
}

static void
tell_place(void *arg, bool is_error, const char *text)
{
	static struct log_limit limit = {.burst = 3, .period_ms = 60000};
	struct keeper *keeper = arg;

	if (is_error) {
		log_limited(&limit, LOG_LEVEL_ERROR, "mysql: %s", text);
		return;
	}
	log_notice("%s", text);
	keeper->fence_at_ms = 0; /* ask it at once */
}

/*
 * When the poll says, or a breaker: while a store is given up the round is its
 * probe, and one that has just failed is asked again soon.
 */
static int64_t
fence_due_ms(const struct keeper *keeper)
{
	const struct stores *stores = &keeper->args->shared->stores;
	const struct breaker *breakers[] = {&stores->durable, &stores->cache};
	int64_t next_ms, due_ms = keeper->fence_at_ms;
	size_t i;

	for (i = 0; i < 2; i++) {
		next_ms = breaker_next_ms(breakers[i], clock_monotonic_ms());
		/* What was due before the last round has been done by it. */
		if (next_ms > keeper->round_at_ms && next_ms < due_ms)
			due_ms = next_ms;
	}
	return due_ms;
}

/*
 * Before the round, which asks the servers that were found here. One that is
 * down is looked for in vain until another one is promoted: that is told by
 * probe(), and why nobody could be found, once.
 */
static void
locate(struct keeper *keeper)
{
	const struct manager_round round = {.tell = tell_place, .arg = keeper};
	enum sgate_status status;
	struct sgate_error err;

	if (!is_its_turn(keeper) ||
	    !is_due(&keeper->locate_at_ms, LOCATE_EVERY_MS))
		return;
	set_budget(keeper, BUDGET_MS);
	status = manager_locate(keeper->mgr, &round, &err);
	/* A conflict has been told. */
	if (status != SGATE_OK && status != SGATE_CONFLICT && !keeper->is_lost)
		log_warning("looking for the primary: %s: %s; trying again",
		    err.source, err.text);
	keeper->is_lost = status != SGATE_OK;
	beat(keeper);
}

/* That a store is down is told by probe(). */
static void
fence_round(struct keeper *keeper)
{
	const struct sgate_conf *conf = keeper->args->conf;
	struct manager_round round = {
	    .runtime_dir = conf->gateway.runtime_dir,
	    .beat = beat_in_round,
	    .tell = tell,
	    .arg = keeper,
	};
	struct sgate_error err;

	if (clock_monotonic_ms() < fence_due_ms(keeper))
		return;
	keeper->round_at_ms = clock_monotonic_ms();
	if (!is_its_turn(keeper)) {
		keeper->fence_at_ms = clock_monotonic_ms() + STEP_MS;
		return;
	}
	is_due(&keeper->fence_at_ms, conf->fence.poll_interval_ms);
	if (manager_fence_round(keeper->mgr, &round, &err) != SGATE_OK &&
	    open_breakers(keeper) == 0 && !is_outage_told(keeper)) {
		complain("round of the fence", &err);
		keeper->probe_at_ms = 0;
	}
	if (open_breakers(keeper) != keeper->breakers)
		keeper->probe_at_ms = 0;
	keeper->breakers = open_breakers(keeper);
}

/* ---- the spool ---- */

static void
ship(struct keeper *keeper)
{
	if (keeper->shipper == NULL || keeper->is_shipping ||
	    !is_its_turn(keeper))
		return;
	keeper->is_shipping = true;
	shipper_step(keeper->shipper, SHIP_MS);
	keeper->is_shipping = false;
}

/* As often as it goes round, and no oftener. */
static void
look(struct keeper *keeper)
{
	if (is_its_turn(keeper) && is_due(&keeper->look_at_ms, STEP_MS))
		sample_look(
		    &keeper->sampler, &keeper->status_only, clock_boot_ms());
}

/* Between two pieces of a chore. */
static void
breathe(struct keeper *keeper)
{
	beat(keeper);
	if (is_told_to_end)
		return;
	locate(keeper);
	fence_round(keeper);
	beat(keeper);
	look(keeper);
	if (keeper->shipper != NULL && shipper_is_urgent(keeper->shipper))
		ship(keeper);
}

static void
breathe_in_shipping(void *arg)
{
	breathe(arg);
}

/* ---- touches ---- */

/* A first use that is written is not asked for again. */
static void
note_written(
    struct shared *shared, const struct durable_touch *touches, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (touches[i].successor_used_ms != 0)
			shared_mark_set(
			    shared, &touches[i].ref, touches[i].secret_hash);
	}
	shared_touch_written(shared, touches, count);
	tally_add(&shared->others.counters[TALLY_TOUCHES_WRITTEN], count);
}

/*
 * One round over all that is pending. What could not be written stays where it
 * is, for workers to see and for the next round. While the durable store is
 * away the copies are touched all the same, so that they do not run out.
 */
static enum sgate_status
write_touches(struct keeper *keeper)
{
	int64_t deadline_ms = clock_monotonic_ms() + TOUCH_ROUND_MS;
	struct shared *shared = keeper->args->shared;
	enum sgate_status status = SGATE_OK;
	struct sgate_error err;
	size_t count;

	if (keeper->touch_cursor == SHARED_TOUCH_BUCKETS)
		keeper->touch_cursor = 0;
	do {
		count = shared_touch_copy(
		    shared, &keeper->touch_cursor, keeper->batch, TOUCH_BATCH);
		if (count == 0)
			continue;
		set_budget(keeper, BUDGET_MS);
		status = manager_touch_write(
		    keeper->mgr, keeper->batch, count, &err);
		breathe(keeper);
		if (status == SGATE_OK) {
			note_written(shared, keeper->batch, count);
		} else if (has_durable(keeper)) {
			complain("write touches", &err);
			return status;
		}
	} while (keeper->touch_cursor < SHARED_TOUCH_BUCKETS &&
		 clock_left_ms(deadline_ms) > 0);
	return status;
}

static void
write_last_touches(struct keeper *keeper)
{
	int tries;

	for (tries = 0; tries < TOUCH_LAST_TRIES; tries++) {
		keeper->touch_cursor = 0;
		if (write_touches(keeper) == SGATE_OK)
			return;
	}
}

/* ---- probes and figures ---- */

/*
 * Whether its state is another than before, or is known for the first time. One
 * answer that came late makes no outage that somebody is to be called for: the
 * second failure does, which is looked for soon.
 */
static bool
note_store(struct keeper *keeper, struct shared_store *store, bool is_up,
    int64_t latency_us, unsigned *failed)
{
	bool is_first = atomic_load(&store->checked_ms) == 0;
	bool was_up = atomic_load(&store->is_up) != 0;

	*failed = is_up ? 0 : *failed + 1;
	if (*failed == 1 && (is_first || was_up)) {
		keeper->probe_at_ms = clock_monotonic_ms() + PROBE_AGAIN_MS;
		return false;
	}
	if (is_first || was_up != is_up)
		atomic_store(&store->since_ms, clock_utc_ms());
	atomic_store(&store->is_up, is_up);
	atomic_store(&store->latency_us, latency_us);
	atomic_store(&store->checked_ms, clock_utc_ms());
	/* That a store is up at the start is as it should be. */
	return is_first ? !is_up : was_up != is_up;
}

static void
tell_store(
    const struct keeper *keeper, const char *name, bool is_up, const char *why)
{
	const struct shared_store *durable = &state_of(keeper)->durable;
	struct buf meaning = {0};

	outage_add_meaning(&meaning, &keeper->status_only);
	if (!is_up)
		log_error("%s is down: %s; %s", name, why, buf_text(&meaning));
	else if (outage_store(durable) == STORE_DOWN)
		log_notice("%s is up again; %s", name, buf_text(&meaning));
	else
		log_notice("%s is up again", name);
	buf_clear(&meaning);
}

/* Nobody is told by a store that the time without it is over. */
static void
tell_end_of_blind(struct keeper *keeper, const char *name, bool was_told)
{
	int64_t left_ms;
	enum outage now = outage_now(&keeper->status_only, &left_ms);

	if (now == OUTAGE_TOTAL && keeper->outage == OUTAGE_BLIND && !was_told)
		log_error("%s is down: fence.max_blind is over; requests are "
			  "answered 503",
		    name);
	keeper->outage = now;
}

static void
probe(struct keeper *keeper)
{
	struct shared_state *state = state_of(keeper);
	bool is_cache_news, is_durable_news;
	struct sgate_health health;
	struct sgate_error err;

	set_budget(keeper, BUDGET_MS);
	if (sgate_health(keeper->mgr, &health, &err) != SGATE_OK) {
		complain("probe", &err);
		return;
	}
	/* Both are noted before one is told: it tells of both. */
	is_cache_news = health.cache_name[0] != '\0' &&
			note_store(keeper, &state->cache, health.cache_up != 0,
			    health.cache_latency_us, &keeper->cache_failed);
	is_durable_news =
	    note_store(keeper, &state->durable, health.durable_up != 0,
		health.durable_latency_us, &keeper->durable_failed);
	if (is_cache_news)
		tell_store(keeper, health.cache_name, health.cache_up != 0,
		    health.cache_text);
	if (is_durable_news)
		tell_store(keeper, health.durable_name, health.durable_up != 0,
		    health.durable_text);
	tell_end_of_blind(
	    keeper, health.durable_name, is_cache_news || is_durable_news);
}

/*
 * Counting reads whole indexes: as often as costs a hundredth of the time,
 * within bounds.
 */
static int64_t
count_every_ms(int64_t took_ms)
{
	if (100 * took_ms < COUNT_MIN_MS)
		return COUNT_MIN_MS;
	return 100 * took_ms > COUNT_MAX_MS ? COUNT_MAX_MS : 100 * took_ms;
}

static void
publish_count(struct keeper *keeper)
{
	struct shared_state *state = state_of(keeper);
	const struct sgate_stats *stats = &keeper->count.stats;

	atomic_store(&state->live, stats->live);
	atomic_store(&state->anonymous, stats->anonymous);
	atomic_store(&state->users, stats->users);
	atomic_store(&state->ended, stats->ended);
	atomic_store(&state->stats_at_ms, clock_utc_ms());
}

/*
 * However many there are, nothing waits for it: a slice of the count at a time,
 * and the next one when the other chores have had their turn.
 */
static void
count_sessions(struct keeper *keeper)
{
	int64_t began_ms = clock_monotonic_ms();
	enum sgate_status status = SGATE_OK;
	struct sgate_error err;
	bool is_done = false;
	int64_t took_ms = 0;

	set_budget(keeper, BUDGET_MS);
	while (status == SGATE_OK && !is_done && took_ms < COUNT_SLICE_MS) {
		status =
		    manager_count(keeper->mgr, &keeper->count, &is_done, &err);
		took_ms = clock_monotonic_ms() - began_ms;
	}
	keeper->count_took_ms += took_ms;
	keeper->stats_at_ms = 0;
	if (status == SGATE_OK && !is_done)
		return;
	if (status == SGATE_OK)
		publish_count(keeper);
	else
		complain("count sessions", &err);
	keeper->stats_at_ms =
	    clock_monotonic_ms() + count_every_ms(keeper->count_took_ms);
	keeper->count_took_ms = 0;
	memset(&keeper->count, 0, sizeof(keeper->count));
}

static void
announce(struct keeper *keeper)
{
	struct sgate_error err;

	set_budget(keeper, BUDGET_MS);
	if (manager_announce(
		keeper->mgr, keeper->host, ANNOUNCE_TTL_MS, &err) != SGATE_OK)
		complain("announce this host", &err);
}

/* ---- reaping ---- */

/* A pause between chunks in which requests and the heartbeat go on. */
static bool
pause_ms(struct keeper *keeper, int ms)
{
	if (front_step(keeper->front, ms, &keeper->wait_mask) < 0)
		is_told_to_end = 1;
	breathe(keeper);
	return !is_told_to_end;
}

static void
reap(struct keeper *keeper)
{
	const struct sgate_conf *conf = keeper->args->conf;
	int64_t ttl_ms = 3 * conf->reap.interval_ms;
	struct shared_state *state = state_of(keeper);
	struct sgate_reaped reaped = {0};
	struct sgate_error err;
	enum sgate_status status;
	int chunks = 0;

	set_budget(keeper, BUDGET_MS);
	status = manager_reaper_take(keeper->mgr, keeper->host, ttl_ms, &err);
	if (status == SGATE_DENIED)
		return; /* another host does it */
	while (status == SGATE_OK && !reaped.is_done &&
	       chunks++ < REAP_CHUNKS_MAX) {
		status = sgate_reap(keeper->mgr, &reaped, &err);
		if (status != SGATE_OK)
			break;
		atomic_fetch_add(&state->reaped_ended, reaped.ended);
		atomic_fetch_add(&state->reaped_deleted, reaped.deleted);
		if (!pause_ms(keeper, REAP_PAUSE_MS))
			return;
	}
	if (status != SGATE_OK) {
		complain("reap", &err);
		return;
	}
	if (reaped.has_more)
		keeper->reap_at_ms = clock_monotonic_ms() + REAP_AGAIN_MS;
	atomic_store(&state->reaped_at_ms, clock_utc_ms());
}

/* ---- warming ---- */

/* As many as the rate has room for since the last time, but no burst. */
static size_t
warm_allowance(struct keeper *keeper)
{
	int64_t rate = keeper->args->conf->redis.warm_rate;
	int64_t now_ms = clock_monotonic_ms();
	int64_t since_ms = now_ms - keeper->warmed_ms;

	if (since_ms > WARM_BURST_MS)
		since_ms = WARM_BURST_MS;
	keeper->warmed_ms = now_ms;
	keeper->warm_room += rate * since_ms;
	if (keeper->warm_room > rate * WARM_BURST_MS)
		keeper->warm_room = rate * WARM_BURST_MS;
	return (size_t)(keeper->warm_room / 1000);
}

/* Another host's turn is over when it has done, or has died. */
static bool
may_warm(struct keeper *keeper)
{
	struct sgate_error err;
	enum sgate_status status;

	if (!is_due(&keeper->warm_lease_at_ms, WARM_LEASE_EVERY_MS))
		return keeper->is_warming;
	set_budget(keeper, BUDGET_MS);
	status = manager_warmer_take(
	    keeper->mgr, keeper->host, WARM_LEASE_TTL_MS, &err);
	if (status != SGATE_OK && status != SGATE_DENIED)
		complain("warm redis", &err);
	return status == SGATE_OK;
}

static void
end_warming(struct keeper *keeper)
{
	const struct stores_warm *warm = &keeper->args->shared->stores.warm;
	struct sgate_error err;

	keeper->is_warming = false;
	keeper->warm_lease_at_ms = 0;
	atomic_store(&keeper->args->shared->stores.warm.is_running, 0);
	if (atomic_load(&warm->looked) > 0)
		log_notice("redis has all sessions again: %llu",
		    (unsigned long long)atomic_load(&warm->looked));
	if (manager_warmer_leave(keeper->mgr, &err) != SGATE_OK)
		complain("warm redis", &err);
}

/* Pieces of some milliseconds, and a slice of them at a time. */
static void
warm(struct keeper *keeper)
{
	struct stores_warm *warm = &keeper->args->shared->stores.warm;
	int64_t began_ms = clock_monotonic_ms();
	enum sgate_status status = SGATE_OK;
	struct sgate_error err;
	size_t rows, room;

	if (!is_its_turn(keeper) || !manager_warm_is_due(keeper->mgr) ||
	    began_ms < keeper->warm_after_ms)
		return;
	keeper->is_warming = may_warm(keeper);
	atomic_store(&warm->is_running, keeper->is_warming);
	if (!keeper->is_warming)
		return;
	room = warm_allowance(keeper);
	while (status == SGATE_OK && room > 0 &&
	       manager_warm_is_due(keeper->mgr) &&
	       clock_monotonic_ms() - began_ms < WARM_SLICE_MS) {
		rows = room < WARM_ROWS ? room : WARM_ROWS;
		set_budget(keeper, WARM_CALL_MS);
		status =
		    manager_warm(keeper->mgr, &keeper->warming, rows, &err);
		keeper->warm_room -= 1000 * (int64_t)rows;
		room -= rows;
		breathe(keeper);
	}
	if (status != SGATE_OK)
		keeper->warm_after_ms = clock_monotonic_ms() + WARM_AGAIN_MS;
	if (status != SGATE_OK)
		complain("warm redis", &err);
	else if (atomic_load(&warm->done) == atomic_load(&warm->losses))
		end_warming(keeper);
}

/* ---- loop ---- */

static void
do_what_is_due(struct keeper *keeper)
{
	const struct sgate_conf *conf = keeper->args->conf;

	breathe(keeper);
	ship(keeper);
	if (is_due(&keeper->probe_at_ms, PROBE_EVERY_MS))
		probe(keeper);
	outage_tell_rest(&keeper->status_only);
	breathe(keeper);
	if (is_due(&keeper->touch_at_ms, TOUCH_EVERY_MS))
		write_touches(keeper);
	breathe(keeper);
	if (!has_durable(keeper))
		return;
	warm(keeper);
	breathe(keeper);
	if (is_due(&keeper->announce_at_ms, ANNOUNCE_EVERY_MS))
		announce(keeper);
	breathe(keeper);
	if (is_due(&keeper->reap_at_ms, conf->reap.interval_ms))
		reap(keeper);
	breathe(keeper);
	if (is_due(&keeper->stats_at_ms, COUNT_MAX_MS))
		count_sessions(keeper);
	beat(keeper);
}

/* To the next round of the fence, or a tick. */
static int
wait_ms(const struct keeper *keeper)
{
	int64_t left_ms = fence_due_ms(keeper) - clock_monotonic_ms();

	if (left_ms > STEP_MS)
		return STEP_MS;
	return left_ms > 0 ? (int)left_ms : 0;
}

/* Take no more; finish what has begun. */
static void
answer_last(struct keeper *keeper)
{
	int64_t deadline_ms =
	    clock_monotonic_ms() + keeper->args->conf->gateway.read_timeout_ms;

	front_stop(
	    keeper->front, atomic_load(&keeper->args->shared->stopping) != 0);
	while (front_waiting(keeper->front) > 0 &&
	       clock_left_ms(deadline_ms) > 0 &&
	       front_step(keeper->front, STEP_MS, &keeper->wait_mask) >= 0)
		beat(keeper);
}

static void
say_ready(int fd)
{
	if (fd < 0)
		return;
	if (write(fd, "r", 1) != 1)
		log_warning("the master does not hear that it is ready");
	close(fd);
}

static int
run(struct keeper *keeper)
{
	int rc = 0;

	beat(keeper);
	say_ready(keeper->args->ready_fd);
	while (!is_told_to_end && rc >= 0) {
		do_what_is_due(keeper);
		if (!is_told_to_end)
			rc = front_step(
			    keeper->front, wait_ms(keeper), &keeper->wait_mask);
		if (process_is_told_to_end())
			is_told_to_end = 1;
		beat(keeper);
	}
	if (rc >= 0)
		answer_last(keeper);
	write_last_touches(keeper);
	if (keeper->shipper != NULL)
		shipper_last(keeper->shipper, SHIP_LAST_MS);
	if (rc < 0)
		log_error("waiting for requests failed");
	return rc < 0 ? EXIT_BROKEN : EXIT_DONE;
}

static int64_t
pending_last_seen(void *arg, const struct sgate_ref *ref)
{
	return shared_touch_last_seen(arg, ref);
}

/* Reaping, too, counts activity that is not written yet. */
static enum sgate_status
open_manager(struct keeper *keeper, struct sgate_error *err)
{
	struct manager_touch_hooks hooks = {
	    .last_seen = pending_last_seen,
	    .arg = keeper->args->shared,
	};
	enum sgate_status status;

	status = sgate_manager_new(keeper->args->conf, NULL, &keeper->mgr, err);
	if (status != SGATE_OK)
		return status;
	manager_set_touch_hooks(keeper->mgr, &hooks);
	manager_set_stores(keeper->mgr, &keeper->args->shared->stores);
	manager_set_local(keeper->mgr, keeper->args->local);
	return SGATE_OK;
}

static enum sgate_status
open_shipper(struct keeper *keeper, struct sgate_error *err)
{
	if (!conf_has_spool(keeper->args->conf))
		return SGATE_OK;
	keeper->shipper = shipper_new(keeper->args->conf, keeper->mgr,
	    &keeper->args->shared->stores, breathe_in_shipping, keeper);
	return keeper->shipper != NULL ? SGATE_OK : error_memory(err, "ship");
}

static bool
set_up(struct keeper *keeper, const struct process_args *args)
{
	struct front_options options = {
	    .listeners = args->listeners, .is_keeper = true};
	struct sgate_error err;

	keeper->args = args;
	prctl(PR_SET_NAME, "sessgated-keep"); /* for ps and top */
	process_set_signals(on_term, &keeper->wait_mask);
	if (gethostname(keeper->host, sizeof(keeper->host)) != 0 ||
	    keeper->host[0] == '\0')
		strcpy(keeper->host, "localhost");
	keeper->host[HOST_MAX] = '\0';
	keeper->status_only.conf = args->conf;
	keeper->status_only.shared = args->shared;
	keeper->status_only.tally = &args->shared->others;
	if (open_manager(keeper, &err) != SGATE_OK ||
	    open_shipper(keeper, &err) != SGATE_OK ||
	    front_new(&keeper->status_only, &options, &keeper->front, &err) !=
		SGATE_OK) {
		log_error("%s: %s", err.source, err.text);
		return false;
	}
	/* A first round of reaping must not delay the first answer. */
	keeper->reap_at_ms =
	    clock_monotonic_ms() + args->conf->reap.interval_ms;
	return true;
}

int
keeper_run(const struct process_args *args)
{
	struct keeper *keeper = calloc(1, sizeof(*keeper));
	int status = EXIT_CANNOT_RUN;

	if (keeper == NULL) {
		log_error("out of memory");
		return EXIT_CANNOT_RUN;
	}
	if (set_up(keeper, args))
		status = run(keeper);
	front_free(keeper->front);
	shipper_free(keeper->shipper);
	sgate_manager_free(keeper->mgr);
	free(keeper);
	return status;
}
