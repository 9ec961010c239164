/*
 * The cache contract: what Redis's driver makes of a peer that is slow, late,
 * damaged or no Redis at all. The peer is a script (cache_peer.h).
 */
#include "config.h"

#include "cache_cases.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "cache_peer.h"
#include "clock.h"
#include "token.h"

/* What a question may take where nothing comes, and what it then takes at most:
 * a machine that is busy with other tests is slow. */
#define DEADLINE_MS 60
#define LATEST_MS (DEADLINE_MS + 400)
/* What it may take where something comes. */
#define ENOUGH_MS 10000

#define ACCEPT                                                                 \
	{                                                                      \
		PEER_ACCEPT, NULL, 0                                           \
	}
#define READ                                                                   \
	{                                                                      \
		PEER_READ, NULL, 0                                             \
	}
#define SAY(text)                                                              \
	{                                                                      \
		PEER_SAY, text, 0                                              \
	}
#define WAIT(ms)                                                               \
	{                                                                      \
		PEER_WAIT, NULL, ms                                            \
	}
#define HOLD                                                                   \
	{                                                                      \
		PEER_HOLD, NULL, 0                                             \
	}
#define CLOSE                                                                  \
	{                                                                      \
		PEER_CLOSE, NULL, 0                                            \
	}
#define END                                                                    \
	{                                                                      \
		PEER_END, NULL, 0                                              \
	}

/* ---- every operation ---- */

typedef enum sgate_status operation_fn(struct fixture *f);

static enum sgate_status
do_ping(struct fixture *f)
{
	return f->ops->ping(f->a, &f->err);
}

static enum sgate_status
do_get(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_copy copy;
	enum sgate_status status = f->ops->get(f->a, &ref, &copy, &f->err);

	if (status != SGATE_OK)
		assert_true(copy.record.len == 0 && copy.sync[0] == '\0');
	return status;
}

static enum sgate_status
do_put(struct fixture *f)
{
	struct cache_item item = make_item(1, make_record(1, 1, 5, "b"));
	enum cache_put answer;
	struct cache_copy copy;
	enum sgate_status status =
	    f->ops->put(f->a, &item, 1, NONE, &answer, &copy, &f->err);

	if (status != SGATE_OK)
		assert_true(answer != CACHE_PUT_OK && copy.record.len == 0);
	return status;
}

static enum sgate_status
do_end(struct fixture *f)
{
	struct cache_item item = make_item(1, make_tombstone(1, 1));

	return f->ops->end(f->a, &item, 1, 0, &f->err);
}

static enum sgate_status
do_touch(struct fixture *f)
{
	struct cache_touch item = {make_ref(GROUP, 1), 9, MINUTE_MS};

	return f->ops->touch(f->a, &item, 1, &f->err);
}

static enum sgate_status
do_sync_get(struct fixture *f)
{
	char sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];
	enum sgate_status status = f->ops->sync_get(f->a, sync, &f->err);
	unsigned i;

	for (i = 0; status != SGATE_OK && i < TOKEN_GROUPS; i++)
		assert_string_equal(sync[i], "");
	return status;
}

static enum sgate_status
do_apply(struct fixture *f)
{
	char sync[CACHE_SYNC_MAX + 1];
	enum sgate_status status =
	    f->ops->apply(f->a, GROUP, "", "1 s", NULL, 0, sync, &f->err);

	if (status != SGATE_OK)
		assert_string_equal(sync, "");
	return status;
}

static enum sgate_status
do_sync_set(struct fixture *f)
{
	return f->ops->sync_set(f->a, GROUP, "1 s", &f->err);
}

static operation_fn *const operations[] = {do_ping, do_get, do_put, do_end,
    do_touch, do_sync_get, do_apply, do_sync_set};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* ---- helpers ---- */

static void
allow(struct fixture *f, int64_t budget_ms)
{
	f->a->deadline_ms = clock_monotonic_ms() + budget_ms;
}

/* From now on handle a is one to this peer, with time enough. */
static void
meet(struct fixture *f, struct peer *peer, const struct peer_step *steps)
{
	peer_open(peer, steps);
	f->conf.redis.address = peer->address;
	f->ops->close(f->a);
	f->a = open_handle(f);
	allow(f, ENOUGH_MS);
}

static void
part(struct fixture *f, struct peer *peer)
{
	static char nowhere[] = "unix:/nowhere";

	f->conf.redis.address = nowhere;
	peer_close(peer);
}

/* It fails with this errno, in time. */
static void
assert_lost(struct fixture *f, operation_fn *operation, int code)
{
	int64_t began_ms;
	int64_t took_ms;

	allow(f, code == ETIMEDOUT ? DEADLINE_MS : ENOUGH_MS);
	began_ms = clock_monotonic_ms();
	assert_status(f, SGATE_UNAVAILABLE, operation(f));
	took_ms = clock_monotonic_ms() - began_ms;
	if (f->err.native_code != code)
		print_error("%d: %s\n", f->err.native_code, f->err.text);
	assert_int_equal(f->err.native_code, code);
	assert_string_equal(f->err.source, "redis");
	assert_int_equal(f->err.reason, SGATE_REASON_STORE);
	if (code == ETIMEDOUT)
		assert_in_range(took_ms, DEADLINE_MS - 2, LATEST_MS);
	else
		assert_in_range(took_ms, 0, ENOUGH_MS / 2);
}

/* One connection, one question, and this answer to it. */
static void
assert_answer_loses(
    struct fixture *f, operation_fn *operation, const char *answer, int code)
{
	const struct peer_step steps[] = {ACCEPT, READ, SAY(answer), END};
	struct peer peer;

	meet(f, &peer, steps);
	assert_lost(f, operation, code);
	part(f, &peer);
}

/* ---- slow ---- */

static void
one_deadline_holds_however_slowly_bytes_come(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, READ,
	    {PEER_TRICKLE, "*2\r\n$30\r\nL00010000000000010000000000005\r\n$-1",
		15},
	    END};
	size_t i;

	for (i = 0; i < OPERATIONS; i++) {
		struct peer peer;

		meet(f, &peer, steps);
		assert_lost(f, operations[i], ETIMEDOUT);
		part(f, &peer);
	}
}

static void
nobody_answering_costs_the_deadline_and_no_more(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, END};
	size_t i;

	for (i = 0; i < OPERATIONS; i++) {
		struct peer peer;

		meet(f, &peer, steps);
		assert_lost(f, operations[i], ETIMEDOUT);
		part(f, &peer);
	}
}

static void
nobody_accepting_costs_the_same(struct fixture *f)
{
	static const struct peer_step steps[] = {END};
	struct peer peer;

	meet(f, &peer, steps);
	assert_lost(f, do_get, ETIMEDOUT);
	part(f, &peer);
}

static void
a_peer_that_reads_nothing_costs_the_same(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, END};
	struct buf record = {0};
	struct cache_item item;
	enum cache_put answer;
	struct cache_copy copy;
	int64_t began_ms;
	struct peer peer;

	buf_add_bytes(&record, make_record(1, 1, 5, ""));
	while (record.len < RECORD_MAX_BYTES)
		buf_add_char(&record, 'x');
	item = make_item(1, buf_bytes(&record));
	meet(f, &peer, steps);
	allow(f, DEADLINE_MS);
	began_ms = clock_monotonic_ms();
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->put(f->a, &item, 1, NONE, &answer, &copy, &f->err));
	assert_int_equal(f->err.native_code, ETIMEDOUT);
	assert_in_range(
	    clock_monotonic_ms() - began_ms, DEADLINE_MS - 2, LATEST_MS);
	part(f, &peer);
	buf_clear(&record);
}

static void
on_alarm(int signal_number)
{
	(void)signal_number;
}

/* With SA_RESTART: a wait that begins anew would last for a second. */
static void
signals_do_not_begin_it_anew(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, READ, END};
	const struct itimerval often = {{0, 5000}, {0, 5000}};
	const struct itimerval never = {{0, 0}, {0, 0}};
	struct sigaction action = {.sa_flags = SA_RESTART}, old;
	struct peer peer;

	action.sa_handler = on_alarm;
	assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
	meet(f, &peer, steps);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	assert_lost(f, do_get, ETIMEDOUT);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	part(f, &peer);
	assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
}

static void
without_time_nothing_is_asked(struct fixture *f)
{
	static const struct peer_step steps[] = {
	    ACCEPT, READ, SAY("+PONG\r\n"), END};
	struct peer peer;
	size_t i;

	meet(f, &peer, steps);
	for (i = 0; i < OPERATIONS; i++) {
		f->a->deadline_ms = clock_monotonic_ms() - 1;
		assert_status(f, SGATE_UNAVAILABLE, operations[i](f));
		assert_int_equal(f->err.native_code, 0);
	}
	assert_int_equal(peer.accepted, 0);
	allow(f, ENOUGH_MS);
	assert_ok(f, do_ping(f));
	part(f, &peer);
}

/* TCP, where nobody answers the first packet: the backlog is full. */
static void
a_connection_that_nobody_makes_costs_the_same(struct fixture *f)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[32];
	int fillers[8];
	size_t i;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(
	    bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(
	    getsockname(listener, (struct sockaddr *)&address, &len), 0);
	for (i = 0; i < 8; i++) {
		fillers[i] = socket(
		    AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(
		    fillers[i], (struct sockaddr *)&address, sizeof(address));
	}
	snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(address.sin_port));
	f->conf.redis.address = text;
	f->ops->close(f->a);
	f->a = open_handle(f);
	assert_lost(f, do_get, ETIMEDOUT);
	for (i = 0; i < 8; i++)
		close(fillers[i]);
	close(listener);
}

/* ---- late ---- */

static void
a_late_answer_does_not_answer_the_next_question(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, READ, HOLD,
	    SAY("*2\r\n$4\r\nlate\r\n$1\r\n1\r\n"), ACCEPT, READ,
	    SAY("*2\r\n$4\r\nnext\r\n$1\r\n2\r\n"), END};
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_copy copy;
	struct peer peer;

	meet(f, &peer, steps);
	assert_lost(f, do_get, ETIMEDOUT);
	peer_go(&peer);
	allow(f, ENOUGH_MS);
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_bytes(copy.record, bytes_of("next"));
	assert_string_equal(copy.sync, "2");
	assert_int_equal(peer.accepted, 2);
	part(f, &peer);
}

static void
half_an_answer_is_none_and_its_rest_neither(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, READ,
	    SAY("*2\r\n$4\r\nla"), HOLD,
	    SAY("te\r\n$1\r\n1\r\n*2\r\n$4\r\nlate\r\n$1\r\n1\r\n"), ACCEPT,
	    READ, SAY("*2\r\n$4\r\nnext\r\n$1\r\n2\r\n"), END};
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_copy copy;
	struct peer peer;

	meet(f, &peer, steps);
	assert_lost(f, do_get, ETIMEDOUT);
	peer_go(&peer);
	allow(f, ENOUGH_MS);
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_bytes(copy.record, bytes_of("next"));
	part(f, &peer);
}

static void
what_nobody_asked_for_answers_nothing(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, READ, SAY("+PONG\r\n"),
	    HOLD, SAY("*2\r\n$7\r\nunasked\r\n$1\r\n1\r\n"), ACCEPT, READ,
	    SAY("*2\r\n$4\r\nnext\r\n$1\r\n2\r\n"), END};
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_copy copy;
	struct peer peer;

	meet(f, &peer, steps);
	assert_ok(f, do_ping(f));
	peer_go(&peer);
	peer_wait(&peer, 5);
	allow(f, ENOUGH_MS);
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_bytes(copy.record, bytes_of("next"));
	part(f, &peer);
}

static void
more_answers_than_questions_are_none(struct fixture *f)
{
	assert_answer_loses(f, do_ping, "+PONG\r\n+PONG\r\n", EPROTO);
	assert_answer_loses(f, do_ping, "+PONG\r\n$", EPROTO);
	assert_answer_loses(
	    f, do_get, "*2\r\n$-1\r\n$-1\r\n*2\r\n$-1\r\n$-1\r\n", EPROTO);
}

/* ---- closed ---- */

static void
a_connection_that_ends_is_told_and_no_signal_comes(struct fixture *f)
{
	static const struct peer_step at_once[] = {ACCEPT, CLOSE, END};
	static const struct peer_step unheard[] = {ACCEPT, READ, CLOSE, END};
	static const struct peer_step halfway[] = {
	    ACCEPT, READ, SAY("*2\r\n$4\r\nha"), CLOSE, END};
	struct sigaction action;
	struct peer peer;
	size_t i;

	for (i = 0; i < OPERATIONS; i++) {
		meet(f, &peer, unheard);
		assert_lost(f, operations[i], EPIPE);
		part(f, &peer);
		meet(f, &peer, halfway);
		assert_lost(f, operations[i], EPIPE);
		part(f, &peer);
		meet(f, &peer, at_once);
		assert_status(f, SGATE_UNAVAILABLE, operations[i](f));
		assert_int_not_equal(f->err.native_code, 0);
		part(f, &peer);
	}
	/* Whoever uses the library decides about SIGPIPE. */
	assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
	assert_true(action.sa_handler == SIG_DFL);
}

static void
a_connection_that_was_closed_meanwhile_is_made_anew(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, READ, SAY("+PONG\r\n"),
	    CLOSE, ACCEPT, READ, SAY("+PONG\r\n"), END};
	struct peer peer;

	meet(f, &peer, steps);
	assert_ok(f, do_ping(f));
	peer_wait(&peer, 4);
	allow(f, ENOUGH_MS);
	assert_ok(f, do_ping(f));
	assert_int_equal(peer.accepted, 2);
	part(f, &peer);
}

static void
why_it_closed_is_told(struct fixture *f)
{
	static const struct peer_step steps[] = {
	    ACCEPT, SAY("-ERR max number of clients reached\r\n"), CLOSE, END};
	struct peer peer;

	meet(f, &peer, steps);
	assert_status(f, SGATE_UNAVAILABLE, do_get(f));
	assert_err(f, "max number of clients reached");
	part(f, &peer);
}

static void
nobody_there_is_told(struct fixture *f)
{
	assert_lost(f, do_get, ENOENT);
	assert_err(f, "unix:/nowhere");
	assert_err(f, "is the server running?");
}

/* ---- damaged ---- */

static void
an_answer_of_another_kind_is_none(struct fixture *f)
{
	/* To MGET of a record and its sync. */
	static const char *const answers[] = {"+OK\r\n", ":1\r\n",
	    "$2\r\nOK\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "*1\r\n$1\r\na\r\n",
	    "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
	    "*2\r\n:1\r\n$1\r\nb\r\n", "*2\r\n$1\r\na\r\n+b\r\n",
	    "*2\r\n-ERR a\r\n$1\r\nb\r\n", "*2\r\n*1\r\n$1\r\na\r\n$1\r\nb\r\n",
	    "*2\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n", "*2147483647\r\n", "*17\r\n",
	    "*4294967298\r\n", "*x\r\n", "$-2\r\n", "$x\r\n",
	    "*2\r\n$99999999999999999999\r\n",
	    "HTTP/1.1 400 Bad Request\r\n\r\n", "\r\n", "%2\r\n", "_\r\n",
	    "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"};
	size_t i;

	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		assert_answer_loses(f, do_get, answers[i], EPROTO);
}

static void
every_operation_looks_at_the_kind_of_its_answer(struct fixture *f)
{
	static const char *const wrong[OPERATIONS][4] = {
	    {"+OK\r\n", "$4\r\nPONG\r\n", ":1\r\n", "*1\r\n+PONG\r\n"},
	    {"+OK\r\n", "*1\r\n$1\r\na\r\n", ":1\r\n", "$1\r\na\r\n"},
	    {"+OK\r\n", "$4\r\nDONE\r\n", "$0\r\n\r\n", "$-1\r\n"},
	    {"+OK\r\n", "$3\r\nOK!\r\n", ":1\r\n", "$-1\r\n"},
	    {"+OK\r\n", ":1\r\n", "*0\r\n", "$-1\r\n"},
	    {"+OK\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*0\r\n", "$-1\r\n"},
	    {"+OK\r\n", ":1\r\n", "*0\r\n", "$-1\r\n"},
	    {"+QUEUED\r\n", "$2\r\nOK\r\n", ":1\r\n", "$-1\r\n"}};
	size_t i, j;

	for (i = 0; i < OPERATIONS; i++)
		for (j = 0; j < 4; j++)
			assert_answer_loses(
			    f, operations[i], wrong[i][j], EPROTO);
}

/* Cut and with other bytes in it, whatever they are: an answer or none. */
static void
of_damaged_answers_none_does_harm(struct fixture *f)
{
	static const char whole[] =
	    "*2\r\n$38\r\nL00010000000000011800000000000bodybody\r\n"
	    "$9\r\n12 s 0001\r\n";
	static const char bytes[] = "\r\n$*+-:0123456789_#%>~,(=!|\x80";
	struct sgate_ref ref = make_ref(GROUP, 1);
	unsigned i, j, answered = 0;

	srandom(20261122);
	for (i = 0; i < 400; i++) {
		char text[sizeof(whole)];
		const struct peer_step steps[] = {
		    ACCEPT, READ, SAY(text), CLOSE, END};
		struct cache_copy copy;
		struct peer peer;

		memcpy(text, whole, sizeof(whole));
		for (j = (unsigned)random() % 4; j > 0; j--)
			text[(size_t)random() % (sizeof(whole) - 1)] =
			    bytes[(size_t)random() % (sizeof(bytes) - 1)];
		if (i % 4 == 0)
			text[(size_t)random() % sizeof(whole)] = '\0';
		meet(f, &peer, steps);
		if (f->ops->get(f->a, &ref, &copy, &f->err) == SGATE_OK) {
			answered++;
			assert_true(copy.record.len < sizeof(whole));
			assert_true(strlen(copy.sync) < sizeof(whole));
		} else {
			assert_int_equal(f->err.status, SGATE_UNAVAILABLE);
			assert_int_equal(copy.record.len, 0);
		}
		part(f, &peer);
	}
	assert_in_range(answered, 50, 350);
}

static void
a_length_alone_takes_no_memory_and_no_time(struct fixture *f)
{
	assert_answer_loses(
	    f, do_get, "*2\r\n$1099511627776\r\nabc", ETIMEDOUT);
	assert_answer_loses(
	    f, do_put, "$9223372036854775807\r\nabc", ETIMEDOUT);
}

static void
an_answer_without_end_is_ended(struct fixture *f)
{
	static const struct peer_step bulk[] = {ACCEPT, READ,
	    SAY("*2\r\n$1099511627776\r\n"),
	    {PEER_FLOOD, "0123456789012345678901234567890123456789", 0}, END};
	static const struct peer_step line[] = {ACCEPT, READ,
	    {PEER_FLOOD, "+012345678901234567890123456789012345678", 0}, END};
	struct peer peer;

	meet(f, &peer, bulk);
	allow(f, ENOUGH_MS);
	assert_status(f, SGATE_UNAVAILABLE, do_get(f));
	assert_int_equal(f->err.native_code, EMSGSIZE);
	part(f, &peer);
	meet(f, &peer, line);
	allow(f, ENOUGH_MS);
	assert_status(f, SGATE_UNAVAILABLE, do_ping(f));
	assert_int_equal(f->err.native_code, EMSGSIZE);
	part(f, &peer);
}

/* ---- errors that it replies ---- */

/* Whatever it is asked. */
static bool
refuses_all(const char *error)
{
	return strncmp(error, "LOADING", 7) == 0 ||
	       strncmp(error, "NOAUTH", 6) == 0 ||
	       strncmp(error, "MASTERDOWN", 10) == 0 ||
	       strncmp(error, "BUSY", 4) == 0;
}

static void
an_error_is_never_a_miss(struct fixture *f)
{
	static const char *const errors[] = {
	    "LOADING Redis is loading the dataset in memory",
	    "READONLY You can't write against a read only replica.",
	    "OOM command not allowed when used memory > 'maxmemory'.",
	    "NOAUTH Authentication required.",
	    "MASTERDOWN Link with MASTER is down",
	    "BUSY Redis is busy running a script.",
	    "MISCONF Redis is configured to save RDB snapshots",
	    "NOREPLICAS Not enough good replicas to write.",
	    "NOPERM this user has no permissions to run the 'mget' command",
	    "MOVED 3999 127.0.0.1:6381",
	    "WRONGTYPE Operation against a key holding the wrong kind",
	    "ERR unknown command", "ERR", "", "NOSCRIPT",
	    "NOSCRIPT No matching script. Please use EVAL."};
	size_t i, j;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		char text[160];

		snprintf(text, sizeof(text), "-%s\r\n", errors[i]);
		for (j = 0; j < OPERATIONS; j++) {
			const struct peer_step steps[] = {
			    ACCEPT, READ, SAY(text), READ, SAY(text), END};
			struct peer peer;

			meet(f, &peer, steps);
			assert_status(f, SGATE_UNAVAILABLE, operations[j](f));
			/* The server is there, unless it is none of Redis's. */
			if (strncmp(errors[i], "NOSCRIPT", 8) != 0)
				assert_int_equal(f->err.native_code,
				    refuses_all(errors[i]) ? EBUSY : 0);
			part(f, &peer);
		}
	}
}

static void
the_error_and_what_to_do_are_told(struct fixture *f)
{
	static const struct peer_step steps[] = {
	    ACCEPT, READ, SAY("-READONLY You can't\x07 write.\r\n"), END};
	struct peer peer;

	meet(f, &peer, steps);
	assert_status(f, SGATE_UNAVAILABLE, do_end(f));
	assert_err(f, "READONLY You can't? write.");
	assert_err(f, "must be the primary");
	assert_err(f, peer.address);
	part(f, &peer);
}

/* Refused is answered: the connection goes on, in step. */
static void
after_an_error_reply_the_next_answer_is_the_next_one_s(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, READ,
	    SAY("$2\r\nOK\r\n-OOM command not allowed\r\n$2\r\nOK\r\n"), READ,
	    SAY("+PONG\r\n"), END};
	struct cache_touch touches[3] = {{make_ref(GROUP, 1), 9, MINUTE_MS},
	    {make_ref(GROUP, 2), 9, MINUTE_MS},
	    {make_ref(GROUP, 3), 9, MINUTE_MS}};
	struct peer peer;

	meet(f, &peer, steps);
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->touch(f->a, touches, 3, &f->err));
	assert_err(f, "OOM command not allowed");
	allow(f, ENOUGH_MS);
	assert_ok(f, do_ping(f));
	assert_int_equal(peer.accepted, 1);
	part(f, &peer);
}

/* Redis may be late to tell that its replicas are: it is not what is missing.
 */
static void
replicas_that_do_not_confirm_are_no_failure_of_the_server(struct fixture *f)
{
	static const struct peer_step written[] = {
	    ACCEPT, READ, SAY("$2\r\nOK\r\n"), END};
	static const struct peer_step silent[] = {ACCEPT, READ, END};
	static const struct peer_step answered[] = {
	    ACCEPT, READ, SAY("$2\r\nOK\r\n:0\r\n"), END};
	struct cache_item item = make_item(1, make_tombstone(1, 1));
	struct peer peer;

	meet(f, &peer, written);
	allow(f, DEADLINE_MS);
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->end(f->a, &item, 1, 1, &f->err));
	assert_int_equal(f->err.native_code, 0);
	assert_err(f, "0 replicas have it");
	part(f, &peer);
	meet(f, &peer, answered);
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->end(f->a, &item, 1, 1, &f->err));
	assert_int_equal(f->err.native_code, 0);
	part(f, &peer);
	meet(f, &peer, silent);
	allow(f, DEADLINE_MS);
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->end(f->a, &item, 1, 1, &f->err));
	assert_int_equal(f->err.native_code, ETIMEDOUT);
	part(f, &peer);
}

/* Whoever answers LOADING or READONLY may have another behind it soon. */
static void
after_some_errors_the_connection_is_made_anew(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, READ,
	    SAY("-READONLY no\r\n"), ACCEPT, READ, SAY("-LOADING no\r\n"),
	    ACCEPT, READ, SAY("+PONG\r\n"), END};
	struct peer peer;

	meet(f, &peer, steps);
	assert_status(f, SGATE_UNAVAILABLE, do_end(f));
	allow(f, ENOUGH_MS);
	assert_status(f, SGATE_UNAVAILABLE, do_get(f));
	allow(f, ENOUGH_MS);
	assert_ok(f, do_ping(f));
	assert_int_equal(peer.accepted, 3);
	part(f, &peer);
}

/* ---- logging in ---- */

static void
use_password(struct fixture *f, char *directory, char *path, size_t size,
    const char *text)
{
	FILE *file;

	snprintf(path, size, "%s/password", directory);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	fclose(file);
	assert_int_equal(chmod(path, 0600), 0);
	f->conf.redis.password_file = path;
}

static void
what_it_repeats_of_a_password_is_not_told(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, READ,
	    SAY("-ERR unknown command 'AUTH', with args beginning with: "
		"'keeper' 'hidden' \r\n"),
	    END};
	static char user[] = "keeper";
	char directory[] = "/tmp/sgpassword-XXXXXX";
	char path[64];
	struct peer peer;

	assert_non_null(mkdtemp(directory));
	use_password(f, directory, path, sizeof(path), "hidden\n");
	f->conf.redis.user = user;
	meet(f, &peer, steps);
	assert_status(f, SGATE_UNAVAILABLE, do_get(f));
	assert_err(f, "ERR unknown command 'AUTH'");
	assert_null(strstr(f->err.text, "hidden"));
	part(f, &peer);
	assert_non_null(strstr(peer.heard, "keeper"));
	assert_non_null(strstr(peer.heard, "hidden"));
	/* Nothing was asked together with it. */
	assert_null(strstr(peer.heard, "MGET"));
	unlink(path);
	rmdir(directory);
}

static void
a_password_that_cannot_be_read_is_told(struct fixture *f)
{
	static const struct peer_step steps[] = {ACCEPT, READ, END};
	static char nowhere[] = "/nowhere/password";
	char directory[] = "/tmp/sgpassword-XXXXXX";
	char path[64];
	struct peer peer;

	assert_non_null(mkdtemp(directory));
	f->conf.redis.password_file = nowhere;
	meet(f, &peer, steps);
	assert_lost(f, do_get, ENOENT);
	assert_err(f, "redis.password_file: /nowhere/password");
	part(f, &peer);
	use_password(f, directory, path, sizeof(path), "secret\n");
	assert_int_equal(chmod(path, 0604), 0);
	meet(f, &peer, steps);
	assert_lost(f, do_get, EPERM);
	assert_err(f, "everybody may read it");
	part(f, &peer);
	unlink(path);
	rmdir(directory);
}

static void
logging_in_counts(struct fixture *f)
{
	static const struct peer_step steps[] = {
	    ACCEPT, READ, WAIT(DEADLINE_MS / 2), SAY("+OK\r\n"), READ, END};
	struct peer peer;

	f->conf.redis.database = 5;
	meet(f, &peer, steps);
	assert_lost(f, do_get, ETIMEDOUT);
	part(f, &peer);
}

/* Else the question would be one to database 0. */
static void
nothing_is_asked_where_the_database_is_refused(struct fixture *f)
{
	static const struct peer_step steps[] = {
	    ACCEPT, READ, SAY("-ERR DB index is out of range\r\n"), READ, END};
	struct peer peer;

	f->conf.redis.database = 99;
	meet(f, &peer, steps);
	assert_status(f, SGATE_UNAVAILABLE, do_end(f));
	assert_int_equal(f->err.native_code, 0);
	assert_err(f, "DB index is out of range");
	part(f, &peer);
	assert_null(strstr(peer.heard, "EVAL"));
}

static void
no_descriptor_is_left_to_another_program(struct fixture *f)
{
	static const struct peer_step steps[] = {
	    ACCEPT, READ, SAY("+PONG\r\n"), END};
	bool was_open[64];
	unsigned opened = 0;
	struct peer peer;
	int fd;

	meet(f, &peer, steps);
	for (fd = 0; fd < 64; fd++)
		was_open[fd] = fcntl(fd, F_GETFD) >= 0;
	assert_ok(f, do_ping(f));
	for (fd = 0; fd < 64; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (was_open[fd] || flags < 0 || fd == peer.connection)
			continue;
		assert_int_equal(flags & FD_CLOEXEC, FD_CLOEXEC);
		opened++;
	}
	assert_int_equal(opened, 1);
	part(f, &peer);
}

static void
an_address_that_is_none_is_refused(struct fixture *f)
{
	static char wrong[] = "localhost:6379";
	struct cache *c = (void *)&c;

	f->conf.redis.address = wrong;
	assert_status(f, SGATE_INVALID, f->ops->open(&f->conf, &c, &f->err));
	assert_null(c);
	assert_err(f, "localhost:6379");
}

#define CASE(name)                                                             \
	{                                                                      \
#name, name                                                    \
	}
const struct contract_case wire_cases[] = {
    CASE(one_deadline_holds_however_slowly_bytes_come),
    CASE(nobody_answering_costs_the_deadline_and_no_more),
    CASE(nobody_accepting_costs_the_same),
    CASE(a_peer_that_reads_nothing_costs_the_same),
    CASE(signals_do_not_begin_it_anew), CASE(without_time_nothing_is_asked),
    CASE(a_connection_that_nobody_makes_costs_the_same),
    CASE(a_late_answer_does_not_answer_the_next_question),
    CASE(half_an_answer_is_none_and_its_rest_neither),
    CASE(what_nobody_asked_for_answers_nothing),
    CASE(more_answers_than_questions_are_none),
    CASE(a_connection_that_ends_is_told_and_no_signal_comes),
    CASE(a_connection_that_was_closed_meanwhile_is_made_anew),
    CASE(why_it_closed_is_told), CASE(nobody_there_is_told),
    CASE(an_answer_of_another_kind_is_none),
    CASE(every_operation_looks_at_the_kind_of_its_answer),
    CASE(of_damaged_answers_none_does_harm),
    CASE(a_length_alone_takes_no_memory_and_no_time),
    CASE(an_answer_without_end_is_ended), CASE(an_error_is_never_a_miss),
    CASE(the_error_and_what_to_do_are_told),
    CASE(after_an_error_reply_the_next_answer_is_the_next_one_s),
    CASE(replicas_that_do_not_confirm_are_no_failure_of_the_server),
    CASE(after_some_errors_the_connection_is_made_anew),
    CASE(what_it_repeats_of_a_password_is_not_told),
    CASE(a_password_that_cannot_be_read_is_told), CASE(logging_in_counts),
    CASE(nothing_is_asked_where_the_database_is_refused),
    CASE(no_descriptor_is_left_to_another_program),
    CASE(an_address_that_is_none_is_refused), {NULL, NULL}};
