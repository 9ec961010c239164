/* The pages for visitors: their frame, the list of sessions, refusals. */
#include "tap.h"

#include "agent.h"
#include "no_memory.h"
#include "site.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define MOUNT "/.sessgate/"
#define HTML "text/html,application/xhtml+xml,*/*;q=0.8"
#define FORM "application/x-www-form-urlencoded"

static int
look(struct site *site, const char *uri)
{
	struct ask ask = {
	    .uri = uri, .accept = HTML, .cookie = buf_text(&site->cookie)};

	return site_ask(site, &ask);
}

static int
press(struct site *site, const char *uri, const char *body)
{
	struct ask ask = {.method = "POST",
	    .uri = uri,
	    .accept = HTML,
	    .cookie = buf_text(&site->cookie),
	    .type = FORM,
	    .body = body};

	return site_ask(site, &ask);
}

/* The hash of what stands between <style> and </style>, as a browser sees it.
 */
static void
style_hash(const char *body, char *out, size_t size)
{
	const char *begin = strstr(body, "<style>");
	const char *end = strstr(body, "</style>");
	unsigned char hash[crypto_hash_sha256_BYTES];

	assert_non_null(begin);
	assert_non_null(end);
	begin += 7;
	crypto_hash_sha256(hash, (const unsigned char *)begin,
	    (unsigned long long)(end - begin));
	memcpy(out, "'sha256-", 8);
	sodium_bin2base64(out + 8, size - 8, hash, sizeof(hash),
	    sodium_base64_VARIANT_ORIGINAL);
}

static unsigned
count_of(const char *text, const char *part)
{
	unsigned count = 0;

	while ((text = strstr(text, part)) != NULL) {
		text += strlen(part);
		count++;
	}
	return count;
}

/* What every page of ours has, and what none has. */
static void
is_page(struct site *site, const char *heading)
{
	const char *body = site_body(site);
	const char *policy;
	char hash[80], title[128];

	assert_string_equal(
	    site_header(site, "Content-Type"), "text/html; charset=utf-8");
	policy = site_header(site, "Content-Security-Policy");
	assert_non_null(policy);
	assert_ptr_equal(strstr(policy, "default-src 'none'; "), policy);
	assert_non_null(strstr(policy, "; frame-ancestors 'none'; base-uri"));
	assert_non_null(strstr(policy, "; form-action 'self'"));
	assert_null(strstr(policy, "unsafe"));
	style_hash(body, hash, sizeof(hash));
	assert_non_null(strstr(policy, hash));
	assert_string_equal(site_header(site, "X-Frame-Options"), "DENY");
	assert_string_equal(
	    site_header(site, "Referrer-Policy"), "same-origin");
	assert_string_equal(
	    site_header(site, "X-Content-Type-Options"), "nosniff");
	assert_string_equal(site_header(site, "Cache-Control"), "no-store");
	snprintf(title, sizeof(title), "<title>%s</title>", heading);
	assert_true(site_body_has(site, title));
	snprintf(title, sizeof(title), "<h1>%s</h1>", heading);
	assert_true(site_body_has(site, title));
	assert_true(site_body_has(site, "<html lang=\"en\">"));
	assert_true(site_body_has(site, "</main>\n</body>\n</html>\n"));
	assert_int_equal(count_of(body, "<html"), 1);
	assert_int_equal(count_of(body, "style="), 0);
	assert_int_equal(count_of(body, "<script"), 0);
	assert_int_equal(count_of(body, " src=\""), 0);
}

/* ---- devices ---- */

static void
is_device(const char *agent, const char *device)
{
	struct buf out = {0};

	agent_describe(bytes_of(agent), &out);
	if (strcmp(buf_text(&out), device) != 0)
		fail_msg("%s: %s, not %s", agent, buf_text(&out), device);
	buf_clear(&out);
}

#define WEBKIT "AppleWebKit/605.1.15 (KHTML, like Gecko) "
#define BLINK "AppleWebKit/537.36 (KHTML, like Gecko) "

static void
devices_have_the_names_that_people_use(void **state)
{
	static const char *const devices[][2] = {
	    {"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) "
	     "Gecko/20100101 Firefox/128.0",
		"Firefox on Windows"},
	    {"Mozilla/5.0 (X11; Linux x86_64) " BLINK
	     "Chrome/126.0.0.0 Safari/537.36",
		"Chrome on Linux"},
	    {"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) " WEBKIT
	     "Version/17.5 Safari/605.1.15",
		"Safari on Mac"},
	    {"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) " WEBKIT
	     "Version/17.5 Mobile/15E148 Safari/604.1",
		"Safari on iPhone"},
	    {"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) " WEBKIT
	     "FxiOS/127.0 Mobile/15E148 Safari/605.1.15",
		"Firefox on iPhone"},
	    {"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) " WEBKIT
	     "CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1",
		"Chrome on iPad"},
	    {"Mozilla/5.0 (Linux; Android 10; K) " BLINK
	     "Chrome/126.0.0.0 Mobile Safari/537.36",
		"Chrome on Android"},
	    {"Mozilla/5.0 (Linux; Android 14; SM-S918B) " BLINK
	     "SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
		"Samsung Internet on Android"},
	    {"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " BLINK
	     "Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
		"Edge on Windows"},
	    {"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " BLINK
	     "Chrome/126.0.0.0 Safari/537.36",
		"Chrome on ChromeOS"},
	    {"Mozilla/5.0 (X11; Linux x86_64) " BLINK
	     "HeadlessChrome/126.0.0.0 Safari/537.36",
		"Chrome without a window on Linux"},
	    {"Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko",
		"Internet Explorer on Windows"},
	    {"curl/7.88.1", "curl"},
	    {"Mozilla/5.0 (X11; Linux x86_64) Something/1",
		"Unknown browser on Linux"},
	    {"", "Unknown device"},
	    {"  ", "Unknown device"},
	    {"My own program", "My own program"},
	    {"NotFirefox/1 xLinux", "NotFirefox/1 xLinux"},
	    {"0123456789012345678901234567890123456789",
		"0123456789012345678901234567890123456789"},
	    {"01234567890123456789012345678901234567890",
		"0123456789012345678901234567890123456789\xe2\x80\xa6"},
	    {"012345678901234567890123456789012345678\xc3\xa4x",
		"012345678901234567890123456789012345678\xe2\x80\xa6"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		is_device(devices[i][0], devices[i][1]);
}

/* ---- the list ---- */

static void
login_with(
    struct site *site, const char *user, const char *agent, const char *address)
{
	struct sgate_create create;

	memset(&create, 0, sizeof(create));
	create.user_id = bytes_of(user);
	create.user_agent = bytes_of(agent);
	create.client_ip = bytes_of(address);
	site_create(site, &create);
}

static void
the_list_tells_devices_apart(void **state)
{
	struct site site;
	char other[SGATE_REF_HEX + 1], text[128];
	const char *own, *second;

	(void)state;
	site_open(&site, NULL);
	login_with(&site, "alice", "Mozilla/5.0 (Windows NT 10.0) Firefox/1",
	    "192.0.2.1");
	snprintf(other, sizeof(other), "%s", site.ref);
	site.now_ms += INT64_C(5) * 60000;
	login_with(&site, "alice", "", "2001:db8::7");
	site.now_ms += INT64_C(61) * 1000;
	assert_int_equal(look(&site, MOUNT "sessions"), 200);
	is_page(&site, "Your sessions");
	assert_int_equal(count_of(site_body(&site), "<li"), 2);
	assert_int_equal(count_of(site_body(&site), "this one"), 1);
	own = strstr(site_body(&site), "<bdi>Unknown device</bdi> <span "
				       "class=\"tag\">this one</span>");
	second = strstr(site_body(&site), "<h2><bdi>Firefox on Windows</bdi>");
	assert_non_null(own);
	assert_true(second > own);
	assert_true(site_body_has(&site, "<dd>192.0.2.1</dd>"));
	assert_true(site_body_has(&site, "<dd>2001:db8::7</dd>"));
	assert_true(site_body_has(&site, ">6 minutes ago ("));
	assert_true(site_body_has(&site, ">1 minute ago ("));
	assert_int_equal(count_of(site_body(&site), "<time datetime=\""), 4);
	assert_int_equal(count_of(site_body(&site), " UTC)</time>"), 4);
	/* Buttons that sound alike say what they are about. */
	assert_true(site_body_has(&site,
	    "End this session <span class=\"unseen\">(Firefox on Windows, "
	    "192.0.2.1)</span></button>"));
	assert_true(site_body_has(&site, "End the other session</button>"));
	snprintf(
	    text, sizeof(text), "action=\"" MOUNT "sessions/%s/end\"", other);
	assert_true(site_body_has(&site, text));
	/* Our own is ended by logging out, which needs no young login. */
	snprintf(text, sizeof(text), "action=\"" MOUNT "sessions/%s/end\"",
	    site.ref);
	assert_false(site_body_has(&site, text));
	site_close(&site);
}

static void
moments_are_told_for_people_and_programs(void **state)
{
	struct site site;

	(void)state;
	site_open(&site, NULL);
	site.now_ms = INT64_C(1795417580123); /* 2026-11-23T07:06:20.123Z */
	site_login(&site, "alice", NULL);
	assert_int_equal(look(&site, MOUNT "sessions"), 200);
	assert_true(site_body_has(&site,
	    "<time datetime=\"2026-11-23T07:06:20.123Z\">just now (23 Nov "
	    "2026, 07:06 UTC)</time>"));
	site_close(&site);
}

static void
what_was_done_is_told_only_if_it_is_true(void **state)
{
	struct site site;
	char other[SGATE_REF_HEX + 1], uri[128], body[192];

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "alice", NULL);
	snprintf(other, sizeof(other), "%s", site.ref);
	site_login(&site, "alice", NULL);
	snprintf(uri, sizeof(uri), MOUNT "sessions?done=%s", other);
	assert_int_equal(look(&site, uri), 200);
	assert_false(site_body_has(&site, "role=\"status\""));
	assert_int_equal(look(&site, MOUNT "sessions?done=others"), 200);
	assert_false(site_body_has(&site, "role=\"status\""));
	assert_int_equal(look(&site, MOUNT "sessions?done=%3Cb%3E"), 200);
	assert_false(site_body_has(&site, "role=\"status\""));
	/* The page's own form. */
	snprintf(body, sizeof(body),
	    "return_to=%%2F.sessgate%%2Fsessions%%3Fdone%%3D%s", other);
	snprintf(uri, sizeof(uri), MOUNT "sessions?done=%s", other);
	assert_true(site_body_has(&site, uri));
	snprintf(uri, sizeof(uri), MOUNT "sessions/%s/end", other);
	assert_int_equal(press(&site, uri, body), 303);
	snprintf(uri, sizeof(uri), "%s", site_header(&site, "Location"));
	assert_int_equal(look(&site, uri), 200);
	assert_true(
	    site_body_has(&site, "role=\"status\">The session has ended.</p>"));
	assert_true(site_body_has(&site, "and nowhere else"));
	assert_false(site_body_has(&site, "end-others"));
	site_login(&site, "alice", NULL);
	assert_int_equal(press(&site, MOUNT "sessions/end-others",
			     "return_to=%2F.sessgate%2Fsessions%3Fdone%3D"
			     "others"),
	    303);
	snprintf(uri, sizeof(uri), "%s", site_header(&site, "Location"));
	assert_int_equal(look(&site, uri), 200);
	assert_true(site_body_has(
	    &site, "role=\"status\">All other sessions have ended.</p>"));
	/* Without return_to there are pages. */
	assert_int_equal(press(&site, MOUNT "sessions/end-others", NULL), 200);
	is_page(&site, "Other sessions ended");
	snprintf(uri, sizeof(uri), MOUNT "sessions/%s/end", other);
	assert_int_equal(press(&site, uri, NULL), 404);
	is_page(&site, "No such session");
	assert_true(site_body_has(&site, "href=\"" MOUNT "sessions\""));
	snprintf(uri, sizeof(uri), MOUNT "sessions/%s/end", site.ref);
	assert_int_equal(press(&site, uri, NULL), 200);
	is_page(&site, "Logged out");
	site_close(&site);
}

static void
an_old_login_is_shown_the_way_to_a_new_one(void **state)
{
	static const char *const overrides[] = {
	    "session.self_service_max_auth_age=5 min",
	    "gateway.login_url=/login?a=b", NULL};
	struct site site;

	(void)state;
	site_open(&site, overrides);
	site_login(&site, "alice", NULL);
	site_login(&site, "alice", NULL);
	assert_int_equal(look(&site, MOUNT "sessions"), 200);
	assert_int_equal(count_of(site_body(&site), "/end\""), 1);
	site.now_ms += INT64_C(5) * 60000 + 1;
	assert_int_equal(look(&site, MOUNT "sessions"), 200);
	is_page(&site, "Your sessions");
	assert_int_equal(count_of(site_body(&site), "/end\""), 0);
	assert_int_equal(count_of(site_body(&site), "end-others"), 0);
	assert_true(site_body_has(&site,
	    "href=\"/login?a=b&amp;return_to=/.sessgate/sessions\">Log in"));
	assert_true(site_body_has(&site, "log in again first"));
	/* To log out is always possible. */
	assert_true(site_body_has(&site, "action=\"/.sessgate/logout\""));
	assert_int_equal(press(&site, MOUNT "sessions/end-others", NULL), 401);
	is_page(&site, "Login too long ago");
	assert_true(site_body_has(&site,
	    "href=\"/login?a=b&amp;return_to=/.sessgate/sessions\">Log in"));
	site_close(&site);
}

static void
a_long_list_says_that_there_is_more(void **state)
{
	struct ask ask = {.uri = MOUNT "sessions"};
	struct site site;
	char oldest[128];
	int i;

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "alice", NULL);
	snprintf(oldest, sizeof(oldest), "%s", buf_text(&site.cookie));
	for (i = 0; i < 199; i++) {
		site.now_ms += 1;
		site_login(&site, "alice", NULL);
	}
	assert_int_equal(look(&site, MOUNT "sessions"), 200);
	assert_int_equal(count_of(site_body(&site), "<li"), 200);
	assert_true(site_body_has(&site, "in 200 places"));
	assert_true(site_body_has(&site, "End the other 199 sessions"));
	site.now_ms += 1;
	site_login(&site, "alice", NULL);
	/* The current one is there, though 200 are newer. */
	ask.accept = HTML;
	ask.cookie = oldest;
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_int_equal(count_of(site_body(&site), "<li"), 201);
	assert_int_equal(count_of(site_body(&site), "this one"), 1);
	assert_true(site_body_has(&site, "in more than 200 places"));
	assert_true(site_body_has(&site, "End all other sessions"));
	ask.accept = NULL;
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_int_equal(count_of(site_body(&site), "\"ref\""), 200);
	assert_true(site_body_has(&site, "\"more\":true"));
	site_close(&site);
}

static void
hostile_values_stay_text(void **state)
{
	static const char *const hostile[] = {
	    "<script>alert(1)</script>",
	    "\"><img src=x onerror=alert(1)>",
	    "' onmouseover='alert(1)",
	    "</style><script>alert(1)</script>",
	    "&lt;script&gt;",
	    "\xe2\x80\xae<b>",
	};
	struct site site;
	size_t i;

	(void)state;
	site_open(&site, NULL);
	for (i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		login_with(&site, hostile[i], hostile[i], "192.0.2.1");
		assert_int_equal(look(&site, MOUNT "sessions"), 200);
		is_page(&site, "Your sessions");
		assert_int_equal(count_of(site_body(&site), "<img"), 0);
		assert_int_equal(count_of(site_body(&site), "<b>"), 0);
		assert_false(site_body_has(&site, hostile[i]) &&
			     strpbrk(hostile[i], "<>\"'&") != NULL);
	}
	site_close(&site);
}

/* Wherever memory ends: the whole page or none. */
static void
a_page_without_memory_is_unavailable(void **state)
{
	char method[] = "REQUEST_METHOD=GET", accept[] = "HTTP_ACCEPT=" HTML;
	char uri[] = "REQUEST_URI=" MOUNT "sessions", cookie[256];
	char *params[] = {method, uri, accept, cookie, NULL};
	struct buf whole = {0};
	struct site site;
	int n, got, refused = 0;

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "alice", NULL);
	login_with(&site, "alice", "Firefox/1 Linux", "192.0.2.1");
	assert_int_equal(look(&site, MOUNT "sessions"), 200);
	buf_add_text(&whole, site_body(&site));
	snprintf(
	    cookie, sizeof(cookie), "HTTP_COOKIE=%s", buf_text(&site.cookie));
	for (n = 0;; n++) {
		no_memory_countdown = n;
		got = site_ask_raw(&site, params, false);
		if (no_memory_countdown >= 0)
			break;
		no_memory_countdown = -1;
		if (got == 200)
			assert_string_equal(site_body(&site), buf_text(&whole));
		else if (site_body_has(&site, "<html"))
			is_page(&site, "Unavailable");
		assert_true(got == 200 || got == 503);
		refused += got == 503;
	}
	no_memory_countdown = -1;
	assert_int_equal(got, 200);
	assert_string_equal(site_body(&site), buf_text(&whole));
	assert_true(refused > 10);
	buf_clear(&whole);
	site_close(&site);
}

/* ---- refusals ---- */

static void
refusals_of_the_api_are_pages_for_people(void **state)
{
	static const char *const overrides[] = {
	    "gateway.login_url=/login", "gateway.expose_reason=yes", NULL};
	struct site site;
	struct ask ask = {.method = "POST",
	    .uri = MOUNT "logout",
	    .accept = HTML,
	    .origin = "https://evil.example"};

	(void)state;
	site_open(&site, overrides);
	assert_int_equal(look(&site, MOUNT "sessions"), 401);
	is_page(&site, "Not logged in");
	assert_true(site_body_has(
	    &site, "href=\"/login?return_to=/.sessgate/sessions\">Log in"));
	assert_string_equal(site_header(&site, "X-Session-Reason"), "none");
	assert_int_equal(look(&site, MOUNT "nothing"), 404);
	is_page(&site, "Not found");
	site_login(&site, "alice", NULL);
	assert_int_equal(site_ask(&site, &ask), 403);
	is_page(&site, "Request from another site");
	assert_false(site_body_has(&site, "/login"));
	site_break_store(&site);
	assert_int_equal(look(&site, MOUNT "sessions?a=%22"), 503);
	is_page(&site, "Unavailable");
	assert_non_null(site_header(&site, "Retry-After"));
	assert_true(site_body_has(&site, "You have not been logged out."));
	assert_true(site_body_has(
	    &site, "href=\"/.sessgate/sessions?a=%22\">Try again"));
	assert_int_equal(press(&site, MOUNT "sessions/end-others", NULL), 503);
	assert_false(site_body_has(&site, "Try again"));
	site_mend_store(&site);
	assert_int_equal(look(&site, MOUNT "sessions"), 200);
	site.now_ms += INT64_C(60) * 60000;
	assert_int_equal(look(&site, MOUNT "sessions"), 401);
	is_page(&site, "Session expired");
	/* Programs are told as ever. */
	ask.method = "GET";
	ask.uri = MOUNT "sessions";
	ask.accept = "application/json";
	assert_int_equal(site_ask(&site, &ask), 401);
	assert_string_equal(
	    site_header(&site, "Content-Type"), "application/problem+json");
	ask.uri = MOUNT "v1/sessions";
	ask.accept = HTML;
	assert_int_equal(site_ask(&site, &ask), 403);
	assert_string_equal(
	    site_header(&site, "Content-Type"), "application/problem+json");
	site_close(&site);
}

static void
refusals_of_a_check_are_pages_for_people(void **state)
{
	static const char *const overrides[] = {"gateway.login_url=/login",
	    "policy.staff.require_role=staff", NULL};
	struct site site;
	struct ask ask = {.method = "POST",
	    .uri = "/app/?x=%22<b>",
	    .accept = HTML,
	    .is_authorizer = true};

	(void)state;
	site_open(&site, overrides);
	assert_int_equal(site_ask(&site, &ask), 401);
	is_page(&site, "Not logged in");
	assert_true(site_body_has(&site, "href=\"/login\">Log in"));
	ask.accept = "*/*";
	assert_int_equal(site_ask(&site, &ask), 401);
	assert_true(strlen(site_body(&site)) < 100);
	ask.accept = HTML;
	site_login(&site, "alice", NULL);
	ask.cookie = buf_text(&site.cookie);
	ask.method = "GET";
	ask.more[0] = "SESSGATE_POLICY=staff";
	assert_int_equal(site_ask(&site, &ask), 403);
	is_page(&site, "Role missing");
	assert_true(site_body_has(&site,
	    "href=\"/login?return_to=/app/%3Fx%3D%2522%3Cb%3E\">Log in as "
	    "somebody else</a>"));
	/* nginx, which asks twice and shows the second answer. */
	ask.is_authorizer = false;
	ask.more[1] = "SESSGATE_CHECK=1";
	assert_int_equal(site_ask(&site, &ask), 403);
	assert_true(strlen(site_body(&site)) < 100);
	ask.more[1] = "SESSGATE_CHECK=page";
	assert_int_equal(site_ask(&site, &ask), 403);
	is_page(&site, "Role missing");
	ask.is_authorizer = true;
	ask.more[1] = "FCGI_APACHE_ROLE=ACCESS_CHECKER";
	assert_int_equal(site_ask(&site, &ask), 403);
	assert_true(strlen(site_body(&site)) < 100);
	ask.is_authorizer = false;
	ask.more[1] = "SESSGATE_CHECK=page";
	site_break_store(&site);
	assert_int_equal(site_ask(&site, &ask), 503);
	is_page(&site, "Unavailable");
	assert_true(
	    site_body_has(&site, "href=\"/app/?x=%22%3cb%3e\">Try again"));
	ask.uri = "//evil.example/";
	assert_int_equal(site_ask(&site, &ask), 503);
	assert_false(site_body_has(&site, "evil"));
	site_close(&site);
}

/* ---- logout ---- */

static void
the_logout_page_says_who_is_logged_in(void **state)
{
	static const char *const overrides[] = {"gateway.login_url=/login",
	    "gateway.return_to_allow=https://ok.example:8443/bye", NULL};
	struct site site;

	(void)state;
	site_open(&site, overrides);
	assert_int_equal(look(&site, MOUNT "logout"), 200);
	is_page(&site, "Not logged in");
	assert_true(site_body_has(&site, "href=\"/login\">Log in"));
	assert_false(site_body_has(&site, "<form"));
	site_login(&site, "alice", NULL);
	assert_int_equal(look(&site, MOUNT "logout?return_to=/x://y"), 200);
	is_page(&site, "Log out");
	assert_non_null(strstr(site_header(&site, "Content-Security-Policy"),
	    "form-action 'self';"));
	assert_int_equal(look(&site, MOUNT "logout?return_to=https://"
					   "ok.example:8443/bye"),
	    200);
	assert_non_null(strstr(site_header(&site, "Content-Security-Policy"),
	    "form-action 'self' https://ok.example:8443;"));
	assert_int_equal(press(&site, MOUNT "logout", NULL), 200);
	is_page(&site, "Logged out");
	site_close(&site);
}

/* ---- sessgate.js ---- */

static void
the_script_may_be_kept(void **state)
{
	struct site site;
	char tag[64], other[96];
	struct ask ask = {.uri = MOUNT "sessgate.js"};

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(site_header(&site, "Content-Type"),
	    "text/javascript; charset=utf-8");
	assert_string_equal(
	    site_header(&site, "X-Content-Type-Options"), "nosniff");
	assert_null(site_header(&site, "Vary"));
	assert_true(site_body_has(&site, "\"use strict\";"));
	/* The whole file: its last line is there. */
	assert_string_equal(
	    site_body(&site) + strlen(site_body(&site)) - 6, "})();\n");
	snprintf(tag, sizeof(tag), "%s", site_header(&site, "ETag"));
	snprintf(other, sizeof(other), "HTTP_IF_NONE_MATCH=\"x\", %s", tag);
	ask.more[0] = other;
	assert_int_equal(site_ask(&site, &ask), 304);
	assert_string_equal(site_body(&site), "");
	assert_string_equal(site_header(&site, "ETag"), tag);
	ask.more[0] = "HTTP_IF_NONE_MATCH=\"0\"";
	assert_int_equal(site_ask(&site, &ask), 200);
	ask.more[0] = NULL;
	ask.method = "HEAD";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(site_body(&site), "");
	ask.method = "POST";
	assert_int_equal(site_ask(&site, &ask), 405);
	site_close(&site);
}

/* A visitor may load what a form has answered once more, or mistype it. */
static void
an_address_of_a_button_is_a_page_for_people(void **state)
{
	static const char *const uris[] = {"/.sessgate/sessions/end-others",
	    "/.sessgate/sessions/00112233445566778899aabb/end"};
	struct site site;
	struct ask ask = {.method = "GET", .accept = HTML};
	size_t i;

	(void)state;
	site_open(&site, NULL);
	for (i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
		ask.uri = uris[i];
		assert_int_equal(site_ask(&site, &ask), 405);
		is_page(&site, "No page is here");
		assert_non_null(site_header(&site, "Allow"));
		assert_true(site_body_has(
		    &site, "href=\"/.sessgate/sessions\">Your sessions</a>"));
	}
	ask.accept = "text/html, application/json";
	assert_int_equal(site_ask(&site, &ask), 405);
	assert_string_equal(
	    site_header(&site, "Content-Type"), "application/problem+json");
	site_close(&site);
}

static void
a_form_that_cannot_be_read_is_a_page_for_people(void **state)
{
	struct site site;
	struct ask ask = {.method = "POST",
	    .uri = "/.sessgate/logout",
	    .accept = HTML,
	    .type = "application/x-www-form-urlencoded",
	    .body = "csrf=%zz"};

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(site_ask(&site, &ask), 400);
	is_page(&site, "Body refused");
	assert_true(site_body_has(&site, "the form cannot be read"));
	ask.type = "text/plain";
	assert_int_equal(site_ask(&site, &ask), 415);
	is_page(&site, "Body refused");
	ask.accept = NULL;
	assert_int_equal(site_ask(&site, &ask), 415);
	assert_string_equal(
	    site_header(&site, "Content-Type"), "application/problem+json");
	site_close(&site);
}

static const struct CMUnitTest page_tests[] = {
    cmocka_unit_test(devices_have_the_names_that_people_use),
    cmocka_unit_test(the_list_tells_devices_apart),
    cmocka_unit_test(moments_are_told_for_people_and_programs),
    cmocka_unit_test(what_was_done_is_told_only_if_it_is_true),
    cmocka_unit_test(an_old_login_is_shown_the_way_to_a_new_one),
    cmocka_unit_test(a_long_list_says_that_there_is_more),
    cmocka_unit_test(hostile_values_stay_text),
    cmocka_unit_test(a_page_without_memory_is_unavailable),
    cmocka_unit_test(refusals_of_the_api_are_pages_for_people),
    cmocka_unit_test(refusals_of_a_check_are_pages_for_people),
    cmocka_unit_test(the_logout_page_says_who_is_logged_in),
    cmocka_unit_test(the_script_may_be_kept),
    cmocka_unit_test(an_address_of_a_button_is_a_page_for_people),
    cmocka_unit_test(a_form_that_cannot_be_read_is_a_page_for_people),
};

TAP_MAIN(page_tests)
