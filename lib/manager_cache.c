/*
 * Every call of the cache: what stands there, putting a row there, what a
 * committed change has to tell it, touches.
 *
 * The cache is never needed: whatever goes wrong here, the durable store has
 * the answer, and what could not be written there is brought by the keepers.
 * Only what may be believed of it is a question, and that is not decided here
 * (manager_look.c, fence.h).
 */
#include "config.h"

#include "manager.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* ---- one call ---- */

bool
manager_rows_have_ends(const struct sgate_manager *mgr)
{
	return mgr->cache_ops == NULL || failpoint_is_off("row-alone") ||
	       breaker_is_settled(&mgr->stores->durable, clock_monotonic_ms());
}

/*
 * A connection of before the store was given up is not used again: who knows
 * what it leads to.
 */
static bool
cache_lets(struct sgate_manager *mgr, int64_t now_ms)
{
	struct breaker *breaker = &mgr->stores->cache;
	enum breaker_asker asker = BREAKER_CALLER;
	enum breaker_leave leave;

	if (mgr->call.is_let)
		return true;
	if (manager_is_prober(mgr))
		asker = BREAKER_PROBER;
	else if (breaker_state(&mgr->stores->durable) == BREAKER_OPEN ||
		 !manager_rows_have_ends(mgr))
		asker = BREAKER_ALONE;
	leave = breaker_lets(breaker, asker, now_ms);
	if (leave == BREAKER_SKIP)
		return false;
	if (mgr->cache == NULL ||
	    (leave == BREAKER_ASK &&
		mgr->cache_generation == breaker_generation(breaker)))
		return true;
	if (leave == BREAKER_ASK && asker == BREAKER_CALLER &&
	    breaker_turn_left_ms(breaker, mgr->turn_ms, now_ms) > 0)
		return false;
	mgr->cache_connections = mgr->cache->connections;
	mgr->cache_ops->close(mgr->cache);
	mgr->cache = NULL;
	return true;
}

enum sgate_status
manager_cache_open(struct sgate_manager *mgr, struct sgate_error *err)
{
	enum sgate_status status;

	if (mgr->cache != NULL)
		return SGATE_OK;
	mgr->cache_generation = breaker_generation(&mgr->stores->cache);
	status = mgr->cache_ops->open(mgr->conf, &mgr->cache, err);
	if (status != SGATE_OK)
		return manager_cache_left(mgr, status, err);
	mgr->cache->at = &mgr->stores->cache_at;
	mgr->cache->connections = mgr->cache_connections;
	return status;
}

enum sgate_status
manager_cache_enter(
    struct sgate_manager *mgr, bool is_in_budget, struct sgate_error *err)
{
	int64_t now_ms = clock_monotonic_ms();
	int64_t deadline_ms = now_ms + mgr->conf->redis.timeout_ms;
	enum sgate_status status;

	if (mgr->cache_ops == NULL)
		return error_set(err, SGATE_UNAVAILABLE, "cache", "ask", 0,
		    "there is no cache");
	if (is_in_budget && deadline_ms > mgr->call.deadline_ms)
		deadline_ms = mgr->call.deadline_ms;
	if (deadline_ms <= now_ms)
		return error_set(err, SGATE_UNAVAILABLE, mgr->cache_ops->name,
		    "ask", 0, "no time left to ask");
	if (!cache_lets(mgr, now_ms)) {
		stores_count(mgr->counts, STORES_CACHE_SKIPPED);
		return error_set(err, SGATE_UNAVAILABLE, mgr->cache_ops->name,
		    "ask", 0,
		    "%s does not answer, and is not asked until it "
		    "does",
		    mgr->cache_ops->name);
	}
	mgr->call.cache_asked_ms = now_ms;
	status = manager_cache_open(mgr, err);
	if (status == SGATE_OK)
		mgr->cache->deadline_ms = deadline_ms;
	return status;
}

/* Refused, or not even a socket: to ask again costs little and tells less. */
static bool
is_refused(const struct sgate_error *err)
{
	return err->native_code == ECONNREFUSED || err->native_code == ENOENT;
}

/*
 * The one place where the cache's breaker and error counter learn of an
 * answer. An error reply, but one that refuses everything, says that the server
 * is there: it opens no breaker, and closes none.
 */
enum sgate_status
manager_cache_left(struct sgate_manager *mgr, enum sgate_status answer,
    const struct sgate_error *err)
{
	int64_t now_ms = clock_monotonic_ms();

	if (answer != SGATE_OK)
		stores_count(mgr->counts, STORES_CACHE_ERRORS);
	if (!manager_tells(mgr, &mgr->stores->cache))
		return answer;
	if (answer == SGATE_OK)
		breaker_succeeded(&mgr->stores->cache, mgr->cache_generation,
		    manager_pace(mgr, now_ms - mgr->call.cache_asked_ms,
			mgr->conf->redis.timeout_ms, &mgr->stores->durable),
		    now_ms);
	if (answer == SGATE_UNAVAILABLE && err->native_code != 0)
		breaker_failed(&mgr->stores->cache, mgr->cache_generation,
		    is_refused(err), manager_window_ms(mgr), now_ms);
	return answer;
}

/* ---- what stands there ---- */

void
cached_clear(struct cached *cached)
{
	sgate_session_free(cached->session);
	buf_clear(&cached->unsealed);
	memset(cached, 0, sizeof(*cached));
}

/* False: not a tombstone. What begins like one refuses, whatever it says. */
static bool
read_tombstone(struct sgate_bytes record, struct record_tombstone *out)
{
	memset(out, 0, sizeof(*out));
	if (record.len == 0 || record.data[0] != 'T')
		return false;
	if (!record_tombstone_read(record, out))
		out->reason = SGATE_REASON_REVOKED;
	return true;
}

/* OK: not a tombstone. */
static enum sgate_reason
tombstone_reason(struct sgate_bytes record)
{
	struct record_tombstone tombstone;

	return read_tombstone(record, &tombstone) ? tombstone.reason
						  : SGATE_REASON_OK;
}

/* Beside no sync: of the store that this host has polled last. */
static void
assume_store(const struct sgate_manager *mgr, struct record_store *store)
{
	const struct fence *fence = &mgr->stores->fence;
	uint64_t id[2] = {
	    atomic_load(&fence->store_id[0]), atomic_load(&fence->store_id[1])};

	if (sodium_is_zero(store->id, sizeof(store->id)))
		memcpy(store->id, id, sizeof(store->id));
}

/*
 * A copy of another epoch is opened as what it is, because its last_seen and
 * its absolute expiry are true all the same; but it does not count. is_head:
 * of a record that is longer; SGATE_CORRUPT: it is to be read whole.
 */
static enum sgate_status
cached_open(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_bytes record, bool is_head, const struct record_store *store,
    struct cached *out, struct sgate_error *err)
{
	struct record_store sealed_for = *store;
	enum sgate_status status;
	char state;

	assume_store(mgr, &sealed_for);
	record_epoch(record, &sealed_for.epoch);
	if (is_head)
		status = record_read_head(
		    mgr->keys, &sealed_for, ref, record, &out->session, err);
	else if (record.data[0] == 'U')
		status = record_read_new(mgr->keys, &sealed_for, ref, record,
		    &out->session, &out->birth, err);
	else
		status = record_read(mgr->keys, &sealed_for, ref, record,
		    &state, &out->session, err);
	if (status == SGATE_CORRUPT && !is_head) {
		stores_count(mgr->counts, STORES_BAD_SEALS);
		/* Where the rounds see it, of whichever process. */
		if (record_is_newer(record))
			stores_count(mgr->stores->counts, STORES_NEWER_COPIES);
		stores_count(mgr->counts, STORES_DOUBTED);
		out->trust = FENCE_NO;
		buf_add_bytes(&out->unsealed, record);
		return buf_failed(&out->unsealed) ? error_memory(err, "get")
						  : SGATE_OK;
	}
	if (status != SGATE_OK)
		return status;
	out->is_new = record.data[0] == 'U' && !failpoint_is_off("u-state");
	if (out->trust == FENCE_NO) {
		stores_count(mgr->counts, STORES_DISTRUSTED);
	} else if (sealed_for.epoch != store->epoch &&
		   !failpoint_is_off("epoch")) {
		stores_count(mgr->counts, STORES_DOUBTED);
		out->trust = FENCE_NO;
	}
	if (out->session->last_seen_ms > manager_now_ms(mgr))
		out->session->last_seen_ms = manager_now_ms(mgr);
	return SGATE_OK;
}

/*
 * To peek costs a little more than to get, and much less where there is much
 * data: so that is done for a while after a look has found such a copy.
 */
#define PEEKS 32
/* Where it is refused it costs a connection. */
#define PEEK_AGAIN_MS 60000

static void
count_peek(struct sgate_manager *mgr, bool has_peeked, struct sgate_bytes found)
{
	int64_t now_ms;

	if (found.len < RECORD_PEEK_BYTES) {
		if (has_peeked)
			mgr->peeks--;
		return;
	}
	now_ms = clock_monotonic_ms();
	if (has_peeked && found.len > RECORD_PEEK_BYTES)
		mgr->no_peek_before_ms = now_ms + PEEK_AGAIN_MS;
	mgr->peeks = now_ms >= mgr->no_peek_before_ms && record_has_head(found)
			 ? PEEKS
			 : 0;
}

enum wanted { WANTED_IN_BUDGET, WANTED_LATE, WANTED_WITHOUT_DATA };

static enum sgate_status
get_copy(struct sgate_manager *mgr, const struct sgate_ref *ref,
    enum wanted wanted, struct cached *out, struct sgate_error *err)
{
	const struct sgate_conf *conf = mgr->conf;
	bool is_peek = wanted == WANTED_WITHOUT_DATA && mgr->peeks > 0;
	struct record_tombstone tombstone;
	struct fence_sync sync;
	struct cache_copy copy;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = manager_cache_enter(mgr, wanted != WANTED_LATE, err);
	if (status != SGATE_OK)
		return status;
	status = is_peek ? mgr->cache_ops->peek(mgr->cache, ref, &copy, err)
			 : mgr->cache_ops->get(mgr->cache, ref, &copy, err);
	status = manager_cache_left(mgr, status, err);
	if (status == SGATE_OK && wanted == WANTED_WITHOUT_DATA)
		count_peek(mgr, is_peek, copy.record);
	if (status != SGATE_OK)
		return status;
	if (read_tombstone(copy.record, &tombstone)) {
		out->ended = tombstone.reason;
		out->ended_realm = tombstone.realm;
		return SGATE_OK;
	}
	/* The fence is loaded after the reply: it may have risen meanwhile. */
	out->trust = fence_trusts(&mgr->stores->fence, token_ref_group(ref),
	    copy.sync, conf->fence.poll_interval_ms, conf->fence.max_blind_ms,
	    clock_boot_ms(), &out->store);
	if (fence_sync_read(copy.sync, &sync))
		out->sync = sync.number;
	if (copy.record.len == 0) {
		stores_count(mgr->counts, STORES_CACHE_MISSES);
		return SGATE_OK;
	}
	/* What is of that length may be longer. */
	is_peek = is_peek && copy.record.len == RECORD_PEEK_BYTES;
	status =
	    cached_open(mgr, ref, copy.record, is_peek, &out->store, out, err);
	if (status != SGATE_CORRUPT)
		return status;
	cached_clear(out);
	mgr->peeks = 0;
	return get_copy(mgr, ref, WANTED_IN_BUDGET, out, err);
}

enum sgate_status
cached_get(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct cached *out, struct sgate_error *err)
{
	return get_copy(mgr, ref, WANTED_IN_BUDGET, out, err);
}

enum sgate_status
cached_peek(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct cached *out, struct sgate_error *err)
{
	return get_copy(mgr, ref, WANTED_WITHOUT_DATA, out, err);
}

enum sgate_status
cached_get_late(struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct cached *out, struct sgate_error *err)
{
	return get_copy(mgr, ref, WANTED_LATE, out, err);
}

void
cached_seen(struct sgate_manager *mgr, struct sgate_session *session)
{
	struct sgate_error ignored;
	struct cached cached;

	if (cached_get(mgr, &session->ref, &cached, &ignored) == SGATE_OK &&
	    cached.session != NULL)
		session_seen(
		    session, cached.session->last_seen_ms, manager_now_ms(mgr));
	cached_clear(&cached);
}

/* ---- putting a row there ---- */

static enum sgate_status
put_item(struct sgate_manager *mgr, bool is_in_budget,
    const struct cache_item *item, uint64_t s0, struct sgate_bytes only_over,
    struct put_result *out, struct sgate_error *err)
{
	struct cache_copy found;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	memset(&found, 0, sizeof(found));
	status = manager_cache_enter(mgr, is_in_budget, err);
	if (status != SGATE_OK)
		return status;
	stores_count(mgr->counts, STORES_CACHE_WRITES);
	status = manager_cache_left(mgr,
	    mgr->cache_ops->put(
		mgr->cache, item, s0, only_over, &out->answer, &found, err),
	    err);
	if (status != SGATE_OK) {
		memset(out, 0, sizeof(*out));
		return status;
	}
	if (out->answer == CACHE_PUT_RETRY)
		stores_count(mgr->counts, STORES_PUT_RETRIES);
	if (out->answer == CACHE_PUT_ENDED) {
		out->ended = tombstone_reason(found.record);
		if (out->ended == SGATE_REASON_OK)
			out->ended = SGATE_REASON_REVOKED;
	}
	return SGATE_OK;
}

enum sgate_status
cached_put_item(struct sgate_manager *mgr, const struct cache_item *item,
    uint64_t s0, struct put_result *out, struct sgate_error *err)
{
	const struct sgate_bytes none = {NULL, 0};

	return put_item(mgr, true, item, s0, none, out, err);
}

/*
 * What is in the place of a copy with a wrong seal is replaced whatever version
 * it claims, but not what has come there since.
 */
enum sgate_status
cached_put(struct sgate_manager *mgr, const struct sgate_session *session,
    const struct durable_snapshot *at, const struct buf *unsealed,
    struct put_result *out, struct sgate_error *err)
{
	const struct sgate_bytes none = {NULL, 0};
	struct cache_item item = {.ref = session->ref};
	struct buf record = {0};
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	failpoint("row-put");
	status =
	    record_write(mgr->keys, &at->store, 'L', session, &record, err);
	if (status == SGATE_OK) {
		item.record = buf_bytes(&record);
		item.ttl_ms = session_copy_ttl_ms(session, manager_now_ms(mgr));
		status =
		    put_item(mgr, true, &item, at->counter, none, out, err);
	}
	if (status == SGATE_OK && out->answer == CACHE_PUT_HAVE &&
	    unsealed != NULL && unsealed->len > 0)
		status = put_item(mgr, true, &item, at->counter,
		    buf_bytes(unsealed), out, err);
	if (status == SGATE_OK && out->answer == CACHE_PUT_OK)
		stores_count(mgr->counts, STORES_REPAIRED);
	buf_clear(&record);
	return status;
}

enum sgate_reason
cached_tombstone_reason(const struct cache_putting *put)
{
	struct sgate_bytes record = {put->tombstone, put->tombstone_len};
	enum sgate_reason reason = tombstone_reason(record);

	return reason == SGATE_REASON_OK ? SGATE_REASON_REVOKED : reason;
}

bool
cached_put_many(
    struct sgate_manager *mgr, struct cache_putting *puts, size_t count)
{
	struct sgate_error err;
	size_t i;

	if (manager_cache_enter(mgr, false, &err) != SGATE_OK ||
	    manager_cache_left(mgr,
		mgr->cache_ops->put_many(mgr->cache, puts, count, &err),
		&err) != SGATE_OK) {
		/* Nothing is known: that is no RETRY. */
		for (i = 0; i < count; i++)
			puts[i].put = CACHE_PUT_OK;
		return false;
	}
	stores_count(mgr->counts, STORES_CACHE_WRITES);
	for (i = 0; i < count; i++) {
		if (puts[i].put == CACHE_PUT_OK)
			stores_count(mgr->counts, STORES_PUBLISHED);
		else if (puts[i].put == CACHE_PUT_RETRY)
			stores_count(mgr->counts, STORES_PUT_RETRIES);
	}
	return true;
}

/* ---- sessions that the durable store has not got ---- */

static enum sgate_status
put_left(struct sgate_manager *mgr, enum sgate_status answer,
    const struct cache_copy *found, struct put_result *out,
    struct sgate_error *err)
{
	enum sgate_status status = manager_cache_left(mgr, answer, err);

	if (status != SGATE_OK)
		memset(out, 0, sizeof(*out));
	else if (out->answer == CACHE_PUT_ENDED)
		out->ended = tombstone_reason(found->record);
	if (status == SGATE_OK && out->answer == CACHE_PUT_ENDED &&
	    out->ended == SGATE_REASON_OK)
		out->ended = SGATE_REASON_REVOKED;
	return status;
}

enum sgate_status
cached_create(struct sgate_manager *mgr, const struct cache_item *item,
    uint64_t s0, const unsigned char *user, int64_t set_ttl_ms,
    bool is_in_budget, struct put_result *out, struct sgate_error *err)
{
	struct cache_copy found = {.record = {NULL, 0}};
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = manager_cache_enter(mgr, is_in_budget, err);
	if (status != SGATE_OK)
		return status;
	stores_count(mgr->counts, STORES_CACHE_WRITES);
	/* What is told again has been acknowledged, or has not. */
	status = mgr->cache_ops->create(mgr->cache, item, s0, user, set_ttl_ms,
	    is_in_budget ? 0 : (unsigned)mgr->conf->redis.replicas,
	    &out->answer, &found, err);
	return put_left(mgr, status, &found, out, err);
}

enum sgate_status
cached_land(struct sgate_manager *mgr, const struct cache_item *item,
    const unsigned char *user, struct put_result *out, struct sgate_error *err)
{
	struct cache_copy found = {.record = {NULL, 0}};
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = manager_cache_enter(mgr, false, err);
	if (status != SGATE_OK)
		return status;
	stores_count(mgr->counts, STORES_CACHE_WRITES);
	status = mgr->cache_ops->land(
	    mgr->cache, item, user, &out->answer, &found, err);
	return put_left(mgr, status, &found, out, err);
}

/* Whose set it is. */
struct user_set {
	unsigned group;
	unsigned char user[TOKEN_USER_BYTES];
};

static struct user_set
set_of(const struct sgate_manager *mgr, struct sgate_bytes user)
{
	struct sgate_bytes realm = manager_realm(mgr);
	struct user_set set;

	set.group = token_user_group(mgr->keys, realm, user) % TOKEN_GROUPS;
	token_user_hash(mgr->keys, realm, user, set.user);
	return set;
}

enum sgate_status
cached_unlanded(struct sgate_manager *mgr, struct sgate_bytes user,
    uint64_t *cursor, struct sgate_ref out_refs[CACHE_UNLANDED_MAX],
    size_t *out_count, struct sgate_error *err)
{
	struct user_set set;
	enum sgate_status status;

	*out_count = 0;
	status = manager_cache_enter(mgr, true, err);
	if (status != SGATE_OK)
		return status;
	set = set_of(mgr, user);
	status = mgr->cache_ops->unlanded(
	    mgr->cache, set.group, set.user, cursor, out_refs, out_count, err);
	return manager_cache_left(mgr, status, err);
}

enum sgate_status
cached_landed(struct sgate_manager *mgr, struct sgate_bytes user,
    const struct sgate_ref *refs, size_t count, struct sgate_error *err)
{
	struct user_set set;
	enum sgate_status status;

	status = manager_cache_enter(mgr, true, err);
	if (status != SGATE_OK)
		return status;
	set = set_of(mgr, user);
	status = mgr->cache_ops->landed(
	    mgr->cache, set.group, set.user, refs, count, err);
	return manager_cache_left(mgr, status, err);
}

/* ---- what a change has to tell ---- */

static size_t
count_ended(const struct endings *endings)
{
	size_t i, count = 0;

	for (i = 0; endings != NULL && i < endings->count; i++)
		count += endings->items[i].session != NULL;
	return count;
}

void
publication_clear(struct publication *publication)
{
	buf_clear(&publication->record);
	buf_clear(&publication->tombstone_bytes);
	free(publication->tombstones);
	memset(publication, 0, sizeof(*publication));
}

static void
add_tombstone(struct publication *publication,
    const struct sgate_session *session, int64_t now_ms)
{
	struct cache_item *item =
	    &publication->tombstones[publication->tombstones_count++];
	struct record_tombstone tombstone;

	record_tombstone_of(session, &tombstone);
	record_tombstone_write(
	    &publication->at.store, &tombstone, &publication->tombstone_bytes);
	item->ref = session->ref;
	item->ttl_ms = session_tombstone_ttl_ms(session, now_ms);
}

/* When no byte is added any more: the buffer has moved while it grew. */
static enum sgate_status
point_at_bytes(struct publication *publication, struct sgate_error *err)
{
	size_t i;

	if (buf_failed(&publication->tombstone_bytes))
		return error_memory(err, "end");
	for (i = 0; i < publication->tombstones_count; i++)
		publication->tombstones[i].record =
		    (struct sgate_bytes){publication->tombstone_bytes.data +
					     i * RECORD_TOMBSTONE_BYTES,
			RECORD_TOMBSTONE_BYTES};
	return SGATE_OK;
}

enum sgate_status
publication_make(struct sgate_manager *mgr, const struct durable_snapshot *at,
    const struct sgate_session *live, const struct endings *endings,
    struct publication *out, struct sgate_error *err)
{
	size_t i, count = count_ended(endings);
	int64_t now_ms = manager_now_ms(mgr);
	enum sgate_status status = SGATE_OK;

	publication_clear(out);
	out->at = *at;
	if (live != NULL) {
		status = record_write(
		    mgr->keys, &at->store, 'L', live, &out->record, err);
		out->live.ref = live->ref;
		out->live.ttl_ms = session_copy_ttl_ms(live, now_ms);
		out->live.record = buf_bytes(&out->record);
	}
	if (status != SGATE_OK || count == 0)
		return status;
	out->tombstones = calloc(count, sizeof(*out->tombstones));
	if (out->tombstones == NULL)
		return error_memory(err, "end");
	for (i = 0; i < endings->count; i++)
		if (endings->items[i].session != NULL)
			add_tombstone(out, endings->items[i].session, now_ms);
	return point_at_bytes(out, err);
}

static bool
send_tombstones(
    struct sgate_manager *mgr, const struct publication *publication)
{
	struct sgate_error err;
	enum sgate_status status;
	size_t i;

	status = manager_cache_enter(mgr, false, &err);
	if (status == SGATE_OK) {
		stores_count(mgr->counts, STORES_CACHE_WRITES);
		status = manager_cache_left(mgr,
		    mgr->cache_ops->end(mgr->cache, publication->tombstones,
			publication->tombstones_count, 0, &err),
		    &err);
	}
	for (i = 0; status == SGATE_OK && i < publication->tombstones_count;
	     i++)
		stores_count(mgr->counts, STORES_PUBLISHED);
	return status == SGATE_OK;
}

static bool
send_live(struct sgate_manager *mgr, const struct publication *publication,
    struct put_result *out_put)
{
	const struct sgate_bytes none = {NULL, 0};
	struct sgate_error err;

	if (put_item(mgr, false, &publication->live, publication->at.counter,
		none, out_put, &err) != SGATE_OK)
		return false;
	if (out_put->answer == CACHE_PUT_OK)
		stores_count(mgr->counts, STORES_PUBLISHED);
	return true;
}

bool
publication_send(struct sgate_manager *mgr,
    const struct publication *publication, struct put_result *out_put)
{
	bool has_tombstones = false, is_told = true;

	memset(out_put, 0, sizeof(*out_put));
	if (publication->tombstones_count > 0)
		is_told = has_tombstones = send_tombstones(mgr, publication);
	if (publication->live.record.len > 0)
		is_told = send_live(mgr, publication, out_put) && is_told;
	out_put->has_tombstones = has_tombstones;
	return is_told;
}

/* ---- touches ---- */

bool
cached_touch(struct sgate_manager *mgr, const struct durable_touch *touches,
    size_t count)
{
	struct cache_touch own[MANAGER_TOUCH_BATCH];
	struct sgate_error err;
	size_t i, used = 0;

	for (i = 0; i < count && i < MANAGER_TOUCH_BATCH; i++) {
		if (touches[i].last_seen_ms == 0 || touches[i].copy_ttl_ms <= 0)
			continue;
		own[used].ref = touches[i].ref;
		own[used].last_seen_ms = touches[i].last_seen_ms;
		own[used++].ttl_ms = touches[i].copy_ttl_ms;
	}
	if (used == 0 || manager_cache_enter(mgr, true, &err) != SGATE_OK)
		return false;
	stores_count(mgr->counts, STORES_CACHE_WRITES);
	return manager_cache_left(mgr,
		   mgr->cache_ops->touch(mgr->cache, own, used, &err),
		   &err) == SGATE_OK;
}
