/* Counting by address and minute: alone, and by many processes at once. */
#include "config.h"

#include "rate.h"

#include "buf.h"
#include "tap.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MINUTE 60000
#define PROCESSES 8

static struct rate_table *
make_table(void)
{
	struct rate_table *table = mmap(NULL, sizeof(*table),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(table != MAP_FAILED);
	rate_init(table);
	return table;
}

static bool
take(struct rate_table *table, const char *address, unsigned max, int64_t now)
{
	return rate_take(table, bytes_of(address), max, now);
}

static void
the_first_ones_of_a_minute_get_a_yes(void **state)
{
	struct rate_table *table = make_table();
	int i;

	(void)state;
	for (i = 0; i < 5; i++)
		assert_int_equal(
		    take(table, "192.0.2.1", 3, MINUTE + i), i < 3);
	assert_true(take(table, "192.0.2.2", 3, MINUTE + 5));
	assert_true(take(table, "", 3, MINUTE + 5));
	assert_false(take(table, "192.0.2.1", 3, 2 * MINUTE - 1));
	assert_true(take(table, "192.0.2.1", 3, 2 * MINUTE));
	assert_false(take(table, "192.0.2.1", 0, 3 * MINUTE));
	/* More than can be counted is as much as can be. */
	assert_true(take(table, "192.0.2.3", UINT32_MAX, MINUTE));
	munmap(table, sizeof(*table));
}

static void
an_ipv6_address_counts_as_its_network(void **state)
{
	struct rate_table *table = make_table();

	(void)state;
	assert_true(take(table, "2001:db8::1", 1, MINUTE));
	assert_false(take(table, "2001:db8::ffff:1", 1, MINUTE));
	assert_false(take(table, "2001:DB8:0:0:1::", 1, MINUTE));
	assert_true(take(table, "2001:db8:0:1::1", 1, MINUTE));
	assert_true(take(table, "192.0.2.1", 1, MINUTE));
	assert_false(take(table, "::ffff:192.0.2.1", 1, MINUTE));
	assert_true(take(table, "::192.0.2.1", 1, MINUTE));
	munmap(table, sizeof(*table));
}

static void
until_the_next_minute_there_is_a_second_at_least(void **state)
{
	(void)state;
	assert_int_equal(rate_wait_s(MINUTE), 60);
	assert_int_equal(rate_wait_s(MINUTE + 1), 60);
	assert_int_equal(rate_wait_s(MINUTE + 1000), 59);
	assert_int_equal(rate_wait_s(2 * MINUTE - 1), 1);
}

/*
 * A process that read its clock just before the minute ended counts in the
 * minute that another has begun.
 */
static void
the_end_of_a_minute_forgets_no_count(void **state)
{
	struct rate_table *table = make_table();
	int i, yes = 0;

	(void)state;
	for (i = 0; i < 100; i++)
		yes += take(table, "192.0.2.1", 10, 2 * MINUTE - i % 2);
	assert_int_equal(yes, 10);
	munmap(table, sizeof(*table));
}

static void
garbage_in_the_table_ends_with_its_minute(void **state)
{
	struct rate_table *table = make_table();
	size_t set, way;

	(void)state;
	for (set = 0; set < RATE_SETS; set++)
		for (way = 0; way < RATE_WAYS; way++)
			table->words[set][way] = UINT64_MAX;
	assert_true(take(table, "192.0.2.1", 1, MINUTE));
	assert_false(take(table, "192.0.2.1", 1, MINUTE));
	munmap(table, sizeof(*table));
}

/* ---- many addresses ---- */

static const char *
address_of(unsigned number)
{
	static char text[32];

	snprintf(text, sizeof(text), "10.%u.%u.%u", number >> 16 & 255,
	    number >> 8 & 255, number & 255);
	return text;
}

/* Three times as many as there are places, each of them twice. */
static void
a_table_that_is_full_refuses_nobody_for_another(void **state)
{
	struct rate_table *table = make_table();
	unsigned i, count = 3 * RATE_SETS * RATE_WAYS;

	(void)state;
	for (i = 0; i < count; i++)
		if (!take(table, address_of(i), 1, MINUTE))
			fail_msg("%s was refused its first", address_of(i));
	for (i = count; i < count + 1000; i++)
		assert_true(take(table, address_of(i), 1, MINUTE));
	munmap(table, sizeof(*table));
}

static void
who_comes_often_is_not_forgotten_for_who_comes_once(void **state)
{
	struct rate_table *table = make_table();
	unsigned i;

	(void)state;
	for (i = 0; i < 5; i++)
		assert_true(take(table, "192.0.2.1", 5, MINUTE));
	for (i = 0; i < 4 * RATE_SETS * RATE_WAYS; i++)
		assert_true(take(table, address_of(i), 5, MINUTE));
	assert_false(take(table, "192.0.2.1", 5, MINUTE));
	munmap(table, sizeof(*table));
}

static void
few_addresses_are_each_counted_for_themselves(void **state)
{
	struct rate_table *table = make_table();
	unsigned i, k;

	(void)state;
	for (k = 0; k < 3; k++)
		for (i = 0; i < 500; i++)
			assert_true(take(table, address_of(i), 3, MINUTE));
	for (i = 0; i < 500; i++)
		assert_false(take(table, address_of(i), 3, MINUTE));
	munmap(table, sizeof(*table));
}

/* ---- many processes ---- */

struct tally {
	_Atomic int begin;
	_Atomic int yes[4];
};

static void
take_many(struct rate_table *table, struct tally *tally, unsigned tries)
{
	unsigned i;

	while (atomic_load(&tally->begin) == 0)
		continue;
	for (i = 0; i < tries; i++)
		if (take(table, address_of(i % 4), 200, MINUTE))
			atomic_fetch_add(&tally->yes[i % 4], 1);
}

static void
many_processes_count_exactly(void **state)
{
	struct rate_table *table = make_table();
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[PROCESSES];
	int i, status;

	(void)state;
	assert_true(tally != MAP_FAILED);
	for (i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			take_many(table, tally, 4000);
			_exit(0);
		}
	}
	atomic_store(&tally->begin, 1);
	for (i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	for (i = 0; i < 4; i++)
		assert_int_equal(tally->yes[i], 200);
	munmap(tally, sizeof(*tally));
	munmap(table, sizeof(*table));
}

/* Wherever they are killed, the others go on counting, and count right. */
static void
killed_processes_leave_nothing_locked(void **state)
{
	struct rate_table *table = make_table();
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int i, status;

	(void)state;
	assert_true(tally != MAP_FAILED);
	atomic_store(&tally->begin, 1);
	for (i = 0; i < 20; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			for (;;)
				take_many(table, tally, 1000);
		usleep(1000 + (unsigned)i * 100);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(
		    take(table, address_of(1000 + (unsigned)i), 1, MINUTE));
	}
	/* One that was killed may have counted and not told. */
	for (i = 0; i < 4; i++)
		assert_in_range(tally->yes[i], 200 - 20, 200);
	munmap(tally, sizeof(*tally));
	munmap(table, sizeof(*table));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_first_ones_of_a_minute_get_a_yes),
    cmocka_unit_test(an_ipv6_address_counts_as_its_network),
    cmocka_unit_test(until_the_next_minute_there_is_a_second_at_least),
    cmocka_unit_test(the_end_of_a_minute_forgets_no_count),
    cmocka_unit_test(garbage_in_the_table_ends_with_its_minute),
    cmocka_unit_test(a_table_that_is_full_refuses_nobody_for_another),
    cmocka_unit_test(who_comes_often_is_not_forgotten_for_who_comes_once),
    cmocka_unit_test(few_addresses_are_each_counted_for_themselves),
    cmocka_unit_test(many_processes_count_exactly),
    cmocka_unit_test(killed_processes_leave_nothing_locked),
};

TAP_MAIN(tests)
