/*
 * The durable contract: many changes in one transaction, for stores that have
 * lock_many and store_many.
 */
#include "config.h"

#include "durable_cases.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

struct many {
	struct sgate_ref refs[DURABLE_CHANGES_MAX];
	struct durable_audit audits[DURABLE_CHANGES_MAX];
	struct durable_change items[DURABLE_CHANGES_MAX];
	size_t count;
};

static void
add(struct many *m, unsigned group, unsigned number)
{
	size_t i = m->count++;

	m->refs[i] = make_ref(group, number);
	m->audits[i] = make_audit(T0, number);
	m->items[i] = (struct durable_change){.ref = &m->refs[i]};
}

static void
forget(struct many *m)
{
	size_t i;

	for (i = 0; i < m->count; i++) {
		sgate_session_free(m->items[i].session);
		m->items[i].session = NULL;
	}
}

static enum sgate_status
lock(struct fixture *f, struct durable *d, struct many *m)
{
	enum sgate_status status = f->ops->begin(d, &f->err);

	if (status != SGATE_OK)
		return status;
	return f->ops->lock_many(d, m->items, m->count, &f->err);
}

/* Each row that is there gets another context and version. */
static void
edit(struct many *m, const char *context)
{
	size_t i;

	for (i = 0; i < m->count; i++) {
		struct sgate_session *s = m->items[i].session;

		if (s == NULL)
			continue;
		set_text(s->context, sizeof(s->context), context);
		s->version++;
		m->items[i].audit = &m->audits[i];
	}
}

static enum sgate_status
store(struct fixture *f, struct durable *d, struct many *m)
{
	enum sgate_status status =
	    f->ops->store_many(d, m->items, m->count, &f->err);

	if (status == SGATE_OK)
		return f->ops->commit(d, &f->err);
	f->ops->rollback(d);
	return status;
}

static uint64_t
counter(struct fixture *f, unsigned group)
{
	struct durable_snapshot at;

	assert_ok(f, f->ops->snapshot(f->b, group, &at, &f->err));
	return at.counter;
}

/* As it was handed over, with the number of its group. */
static void
assert_stored(struct fixture *f, const struct many *m)
{
	struct durable_snapshot at;
	struct sgate_session *row;
	size_t i;

	for (i = 0; i < m->count; i++) {
		if (m->items[i].audit == NULL)
			continue;
		row = get_session(f, f->b, &m->refs[i]);
		assert_non_null(row);
		assert_ok(f, f->ops->snapshot(f->b,
				 token_ref_group(&m->refs[i]), &at, &f->err));
		assert_true(row->seq == at.counter);
		assert_true(m->items[i].at.counter == at.counter);
		assert_true(m->items[i].at.store.epoch == at.store.epoch);
		assert_memory_equal(
		    m->items[i].at.store.id, at.store.id, sizeof(at.store.id));
		m->items[i].session->seq = at.counter;
		assert_sessions_equal(row, m->items[i].session);
		sgate_session_free(row);
		assert_ok(f,
		    f->ops->audit_exists(f->b, m->audits[i].event_id, &f->err));
	}
}

static void
assert_untouched(struct fixture *f, const struct many *m)
{
	struct sgate_session *row, *fresh;
	size_t i;

	for (i = 0; i < m->count; i++) {
		row = get_session(f, f->b, &m->refs[i]);
		assert_non_null(row);
		fresh = make_session(0, 0);
		assert_true(row->version == fresh->version);
		assert_string_equal(row->context, fresh->context);
		sgate_session_free(fresh);
		sgate_session_free(row);
		assert_status(f, SGATE_NOT_FOUND,
		    f->ops->audit_exists(f->b, m->audits[i].event_id, &f->err));
	}
}

/* ---- cases ---- */

static void
many_are_changed_with_a_number_a_group(struct fixture *f)
{
	static const unsigned groups[] = {3, 1, 9, 1, 15, 0, 3};
	struct many m = {.count = 0};
	uint64_t before[16];
	unsigned i;

	for (i = 0; i < 7; i++) {
		add_session(f, make_session(groups[i], i));
		add(&m, groups[i], i);
	}
	for (i = 0; i < 16; i++)
		before[i] = counter(f, i);
	assert_ok(f, lock(f, f->a, &m));
	edit(&m, "o'brien \"\\ ?\xc3\xa9");
	assert_true(session_set(
	    &m.items[2].session->data, bytes_of("{\"a\":\"'\\\\; ? --\"}")));
	m.items[4].session->state = SESSION_ENDED;
	m.items[4].session->end_reason = SGATE_REASON_LOGGED_OUT;
	m.items[4].session->ended_ms = T0;
	assert_ok(f, store(f, f->a, &m));
	assert_stored(f, &m);
	for (i = 0; i < 16; i++)
		assert_true(
		    counter(f, i) == before[i] + (i == 0 || i == 1 || i == 3 ||
						     i == 9 || i == 15));
	forget(&m);
	/* And once more, each by itself. */
	m.count = 1;
	m.audits[0] = make_audit(T0, 100);
	assert_ok(f, lock(f, f->a, &m));
	edit(&m, "again");
	assert_ok(f, store(f, f->a, &m));
	assert_stored(f, &m);
	assert_true(counter(f, 3) == before[3] + 2);
	forget(&m);
}

static void
the_most_and_the_largest_are_changed(struct fixture *f)
{
	struct sgate_session *large = make_largest_session(1000);
	struct many m = {.count = 0};
	unsigned i;

	for (i = 0; i + 1 < DURABLE_CHANGES_MAX; i++) {
		add_session(f, make_session(i, i));
		add(&m, i, i);
	}
	add(&m, 0, 1000);
	m.refs[m.count - 1] = large->ref;
	add_session(f, large);
	assert_ok(f, lock(f, f->a, &m));
	edit(&m, "x");
	assert_ok(f, store(f, f->a, &m));
	assert_stored(f, &m);
	forget(&m);
}

static void
what_is_not_there_or_left_out_stays_as_it_is(struct fixture *f)
{
	struct many m = {.count = 0};
	struct sgate_session *row;

	add_session(f, make_session(1, 1));
	add_session(f, make_session(2, 3));
	add(&m, 1, 1);
	add(&m, 2, 2);
	add(&m, 2, 3);
	assert_ok(f, lock(f, f->a, &m));
	assert_non_null(m.items[0].session);
	assert_null(m.items[1].session);
	assert_non_null(m.items[2].session);
	edit(&m, "x");
	m.items[2].audit = NULL;
	assert_ok(f, store(f, f->a, &m));
	assert_stored(f, &m);
	assert_true(counter(f, 2) == 0);
	row = get_session(f, f->b, &m.refs[2]);
	assert_string_not_equal(row->context, "x");
	sgate_session_free(row);
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->audit_exists(f->b, m.audits[2].event_id, &f->err));
	forget(&m);
}

static void
an_event_that_is_there_stops_all(struct fixture *f)
{
	struct durable_audit there = make_audit(T0, 2);
	struct many m = {.count = 0};

	add_session(f, make_session(1, 1));
	add_session(f, make_session(2, 2));
	add_audit(f, &there);
	add(&m, 1, 1);
	add(&m, 2, 2);
	assert_ok(f, lock(f, f->a, &m));
	edit(&m, "x");
	assert_status(f, SGATE_CONFLICT, store(f, f->a, &m));
	assert_true(counter(f, 1) == 0);
	forget(&m);
	m.audits[1] = make_audit(T0, 3);
	assert_untouched(f, &m);
	/* The connection can be used as before. */
	assert_ok(f, lock(f, f->a, &m));
	edit(&m, "x");
	assert_ok(f, store(f, f->a, &m));
	assert_stored(f, &m);
	forget(&m);
}

static void
a_value_that_no_session_has_stops_all(struct fixture *f)
{
	struct many m = {.count = 0};

	add_session(f, make_session(1, 1));
	add_session(f, make_session(2, 2));
	add(&m, 1, 1);
	add(&m, 2, 2);
	assert_ok(f, lock(f, f->a, &m));
	edit(&m, "x");
	m.items[1].session->idle_ms = -1;
	assert_status(f, SGATE_INTERNAL, store(f, f->a, &m));
	assert_untouched(f, &m);
	forget(&m);
}

static void
none_too_many_or_a_wrong_moment_is_refused(struct fixture *f)
{
	static struct durable_change most[DURABLE_CHANGES_MAX + 1];
	struct many m = {.count = 0};

	add_session(f, make_session(1, 1));
	add(&m, 1, 1);
	assert_status(
	    f, SGATE_INTERNAL, f->ops->lock_many(f->a, m.items, 1, &f->err));
	assert_status(
	    f, SGATE_INTERNAL, f->ops->store_many(f->a, m.items, 1, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_status(
	    f, SGATE_INTERNAL, f->ops->lock_many(f->a, m.items, 0, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->lock_many(f->a, most, DURABLE_CHANGES_MAX + 1, &f->err));
	f->ops->rollback(f->a);
	/* Nothing to be changed, and no row for what is. */
	assert_ok(f, lock(f, f->a, &m));
	assert_status(
	    f, SGATE_INTERNAL, f->ops->store_many(f->a, m.items, 1, &f->err));
	f->ops->rollback(f->a);
	forget(&m);
	assert_ok(f, lock(f, f->a, &m));
	forget(&m);
	m.items[0].audit = &m.audits[0];
	assert_status(f, SGATE_INTERNAL, store(f, f->a, &m));
	m.items[0].audit = NULL;
	assert_untouched(f, &m);
}

/* Neither one by itself nor many wait for it, and the others are had. */
static void
what_somebody_has_locked_is_left_out(struct fixture *f)
{
	struct sgate_session *held = NULL;
	struct many m = {.count = 0};
	struct took took;

	add_session(f, make_session(1, 1));
	add_session(f, make_session(2, 2));
	add(&m, 1, 1);
	add(&m, 2, 2);
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_ok(f, f->ops->session_get(f->b, &m.refs[0], DURABLE_FOR_UPDATE,
			 &held, NULL, &f->err));
	took = took_start();
	assert_ok(f, lock(f, f->a, &m));
	assert_true(took_ms(&took) < 100);
	assert_null(m.items[0].session);
	edit(&m, "x");
	assert_ok(f, store(f, f->a, &m));
	assert_stored(f, &m);
	forget(&m);
	m.count = 1;
	assert_ok(f, lock(f, f->a, &m));
	assert_null(m.items[0].session);
	f->ops->rollback(f->a);
	sgate_session_free(held);
	assert_ok(f, f->ops->commit(f->b, &f->err));
	assert_ok(f, lock(f, f->a, &m));
	assert_non_null(m.items[0].session);
	f->ops->rollback(f->a);
	forget(&m);
}

#define ROUNDS 20

/* All rows, in an order of its own; what could be had is one version more. */
static int
change_rounds(struct fixture *f, unsigned step, unsigned first)
{
	struct durable *d = open_handle(f);
	int changed = 0;
	unsigned round, i;

	for (round = 0; round < ROUNDS; round++) {
		struct many m = {.count = 0};
		int had = 0;

		for (i = 0; i < 16; i++) {
			add(&m, (i * step + round) % 16,
			    (i * step + round) % 16);
			m.audits[i] = make_audit(T0, first + round * 16 + i);
		}
		if (lock(f, d, &m) != SGATE_OK)
			return -1;
		edit(&m, "x");
		for (i = 0; i < 16; i++)
			had += m.items[i].session != NULL;
		if (had == 0)
			f->ops->rollback(d);
		else if (store(f, d, &m) != SGATE_OK) {
			print_message("# round %u: %s\n", round, f->err.text);
			return -1;
		}
		changed += had;
		forget(&m);
	}
	f->ops->close(d);
	return changed;
}

static void
two_that_change_the_same_do_not_deadlock_and_lose_none(struct fixture *f)
{
	struct sgate_session *row;
	int pipes[2], theirs = 0, mine, result = 0;
	uint64_t versions = 0;
	struct sgate_ref ref;
	unsigned i;
	pid_t pid;

	for (i = 0; i < 16; i++)
		add_session(f, make_session(i, i));
	assert_int_equal(pipe(pipes), 0);
	pid = fork_child(f);
	if (pid == 0) {
		theirs = change_rounds(f, 7, 1000);
		_exit(
		    write(pipes[1], &theirs, sizeof(theirs)) != sizeof(theirs));
	}
	mine = change_rounds(f, 3, 100000);
	assert_int_equal(waitpid(pid, &result, 0), pid);
	assert_int_equal(result, 0);
	assert_int_equal(
	    read(pipes[0], &theirs, sizeof(theirs)), sizeof(theirs));
	close(pipes[0]);
	close(pipes[1]);
	assert_true(mine >= 0);
	assert_true(theirs >= 0);
	for (i = 0; i < 16; i++) {
		ref = make_ref(i, i);
		row = get_session(f, f->b, &ref);
		versions += row->version - 1;
		sgate_session_free(row);
	}
	assert_int_equal(versions, mine + theirs);
}

const struct contract_case change_cases[] = {
#define CASE(name, needs)                                                      \
	{                                                                      \
#name, name, NEEDS_MANY | (needs)                              \
	}
    CASE(many_are_changed_with_a_number_a_group, 0),
    CASE(the_most_and_the_largest_are_changed, 0),
    CASE(what_is_not_there_or_left_out_stays_as_it_is, 0),
    CASE(an_event_that_is_there_stops_all, 0),
    CASE(a_value_that_no_session_has_stops_all, NEEDS_MYSQL),
    CASE(none_too_many_or_a_wrong_moment_is_refused, 0),
    CASE(what_somebody_has_locked_is_left_out, NEEDS_MYSQL),
    CASE(two_that_change_the_same_do_not_deadlock_and_lose_none, NEEDS_MYSQL),
#undef CASE
    {NULL, NULL, 0},
};
