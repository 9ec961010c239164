/*
 * Accepting, waiting, serving, keeping: one epoll set a process (conns.c).
 *
 * What stands in a new connection is received at once, into memory of our own,
 * and judged (head.h). Web servers write a request in one piece, so it mostly
 * is all there and is answered: accept4, recv, send, close. Otherwise the
 * connection waits in the set, and what comes is added to what has come and
 * judged as it grows, so that neither the size nor the cut of the pieces
 * matters. libfcgi reads the received bytes (fcgi.c), but for checks of the one
 * form that nearly all have: those are read where they lie (plain.c).
 *
 * A connection that the web server wants to use again stays in the set, so it
 * pins nobody. It belongs to one worker, though, and that one may be about to
 * wait for a store, or have more to do than others: then it gives connections
 * that can be read to whoever is free (handover.h), and a worker that ends
 * gives all it has.
 *
 * Limits: read_timeout from accepting, or from the first byte on a kept one,
 * to the last byte; the same again for an answer that waits, from its begin to
 * its last byte; keep_timeout between two requests; CONNS_MAX connections
 * (or half of the descriptors) and PENDING_MAX bytes that wait in a process;
 * the oldest goes first, where places lack those between two requests before
 * the others.
 *
 * An answer that the peer does not take at once (it is large, or the ones
 * before have not been read) waits in the set, too: it pins nobody.
 *
 * Before a creation is committed, who waits at the same listener is served
 * within its request (gather_one()): the one place where requests stand within
 * each other.
 *
 * An answer is followed by a plain close when nothing can stand unread in the
 * socket. Otherwise (a body larger than is waited for, a check's body) the
 * connection lingers: its writing side is shut, and what comes is thrown away
 * until the peer closes, for read_timeout at most. A close with unread bytes
 * would reset the peer, which may lose the answer.
 */
#include "config.h"

#include "front.h"

#include "buf.h"
#include "clock.h"
#include "conns.h"
#include "fcgi.h"
#include "head.h"
#include "log.h"
#include "plain.h"
#include "session_manager.h"
#include "status.h"
#include "wait.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PENDING_MAX (16u << 20)
#define LINGER_MAX (16u << 20)
/* Headers and padding of the records that carry params and body. */
#define RECORDS_OVERHEAD (32u << 10)
#define EVENTS_MAX 64
/* Of kept connections that can be read at once, others may have what is more.
 */
#define SHARE_ABOVE 16
#define PAUSE_MS 1000
/* How many a process takes from each backlog when only itself stops. */
#define STOP_TAKES 64
#define STOP_TAKES_ALL 65536
/* How many requests are served within one another. */
#define INNER_MAX 32
/* How long what is kept may still ask when all stops. */
#define STOP_KEPT_MS 200
/* How long a process that ends waits for room to give its connections away. */
#define GIVE_MS 200
/* What the memory for answers may keep from one to the next. */
#define ANSWER_KEPT (64u << 10)

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

	/* Requests that are served within another's: gather_one(). */
	const struct listener *serving; /* where the running one came from */
	struct desk inner[INNER_MAX];
	unsigned depth; /* how many run, beside the outermost */
	int inner_served;
};

/* A request that was judged HEAD_COMPLETE. */
struct received {
	struct head head;
	struct sgate_bytes bytes; /* borrowed: the connection's, or scratch */
	bool is_plain;            /* read into front->request */
};

/* Marks an event's data as a listener's index. */
#define EVENT_LISTENER (UINT64_C(1) << 63)
#define EVENT_HANDOVER UINT64_MAX

/* ---- connections that wait ---- */

/* A peer that broke off, was too slow or sent what is no request. */
static void
conn_refuse(struct front *front, struct conn *conn)
{
	if (conn->state != CONN_LINGERING && conn->state != CONN_KEPT)
		shared_count(front->gw->shared, SHARED_BAD_PEERS);
	conns_close(&front->conns, conn);
}

/* ---- giving to others ---- */

/* Nothing that has been read may be missing in what another gets. */
static bool
conn_may_be_given(const struct conn *conn)
{
	return conn->pending == NULL &&
	       (conn->state == CONN_KEPT || conn->state == CONN_WAITING);
}

/* False: it is still here. */
static bool
conn_give(struct front *front, struct conn *conn)
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
	if (!conn_has_request(oldest) || !conn_give(front, oldest))
		conn_refuse(front, oldest);
}

static void
conn_evict_oldest(struct front *front)
{
	conn_evict(front, conns_oldest(&front->conns));
}

/* Those between two requests hold no bytes: to close them frees none. */
static void
limit_pending(struct front *front)
{
	struct conn *oldest;

	while (front->conns.pending_len > PENDING_MAX &&
	       (oldest = conns_oldest_waiting(&front->conns)) != NULL)
		conn_evict(front, oldest);
}

static void
conn_wait(struct front *front, struct conn *conn, enum conn_state state)
{
	conns_hold(&front->conns, conn);
	if (conns_are_full(&front->conns))
		conn_evict_oldest(front);
	/* Closed when the set does not take it. */
	if (!conns_wait(&front->conns, conn, state))
		shared_count(front->gw->shared, SHARED_BAD_PEERS);
}

/* Whether another worker waits for something to do. */
static bool
others_are_idle(const struct front *front)
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

/* While this process waits for a store, by whichever thread (wait.h): what
 * others can serve, they may. */
static void
look_after_conns(void *arg)
{
	struct front *front = arg;
	struct epoll_event events[EVENTS_MAX];
	struct conn *conn;
	int count, i;

	if (conns_count(&front->conns) == 0 || !others_are_idle(front))
		return;
	count = epoll_wait(front->conns.epoll_fd, events, EVENTS_MAX, 0);
	for (i = 0; i < count; i++) {
		conn = conns_find(&front->conns, events[i].data.u64);
		if (conn != NULL && conn_may_be_given(conn) &&
		    !conn_give(front, conn))
			return;
	}
}

/* ---- serving ---- */

static void
set_state(struct front *front, enum shared_worker_state state)
{
	if (front->options.slot == NULL)
		return;
	/* In this order: the master must not see the old moment with BUSY. */
	atomic_store(&front->options.slot->since_ms, clock_monotonic_ms());
	atomic_store(&front->options.slot->state, (int)state);
}

/* Between two requests. That it is since the last one began is near enough. */
static void
set_resting(struct front *front)
{
	if (front->options.slot != NULL)
		atomic_store(&front->options.slot->state,
		    front->is_stopped ? SHARED_STOPPING : SHARED_IDLE);
}

static ssize_t
read_body(void *arg, char *out, size_t max)
{
	return fcgi_read(arg, out, max);
}

/*
 * The peer matters where more than questions are asked: the audit names it.
 */
static void
find_peer(struct serve_input *input, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if ((input->allow & ~(unsigned)(CONF_ALLOW_CHECK | CONF_ALLOW_API)) ==
	    0)
		return;
	/* A TCP socket answers with no user. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
	    peer.uid == (uid_t)-1)
		return;
	input->has_peer = true;
	input->peer_uid = peer.uid;
	input->peer_pid = peer.pid;
}

static void
make_answer(
    struct front *front, const struct conn *conn, const struct received *got)
{
	const struct conf_listener *conf = conn->listener->conf;
	size_t start = front->answer.len;
	struct serve_input input = {
	    .is_authorizer = got->head.is_authorizer,
	    .is_malformed = got->head.is_malformed,
	    .listener = conf,
	    .allow = conf != NULL ? conf->allow : 0,
	    .read_body = read_body,
	    .read_body_arg = front->fcgi,
	};

	if (got->is_plain)
		input.request = &front->request;
	else
		input.params = fcgi_params(front->fcgi);
	find_peer(&input, conn->fd);
	serve(front->gw, &input, &front->answer);
	/* lighttpd takes an empty answer for "allowed". */
	if (buf_failed(&front->answer) || front->answer.len == start) {
		buf_wipe(&front->answer);
		buf_extend(&front->answer, start);
		buf_add_text(&front->answer, serve_unavailable);
	}
}

/* The memory stays for the next one, without what was in it. */
static void
forget_answer(struct front *front)
{
	struct buf *answer = &front->answer;

	if (answer->cap > ANSWER_KEPT || buf_failed(answer)) {
		buf_wipe(answer);
		return;
	}
	if (answer->len > 0)
		explicit_bzero(answer->data, answer->len);
	buf_reset(answer);
}

/* False: the peer has no answer, or not all of it. */
static bool
send_by_library(
    struct front *front, const struct conn *conn, struct sgate_bytes answer)
{
	return fcgi_finish(front->fcgi, conn->fd, answer, &front->rest);
}

/* What is too large for one record is for libfcgi to cut. */
static bool
answer_plain(
    struct front *front, const struct conn *conn, const struct received *got)
{
	struct sgate_bytes answer;

	plain_begin(&front->answer);
	make_answer(front, conn, got);
	if (plain_end(&front->plain, &front->answer))
		return fcgi_send(
		    conn->fd, buf_bytes(&front->answer), &front->rest);
	answer = plain_content(&front->answer);
	return answer.len > 0 &&
	       fcgi_open(front->fcgi, &got->head, got->bytes) &&
	       send_by_library(front, conn, answer);
}

static bool
answer_by_library(
    struct front *front, const struct conn *conn, const struct received *got)
{
	buf_reset(&front->answer);
	make_answer(front, conn, got);
	if (buf_failed(&front->answer)) {
		fcgi_drop(front->fcgi);
		return false;
	}
	return send_by_library(front, conn, buf_bytes(&front->answer));
}

static bool
serve_request(
    struct front *front, const struct conn *conn, const struct received *got)
{
	bool is_answered;

	if (got->is_plain) {
		is_answered = answer_plain(front, conn, got);
	} else if (fcgi_open(front->fcgi, &got->head, got->bytes)) {
		is_answered = answer_by_library(front, conn, got);
	} else {
		shared_count(front->gw->shared, SHARED_BAD_PEERS);
		return false;
	}
	forget_answer(front);
	shared_count(front->gw->shared, SHARED_REQUESTS);
	if (front->options.slot != NULL)
		atomic_fetch_add(&front->options.slot->requests, 1);
	return is_answered;
}

/*
 * Whether nothing can stand unread, or still come. An authorizer's STDIN is
 * not waited for: web servers send it none.
 */
static bool
is_read_to_the_end(const struct head *head, size_t len)
{
	if (head->is_whole)
		return len == head->request_len;
	return head->is_authorizer && len == head->head_len;
}

/* For the web server's next request: here, or with another worker. */
static void
conn_keep(struct front *front, struct conn *conn)
{
	conn->was_kept = true;
	if (!front->is_stopped)
		conn_wait(front, conn, CONN_KEPT);
	else if (!front->gives || !conn_give(front, conn))
		conns_close(&front->conns, conn);
}

/* What becomes of one that is answered. CONN_FREE: it is closed. */
static enum conn_state
state_after(const struct front *front, const struct head *head, size_t received)
{
	if (!is_read_to_the_end(head, received))
		return CONN_LINGERING;
	return head->keep_connection && front->keep_timeout_ms > 0 ? CONN_KEPT
								   : CONN_FREE;
}

/* All of the answer is on its way. */
static void
conn_leave(struct front *front, struct conn *conn, enum conn_state next)
{
	if (next == CONN_LINGERING) {
		shutdown(conn->fd, SHUT_WR);
		conn_wait(front, conn, CONN_LINGERING);
	} else if (next == CONN_KEPT) {
		conn_keep(front, conn);
	} else {
		conns_close(&front->conns, conn);
	}
}

/* A peer that does not read is waited for as one that does not write. */
static void
conn_send_later(struct front *front, struct conn *conn, enum conn_state next)
{
	conn->unsent = calloc(1, sizeof(*conn->unsent));
	if (conn->unsent == NULL) {
		conns_close(&front->conns, conn);
		return;
	}
	conn->unsent->bytes = front->rest;
	conn->unsent->next = next;
	front->conns.pending_len += front->rest.len;
	memset(&front->rest, 0, sizeof(front->rest));
	conn_wait(front, conn, CONN_SENDING);
}

static void
answer_request(
    struct front *front, struct conn *conn, const struct received *got)
{
	enum conn_state next = state_after(front, &got->head, got->bytes.len);
	bool is_answered;

	conns_hold(&front->conns, conn);
	front->serving = conn->listener;
	set_state(front, SHARED_BUSY);
	is_answered = serve_request(front, conn, got);
	set_resting(front);
	conns_forget_pending(&front->conns, conn);
	if (!is_answered)
		conns_close(&front->conns, conn);
	else if (front->rest.len > 0)
		conn_send_later(front, conn, next);
	else
		conn_leave(front, conn, next);
	/* One that has failed would fail all others behind it. */
	if (front->rest.data != NULL || buf_failed(&front->rest))
		buf_wipe(&front->rest);
}

/* The peer can take more. */
static void
conn_send(struct front *front, struct conn *conn)
{
	struct unsent *unsent = conn->unsent;
	enum conn_state next = unsent->next;
	ssize_t n = send(conn->fd, unsent->bytes.data + unsent->sent,
	    unsent->bytes.len - unsent->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_refuse(front, conn);
		return;
	}
	unsent->sent += (size_t)n;
	if (unsent->sent < unsent->bytes.len)
		return;
	conns_hold(&front->conns, conn);
	conns_forget_unsent(&front->conns, conn);
	conn_leave(front, conn, next);
}

/* ---- receiving ---- */

/* False: there is no memory for it. */
static bool
keep_pending(struct front *front, struct conn *conn, struct sgate_bytes bytes)
{
	if (conn->pending == NULL) {
		conn->pending = calloc(1, sizeof(*conn->pending));
		if (conn->pending == NULL)
			return false;
		conn->pending->parser = front->parser;
	}
	buf_add_bytes(&conn->pending->bytes, bytes);
	if (buf_failed(&conn->pending->bytes))
		return false;
	front->conns.pending_len += bytes.len;
	return true;
}

static bool
read_plain(struct front *front, struct received *got)
{
	got->is_plain = plain_read(&front->plain, got->bytes, front->params_max,
	    &got->head, &front->request);
	return got->is_plain;
}

/*
 * Receive what has come and judge it behind what came before. HEAD_BAD also
 * when it ends there or cannot be kept. HEAD_COMPLETE: *got is the request.
 */
static enum head_verdict
receive(struct front *front, struct conn *conn, struct received *got)
{
	struct head_parser *parser = &front->parser;
	struct sgate_bytes bytes = {front->scratch, 0};
	size_t room = front->request_max;
	ssize_t n;

	if (conn->pending != NULL) {
		parser = &conn->pending->parser;
		room -= conn->pending->bytes.len;
	}
	n = recv(conn->fd, front->scratch, room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return HEAD_MORE;
	if (n <= 0)
		return HEAD_BAD;
	got->bytes = bytes;
	got->bytes.len = bytes.len = front->scratch_used = (size_t)n;
	if (conn->pending == NULL) {
		if (read_plain(front, got))
			return HEAD_COMPLETE;
		head_init(parser, front->params_max, front->body_max);
	}
	head_feed(parser, bytes);
	if (parser->verdict == HEAD_MORE && bytes.len == room)
		return HEAD_BAD;
	if (parser->verdict == HEAD_MORE || conn->pending != NULL) {
		if (!keep_pending(front, conn, bytes))
			return HEAD_BAD;
		bytes = buf_bytes(&conn->pending->bytes);
	}
	got->head = parser->head;
	got->bytes = bytes;
	/* Some web servers write a plain one in pieces. */
	if (parser->verdict == HEAD_COMPLETE && conn->pending != NULL)
		read_plain(front, got);
	return parser->verdict;
}

static void
conn_receive(struct front *front, struct conn *conn, int *served)
{
	struct received got = {.is_plain = false};
	enum head_verdict verdict;

	verdict = receive(front, conn, &got);
	if (verdict == HEAD_COMPLETE) {
		answer_request(front, conn, &got);
		(*served)++;
	} else if (verdict == HEAD_BAD) {
		/* A kept one may end, but not within a request. */
		if (front->scratch_used > 0)
			conns_hold(&front->conns, conn);
		conn_refuse(front, conn);
	} else if (conn->pending == NULL && conn->was_kept) {
		if (conn->state == CONN_BUSY)
			conn_keep(front, conn);
	} else if (conn->state != CONN_WAITING) {
		conn_wait(front, conn, CONN_WAITING);
	}
	explicit_bzero(front->scratch, front->scratch_used);
	front->scratch_used = 0;
	limit_pending(front);
}

static void
close_late(struct front *front, int64_t now_ms, int *served)
{
	struct conn *conn;

	while ((conn = conns_late(&front->conns, now_ms)) != NULL) {
		if (conn_has_request(conn))
			conn_receive(front, conn, served);
		else
			conn_refuse(front, conn);
	}
}

static void
conn_linger(struct front *front, struct conn *conn)
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

/* is_shared: others are free, and have it when it can be given. */
static void
conn_ready(struct front *front, uint64_t data, bool is_shared, int *served)
{
	struct conn *conn = conns_find(&front->conns, data);

	if (conn == NULL)
		return;
	if (is_shared && conn_may_be_given(conn) && conn_give(front, conn))
		return;
	if (conn->state == CONN_LINGERING)
		conn_linger(front, conn);
	else if (conn->state == CONN_SENDING)
		conn_send(front, conn);
	else
		conn_receive(front, conn, served);
}

/* ---- accepting ---- */

static bool
is_mine(const struct front *front, size_t index)
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
		if (is_mine(front, i) &&
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
		if (is_mine(front, i))
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

/* False: there was none, or it cannot be taken before something changes. */
static bool
accept_one(struct front *front, const struct listener *listener, int *served)
{
	int fd =
	    accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && errno == EMFILE && conns_count(&front->conns) > 0) {
		conn_evict_oldest(front);
		return true;
	}
	if (fd < 0) {
		if (!front->is_stopped &&
		    (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			errno == ENOMEM))
			pause_accepting(front);
		return false;
	}
	conn_receive(front, conns_take(&front->conns, listener, fd), served);
	return true;
}

/* ---- a request within another ---- */

static bool
open_desk(struct front *front, struct desk *desk)
{
	if (desk->scratch == NULL)
		desk->scratch = malloc(front->request_max);
	return desk->scratch != NULL &&
	       (desk->fcgi != NULL || fcgi_new(&desk->fcgi, NULL) == SGATE_OK);
}

static void
swap_desks(struct front *front, struct desk *desk)
{
	struct desk mine = {
	    .fcgi = front->fcgi,
	    .scratch = front->scratch,
	    .answer = front->answer,
	};

	front->fcgi = desk->fcgi;
	front->scratch = desk->scratch;
	front->answer = desk->answer;
	*desk = mine;
}

/*
 * A creation is about to be committed: whoever waits at the same door is served
 * before that, so that one commit does for all (manager_batch.c). It is the
 * door where logins come; nobody who looks a session up waits for it.
 */
static bool
gather_one(void *arg)
{
	struct front *front = arg;
	struct shared_worker *slot = front->options.slot;
	const struct listener *serving = front->serving;
	size_t used = front->scratch_used;
	struct desk *desk = &front->inner[front->depth];
	bool is_open, was_there = false;
	int64_t since_ms;

	if (slot == NULL || front->is_stopped || front->paused_until_ms != 0 ||
	    front->depth == INNER_MAX ||
	    conns_count(&front->conns) + front->depth >= front->conns.max)
		return false;
	since_ms = atomic_load(&slot->since_ms);
	is_open = open_desk(front, desk);
	if (is_open) {
		swap_desks(front, desk);
		front->scratch_used = 0;
		front->depth++;
		was_there = accept_one(front, serving, &front->inner_served);
		front->depth--;
		front->scratch_used = used;
		swap_desks(front, desk);
	}
	fcgi_resume(front->fcgi);
	front->serving = serving;
	/* Its own moment again, by which the master judges it. */
	atomic_store(&slot->since_ms, since_ms);
	atomic_store(&slot->state, SHARED_BUSY);
	return was_there;
}

/* As accept_one(), of what other workers give. */
static bool
take_one(struct front *front, int *served)
{
	const struct listeners *listeners = front->options.listeners;
	struct handover_note note;
	struct conn *conn;
	int fd = handover_take(&front->handover, &note);

	if (fd < 0)
		return false;
	if (note.listener >= listeners->count ||
	    !is_mine(front, note.listener)) {
		close(fd);
		return true;
	}
	conn = conns_take(&front->conns, &listeners->items[note.listener], fd);
	conn->is_given = true;
	conn->was_kept = note.was_kept != 0;
	conn_receive(front, conn, served);
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
		wait_set_look(look_after_conns, front);
	if (gw->mgr != NULL)
		manager_set_gather(gw->mgr, gather_one, front);
	set_state(front, SHARED_IDLE);
	*out = front;
	return SGATE_OK;

fail:
	front_free(front);
	return err != NULL ? err->status : SGATE_INTERNAL;
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
		take_one(front, served);
	else
		accept_one(front,
		    &front->options.listeners->items[data & ~EVENT_LISTENER],
		    served);
}

int
front_step(struct front *front, int timeout_ms, const sigset_t *wait_mask)
{
	struct epoll_event events[EVENTS_MAX] BUF_NO_ZEROS;
	bool is_shared = false;
	int64_t now_ms;
	int served = 0, count, i;
	uint64_t data;

	count = epoll_pwait(front->conns.epoll_fd, events, EVENTS_MAX,
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
			is_shared = others_are_idle(front);
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
	close_late(front, now_ms, &served);
	if (!front->is_stopped)
		resume_accepting(front, now_ms);
	return served;
}

/* ---- the end ---- */

/*
 * A wake-up for what others give may have been meant for this process: one
 * that is given on wakes another, who then takes all.
 */
static void
give_one_on(struct front *front)
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
static void
give_kept(struct front *front, int *served)
{
	int64_t deadline_ms = clock_monotonic_ms() + GIVE_MS;
	struct conn *conn;
	bool is_given;

	while ((conn = conns_oldest_kept(&front->conns)) != NULL) {
		is_given = conn_give(front, conn);
		if (!is_given && errno == EAGAIN &&
		    wait_to_give(front, deadline_ms))
			continue;
		if (is_given)
			continue;
		conns_hold(&front->conns, conn);
		conn_receive(front, conn, served);
	}
}

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
	set_state(front, SHARED_STOPPING);
	/* First out of the set, so that no further wake-up comes here. */
	remove_sources(front);
	for (i = 0; i < front->options.listeners->count; i++) {
		if (!is_mine(front, i))
			continue;
		for (taken = 0; taken < limit; taken++) {
			if (!accept_one(front,
				&front->options.listeners->items[i], &served))
				break;
		}
	}
	if (front->gives) {
		give_one_on(front);
		give_kept(front, &served);
		return;
	}
	for (taken = 0; taken < limit && take_one(front, &served);)
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
	size_t i;

	if (front == NULL)
		return;
	wait_set_look(NULL, NULL);
	if (front->gw->mgr != NULL)
		manager_set_gather(front->gw->mgr, NULL, NULL);
	for (i = 0; i < INNER_MAX; i++) {
		fcgi_free(front->inner[i].fcgi);
		free(front->inner[i].scratch);
		buf_wipe(&front->inner[i].answer);
	}
	while ((conn = conns_oldest(&front->conns)) != NULL)
		conn_refuse(front, conn);
	conns_clear(&front->conns);
	fcgi_free(front->fcgi);
	buf_wipe(&front->answer);
	buf_wipe(&front->rest);
	free(front->scratch);
	free(front);
}
