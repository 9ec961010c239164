/*
 * Warming the cache after it has lost data: over the fakes. What real servers
 * make of it: tests/it/warm.py.
 */
#include "config.h"

#include "tap.h"

#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define SESSIONS 25

struct warm {
	struct pair p;
	struct made made[SESSIONS];
	struct manager_warming warming;
};

static struct stores_warm *
shown(struct warm *w)
{
	return &w->p.stores.warm;
}

static void
round_of(struct warm *w)
{
	const struct manager_round round = {.runtime_dir = NULL};

	assert_status(&w->p.w,
	    manager_fence_round(w->p.w.mgr, &round, &w->p.w.err), SGATE_OK);
}

static void
start(struct warm *w)
{
	size_t i;

	memset(w, 0, sizeof(*w));
	pair_start(&w->p);
	fake_server()->now_ms = w->p.w.now_ms;
	for (i = 0; i < SESSIONS; i++)
		world_create(&w->p.w, "ann", &w->made[i]);
	round_of(w);
	assert_false(manager_warm_is_due(w->p.w.mgr));
}

static void
stop(struct warm *w)
{
	size_t i;

	for (i = 0; i < SESSIONS; i++)
		made_clear(&w->made[i]);
	pair_stop(&w->p);
}

static enum sgate_status
step(struct warm *w, size_t limit)
{
	return manager_warm(w->p.w.mgr, &w->warming, limit, &w->p.w.err);
}

/* To the end of the pass; how many steps it took. */
static int
pass(struct warm *w, size_t limit)
{
	int steps = 0;

	while (manager_warm_is_due(w->p.w.mgr)) {
		assert_status(&w->p.w, step(w, limit), SGATE_OK);
		assert_true(++steps < 1000);
	}
	return steps;
}

static size_t
count_there(struct warm *w)
{
	size_t i, count = 0;

	for (i = 0; i < SESSIONS; i++)
		count += pair_state(&w->made[i].ref) == 'L';
	return count;
}

static void
what_was_flushed_is_there_again_for_an_outage_of_mysql(void **state)
{
	struct warm w;
	size_t i;

	(void)state;
	start(&w);
	cache_fake_flush();
	/* The round alone brings nothing: none has ever changed. */
	round_of(&w);
	assert_int_equal(count_there(&w), 0);
	assert_true(manager_warm_is_due(w.p.w.mgr));
	assert_true(pass(&w, 4) >= SESSIONS / 4);
	assert_int_equal(count_there(&w), SESSIONS);
	assert_int_equal(pair_count(&w.p, STORES_WARMED), SESSIONS);
	assert_int_equal(atomic_load(&shown(&w)->looked), SESSIONS);
	pair_durable_down(&w.p);
	for (i = 0; i < SESSIONS; i++)
		pair_expect(
		    &w.p, w.p.w.mgr, w.made[i].token, SGATE_REASON_OK, COPY);
	stop(&w);
}

static void
an_old_dump_is_noticed_and_a_sync_that_stands_is_not(void **state)
{
	struct warm w;
	struct made late;
	int i;

	(void)state;
	start(&w);
	cache_fake_save();
	world_create(&w.p.w, "ann", &late);
	assert_status(&w.p.w,
	    sgate_session_end(
		w.p.w.mgr, &w.made[0].ref, SGATE_REASON_REVOKED, &w.p.w.err),
	    SGATE_OK);
	for (i = 0; i < 3; i++)
		round_of(&w);
	assert_false(manager_warm_is_due(w.p.w.mgr));
	cache_fake_restore();
	assert_int_equal(pair_state(&late.ref), '\0');
	round_of(&w);
	assert_true(manager_warm_is_due(w.p.w.mgr));
	pass(&w, 100);
	assert_int_equal(pair_state(&late.ref), 'L');
	/* The end was brought by the round, and stays. */
	assert_int_equal(pair_state(&w.made[0].ref), 'T');
	made_clear(&late);
	stop(&w);
}

/* What a program put into a session is read from the copy that was brought. */
static void
data_is_brought_as_well(void **state)
{
	static const char data[] = "{\"cart\":[1,2,3]}";
	const struct sgate_create create = {
	    .user_id = bytes_of("ann"), .data = bytes_of(data)};
	struct sgate_session *session = NULL;
	char *token = NULL;
	struct warm w;

	(void)state;
	start(&w);
	assert_status(&w.p.w,
	    sgate_session_create(
		w.p.w.mgr, &create, &session, &token, &w.p.w.err),
	    SGATE_OK);
	cache_fake_flush();
	round_of(&w);
	pass(&w, 10);
	assert_int_equal(pair_state(sgate_session_get_ref(session)), 'L');
	sgate_session_free(session);
	assert_status(&w.p.w,
	    sgate_session_get(w.p.w.mgr, bytes_of(token), SGATE_NO_TOUCH,
		&session, &w.p.w.err),
	    SGATE_OK);
	assert_string_equal(manager_served_by(w.p.w.mgr), cache_fake.name);
	assert_true(bytes_equal_text(sgate_session_get_data(session), data));
	sgate_session_free(session);
	sgate_token_free(token);
	stop(&w);
}

/* Nobody could write there what was created meanwhile. */
static void
after_an_outage_of_redis_its_sessions_are_brought(void **state)
{
	struct warm w;
	struct made meanwhile;

	(void)state;
	start(&w);
	breaker_open(&w.p.stores.cache, clock_monotonic_ms());
	world_create(&w.p.w, "ann", &meanwhile);
	assert_int_equal(pair_state(&meanwhile.ref), '\0');
	assert_false(manager_warm_is_due(w.p.w.mgr));
	pair_cache_back(&w.p);
	round_of(&w);
	pass(&w, 100);
	assert_int_equal(pair_state(&meanwhile.ref), 'L');
	assert_int_equal(pair_count(&w.p, STORES_WARMED), 1);
	made_clear(&meanwhile);
	stop(&w);
}

/* The first round of the next keeper knows from shared memory what was. */
static void
a_keeper_that_dies_leaves_it_to_the_next(void **state)
{
	struct sgate_manager *next;
	struct warm w;
	int i;

	(void)state;
	start(&w);
	cache_fake_flush();
	round_of(&w);
	for (i = 0; i < 3; i++)
		assert_status(&w.p.w, step(&w, 2), SGATE_OK);
	assert_in_range(count_there(&w), 1, SESSIONS - 1);
	next = pair_manager(&w.p);
	sgate_manager_free(w.p.w.mgr);
	w.p.w.mgr = next;
	memset(&w.warming, 0, sizeof(w.warming));
	round_of(&w);
	pass(&w, 2);
	assert_int_equal(count_there(&w), SESSIONS);
	stop(&w);
}

static void
a_loss_in_the_middle_begins_it_anew(void **state)
{
	struct warm w;

	(void)state;
	start(&w);
	cache_fake_flush();
	round_of(&w);
	assert_status(&w.p.w, step(&w, 20), SGATE_OK);
	cache_fake_flush();
	round_of(&w);
	pass(&w, 20);
	assert_int_equal(count_there(&w), SESSIONS);
	assert_int_equal(atomic_load(&shown(&w)->looked), SESSIONS);
	stop(&w);
}

static struct warm *changing;

/* Another host changes another session of the group before each first PUT. */
static void
change_before_put(void *arg, const char *operation, bool is_after)
{
	struct warm *w = arg;
	static int puts;
	struct fence_sync sync;
	char text[CACHE_SYNC_MAX + 1];

	if (strcmp(operation, "put") != 0 || is_after || puts++ % 2 != 0)
		return;
	pair_other_change(&w->p, &w->made[1].ref);
	assert_true(fence_sync_read(
	    cache_fake_sync(token_ref_group(&w->made[1].ref)), &sync));
	sync.number++;
	fence_sync_write(&sync, "", 0, text, sizeof(text));
	cache_fake_set_sync(token_ref_group(&w->made[1].ref), text);
}

static void
a_change_beside_it_makes_it_read_the_row_again(void **state)
{
	struct warm w;

	(void)state;
	start(&w);
	cache_fake_flush();
	round_of(&w);
	changing = &w;
	cache_fake_set_hook(change_before_put, changing);
	pass(&w, 100);
	cache_fake_set_hook(NULL, NULL);
	assert_true(pair_count(&w.p, STORES_PUT_RETRIES) > 0);
	assert_int_equal(count_there(&w), SESSIONS);
	stop(&w);
}

static void
what_fails_is_done_again(void **state)
{
	static const char *const reads[] = {"poll", "live"};
	struct warm w;
	size_t i;

	(void)state;
	start(&w);
	cache_fake_flush();
	round_of(&w);
	for (i = 0; i < 2; i++) {
		fake_script(reads[i], 1, FAKE_UNAVAILABLE);
		assert_status(&w.p.w, step(&w, 10), SGATE_UNAVAILABLE);
		pair_durable_back(&w.p);
	}
	cache_fake_script("put", 7, CACHE_FAKE_UNAVAILABLE);
	assert_status(&w.p.w, step(&w, 10), SGATE_UNAVAILABLE);
	assert_int_equal(atomic_load(&shown(&w)->looked), 0);
	pair_cache_back(&w.p);
	round_of(&w);
	pass(&w, 10);
	assert_int_equal(count_there(&w), SESSIONS);
	stop(&w);
}

/* As if each put took so long. */
static struct sgate_manager *far_from;
static enum sgate_status
put_late(struct cache *c, const struct cache_item *item, uint64_t s0,
    struct sgate_bytes only_over, enum cache_put *out_put,
    struct cache_copy *out, struct sgate_error *err)
{
	far_from->call.deadline_ms -= 1500;
	return cache_fake.put(c, item, s0, only_over, out_put, out, err);
}

/* A Redis that is far away: what was put in the time there was is kept. */
static void
what_there_is_no_time_for_is_left_for_the_next_step(void **state)
{
	const struct sgate_caller caller = {.budget_ms = 10000};
	struct cache_ops far = cache_fake;
	struct warm w;

	(void)state;
	start(&w);
	cache_fake_flush();
	round_of(&w);
	far.put = put_late;
	far_from = w.p.w.mgr;
	w.p.w.mgr->cache_ops = &far;
	assert_status(&w.p.w,
	    sgate_manager_set_caller(w.p.w.mgr, &caller, &w.p.w.err), SGATE_OK);
	assert_true(pass(&w, 10) > 3);
	assert_int_equal(count_there(&w), SESSIONS);
	assert_int_equal(atomic_load(&shown(&w)->looked), SESSIONS);
	w.p.w.mgr->cache_ops = &cache_fake;
	stop(&w);
}

static void
it_waits_for_both_stores_and_for_every_sync(void **state)
{
	struct warm w;

	(void)state;
	start(&w);
	cache_fake_flush();
	round_of(&w);
	assert_true(manager_warm_is_due(w.p.w.mgr));
	atomic_store(&w.p.stores.groups_behind, 1);
	assert_false(manager_warm_is_due(w.p.w.mgr));
	/* Another database's will never be ours. */
	atomic_store(&w.p.stores.groups_foreign, 1);
	assert_true(manager_warm_is_due(w.p.w.mgr));
	pair_durable_down(&w.p);
	assert_false(manager_warm_is_due(w.p.w.mgr));
	pair_durable_back(&w.p);
	w.p.w.mgr->conf->redis.warm_rate = 0;
	assert_false(manager_warm_is_due(w.p.w.mgr));
	stop(&w);
}

static void
one_host_does_it_at_a_time(void **state)
{
	struct warm w;

	(void)state;
	start(&w);
	assert_status(&w.p.w,
	    manager_warmer_take(w.p.w.mgr, "a", 10000, &w.p.w.err), SGATE_OK);
	assert_status(&w.p.w,
	    manager_warmer_take(w.p.w.mgr, "b", 10000, &w.p.w.err),
	    SGATE_DENIED);
	assert_status(&w.p.w,
	    manager_warmer_take(w.p.w.mgr, "a", 10000, &w.p.w.err), SGATE_OK);
	assert_status(
	    &w.p.w, manager_warmer_leave(w.p.w.mgr, &w.p.w.err), SGATE_OK);
	w.p.w.now_ms++;
	assert_status(&w.p.w,
	    manager_warmer_take(w.p.w.mgr, "b", 10000, &w.p.w.err), SGATE_OK);
	stop(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_was_flushed_is_there_again_for_an_outage_of_mysql),
    cmocka_unit_test(an_old_dump_is_noticed_and_a_sync_that_stands_is_not),
    cmocka_unit_test(data_is_brought_as_well),
    cmocka_unit_test(after_an_outage_of_redis_its_sessions_are_brought),
    cmocka_unit_test(a_keeper_that_dies_leaves_it_to_the_next),
    cmocka_unit_test(a_loss_in_the_middle_begins_it_anew),
    cmocka_unit_test(a_change_beside_it_makes_it_read_the_row_again),
    cmocka_unit_test(what_fails_is_done_again),
    cmocka_unit_test(what_there_is_no_time_for_is_left_for_the_next_step),
    cmocka_unit_test(it_waits_for_both_stores_and_for_every_sync),
    cmocka_unit_test(one_host_does_it_at_a_time),
};

TAP_MAIN(tests)
