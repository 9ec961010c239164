/*
 * Rows that have changed, to the cache: the part of a round (manager_fence.c)
 * that takes time.
 *
 * Rows are brought in pages, each one script. `sync` becomes c with the last
 * page; until then it keeps its old number with a nonce and the part behind it,
 * so that nothing newer is believed, a rollback in between refuses the rest,
 * and whoever finds it knows where an APPLY was broken off.
 */
#include "config.h"

#include "manager_round.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* A page: one question to MySQL and one script, some milliseconds each. */
#define PAGE_ROWS 128
#define PAGE_BYTES ((size_t)256 * 1024)
/* Rounds in which a group's rows may fail before its fence rises without. */
#define FAILED_ROUNDS 2

/* What became of one group in one step. */
enum step {
	STEP_DONE,       /* nothing (more) to bring in this round: raise */
	STEP_MORE,       /* a page was brought, others follow */
	STEP_ROWS_FAILED /* leave it alone */
};

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
	round_tell(r, NEWS_FOREIGN, true,
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
	round_note_failure(r, status, &err);
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
	    mark_of(&now) >= round_polled_mark(r, group))
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
	fence_raise(r->fence, group, round_polled_mark(r, group));
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
	round_note_failure(r, status, &err);
	if (status == SGATE_OK) {
		if (failpoint_is_off("apply-order"))
			raise_group(r, group);
		failpoint("poll-apply");
		step = apply_page(r, group, &page);
		failpoint("apply-raise");
	} else if (status != SGATE_UNAVAILABLE) {
		round_tell(r, NEWS_ROWS, true,
		    "the changes of group %u cannot be brought to %s: %s; %s "
		    "serves that group",
		    group, r->mgr->cache_ops->name, err.text,
		    r->mgr->ops->name);
	}
	page_clear(&page);
	round_beat(r);
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
		    mark_of(&sync) >= round_polled_mark(r, group))
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
void
round_bring(struct round *r)
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

void
round_count_behind(struct round *r)
{
	unsigned group, count = 0, foreign = 0;
	struct fence_sync sync;
	bool is_known;

	for (group = 0; group < TOKEN_GROUPS; group++) {
		is_known = r->has_cache &&
			   fence_sync_read(r->syncs[group], &sync) &&
			   is_ours(r, &sync);
		if (is_known && mark_of(&sync) >= round_polled_mark(r, group))
			continue;
		count++;
		if (r->has_cache && !is_known && r->syncs[group][0] != '\0')
			foreign++;
	}
	atomic_store(&r->mgr->stores->groups_behind, count);
	atomic_store(&r->mgr->stores->groups_foreign, foreign);
}
