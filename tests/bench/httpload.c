/*
 * The load of the benchmark: HTTP/1.1 requests over kept connections.
 *
 *   httpload PORT CONNECTIONS SECONDS RATE FIRST [TRACE] < requests
 *
 * Standard input has whole requests, each after a line with its length; they
 * are sent in turn. Eight '#' in one become the request's number, from FIRST
 * on, so that each creation can have a user of its own.
 *
 * RATE 0: each connection asks as soon as it is answered (closed loop). Else
 * request N is due N / RATE seconds after the start whatever became of those
 * before it, and its latency counts from then: also the time for which it had
 * to wait here for a connection, so a server that stalls cannot hide the
 * requests which it kept from being sent (open loop).
 *
 * Prints one JSON object: "answers" by status (0: no whole answer in 10 s),
 * latencies in microseconds, and "late_us", the latest start for which a
 * connection was free: what the machine, not the server, took. TRACE: a file
 * with a line "DUE LATENCY STATUS" for each request, microseconds from the
 * start.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define REQUESTS_MAX 100000
#define REQUEST_MAX 65536
#define HEAD_MAX 16384
#define STATUS_MAX 600
#define TIMEOUT_US 10000000
#define MARK "########"
#define MARK_LEN 8

struct request {
	char *bytes;
	size_t len;
	char *mark; /* in bytes, or NULL */
};

enum body_kind { BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE };

enum chunk_state { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER };

struct connection {
	int fd; /* -1: not connected */
	bool is_busy;
	bool is_reused; /* the server may have closed it meanwhile */
	struct request *request;
	long number;
	size_t sent;
	int64_t due_us, start_us;
	/* The answer. */
	char head[HEAD_MAX];
	size_t head_len;
	bool has_head, closes;
	int status;
	enum body_kind kind;
	enum chunk_state chunk;
	size_t left;
	size_t line_len;
};

struct result {
	int64_t due_us;
	unsigned latency_us;
	int status;
};

static struct request requests[REQUESTS_MAX];
static long requests_count;
static struct connection connections[CONNECTIONS_MAX];
static int connections_count;
static struct result *results;
static size_t results_count, results_size;
static long counts[STATUS_MAX];
static int epoll_fd, port;
static long rate, first, next_number;
static int64_t begin_us, end_us, late_us;

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
die(const char *what)
{
	fprintf(stderr, "httpload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
read_requests(void)
{
	char line[32];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		struct request *r = &requests[requests_count++];

		r->len = strtoul(line, NULL, 10);
		if (requests_count == REQUESTS_MAX || r->len == 0 ||
		    r->len > REQUEST_MAX ||
		    (r->bytes = malloc(r->len + 1)) == NULL ||
		    fread(r->bytes, 1, r->len, stdin) != r->len) {
			fprintf(stderr, "httpload: a request is malformed\n");
			exit(2);
		}
		r->bytes[r->len] = '\0';
		r->mark = strstr(r->bytes, MARK);
	}
	if (requests_count == 0) {
		fprintf(stderr, "httpload: no requests\n");
		exit(2);
	}
}

static void
watch(struct connection *c, int how, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = c};

	if (epoll_ctl(epoll_fd, how, c->fd, &event) != 0)
		die("epoll_ctl");
}

static void
disconnect(struct connection *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static void
record(struct connection *c, int status)
{
	int64_t now = now_us();

	if (results_count == results_size) {
		results_size = results_size ? results_size * 2 : 65536;
		results = realloc(results, results_size * sizeof(*results));
		if (results == NULL)
			die("realloc");
	}
	results[results_count++] = (struct result){
	    c->due_us - begin_us, (unsigned)(now - c->due_us), status};
	counts[status >= 0 && status < STATUS_MAX ? status : 0]++;
	c->is_busy = false;
}

/* The request's bytes, with its number in them if it has a mark. */
static const char *
request_bytes(const struct connection *c)
{
	static char copy[REQUEST_MAX + 1];
	char digits[24];

	if (c->request->mark == NULL)
		return c->request->bytes;
	snprintf(
	    digits, sizeof(digits), "%08ld", (first + c->number) % 100000000);
	memcpy(copy, c->request->bytes, c->request->len);
	memcpy(copy + (c->request->mark - c->request->bytes), digits, MARK_LEN);
	return copy;
}

static bool send_more(struct connection *c);

static void
connect_now(struct connection *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->is_reused = false;
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 &&
	    errno != EINPROGRESS) {
		disconnect(c);
		return;
	}
	watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void
forget_answer(struct connection *c)
{
	c->sent = c->head_len = c->left = c->line_len = 0;
	c->has_head = c->closes = false;
	c->status = 0;
	c->chunk = CHUNK_SIZE;
}

/* Sends c->request; what cannot be sent counts as no answer. */
static void
begin_request(struct connection *c)
{
	forget_answer(c);
	c->is_busy = true;
	if (c->fd < 0)
		connect_now(c);
	else if (!send_more(c) && c->is_reused) {
		disconnect(c);
		connect_now(c);
		forget_answer(c);
	}
	if (c->fd < 0)
		record(c, 0);
}

static void
next_request(struct connection *c, int64_t due_us)
{
	c->number = next_number++;
	c->request = &requests[c->number % requests_count];
	c->start_us = now_us();
	c->due_us = due_us ? due_us : c->start_us;
	begin_request(c);
}

static bool
send_more(struct connection *c)
{
	const char *bytes = request_bytes(c);
	ssize_t n = send(
	    c->fd, bytes + c->sent, c->request->len - c->sent, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->sent += (size_t)n;
	if (c->sent < c->request->len)
		watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
	return true;
}

/* A header's value within the head, or NULL. */
static const char *
header(const char *head, const char *name)
{
	size_t len = strlen(name);
	const char *line;

	for (line = strchr(head, '\n'); line != NULL;
	     line = strchr(line, '\n')) {
		line++;
		if (strncasecmp(line, name, len) == 0 && line[len] == ':')
			return line + len + 1 + strspn(line + len + 1, " ");
	}
	return NULL;
}

static void
read_head(struct connection *c)
{
	const char *value;

	c->has_head = true;
	if (c->head_len > 12 && memcmp(c->head, "HTTP/1.", 7) == 0)
		c->status = atoi(c->head + 9);
	value = header(c->head, "Connection");
	c->closes = value != NULL && strncasecmp(value, "close", 5) == 0;
	c->kind = BODY_UNTIL_CLOSE;
	c->left = 0;
	if (c->status == 204 || c->status == 304)
		c->kind = BODY_LENGTH;
	else if ((value = header(c->head, "Content-Length")) != NULL) {
		c->kind = BODY_LENGTH;
		c->left = strtoul(value, NULL, 10);
	} else if ((value = header(c->head, "Transfer-Encoding")) != NULL &&
		   strncasecmp(value, "chunked", 7) == 0)
		c->kind = BODY_CHUNKED;
}

/* True when the last chunk and what follows it have been seen. */
static bool
read_chunks(struct connection *c, const char *data, size_t len)
{
	size_t i = 0, n;

	while (i < len) {
		char byte = data[i];

		switch (c->chunk) {
		case CHUNK_SIZE:
			i++;
			if (byte == '\n') {
				c->chunk =
				    c->left == 0 ? CHUNK_TRAILER : CHUNK_DATA;
				c->line_len = 0;
			} else if (byte >= '0' && byte <= '9')
				c->left = c->left * 16 + (size_t)(byte - '0');
			else if ((byte | 32) >= 'a' && (byte | 32) <= 'f')
				c->left = c->left * 16 +
					  (size_t)((byte | 32) - 'a' + 10);
			break;
		case CHUNK_DATA:
			n = len - i < c->left ? len - i : c->left;
			i += n;
			c->left -= n;
			if (c->left == 0)
				c->chunk = CHUNK_END;
			break;
		case CHUNK_END:
			i++;
			if (byte == '\n')
				c->chunk = CHUNK_SIZE;
			break;
		case CHUNK_TRAILER:
			i++;
			if (byte == '\n' && c->line_len == 0)
				return true;
			c->line_len = byte == '\n'   ? 0
				      : byte == '\r' ? c->line_len
						     : c->line_len + 1;
			break;
		}
	}
	return false;
}

/* True when the answer is whole. */
static bool
read_body(struct connection *c, const char *data, size_t len)
{
	switch (c->kind) {
	case BODY_LENGTH:
		c->left -= len < c->left ? len : c->left;
		return c->left == 0;
	case BODY_CHUNKED:
		return read_chunks(c, data, len);
	case BODY_UNTIL_CLOSE:
		break;
	}
	return false;
}

static bool
take(struct connection *c, const char *data, size_t len)
{
	size_t n, before = c->head_len;
	char *end;

	if (c->has_head)
		return read_body(c, data, len);
	n = HEAD_MAX - 1 - c->head_len;
	n = len < n ? len : n;
	memcpy(c->head + c->head_len, data, n);
	c->head_len += n;
	c->head[c->head_len] = '\0';
	end = strstr(c->head, "\r\n\r\n");
	if (end == NULL) {
		if (c->head_len == HEAD_MAX - 1)
			c->closes = true;
		return c->closes;
	}
	end[2] = '\0';
	n = (size_t)(end + 4 - c->head) - before;
	read_head(c);
	return read_body(c, data + n, len - n);
}

static void
readable(struct connection *c)
{
	static char data[65536];
	ssize_t n = recv(c->fd, data, sizeof(data), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (!c->is_busy) {
		/* Closed while idle, or bytes that nobody asked for. */
		disconnect(c);
		return;
	}
	if (n <= 0) {
		bool is_whole = c->has_head && c->kind == BODY_UNTIL_CLOSE;
		bool is_stale = c->is_reused && c->head_len == 0;

		disconnect(c);
		if (is_stale)
			begin_request(c); /* as a browser does, once */
		else
			record(c, is_whole ? c->status : 0);
		return;
	}
	if (!take(c, data, (size_t)n))
		return;
	if (c->closes)
		disconnect(c);
	c->is_reused = true;
	record(c, c->status);
}

static void
on_event(struct connection *c, uint32_t events)
{
	if (c->fd < 0)
		return;
	if (c->is_busy && c->sent < c->request->len && (events & EPOLLOUT)) {
		bool is_sent = send_more(c);

		if (!is_sent) {
			disconnect(c);
			record(c, 0);
			return;
		}
		if (c->sent == c->request->len)
			watch(c, EPOLL_CTL_MOD, EPOLLIN);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		readable(c);
}

/* Starts what can be started; when the next thing is due, or -1. */
static int64_t
start_due(void)
{
	int64_t now = now_us(), due;
	int i;

	for (i = 0; i < connections_count; i++) {
		struct connection *c = &connections[i];

		if (c->is_busy)
			continue;
		if (rate == 0) {
			if (now < end_us)
				next_request(c, 0);
			continue;
		}
		due = begin_us + next_number * 1000000 / rate;
		if (due >= end_us)
			return -1;
		if (due > now)
			return due;
		next_request(c, due);
	}
	return -1;
}

static bool
is_any_busy(void)
{
	int i;

	for (i = 0; i < connections_count; i++)
		if (connections[i].is_busy)
			return true;
	return false;
}

static void
give_up_late(void)
{
	int64_t now = now_us();
	int i;

	for (i = 0; i < connections_count; i++) {
		struct connection *c = &connections[i];

		if (c->is_busy && now - c->start_us > TIMEOUT_US) {
			disconnect(c);
			record(c, 0);
		}
	}
}

static void
run(void)
{
	struct epoll_event events[64];
	int64_t due, now, wait_us, looked_us = 0;
	struct timespec timeout;
	int i, n;

	for (;;) {
		due = start_due();
		now = now_us();
		if (now - looked_us > 100000) {
			give_up_late();
			looked_us = now;
		}
		/* A closed loop ends at once: what is under way is not counted.
		 */
		if (rate == 0 ? now >= end_us
			      : due < 0 && !is_any_busy() && now >= end_us)
			return;
		wait_us = 100000;
		if (due >= 0)
			wait_us = due > now ? due - now : 0;
		else if (rate == 0 && end_us - now < wait_us)
			wait_us = end_us - now;
		timeout = (struct timespec){
		    wait_us / 1000000, wait_us % 1000000 * 1000};
		n = epoll_pwait2(epoll_fd, events, 64, &timeout, NULL);
		if (due >= 0 && n == 0 && now_us() - due > late_us)
			late_us = now_us() - due;
		for (i = 0; i < n; i++)
			on_event(events[i].data.ptr, events[i].events);
	}
}

static int
compare(const void *a, const void *b)
{
	unsigned x = ((const struct result *)a)->latency_us;
	unsigned y = ((const struct result *)b)->latency_us;

	return (x > y) - (x < y);
}

static void
print_trace(const char *path)
{
	FILE *f = fopen(path, "w");
	size_t i;

	if (f == NULL)
		die(path);
	for (i = 0; i < results_count; i++)
		fprintf(f, "%lld %u %d\n", (long long)results[i].due_us,
		    results[i].latency_us, results[i].status);
	if (fclose(f) != 0)
		die(path);
}

static unsigned
percentile(unsigned per_mille)
{
	return results_count
		   ? results[(results_count - 1) * per_mille / 1000].latency_us
		   : 0;
}

static void
print(double seconds)
{
	const char *comma = "";
	int i;

	qsort(results, results_count, sizeof(*results), compare);
	printf("{\"answers\": {");
	for (i = 0; i < STATUS_MAX; i++)
		if (counts[i] != 0) {
			printf("%s\"%d\": %ld", comma, i, counts[i]);
			comma = ", ";
		}
	printf("}, \"count\": %zu, \"seconds\": %.6f, \"p50_us\": %u, "
	       "\"p99_us\": %u, \"max_us\": %u, \"late_us\": %lld, "
	       "\"next\": %ld}\n",
	    results_count, seconds, percentile(500), percentile(990),
	    percentile(1000), (long long)late_us, first + next_number);
}

static long
number(const char *text, long min, long max)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value < min || value > max) {
		fprintf(stderr, "httpload: \"%s\" must be %ld to %ld\n", text,
		    min, max);
		exit(2);
	}
	return value;
}

int
main(int argc, char **argv)
{
	int i;

	if (argc < 6 || argc > 7) {
		fprintf(stderr, "usage: httpload PORT CONNECTIONS SECONDS RATE "
				"FIRST [TRACE] < requests\n");
		return 2;
	}
	port = (int)number(argv[1], 1, 65535);
	connections_count = (int)number(argv[2], 1, CONNECTIONS_MAX);
	end_us = number(argv[3], 1, 3600) * 1000000;
	rate = number(argv[4], 0, 1000000);
	first = number(argv[5], 0, 99999999);
	read_requests();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		die("epoll_create1");
	for (i = 0; i < connections_count; i++)
		connections[i].fd = -1;
	begin_us = now_us();
	end_us += begin_us;
	run();
	if (argc == 7)
		print_trace(argv[6]);
	print((double)(now_us() - begin_us) / 1e6);
	return 0;
}
