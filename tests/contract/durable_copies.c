/*
 * The durable contract: what copies of rows are judged by and made from:
 * snapshots, the poll, the change log. For stores that are copied.
 */
#include "config.h"

#include "durable_cases.h"

#include <string.h>

#include "clock.h"

#define ROWS_MAX 32

/* ---- helpers ---- */

static uint64_t
next_number(struct fixture *f, struct durable *d, unsigned group)
{
	uint64_t seq;

	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, f->ops->counter_next(d, group, &seq, &f->err));
	assert_ok(f, f->ops->commit(d, &f->err));
	return seq;
}

/* Of this store, with that counter. */
static void
check_snapshot(
    struct fixture *f, const struct durable_snapshot *at, uint64_t counter)
{
	unsigned char id[16];
	unsigned epoch;

	assert_ok(f, f->ops->store_get(f->b, id, &epoch, &f->err));
	assert_memory_equal(at->store.id, id, sizeof(id));
	assert_int_equal(at->store.epoch, epoch);
	assert_true(at->counter == counter);
}

/* A session as its last change left it. */
static void
add_change(struct fixture *f, unsigned group, unsigned number, uint64_t seq)
{
	struct sgate_session *s = make_session(group, number);

	s->seq = seq;
	add_session(f, s);
}

struct seen {
	struct sgate_session *rows[ROWS_MAX];
	size_t count;
	size_t stop_at; /* 0 = never */
};

static int
see(void *arg, const struct sgate_session *session)
{
	struct seen *seen = arg;

	assert_true(seen->count < ROWS_MAX);
	seen->rows[seen->count] = sgate_session_dup(session);
	assert_non_null(seen->rows[seen->count]);
	return ++seen->count == seen->stop_at;
}

static void
forget(struct seen *seen)
{
	while (seen->count > 0)
		sgate_session_free(seen->rows[--seen->count]);
}

static size_t
list_changes(struct fixture *f, unsigned group, uint64_t after, size_t limit,
    struct seen *seen)
{
	size_t i;

	forget(seen);
	assert_ok(f,
	    f->ops->changes(f->b, group, after, T0, limit, see, seen, &f->err));
	for (i = 0; i < seen->count; i++) {
		assert_int_equal(token_ref_group(&seen->rows[i]->ref), group);
		assert_true(seen->rows[i]->seq > after);
		assert_true(
		    i == 0 || seen->rows[i - 1]->seq <= seen->rows[i]->seq);
	}
	return seen->count;
}

/* ---- snapshots ---- */

static void
session_get_gives_counter_and_store_of_the_same_moment(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(0x13, 1);
	struct durable_snapshot at;
	struct sgate_session *s;

	add_session(f, make_session(0x13, 1));
	next_number(f, f->a, 3);
	next_number(f, f->a, 4);
	next_number(f, f->a, 3);
	assert_ok(f, f->ops->session_get(f->b, &ref, 0, &s, &at, &f->err));
	check_snapshot(f, &at, 2);
	sgate_session_free(s);
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_ok(f, f->ops->session_get(f->b, &ref, 0, &s, &at, &f->err));
	check_snapshot(f, &at, 2);
	sgate_session_free(s);
	assert_ok(
	    f, f->ops->session_get(f->b, &ref,
		   DURABLE_FOR_UPDATE | DURABLE_NO_DATA, &s, &at, &f->err));
	check_snapshot(f, &at, 2);
	sgate_session_free(s);
	f->ops->rollback(f->b);
}

static void
snapshot_is_of_its_group_and_sees_what_is_committed(struct fixture *f)
{
	struct durable_snapshot at;
	uint64_t seq;

	assert_ok(f, f->ops->snapshot(f->b, 15, &at, &f->err));
	check_snapshot(f, &at, 0);
	next_number(f, f->a, 15);
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->counter_next(f->a, 15, &seq, &f->err));
	/* The lock of a counter that is being raised is nothing to it. */
	allow_ms(f, 500);
	assert_ok(f, f->ops->snapshot(f->b, 15, &at, &f->err));
	check_snapshot(f, &at, 1);
	allow_ms(f, 10000);
	assert_ok(f, f->ops->snapshot(f->a, 15, &at, &f->err));
	check_snapshot(f, &at, 2);
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_ok(f, f->ops->snapshot(f->b, 15, &at, &f->err));
	check_snapshot(f, &at, 2);
	assert_ok(f, f->ops->snapshot(f->b, 14, &at, &f->err));
	check_snapshot(f, &at, 0);
}

static void
snapshot_of_a_group_that_there_is_not_is_corrupt(struct fixture *f)
{
	const struct durable_snapshot zeros = {0};
	struct durable_snapshot at = {.counter = 1};

	assert_status(
	    f, SGATE_CORRUPT, f->ops->snapshot(f->a, 16, &at, &f->err));
	assert_memory_equal(&at, &zeros, sizeof(at));
}

static void
a_transaction_sees_what_others_commit_meanwhile(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(3, 1);
	struct durable_snapshot at;
	struct sgate_session *s;

	add_session(f, make_session(3, 1));
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_ok(f, f->ops->snapshot(f->b, 3, &at, &f->err));
	check_snapshot(f, &at, 0);
	next_number(f, f->a, 3);
	assert_ok(f, f->ops->snapshot(f->b, 3, &at, &f->err));
	check_snapshot(f, &at, 1);
	next_number(f, f->a, 3);
	assert_ok(f, f->ops->session_get(
			 f->b, &ref, DURABLE_FOR_UPDATE, &s, &at, &f->err));
	check_snapshot(f, &at, 2);
	sgate_session_free(s);
	f->ops->rollback(f->b);
}

/* ---- the poll ---- */

static void
poll_gives_every_counter_the_store_and_its_clock(struct fixture *f)
{
	struct durable_poll first;
	struct durable_poll poll;
	unsigned char id[16];
	unsigned epoch;
	unsigned group;
	unsigned i;

	assert_ok(f, f->ops->poll(f->b, &first, &f->err));
	for (group = 0; group < TOKEN_GROUPS; group++)
		assert_true(first.counters[group] == 0);
	for (group = 0; group < TOKEN_GROUPS; group++)
		for (i = 0; i < group; i++)
			next_number(f, f->a, group);
	assert_ok(f, f->ops->poll(f->b, &poll, &f->err));
	for (group = 0; group < TOKEN_GROUPS; group++)
		assert_true(poll.counters[group] == group);
	assert_true(poll.settings == 0);
	next_number(f, f->a, DURABLE_SETTINGS);
	next_number(f, f->b, DURABLE_SETTINGS);
	assert_ok(f, f->ops->poll(f->b, &poll, &f->err));
	assert_true(poll.settings == 2 && poll.counters[0] == 0);
	assert_ok(f, f->ops->store_get(f->a, id, &epoch, &f->err));
	assert_memory_equal(poll.store.id, id, sizeof(id));
	assert_int_equal(poll.store.epoch, epoch);
	assert_true(poll.ident[0] != '\0');
	assert_string_equal(poll.ident, first.ident);
	assert_true(poll.now_ms >= first.now_ms);
	assert_true(poll.now_ms > clock_utc_ms() - 60000 &&
		    poll.now_ms < clock_utc_ms() + 60000);
}

/* ---- the change log ---- */

static void
changes_are_the_groups_rows_above_a_number_in_its_order(struct fixture *f)
{
	struct seen seen = {.count = 0};

	add_change(f, 0x23, 1, 30);
	add_change(f, 0x03, 2, 10);
	add_change(f, 0x13, 3, 20);
	add_change(f, 0x04, 4, 15);
	/* Made, and never changed. */
	add_change(f, 0x03, 5, 0);
	assert_int_equal(list_changes(f, 3, 0, 10, &seen), 3);
	assert_int_equal(seen.rows[0]->ref.bytes[11], 2);
	assert_int_equal(seen.rows[1]->ref.bytes[11], 3);
	assert_int_equal(seen.rows[2]->ref.bytes[11], 1);
	assert_int_equal(list_changes(f, 3, 10, 10, &seen), 2);
	assert_int_equal(list_changes(f, 3, 29, 10, &seen), 1);
	assert_int_equal(list_changes(f, 3, 30, 10, &seen), 0);
	assert_int_equal(list_changes(f, 4, 0, 10, &seen), 1);
	assert_int_equal(list_changes(f, 5, 0, 10, &seen), 0);
	forget(&seen);
}

static void
changes_are_whole_rows_live_or_ended_until_their_absolute_end(struct fixture *f)
{
	struct sgate_session *live = make_session(3, 1);
	struct sgate_session *ended = make_largest_session(2);
	struct sgate_session *copies[2];
	struct seen seen = {.count = 0};
	size_t i;

	live->seq = 1;
	live->absolute_ms = T0 + 1;
	assert_true(session_set(&live->data, bytes_of("{\"a\":1}")));
	ended->ref = make_ref(3, 2);
	ended->seq = 2;
	copies[0] = sgate_session_dup(live);
	copies[1] = sgate_session_dup(ended);
	add_session(f, live);
	add_session(f, ended);
	live = make_session(3, 3);
	live->seq = 3;
	live->absolute_ms = T0;
	add_session(f, live);
	assert_int_equal(list_changes(f, 3, 0, 10, &seen), 2);
	for (i = 0; i < 2; i++) {
		assert_sessions_equal(copies[i], seen.rows[i]);
		sgate_session_free(copies[i]);
	}
	forget(&seen);
}

/* Two with number 1, three with 2, then 3, 4. */
static void
changes_stop_at_the_limit_but_never_within_a_number(struct fixture *f)
{
	static const uint64_t numbers[] = {1, 1, 2, 2, 2, 3, 4};
	static const size_t given[] = {0, 2, 2, 5, 5, 5, 6, 7, 7};
	struct seen seen = {.count = 0};
	unsigned i;

	for (i = 0; i < 7; i++)
		add_change(f, 3, i, numbers[i]);
	for (i = 1; i < 9; i++)
		assert_int_equal(list_changes(f, 3, 0, i, &seen), given[i]);
	assert_int_equal(list_changes(f, 3, 1, 1, &seen), 3);
	assert_int_equal(list_changes(f, 3, 3, 1, &seen), 1);
	assert_int_equal(list_changes(f, 3, 0, SIZE_MAX, &seen), 7);
	seen.stop_at = 3;
	assert_int_equal(list_changes(f, 3, 0, 10, &seen), 3);
	forget(&seen);
	assert_status(f, SGATE_INTERNAL,
	    f->ops->changes(f->b, 3, 0, T0, 0, see, &seen, &f->err));
	assert_ok(f, f->ops->ping(f->b, &f->err));
}

static void
a_row_that_changes_again_moves_up_in_the_changes(struct fixture *f)
{
	struct seen seen = {.count = 0};
	struct sgate_session *s;
	const struct sgate_ref ref = make_ref(3, 1);

	add_change(f, 3, 1, 1);
	add_change(f, 3, 2, 2);
	s = get_session(f, f->a, &ref);
	s->seq = 3;
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_store(f->a, s, &f->err));
	/* Not committed: nobody else knows it. */
	assert_int_equal(list_changes(f, 3, 0, 10, &seen), 2);
	assert_true(seen.rows[0]->seq == 1);
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_int_equal(list_changes(f, 3, 0, 10, &seen), 2);
	assert_true(seen.rows[0]->seq == 2 && seen.rows[1]->seq == 3);
	sgate_session_free(s);
	forget(&seen);
}

/* ---- live rows ---- */

static void
live_walks_the_live_rows_by_key_in_chunks_and_wraps(struct fixture *f)
{
	static const unsigned given[] = {1, 3, 5, 6, 7};
	struct seen seen = {.count = 0};
	struct sgate_ref cursor = {{0}};
	struct sgate_session *s;
	bool is_wrapped = false;
	unsigned calls = 0;
	unsigned i;

	for (i = 7; i >= 1; i--) {
		s = make_session(i, i);
		if (i == 2)
			s->state = SESSION_ENDED;
		if (i == 4)
			s->absolute_ms = T0;
		/* Idle for long: only the reaper judges that. */
		if (i == 6)
			s->last_seen_ms = 1;
		assert_true(session_set(&s->data, bytes_of("{\"a\":1}")));
		add_session(f, s);
	}
	while (!is_wrapped) {
		assert_true(++calls <= 4);
		assert_ok(f, f->ops->live(f->b, T0, 3, &cursor, &is_wrapped,
				 see, &seen, &f->err));
	}
	assert_int_equal(calls, 3);
	assert_int_equal(seen.count, 5);
	for (i = 0; i < 5; i++) {
		assert_int_equal(seen.rows[i]->ref.bytes[11], given[i]);
		assert_string_equal(seen.rows[i]->data, "{\"a\":1}");
	}
	forget(&seen);
	seen.stop_at = 1;
	assert_ok(f, f->ops->live(f->b, T0, 3, &cursor, &is_wrapped, see, &seen,
			 &f->err));
	assert_false(is_wrapped);
	assert_int_equal(cursor.bytes[11], 1);
	forget(&seen);
}

static void
past_its_deadline_nothing_of_a_copy_is_read(struct fixture *f)
{
	const struct durable_snapshot zeros = {0};
	const struct durable_poll no_poll = {.now_ms = 0};
	struct durable_snapshot at = {.counter = 1};
	struct durable_poll poll = {.now_ms = 1};
	struct sgate_ref cursor = make_ref(1, 1);
	struct seen seen = {.count = 0};
	bool is_wrapped = true;

	add_change(f, 3, 1, 1);
	allow_ms(f, 0);
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->snapshot(f->a, 3, &at, &f->err));
	assert_memory_equal(&at, &zeros, sizeof(at));
	assert_status(f, SGATE_UNAVAILABLE, f->ops->poll(f->a, &poll, &f->err));
	assert_memory_equal(&poll, &no_poll, sizeof(poll));
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->changes(f->a, 3, 0, T0, 10, see, &seen, &f->err));
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->live(
		f->a, T0, 10, &cursor, &is_wrapped, see, &seen, &f->err));
	assert_false(is_wrapped);
	assert_int_equal(seen.count, 0);
}

const struct contract_case copy_cases[] = {
#define CASE(name)                                                             \
	{                                                                      \
#name, name, NEEDS_COPIES                                      \
	}
    CASE(session_get_gives_counter_and_store_of_the_same_moment),
    CASE(snapshot_is_of_its_group_and_sees_what_is_committed),
    CASE(snapshot_of_a_group_that_there_is_not_is_corrupt),
    {"a_transaction_sees_what_others_commit_meanwhile",
	a_transaction_sees_what_others_commit_meanwhile,
	NEEDS_COPIES | NEEDS_PROCESSES},
    CASE(poll_gives_every_counter_the_store_and_its_clock),
    CASE(changes_are_the_groups_rows_above_a_number_in_its_order),
    CASE(changes_are_whole_rows_live_or_ended_until_their_absolute_end),
    CASE(changes_stop_at_the_limit_but_never_within_a_number),
    CASE(a_row_that_changes_again_moves_up_in_the_changes),
    CASE(live_walks_the_live_rows_by_key_in_chunks_and_wraps),
    CASE(past_its_deadline_nothing_of_a_copy_is_read),
#undef CASE
    {NULL, NULL, 0},
};
