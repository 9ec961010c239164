/* SQLite: the texts and operations that are its own. */
#include "config.h"

#include "durable_sqlite.h"

#include <string.h>

#include "status.h"

const struct sql_text sqlite_texts[SQL_STATEMENTS] = {
    [SQL_BEGIN] = {"BEGIN IMMEDIATE", false},
    [SQL_COMMIT] = {"COMMIT", false},
    [SQL_USER_GET] = {"SELECT blocked_ms, blocked_reason FROM user_state "
		      "WHERE realm = ? AND user_id = ?",
	true},
    [SQL_USER_BLOCK] = {"INSERT OR REPLACE INTO user_state (realm, user_id, "
			"blocked_ms, blocked_reason) VALUES (?, ?, ?, ?)",
	true},
    /* The file's write lock, held since begin, is every row's lock. */
    [SQL_SESSION_LOCK] = {SQL_SESSION_GET_COLUMNS " FROM session WHERE ref = ?",
	true},
    [SQL_POLL] = {"SELECT grp, seq, '', CAST((julianday('now') - 2440587.5) "
		  "* 86400000 AS INTEGER), " SQL_STORE_COLUMNS
		  " FROM meta ORDER BY grp",
	false},
    [SQL_COUNTER_NEXT] = {"UPDATE meta SET seq = seq + 1 WHERE grp = ? "
			  "RETURNING seq",
	true},
    [SQL_TOUCH] = {"UPDATE session SET last_seen_ms = ?1 WHERE ref = ?2 "
		   "AND state = 1 AND last_seen_ms < ?1",
	true},
    [SQL_TOUCH_SUCCESSOR] = {"UPDATE session SET successor_used_ms = ? "
			     "WHERE ref = ? AND state = 1 "
			     "AND secret_hash = ? "
			     "AND prev_hash IS NOT NULL "
			     "AND successor_used_ms = 0",
	true},
    [SQL_PURGE_SESSIONS] = {"DELETE FROM session WHERE rowid IN (SELECT rowid "
			    "FROM session WHERE absolute_ms < ? "
			    "ORDER BY absolute_ms LIMIT ?)",
	true},
    [SQL_PURGE_AUDIT] = {"DELETE FROM audit WHERE event_id IN (SELECT "
			 "event_id FROM audit WHERE event_id < ? "
			 "ORDER BY event_id LIMIT ?)",
	true},
    [SQL_PURGE_IDEMPOTENCY] = {"DELETE FROM idempotency WHERE id IN (SELECT "
			       "id FROM idempotency WHERE expires_ms <= ? "
			       "ORDER BY expires_ms LIMIT ?)",
	true},
    [SQL_PURGE_LEASES] = {"DELETE FROM lease WHERE name IN (SELECT name "
			  "FROM lease WHERE until_ms <= ? LIMIT ?)",
	true},
    /* One pass over the index user_live; the sessions themselves stay shut. */
    [SQL_STATS] = {"SELECT coalesce(sum(iif(user_id = '', 0, live)), 0), "
		   "coalesce(sum(iif(user_id = '', live, 0)), 0), "
		   "count(iif(user_id <> '' AND live > 0, 1, NULL)), "
		   "coalesce(sum(ended), 0) FROM (SELECT user_id, "
		   "sum(state = 1 AND absolute_ms > ? AND "
		   "created_ms >= ?) AS live, "
		   "sum(state = 2) AS ended FROM session "
		   "GROUP BY realm, user_id)",
	false},
    [SQL_LEASE_PUT] = {"INSERT INTO lease (name, holder, until_ms) "
		       "VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
		       "holder = excluded.holder, until_ms = excluded.until_ms "
		       "WHERE until_ms <= ? OR holder = excluded.holder",
	true},
};

/*
 * The file's write lock, held since begin, is every user's exclusive lock, so
 * no row is needed for it: only blocked users have one.
 */
enum sgate_status
sqlite_user_lock(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, bool exclusive, struct durable_user *out,
    struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status;

	(void)exclusive;
	memset(out, 0, sizeof(*out));
	status = sql_open(&r, d, SQL_USER_GET, "user_lock", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_bytes(&r, realm);
	sql_bind_bytes(&r, user);
	status = sql_user_read(&r, out);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

enum sgate_status
sqlite_counter_next(struct durable *d, unsigned group, uint64_t *out_seq,
    struct sgate_error *err)
{
	struct sql_run r;
	uint64_t seq = 0;
	enum sgate_status status;

	*out_seq = 0;
	status = sql_open(&r, d, SQL_COUNTER_NEXT, "counter_next", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_int(&r, group);
	status = sql_step(&r);
	if (status == SGATE_NOT_FOUND)
		status = sql_missing(&r, "a counter of table meta");
	if (status == SGATE_OK) {
		seq = (uint64_t)sql_get_int(&r, 1, INT64_MAX);
		status = sql_row_status(&r, "a counter");
	}
	sql_close(&r);
	if (status == SGATE_OK)
		*out_seq = seq;
	return status;
}

static enum sgate_status
touch_last_seen(struct durable *d, const struct durable_touch *touch,
    struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status = sql_open(&r, d, SQL_TOUCH, "touch", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_int(&r, touch->last_seen_ms);
	sql_bind_blob(&r, touch->ref.bytes, SGATE_REF_BYTES);
	return sql_finish(&r, NULL);
}

static enum sgate_status
touch_successor(struct durable *d, const struct durable_touch *touch,
    struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_TOUCH_SUCCESSOR, "touch", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_int(&r, touch->successor_used_ms);
	sql_bind_blob(&r, touch->ref.bytes, SGATE_REF_BYTES);
	sql_bind_blob(&r, touch->secret_hash, TOKEN_HASH_BYTES);
	return sql_finish(&r, NULL);
}

struct touches {
	const struct durable_touch *items;
	size_t count;
};

static enum sgate_status
touch_all(struct durable *d, void *arg, struct sgate_error *err)
{
	const struct touches *touches = arg;
	const struct durable_touch *touch;
	enum sgate_status status = SGATE_OK;
	size_t i;

	for (i = 0; i < touches->count && status == SGATE_OK; i++) {
		touch = &touches->items[i];
		if (touch->last_seen_ms > 0)
			status = touch_last_seen(d, touch, err);
		if (status == SGATE_OK && touch->successor_used_ms > 0)
			status = touch_successor(d, touch, err);
	}
	return status;
}

enum sgate_status
sqlite_touch(struct durable *d, const struct durable_touch *touches,
    size_t count, struct sgate_error *err)
{
	struct touches all = {touches, count};
	enum sgate_status status = sql_touches_check(d, touches, count, err);

	if (status != SGATE_OK)
		return status;
	return sqlite_transaction(d, touch_all, &all, err);
}

/* All at once: one pass over an index in this very process. */
enum sgate_status
sqlite_stats(struct durable *d, int64_t now_ms, size_t limit,
    struct durable_count *count, bool *out_done, struct sgate_error *err)
{
	struct sgate_stats stats = {0};
	struct sql_run r;
	enum sgate_status status;

	(void)limit;
	*out_done = false;
	status = sql_open(&r, d, SQL_STATS, "stats", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_int(&r, now_ms);
	sql_bind_int(&r, count->created_from_ms);
	status = sql_step(&r);
	if (status == SGATE_NOT_FOUND)
		status = sql_missing(&r, "the count of sessions");
	if (status == SGATE_OK) {
		stats.live = (uint64_t)sql_get_int(&r, 0, INT64_MAX);
		stats.anonymous = (uint64_t)sql_get_int(&r, 0, INT64_MAX);
		stats.users = (uint64_t)sql_get_int(&r, 0, INT64_MAX);
		stats.ended = (uint64_t)sql_get_int(&r, 0, INT64_MAX);
		status = sql_row_status(&r, "statistics");
	}
	sql_close(&r);
	if (status != SGATE_OK)
		return status;
	count->stats = stats;
	count->rows = stats.live + stats.anonymous + stats.ended;
	*out_done = true;
	return SGATE_OK;
}
