/*
 * Accepting, waiting, serving, closing: one epoll set a process.
 *
 * A new connection is looked at with MSG_PEEK at once. Web servers write a
 * request in one piece, so it mostly is all there, and libfcgi reads it from
 * the socket: accept4, recv, read, write, close. What is not all there waits in
 * the set. When a part of a request has come it is read into memory of our own
 * and judged as it grows, so that neither the size nor the cut of the pieces
 * matters: a unix socket takes 278 writes of one byte, or 24 of 8 KiB, before
 * its buffer, which is counted in whole kernel blocks, is full (measured with
 * net.core.wmem_default 212,992 on 6.18), and peeking leaves it full.
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

enum conn_state { CONN_FREE, CONN_WAITING, CONN_LINGERING };

/* What has been read of a request that came in pieces. */
struct pending {
	struct head_parser parser;
	struct buf bytes;
	size_t counted; /* of the bytes, in front.pending_len */
};

struct conn {
	enum conn_state state;
	int fd;
	uint32_t generation;   /* tells late events of an earlier connection */
	uint16_t older, newer; /* or NONE; free ones are linked by newer */
	const struct listener *listener;
	int64_t until_ms;
	struct pending *pending; /* NULL: nothing was read yet */
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
	char *scratch; /* request_max bytes */
	struct buf answer;

	struct conn conns[CONNS_MAX];
	uint16_t oldest, newest, first_free;
	size_t conns_count;
	size_t pending_len;
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
	front->pending_len -= conn->pending->counted;
	buf_wipe(&conn->pending->bytes);
	explicit_bzero(&conn->pending->parser, sizeof(conn->pending->parser));
	free(conn->pending);
	conn->pending = NULL;
}

/* Gives the place back; the descriptor is the caller's. */
static void
conn_release(struct front *front, struct conn *conn)
{
	conn_forget_pending(front, conn);
	conn_unlink(front, conn);
	conn->state = CONN_FREE;
	conn->fd = -1;
	conn->generation = (conn->generation + 1) & 0x7fffffff;
	conn->newer = front->first_free;
	front->first_free = (uint16_t)(conn - front->conns);
	front->conns_count--;
}

/* Closing a descriptor that only this process has takes it from the set. */
static void
conn_close(struct front *front, struct conn *conn)
{
	int fd = conn->fd;

	if (conn->state == CONN_WAITING)
		shared_count(front->gw->shared, SHARED_BAD_PEERS);
	conn_release(front, conn);
	close(fd);
}

static void
conn_evict_oldest(struct front *front)
{
	static struct log_limit limit = {.burst = 1, .period_ms = 60000};

	log_limited(&limit, LOG_LEVEL_WARNING,
	    "too many unfinished requests wait (%zu, %zu bytes): closing the "
	    "oldest",
	    front->conns_count, front->pending_len);
	conn_close(front, &front->conns[front->oldest]);
}

/* NULL when the set does not take it; fd is then closed. */
static struct conn *
conn_add(struct front *front, const struct listener *listener, int fd,
    enum conn_state state)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct conn *conn;

	if (front->first_free == NONE)
		conn_evict_oldest(front);
	conn = &front->conns[front->first_free];
	event.data.u64 = conn_event_data(front, conn);
	if (epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
		close(fd);
		return NULL;
	}
	front->first_free = conn->newer;
	front->conns_count++;
	conn->state = state;
	conn->fd = fd;
	conn->listener = listener;
	conn->lingered = 0;
	conn_link_newest(front, conn);
	return conn;
}

static void
close_late(struct front *front, int64_t now_ms)
{
	while (front->oldest != NONE &&
	       front->conns[front->oldest].until_ms <= now_ms)
		conn_close(front, &front->conns[front->oldest]);
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
make_answer(struct front *front, const struct listener *listener, int fd,
    const struct head *head)
{
	struct serve_input input = {
	    .params = fcgi_params(front->fcgi),
	    .is_authorizer = fcgi_is_authorizer(front->fcgi),
	    .is_malformed = head->is_malformed,
	    .listener = listener->conf,
	    .allow = listener->conf != NULL ? listener->conf->allow : 0,
	    .read_body = read_body,
	    .read_body_arg = front->fcgi,
	};

	find_peer(&input, fd);
	buf_reset(&front->answer);
	serve(front->gw, &input, &front->answer);
	/* lighttpd takes an empty answer for "allowed". */
	if (buf_failed(&front->answer) || front->answer.len == 0) {
		buf_clear(&front->answer);
		buf_add_text(&front->answer, serve_unavailable);
	}
}

/*
 * Answer the request in bytes. is_read: they have been read from the socket.
 * The descriptor is still open: how the caller goes on with it; or -1.
 */
static int
serve_request(struct front *front, const struct listener *listener, int fd,
    const struct head *head, struct sgate_bytes bytes, bool is_read)
{
	struct sgate_bytes read = {NULL, 0};

	set_state(front, SHARED_BUSY);
	if (!fcgi_open(front->fcgi, fd, head, is_read ? bytes : read)) {
		shared_count(front->gw->shared, SHARED_BAD_PEERS);
		set_state(front, resting_state(front));
		return -1;
	}
	make_answer(front, listener, fd, head);
	if (buf_failed(&front->answer)) {
		fcgi_drop(front->fcgi);
		fd = -1;
	} else {
		fd = fcgi_finish(front->fcgi, buf_bytes(&front->answer),
		    front->read_timeout_ms);
	}
	buf_wipe(&front->answer);
	shared_count(front->gw->shared, SHARED_REQUESTS);
	if (front->slot != NULL)
		atomic_fetch_add(&front->slot->requests, 1);
	set_state(front, resting_state(front));
	return fd;
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

/* conn: where it waited, or NULL. */
static void
answer_request(struct front *front, const struct listener *listener, int fd,
    const struct head *head, struct sgate_bytes bytes, struct conn *conn)
{
	bool is_read = conn != NULL && conn->pending != NULL;

	fd = serve_request(front, listener, fd, head, bytes, is_read);
	if (fd < 0 || is_read_to_the_end(head, bytes.len)) {
		if (conn != NULL)
			conn_release(front, conn);
		if (fd >= 0)
			close(fd);
		return;
	}
	shutdown(fd, SHUT_WR);
	if (conn == NULL) {
		conn_add(front, listener, fd, CONN_LINGERING);
		return;
	}
	conn_forget_pending(front, conn);
	conn->state = CONN_LINGERING;
	conn_unlink(front, conn);
	conn_link_newest(front, conn);
}

/* ---- receiving ---- */

/*
 * Look at what stands in the socket. True: served, bad or gone, the descriptor
 * is taken care of. False: it must wait.
 */
static bool
peek(struct front *front, const struct listener *listener, int fd,
    struct conn *conn, int *served)
{
	struct head_parser parser;
	struct sgate_bytes bytes = {front->scratch, 0};
	ssize_t n = recv(
	    fd, front->scratch, front->request_max, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	head_init(&parser, front->params_max, front->body_max);
	bytes.len = n > 0 ? (size_t)n : 0;
	if (n > 0 && head_feed(&parser, bytes) == HEAD_COMPLETE) {
		answer_request(front, listener, fd, &parser.head, bytes, conn);
		(*served)++;
	} else if (n > 0 && parser.verdict == HEAD_MORE) {
		explicit_bzero(front->scratch, bytes.len);
		return false;
	} else if (conn != NULL) {
		conn_close(front, conn);
	} else {
		shared_count(front->gw->shared, SHARED_BAD_PEERS);
		close(fd);
	}
	explicit_bzero(front->scratch, bytes.len);
	return true;
}

/* Read what has come and judge it: HEAD_BAD also when that is not possible. */
static enum head_verdict
read_pending(struct front *front, struct conn *conn)
{
	struct pending *pending = conn->pending;
	struct sgate_bytes bytes = {front->scratch, 0};
	size_t room;
	ssize_t n;

	if (pending == NULL) {
		pending = calloc(1, sizeof(*pending));
		if (pending == NULL)
			return HEAD_BAD;
		head_init(&pending->parser, front->params_max, front->body_max);
		conn->pending = pending;
	}
	room = front->request_max - pending->bytes.len;
	n = recv(conn->fd, front->scratch, room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return HEAD_MORE;
	if (n <= 0)
		return HEAD_BAD;
	bytes.len = (size_t)n;
	buf_add_bytes(&pending->bytes, bytes);
	if (buf_failed(&pending->bytes))
		return HEAD_BAD;
	pending->counted += bytes.len;
	front->pending_len += bytes.len;
	head_feed(&pending->parser, bytes);
	explicit_bzero(front->scratch, bytes.len);
	if (pending->parser.verdict == HEAD_MORE &&
	    pending->bytes.len == front->request_max)
		return HEAD_BAD;
	return pending->parser.verdict;
}

static void
conn_receive(struct front *front, struct conn *conn, int *served)
{
	uint32_t generation = conn->generation;
	struct head head;

	if (conn->pending == NULL &&
	    peek(front, conn->listener, conn->fd, conn, served))
		return;
	while (front->pending_len > PENDING_MAX)
		conn_evict_oldest(front);
	if (conn->generation != generation)
		return;
	switch (read_pending(front, conn)) {
	case HEAD_MORE:
		break;
	case HEAD_BAD:
		conn_close(front, conn);
		break;
	case HEAD_COMPLETE:
		head = conn->pending->parser.head;
		answer_request(front, conn->listener, conn->fd, &head,
		    buf_bytes(&conn->pending->bytes), conn);
		(*served)++;
		break;
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
	conn_close(front, conn);
}

static void
conn_ready(struct front *front, uint64_t data, int *served)
{
	struct conn *conn = &front->conns[(data & 0xffff) % CONNS_MAX];

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
	if (!peek(front, listener, fd, NULL, served))
		conn_add(front, listener, fd, CONN_WAITING);
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
	uint16_t places = count_places();
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
	for (i = 0; i < places; i++) {
		front->conns[i].fd = -1;
		front->conns[i].newer =
		    i + 1 < places ? (uint16_t)(i + 1) : NONE;
	}
	front->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (front->epoll_fd < 0) {
		error_set(err, SGATE_INTERNAL, "front", "epoll_create1", errno,
		    "%s", strerror(errno));
		goto fail;
	}
	front->scratch = malloc(front->request_max);
	front->fcgi = fcgi_new();
	if (front->scratch == NULL || front->fcgi == NULL) {
		error_memory(err, "front");
		goto fail;
	}
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
	return front->conns_count;
}

void
front_free(struct front *front)
{
	if (front == NULL)
		return;
	while (front->conns_count > 0)
		conn_close(front, &front->conns[front->oldest]);
	fcgi_free(front->fcgi);
	buf_wipe(&front->answer);
	free(front->scratch);
	if (front->epoll_fd >= 0)
		close(front->epoll_fd);
	free(front);
}
