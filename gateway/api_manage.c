/*
 * The routes for programs that manage sessions of others: by ref, by user, and
 * the audit trail. All within one realm: a ref of another realm answers
 * exactly as an unknown one.
 */
#include "config.h"

#include "api_programs.h"

#include "form.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define LIST_DEFAULT 100
#define LIST_MAX 1000

/* ?limit=. False: answered. */
static bool
read_limit(struct call *c, size_t *out_limit)
{
	struct buf buf = {0};
	struct sgate_bytes text;
	uint64_t limit = LIST_DEFAULT;
	bool is_ok = api_query(c, "limit", &buf, &text);

	if (is_ok && text.data != NULL &&
	    (!bytes_to_uint(text, LIST_MAX, &limit) || limit == 0)) {
		api_problem(c, 400, "invalid", "limit: is not 1 to 1000");
		is_ok = false;
	}
	buf_clear(&buf);
	*out_limit = (size_t)limit;
	return is_ok;
}

/*
 * Why it is ended: ?reason=, or `reason` in the body; default revoked. Only
 * reasons that say how a session ended.
 */
static bool
parse_reason(struct sgate_bytes text, enum sgate_reason *out_reason)
{
	int i;

	for (i = SGATE_REASON_LOGGED_OUT; i <= SGATE_REASON_BINDING; i++)
		if (bytes_equal_text(
			text, sgate_reason_text((enum sgate_reason)i))) {
			*out_reason = (enum sgate_reason)i;
			return true;
		}
	return false;
}

static bool
read_reason(struct call *c, enum sgate_reason *out_reason)
{
	struct buf buf = {0};
	struct sgate_bytes text;
	bool is_ok;

	*out_reason = SGATE_REASON_REVOKED;
	is_ok = api_query(c, "reason", &buf, &text) && body_json(c) &&
		(text.data != NULL || api_string(c, "reason", &text));
	if (is_ok && text.data != NULL && !parse_reason(text, out_reason)) {
		api_problem(c, 400, "invalid",
		    "reason: is none that a session can end with");
		is_ok = false;
	}
	buf_clear(&buf);
	return is_ok;
}

static void
answer_count(struct call *c, const char *key, uint64_t count)
{
	struct json j;

	api_json_begin(c, 200, &j);
	json_int(&j, key, (int64_t)count);
	api_json_end(c, &j);
}

/* ---- one session ---- */

/* What the library says of a ref; NOT_FOUND is a plain 404 to all. */
static void
fail_ref(struct call *c, enum sgate_status status)
{
	if (status == SGATE_NOT_FOUND)
		api_not_found(c);
	else
		api_fail(c, status);
}

static void
answer_one(struct call *c, const struct sgate_session *s)
{
	char etag[API_ETAG_MAX];
	struct json j;

	api_etag(s, etag);
	reply_begin(&c->reply, 200);
	reply_header(&c->reply, "ETag", bytes_of(etag));
	reply_body(&c->reply, "application/json");
	json_init(&j, c->reply.out);
	api_json_session_full(&j, NULL, s, true);
	buf_add_char(c->reply.out, '\n');
}

/* ?state=any: the row whatever became of it, and why. */
static void
answer_any(struct call *c, const struct sgate_session *s)
{
	enum sgate_reason reason = s->end_reason;
	const char *state = "ended";
	struct json j;

	if (s->state == SESSION_LIVE) {
		reason = manager_why_gone(c->gw->mgr, s);
		if (reason == SGATE_REASON_OK)
			state = "live";
		else if (reason != SGATE_REASON_FLUSHED)
			state = "expired";
	}
	api_json_begin(c, 200, &j);
	json_text(&j, "state", state);
	if (reason == SGATE_REASON_OK)
		json_null(&j, "end_reason");
	else
		json_text(&j, "end_reason", sgate_reason_text(reason));
	api_json_seconds(&j, "ended_at", s->ended_ms);
	api_json_session_full(&j, "session", s, true);
	api_json_end(c, &j);
}

void
api_session_show(struct call *c, const struct api_path *path)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;
	struct sgate_bytes state;
	struct buf buf = {0};
	struct sgate_ref ref;
	bool is_any = false, is_ok;

	is_ok = api_query(c, "state", &buf, &state);
	if (is_ok && state.data != NULL) {
		is_any = bytes_equal_text(state, "any");
		if (!is_any && !bytes_equal_text(state, "live")) {
			api_problem(c, 400, "invalid", "state: live or any");
			is_ok = false;
		}
	}
	buf_clear(&buf);
	if (!is_ok)
		return;
	if (sgate_ref_parse(path->part[1], &ref) != SGATE_OK)
		status = SGATE_NOT_FOUND;
	else if (is_any)
		status =
		    manager_session_any(c->gw->mgr, &ref, &session, &c->err);
	else
		status = sgate_session_get_by_ref(
		    c->gw->mgr, &ref, &session, &c->err);
	if (status != SGATE_OK)
		fail_ref(c, status);
	else if (is_any)
		answer_any(c, session);
	else
		answer_one(c, session);
	sgate_session_free(session);
}

struct change {
	struct sgate_update update;
	struct sgate_bytes *contexts, *roles;
	struct buf data, context;
};

static void
change_clear(struct change *n)
{
	free(n->contexts);
	free(n->roles);
	buf_wipe(&n->data);
	buf_wipe(&n->context);
}

/* A context of null clears it. False: answered. */
static bool
read_change(struct call *c, struct change *n)
{
	static const char *const names[] = {"data", "context",
	    "platform_connection_id", "contexts", "roles", "idle_timeout",
	    NULL};
	struct sgate_update *update = &n->update;

	if (!api_only(c, names, 403, "not_writable") ||
	    !api_object(c, "data", &n->data, &update->data_patch) ||
	    !api_strings(
		c, "contexts", &n->contexts, &update->contexts_count) ||
	    !api_strings(c, "roles", &n->roles, &update->roles_count) ||
	    !api_duration(c, "idle_timeout", &update->idle_timeout_ms))
		return false;
	if (data_kind(c->body.json, "context") == DATA_NULL)
		update->context = bytes_of("");
	else if (!api_context(c, &n->context, &update->context))
		return false;
	update->set_contexts =
	    data_kind(c->body.json, "contexts") != DATA_ABSENT;
	update->contexts = n->contexts;
	update->set_roles = data_kind(c->body.json, "roles") != DATA_ABSENT;
	update->roles = n->roles;
	return api_may_grant(c, update->roles, update->roles_count);
}

static void
apply_change(struct call *c, const struct sgate_ref *ref, struct change *n)
{
	struct sgate_session *session = NULL, *changed = NULL;
	enum sgate_status status;

	status = sgate_session_get_by_ref(c->gw->mgr, ref, &session, &c->err);
	if (status != SGATE_OK) {
		fail_ref(c, status);
		return;
	}
	if (!api_if_match(c, session, &n->update.if_version))
		goto out;
	if (data_member_at(c->body.json, 0) == NULL) {
		answer_one(c, session);
		goto out;
	}
	status = sgate_session_update(
	    c->gw->mgr, ref, &n->update, &changed, &c->err);
	if (status == SGATE_OK) {
		call_count(c, TALLY_CHANGED);
		answer_one(c, changed);
	} else if (status == SGATE_CONFLICT) {
		api_problem(c, 412, "version",
		    "the session has changed since that version");
	} else {
		fail_ref(c, status);
	}
out:
	sgate_session_free(changed);
	sgate_session_free(session);
}

void
api_session_patch(struct call *c, const struct api_path *path)
{
	struct sgate_ref ref;
	struct change n;

	if (sgate_ref_parse(path->part[1], &ref) != SGATE_OK) {
		api_not_found(c);
		return;
	}
	memset(&n, 0, sizeof(n));
	if (body_json(c) && read_change(c, &n))
		apply_change(c, &ref, &n);
	change_clear(&n);
}

void
api_session_delete(struct call *c, const struct api_path *path)
{
	enum sgate_status status = SGATE_NOT_FOUND;
	enum sgate_reason reason;
	struct sgate_ref ref;

	if (!read_reason(c, &reason))
		return;
	if (sgate_ref_parse(path->part[1], &ref) == SGATE_OK)
		status = sgate_session_end(c->gw->mgr, &ref, reason, &c->err);
	if (status != SGATE_OK) {
		fail_ref(c, status);
		return;
	}
	call_count_ended(c, 1);
	answer_count(c, "ended", 1);
}

/* ---- a user ---- */

/* From the path, or for users/sessions and users/block from ?user_id=. */
static bool
read_user(struct call *c, const struct api_path *path, struct buf *buf,
    struct sgate_bytes *out_user)
{
	if (path->count == 2) {
		if (!api_query(c, "user_id", buf, out_user))
			return false;
	} else if (form_decode_segment(path->part[1], buf)) {
		*out_user = buf_bytes(buf);
	} else {
		memset(out_user, 0, sizeof(*out_user));
	}
	if (out_user->len > 0)
		return true;
	api_problem(c, 400, "invalid", "user_id: cannot be read");
	return false;
}

static void
answer_sessions(struct call *c, const struct sgate_list *list)
{
	struct json j;
	size_t i;

	api_json_begin(c, 200, &j);
	json_array(&j, "sessions");
	for (i = 0; i < sgate_list_count(list); i++)
		api_json_session_full(&j, NULL, sgate_list_get(list, i), false);
	json_end(&j);
	api_json_end(c, &j);
}

void
api_user_sessions(struct call *c, const struct api_path *path)
{
	struct sgate_list *list = NULL;
	struct sgate_bytes user;
	struct buf buf = {0};
	enum sgate_status status;
	size_t limit;

	if (read_limit(c, &limit) && read_user(c, path, &buf, &user)) {
		status = sgate_user_sessions(
		    c->gw->mgr, user, limit, &list, &c->err);
		if (status == SGATE_OK)
			answer_sessions(c, list);
		else
			api_fail(c, status);
	}
	sgate_list_free(list);
	buf_clear(&buf);
}

/* ?except=REF. False: answered. */
static bool
read_except(struct call *c, struct sgate_ref *out_ref, bool *out_has)
{
	struct buf buf = {0};
	struct sgate_bytes text;
	bool is_ok = api_query(c, "except", &buf, &text);

	*out_has = is_ok && text.data != NULL;
	if (*out_has && sgate_ref_parse(text, out_ref) != SGATE_OK) {
		api_problem(c, 400, "invalid", "except: is not a ref");
		is_ok = false;
	}
	buf_clear(&buf);
	return is_ok;
}

void
api_user_cleanup(struct call *c, const struct api_path *path)
{
	enum sgate_reason reason;
	enum sgate_status status;
	struct sgate_ref except;
	struct sgate_bytes user;
	struct buf buf = {0};
	uint64_t count = 0;
	bool has_except;

	if (read_except(c, &except, &has_except) && read_reason(c, &reason) &&
	    read_user(c, path, &buf, &user)) {
		status = sgate_user_cleanup(c->gw->mgr, user,
		    has_except ? &except : NULL, reason, &count, &c->err);
		if (status == SGATE_OK) {
			call_count_ended(c, count);
			answer_count(c, "ended", count);
		} else {
			api_fail(c, status);
		}
	}
	buf_clear(&buf);
}

void
api_user_block(struct call *c, const struct api_path *path)
{
	struct sgate_bytes user, reason = {NULL, 0};
	struct buf buf = {0};
	enum sgate_status status;
	uint64_t count = 0;
	struct json j;

	if (body_json(c) && api_string(c, "reason", &reason) &&
	    read_user(c, path, &buf, &user)) {
		status =
		    sgate_user_block(c->gw->mgr, user, reason, &count, &c->err);
		if (status == SGATE_OK) {
			call_count_ended(c, count);
			api_json_begin(c, 200, &j);
			json_bool(&j, "blocked", true);
			json_int(&j, "ended", (int64_t)count);
			api_json_end(c, &j);
		} else {
			api_fail(c, status);
		}
	}
	buf_clear(&buf);
}

void
api_user_unblock(struct call *c, const struct api_path *path)
{
	struct sgate_bytes user;
	struct buf buf = {0};
	enum sgate_status status;
	struct json j;

	if (read_user(c, path, &buf, &user)) {
		status = sgate_user_unblock(c->gw->mgr, user, &c->err);
		if (status == SGATE_OK) {
			api_json_begin(c, 200, &j);
			json_bool(&j, "blocked", false);
			api_json_end(c, &j);
		} else {
			api_fail(c, status);
		}
	}
	buf_clear(&buf);
}

/* ---- audit ---- */

struct audit_answer {
	struct json j;
	size_t count;
	unsigned char last[DURABLE_EVENT_BYTES];
};

static int
add_event(void *arg, const struct durable_audit *e)
{
	struct audit_answer *a = arg;
	char id[2 * DURABLE_EVENT_BYTES + 1];
	char address[46] = "";

	sodium_bin2hex(id, sizeof(id), e->event_id, sizeof(e->event_id));
	if (e->client_ip_len > 0)
		address_text(e->client_ip, e->client_ip_len, address);
	json_object(&a->j, NULL);
	json_text(&a->j, "event_id", id);
	api_json_seconds(&a->j, "at", e->at_ms);
	json_text(&a->j, "host", e->host);
	json_text(&a->j, "actor", e->actor);
	json_text(&a->j, "kind", e->kind);
	if (e->reason == SGATE_REASON_OK)
		json_null(&a->j, "reason");
	else
		json_text(&a->j, "reason", sgate_reason_text(e->reason));
	if (e->has_ref)
		api_json_ref(&a->j, "ref", &e->ref);
	else
		json_null(&a->j, "ref");
	json_text(&a->j, "realm", e->realm);
	api_json_optional(&a->j, "user_id", bytes_of(e->user));
	api_json_optional(&a->j, "client_ip", bytes_of(address));
	api_json_optional(&a->j, "detail", bytes_of(e->detail));
	json_end(&a->j);
	memcpy(a->last, e->event_id, sizeof(a->last));
	a->count++;
	return 0;
}

struct audit_query {
	struct durable_audit_filter filter;
	struct buf user, ref, kind, since, cursor;
	struct sgate_ref ref_bytes;
	unsigned char before[DURABLE_EVENT_BYTES];
};

static void
audit_query_clear(struct audit_query *q)
{
	buf_clear(&q->user);
	buf_clear(&q->ref);
	buf_clear(&q->kind);
	buf_clear(&q->since);
	buf_clear(&q->cursor);
}

static bool
refuse_filter(struct call *c, const char *detail)
{
	api_problem(c, 400, "invalid", detail);
	return false;
}

static bool
read_audit_query(struct call *c, struct audit_query *q)
{
	struct sgate_bytes ref, since, cursor;
	uint64_t seconds;
	size_t len = 0;

	if (!read_limit(c, &q->filter.limit) ||
	    !api_query(c, "user", &q->user, &q->filter.user) ||
	    !api_query(c, "kind", &q->kind, &q->filter.kind) ||
	    !api_query(c, "ref", &q->ref, &ref) ||
	    !api_query(c, "since", &q->since, &since) ||
	    !api_query(c, "cursor", &q->cursor, &cursor))
		return false;
	if (ref.data != NULL) {
		if (sgate_ref_parse(ref, &q->ref_bytes) != SGATE_OK)
			return refuse_filter(c, "ref: is not a ref");
		q->filter.ref = &q->ref_bytes;
	}
	if (since.data != NULL) {
		if (!bytes_to_uint(since, INT64_MAX / 1000, &seconds))
			return refuse_filter(c, "since: is not UTC seconds");
		q->filter.since_ms = (int64_t)seconds * 1000;
	}
	if (cursor.data == NULL)
		return true;
	if (sodium_hex2bin(q->before, sizeof(q->before), cursor.data,
		cursor.len, NULL, &len, NULL) != 0 ||
	    cursor.len != 2 * sizeof(q->before) || len != sizeof(q->before))
		return refuse_filter(c, "cursor: is none of ours");
	q->filter.before_event_id = q->before;
	return true;
}

/* cursor: for the next page; null when this was the last. */
void
api_audit(struct call *c, const struct api_path *path)
{
	char id[2 * DURABLE_EVENT_BYTES + 1];
	struct audit_answer a;
	struct audit_query q;
	enum sgate_status status;

	(void)path;
	memset(&a, 0, sizeof(a));
	memset(&q, 0, sizeof(q));
	if (!read_audit_query(c, &q)) {
		audit_query_clear(&q);
		return;
	}
	api_json_begin(c, 200, &a.j);
	json_array(&a.j, "events");
	status =
	    manager_audit_list(c->gw->mgr, &q.filter, add_event, &a, &c->err);
	json_end(&a.j);
	if (status == SGATE_OK && a.count == q.filter.limit) {
		sodium_bin2hex(id, sizeof(id), a.last, sizeof(a.last));
		json_text(&a.j, "cursor", id);
	} else {
		json_null(&a.j, "cursor");
	}
	api_json_end(c, &a.j);
	if (status != SGATE_OK)
		api_fail(c, status);
	audit_query_clear(&q);
}
