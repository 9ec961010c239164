/* The durable contract: transactions, and single rows of every kind. */
#include "config.h"

#include "durable_cases.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"

/* ---- the store itself ---- */

static void
a_made_store_is_up_and_both_handles_see_the_same_id(struct fixture *f)
{
	unsigned char id_a[16];
	unsigned char id_b[16];
	const unsigned char zero[16] = {0};
	unsigned epoch_a;
	unsigned epoch_b;

	assert_ok(f, f->ops->ping(f->a, &f->err));
	assert_ok(f, f->ops->schema_check(f->a, &f->err));
	assert_ok(f, f->ops->store_get(f->a, id_a, &epoch_a, &f->err));
	assert_ok(f, f->ops->store_get(f->b, id_b, &epoch_b, &f->err));
	assert_memory_equal(id_a, id_b, 16);
	assert_memory_not_equal(id_a, zero, 16);
	assert_int_equal(epoch_a, epoch_b);
}

static void
schema_init_again_changes_nothing(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 1);
	unsigned char before[16];
	unsigned char after[16];
	unsigned epoch;

	add_session(f, make_session(1, 1));
	assert_ok(f, f->ops->store_get(f->a, before, &epoch, &f->err));
	assert_ok(f, f->ops->schema_init(f->b, &f->err));
	assert_ok(f, f->ops->schema_init(f->a, &f->err));
	assert_ok(f, f->ops->store_get(f->b, after, &epoch, &f->err));
	assert_memory_equal(before, after, 16);
	assert_true(has_session(f, f->b, &ref));
}

/* ---- transactions ---- */

static void
writes_need_a_transaction(struct fixture *f)
{
	const struct durable_audit audit = make_audit(T0, 1);
	const struct durable_idempotency row = {.id = {1}};
	const struct sgate_ref ref = make_ref(1, 1);
	const struct sgate_bytes user = {"anna", 4};
	struct sgate_session *session = make_session(1, 1);
	struct sgate_session *out;
	struct durable_user state;
	uint64_t seq;

	assert_status(
	    f, SGATE_INTERNAL, f->ops->audit_insert(f->a, &audit, &f->err));
	assert_status(
	    f, SGATE_INTERNAL, f->ops->idempotency_insert(f->a, &row, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->idempotency_remove(f->a, row.id, &f->err));
	assert_status(
	    f, SGATE_INTERNAL, f->ops->session_insert(f->a, session, &f->err));
	assert_status(
	    f, SGATE_INTERNAL, f->ops->session_store(f->a, session, &f->err));
	assert_status(
	    f, SGATE_INTERNAL, f->ops->counter_next(f->a, 1, &seq, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->user_lock(f->a, user, user, true, &state, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->user_block(f->a, user, user, T0, user, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->session_get(
		f->a, &ref, DURABLE_FOR_UPDATE, &out, NULL, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->exec(f->a, "SELECT 1", NULL, 0, NULL, NULL, &f->err));
	assert_status(f, SGATE_INTERNAL, f->ops->commit(f->a, &f->err));
	f->ops->rollback(f->a);
	assert_false(has_session(f, f->a, &ref));
	sgate_session_free(session);
}

static void
begin_within_a_transaction_is_a_mistake_and_keeps_it(struct fixture *f)
{
	const struct durable_touch touch = {.ref = make_ref(1, 1)};
	struct sgate_session *session = make_session(1, 1);

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, session, &f->err));
	assert_status(f, SGATE_INTERNAL, f->ops->begin(f->a, &f->err));
	assert_status(
	    f, SGATE_INTERNAL, f->ops->touch(f->a, &touch, 1, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_true(has_session(f, f->b, &session->ref));
	sgate_session_free(session);
}

static void
rollback_takes_everything_back_and_any_state(struct fixture *f)
{
	const struct durable_audit audit = make_audit(T0, 1);
	const struct durable_idempotency row = {.id = {1}};
	const struct sgate_bytes user = {"anna", 4};
	struct sgate_session *session = make_session(1, 1);
	struct durable_idempotency found;
	struct durable_user state;
	uint64_t first;
	uint64_t again;

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->audit_insert(f->a, &audit, &f->err));
	assert_ok(f, f->ops->idempotency_insert(f->a, &row, &f->err));
	assert_ok(f, f->ops->user_block(f->a, user, user, T0, user, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, session, &f->err));
	assert_ok(f, f->ops->counter_next(f->a, 1, &first, &f->err));
	f->ops->rollback(f->a);
	f->ops->rollback(f->a);
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->audit_exists(f->a, audit.event_id, &f->err));
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->idempotency_get(f->a, row.id, &found, &f->err));
	assert_false(has_session(f, f->a, &session->ref));
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_ok(
	    f, f->ops->user_lock(f->b, user, user, true, &state, &f->err));
	assert_true(state.blocked_ms == 0);
	assert_ok(f, f->ops->counter_next(f->b, 1, &again, &f->err));
	assert_true(again == first);
	f->ops->rollback(f->b);
	sgate_session_free(session);
}

static void
what_is_not_committed_is_seen_by_its_own_handle_alone(struct fixture *f)
{
	struct sgate_session *session = make_session(1, 1);

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, session, &f->err));
	assert_true(has_session(f, f->a, &session->ref));
	assert_false(has_session(f, f->b, &session->ref));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_true(has_session(f, f->b, &session->ref));
	sgate_session_free(session);
}

static void
closing_a_handle_rolls_its_transaction_back(struct fixture *f)
{
	struct sgate_session *session = make_session(1, 1);
	struct durable *d = open_handle(f);

	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, f->ops->session_insert(d, session, &f->err));
	f->ops->close(d);
	f->ops->close(NULL);
	assert_false(has_session(f, f->a, &session->ref));
	assert_ok(f, f->ops->begin(f->b, &f->err));
	f->ops->rollback(f->b);
	sgate_session_free(session);
}

static void
a_second_writer_is_unavailable_by_its_deadline(struct fixture *f)
{
	struct took took;

	assert_ok(f, f->ops->begin(f->a, &f->err));
	took = took_start();
	f->b->deadline_ms = took.started_ms + 150;
	assert_status(f, SGATE_UNAVAILABLE, f->ops->begin(f->b, &f->err));
	assert_true(took_ms(&took) < 150 + 100);
	assert_int_equal(f->err.reason, SGATE_REASON_STORE);
	allow_ms(f, 5000);
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_ok(f, f->ops->commit(f->b, &f->err));
}

static void
past_its_deadline_nothing_is_begun(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 1);
	const struct durable_touch touch = {.ref = ref, .last_seen_ms = T0};
	struct sgate_session *session;
	struct durable_count count = {.rows = 0};
	bool is_done = true;
	struct durable_snapshot at = {.counter = 7};

	add_session(f, make_session(1, 1));
	allow_ms(f, 0);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(f->a, &f->err));
	assert_status(f, SGATE_UNAVAILABLE, f->ops->begin(f->a, &f->err));
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->session_get(f->a, &ref, 0, &session, &at, &f->err));
	assert_null(session);
	assert_true(at.counter == 0);
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->touch(f->a, &touch, 1, &f->err));
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->stats(f->a, T0, 10, &count, &is_done, &f->err));
	assert_false(is_done);
	assert_true(count.rows == 0);
}

static void
a_commit_past_its_deadline_did_not_happen(struct fixture *f)
{
	struct sgate_session *session = make_session(1, 1);

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, session, &f->err));
	allow_ms(f, 0);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->commit(f->a, &f->err));
	f->ops->rollback(f->a);
	allow_ms(f, 5000);
	assert_false(has_session(f, f->a, &session->ref));
	assert_false(has_session(f, f->b, &session->ref));
	assert_ok(f, f->ops->begin(f->b, &f->err));
	f->ops->rollback(f->b);
	sgate_session_free(session);
}

/* ---- sessions ---- */

static void
check_round_trip(struct fixture *f, struct sgate_session *session)
{
	struct sgate_session *copy = sgate_session_dup(session);
	struct sgate_session *found;

	assert_non_null(copy);
	add_session(f, session);
	found = get_session(f, f->b, &copy->ref);
	assert_non_null(found);
	assert_sessions_equal(copy, found);
	sgate_session_free(found);
	sgate_session_free(copy);
}

static void
a_session_round_trips_at_its_largest(struct fixture *f)
{
	check_round_trip(f, make_largest_session(1));
}

static void
a_session_round_trips_at_its_smallest(struct fixture *f)
{
	struct sgate_session *s = make_session(0, 1);

	memset(s->secret_hash, 0, sizeof(s->secret_hash));
	memset(s->user, 0, sizeof(s->user));
	s->created_ms = 0;
	s->auth_ms = 0;
	s->last_seen_ms = 0;
	s->idle_ms = 0;
	s->absolute_ms = 0;
	check_round_trip(f, s);
}

static void
a_session_with_an_ipv4_address_round_trips(struct fixture *f)
{
	struct sgate_session *s = make_session(0x37, 1);

	memcpy(s->client_ip, "\x7f\x00\x00\x01", 4);
	s->client_ip_len = 4;
	assert_true(session_set(&s->data, bytes_of("{\"a\":\"'; --\"}")));
	check_round_trip(f, s);
}

static void
session_get_of_an_unknown_ref_is_not_found(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 2);
	struct sgate_session *session = (void *)f;
	struct durable_snapshot at = {.counter = 9};

	add_session(f, make_session(1, 1));
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->session_get(f->a, &ref, 0, &session, &at, &f->err));
	assert_null(session);
	assert_true(at.counter == 0);
}

static void
session_get_gives_the_counter_of_the_group(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(0x13, 1);
	struct sgate_session *session;
	uint64_t seq;
	struct durable_snapshot at;

	add_session(f, make_session(0x13, 1));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->counter_next(f->a, 3, &seq, &f->err));
	assert_ok(f, f->ops->counter_next(f->a, 3, &seq, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_ok(
	    f, f->ops->session_get(f->b, &ref, 0, &session, &at, &f->err));
	assert_true(at.counter == seq && at.counter == 2);
	sgate_session_free(session);
}

static void
session_get_without_data_leaves_it_empty_and_has_exports(struct fixture *f)
{
	struct sgate_session *s = make_session(1, 1);
	const struct sgate_ref ref = s->ref;

	assert_true(session_set(&s->data, bytes_of("{\"a\":1}")));
	assert_true(session_set(&s->exports, bytes_of("A=1\n")));
	add_session(f, s);
	assert_ok(f, f->ops->session_get(
			 f->b, &ref, DURABLE_NO_DATA, &s, NULL, &f->err));
	assert_string_equal(s->data, "");
	assert_string_equal(s->exports, "A=1\n");
	sgate_session_free(s);
}

static void
session_insert_of_a_taken_ref_is_a_conflict(struct fixture *f)
{
	struct sgate_session *s = make_session(1, 1);
	struct sgate_session *found;

	add_session(f, make_session(1, 1));
	set_text(s->user, sizeof(s->user), "bert");
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_status(
	    f, SGATE_CONFLICT, f->ops->session_insert(f->b, s, &f->err));
	f->ops->rollback(f->b);
	found = get_session(f, f->a, &s->ref);
	assert_string_equal(found->user, "anna");
	sgate_session_free(found);
	sgate_session_free(s);
}

static void
session_store_changes_all_but_who_and_how_long(struct fixture *f)
{
	struct sgate_session *s = make_largest_session(1);
	struct sgate_session *found;

	add_session(f, make_session(0xff, 1));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_get(f->a, &s->ref, DURABLE_FOR_UPDATE,
			 &found, NULL, &f->err));
	assert_ok(f, f->ops->session_store(f->a, s, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	/* What is not changed is as it was. */
	memcpy(s->realm, found->realm, sizeof(s->realm));
	memcpy(s->user, found->user, sizeof(s->user));
	s->created_ms = found->created_ms;
	s->absolute_ms = found->absolute_ms;
	sgate_session_free(found);
	found = get_session(f, f->b, &s->ref);
	assert_sessions_equal(s, found);
	sgate_session_free(found);
	sgate_session_free(s);
}

static void
session_store_can_clear_the_previous_secret(struct fixture *f)
{
	struct sgate_session *s = make_session(1, 1);
	struct sgate_session *found;

	s->has_prev = true;
	memset(s->prev_hash, 7, sizeof(s->prev_hash));
	add_session(f, sgate_session_dup(s));
	s->has_prev = false;
	memset(s->prev_hash, 0, sizeof(s->prev_hash));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_store(f->a, s, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	found = get_session(f, f->b, &s->ref);
	assert_sessions_equal(s, found);
	sgate_session_free(found);
	sgate_session_free(s);
}

static void
session_store_of_an_unknown_ref_is_not_found(struct fixture *f)
{
	struct sgate_session *s = make_session(1, 1);

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_status(
	    f, SGATE_NOT_FOUND, f->ops->session_store(f->a, s, &f->err));
	f->ops->rollback(f->a);
	sgate_session_free(s);
}

static void
counters_rise_by_one_each_group_by_itself(struct fixture *f)
{
	uint64_t seq;
	unsigned group;
	unsigned i;

	for (i = 1; i <= 3; i++) {
		assert_ok(f, f->ops->begin(f->a, &f->err));
		for (group = 0; group < TOKEN_GROUPS; group += 5) {
			assert_ok(f,
			    f->ops->counter_next(f->a, group, &seq, &f->err));
			assert_true(seq == i);
		}
		assert_ok(f, f->ops->commit(f->a, &f->err));
	}
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_ok(f, f->ops->counter_next(f->b, 1, &seq, &f->err));
	assert_true(seq == 1);
	f->ops->rollback(f->b);
}

/* ---- what has changed ---- */

static void
poll_gives_every_counter_and_the_store(struct fixture *f)
{
	struct durable_poll poll;
	unsigned char id[16];
	unsigned epoch, group;
	uint64_t seq;

	assert_ok(f, f->ops->store_get(f->a, id, &epoch, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->counter_next(f->a, 3, &seq, &f->err));
	assert_ok(f, f->ops->counter_next(f->a, 15, &seq, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_ok(f, f->ops->poll(f->b, &poll, &f->err));
	for (group = 0; group < TOKEN_GROUPS; group++)
		assert_int_equal(
		    poll.counters[group], group == 3 || group == 15);
	assert_memory_equal(poll.store.id, id, sizeof(id));
	assert_int_equal(poll.store.epoch, epoch);
	assert_in_range(
	    poll.now_ms, clock_utc_ms() - 60000, clock_utc_ms() + 60000);
}

/* Bits of the refs' last bytes. */
static int
see_ref(void *arg, const struct sgate_ref *ref)
{
	*(unsigned *)arg |= 1u << ref->bytes[SGATE_REF_BYTES - 1];
	return 0;
}

static void
changed_gives_the_refs_of_a_group_above_a_number(struct fixture *f)
{
	static const struct {
		unsigned group, number, seq;
	} rows[] = {
	    {3, 1, 30}, {0x13, 2, 10}, {3, 3, 20}, {4, 4, 15}, {3, 5, 0}};
	struct sgate_session *s;
	unsigned seen = 0;
	bool is_all;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		s = make_session(rows[i].group, rows[i].number);
		s->seq = rows[i].seq;
		add_session(f, s);
	}
	assert_ok(f,
	    f->ops->changed(f->b, 3, 0, 10, see_ref, &seen, &is_all, &f->err));
	assert_int_equal(seen, 1u << 1 | 1u << 2 | 1u << 3);
	assert_true(is_all);
	seen = 0;
	assert_ok(f,
	    f->ops->changed(f->b, 3, 20, 10, see_ref, &seen, &is_all, &f->err));
	assert_int_equal(seen, 1u << 1);
	assert_true(is_all);
	assert_ok(f,
	    f->ops->changed(f->b, 3, 0, 3, see_ref, &seen, &is_all, &f->err));
	assert_true(is_all);
	assert_ok(f,
	    f->ops->changed(f->b, 3, 0, 2, see_ref, &seen, &is_all, &f->err));
	assert_false(is_all);
	seen = 0;
	assert_ok(f,
	    f->ops->changed(f->b, 3, 30, 10, see_ref, &seen, &is_all, &f->err));
	assert_int_equal(seen, 0);
	assert_true(is_all);
}

/* ---- touches ---- */

static void
touch_at(struct fixture *f, unsigned number, int64_t at_ms)
{
	const struct durable_touch touch = {
	    .ref = make_ref(1, number), .last_seen_ms = at_ms};

	assert_ok(f, f->ops->touch(f->a, &touch, 1, &f->err));
}

static int64_t
last_seen(struct fixture *f, unsigned number)
{
	const struct sgate_ref ref = make_ref(1, number);
	struct sgate_session *s = get_session(f, f->b, &ref);
	int64_t at_ms = s->last_seen_ms;

	assert_true(s->version == 1);
	sgate_session_free(s);
	return at_ms;
}

static void
touch_raises_last_seen_and_never_lowers_it(struct fixture *f)
{
	add_session(f, make_session(1, 1));
	touch_at(f, 1, T0 + 5000);
	assert_true(last_seen(f, 1) == T0 + 5000);
	touch_at(f, 1, T0 + 4000);
	assert_true(last_seen(f, 1) == T0 + 5000);
	touch_at(f, 1, 0);
	assert_true(last_seen(f, 1) == T0 + 5000);
}

/* Marks and activity of many rows, one of them twice, each with its own. */
static void
a_batch_of_touches_gives_each_row_its_own(struct fixture *f)
{
	struct durable_touch touches[] = {{.ref = make_ref(1, 1)},
	    {.ref = make_ref(1, 2)}, {.ref = make_ref(1, 2)},
	    {.ref = make_ref(1, 3)}, {.ref = make_ref(1, 4)}};
	struct sgate_session *s;
	size_t i;

	for (i = 1; i <= 4; i++) {
		s = make_session(1, (unsigned)i);
		s->has_prev = i != 3;
		/* Of the fourth another host has noted it already. */
		s->successor_used_ms = i == 4 ? T0 + 5 : 0;
		add_session(f, s);
	}
	for (i = 0; i < 5; i++)
		memset(touches[i].secret_hash, touches[i].ref.bytes[11],
		    sizeof(touches[i].secret_hash));
	touches[1].last_seen_ms = T0 + 700;
	touches[2].last_seen_ms = T0 + 600;
	touches[2].successor_used_ms = T0 + 60;
	touches[3].successor_used_ms = T0 + 70; /* no previous secret */
	touches[4].successor_used_ms = T0 + 80;
	assert_ok(f, f->ops->touch(f->a, touches, 5, &f->err));
	for (i = 1; i <= 4; i++) {
		s = get_session(f, f->b, &touches[i == 1 ? 0 : i].ref);
		assert_true(
		    s->last_seen_ms == (i == 2 ? T0 + 700 : s->created_ms));
		assert_true(s->successor_used_ms == (i == 2      ? T0 + 60
							: i == 4 ? T0 + 5
								 : 0));
		sgate_session_free(s);
	}
}

static void
touch_skips_ended_and_unknown_rows_and_takes_a_hundred(struct fixture *f)
{
	struct durable_touch touches[100];
	struct sgate_session *s = make_session(1, 1);
	unsigned i;

	s->state = SESSION_ENDED;
	s->end_reason = SGATE_REASON_REVOKED;
	add_session(f, s);
	add_session(f, make_session(1, 99));
	memset(touches, 0, sizeof(touches));
	for (i = 0; i < 100; i++) {
		touches[i].ref = make_ref(1, i);
		touches[i].last_seen_ms = T0 + 5000 + i;
	}
	assert_ok(f, f->ops->touch(f->a, touches, 100, &f->err));
	assert_ok(f, f->ops->touch(f->a, touches, 0, &f->err));
	assert_true(last_seen(f, 1) == T0 + 1);
	assert_true(last_seen(f, 99) == T0 + 5099);
}

static int64_t
successor_used(struct fixture *f, unsigned number)
{
	const struct sgate_ref ref = make_ref(1, number);
	struct sgate_session *s = get_session(f, f->b, &ref);
	int64_t at_ms = s->successor_used_ms;

	sgate_session_free(s);
	return at_ms;
}

static void
the_successor_mark_needs_the_secret_and_is_set_once(struct fixture *f)
{
	struct durable_touch touch = {
	    .ref = make_ref(1, 1), .successor_used_ms = T0 + 50};
	struct sgate_session *s = make_session(1, 1);

	s->has_prev = true;
	memset(s->prev_hash, 9, sizeof(s->prev_hash));
	add_session(f, s);
	memset(touch.secret_hash, 9, sizeof(touch.secret_hash));
	assert_ok(f, f->ops->touch(f->a, &touch, 1, &f->err));
	assert_true(successor_used(f, 1) == 0);
	memset(touch.secret_hash, 1, sizeof(touch.secret_hash));
	assert_ok(f, f->ops->touch(f->a, &touch, 1, &f->err));
	assert_true(successor_used(f, 1) == T0 + 50);
	assert_true(last_seen(f, 1) == T0 + 1);
	touch.successor_used_ms = T0 + 60;
	assert_ok(f, f->ops->touch(f->a, &touch, 1, &f->err));
	assert_true(successor_used(f, 1) == T0 + 50);
}

static void
the_successor_mark_needs_a_previous_secret_and_a_live_row(struct fixture *f)
{
	struct durable_touch touch = {
	    .ref = make_ref(1, 1), .successor_used_ms = T0 + 50};
	struct sgate_session *s = make_session(1, 2);

	add_session(f, make_session(1, 1));
	memset(touch.secret_hash, 1, sizeof(touch.secret_hash));
	assert_ok(f, f->ops->touch(f->a, &touch, 1, &f->err));
	assert_true(successor_used(f, 1) == 0);
	s->has_prev = true;
	s->state = SESSION_ENDED;
	add_session(f, s);
	touch.ref = make_ref(1, 2);
	memset(touch.secret_hash, 2, sizeof(touch.secret_hash));
	assert_ok(f, f->ops->touch(f->a, &touch, 1, &f->err));
	assert_true(successor_used(f, 2) == 0);
}

/* ---- audit, idempotency, users ---- */

static void
an_audit_row_twice_is_a_conflict_and_rollback_leaves_nothing(struct fixture *f)
{
	const struct durable_audit audit = make_audit(T0, 1);
	struct sgate_session *s = make_session(1, 1);

	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->audit_exists(f->b, audit.event_id, &f->err));
	add_audit(f, &audit);
	assert_ok(f, f->ops->audit_exists(f->b, audit.event_id, &f->err));
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_ok(f, f->ops->session_insert(f->b, s, &f->err));
	assert_status(
	    f, SGATE_CONFLICT, f->ops->audit_insert(f->b, &audit, &f->err));
	f->ops->rollback(f->b);
	assert_false(has_session(f, f->a, &s->ref));
	assert_ok(f, f->ops->audit_exists(f->a, audit.event_id, &f->err));
	sgate_session_free(s);
}

static void
an_idempotency_row_round_trips_once_and_can_be_removed(struct fixture *f)
{
	struct durable_idempotency row = {
	    .ref = make_ref(4, 4), .key_id = 255, .expires_ms = T0};
	struct durable_idempotency found;

	memset(row.id, 0xa1, sizeof(row.id));
	memset(row.body_hash, 0xb2, sizeof(row.body_hash));
	memset(row.nonce, 0xc3, sizeof(row.nonce));
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->idempotency_get(f->a, row.id, &found, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->idempotency_insert(f->a, &row, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_ok(f, f->ops->idempotency_get(f->b, row.id, &found, &f->err));
	assert_memory_equal(found.id, row.id, sizeof(row.id));
	assert_memory_equal(
	    found.body_hash, row.body_hash, sizeof(row.body_hash));
	assert_memory_equal(found.nonce, row.nonce, sizeof(row.nonce));
	assert_memory_equal(&found.ref, &row.ref, sizeof(row.ref));
	assert_int_equal(found.key_id, 255);
	assert_true(found.expires_ms == T0);
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_status(
	    f, SGATE_CONFLICT, f->ops->idempotency_insert(f->b, &row, &f->err));
	f->ops->rollback(f->b);
	assert_ok(f, f->ops->begin(f->b, &f->err));
	assert_ok(f, f->ops->idempotency_remove(f->b, row.id, &f->err));
	assert_ok(f, f->ops->idempotency_remove(f->b, row.id, &f->err));
	assert_ok(f, f->ops->idempotency_insert(f->b, &row, &f->err));
	f->ops->rollback(f->b);
}

static struct durable_user
lock_user(struct fixture *f, struct durable *d, const char *realm,
    const char *user, bool exclusive)
{
	struct durable_user state;

	assert_ok(f, f->ops->begin(d, &f->err));
	assert_ok(f, f->ops->user_lock(d, bytes_of(realm), bytes_of(user),
			 exclusive, &state, &f->err));
	assert_ok(f, f->ops->commit(d, &f->err));
	return state;
}

static void
block_user(struct fixture *f, const char *realm, const char *user,
    int64_t at_ms, const char *reason)
{
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->user_block(f->a, bytes_of(realm), bytes_of(user),
			 at_ms, bytes_of(reason), &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
}

static void
a_block_is_seen_with_the_lock_and_can_be_lifted(struct fixture *f)
{
	char user[SESSION_USER_MAX + 1];
	char reason[129];
	struct durable_user state;

	fill_utf8(user, sizeof(user));
	fill_utf8(reason, sizeof(reason));
	state = lock_user(f, f->b, "", user, false);
	assert_true(state.blocked_ms == 0);
	block_user(f, "", user, T0, reason);
	state = lock_user(f, f->b, "", user, false);
	assert_true(state.blocked_ms == T0);
	assert_string_equal(state.blocked_reason, reason);
	block_user(f, "", user, T0 + 1, "");
	state = lock_user(f, f->b, "", user, true);
	assert_true(state.blocked_ms == T0 + 1);
	assert_string_equal(state.blocked_reason, "");
	assert_true(lock_user(f, f->b, "r", user, true).blocked_ms == 0);
	assert_true(lock_user(f, f->b, "", "x", true).blocked_ms == 0);
	block_user(f, "", user, 0, "");
	assert_true(lock_user(f, f->b, "", user, true).blocked_ms == 0);
	block_user(f, "", "never", 0, "");
}

struct seen_users {
	char names[4][SESSION_REALM_MAX + SESSION_USER_MAX + 2];
	size_t count;
	size_t stop_at; /* 0 = never */
};

static int
see_user(void *arg, struct sgate_bytes realm, struct sgate_bytes user)
{
	struct seen_users *seen = arg;

	assert_true(seen->count < 4);
	snprintf(seen->names[seen->count], sizeof(seen->names[0]), "%.*s/%.*s",
	    (int)realm.len, realm.data, (int)user.len, user.data);
	return ++seen->count == seen->stop_at;
}

static bool
has_seen(const struct seen_users *seen, const char *name)
{
	size_t i;

	for (i = 0; i < seen->count; i++)
		if (strcmp(seen->names[i], name) == 0)
			return true;
	return false;
}

static void
blocked_users_are_those_that_are_blocked(struct fixture *f)
{
	struct seen_users seen = {.count = 0};

	lock_user(f, f->b, "", "free", true);
	assert_ok(f, f->ops->blocked_users(f->a, 4, see_user, &seen, &f->err));
	assert_int_equal(seen.count, 0);
	block_user(f, "", "anna", T0, "x");
	block_user(f, "r", "anna", T0, "");
	block_user(f, "", "bert", T0, "");
	block_user(f, "", "bert", 0, "");
	assert_ok(f, f->ops->blocked_users(f->b, 4, see_user, &seen, &f->err));
	assert_int_equal(seen.count, 2);
	assert_true(has_seen(&seen, "/anna") && has_seen(&seen, "r/anna"));
	seen.count = 0;
	assert_ok(f, f->ops->blocked_users(f->b, 1, see_user, &seen, &f->err));
	assert_int_equal(seen.count, 1);
	seen.count = 0;
	seen.stop_at = 1;
	assert_ok(f, f->ops->blocked_users(f->b, 4, see_user, &seen, &f->err));
	assert_int_equal(seen.count, 1);
}

/* ---- settings ---- */

struct seen_settings {
	size_t count;
	char names[4][DURABLE_SETTING_NAME_MAX + 1];
	char values[4][64];
};

static int
see_setting(void *arg, const char *name, struct sgate_bytes value)
{
	struct seen_settings *seen = arg;

	assert_true(seen->count < 4 && value.len < sizeof(seen->values[0]));
	snprintf(seen->names[seen->count], sizeof(seen->names[0]), "%s", name);
	snprintf(seen->values[seen->count++], sizeof(seen->values[0]), "%.*s",
	    (int)value.len, value.len > 0 ? value.data : "");
	return 0;
}

static const char *
setting_of(struct fixture *f, struct durable *d, const char *name)
{
	static struct seen_settings seen;
	size_t i;

	memset(&seen, 0, sizeof(seen));
	assert_ok(f, f->ops->setting_list(d, see_setting, &seen, &f->err));
	for (i = 0; i < seen.count; i++)
		if (strcmp(seen.names[i], name) == 0)
			return seen.values[i];
	return NULL;
}

static void
put_setting(
    struct fixture *f, struct durable *d, const char *name, const char *value)
{
	uint64_t number;

	assert_ok(
	    f, f->ops->counter_next(d, DURABLE_SETTINGS, &number, &f->err));
	assert_ok(
	    f, f->ops->setting_put(d, name, bytes_of(value), number, &f->err));
}

static void
settings_are_replaced_and_seen_when_committed(struct fixture *f)
{
	assert_null(setting_of(f, f->b, "x"));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->setting_put(f->a, "x", bytes_of("1"), 1, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	put_setting(f, f->a, "x", "one\ntwo\n");
	put_setting(f, f->a, "y", "");
	assert_string_equal(setting_of(f, f->a, "x"), "one\ntwo\n");
	assert_null(setting_of(f, f->b, "x"));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_string_equal(setting_of(f, f->b, "x"), "one\ntwo\n");
	assert_string_equal(setting_of(f, f->b, "y"), "");
	assert_ok(f, f->ops->begin(f->b, &f->err));
	put_setting(f, f->b, "x", "three");
	f->ops->rollback(f->b);
	assert_string_equal(setting_of(f, f->b, "x"), "one\ntwo\n");
	assert_ok(f, f->ops->begin(f->b, &f->err));
	put_setting(f, f->b, "x", "three");
	assert_ok(f, f->ops->commit(f->b, &f->err));
	assert_string_equal(setting_of(f, f->a, "x"), "three");
}

static void
the_latest_expiry_is_that_of_any_row(struct fixture *f)
{
	struct sgate_session *s = make_session(1, 1);
	int64_t latest_ms = 1;

	assert_ok(f, f->ops->latest_expiry(f->a, &latest_ms, &f->err));
	assert_true(latest_ms == 0);
	s->absolute_ms = T0 + 77;
	add_session(f, s);
	s = make_session(2, 2);
	s->absolute_ms = T0 + 76;
	add_session(f, s);
	assert_ok(f, f->ops->latest_expiry(f->b, &latest_ms, &f->err));
	assert_true(latest_ms == T0 + 77);
}

/* ---- leases and service keys ---- */

static void
a_lease_has_one_holder_until_it_is_over(struct fixture *f)
{
	assert_ok(
	    f, f->ops->lease_take(f->a, "reaper", "a", T0, T0 + 100, &f->err));
	assert_status(f, SGATE_DENIED,
	    f->ops->lease_take(
		f->b, "reaper", "b", T0 + 99, T0 + 200, &f->err));
	assert_text(f, "a");
	assert_ok(f, f->ops->lease_take(
			 f->a, "reaper", "a", T0 + 99, T0 + 150, &f->err));
	assert_status(f, SGATE_DENIED,
	    f->ops->lease_take(
		f->b, "reaper", "b", T0 + 149, T0 + 250, &f->err));
	assert_ok(f, f->ops->lease_take(
			 f->b, "reaper", "b", T0 + 150, T0 + 250, &f->err));
	assert_status(f, SGATE_DENIED,
	    f->ops->lease_take(
		f->a, "reaper", "a", T0 + 151, T0 + 350, &f->err));
	assert_ok(
	    f, f->ops->lease_take(f->a, "other", "a", T0, T0 + 1, &f->err));
}

static struct durable_service
make_service(const char *name, int hash)
{
	struct durable_service svc = {.created_ms = T0};

	set_text(svc.name, sizeof(svc.name), name);
	set_text(svc.scopes, sizeof(svc.scopes), "create,introspect");
	memset(svc.key_hash, hash, sizeof(svc.key_hash));
	return svc;
}

static void
a_service_key_is_found_by_its_hash_until_removed(struct fixture *f)
{
	struct durable_service svc = make_service("shop", 1);
	struct durable_service found;

	svc.expires_ms = T0 + 1;
	assert_ok(f, f->ops->service_put(f->a, &svc, &f->err));
	assert_ok(f, f->ops->service_get(f->b, svc.key_hash, &found, &f->err));
	assert_string_equal(found.name, "shop");
	assert_string_equal(found.scopes, "create,introspect");
	assert_false(found.has_realm);
	assert_true(found.created_ms == T0 && found.expires_ms == T0 + 1);
	svc = make_service("shop", 2);
	assert_status(
	    f, SGATE_CONFLICT, f->ops->service_put(f->b, &svc, &f->err));
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->service_get(f->a, svc.key_hash, &found, &f->err));
	assert_string_equal(found.name, "");
	assert_ok(f, f->ops->service_remove(f->b, "shop", &f->err));
	assert_status(
	    f, SGATE_NOT_FOUND, f->ops->service_remove(f->b, "shop", &f->err));
	svc = make_service("shop", 1);
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->service_get(f->a, svc.key_hash, &found, &f->err));
}

/* Its audit row is written in the same transaction. */
static void
a_service_key_goes_with_the_transaction_that_is_open(struct fixture *f)
{
	struct durable_service svc = make_service("shop", 1);
	struct durable_service found;

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->service_put(f->a, &svc, &f->err));
	f->ops->rollback(f->a);
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->service_get(f->b, svc.key_hash, &found, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->service_put(f->a, &svc, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->service_remove(f->a, "shop", &f->err));
	f->ops->rollback(f->a);
	assert_ok(f, f->ops->service_get(f->b, svc.key_hash, &found, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->service_remove(f->a, "shop", &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->service_get(f->b, svc.key_hash, &found, &f->err));
}

static void
a_service_key_of_the_default_realm_is_not_one_of_all_realms(struct fixture *f)
{
	struct durable_service svc = make_service("n", 1);
	struct durable_service found;

	svc.has_realm = true;
	assert_ok(f, f->ops->service_put(f->a, &svc, &f->err));
	assert_ok(f, f->ops->service_get(f->b, svc.key_hash, &found, &f->err));
	assert_true(found.has_realm);
	assert_string_equal(found.realm, "");
	svc = make_service("largest", 2);
	memset(svc.name, 'n', sizeof(svc.name) - 1);
	memset(svc.scopes, 's', sizeof(svc.scopes) - 1);
	memset(svc.realm, 'r', sizeof(svc.realm) - 1);
	svc.has_realm = true;
	assert_ok(f, f->ops->service_put(f->a, &svc, &f->err));
	assert_ok(f, f->ops->service_get(f->b, svc.key_hash, &found, &f->err));
	assert_string_equal(found.name, svc.name);
	assert_string_equal(found.scopes, svc.scopes);
	assert_string_equal(found.realm, svc.realm);
}

/* ---- the caller's own statements ---- */

static int
check_row(void *arg, const struct sgate_value *columns, size_t columns_count)
{
	int *rows = arg;

	assert_int_equal(columns_count, 4);
	assert_int_equal(columns[0].kind, SGATE_VALUE_NULL);
	assert_int_equal(columns[1].kind, SGATE_VALUE_INTEGER);
	assert_true(columns[1].integer == INT64_MIN);
	assert_int_equal(columns[2].kind, SGATE_VALUE_TEXT);
	assert_true(bytes_equal_text(columns[2].bytes, "it's"));
	assert_int_equal(columns[3].kind, SGATE_VALUE_BLOB);
	assert_int_equal(columns[3].bytes.len, 3);
	assert_memory_equal(columns[3].bytes.data, "\0\1\2", 3);
	++*rows;
	return 0;
}

static void
exec_binds_every_kind_of_value_and_gives_it_back(struct fixture *f)
{
	const struct sgate_value params[] = {
	    {.kind = SGATE_VALUE_NULL},
	    {.kind = SGATE_VALUE_INTEGER, .integer = INT64_MIN},
	    {.kind = SGATE_VALUE_TEXT, .bytes = {"it's", 4}},
	    {.kind = SGATE_VALUE_BLOB, .bytes = {"\0\1\2", 3}},
	};
	int rows = 0;

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->exec(f->a, "SELECT ?, ?, ?, ?", params, 4,
			 check_row, &rows, &f->err));
	assert_int_equal(rows, 1);
	assert_ok(f, f->ops->exec(f->a, "SELECT ?, ?, ?, ?", params, 4, NULL,
			 NULL, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
}

const struct contract_case row_cases[] = {
#define CASE(name)                                                             \
	{                                                                      \
#name, name, 0                                                 \
	}
    CASE(a_made_store_is_up_and_both_handles_see_the_same_id),
    CASE(schema_init_again_changes_nothing),
    CASE(writes_need_a_transaction),
    CASE(begin_within_a_transaction_is_a_mistake_and_keeps_it),
    CASE(rollback_takes_everything_back_and_any_state),
    CASE(what_is_not_committed_is_seen_by_its_own_handle_alone),
    CASE(closing_a_handle_rolls_its_transaction_back),
    CASE(past_its_deadline_nothing_is_begun),
    CASE(a_commit_past_its_deadline_did_not_happen),
    CASE(a_session_round_trips_at_its_largest),
    CASE(a_session_round_trips_at_its_smallest),
    CASE(a_session_with_an_ipv4_address_round_trips),
    CASE(session_get_of_an_unknown_ref_is_not_found),
    CASE(session_get_gives_the_counter_of_the_group),
    CASE(session_get_without_data_leaves_it_empty_and_has_exports),
    CASE(session_insert_of_a_taken_ref_is_a_conflict),
    CASE(session_store_changes_all_but_who_and_how_long),
    CASE(session_store_can_clear_the_previous_secret),
    CASE(session_store_of_an_unknown_ref_is_not_found),
    CASE(counters_rise_by_one_each_group_by_itself),
    CASE(poll_gives_every_counter_and_the_store),
    CASE(changed_gives_the_refs_of_a_group_above_a_number),
    CASE(touch_raises_last_seen_and_never_lowers_it),
    CASE(a_batch_of_touches_gives_each_row_its_own),
    CASE(touch_skips_ended_and_unknown_rows_and_takes_a_hundred),
    CASE(the_successor_mark_needs_the_secret_and_is_set_once),
    CASE(the_successor_mark_needs_a_previous_secret_and_a_live_row),
    CASE(an_audit_row_twice_is_a_conflict_and_rollback_leaves_nothing),
    CASE(an_idempotency_row_round_trips_once_and_can_be_removed),
    CASE(a_block_is_seen_with_the_lock_and_can_be_lifted),
    CASE(blocked_users_are_those_that_are_blocked),
    CASE(settings_are_replaced_and_seen_when_committed),
    CASE(the_latest_expiry_is_that_of_any_row),
    CASE(a_lease_has_one_holder_until_it_is_over),
    CASE(a_service_key_is_found_by_its_hash_until_removed),
    CASE(a_service_key_goes_with_the_transaction_that_is_open),
    CASE(a_service_key_of_the_default_realm_is_not_one_of_all_realms),
    CASE(exec_binds_every_kind_of_value_and_gives_it_back),
#undef CASE
    {"a_second_writer_is_unavailable_by_its_deadline",
	a_second_writer_is_unavailable_by_its_deadline, NEEDS_ONE_WRITER},
    {NULL, NULL, 0},
};
