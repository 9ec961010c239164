/*
 * From a token to a live session: whom a look believes, and the touch that
 * follows it.
 *
 * What this host knows to have ended, though no store has it yet, is refused
 * (manager_end.c). Else a look asks the cache first. What it finds there:
 *
 * | a tombstone                    | refused, with its reason                |
 * | a copy that is well sealed:    |                                         |
 * |   past its absolute expiry     | refused: that moment never changes (if  |
 * |                                | the database's clock is known)          |
 * |   of the fence's store and     | the session: if it is live by its       |
 * |   epoch, `sync` at the fence   | last_seen and the secret is the current |
 * |   or beyond                    | one or the one before, in grace         |
 * |   the same, but this host's    | the row; if nobody can answer, the      |
 * |   last round is too old        | session, as above, within max_blind     |
 * |   idle-expired, another        | the row: a copy may be old, so it never |
 * |   secret, another epoch, sync  | says no, and never proves a theft       |
 * |   below the fence              |                                         |
 * | a wrong seal, nothing, no      | the row                                 |
 * |   answer                       |                                         |
 * | 'U': created while the durable | as a copy, but it is brought to the     |
 * |   store was away               | durable store first; where there is no  |
 * |                                | row and that fails, it is the session,  |
 * |                                | whatever its sync: an end leaves a row  |
 *
 * The row is judged with the latest last_seen that is known, and put into the
 * cache with the number of its group at which it was read. The put is the
 * arbiter: it says whether a tombstone stands there, or whether something
 * changed since, and then the row is read again.
 */
#include "config.h"

#include "manager.h"

#include <string.h>

#include <sodium.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* How often a row is read again because its group has changed meanwhile. */
#define ROW_READS_AGAIN 2

/* ---- secrets ---- */

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
look_refuse_late(struct sgate_manager *mgr, const struct look *look,
    const struct durable_snapshot *at, struct sgate_error *err)
{
	enum sgate_status status;

	if (!look_is_ancestor(mgr, look)) {
		stores_count(mgr->counts, STORES_ROWS_OLDER);
		error_set(err, SGATE_NOT_FOUND, "session", "get", 0,
		    "the token is ours, but the row's secret does not follow "
		    "from it: the row is older than the token");
		if (err != NULL)
			err->reason = SGATE_REASON_UNKNOWN;
		return SGATE_NOT_FOUND;
	}
	status = change_end(mgr, look->session, at, SGATE_REASON_THEFT, err);
	if (status != SGATE_OK)
		return status;
	return error_reason(err, SGATE_NOT_FOUND, SGATE_REASON_THEFT, "get");
}

/* CURRENT and GRACE make the look complete. */
static enum session_secret
look_judge_secret(struct sgate_manager *mgr, struct look *look)
{
	look->secret = session_secret(look->session, look->hash,
	    manager_now_ms(mgr), mgr->conf->session.rotate_grace_ms);
	if (look->secret == SESSION_SECRET_GRACE)
		look_add_successor(mgr, look);
	return look->secret;
}

/* ---- a copy ---- */

enum verdict { VERDICT_LIVE, VERDICT_EXPIRED, VERDICT_LATE, VERDICT_DOUBT };

/* A copy that counts, or would if this host were not blind. */
static enum verdict
judge_copy(struct sgate_manager *mgr, struct look *look)
{
	const struct sgate_session *copy = look->session;
	enum sgate_reason expiry =
	    manager_expiry(mgr, copy, manager_now_ms(mgr));

	if (expiry != SGATE_REASON_OK && failpoint_is_off("idle-row"))
		return VERDICT_EXPIRED;
	if (expiry != SGATE_REASON_OK ||
	    strcmp(copy->realm, mgr->call.realm) != 0)
		return VERDICT_DOUBT;
	if (look_judge_secret(mgr, look) == SESSION_SECRET_LATE)
		return failpoint_is_off("theft-row") ? VERDICT_LATE
						     : VERDICT_DOUBT;
	return VERDICT_LIVE;
}

/* look->session becomes the copy, if there is a well-sealed one. */
static enum verdict
look_take_copy(struct sgate_manager *mgr, struct look *look, unsigned flags,
    struct cached *cached)
{
	enum verdict verdict;

	if (cached->session == NULL)
		return VERDICT_DOUBT;
	look->session = cached->session;
	cached->session = NULL;
	look->is_copy = true;
	if (session_expiry(look->session, manager_now_ms(mgr)) ==
		SGATE_REASON_EXPIRED_ABSOLUTE &&
	    manager_knows_time(mgr))
		return VERDICT_EXPIRED;
	if (cached->trust == FENCE_NO || (flags & LOOK_AT_ROW) != 0)
		return VERDICT_DOUBT;
	verdict = judge_copy(mgr, look);
	if (verdict == VERDICT_DOUBT)
		stores_count(mgr->counts, STORES_DOUBTED);
	return verdict;
}

/* ---- the row ---- */

/* Where it is to be put into the cache it is read whole. */
static enum sgate_status
look_read_row(struct sgate_manager *mgr, struct look *look, unsigned flags,
    struct durable_snapshot *out_at, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;

	status = manager_need_durable(mgr, err);
	if (status == SGATE_OK)
		status = manager_read_ref(mgr, &look->token.ref,
		    flags & SGATE_NO_DATA ? DURABLE_NO_DATA : 0, &session,
		    mgr->cache_ops != NULL ? out_at : NULL, err);
	if (status != SGATE_OK)
		return status;
	sgate_session_free(look->session);
	look->session = session;
	return SGATE_OK;
}

static enum sgate_status
look_judge_row(struct sgate_manager *mgr, struct look *look, int64_t seen_ms,
    const struct durable_snapshot *at, struct sgate_error *err)
{
	enum sgate_status status;

	if (!failpoint_is_off("seen-later"))
		session_seen(look->session, seen_ms, manager_now_ms(mgr));
	status = manager_judge_known(mgr, look->session, err);
	if (status == SGATE_OK &&
	    look_judge_secret(mgr, look) == SESSION_SECRET_LATE)
		status = look_refuse_late(mgr, look, at, err);
	return status;
}

/*
 * The row says that the session is live, and the cache does not answer. Of what
 * was ended while the durable store was away the cache has a tombstone, and the
 * row hears when the spools are shipped.
 */
static enum sgate_status
look_believe_row(struct sgate_manager *mgr, struct sgate_error *err)
{
	if (manager_rows_have_ends(mgr))
		return SGATE_OK;
	mgr->served_by = STORES_NOBODY;
	return error_set(err, SGATE_UNAVAILABLE, "session", "get", 0,
	    "%s has just come back, and does not have yet what was ended while "
	    "it was away; %s, which has, does not answer",
	    mgr->ops->name, mgr->cache_ops->name);
}

/* What the cache was found to have, as far as the row needs it. */
struct beside {
	bool is_cache_up;           /* the row is to be put there */
	int64_t seen_ms;            /* of the copy, whether it counts or not */
	const struct buf *unsealed; /* the copy, if its seal was wrong */
};

/*
 * *out_was_read: whether there was a row. SGATE_OK: out_put is what the cache
 * said of it, all zeros for nothing.
 */
static enum sgate_status
look_at_row(struct sgate_manager *mgr, struct look *look, unsigned flags,
    const struct beside *beside, bool *out_was_read, struct put_result *out_put,
    struct sgate_error *err)
{
	struct durable_snapshot at = {0};
	struct sgate_error ignored;
	enum sgate_status status;
	int again;

	*out_was_read = false;
	memset(out_put, 0, sizeof(*out_put));
	if (beside->is_cache_up)
		flags &= ~SGATE_NO_DATA;
	for (again = 0; again <= ROW_READS_AGAIN; again++) {
		status = look_read_row(mgr, look, flags, &at, err);
		/* What was read and judged a moment ago is true enough. */
		if (status == SGATE_UNAVAILABLE && again > 0)
			break;
		if (status != SGATE_OK)
			return status;
		*out_was_read = true;
		status = look_judge_row(mgr, look, beside->seen_ms, &at, err);
		if (status != SGATE_OK)
			return status;
		if (!beside->is_cache_up)
			return look_believe_row(mgr, err);
		if (cached_put(mgr, look->session, &at, beside->unsealed,
			out_put, &ignored) != SGATE_OK ||
		    out_put->answer != CACHE_PUT_RETRY)
			break;
	}
	error_clear(err);
	return SGATE_OK;
}

/* ---- created while the durable store was away ---- */

/* The copy of a session that the durable store may not have yet. */
struct newcomer {
	bool is_there;
	bool is_live; /* as far as the copy tells, whatever its sync */
	struct record_birth birth;
};

static void
newcomer_see(struct sgate_manager *mgr, struct look *look,
    const struct cached *cached, struct newcomer *out)
{
	memset(out, 0, sizeof(*out));
	out->is_there = cached->is_new && away_is_possible(mgr);
	if (!out->is_there)
		return;
	look->is_new = true;
	out->birth = cached->birth;
	out->is_live = judge_copy(mgr, look) == VERDICT_LIVE;
}

/*
 * Whoever meets one brings it to the durable store, if that is there, so that
 * it depends on nobody's spool. True: its row is to be asked now.
 */
static bool
look_lands(struct sgate_manager *mgr, const struct look *look,
    const struct newcomer *newcomer)
{
	struct sgate_error ignored;

	return newcomer->is_there &&
	       manager_need_durable(mgr, &ignored) == SGATE_OK &&
	       away_land(mgr, look->session, &newcomer->birth, &ignored) ==
		   SGATE_OK;
}

/*
 * There is no row. SGATE_OK: there is one now, and it is in `look`, or *out_is_
 * copy: the copy in `look` is the session.
 */
static enum sgate_status
look_meet(struct sgate_manager *mgr, struct look *look, const struct look *copy,
    const struct newcomer *newcomer, unsigned flags,
    const struct beside *beside, bool *out_is_copy, struct put_result *out_put,
    struct sgate_error *err)
{
	enum sgate_status status;
	bool was_read = false;

	*out_is_copy = false;
	if (!newcomer->is_there)
		return away_judge_absent(mgr, &look->token.ref, err);
	status = away_land(mgr, copy->session, &newcomer->birth, err);
	if (status == SGATE_OK)
		status = look_at_row(
		    mgr, look, flags, beside, &was_read, out_put, err);
	if (status == SGATE_OK || (status == SGATE_NOT_FOUND && was_read))
		return status;
	if (!newcomer->is_live || (flags & LOOK_AT_ROW) != 0)
		return error_set(err, SGATE_UNAVAILABLE, "session", "get", 0,
		    "%s does not know the session yet", mgr->ops->name);
	*out_is_copy = true;
	return SGATE_OK;
}

/* ---- both ---- */

static enum sgate_status
look_refuse_ended(struct sgate_manager *mgr, enum sgate_reason reason,
    struct sgate_error *err)
{
	mgr->served_by = STORES_CACHE;
	stores_count(mgr->counts, STORES_REFUSED_TOMBSTONE);
	return error_reason(err, SGATE_NOT_FOUND, reason, "get");
}

/* The copy has the answer: no row is asked. */
static enum sgate_status
look_end_with_copy(struct sgate_manager *mgr, struct look *look,
    enum verdict verdict, struct sgate_error *err)
{
	const struct durable_snapshot nowhere = {0};

	mgr->served_by = STORES_CACHE;
	stores_count(mgr->counts,
	    look->is_blind ? STORES_SERVED_BLIND : STORES_SERVED_CACHE);
	error_clear(err);
	if (verdict == VERDICT_LIVE)
		return SGATE_OK;
	if (verdict == VERDICT_LATE)
		return look_refuse_late(mgr, look, &nowhere, err);
	return error_reason(err, SGATE_NOT_FOUND,
	    session_expiry(look->session, manager_now_ms(mgr)), "get");
}

/*
 * No copy is enough: the row. is_copy_good: the copy after all, if the row
 * cannot be read, because this host is blind.
 */
static enum sgate_status
look_beyond_copy(struct sgate_manager *mgr, struct look *look, unsigned flags,
    struct beside *beside, const struct newcomer *newcomer, bool is_copy_good,
    struct sgate_error *err)
{
	struct look copy = *look;
	struct put_result put;
	enum sgate_status status;
	bool was_read, is_copy = false;

	beside->seen_ms = copy.session != NULL ? copy.session->last_seen_ms : 0;
	look->session = NULL;
	look->is_copy = look->is_new = false;
	status = look_at_row(mgr, look, flags, beside, &was_read, &put, err);
	if (status == SGATE_NOT_FOUND && !was_read)
		status = look_meet(mgr, look, &copy, newcomer, flags, beside,
		    &is_copy, &put, err);
	else if (status == SGATE_UNAVAILABLE && !was_read && is_copy_good)
		copy.is_blind = is_copy = true;
	if (is_copy) {
		sgate_session_free(look->session);
		*look = copy;
		status = look_end_with_copy(mgr, look, VERDICT_LIVE, err);
	} else {
		sgate_session_free(copy.session);
		if (status == SGATE_OK && put.answer == CACHE_PUT_ENDED)
			status = look_refuse_ended(mgr, put.ended, err);
		else if (status == SGATE_OK || status == SGATE_NOT_FOUND)
			stores_count(mgr->counts, STORES_SERVED_DURABLE);
	}
	token_wipe(&copy.token);
	sodium_memzero(copy.hash, sizeof(copy.hash));
	return status;
}

static enum sgate_status
look_ask(struct sgate_manager *mgr, struct look *look, unsigned flags,
    struct sgate_error *err)
{
	struct cached cached = {0};
	struct newcomer newcomer = {.is_there = false};
	struct beside beside = {.unsealed = &cached.unsealed};
	enum sgate_reason ended =
	    stores_ended_here(mgr->stores, &look->token.ref);
	enum verdict verdict;
	enum sgate_status status = SGATE_UNAVAILABLE;

	if (ended != SGATE_REASON_OK) {
		stores_count(mgr->counts, STORES_REFUSED_HERE);
		return error_reason(err, SGATE_NOT_FOUND, ended, "get");
	}
	if (mgr->cache_ops != NULL)
		status = (flags & SGATE_NO_DATA) != 0
			     ? cached_peek(mgr, &look->token.ref, &cached, err)
			     : cached_get(mgr, &look->token.ref, &cached, err);
	beside.is_cache_up = status == SGATE_OK;
	if (status != SGATE_OK && status != SGATE_UNAVAILABLE)
		goto out;
	if (cached.ended != SGATE_REASON_OK) {
		status = look_refuse_ended(mgr, cached.ended, err);
		goto out;
	}
	verdict = look_take_copy(mgr, look, flags, &cached);
	newcomer_see(mgr, look, &cached, &newcomer);
	if (verdict == VERDICT_EXPIRED ||
	    (verdict != VERDICT_DOUBT && cached.trust == FENCE_YES &&
		!look_lands(mgr, look, &newcomer)))
		status = look_end_with_copy(mgr, look, verdict, err);
	else
		status = look_beyond_copy(mgr, look, flags, &beside, &newcomer,
		    verdict == VERDICT_LIVE, err);
out:
	cached_clear(&cached);
	return status;
}

enum sgate_status
look_up(struct sgate_manager *mgr, struct sgate_bytes text, unsigned flags,
    struct look *out, struct sgate_error *err)
{
	struct sgate_error own;
	enum sgate_status status;

	if (err == NULL)
		err = &own;
	memset(out, 0, sizeof(*out));
	status = manager_read_token(mgr, text, &out->token, err);
	if (status != SGATE_OK)
		return status;
	token_hash(out->token.secret, out->hash);
	manager_begin(mgr, err);
	status = look_ask(mgr, out, flags, err);
	if (status == SGATE_OK && (flags & SGATE_NO_DATA) != 0)
		out->session->data[0] = '\0';
	if (status == SGATE_UNAVAILABLE || status == SGATE_CORRUPT)
		stores_count(mgr->counts, STORES_UNAVAILABLE);
	/* A copy that is believed stood beside a round that is young, or nobody
	 * can tell more. */
	if (status == SGATE_OK)
		status = settings_judge(mgr, out->session, !out->is_copy,
		    (flags & SGATE_IN_MAINTENANCE) == 0, err);
	/* He is there, and asks: what holds him back must not end his session
	 * as idle. */
	if (status == SGATE_UNAVAILABLE && out->session != NULL &&
	    err->reason == SGATE_REASON_MAINTENANCE)
		look_touch(mgr, out, flags);
	return status;
}

void
look_clear(struct look *look)
{
	token_wipe(&look->token);
	sodium_memzero(look->hash, sizeof(look->hash));
	sgate_session_free(look->session);
	look->session = NULL;
}

/* ---- touches ---- */

static struct manager_mark *
mark_of(struct sgate_manager *mgr, const struct sgate_ref *ref)
{
	return &mgr->marks[ref->bytes[SGATE_REF_BYTES - 1] % MANAGER_MARKS];
}

/*
 * Whether a copy's successor is known to have been used. To be told of it once
 * too often does no harm.
 */
static bool
is_marked(struct sgate_manager *mgr, const struct sgate_session *session)
{
	const struct manager_mark *mark = mark_of(mgr, &session->ref);

	if (mgr->hooks.is_marked != NULL)
		return mgr->hooks.is_marked(
		    mgr->hooks.arg, &session->ref, session->secret_hash);
	return memcmp(&mark->ref, &session->ref, sizeof(mark->ref)) == 0 &&
	       memcmp(mark->secret_hash, session->secret_hash,
		   sizeof(mark->secret_hash)) == 0;
}

/* The client has the new cookie: the old one's grace begins to run. */
static bool
look_is_first_use(struct sgate_manager *mgr, const struct look *look)
{
	const struct sgate_session *session = look->session;

	if (look->secret != SESSION_SECRET_CURRENT || !session->has_prev ||
	    failpoint_is_off("mark"))
		return false;
	return look->is_copy ? !is_marked(mgr, session)
			     : session->successor_used_ms == 0;
}

bool
look_is_settled(struct sgate_manager *mgr, const struct look *look)
{
	return look->secret == SESSION_SECRET_CURRENT && !look->is_new &&
	       !look_is_first_use(mgr, look);
}

bool
look_touch_make(struct sgate_manager *mgr, const struct look *look,
    bool is_activity, struct durable_touch *out)
{
	const struct sgate_session *session = look->session;
	int64_t now_ms = manager_now_ms(mgr);

	memset(out, 0, sizeof(*out));
	out->ref = session->ref;
	if (is_activity) {
		out->last_seen_ms = now_ms;
		out->copy_ttl_ms = session_copy_ttl_ms(session, now_ms);
	}
	if (look_is_first_use(mgr, look)) {
		out->successor_used_ms = now_ms;
		memcpy(out->secret_hash, session->secret_hash,
		    sizeof(out->secret_hash));
	}
	return out->last_seen_ms != 0 || out->successor_used_ms != 0;
}

void
look_touch_written(struct sgate_manager *mgr, struct look *look,
    const struct durable_touch *touch)
{
	struct manager_mark *mark = mark_of(mgr, &touch->ref);

	if (touch->successor_used_ms == 0)
		return;
	look->session->successor_used_ms = touch->successor_used_ms;
	mark->ref = touch->ref;
	memcpy(
	    mark->secret_hash, touch->secret_hash, sizeof(mark->secret_hash));
}

/*
 * Nobody waits long for a touch and nobody fails for one: the row has room for
 * a tenth of the idle timeout, and the next look does it again. The durable
 * store that could not answer this look is not asked once more. False: neither
 * store has it.
 */
static bool
touch_by_itself(struct sgate_manager *mgr, struct look *look,
    const struct durable_touch *touch)
{
	int64_t soon_ms = clock_monotonic_ms() + MANAGER_TOUCH_WAIT_MS;
	enum stores_server served_by = mgr->served_by;
	bool is_cached = cached_touch(mgr, touch, 1);
	enum sgate_status status = SGATE_UNAVAILABLE;
	struct sgate_error ignored;

	if (!look->is_blind)
		status = manager_need_durable(mgr, &ignored);
	if (status == SGATE_OK) {
		if (soon_ms < mgr->call.deadline_ms)
			mgr->durable->deadline_ms = soon_ms;
		status = manager_write(mgr,
		    mgr->ops->touch(mgr->durable, touch, 1, &ignored),
		    &ignored);
		mgr->durable->deadline_ms = mgr->call.deadline_ms;
	}
	mgr->served_by = served_by;
	if (status == SGATE_OK) {
		stores_count(mgr->counts, STORES_DURABLE_WRITES);
		look_touch_written(mgr, look, touch);
	}
	return is_cached || status == SGATE_OK;
}

void
look_touch(struct sgate_manager *mgr, struct look *look, unsigned flags)
{
	struct sgate_session *session = look->session;
	struct durable_touch touch;
	bool is_activity = !(flags & SGATE_NO_TOUCH) &&
			   session_touch_is_due(session, manager_now_ms(mgr));

	if (!look_touch_make(mgr, look, is_activity, &touch))
		return;
	if (mgr->hooks.put != NULL && mgr->hooks.put(mgr->hooks.arg, &touch)) {
		if (touch.successor_used_ms != 0)
			session->successor_used_ms = touch.successor_used_ms;
	} else if (!touch_by_itself(mgr, look, &touch)) {
		return;
	}
	if (is_activity && touch.last_seen_ms > session->last_seen_ms)
		session->last_seen_ms = touch.last_seen_ms;
}

/* ---- the public looks ---- */

enum sgate_status
sgate_session_get(struct sgate_manager *mgr, struct sgate_bytes token,
    unsigned flags, struct sgate_session **out_session, struct sgate_error *err)
{
	struct look look;
	enum sgate_status status;

	*out_session = NULL;
	status = look_up(mgr, token,
	    flags & (SGATE_NO_TOUCH | SGATE_NO_DATA | SGATE_IN_MAINTENANCE),
	    &look, err);
	if (status == SGATE_OK) {
		look_touch(mgr, &look, flags);
		*out_session = look.session;
		look.session = NULL;
	}
	look_clear(&look);
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
