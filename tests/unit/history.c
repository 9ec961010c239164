/* The ring of the last hour: what was put is read, what was not is not there,
 * and a reader never sees half of a sample. */
#include "config.h"

#include "history.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

#include "tap.h"

#define EVERY HISTORY_EVERY_MS
/* A moment in the middle of an interval, days after boot. */
#define NOW (INT64_C(40000) * EVERY + 3456)
#define LAST (HISTORY_SAMPLES - 1)

struct fixture {
	struct history *history; /* shared with children */
	struct history_sample samples[HISTORY_SAMPLES];
};

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->history = mmap(NULL, sizeof(*f->history), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(f->history, MAP_FAILED);
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	munmap(f->history, sizeof(*f->history));
	free(f);
	return 0;
}

static void
put(struct fixture *f, int64_t at_ms, uint64_t value)
{
	uint64_t values[HISTORY_VALUES];
	size_t i;

	for (i = 0; i < HISTORY_VALUES; i++)
		values[i] = value + i;
	history_put(f->history, at_ms, values);
}

/* How many are there; each is whole. */
static size_t
look(struct fixture *f, int64_t now_ms)
{
	size_t i, value, count = 0;

	history_read(f->history, now_ms, f->samples);
	for (i = 0; i < HISTORY_SAMPLES; i++) {
		if (!f->samples[i].is_there) {
			assert_int_equal(f->samples[i].at_ms, 0);
			assert_int_equal(f->samples[i].values[0], 0);
			continue;
		}
		count++;
		for (value = 1; value < HISTORY_VALUES; value++)
			assert_int_equal(f->samples[i].values[value],
			    f->samples[i].values[0] + value);
	}
	return count;
}

static void
an_empty_one_has_no_sample(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(look(f, NOW), 0);
	assert_int_equal(look(f, 0), 0);
	assert_int_equal(look(f, 1), 0);
}

static void
one_sample_stands_where_it_was_taken(void **state)
{
	struct fixture *f = *state;

	put(f, NOW - 3 * EVERY, 7);
	assert_int_equal(look(f, NOW), 1);
	assert_true(f->samples[LAST - 3].is_there);
	assert_int_equal(f->samples[LAST - 3].at_ms, NOW - 3 * EVERY);
	assert_int_equal(f->samples[LAST - 3].values[0], 7);
}

static void
soon_after_boot_there_is_no_hour_before(void **state)
{
	struct fixture *f = *state;

	put(f, 0, 1);
	put(f, EVERY, 2);
	assert_int_equal(look(f, EVERY + 1), 2);
	assert_int_equal(f->samples[LAST - 1].values[0], 1);
	assert_int_equal(f->samples[LAST].values[0], 2);
}

static void
an_hour_is_kept_and_no_more(void **state)
{
	struct fixture *f = *state;
	int64_t i;

	for (i = 0; i < 3 * HISTORY_SAMPLES; i++)
		put(f, NOW + i * EVERY, (uint64_t)i);
	i--;
	assert_int_equal(look(f, NOW + i * EVERY), HISTORY_SAMPLES);
	assert_int_equal(f->samples[0].values[0], i - HISTORY_INTERVALS);
	assert_int_equal(f->samples[LAST].values[0], i);
	/* Nobody took any since. */
	assert_int_equal(look(f, NOW + (i + 100) * EVERY), LAST + 1 - 100);
	assert_false(f->samples[LAST].is_there);
	assert_int_equal(look(f, NOW + (i + HISTORY_SAMPLES) * EVERY), 0);
	assert_int_equal(look(f, NOW + (i + 20 * HISTORY_SAMPLES) * EVERY), 0);
}

static void
the_last_sample_of_an_interval_stands(void **state)
{
	struct fixture *f = *state;

	put(f, NOW, 1);
	put(f, NOW + 5, 2);
	assert_int_equal(look(f, NOW + 6), 1);
	assert_int_equal(f->samples[LAST].at_ms, NOW + 5);
	assert_int_equal(f->samples[LAST].values[0], 2);
}

static void
where_none_was_taken_none_is_there(void **state)
{
	struct fixture *f = *state;
	int64_t i;

	for (i = 0; i < HISTORY_SAMPLES; i++)
		if (i < 100 || i >= 130)
			put(f, NOW + i * EVERY, (uint64_t)i);
	assert_int_equal(
	    look(f, NOW + (HISTORY_SAMPLES - 1) * EVERY), HISTORY_SAMPLES - 30);
	for (i = 0; i < HISTORY_SAMPLES; i++)
		assert_int_equal(f->samples[i].is_there, i < 100 || i >= 130);
}

/* Whatever a worker that was broken into has written there. */
static void
nonsense_is_no_sample(void **state)
{
	struct fixture *f = *state;
	struct history_place *place =
	    &f->history->places[history_interval(NOW) % HISTORY_SAMPLES];
	const int64_t moments[] = {
	    -1, INT64_MIN, INT64_MAX, NOW + 1, 0, NOW - EVERY, NOW + EVERY};
	size_t i;

	put(f, NOW, 1);
	assert_int_equal(look(f, NOW), 1);
	assert_true(history_has(f->history, NOW));
	assert_false(history_has(f->history, NOW + EVERY));
	assert_false(history_has(f->history, NOW - EVERY));
	for (i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		atomic_store(&place->at_ms, moments[i]);
		assert_int_equal(look(f, NOW), 0);
	}
	atomic_store(&place->at_ms, NOW);
	atomic_store(&place->interval, -1);
	assert_int_equal(look(f, NOW), 0);
	memset(f->history, 0xff, sizeof(*f->history));
	assert_int_equal(look(f, NOW), 0);
	memset(f->history, 0xfe, sizeof(*f->history));
	assert_int_equal(look(f, NOW), 0);
}

static void
a_writer_that_died_leaves_a_gap_and_the_next_one_fills_it(void **state)
{
	struct fixture *f = *state;
	struct history_place *place =
	    &f->history->places[history_interval(NOW) % HISTORY_SAMPLES];

	put(f, NOW, 1);
	/* It has begun. */
	atomic_fetch_add(&place->turn, 1);
	atomic_store(&place->values[3], 99);
	assert_int_equal(look(f, NOW), 0);
	put(f, NOW, 2);
	assert_int_equal(look(f, NOW), 1);
	assert_int_equal(f->samples[LAST].values[0], 2);
	assert_int_equal(atomic_load(&place->turn) % 2, 0);
}

/* It writes until it is killed, as a rule in the middle of a sample. */
static void
readers_see_whole_samples_while_one_writes_and_is_killed(void **state)
{
	struct fixture *f = *state;
	int64_t end_ms = clock_monotonic_ms() + 500;
	size_t seen = 0;
	uint64_t value;
	int status;
	pid_t pid;

	while (clock_monotonic_ms() < end_ms) {
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			for (value = 0;; value++)
				put(f, NOW, value);
		}
		for (value = 0; value < 50; value++)
			seen += look(f, NOW);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	put(f, NOW, 5);
	assert_int_equal(look(f, NOW), 1);
	assert_true(seen > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest history_tests[] = {
    TEST(an_empty_one_has_no_sample),
    TEST(one_sample_stands_where_it_was_taken),
    TEST(soon_after_boot_there_is_no_hour_before),
    TEST(an_hour_is_kept_and_no_more),
    TEST(the_last_sample_of_an_interval_stands),
    TEST(where_none_was_taken_none_is_there),
    TEST(nonsense_is_no_sample),
    TEST(a_writer_that_died_leaves_a_gap_and_the_next_one_fills_it),
    TEST(readers_see_whole_samples_while_one_writes_and_is_killed),
};

TAP_MAIN(history_tests)
