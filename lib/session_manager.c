/*
 * The session manager: what the public functions do with tokens, rows and the
 * durable store. This file makes and frees managers, says what each answer of
 * the store means, and looks sessions up; changes are in manager_*.c (their
 * list is in manager.h).
 *
 * The one idea: a look never changes a session but for noting activity, and a
 * change never believes a look; it reads the row again under its lock.
 */
#include "config.h"

#include "manager.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "clock.h"
#include "status.h"

/*
 * Fallback: what each answer of the store means.
 *
 * The durable store is the truth and the only store that is asked, so an
 * answer that is no answer has nowhere to fall back to: it is "unavailable",
 * try again, and never "no such session". Nobody is logged out by an outage.
 *
 * | the store says | to a look            | within a change               |
 * | OK             | a row                | go on                         |
 * | NOT_FOUND      | no such session      | no such session; roll back    |
 * | CONFLICT       | our bug              | told by the place: audit: it  |
 * |                |                      | was done; key: a repeat       |
 * | INVALID        | unavailable: the schema is missing or of another      |
 * |                | version, which says nothing about the session         |
 * | CORRUPT        | corrupt: left in place; callers answer "unavailable"  |
 * | TOO_LARGE      | unavailable          | too large                     |
 * | DENIED         | our bug              | a lease is another's          |
 * | UNAVAILABLE    | unavailable          | once more while time is left  |
 * | UNCERTAIN      | unavailable          | settled by its audit row      |
 * | the rest       | as it is             | as it is                      |
 *
 * When you add a status, add its line here and in fallback[].
 */
static const struct {
	enum sgate_status to_look, to_change;
} fallback[] = {
    [SGATE_OK] = {SGATE_OK, SGATE_OK},
    [SGATE_NOT_FOUND] = {SGATE_NOT_FOUND, SGATE_NOT_FOUND},
    [SGATE_CONFLICT] = {SGATE_INTERNAL, SGATE_CONFLICT},
    [SGATE_INVALID] = {SGATE_UNAVAILABLE, SGATE_UNAVAILABLE},
    [SGATE_CORRUPT] = {SGATE_CORRUPT, SGATE_CORRUPT},
    [SGATE_TOO_LARGE] = {SGATE_UNAVAILABLE, SGATE_TOO_LARGE},
    [SGATE_DENIED] = {SGATE_INTERNAL, SGATE_DENIED},
    [SGATE_UNAVAILABLE] = {SGATE_UNAVAILABLE, SGATE_UNAVAILABLE},
    [SGATE_UNCERTAIN] = {SGATE_UNAVAILABLE, SGATE_UNCERTAIN},
    [SGATE_NO_MEMORY] = {SGATE_NO_MEMORY, SGATE_NO_MEMORY},
    [SGATE_INTERNAL] = {SGATE_INTERNAL, SGATE_INTERNAL},
};

static enum sgate_status
translate(struct sgate_manager *mgr, enum sgate_status answer,
    enum sgate_status meaning, struct sgate_error *err)
{
	if (answer == SGATE_OK || answer == SGATE_NOT_FOUND ||
	    answer == SGATE_CONFLICT || answer == SGATE_DENIED)
		mgr->served_by = mgr->ops->name;
	if (meaning != answer && err != NULL) {
		err->status = meaning;
		if (meaning == SGATE_UNAVAILABLE)
			err->reason = SGATE_REASON_STORE;
	}
	return meaning;
}

enum sgate_status
manager_read(struct sgate_manager *mgr, enum sgate_status answer,
    struct sgate_error *err)
{
	return translate(mgr, answer, fallback[answer].to_look, err);
}

enum sgate_status
manager_write(struct sgate_manager *mgr, enum sgate_status answer,
    struct sgate_error *err)
{
	return translate(mgr, answer, fallback[answer].to_change, err);
}

/* ---- make, free, ask ---- */

/*
 * This process's own part of event ids. A handle that came through fork() is
 * the parent's: to use or to close it mixes two processes in one connection,
 * so it is let go untouched. Whether the store can be opened again here is the
 * driver's to know.
 */
static void
manager_settle_in(struct sgate_manager *mgr, pid_t pid)
{
	unsigned char hash[crypto_generichash_BYTES_MIN];

	mgr->pid = pid;
	mgr->durable = NULL;
	if (gethostname(mgr->host, sizeof(mgr->host) - 1) != 0)
		memcpy(mgr->host, "unknown", sizeof("unknown"));
	mgr->host[sizeof(mgr->host) - 1] = '\0';
	crypto_generichash(hash, sizeof(hash), (const unsigned char *)mgr->host,
	    strlen(mgr->host), NULL, 0);
	memcpy(mgr->event_host, hash, sizeof(mgr->event_host));
	token_random(mgr->event_manager, sizeof(mgr->event_manager));
}

enum sgate_status
manager_new_with(const struct sgate_conf *conf,
    const struct sgate_options *options, const struct durable_ops *ops,
    const struct cache_ops *cache_ops, struct sgate_manager **out_mgr,
    struct sgate_error *err)
{
	struct sgate_manager *mgr = NULL;
	enum sgate_status status;

	*out_mgr = NULL;
	error_clear(err);
	if (conf == NULL)
		return error_set(err, SGATE_INVALID, "manager", "new", 0,
		    "no configuration: see sgate_conf_load()");
	if (sodium_init() < 0)
		return error_set(err, SGATE_INTERNAL, "sodium", "init", 0,
		    "libsodium cannot be initialised");
	mgr = calloc(1, sizeof(*mgr));
	if (mgr == NULL)
		return error_memory(err, "manager_new");
	mgr->conf = conf_dup(conf);
	if (mgr->conf == NULL) {
		status = error_memory(err, "manager_new");
		goto out;
	}
	mgr->ops = ops != NULL ? ops : durable_choose(mgr->conf);
	mgr->cache_ops = cache_ops;
	if (options != NULL) {
		mgr->clock = options->clock;
		mgr->clock_arg = options->clock_arg;
	}
	mgr->served_by = "";
	mgr->budget_ms = mgr->conf->gateway.request_timeout_ms;
	memcpy(mgr->actor, "library", sizeof("library"));
	manager_settle_in(mgr, getpid());
	status = keys_load(mgr->conf->keys.file, &mgr->keys, err);
	if (status != SGATE_OK)
		goto out;
	*out_mgr = mgr;
	mgr = NULL;
out:
	sgate_manager_free(mgr);
	return status;
}

enum sgate_status
sgate_manager_new(const struct sgate_conf *conf,
    const struct sgate_options *options, struct sgate_manager **out_mgr,
    struct sgate_error *err)
{
	return manager_new_with(conf, options, NULL, NULL, out_mgr, err);
}

void
sgate_manager_free(struct sgate_manager *mgr)
{
	if (mgr == NULL)
		return;
	if (mgr->durable != NULL && mgr->pid == getpid())
		mgr->ops->close(mgr->durable);
	keys_free(mgr->keys);
	sgate_conf_free(mgr->conf);
	free(mgr);
}

enum sgate_status
sgate_manager_set_caller(struct sgate_manager *mgr,
    const struct sgate_caller *caller, struct sgate_error *err)
{
	unsigned char ip[16];
	size_t ip_len;
	enum sgate_status status;

	error_clear(err);
	status = input_realm(caller->realm, err);
	if (status == SGATE_OK)
		status = input_text(
		    "actor", caller->actor, sizeof(mgr->actor) - 1, err);
	if (status == SGATE_OK)
		status = input_address(caller->client_ip, ip, &ip_len, err);
	if (status != SGATE_OK)
		return status;
	if (caller->budget_ms < 0)
		return error_set(err, SGATE_INVALID, "manager", "set_caller", 0,
		    "budget_ms: a time cannot be negative");
	input_copy(mgr->realm, sizeof(mgr->realm), caller->realm);
	input_copy(mgr->actor, sizeof(mgr->actor),
	    caller->actor.len > 0 ? caller->actor : bytes_of("library"));
	memcpy(mgr->client_ip, ip, sizeof(ip));
	mgr->client_ip_len = ip_len;
	mgr->budget_ms = caller->budget_ms > 0
			     ? caller->budget_ms
			     : mgr->conf->gateway.request_timeout_ms;
	if (mgr->budget_ms > MANAGER_BUDGET_MAX_MS)
		mgr->budget_ms = MANAGER_BUDGET_MAX_MS;
	return SGATE_OK;
}

void
manager_set_touch_hooks(
    struct sgate_manager *mgr, const struct manager_touch_hooks *hooks)
{
	memset(&mgr->hooks, 0, sizeof(mgr->hooks));
	if (hooks != NULL)
		mgr->hooks = *hooks;
}

const struct keys *
manager_keys(const struct sgate_manager *mgr)
{
	return mgr->keys;
}

int64_t
manager_now_ms(const struct sgate_manager *mgr)
{
	return mgr->clock != NULL ? mgr->clock(mgr->clock_arg) : clock_utc_ms();
}

const char *
manager_served_by(const struct sgate_manager *mgr)
{
	return mgr->served_by;
}

uint64_t
manager_rows_older(const struct sgate_manager *mgr)
{
	return mgr->rows_older_than_token;
}

enum sgate_status
manager_enter(struct sgate_manager *mgr, struct sgate_error *err)
{
	pid_t pid = getpid();
	enum sgate_status status;

	error_clear(err);
	mgr->served_by = "";
	mgr->deadline_ms = clock_monotonic_ms() + mgr->budget_ms;
	if (mgr->pid != pid)
		manager_settle_in(mgr, pid);
	if (mgr->durable == NULL) {
		status = manager_read(
		    mgr, mgr->ops->open(mgr->conf, &mgr->durable, err), err);
		mgr->served_by = "";
		if (status != SGATE_OK)
			return status;
	}
	mgr->durable->deadline_ms = mgr->deadline_ms;
	return SGATE_OK;
}

bool
manager_has_time(const struct sgate_manager *mgr)
{
	return clock_left_ms(mgr->deadline_ms) > 0;
}

struct sgate_bytes
manager_realm(const struct sgate_manager *mgr)
{
	return bytes_of(mgr->realm);
}

/* ---- rows ---- */

enum sgate_status
manager_read_ref(struct sgate_manager *mgr, const struct sgate_ref *ref,
    unsigned durable_flags, struct sgate_session **out, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;

	*out = NULL;
	status = manager_read(mgr,
	    mgr->ops->session_get(
		mgr->durable, ref, durable_flags, &session, NULL, err),
	    err);
	if (status == SGATE_NOT_FOUND)
		return error_reason(err, status, SGATE_REASON_UNKNOWN, "get");
	if (status != SGATE_OK)
		return status;
	if (strcmp(session->realm, mgr->realm) != 0) {
		/* Another realm's session does not exist here. */
		sgate_session_free(session);
		return error_reason(
		    err, SGATE_NOT_FOUND, SGATE_REASON_UNKNOWN, "get");
	}
	*out = session;
	return SGATE_OK;
}

/*
 * A touch that somebody has not written yet counts as if it were; the future
 * counts as now.
 */
enum sgate_reason
manager_expiry(struct sgate_manager *mgr, const struct sgate_session *session,
    int64_t now_ms)
{
	enum sgate_reason reason = session_expiry(session, now_ms);
	struct sgate_session seen;
	int64_t pending;

	if (reason != SGATE_REASON_EXPIRED_IDLE || mgr->hooks.last_seen == NULL)
		return reason;
	pending = mgr->hooks.last_seen(mgr->hooks.arg, &session->ref);
	if (pending > now_ms)
		pending = now_ms;
	if (pending <= session->last_seen_ms)
		return reason;
	seen = *session;
	seen.last_seen_ms = pending;
	return session_expiry(&seen, now_ms);
}

enum sgate_status
manager_judge(struct sgate_manager *mgr, const struct sgate_session *session,
    struct sgate_error *err)
{
	enum sgate_reason reason;

	if (session->state != SESSION_LIVE)
		return error_reason(err, SGATE_NOT_FOUND,
		    session->end_reason != SGATE_REASON_OK
			? session->end_reason
			: SGATE_REASON_REVOKED,
		    "get");
	reason = manager_expiry(mgr, session, manager_now_ms(mgr));
	if (reason != SGATE_REASON_OK)
		return error_reason(err, SGATE_NOT_FOUND, reason, "get");
	return SGATE_OK;
}

enum sgate_status
manager_read_token(struct sgate_manager *mgr, struct sgate_bytes text,
    struct token *out, struct sgate_error *err)
{
	enum sgate_reason reason;

	error_clear(err);
	mgr->served_by = "";
	if (text.len == 0)
		reason = SGATE_REASON_NONE;
	else
		reason = token_read(mgr->keys, manager_realm(mgr), text, out);
	if (reason != SGATE_REASON_OK)
		return error_reason(err, SGATE_NOT_FOUND, reason, "token");
	return SGATE_OK;
}

/* ---- looks ---- */

/* The successor's cookie is sent only if it is the row's current secret. */
static void
look_add_successor(struct sgate_manager *mgr, struct look *look)
{
	struct token successor = look->token;
	unsigned char hash[TOKEN_HASH_BYTES];

	successor.key_id = keys_signing_id(mgr->keys);
	token_successor(
	    mgr->keys, &look->token.ref, look->token.secret, successor.secret);
	token_hash(successor.secret, hash);
	if (sodium_memcmp(hash, look->session->secret_hash, sizeof(hash)) !=
		0 ||
	    !token_write(mgr->keys, manager_realm(mgr), &successor,
		look->session->new_token))
		look->session->new_token[0] = '\0';
	token_wipe(&successor);
}

/* Does the row's secret follow from the presented one? */
static bool
look_is_ancestor(const struct sgate_manager *mgr, const struct look *look)
{
	unsigned char secret[TOKEN_SECRET_BYTES], next[TOKEN_SECRET_BYTES];
	unsigned char hash[TOKEN_HASH_BYTES];
	bool is_met = false;
	int step;

	memcpy(secret, look->token.secret, sizeof(secret));
	for (step = 0; step < MANAGER_THEFT_STEPS && !is_met; step++) {
		token_successor(mgr->keys, &look->token.ref, secret, next);
		memcpy(secret, next, sizeof(secret));
		token_hash(secret, hash);
		is_met = sodium_memcmp(hash, look->session->secret_hash,
			     sizeof(hash)) == 0;
	}
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(next, sizeof(next));
	return is_met;
}

/*
 * A secret that is neither current nor in grace. Theft is a proof, not a
 * mismatch: a row that is older than the token (a restored dump) must not end
 * the session of its honest owner.
 */
static enum sgate_status
look_refuse_late(
    struct sgate_manager *mgr, const struct look *look, struct sgate_error *err)
{
	enum sgate_status status;

	if (!look_is_ancestor(mgr, look)) {
		mgr->rows_older_than_token++;
		error_set(err, SGATE_NOT_FOUND, "session", "get", 0,
		    "the token is ours, but the row's secret does not follow "
		    "from it: the row is older than the token");
		if (err != NULL)
			err->reason = SGATE_REASON_UNKNOWN;
		return SGATE_NOT_FOUND;
	}
	status = change_end(mgr, look->session, SGATE_REASON_THEFT, err);
	if (status != SGATE_OK)
		return status;
	return error_reason(err, SGATE_NOT_FOUND, SGATE_REASON_THEFT, "get");
}

enum sgate_status
look_up(struct sgate_manager *mgr, struct sgate_bytes text, unsigned flags,
    struct look *out, struct sgate_error *err)
{
	struct look *look = out;
	enum sgate_status status;

	memset(look, 0, sizeof(*look));
	status = manager_read_token(mgr, text, &look->token, err);
	if (status == SGATE_OK)
		status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = manager_read_ref(mgr, &look->token.ref,
		    flags & SGATE_NO_DATA ? DURABLE_NO_DATA : 0, &look->session,
		    err);
	if (status == SGATE_OK)
		status = manager_judge(mgr, look->session, err);
	if (status != SGATE_OK)
		return status;

	token_hash(look->token.secret, look->hash);
	look->secret = session_secret(look->session, look->hash,
	    manager_now_ms(mgr), mgr->conf->session.rotate_grace_ms);
	switch (look->secret) {
	case SESSION_SECRET_CURRENT:
		return SGATE_OK;
	case SESSION_SECRET_GRACE:
		look_add_successor(mgr, look);
		return SGATE_OK;
	case SESSION_SECRET_LATE:
		return look_refuse_late(mgr, look, err);
	}
	return error_set(err, SGATE_INTERNAL, "session", "get", 0,
	    "a secret of no known kind");
}

void
look_clear(struct look *look)
{
	token_wipe(&look->token);
	sodium_memzero(look->hash, sizeof(look->hash));
	sgate_session_free(look->session);
	look->session = NULL;
}

/*
 * Nobody waits long for a touch and nobody fails for one: the row has room for
 * a tenth of the idle timeout, and the next look does it again.
 */
static bool
touch_by_itself(struct sgate_manager *mgr, struct durable_touch *touch)
{
	int64_t soon_ms = clock_monotonic_ms() + MANAGER_TOUCH_WAIT_MS;
	struct sgate_error ignored;
	enum sgate_status status;

	if (soon_ms < mgr->deadline_ms)
		mgr->durable->deadline_ms = soon_ms;
	status = mgr->ops->touch(mgr->durable, touch, 1, &ignored);
	mgr->durable->deadline_ms = mgr->deadline_ms;
	return status == SGATE_OK;
}

void
look_touch(struct sgate_manager *mgr, struct look *look, unsigned flags)
{
	struct sgate_session *session = look->session;
	int64_t now_ms = manager_now_ms(mgr);
	struct durable_touch touch;
	bool is_activity, is_first_use;

	is_activity =
	    !(flags & SGATE_NO_TOUCH) && session_touch_is_due(session, now_ms);
	/* The client has the new cookie: the old one's grace begins to run. */
	is_first_use = look->secret == SESSION_SECRET_CURRENT &&
		       session->has_prev && session->successor_used_ms == 0;
	if (!is_activity && !is_first_use)
		return;
	memset(&touch, 0, sizeof(touch));
	touch.ref = session->ref;
	if (is_activity)
		touch.last_seen_ms = now_ms;
	if (is_first_use) {
		touch.successor_used_ms = now_ms;
		memcpy(touch.secret_hash, session->secret_hash,
		    sizeof(touch.secret_hash));
	}
	if (mgr->hooks.put == NULL || !mgr->hooks.put(mgr->hooks.arg, &touch))
		if (!touch_by_itself(mgr, &touch))
			return;
	if (is_activity && now_ms > session->last_seen_ms)
		session->last_seen_ms = now_ms;
	if (is_first_use)
		session->successor_used_ms = now_ms;
}

enum sgate_status
sgate_session_get(struct sgate_manager *mgr, struct sgate_bytes token,
    unsigned flags, struct sgate_session **out_session, struct sgate_error *err)
{
	struct look look;
	enum sgate_status status;

	*out_session = NULL;
	status = look_up(mgr, token, flags, &look, err);
	if (status == SGATE_OK) {
		look_touch(mgr, &look, flags);
		*out_session = look.session;
		look.session = NULL;
	}
	look_clear(&look);
	return status;
}

enum sgate_status
sgate_session_get_by_ref(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_session **out_session, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;

	*out_session = NULL;
	status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = manager_read_ref(mgr, ref, 0, &session, err);
	if (status == SGATE_OK)
		status = manager_judge(mgr, session, err);
	if (status == SGATE_OK) {
		*out_session = session;
		session = NULL;
	}
	sgate_session_free(session);
	return status;
}

enum sgate_status
manager_session_any(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_session **out, struct sgate_error *err)
{
	enum sgate_status status;

	*out = NULL;
	status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = manager_read_ref(mgr, ref, 0, out, err);
	return status;
}

enum sgate_status
sgate_session_validate(struct sgate_manager *mgr, struct sgate_bytes token,
    struct sgate_ref *out_ref, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;

	memset(out_ref, 0, sizeof(*out_ref));
	status = sgate_session_get(mgr, token, SGATE_NO_DATA, &session, err);
	if (status == SGATE_OK)
		*out_ref = session->ref;
	sgate_session_free(session);
	return status;
}
