/*
 * Connections that the web server keeps open: each request on them is a
 * request as any other, they hold nobody up, and they change hands when their
 * worker is busy or ends.
 */
#include "config.h"

#include "front_fixture.h"

#include "clock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

static char body[2 * BODY_MAX];

/* Which process gave the last answer. */
static pid_t
answered_by(void)
{
	const char *by = strstr(answer.text, "BY ");

	assert_non_null(by);
	return (pid_t)strtol(by + 3, NULL, 10);
}

static void
ask_on(int fd, const char *uri)
{
	make_request(RESPONDER, uri, "hello", 5);
	set_keep();
	assert_true(send_packet(fd, &request));
	receive_kept(fd);
	assert_told("BODY 5 532\n");
}

static int
connect_and_keep(struct fixture *f)
{
	int fd = connect_pool(f);

	ask_on(fd, "/keep");
	return fd;
}

static void
assert_closed(int fd)
{
	receive(fd);
	assert_no_answer();
	assert_true(answer.is_closed);
}

/* ---- requests ---- */

static void
requests_follow_each_other_on_one_connection(void **state)
{
	struct fixture *f = *state;
	int kind, fd, i;

	for (kind = 0; kind < 2; kind++) {
		fd = kind == 0 ? connect_pool(f)
			       : connect_to(&f->tcp, sizeof(f->tcp));
		for (i = 0; i < 300; i++) {
			make_request(i % 3 == 0 ? AUTHORIZER : RESPONDER, "/k",
			    "hello", 5);
			set_keep();
			assert_true(send_packet(fd, &request));
			receive_kept(fd);
			assert_told(i % 3 == 0 ? "ROLE authorizer\nURI /k\n"
					       : "BODY 5 532\n");
		}
		/* The last one says that it is the last. */
		make_request(RESPONDER, "/last", "", 0);
		assert_true(send_packet(fd, &request));
		receive(fd);
		assert_answered("URI /last\n");
	}
	assert_int_equal(counted(f->shared, TALLY_REQUESTS), 602);
	assert_int_equal(bad_peers(f), 0);
}

static void
a_second_request_may_come_in_pieces(void **state)
{
	struct fixture *f = *state;
	int fd = connect_and_keep(f);
	size_t cut;

	make_request(RESPONDER, "/cut", "some body", 9);
	set_keep();
	for (cut = 1; cut < request.len; cut++) {
		assert_true(send_bytes(fd, request.data, cut));
		usleep(300);
		assert_true(
		    send_bytes(fd, request.data + cut, request.len - cut));
		receive_kept(fd);
		assert_told("URI /cut\nPEER -1\nBODY 9 898\n");
	}
	close(fd);
	assert_true(ask(f) < SOON_MS);
	assert_int_equal(bad_peers(f), 0);
}

static void
bodies_of_any_allowed_size_keep_it(void **state)
{
	static const size_t sizes[] = {0, 1, 8192, 65536, BODY_MAX};
	struct fixture *f = *state;
	int fd = connect_pool(f);
	char expected[64];
	size_t i;

	memset(body, 1, sizeof(body));
	for (i = 0; i < 10; i++) {
		make_request(RESPONDER, "/b", body, sizes[i % 5]);
		set_keep();
		assert_true(send_packet(fd, &request));
		receive_kept(fd);
		snprintf(expected, sizeof(expected), "BODY %zu %zu\n",
		    sizes[i % 5], sizes[i % 5]);
		assert_told(expected);
	}
	close(fd);
}

/* What of it still comes would be taken for the next request. */
static void
a_body_that_is_too_large_closes_it(void **state)
{
	struct fixture *f = *state;
	int fd = connect_and_keep(f);

	make_request(RESPONDER, "/noread", body, BODY_MAX + 1);
	set_keep();
	assert_true(send_packet(fd, &request));
	receive(fd);
	assert_answered("Status: 200 OK");
	assert_true(ask(f) < SOON_MS);
}

/* Apache writes the end of STDIN by itself, and uses the connection at once. */
static void
a_check_is_answered_behind_its_last_byte(void **state)
{
	struct fixture *f = *state;
	int fd = connect_and_keep(f), i;

	make_request(RESPONDER, "/check", "", 0);
	packet_pair(&pairs, "SESSGATE_CHECK", "1");
	packet_begin(&request, RESPONDER, 1);
	packet_stream(&request, PARAMS, pairs.data, pairs.len, 65528, 0);
	packet_record(&request, STDIN, "", 0);
	for (i = 0; i < 20; i++) {
		assert_true(send_bytes(fd, request.data, request.len - 8));
		usleep(1000);
		assert_true(send_bytes(fd, request.data + request.len - 8, 8));
		receive_kept(fd);
		assert_told("URI /check\n");
	}
	close(fd);
	assert_true(ask(f) < SOON_MS);
	assert_int_equal(bad_peers(f), 0);
}

static void
what_stands_behind_a_request_closes_it(void **state)
{
	struct fixture *f = *state;
	static struct packet first;
	int fd, round;

	for (round = 0; round < 3; round++) {
		make_request(RESPONDER, "/first", "x", 1);
		set_keep();
		first = request;
		make_request(RESPONDER, "/second", "x", 1);
		set_keep();
		if (round == 0)
			packet_add(&first, request.data, request.len);
		else if (round == 1)
			packet_add(&first, "\0\0\0\0garbage", 11);
		else
			packet_add(&first, "", 1);
		fd = connect_and_keep(f);
		assert_true(send_packet(fd, &first));
		receive(fd);
		assert_answered("URI /first\n");
		assert_null(strstr(answer.text, "second"));
	}
	assert_true(ask(f) < SOON_MS);
}

static void
an_aborted_second_request_gets_no_answer(void **state)
{
	struct fixture *f = *state;
	int fd = connect_and_keep(f);

	make_request(RESPONDER, "/x", "abc", 3);
	set_keep();
	request.len -= 8;
	packet_record(&request, ABORT_REQUEST, "", 0);
	assert_true(send_packet(fd, &request));
	assert_closed(fd);
	wait_for_bad_peers(f, 1);
}

/* ---- time and places ---- */

static void
half_a_second_request_is_cut_off_at_its_deadline(void **state)
{
	struct fixture *f = *state;
	int fd = connect_and_keep(f);
	int64_t started_ms;

	/* Not counted from the last answer. */
	usleep(READ_TIMEOUT_MS * 3 / 2 * 1000);
	make_request(RESPONDER, "/half", "hello", 5);
	set_keep();
	started_ms = clock_monotonic_ms();
	assert_true(send_bytes(fd, request.data, request.len / 2));
	assert_closed(fd);
	assert_in_range(clock_monotonic_ms() - started_ms,
	    READ_TIMEOUT_MS - 100, READ_TIMEOUT_MS + 4 * SOON_MS);
	wait_for_bad_peers(f, 1);
}

static void
an_idle_one_is_closed_in_time_and_is_no_bad_peer(void **state)
{
	struct fixture *f = *state;
	int gone = connect_and_keep(f), idle;
	int64_t started_ms;

	close(gone);
	idle = connect_and_keep(f);
	started_ms = clock_monotonic_ms();
	assert_closed(idle);
	assert_in_range(clock_monotonic_ms() - started_ms,
	    KEEP_TIMEOUT_MS - 100, KEEP_TIMEOUT_MS + 4 * SOON_MS);
	assert_int_equal(bad_peers(f), 0);
}

static void
with_keep_timeout_0_none_is_kept(void **state)
{
	struct fixture *f = *state;
	int64_t started_ms;
	int fd;

	f->conf.gateway.keep_timeout_ms = 0;
	start(f, 0, 0);
	fd = connect_pool(f);
	make_request(RESPONDER, "/keep", "", 0);
	set_keep();
	started_ms = clock_monotonic_ms();
	assert_true(send_packet(fd, &request));
	receive(fd);
	assert_answered("URI /keep\n");
	assert_true(clock_monotonic_ms() - started_ms < SOON_MS);
}

static void
hundreds_are_kept_and_hold_nobody_up(void **state)
{
	struct fixture *f = *state;
	static int fds[500];
	int i, round;

	f->conf.gateway.keep_timeout_ms = 30000;
	start(f, 0, 0);
	for (i = 0; i < 500; i++)
		fds[i] = connect_and_keep(f);
	assert_true(ask(f) < SOON_MS);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 500; i++)
			ask_on(fds[i], "/again");
	}
	for (i = 0; i < 500; i++)
		close(fds[i]);
	assert_int_equal(bad_peers(f), 0);
}

static void
more_than_there_are_places_for_cost_the_oldest(void **state)
{
	struct fixture *f = *state;
	static int fds[600];
	int i;

	f->conf.gateway.keep_timeout_ms = 30000;
	start(f, 0, 0);
	for (i = 0; i < 600; i++)
		fds[i] = connect_and_keep(f);
	for (i = 0; i < 88; i++)
		assert_closed(fds[i]);
	for (i = 88; i < 600; i++) {
		ask_on(fds[i], "/still");
		close(fds[i]);
	}
	assert_int_equal(bad_peers(f), 0);
}

static void
wait_for_requests(const struct fixture *f, uint64_t count)
{
	int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;

	while (counted(f->shared, TALLY_REQUESTS) < count &&
	       clock_left_ms(until_ms) > 0)
		usleep(1000);
	assert_int_equal(counted(f->shared, TALLY_REQUESTS), count);
}

/* 16 MiB may wait in a process, and these want more. */
#define UNREAD 30

static void
bytes_that_nobody_reads_cost_those_who_hold_them(void **state)
{
	struct fixture *f = *state;
	int unread[UNREAD], kept, i;

	f->conf.gateway.keep_timeout_ms = 30000;
	f->conf.gateway.read_timeout_ms = 30000;
	start(f, 0, 0);
	kept = connect_and_keep(f);
	make_request(RESPONDER, "/large", "", 0);
	for (i = 0; i < UNREAD; i++) {
		unread[i] = connect_pool(f);
		assert_true(send_packet(unread[i], &request));
	}
	wait_for_requests(f, UNREAD + 1);
	/* Served behind the last of them. */
	ask(f);
	/* The oldest is gone: it ends without all of its answer. */
	receive(unread[0]);
	assert_false(answer.is_ended);
	ask_on(kept, "/still");
	close(kept);
	receive(unread[UNREAD - 1]);
	assert_answered("URI /large\n");
	for (i = 1; i < UNREAD - 1; i++)
		close(unread[i]);
	stop(f, 0);
}

#define FEW 8

/* Nobody is there who could have them. */
static void
when_all_stops_who_still_asks_is_answered(void **state)
{
	struct fixture *f = *state;
	_Atomic int *now;
	int fds[FEW], i;

	f->conf.gateway.keep_timeout_ms = 30000;
	start(f, 0, 0);
	for (i = 0; i < FEW; i++)
		fds[i] = connect_and_keep(f);
	now = &f->shared->workers[0].state;
	atomic_store(&f->shared->stopping, 1);
	kill(f->pids[0], SIGTERM);
	while (atomic_load(now) != SHARED_STOPPING)
		usleep(1000);
	usleep(20000);
	for (i = 0; i < FEW / 2; i++) {
		ask_on(fds[i], "/last");
		assert_closed(fds[i]);
	}
	for (; i < FEW; i++)
		assert_closed(fds[i]);
	assert_int_equal(bad_peers(f), 0);
}

/* ---- changing hands ---- */

/* Kept connections of process 0, with process 1 beside it. */
static void
keep_with_the_first(struct fixture *f, int fds[], int count)
{
	int i;

	f->conf.gateway.keep_timeout_ms = 30000;
	start(f, 0, 0);
	for (i = 0; i < count; i++) {
		fds[i] = connect_and_keep(f);
		assert_int_equal(answered_by(), f->pids[0]);
	}
	start(f, 1, 0);
}

static void
another_serves_those_of_one_that_waits_for_a_store(void **state)
{
	struct fixture *f = *state;
	int64_t started_ms;
	int fds[FEW], i;

	keep_with_the_first(f, fds, FEW);
	make_request(RESPONDER, "/block", "hello", 5);
	set_keep();
	started_ms = clock_monotonic_ms();
	assert_true(send_packet(fds[0], &request));
	/* Some at once, some while it waits. */
	for (i = 1; i < FEW; i++) {
		if (i == FEW / 2)
			usleep(50000);
		ask_on(fds[i], "/meanwhile");
		assert_int_equal(answered_by(), f->pids[1]);
	}
	assert_true(clock_monotonic_ms() - started_ms < BLOCK_MS);
	receive_kept(fds[0]);
	assert_told("URI /block\n");
	assert_int_equal(answered_by(), f->pids[0]);
	assert_true(clock_monotonic_ms() - started_ms >= BLOCK_MS - 1);
	for (i = 0; i < FEW; i++) {
		ask_on(fds[i], "/after");
		close(fds[i]);
	}
	assert_int_equal(bad_peers(f), 0);
}

static void
one_that_has_sent_nothing_yet_changes_hands_too(void **state)
{
	struct fixture *f = *state;
	int busy, late;

	keep_with_the_first(f, &busy, 1);
	/* The first is the first to be woken, so it accepts this one. */
	late = connect_pool(f);
	usleep(20000);
	make_request(RESPONDER, "/block", "hello", 5);
	set_keep();
	assert_true(send_packet(busy, &request));
	usleep(20000);
	make_request(RESPONDER, "/late", "hello", 5);
	assert_true(send_packet(late, &request));
	receive(late);
	assert_answered("URI /late\n");
	assert_int_equal(answered_by(), f->pids[1]);
	receive_kept(busy);
	close(busy);
	assert_int_equal(bad_peers(f), 0);
}

/* The one that is being served stays, whatever else comes on it. */
static void
a_second_request_that_does_not_wait_is_served_next(void **state)
{
	struct fixture *f = *state;
	int fd;

	keep_with_the_first(f, &fd, 1);
	make_request(RESPONDER, "/block", "hello", 5);
	set_keep();
	assert_true(send_packet(fd, &request));
	usleep(50000);
	make_request(RESPONDER, "/second", "hello", 5);
	set_keep();
	assert_true(send_packet(fd, &request));
	receive_kept(fd);
	assert_told("URI /block\n");
	assert_int_equal(answered_by(), f->pids[0]);
	/* Both answers may have come at once. */
	if (strstr(answer.text, "/second") == NULL)
		receive_kept(fd);
	assert_told("URI /second\n");
	close(fd);
}

static void
a_process_that_ends_gives_away_what_it_keeps(void **state)
{
	struct fixture *f = *state;
	static int fds[300];
	int i;

	keep_with_the_first(f, fds, 300);
	stop(f, 0);
	for (i = 0; i < 300; i++) {
		ask_on(fds[i], "/with another");
		assert_int_equal(answered_by(), f->pids[1]);
		close(fds[i]);
	}
	assert_int_equal(bad_peers(f), 0);
}

/* What has been given belongs to nobody's life. */
static void
what_is_given_waits_for_the_next_process(void **state)
{
	struct fixture *f = *state;
	int fds[FEW], i, status;

	keep_with_the_first(f, fds, FEW);
	kill(f->pids[1], SIGSTOP);
	stop(f, 0);
	kill(f->pids[1], SIGKILL);
	assert_int_equal(waitpid(f->pids[1], &status, 0), f->pids[1]);
	f->pids[1] = 0;
	f->shared->workers[0].state = SHARED_FREE;
	make_request(RESPONDER, "/early", "hello", 5);
	set_keep();
	assert_true(send_packet(fds[0], &request));
	start(f, 0, 0);
	receive_kept(fds[0]);
	assert_told("URI /early\n");
	for (i = 0; i < FEW; i++) {
		ask_on(fds[i], "/next");
		close(fds[i]);
	}
}

static void
a_killed_process_takes_only_its_own_along(void **state)
{
	struct fixture *f = *state;
	int mine, other, fd, status;

	keep_with_the_first(f, &mine, 1);
	make_request(RESPONDER, "/block", "hello", 5);
	set_keep();
	assert_true(send_packet(mine, &request));
	usleep(50000);
	other = connect_and_keep(f);
	assert_int_equal(answered_by(), f->pids[1]);
	kill(f->pids[0], SIGKILL);
	assert_int_equal(waitpid(f->pids[0], &status, 0), f->pids[0]);
	f->pids[0] = 0;
	assert_closed(mine);
	ask_on(other, "/other");
	close(other);
	fd = connect_and_keep(f);
	close(fd);
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, set_up_and_start, tear_down)
#define TEST_NOT_STARTED(name)                                                 \
	cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest front_keep_tests[] = {
    TEST(requests_follow_each_other_on_one_connection),
    TEST(a_second_request_may_come_in_pieces),
    TEST(bodies_of_any_allowed_size_keep_it),
    TEST(a_body_that_is_too_large_closes_it),
    TEST(a_check_is_answered_behind_its_last_byte),
    TEST(what_stands_behind_a_request_closes_it),
    TEST(an_aborted_second_request_gets_no_answer),
    TEST(half_a_second_request_is_cut_off_at_its_deadline),
    TEST(an_idle_one_is_closed_in_time_and_is_no_bad_peer),
    TEST_NOT_STARTED(with_keep_timeout_0_none_is_kept),
    TEST_NOT_STARTED(hundreds_are_kept_and_hold_nobody_up),
    TEST_NOT_STARTED(more_than_there_are_places_for_cost_the_oldest),
    TEST_NOT_STARTED(bytes_that_nobody_reads_cost_those_who_hold_them),
    TEST_NOT_STARTED(when_all_stops_who_still_asks_is_answered),
    TEST_NOT_STARTED(another_serves_those_of_one_that_waits_for_a_store),
    TEST_NOT_STARTED(one_that_has_sent_nothing_yet_changes_hands_too),
    TEST_NOT_STARTED(a_second_request_that_does_not_wait_is_served_next),
    TEST_NOT_STARTED(a_process_that_ends_gives_away_what_it_keeps),
    TEST_NOT_STARTED(what_is_given_waits_for_the_next_process),
    TEST_NOT_STARTED(a_killed_process_takes_only_its_own_along),
};

TAP_MAIN(front_keep_tests)
