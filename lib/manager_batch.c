/*
 * Creations of many workers in one transaction (batch.h): what is handed over,
 * and what the one at work does with it.
 *
 * It is one change with the audit row of the first of them as its key: what
 * becomes of a commit without an answer is settled for all, for they have one
 * fate. Each is told the cache by itself, all in one question, before any is
 * answered.
 *
 * Whatever goes wrong because of one of them, surely without a commit, sends
 * each to try by itself: so one that is bad fails alone.
 *
 * A worker gathers its own first. What waits at its door is served before the
 * commit, within the call of the one that would be committed: each that is a
 * creation comes here too and looks for the next. The last one commits for all,
 * and each call goes on with its own answer. Nobody waits for who may come.
 */
#include "config.h"

#include "manager.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "batch.h"
#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* Handed over: this, and the record of the session behind it. */
struct handed {
	struct durable_audit audit;
	struct sgate_ref ref;
	uint32_t record_len;
};

/* Of one worker, in calls within calls. */
#define GATHERED_MAX 32
/* How long a worker looks for more: others are served in between. */
#define GATHER_MS 5

/* Records are sealed for a store: on this way for none. */
static const struct record_store no_store;

/* One that is sound. */
struct joiner {
	struct batch_item *item;
	const struct sgate_session *session;
	const struct durable_audit *audit; /* NULL: read_audit */
	/* Of another worker's. */
	struct sgate_session *read_session;
	struct durable_audit read_audit;
	struct buf record;
};

struct joined {
	struct sgate_manager *mgr;
	size_t count;
	/* As many as were taken. */
	struct joiner *joiners;
	struct durable_creation *creations;
	struct cache_putting *puts;
	struct joint *changes[GATHERED_MAX]; /* this worker's own */
	size_t changes_count;
};

/* One that is not committed yet, in the frame of its call. */
struct gathered {
	struct gathered *outer;
	struct joint *joint; /* a change; NULL: a creation */
	const struct sgate_session *session;
	const struct durable_audit *audit;
	struct batch_answer answer;
	bool is_done;
	int64_t deadline_ms; /* of the outermost, for all have one fate */
};
_Static_assert(BATCH_ITEMS_MAX <= DURABLE_CREATIONS_MAX, "in a transaction");
_Static_assert(BATCH_ITEMS_MAX <= CACHE_PUTS_MAX, "in a question");
_Static_assert(GATHERED_MAX <= DURABLE_CHANGES_MAX, "in a transaction");
_Static_assert(GATHERED_MAX <= CACHE_PUTS_MAX, "in a question");

/* ---- what is handed over ---- */

/* False: it does not fit, or there is no memory. */
static bool
write_handed(struct sgate_manager *mgr, const struct sgate_session *session,
    const struct durable_audit *audit, struct buf *out)
{
	struct handed head = {.audit = *audit, .ref = session->ref};
	struct buf record = {0};
	enum sgate_status status =
	    record_write(mgr->keys, &no_store, 'L', session, &record, NULL);

	head.record_len = (uint32_t)record.len;
	buf_add(out, &head, sizeof(head));
	buf_add_bytes(out, buf_bytes(&record));
	buf_wipe(&record);
	return status == SGATE_OK && !buf_failed(out) &&
	       out->len <= BATCH_BYTES_MAX;
}

/* The text of a transaction of many stays small. */
static bool
is_small(const struct sgate_session *session)
{
	return strlen(session->contexts) + strlen(session->roles) +
		   strlen(session->exports) + strlen(session->data) <
	       BATCH_BYTES_MAX;
}

/* Texts that another process has written end where they must. */
static void
end_texts(struct durable_audit *audit)
{
	audit->host[sizeof(audit->host) - 1] = '\0';
	audit->actor[sizeof(audit->actor) - 1] = '\0';
	audit->kind[sizeof(audit->kind) - 1] = '\0';
	audit->realm[sizeof(audit->realm) - 1] = '\0';
	audit->user[sizeof(audit->user) - 1] = '\0';
	audit->detail[sizeof(audit->detail) - 1] = '\0';
	if (audit->client_ip_len > sizeof(audit->client_ip))
		audit->client_ip_len = 0;
}

static void
join(struct joined *j, struct batch_item *item)
{
	struct joiner *one = &j->joiners[j->count];
	struct sgate_bytes record;
	struct handed head;
	char state;

	if (item->len < sizeof(head))
		return;
	memcpy(&head, item->bytes, sizeof(head));
	if (head.record_len != item->len - sizeof(head))
		return;
	record.data = (const char *)item->bytes + sizeof(head);
	record.len = head.record_len;
	if (record_read(j->mgr->keys, &no_store, &head.ref, record, &state,
		&one->read_session, NULL) != SGATE_OK)
		return;
	end_texts(&head.audit);
	one->read_audit = head.audit;
	one->session = one->read_session;
	one->item = item;
	j->count++;
}

/*
 * This worker's own come first, as they stand in the frames of their calls:
 * they need not be written and read.
 */
static void
join_all(struct joined *j, struct batch_item *items, size_t count)
{
	const struct gathered *own = j->mgr->gathered;
	struct joiner *one;
	size_t i;

	for (i = 0; i < count; i++) {
		if (own == NULL || own->is_done) {
			join(j, &items[i]);
			continue;
		}
		if (own->joint != NULL) {
			j->changes[j->changes_count++] = own->joint;
			own = own->outer;
			continue;
		}
		one = &j->joiners[j->count++];
		one->item = &items[i];
		one->session = own->session;
		one->audit = own->audit;
		own = own->outer;
	}
}

/* ---- the change ---- */

static enum sgate_status
make_copies(struct joined *j, struct sgate_error *err)
{
	int64_t now_ms = manager_now_ms(j->mgr);
	enum sgate_status status = SGATE_OK;
	size_t i;

	for (i = 0; i < j->count && status == SGATE_OK; i++) {
		const struct durable_creation *one = &j->creations[i];
		struct buf *bytes = &j->joiners[i].record;

		buf_wipe(bytes);
		status = record_write(j->mgr->keys, &one->at.store, 'L',
		    one->session, bytes, err);
		j->puts[i] = (struct cache_putting){
		    .item = {.ref = one->session->ref,
			.record = buf_bytes(bytes),
			.ttl_ms = session_copy_ttl_ms(one->session, now_ms)},
		    .s0 = one->at.counter,
		    .put = CACHE_PUT_RETRY};
	}
	return status;
}

static enum sgate_status
apply_joined(struct change *change, struct sgate_error *err)
{
	struct joined *j = change->arg;
	struct sgate_manager *mgr = j->mgr;
	enum sgate_status status;

	/*
	 * While this waited for the lock that is in one's way, all others of
	 * this host would wait for it: each waits by itself.
	 */
	status = manager_write(mgr,
	    mgr->ops->create_many(
		mgr->durable, j->creations, j->count, false, err),
	    err);
	if (status == SGATE_OK && mgr->cache_ops != NULL)
		status = make_copies(j, err);
	return status;
}

static void
publish_joined(struct change *change)
{
	struct joined *j = change->arg;

	cached_put_many(j->mgr, j->puts, j->count);
}

/* ---- answers ---- */

static void
answer_one(const struct joined *j, size_t index, enum sgate_status status,
    enum sgate_reason reason)
{
	struct batch_answer *answer = &j->joiners[index].item->answer;
	const struct cache_putting *put = &j->puts[index];

	*answer = (struct batch_answer){.status = status, .reason = reason};
	answer->is_away = status != SGATE_OK && away_is_now(j->mgr);
	if (status != SGATE_OK || j->mgr->cache_ops == NULL)
		return;
	answer->put = put->put;
	if (put->put == CACHE_PUT_ENDED)
		answer->ended = cached_tombstone_reason(put);
}

/*
 * Only what is no question of one of them is the answer to all: it is done, it
 * may be done, or the store cannot be reached. Else each goes on alone.
 */
static bool
is_for_all(const struct sgate_manager *mgr, enum sgate_status status)
{
	return status == SGATE_OK || status == SGATE_UNCERTAIN ||
	       (status == SGATE_UNAVAILABLE && mgr->is_durable_away);
}

static const struct durable_audit *
audit_of(const struct joiner *one)
{
	return one->audit != NULL ? one->audit : &one->read_audit;
}

/* All that have joined, in one change. */
static enum sgate_status
commit_joined(struct joined *j, struct sgate_error *err)
{
	struct change change;
	enum sgate_status status;
	size_t i;

	for (i = 0; i < j->count; i++)
		j->creations[i] =
		    (struct durable_creation){.session = j->joiners[i].session,
			.audit = audit_of(&j->joiners[i])};
	change_init(
	    &change, j->mgr, "create", SGATE_REASON_OK, apply_joined, j);
	change.audit = *audit_of(&j->joiners[0]);
	change.is_whole = true;
	change.publish = publish_joined;
	status = change_run(&change, err);
	if (status == SGATE_OK) {
		for (i = 0; i < j->count; i++)
			stores_count(j->mgr->counts, STORES_BATCH_CREATIONS);
		stores_count(j->mgr->counts, STORES_BATCH_COMMITS);
	}
	return status;
}

/* Answers those whose user is blocked. False: it is nobody's. */
static bool
part_with_blocked(struct joined *j)
{
	size_t i, left = 0, before = j->count;
	struct joiner one;

	for (i = 0; i < before; i++) {
		if (j->creations[i].is_blocked) {
			answer_one(j, i, SGATE_DENIED, SGATE_REASON_BLOCKED);
			continue;
		}
		/* Each keeps its own buffer and session, which are freed last.
		 */
		one = j->joiners[left];
		j->joiners[left++] = j->joiners[i];
		j->joiners[i] = one;
	}
	j->count = left;
	return left < before;
}

static void
settle_joined(struct joined *j, struct batch_item *items, size_t count)
{
	enum sgate_status status = SGATE_DENIED;
	struct sgate_error err;
	size_t i;

	join_all(j, items, count);
	while (j->count > 0) {
		status = commit_joined(j, &err);
		if (status != SGATE_DENIED || !part_with_blocked(j))
			break;
	}
	for (i = 0; i < j->count && is_for_all(j->mgr, status); i++)
		answer_one(j, i, status, err.reason);
	if (j->changes_count > 0)
		joints_commit(j->mgr, j->changes, j->changes_count);
}

static void
do_joined(void *arg, struct batch_item *items, size_t count)
{
	struct joined j = {.mgr = arg,
	    .joiners = calloc(count, sizeof(*j.joiners)),
	    .creations = calloc(count, sizeof(*j.creations)),
	    .puts = calloc(count, sizeof(*j.puts))};
	size_t i;

	/* Without: nothing has happened, and each is told to go on alone. */
	if (j.joiners != NULL && j.creations != NULL && j.puts != NULL)
		settle_joined(&j, items, count);
	for (i = 0; i < count && j.joiners != NULL; i++) {
		sgate_session_free(j.joiners[i].read_session);
		buf_wipe(&j.joiners[i].record);
	}
	free(j.joiners);
	free(j.creations);
	free(j.puts);
}

/* ---- those of one worker ---- */

/*
 * Until there is no more, or a call within this one has committed it. What is
 * no such creation is given half of the time at most: a lock in its way must
 * not leave those around it without any.
 */
static void
gather_more(struct sgate_manager *mgr, const struct gathered *mine)
{
	int64_t now_ms = clock_monotonic_ms();
	const struct manager_call call = mgr->call;

	if (mgr->gather == NULL || mgr->gathered_count >= GATHERED_MAX)
		return;
	if (mine->outer == NULL)
		mgr->inner_until_ms =
		    now_ms + clock_left_ms(mine->deadline_ms) / 2;
	while (!mine->is_done && clock_monotonic_ms() < now_ms + GATHER_MS &&
	       mgr->gather(mgr->gather_arg))
		continue;
	if (mine->outer == NULL)
		mgr->inner_until_ms = 0;
	mgr->call = call;
}

/* The innermost's part: for all that stand around it. */
static void
commit_gathered(struct sgate_manager *mgr)
{
	struct batch_item items[GATHERED_MAX] = {{.bytes = NULL}};
	struct gathered *one;
	size_t count = 0;

	for (one = mgr->gathered; one != NULL && !one->is_done;
	     one = one->outer)
		items[count++].answer = one->answer;
	batch_do_own(
	    mgr->batch, mgr->batch_place, items, count, do_joined, mgr);
	count = 0;
	for (one = mgr->gathered; one != NULL && !one->is_done;
	     one = one->outer) {
		one->answer = items[count++].answer;
		one->is_done = true;
	}
}

/* To who is at work, or comes to it next; what does not fit goes alone. */
static enum sgate_status
hand_over(struct sgate_manager *mgr, struct gathered *mine)
{
	enum sgate_status status = SGATE_OK;
	struct buf bytes = {0};

	if (write_handed(mgr, mine->session, mine->audit, &bytes))
		status = batch_do(mgr->batch, mgr->batch_place, bytes.data,
		    bytes.len, mgr->call.deadline_ms, do_joined, mgr,
		    &mine->answer);
	buf_wipe(&bytes);
	return status;
}

/* As batch_do(). A change stays with this worker, for its caller needs the row.
 */
static enum sgate_status
do_gathered(struct sgate_manager *mgr, struct gathered *mine)
{
	enum sgate_status status = SGATE_OK;
	bool is_single;

	mine->outer = mgr->gathered;
	mine->answer = (struct batch_answer){
	    .status = SGATE_UNAVAILABLE, .is_alone = true};
	mine->deadline_ms = mgr->gathered != NULL ? mgr->gathered->deadline_ms
						  : mgr->call.deadline_ms;
	mgr->gathered = mine;
	mgr->gathered_count++;
	gather_more(mgr, mine);
	mgr->call.deadline_ms = mine->deadline_ms;
	is_single = mine->outer == NULL || mine->outer->is_done;
	if (!mine->is_done && is_single && mine->joint == NULL &&
	    batch_is_busy(mgr->batch))
		status = hand_over(mgr, mine);
	else if (!mine->is_done)
		commit_gathered(mgr);
	mgr->gathered = mine->outer;
	mgr->gathered_count--;
	return status;
}

/* By itself, while others of this worker stand around it: they need time, too.
 */
static void
share_time(struct sgate_manager *mgr)
{
	int64_t left_ms = clock_left_ms(mgr->call.deadline_ms);

	if (mgr->gathered_count > 0)
		mgr->call.deadline_ms -=
		    left_ms - left_ms / (mgr->gathered_count + 1);
}

/* ---- the caller's side ---- */

static enum sgate_status
take_answer(struct sgate_manager *mgr, const struct batch_answer *answer,
    struct put_result *out_put, struct sgate_error *err)
{
	enum sgate_status status = (enum sgate_status)answer->status;

	memset(out_put, 0, sizeof(*out_put));
	if (status == SGATE_OK) {
		out_put->answer = (enum cache_put)answer->put;
		out_put->ended = (enum sgate_reason)answer->ended;
		mgr->served_by = STORES_DURABLE;
		error_clear(err);
		return status;
	}
	if (status == SGATE_DENIED)
		return error_reason(
		    err, status, (enum sgate_reason)answer->reason, "create");
	if (answer->is_away)
		away_take_word(mgr);
	/* Any other word than these is a broken worker's. */
	if (status != SGATE_UNAVAILABLE)
		status = SGATE_UNCERTAIN;
	error_set(err, status, mgr->ops->name, "create", 0, "%s",
	    status == SGATE_UNAVAILABLE
		? "the transaction of many was not begun"
		: "no answer of who had it in hand");
	if (err != NULL)
		err->reason = SGATE_REASON_STORE;
	return status;
}

enum sgate_status
batched_create(struct sgate_manager *mgr, const struct sgate_session *session,
    const struct durable_audit *audit, struct put_result *out_put,
    bool *out_is_alone, struct sgate_error *err)
{
	struct gathered mine = {
	    .session = session, .audit = audit, .answer = {.is_alone = true}};
	enum sgate_status status = SGATE_OK;

	if (mgr->batch != NULL && mgr->ops->create_many != NULL &&
	    is_small(session))
		status = do_gathered(mgr, &mine);
	*out_is_alone = status == SGATE_OK && mine.answer.is_alone;
	if (*out_is_alone) {
		share_time(mgr);
		return SGATE_OK;
	}
	if (status != SGATE_OK)
		mine.answer.status = SGATE_UNCERTAIN;
	return take_answer(mgr, &mine.answer, out_put, err);
}

void
batched_change(struct sgate_manager *mgr, struct joint *joint)
{
	struct gathered mine = {.joint = joint};

	if (mgr->batch != NULL && mgr->ops->lock_many != NULL &&
	    do_gathered(mgr, &mine) != SGATE_OK)
		joint->is_alone = true;
	if (joint->is_alone)
		share_time(mgr);
}

void
manager_set_batch(
    struct sgate_manager *mgr, struct batch *batch, unsigned place)
{
	mgr->batch = batch;
	mgr->batch_place = place;
	if (batch != NULL)
		batch_enter(batch, place);
}

void
manager_set_gather(
    struct sgate_manager *mgr, bool (*gather)(void *arg), void *arg)
{
	mgr->gather = gather;
	mgr->gather_arg = arg;
}
