/*
 * POST login: who is let in, what becomes of the session before, "remember me",
 * and how often one address may.
 */
#include "tap.h"

#include "site.h"

#include "clock.h"
#include "rate.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOUNT "/.sessgate/"
#define FORM "application/x-www-form-urlencoded"
#define LISTENER (CONF_ALLOW_API | CONF_ALLOW_REMOTE_USER)

/* A login of alice by a form; the test changes what it is about. */
static struct ask
login_of(const struct site *site, const char *body)
{
	return (struct ask){.method = "POST",
	    .uri = MOUNT "login",
	    .cookie = site->cookie.len == 0 ? NULL : buf_text(&site->cookie),
	    .type = FORM,
	    .body = body,
	    .allow = LISTENER,
	    .more = {"REMOTE_USER=alice", "AUTH_TYPE=Basic"}};
}

static int
log_in(struct site *site, const char *body)
{
	struct ask ask = login_of(site, body);

	return site_ask(site, &ask);
}

/* Let the answer's cookie be the browser's; the old one is what was there. */
static void
take_cookie(struct site *site)
{
	const char *line = site_header(site, "Set-Cookie");
	size_t len;

	assert_non_null(line);
	assert_int_equal(site_count_header(site, "Set-Cookie"), 1);
	len = strcspn(line, ";");
	buf_reset(&site->cookie);
	buf_add(&site->cookie, line, len);
	assert_true(len == sizeof("__Host-sid=") - 1 + SGATE_TOKEN_LEN);
}

static int
get_session_with(struct site *site, const char *cookie)
{
	struct ask ask = {.uri = MOUNT "session", .cookie = cookie};

	return site_ask(site, &ask);
}

static int
get_session(struct site *site)
{
	return get_session_with(site, buf_text(&site->cookie));
}

static bool
cookie_has(struct site *site, const char *attribute)
{
	const char *line = site_header(site, "Set-Cookie");

	assert_non_null(line);
	return strstr(line, attribute) != NULL;
}

/* ---- who is let in ---- */

static void
a_form_goes_to_return_to_with_a_new_session(void **state)
{
	struct site site;

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(log_in(&site, "return_to=%2Fapp%2F%3Fa%3Db"), 303);
	assert_string_equal(site_header(&site, "Location"), "/app/?a=b");
	assert_string_equal(site_header(&site, "Cache-Control"), "no-store");
	assert_true(cookie_has(&site, "; Path=/; Secure; HttpOnly; SameSite="));
	take_cookie(&site);
	assert_int_equal(get_session(&site), 200);
	assert_string_equal(site_member(&site, "user_id"), "alice");
	assert_int_equal(counted(site.shared, TALLY_CREATED), 1);
	/* Without return_to, or with one that leads away: a page. */
	assert_int_equal(log_in(&site, ""), 200);
	assert_true(site_body_has(&site, "<h1>Logged in</h1>"));
	assert_int_equal(log_in(&site, "return_to=//evil.example/"), 200);
	assert_null(site_header(&site, "Location"));
	take_cookie(&site);
	site_close(&site);
}

static void
json_gets_the_session(void **state)
{
	struct site site;
	struct ask ask;

	(void)state;
	site_open(&site, NULL);
	ask = login_of(&site, "{\"remember\":false}");
	ask.type = "application/json";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(site_member(&site, "user_id"), "alice");
	assert_false(site_body_has(&site, "token"));
	take_cookie(&site);
	ask.body = NULL;
	ask.type = NULL;
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(
	    site_header(&site, "Content-Type"), "application/json");
	ask.type = "application/json";
	ask.body = "{\"user_id\":\"root\"}";
	assert_int_equal(site_ask(&site, &ask), 400);
	ask.body = "{\"remember\":1}";
	assert_int_equal(site_ask(&site, &ask), 400);
	ask.type = "text/plain";
	assert_int_equal(site_ask(&site, &ask), 415);
	site_close(&site);
}

static void
nobody_is_let_in_without_the_web_servers_word(void **state)
{
	static const char *const closed[][4] = {
	    {NULL},
	    {"REMOTE_USER=alice"},
	    {"AUTH_TYPE=Basic"},
	    {"REMOTE_USER=", "AUTH_TYPE=Basic"},
	    {"REMOTE_USER=alice", "AUTH_TYPE="},
	    {"REMOTE_USER=alice", "AUTH_TYPE=Session"},
	    {"REMOTE_USER=alice", "AUTH_TYPE=session"},
	    {"REMOTE_USER=mallory", "REMOTE_USER=alice", "AUTH_TYPE=Basic"},
	    {"REMOTE_USER=alice", "REMOTE_USER=alice", "AUTH_TYPE=Basic"},
	    {"REMOTE_USER=alice", "REMOTE_USER=", "AUTH_TYPE=Basic"},
	    {"REMOTE_USER=alice", "AUTH_TYPE=Basic", "AUTH_TYPE=Basic"},
	    {"REMOTE_USER=alice", "AUTH_TYPE=Basic", "AUTH_TYPE=Session"},
	    {"HTTP_REMOTE_USER=alice", "HTTP_AUTH_TYPE=Basic"},
	    {"HTTP_X_REMOTE_USER=alice", "AUTH_TYPE=Basic"},
	    {"REMOTE_USERS=alice", "AUTH_TYPE=Basic"},
	    {"REDIRECT_REMOTE_USER=alice", "AUTH_TYPE=Basic"},
	    {"remote_user=alice", "AUTH_TYPE=Basic"},
	    {"REMOTE_USER=alice", "HTTP_AUTHORIZATION=Basic YTpi"},
	};
	struct site site;
	struct ask ask;
	size_t i, k;
	int status;

	(void)state;
	site_open(&site, NULL);
	ask = login_of(&site, "return_to=/app/");
	for (i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
		for (k = 0; k < 4; k++)
			ask.more[k] = closed[i][k];
		ask.method = "POST";
		status = site_ask(&site, &ask);
		if (status != 403)
			fail_msg("row %zu: %d", i, status);
		assert_null(site_header(&site, "Set-Cookie"));
		assert_string_equal(site_member(&site, "code"), "denied");
		ask.method = "GET";
		ask.accept = "text/html";
		assert_int_equal(site_ask(&site, &ask), 403);
		assert_true(site_body_has(&site, "has not authenticated you"));
		ask.accept = NULL;
	}
	assert_true(site_log_has(&site, "login refused: AUTH_TYPE"));
	assert_int_equal(counted(site.shared, TALLY_CREATED), 0);
	site_close(&site);
}

static void
the_listener_decides(void **state)
{
	static const unsigned closed[] = {CONF_ALLOW_CHECK | CONF_ALLOW_API,
	    CONF_ALLOW_API, CONF_ALLOW_CREATE, CONF_ALLOW_V1,
	    CONF_ALLOW_CHECK | CONF_ALLOW_API | CONF_ALLOW_CREATE |
		CONF_ALLOW_V1 | CONF_ALLOW_ADMIN | CONF_ALLOW_ALL};
	struct site site;
	struct ask ask;
	size_t i;

	(void)state;
	site_open(&site, NULL);
	ask = login_of(&site, "return_to=/app/");
	for (i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
		ask.allow = closed[i];
		ask.method = "POST";
		assert_int_equal(site_ask(&site, &ask), 403);
		assert_string_equal(site_member(&site, "code"), "denied");
		ask.method = "GET";
		assert_int_equal(site_ask(&site, &ask), 403);
	}
	/* It needs nothing else, and nothing else is to be had there. */
	ask.allow = CONF_ALLOW_REMOTE_USER;
	ask.method = "POST";
	assert_int_equal(site_ask(&site, &ask), 303);
	take_cookie(&site);
	ask.cookie = buf_text(&site.cookie);
	ask.method = "GET";
	ask.uri = MOUNT "session";
	assert_int_equal(site_ask(&site, &ask), 403);
	ask.uri = MOUNT "v1/sessions";
	assert_int_equal(site_ask(&site, &ask), 403);
	ask.is_authorizer = true;
	assert_int_equal(site_ask(&site, &ask), 403);
	site_close(&site);
}

static void
another_site_logs_nobody_in(void **state)
{
	static const struct {
		const char *origin; /* "" = not sent */
		const char *more;
		int status;
	} rows[] = {
	    {"", NULL, 403},
	    {"null", NULL, 403},
	    {"https://evil.example", NULL, 403},
	    {"http://example.org", NULL, 403},
	    {"https://example.org:8443", NULL, 403},
	    {"https://www.example.org", NULL, 403},
	    {"https://example.org", NULL, 303},
	    {"", "HTTP_SEC_FETCH_SITE=cross-site", 403},
	    {"", "HTTP_SEC_FETCH_SITE=same-site", 403},
	    {"", "HTTP_SEC_FETCH_SITE=same-origin", 303},
	    {"", "HTTP_SEC_FETCH_SITE=none", 303},
	    {"https://example.org", "HTTP_SEC_FETCH_SITE=cross-site", 403},
	    {"", "HTTP_REFERER=https://evil.example/a", 403},
	    {"", "HTTP_REFERER=https://example.org/login", 303},
	};
	struct site site;
	struct ask ask;
	size_t i;
	int status;

	(void)state;
	site_open(&site, NULL);
	ask = login_of(&site, "return_to=/app/");
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ask.origin = rows[i].origin;
		ask.more[2] = rows[i].more;
		status = site_ask(&site, &ask);
		if (status != rows[i].status)
			fail_msg("row %zu: %d", i, status);
		if (status == 403) {
			assert_string_equal(site_member(&site, "code"), "csrf");
			assert_null(site_header(&site, "Set-Cookie"));
		}
	}
	site_close(&site);
}

static void
the_page_has_a_button_and_changes_nothing(void **state)
{
	static const char *const overrides[] = {
	    "gateway.return_to_allow=https://app.example/in", NULL};
	struct site site;
	struct ask ask;

	(void)state;
	site_open(&site, overrides);
	ask = login_of(&site, NULL);
	ask.method = "GET";
	ask.type = NULL;
	ask.uri = MOUNT "login?return_to=/a%22%3E%3Cb%3E";
	ask.more[0] = "REMOTE_USER=<i>\"alice\"";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_null(site_header(&site, "Set-Cookie"));
	assert_true(site_body_has(
	    &site, "<form method=\"post\" action=\"/.sessgate/login\">"));
	assert_true(site_body_has(&site, "value=\"/a&quot;&gt;&lt;b&gt;\""));
	assert_true(site_body_has(&site, "&lt;i&gt;"));
	assert_false(site_body_has(&site, "<i>"));
	/* A browser asks the page where the answer may lead, too. */
	assert_null(strstr(site_header(&site, "Content-Security-Policy"),
	    "https://app.example"));
	ask.uri = MOUNT "login?return_to=https://app.example/in";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_non_null(strstr(site_header(&site, "Content-Security-Policy"),
	    "form-action 'self' https://app.example;"));
	ask.uri = MOUNT "login?return_to=//evil.example/";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_false(site_body_has(&site, "evil"));
	ask.method = "HEAD";
	assert_int_equal(site_ask(&site, &ask), 200);
	ask.method = "PUT";
	assert_int_equal(site_ask(&site, &ask), 405);
	assert_int_equal(counted(site.shared, TALLY_CREATED), 0);
	site_close(&site);
}

/* ---- what becomes of the session before ---- */

static void
a_planted_cookie_does_not_become_the_session(void **state)
{
	static const char *const planted[] = {"__Host-sid=x",
	    "__Host-sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	    "other=1", "__Host-sid="};
	struct site site;
	struct ask ask;
	size_t i;

	(void)state;
	site_open(&site, NULL);
	ask = login_of(&site, "return_to=/app/");
	for (i = 0; i < sizeof(planted) / sizeof(planted[0]); i++) {
		ask.cookie = planted[i];
		assert_int_equal(site_ask(&site, &ask), 303);
		take_cookie(&site);
		assert_string_not_equal(buf_text(&site.cookie), planted[i]);
		assert_int_equal(get_session(&site), 200);
		assert_int_equal(get_session_with(&site, planted[i]), 401);
	}
	ask.cookie = "__Host-sid=a; __Host-sid=b";
	assert_int_equal(site_ask(&site, &ask), 400);
	site_close(&site);
}

static void
the_session_before_ends(void **state)
{
	static const char *const users[] = {NULL, "mallory", "alice"};
	static const char *const overrides[] = {
	    "gateway.expose_reason=yes", NULL};
	struct site site;
	char old[128];
	size_t i;

	(void)state;
	site_open(&site, overrides);
	for (i = 0; i < 3; i++) {
		site_login(&site, users[i] == NULL ? "" : users[i], NULL);
		snprintf(old, sizeof(old), "%s", buf_text(&site.cookie));
		assert_int_equal(get_session_with(&site, old), 200);
		assert_int_equal(log_in(&site, "return_to=/app/"), 303);
		take_cookie(&site);
		assert_int_equal(get_session(&site), 200);
		assert_string_equal(site_member(&site, "user_id"), "alice");
		assert_int_equal(get_session_with(&site, old), 401);
		assert_string_equal(
		    site_header(&site, "X-Session-Reason"), "replaced");
	}
	site_close(&site);
}

static void
a_login_that_fails_ends_nothing(void **state)
{
	struct site site;
	struct sgate_error err;
	struct sgate_caller caller = {.budget_ms = 5000};
	uint64_t ended;

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "bob", NULL);
	assert_int_equal(
	    sgate_manager_set_caller(site.mgr, &caller, &err), SGATE_OK);
	assert_int_equal(sgate_user_block(site.mgr, bytes_of("alice"),
			     bytes_of("test"), &ended, &err),
	    SGATE_OK);
	assert_int_equal(log_in(&site, "return_to=/app/"), 403);
	assert_string_equal(site_member(&site, "code"), "blocked");
	assert_null(site_header(&site, "Set-Cookie"));
	assert_int_equal(get_session(&site), 200);
	assert_string_equal(site_member(&site, "user_id"), "bob");
	site_close(&site);
}

static void
who_may_have_one_session_can_log_in_again(void **state)
{
	static const char *const overrides[] = {
	    "session.max_sessions=1", "session.on_limit=refuse", NULL};
	struct site site;

	(void)state;
	site_open(&site, overrides);
	assert_int_equal(log_in(&site, "return_to=/app/"), 303);
	take_cookie(&site);
	assert_int_equal(log_in(&site, "return_to=/app/"), 303);
	take_cookie(&site);
	assert_int_equal(get_session(&site), 200);
	/* Another browser may not. */
	buf_reset(&site.cookie);
	assert_int_equal(log_in(&site, "return_to=/app/"), 403);
	assert_string_equal(site_member(&site, "code"), "limit");
	/* Nor one that has somebody else's session, and it keeps that. */
	site_login(&site, "bob", NULL);
	assert_int_equal(log_in(&site, "return_to=/app/"), 403);
	assert_int_equal(get_session(&site), 200);
	site_close(&site);
}

static void
without_a_store_nobody_is_logged_in(void **state)
{
	struct site site;

	(void)state;
	site_open(&site, NULL);
	site_break_store(&site);
	assert_int_equal(log_in(&site, "return_to=/app/"), 503);
	assert_null(site_header(&site, "Set-Cookie"));
	assert_non_null(site_header(&site, "Retry-After"));
	site_mend_store(&site);
	assert_int_equal(log_in(&site, "return_to=/app/"), 303);
	site_close(&site);
}

static void
a_user_is_what_a_user_may_be(void **state)
{
	struct site site;
	struct ask ask;

	(void)state;
	site_open(&site, NULL);
	ask = login_of(&site, "");
	ask.more[0] = "REMOTE_USER=a\x01";
	assert_int_equal(site_ask(&site, &ask), 400);
	ask.more[0] = "REMOTE_USER=\xff";
	assert_int_equal(site_ask(&site, &ask), 400);
	ask.more[0] = "REMOTE_USER=zo\xc3\xab@EXAMPLE.ORG";
	assert_int_equal(site_ask(&site, &ask), 200);
	take_cookie(&site);
	assert_int_equal(get_session(&site), 200);
	assert_string_equal(
	    site_member(&site, "user_id"), "zo\xc3\xab@EXAMPLE.ORG");
	site_close(&site);
}

/* ---- remember me ---- */

#define HOUR INT64_C(3600000)
#define DAY (24 * HOUR)

static const char *const remembering[] = {"session.idle_timeout=30min",
    "session.absolute_timeout=8h", "session.remember_idle_timeout=5d",
    "session.remember_absolute_timeout=20d", NULL};

static int64_t
max_age(struct site *site)
{
	const char *line = site_header(site, "Set-Cookie");
	const char *at = line == NULL ? NULL : strstr(line, "; Max-Age=");

	return at == NULL ? 0
			  : strtoll(at + sizeof("; Max-Age=") - 1, NULL, 10);
}

static void
remember_is_a_checkbox(void **state)
{
	static const struct {
		const char *body;
		int status;
		bool is_remembered;
	} rows[] = {{"remember=1", 200, true}, {"remember=on", 200, true},
	    {"remember=true", 200, true}, {"remember=yes", 200, true},
	    {"remember=0", 200, false}, {"remember=off", 200, false},
	    {"remember=", 200, false}, {"", 200, false},
	    {"remember=2", 400, false}, {"remember=1&remember=1", 400, false},
	    {"remember=ON", 400, false}};
	struct site site;
	struct ask ask;
	size_t i;

	(void)state;
	site_open(&site, remembering);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = log_in(&site, rows[i].body);

		if (status != rows[i].status)
			fail_msg("%s: %d", rows[i].body, status);
		if (status != 200) {
			assert_null(site_header(&site, "Set-Cookie"));
			continue;
		}
		assert_int_equal(max_age(&site),
		    rows[i].is_remembered ? 20 * DAY / 1000 : 0);
		assert_true(cookie_has(&site, "; Path=/; Secure; HttpOnly"));
	}
	ask = login_of(&site, "{\"remember\":true}");
	ask.type = "application/json";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_int_equal(max_age(&site), 20 * DAY / 1000);
	site_close(&site);
}

static int
rotate(struct site *site)
{
	struct ask ask = {.method = "POST",
	    .uri = MOUNT "session/rotate",
	    .cookie = buf_text(&site->cookie)};

	return site_ask(site, &ask);
}

/* Somebody who wants to be remembered has just logged in. */
static void
open_remembered(struct site *site)
{
	site_open(site, remembering);
	assert_int_equal(log_in(site, "remember=1"), 200);
	take_cookie(site);
}

static void
close_expired(struct site *site)
{
	assert_int_equal(get_session(site), 401);
	assert_string_equal(site_member(site, "code"), "expired");
	site_close(site);
}

static void
a_remembered_session_lives_as_long_as_its_cookie(void **state)
{
	struct site site;
	int days;

	(void)state;
	open_remembered(&site);
	/* Used every four days, and rotated: the cookie's end stays. */
	for (days = 4; days < 20; days += 4) {
		site.now_ms += 4 * DAY;
		assert_int_equal(get_session(&site), 200);
		assert_int_equal(rotate(&site), 200);
		assert_int_equal(max_age(&site), (20 - days) * DAY / 1000);
		take_cookie(&site);
	}
	site.now_ms += 4 * DAY - 1000;
	assert_int_equal(get_session(&site), 200);
	site.now_ms += 2000;
	close_expired(&site);
}

/* Another tab still has the old one: a check brings it the new one. */
static void
a_cookie_that_a_check_renews_ends_when_it_did(void **state)
{
	struct site site;
	struct ask ask = {.is_check = true, .method = "GET"};
	char old[128];

	(void)state;
	open_remembered(&site);
	snprintf(old, sizeof(old), "%s", buf_text(&site.cookie));
	site.now_ms += 3 * DAY;
	assert_int_equal(rotate(&site), 200);
	take_cookie(&site);
	ask.cookie = old;
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_int_equal(max_age(&site), 17 * DAY / 1000);
	assert_true(cookie_has(&site, buf_text(&site.cookie)));
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_null(site_header(&site, "Set-Cookie"));
	site_close(&site);
}

static void
a_remembered_session_that_nobody_uses_ends(void **state)
{
	struct site site;

	(void)state;
	open_remembered(&site);
	site.now_ms += 4 * DAY;
	assert_int_equal(get_session(&site), 200);
	/* With the tenth of leeway that activity has. */
	site.now_ms += 5 * DAY + 13 * HOUR;
	close_expired(&site);
}

static void
what_is_not_remembered_is_as_short_as_ever(void **state)
{
	struct site site;

	(void)state;
	site_open(&site, remembering);
	assert_int_equal(log_in(&site, "remember=0"), 200);
	assert_false(cookie_has(&site, "Max-Age"));
	assert_false(cookie_has(&site, "Expires"));
	take_cookie(&site);
	assert_int_equal(rotate(&site), 200);
	assert_false(cookie_has(&site, "Max-Age"));
	take_cookie(&site);
	site.now_ms += HOUR;
	close_expired(&site);
}

/* ---- how often one address may ---- */

static const char *const three[] = {
    "limit.login_per_minute=3", "gateway.trusted_proxies=192.0.2.0/24", NULL};

/* No minute of the clock begins before the test is over. */
static void
stay_in_this_minute(void)
{
	int wait_s = rate_wait_s(clock_monotonic_ms());

	if (wait_s <= 5)
		sleep((unsigned)wait_s);
}

/* A login by way of the proxy 192.0.2.1; address NULL: of itself. */
static int
log_in_from(struct site *site, const char *address)
{
	char param[80];
	struct ask ask = login_of(site, "return_to=/");

	snprintf(param, sizeof(param), "HTTP_X_FORWARDED_FOR=%s",
	    address == NULL ? "" : address);
	if (address != NULL)
		ask.more[2] = param;
	return site_ask(site, &ask);
}

static void
an_address_may_log_in_so_often_a_minute(void **state)
{
	struct site site;
	int i, wait_s;

	(void)state;
	site_open(&site, three);
	stay_in_this_minute();
	for (i = 0; i < 3; i++)
		assert_int_equal(log_in_from(&site, "203.0.113.5"), 303);
	wait_s = rate_wait_s(clock_monotonic_ms());
	assert_int_equal(log_in_from(&site, "203.0.113.5"), 429);
	assert_string_equal(site_member(&site, "code"), "busy");
	assert_null(site_header(&site, "Set-Cookie"));
	assert_in_range(
	    atoi(site_header(&site, "Retry-After")), wait_s - 2, wait_s);
	assert_true(
	    site_log_has(&site, "logins from 203.0.113.5: more than 3"));
	assert_int_equal(counted_denials(site.shared, SGATE_REASON_RATE), 1);
	/* What the client says of itself is not looked at. */
	assert_int_equal(log_in_from(&site, "203.0.113.77, 203.0.113.5"), 429);
	/* Others are not meant, and IPv6 is counted by network. */
	assert_int_equal(log_in_from(&site, "203.0.113.6"), 303);
	for (i = 0; i < 3; i++)
		assert_int_equal(log_in_from(&site, "2001:db8::1"), 303);
	assert_int_equal(log_in_from(&site, "2001:db8::2"), 429);
	assert_int_equal(log_in_from(&site, "2001:db8:0:1::2"), 303);
	/* The proxy itself is no visitor. */
	for (i = 0; i < 6; i++)
		assert_int_equal(log_in_from(&site, NULL), 303);
	site_close(&site);
}

static void
without_a_limit_there_is_none(void **state)
{
	static const char *const none[] = {"limit.login_per_minute=0", NULL};
	struct site site;
	int i;

	(void)state;
	site_open(&site, none);
	for (i = 0; i < 40; i++)
		assert_int_equal(log_in(&site, "return_to=/"), 303);
	site_close(&site);
}

/* Else a page somewhere could use up what its visitor has. */
static void
what_is_refused_for_another_reason_is_not_counted(void **state)
{
	static const char *const own[] = {"limit.login_per_minute=3", NULL};
	struct site site;
	struct ask ask;
	int i;

	(void)state;
	site_open(&site, own);
	stay_in_this_minute();
	ask = login_of(&site, "return_to=/");
	ask.origin = "https://evil.example";
	for (i = 0; i < 5; i++)
		assert_int_equal(site_ask(&site, &ask), 403);
	ask.origin = NULL;
	ask.more[1] = NULL;
	for (i = 0; i < 5; i++)
		assert_int_equal(site_ask(&site, &ask), 403);
	for (i = 0; i < 3; i++)
		assert_int_equal(log_in(&site, "return_to=/"), 303);
	assert_int_equal(log_in(&site, "return_to=/"), 429);
	site_close(&site);
}

static int
create_by_program(struct site *site, unsigned allow, const char *body)
{
	struct ask ask = {.method = "POST",
	    .uri = MOUNT "v1/sessions",
	    .allow = allow,
	    .body = body};

	return site_ask(site, &ask);
}

static void
programs_that_name_the_visitor_are_limited_too(void **state)
{
	static const char *const own[] = {"limit.login_per_minute=3", NULL};
	static const char named[] =
	    "{\"user_id\":\"a\",\"client_ip\":\"203.0.113.5\"}";
	struct site site;
	int i;

	(void)state;
	site_open(&site, own);
	stay_in_this_minute();
	for (i = 0; i < 3; i++)
		assert_int_equal(
		    create_by_program(&site, CONF_ALLOW_CREATE, named), 201);
	assert_int_equal(
	    create_by_program(&site, CONF_ALLOW_CREATE, named), 429);
	assert_string_equal(site_member(&site, "code"), "busy");
	/* One count, whichever way he came. */
	assert_int_equal(
	    create_by_program(&site, CONF_ALLOW_CREATE,
		"{\"user_id\":\"b\",\"client_ip\":\"::ffff:203.0.113.5\"}"),
	    429);
	for (i = 0; i < 5; i++) {
		/* Who is not said to come from anywhere, */
		assert_int_equal(create_by_program(&site, CONF_ALLOW_CREATE,
				     "{\"user_id\":\"a\"}"),
		    201);
		/* who does not log in, */
		assert_int_equal(create_by_program(&site, CONF_ALLOW_CREATE,
				     "{\"client_ip\":\"203.0.113.5\"}"),
		    201);
		/* and the operator. */
		assert_int_equal(create_by_program(&site,
				     CONF_ALLOW_CREATE | CONF_ALLOW_ALL, named),
		    201);
	}
	site_close(&site);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_form_goes_to_return_to_with_a_new_session),
    cmocka_unit_test(json_gets_the_session),
    cmocka_unit_test(nobody_is_let_in_without_the_web_servers_word),
    cmocka_unit_test(the_listener_decides),
    cmocka_unit_test(another_site_logs_nobody_in),
    cmocka_unit_test(the_page_has_a_button_and_changes_nothing),
    cmocka_unit_test(a_planted_cookie_does_not_become_the_session),
    cmocka_unit_test(the_session_before_ends),
    cmocka_unit_test(a_login_that_fails_ends_nothing),
    cmocka_unit_test(who_may_have_one_session_can_log_in_again),
    cmocka_unit_test(without_a_store_nobody_is_logged_in),
    cmocka_unit_test(a_user_is_what_a_user_may_be),
    cmocka_unit_test(remember_is_a_checkbox),
    cmocka_unit_test(a_remembered_session_lives_as_long_as_its_cookie),
    cmocka_unit_test(a_cookie_that_a_check_renews_ends_when_it_did),
    cmocka_unit_test(a_remembered_session_that_nobody_uses_ends),
    cmocka_unit_test(what_is_not_remembered_is_as_short_as_ever),
    cmocka_unit_test(an_address_may_log_in_so_often_a_minute),
    cmocka_unit_test(without_a_limit_there_is_none),
    cmocka_unit_test(what_is_refused_for_another_reason_is_not_counted),
    cmocka_unit_test(programs_that_name_the_visitor_are_limited_too),
};

TAP_MAIN(tests)
