/*
 * Changes of several calls in one transaction (durable_mysql_change.c): calls
 * that one worker serves within one another (manager_batch.c).
 *
 * Each is as by itself, on the row as it is then: locked, judged, merged. What
 * cannot be done at once, or would be refused, is left to go by itself, behind
 * the others: no row, a row that somebody else has locked, one that has ended
 * or is another realm's, another version than If-Match says, a second change of
 * the same session. So whatever is wrong with one concerns that one, and only
 * a change by itself says no.
 *
 * It is tried once. What is surely not done goes by itself, with a new event
 * id; what may be done is unknown to each of them.
 */
#include "config.h"

#include "manager.h"

#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "status.h"

/* Rows of one transaction, as far as they can be of any size. */
#define ROWS_MAX_BYTES (1024 * 1024)

struct joints {
	struct sgate_manager *mgr;
	struct joint **items;
	size_t count;
	struct durable_change changes[DURABLE_CHANGES_MAX];
	bool is_in[DURABLE_CHANGES_MAX];
	size_t bytes;
	/* What the cache is told; the record of an ended one is empty. */
	struct buf records[DURABLE_CHANGES_MAX];
	struct cache_putting puts[DURABLE_CHANGES_MAX];
	size_t puts_of[DURABLE_CHANGES_MAX];
	size_t puts_count;
	struct ending endings[DURABLE_CHANGES_MAX];
	struct publication tombstones;
};

static bool
is_ended(const struct joints *j, size_t i)
{
	return j->changes[i].session->state == SESSION_ENDED;
}

/* ---- who takes part ---- */

/* Of each ref the one that came first, which is the last here. */
static void
choose(struct joints *j)
{
	size_t i, other;

	for (i = 0; i < j->count; i++) {
		j->is_in[i] = true;
		for (other = i + 1; other < j->count && j->is_in[i]; other++)
			j->is_in[i] =
			    memcmp(&j->items[i]->ref, &j->items[other]->ref,
				sizeof(j->items[i]->ref)) != 0;
	}
}

static enum sgate_status
lock(struct joints *j, struct sgate_error *err)
{
	struct durable_change wanted[DURABLE_CHANGES_MAX] = {{.ref = NULL}};
	size_t index[DURABLE_CHANGES_MAX];
	size_t i, count = 0;
	enum sgate_status status;

	for (i = 0; i < j->count; i++) {
		sgate_session_free(j->changes[i].session);
		j->changes[i] =
		    (struct durable_change){.ref = &j->items[i]->ref};
		if (!j->is_in[i])
			continue;
		index[count] = i;
		wanted[count++].ref = &j->items[i]->ref;
	}
	status = manager_write(j->mgr,
	    j->mgr->ops->lock_many(j->mgr->durable, wanted, count, err), err);
	for (i = 0; i < count && status == SGATE_OK; i++)
		j->changes[index[i]].session = wanted[i].session;
	return status;
}

/* The row as it will be; false: this one goes by itself. */
static bool
edit(struct joints *j, size_t i)
{
	struct joint *joint = j->items[i];
	struct sgate_session *session = j->changes[i].session;
	struct sgate_error ignored;

	if (session == NULL || strcmp(session->realm, joint->realm) != 0 ||
	    manager_judge_known(j->mgr, session, &ignored) != SGATE_OK ||
	    joint->edit(j->mgr, joint->arg, session, &ignored) != SGATE_OK)
		return false;
	j->bytes += strlen(session->contexts) + strlen(session->roles) +
		    strlen(session->exports) + strlen(session->data);
	if (j->bytes > ROWS_MAX_BYTES)
		return false;
	session->version++;
	audit_about(&joint->audit, session);
	return true;
}

/* ---- what the cache is told ---- */

static enum sgate_status
make_put(struct joints *j, size_t i, struct sgate_error *err)
{
	const struct sgate_session *session = j->changes[i].session;
	const struct durable_snapshot *at = &j->changes[i].at;
	struct buf *bytes = &j->records[i];
	enum sgate_status status;

	buf_wipe(bytes);
	status =
	    record_write(j->mgr->keys, &at->store, 'L', session, bytes, err);
	j->puts_of[i] = j->puts_count;
	j->puts[j->puts_count++] = (struct cache_putting){
	    .item = {.ref = session->ref,
		.record = buf_bytes(bytes),
		.ttl_ms = session_copy_ttl_ms(session, manager_now_ms(j->mgr))},
	    .s0 = at->counter,
	    .put = CACHE_PUT_RETRY};
	return status;
}

static enum sgate_status
make_copies(struct joints *j, struct sgate_error *err)
{
	struct endings endings = {.items = j->endings};
	const struct durable_snapshot *at = NULL;
	enum sgate_status status = SGATE_OK;
	size_t i;

	j->puts_count = 0;
	for (i = 0; i < j->count && status == SGATE_OK; i++) {
		if (!j->is_in[i])
			continue;
		at = &j->changes[i].at;
		if (!is_ended(j, i)) {
			status = make_put(j, i, err);
			continue;
		}
		j->endings[endings.count++] =
		    (struct ending){.ref = *j->changes[i].ref,
			.session = j->changes[i].session};
	}
	if (status != SGATE_OK || endings.count == 0)
		return status;
	return publication_make(
	    j->mgr, at, NULL, &endings, &j->tombstones, err);
}

static void
take_told(struct joints *j, size_t i, bool is_told, bool has_tombstones)
{
	struct put_result *put = &j->items[i]->put;

	if (!is_told)
		change_untold(j->mgr, &j->changes[i].at, j->changes[i].session);
	put->has_tombstones = has_tombstones;
	if (is_ended(j, i))
		return;
	put->answer = j->puts[j->puts_of[i]].put;
	if (put->answer == CACHE_PUT_ENDED)
		put->ended = cached_tombstone_reason(&j->puts[j->puts_of[i]]);
}

static void
publish(struct change *change)
{
	struct joints *j = change->arg;
	struct put_result ends = {.answer = CACHE_PUT_OK};
	bool is_put = true, is_ended_told = true;
	size_t i;

	if (failpoint_is_off("publish"))
		return;
	if (j->tombstones.tombstones_count > 0)
		is_ended_told = publication_send(j->mgr, &j->tombstones, &ends);
	if (j->puts_count > 0)
		is_put = cached_put_many(j->mgr, j->puts, j->puts_count);
	for (i = 0; i < j->count; i++)
		if (j->is_in[i])
			take_told(j, i, is_ended(j, i) ? is_ended_told : is_put,
			    ends.has_tombstones);
}

/* ---- the change ---- */

static enum sgate_status
apply(struct change *change, struct sgate_error *err)
{
	struct joints *j = change->arg;
	struct sgate_manager *mgr = j->mgr;
	enum sgate_status status = lock(j, err);
	const struct joint *first = NULL;
	size_t i;

	for (i = 0; i < j->count && status == SGATE_OK; i++) {
		j->is_in[i] = j->is_in[i] && edit(j, i);
		if (!j->is_in[i])
			continue;
		if (first == NULL)
			first = j->items[i];
		j->changes[i].audit = &j->items[i]->audit;
	}
	change->is_void = first == NULL;
	if (status != SGATE_OK || first == NULL)
		return status;
	/* What becomes of a commit without an answer is asked of this one. */
	change->audit = first->audit;
	status = manager_write(mgr,
	    mgr->ops->store_many(mgr->durable, j->changes, j->count, err), err);
	for (i = 0; i < j->count && status == SGATE_OK; i++)
		if (j->is_in[i])
			j->changes[i].session->seq = j->changes[i].at.counter;
	if (status == SGATE_OK && mgr->cache_ops != NULL)
		status = make_copies(j, err);
	return status;
}

/* ---- answers ---- */

static void
answer(struct joints *j, size_t i, enum sgate_status status,
    const struct sgate_error *err)
{
	struct joint *joint = j->items[i];

	joint->is_alone = false;
	joint->status = status;
	joint->err = *err;
	if (status != SGATE_OK)
		return;
	joint->session = j->changes[i].session;
	j->changes[i].session = NULL;
	stores_count(j->mgr->counts, STORES_BATCH_CHANGES);
}

/* As is_for_all() of manager_batch.c. */
static void
answer_all(struct joints *j, const struct change *change,
    enum sgate_status status, const struct sgate_error *err)
{
	bool is_for_all =
	    status == SGATE_OK || status == SGATE_UNCERTAIN ||
	    (status == SGATE_UNAVAILABLE && j->mgr->is_durable_away);
	size_t i;

	for (i = 0; i < j->count; i++) {
		if (!j->is_in[i])
			continue;
		/* Changed, or perhaps. */
		if (change->was_applied)
			manager_drop(j->mgr, &j->items[i]->ref);
		if (is_for_all)
			answer(j, i, status, err);
	}
}

void
joints_commit(
    struct sgate_manager *mgr, struct joint **items, size_t items_count)
{
	struct joints *j = calloc(1, sizeof(*j));
	struct change change;
	struct sgate_error err;
	enum sgate_status status;
	size_t i;

	/* Without: nothing has happened, and each goes by itself. */
	if (j == NULL || items_count > DURABLE_CHANGES_MAX) {
		free(j);
		return;
	}
	j->mgr = mgr;
	j->items = items;
	j->count = items_count;
	choose(j);
	change_init(&change, mgr, "change", SGATE_REASON_OK, apply, j);
	change.is_whole = change.is_once = true;
	change.publish = publish;
	status = change_run(&change, &err);
	if (status == SGATE_OK && !change.is_void)
		stores_count(mgr->counts, STORES_BATCH_COMMITS);
	answer_all(j, &change, status, &err);
	for (i = 0; i < j->count; i++) {
		sgate_session_free(j->changes[i].session);
		buf_wipe(&j->records[i]);
	}
	publication_clear(&j->tombstones);
	free(j);
}

/* ---- the caller's side ---- */

void
joint_init(struct joint *joint, struct sgate_manager *mgr, const char *kind,
    const struct sgate_ref *ref, enum sgate_reason reason,
    joint_edit_fn *edit_fn, void *arg)
{
	memset(joint, 0, sizeof(*joint));
	joint->ref = *ref;
	joint->edit = edit_fn;
	joint->arg = arg;
	joint->is_alone = true;
	input_copy(
	    joint->realm, sizeof(joint->realm), bytes_of(mgr->call.realm));
	audit_init(&joint->audit, mgr, kind, reason);
}

enum sgate_status
joint_result(struct sgate_manager *mgr, const struct joint *joint,
    struct sgate_error *err)
{
	if (joint->status != SGATE_OK) {
		if (err != NULL)
			*err = joint->err;
		return joint->status;
	}
	error_clear(err);
	mgr->served_by = STORES_DURABLE;
	if (joint->put.answer != CACHE_PUT_ENDED)
		return SGATE_OK;
	mgr->served_by = STORES_CACHE;
	stores_count(mgr->counts, STORES_REFUSED_TOMBSTONE);
	return error_reason(err, SGATE_NOT_FOUND, joint->put.ended, "change");
}

void
joint_clear(struct joint *joint)
{
	sgate_session_free(joint->session);
	joint->session = NULL;
}
