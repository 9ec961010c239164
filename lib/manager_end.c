/*
 * Ends of one session: by its row, by its token, and while the durable store is
 * away.
 *
 * | the durable store | the cache      | what becomes of an end              |
 * | has it            | was tried      | acknowledged; a frame in the spool, |
 * |                   |                | not synced, to be told again to a   |
 * |                   |                | store that loses what it had        |
 * | no answer, or it  | tombstone, on  | acknowledged: a synced frame, which |
 * | is not known how  | redis.replicas | the keeper brings to the durable    |
 * | the commit went   |                | store                               |
 * | the same          | no answer      | unavailable, but recorded: the same |
 * |                   |                | frame comes true when either store  |
 * |                   |                | is back                             |
 * | the same, and the | not asked      | unavailable, nothing is recorded    |
 * | spool has failed  |                |                                     |
 *
 * The frame comes before the tombstone: what somebody is refused for is written
 * down. From then on this host refuses, whatever the stores say: the durable
 * store may be back before it has got the frame, and the cache away. The frame
 * has the event id of the change that was tried, so there is one audit row also
 * if that change was made after all.
 *
 * Whose session it is has to be known before anything is written. A token says
 * so by its tag. A ref says nothing: while the durable store is away it needs a
 * well-sealed copy in the caller's realm, or a tombstone of that realm.
 */
#include "config.h"

#include "manager.h"

#include <string.h>

#include <sodium.h>

#include "clock.h"
#include "failpoint.h"
#include "spool.h"
#include "status.h"

#define RECORDED "recorded"

/* ---- the spool ---- */

static void
frame_init(struct spool_frame *frame, const struct durable_audit *audit,
    const struct sgate_session *session)
{
	memset(frame, 0, sizeof(*frame));
	frame->kind = SPOOL_END;
	frame->version = session->version;
	frame->absolute_ms = session->absolute_ms;
	frame->ended_ms = audit->at_ms;
	frame->audit = *audit;
}

/*
 * The durable store has it. That the spool cannot be written fails nothing now:
 * it is only for the day when a store loses what it had.
 */
static void
remember(struct sgate_manager *mgr, const struct durable_audit *audit,
    const struct put_result *put, const struct sgate_session *session)
{
	struct spool_frame frame;
	struct sgate_error ignored;

	if (mgr->spool == NULL || failpoint_is_off("spool-remember"))
		return;
	frame_init(&frame, audit, session);
	frame.done = SPOOL_TO_DURABLE;
	if (put->has_tombstones)
		frame.done |= SPOOL_TO_CACHE;
	if (manager_spool_append(mgr, &frame, false, &ignored) != SGATE_OK)
		stores_count(mgr->counts, STORES_SPOOL_FAILED);
}

static enum sgate_status
write_frame(struct sgate_manager *mgr, struct spool_frame *frame,
    struct sgate_error *err)
{
	enum sgate_status status;

	if (failpoint_is_off("spool"))
		return SGATE_OK;
	status = manager_spool_append(mgr, frame, true, err);
	stores_count(mgr->counts,
	    status == SGATE_OK ? STORES_SPOOLED : STORES_SPOOL_FAILED);
	if (status != SGATE_OK)
		atomic_store(&mgr->stores->spool.failed_ms, clock_utc_ms());
	return status;
}

/* What is told is written down, if not here then where it was acknowledged. */
static enum sgate_status
tell_cache(struct sgate_manager *mgr, const struct spool_frame *frame,
    struct sgate_error *err)
{
	struct sgate_error ignored;

	if (manager_spool_tell(mgr, frame, &ignored) != SGATE_OK)
		return error_set(err, SGATE_UNAVAILABLE, "spool", RECORDED, 0,
		    "recorded, takes effect as soon as a store is back");
	error_clear(err);
	mgr->served_by = STORES_CACHE;
	return SGATE_OK;
}

/* The durable store has not, or it is not known whether it has. */
static enum sgate_status
end_by_spool(struct sgate_manager *mgr, const struct durable_audit *audit,
    const struct sgate_session *session, struct sgate_error *err)
{
	struct spool_frame frame;
	struct sgate_error why;
	enum sgate_status status;

	frame_init(&frame, audit, session);
	failpoint("end-spool");
	status = write_frame(mgr, &frame, &why);
	if (status != SGATE_OK)
		return error_set(err, SGATE_UNAVAILABLE, "spool", "end",
		    why.native_code,
		    "nothing is recorded: %s does not answer, and the spool "
		    "cannot be written: %.160s",
		    mgr->ops->name, why.text);
	if (!failpoint_is_off("spool-refuse"))
		stores_end_here(mgr->stores, &session->ref, audit->reason);
	failpoint("end-publish");
	status = tell_cache(mgr, &frame, err);
	manager_drop(mgr, &session->ref);
	failpoint("end-acknowledge");
	return status;
}

enum sgate_status
manager_end_away(struct sgate_manager *mgr, const struct sgate_session *session,
    enum sgate_reason reason, struct sgate_error *err)
{
	struct durable_audit audit;

	audit_init(&audit, mgr, "end", reason);
	audit_about(&audit, session);
	return end_by_spool(mgr, &audit, session, err);
}

bool
manager_is_recorded(const struct sgate_error *err)
{
	return err->status == SGATE_UNAVAILABLE &&
	       strcmp(err->source, "spool") == 0 &&
	       strcmp(err->operation, RECORDED) == 0;
}

/* What is asked of the durable store leaves time for the cache. */
static void
spare_time(struct sgate_manager *mgr)
{
	int64_t spare_ms = mgr->conf->redis.timeout_ms;

	if (mgr->spool == NULL || mgr->cache_ops == NULL)
		return;
	if (spare_ms > mgr->call.budget_ms / 4)
		spare_ms = mgr->call.budget_ms / 4;
	mgr->call.deadline_ms -= spare_ms;
	if (mgr->durable != NULL)
		mgr->durable->deadline_ms = mgr->call.deadline_ms;
}

/* What the durable store has said of an end; put NULL: there was none. */
static enum sgate_status
end_settled(struct sgate_manager *mgr, enum sgate_status status,
    const struct durable_audit *audit, const struct put_result *put,
    const struct sgate_session *session, struct sgate_error *err)
{
	if (status == SGATE_OK && put != NULL)
		remember(mgr, audit, put, session);
	if ((status == SGATE_UNAVAILABLE || status == SGATE_UNCERTAIN) &&
	    mgr->spool != NULL)
		status = end_by_spool(mgr, audit, session, err);
	return status;
}

/* A change whose apply() ends this session. */
static enum sgate_status
run_end(struct change *change, const struct sgate_session *session,
    struct sgate_error *err)
{
	enum sgate_status status = change_run(change, err);

	return end_settled(change->mgr, status, &change->audit,
	    change->is_void ? NULL : &change->put, session, err);
}

/* ---- a row ---- */

struct end {
	const struct sgate_session *session;
	enum sgate_reason reason;
	struct endings endings;
};

static enum sgate_status
end_apply(struct change *change, struct sgate_error *err)
{
	struct end *end = change->arg;
	enum sgate_status status;
	uint64_t count = 0;

	endings_reset(&end->endings);
	status =
	    endings_add(&end->endings, &end->session->ref, end->reason, err);
	if (status == SGATE_OK)
		status = endings_lock(change->mgr, &end->endings, 0, err);
	if (status == SGATE_OK)
		status =
		    endings_store(change, &end->endings, true, &count, err);
	change->is_void = count == 0;
	return status;
}

/*
 * The row had ended before: whoever ended it may have been killed between its
 * commit and the cache, or was not told how its commit went, and is not to be
 * told now that it is done while the cache says otherwise.
 */
static void
publish_end(struct sgate_manager *mgr, const struct sgate_session *session,
    const struct durable_snapshot *at)
{
	struct ending item = {.session = NULL};
	struct endings endings = {.items = &item, .count = 1};
	struct publication publication = {0};
	struct sgate_session ended = *session;
	struct put_result ignored;
	struct sgate_error err;

	item.session = &ended;
	item.ref = session->ref;
	if (mgr->cache_ops != NULL &&
	    publication_make(mgr, at, NULL, &endings, &publication, &err) ==
		SGATE_OK &&
	    !publication_send(mgr, &publication, &ignored))
		change_untold(mgr, at, session);
	publication_clear(&publication);
	manager_drop(mgr, &session->ref);
}

enum sgate_status
change_end(struct sgate_manager *mgr, const struct sgate_session *session,
    const struct durable_snapshot *at, enum sgate_reason reason,
    struct sgate_error *err)
{
	struct end end = {.session = session, .reason = reason};
	struct change change;
	enum sgate_status status;

	if (session->state != SESSION_LIVE) {
		publish_end(mgr, session, at);
		return SGATE_OK;
	}
	change_init(&change, mgr, "end", reason, end_apply, &end);
	audit_about(&change.audit, session);
	status = run_end(&change, session, err);
	endings_clear(&end.endings);
	return status;
}

static enum sgate_status
joint_end(struct sgate_manager *mgr, void *arg, struct sgate_session *session,
    struct sgate_error *err)
{
	const enum sgate_reason *reason = arg;

	return ending_mark(session, *reason, manager_now_ms(mgr), err);
}

/* A session that is live, with others' changes if it may be. */
static enum sgate_status
end_with_others(struct sgate_manager *mgr, const struct sgate_session *session,
    const struct durable_snapshot *at, enum sgate_reason reason,
    struct sgate_error *err)
{
	struct joint joint;
	enum sgate_status status;

	joint_init(
	    &joint, mgr, "end", &session->ref, reason, joint_end, &reason);
	audit_about(&joint.audit, session);
	batched_change(mgr, &joint);
	if (joint.is_alone)
		return change_end(mgr, session, at, reason, err);
	status = joint_result(mgr, &joint, err);
	status =
	    end_settled(mgr, status, &joint.audit, &joint.put, session, err);
	joint_clear(&joint);
	return status;
}

/* ---- the durable store is away ---- */

/* What a token tells of a session: it outlives every copy. */
static enum sgate_status
unknown_make(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_session **out, struct sgate_error *err)
{
	struct sgate_session *row = session_new();

	*out = NULL;
	if (row == NULL || !session_set(&row->data, bytes_of("{}"))) {
		sgate_session_free(row);
		return error_memory(err, "end");
	}
	row->ref = *ref;
	row->version = 1;
	row->state = SESSION_LIVE;
	input_copy(row->realm, sizeof(row->realm), manager_realm(mgr));
	row->created_ms = row->last_seen_ms = token_ref_created_ms(ref);
	row->idle_ms = conf_largest_absolute_ms(mgr->conf);
	row->absolute_ms = row->created_ms + row->idle_ms;
	*out = row;
	return SGATE_OK;
}

/*
 * A tombstone stands there: it was written when the end was durable somewhere.
 * Whether the replicas have it is not known.
 */
static enum sgate_status
end_again(struct sgate_manager *mgr, const struct sgate_ref *ref,
    enum sgate_reason reason, struct sgate_error *err)
{
	struct spool_frame frame = {.kind = SPOOL_END};

	frame.audit.ref = *ref;
	frame.audit.reason = reason;
	input_copy(
	    frame.audit.realm, sizeof(frame.audit.realm), manager_realm(mgr));
	manager_drop(mgr, ref);
	if (mgr->conf->redis.replicas > 0)
		return tell_cache(mgr, &frame, err);
	error_clear(err);
	mgr->served_by = STORES_CACHE;
	return SGATE_OK;
}

/*
 * A tombstone, and it is known whose session it was. Who names one of another
 * realm is told what the durable store would have told him.
 */
static enum sgate_status
end_ended(struct sgate_manager *mgr, const struct sgate_ref *ref,
    const struct cached *cached, bool has_token, struct sgate_error *err)
{
	if (has_token || cached->ended_realm == record_realm(mgr->call.realm))
		return end_again(mgr, ref, cached->ended, err);
	if (cached->ended_realm == 0)
		return SGATE_UNAVAILABLE;
	return error_reason(err, SGATE_NOT_FOUND, SGATE_REASON_UNKNOWN, "end");
}

/* *out: a well-sealed copy in the caller's realm, or NULL. */
static void
take_copy(const struct sgate_manager *mgr, struct cached *cached,
    struct sgate_session **out)
{
	*out = NULL;
	if (cached->session == NULL ||
	    strcmp(cached->session->realm, mgr->call.realm) != 0)
		return;
	*out = cached->session;
	cached->session = NULL;
}

/* err says why the durable store could not be asked. has_token: it is known
 * that the session is one of this realm. */
static enum sgate_status
end_away(struct sgate_manager *mgr, const struct sgate_ref *ref,
    enum sgate_reason reason, bool has_token, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	struct cached cached = {0};
	struct sgate_error ignored;
	enum sgate_status status = SGATE_UNAVAILABLE;

	if (cached_get(mgr, ref, &cached, &ignored) == SGATE_OK &&
	    cached.ended != SGATE_REASON_OK) {
		status = end_ended(mgr, ref, &cached, has_token, err);
		goto out;
	}
	take_copy(mgr, &cached, &session);
	if (session == NULL && has_token) {
		status = unknown_make(mgr, ref, &session, err);
		if (status != SGATE_OK)
			goto out;
	}
	if (session == NULL)
		goto out;
	if (manager_knows_time(mgr) &&
	    session->absolute_ms <= manager_now_ms(mgr)) {
		status = error_reason(
		    err, SGATE_NOT_FOUND, SGATE_REASON_EXPIRED_ABSOLUTE, "end");
		goto out;
	}
	status = manager_end_away(mgr, session, reason, err);
out:
	sgate_session_free(session);
	cached_clear(&cached);
	return status;
}

/* ---- by ref ---- */

/* status: whether the durable store may be asked. */
static enum sgate_status
end_entered(struct sgate_manager *mgr, enum sgate_status status,
    const struct sgate_ref *ref, enum sgate_reason reason, bool has_token,
    struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	struct durable_snapshot at = {0};

	if (status == SGATE_OK)
		status = manager_find_ref(mgr, ref, DURABLE_NO_DATA, &session,
		    mgr->cache_ops != NULL ? &at : NULL, err);
	if (status == SGATE_OK && session->state == SESSION_LIVE)
		status = end_with_others(mgr, session, &at, reason, err);
	else if (status == SGATE_OK)
		status = change_end(mgr, session, &at, reason, err);
	else if (status == SGATE_UNAVAILABLE && mgr->spool != NULL)
		status = end_away(mgr, ref, reason, has_token, err);
	sgate_session_free(session);
	return status;
}

static enum sgate_status
end_ref(struct sgate_manager *mgr, const struct sgate_ref *ref,
    enum sgate_reason reason, bool has_token, struct sgate_error *err)
{
	enum sgate_status status = manager_enter(mgr, err);

	spare_time(mgr);
	return end_entered(mgr, status, ref, reason, has_token, err);
}

enum sgate_status
sgate_session_end(struct sgate_manager *mgr, const struct sgate_ref *ref,
    enum sgate_reason reason, struct sgate_error *err)
{
	enum sgate_status status;

	error_clear(err);
	mgr->served_by = STORES_NOBODY;
	status = input_reason(reason, err);
	if (status == SGATE_OK)
		status = end_ref(mgr, ref, reason, false, err);
	return status;
}

/* ---- by token ---- */

/*
 * The token is ours, but there is no row: it was lost with the last second of
 * a primary. A copy may still be there, and it would be believed, whatever the
 * owner was told. So a row that has ended takes the place of the one that was
 * lost: for looks, for keepers, and for whoever tries to bring it back.
 */
struct unknown {
	struct sgate_session *row; /* as it is inserted: live */
	enum sgate_reason reason;
	struct endings endings;
	bool is_taken; /* somebody else has just inserted one */
};

static enum sgate_status
unknown_apply(struct change *change, struct sgate_error *err)
{
	struct unknown *u = change->arg;
	struct sgate_manager *mgr = change->mgr;
	struct sgate_session *row;
	uint64_t count = 0;
	enum sgate_status status;

	endings_reset(&u->endings);
	u->is_taken = false;
	status = endings_add(&u->endings, &u->row->ref, u->reason, err);
	if (status != SGATE_OK)
		return status;
	row = u->endings.items[0].session = sgate_session_dup(u->row);
	if (row == NULL)
		return error_memory(err, "end");
	status = manager_write(
	    mgr, mgr->ops->session_insert(mgr->durable, row, err), err);
	if (status == SGATE_CONFLICT) {
		u->is_taken = change->is_void = true;
		return SGATE_OK;
	}
	if (status == SGATE_OK)
		status = endings_store(change, &u->endings, true, &count, err);
	return status;
}

/* SGATE_NOT_FOUND stands: its life is over in any case. */
static enum sgate_status
end_unknown(struct sgate_manager *mgr, const struct sgate_ref *ref,
    enum sgate_reason reason, struct sgate_error *err)
{
	struct unknown u = {.reason = reason};
	struct cached cached = {0};
	struct change change;
	struct sgate_error ignored;
	enum sgate_status status = SGATE_OK;

	if (cached_get(mgr, ref, &cached, &ignored) == SGATE_OK)
		take_copy(mgr, &cached, &u.row);
	if (u.row != NULL)
		u.row->seq = 0;
	else
		status = unknown_make(mgr, ref, &u.row, err);
	cached_clear(&cached);
	if (status == SGATE_OK && u.row->absolute_ms <= manager_now_ms(mgr)) {
		status = SGATE_NOT_FOUND;
	} else if (status == SGATE_OK) {
		change_init(&change, mgr, "end", reason, unknown_apply, &u);
		audit_about(&change.audit, u.row);
		status = run_end(&change, u.row, err);
	}
	/* Within the time that this request has had from its beginning. */
	if (status == SGATE_OK && u.is_taken)
		status = end_entered(mgr, status, ref, reason, true, err);
	endings_clear(&u.endings);
	sgate_session_free(u.row);
	return status;
}

/* A right tag is enough: we made the token, whatever its secret's age. */
enum sgate_status
sgate_session_end_token(struct sgate_manager *mgr, struct sgate_bytes token,
    enum sgate_reason reason, struct sgate_error *err)
{
	struct token read;
	bool is_ours;
	enum sgate_status status;

	memset(&read, 0, sizeof(read));
	status = manager_read_token(mgr, token, &read, err);
	is_ours = status == SGATE_OK;
	if (is_ours)
		status = input_reason(reason, err);
	if (status == SGATE_OK)
		status = end_ref(mgr, &read.ref, reason, true, err);
	if (status == SGATE_NOT_FOUND && is_ours && mgr->cache_ops != NULL &&
	    !failpoint_is_off("placeholder"))
		status = end_unknown(mgr, &read.ref, reason, err);
	token_wipe(&read);
	return status;
}
