/*
 * All sessions of a user, and care: list, cleanup, block, limits, reaping,
 * touches, counts, leases, service keys, the caller's own statements.
 */
#include "tap.h"

#include "world.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

static uint64_t
cleanup(struct world *w, const char *user, const struct sgate_ref *except)
{
	uint64_t count = 99;

	assert_status(w,
	    sgate_user_cleanup(
		w->mgr, B(user), except, SGATE_REASON_REVOKED, &count, &w->err),
	    SGATE_OK);
	return count;
}

static void
a_list_is_newest_first_bounded_and_live(void **state)
{
	struct sgate_list *list = NULL;
	struct made made[4];
	struct world w;
	size_t i;

	(void)state;
	world_start(&w);
	for (i = 0; i < 4; i++) {
		world_create(&w, "ann", &made[i]);
		w.now_ms += 1000;
	}
	assert_status(&w,
	    sgate_session_end(
		w.mgr, &made[3].ref, SGATE_REASON_REVOKED, &w.err),
	    SGATE_OK);
	assert_status(&w,
	    sgate_user_sessions(w.mgr, B("ann"), 2, &list, &w.err), SGATE_OK);
	assert_int_equal(sgate_list_count(list), 2);
	assert_memory_equal(sgate_list_get(list, 0)->ref.bytes,
	    made[2].ref.bytes, SGATE_REF_BYTES);
	assert_memory_equal(sgate_list_get(list, 1)->ref.bytes,
	    made[1].ref.bytes, SGATE_REF_BYTES);
	assert_null(sgate_list_get(list, 2));
	sgate_list_free(list);
	assert_int_equal(world_count(&w, "ann"), 3);
	assert_int_equal(world_count(&w, "bob"), 0);
	w.now_ms += 33 * MINUTE - 4000;
	assert_int_equal(world_count(&w, "ann"), 2);
	assert_status(&w, sgate_user_sessions(w.mgr, B(""), 2, &list, &w.err),
	    SGATE_INVALID);
	assert_null(list);
	for (i = 0; i < 4; i++)
		made_clear(&made[i]);
	world_close(&w);
}

static void
a_list_finds_those_that_live_behind_many_that_have_expired(void **state)
{
	struct sgate_create longer = {.user_id = B("ann"), .remember = 1};
	struct sgate_list *list = NULL;
	struct made made[12];
	struct world w;
	size_t i;

	(void)state;
	world_start(&w);
	for (i = 0; i < 12; i++) {
		if (i < 3)
			world_create_with(&w, &longer, &made[i]);
		else
			world_create(&w, "ann", &made[i]);
		w.now_ms += 1000;
	}
	w.now_ms += HOUR;
	assert_status(&w,
	    sgate_user_sessions(w.mgr, B("ann"), 2, &list, &w.err), SGATE_OK);
	assert_int_equal(sgate_list_count(list), 2);
	assert_memory_equal(sgate_list_get(list, 0)->ref.bytes,
	    made[2].ref.bytes, SGATE_REF_BYTES);
	assert_memory_equal(sgate_list_get(list, 1)->ref.bytes,
	    made[1].ref.bytes, SGATE_REF_BYTES);
	sgate_list_free(list);
	assert_int_equal(world_count(&w, "ann"), 3);
	for (i = 0; i < 12; i++)
		made_clear(&made[i]);
	world_close(&w);
}

static void
a_cleanup_ends_all_but_one_and_counts_them(void **state)
{
	struct made made[3], other;
	struct world w;
	size_t i;

	(void)state;
	world_start(&w);
	for (i = 0; i < 3; i++)
		world_create(&w, "ann", &made[i]);
	world_create(&w, "bob", &other);
	assert_int_equal(cleanup(&w, "ann", &made[1].ref), 2);
	assert_int_equal(world_look(&w, made[0].token), SGATE_REASON_REVOKED);
	assert_int_equal(world_look(&w, made[1].token), SGATE_REASON_OK);
	assert_int_equal(world_look(&w, made[2].token), SGATE_REASON_REVOKED);
	assert_int_equal(world_look(&w, other.token), SGATE_REASON_OK);
	assert_int_equal(world_audit(&w, "cleanup", NULL), 1);
	assert_int_equal(world_audit(&w, "end", NULL), 2);
	assert_int_equal(world_audit(&w, "end", &made[0].ref), 1);
	assert_int_equal(cleanup(&w, "ann", &made[1].ref), 0);
	assert_int_equal(cleanup(&w, "ann", NULL), 1);
	assert_int_equal(cleanup(&w, "nobody", NULL), 0);
	assert_int_equal(world_audit(&w, "end", NULL), 3);
	for (i = 0; i < 3; i++)
		made_clear(&made[i]);
	made_clear(&other);
	world_close(&w);
}

/* One change number for all rows that ended in one transaction. */
static void
rows_that_end_together_share_their_groups_number(void **state)
{
	struct sgate_session *a, *b;
	struct made made[2];
	struct world w;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made[0]);
	world_create(&w, "ann", &made[1]);
	assert_int_equal(cleanup(&w, "ann", NULL), 2);
	a = world_row(&w, &made[0].ref);
	b = world_row(&w, &made[1].ref);
	assert_int_equal(a->seq, b->seq);
	assert_true(a->seq > 0);
	sgate_session_free(a);
	sgate_session_free(b);
	made_clear(&made[0]);
	made_clear(&made[1]);
	world_close(&w);
}

static void
a_blocked_user_is_out_and_stays_out(void **state)
{
	struct sgate_create c = {.user_id = B("ann")};
	struct sgate_session *s = NULL;
	struct world w;
	struct made made;
	uint64_t count = 0;
	char *token = NULL;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	assert_status(&w,
	    sgate_user_block(w.mgr, B("ann"), B("left"), &count, &w.err),
	    SGATE_OK);
	assert_int_equal(count, 1);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_BLOCKED);
	made_clear(&made);
	assert_status(&w, sgate_session_create(w.mgr, &c, &s, &token, &w.err),
	    SGATE_DENIED);
	assert_int_equal(w.err.reason, SGATE_REASON_BLOCKED);
	assert_null(s);
	assert_null(token);
	assert_status(&w,
	    sgate_user_block(w.mgr, B("ann"), B("left"), &count, &w.err),
	    SGATE_OK);
	assert_int_equal(count, 0);
	world_create(&w, "bob", &made);
	made_clear(&made);
	assert_status(
	    &w, sgate_user_unblock(w.mgr, B("ann"), &w.err), SGATE_OK);
	assert_status(
	    &w, sgate_user_unblock(w.mgr, B("ann"), &w.err), SGATE_OK);
	assert_int_equal(world_audit(&w, "unblock", NULL), 1);
	assert_int_equal(world_audit(&w, "block", NULL), 2);
	world_create(&w, "ann", &made);
	made_clear(&made);
	world_close(&w);
}

static void
a_full_user_loses_the_oldest_session(void **state)
{
	struct made made[4];
	struct world w;
	size_t i;

	(void)state;
	world_start(&w);
	sgate_manager_free(w.mgr);
	w.conf->session.max_sessions = 2;
	w.conf->session.on_limit = CONF_LIMIT_EVICT;
	w.mgr = world_manager(&w, NULL);
	for (i = 0; i < 3; i++) {
		world_create(&w, "ann", &made[i]);
		w.now_ms += 1000;
	}
	assert_int_equal(world_look(&w, made[0].token), SGATE_REASON_LIMIT);
	assert_int_equal(world_look(&w, made[1].token), SGATE_REASON_OK);
	assert_int_equal(world_audit(&w, "end", &made[0].ref), 1);
	assert_int_equal(world_count(&w, "ann"), 2);
	/* What has expired takes no place. */
	w.now_ms += 33 * MINUTE - 2000;
	world_create(&w, "ann", &made[3]);
	assert_int_equal(world_look(&w, made[2].token), SGATE_REASON_OK);
	assert_int_equal(
	    world_look(&w, made[1].token), SGATE_REASON_EXPIRED_IDLE);
	for (i = 0; i < 4; i++)
		made_clear(&made[i]);
	world_close(&w);
}

static void
a_full_user_is_refused_where_it_says_so(void **state)
{
	struct sgate_create c = {.user_id = B("ann")};
	struct sgate_session *s = NULL;
	struct made made;
	struct world w;
	char *token = NULL;

	(void)state;
	world_start(&w);
	sgate_manager_free(w.mgr);
	w.conf->session.max_sessions = 1;
	w.conf->session.on_limit = CONF_LIMIT_REFUSE;
	w.mgr = world_manager(&w, NULL);
	world_create(&w, "ann", &made);
	assert_status(&w, sgate_session_create(w.mgr, &c, &s, &token, &w.err),
	    SGATE_DENIED);
	assert_int_equal(w.err.reason, SGATE_REASON_LIMIT);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_int_equal(world_audit(&w, NULL, NULL), 1);
	assert_int_equal(cleanup(&w, "ann", NULL), 1);
	made_clear(&made);
	world_create(&w, "ann", &made);
	made_clear(&made);
	world_close(&w);
}

/* One chunk and a bit: in more than one transaction, in one call. */
static void
a_cleanup_of_thousands_is_one_call(void **state)
{
	const size_t all = MANAGER_CLEANUP_CHUNK + 50;
	struct made kept, made;
	struct world w;
	size_t i;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &kept);
	for (i = 0; i < all; i++) {
		world_create(&w, "ann", &made);
		made_clear(&made);
	}
	assert_int_equal(cleanup(&w, "ann", &kept.ref), all);
	assert_int_equal(world_count(&w, "ann"), 1);
	assert_int_equal(world_audit(&w, "end", NULL), all);
	assert_int_equal(world_audit(&w, "cleanup", NULL), 2);
	assert_int_equal(world_look(&w, kept.token), SGATE_REASON_OK);
	made_clear(&kept);
	world_close(&w);
}

/* ---- reap ---- */

static void
the_reaper_ends_what_expired_and_deletes_it_later(void **state)
{
	struct sgate_reaped reaped;
	struct sgate_stats stats;
	struct made idle, anonymous, live;
	struct sgate_session *row;
	struct world w;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &idle);
	world_create(&w, "", &anonymous);
	w.now_ms += 34 * MINUTE;
	world_create(&w, "bob", &live);
	assert_status(&w, sgate_reap(w.mgr, &reaped, &w.err), SGATE_OK);
	assert_int_equal(reaped.ended, 2);
	assert_int_equal(reaped.deleted, 0);
	assert_true(reaped.is_done);
	row = world_row(&w, &idle.ref);
	assert_int_equal(row->state, SESSION_ENDED);
	assert_int_equal(row->end_reason, SGATE_REASON_EXPIRED_IDLE);
	sgate_session_free(row);
	row = world_row(&w, &anonymous.ref);
	assert_int_equal(row->end_reason, SGATE_REASON_EXPIRED_ABSOLUTE);
	sgate_session_free(row);
	assert_int_equal(world_audit(&w, "end", &idle.ref), 1);
	assert_int_equal(world_look(&w, idle.token), SGATE_REASON_EXPIRED_IDLE);
	assert_int_equal(world_look(&w, live.token), SGATE_REASON_OK);
	assert_status(&w, sgate_stats(w.mgr, &stats, &w.err), SGATE_OK);
	assert_int_equal(stats.live, 1);
	assert_int_equal(stats.anonymous, 0);
	assert_int_equal(stats.users, 1);
	assert_int_equal(stats.ended, 2);
	/* Again: nothing is ended twice. */
	assert_status(&w, sgate_reap(w.mgr, &reaped, &w.err), SGATE_OK);
	assert_int_equal(reaped.ended, 0);
	assert_int_equal(world_audit(&w, "end", NULL), 2);

	w.now_ms += 9 * HOUR + w.conf->reap.ended_keep_ms;
	assert_status(&w, sgate_reap(w.mgr, &reaped, &w.err), SGATE_OK);
	assert_status(&w, sgate_reap(w.mgr, &reaped, &w.err), SGATE_OK);
	/* Redis forgets a tombstone by its own clock. */
	world_flush_cache(&w);
	assert_int_equal(world_look(&w, idle.token), SGATE_REASON_UNKNOWN);
	assert_status(&w, sgate_stats(w.mgr, &stats, &w.err), SGATE_OK);
	assert_int_equal(stats.ended, 0);
	made_clear(&idle);
	made_clear(&anonymous);
	made_clear(&live);
	world_close(&w);
}

static void
the_reaper_goes_in_bounded_steps_through_all_realms(void **state)
{
	struct sgate_reaped reaped;
	struct made made;
	struct world w;
	uint64_t ended = 0;
	int i;

	(void)state;
	world_start(&w);
	sgate_manager_free(w.mgr);
	w.conf->reap.chunk = 3;
	w.mgr = world_manager(&w, NULL);
	for (i = 0; i < 10; i++) {
		world_caller(w.mgr, i % 2 == 0 ? "a" : "b");
		world_create(&w, "ann", &made);
		made_clear(&made);
	}
	world_caller(w.mgr, "");
	w.now_ms += 8 * HOUR;
	for (i = 0; i < 10; i++) {
		assert_status(&w, sgate_reap(w.mgr, &reaped, &w.err), SGATE_OK);
		assert_true(reaped.ended <= 3);
		ended += reaped.ended;
		if (reaped.is_done)
			break;
	}
	assert_true(i < 10);
	assert_int_equal(ended, 10);
	world_caller(w.mgr, "a");
	assert_int_equal(world_audit(&w, "end", NULL), 5);
	world_close(&w);
}

/* Nobody reaped for days: each session still gets its end before it goes. */
static void
nothing_is_deleted_that_was_not_ended(void **state)
{
	struct sgate_reaped reaped;
	struct made made[10];
	struct world w;
	uint64_t deleted = 0;
	int i, calls;

	(void)state;
	world_start(&w);
	sgate_manager_free(w.mgr);
	w.conf->reap.chunk = 3;
	w.mgr = world_manager(&w, NULL);
	for (i = 0; i < 10; i++)
		world_create(&w, "ann", &made[i]);
	w.now_ms += 100 * HOUR;
	for (calls = 0; calls < 20; calls++) {
		assert_status(&w, sgate_reap(w.mgr, &reaped, &w.err), SGATE_OK);
		deleted += reaped.deleted;
		if (reaped.is_done)
			break;
	}
	assert_true(calls < 20);
	assert_int_equal(deleted, 10);
	for (i = 0; i < 10; i++) {
		assert_int_equal(world_audit(&w, "end", &made[i].ref), 1);
		made_clear(&made[i]);
	}
	world_close(&w);
}

/* ---- touches, health, leases ---- */

static void
collected_touches_are_written_in_any_number_and_order(void **state)
{
	enum { COUNT = 250 };
	struct durable_touch touches[COUNT];
	struct made made[COUNT];
	struct sgate_session *row;
	struct world w;
	size_t i;

	(void)state;
	world_start(&w);
	memset(touches, 0, sizeof(touches));
	for (i = 0; i < COUNT; i++) {
		world_create(&w, i % 2 == 0 ? "ann" : "bob", &made[i]);
		touches[i].ref = made[i].ref;
		touches[i].last_seen_ms = w.now_ms + 1000 + (int64_t)i;
	}
	assert_status(
	    &w, manager_touch_write(w.mgr, touches, COUNT, &w.err), SGATE_OK);
	for (i = 0; i < COUNT; i++) {
		row = world_row(&w, &made[i].ref);
		assert_int_equal(
		    row->last_seen_ms, w.now_ms + 1000 + (int64_t)i);
		sgate_session_free(row);
		made_clear(&made[i]);
	}
	assert_status(
	    &w, manager_touch_write(w.mgr, touches, 0, &w.err), SGATE_OK);
	world_close(&w);
}

static void
health_names_the_store_and_says_why_it_is_down(void **state)
{
	struct sgate_health health;
	struct world w;

	(void)state;
	world_start(&w);
	assert_status(&w, sgate_health(w.mgr, &health, &w.err), SGATE_OK);
	assert_true(health.durable_up);
	assert_string_equal(health.durable_name, world_store());
	assert_string_equal(health.durable_text, "");
	world_close(&w);
	world_open(&w);
	w.mgr = world_manager(&w, NULL);
	assert_status(&w, sgate_health(w.mgr, &health, &w.err), SGATE_OK);
	assert_false(health.durable_up);
	assert_true(health.durable_text[0] != '\0');
	world_close(&w);
}

static void
a_key_is_everywhere_when_every_host_has_announced_it(void **state)
{
	struct sgate_manager *other;
	struct world w;
	uint8_t id;

	(void)state;
	world_start(&w);
	assert_status(
	    &w, manager_announce(w.mgr, "one", 60000, &w.err), SGATE_OK);
	assert_status(&w,
	    keys_file_new(w.conf->keys.file, w.now_ms, &id, &w.err), SGATE_OK);
	other = world_manager(&w, NULL);
	assert_status(
	    &w, manager_announce(other, "two", 60000, &w.err), SGATE_OK);
	assert_status(
	    &w, manager_key_is_everywhere(w.mgr, 1, &w.err), SGATE_OK);
	assert_status(
	    &w, manager_key_is_everywhere(w.mgr, id, &w.err), SGATE_DENIED);
	assert_non_null(strstr(w.err.text, "one"));
	/* The host reloads its keys and announces again at once. */
	assert_status(
	    &w, manager_announce(other, "one", 60000, &w.err), SGATE_OK);
	assert_status(
	    &w, manager_key_is_everywhere(w.mgr, id, &w.err), SGATE_OK);
	/* A host that has gone does not count for ever. */
	assert_status(
	    &w, manager_announce(w.mgr, "three", 60000, &w.err), SGATE_OK);
	assert_status(
	    &w, manager_key_is_everywhere(w.mgr, id, &w.err), SGATE_DENIED);
	w.now_ms += 60001;
	assert_status(
	    &w, manager_key_is_everywhere(w.mgr, id, &w.err), SGATE_OK);
	sgate_manager_free(other);
	world_close(&w);
}

static void
one_host_reaps_at_a_time(void **state)
{
	struct world w;

	(void)state;
	world_start(&w);
	assert_status(
	    &w, manager_reaper_take(w.mgr, "one", 60000, &w.err), SGATE_OK);
	assert_status(
	    &w, manager_reaper_take(w.mgr, "one", 60000, &w.err), SGATE_OK);
	assert_status(
	    &w, manager_reaper_take(w.mgr, "two", 60000, &w.err), SGATE_DENIED);
	w.now_ms += 60001;
	assert_status(
	    &w, manager_reaper_take(w.mgr, "two", 60000, &w.err), SGATE_OK);
	world_close(&w);
}

/* ---- service keys ---- */

static void
a_service_key_is_known_until_it_expires_or_goes(void **state)
{
	struct durable_service svc = {
	    .name = "cron", .scopes = "create,introspect"};
	struct durable_service found;
	char key[MANAGER_SERVICE_KEY_LEN + 1];
	char second[MANAGER_SERVICE_KEY_LEN + 1];
	struct world w;

	(void)state;
	world_start(&w);
	svc.expires_ms = w.now_ms + HOUR;
	assert_status(
	    &w, manager_service_add(w.mgr, &svc, key, &w.err), SGATE_OK);
	assert_int_equal(strlen(key), MANAGER_SERVICE_KEY_LEN);
	assert_memory_equal(key, "sgsk_", 5);
	assert_status(&w, manager_service_add(w.mgr, &svc, second, &w.err),
	    SGATE_CONFLICT);
	assert_string_equal(second, "");
	assert_status(
	    &w, manager_service_check(w.mgr, B(key), &found, &w.err), SGATE_OK);
	assert_string_equal(found.name, "cron");
	assert_string_equal(found.scopes, "create,introspect");
	assert_int_equal(found.created_ms, w.now_ms);
	key[10] = key[10] == 'A' ? 'B' : 'A';
	assert_status(&w, manager_service_check(w.mgr, B(key), &found, &w.err),
	    SGATE_NOT_FOUND);
	assert_string_equal(found.name, "");
	assert_status(&w,
	    manager_service_check(w.mgr, B("sgsk_"), &found, &w.err),
	    SGATE_NOT_FOUND);
	assert_status(
	    &w, manager_service_remove(w.mgr, "cron", &w.err), SGATE_OK);
	assert_status(
	    &w, manager_service_remove(w.mgr, "cron", &w.err), SGATE_NOT_FOUND);
	assert_status(
	    &w, manager_service_add(w.mgr, &svc, key, &w.err), SGATE_OK);
	w.now_ms += HOUR;
	assert_status(&w, manager_service_check(w.mgr, B(key), &found, &w.err),
	    SGATE_NOT_FOUND);
	strcpy(svc.name, "a b");
	assert_status(
	    &w, manager_service_add(w.mgr, &svc, key, &w.err), SGATE_INVALID);
	assert_int_equal(world_audit(&w, "service_add", NULL), 2);
	assert_int_equal(world_audit(&w, "service_remove", NULL), 1);
	world_close(&w);
}

/* ---- the caller's own statements ---- */

static int
take_integer(void *arg, const struct sgate_value *columns, size_t count)
{
	assert_int_equal(count, 1);
	*(int64_t *)arg = columns[0].integer;
	return 0;
}

static int64_t
count_own(struct world *w)
{
	struct sgate_db *db = NULL;
	int64_t count = -1;

	assert_status(w, sgate_db_open(w->mgr, 0, &db, &w->err), SGATE_OK);
	assert_status(w,
	    sgate_db_exec(db, "SELECT count(*) FROM own", NULL, 0, take_integer,
		&count, &w->err),
	    SGATE_OK);
	sgate_db_close(db);
	return count;
}

static void
own_statements_are_rolled_back_unless_committed(void **state)
{
	struct sgate_value value = {
	    .kind = SGATE_VALUE_TEXT, .bytes = B("a'b")};
	struct sgate_db *db = NULL;
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	world_make_table(&w, "CREATE TABLE own (x TEXT)");
	assert_status(&w, sgate_db_open(w.mgr, 0, &db, &w.err), SGATE_OK);
	assert_status(&w,
	    sgate_db_exec(db, "INSERT INTO own VALUES (?)", &value, 1, NULL,
		NULL, &w.err),
	    SGATE_OK);
	/* Sessions can be looked up meanwhile. */
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	sgate_db_close(db);
	assert_int_equal(count_own(&w), 0);

	assert_status(&w, sgate_db_open(w.mgr, 0, &db, &w.err), SGATE_OK);
	assert_status(&w,
	    sgate_db_exec(db, "INSERT INTO own VALUES (?)", &value, 1, NULL,
		NULL, &w.err),
	    SGATE_OK);
	assert_int_not_equal(sgate_db_exec(db, "INSERT INTO nothing VALUES (1)",
				 NULL, 0, NULL, NULL, &w.err),
	    SGATE_OK);
	assert_status(&w, sgate_db_commit(db, &w.err), SGATE_INVALID);
	sgate_db_close(db);
	assert_int_equal(count_own(&w), 0);

	assert_status(&w, sgate_db_open(w.mgr, 0, &db, &w.err), SGATE_OK);
	assert_status(&w,
	    sgate_db_exec(db, "INSERT INTO own VALUES (?)", &value, 1, NULL,
		NULL, &w.err),
	    SGATE_OK);
	assert_status(&w, sgate_db_commit(db, &w.err), SGATE_OK);
	assert_status(&w, sgate_db_commit(db, &w.err), SGATE_INVALID);
	sgate_db_close(db);
	assert_int_equal(count_own(&w), 1);
	sgate_db_close(NULL);
	made_clear(&made);
	world_close(&w);
}

static void
own_statements_end_at_their_deadline(void **state)
{
	const char *endless = strcmp(world_store(), "mysql") == 0
				  ? "SELECT SLEEP(10)"
				  : "WITH RECURSIVE n(i) AS (SELECT 1 UNION "
				    "ALL SELECT i + 1 FROM n) "
				    "SELECT max(i) FROM n";
	struct sgate_db *db = NULL;
	struct world w;
	int64_t started_ms;
	int64_t got;

	(void)state;
	world_start(&w);
	assert_status(&w, sgate_db_open(w.mgr, 50, &db, &w.err), SGATE_OK);
	started_ms = clock_monotonic_ms();
	assert_status(&w,
	    sgate_db_exec(db, endless, NULL, 0, take_integer, &got, &w.err),
	    SGATE_UNAVAILABLE);
	assert_true(clock_monotonic_ms() - started_ms < 2000);
	sgate_db_close(db);
	world_close(&w);
}

static const struct CMUnitTest manager_user[] = {
    cmocka_unit_test(a_list_is_newest_first_bounded_and_live),
    cmocka_unit_test(
	a_list_finds_those_that_live_behind_many_that_have_expired),
    cmocka_unit_test(a_cleanup_ends_all_but_one_and_counts_them),
    cmocka_unit_test(rows_that_end_together_share_their_groups_number),
    cmocka_unit_test(a_blocked_user_is_out_and_stays_out),
    cmocka_unit_test(a_full_user_loses_the_oldest_session),
    cmocka_unit_test(a_full_user_is_refused_where_it_says_so),
    cmocka_unit_test(a_cleanup_of_thousands_is_one_call),
    cmocka_unit_test(the_reaper_ends_what_expired_and_deletes_it_later),
    cmocka_unit_test(the_reaper_goes_in_bounded_steps_through_all_realms),
    cmocka_unit_test(nothing_is_deleted_that_was_not_ended),
    cmocka_unit_test(collected_touches_are_written_in_any_number_and_order),
    cmocka_unit_test(health_names_the_store_and_says_why_it_is_down),
    cmocka_unit_test(a_key_is_everywhere_when_every_host_has_announced_it),
    cmocka_unit_test(one_host_reaps_at_a_time),
    cmocka_unit_test(a_service_key_is_known_until_it_expires_or_goes),
    cmocka_unit_test(own_statements_are_rolled_back_unless_committed),
    cmocka_unit_test(own_statements_end_at_their_deadline),
};

TAP_MAIN(manager_user)
