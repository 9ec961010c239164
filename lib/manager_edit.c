/*
 * Changes of one session: update, extend, rotate.
 */
#include "config.h"

#include "manager.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "failpoint.h"
#include "status.h"

/* ---- update ---- */

struct updating {
	const struct sgate_update *update;
	const struct sgate_ref *ref;
	struct data *patch;
	char *contexts, *roles; /* NULL: as they are */
	struct sgate_session *session;
};

/* Names of changed members for the audit row; their values never. */
static enum sgate_status
describe_update(
    const struct updating *u, char *out, size_t size, struct sgate_error *err)
{
	const struct sgate_update *update = u->update;
	struct buf text;
	const char *name;
	size_t i, left_out = 0;
	bool has_failed;

	buf_init(&text);
	if (update->context.data != NULL)
		buf_add_text(&text, " context");
	if (update->set_contexts)
		buf_add_text(&text, " contexts");
	if (update->set_roles)
		buf_add_text(&text, " roles");
	if (update->idle_timeout_ms != 0)
		buf_add_text(&text, " idle_timeout");
	for (i = 0;
	     u->patch != NULL && (name = data_member_at(u->patch, i)) != NULL;
	     i++) {
		if (text.len + strlen(name) > size - 64) {
			left_out++;
			continue;
		}
		buf_add_text(&text, " data.");
		buf_add_escaped(&text, bytes_of(name));
	}
	if (left_out > 0)
		buf_printf(&text, " and %zu more of data", left_out);
	has_failed = buf_failed(&text);
	if (!has_failed && text.len > 0)
		input_copy(out, size, bytes_of(buf_text(&text) + 1));
	buf_clear(&text);
	return has_failed ? error_memory(err, "update") : SGATE_OK;
}

static enum sgate_status
check_update(
    struct sgate_manager *mgr, struct updating *u, struct sgate_error *err)
{
	const struct sgate_update *update = u->update;
	enum sgate_status status;

	status =
	    input_text("context", update->context, SESSION_CONTEXT_MAX, err);
	if (status == SGATE_OK && update->idle_timeout_ms < 0)
		status = error_set(err, SGATE_INVALID, "input", "idle_timeout",
		    0, "idle_timeout: negative");
	if (status == SGATE_OK && update->set_contexts)
		status = input_contexts(update->contexts,
		    update->contexts_count, &u->contexts, err);
	if (status == SGATE_OK && update->set_roles)
		status = input_roles(
		    update->roles, update->roles_count, &u->roles, err);
	if (status == SGATE_OK && update->data_patch.data == NULL &&
	    update->data_patch.len > 0)
		status = error_set(err, SGATE_INVALID, "input", "data", 0,
		    "data: a length without bytes");
	if (status == SGATE_OK && update->data_patch.data != NULL)
		status = data_parse(update->data_patch,
		    mgr->conf->session.data_max_bytes, &u->patch, err);
	return status;
}

/* On this row, never on a copy: writers of different members both survive. */
static enum sgate_status
merge_data(struct sgate_manager *mgr, const struct updating *u,
    struct sgate_session *session, struct sgate_error *err)
{
	struct data *data = NULL;
	enum sgate_status status;

	status = data_parse(
	    bytes_of(session->data), strlen(session->data), &data, err);
	if (status == SGATE_INVALID || status == SGATE_TOO_LARGE)
		return error_set(err, SGATE_CORRUPT, "session", "update", 0,
		    "the stored data is no JSON object that we wrote");
	if (status == SGATE_OK)
		status = data_merge(data, u->patch, err);
	if (status == SGATE_OK)
		status = input_render(mgr->conf, data, session, err);
	data_free(data);
	return status;
}

/* A session that lives longer than a plain one was made with `remember`. */
static int64_t
largest_idle_ms(
    const struct sgate_conf *conf, const struct sgate_session *session)
{
	bool is_remembered = session->absolute_ms - session->created_ms >
			     conf->session.absolute_timeout_ms;

	return is_remembered ? conf->session.remember_idle_timeout_ms
			     : conf->session.idle_timeout_ms;
}

static enum sgate_status
edit_session(struct sgate_manager *mgr, const struct updating *u,
    struct sgate_session *session, struct sgate_error *err)
{
	const struct sgate_update *update = u->update;
	int64_t idle_ms = update->idle_timeout_ms;

	if ((u->contexts != NULL &&
		!session_set(&session->contexts, bytes_of(u->contexts))) ||
	    (u->roles != NULL &&
		!session_set(&session->roles, bytes_of(u->roles))))
		return error_memory(err, "update");
	if (update->context.data != NULL) {
		if (update->context_listed &&
		    !session_list_has(session->contexts, '\n', update->context))
			return error_set(err, SGATE_DENIED, "session", "update",
			    0, "context: not among the session's contexts");
		input_copy(session->context, sizeof(session->context),
		    update->context);
	}
	if (idle_ms > largest_idle_ms(mgr->conf, session))
		idle_ms = largest_idle_ms(mgr->conf, session);
	if (idle_ms > session->absolute_ms - session->created_ms)
		idle_ms = session->absolute_ms - session->created_ms;
	if (idle_ms > 0)
		session->idle_ms = idle_ms;
	return u->patch != NULL ? merge_data(mgr, u, session, err) : SGATE_OK;
}

static enum sgate_status
edit_version(struct sgate_manager *mgr, const struct updating *u,
    struct sgate_session *session, struct sgate_error *err)
{
	uint64_t if_version = u->update->if_version;

	if (if_version != 0 && session->version != if_version)
		return error_set(err, SGATE_CONFLICT, "session", "update", 0,
		    "the version is %llu, not %llu",
		    (unsigned long long)session->version,
		    (unsigned long long)if_version);
	return edit_session(mgr, u, session, err);
}

static enum sgate_status
update_apply(struct change *change, struct sgate_error *err)
{
	struct updating *u = change->arg;
	struct sgate_session *session = NULL;
	enum sgate_status status;

	status = change_lock(change, u->ref, &session, err);
	if (status == SGATE_OK)
		status = edit_version(change->mgr, u, session, err);
	if (status == SGATE_OK)
		status = change_store(change, session, err);
	if (status == SGATE_OK) {
		sgate_session_free(u->session);
		u->session = session;
		session = NULL;
	}
	sgate_session_free(session);
	return status;
}

static enum sgate_status
joint_update(struct sgate_manager *mgr, void *arg,
    struct sgate_session *session, struct sgate_error *err)
{
	return edit_version(mgr, arg, session, err);
}

/* *out_is_alone: nothing has been done. */
static enum sgate_status
update_with_others(struct sgate_manager *mgr, struct updating *u,
    bool *out_is_alone, struct sgate_error *err)
{
	struct joint joint;
	enum sgate_status status;

	joint_init(
	    &joint, mgr, "update", u->ref, SGATE_REASON_OK, joint_update, u);
	status = describe_update(
	    u, joint.audit.detail, sizeof(joint.audit.detail), err);
	if (status == SGATE_OK)
		batched_change(mgr, &joint);
	*out_is_alone = status == SGATE_OK && joint.is_alone;
	if (status == SGATE_OK && !joint.is_alone)
		status = joint_result(mgr, &joint, err);
	if (status == SGATE_OK && !joint.is_alone) {
		u->session = joint.session;
		joint.session = NULL;
	}
	joint_clear(&joint);
	return status;
}

static enum sgate_status
update_alone(
    struct sgate_manager *mgr, struct updating *u, struct sgate_error *err)
{
	struct sgate_session *before = NULL;
	struct change change;
	enum sgate_status status;

	/* Whose session it is never changes; the rest is read under the lock.
	 */
	status =
	    manager_find_ref(mgr, u->ref, DURABLE_NO_DATA, &before, NULL, err);
	if (status == SGATE_OK)
		status = manager_judge(mgr, before, err);
	if (status == SGATE_OK) {
		change_init(
		    &change, mgr, "update", SGATE_REASON_OK, update_apply, u);
		audit_about(&change.audit, before);
		status = describe_update(
		    u, change.audit.detail, sizeof(change.audit.detail), err);
	}
	if (status == SGATE_OK)
		status = change_run(&change, err);
	sgate_session_free(before);
	return status;
}

enum sgate_status
sgate_session_update(struct sgate_manager *mgr, const struct sgate_ref *ref,
    const struct sgate_update *update, struct sgate_session **out_session,
    struct sgate_error *err)
{
	struct updating u = {.update = update, .ref = ref};
	enum sgate_status status;
	bool is_alone = true;

	if (out_session != NULL)
		*out_session = NULL;
	error_clear(err);
	mgr->served_by = STORES_NOBODY;
	status = check_update(mgr, &u, err);
	if (status == SGATE_OK)
		status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = update_with_others(mgr, &u, &is_alone, err);
	if (status == SGATE_OK && is_alone)
		status = update_alone(mgr, &u, err);
	if (status == SGATE_OK && out_session != NULL) {
		*out_session = u.session;
		u.session = NULL;
	}
	sgate_session_free(u.session);
	data_free(u.patch);
	free(u.contexts);
	free(u.roles);
	return status;
}

/* ---- extend ---- */

/*
 * Activity that is waited for. It is no change of the session: no version, no
 * audit row. Doing it twice does no harm, so a doubtful answer is asked again.
 */
static enum sgate_status
write_activity(struct sgate_manager *mgr, const struct durable_touch *touch,
    struct sgate_error *err)
{
	enum sgate_status status;
	int tries;

	cached_touch(mgr, touch, 1);
	status = manager_need_durable(mgr, err);
	if (status != SGATE_OK)
		return status;
	for (tries = 0; tries < 2; tries++) {
		status = manager_write(
		    mgr, mgr->ops->touch(mgr->durable, touch, 1, err), err);
		if ((status != SGATE_UNAVAILABLE &&
			status != SGATE_UNCERTAIN) ||
		    !manager_has_time(mgr))
			break;
	}
	if (status == SGATE_OK)
		stores_count(mgr->counts, STORES_DURABLE_WRITES);
	return status;
}

enum sgate_status
sgate_session_extend(struct sgate_manager *mgr, struct sgate_bytes token,
    struct sgate_session **out_session, struct sgate_error *err)
{
	struct durable_touch touch;
	struct look look;
	enum sgate_status status;

	*out_session = NULL;
	status = look_up(mgr, token, 0, &look, err);
	if (status == SGATE_OK) {
		look_touch_make(mgr, &look, true, &touch);
		status = write_activity(mgr, &touch, err);
	}
	if (status == SGATE_OK) {
		error_clear(err);
		look_touch_written(mgr, &look, &touch);
		if (touch.last_seen_ms > look.session->last_seen_ms)
			look.session->last_seen_ms = touch.last_seen_ms;
		*out_session = look.session;
		look.session = NULL;
	}
	look_clear(&look);
	return status;
}

/* ---- rotate ---- */

/* How often a rotation may find that somebody else was faster. */
#define ROTATE_TRIES 3

struct rotation {
	const struct look *look;
	struct token successor;
	bool is_overtaken; /* the row is not what the look showed */
	struct sgate_session *session;
};

static bool
rotation_is_due(struct sgate_manager *mgr, const struct sgate_session *session)
{
	return !session_prev_in_grace(
	    session, manager_now_ms(mgr), mgr->conf->session.rotate_grace_ms);
}

static enum sgate_status
rotate_apply(struct change *change, struct sgate_error *err)
{
	struct rotation *r = change->arg;
	struct sgate_manager *mgr = change->mgr;
	struct sgate_session *session = NULL;
	int64_t now_ms = manager_now_ms(mgr);
	enum sgate_status status;

	status = change_lock(change, &r->look->token.ref, &session, err);
	if (status != SGATE_OK)
		return status;
	r->is_overtaken =
	    session_secret(session, r->look->hash, now_ms,
		mgr->conf->session.rotate_grace_ms) != SESSION_SECRET_CURRENT ||
	    !rotation_is_due(mgr, session);
	if (r->is_overtaken) {
		change->is_void = true;
		sgate_session_free(session);
		return SGATE_OK;
	}
	session->has_prev = true;
	memcpy(session->prev_hash, session->secret_hash,
	    sizeof(session->prev_hash));
	session->prev_until_ms = now_ms + mgr->conf->session.rotate_grace_ms;
	session->successor_used_ms = 0;
	token_hash(r->successor.secret, session->secret_hash);
	if (now_ms > session->last_seen_ms)
		session->last_seen_ms = now_ms;
	status = change_store(change, session, err);
	if (status != SGATE_OK) {
		sgate_session_free(session);
		return status;
	}
	sgate_session_free(r->session);
	r->session = session;
	return SGATE_OK;
}

/* look->session becomes the rotated one, its new token in new_token. */
static enum sgate_status
rotate_once(struct sgate_manager *mgr, struct look *look,
    bool *out_is_overtaken, struct sgate_error *err)
{
	struct rotation r = {.look = look, .successor = look->token};
	struct change change;
	enum sgate_status status;

	*out_is_overtaken = false;
	r.successor.key_id = keys_signing_id(mgr->keys);
	token_successor(mgr->keys, &look->token.ref, look->token.secret,
	    r.successor.secret);
	change_init(&change, mgr, "rotate", SGATE_REASON_OK, rotate_apply, &r);
	audit_about(&change.audit, look->session);
	status = change_run(&change, err);
	*out_is_overtaken = status == SGATE_OK && r.is_overtaken;
	if (status == SGATE_OK && !r.is_overtaken &&
	    !token_write(mgr->keys, manager_realm(mgr), &r.successor,
		r.session->new_token))
		status = error_set(err, SGATE_INTERNAL, "keys", "rotate", 0,
		    "the signing key has gone");
	if (status == SGATE_OK && !r.is_overtaken) {
		sgate_session_free(look->session);
		look->session = r.session;
		r.session = NULL;
	}
	sgate_session_free(r.session);
	token_wipe(&r.successor);
	return status;
}

/*
 * The table of "Rotation" in lib/README.md: the current secret makes a
 * successor, unless the previous one is still in grace (no change, the same
 * cookie); the previous one in grace is answered with the successor that there
 * is.
 */
static enum sgate_status
rotate_looked(struct sgate_manager *mgr, struct sgate_bytes token,
    struct look *look, struct sgate_error *err)
{
	bool is_overtaken = false;
	enum sgate_status status;
	int tries;

	for (tries = 0; tries < ROTATE_TRIES; tries++) {
		look_clear(look);
		/* No copy tells whether the previous secret is in grace. */
		status = look_up(mgr, token, LOOK_AT_ROW, look, err);
		if (status != SGATE_OK)
			return status;
		if (look->secret == SESSION_SECRET_GRACE ||
		    !rotation_is_due(mgr, look->session)) {
			look_touch(mgr, look, 0);
			return SGATE_OK;
		}
		status = rotate_once(mgr, look, &is_overtaken, err);
		if (status != SGATE_OK || !is_overtaken)
			return status;
	}
	return error_set(err, SGATE_UNAVAILABLE, "session", "rotate", 0,
	    "the session changes too fast; try again");
}

enum sgate_status
sgate_session_rotate(struct sgate_manager *mgr, struct sgate_bytes token,
    struct sgate_session **out_session, char **out_token,
    struct sgate_error *err)
{
	struct look look;
	char *text;
	enum sgate_status status;

	*out_session = NULL;
	*out_token = NULL;
	memset(&look, 0, sizeof(look));
	/* Before the change: what was done is not to fail for want of memory.
	 */
	text = calloc(1, SGATE_TOKEN_LEN + 1);
	if (text == NULL)
		return error_memory(err, "rotate");
	status = rotate_looked(mgr, token, &look, err);
	if (status == SGATE_OK) {
		if (look.session->new_token[0] != '\0')
			token = bytes_of(look.session->new_token);
		input_copy(text, SGATE_TOKEN_LEN + 1, token);
		*out_session = look.session;
		*out_token = text;
		look.session = NULL;
		text = NULL;
	}
	sgate_token_free(text);
	look_clear(&look);
	return status;
}
