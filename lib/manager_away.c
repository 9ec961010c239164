/*
 * Sessions that are created while the durable store is away (protocol 8).
 *
 * Such a session is in two places: in Redis as a record 'U', with its ref in
 * its user's set, and in this host's spool, synced. Both, or it is not
 * acknowledged. Redis is told first: what is left there by a creation that then
 * fails, or whose process is killed, is a record that nobody has the token of,
 * and it runs out; the spool would bring it to the durable store.
 *
 * It *lands* as soon as somebody who meets it has the durable store: the
 * keeper, from the spool of its host; a look or a change, from its record, so
 * that it does not depend on its host. To land is one transaction: the audit
 * row of the creation, whose event id makes it happen once, and the row of the
 * session. Where there is a row already (a placeholder of an end, H21), that
 * stays, and the audit row alone is new. The record becomes an 'L' then.
 *
 * The order of things that meet:
 *
 * | an end           | leaves a row that has ended (MySQL) or a frame and a   |
 * |                  | tombstone: whichever lands first, it has ended         |
 * | a cleanup        | reads the user's set first and ends those refs too, by |
 * |                  | placeholders. When Redis does not answer it says so in |
 * |                  | its audit row, and what lands later asks for that      |
 * | a block          | as a cleanup; a blocked user's session ends as it      |
 * |                  | lands. Creating asks the list of blocked users, which  |
 * |                  | the rounds keep, and is refused without one            |
 * | max_sessions     | is not enforced once the durable store is given up     |
 * | a change         | lands it first, or is "unavailable"                    |
 *
 * A genuine token of a session that the durable store does not know is
 * "unavailable" for a while, if it was created after the durable store went
 * away: it may still be in somebody's spool (H32).
 */
#include "config.h"

#include "manager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "spool.h"
#include "status.h"

/* How long the durable store must be back before it is known to have all. */
#define HELD_MS 60000
/* Connections of one call that were not answered. */
#define LOSSES_MIN 2
/* A host that has just started holds back what is as young as this: no row is
 * deleted within a day. */
#define FRESH_MS (INT64_C(24) * 60 * 60 * 1000)

_Static_assert(RECORD_EVENT_BYTES == DURABLE_EVENT_BYTES,
    "a record must hold an event id");

bool
away_is_possible(const struct sgate_manager *mgr)
{
	return mgr->cache_ops != NULL && mgr->ops->snapshot != NULL;
}

bool
away_is_on(const struct sgate_manager *mgr)
{
	return mgr->conf->session.create_without_mysql && away_is_possible(mgr);
}

/* Words open a breaker, too ("too many connections"): what was heard at that
 * very moment is no absence. A loss is noted as one (lost_ms). */
bool
away_is_now(const struct sgate_manager *mgr)
{
	const struct stores_absence *absence = &mgr->stores->absence;
	const struct breaker *breaker = &mgr->stores->durable;
	int64_t heard_ms = atomic_load(&absence->heard_ms);

	if (failpoint_is_off("away-now"))
		return true;
	if (breaker_state(breaker) == BREAKER_OPEN)
		return heard_ms < breaker_since_ms(breaker) ||
		       heard_ms <= atomic_load(&absence->lost_ms);
	return mgr->call.durable_losses >= LOSSES_MIN &&
	       heard_ms <= mgr->call.durable_lost_ms;
}

void
away_take_word(struct sgate_manager *mgr)
{
	mgr->call.durable_losses = LOSSES_MIN;
	mgr->call.durable_lost_ms = clock_monotonic_ms();
}

/* ---- when the durable store was away ---- */

static bool
has_all(int64_t back_ms)
{
	return back_ms != 0 && clock_monotonic_ms() - back_ms >= HELD_MS;
}

/* One that comes and goes has not got all from the first time it went: that is
 * one absence. */
void
away_lost(struct sgate_manager *mgr)
{
	struct stores_absence *absence = &mgr->stores->absence;

	if (has_all(atomic_exchange(&absence->back_ms, 0)))
		atomic_store(
		    &absence->since_ms, atomic_load(&absence->polled_ms));
}

static void
note_found(struct sgate_manager *mgr, int64_t now_ms)
{
	struct stores_absence *absence = &mgr->stores->absence;

	if (atomic_load(&absence->since_ms) == 0)
		atomic_store(&absence->since_ms, now_ms - FRESH_MS);
	if (atomic_load(&absence->back_ms) == 0)
		atomic_store(&absence->back_ms, clock_monotonic_ms());
	atomic_store(&absence->polled_ms, now_ms);
}

enum sgate_status
away_judge_absent(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_error *err)
{
	struct stores_absence *absence = &mgr->stores->absence;
	int64_t since_ms = atomic_load(&absence->since_ms);
	int64_t back_ms = atomic_load(&absence->back_ms);

	/* MySQL answers a look before the first round of a host. */
	if (since_ms == 0)
		since_ms = manager_now_ms(mgr) - FRESH_MS;
	/* The moment in a ref is cut to whole seconds. */
	if (!away_is_on(mgr) || failpoint_is_off("h32") ||
	    token_ref_created_ms(ref) + 999 < since_ms)
		return error_reason(
		    err, SGATE_NOT_FOUND, SGATE_REASON_UNKNOWN, "get");
	if (!has_all(back_ms)) {
		stores_count(mgr->counts, STORES_ABSENT_HELD);
		return error_set(err, SGATE_UNAVAILABLE, "session", "get", 0,
		    "%s does not know the session yet: it was created while "
		    "%s was away",
		    mgr->ops->name, mgr->ops->name);
	}
	stores_count(mgr->counts, STORES_ABSENT);
	return error_reason(err, SGATE_NOT_FOUND, SGATE_REASON_UNKNOWN, "get");
}

/* ---- blocked users ---- */

static uint64_t
blocked_name(const struct sgate_manager *mgr, struct sgate_bytes realm,
    struct sgate_bytes user)
{
	unsigned char hash[TOKEN_USER_BYTES];
	uint64_t name;

	token_user_hash(mgr->keys, realm, user, hash);
	memcpy(&name, hash, sizeof(name));
	return name;
}

struct blocked_users {
	const struct sgate_manager *mgr;
	uint64_t *names; /* STORES_BLOCKED_MAX */
	size_t count;
};

static int
add_blocked(void *arg, struct sgate_bytes realm, struct sgate_bytes user)
{
	struct blocked_users *users = arg;

	if (users->count < STORES_BLOCKED_MAX)
		users->names[users->count] =
		    blocked_name(users->mgr, realm, user);
	return users->count++ >= STORES_BLOCKED_MAX;
}

/*
 * Of two keepers at a reload one gives way. One that was killed while it wrote
 * has left an odd turn: who finds the same one in a second round takes it over.
 */
static bool
take_turn(struct sgate_manager *mgr, uint64_t *out_turn)
{
	struct stores_blocked *blocked = &mgr->stores->blocked;
	uint64_t turn = atomic_load(&blocked->turn);
	uint64_t before = mgr->fence_work.blocked_turn;

	mgr->fence_work.blocked_turn = turn;
	if (turn % 2 != 0 && turn != before)
		return false;
	*out_turn = turn % 2 == 0 ? turn + 1 : turn + 2;
	return atomic_compare_exchange_strong(&blocked->turn, &turn, *out_turn);
}

static void
write_blocked(struct sgate_manager *mgr, const struct blocked_users *users,
    uint64_t number)
{
	struct stores_blocked *blocked = &mgr->stores->blocked;
	uint64_t turn;
	size_t i;

	if (!take_turn(mgr, &turn))
		return;
	for (i = 0; i < users->count; i++)
		atomic_store(&blocked->users[i], users->names[i]);
	atomic_store(&blocked->count, users->count);
	atomic_store(&blocked->number, number);
	/* Somebody has taken it over: who knows what stands there now. */
	if (!atomic_compare_exchange_strong(&blocked->turn, &turn, turn + 1))
		atomic_store(&blocked->number, 0);
}

/* A list that does not fit is none: then nobody is created. */
static enum sgate_status
read_blocked(
    struct sgate_manager *mgr, uint64_t settings, struct sgate_error *err)
{
	struct stores_blocked *blocked = &mgr->stores->blocked;
	struct blocked_users users = {.mgr = mgr};
	enum sgate_status status;

	atomic_store(&blocked->number, 0);
	users.names = calloc(STORES_BLOCKED_MAX, sizeof(*users.names));
	if (users.names == NULL)
		return error_memory(err, "poll");
	status = manager_read(mgr,
	    mgr->ops->blocked_users(
		mgr->durable, STORES_BLOCKED_MAX + 1, add_blocked, &users, err),
	    err);
	if (status == SGATE_OK && users.count > STORES_BLOCKED_MAX) {
		atomic_store(&blocked->full, settings + 1);
		status = error_set(err, SGATE_TOO_LARGE, mgr->ops->name, "poll",
		    0,
		    "more than %d users are blocked: while %s is away nobody "
		    "can be created (session.create_without_mysql)",
		    STORES_BLOCKED_MAX, mgr->ops->name);
	} else if (status == SGATE_OK) {
		write_blocked(mgr, &users, settings + 1);
	}
	free(users.names);
	return status;
}

enum sgate_status
away_polled(struct sgate_manager *mgr, const struct durable_poll *poll,
    struct sgate_error *err)
{
	struct stores_blocked *blocked = &mgr->stores->blocked;

	if (!away_is_on(mgr))
		return SGATE_OK;
	note_found(mgr, poll->now_ms);
	if (atomic_load(&blocked->number) == poll->settings + 1 ||
	    atomic_load(&blocked->full) == poll->settings + 1)
		return SGATE_OK;
	return read_blocked(mgr, poll->settings, err);
}

/* *out_is_known: false while it is being written again and again, too. */
static bool
is_blocked(struct sgate_manager *mgr, const struct sgate_session *session,
    bool *out_is_known)
{
	struct stores_blocked *blocked = &mgr->stores->blocked;
	uint64_t turn, count,
	    name = blocked_name(
		mgr, bytes_of(session->realm), bytes_of(session->user));
	bool is_there;
	size_t i;
	int tries;

	for (tries = 0; tries < 3; tries++) {
		turn = atomic_load(&blocked->turn);
		*out_is_known = atomic_load(&blocked->number) != 0;
		count = atomic_load(&blocked->count);
		is_there = false;
		for (i = 0; i < count && i < STORES_BLOCKED_MAX; i++)
			is_there =
			    is_there || atomic_load(&blocked->users[i]) == name;
		if (turn % 2 == 0 && atomic_load(&blocked->turn) == turn)
			return is_there;
	}
	*out_is_known = false;
	return false;
}

/* ---- create ---- */

static const unsigned char *
user_of(const struct sgate_manager *mgr, const struct sgate_session *session,
    unsigned char hash[TOKEN_USER_BYTES])
{
	if (session->user[0] == '\0' || failpoint_is_off("u-set"))
		return NULL;
	token_user_hash(
	    mgr->keys, bytes_of(session->realm), bytes_of(session->user), hash);
	return hash;
}

static enum sgate_status
refuse(struct sgate_error *err, const char *why)
{
	return error_set(
	    err, SGATE_UNAVAILABLE, "session", "create", 0, "%s", why);
}

/*
 * What this host must know. *out_store: what the record is sealed for; *out_s0:
 * up to which number its group is known to be in the cache.
 */
static enum sgate_status
check_host(struct sgate_manager *mgr, const struct sgate_session *session,
    struct record_store *out_store, uint64_t *out_s0, struct sgate_error *err)
{
	struct cached cached = {0};
	enum sgate_status status;
	bool is_known = true;

	if (!manager_knows_time(mgr))
		return refuse(err, "it is not known what time it is there");
	if (session->user[0] != '\0' && is_blocked(mgr, session, &is_known))
		return error_reason(
		    err, SGATE_DENIED, SGATE_REASON_BLOCKED, "create");
	if (!is_known)
		return refuse(err, "it is not known who is blocked");
	status = cached_get_late(mgr, &session->ref, &cached, err);
	if (status == SGATE_OK && cached.trust == FENCE_NO)
		status = refuse(err,
		    "what the cache has is not believed on this host "
		    "(fence.max_blind, or the cache has lost what it had)");
	*out_store = cached.store;
	*out_s0 = cached.sync;
	cached_clear(&cached);
	return status;
}

/*
 * A time-out of the cache's own, though the durable store used up the rest.
 * session->seq is s0: what is told again after that may be older than a change
 * or an end whose record is gone, and nobody could tell by its sync.
 */
static enum sgate_status
tell_cache(struct sgate_manager *mgr, const struct sgate_session *session,
    struct sgate_bytes record, bool is_in_budget, struct put_result *out,
    struct sgate_error *err)
{
	int64_t now_ms = manager_now_ms(mgr);
	struct cache_item item = {.ref = session->ref, .record = record};
	unsigned char user[TOKEN_USER_BYTES];

	item.ttl_ms = session_copy_ttl_ms(session, now_ms);
	return cached_create(mgr, &item, session->seq,
	    user_of(mgr, session, user),
	    session_tombstone_ttl_ms(session, now_ms), is_in_budget, out, err);
}

static enum sgate_status
tell_both(struct sgate_manager *mgr, const struct sgate_session *session,
    const struct durable_audit *audit, const struct record_store *store,
    struct sgate_error *err)
{
	struct spool_frame frame = {.kind = SPOOL_CREATE,
	    .done = SPOOL_TO_CACHE,
	    .version = session->version,
	    .absolute_ms = session->absolute_ms,
	    .audit = *audit};
	struct record_birth birth;
	struct put_result put;
	struct buf record = {0};
	enum sgate_status status;

	memcpy(birth.event_id, audit->event_id, sizeof(birth.event_id));
	memcpy(birth.host, audit->host, sizeof(birth.host));
	memcpy(birth.actor, audit->actor, sizeof(birth.actor));
	memcpy(frame.store_id, store->id, sizeof(frame.store_id));
	status =
	    record_write_new(mgr->keys, store, session, &birth, &record, err);
	frame.record = buf_bytes(&record);
	if (status == SGATE_OK)
		status =
		    tell_cache(mgr, session, frame.record, false, &put, err);
	if (status == SGATE_OK && put.answer == CACHE_PUT_RETRY)
		status = refuse(err, "its group is just being changed");
	else if (status == SGATE_OK && put.answer != CACHE_PUT_OK)
		status = refuse(err, "another session has its ref");
	failpoint("away-spool");
	if (status == SGATE_OK)
		status = manager_spool_append(mgr, &frame, true, err);
	failpoint("away-acknowledge");
	buf_wipe(&record);
	return status;
}

enum sgate_status
away_create(struct sgate_manager *mgr, const struct sgate_session *session,
    const struct durable_audit *audit, struct sgate_error *err)
{
	struct sgate_session made = *session;
	struct record_store store;
	struct sgate_error why;
	enum sgate_status status;

	error_clear(&why);
	status = check_host(mgr, session, &store, &made.seq, &why);
	if (status == SGATE_OK)
		status = tell_both(mgr, &made, audit, &store, &why);
	if (status == SGATE_OK) {
		away_lost(mgr);
		stores_count(mgr->counts, STORES_CREATED_AWAY);
		mgr->served_by = STORES_CACHE;
		error_clear(err);
		return SGATE_OK;
	}
	if (status == SGATE_DENIED) {
		if (err != NULL)
			*err = why;
		return status;
	}
	return error_set(err, SGATE_UNAVAILABLE, "session", "create",
	    why.native_code,
	    "%s does not answer, and without it: %.160s; try again",
	    mgr->ops->name, why.text);
}

/* ---- land ---- */

struct landing {
	const struct sgate_session *session; /* as it was created */
	bool is_inserted;
	bool is_ended; /* as it landed */
	struct endings endings;
};

/* A cleanup that could not read the user's set: manager_user.c. */
struct cleaned {
	const struct sgate_session *session;
	bool is_cleaned;
};

static int
see_cleanup(void *arg, const struct durable_audit *audit)
{
	struct cleaned *cleaned = arg;
	char ref[SGATE_REF_HEX + 1];

	sgate_ref_text(&cleaned->session->ref, ref);
	if (strstr(audit->detail, AWAY_SET_UNREAD) != NULL &&
	    strstr(audit->detail, ref) == NULL)
		cleaned->is_cleaned = true;
	return cleaned->is_cleaned;
}

/* OK: nobody has said that it should not be there. */
static enum sgate_status
judge_user(struct sgate_manager *mgr, const struct sgate_session *session,
    enum sgate_reason *out_reason, struct sgate_error *err)
{
	static const char *const kinds[] = {"cleanup", "block"};
	struct cleaned cleaned = {.session = session};
	struct durable_audit_filter filter = {.realm = bytes_of(session->realm),
	    .user = bytes_of(session->user),
	    .since_ms = session->created_ms,
	    .limit = 1000};
	struct durable_user user = {0};
	enum sgate_status status;
	size_t i;

	*out_reason = SGATE_REASON_OK;
	if (session->user[0] == '\0')
		return SGATE_OK;
	status = manager_write(mgr,
	    mgr->ops->user_lock(
		mgr->durable, filter.realm, filter.user, false, &user, err),
	    err);
	/* Each kind by itself: a user's logins would fill the list. */
	for (i = 0; i < 2 && status == SGATE_OK; i++) {
		filter.kind = bytes_of(kinds[i]);
		status = manager_write(mgr,
		    mgr->ops->audit_list(
			mgr->durable, &filter, see_cleanup, &cleaned, err),
		    err);
	}
	if (cleaned.is_cleaned)
		*out_reason = SGATE_REASON_REVOKED;
	if (user.blocked_ms != 0)
		*out_reason = SGATE_REASON_BLOCKED;
	return status;
}

static enum sgate_status
insert_row(
    struct sgate_manager *mgr, struct landing *landing, struct sgate_error *err)
{
	struct sgate_session *row = NULL;
	enum sgate_status status;

	status = manager_write(mgr,
	    mgr->ops->session_get(mgr->durable, &landing->session->ref,
		DURABLE_FOR_UPDATE | DURABLE_NO_DATA, &row, NULL, err),
	    err);
	sgate_session_free(row);
	if (status != SGATE_NOT_FOUND ||
	    landing->session->absolute_ms <= manager_now_ms(mgr))
		return status == SGATE_NOT_FOUND ? SGATE_OK : status;
	status = manager_write(mgr,
	    mgr->ops->session_insert(mgr->durable, landing->session, err), err);
	if (status == SGATE_CONFLICT)
		return error_set(err, SGATE_UNAVAILABLE, "session", "land", 0,
		    "the row has been made just now; try again");
	landing->is_inserted = status == SGATE_OK;
	return status;
}

static enum sgate_status
land_apply(struct change *change, struct sgate_error *err)
{
	struct landing *landing = change->arg;
	struct sgate_manager *mgr = change->mgr;
	enum sgate_reason reason;
	enum sgate_status status;
	uint64_t count = 0;

	landing->is_inserted = false;
	landing->is_ended = false;
	endings_reset(&landing->endings);
	status = judge_user(mgr, landing->session, &reason, err);
	if (status == SGATE_OK)
		status = insert_row(mgr, landing, err);
	if (status != SGATE_OK || !landing->is_inserted ||
	    reason == SGATE_REASON_OK)
		return status;
	status =
	    endings_add(&landing->endings, &landing->session->ref, reason, err);
	if (status == SGATE_OK)
		status = endings_lock_all(mgr, &landing->endings, err);
	if (status == SGATE_OK)
		status = endings_store(
		    change, &landing->endings, false, &count, err);
	landing->is_ended = status == SGATE_OK;
	return status;
}

/*
 * The record becomes a copy of the row, and its ref leaves the user's set. That
 * it cannot be told fails nothing: a look at the row does it as well. Of a row
 * that has ended only the ref is told of: it comes with a record older than
 * any, which takes no other's place.
 */
static void
tell_landed(struct sgate_manager *mgr, const struct sgate_session *session)
{
	const struct record_store nothing = {.epoch = 0};
	struct cache_item item = {.ref = session->ref};
	struct durable_snapshot at = {0};
	unsigned char user[TOKEN_USER_BYTES];
	struct sgate_session *row = NULL;
	struct buf record = {0};
	struct put_result ignored;
	struct sgate_error err;

	if (manager_read(mgr,
		mgr->ops->session_get(
		    mgr->durable, &session->ref, 0, &row, &at, &err),
		&err) != SGATE_OK)
		return;
	if (row->state != SESSION_LIVE) {
		at.store = nothing;
		row->version = 0;
		row->state = SESSION_LIVE;
	}
	if (record_write(mgr->keys, &at.store, 'L', row, &record, &err) ==
	    SGATE_OK) {
		item.record = buf_bytes(&record);
		item.ttl_ms = session_copy_ttl_ms(row, manager_now_ms(mgr));
		if (cached_land(mgr, &item, user_of(mgr, session, user),
			&ignored, &err) == SGATE_OK)
			stores_count(mgr->counts, STORES_PUBLISHED);
	}
	buf_wipe(&record);
	sgate_session_free(row);
}

/* audit: of the creation, whole. */
static enum sgate_status
land(struct sgate_manager *mgr, const struct sgate_session *session,
    const struct durable_audit *audit, struct sgate_error *err)
{
	struct sgate_session row = *session;
	struct landing landing = {.session = &row};
	struct change change;
	enum sgate_status status;

	row.seq = 0;
	row.new_token[0] = '\0';
	if (failpoint_is_off("u-land"))
		return error_set(err, SGATE_UNAVAILABLE, "session", "land", 0,
		    "a failpoint says so");
	change_init(
	    &change, mgr, "create", SGATE_REASON_OK, land_apply, &landing);
	change.audit = *audit;
	change.may_be_done = true;
	status = change_run(&change, err);
	endings_clear(&landing.endings);
	if (status != SGATE_OK)
		return status;
	if (landing.is_inserted)
		stores_count(mgr->counts, STORES_LANDED);
	if (landing.is_ended)
		stores_count(mgr->counts, STORES_LANDED_ENDED);
	tell_landed(mgr, session);
	return SGATE_OK;
}

enum sgate_status
away_land(struct sgate_manager *mgr, const struct sgate_session *session,
    const struct record_birth *birth, struct sgate_error *err)
{
	struct durable_audit audit = {.at_ms = session->created_ms,
	    .client_ip_len = session->client_ip_len};

	memcpy(audit.event_id, birth->event_id, sizeof(audit.event_id));
	memcpy(audit.host, birth->host, sizeof(audit.host));
	memcpy(audit.actor, birth->actor, sizeof(audit.actor));
	memcpy(audit.kind, "create", sizeof("create"));
	memcpy(audit.client_ip, session->client_ip, sizeof(audit.client_ip));
	audit_about(&audit, session);
	return land(mgr, session, &audit, err);
}

enum sgate_status
away_meet(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_error *err)
{
	struct cached cached = {0};
	struct sgate_error ignored;
	enum sgate_status status = SGATE_NOT_FOUND;

	if (away_is_possible(mgr) && !failpoint_is_off("u-state") &&
	    cached_get(mgr, ref, &cached, &ignored) == SGATE_OK &&
	    cached.is_new &&
	    strcmp(cached.session->realm, mgr->call.realm) == 0)
		status = away_land(mgr, cached.session, &cached.birth, err);
	else
		status = away_judge_absent(mgr, ref, err);
	cached_clear(&cached);
	if (status == SGATE_UNCERTAIN)
		status = error_set(err, SGATE_UNAVAILABLE, "session", "land", 0,
		    "the session was created while %s was away and is just "
		    "being written there; try again",
		    mgr->ops->name);
	return status;
}

/* ---- what the spool has ---- */

/* NULL: nothing of it is to be done any more, for its life is over. SGATE_
 * CORRUPT: no key of this host's opens it. */
static enum sgate_status
open_frame(const struct sgate_manager *mgr, const struct spool_frame *frame,
    struct sgate_session **out, struct sgate_error *err)
{
	struct record_store store = {.epoch = 0};
	struct record_birth birth;
	enum sgate_status status;

	memcpy(store.id, frame->store_id, sizeof(store.id));
	record_epoch(frame->record, &store.epoch);
	status = record_read_new(mgr->keys, &store, &frame->audit.ref,
	    frame->record, out, &birth, err);
	if (status == SGATE_OK && (*out)->absolute_ms <= manager_now_ms(mgr)) {
		sgate_session_free(*out);
		*out = NULL;
	}
	if (status != SGATE_CORRUPT)
		return status;
	if (frame->absolute_ms <= manager_now_ms(mgr))
		return SGATE_OK;
	if (record_is_newer(frame->record))
		return error_set(err, status, "spool", "ship", 0,
		    "a newer version of sessgate has created a session: "
		    "install that one again");
	return error_set(err, status, "spool", "ship", 0,
	    "a session was created with a key that this host has not got, or "
	    "has retired: give it keys.file of the host that created it");
}

/* The audit row alone: the event happened. */
static enum sgate_status
no_effect(struct change *change, struct sgate_error *err)
{
	(void)change;
	(void)err;
	return SGATE_OK;
}

enum sgate_status
away_apply_frame(struct sgate_manager *mgr, const struct spool_frame *frame,
    struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	struct change change;
	enum sgate_status status;

	status = open_frame(mgr, frame, &session, err);
	if (status == SGATE_OK && session != NULL) {
		status = land(mgr, session, &frame->audit, err);
	} else if (status == SGATE_OK) {
		change_init(
		    &change, mgr, "create", SGATE_REASON_OK, no_effect, NULL);
		change.audit = frame->audit;
		change.may_be_done = true;
		status = change_run(&change, err);
	}
	sgate_session_free(session);
	return status;
}

enum sgate_status
away_publish_frame(struct sgate_manager *mgr, const struct spool_frame *frame,
    struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	struct put_result ignored;
	enum sgate_status status;

	status = open_frame(mgr, frame, &session, err);
	/* Nobody here would know it. */
	if (status == SGATE_CORRUPT)
		return SGATE_OK;
	if (status == SGATE_OK && session != NULL)
		status = tell_cache(
		    mgr, session, frame->record, true, &ignored, err);
	sgate_session_free(session);
	return status;
}

/* ---- cleanup ---- */

enum sgate_status
away_placeholder(const struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_bytes user, enum sgate_reason reason,
    struct sgate_session **out, struct sgate_error *err)
{
	struct sgate_session *row = session_new();

	*out = NULL;
	if (row == NULL || !session_set(&row->data, bytes_of("{}"))) {
		sgate_session_free(row);
		return error_memory(err, "cleanup");
	}
	row->ref = *ref;
	row->version = 1;
	row->state = SESSION_ENDED;
	row->end_reason = reason;
	row->ended_ms = manager_now_ms(mgr);
	input_copy(row->realm, sizeof(row->realm), manager_realm(mgr));
	input_copy(row->user, sizeof(row->user), user);
	row->created_ms = row->last_seen_ms = token_ref_created_ms(ref);
	row->auth_ms = row->created_ms;
	row->absolute_ms =
	    row->created_ms + conf_largest_absolute_ms(mgr->conf);
	*out = row;
	return SGATE_OK;
}
