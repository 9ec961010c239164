/*
 * MaintenanceSessionManager. Its flag was a process's own and went by itself
 * after two hours; it ended nobody, and when Redis failed it let everybody in.
 */
#include "parity.h"

#include <string.h>

static void
make(const char *user, const char *role, struct made *out)
{
	struct sgate_bytes roles = B(role);
	const struct sgate_create create = {
	    .user_id = B(user), .roles = &roles, .roles_count = 1};

	world_create_with(&parity, &create, out);
}

static enum sgate_status
log_in(const char *role)
{
	struct sgate_bytes roles = B(role);
	const struct sgate_create create = {
	    .user_id = B("9"), .roles = &roles, .roles_count = 1};
	struct sgate_session *session = NULL;
	char *token = NULL;
	enum sgate_status status = sgate_session_create(
	    parity.mgr, &create, &session, &token, &parity.err);

	sgate_session_free(session);
	sgate_token_free(token);
	return status;
}

static void
prevent_login(void)
{
	const struct sgate_maintenance maintenance = {
	    .mode = SGATE_MAINTENANCE_NORMAL, .reason = B("maintenance")};

	assert_status(&parity,
	    sgate_maintenance_set(parity.mgr, &maintenance, &parity.err),
	    SGATE_OK);
	served_by_durable();
}

static void
allow_login(void)
{
	assert_status(&parity,
	    sgate_maintenance_end(parity.mgr, 0, &parity.err), SGATE_OK);
	served_by_durable();
}

static void
look_at_flushed(const struct made *made)
{
	assert_int_equal(
	    world_look(&parity, made->token), SGATE_REASON_FLUSHED);
	served_by_durable();
}

/* All but admins are out, wherever their sessions are; admins stay. */
void
maintenance_session_manager__invalidate_non_admin_sessions(void **state)
{
	struct sgate_bytes admin = B("admin");
	const struct sgate_flush flush = {
	    .roles = &admin, .roles_count = 1, .but_roles = 1};
	struct made user, staff;

	(void)state;
	make("1", "reviewer", &user);
	make("2", "admin", &staff);
	assert_status(&parity,
	    sgate_sessions_flush(parity.mgr, &flush, NULL, &parity.err),
	    SGATE_OK);
	served_by_durable();
	/* It took a moment: the keeper has had its round meanwhile. */
	world_round(&parity);
	/* As parity_everywhere(), but that the row makes no copy again: by the
	 * copy, by the row when that is lost, and so it stays. */
	assert_int_equal(world_look(&parity, user.token), SGATE_REASON_FLUSHED);
	served_by_cache();
	world_flush_cache(&parity);
	look_at_flushed(&user);
	world_round(&parity);
	look_at_flushed(&user);
	look_at_flushed(&user);
	world_pause_cache(&parity);
	look_at_flushed(&user);
	world_resume_cache(&parity);
	look_at_flushed(&user);
	assert_false(world_has_copy(&parity, &user.ref));
	assert_int_equal(world_look(&parity, staff.token), SGATE_REASON_OK);
	parity_everywhere(&staff, SGATE_REASON_OK, NULL);
	assert_int_equal(parity_count("1"), 0);
	assert_int_equal(parity_count("2"), 1);
	made_clear(&user);
	made_clear(&staff);
}

void
maintenance_session_manager__prevent_non_admin_login(void **state)
{
	(void)state;
	prevent_login();
	assert_status(&parity, log_in("reviewer"), SGATE_UNAVAILABLE);
	assert_int_equal(parity.err.reason, SGATE_REASON_MAINTENANCE);
	assert_status(&parity, log_in("admin"), SGATE_OK);
	/* The old one was over after two hours, the longer maintenance not. */
	parity.now_ms += 3 * HOUR;
	assert_status(&parity, log_in("reviewer"), SGATE_UNAVAILABLE);
	/* It does not live in Redis. */
	world_flush_cache(&parity);
	world_round(&parity);
	assert_status(&parity, log_in("reviewer"), SGATE_UNAVAILABLE);
}

void
maintenance_session_manager__allow_non_admin_login(void **state)
{
	(void)state;
	prevent_login();
	allow_login();
	assert_status(&parity, log_in("reviewer"), SGATE_OK);
}

/* Another process, too; and where nobody can tell, nobody is let in. */
void
maintenance_session_manager__is_login_prevented_for_user(void **state)
{
	struct sgate_maintenance_state got;
	struct sgate_manager *other;

	(void)state;
	prevent_login();
	other = world_manager(&parity, NULL);
	assert_status(
	    &parity, sgate_maintenance_get(other, &got, &parity.err), SGATE_OK);
	assert_int_equal(got.mode, SGATE_MAINTENANCE_NORMAL);
	assert_string_equal(got.roles, "admin");
	sgate_manager_free(other);
	other = parity_without_durable();
	manager_set_stores(other, NULL);
	assert_status(&parity, sgate_maintenance_get(other, &got, &parity.err),
	    SGATE_UNAVAILABLE);
	assert_int_equal(got.mode, SGATE_MAINTENANCE_UNKNOWN);
	sgate_manager_free(other);
}

/* What is in force, and how many there are: without a look at each. */
void
maintenance_session_manager__get_session_stats(void **state)
{
	struct sgate_maintenance_state got;
	struct sgate_stats stats;
	struct made user;

	(void)state;
	make("1", "reviewer", &user);
	prevent_login();
	parity_stats(&stats);
	assert_true(stats.live == 1);
	assert_status(&parity,
	    sgate_maintenance_get(parity.mgr, &got, &parity.err), SGATE_OK);
	assert_int_equal(got.mode, SGATE_MAINTENANCE_NORMAL);
	assert_string_equal(got.reason, "maintenance");
	made_clear(&user);
}

void
maintenance_session_manager__cleanup_maintenance_state(void **state)
{
	struct sgate_maintenance_state got;

	(void)state;
	prevent_login();
	allow_login();
	allow_login();
	assert_status(&parity,
	    sgate_maintenance_get(parity.mgr, &got, &parity.err), SGATE_OK);
	assert_int_equal(got.mode, SGATE_MAINTENANCE_OFF);
}
