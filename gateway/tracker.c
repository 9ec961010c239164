/*
 * The tracker: hears from Redis what is written there, and keeps the local
 * cache (local.h) right. It waits for nothing but its own connections
 * (tracking.h), and touches nothing but them and shared memory; the keeper,
 * which waits for stores, could not do it. Without it there is no lease, and
 * everybody asks the stores: so nobody waits for it, and it may be killed at
 * any moment.
 *
 * Why an entry that is used was right a lease ago:
 *
 * - It was made of an answer that came after the table was emptied, and that
 *   happens when the tracker has begun to listen. So whatever was written in
 *   Redis since that answer is told here, and in the order in which it
 * happened.
 * - What is told is dropped at once (local_doubt), entry and answers that are
 *   still under way. By the time a PONG is looked at, nothing of what was told
 *   before it is left to be done. There is no queue in which it could wait.
 * - The lease ends so long after the moment that a PONG proves (tracking.h).
 *   A tracker that is late, stopped or cut off renews nothing.
 * - Whatever makes it doubtful that everything has been told (the connection
 *   ends, says something that nobody understands, or nothing; there is another
 *   master, or another configuration) ends the lease and empties the table.
 * - What was changed in MySQL and could not be told to Redis is dropped by the
 *   keeper's round (manager_fence.c), as where there is no tracker.
 *
 * A touch writes the record, too, and is told as any change; and it must not
 * cost all hosts their entries. So a record of which there was an entry is
 * looked at: of the same version and live, its entry was right and still is,
 * and it is brought back. That is a fill like each other one, with a ticket of
 * after the drop and an answer of after the ticket: nothing has to be known
 * about when it comes, whether it comes, or what comes in between, because
 * whatever drops the entry in between makes the ticket old. No entry is used on
 * the strength of a question. (With another server behind the second connection
 * than behind the first, its answer is as good as that of a look that asked
 * there: see the last point above.) Until it is brought back, some tenth of a
 * millisecond, looks ask Redis.
 *
 * The mode follows the breaker of the cache and nothing else. While looks ask
 * Redis, an end may be there that MySQL has not got (lib/README.md, "The
 * spool"), so the keeper's rounds are not enough; while they do not, the rounds
 * are what they would find. A tracker that cannot listen to a Redis that others
 * reach leaves the host without a lease: slow, and right. The breaker does not
 * flap, so the table is not emptied more often than it opens and closes.
 */
#include "config.h"

#include "worker.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include <sodium.h>

#include "clock.h"
#include "failpoint.h"
#include "local.h"
#include "log.h"
#include "tracking.h"

/* How often the breaker is looked at. */
#define TICK_MS 50
#define CONNECT_MIN_MS 100
#define CONNECT_MAX_MS 2000
/* Not connected for so long, while others reach Redis: somebody should know. */
#define SILENT_MS 10000

struct tracker {
	const struct process_args *args;
	struct local *local;
	struct shared_tracker *shown;
	struct tracking *tracking;
	sigset_t wait_mask;
	int64_t connect_at_ms, connect_pause_ms;
	int64_t cut_off_ms; /* monotonic: since when; 0: it listens */
	bool is_told;       /* that it cannot listen */
};

static volatile sig_atomic_t is_told_to_end;

static void
on_term(int number)
{
	(void)number;
	is_told_to_end = 1;
}

static struct breaker *
cache_breaker(const struct tracker *t)
{
	return &t->args->shared->stores.cache;
}

static void
count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- mode ---- */

/* Also ends the lease. */
static void
empty(struct tracker *t, enum local_mode mode)
{
	local_set_mode(t->local, mode);
	atomic_store(&t->shown->is_polled, mode == LOCAL_POLLED);
	count(&t->shown->emptied);
}

static void
follow_breaker(struct tracker *t)
{
	enum local_mode mode =
	    breaker_is_open(cache_breaker(t)) ? LOCAL_POLLED : LOCAL_TRACKED;

	if (mode != local_get_mode(t->local) && !failpoint_is_off("track-mode"))
		empty(t, mode);
}

/*
 * From here on, or up to here, something may not have been told. In the other
 * mode nothing of what is there was to be told.
 */
static void
distrust(struct tracker *t)
{
	if (local_get_mode(t->local) == LOCAL_TRACKED &&
	    !failpoint_is_off("track-loss"))
		empty(t, LOCAL_TRACKED);
}

/* ---- what is told ---- */

static void
on_changed(void *arg, const struct sgate_ref *ref)
{
	struct tracker *t = arg;
	struct tracking_question question = {.ref = *ref};

	count(&t->shown->changes);
	if (!local_doubt(t->local, ref, &question.version, &question.ticket))
		return;
	count(&t->shown->drops);
	/* One that cannot be asked stays dropped. */
	if (!failpoint_is_off("track-touch"))
		(void)tracking_ask(t->tracking, &question);
}

static void
on_changed_all(void *arg)
{
	struct tracker *t = arg;

	local_drop_all(t->local);
	count(&t->shown->emptied);
}

static void
on_proved(void *arg, int64_t before_boot_ms)
{
	struct tracker *t = arg;

	atomic_store(&t->shown->proved_ms, before_boot_ms);
	t->connect_pause_ms = 0;
	if (local_get_mode(t->local) == LOCAL_TRACKED)
		local_renew(
		    t->local, before_boot_ms + t->args->conf->cache.lease_ms);
}

/* By the durable store's clock, if it is known. */
static int64_t
now_utc_ms(const struct tracker *t)
{
	int64_t offset_ms =
	    atomic_load(&t->args->shared->stores.fence.clock_offset_ms);

	return offset_ms == 0 ? clock_utc_ms() : clock_boot_ms() + offset_ms;
}

/* last_seen is not sealed: what is in the future counts as now. */
static void
on_found(void *arg, const struct tracking_question *question,
    const struct tracking_head *head)
{
	struct tracker *t = arg;
	int64_t seen_ms = head->last_seen_ms, now_ms = now_utc_ms(t);

	if ((head->state != 'L' && head->state != 'U') ||
	    head->version != question->version)
		return;
	if (seen_ms > now_ms)
		seen_ms = now_ms;
	local_keep(t->local, &question->ref, question->version, seen_ms,
	    &question->ticket);
	count(&t->shown->kept);
}

/* ---- connecting ---- */

static bool
may_not_listen(const struct sgate_error *err)
{
	return strstr(err->text, "NOPERM") != NULL;
}

/*
 * A Redis that is down is the keeper's to tell. What it cannot see is one that
 * everybody reaches and the tracker does not.
 */
static void
tell_failure(struct tracker *t, const struct sgate_error *err)
{
	if (t->is_told)
		return;
	if (may_not_listen(err))
		log_warning("local cache: %s; until its user may (%s) every "
			    "look asks a store",
		    err->text, TRACKING_ACL);
	else if (!breaker_is_open(cache_breaker(t)) &&
		 clock_monotonic_ms() - t->cut_off_ms > SILENT_MS)
		log_warning("local cache: cannot listen: %s; trying again, and "
			    "every look asks a store",
		    err->text);
	else
		return;
	t->is_told = true;
}

static int64_t
pause_ms(struct tracker *t)
{
	t->connect_pause_ms =
	    t->connect_pause_ms == 0 ? CONNECT_MIN_MS : 2 * t->connect_pause_ms;
	if (t->connect_pause_ms > CONNECT_MAX_MS)
		t->connect_pause_ms = CONNECT_MAX_MS;
	/* Hosts do not come together. */
	return t->connect_pause_ms * (70 + randombytes_uniform(61)) / 100;
}

/* While the breaker is open only the keeper asks whether it is there again. */
static void
connect_when_due(struct tracker *t)
{
	struct sgate_error err;

	if (tracking_is_connected(t->tracking) ||
	    clock_left_ms(t->connect_at_ms) > 0 ||
	    breaker_state(cache_breaker(t)) == BREAKER_OPEN)
		return;
	/* Also after one that ends before it has proved anything. */
	t->connect_at_ms = clock_monotonic_ms() + pause_ms(t);
	if (tracking_connect(t->tracking, &err) != SGATE_OK) {
		tell_failure(t, &err);
		return;
	}
	distrust(t);
	count(&t->shown->connections);
	atomic_store(&t->shown->is_listening, 1);
	if (t->is_told)
		log_notice("local cache: listening again");
	t->is_told = false;
	t->cut_off_ms = 0;
}

static void
lose(struct tracker *t, const struct sgate_error *err)
{
	static struct log_limit limit = {.burst = 3, .period_ms = 60000};

	distrust(t);
	atomic_store(&t->shown->is_listening, 0);
	atomic_store(&t->shown->proved_ms, 0);
	t->cut_off_ms = clock_monotonic_ms();
	if (t->connect_pause_ms == 0)
		t->connect_at_ms = 0;
	log_limited(&limit, LOG_LEVEL_NOTICE,
	    "local cache: %s; emptied, and looks ask a store", err->text);
}

/* ---- loop ---- */

static void
step(struct tracker *t)
{
	const struct timespec tick = {0, TICK_MS * 1000000L};
	struct sgate_error err;

	atomic_store(&t->shown->heartbeat_ms, clock_monotonic_ms());
	follow_breaker(t);
	connect_when_due(t);
	if (!tracking_is_connected(t->tracking))
		ppoll(NULL, 0, &tick, &t->wait_mask);
	else if (tracking_wait(t->tracking, TICK_MS, &t->wait_mask, &err) !=
		 SGATE_OK)
		lose(t, &err);
	/* A wait that has something to do takes no signal. */
	if (process_is_told_to_end())
		is_told_to_end = 1;
}

/* What the one before has left may have been told to nobody; and a new
 * configuration may judge otherwise. */
static void
begin(struct tracker *t)
{
	atomic_store(&t->shown->is_listening, 0);
	atomic_store(&t->shown->proved_ms, 0);
	t->cut_off_ms = clock_monotonic_ms();
	empty(t,
	    breaker_is_open(cache_breaker(t)) ? LOCAL_POLLED : LOCAL_TRACKED);
}

int
tracker_run(const struct process_args *args)
{
	struct tracker t = {.args = args, .local = args->local};
	const struct tracking_hooks hooks = {.changed = on_changed,
	    .changed_all = on_changed_all,
	    .proved = on_proved,
	    .found = on_found,
	    .arg = &t};
	struct sgate_error err;

	prctl(PR_SET_NAME, "sessgated-track"); /* for ps and top */
	process_set_signals(on_term, &t.wait_mask);
	t.shown = &args->shared->state.tracker;
	begin(&t);
	if (tracking_new(args->conf, &args->shared->stores.cache_at,
		args->conf->cache.lease_ms, &hooks, &t.tracking,
		&err) != SGATE_OK) {
		log_error("%s: %s", err.source, err.text);
		return EXIT_CANNOT_RUN;
	}
	while (!is_told_to_end)
		step(&t);
	tracking_free(t.tracking);
	return EXIT_DONE;
}
