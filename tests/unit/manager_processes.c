/*
 * The manager in several processes on one SQLite store: no change is lost, a
 * cleanup and a create are ordered, and a process that is killed leaves
 * either all of a change or nothing.
 */
#include "tap.h"

#include "world.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

/* How long a child may take before the test gives up on it. */
#define CHILD_LIMIT_MS 60000

typedef int child_fn(struct world *w, int out_fd);

struct child {
	pid_t pid;
	int in_fd; /* what it writes */
};

/*
 * The child gets a manager of its own; its exit status is what fn returns. No
 * store may be open while a process is forked, so the parent's is opened anew.
 */
static struct child
child_start(struct world *w, child_fn *fn)
{
	struct child child;
	int fds[2];

	sgate_manager_free(w->mgr);
	w->mgr = world_manager(w, NULL);
	assert_int_equal(pipe(fds), 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (child.pid == 0) {
		close(fds[0]);
		w->mgr = world_manager(w, NULL);
		_exit(fn(w, fds[1]));
	}
	close(fds[1]);
	child.in_fd = fds[0];
	return child;
}

/* False at the end of what it writes. */
static bool
child_read(struct child *child, void *out, size_t size)
{
	struct pollfd poll_fd = {.fd = child->in_fd, .events = POLLIN};
	size_t done = 0;
	ssize_t got;

	while (done < size) {
		assert_int_equal(poll(&poll_fd, 1, CHILD_LIMIT_MS), 1);
		got = read(child->in_fd, (char *)out + done, size - done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

/* Waits until it has ended by itself: it has closed its pipe by then. */
static void
child_stop(struct child *child)
{
	char byte;
	int status = 0;

	while (child_read(child, &byte, 1))
		continue;
	close(child->in_fd);
	assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- changes ---- */

#define UPDATES 500

static struct sgate_ref shared_ref;

static int
update_members(struct world *w, const char *prefix)
{
	struct sgate_update u = {0};
	char patch[64];
	int i;

	for (i = 0; i < UPDATES; i++) {
		snprintf(patch, sizeof(patch), "{\"%s%d\":%d}", prefix, i, i);
		u.data_patch = B(patch);
		if (sgate_session_update(
			w->mgr, &shared_ref, &u, NULL, &w->err) != SGATE_OK) {
			print_error("%s\n", w->err.text);
			return 1;
		}
	}
	return 0;
}

static int
update_a(struct world *w, int out_fd)
{
	(void)out_fd;
	return update_members(w, "a");
}

static int
update_b(struct world *w, int out_fd)
{
	(void)out_fd;
	return update_members(w, "b");
}

static void
a_thousand_updates_of_two_processes_lose_none(void **state)
{
	struct child a, b;
	struct sgate_session *row;
	struct data *data = NULL;
	struct world w;
	struct made made;
	int64_t value;
	char name[16];
	int i;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	shared_ref = made.ref;
	a = child_start(&w, update_a);
	b = child_start(&w, update_b);
	child_stop(&a);
	child_stop(&b);
	row = world_row(&w, &made.ref);
	assert_int_equal(row->version, 1 + 2 * UPDATES);
	assert_status(&w,
	    data_parse(sgate_session_get_data(row), 1 << 20, &data, &w.err),
	    SGATE_OK);
	for (i = 0; i < 2 * UPDATES; i++) {
		snprintf(
		    name, sizeof(name), "%c%d", "ab"[i / UPDATES], i % UPDATES);
		assert_true(data_get_integer(data, name, &value));
		assert_int_equal(value, i % UPDATES);
	}
	assert_int_equal(world_audit(&w, "update", &made.ref), 2 * UPDATES);
	data_free(data);
	sgate_session_free(row);
	made_clear(&made);
	world_close(&w);
}

/* ---- cleanup against create ---- */

#define CREATES 600

/* Writes each ref once its create has been acknowledged. */
static int
create_many(struct world *w, int out_fd)
{
	struct sgate_create c = {.user_id = B("ann")};
	struct sgate_session *s = NULL;
	char *token = NULL;
	int i;

	for (i = 0; i < CREATES; i++) {
		if (sgate_session_create(w->mgr, &c, &s, &token, &w->err) !=
		    SGATE_OK) {
			print_error("%s\n", w->err.text);
			return 1;
		}
		if (write(out_fd, sgate_session_get_ref(s)->bytes,
			SGATE_REF_BYTES) != SGATE_REF_BYTES)
			return 1;
		sgate_session_free(s);
		sgate_token_free(token);
	}
	return 0;
}

static void
a_cleanup_ends_what_was_created_before_it(void **state)
{
	struct sgate_ref refs[CREATES];
	struct child child;
	struct world w;
	size_t known = 0, i;
	uint64_t count, ended = 0;
	bool is_open = true;

	(void)state;
	world_start(&w);
	child = child_start(&w, create_many);
	while (is_open) {
		/* Some 20 creates have been acknowledged. */
		for (i = 0; i < 20 && is_open && known < CREATES; i++) {
			is_open = child_read(
			    &child, refs[known].bytes, SGATE_REF_BYTES);
			known += is_open;
		}
		is_open = is_open && known < CREATES;
		assert_status(&w,
		    sgate_user_cleanup(w.mgr, B("ann"), NULL,
			SGATE_REASON_REVOKED, &count, &w.err),
		    SGATE_OK);
		ended += count;
		for (i = 0; i < known; i++)
			assert_int_equal(
			    world_look_at(&w, &refs[i]), SGATE_REASON_REVOKED);
	}
	child_stop(&child);
	assert_status(&w,
	    sgate_user_cleanup(
		w.mgr, B("ann"), NULL, SGATE_REASON_REVOKED, &count, &w.err),
	    SGATE_OK);
	/* None ended twice, none left over. */
	assert_int_equal(ended + count, CREATES);
	assert_int_equal(world_audit(&w, "create", NULL), CREATES);
	assert_int_equal(world_audit(&w, "end", NULL), CREATES);
	world_close(&w);
}

/* ---- kill -9 ---- */

static int
create_and_end(struct world *w, int out_fd)
{
	struct sgate_create c = {.user_id = B("ann")};
	struct sgate_session *s = NULL;
	char *token = NULL;
	char record[SGATE_REF_BYTES + 1];

	for (;;) {
		if (sgate_session_create(w->mgr, &c, &s, &token, &w->err) !=
		    SGATE_OK)
			return 1;
		memcpy(
		    record, sgate_session_get_ref(s)->bytes, SGATE_REF_BYTES);
		record[SGATE_REF_BYTES] = 'c';
		if (write(out_fd, record, sizeof(record)) != sizeof(record))
			return 1;
		if (sgate_session_end_token(w->mgr, B(token),
			SGATE_REASON_LOGGED_OUT, &w->err) != SGATE_OK)
			return 1;
		record[SGATE_REF_BYTES] = 'e';
		if (write(out_fd, record, sizeof(record)) != sizeof(record))
			return 1;
		sgate_session_free(s);
		sgate_token_free(token);
	}
}

struct rows {
	size_t live, ended;
};

static int
count_state(void *arg, const struct sgate_value *columns, size_t count)
{
	struct rows *rows = arg;

	assert_int_equal(count, 2);
	if (columns[0].integer == SESSION_LIVE)
		rows->live = (size_t)columns[1].integer;
	else
		rows->ended = (size_t)columns[1].integer;
	return 0;
}

static void
a_killed_process_leaves_all_of_a_change_or_nothing(void **state)
{
	char record[SGATE_REF_BYTES + 1];
	struct rows rows = {0, 0};
	struct sgate_db *db = NULL;
	struct child child;
	struct sgate_ref ref;
	struct world w;
	size_t acked_creates = 0, acked_ends = 0;
	int round, i, status;

	(void)state;
	world_start(&w);
	for (round = 0; round < 5; round++) {
		child = child_start(&w, create_and_end);
		for (i = 0; i < 21 + 10 * round; i++)
			assert_true(child_read(&child, record, sizeof(record)));
		/* It is somewhere in its next change now. */
		assert_int_equal(kill(child.pid, SIGKILL), 0);
		assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
		close(child.in_fd);
		acked_creates += (size_t)(i + 1) / 2;
		acked_ends += (size_t)i / 2;
		memcpy(ref.bytes, record, SGATE_REF_BYTES);
		status = world_look_at(&w, &ref);
		if (record[SGATE_REF_BYTES] == 'e')
			assert_int_equal(status, SGATE_REASON_LOGGED_OUT);
		else
			assert_true(status == SGATE_REASON_OK ||
				    status == SGATE_REASON_LOGGED_OUT);
	}
	assert_status(&w, sgate_db_open(w.mgr, 0, &db, &w.err), SGATE_OK);
	assert_status(&w,
	    sgate_db_exec(db,
		"SELECT state, count(*) FROM session GROUP BY state", NULL, 0,
		count_state, &rows, &w.err),
	    SGATE_OK);
	sgate_db_close(db);
	/* What was not read any more may have been acknowledged too. */
	assert_true(rows.live + rows.ended >= acked_creates);
	assert_true(rows.ended >= acked_ends);
	assert_int_equal(
	    world_audit(&w, "create", NULL), rows.live + rows.ended);
	assert_int_equal(world_audit(&w, "end", NULL), rows.ended);
	world_close(&w);
}

/* ---- fork ---- */

static struct sgate_manager *parents;

static enum sgate_status
create_with(struct world *w, struct sgate_manager *mgr)
{
	struct sgate_create c = {.user_id = B("bob")};
	struct sgate_session *s = NULL;
	char *token = NULL;
	enum sgate_status status;

	status = sgate_session_create(mgr, &c, &s, &token, &w->err);
	sgate_session_free(s);
	sgate_token_free(token);
	return status;
}

static int
use_the_parents_manager(struct world *w, int out_fd)
{
	(void)out_fd;
	return create_with(w, parents) != SGATE_OK;
}

static void
a_manager_that_came_through_fork_unused_opens_its_own_store(void **state)
{
	struct child child;
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	parents = world_manager(&w, NULL);
	child = child_start(&w, use_the_parents_manager);
	child_stop(&child);
	world_create(&w, "ann", &made);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	made_clear(&made);
	assert_int_equal(world_audit(&w, "create", NULL), 2);
	sgate_manager_free(parents);
	world_close(&w);
}

static bool
has_mysql(void)
{
	return strcmp(world_store(), "mysql") == 0;
}

/*
 * With SQLite its commits would go into a WAL that the parent removes when it
 * closes. A manager of its own is no better: SQLite shares a file's locks in a
 * process. With MySQL it makes a connection of its own.
 */
static int
use_what_is_open(struct world *w, int out_fd)
{
	enum sgate_status expected = has_mysql() ? SGATE_OK : SGATE_INTERNAL;

	(void)out_fd;
	return create_with(w, parents) != expected ||
	       create_with(w, w->mgr) != expected;
}

static void
a_child_of_a_process_with_an_open_store_is_refused_or_connects(void **state)
{
	struct child child;
	struct world w;

	(void)state;
	world_start(&w);
	parents = world_manager(&w, NULL);
	assert_int_equal(create_with(&w, parents), SGATE_OK);
	child = child_start(&w, use_what_is_open);
	child_stop(&child);
	/* The parent's connection is as it was. */
	assert_int_equal(create_with(&w, parents), SGATE_OK);
	assert_int_equal(world_audit(&w, "create", NULL), has_mysql() ? 4 : 2);
	sgate_manager_free(parents);
	world_close(&w);
}

static const struct CMUnitTest manager_processes[] = {
    cmocka_unit_test(a_thousand_updates_of_two_processes_lose_none),
    cmocka_unit_test(a_cleanup_ends_what_was_created_before_it),
    cmocka_unit_test(a_killed_process_leaves_all_of_a_change_or_nothing),
    cmocka_unit_test(
	a_manager_that_came_through_fork_unused_opens_its_own_store),
    cmocka_unit_test(
	a_child_of_a_process_with_an_open_store_is_refused_or_connects),
};

TAP_MAIN(manager_processes)
