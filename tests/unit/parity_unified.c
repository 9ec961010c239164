/*
 * UnifiedSessionManager: the database was the truth, and every read wrote to
 * it.
 */
#include "parity.h"

#include <stdlib.h>
#include <string.h>

/* ---- get_db_session() ---- */

/*
 * It failed as SessionDatabaseError when the database was away, and committed
 * or rolled back at its end. Sessions can be looked up while it is open.
 */
void
unified_session_manager__get_db_session(void **state)
{
	struct sgate_manager *lost;
	struct sgate_db *db = NULL;
	struct made made;

	(void)state;
	world_create(&parity, "1", &made);
	assert_status(
	    &parity, sgate_db_open(parity.mgr, 0, &db, &parity.err), SGATE_OK);
	served_by_durable();
	assert_int_equal(world_look(&parity, made.token), SGATE_REASON_OK);
	served_by_cache();
	assert_status(&parity,
	    sgate_db_exec(db, "SELECT 1", NULL, 0, NULL, NULL, &parity.err),
	    SGATE_OK);
	assert_status(&parity, sgate_db_commit(db, &parity.err), SGATE_OK);
	sgate_db_close(db);

	lost = parity_without_durable();
	assert_status(&parity, sgate_db_open(lost, 0, &db, &parity.err),
	    SGATE_UNAVAILABLE);
	assert_string_equal(manager_served_by(lost), "");
	assert_null(db);
	sgate_manager_free(lost);
	made_clear(&made);
}

/* ---- create_session(user_id, platform_connection_id) ---- */

static void
has_all_columns(const struct sgate_session *s)
{
	assert_bytes(sgate_session_get_user_id(s), "1");
	assert_bytes(sgate_session_get_context(s), "10");
	assert_bytes(sgate_session_get_user_agent(s), "Lynx/2.9");
	assert_string_equal(sgate_session_get_client_ip(s), "2001:db8::7");
	assert_false(sgate_session_is_anonymous(s));
}

/*
 * A whole row, with where it came from; refused, not made somehow, when
 * something was wrong with it.
 */
void
unified_session_manager__create_session(void **state)
{
	struct sgate_create c = {.user_id = B("1"),
	    .context = B("10"),
	    .client_ip = B("2001:db8::7"),
	    .user_agent = B("Lynx/2.9")};
	struct sgate_session *s = NULL;
	struct sgate_stats stats;
	struct made made;
	char *token = NULL;

	(void)state;
	world_create_with(&parity, &c, &made);
	served_by_durable();
	parity_everywhere(&made, SGATE_REASON_OK, has_all_columns);
	c.client_ip = B("not an address");
	assert_status(&parity,
	    sgate_session_create(parity.mgr, &c, &s, &token, &parity.err),
	    SGATE_INVALID);
	served_by_none();
	assert_status(&parity,
	    sgate_user_block(parity.mgr, B("2"), B(""), NULL, &parity.err),
	    SGATE_OK);
	c.client_ip = B("");
	c.user_id = B("2");
	assert_status(&parity,
	    sgate_session_create(parity.mgr, &c, &s, &token, &parity.err),
	    SGATE_DENIED);
	served_by_durable();
	assert_null(token);
	parity_stats(&stats);
	assert_int_equal(stats.live, 1);
	made_clear(&made);
}

/* ---- get_session_context(sid) ---- */

static void
has_its_context(const struct sgate_session *s)
{
	assert_bytes(sgate_session_get_user_id(s), "1");
	assert_bytes(sgate_session_get_context(s), "10");
	assert_bytes(sgate_session_get_roles(s), "admin,staff");
	assert_true(sgate_session_has_role(s, B("staff")));
	assert_int_equal(sgate_session_get_created_ms(s), parity.now_ms);
	assert_int_equal(sgate_session_get_last_seen_ms(s), parity.now_ms);
	assert_int_equal(
	    sgate_session_get_expires_ms(s), parity.now_ms + 8 * HOUR);
}

static int64_t
seen_in_row_ms(const struct made *made)
{
	struct sgate_session *row = world_row(&parity, &made->ref);
	int64_t seen_ms = sgate_session_get_last_seen_ms(row);

	served_by_durable();
	sgate_session_free(row);
	return seen_ms;
}

static void
read_after(int64_t ms, const struct made *made)
{
	struct sgate_session *s = NULL;

	parity.now_ms += ms;
	assert_status(&parity,
	    sgate_session_get(parity.mgr, B(made->token), 0, &s, &parity.err),
	    SGATE_OK);
	sgate_session_free(s);
}

/*
 * All of it, and none of an expired session. Every read wrote its row; now one
 * in a tenth of the idle timeout does.
 */
void
unified_session_manager__get_session_context(void **state)
{
	const struct sgate_bytes roles[] = {B("admin"), B("staff")};
	struct sgate_create c = {.user_id = B("1"),
	    .context = B("10"),
	    .roles = roles,
	    .roles_count = 2};
	int64_t begin_ms = parity.now_ms;
	struct made made;

	(void)state;
	world_create_with(&parity, &c, &made);
	parity_everywhere(&made, SGATE_REASON_OK, has_its_context);
	read_after(MINUTE, &made);
	served_by_cache();
	assert_int_equal(seen_in_row_ms(&made), begin_ms);
	read_after(4 * MINUTE, &made);
	assert_int_equal(seen_in_row_ms(&made), begin_ms + 5 * MINUTE);
	parity.now_ms += 33 * MINUTE;
	assert_int_equal(
	    world_look(&parity, made.token), SGATE_REASON_EXPIRED_IDLE);
	served_by_durable();
	assert_int_equal(world_look(&parity, ""), SGATE_REASON_NONE);
	served_by_none();
	made_clear(&made);
}

/*
 * None, "no such session", was also the answer of a database that was away.
 * Redis may be believed meanwhile; who cannot tell says so.
 */
void
unified_session_manager__get_session_context__in_an_outage(void **state)
{
	bool has_copy = world_has_redis();
	struct sgate_manager *lost;
	struct sgate_session *s = NULL;
	struct made made;

	(void)state;
	world_create(&parity, "1", &made);
	lost = parity_without_durable();
	assert_status(&parity,
	    sgate_session_get(lost, B(made.token), 0, &s, &parity.err),
	    has_copy ? SGATE_OK : SGATE_UNAVAILABLE);
	assert_string_equal(
	    manager_served_by(lost), has_copy ? world_cache() : "");
	sgate_session_free(s);
	world_flush_cache(&parity);
	assert_status(&parity,
	    sgate_session_get(lost, B(made.token), 0, &s, &parity.err),
	    SGATE_UNAVAILABLE);
	assert_string_equal(manager_served_by(lost), "");
	assert_null(s);
	sgate_manager_free(lost);
	made_clear(&made);
}

/*
 * In MySQL a session ended 48 hours after its begin whatever its user did, in
 * Redis two hours after his last visit. There is one rule now: here Redis loses
 * what it has after every other visit.
 */
void
unified_session_manager__get_session_context__slides_in_all_stores(void **state)
{
	struct made made;
	int visit;

	(void)state;
	world_create(&parity, "1", &made);
	for (visit = 1; visit <= 23; visit++) {
		if (visit % 2 == 0) {
			world_flush_cache(&parity);
			world_round(&parity);
		}
		read_after(20 * MINUTE, &made);
		if (visit % 2 == 0)
			served_by_durable();
	}
	parity.now_ms += 20 * MINUTE;
	assert_int_equal(
	    world_look(&parity, made.token), SGATE_REASON_EXPIRED_ABSOLUTE);
	made_clear(&made);
}

/* ---- validate_session(sid) ---- */

/*
 * It looked at user and expiry, and said False for everything else, too: now
 * an end, an expiry and a store that is away are told apart.
 */
void
unified_session_manager__validate_session(void **state)
{
	struct sgate_ref ref;
	struct sgate_manager *lost;
	struct made live, ended;

	(void)state;
	world_create(&parity, "1", &live);
	world_create(&parity, "2", &ended);
	parity_end(&ended.ref, SGATE_REASON_REVOKED);
	parity_everywhere(&live, SGATE_REASON_OK, NULL);
	parity_everywhere(&ended, SGATE_REASON_REVOKED, NULL);
	lost = parity_without_durable();
	world_flush_cache(&parity);
	assert_status(&parity,
	    sgate_session_validate(lost, B(live.token), &ref, &parity.err),
	    SGATE_UNAVAILABLE);
	assert_string_equal(manager_served_by(lost), "");
	sgate_manager_free(lost);
	made_clear(&live);
	made_clear(&ended);
}

/* ---- update_session_activity(sid) ---- */

static void
is_seen_now(const struct sgate_session *s)
{
	assert_int_equal(sgate_session_get_last_seen_ms(s), parity.now_ms);
}

void
unified_session_manager__update_session_activity(void **state)
{
	struct sgate_session *s = NULL;
	struct made made;

	(void)state;
	world_create(&parity, "1", &made);
	parity.now_ms += MINUTE;
	assert_status(&parity,
	    sgate_session_extend(parity.mgr, B(made.token), &s, &parity.err),
	    SGATE_OK);
	served_by_durable();
	assert_int_equal(sgate_session_get_version(s), 1);
	sgate_session_free(s);
	assert_int_equal(seen_in_row_ms(&made), parity.now_ms);
	parity_everywhere(&made, SGATE_REASON_OK, is_seen_now);
	parity_end(&made.ref, SGATE_REASON_REVOKED);
	assert_status(&parity,
	    sgate_session_extend(parity.mgr, B(made.token), &s, &parity.err),
	    SGATE_NOT_FOUND);
	made_clear(&made);
}

/* ---- update_platform_context(sid, platform_id) ---- */

static void
has_platform_11_and_its_data(const struct sgate_session *s)
{
	assert_bytes(sgate_session_get_context(s), "11");
	assert_bytes(sgate_session_get_data(s), "{\"lang\":\"eo\"}");
}

/*
 * A platform of somebody else is refused and leaves all as it was. Only the
 * program that made the session may give it another choice.
 */
void
unified_session_manager__update_platform_context(void **state)
{
	const struct sgate_bytes own[] = {B("10"), B("11")};
	struct sgate_create c = {.user_id = B("1"),
	    .context = B("10"),
	    .contexts = own,
	    .contexts_count = 1,
	    .data = B("{\"lang\":\"eo\"}")};
	struct sgate_update change = {.context = B("11"), .context_listed = 1};
	struct sgate_update more = {
	    .set_contexts = 1, .contexts = own, .contexts_count = 2};
	struct made made;

	(void)state;
	world_create_with(&parity, &c, &made);
	assert_status(&parity,
	    sgate_session_update(
		parity.mgr, &made.ref, &change, NULL, &parity.err),
	    SGATE_DENIED);
	assert_int_equal(world_audit(&parity, "update", &made.ref), 0);
	assert_status(&parity,
	    sgate_session_update(
		parity.mgr, &made.ref, &more, NULL, &parity.err),
	    SGATE_OK);
	assert_status(&parity,
	    sgate_session_update(
		parity.mgr, &made.ref, &change, NULL, &parity.err),
	    SGATE_OK);
	served_by_durable();
	parity_everywhere(&made, SGATE_REASON_OK, has_platform_11_and_its_data);
	assert_int_equal(world_audit(&parity, "update", &made.ref), 2);
	made_clear(&made);
}

/* ---- destroy_session(sid) ---- */

/* It deleted the row, and with it who had been there and when. */
void
unified_session_manager__destroy_session(void **state)
{
	struct sgate_ref unknown = {{0}};
	struct sgate_session *row;
	struct made made;

	(void)state;
	world_create(&parity, "1", &made);
	parity_end(&made.ref, SGATE_REASON_LOGGED_OUT);
	row = world_row(&parity, &made.ref);
	served_by_durable();
	assert_bytes(sgate_session_get_user_id(row), "1");
	assert_int_equal(row->end_reason, SGATE_REASON_LOGGED_OUT);
	assert_int_equal(row->ended_ms, parity.now_ms);
	sgate_session_free(row);
	assert_int_equal(world_audit(&parity, NULL, &made.ref), 2);
	assert_status(&parity,
	    sgate_session_end(
		parity.mgr, &unknown, SGATE_REASON_REVOKED, &parity.err),
	    SGATE_NOT_FOUND);
	served_by_durable();
	made_clear(&made);
}

/* ---- cleanup_expired_sessions() ---- */

/*
 * It loaded every expired row at once; now a chunk a step, counted once, each
 * with its audit row, and without ending who has been seen since.
 */
void
unified_session_manager__cleanup_expired_sessions(void **state)
{
	struct sgate_reaped reaped;
	struct made old[5], live;
	uint64_t ended = 0;
	size_t i;
	int steps = 0;

	(void)state;
	parity.mgr->conf->reap.chunk = 2;
	for (i = 0; i < 5; i++)
		world_create(&parity, "1", &old[i]);
	parity.now_ms += 20 * MINUTE;
	world_create(&parity, "1", &live);
	read_after(0, &old[4]);
	parity.now_ms += 20 * MINUTE;
	do {
		assert_status(&parity,
		    sgate_reap(parity.mgr, &reaped, &parity.err), SGATE_OK);
		served_by_durable();
		assert_true(reaped.ended <= 2);
		ended += reaped.ended;
	} while (!reaped.is_done && ++steps < 20);
	assert_int_equal(ended, 4);
	assert_int_equal(world_audit(&parity, "end", &old[0].ref), 1);
	assert_int_equal(
	    world_look(&parity, old[0].token), SGATE_REASON_EXPIRED_IDLE);
	assert_int_equal(world_look(&parity, old[4].token), SGATE_REASON_OK);
	assert_int_equal(world_look(&parity, live.token), SGATE_REASON_OK);
	for (i = 0; i < 5; i++)
		made_clear(&old[i]);
	made_clear(&live);
}

/* ---- cleanup_user_sessions(user_id, keep_current=sid) ---- */

/* What it ended it deleted; here each has its row and its reason. */
void
unified_session_manager__cleanup_user_sessions(void **state)
{
	struct parity_crowd crowd;
	struct sgate_session *row;

	(void)state;
	parity_gather(&crowd);
	/* Somebody else's session as the one to keep keeps none. */
	assert_int_equal(parity_cleanup("1", &crowd.other.ref), 3);
	row = world_row(&parity, &crowd.own[1].ref);
	assert_int_equal(row->end_reason, SGATE_REASON_REVOKED);
	sgate_session_free(row);
	assert_int_equal(world_audit(&parity, "end", &crowd.own[1].ref), 1);
	assert_int_equal(world_audit(&parity, "cleanup", NULL), 1);
	parity_everywhere(&crowd.other, SGATE_REASON_OK, NULL);
	parity_leave(&crowd);
}
