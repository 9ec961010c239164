/*
 * One request, from the bytes that a connection has to what becomes of it once
 * it is answered.
 *
 * What has come is judged as it grows (head.h), so that neither the size nor
 * the cut of the pieces matters. libfcgi reads the received bytes (fcgi.c), but
 * for checks of the one form that nearly all have: those are read where they
 * lie (plain.c).
 *
 * An answer that the peer does not take at once (it is large, or the ones
 * before have not been read) waits in the set, too: it pins nobody.
 *
 * An answer is followed by a plain close when nothing can stand unread in the
 * socket. Otherwise (a body larger than is waited for, a check's body) the
 * connection lingers: its writing side is shut, and what comes is thrown away
 * until the peer closes, for read_timeout at most. A close with unread bytes
 * would reset the peer, which may lose the answer.
 */
#include "config.h"

#include "front_own.h"

#include "clock.h"
#include "fcgi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* What the memory for answers may keep from one to the next. */
#define ANSWER_KEPT (64u << 10)

/* A request that was judged HEAD_COMPLETE. */
struct received {
	struct head head;
	struct sgate_bytes bytes; /* borrowed: the connection's, or scratch */
	bool is_plain;            /* read into front->request */
	int64_t began_us;         /* when it is served */
};

/* ---- answering ---- */

void
front_set_state(
    struct front *front, enum shared_worker_state state, int64_t since_us)
{
	if (front->options.slot == NULL)
		return;
	/* In this order: the master must not see the old moment with BUSY. */
	atomic_store(&front->options.slot->since_us, since_us);
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
	    .began_us = got->began_us,
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

/* A worker counts in its own row, and nobody else does. */
static void
count_request(const struct front *front)
{
	_Atomic uint64_t *word = &front->gw->tally->counters[TALLY_REQUESTS];

	if (front->options.slot == NULL) {
		tally_add(word, 1);
		return;
	}
	tally_add_own(word, 1);
	tally_add_own(&front->options.slot->requests, 1);
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
		front_count_bad_peer(front);
		return false;
	}
	forget_answer(front);
	count_request(front);
	return is_answered;
}

/* ---- what becomes of one that is answered ---- */

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
		front_wait(front, conn, CONN_KEPT);
	else if (!front->gives || !front_give(front, conn))
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
		front_wait(front, conn, CONN_LINGERING);
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
	front_wait(front, conn, CONN_SENDING);
}

static void
answer_request(struct front *front, struct conn *conn, struct received *got)
{
	enum conn_state next = state_after(front, &got->head, got->bytes.len);
	bool is_answered;

	conns_hold(&front->conns, conn);
	front->serving = conn->listener;
	got->began_us = clock_monotonic_us();
	front_set_state(front, SHARED_BUSY, got->began_us);
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

void
front_send(struct front *front, struct conn *conn)
{
	struct unsent *unsent = conn->unsent;
	enum conn_state next = unsent->next;
	ssize_t n = send(conn->fd, unsent->bytes.data + unsent->sent,
	    unsent->bytes.len - unsent->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		front_refuse(front, conn);
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

void
front_receive(struct front *front, struct conn *conn, int *served)
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
		front_refuse(front, conn);
	} else if (conn->pending == NULL && conn->was_kept) {
		if (conn->state == CONN_BUSY)
			conn_keep(front, conn);
	} else if (conn->state != CONN_WAITING) {
		front_wait(front, conn, CONN_WAITING);
	}
	explicit_bzero(front->scratch, front->scratch_used);
	front->scratch_used = 0;
	front_limit_pending(front);
}
