/*
 * The keeper's round: what is brought to the cache, when the fence rises, and
 * what must not be believed. Hosts are managers with stores of their own over
 * the two fakes.
 */
#include "tap.h"

#include "world.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "clock.h"
#include "contract/cache_fake.h"
#include "contract/durable_fake.h"

/* One host: its keeper, and what it has been told. */
struct host {
	struct world *w;
	struct stores stores;
	struct sgate_manager *mgr;
	struct manager_round round;
	unsigned beats, told, told_errors;
	char text[512]; /* what it was told last */
};

static int64_t
clock_of_world(void *arg)
{
	return ((struct world *)arg)->now_ms;
}

static void
count_beat(void *arg)
{
	((struct host *)arg)->beats++;
}

static void
be_told(void *arg, bool is_error, const char *text)
{
	struct host *h = arg;

	h->told++;
	h->told_errors += is_error;
	snprintf(h->text, sizeof(h->text), "%s", text);
}

static void
host_open(struct world *w, struct host *h, const struct cache_ops *cache)
{
	struct sgate_options options = {clock_of_world, w};

	memset(h, 0, sizeof(*h));
	h->w = w;
	assert_status(w,
	    manager_new_with(
		w->conf, &options, &durable_fake, cache, &h->mgr, &w->err),
	    SGATE_OK);
	manager_set_stores(h->mgr, &h->stores);
	h->round.beat = count_beat;
	h->round.tell = be_told;
	h->round.arg = h;
}

static void
host_close(struct host *h)
{
	sgate_manager_free(h->mgr);
}

static enum sgate_status
do_round(struct host *h)
{
	return manager_fence_round(h->mgr, &h->round, &h->w->err);
}

/* As when its probes have found both stores up. */
static void
close_breakers(struct host *h)
{
	breaker_close(&h->stores.durable, clock_monotonic_ms());
	breaker_close(&h->stores.cache, clock_monotonic_ms());
}

static void
round_ok(struct host *h)
{
	assert_status(h->w, do_round(h), SGATE_OK);
}

/* Changes are made by a manager that tells no cache of them. */
static void
start(struct world *w, struct host *h)
{
	world_open(w);
	w->conf->fence.poll_interval_ms = 500;
	w->conf->fence.max_blind_ms = 300000;
	fake_reset(true);
	cache_fake_reset();
	w->mgr = world_manager(w, &durable_fake);
	host_open(w, h, &cache_fake);
}

static void
stop(struct world *w, struct host *h)
{
	cache_fake_set_hook(NULL, NULL);
	host_close(h);
	assert_true(fake_is_idle());
	world_close(w);
	cache_fake_reset();
}

static uint64_t
count_of(const struct host *h, enum stores_counter counter)
{
	return h->stores.counts[counter];
}

/* ---- what the test does to sessions, and sees of them ---- */

static unsigned
group_of(const struct made *made)
{
	return token_ref_group(&made->ref);
}

static void
change(struct world *w, const struct made *made)
{
	static unsigned number;
	struct sgate_update update = {0};
	struct sgate_session *s = NULL;
	char patch[32];

	snprintf(patch, sizeof(patch), "{\"n\":%u}", ++number);
	update.data_patch = B(patch);
	assert_status(w,
	    sgate_session_update(w->mgr, &made->ref, &update, &s, &w->err),
	    SGATE_OK);
	sgate_session_free(s);
}

static void
end(struct world *w, const struct made *made)
{
	assert_status(w,
	    sgate_session_end(
		w->mgr, &made->ref, SGATE_REASON_REVOKED, &w->err),
	    SGATE_OK);
}

/* "L2", "T3": state and version of what stands in the cache; "" = nothing. */
static const char *
copy_of(const struct made *made)
{
	static char text[32];
	struct sgate_bytes record = cache_fake_record(&made->ref);
	unsigned long long version;

	if (record.len == 0)
		return "";
	assert_true(record.len >= RECORD_TOMBSTONE_BYTES);
	assert_int_equal(sscanf(record.data + 5, "%12llu", &version), 1);
	snprintf(text, sizeof(text), "%c%llu", record.data[0], version);
	return text;
}

static uint64_t
sync_number(unsigned group)
{
	struct fence_sync sync;

	return fence_sync_read(cache_fake_sync(group), &sync) ? sync.number : 0;
}

static bool
is_part(unsigned group)
{
	return strchr(cache_fake_sync(group), ';') != NULL;
}

static enum fence_trust
trust_at(const struct host *h, unsigned group, int64_t later_ms)
{
	struct record_store store;

	return fence_trusts(&h->stores.fence, group, cache_fake_sync(group),
	    h->w->conf->fence.poll_interval_ms, h->w->conf->fence.max_blind_ms,
	    clock_boot_ms() + later_ms, &store);
}

static enum fence_trust
trust(const struct host *h, unsigned group)
{
	return trust_at(h, group, 0);
}

static uint64_t
known(const struct host *h, unsigned group)
{
	return h->stores.fence.known[group] & FENCE_NUMBER_MAX;
}

/* ---- in good times ---- */

static void
the_first_round_takes_over_an_empty_cache(void **state)
{
	struct world w;
	struct host h;
	unsigned group;

	(void)state;
	start(&w, &h);
	round_ok(&h);
	for (group = 0; group < TOKEN_GROUPS; group++) {
		assert_string_equal(cache_fake_sync(group),
		    "0 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 1");
		assert_int_equal(trust(&h, group), FENCE_YES);
	}
	assert_int_equal(h.stores.groups_behind, 0);
	assert_true(h.beats >= 3);
	assert_int_equal(h.told, 0);
	assert_int_equal(count_of(&h, STORES_POLLS), 1);
	/* With nothing new the next one only looks. */
	assert_int_equal(cache_fake_calls("apply"), TOKEN_GROUPS);
	round_ok(&h);
	assert_int_equal(cache_fake_calls("apply"), TOKEN_GROUPS);
	assert_int_equal(cache_fake_calls("sync_get"), 2);
	assert_int_equal(fake_calls("changes"), TOKEN_GROUPS);
	stop(&w, &h);
}

/* Trace 4: a change writes the record, also where none was. */
static void
changes_and_ends_are_brought(void **state)
{
	struct made changed, ended, untouched;
	struct record_tombstone tombstone;
	struct world w;
	struct host h;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &changed);
	world_create(&w, "ann", &ended);
	world_create(&w, "ann", &untouched);
	change(&w, &changed);
	end(&w, &ended);
	round_ok(&h);
	assert_string_equal(copy_of(&changed), "L2");
	assert_string_equal(copy_of(&ended), "T2");
	/* A new session is no change: it is put by whoever looks. */
	assert_string_equal(copy_of(&untouched), "");
	assert_true(
	    record_tombstone_read(cache_fake_record(&ended.ref), &tombstone));
	assert_int_equal(tombstone.reason, SGATE_REASON_REVOKED);
	assert_int_equal(tombstone.realm, record_realm(""));
	assert_int_equal(cache_fake_ttl(&changed.ref), 33 * MINUTE + MINUTE);
	assert_int_equal(cache_fake_ttl(&ended.ref), 8 * HOUR + MINUTE);
	assert_int_equal(sync_number(group_of(&ended)), 2);
	assert_int_equal(trust(&h, group_of(&ended)), FENCE_YES);
	assert_int_equal(count_of(&h, STORES_RECONCILED), 2);
	made_clear(&changed);
	made_clear(&ended);
	made_clear(&untouched);
	stop(&w, &h);
}

/* What is brought is sealed so that a look believes it. */
static void
a_record_that_was_brought_can_be_opened(void **state)
{
	struct sgate_session *s = NULL;
	struct fence_sync sync;
	struct made made;
	struct world w;
	struct host h;
	char kind;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	change(&w, &made);
	round_ok(&h);
	assert_true(fence_sync_read(cache_fake_sync(group_of(&made)), &sync));
	assert_status(&w,
	    record_read(manager_keys(h.mgr), &sync.store, &made.ref,
		cache_fake_record(&made.ref), &kind, &s, &w.err),
	    SGATE_OK);
	assert_int_equal(sgate_session_get_version(s), 2);
	sgate_session_free(s);
	made_clear(&made);
	stop(&w, &h);
}

/* ---- order ---- */

struct watch {
	struct host *host;
	unsigned group;
	unsigned applies;
	uint64_t known_before, known_after;
};

static void
watch_apply(void *arg, const char *operation, bool is_after)
{
	struct watch *watch = arg;

	if (strcmp(operation, "apply") != 0)
		return;
	watch->applies++;
	if (is_after)
		watch->known_after = known(watch->host, watch->group);
	else
		watch->known_before = known(watch->host, watch->group);
}

/*
 * Trace 3: first the cache, then the fence, so that nobody doubts a copy in
 * good times, and with nothing to be filled back in between.
 */
static void
the_fence_rises_when_the_cache_has_it(void **state)
{
	struct watch watch;
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	round_ok(&h);
	end(&w, &made);
	watch = (struct watch){&h, group_of(&made), 0, UINT64_MAX, UINT64_MAX};
	cache_fake_set_hook(watch_apply, &watch);
	round_ok(&h);
	assert_int_equal(watch.applies, 2);
	assert_int_equal(watch.known_before, 0);
	assert_int_equal(watch.known_after, 0);
	assert_int_equal(known(&h, group_of(&made)), 1);
	made_clear(&made);
	stop(&w, &h);
}

/* Trace 6: never a sync that is ahead of its tombstones. */
static void
rows_and_sync_are_one_script(void **state)
{
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	round_ok(&h);
	end(&w, &made);
	cache_fake_script("apply", 1, CACHE_FAKE_UNAVAILABLE);
	assert_status(&w, do_round(&h), SGATE_UNAVAILABLE);
	assert_string_equal(copy_of(&made), "");
	assert_int_equal(sync_number(group_of(&made)), 0);
	close_breakers(&h);
	round_ok(&h);
	assert_string_equal(copy_of(&made), "T2");
	assert_int_equal(sync_number(group_of(&made)), 1);
	assert_int_equal(cache_fake_calls("end"), 0);
	assert_int_equal(cache_fake_calls("sync_set"), 0);
	assert_int_equal(cache_fake_calls("put"), 0);
	made_clear(&made);
	stop(&w, &h);
}

/* Trace 5: the row of an earlier change, read before the end. */
static void
a_live_row_never_replaces_a_tombstone(void **state)
{
	char tombstone[] = "T00010000000000090800000001";
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	change(&w, &made);
	cache_fake_set_record(&made.ref, B(tombstone), HOUR);
	round_ok(&h);
	assert_string_equal(copy_of(&made), "T9");
	assert_int_equal(sync_number(group_of(&made)), 1);
	made_clear(&made);
	stop(&w, &h);
}

static void
an_older_row_never_replaces_a_newer_copy(void **state)
{
	struct world w;
	struct host h;
	struct made made;
	struct sgate_bytes record;
	char *newer;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	change(&w, &made);
	round_ok(&h);
	record = cache_fake_record(&made.ref);
	newer = malloc(record.len);
	assert_non_null(newer);
	memcpy(newer, record.data, record.len);
	memcpy(newer + RECORD_VERSION_OFFSET, "0001000000000007", 16);
	record.data = newer;
	cache_fake_set_record(&made.ref, record, HOUR);
	change(&w, &made);
	round_ok(&h);
	assert_string_equal(copy_of(&made), "L7");
	free(newer);
	made_clear(&made);
	stop(&w, &h);
}

/* ---- one store is away ---- */

static void
with_the_cache_down_the_fence_rises_all_the_same(void **state)
{
	struct world w;
	struct host h;
	struct made made;
	unsigned asked;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	round_ok(&h);
	asked = fake_calls("changes");
	end(&w, &made);
	cache_fake_set_down(true, CACHE_FAKE_UNAVAILABLE);
	assert_status(&w, do_round(&h), SGATE_UNAVAILABLE);
	assert_true(breaker_is_open(&h.stores.cache));
	assert_int_equal(known(&h, group_of(&made)), 1);
	/* Rows that nobody can take are not asked for. */
	assert_int_equal(fake_calls("changes"), asked);
	assert_int_equal(h.stores.groups_behind, TOKEN_GROUPS);
	/* It returns as it was: its copies are in doubt until it has all. */
	cache_fake_set_down(false, CACHE_FAKE_UNAVAILABLE);
	assert_int_equal(trust(&h, group_of(&made)), FENCE_NO);
	/* Its probe comes when it is due, and not with each round. */
	breaker_close(&h.stores.cache, clock_monotonic_ms());
	breaker_open(&h.stores.cache, clock_monotonic_ms() + MINUTE);
	asked = cache_fake_calls("sync_get");
	assert_status(&w, do_round(&h), SGATE_UNAVAILABLE);
	assert_int_equal(cache_fake_calls("sync_get"), asked);
	world_probe_is_late(&h.stores.cache);
	round_ok(&h);
	assert_int_equal(breaker_state(&h.stores.cache), BREAKER_OPEN);
	assert_int_equal(trust(&h, group_of(&made)), FENCE_YES);
	assert_string_equal(copy_of(&made), "T2");
	made_clear(&made);
	stop(&w, &h);
}

/* Trace 3, second half: a cache that refuses writes answers reads for ever. */
/* Workers whose own connections fail, behind the keeper's back. */
static void
open_breakers(void *arg, const char *operation, bool is_after)
{
	struct host *h = arg;

	if (strcmp(operation, "sync_get") != 0 || !is_after)
		return;
	breaker_open(&h->stores.cache, clock_monotonic_ms());
	breaker_open(&h->stores.durable, clock_monotonic_ms());
}

static void
a_breaker_that_workers_open_does_not_stop_a_round(void **state)
{
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	round_ok(&h);
	end(&w, &made);
	cache_fake_set_hook(open_breakers, &h);
	/* sync_get closes the cache's after this; rows and APPLY do not. */
	round_ok(&h);
	assert_true(breaker_is_open(&h.stores.durable));
	assert_string_equal(copy_of(&made), "T2");
	assert_int_equal(trust(&h, group_of(&made)), FENCE_YES);
	assert_int_equal(h.stores.groups_behind, 0);
	made_clear(&made);
	stop(&w, &h);
}

static void
a_cache_that_refuses_writes_is_in_doubt(void **state)
{
	struct world w;
	struct host h;
	struct made made;
	int i;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	round_ok(&h);
	end(&w, &made);
	cache_fake_set_read_only(true);
	for (i = 0; i < 3; i++) {
		assert_status(&w, do_round(&h), SGATE_UNAVAILABLE);
		assert_int_equal(trust(&h, group_of(&made)), FENCE_NO);
		assert_int_equal(h.stores.groups_behind, 1);
	}
	/* It answers, so its breaker lets reads through. */
	assert_false(breaker_is_open(&h.stores.cache));
	cache_fake_set_read_only(false);
	round_ok(&h);
	assert_int_equal(trust(&h, group_of(&made)), FENCE_YES);
	made_clear(&made);
	stop(&w, &h);
}

static void
memory_that_is_short_in_the_cache_holds_up_no_round(void **state)
{
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	end(&w, &made);
	cache_fake_set_full(true);
	round_ok(&h);
	assert_string_equal(copy_of(&made), "T2");
	made_clear(&made);
	stop(&w, &h);
}

static void
without_a_poll_nothing_rises_and_the_time_runs(void **state)
{
	struct world w;
	struct host h;
	int64_t complete_ms;
	unsigned i;

	(void)state;
	start(&w, &h);
	round_ok(&h);
	complete_ms = h.stores.fence.complete_ms[3];
	for (i = 1; i <= 3; i++) {
		assert_false(breaker_is_open(&h.stores.durable));
		fake_script("poll", 1, FAKE_UNAVAILABLE);
		assert_status(&w, do_round(&h), SGATE_UNAVAILABLE);
		assert_int_equal(count_of(&h, STORES_POLLS_FAILED), i);
	}
	assert_true(breaker_is_open(&h.stores.durable));
	assert_int_equal(h.stores.fence.complete_ms[3], complete_ms);
	/* The cache is asked all the same. */
	assert_int_equal(cache_fake_calls("sync_get"), 4);
	assert_int_equal(trust_at(&h, 3, 1000), FENCE_YES);
	assert_int_equal(trust_at(&h, 3, 200000), FENCE_IF_BLIND);
	assert_int_equal(trust_at(&h, 3, 301000), FENCE_NO);
	world_probe_is_late(&h.stores.durable);
	round_ok(&h);
	assert_int_equal(breaker_state(&h.stores.durable), BREAKER_OPEN);
	assert_true(h.stores.fence.complete_ms[3] >= complete_ms);
	stop(&w, &h);
}

/*
 * Trace 18: a row that cannot be read holds the fence down for one round, not
 * for ever, and only that of its group.
 */
static void
rows_that_fail_are_left_alone_for_one_round(void **state)
{
	struct world w;
	struct host h;
	struct made made;
	int64_t complete_ms;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	round_ok(&h);
	end(&w, &made);
	complete_ms = h.stores.fence.complete_ms[group_of(&made)];
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	fake_script("changes", 1, FAKE_CORRUPT);
	assert_status(&w, do_round(&h), SGATE_CORRUPT);
	assert_int_equal(known(&h, group_of(&made)), 0);
	assert_int_equal(
	    h.stores.fence.complete_ms[group_of(&made)], complete_ms);
	assert_true(h.stores.fence.complete_ms[(group_of(&made) + 1) % 16] >
		    complete_ms);
	assert_int_equal(h.told_errors, 1);
	fake_script("changes", 1, FAKE_CORRUPT);
	assert_status(&w, do_round(&h), SGATE_CORRUPT);
	assert_int_equal(known(&h, group_of(&made)), 1);
	assert_int_equal(trust(&h, group_of(&made)), FENCE_NO);
	assert_int_equal(h.told_errors, 1); /* once a minute */
	round_ok(&h);
	assert_int_equal(trust(&h, group_of(&made)), FENCE_YES);
	assert_string_equal(copy_of(&made), "T2");
	made_clear(&made);
	stop(&w, &h);
}

static void
a_failure_in_between_is_forgotten(void **state)
{
	struct world w;
	struct host h;
	struct made made;
	int i;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	round_ok(&h);
	for (i = 1; i <= 6; i += 2) {
		change(&w, &made);
		fake_script("changes", 1, FAKE_NO_MEMORY);
		assert_status(&w, do_round(&h), SGATE_NO_MEMORY);
		assert_int_equal(known(&h, group_of(&made)), i - 1);
		change(&w, &made);
		round_ok(&h);
		assert_int_equal(known(&h, group_of(&made)), i + 1);
	}
	made_clear(&made);
	stop(&w, &h);
}

static void
rows_of_a_store_that_went_away_are_not_asked_for_16_times(void **state)
{
	struct world w;
	struct host h;

	(void)state;
	start(&w, &h);
	fake_script("changes", 1, FAKE_UNAVAILABLE);
	assert_status(&w, do_round(&h), SGATE_UNAVAILABLE);
	assert_int_equal(fake_calls("changes"), 1);
	assert_int_equal(h.stores.groups_behind, TOKEN_GROUPS);
	round_ok(&h);
	assert_int_equal(h.stores.groups_behind, 0);
	stop(&w, &h);
}

/* ---- the data set is another one ---- */

static void
an_old_dump_of_the_cache_is_in_doubt_until_it_is_brought_up(void **state)
{
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	change(&w, &made);
	round_ok(&h);
	cache_fake_save();
	end(&w, &made);
	round_ok(&h);
	cache_fake_restore();
	assert_string_equal(copy_of(&made), "L2");
	assert_int_equal(trust(&h, group_of(&made)), FENCE_NO);
	round_ok(&h);
	assert_string_equal(copy_of(&made), "T3");
	assert_int_equal(trust(&h, group_of(&made)), FENCE_YES);
	/* All of it is gone. */
	cache_fake_flush();
	assert_int_equal(trust(&h, group_of(&made)), FENCE_NO);
	round_ok(&h);
	assert_string_equal(copy_of(&made), "T3");
	assert_int_equal(trust(&h, group_of(&made)), FENCE_YES);
	made_clear(&made);
	stop(&w, &h);
}

static void
restore_before_apply(void *arg, const char *operation, bool is_after)
{
	(void)arg;
	if (strcmp(operation, "apply") == 0 && !is_after)
		cache_fake_restore();
}

static void
a_dump_that_returns_in_between_refuses_what_came_for_another(void **state)
{
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	change(&w, &made);
	round_ok(&h);
	cache_fake_save();
	change(&w, &made);
	round_ok(&h);
	end(&w, &made);
	cache_fake_set_hook(restore_before_apply, NULL);
	round_ok(&h);
	cache_fake_set_hook(NULL, NULL);
	assert_int_equal(count_of(&h, STORES_APPLY_REFUSED), 1);
	assert_int_equal(sync_number(group_of(&made)), 1);
	assert_int_equal(trust(&h, group_of(&made)), FENCE_NO);
	round_ok(&h);
	assert_string_equal(copy_of(&made), "T4");
	assert_int_equal(trust(&h, group_of(&made)), FENCE_YES);
	made_clear(&made);
	stop(&w, &h);
}

#define FOREIGN "900 000102030405060708090a0b0c0d0e0f 1"

static void
a_cache_of_another_database_is_never_taken_over(void **state)
{
	static const char *const texts[] = {
	    FOREIGN, "900", "nonsense", FOREIGN ";5f;3"};
	struct world w;
	struct host h;
	struct made made;
	size_t i;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	end(&w, &made);
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		cache_fake_set_sync(group_of(&made), texts[i]);
		round_ok(&h);
		round_ok(&h);
		assert_string_equal(cache_fake_sync(group_of(&made)), texts[i]);
		assert_int_equal(trust(&h, group_of(&made)), FENCE_NO);
		assert_string_equal(copy_of(&made), "");
		assert_int_equal(known(&h, group_of(&made)), 1);
		assert_int_equal(h.stores.groups_behind, 1);
	}
	assert_int_equal(count_of(&h, STORES_FOREIGN_SYNC), 2 * i);
	assert_int_equal(h.told_errors, 1);
	assert_non_null(strstr(h.text, "another database"));
	assert_non_null(strstr(h.text, "sg:{*}:sync"));
	/* Its owner deletes it: then it is ours. */
	cache_fake_set_sync(group_of(&made), "");
	round_ok(&h);
	assert_int_equal(trust(&h, group_of(&made)), FENCE_YES);
	assert_string_equal(copy_of(&made), "T2");
	made_clear(&made);
	stop(&w, &h);
}

static void
another_database_begins_anew(void **state)
{
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	end(&w, &made);
	round_ok(&h);
	memset(fake_server()->store.id, 0x77, 16);
	round_ok(&h);
	assert_int_equal(h.told, 2);
	assert_int_equal(h.told_errors, 1); /* what to do with the cache */
	assert_int_equal(known(&h, group_of(&made)), 1);
	/* What is in the cache is of the other one now. */
	assert_int_equal(trust(&h, group_of(&made)), FENCE_NO);
	round_ok(&h);
	assert_int_equal(h.stores.groups_behind, TOKEN_GROUPS);
	assert_int_equal(h.stores.groups_foreign, TOKEN_GROUPS);
	assert_true(h.stores.fence.clock_offset_ms != 0);
	made_clear(&made);
	stop(&w, &h);
}

/* Trace 10: its number was seen, the commit was lost. */
static void
numbers_that_fall_are_an_alarm_until_a_new_epoch(void **state)
{
	struct world w;
	struct host h;
	struct made made;
	struct fence fence;
	unsigned group;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	group = group_of(&made);
	change(&w, &made);
	end(&w, &made);
	round_ok(&h);
	made_clear(&made);
	/* A dump is loaded behind our back. */
	fake_reset(true);
	sgate_manager_free(h.mgr);
	sgate_manager_free(w.mgr);
	w.mgr = world_manager(&w, &durable_fake);
	host_open(&w, &h, &cache_fake);
	fence_reset(&h.stores.fence, fake_server()->store.id);
	fence_raise(&h.stores.fence, group, fence_mark(1, 2));
	h.round.runtime_dir = w.dir;
	round_ok(&h);
	assert_int_equal(h.stores.fence.is_alarmed, 1);
	assert_int_equal(h.told_errors, 1);
	assert_non_null(strstr(h.text, "sessgatectl db restored"));
	assert_int_equal(h.stores.groups_behind, TOKEN_GROUPS);
	assert_int_equal(trust(&h, 0), FENCE_NO);
	/* A restart is alarmed as well. */
	assert_int_equal(fence_file_read(w.dir, &fence, &w.err), SGATE_OK);
	assert_int_equal(fence.is_alarmed, 1);
	/* The numbers come past it by themselves: still not. */
	world_create(&w, "ann", &made);
	change(&w, &made);
	change(&w, &made);
	change(&w, &made);
	round_ok(&h);
	assert_int_equal(h.stores.fence.is_alarmed, 1);
	assert_int_equal(trust(&h, group), FENCE_NO);
	fake_server()->store.epoch = 2;
	round_ok(&h);
	assert_int_equal(h.stores.fence.is_alarmed, 0);
	assert_int_equal(trust(&h, group), FENCE_YES);
	assert_int_equal(fence_file_read(w.dir, &fence, &w.err), SGATE_OK);
	assert_int_equal(fence.is_alarmed, 0);
	made_clear(&made);
	stop(&w, &h);
}

/* Trace 16. */
static void
a_new_epoch_is_taken_over_and_its_copies_win(void **state)
{
	struct world w;
	struct host h;
	struct made made;
	unsigned group;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	group = group_of(&made);
	change(&w, &made);
	change(&w, &made);
	round_ok(&h);
	assert_string_equal(copy_of(&made), "L3");
	fake_server()->store.epoch = 2;
	change(&w, &made);
	round_ok(&h);
	assert_int_equal(h.stores.fence.is_alarmed, 0);
	assert_string_equal(copy_of(&made), "L4");
	assert_memory_equal(cache_fake_record(&made.ref).data + 1, "0002", 4);
	assert_int_equal(trust(&h, group), FENCE_YES);
	/* A sync of the time that was lost, whatever its number. */
	cache_fake_set_sync(group, "900 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 1");
	assert_int_equal(trust(&h, group), FENCE_NO);
	round_ok(&h);
	assert_int_equal(trust(&h, group), FENCE_YES);
	assert_string_equal(
	    cache_fake_sync(group), "3 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 2");
	made_clear(&made);
	stop(&w, &h);
}

static void
an_epoch_that_falls_is_an_alarm(void **state)
{
	struct world w;
	struct host h;

	(void)state;
	start(&w, &h);
	fake_server()->store.epoch = 5;
	round_ok(&h);
	fake_server()->store.epoch = 4;
	round_ok(&h);
	assert_int_equal(h.stores.fence.is_alarmed, 1);
	fake_server()->store.epoch = 5;
	round_ok(&h);
	assert_int_equal(h.stores.fence.is_alarmed, 1);
	fake_server()->store.epoch = 6;
	round_ok(&h);
	assert_int_equal(h.stores.fence.is_alarmed, 0);
	stop(&w, &h);
}

static void
counters_that_cannot_be_are_no_poll(void **state)
{
	struct world w;
	struct host h;

	(void)state;
	start(&w, &h);
	round_ok(&h);
	fake_server()->store.epoch = 10000;
	assert_status(&w, do_round(&h), SGATE_CORRUPT);
	assert_int_equal(count_of(&h, STORES_POLLS_FAILED), 1);
	fake_server()->store.epoch = 1;
	round_ok(&h);
	assert_int_equal(trust(&h, 0), FENCE_YES);
	stop(&w, &h);
}

/* ---- two keepers ---- */

struct crossing {
	struct host *other;
	const struct made *made;
	bool is_done;
};

/* The other host's whole round, between our rows and our APPLY. */
static void
cross(void *arg, const char *operation, bool is_after)
{
	struct crossing *c = arg;

	if (strcmp(operation, "apply") != 0 || is_after || c->is_done)
		return;
	c->is_done = true;
	round_ok(c->other);
}

/* Trace 17, second half: nobody is left in doubt. */
static void
two_keepers_that_cross_leave_no_group_in_doubt(void **state)
{
	struct crossing c;
	struct world w;
	struct host a, b;
	struct made made;

	(void)state;
	start(&w, &a);
	host_open(&w, &b, &cache_fake);
	world_create(&w, "ann", &made);
	round_ok(&a);
	end(&w, &made);
	c = (struct crossing){&b, &made, false};
	cache_fake_set_hook(cross, &c);
	round_ok(&a);
	cache_fake_set_hook(NULL, NULL);
	/* The other had the same: what was refused is there. */
	assert_true(c.is_done);
	assert_string_equal(copy_of(&made), "T2");
	assert_int_equal(trust(&a, group_of(&made)), FENCE_YES);
	assert_int_equal(trust(&b, group_of(&made)), FENCE_YES);
	assert_int_equal(a.stores.groups_behind, 0);
	host_close(&b);
	made_clear(&made);
	stop(&w, &a);
}

/* The other one's, which had polled before the second change. */
static void
bring_to_one(void *arg, const char *operation, bool is_after)
{
	struct crossing *c = arg;

	if (strcmp(operation, "apply") != 0 || is_after || c->is_done)
		return;
	c->is_done = true;
	cache_fake_set_sync(
	    group_of(c->made), "1 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 1");
}

static void
refused_for_a_higher_sync_it_goes_on_from_there(void **state)
{
	struct crossing c;
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	round_ok(&h);
	change(&w, &made);
	end(&w, &made);
	c = (struct crossing){NULL, &made, false};
	cache_fake_set_hook(bring_to_one, &c);
	round_ok(&h);
	assert_int_equal(count_of(&h, STORES_APPLY_REFUSED), 1);
	assert_int_equal(sync_number(group_of(&made)), 2);
	assert_string_equal(copy_of(&made), "T3");
	assert_int_equal(trust(&h, group_of(&made)), FENCE_YES);
	made_clear(&made);
	stop(&w, &h);
}

static void
refuse_always(void *arg, const char *operation, bool is_after)
{
	static unsigned long number;
	struct crossing *c = arg;
	char text[128];

	if (strcmp(operation, "apply") != 0 || is_after)
		return;
	snprintf(text, sizeof(text), "%lu 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 1",
	    ++number);
	cache_fake_set_sync(group_of(c->made), text);
}

static void
refused_twice_it_waits_for_the_next_round(void **state)
{
	struct crossing c;
	struct world w;
	struct host h;
	struct made made;
	int i;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	round_ok(&h);
	for (i = 0; i < 9; i++)
		change(&w, &made);
	c = (struct crossing){NULL, &made, false};
	cache_fake_set_hook(refuse_always, &c);
	round_ok(&h);
	cache_fake_set_hook(NULL, NULL);
	assert_int_equal(count_of(&h, STORES_APPLY_REFUSED), 2);
	assert_int_equal(sync_number(group_of(&made)), 2);
	assert_int_equal(known(&h, group_of(&made)), 9);
	assert_int_equal(trust(&h, group_of(&made)), FENCE_NO);
	round_ok(&h);
	assert_int_equal(trust(&h, group_of(&made)), FENCE_YES);
	made_clear(&made);
	stop(&w, &h);
}

/* ---- more rows than one script takes ---- */

#define MANY 300

struct many {
	struct made made[MANY];
	unsigned group;
};

static void
make_many(struct world *w, struct many *m)
{
	size_t i;

	for (i = 0; i < MANY; i++)
		world_create(w, "ann", &m->made[i]);
	m->group = group_of(&m->made[0]);
}

static void
end_many(struct world *w, struct many *m, size_t from, size_t to)
{
	for (; from < to; from++)
		end(w, &m->made[from]);
}

static size_t
count_tombstones(const struct many *m)
{
	size_t i, count = 0;

	for (i = 0; i < MANY; i++)
		count += copy_of(&m->made[i])[0] == 'T';
	return count;
}

static void
clear_many(struct many *m)
{
	size_t i;

	for (i = 0; i < MANY; i++)
		made_clear(&m->made[i]);
	free(m);
}

struct parts {
	unsigned group;
	unsigned seen;        /* applies to that group */
	uint64_t number_seen; /* the highest before the last one */
	int sleep_ms;         /* in the first of them */
};

static void
watch_parts(void *arg, const char *operation, bool is_after)
{
	struct parts *p = arg;

	if (strcmp(operation, "apply") != 0 || !is_after)
		return;
	if (is_part(p->group)) {
		p->seen++;
		if (sync_number(p->group) > p->number_seen)
			p->number_seen = sync_number(p->group);
		if (p->sleep_ms > 0)
			nanosleep(
			    &(struct timespec){.tv_sec = p->sleep_ms / 1000,
				.tv_nsec = p->sleep_ms % 1000 * 1000000},
			    NULL);
		p->sleep_ms = 0;
	}
}

static void
many_rows_are_brought_in_parts(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct parts parts;
	struct world w;
	struct host h;

	(void)state;
	assert_non_null(m);
	start(&w, &h);
	round_ok(&h);
	make_many(&w, m);
	end_many(&w, m, 0, MANY);
	parts = (struct parts){.group = m->group};
	cache_fake_set_hook(watch_parts, &parts);
	round_ok(&h);
	assert_int_equal(parts.seen, 2); /* and the last, which is none */
	assert_int_equal(parts.number_seen, 0);
	assert_string_equal(cache_fake_sync(m->group),
	    "300 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 1");
	assert_int_equal(count_tombstones(m), MANY);
	assert_int_equal(count_of(&h, STORES_RECONCILED), MANY);
	assert_int_equal(trust(&h, m->group), FENCE_YES);
	clear_many(m);
	stop(&w, &h);
}

static void
large_rows_are_brought_in_parts_as_well(void **state)
{
	struct sgate_update update = {0};
	struct sgate_session *s = NULL;
	struct made made[12];
	struct parts parts;
	struct world w;
	struct host h;
	char *data;
	size_t i;

	(void)state;
	start(&w, &h);
	round_ok(&h);
	data = malloc(60001);
	assert_non_null(data);
	memset(data, 'x', 60000);
	memcpy(data, "{\"a\":\"", 6);
	strcpy(data + 59990, "\"}");
	update.data_patch = B(data);
	for (i = 0; i < 12; i++) {
		world_create(&w, "ann", &made[i]);
		assert_status(&w,
		    sgate_session_update(
			w.mgr, &made[i].ref, &update, &s, &w.err),
		    SGATE_OK);
		sgate_session_free(s);
	}
	parts = (struct parts){.group = group_of(&made[0])};
	cache_fake_set_hook(watch_parts, &parts);
	round_ok(&h);
	assert_int_equal(parts.seen, 2);
	for (i = 0; i < 12; i++) {
		assert_string_equal(copy_of(&made[i]), "L2");
		made_clear(&made[i]);
	}
	free(data);
	stop(&w, &h);
}

static void
rows_of_one_number_stay_together(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	uint64_t count = 0;
	struct world w;
	struct host h;

	(void)state;
	assert_non_null(m);
	start(&w, &h);
	round_ok(&h);
	make_many(&w, m);
	assert_status(&w,
	    sgate_user_cleanup(
		w.mgr, B("ann"), NULL, SGATE_REASON_REVOKED, &count, &w.err),
	    SGATE_OK);
	assert_int_equal(count, MANY);
	round_ok(&h);
	assert_int_equal(count_tombstones(m), MANY);
	assert_false(is_part(m->group));
	assert_int_equal(trust(&h, m->group), FENCE_YES);
	clear_many(m);
	stop(&w, &h);
}

/* The time of the round is over after the first part. */
static void
a_round_that_takes_too_long_goes_on_in_the_next(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct parts parts;
	struct world w;
	struct host h;
	unsigned asked;

	(void)state;
	assert_non_null(m);
	start(&w, &h);
	round_ok(&h);
	make_many(&w, m);
	end_many(&w, m, 0, MANY);
	parts = (struct parts){.group = m->group, .sleep_ms = 1100};
	cache_fake_set_hook(watch_parts, &parts);
	asked = fake_calls("changes");
	round_ok(&h);
	assert_int_equal(fake_calls("changes"), asked + 1);
	assert_true(is_part(m->group));
	/* The fence has risen: what is not there is not believed. */
	assert_int_equal(known(&h, m->group), MANY);
	assert_int_equal(trust(&h, m->group), FENCE_NO);
	assert_int_equal(h.stores.groups_behind, 1);
	round_ok(&h);
	assert_int_equal(fake_calls("changes"), asked + 3);
	assert_int_equal(count_tombstones(m), MANY);
	assert_int_equal(count_of(&h, STORES_RECONCILED), MANY);
	assert_int_equal(trust(&h, m->group), FENCE_YES);
	clear_many(m);
	stop(&w, &h);
}

/* Half of the rows are there when the data set is rolled back under us. */
static void
a_dump_that_returns_between_parts_refuses_the_rest(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct parts parts;
	struct world w;
	struct host h;

	(void)state;
	assert_non_null(m);
	start(&w, &h);
	round_ok(&h);
	make_many(&w, m);
	cache_fake_save();
	end_many(&w, m, 0, MANY);
	parts = (struct parts){.group = m->group, .sleep_ms = 1100};
	cache_fake_set_hook(watch_parts, &parts);
	round_ok(&h);
	assert_true(is_part(m->group));
	cache_fake_restore();
	cache_fake_set_hook(NULL, NULL);
	assert_int_equal(trust(&h, m->group), FENCE_NO);
	round_ok(&h);
	assert_int_equal(count_tombstones(m), MANY);
	assert_int_equal(sync_number(m->group), MANY);
	assert_int_equal(trust(&h, m->group), FENCE_YES);
	clear_many(m);
	stop(&w, &h);
}

struct failover {
	unsigned group;
	unsigned applies;
};

/*
 * Before the second part: a replica without the first one was promoted, and
 * another keeper, which knew of 100 changes, has brought those there.
 */
static void
fail_over_before_the_second(void *arg, const char *operation, bool is_after)
{
	struct failover *f = arg;

	if (strcmp(operation, "apply") != 0 || is_after || !is_part(f->group) ||
	    f->applies++ > 0)
		return;
	cache_fake_restore();
	cache_fake_set_sync(f->group, "100 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 1");
}

static void
later_parts_do_not_go_on_behind_another_s_number(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct failover failover;
	struct world w;
	struct host h;

	(void)state;
	assert_non_null(m);
	start(&w, &h);
	round_ok(&h);
	make_many(&w, m);
	cache_fake_save();
	end_many(&w, m, 0, MANY);
	failover = (struct failover){m->group, 0};
	cache_fake_set_hook(fail_over_before_the_second, &failover);
	round_ok(&h);
	assert_int_equal(failover.applies, 1);
	assert_int_equal(sync_number(m->group), 100);
	assert_int_equal(trust(&h, m->group), FENCE_NO);
	cache_fake_set_hook(NULL, NULL);
	round_ok(&h);
	/* 1 to 100 were the other one's, and are not there in this test. */
	assert_int_equal(count_tombstones(m), MANY - 100);
	assert_int_equal(trust(&h, m->group), FENCE_YES);
	clear_many(m);
	stop(&w, &h);
}

/* A keeper is killed between two parts. */
static void
what_another_left_half_done_is_done_again_after_a_round(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct parts parts;
	struct world w;
	struct host a, b;
	char left[CACHE_SYNC_MAX + 1];

	(void)state;
	assert_non_null(m);
	start(&w, &a);
	host_open(&w, &b, &cache_fake);
	round_ok(&a);
	make_many(&w, m);
	end_many(&w, m, 0, MANY);
	parts = (struct parts){.group = m->group, .sleep_ms = 1100};
	cache_fake_set_hook(watch_parts, &parts);
	round_ok(&a);
	cache_fake_set_hook(NULL, NULL);
	snprintf(left, sizeof(left), "%s", cache_fake_sync(m->group));
	assert_true(is_part(m->group));
	round_ok(&b); /* it may be at work still */
	assert_string_equal(cache_fake_sync(m->group), left);
	assert_int_equal(known(&b, m->group), MANY);
	assert_int_equal(trust(&b, m->group), FENCE_NO);
	round_ok(&b);
	assert_int_equal(sync_number(m->group), MANY);
	assert_int_equal(count_tombstones(m), MANY);
	assert_int_equal(trust(&b, m->group), FENCE_YES);
	/* And the first one, if it was only slow, finds nothing to do. */
	round_ok(&a);
	assert_int_equal(trust(&a, m->group), FENCE_YES);
	host_close(&b);
	clear_many(m);
	stop(&w, &a);
}

static void
who_goes_on_with_its_parts_is_not_disturbed(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct world w;
	struct host h;
	char text[CACHE_SYNC_MAX + 1];
	int i;

	(void)state;
	assert_non_null(m);
	start(&w, &h);
	round_ok(&h);
	make_many(&w, m);
	end_many(&w, m, 0, 3);
	for (i = 1; i < 6; i++) {
		snprintf(text, sizeof(text),
		    "0 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 1;abc;%d", i);
		cache_fake_set_sync(m->group, text);
		round_ok(&h);
		assert_string_equal(cache_fake_sync(m->group), text);
		assert_int_equal(trust(&h, m->group), FENCE_NO);
	}
	clear_many(m);
	stop(&w, &h);
}

/* The answer is lost, the script was done. */
static void
a_part_whose_answer_is_lost_is_found_again(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct world w;
	struct host h;
	int i;

	(void)state;
	assert_non_null(m);
	start(&w, &h);
	round_ok(&h);
	make_many(&w, m);
	end_many(&w, m, 0, MANY);
	cache_fake_script("apply", 1, CACHE_FAKE_DONE);
	assert_status(&w, do_round(&h), SGATE_UNAVAILABLE);
	assert_true(is_part(m->group));
	assert_int_equal(trust(&h, m->group), FENCE_NO);
	for (i = 0; i < 2; i++)
		round_ok(&h);
	assert_int_equal(count_tombstones(m), MANY);
	assert_int_equal(trust(&h, m->group), FENCE_YES);
	clear_many(m);
	stop(&w, &h);
}

/* A server that was stopped does what it was sent when it goes on. */
static void
an_apply_that_is_done_late_does_no_harm(void **state)
{
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	world_create(&w, "ann", &made);
	round_ok(&h);
	change(&w, &made);
	cache_fake_script("apply", 1, CACHE_FAKE_LATE);
	assert_status(&w, do_round(&h), SGATE_UNAVAILABLE);
	end(&w, &made);
	round_ok(&h);
	assert_string_equal(copy_of(&made), "T3");
	cache_fake_wake();
	assert_string_equal(copy_of(&made), "T3");
	assert_int_equal(sync_number(group_of(&made)), 2);
	made_clear(&made);
	stop(&w, &h);
}

static void
rows_that_change_while_parts_are_brought_are_not_lost(void **state)
{
	struct many *m = calloc(1, sizeof(*m));
	struct parts parts;
	struct world w;
	struct host h;

	(void)state;
	assert_non_null(m);
	start(&w, &h);
	round_ok(&h);
	make_many(&w, m);
	end_many(&w, m, 0, 200);
	change(&w, &m->made[250]);
	parts = (struct parts){.group = m->group, .sleep_ms = 1100};
	cache_fake_set_hook(watch_parts, &parts);
	round_ok(&h);
	assert_true(is_part(m->group));
	/* One that is not brought yet moves up, and others come. */
	end_many(&w, m, 250, 251);
	end_many(&w, m, 200, 210);
	round_ok(&h);
	assert_int_equal(count_tombstones(m), 211);
	assert_int_equal(sync_number(m->group), 212);
	assert_int_equal(trust(&h, m->group), FENCE_YES);
	clear_many(m);
	stop(&w, &h);
}

/* ---- the file ---- */

struct file_watch {
	struct host *host;
	unsigned group;
	uint64_t in_file, in_memory; /* while the cache was written */
};

static void
read_file_in_apply(void *arg, const char *operation, bool is_after)
{
	struct file_watch *watch = arg;
	struct sgate_error err;
	struct fence fence;

	if (strcmp(operation, "apply") != 0 || is_after)
		return;
	assert_int_equal(
	    fence_file_read(watch->host->w->dir, &fence, &err), SGATE_OK);
	watch->in_file = fence.known[watch->group] & FENCE_NUMBER_MAX;
	watch->in_memory = known(watch->host, watch->group);
}

/* Trace 18: late, a crash would forget what was used. */
static void
the_file_is_written_before_the_fence_rises(void **state)
{
	struct file_watch watch;
	struct fence fence;
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	h.round.runtime_dir = w.dir;
	world_create(&w, "ann", &made);
	round_ok(&h);
	end(&w, &made);
	watch = (struct file_watch){&h, group_of(&made), 0, UINT64_MAX};
	cache_fake_set_hook(read_file_in_apply, &watch);
	round_ok(&h);
	assert_int_equal(watch.in_file, 1);
	assert_int_equal(watch.in_memory, 0);
	/* A restart goes on with it: store, numbers, blind time, clock. */
	assert_int_equal(fence_file_read(w.dir, &fence, &w.err), SGATE_OK);
	assert_int_equal(fence.known[group_of(&made)] & FENCE_NUMBER_MAX, 1);
	assert_true(fence.store_id[0] == h.stores.fence.store_id[0]);
	assert_true(fence.clock_offset_ms != 0);
	assert_true(fence.complete_ms[2] > 0 &&
		    fence.complete_ms[2] <= h.stores.fence.complete_ms[2]);
	made_clear(&made);
	stop(&w, &h);
}

static void
on_a_full_disk_the_fence_rises_and_a_restart_knows_nothing(void **state)
{
	struct rlimit limit, old;
	struct fence fence;
	struct world w;
	struct host h;
	struct made made;
	enum sgate_status status;

	(void)state;
	start(&w, &h);
	h.round.runtime_dir = w.dir;
	world_create(&w, "ann", &made);
	round_ok(&h);
	end(&w, &made);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 100;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	status = do_round(&h);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(status, SGATE_INTERNAL);
	assert_int_equal(h.told_errors, 1);
	assert_int_equal(known(&h, group_of(&made)), 1);
	assert_int_equal(trust(&h, group_of(&made)), FENCE_YES);
	assert_int_equal(
	    fence_file_read(w.dir, &fence, &w.err), SGATE_NOT_FOUND);
	/* With room again the next rise is written. */
	made_clear(&made);
	world_create(&w, "ann", &made);
	change(&w, &made);
	round_ok(&h);
	assert_int_equal(fence_file_read(w.dir, &fence, &w.err), SGATE_OK);
	made_clear(&made);
	stop(&w, &h);
}

static void
without_a_directory_there_is_no_file(void **state)
{
	struct fence fence;
	struct world w;
	struct host h;

	(void)state;
	start(&w, &h);
	round_ok(&h);
	assert_int_equal(
	    fence_file_read(w.dir, &fence, &w.err), SGATE_NOT_FOUND);
	stop(&w, &h);
}

/* ---- clock, settings, no cache, no copies ---- */

static void
the_poll_tells_the_database_s_clock(void **state)
{
	struct world w;
	struct host h;
	int64_t here_ms;

	(void)state;
	start(&w, &h);
	fake_server()->now_ms = clock_utc_ms() + 3600000;
	round_ok(&h);
	here_ms = clock_boot_ms() + h.stores.fence.clock_offset_ms;
	assert_true(here_ms >= fake_server()->now_ms);
	assert_true(here_ms <= fake_server()->now_ms + 2000);
	assert_int_equal(h.told, 1);
	assert_int_equal(h.told_errors, 0);
	assert_non_null(strstr(h.text, "behind that of"));
	round_ok(&h);
	assert_int_equal(h.told, 1);
	/* Agreed again, and then the other way round. */
	fake_server()->now_ms = 0;
	round_ok(&h);
	assert_int_equal(h.told, 1);
	fake_server()->now_ms = clock_utc_ms() - 3600000;
	round_ok(&h);
	assert_int_equal(h.told, 2);
	assert_non_null(strstr(h.text, "ahead of"));
	stop(&w, &h);
}

static void
copies_of_a_newer_format_are_told_of(void **state)
{
	struct world w;
	struct host h;

	(void)state;
	start(&w, &h);
	round_ok(&h);
	assert_int_equal(h.told, 0);
	stores_count(h.stores.counts, STORES_NEWER_COPIES);
	round_ok(&h);
	assert_int_equal(h.told, 1);
	assert_int_equal(h.told_errors, 0);
	assert_non_null(strstr(h.text, "a newer sessgate has written them"));
	/* Once, and not more than once a minute when there are more. */
	round_ok(&h);
	stores_count(h.stores.counts, STORES_NEWER_COPIES);
	round_ok(&h);
	assert_int_equal(h.told, 1);
	h.mgr->fence_work.told_ms[FENCE_NEWS - 1] -= 60000;
	round_ok(&h);
	round_ok(&h);
	assert_int_equal(h.told, 2);
	assert_non_null(strstr(h.text, "(2 were met)"));
	stop(&w, &h);
}

static void
the_number_of_the_settings_is_kept(void **state)
{
	struct world w;
	struct host h;

	(void)state;
	start(&w, &h);
	fake_server()->settings = 41;
	round_ok(&h);
	assert_int_equal(h.stores.fence.settings, 41);
	stop(&w, &h);
}

static void
without_a_cache_the_round_is_the_poll(void **state)
{
	struct world w;
	struct host h;
	struct made made;

	(void)state;
	start(&w, &h);
	host_close(&h);
	host_open(&w, &h, NULL);
	world_create(&w, "ann", &made);
	end(&w, &made);
	round_ok(&h);
	assert_int_equal(fake_calls("changes"), 0);
	assert_true(h.stores.fence.clock_offset_ms != 0);
	assert_int_equal(cache_fake_calls(NULL), 0);
	made_clear(&made);
	stop(&w, &h);
}

static void
a_store_that_is_never_copied_has_no_round(void **state)
{
	struct manager_round round = {0};
	struct world w;

	(void)state;
	if (strcmp(world_store(), "sqlite") != 0)
		skip();
	world_start(&w);
	assert_status(&w, manager_fence_round(w.mgr, &round, &w.err), SGATE_OK);
	assert_true(manager_stores(w.mgr)->counts[STORES_POLLS] == 0);
	world_close(&w);
}

/* Whatever fails, and whenever: the next rounds put it right. */
static void
any_one_failure_is_put_right_by_the_rounds_after_it(void **state)
{
	static const char *const cache_calls[] = {"sync_get", "apply"};
	static const char *const durable_calls[] = {"poll", "changes"};
	struct world w;
	struct host h;
	struct made live, ended;
	unsigned nth, i;
	int tries;

	(void)state;
	for (nth = 1; nth <= 20; nth++) {
		for (i = 0; i < 4; i++) {
			start(&w, &h);
			world_create(&w, "ann", &live);
			world_create(&w, "ann", &ended);
			change(&w, &live);
			end(&w, &ended);
			if (i < 2)
				cache_fake_script(cache_calls[i], 1 + nth % 20,
				    nth % 2 ? CACHE_FAKE_UNAVAILABLE
					    : CACHE_FAKE_DONE);
			else
				fake_script(durable_calls[i - 2], nth,
				    nth % 2 ? FAKE_UNAVAILABLE : FAKE_CORRUPT);
			for (tries = 0; tries < 40; tries++) {
				(void)!do_round(&h);
				close_breakers(&h);
				/* Believed means: it is as it is. */
				if (trust(&h, group_of(&live)) != FENCE_YES)
					continue;
				assert_string_equal(copy_of(&live), "L2");
				assert_string_equal(copy_of(&ended), "T2");
			}
			round_ok(&h);
			assert_int_equal(h.stores.groups_behind, 0);
			assert_int_equal(trust(&h, group_of(&live)), FENCE_YES);
			made_clear(&live);
			made_clear(&ended);
			stop(&w, &h);
		}
	}
}

static const struct CMUnitTest fence_tests[] = {
    cmocka_unit_test(the_first_round_takes_over_an_empty_cache),
    cmocka_unit_test(changes_and_ends_are_brought),
    cmocka_unit_test(a_record_that_was_brought_can_be_opened),
    cmocka_unit_test(the_fence_rises_when_the_cache_has_it),
    cmocka_unit_test(rows_and_sync_are_one_script),
    cmocka_unit_test(a_live_row_never_replaces_a_tombstone),
    cmocka_unit_test(an_older_row_never_replaces_a_newer_copy),
    cmocka_unit_test(with_the_cache_down_the_fence_rises_all_the_same),
    cmocka_unit_test(a_breaker_that_workers_open_does_not_stop_a_round),
    cmocka_unit_test(a_cache_that_refuses_writes_is_in_doubt),
    cmocka_unit_test(memory_that_is_short_in_the_cache_holds_up_no_round),
    cmocka_unit_test(without_a_poll_nothing_rises_and_the_time_runs),
    cmocka_unit_test(rows_that_fail_are_left_alone_for_one_round),
    cmocka_unit_test(a_failure_in_between_is_forgotten),
    cmocka_unit_test(rows_of_a_store_that_went_away_are_not_asked_for_16_times),
    cmocka_unit_test(
	an_old_dump_of_the_cache_is_in_doubt_until_it_is_brought_up),
    cmocka_unit_test(
	a_dump_that_returns_in_between_refuses_what_came_for_another),
    cmocka_unit_test(a_cache_of_another_database_is_never_taken_over),
    cmocka_unit_test(another_database_begins_anew),
    cmocka_unit_test(numbers_that_fall_are_an_alarm_until_a_new_epoch),
    cmocka_unit_test(a_new_epoch_is_taken_over_and_its_copies_win),
    cmocka_unit_test(an_epoch_that_falls_is_an_alarm),
    cmocka_unit_test(counters_that_cannot_be_are_no_poll),
    cmocka_unit_test(two_keepers_that_cross_leave_no_group_in_doubt),
    cmocka_unit_test(refused_for_a_higher_sync_it_goes_on_from_there),
    cmocka_unit_test(refused_twice_it_waits_for_the_next_round),
    cmocka_unit_test(many_rows_are_brought_in_parts),
    cmocka_unit_test(large_rows_are_brought_in_parts_as_well),
    cmocka_unit_test(rows_of_one_number_stay_together),
    cmocka_unit_test(a_round_that_takes_too_long_goes_on_in_the_next),
    cmocka_unit_test(a_dump_that_returns_between_parts_refuses_the_rest),
    cmocka_unit_test(later_parts_do_not_go_on_behind_another_s_number),
    cmocka_unit_test(what_another_left_half_done_is_done_again_after_a_round),
    cmocka_unit_test(who_goes_on_with_its_parts_is_not_disturbed),
    cmocka_unit_test(a_part_whose_answer_is_lost_is_found_again),
    cmocka_unit_test(an_apply_that_is_done_late_does_no_harm),
    cmocka_unit_test(rows_that_change_while_parts_are_brought_are_not_lost),
    cmocka_unit_test(the_file_is_written_before_the_fence_rises),
    cmocka_unit_test(
	on_a_full_disk_the_fence_rises_and_a_restart_knows_nothing),
    cmocka_unit_test(without_a_directory_there_is_no_file),
    cmocka_unit_test(the_poll_tells_the_database_s_clock),
    cmocka_unit_test(copies_of_a_newer_format_are_told_of),
    cmocka_unit_test(the_number_of_the_settings_is_kept),
    cmocka_unit_test(without_a_cache_the_round_is_the_poll),
    cmocka_unit_test(a_store_that_is_never_copied_has_no_round),
    cmocka_unit_test(any_one_failure_is_put_right_by_the_rounds_after_it),
};

TAP_MAIN(fence_tests)
