/* The routes for browsers, by the table of routes and the table of reasons. */
#include "tap.h"

#include "site.h"

#include <stdlib.h>
#include <string.h>

#define MOUNT "/.sessgate/"

static int
call(struct site *site, const char *method, const char *uri)
{
	struct ask ask = {
	    .method = method, .uri = uri, .cookie = buf_text(&site->cookie)};

	return site_ask(site, &ask);
}

static int
call_body(struct site *site, const char *method, const char *uri,
    const char *type, const char *body)
{
	struct ask ask = {.method = method,
	    .uri = uri,
	    .cookie = buf_text(&site->cookie),
	    .type = type,
	    .body = body};

	return site_ask(site, &ask);
}

#define FORM "application/x-www-form-urlencoded"
#define MERGE "application/merge-patch+json"

static void
is_problem(struct site *site, const char *code)
{
	assert_string_equal(
	    site_header(site, "Content-Type"), "application/problem+json");
	assert_string_equal(site_member(site, "code"), code);
}

/* A session with data, contexts and roles. */
static void
login_full(struct site *site)
{
	struct sgate_bytes contexts[2], roles[1];
	struct sgate_create create;

	memset(&create, 0, sizeof(create));
	contexts[0] = bytes_of("c1");
	contexts[1] = bytes_of("c2");
	roles[0] = bytes_of("staff");
	create.user_id = bytes_of("al\"ice<b>");
	create.context = bytes_of("c1");
	create.contexts = contexts;
	create.contexts_count = 2;
	create.roles = roles;
	create.roles_count = 1;
	create.data = bytes_of("{\"theme\":\"dark\",\"secret\":\"s3\","
			       "\"cart\":[1,2],\"lang\":\"en\"}");
	site_create(site, &create);
}

static const char *const with_data[] = {
    "session.browser_readable=theme,cart,lang",
    "session.browser_writable=theme,cart", "gateway.expose_reason=yes", NULL};

static const char *
etag_of(const struct site *site, int version)
{
	static char etag[64];

	snprintf(etag, sizeof(etag), "\"%s.%d\"", site->ref, version);
	return etag;
}

/* ---- routing ---- */

static void
doubtful_paths_are_400(void **state)
{
	static const char *const bad[] = {"/.sessgate//session",
	    "/.sessgate/./session", "/.sessgate/../session",
	    "/.sessgate/session/..", "/.sessgate/session/.",
	    "/.sessgate/%2e%2e/session", "/.sessgate/%2E/session",
	    "/.sessgate/a%2fb", "/.sessgate/a%2Fb", "/.sessgate/a%5cb",
	    "/.sessgate/a%5Cb", "/.sessgate/session%00", "/.sessgate/session;x",
	    "/.sessgate/;/session", "/.sessgate/a\\b", "//.sessgate/session",
	    "/x/../.sessgate/session", "http://example.org/.sessgate/session",
	    ".sessgate/session", "*", "/.sessgate/session%2",
	    "/.sessgate/session\r\nX: y", "/.sessgate/session#a"};
	struct site site;
	size_t i;

	(void)state;
	site_open(&site, NULL);
	login_full(&site);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int got = call(&site, "GET", bad[i]);

		if (got != 400)
			fail_msg("%s: %d", bad[i], got);
		is_problem(&site, "malformed");
	}
	assert_int_equal(call(&site, "GET", MOUNT "session?a=//&b=%2f;"), 200);
	site_close(&site);
}

static void
unknown_routes_are_404_and_methods_405(void **state)
{
	static const char *const unknown[] = {"/", "/other", "/.sessgate",
	    "/.sessgate/", "/.sessgate/sessionfoo", "/.sessgate/session/",
	    "/.sessgate/Session", "/.sessgate/session/x", "/.sessgatex/session",
	    "/.sessgate/login/", "/.sessgate/admin/", "/.sessgate/v1",
	    "/.sessgate/sessions/a/b/c/d/e"};
	struct site site;
	size_t i;

	(void)state;
	site_open(&site, NULL);
	for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		int got = call(&site, "GET", unknown[i]);

		if (got != 404)
			fail_msg("%s: %d", unknown[i], got);
	}
	assert_int_equal(call(&site, "PUT", MOUNT "session"), 405);
	assert_string_equal(
	    site_header(&site, "Allow"), "GET, HEAD, PATCH, DELETE");
	assert_int_equal(call(&site, "GET", MOUNT "session/rotate"), 405);
	assert_string_equal(site_header(&site, "Allow"), "POST");
	assert_int_equal(call(&site, "BREW", MOUNT "state"), 405);
	assert_int_equal(call(&site, "get", MOUNT "state"), 405);
	assert_int_equal(call(&site, "OPTIONS", MOUNT "state"), 405);
	site_close(&site);
}

static void
the_listener_and_the_request_are_checked_first(void **state)
{
	struct site site;
	struct ask ask = {.uri = MOUNT "session", .allow = CONF_ALLOW_CHECK};

	(void)state;
	site_open(&site, NULL);
	login_full(&site);
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 403);
	is_problem(&site, "denied");
	ask.allow = 0;
	ask.is_malformed = true;
	assert_int_equal(site_ask(&site, &ask), 400);
	ask.is_malformed = false;
	assert_int_equal(site_ask(&site, &ask), 200);
	ask.more[0] = "HTTP_COOKIE=x";
	assert_int_equal(site_ask(&site, &ask), 400);
	ask.more[0] = "SESSGATE_CHECK=";
	assert_int_equal(site_ask(&site, &ask), 200);
	site_close(&site);
}

/* ---- reasons ---- */

static void
every_reason_has_its_status_and_its_word(void **state)
{
	static const enum sgate_reason ends[] = {SGATE_REASON_LOGGED_OUT,
	    SGATE_REASON_REVOKED, SGATE_REASON_REPLACED, SGATE_REASON_THEFT,
	    SGATE_REASON_LIMIT, SGATE_REASON_BLOCKED, SGATE_REASON_FLUSHED,
	    SGATE_REASON_BINDING};
	struct buf two = {0};
	struct site site;
	struct ask ask = {.uri = MOUNT "session"};
	size_t i;

	(void)state;
	site_open(&site, with_data);
	assert_int_equal(site_ask(&site, &ask), 401);
	is_problem(&site, "none");
	ask.cookie = "__Host-sid=short";
	assert_int_equal(site_ask(&site, &ask), 401);
	is_problem(&site, "none");
	assert_string_equal(
	    site_header(&site, "X-Session-Reason"), "malformed");
	login_full(&site);
	buf_printf(
	    &two, "%s; %s", buf_text(&site.cookie), buf_text(&site.cookie));
	ask.cookie = buf_text(&two);
	assert_int_equal(site_ask(&site, &ask), 400);
	is_problem(&site, "none");
	buf_clear(&two);
	site.now_ms += INT64_C(60) * 60000;
	assert_int_equal(call(&site, "GET", MOUNT "session"), 401);
	is_problem(&site, "expired");
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		login_full(&site);
		site_end(&site, ends[i]);
		assert_int_equal(call(&site, "GET", MOUNT "session"), 401);
		is_problem(&site, "ended");
		assert_null(site_header(&site, "Set-Cookie"));
	}
	login_full(&site);
	site_break_store(&site);
	assert_int_equal(call(&site, "GET", MOUNT "session"), 503);
	is_problem(&site, "unavailable");
	assert_non_null(site_header(&site, "Retry-After"));
	assert_int_equal(call(&site, "GET", MOUNT "state"), 503);
	assert_null(strstr(buf_text(&site.answer), site.directory));
	site_mend_store(&site);
	site_close(&site);
}

/* ---- session ---- */

static void
session_shows_what_is_readable(void **state)
{
	struct site site;
	char length[32];

	(void)state;
	site_open(&site, with_data);
	login_full(&site);
	assert_int_equal(call(&site, "GET", MOUNT "session"), 200);
	assert_string_equal(site_header(&site, "ETag"), etag_of(&site, 1));
	assert_string_equal(
	    site_header(&site, "Content-Type"), "application/json");
	assert_string_equal(site_member(&site, "ref"), site.ref);
	assert_string_equal(site_member(&site, "user_id"), "al\"ice<b>");
	assert_string_equal(site_member(&site, "realm"), "");
	assert_string_equal(site_member(&site, "context"), "c1");
	assert_string_equal(site_member(&site, "version"), "1");
	snprintf(length, sizeof(length), "%lld",
	    (long long)site.now_ms / 1000 + 1800);
	assert_string_equal(site_member(&site, "idle_expires_at"), length);
	assert_true(site_body_has(&site, "\"roles\":[\"staff\"]"));
	assert_true(site_body_has(&site, "\"contexts\":[\"c1\",\"c2\"]"));
	assert_true(site_body_has(&site, "\"theme\":\"dark\""));
	assert_true(site_body_has(&site, "\"cart\":[1,2]"));
	assert_false(site_body_has(&site, "s3"));
	assert_false(site_body_has(&site, site.token));
	assert_int_equal(call(&site, "HEAD", MOUNT "session"), 200);
	assert_string_equal(site_body(&site), "");
	assert_string_equal(site_header(&site, "ETag"), etag_of(&site, 1));
	site_close(&site);
}

static void
session_is_never_304_and_is_activity(void **state)
{
	struct site site;
	char tag[96];
	struct ask ask = {.uri = MOUNT "session", .more = {tag}};
	int i;

	(void)state;
	site_open(&site, with_data);
	login_full(&site);
	ask.cookie = buf_text(&site.cookie);
	snprintf(tag, sizeof(tag), "HTTP_IF_NONE_MATCH=%s", etag_of(&site, 1));
	assert_int_equal(site_ask(&site, &ask), 200);
	for (i = 0; i < 4; i++) {
		site.now_ms += INT64_C(20) * 60000;
		assert_int_equal(call(&site, "GET", MOUNT "session"), 200);
	}
	site_close(&site);
}

static void
patch_changes_what_is_writable(void **state)
{
	struct site site;

	(void)state;
	site_open(&site, with_data);
	login_full(&site);
	assert_int_equal(call_body(&site, "PATCH", MOUNT "session", MERGE,
			     "{\"data\":{\"theme\":\"light\",\"cart\":[9]}}"),
	    200);
	assert_string_equal(site_header(&site, "ETag"), etag_of(&site, 2));
	assert_true(site_body_has(&site, "\"theme\":\"light\""));
	assert_true(site_body_has(&site, "\"cart\":[9]"));
	assert_int_equal(call_body(&site, "PATCH", MOUNT "session",
			     "application/json; charset=utf-8",
			     "{\"context\":\"c2\",\"data\":{\"theme\":null}}"),
	    200);
	assert_string_equal(site_member(&site, "context"), "c2");
	assert_false(site_body_has(&site, "theme"));
	assert_int_equal(
	    call_body(&site, "PATCH", MOUNT "session", NULL, "{}"), 200);
	assert_string_equal(site_member(&site, "version"), "3");
	assert_int_equal(counted(site.shared, TALLY_CHANGED), 2);
	site_close(&site);
}

static void
patch_refuses_and_writes_nothing(void **state)
{
	static const struct {
		const char *type;
		const char *body;
		int status;
		const char *code;
	} cases[] = {
	    {NULL, "{\"data\":{\"lang\":\"de\"}}", 403, "not_writable"},
	    {NULL, "{\"data\":{\"theme\":\"x\",\"lang\":1}}", 403,
		"not_writable"},
	    {NULL, "{\"data\":{\"theme\":\"x\"},\"roles\":[\"admin\"]}", 403,
		"not_writable"},
	    {NULL, "{\"user_id\":\"root\"}", 403, "not_writable"},
	    {NULL, "{\"expires_at\":9999999999}", 403, "not_writable"},
	    {NULL, "{\"data\":{\"theme\":\"x\"},\"context\":\"c3\"}", 403,
		"not_writable"},
	    {NULL, "{\"context\":\"\"}", 403, "not_writable"},
	    {NULL, "{\"context\":null}", 400, "invalid"},
	    {NULL, "{\"context\":7}", 400, "invalid"},
	    {NULL, "{\"data\":null}", 400, "invalid"},
	    {NULL, "{\"data\":[]}", 400, "invalid"},
	    {NULL, "{\"data\":\"x\"}", 400, "invalid"},
	    {NULL, "[]", 400, "malformed"},
	    {NULL, "null", 400, "malformed"},
	    {NULL, "{\"data\":{\"theme\":\"x\"}", 400, "malformed"},
	    {NULL, "{\"data\":{\"theme\":\"x\",\"theme\":\"y\"}}", 400,
		"malformed"},
	    {NULL, "{\"data\":{\"theme\":\"x\"},\"data\":{}}", 400,
		"malformed"},
	    {NULL, "{\"data\":{\"theme\":\"\\u0000\"}}", 400, "malformed"},
	    {NULL, "{\"data\":{\"theme\":\"\xff\"}}", 400, "malformed"},
	    {NULL, "{\"data\":{\"theme\":1e999}}", 400, "malformed"},
	    {"text/plain", "{\"data\":{\"theme\":\"x\"}}", 415, "content_type"},
	    {FORM, "data=x", 415, "content_type"},
	    {"", "{\"data\":{\"theme\":\"x\"}}", 415, "content_type"},
	    {"application/jsonx", "{}", 415, "content_type"},
	};
	struct site site;
	size_t i;

	(void)state;
	site_open(&site, with_data);
	login_full(&site);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int got = call_body(&site, "PATCH", MOUNT "session",
		    cases[i].type, cases[i].body);

		if (got != cases[i].status)
			fail_msg("%s: %d", cases[i].body, got);
		is_problem(&site, cases[i].code);
	}
	assert_int_equal(call(&site, "PATCH", MOUNT "session"), 400);
	assert_int_equal(call(&site, "GET", MOUNT "session"), 200);
	assert_string_equal(site_member(&site, "version"), "1");
	site_close(&site);
}

static void
if_match_guards_against_lost_updates(void **state)
{
	static const char body[] = "{\"data\":{\"theme\":\"x\"}}";
	struct site site;
	char tag[128];
	struct ask ask = {.method = "PATCH",
	    .uri = MOUNT "session",
	    .body = body,
	    .more = {tag}};

	(void)state;
	site_open(&site, with_data);
	login_full(&site);
	ask.cookie = buf_text(&site.cookie);
	snprintf(tag, sizeof(tag), "HTTP_IF_MATCH=%s", etag_of(&site, 1));
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_int_equal(site_ask(&site, &ask), 412);
	is_problem(&site, "version");
	snprintf(
	    tag, sizeof(tag), "HTTP_IF_MATCH=\"x\" , %s", etag_of(&site, 2));
	assert_int_equal(site_ask(&site, &ask), 200);
	snprintf(tag, sizeof(tag), "HTTP_IF_MATCH=W/%s", etag_of(&site, 3));
	assert_int_equal(site_ask(&site, &ask), 412);
	snprintf(tag, sizeof(tag), "HTTP_IF_MATCH=3");
	assert_int_equal(site_ask(&site, &ask), 412);
	snprintf(tag, sizeof(tag), "HTTP_IF_MATCH=*");
	assert_int_equal(site_ask(&site, &ask), 200);
	site_close(&site);
}

/* ---- bodies ---- */

static void
bodies_are_what_they_announce(void **state)
{
	static const char body[] = "{\"data\":{\"theme\":\"x\"}}";
	struct buf large = {0};
	struct site site;
	struct ask ask = {.method = "PATCH", .uri = MOUNT "session"};
	static const char *const lengths[][2] = {{"23", "400"}, {"21", "400"},
	    {"1", "400"}, {"-", "411"}, {"", "411"}, {"-1", "411"},
	    {"+22", "400"}, {"22 ", "400"}, {"0x16", "400"},
	    {"99999999999999999999", "400"}, {"9999999999", "413"},
	    {"131073", "413"}};
	size_t i;

	(void)state;
	site_open(&site, with_data);
	login_full(&site);
	ask.cookie = buf_text(&site.cookie);
	ask.body = body;
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		int got;

		ask.length = lengths[i][0];
		got = site_ask(&site, &ask);
		if (got != atoi(lengths[i][1]))
			fail_msg("%s: %d", lengths[i][0], got);
	}
	ask.length = NULL;
	ask.body_breaks = true;
	assert_int_equal(site_ask(&site, &ask), 400);
	ask.body_breaks = false;
	assert_int_equal(site_ask(&site, &ask), 200);
	while (large.len <= 128 * 1024)
		buf_add_char(&large, ' ');
	ask.body = buf_text(&large);
	assert_int_equal(site_ask(&site, &ask), 413);
	is_problem(&site, "too_large");
	buf_clear(&large);
	site_close(&site);
}

/* ---- extend and rotate ---- */

static void
extend_slides_the_idle_expiry(void **state)
{
	struct site site;
	char expected[32];
	int i;

	(void)state;
	site_open(&site, with_data);
	login_full(&site);
	site.now_ms += 60000;
	assert_int_equal(call(&site, "POST", MOUNT "session/extend"), 200);
	snprintf(expected, sizeof(expected), "%lld",
	    (long long)site.now_ms / 1000 + 1800);
	assert_string_equal(site_member(&site, "idle_expires_at"), expected);
	for (i = 0; i < 23; i++) {
		site.now_ms += INT64_C(20) * 60000;
		assert_int_equal(
		    call(&site, "POST", MOUNT "session/extend"), 200);
	}
	snprintf(
	    expected, sizeof(expected), "%s", site_member(&site, "expires_at"));
	assert_true(
	    atoll(site_member(&site, "idle_expires_at")) <= atoll(expected));
	site.now_ms += INT64_C(20) * 60000;
	assert_int_equal(call(&site, "POST", MOUNT "session/extend"), 401);
	site_close(&site);
}

static void
rotate_gives_a_new_cookie_for_the_same_ref(void **state)
{
	struct site site;
	char first[256];

	(void)state;
	site_open(&site, with_data);
	login_full(&site);
	assert_int_equal(call(&site, "POST", MOUNT "session/rotate"), 200);
	assert_string_equal(site_member(&site, "ref"), site.ref);
	snprintf(first, sizeof(first), "%s", site_header(&site, "Set-Cookie"));
	assert_int_equal(strncmp(first, "__Host-sid=", 11), 0);
	assert_null(strstr(first, site.token));
	assert_non_null(strstr(first, "; Secure; HttpOnly; SameSite=Lax"));
	assert_false(site_body_has(&site, "token"));
	/* The lost answer, asked again: the same cookie. */
	assert_int_equal(call(&site, "POST", MOUNT "session/rotate"), 200);
	assert_string_equal(site_header(&site, "Set-Cookie"), first);
	/* Any answer to the old one carries it, too. */
	assert_int_equal(call(&site, "GET", MOUNT "session"), 200);
	assert_string_equal(site_header(&site, "Set-Cookie"), first);
	first[11 + SGATE_TOKEN_LEN] = '\0';
	buf_reset(&site.cookie);
	buf_add_text(&site.cookie, first);
	assert_int_equal(call(&site, "GET", MOUNT "session"), 200);
	assert_null(site_header(&site, "Set-Cookie"));
	site_close(&site);
}

static void
a_remembered_cookie_outlives_the_browser(void **state)
{
	struct sgate_create create;
	struct site site;

	(void)state;
	site_open(&site, NULL);
	memset(&create, 0, sizeof(create));
	create.user_id = bytes_of("alice");
	create.remember = 1;
	site_create(&site, &create);
	assert_int_equal(call(&site, "POST", MOUNT "session/rotate"), 200);
	assert_non_null(
	    strstr(site_header(&site, "Set-Cookie"), "; Max-Age=2592000;"));
	site_close(&site);
}

/* ---- logout ---- */

static const char cleared[] =
    "__Host-sid=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax";

static void
logout_ends_the_session_here_and_clears_the_cookie(void **state)
{
	static const char *const calls[][2] = {
	    {"POST", MOUNT "logout"}, {"DELETE", MOUNT "session"}};
	struct site site;
	size_t i;

	(void)state;
	site_open(&site, NULL);
	for (i = 0; i < 2; i++) {
		login_full(&site);
		assert_int_equal(call(&site, calls[i][0], calls[i][1]), 200);
		assert_string_equal(site_header(&site, "Set-Cookie"), cleared);
		assert_string_equal(site_member(&site, "ended"), "1");
		assert_int_equal(call(&site, "GET", MOUNT "session"), 401);
		is_problem(&site, "ended");
		/* Again, and without any cookie: still 200. */
		assert_int_equal(call(&site, calls[i][0], calls[i][1]), 200);
		buf_reset(&site.cookie);
		assert_int_equal(call(&site, calls[i][0], calls[i][1]), 200);
		assert_string_equal(site_header(&site, "Set-Cookie"), cleared);
		assert_string_equal(site_member(&site, "ended"), "0");
		buf_add_text(&site.cookie, "__Host-sid=junk");
		assert_int_equal(call(&site, calls[i][0], calls[i][1]), 200);
	}
	site_close(&site);
}

static void
logout_without_a_store_keeps_the_cookie(void **state)
{
	struct site site;

	(void)state;
	site_open(&site, NULL);
	login_full(&site);
	site_break_store(&site);
	assert_int_equal(call(&site, "POST", MOUNT "logout"), 503);
	assert_null(site_header(&site, "Set-Cookie"));
	site_mend_store(&site);
	assert_int_equal(call(&site, "GET", MOUNT "session"), 200);
	site_close(&site);
}

static void
logout_needs_to_come_from_our_pages(void **state)
{
	struct site site;
	struct ask ask = {.method = "POST", .uri = MOUNT "logout"};

	(void)state;
	site_open(&site, NULL);
	login_full(&site);
	ask.origin = "https://evil.example";
	assert_int_equal(site_ask(&site, &ask), 403);
	assert_null(site_header(&site, "Set-Cookie"));
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 403);
	is_problem(&site, "csrf");
	assert_null(site_header(&site, "Set-Cookie"));
	ask.origin = "";
	assert_int_equal(site_ask(&site, &ask), 403);
	ask.method = "GET";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_int_equal(call(&site, "GET", MOUNT "session"), 200);
	site_close(&site);
}

static void
a_logout_form_goes_back_or_shows_a_page(void **state)
{
	static const char *const targets[][2] = {
	    {"return_to=/app/%3Fa%3Db%26c", "/app/?a=b&c"},
	    {"x=y&return_to=/%C3%A4", "/%c3%a4"},
	    {"return_to=https://ok.example/bye", "https://ok.example/bye"},
	    {"return_to=//evil.com", NULL},
	    {"return_to=https://evil.com", NULL},
	    {"return_to=/%0d%0aSet-Cookie:%20x=y", NULL},
	    {"return_to=/%5Cevil.com", NULL},
	    {"return_to=/+a", NULL},
	    {"return_to=/a&return_to=/b", NULL},
	    {"", NULL},
	    {"a=b", NULL},
	};
	static const char *const overrides[] = {
	    "gateway.return_to_allow=https://ok.example/bye", NULL};
	struct site site;
	size_t i;

	(void)state;
	site_open(&site, overrides);
	for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		bool has_body = targets[i][0][0] != '\0';
		int got;

		login_full(&site);
		got = call_body(&site, "POST", MOUNT "logout", FORM,
		    has_body ? targets[i][0] : NULL);
		if (targets[i][1] != NULL) {
			assert_int_equal(got, 303);
			assert_string_equal(
			    site_header(&site, "Location"), targets[i][1]);
		} else {
			assert_int_equal(got, 200);
			assert_null(site_header(&site, "Location"));
			assert_true(site_body_has(&site, "<h1>Logged out"));
		}
		assert_string_equal(site_header(&site, "Set-Cookie"), cleared);
	}
	site_close(&site);
}

/* The value of the hidden field in a page. */
static const char *
field_of(const struct site *site, const char *name)
{
	static char value[256];
	char start[64];
	const char *at, *end;

	snprintf(start, sizeof(start), "name=\"%s\" value=\"", name);
	at = strstr(site_body(site), start);
	if (at == NULL)
		return "";
	at += strlen(start);
	end = strchr(at, '"');
	assert_non_null(end);
	snprintf(value, sizeof(value), "%.*s", (int)(end - at), at);
	return value;
}

static void
the_logout_page_has_a_working_button(void **state)
{
	struct site site;
	char body[128];
	struct ask ask = {.method = "POST",
	    .uri = MOUNT "logout",
	    .type = FORM,
	    .body = body,
	    .origin = ""};

	(void)state;
	site_open(&site, NULL);
	login_full(&site);
	assert_int_equal(
	    call(&site, "GET", MOUNT "logout?return_to=/a%22%3E%3Cscript%3E"),
	    200);
	assert_string_equal(
	    site_header(&site, "Content-Type"), "text/html; charset=utf-8");
	assert_non_null(site_header(&site, "Content-Security-Policy"));
	assert_true(site_body_has(&site, "action=\"/.sessgate/logout\""));
	assert_false(site_body_has(&site, "<script"));
	assert_string_equal(
	    field_of(&site, "return_to"), "/a&quot;&gt;&lt;script&gt;");
	snprintf(body, sizeof(body), "csrf=%s&return_to=/x",
	    field_of(&site, "csrf"));
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 303);
	assert_int_equal(call(&site, "GET", MOUNT "session"), 401);
	assert_int_equal(
	    call(&site, "GET", MOUNT "logout?return_to=//evil.com"), 200);
	assert_false(site_body_has(&site, "evil"));
	buf_reset(&site.cookie);
	assert_int_equal(call(&site, "GET", MOUNT "logout"), 200);
	assert_string_equal(field_of(&site, "csrf"), "");
	site_close(&site);
}

/* ---- state, csrf, health ---- */

static void
state_tells_without_being_activity(void **state)
{
	struct site site;
	char tag[96];
	struct ask ask = {.uri = MOUNT "state", .more = {tag}};
	int i;

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(call(&site, "GET", MOUNT "state"), 200);
	assert_true(site_body_has(&site, "\"authenticated\":false"));
	login_full(&site);
	assert_int_equal(call(&site, "GET", MOUNT "state"), 200);
	assert_true(site_body_has(&site, "\"authenticated\":true"));
	assert_true(site_body_has(&site, "\"warn\":false"));
	assert_string_equal(site_member(&site, "user_id"), "al\"ice<b>");
	snprintf(tag, sizeof(tag), "HTTP_IF_NONE_MATCH=%s",
	    site_header(&site, "ETag"));
	ask.cookie = buf_text(&site.cookie);
	for (i = 0; i < 14; i++) {
		assert_int_equal(site_ask(&site, &ask), 304);
		assert_string_equal(site_body(&site), "");
		site.now_ms += INT64_C(2) * 60000;
	}
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_true(site_body_has(&site, "\"warn\":true"));
	site.now_ms += INT64_C(10) * 60000;
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_true(site_body_has(&site, "\"authenticated\":false"));
	ask.cookie = "__Host-sid=junk";
	assert_int_equal(site_ask(&site, &ask), 200);
	snprintf(tag, sizeof(tag), "HTTP_IF_NONE_MATCH=\"a\", W/\"none\"");
	assert_int_equal(site_ask(&site, &ask), 304);
	site_close(&site);
}

static void
the_csrf_token_works_and_is_the_sessions_own(void **state)
{
	struct site site;
	char param[96];
	struct ask ask = {
	    .method = "POST", .uri = MOUNT "session/extend", .origin = ""};

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(call(&site, "GET", MOUNT "csrf"), 401);
	login_full(&site);
	assert_int_equal(call(&site, "GET", MOUNT "csrf"), 200);
	snprintf(param, sizeof(param), "HTTP_X_CSRF_TOKEN=%s",
	    site_member(&site, "csrf"));
	ask.more[0] = param;
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 200);
	ask.more[0] = NULL;
	assert_int_equal(site_ask(&site, &ask), 403);
	ask.more[0] = param;
	login_full(&site);
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 403);
	site_close(&site);
}

static void
every_unsafe_route_passes_the_csrf_rule(void **state)
{
	static const char *const calls[][2] = {{"PATCH", MOUNT "session"},
	    {"DELETE", MOUNT "session"}, {"POST", MOUNT "session/extend"},
	    {"POST", MOUNT "session/rotate"}, {"POST", MOUNT "logout"},
	    {"DELETE", MOUNT "sessions/0123456789abcdef01234567"},
	    {"POST", MOUNT "sessions/0123456789abcdef01234567/end"},
	    {"POST", MOUNT "sessions/end-others"}};
	struct site site;
	struct ask ask = {.origin = "https://evil.example", .body = "{}"};
	size_t i;

	(void)state;
	site_open(&site, with_data);
	login_full(&site);
	ask.cookie = buf_text(&site.cookie);
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		ask.method = calls[i][0];
		ask.uri = calls[i][1];
		assert_int_equal(site_ask(&site, &ask), 403);
		is_problem(&site, "csrf");
	}
	assert_int_equal(call(&site, "GET", MOUNT "session"), 200);
	assert_string_equal(site_member(&site, "version"), "1");
	site_close(&site);
}

static void
health_says_up_or_down_and_nothing_else(void **state)
{
	struct timespec now;
	struct site site;

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(call(&site, "GET", MOUNT "health"), 503);
	assert_string_equal(site_body(&site), "{\"status\":\"down\"}\n");
	clock_gettime(CLOCK_REALTIME, &now);
	atomic_store(&site.shared->state.durable.is_up, 1);
	atomic_store(
	    &site.shared->state.durable.checked_ms, (int64_t)now.tv_sec * 1000);
	assert_int_equal(call(&site, "GET", MOUNT "health"), 200);
	assert_string_equal(site_body(&site), "{\"status\":\"up\"}\n");
	assert_int_equal(call(&site, "HEAD", MOUNT "health"), 200);
	atomic_store(&site.shared->state.durable.checked_ms,
	    (int64_t)(now.tv_sec - 3600) * 1000);
	assert_int_equal(call(&site, "GET", MOUNT "health"), 503);
	site_close(&site);
}

/* ---- the user's sessions ---- */

static void
sessions_lists_the_users_own(void **state)
{
	struct site site;
	char other[SGATE_REF_HEX + 1], own[SGATE_REF_HEX + 1];
	struct ask ask = {.uri = MOUNT "sessions"};

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "bob", NULL);
	snprintf(other, sizeof(other), "%s", site.ref);
	site_login(&site, "alice", NULL);
	snprintf(own, sizeof(own), "%s", site.ref);
	site_login(&site, "alice", NULL);
	assert_int_equal(call(&site, "GET", MOUNT "sessions"), 200);
	assert_true(site_body_has(&site, own));
	assert_true(site_body_has(&site, site.ref));
	assert_false(site_body_has(&site, other));
	assert_true(site_body_has(&site, "\"current\":true"));
	assert_true(site_body_has(&site, "\"current\":false"));
	ask.cookie = buf_text(&site.cookie);
	ask.accept = "text/html,*/*;q=0.1";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(
	    site_header(&site, "Content-Type"), "text/html; charset=utf-8");
	assert_true(site_body_has(&site, own));
	ask.accept = "text/html, application/json";
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(
	    site_header(&site, "Content-Type"), "application/json");
	site_close(&site);
}

static void
hostile_names_stay_text(void **state)
{
	struct sgate_create create;
	struct site site;
	struct ask ask = {.uri = MOUNT "sessions", .accept = "text/html"};

	(void)state;
	site_open(&site, NULL);
	memset(&create, 0, sizeof(create));
	create.user_id = bytes_of("</td><script>alert(1)</script>");
	create.user_agent =
	    bytes_of("x\r\nSet-Cookie: a=b\r\n\r\n<script>\x1b[2J");
	site_create(&site, &create);
	ask.cookie = buf_text(&site.cookie);
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_false(site_body_has(&site, "<script"));
	assert_null(site_header(&site, "Set-Cookie"));
	assert_int_equal(call(&site, "GET", MOUNT "session"), 200);
	assert_false(site_body_has(&site, "\r\n"));
	site_close(&site);
}

static void
a_foreign_ref_answers_as_an_unknown_one(void **state)
{
	struct site site;
	char foreign[SGATE_REF_HEX + 1], uri[128], bob[256];
	struct buf unknown = {0};
	struct ask ask = {.uri = MOUNT "session"};

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "bob", NULL);
	snprintf(foreign, sizeof(foreign), "%s", site.ref);
	snprintf(bob, sizeof(bob), "%s", buf_text(&site.cookie));
	site_login(&site, "alice", NULL);
	snprintf(
	    uri, sizeof(uri), MOUNT "sessions/%s", "0123456789abcdef01234567");
	assert_int_equal(call(&site, "DELETE", uri), 404);
	buf_add_bytes(&unknown, buf_bytes(&site.answer));
	snprintf(uri, sizeof(uri), MOUNT "sessions/%s", foreign);
	assert_int_equal(call(&site, "DELETE", uri), 404);
	assert_string_equal(buf_text(&site.answer), buf_text(&unknown));
	snprintf(uri, sizeof(uri), MOUNT "sessions/%s/end", foreign);
	assert_int_equal(call(&site, "POST", uri), 404);
	assert_string_equal(buf_text(&site.answer), buf_text(&unknown));
	assert_int_equal(call(&site, "DELETE", MOUNT "sessions/xyz"), 404);
	assert_string_equal(buf_text(&site.answer), buf_text(&unknown));
	ask.cookie = bob;
	assert_int_equal(site_ask(&site, &ask), 200);
	buf_clear(&unknown);
	site_close(&site);
}

static void
own_sessions_can_be_ended(void **state)
{
	struct site site;
	char first[SGATE_REF_HEX + 1], uri[128];

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "alice", NULL);
	snprintf(first, sizeof(first), "%s", site.ref);
	site_login(&site, "alice", NULL);
	site_login(&site, "alice", NULL);
	site_login(&site, "alice", NULL);
	snprintf(uri, sizeof(uri), MOUNT "sessions/%s/end", first);
	assert_int_equal(
	    call_body(&site, "POST", uri, FORM, "return_to=/mine"), 303);
	assert_string_equal(site_header(&site, "Location"), "/mine");
	assert_int_equal(call(&site, "POST", uri), 404);
	assert_int_equal(call(&site, "POST", MOUNT "sessions/end-others"), 200);
	assert_string_equal(site_member(&site, "ended"), "2");
	assert_int_equal(counted(site.shared, TALLY_ENDED), 3);
	assert_null(site_header(&site, "Set-Cookie"));
	assert_int_equal(call(&site, "GET", MOUNT "session"), 200);
	snprintf(uri, sizeof(uri), MOUNT "sessions/%s", site.ref);
	assert_int_equal(call(&site, "DELETE", uri), 200);
	assert_string_equal(site_header(&site, "Set-Cookie"), cleared);
	assert_int_equal(call(&site, "GET", MOUNT "session"), 401);
	site_close(&site);
}

static void
ending_sessions_may_need_a_young_login(void **state)
{
	static const char *const overrides[] = {
	    "session.self_service_max_auth_age=5 min", NULL};
	struct site site;

	(void)state;
	site_open(&site, overrides);
	site_login(&site, "alice", NULL);
	assert_int_equal(call(&site, "POST", MOUNT "sessions/end-others"), 200);
	site.now_ms += INT64_C(6) * 60000;
	assert_int_equal(call(&site, "POST", MOUNT "sessions/end-others"), 401);
	is_problem(&site, "reauth");
	assert_int_equal(call(&site, "GET", MOUNT "sessions"), 200);
	site_close(&site);
}

static void
an_anonymous_session_has_no_self_service(void **state)
{
	struct sgate_create create;
	struct site site;

	(void)state;
	site_open(&site, NULL);
	memset(&create, 0, sizeof(create));
	site_create(&site, &create);
	assert_int_equal(call(&site, "GET", MOUNT "session"), 200);
	assert_true(site_body_has(&site, "\"user_id\":null"));
	assert_int_equal(call(&site, "GET", MOUNT "state"), 200);
	assert_true(site_body_has(&site, "\"authenticated\":false"));
	assert_int_equal(call(&site, "GET", MOUNT "sessions"), 401);
	assert_int_equal(call(&site, "POST", MOUNT "sessions/end-others"), 401);
	site_close(&site);
}

static const struct CMUnitTest api_browser_tests[] = {
    cmocka_unit_test(doubtful_paths_are_400),
    cmocka_unit_test(unknown_routes_are_404_and_methods_405),
    cmocka_unit_test(the_listener_and_the_request_are_checked_first),
    cmocka_unit_test(every_reason_has_its_status_and_its_word),
    cmocka_unit_test(session_shows_what_is_readable),
    cmocka_unit_test(session_is_never_304_and_is_activity),
    cmocka_unit_test(patch_changes_what_is_writable),
    cmocka_unit_test(patch_refuses_and_writes_nothing),
    cmocka_unit_test(if_match_guards_against_lost_updates),
    cmocka_unit_test(bodies_are_what_they_announce),
    cmocka_unit_test(extend_slides_the_idle_expiry),
    cmocka_unit_test(rotate_gives_a_new_cookie_for_the_same_ref),
    cmocka_unit_test(a_remembered_cookie_outlives_the_browser),
    cmocka_unit_test(logout_ends_the_session_here_and_clears_the_cookie),
    cmocka_unit_test(logout_without_a_store_keeps_the_cookie),
    cmocka_unit_test(logout_needs_to_come_from_our_pages),
    cmocka_unit_test(a_logout_form_goes_back_or_shows_a_page),
    cmocka_unit_test(the_logout_page_has_a_working_button),
    cmocka_unit_test(state_tells_without_being_activity),
    cmocka_unit_test(the_csrf_token_works_and_is_the_sessions_own),
    cmocka_unit_test(every_unsafe_route_passes_the_csrf_rule),
    cmocka_unit_test(health_says_up_or_down_and_nothing_else),
    cmocka_unit_test(sessions_lists_the_users_own),
    cmocka_unit_test(hostile_names_stay_text),
    cmocka_unit_test(a_foreign_ref_answers_as_an_unknown_one),
    cmocka_unit_test(own_sessions_can_be_ended),
    cmocka_unit_test(ending_sessions_may_need_a_young_login),
    cmocka_unit_test(an_anonymous_session_has_no_self_service),
};

TAP_MAIN(api_browser_tests)
