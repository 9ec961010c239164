/*
 * `db restored`: a dump was loaded into the database, and no gateway runs.
 *
 * The database begins a new epoch, with numbers that were never given. Then the
 * cache follows: sessions that the dump has alive again but whose tombstone
 * still stands there are ended, and every group's sync becomes the new number
 * and epoch. From then on copies of the time that was lost are older than
 * everything. The cache must be written for that, so it is asked first; when it
 * fails half-way all of it can be done again, with yet another epoch.
 */
#include "config.h"

#include "manager.h"

#include <string.h>

#include "status.h"

/* Rows that are looked at within one call's budget. */
#define CHUNK 200

struct chunk {
	struct sgate_ref refs[CHUNK];
	size_t count;
};

static int
chunk_add(void *arg, const struct sgate_session *session)
{
	struct chunk *chunk = arg;

	chunk->refs[chunk->count++] = session->ref;
	return chunk->count == CHUNK;
}

static enum sgate_status
end_apply(struct change *change, struct sgate_error *err)
{
	struct endings *endings = change->arg;
	enum sgate_status status;
	uint64_t count = 0;

	status = endings_lock_all(change->mgr, endings, err);
	if (status == SGATE_OK)
		status = endings_store(change, endings, false, &count, err);
	change->is_void = count == 0;
	return status;
}

/* To end it again changes nothing: no audit row of its own is the key. */
static enum sgate_status
end_those_with_tombstones(struct sgate_manager *mgr, const struct chunk *chunk,
    struct sgate_error *err)
{
	struct endings endings = {0};
	enum sgate_status status = SGATE_OK;
	struct cached cached;
	struct change change;
	size_t i;

	for (i = 0; i < chunk->count && status == SGATE_OK; i++) {
		status = cached_get(mgr, &chunk->refs[i], &cached, err);
		if (status == SGATE_OK && cached.ended != SGATE_REASON_OK)
			status = endings_add(
			    &endings, &chunk->refs[i], cached.ended, err);
		cached_clear(&cached);
	}
	if (status == SGATE_OK && endings.count > 0) {
		change_init(&change, mgr, "restored", SGATE_REASON_OK,
		    end_apply, &endings);
		change.is_repeatable = true;
		status = change_run(&change, err);
	}
	endings_clear(&endings);
	return status;
}

static enum sgate_status
end_what_had_ended(struct sgate_manager *mgr, struct sgate_error *err)
{
	struct sgate_ref cursor = {{0}};
	struct chunk chunk;
	enum sgate_status status;
	bool has_wrapped = false;

	do {
		chunk.count = 0;
		status = manager_enter(mgr, err);
		if (status == SGATE_OK)
			status = manager_read(mgr,
			    mgr->ops->live(mgr->durable, manager_now_ms(mgr),
				CHUNK, &cursor, &has_wrapped, chunk_add, &chunk,
				err),
			    err);
		/* A damaged row is nobody's session until it is mended. */
		if (status == SGATE_OK || status == SGATE_CORRUPT)
			status = end_those_with_tombstones(mgr, &chunk, err);
	} while (status == SGATE_OK && !has_wrapped);
	return status;
}

static enum sgate_status
set_syncs(struct sgate_manager *mgr, struct sgate_error *err)
{
	char text[CACHE_SYNC_MAX + 1];
	struct durable_poll poll;
	struct fence_sync sync;
	enum sgate_status status;
	unsigned group;

	status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = manager_read(
		    mgr, mgr->ops->poll(mgr->durable, &poll, err), err);
	for (group = 0; group < TOKEN_GROUPS && status == SGATE_OK; group++) {
		sync.number = poll.counters[group];
		sync.store = poll.store;
		fence_sync_write(&sync, "", 0, text, sizeof(text));
		status = manager_cache_enter(mgr, false, err);
		if (status == SGATE_OK)
			status = manager_cache_left(mgr,
			    mgr->cache_ops->sync_set(
				mgr->cache, group, text, err),
			    err);
	}
	return status;
}

static enum sgate_status
ask_cache(struct sgate_manager *mgr, struct sgate_error *err)
{
	char syncs[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];
	enum sgate_status status = manager_cache_enter(mgr, false, err);

	if (status == SGATE_OK)
		status = manager_cache_left(
		    mgr, mgr->cache_ops->sync_get(mgr->cache, syncs, err), err);
	return status;
}

static enum sgate_status
bring_cache_after(struct sgate_manager *mgr, struct sgate_error *err)
{
	struct sgate_error why;
	enum sgate_status status;

	status = end_what_had_ended(mgr, &why);
	if (status == SGATE_OK)
		status = set_syncs(mgr, &why);
	if (status == SGATE_OK)
		return SGATE_OK;
	return error_set(err, status, why.source, why.operation,
	    why.native_code,
	    "the database has its new epoch, %s does not know it yet: do this "
	    "again before a gateway starts: %s",
	    mgr->cache_ops->name, why.text);
}

enum sgate_status
manager_restored(struct sgate_manager *mgr, bool *out_is_needed,
    unsigned *out_epoch, struct sgate_error *err)
{
	const struct manager_round round = {.runtime_dir = NULL};
	struct sgate_error own;
	unsigned epoch = 0;
	enum sgate_status status;

	*out_is_needed = mgr->ops->restored != NULL;
	*out_epoch = 0;
	err = err != NULL ? err : &own;
	/* No round of this manager's own, which would go between. */
	mgr->round_after_ms = INT64_MAX;
	status = manager_locate(mgr, &round, err);
	if (status == SGATE_OK) {
		manager_begin_let(mgr, err);
		status = manager_need_durable(mgr, err);
	}
	if (status == SGATE_OK && *out_is_needed && mgr->cache_ops != NULL)
		status = ask_cache(mgr, err);
	if (status == SGATE_OK && *out_is_needed)
		status = mgr->ops->restored(mgr->durable, &epoch, err);
	if (status == SGATE_OK && *out_is_needed && mgr->cache_ops != NULL)
		status = bring_cache_after(mgr, err);
	if (status == SGATE_OK)
		*out_epoch = epoch;
	mgr->round_after_ms = 0;
	return status;
}
