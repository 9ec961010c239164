/*
 * What the old Python session managers could do, by their old names. Each test
 * is one public method: what its users relied on, without its bugs, and which
 * store served (their fallback was never seen to be permanent).
 *
 * session_manager_v2: SessionManagerV2; unified_session_manager:
 * UnifiedSessionManager; request_scoped_session_manager; session_manager: the
 * consolidated one; redis_session_backend: the health check alone. The table
 * of methods without a counterpart is at the end.
 */
#include "tap.h"

#include "world.h"

#include <stdlib.h>
#include <string.h>

static struct world w;

static int
start(void **state)
{
	(void)state;
	world_start(&w);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	world_close(&w);
	return 0;
}

static void
served_by_durable(void)
{
	assert_string_equal(manager_served_by(w.mgr), world_store());
}

static struct sgate_session *
get(const char *token)
{
	struct sgate_session *s = NULL;

	assert_status(
	    &w, sgate_session_get(w.mgr, B(token), 0, &s, &w.err), SGATE_OK);
	served_by_durable();
	return s;
}

/* create_session(user_id, platform_connection_id): an id that works. */
static void
create_session(const char *user, const char *platform)
{
	struct sgate_create c = {.user_id = B(user), .context = B(platform)};
	struct sgate_session *s;
	struct made made;

	world_create_with(&w, &c, &made);
	served_by_durable();
	s = get(made.token);
	assert_bytes(sgate_session_get_user_id(s), user);
	assert_bytes(sgate_session_get_context(s), platform);
	assert_int_equal(world_audit(&w, "create", &made.ref), 1);
	sgate_session_free(s);
	made_clear(&made);
}

static void
create_session_of_inactive_user(const char *user)
{
	struct sgate_create c = {.user_id = B(user)};
	struct sgate_session *s = NULL;
	char *token = NULL;
	uint64_t count;

	assert_status(&w,
	    sgate_user_block(w.mgr, B(user), B("inactive"), &count, &w.err),
	    SGATE_OK);
	assert_status(&w, sgate_session_create(w.mgr, &c, &s, &token, &w.err),
	    SGATE_DENIED);
	served_by_durable();
	assert_null(token);
}

/* destroy_session: gone, may be repeated, and its audit trail stays. */
static void
destroy_session(void)
{
	struct made made;

	world_create(&w, "1", &made);
	assert_status(&w,
	    sgate_session_end(
		w.mgr, &made.ref, SGATE_REASON_LOGGED_OUT, &w.err),
	    SGATE_OK);
	served_by_durable();
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_LOGGED_OUT);
	assert_status(&w,
	    sgate_session_end(
		w.mgr, &made.ref, SGATE_REASON_LOGGED_OUT, &w.err),
	    SGATE_OK);
	served_by_durable();
	assert_int_equal(world_audit(&w, "end", &made.ref), 1);
	made_clear(&made);
}

/* validate_session: expired, ended and unknown ones are not valid. */
static void
validate_session(void)
{
	struct sgate_ref ref;
	struct made made;

	world_create(&w, "1", &made);
	assert_status(&w,
	    sgate_session_validate(w.mgr, B(made.token), &ref, &w.err),
	    SGATE_OK);
	served_by_durable();
	assert_memory_equal(ref.bytes, made.ref.bytes, SGATE_REF_BYTES);
	w.now_ms += 8 * HOUR;
	assert_status(&w,
	    sgate_session_validate(w.mgr, B(made.token), &ref, &w.err),
	    SGATE_NOT_FOUND);
	served_by_durable();
	made_clear(&made);
	world_create(&w, "1", &made);
	assert_status(&w,
	    sgate_session_end(w.mgr, &made.ref, SGATE_REASON_REVOKED, &w.err),
	    SGATE_OK);
	assert_status(&w,
	    sgate_session_validate(w.mgr, B(made.token), &ref, &w.err),
	    SGATE_NOT_FOUND);
	assert_status(&w,
	    sgate_session_validate(w.mgr, B("no such id"), &ref, &w.err),
	    SGATE_NOT_FOUND);
	made_clear(&made);
}

/* switch_platform: one of the user's own platforms, or no change at all. */
static void
switch_platform(void)
{
	const struct sgate_bytes own[] = {B("10"), B("11")};
	struct sgate_create c = {.user_id = B("1"),
	    .context = B("10"),
	    .contexts = own,
	    .contexts_count = 2};
	struct sgate_update u = {.context = B("11"), .context_listed = 1};
	struct sgate_session *s = NULL;
	struct made made;

	world_create_with(&w, &c, &made);
	assert_status(&w,
	    sgate_session_update(w.mgr, &made.ref, &u, &s, &w.err), SGATE_OK);
	served_by_durable();
	assert_bytes(sgate_session_get_context(s), "11");
	sgate_session_free(s);
	u.context = B("12");
	assert_status(&w,
	    sgate_session_update(w.mgr, &made.ref, &u, &s, &w.err),
	    SGATE_DENIED);
	s = get(made.token);
	assert_bytes(sgate_session_get_context(s), "11");
	sgate_session_free(s);
	assert_int_equal(world_audit(&w, "update", &made.ref), 1);
	made_clear(&made);
}

/* cleanup_user_sessions: each session counted once, the kept one is kept. */
static void
cleanup_user_sessions(bool keeps_current)
{
	struct made made[3], other;
	uint64_t count = 0;
	size_t i;

	for (i = 0; i < 3; i++)
		world_create(&w, "1", &made[i]);
	world_create(&w, "2", &other);
	assert_status(&w,
	    sgate_user_cleanup(w.mgr, B("1"),
		keeps_current ? &made[0].ref : NULL, SGATE_REASON_REVOKED,
		&count, &w.err),
	    SGATE_OK);
	served_by_durable();
	assert_int_equal(count, keeps_current ? 2 : 3);
	assert_int_equal(world_look(&w, made[0].token),
	    keeps_current ? SGATE_REASON_OK : SGATE_REASON_REVOKED);
	assert_int_equal(world_look(&w, made[1].token), SGATE_REASON_REVOKED);
	assert_int_equal(world_look(&w, other.token), SGATE_REASON_OK);
	assert_int_equal(world_audit(&w, "end", &made[1].ref), 1);
	for (i = 0; i < 3; i++)
		made_clear(&made[i]);
	made_clear(&other);
}

static int
add_row(void *arg, const struct sgate_value *columns, size_t count)
{
	(void)columns;
	(void)count;
	(*(int *)arg)++;
	return 0;
}

static void
db_do(struct sgate_db *db, const char *sql, int *rows)
{
	assert_status(&w,
	    sgate_db_exec(
		db, sql, NULL, 0, rows != NULL ? add_row : NULL, rows, &w.err),
	    SGATE_OK);
}

static struct sgate_db *
db_open(void)
{
	struct sgate_db *db = NULL;

	assert_status(&w, sgate_db_open(w.mgr, 0, &db, &w.err), SGATE_OK);
	served_by_durable();
	return db;
}

/* get_db_session: committed when all went well, else rolled back, released. */
static void
get_db_session(void)
{
	struct sgate_db *db;
	int rows = 0;

	world_make_table(&w, "CREATE TABLE own (x INTEGER)");
	db = db_open();
	db_do(db, "INSERT INTO own VALUES (1)", NULL);
	assert_status(&w, sgate_db_commit(db, &w.err), SGATE_OK);
	sgate_db_close(db);
	db = db_open();
	db_do(db, "INSERT INTO own VALUES (2)", NULL);
	sgate_db_close(db);
	db = db_open();
	db_do(db, "SELECT x FROM own", &rows);
	sgate_db_close(db);
	assert_int_equal(rows, 1);
}

/* ---- SessionManagerV2 ---- */

static void
session_manager_v2_create_session(void **state)
{
	(void)state;
	create_session("1", "10");
	create_session("1", "");
	create_session_of_inactive_user("2");
}

/* Reading is no rewriting: a concurrent change is not lost by it. */
static void
session_manager_v2_get_session_data(void **state)
{
	struct sgate_create c = {
	    .user_id = B("1"), .data = B("{\"lang\":\"eo\"}")};
	struct sgate_session *s = NULL;
	struct made made;

	(void)state;
	world_create_with(&w, &c, &made);
	w.now_ms += 5 * MINUTE;
	s = get(made.token);
	assert_bytes(sgate_session_get_data(s), "{\"lang\":\"eo\"}");
	assert_int_equal(sgate_session_get_version(s), 1);
	assert_int_equal(sgate_session_get_last_seen_ms(s), w.now_ms);
	sgate_session_free(s);
	assert_status(&w, sgate_session_get(w.mgr, B("unknown"), 0, &s, &w.err),
	    SGATE_NOT_FOUND);
	assert_null(s);
	made_clear(&made);
}

static void
session_manager_v2_update_session(void **state)
{
	struct sgate_create c = {
	    .user_id = B("1"), .data = B("{\"a\":1,\"b\":2}")};
	struct sgate_update one = {.data_patch = B("{\"b\":3}")};
	struct sgate_update two = {.data_patch = B("{\"c\":4,\"a\":null}")};
	struct sgate_session *s = NULL;
	struct made made;

	(void)state;
	world_create_with(&w, &c, &made);
	assert_status(&w,
	    sgate_session_update(w.mgr, &made.ref, &one, NULL, &w.err),
	    SGATE_OK);
	assert_status(&w,
	    sgate_session_update(w.mgr, &made.ref, &two, &s, &w.err), SGATE_OK);
	served_by_durable();
	assert_bytes(sgate_session_get_data(s), "{\"b\":3,\"c\":4}");
	sgate_session_free(s);
	assert_status(&w,
	    sgate_session_end(w.mgr, &made.ref, SGATE_REASON_REVOKED, &w.err),
	    SGATE_OK);
	/* Not resurrected. */
	assert_status(&w,
	    sgate_session_update(w.mgr, &made.ref, &one, NULL, &w.err),
	    SGATE_NOT_FOUND);
	made_clear(&made);
}

static void
session_manager_v2_destroy_session(void **state)
{
	(void)state;
	destroy_session();
}

static void
session_manager_v2_switch_platform(void **state)
{
	(void)state;
	switch_platform();
}

static void
session_manager_v2_cleanup_user_sessions(void **state)
{
	(void)state;
	cleanup_user_sessions(true);
}

static void
session_manager_v2_get_user_sessions(void **state)
{
	struct sgate_list *list = NULL;
	const struct sgate_session *s;
	struct made first, second;

	(void)state;
	world_create(&w, "1", &first);
	w.now_ms += MINUTE;
	world_create(&w, "1", &second);
	assert_status(&w, sgate_user_sessions(w.mgr, B("1"), 10, &list, &w.err),
	    SGATE_OK);
	served_by_durable();
	assert_int_equal(sgate_list_count(list), 2);
	s = sgate_list_get(list, 1);
	assert_memory_equal(
	    sgate_session_get_ref(s)->bytes, first.ref.bytes, SGATE_REF_BYTES);
	assert_int_equal(sgate_session_get_created_ms(s), w.now_ms - MINUTE);
	assert_int_equal(
	    sgate_session_get_idle_expires_ms(s), w.now_ms + 29 * MINUTE);
	sgate_list_free(list);
	made_clear(&first);
	made_clear(&second);
}

static void
session_manager_v2_validate_session(void **state)
{
	(void)state;
	validate_session();
}

/* Never shortens, never passes the absolute expiry, one expiry in one store. */
static void
session_manager_v2_extend_session(void **state)
{
	struct sgate_session *s = NULL;
	struct made made;
	int64_t expires_ms;

	(void)state;
	world_create(&w, "1", &made);
	expires_ms = sgate_session_get_expires_ms(made.session);
	w.now_ms += 20 * MINUTE;
	assert_status(&w,
	    sgate_session_extend(w.mgr, B(made.token), &s, &w.err), SGATE_OK);
	served_by_durable();
	assert_int_equal(
	    sgate_session_get_idle_expires_ms(s), w.now_ms + 30 * MINUTE);
	assert_int_equal(sgate_session_get_expires_ms(s), expires_ms);
	sgate_session_free(s);
	w.now_ms = expires_ms;
	assert_status(&w,
	    sgate_session_extend(w.mgr, B(made.token), &s, &w.err),
	    SGATE_NOT_FOUND);
	made_clear(&made);
}

static void
session_manager_v2_get_session_stats(void **state)
{
	struct sgate_stats stats;
	struct made made[3];
	size_t i;

	(void)state;
	world_create(&w, "1", &made[0]);
	world_create(&w, "1", &made[1]);
	world_create(&w, "2", &made[2]);
	assert_status(&w, sgate_stats(w.mgr, &stats, &w.err), SGATE_OK);
	served_by_durable();
	assert_int_equal(stats.live, 3);
	assert_int_equal(stats.users, 2);
	for (i = 0; i < 3; i++)
		made_clear(&made[i]);
}

static void
session_manager_v2_get_db_session(void **state)
{
	(void)state;
	get_db_session();
}

/* ---- UnifiedSessionManager ---- */

static void
unified_session_manager_get_db_session(void **state)
{
	(void)state;
	get_db_session();
}

static void
unified_session_manager_create_session(void **state)
{
	(void)state;
	create_session("1", "10");
	create_session_of_inactive_user("1");
}

/* All of the context, and none of an expired session. */
static void
unified_session_manager_get_session_context(void **state)
{
	const struct sgate_bytes roles[] = {B("admin")};
	struct sgate_create c = {.user_id = B("1"),
	    .context = B("10"),
	    .roles = roles,
	    .roles_count = 1};
	struct sgate_session *s;
	struct made made;

	(void)state;
	world_create_with(&w, &c, &made);
	s = get(made.token);
	assert_bytes(sgate_session_get_user_id(s), "1");
	assert_bytes(sgate_session_get_context(s), "10");
	assert_bytes(sgate_session_get_roles(s), "admin");
	assert_int_equal(sgate_session_get_created_ms(s), w.now_ms);
	assert_int_equal(sgate_session_get_last_seen_ms(s), w.now_ms);
	assert_int_equal(sgate_session_get_expires_ms(s), w.now_ms + 8 * HOUR);
	sgate_session_free(s);
	w.now_ms += 33 * MINUTE;
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_EXPIRED_IDLE);
	served_by_durable();
	made_clear(&made);
}

static void
unified_session_manager_validate_session(void **state)
{
	(void)state;
	validate_session();
}

static void
unified_session_manager_update_session_activity(void **state)
{
	struct sgate_session *s = NULL;
	struct made made;

	(void)state;
	world_create(&w, "1", &made);
	w.now_ms += MINUTE;
	assert_status(&w,
	    sgate_session_extend(w.mgr, B(made.token), &s, &w.err), SGATE_OK);
	served_by_durable();
	sgate_session_free(s);
	s = world_row(&w, &made.ref);
	assert_int_equal(sgate_session_get_last_seen_ms(s), w.now_ms);
	sgate_session_free(s);
	made_clear(&made);
}

static void
unified_session_manager_update_platform_context(void **state)
{
	(void)state;
	switch_platform();
}

static void
unified_session_manager_destroy_session(void **state)
{
	(void)state;
	destroy_session();
}

static void
unified_session_manager_cleanup_expired_sessions(void **state)
{
	struct sgate_reaped reaped;
	struct made old, live;

	(void)state;
	world_create(&w, "1", &old);
	w.now_ms += 33 * MINUTE;
	world_create(&w, "1", &live);
	assert_status(&w, sgate_reap(w.mgr, &reaped, &w.err), SGATE_OK);
	served_by_durable();
	assert_int_equal(reaped.ended, 1);
	assert_int_equal(world_audit(&w, "end", &old.ref), 1);
	assert_int_equal(world_look(&w, live.token), SGATE_REASON_OK);
	made_clear(&old);
	made_clear(&live);
}

static void
unified_session_manager_cleanup_user_sessions(void **state)
{
	(void)state;
	cleanup_user_sessions(true);
}

/* ---- RequestScopedSessionManager ---- */

/* One transaction, opened when it is needed. */
static void
request_scoped_session_manager_get_request_session(void **state)
{
	struct sgate_db *db;
	int rows = 0;

	(void)state;
	db = db_open();
	db_do(db, "SELECT 1", &rows);
	assert_int_equal(rows, 1);
	sgate_db_close(db);
}

/* Released on every path, also when nothing was opened. */
static void
request_scoped_session_manager_close_request_session(void **state)
{
	struct sgate_db *db;
	struct made made;

	(void)state;
	db = db_open();
	sgate_db_close(db);
	sgate_db_close(NULL);
	world_create(&w, "1", &made);
	served_by_durable();
	made_clear(&made);
}

/* Commits as a whole, and not at all after an error. */
static void
request_scoped_session_manager_session_scope(void **state)
{
	struct sgate_db *db;
	int rows = 0;

	(void)state;
	get_db_session();
	db = db_open();
	db_do(db, "INSERT INTO own VALUES (3)", NULL);
	assert_int_not_equal(
	    sgate_db_exec(db, "nonsense", NULL, 0, NULL, NULL, &w.err),
	    SGATE_OK);
	assert_status(&w, sgate_db_commit(db, &w.err), SGATE_INVALID);
	sgate_db_close(db);
	db = db_open();
	db_do(db, "SELECT x FROM own", &rows);
	sgate_db_close(db);
	assert_int_equal(rows, 1);
}

/* A transaction that is over says so. */
static void
request_scoped_session_manager_is_session_active(void **state)
{
	struct sgate_db *db;

	(void)state;
	db = db_open();
	assert_status(&w, sgate_db_commit(db, &w.err), SGATE_OK);
	assert_status(&w,
	    sgate_db_exec(db, "SELECT 1", NULL, 0, NULL, NULL, &w.err),
	    SGATE_INVALID);
	sgate_db_close(db);
}

/* ---- SessionManager, the consolidated one ---- */

static void
session_manager_get_db_session(void **state)
{
	(void)state;
	get_db_session();
}

/* Durable, or an error: never an id that no store holds. */
static void
session_manager_create_session(void **state)
{
	struct sgate_create c = {.user_id = B("1")};
	struct sgate_session *s = NULL;
	struct sgate_manager *mgr;
	char *token = NULL;

	(void)state;
	create_session("1", "10");
	world_lose_store(&w);
	mgr = world_manager(&w, NULL);
	assert_status(&w, sgate_session_create(mgr, &c, &s, &token, &w.err),
	    SGATE_UNAVAILABLE);
	assert_null(s);
	assert_null(token);
	assert_string_equal(manager_served_by(mgr), "");
	sgate_manager_free(mgr);
}

/* Expiry and ends count in the store that answers, whichever it is. */
static void
session_manager_get_session(void **state)
{
	struct made made;

	(void)state;
	world_create(&w, "1", &made);
	sgate_session_free(get(made.token));
	w.now_ms += 8 * HOUR;
	assert_int_equal(
	    world_look(&w, made.token), SGATE_REASON_EXPIRED_ABSOLUTE);
	served_by_durable();
	made_clear(&made);
}

static void
session_manager_cleanup_user_sessions(void **state)
{
	(void)state;
	cleanup_user_sessions(false);
}

static void
redis_session_backend_health_check(void **state)
{
	struct sgate_health health;

	(void)state;
	assert_status(&w, sgate_health(w.mgr, &health, &w.err), SGATE_OK);
	served_by_durable();
	assert_true(health.durable_up);
	assert_string_equal(health.durable_name, world_store());
	assert_true(health.durable_latency_us >= 0);
}

/*
 * Methods without a counterpart here, and why:
 *
 * | method                                | why                             |
 * | get_current_platform_context,         | values of one Flask request; a  |
 * | get_current_platform, get_current_    | program has the session that it |
 * | user_from_context, switch_platform_   | looked up                       |
 * | context                               |                                 |
 * | ensure_session_attachment             | objects of SQLAlchemy; values   |
 * |                                       | here belong to the caller       |
 * | request_scoped get_session_info       | the same; a failed statement is |
 * |                                       | remembered by the transaction   |
 * | _enrich_session_context (user, email, | the gateway owns no user table; |
 * | platform names)                       | a program puts them into data   |
 * | the default platform of a user        | the same                        |
 * | get_all_sessions, get_session_count   | a look at everything; counts    |
 * | (SCAN over all keys)                  | come from sgate_stats()         |
 * | flush_all_sessions (SCAN and DEL)     | comes with flush marks          |
 * | exists                                | no check of expiry or end: use  |
 * |                                       | sgate_session_validate()        |
 * | update_ttl, get_ttl, set(ttl)         | expiry is the session's, not a  |
 * |                                       | store's; set() resurrected      |
 * | extend_session(additional_seconds)    | it set any time, also shorter   |
 * |                                       | ones; extend slides by the idle |
 * |                                       | timeout                         |
 * | create_session's fingerprint          | stored and never compared; the  |
 * |                                       | gateway binds agent and address |
 * | RedisSession, save_session            | a whole rewrite per request;    |
 * |                                       | changes are merged by member    |
 * | logging of whole session data         | secrets in logs                 |
 * | MaintenanceSessionManager             | comes with maintenance mode     |
 */

#define PARITY(name) cmocka_unit_test_setup_teardown(name, start, stop)

static const struct CMUnitTest parity[] = {
    PARITY(session_manager_v2_create_session),
    PARITY(session_manager_v2_get_session_data),
    PARITY(session_manager_v2_update_session),
    PARITY(session_manager_v2_destroy_session),
    PARITY(session_manager_v2_switch_platform),
    PARITY(session_manager_v2_cleanup_user_sessions),
    PARITY(session_manager_v2_get_user_sessions),
    PARITY(session_manager_v2_validate_session),
    PARITY(session_manager_v2_extend_session),
    PARITY(session_manager_v2_get_session_stats),
    PARITY(session_manager_v2_get_db_session),
    PARITY(unified_session_manager_get_db_session),
    PARITY(unified_session_manager_create_session),
    PARITY(unified_session_manager_get_session_context),
    PARITY(unified_session_manager_validate_session),
    PARITY(unified_session_manager_update_session_activity),
    PARITY(unified_session_manager_update_platform_context),
    PARITY(unified_session_manager_destroy_session),
    PARITY(unified_session_manager_cleanup_expired_sessions),
    PARITY(unified_session_manager_cleanup_user_sessions),
    PARITY(request_scoped_session_manager_get_request_session),
    PARITY(request_scoped_session_manager_close_request_session),
    PARITY(request_scoped_session_manager_session_scope),
    PARITY(request_scoped_session_manager_is_session_active),
    PARITY(session_manager_get_db_session),
    PARITY(session_manager_create_session),
    PARITY(session_manager_get_session),
    PARITY(session_manager_cleanup_user_sessions),
    PARITY(redis_session_backend_health_check),
};

TAP_MAIN(parity)
