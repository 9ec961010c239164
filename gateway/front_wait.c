/*
 * Connections that wait, as what comes of them is told by epoll: for the rest
 * of their request, for room for the rest of their answer, for the peer's end,
 * for the next request. Each for so long, and so many (front.c's limits); who
 * stands longest goes first, those between two requests before the others.
 */
#include "config.h"

#include "front_own.h"

#include "log.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define LINGER_MAX (16u << 20)

void
front_refuse(struct front *front, struct conn *conn)
{
	if (conn->state != CONN_LINGERING && conn->state != CONN_KEPT)
		front_count_bad_peer(front);
	conns_close(&front->conns, conn);
}

/*
 * Whether the web server has sent something since. It takes the end of an idle
 * connection for nothing, and that of one that it has just used for an error.
 */
static bool
conn_has_request(const struct conn *conn)
{
	char byte;

	return conn->state == CONN_KEPT &&
	       recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* One that asks just now is given away: to whoever has a place for it. */
static void
conn_evict(struct front *front, struct conn *oldest)
{
	static struct log_limit limit = {.burst = 1, .period_ms = 60000};

	log_limited(&limit, LOG_LEVEL_WARNING,
	    "too many connections wait (%zu unfinished with %zu bytes, %zu "
	    "kept): closing the oldest",
	    front->conns.waiting.count, front->conns.pending_len,
	    front->conns.kept.count);
	if (!conn_has_request(oldest) || !front_give(front, oldest))
		front_refuse(front, oldest);
}

void
front_evict_oldest(struct front *front)
{
	conn_evict(front, conns_oldest(&front->conns));
}

/* Those between two requests hold no bytes: to close them frees none. */
void
front_evict_pending(struct front *front)
{
	struct conn *oldest;

	while (front->conns.pending_len > FRONT_PENDING_MAX &&
	       (oldest = conns_oldest_waiting(&front->conns)) != NULL)
		conn_evict(front, oldest);
}

void
front_wait(struct front *front, struct conn *conn, enum conn_state state)
{
	conns_hold(&front->conns, conn);
	if (conns_are_full(&front->conns))
		front_evict_oldest(front);
	/* Closed when the set does not take it. */
	if (!conns_wait(&front->conns, conn, state))
		front_count_bad_peer(front);
}

void
front_close_late(struct front *front, int64_t now_ms, int *served)
{
	struct conn *conn;

	while ((conn = conns_late(&front->conns, now_ms)) != NULL) {
		if (conn_has_request(conn))
			front_receive(front, conn, served);
		else
			front_refuse(front, conn);
	}
}

void
front_linger(struct front *front, struct conn *conn)
{
	ssize_t n =
	    recv(conn->fd, front->scratch, front->request_max, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		explicit_bzero(front->scratch, (size_t)n);
		conn->lingered += (size_t)n;
		if (conn->lingered <= LINGER_MAX)
			return;
	}
	conns_close(&front->conns, conn);
}
