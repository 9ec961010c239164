/*
 * SessionManager, the consolidated one: "Redis first, the database behind".
 * At its own commit Redis was never used, and nobody could tell.
 */
#include "parity.h"

#include <stdlib.h>
#include <string.h>

static enum sgate_status
run_alone(const char *sql, bool is_committed)
{
	struct sgate_db *db = NULL;
	enum sgate_status status;

	assert_status(
	    &parity, sgate_db_open(parity.mgr, 0, &db, &parity.err), SGATE_OK);
	served_by_durable();
	status = sgate_db_exec(db, sql, NULL, 0, NULL, NULL, &parity.err);
	if (is_committed)
		assert_status(
		    &parity, sgate_db_commit(db, &parity.err), SGATE_OK);
	sgate_db_close(db);
	return status;
}

/*
 * It closed and no more: what somebody had not committed was there for the
 * next. And whoever had it could write to sessions beside the manager.
 */
void
session_manager__get_db_session(void **state)
{
	struct made made;

	(void)state;
	world_make_table(&parity, "CREATE TABLE own (x INTEGER PRIMARY KEY)");
	world_create(&parity, "1", &made);
	assert_int_equal(
	    run_alone("INSERT INTO own VALUES (1)", false), SGATE_OK);
	assert_int_equal(
	    run_alone("INSERT INTO own VALUES (1)", true), SGATE_OK);
	assert_int_equal(
	    run_alone("UPDATE session SET version = 9", false), SGATE_DENIED);
	assert_int_equal(run_alone("DELETE FROM audit", false), SGATE_DENIED);
	parity_everywhere(&made, SGATE_REASON_OK, NULL);
	assert_int_equal(world_audit(&parity, "create", &made.ref), 1);
	made_clear(&made);
}

static void
is_of_user_1_now(const struct sgate_session *s)
{
	assert_bytes(sgate_session_get_user_id(s), "1");
	assert_bytes(sgate_session_get_context(s), "10");
	assert_int_equal(sgate_session_get_created_ms(s), parity.now_ms);
}

/*
 * Durable, or an error: it gave an id that one store alone had taken, or, when
 * that answer was thrown away, none.
 */
void
session_manager__create_session(void **state)
{
	struct sgate_create c = {.user_id = B("1"), .context = B("10")};
	struct sgate_session *s = NULL;
	struct sgate_manager *lost;
	struct made made;
	char *token = NULL;

	(void)state;
	world_create_with(&parity, &c, &made);
	served_by_durable();
	parity_everywhere(&made, SGATE_REASON_OK, is_of_user_1_now);
	lost = parity_without_durable();
	assert_status(&parity,
	    sgate_session_create(lost, &c, &s, &token, &parity.err),
	    SGATE_UNAVAILABLE);
	assert_string_equal(manager_served_by(lost), "");
	assert_null(s);
	assert_null(token);
	sgate_manager_free(lost);
	made_clear(&made);
}

/*
 * A Redis that was away when the manager was made was never asked again as long
 * as the process lived.
 */
void
session_manager__create_session__reconnects(void **state)
{
	struct sgate_manager *mgr;
	struct sgate_session *s = NULL;
	struct made made;
	int i;

	(void)state;
	world_create(&parity, "1", &made);
	world_pause_cache(&parity);
	mgr = world_manager(&parity, NULL);
	for (i = 0; i < 4; i++) {
		assert_status(&parity,
		    sgate_session_get(mgr, B(made.token), 0, &s, &parity.err),
		    SGATE_OK);
		assert_string_equal(manager_served_by(mgr), world_store());
		sgate_session_free(s);
	}
	world_resume_cache(&parity);
	assert_status(&parity,
	    sgate_session_get(mgr, B(made.token), 0, &s, &parity.err),
	    SGATE_OK);
	assert_string_equal(manager_served_by(mgr), world_cache());
	sgate_session_free(s);
	sgate_manager_free(mgr);
	made_clear(&made);
}

/*
 * What Redis did not have was "no session" without a question to the database;
 * and what the database had was valid for ever, ended or not.
 */
void
session_manager__get_session(void **state)
{
	struct made live, ended;

	(void)state;
	world_create(&parity, "1", &live);
	world_create(&parity, "1", &ended);
	parity_end(&ended.ref, SGATE_REASON_LOGGED_OUT);
	parity_everywhere(&live, SGATE_REASON_OK, NULL);
	parity_everywhere(&ended, SGATE_REASON_LOGGED_OUT, NULL);
	parity.now_ms += 8 * HOUR;
	world_flush_cache(&parity);
	assert_int_equal(
	    world_look(&parity, live.token), SGATE_REASON_EXPIRED_ABSOLUTE);
	served_by_durable();
	made_clear(&live);
	made_clear(&ended);
}

/*
 * Each session was counted once in either store: twice. And what was deleted in
 * the one was left in the other when that failed.
 */
void
session_manager__cleanup_user_sessions(void **state)
{
	struct parity_crowd crowd;
	size_t i;

	(void)state;
	parity_gather(&crowd);
	for (i = 0; i < 3; i++)
		assert_int_equal(
		    world_look(&parity, crowd.own[i].token), SGATE_REASON_OK);
	world_pause_cache(&parity);
	assert_int_equal(parity_cleanup("1", NULL), 3);
	world_resume_cache(&parity);
	for (i = 0; i < 3; i++)
		parity_everywhere(&crowd.own[i], SGATE_REASON_REVOKED, NULL);
	assert_int_equal(parity_cleanup("1", NULL), 0);
	assert_int_equal(
	    world_look(&parity, crowd.other.token), SGATE_REASON_OK);
	parity_everywhere(&crowd.other, SGATE_REASON_OK, NULL);
	parity_leave(&crowd);
}
