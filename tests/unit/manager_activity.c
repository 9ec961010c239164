/*
 * Activity with two stores: touches, first uses of successors, extending, and
 * the reaper, which believes neither store alone. Each case says who served.
 */
#include "tap.h"

#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

/* A look that is activity. */
static struct sgate_session *
use(struct pair *p, const char *token, const char *served_by)
{
	struct sgate_session *session = NULL;

	assert_status(&p->w,
	    sgate_session_get(p->w.mgr, B(token), 0, &session, &p->w.err),
	    SGATE_OK);
	assert_string_equal(manager_served_by(p->w.mgr), served_by);
	return session;
}

static int64_t
row_last_seen(struct pair *p, const struct sgate_ref *ref)
{
	struct sgate_session *row = world_row(&p->w, ref);
	int64_t last_seen_ms = row->last_seen_ms;

	sgate_session_free(row);
	return last_seen_ms;
}

static void
rotate(struct pair *p, const char *token, char out[SGATE_TOKEN_LEN + 1])
{
	struct sgate_session *s = NULL;
	char *text = NULL;

	assert_status(&p->w,
	    sgate_session_rotate(p->w.mgr, B(token), &s, &text, &p->w.err),
	    SGATE_OK);
	memcpy(out, text, SGATE_TOKEN_LEN + 1);
	sgate_session_free(s);
	sgate_token_free(text);
}

/* ---- touches ---- */

static void
activity_goes_to_both_stores(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	p.w.now_ms += 20 * MINUTE;
	cache_fake_pass(20 * MINUTE);
	sgate_session_free(use(&p, made.token, COPY));
	assert_int_equal(pair_last_seen(&made.ref), p.w.now_ms);
	assert_int_equal(row_last_seen(&p, &made.ref), p.w.now_ms);
	assert_int_equal(cache_fake_ttl(&made.ref), 34 * MINUTE);
	/* Once in a tenth of the idle timeout. */
	p.w.now_ms += 2 * MINUTE;
	sgate_session_free(use(&p, made.token, COPY));
	assert_int_equal(cache_fake_calls("touch"), 1);
	made_clear(&made);
	pair_stop(&p);
}

/* Trace 2: a touch writes one field, never the record back. */
static void
a_touch_does_not_bring_old_data_back(void **state)
{
	struct sgate_update u = {.data_patch = B("{\"a\":1}")};
	struct look look;
	struct sgate_session *s;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	p.w.now_ms += 20 * MINUTE;
	/* A reader has version 1, a change puts version 2, the touch comes. */
	assert_status(&p.w, look_up(p.w.mgr, B(made.token), 0, &look, &p.w.err),
	    SGATE_OK);
	assert_true(look.is_copy);
	assert_status(&p.w,
	    sgate_session_update(p.w.mgr, &made.ref, &u, NULL, &p.w.err),
	    SGATE_OK);
	look_touch(p.w.mgr, &look, 0);
	look_clear(&look);
	assert_int_equal(pair_version(&made.ref), 2);
	s = pair_get(&p, made.token, COPY);
	assert_bytes(sgate_session_get_data(s), "{\"a\":1}");
	assert_int_equal(sgate_session_get_last_seen_ms(s), p.w.now_ms);
	sgate_session_free(s);
	made_clear(&made);
	pair_stop(&p);
}

/* The same for an end: there is nothing to touch. */
static void
a_touch_does_not_bring_an_ended_session_back(void **state)
{
	struct look look;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	p.w.now_ms += 20 * MINUTE;
	assert_status(&p.w, look_up(p.w.mgr, B(made.token), 0, &look, &p.w.err),
	    SGATE_OK);
	assert_status(&p.w,
	    sgate_session_end(
		p.w.mgr, &made.ref, SGATE_REASON_LOGGED_OUT, &p.w.err),
	    SGATE_OK);
	look_touch(p.w.mgr, &look, 0);
	look_clear(&look);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_LOGGED_OUT, COPY);
	made_clear(&made);
	pair_stop(&p);
}

static void
activity_without_mysql_keeps_a_session_alive(void **state)
{
	struct sgate_session *s;
	struct made made;
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_durable_down(&p);
	for (i = 0; i < 5; i++) {
		p.w.now_ms += 25 * MINUTE;
		cache_fake_pass(25 * MINUTE);
		s = use(&p, made.token, COPY);
		assert_int_equal(sgate_session_get_last_seen_ms(s), p.w.now_ms);
		sgate_session_free(s);
	}
	/* And when it is back: the row has not seen anything of it. */
	pair_durable_back(&p);
	pair_other_change(&p, &made.ref);
	pair_poll(&p, &p.stores);
	p.w.now_ms += MINUTE;
	assert_int_equal(
	    row_last_seen(&p, &made.ref), made.session->created_ms);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	made_clear(&made);
	pair_stop(&p);
}

/* MySQL could not answer the look: it is not asked once more for the touch. */
static void
activity_of_a_blind_look_goes_to_redis_alone(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	p.w.now_ms += 20 * MINUTE;
	pair_age(&p.stores, 3 * p.w.conf->fence.poll_interval_ms + 1000);
	fake_script("session_get", 1, FAKE_UNAVAILABLE);
	sgate_session_free(use(&p, made.token, COPY));
	assert_int_equal(pair_last_seen(&made.ref), p.w.now_ms);
	assert_int_equal(fake_calls("touch"), 0);
	made_clear(&made);
	pair_stop(&p);
}

static void
activity_without_redis_goes_to_mysql(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_cache_down();
	p.w.now_ms += 20 * MINUTE;
	sgate_session_free(use(&p, made.token, ROW));
	assert_int_equal(row_last_seen(&p, &made.ref), p.w.now_ms);
	pair_cache_back(&p);
	assert_int_equal(pair_last_seen(&made.ref), made.session->created_ms);
	/* The copy has expired by its own last_seen, the row has not. */
	p.w.now_ms += 20 * MINUTE;
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_touch_that_no_store_took_is_made_again(void **state)
{
	struct sgate_session *s;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	p.w.now_ms += 20 * MINUTE;
	cache_fake_script("touch", 1, CACHE_FAKE_LATE);
	fake_script("touch", 1, FAKE_UNAVAILABLE);
	s = use(&p, made.token, COPY);
	assert_int_equal(
	    sgate_session_get_last_seen_ms(s), made.session->created_ms);
	sgate_session_free(s);
	s = use(&p, made.token, COPY);
	assert_int_equal(sgate_session_get_last_seen_ms(s), p.w.now_ms);
	sgate_session_free(s);
	made_clear(&made);
	pair_stop(&p);
}

/* What the keeper collects: the copies first, also when MySQL is away. */
static void
collected_touches_go_to_both_stores(void **state)
{
	struct durable_touch touches[250];
	struct made made[250];
	struct pair p;
	size_t i;

	(void)state;
	pair_start(&p);
	memset(touches, 0, sizeof(touches));
	for (i = 0; i < 250; i++) {
		world_create(&p.w, "", &made[i]);
		touches[i].ref = made[i].ref;
		touches[i].last_seen_ms = p.w.now_ms + MINUTE;
		touches[i].copy_ttl_ms = 33 * MINUTE;
	}
	p.w.now_ms += MINUTE;
	pair_durable_down(&p);
	assert_status(&p.w,
	    manager_touch_write(p.w.mgr, touches, 250, &p.w.err),
	    SGATE_UNAVAILABLE);
	assert_int_equal(cache_fake_calls("touch"), 3);
	for (i = 0; i < 250; i++)
		assert_int_equal(pair_last_seen(&made[i].ref), p.w.now_ms);
	assert_int_equal(fake_calls("touch"), 0);
	pair_durable_back(&p);
	pair_cache_down();
	assert_status(&p.w,
	    manager_touch_write(p.w.mgr, touches, 250, &p.w.err), SGATE_OK);
	for (i = 0; i < 250; i++) {
		assert_int_equal(row_last_seen(&p, &made[i].ref), p.w.now_ms);
		made_clear(&made[i]);
	}
	pair_stop(&p);
}

/* What the gateway's hooks are given. */
struct queue {
	struct durable_touch touches[8];
	size_t count;
	bool is_full;
	bool is_marked;
};

static bool
queue_put(void *arg, const struct durable_touch *touch)
{
	struct queue *queue = arg;

	if (queue->is_full)
		return false;
	assert_true(queue->count < 8);
	queue->touches[queue->count++] = *touch;
	return true;
}

static bool
queue_is_marked(void *arg, const struct sgate_ref *ref,
    const unsigned char secret_hash[TOKEN_HASH_BYTES])
{
	const struct queue *queue = arg;

	assert_non_null(ref);
	assert_non_null(secret_hash);
	return queue->is_marked;
}

static void
a_queued_touch_says_how_long_its_copy_is_kept(void **state)
{
	struct queue queue = {.count = 0};
	struct manager_touch_hooks hooks = {
	    .put = queue_put, .is_marked = queue_is_marked, .arg = &queue};
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	manager_set_touch_hooks(p.w.mgr, &hooks);
	p.w.now_ms += 20 * MINUTE;
	sgate_session_free(use(&p, made.token, COPY));
	assert_int_equal(queue.count, 1);
	assert_int_equal(queue.touches[0].last_seen_ms, p.w.now_ms);
	assert_int_equal(queue.touches[0].copy_ttl_ms, 34 * MINUTE);
	assert_int_equal(queue.touches[0].successor_used_ms, 0);
	assert_int_equal(cache_fake_calls("touch"), 0);
	queue.is_full = true;
	sgate_session_free(use(&p, made.token, COPY));
	assert_int_equal(cache_fake_calls("touch"), 1);
	made_clear(&made);
	pair_stop(&p);
}

/* ---- first uses of successors ---- */

/*
 * Trace 20: a copy does not tell whether the mark is written, so it is written
 * until MySQL has said that it has it. Else a thief gets the successor.
 */
static void
a_first_use_is_written_until_mysql_has_it(void **state)
{
	char token[SGATE_TOKEN_LEN + 1];
	struct sgate_session *row;
	struct made made;
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	rotate(&p, made.token, token);
	p.w.now_ms += MINUTE;
	/* The batch is lost, twice. */
	fake_script("touch", 1, FAKE_UNAVAILABLE);
	fake_script("touch", 2, FAKE_UNCERTAIN_LOST);
	for (i = 0; i < 5; i++)
		pair_expect(&p, p.w.mgr, token, SGATE_REASON_OK, COPY);
	assert_int_equal(fake_calls("touch"), 3);
	row = world_row(&p.w, &made.ref);
	assert_int_equal(row->successor_used_ms, p.w.now_ms);
	sgate_session_free(row);
	/* Its grace is over: the old token is a thief's. */
	p.w.now_ms += 10001;
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_THEFT, ROW);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_first_use_is_asked_of_the_hook(void **state)
{
	struct queue queue = {.count = 0};
	struct manager_touch_hooks hooks = {
	    .put = queue_put, .is_marked = queue_is_marked, .arg = &queue};
	char token[SGATE_TOKEN_LEN + 1];
	struct made made;
	struct pair p;
	size_t i;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	rotate(&p, made.token, token);
	manager_set_touch_hooks(p.w.mgr, &hooks);
	for (i = 0; i < 3; i++) {
		pair_expect(&p, p.w.mgr, token, SGATE_REASON_OK, COPY);
		assert_int_equal(queue.count, i + 1);
		assert_int_equal(
		    queue.touches[i].successor_used_ms, p.w.now_ms);
		assert_int_equal(queue.touches[i].last_seen_ms, 0);
		assert_int_equal(queue.touches[i].copy_ttl_ms, 0);
	}
	queue.is_marked = true;
	pair_expect(&p, p.w.mgr, token, SGATE_REASON_OK, COPY);
	assert_int_equal(queue.count, 3);
	/* The secret before is no use of the successor. */
	queue.is_marked = false;
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	assert_int_equal(queue.count, 3);
	assert_status(&p.w,
	    manager_touch_write(p.w.mgr, queue.touches, 3, &p.w.err), SGATE_OK);
	assert_int_equal(cache_fake_calls("touch"), 0);
	made_clear(&made);
	pair_stop(&p);
}

/* Several sessions share a place of the private table: too often, never
 * too rarely. */
static void
every_first_use_of_many_is_written(void **state)
{
	char tokens[3 * MANAGER_MARKS][SGATE_TOKEN_LEN + 1];
	struct sgate_session *row;
	struct made made;
	struct sgate_ref refs[3 * MANAGER_MARKS];
	struct pair p;
	size_t i;

	(void)state;
	pair_start(&p);
	for (i = 0; i < 3 * MANAGER_MARKS; i++) {
		world_create(&p.w, "", &made);
		refs[i] = made.ref;
		rotate(&p, made.token, tokens[i]);
		made_clear(&made);
	}
	for (i = 0; i < 6 * MANAGER_MARKS; i++)
		pair_expect(&p, p.w.mgr, tokens[i % (3 * MANAGER_MARKS)],
		    SGATE_REASON_OK, COPY);
	for (i = 0; i < 3 * MANAGER_MARKS; i++) {
		row = world_row(&p.w, &refs[i]);
		assert_int_equal(row->successor_used_ms, p.w.now_ms);
		sgate_session_free(row);
	}
	pair_stop(&p);
}

/* ---- extend ---- */

static void
extending_is_written_to_both_stores(void **state)
{
	struct sgate_session *s = NULL;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	p.w.now_ms += MINUTE;
	assert_status(&p.w,
	    sgate_session_extend(p.w.mgr, B(made.token), &s, &p.w.err),
	    SGATE_OK);
	assert_int_equal(sgate_session_get_last_seen_ms(s), p.w.now_ms);
	assert_string_equal(manager_served_by(p.w.mgr), ROW);
	sgate_session_free(s);
	assert_int_equal(pair_last_seen(&made.ref), p.w.now_ms);
	assert_int_equal(row_last_seen(&p, &made.ref), p.w.now_ms);
	pair_cache_down();
	p.w.now_ms += MINUTE;
	assert_status(&p.w,
	    sgate_session_extend(p.w.mgr, B(made.token), &s, &p.w.err),
	    SGATE_OK);
	sgate_session_free(s);
	assert_int_equal(row_last_seen(&p, &made.ref), p.w.now_ms);
	made_clear(&made);
	pair_stop(&p);
}

/* ---- the reaper ---- */

static uint64_t
reap(struct pair *p)
{
	struct sgate_reaped reaped;
	uint64_t ended = 0;

	do {
		assert_status(
		    &p->w, sgate_reap(p->w.mgr, &reaped, &p->w.err), SGATE_OK);
		ended += reaped.ended;
	} while (!reaped.is_done);
	return ended;
}

static void
the_reaper_ends_what_both_stores_have_idle_expired(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	p.w.now_ms += 33 * MINUTE;
	assert_int_equal(reap(&p), 0);
	/* Another host may hold a touch back for a moment. */
	p.w.now_ms += MANAGER_REAP_LATE_MS - 1;
	assert_int_equal(reap(&p), 0);
	p.w.now_ms += 1;
	assert_int_equal(reap(&p), 1);
	assert_int_equal(pair_tombstone(&made.ref), SGATE_REASON_EXPIRED_IDLE);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_EXPIRED_IDLE, COPY);
	assert_int_equal(world_audit(&p.w, "end", &made.ref), 1);
	made_clear(&made);
	/* No copy is no objection: it has had its time as well. */
	world_create(&p.w, "ann", &made);
	cache_fake_set_record(&made.ref, B(""), 0);
	p.w.now_ms += HOUR;
	assert_int_equal(reap(&p), 1);
	made_clear(&made);
	pair_stop(&p);
}

/* Trace 7: else it would end every active session after a long outage. */
static void
the_reaper_writes_back_what_redis_has_seen(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_durable_down(&p);
	p.w.now_ms += 30 * MINUTE;
	sgate_session_free(use(&p, made.token, COPY));
	p.w.now_ms += 20 * MINUTE;
	pair_durable_back(&p);
	pair_up_since(&p.stores, 60000);
	assert_int_equal(reap(&p), 0);
	assert_int_equal(
	    row_last_seen(&p, &made.ref), p.w.now_ms - 20 * MINUTE);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	p.w.now_ms += 20 * MINUTE;
	assert_int_equal(reap(&p), 1);
	made_clear(&made);
	pair_stop(&p);
}

static void
the_reaper_ends_no_idle_row_unless_both_stores_have_been_up(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	p.w.now_ms += HOUR;
	pair_up_since(&p.stores, MANAGER_REAP_UP_MS - 1000);
	assert_int_equal(reap(&p), 0);
	pair_up_since(&p.stores, MANAGER_REAP_UP_MS + 1000);
	pair_cache_down();
	assert_int_equal(reap(&p), 0);
	pair_cache_back(&p);
	assert_int_equal(reap(&p), 0);
	/* The copy cannot be read, in this one call. */
	pair_up_since(&p.stores, MANAGER_REAP_UP_MS + 1000);
	cache_fake_script("get", 1, CACHE_FAKE_LATE);
	assert_int_equal(reap(&p), 0);
	assert_int_equal(pair_state(&made.ref), 'L');
	/* The absolute end needs nobody's consent. */
	pair_cache_down();
	p.w.now_ms += 7 * HOUR;
	assert_int_equal(reap(&p), 1);
	pair_expect(
	    &p, p.w.mgr, made.token, SGATE_REASON_EXPIRED_ABSOLUTE, ROW);
	made_clear(&made);
	pair_stop(&p);
}

static void
the_reaper_goes_through_more_than_a_batch(void **state)
{
	enum { MANY = MANAGER_TOUCH_BATCH + 10 };
	struct made made;
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	for (i = 0; i < MANY; i++) {
		world_create(&p.w, "", &made);
		made_clear(&made);
	}
	for (i = 0; i < MANY; i++) {
		struct sgate_create create = {.user_id = B("ann")};

		world_create_with(&p.w, &create, &made);
		pair_durable_down(&p);
		p.w.now_ms += 20 * MINUTE;
		sgate_session_free(use(&p, made.token, COPY));
		p.w.now_ms -= 20 * MINUTE;
		pair_durable_back(&p);
		made_clear(&made);
	}
	pair_up_since(&p.stores, 60000);
	/* Users were seen in Redis; the anonymous ones are over. */
	p.w.now_ms += 40 * MINUTE;
	assert_int_equal(reap(&p), MANY);
	assert_int_equal(reap(&p), 0);
	p.w.now_ms += 20 * MINUTE;
	assert_int_equal(reap(&p), MANY);
	pair_stop(&p);
}

static const struct CMUnitTest manager_activity[] = {
    cmocka_unit_test(activity_goes_to_both_stores),
    cmocka_unit_test(a_touch_does_not_bring_old_data_back),
    cmocka_unit_test(a_touch_does_not_bring_an_ended_session_back),
    cmocka_unit_test(activity_without_mysql_keeps_a_session_alive),
    cmocka_unit_test(activity_of_a_blind_look_goes_to_redis_alone),
    cmocka_unit_test(activity_without_redis_goes_to_mysql),
    cmocka_unit_test(a_touch_that_no_store_took_is_made_again),
    cmocka_unit_test(collected_touches_go_to_both_stores),
    cmocka_unit_test(a_queued_touch_says_how_long_its_copy_is_kept),
    cmocka_unit_test(a_first_use_is_written_until_mysql_has_it),
    cmocka_unit_test(a_first_use_is_asked_of_the_hook),
    cmocka_unit_test(every_first_use_of_many_is_written),
    cmocka_unit_test(extending_is_written_to_both_stores),
    cmocka_unit_test(the_reaper_ends_what_both_stores_have_idle_expired),
    cmocka_unit_test(the_reaper_writes_back_what_redis_has_seen),
    cmocka_unit_test(
	the_reaper_ends_no_idle_row_unless_both_stores_have_been_up),
    cmocka_unit_test(the_reaper_goes_through_more_than_a_batch),
};

TAP_MAIN(manager_activity)
