/* What a confined process may not do any more, and what it still may. */
#include "config.h"

#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

extern char **environ;

/* How a confined child ended in which act() was called; 0 when it said true. */
static int
in_a_confined_child(bool (*act)(void))
{
	struct sgate_error err;
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		if (confine(&err) != SGATE_OK)
			_exit(99);
		_exit(act() ? 0 : 1);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
assert_killed(bool (*act)(void))
{
	int status = in_a_confined_child(act);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static bool
start_a_program(void)
{
	char *argv[] = {(char *)(uintptr_t) "true", NULL};

	execve("/bin/true", argv, environ);
	return true;
}

static bool
start_a_program_by_descriptor(void)
{
	char *argv[] = {(char *)(uintptr_t) "true", NULL};
	int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);

	fexecve(fd, argv, environ);
	return true;
}

/* What a child does is confined as well. */
static bool
start_a_program_in_a_child(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(start_a_program() ? 0 : 1);
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL); /* cmocka has a handler */
		raise(WTERMSIG(status));
	}
	return true;
}

static bool
make_a_namespace(void)
{
	(void)unshare(CLONE_NEWNS);
	return true;
}

static bool
clone_with(unsigned long flags)
{
	long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return true;
}

static bool
make_a_namespace_of_users(void)
{
	return clone_with(CLONE_NEWUSER);
}

static bool
make_one_beside_other_flags(void)
{
	return clone_with(CLONE_FS | CLONE_NEWPID);
}

/* Its flags are not to be seen: the kernel seems to be older. */
static bool
has_no_clone3(void)
{
	return syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS;
}

static bool
mount_something(void)
{
	(void)mount("none", "/tmp", "tmpfs", 0, NULL);
	return true;
}

static bool
become_somebody(void)
{
	return setuid(getuid()) == 0;
}

static void *
in_a_thread(void *arg)
{
	return arg;
}

/* A process, a thread, a file, a socket; and no rights by set-uid files. */
static bool
work(void)
{
	char text[] = "as it was";
	pthread_t thread;
	void *back = NULL;
	int status = -1, fd, ends[2];
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return false;
	if (pthread_create(&thread, NULL, in_a_thread, text) != 0 ||
	    pthread_join(thread, &back) != 0 || back != text)
		return false;
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0 || write(fd, text, 1) != 1 || close(fd) != 0)
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 ||
	    close(ends[0]) != 0 || close(ends[1]) != 0)
		return false;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

static void
it_is_killed_when_it_starts_a_program(void **state)
{
	(void)state;
	assert_killed(start_a_program);
	assert_killed(start_a_program_by_descriptor);
	assert_killed(start_a_program_in_a_child);
}

static void
it_is_killed_when_it_changes_what_it_sees_or_is(void **state)
{
	(void)state;
	assert_killed(make_a_namespace);
	assert_killed(make_a_namespace_of_users);
	assert_killed(make_one_beside_other_flags);
	assert_int_equal(in_a_confined_child(has_no_clone3), 0);
	assert_killed(mount_something);
	assert_killed(become_somebody);
}

static void
its_own_work_goes_on(void **state)
{
	(void)state;
	assert_int_equal(in_a_confined_child(work), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(it_is_killed_when_it_starts_a_program),
    cmocka_unit_test(it_is_killed_when_it_changes_what_it_sees_or_is),
    cmocka_unit_test(its_own_work_goes_on),
};

TAP_MAIN(tests)
