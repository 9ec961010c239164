#include "config.h"

#include "front_fixture.h"

#include "clock.h"
#include "request.h"
#include "wait.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

/* ---- what is served ---- */

const char serve_unavailable[] = "Status: 503 Service Unavailable\r\n\r\n";

/* Of a plain request (plain.h) the field's bytes, as long as the next call. */
static const char *
field(const struct serve_input *input, const char *name)
{
	static char text[2][1024];
	static unsigned turn;
	struct request copy = *input->request;
	const struct sgate_bytes *value =
	    request_field(&copy, name, strlen(name));
	char *out = text[turn++ % 2];

	assert_non_null(value);
	snprintf(out, sizeof(text[0]), "%.*s", (int)value->len,
	    value->len > 0 ? value->data : "");
	return out;
}

static const char *
param(const struct serve_input *input, const char *name)
{
	size_t len = strlen(name), i;

	if (input->request != NULL)
		return field(input, name);
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

/* As one does who asks a store that does not answer. */
static void
block(void)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(wait_ready(ends[0], POLLIN,
			     clock_monotonic_us() + (int64_t)BLOCK_MS * 1000),
	    0);
	close(ends[0]);
	close(ends[1]);
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
	if (strcmp(uri, "/block") == 0)
		block();
	buf_printf(out_answer, "Status: %s\r\n\r\nROLE %s\nURI %s\nPEER %ld\n",
	    input->is_malformed ? "400 Bad Request" : "200 OK",
	    input->is_authorizer ? "authorizer" : "responder", uri,
	    input->has_peer ? (long)input->peer_pid : -1L);
	for (i = 0; strcmp(uri, "/large") == 0 && i < LARGE_ANSWER; i += 10)
		buf_add(out_answer, "0123456789", 10);
	if (!input->is_authorizer && *param(input, "SESSGATE_CHECK") == '\0' &&
	    strcmp(uri, "/noread") != 0)
		describe_body(input, out_answer);
	buf_printf(out_answer, "BY %ld\n", (long)getpid());
}

/* ---- the process that serves ---- */

struct packet pairs, request;
struct answer answer;
static volatile sig_atomic_t is_told_to_stop;

static void
on_stop(int number)
{
	(void)number;
	is_told_to_stop = 1;
}

static int
run_front(struct fixture *f, int index)
{
	struct gateway gw = {
	    .conf = &f->conf,
	    .shared = f->shared,
	    .tally = &f->shared->tallies[index],
	};
	struct front_options options = {.listeners = &f->listeners,
	    .slot = &f->shared->workers[index],
	    .handover = &f->handover};
	struct sigaction action = {.sa_handler = on_stop};
	struct sgate_error err;
	struct front *front;
	sigset_t mask, blocked;

	atomic_store(&gw.tally->is_used, 1);
	sigemptyset(&mask);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (front_new(&gw, &options, &front, &err) != SGATE_OK)
		return 9;
	while (!is_told_to_stop) {
		if (front_step(front, 1000, &mask) < 0)
			return 8;
	}
	front_stop(front, atomic_load(&f->shared->stopping) != 0);
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

void
start(struct fixture *f, int index, rlim_t descriptors)
{
	struct rlimit limit = {descriptors, descriptors};
	int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;

	f->pids[index] = fork();
	assert_true(f->pids[index] >= 0);
	if (f->pids[index] == 0) {
		if (descriptors > 0)
			setrlimit(RLIMIT_NOFILE, &limit);
		_exit(run_front(f, index));
	}
	while (f->shared->workers[index].state != SHARED_IDLE) {
		assert_true(clock_left_ms(until_ms) > 0);
		usleep(1000);
	}
}

int
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
	f->conf.gateway.keep_timeout_ms = KEEP_TIMEOUT_MS;
	assert_true(handover_open(&f->handover));
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

int
set_up_and_start(void **state)
{
	set_up(state);
	start(*state, 0, 0);
	return 0;
}

void
stop(struct fixture *f, int index)
{
	pid_t pid = f->pids[index];
	int status;

	if (pid <= 0)
		return;
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	f->pids[index] = 0;
	assert_int_equal(status, 0);
}

int
tear_down(void **state)
{
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < FRONTS_MAX; i++)
		stop(f, (int)i);
	for (i = 0; i < 3; i++)
		close(f->items[i].fd);
	handover_close(&f->handover);
	unlink(f->pool.sun_path);
	unlink(f->create.sun_path);
	shared_close(f->shared);
	shared_remove(f->dir);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* ---- peers ---- */

int
connect_to(const void *address, socklen_t len)
{
	int family = ((const struct sockaddr *)address)->sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, address, len), 0);
	return fd;
}

int
connect_pool(const struct fixture *f)
{
	return connect_to(&f->pool, sizeof(f->pool));
}

bool
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

bool
send_packet(int fd, const struct packet *p)
{
	return send_bytes(fd, p->data, p->len);
}

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

static void
receive_until(int fd, bool is_kept)
{
	static unsigned char raw[200000];
	int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	size_t len = 0, taken, whole;
	ssize_t n = 1;

	answer.is_ended = answer.is_closed = false;
	answer.len = 0;
	answer.text[0] = '\0';
	while (!is_kept || !answer.is_ended) {
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
}

void
receive(int fd)
{
	receive_until(fd, false);
	close(fd);
}

void
receive_kept(int fd)
{
	receive_until(fd, true);
	if (!answer.is_ended)
		fail_msg("closed without an answer");
}

void
make_request(int role, const char *uri, const char *body, size_t body_len)
{
	pairs.len = 0;
	packet_pair(&pairs, "REQUEST_METHOD", "GET");
	packet_pair(&pairs, "REQUEST_URI", uri);
	packet_pair(&pairs, "HTTP_COOKIE", "a=b; __Host-sid=xyz");
	packet_pair(&pairs, "REMOTE_ADDR", "192.0.2.1");
	packet_request(&request, role, &pairs, body, body_len);
}

void
set_keep(void)
{
	request.data[10] = 1;
}

void
assert_answered(const char *part)
{
	assert_true(answer.is_ended);
	assert_true(answer.is_closed);
	assert_told(part);
}

void
assert_told(const char *part)
{
	if (strstr(answer.text, part) == NULL)
		fail_msg("no '%s' in: %.300s", part, answer.text);
}

void
assert_no_answer(void)
{
	assert_false(answer.is_ended);
	assert_int_equal(answer.len, 0);
}

int64_t
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

uint64_t
bad_peers(const struct fixture *f)
{
	return counted(f->shared, TALLY_BAD_PEERS);
}

void
wait_for_bad_peers(const struct fixture *f, uint64_t count)
{
	int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;

	while (bad_peers(f) < count && clock_left_ms(until_ms) > 0)
		usleep(1000);
	assert_int_equal(bad_peers(f), count);
}
