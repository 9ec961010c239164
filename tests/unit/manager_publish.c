/*
 * What a change tells the cache when it is committed, and what it makes of the
 * answer. Each case says which store served.
 */
#include "tap.h"

#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

static void
update(struct pair *p, struct sgate_manager *mgr, const struct sgate_ref *ref,
    const char *patch)
{
	struct sgate_update u = {.data_patch = B(patch)};

	assert_status(&p->w,
	    sgate_session_update(mgr, ref, &u, NULL, &p->w.err), SGATE_OK);
}

static enum sgate_status
try_create(struct pair *p, const char *user)
{
	struct sgate_create create = {.user_id = B(user)};
	struct sgate_session *s = NULL;
	char *token = NULL;
	enum sgate_status status;

	status = sgate_session_create(p->w.mgr, &create, &s, &token, &p->w.err);
	assert_int_equal(s != NULL, status == SGATE_OK);
	assert_int_equal(token != NULL, status == SGATE_OK);
	sgate_session_free(s);
	sgate_token_free(token);
	return status;
}

static void
end(struct pair *p, struct sgate_manager *mgr, const struct sgate_ref *ref)
{
	assert_status(&p->w,
	    sgate_session_end(mgr, ref, SGATE_REASON_LOGGED_OUT, &p->w.err),
	    SGATE_OK);
}

/* What happens before or after one operation of the cache. */
struct moment {
	const char *operation;
	bool is_after;
	void (*act)(struct moment *moment);
	struct pair *p;
	struct sgate_manager *other;
	struct sgate_ref ref;
	int times;
};

static void
at_moment(void *arg, const char *operation, bool is_after)
{
	struct moment *moment = arg;

	if (moment->times == 0 || is_after != moment->is_after ||
	    strcmp(operation, moment->operation) != 0)
		return;
	moment->times--;
	moment->act(moment);
}

/* ---- changes ---- */

static void
a_change_is_in_the_copy_when_it_is_acknowledged(void **state)
{
	struct sgate_session *s;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	assert_int_equal(pair_version(&made.ref), 1);
	assert_int_equal(cache_fake_ttl(&made.ref), 34 * MINUTE);
	update(&p, p.w.mgr, &made.ref, "{\"a\":1}");
	assert_string_equal(manager_served_by(p.w.mgr), ROW);
	assert_int_equal(pair_version(&made.ref), 2);
	s = pair_get(&p, made.token, COPY);
	assert_bytes(sgate_session_get_data(s), "{\"a\":1}");
	assert_int_equal(s->seq, 1);
	sgate_session_free(s);
	assert_int_equal(pair_count(&p, STORES_PUBLISHED), 2);
	assert_int_equal(pair_count(&p, STORES_REPAIRED), 0);
	made_clear(&made);
	pair_stop(&p);
}

/*
 * Trace 1: update 1 commits version 2, update 2 commits version 3 and puts it,
 * update 1 puts version 2.
 */
static void
update_first(struct moment *moment)
{
	update(moment->p, moment->other, &moment->ref, "{\"b\":2}");
}

static void
a_slow_change_does_not_overwrite_a_newer_one(void **state)
{
	struct sgate_session *s;
	struct moment moment;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	moment = (struct moment){.operation = "put",
	    .act = update_first,
	    .p = &p,
	    .other = pair_manager(&p),
	    .ref = made.ref,
	    .times = 1};
	cache_fake_set_hook(at_moment, &moment);
	update(&p, p.w.mgr, &made.ref, "{\"a\":1}");
	assert_int_equal(pair_version(&made.ref), 3);
	pair_durable_down(&p);
	s = pair_get(&p, made.token, COPY);
	assert_bytes(sgate_session_get_data(s), "{\"a\":1,\"b\":2}");
	sgate_session_free(s);
	sgate_manager_free(moment.other);
	made_clear(&made);
	pair_stop(&p);
}

/* Done by a server that was stopped and goes on, long after. */
static void
a_put_that_comes_late_overwrites_nothing_newer(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	cache_fake_script("put", 1, CACHE_FAKE_LATE);
	update(&p, p.w.mgr, &made.ref, "{\"a\":1}");
	update(&p, p.w.mgr, &made.ref, "{\"b\":1}");
	assert_int_equal(pair_version(&made.ref), 3);
	cache_fake_script("put", 1, CACHE_FAKE_LATE);
	update(&p, p.w.mgr, &made.ref, "{\"c\":1}");
	end(&p, p.w.mgr, &made.ref);
	cache_fake_wake();
	assert_int_equal(pair_state(&made.ref), 'T');
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_LOGGED_OUT, COPY);
	made_clear(&made);
	pair_stop(&p);
}

/* One of its group has changed: the keepers bring it with that one. */
static void
no_answer_of_redis_fails_a_change(void **state)
{
	static const enum cache_fake_answer answers[] = {CACHE_FAKE_UNAVAILABLE,
	    CACHE_FAKE_DONE, CACHE_FAKE_LATE, CACHE_FAKE_NO_MEMORY};
	struct sgate_session *s = NULL;
	struct made made;
	struct pair p;
	char *token = NULL;
	uint64_t count;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		pair_start(&p);
		cache_fake_set_down(true, answers[i]);
		world_create(&p.w, "ann", &made);
		update(&p, p.w.mgr, &made.ref, "{\"a\":1}");
		assert_status(&p.w,
		    sgate_session_rotate(
			p.w.mgr, B(made.token), &s, &token, &p.w.err),
		    answers[i] == CACHE_FAKE_NO_MEMORY ? SGATE_NO_MEMORY
						       : SGATE_OK);
		sgate_session_free(s);
		sgate_token_free(token);
		end(&p, p.w.mgr, &made.ref);
		assert_status(&p.w,
		    sgate_user_block(
			p.w.mgr, B("ann"), B("x"), &count, &p.w.err),
		    SGATE_OK);
		assert_string_equal(manager_served_by(p.w.mgr), ROW);
		assert_int_equal(pair_count(&p, STORES_PUBLISHED), 0);
		assert_true(pair_count(&p, STORES_CACHE_ERRORS) > 0);
		s = NULL;
		token = NULL;
		made_clear(&made);
		pair_stop(&p);
	}
}

static void
another_change_of_the_group_does_not_fail_a_change(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	/* Sync of this group runs ahead: RETRY, and then none: NOSYNC. */
	cache_fake_set_sync(token_ref_group(&made.ref),
	    "99 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 1");
	update(&p, p.w.mgr, &made.ref, "{\"a\":1}");
	cache_fake_flush();
	update(&p, p.w.mgr, &made.ref, "{\"b\":1}");
	assert_int_equal(pair_count(&p, STORES_PUT_RETRIES), 1);
	assert_int_equal(pair_count(&p, STORES_PUBLISHED), 1);
	assert_int_equal(pair_state(&made.ref), '\0');
	made_clear(&made);
	pair_stop(&p);
}

/* A tombstone for an end that was acknowledged, wherever. */
static void
a_change_of_what_has_ended_in_redis_is_refused(void **state)
{
	struct sgate_update u = {.data_patch = B("{\"a\":1}")};
	struct sgate_session *s = NULL;
	struct buf text = {0};
	struct made made;
	struct pair p;
	char *token = NULL;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	record_tombstone_write(&fake_server()->store,
	    &(struct record_tombstone){9, SGATE_REASON_REVOKED, 1}, &text);
	cache_fake_set_record(&made.ref, buf_bytes(&text), HOUR);
	assert_status(&p.w,
	    sgate_session_update(p.w.mgr, &made.ref, &u, &s, &p.w.err),
	    SGATE_NOT_FOUND);
	assert_int_equal(p.w.err.reason, SGATE_REASON_REVOKED);
	assert_string_equal(manager_served_by(p.w.mgr), COPY);
	assert_status(&p.w,
	    sgate_session_rotate(p.w.mgr, B(made.token), &s, &token, &p.w.err),
	    SGATE_NOT_FOUND);
	assert_null(s);
	assert_null(token);
	buf_clear(&text);
	made_clear(&made);
	pair_stop(&p);
}

/* The copy has the epoch of the row, not one that is remembered. */
static void
a_record_has_the_epoch_that_was_read_with_its_row(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	fake_server()->store.epoch = 3;
	update(&p, p.w.mgr, &made.ref, "{\"a\":1}");
	assert_memory_equal(
	    cache_fake_record(&made.ref).data, "L0003000000000002", 17);
	end(&p, p.w.mgr, &made.ref);
	assert_memory_equal(
	    cache_fake_record(&made.ref).data, "T0003000000000003", 17);
	made_clear(&made);
	pair_stop(&p);
}

/* ---- a commit without an answer ---- */

static void
what_was_settled_as_done_is_told_to_redis(void **state)
{
	struct sgate_session *s = NULL;
	struct made made;
	struct pair p;
	char *token = NULL;
	int by_audit;

	(void)state;
	for (by_audit = 0; by_audit < 2; by_audit++) {
		pair_start(&p);
		fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
		if (!by_audit)
			fake_script("audit_exists", 1, FAKE_UNAVAILABLE);
		world_create(&p.w, "ann", &made);
		assert_int_equal(pair_version(&made.ref), 1);
		pair_durable_back(&p);
		fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
		if (!by_audit)
			fake_script("audit_exists", 1, FAKE_UNAVAILABLE);
		update(&p, p.w.mgr, &made.ref, "{\"a\":1}");
		assert_int_equal(pair_version(&made.ref), 2);
		pair_durable_back(&p);
		fake_script("commit", 1, FAKE_UNCERTAIN_LOST);
		assert_status(&p.w,
		    sgate_session_rotate(
			p.w.mgr, B(made.token), &s, &token, &p.w.err),
		    SGATE_OK);
		assert_int_equal(pair_version(&made.ref), 3);
		pair_durable_back(&p);
		fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
		if (!by_audit)
			fake_script("audit_exists", 1, FAKE_UNAVAILABLE);
		end(&p, p.w.mgr, &made.ref);
		assert_int_equal(
		    pair_tombstone(&made.ref), SGATE_REASON_LOGGED_OUT);
		pair_expect(&p, p.w.mgr, token, SGATE_REASON_LOGGED_OUT, COPY);
		sgate_session_free(s);
		sgate_token_free(token);
		made_clear(&made);
		pair_stop(&p);
	}
}

static void
what_was_not_committed_is_told_to_nobody(void **state)
{
	struct sgate_update u = {.data_patch = B("{\"a\":1}")};
	struct made made;
	struct pair p;
	unsigned puts;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	puts = cache_fake_calls("put") + cache_fake_calls("end");
	fake_script("commit", 1, FAKE_UNAVAILABLE);
	fake_script("commit", 2, FAKE_UNAVAILABLE);
	assert_status(&p.w,
	    sgate_session_update(p.w.mgr, &made.ref, &u, NULL, &p.w.err),
	    SGATE_UNAVAILABLE);
	fake_script("commit", 1, FAKE_UNCERTAIN_LOST);
	fake_script("audit_exists", 1, FAKE_UNAVAILABLE);
	fake_script("begin", 2, FAKE_UNAVAILABLE);
	pair_durable_back(&p);
	assert_status(&p.w,
	    sgate_session_end(
		p.w.mgr, &made.ref, SGATE_REASON_REVOKED, &p.w.err),
	    SGATE_UNCERTAIN);
	pair_durable_back(&p);
	fake_script("snapshot", 1, FAKE_UNAVAILABLE);
	fake_script("snapshot", 2, FAKE_UNAVAILABLE);
	assert_status(&p.w,
	    sgate_session_update(p.w.mgr, &made.ref, &u, NULL, &p.w.err),
	    SGATE_UNAVAILABLE);
	assert_int_equal(
	    cache_fake_calls("put") + cache_fake_calls("end"), puts);
	pair_durable_back(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_stop(&p);
}

static struct pair *rolled_back_pair;
static struct sgate_manager *rolled_back_other;
static struct sgate_ref rolled_back_ref;

/* Somebody else ends the session between two tries. */
static void
rollback_and_end(struct durable *d)
{
	struct sgate_manager *other = rolled_back_other;

	durable_fake.rollback(d);
	rolled_back_other = NULL;
	if (other != NULL)
		end(rolled_back_pair, other, &rolled_back_ref);
}

/* The second try has nothing to tell; what the first had is forgotten. */
static void
what_a_first_try_had_to_tell_goes_with_it(void **state)
{
	struct durable_ops ops;
	struct sgate_manager *other;
	struct made made;
	struct pair p;
	uint64_t count;
	int is_cleanup;

	(void)state;
	for (is_cleanup = 0; is_cleanup < 2; is_cleanup++) {
		pair_start(&p);
		world_create(&p.w, "ann", &made);
		other = pair_manager(&p);
		ops = durable_fake;
		ops.rollback = rollback_and_end;
		p.w.mgr->ops = &ops;
		rolled_back_pair = &p;
		rolled_back_other = other;
		rolled_back_ref = made.ref;
		fake_script("commit", 1, FAKE_REFUSED);
		if (is_cleanup) {
			assert_status(&p.w,
			    sgate_user_cleanup(p.w.mgr, B("ann"), NULL,
				SGATE_REASON_REVOKED, &count, &p.w.err),
			    SGATE_OK);
			assert_int_equal(count, 0);
		} else {
			assert_status(&p.w,
			    sgate_session_end(p.w.mgr, &made.ref,
				SGATE_REASON_REVOKED, &p.w.err),
			    SGATE_OK);
		}
		assert_null(rolled_back_other);
		assert_int_equal(
		    pair_tombstone(&made.ref), SGATE_REASON_LOGGED_OUT);
		sgate_manager_free(other);
		made_clear(&made);
		pair_stop(&p);
	}
}

/* Whoever was not told how it went asks again, and is told when Redis was. */
static void
an_end_that_is_repeated_is_told_again(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	cache_fake_script("end", 1, CACHE_FAKE_UNAVAILABLE);
	end(&p, p.w.mgr, &made.ref);
	assert_int_equal(pair_state(&made.ref), 'L');
	pair_cache_back(&p);
	assert_status(&p.w,
	    sgate_session_end(
		p.w.mgr, &made.ref, SGATE_REASON_REVOKED, &p.w.err),
	    SGATE_OK);
	assert_int_equal(pair_tombstone(&made.ref), SGATE_REASON_LOGGED_OUT);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_LOGGED_OUT, COPY);
	assert_int_equal(world_audit(&p.w, "end", NULL), 1);
	made_clear(&made);
	pair_stop(&p);
}

/* The call has used its time up in MySQL: Redis is tried all the same. */
static void
redis_is_tried_when_the_time_is_up(void **state)
{
	struct sgate_error err;
	struct pair p;

	(void)state;
	pair_start(&p);
	manager_begin(p.w.mgr, &err);
	p.w.mgr->call.deadline_ms = clock_monotonic_ms() - 1;
	assert_int_equal(
	    manager_cache_enter(p.w.mgr, true, &err), SGATE_UNAVAILABLE);
	assert_int_equal(manager_cache_enter(p.w.mgr, false, &err), SGATE_OK);
	assert_true(p.w.mgr->cache->deadline_ms > clock_monotonic_ms());
	p.w.mgr->call.deadline_ms = clock_monotonic_ms() + 20;
	assert_int_equal(manager_cache_enter(p.w.mgr, true, &err), SGATE_OK);
	assert_true(p.w.mgr->cache->deadline_ms <= p.w.mgr->call.deadline_ms);
	assert_int_equal(pair_count(&p, STORES_CACHE_ERRORS), 0);
	pair_stop(&p);
}

/* ---- create ---- */

static void
change_another(struct moment *moment)
{
	pair_other_change(moment->p, &moment->ref);
	pair_round(moment->p, &moment->p->stores);
}

/*
 * Trace 17: no keeper brings what never changed, so a create that is
 * acknowledged after RETRY would be nowhere when MySQL goes away.
 */
static void
a_create_in_a_group_that_changes_is_in_redis(void **state)
{
	struct sgate_create create = {.user_id = B("ann")};
	struct sgate_session *session;
	char *token;
	struct moment moment;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	moment = (struct moment){.operation = "put",
	    .act = change_another,
	    .p = &p,
	    .ref = made.ref, /* of ann's group, as the next one is */
	    .times = 2};
	made_clear(&made);
	cache_fake_set_hook(at_moment, &moment);
	world_create(&p.w, "ann", &made);
	assert_string_equal(manager_served_by(p.w.mgr), ROW);
	assert_int_equal(pair_count(&p, STORES_PUT_RETRIES), 2);
	assert_int_equal(pair_state(&made.ref), 'L');
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_durable_back(&p);
	/* Twice at most; and who goes away in between has failed: nobody could
	 * look at the session before it is back. */
	moment.times = 1000;
	world_create(&p.w, "ann", &made);
	assert_int_equal(pair_count(&p, STORES_PUT_RETRIES), 5);
	made_clear(&made);
	fake_script("session_get", 1, FAKE_UNAVAILABLE);
	assert_status(&p.w,
	    sgate_session_create(p.w.mgr, &create, &session, &token, &p.w.err),
	    SGATE_UNCERTAIN);
	assert_null(session);
	assert_null(token);
	pair_stop(&p);
}

static void
clean_up(struct moment *moment)
{
	struct pair *p = moment->p;
	uint64_t count;

	assert_status(&p->w,
	    sgate_user_cleanup(moment->other, B("ann"), NULL,
		SGATE_REASON_REVOKED, &count, &p->w.err),
	    SGATE_OK);
	assert_int_equal(count, 1);
	pair_round(p, &p->stores);
}

static void
clean_up_and_forget(struct moment *moment)
{
	clean_up(moment);
	cache_fake_flush();
	pair_round(moment->p, &moment->p->stores);
}

/* Ended before it was acknowledged: seen by its tombstone, or by its row. */
/* No answer is not "read it again": one time-out, and no more questions. */
static void
a_create_that_redis_does_not_take_asks_nobody_again(void **state)
{
	static const enum cache_fake_answer answers[] = {
	    CACHE_FAKE_UNAVAILABLE, CACHE_FAKE_DONE, CACHE_FAKE_LATE};
	unsigned puts, reads;
	struct made made;
	struct pair p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		pair_start(&p);
		puts = cache_fake_calls("put");
		reads = fake_calls("session_get");
		cache_fake_script("put", 1, answers[i]);
		world_create(&p.w, "ann", &made);
		assert_int_equal(cache_fake_calls("put"), puts + 1);
		assert_int_equal(fake_calls("session_get"), reads);
		assert_int_equal(pair_count(&p, STORES_PUT_RETRIES), 0);
		pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK,
		    answers[i] == CACHE_FAKE_DONE ? COPY : ROW);
		made_clear(&made);
		pair_stop(&p);
	}
}

static void
a_create_that_a_cleanup_ends_at_once_is_refused(void **state)
{
	struct moment moment;
	struct pair p;
	int is_forgotten;

	(void)state;
	for (is_forgotten = 0; is_forgotten < 2; is_forgotten++) {
		pair_start(&p);
		moment = (struct moment){.operation = "put",
		    .act = is_forgotten ? clean_up_and_forget : clean_up,
		    .p = &p,
		    .other = pair_manager(&p),
		    .times = 1};
		cache_fake_set_hook(at_moment, &moment);
		assert_int_equal(try_create(&p, "ann"), SGATE_NOT_FOUND);
		assert_int_equal(p.w.err.reason, SGATE_REASON_REVOKED);
		assert_int_equal(moment.times, 0);
		assert_int_equal(cache_fake_count(), is_forgotten ? 0 : 1);
		assert_int_equal(try_create(&p, "ann"), SGATE_OK);
		sgate_manager_free(moment.other);
		pair_stop(&p);
	}
}

/* ---- ends ---- */

static void
every_end_leaves_a_tombstone_with_its_reason(void **state)
{
	struct sgate_create anonymous = {0}, login = {.user_id = B("ann")};
	struct made first, second, third;
	struct pair p;
	uint64_t count;

	(void)state;
	pair_start(&p);
	p.w.mgr->conf->session.max_sessions = 2;
	world_create_with(&p.w, &anonymous, &first);
	assert_int_equal(pair_state(&first.ref), 'L');
	login.replaces = B(first.token);
	world_create_with(&p.w, &login, &second);
	assert_int_equal(pair_tombstone(&first.ref), SGATE_REASON_REPLACED);
	/* Its whole life was the idle timeout. */
	assert_int_equal(cache_fake_ttl(&first.ref), 31 * MINUTE);
	pair_expect(&p, p.w.mgr, first.token, SGATE_REASON_REPLACED, COPY);
	made_clear(&first);
	p.w.now_ms++;
	world_create(&p.w, "ann", &first);
	p.w.now_ms++;
	world_create(&p.w, "ann", &third);
	assert_int_equal(pair_tombstone(&second.ref), SGATE_REASON_LIMIT);
	assert_int_equal(cache_fake_ttl(&second.ref), 8 * HOUR + MINUTE - 2);
	pair_expect(&p, p.w.mgr, second.token, SGATE_REASON_LIMIT, COPY);
	pair_expect(&p, p.w.mgr, third.token, SGATE_REASON_OK, COPY);
	assert_status(&p.w,
	    sgate_user_cleanup(p.w.mgr, B("ann"), &third.ref,
		SGATE_REASON_LOGGED_OUT, &count, &p.w.err),
	    SGATE_OK);
	assert_int_equal(count, 1);
	assert_string_equal(manager_served_by(p.w.mgr), ROW);
	pair_expect(&p, p.w.mgr, first.token, SGATE_REASON_LOGGED_OUT, COPY);
	pair_expect(&p, p.w.mgr, third.token, SGATE_REASON_OK, COPY);
	assert_status(&p.w,
	    sgate_user_block(p.w.mgr, B("ann"), B("x"), &count, &p.w.err),
	    SGATE_OK);
	assert_int_equal(count, 1);
	pair_expect(&p, p.w.mgr, third.token, SGATE_REASON_BLOCKED, COPY);
	made_clear(&first);
	made_clear(&second);
	made_clear(&third);
	pair_stop(&p);
}

static void
a_cleanup_of_many_is_one_script(void **state)
{
	struct made made[20];
	struct pair p;
	uint64_t count;
	size_t i;

	(void)state;
	pair_start(&p);
	for (i = 0; i < 20; i++)
		world_create(&p.w, "ann", &made[i]);
	assert_status(&p.w,
	    sgate_user_cleanup(p.w.mgr, B("ann"), NULL, SGATE_REASON_REVOKED,
		&count, &p.w.err),
	    SGATE_OK);
	assert_int_equal(count, 20);
	assert_int_equal(cache_fake_calls("end"), 1);
	assert_int_equal(fake_calls("snapshot"), 21);
	for (i = 0; i < 20; i++) {
		pair_expect(
		    &p, p.w.mgr, made[i].token, SGATE_REASON_REVOKED, COPY);
		made_clear(&made[i]);
	}
	pair_stop(&p);
}

/* Trace 5: who still holds the live row cannot write it back. */
static void
a_tombstone_outlives_a_late_put(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	cache_fake_set_record(&made.ref, B(""), 0);
	cache_fake_script("put", 1, CACHE_FAKE_LATE);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	end(&p, p.w.mgr, &made.ref);
	cache_fake_wake();
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_LOGGED_OUT, COPY);
	made_clear(&made);
	pair_stop(&p);
}

/* Trace 11: one row, so the old token's logout ends the successor too. */
static void
a_logout_with_an_old_token_ends_the_rotated_session(void **state)
{
	struct sgate_session *s = NULL;
	struct made made;
	struct pair p;
	char *token = NULL;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	assert_status(&p.w,
	    sgate_session_rotate(p.w.mgr, B(made.token), &s, &token, &p.w.err),
	    SGATE_OK);
	assert_string_equal(manager_served_by(p.w.mgr), ROW);
	sgate_session_free(s);
	pair_expect(&p, p.w.mgr, token, SGATE_REASON_OK, COPY);
	p.w.now_ms += HOUR / 4;
	assert_status(&p.w,
	    sgate_session_end_token(
		p.w.mgr, B(made.token), SGATE_REASON_LOGGED_OUT, &p.w.err),
	    SGATE_OK);
	pair_expect(&p, p.w.mgr, token, SGATE_REASON_LOGGED_OUT, COPY);
	sgate_token_free(token);
	made_clear(&made);
	pair_stop(&p);
}

/* A rotation is judged on the row: a copy does not tell of the grace. */
static void
log_out(struct pair *p, const struct made *made, enum sgate_status expected)
{
	assert_status(&p->w,
	    sgate_session_end_token(
		p->w.mgr, B(made->token), SGATE_REASON_LOGGED_OUT, &p->w.err),
	    expected);
}

/*
 * A row that is lost, as with the last second of a primary; its copy is
 * believed. Its owner's logout ends it all the same.
 */
static void
a_logout_of_what_mysql_has_lost_leaves_a_row_that_has_ended(void **state)
{
	struct sgate_session *row;
	struct sgate_bytes copy;
	struct made ann, bea, eve;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &ann);
	world_create(&p.w, "bea", &bea);
	world_create(&p.w, "eve", &eve);
	copy = pair_save(&ann.ref);
	fake_reset(true);
	pair_round(&p, &p.stores);
	pair_expect(&p, p.w.mgr, ann.token, SGATE_REASON_OK, COPY);
	log_out(&p, &ann, SGATE_OK);
	assert_string_equal(manager_served_by(p.w.mgr), ROW);
	assert_int_equal(pair_tombstone(&ann.ref), SGATE_REASON_LOGGED_OUT);
	pair_expect(&p, p.w.mgr, ann.token, SGATE_REASON_LOGGED_OUT, COPY);
	row = world_row(&p.w, &ann.ref);
	assert_int_equal(row->state, SESSION_ENDED);
	assert_int_equal(row->version, 2);
	assert_int_equal(row->seq, 1);
	assert_string_equal(row->user, "ann");
	assert_int_equal(row->absolute_ms, p.w.now_ms + 8 * HOUR);
	sgate_session_free(row);
	/* Redis comes back from a dump that has the copy. */
	pair_put_back(&ann.ref, copy);
	pair_poll(&p, &p.stores);
	pair_expect(&p, p.w.mgr, ann.token, SGATE_REASON_LOGGED_OUT, ROW);
	log_out(&p, &ann, SGATE_OK);
	assert_int_equal(world_audit(&p.w, "end", &ann.ref), 1);
	/* Nothing tells how long it would have lived: as long as can be. */
	pair_cache_down();
	log_out(&p, &bea, SGATE_OK);
	pair_cache_back(&p);
	row = world_row(&p.w, &bea.ref);
	assert_int_equal(row->state, SESSION_ENDED);
	assert_string_equal(row->user, "");
	assert_int_equal(row->absolute_ms, p.w.now_ms + 720 * HOUR);
	sgate_session_free(row);
	/* Whoever only knows a name gets none; nor does what is long over. */
	assert_status(&p.w,
	    sgate_session_end(
		p.w.mgr, &eve.ref, SGATE_REASON_REVOKED, &p.w.err),
	    SGATE_NOT_FOUND);
	cache_fake_flush();
	p.w.now_ms += 720 * HOUR;
	log_out(&p, &eve, SGATE_NOT_FOUND);
	assert_int_equal(p.w.err.reason, SGATE_REASON_UNKNOWN);
	assert_int_equal(world_audit(&p.w, NULL, &eve.ref), 0);
	free((void *)(uintptr_t)copy.data);
	made_clear(&ann);
	made_clear(&bea);
	made_clear(&eve);
	pair_stop(&p);
}

/* The request's time is half over as the second look at Redis begins. */
struct late {
	struct sgate_manager *mgr;
	unsigned gets;
	int64_t deadline_ms;
};

static void
pass_time(void *arg, const char *operation, bool is_after)
{
	struct late *late = arg;

	if (strcmp(operation, "get") == 0 && !is_after && ++late->gets == 2)
		late->deadline_ms = late->mgr->call.deadline_ms -= 10000;
}

/* Another logout was faster: its row is asked for in the time that is left. */
static void
a_logout_of_what_mysql_has_lost_has_one_budget(void **state)
{
	struct late late = {0};
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	late.mgr = p.w.mgr;
	world_create(&p.w, "ann", &made);
	fake_reset(true);
	pair_round(&p, &p.stores);
	fake_script("session_insert", 1, FAKE_CONFLICT);
	cache_fake_set_hook(pass_time, &late);
	log_out(&p, &made, SGATE_NOT_FOUND);
	assert_true(late.gets > 2);
	assert_true(p.w.mgr->call.deadline_ms == late.deadline_ms);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_logout_of_what_mysql_has_lost_that_fails_ends_nothing(void **state)
{
	static const char *const operations[] = {"begin", "audit_insert",
	    "session_insert", "counter_next", "session_store", "commit"};
	struct made made;
	struct pair p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		pair_start(&p);
		world_create(&p.w, "ann", &made);
		fake_reset(true);
		pair_round(&p, &p.stores);
		/* Both tries. */
		fake_script(operations[i], 1, FAKE_UNAVAILABLE);
		fake_script(operations[i], 2, FAKE_UNAVAILABLE);
		log_out(&p, &made, SGATE_UNAVAILABLE);
		assert_int_equal(pair_state(&made.ref), 'L');
		assert_int_equal(world_audit(&p.w, NULL, NULL), 0);
		/* Once more, with one of them. */
		pair_durable_back(&p);
		fake_script(operations[i], 1, FAKE_UNAVAILABLE);
		log_out(&p, &made, SGATE_OK);
		assert_int_equal(pair_state(&made.ref), 'T');
		assert_int_equal(world_audit(&p.w, "end", &made.ref), 1);
		made_clear(&made);
		pair_stop(&p);
	}
	/* Another logout was faster, and is gone again. */
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	fake_reset(true);
	pair_round(&p, &p.stores);
	fake_script("session_insert", 1, FAKE_CONFLICT);
	log_out(&p, &made, SGATE_NOT_FOUND);
	assert_int_equal(pair_state(&made.ref), 'L');
	made_clear(&made);
	pair_stop(&p);
}

static void
a_rotation_is_judged_on_the_row(void **state)
{
	struct sgate_session *s = NULL;
	struct made made;
	struct pair p;
	char *first = NULL, *again = NULL;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	assert_status(&p.w,
	    sgate_session_rotate(p.w.mgr, B(made.token), &s, &first, &p.w.err),
	    SGATE_OK);
	sgate_session_free(s);
	/* The successor was never used: the one before is in grace. */
	p.w.now_ms += 20000;
	assert_status(&p.w,
	    sgate_session_rotate(p.w.mgr, B(first), &s, &again, &p.w.err),
	    SGATE_OK);
	assert_string_equal(manager_served_by(p.w.mgr), ROW);
	assert_string_equal(first, again);
	sgate_session_free(s);
	sgate_token_free(again);
	/* Now it was. */
	p.w.now_ms += 20000;
	assert_status(&p.w,
	    sgate_session_rotate(p.w.mgr, B(first), &s, &again, &p.w.err),
	    SGATE_OK);
	assert_string_not_equal(first, again);
	assert_int_equal(pair_version(&made.ref), 3);
	sgate_session_free(s);
	sgate_token_free(first);
	sgate_token_free(again);
	made_clear(&made);
	pair_stop(&p);
}

static const struct CMUnitTest manager_publish[] = {
    cmocka_unit_test(a_change_is_in_the_copy_when_it_is_acknowledged),
    cmocka_unit_test(a_slow_change_does_not_overwrite_a_newer_one),
    cmocka_unit_test(a_put_that_comes_late_overwrites_nothing_newer),
    cmocka_unit_test(no_answer_of_redis_fails_a_change),
    cmocka_unit_test(another_change_of_the_group_does_not_fail_a_change),
    cmocka_unit_test(a_change_of_what_has_ended_in_redis_is_refused),
    cmocka_unit_test(a_record_has_the_epoch_that_was_read_with_its_row),
    cmocka_unit_test(what_was_settled_as_done_is_told_to_redis),
    cmocka_unit_test(what_was_not_committed_is_told_to_nobody),
    cmocka_unit_test(what_a_first_try_had_to_tell_goes_with_it),
    cmocka_unit_test(an_end_that_is_repeated_is_told_again),
    cmocka_unit_test(redis_is_tried_when_the_time_is_up),
    cmocka_unit_test(a_create_in_a_group_that_changes_is_in_redis),
    cmocka_unit_test(a_create_that_redis_does_not_take_asks_nobody_again),
    cmocka_unit_test(a_create_that_a_cleanup_ends_at_once_is_refused),
    cmocka_unit_test(every_end_leaves_a_tombstone_with_its_reason),
    cmocka_unit_test(a_cleanup_of_many_is_one_script),
    cmocka_unit_test(a_tombstone_outlives_a_late_put),
    cmocka_unit_test(a_logout_with_an_old_token_ends_the_rotated_session),
    cmocka_unit_test(
	a_logout_of_what_mysql_has_lost_leaves_a_row_that_has_ended),
    cmocka_unit_test(a_logout_of_what_mysql_has_lost_has_one_budget),
    cmocka_unit_test(a_logout_of_what_mysql_has_lost_that_fails_ends_nothing),
    cmocka_unit_test(a_rotation_is_judged_on_the_row),
};

TAP_MAIN(manager_publish)
