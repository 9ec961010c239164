/*
 * Accepting, waiting, serving, keeping: one epoll set a process (conns.c).
 *
 * What stands in a new connection is received at once, into memory of our own,
 * and judged. Web servers write a request in one piece, so it mostly is all
 * there and is answered: accept4, recv, send, close (front_serve.c). Otherwise
 * the connection waits in the set, and what comes is added to what has come
 * (front_wait.c).
 *
 * A connection that the web server wants to use again stays in the set, so it
 * pins nobody. It belongs to one worker, though, and that one may be about to
 * wait for a store, or have more to do than others: then it gives connections
 * that can be read to whoever is free, and a worker that ends gives all it has
 * (front_share.c).
 *
 * Limits: read_timeout from accepting, or from the first byte on a kept one,
 * to the last byte; the same again for an answer that waits, from its begin to
 * its last byte; keep_timeout between two requests; CONNS_MAX connections
 * (or half of the descriptors) and FRONT_PENDING_MAX bytes that wait in a
 * process; the oldest goes first, where places lack those between two requests
 * before the others.
 */
#include "config.h"

#include "front.h"

#include "clock.h"
#include "conns.h"
#include "fcgi.h"
#include "front_own.h"
#include "log.h"
#include "session_manager.h"
#include "status.h"
#include "wait.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Headers and padding of the records that carry params and body. */
#define RECORDS_OVERHEAD (32u << 10)
/* Of kept connections that can be read at once, others may have what is more.
 */
#define SHARE_ABOVE 16
#define PAUSE_MS 1000
/* How many a process takes from each backlog when only itself stops. */
#define STOP_TAKES 64
#define STOP_TAKES_ALL 65536
/* How long what is kept may still ask when all stops. */
#define STOP_KEPT_MS 200

/* Marks an event's data as a listener's index. */
#define EVENT_LISTENER (UINT64_C(1) << 63)
#define EVENT_HANDOVER UINT64_MAX

/* ---- accepting ---- */

bool
front_is_mine(const struct front *front, size_t index)
{
	return front->options.listeners->items[index].is_keeper ==
	       front->options.is_keeper;
}

static bool
source_add(struct front *front, int fd, uint64_t data)
{
	/* Exclusive: a connection wakes one process, not all of them. */
	struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE};

	event.data.u64 = data;
	return epoll_ctl(front->conns.epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Where connections come from: listeners, and other workers. */
static bool
add_sources(struct front *front)
{
	const struct listeners *listeners = front->options.listeners;
	int take_fd = front->handover.take_fd;
	size_t i;

	for (i = 0; i < listeners->count; i++) {
		if (front_is_mine(front, i) &&
		    !source_add(
			front, listeners->items[i].fd, EVENT_LISTENER | i))
			return false;
	}
	return take_fd < 0 || source_add(front, take_fd, EVENT_HANDOVER);
}

static void
remove_sources(struct front *front)
{
	const struct listeners *listeners = front->options.listeners;
	int epoll_fd = front->conns.epoll_fd;
	size_t i;

	for (i = 0; i < listeners->count; i++) {
		if (front_is_mine(front, i))
			epoll_ctl(epoll_fd, EPOLL_CTL_DEL,
			    listeners->items[i].fd, NULL);
	}
	if (front->handover.take_fd >= 0)
		epoll_ctl(
		    epoll_fd, EPOLL_CTL_DEL, front->handover.take_fd, NULL);
}

/* Without descriptors the listener would stay ready and the process spin. */
static void
pause_accepting(struct front *front)
{
	static struct log_limit limit = {.burst = 1, .period_ms = 60000};

	log_limited(&limit, LOG_LEVEL_WARNING,
	    "accept: %s; accepting nothing for %d ms", strerror(errno),
	    PAUSE_MS);
	remove_sources(front);
	front->paused_until_ms = clock_monotonic_ms() + PAUSE_MS;
}

static void
resume_accepting(struct front *front, int64_t now_ms)
{
	if (front->paused_until_ms == 0 || now_ms < front->paused_until_ms)
		return;
	front->paused_until_ms = 0;
	if (!add_sources(front))
		pause_accepting(front);
}

bool
front_accept_one(
    struct front *front, const struct listener *listener, int *served)
{
	int fd =
	    accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && errno == EMFILE && conns_count(&front->conns) > 0) {
		front_evict_oldest(front);
		return true;
	}
	if (fd < 0) {
		if (!front->is_stopped &&
		    (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			errno == ENOMEM))
			pause_accepting(front);
		return false;
	}
	front_receive(front, conns_take(&front->conns, listener, fd), served);
	return true;
}

/* ---- the process's side ---- */

enum sgate_status
front_new(struct gateway *gw, const struct front_options *options,
    struct front **out, struct sgate_error *err)
{
	struct front *front;

	*out = NULL;
	error_clear(err);
	front = calloc(1, sizeof(*front));
	if (front == NULL)
		return error_memory(err, "front");
	front->gw = gw;
	front->options = *options;
	front->handover.give_fd = front->handover.take_fd = -1;
	if (options->handover != NULL)
		front->handover = *options->handover;
	front->params_max = gw->conf->gateway.params_max_bytes;
	front->body_max = gw->conf->gateway.body_max_bytes;
	front->read_timeout_ms = gw->conf->gateway.read_timeout_ms;
	front->keep_timeout_ms = gw->conf->gateway.keep_timeout_ms;
	front->request_max =
	    front->params_max + front->body_max + RECORDS_OVERHEAD;
	if (conns_init(&front->conns, front->read_timeout_ms,
		front->keep_timeout_ms) != 0) {
		error_set(err, SGATE_INTERNAL, "front", "epoll_create1", errno,
		    "%s", strerror(errno));
		goto fail;
	}
	front->scratch = malloc(front->request_max);
	if (front->scratch == NULL) {
		error_memory(err, "front");
		goto fail;
	}
	if (fcgi_new(&front->fcgi, err) != SGATE_OK)
		goto fail;
	if (!add_sources(front)) {
		error_set(err, SGATE_INTERNAL, "front", "epoll_ctl", errno,
		    "a listener: %s", strerror(errno));
		goto fail;
	}
	if (front->handover.give_fd >= 0)
		wait_set_look(front_look_after_conns, front);
	if (gw->mgr != NULL)
		manager_set_gather(gw->mgr, front_gather_one, front);
	front_set_state(front, SHARED_IDLE, clock_monotonic_us());
	*out = front;
	return SGATE_OK;

fail:
	front_free(front);
	return err != NULL ? err->status : SGATE_INTERNAL;
}

/* is_shared: others are free, and have it when it can be given. */
static void
conn_ready(struct front *front, uint64_t data, bool is_shared, int *served)
{
	struct conn *conn = conns_find(&front->conns, data);

	if (conn == NULL)
		return;
	if (is_shared && front_may_give(conn) && front_give(front, conn))
		return;
	if (conn->state == CONN_LINGERING)
		front_linger(front, conn);
	else if (conn->state == CONN_SENDING)
		front_send(front, conn);
	else
		front_receive(front, conn, served);
}

static int
wait_ms(const struct front *front, int timeout_ms)
{
	int64_t until_ms = conns_next_ms(&front->conns);
	int left_ms;

	if (front->paused_until_ms != 0 && front->paused_until_ms < until_ms)
		until_ms = front->paused_until_ms;
	if (until_ms == INT64_MAX)
		return timeout_ms;
	left_ms = clock_left_ms(until_ms);
	return timeout_ms < 0 || left_ms < timeout_ms ? left_ms : timeout_ms;
}

static void
source_ready(struct front *front, uint64_t data, int *served)
{
	if (front->paused_until_ms != 0 || front->is_stopped)
		return;
	if (data == EVENT_HANDOVER)
		front_take_one(front, served);
	else
		front_accept_one(front,
		    &front->options.listeners->items[data & ~EVENT_LISTENER],
		    served);
}

int
front_step(struct front *front, int timeout_ms, const sigset_t *wait_mask)
{
	struct epoll_event events[FRONT_EVENTS_MAX] BUF_NO_ZEROS;
	bool is_shared = false;
	int64_t now_ms;
	int served = 0, count, i;
	uint64_t data;

	count = epoll_pwait(front->conns.epoll_fd, events, FRONT_EVENTS_MAX,
	    wait_ms(front, timeout_ms), wait_mask);
	if (count < 0)
		return errno == EINTR ? 0 : -1;
	/*
	 * One connection of each source and one piece of each that waits: the
	 * kernel puts what stays ready behind what became so meanwhile.
	 */
	for (i = 0; i < count; i++) {
		data = events[i].data.u64;
		if (i == SHARE_ABOVE)
			is_shared = front_others_are_idle(front);
		if ((data & EVENT_LISTENER) == 0)
			conn_ready(front, data, is_shared, &served);
		else
			source_ready(front, data, &served);
	}
	served += front->inner_served;
	front->inner_served = 0;
	if (conns_count(&front->conns) == 0 && front->paused_until_ms == 0)
		return served;
	now_ms = clock_monotonic_ms();
	front_close_late(front, now_ms, &served);
	if (!front->is_stopped)
		resume_accepting(front, now_ms);
	return served;
}

/* ---- the end ---- */

void
front_stop(struct front *front, bool drain_all)
{
	int limit = drain_all ? STOP_TAKES_ALL : STOP_TAKES;
	int served = 0, taken;
	size_t i;

	if (front->is_stopped)
		return;
	front->is_stopped = true;
	front->gives = !drain_all && front->handover.give_fd >= 0;
	front_set_state(front, SHARED_STOPPING, clock_monotonic_us());
	/* First out of the set, so that no further wake-up comes here. */
	remove_sources(front);
	for (i = 0; i < front->options.listeners->count; i++) {
		if (!front_is_mine(front, i))
			continue;
		for (taken = 0; taken < limit; taken++) {
			if (!front_accept_one(front,
				&front->options.listeners->items[i], &served))
				break;
		}
	}
	if (front->gives) {
		front_give_one_on(front);
		front_give_kept(front, &served);
		return;
	}
	for (taken = 0; taken < limit && front_take_one(front, &served);)
		taken++;
	/*
	 * A web server that has just looked whether its connection is open may
	 * be about to write into it. One that is in use is closed behind its
	 * next answer, when nobody is.
	 */
	conns_hurry_kept(&front->conns, STOP_KEPT_MS);
}

size_t
front_waiting(const struct front *front)
{
	return conns_count(&front->conns);
}

void
front_free(struct front *front)
{
	struct conn *conn;

	if (front == NULL)
		return;
	wait_set_look(NULL, NULL);
	if (front->gw->mgr != NULL)
		manager_set_gather(front->gw->mgr, NULL, NULL);
	front_gather_clear(front);
	while ((conn = conns_oldest(&front->conns)) != NULL)
		front_refuse(front, conn);
	conns_clear(&front->conns);
	fcgi_free(front->fcgi);
	buf_wipe(&front->answer);
	buf_wipe(&front->rest);
	free(front->scratch);
	free(front);
}
