/* The routes for programs: who may, and what each does. */
#include "tap.h"

#include "site.h"

#include "clock.h"

#include <stdlib.h>
#include <string.h>

#define V1 "/.sessgate/v1/"
#define FORM "application/x-www-form-urlencoded"

static int
call_as(struct site *site, unsigned allow, const char *method, const char *uri,
    const char *body)
{
	struct ask ask = {.method = method,
	    .uri = uri,
	    .allow = allow,
	    .body = body,
	    .origin = ""};

	return site_ask(site, &ask);
}

static int
control(
    struct site *site, const char *method, const char *uri, const char *body)
{
	return call_as(site, CONF_ALLOW_ALL, method, uri, body);
}

static int
login(struct site *site, const char *method, const char *uri, const char *body)
{
	return call_as(site, CONF_ALLOW_CREATE, method, uri, body);
}

static void
is_problem(struct site *site, const char *code)
{
	assert_string_equal(
	    site_header(site, "Content-Type"), "application/problem+json");
	assert_string_equal(site_member(site, "code"), code);
}

static uint64_t
ended_so_far(const struct site *site)
{
	return counted(site->shared, TALLY_ENDED);
}

/* Keeps what a create answered. */
static void
take_token(struct site *site)
{
	struct buf text = {0};
	const char *at;

	buf_add_text(&text, site_member(site, "token"));
	assert_int_equal(text.len, SGATE_TOKEN_LEN);
	snprintf(site->token, sizeof(site->token), "%s", buf_text(&text));
	at = strstr(site_body(site), "\"ref\":\"");
	assert_non_null(at);
	snprintf(site->ref, sizeof(site->ref), "%.24s", at + 7);
	buf_reset(&site->cookie);
	buf_printf(&site->cookie, "__Host-sid=%s", site->token);
	buf_wipe(&text);
}

static int
authorize(struct site *site)
{
	struct ask ask = {
	    .is_authorizer = true, .cookie = buf_text(&site->cookie)};

	return site_ask(site, &ask);
}

static const char *
uri_of(const struct site *site, const char *format)
{
	static char uri[256];
	const char *percent = strchr(format, '@');

	snprintf(uri, sizeof(uri), V1 "%.*s%s%s", (int)(percent - format),
	    format, site->ref, percent + 1);
	return uri;
}

/* ---- create ---- */

static void
create_makes_a_session_with_all_its_members(void **state)
{
	static const char body[] =
	    "{\"user_id\":\"alice\",\"context\":\"c1\",\"contexts\":[\"c1\","
	    "\"c2\"],\"roles\":[\"staff\"],\"data\":{\"a\":{\"b\":[1,2]}},"
	    "\"remember\":false,\"idle_timeout\":600,\"absolute_timeout\":3600,"
	    "\"client_ip\":\"198.51.100.7\",\"user_agent\":\"UA/1\"}";
	struct site site;
	char number[32];

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(login(&site, "POST", V1 "sessions", body), 201);
	assert_true(site_body_has(&site, "\"user_id\":\"alice\""));
	assert_true(site_body_has(&site, "\"context\":\"c1\""));
	assert_true(site_body_has(&site, "\"contexts\":[\"c1\",\"c2\"]"));
	assert_true(site_body_has(&site, "\"roles\":[\"staff\"]"));
	assert_true(site_body_has(&site, "\"data\":{\"a\":{\"b\":[1,2]}}"));
	assert_true(site_body_has(&site, "\"idle_timeout\":600"));
	assert_true(site_body_has(&site, "\"client_ip\":\"198.51.100.7\""));
	assert_true(site_body_has(&site, "\"user_agent\":\"UA/1\""));
	snprintf(number, sizeof(number), "\"expires_at\":%lld",
	    (long long)site.now_ms / 1000 + 3600);
	assert_true(site_body_has(&site, number));
	take_token(&site);
	assert_true(site_body_has(&site, buf_text(&site.cookie)));
	assert_true(
	    site_body_has(&site, "; Path=/; Secure; HttpOnly; SameSite=Lax"));
	assert_null(site_header(&site, "Set-Cookie"));
	assert_int_equal(authorize(&site), 200);
	assert_string_equal(
	    site_header(&site, "Variable-REMOTE_USER"), "alice");
	assert_int_equal(counted(site.shared, TALLY_CREATED), 1);
	assert_false(site_log_has(&site, site.token));
	site_close(&site);
}

static void
create_takes_integers_and_the_old_name(void **state)
{
	struct site site;

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(login(&site, "POST", V1 "sessions",
			     "{\"user_id\":42,\"platform_connection_id\":7}"),
	    201);
	assert_true(site_body_has(&site, "\"user_id\":\"42\""));
	assert_true(site_body_has(&site, "\"context\":\"7\""));
	assert_int_equal(login(&site, "POST", V1 "sessions", "{}"), 201);
	assert_true(site_body_has(&site, "\"user_id\":null"));
	assert_true(site_body_has(&site, "\"auth_at\":null"));
	assert_int_equal(login(&site, "POST", V1 "sessions",
			     "{\"user_id\":\"r\",\"remember\":true}"),
	    201);
	assert_true(site_body_has(&site, "; Max-Age=2592000;"));
	site_close(&site);
}

static void
create_refuses_what_it_cannot_take(void **state)
{
	static const char *const bad[] = {"", "[]", "x", "{\"user_id\":\"\"}",
	    "{\"user_id\":null}", "{\"user_id\":1.5}", "{\"user_id\":true}",
	    "{\"user_id\":[\"a\"]}", "{\"user_id\":9007199254740993}",
	    "{\"user_id\":\"a\\r\\nb\"}", "{\"user_id\":\"a\\u0000\"}",
	    "{\"user_id\":\"a\",\"user_id\":\"b\"}",
	    "{\"user_id\":\"a\",\"nosuch\":1}",
	    "{\"user_id\":\"a\",\"roles\":\"staff\"}",
	    "{\"user_id\":\"a\",\"roles\":[\"a b\"]}",
	    "{\"user_id\":\"a\",\"roles\":[\"a,b\"]}",
	    "{\"user_id\":\"a\",\"roles\":[\"x\\r\\ny\"]}",
	    "{\"user_id\":\"a\",\"roles\":[1]}",
	    "{\"user_id\":\"a\",\"contexts\":{}}",
	    "{\"user_id\":\"a\",\"context\":\"x\\ny\"}",
	    "{\"context\":\"x\",\"platform_connection_id\":\"x\"}",
	    "{\"user_id\":\"a\",\"data\":[]}",
	    "{\"user_id\":\"a\",\"data\":{\"x\":null}}",
	    "{\"user_id\":\"a\",\"remember\":1}",
	    "{\"user_id\":\"a\",\"idle_timeout\":0}",
	    "{\"user_id\":\"a\",\"idle_timeout\":-5}",
	    "{\"user_id\":\"a\",\"idle_timeout\":\"10\"}",
	    "{\"user_id\":\"a\",\"absolute_timeout\":9007199254740991}",
	    "{\"user_id\":\"a\",\"client_ip\":\"localhost\"}",
	    "{\"user_id\":\"a\",\"realm\":\"a b\"}"};
	struct site site;
	size_t i;

	(void)state;
	site_open(&site, NULL);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int got = login(&site, "POST", V1 "sessions", bad[i]);

		if (got != 400)
			fail_msg("%s: %d", bad[i], got);
	}
	assert_int_equal(counted(site.shared, TALLY_CREATED), 0);
	site_close(&site);
}

static void
create_judges_where_to_go(void **state)
{
	static const char *const overrides[] = {
	    "gateway.return_to_allow=https://other.example/in", NULL};
	static const struct {
		const char *given, *wanted;
	} rows[] = {{"/app/?a=b", "\"/app/?a=b\""},
	    {"https://other.example/in", "\"https://other.example/in\""},
	    {"/\\u00e9", "\"/%c3%a9\""}, {"//evil.example/", "null"},
	    {"https://other.example/in2", "null"}, {"", "null"},
	    {"/a\\r\\nX: y", "null"}, {"/\\\\evil.example", "null"}};
	struct site site;
	char body[128], wanted[128];
	size_t i;

	(void)state;
	site_open(&site, overrides);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(body, sizeof(body),
		    "{\"user_id\":\"a\",\"return_to\":\"%s\"}", rows[i].given);
		snprintf(wanted, sizeof(wanted), "\"return_to\":%s,",
		    rows[i].wanted);
		assert_int_equal(
		    login(&site, "POST", V1 "sessions", body), 201);
		if (!site_body_has(&site, wanted))
			fail_msg("%s: %s", rows[i].given, site_body(&site));
	}
	assert_int_equal(login(&site, "POST", V1 "sessions",
			     "{\"user_id\":\"a\",\"return_to\":1}"),
	    400);
	assert_int_equal(
	    login(&site, "POST", V1 "sessions", "{\"user_id\":\"a\"}"), 201);
	assert_false(site_body_has(&site, "return_to"));
	site_close(&site);
}

static void
create_may_replace_an_anonymous_session(void **state)
{
	struct site site;
	char body[160], first[256];
	struct ask ask = {.uri = "/.sessgate/session"};

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(login(&site, "POST", V1 "sessions", "{}"), 201);
	take_token(&site);
	snprintf(first, sizeof(first), "%s", buf_text(&site.cookie));
	snprintf(body, sizeof(body),
	    "{\"user_id\":\"alice\",\"replaces\":\"%s\"}", site.token);
	assert_int_equal(login(&site, "POST", V1 "sessions", body), 201);
	ask.cookie = first;
	assert_int_equal(site_ask(&site, &ask), 401);
	is_problem(&site, "ended");
	site_close(&site);
}

static void
an_idempotency_key_gives_the_same_session(void **state)
{
	struct sgate_session *session = NULL;
	struct sgate_error err;
	struct site site;
	char first[SGATE_TOKEN_LEN + 1];
	char *token = NULL;
	struct ask ask = {.method = "POST",
	    .uri = V1 "sessions",
	    .allow = CONF_ALLOW_CREATE,
	    .body = "{\"user_id\":\"alice\"}",
	    .more = {"HTTP_IDEMPOTENCY_KEY=k1"}};

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(site_ask(&site, &ask), 201);
	take_token(&site);
	snprintf(first, sizeof(first), "%s", site.token);
	/* A login program is a new process each time. */
	ask.peer_pid = 4711;
	assert_int_equal(site_ask(&site, &ask), 201);
	take_token(&site);
	assert_string_equal(site.token, first);
	ask.body = "{\"user_id\":\"bob\"}";
	assert_int_equal(site_ask(&site, &ask), 409);
	is_problem(&site, "idempotency_reuse");
	ask.body = "{\"user_id\":\"alice\"}";
	assert_int_equal(sgate_session_rotate(site.mgr, bytes_of(site.token),
			     &session, &token, &err),
	    SGATE_OK);
	sgate_session_free(session);
	sgate_token_free(token);
	assert_int_equal(site_ask(&site, &ask), 409);
	is_problem(&site, "idempotency_used");
	assert_string_equal(site_member(&site, "detail"), site.ref);
	site_close(&site);
}

static void
blocked_users_and_full_ones_are_403(void **state)
{
	static const char *const overrides[] = {
	    "session.max_sessions=1", "session.on_limit=refuse", NULL};
	struct site site;

	(void)state;
	site_open(&site, overrides);
	assert_int_equal(
	    login(&site, "POST", V1 "sessions", "{\"user_id\":\"a\"}"), 201);
	assert_int_equal(
	    login(&site, "POST", V1 "sessions", "{\"user_id\":\"a\"}"), 403);
	is_problem(&site, "limit");
	assert_int_equal(control(&site, "PUT", V1 "users/b/block", NULL), 200);
	assert_int_equal(
	    login(&site, "POST", V1 "sessions", "{\"user_id\":\"b\"}"), 403);
	is_problem(&site, "blocked");
	site_break_store(&site);
	assert_int_equal(
	    login(&site, "POST", V1 "sessions", "{\"user_id\":\"c\"}"), 503);
	assert_non_null(site_header(&site, "Retry-After"));
	assert_null(strstr(buf_text(&site.answer), site.directory));
	site_mend_store(&site);
	site_close(&site);
}

/* ---- who may ---- */

static const struct {
	const char *method;
	const char *uri;
	const char *body;
	const char *scopes; /* that are enough, one by one */
	bool create_may;    /* a listener that allows create */
} routes[] = {
    {"POST", V1 "sessions", "{\"user_id\":\"x\"}", "create", true},
    {"POST", V1 "introspect", "{\"token\":\"x\"}", "introspect", true},
    {"POST", V1 "end", "{\"token\":\"x\"}", "create,manage", true},
    {"GET", V1 "sessions/0123456789abcdef01234567", NULL, "manage", false},
    {"PATCH", V1 "sessions/0123456789abcdef01234567", "{}", "manage", false},
    {"DELETE", V1 "sessions/0123456789abcdef01234567", NULL, "manage", false},
    {"GET", V1 "users/x/sessions", NULL, "manage", false},
    {"DELETE", V1 "users/x/sessions", NULL, "manage", false},
    {"PUT", V1 "users/x/block", NULL, "admin", false},
    {"DELETE", V1 "users/x/block", NULL, "admin", false},
    {"GET", V1 "audit", NULL, "admin", false},
    {"GET", V1 "maintenance", NULL, "create,introspect,manage,admin", false},
    {"PUT", V1 "maintenance", "{\"mode\":\"x\"}", "admin", false},
    {"DELETE", V1 "maintenance", NULL, "admin", false},
    {"POST", V1 "flush", "{}", "admin", false},
    {"GET", V1 "health", NULL, "create,introspect,manage,admin", false},
    {"GET", V1 "status", NULL, "manage,admin", false},
    {"GET", V1 "stats", NULL, "manage,admin", false},
    {"GET", V1 "metrics", NULL, "manage,admin", false},
};
#define ROUTES (sizeof(routes) / sizeof(routes[0]))

static void
listeners_decide_which_routes_there_are(void **state)
{
	struct site site;
	size_t i;

	(void)state;
	site_open(&site, NULL);
	for (i = 0; i < ROUTES; i++) {
		int got;

		got = call_as(&site, CONF_ALLOW_CHECK | CONF_ALLOW_API,
		    routes[i].method, routes[i].uri, routes[i].body);
		assert_int_equal(got, 403);
		is_problem(&site, "denied");
		got = login(
		    &site, routes[i].method, routes[i].uri, routes[i].body);
		if ((got == 403) == routes[i].create_may)
			fail_msg("create: %s %s: %d", routes[i].method,
			    routes[i].uri, got);
		got = control(
		    &site, routes[i].method, routes[i].uri, routes[i].body);
		if (got == 401 || got == 403)
			fail_msg("control: %s %s: %d", routes[i].method,
			    routes[i].uri, got);
		got = call_as(&site, CONF_ALLOW_V1, routes[i].method,
		    routes[i].uri, routes[i].body);
		assert_int_equal(got, 401);
		is_problem(&site, "service_key");
		assert_string_equal(
		    site_header(&site, "WWW-Authenticate"), "Bearer");
	}
	assert_true(site_log_has(&site,
	    "pool.sock uid=33 pid=12: a request without a valid service key"));
	assert_int_equal(control(&site, "POST", V1 "maintenance", "{}"), 405);
	assert_int_equal(control(&site, "GET", V1 "flush", NULL), 405);
	assert_int_equal(control(&site, "GET", V1, NULL), 404);
	assert_int_equal(control(&site, "POST", V1 "audit", "{}"), 405);
	assert_int_equal(control(&site, "GET", V1 "users/a%2fb/x", NULL), 400);
	site_close(&site);
}

static void
add_service(struct site *site, const char *name, const char *scopes,
    const char *realm, char *out, size_t size)
{
	struct durable_service service;
	struct sgate_error err;
	char key[MANAGER_SERVICE_KEY_LEN + 1];

	memset(&service, 0, sizeof(service));
	snprintf(service.name, sizeof(service.name), "%s", name);
	snprintf(service.scopes, sizeof(service.scopes), "%s", scopes);
	service.created_ms = site->now_ms;
	if (realm != NULL) {
		service.has_realm = true;
		snprintf(service.realm, sizeof(service.realm), "%s", realm);
	}
	if (manager_service_add(site->mgr, &service, key, &err) != SGATE_OK)
		fail_msg("%s", err.text);
	snprintf(out, size, "HTTP_AUTHORIZATION=Bearer %s", key);
}

static void
service_keys_have_scopes(void **state)
{
	static const char *const scopes[] = {
	    "create", "introspect", "manage", "admin"};
	char keys[4][128];
	struct site site;
	size_t i, k;

	(void)state;
	site_open(&site, NULL);
	for (k = 0; k < 4; k++)
		add_service(&site, scopes[k], scopes[k], NULL, keys[k],
		    sizeof(keys[k]));
	for (i = 0; i < ROUTES; i++)
		for (k = 0; k < 4; k++) {
			bool may = strstr(routes[i].scopes, scopes[k]) != NULL;
			struct ask ask = {.method = routes[i].method,
			    .uri = routes[i].uri,
			    .body = routes[i].body,
			    .allow = CONF_ALLOW_V1,
			    .origin = "",
			    .more = {keys[k]}};
			int got = site_ask(&site, &ask);

			if ((got == 403) == may || got == 401)
				fail_msg("%s: %s %s: %d", scopes[k],
				    routes[i].method, routes[i].uri, got);
			if (!may)
				is_problem(&site, "scope");
		}
	site_close(&site);
}

#define WRONG_KEY                                                              \
	"HTTP_AUTHORIZATION=Bearer "                                           \
	"sgsk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void
bad_service_keys_are_401(void **state)
{
	static const char *const bad[] = {"HTTP_AUTHORIZATION=Bearer x",
	    "HTTP_AUTHORIZATION=Bearer ", "HTTP_AUTHORIZATION=Bearer",
	    "HTTP_AUTHORIZATION=Basic YTpi", WRONG_KEY};
	struct site site;
	struct ask ask = {.uri = V1 "status", .allow = CONF_ALLOW_V1};
	char key[128];
	size_t i;

	(void)state;
	site_open(&site, NULL);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ask.more[0] = bad[i];
		assert_int_equal(site_ask(&site, &ask), 401);
		is_problem(&site, "service_key");
	}
	add_service(&site, "m", "manage", NULL, key, sizeof(key));
	ask.more[0] = key;
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_false(site_log_has(&site, strstr(key, "sgsk_")));
	site_break_store(&site);
	assert_int_equal(site_ask(&site, &ask), 503);
	site_mend_store(&site);
	site_close(&site);
}

static void
roles_that_may_be_given_are_limited(void **state)
{
	static const char admin[] = "{\"user_id\":\"x\",\"roles\":[\"admin\"]}";
	static const char staff[] = "{\"user_id\":\"x\",\"roles\":[\"staff\"]}";
	static const char other[] =
	    "{\"user_id\":\"x\",\"roles\":[\"staff\",\"other\"]}";
	char *listed[] = {(char *)(uintptr_t) "staff", NULL};
	struct site site;
	char key[128], both[128];
	struct ask ask = {
	    .method = "POST", .uri = V1 "sessions", .allow = CONF_ALLOW_V1};

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(login(&site, "POST", V1 "sessions", admin), 403);
	is_problem(&site, "role_not_allowed");
	assert_int_equal(login(&site, "POST", V1 "sessions", other), 201);
	assert_int_equal(control(&site, "POST", V1 "sessions", admin), 201);
	site.listener.roles = listed;
	assert_int_equal(login(&site, "POST", V1 "sessions", staff), 201);
	assert_int_equal(login(&site, "POST", V1 "sessions", other), 403);
	site.listener.roles = site.no_roles;
	add_service(&site, "c", "create", NULL, key, sizeof(key));
	add_service(&site, "ca", "create,admin", NULL, both, sizeof(both));
	ask.body = admin;
	ask.more[0] = key;
	assert_int_equal(site_ask(&site, &ask), 403);
	ask.more[0] = both;
	assert_int_equal(site_ask(&site, &ask), 201);
	site_close(&site);
}

static void
realms_are_kept_apart(void **state)
{
	struct site site;
	char key[128];
	struct ask ask = {.method = "POST",
	    .uri = V1 "sessions",
	    .allow = CONF_ALLOW_V1,
	    .body = "{\"user_id\":\"x\",\"realm\":\"other\"}"};

	(void)state;
	site_open(&site, NULL);
	add_service(&site, "shop", "create,manage", "shop", key, sizeof(key));
	ask.more[0] = key;
	assert_int_equal(site_ask(&site, &ask), 403);
	is_problem(&site, "listener");
	ask.more[1] = "SESSGATE_REALM=other";
	ask.body = "{\"user_id\":\"x\"}";
	assert_int_equal(site_ask(&site, &ask), 403);
	ask.more[1] = NULL;
	assert_int_equal(site_ask(&site, &ask), 201);
	assert_true(site_body_has(&site, "\"realm\":\"shop\""));
	take_token(&site);
	/* Another realm's ref answers exactly as an unknown one. */
	assert_int_equal(
	    control(&site, "GET", uri_of(&site, "sessions/@"), NULL), 404);
	assert_int_equal(
	    control(&site, "GET", uri_of(&site, "sessions/@?realm=shop"), NULL),
	    200);
	assert_int_equal(
	    control(&site, "GET", uri_of(&site, "sessions/@?realm=a b"), NULL),
	    400);
	assert_int_equal(control(&site, "DELETE",
			     uri_of(&site, "sessions/@?realm=other"), NULL),
	    404);
	site.listener.has_realm = true;
	site.listener.realm = (char *)(uintptr_t) "other";
	ask.body = "{\"user_id\":\"x\"}";
	assert_int_equal(site_ask(&site, &ask), 403);
	assert_int_equal(
	    control(&site, "GET", uri_of(&site, "sessions/@?realm=shop"), NULL),
	    403);
	site.listener.has_realm = false;
	assert_int_equal(control(&site, "POST", V1 "sessions?realm=shop",
			     "{\"user_id\":\"x\",\"realm\":\"other\"}"),
	    403);
	site_close(&site);
}

static void
a_member_that_is_not_known_is_answered_with_those_that_are(void **state)
{
	struct site site;
	char body[128];

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(control(&site, "PUT", V1 "maintenance",
			     "{\"mode\":\"normal\",\"role\":[]}"),
	    400);
	is_problem(&site, "invalid");
	assert_string_equal(site_member(&site, "detail"),
	    "role: there is no such member, but mode, roles, reason, until, "
	    "realm");
	snprintf(body, sizeof(body), "{\"%065d\":1}", 0);
	assert_int_equal(control(&site, "POST", V1 "flush", body), 400);
	assert_string_equal(site_member(&site, "detail"),
	    "a long name: there is no such member, but all, roles, but_roles, "
	    "before, realm");
	site_close(&site);
}

/* ---- introspect and end ---- */

static void
introspect_answers_as_rfc_7662(void **state)
{
	struct site site;
	char body[256];
	struct ask ask = {.method = "POST",
	    .uri = V1 "introspect",
	    .allow = CONF_ALLOW_CREATE,
	    .type = FORM,
	    .body = body};

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "alice", "staff");
	snprintf(body, sizeof(body), "token=%s&token_type_hint=x", site.token);
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_true(site_body_has(&site, "\"active\":true"));
	assert_string_equal(site_member(&site, "sub"), "alice");
	assert_string_equal(site_member(&site, "sid"), site.ref);
	assert_int_equal(atoll(site_member(&site, "iat")), site.now_ms / 1000);
	assert_int_equal(
	    atoll(site_member(&site, "exp")), site.now_ms / 1000 + 8 * 3600);
	assert_true(site_body_has(&site, "\"roles\":[\"staff\"]"));
	snprintf(body, sizeof(body), "{\"token\":\"%s\",\"realm\":\"\"}",
	    site.token);
	ask.type = NULL;
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_true(site_body_has(&site, "\"active\":true"));
	snprintf(body, sizeof(body), "{\"token\":\"%s\",\"realm\":\"shop\"}",
	    site.token);
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(site_body(&site), "{\"active\":false}\n");
	snprintf(body, sizeof(body), "{\"token\":\"junk\"}");
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(site_body(&site), "{\"active\":false}\n");
	snprintf(body, sizeof(body), "{\"token\":7}");
	assert_int_equal(site_ask(&site, &ask), 400);
	snprintf(body, sizeof(body), "{}");
	assert_int_equal(site_ask(&site, &ask), 400);
	snprintf(body, sizeof(body), "{\"token\":\"%s\"}", site.token);
	site_end(&site, SGATE_REASON_REVOKED);
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_string_equal(site_body(&site), "{\"active\":false}\n");
	site_break_store(&site);
	assert_int_equal(site_ask(&site, &ask), 503);
	site_mend_store(&site);
	site_close(&site);
}

static void
end_by_token_is_idempotent(void **state)
{
	struct site site;
	char body[128];

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "alice", NULL);
	snprintf(body, sizeof(body), "{\"token\":\"%s\"}", site.token);
	assert_int_equal(login(&site, "POST", V1 "end", body), 200);
	assert_string_equal(site_member(&site, "ended"), "1");
	assert_int_equal(authorize(&site), 401);
	assert_int_equal(login(&site, "POST", V1 "end", body), 200);
	assert_int_equal(
	    login(&site, "POST", V1 "end", "{\"token\":\"junk\"}"), 200);
	assert_string_equal(site_member(&site, "ended"), "0");
	site_close(&site);
}

/* ---- manage ---- */

static void
a_session_can_be_read_changed_and_ended_by_ref(void **state)
{
	struct site site;
	char tag[96];
	struct ask ask = {.method = "PATCH",
	    .allow = CONF_ALLOW_ALL,
	    .body = "{\"roles\":[]}",
	    .more = {tag}};

	(void)state;
	site_open(&site, NULL);
	assert_int_equal(
	    control(&site, "POST", V1 "sessions",
		"{\"user_id\":\"alice\",\"data\":{\"a\":1,\"b\":2}}"),
	    201);
	take_token(&site);
	assert_int_equal(
	    control(&site, "GET", uri_of(&site, "sessions/@"), NULL), 200);
	assert_true(site_body_has(&site, "\"data\":{\"a\":1,\"b\":2}"));
	snprintf(
	    tag, sizeof(tag), "HTTP_IF_MATCH=%s", site_header(&site, "ETag"));
	assert_int_equal(control(&site, "PATCH", uri_of(&site, "sessions/@"),
			     "{\"data\":{\"a\":null,\"c\":[3]},\"context\":9,"
			     "\"contexts\":[\"9\"],\"roles\":[\"staff\"],"
			     "\"idle_timeout\":60}"),
	    200);
	assert_true(site_body_has(&site, "\"data\":{\"b\":2,\"c\":[3]}"));
	assert_string_equal(site_member(&site, "context"), "9");
	assert_true(site_body_has(&site, "\"roles\":[\"staff\"]"));
	assert_string_equal(site_member(&site, "idle_timeout"), "60");
	assert_string_equal(site_member(&site, "version"), "2");
	ask.uri = uri_of(&site, "sessions/@");
	assert_int_equal(site_ask(&site, &ask), 412);
	assert_int_equal(control(&site, "PATCH", uri_of(&site, "sessions/@"),
			     "{\"context\":null}"),
	    200);
	assert_true(site_body_has(&site, "\"context\":null"));
	assert_int_equal(control(&site, "PATCH", uri_of(&site, "sessions/@"),
			     "{\"data\":null}"),
	    400);
	assert_int_equal(control(&site, "PATCH", uri_of(&site, "sessions/@"),
			     "{\"user_id\":\"root\"}"),
	    403);
	assert_int_equal(control(&site, "PATCH", uri_of(&site, "sessions/@"),
			     "{\"expires_at\":1}"),
	    403);
	assert_int_equal(control(&site, "DELETE",
			     uri_of(&site, "sessions/@?reason=rate"), NULL),
	    400);
	assert_int_equal(control(&site, "DELETE",
			     uri_of(&site, "sessions/@?reason=blocked"), NULL),
	    200);
	assert_int_equal(
	    control(&site, "DELETE", uri_of(&site, "sessions/@"), NULL), 200);
	assert_int_equal(
	    control(&site, "GET", uri_of(&site, "sessions/@"), NULL), 404);
	assert_int_equal(
	    control(&site, "GET", uri_of(&site, "sessions/@?state=any"), NULL),
	    200);
	assert_string_equal(site_member(&site, "state"), "ended");
	assert_string_equal(site_member(&site, "end_reason"), "blocked");
	assert_int_equal(control(&site, "GET", V1 "sessions/xyz", NULL), 404);
	site_close(&site);
}

static void
a_users_sessions_are_listed_and_cleaned_up(void **state)
{
	struct site site;
	char uri[128];
	int i;

	(void)state;
	site_open(&site, NULL);
	for (i = 0; i < 3; i++)
		site_login(&site, "DOM\\ali/ce", NULL);
	assert_int_equal(control(&site, "GET",
			     V1 "users/sessions?user_id=DOM%5Cali%2Fce", NULL),
	    200);
	assert_true(site_body_has(&site, site.ref));
	assert_int_equal(
	    control(&site, "GET",
		V1 "users/sessions?user_id=DOM%5Cali%2Fce&limit=0", NULL),
	    400);
	for (i = 0; i < 3; i++) {
		site.now_ms += 1000;
		site_login(&site, "al ice", NULL);
	}
	assert_int_equal(
	    control(&site, "GET", V1 "users/al%20ice/sessions?limit=1", NULL),
	    200);
	assert_true(site_body_has(&site, site.ref));
	snprintf(uri, sizeof(uri), V1 "users/al%%20ice/sessions?except=%s",
	    site.ref);
	assert_int_equal(control(&site, "DELETE", uri, NULL), 200);
	assert_string_equal(site_member(&site, "ended"), "2");
	assert_int_equal(authorize(&site), 200);
	assert_int_equal(
	    control(&site, "DELETE", V1 "users/al%20ice/sessions", NULL), 200);
	assert_string_equal(site_member(&site, "ended"), "1");
	assert_int_equal(ended_so_far(&site), 3);
	assert_int_equal(authorize(&site), 401);
	assert_int_equal(control(&site, "DELETE",
			     V1 "users/al%20ice/sessions?except=xyz", NULL),
	    400);
	assert_int_equal(
	    control(&site, "DELETE", V1 "users/sessions", NULL), 400);
	site_close(&site);
}

static void
a_block_ends_all_and_can_be_lifted(void **state)
{
	struct site site;

	(void)state;
	site_open(&site, NULL);
	site_login(&site, "alice", NULL);
	assert_int_equal(control(&site, "PUT", V1 "users/alice/block",
			     "{\"reason\":\"lost phone\"}"),
	    200);
	assert_true(site_body_has(&site, "\"blocked\":true"));
	assert_string_equal(site_member(&site, "ended"), "1");
	assert_int_equal(ended_so_far(&site), 1);
	assert_int_equal(authorize(&site), 401);
	assert_int_equal(
	    control(&site, "DELETE", V1 "users/alice/block", NULL), 200);
	assert_int_equal(
	    login(&site, "POST", V1 "sessions", "{\"user_id\":\"alice\"}"),
	    201);
	site_close(&site);
}

static void
the_audit_has_who_did_what_page_by_page(void **state)
{
	struct site site;
	char uri[256];
	int i;

	(void)state;
	site_open(&site, NULL);
	for (i = 0; i < 3; i++) {
		site.now_ms += 1000;
		assert_int_equal(login(&site, "POST", V1 "sessions",
				     "{\"user_id\":\"alice\"}"),
		    201);
	}
	take_token(&site);
	assert_int_equal(
	    control(&site, "GET", V1 "audit?user=alice&limit=2", NULL), 200);
	assert_true(site_body_has(&site, site.ref));
	assert_true(
	    site_body_has(&site, "\"actor\":\"pool.sock uid=33 pid=12\""));
	assert_true(site_body_has(&site, "\"kind\":\"create\""));
	assert_int_equal(strlen(site_member(&site, "cursor")), 32);
	snprintf(uri, sizeof(uri), V1 "audit?user=alice&limit=2&cursor=%s",
	    site_member(&site, "cursor"));
	assert_int_equal(control(&site, "GET", uri, NULL), 200);
	assert_false(site_body_has(&site, site.ref));
	assert_true(site_body_has(&site, "\"cursor\":null"));
	assert_int_equal(
	    control(&site, "GET", uri_of(&site, "audit?ref=@"), NULL), 200);
	assert_true(site_body_has(&site, site.ref));
	snprintf(uri, sizeof(uri), V1 "audit?since=%lld",
	    (long long)site.now_ms / 1000 + 1);
	assert_int_equal(control(&site, "GET", uri, NULL), 200);
	assert_true(site_body_has(&site, "\"events\":[]"));
	assert_int_equal(control(&site, "GET", V1 "audit?user=bob", NULL), 200);
	assert_true(site_body_has(&site, "\"events\":[]"));
	assert_int_equal(control(&site, "GET", V1 "audit?ref=x", NULL), 400);
	assert_int_equal(control(&site, "GET", V1 "audit?since=x", NULL), 400);
	assert_int_equal(control(&site, "GET", V1 "audit?cursor=x", NULL), 400);
	assert_int_equal(
	    control(&site, "GET", V1 "audit?limit=1001", NULL), 400);
	assert_int_equal(
	    control(&site, "GET", V1 "audit?user=a&user=b", NULL), 400);
	assert_false(site_body_has(&site, site.token));
	site_close(&site);
}

/* ---- status ---- */

static void
status_needs_no_store_and_no_manager(void **state)
{
	struct site site;

	(void)state;
	site_open(&site, NULL);
	site.gw.mgr = NULL;
	assert_int_equal(control(&site, "GET", V1 "health", NULL), 503);
	assert_true(site_body_has(&site, "\"up\":null"));
	assert_int_equal(control(&site, "GET", V1 "stats", NULL), 200);
	assert_true(site_body_has(&site, "\"live\":null"));
	assert_int_equal(control(&site, "GET", V1 "ready", NULL), 503);
	atomic_store(&site.shared->state.durable.is_up, 1);
	atomic_store(&site.shared->state.durable.checked_ms, clock_utc_ms());
	atomic_store(&site.shared->state.stats_at_ms, clock_utc_ms());
	atomic_store(&site.shared->state.live, 7);
	assert_int_equal(control(&site, "GET", V1 "health", NULL), 200);
	assert_string_equal(site_member(&site, "status"), "up");
	assert_int_equal(control(&site, "GET", V1 "stats", NULL), 200);
	assert_string_equal(site_member(&site, "live"), "7");
	assert_int_equal(control(&site, "GET", V1 "ready", NULL), 503);
	assert_string_equal(site_member(&site, "why"), "workers");
	atomic_store(&site.shared->workers[3].pid, 4711);
	atomic_store(&site.shared->workers[3].state, SHARED_IDLE);
	atomic_store(&site.shared->workers[5].state, 99);
	atomic_store(&site.shared->workers[6].state, -1);
	assert_int_equal(control(&site, "GET", V1 "ready", NULL), 200);
	assert_true(site_body_has(&site, "\"why\":null"));
	atomic_store(&site.shared->stopping, 1);
	assert_int_equal(control(&site, "GET", V1 "ready", NULL), 503);
	assert_string_equal(site_member(&site, "why"), "stopping");
	assert_int_equal(control(&site, "GET", V1 "health", NULL), 200);
	atomic_store(&site.shared->stopping, 0);
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(&site, "\"pid\":4711,\"state\":\"idle\""));
	assert_string_equal(site_member(&site, "version"), sgate_version());
	assert_int_equal(
	    control(&site, "POST", V1 "sessions", "{\"user_id\":\"x\"}"), 503);
	assert_int_equal(
	    call_as(&site, CONF_ALLOW_API, "GET", "/.sessgate/session", NULL),
	    503);
	assert_int_equal(authorize(&site), 503);
	site.gw.mgr = site.mgr;
	site_close(&site);
}

/* OpenMetrics 1.0: a TYPE before each family, once; EOF is the end. */
static void
metrics_are_open_metrics_and_leave_out_what_is_not_known(void **state)
{
	struct site site;
	const char *line, *end;
	char type[80] = "";

	(void)state;
	site_open(&site, NULL);
	site.gw.mgr = NULL;
	atomic_store(&site.shared->workers[3].state, SHARED_IDLE);
	atomic_store(&site.shared->workers[5].state, 99);
	atomic_store(&site.shared->others.denials[SGATE_REASON_ROLE], 4);
	assert_int_equal(control(&site, "GET", V1 "metrics", NULL), 200);
	assert_string_equal(site_header(&site, "Content-Type"),
	    "application/openmetrics-text; version=1.0.0; charset=utf-8");
	assert_true(site_body_has(&site, "sessgate_requests_total 0\n"));
	assert_true(
	    site_body_has(&site, "sessgate_workers{state=\"idle\"} 1\n"));
	assert_true(site_body_has(
	    &site, "\nsessgate_denials_total{reason=\"role\"} 4\n"));
	assert_false(site_body_has(&site, "sessgate_sessions"));
	assert_false(site_body_has(&site, "sessgate_store_up"));
	atomic_store(&site.shared->state.durable.is_up, 1);
	atomic_store(&site.shared->state.durable.checked_ms, clock_utc_ms());
	atomic_store(&site.shared->state.durable.latency_us, 1042);
	atomic_store(&site.shared->state.stats_at_ms, clock_utc_ms());
	atomic_store(&site.shared->state.live, 7);
	assert_int_equal(control(&site, "GET", V1 "metrics", NULL), 200);
	assert_true(
	    site_body_has(&site, "sessgate_sessions{kind=\"live\"} 7\n"));
	assert_true(
	    site_body_has(&site, "sessgate_store_up{store=\"durable\"} 1\n"));
	assert_true(site_body_has(&site,
	    "sessgate_store_latency_seconds{store=\"durable\"} 0.001042\n"));
	for (line = site_body(&site); *line != '\0'; line = end + 1) {
		end = strchr(line, '\n');
		assert_non_null(end);
		if (sscanf(line, "# TYPE %70[a-z_]", type) == 1 ||
		    strncmp(line, "# ", 2) == 0)
			continue;
		if (strncmp(line, type, strlen(type)) != 0)
			fail_msg("not of %s: %.60s", type, line);
	}
	assert_string_equal(line - strlen("# EOF\n"), "# EOF\n");
	site_close(&site);
}

static const char *const both_stores[] = {"mysql.socket=/nonexistent/mysql",
    "redis.address=unix:/nonexistent/redis", NULL};

/* A site that has both stores by its configuration, and asks neither. */
static void
open_with_both(struct site *site)
{
	struct sgate_error err;

	site_open(site, NULL);
	site->gw.mgr = NULL;
	sgate_conf_free(site->own_conf);
	assert_int_equal(
	    sgate_conf_load(NULL, both_stores, &site->own_conf, &err),
	    SGATE_OK);
	site->conf = site->own_conf;
	site->gw.conf = site->conf;
}

static void
close_with_both(struct site *site)
{
	site->gw.mgr = site->mgr;
	site_close(site);
}

static void
see_store(struct shared_store *store, bool is_up)
{
	atomic_store(&store->is_up, is_up);
	atomic_store(&store->checked_ms, clock_utc_ms());
	atomic_store(&store->since_ms, clock_utc_ms() - 5000);
	atomic_store(&store->latency_us, 1500);
}

static void
complete_rounds(struct site *site, int64_t age_ms)
{
	unsigned group;

	for (group = 0; group < TOKEN_GROUPS; group++)
		atomic_store(&site->shared->stores.fence.complete_ms[group],
		    clock_boot_ms() - age_ms);
}

static void
health_goes_on_without_the_durable_store_for_as_long_as_copies_count(
    void **state)
{
	struct site site;

	(void)state;
	open_with_both(&site);
	site.own_conf->fence.max_blind_ms = 2000;
	see_store(&site.shared->state.durable, false);
	see_store(&site.shared->state.cache, true);
	/* No round was ever complete: nothing in the cache is believed. */
	assert_int_equal(control(&site, "GET", V1 "health", NULL), 503);
	complete_rounds(&site, 500);
	assert_int_equal(control(&site, "GET", V1 "health", NULL), 200);
	assert_string_equal(site_member(&site, "status"), "up");
	assert_int_equal(
	    call_as(&site, CONF_ALLOW_API, "GET", "/.sessgate/health", NULL),
	    200);
	/* The worst group counts. */
	atomic_store(
	    &site.shared->stores.fence.complete_ms[9], clock_boot_ms() - 2500);
	assert_int_equal(control(&site, "GET", V1 "health", NULL), 503);
	assert_int_equal(control(&site, "GET", V1 "ready", NULL), 503);
	site.own_conf->fence.max_blind_ms = -1;
	assert_int_equal(control(&site, "GET", V1 "health", NULL), 200);
	atomic_store(&site.shared->stores.fence.is_alarmed, 1);
	assert_int_equal(control(&site, "GET", V1 "health", NULL), 503);
	see_store(&site.shared->state.durable, true);
	assert_int_equal(control(&site, "GET", V1 "health", NULL), 200);
	see_store(&site.shared->state.cache, false);
	assert_int_equal(control(&site, "GET", V1 "health", NULL), 200);
	close_with_both(&site);
}

static void
status_and_stats_tell_of_both_stores_and_every_decision(void **state)
{
	struct stores *stores;
	struct site site;
	char text[64];
	int i;

	(void)state;
	open_with_both(&site);
	stores = &site.shared->stores;
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(&site, "\"age_ms\":null"));
	assert_true(site_body_has(&site,
	    "\"cache\":{\"name\":\"redis\",\"up\":null,\"since_at\":null"));
	see_store(&site.shared->state.durable, true);
	see_store(&site.shared->state.cache, false);
	breaker_open(&stores->cache, 1);
	complete_rounds(&site, 700);
	atomic_store(&stores->groups_behind, 3);
	for (i = 0; i < STORES_COUNTERS; i++)
		atomic_store(&stores->counts[i], 1000 + (unsigned)i);
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(&site, "\"durable\":{\"name\":\"mysql\","
					 "\"up\":true"));
	assert_true(site_body_has(&site, "\"breaker\":\"closed\""));
	assert_true(site_body_has(&site,
	    "\"latency_us\":1500,\"breaker\":\"open\",\"breaker_opened\":1}"));
	assert_true(site_body_has(&site, "\"fence\":{\"age_ms\":7"));
	assert_true(site_body_has(&site,
	    "\"groups_behind\":3,\"groups_foreign\":0,\"alarmed\":false"));
	for (i = 0; i < 2; i++) {
		assert_true(site_body_has(&site, "\"served_local\":1000"));
		assert_true(site_body_has(&site, "\"unavailable\":1004"));
		assert_true(site_body_has(&site, "\"repaired\":1010"));
		assert_int_equal(control(&site, "GET", V1 "stats", NULL), 200);
	}
	assert_int_equal(control(&site, "GET", V1 "metrics", NULL), 200);
	assert_true(
	    site_body_has(&site, "\nsessgate_store_up{store=\"cache\"} 0\n"));
	assert_true(site_body_has(
	    &site, "\nsessgate_store_breaker_open{store=\"cache\"} 1\n"));
	assert_true(site_body_has(
	    &site, "\nsessgate_store_breaker_opened_total{store=\"cache\"} 1"));
	assert_true(site_body_has(&site, "\nsessgate_fence_groups_behind 3\n"));
	assert_true(site_body_has(&site, "\nsessgate_fence_age_seconds 0.7"));
	for (i = 0; i < STORES_COUNTERS; i++) {
		snprintf(text, sizeof(text), "\nsessgate_stores_%s_total %d\n",
		    stores_counter_name((enum stores_counter)i), 1000 + i);
		assert_true(site_body_has(&site, text));
	}
	close_with_both(&site);
}

static void
status_says_in_words_what_is_wrong_with_the_stores(void **state)
{
	struct stores *stores;
	struct site site;

	(void)state;
	open_with_both(&site);
	stores = &site.shared->stores;
	site.own_conf->fence.max_blind_ms = 100000;
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(&site,
	    "\"problems\":[\"mysql has not been looked at yet\",\"redis has "
	    "not been looked at yet\"]"));
	see_store(&site.shared->state.durable, true);
	see_store(&site.shared->state.cache, true);
	complete_rounds(&site, 500);
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(&site, "\"problems\":[]"));
	see_store(&site.shared->state.cache, false);
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(&site,
	    "\"problems\":[\"redis is down for 5 s: sessions are looked up in "
	    "mysql; the log says why\"]"));
	see_store(&site.shared->state.cache, true);
	see_store(&site.shared->state.durable, false);
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(&site,
	    "\"problems\":[\"mysql is down for 5 s: validation goes on from "
	    "redis for at most 100 s more, logging out and creating go on, "
	    "changing answers 503; the log says why\"]"));
	site.own_conf->session.create_without_mysql = false;
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(&site, " s more, logging out goes on, "
					 "creating and changing answer 503; "));
	complete_rounds(&site, 100001);
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(
	    &site, "mysql is down for 5 s: requests are answered 503;"));
	see_store(&site.shared->state.durable, true);
	atomic_store(&stores->groups_behind, 3);
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(
	    &site, "\"problems\":[\"redis is behind mysql in 3 of 16"));
	atomic_store(&stores->groups_foreign, 2);
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(&site,
	    "\"problems\":[\"redis holds copies of another database in 2 of "
	    "16 groups"));
	assert_true(site_body_has(&site, "\"groups_foreign\":2"));
	atomic_store(&stores->fence.is_alarmed, 1);
	assert_int_equal(control(&site, "GET", V1 "status", NULL), 200);
	assert_true(site_body_has(&site, "run `sessgatectl db restored`"));
	close_with_both(&site);
}

static const struct CMUnitTest api_programs_tests[] = {
    cmocka_unit_test(create_makes_a_session_with_all_its_members),
    cmocka_unit_test(create_takes_integers_and_the_old_name),
    cmocka_unit_test(create_refuses_what_it_cannot_take),
    cmocka_unit_test(create_judges_where_to_go),
    cmocka_unit_test(create_may_replace_an_anonymous_session),
    cmocka_unit_test(an_idempotency_key_gives_the_same_session),
    cmocka_unit_test(blocked_users_and_full_ones_are_403),
    cmocka_unit_test(listeners_decide_which_routes_there_are),
    cmocka_unit_test(service_keys_have_scopes),
    cmocka_unit_test(bad_service_keys_are_401),
    cmocka_unit_test(roles_that_may_be_given_are_limited),
    cmocka_unit_test(realms_are_kept_apart),
    cmocka_unit_test(
	a_member_that_is_not_known_is_answered_with_those_that_are),
    cmocka_unit_test(introspect_answers_as_rfc_7662),
    cmocka_unit_test(end_by_token_is_idempotent),
    cmocka_unit_test(a_session_can_be_read_changed_and_ended_by_ref),
    cmocka_unit_test(a_users_sessions_are_listed_and_cleaned_up),
    cmocka_unit_test(a_block_ends_all_and_can_be_lifted),
    cmocka_unit_test(the_audit_has_who_did_what_page_by_page),
    cmocka_unit_test(status_needs_no_store_and_no_manager),
    cmocka_unit_test(metrics_are_open_metrics_and_leave_out_what_is_not_known),
    cmocka_unit_test(
	health_goes_on_without_the_durable_store_for_as_long_as_copies_count),
    cmocka_unit_test(status_and_stats_tell_of_both_stores_and_every_decision),
    cmocka_unit_test(status_says_in_words_what_is_wrong_with_the_stores),
};

TAP_MAIN(api_programs_tests)
