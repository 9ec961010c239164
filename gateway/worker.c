/*
 * One worker: its own manager, its own front, one request at a time.
 *
 * Signals arrive only while it waits (front_step's mask), so a request is never
 * cut by one. SIGTERM: the worker takes what its backlogs hold, answers what
 * has begun to arrive, and returns. The master says all else with SIGTERM and,
 * when a request has overrun, SIGKILL.
 */
#include "config.h"

#include "worker.h"

#include "clock.h"
#include "front.h"
#include "log.h"
#include "serve.h"
#include "session_manager.h"
#include "spool.h"

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define WAIT_MS 1000
/* Beyond read_timeout, for the last answers of a stop. */
#define STOP_GRACE_MS 1000

static volatile sig_atomic_t is_told_to_stop;

static void
on_stop(int number)
{
	(void)number;
	is_told_to_stop = 1;
}

/*
 * SIGTERM is blocked but for the waits. What a terminal or an operator sends
 * to the whole group is the master's to act on.
 */
static void
set_signals(sigset_t *out_wait_mask)
{
	static const int ignored[] = {SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTTIN,
	    SIGTTOU, SIGUSR1, SIGUSR2};
	struct sigaction action;
	sigset_t blocked;
	size_t i;

	memset(&action, 0, sizeof(action));
	sigemptyset(&action.sa_mask);
	action.sa_handler = SIG_IGN;
	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		sigaction(ignored[i], &action, NULL);
	action.sa_handler = on_stop;
	sigaction(SIGTERM, &action, NULL);
	sigemptyset(out_wait_mask);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static void
set_name(int index)
{
	char text[32];

	snprintf(text, sizeof(text), "worker %d", index);
	log_set_who(text);
	/* What ps and top show; the kernel keeps 15 bytes. */
	snprintf(text, sizeof(text), "sessgated-w%d", index);
	prctl(PR_SET_NAME, text);
}

static struct shared_worker *
take_row(const struct process_args *args)
{
	struct shared_worker *row = &args->shared->workers[args->index];

	atomic_store(&row->state, SHARED_STARTING);
	atomic_store(&row->since_us, clock_monotonic_us());
	atomic_store(&row->started_ms, clock_utc_ms());
	atomic_store(&row->requests, 0);
	atomic_store(&row->pid, (int)getpid());
	return row;
}

static bool
put_touch(void *arg, const struct durable_touch *touch)
{
	const struct gateway *gw = arg;

	if (!shared_touch_put(gw->shared, touch))
		return false;
	tally_add_own(&gw->tally->counters[TALLY_TOUCHES_QUEUED], 1);
	return true;
}

static int64_t
pending_last_seen(void *arg, const struct sgate_ref *ref)
{
	const struct gateway *gw = arg;

	return shared_touch_last_seen(gw->shared, ref);
}

static bool
is_marked(void *arg, const struct sgate_ref *ref,
    const unsigned char secret_hash[TOKEN_HASH_BYTES])
{
	const struct gateway *gw = arg;

	return shared_mark_is_set(gw->shared, ref, secret_hash);
}

static enum sgate_status
open_manager(const struct process_args *args, struct gateway *gw,
    struct sgate_error *err)
{
	struct sgate_manager **out_mgr = &gw->mgr;
	struct manager_touch_hooks hooks = {
	    .put = put_touch,
	    .last_seen = pending_last_seen,
	    .is_marked = is_marked,
	    .arg = gw,
	};
	enum sgate_status status;

	status = sgate_manager_new(args->conf, NULL, out_mgr, err);
	if (status != SGATE_OK)
		return status;
	manager_set_touch_hooks(*out_mgr, &hooks);
	manager_set_stores(*out_mgr, &args->shared->stores);
	manager_set_counts(*out_mgr, gw->tally->stores);
	manager_set_local(*out_mgr, args->local);
	manager_set_turn(*out_mgr, args->index);
	manager_set_batch(*out_mgr, args->batch, (unsigned)args->index);
	return SGATE_OK;
}

/*
 * Without it requests are answered all the same, but an end that MySQL cannot
 * be told is then not acknowledged.
 */
static void
open_spool(const struct process_args *args, struct sgate_manager *mgr,
    struct spool **out_spool)
{
	const struct sgate_conf *conf = args->conf;
	struct spool_limits limits = {
	    .dir = conf->spool.dir,
	    .max_bytes = (int64_t)conf->spool.max_bytes,
	    .reserve_percent = conf->spool.reserve_percent,
	    .keep_ms = conf->spool.keep_ms,
	};
	struct sgate_error err;

	*out_spool = NULL;
	if (!conf_has_spool(conf))
		return;
	if (spool_open(&limits, out_spool, &err) != SGATE_OK)
		log_error("no spool: %s; while mysql is away a logout is "
			  "answered 503",
		    err.text);
	manager_set_spool(mgr, *out_spool);
}

/*
 * Workers that started together must not end together: 10 % either way.
 * 0 = no limit.
 */
static int64_t
requests_limit(int64_t max_requests)
{
	int64_t tenth = max_requests / 10;

	if (max_requests <= 0 || tenth == 0)
		return max_requests;
	if (tenth > INT32_MAX / 2)
		tenth = INT32_MAX / 2;
	return max_requests - tenth +
	       (int64_t)randombytes_uniform((uint32_t)(2 * tenth + 1));
}

bool
process_is_told_to_end(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 && sigismember(&pending, SIGTERM) == 1;
}

void
process_set_signals(void (*on_term)(int), sigset_t *out_wait_mask)
{
	struct sigaction action = {.sa_handler = on_term};
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, out_wait_mask);
	sigdelset(out_wait_mask, SIGTERM);
	sigemptyset(&action.sa_mask);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/*
 * The master sends SIGTERM; if it died instead, nobody will. now_us may be a
 * little old: that of the last request will do.
 */
static bool
must_stop(
    const struct process_args *args, int64_t now_us, int64_t *next_look_us)
{
	if (is_told_to_stop || atomic_load(&args->shared->stopping) != 0)
		return true;
	if (now_us < *next_look_us)
		return false;
	*next_look_us = now_us + WAIT_MS * 1000;
	return process_is_told_to_end() || getppid() != args->master_pid;
}

static int
serve_until_told(const struct process_args *args,
    const struct shared_worker *row, struct front *front,
    const sigset_t *wait_mask)
{
	int64_t now_us = clock_monotonic_us();
	int64_t limit = requests_limit(args->conf->gateway.max_requests);
	int64_t served = 0, next_look_us = 0;
	int count;

	while (!must_stop(args, now_us, &next_look_us) &&
	       (limit <= 0 || served < limit)) {
		count = front_step(front, WAIT_MS, wait_mask);
		if (count < 0) {
			log_error("waiting for requests failed; ending, the "
				  "master starts another");
			return EXIT_BROKEN;
		}
		served += count;
		now_us = count > 0 ? atomic_load(&row->since_us)
				   : clock_monotonic_us();
	}
	return EXIT_DONE;
}

/* What waits has read_timeout to arrive, so this ends. */
static void
finish_waiting(const struct process_args *args, struct front *front,
    const sigset_t *wait_mask)
{
	int64_t until_ms = clock_monotonic_ms() +
			   args->conf->gateway.read_timeout_ms + STOP_GRACE_MS;

	front_stop(front, atomic_load(&args->shared->stopping) != 0);
	while (front_waiting(front) > 0 && clock_left_ms(until_ms) > 0) {
		if (front_step(front, clock_left_ms(until_ms), wait_mask) < 0)
			return;
	}
}

int
worker_run(const struct process_args *args)
{
	struct gateway gw = {
	    .conf = args->conf,
	    .shared = args->shared,
	    .tally = &args->shared->tallies[args->index],
	};
	struct front_options options = {
	    .listeners = args->listeners, .handover = args->handover};
	struct front *front = NULL;
	struct spool *spool = NULL;
	struct shared_worker *row;
	struct sgate_error err;
	sigset_t wait_mask;
	int exit_status = EXIT_CANNOT_RUN;

	set_signals(&wait_mask);
	set_name(args->index);
	row = take_row(args);
	atomic_store(&gw.tally->is_used, 1);
	if (open_manager(args, &gw, &err) != SGATE_OK) {
		log_error("cannot start: %s: %s", err.source, err.text);
		goto out;
	}
	open_spool(args, gw.mgr, &spool);
	options.slot = row;
	if (front_new(&gw, &options, &front, &err) != SGATE_OK) {
		log_error("cannot start: %s: %s", err.source, err.text);
		goto out;
	}
	exit_status = serve_until_told(args, row, front, &wait_mask);
	if (exit_status == EXIT_DONE)
		finish_waiting(args, front, &wait_mask);

out:
	front_free(front);
	sgate_manager_free(gw.mgr);
	spool_close(spool);
	return exit_status;
}
