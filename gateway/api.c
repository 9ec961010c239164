#include "config.h"

#include "api.h"

#include "clock.h"
#include "log.h"
#include "page.h"
#include "rate.h"
#include "session_manager.h"

#include <stdio.h>
#include <string.h>

/* ---- routes ---- */

static void
split_path(struct sgate_bytes path, struct api_path *out)
{
	memset(out, 0, sizeof(*out));
	do {
		struct sgate_bytes part = bytes_cut(&path, '/');

		if (out->count == API_PARTS_MAX) {
			out->count = API_PARTS_MAX + 1;
			return;
		}
		out->part[out->count++] = part;
	} while (path.data != NULL);
}

static bool
pattern_matches(const char *pattern, const struct api_path *path)
{
	struct api_path want;
	size_t i;

	split_path(bytes_of(pattern), &want);
	if (want.count != path->count)
		return false;
	for (i = 0; i < want.count; i++)
		if (path->part[i].len == 0 ||
		    (!bytes_equal_text(want.part[i], "*") &&
			!bytes_equal(want.part[i], path->part[i])))
			return false;
	return true;
}

static void
method_not_allowed(struct call *c, unsigned methods)
{
	static const struct {
		unsigned method;
		const char *text;
	} names[] = {
	    {REQUEST_GET, "GET, HEAD"},
	    {REQUEST_POST, "POST"},
	    {REQUEST_PUT, "PUT"},
	    {REQUEST_PATCH, "PATCH"},
	    {REQUEST_DELETE, "DELETE"},
	};
	struct buf allow = {0};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if ((methods & names[i].method) == 0)
			continue;
		if (allow.len > 0)
			buf_add_text(&allow, ", ");
		buf_add_text(&allow, names[i].text);
	}
	reply_begin(&c->reply, 405);
	reply_header(&c->reply, "Allow", buf_bytes(&allow));
	/* A person who opens a button's address, or loads its answer again. */
	if (c->wants_page)
		page_problem_body(c, "No page is here",
		    "This address is for a button of another page.");
	else
		reply_problem_body(
		    &c->reply, "method", "Method not allowed", NULL);
	buf_clear(&allow);
}

const struct api_route *
api_find_route(struct call *c, const struct api_route *routes, size_t count,
    struct sgate_bytes path, struct api_path *out_path)
{
	enum request_method method = c->req->method;
	unsigned methods = 0;
	size_t i;

	if (method == REQUEST_HEAD)
		method = REQUEST_GET;
	split_path(path, out_path);
	for (i = 0; i < count; i++) {
		if (!pattern_matches(routes[i].pattern, out_path))
			continue;
		if (routes[i].method == method)
			return &routes[i];
		methods |= routes[i].method;
	}
	if (methods != 0)
		method_not_allowed(c, methods);
	else
		api_not_found(c);
	return NULL;
}

/* ---- refusals ---- */

static const char *
problem_title(int status)
{
	switch (status) {
	case 400:
		return "Bad request";
	case 401:
		return "Not authorized";
	case 403:
		return "Not allowed";
	case 404:
		return "Not found";
	case 409:
		return "Conflict";
	case 412:
		return "Changed meanwhile";
	case 413:
		return "Too large";
	case 503:
		return "Unavailable";
	default:
		return "Refused";
	}
}

void
api_problem(struct call *c, int status, const char *code, const char *detail)
{
	if (c->wants_page)
		page_problem(c, status, problem_title(status), detail);
	else
		reply_problem(
		    &c->reply, status, code, problem_title(status), detail);
}

void
api_not_found(struct call *c)
{
	api_problem(c, 404, "not_found", NULL);
}

void
api_refuse_member(
    struct call *c, int status, const char *code, const char *name)
{
	api_problem(c, status, code, strlen(name) > 64 ? NULL : name);
}

static void
deny(struct call *c, enum sgate_reason reason, const char *detail)
{
	const struct reply_reason *row = reply_reason(reason);
	struct sgate_maintenance_state state;

	call_note_denial(c, reason);
	if (reason == SGATE_REASON_MAINTENANCE && detail == NULL) {
		call_maintenance(c, &state);
		detail = state.reason[0] != '\0' ? state.reason : NULL;
	}
	call_set_retry_after(c, reason);
	reply_begin(&c->reply, row->api_status);
	if (c->conf->gateway.expose_reason)
		reply_header(&c->reply, "X-Session-Reason",
		    bytes_of(sgate_reason_text(reason)));
	if (!c->wants_page) {
		reply_problem_body(&c->reply, row->shown, row->title, detail);
		return;
	}
	if (row->api_status == 503 || row->api_status == 429)
		reply_retry_after(&c->reply);
	page_refusal(c, reason, c->conf->gateway.login_url, detail);
}

void
api_deny(struct call *c, enum sgate_reason reason)
{
	deny(c, reason, NULL);
}

bool
api_count_login(struct call *c, struct sgate_bytes address)
{
	static struct log_limit limit = {.burst = 10, .period_ms = 60000};
	int max = c->conf->limit.login_per_minute;
	int64_t now_ms = clock_monotonic_ms();
	unsigned char parsed[16];

	if (max == 0 || c->gw->shared == NULL ||
	    address_parse(address, parsed) == 0 ||
	    request_is_trusted(address, c->conf->gateway.trusted_proxies) ||
	    rate_take(&c->gw->shared->logins, address, (unsigned)max, now_ms))
		return true;
	log_limited(&limit, LOG_LEVEL_NOTICE,
	    "logins from %.*s: more than %d in a minute "
	    "(limit.login_per_minute), refused until it is over; if that is "
	    "a proxy of yours, name it in gateway.trusted_proxies",
	    (int)address.len, address.data, max);
	c->reply.retry_after_s = rate_wait_s(now_ms);
	api_deny(c, SGATE_REASON_RATE);
	return false;
}

void
api_fail_told(struct call *c, enum sgate_status status)
{
	if (status != SGATE_UNAVAILABLE && status != SGATE_UNCERTAIN) {
		api_fail(c, status);
		return;
	}
	call_note_error(c, "settings");
	deny(c, SGATE_REASON_STORE, c->err.text);
}

void
api_fail(struct call *c, enum sgate_status status)
{
	if (call_reason(c, status) == SGATE_REASON_MAINTENANCE) {
		api_deny(c, SGATE_REASON_MAINTENANCE);
		return;
	}
	switch (status) {
	case SGATE_INVALID:
		api_problem(c, 400, "invalid", c->err.text);
		return;
	case SGATE_TOO_LARGE:
		api_problem(c, 413, "too_large", c->err.text);
		return;
	case SGATE_CONFLICT:
		api_problem(c, 409, "conflict", c->err.text);
		return;
	case SGATE_NOT_FOUND:
	case SGATE_DENIED:
		api_deny(c, call_reason(c, status));
		return;
	case SGATE_OK:
	case SGATE_CORRUPT:
	case SGATE_UNAVAILABLE:
	case SGATE_UNCERTAIN:
	case SGATE_NO_MEMORY:
	case SGATE_INTERNAL:
		break;
	}
	call_note_error(c, "api");
	deny(c, SGATE_REASON_STORE,
	    manager_is_recorded(&c->err) ? c->err.text : NULL);
}

/* ---- JSON ---- */

void
api_json_begin(struct call *c, int status, struct json *j)
{
	reply_begin(&c->reply, status);
	reply_body(&c->reply, "application/json");
	json_init(j, c->reply.out);
	json_object(j, NULL);
}

void
api_json_end(struct call *c, struct json *j)
{
	json_end(j);
	buf_add_char(c->reply.out, '\n');
}

void
api_json_seconds(struct json *j, const char *key, int64_t ms)
{
	if (ms == 0)
		json_null(j, key);
	else
		json_int(j, key, ms / 1000);
}

void
api_json_optional(struct json *j, const char *key, struct sgate_bytes value)
{
	if (value.len == 0)
		json_null(j, key);
	else
		json_string(j, key, value);
}

void
api_json_ref(struct json *j, const char *key, const struct sgate_ref *ref)
{
	char text[SGATE_REF_HEX + 1];

	sgate_ref_text(ref, text);
	json_text(j, key, text);
}

void
api_json_session(struct json *j, const struct sgate_session *s)
{
	size_t i;

	api_json_ref(j, "ref", sgate_session_get_ref(s));
	api_json_optional(j, "user_id", sgate_session_get_user_id(s));
	json_string(j, "realm", sgate_session_get_realm(s));
	json_array(j, "roles");
	for (i = 0; i < sgate_session_count_roles(s); i++)
		json_string(j, NULL, sgate_session_get_role_at(s, i));
	json_end(j);
	api_json_optional(j, "context", sgate_session_get_context(s));
	json_array(j, "contexts");
	for (i = 0; i < sgate_session_count_contexts(s); i++)
		json_string(j, NULL, sgate_session_get_context_at(s, i));
	json_end(j);
	api_json_seconds(j, "created_at", sgate_session_get_created_ms(s));
	api_json_seconds(j, "auth_at", sgate_session_get_auth_ms(s));
	api_json_seconds(j, "last_seen_at", sgate_session_get_last_seen_ms(s));
	api_json_seconds(
	    j, "idle_expires_at", sgate_session_get_idle_expires_ms(s));
	api_json_seconds(j, "expires_at", sgate_session_get_expires_ms(s));
	json_int(j, "version", (int64_t)sgate_session_get_version(s));
}

/* ---- conditional requests: no web server does them for us ---- */

void
api_etag(const struct sgate_session *session, char out[API_ETAG_MAX])
{
	char ref[SGATE_REF_HEX + 1];

	sgate_ref_text(sgate_session_get_ref(session), ref);
	snprintf(out, API_ETAG_MAX, "\"%s.%llu\"", ref,
	    (unsigned long long)sgate_session_get_version(session));
}

bool
api_etag_listed(struct sgate_bytes list, const char *etag, bool is_weak)
{
	while (list.len > 0) {
		struct sgate_bytes item = bytes_trim(bytes_cut(&list, ','));

		if (is_weak && item.len > 2 &&
		    memcmp(item.data, "W/", 2) == 0) {
			item.data += 2;
			item.len -= 2;
		}
		if (bytes_equal_text(item, "*") || bytes_equal_text(item, etag))
			return true;
	}
	return false;
}

/* The version that a strong tag of this session names; 0: it is none. */
static uint64_t
etag_version(struct sgate_bytes tag, const struct sgate_session *session)
{
	char ref[SGATE_REF_HEX + 1];
	uint64_t version;

	sgate_ref_text(sgate_session_get_ref(session), ref);
	if (tag.len < SGATE_REF_HEX + 4 || tag.data[0] != '"' ||
	    tag.data[tag.len - 1] != '"' ||
	    memcmp(tag.data + 1, ref, SGATE_REF_HEX) != 0 ||
	    tag.data[1 + SGATE_REF_HEX] != '.')
		return 0;
	tag.data += SGATE_REF_HEX + 2;
	tag.len -= SGATE_REF_HEX + 3;
	return bytes_to_uint(tag, INT64_MAX, &version) ? version : 0;
}

bool
api_if_match(
    struct call *c, const struct sgate_session *session, uint64_t *out_version)
{
	struct sgate_bytes list = c->req->if_match;
	uint64_t loaded = sgate_session_get_version(session);
	uint64_t newest = 0;

	*out_version = 0;
	if (list.len == 0 || bytes_equal_text(list, "*"))
		return true;
	while (list.len > 0 && newest != loaded) {
		struct sgate_bytes tag = bytes_trim(bytes_cut(&list, ','));
		uint64_t version = etag_version(tag, session);

		if (version == loaded || version > newest)
			newest = version;
	}
	/* A copy may be behind its row, never ahead of it. */
	if (newest < loaded) {
		api_problem(c, 412, "version",
		    "the session has changed since that version");
		return false;
	}
	*out_version = newest;
	return true;
}
