/*
 * What the manager knows of its stores: breakers, health, the database's clock,
 * rounds of its own, processes; and `db restored`.
 */
#include "tap.h"

#include "pair.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "status.h"

static void
wait_ms(long ms)
{
	struct timespec left = {
	    .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	while (nanosleep(&left, &left) != 0)
		continue;
}

/* ---- making one ---- */

static void
a_store_that_is_never_copied_has_no_cache(void **state)
{
	struct sgate_manager *mgr = NULL;
	struct pair p;

	(void)state;
	pair_start(&p);
	assert_status(&p.w,
	    manager_new_with(
		p.w.conf, NULL, &durable_sqlite, &cache_fake, &mgr, &p.w.err),
	    SGATE_INVALID);
	assert_null(mgr);
	assert_non_null(strstr(p.w.err.text, "sqlite"));
	pair_stop(&p);
}

/* A child has handles of its own, and lets go of its parent's. */
static void
a_child_opens_its_own_stores(void **state)
{
	struct sgate_session *s = NULL;
	struct made made;
	struct pair p;
	int status = 0;
	bool is_served;
	pid_t pid;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		is_served = sgate_session_get(p.w.mgr, B(made.token), 0, &s,
				&p.w.err) == SGATE_OK &&
			    strcmp(manager_served_by(p.w.mgr), COPY) == 0;
		sgate_session_free(s);
		sgate_manager_free(p.w.mgr);
		_exit(is_served ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_stop(&p);
}

static enum sgate_status
open_nothing(
    const struct sgate_conf *conf, struct cache **out, struct sgate_error *err)
{
	(void)conf;
	*out = NULL;
	return error_set(err, SGATE_UNAVAILABLE, COPY, "open", 0,
	    "its password file cannot be read");
}

static void
a_cache_that_cannot_be_opened_is_one_that_does_not_answer(void **state)
{
	struct cache_ops broken = cache_fake;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	broken.open = open_nothing;
	p.w.mgr->cache_ops = &broken;
	world_create(&p.w, "ann", &made);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(pair_count(&p, STORES_CACHE_ERRORS), 2);
	/* It is tried again: a file is mended without a restart. */
	broken.open = cache_fake.open;
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_stop(&p);
}

/* ---- the clock ---- */

static void
the_databases_clock_is_what_counts(void **state)
{
	const int64_t hour_ms = HOUR;
	struct sgate_manager *mgr = NULL;
	struct pair p;

	(void)state;
	pair_start(&p);
	assert_status(&p.w,
	    manager_new_with(
		p.w.conf, NULL, &durable_fake, &cache_fake, &mgr, &p.w.err),
	    SGATE_OK);
	manager_set_stores(mgr, &p.stores);
	/* Not known yet, in both ways of saying so. */
	atomic_store(&p.stores.fence.clock_offset_ms, 0);
	assert_true(llabs(manager_now_ms(mgr) - clock_utc_ms()) < 1000);
	atomic_store(&p.stores.fence.clock_offset_ms, INT64_MIN);
	assert_true(llabs(manager_now_ms(mgr) - clock_utc_ms()) < 1000);
	atomic_store(&p.stores.fence.clock_offset_ms,
	    clock_utc_ms() + hour_ms - clock_boot_ms());
	assert_true(
	    llabs(manager_now_ms(mgr) - clock_utc_ms() - hour_ms) < 1000);
	/* The test's clock goes before it. */
	assert_int_equal(manager_now_ms(p.w.mgr), p.w.now_ms);
	sgate_manager_free(mgr);
	pair_stop(&p);
}

/* A clock that nobody has confirmed logs nobody out. */
static void
a_clock_that_may_be_wrong_expires_no_copy(void **state)
{
	struct sgate_manager *mgr = NULL;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	p.w.now_ms = clock_utc_ms() - 10 * HOUR;
	world_create(&p.w, "ann", &made);
	assert_status(&p.w,
	    manager_new_with(
		p.w.conf, NULL, &durable_fake, &cache_fake, &mgr, &p.w.err),
	    SGATE_OK);
	manager_set_stores(mgr, &p.stores);
	pair_durable_down(&p);
	pair_expect(&p, mgr, made.token, SGATE_REASON_STORE, "");
	atomic_store(
	    &p.stores.fence.clock_offset_ms, clock_utc_ms() - clock_boot_ms());
	pair_expect(&p, mgr, made.token, SGATE_REASON_EXPIRED_ABSOLUTE, COPY);
	atomic_store(&p.stores.fence.clock_offset_ms,
	    clock_utc_ms() - clock_boot_ms() - 10 * HOUR);
	pair_expect(&p, mgr, made.token, SGATE_REASON_OK, COPY);
	sgate_manager_free(mgr);
	made_clear(&made);
	pair_stop(&p);
}

/*
 * A host whose clock is ten hours ahead has just started, and its keeper has
 * not polled yet: rows are not judged and not dated by that clock.
 */
static void
a_host_that_has_just_started_asks_what_time_it_is(void **state)
{
	struct sgate_create create = {.user_id = B("ann")};
	struct sgate_session *s = NULL;
	struct sgate_manager *mgr = NULL;
	struct stores started[2];
	struct pair p;
	char *token = NULL;
	unsigned polls;

	(void)state;
	pair_start(&p);
	memset(started, 0, sizeof(started));
	polls = fake_calls("poll");
	fake_server()->now_ms = clock_utc_ms() - 10 * HOUR;
	assert_status(&p.w,
	    manager_new_with(
		p.w.conf, NULL, &durable_fake, &cache_fake, &mgr, &p.w.err),
	    SGATE_OK);
	manager_set_stores(mgr, &started[0]);
	assert_status(&p.w,
	    sgate_session_create(mgr, &create, &s, &token, &p.w.err), SGATE_OK);
	assert_true(llabs(s->created_ms - fake_server()->now_ms) < 10000);
	assert_int_equal(fake_calls("poll"), polls + 1);
	manager_set_stores(mgr, &started[1]);
	pair_expect(&p, mgr, token, SGATE_REASON_OK, ROW);
	pair_expect(&p, mgr, token, SGATE_REASON_OK, ROW);
	assert_int_equal(fake_calls("poll"), polls + 2);
	sgate_session_free(s);
	sgate_token_free(token);
	sgate_manager_free(mgr);
	pair_stop(&p);
}

/* Already the first session of a library program. */
static void
a_first_create_is_dated_by_the_databases_clock(void **state)
{
	struct sgate_create create = {.user_id = B("ann")};
	struct sgate_session *s = NULL;
	struct sgate_manager *mgr = NULL;
	struct pair p;
	char *token = NULL;

	(void)state;
	pair_start(&p);
	fake_server()->now_ms = INT64_C(1900000000000);
	assert_status(&p.w,
	    manager_new_with(
		p.w.conf, NULL, &durable_fake, &cache_fake, &mgr, &p.w.err),
	    SGATE_OK);
	assert_status(&p.w,
	    sgate_session_create(mgr, &create, &s, &token, &p.w.err), SGATE_OK);
	assert_true(llabs(s->created_ms - INT64_C(1900000000000)) < 10000);
	sgate_session_free(s);
	sgate_token_free(token);
	sgate_manager_free(mgr);
	pair_stop(&p);
}

/* ---- rounds of its own ---- */

static void
a_manager_without_a_keeper_polls_by_itself(void **state)
{
	struct made made;
	struct pair p;
	unsigned polls;
	int i;

	(void)state;
	pair_start(&p);
	p.w.mgr->conf->fence.poll_interval_ms = 400;
	cache_fake_flush();
	manager_set_stores(p.w.mgr, NULL);
	polls = fake_calls("poll");
	world_create(&p.w, "ann", &made);
	assert_int_equal(fake_calls("poll"), polls + 1);
	for (i = 0; i < 5; i++)
		pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	assert_int_equal(fake_calls("poll"), polls + 1);
	assert_int_equal(manager_stores(p.w.mgr)->counts[STORES_POLLS], 1);
	wait_ms(450);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	assert_int_equal(fake_calls("poll"), polls + 2);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_manager_without_a_keeper_finds_out_when_mysql_is_back(void **state)
{
	struct breaker *breaker;
	struct made made;
	struct pair p;
	uint64_t count;
	unsigned polls;
	int i;

	(void)state;
	pair_start(&p);
	p.w.mgr->conf->fence.poll_interval_ms = 20;
	manager_set_stores(p.w.mgr, NULL);
	breaker = &p.w.mgr->own_stores.durable;
	world_create(&p.w, "ann", &made);
	wait_ms(30);
	/* However slow this test is: not before its first probe is due. */
	breaker_open(breaker, clock_monotonic_ms() + MINUTE);
	polls = fake_calls("poll");
	for (i = 0; i < 5; i++) {
		assert_status(&p.w,
		    sgate_user_cleanup(p.w.mgr, B("ann"), NULL,
			SGATE_REASON_REVOKED, &count, &p.w.err),
		    SGATE_UNAVAILABLE);
		wait_ms(30);
	}
	assert_int_equal(breaker_state(breaker), BREAKER_OPEN);
	assert_int_equal(fake_calls("poll"), polls);
	/* Later one call's round finds it up, and the call goes on. */
	world_probe_is_late(breaker);
	assert_status(&p.w,
	    sgate_user_cleanup(p.w.mgr, B("ann"), NULL, SGATE_REASON_REVOKED,
		&count, &p.w.err),
	    SGATE_OK);
	assert_int_equal(count, 1);
	assert_int_equal(fake_calls("poll"), polls + 1);
	assert_int_equal(breaker_state(breaker), BREAKER_HALF);
	/* It has nobody to leave the asking to. */
	for (i = 0; i < 9; i++)
		assert_status(&p.w,
		    sgate_user_cleanup(p.w.mgr, B("ann"), NULL,
			SGATE_REASON_REVOKED, &count, &p.w.err),
		    SGATE_OK);
	made_clear(&made);
	pair_stop(&p);
}

/* It was let through at its first question, so it is not stopped half-way. */
static void
a_call_that_was_let_through_is_not_stopped_halfway(void **state)
{
	struct breaker *breaker;
	struct made made;
	struct pair p;
	uint64_t count;

	(void)state;
	pair_start(&p);
	manager_set_stores(p.w.mgr, NULL);
	breaker = &p.w.mgr->own_stores.durable;
	world_create(&p.w, "ann", &made);
	/* No round of its own comes before it. */
	p.w.mgr->round_after_ms = INT64_MAX;
	world_probe_is_late(breaker);
	assert_status(&p.w,
	    sgate_user_cleanup(p.w.mgr, B("ann"), NULL, SGATE_REASON_REVOKED,
		&count, &p.w.err),
	    SGATE_OK);
	assert_int_equal(count, 1);
	made_clear(&made);
	pair_stop(&p);
}

static void
own_statements_are_not_begun_while_mysql_does_not_answer(void **state)
{
	struct sgate_db *db = NULL;
	struct pair p;
	unsigned begins;

	(void)state;
	pair_start(&p);
	begins = fake_calls("begin");
	pair_durable_down(&p);
	assert_status(
	    &p.w, sgate_db_open(p.w.mgr, 0, &db, &p.w.err), SGATE_UNAVAILABLE);
	assert_null(db);
	assert_string_equal(manager_served_by(p.w.mgr), "");
	pair_durable_back(&p);
	assert_status(&p.w, sgate_db_open(p.w.mgr, 0, &db, &p.w.err), SGATE_OK);
	assert_int_equal(fake_calls("begin"), begins + 1);
	sgate_db_close(db);
	pair_stop(&p);
}

/* ---- a durable store that has just come back ---- */

/* The moments are such that a test which is slow finds the same. */
static void
just_back(struct pair *p)
{
	int64_t now_ms = clock_monotonic_ms();

	breaker_open(&p->stores.durable, now_ms);
	breaker_close(&p->stores.durable, now_ms + 15 * MINUTE);
}

static void
a_row_alone_is_not_enough_until_the_spools_are_shipped(void **state)
{
	int64_t now_ms = clock_monotonic_ms();
	struct made made, ended;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	world_create(&p.w, "bob", &ended);
	assert_status(&p.w,
	    sgate_session_end(
		p.w.mgr, &ended.ref, SGATE_REASON_LOGGED_OUT, &p.w.err),
	    SGATE_OK);
	just_back(&p);
	breaker_open(&p.stores.cache, now_ms + 15 * MINUTE);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	assert_non_null(strstr(p.w.err.text, "has just come back"));
	/* A row that says no is enough. */
	pair_expect(&p, p.w.mgr, ended.token, SGATE_REASON_LOGGED_OUT, ROW);
	breaker_close(&p.stores.durable, now_ms - MINUTE);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	made_clear(&made);
	made_clear(&ended);
	pair_stop(&p);
}

/* One of eight are let to a cache that is half open; now all need it. */
static void
beside_a_row_that_is_not_enough_a_half_open_cache_is_asked(void **state)
{
	int64_t now_ms = clock_monotonic_ms() + 15 * MINUTE;
	struct breaker *cache;
	struct made made;
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	cache = &p.stores.cache;
	world_create(&p.w, "ann", &made);
	breaker_open(cache, now_ms);
	for (i = 0; i < BREAKER_PROBES; i++)
		breaker_succeeded(
		    cache, breaker_generation(cache), BREAKER_FAST, now_ms);
	assert_int_equal(breaker_state(cache), BREAKER_HALF);
	just_back(&p);
	for (i = 0; i < 2 * BREAKER_HALF_ONE_OF; i++)
		pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_stop(&p);
}

/* ---- connections of before an outage ---- */

static unsigned opened;

static enum sgate_status
open_counted(
    const struct sgate_conf *conf, struct cache **out, struct sgate_error *err)
{
	opened++;
	return cache_fake.open(conf, out, err);
}

/* One after the other: a worker whose turn is not yet asks MySQL. */
static void
after_an_outage_each_worker_connects_anew_in_its_turn(void **state)
{
	struct cache_ops counted = cache_fake;
	int64_t now_ms = clock_monotonic_ms();
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	counted.open = open_counted;
	p.w.mgr->cache_ops = &counted;
	opened = 0;
	world_create(&p.w, "ann", &made);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	assert_int_equal(opened, 1);
	/* As at the moment of closing, however slow this test is. */
	breaker_open(&p.stores.cache, now_ms);
	breaker_close(&p.stores.cache, now_ms + 15 * MINUTE);
	manager_set_turn(p.w.mgr, 3);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(opened, 1);
	breaker_close(&p.stores.cache, now_ms - MINUTE);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	assert_int_equal(opened, 2);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	assert_int_equal(opened, 2);
	made_clear(&made);
	pair_stop(&p);
}

static void
turns_are_within_a_quarter_of_a_second(void **state)
{
	struct pair p;
	unsigned i;

	(void)state;
	pair_start(&p);
	for (i = 0; i < 1000; i++) {
		manager_set_turn(p.w.mgr, i);
		assert_in_range(p.w.mgr->turn_ms, 0, MANAGER_TURNS_MS);
		if (i < 50)
			assert_int_equal(p.w.mgr->turn_ms, i * MANAGER_TURN_MS);
	}
	pair_stop(&p);
}

/* ---- slow ---- */

static void
slow_is_half_of_the_limit_where_another_can_be_asked(void **state)
{
	struct breaker other = {0};
	struct pair p;

	(void)state;
	pair_start(&p);
	p.w.mgr->kept_waiting_us = INT64_MAX / 4;
	assert_int_equal(manager_pace(p.w.mgr, 25, 50, &other), BREAKER_FAST);
	assert_int_equal(manager_pace(p.w.mgr, 26, 50, &other), BREAKER_SLOW);
	assert_int_equal(manager_pace(p.w.mgr, 26, 50, NULL), BREAKER_FAST);
	breaker_open(&other, 1);
	assert_int_equal(manager_pace(p.w.mgr, 26, 50, &other), BREAKER_FAST);
	breaker_close(&other, 2);
	/* It had to wait for the processor, not for the store. */
	p.w.mgr->kept_waiting_us = clock_kept_waiting_us() - 13000;
	assert_int_equal(
	    manager_pace(p.w.mgr, 26, 50, &other), BREAKER_UNTIMED);
	p.w.mgr->call.is_let = true;
	assert_int_equal(
	    manager_pace(p.w.mgr, 26, 50, &other), BREAKER_UNTIMED);
	pair_stop(&p);
}

/* ---- health ---- */

static void
health_tells_of_both_stores_and_changes_no_breaker(void **state)
{
	struct sgate_health health;
	struct pair p;

	(void)state;
	pair_start(&p);
	assert_status(&p.w, sgate_health(p.w.mgr, &health, &p.w.err), SGATE_OK);
	assert_string_equal(health.durable_name, ROW);
	assert_string_equal(health.cache_name, COPY);
	assert_true(health.durable_up && health.cache_up);
	assert_true(health.cache_latency_us >= 0);
	pair_cache_down();
	fake_script("ping", 1, FAKE_UNAVAILABLE);
	assert_status(&p.w, sgate_health(p.w.mgr, &health, &p.w.err), SGATE_OK);
	assert_false(health.durable_up || health.cache_up);
	assert_true(health.durable_text[0] != '\0');
	assert_true(health.cache_text[0] != '\0');
	/* It asks whatever is known, and is no probe. */
	breaker_open(&p.stores.durable, clock_monotonic_ms());
	breaker_open(&p.stores.cache, clock_monotonic_ms());
	cache_fake_set_down(false, CACHE_FAKE_UNAVAILABLE);
	assert_status(&p.w, sgate_health(p.w.mgr, &health, &p.w.err), SGATE_OK);
	assert_true(health.durable_up && health.cache_up);
	assert_string_equal(health.cache_text, "");
	assert_int_equal(breaker_state(&p.stores.durable), BREAKER_OPEN);
	assert_int_equal(breaker_state(&p.stores.cache), BREAKER_OPEN);
	pair_stop(&p);
}

static void
health_without_a_cache_names_none(void **state)
{
	struct sgate_health health;
	struct world w;

	(void)state;
	world_open(&w);
	fake_reset(true);
	w.mgr = world_manager(&w, &durable_fake);
	assert_status(&w, sgate_health(w.mgr, &health, &w.err), SGATE_OK);
	assert_true(health.durable_up);
	assert_string_equal(health.cache_name, "");
	assert_false(health.cache_up);
	world_close(&w);
}

/* ---- db restored ---- */

static unsigned restores;

/* As MySQL's: another epoch, and numbers that were never given. */
static enum sgate_status
fake_restored(struct durable *d, unsigned *out_epoch, struct sgate_error *err)
{
	enum sgate_status status = durable_fake.begin(d, err);
	unsigned group;
	uint64_t seq;
	int i;

	restores++;
	*out_epoch = 0;
	for (group = 0; group < TOKEN_GROUPS; group++)
		for (i = 0; i < 10 && status == SGATE_OK; i++)
			status = durable_fake.counter_next(d, group, &seq, err);
	if (status == SGATE_OK)
		status = durable_fake.commit(d, err);
	if (status == SGATE_OK)
		*out_epoch = ++fake_server()->store.epoch;
	return status;
}

static struct durable_ops restorable;

static void
restorable_start(struct pair *p)
{
	pair_start(p);
	restores = 0;
	restorable = durable_fake;
	restorable.restored = fake_restored;
	p->w.mgr->ops = &restorable;
}

/* The dump has them alive again. */
static void
load_rows(struct pair *p, struct sgate_session *const *rows, size_t count)
{
	struct sgate_error err;
	size_t i;

	p->keeper->deadline_ms = clock_monotonic_ms() + 10000;
	assert_int_equal(durable_fake.begin(p->keeper, &err), SGATE_OK);
	for (i = 0; i < count; i++)
		assert_int_equal(
		    durable_fake.session_store(p->keeper, rows[i], &err),
		    SGATE_OK);
	assert_int_equal(durable_fake.commit(p->keeper, &err), SGATE_OK);
}

static enum sgate_status
restore(struct pair *p, unsigned *out_epoch)
{
	bool is_needed = false;
	enum sgate_status status =
	    manager_restored(p->w.mgr, &is_needed, out_epoch, &p->w.err);

	assert_true(is_needed);
	assert_int_equal(*out_epoch != 0, status == SGATE_OK);
	return status;
}

static void
assert_syncs(struct pair *p, unsigned epoch)
{
	struct fence_sync sync;
	struct durable_poll poll;
	struct sgate_error err;
	unsigned group;

	p->keeper->deadline_ms = clock_monotonic_ms() + 10000;
	assert_int_equal(durable_fake.poll(p->keeper, &poll, &err), SGATE_OK);
	for (group = 0; group < TOKEN_GROUPS; group++) {
		assert_true(fence_sync_read(cache_fake_sync(group), &sync));
		assert_int_equal(sync.number, poll.counters[group]);
		assert_int_equal(sync.store.epoch, epoch);
	}
}

static void
a_restore_ends_what_had_ended_and_sets_every_sync(void **state)
{
	struct sgate_session *before, *row;
	struct made live, ended, lost;
	struct pair p;
	unsigned epoch;

	(void)state;
	restorable_start(&p);
	world_create(&p.w, "ann", &live);
	world_create(&p.w, "bob", &ended);
	world_create(&p.w, "cid", &lost);
	before = world_row(&p.w, &ended.ref);
	assert_status(&p.w,
	    sgate_session_end(
		p.w.mgr, &ended.ref, SGATE_REASON_LOGGED_OUT, &p.w.err),
	    SGATE_OK);
	load_rows(&p, &before, 1);
	/* The tombstone of this one is lost: as the dump has it. */
	cache_fake_set_record(&lost.ref, B(""), 0);
	assert_int_equal(world_audit(&p.w, "end", NULL), 1);
	assert_status(&p.w, restore(&p, &epoch), SGATE_OK);
	assert_int_equal(epoch, 2);
	assert_int_equal(restores, 1);
	assert_syncs(&p, 2);
	row = world_row(&p.w, &ended.ref);
	assert_int_equal(row->state, SESSION_ENDED);
	assert_int_equal(row->end_reason, SGATE_REASON_LOGGED_OUT);
	sgate_session_free(row);
	assert_int_equal(world_audit(&p.w, "end", &ended.ref), 2);
	/* A gateway that starts now. */
	pair_poll(&p, &p.stores);
	pair_expect(&p, p.w.mgr, ended.token, SGATE_REASON_LOGGED_OUT, COPY);
	pair_expect(&p, p.w.mgr, live.token, SGATE_REASON_OK, ROW);
	pair_expect(&p, p.w.mgr, live.token, SGATE_REASON_OK, COPY);
	pair_expect(&p, p.w.mgr, lost.token, SGATE_REASON_OK, ROW);
	sgate_session_free(before);
	made_clear(&live);
	made_clear(&ended);
	made_clear(&lost);
	pair_stop(&p);
}

static void
a_restore_goes_through_all_rows(void **state)
{
	enum { MANY = 250 };
	static struct sgate_session *rows[MANY];
	struct made made;
	struct pair p;
	unsigned epoch;
	size_t i;

	(void)state;
	restorable_start(&p);
	for (i = 0; i < MANY; i++) {
		world_create(&p.w, "", &made);
		rows[i] = world_row(&p.w, &made.ref);
		if (i % 3 == 0)
			assert_status(&p.w,
			    sgate_session_end(p.w.mgr, &made.ref,
				SGATE_REASON_REVOKED, &p.w.err),
			    SGATE_OK);
		made_clear(&made);
	}
	load_rows(&p, rows, MANY);
	assert_status(&p.w, restore(&p, &epoch), SGATE_OK);
	for (i = 0; i < MANY; i++) {
		assert_int_equal(world_look_at(&p.w, &rows[i]->ref),
		    i % 3 == 0 ? SGATE_REASON_REVOKED : SGATE_REASON_OK);
		sgate_session_free(rows[i]);
	}
	assert_syncs(&p, 2);
	pair_stop(&p);
}

static void
a_restore_fails_while_redis_cannot_be_written_and_is_repeated(void **state)
{
	struct made made;
	struct pair p;
	unsigned epoch, i;

	(void)state;
	restorable_start(&p);
	world_create(&p.w, "ann", &made);
	/* Away: nothing is done yet. */
	pair_cache_down();
	assert_status(&p.w, restore(&p, &epoch), SGATE_UNAVAILABLE);
	assert_int_equal(restores, 0);
	/* Half-way: it says what to do. */
	pair_cache_back(&p);
	cache_fake_set_read_only(true);
	assert_status(&p.w, restore(&p, &epoch), SGATE_UNAVAILABLE);
	assert_int_equal(restores, 1);
	assert_non_null(strstr(p.w.err.text, "do this again"));
	cache_fake_set_read_only(false);
	cache_fake_script("get", 1, CACHE_FAKE_LATE);
	assert_status(&p.w, restore(&p, &epoch), SGATE_UNAVAILABLE);
	for (i = 1; i < TOKEN_GROUPS; i += 7) {
		pair_cache_back(&p);
		cache_fake_script("sync_set", i, CACHE_FAKE_UNAVAILABLE);
		assert_status(&p.w, restore(&p, &epoch), SGATE_UNAVAILABLE);
	}
	pair_cache_back(&p);
	assert_status(&p.w, restore(&p, &epoch), SGATE_OK);
	assert_int_equal(epoch, fake_server()->store.epoch);
	assert_syncs(&p, epoch);
	pair_round(&p, &p.stores);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_restore_without_a_cache_is_the_databases_alone(void **state)
{
	struct pair p;
	unsigned epoch;

	(void)state;
	restorable_start(&p);
	p.w.mgr->cache_ops = NULL;
	assert_status(&p.w, restore(&p, &epoch), SGATE_OK);
	assert_int_equal(epoch, 2);
	assert_int_equal(fake_calls("live"), 0);
	pair_stop(&p);
}

static const struct CMUnitTest manager_known[] = {
    cmocka_unit_test(a_store_that_is_never_copied_has_no_cache),
    cmocka_unit_test(a_child_opens_its_own_stores),
    cmocka_unit_test(a_cache_that_cannot_be_opened_is_one_that_does_not_answer),
    cmocka_unit_test(the_databases_clock_is_what_counts),
    cmocka_unit_test(a_clock_that_may_be_wrong_expires_no_copy),
    cmocka_unit_test(a_host_that_has_just_started_asks_what_time_it_is),
    cmocka_unit_test(a_first_create_is_dated_by_the_databases_clock),
    cmocka_unit_test(a_manager_without_a_keeper_polls_by_itself),
    cmocka_unit_test(a_manager_without_a_keeper_finds_out_when_mysql_is_back),
    cmocka_unit_test(a_call_that_was_let_through_is_not_stopped_halfway),
    cmocka_unit_test(own_statements_are_not_begun_while_mysql_does_not_answer),
    cmocka_unit_test(a_row_alone_is_not_enough_until_the_spools_are_shipped),
    cmocka_unit_test(
	beside_a_row_that_is_not_enough_a_half_open_cache_is_asked),
    cmocka_unit_test(after_an_outage_each_worker_connects_anew_in_its_turn),
    cmocka_unit_test(turns_are_within_a_quarter_of_a_second),
    cmocka_unit_test(slow_is_half_of_the_limit_where_another_can_be_asked),
    cmocka_unit_test(health_tells_of_both_stores_and_changes_no_breaker),
    cmocka_unit_test(health_without_a_cache_names_none),
    cmocka_unit_test(a_restore_ends_what_had_ended_and_sets_every_sync),
    cmocka_unit_test(a_restore_goes_through_all_rows),
    cmocka_unit_test(
	a_restore_fails_while_redis_cannot_be_written_and_is_repeated),
    cmocka_unit_test(a_restore_without_a_cache_is_the_databases_alone),
};

TAP_MAIN(manager_known)
