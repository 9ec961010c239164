/*
 * The front against peers that are slow, silent, broken or hostile: a process
 * runs front_step() with a serve() of its own here, the test speaks to its
 * sockets. A peer may lose its own request; nobody else may notice.
 */
#include "config.h"

#include "front_fixture.h"

#include "clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"

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
	assert_int_equal(counted(f->shared, TALLY_REQUESTS), 4);
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

/* A check may be read in another way when it comes whole (plain.h). */
static void
a_check_in_two_pieces_is_answered_as_the_whole_is(void **state)
{
	static char whole[sizeof(answer.text)];
	struct fixture *f = *state;
	size_t cut;
	int role, fd;

	for (role = RESPONDER; role <= AUTHORIZER; role++) {
		make_request(role, "/cut", "", 0);
		packet_pair(&pairs, "SESSGATE_CHECK", "1");
		packet_pair(&pairs, "HTTP_X_OTHER", "value");
		packet_request(&request, role, &pairs, "", 0);
		for (cut = 0; cut < request.len; cut++) {
			fd = connect_pool(f);
			assert_true(send_bytes(fd, request.data, cut));
			if (cut > 0)
				usleep(300);
			assert_true(send_bytes(
			    fd, request.data + cut, request.len - cut));
			receive(fd);
			assert_answered("URI /cut\n");
			if (cut == 0)
				memcpy(whole, answer.text, answer.len + 1);
			assert_string_equal(answer.text, whole);
		}
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
	while (counted(f->shared, TALLY_REQUESTS) < 21)
		usleep(1000);
	/* Nothing more is sent, and none is closed here. */
	stop(f, 0);
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
	assert_int_equal(counted(f->shared, TALLY_REQUESTS), 1);
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
	int descriptors = descriptors_of(f->pids[0]);

	make_request(AUTHORIZER, "/q", "", 0);
	kinds[0] = request;
	make_request(RESPONDER, "/q", "hello", 5);
	kinds[1] = kinds[2] = request;
	request.data[request.len - 7] = ABORT_REQUEST;
	kinds[3] = request;
	for (i = 0; i < count; i++) {
		ask_quickly(f, kinds, i);
		if (i == 10000)
			warm_kib = rss_anon_kib(f->pids[0]);
		/* A busy machine: fewer say enough. */
		if (i >= 20000 && clock_monotonic_ms() - started_ms > 20000)
			break;
	}
	ask(f);
	print_message("# %u requests in %lld ms, RssAnon %ld -> %ld KiB\n", i,
	    (long long)(clock_monotonic_ms() - started_ms), warm_kib,
	    rss_anon_kib(f->pids[0]));
	assert_int_equal(descriptors_of(f->pids[0]), descriptors);
	if (!IS_SANITIZED)
		assert_true(rss_anon_kib(f->pids[0]) - warm_kib <= 128);
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
		start(f, 0, limit);
		for (i = 0; i < 60; i++)
			fds[i] = connect_pool(f);
		assert_true(ask(f) < READ_TIMEOUT_MS / 2);
		for (i = 0; i < 60; i++)
			close(fds[i]);
		stop(f, 0);
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

	start(f, 0, 0);
	assert_int_equal(prlimit(f->pids[0], RLIMIT_NOFILE, NULL, &before), 0);
	none = before;
	none.rlim_cur = 3; /* of which none is free */
	assert_int_equal(prlimit(f->pids[0], RLIMIT_NOFILE, &none, NULL), 0);
	before_ms = cpu_ms(f->pids[0]);
	started_ms = clock_monotonic_ms();
	fd = connect_pool(f);
	usleep(300000);
	assert_int_equal(prlimit(f->pids[0], RLIMIT_NOFILE, &before, NULL), 0);
	/* Paused for a second, then it was taken. */
	assert_true(ask(f) < 2000);
	assert_true(clock_monotonic_ms() - started_ms > 900);
	assert_true(cpu_ms(f->pids[0]) - before_ms < 200);
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
	kill(f->pids[0], SIGSTOP);
	for (i = 0; i < 30; i++) {
		fds[i] = connect_pool(f);
		assert_true(send_packet(fds[i], &request));
	}
	kill(f->pids[0], SIGTERM);
	kill(f->pids[0], SIGCONT);
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
	stop(f, 0);
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, set_up_and_start, tear_down)
#define TEST_NOT_STARTED(name)                                                 \
	cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest front_tests[] = {
    TEST(a_whole_request_is_answered_on_every_socket),
    TEST(a_request_in_two_pieces_is_answered_wherever_it_is_cut),
    TEST(a_check_in_two_pieces_is_answered_as_the_whole_is),
    TEST(a_request_in_single_bytes_is_answered),
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
