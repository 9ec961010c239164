/*
 * The tables of functions with a place before and one behind each call. What a
 * store promises (durable.h, cache.h) holds for what is made up here too:
 * outputs are cleared, "surely did not happen" is only said within a
 * transaction, which the caller then rolls back, or before anything was sent.
 */
#include "config.h"

#include "failpoint_stores.h"

#ifdef SESSGATE_FAILPOINTS

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cache.h"
#include "durable.h"
#include "failpoint.h"
#include "spool_file.h"
#include "status.h"

/* ---- the durable store ---- */

static enum sgate_status
durable_fails(struct durable *d, enum sgate_status status,
    const char *operation, struct sgate_error *err)
{
	d->is_unreachable = true;
	return error_set(err, status, d->ops->name, operation, 0,
	    "%s: a failpoint says so", operation);
}

/*
 * lost: what it means that the answer did not come. entry: clears outputs, and
 * keeps what forget sets back when the answer is lost.
 */
#define DURABLE(op, params, args, lost, entry, forget)                         \
	static enum sgate_status durable_##op params                           \
	{                                                                      \
		enum sgate_status status;                                      \
                                                                               \
		entry;                                                         \
		if (failpoint_fails("durable-" #op))                           \
			return durable_fails(d, SGATE_UNAVAILABLE, #op, err);  \
		status = d->ops->op args;                                      \
		if (!failpoint_fails("durable-" #op "-done"))                  \
			return status;                                         \
		forget;                                                        \
		return durable_fails(d, lost, #op, err);                       \
	}
#define NOTHING (void)0
/* Read, or within a transaction. */
#define VOID SGATE_UNAVAILABLE
/* A transaction of its own. */
#define WRITE SGATE_UNCERTAIN

DURABLE(ping, (struct durable * d, struct sgate_error *err), (d, err), VOID,
    NOTHING, NOTHING)
DURABLE(schema_init, (struct durable * d, struct sgate_error *err), (d, err),
    WRITE, NOTHING, NOTHING)
DURABLE(schema_check, (struct durable * d, struct sgate_error *err), (d, err),
    VOID, NOTHING, NOTHING)
DURABLE(maintain,
    (struct durable * d, int64_t now_ms, int64_t audit_before_ms,
	unsigned *out_made, unsigned *out_dropped, struct sgate_error *err),
    (d, now_ms, audit_before_ms, out_made, out_dropped, err), WRITE,
    *out_made = *out_dropped = 0, *out_made = *out_dropped = 0)
DURABLE(restored,
    (struct durable * d, unsigned *out_epoch, struct sgate_error *err),
    (d, out_epoch, err), WRITE, *out_epoch = 0, *out_epoch = 0)
DURABLE(store_get,
    (struct durable * d, unsigned char id[16], unsigned *out_epoch,
	struct sgate_error *err),
    (d, id, out_epoch, err), VOID, memset(id, 0, 16), memset(id, 0, 16))
DURABLE(begin, (struct durable * d, struct sgate_error *err), (d, err), VOID,
    NOTHING, NOTHING)
DURABLE(audit_insert,
    (struct durable * d, const struct durable_audit *audit,
	struct sgate_error *err),
    (d, audit, err), VOID, NOTHING, NOTHING)
DURABLE(audit_list,
    (struct durable * d, const struct durable_audit_filter *filter,
	durable_audit_fn *fn, void *arg, struct sgate_error *err),
    (d, filter, fn, arg, err), VOID, NOTHING, NOTHING)
DURABLE(audit_exists,
    (struct durable * d, const unsigned char event_id[DURABLE_EVENT_BYTES],
	struct sgate_error *err),
    (d, event_id, err), VOID, NOTHING, NOTHING)
DURABLE(idempotency_get,
    (struct durable * d, const unsigned char id[32],
	struct durable_idempotency *out, struct sgate_error *err),
    (d, id, out, err), VOID, memset(out, 0, sizeof(*out)),
    memset(out, 0, sizeof(*out)))
DURABLE(idempotency_insert,
    (struct durable * d, const struct durable_idempotency *row,
	struct sgate_error *err),
    (d, row, err), VOID, NOTHING, NOTHING)
DURABLE(idempotency_remove,
    (struct durable * d, const unsigned char id[32], struct sgate_error *err),
    (d, id, err), VOID, NOTHING, NOTHING)
DURABLE(user_lock,
    (struct durable * d, struct sgate_bytes realm, struct sgate_bytes user,
	bool exclusive, struct durable_user *out, struct sgate_error *err),
    (d, realm, user, exclusive, out, err), VOID, memset(out, 0, sizeof(*out)),
    memset(out, 0, sizeof(*out)))
DURABLE(user_block,
    (struct durable * d, struct sgate_bytes realm, struct sgate_bytes user,
	int64_t blocked_ms, struct sgate_bytes reason, struct sgate_error *err),
    (d, realm, user, blocked_ms, reason, err), VOID, NOTHING, NOTHING)
DURABLE(blocked_users,
    (struct durable * d, size_t limit, durable_user_fn *fn, void *arg,
	struct sgate_error *err),
    (d, limit, fn, arg, err), VOID, NOTHING, NOTHING)
DURABLE(user_sessions,
    (struct durable * d, struct sgate_bytes realm, struct sgate_bytes user,
	size_t limit, durable_session_fn *fn, void *arg,
	struct sgate_error *err),
    (d, realm, user, limit, fn, arg, err), VOID, NOTHING, NOTHING)
static void
forget_session(struct sgate_session **session)
{
	sgate_session_free(*session);
	*session = NULL;
}
static void
forget_rows(struct durable_change *changes, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		forget_session(&changes[i].session);
}
DURABLE(session_get,
    (struct durable * d, const struct sgate_ref *ref, unsigned flags,
	struct sgate_session **out, struct durable_snapshot *out_at,
	struct sgate_error *err),
    (d, ref, flags, out, out_at, err), VOID, *out = NULL, forget_session(out))
DURABLE(create_many,
    (struct durable * d, struct durable_creation *creations, size_t count,
	bool is_patient, struct sgate_error *err),
    (d, creations, count, is_patient, err), VOID, NOTHING, NOTHING)
DURABLE(lock_many,
    (struct durable * d, struct durable_change *changes, size_t count,
	struct sgate_error *err),
    (d, changes, count, err), VOID, NOTHING, forget_rows(changes, count))
DURABLE(store_many,
    (struct durable * d, struct durable_change *changes, size_t count,
	struct sgate_error *err),
    (d, changes, count, err), VOID, NOTHING, NOTHING)
DURABLE(session_insert,
    (struct durable * d, const struct sgate_session *session,
	struct sgate_error *err),
    (d, session, err), VOID, NOTHING, NOTHING)
DURABLE(session_store,
    (struct durable * d, const struct sgate_session *session,
	struct sgate_error *err),
    (d, session, err), VOID, NOTHING, NOTHING)
DURABLE(snapshot,
    (struct durable * d, unsigned group, struct durable_snapshot *out,
	struct sgate_error *err),
    (d, group, out, err), VOID, memset(out, 0, sizeof(*out)),
    memset(out, 0, sizeof(*out)))
DURABLE(poll,
    (struct durable * d, struct durable_poll *out, struct sgate_error *err),
    (d, out, err), VOID, memset(out, 0, sizeof(*out)),
    memset(out, 0, sizeof(*out)))
DURABLE(changes,
    (struct durable * d, unsigned group, uint64_t after, int64_t now_ms,
	size_t limit, durable_session_fn *fn, void *arg,
	struct sgate_error *err),
    (d, group, after, now_ms, limit, fn, arg, err), VOID, NOTHING, NOTHING)
DURABLE(setting_list,
    (struct durable * d, durable_setting_fn *fn, void *arg,
	struct sgate_error *err),
    (d, fn, arg, err), VOID, NOTHING, NOTHING)
DURABLE(setting_put,
    (struct durable * d, const char *name, struct sgate_bytes value,
	uint64_t number, struct sgate_error *err),
    (d, name, value, number, err), VOID, NOTHING, NOTHING)
DURABLE(latest_expiry,
    (struct durable * d, int64_t *out_ms, struct sgate_error *err),
    (d, out_ms, err), VOID, *out_ms = 0, *out_ms = 0)
DURABLE(counter_next,
    (struct durable * d, unsigned group, uint64_t *out_seq,
	struct sgate_error *err),
    (d, group, out_seq, err), VOID, *out_seq = 0, *out_seq = 0)
DURABLE(touch,
    (struct durable * d, const struct durable_touch *touches, size_t count,
	struct sgate_error *err),
    (d, touches, count, err), WRITE, NOTHING, NOTHING)
#define FROM_CURSOR                                                            \
	const struct sgate_ref was = *cursor;                                  \
	*out_wrapped = false
#define TO_CURSOR                                                              \
	*cursor = was;                                                         \
	*out_wrapped = false
DURABLE(changed,
    (struct durable * d, unsigned group, uint64_t after, size_t limit,
	durable_ref_fn *fn, void *arg, bool *out_is_all,
	struct sgate_error *err),
    (d, group, after, limit, fn, arg, out_is_all, err), VOID,
    *out_is_all = false, *out_is_all = false)
DURABLE(live,
    (struct durable * d, int64_t now_ms, size_t limit, struct sgate_ref *cursor,
	bool *out_wrapped, durable_session_fn *fn, void *arg,
	struct sgate_error *err),
    (d, now_ms, limit, cursor, out_wrapped, fn, arg, err), VOID, FROM_CURSOR,
    TO_CURSOR)
DURABLE(expired,
    (struct durable * d, int64_t now_ms, int64_t created_before_ms,
	size_t limit, struct sgate_ref *cursor, bool *out_wrapped,
	durable_session_fn *fn, void *arg, struct sgate_error *err),
    (d, now_ms, created_before_ms, limit, cursor, out_wrapped, fn, arg, err),
    VOID, FROM_CURSOR, TO_CURSOR)
DURABLE(purge,
    (struct durable * d, int64_t sessions_before_ms, int64_t audit_before_ms,
	int64_t now_ms, size_t limit, uint64_t *out_sessions,
	uint64_t *out_others, struct sgate_error *err),
    (d, sessions_before_ms, audit_before_ms, now_ms, limit, out_sessions,
	out_others, err),
    WRITE, *out_sessions = *out_others = 0, *out_sessions = *out_others = 0)
#define FROM_COUNT                                                             \
	const struct durable_count was = *count;                               \
	*out_done = false
#define TO_COUNT                                                               \
	*count = was;                                                          \
	*out_done = false
DURABLE(stats,
    (struct durable * d, int64_t now_ms, size_t limit,
	struct durable_count *count, bool *out_done, struct sgate_error *err),
    (d, now_ms, limit, count, out_done, err), VOID, FROM_COUNT, TO_COUNT)
DURABLE(lease_take,
    (struct durable * d, const char *name, const char *holder, int64_t now_ms,
	int64_t until_ms, struct sgate_error *err),
    (d, name, holder, now_ms, until_ms, err), WRITE, NOTHING, NOTHING)
DURABLE(lease_list,
    (struct durable * d, durable_lease_fn *fn, void *arg,
	struct sgate_error *err),
    (d, fn, arg, err), VOID, NOTHING, NOTHING)
DURABLE(service_get,
    (struct durable * d, const unsigned char key_hash[32],
	struct durable_service *out, struct sgate_error *err),
    (d, key_hash, out, err), VOID, memset(out, 0, sizeof(*out)),
    memset(out, 0, sizeof(*out)))
DURABLE(service_put,
    (struct durable * d, const struct durable_service *svc,
	struct sgate_error *err),
    (d, svc, err), VOID, NOTHING, NOTHING)
DURABLE(service_remove,
    (struct durable * d, const char *name, struct sgate_error *err),
    (d, name, err), VOID, NOTHING, NOTHING)
DURABLE(service_list,
    (struct durable * d, durable_service_fn *fn, void *arg,
	struct sgate_error *err),
    (d, fn, arg, err), VOID, NOTHING, NOTHING)
DURABLE(exec,
    (struct durable * d, const char *sql, const struct sgate_value *params,
	size_t params_count, sgate_row_fn *row, void *row_arg,
	struct sgate_error *err),
    (d, sql, params, params_count, row, row_arg, err), VOID, NOTHING, NOTHING)

/* -lost: the connection went on the way there, and nobody knows that it did
 * not happen. */
static enum sgate_status
durable_commit(struct durable *d, struct sgate_error *err)
{
	enum sgate_status status;

	if (failpoint_fails("durable-commit"))
		return durable_fails(d, SGATE_UNAVAILABLE, "commit", err);
	if (failpoint_fails("durable-commit-lost")) {
		d->ops->rollback(d);
		return durable_fails(d, SGATE_UNCERTAIN, "commit", err);
	}
	status = d->ops->commit(d, err);
	if (failpoint_fails("durable-commit-done"))
		return durable_fails(d, SGATE_UNCERTAIN, "commit", err);
	return status;
}

static void
durable_rollback(struct durable *d)
{
	(void)failpoint_fails("durable-rollback");
	d->ops->rollback(d);
	(void)failpoint_fails("durable-rollback-done");
}

/* What a store cannot do it does not learn here. */
#define WRAP(table, kind, op)                                                  \
	do {                                                                   \
		if ((table).op != NULL)                                        \
			(table).op = kind##_##op;                              \
	} while (0)

const struct durable_ops *
failpoint_durable(const struct durable_ops *ops)
{
	static struct durable_ops table;

	table = *ops;
	WRAP(table, durable, ping);
	WRAP(table, durable, schema_init);
	WRAP(table, durable, schema_check);
	WRAP(table, durable, maintain);
	WRAP(table, durable, restored);
	WRAP(table, durable, store_get);
	WRAP(table, durable, begin);
	WRAP(table, durable, commit);
	WRAP(table, durable, rollback);
	WRAP(table, durable, audit_insert);
	WRAP(table, durable, audit_list);
	WRAP(table, durable, audit_exists);
	WRAP(table, durable, idempotency_get);
	WRAP(table, durable, idempotency_insert);
	WRAP(table, durable, idempotency_remove);
	WRAP(table, durable, user_lock);
	WRAP(table, durable, user_block);
	WRAP(table, durable, blocked_users);
	WRAP(table, durable, user_sessions);
	WRAP(table, durable, session_get);
	WRAP(table, durable, create_many);
	WRAP(table, durable, lock_many);
	WRAP(table, durable, store_many);
	WRAP(table, durable, session_insert);
	WRAP(table, durable, session_store);
	WRAP(table, durable, snapshot);
	WRAP(table, durable, poll);
	WRAP(table, durable, changed);
	WRAP(table, durable, changes);
	WRAP(table, durable, live);
	WRAP(table, durable, counter_next);
	WRAP(table, durable, setting_list);
	WRAP(table, durable, setting_put);
	WRAP(table, durable, latest_expiry);
	WRAP(table, durable, touch);
	WRAP(table, durable, expired);
	WRAP(table, durable, purge);
	WRAP(table, durable, stats);
	WRAP(table, durable, lease_take);
	WRAP(table, durable, lease_list);
	WRAP(table, durable, service_get);
	WRAP(table, durable, service_put);
	WRAP(table, durable, service_remove);
	WRAP(table, durable, service_list);
	WRAP(table, durable, exec);
	return &table;
}

/* ---- the cache ---- */

static enum sgate_status
cache_fails(
    struct cache *c, const char *operation, int native, struct sgate_error *err)
{
	return error_set(err, SGATE_UNAVAILABLE, c->ops->name, operation,
	    native, "%s: a failpoint says so", operation);
}

#define CACHE(op, params, args, clear)                                         \
	static enum sgate_status cache_##op params                             \
	{                                                                      \
		enum sgate_status status;                                      \
                                                                               \
		clear;                                                         \
		if (failpoint_fails("cache-" #op))                             \
			return cache_fails(c, #op, ECONNRESET, err);           \
		status = c->ops->op args;                                      \
		if (!failpoint_fails("cache-" #op "-done"))                    \
			return status;                                         \
		clear;                                                         \
		return cache_fails(c, #op, ETIMEDOUT, err);                    \
	}

CACHE(ping, (struct cache * c, struct sgate_error *err), (c, err), NOTHING)
CACHE(get,
    (struct cache * c, const struct sgate_ref *ref, struct cache_copy *out,
	struct sgate_error *err),
    (c, ref, out, err), memset(out, 0, sizeof(*out)))
CACHE(peek,
    (struct cache * c, const struct sgate_ref *ref, struct cache_copy *out,
	struct sgate_error *err),
    (c, ref, out, err), memset(out, 0, sizeof(*out)))
#define CLEAR_PUT                                                              \
	memset(out, 0, sizeof(*out));                                          \
	*out_put = CACHE_PUT_OK
CACHE(put,
    (struct cache * c, const struct cache_item *item, uint64_t s0,
	struct sgate_bytes only_over, enum cache_put *out_put,
	struct cache_copy *out, struct sgate_error *err),
    (c, item, s0, only_over, out_put, out, err), CLEAR_PUT)
CACHE(put_many,
    (struct cache * c, struct cache_putting *puts, size_t count,
	struct sgate_error *err),
    (c, puts, count, err), NOTHING)
CACHE(end,
    (struct cache * c, const struct cache_item *tombstones, size_t count,
	unsigned replicas, struct sgate_error *err),
    (c, tombstones, count, replicas, err), NOTHING)
CACHE(touch,
    (struct cache * c, const struct cache_touch *touches, size_t count,
	struct sgate_error *err),
    (c, touches, count, err), NOTHING)
CACHE(sync_get,
    (struct cache * c, char out_sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1],
	struct sgate_error *err),
    (c, out_sync, err), memset(out_sync, 0, TOKEN_GROUPS *(CACHE_SYNC_MAX + 1)))
CACHE(apply,
    (struct cache * c, unsigned group, const char *from, const char *to,
	const struct cache_item *items, size_t count,
	char out_sync[CACHE_SYNC_MAX + 1], struct sgate_error *err),
    (c, group, from, to, items, count, out_sync, err), out_sync[0] = '\0')
CACHE(sync_set,
    (struct cache * c, unsigned group, const char *sync,
	struct sgate_error *err),
    (c, group, sync, err), NOTHING)

CACHE(create,
    (struct cache * c, const struct cache_item *item, uint64_t s0,
	const unsigned char *user, int64_t set_ttl_ms, unsigned replicas,
	enum cache_put *out_put, struct cache_copy *out,
	struct sgate_error *err),
    (c, item, s0, user, set_ttl_ms, replicas, out_put, out, err), CLEAR_PUT)
CACHE(land,
    (struct cache * c, const struct cache_item *item, const unsigned char *user,
	enum cache_put *out_put, struct cache_copy *out,
	struct sgate_error *err),
    (c, item, user, out_put, out, err), CLEAR_PUT)
CACHE(unlanded,
    (struct cache * c, unsigned group, const unsigned char *user,
	uint64_t *cursor, struct sgate_ref out_refs[CACHE_UNLANDED_MAX],
	size_t *out_count, struct sgate_error *err),
    (c, group, user, cursor, out_refs, out_count, err), *out_count = 0)
CACHE(landed,
    (struct cache * c, unsigned group, const unsigned char *user,
	const struct sgate_ref *refs, size_t count, struct sgate_error *err),
    (c, group, user, refs, count, err), NOTHING)

const struct cache_ops *
failpoint_cache(const struct cache_ops *ops)
{
	static struct cache_ops table;

	if (ops == NULL)
		return NULL;
	table = *ops;
	WRAP(table, cache, ping);
	WRAP(table, cache, get);
	WRAP(table, cache, peek);
	WRAP(table, cache, put);
	WRAP(table, cache, put_many);
	WRAP(table, cache, end);
	WRAP(table, cache, touch);
	WRAP(table, cache, sync_get);
	WRAP(table, cache, apply);
	WRAP(table, cache, sync_set);
	WRAP(table, cache, create);
	WRAP(table, cache, land);
	WRAP(table, cache, unlanded);
	WRAP(table, cache, landed);
	return &table;
}

/* ---- the spool's files ---- */

static const struct spool_io *spool_real;

static int
disk_fails(void)
{
	errno = EIO;
	return -1;
}

static int
spool_open_file(int dir, const char *name, int flags, mode_t mode)
{
	int fd;

	if (failpoint_fails("spool-open"))
		return disk_fails();
	fd = spool_real->open(dir, name, flags, mode);
	if (!failpoint_fails("spool-open-done"))
		return fd;
	if (fd >= 0)
		close(fd);
	return disk_fails();
}

static ssize_t
spool_write_some(int fd, const void *data, size_t len)
{
	ssize_t done;

	if (failpoint_fails("spool-write"))
		return disk_fails();
	if (failpoint_fails("spool-write-torn")) {
		done = spool_real->write(fd, data, len / 2);
		return done < 0 ? done : disk_fails();
	}
	done = spool_real->write(fd, data, len);
	return failpoint_fails("spool-write-done") ? disk_fails() : done;
}

#define SPOOL(op, name, params, args)                                          \
	static int spool_##op params                                           \
	{                                                                      \
		int result;                                                    \
                                                                               \
		if (failpoint_fails("spool-" name))                            \
			return disk_fails();                                   \
		result = spool_real->op args;                                  \
		return failpoint_fails("spool-" name "-done") ? disk_fails()   \
							      : result;        \
	}
SPOOL(fdatasync, "fsync", (int fd), (fd))
SPOOL(sync_dir, "sync_dir", (int dir), (dir))
SPOOL(rename, "rename", (int dir, const char *from, const char *to),
    (dir, from, to))

const struct spool_io *
failpoint_spool(const struct spool_io *io)
{
	static const struct spool_io table = {.open = spool_open_file,
	    .write = spool_write_some,
	    .fdatasync = spool_fdatasync,
	    .sync_dir = spool_sync_dir,
	    .rename = spool_rename};

	spool_real = io;
	return &table;
}

#endif
