/*
 * Sessions that are created while the durable store is away: over the fakes,
 * with a spool of their own. What real servers make of it: tests/it/away.py.
 */
#include "config.h"

#include "tap.h"

#include "pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "keyfile.h"
#include "spool.h"

struct away {
	struct pair p;
	char dir[100];
	struct spool_limits limits;
	struct spool *spool;
	struct spool_reader *reader;
};

/* A round of the keeper. */
static void
round_of(struct away *a, struct sgate_manager *mgr)
{
	const struct manager_round round = {.runtime_dir = NULL};

	assert_status(
	    &a->p.w, manager_fence_round(mgr, &round, &a->p.w.err), SGATE_OK);
}

static struct sgate_manager *
worker(struct away *a)
{
	struct sgate_manager *mgr = pair_manager(&a->p);

	manager_set_spool(mgr, a->spool);
	return mgr;
}

static void
away_start_with(struct away *a, bool is_on)
{
	memset(a, 0, sizeof(*a));
	pair_start(&a->p);
	fake_server()->now_ms = a->p.w.now_ms;
	a->p.w.conf->session.create_without_mysql = is_on;
	snprintf(a->dir, sizeof(a->dir), "%s.spool", a->p.w.dir);
	a->limits = (struct spool_limits){.dir = a->dir,
	    .max_bytes = INT64_C(1) << 26,
	    .keep_ms = 15 * MINUTE};
	assert_status(
	    &a->p.w, spool_open(&a->limits, &a->spool, &a->p.w.err), SGATE_OK);
	assert_status(&a->p.w,
	    spool_reader_open(&a->limits, SPOOL_TO_DURABLE | SPOOL_TO_CACHE,
		&a->reader, &a->p.w.err),
	    SGATE_OK);
	sgate_manager_free(a->p.w.mgr);
	a->p.w.mgr = worker(a);
	round_of(a, a->p.w.mgr);
}

static void
away_start(struct away *a)
{
	away_start_with(a, true);
}

static void
away_stop(struct away *a)
{
	char command[160];

	spool_close(a->spool);
	spool_reader_close(a->reader);
	snprintf(command, sizeof(command), "rm -rf %s", a->dir);
	assert_int_equal(system(command), 0);
	pair_stop(&a->p);
}

/* What the keeper ships to one store; how many frames that has now. */
static size_t
ship_to(struct away *a, unsigned store)
{
	struct spool_frame frames[MANAGER_SPOOL_BATCH];
	struct spool_place places[MANAGER_SPOOL_BATCH];
	struct buf records[MANAGER_SPOOL_BATCH] = {{0}};
	bool done[MANAGER_SPOOL_BATCH];
	enum sgate_status status;
	size_t i, count = 0, taken = 0;

	assert_status(&a->p.w, spool_look(a->reader, &a->p.w.err), SGATE_OK);
	assert_status(
	    &a->p.w, spool_pass_begin(a->reader, store, &a->p.w.err), SGATE_OK);
	while (count < MANAGER_SPOOL_BATCH &&
	       spool_pass_next(a->reader, &frames[count], &places[count])) {
		if (frames[count].record.len > 0) {
			assert_status(&a->p.w,
			    spool_load(a->reader, &places[count],
				&records[count], &a->p.w.err),
			    SGATE_OK);
			frames[count].record = buf_bytes(&records[count]);
		}
		count++;
	}
	status = (store == SPOOL_TO_CACHE ? manager_spool_publish
					  : manager_spool_apply)(
	    a->p.w.mgr, frames, count, done, &a->p.w.err);
	for (i = 0; i < count; i++) {
		if (done[i]) {
			spool_done(a->reader, &places[i], store);
			taken++;
		}
		buf_clear(&records[i]);
	}
	if (status != SGATE_OK)
		assert_true(taken < count);
	return taken;
}

static size_t
ship(struct away *a)
{
	return ship_to(a, SPOOL_TO_DURABLE);
}

static enum sgate_status
try_create(struct away *a, const struct sgate_create *create)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;
	char *token = NULL;

	status = sgate_session_create(
	    a->p.w.mgr, create, &session, &token, &a->p.w.err);
	assert_int_equal(session != NULL, status == SGATE_OK);
	sgate_session_free(session);
	sgate_token_free(token);
	return status;
}

static enum sgate_status
try_login(struct away *a, const char *user)
{
	const struct sgate_create create = {.user_id = B(user)};

	return try_create(a, &create);
}

/* Of the durable store, past every breaker. */
static struct sgate_session *
row_of(struct away *a, const struct sgate_ref *ref)
{
	struct sgate_session *row = NULL;
	struct sgate_error err;
	enum sgate_status status;

	a->p.keeper->deadline_ms = clock_monotonic_ms() + 10000;
	status =
	    durable_fake.session_get(a->p.keeper, ref, 0, &row, NULL, &err);
	assert_int_equal(status, row != NULL ? SGATE_OK : SGATE_NOT_FOUND);
	return row;
}

static bool
has_row(struct away *a, const struct sgate_ref *ref)
{
	struct sgate_session *row = row_of(a, ref);

	sgate_session_free(row);
	return row != NULL;
}

static enum sgate_reason
row_end(struct away *a, const struct sgate_ref *ref)
{
	struct sgate_session *row = row_of(a, ref);
	enum sgate_reason reason;

	assert_non_null(row);
	reason =
	    row->state == SESSION_ENDED ? row->end_reason : SGATE_REASON_OK;
	sgate_session_free(row);
	return reason;
}

static size_t
unlanded(struct away *a, const char *user)
{
	struct sgate_ref refs[CACHE_UNLANDED_MAX];
	uint64_t cursor = 0;
	size_t count = 0;

	manager_begin(a->p.w.mgr, &a->p.w.err);
	assert_status(&a->p.w,
	    cached_unlanded(
		a->p.w.mgr, B(user), &cursor, refs, &count, &a->p.w.err),
	    SGATE_OK);
	return count;
}

/* ---- creating ---- */

static void
a_login_without_mysql_is_a_session_everywhere(void **state)
{
	const struct sgate_create create = {
	    .user_id = B("ann"), .data = B("{\"theme\":\"dark\"}")};
	struct sgate_session *found;
	struct sgate_manager *second;
	struct other other;
	struct made made;
	struct away a;

	(void)state;
	away_start(&a);
	pair_other_open(&a.p, &other);
	second = worker(&a);
	pair_durable_down(&a.p);
	world_create_with(&a.p.w, &create, &made);
	assert_string_equal(manager_served_by(a.p.w.mgr), COPY);
	assert_int_equal(pair_state(&made.ref), 'U');
	assert_int_equal(unlanded(&a, "ann"), 1);
	assert_false(has_row(&a, &made.ref));
	pair_expect(&a.p, second, made.token, SGATE_REASON_OK, COPY);
	breaker_open(&other.stores.durable, clock_monotonic_ms());
	pair_expect(&a.p, other.mgr, made.token, SGATE_REASON_OK, COPY);
	found = pair_get(&a.p, made.token, COPY);
	assert_bytes(sgate_session_get_data(found), "{\"theme\":\"dark\"}");
	sgate_session_free(found);
	assert_true(pair_count(&a.p, STORES_CREATED_AWAY) == 1);

	pair_durable_back(&a.p);
	assert_int_equal(ship(&a), 1);
	assert_int_equal(row_end(&a, &made.ref), SGATE_REASON_OK);
	assert_int_equal(pair_state(&made.ref), 'L');
	assert_int_equal(unlanded(&a, "ann"), 0);
	assert_int_equal(world_audit(&a.p.w, "create", &made.ref), 1);
	found = pair_get(&a.p, made.token, COPY);
	assert_bytes(sgate_session_get_data(found), "{\"theme\":\"dark\"}");
	sgate_session_free(found);

	/* Told again to both: nothing comes of it. */
	assert_status(&a.p.w,
	    spool_again(a.reader, SPOOL_TO_DURABLE, 0, &a.p.w.err), SGATE_OK);
	assert_status(&a.p.w,
	    spool_again(a.reader, SPOOL_TO_CACHE, 0, &a.p.w.err), SGATE_OK);
	assert_int_equal(ship(&a), 1);
	assert_int_equal(ship_to(&a, SPOOL_TO_CACHE), 1);
	assert_int_equal(world_audit(&a.p.w, "create", &made.ref), 1);
	assert_int_equal(pair_state(&made.ref), 'L');
	assert_true(pair_count(&a.p, STORES_LANDED) == 1);
	made_clear(&made);
	sgate_manager_free(second);
	pair_other_close(&other);
	away_stop(&a);
}

static void
anonymous_and_remembered_sessions_are_created_too(void **state)
{
	const struct sgate_create remembered = {
	    .user_id = B("ann"), .remember = 1};
	struct made made[2];
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "", &made[0]);
	world_create_with(&a.p.w, &remembered, &made[1]);
	assert_int_equal(pair_state(&made[0].ref), 'U');
	pair_expect(&a.p, a.p.w.mgr, made[0].token, SGATE_REASON_OK, COPY);
	pair_durable_back(&a.p);
	assert_int_equal(ship(&a), 2);
	assert_int_equal(row_end(&a, &made[0].ref), SGATE_REASON_OK);
	assert_int_equal(pair_state(&made[0].ref), 'L');
	assert_int_equal(pair_state(&made[1].ref), 'L');
	made_clear(&made[0]);
	made_clear(&made[1]);
	away_stop(&a);
}

static void
it_can_be_turned_off(void **state)
{
	struct away a;

	(void)state;
	away_start_with(&a, false);
	pair_durable_down(&a.p);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	assert_int_equal(cache_fake_calls("create"), 0);
	away_stop(&a);
}

/* Every one of these leaves nothing that anybody could use. */
static void
what_is_not_known_or_not_kept_is_not_created(void **state)
{
	const struct sgate_create keyed = {
	    .user_id = B("ann"), .idempotency_key = B("k")};
	char command[160];
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	/* A repeat could not be told from a second login. */
	assert_status(&a.p.w, try_create(&a, &keyed), SGATE_UNAVAILABLE);
	/* Redis, and the answer of Redis. */
	cache_fake_script("create", 1, CACHE_FAKE_UNAVAILABLE);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	pair_cache_back(&a.p);
	cache_fake_script("create", 1, CACHE_FAKE_DONE);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	pair_cache_back(&a.p);
	/* Blind for too long; no sync; the blocked are not known. */
	pair_age(&a.p.stores, 31000);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	assert_non_null(strstr(a.p.w.err.text, "max_blind"));
	pair_age(&a.p.stores, 20000);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_OK);
	atomic_store(&a.p.stores.blocked.number, 0);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	assert_non_null(strstr(a.p.w.err.text, "blocked"));
	pair_durable_back(&a.p);
	round_of(&a, a.p.w.mgr);
	pair_durable_down(&a.p);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_OK);
	/* A replica that should have it. */
	a.p.w.mgr->conf->redis.replicas = 1;
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	a.p.w.mgr->conf->redis.replicas = 0;
	/* The spool. */
	manager_set_spool(a.p.w.mgr, NULL);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	manager_set_spool(a.p.w.mgr, a.spool);
	snprintf(command, sizeof(command), "rm -rf %s", a.dir);
	assert_int_equal(system(command), 0);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	pair_durable_back(&a.p);
	assert_int_equal(world_audit(&a.p.w, "create", NULL), 0);
	away_stop(&a);
}

/* It may have been done; whoever lands it finds that out. */
static void
a_commit_without_an_answer_is_one_session(void **state)
{
	static const enum fake_answer answers[] = {
	    FAKE_UNCERTAIN_DONE, FAKE_UNCERTAIN_LOST};
	struct made made;
	struct away a;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		away_start(&a);
		fake_script("commit", 1, answers[i]);
		fake_script("audit_exists", 1, FAKE_UNAVAILABLE);
		fake_script("begin", 2, FAKE_UNAVAILABLE);
		world_create(&a.p.w, "ann", &made);
		assert_int_equal(has_row(&a, &made.ref), i == 0);
		assert_int_equal(pair_state(&made.ref), 'U');
		pair_durable_back(&a.p);
		assert_int_equal(ship(&a), 1);
		assert_true(has_row(&a, &made.ref));
		assert_int_equal(world_audit(&a.p.w, "create", &made.ref), 1);
		assert_int_equal(pair_state(&made.ref), 'L');
		made_clear(&made);
		away_stop(&a);
	}
}

static void
begin_twice(enum fake_answer first, enum fake_answer second)
{
	fake_script("begin", 1, first);
	fake_script("begin", 2, second);
}

/*
 * Somebody may have been blocked the moment before, so what this call was not
 * given by a store that is there it does not get without it.
 */
static void
a_store_that_is_there_is_not_passed_over(void **state)
{
	struct stores_absence *absence;
	struct away a;

	(void)state;
	away_start(&a);
	absence = &a.p.stores.absence;
	begin_twice(FAKE_REFUSED, FAKE_REFUSED);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	begin_twice(FAKE_UNAVAILABLE, FAKE_REFUSED);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	begin_twice(FAKE_REFUSED, FAKE_UNAVAILABLE);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	breaker_close(&a.p.stores.durable, clock_monotonic_ms());
	/* Somebody else of this host is answered meanwhile. */
	atomic_store(&absence->heard_ms, clock_monotonic_ms() + 5000);
	begin_twice(FAKE_UNAVAILABLE, FAKE_UNAVAILABLE);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	/* Words gave it up ("too many connections"): it was heard just then. */
	atomic_store(&absence->heard_ms, clock_monotonic_ms());
	atomic_store(&absence->lost_ms, atomic_load(&absence->heard_ms) - 1);
	breaker_open(&a.p.stores.durable, atomic_load(&absence->heard_ms));
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	breaker_close(&a.p.stores.durable, clock_monotonic_ms());
	atomic_store(&absence->heard_ms, clock_monotonic_ms() + 5000);
	/* A probe is, and the one behind it is not. */
	breaker_open(&a.p.stores.durable, clock_monotonic_ms());
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_UNAVAILABLE);
	assert_int_equal(cache_fake_calls("create"), 0);
	atomic_store(&absence->lost_ms, clock_monotonic_ms() + 5001);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_OK);
	breaker_close(&a.p.stores.durable, clock_monotonic_ms());
	atomic_store(&absence->heard_ms, clock_monotonic_ms() - 1);
	begin_twice(FAKE_UNAVAILABLE, FAKE_UNAVAILABLE);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_OK);
	assert_int_equal(cache_fake_calls("create"), 2);
	away_stop(&a);
}

static void
the_anonymous_session_that_is_replaced_ends(void **state)
{
	struct sgate_create create = {.user_id = B("ann")};
	struct made before, user, after;
	struct away a;

	(void)state;
	away_start(&a);
	world_create(&a.p.w, "", &before);
	world_create(&a.p.w, "bob", &user);
	pair_durable_down(&a.p);
	create.replaces = B(user.token);
	assert_status(&a.p.w, try_create(&a, &create), SGATE_INVALID);
	create.replaces = B(before.token);
	world_create_with(&a.p.w, &create, &after);
	pair_expect(&a.p, a.p.w.mgr, before.token, SGATE_REASON_REPLACED, "");
	assert_int_equal(pair_state(&before.ref), 'T');
	pair_expect(&a.p, a.p.w.mgr, after.token, SGATE_REASON_OK, COPY);
	pair_durable_back(&a.p);
	assert_int_equal(ship(&a), 2);
	assert_int_equal(row_end(&a, &before.ref), SGATE_REASON_REPLACED);
	made_clear(&before);
	made_clear(&user);
	made_clear(&after);
	away_stop(&a);
}

/* ---- blocked users ---- */

static void
a_blocked_user_is_refused_without_mysql(void **state)
{
	struct made made;
	struct away a;

	(void)state;
	away_start(&a);
	assert_status(&a.p.w,
	    sgate_user_block(a.p.w.mgr, B("ann"), B(""), NULL, &a.p.w.err),
	    SGATE_OK);
	round_of(&a, a.p.w.mgr);
	pair_durable_down(&a.p);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_DENIED);
	assert_int_equal(a.p.w.err.reason, SGATE_REASON_BLOCKED);
	world_create(&a.p.w, "bob", &made);
	made_clear(&made);
	pair_durable_back(&a.p);
	assert_status(&a.p.w,
	    sgate_user_unblock(a.p.w.mgr, B("ann"), &a.p.w.err), SGATE_OK);
	round_of(&a, a.p.w.mgr);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made);
	made_clear(&made);
	away_stop(&a);
}

/* The list is read when the settings have changed, and only then. */
static void
the_blocked_are_read_when_they_change(void **state)
{
	struct away a;

	(void)state;
	away_start(&a);
	assert_int_equal(fake_calls("blocked_users"), 1);
	round_of(&a, a.p.w.mgr);
	round_of(&a, a.p.w.mgr);
	assert_int_equal(fake_calls("blocked_users"), 1);
	assert_status(&a.p.w,
	    sgate_user_block(a.p.w.mgr, B("ann"), B(""), NULL, &a.p.w.err),
	    SGATE_OK);
	/* One that fails is tried again, and nothing is known meanwhile. */
	fake_script("blocked_users", 1, FAKE_REFUSED);
	assert_int_not_equal(
	    manager_fence_round(a.p.w.mgr,
		&(const struct manager_round){.runtime_dir = NULL}, &a.p.w.err),
	    SGATE_OK);
	assert_true(atomic_load(&a.p.stores.blocked.number) == 0);
	round_of(&a, a.p.w.mgr);
	assert_true(atomic_load(&a.p.stores.blocked.count) == 1);
	away_stop(&a);
}

/* Killed between two words: the next keeper must not wait for it for ever. */
static void
a_keeper_that_dies_over_the_list_is_followed(void **state)
{
	struct stores_blocked *blocked;
	struct made made;
	struct away a;

	(void)state;
	away_start(&a);
	blocked = &a.p.stores.blocked;
	assert_status(&a.p.w,
	    sgate_user_block(a.p.w.mgr, B("ann"), B(""), NULL, &a.p.w.err),
	    SGATE_OK);
	atomic_fetch_add(&blocked->turn, 1);
	round_of(&a, a.p.w.mgr);
	assert_true(atomic_load(&blocked->number) == 0); /* it may yet live */
	round_of(&a, a.p.w.mgr);
	assert_true(atomic_load(&blocked->number) != 0);
	assert_true(atomic_load(&blocked->turn) % 2 == 0);
	pair_durable_down(&a.p);
	assert_status(&a.p.w, try_login(&a, "ann"), SGATE_DENIED);
	world_create(&a.p.w, "bob", &made);
	made_clear(&made);
	away_stop(&a);
}

/* The block came after the last round: it holds as soon as MySQL is there. */
static void
a_user_who_was_blocked_meanwhile_ends_as_he_lands(void **state)
{
	struct made made;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made);
	pair_durable_back(&a.p);
	pair_cache_down(); /* the set cannot be read */
	assert_status(&a.p.w,
	    sgate_user_block(a.p.w.mgr, B("ann"), B(""), NULL, &a.p.w.err),
	    SGATE_OK);
	pair_cache_back(&a.p);
	pair_round(&a.p, &a.p.stores);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_BLOCKED, ROW);
	assert_int_equal(row_end(&a, &made.ref), SGATE_REASON_BLOCKED);
	assert_int_equal(pair_state(&made.ref), 'T');
	assert_int_equal(ship(&a), 1);
	assert_int_equal(world_audit(&a.p.w, "create", &made.ref), 1);
	assert_int_equal(world_audit(&a.p.w, "end", &made.ref), 1);
	made_clear(&made);
	away_stop(&a);
}

/* ---- looks ---- */

static void
a_look_lands_what_it_meets(void **state)
{
	struct made made;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made);
	pair_durable_back(&a.p);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_true(has_row(&a, &made.ref));
	assert_int_equal(pair_state(&made.ref), 'L');
	assert_int_equal(unlanded(&a, "ann"), 0);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	/* What the spool then has is done already. */
	assert_int_equal(ship(&a), 1);
	assert_int_equal(world_audit(&a.p.w, "create", &made.ref), 1);
	made_clear(&made);
	away_stop(&a);
}

/* Turned off, here or not yet elsewhere, while such sessions are there. */
static void
what_was_created_outlives_the_setting(void **state)
{
	struct made made[3];
	struct sgate_session *session = NULL;
	struct away a;
	size_t i;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	for (i = 0; i < 3; i++)
		world_create(&a.p.w, "ann", &made[i]);
	pair_durable_back(&a.p);
	a.p.w.mgr->conf->session.create_without_mysql = false;
	pair_expect(&a.p, a.p.w.mgr, made[0].token, SGATE_REASON_OK, ROW);
	assert_true(has_row(&a, &made[0].ref));
	assert_status(&a.p.w,
	    sgate_session_get_by_ref(
		a.p.w.mgr, &made[1].ref, &session, &a.p.w.err),
	    SGATE_OK);
	sgate_session_free(session);
	/* Redis has it, and is not believed. */
	pair_poll(&a.p, &a.p.stores);
	pair_other_change(&a.p, &made[2].ref);
	pair_poll(&a.p, &a.p.stores);
	pair_expect(&a.p, a.p.w.mgr, made[2].token, SGATE_REASON_OK, ROW);
	assert_int_equal(ship(&a), 3);
	for (i = 0; i < 3; i++) {
		assert_int_equal(
		    world_audit(&a.p.w, "create", &made[i].ref), 1);
		made_clear(&made[i]);
	}
	away_stop(&a);
}

/* The activity of the time without MySQL is not lost. */
static void
landing_keeps_the_activity(void **state)
{
	struct sgate_session *session = NULL;
	struct made made;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made);
	a.p.w.now_ms += 25 * MINUTE;
	assert_status(&a.p.w,
	    sgate_session_get(
		a.p.w.mgr, B(made.token), 0, &session, &a.p.w.err),
	    SGATE_OK);
	sgate_session_free(session);
	a.p.w.now_ms += 25 * MINUTE;
	pair_durable_back(&a.p);
	assert_int_equal(ship(&a), 1);
	assert_int_equal(world_look(&a.p.w, made.token), SGATE_REASON_OK);
	made_clear(&made);
	away_stop(&a);
}

/* H22: no row, and it cannot be landed now: an end would have left a row. */
static void
a_new_session_without_a_row_is_not_logged_out(void **state)
{
	struct made made;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made);
	pair_durable_back(&a.p);
	/* Trusted. */
	fake_script("begin", 1, FAKE_REFUSED);
	fake_script("begin", 2, FAKE_REFUSED);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	/* Not trusted: there is no sync. */
	cache_fake_set_sync(token_ref_group(&made.ref), "");
	fake_script("begin", 1, FAKE_REFUSED);
	fake_script("begin", 2, FAKE_REFUSED);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	assert_false(has_row(&a, &made.ref));
	/* And then it can. */
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_true(has_row(&a, &made.ref));
	made_clear(&made);
	away_stop(&a);
}

/* While MySQL is away a copy that is not believed is nobody's session. */
static void
without_mysql_a_copy_counts_as_far_as_the_fence_goes(void **state)
{
	struct made made;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made);
	pair_age(&a.p.stores, 20000);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	pair_age(&a.p.stores, 31000);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_STORE, "");
	made_clear(&made);
	away_stop(&a);
}

static void
a_change_lands_it_first(void **state)
{
	const struct sgate_update update = {.data_patch = B("{\"a\":1}")};
	struct sgate_session *session = NULL;
	struct made made;
	struct away a;
	char *token = NULL;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made);
	assert_status(&a.p.w,
	    sgate_session_update(
		a.p.w.mgr, &made.ref, &update, &session, &a.p.w.err),
	    SGATE_UNAVAILABLE);
	assert_status(&a.p.w,
	    sgate_session_rotate(
		a.p.w.mgr, B(made.token), &session, &token, &a.p.w.err),
	    SGATE_UNAVAILABLE);
	pair_durable_back(&a.p);
	fake_script("begin", 1, FAKE_REFUSED);
	fake_script("begin", 2, FAKE_REFUSED);
	assert_status(&a.p.w,
	    sgate_session_update(
		a.p.w.mgr, &made.ref, &update, &session, &a.p.w.err),
	    SGATE_UNAVAILABLE);
	assert_status(&a.p.w,
	    sgate_session_update(
		a.p.w.mgr, &made.ref, &update, &session, &a.p.w.err),
	    SGATE_OK);
	assert_bytes(sgate_session_get_data(session), "{\"a\":1}");
	sgate_session_free(session);
	assert_true(pair_version(&made.ref) == 2);
	assert_status(&a.p.w,
	    sgate_session_rotate(
		a.p.w.mgr, B(made.token), &session, &token, &a.p.w.err),
	    SGATE_OK);
	sgate_session_free(session);
	assert_int_equal(ship(&a), 1);
	pair_expect(&a.p, a.p.w.mgr, token, SGATE_REASON_OK, COPY);
	sgate_token_free(token);
	made_clear(&made);
	away_stop(&a);
}

/* ---- ends ---- */

/* H21, whichever is shipped first. */
static void
an_end_and_its_creation_may_come_in_any_order(void **state)
{
	struct made made;
	struct away a;
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		away_start(&a);
		pair_durable_down(&a.p);
		world_create(&a.p.w, "ann", &made);
		if (i == 1) { /* landed, then ended without MySQL */
			pair_durable_back(&a.p);
			assert_int_equal(ship(&a), 1);
			pair_durable_down(&a.p);
		}
		assert_status(&a.p.w,
		    sgate_session_end_token(a.p.w.mgr, B(made.token),
			SGATE_REASON_LOGGED_OUT, &a.p.w.err),
		    SGATE_OK);
		pair_expect(
		    &a.p, a.p.w.mgr, made.token, SGATE_REASON_LOGGED_OUT, "");
		assert_int_equal(pair_state(&made.ref), 'T');
		pair_durable_back(&a.p);
		assert_int_equal(ship(&a), 2 - i);
		/* Or a user with many such logins could not be cleaned up. */
		assert_int_equal(unlanded(&a, "ann"), 0);
		assert_int_equal(
		    row_end(&a, &made.ref), SGATE_REASON_LOGGED_OUT);
		assert_int_equal(pair_state(&made.ref), 'T');
		assert_int_equal(world_audit(&a.p.w, "create", &made.ref), 1);
		assert_int_equal(world_audit(&a.p.w, "end", &made.ref), 1);
		/* Redis lost everything: the end is told again after it. */
		cache_fake_flush();
		assert_status(&a.p.w,
		    spool_again(a.reader, SPOOL_TO_CACHE, 0, &a.p.w.err),
		    SGATE_OK);
		assert_int_equal(ship_to(&a, SPOOL_TO_CACHE), 2);
		assert_int_equal(pair_state(&made.ref), 'T');
		made_clear(&made);
		away_stop(&a);
	}
}

/* At a host that has MySQL, before the spool is shipped. */
static void
an_end_with_mysql_leaves_nothing_to_land(void **state)
{
	struct made made[2];
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made[0]);
	world_create(&a.p.w, "ann", &made[1]);
	pair_durable_back(&a.p);
	assert_status(&a.p.w,
	    sgate_session_end_token(a.p.w.mgr, B(made[0].token),
		SGATE_REASON_LOGGED_OUT, &a.p.w.err),
	    SGATE_OK);
	assert_status(&a.p.w,
	    sgate_session_end(
		a.p.w.mgr, &made[1].ref, SGATE_REASON_REVOKED, &a.p.w.err),
	    SGATE_OK);
	assert_true(ship(&a) >= 2);
	assert_int_equal(row_end(&a, &made[0].ref), SGATE_REASON_LOGGED_OUT);
	assert_int_equal(row_end(&a, &made[1].ref), SGATE_REASON_REVOKED);
	assert_int_equal(world_audit(&a.p.w, "create", NULL), 2);
	pair_expect(&a.p, a.p.w.mgr, made[1].token, SGATE_REASON_REVOKED, COPY);
	made_clear(&made[0]);
	made_clear(&made[1]);
	away_stop(&a);
}

/* ---- cleanup ---- */

static void
a_cleanup_ends_what_has_not_landed(void **state)
{
	struct made made[3];
	uint64_t count = 0;
	struct away a;
	int i;

	(void)state;
	away_start(&a);
	world_create(&a.p.w, "ann", &made[0]);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made[1]);
	world_create(&a.p.w, "ann", &made[2]);
	assert_status(&a.p.w,
	    sgate_user_cleanup(a.p.w.mgr, B("ann"), NULL, SGATE_REASON_REVOKED,
		&count, &a.p.w.err),
	    SGATE_UNAVAILABLE);
	pair_durable_back(&a.p);
	assert_status(&a.p.w,
	    sgate_user_cleanup(a.p.w.mgr, B("ann"), &made[2].ref,
		SGATE_REASON_REVOKED, &count, &a.p.w.err),
	    SGATE_OK);
	assert_true(count == 2);
	assert_int_equal(row_end(&a, &made[1].ref), SGATE_REASON_REVOKED);
	assert_false(has_row(&a, &made[2].ref));
	assert_int_equal(ship(&a), 2);
	assert_int_equal(unlanded(&a, "ann"), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(row_end(&a, &made[i].ref),
		    i < 2 ? SGATE_REASON_REVOKED : SGATE_REASON_OK);
		assert_int_equal(pair_state(&made[i].ref), i < 2 ? 'T' : 'L');
		assert_int_equal(
		    world_audit(&a.p.w, "create", &made[i].ref), 1);
		made_clear(&made[i]);
	}
	away_stop(&a);
}

/* What creations leave that fail, and landings that Redis is not told of: more
 * than fit a page. `of`: one of the user's; nothing else stands there. */
#define LEFT (CACHE_UNLANDED_MAX + CACHE_UNLANDED_PAGE / 2)

static void
leave_in_set(struct away *a, const char *name, const struct sgate_ref *of)
{
	struct cache_item item = {.ttl_ms = MINUTE};
	unsigned char user[TOKEN_USER_BYTES];
	struct put_result put;
	unsigned n;

	token_user_hash(a->p.w.mgr->keys, B(""), B(name), user);
	item.ref = *of;
	item.record = pair_save(of);
	for (n = 1; n <= LEFT; n++) {
		item.ref.bytes[SGATE_REF_BYTES - 6] ^= (unsigned char)(n >> 8);
		item.ref.bytes[SGATE_REF_BYTES - 5] ^= (unsigned char)n;
		manager_begin(a->p.w.mgr, &a->p.w.err);
		assert_status(&a->p.w,
		    cached_create(a->p.w.mgr, &item, 0, user, MINUTE, false,
			&put, &a->p.w.err),
		    SGATE_OK);
		item.ref = *of;
	}
	free((void *)(uintptr_t)item.record.data);
}

static void
a_cleanup_empties_a_large_set(void **state)
{
	struct made kept, ended;
	uint64_t count = 0;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &kept);
	world_create(&a.p.w, "ann", &ended);
	leave_in_set(&a, "ann", &kept.ref);
	pair_durable_back(&a.p);
	assert_status(&a.p.w,
	    sgate_user_cleanup(a.p.w.mgr, B("ann"), &kept.ref,
		SGATE_REASON_REVOKED, &count, &a.p.w.err),
	    SGATE_OK);
	assert_int_equal(count, LEFT + 1);
	assert_int_equal(row_end(&a, &ended.ref), SGATE_REASON_REVOKED);
	assert_int_equal(unlanded(&a, "ann"), 1);
	assert_int_equal(ship(&a), 2);
	assert_int_equal(unlanded(&a, "ann"), 0);
	assert_int_equal(row_end(&a, &kept.ref), SGATE_REASON_OK);
	assert_int_equal(row_end(&a, &ended.ref), SGATE_REASON_REVOKED);
	made_clear(&kept);
	made_clear(&ended);
	away_stop(&a);
}

/* The second page is not answered: what stands there ends as it lands, but for
 * the one that was to be kept. */
static void
a_large_set_that_is_read_in_part_is_told(void **state)
{
	struct made kept, other;
	uint64_t count = 0;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &kept);
	world_create(&a.p.w, "ann", &other);
	leave_in_set(&a, "ann", &kept.ref);
	pair_durable_back(&a.p);
	cache_fake_script("unlanded", 2, CACHE_FAKE_UNAVAILABLE);
	assert_status(&a.p.w,
	    sgate_user_cleanup(a.p.w.mgr, B("ann"), &kept.ref,
		SGATE_REASON_REVOKED, &count, &a.p.w.err),
	    SGATE_OK);
	assert_true(count < LEFT);
	assert_int_equal(world_audit(&a.p.w, "cleanup", NULL), 2);
	pair_cache_back(&a.p);
	assert_int_equal(ship(&a), 2);
	assert_int_equal(row_end(&a, &kept.ref), SGATE_REASON_OK);
	assert_int_equal(row_end(&a, &other.ref), SGATE_REASON_REVOKED);
	made_clear(&kept);
	made_clear(&other);
	away_stop(&a);
}

/* Somebody else writes to Redis: a ref of bob's stands in another's set. */
static void
a_cleanup_ends_nobody_elses_session(void **state)
{
	struct cache_item item = {.ttl_ms = MINUTE};
	unsigned char user[TOKEN_USER_BYTES];
	struct sgate_bytes record;
	struct put_result put;
	struct made made;
	uint64_t count = 0;
	char name[24];
	unsigned n = 0;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "bob", &made);
	do
		snprintf(name, sizeof(name), "user%u", n++);
	while (
	    token_user_group(a.p.w.mgr->keys, B(""), B(name)) % TOKEN_GROUPS !=
	    token_ref_group(&made.ref));
	token_user_hash(a.p.w.mgr->keys, B(""), B(name), user);
	record = pair_save(&made.ref);
	item.ref = made.ref;
	item.record = record;
	manager_begin(a.p.w.mgr, &a.p.w.err);
	assert_status(&a.p.w,
	    cached_create(
		a.p.w.mgr, &item, 0, user, MINUTE, false, &put, &a.p.w.err),
	    SGATE_OK);
	assert_int_equal(unlanded(&a, name), 1);
	pair_durable_back(&a.p);
	assert_int_equal(ship(&a), 1);
	assert_int_equal(unlanded(&a, name), 1);
	assert_status(&a.p.w,
	    sgate_user_cleanup(a.p.w.mgr, B(name), NULL, SGATE_REASON_REVOKED,
		&count, &a.p.w.err),
	    SGATE_OK);
	assert_true(count == 0);
	assert_int_equal(row_end(&a, &made.ref), SGATE_REASON_OK);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	free((void *)(uintptr_t)record.data);
	made_clear(&made);
	away_stop(&a);
}

/* MySQL is back and Redis is not: the set cannot be read. */
static void
a_cleanup_without_the_set_ends_what_lands_later(void **state)
{
	struct made made[3];
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made[0]);
	world_create(&a.p.w, "ann", &made[1]);
	world_create(&a.p.w, "bob", &made[2]);
	pair_durable_back(&a.p);
	pair_cache_down();
	assert_status(&a.p.w,
	    sgate_user_cleanup(a.p.w.mgr, B("ann"), &made[1].ref,
		SGATE_REASON_REVOKED, NULL, &a.p.w.err),
	    SGATE_OK);
	pair_cache_back(&a.p);
	assert_int_equal(ship(&a), 3);
	assert_int_equal(unlanded(&a, "ann"), 0);
	assert_int_equal(row_end(&a, &made[0].ref), SGATE_REASON_REVOKED);
	assert_int_equal(pair_state(&made[0].ref), 'T');
	assert_int_equal(row_end(&a, &made[1].ref), SGATE_REASON_OK);
	assert_int_equal(row_end(&a, &made[2].ref), SGATE_REASON_OK);
	assert_true(pair_count(&a.p, STORES_LANDED_ENDED) == 1);
	made_clear(&made[0]);
	made_clear(&made[1]);
	made_clear(&made[2]);
	away_stop(&a);
}

/* However much the user has done since. */
static void
a_cleanup_is_found_among_thousands_of_events(void **state)
{
	struct durable_audit audit;
	struct made made;
	struct away a;
	int i;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made);
	pair_durable_back(&a.p);
	pair_cache_down();
	assert_status(&a.p.w,
	    sgate_user_cleanup(a.p.w.mgr, B("ann"), NULL, SGATE_REASON_REVOKED,
		NULL, &a.p.w.err),
	    SGATE_OK);
	pair_cache_back(&a.p);
	a.p.keeper->deadline_ms = clock_monotonic_ms() + 10000;
	assert_int_equal(durable_fake.begin(a.p.keeper, &a.p.w.err), SGATE_OK);
	for (i = 0; i < 2000; i++) {
		audit_init(&audit, a.p.w.mgr, "create", SGATE_REASON_OK);
		memcpy(audit.user, "ann", sizeof("ann"));
		assert_int_equal(
		    durable_fake.audit_insert(a.p.keeper, &audit, &a.p.w.err),
		    SGATE_OK);
	}
	assert_int_equal(durable_fake.commit(a.p.keeper, &a.p.w.err), SGATE_OK);
	assert_int_equal(ship(&a), 1);
	assert_int_equal(row_end(&a, &made.ref), SGATE_REASON_REVOKED);
	made_clear(&made);
	away_stop(&a);
}

/* ---- H32 ---- */

static void
a_session_that_nobody_knows_yet_is_held(void **state)
{
	struct made before, made;
	struct away a;

	(void)state;
	away_start(&a);
	world_create(&a.p.w, "ann", &before);
	a.p.w.now_ms += 10 * MINUTE;
	fake_server()->now_ms = a.p.w.now_ms;
	round_of(&a, a.p.w.mgr);
	pair_durable_down(&a.p);
	a.p.w.now_ms += MINUTE;
	world_create(&a.p.w, "ann", &made);
	cache_fake_flush();
	pair_durable_back(&a.p);
	pair_round(&a.p, &a.p.stores);
	round_of(&a, a.p.w.mgr);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_STORE, "fake");
	assert_status(&a.p.w,
	    sgate_session_end(
		a.p.w.mgr, &made.ref, SGATE_REASON_REVOKED, &a.p.w.err),
	    SGATE_UNAVAILABLE);
	/* One of before the outage is known, or it is none. */
	pair_expect(&a.p, a.p.w.mgr, before.token, SGATE_REASON_OK, ROW);
	assert_true(pair_count(&a.p, STORES_ABSENT) == 0);
	/* MySQL has been back for a minute. */
	atomic_store(&a.p.stores.absence.back_ms, clock_monotonic_ms() - 61000);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_UNKNOWN, "fake");
	assert_true(pair_count(&a.p, STORES_ABSENT) == 1);
	/* It was in the spool all the time. */
	assert_int_equal(ship(&a), 1);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	made_clear(&before);
	made_clear(&made);
	away_stop(&a);
}

/* This host has just started, and its keeper has not polled yet. */
static void
a_host_that_knows_nothing_yet_says_no_to_nobody(void **state)
{
	struct made made;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made);
	cache_fake_flush();
	pair_durable_back(&a.p);
	memset(&a.p.stores.absence, 0, sizeof(a.p.stores.absence));
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_STORE, "fake");
	a.p.w.now_ms += 25 * HOUR;
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_UNKNOWN, "fake");
	made_clear(&made);
	away_stop(&a);
}

/* The first good round after an outage is not the end of it, nor is it when
 * somebody who has not noticed still creates without MySQL. */
static void
a_store_that_comes_and_goes_is_away_all_the_time(void **state)
{
	struct stores_absence *absence;
	struct made first, second;
	struct away a;

	(void)state;
	away_start(&a);
	absence = &a.p.stores.absence;
	round_of(&a, a.p.w.mgr);
	atomic_store(&absence->back_ms, clock_monotonic_ms() - 61000);
	pair_durable_down(&a.p);
	a.p.w.now_ms += MINUTE;
	world_create(&a.p.w, "ann", &first);
	cache_fake_flush();
	pair_durable_back(&a.p);
	a.p.w.now_ms += 5000;
	fake_server()->now_ms = a.p.w.now_ms;
	round_of(&a, a.p.w.mgr);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &second);
	pair_durable_back(&a.p);
	round_of(&a, a.p.w.mgr);
	pair_expect(&a.p, a.p.w.mgr, first.token, SGATE_REASON_STORE, "fake");
	/* Having been there for a minute it is lost anew. */
	atomic_store(&absence->back_ms, clock_monotonic_ms() - 61000);
	away_lost(a.p.w.mgr);
	round_of(&a, a.p.w.mgr);
	pair_expect(&a.p, a.p.w.mgr, first.token, SGATE_REASON_UNKNOWN, "fake");
	made_clear(&first);
	made_clear(&second);
	away_stop(&a);
}

/* Redis has lost it: the spool of the host that created it brings it back. */
static void
a_lost_record_is_told_again(void **state)
{
	struct made made;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made);
	assert_int_equal(ship_to(&a, SPOOL_TO_CACHE), 0);
	cache_fake_flush();
	assert_status(&a.p.w,
	    spool_again(a.reader, SPOOL_TO_CACHE, 0, &a.p.w.err), SGATE_OK);
	assert_int_equal(ship_to(&a, SPOOL_TO_CACHE), 1);
	assert_int_equal(pair_state(&made.ref), 'U');
	assert_int_equal(unlanded(&a, "ann"), 1);
	pair_round(&a.p, &a.p.stores);
	pair_expect(&a.p, a.p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	away_stop(&a);
}

/* As a spool that was copied to a host with other keys. */
static void
what_no_key_opens_waits_for_its_key(void **state)
{
	struct keys *own,
	    *other = keyfile_keys("group " KEYFILE_OTHER "\nkey 7 " KEYFILE_KEY
				  " 1700000000000 0\n");
	struct made made[2];
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made[0]);
	pair_durable_back(&a.p);
	own = a.p.w.mgr->keys;
	a.p.w.mgr->keys = other;
	assert_int_equal(ship(&a), 0);
	assert_int_equal(world_audit(&a.p.w, "create", &made[0].ref), 0);
	a.p.w.mgr->keys = own;
	assert_int_equal(ship(&a), 1);
	pair_expect(&a.p, a.p.w.mgr, made[0].token, SGATE_REASON_OK, COPY);

	/* When its life is over it is only an event. */
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made[1]);
	pair_durable_back(&a.p);
	a.p.w.now_ms += 90 * 24 * HOUR;
	a.p.w.mgr->keys = other;
	assert_int_equal(ship(&a), 1);
	assert_int_equal(world_audit(&a.p.w, "create", &made[1].ref), 1);
	assert_false(has_row(&a, &made[1].ref));
	a.p.w.mgr->keys = own;
	keys_free(other);
	made_clear(&made[0]);
	made_clear(&made[1]);
	away_stop(&a);
}

/* It has landed and was changed, and the record of that was evicted. */
static void
what_is_older_than_sync_is_not_told_again(void **state)
{
	const struct sgate_update update = {.data_patch = B("{\"a\":1}")};
	struct sgate_session *found;
	struct made made;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_down(&a.p);
	world_create(&a.p.w, "ann", &made);
	pair_durable_back(&a.p);
	assert_int_equal(ship(&a), 1);
	assert_status(&a.p.w,
	    sgate_session_update(
		a.p.w.mgr, &made.ref, &update, NULL, &a.p.w.err),
	    SGATE_OK);
	pair_round(&a.p, &a.p.stores);
	cache_fake_set_record(&made.ref, B(""), 0);
	/* As at a host that does not know that it has. */
	assert_status(&a.p.w,
	    spool_again(a.reader, SPOOL_TO_DURABLE, 0, &a.p.w.err), SGATE_OK);
	assert_status(&a.p.w,
	    spool_again(a.reader, SPOOL_TO_CACHE, 0, &a.p.w.err), SGATE_OK);
	assert_int_equal(ship_to(&a, SPOOL_TO_CACHE), 1);
	assert_int_equal(pair_state(&made.ref), '\0');
	found = pair_get(&a.p, made.token, ROW);
	assert_bytes(sgate_session_get_data(found), "{\"a\":1}");
	sgate_session_free(found);
	made_clear(&made);
	away_stop(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_login_without_mysql_is_a_session_everywhere),
    cmocka_unit_test(anonymous_and_remembered_sessions_are_created_too),
    cmocka_unit_test(it_can_be_turned_off),
    cmocka_unit_test(what_is_not_known_or_not_kept_is_not_created),
    cmocka_unit_test(a_commit_without_an_answer_is_one_session),
    cmocka_unit_test(a_store_that_is_there_is_not_passed_over),
    cmocka_unit_test(the_anonymous_session_that_is_replaced_ends),
    cmocka_unit_test(a_blocked_user_is_refused_without_mysql),
    cmocka_unit_test(the_blocked_are_read_when_they_change),
    cmocka_unit_test(a_keeper_that_dies_over_the_list_is_followed),
    cmocka_unit_test(a_user_who_was_blocked_meanwhile_ends_as_he_lands),
    cmocka_unit_test(a_look_lands_what_it_meets),
    cmocka_unit_test(what_was_created_outlives_the_setting),
    cmocka_unit_test(landing_keeps_the_activity),
    cmocka_unit_test(a_new_session_without_a_row_is_not_logged_out),
    cmocka_unit_test(without_mysql_a_copy_counts_as_far_as_the_fence_goes),
    cmocka_unit_test(a_change_lands_it_first),
    cmocka_unit_test(an_end_and_its_creation_may_come_in_any_order),
    cmocka_unit_test(an_end_with_mysql_leaves_nothing_to_land),
    cmocka_unit_test(a_cleanup_ends_what_has_not_landed),
    cmocka_unit_test(a_cleanup_empties_a_large_set),
    cmocka_unit_test(a_large_set_that_is_read_in_part_is_told),
    cmocka_unit_test(a_cleanup_ends_nobody_elses_session),
    cmocka_unit_test(a_cleanup_without_the_set_ends_what_lands_later),
    cmocka_unit_test(a_cleanup_is_found_among_thousands_of_events),
    cmocka_unit_test(a_session_that_nobody_knows_yet_is_held),
    cmocka_unit_test(a_host_that_knows_nothing_yet_says_no_to_nobody),
    cmocka_unit_test(a_store_that_comes_and_goes_is_away_all_the_time),
    cmocka_unit_test(a_lost_record_is_told_again),
    cmocka_unit_test(what_no_key_opens_waits_for_its_key),
    cmocka_unit_test(what_is_older_than_sync_is_not_told_again),
};

TAP_MAIN(tests)
