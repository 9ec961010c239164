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

/* Sums over workers, mounts and stores. */
static void
checks_are_kept_by_outcome_and_by_time(void **state)
{
	struct fixture *f = *state;
	struct tally *one = &f->shared->tallies[3], *two = &f->shared->others;
	int i;

	atomic_store(&one->is_used, 1);
	look(f, 0);
	tally_add(
	    &one->checks[TALLY_NGINX][SGATE_REASON_ROLE][STORES_LOCAL], 2);
	tally_add(
	    &two->checks[TALLY_APACHE][SGATE_REASON_ROLE][STORES_DURABLE], 3);
	tally_add(&one->checks[TALLY_NGINX][TALLY_ANONYMOUS][STORES_NOBODY], 1);
	for (i = 0; i < 98; i++)
		tally_add_time(&one->check_times[STORES_LOCAL], 40);
	tally_add_time(&two->check_times[STORES_DURABLE], 40);
	tally_add_time(&two->check_times[STORES_CACHE], 90000);
	tally_add_time(&two->operation_times[TALLY_CREATE], 1500);
	tally_add_time(&one->operation_times[TALLY_END], 1500);
	look(f, EVERY);
	assert_int_equal(value(f, SAMPLE_OUTCOMES + SGATE_REASON_ROLE), 5);
	assert_int_equal(value(f, SAMPLE_OUTCOMES + (int)TALLY_ANONYMOUS), 1);
	assert_int_equal(value(f, SAMPLE_CHECK_TIMES + 1), 99);
	assert_in_range(sample_quantile_us(
			    f->samples, LAST - 1, LAST, SAMPLE_CHECK_TIMES, .5),
	    20, 50);
	assert_in_range(
	    sample_quantile_us(f->samples, 0, LAST, SAMPLE_CHECK_TIMES, .995),
	    50000, 100000);
	assert_in_range(
	    sample_quantile_us(f->samples, 0, LAST, SAMPLE_CHANGE_TIMES, .5),
	    1000, 2000);
	assert_true(sample_quantile_us(
			f->samples, 0, LAST - 1, SAMPLE_CHECK_TIMES, .5) < 0);
}

static void
growth_is_known_between_two_samples_alone(void **state)
{
	struct fixture *f = *state;
	int64_t rates[HISTORY_INTERVALS], states[HISTORY_INTERVALS];
	uint64_t values[HISTORY_VALUES] = {0};
	const int counter = SAMPLE_COUNTERS + TALLY_REQUESTS;
	int i;

	/* None; 100 in ten seconds; a gap; a counter that has fallen; more
	 * than there can be. */
	for (i = 0; i < 7; i++) {
		static const uint64_t counts[] = {
		    0, 0, 100, 0, 300, 200, UINT64_MAX};

		values[counter] = counts[i];
		values[SAMPLE_LIVE] = i == 2 ? SAMPLE_UNKNOWN : counts[i];
		if (i != 3)
			history_put(
			    &f->shared->history, f->now_ms + i * EVERY, values);
	}
	history_read(&f->shared->history, f->now_ms + 6 * EVERY, f->samples);
	sample_rates(f->samples, counter, rates);
	sample_states(f->samples, SAMPLE_LIVE, 1000, states);
	assert_int_equal(rates[LAST - 7], -1);
	assert_int_equal(rates[LAST - 6], 0);
	assert_int_equal(rates[LAST - 5], 10000);
	assert_int_equal(rates[LAST - 4], -1);
	assert_int_equal(rates[LAST - 3], -1);
	assert_int_equal(rates[LAST - 2], -1);
	assert_int_equal(rates[LAST - 1], -1);
	assert_int_equal(states[LAST - 6], 0);
	assert_int_equal(states[LAST - 5], -1);
	assert_int_equal(states[LAST - 4], -1);
	assert_int_equal(states[LAST - 3], 300000);
	assert_int_equal(states[LAST - 1], -1);
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

/* What one has seen is not forgotten because another one begins. */
static void
another_keeper_leaves_the_sample_that_is_there(void **state)
{
	struct fixture *f = *state;

	set_store(&f->shared->state.durable, true, 1);
	look(f, 0);
	breaker_open(&f->shared->stores.durable, clock_monotonic_ms());
	look(f, 100);
	breaker_close(&f->shared->stores.durable, clock_monotonic_ms());
	look(f, EVERY);
	assert_int_equal(value(f, SAMPLE_DURABLE), SAMPLE_STORE_OPEN);
	memset(&f->sampler, 0, sizeof(f->sampler));
	look(f, 1000);
	assert_int_equal(value(f, SAMPLE_DURABLE), SAMPLE_STORE_OPEN);
	look(f, EVERY);
	assert_int_equal(value(f, SAMPLE_DURABLE), SAMPLE_STORE_USED);
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
    TEST(checks_are_kept_by_outcome_and_by_time),
    TEST(growth_is_known_between_two_samples_alone),
    TEST(another_keeper_goes_on),
    TEST(another_keeper_leaves_the_sample_that_is_there),
    TEST(whatever_stands_in_shared_memory_it_ends),
};

TAP_MAIN(sample_tests)
