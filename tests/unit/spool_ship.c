/*
 * What the spool has, to both stores: each event once whatever happens, its
 * audit row always, its effect where there is something to end.
 */
#include "tap.h"

#include "pair.h"

#include <string.h>

#include "spool.h"

#define AT INT64_C(1800000000000) /* the world's clock */

/* An end of that session, as a worker of another host would write it. */
static void
frame_of(struct pair *p, const struct sgate_ref *ref, unsigned number,
    struct spool_frame *out)
{
	struct durable_audit *audit = &out->audit;
	int64_t ms = p->w.now_ms;
	int i;

	memset(out, 0, sizeof(*out));
	out->kind = SPOOL_END;
	memcpy(out->store_id, fake_server()->store.id, sizeof(out->store_id));
	out->version = 3;
	out->absolute_ms = AT + 8 * HOUR;
	out->ended_ms = ms - 7000;
	for (i = 0; i < 6; i++)
		audit->event_id[i] = (unsigned char)(ms >> 8 * (5 - i));
	audit->event_id[15] = (unsigned char)number;
	audit->at_ms = ms - 7000;
	memcpy(audit->host, "other", 6);
	memcpy(audit->actor, "browser", 8);
	memcpy(audit->kind, "end", 4);
	audit->reason = SGATE_REASON_LOGGED_OUT;
	audit->has_ref = true;
	audit->ref = *ref;
	memcpy(audit->user, "ann", 4);
}

static void
ref_of(unsigned char group, unsigned char last, struct sgate_ref *out)
{
	uint32_t seconds = (uint32_t)(AT / 1000 - 60);
	int i;

	memset(out, 0, sizeof(*out));
	out->bytes[0] = group;
	for (i = 0; i < 4; i++)
		out->bytes[1 + i] = (unsigned char)(seconds >> 8 * (3 - i));
	out->bytes[11] = last;
}

/* How many of the frames are done after it. */
static size_t
apply_all(struct pair *p, const struct spool_frame *frames, size_t count,
    enum sgate_status expected)
{
	bool done[MANAGER_SPOOL_BATCH];
	size_t i, sum = 0;

	memset(done, 1, sizeof(done));
	assert_status(&p->w,
	    manager_spool_apply(p->w.mgr, frames, count, done, &p->w.err),
	    expected);
	for (i = 0; i < count; i++)
		sum += done[i];
	assert_true(fake_is_idle());
	return sum;
}

static size_t
publish_all(struct pair *p, const struct spool_frame *frames, size_t count,
    enum sgate_status expected)
{
	bool done[MANAGER_SPOOL_BATCH];
	size_t i, sum = 0;

	memset(done, 1, sizeof(done));
	assert_status(&p->w,
	    manager_spool_publish(p->w.mgr, frames, count, done, &p->w.err),
	    expected);
	for (i = 0; i < count; i++)
		sum += done[i];
	return sum;
}

static void
close_breaker(struct pair *p)
{
	breaker_close(&p->stores.durable, 1);
}

/* ---- the durable store ---- */

static void
a_live_session_ends_as_it_was_said(void **state)
{
	struct durable_poll before, after;
	struct sgate_session *row;
	struct spool_frame frame;
	struct made made;
	struct pair p;
	unsigned group;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	group = token_ref_group(&made.ref);
	assert_status(
	    &p.w, durable_fake.poll(p.keeper, &before, &p.w.err), SGATE_OK);
	frame_of(&p, &made.ref, 1, &frame);
	assert_int_equal(apply_all(&p, &frame, 1, SGATE_OK), 1);
	row = world_row(&p.w, &made.ref);
	assert_int_equal(row->state, SESSION_ENDED);
	assert_int_equal(row->end_reason, SGATE_REASON_LOGGED_OUT);
	assert_true(row->ended_ms == frame.ended_ms);
	assert_int_equal(row->version, 2);
	assert_string_equal(row->data, "{}");
	assert_status(
	    &p.w, durable_fake.poll(p.keeper, &after, &p.w.err), SGATE_OK);
	assert_int_equal(after.counters[group], before.counters[group] + 1);
	assert_int_equal(row->seq, after.counters[group]);
	assert_int_equal(world_audit(&p.w, "end", &made.ref), 1);
	assert_status(&p.w,
	    durable_fake.audit_exists(p.keeper, frame.audit.event_id, &p.w.err),
	    SGATE_OK);
	/* And a second time. */
	assert_int_equal(apply_all(&p, &frame, 1, SGATE_OK), 1);
	assert_int_equal(world_audit(&p.w, "end", &made.ref), 1);
	sgate_session_free(row);
	row = world_row(&p.w, &made.ref);
	assert_int_equal(row->version, 2);
	sgate_session_free(row);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_session_that_has_ended_keeps_how_and_gets_the_audit_row(void **state)
{
	struct sgate_session *row;
	struct spool_frame frame;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	assert_status(&p.w,
	    sgate_session_end(
		p.w.mgr, &made.ref, SGATE_REASON_REVOKED, &p.w.err),
	    SGATE_OK);
	frame_of(&p, &made.ref, 1, &frame);
	assert_int_equal(apply_all(&p, &frame, 1, SGATE_OK), 1);
	row = world_row(&p.w, &made.ref);
	assert_int_equal(row->end_reason, SGATE_REASON_REVOKED);
	assert_int_equal(row->version, 2);
	assert_int_equal(world_audit(&p.w, "end", &made.ref), 2);
	sgate_session_free(row);
	made_clear(&made);
	pair_stop(&p);
}

static void
an_expired_session_ends_with_the_reason_that_was_said(void **state)
{
	struct sgate_session *row;
	struct spool_frame frame;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	frame_of(&p, &made.ref, 1, &frame);
	p.w.now_ms += 9 * HOUR;
	assert_int_equal(apply_all(&p, &frame, 1, SGATE_OK), 1);
	row = world_row(&p.w, &made.ref);
	assert_int_equal(row->state, SESSION_ENDED);
	assert_int_equal(row->end_reason, SGATE_REASON_LOGGED_OUT);
	sgate_session_free(row);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_session_that_is_not_known_leaves_a_placeholder(void **state)
{
	struct sgate_session *row;
	struct spool_frame frame;
	struct sgate_ref ref;
	struct pair p;

	(void)state;
	pair_start(&p);
	ref_of(5, 1, &ref);
	frame_of(&p, &ref, 1, &frame);
	assert_int_equal(apply_all(&p, &frame, 1, SGATE_OK), 1);
	row = world_row(&p.w, &ref);
	assert_int_equal(row->state, SESSION_ENDED);
	assert_int_equal(row->end_reason, SGATE_REASON_LOGGED_OUT);
	assert_string_equal(row->user, "ann");
	assert_true(row->absolute_ms == frame.absolute_ms);
	assert_true(row->ended_ms == frame.ended_ms);
	assert_true(row->created_ms == AT - 60000);
	assert_int_equal(row->version, 4);
	assert_true(row->seq > 0);
	assert_int_equal(world_audit(&p.w, "end", &ref), 1);
	sgate_session_free(row);

	/* Without a copy, nothing but the ref is known. */
	ref_of(6, 1, &ref);
	frame_of(&p, &ref, 2, &frame);
	frame.absolute_ms = 0;
	frame.version = 0;
	frame.audit.user[0] = '\0';
	assert_int_equal(apply_all(&p, &frame, 1, SGATE_OK), 1);
	row = world_row(&p.w, &ref);
	assert_true(row->absolute_ms ==
		    AT - 60000 + conf_largest_absolute_ms(p.w.conf));
	assert_int_equal(row->version, 2);
	assert_string_equal(row->user, "");
	sgate_session_free(row);
	pair_stop(&p);
}

/* A keeper brings it to Redis as it brings every change. */
static void
a_placeholder_is_in_the_change_log(void **state)
{
	struct manager_round round = {.runtime_dir = NULL};
	struct spool_frame frame;
	struct sgate_ref ref;
	struct pair p;

	(void)state;
	pair_start(&p);
	ref_of(5, 1, &ref);
	frame_of(&p, &ref, 1, &frame);
	assert_int_equal(apply_all(&p, &frame, 1, SGATE_OK), 1);
	assert_int_equal(pair_state(&ref), '\0');
	assert_status(
	    &p.w, manager_fence_round(p.w.mgr, &round, &p.w.err), SGATE_OK);
	assert_int_equal(pair_state(&ref), 'T');
	pair_stop(&p);
}

static void
no_placeholder_is_left_of_what_would_have_expired(void **state)
{
	struct sgate_session *row = NULL;
	struct spool_frame frame;
	struct sgate_ref ref;
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	for (i = 0; i < 2; i++) {
		ref_of(5, (unsigned char)i, &ref);
		frame_of(&p, &ref, (unsigned)i, &frame);
		if (i == 0)
			frame.absolute_ms = 0;
		p.w.now_ms = AT + 40 * 24 * HOUR;
		assert_int_equal(apply_all(&p, &frame, 1, SGATE_OK), 1);
		assert_status(&p.w,
		    manager_session_any(p.w.mgr, &ref, &row, &p.w.err),
		    SGATE_NOT_FOUND);
		assert_int_equal(world_audit(&p.w, "end", &ref), 1);
		assert_int_equal(publish_all(&p, &frame, 1, SGATE_OK), 1);
		assert_int_equal(pair_state(&ref), '\0');
	}
	pair_stop(&p);
}

/*
 * Live ones, ended ones, unknown ones; two ends of one; one that is there
 * already, one that stands there twice: any order.
 */
static void
a_batch_does_what_each_alone_would(void **state)
{
	struct spool_frame frames[9];
	struct sgate_session *row;
	struct made made[4];
	struct sgate_ref ref;
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	for (i = 0; i < 4; i++)
		world_create(&p.w, i < 2 ? "ann" : "ben", &made[i]);
	ref_of(5, 9, &ref);
	frame_of(&p, &made[3].ref, 9, &frames[0]);
	frame_of(&p, &made[0].ref, 4, &frames[1]);
	frame_of(&p, &ref, 3, &frames[2]);
	frame_of(&p, &made[1].ref, 6, &frames[3]);
	frame_of(&p, &made[0].ref, 2, &frames[4]); /* the first one */
	frames[4].audit.reason = SGATE_REASON_THEFT;
	frame_of(&p, &made[2].ref, 7, &frames[5]);
	frames[6] = frames[5];
	frame_of(&p, &ref, 8, &frames[7]);
	frame_of(&p, &made[3].ref, 1, &frames[8]);
	assert_status(&p.w,
	    sgate_session_end(
		p.w.mgr, &made[1].ref, SGATE_REASON_REVOKED, &p.w.err),
	    SGATE_OK);
	assert_int_equal(apply_all(&p, &frames[8], 1, SGATE_OK), 1);
	assert_int_equal(fake_calls("session_insert"), 4);

	assert_int_equal(apply_all(&p, frames, 9, SGATE_OK), 9);
	assert_int_equal(world_audit(&p.w, "end", &made[0].ref), 2);
	assert_int_equal(world_audit(&p.w, "end", &made[1].ref), 2);
	assert_int_equal(world_audit(&p.w, "end", &made[2].ref), 1);
	assert_int_equal(world_audit(&p.w, "end", &made[3].ref), 2);
	assert_int_equal(world_audit(&p.w, "end", &ref), 2);
	row = world_row(&p.w, &made[0].ref);
	assert_int_equal(row->end_reason, SGATE_REASON_THEFT);
	assert_int_equal(row->version, 2);
	sgate_session_free(row);
	row = world_row(&p.w, &made[1].ref);
	assert_int_equal(row->end_reason, SGATE_REASON_REVOKED);
	sgate_session_free(row);
	for (i = 0; i < 4; i++) {
		assert_int_not_equal(
		    world_look_at(&p.w, &made[i].ref), SGATE_REASON_OK);
		made_clear(&made[i]);
	}
	/* All of it again. */
	assert_int_equal(apply_all(&p, frames, 9, SGATE_OK), 9);
	assert_int_equal(world_audit(&p.w, "end", NULL), 9);
	pair_stop(&p);
}

static void
the_first_of_two_ends_is_how_it_ended(void **state)
{
	struct spool_frame frames[3];
	struct sgate_session *row;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	frame_of(&p, &made.ref, 3, &frames[0]);
	frame_of(&p, &made.ref, 1, &frames[1]);
	frame_of(&p, &made.ref, 2, &frames[2]);
	frames[1].audit.reason = SGATE_REASON_THEFT;
	assert_int_equal(apply_all(&p, frames, 3, SGATE_OK), 3);
	assert_int_equal(world_audit(&p.w, "end", &made.ref), 3);
	row = world_row(&p.w, &made.ref);
	assert_int_equal(row->end_reason, SGATE_REASON_THEFT);
	assert_int_equal(row->version, 2);
	sgate_session_free(row);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_batch_is_one_transaction(void **state)
{
	struct spool_frame frames[MANAGER_SPOOL_BATCH + 1];
	bool done[MANAGER_SPOOL_BATCH + 1];
	struct sgate_ref ref;
	struct pair p;
	unsigned i;

	(void)state;
	pair_start(&p);
	for (i = 0; i < MANAGER_SPOOL_BATCH + 1; i++) {
		ref_of((unsigned char)(i * 7), (unsigned char)i, &ref);
		frame_of(&p, &ref, i, &frames[i]);
	}
	assert_int_equal(apply_all(&p, frames, MANAGER_SPOOL_BATCH, SGATE_OK),
	    MANAGER_SPOOL_BATCH);
	assert_int_equal(fake_calls("begin"), 1);
	assert_int_equal(fake_calls("commit"), 1);
	assert_int_equal(fake_calls("counter_next"), TOKEN_GROUPS);
	assert_int_equal(world_audit(&p.w, "end", NULL), MANAGER_SPOOL_BATCH);
	assert_int_equal(apply_all(&p, frames, 0, SGATE_OK), 0);
	assert_status(&p.w,
	    manager_spool_apply(
		p.w.mgr, frames, MANAGER_SPOOL_BATCH + 1, done, &p.w.err),
	    SGATE_INTERNAL);
	pair_stop(&p);
}

static void
what_is_of_another_database_is_left(void **state)
{
	struct spool_frame frames[3];
	bool done[3];
	struct made made[3];
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	for (i = 0; i < 3; i++) {
		world_create(&p.w, "ann", &made[i]);
		frame_of(&p, &made[i].ref, (unsigned)i, &frames[i]);
	}
	frames[1].store_id[3] ^= 1;
	memset(frames[2].store_id, 0, sizeof(frames[2].store_id));
	assert_status(&p.w,
	    manager_spool_apply(p.w.mgr, frames, 3, done, &p.w.err), SGATE_OK);
	assert_true(done[0] && !done[1] && done[2]);
	assert_int_equal(world_look_at(&p.w, &made[1].ref), SGATE_REASON_OK);
	assert_int_equal(world_audit(&p.w, "end", NULL), 2);
	assert_status(&p.w,
	    manager_spool_publish(p.w.mgr, frames, 3, done, &p.w.err),
	    SGATE_OK);
	assert_true(done[0] && !done[1] && done[2]);
	assert_int_equal(pair_state(&made[0].ref), 'T');
	assert_int_equal(pair_state(&made[1].ref), 'L');
	assert_int_equal(apply_all(&p, &frames[1], 1, SGATE_OK), 0);
	assert_non_null(strstr(p.w.err.text, "another database"));
	assert_int_equal(publish_all(&p, &frames[1], 1, SGATE_OK), 0);
	assert_non_null(strstr(p.w.err.text, "another database"));
	for (i = 0; i < 3; i++)
		made_clear(&made[i]);
	pair_stop(&p);
}

/* What it says is done is. True: all of it. */
static bool
try_three(struct pair *p, const struct spool_frame *frames)
{
	bool done[3] = {true, true, true};
	enum sgate_status status;
	size_t i, sum = 0;

	close_breaker(p);
	status = manager_spool_apply(p->w.mgr, frames, 3, done, &p->w.err);
	assert_true(fake_is_idle());
	for (i = 0; i < 3; i++) {
		sum += done[i];
		if (done[i])
			assert_status(&p->w,
			    durable_fake.audit_exists(
				p->keeper, frames[i].audit.event_id, &p->w.err),
			    SGATE_OK);
	}
	if (status == SGATE_OK)
		assert_int_equal(sum, 3);
	return status == SGATE_OK;
}

/* Every step of a batch of a live, an ended and an unknown session fails. */
static void
whatever_fails_it_is_done_once_in_the_end(void **state)
{
	static const struct {
		const char *name;
		unsigned times; /* in one transaction */
	} steps[] = {{"store_get", 1}, {"begin", 1}, {"audit_insert", 3},
	    {"session_get", 3}, {"session_insert", 1}, {"counter_next", 1},
	    {"session_store", 2}, {"commit", 1}};
	static const enum fake_answer answers[] = {
	    FAKE_UNAVAILABLE, FAKE_NO_MEMORY};
	struct spool_frame frames[3];
	struct made made[2];
	struct sgate_ref ref;
	struct pair p;
	size_t step, n, answer;
	bool is_done = false;
	int i;

	(void)state;
	for (step = 0; step < sizeof(steps) / sizeof(steps[0]); step++) {
		for (n = 0; n < 2 * steps[step].times; n++) {
			answer = n % 2;
			pair_start(&p);
			world_create(&p.w, "ann", &made[0]);
			world_create(&p.w, "ben", &made[1]);
			assert_status(&p.w,
			    sgate_session_end(p.w.mgr, &made[1].ref,
				SGATE_REASON_REVOKED, &p.w.err),
			    SGATE_OK);
			ref_of(5, 9, &ref);
			frame_of(&p, &made[0].ref, 1, &frames[0]);
			frame_of(&p, &made[1].ref, 2, &frames[1]);
			frame_of(&p, &ref, 3, &frames[2]);
			fake_script(steps[step].name, (unsigned)n / 2 + 1,
			    answers[answer]);
			for (i = 0; i < 2; i++)
				is_done = try_three(&p, frames);
			assert_true(is_done);
			close_breaker(&p);
			assert_int_equal(
			    world_audit(&p.w, "end", &made[0].ref), 1);
			assert_int_equal(
			    world_audit(&p.w, "end", &made[1].ref), 2);
			assert_int_equal(world_audit(&p.w, "end", &ref), 1);
			assert_int_equal(
			    world_look_at(&p.w, &ref), SGATE_REASON_LOGGED_OUT);
			made_clear(&made[0]);
			made_clear(&made[1]);
			pair_stop(&p);
		}
	}
}

static void
a_commit_without_an_answer_is_settled_by_its_event_ids(void **state)
{
	static const enum fake_answer answers[] = {
	    FAKE_UNCERTAIN_DONE, FAKE_UNCERTAIN_LOST};
	struct sgate_session *row;
	struct spool_frame frame;
	struct made made;
	struct pair p;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		pair_start(&p);
		world_create(&p.w, "ann", &made);
		frame_of(&p, &made.ref, 1, &frame);
		fake_script("commit", 1, answers[i]);
		assert_int_equal(apply_all(&p, &frame, 1, SGATE_UNCERTAIN), 0);
		close_breaker(&p);
		assert_int_equal(apply_all(&p, &frame, 1, SGATE_OK), 1);
		row = world_row(&p.w, &made.ref);
		assert_int_equal(row->version, 2);
		assert_int_equal(world_audit(&p.w, "end", &made.ref), 1);
		sgate_session_free(row);
		made_clear(&made);
		pair_stop(&p);
	}
}

static void
a_damaged_row_holds_up_nobody_else(void **state)
{
	struct spool_frame frames[3];
	bool done[3];
	struct made made[3];
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	for (i = 0; i < 3; i++) {
		world_create(&p.w, "ann", &made[i]);
		frame_of(&p, &made[i].ref, (unsigned)i, &frames[i]);
	}
	/* In the batch, the 1st; alone, the 2nd of the singles. */
	fake_script("session_get", 1, FAKE_CORRUPT);
	fake_script("session_get", 3, FAKE_CORRUPT);
	assert_status(&p.w,
	    manager_spool_apply(p.w.mgr, frames, 3, done, &p.w.err), SGATE_OK);
	assert_true(done[0] && !done[1] && done[2]);
	assert_int_equal(p.w.err.status, SGATE_CORRUPT);
	assert_int_equal(world_audit(&p.w, "end", &made[1].ref), 0);
	assert_int_equal(apply_all(&p, frames, 3, SGATE_OK), 3);
	assert_int_equal(world_audit(&p.w, "end", NULL), 3);
	for (i = 0; i < 3; i++)
		made_clear(&made[i]);
	pair_stop(&p);
}

/* ---- the cache ---- */

static void
tombstones_need_no_durable_store(void **state)
{
	struct spool_frame frames[2];
	struct made made[2];
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	for (i = 0; i < 2; i++) {
		world_create(&p.w, i == 0 ? "ann" : "ben", &made[i]);
		frame_of(&p, &made[i].ref, (unsigned)i, &frames[i]);
	}
	frames[1].absolute_ms = 0;
	pair_durable_down(&p);
	assert_int_equal(apply_all(&p, frames, 2, SGATE_UNAVAILABLE), 0);
	pair_expect(&p, p.w.mgr, made[0].token, SGATE_REASON_OK, COPY);
	assert_int_equal(publish_all(&p, frames, 2, SGATE_OK), 2);
	assert_int_equal(publish_all(&p, frames, 2, SGATE_OK), 2);
	for (i = 0; i < 2; i++) {
		pair_expect(
		    &p, p.w.mgr, made[i].token, SGATE_REASON_LOGGED_OUT, COPY);
		assert_int_equal(pair_version(&made[i].ref), 4);
	}
	assert_int_equal(cache_fake_ttl(&made[0].ref), 8 * HOUR + MINUTE);
	assert_in_range(cache_fake_ttl(&made[1].ref),
	    conf_largest_absolute_ms(p.w.conf) - 2000,
	    conf_largest_absolute_ms(p.w.conf) + MINUTE);
	pair_durable_back(&p);
	assert_int_equal(apply_all(&p, frames, 2, SGATE_OK), 2);
	for (i = 0; i < 2; i++)
		made_clear(&made[i]);
	pair_stop(&p);
}

static void
a_cache_that_does_not_answer_has_nothing(void **state)
{
	struct spool_frame frame;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	frame_of(&p, &made.ref, 1, &frame);
	pair_cache_down();
	assert_int_equal(publish_all(&p, &frame, 1, SGATE_UNAVAILABLE), 0);
	assert_int_equal(apply_all(&p, &frame, 1, SGATE_OK), 1);
	pair_cache_back(&p);
	assert_int_equal(publish_all(&p, &frame, 1, SGATE_OK), 1);
	assert_int_equal(pair_state(&made.ref), 'T');
	made_clear(&made);
	pair_stop(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_live_session_ends_as_it_was_said),
    cmocka_unit_test(a_session_that_has_ended_keeps_how_and_gets_the_audit_row),
    cmocka_unit_test(an_expired_session_ends_with_the_reason_that_was_said),
    cmocka_unit_test(a_session_that_is_not_known_leaves_a_placeholder),
    cmocka_unit_test(a_placeholder_is_in_the_change_log),
    cmocka_unit_test(no_placeholder_is_left_of_what_would_have_expired),
    cmocka_unit_test(a_batch_does_what_each_alone_would),
    cmocka_unit_test(the_first_of_two_ends_is_how_it_ended),
    cmocka_unit_test(a_batch_is_one_transaction),
    cmocka_unit_test(what_is_of_another_database_is_left),
    cmocka_unit_test(whatever_fails_it_is_done_once_in_the_end),
    cmocka_unit_test(a_commit_without_an_answer_is_settled_by_its_event_ids),
    cmocka_unit_test(a_damaged_row_holds_up_nobody_else),
    cmocka_unit_test(tombstones_need_no_durable_store),
    cmocka_unit_test(a_cache_that_does_not_answer_has_nothing),
};

TAP_MAIN(tests)
