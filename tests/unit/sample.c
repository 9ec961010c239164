/* What the keeper keeps of the last hour: counters as they stand, and of the
 * rest the worst that was seen. */
#include "config.h"

#include "sample.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "outage.h"

#include "tap.h"

#define EVERY HISTORY_EVERY_MS
#define LAST (HISTORY_SAMPLES - 1)

struct fixture {
	struct shared *shared;
	struct sgate_conf conf;
	struct gateway gw;
	struct sampler sampler;
	int64_t now_ms; /* a multiple of EVERY, and some */
	struct history_sample samples[HISTORY_SAMPLES];
};

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->shared = aligned_alloc(_Alignof(struct shared), sizeof(*f->shared));
	assert_non_null(f->shared);
	memset(f->shared, 0, sizeof(*f->shared));
	f->gw.shared = f->shared;
	f->gw.conf = &f->conf;
	f->now_ms = 1000 * EVERY + 10;
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	free(f->shared);
	free(f);
	return 0;
}

static void
look(struct fixture *f, int64_t later_ms)
{
	f->now_ms += later_ms;
	sample_look(&f->sampler, &f->gw, f->now_ms);
}

/* The newest sample's. */
static uint64_t
value(struct fixture *f, int which)
{
	history_read(&f->shared->history, f->now_ms, f->samples);
	assert_true(f->samples[LAST].is_there);
	return f->samples[LAST].values[which];
}

static void
set_store(struct shared_store *store, bool is_up, int64_t latency_us)
{
	atomic_store(&store->is_up, is_up);
	atomic_store(&store->checked_ms, clock_utc_ms());
	atomic_store(&store->latency_us, latency_us);
}

static void
the_first_look_is_a_sample_and_knows_little(void **state)
{
	struct fixture *f = *state;

	look(f, 0);
	assert_int_equal(value(f, SAMPLE_COUNTERS + TALLY_REQUESTS), 0);
	assert_true(value(f, SAMPLE_SERVING) == SAMPLE_UNKNOWN);
	assert_true(value(f, SAMPLE_DURABLE) == SAMPLE_UNKNOWN);
	assert_true(value(f, SAMPLE_CACHE) == SAMPLE_UNKNOWN);
	assert_true(value(f, SAMPLE_MAINTENANCE) == SAMPLE_UNKNOWN);
	assert_true(value(f, SAMPLE_SPOOL_EVENTS) == SAMPLE_UNKNOWN);
	assert_true(value(f, SAMPLE_DURABLE_US) == SAMPLE_UNKNOWN);
	assert_true(value(f, SAMPLE_LIVE) == SAMPLE_UNKNOWN);
	assert_int_equal(value(f, SAMPLE_WORKERS), 0);
	assert_int_equal(value(f, SAMPLE_BUSY_MEAN), 0);
}

static void
counters_are_those_at_its_moment(void **state)
{
	struct fixture *f = *state;

	look(f, 0);
	tally_add(&f->shared->others
		       .checks[TALLY_NGINX][SGATE_REASON_OK][STORES_LOCAL],
	    5);
	atomic_store(&f->shared->others.denials[SGATE_REASON_ROLE], 3);
	stores_count(f->shared->stores.counts, STORES_SERVED_CACHE);
	atomic_store(&f->shared->worker_deaths, 2);
	atomic_store(&f->shared->generation, 4);
	look(f, EVERY - 20);
	assert_int_equal(value(f, SAMPLE_COUNTERS + TALLY_CHECK_ALLOWED), 0);
	look(f, 20);
	assert_int_equal(value(f, SAMPLE_COUNTERS + TALLY_CHECK_ALLOWED), 5);
	assert_int_equal(value(f, SAMPLE_REASONS + SGATE_REASON_ROLE), 3);
	assert_int_equal(value(f, SAMPLE_STORES + STORES_SERVED_CACHE), 1);
	assert_int_equal(value(f, SAMPLE_WORKER_DEATHS), 2);
	assert_int_equal(value(f, SAMPLE_RELOADS), 4);
}

static void
a_short_outage_is_seen_once(void **state)
{
	struct fixture *f = *state;
	struct shared_store *durable = &f->shared->state.durable;

	set_store(durable, true, 700);
	look(f, 0);
	assert_int_equal(value(f, SAMPLE_DURABLE), SAMPLE_STORE_USED);
	assert_int_equal(value(f, SAMPLE_SERVING), OUTAGE_NONE);
	look(f, 100);
	breaker_open(&f->shared->stores.durable, clock_monotonic_ms());
	look(f, 100);
	set_store(durable, false, 0);
	look(f, 100);
	set_store(durable, true, 300);
	breaker_close(&f->shared->stores.durable, clock_monotonic_ms());
	look(f, 100);
	look(f, EVERY);
	assert_int_equal(value(f, SAMPLE_DURABLE), SAMPLE_STORE_DOWN);
	assert_int_equal(value(f, SAMPLE_SERVING), OUTAGE_TOTAL);
	assert_int_equal(value(f, SAMPLE_DURABLE_US), 700);
	look(f, EVERY);
	assert_int_equal(value(f, SAMPLE_DURABLE), SAMPLE_STORE_USED);
	assert_int_equal(value(f, SAMPLE_SERVING), OUTAGE_NONE);
	assert_int_equal(value(f, SAMPLE_DURABLE_US), 300);
}

static void
an_open_breaker_is_told_from_a_store_that_is_down(void **state)
{
	struct fixture *f = *state;

	set_store(&f->shared->state.durable, true, 1);
	breaker_open(&f->shared->stores.durable, clock_monotonic_ms());
	look(f, 0);
	assert_int_equal(value(f, SAMPLE_DURABLE), SAMPLE_STORE_OPEN);
}

static void
workers_are_counted_as_most_and_mean(void **state)
{
	struct fixture *f = *state;
	int i;

	for (i = 0; i < 4; i++)
		atomic_store(&f->shared->workers[i].state, SHARED_IDLE);
	atomic_store(&f->shared->workers[4].state, SHARED_STARTING);
	atomic_store(&f->shared->workers[5].state, 77);
	look(f, 0);
	for (i = 0; i < 3; i++)
		atomic_store(&f->shared->workers[i].state, SHARED_BUSY);
	look(f, 100);
	for (i = 0; i < 3; i++)
		atomic_store(&f->shared->workers[i].state, SHARED_IDLE);
	look(f, 100);
	look(f, 100);
	look(f, EVERY);
	assert_int_equal(value(f, SAMPLE_WORKERS), 4);
	assert_int_equal(value(f, SAMPLE_BUSY_MOST), 3);
	assert_int_equal(value(f, SAMPLE_BUSY_MEAN), 750);
}

/* It looks no further back than it lives. */
static void
another_keeper_goes_on(void **state)
{
	struct fixture *f = *state;

	look(f, 0);
	look(f, EVERY);
	memset(&f->sampler, 0, sizeof(f->sampler));
	tally_add(&f->shared->others.counters[TALLY_CREATED], 1);
	look(f, 2 * EVERY);
	assert_int_equal(value(f, SAMPLE_COUNTERS + TALLY_CREATED), 1);
	assert_false(f->samples[LAST - 1].is_there);
	assert_true(f->samples[LAST - 2].is_there);
	assert_true(f->samples[LAST - 3].is_there);
}

static void
whatever_stands_in_shared_memory_it_ends(void **state)
{
	struct fixture *f = *state;

	memset(f->shared, 0xff, sizeof(*f->shared));
	look(f, 0);
	look(f, EVERY);
	memset(f->shared, 0x7f, sizeof(*f->shared));
	look(f, EVERY);
	assert_int_equal(value(f, SAMPLE_WORKERS), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest sample_tests[] = {
    TEST(the_first_look_is_a_sample_and_knows_little),
    TEST(counters_are_those_at_its_moment),
    TEST(a_short_outage_is_seen_once),
    TEST(an_open_breaker_is_told_from_a_store_that_is_down),
    TEST(workers_are_counted_as_most_and_mean),
    TEST(another_keeper_goes_on),
    TEST(whatever_stands_in_shared_memory_it_ends),
};

TAP_MAIN(sample_tests)
