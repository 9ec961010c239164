/* The FastCGI client, against bytes and against a scripted server. */
#include "config.h"

#include "fcgi_client.h"

#include "clock.h"
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define OUTPUT_MAX 1000

static const unsigned char end_ok[16] = {1, 3, 0, 1, 0, 8};

/* ---- records ---- */

static void
add_record(struct buf *out, unsigned char type, const char *content, size_t len,
    unsigned char padding)
{
	const unsigned char header[8] = {1, type, 0, 1,
	    (unsigned char)(len >> 8), (unsigned char)len, padding, 0};
	static const char zeros[256];

	buf_add(out, header, sizeof(header));
	buf_add(out, content, len);
	buf_add(out, zeros, padding);
}

static void
add_text(struct buf *out, unsigned char type, const char *text)
{
	add_record(out, type, text, strlen(text), 0);
}

static void
add_end(struct buf *out, unsigned char protocol_status)
{
	const char body[8] = {0, 0, 0, 0, (char)protocol_status};

	add_record(out, 3, body, sizeof(body), 0);
}

/* ---- the reader ---- */

static void
reader_takes_an_answer_cut_at_every_byte(void **state)
{
	struct fcgi_reader reader;
	struct sgate_error err;
	struct buf in = {0};
	size_t cut;

	(void)state;
	add_record(&in, 6, "Status: 200", 11, 5);
	add_text(&in, 7, "a warning");
	add_text(&in, 6, " OK\n\nbody");
	add_text(&in, 6, "");
	add_end(&in, 0);
	for (cut = 0; cut <= in.len; cut++) {
		fcgi_reader_init(&reader, OUTPUT_MAX);
		assert_int_equal(
		    fcgi_reader_feed(&reader, in.data, cut, &err), SGATE_OK);
		if (cut < in.len)
			assert_int_equal(reader.state, FCGI_READER_MORE);
		assert_int_equal(fcgi_reader_feed(&reader, in.data + cut,
				     in.len - cut, &err),
		    SGATE_OK);
		assert_int_equal(reader.state, FCGI_READER_DONE);
		assert_string_equal(
		    buf_text(&reader.output), "Status: 200 OK\n\nbody");
		assert_string_equal(buf_text(&reader.errors), "a warning");
		fcgi_reader_clear(&reader);
	}
	buf_clear(&in);
}

static enum sgate_status
feed_all(const struct buf *in, enum fcgi_reader_state *out_state)
{
	struct fcgi_reader reader;
	struct sgate_error err;
	enum sgate_status status;

	fcgi_reader_init(&reader, OUTPUT_MAX);
	status = fcgi_reader_feed(&reader, in->data, in->len, &err);
	*out_state = reader.state;
	fcgi_reader_clear(&reader);
	return status;
}

static void
reader_refuses_what_is_not_an_answer_to_request_1(void **state)
{
	static const unsigned char heads[][8] = {
	    {2, 6, 0, 1, 0, 1}, /* version */
	    {0, 6, 0, 1, 0, 1},
	    {1, 6, 0, 2, 0, 1}, /* request id */
	    {1, 6, 1, 1, 0, 1},
	    {1, 10, 0, 0, 0, 1}, /* a management record */
	    {1, 1, 0, 1, 0, 8},  /* types that only a web server sends */
	    {1, 5, 0, 1, 0, 0},
	    {1, 99, 0, 1, 0, 0},
	    {1, 3, 0, 1, 0, 7}, /* a short END_REQUEST */
	    {1, 3, 0, 1, 0, 0},
	    {'H', 'T', 'T', 'P', '/', '1', '.', '1'},
	};
	enum fcgi_reader_state end;
	struct buf in = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		buf_reset(&in);
		buf_add(&in, heads[i], 8);
		assert_int_equal(feed_all(&in, &end), SGATE_INVALID);
		assert_int_equal(end, FCGI_READER_BAD);
	}
	buf_clear(&in);
}

static void
reader_ends_at_end_request_and_ignores_the_rest(void **state)
{
	enum fcgi_reader_state end;
	struct buf in = {0};

	(void)state;
	add_end(&in, 0);
	buf_add_text(&in, "garbage that nobody reads");
	assert_int_equal(feed_all(&in, &end), SGATE_OK);
	assert_int_equal(end, FCGI_READER_DONE);
	buf_clear(&in);
}

static void
reader_says_when_the_server_refused(void **state)
{
	enum fcgi_reader_state end;
	struct buf in = {0};
	unsigned char i;

	(void)state;
	for (i = 1; i <= 4; i++) {
		buf_reset(&in);
		add_end(&in, i);
		assert_int_equal(feed_all(&in, &end),
		    i == 4 ? SGATE_INVALID : SGATE_UNAVAILABLE);
		assert_int_equal(end, FCGI_READER_BAD);
	}
	buf_clear(&in);
}

static void
reader_takes_output_up_to_the_limit(void **state)
{
	enum fcgi_reader_state end;
	char text[OUTPUT_MAX + 1];
	struct buf in = {0};

	(void)state;
	memset(text, 'x', sizeof(text));
	add_record(&in, 6, text, OUTPUT_MAX - 1, 0);
	add_record(&in, 6, text, 1, 255);
	add_end(&in, 0);
	assert_int_equal(feed_all(&in, &end), SGATE_OK);
	buf_reset(&in);
	add_record(&in, 6, text, OUTPUT_MAX, 0);
	add_record(&in, 6, text, 1, 0);
	assert_int_equal(feed_all(&in, &end), SGATE_TOO_LARGE);
	buf_clear(&in);
}

static void
reader_keeps_only_the_beginning_of_stderr(void **state)
{
	static char text[60000];
	struct fcgi_reader reader;
	struct sgate_error err;
	struct buf in = {0};

	(void)state;
	memset(text, 'x', sizeof(text));
	add_record(&in, 7, text, sizeof(text), 0);
	add_record(&in, 7, text, sizeof(text), 0);
	add_end(&in, 0);
	fcgi_reader_init(&reader, OUTPUT_MAX);
	assert_int_equal(
	    fcgi_reader_feed(&reader, in.data, in.len, &err), SGATE_OK);
	assert_int_equal(reader.state, FCGI_READER_DONE);
	assert_int_equal(reader.errors.len, FCGI_CLIENT_ERRORS_MAX);
	assert_int_equal(reader.output.len, 0);
	fcgi_reader_clear(&reader);
	buf_clear(&in);
}

/* ---- taking an answer apart ---- */

static enum sgate_status
split(struct fcgi_answer *answer, const char *text)
{
	struct sgate_error err;

	memset(answer, 0, sizeof(*answer));
	buf_add_text(&answer->raw, text);
	return fcgi_answer_split(answer, &err);
}

static void
answer_has_status_type_and_body(void **state)
{
	struct fcgi_answer a;

	(void)state;
	assert_int_equal(split(&a, "Status: 404 Not Found\r\nCONTENT-type:\t"
				   " a/b \r\n\r\nline\r\n\r\n"),
	    SGATE_OK);
	assert_int_equal(a.status, 404);
	assert_true(bytes_equal_text(a.content_type, "a/b"));
	assert_true(bytes_equal_text(a.body, "line\r\n\r\n"));
	fcgi_answer_clear(&a);
	assert_int_equal(split(&a, "X: y\n\n"), SGATE_OK);
	assert_int_equal(a.status, 200);
	assert_int_equal(a.body.len, 0);
	fcgi_answer_clear(&a);
}

static void
answer_that_is_none_is_refused(void **state)
{
	static const char *const texts[] = {"", "\r", "Status: 200 OK\n",
	    "Status: 200 OK\nX: y", "no colon\n\n", ": empty\n\n",
	    "Status: 99 x\n\n", "Status: 600 x\n\n", "Status: 2000\n\n",
	    "Status: 20\n\n", "Status: +20 x\n\n", "Status:\n\n",
	    "Status: 200\nStatus: 200\n\n", "Status: 200,\n\n"};
	struct fcgi_answer a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(split(&a, texts[i]), SGATE_CORRUPT);
		fcgi_answer_clear(&a);
	}
}

/* ---- a server that does as it is told ---- */

struct server {
	char directory[64];
	char path[108];
	int listener;
	pthread_t thread;
	bool reads_request; /* first, the whole of it */
	bool stalls;        /* keeps the connection open, until closed */
	struct buf answer;
	size_t piece; /* sends in pieces of this many bytes; 0 = at once */
	struct buf request;
};

/* The empty STDIN record is the end of a request. */
static bool
is_whole(const struct buf *request)
{
	static const unsigned char last[8] = {1, 5, 0, 1};

	return request->len >= 16 &&
	       memcmp(request->data + request->len - 8, last, 8) == 0;
}

static void
serve_one(struct server *s, int fd)
{
	char chunk[4096];
	size_t at, take;
	ssize_t n = 1;

	while (s->reads_request && n > 0 && !is_whole(&s->request)) {
		n = read(fd, chunk, sizeof(chunk));
		if (n > 0)
			buf_add(&s->request, chunk, (size_t)n);
	}
	for (at = 0; at < s->answer.len; at += take) {
		take = s->answer.len - at;
		if (s->piece > 0 && take > s->piece)
			take = s->piece;
		if (send(fd, s->answer.data + at, take, MSG_NOSIGNAL) < 0)
			break;
		if (s->piece > 0)
			usleep(200);
	}
	/* The client closes when it gives up. */
	while (s->stalls && read(fd, chunk, sizeof(chunk)) > 0)
		continue;
}

static void *
server_run(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->listener, NULL, NULL);

	if (fd >= 0) {
		serve_one(s, fd);
		close(fd);
	}
	return NULL;
}

static int
server_open(void **state)
{
	static struct server s;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memset(&s, 0, sizeof(s));
	snprintf(s.directory, sizeof(s.directory), "/tmp/sgfc.XXXXXX");
	if (mkdtemp(s.directory) == NULL)
		return -1;
	snprintf(s.path, sizeof(s.path), "%s/s", s.directory);
	memcpy(address.sun_path, s.path, sizeof(address.sun_path));
	s.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s.listener < 0 ||
	    bind(s.listener, (struct sockaddr *)&address, sizeof(address)) !=
		0 ||
	    listen(s.listener, 1) != 0)
		return -1;
	s.reads_request = true;
	*state = &s;
	return 0;
}

static int
server_close(void **state)
{
	struct server *s = *state;

	close(s->listener);
	unlink(s->path);
	rmdir(s->directory);
	buf_clear(&s->answer);
	buf_clear(&s->request);
	return 0;
}

static enum sgate_status
call_with(struct server *s, struct sgate_bytes body, int patience_ms,
    struct fcgi_answer *answer, struct sgate_error *err)
{
	const struct fcgi_param params[] = {
	    {"REQUEST_METHOD", bytes_of("POST")},
	    {"EMPTY", bytes_of("")},
	};
	const struct fcgi_call call = {
	    .socket_path = s->path,
	    .params = params,
	    .params_count = 2,
	    .body = body,
	    .deadline_ms = clock_monotonic_ms() + patience_ms,
	    .answer_max_bytes = 100000,
	};
	enum sgate_status status;

	assert_int_equal(pthread_create(&s->thread, NULL, server_run, s), 0);
	status = fcgi_client_call(&call, answer, err);
	/* Wakes a server that was never connected to. */
	shutdown(s->listener, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	return status;
}

static enum sgate_status
call(struct server *s, int patience_ms, struct fcgi_answer *answer,
    struct sgate_error *err)
{
	return call_with(s, bytes_of("{}"), patience_ms, answer, err);
}

static void
call_sends_a_whole_request_and_gets_the_answer(void **state)
{
	static const unsigned char wanted[] = {1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0,
	    0, 0, 0, 0, 0, 1, 4, 0, 1, 0, 27, 0, 0, 14, 4, 'R', 'E', 'Q', 'U',
	    'E', 'S', 'T', '_', 'M', 'E', 'T', 'H', 'O', 'D', 'P', 'O', 'S',
	    'T', 5, 0, 'E', 'M', 'P', 'T', 'Y', 1, 4, 0, 1, 0, 0, 0, 0, 1, 5, 0,
	    1, 0, 2, 0, 0, '{', '}', 1, 5, 0, 1, 0, 0, 0, 0};
	struct server *s = *state;
	struct fcgi_answer answer;
	struct sgate_error err;

	add_text(&s->answer, 6, "Status: 201 Created\r\n\r\n{\"a\":1}");
	add_text(&s->answer, 7, "hello");
	add_end(&s->answer, 0);
	s->piece = 3;
	assert_int_equal(call(s, 5000, &answer, &err), SGATE_OK);
	assert_int_equal(answer.status, 201);
	assert_true(bytes_equal_text(answer.body, "{\"a\":1}"));
	assert_string_equal(buf_text(&answer.errors), "hello");
	assert_int_equal(s->request.len, sizeof(wanted));
	assert_memory_equal(s->request.data, wanted, sizeof(wanted));
	fcgi_answer_clear(&answer);
}

static void
call_splits_a_large_body_into_records(void **state)
{
	static char body[200000];
	struct server *s = *state;
	struct fcgi_answer answer;
	struct sgate_error err;
	size_t records = 200000 / 65528 + 1;

	memset(body, 'b', sizeof(body));
	add_text(&s->answer, 6, "Status: 200 OK\n\n");
	add_end(&s->answer, 0);
	assert_int_equal(call_with(s, (struct sgate_bytes){body, sizeof(body)},
			     5000, &answer, &err),
	    SGATE_OK);
	assert_int_equal(
	    s->request.len, 16 + 8 + 27 + 8 + sizeof(body) + 8 * records + 8);
	fcgi_answer_clear(&answer);
}

static void
call_hears_an_answer_that_comes_before_the_body_was_read(void **state)
{
	static char body[4000000];
	struct server *s = *state;
	struct fcgi_answer answer;
	struct sgate_error err;

	s->reads_request = false;
	s->stalls = true;
	add_text(&s->answer, 6, "Status: 413 Too Large\n\n");
	add_end(&s->answer, 0);
	assert_int_equal(call_with(s, (struct sgate_bytes){body, sizeof(body)},
			     5000, &answer, &err),
	    SGATE_OK);
	assert_int_equal(answer.status, 413);
	fcgi_answer_clear(&answer);
}

static void
call_to_a_silent_server_ends_at_the_deadline(void **state)
{
	struct server *s = *state;
	struct fcgi_answer answer;
	struct sgate_error err;
	int64_t began = clock_monotonic_ms(), took;

	s->stalls = true;
	add_text(&s->answer, 6, "Status: 200 OK\n");
	assert_int_equal(call(s, 150, &answer, &err), SGATE_UNCERTAIN);
	took = clock_monotonic_ms() - began;
	assert_true(took >= 140 && took < 2000);
	assert_string_equal(err.text, "no answer in time");
	fcgi_answer_clear(&answer);
}

static void
call_to_a_slow_server_ends_at_the_deadline_too(void **state)
{
	struct server *s = *state;
	struct fcgi_answer answer;
	struct sgate_error err;
	int64_t began = clock_monotonic_ms();
	int i;

	/* Never silent for long, but never done. */
	for (i = 0; i < 20000; i++)
		add_text(&s->answer, 7, "x");
	s->piece = 9;
	assert_int_equal(call(s, 150, &answer, &err), SGATE_UNCERTAIN);
	assert_true(clock_monotonic_ms() - began < 2000);
	fcgi_answer_clear(&answer);
}

static void
call_that_is_cut_off_is_uncertain(void **state)
{
	struct server *s = *state;
	struct fcgi_answer answer;
	struct sgate_error err;

	add_text(&s->answer, 6, "Status: 200 OK\n\nall of it");
	assert_int_equal(call(s, 5000, &answer, &err), SGATE_UNCERTAIN);
	fcgi_answer_clear(&answer);
}

static void
call_with_an_empty_answer_is_corrupt(void **state)
{
	struct server *s = *state;
	struct fcgi_answer answer;
	struct sgate_error err;

	buf_add(&s->answer, end_ok, sizeof(end_ok));
	assert_int_equal(call(s, 5000, &answer, &err), SGATE_CORRUPT);
	fcgi_answer_clear(&answer);
}

static void
call_with_garbage_is_corrupt(void **state)
{
	struct server *s = *state;
	struct fcgi_answer answer;
	struct sgate_error err;

	buf_add_text(&s->answer, "HTTP/1.1 200 OK\r\n\r\nhello");
	assert_int_equal(call(s, 5000, &answer, &err), SGATE_CORRUPT);
	assert_int_equal(err.status, SGATE_CORRUPT);
	fcgi_answer_clear(&answer);
}

static void
call_with_an_oversized_answer_is_too_large(void **state)
{
	static char text[60000];
	struct server *s = *state;
	struct fcgi_answer answer;
	struct sgate_error err;

	memset(text, 'x', sizeof(text));
	add_record(&s->answer, 6, text, sizeof(text), 0);
	add_record(&s->answer, 6, text, sizeof(text), 0);
	add_end(&s->answer, 0);
	assert_int_equal(call(s, 5000, &answer, &err), SGATE_TOO_LARGE);
	fcgi_answer_clear(&answer);
}

/* ---- nobody there ---- */

static enum sgate_status
call_path(const char *path, int patience_ms, struct sgate_error *err)
{
	const struct fcgi_call c = {
	    .socket_path = path,
	    .deadline_ms = clock_monotonic_ms() + patience_ms,
	    .answer_max_bytes = 1000,
	};
	struct fcgi_answer answer;
	enum sgate_status status = fcgi_client_call(&c, &answer, err);

	fcgi_answer_clear(&answer);
	return status;
}

static void
call_to_nobody_is_unavailable(void **state)
{
	char long_path[200];
	struct sgate_error err;

	(void)state;
	assert_int_equal(
	    call_path("/nonexistent/s", 1000, &err), SGATE_UNAVAILABLE);
	assert_int_equal(err.native_code, ENOENT);
	assert_int_equal(call_path("", 1000, &err), SGATE_INVALID);
	memset(long_path, 'x', sizeof(long_path));
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(call_path(long_path, 1000, &err), SGATE_INVALID);
}

static void
call_to_a_full_backlog_ends_at_the_deadline(void **state)
{
	struct server *s = *state;
	struct sgate_error err;
	int64_t began;
	int i;

	/* Nobody accepts; a backlog of 1 holds two connections. */
	for (i = 0; i < 4; i++) {
		began = clock_monotonic_ms();
		if (call_path(s->path, 100, &err) == SGATE_UNAVAILABLE)
			break;
		/* The connection stood in the backlog and got no answer. */
		assert_int_equal(err.status, SGATE_UNCERTAIN);
	}
	assert_true(i < 4);
	assert_int_equal(err.native_code, ETIMEDOUT);
	assert_true(clock_monotonic_ms() - began < 2000);
}

static const struct CMUnitTest fcgi_client_tests[] = {
    cmocka_unit_test(reader_takes_an_answer_cut_at_every_byte),
    cmocka_unit_test(reader_refuses_what_is_not_an_answer_to_request_1),
    cmocka_unit_test(reader_ends_at_end_request_and_ignores_the_rest),
    cmocka_unit_test(reader_says_when_the_server_refused),
    cmocka_unit_test(reader_takes_output_up_to_the_limit),
    cmocka_unit_test(reader_keeps_only_the_beginning_of_stderr),
    cmocka_unit_test(answer_has_status_type_and_body),
    cmocka_unit_test(answer_that_is_none_is_refused),
    cmocka_unit_test_setup_teardown(
	call_sends_a_whole_request_and_gets_the_answer, server_open,
	server_close),
    cmocka_unit_test_setup_teardown(
	call_splits_a_large_body_into_records, server_open, server_close),
    cmocka_unit_test_setup_teardown(
	call_hears_an_answer_that_comes_before_the_body_was_read, server_open,
	server_close),
    cmocka_unit_test_setup_teardown(
	call_to_a_silent_server_ends_at_the_deadline, server_open,
	server_close),
    cmocka_unit_test_setup_teardown(
	call_to_a_slow_server_ends_at_the_deadline_too, server_open,
	server_close),
    cmocka_unit_test_setup_teardown(
	call_that_is_cut_off_is_uncertain, server_open, server_close),
    cmocka_unit_test_setup_teardown(
	call_with_an_empty_answer_is_corrupt, server_open, server_close),
    cmocka_unit_test_setup_teardown(
	call_with_garbage_is_corrupt, server_open, server_close),
    cmocka_unit_test_setup_teardown(
	call_with_an_oversized_answer_is_too_large, server_open, server_close),
    cmocka_unit_test(call_to_nobody_is_unavailable),
    cmocka_unit_test_setup_teardown(
	call_to_a_full_backlog_ends_at_the_deadline, server_open, server_close),
};

TAP_MAIN(fcgi_client_tests)
