/*
 * Connections change hands (handover.h): a worker that waits for a store, has
 * more to do than others, or ends, gives what can be read to whoever is free.
 */
#include "config.h"

#include "front_own.h"

#include "clock.h"
#include "wait.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

/* How long a process that ends waits for room to give its connections away. */
#define GIVE_MS 200

bool
front_may_give(const struct conn *conn)
{
	return conn->pending == NULL &&
	       (conn->state == CONN_KEPT || conn->state == CONN_WAITING);
}

bool
front_give(struct front *front, struct conn *conn)
{
	struct handover_note note = {
	    .listener =
		(uint32_t)(conn->listener - front->options.listeners->items),
	    .was_kept = conn->was_kept,
	};

	if (!handover_give(&front->handover, conn->fd, &note))
		return false;
	conn->is_given = true;
	conns_close(&front->conns, conn);
	return true;
}

bool
front_others_are_idle(const struct front *front)
{
	struct shared_worker *row = front->gw->shared->workers;
	struct shared_worker *end = row + SHARED_WORKERS_MAX;

	if (front->handover.give_fd < 0)
		return false;
	for (; row < end; row++) {
		if (row != front->options.slot &&
		    atomic_load_explicit(&row->state, memory_order_relaxed) ==
			SHARED_IDLE)
			return true;
	}
	return false;
}

/* By whichever thread waits (wait.h). */
void
front_look_after_conns(void *arg)
{
	struct front *front = arg;
	struct epoll_event events[FRONT_EVENTS_MAX];
	struct conn *conn;
	int count, i;

	if (conns_count(&front->conns) == 0 || !front_others_are_idle(front))
		return;
	count = epoll_wait(front->conns.epoll_fd, events, FRONT_EVENTS_MAX, 0);
	for (i = 0; i < count; i++) {
		conn = conns_find(&front->conns, events[i].data.u64);
		if (conn != NULL && front_may_give(conn) &&
		    !front_give(front, conn))
			return;
	}
}

bool
front_take_one(struct front *front, int *served)
{
	const struct listeners *listeners = front->options.listeners;
	struct handover_note note;
	struct conn *conn;
	int fd = handover_take(&front->handover, &note);

	if (fd < 0)
		return false;
	if (note.listener >= listeners->count ||
	    !front_is_mine(front, note.listener)) {
		close(fd);
		return true;
	}
	conn = conns_take(&front->conns, &listeners->items[note.listener], fd);
	conn->is_given = true;
	conn->was_kept = note.was_kept != 0;
	front_receive(front, conn, served);
	return true;
}

/*
 * A wake-up for what others give may have been meant for this process: one
 * that is given on wakes another, who then takes all.
 */
void
front_give_one_on(struct front *front)
{
	struct handover_note note;
	int fd = handover_take(&front->handover, &note);

	if (fd < 0)
		return;
	handover_give(&front->handover, fd, &note);
	close(fd);
}

static bool
wait_to_give(const struct front *front, int64_t deadline_ms)
{
	struct pollfd poll_fd = {
	    .fd = front->handover.give_fd, .events = POLLOUT};

	return poll(&poll_fd, 1, clock_left_ms(deadline_ms)) == 1;
}

/*
 * A request that stands in one that is closed would be lost, so those that
 * nobody takes are looked at once more.
 */
void
front_give_kept(struct front *front, int *served)
{
	int64_t deadline_ms = clock_monotonic_ms() + GIVE_MS;
	struct conn *conn;
	bool is_given;

	while ((conn = conns_oldest_kept(&front->conns)) != NULL) {
		is_given = front_give(front, conn);
		if (!is_given && errno == EAGAIN &&
		    wait_to_give(front, deadline_ms))
			continue;
		if (is_given)
			continue;
		conns_hold(&front->conns, conn);
		front_receive(front, conn, served);
	}
}
