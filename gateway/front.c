/*
 * Accepting, waiting, serving, closing: one epoll set a process.
 *
 * What stands in a new connection is received at once, into memory of our own,
 * and judged (head.h). Web servers write a request in one piece, so it mostly
 * is all there and is answered: accept4, recv, send, close. Otherwise the
 * connection waits in the set, and what comes is added to what has come and
 * judged as it grows, so that neither the size nor the cut of the pieces
 * matters. libfcgi reads the received bytes (fcgi.c).
 *
 * Limits: read_timeout from accepting to the last byte, CONNS_MAX connections
 * (or half of the descriptors) and PENDING_MAX bytes that wait in a process;
 * the oldest goes first.
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
#include "fcgi.h"
#include "head.h"
#include "log.h"
#include "status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS_MAX 512
#define PENDING_MAX (16u << 20)
#define LINGER_MAX (16u << 20)
/* Headers and padding of the records that carry params and body. */
#define RECORDS_OVERHEAD (32u << 10)
#define EVENTS_MAX 64
#define PAUSE_MS 1000
/* How many a process takes from each backlog when only itself stops. */
#define STOP_TAKES 64
#define STOP_TAKES_ALL 65536

#define NONE UINT16_MAX

enum conn_state {
	CONN_FREE,
	CONN_NEW,     /* just accepted, not in the set */
	CONN_WAITING, /* for the rest of its request */
	CONN_LINGERING
};

/* What has come of a request that comes in pieces. */
struct pending {
	struct head_parser parser;
	struct buf bytes;
};

struct conn {
	enum conn_state state;
	int fd;
	uint32_t generation;   /* tells late events of an earlier connection */
	uint16_t older, newer; /* or NONE; free ones are linked by newer */
	const struct listener *listener;
	int64_t until_ms;
	struct pending *pending; /* NULL: nothing has come yet */
	size_t lingered;
};

struct front {
	struct gateway *gw;
	const struct listeners *listeners;
	bool is_keeper;
	struct shared_worker *slot;
	struct fcgi *fcgi;
	int epoll_fd;
	bool is_stopped;
	int64_t paused_until_ms; /* 0 = accepting */

	size_t params_max, body_max, request_max;
	int64_t read_timeout_ms;
	char *scratch; /* request_max bytes: what was just received */
	size_t scratch_used;
	struct head_parser parser; /* of a request that is all in scratch */
	struct buf answer;

	struct conn conns[CONNS_MAX + 1]; /* one of them not waiting */
	uint16_t oldest, newest, first_free;
	size_t waiting, waiting_max;
	size_t pending_len; /* bytes that have come and wait */
};

/* Marks an event's data as a listener's index. */
#define EVENT_LISTENER (UINT64_C(1) << 63)

/* ---- connections that wait ---- */

static uint64_t
conn_event_data(const struct front *front, const struct conn *conn)
{
	return (uint64_t)conn->generation << 16 |
	       (uint64_t)(conn - front->conns);
}

static void
conn_unlink(struct front *front, struct conn *conn)
{
	if (conn->older != NONE)
		front->conns[conn->older].newer = conn->newer;
	else
		front->oldest = conn->newer;
	if (conn->newer != NONE)
		front->conns[conn->newer].older = conn->older;
	else
		front->newest = conn->older;
}

static void
conn_link_newest(struct front *front, struct conn *conn)
{
	uint16_t index = (uint16_t)(conn - front->conns);

	conn->until_ms = clock_monotonic_ms() + front->read_timeout_ms;
	conn->older = front->newest;
	conn->newer = NONE;
	if (front->newest != NONE)
		front->conns[front->newest].newer = index;
	else
		front->oldest = index;
	front->newest = index;
}

static void
conn_forget_pending(struct front *front, struct conn *conn)
{
	if (conn->pending == NULL)
		return;
	front->pending_len -= conn->pending->bytes.len;
	buf_wipe(&conn->pending->bytes);
	explicit_bzero(&conn->pending->parser, sizeof(conn->pending->parser));
	free(conn->pending);
	conn->pending = NULL;
}

static bool
conn_is_waiting(const struct conn *conn)
{
	return conn->state == CONN_WAITING || conn->state == CONN_LINGERING;
}

/* There is always a free one: conns is one longer than what may wait. */
static struct conn *
conn_take(struct front *front, const struct listener *listener, int fd)
{
	struct conn *conn = &front->conns[front->first_free];

	front->first_free = conn->newer;
	conn->state = CONN_NEW;
	conn->fd = fd;
	conn->listener = listener;
	conn->lingered = 0;
	return conn;
}

/* Closing a descriptor that only this process has takes it from the set. */
static void
conn_close(struct front *front, struct conn *conn)
{
	close(conn->fd);
	conn_forget_pending(front, conn);
	if (conn_is_waiting(conn)) {
		conn_unlink(front, conn);
		front->waiting--;
	}
	conn->state = CONN_FREE;
	conn->fd = -1;
	conn->generation = (conn->generation + 1) & 0x7fffffff;
	conn->newer = front->first_free;
	front->first_free = (uint16_t)(conn - front->conns);
}

/* A peer that broke off, was too slow or sent what is no request. */
static void
conn_refuse(struct front *front, struct conn *conn)
{
	if (conn->state != CONN_LINGERING)
		shared_count(front->gw->shared, SHARED_BAD_PEERS);
	conn_close(front, conn);
}

static void
conn_evict_oldest(struct front *front)
{
	static struct log_limit limit = {.burst = 1, .period_ms = 60000};

	log_limited(&limit, LOG_LEVEL_WARNING,
	    "too many unfinished requests wait (%zu, %zu bytes): closing the "
	    "oldest",
	    front->waiting, front->pending_len);
	conn_refuse(front, &front->conns[front->oldest]);
}

/* Into the set, if it is not there yet; closed when the set does not take it.
 */
static void
conn_wait(struct front *front, struct conn *conn, enum conn_state state)
{
	struct epoll_event event = {.events = EPOLLIN};

	if (conn_is_waiting(conn)) {
		conn_unlink(front, conn);
		front->waiting--;
	} else {
		if (front->waiting == front->waiting_max)
			conn_evict_oldest(front);
		event.data.u64 = conn_event_data(front, conn);
		if (epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD, conn->fd,
			&event) != 0) {
			conn_close(front, conn);
			return;
		}
	}
	conn->state = state;
	conn_link_newest(front, conn);
	front->waiting++;
}

static void
close_late(struct front *front, int64_t now_ms)
{
	while (front->oldest != NONE &&
	       front->conns[front->oldest].until_ms <= now_ms)
		conn_refuse(front, &front->conns[front->oldest]);
}

/* ---- serving ---- */

static void
set_state(struct front *front, enum shared_worker_state state)
{
	if (front->slot == NULL)
		return;
	/* In this order: the master must not see the old moment with BUSY. */
	atomic_store(&front->slot->since_ms, clock_monotonic_ms());
	atomic_store(&front->slot->state, (int)state);
}

/* Between two requests. */
static enum shared_worker_state
resting_state(const struct front *front)
{
	return front->is_stopped ? SHARED_STOPPING : SHARED_IDLE;
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
    struct front *front, const struct conn *conn, const struct head *head)
{
	const struct conf_listener *conf = conn->listener->conf;
	struct serve_input input = {
	    .params = fcgi_params(front->fcgi),
	    .is_authorizer = head->is_authorizer,
	    .is_malformed = head->is_malformed,
	    .listener = conf,
	    .allow = conf != NULL ? conf->allow : 0,
	    .read_body = read_body,
	    .read_body_arg = front->fcgi,
	};

	find_peer(&input, conn->fd);
	buf_reset(&front->answer);
	serve(front->gw, &input, &front->answer);
	/* lighttpd takes an empty answer for "allowed". */
	if (buf_failed(&front->answer) || front->answer.len == 0) {
		buf_clear(&front->answer);
		buf_add_text(&front->answer, serve_unavailable);
	}
}

/* False: the peer has no answer, or not all of it. */
static bool
serve_request(struct front *front, const struct conn *conn,
    const struct head *head, struct sgate_bytes bytes)
{
	bool is_answered = false;

	if (!fcgi_open(front->fcgi, head, bytes)) {
		shared_count(front->gw->shared, SHARED_BAD_PEERS);
		return false;
	}
	make_answer(front, conn, head);
	if (buf_failed(&front->answer))
		fcgi_drop(front->fcgi);
	else
		is_answered = fcgi_finish(front->fcgi, conn->fd,
		    buf_bytes(&front->answer), front->read_timeout_ms);
	buf_wipe(&front->answer);
	shared_count(front->gw->shared, SHARED_REQUESTS);
	if (front->slot != NULL)
		atomic_fetch_add(&front->slot->requests, 1);
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

/* The request in bytes, which were judged HEAD_COMPLETE. */
static void
answer_request(struct front *front, struct conn *conn, const struct head *head,
    struct sgate_bytes bytes)
{
	bool is_answered;

	set_state(front, SHARED_BUSY);
	is_answered = serve_request(front, conn, head, bytes);
	set_state(front, resting_state(front));
	if (!is_answered || is_read_to_the_end(head, bytes.len)) {
		conn_close(front, conn);
		return;
	}
	shutdown(conn->fd, SHUT_WR);
	conn_forget_pending(front, conn);
	conn_wait(front, conn, CONN_LINGERING);
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
	front->pending_len += bytes.len;
	return true;
}

/*
 * Receive what has come and judge it behind what came before. HEAD_BAD also
 * when it ends there or cannot be kept. HEAD_COMPLETE: *out_bytes is the
 * request, borrowed from the connection or from scratch.
 */
static enum head_verdict
receive(struct front *front, struct conn *conn, struct head *out_head,
    struct sgate_bytes *out_bytes)
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
	bytes.len = front->scratch_used = (size_t)n;
	if (conn->pending == NULL)
		head_init(parser, front->params_max, front->body_max);
	head_feed(parser, bytes);
	if (parser->verdict == HEAD_MORE && bytes.len == room)
		return HEAD_BAD;
	if (parser->verdict == HEAD_MORE || conn->pending != NULL) {
		if (!keep_pending(front, conn, bytes))
			return HEAD_BAD;
		bytes = buf_bytes(&conn->pending->bytes);
	}
	*out_head = parser->head;
	*out_bytes = bytes;
	return parser->verdict;
}

static void
conn_receive(struct front *front, struct conn *conn, int *served)
{
	struct sgate_bytes bytes = {NULL, 0};
	enum head_verdict verdict;
	struct head head;

	verdict = receive(front, conn, &head, &bytes);
	if (verdict == HEAD_COMPLETE) {
		answer_request(front, conn, &head, bytes);
		(*served)++;
	} else if (verdict == HEAD_BAD) {
		conn_refuse(front, conn);
	} else if (conn->state == CONN_NEW) {
		conn_wait(front, conn, CONN_WAITING);
	}
	explicit_bzero(front->scratch, front->scratch_used);
	front->scratch_used = 0;
	while (front->pending_len > PENDING_MAX)
		conn_evict_oldest(front);
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
	conn_close(front, conn);
}

static void
conn_ready(struct front *front, uint64_t data, int *served)
{
	struct conn *conn = &front->conns[(data & 0xffff) % (CONNS_MAX + 1)];

	if (conn->state == CONN_FREE || conn_event_data(front, conn) != data)
		return;
	if (conn->state == CONN_LINGERING)
		conn_linger(front, conn);
	else
		conn_receive(front, conn, served);
}

/* ---- accepting ---- */

static void
listener_remove(struct front *front, const struct listener *listener)
{
	epoll_ctl(front->epoll_fd, EPOLL_CTL_DEL, listener->fd, NULL);
}

static int
listener_add(struct front *front, size_t index)
{
	/* Exclusive: a connection wakes one process, not all of them. */
	struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE};

	event.data.u64 = EVENT_LISTENER | index;
	return epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD,
	    front->listeners->items[index].fd, &event);
}

static bool
is_mine(const struct front *front, size_t index)
{
	return front->listeners->items[index].is_keeper == front->is_keeper;
}

static void
remove_listeners(struct front *front)
{
	size_t i;

	for (i = 0; i < front->listeners->count; i++) {
		if (is_mine(front, i))
			listener_remove(front, &front->listeners->items[i]);
	}
}

static bool
add_listeners(struct front *front)
{
	size_t i;

	for (i = 0; i < front->listeners->count; i++) {
		if (is_mine(front, i) && listener_add(front, i) != 0)
			return false;
	}
	return true;
}

/* Without descriptors the listener would stay ready and the process spin. */
static void
pause_accepting(struct front *front)
{
	static struct log_limit limit = {.burst = 1, .period_ms = 60000};

	log_limited(&limit, LOG_LEVEL_WARNING,
	    "accept: %s; accepting nothing for %d ms", strerror(errno),
	    PAUSE_MS);
	remove_listeners(front);
	front->paused_until_ms = clock_monotonic_ms() + PAUSE_MS;
}

/* False: there was none, or it cannot be taken before something changes. */
static bool
accept_one(struct front *front, const struct listener *listener, int *served)
{
	int fd =
	    accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && errno == EMFILE && front->oldest != NONE) {
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
	conn_receive(front, conn_take(front, listener, fd), served);
	return true;
}

/* ---- the process's side ---- */

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

enum sgate_status
front_new(struct gateway *gw, const struct listeners *listeners, bool is_keeper,
    struct shared_worker *slot, struct front **out, struct sgate_error *err)
{
	struct front *front;
	uint16_t i;

	*out = NULL;
	error_clear(err);
	front = calloc(1, sizeof(*front));
	if (front == NULL)
		return error_memory(err, "front");
	front->gw = gw;
	front->listeners = listeners;
	front->is_keeper = is_keeper;
	front->slot = slot;
	front->params_max = gw->conf->gateway.params_max_bytes;
	front->body_max = gw->conf->gateway.body_max_bytes;
	front->read_timeout_ms = gw->conf->gateway.read_timeout_ms;
	front->request_max =
	    front->params_max + front->body_max + RECORDS_OVERHEAD;
	front->oldest = front->newest = NONE;
	front->waiting_max = count_places();
	for (i = 0; i <= front->waiting_max; i++) {
		front->conns[i].fd = -1;
		front->conns[i].newer =
		    i < front->waiting_max ? (uint16_t)(i + 1) : NONE;
	}
	front->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (front->epoll_fd < 0) {
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
	if (!add_listeners(front)) {
		error_set(err, SGATE_INTERNAL, "front", "epoll_ctl", errno,
		    "a listener: %s", strerror(errno));
		goto fail;
	}
	set_state(front, SHARED_IDLE);
	*out = front;
	return SGATE_OK;

fail:
	front_free(front);
	return err != NULL ? err->status : SGATE_INTERNAL;
}

static void
resume_accepting(struct front *front, int64_t now_ms)
{
	if (front->paused_until_ms == 0 || now_ms < front->paused_until_ms)
		return;
	front->paused_until_ms = 0;
	if (!add_listeners(front))
		pause_accepting(front);
}

static int
wait_ms(const struct front *front, int timeout_ms)
{
	int64_t until_ms = INT64_MAX;
	int left_ms;

	if (front->oldest != NONE)
		until_ms = front->conns[front->oldest].until_ms;
	if (front->paused_until_ms != 0 && front->paused_until_ms < until_ms)
		until_ms = front->paused_until_ms;
	if (until_ms == INT64_MAX)
		return timeout_ms;
	left_ms = clock_left_ms(until_ms);
	return timeout_ms < 0 || left_ms < timeout_ms ? left_ms : timeout_ms;
}

int
front_step(struct front *front, int timeout_ms, const sigset_t *wait_mask)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t now_ms;
	int served = 0, count, i;
	uint64_t data;

	count = epoll_pwait(front->epoll_fd, events, EVENTS_MAX,
	    wait_ms(front, timeout_ms), wait_mask);
	if (count < 0)
		return errno == EINTR ? 0 : -1;
	/*
	 * One connection of each listener and one piece of each that waits:
	 * the kernel puts what stays ready behind what became so meanwhile.
	 */
	for (i = 0; i < count; i++) {
		data = events[i].data.u64;
		if ((data & EVENT_LISTENER) == 0)
			conn_ready(front, data, &served);
		else if (front->paused_until_ms == 0 && !front->is_stopped)
			accept_one(front,
			    &front->listeners->items[data & ~EVENT_LISTENER],
			    &served);
	}
	now_ms = clock_monotonic_ms();
	close_late(front, now_ms);
	if (!front->is_stopped)
		resume_accepting(front, now_ms);
	return served;
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
	set_state(front, SHARED_STOPPING);
	/* First out of the set, so that no further wake-up comes here. */
	remove_listeners(front);
	for (i = 0; i < front->listeners->count; i++) {
		if (!is_mine(front, i))
			continue;
		for (taken = 0; taken < limit; taken++) {
			if (!accept_one(
				front, &front->listeners->items[i], &served))
				break;
		}
	}
}

size_t
front_waiting(const struct front *front)
{
	return front->waiting;
}

void
front_free(struct front *front)
{
	if (front == NULL)
		return;
	while (front->waiting > 0)
		conn_refuse(front, &front->conns[front->oldest]);
	fcgi_free(front->fcgi);
	buf_wipe(&front->answer);
	free(front->scratch);
	if (front->epoll_fd >= 0)
		close(front->epoll_fd);
	free(front);
}
