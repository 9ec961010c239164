/*
 * What the files of the front share, and nobody else sees:
 *
 *   front.c         the process's side: accepting, waiting for events, the end
 *   front_serve.c   a request: received, judged, answered
 *   front_wait.c    connections that wait, and who goes when places run out
 *   front_share.c   connections that change hands between workers
 *   front_gather.c  requests that are served within another's
 *
 * A check that the local cache answers goes through the first two alone.
 */
#ifndef SESSGATE_FRONT_OWN_H
#define SESSGATE_FRONT_OWN_H

#include "front.h"

#include "conns.h"
#include "plain.h"

/* How many requests are served within one another. */
#define FRONT_INNER_MAX 32
/* Bytes that wait in a process. */
#define FRONT_PENDING_MAX (16u << 20)
#define FRONT_EVENTS_MAX 64

struct fcgi;

/* What one request needs while it is served. */
struct desk {
	struct fcgi *fcgi;
	char *scratch;
	struct buf answer;
};

struct front {
	struct gateway *gw;
	struct front_options options;
	struct handover handover;
	struct fcgi *fcgi;
	bool is_stopped;
	bool gives;              /* what is kept, though it is stopped */
	int64_t paused_until_ms; /* 0 = accepting */

	size_t params_max, body_max, request_max;
	int64_t read_timeout_ms, keep_timeout_ms;
	char *scratch; /* request_max bytes: what was just received */
	size_t scratch_used;
	struct head_parser parser; /* of a request that is all in scratch */
	/* Of a plain one that was received. It is a check, which creates
	 * nothing: no other is served within it. */
	struct plain plain;
	struct request request;
	struct buf answer;
	struct buf rest; /* of the answer, that the peer has not taken */
	struct conns conns;

	/* Requests that are served within another's: front_gather.c. */
	const struct listener *serving; /* where the running one came from */
	struct desk inner[FRONT_INNER_MAX];
	unsigned depth; /* how many run, beside the outermost */
	int inner_served;
};

static inline void
front_count_bad_peer(const struct front *front)
{
	tally_add(&front->gw->tally->counters[TALLY_BAD_PEERS], 1);
}

/* ---- front.c ---- */

/* Whether this process takes connections of the listener of that index. */
bool front_is_mine(const struct front *front, size_t index);
/* False: there was none, or it cannot be taken before something changes. */
bool front_accept_one(
    struct front *front, const struct listener *listener, int *served);

/* ---- front_serve.c ---- */

/*
 * Read what a connection that is in hand, or can be read, has; serve it when
 * that makes the request whole. *served counts those that were.
 */
void front_receive(struct front *front, struct conn *conn, int *served);
/* The peer can take more of its answer. */
void front_send(struct front *front, struct conn *conn);
/* The process's own row in shared memory, from this moment on. */
void front_set_state(
    struct front *front, enum shared_worker_state state, int64_t since_us);

/* ---- front_wait.c ---- */

/* A peer that broke off, was too slow or sent what is no request. */
void front_refuse(struct front *front, struct conn *conn);
void front_wait(struct front *front, struct conn *conn, enum conn_state state);
/* Throw away what comes, until the peer closes. */
void front_linger(struct front *front, struct conn *conn);
void front_close_late(struct front *front, int64_t now_ms, int *served);
void front_evict_oldest(struct front *front);
/* Until no more bytes wait than may. */
void front_evict_pending(struct front *front);
static inline void
front_limit_pending(struct front *front)
{
	if (front->conns.pending_len > FRONT_PENDING_MAX)
		front_evict_pending(front);
}

/* ---- front_share.c ---- */

/* Nothing that has been read may be missing in what another gets. */
bool front_may_give(const struct conn *conn);
/* False: it is still here. */
bool front_give(struct front *front, struct conn *conn);
/* Whether another worker waits for something to do. */
bool front_others_are_idle(const struct front *front);
/* wait_set_look()'s: what others can serve while this one waits, they may. */
void front_look_after_conns(void *arg);
/* As front_accept_one(), of what other workers give. */
bool front_take_one(struct front *front, int *served);
/* All that are kept, to whoever takes them; those that nobody takes are looked
 * at once more. */
void front_give_kept(struct front *front, int *served);
/* What another has given and nobody taken yet. */
void front_give_one_on(struct front *front);

/* ---- front_gather.c ---- */

/* manager_set_gather()'s: one of those who wait at the same listener. */
bool front_gather_one(void *arg);
void front_gather_clear(struct front *front);

#endif
