/*
 * The breaker: every transition with a given clock, threads and processes at
 * once; and the names of the counters.
 */
#include "config.h"

#include "breaker.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stores.h"
#include "tap.h"

/* Longer than any probe is away. */
#define LONG_MS (2 * BREAKER_PROBE_MAX_MS)
#define WINDOW_MS 1000

static bool
let_fail(struct breaker *b, int64_t now_ms)
{
	return breaker_failed(
	    b, breaker_generation(b), false, WINDOW_MS, now_ms);
}

static void
let_succeed(struct breaker *b, int64_t now_ms)
{
	breaker_succeeded(b, breaker_generation(b), BREAKER_FAST, now_ms);
}

static struct breaker
an_open_one(int64_t now_ms)
{
	struct breaker b = {0};

	breaker_close(&b, 1);
	assert_true(breaker_open(&b, now_ms));
	return b;
}

static struct breaker
a_half_one(int64_t now_ms)
{
	struct breaker b = an_open_one(now_ms);

	let_succeed(&b, now_ms);
	let_succeed(&b, now_ms);
	assert_int_equal(breaker_state(&b), BREAKER_HALF);
	return b;
}

/* ---- closed ---- */

static void
zeros_are_closed_and_not_yet_seen_up(void **state)
{
	struct breaker b = {0};

	(void)state;
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	assert_string_equal(breaker_state_text(&b), "closed");
	assert_false(breaker_is_open(&b));
	assert_int_equal(breaker_lets(&b, BREAKER_CALLER, 5), BREAKER_ASK);
	assert_int_equal(breaker_lets(&b, BREAKER_PROBER, 5), BREAKER_ASK);
	assert_int_equal(breaker_up_for_ms(&b, 5), 0);
	assert_int_equal(breaker_turn_left_ms(&b, 5, 5), 0);
	assert_true(breaker_next_ms(&b, 5) == INT64_MAX);
}

static void
three_failures_within_a_second_open_it(void **state)
{
	struct breaker b = {0};

	(void)state;
	assert_false(let_fail(&b, 10));
	assert_false(let_fail(&b, 510));
	assert_true(let_fail(&b, 1010));
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
	assert_string_equal(breaker_state_text(&b), "open");
	assert_int_equal(b.opened, 1);
}

static void
answers_between_failures_change_nothing(void **state)
{
	struct breaker b = {0};

	(void)state;
	let_fail(&b, 10);
	let_succeed(&b, 11);
	let_fail(&b, 12);
	let_succeed(&b, 13);
	assert_true(let_fail(&b, 14));
}

static void
failures_that_are_further_apart_do_not(void **state)
{
	struct breaker b = {0};
	int64_t now_ms;

	(void)state;
	for (now_ms = 1; now_ms < 100000; now_ms += 501)
		assert_false(let_fail(&b, now_ms));
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	/* A pair now and then does not, either. */
	for (now_ms += 1002; now_ms < 200000; now_ms += 1002) {
		assert_false(let_fail(&b, now_ms));
		assert_false(let_fail(&b, now_ms));
	}
	assert_true(let_fail(&b, now_ms - 1000));
}

/* 2^32 ms: 49 days after the machine was started, and again. */
static void
failures_are_counted_across_the_wrap_of_their_clock(void **state)
{
	const int64_t wrap_ms = INT64_C(1) << 32;
	struct breaker b = {0};

	(void)state;
	assert_false(let_fail(&b, wrap_ms - 400));
	assert_false(let_fail(&b, wrap_ms));
	assert_true(breaker_next_ms(&b, wrap_ms + 100) == wrap_ms + 101);
	assert_true(let_fail(&b, wrap_ms + 400));
	b = (struct breaker){0};
	assert_false(let_fail(&b, wrap_ms - 900));
	assert_false(let_fail(&b, wrap_ms - 800));
	assert_false(let_fail(&b, wrap_ms + 300));
}

static void
a_certain_failure_opens_it_at_once_and_once(void **state)
{
	struct breaker b = {0};
	uint32_t generation = breaker_generation(&b);

	(void)state;
	assert_true(breaker_failed(&b, generation, true, WINDOW_MS, 100));
	assert_false(breaker_failed(&b, generation, true, WINDOW_MS, 200));
	assert_false(breaker_open(&b, 300));
	assert_int_equal(b.opened, 1);
	assert_int_equal(breaker_generation(&b), generation + 1);
}

static void
one_failure_asks_for_another_question_soon(void **state)
{
	struct breaker b = {0};

	(void)state;
	let_fail(&b, 5000);
	assert_true(breaker_next_ms(&b, 5001) == 5000 + BREAKER_PROBE_MIN_MS);
	assert_true(breaker_next_ms(&b, 6001) == INT64_MAX);
}

/* ---- slow ---- */

/* A second of answers every 5 ms of which some are slow. */
static void
a_second(struct breaker *b, int64_t begin_ms, int slow_one_in)
{
	int64_t now_ms;
	int i = 0;

	for (now_ms = begin_ms; now_ms < begin_ms + 1000; now_ms += 5, i++)
		breaker_succeeded(b, 0,
		    slow_one_in > 0 && i % slow_one_in == slow_one_in - 1
			? BREAKER_SLOW
			: BREAKER_FAST,
		    now_ms);
}

static void
a_store_that_is_slow_for_a_second_is_given_up(void **state)
{
	struct breaker b = {0};

	(void)state;
	a_second(&b, 1000, 0);
	a_second(&b, 2000, 20);
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
	assert_int_equal(b.opened, 1);
}

static void
some_slow_answers_among_many_open_nothing(void **state)
{
	struct breaker b = {0};
	int64_t second_ms;
	int i;

	(void)state;
	/* 9 of 10,000 in each second, in every quarter of it: less than 1 %. */
	for (second_ms = 1000; second_ms < 5000; second_ms += 1000) {
		for (i = 0; i < 10000; i++)
			breaker_succeeded(&b, 0,
			    i % 1000 == 999 ? BREAKER_SLOW : BREAKER_FAST,
			    second_ms + i / 10);
	}
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
}

static void
few_slow_answers_open_nothing(void **state)
{
	struct breaker b = {0};
	int64_t now_ms;

	(void)state;
	/* All of them, 9 a second. */
	for (now_ms = 1000; now_ms < 10000; now_ms += 112)
		breaker_succeeded(&b, 0, BREAKER_SLOW, now_ms);
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
}

static void
a_moment_of_slow_answers_opens_nothing(void **state)
{
	struct breaker b = {0};
	int i;

	(void)state;
	/* This host stood still, and all that waited came at once. */
	for (i = 0; i < 100; i++)
		breaker_succeeded(&b, 0, BREAKER_SLOW, 1240 + i % 20);
	for (i = 0; i < 100; i++)
		breaker_succeeded(&b, 0, BREAKER_SLOW, 1990 + i % 20);
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
}

static void
what_may_take_long_counts_neither_way(void **state)
{
	struct breaker b = {0};
	int64_t now_ms;

	(void)state;
	for (now_ms = 1000; now_ms < 2000; now_ms++)
		breaker_succeeded(&b, 0, BREAKER_UNTIMED, now_ms);
	assert_int_equal(b.answers, 0);
	assert_true(breaker_up_for_ms(&b, 2000) > 0);
}

/* ---- open ---- */

static void
an_open_one_lets_who_takes_the_probe(void **state)
{
	struct breaker b = an_open_one(1000);
	int64_t due_ms = breaker_next_ms(&b, 1000);

	(void)state;
	assert_in_range(due_ms, 1070, 1130);
	assert_int_equal(
	    breaker_lets(&b, BREAKER_PROBER, due_ms - 1), BREAKER_SKIP);
	assert_int_equal(
	    breaker_lets(&b, BREAKER_CALLER, due_ms), BREAKER_SKIP);
	assert_int_equal(
	    breaker_lets(&b, BREAKER_PROBER, due_ms), BREAKER_PROBE);
	assert_int_equal(
	    breaker_lets(&b, BREAKER_PROBER, due_ms), BREAKER_SKIP);
}

static void
probes_become_rarer_up_to_a_second(void **state)
{
	static const int64_t usual[] = {100, 200, 400, 800, 1000, 1000, 1000};
	struct breaker b = an_open_one(50000);
	int64_t last_ms = 50000, due_ms;
	size_t i;

	(void)state;
	for (i = 0; i < 7; i++) {
		due_ms = breaker_next_ms(&b, last_ms);
		assert_in_range(
		    due_ms - last_ms, usual[i] * 7 / 10, usual[i] * 13 / 10);
		assert_int_equal(
		    breaker_lets(&b, BREAKER_PROBER, due_ms), BREAKER_PROBE);
		breaker_failed(
		    &b, breaker_generation(&b), true, WINDOW_MS, due_ms + 50);
		last_ms = due_ms;
	}
	for (i = 0; i < 1000; i++) {
		last_ms += LONG_MS;
		assert_int_equal(
		    breaker_lets(&b, BREAKER_PROBER, last_ms), BREAKER_PROBE);
	}
	assert_in_range(breaker_next_ms(&b, last_ms) - last_ms, 700, 1300);
}

/* Hosts that gave it up together do not come together. */
static void
probes_are_spread(void **state)
{
	int seen[140] = {0}, different = 0;
	int64_t now_ms;

	(void)state;
	for (now_ms = 1; now_ms <= 1000; now_ms++) {
		struct breaker b = an_open_one(now_ms);
		int64_t after_ms = breaker_next_ms(&b, now_ms) - now_ms;

		assert_in_range(after_ms, 70, 130);
		different += seen[after_ms]++ == 0;
	}
	assert_true(different > 50);
}

static void
without_its_keeper_one_of_the_workers_probes(void **state)
{
	struct breaker b = an_open_one(1000);
	int64_t late_ms = breaker_next_ms(&b, 1000) + BREAKER_ORPHAN_MS;

	(void)state;
	assert_int_equal(
	    breaker_lets(&b, BREAKER_CALLER, late_ms - 1), BREAKER_SKIP);
	assert_int_equal(
	    breaker_lets(&b, BREAKER_CALLER, late_ms), BREAKER_PROBE);
	assert_int_equal(
	    breaker_lets(&b, BREAKER_CALLER, late_ms), BREAKER_SKIP);
}

/* Whoever takes a probe and dies has only made the next one later. */
static void
a_probe_that_nobody_finishes_is_done_by_the_next(void **state)
{
	struct breaker b = an_open_one(1000);
	int64_t now_ms = 1000;
	int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		now_ms = breaker_next_ms(&b, now_ms);
		assert_int_equal(
		    breaker_lets(&b, BREAKER_PROBER, now_ms), BREAKER_PROBE);
	}
	now_ms = breaker_next_ms(&b, now_ms);
	assert_int_equal(
	    breaker_lets(&b, BREAKER_PROBER, now_ms), BREAKER_PROBE);
	let_succeed(&b, now_ms);
	let_succeed(&b, now_ms + 100);
	assert_int_equal(breaker_state(&b), BREAKER_HALF);
}

static void
two_good_probes_in_a_row_let_some_in(void **state)
{
	struct breaker b = an_open_one(1000);

	(void)state;
	let_succeed(&b, 1100);
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
	/* The next one comes soon, however rare they had become. */
	assert_in_range(breaker_next_ms(&b, 1100), 1170, 1230);
	let_fail(&b, 1200);
	let_succeed(&b, 1300);
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
	let_succeed(&b, 1400);
	assert_int_equal(breaker_state(&b), BREAKER_HALF);
	assert_string_equal(breaker_state_text(&b), "half");
	assert_true(breaker_is_open(&b));
	assert_int_equal(breaker_up_for_ms(&b, 1400), 0);
}

static void
a_slow_probe_is_not_good(void **state)
{
	struct breaker b = an_open_one(1000);
	int i;

	(void)state;
	for (i = 0; i < 10; i++)
		breaker_succeeded(
		    &b, breaker_generation(&b), BREAKER_SLOW, 1100 + 100 * i);
	let_succeed(&b, 3000);
	breaker_succeeded(&b, breaker_generation(&b), BREAKER_SLOW, 3100);
	let_succeed(&b, 3200);
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
	breaker_succeeded(&b, breaker_generation(&b), BREAKER_UNTIMED, 3300);
	assert_int_equal(breaker_state(&b), BREAKER_HALF);
}

static void
what_was_asked_before_it_opened_says_nothing(void **state)
{
	struct breaker b = {0};
	int i;

	(void)state;
	breaker_open(&b, 1000);
	for (i = 0; i < 5; i++)
		breaker_succeeded(&b, 0, BREAKER_FAST, 1010);
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
	b = a_half_one(2000);
	assert_false(breaker_failed(
	    &b, breaker_generation(&b) - 1, true, WINDOW_MS, 2010));
	assert_int_equal(breaker_state(&b), BREAKER_HALF);
	breaker_close(&b, 3000);
	assert_false(breaker_failed(
	    &b, breaker_generation(&b) - 1, true, WINDOW_MS, 3010));
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
}

/* A generation comes again after 2^20, what a probe knows of it after 2^12. */
static void
probes_of_another_outage_do_not_count(void **state)
{
	struct breaker b = {0};
	int64_t now_ms = 0;
	int i;

	(void)state;
	for (i = 0; i < 5000; i++) {
		now_ms += 10000;
		breaker_open(&b, now_ms);
		assert_in_range(breaker_next_ms(&b, now_ms) - now_ms, 70, 130);
		let_succeed(&b, now_ms + 1);
		assert_int_equal(breaker_state(&b), BREAKER_OPEN);
		breaker_close(&b, now_ms + 2);
	}
	for (; breaker_generation(&b) != 0; now_ms += 10) {
		breaker_open(&b, now_ms);
		breaker_close(&b, now_ms);
	}
	assert_true(breaker_open(&b, now_ms));
	assert_int_equal(breaker_generation(&b), 1);
}

/* ---- half ---- */

static void
half_lets_one_of_eight_and_all_who_are_alone_or_probe(void **state)
{
	struct breaker b = a_half_one(1000);
	int i, let = 0;

	(void)state;
	for (i = 0; i < 800; i++) {
		let += breaker_lets(&b, BREAKER_CALLER, 1001) == BREAKER_ASK;
		assert_int_equal(
		    breaker_lets(&b, BREAKER_ALONE, 1001), BREAKER_ASK);
		assert_int_equal(
		    breaker_lets(&b, BREAKER_PROBER, 1001), BREAKER_ASK);
	}
	assert_int_equal(let, 100);
	assert_true(breaker_next_ms(&b, 1001) == 1000 + BREAKER_HALF_MS);
}

static void
a_second_of_half_without_failure_closes_it(void **state)
{
	struct breaker b = a_half_one(1000);
	uint32_t generation = breaker_generation(&b);

	(void)state;
	breaker_lets(&b, BREAKER_PROBER, 1999);
	assert_int_equal(breaker_state(&b), BREAKER_HALF);
	assert_int_equal(breaker_lets(&b, BREAKER_CALLER, 2000), BREAKER_ASK);
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	assert_int_equal(breaker_lets(&b, BREAKER_CALLER, 2000), BREAKER_ASK);
	assert_true(breaker_up_for_ms(&b, 2500) == 500);
	assert_int_equal(breaker_generation(&b), generation);
}

static void
a_failure_in_half_opens_it_again(void **state)
{
	struct breaker b = a_half_one(1000);
	uint32_t generation = breaker_generation(&b);

	(void)state;
	assert_true(let_fail(&b, 1500));
	assert_int_equal(breaker_state(&b), BREAKER_OPEN);
	assert_int_equal(breaker_generation(&b), generation + 1);
	assert_in_range(breaker_next_ms(&b, 1500), 1570, 1630);
	assert_int_equal(b.opened, 2);
}

/* The worst: it comes back just after a probe has failed. */
static void
a_store_that_is_back_is_used_within_three_seconds(void **state)
{
	struct breaker b;
	int64_t opened_ms, now_ms, back_ms, worst_ms = 0;

	(void)state;
	for (opened_ms = 1; opened_ms < 2000; opened_ms += 7) {
		b = an_open_one(opened_ms);
		for (now_ms = opened_ms; now_ms < opened_ms + 20000; now_ms++)
			if (breaker_lets(&b, BREAKER_PROBER, now_ms) ==
			    BREAKER_PROBE)
				let_fail(&b, now_ms);
		while (
		    breaker_lets(&b, BREAKER_PROBER, now_ms) != BREAKER_PROBE)
			now_ms++;
		/* MySQL's probes wait a quarter of a second, and the keeper may
		 * be in a chore. */
		back_ms = now_ms;
		for (now_ms += 250; breaker_is_open(&b); now_ms += 100)
			if (breaker_lets(&b, BREAKER_PROBER, now_ms) !=
			    BREAKER_SKIP)
				let_succeed(&b, now_ms);
		if (now_ms - back_ms > worst_ms)
			worst_ms = now_ms - back_ms;
	}
	print_message(
	    "# used again after %lld ms at most\n", (long long)worst_ms);
	assert_in_range(worst_ms, 1000, 3000);
}

/* ---- closed again ---- */

static void
up_for_counts_from_the_moment_it_closed(void **state)
{
	struct breaker b = {0};

	(void)state;
	let_succeed(&b, 1000);
	let_succeed(&b, 2000);
	assert_int_equal(breaker_up_for_ms(&b, 5000), 4000);
	let_fail(&b, 5500);
	assert_int_equal(breaker_up_for_ms(&b, 6000), 5000);
	breaker_open(&b, 7000);
	assert_int_equal(breaker_up_for_ms(&b, 7000), 0);
	breaker_close(&b, 8000);
	assert_int_equal(breaker_up_for_ms(&b, 8500), 500);
	/* Up is not 0, also to who read the clock before. */
	assert_true(breaker_up_for_ms(&b, 8000) > 0);
	assert_true(breaker_up_for_ms(&b, 7000) > 0);
}

/* A second longer than it takes to close, after each time that it was open. */
static void
settled_is_closed_for_a_second_or_never_open(void **state)
{
	struct breaker b = {0};

	(void)state;
	assert_true(breaker_is_settled(&b, 5));
	let_succeed(&b, 1000);
	assert_true(breaker_is_settled(&b, 1000));
	b = a_half_one(5000);
	assert_false(breaker_is_settled(&b, 100000));
	breaker_lets(&b, BREAKER_CALLER, 7000);
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	assert_false(breaker_is_settled(&b, 6999));
	assert_false(breaker_is_settled(&b, 7000 + BREAKER_SETTLED_MS - 1));
	assert_true(breaker_is_settled(&b, 7000 + BREAKER_SETTLED_MS));
	breaker_open(&b, 9000);
	assert_false(breaker_is_settled(&b, 900000));
}

static void
processes_come_back_one_by_one(void **state)
{
	struct breaker b = a_half_one(1000);

	(void)state;
	assert_int_equal(breaker_turn_left_ms(&b, 40, 1001), 0);
	breaker_lets(&b, BREAKER_CALLER, 2000);
	assert_int_equal(breaker_state(&b), BREAKER_CLOSED);
	assert_int_equal(breaker_turn_left_ms(&b, 0, 2000), 0);
	assert_int_equal(breaker_turn_left_ms(&b, 40, 2039), 1);
	assert_int_equal(breaker_turn_left_ms(&b, 40, 2040), 0);
}

static void
at_the_clock_s_zero_it_opens_and_is_up_as_well(void **state)
{
	struct breaker b = {0};

	(void)state;
	assert_true(breaker_failed(&b, 0, true, WINDOW_MS, 0));
	assert_true(breaker_is_open(&b));
	breaker_close(&b, 0);
	assert_false(breaker_is_open(&b));
	assert_true(breaker_up_for_ms(&b, 0) > 0);
}

/* ---- many at once ---- */

static struct breaker shared_breaker;
static _Atomic int opened, let;

static void *
fail_and_try(void *arg)
{
	int64_t late_ms;
	int i;

	(void)arg;
	for (i = 0; i < 10000; i++)
		if (breaker_failed(&shared_breaker, 0, false, WINDOW_MS, 1))
			atomic_fetch_add(&opened, 1);
	while (breaker_state(&shared_breaker) != BREAKER_OPEN)
		continue;
	late_ms = 1 + 130 + BREAKER_ORPHAN_MS;
	for (i = 0; i < 10000; i++)
		if (breaker_lets(&shared_breaker, BREAKER_CALLER, late_ms) ==
		    BREAKER_PROBE)
			atomic_fetch_add(&let, 1);
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

/* A store that comes and goes all the time, by a clock that all share. */
static void
come_and_go(struct breaker *b, _Atomic int64_t *clock_ms)
{
	enum breaker_leave leave;
	uint32_t generation;
	int64_t now_ms;

	for (;;) {
		now_ms = atomic_fetch_add(clock_ms, 1);
		leave =
		    breaker_lets(b, (enum breaker_asker)(now_ms % 3), now_ms);
		generation = breaker_generation(b);
		if (leave == BREAKER_SKIP)
			continue;
		if (now_ms % 10000 < 2000)
			breaker_failed(
			    b, generation, now_ms % 5 == 0, WINDOW_MS, now_ms);
		else
			breaker_succeeded(b, generation, BREAKER_FAST, now_ms);
	}
}

static pid_t
start_one(struct breaker *b, _Atomic int64_t *clock_ms)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		come_and_go(b, clock_ms);
	return pid;
}

/*
 * kill -9 wherever they are: whatever is left, one process brings it back to
 * closed in three seconds of its clock.
 */
static void
killed_processes_leave_nothing_stuck(void **state)
{
	struct {
		struct breaker b;
		_Atomic int64_t clock_ms;
	} * shared;
	int64_t now_ms;
	pid_t pids[3];
	int round, i;

	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	atomic_store(&shared->clock_ms, 1);
	for (round = 0; round < 100; round++) {
		for (i = 0; i < 3; i++)
			pids[i] = start_one(&shared->b, &shared->clock_ms);
		usleep(500 + (useconds_t)round * 37 % 1000);
		for (i = 0; i < 3; i++) {
			kill(pids[i], SIGKILL);
			assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
		}
		now_ms = atomic_load(&shared->clock_ms);
		for (i = 0; i < 3000; i++)
			if (breaker_lets(&shared->b, BREAKER_PROBER,
				now_ms + i) != BREAKER_SKIP)
				let_succeed(&shared->b, now_ms + i);
		atomic_store(&shared->clock_ms, now_ms + i);
		assert_int_equal(breaker_state(&shared->b), BREAKER_CLOSED);
	}
	assert_true(atomic_load(&shared->b.opened) > 0);
	munmap(shared, sizeof(*shared));
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
    cmocka_unit_test(three_failures_within_a_second_open_it),
    cmocka_unit_test(answers_between_failures_change_nothing),
    cmocka_unit_test(failures_that_are_further_apart_do_not),
    cmocka_unit_test(failures_are_counted_across_the_wrap_of_their_clock),
    cmocka_unit_test(a_certain_failure_opens_it_at_once_and_once),
    cmocka_unit_test(one_failure_asks_for_another_question_soon),
    cmocka_unit_test(a_store_that_is_slow_for_a_second_is_given_up),
    cmocka_unit_test(some_slow_answers_among_many_open_nothing),
    cmocka_unit_test(few_slow_answers_open_nothing),
    cmocka_unit_test(a_moment_of_slow_answers_opens_nothing),
    cmocka_unit_test(what_may_take_long_counts_neither_way),
    cmocka_unit_test(an_open_one_lets_who_takes_the_probe),
    cmocka_unit_test(probes_become_rarer_up_to_a_second),
    cmocka_unit_test(probes_are_spread),
    cmocka_unit_test(without_its_keeper_one_of_the_workers_probes),
    cmocka_unit_test(a_probe_that_nobody_finishes_is_done_by_the_next),
    cmocka_unit_test(two_good_probes_in_a_row_let_some_in),
    cmocka_unit_test(a_slow_probe_is_not_good),
    cmocka_unit_test(what_was_asked_before_it_opened_says_nothing),
    cmocka_unit_test(probes_of_another_outage_do_not_count),
    cmocka_unit_test(half_lets_one_of_eight_and_all_who_are_alone_or_probe),
    cmocka_unit_test(a_second_of_half_without_failure_closes_it),
    cmocka_unit_test(a_failure_in_half_opens_it_again),
    cmocka_unit_test(a_store_that_is_back_is_used_within_three_seconds),
    cmocka_unit_test(up_for_counts_from_the_moment_it_closed),
    cmocka_unit_test(settled_is_closed_for_a_second_or_never_open),
    cmocka_unit_test(processes_come_back_one_by_one),
    cmocka_unit_test(at_the_clock_s_zero_it_opens_and_is_up_as_well),
    cmocka_unit_test(of_many_at_once_one_opens_it_and_one_is_let),
    cmocka_unit_test(killed_processes_leave_nothing_stuck),
    cmocka_unit_test(every_counter_has_a_name_of_its_own),
};

TAP_MAIN(tests)
