/* The number that says which process this is. */
#include "config.h"

#include "forks.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

/* Whether a child says so; of is_so() with what the parent had. */
static bool
in_child(bool (*is_so)(unsigned before), unsigned before)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(is_so(before) ? 0 : 1);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool
is_another(unsigned before)
{
	return forks_count() != before;
}

static bool
has_other_children(unsigned before)
{
	return is_another(before) && in_child(is_another, forks_count()) &&
	       in_child(is_another, before);
}

static void
it_is_the_same_in_one_process(void **state)
{
	unsigned count = forks_count();

	(void)state;
	assert_true(in_child(is_another, count));
	assert_int_equal(forks_count(), count);
}

static void
it_is_another_in_a_child(void **state)
{
	(void)state;
	assert_true(in_child(is_another, forks_count()));
}

static void
it_is_a_third_one_in_a_child_of_a_child(void **state)
{
	(void)state;
	assert_true(in_child(has_other_children, forks_count()));
}

static void *
count(void *arg)
{
	*(unsigned *)arg = forks_count();
	return NULL;
}

static void
it_is_the_same_in_all_threads(void **state)
{
	unsigned counted = forks_count() + 1;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, count, &counted), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(counted, forks_count());
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(it_is_the_same_in_one_process),
    cmocka_unit_test(it_is_another_in_a_child),
    cmocka_unit_test(it_is_a_third_one_in_a_child_of_a_child),
    cmocka_unit_test(it_is_the_same_in_all_threads),
};

TAP_MAIN(tests)
