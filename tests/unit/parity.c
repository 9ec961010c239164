/*
 * What the old Python session managers could do, by their old names: the list
 * of their public methods, and what the tests of all of them share (parity.h).
 */
#include "parity.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct world parity;

static int
start(void **state)
{
	static const char *const settings[] = {
	    "session.browser_readable=cart,lang",
	    "session.browser_writable=cart,lang", NULL};

	(void)state;
	world_start_with(&parity, settings);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	world_close(&parity);
	return 0;
}

/* ---- who served ---- */

void
served_by_durable(void)
{
	assert_string_equal(manager_served_by(parity.mgr), world_store());
}

void
served_by_cache(void)
{
	assert_string_equal(manager_served_by(parity.mgr), world_cache());
}

void
served_by_none(void)
{
	assert_string_equal(manager_served_by(parity.mgr), "");
}

/* ---- calls ---- */

void
parity_update(const struct sgate_ref *ref, const char *patch)
{
	struct sgate_update update = {.data_patch = B(patch)};

	assert_status(&parity,
	    sgate_session_update(parity.mgr, ref, &update, NULL, &parity.err),
	    SGATE_OK);
	served_by_durable();
}

void
parity_end(const struct sgate_ref *ref, enum sgate_reason reason)
{
	assert_status(&parity,
	    sgate_session_end(parity.mgr, ref, reason, &parity.err), SGATE_OK);
	served_by_durable();
}

uint64_t
parity_cleanup(const char *user, const struct sgate_ref *except)
{
	uint64_t count = 0;

	assert_status(&parity,
	    sgate_user_cleanup(parity.mgr, B(user), except,
		SGATE_REASON_REVOKED, &count, &parity.err),
	    SGATE_OK);
	served_by_durable();
	return count;
}

struct sgate_list *
parity_list(const char *user)
{
	struct sgate_list *list = NULL;

	assert_status(&parity,
	    sgate_user_sessions(parity.mgr, B(user), 0, &list, &parity.err),
	    SGATE_OK);
	served_by_durable();
	return list;
}

size_t
parity_count(const char *user)
{
	struct sgate_list *list = parity_list(user);
	size_t count = sgate_list_count(list);

	sgate_list_free(list);
	return count;
}

void
parity_stats(struct sgate_stats *out)
{
	assert_status(
	    &parity, sgate_stats(parity.mgr, out, &parity.err), SGATE_OK);
	served_by_durable();
}

int64_t
parity_ttl(const struct sgate_session *session)
{
	return (sgate_session_get_idle_expires_ms(session) - parity.now_ms) /
	       1000;
}

void
parity_in_each_state(void (*look)(void *arg), void *arg)
{
	look(arg);
	served_by_cache();
	world_flush_cache(&parity);
	look(arg);
	served_by_durable();
	/* Now the keeper or the next look brings it back. */
	world_round(&parity);
	look(arg);
	look(arg);
	served_by_cache();
	world_pause_cache(&parity);
	look(arg);
	served_by_durable();
	world_resume_cache(&parity);
	look(arg);
	served_by_cache();
}

struct expectation {
	const struct made *made;
	enum sgate_reason reason;
	parity_look_fn *look;
};

static void
look_by_token(void *arg)
{
	const struct expectation *e = arg;
	struct sgate_session *session = NULL;
	enum sgate_status status = sgate_session_get(parity.mgr,
	    B(e->made->token), SGATE_NO_TOUCH, &session, &parity.err);

	if (e->reason != SGATE_REASON_OK) {
		assert_status(&parity, status, SGATE_NOT_FOUND);
		assert_int_equal(parity.err.reason, e->reason);
		assert_null(session);
		return;
	}
	assert_status(&parity, status, SGATE_OK);
	assert_memory_equal(sgate_session_get_ref(session)->bytes,
	    e->made->ref.bytes, SGATE_REF_BYTES);
	if (e->look != NULL)
		e->look(session);
	sgate_session_free(session);
}

void
parity_everywhere(
    const struct made *made, enum sgate_reason expected, parity_look_fn *look)
{
	struct expectation e = {made, expected, look};

	parity_in_each_state(look_by_token, &e);
}

struct sgate_manager *
parity_without_durable(void)
{
	world_lose_store(&parity);
	return world_manager(&parity, NULL);
}

void
parity_gather(struct parity_crowd *crowd)
{
	size_t i;

	for (i = 0; i < 3; i++)
		world_create(&parity, "1", &crowd->own[i]);
	world_create(&parity, "2", &crowd->other);
}

void
parity_leave(struct parity_crowd *crowd)
{
	size_t i;

	for (i = 0; i < 3; i++)
		made_clear(&crowd->own[i]);
	made_clear(&crowd->other);
}

/* ---- no method is forgotten ---- */

/* Their public methods and module functions, as their files had them. */
static const struct {
	const char *manager;
	const char *methods[20];
} old[] = {
    {"session_manager_v2",
	{"create_session", "get_session_data", "update_session",
	    "destroy_session", "switch_platform", "cleanup_user_sessions",
	    "get_user_sessions", "validate_session", "extend_session",
	    "get_session_stats", "get_db_session"}},
    {"unified_session_manager",
	{"get_db_session", "create_session", "get_session_context",
	    "validate_session", "update_session_activity",
	    "update_platform_context", "destroy_session",
	    "cleanup_expired_sessions", "cleanup_user_sessions",
	    "get_current_platform_context", "get_current_platform",
	    "get_current_user_from_context", "switch_platform_context"}},
    {"flask_redis_session_interface",
	{"open_session", "save_session", "get_session_data", "delete_session",
	    "cleanup_expired_sessions", "get_user_sessions",
	    "cleanup_user_sessions"}},
    {"redis_session_backend",
	{"from_env", "get", "set", "set_session", "delete", "exists",
	    "update_ttl", "get_ttl", "get_all_sessions", "get_sessions_by_user",
	    "cleanup_user_sessions", "get_session_count", "flush_all_sessions",
	    "health_check"}},
    {"request_scoped_session_manager",
	{"get_request_session", "close_request_session", "session_scope",
	    "ensure_session_attachment", "is_session_active",
	    "get_session_info"}},
    {"session_manager", {"get_db_session", "create_session", "get_session",
			    "cleanup_user_sessions"}},
    {"maintenance_session_manager",
	{"invalidate_non_admin_sessions", "prevent_non_admin_login",
	    "allow_non_admin_login", "is_login_prevented_for_user",
	    "get_active_non_admin_sessions", "get_active_admin_sessions",
	    "get_session_stats", "cleanup_maintenance_state"}},
};

#define PARITY_RUN(name) cmocka_unit_test_setup_teardown(name, start, stop),
static const struct CMUnitTest parity_tests[] = {PARITY_TESTS(PARITY_RUN)};

/* name: MANAGER__METHOD or MANAGER__METHOD__what_else. */
static bool
is_of(const char *name, const char *manager, const char *method)
{
	char exact[128];
	size_t len;

	snprintf(exact, sizeof(exact), "%s__%s", manager, method);
	len = strlen(exact);
	return strncmp(name, exact, len) == 0 &&
	       (name[len] == '\0' || strncmp(name + len, "__", 2) == 0);
}

static bool
is_of_any(const char *name)
{
	size_t i, j;

	for (i = 0; i < COUNT(old); i++)
		for (j = 0; old[i].methods[j] != NULL; j++)
			if (is_of(name, old[i].manager, old[i].methods[j]))
				return true;
	return false;
}

static bool
has_test(const char *manager, const char *method)
{
	size_t i;

	for (i = 0; i < COUNT(parity_tests); i++)
		if (is_of(parity_tests[i].name, manager, method))
			return true;
	return false;
}

/* The rows "| `MANAGER.METHOD` | why |" of tests/README.md, "Parity". */
struct reasons {
	char names[64][96]; /* MANAGER__METHOD */
	size_t count;
};

static void
read_reasons(struct reasons *out)
{
	FILE *file = fopen(SOURCE_DIR "/tests/README.md", "r");
	char line[512], manager[48], method[40], why[200];
	bool is_here = false;

	memset(out, 0, sizeof(*out));
	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, "## ", 3) == 0)
			is_here = strncmp(line, "## Parity", 9) == 0;
		if (!is_here || sscanf(line, "| `%47[^.`].%39[^`]` | %199[^|]",
				    manager, method, why) != 3)
			continue;
		assert_true(strlen(why) > 10);
		assert_true(out->count < COUNT(out->names));
		snprintf(out->names[out->count++], sizeof(out->names[0]),
		    "%s__%s", manager, method);
	}
	fclose(file);
}

static bool
has_reason(
    const struct reasons *reasons, const char *manager, const char *method)
{
	size_t i;

	for (i = 0; i < reasons->count; i++)
		if (is_of(reasons->names[i], manager, method))
			return true;
	return false;
}

static void
every_method_has_a_test_or_a_reason_for_none(void **state)
{
	struct reasons reasons;
	size_t i, j;

	(void)state;
	read_reasons(&reasons);
	for (i = 0; i < COUNT(old); i++)
		for (j = 0; old[i].methods[j] != NULL; j++) {
			bool is_tested =
			    has_test(old[i].manager, old[i].methods[j]);

			if (is_tested == has_reason(&reasons, old[i].manager,
					     old[i].methods[j]))
				fail_msg("%s.%s has %s", old[i].manager,
				    old[i].methods[j],
				    is_tested ? "a test, and a reason for none"
					      : "neither test nor reason");
		}
}

static void
every_test_and_every_reason_is_of_a_method(void **state)
{
	struct reasons reasons;
	size_t i;

	(void)state;
	read_reasons(&reasons);
	for (i = 0; i < COUNT(parity_tests); i++)
		if (!is_of_any(parity_tests[i].name))
			fail_msg("the test %s", parity_tests[i].name);
	for (i = 0; i < reasons.count; i++)
		if (!is_of_any(reasons.names[i]))
			fail_msg("the reason of %s", reasons.names[i]);
}

/* ---- main ---- */

static const struct CMUnitTest parity_and_list[] = {
    PARITY_TESTS(PARITY_RUN)
	cmocka_unit_test(every_method_has_a_test_or_a_reason_for_none),
    cmocka_unit_test(every_test_and_every_reason_is_of_a_method)};

TAP_MAIN(parity_and_list)
