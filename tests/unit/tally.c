/* What processes count: names, buckets, sums over processes that come and go.
 */
#include "config.h"

#include "tap.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared.h"

static void
assert_names_differ(const char *(*name)(unsigned), unsigned count)
{
	unsigned i, k;

	for (i = 0; i < count; i++) {
		assert_non_null(name(i));
		assert_string_not_equal(name(i), "unknown");
		for (k = 0; k < i; k++)
			assert_string_not_equal(name(i), name(k));
	}
	assert_string_equal(name(count), "unknown");
}

#define NAMER(kind)                                                            \
	static const char *kind##_name(unsigned i)                             \
	{                                                                      \
		return tally_##kind##_name((enum tally_##kind)i);              \
	}
NAMER(counter)
NAMER(mount)
NAMER(verdict)
NAMER(operation)
NAMER(result)

static void
everything_that_is_counted_has_a_name_of_its_own(void **state)
{
	unsigned i;

	(void)state;
	assert_names_differ(counter_name, TALLY_COUNTERS);
	assert_names_differ(mount_name, TALLY_MOUNTS);
	assert_names_differ(verdict_name, TALLY_VERDICTS);
	assert_names_differ(operation_name, TALLY_OPERATIONS);
	assert_names_differ(result_name, TALLY_RESULTS);
	assert_string_equal(tally_outcome_name(SGATE_REASON_OK), "ok");
	assert_string_equal(tally_outcome_name(TALLY_ANONYMOUS), "anonymous");
	for (i = 0; i < TALLY_OUTCOMES; i++)
		assert_in_range(
		    tally_outcome_verdict(i), 0, TALLY_VERDICTS - 1);
}

static void
a_time_goes_into_the_first_bucket_that_is_not_below_it(void **state)
{
	unsigned i;

	(void)state;
	assert_int_equal(tally_bucket(0), 0);
	for (i = 0; i < TALLY_BUCKETS - 1; i++) {
		assert_int_equal(tally_bucket(tally_bounds_us[i]), i);
		assert_int_equal(tally_bucket(tally_bounds_us[i] + 1), i + 1);
		assert_true(tally_bounds_us[i] < tally_bounds_us[i + 1]);
	}
	for (i = 0; i < 1000000; i++)
		assert_true(i <= tally_bounds_us[tally_bucket(i)] &&
			    (tally_bucket(i) == 0 ||
				i > tally_bounds_us[tally_bucket(i) - 1]));
	assert_int_equal(tally_bounds_us[0], 20);
	assert_int_equal(tally_bounds_us[TALLY_BUCKETS - 2], 10000000);
	assert_int_equal(tally_bucket(UINT64_MAX), TALLY_BUCKETS - 1);
}

static void
quantiles_lie_in_their_buckets(void **state)
{
	struct tally_times times = {{0}, 0};
	unsigned i;

	(void)state;
	assert_int_equal(tally_times_count(&times), 0);
	assert_true(tally_times_quantile_us(&times, 0.5) < 0);
	for (i = 0; i < 90; i++)
		tally_add_time(&times, 30);
	for (i = 0; i < 10; i++)
		tally_add_time(&times, 1500);
	assert_int_equal(tally_times_count(&times), 100);
	assert_int_equal(atomic_load(&times.sum_us), 90 * 30 + 10 * 1500);
	assert_in_range(tally_times_quantile_us(&times, 0.5), 20, 50);
	assert_int_equal(tally_times_quantile_us(&times, 0.9), 50);
	assert_in_range(tally_times_quantile_us(&times, 0.95), 1001, 2000);
	assert_int_equal(tally_times_quantile_us(&times, 1), 2000);
	tally_add_time(&times, INT64_MAX / 2);
	assert_int_equal(tally_times_quantile_us(&times, 1), 10000000);
	assert_int_equal(tally_times_count(&times), 101);
}

static struct shared *
new_shared(void)
{
	struct shared *shared = mmap(NULL, sizeof(*shared),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(shared, MAP_FAILED);
	return shared;
}

static void
a_sum_has_every_row_that_was_used_and_the_others(void **state)
{
	static const unsigned rows[] = {0, 7, SHARED_WORKERS_MAX - 1};
	struct shared *shared = new_shared();
	struct tally *own, sum;
	unsigned i;

	(void)state;
	memset(&sum, 0xff, sizeof(sum));
	shared_sum(shared, &sum);
	assert_int_equal(atomic_load(&sum.counters[TALLY_REQUESTS]), 0);
	for (i = 0; i < 3; i++) {
		own = &shared->tallies[rows[i]];
		atomic_store(&own->is_used, 1);
		tally_add_own(&own->counters[TALLY_REQUESTS], 10 + i);
		tally_add_own(
		    &own->checks[TALLY_NGINX][SGATE_REASON_OK][STORES_LOCAL],
		    3);
		tally_add_own(
		    &own->checks[i][TALLY_ANONYMOUS][STORES_NOBODY], 1);
		tally_add_own(
		    &own->checks[i][SGATE_REASON_ROLE][STORES_CACHE], 2);
		tally_add_own(
		    &own->checks[i][SGATE_REASON_MAINTENANCE][STORES_DURABLE],
		    5);
		tally_add_time(&own->operation_times[TALLY_END], 700);
		stores_count(own->stores, STORES_POLLS);
	}
	tally_add(&shared->others.counters[TALLY_REQUESTS], 100);
	stores_count(shared->stores.counts, STORES_POLLS);
	shared_sum(shared, &sum);
	assert_int_equal(atomic_load(&sum.counters[TALLY_REQUESTS]), 133);
	assert_int_equal(atomic_load(&sum.stores[STORES_POLLS]), 4);
	assert_int_equal(atomic_load(&sum.counters[TALLY_CHECK_ALLOWED]), 12);
	assert_int_equal(atomic_load(&sum.counters[TALLY_CHECK_DENIED]), 6);
	assert_int_equal(
	    atomic_load(&sum.counters[TALLY_CHECK_UNAVAILABLE]), 15);
	assert_int_equal(
	    atomic_load(
		&sum.checks[TALLY_NGINX][SGATE_REASON_OK][STORES_LOCAL]),
	    9);
	assert_int_equal(tally_times_count(&sum.operation_times[TALLY_END]), 3);
	munmap(shared, sizeof(*shared));
}

/* Killed anywhere, the next one in the row goes on where it stood. */
static void
a_killed_worker_takes_nothing_of_a_sum_along(void **state)
{
	struct shared *shared = new_shared();
	struct tally *own = &shared->tallies[3], sum;
	uint64_t before = 0, now;
	int status, i;
	pid_t pid;

	(void)state;
	atomic_store(&own->is_used, 1);
	for (i = 0; i < 20; i++) {
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			for (;;)
				tally_add_own(
				    &own->counters[TALLY_REQUESTS], 1);
		usleep(2000 + (unsigned)i * 100);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		shared_sum(shared, &sum);
		now = atomic_load(&sum.counters[TALLY_REQUESTS]);
		assert_true(now >= before);
		before = now;
	}
	assert_true(before > 0);
	munmap(shared, sizeof(*shared));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(everything_that_is_counted_has_a_name_of_its_own),
    cmocka_unit_test(a_time_goes_into_the_first_bucket_that_is_not_below_it),
    cmocka_unit_test(quantiles_lie_in_their_buckets),
    cmocka_unit_test(a_sum_has_every_row_that_was_used_and_the_others),
    cmocka_unit_test(a_killed_worker_takes_nothing_of_a_sum_along),
};

TAP_MAIN(tests)
