/*
 * The durable contract: what is MySQL's own: a server that stops, dies or
 * loses an answer, locks of rows, numbers after a restart, hosts, accounts,
 * damaged rows, the caller's own statements.
 */
#include "config.h"

#include "durable_server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "clock.h"

/* What the end of a wait may take beyond it: struct took. */
#define SLACK_MS 100

/* ---- helpers ---- */

static void
run_sql(struct fixture *f, const char *sql)
{
	mariadb_run(&server, f->file, sql);
}

static int64_t
number(struct fixture *f, const char *sql)
{
	return mariadb_number(&server, f->file, sql);
}

static void
pause_ms(int ms)
{
	poll(NULL, 0, ms);
}

static void
assert_took(const struct took *took, int64_t least_ms, int64_t below_ms)
{
	assert_true(took_ms(took) < below_ms);
	assert_true(clock_monotonic_ms() - took->started_ms >= least_ms);
}

/* All of its threads, not only soon. */
static void
stop_server(void)
{
	int status;

	assert_true(server.pid > 0);
	kill(server.pid, SIGSTOP);
	assert_true(waitpid(server.pid, &status, WUNTRACED) == server.pid);
	assert_true(WIFSTOPPED(status));
}

static uint64_t
next_number(struct fixture *f, struct durable *d, unsigned group)
{
	uint64_t seq;

	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, f->ops->counter_next(d, group, &seq, &f->err));
	assert_ok(f, f->ops->commit(d, &f->err));
	return seq;
}

/* ---- a server that does not answer ---- */

typedef enum sgate_status operation_fn(struct fixture *f, struct durable *d);

static enum sgate_status
do_ping(struct fixture *f, struct durable *d)
{
	return f->ops->ping(d, &f->err);
}

/* The server hears of it with the first statement. */
static enum sgate_status
do_begin(struct fixture *f, struct durable *d)
{
	uint64_t seq;
	enum sgate_status status = f->ops->begin(d, &f->err);

	if (status == SGATE_OK)
		status = f->ops->counter_next(d, 1, &seq, &f->err);
	return status;
}

static enum sgate_status
do_audit(struct fixture *f, struct durable *d)
{
	const struct durable_audit audit = make_audit(T0, 99);
	enum sgate_status status = f->ops->begin(d, &f->err);

	if (status == SGATE_OK)
		status = f->ops->audit_insert(d, &audit, &f->err);
	return status;
}

static enum sgate_status
do_snapshot(struct fixture *f, struct durable *d)
{
	struct durable_snapshot at;

	return f->ops->snapshot(d, 1, &at, &f->err);
}

static enum sgate_status
do_poll(struct fixture *f, struct durable *d)
{
	struct durable_poll poll;

	return f->ops->poll(d, &poll, &f->err);
}

static enum sgate_status
do_get(struct fixture *f, struct durable *d)
{
	const struct sgate_ref ref = make_ref(1, 1);
	struct sgate_session *s;
	enum sgate_status status =
	    f->ops->session_get(d, &ref, 0, &s, NULL, &f->err);

	sgate_session_free(s);
	return status;
}

static enum sgate_status
do_touch(struct fixture *f, struct durable *d)
{
	const struct durable_touch touch = {
	    .ref = make_ref(1, 1), .last_seen_ms = T0 + 9};

	return f->ops->touch(d, &touch, 1, &f->err);
}

static enum sgate_status
do_exists(struct fixture *f, struct durable *d)
{
	const struct durable_audit audit = make_audit(T0, 1);

	return f->ops->audit_exists(d, audit.event_id, &f->err);
}

static enum sgate_status
do_lease(struct fixture *f, struct durable *d)
{
	return f->ops->lease_take(d, "l", "h", T0, T0 + 1, &f->err);
}

static enum sgate_status
do_purge(struct fixture *f, struct durable *d)
{
	uint64_t sessions;
	uint64_t others;

	return f->ops->purge(d, T0, T0, T0, 10, &sessions, &others, &f->err);
}

static enum sgate_status
do_stats(struct fixture *f, struct durable *d)
{
	struct durable_count count = {.rows = 0};
	bool is_done;

	return f->ops->stats(d, T0, 10, &count, &is_done, &f->err);
}

static enum sgate_status
do_init(struct fixture *f, struct durable *d)
{
	return f->ops->schema_init(d, &f->err);
}

static enum sgate_status
do_check(struct fixture *f, struct durable *d)
{
	return f->ops->schema_check(d, &f->err);
}

static operation_fn *const operations[] = {do_ping, do_begin, do_audit, do_get,
    do_snapshot, do_poll, do_touch, do_exists, do_lease, do_purge, do_stats,
    do_init, do_check};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* Within 100 ms, on the connection of d and then without one. */
static void
check_unavailable(struct fixture *f, operation_fn *operation, struct durable *d)
{
	struct took took;
	int i;

	for (i = 0; i < 3; i++) {
		took = took_start();
		d->deadline_ms = took.started_ms + 100;
		/* What is one statement and commits by itself may happen. */
		assert_status(f,
		    operation == do_touch && i == 0 ? SGATE_UNCERTAIN
						    : SGATE_UNAVAILABLE,
		    operation(f, d));
		f->ops->rollback(d);
		assert_took(&took, 90, 100 + SLACK_MS);
		assert_true(d->is_unreachable);
		d->is_unreachable = false;
	}
}

static void
a_stopped_server_is_unavailable_in_time_in_every_operation(struct fixture *f)
{
	struct durable *handles[OPERATIONS];
	size_t i;

	for (i = 0; i < OPERATIONS; i++) {
		handles[i] = open_handle(f);
		assert_ok(f, f->ops->ping(handles[i], &f->err));
	}
	stop_server();
	for (i = 0; i < OPERATIONS; i++)
		check_unavailable(f, operations[i], handles[i]);
	kill(server.pid, SIGCONT);
	for (i = 0; i < OPERATIONS; i++) {
		handles[i]->deadline_ms = clock_monotonic_ms() + 10000;
		assert_ok(f, f->ops->ping(handles[i], &f->err));
		f->ops->close(handles[i]);
	}
}

/* It is there, and other questions may have good answers. */
static void
a_server_that_answers_with_an_error_is_not_unreachable(struct fixture *f)
{
	assert_ok(f, f->ops->ping(f->a, &f->err));
	run_sql(f, "RENAME TABLE session TO elsewhere");
	assert_status(f, SGATE_UNAVAILABLE, do_get(f, f->a));
	assert_false(f->a->is_unreachable);
	/* Nor is one that was not asked, because the time was up. */
	f->a->deadline_ms = clock_monotonic_ms() - 1;
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(f->a, &f->err));
	assert_false(f->a->is_unreachable);
	run_sql(f, "RENAME TABLE elsewhere TO session");
}

/* The read_timeout ends it when the deadline is far away. */
static void
an_operation_ends_at_its_own_timeout_before_the_deadline(struct fixture *f)
{
	struct durable *d;
	struct took took;

	f->conf.mysql.read_timeout_ms = 80;
	f->conf.mysql.write_timeout_ms = 160;
	d = open_handle(f);
	assert_ok(f, f->ops->begin(d, &f->err));
	stop_server();
	took = took_start();
	assert_status(f, SGATE_UNAVAILABLE, do_get(f, d));
	assert_took(&took, 150, 160 + SLACK_MS);
	f->ops->rollback(d);
	took = took_start();
	assert_status(f, SGATE_UNAVAILABLE, do_get(f, d));
	kill(server.pid, SIGCONT);
	assert_took(&took, 70, 80 + SLACK_MS);
	f->ops->close(d);
}

/* The server says so before nobody listens any more: that is an answer. */
static void
a_users_lock_that_others_have_is_busy_and_nothing_else(struct fixture *f)
{
	const struct sgate_bytes realm = bytes_of(""), user = bytes_of("anna");
	struct durable_user state;
	struct durable *d;
	int64_t started_ms;

	f->conf.mysql.write_timeout_ms = 1500;
	d = open_handle(f);
	d->deadline_ms = f->b->deadline_ms = clock_monotonic_ms() + 20000;
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_ok(
	    f, f->ops->user_lock(f->b, realm, user, true, &state, &f->err));
	assert_ok(f, f->ops->begin(d, &f->err));
	started_ms = clock_monotonic_ms();
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->user_lock(d, realm, user, true, &state, &f->err));
	assert_true(clock_monotonic_ms() - started_ms >= 850);
	assert_true(d->is_busy && !d->is_unreachable);
	/* With that the transaction is over. */
	assert_status(f, SGATE_UNAVAILABLE, f->ops->commit(d, &f->err));
	f->ops->rollback(d);
	f->ops->rollback(f->b);
	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, f->ops->user_lock(d, realm, user, true, &state, &f->err));
	assert_false(d->is_busy);
	assert_ok(f, f->ops->commit(d, &f->err));
	f->ops->close(d);
}

static void
a_transaction_on_a_stopped_server_surely_did_not_happen(struct fixture *f)
{
	struct sgate_session *s = make_session(1, 1);
	struct sgate_session *late = make_session(1, 2);
	uint64_t seq;

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, s, &f->err));
	stop_server();
	allow_ms(f, 100);
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->session_insert(f->a, late, &f->err));
	kill(server.pid, SIGCONT);
	allow_ms(f, 10000);
	/* The server is back, the transaction is not. */
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->counter_next(f->a, 1, &seq, &f->err));
	assert_status(f, SGATE_UNAVAILABLE, f->ops->commit(f->a, &f->err));
	f->ops->rollback(f->a);
	assert_false(has_session(f, f->a, &s->ref));
	assert_false(has_session(f, f->b, &late->ref));
	/* And nothing of it is locked. */
	assert_ok(f, f->ops->begin(f->a, &f->err));
	/* In the order of the one that the server may be rolling back yet. */
	assert_ok(f, f->ops->session_insert(f->a, s, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, late, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	sgate_session_free(late);
	sgate_session_free(s);
}

static void
a_commit_on_a_stopped_server_is_uncertain_and_its_audit_row_tells(
    struct fixture *f)
{
	const struct durable_audit audit = make_audit(T0, 1);
	struct sgate_session *s = make_session(1, 1);
	int64_t started_ms;

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->audit_insert(f->a, &audit, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, s, &f->err));
	stop_server();
	started_ms = clock_monotonic_ms();
	allow_ms(f, 100);
	assert_status(f, SGATE_UNCERTAIN, f->ops->commit(f->a, &f->err));
	assert_true(clock_monotonic_ms() - started_ms < 200);
	assert_int_equal(f->err.reason, SGATE_REASON_STORE);
	f->ops->rollback(f->a);
	kill(server.pid, SIGCONT);
	allow_ms(f, 10000);
	/* The commit was in the socket: it happens when the server wakes. */
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_status(
	    f, SGATE_CONFLICT, f->ops->audit_insert(f->b, &audit, &f->err));
	f->ops->rollback(f->b);
	assert_ok(f, f->ops->audit_exists(f->a, audit.event_id, &f->err));
	assert_true(has_session(f, f->a, &s->ref));
	sgate_session_free(s);
}

/* ---- a server that is gone, and comes back ---- */

static void
after_a_restart_the_next_operation_connects_anew(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 1);
	const struct sgate_ref lost = make_ref(1, 2);
	struct sgate_session *s = make_session(1, 2);

	add_session(f, make_session(1, 1));
	assert_true(has_session(f, f->b, &ref));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, s, &f->err));
	mariadb_kill(&server);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(f->b, &f->err));
	assert_true(mariadb_start(&server));
	/* A read is not even noticed to fail; a transaction is lost. */
	assert_true(has_session(f, f->b, &ref));
	assert_status(f, SGATE_UNAVAILABLE, f->ops->commit(f->a, &f->err));
	f->ops->rollback(f->a);
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_false(has_session(f, f->a, &lost));
	sgate_session_free(s);
}

static void
a_connection_that_the_server_closed_costs_no_failure(struct fixture *f)
{
	char sql[64];
	int i;

	for (i = 0; i < 3; i++) {
		assert_ok(f, f->ops->ping(f->a, &f->err));
		snprintf(sql, sizeof(sql), "KILL USER root");
		/* The administrator's own connection may go with them. */
		if (fork() == 0) {
			run_sql(f, sql);
			_exit(0);
		}
		wait(NULL);
		pause_ms(50);
		assert_ok(f, f->ops->begin(f->a, &f->err));
		assert_ok(f, f->ops->commit(f->a, &f->err));
	}
}

static void
numbers_jump_by_a_million_once_for_each_start_of_the_server(struct fixture *f)
{
	struct durable *d;
	uint64_t before = next_number(f, f->a, 3);

	assert_int_equal(before, 1);
	d = open_handle(f);
	assert_int_equal(next_number(f, d, 3), before + 1);
	mariadb_kill(&server);
	/* Another second: a start is told by it. */
	pause_ms(1100);
	assert_true(mariadb_start(&server));
	assert_int_equal(next_number(f, f->a, 3), before + 1000002);
	assert_int_equal(next_number(f, f->b, 3), before + 1000003);
	assert_int_equal(next_number(f, d, 3), before + 1000004);
	assert_int_equal(next_number(f, d, 4), 1000001);
	assert_int_equal(
	    number(f, "SELECT COUNT(DISTINCT ident) FROM meta"), 1);
	assert_int_equal(
	    number(f, "SELECT seq FROM meta WHERE grp = 255"), 1000000);
	f->ops->close(d);
}

static void
many_connections_to_a_new_server_jump_once(struct fixture *f)
{
	int pipes[2];
	pid_t pids[8];
	int status;
	size_t i;
	char byte;

	run_sql(f, "UPDATE meta SET ident = 'another server'");
	assert_int_equal(pipe(pipes), 0);
	for (i = 0; i < 8; i++) {
		pids[i] = fork();
		if (pids[i] != 0)
			continue;
		alarm(60);
		close(pipes[1]);
		if (read(pipes[0], &byte, 1) != 0)
			_exit(1);
		struct durable *d;

		if (f->ops->open(&f->conf, &d, &f->err) != SGATE_OK)
			_exit(2);
		d->deadline_ms = clock_monotonic_ms() + 20000;
		_exit(f->ops->ping(d, &f->err) == SGATE_OK ? 0 : 3);
	}
	close(pipes[1]);
	for (i = 0; i < 8; i++) {
		assert_true(waitpid(pids[i], &status, 0) == pids[i]);
		assert_int_equal(status, 0);
	}
	close(pipes[0]);
	assert_int_equal(
	    number(f, "SELECT COUNT(*) FROM meta WHERE seq = 1000000"), 17);
}

/* ---- an answer that is lost, or wrong ---- */

/* What a proxy does with the first message that has these bytes. */
struct wrong {
	const char *bytes;
	size_t len;
	enum {
		WRONG_CUT,   /* drops it, and the connection */
		WRONG_SWAP,  /* passes it on with `instead` in their place */
		WRONG_OK,    /* answers with an OK that has no rows */
		WRONG_SILENT /* passes it on and drops the answer */
	} what;
	const char *instead; /* of the same length */
};
#define BYTES(text) .bytes = text, .len = sizeof(text) - 1

/* The client is told this; false: the connection is over. */
static bool
do_wrong(const struct wrong *wrong, char *at, int client)
{
	static const char ok[] = "\7\0\0\1\0\0\0\2\0\0\0";

	if (wrong->what == WRONG_SWAP)
		memcpy(at, wrong->instead, wrong->len);
	return wrong->what != WRONG_CUT &&
	       (wrong->what != WRONG_OK ||
		   write(client, ok, sizeof(ok) - 1) == sizeof(ok) - 1);
}

/*
 * How often a client said something after it was answered, in memory that a
 * proxy shares; NULL: not counted.
 */
static unsigned *messages;

/*
 * A proxy on a unix socket, in a process of its own: wrong once, then it passes
 * everything on.
 */
static void
pump(int client, int backend, const struct wrong *wrong, bool *is_done)
{
	struct pollfd polls[2] = {{.fd = client, .events = POLLIN},
	    {.fd = backend, .events = POLLIN}};
	bool is_dropping = false;
	bool is_answered = true;
	char data[65536];
	ssize_t len;
	char *at;

	while (poll(polls, 2, -1) > 0) {
		if (polls[0].revents != 0) {
			len = read(client, data, sizeof(data));
			if (len <= 0)
				return;
			if (messages != NULL && is_answered)
				++*messages;
			is_answered = false;
			at = *is_done ? NULL
				      : memmem(data, (size_t)len, wrong->bytes,
					    wrong->len);
			if (at != NULL) {
				*is_done = true;
				is_dropping = wrong->what == WRONG_SILENT;
				if (!do_wrong(wrong, at, client))
					return;
			}
			if ((at == NULL || wrong->what != WRONG_OK) &&
			    write(backend, data, (size_t)len) != len)
				return;
		}
		if (polls[1].revents != 0) {
			len = read(backend, data, sizeof(data));
			if (len <= 0 || is_dropping)
				return;
			is_answered = true;
			if (write(client, data, (size_t)len) != len)
				return;
		}
	}
}

static int
connect_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		_exit(3);
	return fd;
}

static void
serve_proxy(int listener, const struct wrong *wrong)
{
	bool is_done = wrong == NULL;
	int client;
	int backend;

	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	while ((client = accept(listener, NULL, NULL)) >= 0) {
		backend = connect_unix(server.socket);
		pump(client, backend, wrong, &is_done);
		close(backend);
		close(client);
	}
	_exit(0);
}

/* One connection at a time; *d goes through it. */
static pid_t
start_proxy(struct fixture *f, const struct wrong *wrong, struct durable **d)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char *socket_before = f->conf.mysql.socket;
	char path[96];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/proxy", f->directory);
	unlink(path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	pid = fork();
	if (pid == 0)
		serve_proxy(fd, wrong);
	close(fd);
	f->conf.mysql.socket = path;
	*d = open_handle(f);
	(*d)->deadline_ms = clock_monotonic_ms() + 10000;
	f->conf.mysql.socket = socket_before;
	return pid;
}

static void
stop_proxy(struct fixture *f, pid_t pid, struct durable *d)
{
	f->ops->close(d);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void
check_lost(
    struct fixture *f, const struct wrong *wrong, enum sgate_status settled)
{
	const struct durable_audit audit = make_audit(T0, 1);
	struct sgate_session *s = make_session(1, 1);
	struct durable *d;
	pid_t pid = start_proxy(f, wrong, &d);

	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, f->ops->audit_insert(d, &audit, &f->err));
	assert_ok(f, f->ops->session_insert(d, s, &f->err));
	assert_status(f, SGATE_UNCERTAIN, f->ops->commit(d, &f->err));
	f->ops->rollback(d);
	assert_status(
	    f, settled, f->ops->audit_exists(d, audit.event_id, &f->err));
	/* The repeat with the same event id. */
	assert_ok(f, f->ops->begin(d, &f->err));
	assert_status(f, settled == SGATE_OK ? SGATE_CONFLICT : SGATE_OK,
	    f->ops->audit_insert(d, &audit, &f->err));
	f->ops->rollback(d);
	assert_int_equal(has_session(f, f->a, &s->ref), settled == SGATE_OK);
	stop_proxy(f, pid, d);
	sgate_session_free(s);
}

static void
a_commit_whose_answer_is_lost_is_settled_by_its_audit_row(struct fixture *f)
{
	const struct wrong wrong = {BYTES("\3COMMIT"), .what = WRONG_SILENT};

	check_lost(f, &wrong, SGATE_OK);
}

static void
a_commit_that_never_arrived_is_settled_by_its_audit_row(struct fixture *f)
{
	const struct wrong wrong = {BYTES("\3COMMIT"), .what = WRONG_CUT};

	check_lost(f, &wrong, SGATE_NOT_FOUND);
}

/* "SELECT" of COM_STMT_PREPARE, and COM_STMT_EXECUTE with 6 parameters' length
 * of a look: what is cut is the connection, in use. */
static void
a_read_whose_connection_ends_is_asked_again_on_a_new_one(struct fixture *f)
{
	static const struct wrong wrongs[] = {
	    {BYTES("\x16SELECT ref"), .what = WRONG_CUT},
	    {BYTES("\0\0\0\x17"), .what = WRONG_CUT},
	    {BYTES("\0\0\0\x17"), .what = WRONG_SILENT}};
	struct durable *d;
	size_t i;
	pid_t pid;

	add_session(f, make_session(1, 1));
	for (i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		pid = start_proxy(f, &wrongs[i], &d);
		assert_ok(f, do_get(f, d));
		assert_ok(f, do_get(f, d));
		stop_proxy(f, pid, d);
	}
}

static void
the_first_statement_of_a_transaction_is_sent_again_too(struct fixture *f)
{
	static const struct wrong wrongs[] = {
	    {BYTES("\3START TRANSACTION"), .what = WRONG_CUT},
	    {BYTES("\3START TRANSACTION"), .what = WRONG_SILENT}};
	struct durable_audit audit;
	struct durable *d;
	size_t i;
	pid_t pid;

	for (i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		audit = make_audit(T0, (unsigned)i);
		pid = start_proxy(f, &wrongs[i], &d);
		assert_ok(f, f->ops->begin(d, &f->err));
		assert_ok(f, f->ops->audit_insert(d, &audit, &f->err));
		assert_ok(f, f->ops->commit(d, &f->err));
		assert_ok(
		    f, f->ops->audit_exists(f->a, audit.event_id, &f->err));
		stop_proxy(f, pid, d);
	}
}

/* Only a connection that has been used is replaced at once. */
static void
a_server_that_takes_no_connection_is_asked_once(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char path[96];
	int pipes[2];
	char byte[8];
	struct durable *d;
	int client;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/closing", f->directory);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		alarm(60);
		while ((client = accept(fd, NULL, NULL)) >= 0) {
			if (write(pipes[1], "x", 1) != 1)
				_exit(1);
			close(client);
		}
		_exit(0);
	}
	f->conf.mysql.socket = path;
	d = open_handle(f);
	assert_status(f, SGATE_UNAVAILABLE, do_get(f, d));
	assert_status(f, SGATE_UNAVAILABLE, do_audit(f, d));
	f->ops->close(d);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pipes[1]);
	/* One for the look; begin and the first statement are not two. */
	assert_int_equal(read(pipes[0], byte, sizeof(byte)), 2);
	close(pipes[0]);
	close(fd);
}

/* What came before it would be lost, and the rest committed. */
static void
a_later_statement_of_a_transaction_is_never_sent_again(struct fixture *f)
{
	const struct wrong wrong = {BYTES("\0\0\0\x17"), .what = WRONG_CUT};
	const struct durable_audit audit = make_audit(T0, 1);
	struct sgate_session *s = make_session(1, 1);
	struct durable *d;
	pid_t pid = start_proxy(f, &wrong, &d);

	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, f->ops->audit_insert(d, &audit, &f->err));
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->session_insert(d, s, &f->err));
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->session_insert(d, s, &f->err));
	assert_status(f, SGATE_UNAVAILABLE, f->ops->commit(d, &f->err));
	assert_ok(f, f->ops->ping(d, &f->err));
	assert_false(has_session(f, f->a, &s->ref));
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->audit_exists(f->a, audit.event_id, &f->err));
	stop_proxy(f, pid, d);
	sgate_session_free(s);
}

static void
a_touch_whose_answer_is_lost_is_uncertain_and_harmless_twice(struct fixture *f)
{
	const struct wrong wrong = {
	    BYTES("UPDATE session"), .what = WRONG_SILENT};
	struct durable *d;
	pid_t pid = start_proxy(f, &wrong, &d);

	add_session(f, make_session(1, 1));
	assert_status(f, SGATE_UNCERTAIN, do_touch(f, d));
	assert_int_equal(f->err.reason, SGATE_REASON_STORE);
	assert_ok(f, do_touch(f, d));
	stop_proxy(f, pid, d);
	assert_int_equal(number(f, "SELECT last_seen_ms - 1800000000000 FROM "
				   "session"),
	    9);
}

/* An answer that cannot be right must not say that there is no session. */
static void
a_wrong_answer_is_never_no_such_session(struct fixture *f)
{
	static const struct wrong wrongs[] = {
	    {BYTES("\0\0\0\x17"), .what = WRONG_OK},
	    {BYTES("\x16SELECT ref"), .what = WRONG_OK},
	    {BYTES("\3SELECT CONCAT_WS('|', @@GLOBAL.read_only"),
		.what = WRONG_OK},
	    {BYTES("\3SELECT schema_version"), .what = WRONG_OK},
	    {BYTES("\3SELECT IF(LENGTH(@sess"), .what = WRONG_OK},
	    {BYTES("@@GLOBAL.read_only"), WRONG_SWAP, "@@GLOBAL.port     "},
	    {BYTES("SELECT schema_version"), WRONG_SWAP,
		"SELECT NULL          "},
	    {BYTES("IF(LENGTH(@sessgate_ident) = 32"), WRONG_SWAP,
		"IF(LENGTH(@sessgate_ident) = 99"}};
	enum sgate_status status;
	struct durable *d;
	size_t i;
	pid_t pid;

	add_session(f, make_session(1, 1));
	f->conf.mysql.read_timeout_ms = 1000;
	for (i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		pid = start_proxy(f, &wrongs[i], &d);
		status = do_get(f, d);
		/* Where it could be asked again, it was. */
		if (status != SGATE_OK)
			assert_status(f, SGATE_UNAVAILABLE, status);
		d->deadline_ms = clock_monotonic_ms() + 10000;
		assert_ok(f, do_get(f, d));
		stop_proxy(f, pid, d);
	}
}

/* ---- what an operation costs ---- */

static unsigned
count_messages(struct fixture *f, struct durable *d, operation_fn *operation)
{
	/* The first time statements are prepared. */
	assert_ok(f, operation(f, d));
	*messages = 0;
	assert_ok(f, operation(f, d));
	return *messages;
}

static unsigned created;

static enum sgate_status
do_create(struct fixture *f, struct durable *d)
{
	const struct durable_audit audit = make_audit(T0, ++created);
	const struct sgate_bytes user = {"anna", 4};
	struct sgate_session *s = make_session(1, created);
	struct durable_snapshot at;
	struct durable_user state;

	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, f->ops->audit_insert(d, &audit, &f->err));
	assert_ok(f, f->ops->user_lock(d, user, user, false, &state, &f->err));
	assert_ok(f, f->ops->session_insert(d, s, &f->err));
	assert_ok(f, f->ops->snapshot(d, 1, &at, &f->err));
	sgate_session_free(s);
	return f->ops->commit(d, &f->err);
}

static enum sgate_status
do_update(struct fixture *f, struct durable *d)
{
	const struct durable_audit audit = make_audit(T0 + 1, ++created);
	const struct sgate_ref ref = make_ref(1, 1);
	struct durable_snapshot at;
	struct sgate_session *s;

	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, f->ops->audit_insert(d, &audit, &f->err));
	assert_ok(f, f->ops->session_get(
			 d, &ref, DURABLE_FOR_UPDATE, &s, NULL, &f->err));
	assert_ok(f, f->ops->counter_next(d, 1, &s->seq, &f->err));
	assert_ok(f, f->ops->session_store(d, s, &f->err));
	assert_ok(f, f->ops->snapshot(d, 1, &at, &f->err));
	sgate_session_free(s);
	return f->ops->commit(d, &f->err);
}

static enum sgate_status
do_get_at(struct fixture *f, struct durable *d)
{
	const struct sgate_ref ref = make_ref(1, 1);
	struct durable_snapshot at;
	struct sgate_session *s;
	enum sgate_status status =
	    f->ops->session_get(d, &ref, 0, &s, &at, &f->err);

	sgate_session_free(s);
	return status;
}

static enum sgate_status
do_touches(struct fixture *f, struct durable *d)
{
	struct durable_touch touches[100];
	unsigned i;

	memset(touches, 0, sizeof(touches));
	for (i = 0; i < 100; i++) {
		touches[i].ref = make_ref(1, i);
		touches[i].last_seen_ms = T0 + 9;
		touches[i].successor_used_ms = i % 3;
	}
	return f->ops->touch(d, touches, 100, &f->err);
}

static enum sgate_status
do_nothing(struct fixture *f, struct durable *d)
{
	assert_ok(f, f->ops->begin(d, &f->err));
	return f->ops->commit(d, &f->err);
}

/* Each message is a round trip. */
static void
operations_cost_few_messages(struct fixture *f)
{
	static const struct {
		operation_fn *operation;
		unsigned messages;
	} costs[] = {{do_create, 5}, {do_update, 6}, {do_get, 1},
	    {do_get_at, 1}, {do_poll, 1}, {do_snapshot, 1}, {do_touches, 1},
	    {do_stats, 1}, {do_exists, 1}, {do_nothing, 0}};
	struct durable *d;
	size_t i;
	pid_t pid;

	created = 0;
	messages = mmap(NULL, sizeof(*messages), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(messages != MAP_FAILED);
	pid = start_proxy(f, NULL, &d);
	for (i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
		unsigned cost = count_messages(f, d, costs[i].operation);

		if (cost != costs[i].messages)
			fprintf(stderr, "operation %zu\n", i);
		assert_int_equal(cost, costs[i].messages);
	}
	stop_proxy(f, pid, d);
	munmap(messages, sizeof(*messages));
	messages = NULL;
}

/* ---- locks of rows ---- */

/* In a child: locks rows, tells, waits, goes on and commits. */
static pid_t
start_locker(
    struct fixture *f, const char *first, int wait_ms, const char *second)
{
	int pipes[2];
	char byte = 'x';
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		struct durable *d;

		alarm(60);
		if (f->ops->open(&f->conf, &d, &f->err) != SGATE_OK)
			_exit(2);
		d->deadline_ms = clock_monotonic_ms() + 20000;
		if (f->ops->begin(d, &f->err) != SGATE_OK ||
		    f->ops->exec(d, first, NULL, 0, NULL, NULL, &f->err) !=
			SGATE_OK ||
		    write(pipes[1], &byte, 1) != 1)
			_exit(3);
		pause_ms(wait_ms);
		if (second != NULL && f->ops->exec(d, second, NULL, 0, NULL,
					  NULL, &f->err) != SGATE_OK)
			_exit(4);
		pause_ms(50);
		_exit(f->ops->commit(d, &f->err) == SGATE_OK ? 0 : 5);
	}
	close(pipes[1]);
	assert_true(read(pipes[0], &byte, 1) == 1);
	close(pipes[0]);
	return pid;
}

static void
wait_locker(pid_t pid)
{
	int status;

	assert_true(waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
add_numbered(struct fixture *f, unsigned count)
{
	unsigned i;

	for (i = 1; i <= count; i++)
		add_session(f, make_session(1, i));
}

static int
count_session(void *arg, const struct sgate_session *session)
{
	(void)session;
	++*(size_t *)arg;
	return 0;
}

/* ref of make_ref(1, n) in SQL. */
#define REF(n) "X'0100000000000000000000" #n "'"

static void
writes_answer_in_time_while_a_row_is_locked_and_reads_go_on(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 1);
	struct sgate_session *s;
	struct took took;
	pid_t pid;

	add_numbered(f, 2);
	pid = start_locker(f,
	    "SELECT 1 FROM session WHERE ref = " REF(01) " FOR UPDATE", 600,
	    NULL);
	took = took_start();
	allow_ms(f, 100);
	f->a->is_unreachable = f->b->is_unreachable = false;
	assert_status(f, SGATE_UNCERTAIN, do_touch(f, f->a));
	assert_took(&took, 70, 100 + SLACK_MS);
	allow_ms(f, 100);
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->session_get(
		f->b, &ref, DURABLE_FOR_UPDATE, &s, NULL, &f->err));
	/* The server has said so: it is there. */
	assert_false(f->a->is_unreachable || f->b->is_unreachable);
	assert_true(f->a->has_answered && f->b->has_answered);
	f->ops->rollback(f->b);
	allow_ms(f, 5000);
	assert_ok(f, do_get(f, f->a));
	assert_ok(f, do_touch(f, f->a));
	wait_locker(pid);
}

/* However much of the call's time is left when it meets the lock. A quarter of
 * that is for the answer to come, on a busy machine, too. */
static void
a_lock_is_an_answer_of_the_server_whatever_time_is_left(struct fixture *f)
{
	static const int64_t left_ms[] = {1900, 480, 960, 320, 1900};
	const struct sgate_ref ref = make_ref(1, 1);
	struct sgate_session *s = NULL;
	struct durable_audit audit;
	struct durable *d;
	unsigned i;
	pid_t pid;

	/* The server does not end what the locker has begun. */
	f->conf.mysql.write_timeout_ms = 60000;
	add_numbered(f, 1);
	pid = start_locker(f,
	    "SELECT 1 FROM session WHERE ref = " REF(01) " FOR UPDATE", 55000,
	    NULL);
	f->conf.mysql.read_timeout_ms = 2000;
	f->conf.mysql.write_timeout_ms = 2000;
	d = open_handle(f);
	for (i = 0; i < sizeof(left_ms) / sizeof(left_ms[0]); i++) {
		audit = make_audit(T0, 500 + i);
		d->is_unreachable = d->has_answered = false;
		d->deadline_ms = clock_monotonic_ms() + 10000;
		assert_ok(f, f->ops->begin(d, &f->err));
		assert_ok(f, f->ops->audit_insert(d, &audit, &f->err));
		d->deadline_ms = clock_monotonic_ms() + left_ms[i];
		assert_status(f, SGATE_UNAVAILABLE,
		    f->ops->session_get(
			d, &ref, DURABLE_FOR_UPDATE, &s, NULL, &f->err));
		f->ops->rollback(d);
		assert_true(!d->is_unreachable && d->has_answered);
		/* Nothing of it is left, and reads are not in its way. */
		d->deadline_ms = clock_monotonic_ms() + 10000;
		assert_ok(f, do_get(f, d));
		assert_status(f, SGATE_NOT_FOUND,
		    f->ops->audit_exists(d, audit.event_id, &f->err));
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	f->ops->close(d);
}

static void
a_lock_that_is_held_for_more_than_a_second_is_tried_again(struct fixture *f)
{
	pid_t pid;

	add_numbered(f, 1);
	pid = start_locker(f,
	    "SELECT 1 FROM session WHERE ref = " REF(01) " FOR UPDATE", 1300,
	    NULL);
	assert_ok(f, do_touch(f, f->a));
	wait_locker(pid);
	assert_int_equal(number(f, "SELECT last_seen_ms - 1800000000000 FROM "
				   "session WHERE ref = " REF(01)),
	    9);
}

static void
a_deadlock_is_tried_again(struct fixture *f)
{
	const struct durable_touch touches[] = {
	    {.ref = make_ref(1, 1), .last_seen_ms = T0 + 500},
	    {.ref = make_ref(1, 2), .last_seen_ms = T0 + 500}};
	pid_t pid;

	add_numbered(f, 2);
	run_sql(f, "CREATE TABLE heavy (n INT PRIMARY KEY) ENGINE=InnoDB");
	/* What has changed more rows is not the one that gives way. */
	pid = start_locker(f,
	    "INSERT INTO heavy SELECT seq FROM seq_1_to_500 WHERE "
	    "(SELECT 1 FROM (SELECT 1) AS x)",
	    0, NULL);
	wait_locker(pid);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct durable *d;

		alarm(60);
		if (f->ops->open(&f->conf, &d, &f->err) != SGATE_OK)
			_exit(2);
		d->deadline_ms = clock_monotonic_ms() + 20000;
		if (f->ops->begin(d, &f->err) != SGATE_OK ||
		    f->ops->exec(d, "UPDATE heavy SET n = n + 1000", NULL, 0,
			NULL, NULL, &f->err) != SGATE_OK ||
		    f->ops->exec(d,
			"SELECT 1 FROM session WHERE ref = " REF(
			    02) " FOR UPDATE",
			NULL, 0, NULL, NULL, &f->err) != SGATE_OK)
			_exit(3);
		pause_ms(400);
		if (f->ops->exec(d,
			"SELECT 1 FROM session WHERE ref = " REF(
			    01) " FOR UPDATE",
			NULL, 0, NULL, NULL, &f->err) != SGATE_OK)
			_exit(4);
		_exit(f->ops->commit(d, &f->err) == SGATE_OK ? 0 : 5);
	}
	pause_ms(200);
	assert_ok(f, f->ops->touch(f->a, touches, 2, &f->err));
	wait_locker(pid);
	assert_int_equal(number(f, "SELECT COUNT(*) FROM session WHERE "
				   "last_seen_ms = 1800000000500"),
	    2);
}

/* By a step in an index, by all statements. */
static int64_t
rows_read(struct fixture *f)
{
	return number(f, "SELECT VARIABLE_VALUE FROM information_schema."
			 "GLOBAL_STATUS WHERE VARIABLE_NAME = "
			 "'Handler_read_next'");
}

/* A piece reads its own part of the index, not all that stands before it. */
static void
a_count_reads_each_row_once(struct fixture *f)
{
	struct durable_count count = {.rows = 0};
	bool is_done = false;
	int64_t before;

	add_numbered(f, 1);
	run_sql(f, "INSERT INTO session SELECT CONCAT(X'02', "
		   "UNHEX(LPAD(HEX(n.seq), 22, '0'))), s.grp, s.seq, version, "
		   "realm, CONCAT('u', n.seq DIV 7), secret_hash, prev_hash, "
		   "prev_until_ms, successor_used_ms, context_id, contexts, "
		   "roles, state, end_reason, ended_ms, created_ms, auth_ms, "
		   "last_seen_ms, idle_ms, absolute_ms, client_ip, user_agent, "
		   "format, exports, data FROM session s "
		   "JOIN seq_1_to_9999 n");
	before = rows_read(f);
	while (!is_done)
		assert_ok(
		    f, f->ops->stats(f->a, T0, 100, &count, &is_done, &f->err));
	assert_int_equal(count.rows, 10000);
	assert_int_equal(count.stats.live, 10000);
	assert_int_equal(count.stats.users, 1430);
	before = rows_read(f) - before;
	assert_true(before > 9000 && before < 12000);
}

/* They are read, never locked: a lock of them before others' is a deadlock. */
static void
what_is_around_a_row_is_read_whoever_locks_it(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 1);
	struct durable_snapshot at;
	struct durable_poll poll;
	struct sgate_session *s;
	pid_t pid;

	add_numbered(f, 1);
	pid = start_locker(f,
	    "SELECT 1 FROM store, meta WHERE meta.grp >= 0 FOR UPDATE", 400,
	    NULL);
	allow_ms(f, 300);
	assert_ok(f, f->ops->session_get(f->a, &ref, 0, &s, &at, &f->err));
	sgate_session_free(s);
	assert_ok(f, f->ops->poll(f->a, &poll, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_get(
			 f->a, &ref, DURABLE_FOR_UPDATE, &s, &at, &f->err));
	sgate_session_free(s);
	assert_ok(f, f->ops->snapshot(f->a, 1, &at, &f->err));
	f->ops->rollback(f->a);
	wait_locker(pid);
}

/* After a deadlock the server would commit the rest by itself. */
static void
after_an_error_a_transaction_takes_nothing_more(struct fixture *f)
{
	const struct durable_audit audit = make_audit(T0, 1);
	const struct durable_audit other = make_audit(T0, 2);
	struct sgate_session *s = make_session(1, 1);

	add_audit(f, &audit);
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_status(
	    f, SGATE_CONFLICT, f->ops->audit_insert(f->a, &audit, &f->err));
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->audit_insert(f->a, &other, &f->err));
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->session_insert(f->a, s, &f->err));
	assert_status(f, SGATE_UNAVAILABLE, f->ops->commit(f->a, &f->err));
	f->ops->rollback(f->a);
	assert_false(has_session(f, f->b, &s->ref));
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->audit_exists(f->b, other.event_id, &f->err));
	sgate_session_free(s);
}

static void
logins_of_one_new_user_at_once_do_not_deadlock(struct fixture *f)
{
	const struct sgate_bytes realm = {"", 0};
	const struct sgate_bytes user = {"anna", 4};
	pid_t pids[8];
	int status;
	unsigned child;
	unsigned i;

	for (child = 0; child < 8; child++) {
		pids[child] = fork();
		if (pids[child] != 0)
			continue;
		struct durable_user state;
		struct durable *d;

		alarm(60);
		if (f->ops->open(&f->conf, &d, &f->err) != SGATE_OK)
			_exit(2);
		d->deadline_ms = clock_monotonic_ms() + 20000;
		for (i = 0; i < 25; i++) {
			struct sgate_session *s =
			    make_session(1, child * 100 + i);

			if (f->ops->begin(d, &f->err) != SGATE_OK ||
			    f->ops->user_lock(d, realm, user, child % 2 == 0,
				&state, &f->err) != SGATE_OK ||
			    f->ops->session_insert(d, s, &f->err) != SGATE_OK ||
			    f->ops->commit(d, &f->err) != SGATE_OK) {
				fprintf(stderr, "child: %s\n", f->err.text);
				_exit(3);
			}
			sgate_session_free(s);
		}
		_exit(0);
	}
	for (child = 0; child < 8; child++) {
		assert_true(waitpid(pids[child], &status, 0) == pids[child]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(number(f, "SELECT COUNT(*) FROM session"), 200);
}

/* In a child: has the user's lock alone, tells, and blocks him a bit later. */
static pid_t
start_blocker(struct fixture *f, struct sgate_bytes user)
{
	int pipes[2];
	char byte = 'x';
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		struct durable_user state;
		struct durable *d;

		alarm(60);
		if (f->ops->open(&f->conf, &d, &f->err) != SGATE_OK)
			_exit(2);
		d->deadline_ms = clock_monotonic_ms() + 20000;
		if (f->ops->begin(d, &f->err) != SGATE_OK ||
		    f->ops->user_lock(d, user, user, true, &state, &f->err) !=
			SGATE_OK ||
		    write(pipes[1], &byte, 1) != 1)
			_exit(3);
		pause_ms(150);
		if (f->ops->user_block(d, user, user, T0, user, &f->err) !=
		    SGATE_OK)
			_exit(4);
		_exit(f->ops->commit(d, &f->err) == SGATE_OK ? 0 : 5);
	}
	close(pipes[1]);
	assert_true(read(pipes[0], &byte, 1) == 1);
	close(pipes[0]);
	return pid;
}

static bool
is_blocked_in_many(struct fixture *f, struct sgate_bytes user)
{
	const struct durable_audit audit = make_audit(T0, 7);
	struct sgate_session *s = make_session(1, 7);
	struct durable_creation one = {.session = s, .audit = &audit};
	enum sgate_status status;

	snprintf(s->realm, sizeof(s->realm), "%.*s", (int)user.len, user.data);
	snprintf(s->user, sizeof(s->user), "%.*s", (int)user.len, user.data);
	status = f->ops->create_many(f->a, &one, 1, true, &f->err);
	sgate_session_free(s);
	return status == SGATE_DENIED && one.is_blocked;
}

/* What is read with the lock is read after it was had. */
static void
who_waits_for_a_users_lock_sees_that_he_is_blocked(struct fixture *f)
{
	static const char *const users[] = {"anna", "bob", "carol"};
	struct durable_user state;
	unsigned i;
	pid_t pid;

	for (i = 0; i < 3; i++) {
		const struct sgate_bytes user = bytes_of(users[i]);

		pid = start_blocker(f, user);
		f->a->deadline_ms = clock_monotonic_ms() + 10000;
		assert_ok(f, f->ops->begin(f->a, &f->err));
		if (i < 2) {
			assert_ok(f, f->ops->user_lock(f->a, user, user, i == 0,
					 &state, &f->err));
			assert_true(state.blocked_ms == T0);
		} else {
			assert_true(is_blocked_in_many(f, user));
		}
		f->ops->rollback(f->a);
		wait_locker(pid);
	}
}

/* ---- hosts ---- */

/* A port of 127.0.0.1 whose queue is full: a connect is never answered. */
static int
listen_full(int *out_port, int fillers[4])
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int i;

	assert_int_equal(
	    bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	for (i = 0; i < 4; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(
		    fillers[i], (struct sockaddr *)&address, sizeof(address));
	}
	pause_ms(50);
	*out_port = ntohs(address.sin_port);
	return fd;
}

static void
a_host_that_takes_no_connection_is_unavailable_in_time(struct fixture *f)
{
	char host[64];
	char *hosts[] = {host, NULL};
	struct took took;
	int fillers[4];
	struct durable *d;
	int port;
	int fd = listen_full(&port, fillers);
	int i;

	f->conf.mysql.hosts = hosts;
	snprintf(host, sizeof(host), "127.0.0.1:%d", port);
	d = open_handle(f);
	took = took_start();
	d->deadline_ms = took.started_ms + 100;
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	assert_took(&took, 90, 100 + SLACK_MS);
	f->ops->close(d);
	for (i = 0; i < 4; i++)
		close(fillers[i]);
	close(fd);
}

/* Takes connections on a port of 127.0.0.1 and passes them on. */
static pid_t
start_port(int *out_port)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	pid_t pid;

	assert_int_equal(
	    bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*out_port = ntohs(address.sin_port);
	pid = fork();
	if (pid == 0)
		serve_proxy(fd, NULL);
	close(fd);
	return pid;
}

static void
the_next_host_is_asked_when_one_is_dead_or_does_not_answer(struct fixture *f)
{
	char dead[64];
	char silent[64];
	char good[64];
	char *hosts[] = {dead, silent, good, NULL};
	struct took took;
	int fillers[4];
	struct durable *d;
	int port;
	int fd;
	int i;
	pid_t pid = start_port(&port);

	snprintf(good, sizeof(good), "127.0.0.1:%d", port);
	snprintf(dead, sizeof(dead), "127.0.0.1:1");
	fd = listen_full(&port, fillers);
	snprintf(silent, sizeof(silent), "127.0.0.1:%d", port);
	f->conf.mysql.hosts = hosts;
	d = open_handle(f);
	took = took_start();
	d->deadline_ms = took.started_ms + 400;
	assert_ok(f, f->ops->ping(d, &f->err));
	assert_took(&took, 0, 400);
	/* It stays with the host that answered. */
	d->deadline_ms = clock_monotonic_ms() + 100;
	assert_ok(f, f->ops->ping(d, &f->err));
	f->ops->close(d);
	for (i = 0; i < 4; i++)
		close(fillers[i]);
	close(fd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void
a_read_only_server_is_refused_and_left(struct fixture *f)
{
	struct sgate_session *s = make_session(1, 1);
	struct durable *d = open_handle(f);

	assert_ok(f, f->ops->ping(f->a, &f->err));
	run_sql(f, "SET GLOBAL read_only = 1");
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	assert_text(f, "read-only");
	run_sql(f, "SET GLOBAL read_only = 0");
	d->deadline_ms = clock_monotonic_ms() + 5000;
	assert_ok(f, f->ops->ping(d, &f->err));
	f->ops->close(d);
	sgate_session_free(s);
}

/* Its rows are those of a replica now; it answers nothing about a session. */
static void
a_server_that_becomes_read_only_is_not_believed_any_more(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 1);
	const struct sgate_ref none = make_ref(1, 2);
	struct durable_snapshot at;
	struct durable_poll poll;
	struct sgate_session *s;

	add_session(f, make_session(1, 1));
	assert_ok(f, f->ops->poll(f->a, &poll, &f->err));
	assert_ok(f, f->ops->session_get(f->b, &ref, 0, &s, &at, &f->err));
	sgate_session_free(s);
	run_sql(f, "SET GLOBAL read_only = 1");
	assert_status(f, SGATE_UNAVAILABLE, f->ops->poll(f->a, &poll, &f->err));
	assert_text(f, "read-only");
	assert_true(poll.now_ms == 0);
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->session_get(f->b, &ref, 0, &s, &at, &f->err));
	assert_null(s);
	run_sql(f, "SET GLOBAL read_only = 0");
	assert_ok(f, f->ops->session_get(f->b, &ref, 0, &s, NULL, &f->err));
	sgate_session_free(s);
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->session_get(f->b, &none, 0, &s, NULL, &f->err));
	run_sql(f, "SET GLOBAL read_only = 1");
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->session_get(f->b, &none, 0, &s, NULL, &f->err));
	run_sql(f, "SET GLOBAL read_only = 0");
}

static void
hosts_are_addresses_and_something_must_be_given(struct fixture *f)
{
	static const char *const wrong[] = {"localhost", "db.example.org:3306",
	    "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x",
	    "[::1", "[::1]x", "1.2.3", "", NULL};
	static const char *const right[] = {"127.0.0.1", "127.0.0.1:3307",
	    "::1", "[::1]", "[2001:db8::1]:3306", NULL};
	char host[64];
	char *hosts[] = {host, NULL};
	char none[] = "";
	struct durable *d;
	size_t i;

	f->conf.mysql.hosts = hosts;
	for (i = 0; wrong[i] != NULL; i++) {
		snprintf(host, sizeof(host), "%s", wrong[i]);
		d = (void *)f;
		assert_status(
		    f, SGATE_INVALID, f->ops->open(&f->conf, &d, &f->err));
		assert_null(d);
	}
	for (i = 0; right[i] != NULL; i++) {
		snprintf(host, sizeof(host), "%s", right[i]);
		assert_ok(f, f->ops->open(&f->conf, &d, &f->err));
		f->ops->close(d);
	}
	hosts[0] = NULL;
	f->conf.mysql.socket = none;
	assert_status(f, SGATE_INVALID, f->ops->open(&f->conf, &d, &f->err));
}

/* ---- the schema ---- */

static void
a_database_without_tables_says_what_to_do(struct fixture *f)
{
	struct durable *d;

	use_new_store(f);
	d = open_handle(f);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	assert_text(f, "db init");
	assert_int_equal(f->err.reason, SGATE_REASON_STORE);
	assert_status(f, SGATE_INVALID, f->ops->schema_check(d, &f->err));
	assert_text(f, "db init");
	assert_ok(f, f->ops->schema_init(d, &f->err));
	assert_ok(f, f->ops->schema_check(d, &f->err));
	assert_ok(f, f->ops->ping(d, &f->err));
	f->ops->close(d);
}

static void
a_schema_of_another_version_is_refused_and_left_alone(struct fixture *f)
{
	struct durable *d = open_handle(f);

	run_sql(f, "UPDATE store SET schema_version = 3");
	run_sql(f, "DROP TABLE lease");
	assert_status(f, SGATE_INVALID, f->ops->schema_check(d, &f->err));
	assert_status(f, SGATE_UNAVAILABLE, f->ops->schema_init(d, &f->err));
	assert_int_equal(number(f, "SELECT COUNT(*) FROM "
				   "information_schema.TABLES WHERE "
				   "TABLE_SCHEMA = DATABASE()"),
	    9);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	assert_text(f, "newer");
	f->ops->close(d);
}

/* What version 1 had: a row for every user, and no table of locks. */
static void
make_version_1(struct fixture *f)
{
	run_sql(f, "DROP TABLE user_lock");
	run_sql(f, "UPDATE session SET seq = COALESCE(seq, 0), "
		   "prev_until_ms = 0, successor_used_ms = 0, ended_ms = 0");
	run_sql(f, "ALTER TABLE session MODIFY seq BIGINT NOT NULL, "
		   "MODIFY prev_until_ms BIGINT NOT NULL, "
		   "MODIFY successor_used_ms BIGINT NOT NULL, "
		   "MODIFY ended_ms BIGINT NOT NULL");
	run_sql(f, "ALTER TABLE user_state ADD KEY blocked (blocked_ms)");
	run_sql(f, "INSERT INTO user_state VALUES ('', 'anna', 0, ''), "
		   "('', 'bob', 5, 'asked'), ('r', 'anna', 0, '')");
	run_sql(f, "UPDATE store SET schema_version = 1");
}

static void
check_is_converted(struct fixture *f, struct durable *d)
{
	assert_ok(f, f->ops->schema_check(d, &f->err));
	assert_int_equal(number(f, "SELECT COUNT(*) FROM user_lock"), 4096);
	assert_int_equal(number(f, "SELECT MAX(id) FROM user_lock"), 4095);
	assert_int_equal(number(f, "SELECT COUNT(*) FROM user_state"), 1);
	assert_int_equal(
	    number(f, "SELECT blocked_ms FROM user_state "
		      "WHERE user_id = 'bob' AND blocked_reason = 'asked'"),
	    5);
	assert_int_equal(number(f, "SELECT COUNT(*) FROM "
				   "information_schema.STATISTICS WHERE "
				   "TABLE_SCHEMA = DATABASE() AND "
				   "INDEX_NAME = 'blocked'"),
	    0);
	assert_int_equal(number(f, "SELECT COUNT(*) FROM session"), 1);
	assert_int_equal(number(f, "SELECT schema_version FROM store"), 2);
}

static void
tables_of_version_1_are_converted_with_what_is_in_them(struct fixture *f)
{
	struct durable *d = open_handle(f);

	add_session(f, make_session(1, 1));
	make_version_1(f);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	assert_text(f, "db init");
	assert_status(f, SGATE_INVALID, f->ops->schema_check(d, &f->err));
	assert_text(f, "older");
	assert_ok(f, f->ops->schema_init(d, &f->err));
	check_is_converted(f, d);
	assert_ok(f, f->ops->ping(d, &f->err));
	f->ops->close(d);
}

/* What was 0 before is not set, as what is NULL now. */
static void
zeros_of_version_1_mean_the_same_as_nulls(struct fixture *f)
{
	struct durable *d = open_handle(f);
	struct durable_touch touch = {
	    .ref = make_ref(1, 1), .successor_used_ms = T0 + 60};
	struct sgate_session *s = make_session(1, 1);

	s->has_prev = true;
	memcpy(touch.secret_hash, s->secret_hash, sizeof(touch.secret_hash));
	add_session(f, s);
	make_version_1(f);
	assert_ok(f, f->ops->schema_init(d, &f->err));
	f->ops->close(d);
	s = get_session(f, f->a, &touch.ref);
	assert_int_equal(s->ended_ms, 0);
	assert_int_equal(s->prev_until_ms, 0);
	assert_int_equal(s->successor_used_ms, 0);
	sgate_session_free(s);
	assert_ok(f, f->ops->touch(f->a, &touch, 1, &f->err));
	assert_int_equal(
	    number(f, "SELECT successor_used_ms FROM session"), T0 + 60);
	add_session(f, make_session(1, 2));
	assert_int_equal(
	    number(f, "SELECT COUNT(*) FROM session WHERE ended_ms IS NULL AND "
		      "seq IS NULL AND prev_until_ms IS NULL AND "
		      "successor_used_ms IS NULL"),
	    1);
}

static void
tables_are_not_converted_while_a_gateway_runs(struct fixture *f)
{
	struct durable *d = open_handle(f);

	add_session(f, make_session(1, 1));
	make_version_1(f);
	run_sql(f, "INSERT INTO lease VALUES ('host:one', 'keys=1', "
		   "UNIX_TIMESTAMP() * 1000 + 60000)");
	assert_status(f, SGATE_UNAVAILABLE, f->ops->schema_init(d, &f->err));
	assert_text(f, "stop all");
	assert_int_equal(number(f, "SELECT schema_version FROM store"), 1);
	assert_int_equal(number(f, "SELECT COUNT(*) FROM user_state"), 3);
	run_sql(f, "UPDATE lease SET until_ms = UNIX_TIMESTAMP() * 1000 - 1");
	assert_ok(f, f->ops->schema_init(d, &f->err));
	check_is_converted(f, d);
	f->ops->close(d);
}

/* Whoever comes meanwhile, of whatever version, is refused. */
static void
a_conversion_that_was_cut_off_goes_on(struct fixture *f)
{
	struct durable *d = open_handle(f);

	add_session(f, make_session(1, 1));
	make_version_1(f);
	run_sql(f, "UPDATE store SET schema_version = 0");
	run_sql(f, "CREATE TABLE user_lock (id SMALLINT NOT NULL PRIMARY KEY)");
	run_sql(f, "INSERT INTO user_lock VALUES (0), (17)");
	run_sql(f, "DELETE FROM user_state WHERE realm = 'r'");
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	assert_text(f, "older");
	assert_ok(f, f->ops->schema_init(d, &f->err));
	check_is_converted(f, d);
	f->ops->close(d);
}

static void
a_lock_of_users_that_is_missing_is_told_and_made_again(struct fixture *f)
{
	const struct sgate_bytes user = {"anna", 4};
	struct durable *d = open_handle(f);
	struct durable_user state;

	run_sql(f, "DELETE FROM user_lock");
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_status(f, SGATE_CORRUPT,
	    f->ops->user_lock(f->a, user, user, false, &state, &f->err));
	f->ops->rollback(f->a);
	assert_status(f, SGATE_INVALID, f->ops->schema_check(d, &f->err));
	assert_text(f, "user_lock");
	assert_ok(f, f->ops->schema_init(d, &f->err));
	assert_ok(f, f->ops->schema_check(d, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(
	    f, f->ops->user_lock(f->a, user, user, false, &state, &f->err));
	f->ops->rollback(f->a);
	f->ops->close(d);
}

static void
maintain_makes_weeks_ahead_and_drops_those_that_are_over(struct fixture *f)
{
	const int64_t week = ms(7) * 86400 * 1000;
	const struct durable_audit old = make_audit(T0, 1);
	const struct durable_audit young = make_audit(T0 + 3 * week, 2);
	unsigned made;
	unsigned dropped;

	add_audit(f, &old);
	assert_ok(f, f->ops->maintain(
			 f->a, T0, T0 - 13 * week, &made, &dropped, &f->err));
	assert_int_equal(made, 6);
	assert_int_equal(dropped, 0);
	assert_ok(f, f->ops->maintain(
			 f->a, T0, T0 - 13 * week, &made, &dropped, &f->err));
	assert_int_equal(made + dropped, 0);
	add_audit(f, &young);
	assert_ok(f, f->ops->audit_exists(f->a, old.event_id, &f->err));
	assert_ok(f, f->ops->maintain(f->b, T0 + 3 * week, T0 + 2 * week, &made,
			 &dropped, &f->err));
	assert_int_equal(made, 3);
	assert_int_equal(dropped, 2);
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->audit_exists(f->a, old.event_id, &f->err));
	assert_ok(f, f->ops->audit_exists(f->a, young.event_id, &f->err));
	/* Missed for years: what is there goes, one partition stays. */
	assert_ok(f, f->ops->maintain(f->b, T0 + 100 * week, T0 + 99 * week,
			 &made, &dropped, &f->err));
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->audit_exists(f->a, young.event_id, &f->err));
	add_audit(f, &young);
}

static void
restored_raises_the_epoch_and_every_number(struct fixture *f)
{
	unsigned char id[16];
	unsigned epoch;

	assert_int_equal(next_number(f, f->a, 2), 1);
	assert_ok(f, f->ops->restored(f->b, &epoch, &f->err));
	assert_int_equal(epoch, 2);
	assert_ok(f, f->ops->store_get(f->a, id, &epoch, &f->err));
	assert_int_equal(epoch, 2);
	assert_int_equal(next_number(f, f->a, 2), 1000002);
	assert_int_equal(
	    number(f, "SELECT COUNT(*) FROM meta WHERE seq >= 1000000"), 17);
}

/* ---- accounts ---- */

/* The statements of a file, each up to a semicolon at the end of a line. */
static void
run_file(struct fixture *f, const char *name)
{
	const char *source = getenv("SESSGATE_SOURCE");
	static char text[16384];
	char path[512];
	char *at = text;
	char *end;
	FILE *file;
	size_t len;

	snprintf(path, sizeof(path), "%s/conf/schema/%s",
	    source == NULL ? SOURCE_DIR : source, name);
	file = fopen(path, "r");
	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	for (; (end = strstr(at, ";\n")) != NULL; at = end + 2) {
		*end = '\0';
		/* A comment is not sent by itself. */
		run_sql(f, at);
	}
}

static struct durable *
open_as(struct fixture *f, char *user, const char *password)
{
	static char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/password", f->directory);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "%s\n", password);
	fclose(file);
	chmod(path, 0600);
	f->conf.mysql.user = user;
	f->conf.mysql.password_file = path;
	return open_handle(f);
}

/* A bit of everything that a gateway does. */
static void
do_all(struct fixture *f, struct durable *d)
{
	const struct durable_audit audit = make_audit(T0, 1);
	const struct sgate_bytes user = {"anna", 4};
	struct sgate_session *s = make_session(1, 1);
	struct durable_user state;
	uint64_t seq;
	size_t i;

	/* As at every start: nothing is missing, so nothing is made. */
	assert_ok(f, f->ops->schema_init(d, &f->err));
	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, f->ops->audit_insert(d, &audit, &f->err));
	assert_ok(f, f->ops->user_lock(d, user, user, true, &state, &f->err));
	assert_ok(f, f->ops->session_insert(d, s, &f->err));
	assert_ok(f, f->ops->counter_next(d, 1, &seq, &f->err));
	assert_ok(f, f->ops->session_store(d, s, &f->err));
	assert_ok(f, f->ops->commit(d, &f->err));
	sgate_session_free(s);
	for (i = 0; i < OPERATIONS; i++) {
		assert_ok(f, operations[i](f, d));
		f->ops->rollback(d);
	}
}

static void
work_as_the_gateway(struct fixture *f, struct durable *d)
{
	unsigned made;
	unsigned dropped;

	do_all(f, d);
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->maintain(d, T0, T0, &made, &dropped, &f->err));
	assert_text(f, "mysql-accounts.sql");
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->restored(d, &made, &f->err));
}

static void
two_accounts_have_the_grants_that_they_need_and_no_more(struct fixture *f)
{
	char gateway[] = "sessgate";
	char maintainer[] = "sessgate_maintainer";
	unsigned made;
	unsigned dropped;
	struct durable *d;

	run_file(f, "mysql-accounts.sql");
	d = open_as(f, gateway, "");
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	f->ops->close(d);
	run_sql(f, "ALTER USER 'sessgate'@'localhost' IDENTIFIED BY 'one' "
		   "ACCOUNT UNLOCK");
	run_sql(f, "ALTER USER 'sessgate_maintainer'@'localhost' "
		   "IDENTIFIED BY 'two' ACCOUNT UNLOCK");
	d = open_as(f, gateway, "one");
	/* A start of the server that it has not seen: its first is to jump. */
	run_sql(f, "UPDATE meta SET ident = 'before'");
	work_as_the_gateway(f, d);
	f->ops->close(d);
	d = open_as(f, maintainer, "two");
	assert_ok(f, f->ops->maintain(d, T0, T0, &made, &dropped, &f->err));
	assert_true(made > 0);
	/* That is the administrator's, and half of it is not done either. */
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->restored(d, &made, &f->err));
	assert_int_equal(number(f, "SELECT COUNT(*) FROM meta, store WHERE "
				   "seq >= 2000000 OR epoch > 1"),
	    0);
	/* It makes what is missing, and reads no session. */
	run_sql(f, "DROP TABLE lease");
	run_sql(f, "DROP TABLE store");
	assert_ok(f, f->ops->schema_init(d, &f->err));
	assert_status(f, SGATE_UNAVAILABLE, do_get(f, d));
	f->ops->close(d);
	d = open_as(f, gateway, "wrong");
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	assert_text(f, "password_file");
	assert_null(strstr(f->err.text, "wrong"));
	chmod(f->conf.mysql.password_file, 0604);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	assert_text(f, "everybody may read");
	f->ops->close(d);
}

/* ---- rows ---- */

static void
users_that_differ_in_blanks_or_case_are_two_users(struct fixture *f)
{
	static const char *const names[] = {
	    "anna", "anna ", "Anna", "\xc3\xa4nna", "a\xcc\x88nna"};
	const struct sgate_bytes realm = {"", 0};
	struct durable_user state;
	size_t i;

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->user_block(
			 f->a, realm, bytes_of("anna"), T0, realm, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_ok(f, f->ops->user_lock(f->a, realm, bytes_of(names[i]),
				 true, &state, &f->err));
		assert_int_equal(state.blocked_ms != 0, i == 0);
	}
	f->ops->rollback(f->a);
}

static void
a_damaged_row_is_corrupt_and_left_in_place(struct fixture *f)
{
	static const char *const damages[] = {"data = '[]'", "user_id = X'ff'",
	    "state = 3", "absolute_ms = -1", "client_ip = 'abc'",
	    "roles = X'610062'", "version = 0", NULL};
	const struct sgate_ref ref = make_ref(1, 1);
	struct sgate_session *s;
	char sql[160];
	size_t i;

	for (i = 0; damages[i] != NULL; i++) {
		run_sql(f, "DELETE FROM session");
		add_session(f, make_session(1, 1));
		snprintf(sql, sizeof(sql), "UPDATE session SET %s", damages[i]);
		run_sql(f, sql);
		assert_status(f, SGATE_CORRUPT,
		    f->ops->session_get(f->a, &ref, 0, &s, NULL, &f->err));
		assert_null(s);
		assert_int_equal(number(f, "SELECT COUNT(*) FROM session"), 1);
		assert_ok(f, f->ops->ping(f->a, &f->err));
	}
}

static void
check_around(struct fixture *f, enum sgate_status of_a_row)
{
	const struct sgate_ref ref = make_ref(1, 1);
	struct durable_snapshot at;
	struct durable_poll poll;
	struct sgate_session *s;

	assert_status(
	    f, of_a_row, f->ops->session_get(f->a, &ref, 0, &s, &at, &f->err));
	assert_int_equal(s != NULL, of_a_row == SGATE_OK);
	sgate_session_free(s);
	assert_status(f, of_a_row, f->ops->snapshot(f->a, 1, &at, &f->err));
	assert_ok(f, f->ops->session_get(f->a, &ref, 0, &s, NULL, &f->err));
	sgate_session_free(s);
	assert_status(f, SGATE_CORRUPT, f->ops->poll(f->a, &poll, &f->err));
	assert_true(poll.now_ms == 0);
}

static void
a_counter_or_store_that_is_missing_is_corrupt_and_never_absent(
    struct fixture *f)
{
	static const char *const damages[] = {"DELETE FROM store",
	    "UPDATE store SET epoch = 10000", "DELETE FROM meta WHERE grp = 1",
	    "UPDATE meta SET seq = -1 WHERE grp = 1", NULL};
	size_t i;

	add_numbered(f, 1);
	run_sql(f, "CREATE TABLE kept_store SELECT * FROM store");
	run_sql(f, "CREATE TABLE kept_meta SELECT * FROM meta");
	for (i = 0; damages[i] != NULL; i++) {
		run_sql(f, damages[i]);
		check_around(f, SGATE_CORRUPT);
		run_sql(f, "REPLACE INTO store SELECT * FROM kept_store");
		run_sql(f, "REPLACE INTO meta SELECT * FROM kept_meta");
	}
	run_sql(f, "DELETE FROM meta WHERE grp = 255");
	check_around(f, SGATE_OK);
}

/* A copy that lacks it would be called complete. */
static void
a_damaged_row_ends_the_changes(struct fixture *f)
{
	struct sgate_session *s;
	size_t seen = 0;
	unsigned i;

	for (i = 1; i <= 3; i++) {
		s = make_session(1, i);
		s->seq = i;
		add_session(f, s);
	}
	run_sql(f, "UPDATE session SET data = '[]' WHERE ref = " REF(02));
	assert_status(f, SGATE_CORRUPT,
	    f->ops->changes(f->a, 1, 0, T0, 10, count_session, &seen, &f->err));
	assert_int_equal(seen, 1);
	assert_ok(f, f->ops->ping(f->a, &f->err));
}

static void
columns_of_another_type_or_null_are_corrupt(struct fixture *f)
{
	static const char *const alterations[] = {
	    "MODIFY absolute_ms DOUBLE NOT NULL",
	    "MODIFY state VARBINARY(9) NOT NULL",
	    "MODIFY version DECIMAL(20) NOT NULL",
	    "MODIFY created_ms DATETIME NOT NULL DEFAULT '2026-11-22'",
	    "MODIFY user_id BIGINT NOT NULL", "MODIFY roles BLOB NULL",
	    "MODIFY seq BIGINT UNSIGNED NOT NULL", NULL};
	const struct sgate_ref ref = make_ref(1, 1);
	struct sgate_session *s;
	struct durable *d;
	char sql[160];
	size_t i;

	for (i = 0; alterations[i] != NULL; i++) {
		use_new_store(f);
		d = open_handle(f);
		assert_ok(f, f->ops->schema_init(d, &f->err));
		s = make_session(1, 1);
		assert_ok(f, f->ops->begin(d, &f->err));
		assert_ok(f, f->ops->session_insert(d, s, &f->err));
		assert_ok(f, f->ops->commit(d, &f->err));
		sgate_session_free(s);
		/* In the statement that is prepared already. */
		assert_ok(
		    f, f->ops->session_get(d, &ref, 0, &s, NULL, &f->err));
		sgate_session_free(s);
		run_sql(f, "SET STATEMENT sql_mode = '' FOR UPDATE session "
			   "SET user_id = '7', created_ms = 20261122");
		snprintf(sql, sizeof(sql),
		    "SET STATEMENT sql_mode = '' FOR ALTER TABLE session %s",
		    alterations[i]);
		run_sql(f, sql);
		run_sql(f,
		    "SET STATEMENT sql_mode = '' FOR UPDATE session SET "
		    "roles = IF((SELECT IS_NULLABLE FROM "
		    "information_schema.COLUMNS WHERE TABLE_SCHEMA = "
		    "DATABASE() AND TABLE_NAME = 'session' AND COLUMN_NAME = "
		    "'roles') = 'YES', NULL, roles), "
		    "seq = IF((SELECT COLUMN_TYPE FROM "
		    "information_schema.COLUMNS WHERE TABLE_SCHEMA = "
		    "DATABASE() AND TABLE_NAME = 'session' AND COLUMN_NAME = "
		    "'seq') LIKE '%unsigned', 18446744073709551615, seq)");
		assert_status(f, SGATE_CORRUPT,
		    f->ops->session_get(d, &ref, 0, &s, NULL, &f->err));
		assert_null(s);
		f->ops->close(d);
	}
}

static void
a_value_that_is_too_large_is_corrupt_and_what_is_large_is_read(
    struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 1);
	struct sgate_session *s;

	add_session(f, make_session(1, 1));
	run_sql(f, "UPDATE session SET data = "
		   "CONCAT('{\"a\":\"', REPEAT('x', 3000000), '\"}')");
	s = get_session(f, f->a, &ref);
	assert_int_equal(strlen(s->data), 3000008);
	sgate_session_free(s);
	run_sql(f, "UPDATE session SET data = "
		   "CONCAT('{\"a\":\"', REPEAT('x', 4194304), '\"}')");
	assert_status(f, SGATE_CORRUPT,
	    f->ops->session_get(f->a, &ref, 0, &s, NULL, &f->err));
	/* Its end is possible all the same: data is not asked for. */
	assert_ok(f, f->ops->session_get(
			 f->a, &ref, DURABLE_NO_DATA, &s, NULL, &f->err));
	sgate_session_free(s);
}

/* ---- the server's settings ---- */

static void
what_the_server_sets_for_its_connections_does_not_count(struct fixture *f)
{
	static const char *const settings[] = {
	    "sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,"
	    "PAD_CHAR_TO_FULL_LENGTH,EMPTY_STRING_IS_NULL'",
	    "autocommit = 0", "tx_isolation = 'SERIALIZABLE'",
	    "tx_isolation = 'READ-UNCOMMITTED'", "completion_type = 'CHAIN'",
	    "tx_read_only = 1", "character_set_server = 'ucs2'",
	    "time_zone = '+05:00'", "sql_safe_updates = 1",
	    "sql_select_limit = 1", "max_join_size = 1",
	    "low_priority_updates = 1", "innodb_lock_wait_timeout = 50",
	    "max_statement_time = 0.001", "foreign_key_checks = 0",
	    "group_concat_max_len = 4", "div_precision_increment = 0", NULL};
	struct durable_poll poll;
	struct durable *d;
	char sql[256];
	size_t i;

	for (i = 0; settings[i] != NULL; i++) {
		use_new_store(f);
		snprintf(sql, sizeof(sql), "SET GLOBAL %s", settings[i]);
		run_sql(f, sql);
		d = open_handle(f);
		assert_ok(f, f->ops->schema_init(d, &f->err));
		do_all(f, d);
		assert_ok(f, f->ops->poll(d, &poll, &f->err));
		assert_true(poll.now_ms > clock_utc_ms() - 60000 &&
			    poll.now_ms < clock_utc_ms() + 60000);
		f->ops->close(d);
		*strchr(sql + strlen("SET GLOBAL "), '=') = '\0';
		strcat(sql, "= DEFAULT");
		run_sql(f, sql);
	}
}

static int
take_number(void *arg, const struct sgate_value *columns, size_t count)
{
	assert_int_equal(count, 1);
	assert_int_equal(columns[0].kind, SGATE_VALUE_INTEGER);
	*(int64_t *)arg = columns[0].integer;
	return 0;
}

/* With a parameter of that length; 0: without. */
static enum sgate_status
exec_bytes(struct fixture *f, struct durable *d, const char *sql, size_t len,
    int64_t *out)
{
	char *bytes = malloc(len + 1);
	struct sgate_value value = {
	    .kind = SGATE_VALUE_BLOB, .bytes = {bytes, len}};
	enum sgate_status status;

	assert_non_null(bytes);
	memset(bytes, 'b', len);
	*out = 0;
	assert_ok(f, f->ops->begin(d, &f->err));
	status = f->ops->exec(d, sql, len == 0 ? NULL : &value, len > 0,
	    take_number, out, &f->err);
	f->ops->rollback(d);
	free(bytes);
	return status;
}

static int64_t
connection_of(struct fixture *f, struct durable *d)
{
	int64_t id;

	assert_ok(f, exec_bytes(f, d, "SELECT CONNECTION_ID()", 0, &id));
	return id;
}

/* The server hangs up behind its refusal, and the end of the connection may
 * come first: nobody knows why then. */
static void
a_packet_that_the_server_would_refuse_is_not_sent(struct fixture *f)
{
	struct sgate_session *s = make_largest_session(1);
	const struct durable_audit audit = make_audit(T0, 1);
	struct durable_creation one = {.session = s, .audit = &audit};
	int64_t connection;
	struct durable *d;

	s->state = SESSION_LIVE;
	run_sql(f, "SET GLOBAL max_allowed_packet = 32768");
	d = open_handle(f);
	d->deadline_ms = clock_monotonic_ms() + 10000;
	connection = connection_of(f, d);
	assert_ok(f, f->ops->begin(d, &f->err));
	assert_status(
	    f, SGATE_TOO_LARGE, f->ops->session_insert(d, s, &f->err));
	assert_text(f, "max_allowed_packet");
	assert_false(d->is_unreachable);
	assert_status(f, SGATE_UNAVAILABLE, do_get(f, d));
	assert_status(f, SGATE_UNAVAILABLE, f->ops->commit(d, &f->err));
	f->ops->rollback(d);
	assert_ok(f, f->ops->begin(d, &f->err));
	assert_status(
	    f, SGATE_TOO_LARGE, f->ops->create_many(d, &one, 1, true, &f->err));
	assert_text(f, "max_allowed_packet");
	assert_status(f, SGATE_UNAVAILABLE, f->ops->commit(d, &f->err));
	f->ops->rollback(d);
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->audit_exists(d, audit.event_id, &f->err));
	assert_int_equal(connection_of(f, d), connection);
	/* What a connection may send is settled when it is made. */
	run_sql(f, "SET GLOBAL max_allowed_packet = DEFAULT");
	f->ops->close(d);
	d = open_handle(f);
	d->deadline_ms = clock_monotonic_ms() + 10000;
	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, f->ops->session_insert(d, s, &f->err));
	assert_ok(f, f->ops->commit(d, &f->err));
	f->ops->close(d);
	sgate_session_free(s);
}

/* To the byte: the server takes what is one shorter. */
static void
the_longest_packet_that_the_server_takes_is_sent(struct fixture *f)
{
	/* Of 32,768 bytes: 10 before parameters, 4 for one, 3 for its length.
	 */
	const size_t longest = 32768 - 1 - 17;
	char sql[32768] = "SELECT 7";
	int64_t connection, value;
	struct durable *d;

	run_sql(f, "SET GLOBAL max_allowed_packet = 32768");
	d = open_handle(f);
	d->deadline_ms = clock_monotonic_ms() + 10000;
	connection = connection_of(f, d);
	assert_ok(f, exec_bytes(f, d, "SELECT LENGTH(?)", longest, &value));
	assert_int_equal(value, longest);
	assert_status(f, SGATE_TOO_LARGE,
	    exec_bytes(f, d, "SELECT LENGTH(?)", longest + 1, &value));
	assert_text(f, "max_allowed_packet");
	memset(sql + strlen(sql), ' ', sizeof(sql) - strlen(sql));
	sql[32768 - 2] = '\0';
	assert_ok(f, exec_bytes(f, d, sql, 0, &value));
	assert_int_equal(value, 7);
	sql[32768 - 2] = ' ';
	sql[32768 - 1] = '\0';
	assert_status(f, SGATE_TOO_LARGE, exec_bytes(f, d, sql, 0, &value));
	assert_text(f, "max_allowed_packet");
	assert_int_equal(connection_of(f, d), connection);
	assert_false(d->is_unreachable);
	run_sql(f, "SET GLOBAL max_allowed_packet = DEFAULT");
	f->ops->close(d);
}

static void
a_connection_that_was_idle_for_too_long_costs_no_failure(struct fixture *f)
{
	const struct durable_audit audit = make_audit(T0, 1);
	struct durable *d;

	add_session(f, make_session(1, 1));
	run_sql(f, "SET GLOBAL wait_timeout = 1");
	/* A transaction has as long as its longest statement, in whole s. */
	f->conf.mysql.read_timeout_ms = 1000;
	f->conf.mysql.write_timeout_ms = 1000;
	d = open_handle(f);
	assert_ok(f, do_get(f, d));
	pause_ms(1500);
	assert_ok(f, do_get(f, d));
	assert_ok(f, f->ops->begin(d, &f->err));
	/* It has not heard of the transaction: nothing of it is lost. */
	pause_ms(1500);
	assert_ok(f, f->ops->audit_insert(d, &audit, &f->err));
	assert_ok(f, f->ops->commit(d, &f->err));
	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, do_get(f, d));
	pause_ms(1500);
	assert_status(f, SGATE_UNAVAILABLE, do_get(f, d));
	f->ops->rollback(d);
	assert_ok(f, do_get(f, d));
	run_sql(f, "SET GLOBAL wait_timeout = DEFAULT");
	f->ops->close(d);
}

static void
what_would_be_refused_when_read_is_not_written(struct fixture *f)
{
	struct sgate_session *s = make_session(1, 1);

	assert_true(session_set(&s->data, bytes_of("[]")));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_status(
	    f, SGATE_INTERNAL, f->ops->session_insert(f->a, s, &f->err));
	f->ops->rollback(f->a);
	sgate_session_free(s);
}

/* ---- the caller's own statements ---- */

static void
check_exec(struct fixture *f, enum sgate_status expected, const char *sql)
{
	enum sgate_status status;

	assert_ok(f, f->ops->begin(f->a, &f->err));
	status = f->ops->exec(f->a, sql, NULL, 0, NULL, NULL, &f->err);
	if (status != expected)
		fprintf(stderr, "%s\n", sql);
	assert_status(f, expected, status);
	f->ops->rollback(f->a);
}

static void
exec_refuses_what_leaves_the_transaction_or_writes_to_our_tables(
    struct fixture *f)
{
	static const char *const denied[] = {"COMMIT", "commit", "ROLLBACK",
	    "BEGIN", "START TRANSACTION", "SAVEPOINT a", "SET autocommit = 1",
	    "SET STATEMENT max_statement_time=1 FOR DELETE FROM session",
	    "CREATE TABLE t (a INT)", "DROP TABLE session", "TRUNCATE session",
	    "ALTER TABLE mine ADD b INT", "LOCK TABLES mine WRITE", "CALL p()",
	    "DO 1", "EXECUTE IMMEDIATE 'COMMIT'", "PREPARE a FROM 'COMMIT'",
	    "LOAD DATA INFILE 'a' INTO TABLE mine", "HANDLER session OPEN",
	    "GRANT ALL ON *.* TO x", "KILL 1", "FLUSH TABLES", "USE mysql",
	    "DELETE FROM session", "delete from Session",
	    "/* a */ DELETE FROM `session`", "-- a\nDELETE FROM session",
	    "# a\nDELETE FROM session", "UPDATE session SET data = '{}'",
	    "UPDATE mine, session SET session.data = '{}'",
	    "INSERT INTO mine SELECT 1 FROM session",
	    "INSERT INTO mine VALUES ('') , ((SELECT '' FROM audit))",
	    "REPLACE INTO lease VALUES ('a', 'b', 1)",
	    "WITH a AS (SELECT 1) DELETE FROM session",
	    "DELETE session.* FROM mine JOIN session",
	    "SELECT 1 INTO OUTFILE '/tmp/x'", "SELECT 1 INTO DUMPFILE '/tmp/x'",
	    NULL};
	static const char *const wrong[] = {"", " ", ";", "/* a */",
	    "SELECT 1; SELECT 2", "INSERT INTO mine VALUES (1); COMMIT",
	    "SELECT", "SELECT nothing", "SELECT 1 FROM nowhere",
	    "INSERT INTO mine VALUES ('", "SELECT /* 1",
	    "SELECT 1 /*! ; COMMIT */", "SELECT 1 /*M! , 2 */",
	    "/*!50000 DELETE FROM session */", "SELECT ?",
	    "INSERT INTO mine VALUES ('a')", "SELECT 'a\\'; COMMIT", NULL};
	size_t i;

	run_sql(f, "CREATE TABLE mine (a INT) ENGINE=InnoDB");
	add_session(f, make_session(1, 1));
	for (i = 0; denied[i] != NULL; i++)
		check_exec(f, SGATE_DENIED, denied[i]);
	for (i = 0; wrong[i] != NULL; i++)
		check_exec(f, SGATE_INVALID, wrong[i]);
	assert_int_equal(number(f, "SELECT COUNT(*) FROM session"), 1);
}

static int
see_text(void *arg, const struct sgate_value *columns, size_t count)
{
	struct buf *text = arg;
	size_t i;

	for (i = 0; i < count; i++) {
		buf_printf(text, "%d:", (int)columns[i].kind);
		if (columns[i].kind == SGATE_VALUE_INTEGER)
			buf_add_int(text, columns[i].integer);
		else
			buf_add_bytes(text, columns[i].bytes);
		buf_add_char(text, ' ');
	}
	return 0;
}

static void
exec_gives_rows_of_every_type_and_writes_what_is_the_callers(struct fixture *f)
{
	static const char *const good[] = {
	    "INSERT INTO mine VALUES (1, 2.50, 'x''y;', X'00ff', '2026-11-22')",
	    "INSERT INTO mine VALUES (18446744073709551615, -0.5, "
	    "'\xc3\xa4', '', NULL);",
	    "UPDATE mine SET b = b + 1 -- the session", "SELECT * FROM session",
	    "(SELECT 1) UNION (SELECT 2)", NULL};
	struct buf text = {0};
	size_t i;

	run_sql(f, "CREATE TABLE mine (a BIGINT UNSIGNED, b DECIMAL(9,2), "
		   "c VARCHAR(9) CHARACTER SET utf8mb4, d VARBINARY(9), "
		   "e DATE) ENGINE=InnoDB");
	assert_ok(f, f->ops->begin(f->a, &f->err));
	for (i = 0; good[i] != NULL; i++)
		assert_ok(f,
		    f->ops->exec(f->a, good[i], NULL, 0, NULL, NULL, &f->err));
	assert_ok(f, f->ops->exec(f->a,
			 "SELECT a, b, c, d, e, 7, 1.5e0, CAST(-3 AS SIGNED) "
			 "FROM mine ORDER BY a",
			 NULL, 0, see_text, &text, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_memory_equal(buf_text(&text),
	    "2:1 2:3.50 2:x'y; 3:\0\xff 2:2026-11-22 1:7 2:1.5 1:-3 "
	    "2:18446744073709551615 2:0.50 2:\xc3\xa4 3: 0: 1:7 2:1.5 1:-3 ",
	    strlen("2:1 2:3.50 2:x'y; 3:") + 2 +
		strlen(" 2:2026-11-22 1:7 2:1.5 1:-3 "
		       "2:18446744073709551615 2:0.50 2:\xc3\xa4 3: 0: 1:7 "
		       "2:1.5 1:-3 "));
	buf_clear(&text);
	assert_int_equal(number(f, "SELECT COUNT(*) FROM mine"), 2);
}

const struct contract_case mysql_cases[] = {
#define CASE(name)                                                             \
	{                                                                      \
#name, name, NEEDS_MYSQL                                       \
	}
    CASE(a_stopped_server_is_unavailable_in_time_in_every_operation),
    CASE(a_server_that_answers_with_an_error_is_not_unreachable),
    CASE(an_operation_ends_at_its_own_timeout_before_the_deadline),
    CASE(a_transaction_on_a_stopped_server_surely_did_not_happen),
    CASE(a_commit_on_a_stopped_server_is_uncertain_and_its_audit_row_tells),
    CASE(after_a_restart_the_next_operation_connects_anew),
    CASE(a_connection_that_the_server_closed_costs_no_failure),
    CASE(numbers_jump_by_a_million_once_for_each_start_of_the_server),
    CASE(many_connections_to_a_new_server_jump_once),
    CASE(a_commit_whose_answer_is_lost_is_settled_by_its_audit_row),
    CASE(a_commit_that_never_arrived_is_settled_by_its_audit_row),
    CASE(a_read_whose_connection_ends_is_asked_again_on_a_new_one),
    CASE(the_first_statement_of_a_transaction_is_sent_again_too),
    CASE(a_server_that_takes_no_connection_is_asked_once),
    CASE(a_later_statement_of_a_transaction_is_never_sent_again),
    CASE(a_touch_whose_answer_is_lost_is_uncertain_and_harmless_twice),
    CASE(a_wrong_answer_is_never_no_such_session),
    CASE(operations_cost_few_messages),
    CASE(writes_answer_in_time_while_a_row_is_locked_and_reads_go_on),
    CASE(a_lock_is_an_answer_of_the_server_whatever_time_is_left),
    CASE(a_lock_that_is_held_for_more_than_a_second_is_tried_again),
    CASE(a_deadlock_is_tried_again),
    CASE(a_count_reads_each_row_once),
    CASE(what_is_around_a_row_is_read_whoever_locks_it),
    CASE(after_an_error_a_transaction_takes_nothing_more),
    CASE(logins_of_one_new_user_at_once_do_not_deadlock),
    CASE(who_waits_for_a_users_lock_sees_that_he_is_blocked),
    CASE(a_users_lock_that_others_have_is_busy_and_nothing_else),
    CASE(a_host_that_takes_no_connection_is_unavailable_in_time),
    CASE(the_next_host_is_asked_when_one_is_dead_or_does_not_answer),
    CASE(a_read_only_server_is_refused_and_left),
    CASE(a_server_that_becomes_read_only_is_not_believed_any_more),
    CASE(hosts_are_addresses_and_something_must_be_given),
    CASE(a_database_without_tables_says_what_to_do),
    CASE(a_schema_of_another_version_is_refused_and_left_alone),
    CASE(tables_of_version_1_are_converted_with_what_is_in_them),
    CASE(zeros_of_version_1_mean_the_same_as_nulls),
    CASE(tables_are_not_converted_while_a_gateway_runs),
    CASE(a_conversion_that_was_cut_off_goes_on),
    CASE(a_lock_of_users_that_is_missing_is_told_and_made_again),
    CASE(maintain_makes_weeks_ahead_and_drops_those_that_are_over),
    CASE(restored_raises_the_epoch_and_every_number),
    CASE(two_accounts_have_the_grants_that_they_need_and_no_more),
    CASE(users_that_differ_in_blanks_or_case_are_two_users),
    CASE(a_damaged_row_is_corrupt_and_left_in_place),
    CASE(a_counter_or_store_that_is_missing_is_corrupt_and_never_absent),
    CASE(a_damaged_row_ends_the_changes),
    CASE(columns_of_another_type_or_null_are_corrupt),
    CASE(a_value_that_is_too_large_is_corrupt_and_what_is_large_is_read),
    CASE(what_the_server_sets_for_its_connections_does_not_count),
    CASE(a_packet_that_the_server_would_refuse_is_not_sent),
    CASE(the_longest_packet_that_the_server_takes_is_sent),
    CASE(a_connection_that_was_idle_for_too_long_costs_no_failure),
    CASE(what_would_be_refused_when_read_is_not_written),
    CASE(exec_refuses_what_leaves_the_transaction_or_writes_to_our_tables),
    CASE(exec_gives_rows_of_every_type_and_writes_what_is_the_callers),
#undef CASE
    {NULL, NULL, 0},
};
