/*
 * One change in one transaction, done once; and ends of sessions, alone or
 * many together.
 *
 * Order of locks in every transaction: audit -> idempotency -> user ->
 * session rows by ascending ref -> counters by ascending group. The audit rows
 * of sessions that end with a change are inserted when their rows are locked:
 * their event ids are fresh, nobody else can wait for them.
 *
 * A change happens once because the event id of its first audit row is its
 * key. Whether a commit without an answer happened is asked of the audit table;
 * a repeat of ours that meets its own event id is told that it was done.
 */
#include "config.h"

#include "manager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* ---- audit rows ---- */

/* Ascending within a manager, whatever the clock does. */
static void
write_event_id(
    struct sgate_manager *mgr, unsigned char out[DURABLE_EVENT_BYTES])
{
	int64_t ms = manager_now_ms(mgr);
	uint32_t count = mgr->event_count++;
	int i;

	if (ms < mgr->event_ms)
		ms = mgr->event_ms;
	mgr->event_ms = ms;
	for (i = 0; i < 6; i++)
		out[i] = (unsigned char)(ms >> (8 * (5 - i)));
	memcpy(out + 6, mgr->event_host, 2);
	memcpy(out + 8, mgr->event_manager, 4);
	for (i = 0; i < 4; i++)
		out[12 + i] = (unsigned char)(count >> (8 * (3 - i)));
}

void
audit_init(struct durable_audit *audit, struct sgate_manager *mgr,
    const char *kind, enum sgate_reason reason)
{
	memset(audit, 0, sizeof(*audit));
	write_event_id(mgr, audit->event_id);
	audit->at_ms = manager_now_ms(mgr);
	audit->reason = reason;
	input_copy(audit->host, sizeof(audit->host), bytes_of(mgr->host));
	input_copy(
	    audit->actor, sizeof(audit->actor), bytes_of(mgr->call.actor));
	input_copy(audit->kind, sizeof(audit->kind), bytes_of(kind));
	input_copy(
	    audit->realm, sizeof(audit->realm), bytes_of(mgr->call.realm));
	memcpy(audit->client_ip, mgr->call.client_ip, sizeof(audit->client_ip));
	audit->client_ip_len = mgr->call.client_ip_len;
}

void
audit_about(struct durable_audit *audit, const struct sgate_session *session)
{
	audit->has_ref = true;
	audit->ref = session->ref;
	input_copy(
	    audit->realm, sizeof(audit->realm), bytes_of(session->realm));
	input_copy(audit->user, sizeof(audit->user), bytes_of(session->user));
}

/* ---- one change ---- */

void
change_init(struct change *change, struct sgate_manager *mgr, const char *kind,
    enum sgate_reason reason,
    enum sgate_status (*apply)(struct change *change, struct sgate_error *err),
    void *arg)
{
	memset(change, 0, sizeof(*change));
	change->mgr = mgr;
	change->apply = apply;
	change->arg = arg;
	audit_init(&change->audit, mgr, kind, reason);
}

/*
 * What the cache will be told. The store's id and epoch and the number of the
 * group are read here, as the last step: the row that is created is at least as
 * new as that number, and a row that was changed has it.
 */
static enum sgate_status
change_prepare(struct change *change, struct sgate_error *err)
{
	struct sgate_manager *mgr = change->mgr;
	const struct sgate_ref *ref = NULL;
	struct durable_snapshot at = change->at;
	enum sgate_status status = SGATE_OK;
	size_t i;

	if (mgr->cache_ops == NULL || change->publish != NULL)
		return SGATE_OK;
	publication_clear(&change->publication);
	for (i = 0; change->endings != NULL && i < change->endings->count; i++)
		if (change->endings->items[i].session != NULL)
			ref = &change->endings->items[i].ref;
	if (change->live != NULL)
		ref = &change->live->ref;
	if (ref == NULL)
		return SGATE_OK;
	if (!change->is_whole)
		status = manager_write(mgr,
		    mgr->ops->snapshot(
			mgr->durable, token_ref_group(ref), &at, err),
		    err);
	if (status != SGATE_OK)
		return status;
	return publication_make(
	    mgr, &at, change->live, change->endings, &change->publication, err);
}

/*
 * What the cache could not be told it goes on to answer as before to whoever
 * can read it. Other hosts learn by their rounds that it is behind; this one
 * knows it now.
 */
void
change_untold(struct sgate_manager *mgr, const struct durable_snapshot *at,
    const struct sgate_session *session)
{
	fence_raise_untold(&mgr->stores->fence, token_ref_group(&session->ref),
	    fence_mark(at->store.epoch, session->seq));
}

static void
change_publish(struct change *change)
{
	struct sgate_manager *mgr = change->mgr;
	const struct durable_snapshot *at = &change->publication.at;
	const struct endings *endings = change->endings;
	size_t i;

	if (publication_send(mgr, &change->publication, &change->put))
		return;
	if (change->live != NULL)
		change_untold(mgr, at, change->live);
	for (i = 0; endings != NULL && i < endings->count; i++)
		if (endings->items[i].session != NULL)
			change_untold(mgr, at, endings->items[i].session);
}

/*
 * What follows a commit: the one place for it, also where a commit's answer was
 * lost and the audit table settled it. The cache is told before the change is
 * acknowledged; that it cannot be told fails nothing. That the session has
 * ended there does: a tombstone stands for an end that was acknowledged.
 */
static enum sgate_status
change_committed(struct change *change, struct sgate_error *err)
{
	struct sgate_manager *mgr = change->mgr;

	mgr->served_by = STORES_DURABLE;
	error_clear(err);
	if (mgr->cache_ops == NULL || change->is_void)
		return SGATE_OK;
	failpoint("commit-publish");
	if (change->publish != NULL) {
		change->publish(change);
		return SGATE_OK;
	}
	if (!failpoint_is_off("publish"))
		change_publish(change);
	if (change->put.answer != CACHE_PUT_ENDED)
		return SGATE_OK;
	mgr->served_by = STORES_CACHE;
	stores_count(mgr->counts, STORES_REFUSED_TOMBSTONE);
	return error_reason(err, SGATE_NOT_FOUND, change->put.ended, "change");
}

/* *out_was_done: its event id is there already; nothing was changed now. */
static enum sgate_status
change_try(struct change *change, bool *out_was_done, struct sgate_error *err)
{
	struct sgate_manager *mgr = change->mgr;
	struct durable *d = mgr->durable;
	enum sgate_status status;

	*out_was_done = false;
	change->is_void = false;
	status = manager_begin_in(mgr, d, err);
	if (status != SGATE_OK)
		goto out;
	if (!change->is_repeatable && !change->is_whole) {
		status = manager_write(
		    mgr, mgr->ops->audit_insert(d, &change->audit, err), err);
		*out_was_done = status == SGATE_CONFLICT;
	}
	if (status == SGATE_OK) {
		/* Till here they are those of the try before. */
		change->live = NULL;
		change->endings = NULL;
		status = change->apply(change, err);
		if (change->is_whole)
			*out_was_done = status == SGATE_CONFLICT;
	}
	if (status == SGATE_OK && !change->is_void)
		status = change_prepare(change, err);
	if (status != SGATE_OK || change->is_void)
		goto out;
	change->was_applied = true;
	status = manager_write(mgr, mgr->ops->commit(d, err), err);
	if (status == SGATE_OK) {
		stores_count(mgr->counts, STORES_DURABLE_WRITES);
		return status;
	}
out:
	mgr->ops->rollback(d);
	return status;
}

/* After a commit without an answer: SGATE_OK if it happened. */
static enum sgate_status
change_settle(struct change *change, struct sgate_error *err)
{
	struct sgate_manager *mgr = change->mgr;
	struct sgate_error why;

	if (!change->is_repeatable && manager_has_time(mgr) &&
	    manager_read(mgr,
		mgr->ops->audit_exists(
		    mgr->durable, change->audit.event_id, &why),
		&why) == SGATE_OK)
		return SGATE_OK;
	if (err != NULL) {
		err->status = SGATE_UNCERTAIN;
		err->reason = SGATE_REASON_STORE;
	}
	return SGATE_UNCERTAIN;
}

/*
 * What it has changed, or may have changed, is taken out of the local cache
 * when the cache has been told: what was filled with the old copy before that
 * goes, too. A new session is nowhere yet.
 */
static void
change_drop(const struct change *change)
{
	size_t i;

	if (change->live != NULL && change->live->version > 1)
		manager_drop(change->mgr, &change->live->ref);
	for (i = 0; change->endings != NULL && i < change->endings->count; i++)
		if (change->endings->items[i].session != NULL)
			manager_drop(
			    change->mgr, &change->endings->items[i].ref);
}

/* No answer of the store, so it says nothing about an earlier try. */
static bool
is_no_answer(enum sgate_status status)
{
	return status == SGATE_UNAVAILABLE || status == SGATE_CORRUPT ||
	       status == SGATE_NO_MEMORY || status == SGATE_INTERNAL;
}

/*
 * Where others have the lock, as often as the server can wait for it and say so
 * in vain.
 */
static bool
may_try_again(const struct sgate_manager *mgr, int tries)
{
	if (mgr->is_durable_busy)
		return clock_left_ms(mgr->call.deadline_ms) >=
		       mgr->conf->mysql.write_timeout_ms;
	return tries < 2 && manager_has_time(mgr);
}

/*
 * At most two tries with the same event id, and as many more as there is time
 * for while it is others who have the user's lock. A second try that gets past
 * its audit row knows that the first did not happen, so its verdict stands;
 * only one that cannot answer leaves the first in doubt.
 */
enum sgate_status
change_run(struct change *change, struct sgate_error *err)
{
	bool is_in_doubt = false, was_done;
	enum sgate_status status;
	int tries;

	status = manager_need_durable(change->mgr, err);
	if (status != SGATE_OK)
		return status;
	for (tries = 1;; tries++) {
		if (tries > 1 && failpoint_is_off("event-id"))
			write_event_id(change->mgr, change->audit.event_id);
		status = change_try(change, &was_done, err);
		if (was_done && change->may_be_done) {
			status = SGATE_OK;
			change->is_void = true;
		} else if (was_done && tries > 1 && change->was_applied) {
			status = SGATE_OK;
			change->is_void = false;
		} else if (was_done) {
			status = error_set(err, SGATE_INTERNAL, "audit",
			    "insert", 0, "a new event id is there already");
		}
		if (status == SGATE_UNCERTAIN) {
			is_in_doubt = true;
			status = change_settle(change, err);
		}
		if (status != SGATE_UNAVAILABLE && status != SGATE_UNCERTAIN)
			break;
		if (change->is_once || !may_try_again(change->mgr, tries))
			break;
	}
	if (status == SGATE_OK)
		status = change_committed(change, err);
	if (change->was_applied)
		change_drop(change);
	publication_clear(&change->publication);
	if (is_in_doubt && is_no_answer(status)) {
		status = SGATE_UNCERTAIN;
		if (err != NULL) {
			err->status = status;
			err->reason = SGATE_REASON_STORE;
		}
	}
	return status;
}

enum sgate_status
change_lock(struct change *change, const struct sgate_ref *ref,
    struct sgate_session **out, struct sgate_error *err)
{
	struct sgate_manager *mgr = change->mgr;
	struct sgate_session *session = NULL;
	enum sgate_status status;

	*out = NULL;
	status =
	    manager_read_ref(mgr, ref, DURABLE_FOR_UPDATE, &session, NULL, err);
	if (status == SGATE_OK)
		status = manager_judge(mgr, session, err);
	if (status != SGATE_OK) {
		sgate_session_free(session);
		return status;
	}
	*out = session;
	return SGATE_OK;
}

enum sgate_status
change_store(struct change *change, struct sgate_session *session,
    struct sgate_error *err)
{
	struct sgate_manager *mgr = change->mgr;
	enum sgate_status status;

	session->version++;
	status = manager_write(mgr,
	    mgr->ops->counter_next(mgr->durable, token_ref_group(&session->ref),
		&session->seq, err),
	    err);
	if (status != SGATE_OK)
		return status;
	change->live = session;
	return manager_write(
	    mgr, mgr->ops->session_store(mgr->durable, session, err), err);
}

/* ---- ends ---- */

enum sgate_status
endings_add(struct endings *endings, const struct sgate_ref *ref,
    enum sgate_reason reason, struct sgate_error *err)
{
	struct ending *items;
	size_t size;

	if (endings->count == endings->size) {
		size = endings->size == 0 ? 8 : 2 * endings->size;
		items = reallocarray(endings->items, size, sizeof(*items));
		if (items == NULL)
			return error_memory(err, "end");
		endings->items = items;
		endings->size = size;
	}
	memset(&endings->items[endings->count], 0, sizeof(*items));
	endings->items[endings->count].ref = *ref;
	endings->items[endings->count].reason = reason;
	endings->items[endings->count].is_if_expired =
	    reason == SGATE_REASON_OK;
	endings->count++;
	return SGATE_OK;
}

bool
endings_have(const struct endings *endings, const struct sgate_ref *ref)
{
	size_t i;

	for (i = 0; i < endings->count; i++)
		if (memcmp(endings->items[i].ref.bytes, ref->bytes,
			SGATE_REF_BYTES) == 0)
			return true;
	return false;
}

static int
compare_endings(const void *a, const void *b)
{
	const struct ending *left = a, *right = b;

	return memcmp(left->ref.bytes, right->ref.bytes, SGATE_REF_BYTES);
}

void
endings_sort(struct endings *endings)
{
	if (endings->count > 1)
		qsort(endings->items, endings->count, sizeof(*endings->items),
		    compare_endings);
}

/*
 * Data is not read: a session's data goes with its end (endings_store), so
 * that a thousand rows fit in memory and nobody's data outlives the session.
 */
static enum sgate_status
insert_absent(
    struct sgate_manager *mgr, struct ending *item, struct sgate_error *err)
{
	enum sgate_status status;

	if (item->absent == NULL)
		return SGATE_OK;
	status = manager_write(mgr,
	    mgr->ops->session_insert(mgr->durable, item->absent, err), err);
	if (status == SGATE_CONFLICT)
		return error_set(err, SGATE_UNAVAILABLE, "session", "insert", 0,
		    "the row has been made just now; try again");
	if (status != SGATE_OK)
		return status;
	item->session = item->absent;
	item->absent = NULL;
	return SGATE_OK;
}

static bool
is_anothers(const struct ending *item, const struct sgate_session *session)
{
	return item->is_of_user && item->absent != NULL &&
	       (strcmp(item->absent->user, session->user) != 0 ||
		   strcmp(item->absent->realm, session->realm) != 0);
}

enum sgate_status
endings_lock(struct sgate_manager *mgr, struct endings *endings, size_t index,
    struct sgate_error *err)
{
	struct ending *item = &endings->items[index];
	struct sgate_session *session = NULL;
	enum sgate_status status;

	sgate_session_free(item->session);
	item->session = NULL;
	status = manager_write(mgr,
	    mgr->ops->session_get(mgr->durable, &item->ref,
		DURABLE_FOR_UPDATE | DURABLE_NO_DATA, &session, NULL, err),
	    err);
	if (status == SGATE_NOT_FOUND)
		return insert_absent(mgr, item, err);
	if (status != SGATE_OK)
		return status;
	if (item->is_if_expired)
		item->reason = manager_gone(mgr, session, manager_now_ms(mgr));
	if (session->state != SESSION_LIVE || item->reason == SGATE_REASON_OK ||
	    is_anothers(item, session)) {
		sgate_session_free(session);
		return SGATE_OK;
	}
	item->session = session;
	return SGATE_OK;
}

enum sgate_status
endings_lock_all(
    struct sgate_manager *mgr, struct endings *endings, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	size_t i;

	endings_sort(endings);
	for (i = 0; i < endings->count && status == SGATE_OK; i++)
		status = endings_lock(mgr, endings, i, err);
	return status;
}

static enum sgate_status
endings_audit(struct sgate_manager *mgr, const struct endings *endings,
    struct sgate_error *err)
{
	struct durable_audit audit;
	enum sgate_status status;
	size_t i;

	for (i = 0; i < endings->count; i++) {
		const struct ending *item = &endings->items[i];

		if (item->session == NULL)
			continue;
		audit_init(&audit, mgr, "end", item->reason);
		audit_about(&audit, item->session);
		status = manager_write(mgr,
		    mgr->ops->audit_insert(mgr->durable, &audit, err), err);
		if (status == SGATE_CONFLICT)
			return error_set(err, SGATE_INTERNAL, "audit", "insert",
			    0, "a new event id is there already");
		if (status != SGATE_OK)
			return status;
	}
	return SGATE_OK;
}

/* One number for all rows of a fence group, groups ascending. */
static enum sgate_status
endings_number(
    struct sgate_manager *mgr, struct endings *endings, struct sgate_error *err)
{
	enum sgate_status status;
	unsigned group;
	uint64_t seq;
	size_t i;

	for (group = 0; group < TOKEN_GROUPS; group++) {
		seq = 0;
		for (i = 0; i < endings->count; i++) {
			struct ending *item = &endings->items[i];

			if (item->session == NULL ||
			    token_ref_group(&item->ref) != group)
				continue;
			if (seq == 0) {
				status = manager_write(mgr,
				    mgr->ops->counter_next(
					mgr->durable, group, &seq, err),
				    err);
				if (status != SGATE_OK)
					return status;
			}
			item->session->seq = seq;
		}
	}
	return SGATE_OK;
}

enum sgate_status
ending_mark(struct sgate_session *session, enum sgate_reason reason,
    int64_t ended_ms, struct sgate_error *err)
{
	session->state = SESSION_ENDED;
	session->end_reason = reason;
	session->ended_ms = ended_ms;
	if (!session_set(&session->data, bytes_of("{}")) ||
	    !session_set(&session->exports, bytes_of("")))
		return error_memory(err, "end");
	return SGATE_OK;
}

static enum sgate_status
store_ended(
    struct sgate_manager *mgr, struct ending *item, struct sgate_error *err)
{
	struct sgate_session *session = item->session;
	enum sgate_status status;

	session->version++;
	status = ending_mark(session, item->reason,
	    item->ended_ms != 0 ? item->ended_ms : manager_now_ms(mgr), err);
	if (status != SGATE_OK)
		return status;
	return manager_write(
	    mgr, mgr->ops->session_store(mgr->durable, session, err), err);
}

enum sgate_status
endings_write(struct sgate_manager *mgr, struct endings *endings,
    uint64_t *out_count, struct sgate_error *err)
{
	enum sgate_status status = endings_number(mgr, endings, err);
	size_t i;

	*out_count = 0;
	for (i = 0; i < endings->count && status == SGATE_OK; i++) {
		if (endings->items[i].session == NULL)
			continue;
		status = store_ended(mgr, &endings->items[i], err);
		(*out_count)++;
	}
	return status;
}

enum sgate_status
endings_store(struct change *change, struct endings *endings, bool has_audit,
    uint64_t *out_count, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;

	*out_count = 0;
	change->endings = endings;
	if (!has_audit)
		status = endings_audit(change->mgr, endings, err);
	if (status != SGATE_OK)
		return status;
	return endings_write(change->mgr, endings, out_count, err);
}

void
endings_reset(struct endings *endings)
{
	size_t i;

	for (i = 0; i < endings->count; i++) {
		sgate_session_free(endings->items[i].session);
		sgate_session_free(endings->items[i].absent);
	}
	endings->count = 0;
}

void
endings_clear(struct endings *endings)
{
	endings_reset(endings);
	free(endings->items);
	memset(endings, 0, sizeof(*endings));
}
