/*
 * The durable contract: many creations in one transaction, for stores that have
 * create_many.
 */
#include "config.h"

#include "durable_cases.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

#define MANY 40

struct batch {
	struct sgate_session *sessions[MANY];
	struct durable_audit audit[MANY];
	struct durable_creation items[MANY];
	size_t count;
	bool is_patient;
};

static struct sgate_session *
add(struct batch *batch, unsigned group, unsigned number, const char *realm,
    const char *user)
{
	size_t i = batch->count++;
	struct sgate_session *s = make_session(group, number);

	set_text(s->realm, sizeof(s->realm), realm);
	set_text(s->user, sizeof(s->user), user);
	batch->audit[i] = make_audit(T0, number);
	batch->items[i] =
	    (struct durable_creation){.session = s, .audit = &batch->audit[i]};
	batch->sessions[i] = s;
	return s;
}

static void
forget(struct batch *batch)
{
	while (batch->count > 0)
		sgate_session_free(batch->sessions[--batch->count]);
}

static enum sgate_status
create(struct fixture *f, struct durable *d, struct batch *batch)
{
	enum sgate_status status = f->ops->begin(d, &f->err);

	if (status != SGATE_OK)
		return status;
	status = f->ops->create_many(
	    d, batch->items, batch->count, batch->is_patient, &f->err);
	if (status == SGATE_OK)
		return f->ops->commit(d, &f->err);
	f->ops->rollback(d);
	return status;
}

static void
assert_created(struct fixture *f, const struct batch *batch)
{
	struct sgate_session *row;
	size_t i;

	for (i = 0; i < batch->count; i++) {
		row = get_session(f, f->b, &batch->sessions[i]->ref);
		assert_non_null(row);
		assert_sessions_equal(row, batch->sessions[i]);
		sgate_session_free(row);
		assert_ok(f, f->ops->audit_exists(
				 f->b, batch->audit[i].event_id, &f->err));
	}
}

static void
assert_nothing(struct fixture *f, const struct batch *batch)
{
	size_t i;

	for (i = 0; i < batch->count; i++) {
		assert_false(has_session(f, f->b, &batch->sessions[i]->ref));
		assert_status(f, SGATE_NOT_FOUND,
		    f->ops->audit_exists(
			f->b, batch->audit[i].event_id, &f->err));
	}
}

static void
block(struct fixture *f, const char *realm, const char *user)
{
	struct durable_user state;

	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_ok(f, f->ops->user_lock(f->b, bytes_of(realm), bytes_of(user),
			 true, &state, &f->err));
	assert_ok(f, f->ops->user_block(f->b, bytes_of(realm), bytes_of(user),
			 T0, bytes_of("why"), &f->err));
	assert_ok(f, f->ops->commit(f->b, &f->err));
}

/* ---- cases ---- */

static void
many_of_all_kinds_are_created_as_they_are(struct fixture *f)
{
	struct batch batch = {.count = 0};
	struct sgate_session *s;

	add(&batch, 3, 1, "", "zoe");
	add(&batch, 1, 2, "shop", "anna");
	add(&batch, 2, 3, "", "");
	add(&batch, 1, 4, "", "anna");
	add(&batch, 1, 5, "", "anna");
	add(&batch, 9, 6, "shop", "o'brien \"\\\xc3\xa9");
	s = add(&batch, 4, 7, "", "bob");
	assert_true(session_set(&s->data, bytes_of("{\"a\":\"'\\\\; --\"}")));
	assert_ok(f, create(f, f->a, &batch));
	assert_created(f, &batch);
	forget(&batch);
	/* The users have their rows now. */
	add(&batch, 1, 8, "", "anna");
	add(&batch, 5, 9, "", "carl");
	assert_ok(f, create(f, f->a, &batch));
	assert_created(f, &batch);
	forget(&batch);
}

static void
the_largest_session_is_created_among_others(struct fixture *f)
{
	struct batch batch = {.count = 0};

	add(&batch, 3, 1, "", "zoe");
	add(&batch, 3, 2, "", "zoe");
	sgate_session_free(batch.sessions[1]);
	batch.sessions[1] = make_largest_session(2);
	batch.items[1].session = batch.sessions[1];
	assert_ok(f, create(f, f->a, &batch));
	assert_created(f, &batch);
	forget(&batch);
}

static void
each_is_told_the_counter_of_its_group(struct fixture *f)
{
	struct batch batch = {.count = 0};
	struct durable_snapshot at;
	uint64_t seq;
	unsigned i;

	for (i = 0; i < 3; i++) {
		assert_ok(f, f->ops->begin(f->b, &f->err));
		assert_ok(f, f->ops->counter_next(f->b, 7, &seq, &f->err));
		assert_ok(f, f->ops->commit(f->b, &f->err));
	}
	for (i = 0; i < 16; i++)
		add(&batch, 0x50 + i, i, "", "anna");
	assert_ok(f, create(f, f->a, &batch));
	for (i = 0; i < 16; i++) {
		assert_ok(f, f->ops->snapshot(f->b, i, &at, &f->err));
		assert_memory_equal(&batch.items[i].at, &at, sizeof(at));
	}
	assert_true(batch.items[7].at.counter == seq);
	forget(&batch);
}

/* That one, and nobody else; and nothing is created. */
static void
assert_blocked(struct fixture *f, const struct batch *batch, size_t index)
{
	size_t i;

	assert_nothing(f, batch);
	for (i = 0; i < batch->count; i++)
		assert_true(batch->items[i].is_blocked == (i == index));
}

static void
one_blocked_user_stops_all_and_is_named(struct fixture *f)
{
	struct batch batch = {.count = 0};

	block(f, "", "bob");
	add(&batch, 1, 1, "", "anna");
	add(&batch, 1, 2, "", "bob");
	add(&batch, 1, 3, "shop", "bob");
	add(&batch, 1, 4, "", "");
	assert_status(f, SGATE_DENIED, create(f, f->a, &batch));
	assert_blocked(f, &batch, 1);
	forget(&batch);
}

/* However many are blocked: whose user is one of them is named, and none else.
 */
static void
those_blocked_are_found_among_very_many(struct fixture *f)
{
	struct batch batch = {.count = 0};
	char user[16];
	int i;

	add(&batch, 1, 1, "", "anna");
	add(&batch, 1, 2, "", "zoe");
	for (i = 0; i < 100; i++) {
		snprintf(user, sizeof(user), "blocked%03d", i);
		block(f, "", user);
		if (i % 9 != 4 && (i < 30 || i > 33))
			continue;
		/* Around how many are read at once, too. */
		assert_ok(f, create(f, f->a, &batch));
		assert_created(f, &batch);
		forget(&batch);
		add(&batch, 1, 10 + (unsigned)i, "", "anna");
		add(&batch, 1, 110 + (unsigned)i, "", "zoe");
	}
	forget(&batch);
	add(&batch, 1, 3, "", "anna");
	add(&batch, 1, 4, "", "blocked099");
	add(&batch, 1, 5, "shop", "blocked099");
	add(&batch, 1, 6, "", "");
	add(&batch, 1, 7, "", "blocked000");
	assert_status(f, SGATE_DENIED, create(f, f->a, &batch));
	assert_nothing(f, &batch);
	assert_false(batch.items[0].is_blocked);
	assert_false(batch.items[2].is_blocked);
	assert_false(batch.items[3].is_blocked);
	assert_true(batch.items[1].is_blocked || batch.items[4].is_blocked);
	forget(&batch);
	add(&batch, 1, 8, "", "anna");
	add(&batch, 1, 9, "", "blocked099");
	assert_status(f, SGATE_DENIED, create(f, f->a, &batch));
	assert_blocked(f, &batch, 1);
	forget(&batch);
}

static void
an_event_that_is_there_stops_all(struct fixture *f)
{
	struct batch batch = {.count = 0};
	struct durable_audit there = make_audit(T0, 2);

	add_audit(f, &there);
	add(&batch, 1, 1, "", "anna");
	add(&batch, 1, 2, "", "bob");
	assert_status(f, SGATE_CONFLICT, create(f, f->a, &batch));
	assert_false(has_session(f, f->b, &batch.sessions[0]->ref));
	assert_false(has_session(f, f->b, &batch.sessions[1]->ref));
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->audit_exists(f->b, batch.audit[0].event_id, &f->err));
	/* The connection can be used as before. */
	batch.audit[1] = make_audit(T0, 3);
	assert_ok(f, create(f, f->a, &batch));
	assert_created(f, &batch);
	forget(&batch);
}

static void
a_ref_that_is_taken_is_no_conflict_of_events(struct fixture *f)
{
	struct batch batch = {.count = 0};

	add_session(f, make_session(1, 2));
	add(&batch, 1, 1, "", "anna");
	add(&batch, 1, 2, "", "bob");
	assert_status(f, SGATE_INTERNAL, create(f, f->a, &batch));
	assert_false(has_session(f, f->b, &batch.sessions[0]->ref));
	forget(&batch);
}

static void
none_too_many_or_a_wrong_moment_is_refused(struct fixture *f)
{
	struct batch batch = {.count = 0};
	static struct durable_creation items[DURABLE_CREATIONS_MAX + 1];

	add(&batch, 1, 1, "", "anna");
	assert_status(f, SGATE_INTERNAL,
	    f->ops->create_many(f->a, batch.items, 1, true, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->create_many(f->a, batch.items, 0, true, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->create_many(
		f->a, items, DURABLE_CREATIONS_MAX + 1, true, &f->err));
	assert_ok(f, f->ops->audit_insert(f->a, &batch.audit[0], &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->create_many(f->a, batch.items, 1, true, &f->err));
	f->ops->rollback(f->a);
	assert_nothing(f, &batch);
	forget(&batch);
}

static void
a_value_that_no_session_has_is_refused(struct fixture *f)
{
	struct batch batch = {.count = 0};

	add(&batch, 1, 1, "", "anna");
	add(&batch, 1, 2, "", "bob")->absolute_ms = -1;
	assert_status(f, SGATE_INTERNAL, create(f, f->a, &batch));
	batch.sessions[1]->absolute_ms = T0;
	batch.audit[1].at_ms = -1;
	assert_status(f, SGATE_INTERNAL, create(f, f->a, &batch));
	assert_false(has_session(f, f->b, &batch.sessions[0]->ref));
	forget(&batch);
}

/* Who cleans up waits for those that were creating, and sees what they made. */
static void
a_cleanup_waits_for_creations_of_the_user(struct fixture *f)
{
	struct batch batch = {.count = 0};
	struct durable_user state;

	add(&batch, 1, 2, "", "anna");
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->create_many(f->a, batch.items, 1, true, &f->err));
	assert_ok(f, f->ops->begin(f->b, &f->err));
	f->b->deadline_ms = clock_monotonic_ms() + 300;
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->user_lock(
		f->b, bytes_of(""), bytes_of("anna"), true, &state, &f->err));
	f->ops->rollback(f->b);
	f->b->deadline_ms = f->a->deadline_ms;
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_created(f, &batch);
	forget(&batch);
}

static void
expect_at_once(struct fixture *f, struct batch *batch)
{
	int64_t begin_ms = clock_monotonic_ms();

	f->a->deadline_ms = begin_ms + 2000;
	f->a->is_unreachable = false;
	assert_status(f, SGATE_UNAVAILABLE, create(f, f->a, batch));
	assert_true(clock_monotonic_ms() - begin_ms < 1000);
	/* An answer, not the end of somebody's patience. */
	assert_false(f->a->is_unreachable);
}

/* Who is told that it cannot be had tries by himself, and waits. */
static void
only_the_patient_wait_for_a_lock(struct fixture *f)
{
	struct batch one = {.count = 0}, two = {.count = 0};
	struct durable_user state;
	int64_t begin_ms;

	add(&one, 1, 1, "", "anna");
	add(&two, 1, 2, "", "anna");
	add(&two, 1, 3, "", "bob");
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_ok(f, f->ops->user_lock(f->b, bytes_of(""), bytes_of("anna"),
			 true, &state, &f->err));
	expect_at_once(f, &one);
	expect_at_once(f, &two);
	one.is_patient = true;
	begin_ms = clock_monotonic_ms();
	f->a->deadline_ms = begin_ms + 500;
	assert_status(f, SGATE_UNAVAILABLE, create(f, f->a, &one));
	assert_true(clock_monotonic_ms() - begin_ms >= 300);
	assert_false(f->a->is_unreachable);
	f->a->deadline_ms = f->b->deadline_ms;
	assert_ok(f, f->ops->commit(f->b, &f->err));
	assert_ok(f, create(f, f->a, &one));
	assert_ok(f, create(f, f->a, &two));
	assert_created(f, &one);
	assert_created(f, &two);
	forget(&one);
	forget(&two);
}

static int
create_rounds(struct fixture *f, unsigned first)
{
	struct durable *d = open_handle(f);
	unsigned round, i;
	char user[16];

	for (round = 0; round < 20; round++) {
		struct batch batch = {.count = 0};

		/* Both processes name the same users, in orders of their own.
		 */
		for (i = 0; i < MANY; i++) {
			snprintf(user, sizeof(user), "user%u",
			    first == 0 ? (i + 5 * round) % MANY
				       : (7 * i + round) % MANY);
			add(&batch, i % 16, first + round * MANY + i, "", user);
		}
		if (create(f, d, &batch) != SGATE_OK) {
			print_message("# round %u: %s\n", round, f->err.text);
			return 1;
		}
		forget(&batch);
	}
	f->ops->close(d);
	return 0;
}

static void
two_that_name_the_same_users_do_not_deadlock(struct fixture *f)
{
	int result = 0;
	pid_t pid = fork_child(f);

	if (pid == 0)
		_exit(create_rounds(f, 0));
	assert_int_equal(create_rounds(f, 100000), 0);
	assert_int_equal(waitpid(pid, &result, 0), pid);
	assert_int_equal(result, 0);
}

const struct contract_case create_cases[] = {
#define CASE(name)                                                             \
	{                                                                      \
#name, name, NEEDS_MYSQL                                       \
	}
    CASE(many_of_all_kinds_are_created_as_they_are),
    CASE(the_largest_session_is_created_among_others),
    CASE(each_is_told_the_counter_of_its_group),
    CASE(one_blocked_user_stops_all_and_is_named),
    CASE(those_blocked_are_found_among_very_many),
    CASE(an_event_that_is_there_stops_all),
    CASE(a_ref_that_is_taken_is_no_conflict_of_events),
    CASE(none_too_many_or_a_wrong_moment_is_refused),
    CASE(a_value_that_no_session_has_is_refused),
    CASE(a_cleanup_waits_for_creations_of_the_user),
    CASE(only_the_patient_wait_for_a_lock),
    CASE(two_that_name_the_same_users_do_not_deadlock),
#undef CASE
    {NULL, NULL, 0},
};
