/*
 * The routes for browsers: what a page may see and change of its own session,
 * and of its user's other sessions. Identity is the cookie's, rights are the
 * session's; everything that changes something passes the CSRF rule.
 */
#include "config.h"

#include "api_browser.h"

#include "api_admin.h"
#include "csrf.h"
#include "form.h"
#include "gateway/sessgate_js.h"
#include "page.h"
#include "return_to.h"
#include "token.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* api_route.needs */
#define NEEDS_SESSION (1u << 0)    /* else the reason's status */
#define NEEDS_USER (1u << 1)       /* an anonymous session is not enough */
#define NEEDS_TOKEN (1u << 2)      /* the cookie alone, or none */
#define NEEDS_FRESH (1u << 3)      /* self_service_max_auth_age */
#define LOOKS_ONLY (1u << 4)       /* is no activity; a glance does */
#define SESSION_OPTIONAL (1u << 5) /* the route answers without one */
#define IS_LOGIN (1u << 6)         /* of a listener with remote-user */

/* ---- the own session ---- */

/* Top-level members of data that browser_readable names; "{}" if none. */
static bool
add_readable_data(struct call *c, struct json *j)
{
	struct sgate_bytes text = sgate_session_get_data(c->session);
	struct data *all = NULL, *readable = NULL;
	struct buf out = {0};
	bool is_ok;

	if (c->conf->session.browser_readable[0] == NULL) {
		json_object(j, "data");
		json_end(j);
		return true;
	}
	is_ok = data_parse(text, c->conf->session.data_max_bytes, &all,
		    &c->err) == SGATE_OK &&
		data_filter(all, c->conf->session.browser_readable, &readable,
		    &c->err) == SGATE_OK &&
		data_print(readable, &out, &c->err) == SGATE_OK &&
		!buf_failed(&out);
	if (is_ok)
		json_raw(j, "data", buf_bytes(&out));
	else
		call_note_error(c, "data");
	data_free(readable);
	data_free(all);
	buf_clear(&out);
	return is_ok;
}

void
api_browser_session(struct call *c)
{
	char etag[API_ETAG_MAX];
	struct json j;

	api_etag(c->session, etag);
	reply_begin(&c->reply, 200);
	reply_header(&c->reply, "ETag", bytes_of(etag));
	reply_body(&c->reply, "application/json");
	json_init(&j, c->reply.out);
	json_object(&j, NULL);
	api_json_session(&j, c->session);
	if (!add_readable_data(c, &j)) {
		api_deny(c, SGATE_REASON_STORE);
		return;
	}
	api_json_end(c, &j);
}

static void
serve_session(struct call *c, const struct api_path *path)
{
	(void)path;
	api_browser_session(c);
}

/* The session as a change left it takes the place of the loaded one. */
static void
take_session(struct call *c, struct sgate_session *changed)
{
	if (changed == NULL)
		return;
	sgate_session_free(c->session);
	c->session = changed;
}

/*
 * data and context are all that a browser can name, and of data the members
 * of browser_writable. False: answered, nothing has been written.
 */
static bool
patch_is_allowed(struct call *c)
{
	const struct data *patch;
	const char *name;
	size_t i;

	for (i = 0; (name = data_member_at(c->body.json, i)) != NULL; i++)
		if (strcmp(name, "data") != 0 && strcmp(name, "context") != 0) {
			api_refuse_member(c, 403, "not_writable", name);
			return false;
		}
	if (data_kind(c->body.json, "data") == DATA_ABSENT)
		return true;
	patch = data_get_object(c->body.json, "data");
	if (patch == NULL) {
		api_problem(c, 400, "invalid", "data: is not an object");
		return false;
	}
	for (i = 0; (name = data_member_at(patch, i)) != NULL; i++)
		if (!conf_list_has(
			c->conf->session.browser_writable, bytes_of(name))) {
			api_refuse_member(c, 403, "not_writable", name);
			return false;
		}
	return true;
}

/* False: answered. */
static bool
patch_context(struct call *c, struct sgate_update *update)
{
	enum data_kind kind = data_kind(c->body.json, "context");

	if (kind == DATA_ABSENT)
		return true;
	if (kind != DATA_STRING ||
	    !data_get_string(c->body.json, "context", &update->context)) {
		api_problem(c, 400, "invalid", "context: is not a string");
		return false;
	}
	if (update->context.len == 0) {
		api_problem(c, 403, "not_writable", "context: empty");
		return false;
	}
	update->context_listed = 1;
	return true;
}

static void
patch_apply(struct call *c, const struct sgate_update *update)
{
	struct sgate_session *changed = NULL;
	enum sgate_status status;

	status = sgate_session_update(c->gw->mgr,
	    sgate_session_get_ref(c->session), update, &changed, &c->err);
	switch (status) {
	case SGATE_OK:
		call_count(c, TALLY_CHANGED);
		take_session(c, changed);
		api_browser_session(c);
		return;
	case SGATE_CONFLICT:
		api_problem(c, 412, "version",
		    "the session has changed since that version");
		return;
	case SGATE_DENIED:
		api_problem(c, 403, "not_writable", "context: not listed");
		return;
	default:
		api_fail(c, status);
		return;
	}
}

static void
serve_session_patch(struct call *c, const struct api_path *path)
{
	struct sgate_update update;
	struct buf patch = {0};

	(void)path;
	memset(&update, 0, sizeof(update));
	if (!body_json(c) || !patch_is_allowed(c) ||
	    !patch_context(c, &update) ||
	    !api_if_match(c, c->session, &update.if_version))
		return;
	if (data_get_json(c->body.json, "data", &patch))
		update.data_patch = buf_bytes(&patch);
	if (buf_failed(&patch))
		api_deny(c, SGATE_REASON_STORE);
	else if (update.data_patch.len == 0 && update.context.len == 0)
		api_browser_session(c);
	else
		patch_apply(c, &update);
	buf_wipe(&patch);
}

static void
serve_session_extend(struct call *c, const struct api_path *path)
{
	struct sgate_session *changed = NULL;
	enum sgate_status status;

	(void)path;
	status = sgate_session_extend(c->gw->mgr, c->token, &changed, &c->err);
	if (status != SGATE_OK) {
		api_fail(c, status);
		return;
	}
	take_session(c, changed);
	api_browser_session(c);
}

static void
serve_session_rotate(struct call *c, const struct api_path *path)
{
	struct sgate_session *changed = NULL;
	enum sgate_status status;
	char *token = NULL;

	(void)path;
	status = sgate_session_rotate(
	    c->gw->mgr, c->token, &changed, &token, &c->err);
	if (status != SGATE_OK) {
		api_fail(c, status);
		return;
	}
	call_count(c, TALLY_CHANGED);
	take_session(c, changed);
	call_send_cookie(c, token, c->session);
	sgate_token_free(token);
	api_browser_session(c);
}

/* ---- logout ---- */

struct sgate_bytes
api_browser_return_to(
    struct call *c, struct sgate_bytes fields, struct buf *buf)
{
	if (form_get(fields, "return_to", buf) == FORM_FOUND &&
	    return_to_is_allowed(
		buf_bytes(buf), c->conf->gateway.return_to_allow))
		return buf_bytes(buf);
	return (struct sgate_bytes){NULL, 0};
}

bool
api_browser_return(struct call *c)
{
	struct sgate_bytes return_to;

	/* A bad return_to must not undo what has been done: a page, then. */
	return_to =
	    api_browser_return_to(c, buf_bytes(&c->body.text), &c->body.field);
	if (return_to.len == 0)
		return false;
	page_redirect(c, return_to);
	return true;
}

/*
 * A form is answered with 303 to its return_to, or with the page of that title;
 * all else with JSON.
 */
static void
answer_ended(struct call *c, void (*page)(struct call *c, const char *title),
    const char *title, uint64_t count)
{
	struct json j;

	if (body_is_form(c)) {
		if (!api_browser_return(c))
			page(c, title);
		return;
	}
	api_json_begin(c, 200, &j);
	json_int(&j, "ended", (int64_t)count);
	api_json_end(c, &j);
}

/*
 * Ends whatever the cookie names and forgets the cookie, also when it named
 * nothing. When no store can tell, the cookie stays: the browser must not
 * believe in a logout that did not happen.
 */
static void
serve_logout(struct call *c, const struct api_path *path)
{
	enum sgate_status status = SGATE_NOT_FOUND;

	(void)path;
	if (c->token.len > 0)
		status = sgate_session_end_token(
		    c->gw->mgr, c->token, SGATE_REASON_LOGGED_OUT, &c->err);
	if (status != SGATE_OK && status != SGATE_NOT_FOUND) {
		api_fail(c, status);
		return;
	}
	if (status == SGATE_OK)
		call_count_ended(c, 1);
	call_clear_cookie(c);
	answer_ended(
	    c, page_logged_out, "Logged out", status == SGATE_OK ? 1 : 0);
}

static void
serve_logout_page(struct call *c, const struct api_path *path)
{
	struct buf field = {0};
	struct sgate_ref ref;
	bool has_ref = call_token_ref(c, &ref);

	(void)path;
	if (c->token.len == 0)
		page_logged_out(c, "Not logged in");
	else
		page_logout(c, has_ref ? &ref : NULL,
		    api_browser_return_to(c, request_query(c->req), &field));
	buf_clear(&field);
}

/* ---- state and csrf ---- */

static bool
is_near_its_end(const struct call *c, int64_t now_ms)
{
	int64_t idle = sgate_session_get_idle_expires_ms(c->session);
	int64_t absolute = sgate_session_get_expires_ms(c->session);
	int64_t end = idle < absolute ? idle : absolute;

	return end - now_ms <= c->conf->session.warn_before_ms;
}

static void
state_etag(const struct call *c, bool warn, char out[API_ETAG_MAX])
{
	struct sgate_maintenance_state state;
	char ref[SGATE_REF_HEX + 1];
	char set[32] = "";

	call_maintenance(c, &state);
	if (state.since_ms != 0)
		snprintf(set, sizeof(set), ".m%lld", (long long)state.since_ms);
	if (c->session == NULL) {
		snprintf(out, API_ETAG_MAX, "\"none%s\"", set);
		return;
	}
	sgate_ref_text(sgate_session_get_ref(c->session), ref);
	snprintf(out, API_ETAG_MAX, "\"%s.%llu.%d%s\"", ref,
	    (unsigned long long)sgate_session_get_version(c->session),
	    warn ? 1 : 0, set);
}

static void
add_state(struct call *c, struct json *j, bool warn)
{
	const struct sgate_session *s = c->session;

	if (s == NULL) {
		json_bool(j, "authenticated", false);
		json_null(j, "user_id");
		json_null(j, "context");
		json_null(j, "expires_at");
		json_null(j, "idle_expires_at");
	} else {
		json_bool(j, "authenticated", !sgate_session_is_anonymous(s));
		api_json_optional(j, "user_id", sgate_session_get_user_id(s));
		api_json_optional(j, "context", sgate_session_get_context(s));
		api_json_seconds(
		    j, "expires_at", sgate_session_get_expires_ms(s));
		api_json_seconds(
		    j, "idle_expires_at", sgate_session_get_idle_expires_ms(s));
	}
	api_json_seconds(j, "server_time", call_now_ms(c));
	json_bool(j, "warn", warn);
	api_json_maintenance(j, c, true);
}

static void
serve_state(struct call *c, const struct api_path *path)
{
	bool warn = c->session != NULL && is_near_its_end(c, call_now_ms(c));
	char etag[API_ETAG_MAX];
	struct json j;

	(void)path;
	state_etag(c, warn, etag);
	if (api_etag_listed(c->req->if_none_match, etag, true)) {
		reply_begin(&c->reply, 304);
		reply_header(&c->reply, "ETag", bytes_of(etag));
		reply_no_body(&c->reply);
		return;
	}
	reply_begin(&c->reply, 200);
	reply_header(&c->reply, "ETag", bytes_of(etag));
	reply_body(&c->reply, "application/json");
	json_init(&j, c->reply.out);
	json_object(&j, NULL);
	add_state(c, &j, warn);
	api_json_end(c, &j);
}

static void
serve_csrf(struct call *c, const struct api_path *path)
{
	char token[TOKEN_CSRF_LEN + 1];
	struct json j;

	(void)path;
	if (!token_csrf_write(manager_keys(c->gw->mgr),
		sgate_session_get_ref(c->session), call_now_ms(c), token)) {
		api_deny(c, SGATE_REASON_STORE);
		return;
	}
	api_json_begin(c, 200, &j);
	json_text(&j, "csrf", token);
	json_text(&j, "field", "csrf");
	json_text(&j, "header", "X-CSRF-Token");
	api_json_end(c, &j);
}

/* ---- the user's sessions ---- */

static bool
is_current(const struct call *c, const struct sgate_ref *ref)
{
	return memcmp(sgate_session_get_ref(c->session)->bytes, ref->bytes,
		   SGATE_REF_BYTES) == 0;
}

static bool
is_login_fresh(const struct call *c)
{
	int64_t max_age_ms = c->conf->session.self_service_max_auth_age_ms;

	return max_age_ms == 0 ||
	       call_now_ms(c) - sgate_session_get_auth_ms(c->session) <=
		   max_age_ms;
}

static void
answer_list(struct call *c, const struct sgate_list *list)
{
	struct json j;
	size_t i;

	api_json_begin(c, 200, &j);
	json_array(&j, "sessions");
	for (i = 0; i < sgate_list_count(list) && i < PAGE_SESSIONS_MAX; i++) {
		const struct sgate_session *s = sgate_list_get(list, i);

		json_object(&j, NULL);
		api_json_ref(&j, "ref", sgate_session_get_ref(s));
		api_json_seconds(
		    &j, "created_at", sgate_session_get_created_ms(s));
		api_json_seconds(
		    &j, "last_seen_at", sgate_session_get_last_seen_ms(s));
		api_json_optional(
		    &j, "client_ip", bytes_of(sgate_session_get_client_ip(s)));
		api_json_optional(
		    &j, "user_agent", sgate_session_get_user_agent(s));
		json_bool(
		    &j, "current", is_current(c, sgate_session_get_ref(s)));
		json_end(&j);
	}
	json_end(&j);
	json_bool(&j, "more", sgate_list_count(list) > PAGE_SESSIONS_MAX);
	api_json_end(c, &j);
}

static void
answer_list_page(struct call *c, const struct sgate_list *list)
{
	struct page_sessions p = {.list = list,
	    .has_more = sgate_list_count(list) > PAGE_SESSIONS_MAX,
	    .may_end = is_login_fresh(c)};
	struct buf done = {0};

	if (form_get(request_query(c->req), "done", &done) == FORM_FOUND)
		p.done = buf_bytes(&done);
	page_sessions(c, &p);
	buf_clear(&done);
}

static void
serve_sessions(struct call *c, const struct api_path *path)
{
	struct sgate_list *list = NULL;
	enum sgate_status status;

	(void)path;
	status = sgate_user_sessions(c->gw->mgr,
	    sgate_session_get_user_id(c->session), PAGE_SESSIONS_MAX + 1, &list,
	    &c->err);
	if (status != SGATE_OK)
		api_fail(c, status);
	else if (request_prefers_html(c->req))
		answer_list_page(c, list);
	else
		answer_list(c, list);
	sgate_list_free(list);
}

static void
answer_no_such_session(struct call *c)
{
	if (c->wants_page)
		page_problem(c, 404, "No such session",
		    "It has ended already, or it is not yours.");
	else
		api_not_found(c);
}

/*
 * A ref of another user answers exactly as an unknown one: nothing can be
 * learned by trying. False: answered.
 */
static bool
find_own_ref(struct call *c, struct sgate_bytes text, struct sgate_ref *out_ref)
{
	struct sgate_session *found = NULL;
	enum sgate_status status = SGATE_NOT_FOUND;
	bool is_own = false;

	if (sgate_ref_parse(text, out_ref) == SGATE_OK)
		status = sgate_session_get_by_ref(
		    c->gw->mgr, out_ref, &found, &c->err);
	if (status == SGATE_OK)
		is_own = bytes_equal(sgate_session_get_user_id(found),
		    sgate_session_get_user_id(c->session));
	sgate_session_free(found);
	if (is_own)
		return true;
	if (status == SGATE_OK || status == SGATE_NOT_FOUND)
		answer_no_such_session(c);
	else
		api_fail(c, status);
	return false;
}

static void
serve_sessions_end(struct call *c, const struct api_path *path)
{
	enum sgate_reason reason = SGATE_REASON_REVOKED;
	enum sgate_status status;
	struct sgate_ref ref;

	if (!find_own_ref(c, path->part[1], &ref))
		return;
	if (is_current(c, &ref))
		reason = SGATE_REASON_LOGGED_OUT;
	status = sgate_session_end(c->gw->mgr, &ref, reason, &c->err);
	if (status == SGATE_NOT_FOUND) {
		answer_no_such_session(c);
		return;
	}
	if (status != SGATE_OK) {
		api_fail(c, status);
		return;
	}
	call_count_ended(c, 1);
	if (reason == SGATE_REASON_LOGGED_OUT) {
		call_clear_cookie(c);
		answer_ended(c, page_logged_out, "Logged out", 1);
	} else {
		answer_ended(c, page_done, "Session ended", 1);
	}
}

static void
serve_sessions_end_others(struct call *c, const struct api_path *path)
{
	enum sgate_status status;
	uint64_t count = 0;

	(void)path;
	status = sgate_user_cleanup(c->gw->mgr,
	    sgate_session_get_user_id(c->session),
	    sgate_session_get_ref(c->session), SGATE_REASON_REVOKED, &count,
	    &c->err);
	if (status != SGATE_OK) {
		api_fail(c, status);
		return;
	}
	call_count_ended(c, count);
	answer_ended(c, page_done, "Other sessions ended", count);
}

static void
serve_health(struct call *c, const struct api_path *path)
{
	(void)path;
	api_status_public(c);
}

/* The script's ETag: it changes with a release. */
static const char *
script_etag(void)
{
	static char text[2 + 2 * crypto_generichash_BYTES_MIN + 1];
	unsigned char hash[crypto_generichash_BYTES_MIN];

	if (text[0] != '\0')
		return text;
	crypto_generichash(hash, sizeof(hash),
	    (const unsigned char *)sessgate_js, sizeof(sessgate_js) - 1, NULL,
	    0);
	text[0] = '"';
	sodium_bin2hex(text + 1, sizeof(text) - 1, hash, sizeof(hash));
	text[sizeof(text) - 2] = '"';
	return text;
}

static void
serve_script(struct call *c, const struct api_path *path)
{
	const char *etag = script_etag();
	bool is_known = api_etag_listed(c->req->if_none_match, etag, true);

	(void)path;
	reply_begin_public(&c->reply, is_known ? 304 : 200);
	reply_header(&c->reply, "ETag", bytes_of(etag));
	if (is_known) {
		reply_no_body(&c->reply);
		return;
	}
	reply_body(&c->reply, "text/javascript; charset=utf-8");
	buf_add(c->reply.out, sessgate_js, sizeof(sessgate_js) - 1);
}

/* ---- dispatch ---- */

#define BODY_NONE BODY_JSON
#define BODY_F (BODY_JSON | BODY_FORM)
#define NEEDS_OWNER (NEEDS_SESSION | NEEDS_USER)

static const struct api_route browser_routes[] = {
    {"session", REQUEST_GET, 0, NEEDS_SESSION, serve_session, 0},
    {"session", REQUEST_PATCH, BODY_JSON | BODY_MERGE_PATCH | BODY_REQUIRED,
	NEEDS_SESSION, serve_session_patch, TALLY_CHANGE},
    {"session", REQUEST_DELETE, BODY_NONE, NEEDS_TOKEN, serve_logout,
	TALLY_END},
    {"session/extend", REQUEST_POST, BODY_NONE, NEEDS_SESSION,
	serve_session_extend, TALLY_CHANGE},
    {"session/rotate", REQUEST_POST, BODY_NONE, NEEDS_SESSION,
	serve_session_rotate, TALLY_CHANGE},
    {"login", REQUEST_POST, BODY_F, NEEDS_TOKEN | IS_LOGIN, api_login,
	TALLY_CREATE},
    {"login", REQUEST_GET, 0, NEEDS_TOKEN | IS_LOGIN, api_login_page, 0},
    {"logout", REQUEST_POST, BODY_F, NEEDS_TOKEN, serve_logout, TALLY_END},
    {"logout", REQUEST_GET, 0, NEEDS_TOKEN, serve_logout_page, 0},
    {"state", REQUEST_GET, 0, SESSION_OPTIONAL | LOOKS_ONLY, serve_state, 0},
    {"csrf", REQUEST_GET, 0, NEEDS_SESSION, serve_csrf, 0},
    {"sessions", REQUEST_GET, 0, NEEDS_OWNER, serve_sessions, 0},
    {"sessions/*", REQUEST_DELETE, BODY_NONE, NEEDS_OWNER | NEEDS_FRESH,
	serve_sessions_end, TALLY_END},
    {"sessions/*/end", REQUEST_POST, BODY_F, NEEDS_OWNER | NEEDS_FRESH,
	serve_sessions_end, TALLY_END},
    {"sessions/end-others", REQUEST_POST, BODY_F, NEEDS_OWNER | NEEDS_FRESH,
	serve_sessions_end_others, TALLY_END},
    {"health", REQUEST_GET, 0, 0, serve_health, 0},
    {"sessgate.js", REQUEST_GET, 0, 0, serve_script, 0},
};

/* The session, or the cookie alone, as the route needs it. */
static enum sgate_reason
find_caller(struct call *c, unsigned needs)
{
	unsigned flags = (needs & LOOKS_ONLY) != 0
			     ? SGATE_NO_TOUCH | SGATE_IN_MAINTENANCE
			     : 0;
	enum sgate_reason reason;

	if ((needs & NEEDS_TOKEN) != 0) {
		reason = call_find_token(c);
		return reason == SGATE_REASON_NONE ? SGATE_REASON_OK : reason;
	}
	if ((needs & LOOKS_ONLY) != 0 && call_glance(c))
		return SGATE_REASON_OK;
	reason = call_load_session(c, flags);
	if (reason != SGATE_REASON_OK) {
		if ((needs & SESSION_OPTIONAL) != 0 &&
		    reason != SGATE_REASON_AMBIGUOUS &&
		    reply_reason(reason)->api_status == 401)
			return SGATE_REASON_OK;
		return reason;
	}
	if ((needs & NEEDS_USER) != 0 && sgate_session_is_anonymous(c->session))
		return SGATE_REASON_NONE;
	if ((needs & NEEDS_FRESH) != 0 && !is_login_fresh(c))
		return SGATE_REASON_AUTH_AGE;
	return SGATE_REASON_OK;
}

/* False: answered. */
static bool
pass_csrf(struct call *c)
{
	const struct sgate_ref *ref = NULL;
	struct sgate_ref token_ref;
	struct sgate_bytes field;

	if (request_is_safe(c->req))
		return true;
	if (!body_field(c, "csrf", &field))
		return false;
	if (c->session != NULL)
		ref = sgate_session_get_ref(c->session);
	else if (call_token_ref(c, &token_ref))
		ref = &token_ref;
	if (csrf_is_ours(c->conf, manager_keys(c->gw->mgr), c->req, ref, field,
		call_now_ms(c)))
		return true;
	api_deny(c, SGATE_REASON_CSRF);
	return false;
}

/* False: answered. */
static bool
pass_listener(struct call *c, const struct api_route *route)
{
	bool is_login = (route->needs & IS_LOGIN) != 0;

	if (call_may(c, is_login ? CONF_ALLOW_REMOTE_USER : CONF_ALLOW_API))
		return true;
	if (is_login)
		api_login_unserved(c);
	else
		api_deny(c, SGATE_REASON_LISTENER);
	return false;
}

void
api_browser_serve(struct call *c, struct sgate_bytes path)
{
	const struct api_route *route;
	struct api_path parts;
	enum sgate_reason reason;

	c->wants_page = request_prefers_html(c->req);
	if (api_admin_serve(c, path))
		return;
	if (!call_may(c, CONF_ALLOW_API | CONF_ALLOW_REMOTE_USER)) {
		api_deny(c, SGATE_REASON_LISTENER);
		return;
	}
	route = api_find_route(c, browser_routes,
	    sizeof(browser_routes) / sizeof(browser_routes[0]), path, &parts);
	if (route == NULL || !pass_listener(c, route))
		return;
	if (route->needs == 0) {
		route->serve(c, &parts);
		return;
	}
	reason = call_find_realm(c);
	if (reason == SGATE_REASON_OK)
		reason = call_introduce(c,
		    (route->needs & IS_LOGIN) != 0 ? "remote-user" : "browser");
	if (reason != SGATE_REASON_OK) {
		api_deny(c, reason);
		return;
	}
	c->operation = route->operation;
	if (!request_is_safe(c->req) && !body_read(c, route->body))
		return;
	reason = find_caller(c, route->needs);
	if (reason != SGATE_REASON_OK) {
		api_deny(c, reason);
		return;
	}
	if (pass_csrf(c))
		route->serve(c, &parts);
}
