/* Who looks after the others while a process waits: lib/wait.h. */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "tap.h"
#include "wait.h"

static atomic_int looks, elsewhere, at_once, too_many;
static pthread_t first;

static void
look(void *arg)
{
	assert_ptr_equal(arg, &looks);
	if (atomic_fetch_add(&at_once, 1) != 0)
		atomic_store(&too_many, 1);
	if (!pthread_equal(pthread_self(), first))
		atomic_fetch_add(&elsewhere, 1);
	errno = EDOM;
	atomic_fetch_add(&looks, 1);
	atomic_fetch_sub(&at_once, 1);
}

static int
set_up(void **state)
{
	(void)state;
	first = pthread_self();
	atomic_store(&looks, 0);
	atomic_store(&elsewhere, 0);
	wait_set_look(look, &looks);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	wait_set_look(NULL, NULL);
	return 0;
}

static void
pause_ms(int ms)
{
	const struct timespec time = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&time, NULL);
}

/* A machine that does other things, too, may be late. */
static void
wait_for_a_look_elsewhere(void)
{
	int64_t until_ms = clock_monotonic_ms() + 5000;

	while (atomic_load(&elsewhere) == 0 && clock_left_ms(until_ms) > 0)
		pause_ms(1);
	assert_true(atomic_load(&elsewhere) > 0);
}

/* In a process of its own, whose helper has not been started yet. */
static void
without_a_helper_errno_stays_too(void **state)
{
	const struct rlimit none = {0, 0};
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (setrlimit(RLIMIT_NOFILE, &none) != 0)
			_exit(2);
		errno = ENOSPC;
		wait_block();
		status = errno == ENOSPC;
		wait_unblock();
		_exit(status && errno == ENOSPC ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
a_call_that_takes_long_is_looked_after_by_another_thread(void **state)
{
	int after;

	(void)state;
	errno = ENOSPC;
	wait_block();
	assert_int_equal(errno, ENOSPC);
	wait_for_a_look_elsewhere();
	wait_look(); /* as a driver may that waits for a lock */
	errno = ENOSPC;
	wait_unblock();
	assert_int_equal(errno, ENOSPC);
	after = atomic_load(&looks);
	pause_ms(50);
	assert_int_equal(atomic_load(&looks), after);
	assert_int_equal(atomic_load(&too_many), 0);
}

static void
many_short_ones_cost_no_look(void **state)
{
	int i, late = 0;
	int64_t began_ms;

	(void)state;
	for (i = 0; i < 1000; i++) {
		began_ms = clock_monotonic_ms();
		wait_block();
		wait_unblock();
		late += clock_monotonic_ms() - began_ms >= 5;
	}
	if (late == 0)
		assert_int_equal(atomic_load(&looks), 0);
}

static void
where_nobody_looks_nothing_happens(void **state)
{
	(void)state;
	wait_set_look(NULL, NULL);
	wait_block();
	pause_ms(30);
	wait_look();
	wait_unblock();
	assert_int_equal(atomic_load(&looks), 0);
}

static void
waiting_looks_by_itself(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(
	    wait_ready(ends[0], POLLIN, clock_monotonic_us() + 20000), 0);
	assert_int_equal(errno, ETIMEDOUT);
	assert_true(atomic_load(&looks) >= 2);
	assert_int_equal(atomic_load(&elsewhere), 0);
	close(ends[0]);
	close(ends[1]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
static const struct CMUnitTest tests[] = {
    /* First: before there is a helper. */
    CASE(without_a_helper_errno_stays_too),
    CASE(a_call_that_takes_long_is_looked_after_by_another_thread),
    CASE(many_short_ones_cost_no_look),
    CASE(where_nobody_looks_nothing_happens),
    CASE(waiting_looks_by_itself),
};

TAP_MAIN(tests)
