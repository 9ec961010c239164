/*
 * The relay.
 *
 * The pool is told not to keep the connection, whatever the web server wants,
 * so "the pool closed" is the end of a request here. When the pool cannot be
 * reached, the request is read and handed to libfcgi, and the answer is 503
 * with Retry-After. A pool that goes away in the middle gives a connection
 * closed without END_REQUEST, which web servers answer with 500: closed either
 * way, never an empty answer that lighttpd would take for "allowed".
 */
#include "config.h"

#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "fcgi.h"
#include "head.h"
#include "listener.h"
#include "log.h"
#include "records.h"
#include "serve.h"

#define IDLE_MS 30000
#define CONNECT_WAIT_MS 1000 /* while the pool's backlog is full */
#define CONNECT_POLL_MS 20
#define REFUSE_WAIT_MS 5000 /* for the head of a request that gets 503 */
#define LINGER_MS 2000
#define CHUNK 65536
/* Where BEGIN_REQUEST, the first record, has its flags. */
#define FLAGS_AT 10

struct relay {
	const struct relay_args *args;
	struct fcgi *fcgi;
	sigset_t wait_mask;
};

/* One direction: from is read, to is written. */
struct flow {
	int from, to;
	char data[CHUNK];
	size_t start, end;
	uint64_t passed; /* bytes that were read */
	bool is_request;
	bool is_read_out; /* from will give no more */
	bool is_closed;   /* to takes no more, or has been told of the end */
};

static volatile sig_atomic_t is_told_to_end;

static void
on_signal(int number)
{
	(void)number;
	is_told_to_end = 1;
}

/* ---- the pool ---- */

static int
connect_once(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, saved;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	/* A unix socket connects at once or not at all. */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static int
connect_pool(const char *path)
{
	int64_t deadline_ms = clock_monotonic_ms() + CONNECT_WAIT_MS;
	int fd;

	for (;;) {
		fd = connect_once(path);
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR) ||
		    clock_left_ms(deadline_ms) == 0)
			return fd;
		poll(NULL, 0, CONNECT_POLL_MS);
	}
}

/* ---- passing on ---- */

static bool
is_passing(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/*
 * A relay has one connection at a time: it must not be kept for a web server
 * that has nothing to ask, and the pool's close tells the end.
 */
static void
forbid_keeping(struct flow *flow)
{
	if (flow->passed <= FLAGS_AT && flow->passed + flow->end > FLAGS_AT)
		flow->data[FLAGS_AT - flow->passed] &= (char)~FLAG_KEEP_CONN;
}

static void
flow_read(struct flow *flow)
{
	ssize_t got = read(flow->from, flow->data, sizeof(flow->data));

	if (got > 0) {
		flow->start = 0;
		flow->end = (size_t)got;
		if (flow->is_request)
			forbid_keeping(flow);
		flow->passed += (uint64_t)got;
	} else if (got == 0 || !is_passing(errno)) {
		flow->is_read_out = true;
	}
}

static void
flow_write(struct flow *flow)
{
	ssize_t put = send(flow->to, flow->data + flow->start,
	    flow->end - flow->start, MSG_NOSIGNAL);

	if (put >= 0)
		flow->start += (size_t)put;
	else if (!is_passing(errno)) {
		/* Nobody listens any more: what comes is thrown away. */
		flow->is_closed = true;
		flow->start = flow->end;
	}
}

static bool
flow_is_empty(const struct flow *flow)
{
	return flow->start == flow->end;
}

/* All has been read and written: say so to the other side. */
static void
flow_end(struct flow *flow)
{
	if (!flow->is_read_out || !flow_is_empty(flow) || flow->is_closed)
		return;
	shutdown(flow->to, SHUT_WR);
	flow->is_closed = true;
}

static bool
is_answered(const struct flow *answer)
{
	return flow_is_empty(answer) &&
	       (answer->is_read_out || answer->is_closed);
}

/*
 * Pass bytes until the pool has closed and its answer is written. Half-closes
 * are passed on. False: nothing moved for IDLE_MS.
 */
static bool
pump(struct flow *request, struct flow *answer)
{
	struct pollfd fds[2] = {{.fd = request->from}, {.fd = answer->from}};
	int rc;

	while (!is_answered(answer)) {
		bool reads_request =
		    !request->is_read_out && flow_is_empty(request);
		bool reads_answer =
		    !answer->is_read_out && flow_is_empty(answer);

		fds[0].events = (short)((reads_request ? POLLIN : 0) |
					(flow_is_empty(answer) ? 0 : POLLOUT));
		fds[1].events = (short)((reads_answer ? POLLIN : 0) |
					(flow_is_empty(request) ? 0 : POLLOUT));
		/* Without events, a hang-up alone would wake up in a circle. */
		fds[0].fd = fds[0].events == 0 ? -1 : request->from;
		fds[1].fd = fds[1].events == 0 ? -1 : answer->from;
		rc = poll(fds, 2, IDLE_MS);
		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0)
			return false;
		if (reads_request && fds[0].revents != 0)
			flow_read(request);
		if (reads_answer && fds[1].revents != 0)
			flow_read(answer);
		if (!flow_is_empty(request))
			flow_write(request);
		if (!flow_is_empty(answer))
			flow_write(answer);
		flow_end(request);
		flow_end(answer);
	}
	return true;
}

/*
 * Wait until the web server has closed: closing with something unread would
 * reset the connection, and the answer with it.
 */
static void
linger(int fd)
{
	int64_t deadline_ms = clock_monotonic_ms() + LINGER_MS;
	struct pollfd ready = {fd, POLLIN, 0};
	char drop[4096];
	ssize_t got;

	shutdown(fd, SHUT_WR);
	for (;;) {
		if (poll(&ready, 1, clock_left_ms(deadline_ms)) == 0 ||
		    clock_left_ms(deadline_ms) == 0)
			return;
		got = read(fd, drop, sizeof(drop));
		if (got == 0 || (got < 0 && !is_passing(errno)))
			return;
	}
}

static void
pass_on(int web, int pool)
{
	struct flow *flows = calloc(2, sizeof(*flows));

	if (flows == NULL) {
		log_error("out of memory");
	} else {
		flows[0].is_request = true;
		flows[0].from = flows[1].to = web;
		flows[0].to = flows[1].from = pool;
		if (pump(&flows[0], &flows[1])) {
			close(pool);
			linger(web);
			close(web);
			free(flows);
			return;
		}
		log_warning("no byte in %d s: the connection is closed",
		    IDLE_MS / 1000);
	}
	free(flows);
	close(pool);
	close(web);
}

/* ---- 503 ---- */

/* False: the request is not whole in time, or is none. */
static bool
read_request(const struct relay *relay, int web, struct head_parser *parser,
    struct buf *bytes)
{
	int64_t deadline_ms = clock_monotonic_ms() + REFUSE_WAIT_MS;
	size_t max = 4 * relay->args->params_max;
	struct pollfd ready = {web, POLLIN, 0};
	char chunk[4096];
	ssize_t got;

	head_init(parser, relay->args->params_max, 0);
	while (parser->verdict == HEAD_MORE && bytes->len < max) {
		if (poll(&ready, 1, clock_left_ms(deadline_ms)) == 0)
			return false;
		got = read(web, chunk, sizeof(chunk));
		if (got == 0 || (got < 0 && !is_passing(errno)))
			return false;
		if (got < 0)
			continue;
		buf_add(bytes, chunk, (size_t)got);
		head_feed(parser, (struct sgate_bytes){chunk, (size_t)got});
	}
	explicit_bzero(chunk, sizeof(chunk));
	return parser->verdict == HEAD_COMPLETE && !buf_failed(bytes);
}

static void
refuse(struct relay *relay, int web)
{
	struct head_parser parser;
	struct buf bytes = {0}, rest = {0};

	/* A few bytes, and the first ones: they fit. */
	if (read_request(relay, web, &parser, &bytes) &&
	    fcgi_open(relay->fcgi, &parser.head, buf_bytes(&bytes)) &&
	    fcgi_finish(relay->fcgi, web, bytes_of(serve_unavailable), &rest) &&
	    rest.len == 0)
		linger(web);
	close(web);
	buf_clear(&rest);
	buf_wipe(&bytes);
}

/* ---- loop ---- */

static void
serve_one(struct relay *relay, int web)
{
	static struct log_limit limit = {.burst = 1, .period_ms = 10000};
	int pool = connect_pool(relay->args->pool_path);

	if (pool >= 0) {
		pass_on(web, pool);
		return;
	}
	log_limited(&limit, LOG_LEVEL_ERROR,
	    "%s: %s; answering 503 (does an instance run?)",
	    relay->args->pool_path, strerror(errno));
	refuse(relay, web);
}

/* The next connection; -1: none, or told to end. */
static int
take_next(struct relay *relay)
{
	static const struct timespec second = {1, 0};
	struct pollfd ready = {STDIN_FILENO, POLLIN, 0};
	int fd;

	if (ppoll(&ready, 1, NULL, &relay->wait_mask) <= 0)
		return -1;
	fd = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && !is_passing(errno) && errno != ECONNABORTED) {
		log_error("accept: %s; waiting a second", strerror(errno));
		ppoll(NULL, 0, &second, &relay->wait_mask);
	}
	return fd;
}

static void
set_signals(sigset_t *out_wait_mask)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t stops;

	sigemptyset(&stops);
	sigaddset(&stops, SIGTERM);
	sigaddset(&stops, SIGINT);
	sigaddset(&stops, SIGUSR1);
	sigprocmask(SIG_BLOCK, &stops, out_wait_mask);
	sigdelset(out_wait_mask, SIGTERM);
	sigdelset(out_wait_mask, SIGINT);
	sigdelset(out_wait_mask, SIGUSR1);
	sigemptyset(&action.sa_mask);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int
relay_run(const struct relay_args *args)
{
	struct relay relay = {.args = args};
	struct sgate_error err;
	int flags = fcntl(STDIN_FILENO, F_GETFL);
	int fd;

	log_set_who("relay");
	if (!listener_is_listening(STDIN_FILENO) || flags < 0 ||
	    fcntl(STDIN_FILENO, F_SETFL, flags | O_NONBLOCK) != 0) {
		log_error("fd 0 is no listening socket: --relay is started by "
			  "a web server");
		return 2;
	}
	if (fcgi_new(&relay.fcgi, &err) != SGATE_OK) {
		log_error("cannot start: %s: %s", err.source, err.text);
		return 1;
	}
	/* After libfcgi, which installs handlers of its own. */
	set_signals(&relay.wait_mask);
	while (!is_told_to_end) {
		fd = take_next(&relay);
		if (fd >= 0)
			serve_one(&relay, fd);
	}
	fcgi_free(relay.fcgi);
	return 0;
}
