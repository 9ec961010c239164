/*
 * Where the systems that we read keep what a session is: its times, and what is
 * theirs alone. Nothing here knows how it was stored.
 */
#include "config.h"

#include "legacy_own.h"

#include <stdlib.h>
#include <string.h>

int64_t
legacy_earlier(int64_t a_ms, int64_t b_ms)
{
	if (a_ms == 0 || b_ms == 0)
		return a_ms + b_ms;
	return a_ms < b_ms ? a_ms : b_ms;
}

/* A member that is a moment as text; 0 when it is none. */
static int64_t
get_moment(struct legacy_tree *tree, const char *path)
{
	const struct legacy_value *value = legacy_find(&tree->root, path);
	int64_t ms;

	return value != NULL && value->kind == LEGACY_TEXT &&
		       legacy_parse_time(value->text, &ms)
		   ? ms
		   : 0;
}

/* The text of a member, and the member taken out. */
static void
take_text(struct legacy_tree *tree, const char *name, struct buf *out)
{
	char number[INT_TEXT_MAX];
	struct sgate_bytes text;

	if (!legacy_get_text(&tree->root, name, number, &text))
		return;
	buf_reset(out);
	buf_add_bytes(out, text);
	legacy_remove(&tree->root, name);
}

/* ---- express-session ---- */

/*
 * "cookie" is express-session's: {"originalMaxAge":ms,"expires":"ISO",...},
 * with "expires":null for one that lasts as long as the browser; then the
 * store's own time is the only one.
 */
bool
legacy_layout_connect(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree, int64_t now_ms,
    struct legacy_session *out)
{
	int64_t expires_ms = get_moment(tree, "cookie.expires"), age_ms;

	(void)settings;
	(void)raw;
	(void)now_ms;
	if (legacy_find(&tree->root, "cookie") == NULL)
		return legacy_fail(
		    tree, "it has no \"cookie\": not of express-session");
	if (legacy_get_integer(&tree->root, "cookie.originalMaxAge", &age_ms) &&
	    age_ms > 0 && age_ms < expires_ms)
		out->last_seen_ms = expires_ms - age_ms;
	out->expires_ms = legacy_earlier(out->expires_ms, expires_ms);
	legacy_remove(&tree->root, "cookie");
	return true;
}

/* ---- the Python managers that sessgate replaces ---- */

/* What only they used: a new session gets its own. */
static const char *const old_members[] = {"_created_at", "_last_activity",
    "_last_updated", "created_at", "csrf_token", "expires_at", "ip_address",
    "is_active", "last_activity", "session_fingerprint", "session_id",
    "updated_at", "user_agent", NULL};

static int64_t
first_moment(struct legacy_tree *tree, const char *a, const char *b)
{
	int64_t ms = get_moment(tree, a);

	return ms != 0 ? ms : get_moment(tree, b);
}

bool
legacy_layout_old(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree, int64_t now_ms,
    struct legacy_session *out)
{
	int64_t is_active, lifetime_ms = legacy_lifetime_ms(settings);
	size_t i;

	(void)now_ms;
	out->created_ms = first_moment(tree, "created_at", "_created_at");
	out->last_seen_ms =
	    first_moment(tree, "last_activity", "_last_activity");
	if (out->last_seen_ms == 0)
		out->last_seen_ms = get_moment(tree, "_last_updated");
	out->expires_ms =
	    legacy_earlier(out->expires_ms, get_moment(tree, "expires_at"));
	/* A key without a time to live would be for ever, by mistake. */
	if (out->expires_ms == 0 && out->last_seen_ms != 0)
		out->expires_ms = out->last_seen_ms + lifetime_ms;
	/* A row that was logged out stays there. */
	if (raw->fields != NULL &&
	    legacy_get_integer(&tree->root, "is_active", &is_active) &&
	    is_active == 0)
		out->verdict = LEGACY_ENDED;
	take_text(tree, "platform_connection_id", &out->context);
	take_text(tree, "role", &out->role);
	for (i = 0; old_members[i] != NULL; i++)
		legacy_remove(&tree->root, old_members[i]);
	return true;
}

/* ---- PHP ---- */

/*
 * Nothing of it is in the session: a file lives as long after its last change
 * as session.gc_maxlifetime says, a key as long as the store does.
 */
bool
legacy_layout_php(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree, int64_t now_ms,
    struct legacy_session *out)
{
	(void)tree;
	(void)now_ms;
	out->last_seen_ms = raw->changed_ms;
	if (raw->changed_ms != 0)
		out->expires_ms = legacy_earlier(out->expires_ms,
		    raw->changed_ms + legacy_lifetime_ms(settings));
	return true;
}

/* ---- Django ---- */

/* "_session_expiry" is what the column was reckoned from. */
bool
legacy_layout_django(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree, int64_t now_ms,
    struct legacy_session *out)
{
	static const char *const own[] = {"_auth_user_backend",
	    "_auth_user_hash", "_csrftoken", "_session_expiry", NULL};
	int64_t expires_ms;
	size_t i;

	(void)settings;
	(void)now_ms;
	/* USE_TZ or not, Django has UTC there; SQLite's is the same text. */
	if (!legacy_parse_time(raw->expiry, &expires_ms))
		return legacy_fail(tree, "its expire_date is no moment");
	out->expires_ms = legacy_earlier(out->expires_ms, expires_ms);
	for (i = 0; own[i] != NULL; i++)
		legacy_remove(&tree->root, own[i]);
	return true;
}

/* ---- CGI::Session ---- */

#define SECOND INT64_C(1000)
#define SECONDS_MAX (INT64_C(1) << 40)

/* A member in seconds, as milliseconds; 0 when it is none. */
static int64_t
get_seconds(struct legacy_value *map, const char *name)
{
	int64_t seconds;

	return legacy_get_integer(map, name, &seconds) && seconds > 0 &&
		       seconds < SECONDS_MAX
		   ? seconds * SECOND
		   : 0;
}

/* Whether the user stands in this member, or below it. */
static bool
is_user_key(
    const struct legacy_settings *settings, const struct legacy_value *member)
{
	const char *const *keys = legacy_user_keys(settings);
	struct sgate_bytes rest;
	size_t i;

	for (i = 0; keys[i] != NULL; i++) {
		rest = bytes_of(keys[i]);
		if (bytes_equal_text(member->key, keys[i]) ||
		    bytes_equal(bytes_cut(&rest, '.'), member->key))
			return true;
	}
	return false;
}

/*
 * Members with an end of their own: what is over goes. That of a user becomes
 * the session's. Another one does not come along: ours have no such thing, and
 * it must not live longer than it was given.
 */
static void
end_members(const struct legacy_settings *settings, struct legacy_tree *tree,
    int64_t now_ms, struct legacy_session *out)
{
	const struct legacy_value *list =
	    legacy_find(&tree->root, "_SESSION_EXPIRE_LIST");
	struct legacy_value *member;
	int64_t end_ms;
	char *name;

	if (list == NULL || list->kind != LEGACY_MAP)
		return;
	for (member = tree->root.first; member != NULL; member = member->next) {
		name = bytes_dup(member->key);
		if (name == NULL) {
			tree->has_no_memory = true;
			return;
		}
		end_ms = get_seconds(
		    legacy_find(&tree->root, "_SESSION_EXPIRE_LIST"), name);
		free(name);
		if (end_ms == 0)
			continue;
		end_ms += out->last_seen_ms;
		if (is_user_key(settings, member) && end_ms > now_ms) {
			out->expires_ms =
			    legacy_earlier(out->expires_ms, end_ms);
			continue;
		}
		out->dropped.ending += end_ms > now_ms;
		member->is_gone = true;
	}
}

/* "_SESSION_ETIME" seconds after the last access; without it never. */
bool
legacy_layout_cgi(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree, int64_t now_ms,
    struct legacy_session *out)
{
	static const char *const own[] = {"_SESSION_ATIME", "_SESSION_CTIME",
	    "_SESSION_ETIME", "_SESSION_EXPIRE_LIST", "_SESSION_ID",
	    "_SESSION_REMOTE_ADDR", NULL};
	int64_t idle_ms = get_seconds(&tree->root, "_SESSION_ETIME");
	size_t i;

	(void)raw;
	out->created_ms = get_seconds(&tree->root, "_SESSION_CTIME");
	out->last_seen_ms = get_seconds(&tree->root, "_SESSION_ATIME");
	if (out->last_seen_ms == 0)
		return legacy_fail(
		    tree, "it has no _SESSION_ATIME: not of CGI::Session");
	if (idle_ms == 0)
		idle_ms = legacy_lifetime_ms(settings);
	if (idle_ms != 0)
		out->expires_ms = legacy_earlier(
		    out->expires_ms, out->last_seen_ms + idle_ms);
	end_members(settings, tree, now_ms, out);
	for (i = 0; own[i] != NULL; i++)
		legacy_remove(&tree->root, own[i]);
	return true;
}

/* ---- Apache::Session ---- */

/*
 * It keeps no times. LemonLDAP::NG, which is made on it, has "_utime" (of the
 * login) and "_lastSeen". Without any, --lifetime goes by the file's.
 */
bool
legacy_layout_apache(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree, int64_t now_ms,
    struct legacy_session *out)
{
	int64_t lifetime_ms = legacy_lifetime_ms(settings);

	(void)now_ms;
	if (legacy_find(&tree->root, "_session_id") == NULL)
		return legacy_fail(
		    tree, "it has no _session_id: not of Apache::Session");
	out->created_ms = get_seconds(&tree->root, "_utime");
	out->last_seen_ms = get_seconds(&tree->root, "_lastSeen");
	if (out->last_seen_ms == 0)
		out->last_seen_ms =
		    raw->changed_ms != 0 ? raw->changed_ms : out->created_ms;
	if (lifetime_ms != 0 && out->last_seen_ms != 0)
		out->expires_ms = legacy_earlier(
		    out->expires_ms, out->last_seen_ms + lifetime_ms);
	legacy_remove(&tree->root, "_session_id");
	return true;
}

/* ---- Apache's mod_session_dbd ---- */

/* What mod_auth_form keeps of a login: "<AuthName>-user", "-pw" and "-site". */
static bool
ends_with(struct sgate_bytes text, const char *end)
{
	size_t len = strlen(end);

	return text.len > len &&
	       memcmp(text.data + text.len - len, end, len) == 0;
}

/* 0 stays 0, which is never; nothing else becomes that. */
static int64_t
ms_of_us(int64_t us)
{
	return us > 0 && us < 1000 ? 1 : us / 1000;
}

/* The column has microseconds, and 0 for never; it is in the text as well. */
bool
legacy_layout_mod_session(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree, int64_t now_ms,
    struct legacy_session *out)
{
	struct legacy_value *member;
	int64_t inside_us;
	uint64_t us = 0;

	(void)settings;
	(void)now_ms;
	if (raw->expiry.len > 0 && !bytes_to_uint(raw->expiry, INT64_MAX, &us))
		return legacy_fail(
		    tree, "its expiry is no number of microseconds");
	out->expires_ms =
	    legacy_earlier(out->expires_ms, ms_of_us((int64_t)us));
	if (legacy_get_integer(&tree->root, "expiry", &inside_us) &&
	    inside_us > 0)
		out->expires_ms =
		    legacy_earlier(out->expires_ms, ms_of_us(inside_us));
	legacy_remove(&tree->root, "expiry");
	for (member = tree->root.first; member != NULL; member = member->next) {
		if (ends_with(member->key, "-pw")) {
			out->dropped.passwords++;
			member->is_gone = true;
		} else if (ends_with(member->key, "-site")) {
			member->is_gone = true;
		}
	}
	return true;
}

/* ---- Flask-Session ---- */

/* What Flask-Login and Flask-WTF keep for themselves. The end is the key's. */
bool
legacy_layout_flask(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree, int64_t now_ms,
    struct legacy_session *out)
{
	static const char *const own[] = {
	    "_fresh", "_id", "_permanent", "csrf_token", NULL};
	size_t i;

	(void)settings;
	(void)raw;
	(void)now_ms;
	(void)out;
	for (i = 0; own[i] != NULL; i++)
		legacy_remove(&tree->root, own[i]);
	return true;
}
