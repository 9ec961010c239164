/* The breaker, and the names of the counters. */
#include "config.h"

#include "breaker.h"

#include <pthread.h>
#include <string.h>

#include "stores.h"
#include "tap.h"

static void
zeros_are_closed_and_not_yet_seen_up(void **state)
{
	struct breaker b = {0};

	(void)state;
	assert_false(breaker_is_open(&b));
	assert_true(breaker_lets(&b, true, 5));
	assert_true(breaker_lets(&b, false, 5));
	assert_int_equal(breaker_up_for_ms(&b, 5), 0);
}

static void
three_failures_in_a_row_open_it(void **state)
{
	struct breaker b = {0};

	(void)state;
	assert_false(breaker_failed(&b, false, 10));
	assert_false(breaker_failed(&b, false, 20));
	assert_false(breaker_is_open(&b));
	assert_true(breaker_failed(&b, false, 30));
	assert_true(breaker_is_open(&b));
	assert_int_equal(b.open_since_ms, 30);
	assert_int_equal(b.opened, 1);
}

static void
a_success_between_failures_begins_the_row_anew(void **state)
{
	struct breaker b = {0};
	int i;

	(void)state;
	for (i = 0; i < 10; i++) {
		assert_false(breaker_failed(&b, false, 1));
		assert_false(breaker_failed(&b, false, 1));
		breaker_succeeded(&b, false, 1);
	}
	assert_false(breaker_is_open(&b));
}

static void
a_certain_failure_opens_it_at_once_and_once(void **state)
{
	struct breaker b = {0};

	(void)state;
	assert_true(breaker_failed(&b, true, 100));
	assert_false(breaker_failed(&b, true, 200));
	assert_false(breaker_failed(&b, false, 300));
	assert_int_equal(b.open_since_ms, 100);
	assert_int_equal(b.opened, 1);
}

static void
while_it_is_open_only_the_keeper_closes_it(void **state)
{
	struct breaker b = {0};

	(void)state;
	breaker_failed(&b, true, 100);
	breaker_succeeded(&b, false, 110);
	assert_true(breaker_is_open(&b));
	assert_int_equal(breaker_up_for_ms(&b, 110), 0);
	breaker_succeeded(&b, true, 120);
	assert_false(breaker_is_open(&b));
	assert_int_equal(breaker_up_for_ms(&b, 150), 30);
}

static void
closed_again_it_takes_three_failures_again(void **state)
{
	struct breaker b = {0};

	(void)state;
	breaker_failed(&b, false, 1);
	breaker_failed(&b, false, 1);
	breaker_failed(&b, false, 1);
	breaker_succeeded(&b, true, 2);
	assert_false(breaker_failed(&b, false, 3));
	assert_false(breaker_failed(&b, false, 3));
	assert_true(breaker_failed(&b, false, 4));
	assert_int_equal(b.opened, 2);
}

static void
an_open_one_with_a_keeper_lets_nobody(void **state)
{
	struct breaker b = {0};
	int64_t now_ms;

	(void)state;
	breaker_failed(&b, true, 0);
	for (now_ms = 0; now_ms < 20 * BREAKER_RETRY_MS; now_ms += 100)
		assert_false(breaker_lets(&b, true, now_ms));
}

static void
an_open_one_without_a_keeper_lets_one_in_each_second(void **state)
{
	struct breaker b = {0};
	int64_t now_ms;
	int let = 0;

	(void)state;
	breaker_failed(&b, true, 1);
	for (now_ms = 1; now_ms <= 10 * BREAKER_RETRY_MS; now_ms++)
		let += breaker_lets(&b, false, now_ms);
	assert_int_equal(let, 9);
	/* What it found out closes it. */
	breaker_succeeded(&b, true, now_ms);
	assert_true(breaker_lets(&b, false, now_ms));
}

static void
up_for_counts_from_the_first_success_after_a_break(void **state)
{
	struct breaker b = {0};

	(void)state;
	breaker_succeeded(&b, false, 1000);
	breaker_succeeded(&b, true, 2000);
	assert_int_equal(breaker_up_for_ms(&b, 5000), 4000);
	breaker_failed(&b, false, 5500);
	assert_int_equal(breaker_up_for_ms(&b, 6000), 5000);
	breaker_failed(&b, true, 7000);
	assert_int_equal(breaker_up_for_ms(&b, 7000), 0);
	breaker_succeeded(&b, true, 8000);
	assert_int_equal(breaker_up_for_ms(&b, 8500), 500);
	/* Up is not 0, also to who read the clock before. */
	assert_true(breaker_up_for_ms(&b, 8000) > 0);
	assert_true(breaker_up_for_ms(&b, 7000) > 0);
}

static void
at_the_clock_s_zero_it_opens_and_is_up_as_well(void **state)
{
	struct breaker b = {0};

	(void)state;
	assert_true(breaker_failed(&b, true, 0));
	assert_true(breaker_is_open(&b));
	breaker_succeeded(&b, true, 0);
	assert_false(breaker_is_open(&b));
	assert_true(breaker_up_for_ms(&b, 0) > 0);
}

static struct breaker shared_breaker;
static _Atomic int opened, let;

static void *
fail_and_try(void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < 10000; i++) {
		if (breaker_failed(&shared_breaker, false, 1))
			atomic_fetch_add(&opened, 1);
		if (breaker_is_open(&shared_breaker) &&
		    breaker_lets(&shared_breaker, false, 1 + BREAKER_RETRY_MS))
			atomic_fetch_add(&let, 1);
	}
	return NULL;
}

static void
of_many_at_once_one_opens_it_and_one_is_let(void **state)
{
	pthread_t threads[4];
	int i;

	(void)state;
	for (i = 0; i < 4; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, fail_and_try, NULL), 0);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(opened, 1);
	assert_int_equal(shared_breaker.opened, 1);
	assert_int_equal(let, 1);
}

static void
every_counter_has_a_name_of_its_own(void **state)
{
	int i, j;

	(void)state;
	for (i = 0; i < STORES_COUNTERS; i++) {
		const char *name = stores_counter_name((enum stores_counter)i);

		assert_non_null(name);
		assert_string_not_equal(name, "unknown");
		for (j = 0; j < i; j++)
			assert_string_not_equal(
			    name, stores_counter_name((enum stores_counter)j));
	}
	assert_string_equal(
	    stores_counter_name((enum stores_counter)STORES_COUNTERS),
	    "unknown");
	assert_string_equal(
	    stores_counter_name((enum stores_counter) - 1), "unknown");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(zeros_are_closed_and_not_yet_seen_up),
    cmocka_unit_test(three_failures_in_a_row_open_it),
    cmocka_unit_test(a_success_between_failures_begins_the_row_anew),
    cmocka_unit_test(a_certain_failure_opens_it_at_once_and_once),
    cmocka_unit_test(while_it_is_open_only_the_keeper_closes_it),
    cmocka_unit_test(closed_again_it_takes_three_failures_again),
    cmocka_unit_test(an_open_one_with_a_keeper_lets_nobody),
    cmocka_unit_test(an_open_one_without_a_keeper_lets_one_in_each_second),
    cmocka_unit_test(up_for_counts_from_the_first_success_after_a_break),
    cmocka_unit_test(at_the_clock_s_zero_it_opens_and_is_up_as_well),
    cmocka_unit_test(of_many_at_once_one_opens_it_and_one_is_let),
    cmocka_unit_test(every_counter_has_a_name_of_its_own),
};

TAP_MAIN(tests)
