#include "config.h"

#include "conns.h"

#include "clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define NONE UINT16_MAX

/*
 * How many connections may wait: half of the descriptors at most. The rest is
 * for accepting, for the store, and for what the process has open anyway.
 */
static uint16_t
count_places(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
	    limit.rlim_cur / 2 >= CONNS_MAX)
		return CONNS_MAX;
	return limit.rlim_cur < 2 ? 1 : (uint16_t)(limit.rlim_cur / 2);
}

static void
list_init(struct conn_list *list, int64_t timeout_ms)
{
	list->oldest = list->newest = NONE;
	list->timeout_ms = timeout_ms;
}

int
conns_init(
    struct conns *conns, int64_t read_timeout_ms, int64_t keep_timeout_ms)
{
	uint16_t i;

	memset(conns, 0, sizeof(*conns));
	list_init(&conns->waiting, read_timeout_ms);
	list_init(&conns->kept, keep_timeout_ms);
	conns->max = count_places();
	for (i = 0; i <= conns->max; i++) {
		conns->items[i].fd = -1;
		conns->items[i].newer =
		    i < conns->max ? (uint16_t)(i + 1) : NONE;
	}
	conns->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return conns->epoll_fd < 0 ? -1 : 0;
}

void
conns_clear(struct conns *conns)
{
	struct conn *conn;

	while ((conn = conns_oldest(conns)) != NULL)
		conns_close(conns, conn);
	if (conns->epoll_fd >= 0)
		close(conns->epoll_fd);
	conns->epoll_fd = -1;
}

/* ---- lists ---- */

/* The list that a connection in this state stands in, or NULL. */
static struct conn_list *
list_of(struct conns *conns, enum conn_state state)
{
	switch (state) {
	case CONN_WAITING:
	case CONN_SENDING:
	case CONN_LINGERING:
		return &conns->waiting;
	case CONN_KEPT:
		return &conns->kept;
	case CONN_FREE:
	case CONN_BUSY:
		break;
	}
	return NULL;
}

static void
list_remove(struct conns *conns, struct conn_list *list, struct conn *conn)
{
	if (conn->older != NONE)
		conns->items[conn->older].newer = conn->newer;
	else
		list->oldest = conn->newer;
	if (conn->newer != NONE)
		conns->items[conn->newer].older = conn->older;
	else
		list->newest = conn->older;
	list->count--;
}

static void
list_add_newest(struct conns *conns, struct conn_list *list, struct conn *conn)
{
	uint16_t index = (uint16_t)(conn - conns->items);

	conn->until_ms = clock_monotonic_ms() + list->timeout_ms;
	conn->older = list->newest;
	conn->newer = NONE;
	if (list->newest != NONE)
		conns->items[list->newest].newer = index;
	else
		list->oldest = index;
	list->newest = index;
	list->count++;
}

/* ---- places ---- */

uint64_t
conns_event_data(const struct conns *conns, const struct conn *conn)
{
	return (uint64_t)conn->generation << 16 |
	       (uint64_t)(conn - conns->items);
}

struct conn *
conns_find(struct conns *conns, uint64_t data)
{
	struct conn *conn = &conns->items[(data & 0xffff) % (CONNS_MAX + 1)];

	if (list_of(conns, conn->state) == NULL ||
	    conns_event_data(conns, conn) != data)
		return NULL;
	return conn;
}

struct conn *
conns_take(struct conns *conns, const struct listener *listener, int fd)
{
	struct conn *conn = &conns->items[conns->first_free];

	conns->first_free = conn->newer;
	conn->state = CONN_BUSY;
	conn->fd = fd;
	conn->watched = 0;
	conn->is_given = conn->was_kept = false;
	conn->listener = listener;
	conn->lingered = 0;
	return conn;
}

void
conns_hold(struct conns *conns, struct conn *conn)
{
	struct conn_list *list = list_of(conns, conn->state);

	if (list != NULL)
		list_remove(conns, list, conn);
	conn->state = CONN_BUSY;
}

void
conns_forget_pending(struct conns *conns, struct conn *conn)
{
	if (conn->pending == NULL)
		return;
	conns->pending_len -= conn->pending->bytes.len;
	buf_wipe(&conn->pending->bytes);
	explicit_bzero(&conn->pending->parser, sizeof(conn->pending->parser));
	free(conn->pending);
	conn->pending = NULL;
}

void
conns_forget_unsent(struct conns *conns, struct conn *conn)
{
	if (conn->unsent == NULL)
		return;
	conns->pending_len -= conn->unsent->bytes.len;
	buf_wipe(&conn->unsent->bytes);
	free(conn->unsent);
	conn->unsent = NULL;
}

void
conns_close(struct conns *conns, struct conn *conn)
{
	/*
	 * The last close takes it from the set. While another process still
	 * has it, it would go on to report events for a number that is closed.
	 */
	if (conn->watched != 0 && conn->is_given)
		epoll_ctl(conns->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
	close(conn->fd);
	if (conn->pending != NULL)
		conns_forget_pending(conns, conn);
	if (conn->unsent != NULL)
		conns_forget_unsent(conns, conn);
	conns_hold(conns, conn);
	conn->state = CONN_FREE;
	conn->fd = -1;
	conn->generation = (conn->generation + 1) & 0x7fffffff;
	conn->newer = conns->first_free;
	conns->first_free = (uint16_t)(conn - conns->items);
}

bool
conns_are_full(const struct conns *conns)
{
	return conns_count(conns) >= conns->max;
}

bool
conns_wait(struct conns *conns, struct conn *conn, enum conn_state state)
{
	struct epoll_event event = {
	    .events = state == CONN_SENDING ? EPOLLOUT : EPOLLIN};

	if (conn->watched != event.events) {
		event.data.u64 = conns_event_data(conns, conn);
		if (epoll_ctl(conns->epoll_fd,
			conn->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
			conn->fd, &event) != 0) {
			conns_close(conns, conn);
			return false;
		}
		conn->watched = event.events;
	}
	conn->state = state;
	list_add_newest(conns, list_of(conns, state), conn);
	return true;
}

/* ---- who goes ---- */

struct conn *
conns_oldest_kept(struct conns *conns)
{
	uint16_t index = conns->kept.oldest;

	return index == NONE ? NULL : &conns->items[index];
}

struct conn *
conns_oldest_waiting(struct conns *conns)
{
	uint16_t index = conns->waiting.oldest;

	return index == NONE ? NULL : &conns->items[index];
}

struct conn *
conns_oldest(struct conns *conns)
{
	struct conn *kept = conns_oldest_kept(conns);

	return kept != NULL ? kept : conns_oldest_waiting(conns);
}

static struct conn *
list_late(struct conns *conns, const struct conn_list *list, int64_t now_ms)
{
	if (list->oldest == NONE ||
	    conns->items[list->oldest].until_ms > now_ms)
		return NULL;
	return &conns->items[list->oldest];
}

struct conn *
conns_late(struct conns *conns, int64_t now_ms)
{
	struct conn *conn = list_late(conns, &conns->waiting, now_ms);

	return conn != NULL ? conn : list_late(conns, &conns->kept, now_ms);
}

void
conns_hurry_kept(struct conns *conns, int64_t left_ms)
{
	int64_t until_ms = clock_monotonic_ms() + left_ms;
	uint16_t index = conns->kept.oldest;

	for (; index != NONE; index = conns->items[index].newer)
		if (conns->items[index].until_ms > until_ms)
			conns->items[index].until_ms = until_ms;
}

int64_t
conns_next_ms(const struct conns *conns)
{
	int64_t next_ms = INT64_MAX;

	if (conns->waiting.oldest != NONE)
		next_ms = conns->items[conns->waiting.oldest].until_ms;
	if (conns->kept.oldest != NONE &&
	    conns->items[conns->kept.oldest].until_ms < next_ms)
		next_ms = conns->items[conns->kept.oldest].until_ms;
	return next_ms;
}
