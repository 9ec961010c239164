/*
 * The routes for programs: who may call which, and the three that a login
 * program needs (create, introspect, end by token). Those that manage other
 * sessions are in api_manage.c.
 */
#include "config.h"

#include "api_programs.h"

#include "cookie.h"
#include "form.h"
#include "log.h"
#include "return_to.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ten years: no timeout is longer, and milliseconds of it fit any sum. */
#define DURATION_MAX_S INT64_C(315360000)

/* ---- members of bodies and queries ---- */

static bool
refuse_member(struct call *c, const char *name, const char *what)
{
	char text[160];

	snprintf(text, sizeof(text), "%s: %s", name, what);
	api_problem(c, 400, "invalid", text);
	return false;
}

bool
api_query(
    struct call *c, const char *name, struct buf *buf, struct sgate_bytes *out)
{
	memset(out, 0, sizeof(*out));
	switch (form_get(request_query(c->req), name, buf)) {
	case FORM_ABSENT:
		return true;
	case FORM_FOUND:
		*out = buf_bytes(buf);
		return true;
	case FORM_BAD:
		break;
	}
	return refuse_member(c, name, "the query cannot be read");
}

bool
api_string(struct call *c, const char *name, struct sgate_bytes *out)
{
	if (data_kind(c->body.json, name) == DATA_ABSENT ||
	    data_get_string(c->body.json, name, out))
		return true;
	return refuse_member(c, name, "is not a string");
}

bool
api_id(
    struct call *c, const char *name, struct buf *buf, struct sgate_bytes *out)
{
	int64_t number;

	switch (data_kind(c->body.json, name)) {
	case DATA_ABSENT:
		return true;
	case DATA_STRING:
		if (data_get_string(c->body.json, name, out) && out->len > 0)
			return true;
		return refuse_member(c, name, "is empty");
	case DATA_INTEGER:
		if (!data_get_integer(c->body.json, name, &number))
			break;
		buf_reset(buf);
		buf_add_int(buf, number);
		*out = buf_bytes(buf);
		return true;
	default:
		break;
	}
	return refuse_member(c, name, "is neither a string nor an integer");
}

bool
api_bool(struct call *c, const char *name, int *out)
{
	bool value;

	if (data_kind(c->body.json, name) == DATA_ABSENT)
		return true;
	if (!data_get_bool(c->body.json, name, &value))
		return refuse_member(c, name, "is not true or false");
	*out = value;
	return true;
}

bool
api_strings(struct call *c, const char *name, struct sgate_bytes **out_items,
    size_t *out_count)
{
	if (data_kind(c->body.json, name) == DATA_ABSENT ||
	    data_get_strings(c->body.json, name, out_items, out_count))
		return true;
	return refuse_member(c, name, "is not an array of strings");
}

bool
api_duration(struct call *c, const char *name, int64_t *out_ms)
{
	int64_t seconds;

	if (data_kind(c->body.json, name) == DATA_ABSENT)
		return true;
	if (!data_get_integer(c->body.json, name, &seconds) || seconds < 1 ||
	    seconds > DURATION_MAX_S)
		return refuse_member(c, name, "is not a number of seconds");
	*out_ms = seconds * 1000;
	return true;
}

bool
api_object(
    struct call *c, const char *name, struct buf *buf, struct sgate_bytes *out)
{
	switch (data_kind(c->body.json, name)) {
	case DATA_ABSENT:
		return true;
	case DATA_OBJECT:
		buf_reset(buf);
		if (!data_get_json(c->body.json, name, buf) ||
		    buf_failed(buf)) {
			api_deny(c, SGATE_REASON_STORE);
			return false;
		}
		*out = buf_bytes(buf);
		return true;
	default:
		return refuse_member(c, name, "is not an object");
	}
}

bool
api_context(struct call *c, struct buf *buf, struct sgate_bytes *out)
{
	static const char old_name[] = "platform_connection_id";
	bool has_old = data_kind(c->body.json, old_name) != DATA_ABSENT;

	if (has_old && data_kind(c->body.json, "context") != DATA_ABSENT)
		return refuse_member(
		    c, old_name, "is another name of context: give one");
	return api_id(c, has_old ? old_name : "context", buf, out);
}

/* What is forbidden is named alone: a program may look at that. */
static void
refuse_unknown(struct call *c, const char *const *names, int status,
    const char *code, const char *name)
{
	struct buf text = {0};
	size_t i;

	if (status != 400) {
		api_refuse_member(c, status, code, name);
		return;
	}
	buf_printf(&text, "%s: there is no such member, but ",
	    strlen(name) > 64 ? "a long name" : name);
	for (i = 0; names[i] != NULL; i++)
		buf_printf(&text, "%s%s", i == 0 ? "" : ", ", names[i]);
	api_problem(
	    c, status, code, buf_failed(&text) ? NULL : buf_text(&text));
	buf_clear(&text);
}

bool
api_only(struct call *c, const char *const *names, int status, const char *code)
{
	const char *name;
	size_t i, k;

	for (i = 0; (name = data_member_at(c->body.json, i)) != NULL; i++) {
		for (k = 0; names[k] != NULL; k++)
			if (strcmp(name, names[k]) == 0)
				break;
		if (names[k] == NULL) {
			refuse_unknown(c, names, status, code, name);
			return false;
		}
	}
	return true;
}

bool
api_may_grant(struct call *c, const struct sgate_bytes *roles, size_t count)
{
	const struct conf_listener *listener = c->input->listener;
	size_t i;

	for (i = 0; i < count; i++) {
		bool is_admin =
		    conf_list_has(c->conf->session.admin_roles, roles[i]);
		bool is_listed = listener == NULL ||
				 listener->roles[0] == NULL ||
				 conf_list_has(listener->roles, roles[i]);

		if ((is_admin && (c->scopes & SCOPE_ADMIN) == 0) ||
		    !is_listed) {
			api_problem(c, 403, "role_not_allowed",
			    "this caller may not give one of the roles");
			return false;
		}
	}
	return true;
}

void
api_json_session_full(struct json *j, const char *key,
    const struct sgate_session *s, bool with_data)
{
	const char *address = sgate_session_get_client_ip(s);

	json_object(j, key);
	api_json_session(j, s);
	json_int(
	    j, "idle_timeout", sgate_session_get_idle_timeout_ms(s) / 1000);
	api_json_optional(j, "client_ip", bytes_of(address));
	api_json_optional(j, "user_agent", sgate_session_get_user_agent(s));
	if (with_data)
		json_raw(j, "data", sgate_session_get_data(s));
	json_end(j);
}

/* ---- who calls ---- */

/* 401 to a program: it has no cookie to lose, it needs a key. */
static void
refuse_key(struct call *c, const char *challenge)
{
	static struct log_limit limit = {.burst = 10, .period_ms = 60000};

	log_limited(&limit, LOG_LEVEL_NOTICE,
	    "%s: a request without a valid service key was refused", c->actor);
	reply_begin(&c->reply, 401);
	reply_header(&c->reply, "WWW-Authenticate", bytes_of(challenge));
	reply_problem_body(
	    &c->reply, "service_key", "A service key is needed", NULL);
}

static unsigned
scopes_of(const struct durable_service *service)
{
	struct sgate_bytes list = bytes_of(service->scopes);
	unsigned scopes = 0;

	while (list.len > 0) {
		struct sgate_bytes name = bytes_cut(&list, ',');

		if (bytes_equal_text(name, "create"))
			scopes |= SCOPE_CREATE | SCOPE_END;
		else if (bytes_equal_text(name, "introspect"))
			scopes |= SCOPE_INTROSPECT;
		else if (bytes_equal_text(name, "manage"))
			scopes |= SCOPE_MANAGE | SCOPE_END;
		else if (bytes_equal_text(name, "admin"))
			scopes |= SCOPE_ADMIN;
	}
	return scopes;
}

/* "Bearer <key>" (RFC 6750, 2.1). False: there is none. */
static bool
find_bearer(const struct call *c, struct sgate_bytes *out_key)
{
	struct sgate_bytes text = c->req->authorization;
	struct sgate_bytes scheme = text;

	if (text.len < 8)
		return false;
	scheme.len = 6;
	if (!bytes_equal_nocase(scheme, "Bearer") || text.data[6] != ' ')
		return false;
	out_key->data = text.data + 7;
	out_key->len = text.len - 7;
	return true;
}

/* False: answered. */
static bool
admit_service(struct call *c, struct sgate_bytes key)
{
	struct durable_service service;
	char actor[sizeof("service:") + sizeof(service.name)];
	enum sgate_status status;

	memset(&service, 0, sizeof(service));
	status = manager_service_check(c->gw->mgr, key, &service, &c->err);
	if (status == SGATE_NOT_FOUND || status == SGATE_INVALID ||
	    status == SGATE_DENIED) {
		refuse_key(c, "Bearer error=\"invalid_token\"");
		return false;
	}
	if (status != SGATE_OK) {
		api_fail(c, status);
		return false;
	}
	c->scopes = scopes_of(&service) | SCOPE_LOOK;
	c->is_program = true;
	c->client_ip[0] = '\0';
	if (service.has_realm) {
		if (!api_use_realm(c, bytes_of(service.realm)))
			return false;
	}
	snprintf(actor, sizeof(actor), "service:%s", service.name);
	actor[sizeof(c->actor) - 1] = '\0';
	if (call_introduce(c, actor) == SGATE_REASON_OK)
		return true;
	api_deny(c, SGATE_REASON_STORE);
	return false;
}

/* Sets c->scopes. False: answered. */
static bool
admit(struct call *c)
{
	struct sgate_bytes key;

	if (call_may(c, CONF_ALLOW_ALL)) {
		c->scopes = SCOPE_ALL;
		return true;
	}
	if (call_may(c, CONF_ALLOW_V1) && find_bearer(c, &key))
		return admit_service(c, key);
	if (call_may(c, CONF_ALLOW_CREATE)) {
		c->scopes = SCOPE_CREATE | SCOPE_INTROSPECT | SCOPE_END;
		return true;
	}
	refuse_key(c, "Bearer");
	return false;
}

/* ---- the realm ---- */

bool
api_use_realm(struct call *c, struct sgate_bytes name)
{
	if (name.data == NULL)
		return true;
	if (name.len > 0 && !bytes_is_name(name, CONF_REALM_MAX, "._-")) {
		api_problem(c, 400, "invalid", "realm: is not a name");
		return false;
	}
	if (bytes_equal(name, c->realm)) {
		c->realm_is_given = true;
		return true;
	}
	if (c->realm_is_given) {
		call_note_denial(c, SGATE_REASON_LISTENER);
		api_problem(c, 403, "listener", "another realm is served here");
		return false;
	}
	memcpy(c->realm_text, name.data, name.len);
	c->realm_text[name.len] = '\0';
	c->realm = bytes_of(c->realm_text);
	c->realm_is_given = true;
	if (c->actor[0] == '\0')
		return true;
	if (call_introduce(c, c->is_program ? c->actor : NULL) ==
	    SGATE_REASON_OK)
		return true;
	api_deny(c, SGATE_REASON_STORE);
	return false;
}

/* ?realm=, before the route; a body's realm, in the route. */
static bool
use_query_realm(struct call *c)
{
	struct buf buf = {0};
	struct sgate_bytes name;
	bool is_ok =
	    api_query(c, "realm", &buf, &name) && api_use_realm(c, name);

	buf_clear(&buf);
	return is_ok;
}

bool
api_use_body_realm(struct call *c)
{
	struct sgate_bytes name = {NULL, 0};

	return api_string(c, "realm", &name) && api_use_realm(c, name);
}

/* ---- create ---- */

struct creation {
	struct sgate_create create;
	struct sgate_bytes *contexts, *roles;
	struct buf user_id, context, data;
	struct sgate_bytes return_to; /* no part of the session */
};

static void
creation_clear(struct creation *n)
{
	free(n->contexts);
	free(n->roles);
	buf_wipe(&n->user_id);
	buf_wipe(&n->context);
	buf_wipe(&n->data);
}

/* False: answered. */
static bool
read_creation(struct call *c, struct creation *n)
{
	static const char *const names[] = {"user_id", "replaces", "realm",
	    "context", "platform_connection_id", "contexts", "roles", "data",
	    "remember", "idle_timeout", "absolute_timeout", "client_ip",
	    "user_agent", "return_to", NULL};
	struct sgate_create *create = &n->create;

	if (!api_only(c, names, 400, "invalid"))
		return false;
	if (data_refuse_null(c->body.json, &c->err) != SGATE_OK) {
		api_problem(c, 400, "invalid", c->err.text);
		return false;
	}
	create->idempotency_key = c->req->idempotency_key;
	if (!api_use_body_realm(c) ||
	    !api_id(c, "user_id", &n->user_id, &create->user_id) ||
	    !api_context(c, &n->context, &create->context) ||
	    !api_strings(
		c, "contexts", &n->contexts, &create->contexts_count) ||
	    !api_strings(c, "roles", &n->roles, &create->roles_count) ||
	    !api_object(c, "data", &n->data, &create->data) ||
	    !api_string(c, "replaces", &create->replaces) ||
	    !api_bool(c, "remember", &create->remember) ||
	    !api_duration(c, "idle_timeout", &create->idle_timeout_ms) ||
	    !api_duration(
		c, "absolute_timeout", &create->absolute_timeout_ms) ||
	    !api_string(c, "client_ip", &create->client_ip) ||
	    !api_string(c, "user_agent", &create->user_agent) ||
	    !api_string(c, "return_to", &n->return_to))
		return false;
	create->contexts = n->contexts;
	create->roles = n->roles;
	return api_may_grant(c, create->roles, create->roles_count);
}

/*
 * Only where the program has said who the visitor is: its own address is
 * everybody's. The operator at control.sock may log in as many as he wants.
 */
static bool
count_login(struct call *c, const struct creation *n)
{
	return call_may(c, CONF_ALLOW_ALL) || n->create.user_id.len == 0 ||
	       api_count_login(c, n->create.client_ip);
}

/*
 * Where the program wanted to send the visitor, as a Location to be written as
 * it is; null: it leads away from this site. So a program need not know the
 * rule, and its visitors come to no other site by it.
 */
static void
add_return_to(struct call *c, struct json *j, const struct creation *n)
{
	struct buf location = {0};

	if (data_kind(c->body.json, "return_to") == DATA_ABSENT)
		return;
	if (return_to_is_allowed(
		n->return_to, c->conf->gateway.return_to_allow))
		return_to_write(n->return_to, &location);
	if (buf_failed(&location))
		c->reply.is_broken = true;
	api_json_optional(j, "return_to", buf_bytes(&location));
	buf_clear(&location);
}

static void
answer_created(struct call *c, const struct creation *n,
    const struct sgate_session *session, const char *token)
{
	struct buf cookie = {0};
	struct json j;

	cookie_write(c->conf, token,
	    cookie_max_age_s(c->conf, session, call_now_ms(c)), &cookie);
	if (buf_failed(&cookie))
		c->reply.is_broken = true;
	api_json_begin(c, 201, &j);
	json_text(&j, "token", token);
	json_text(&j, "set_cookie", buf_text(&cookie));
	add_return_to(c, &j, n);
	api_json_session_full(&j, "session", session, true);
	api_json_end(c, &j);
	buf_wipe(&cookie);
}

/* "idempotency_reuse", or "idempotency_used REF". */
static void
answer_conflict(struct call *c)
{
	static const char used[] = "idempotency_used";

	if (strncmp(c->err.text, used, sizeof(used) - 1) != 0) {
		api_problem(c, 409, "idempotency_reuse",
		    "this Idempotency-Key was used with another body");
		return;
	}
	reply_begin(&c->reply, 409);
	reply_problem_body(&c->reply, used,
	    "The session of this Idempotency-Key has been rotated or has ended",
	    c->err.text + sizeof(used) - 1 +
		(c->err.text[sizeof(used) - 1] == ' '));
}

static void
serve_create(struct call *c, const struct api_path *path)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;
	struct creation n;
	char *token = NULL;

	(void)path;
	memset(&n, 0, sizeof(n));
	if (!body_json(c) || !read_creation(c, &n) || !count_login(c, &n)) {
		creation_clear(&n);
		return;
	}
	status = sgate_session_create(
	    c->gw->mgr, &n.create, &session, &token, &c->err);
	switch (status) {
	case SGATE_OK:
		call_count(c, TALLY_CREATED);
		answer_created(c, &n, session, token);
		break;
	case SGATE_CONFLICT:
		answer_conflict(c);
		break;
	case SGATE_DENIED:
		call_note_denial(c, c->err.reason);
		api_problem(c, 403, sgate_reason_text(c->err.reason),
		    c->err.reason == SGATE_REASON_LIMIT
			? "the user has as many sessions as "
			  "session.max_sessions allows"
			: NULL);
		break;
	default:
		api_fail(c, status);
		break;
	}
	sgate_token_free(token);
	sgate_session_free(session);
	creation_clear(&n);
}

/* ---- introspect and end ---- */

/* The token and the realm of a JSON or form body. False: answered. */
static bool
read_token(struct call *c, struct buf *token)
{
	struct sgate_bytes value = {NULL, 0};

	if (body_is_form(c)) {
		if (!body_field(c, "realm", &value) || !api_use_realm(c, value))
			return false;
		if (!body_field(c, "token", &value))
			return false;
	} else if (!body_json(c) || !api_use_body_realm(c) ||
		   !api_string(c, "token", &value)) {
		return false;
	}
	if (value.len == 0)
		return refuse_member(c, "token", "is missing");
	buf_add_bytes(token, value);
	if (!buf_failed(token))
		return true;
	api_deny(c, SGATE_REASON_STORE);
	return false;
}

static void
answer_active(struct call *c, const struct sgate_session *s)
{
	const char *token = sgate_session_new_token(s);
	struct buf cookie = {0};
	struct json j;
	size_t i;

	api_json_begin(c, 200, &j);
	json_bool(&j, "active", true);
	if (!sgate_session_is_anonymous(s))
		json_string(&j, "sub", sgate_session_get_user_id(s));
	api_json_seconds(&j, "iat", sgate_session_get_created_ms(s));
	api_json_seconds(&j, "exp", sgate_session_get_expires_ms(s));
	api_json_ref(&j, "sid", sgate_session_get_ref(s));
	json_array(&j, "roles");
	for (i = 0; i < sgate_session_count_roles(s); i++)
		json_string(&j, NULL, sgate_session_get_role_at(s, i));
	json_end(&j);
	api_json_optional(&j, "context", sgate_session_get_context(s));
	/* The token was rotated: whoever holds it should get the new one. */
	if (token != NULL) {
		cookie_write(c->conf, token,
		    cookie_max_age_s(c->conf, s, call_now_ms(c)), &cookie);
		json_text(&j, "set_cookie", buf_text(&cookie));
	}
	if (buf_failed(&cookie))
		c->reply.is_broken = true;
	api_json_end(c, &j);
	buf_wipe(&cookie);
}

static void
serve_introspect(struct call *c, const struct api_path *path)
{
	struct sgate_session *session = NULL;
	struct buf token = {0};
	enum sgate_status status;
	struct json j;

	(void)path;
	if (!read_token(c, &token)) {
		buf_wipe(&token);
		return;
	}
	status = sgate_session_get(
	    c->gw->mgr, buf_bytes(&token), SGATE_NO_DATA, &session, &c->err);
	buf_wipe(&token);
	if (status == SGATE_OK) {
		answer_active(c, session);
	} else if (status == SGATE_NOT_FOUND) {
		api_json_begin(c, 200, &j);
		json_bool(&j, "active", false);
		api_json_end(c, &j);
	} else {
		api_fail(c, status);
	}
	sgate_session_free(session);
}

static void
serve_end(struct call *c, const struct api_path *path)
{
	struct buf token = {0};
	enum sgate_status status;
	struct json j;

	(void)path;
	if (!read_token(c, &token)) {
		buf_wipe(&token);
		return;
	}
	status = sgate_session_end_token(
	    c->gw->mgr, buf_bytes(&token), SGATE_REASON_LOGGED_OUT, &c->err);
	buf_wipe(&token);
	if (status != SGATE_OK && status != SGATE_NOT_FOUND) {
		api_fail(c, status);
		return;
	}
	if (status == SGATE_OK)
		call_count_ended(c, 1);
	api_json_begin(c, 200, &j);
	json_int(&j, "ended", status == SGATE_OK ? 1 : 0);
	api_json_end(c, &j);
}

/* ---- dispatch ---- */

#define MERGE (BODY_JSON | BODY_MERGE_PATCH | BODY_REQUIRED)
/* The keeper, which has no manager, serves these too. */
#define NO_MANAGER (1u << 8)
#define NEEDS_PULSE (SCOPE_LOOK | NO_MANAGER)
#define NEEDS_FIGURES (SCOPE_MANAGE | SCOPE_ADMIN | NO_MANAGER)

static const struct api_route program_routes[] = {
    {"sessions", REQUEST_POST, BODY_JSON | BODY_REQUIRED, SCOPE_CREATE,
	serve_create, TALLY_CREATE},
    {"introspect", REQUEST_POST, BODY_JSON | BODY_FORM | BODY_REQUIRED,
	SCOPE_INTROSPECT, serve_introspect, 0},
    {"end", REQUEST_POST, BODY_JSON | BODY_REQUIRED, SCOPE_END, serve_end,
	TALLY_END},
    {"sessions/*", REQUEST_GET, 0, SCOPE_MANAGE, api_session_show, 0},
    {"sessions/*", REQUEST_PATCH, MERGE, SCOPE_MANAGE, api_session_patch,
	TALLY_CHANGE},
    {"sessions/*", REQUEST_DELETE, BODY_JSON, SCOPE_MANAGE, api_session_delete,
	TALLY_END},
    {"users/*/sessions", REQUEST_GET, 0, SCOPE_MANAGE, api_user_sessions, 0},
    {"users/*/sessions", REQUEST_DELETE, BODY_JSON, SCOPE_MANAGE,
	api_user_cleanup, TALLY_END},
    {"users/*/block", REQUEST_PUT, BODY_JSON, SCOPE_ADMIN, api_user_block, 0},
    {"users/*/block", REQUEST_DELETE, BODY_JSON, SCOPE_ADMIN, api_user_unblock,
	0},
    /* A user_id with '/' or '\' cannot stand in a path: ?user_id=. */
    {"users/sessions", REQUEST_GET, 0, SCOPE_MANAGE, api_user_sessions, 0},
    {"users/sessions", REQUEST_DELETE, BODY_JSON, SCOPE_MANAGE,
	api_user_cleanup, TALLY_END},
    {"users/block", REQUEST_PUT, BODY_JSON, SCOPE_ADMIN, api_user_block, 0},
    {"users/block", REQUEST_DELETE, BODY_JSON, SCOPE_ADMIN, api_user_unblock,
	0},
    {"maintenance", REQUEST_GET, 0, SCOPE_LOOK, api_maintenance_show, 0},
    {"maintenance", REQUEST_PUT, BODY_JSON | BODY_REQUIRED, SCOPE_ADMIN,
	api_maintenance_set, 0},
    {"maintenance", REQUEST_DELETE, BODY_JSON, SCOPE_ADMIN, api_maintenance_end,
	0},
    {"flush", REQUEST_POST, BODY_JSON | BODY_REQUIRED, SCOPE_ADMIN, api_flush,
	0},
    {"audit", REQUEST_GET, 0, SCOPE_ADMIN, api_audit, 0},
    {"health", REQUEST_GET, 0, NEEDS_PULSE, api_status_health, 0},
    {"ready", REQUEST_GET, 0, NEEDS_PULSE, api_status_ready, 0},
    {"status", REQUEST_GET, 0, NEEDS_FIGURES, api_status_full, 0},
    {"stats", REQUEST_GET, 0, NEEDS_FIGURES, api_status_stats, 0},
    {"metrics", REQUEST_GET, 0, NEEDS_FIGURES, api_status_metrics, 0},
};

static bool
needs_manager(const struct api_route *route)
{
	return (route->needs & NO_MANAGER) == 0;
}

void
api_programs_serve(struct call *c, struct sgate_bytes path)
{
	const struct api_route *route;
	struct api_path parts;
	enum sgate_reason reason;

	if (!call_may(c, CONF_ALLOW_ALL | CONF_ALLOW_CREATE | CONF_ALLOW_V1)) {
		/* Browsers come here too: they see what they may see. */
		api_deny(c, SGATE_REASON_LISTENER);
		return;
	}
	route = api_find_route(c, program_routes,
	    sizeof(program_routes) / sizeof(program_routes[0]), path, &parts);
	if (route == NULL)
		return;
	reason = call_find_realm(c);
	if (reason != SGATE_REASON_OK) {
		api_deny(c, reason);
		return;
	}
	if (c->gw->mgr != NULL || needs_manager(route) ||
	    !call_may(c, CONF_ALLOW_ALL)) {
		reason = call_introduce(c, NULL);
		if (reason != SGATE_REASON_OK) {
			api_deny(c, reason);
			return;
		}
	}
	c->operation = route->operation;
	if (!admit(c))
		return;
	if ((c->scopes & route->needs) == 0) {
		call_note_denial(c, SGATE_REASON_LISTENER);
		api_problem(c, 403, "scope", "not allowed to this caller");
		return;
	}
	if (route->body != 0 && !body_read(c, route->body))
		return;
	if (needs_manager(route) && !use_query_realm(c))
		return;
	route->serve(c, &parts);
}
