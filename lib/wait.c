#include "config.h"

#include "wait.h"

#include "clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* How long somebody else may be kept waiting before we look again. */
#define SLICE_US 2000
#define SLICE_ALONE_US 3600000000

/* A call that is to be short may take this long; and between two looks. */
#define BLOCKED_NS 10000000
#define BLOCKED_AGAIN_NS 3000000

static struct {
	pthread_mutex_t lock; /* whoever looks has it */
	void (*look)(void *arg);
	void *arg;
	bool is_blocked;
	bool has_helper;
	int timer_fd; /* the helper's; it wakes when a call takes long */
} others = {.lock = PTHREAD_MUTEX_INITIALIZER, .timer_fd = -1};

void
wait_set_look(void (*look)(void *arg), void *arg)
{
	pthread_mutex_lock(&others.lock);
	others.look = look;
	others.arg = arg;
	pthread_mutex_unlock(&others.lock);
}

void
wait_look(void)
{
	pthread_mutex_lock(&others.lock);
	if (others.look != NULL)
		others.look(others.arg);
	pthread_mutex_unlock(&others.lock);
}

/* ---- where nobody can look ---- */

static void *
help(void *arg)
{
	uint64_t times;
	ssize_t n;

	(void)arg;
	for (;;) {
		n = read(others.timer_fd, &times, sizeof(times));
		if (n < 0 && errno != EINTR)
			return NULL;
		pthread_mutex_lock(&others.lock);
		if (others.is_blocked && others.look != NULL)
			others.look(others.arg);
		pthread_mutex_unlock(&others.lock);
	}
}

/* Signals are the first thread's. Without a helper the others wait, too. */
static void
start_helper(void)
{
	sigset_t all, before;
	pthread_t thread;

	others.has_helper = true;
	others.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (others.timer_fd < 0)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, help, NULL) == 0) {
		pthread_detach(thread);
	} else {
		close(others.timer_fd);
		others.timer_fd = -1;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void
set_blocked(bool is_blocked)
{
	const struct itimerspec soon = {{0, BLOCKED_AGAIN_NS}, {0, BLOCKED_NS}};
	const struct itimerspec never = {{0, 0}, {0, 0}};
	int before = errno;

	if (others.look == NULL)
		return;
	if (!others.has_helper)
		start_helper();
	if (others.timer_fd >= 0) {
		pthread_mutex_lock(&others.lock);
		others.is_blocked = is_blocked;
		pthread_mutex_unlock(&others.lock);
		timerfd_settime(
		    others.timer_fd, 0, is_blocked ? &soon : &never, NULL);
	}
	errno = before;
}

void
wait_block(void)
{
	set_blocked(true);
}

void
wait_unblock(void)
{
	set_blocked(false);
}

/* ---- poll ---- */

int
wait_ready(int fd, short events, int64_t deadline_us)
{
	struct pollfd poller = {.fd = fd, .events = events};
	int64_t left_us, part_us;
	int ready;

	for (;;) {
		wait_look();
		left_us = deadline_us - clock_monotonic_us();
		if (left_us < 0)
			left_us = 0;
		part_us = others.look != NULL ? SLICE_US : SLICE_ALONE_US;
		if (part_us > left_us)
			part_us = left_us;
		ready = poll(&poller, 1, (int)((part_us + 999) / 1000));
		if (ready > 0 || (ready < 0 && errno != EINTR))
			return ready;
		if (ready == 0 && part_us == left_us) {
			errno = ETIMEDOUT;
			return 0;
		}
	}
}
