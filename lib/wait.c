#include "config.h"

#include "wait.h"

#include "clock.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>

/* How long somebody else may be kept waiting before we look again. */
#define SLICE_US 2000
#define SLICE_ALONE_US 3600000000

static struct {
	void (*look)(void *arg);
	void *arg;
} others;

void
wait_set_look(void (*look)(void *arg), void *arg)
{
	others.look = look;
	others.arg = arg;
}

void
wait_look(void)
{
	if (others.look != NULL)
		others.look(others.arg);
}

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
