/*
 * The round that keeps copies believable: poll the counters of MySQL, bring
 * what has changed to Redis, raise the fence. Steps and reasons: lib/README.md,
 * "The fence".
 *
 * For each group whose counter c is past what is known, or past its `sync` in
 * Redis: read the rows that have changed since, APPLY them, raise `known` to c.
 * In this order, so that in good times nobody ever doubts a copy; and `known`
 * rises also when Redis could not be written, because what is not there must
 * not be believed. Only when the rows cannot be read is the group left alone,
 * for one round.
 * How rows are brought: manager_bring.c.
 */
#include "config.h"

#include "manager_round.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* How long a round may take, and how much longer its last step. */
#define ROUND_MS 1000
#define STEP_MS 300
/* Of a call that does it by the way: a quarter of its budget each. */
#define BY_THE_WAY 4
/* How often the file is forced to the disk, with the moments of the rounds. */
#define FILE_EVERY_MS 10000
#define TELL_EVERY_MS 60000
#define CLOCKS_APART_MS 500
#define CLOCK_HALF_MAX_MS 125
#define EPOCH_MAX 9999

void
round_beat(const struct round *r)
{
	if (r->given->beat != NULL)
		r->given->beat(r->given->arg);
}

void
round_tell(
    struct round *r, enum news news, bool is_error, const char *format, ...)
{
	int64_t *told_ms = &r->mgr->fence_work.told_ms[news];
	int64_t now_ms = clock_monotonic_ms();
	char text[512];
	va_list args;

	if (r->given->tell == NULL ||
	    (*told_ms != 0 && now_ms - *told_ms < TELL_EVERY_MS))
		return;
	*told_ms = now_ms;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	r->given->tell(r->given->arg, is_error, text);
}

void
round_note_failure(
    struct round *r, enum sgate_status status, const struct sgate_error *err)
{
	if (r->status != SGATE_OK || status == SGATE_OK)
		return;
	r->status = status;
	if (r->err != NULL)
		*r->err = *err;
}

/* ---- what a store may have lost ---- */

static void
see_server(struct round *r)
{
	struct fence_work *work = &r->mgr->fence_work;

	if (work->losses.durable > 0 && strcmp(work->ident, r->poll.ident) == 0)
		return;
	memcpy(work->ident, r->poll.ident, sizeof(work->ident));
	work->losses.durable++;
}

static uint64_t
sync_mark(const char *text)
{
	struct fence_sync sync;

	return fence_sync_read(text, &sync)
		   ? fence_mark(sync.store.epoch, sync.number)
		   : 0;
}

/* A keeper's first round goes by what the one before it has known. */
static bool
has_fallen(const struct round *r, unsigned group, uint64_t mark)
{
	const struct fence_work *work = &r->mgr->fence_work;

	return r->syncs[group][0] == '\0' ||
	       mark < (work->has_marks ? work->marks[group]
				       : atomic_load(&r->fence->known[group]));
}

/*
 * What was lost is brought again (manager_warm.c), and so is what was created
 * while nobody could write there: no number tells of that.
 */
static void
see_what_is_cold(struct round *r, bool is_fallen)
{
	struct stores_warm *warm = &r->mgr->stores->warm;
	uint64_t opened = atomic_load(&r->mgr->stores->cache.opened);

	if (atomic_exchange(&warm->opened, opened) != opened || is_fallen)
		atomic_fetch_add(&warm->losses, 1);
}

/* Whoever loses what it had makes its clients connect anew, but for an old
 * dump that is loaded into a running server: then sync falls with the rest. */
static void
see_data_set(struct round *r)
{
	struct fence_work *work = &r->mgr->fence_work;
	bool is_lost = work->losses.cache == 0 ||
		       work->connections != r->mgr->cache->connections;
	bool is_fallen = false;
	uint64_t mark;
	unsigned group;

	work->connections = r->mgr->cache->connections;
	for (group = 0; group < TOKEN_GROUPS; group++) {
		mark = sync_mark(r->syncs[group]);
		is_lost = is_lost || mark < work->marks[group];
		is_fallen = is_fallen || has_fallen(r, group, mark);
		work->marks[group] = mark;
	}
	work->has_marks = true;
	work->losses.cache += is_lost;
	see_what_is_cold(r, is_fallen);
}

void
manager_losses(const struct sgate_manager *mgr, struct manager_losses *out)
{
	*out = mgr->fence_work.losses;
}

/* ---- poll ---- */

static bool
is_possible(const struct durable_poll *poll)
{
	unsigned group;

	for (group = 0; group < TOKEN_GROUPS; group++) {
		if (poll->counters[group] > FENCE_NUMBER_MAX)
			return false;
	}
	return poll->store.epoch <= EPOCH_MAX;
}

/* Told once, and again only when they have agreed by half of that since. */
static void
compare_clocks(struct round *r, int64_t ahead_ms)
{
	bool *is_apart = &r->mgr->fence_work.is_clock_apart;
	int64_t apart_ms = ahead_ms > 0 ? ahead_ms : -ahead_ms;

	if (apart_ms < CLOCKS_APART_MS / 2)
		*is_apart = false;
	if (apart_ms <= CLOCKS_APART_MS || *is_apart)
		return;
	*is_apart = true;
	r->mgr->fence_work.told_ms[NEWS_CLOCK] = 0;
	round_tell(r, NEWS_CLOCK, false,
	    "this host's clock is %" PRId64 " ms %s that of %s; sessions "
	    "expire by the latter",
	    apart_ms, ahead_ms > 0 ? "ahead of" : "behind", r->mgr->ops->name);
}

/* The answer was made half-way between question and answer: that half. */
static int64_t
set_clock(struct fence *fence, const struct durable_poll *poll, int64_t sent_ms)
{
	int64_t half_ms = (clock_boot_ms() - sent_ms) / 2;

	/* A process that was kept waiting behind its answer would be further
	 * off than others count on (sgate_sessions_flush()). */
	if (half_ms <= CLOCK_HALF_MAX_MS ||
	    atomic_load(&fence->clock_offset_ms) == 0)
		atomic_store(&fence->clock_offset_ms,
		    poll->now_ms - (sent_ms + half_ms));
	return half_ms;
}

enum sgate_status
manager_learn_clock(struct sgate_manager *mgr, struct sgate_error *err)
{
	struct durable_poll poll;
	int64_t sent_ms;
	enum sgate_status status = manager_need_durable(mgr, err);

	sent_ms = clock_boot_ms();
	if (status == SGATE_OK)
		status = manager_read(
		    mgr, mgr->ops->poll(mgr->durable, &poll, err), err);
	if (status == SGATE_OK)
		set_clock(&mgr->stores->fence, &poll, sent_ms);
	/* It will be asked for, too; what fails is asked for then. */
	if (status == SGATE_OK)
		(void)!settings_round(mgr, &poll, sent_ms, NULL, NULL, err);
	return status;
}

/* This question is the durable store's probe, while its breaker is open. */
static enum sgate_status
poll_durable(struct round *r)
{
	struct sgate_manager *mgr = r->mgr;
	enum sgate_status status;
	struct sgate_error err;
	int64_t sent_ms, half_ms;

	stores_count(mgr->counts, STORES_POLLS);
	error_clear(&err);
	status = manager_need_durable(mgr, &err);
	sent_ms = clock_boot_ms();
	if (status == SGATE_OK) {
		manager_time_durable(mgr);
		status = manager_read(
		    mgr, mgr->ops->poll(mgr->durable, &r->poll, &err), &err);
	}
	if (status == SGATE_OK && !is_possible(&r->poll))
		status = error_set(&err, SGATE_CORRUPT, mgr->ops->name, "poll",
		    0, "a counter or an epoch that cannot be");
	if (status != SGATE_OK) {
		stores_count(mgr->counts, STORES_POLLS_FAILED);
		round_note_failure(r, status, &err);
		away_lost(mgr);
		return status;
	}
	half_ms = set_clock(r->fence, &r->poll, sent_ms);
	compare_clocks(r, clock_utc_ms() - half_ms - r->poll.now_ms);
	atomic_store(&r->fence->settings, r->poll.settings);
	see_server(r);
	return SGATE_OK;
}

/* This one is the cache's. */
static void
poll_cache(struct round *r)
{
	struct sgate_manager *mgr = r->mgr;
	enum sgate_status status;
	struct sgate_error err;

	if (mgr->cache_ops == NULL)
		return;
	error_clear(&err);
	status = manager_cache_enter(mgr, true, &err);
	if (status == SGATE_OK)
		status = manager_cache_left(mgr,
		    mgr->cache_ops->sync_get(mgr->cache, r->syncs, &err), &err);
	r->has_cache = status == SGATE_OK;
	if (r->has_cache)
		see_data_set(r);
	round_note_failure(r, status, &err);
}

/* What is to be known while it is away. */
static void
note_away(struct round *r)
{
	enum sgate_status status;
	struct sgate_error err;

	error_clear(&err);
	status = away_polled(r->mgr, &r->poll, &err);
	round_note_failure(r, status, &err);
	if (status == SGATE_TOO_LARGE)
		round_tell(r, NEWS_BLOCKED, true, "%s", err.text);
}

/* ---- what the poll says of the store itself ---- */

/* The database is another than before: nothing of before counts. */
static void
settle_store(struct round *r)
{
	const struct record_store *store = &r->poll.store;
	struct fence *fence = r->fence;
	int64_t offset_ms = atomic_load(&fence->clock_offset_ms);
	uint64_t id[2];

	memcpy(id, store->id, sizeof(id));
	if (atomic_load(&fence->store_id[0]) == id[0] &&
	    atomic_load(&fence->store_id[1]) == id[1])
		return;
	if (atomic_load(&fence->store_id[0]) != 0 ||
	    atomic_load(&fence->store_id[1]) != 0)
		round_tell(r, NEWS_STORE, false,
		    "%s is another database than before; no copy of the old "
		    "one is believed",
		    r->mgr->ops->name);
	fence_reset(fence, store->id);
	settings_forget(&r->mgr->stores->settings);
	atomic_store(&r->mgr->stores->blocked.number, 0);
	atomic_store(&fence->clock_offset_ms, offset_ms);
	atomic_store(&fence->settings, r->poll.settings);
	memset(r->mgr->fence_work.groups, 0, sizeof(r->mgr->fence_work.groups));
}

uint64_t
round_polled_mark(const struct round *r, unsigned group)
{
	return fence_mark(r->poll.store.epoch, r->poll.counters[group]);
}

/*
 * A number never falls but by a dump that was loaded behind our back; then rows
 * are older than copies, and numbers are given twice. Only `db restored`, which
 * raises the epoch, puts that right. True: nothing may be believed.
 */
static bool
is_alarmed(struct round *r)
{
	struct fence *fence = r->fence;
	bool was_alarmed = atomic_load(&fence->is_alarmed) != 0;
	bool is_alarmed = was_alarmed;
	uint64_t known, highest = 0;
	unsigned group;

	for (group = 0; group < TOKEN_GROUPS; group++) {
		known = atomic_load(&fence->known[group]);
		if (known > highest)
			highest = known;
		if (round_polled_mark(r, group) < known &&
		    !failpoint_is_off("alarm"))
			is_alarmed = true;
	}
	if (r->poll.store.epoch > highest >> FENCE_NUMBER_BITS)
		is_alarmed = false;
	atomic_store(&fence->is_alarmed, is_alarmed);
	if (is_alarmed != was_alarmed)
		r->mgr->fence_work.file_at_ms = 0; /* a restart knows, too */
	if (is_alarmed)
		round_tell(r, NEWS_ALARM, true,
		    "the numbers in %s have fallen: an old dump was loaded "
		    "without `sessgatectl db restored`; no copy is believed "
		    "until that was run, with all gateways stopped",
		    r->mgr->ops->name);
	return is_alarmed;
}

/* ---- the file ---- */

static bool
has_file(const struct round *r)
{
	return r->given->runtime_dir != NULL && r->mgr->cache_ops != NULL;
}

static void
write_with(struct round *r, const struct fence *fence,
    const struct settings *settings, bool is_synced)
{
	struct sgate_error err;
	enum sgate_status status;

	if (failpoint_is_off("settings-file"))
		settings = NULL;
	status = fence_file_write_all(
	    r->given->runtime_dir, fence, settings, is_synced, &err);
	r->mgr->fence_work.settings_filed =
	    status == SGATE_OK && settings != NULL ? settings->number : 0;
	if (status == SGATE_OK)
		return;
	round_note_failure(r, status, &err);
	round_tell(r, NEWS_FILE, true,
	    "%s; a restart believes no copy until %s has answered", err.text,
	    r->mgr->ops->name);
}

static void
write_file(struct round *r, const struct fence *fence, bool is_synced)
{
	struct settings settings;
	bool is_known = settings_get(&r->mgr->stores->settings, &settings);

	write_with(r, fence, is_known ? &settings : NULL, is_synced);
}

/* Before they are in force: a restart does not forget them. */
static void
keep_settings(void *arg, const struct settings *settings)
{
	struct round *r = arg;

	if (has_file(r))
		write_with(r, r->fence, settings, false);
}

/* A worker may have read them before: then they are not in the file yet. */
static void
learn_settings(struct round *r)
{
	struct settings settings;
	enum sgate_status status;
	struct sgate_error err;

	if (failpoint_is_off("settings") &&
	    settings_are_known(&r->mgr->stores->settings)) {
		atomic_store(
		    &r->mgr->stores->settings.polled_ms, r->began_boot_ms);
		return;
	}
	error_clear(&err);
	status = settings_round(
	    r->mgr, &r->poll, r->began_boot_ms, keep_settings, r, &err);
	round_note_failure(r, status, &err);
	if (status != SGATE_OK)
		round_tell(r, NEWS_SETTINGS, true, "%s", err.text);
	else if (has_file(r) &&
		 settings_get(&r->mgr->stores->settings, &settings) &&
		 settings.number != r->mgr->fence_work.settings_filed &&
		 !failpoint_is_off("settings-file"))
		write_with(r, r->fence, &settings, false);
}

static void
fence_copy(const struct fence *from, struct fence *to)
{
	unsigned group;

	memset(to, 0, sizeof(*to));
	atomic_store(&to->store_id[0], atomic_load(&from->store_id[0]));
	atomic_store(&to->store_id[1], atomic_load(&from->store_id[1]));
	for (group = 0; group < TOKEN_GROUPS; group++) {
		atomic_store(
		    &to->known[group], atomic_load(&from->known[group]));
		atomic_store(&to->complete_ms[group],
		    atomic_load(&from->complete_ms[group]));
	}
	atomic_store(&to->settings, atomic_load(&from->settings));
	atomic_store(&to->clock_offset_ms, atomic_load(&from->clock_offset_ms));
	atomic_store(&to->is_alarmed, atomic_load(&from->is_alarmed));
}

/*
 * Before anything rises: the marks of the whole round at once. That the file is
 * ahead of a group whose rows then fail does no harm.
 */
static void
write_higher(struct round *r)
{
	struct fence higher;
	bool is_higher = false;
	unsigned group;

	if (!has_file(r) || failpoint_is_off("fence-file"))
		return;
	fence_copy(r->fence, &higher);
	for (group = 0; group < TOKEN_GROUPS; group++) {
		if (round_polled_mark(r, group) <=
		    atomic_load(&higher.known[group]))
			continue;
		is_higher = true;
		fence_raise(&higher, group, round_polled_mark(r, group));
	}
	if (is_higher)
		write_file(r, &higher, false);
}

/* At the end of a round, now and then: how long ago the last rounds were. */
static void
write_moments(struct round *r)
{
	int64_t *at_ms = &r->mgr->fence_work.file_at_ms;
	int64_t now_ms = clock_monotonic_ms();

	if (!has_file(r) || now_ms < *at_ms)
		return;
	if (failpoint_is_off("fence-file") && *at_ms != 0)
		return;
	*at_ms = now_ms + FILE_EVERY_MS;
	write_file(r, r->fence, true);
}

/* Another host has a newer version already: nothing is wrong, but slow. */
static void
tell_newer_copies(struct round *r)
{
	struct fence_work *work = &r->mgr->fence_work;
	int64_t told_ms = work->told_ms[NEWS_NEWER];
	uint64_t newer =
	    atomic_load(&r->mgr->stores->counts[STORES_NEWER_COPIES]);

	if (newer == work->newer_told)
		return;
	round_tell(r, NEWS_NEWER, false,
	    "%s holds copies of sessions in a format that this version does "
	    "not know (%" PRIu64 " were met): a newer sessgate has written "
	    "them; they are not believed, and %s serves those sessions; "
	    "install that version here, too",
	    r->mgr->cache_ops->name, newer, r->mgr->ops->name);
	if (work->told_ms[NEWS_NEWER] != told_ms)
		work->newer_told = newer;
}

enum sgate_status
manager_fence_round(struct sgate_manager *mgr,
    const struct manager_round *round, struct sgate_error *err)
{
	bool is_by_the_way = manager_is_alone(mgr);
	int64_t length_ms =
	    is_by_the_way ? mgr->call.budget_ms / BY_THE_WAY : ROUND_MS;
	struct round r = {.mgr = mgr,
	    .given = round,
	    .fence = &mgr->stores->fence,
	    .has_rows = true,
	    .err = err};
	enum sgate_status status;

	error_clear(err);
	if (mgr->ops->snapshot == NULL)
		return local_work_alone(mgr, err);
	manager_begin_let(mgr, err);
	mgr->call.is_let = false;
	mgr->call.is_probing = true;
	r.began_boot_ms = clock_boot_ms();
	r.deadline_ms = clock_monotonic_ms() + length_ms;
	/* The last step may begin just before that. */
	mgr->call.deadline_ms =
	    r.deadline_ms + (is_by_the_way ? length_ms : STEP_MS);
	status = poll_durable(&r);
	mgr->fence_work.was_polled = status == SGATE_OK;
	round_beat(&r);
	poll_cache(&r);
	tell_newer_copies(&r);
	round_beat(&r);
	/* What follows is no probe: a large page may take long. And a breaker
	 * that workers open meanwhile does not stop it: these connections work.
	 */
	mgr->call.is_probing = false;
	mgr->call.is_let = true;
	if (status != SGATE_OK)
		return r.status;
	settle_store(&r);
	learn_settings(&r);
	note_away(&r);
	if (!is_alarmed(&r)) {
		local_work_begin(mgr, &r.poll);
		write_higher(&r);
		round_bring(&r);
		round_count_behind(&r);
	} else {
		atomic_store(&mgr->stores->groups_behind, TOKEN_GROUPS);
	}
	write_moments(&r);
	return r.status;
}
