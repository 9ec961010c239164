/*
 * The manager when its store fails: what cannot be answered is never "no such
 * session", what was not acknowledged is done once or not at all, and an audit
 * row that cannot be written undoes its change.
 */
#include "tap.h"

#include "world.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "contract/durable_fake.h"

static void
fault_start(struct world *w)
{
	world_open(w);
	fake_reset(true);
	w->mgr = world_manager(w, &durable_fake);
}

static void
fault_stop(struct world *w)
{
	assert_true(fake_is_idle());
	world_close(w);
}

/* As when the keeper has found the store up: its breaker is closed. */
static void
close_breaker(struct world *w)
{
	breaker_close(&w->mgr->stores->durable, clock_monotonic_ms());
}

static uint64_t
count_live(struct world *w)
{
	struct sgate_stats stats;

	close_breaker(w);
	assert_status(w, sgate_stats(w->mgr, &stats, &w->err), SGATE_OK);
	return stats.live;
}

static enum sgate_status
try_create(struct world *w, const char *key)
{
	struct sgate_create c = {
	    .user_id = B("ann"), .idempotency_key = B(key)};
	struct sgate_session *s = NULL;
	char *token = NULL;
	enum sgate_status status =
	    sgate_session_create(w->mgr, &c, &s, &token, &w->err);

	assert_int_equal(s != NULL, status == SGATE_OK);
	assert_int_equal(token != NULL, status == SGATE_OK);
	sgate_session_free(s);
	sgate_token_free(token);
	return status;
}

/* ---- looks ---- */

static void
every_look_is(struct world *w, const struct made *made, enum fake_answer answer,
    enum sgate_status expected)
{
	struct sgate_session *s = NULL;
	struct sgate_ref ref;
	char *token = NULL;
	int i;

	for (i = 0; i < 7; i++) {
		enum sgate_status status = SGATE_INTERNAL;

		close_breaker(w);
		fake_script("session_get", 1, answer);
		switch (i) {
		case 0:
			status = sgate_session_get(
			    w->mgr, B(made->token), 0, &s, &w->err);
			break;
		case 1:
			status = sgate_session_validate(
			    w->mgr, B(made->token), &ref, &w->err);
			break;
		case 2:
			status = sgate_session_get_by_ref(
			    w->mgr, &made->ref, &s, &w->err);
			break;
		case 3:
			status = sgate_session_extend(
			    w->mgr, B(made->token), &s, &w->err);
			break;
		case 4:
			status = sgate_session_rotate(
			    w->mgr, B(made->token), &s, &token, &w->err);
			break;
		case 5:
			status = sgate_session_end(
			    w->mgr, &made->ref, SGATE_REASON_REVOKED, &w->err);
			break;
		default:
			status = sgate_session_end_token(w->mgr, B(made->token),
			    SGATE_REASON_REVOKED, &w->err);
		}
		assert_status(w, status, expected);
		assert_int_equal(w->err.status, expected);
		assert_int_equal(w->err.reason, SGATE_REASON_STORE);
		assert_null(s);
		assert_null(token);
	}
}

static void
a_store_that_cannot_answer_is_never_not_found(void **state)
{
	struct sgate_list *list = NULL;
	struct world w;
	struct made made;

	(void)state;
	fault_start(&w);
	world_create(&w, "ann", &made);
	every_look_is(&w, &made, FAKE_UNAVAILABLE, SGATE_UNAVAILABLE);
	every_look_is(&w, &made, FAKE_CORRUPT, SGATE_CORRUPT);
	fake_script("user_sessions", 1, FAKE_UNAVAILABLE);
	assert_status(&w,
	    sgate_user_sessions(w.mgr, B("ann"), 9, &list, &w.err),
	    SGATE_UNAVAILABLE);
	assert_null(list);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_int_equal(world_audit(&w, NULL, NULL), 1);
	made_clear(&made);
	fault_stop(&w);
}

static void
a_store_without_tables_is_unavailable(void **state)
{
	struct sgate_session *s = NULL;
	struct world w;
	struct made made;

	(void)state;
	fault_start(&w);
	world_create(&w, "ann", &made);
	sgate_manager_free(w.mgr);
	fake_reset(false);
	w.mgr = world_manager(&w, &durable_fake);
	assert_status(&w,
	    sgate_session_get(w.mgr, B(made.token), 0, &s, &w.err),
	    SGATE_UNAVAILABLE);
	assert_int_equal(w.err.reason, SGATE_REASON_STORE);
	assert_status(&w, try_create(&w, ""), SGATE_UNAVAILABLE);
	made_clear(&made);
	fault_stop(&w);
}

static void
a_touch_that_fails_fails_no_look(void **state)
{
	struct sgate_session *s = NULL;
	struct world w;
	struct made made;

	(void)state;
	fault_start(&w);
	world_create(&w, "ann", &made);
	w.now_ms += 20 * MINUTE;
	fake_script("touch", 1, FAKE_UNAVAILABLE);
	assert_status(&w,
	    sgate_session_get(w.mgr, B(made.token), 0, &s, &w.err), SGATE_OK);
	assert_int_equal(
	    sgate_session_get_last_seen_ms(s), w.now_ms - 20 * MINUTE);
	sgate_session_free(s);
	/* An extension is waited for: it says when it could not. */
	fake_script("touch", 1, FAKE_UNAVAILABLE);
	fake_script("touch", 2, FAKE_UNAVAILABLE);
	assert_status(&w,
	    sgate_session_extend(w.mgr, B(made.token), &s, &w.err),
	    SGATE_UNAVAILABLE);
	close_breaker(&w);
	fake_script("touch", 1, FAKE_UNCERTAIN_DONE);
	assert_status(&w,
	    sgate_session_extend(w.mgr, B(made.token), &s, &w.err), SGATE_OK);
	sgate_session_free(s);
	made_clear(&made);
	fault_stop(&w);
}

static void
a_theft_that_cannot_be_recorded_is_unavailable(void **state)
{
	struct sgate_session *s = NULL;
	struct world w;
	struct made made;
	char *token = NULL;

	(void)state;
	fault_start(&w);
	world_create(&w, "ann", &made);
	assert_status(&w,
	    sgate_session_rotate(w.mgr, B(made.token), &s, &token, &w.err),
	    SGATE_OK);
	sgate_session_free(s);
	assert_int_equal(world_look(&w, token), SGATE_REASON_OK);
	w.now_ms += 10001;
	fake_script("begin", 1, FAKE_UNAVAILABLE);
	fake_script("begin", 2, FAKE_UNAVAILABLE);
	assert_status(&w,
	    sgate_session_get(w.mgr, B(made.token), 0, &s, &w.err),
	    SGATE_UNAVAILABLE);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_THEFT);
	sgate_token_free(token);
	made_clear(&made);
	fault_stop(&w);
}

/* ---- a commit without an answer ---- */

/* The audit table says that it happened. */
static void
a_create_whose_commit_is_uncertain_and_done_is_acknowledged(void **state)
{
	struct world w;
	struct made made;

	(void)state;
	fault_start(&w);
	fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
	world_create(&w, "ann", &made);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_int_equal(fake_calls("begin"), 1);
	assert_int_equal(count_live(&w), 1);
	assert_int_equal(world_audit(&w, NULL, NULL), 1);
	made_clear(&made);
	fault_stop(&w);
}

static void
a_create_whose_commit_is_uncertain_and_lost_is_repeated(void **state)
{
	struct world w;
	struct made made;

	(void)state;
	fault_start(&w);
	fake_script("commit", 1, FAKE_UNCERTAIN_LOST);
	world_create(&w, "ann", &made);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_int_equal(fake_calls("begin"), 2);
	assert_int_equal(count_live(&w), 1);
	assert_int_equal(world_audit(&w, NULL, NULL), 1);
	made_clear(&made);
	fault_stop(&w);
}

/* Nobody can say, so the second try meets its own audit row. */
static void
a_second_try_that_meets_its_own_event_was_done(void **state)
{
	struct world w;
	struct made made;

	(void)state;
	fault_start(&w);
	fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
	fake_script("audit_exists", 1, FAKE_UNAVAILABLE);
	world_create(&w, "ann", &made);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_int_equal(fake_calls("audit_insert"), 2);
	assert_int_equal(count_live(&w), 1);
	assert_int_equal(world_audit(&w, NULL, NULL), 1);
	made_clear(&made);
	fault_stop(&w);
}

static void
a_create_that_stays_uncertain_is_settled_by_its_key(void **state)
{
	struct world w;

	(void)state;
	fault_start(&w);
	/* It was done, and nobody can say so. */
	fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
	fake_script("audit_exists", 1, FAKE_UNAVAILABLE);
	fake_script("begin", 2, FAKE_UNAVAILABLE);
	assert_status(&w, try_create(&w, "k"), SGATE_UNCERTAIN);
	assert_int_equal(w.err.status, SGATE_UNCERTAIN);
	close_breaker(&w);
	assert_status(&w, try_create(&w, "k"), SGATE_OK);
	assert_int_equal(count_live(&w), 1);
	/* It was not. */
	fake_script("commit", 1, FAKE_UNCERTAIN_LOST);
	fake_script("commit", 2, FAKE_UNCERTAIN_LOST);
	assert_status(&w, try_create(&w, "k2"), SGATE_UNCERTAIN);
	assert_int_equal(count_live(&w), 1);
	assert_status(&w, try_create(&w, "k2"), SGATE_OK);
	assert_int_equal(count_live(&w), 2);
	assert_int_equal(world_audit(&w, "create", NULL), 2);
	fault_stop(&w);
}

/* Whatever keeps the second try from an answer, the first may have happened. */
static void
a_second_try_that_cannot_answer_leaves_the_first_in_doubt(void **state)
{
	const enum fake_answer answers[] = {
	    FAKE_UNAVAILABLE, FAKE_CORRUPT, FAKE_NO_MEMORY};
	struct world w;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		fault_start(&w);
		fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
		fake_script("audit_exists", 1, answers[i]);
		fake_script("begin", 2, answers[i]);
		assert_status(&w, try_create(&w, ""), SGATE_UNCERTAIN);
		assert_int_equal(w.err.status, SGATE_UNCERTAIN);
		assert_int_equal(w.err.reason, SGATE_REASON_STORE);
		assert_int_equal(count_live(&w), 1);
		fault_stop(&w);
	}
}

static void
every_other_change_with_an_uncertain_commit_happens_once(void **state)
{
	const enum fake_answer answers[] = {
	    FAKE_UNCERTAIN_DONE, FAKE_UNCERTAIN_LOST};
	struct sgate_update u = {.data_patch = B("{\"a\":1}")};
	struct sgate_session *s = NULL;
	struct world w;
	struct made made, other;
	char *token = NULL;
	uint64_t count = 0;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		fault_start(&w);
		world_create(&w, "ann", &made);
		world_create(&w, "ann", &other);
		fake_script("commit", 1, answers[i]);
		assert_status(&w,
		    sgate_session_update(w.mgr, &made.ref, &u, &s, &w.err),
		    SGATE_OK);
		assert_int_equal(sgate_session_get_version(s), 2);
		sgate_session_free(s);
		fake_script("commit", 1, answers[i]);
		assert_status(&w,
		    sgate_session_rotate(
			w.mgr, B(made.token), &s, &token, &w.err),
		    SGATE_OK);
		assert_int_equal(sgate_session_get_version(s), 3);
		sgate_session_free(s);
		assert_int_equal(world_look(&w, token), SGATE_REASON_OK);
		sgate_token_free(token);
		close_breaker(&w);
		fake_script("commit", 1, answers[i]);
		assert_status(&w,
		    sgate_session_end(
			w.mgr, &made.ref, SGATE_REASON_REVOKED, &w.err),
		    SGATE_OK);
		fake_script("commit", 1, answers[i]);
		assert_status(&w,
		    sgate_user_cleanup(w.mgr, B("ann"), NULL,
			SGATE_REASON_REVOKED, &count, &w.err),
		    SGATE_OK);
		assert_int_equal(count, 1);
		s = world_row(&w, &made.ref);
		assert_int_equal(s->version, 4);
		sgate_session_free(s);
		assert_int_equal(world_audit(&w, "update", NULL), 1);
		assert_int_equal(world_audit(&w, "rotate", NULL), 1);
		assert_int_equal(world_audit(&w, "cleanup", NULL), 1);
		assert_int_equal(world_audit(&w, "end", NULL), 2);
		made_clear(&made);
		made_clear(&other);
		fault_stop(&w);
	}
}

/* ---- nothing changes when a step fails ---- */

#define CHANGES 7

/* One change of each kind; the user "ann" has the session *made. */
static enum sgate_status
change(struct world *w, int kind, const struct made *made)
{
	struct sgate_update u = {.data_patch = B("{\"a\":1}")};
	struct sgate_session *s = NULL;
	char *token = NULL;
	enum sgate_status status;
	uint64_t count;

	switch (kind) {
	case 0:
		return try_create(w, "key");
	case 1:
		return sgate_session_update(
		    w->mgr, &made->ref, &u, NULL, &w->err);
	case 2:
		status = sgate_session_rotate(
		    w->mgr, B(made->token), &s, &token, &w->err);
		sgate_session_free(s);
		sgate_token_free(token);
		return status;
	case 3:
		return sgate_session_end(
		    w->mgr, &made->ref, SGATE_REASON_REVOKED, &w->err);
	case 4:
		return sgate_session_end_token(
		    w->mgr, B(made->token), SGATE_REASON_LOGGED_OUT, &w->err);
	case 5:
		return sgate_user_cleanup(w->mgr, B("ann"), NULL,
		    SGATE_REASON_REVOKED, &count, &w->err);
	default:
		return sgate_user_block(
		    w->mgr, B("ann"), B("x"), &count, &w->err);
	}
}

/* The same change after it: nothing of the failed one may be in its way. */
static void
fails_whole(int kind, const char *operation, unsigned nth,
    enum fake_answer answer, enum sgate_status expected)
{
	struct sgate_session *row;
	enum sgate_status status;
	struct world w;
	struct made made;
	unsigned calls;

	fault_start(&w);
	world_create(&w, "ann", &made);
	calls = fake_calls(operation);
	fake_script(operation, nth, answer);
	/* There is a second try, and it comes as far as the first. */
	if (answer == FAKE_UNAVAILABLE)
		fake_script(operation, 2 * nth, answer);
	status = change(&w, kind, &made);
	if (fake_calls(operation) < calls + nth) {
		/* This change does not do that. */
		assert_status(&w, status, SGATE_OK);
	} else {
		assert_status(&w, status, expected);
		assert_true(fake_is_idle());
		row = world_row(&w, &made.ref);
		assert_int_equal(row->version, 1);
		assert_int_equal(row->state, SESSION_LIVE);
		sgate_session_free(row);
		assert_int_equal(count_live(&w), 1);
		assert_int_equal(world_audit(&w, NULL, NULL), 1);
		assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	}
	made_clear(&made);
	fault_stop(&w);
}

static void
nothing_changes_when_any_step_is_unavailable(void **state)
{
	const char *const operations[] = {"begin", "audit_insert",
	    "idempotency_insert", "user_lock", "user_block", "session_insert",
	    "session_store", "counter_next", "commit"};
	size_t i;
	int kind;

	(void)state;
	for (kind = 0; kind < CHANGES; kind++)
		for (i = 0; i < sizeof(operations) / sizeof(operations[0]);
		     i++) {
			fails_whole(kind, operations[i], 1, FAKE_UNAVAILABLE,
			    SGATE_UNAVAILABLE);
			fails_whole(kind, operations[i], 1, FAKE_NO_MEMORY,
			    SGATE_NO_MEMORY);
		}
}

/* The row of the session that ends with a cleanup, not the cleanup's own. */
static void
nothing_changes_when_a_later_audit_row_fails(void **state)
{
	(void)state;
	fails_whole(5, "audit_insert", 2, FAKE_UNAVAILABLE, SGATE_UNAVAILABLE);
	fails_whole(6, "audit_insert", 2, FAKE_UNAVAILABLE, SGATE_UNAVAILABLE);
	fails_whole(5, "audit_insert", 2, FAKE_CONFLICT, SGATE_INTERNAL);
}

static void
what_cannot_be_ours_is_no_repeat(void **state)
{
	(void)state;
	fails_whole(0, "audit_insert", 1, FAKE_CONFLICT, SGATE_INTERNAL);
	fails_whole(3, "audit_insert", 1, FAKE_CONFLICT, SGATE_INTERNAL);
	fails_whole(0, "session_insert", 1, FAKE_CONFLICT, SGATE_INTERNAL);
	fails_whole(1, "session_get", 2, FAKE_CORRUPT, SGATE_CORRUPT);
}

static void
a_change_that_fails_once_is_tried_again(void **state)
{
	struct world w;
	struct made made;
	int kind;

	(void)state;
	for (kind = 0; kind < CHANGES; kind++) {
		fault_start(&w);
		world_create(&w, "ann", &made);
		fake_script("begin", 1, FAKE_UNAVAILABLE);
		assert_status(&w, change(&w, kind, &made), SGATE_OK);
		made_clear(&made);
		fault_stop(&w);
		fault_start(&w);
		world_create(&w, "ann", &made);
		fake_script("commit", 1, FAKE_UNAVAILABLE);
		assert_status(&w, change(&w, kind, &made), SGATE_OK);
		made_clear(&made);
		fault_stop(&w);
	}
}

/* ---- care ---- */

static void
a_reap_that_fails_goes_on_where_it_was(void **state)
{
	struct sgate_reaped reaped;
	struct world w;
	struct made made;

	(void)state;
	fault_start(&w);
	world_create(&w, "ann", &made);
	w.now_ms += 8 * HOUR;
	fake_script("commit", 1, FAKE_UNAVAILABLE);
	fake_script("commit", 2, FAKE_UNAVAILABLE);
	assert_status(
	    &w, sgate_reap(w.mgr, &reaped, &w.err), SGATE_UNAVAILABLE);
	assert_int_equal(reaped.ended, 0);
	assert_int_equal(world_audit(&w, "end", NULL), 0);
	/* Nobody knows, and it is asked again: once is enough. */
	close_breaker(&w);
	fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
	assert_status(&w, sgate_reap(w.mgr, &reaped, &w.err), SGATE_OK);
	assert_int_equal(world_audit(&w, "end", &made.ref), 1);
	made_clear(&made);
	fault_stop(&w);
}

static void
health_tells_of_a_store_that_is_down(void **state)
{
	struct sgate_health health;
	struct world w;

	(void)state;
	fault_start(&w);
	fake_script("ping", 1, FAKE_UNAVAILABLE);
	assert_status(&w, sgate_health(w.mgr, &health, &w.err), SGATE_OK);
	assert_false(health.durable_up);
	assert_non_null(strstr(health.durable_text, "as scripted"));
	assert_string_equal(health.durable_name, "fake");
	fault_stop(&w);
}

/* A service key and its audit row stand or fall together. */
static void
a_service_key_without_its_audit_row_is_none(void **state)
{
	struct durable_service svc = {.name = "cron", .scopes = "create"};
	char key[MANAGER_SERVICE_KEY_LEN + 1];
	struct world w;

	(void)state;
	fault_start(&w);
	fake_script("audit_insert", 1, FAKE_NO_MEMORY);
	assert_status(
	    &w, manager_service_add(w.mgr, &svc, key, &w.err), SGATE_NO_MEMORY);
	assert_string_equal(key, "");
	fake_script("commit", 1, FAKE_UNCERTAIN_LOST);
	assert_status(
	    &w, manager_service_add(w.mgr, &svc, key, &w.err), SGATE_OK);
	assert_int_equal(world_audit(&w, "service_add", NULL), 1);
	fake_script("service_remove", 1, FAKE_NO_MEMORY);
	assert_status(
	    &w, manager_service_remove(w.mgr, "cron", &w.err), SGATE_NO_MEMORY);
	assert_int_equal(world_audit(&w, "service_remove", NULL), 0);
	fault_stop(&w);
}

static const struct CMUnitTest manager_fault[] = {
    cmocka_unit_test(a_store_that_cannot_answer_is_never_not_found),
    cmocka_unit_test(a_store_without_tables_is_unavailable),
    cmocka_unit_test(a_touch_that_fails_fails_no_look),
    cmocka_unit_test(a_theft_that_cannot_be_recorded_is_unavailable),
    cmocka_unit_test(
	a_create_whose_commit_is_uncertain_and_done_is_acknowledged),
    cmocka_unit_test(a_create_whose_commit_is_uncertain_and_lost_is_repeated),
    cmocka_unit_test(a_second_try_that_meets_its_own_event_was_done),
    cmocka_unit_test(a_create_that_stays_uncertain_is_settled_by_its_key),
    cmocka_unit_test(a_second_try_that_cannot_answer_leaves_the_first_in_doubt),
    cmocka_unit_test(every_other_change_with_an_uncertain_commit_happens_once),
    cmocka_unit_test(nothing_changes_when_any_step_is_unavailable),
    cmocka_unit_test(nothing_changes_when_a_later_audit_row_fails),
    cmocka_unit_test(what_cannot_be_ours_is_no_repeat),
    cmocka_unit_test(a_change_that_fails_once_is_tried_again),
    cmocka_unit_test(a_reap_that_fails_goes_on_where_it_was),
    cmocka_unit_test(health_tells_of_a_store_that_is_down),
    cmocka_unit_test(a_service_key_without_its_audit_row_is_none),
};

TAP_MAIN(manager_fault)
