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
 *
 * Rows are brought in pages, each one script. `sync` becomes c with the last
 * page; until then it keeps its old number with a nonce and the part behind it,
 * so that nothing newer is believed, a rollback in between refuses the rest,
 * and whoever finds it knows where an APPLY was broken off.
 */
#include "config.h"

#include "manager.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* A page: one question to MySQL and one script, some milliseconds each. */
#define PAGE_ROWS 128
#define PAGE_BYTES ((size_t)256 * 1024)
/* How long a round may take, and how much longer its last step. */
#define ROUND_MS 1000
#define STEP_MS 300
/* Of a call that does it by the way: a quarter of its budget each. */
#define BY_THE_WAY 4
/* Rounds in which a group's rows may fail before its fence rises without. */
#define FAILED_ROUNDS 2
/* How often the file is forced to the disk, with the moments of the rounds. */
#define FILE_EVERY_MS 10000
#define TELL_EVERY_MS 60000
#define CLOCKS_APART_MS 500
#define CLOCK_HALF_MAX_MS 125
#define EPOCH_MAX 9999

/* What is told: at most FENCE_NEWS kinds. */
enum news {
	NEWS_ALARM,
	NEWS_FOREIGN,
	NEWS_ROWS,
	NEWS_FILE,
	NEWS_CLOCK,
	NEWS_STORE,
	NEWS_BLOCKED,
	NEWS_SETTINGS,
	NEWS_NEWER
};

struct round {
	struct sgate_manager *mgr;
	const struct manager_round *given;
	struct fence *fence;
	int64_t began_boot_ms;
	int64_t deadline_ms; /* monotonic */
	struct durable_poll poll;
	bool has_cache; /* it answers; syncs are there */
	bool has_rows;  /* MySQL gives rows, as far as is known */
	char syncs[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];
	enum sgate_status status; /* the first failure */
	struct sgate_error *err;  /* of that */
};

/* What became of one group in one step. */
enum step {
	STEP_DONE,       /* nothing (more) to bring in this round: raise */
	STEP_MORE,       /* a page was brought, others follow */
	STEP_ROWS_FAILED /* leave it alone */
};

static void
beat(const struct round *r)
{
	if (r->given->beat != NULL)
		r->given->beat(r->given->arg);
}

static void tell(struct round *r, enum news news, bool is_error,
    const char *format, ...) SGATE_PRINTF(4, 5);

static void
tell(struct round *r, enum news news, bool is_error, const char *format, ...)
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

static void
note_failure(
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
	tell(r, NEWS_CLOCK, false,
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
		note_failure(r, status, &err);
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
	note_failure(r, status, &err);
}

/* What is to be known while it is away. */
static void
note_away(struct round *r)
{
	enum sgate_status status;
	struct sgate_error err;

	error_clear(&err);
	status = away_polled(r->mgr, &r->poll, &err);
	note_failure(r, status, &err);
	if (status == SGATE_TOO_LARGE)
		tell(r, NEWS_BLOCKED, true, "%s", err.text);
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
		tell(r, NEWS_STORE, false,
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

static uint64_t
polled_mark(const struct round *r, unsigned group)
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
		if (polled_mark(r, group) < known && !failpoint_is_off("alarm"))
			is_alarmed = true;
	}
	if (r->poll.store.epoch > highest >> FENCE_NUMBER_BITS)
		is_alarmed = false;
	atomic_store(&fence->is_alarmed, is_alarmed);
	if (is_alarmed != was_alarmed)
		r->mgr->fence_work.file_at_ms = 0; /* a restart knows, too */
	if (is_alarmed)
		tell(r, NEWS_ALARM, true,
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
	note_failure(r, status, &err);
	tell(r, NEWS_FILE, true,
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
	note_failure(r, status, &err);
	if (status != SGATE_OK)
		tell(r, NEWS_SETTINGS, true, "%s", err.text);
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
		if (polled_mark(r, group) <= atomic_load(&higher.known[group]))
			continue;
		is_higher = true;
		fence_raise(&higher, group, polled_mark(r, group));
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

/* ---- a page of rows ---- */

struct page {
	const struct round *round;
	int64_t now_ms;
	struct cache_item *items;
	size_t count, size;
	struct buf bytes; /* the records, one behind the other */
	uint64_t last;    /* number of the last row */
	bool has_more;
	enum sgate_status status;
	struct sgate_error *err;
};

static bool
page_has_room(struct page *page)
{
	size_t size = page->size == 0 ? PAGE_ROWS : 2 * page->size;
	struct cache_item *items;

	if (page->count < page->size)
		return true;
	items = reallocarray(page->items, size, sizeof(*items));
	if (items == NULL)
		return false;
	page->items = items;
	page->size = size;
	return true;
}

/* Rows of one number are not cut apart: the next page begins behind it. */
static int
page_add(void *arg, const struct sgate_session *session)
{
	struct page *page = arg;
	const struct record_store *store = &page->round->poll.store;
	struct record_tombstone tombstone;
	size_t begin = page->bytes.len;
	struct cache_item *item;

	if (page->count > 0 && session->seq != page->last &&
	    (page->count >= PAGE_ROWS || page->bytes.len >= PAGE_BYTES)) {
		page->has_more = true;
		return 1;
	}
	if (!page_has_room(page)) {
		page->status = error_memory(page->err, "apply");
		return 1;
	}
	if (session->state == SESSION_LIVE) {
		page->status = record_write(page->round->mgr->keys, store, 'L',
		    session, &page->bytes, page->err);
	} else {
		record_tombstone_of(session, &tombstone);
		record_tombstone_write(store, &tombstone, &page->bytes);
	}
	if (buf_failed(&page->bytes))
		page->status = error_memory(page->err, "apply");
	if (page->status != SGATE_OK)
		return 1;
	item = &page->items[page->count++];
	item->ref = session->ref;
	item->record.data = NULL; /* the bytes may still move */
	item->record.len = page->bytes.len - begin;
	item->ttl_ms = session->state == SESSION_LIVE
			   ? session_copy_ttl_ms(session, page->now_ms)
			   : session_tombstone_ttl_ms(session, page->now_ms);
	page->last = session->seq;
	return 0;
}

static void
page_clear(struct page *page)
{
	free(page->items);
	buf_wipe(&page->bytes);
}

/* The rows behind `after`; page_clear() in every case. */
static enum sgate_status
page_read(struct round *r, unsigned group, uint64_t after, struct page *page,
    struct sgate_error *err)
{
	struct sgate_manager *mgr = r->mgr;
	const char *at;
	enum sgate_status status;
	size_t i;

	memset(page, 0, sizeof(*page));
	page->round = r;
	page->now_ms = manager_now_ms(mgr);
	page->last = after;
	page->err = err;
	status = manager_need_durable(mgr, err);
	if (status == SGATE_OK)
		status = manager_read(mgr,
		    mgr->ops->changes(mgr->durable, group, after, page->now_ms,
			PAGE_ROWS, page_add, page, err),
		    err);
	if (status == SGATE_UNAVAILABLE)
		r->has_rows = false;
	if (status == SGATE_OK)
		status = page->status;
	if (status != SGATE_OK)
		return status;
	if (page->count >= PAGE_ROWS)
		page->has_more = true;
	at = page->bytes.data;
	for (i = 0; i < page->count; i++) {
		page->items[i].record.data = at;
		at += page->items[i].record.len;
	}
	return SGATE_OK;
}

/* ---- bring a group's rows to the cache ---- */

static bool
has_time(const struct round *r)
{
	return clock_left_ms(r->deadline_ms) > 0;
}

static bool
is_ours(const struct round *r, const struct fence_sync *sync)
{
	const struct record_store *store = &r->poll.store;

	return memcmp(sync->store.id, store->id, sizeof(store->id)) == 0 ||
	       failpoint_is_off("store-id");
}

/* A sync that another database has written, or nobody we know. */
static bool
is_foreign(struct round *r, const char *text, struct fence_sync *out)
{
	if (fence_sync_read(text, out) && is_ours(r, out))
		return false;
	stores_count(r->mgr->counts, STORES_FOREIGN_SYNC);
	tell(r, NEWS_FOREIGN, true,
	    "%s holds copies of another database: its sync is '%.60s'; none "
	    "of that group is believed or overwritten; give this gateway a "
	    "redis.prefix or redis.database of its own, or delete the keys "
	    "%s:{*}:sync if the other database is no more",
	    r->mgr->cache_ops->name, text, r->mgr->conf->redis.prefix);
	return true;
}

static uint64_t
mark_of(const struct fence_sync *sync)
{
	return fence_mark(sync->store.epoch, sync->number);
}

/*
 * Begin with the rows behind the least of known and sync, as bare numbers: of
 * pairs an older epoch with a higher number would lose rows. Who knows nothing
 * yet goes by sync alone.
 */
static void
work_begin(struct round *r, unsigned group, const struct fence_sync *old)
{
	struct fence_group_work *work = &r->mgr->fence_work.groups[group];
	uint64_t known = atomic_load(&r->fence->known[group]);
	unsigned char nonce[8];

	token_random(nonce, sizeof(nonce));
	sodium_bin2hex(work->nonce, sizeof(work->nonce), nonce, sizeof(nonce));
	work->is_ours = true;
	work->parts = 0;
	work->old = *old;
	work->after = old->number;
	if (known != 0 && (known & FENCE_NUMBER_MAX) < work->after)
		work->after = known & FENCE_NUMBER_MAX;
}

/* What sync becomes with a page. */
static void
sync_after(struct round *r, unsigned group, const struct page *page,
    char out[CACHE_SYNC_MAX + 1])
{
	struct fence_group_work *work = &r->mgr->fence_work.groups[group];
	struct fence_sync whole = {
	    .number = r->poll.counters[group], .store = r->poll.store};

	if (page->has_more)
		fence_sync_write(&work->old, work->nonce, work->parts + 1, out,
		    CACHE_SYNC_MAX + 1);
	else
		fence_sync_write(&whole, "", 0, out, CACHE_SYNC_MAX + 1);
}

static enum sgate_status
apply(struct round *r, unsigned group, const struct page *page, const char *to,
    char out_sync[CACHE_SYNC_MAX + 1])
{
	struct sgate_manager *mgr = r->mgr;
	size_t count = failpoint_is_off("apply") ? 0 : page->count;
	enum sgate_status status;
	struct sgate_error err;

	error_clear(&err);
	status = manager_cache_enter(mgr, true, &err);
	if (status != SGATE_OK) {
		r->has_cache = false;
	} else {
		stores_count(mgr->counts, STORES_CACHE_WRITES);
		status = manager_cache_left(mgr,
		    mgr->cache_ops->apply(mgr->cache, group, r->syncs[group],
			to, page->items, count, out_sync, &err),
		    &err);
		/* 0: it has answered, and may take another group's. */
		if (status != SGATE_OK && err.native_code != 0)
			r->has_cache = false;
	}
	note_failure(r, status, &err);
	return status;
}

/*
 * Somebody was faster. When he has brought this group to a higher number of
 * this database, which is not yet ours, these rows cover what is left: the
 * first page, that is, and those behind it. Of a later page this cannot be
 * said: the data set that he found may have been one without the pages before.
 */
static bool
is_between(struct round *r, unsigned group, const char *text)
{
	struct fence_group_work *work = &r->mgr->fence_work.groups[group];
	struct fence_sync now;

	if (work->parts > 0 || !fence_sync_read(text, &now) ||
	    !is_ours(r, &now) || now.store.epoch != r->poll.store.epoch ||
	    now.number <= work->old.number ||
	    mark_of(&now) >= polled_mark(r, group))
		return false;
	work->old = now;
	return true;
}

static enum step
apply_page(struct round *r, unsigned group, const struct page *page)
{
	struct fence_group_work *work = &r->mgr->fence_work.groups[group];
	char to[CACHE_SYNC_MAX + 1], now[CACHE_SYNC_MAX + 1];
	int tries;

	for (tries = 0; tries < 2; tries++) {
		sync_after(r, group, page, to);
		if (apply(r, group, page, to, now) != SGATE_OK)
			return STEP_DONE;
		memcpy(r->syncs[group], now, sizeof(now));
		if (strcmp(now, to) == 0)
			break;
		stores_count(r->mgr->counts, STORES_APPLY_REFUSED);
		if (tries == 1 || failpoint_is_off("apply-again") ||
		    !is_between(r, group, now)) {
			work->part[0] = '\0';
			return STEP_DONE;
		}
	}
	atomic_fetch_add(&r->mgr->counts[STORES_RECONCILED], page->count);
	work->after = page->last;
	work->parts++;
	memcpy(work->part, to, sizeof(to));
	if (page->has_more)
		return STEP_MORE;
	work->part[0] = '\0';
	return STEP_DONE;
}

static void
raise_group(struct round *r, unsigned group)
{
	fence_raise(r->fence, group, polled_mark(r, group));
	atomic_store(&r->fence->complete_ms[group], r->began_boot_ms);
}

static enum step
bring_page(struct round *r, unsigned group)
{
	struct fence_group_work *work = &r->mgr->fence_work.groups[group];
	enum sgate_status status;
	enum step step = STEP_ROWS_FAILED;
	struct sgate_error err;
	struct page page;

	if (!r->has_rows || !has_time(r))
		return STEP_ROWS_FAILED;
	error_clear(&err);
	status = page_read(r, group, work->after, &page, &err);
	note_failure(r, status, &err);
	if (status == SGATE_OK) {
		if (failpoint_is_off("apply-order"))
			raise_group(r, group);
		failpoint("poll-apply");
		step = apply_page(r, group, &page);
		failpoint("apply-raise");
	} else if (status != SGATE_UNAVAILABLE) {
		tell(r, NEWS_ROWS, true,
		    "the changes of group %u cannot be brought to %s: %s; %s "
		    "serves that group",
		    group, r->mgr->cache_ops->name, err.text,
		    r->mgr->ops->name);
	}
	page_clear(&page);
	beat(r);
	return step;
}

/* The first step of a group in a round. */
static enum step
bring_group(struct round *r, unsigned group)
{
	struct fence_group_work *work = &r->mgr->fence_work.groups[group];
	struct fence_sync sync = {.number = 0, .store = r->poll.store};
	const char *text = r->syncs[group];

	if (!r->has_cache)
		return STEP_DONE;
	if (text[0] != '\0') {
		if (is_foreign(r, text, &sync) ||
		    mark_of(&sync) >= polled_mark(r, group))
			return STEP_DONE;
	}
	if (strchr(text, ';') == NULL) {
		work_begin(r, group, &sync);
	} else if (strcmp(text, work->part) != 0) {
		/* Another keeper is at it: wait for what a round brings. */
		memcpy(work->part, text, sizeof(work->part));
		work->is_ours = false;
		return STEP_DONE;
	} else if (!work->is_ours) {
		work_begin(r, group, &sync); /* it has stopped halfway */
	}
	return bring_page(r, group);
}

static void
drop_group(struct round *r, unsigned group)
{
	local_work_group(r->mgr, group, &r->poll, r->began_boot_ms,
	    r->has_rows && has_time(r));
}

static void
end_step(struct round *r, unsigned group, enum step step)
{
	struct fence_group_work *work = &r->mgr->fence_work.groups[group];

	if (step != STEP_ROWS_FAILED)
		work->failed_rounds = 0;
	else if (++work->failed_rounds < FAILED_ROUNDS)
		return;
	raise_group(r, group);
	if (!failpoint_is_off("local-order"))
		drop_group(r, group);
}

/*
 * Each group a page, so that none waits for another's many; then what is left,
 * in turns, while there is time.
 */
static void
bring(struct round *r)
{
	unsigned *first = &r->mgr->fence_work.first;
	enum step steps[TOKEN_GROUPS];
	bool has_more = true;
	unsigned i, group;

	for (i = 0; i < TOKEN_GROUPS; i++) {
		group = (*first + i) % TOKEN_GROUPS;
		if (failpoint_is_off("local-order"))
			drop_group(r, group);
		steps[group] = bring_group(r, group);
		end_step(r, group, steps[group]);
	}
	*first = (*first + 1) % TOKEN_GROUPS;
	while (has_more) {
		has_more = false;
		for (group = 0; group < TOKEN_GROUPS; group++) {
			if (steps[group] != STEP_MORE || !has_time(r))
				continue;
			steps[group] = bring_page(r, group);
			has_more = has_more || steps[group] == STEP_MORE;
		}
	}
}

/* Groups whose copies nobody believes after this round. */
static void
count_behind(struct round *r)
{
	unsigned group, count = 0, foreign = 0;
	struct fence_sync sync;
	bool is_known;

	for (group = 0; group < TOKEN_GROUPS; group++) {
		is_known = r->has_cache &&
			   fence_sync_read(r->syncs[group], &sync) &&
			   is_ours(r, &sync);
		if (is_known && mark_of(&sync) >= polled_mark(r, group))
			continue;
		count++;
		if (r->has_cache && !is_known && r->syncs[group][0] != '\0')
			foreign++;
	}
	atomic_store(&r->mgr->stores->groups_behind, count);
	atomic_store(&r->mgr->stores->groups_foreign, foreign);
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
	tell(r, NEWS_NEWER, false,
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
	beat(&r);
	poll_cache(&r);
	tell_newer_copies(&r);
	beat(&r);
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
		bring(&r);
		count_behind(&r);
	} else {
		atomic_store(&mgr->stores->groups_behind, TOKEN_GROUPS);
	}
	write_moments(&r);
	return r.status;
}
