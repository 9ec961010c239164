/*
 * What the spool has, to both stores (protocol 3, the end of it).
 *
 * A frame's event is in the durable store when its audit row is: that row and
 * the effect are one transaction, and a second time its event id says so. So
 * many frames go into one transaction, as any change does: audit rows by event
 * id, session rows by ref, counters by group. If one of them is there already,
 * or its row cannot be read, each is tried alone.
 *
 * The audit row is written whatever the session's row says: somebody was told
 * that the session ended. The row that has ended keeps how it ended. A session
 * that the durable store does not know gets a row that has ended, a placeholder
 * (protocol 3): a keeper of another host may still bring a live copy of it, and
 * its creation may still be in the spool of another host. The spool speaks for
 * tokens of ours alone, so nobody can fill the table with refs that he made up.
 *
 * The tombstone needs nothing of the durable store: it can only refuse what has
 * ended. So the two stores are told in any order, each when it is there.
 *
 * Creations go one by one: manager_away.c.
 */
#include "config.h"

#include "manager.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "failpoint.h"
#include "spool.h"
#include "status.h"

/* Of the database that this host has polled last; zeros: none yet. */
static struct record_store
known_store(const struct sgate_manager *mgr, const struct sgate_ref *ref)
{
	const struct fence *fence = &mgr->stores->fence;
	uint64_t id[2] = {
	    atomic_load(&fence->store_id[0]), atomic_load(&fence->store_id[1])};
	struct record_store store;

	memcpy(store.id, id, sizeof(store.id));
	store.epoch =
	    (unsigned)(atomic_load(&fence->known[token_ref_group(ref)]) >>
		       FENCE_NUMBER_BITS);
	return store;
}

/* ---- writing a frame ---- */

enum sgate_status
manager_spool_append(struct sgate_manager *mgr, struct spool_frame *frame,
    bool is_synced, struct sgate_error *err)
{
	struct record_store store = known_store(mgr, &frame->audit.ref);

	if (mgr->spool == NULL)
		return error_set(err, SGATE_UNAVAILABLE, "spool", "append", 0,
		    "there is no spool");
	if (sodium_is_zero(frame->store_id, sizeof(frame->store_id)))
		memcpy(frame->store_id, store.id, sizeof(frame->store_id));
	return spool_append(mgr->spool, frame, is_synced, err);
}

/* ---- what a frame says ---- */

/* Never without one: a row without an end would never be removed. */
static int64_t
absolute_ms(const struct sgate_manager *mgr, const struct spool_frame *frame)
{
	if (frame->absolute_ms > 0)
		return frame->absolute_ms;
	return token_ref_created_ms(&frame->audit.ref) +
	       conf_largest_absolute_ms(mgr->conf);
}

static enum sgate_reason
end_reason(const struct spool_frame *frame)
{
	struct sgate_error ignored;

	return input_reason(frame->audit.reason, &ignored) == SGATE_OK
		   ? frame->audit.reason
		   : SGATE_REASON_REVOKED;
}

/* One that does not say which is of the one that there is. */
static bool
is_of_store(const struct spool_frame *frame, const unsigned char id[16])
{
	return sodium_is_zero(frame->store_id, sizeof(frame->store_id)) ||
	       sodium_is_zero(id, 16) ||
	       memcmp(frame->store_id, id, sizeof(frame->store_id)) == 0;
}

static enum sgate_status
error_foreign(struct sgate_error *err)
{
	return error_set(err, SGATE_CONFLICT, "spool", "ship", 0,
	    "an event in the spool is of another database than the one that "
	    "is configured: give it that one, or move the file away");
}

/* *out NULL: there is nothing left to end. */
static enum sgate_status
make_placeholder(const struct sgate_manager *mgr,
    const struct spool_frame *frame, struct sgate_session **out,
    struct sgate_error *err)
{
	struct sgate_session *session;

	*out = NULL;
	if (absolute_ms(mgr, frame) <= manager_now_ms(mgr) ||
	    failpoint_is_off("placeholder"))
		return SGATE_OK;
	session = session_new();
	if (session == NULL || !session_set(&session->data, bytes_of("{}"))) {
		sgate_session_free(session);
		return error_memory(err, "ship");
	}
	session->ref = frame->audit.ref;
	session->version = frame->version > 0 && frame->version < INT64_MAX
			       ? frame->version
			       : 1;
	session->state = SESSION_ENDED;
	session->end_reason = end_reason(frame);
	session->ended_ms = frame->ended_ms;
	input_copy(session->realm, sizeof(session->realm),
	    bytes_of(frame->audit.realm));
	input_copy(
	    session->user, sizeof(session->user), bytes_of(frame->audit.user));
	session->created_ms = token_ref_created_ms(&frame->audit.ref);
	session->auth_ms = session->created_ms;
	session->last_seen_ms = session->created_ms;
	session->absolute_ms = absolute_ms(mgr, frame);
	*out = session;
	return SGATE_OK;
}

/* ---- the durable store ---- */

/* Frames by event id, each event once. */
struct shipment {
	const struct spool_frame *frames[MANAGER_SPOOL_BATCH];
	size_t count;
};

static int
compare_frames(const void *a, const void *b)
{
	const struct spool_frame *const *left = a, *const *right = b;

	return memcmp((*left)->audit.event_id, (*right)->audit.event_id,
	    DURABLE_EVENT_BYTES);
}

/* Two events that end one session: the first one did. */
static enum sgate_status
add_endings(const struct sgate_manager *mgr, const struct shipment *shipment,
    struct endings *endings, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	size_t i;

	for (i = 0; i < shipment->count && status == SGATE_OK; i++) {
		const struct spool_frame *frame = shipment->frames[i];
		struct ending *item;

		if (endings_have(endings, &frame->audit.ref))
			continue;
		status = endings_add(
		    endings, &frame->audit.ref, end_reason(frame), err);
		if (status != SGATE_OK)
			break;
		item = &endings->items[endings->count - 1];
		item->ended_ms = frame->ended_ms;
		status = make_placeholder(mgr, frame, &item->absent, err);
	}
	return status;
}

/*
 * Whose session it was is not known to who ends one by its token alone, with
 * neither store to ask; the audit is searched by user.
 */
static void
name_user(struct sgate_manager *mgr, const struct spool_frame *frame,
    struct durable_audit *out)
{
	struct sgate_session *session = NULL;
	struct sgate_error ignored;

	*out = frame->audit;
	if (out->user[0] != '\0' ||
	    mgr->ops->session_get(mgr->durable, &out->ref, 0, &session, NULL,
		&ignored) != SGATE_OK)
		return;
	input_copy(out->realm, sizeof(out->realm), bytes_of(session->realm));
	input_copy(out->user, sizeof(out->user), bytes_of(session->user));
	sgate_session_free(session);
}

/* SGATE_CONFLICT: one of the events is there already; nothing was done. */
static enum sgate_status
ship_in_transaction(struct sgate_manager *mgr, const struct shipment *shipment,
    struct endings *endings, struct sgate_error *err)
{
	struct durable *d = mgr->durable;
	struct durable_audit audit;
	enum sgate_status status;
	uint64_t ended;
	size_t i;

	status = manager_write(mgr, mgr->ops->begin(d, err), err);
	for (i = 0; i < shipment->count && status == SGATE_OK; i++) {
		name_user(mgr, shipment->frames[i], &audit);
		status = manager_write(
		    mgr, mgr->ops->audit_insert(d, &audit, err), err);
	}
	if (status == SGATE_OK)
		status = endings_lock_all(mgr, endings, err);
	if (status == SGATE_OK)
		status = endings_write(mgr, endings, &ended, err);
	if (status == SGATE_OK) {
		status = manager_write(mgr, mgr->ops->commit(d, err), err);
		if (status == SGATE_OK) {
			stores_count(mgr->counts, STORES_DURABLE_WRITES);
			return status;
		}
	}
	mgr->ops->rollback(d);
	return status;
}

static enum sgate_status
ship(struct sgate_manager *mgr, const struct shipment *shipment,
    struct sgate_error *err)
{
	struct endings endings = {0};
	enum sgate_status status;
	size_t i;

	status = add_endings(mgr, shipment, &endings, err);
	if (status == SGATE_OK) {
		status = ship_in_transaction(mgr, shipment, &endings, err);
		for (i = 0; i < endings.count; i++)
			manager_drop(mgr, &endings.items[i].ref);
	}
	endings_clear(&endings);
	return status;
}

/* Nothing is known of these frames, and nothing will be of others now. A commit
 * without an answer is settled by its event ids when it is tried again. */
static bool
is_no_answer(enum sgate_status status)
{
	return status == SGATE_UNAVAILABLE || status == SGATE_UNCERTAIN ||
	       status == SGATE_NO_MEMORY;
}

static void
count_done(struct sgate_manager *mgr, enum stores_counter counter,
    const bool *done, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (done[i])
			stores_count(mgr->counts, counter);
}

static void
set_done(const struct spool_frame *frames, size_t count,
    const struct spool_frame *shipped, bool *out_done)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (memcmp(frames[i].audit.event_id, shipped->audit.event_id,
			DURABLE_EVENT_BYTES) == 0)
			out_done[i] = true;
}

static enum sgate_status
ship_each(struct sgate_manager *mgr, const struct shipment *shipment,
    const struct spool_frame *frames, size_t count, bool *out_done,
    struct sgate_error *err)
{
	enum sgate_status status;
	struct sgate_error why;
	size_t i;

	for (i = 0; i < shipment->count; i++) {
		struct shipment one = {
		    .frames = {shipment->frames[i]}, .count = 1};

		status = ship(mgr, &one, &why);
		if (is_no_answer(status)) {
			if (err != NULL)
				*err = why;
			return status;
		}
		if (status == SGATE_OK || status == SGATE_CONFLICT)
			set_done(frames, count, shipment->frames[i], out_done);
		else if (err != NULL)
			*err = why;
	}
	return SGATE_OK;
}

/* What can be shipped to this store. */
static void
load_shipment(const struct spool_frame *frames, size_t count,
    const unsigned char store_id[16], struct shipment *out,
    struct sgate_error *err)
{
	size_t i, kept = 0;

	out->count = 0;
	for (i = 0; i < count; i++) {
		if (frames[i].kind != SPOOL_END)
			continue;
		if (is_of_store(&frames[i], store_id))
			out->frames[out->count++] = &frames[i];
		else
			error_foreign(err);
	}
	if (out->count == 0)
		return;
	qsort(out->frames, out->count, sizeof(out->frames[0]), compare_frames);
	for (i = 1; i < out->count; i++)
		if (compare_frames(&out->frames[kept], &out->frames[i]) != 0)
			out->frames[++kept] = out->frames[i];
	out->count = kept + 1;
}

static enum sgate_status
check_count(size_t count, bool *out_done, struct sgate_error *err)
{
	if (count > MANAGER_SPOOL_BATCH)
		return error_set(err, SGATE_INTERNAL, "spool", "ship", 0,
		    "too many frames at once");
	memset(out_done, 0, count * sizeof(*out_done));
	return SGATE_OK;
}

/*
 * Behind the ends, which are more urgent; either may be first, also of one
 * session: where the end was, its placeholder stays (H21).
 */
static enum sgate_status
apply_creations(struct sgate_manager *mgr, const struct spool_frame *frames,
    size_t count, const unsigned char store_id[16], bool *out_done,
    struct sgate_error *err)
{
	enum sgate_status status;
	struct sgate_error why;
	size_t i;

	for (i = 0; i < count; i++) {
		if (frames[i].kind != SPOOL_CREATE ||
		    frames[i].record.data == NULL)
			continue;
		if (!is_of_store(&frames[i], store_id)) {
			error_foreign(err);
			continue;
		}
		if (!manager_has_time(mgr))
			return error_set(err, SGATE_UNAVAILABLE, "spool",
			    "ship", 0, "the time is up; more are left");
		status = away_apply_frame(mgr, &frames[i], &why);
		out_done[i] = status == SGATE_OK;
		if (status != SGATE_OK && err != NULL)
			*err = why;
		if (is_no_answer(status))
			return status;
	}
	return SGATE_OK;
}

enum sgate_status
manager_spool_apply(struct sgate_manager *mgr, const struct spool_frame *frames,
    size_t count, bool *out_done, struct sgate_error *err)
{
	struct shipment shipment;
	unsigned char store_id[16];
	enum sgate_status status;
	unsigned epoch;
	size_t i;

	status = check_count(count, out_done, err);
	if (status == SGATE_OK)
		status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = manager_read(mgr,
		    mgr->ops->store_get(mgr->durable, store_id, &epoch, err),
		    err);
	if (status != SGATE_OK)
		return status;
	load_shipment(frames, count, store_id, &shipment, err);
	if (shipment.count > 0)
		status = ship(mgr, &shipment, err);
	if (is_no_answer(status))
		return status;
	if (status == SGATE_OK)
		for (i = 0; i < shipment.count; i++)
			set_done(frames, count, shipment.frames[i], out_done);
	else
		status =
		    ship_each(mgr, &shipment, frames, count, out_done, err);
	if (status == SGATE_OK)
		status = apply_creations(
		    mgr, frames, count, store_id, out_done, err);
	count_done(mgr, STORES_SPOOL_APPLIED, out_done, count);
	return status;
}

/* ---- the cache ---- */

/* What the cache is told, and of which frames. */
struct tombstones {
	struct cache_item items[MANAGER_SPOOL_BATCH];
	size_t count;
	struct buf bytes;
	bool is_told[MANAGER_SPOOL_BATCH];
};

/*
 * The number in a tombstone decides nothing: it is what the end would have made
 * of the version that was seen. By a clock that no poll has set the session's
 * life might seem over: then the tombstone stands as long as any life.
 */
static void
add_tombstone(const struct sgate_manager *mgr, const struct spool_frame *frame,
    const struct record_store *store, struct tombstones *out)
{
	struct sgate_session ended = {.absolute_ms = absolute_ms(mgr, frame)};
	struct record_tombstone tombstone = {
	    .version = frame->version + 1,
	    .reason = end_reason(frame),
	    .realm = record_realm(frame->audit.realm),
	};
	int64_t now_ms = manager_knows_time(mgr)
			     ? manager_now_ms(mgr)
			     : token_ref_created_ms(&frame->audit.ref);
	struct cache_item *item;

	if (ended.absolute_ms <= now_ms)
		return; /* no copy of it is believed any more */
	item = &out->items[out->count++];
	item->ref = frame->audit.ref;
	item->ttl_ms = session_tombstone_ttl_ms(&ended, now_ms);
	record_tombstone_write(store, &tombstone, &out->bytes);
}

static enum sgate_status
make_tombstones(const struct sgate_manager *mgr,
    const struct spool_frame *frames, size_t count, struct tombstones *out,
    struct sgate_error *err)
{
	size_t i;

	for (i = 0; i < count; i++) {
		struct record_store store =
		    known_store(mgr, &frames[i].audit.ref);

		out->is_told[i] = frames[i].kind == SPOOL_END &&
				  is_of_store(&frames[i], store.id);
		if (frames[i].kind != SPOOL_END)
			continue;
		if (out->is_told[i])
			add_tombstone(mgr, &frames[i], &store, out);
		else
			error_foreign(err);
	}
	if (buf_failed(&out->bytes))
		return error_memory(err, "ship");
	/* No byte is added any more: the buffer has moved while it grew. */
	for (i = 0; i < out->count; i++)
		out->items[i].record = (struct sgate_bytes){
		    out->bytes.data + i * RECORD_TOMBSTONE_BYTES,
		    RECORD_TOMBSTONE_BYTES};
	return SGATE_OK;
}

/* replicas 0: none needs to have them. */
static enum sgate_status
send_tombstones(struct sgate_manager *mgr, const struct tombstones *tombstones,
    bool is_in_budget, unsigned replicas, struct sgate_error *err)
{
	enum sgate_status status;

	if (tombstones->count == 0)
		return SGATE_OK;
	status = manager_cache_enter(mgr, is_in_budget, err);
	if (status != SGATE_OK)
		return status;
	stores_count(mgr->counts, STORES_CACHE_WRITES);
	status = mgr->cache_ops->end(
	    mgr->cache, tombstones->items, tombstones->count, replicas, err);
	return manager_cache_left(mgr, status, err);
}

enum sgate_status
manager_spool_tell(struct sgate_manager *mgr, const struct spool_frame *frame,
    struct sgate_error *err)
{
	struct tombstones tombstones = {.count = 0};
	enum sgate_status status;

	status = make_tombstones(mgr, frame, 1, &tombstones, err);
	if (status == SGATE_OK)
		status = send_tombstones(mgr, &tombstones, false,
		    (unsigned)mgr->conf->redis.replicas, err);
	if (status == SGATE_OK && !tombstones.is_told[0])
		status = SGATE_UNAVAILABLE; /* another database's */
	if (status == SGATE_OK && tombstones.count > 0)
		stores_count(mgr->counts, STORES_PUBLISHED);
	buf_clear(&tombstones.bytes);
	return status;
}

static enum sgate_status
publish_creations(struct sgate_manager *mgr, const struct spool_frame *frames,
    size_t count, bool *out_done, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	struct record_store store;
	struct sgate_error why;
	size_t i;

	for (i = 0; i < count && status == SGATE_OK; i++) {
		if (frames[i].kind != SPOOL_CREATE ||
		    frames[i].record.data == NULL)
			continue;
		store = known_store(mgr, &frames[i].audit.ref);
		if (!is_of_store(&frames[i], store.id)) {
			error_foreign(err);
			continue;
		}
		status = away_publish_frame(mgr, &frames[i], &why);
		out_done[i] = status == SGATE_OK;
		if (status != SGATE_OK && err != NULL)
			*err = why;
	}
	return status;
}

enum sgate_status
manager_spool_publish(struct sgate_manager *mgr,
    const struct spool_frame *frames, size_t count, bool *out_done,
    struct sgate_error *err)
{
	struct tombstones tombstones = {.count = 0};
	struct sgate_error why;
	enum sgate_status status;
	size_t i;

	status = check_count(count, out_done, err);
	if (status != SGATE_OK)
		return status;
	manager_begin(mgr, err);
	status = make_tombstones(mgr, frames, count, &tombstones, err);
	if (status == SGATE_OK) {
		status = send_tombstones(mgr, &tombstones, true, 0, &why);
		if (status != SGATE_OK && err != NULL)
			*err = why;
	}
	for (i = 0; i < tombstones.count; i++)
		manager_drop(mgr, &tombstones.items[i].ref);
	for (i = 0; i < count && status == SGATE_OK; i++)
		out_done[i] = tombstones.is_told[i];
	if (status == SGATE_OK)
		status = publish_creations(mgr, frames, count, out_done, err);
	count_done(mgr, STORES_SPOOL_PUBLISHED, out_done, count);
	buf_clear(&tombstones.bytes);
	return status;
}
