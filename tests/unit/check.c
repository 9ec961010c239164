/*
 * Checks and authorizers: every row of the table of reasons, what an allowed
 * answer holds, and that nothing but a live session is ever allowed.
 */
#include "tap.h"

#include "reply.h"
#include "site.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static int
authorize(struct site *site, const char *cookie, const char *policy)
{
	char param[64];
	struct ask ask = {.is_authorizer = true, .cookie = cookie};

	if (policy != NULL) {
		snprintf(param, sizeof(param), "SESSGATE_POLICY=%s", policy);
		ask.more[0] = param;
	}
	return site_ask(site, &ask);
}

static int
check(struct site *site, const char *cookie, const char *policy)
{
	char param[64];
	struct ask ask = {.is_check = true, .cookie = cookie};

	if (policy != NULL) {
		snprintf(param, sizeof(param), "SESSGATE_POLICY=%s", policy);
		ask.more[0] = param;
	}
	return site_ask(site, &ask);
}

static bool
has_variables(const struct site *site)
{
	return strstr(buf_text(&site->answer), "Variable-") != NULL;
}

/* Both roles deny with this status, and tell nothing. */
static void
both_deny(struct site *site, const char *cookie, const char *policy, int status,
    const char *reason)
{
	static const char *const roles[] = {"authorizer", "check"};
	int i;

	for (i = 0; i < 2; i++) {
		int got = i == 0 ? authorize(site, cookie, policy)
				 : check(site, cookie, policy);

		if (got != status)
			fail_msg("%s, %s: %d, expected %d", roles[i], reason,
			    got, status);
		assert_false(has_variables(site));
		assert_null(site_header(site, "Set-Cookie"));
		assert_string_equal(
		    site_header(site, "X-Session-Reason"), reason);
		assert_true(site->answer.len < 8000);
		if (status == 503)
			assert_non_null(site_header(site, "Retry-After"));
	}
}

static const char *
variable(struct site *site, const char *name)
{
	char header[64];

	snprintf(header, sizeof(header), "Variable-%s", name);
	assert_true(site_count_header(site, header) <= 1);
	return site_header(site, header);
}

static const char *const with_reasons[] = {"gateway.expose_reason=yes",
    "policy.staff.require_role=staff,boss", "policy.fresh.max_auth_age=5 min",
    "policy.open.anonymous=yes", "policy.form.csrf=yes",
    "policy.openform.anonymous=yes", "policy.openform.csrf=yes", NULL};

static void
a_live_session_is_allowed_with_its_variables(void **state)
{
	static const char *const overrides[] = {
	    "session.export_data=tier,limit", NULL};
	struct sgate_bytes roles[2], contexts[2];
	struct sgate_create create;
	struct site site;
	char text[32];
	int i;

	(void)state;
	site_open(&site, overrides);
	memset(&create, 0, sizeof(create));
	roles[0] = bytes_of("staff");
	roles[1] = bytes_of("boss");
	contexts[0] = bytes_of("c1");
	contexts[1] = bytes_of("c2");
	create.user_id = bytes_of("alice");
	create.roles = roles;
	create.roles_count = 2;
	create.context = bytes_of("c1");
	create.contexts = contexts;
	create.contexts_count = 2;
	create.data = bytes_of("{\"tier\":\"gold\",\"limit\":7,\"x\":1}");
	site_create(&site, &create);
	for (i = 0; i < 2; i++) {
		const char *cookie = buf_text(&site.cookie);

		assert_int_equal(i == 0 ? authorize(&site, cookie, NULL)
					: check(&site, cookie, NULL),
		    200);
		assert_int_equal(
		    strncmp(buf_text(&site.answer), "Status: 200 OK\r\n", 16),
		    0);
		assert_string_equal(variable(&site, "REMOTE_USER"), "alice");
		assert_string_equal(variable(&site, "AUTH_TYPE"), "Session");
		assert_string_equal(variable(&site, "SESSION_STATE"), "live");
		assert_string_equal(variable(&site, "SESSION_REF"), site.ref);
		assert_string_equal(
		    variable(&site, "SESSION_ROLES"), "staff,boss");
		assert_string_equal(variable(&site, "SESSION_CONTEXT"), "c1");
		snprintf(
		    text, sizeof(text), "%lld", (long long)site.now_ms / 1000);
		assert_string_equal(variable(&site, "SESSION_CREATED"), text);
		assert_string_equal(variable(&site, "SESSION_AUTH_TIME"), text);
		snprintf(text, sizeof(text), "%lld",
		    (long long)site.now_ms / 1000 + 8 * 3600);
		assert_string_equal(variable(&site, "SESSION_EXPIRES"), text);
		assert_int_equal(strlen(variable(&site, "SESSION_CSRF")), 23);
		assert_string_equal(
		    variable(&site, "SESSION_DATA_TIER"), "gold");
		assert_string_equal(variable(&site, "SESSION_DATA_LIMIT"), "7");
		assert_null(variable(&site, "SESSION_DATA_X"));
		assert_null(site_header(&site, "Content-Type"));
		assert_null(site_header(&site, "Set-Cookie"));
		assert_string_equal(site_body(&site), "");
		assert_null(strstr(buf_text(&site.answer), site.token));
	}
	site_close(&site);
}

static void
every_reason_has_its_status(void **state)
{
	static const enum sgate_reason ends[] = {SGATE_REASON_LOGGED_OUT,
	    SGATE_REASON_REVOKED, SGATE_REASON_REPLACED, SGATE_REASON_THEFT,
	    SGATE_REASON_LIMIT, SGATE_REASON_BLOCKED, SGATE_REASON_FLUSHED,
	    SGATE_REASON_BINDING};
	struct buf two = {0};
	struct site site;
	size_t i;

	(void)state;
	site_open(&site, with_reasons);
	both_deny(&site, NULL, NULL, 401, "none");
	both_deny(&site, "a=b", NULL, 401, "none");
	both_deny(&site, "__Host-sid=short", NULL, 401, "malformed");
	site_login(&site, "alice", NULL);
	site.cookie.data[site.cookie.len - 20] =
	    site.cookie.data[site.cookie.len - 20] == 'A' ? 'B' : 'A';
	both_deny(&site, buf_text(&site.cookie), NULL, 401, "bad_tag");
	site_login(&site, "alice", NULL);
	buf_printf(
	    &two, "%s; %s", buf_text(&site.cookie), buf_text(&site.cookie));
	both_deny(&site, buf_text(&two), NULL, 401, "ambiguous");
	buf_clear(&two);

	both_deny(&site, buf_text(&site.cookie), "staff", 403, "role");
	both_deny(&site, buf_text(&site.cookie), "nosuch", 403, "policy");
	site.now_ms += 6 * 60000;
	both_deny(&site, buf_text(&site.cookie), "fresh", 401, "auth_age");
	site.now_ms += 40 * 60000;
	both_deny(&site, buf_text(&site.cookie), NULL, 401, "expired_idle");
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		site_login(&site, "alice", NULL);
		site_end(&site, ends[i]);
		both_deny(&site, buf_text(&site.cookie), NULL, 401,
		    sgate_reason_text(ends[i]));
		assert_true(site_log_has(&site, sgate_reason_text(ends[i])));
		assert_true(site_log_has(&site, site.ref));
		assert_false(site_log_has(&site, site.token));
		assert_true(counted_denials(site.shared, ends[i]) >= 2);
	}
	site_close(&site);
}

static void
the_absolute_expiry_stands_whatever_the_activity(void **state)
{
	struct site site;
	int i;

	(void)state;
	site_open(&site, with_reasons);
	site_login(&site, "alice", NULL);
	for (i = 0; i < 31; i++) {
		site.now_ms += 15 * 60000;
		assert_int_equal(
		    authorize(&site, buf_text(&site.cookie), NULL), 200);
	}
	site.now_ms += 15 * 60000;
	both_deny(&site, buf_text(&site.cookie), NULL, 401, "expired_absolute");
	site_close(&site);
}

static void
a_store_that_is_away_is_503_and_never_401(void **state)
{
	struct site site;

	(void)state;
	site_open(&site, with_reasons);
	site_login(&site, "alice", NULL);
	site_break_store(&site);
	both_deny(&site, buf_text(&site.cookie), NULL, 503, "store");
	both_deny(&site, buf_text(&site.cookie), "open", 503, "store");
	assert_true(counted(site.shared, TALLY_CHECK_UNAVAILABLE) >= 4);
	site_mend_store(&site);
	assert_int_equal(authorize(&site, buf_text(&site.cookie), NULL), 200);
	site_close(&site);
}

static void
listener_and_policy_decide_who_may_ask(void **state)
{
	static const char *const required[] = {"gateway.policy_required=yes",
	    "gateway.expose_reason=yes", "policy.any.anonymous=no", NULL};
	struct site site;
	struct ask ask = {.is_authorizer = true, .allow = CONF_ALLOW_API};

	(void)state;
	site_open(&site, required);
	site_login(&site, "alice", NULL);
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 403);
	assert_string_equal(site_header(&site, "X-Session-Reason"), "listener");
	ask.is_authorizer = false;
	ask.is_check = true;
	assert_int_equal(site_ask(&site, &ask), 403);
	both_deny(&site, ask.cookie, NULL, 403, "policy");
	both_deny(&site, ask.cookie, "", 403, "policy");
	both_deny(&site, ask.cookie, "ANY", 403, "policy");
	assert_int_equal(authorize(&site, ask.cookie, "any"), 200);
	site_close(&site);
}

static void
reasons_are_not_shown_unless_asked_for(void **state)
{
	struct site site;

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "alice", NULL);
	site_end(&site, SGATE_REASON_THEFT);
	assert_int_equal(authorize(&site, buf_text(&site.cookie), NULL), 401);
	assert_null(site_header(&site, "X-Session-Reason"));
	assert_null(strstr(buf_text(&site.answer), "theft"));
	assert_true(site_body_has(&site, "(ended)"));
	site_close(&site);
}

static void
malformed_requests_are_denied(void **state)
{
	struct site site;
	struct ask ask = {.is_malformed = true};
	size_t i;

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "alice", NULL);
	ask.cookie = buf_text(&site.cookie);
	for (i = 0; i < 2; i++) {
		ask.is_authorizer = i == 0;
		ask.is_check = i == 1;
		assert_int_equal(site_ask(&site, &ask), 401);
	}
	ask.is_malformed = false;
	ask.is_authorizer = true;
	ask.is_check = false;
	assert_int_equal(site_ask(&site, &ask), 200);
	ask.more[0] = "HTTP_COOKIE=a=b";
	assert_int_equal(site_ask(&site, &ask), 401);
	ask.more[0] = "REQUEST_METHOD=GET";
	assert_int_equal(site_ask(&site, &ask), 401);
	ask.more[0] = NULL;
	ask.method = "";
	assert_int_equal(site_ask(&site, &ask), 401);
	ask.method = NULL;
	ask.uri = "";
	assert_int_equal(site_ask(&site, &ask), 401);
	site_close(&site);
}

static void
realms_never_share_sessions(void **state)
{
	struct site site;
	struct ask ask = {.is_authorizer = true};

	(void)state;
	site_open(&site, with_reasons);
	site_login(&site, "alice", NULL);
	ask.cookie = buf_text(&site.cookie);
	ask.more[0] = "SESSGATE_REALM=";
	assert_int_equal(site_ask(&site, &ask), 200);
	ask.more[0] = "SESSGATE_REALM=shop";
	assert_int_equal(site_ask(&site, &ask), 401);
	assert_string_equal(site_header(&site, "X-Session-Reason"), "bad_tag");
	ask.more[0] = "SESSGATE_REALM=a b";
	assert_int_equal(site_ask(&site, &ask), 403);
	site.listener.has_realm = true;
	site.listener.realm = (char *)(uintptr_t) "shop";
	ask.more[0] = NULL;
	assert_int_equal(site_ask(&site, &ask), 401);
	ask.more[0] = "SESSGATE_REALM=other";
	assert_int_equal(site_ask(&site, &ask), 403);
	assert_string_equal(site_header(&site, "X-Session-Reason"), "listener");
	site_login(&site, "alice", NULL);
	ask.cookie = buf_text(&site.cookie);
	ask.more[0] = NULL;
	assert_int_equal(site_ask(&site, &ask), 200);
	ask.more[0] = "SESSGATE_REALM=shop";
	assert_int_equal(site_ask(&site, &ask), 200);
	site_close(&site);
}

static void
anonymous_policy_lets_nobody_through_as_nobody(void **state)
{
	struct sgate_create create;
	struct buf two = {0};
	struct site site;

	(void)state;
	site_open(&site, with_reasons);
	assert_int_equal(authorize(&site, NULL, "open"), 200);
	assert_string_equal(variable(&site, "REMOTE_USER"), "");
	assert_string_equal(variable(&site, "SESSION_STATE"), "anonymous");
	assert_null(variable(&site, "SESSION_REF"));
	assert_null(variable(&site, "SESSION_CSRF"));
	assert_int_equal(check(&site, NULL, "open"), 200);
	both_deny(&site, "__Host-sid=short", "open", 401, "malformed");
	site_login(&site, "alice", NULL);
	assert_int_equal(authorize(&site, buf_text(&site.cookie), "open"), 200);
	assert_string_equal(variable(&site, "REMOTE_USER"), "alice");
	buf_printf(
	    &two, "%s; %s", buf_text(&site.cookie), buf_text(&site.cookie));
	both_deny(&site, buf_text(&two), "open", 401, "ambiguous");
	buf_clear(&two);
	site_end(&site, SGATE_REASON_REVOKED);
	assert_int_equal(authorize(&site, buf_text(&site.cookie), "open"), 200);
	assert_string_equal(variable(&site, "REMOTE_USER"), "");

	memset(&create, 0, sizeof(create));
	site_create(&site, &create);
	assert_int_equal(authorize(&site, buf_text(&site.cookie), "open"), 200);
	assert_string_equal(variable(&site, "REMOTE_USER"), "");
	assert_string_equal(variable(&site, "SESSION_STATE"), "anonymous");
	assert_string_equal(variable(&site, "SESSION_REF"), site.ref);
	assert_int_equal(strlen(variable(&site, "SESSION_CSRF")), 23);
	both_deny(&site, buf_text(&site.cookie), NULL, 401, "none");
	both_deny(&site, buf_text(&site.cookie), "staff", 401, "none");
	site_close(&site);
}

static void
apache_is_told_less(void **state)
{
	static const char *const overrides[] = {"session.export_data=tier",
	    "policy.open.anonymous=yes", "gateway.login_url=/login", NULL};
	struct sgate_create create;
	struct site site;
	struct ask ask = {.is_authorizer = true,
	    .accept = "text/html",
	    .more = {"FCGI_APACHE_ROLE=ACCESS_CHECKER"}};

	(void)state;
	site_open(&site, overrides);
	memset(&create, 0, sizeof(create));
	create.user_id = bytes_of("alice");
	create.data = bytes_of("{\"tier\":\"gold\"}");
	site_create(&site, &create);
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(variable(&site, "REMOTE_USER"), "alice");
	assert_null(variable(&site, "SESSION_CSRF"));
	assert_null(variable(&site, "SESSION_DATA_TIER"));
	ask.more[0] = "FCGI_APACHE_ROLE=AUTHENTICATOR";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(variable(&site, "SESSION_DATA_TIER"), "gold");
	ask.cookie = NULL;
	ask.accept = NULL;
	ask.more[1] = "SESSGATE_POLICY=open";
	assert_int_equal(site_ask(&site, &ask), 401);
	assert_false(has_variables(&site));
	ask.more[0] = "FCGI_APACHE_ROLE=ACCESS_CHECKER";
	assert_int_equal(site_ask(&site, &ask), 200);
	/* mod_fcgid would drop the Location. */
	ask.more[1] = NULL;
	ask.accept = "text/html";
	assert_int_equal(site_ask(&site, &ask), 401);
	ask.more[0] = "FCGI_APACHE_ROLE=AUTHENTICATOR";
	assert_int_equal(site_ask(&site, &ask), 302);
	site_close(&site);
}

static void
browsers_are_sent_to_the_login(void **state)
{
	static const char *const overrides[] = {"gateway.login_url=/login",
	    "policy.staff.require_role=staff",
	    "policy.own.login_url=https://id.example.org/in?x=1", NULL};
	struct site site;
	struct ask ask = {.is_authorizer = true,
	    .uri = "/app/a b?c=d&e=//\r\nX: y\"<",
	    .accept = "text/html,*/*"};
	char long_uri[4096] = "";

	(void)state;
	site_open(&site, overrides);
	assert_int_equal(site_ask(&site, &ask), 302);
	assert_string_equal(site_header(&site, "Location"),
	    "/login?return_to=/app/a%20b%3Fc%3Dd%26e%3D//%0D%0AX%3A%20y%22%3C");
	assert_false(has_variables(&site));
	memset(long_uri, 'a', sizeof(long_uri) - 1);
	long_uri[0] = '/';
	ask.uri = long_uri;
	assert_int_equal(site_ask(&site, &ask), 302);
	assert_string_equal(site_header(&site, "Location"), "/login");
	ask.uri = "/app/";
	ask.method = "HEAD";
	assert_int_equal(site_ask(&site, &ask), 302);
	ask.more[0] = "SESSGATE_POLICY=own";
	assert_int_equal(site_ask(&site, &ask), 302);
	assert_string_equal(site_header(&site, "Location"),
	    "https://id.example.org/in?x=1&return_to=/app/");
	ask.more[0] = NULL;
	ask.method = "POST";
	assert_int_equal(site_ask(&site, &ask), 401);
	ask.method = "GET";
	ask.accept = "*/*";
	assert_int_equal(site_ask(&site, &ask), 401);
	ask.accept = "text/html";
	ask.is_authorizer = false;
	ask.is_check = true;
	assert_int_equal(site_ask(&site, &ask), 401);
	ask.is_authorizer = true;
	ask.is_check = false;
	site_login(&site, "alice", NULL);
	ask.cookie = buf_text(&site.cookie);
	ask.more[0] = "SESSGATE_POLICY=staff";
	assert_int_equal(site_ask(&site, &ask), 403);
	site_close(&site);
}

/* Each: what the browser sends, and whether it may change something. */
/* Remembered ones are found by what they stand for and by nothing else. */
static void
the_csrf_token_is_of_its_session_and_day(void **state)
{
	static struct csrf_recent recent;
	struct site site;
	const struct keys *keys;
	struct sgate_ref refs[3] = {{{0}}, {{0}}, {{0}}};
	char computed[TOKEN_CSRF_LEN + 1];
	int64_t now_ms;
	unsigned i;

	(void)state;
	site_open(&site, NULL);
	keys = manager_keys(site.mgr);
	/* The second shares its place with the first. */
	refs[1].bytes[0] = 1;
	refs[2].bytes[SGATE_REF_BYTES - 1] = 7;
	for (i = 0; i < 60; i++) {
		const struct sgate_ref *ref = &refs[i % 3];

		now_ms = (20000 + i / 6 % 3) * (int64_t)TOKEN_CSRF_DAY_MS + i;
		assert_true(token_csrf_write(keys, ref, now_ms, computed));
		assert_string_equal(
		    csrf_token(&recent, keys, ref, now_ms), computed);
		assert_string_equal(
		    csrf_token(&recent, keys, ref, now_ms), computed);
	}
	site_close(&site);
}

static void
csrf_rule_goes_in_its_order(void **state)
{
	static const struct {
		const char *params[3];
		int status;
	} cases[] = {
	    {{"HTTP_SEC_FETCH_SITE=same-origin"}, 200},
	    {{"HTTP_SEC_FETCH_SITE=none"}, 200},
	    {{"HTTP_SEC_FETCH_SITE=same-site"}, 403},
	    {{"HTTP_SEC_FETCH_SITE=cross-site"}, 403},
	    {{"HTTP_SEC_FETCH_SITE=Same-Origin"}, 403},
	    {{"HTTP_SEC_FETCH_SITE=cross-site",
		 "HTTP_ORIGIN=https://example.org"},
		403},
	    {{"HTTP_SEC_FETCH_SITE=same-origin", "HTTP_ORIGIN=https://evil"},
		200},
	    {{"HTTP_SEC_FETCH_SITE=same-site",
		 "HTTP_ORIGIN=https://other.example"},
		200},
	    {{"HTTP_SEC_FETCH_SITE=cross-site",
		 "HTTP_ORIGIN=https://other.example"},
		200},
	    {{"HTTP_SEC_FETCH_SITE=cross-site",
		 "HTTP_ORIGIN=http://other.example"},
		403},
	    {{"HTTP_SEC_FETCH_SITE=cross-site",
		 "HTTP_ORIGIN=https://other.example.evil"},
		403},
	    {{"HTTP_SEC_FETCH_SITE=cross-site", "HTTP_ORIGIN=null",
		 "HTTP_REFERER=https://other.example/"},
		403},
	    {{"HTTP_SEC_FETCH_SITE=cross-site",
		 "HTTP_REFERER=https://other.example/"},
		403},
	    {{"HTTP_ORIGIN=https://example.org"}, 200},
	    {{"HTTP_ORIGIN=HTTPS://EXAMPLE.ORG"}, 200},
	    {{"HTTP_ORIGIN=https://example.org:443"}, 200},
	    {{"HTTP_ORIGIN=http://example.org"}, 403},
	    {{"HTTP_ORIGIN=http://example.org:443"}, 403},
	    {{"HTTP_REFERER=http://example.org:443/"}, 403},
	    {{"HTTP_ORIGIN=https://example.org:8443"}, 403},
	    {{"HTTP_ORIGIN=https://example.org.evil"}, 403},
	    {{"HTTP_ORIGIN=https://evil@example.org"}, 403},
	    {{"HTTP_ORIGIN=https://example.org/"}, 403},
	    {{"HTTP_ORIGIN=https://example.org "}, 403},
	    {{"HTTP_ORIGIN=example.org"}, 403},
	    {{"HTTP_ORIGIN=https://other.example"}, 200},
	    {{"HTTP_ORIGIN=https://evil", "HTTP_REFERER=https://example.org/"},
		403},
	    {{"HTTP_ORIGIN=null", "HTTP_REFERER=https://example.org/x"}, 200},
	    {{"HTTP_ORIGIN=null"}, 403},
	    {{"HTTP_REFERER=https://example.org/a?b"}, 200},
	    {{"HTTP_REFERER=https://example.org"}, 200},
	    {{"HTTP_REFERER=https://example.org@evil/"}, 403},
	    {{"HTTP_REFERER=https://example.org.evil/"}, 403},
	    {{"HTTP_REFERER=https://evil/https://example.org/"}, 403},
	    {{"HTTP_REFERER=about:blank"}, 403},
	    {{"HTTP_X_CSRF_TOKEN=AAAAAAAAAAAAAAAAAAAAAAA"}, 403},
	    {{NULL}, 403},
	};
	static const char *const overrides[] = {"policy.form.csrf=yes",
	    "session.origins=https://other.example", NULL};
	struct site site;
	struct ask ask = {.is_authorizer = true, .origin = ""};
	char token[64];
	size_t i, k;

	(void)state;
	site_open(&site, overrides);
	site_login(&site, "alice", NULL);
	ask.cookie = buf_text(&site.cookie);
	ask.more[0] = "SESSGATE_POLICY=form";
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int got;

		ask.method = "POST";
		for (k = 0; k < 3; k++)
			ask.more[1 + k] = cases[i].params[k];
		got = site_ask(&site, &ask);
		if (got != cases[i].status)
			fail_msg("case %zu (%s): %d, expected %d", i,
			    cases[i].params[0], got, cases[i].status);
		ask.method = "GET";
		assert_int_equal(site_ask(&site, &ask), 200);
	}
	memset(ask.more, 0, sizeof(ask.more));
	ask.more[0] = "SESSGATE_POLICY=form";
	snprintf(token, sizeof(token), "HTTP_X_CSRF_TOKEN=%s",
	    variable(&site, "SESSION_CSRF"));
	ask.more[1] = token;
	ask.method = "DELETE";
	assert_int_equal(site_ask(&site, &ask), 200);
	site.now_ms += INT64_C(20) * 60000;
	assert_int_equal(site_ask(&site, &ask), 200);
	site_login(&site, "bob", NULL);
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 403);
	ask.more[0] = NULL;
	assert_int_equal(site_ask(&site, &ask), 200);
	site_close(&site);
}

static void
a_rotated_token_is_replaced_on_the_way(void **state)
{
	struct sgate_session *session = NULL;
	struct sgate_error err;
	struct site site;
	char expected[160];
	char *token = NULL;

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "alice", NULL);
	assert_int_equal(sgate_session_rotate(site.mgr, bytes_of(site.token),
			     &session, &token, &err),
	    SGATE_OK);
	assert_string_not_equal(token, site.token);
	snprintf(expected, sizeof(expected),
	    "__Host-sid=%s; Path=/; Secure; HttpOnly; SameSite=Lax", token);
	assert_int_equal(authorize(&site, buf_text(&site.cookie), NULL), 200);
	assert_string_equal(site_header(&site, "Set-Cookie"), expected);
	assert_int_equal(check(&site, buf_text(&site.cookie), NULL), 200);
	assert_string_equal(site_header(&site, "Set-Cookie"), expected);
	sgate_token_free(token);
	sgate_session_free(session);
	site_close(&site);
}

static void
a_renewed_cookie_is_a_variable_for_who_asks_for_it(void **state)
{
	struct sgate_session *session = NULL;
	struct sgate_error err;
	struct site site;
	struct ask ask = {.is_authorizer = true};
	char *token = NULL;

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "alice", NULL);
	ask.cookie = buf_text(&site.cookie);
	ask.more[0] = "SESSGATE_SET_COOKIE=1";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_null(variable(&site, "SESSION_SET_COOKIE"));
	assert_int_equal(sgate_session_rotate(site.mgr, bytes_of(site.token),
			     &session, &token, &err),
	    SGATE_OK);
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_non_null(strstr(variable(&site, "SESSION_SET_COOKIE"), token));
	/* Apache's access checker would show it to the program and all. */
	ask.more[1] = "FCGI_APACHE_ROLE=ACCESS_CHECKER";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_null(variable(&site, "SESSION_SET_COOKIE"));
	ask.more[0] = "HTTP_SESSGATE_SET_COOKIE=1";
	ask.more[1] = NULL;
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_null(variable(&site, "SESSION_SET_COOKIE"));
	sgate_token_free(token);
	sgate_session_free(session);
	site_close(&site);
}

static void
a_page_tells_of_a_refusal_and_allows_nobody(void **state)
{
	static const char *const overrides[] = {"gateway.login_url=/login",
	    "gateway.expose_reason=yes", "policy.staff.require_role=staff",
	    "policy.open.anonymous=yes", NULL};
	struct site site;
	struct ask ask = {
	    .accept = "text/html", .more = {"SESSGATE_CHECK=page"}};

	(void)state;
	site_open(&site, overrides);
	assert_int_equal(site_ask(&site, &ask), 302);
	assert_string_equal(
	    site_header(&site, "Location"), "/login?return_to=/app/");
	ask.method = "POST";
	assert_int_equal(site_ask(&site, &ask), 401);
	ask.method = NULL;
	ask.accept = NULL;
	assert_int_equal(site_ask(&site, &ask), 401);
	site_login(&site, "alice", NULL);
	ask.cookie = buf_text(&site.cookie);
	ask.more[1] = "SESSGATE_POLICY=staff";
	assert_int_equal(site_ask(&site, &ask), 403);
	ask.more[1] = "SESSGATE_POLICY=open";
	assert_int_equal(site_ask(&site, &ask), 503);
	assert_false(has_variables(&site));
	ask.more[1] = NULL;
	assert_int_equal(site_ask(&site, &ask), 503);
	assert_non_null(site_header(&site, "Retry-After"));
	assert_false(has_variables(&site));
	/* It was counted when it was refused. */
	assert_int_equal(counted(site.shared, TALLY_CHECK_DENIED), 0);
	assert_int_equal(counted(site.shared, TALLY_CHECK_ALLOWED), 0);
	site_close(&site);
}

static void
identity_in_the_request_is_ignored(void **state)
{
	struct site site;
	struct ask ask = {.is_authorizer = true,
	    .more = {"REMOTE_USER=mallory", "AUTH_TYPE=Basic",
		"HTTP_REMOTE_USER=mallory", "HTTP_VARIABLE_REMOTE_USER=mallory",
		"HTTP_X_AUTH_USER=mallory", "SESSION_REF=0",
		"SESSION_ROLES=admin", "Variable-REMOTE_USER=mallory",
		"HTTP_X_SESSGATE_POLICY=open", "SESSION_STATE=live"}};

	(void)state;
	site_open(&site, with_reasons);
	assert_int_equal(site_ask(&site, &ask), 401);
	site_login(&site, "alice", NULL);
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(variable(&site, "REMOTE_USER"), "alice");
	assert_string_equal(variable(&site, "SESSION_ROLES"), "");
	assert_null(strstr(buf_text(&site.answer), "mallory"));
	site_close(&site);
}

static void
a_bound_session_is_refused_elsewhere(void **state)
{
	static const char *const overrides[] = {"session.bind_agent=strict",
	    "session.bind_address=strict", "gateway.expose_reason=yes", NULL};
	struct sgate_create create;
	struct site site;
	struct ask ask = {.is_authorizer = true};

	(void)state;
	site_open(&site, overrides);
	memset(&create, 0, sizeof(create));
	create.user_id = bytes_of("alice");
	create.user_agent = bytes_of("Browser/1");
	create.client_ip = bytes_of("192.0.2.1");
	site_create(&site, &create);
	ask.cookie = buf_text(&site.cookie);
	ask.more[0] = "HTTP_USER_AGENT=Browser/1";
	assert_int_equal(site_ask(&site, &ask), 200);
	ask.more[0] = "HTTP_USER_AGENT=Other";
	assert_int_equal(site_ask(&site, &ask), 401);
	assert_string_equal(site_header(&site, "X-Session-Reason"), "binding");
	assert_false(has_variables(&site));
	/* It has been ended: nobody who has the cookie can go on trying. */
	ask.more[0] = "HTTP_USER_AGENT=Browser/1";
	assert_int_equal(site_ask(&site, &ask), 401);
	assert_string_equal(site_header(&site, "X-Session-Reason"), "binding");
	create.user_agent = bytes_of("B\x01\xff/1");
	create.client_ip = bytes_of("192.0.2.2");
	site_create(&site, &create);
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 401);
	create.client_ip = bytes_of("192.0.2.1");
	site_create(&site, &create);
	ask.cookie = buf_text(&site.cookie);
	ask.more[0] = "HTTP_USER_AGENT=B\x01\xff/1";
	assert_int_equal(site_ask(&site, &ask), 200);
	site_close(&site);
}

/* ---- mutations ---- */

static uint64_t
next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

#define MUTATIONS 20000
#define FUZZ_PARAMS 12
#define FUZZ_SIZE 512

struct fuzz {
	char text[FUZZ_PARAMS][FUZZ_SIZE];
	char *items[FUZZ_PARAMS + 1];
	size_t count;
	bool is_api;
};

static void
fuzz_begin(struct fuzz *f, const char *cookie, uint64_t r)
{
	static const char *const policies[] = {
	    "", "staff", "fresh", "open", "form", "nosuch", "openform", ""};
	static const char *const methods[] = {
	    "GET", "POST", "HEAD", "BREW", "get", "", "DELETE", "OPTIONS"};
	static const char *const origins[] = {
	    "https://example.org", "https://evil", "null", ""};

	f->count = 8;
	f->is_api = (r >> 11) % 4 == 0;
	/* An unsafe one would log the session out. */
	snprintf(f->text[0], FUZZ_SIZE, "REQUEST_METHOD=%s",
	    methods[f->is_api ? 0 : r & 7]);
	snprintf(f->text[1], FUZZ_SIZE, "REQUEST_URI=%s",
	    f->is_api ? "/.sessgate/session?y=z" : "/app/x?y=z");
	snprintf(f->text[2], FUZZ_SIZE, "HTTP_COOKIE=%s", cookie);
	snprintf(
	    f->text[3], FUZZ_SIZE, "SESSGATE_CHECK=%s", f->is_api ? "" : "1");
	snprintf(f->text[4], FUZZ_SIZE, "SESSGATE_POLICY=%s",
	    policies[(r >> 3) & 7]);
	snprintf(f->text[5], FUZZ_SIZE, "SESSGATE_REALM=%s",
	    ((r >> 6) & 7) == 0 ? "shop" : "");
	snprintf(
	    f->text[6], FUZZ_SIZE, "HTTP_ORIGIN=%s", origins[(r >> 9) & 3]);
	snprintf(f->text[7], FUZZ_SIZE, "REMOTE_USER=mallory");
}

static void
fuzz_change(struct fuzz *f, uint64_t *seed)
{
	uint64_t r = next_random(seed);
	size_t i = (size_t)(r >> 8) % f->count;
	size_t len = strlen(f->text[i]);
	size_t at = (size_t)(r >> 24) % (len + 1);
	char c = (char)(r >> 48);

	switch (r & 7) {
	case 0: /* change a byte */
		f->text[i][at] = at == len ? '\0' : c;
		break;
	case 1: /* cut */
		f->text[i][at] = '\0';
		break;
	case 2: /* lose one */
		if (f->count > 1) {
			memmove(f->text[i], f->text[f->count - 1], FUZZ_SIZE);
			f->count--;
		}
		break;
	case 3: /* say one twice */
		if (f->count < FUZZ_PARAMS)
			memmove(f->text[f->count++], f->text[i], FUZZ_SIZE);
		break;
	case 4: /* insert a byte */
		if (len + 2 < FUZZ_SIZE) {
			memmove(
			    f->text[i] + at + 1, f->text[i] + at, len - at + 1);
			f->text[i][at] = c == '\0' ? ';' : c;
		}
		break;
	case 5: /* a second cookie */
		if (len + 24 < FUZZ_SIZE)
			strcat(f->text[i], "; __Host-sid=x");
		break;
	default: /* leave it */
		break;
	}
}

static bool
fuzz_holds(const struct fuzz *f, const char *name, const char *text)
{
	size_t i;

	for (i = 0; i < f->count; i++)
		if (strncmp(f->text[i], name, strlen(name)) == 0 &&
		    strstr(f->text[i], text) != NULL)
			return true;
	return false;
}

static void
only_a_live_session_is_allowed(void **state)
{
	uint64_t seed = (uint64_t)time(NULL) * 2654435761u + 1;
	const char *given = getenv("SESSGATE_SEED");
	struct buf ended = {0}, other = {0};
	unsigned allowed = 0, anonymous = 0, shown = 0;
	struct site site;
	int i;

	(void)state;
	if (given != NULL)
		seed = strtoull(given, NULL, 10);
	print_message("# SESSGATE_SEED=%llu\n", (unsigned long long)seed);
	site_open(&site, with_reasons);
	site_login(&site, "eve", "staff");
	buf_add_bytes(&ended, buf_bytes(&site.cookie));
	site_end(&site, SGATE_REASON_LOGGED_OUT);
	site.listener.has_realm = true;
	site.listener.realm = (char *)(uintptr_t) "elsewhere";
	site_login(&site, "eve", "staff");
	buf_add_bytes(&other, buf_bytes(&site.cookie));
	site.listener.has_realm = false;
	site_login(&site, "alice", "staff");
	for (i = 0; i < MUTATIONS; i++) {
		uint64_t r = next_random(&seed);
		const char *cookie = r % 4 == 0   ? buf_text(&ended)
				     : r % 4 == 1 ? buf_text(&other)
						  : buf_text(&site.cookie);
		bool is_authorizer;
		unsigned changes = (unsigned)(r >> 21) % 4;
		struct fuzz f;
		size_t k;

		fuzz_begin(&f, cookie, r >> 24);
		is_authorizer = !f.is_api && (r >> 20) % 2 == 0;
		while (changes-- > 0)
			fuzz_change(&f, &seed);
		for (k = 0; k < f.count; k++)
			f.items[k] = f.text[k];
		f.items[f.count] = NULL;
		if (site_ask_raw(&site, f.items, is_authorizer) != 200) {
			assert_false(has_variables(&site));
			continue;
		}
		if (!has_variables(&site)) {
			assert_true(f.is_api);
			assert_true(fuzz_holds(&f, "HTTP_COOKIE=", site.token));
			/* An "s" may have come behind "session": the list. */
			if (fuzz_holds(&f, "REQUEST_URI=", "/sessions"))
				assert_true(site_body_has(&site, site.ref));
			else
				assert_string_equal(
				    site_member(&site, "user_id"), "alice");
			shown++;
			continue;
		}
		if (strcmp(variable(&site, "SESSION_STATE"), "anonymous") ==
		    0) {
			assert_string_equal(variable(&site, "REMOTE_USER"), "");
			assert_true(
			    fuzz_holds(&f, "SESSGATE_POLICY=open", "open"));
			anonymous++;
			continue;
		}
		assert_string_equal(variable(&site, "REMOTE_USER"), "alice");
		assert_true(fuzz_holds(&f, "HTTP_COOKIE=", site.token));
		allowed++;
	}
	/* Otherwise nothing has been shown. */
	print_message("# allowed %u, anonymous %u, shown %u\n", allowed,
	    anonymous, shown);
	assert_true(allowed > MUTATIONS / 20);
	assert_true(anonymous > MUTATIONS / 100);
	assert_true(shown > MUTATIONS / 100);
	buf_clear(&ended);
	buf_clear(&other);
	site_close(&site);
}

/* It is refused and counted as a denial all the same. */
static void
bad_tokens_of_one_address_are_told_so_often_a_minute(void **state)
{
	static const char *const overrides[] = {
	    "limit.bad_token_per_minute=3", NULL};
	struct shared *shared;
	struct buf forged = {0};
	struct site site;
	char *at;
	int i;

	(void)state;
	site_open(&site, overrides);
	shared = site.shared;
	site_login(&site, "alice", NULL);
	buf_add_text(&forged, buf_text(&site.cookie));
	at = &forged.data[forged.len - 9];
	*at = *at == 'A' ? 'B' : 'A';
	for (i = 0; i < 5; i++)
		assert_int_equal(
		    authorize(&site, buf_text(&forged), NULL), 401);
	/* More than three if a minute began meanwhile. */
	assert_in_range(counted_denials(shared, SGATE_REASON_BAD_TAG), 3, 5);
	assert_int_equal(counted(shared, TALLY_CHECK_DENIED), 5);
	assert_int_equal(authorize(&site, buf_text(&site.cookie), NULL), 200);
	assert_int_equal(authorize(&site, NULL, NULL), 401);
	assert_int_equal(counted_denials(shared, SGATE_REASON_NONE), 1);
	buf_clear(&forged);
	site_close(&site);
}

static void
a_value_that_ends_a_line_ends_the_answer(void **state)
{
	static const char *const bad[] = {
	    "a\r\nX: y", "a\nb", "a\rb", "\x01", "a\x7f", "\t"};
	struct buf out = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct reply reply;

		buf_reset(&out);
		buf_add_text(&out, "before");
		reply_init(&reply, &out);
		reply_begin(&reply, 200);
		reply_header(&reply, "Variable-REMOTE_USER", bytes_of(bad[i]));
		reply_no_body(&reply);
		reply_end(&reply);
		assert_int_equal(strncmp(buf_text(&out), "before", 6), 0);
		assert_string_equal(buf_text(&out) + 6, serve_unavailable);
		reply_clear(&reply);
	}
	buf_clear(&out);
}

/* Of nothing else that was counted before there is more. */
static void
assert_counted(struct site *site, struct tally *before, enum tally_mount mount,
    unsigned outcome, enum stores_server server)
{
	struct tally now;
	uint64_t more;
	unsigned m, o, s;

	shared_sum(site->shared, &now);
	for (m = 0; m < TALLY_MOUNTS; m++)
		for (o = 0; o < TALLY_OUTCOMES; o++)
			for (s = 0; s < STORES_SERVERS; s++) {
				more = atomic_load(&now.checks[m][o][s]) -
				       atomic_load(&before->checks[m][o][s]);
				assert_int_equal(more,
				    m == mount && o == outcome && s == server);
			}
	for (s = 0; s < STORES_SERVERS; s++)
		assert_int_equal(tally_times_count(&now.check_times[s]) -
				     tally_times_count(&before->check_times[s]),
		    s == server);
	*before = now;
}

static void
a_check_is_counted_by_mount_reason_and_store(void **state)
{
	static const struct {
		const char *apache_role;
		bool is_check;
		enum tally_mount mount;
	} mounts[] = {
	    {NULL, false, TALLY_LIGHTTPD},
	    {NULL, true, TALLY_NGINX},
	    {"FCGI_APACHE_ROLE=AUTHENTICATOR", false, TALLY_APACHE},
	    {"FCGI_APACHE_ROLE=ACCESS_CHECKER", false, TALLY_APACHE_FCGID},
	    {"FCGI_APACHE_ROLE=AUTHORIZER", false, TALLY_UNKNOWN_MOUNT},
	    {"FCGI_APACHE_ROLE=\"}\n", false, TALLY_UNKNOWN_MOUNT},
	};
	struct site site;
	struct tally before;
	unsigned i;

	(void)state;
	site_open(&site, with_reasons);
	site_login(&site, "alice", NULL);
	shared_sum(site.shared, &before);
	for (i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		struct ask ask = {.cookie = buf_text(&site.cookie),
		    .is_authorizer = !mounts[i].is_check,
		    .is_check = mounts[i].is_check,
		    .more = {mounts[i].apache_role}};

		assert_int_equal(site_ask(&site, &ask), 200);
		assert_counted(&site, &before, mounts[i].mount, SGATE_REASON_OK,
		    STORES_DURABLE);
		/* Nobody is asked, though somebody was before. */
		ask.cookie = NULL;
		assert_int_equal(site_ask(&site, &ask), 401);
		assert_counted(&site, &before, mounts[i].mount,
		    SGATE_REASON_NONE, STORES_NOBODY);
	}
	assert_int_equal(authorize(&site, NULL, "open"), 200);
	assert_counted(
	    &site, &before, TALLY_LIGHTTPD, TALLY_ANONYMOUS, STORES_NOBODY);
	assert_int_equal(
	    authorize(&site, buf_text(&site.cookie), "staff"), 403);
	assert_counted(
	    &site, &before, TALLY_LIGHTTPD, SGATE_REASON_ROLE, STORES_DURABLE);
	site_end(&site, SGATE_REASON_REVOKED);
	assert_int_equal(authorize(&site, buf_text(&site.cookie), NULL), 401);
	assert_counted(&site, &before, TALLY_LIGHTTPD, SGATE_REASON_REVOKED,
	    STORES_DURABLE);
	site_break_store(&site);
	assert_int_equal(authorize(&site, buf_text(&site.cookie), NULL), 503);
	assert_counted(
	    &site, &before, TALLY_LIGHTTPD, SGATE_REASON_STORE, STORES_NOBODY);
	site_mend_store(&site);
	site_close(&site);
}

/* The verdict that is counted is that of the answer. */
static void
verdicts_are_what_reasons_are_answered_with(void **state)
{
	enum tally_verdict verdict;
	unsigned i;

	(void)state;
	assert_int_equal(tally_outcome_verdict(TALLY_ANONYMOUS), TALLY_ALLOWED);
	for (i = 0; i < SGATE_REASON_COUNT; i++) {
		verdict = tally_outcome_verdict(i);
		if (i == SGATE_REASON_OK)
			assert_int_equal(verdict, TALLY_ALLOWED);
		else if (reply_reason((enum sgate_reason)i)->check_status ==
			 503)
			assert_int_equal(verdict, TALLY_UNAVAILABLE);
		else
			assert_int_equal(verdict, TALLY_DENIED);
	}
}

static const struct CMUnitTest check_tests[] = {
    cmocka_unit_test(a_check_is_counted_by_mount_reason_and_store),
    cmocka_unit_test(verdicts_are_what_reasons_are_answered_with),
    cmocka_unit_test(a_value_that_ends_a_line_ends_the_answer),
    cmocka_unit_test(a_live_session_is_allowed_with_its_variables),
    cmocka_unit_test(every_reason_has_its_status),
    cmocka_unit_test(the_absolute_expiry_stands_whatever_the_activity),
    cmocka_unit_test(a_store_that_is_away_is_503_and_never_401),
    cmocka_unit_test(listener_and_policy_decide_who_may_ask),
    cmocka_unit_test(reasons_are_not_shown_unless_asked_for),
    cmocka_unit_test(malformed_requests_are_denied),
    cmocka_unit_test(realms_never_share_sessions),
    cmocka_unit_test(anonymous_policy_lets_nobody_through_as_nobody),
    cmocka_unit_test(apache_is_told_less),
    cmocka_unit_test(browsers_are_sent_to_the_login),
    cmocka_unit_test(the_csrf_token_is_of_its_session_and_day),
    cmocka_unit_test(csrf_rule_goes_in_its_order),
    cmocka_unit_test(a_rotated_token_is_replaced_on_the_way),
    cmocka_unit_test(a_renewed_cookie_is_a_variable_for_who_asks_for_it),
    cmocka_unit_test(a_page_tells_of_a_refusal_and_allows_nobody),
    cmocka_unit_test(identity_in_the_request_is_ignored),
    cmocka_unit_test(a_bound_session_is_refused_elsewhere),
    cmocka_unit_test(bad_tokens_of_one_address_are_told_so_often_a_minute),
    cmocka_unit_test(only_a_live_session_is_allowed),
};

TAP_MAIN(check_tests)
