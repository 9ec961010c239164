/*
 * From a token to an identity: what a check asks for, thousands of times a
 * second. The local cache answers when nothing can have made its entry wrong
 * unnoticed (local.h); everything else is a look (manager_look.c).
 *
 * | how this host hears of changes | an entry counts while                    |
 * | TRACKED (it listens to Redis)  | the lease holds, and the last round that |
 * |                                | dropped what had changed in its group is |
 * |                                | young; or, while the durable store is    |
 * |                                | given up, not older than max_blind       |
 * | POLLED                         | that round began less than cache.lease   |
 * |                                | ago, nobody would ask Redis, and a row   |
 * |                                | alone is enough (manager_rows_have_ends) |
 *
 * And in both: no number has fallen (fence.h), this host knows what time it is
 * in the durable store, and nothing has ended here that no store has yet. An
 * entry that has expired, or of which activity cannot be noted, is left to the
 * look. It refuses by itself who is flushed or held back (settings.h): what was
 * set for all must not send all of them to the stores.
 *
 * The lease is judged first, and then the entry is copied, whose ticket is
 * looked at behind that: what is no entry any more by then was dropped for what
 * the lease stands for. The other way round an entry that was copied while
 * there was no lease would be believed by one that came after its drop.
 *
 * What a look finds is remembered only by a ticket that was taken before the
 * first store was asked; what the look believed it judged by the fence as it
 * was after the reply.
 */
#include "config.h"

#include "manager.h"

#include <string.h>

#include <sodium.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* ---- from the local cache ---- */

static bool
is_open(const struct breaker *breaker)
{
	return breaker_state(breaker) == BREAKER_OPEN;
}

static bool
is_trusted(const struct sgate_manager *mgr, unsigned group, int64_t now_boot_ms)
{
	const struct sgate_conf *conf = mgr->conf;
	enum fence_trust trust;
	int64_t age_ms;

	trust = fence_age(&mgr->stores->fence,
	    atomic_load(&mgr->stores->fence.heard_ms[group]),
	    conf->fence.poll_interval_ms, conf->fence.max_blind_ms, now_boot_ms,
	    &age_ms);
	if (trust == FENCE_NO)
		return false;
	if (local_get_mode(mgr->local) == LOCAL_POLLED)
		return (age_ms < conf->cache.lease_ms ||
			   failpoint_is_off("local-lease")) &&
		       (mgr->cache_ops == NULL ||
			   (is_open(&mgr->stores->cache) &&
			       manager_rows_have_ends(mgr)));
	return local_is_renewed(mgr->local, now_boot_ms) &&
	       (trust == FENCE_YES || is_open(&mgr->stores->durable));
}

/* A store that no other host has goes by this host's clock. */
static bool
knows_time(const struct sgate_manager *mgr)
{
	return !mgr->ops->is_shared || manager_knows_time(mgr);
}

/* False: there is no room for it. */
static bool
put_activity(
    struct sgate_manager *mgr, struct local_entry *entry, int64_t now_ms)
{
	struct durable_touch touch;

	memset(&touch, 0, sizeof(touch));
	touch.ref = entry->ref;
	touch.last_seen_ms = now_ms;
	touch.copy_ttl_ms =
	    session_copy_ttl_of(entry->idle_ms, entry->absolute_ms, now_ms);
	if (mgr->hooks.put == NULL || !mgr->hooks.put(mgr->hooks.arg, &touch))
		return false;
	local_seen(mgr->local, &entry->ref, entry->version, now_ms);
	return true;
}

/* False: activity is to be noted, and there is no room for it. */
static inline bool
note_activity(
    struct sgate_manager *mgr, struct local_entry *entry, int64_t now_ms)
{
	return !session_touch_is_due_of(
		   entry->last_seen_ms, entry->idle_ms, now_ms) ||
	       mgr->identified.is_shown || put_activity(mgr, entry, now_ms);
}

static bool
is_live(const struct local_entry *entry, int64_t now_ms)
{
	enum sgate_reason reason = session_expiry_of(
	    entry->last_seen_ms, entry->idle_ms, entry->absolute_ms, now_ms);

	return reason == SGATE_REASON_OK || failpoint_is_off("local-idle");
}

/* An entry that may have been flushed or is held back, seldom. */
static bool
is_let(struct sgate_manager *mgr, struct local_entry *entry,
    struct sgate_bytes realm, int64_t now_ms)
{
	struct identified *found = &mgr->identified;
	struct sgate_bytes roles = {
	    entry->text + entry->user_len, entry->roles_len};
	char name[SESSION_REALM_MAX + 1];

	if (!settings_are_known(&mgr->stores->settings))
		return false;
	input_copy(name, sizeof(name), realm);
	found->refused = settings_judge_of(
	    mgr, name, roles, entry->created_ms, true, now_ms, &found->why);
	/* As in look_up(). */
	if (found->refused == SGATE_UNAVAILABLE &&
	    found->why.reason == SGATE_REASON_MAINTENANCE)
		(void)!note_activity(mgr, entry, now_ms);
	return found->refused == SGATE_OK;
}

static bool
find_local(struct sgate_manager *mgr, struct sgate_bytes realm,
    const struct sgate_ref *ref, const unsigned char key[LOCAL_KEY_BYTES])
{
	struct local_entry *entry = &mgr->identified.entry;
	int64_t now_boot_ms, now_ms;

	now_boot_ms = clock_boot_ms();
	if (!is_trusted(mgr, token_ref_group(ref), now_boot_ms) ||
	    !local_get(mgr->local, ref, key, entry) ||
	    stores_ended_here(mgr->stores, ref) != SGATE_REASON_OK ||
	    !knows_time(mgr))
		return false;
	now_ms = manager_now_at(mgr, now_boot_ms);
	if (!is_live(entry, now_ms) ||
	    (settings_may_concern(&mgr->stores->settings, entry->created_ms) &&
		!is_let(mgr, entry, realm, now_ms)) ||
	    !note_activity(mgr, entry, now_ms))
		return false;
	mgr->identified.now_ms = now_ms;
	mgr->served_by = STORES_LOCAL;
	stores_count(mgr->counts, STORES_SERVED_LOCAL);
	return true;
}

static struct sgate_bytes
cut(const char **at, uint8_t len)
{
	struct sgate_bytes bytes = {*at, len};

	*at += len;
	return bytes;
}

static void
tell_entry(const struct identified *found, struct identity *out)
{
	const struct local_entry *entry = &found->entry;
	const char *at = entry->text;

	out->now_ms = found->now_ms;
	out->ref = entry->ref;
	out->user = cut(&at, entry->user_len);
	out->roles = cut(&at, entry->roles_len);
	out->context = cut(&at, entry->context_len);
	out->exports = cut(&at, entry->exports_len);
	out->created_ms = entry->created_ms;
	out->auth_ms = entry->auth_ms;
	out->absolute_ms = entry->absolute_ms;
	out->is_anonymous = entry->user_len == 0;
	out->new_token = NULL;
	out->session = NULL;
}

/* ---- by a look ---- */

static void
tell_session(const struct sgate_session *session, struct identity *out)
{
	out->ref = session->ref;
	out->user = sgate_session_get_user_id(session);
	out->roles = sgate_session_get_roles(session);
	out->context = sgate_session_get_context(session);
	out->exports = session_get_exports(session);
	out->created_ms = session->created_ms;
	out->auth_ms = session->auth_ms;
	out->absolute_ms = session->absolute_ms;
	out->is_anonymous = sgate_session_is_anonymous(session) != 0;
	out->new_token = sgate_session_new_token(session);
	out->session = session;
}

static enum sgate_status
find_by_look(
    struct sgate_manager *mgr, struct sgate_bytes text, struct sgate_error *err)
{
	struct identified *found = &mgr->identified;
	struct look look;
	enum sgate_status status;

	status = look_up(mgr, text, SGATE_NO_DATA, &look, err);
	if (status == SGATE_OK) {
		found->may_be_kept =
		    found->may_be_kept && look_is_settled(mgr, &look);
		look_touch(mgr, &look, 0);
		found->session = look.session;
		look.session = NULL;
	}
	look_clear(&look);
	return status;
}

/* False: it does not fit. */
static bool
add_text(struct local_entry *entry, size_t *used, struct sgate_bytes text,
    uint8_t *out_len)
{
	if (text.len > sizeof(entry->text) - *used)
		return false;
	if (text.len > 0)
		memcpy(entry->text + *used, text.data, text.len);
	*used += text.len;
	*out_len = (uint8_t)text.len;
	return true;
}

static bool
make_entry(const struct sgate_session *session, struct local_entry *out)
{
	size_t used = 0;

	memset(out, 0, sizeof(*out));
	out->ref = session->ref;
	out->version = session->version;
	out->created_ms = session->created_ms;
	out->auth_ms = session->auth_ms;
	out->last_seen_ms = session->last_seen_ms;
	out->idle_ms = session->idle_ms;
	out->absolute_ms = session->absolute_ms;
	return add_text(out, &used, sgate_session_get_user_id(session),
		   &out->user_len) &&
	       add_text(out, &used, sgate_session_get_roles(session),
		   &out->roles_len) &&
	       add_text(out, &used, sgate_session_get_context(session),
		   &out->context_len) &&
	       add_text(
		   out, &used, session_get_exports(session), &out->exports_len);
}

void
manager_remember(struct sgate_manager *mgr)
{
	struct identified *found = &mgr->identified;

	if (!found->may_be_kept || !make_entry(found->session, &found->entry))
		return;
	found->may_be_kept = false;
	failpoint("local-fill");
	local_fill(mgr->local, found->key, &found->ticket, &found->entry);
}

/* ---- both ---- */

static void
forget_found(struct identified *found)
{
	sgate_session_free(found->session);
	found->session = NULL;
	found->may_be_kept = false;
}

/* found->key is set when that has a key, and may_be_kept says so. */
static bool
recall(struct sgate_manager *mgr, struct sgate_bytes realm,
    struct sgate_bytes text, const struct sgate_ref *ref,
    struct sgate_bytes bound)
{
	struct identified *found = &mgr->identified;

	found->may_be_kept =
	    mgr->local != NULL &&
	    local_key(&mgr->local_hash, realm, text, bound, found->key);
	found->refused = SGATE_OK;
	if (!found->may_be_kept || !find_local(mgr, realm, ref, found->key))
		return false;
	found->may_be_kept = false;
	return true;
}

/*
 * The tag is not looked at: an entry is found by a keyed hash of the whole
 * text, and that text was found good before the entry was made, by one who has
 * the same keys (struct local_hash). Any other text is no hit, and then
 * manager_identify() judges it.
 */
bool
manager_recall(struct sgate_manager *mgr, struct sgate_bytes realm,
    struct sgate_bytes text, struct sgate_bytes bound, struct identity *out)
{
	struct identified *found = &mgr->identified;
	struct sgate_ref ref;

	forget_found(found);
	mgr->served_by = STORES_NOBODY;
	if (mgr->local == NULL || !token_peek_ref(text, &ref) ||
	    !local_key(&mgr->local_hash, realm, text, bound, found->key) ||
	    !find_local(mgr, realm, &ref, found->key)) {
		memset(out, 0, sizeof(*out));
		return false;
	}
	tell_entry(found, out);
	return true;
}

/* NULL: there is no memory. */
static struct sgate_session *
make_shown(const struct local_entry *entry, struct sgate_bytes realm)
{
	const char *at = entry->text;
	struct sgate_bytes user = cut(&at, entry->user_len);
	struct sgate_bytes roles = cut(&at, entry->roles_len);
	struct sgate_bytes context = cut(&at, entry->context_len);
	struct sgate_session *s = session_new();

	if (s == NULL || !session_set(&s->roles, roles)) {
		sgate_session_free(s);
		return NULL;
	}
	s->ref = entry->ref;
	s->version = entry->version;
	s->state = SESSION_LIVE;
	input_copy(s->realm, sizeof(s->realm), realm);
	input_copy(s->user, sizeof(s->user), user);
	input_copy(s->context, sizeof(s->context), context);
	s->created_ms = entry->created_ms;
	s->auth_ms = entry->auth_ms;
	s->last_seen_ms = entry->last_seen_ms;
	s->idle_ms = entry->idle_ms;
	s->absolute_ms = entry->absolute_ms;
	return s;
}

bool
manager_glance(struct sgate_manager *mgr, struct sgate_bytes text,
    struct sgate_bytes bound, struct sgate_session **out)
{
	struct sgate_bytes realm = manager_realm(mgr);
	struct identified *found = &mgr->identified;
	struct sgate_ref ref;

	*out = NULL;
	forget_found(found);
	if (mgr->local == NULL || !token_peek_ref(text, &ref) ||
	    !local_key(&mgr->local_hash, realm, text, bound, found->key))
		return false;
	found->is_shown = true;
	if (find_local(mgr, realm, &ref, found->key))
		*out = make_shown(&found->entry, realm);
	found->is_shown = false;
	return *out != NULL;
}

/* Without a question to any store: many may be refused at once. */
static enum sgate_status
refuse_found(struct sgate_manager *mgr, struct sgate_error *err)
{
	struct identified *found = &mgr->identified;

	found->may_be_kept = false;
	mgr->served_by = STORES_LOCAL;
	if (err != NULL)
		*err = found->why;
	return found->refused;
}

enum sgate_status
manager_identify(struct sgate_manager *mgr, struct sgate_bytes text,
    struct sgate_bytes bound, struct identity *out, struct sgate_error *err)
{
	struct identified *found = &mgr->identified;
	enum sgate_status status;
	struct token token;

	memset(out, 0, sizeof(*out));
	forget_found(found);
	status = manager_read_token(mgr, text, &token, err);
	if (status != SGATE_OK)
		return status;
	if (recall(mgr, manager_realm(mgr), text, &token.ref, bound)) {
		token_wipe(&token);
		tell_entry(found, out);
		return SGATE_OK;
	}
	if (found->refused != SGATE_OK) {
		token_wipe(&token);
		return refuse_found(mgr, err);
	}
	if (found->may_be_kept)
		local_take_ticket(mgr->local, &token.ref, &found->ticket);
	token_wipe(&token);
	status = find_by_look(mgr, text, err);
	if (status == SGATE_OK) {
		tell_session(found->session, out);
		out->now_ms = manager_now_ms(mgr);
	} else {
		found->may_be_kept = false;
	}
	return status;
}

bool
identity_has_role(const struct identity *identity, struct sgate_bytes role)
{
	struct sgate_bytes rest = identity->roles;

	while (role.len > 0 && rest.len > 0)
		if (bytes_equal(bytes_cut(&rest, ','), role))
			return true;
	return false;
}
