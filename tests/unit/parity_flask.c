/*
 * FlaskRedisSessionInterface: opened a session before each request of a browser
 * and wrote it back after it. Here a browser's request goes through serve(), as
 * a worker would call it.
 */
#include "parity.h"

#include "site.h"

#include <stdlib.h>
#include <string.h>

#define MOUNT "/.sessgate/"
#define V1 MOUNT "v1/"

static struct site site;

static void
open_site(void)
{
	site_open_over(&site, parity.conf, parity.mgr);
}

/* The cookie of a session that was made in the world; NULL: none. */
static void
carry(const char *token)
{
	buf_reset(&site.cookie);
	if (token != NULL)
		buf_printf(
		    &site.cookie, "%s=%s", parity.conf->cookie.name, token);
}

static int
call(const char *method, const char *uri, const char *body)
{
	struct ask ask = {.method = method, .uri = uri, .body = body};

	if (site.cookie.len > 0)
		ask.cookie = buf_text(&site.cookie);
	return site_ask(&site, &ask);
}

/* What a web server asks before it runs a program. */
static int
authorize(void)
{
	struct ask ask = {.is_authorizer = true};

	if (site.cookie.len > 0)
		ask.cookie = buf_text(&site.cookie);
	return site_ask(&site, &ask);
}

/* A program on control.sock. */
static int
control(const char *method, const char *uri, const char *body)
{
	struct ask ask = {.method = method,
	    .uri = uri,
	    .body = body,
	    .origin = "",
	    .allow = CONF_ALLOW_ALL};

	return site_ask(&site, &ask);
}

static void
sets_no_cookie(void)
{
	assert_null(site_header(&site, "Set-Cookie"));
}

/* What the manager was asked before does not count. */
static void
forget_who_served(void)
{
	assert_int_equal(world_look(&parity, ""), SGATE_REASON_NONE);
}

/* ---- open_session(app, request) ---- */

static void
opens_with_its_data(void *arg)
{
	(void)arg;
	assert_int_equal(call("GET", MOUNT "session", NULL), 200);
	assert_string_equal(site_member(&site, "user_id"), "1");
	assert_true(site_body_has(&site, "\"lang\":\"eo\""));
	sets_no_cookie();
	assert_int_equal(authorize(), 200);
	assert_string_equal(site_header(&site, "Variable-REMOTE_USER"), "1");
	sets_no_cookie();
}

/*
 * The session of the cookie. It wrote the cookie again with every answer, and
 * whole sessions into the log. Who has none gets none, and no store is asked.
 */
void
flask_redis_session_interface__open_session(void **state)
{
	struct sgate_create c = {
	    .user_id = B("1"), .data = B("{\"lang\":\"eo\"}")};
	struct made made;

	(void)state;
	open_site();
	world_create_with(&parity, &c, &made);
	carry(made.token);
	parity_in_each_state(opens_with_its_data, NULL);
	assert_false(site_log_has(&site, made.token));
	assert_false(site_log_has(&site, "lang"));
	parity.now_ms += 33 * MINUTE;
	assert_int_equal(authorize(), 401);
	served_by_durable();
	sets_no_cookie();

	carry(NULL);
	forget_who_served();
	assert_int_equal(authorize(), 401);
	sets_no_cookie();
	assert_int_equal(call("GET", MOUNT "state", NULL), 200);
	assert_true(site_body_has(&site, "\"authenticated\":false"));
	sets_no_cookie();
	served_by_none();
	site_close(&site);
	made_clear(&made);
}

/* An id that the client chose never becomes one of ours. */
void
flask_redis_session_interface__open_session__of_unknown_id(void **state)
{
	static const char chosen[] =
	    "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJQ";
	struct sgate_stats stats;

	(void)state;
	open_site();
	assert_int_equal(strlen(chosen), SGATE_TOKEN_LEN);
	carry(chosen);
	forget_who_served();
	assert_int_equal(authorize(), 401);
	sets_no_cookie();
	assert_int_equal(call("GET", MOUNT "session", NULL), 401);
	sets_no_cookie();
	served_by_none();
	assert_int_equal(control("POST", V1 "sessions",
			     "{\"user_id\":\"1\",\"replaces\":"
			     "\"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIi"
			     "MkJQ\"}"),
	    201);
	served_by_durable();
	assert_int_equal(strlen(site_member(&site, "token")), SGATE_TOKEN_LEN);
	assert_false(site_body_has(&site, chosen));
	assert_int_equal(authorize(), 401);
	parity_stats(&stats);
	assert_int_equal(stats.live, 1);
	site_close(&site);
}

static int
shake_hands(void)
{
	struct ask ask = {.is_authorizer = true,
	    .uri = "/socket.io/?transport=websocket",
	    .more = {"HTTP_UPGRADE=websocket", "HTTP_CONNECTION=Upgrade"}};

	if (site.cookie.len > 0)
		ask.cookie = buf_text(&site.cookie);
	return site_ask(&site, &ask);
}

/*
 * A web socket had no session at all, because opening one for it broke the
 * answer. Now it is a check as any other, which makes and writes nothing.
 */
void
flask_redis_session_interface__open_session__of_web_socket(void **state)
{
	struct sgate_stats stats;
	struct made made;

	(void)state;
	open_site();
	forget_who_served();
	assert_int_equal(shake_hands(), 401);
	sets_no_cookie();
	served_by_none();
	world_create(&parity, "1", &made);
	carry(made.token);
	assert_int_equal(shake_hands(), 200);
	served_by_cache();
	sets_no_cookie();
	assert_string_equal(site_header(&site, "Variable-REMOTE_USER"), "1");
	parity_stats(&stats);
	assert_int_equal(stats.live, 1);
	assert_int_equal(world_audit(&parity, NULL, NULL), 1);
	site_close(&site);
	made_clear(&made);
}

/*
 * An error of Redis gave a new, empty session: all were logged out. Redis away
 * is no matter; all away is "unavailable", and the cookie stays.
 */
void
flask_redis_session_interface__open_session__in_an_outage(void **state)
{
	struct sgate_manager *lost;
	struct made made;

	(void)state;
	open_site();
	world_create(&parity, "1", &made);
	carry(made.token);
	world_pause_cache(&parity);
	assert_int_equal(authorize(), 200);
	served_by_durable();
	site_close(&site);

	lost = parity_without_durable();
	site_open_over(&site, parity.conf, lost);
	carry(made.token);
	assert_int_equal(authorize(), 503);
	assert_non_null(site_header(&site, "Retry-After"));
	sets_no_cookie();
	assert_int_equal(call("POST", MOUNT "logout", ""), 503);
	sets_no_cookie();
	assert_string_equal(manager_served_by(lost), "");
	site_close(&site);
	sgate_manager_free(lost);
	made_clear(&made);
}

/* ---- save_session(app, session, response) ---- */

static void
has_both_books(void *arg)
{
	(void)arg;
	assert_int_equal(call("GET", MOUNT "session", NULL), 200);
	assert_true(site_body_has(&site, "\"cart\":{\"a\":1,\"b\":2}"));
}

/*
 * A change inside of a member was lost, unless "modified" was set by hand. And
 * what was not changed was written all the same, with every answer.
 */
void
flask_redis_session_interface__save_session(void **state)
{
	struct made made;

	(void)state;
	open_site();
	world_create(&parity, "1", &made);
	carry(made.token);
	assert_int_equal(
	    call("PATCH", MOUNT "session", "{\"data\":{\"cart\":{\"a\":1}}}"),
	    200);
	served_by_durable();
	assert_int_equal(
	    call("PATCH", MOUNT "session", "{\"data\":{\"cart\":{\"b\":2}}}"),
	    200);
	sets_no_cookie();
	assert_string_equal(site_member(&site, "version"), "3");
	parity_in_each_state(has_both_books, NULL);
	assert_string_equal(site_member(&site, "version"), "3");
	assert_int_equal(world_audit(&parity, "update", &made.ref), 2);
	assert_int_equal(
	    call("PATCH", MOUNT "session", "{\"data\":{\"role\":\"x\"}}"), 403);
	has_both_books(NULL);
	site_close(&site);
	made_clear(&made);
}

/*
 * Of two requests at once the one that was answered last had written the whole
 * session over the other's.
 */
void
flask_redis_session_interface__save_session__of_two_at_once(void **state)
{
	char match[64], ref[SGATE_REF_HEX + 1];
	struct ask ask = {.method = "PATCH",
	    .uri = MOUNT "session",
	    .body = "{\"data\":{\"cart\":1}}",
	    .more = {match}};
	struct made made;

	(void)state;
	open_site();
	world_create(&parity, "1", &made);
	carry(made.token);
	sgate_ref_text(&made.ref, ref);
	snprintf(match, sizeof(match), "HTTP_IF_MATCH=\"%s.1\"", ref);
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 200);
	ask.body = "{\"data\":{\"cart\":2}}";
	assert_int_equal(site_ask(&site, &ask), 412);
	/* Another member: both are kept without being asked for. */
	assert_int_equal(
	    call("PATCH", MOUNT "session", "{\"data\":{\"lang\":\"eo\"}}"),
	    200);
	served_by_durable();
	assert_true(site_body_has(&site, "\"cart\":1"));
	assert_true(site_body_has(&site, "\"lang\":\"eo\""));
	site_close(&site);
	made_clear(&made);
}

/*
 * A login made a second session beside the one in the cookie, and kept that
 * one's id: whoever had planted it was logged in, too.
 */
void
flask_redis_session_interface__save_session__at_login(void **state)
{
	struct sgate_create nobody = {.user_agent = B("Lynx/2.9")};
	struct sgate_stats stats;
	struct made before;
	char body[160];

	(void)state;
	open_site();
	world_create_with(&parity, &nobody, &before);
	snprintf(body, sizeof(body), "{\"user_id\":\"1\",\"replaces\":\"%s\"}",
	    before.token);
	world_pause_cache(&parity);
	assert_int_equal(control("POST", V1 "sessions", body), 201);
	served_by_durable();
	world_resume_cache(&parity);
	assert_false(site_body_has(&site, before.token));
	assert_true(
	    site_body_has(&site, "; Path=/; Secure; HttpOnly; SameSite=Lax"));
	carry(site_member(&site, "token"));
	assert_int_equal(authorize(), 200);
	assert_string_equal(site_header(&site, "Variable-REMOTE_USER"), "1");
	parity_everywhere(&before, SGATE_REASON_REPLACED, NULL);
	parity_stats(&stats);
	assert_int_equal(stats.live, 1);
	assert_int_equal(stats.anonymous, 0);
	site_close(&site);
	made_clear(&before);
}

/* ---- get_session_data(sid) ---- */

/* All members, for a program; a browser sees those that it may. */
void
flask_redis_session_interface__get_session_data(void **state)
{
	struct sgate_create c = {
	    .user_id = B("1"), .data = B("{\"lang\":\"eo\",\"own\":1}")};
	char ref[SGATE_REF_HEX + 1], uri[64];
	struct made made;

	(void)state;
	open_site();
	world_create_with(&parity, &c, &made);
	sgate_ref_text(&made.ref, ref);
	snprintf(uri, sizeof(uri), V1 "sessions/%s", ref);
	assert_int_equal(control("GET", uri, NULL), 200);
	served_by_durable();
	assert_true(site_body_has(&site, "\"own\":1"));
	assert_false(site_body_has(&site, made.token));
	carry(made.token);
	assert_int_equal(call("GET", MOUNT "session", NULL), 200);
	served_by_cache();
	assert_false(site_body_has(&site, "own"));
	parity_end(&made.ref, SGATE_REASON_REVOKED);
	assert_int_equal(control("GET", uri, NULL), 404);
	site_close(&site);
	made_clear(&made);
}

/* ---- delete_session(sid), and should_delete ---- */

static void
is_logged_out(void *arg)
{
	(void)arg;
	assert_int_equal(authorize(), 401);
	sets_no_cookie();
}

/*
 * One of the two sessions of a login was deleted, the other lived on. The
 * cookie goes only with the session.
 */
void
flask_redis_session_interface__delete_session(void **state)
{
	struct made made;
	int i;

	(void)state;
	open_site();
	world_create(&parity, "1", &made);
	carry(made.token);
	for (i = 0; i < 2; i++) {
		assert_int_equal(call("POST", MOUNT "logout", ""), 200);
		served_by_durable();
		assert_string_equal(site_header(&site, "Set-Cookie"),
		    "__Host-sid=; Max-Age=0; Path=/; Secure; HttpOnly; "
		    "SameSite=Lax");
	}
	parity_in_each_state(is_logged_out, NULL);
	assert_int_equal(world_audit(&parity, "end", &made.ref), 1);
	assert_int_equal(parity_count("1"), 0);
	site_close(&site);
	made_clear(&made);
}

/* ---- cleanup_expired_sessions() ---- */

/* It answered 0 and left it to Redis: rows stayed for ever. */
void
flask_redis_session_interface__cleanup_expired_sessions(void **state)
{
	struct sgate_reaped reaped;
	struct sgate_stats stats;
	struct made made;
	uint64_t deleted = 0;
	int steps;

	(void)state;
	world_create(&parity, "1", &made);
	parity.now_ms += 9 * HOUR;
	assert_status(
	    &parity, sgate_reap(parity.mgr, &reaped, &parity.err), SGATE_OK);
	served_by_durable();
	assert_int_equal(reaped.ended, 1);
	parity_stats(&stats);
	assert_int_equal(stats.ended, 1);
	parity.now_ms += 48 * HOUR;
	for (steps = 0; steps < 10 && deleted == 0; steps++) {
		assert_status(&parity,
		    sgate_reap(parity.mgr, &reaped, &parity.err), SGATE_OK);
		deleted += reaped.deleted;
	}
	assert_int_equal(deleted, 1);
	parity_stats(&stats);
	assert_int_equal(stats.ended, 0);
	assert_int_equal(world_audit(&parity, "end", &made.ref), 1);
	made_clear(&made);
}

/* ---- get_user_sessions(user_id) ---- */

static size_t
count_in_body(const char *text)
{
	const char *at = site_body(&site);
	size_t count = 0;

	while ((at = strstr(at, text)) != NULL) {
		at += strlen(text);
		count++;
	}
	return count;
}

/* It failed on every key that it found. No one else's, and no tokens. */
void
flask_redis_session_interface__get_user_sessions(void **state)
{
	struct parity_crowd crowd;
	char ref[SGATE_REF_HEX + 1];

	(void)state;
	open_site();
	parity_gather(&crowd);
	carry(crowd.own[0].token);
	assert_int_equal(call("GET", MOUNT "sessions", NULL), 200);
	served_by_durable();
	assert_int_equal(count_in_body("\"ref\":"), 3);
	assert_int_equal(count_in_body("\"current\":true"), 1);
	sgate_ref_text(&crowd.own[2].ref, ref);
	assert_true(site_body_has(&site, ref));
	sgate_ref_text(&crowd.other.ref, ref);
	assert_false(site_body_has(&site, ref));
	assert_false(site_body_has(&site, crowd.own[0].token));
	parity_leave(&crowd);
	site_close(&site);
}

/* ---- cleanup_user_sessions(user_id) ---- */

/* "Log out everywhere" did nothing and said 0. */
void
flask_redis_session_interface__cleanup_user_sessions(void **state)
{
	struct parity_crowd crowd;

	(void)state;
	open_site();
	parity_gather(&crowd);
	carry(crowd.own[0].token);
	assert_int_equal(call("POST", MOUNT "sessions/end-others", ""), 200);
	served_by_durable();
	assert_string_equal(site_member(&site, "ended"), "2");
	assert_int_equal(authorize(), 200);
	carry(crowd.other.token);
	assert_int_equal(authorize(), 200);
	served_by_cache();
	carry(crowd.own[1].token);
	parity_in_each_state(is_logged_out, NULL);
	parity_leave(&crowd);
	site_close(&site);
}
