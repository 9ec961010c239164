/*
 * The front against peers that are slow, silent, broken or hostile: a process
 * runs front_step() with a serve() of its own here, the test speaks to its
 * sockets. A peer may lose its own request; nobody else may notice.
 */
#include "config.h"

#include "front.h"

#include "clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "packet.h"
#include "tap.h"

#define PARAMS_MAX 65536
#define BODY_MAX 131072
#define READ_TIMEOUT_MS 400
#define LARGE_ANSWER 1000000
/* "at once", on a machine that does other things too */
#define SOON_MS 200
#define PATIENCE_MS 10000

#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

/* ---- what is served ---- */

const char serve_unavailable[] = "Status: 503 Service Unavailable\r\n\r\n";

static const char *
param(const struct serve_input *input, const char *name)
{
	size_t len = strlen(name), i;

	for (i = 0; input->params[i] != NULL; i++) {
		if (strncmp(input->params[i], name, len) == 0 &&
		    input->params[i][len] == '=')
			return input->params[i] + len + 1;
	}
	return "";
}

/* "BODY n sum", or "BODY broken" when it did not end. */
static void
describe_body(const struct serve_input *input, struct buf *out)
{
	unsigned char bytes[1000];
	size_t len = 0, sum = 0;
	ssize_t n, i;

	while ((n = input->read_body(
		    input->read_body_arg, (char *)bytes, sizeof(bytes))) > 0) {
		len += (size_t)n;
		for (i = 0; i < n; i++)
			sum += bytes[i];
	}
	if (n < 0)
		buf_printf(out, "BODY broken after %zu\n", len);
	else
		buf_printf(out, "BODY %zu %zu\n", len, sum);
}

void
serve(
    struct gateway *gw, const struct serve_input *input, struct buf *out_answer)
{
	const char *uri = param(input, "REQUEST_URI");
	size_t i;

	(void)gw;
	if (strcmp(uri, "/empty") == 0)
		return;
	buf_printf(out_answer, "Status: %s\r\n\r\nROLE %s\nURI %s\nPEER %ld\n",
	    input->is_malformed ? "400 Bad Request" : "200 OK",
	    input->is_authorizer ? "authorizer" : "responder", uri,
	    input->has_peer ? (long)input->peer_pid : -1L);
	for (i = 0; strcmp(uri, "/large") == 0 && i < LARGE_ANSWER; i += 10)
		buf_add(out_answer, "0123456789", 10);
	if (!input->is_authorizer && *param(input, "SESSGATE_CHECK") == '\0' &&
	    strcmp(uri, "/noread") != 0)
		describe_body(input, out_answer);
}

/* ---- the process that serves ---- */

struct fixture {
	char dir[64];
	struct sgate_conf conf;
	struct conf_listener listener_confs[3];
	struct listener items[3]; /* pool, tcp, create */
	struct listeners listeners;
	struct sockaddr_un pool, create;
	struct sockaddr_in tcp;
	struct shared *shared;
	pid_t pid;
};

static struct packet pairs, request;
static volatile sig_atomic_t is_told_to_stop;

static void
on_stop(int number)
{
	(void)number;
	is_told_to_stop = 1;
}

static int
run_front(struct fixture *f)
{
	struct gateway gw = {.conf = &f->conf, .shared = f->shared};
	struct sigaction action = {.sa_handler = on_stop};
	struct sgate_error err;
	struct front *front;
	sigset_t mask, blocked;

	sigemptyset(&mask);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (front_new(&gw, &f->listeners, false, &f->shared->workers[0], &front,
		&err) != SGATE_OK)
		return 9;
	while (!is_told_to_stop) {
		if (front_step(front, 1000, &mask) < 0)
			return 8;
	}
	front_stop(front, false);
	while (front_waiting(front) > 0) {
		if (front_step(front, 1000, &mask) < 0)
			return 7;
	}
	front_free(front);
	return 0;
}

static int
listen_unix(const struct fixture *f, const char *name, struct sockaddr_un *out)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	out->sun_family = AF_UNIX;
	snprintf(out->sun_path, sizeof(out->sun_path), "%s/%s", f->dir, name);
	assert_int_equal(bind(fd, (struct sockaddr *)out, sizeof(*out)), 0);
	assert_int_equal(listen(fd, 1024), 0);
	return fd;
}

static int
listen_tcp(struct sockaddr_in *out)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*out);

	out->sin_family = AF_INET;
	out->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)out, sizeof(*out)), 0);
	assert_int_equal(listen(fd, 1024), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)out, &len), 0);
	return fd;
}

static void
start(struct fixture *f, rlim_t descriptors)
{
	struct rlimit limit = {descriptors, descriptors};
	int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;

	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0) {
		if (descriptors > 0)
			setrlimit(RLIMIT_NOFILE, &limit);
		_exit(run_front(f));
	}
	while (f->shared->workers[0].state != SHARED_IDLE) {
		assert_true(clock_left_ms(until_ms) > 0);
		usleep(1000);
	}
}

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sgate_error err;
	size_t i;

	assert_non_null(f);
	strcpy(f->dir, "/tmp/sessgate-front.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->conf.gateway.params_max_bytes = PARAMS_MAX;
	f->conf.gateway.body_max_bytes = BODY_MAX;
	f->conf.gateway.read_timeout_ms = READ_TIMEOUT_MS;
	assert_int_equal(shared_create(f->dir, &f->shared, &err), SGATE_OK);
	f->items[0].fd = listen_unix(f, "pool", &f->pool);
	f->items[1].fd = listen_tcp(&f->tcp);
	f->items[2].fd = listen_unix(f, "create", &f->create);
	for (i = 0; i < 3; i++) {
		f->listener_confs[i].allow = CONF_ALLOW_CHECK | CONF_ALLOW_API;
		f->items[i].conf = &f->listener_confs[i];
	}
	f->listener_confs[2].allow |= CONF_ALLOW_CREATE;
	f->listeners.items = f->items;
	f->listeners.count = 3;
	*state = f;
	return 0;
}

static int
set_up_and_start(void **state)
{
	set_up(state);
	start(*state, 0);
	return 0;
}

/* It must have lived to the end, and end well. */
static void
stop(struct fixture *f)
{
	int status;

	if (f->pid <= 0)
		return;
	kill(f->pid, SIGTERM);
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = 0;
	assert_int_equal(status, 0);
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;
	size_t i;

	stop(f);
	for (i = 0; i < 3; i++)
		close(f->items[i].fd);
	unlink(f->pool.sun_path);
	unlink(f->create.sun_path);
	shared_close(f->shared);
	shared_remove(f->dir);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* ---- peers ---- */

static int
connect_to(const void *address, socklen_t len)
{
	int family = ((const struct sockaddr *)address)->sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, address, len), 0);
	return fd;
}

static int
connect_pool(const struct fixture *f)
{
	return connect_to(&f->pool, sizeof(f->pool));
}

/* False when the other side has closed. */
static bool
send_bytes(int fd, const char *data, size_t len)
{
	ssize_t n;

	for (; len > 0; data += n, len -= (size_t)n) {
		n = send(fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
	}
	return true;
}

static bool
send_packet(int fd, const struct packet *p)
{
	return send_bytes(fd, p->data, p->len);
}

struct answer {
	bool is_ended;  /* END_REQUEST has come */
	bool is_closed; /* then EOF and not a reset */
	size_t len;
	char text[LARGE_ANSWER + 1000]; /* stdout, NUL-terminated */
};
static struct answer answer;

/* Take one record out of raw; its length, 0 when it is not whole. */
static size_t
take_record(const unsigned char *raw, size_t len)
{
	size_t content, whole;

	if (len < 8)
		return 0;
	content = (size_t)raw[4] << 8 | raw[5];
	whole = 8 + content + raw[6];
	if (len < whole)
		return 0;
	if (raw[1] == END_REQUEST)
		answer.is_ended = true;
	if (raw[1] == STDOUT && content < sizeof(answer.text) - answer.len) {
		memcpy(answer.text + answer.len, raw + 8, content);
		answer.len += content;
		answer.text[answer.len] = '\0';
	}
	return whole;
}

/* Until the other side closes; closes fd too. */
static void
receive(int fd)
{
	static unsigned char raw[200000];
	int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	size_t len = 0, taken, whole;
	ssize_t n;

	answer.is_ended = answer.is_closed = false;
	answer.len = 0;
	answer.text[0] = '\0';
	for (;;) {
		if (poll(&poll_fd, 1, clock_left_ms(until_ms)) != 1)
			fail_msg("no answer and no end in time");
		n = recv(fd, raw + len, sizeof(raw) - len, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
		for (taken = 0;
		     (whole = take_record(raw + taken, len - taken)) > 0;)
			taken += whole;
		memmove(raw, raw + taken, len - taken);
		len -= taken;
	}
	answer.is_closed = n == 0;
	close(fd);
}

static void
make_request(int role, const char *uri, const char *body, size_t body_len)
{
	pairs.len = 0;
	packet_pair(&pairs, "REQUEST_METHOD", "GET");
	packet_pair(&pairs, "REQUEST_URI", uri);
	packet_pair(&pairs, "HTTP_COOKIE", "a=b; __Host-sid=xyz");
	packet_pair(&pairs, "REMOTE_ADDR", "192.0.2.1");
	packet_request(&request, role, &pairs, body, body_len);
}

static void
assert_answered(const char *part)
{
	assert_true(answer.is_ended);
	assert_true(answer.is_closed);
	if (strstr(answer.text, part) == NULL)
		fail_msg("no '%s' in: %.300s", part, answer.text);
}

static void
assert_no_answer(void)
{
	assert_false(answer.is_ended);
	assert_int_equal(answer.len, 0);
}

/* Another client's whole request: how long it took. */
static int64_t
ask(struct fixture *f)
{
	static struct packet own;
	static bool is_made;
	int64_t started_ms = clock_monotonic_ms();
	int fd = connect_pool(f);

	if (!is_made) {
		make_request(AUTHORIZER, "/other", "", 0);
		own = request;
		is_made = true;
	}
	assert_true(send_packet(fd, &own));
	receive(fd);
	assert_answered("Status: 200 OK\r\n\r\nROLE authorizer\nURI /other\n");
	return clock_monotonic_ms() - started_ms;
}

static uint64_t
bad_peers(const struct fixture *f)
{
	return f->shared->counters[SHARED_BAD_PEERS];
}

static void
wait_for_bad_peers(const struct fixture *f, uint64_t count)
{
	int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;

	while (bad_peers(f) < count && clock_left_ms(until_ms) > 0)
		usleep(1000);
	assert_int_equal(bad_peers(f), count);
}

/* ---- whole requests ---- */

static void
a_whole_request_is_answered_on_every_socket(void **state)
{
	struct fixture *f = *state;
	char peer[32];

	make_request(RESPONDER, "/a", "hello", 5);
	int fd = connect_pool(f);
	assert_true(send_packet(fd, &request));
	receive(fd);
	assert_answered("ROLE responder\nURI /a\nPEER -1\nBODY 5 532\n");

	fd = connect_to(&f->tcp, sizeof(f->tcp));
	assert_true(send_packet(fd, &request));
	receive(fd);
	assert_answered("ROLE responder\nURI /a\nPEER -1\nBODY 5 532\n");

	fd = connect_to(&f->create, sizeof(f->create));
	assert_true(send_packet(fd, &request));
	receive(fd);
	snprintf(peer, sizeof(peer), "PEER %ld\n", (long)getpid());
	assert_answered(peer);

	make_request(AUTHORIZER, "/b", "", 0);
	fd = connect_to(&f->tcp, sizeof(f->tcp));
	assert_true(send_packet(fd, &request));
	receive(fd);
	assert_answered("ROLE authorizer\nURI /b\n");
	assert_int_equal(f->shared->counters[SHARED_REQUESTS], 4);
	assert_int_equal(f->shared->workers[0].requests, 4);
	assert_int_equal(bad_peers(f), 0);
}

static void
a_request_in_two_pieces_is_answered_wherever_it_is_cut(void **state)
{
	struct fixture *f = *state;
	size_t cut;
	int fd;

	make_request(RESPONDER, "/cut", "some body", 9);
	for (cut = 1; cut < request.len; cut++) {
		fd = cut % 8 == 0 ? connect_to(&f->tcp, sizeof(f->tcp))
				  : connect_pool(f);
		assert_true(send_bytes(fd, request.data, cut));
		usleep(300);
		assert_true(
		    send_bytes(fd, request.data + cut, request.len - cut));
		receive(fd);
		assert_answered("URI /cut\nPEER -1\nBODY 9 898\n");
	}
	assert_int_equal(bad_peers(f), 0);
}

static void
a_request_in_single_bytes_is_answered(void **state)
{
	struct fixture *f = *state;
	char filler[1500];
	size_t i;
	int fd, round;

	memset(filler, 'x', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	for (round = 0; round < 2; round++) {
		make_request(RESPONDER, "/bytes", filler, 1400);
		fd = round == 0 ? connect_pool(f)
				: connect_to(&f->tcp, sizeof(f->tcp));
		for (i = 0; i < request.len; i++)
			assert_true(send_bytes(fd, request.data + i, 1));
		receive(fd);
		assert_answered("BODY 1400 168000\n");
	}
}

static void
the_keep_connection_flag_is_not_followed(void **state)
{
	struct fixture *f = *state;
	int fd;

	make_request(RESPONDER, "/keep", "", 0);
	request.data[10] = 1;
	fd = connect_pool(f);
	assert_true(send_packet(fd, &request));
	receive(fd);
	assert_answered("URI /keep\n");
}

static void
a_second_request_in_the_same_write_is_dropped(void **state)
{
	struct fixture *f = *state;
	static struct packet twice;
	int fd;

	make_request(RESPONDER, "/first", "x", 1);
	twice = request;
	make_request(RESPONDER, "/second", "x", 1);
	packet_add(&twice, request.data, request.len);
	fd = connect_pool(f);
	assert_true(send_packet(fd, &twice));
	receive(fd);
	assert_answered("URI /first\n");
	assert_null(strstr(answer.text, "second"));
	assert_true(ask(f) < SOON_MS);
}

static void
a_malformed_request_is_told_to_serve(void **state)
{
	struct fixture *f = *state;
	int fd;

	make_request(AUTHORIZER, "/x", "", 0);
	packet_pair(&pairs, "HTTP_COOKIE", "again");
	packet_request(&request, AUTHORIZER, &pairs, "", 0);
	fd = connect_pool(f);
	assert_true(send_packet(fd, &request));
	receive(fd);
	assert_answered("Status: 400 Bad Request\r\n");
}

static void
an_empty_answer_never_goes_out(void **state)
{
	struct fixture *f = *state;
	int fd;

	make_request(AUTHORIZER, "/empty", "", 0);
	fd = connect_pool(f);
	assert_true(send_packet(fd, &request));
	receive(fd);
	assert_answered("Status: 503 Service Unavailable\r\n");
}

/* ---- bodies ---- */

static char body[4 * BODY_MAX];

static void
bodies_of_any_allowed_size_are_read_whole(void **state)
{
	static const size_t sizes[] = {
	    1, 8000, 8192, 65535, 65536, 100000, BODY_MAX};
	struct fixture *f = *state;
	char expected[64];
	size_t i;
	int fd, round;

	memset(body, 1, sizeof(body));
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (round = 0; round < 2; round++) {
			make_request(RESPONDER, "/b", body, sizes[i]);
			fd = round == 0 ? connect_pool(f)
					: connect_to(&f->tcp, sizeof(f->tcp));
			assert_true(send_packet(fd, &request));
			receive(fd);
			snprintf(expected, sizeof(expected), "BODY %zu %zu\n",
			    sizes[i], sizes[i]);
			assert_answered(expected);
		}
	}
	assert_int_equal(bad_peers(f), 0);
}

/* Web servers go on sending; the answer must reach them all the same. */
static void
a_body_that_is_too_large_is_broken_and_the_answer_arrives(void **state)
{
	struct fixture *f = *state;
	static const char *const uris[] = {"/b", "/noread"};
	size_t i;
	int fd;

	for (i = 0; i < 4; i++) {
		make_request(RESPONDER, uris[i % 2], body, sizeof(body));
		fd = i < 2 ? connect_pool(f)
			   : connect_to(&f->tcp, sizeof(f->tcp));
		assert_true(send_packet(fd, &request));
		receive(fd);
		assert_answered(
		    i % 2 == 0 ? "BODY broken after 1" : "URI /noread\n");
		assert_true(ask(f) < SOON_MS);
	}
}

static void
a_check_does_not_wait_for_the_body(void **state)
{
	struct fixture *f = *state;
	int fd, round;

	for (round = 0; round < 3; round++) {
		make_request(RESPONDER, "/check", "", 0);
		packet_pair(&pairs, "SESSGATE_CHECK", "1");
		packet_begin(&request, RESPONDER, 0);
		packet_stream(
		    &request, PARAMS, pairs.data, pairs.len, 65528, 0);
		if (round == 1)
			packet_record(&request, STDIN, "part of", 7);
		if (round == 2)
			packet_stream(&request, STDIN, body, 300000, 32768, 0);
		fd = connect_pool(f);
		assert_true(send_packet(fd, &request));
		receive(fd);
		assert_answered("ROLE responder\nURI /check\n");
	}
	assert_true(ask(f) < SOON_MS);
}

static void
a_large_answer_arrives_whole(void **state)
{
	struct fixture *f = *state;
	int fd, round;

	for (round = 0; round < 2; round++) {
		make_request(AUTHORIZER, "/large", "", 0);
		fd = round == 0 ? connect_pool(f)
				: connect_to(&f->tcp, sizeof(f->tcp));
		assert_true(send_packet(fd, &request));
		usleep(50000);
		receive(fd);
		assert_answered("URI /large\n");
		assert_true(answer.len > LARGE_ANSWER);
	}
}

static void
who_does_not_read_a_large_answer_is_left(void **state)
{
	struct fixture *f = *state;
	int fd = connect_pool(f);

	make_request(AUTHORIZER, "/large", "", 0);
	assert_true(send_packet(fd, &request));
	usleep(20000);
	assert_true(ask(f) < READ_TIMEOUT_MS + SOON_MS);
	close(fd);
}

/* ---- silent and slow peers ---- */

static void
silent_peers_hold_nobody_up_and_are_closed_in_time(void **state)
{
	struct fixture *f = *state;
	int64_t started_ms;
	int fds[64], i;

	for (i = 0; i < 64; i++)
		fds[i] = i % 4 == 3 ? connect_to(&f->tcp, sizeof(f->tcp))
				    : connect_pool(f);
	started_ms = clock_monotonic_ms();
	assert_true(ask(f) < SOON_MS);
	for (i = 0; i < 64; i++) {
		receive(fds[i]);
		assert_no_answer();
	}
	assert_in_range(clock_monotonic_ms() - started_ms,
	    READ_TIMEOUT_MS - 100, READ_TIMEOUT_MS + 4 * SOON_MS);
	wait_for_bad_peers(f, 64);
}

static void
more_silent_peers_than_places_cost_the_oldest(void **state)
{
	struct fixture *f = *state;
	static int fds[600];
	int i;

	for (i = 0; i < 600; i++)
		fds[i] = connect_pool(f);
	assert_true(ask(f) < SOON_MS);
	for (i = 0; i < 600; i++) {
		receive(fds[i]);
		assert_no_answer();
	}
	wait_for_bad_peers(f, 600);
	assert_true(ask(f) < SOON_MS);
}

/* Sends a request byte by byte, others ask meanwhile; how far it came. */
static size_t
dribble(struct fixture *f, useconds_t every_us)
{
	int fd = connect_pool(f);
	size_t i;

	for (i = 0; i < request.len; i++) {
		if (!send_bytes(fd, request.data + i, 1))
			break;
		if (i % 20 == 0)
			assert_true(ask(f) < SOON_MS);
		usleep(every_us);
	}
	receive(fd);
	return i;
}

static void
a_dribbled_head_is_cut_off_at_its_deadline(void **state)
{
	struct fixture *f = *state;
	int64_t started_ms = clock_monotonic_ms();

	make_request(AUTHORIZER, "/slow", "", 0);
	assert_true(dribble(f, 20000) < request.len);
	assert_no_answer();
	assert_true(
	    clock_monotonic_ms() - started_ms < READ_TIMEOUT_MS + 4 * SOON_MS);
	wait_for_bad_peers(f, 1);
}

static void
a_dribbled_body_is_cut_off_at_its_deadline(void **state)
{
	struct fixture *f = *state;
	int64_t started_ms;
	size_t i;
	int fd;

	make_request(RESPONDER, "/slow", body, 1000);
	fd = connect_pool(f);
	started_ms = clock_monotonic_ms();
	assert_true(send_bytes(fd, request.data, request.len - 1008));
	for (i = request.len - 1008; i < request.len; i++) {
		if (!send_bytes(fd, request.data + i, 1))
			break;
		assert_true(ask(f) < SOON_MS);
		usleep(10000);
	}
	assert_true(i < request.len);
	receive(fd);
	assert_no_answer();
	assert_true(
	    clock_monotonic_ms() - started_ms < READ_TIMEOUT_MS + 4 * SOON_MS);
}

static void
who_lingers_after_the_answer_is_closed_in_time(void **state)
{
	struct fixture *f = *state;
	int64_t started_ms = clock_monotonic_ms();
	int fds[20], i;

	make_request(RESPONDER, "/noread", body, BODY_MAX + 1);
	request.len -= 8;
	for (i = 0; i < 20; i++) {
		fds[i] = connect_pool(f);
		assert_true(send_packet(fds[i], &request));
	}
	assert_true(ask(f) < SOON_MS);
	while (f->shared->counters[SHARED_REQUESTS] < 21)
		usleep(1000);
	/* Nothing more is sent, and none is closed here. */
	stop(f);
	assert_true(
	    clock_monotonic_ms() - started_ms < READ_TIMEOUT_MS + 6 * SOON_MS);
	for (i = 0; i < 20; i++) {
		receive(fds[i]);
		assert_true(answer.is_ended);
	}
}

/* ---- broken and hostile peers ---- */

static void
a_request_truncated_at_any_byte_gets_no_answer(void **state)
{
	struct fixture *f = *state;
	size_t len;
	int fd;

	make_request(RESPONDER, "/truncated", "some body", 9);
	for (len = 0; len < request.len; len++) {
		fd = len % 8 == 0 ? connect_to(&f->tcp, sizeof(f->tcp))
				  : connect_pool(f);
		assert_true(send_bytes(fd, request.data, len));
		shutdown(fd, SHUT_WR);
		receive(fd);
		assert_no_answer();
	}
	assert_int_equal(bad_peers(f), request.len);
	make_request(AUTHORIZER, "/truncated", "", 0);
	for (len = 0; len < request.len; len++) {
		fd = connect_pool(f);
		assert_true(send_bytes(fd, request.data, len));
		close(fd);
	}
	assert_true(ask(f) < SOON_MS);
	assert_int_equal(f->shared->counters[SHARED_REQUESTS], 1);
}

/* Sends what is in `request`; nothing may come back, others are served. */
static void
assert_refused(struct fixture *f)
{
	uint64_t before = bad_peers(f);
	int fd = connect_pool(f);

	send_packet(fd, &request);
	receive(fd);
	assert_no_answer();
	wait_for_bad_peers(f, before + 1);
	assert_true(ask(f) < SOON_MS);
}

static void
add_get_values(struct packet *p)
{
	int i;

	pairs.len = 0;
	for (i = 0; i < 2; i++) {
		packet_pair(&pairs, "FCGI_MAX_CONNS", "");
		packet_pair(&pairs, "FCGI_MAX_REQS", "");
		packet_pair(&pairs, "FCGI_MPXS_CONNS", "");
	}
	packet_record_of(p, GET_VALUES, 0, pairs.data, pairs.len, 0);
}

static void
the_packet_that_crashes_libfcgi_is_refused_wherever_it_stands(void **state)
{
	struct fixture *f = *state;
	static struct packet crash;
	size_t whole;

	request.len = 0;
	add_get_values(&request);
	assert_refused(f);
	crash = request;

	packet_begin(&request, RESPONDER, 0);
	packet_add(&request, crash.data, crash.len);
	assert_refused(f);

	/* As padding that libfcgi takes for a record. */
	make_request(RESPONDER, "/x", "", 0);
	whole = request.len;
	request.len -= 8;
	request.data[request.len - 2] = (char)crash.len;
	packet_add(&request, crash.data, crash.len);
	assert_refused(f);

	/* In the body, early and late. */
	make_request(RESPONDER, "/x", "", 0);
	assert_int_equal(request.len, whole);
	request.len -= 8;
	packet_add(&request, crash.data, crash.len);
	assert_refused(f);
	make_request(RESPONDER, "/x", body, 100000);
	request.len -= 8;
	packet_add(&request, crash.data, crash.len);
	assert_refused(f);
}

static void
what_follows_a_complete_request_is_never_parsed(void **state)
{
	struct fixture *f = *state;
	static struct packet crash;
	int fd, i;

	crash.len = 0;
	add_get_values(&crash);
	for (i = 0; i < 4; i++) {
		make_request(i == 0 ? AUTHORIZER : RESPONDER,
		    i == 3 ? "/noread" : "/x", body,
		    i == 3 ? BODY_MAX + 100 : 10);
		if (i == 2) {
			packet_pair(&pairs, "SESSGATE_CHECK", "1");
			packet_begin(&request, RESPONDER, 0);
			packet_stream(
			    &request, PARAMS, pairs.data, pairs.len, 65528, 0);
		}
		if (i == 3)
			request.len -= 8;
		packet_add(&request, crash.data, crash.len);
		fd = connect_pool(f);
		assert_true(send_packet(fd, &request));
		receive(fd);
		assert_answered("Status: 200 OK");
		assert_true(ask(f) < SOON_MS);
	}
}

static void
an_aborted_request_gets_no_answer(void **state)
{
	struct fixture *f = *state;

	make_request(RESPONDER, "/x", "abc", 3);
	request.len -= 8;
	packet_record(&request, ABORT_REQUEST, "", 0);
	assert_refused(f);
	packet_begin(&request, RESPONDER, 0);
	packet_record(&request, PARAMS, pairs.data, pairs.len);
	packet_record(&request, ABORT_REQUEST, "", 0);
	assert_refused(f);
}

static void
oversized_requests_are_refused(void **state)
{
	struct fixture *f = *state;
	static char value[PARAMS_MAX];
	size_t i;

	pairs.len = 0;
	packet_pair_of(&pairs, "N", 1, value, PARAMS_MAX - 5);
	packet_begin(&request, AUTHORIZER, 0);
	packet_stream(&request, PARAMS, pairs.data, pairs.len, 65528, 0);
	assert_refused(f);

	/* More padding than anybody needs. */
	packet_begin(&request, RESPONDER, 0);
	for (i = 0; i < 2000; i++)
		packet_record_of(&request, PARAMS, 1, "\1\0N", 3, 255);
	assert_refused(f);

	/* Not FastCGI at all. */
	request.len = 0;
	packet_add(&request, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
	assert_refused(f);
}

/*
 * What is judged complete libfcgi must read to the same end: any noise is
 * answered or closed, and the process lives.
 */
static void
noise_does_not_stop_the_process(void **state)
{
	struct fixture *f = *state;
	int changes, i, fd, round;

	srandom(20261122);
	for (round = 0; round < 4000; round++) {
		make_request(1 + round % 2, "/noise", "some body", 9);
		packet_begin(&request, 1 + round % 2, (int)random() % 2);
		packet_stream(&request, PARAMS, pairs.data, pairs.len,
		    1 + (size_t)random() % 200, (size_t)random() % 9);
		packet_stream(&request, STDIN, "some body", 9,
		    1 + (size_t)random() % 9, (size_t)random() % 9);
		changes = (int)(random() % 4);
		for (i = 0; i < changes; i++)
			request.data[(size_t)random() % request.len] =
			    (char)random();
		fd = connect_pool(f);
		send_packet(fd, &request);
		shutdown(fd, SHUT_WR);
		receive(fd);
		assert_int_equal(answer.is_ended, answer.len > 0);
	}
	assert_true(ask(f) < SOON_MS);
}

/* ---- the process's own limits ---- */

static int
descriptors_of(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
		count++;
	closedir(dir);
	return count;
}

static long
rss_anon_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "RssAnon:", 8) == 0)
			kib = strtol(line + 8, NULL, 10);
	}
	fclose(file);
	return kib;
}

/* One quick request of kind `i`: head only, with body, in pieces, broken. */
static void
ask_quickly(struct fixture *f, const struct packet kinds[4], unsigned i)
{
	const struct packet *p = &kinds[i % 4];
	char reply[8192];
	int fd = connect_pool(f);

	if (i % 4 == 2) {
		assert_true(send_bytes(fd, p->data, 100));
		assert_true(send_bytes(fd, p->data + 100, p->len - 100));
	} else {
		assert_true(send_packet(fd, p));
	}
	while (recv(fd, reply, sizeof(reply), 0) > 0)
		;
	close(fd);
}

static void
many_requests_leave_nothing_behind(void **state)
{
	struct fixture *f = *state;
	static struct packet kinds[4];
	unsigned count = IS_SANITIZED ? 20000 : 200000, i;
	int64_t started_ms = clock_monotonic_ms();
	long warm_kib = 0;
	int descriptors = descriptors_of(f->pid);

	make_request(AUTHORIZER, "/q", "", 0);
	kinds[0] = request;
	make_request(RESPONDER, "/q", "hello", 5);
	kinds[1] = kinds[2] = request;
	request.data[request.len - 7] = ABORT_REQUEST;
	kinds[3] = request;
	for (i = 0; i < count; i++) {
		ask_quickly(f, kinds, i);
		if (i == 10000)
			warm_kib = rss_anon_kib(f->pid);
		/* A busy machine: fewer say enough. */
		if (i >= 20000 && clock_monotonic_ms() - started_ms > 20000)
			break;
	}
	ask(f);
	print_message("# %u requests in %lld ms, RssAnon %ld -> %ld KiB\n", i,
	    (long long)(clock_monotonic_ms() - started_ms), warm_kib,
	    rss_anon_kib(f->pid));
	assert_int_equal(descriptors_of(f->pid), descriptors);
	if (!IS_SANITIZED)
		assert_true(rss_anon_kib(f->pid) - warm_kib <= 128);
}

static int64_t
cpu_ms(pid_t pid)
{
	char path[64], text[1024], *at;
	long user, sys;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	at = strrchr(text, ')');
	assert_non_null(at);
	assert_int_equal(
	    sscanf(at + 2,
		"%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user,
		&sys),
	    2);
	return (user + sys) * 1000 / sysconf(_SC_CLK_TCK);
}

static void
with_few_descriptors_silent_peers_delay_nobody(void **state)
{
	struct fixture *f = *state;
	rlim_t limit;
	int fds[60], i;

	for (limit = 16; limit <= 40; limit += 24) {
		start(f, limit);
		for (i = 0; i < 60; i++)
			fds[i] = connect_pool(f);
		assert_true(ask(f) < READ_TIMEOUT_MS / 2);
		for (i = 0; i < 60; i++)
			close(fds[i]);
		stop(f);
		f->shared->workers[0].state = SHARED_FREE;
	}
}

static void
without_descriptors_it_pauses_and_does_not_spin(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, none;
	int64_t before_ms, started_ms;
	int fd;

	start(f, 0);
	assert_int_equal(prlimit(f->pid, RLIMIT_NOFILE, NULL, &before), 0);
	none = before;
	none.rlim_cur = 3; /* of which none is free */
	assert_int_equal(prlimit(f->pid, RLIMIT_NOFILE, &none, NULL), 0);
	before_ms = cpu_ms(f->pid);
	started_ms = clock_monotonic_ms();
	fd = connect_pool(f);
	usleep(300000);
	assert_int_equal(prlimit(f->pid, RLIMIT_NOFILE, &before, NULL), 0);
	/* Paused for a second, then it was taken. */
	assert_true(ask(f) < 2000);
	assert_true(clock_monotonic_ms() - started_ms > 900);
	assert_true(cpu_ms(f->pid) - before_ms < 200);
	close(fd);
}

/* ---- stopping ---- */

static void
a_stop_drops_no_request(void **state)
{
	struct fixture *f = *state;
	int fds[30], late, i;

	make_request(RESPONDER, "/stop", "hello", 5);
	late = connect_pool(f);
	assert_true(send_bytes(late, request.data, 50));
	usleep(20000);
	kill(f->pid, SIGSTOP);
	for (i = 0; i < 30; i++) {
		fds[i] = connect_pool(f);
		assert_true(send_packet(fds[i], &request));
	}
	kill(f->pid, SIGTERM);
	kill(f->pid, SIGCONT);
	for (i = 0; i < 30; i++) {
		receive(fds[i]);
		assert_answered("BODY 5 532\n");
	}
	/* It may have answered all of them before it saw the signal. */
	for (i = 0; i < 200 && f->shared->workers[0].state != SHARED_STOPPING;
	     i++)
		usleep(10000);
	assert_int_equal(f->shared->workers[0].state, SHARED_STOPPING);
	assert_true(send_bytes(late, request.data + 50, request.len - 50));
	receive(late);
	assert_answered("BODY 5 532\n");
	stop(f);
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, set_up_and_start, tear_down)
#define TEST_NOT_STARTED(name)                                                 \
	cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest front_tests[] = {
    TEST(a_whole_request_is_answered_on_every_socket),
    TEST(a_request_in_two_pieces_is_answered_wherever_it_is_cut),
    TEST(a_request_in_single_bytes_is_answered),
    TEST(the_keep_connection_flag_is_not_followed),
    TEST(a_second_request_in_the_same_write_is_dropped),
    TEST(a_malformed_request_is_told_to_serve),
    TEST(an_empty_answer_never_goes_out),
    TEST(bodies_of_any_allowed_size_are_read_whole),
    TEST(a_body_that_is_too_large_is_broken_and_the_answer_arrives),
    TEST(a_check_does_not_wait_for_the_body),
    TEST(a_large_answer_arrives_whole),
    TEST(who_does_not_read_a_large_answer_is_left),
    TEST(silent_peers_hold_nobody_up_and_are_closed_in_time),
    TEST(more_silent_peers_than_places_cost_the_oldest),
    TEST(a_dribbled_head_is_cut_off_at_its_deadline),
    TEST(a_dribbled_body_is_cut_off_at_its_deadline),
    TEST(who_lingers_after_the_answer_is_closed_in_time),
    TEST(a_request_truncated_at_any_byte_gets_no_answer),
    TEST(the_packet_that_crashes_libfcgi_is_refused_wherever_it_stands),
    TEST(what_follows_a_complete_request_is_never_parsed),
    TEST(an_aborted_request_gets_no_answer),
    TEST(oversized_requests_are_refused),
    TEST(noise_does_not_stop_the_process),
    TEST(many_requests_leave_nothing_behind),
    TEST_NOT_STARTED(with_few_descriptors_silent_peers_delay_nobody),
    TEST_NOT_STARTED(without_descriptors_it_pauses_and_does_not_spin),
    TEST(a_stop_drops_no_request),
};

TAP_MAIN(front_tests)
