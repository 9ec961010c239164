/*
 * Warming the cache: after it has lost data (FLUSHALL, a restart with nothing
 * or with an old dump) or was away, every live session is put there again, so
 * that MySQL may go away next.
 *
 * Rounds bring what has changed (manager_fence.c). They do not bring a session
 * that was created and never changed, because it has no number; a look does,
 * but not before somebody looks. Here all rows are walked over by their key, at
 * a bounded rate, by one host at a time.
 *
 * A row is put as a look's repair is: with the counters of before it was read,
 * so that a change since refuses it (RETRY: that row is read again), and never
 * over a tombstone or a newer version. So nothing that is done twice, late, or
 * by several hosts does harm.
 */
#include "config.h"

#include "manager.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* How often a row of a group that changes all the time is read again. */
#define READS_AGAIN 5
#define CHUNK_BYTES ((size_t)256 * 1024)

bool
manager_warm_is_due(const struct sgate_manager *mgr)
{
	const struct stores *stores = mgr->stores;

	return mgr->cache_ops != NULL && mgr->ops->live != NULL &&
	       mgr->conf->redis.warm_rate > 0 &&
	       atomic_load(&stores->warm.done) !=
		   atomic_load(&stores->warm.losses) &&
	       !breaker_is_open(&stores->durable) &&
	       !breaker_is_open(&stores->cache) &&
	       /* Without its sync a group takes nothing. */
	       atomic_load(&stores->groups_behind) <=
		   atomic_load(&stores->groups_foreign) &&
	       !failpoint_is_off("warm");
}

/* ---- rows that were read ---- */

struct chunk {
	struct sgate_manager *mgr;
	struct durable_poll before; /* the counters, read before the rows */
	int64_t now_ms;
	struct cache_item *items;
	size_t count, size;
	struct buf bytes; /* the records, one behind the other */
	enum sgate_status status;
	struct sgate_error *err;
};

static int
chunk_add(void *arg, const struct sgate_session *session)
{
	struct chunk *chunk = arg;
	struct cache_item *item = &chunk->items[chunk->count];
	size_t begin = chunk->bytes.len;

	if (session_expiry(session, chunk->now_ms) != SGATE_REASON_OK)
		return 0;
	chunk->status = record_write(chunk->mgr->keys, &chunk->before.store,
	    'L', session, &chunk->bytes, chunk->err);
	if (chunk->status == SGATE_OK && buf_failed(&chunk->bytes))
		chunk->status = error_memory(chunk->err, "warm");
	if (chunk->status != SGATE_OK)
		return 1;
	item->ref = session->ref;
	item->record.len = chunk->bytes.len - begin;
	item->ttl_ms = session_copy_ttl_ms(session, chunk->now_ms);
	chunk->count++;
	return chunk->count == chunk->size || chunk->bytes.len >= CHUNK_BYTES;
}

static void
chunk_clear(struct chunk *chunk)
{
	free(chunk->items);
	buf_wipe(&chunk->bytes);
}

/* chunk_clear() in every case. SGATE_CORRUPT: damaged rows were passed over. */
static enum sgate_status
chunk_read(struct chunk *chunk, struct sgate_ref *cursor, bool *out_wrapped)
{
	struct sgate_manager *mgr = chunk->mgr;
	const char *at;
	enum sgate_status status;
	size_t i;

	chunk->items = calloc(chunk->size, sizeof(*chunk->items));
	if (chunk->items == NULL)
		return error_memory(chunk->err, "warm");
	status = manager_read(mgr,
	    mgr->ops->poll(mgr->durable, &chunk->before, chunk->err),
	    chunk->err);
	if (status == SGATE_OK)
		status = manager_read(mgr,
		    mgr->ops->live(mgr->durable, chunk->now_ms, chunk->size,
			cursor, out_wrapped, chunk_add, chunk, chunk->err),
		    chunk->err);
	if (chunk->status != SGATE_OK)
		return chunk->status;
	at = chunk->bytes.data;
	for (i = 0; i < chunk->count; i++) {
		chunk->items[i].record.data = at;
		at += chunk->items[i].record.len;
	}
	return status;
}

/* ---- into the cache ---- */

/* A change of its group came between: the row and its counter, as they are. */
static enum sgate_status
put_again(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct put_result *put, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	struct durable_snapshot at;
	enum sgate_status status;

	status = manager_read(mgr,
	    mgr->ops->session_get(mgr->durable, ref, 0, &session, &at, err),
	    err);
	if (status == SGATE_OK && session->state == SESSION_LIVE &&
	    session_expiry(session, manager_now_ms(mgr)) == SGATE_REASON_OK)
		status = cached_put(mgr, session, &at, NULL, put, err);
	else
		put->answer = CACHE_PUT_HAVE; /* ended: a round brings that */
	sgate_session_free(session);
	return status == SGATE_NOT_FOUND || status == SGATE_CORRUPT ? SGATE_OK
								    : status;
}

static enum sgate_status
put_one(struct chunk *chunk, const struct cache_item *item)
{
	struct sgate_manager *mgr = chunk->mgr;
	unsigned group = token_ref_group(&item->ref);
	struct put_result put;
	enum sgate_status status;
	int again;

	status = cached_put_item(
	    mgr, item, chunk->before.counters[group], &put, chunk->err);
	for (again = 0; again < READS_AGAIN && status == SGATE_OK &&
			put.answer == CACHE_PUT_RETRY;
	     again++)
		status = put_again(mgr, &item->ref, &put, chunk->err);
	if (status == SGATE_OK && put.answer == CACHE_PUT_OK)
		stores_count(mgr->counts, STORES_WARMED);
	return status;
}

/* Whether another put can have all of its time: one that is cut short looks as
 * if the store were slow. */
static bool
has_time(const struct sgate_manager *mgr)
{
	int64_t part_ms = mgr->conf->redis.timeout_ms;

	if (part_ms > mgr->call.budget_ms / 2)
		part_ms = mgr->call.budget_ms / 2;
	return clock_left_ms(mgr->call.deadline_ms) > part_ms;
}

/* *out_done: how many, in their order; one at least. */
static enum sgate_status
put_all(struct chunk *chunk, size_t *out_done)
{
	enum sgate_status status = SGATE_OK;
	size_t i;

	for (i = 0; i < chunk->count && (i == 0 || has_time(chunk->mgr)); i++) {
		status = put_one(chunk, &chunk->items[i]);
		if (status != SGATE_OK)
			break;
	}
	*out_done = i;
	return status;
}

/* ---- a pass ---- */

/* A loss while a pass runs may be of what it has brought: from the beginning.
 */
static void
begin_or_go_on(struct stores_warm *warm, struct manager_warming *warming)
{
	uint64_t losses = atomic_load(&warm->losses);

	if (warming->losses == losses)
		return;
	memset(warming, 0, sizeof(*warming));
	warming->losses = losses;
	atomic_store(&warm->looked, 0);
}

enum sgate_status
manager_warm(struct sgate_manager *mgr, struct manager_warming *warming,
    size_t limit, struct sgate_error *err)
{
	struct stores_warm *warm = &mgr->stores->warm;
	struct chunk chunk = {.mgr = mgr, .size = limit, .err = err};
	bool has_wrapped = false;
	struct sgate_ref cursor;
	enum sgate_status status;
	size_t done = 0;

	status = manager_enter(mgr, err);
	if (status != SGATE_OK)
		return status;
	begin_or_go_on(warm, warming);
	cursor = warming->cursor;
	chunk.now_ms = manager_now_ms(mgr);
	status = chunk_read(&chunk, &cursor, &has_wrapped);
	/* A damaged row is nobody's session until it is mended. */
	if (status == SGATE_CORRUPT)
		status = SGATE_OK;
	if (status == SGATE_OK)
		status = put_all(&chunk, &done);
	/* The rest of the chunk is read again: the time was up. */
	if (status == SGATE_OK && done < chunk.count) {
		cursor = chunk.items[done - 1].ref;
		has_wrapped = false;
	}
	if (status == SGATE_OK) {
		warming->cursor = cursor;
		atomic_fetch_add(&warm->looked, done);
	}
	if (status == SGATE_OK && has_wrapped) {
		atomic_store(&warm->done, warming->losses);
		memset(warming, 0, sizeof(*warming));
	}
	chunk_clear(&chunk);
	return status;
}
