/*
 * The places of a process's connections, and its epoll set: which connection
 * stands where, until when it may stay there, and which goes when places run
 * out. It closes; it neither reads nor writes.
 */
#ifndef SESSGATE_CONNS_H
#define SESSGATE_CONNS_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "head.h"
#include "listener.h"

#define CONNS_MAX 512

enum conn_state {
	CONN_FREE,
	CONN_BUSY,      /* in hand: just accepted, or being served */
	CONN_WAITING,   /* for the rest of its request */
	CONN_SENDING,   /* answered, for the peer to take the rest of it */
	CONN_LINGERING, /* answered, for the peer's end */
	CONN_KEPT       /* answered, for the next request */
};

/* What has come of a request that comes in pieces. */
struct pending {
	struct head_parser parser;
	struct buf bytes;
};

/* What a peer has not taken yet of its answer. */
struct unsent {
	struct buf bytes;
	size_t sent;
	enum conn_state next; /* CONN_FREE: close it */
};

struct conn {
	enum conn_state state;
	int fd;
	uint32_t watched; /* in the epoll set, for these events; 0: not in it */
	/* Has come from another process, whose copy may live for a moment. */
	bool is_given;
	bool was_kept;         /* a request has been answered on it */
	uint32_t generation;   /* tells late events of an earlier connection */
	uint16_t older, newer; /* or none; free ones are linked by newer */
	const struct listener *listener;
	int64_t until_ms;
	struct pending *pending; /* NULL: nothing has come yet */
	struct unsent *unsent;   /* NULL: nothing is left to be sent */
	size_t lingered;
};

/* By age. One timeout a list, so the oldest is the next to be late. */
struct conn_list {
	uint16_t oldest, newest;
	size_t count;
	int64_t timeout_ms;
};

struct conns {
	int epoll_fd;
	struct conn items[CONNS_MAX + 1]; /* one of them in hand */
	uint16_t first_free;
	struct conn_list waiting; /* sending and lingering, too */
	struct conn_list kept;
	size_t max;         /* of both lists */
	size_t pending_len; /* bytes that wait, pending or unsent */
};

/* -1, with errno: the system gives no epoll set. */
int conns_init(
    struct conns *conns, int64_t read_timeout_ms, int64_t keep_timeout_ms);
void conns_clear(struct conns *conns);

/* An event's data, for epoll; below 2^63. */
uint64_t conns_event_data(const struct conns *conns, const struct conn *conn);
/* NULL when the connection that it was for has gone or is in hand. */
struct conn *conns_find(struct conns *conns, uint64_t data);

/*
 * A place for fd, in hand. There always is one when none is in hand. It takes
 * fd over.
 */
struct conn *conns_take(
    struct conns *conns, const struct listener *listener, int fd);
/* Out of its list, to be served. */
void conns_hold(struct conns *conns, struct conn *conn);
/* When they are full, one has to go before conns_wait(). */
bool conns_are_full(const struct conns *conns);
/*
 * One in hand into a list, as its newest, and into the epoll set. False: the
 * set does not take it, it is closed.
 */
bool conns_wait(struct conns *conns, struct conn *conn, enum conn_state state);
void conns_close(struct conns *conns, struct conn *conn);
void conns_forget_pending(struct conns *conns, struct conn *conn);
void conns_forget_unsent(struct conns *conns, struct conn *conn);

/*
 * Who goes first when places run out: the one that is kept longest, then the
 * one that waits longest. NULL: there is none.
 */
struct conn *conns_oldest(struct conns *conns);
struct conn *conns_oldest_kept(struct conns *conns);
struct conn *conns_oldest_waiting(struct conns *conns);
/* One whose time is over, or NULL. */
struct conn *conns_late(struct conns *conns, int64_t now_ms);
/* Those that are kept now have no more time than that. */
void conns_hurry_kept(struct conns *conns, int64_t left_ms);
/* When the next one's time is over; INT64_MAX: never. */
int64_t conns_next_ms(const struct conns *conns);
static inline size_t
conns_count(const struct conns *conns)
{
	return conns->waiting.count + conns->kept.count;
}

#endif
