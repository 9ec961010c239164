/*
 * Create: everything of a new session is checked and made before the
 * transaction, so that a second try stores the very same session.
 *
 * With an idempotency key the secret is a keyed hash of the key's row (id and
 * nonce), so that a repeat within 24 h can be given the same token although no
 * store holds it.
 */
#include "config.h"

#include "manager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "failpoint.h"
#include "status.h"

#define IDEMPOTENCY_KEY_MAX 255
/* How often a new row is put into the cache again. */
#define PUTS_AGAIN 2

struct creation {
	struct sgate_manager *mgr;
	const struct sgate_create *create;
	struct sgate_session *session;
	struct token token;
	bool has_key;
	struct durable_idempotency key; /* the row that this create makes */
	bool is_key_expired;            /* an old row of it must go first */
	bool is_repeat;                 /* another create has used it */
	struct durable_audit audit;     /* of the token; see has_token */
	bool has_token;
	bool has_replaced;
	struct sgate_ref replaced;
	struct endings endings;
};

/* ---- the session ---- */

static int64_t
lesser_timeout(int64_t asked_ms, int64_t configured_ms)
{
	return asked_ms > 0 && asked_ms < configured_ms ? asked_ms
							: configured_ms;
}

static enum sgate_status
fill_times(struct creation *c, struct sgate_error *err)
{
	const struct sgate_create *create = c->create;
	const struct sgate_conf *conf = c->mgr->conf;
	struct sgate_session *s = c->session;
	int64_t life_ms;

	if (create->idle_timeout_ms < 0)
		return error_set(err, SGATE_INVALID, "input", "idle_timeout", 0,
		    "idle_timeout: negative");
	if (create->absolute_timeout_ms < 0)
		return error_set(err, SGATE_INVALID, "input",
		    "absolute_timeout", 0, "absolute_timeout: negative");
	s->idle_ms = lesser_timeout(create->idle_timeout_ms,
	    create->remember ? conf->session.remember_idle_timeout_ms
			     : conf->session.idle_timeout_ms);
	life_ms = lesser_timeout(create->absolute_timeout_ms,
	    create->remember ? conf->session.remember_absolute_timeout_ms
			     : conf->session.absolute_timeout_ms);
	/* An anonymous session lives for the idle timeout, once. */
	if (s->user[0] == '\0' && life_ms > s->idle_ms)
		life_ms = s->idle_ms;
	if (s->idle_ms > life_ms)
		s->idle_ms = life_ms;
	s->created_ms = manager_now_ms(c->mgr);
	s->auth_ms = s->user[0] == '\0' ? 0 : s->created_ms;
	s->last_seen_ms = s->created_ms;
	s->absolute_ms = s->created_ms + life_ms;
	return SGATE_OK;
}

static enum sgate_status
fill_data(struct creation *c, struct sgate_error *err)
{
	struct sgate_bytes json = c->create->data;
	struct data *data = NULL;
	enum sgate_status status;

	if (json.data == NULL && json.len > 0)
		return error_set(err, SGATE_INVALID, "input", "data", 0,
		    "data: a length without bytes");
	if (json.data == NULL)
		json = bytes_of("{}");
	status =
	    data_parse(json, c->mgr->conf->session.data_max_bytes, &data, err);
	if (status == SGATE_OK)
		status = data_refuse_null(data, err);
	if (status == SGATE_OK)
		status = input_render(c->mgr->conf, data, c->session, err);
	data_free(data);
	return status;
}

static enum sgate_status
fill_address(struct creation *c, struct sgate_error *err)
{
	struct sgate_session *s = c->session;

	if (c->create->client_ip.len > 0)
		return input_address(
		    c->create->client_ip, s->client_ip, &s->client_ip_len, err);
	memcpy(s->client_ip, c->mgr->call.client_ip, sizeof(s->client_ip));
	s->client_ip_len = c->mgr->call.client_ip_len;
	return SGATE_OK;
}

static enum sgate_status
fill_session(struct creation *c, struct sgate_error *err)
{
	const struct sgate_create *create = c->create;
	struct sgate_session *s;
	enum sgate_status status;

	s = c->session = session_new();
	if (s == NULL)
		return error_memory(err, "create");
	s->version = 1;
	s->state = SESSION_LIVE;
	status = input_text("user_id", create->user_id, SESSION_USER_MAX, err);
	if (status == SGATE_OK)
		status = input_text(
		    "context", create->context, SESSION_CONTEXT_MAX, err);
	if (status != SGATE_OK)
		return status;
	input_copy(s->realm, sizeof(s->realm), manager_realm(c->mgr));
	input_copy(s->user, sizeof(s->user), create->user_id);
	input_copy(s->context, sizeof(s->context), create->context);
	input_agent(create->user_agent, s->user_agent, SESSION_AGENT_MAX);
	status = input_contexts(
	    create->contexts, create->contexts_count, &s->contexts, err);
	if (status == SGATE_OK)
		status = input_roles(
		    create->roles, create->roles_count, &s->roles, err);
	if (status == SGATE_OK)
		status = fill_times(c, err);
	if (status == SGATE_OK)
		status = fill_address(c, err);
	if (status == SGATE_OK)
		status = fill_data(c, err);
	return status;
}

/* ---- the token, and the idempotency key ---- */

static void
hash_bytes(crypto_hash_sha256_state *state, struct sgate_bytes bytes)
{
	uint64_t len = bytes.data == NULL ? 0 : bytes.len;

	crypto_hash_sha256_update(
	    state, (const unsigned char *)&len, sizeof(len));
	if (len > 0)
		crypto_hash_sha256_update(
		    state, (const unsigned char *)bytes.data, bytes.len);
}

static void
hash_list(crypto_hash_sha256_state *state, const struct sgate_bytes *items,
    size_t count)
{
	uint64_t number = count;
	size_t i;

	crypto_hash_sha256_update(
	    state, (const unsigned char *)&number, sizeof(number));
	for (i = 0; i < count; i++)
		hash_bytes(state, items[i]);
}

/*
 * What the caller asked for, each member with its length, so that no two
 * different creates look alike. Only hosts of one byte order share a store.
 */
static void
hash_create(const struct sgate_create *create, unsigned char out[32])
{
	int64_t numbers[3] = {create->remember != 0, create->idle_timeout_ms,
	    create->absolute_timeout_ms};
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	hash_bytes(&state, create->user_id);
	hash_bytes(&state, create->context);
	hash_list(&state, create->contexts, create->contexts_count);
	hash_list(&state, create->roles, create->roles_count);
	hash_bytes(&state, create->data);
	hash_bytes(&state, create->replaces);
	crypto_hash_sha256_update(
	    &state, (const unsigned char *)numbers, sizeof(numbers));
	hash_bytes(&state, create->client_ip);
	hash_bytes(&state, create->user_agent);
	crypto_hash_sha256_final(&state, out);
}

static enum sgate_status
make_token(struct creation *c, struct sgate_error *err)
{
	struct sgate_manager *mgr = c->mgr;
	struct sgate_session *s = c->session;
	enum sgate_status status;
	uint8_t group;

	if (s->user[0] == '\0')
		token_random(&group, sizeof(group));
	else
		group = token_user_group(
		    mgr->keys, manager_realm(mgr), bytes_of(s->user));
	status = token_make(
	    keys_signing_id(mgr->keys), group, s->created_ms, &c->token, err);
	if (status != SGATE_OK)
		return status;
	s->ref = c->token.ref;
	if (c->has_key) {
		c->key.ref = s->ref;
		c->key.key_id = c->token.key_id;
		c->key.expires_ms = s->created_ms + MANAGER_IDEMPOTENCY_MS;
		token_random(c->key.nonce, sizeof(c->key.nonce));
		if (!token_idempotency_secret(mgr->keys, c->key.key_id,
			c->key.id, c->key.nonce, c->token.secret))
			return error_set(err, SGATE_INTERNAL, "keys", "create",
			    0, "the signing key has gone");
	}
	token_hash(c->token.secret, s->secret_hash);
	return SGATE_OK;
}

/*
 * Who repeats: the actor without its process. The gateway writes " pid=N" at
 * the end for the audit, and a login program is a new process each time.
 */
static struct sgate_bytes
repeater(const struct sgate_manager *mgr)
{
	struct sgate_bytes actor = bytes_of(mgr->call.actor);
	const char *pid = strstr(mgr->call.actor, " pid=");

	if (pid != NULL)
		actor.len = (size_t)(pid - mgr->call.actor);
	return actor;
}

static enum sgate_status
read_key(struct creation *c, struct sgate_error *err)
{
	struct sgate_bytes key = c->create->idempotency_key;

	if (key.len == 0)
		return SGATE_OK;
	if (key.data == NULL)
		return error_set(err, SGATE_INVALID, "input", "idempotency_key",
		    0, "idempotency_key: a length without bytes");
	if (key.len > IDEMPOTENCY_KEY_MAX)
		return error_set(err, SGATE_TOO_LARGE, "input",
		    "idempotency_key", 0,
		    "idempotency_key: %zu bytes, at most %d are allowed",
		    key.len, IDEMPOTENCY_KEY_MAX);
	c->has_key = !failpoint_is_off("idempotency");
	token_idempotency_id(c->mgr->keys, manager_realm(c->mgr),
	    repeater(c->mgr), key, c->key.id);
	hash_create(c->create, c->key.body_hash);
	return SGATE_OK;
}

/* ---- a repeat ---- */

static enum sgate_status
refuse_used(const struct sgate_ref *ref, struct sgate_error *err)
{
	char text[SGATE_REF_HEX + 1];

	sgate_ref_text(ref, text);
	return error_set(err, SGATE_CONFLICT, "session", "create", 0,
	    "idempotency_used %s", text);
}

/* The first create's session and token, if both are still good. */
static enum sgate_status
repeat(struct creation *c, const struct durable_idempotency *row,
    struct sgate_error *err)
{
	struct sgate_manager *mgr = c->mgr;
	struct sgate_session *session = NULL;
	unsigned char hash[TOKEN_HASH_BYTES];
	enum sgate_status status;

	if (sodium_memcmp(
		row->body_hash, c->key.body_hash, sizeof(row->body_hash)) != 0)
		return error_set(err, SGATE_CONFLICT, "session", "create", 0,
		    "idempotency_reuse");
	status = manager_read_ref(mgr, &row->ref, 0, &session, NULL, err);
	if (status == SGATE_OK)
		status = manager_judge(mgr, session, err);
	if (status == SGATE_NOT_FOUND)
		status = refuse_used(&row->ref, err);
	if (status != SGATE_OK)
		goto out;
	c->token.key_id = row->key_id;
	c->token.ref = row->ref;
	if (!token_idempotency_secret(
		mgr->keys, row->key_id, row->id, row->nonce, c->token.secret)) {
		status = refuse_used(&row->ref, err);
		goto out;
	}
	token_hash(c->token.secret, hash);
	if (sodium_memcmp(hash, session->secret_hash, sizeof(hash)) != 0) {
		status = refuse_used(&row->ref, err);
		goto out;
	}
	sgate_session_free(c->session);
	c->session = session;
	session = NULL;
out:
	sgate_session_free(session);
	return status;
}

/* Looks for the key's row: sets is_repeat, or is_key_expired. */
static enum sgate_status
look_for_key(struct creation *c, struct durable_idempotency *out_row,
    struct sgate_error *err)
{
	enum sgate_status status;

	c->is_repeat = c->is_key_expired = false;
	if (!c->has_key)
		return SGATE_OK;
	status = manager_read(c->mgr,
	    c->mgr->ops->idempotency_get(
		c->mgr->durable, c->key.id, out_row, err),
	    err);
	if (status == SGATE_NOT_FOUND)
		return SGATE_OK;
	if (status != SGATE_OK)
		return status;
	if (out_row->expires_ms <= manager_now_ms(c->mgr))
		c->is_key_expired = true;
	else
		c->is_repeat = true;
	return SGATE_OK;
}

/* ---- the transaction ---- */

/*
 * The anonymous session that this login replaces. One that is not good any
 * more is let be, for a login must not fail because of it; a user's session
 * is refused, for nobody may end that by logging in beside it.
 */
static enum sgate_status
look_for_replaced(struct creation *c, struct sgate_error *err)
{
	struct sgate_manager *mgr = c->mgr;
	struct sgate_session *session = NULL;
	unsigned char hash[TOKEN_HASH_BYTES];
	struct token token;
	enum sgate_status status;

	memset(&token, 0, sizeof(token));
	if (c->create->replaces.len == 0 || c->create->replaces.data == NULL ||
	    token_read(mgr->keys, manager_realm(mgr), c->create->replaces,
		&token) != SGATE_REASON_OK)
		return SGATE_OK;
	status = manager_read_ref(
	    mgr, &token.ref, DURABLE_NO_DATA, &session, NULL, err);
	if (status == SGATE_OK)
		status = manager_judge(mgr, session, err);
	if (status == SGATE_NOT_FOUND)
		status = SGATE_OK;
	else if (status == SGATE_OK && session->user[0] != '\0')
		status = error_set(err, SGATE_INVALID, "input", "replaces", 0,
		    "replaces: the token of a session with a user");
	else if (status == SGATE_OK) {
		token_hash(token.secret, hash);
		c->has_replaced =
		    session_secret(session, hash, manager_now_ms(mgr),
			mgr->conf->session.rotate_grace_ms) !=
		    SESSION_SECRET_LATE;
		c->replaced = token.ref;
	}
	sgate_session_free(session);
	token_wipe(&token);
	return status;
}

struct live_refs {
	struct sgate_manager *mgr;
	int64_t now_ms;
	struct endings found; /* newest first */
	enum sgate_status status;
	struct sgate_error *err;
};

static int
collect_live(void *arg, const struct sgate_session *session)
{
	struct live_refs *live = arg;

	if (manager_gone(live->mgr, session, live->now_ms) == SGATE_REASON_OK)
		live->status = endings_add(
		    &live->found, &session->ref, SGATE_REASON_LIMIT, live->err);
	return live->status != SGATE_OK;
}

static bool
has_limit(const struct creation *c)
{
	return c->mgr->conf->session.max_sessions > 0 &&
	       c->session->user[0] != '\0';
}

/* max_sessions, under the user's lock: the oldest make room, or none does. */
static enum sgate_status
make_room(struct creation *c, struct sgate_error *err)
{
	struct sgate_manager *mgr = c->mgr;
	size_t max = (size_t)mgr->conf->session.max_sessions;
	struct live_refs live = {.mgr = mgr, .err = err};
	enum sgate_status status;
	size_t i;

	live.now_ms = manager_now_ms(mgr);
	status = manager_write(mgr,
	    mgr->ops->user_sessions(mgr->durable, manager_realm(mgr),
		bytes_of(c->session->user), 0, collect_live, &live, err),
	    err);
	if (status == SGATE_OK)
		status = live.status;
	if (status == SGATE_OK && live.found.count >= max) {
		if (mgr->conf->session.on_limit == CONF_LIMIT_REFUSE)
			status = error_reason(
			    err, SGATE_DENIED, SGATE_REASON_LIMIT, "create");
		for (i = max - 1; i < live.found.count && status == SGATE_OK;
		     i++)
			status = endings_add(&c->endings,
			    &live.found.items[i].ref, SGATE_REASON_LIMIT, err);
	}
	endings_clear(&live.found);
	return status;
}

static enum sgate_status
lock_user(struct creation *c, struct sgate_error *err)
{
	struct sgate_manager *mgr = c->mgr;
	struct durable_user user;
	enum sgate_status status;

	if (c->session->user[0] == '\0')
		return SGATE_OK;
	memset(&user, 0, sizeof(user));
	status = manager_write(mgr,
	    mgr->ops->user_lock(mgr->durable, manager_realm(mgr),
		bytes_of(c->session->user), has_limit(c), &user, err),
	    err);
	if (status != SGATE_OK)
		return status;
	if (user.blocked_ms != 0)
		return error_reason(
		    err, SGATE_DENIED, SGATE_REASON_BLOCKED, "create");
	return has_limit(c) ? make_room(c, err) : SGATE_OK;
}

static enum sgate_status
insert_session(struct creation *c, struct sgate_error *err)
{
	enum sgate_status status;

	status = manager_write(c->mgr,
	    c->mgr->ops->session_insert(c->mgr->durable, c->session, err), err);
	if (status == SGATE_CONFLICT)
		return error_set(err, SGATE_INTERNAL, "session", "create", 0,
		    "a new random ref is taken already");
	return status;
}

/* The new row and those that end, all by ascending ref. */
static enum sgate_status
lock_rows(struct creation *c, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	bool is_inserted = false;
	size_t i;

	endings_sort(&c->endings);
	for (i = 0; i < c->endings.count && status == SGATE_OK; i++) {
		if (!is_inserted &&
		    memcmp(c->endings.items[i].ref.bytes, c->session->ref.bytes,
			SGATE_REF_BYTES) > 0) {
			status = insert_session(c, err);
			is_inserted = true;
		}
		if (status == SGATE_OK)
			status = endings_lock(c->mgr, &c->endings, i, err);
	}
	if (status == SGATE_OK && !is_inserted)
		status = insert_session(c, err);
	return status;
}

/*
 * An old row of this key goes first, if it still is the old one.
 * SGATE_CONFLICT: somebody else was first with this key.
 */
static enum sgate_status
insert_key(struct creation *c, struct sgate_error *err)
{
	struct sgate_manager *mgr = c->mgr;
	struct durable_idempotency row;
	enum sgate_status status = SGATE_OK;

	if (c->is_key_expired) {
		status = look_for_key(c, &row, err);
		if (status == SGATE_OK && c->is_key_expired)
			status = manager_write(mgr,
			    mgr->ops->idempotency_remove(
				mgr->durable, c->key.id, err),
			    err);
		if (status == SGATE_OK && c->is_repeat)
			return SGATE_CONFLICT;
	}
	if (status == SGATE_OK)
		status = manager_write(mgr,
		    mgr->ops->idempotency_insert(mgr->durable, &c->key, err),
		    err);
	return status;
}

static enum sgate_status
create_apply(struct change *change, struct sgate_error *err)
{
	struct creation *c = change->arg;
	enum sgate_status status = SGATE_OK;
	uint64_t count;

	endings_reset(&c->endings);
	c->is_repeat = false;
	if (c->has_key)
		status = insert_key(c, err);
	if (status == SGATE_CONFLICT) {
		c->is_repeat = true;
		change->is_void = true;
		return SGATE_OK;
	}
	if (status == SGATE_OK)
		status = lock_user(c, err);
	if (status == SGATE_OK && c->has_replaced)
		status = endings_add(
		    &c->endings, &c->replaced, SGATE_REASON_REPLACED, err);
	if (status == SGATE_OK)
		status = lock_rows(c, err);
	if (status == SGATE_OK)
		status = endings_store(change, &c->endings, false, &count, err);
	change->live = c->session;
	return status;
}

/* A creation that does nothing but create. */
static bool
is_plain(const struct creation *c)
{
	return !c->has_key && !c->has_replaced && !has_limit(c);
}

static enum sgate_status
create_plain(struct change *change, struct sgate_error *err)
{
	struct creation *c = change->arg;
	struct durable_creation one = {
	    .session = c->session, .audit = &change->audit};
	enum sgate_status status;

	status = manager_write(c->mgr,
	    c->mgr->ops->create_many(c->mgr->durable, &one, 1, true, err), err);
	if (status == SGATE_DENIED)
		return error_reason(
		    err, SGATE_DENIED, SGATE_REASON_BLOCKED, "create");
	change->live = c->session;
	change->at = one.at;
	return status;
}

/*
 * The group has changed since the row was made. No keeper brings a row that has
 * never changed to the cache, so it is put there again with a number that is
 * known to be before its reading; else the session would be nowhere when MySQL
 * goes away.
 */
static enum sgate_status
put_again(struct creation *c, struct sgate_error *err)
{
	struct sgate_manager *mgr = c->mgr;
	struct durable_snapshot at = {0};
	struct sgate_session *row = NULL;
	struct put_result put = {.answer = CACHE_PUT_RETRY};
	struct sgate_error ignored;
	enum sgate_status status;
	int tries;

	/* Another may have committed it, and others have used the store since.
	 */
	status = manager_need_durable(mgr, err);
	for (tries = 0; tries < PUTS_AGAIN && status == SGATE_OK &&
			put.answer == CACHE_PUT_RETRY;
	     tries++) {
		sgate_session_free(row);
		status =
		    manager_read_ref(mgr, &c->session->ref, 0, &row, &at, err);
		if (status == SGATE_OK)
			status = manager_judge_known(mgr, row, err);
		if (status == SGATE_OK &&
		    cached_put(mgr, row, &at, NULL, &put, &ignored) != SGATE_OK)
			break;
	}
	sgate_session_free(row);
	if (status == SGATE_NOT_FOUND)
		return status;
	/* There is a row, and nobody could look at the session until the
	 * durable store is back: that is not "created". */
	if (status != SGATE_OK) {
		if (err != NULL) {
			err->status = SGATE_UNCERTAIN;
			err->reason = SGATE_REASON_STORE;
		}
		return SGATE_UNCERTAIN;
	}
	mgr->served_by = STORES_DURABLE;
	error_clear(err);
	if (put.answer == CACHE_PUT_ENDED)
		return error_reason(err, SGATE_NOT_FOUND, put.ended, "create");
	return SGATE_OK;
}

/* The token, and the audit row of its creation, whichever store takes it. */
static enum sgate_status
make_event(struct creation *c, struct sgate_error *err)
{
	enum sgate_status status = make_token(c, err);

	if (status != SGATE_OK)
		return status;
	audit_init(&c->audit, c->mgr, "create", SGATE_REASON_OK);
	audit_about(&c->audit, c->session);
	memcpy(c->audit.client_ip, c->session->client_ip,
	    sizeof(c->audit.client_ip));
	c->audit.client_ip_len = c->session->client_ip_len;
	c->has_token = true;
	return SGATE_OK;
}

/* Committed: what the cache said of it. */
static enum sgate_status
look_at_put(
    struct creation *c, const struct put_result *put, struct sgate_error *err)
{
	if (put->answer == CACHE_PUT_RETRY && !failpoint_is_off("create-retry"))
		return put_again(c, err);
	if (put->answer != CACHE_PUT_ENDED)
		return SGATE_OK;
	c->mgr->served_by = STORES_CACHE;
	stores_count(c->mgr->counts, STORES_REFUSED_TOMBSTONE);
	return error_reason(err, SGATE_NOT_FOUND, put->ended, "create");
}

/* One transaction of its own. */
static enum sgate_status
create_alone(struct creation *c, struct sgate_error *err)
{
	struct change change;
	enum sgate_status status;

	change_init(
	    &change, c->mgr, "create", SGATE_REASON_OK, create_apply, c);
	change.audit = c->audit;
	if (is_plain(c) && c->mgr->ops->create_many != NULL) {
		change.apply = create_plain;
		change.is_whole = true;
	}
	status = change_run(&change, err);
	if (status == SGATE_OK && !c->is_repeat)
		return look_at_put(c, &change.put, err);
	return status;
}

static enum sgate_status
create_new(struct creation *c, struct sgate_error *err)
{
	struct put_result put;
	enum sgate_status status;
	bool is_alone = true;

	if (is_plain(c)) {
		status = batched_create(
		    c->mgr, c->session, &c->audit, &put, &is_alone, err);
		if (!is_alone)
			return status == SGATE_OK ? look_at_put(c, &put, err)
						  : status;
	}
	return create_alone(c, err);
}

static enum sgate_status
create_run(struct creation *c, struct sgate_error *err)
{
	struct durable_idempotency row;
	enum sgate_status status;

	memset(&row, 0, sizeof(row));
	status = look_for_key(c, &row, err);
	if (status == SGATE_OK && !c->is_repeat) {
		status = look_for_replaced(c, err);
		if (status == SGATE_OK)
			status = make_event(c, err);
		if (status == SGATE_OK)
			status = create_new(c, err);
		if (status != SGATE_OK || !c->is_repeat)
			return status;
		status = look_for_key(c, &row, err);
	}
	if (status != SGATE_OK)
		return status;
	if (!c->is_repeat)
		return error_set(err, SGATE_UNAVAILABLE, "session", "create", 0,
		    "the idempotency key was just being used; try again");
	return repeat(c, &row, err);
}

/* ---- without the durable store ---- */

/*
 * The anonymous session that was replaced ends after the login: one that cannot
 * be ended now runs out by itself, and a login that failed would have ended it
 * for nothing. A copy says whose it is, however old.
 */
static enum sgate_status
read_replaced(
    struct creation *c, struct sgate_session **out, struct sgate_error *err)
{
	struct sgate_manager *mgr = c->mgr;
	struct cached cached = {0};
	struct sgate_error ignored;
	struct token token;
	enum sgate_status status = SGATE_OK;

	*out = NULL;
	memset(&token, 0, sizeof(token));
	if (c->create->replaces.len > 0 && c->create->replaces.data != NULL &&
	    token_read(mgr->keys, manager_realm(mgr), c->create->replaces,
		&token) == SGATE_REASON_OK &&
	    cached_get(mgr, &token.ref, &cached, &ignored) == SGATE_OK &&
	    cached.session != NULL &&
	    strcmp(cached.session->realm, mgr->call.realm) == 0) {
		*out = cached.session;
		cached.session = NULL;
	}
	if (*out != NULL && (*out)->user[0] != '\0') {
		sgate_session_free(*out);
		*out = NULL;
		status = error_set(err, SGATE_INVALID, "input", "replaces", 0,
		    "replaces: the token of a session with a user");
	}
	token_wipe(&token);
	cached_clear(&cached);
	return status;
}

/* Whatever becomes of it, the login stands. */
static void
end_replaced(struct sgate_manager *mgr, const struct sgate_session *session)
{
	struct sgate_error ignored;
	enum sgate_status status;

	status =
	    manager_end_away(mgr, session, SGATE_REASON_REPLACED, &ignored);
	(void)status;
}

static bool
is_no_answer(enum sgate_status status)
{
	return status == SGATE_UNAVAILABLE || status == SGATE_UNCERTAIN;
}

/*
 * Whether a creation goes on without an answer. One with an Idempotency-Key
 * does not: nobody else could tell another host's repeat from a second login.
 * Nor, until the durable store is given up, does one that has a limit to keep:
 * that one user's logins wait for each other, or one answer comes late, must
 * not be a way past max_sessions.
 */
static bool
may_go_away(const struct creation *c)
{
	const struct sgate_manager *mgr = c->mgr;

	return away_is_on(mgr) && away_is_now(mgr) && mgr->spool != NULL &&
	       !c->has_key &&
	       (!has_limit(c) || breaker_is_open(&mgr->stores->durable));
}

/* The durable store has not answered. */
static enum sgate_status
create_away(
    struct creation *c, enum sgate_status answer, struct sgate_error *err)
{
	struct sgate_manager *mgr = c->mgr;
	struct sgate_session *replaced = NULL;
	enum sgate_status status;

	if (!is_no_answer(answer) || !may_go_away(c))
		return answer;
	status = read_replaced(c, &replaced, err);
	if (status == SGATE_OK && !c->has_token)
		status = make_event(c, err);
	if (status == SGATE_OK)
		status = away_create(mgr, c->session, &c->audit, err);
	if (status == SGATE_OK && replaced != NULL)
		end_replaced(mgr, replaced);
	sgate_session_free(replaced);
	/* What was tried may still have happened. */
	if (status == SGATE_UNAVAILABLE && answer == SGATE_UNCERTAIN) {
		status = answer;
		if (err != NULL)
			err->status = answer;
	}
	return status;
}

enum sgate_status
sgate_session_create(struct sgate_manager *mgr,
    const struct sgate_create *create, struct sgate_session **out_session,
    char **out_token, struct sgate_error *err)
{
	struct creation c = {.mgr = mgr, .create = create};
	enum sgate_status status;
	char *text = NULL;

	*out_session = NULL;
	*out_token = NULL;
	/* Before its moments are set: the first call finds out what time it is
	 * in the database. */
	manager_begin(mgr, err);
	status = fill_session(&c, err);
	if (status == SGATE_OK)
		status = settings_judge_new(mgr, c.session, err);
	if (status == SGATE_OK)
		status = read_key(&c, err);
	if (status == SGATE_OK) {
		text = calloc(1, SGATE_TOKEN_LEN + 1);
		if (text == NULL)
			status = error_memory(err, "create");
	}
	if (status == SGATE_OK) {
		status = manager_need_durable(mgr, err);
		if (status == SGATE_OK)
			status = create_run(&c, err);
		status = create_away(&c, status, err);
	}
	if (status == SGATE_OK &&
	    !token_write(mgr->keys, manager_realm(mgr), &c.token, text))
		status = error_set(err, SGATE_INTERNAL, "keys", "create", 0,
		    "the signing key has gone");
	if (status == SGATE_OK) {
		*out_session = c.session;
		*out_token = text;
		c.session = NULL;
		text = NULL;
	}
	sgate_token_free(text);
	token_wipe(&c.token);
	sodium_memzero(&c.key, sizeof(c.key));
	endings_clear(&c.endings);
	sgate_session_free(c.session);
	return status;
}
