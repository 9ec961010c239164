/*
 * The session manager: what the public functions do with tokens, rows and the
 * durable store. This file makes and frees managers, says what each answer of
 * the store means, and looks sessions up; changes are in manager_*.c (their
 * list is in manager.h).
 *
 * The one idea: a look never changes a session but for noting activity, and a
 * change never believes a look; it reads the row again under its lock.
 */
#include "config.h"

#include "manager.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "clock.h"
#include "failpoint.h"
#include "forks.h"
#include "status.h"

/*
 * Fallback: what each answer of a store means.
 *
 * The durable store is the truth. The cache holds copies, which a look believes
 * as far as the fence goes (manager_look.c has that table), and tombstones,
 * which it always believes. A change is made in the durable store alone and
 * then told to the cache. An answer that is no answer is "unavailable", try
 * again, and never "no such session": nobody is logged out by an outage.
 *
 * | the durable store says | to a look       | within a change               |
 * | OK             | a row                   | go on                         |
 * | NOT_FOUND      | no such session         | no such session; roll back    |
 * | CONFLICT       | our bug                 | told by the place: audit: it  |
 * |                |                         | was done; key: a repeat       |
 * | INVALID        | unavailable: the schema is missing or of another        |
 * |                | version, which says nothing about the session           |
 * | CORRUPT        | corrupt: left in place; callers answer "unavailable"    |
 * | TOO_LARGE      | unavailable             | too large                     |
 * | DENIED         | our bug                 | a lease is another's          |
 * | UNAVAILABLE,   | a copy, where this host | once more while time is left, |
 * | or its breaker | is blind but not for    | then unavailable (an open     |
 * | is open        | longer than max_blind;  | breaker: at once)             |
 * |                | else unavailable        |                               |
 * | UNCERTAIN      | unavailable             | settled by its audit row      |
 * | the rest       | as it is                | as it is                      |
 *
 * | the cache says | to a look               | to a change, when committed   |
 * | a tombstone    | refused, its reason     | refused, its reason           |
 * | a copy         | the session, or doubt:  | -                             |
 * |                | ask the durable store   |                               |
 * | nothing        | ask the durable store   | -                             |
 * | put: OK, HAVE, | the row that was read   | done                          |
 * | NOSYNC         |                         |                               |
 * | put: RETRY     | read the row again, at  | a create: read the row and    |
 * |                | most twice              | put it again, at most twice   |
 * | UNAVAILABLE,   | ask the durable store;  | done: the keepers bring it    |
 * | or its breaker | after a put: the row    |                               |
 * | is open        |                         |                               |
 * | the rest       | as it is                | done                          |
 *
 * When you add a status, add its line here and in fallback[].
 */
static const struct {
	enum sgate_status to_look, to_change;
} fallback[] = {
    [SGATE_OK] = {SGATE_OK, SGATE_OK},
    [SGATE_NOT_FOUND] = {SGATE_NOT_FOUND, SGATE_NOT_FOUND},
    [SGATE_CONFLICT] = {SGATE_INTERNAL, SGATE_CONFLICT},
    [SGATE_INVALID] = {SGATE_UNAVAILABLE, SGATE_UNAVAILABLE},
    [SGATE_CORRUPT] = {SGATE_CORRUPT, SGATE_CORRUPT},
    [SGATE_TOO_LARGE] = {SGATE_UNAVAILABLE, SGATE_TOO_LARGE},
    [SGATE_DENIED] = {SGATE_INTERNAL, SGATE_DENIED},
    [SGATE_UNAVAILABLE] = {SGATE_UNAVAILABLE, SGATE_UNAVAILABLE},
    [SGATE_UNCERTAIN] = {SGATE_UNAVAILABLE, SGATE_UNCERTAIN},
    [SGATE_NO_MEMORY] = {SGATE_NO_MEMORY, SGATE_NO_MEMORY},
    [SGATE_INTERNAL] = {SGATE_INTERNAL, SGATE_INTERNAL},
};

bool
manager_is_alone(const struct sgate_manager *mgr)
{
	return mgr->stores == &mgr->own_stores;
}

bool
manager_is_prober(const struct sgate_manager *mgr)
{
	return mgr->call.is_probing || manager_is_alone(mgr);
}

int64_t
manager_window_ms(const struct sgate_manager *mgr)
{
	int64_t round_ms = mgr->conf->redis.timeout_ms +
			   mgr->conf->mysql.read_timeout_ms +
			   2 * BREAKER_PROBE_MIN_MS;

	return 2 * round_ms > 1000 ? 2 * round_ms : 1000;
}

/* What was asked past an open breaker is no probe: nobody took one. */
bool
manager_tells(const struct sgate_manager *mgr, const struct breaker *breaker)
{
	return !mgr->call.is_let || breaker_state(breaker) != BREAKER_OPEN;
}

/* Within a part of what the answer took: then the store may have been quick. */
static bool
was_kept_waiting(struct sgate_manager *mgr, int64_t took_ms)
{
	int64_t before_us = mgr->kept_waiting_us;

	mgr->kept_waiting_us = clock_kept_waiting_us();
	return 2 * (mgr->kept_waiting_us - before_us) >= took_ms * 1000;
}

enum breaker_pace
manager_pace(struct sgate_manager *mgr, int64_t took_ms, int64_t limit_ms,
    const struct breaker *other)
{
	if (mgr->call.is_let)
		return BREAKER_UNTIMED;
	if (2 * took_ms <= limit_ms || other == NULL || breaker_is_open(other))
		return BREAKER_FAST;
	return was_kept_waiting(mgr, took_ms) ? BREAKER_UNTIMED : BREAKER_SLOW;
}

/* A file has no breaker: it does not hang as a server does. */
static bool
durable_has_breaker(const struct sgate_manager *mgr)
{
	return mgr->ops->snapshot != NULL;
}

/* What the driver says beside its answer. */
static void
take_words(struct sgate_manager *mgr, bool *out_unreachable, bool *out_refused,
    bool *out_answered)
{
	struct durable *d = mgr->durable;

	*out_unreachable = d != NULL && d->is_unreachable;
	*out_refused = d != NULL && d->is_refused;
	*out_answered = d != NULL && d->has_answered;
	mgr->is_durable_busy = d != NULL && d->is_busy;
	if (d == NULL)
		return;
	d->is_unreachable = d->is_refused = d->has_answered = false;
	d->is_busy = false;
}

/* Of an error that says neither, nobody knows anything: the time was up. */
static void
note_life(
    struct sgate_manager *mgr, bool is_heard, bool is_lost, int64_t now_ms)
{
	struct stores_absence *absence = &mgr->stores->absence;

	if (is_heard) {
		atomic_store(&absence->heard_ms, now_ms);
		mgr->call.durable_losses = 0;
	} else if (is_lost) {
		atomic_store(&absence->lost_ms, now_ms);
		if (mgr->call.durable_losses++ == 0)
			mgr->call.durable_lost_ms = now_ms;
	}
}

static enum breaker_pace
durable_pace(struct sgate_manager *mgr, int64_t now_ms)
{
	int64_t asked_ms = mgr->call.durable_asked_ms;

	mgr->call.durable_asked_ms = 0;
	if (asked_ms == 0)
		return BREAKER_UNTIMED;
	return manager_pace(mgr, now_ms - asked_ms,
	    mgr->conf->mysql.read_timeout_ms,
	    mgr->cache_ops != NULL ? &mgr->stores->cache : NULL);
}

/*
 * The one place where the durable store's breaker and error counter learn of
 * an answer. "Not found" and a refusal are answers too; an error that says that
 * the server is there (a full disk, a lock) opens no breaker and closes none.
 */
static void
durable_left(struct sgate_manager *mgr, enum sgate_status answer)
{
	bool is_refused, is_unreachable, has_answered, is_slow;
	int64_t now_ms = clock_monotonic_ms();
	enum breaker_pace pace = durable_pace(mgr, now_ms);
	bool is_told = manager_tells(mgr, &mgr->stores->durable);

	take_words(mgr, &is_unreachable, &is_refused, &has_answered);
	is_slow = pace == BREAKER_SLOW;
	mgr->is_durable_away = is_unreachable;
	switch (answer) {
	case SGATE_UNAVAILABLE:
	case SGATE_UNCERTAIN:
		stores_count(mgr->counts, STORES_DURABLE_ERRORS);
		note_life(mgr, has_answered, is_unreachable, now_ms);
		if (durable_has_breaker(mgr) && is_unreachable && is_told)
			breaker_failed(&mgr->stores->durable,
			    mgr->durable_generation, is_refused,
			    manager_window_ms(mgr), now_ms);
		break;
	case SGATE_NO_MEMORY:
	case SGATE_INTERNAL:
		break;
	case SGATE_OK:
	case SGATE_NOT_FOUND:
	case SGATE_CONFLICT:
	case SGATE_INVALID:
	case SGATE_CORRUPT:
	case SGATE_TOO_LARGE:
	case SGATE_DENIED:
		note_life(mgr, !is_slow, is_slow, now_ms);
		if (is_told)
			breaker_succeeded(&mgr->stores->durable,
			    mgr->durable_generation, pace, now_ms);
		break;
	}
}

static enum sgate_status
translate(struct sgate_manager *mgr, enum sgate_status answer,
    enum sgate_status meaning, struct sgate_error *err)
{
	durable_left(mgr, answer);
	if (answer == SGATE_OK || answer == SGATE_NOT_FOUND ||
	    answer == SGATE_CONFLICT || answer == SGATE_DENIED)
		mgr->served_by = STORES_DURABLE;
	if (meaning != answer && err != NULL) {
		err->status = meaning;
		if (meaning == SGATE_UNAVAILABLE)
			err->reason = SGATE_REASON_STORE;
	}
	return meaning;
}

enum sgate_status
manager_read(struct sgate_manager *mgr, enum sgate_status answer,
    struct sgate_error *err)
{
	return translate(mgr, answer, fallback[answer].to_look, err);
}

enum sgate_status
manager_write(struct sgate_manager *mgr, enum sgate_status answer,
    struct sgate_error *err)
{
	return translate(mgr, answer, fallback[answer].to_change, err);
}

/* ---- make, free, ask ---- */

/*
 * This process's own part of event ids. A handle that came through fork() is
 * the parent's: to use or to close it mixes two processes in one connection,
 * so it is let go untouched. Whether a store can be opened again here is the
 * driver's to know.
 */
static void
manager_settle_in(struct sgate_manager *mgr, unsigned forks)
{
	unsigned char hash[crypto_generichash_BYTES_MIN];

	mgr->forks = forks;
	mgr->durable = NULL;
	mgr->cache = NULL;
	if (gethostname(mgr->host, sizeof(mgr->host) - 1) != 0)
		memcpy(mgr->host, "unknown", sizeof("unknown"));
	mgr->host[sizeof(mgr->host) - 1] = '\0';
	crypto_generichash(hash, sizeof(hash), (const unsigned char *)mgr->host,
	    strlen(mgr->host), NULL, 0);
	memcpy(mgr->event_host, hash, sizeof(mgr->event_host));
	token_random(mgr->event_manager, sizeof(mgr->event_manager));
}

enum sgate_status
manager_new_with(const struct sgate_conf *conf,
    const struct sgate_options *options, const struct durable_ops *ops,
    const struct cache_ops *cache_ops, struct sgate_manager **out_mgr,
    struct sgate_error *err)
{
	struct sgate_manager *mgr = NULL;
	enum sgate_status status;

	*out_mgr = NULL;
	error_clear(err);
	if (conf == NULL)
		return error_set(err, SGATE_INVALID, "manager", "new", 0,
		    "no configuration: see sgate_conf_load()");
	if (sodium_init() < 0)
		return error_set(err, SGATE_INTERNAL, "sodium", "init", 0,
		    "libsodium cannot be initialised");
	mgr = calloc(1, sizeof(*mgr));
	if (mgr == NULL)
		return error_memory(err, "manager_new");
	mgr->conf = conf_dup(conf);
	if (mgr->conf == NULL) {
		status = error_memory(err, "manager_new");
		goto out;
	}
	manager_set_stores(mgr, NULL);
	mgr->ops = ops != NULL ? ops : durable_choose(mgr->conf);
	mgr->cache_ops =
	    cache_ops != NULL ? cache_ops : cache_choose(mgr->conf);
	if (mgr->cache_ops != NULL && mgr->ops->snapshot == NULL) {
		status = error_set(err, SGATE_INVALID, "manager", "new", 0,
		    "%s cannot be copied to %s: leave out one of them",
		    mgr->ops->name, mgr->cache_ops->name);
		goto out;
	}
	if (options != NULL) {
		mgr->clock = options->clock;
		mgr->clock_arg = options->clock_arg;
	}
	mgr->served_by = STORES_NOBODY;
	mgr->call.budget_ms = mgr->conf->gateway.request_timeout_ms;
	memcpy(mgr->call.actor, "library", sizeof("library"));
	manager_settle_in(mgr, forks_count());
	status = keys_load(mgr->conf->keys.file, &mgr->keys, err);
	if (status != SGATE_OK)
		goto out;
	*out_mgr = mgr;
	mgr = NULL;
out:
	sgate_manager_free(mgr);
	return status;
}

enum sgate_status
sgate_manager_new(const struct sgate_conf *conf,
    const struct sgate_options *options, struct sgate_manager **out_mgr,
    struct sgate_error *err)
{
	return manager_new_with(conf, options, NULL, NULL, out_mgr, err);
}

void
sgate_manager_free(struct sgate_manager *mgr)
{
	if (mgr == NULL)
		return;
	if (mgr->durable != NULL && mgr->forks == forks_count())
		mgr->ops->close(mgr->durable);
	if (mgr->cache != NULL && mgr->forks == forks_count())
		mgr->cache_ops->close(mgr->cache);
	sgate_session_free(mgr->identified.session);
	keys_free(mgr->keys);
	sodium_memzero(&mgr->local_hash, sizeof(mgr->local_hash));
	sgate_conf_free(mgr->conf);
	free(mgr);
}

enum sgate_status
sgate_manager_set_caller(struct sgate_manager *mgr,
    const struct sgate_caller *caller, struct sgate_error *err)
{
	unsigned char ip[16];
	size_t ip_len;
	enum sgate_status status;

	error_clear(err);
	status = input_realm(caller->realm, err);
	if (status == SGATE_OK)
		status = input_text(
		    "actor", caller->actor, sizeof(mgr->call.actor) - 1, err);
	if (status == SGATE_OK)
		status = input_address(caller->client_ip, ip, &ip_len, err);
	if (status != SGATE_OK)
		return status;
	if (caller->budget_ms < 0)
		return error_set(err, SGATE_INVALID, "manager", "set_caller", 0,
		    "budget_ms: a time cannot be negative");
	input_copy(mgr->call.realm, sizeof(mgr->call.realm), caller->realm);
	input_copy(mgr->call.actor, sizeof(mgr->call.actor),
	    caller->actor.len > 0 ? caller->actor : bytes_of("library"));
	memcpy(mgr->call.client_ip, ip, sizeof(ip));
	mgr->call.client_ip_len = ip_len;
	mgr->call.budget_ms = caller->budget_ms > 0
				  ? caller->budget_ms
				  : mgr->conf->gateway.request_timeout_ms;
	if (mgr->call.budget_ms > MANAGER_BUDGET_MAX_MS)
		mgr->call.budget_ms = MANAGER_BUDGET_MAX_MS;
	return SGATE_OK;
}

void
manager_set_touch_hooks(
    struct sgate_manager *mgr, const struct manager_touch_hooks *hooks)
{
	memset(&mgr->hooks, 0, sizeof(mgr->hooks));
	if (hooks != NULL)
		mgr->hooks = *hooks;
}

void
manager_set_stores(struct sgate_manager *mgr, struct stores *stores)
{
	mgr->stores = stores != NULL ? stores : &mgr->own_stores;
	mgr->counts = mgr->stores->counts;
}

void
manager_set_counts(struct sgate_manager *mgr, _Atomic uint64_t *counts)
{
	mgr->counts = counts;
}

void
manager_set_local(struct sgate_manager *mgr, struct local *local)
{
	unsigned char digest[KEYS_DIGEST_BYTES];

	mgr->local = local;
	if (local == NULL)
		return;
	keys_digest(mgr->keys, digest);
	local_hash_init(local, digest, sizeof(digest), &mgr->local_hash);
}

void
manager_set_spool(struct sgate_manager *mgr, struct spool *spool)
{
	mgr->spool = spool;
}

void
manager_set_turn(struct sgate_manager *mgr, unsigned index)
{
	mgr->turn_ms = index % (MANAGER_TURNS_MS / MANAGER_TURN_MS) *
		       INT64_C(1) * MANAGER_TURN_MS;
}

const struct stores *
manager_stores(const struct sgate_manager *mgr)
{
	return mgr->stores;
}

const struct keys *
manager_keys(const struct sgate_manager *mgr)
{
	return mgr->keys;
}

/* A shared memory of zeros knows nothing yet, as INT64_MIN says too. */
static bool
get_clock_offset(const struct sgate_manager *mgr, int64_t *out_ms)
{
	*out_ms = atomic_load(&mgr->stores->fence.clock_offset_ms);
	return *out_ms != 0 && *out_ms != INT64_MIN &&
	       !failpoint_is_off("clock");
}

bool
manager_knows_time(const struct sgate_manager *mgr)
{
	int64_t offset_ms;

	return mgr->clock != NULL || get_clock_offset(mgr, &offset_ms) ||
	       failpoint_is_off("clock");
}

/* By this host's clock only until the first poll has told how the database's
 * stands. */
int64_t
manager_now_at(const struct sgate_manager *mgr, int64_t now_boot_ms)
{
	int64_t offset_ms;

	if (mgr->clock != NULL)
		return mgr->clock(mgr->clock_arg);
	return get_clock_offset(mgr, &offset_ms) ? now_boot_ms + offset_ms
						 : clock_utc_ms();
}

int64_t
manager_now_ms(const struct sgate_manager *mgr)
{
	return manager_now_at(mgr, clock_boot_ms());
}

const char *
manager_served_by(const struct sgate_manager *mgr)
{
	switch (mgr->served_by) {
	case STORES_LOCAL:
		return "local";
	case STORES_CACHE:
		return mgr->cache_ops->name;
	case STORES_DURABLE:
		return mgr->ops->name;
	case STORES_NOBODY:
	case STORES_SERVERS:
		break;
	}
	return "";
}

enum stores_server
manager_server(const struct sgate_manager *mgr)
{
	return mgr->served_by;
}

uint64_t
manager_rows_older(const struct sgate_manager *mgr)
{
	return atomic_load(&mgr->counts[STORES_ROWS_OLDER]);
}

/* One that is served within a creation takes no time that this one needs. */
static int64_t
call_deadline_ms(const struct sgate_manager *mgr)
{
	int64_t deadline_ms = clock_monotonic_ms() + mgr->call.budget_ms;

	return mgr->inner_until_ms != 0 && mgr->inner_until_ms < deadline_ms
		   ? mgr->inner_until_ms
		   : deadline_ms;
}

static void
begin(struct sgate_manager *mgr, struct sgate_error *err)
{
	unsigned forks = forks_count();

	error_clear(err);
	mgr->served_by = STORES_NOBODY;
	mgr->call.is_probing = false;
	mgr->call.is_let = false;
	mgr->call.is_durable_let = false;
	mgr->is_durable_away = false;
	mgr->call.durable_losses = 0;
	mgr->call.durable_asked_ms = 0;
	mgr->call.deadline_ms = call_deadline_ms(mgr);
	if (mgr->forks != forks && !failpoint_is_off("fork"))
		manager_settle_in(mgr, forks);
}

/*
 * A manager that no keeper polls for does the keeper's round by itself. While
 * MySQL does not answer that is as rare as its breaker makes it. True: MySQL
 * has just answered.
 */
static bool
round_by_the_way(struct sgate_manager *mgr)
{
	const struct manager_round round = {.runtime_dir = NULL};
	int64_t now_ms = clock_monotonic_ms();
	struct sgate_error ignored;
	enum sgate_status status;

	if (!manager_is_alone(mgr) || mgr->ops->snapshot == NULL ||
	    now_ms < mgr->round_after_ms ||
	    (breaker_state(&mgr->stores->durable) == BREAKER_OPEN &&
		now_ms < breaker_next_ms(&mgr->stores->durable, now_ms)))
		return false;
	mgr->round_after_ms = now_ms + mgr->conf->fence.poll_interval_ms;
	/* What it could not find out is not known, and so not believed. */
	status = manager_locate(mgr, &round, &ignored);
	status = manager_fence_round(mgr, &round, &ignored);
	(void)status;
	return mgr->fence_work.was_polled;
}

void
manager_begin(struct sgate_manager *mgr, struct sgate_error *err)
{
	int64_t deadline_ms = call_deadline_ms(mgr);
	struct sgate_error ignored;
	bool is_up = round_by_the_way(mgr);

	begin(mgr, err);
	mgr->call.is_durable_let = is_up;
	mgr->call.deadline_ms = deadline_ms;
	/* Only in the first moments of a host, before its keeper has polled.
	 * When MySQL cannot tell, it does not tell of sessions either. */
	if (!manager_knows_time(mgr) && mgr->ops->snapshot != NULL &&
	    manager_learn_clock(mgr, &ignored) == SGATE_OK)
		mgr->served_by = STORES_NOBODY;
}

void
manager_begin_let(struct sgate_manager *mgr, struct sgate_error *err)
{
	begin(mgr, err);
	mgr->call.is_let = true;
}

/* Some milliseconds, once after an outage. */
static void
wait_for_turn(const struct sgate_manager *mgr, int64_t now_ms)
{
	int64_t ms =
	    breaker_turn_left_ms(&mgr->stores->durable, mgr->turn_ms, now_ms);
	struct timespec left = {
	    .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	if (ms < mgr->call.deadline_ms - now_ms)
		nanosleep(&left, NULL);
}

/*
 * A call that was let through once is not stopped half-way. Before its first
 * question a connection of before the store was given up is let go. Who asks
 * the durable store has no other that could answer him.
 */
static bool
durable_lets(struct sgate_manager *mgr)
{
	struct breaker *breaker = &mgr->stores->durable;
	int64_t now_ms = clock_monotonic_ms();
	enum breaker_leave leave;

	if (!durable_has_breaker(mgr) || mgr->call.is_let ||
	    mgr->call.is_durable_let)
		return true;
	leave = breaker_lets(breaker,
	    manager_is_prober(mgr) ? BREAKER_PROBER : BREAKER_ALONE, now_ms);
	if (leave == BREAKER_SKIP)
		return false;
	mgr->call.is_durable_let = true;
	if (mgr->durable == NULL ||
	    (leave == BREAKER_ASK &&
		mgr->durable_generation == breaker_generation(breaker)))
		return true;
	if (leave == BREAKER_ASK)
		wait_for_turn(mgr, now_ms);
	mgr->ops->close(mgr->durable);
	mgr->durable = NULL;
	return true;
}

void
manager_time_durable(struct sgate_manager *mgr)
{
	mgr->call.durable_asked_ms = clock_monotonic_ms();
}

/* No store has answered yet when it is open. */
enum sgate_status
manager_open(
    struct sgate_manager *mgr, struct durable **out, struct sgate_error *err)
{
	enum sgate_status status = mgr->ops->open(mgr->conf, out, err);

	if (status != SGATE_OK)
		return manager_read(mgr, status, err);
	(*out)->at = &mgr->stores->durable_at;
	return status;
}

/*
 * That it has begun is no answer either: a driver may tell the server with the
 * first statement.
 */
enum sgate_status
manager_begin_in(
    struct sgate_manager *mgr, struct durable *d, struct sgate_error *err)
{
	enum sgate_status status = mgr->ops->begin(d, err);

	if (status == SGATE_OK) {
		mgr->served_by = STORES_DURABLE;
		return status;
	}
	if (d != mgr->durable) {
		mgr->durable->is_unreachable = d->is_unreachable;
		mgr->durable->has_answered = d->has_answered;
	}
	return manager_write(mgr, status, err);
}

enum sgate_status
manager_need_durable(struct sgate_manager *mgr, struct sgate_error *err)
{
	enum sgate_status status;

	if (!durable_lets(mgr)) {
		stores_count(mgr->counts, STORES_DURABLE_SKIPPED);
		return error_set(err, SGATE_UNAVAILABLE, mgr->ops->name, "ask",
		    0, "%s does not answer, and is not asked until it does",
		    mgr->ops->name);
	}
	if (mgr->durable == NULL) {
		mgr->durable_generation =
		    breaker_generation(&mgr->stores->durable);
		status = manager_open(mgr, &mgr->durable, err);
		if (status != SGATE_OK)
			return status;
	}
	mgr->durable->deadline_ms = mgr->call.deadline_ms;
	return SGATE_OK;
}

enum sgate_status
manager_enter(struct sgate_manager *mgr, struct sgate_error *err)
{
	manager_begin(mgr, err);
	return manager_need_durable(mgr, err);
}

bool
manager_has_time(const struct sgate_manager *mgr)
{
	return clock_left_ms(mgr->call.deadline_ms) > 0;
}

struct sgate_bytes
manager_realm(const struct sgate_manager *mgr)
{
	return bytes_of(mgr->call.realm);
}

/* ---- rows ---- */

enum sgate_status
manager_read_ref(struct sgate_manager *mgr, const struct sgate_ref *ref,
    unsigned durable_flags, struct sgate_session **out,
    struct durable_snapshot *out_at, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;

	*out = NULL;
	if ((durable_flags & DURABLE_FOR_UPDATE) == 0)
		manager_time_durable(mgr);
	status = manager_read(mgr,
	    mgr->ops->session_get(
		mgr->durable, ref, durable_flags, &session, out_at, err),
	    err);
	if (status == SGATE_NOT_FOUND)
		return error_reason(err, status, SGATE_REASON_UNKNOWN, "get");
	if (status != SGATE_OK)
		return status;
	if (strcmp(session->realm, mgr->call.realm) != 0) {
		/* Another realm's session does not exist here. */
		sgate_session_free(session);
		return error_reason(
		    err, SGATE_NOT_FOUND, SGATE_REASON_UNKNOWN, "get");
	}
	*out = session;
	return SGATE_OK;
}

enum sgate_status
manager_find_ref(struct sgate_manager *mgr, const struct sgate_ref *ref,
    unsigned durable_flags, struct sgate_session **out,
    struct durable_snapshot *out_at, struct sgate_error *err)
{
	enum sgate_status status;

	status = manager_read_ref(mgr, ref, durable_flags, out, out_at, err);
	if (status != SGATE_NOT_FOUND || !away_is_possible(mgr))
		return status;
	status = away_meet(mgr, ref, err);
	return status == SGATE_OK
		   ? manager_read_ref(mgr, ref, durable_flags, out, out_at, err)
		   : status;
}

/*
 * A touch that somebody has not written yet counts as if it were; the future
 * counts as now. Of what other hosts hold back nothing is known: where there
 * may be some, an idle time is over only when they have had the time to write
 * it. Else whoever was active at one host and comes to another a moment later,
 * just when his idle time is over, would be logged out.
 */
enum sgate_reason
manager_expiry(struct sgate_manager *mgr, const struct sgate_session *session,
    int64_t now_ms)
{
	enum sgate_reason reason = session_expiry(session, now_ms);
	struct sgate_session seen;
	int64_t pending;

	if (reason != SGATE_REASON_EXPIRED_IDLE || mgr->hooks.last_seen == NULL)
		return reason;
	pending = mgr->hooks.last_seen(mgr->hooks.arg, &session->ref);
	if (pending > now_ms)
		pending = now_ms;
	seen = *session;
	if (pending > seen.last_seen_ms)
		seen.last_seen_ms = pending;
	if (mgr->ops->is_shared && !failpoint_is_off("seen-late"))
		now_ms -= MANAGER_SEEN_LATE_MS;
	return session_expiry(&seen, now_ms);
}

enum sgate_reason
manager_gone(struct sgate_manager *mgr, const struct sgate_session *session,
    int64_t now_ms)
{
	enum sgate_reason reason = manager_expiry(mgr, session, now_ms);

	if (reason == SGATE_REASON_OK && settings_are_against(mgr, session))
		reason = SGATE_REASON_FLUSHED;
	return reason;
}

enum sgate_reason
manager_why_gone(struct sgate_manager *mgr, const struct sgate_session *session)
{
	return manager_gone(mgr, session, manager_now_ms(mgr));
}

enum sgate_status
manager_judge_known(struct sgate_manager *mgr,
    const struct sgate_session *session, struct sgate_error *err)
{
	enum sgate_reason reason;

	if (session->state != SESSION_LIVE)
		return error_reason(err, SGATE_NOT_FOUND,
		    session->end_reason != SGATE_REASON_OK
			? session->end_reason
			: SGATE_REASON_REVOKED,
		    "get");
	reason = manager_gone(mgr, session, manager_now_ms(mgr));
	if (reason != SGATE_REASON_OK)
		return error_reason(err, SGATE_NOT_FOUND, reason, "get");
	return SGATE_OK;
}

enum sgate_status
manager_judge(struct sgate_manager *mgr, struct sgate_session *session,
    struct sgate_error *err)
{
	if (session->state == SESSION_LIVE &&
	    manager_expiry(mgr, session, manager_now_ms(mgr)) ==
		SGATE_REASON_EXPIRED_IDLE)
		cached_seen(mgr, session);
	return manager_judge_known(mgr, session, err);
}

enum sgate_status
manager_read_token(struct sgate_manager *mgr, struct sgate_bytes text,
    struct token *out, struct sgate_error *err)
{
	enum sgate_reason reason;

	error_clear(err);
	mgr->served_by = STORES_NOBODY;
	if (text.len == 0)
		reason = SGATE_REASON_NONE;
	else
		reason = token_read(mgr->keys, manager_realm(mgr), text, out);
	if (reason != SGATE_REASON_OK)
		return error_reason(err, SGATE_NOT_FOUND, reason, "token");
	return SGATE_OK;
}

enum sgate_status
sgate_session_get_by_ref(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_session **out_session, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;

	*out_session = NULL;
	status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = manager_find_ref(mgr, ref, 0, &session, NULL, err);
	if (status == SGATE_OK)
		status = settings_need(mgr, true, err);
	if (status == SGATE_OK)
		status = manager_judge(mgr, session, err);
	if (status == SGATE_OK) {
		*out_session = session;
		session = NULL;
	}
	sgate_session_free(session);
	return status;
}

enum sgate_status
manager_session_any(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_session **out, struct sgate_error *err)
{
	enum sgate_status status;

	*out = NULL;
	status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = manager_find_ref(mgr, ref, 0, out, NULL, err);
	return status;
}
