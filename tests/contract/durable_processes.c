/*
 * The durable contract: several processes on one store. A child opens its own
 * handle, never uses the parent's, and leaves by _exit(): 0 is success.
 */
#include "config.h"

#include "durable_cases.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

#define CHILDREN 2
#define ROUNDS 100

typedef int child_fn(struct fixture *f, struct durable *d, int fd);

/* In a child an assert of cmocka would run on in the parent's frame. */
#define MUST(f, call)                                                          \
	do {                                                                   \
		if ((call) != SGATE_OK) {                                      \
			fprintf(                                               \
			    stderr, "child: %s: %s\n", #call, (f)->err.text);  \
			return 1;                                              \
		}                                                              \
	} while (0)

static pid_t
start_child(struct fixture *f, child_fn *run, int fd)
{
	struct durable *d = NULL;
	pid_t pid = fork_child(f);

	if (pid > 0)
		return pid;
	/* A parent that failed leaves no child behind. */
	alarm(60);
	if (f->ops->open(&f->conf, &d, &f->err) != SGATE_OK)
		_exit(2);
	d->deadline_ms = clock_monotonic_ms() + 30000;
	_exit(run(f, d, fd));
}

static void
wait_child(pid_t pid)
{
	int status;

	assert_true(waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
read_fully(int fd, void *out, size_t len)
{
	char *at = out;
	ssize_t got;

	while (len > 0) {
		got = read(fd, at, len);
		assert_true(got > 0);
		at += got;
		len -= (size_t)got;
	}
}

/* ---- counters ---- */

static int
take_numbers(struct fixture *f, struct durable *d, int fd)
{
	uint64_t seq[ROUNDS];
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		MUST(f, f->ops->begin(d, &f->err));
		MUST(f, f->ops->counter_next(d, 5, &seq[i], &f->err));
		MUST(f, f->ops->commit(d, &f->err));
	}
	return write(fd, seq, sizeof(seq)) == (ssize_t)sizeof(seq) ? 0 : 1;
}

static void
counters_of_two_processes_are_unique_and_rise(struct fixture *f)
{
	bool is_taken[CHILDREN * ROUNDS + 1] = {false};
	uint64_t seq[ROUNDS];
	int pipes[CHILDREN][2];
	pid_t pids[CHILDREN];
	unsigned child;
	unsigned i;

	for (child = 0; child < CHILDREN; child++) {
		assert_int_equal(pipe(pipes[child]), 0);
		pids[child] = start_child(f, take_numbers, pipes[child][1]);
		close(pipes[child][1]);
	}
	for (child = 0; child < CHILDREN; child++) {
		read_fully(pipes[child][0], seq, sizeof(seq));
		for (i = 0; i < ROUNDS; i++) {
			assert_true(seq[i] >= 1 && seq[i] <= CHILDREN * ROUNDS);
			assert_true(i == 0 || seq[i] > seq[i - 1]);
			assert_false(is_taken[seq[i]]);
			is_taken[seq[i]] = true;
		}
		close(pipes[child][0]);
		wait_child(pids[child]);
	}
}

/* ---- the user's lock ---- */

/* Creates sessions of "anna" until its parent closes the pipe's reader. */
static int
create_many(struct fixture *f, struct durable *d, int fd)
{
	const struct sgate_bytes realm = {"", 0};
	const struct sgate_bytes user = {"anna", 4};
	struct sgate_session *s;
	struct durable_user state;
	unsigned i;

	for (i = 1; i <= ROUNDS; i++) {
		s = make_session(1, i);
		MUST(f, f->ops->begin(d, &f->err));
		MUST(f,
		    f->ops->user_lock(d, realm, user, false, &state, &f->err));
		MUST(f, f->ops->session_insert(d, s, &f->err));
		MUST(f, f->ops->commit(d, &f->err));
		sgate_session_free(s);
		if (write(fd, &i, sizeof(i)) != (ssize_t)sizeof(i))
			return 1;
	}
	return 0;
}

struct refs {
	struct sgate_ref refs[ROUNDS];
	size_t count;
};

static int
keep_ref(void *arg, const struct sgate_session *session)
{
	struct refs *refs = arg;

	refs->refs[refs->count++] = session->ref;
	return 0;
}

static size_t
list_anna(struct fixture *f, struct refs *refs)
{
	const struct sgate_bytes realm = {"", 0};
	const struct sgate_bytes user = {"anna", 4};

	refs->count = 0;
	assert_ok(f, f->ops->user_sessions(
			 f->a, realm, user, 0, keep_ref, refs, &f->err));
	return refs->count;
}

/* Ends all of anna's; returns how many. */
static size_t
clean_up(struct fixture *f, struct refs *refs)
{
	const struct sgate_bytes realm = {"", 0};
	const struct sgate_bytes user = {"anna", 4};
	struct durable_user state;
	struct sgate_session *s;
	size_t count;
	size_t i;

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(
	    f, f->ops->user_lock(f->a, realm, user, true, &state, &f->err));
	count = list_anna(f, refs);
	for (i = 0; i < count; i++) {
		assert_ok(f, f->ops->session_get(f->a, &refs->refs[i],
				 DURABLE_FOR_UPDATE, &s, NULL, &f->err));
		s->state = SESSION_ENDED;
		assert_ok(f, f->ops->session_store(f->a, s, &f->err));
		sgate_session_free(s);
	}
	/* Nobody has come in while the lock was held. */
	assert_int_equal(list_anna(f, refs), 0);
	assert_ok(f, f->ops->commit(f->a, &f->err));
	return count;
}

static void
an_exclusive_user_lock_orders_cleanups_and_creates(struct fixture *f)
{
	static struct refs refs;
	size_t ended = 0;
	unsigned number = 0;
	int pipes[2];
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = start_child(f, create_many, pipes[1]);
	close(pipes[1]);
	while (number < ROUNDS) {
		read_fully(pipes[0], &number, sizeof(number));
		if (number % 5 == 0)
			ended += clean_up(f, &refs);
	}
	wait_child(pid);
	ended += clean_up(f, &refs);
	assert_int_equal(ended, ROUNDS);
	close(pipes[0]);
}

/* ---- a writer that does not let go ---- */

/* Holds the write lock until the parent closes its end of the pipe. */
static int
hold_lock(struct fixture *f, struct durable *d, int fd)
{
	struct sgate_session *s = make_session(2, 1);
	char byte = 'x';

	MUST(f, f->ops->begin(d, &f->err));
	MUST(f, f->ops->session_insert(d, s, &f->err));
	if (write(fd, &byte, 1) != 1)
		return 1;
	pause();
	return 0;
}

/* Gives both handles 100 ms; check_in_time() looks whether that was kept. */
static int64_t
start_clock(struct fixture *f)
{
	allow_ms(f, 100);
	return f->a->deadline_ms;
}

static void
check_in_time(struct fixture *f, int64_t deadline_ms, enum sgate_status status)
{
	int64_t late_ms = clock_monotonic_ms() - deadline_ms;

	assert_status(f, SGATE_UNAVAILABLE, status);
	assert_true(late_ms >= -10 && late_ms < 100);
}

static void
writes_answer_in_time_while_another_process_holds_the_lock(struct fixture *f)
{
	const struct durable_touch touch = {
	    .ref = make_ref(1, 1), .last_seen_ms = T0 + 9};
	const struct sgate_ref held = make_ref(2, 1);
	const struct sgate_ref ref = make_ref(1, 1);
	enum sgate_status status;
	int64_t deadline_ms;
	uint64_t sessions;
	uint64_t others;
	int pipes[2];
	pid_t pid;
	char byte;

	add_session(f, make_session(1, 1));
	assert_int_equal(pipe(pipes), 0);
	pid = start_child(f, hold_lock, pipes[1]);
	read_fully(pipes[0], &byte, 1);
	deadline_ms = start_clock(f);
	status = f->ops->begin(f->a, &f->err);
	check_in_time(f, deadline_ms, status);
	deadline_ms = start_clock(f);
	status = f->ops->touch(f->a, &touch, 1, &f->err);
	check_in_time(f, deadline_ms, status);
	deadline_ms = start_clock(f);
	status =
	    f->ops->purge(f->a, T0, T0, T0, 10, &sessions, &others, &f->err);
	check_in_time(f, deadline_ms, status);
	deadline_ms = start_clock(f);
	status = f->ops->lease_take(f->a, "l", "h", T0, T0 + 1, &f->err);
	check_in_time(f, deadline_ms, status);
	allow_ms(f, 5000);
	/* Reading goes on. */
	assert_true(has_session(f, f->a, &ref));
	assert_false(has_session(f, f->a, &held));
	/* And so does writing, when the holder has died. */
	kill(pid, SIGKILL);
	assert_true(waitpid(pid, NULL, 0) == pid);
	assert_ok(f, f->ops->touch(f->a, &touch, 1, &f->err));
	assert_false(has_session(f, f->a, &held));
	close(pipes[0]);
	close(pipes[1]);
}

/* ---- kill -9 ---- */

struct acknowledged {
	unsigned number;
	uint64_t seq;
};

/* Two sessions and an event a transaction, each acknowledged to the parent. */
static int
write_for_ever(struct fixture *f, struct durable *d, int fd)
{
	struct acknowledged ack = {0, 0};
	struct durable_audit audit;
	struct sgate_session *s;

	for (;;) {
		ack.number++;
		MUST(f, f->ops->begin(d, &f->err));
		audit = make_audit(T0, (unsigned)getpid() % 60000);
		memcpy(audit.event_id + 6, &ack.number, sizeof(ack.number));
		MUST(f, f->ops->audit_insert(d, &audit, &f->err));
		s = make_session((unsigned)fd, ack.number);
		memcpy(s->ref.bytes + 1, &audit.event_id[14], 2);
		MUST(f, f->ops->session_insert(d, s, &f->err));
		s->ref.bytes[3] = 1;
		MUST(f, f->ops->session_insert(d, s, &f->err));
		sgate_session_free(s);
		MUST(f, f->ops->counter_next(d, 7, &ack.seq, &f->err));
		MUST(f, f->ops->commit(d, &f->err));
		if (write(fd, &ack, sizeof(ack)) != (ssize_t)sizeof(ack))
			return 1;
	}
}

/* Reads what was acknowledged, kills, and gives the last number. */
static unsigned
kill_writer(struct fixture *f, pid_t *out_pid, int *out_fd, uint64_t *seq)
{
	struct acknowledged ack = {0, 0};
	unsigned last = 0;
	unsigned enough = 3 + (unsigned)(*seq % 17);
	int pipes[2];
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	*out_fd = pipes[1];
	pid = start_child(f, write_for_ever, pipes[1]);
	close(pipes[1]);
	while (last < enough) {
		read_fully(pipes[0], &ack, sizeof(ack));
		last = ack.number;
	}
	kill(pid, SIGKILL);
	/* What was acknowledged up to then counts too. */
	while (read(pipes[0], &ack, sizeof(ack)) == (ssize_t)sizeof(ack))
		last = ack.number;
	assert_true(ack.seq > *seq);
	*seq = ack.seq;
	assert_true(waitpid(pid, NULL, 0) == pid);
	close(pipes[0]);
	*out_pid = pid;
	return last;
}

static void
kill_9_in_transactions_keeps_all_that_was_acknowledged(struct fixture *f)
{
	struct sgate_ref ref;
	uint64_t seq = 0;
	unsigned round;
	unsigned last;
	unsigned i;
	unsigned pid_number;
	bool has_first;
	pid_t pid;
	int fd;

	for (round = 0; round < 8; round++) {
		last = kill_writer(f, &pid, &fd, &seq);
		pid_number = (unsigned)pid % 60000;
		for (i = 1; i <= last + 1; i++) {
			ref = make_ref((unsigned)fd, i);
			ref.bytes[1] = (unsigned char)(pid_number >> 8);
			ref.bytes[2] = (unsigned char)pid_number;
			has_first = has_session(f, f->a, &ref);
			assert_true(has_first || i > last);
			/* Both or neither. */
			ref.bytes[3] = 1;
			assert_int_equal(has_session(f, f->b, &ref), has_first);
		}
	}
}

/* ---- making the store, forking ---- */

static int
init_again(struct fixture *f, struct durable *d, int fd)
{
	char byte;

	/* All at once, when the parent closes its end. */
	if (read(fd, &byte, 1) != 0)
		return 1;
	MUST(f, f->ops->schema_init(d, &f->err));
	MUST(f, f->ops->ping(d, &f->err));
	return 0;
}

static void
a_store_made_by_six_processes_at_once_is_one_store(struct fixture *f)
{
	int pipes[2];
	pid_t pids[6];
	unsigned i;

	use_new_store(f);
	assert_int_equal(pipe(pipes), 0);
	for (i = 0; i < 6; i++) {
		pids[i] = fork_child(f);
		if (pids[i] == 0) {
			struct durable *d;

			alarm(60);
			close(pipes[1]);
			if (f->ops->open(&f->conf, &d, &f->err) != SGATE_OK)
				_exit(2);
			d->deadline_ms = clock_monotonic_ms() + 20000;
			_exit(init_again(f, d, pipes[0]));
		}
	}
	close(pipes[1]);
	for (i = 0; i < 6; i++)
		wait_child(pids[i]);
	close(pipes[0]);
}

/*
 * With SQLite a handle of its own is refused too: locks are shared in a
 * process.
 */
static int
use_and_close_parents(struct fixture *f)
{
	struct durable *d = open_handle(f);
	enum sgate_status expected =
	    f->ops == &durable_sqlite ? SGATE_INTERNAL : SGATE_OK;

	f->ops->rollback(f->a);
	if (f->ops->ping(f->a, &f->err) != SGATE_INTERNAL ||
	    strstr(f->err.text, "fork") == NULL ||
	    f->ops->commit(f->a, &f->err) != SGATE_INTERNAL ||
	    f->ops->ping(d, &f->err) != expected)
		return 1;
	f->ops->close(f->a);
	f->ops->close(f->b);
	f->ops->close(d);
	return 0;
}

static void
a_child_of_an_open_store_is_refused_and_its_parent_goes_on(struct fixture *f)
{
	struct sgate_session *s = make_session(1, 1);
	pid_t pid;

	assert_ok(f, f->ops->ping(f->b, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, s, &f->err));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(60);
		_exit(use_and_close_parents(f));
	}
	wait_child(pid);
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_true(has_session(f, f->b, &s->ref));
	sgate_session_free(s);
}

const struct contract_case process_cases[] = {
#define CASE(name)                                                             \
	{                                                                      \
#name, name, NEEDS_PROCESSES                                   \
	}
    CASE(counters_of_two_processes_are_unique_and_rise),
    CASE(an_exclusive_user_lock_orders_cleanups_and_creates),
    CASE(kill_9_in_transactions_keeps_all_that_was_acknowledged),
    CASE(a_store_made_by_six_processes_at_once_is_one_store),
    CASE(a_child_of_an_open_store_is_refused_and_its_parent_goes_on),
#undef CASE
    {"writes_answer_in_time_while_another_process_holds_the_lock",
	writes_answer_in_time_while_another_process_holds_the_lock,
	NEEDS_PROCESSES | NEEDS_ONE_WRITER},
    {NULL, NULL, 0},
};
