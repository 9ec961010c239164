/*
 * What is done beside requests: reaping, touches that were collected, counts,
 * health, leases, schema, the audit trail.
 */
#include "config.h"

#include "manager.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "status.h"

/* ---- reap ---- */

struct reaping {
	struct sgate_manager *mgr;
	struct endings endings;
	struct endings idle; /* to be ended if the cache agrees */
	/* Rows that the cache knows to have been used since. */
	struct durable_touch seen[MANAGER_TOUCH_BATCH];
	size_t seen_count;
	uint64_t count;
	enum sgate_status status;
	struct sgate_error *err;
};

static bool
has_been_up(struct breaker *breaker)
{
	return breaker_up_for_ms(breaker, clock_monotonic_ms()) >=
	       MANAGER_REAP_UP_MS;
}

/* What hosts may still hold back counts as if it had come just now. */
static int64_t
reap_before_ms(const struct sgate_manager *mgr)
{
	return manager_now_ms(mgr) - MANAGER_REAP_LATE_MS;
}

/*
 * The last_seen of an idle-expired row is not the whole truth where there is a
 * cache: while MySQL was away, activity was noted there alone, and what other
 * hosts have noted may be on its way. So both stores must have been up for a
 * while, the deadline must have passed some time ago, and the copy must agree.
 */
static int
reap_add(void *arg, const struct sgate_session *session)
{
	struct reaping *r = arg;
	struct sgate_manager *mgr = r->mgr;
	struct endings *to = &r->endings;

	/* Walked over because of its age, and others were flushed. */
	if (session_expiry(session, manager_now_ms(mgr)) == SGATE_REASON_OK &&
	    !settings_are_against(mgr, session))
		return 0;
	if (mgr->cache_ops != NULL && !settings_are_against(mgr, session) &&
	    session_expiry(session, manager_now_ms(mgr)) ==
		SGATE_REASON_EXPIRED_IDLE) {
		if (!has_been_up(&mgr->stores->durable) ||
		    !has_been_up(&mgr->stores->cache) ||
		    session_expiry(session, reap_before_ms(mgr)) ==
			SGATE_REASON_OK)
			return 0;
		to = &r->idle;
	}
	r->status = endings_add(to, &session->ref, SGATE_REASON_OK, r->err);
	return r->status != SGATE_OK;
}

static enum sgate_status
reap_write_seen(struct reaping *r, struct sgate_error *err)
{
	struct sgate_manager *mgr = r->mgr;
	size_t count = r->seen_count;

	r->seen_count = 0;
	if (count == 0)
		return SGATE_OK;
	return manager_write(
	    mgr, mgr->ops->touch(mgr->durable, r->seen, count, err), err);
}

/* Ended if it agrees; if it has a later last_seen, the row gets that. */
static enum sgate_status
reap_ask_cache(
    struct reaping *r, const struct sgate_ref *ref, struct sgate_error *err)
{
	struct sgate_manager *mgr = r->mgr;
	struct durable_touch *touch = &r->seen[r->seen_count];
	enum sgate_status status = SGATE_OK;
	struct sgate_error ignored;
	struct cached cached;

	if (cached_get(mgr, ref, &cached, &ignored) != SGATE_OK) {
		cached_clear(&cached);
		return SGATE_OK; /* it may be asked next time */
	}
	if (cached.session == NULL ||
	    session_expiry(cached.session, reap_before_ms(mgr)) !=
		SGATE_REASON_OK) {
		status = endings_add(&r->endings, ref, SGATE_REASON_OK, err);
	} else {
		memset(touch, 0, sizeof(*touch));
		touch->ref = *ref;
		touch->last_seen_ms = cached.session->last_seen_ms;
		r->seen_count++;
	}
	cached_clear(&cached);
	if (status == SGATE_OK && r->seen_count == MANAGER_TOUCH_BATCH)
		status = reap_write_seen(r, err);
	return status;
}

/* The rows are judged again under their locks, with touches that are pending.
 */
static enum sgate_status
reap_apply(struct change *change, struct sgate_error *err)
{
	struct reaping *r = change->arg;
	enum sgate_status status;

	r->count = 0;
	status = endings_lock_all(change->mgr, &r->endings, err);
	if (status == SGATE_OK)
		status =
		    endings_store(change, &r->endings, false, &r->count, err);
	change->is_void = r->count == 0;
	return status;
}

static enum sgate_status
reap_end(struct sgate_manager *mgr, struct reaping *r, struct sgate_error *err)
{
	struct change change;
	enum sgate_status status = SGATE_OK;
	size_t i;

	for (i = 0; i < r->idle.count && status == SGATE_OK; i++)
		status = reap_ask_cache(r, &r->idle.items[i].ref, err);
	if (status == SGATE_OK)
		status = reap_write_seen(r, err);
	if (status != SGATE_OK || r->endings.count == 0)
		return status;
	change_init(&change, mgr, "reap", SGATE_REASON_OK, reap_apply, r);
	change.is_repeatable = true;
	return change_run(&change, err);
}

/*
 * One chunk. Ending an expired session again changes nothing, so this needs no
 * audit row of its own as a key: each session's own row tells of its end.
 * A damaged row is told of in the end (SGATE_CORRUPT) and holds up nothing.
 */
static enum sgate_status
reap_expired(struct sgate_manager *mgr, size_t chunk,
    struct sgate_reaped *reaped, bool *out_wrapped, struct sgate_error *err)
{
	struct reaping r = {.mgr = mgr, .err = err};
	struct sgate_ref cursor = mgr->reap_cursor;
	struct sgate_error end_err;
	enum sgate_status found, status;
	int64_t flushed_ms, all_ms;

	*out_wrapped = false;
	settings_flushed_before(mgr, &flushed_ms, &all_ms);
	if (mgr->reap_pass_ms == 0)
		mgr->reap_pass_ms = manager_now_ms(mgr);
	found = manager_read(mgr,
	    mgr->ops->expired(mgr->durable, manager_now_ms(mgr), flushed_ms,
		chunk, &cursor, out_wrapped, reap_add, &r, err),
	    err);
	if (found == SGATE_OK)
		found = r.status;
	if (found != SGATE_OK && found != SGATE_CORRUPT)
		goto out;
	status = reap_end(mgr, &r, &end_err);
	if (status != SGATE_OK) {
		if (err != NULL)
			*err = end_err;
		found = status;
		goto out;
	}
	reaped->ended = r.count;
	mgr->reap_cursor = cursor;
	if (*out_wrapped) {
		mgr->reap_passed_ms = mgr->reap_pass_ms;
		mgr->reap_pass_ms = 0;
	}
out:
	endings_clear(&r.endings);
	endings_clear(&r.idle);
	return found;
}

/*
 * Sessions are deleted long after their end, and only if they had expired when
 * the last whole pass began: then that pass has ended them, with an audit row.
 */
static int64_t
delete_sessions_before(const struct sgate_manager *mgr, int64_t now_ms)
{
	int64_t kept_from_ms = now_ms - mgr->conf->reap.ended_keep_ms;

	return mgr->reap_passed_ms < kept_from_ms ? mgr->reap_passed_ms
						  : kept_from_ms;
}

enum sgate_status
sgate_reap(struct sgate_manager *mgr, struct sgate_reaped *out_reaped,
    struct sgate_error *err)
{
	struct sgate_reaped reaped = {0};
	const struct sgate_conf *conf = mgr->conf;
	size_t chunk = (size_t)conf->reap.chunk;
	int64_t now_ms = manager_now_ms(mgr);
	uint64_t others = 0;
	bool has_wrapped = false;
	struct sgate_error purge_err;
	enum sgate_status ended, purged;

	memset(out_reaped, 0, sizeof(*out_reaped));
	ended = manager_enter(mgr, err);
	if (ended == SGATE_OK)
		ended = reap_expired(mgr, chunk, &reaped, &has_wrapped, err);
	if (ended != SGATE_OK && ended != SGATE_CORRUPT)
		return ended;
	purged = manager_write(mgr,
	    mgr->ops->purge(mgr->durable, delete_sessions_before(mgr, now_ms),
		now_ms - conf->reap.audit_keep_ms, now_ms, chunk,
		&reaped.deleted, &others, &purge_err),
	    &purge_err);
	if (purged != SGATE_OK) {
		if (err != NULL)
			*err = purge_err;
		return purged;
	}
	reaped.has_more = reaped.deleted >= chunk || others >= chunk;
	reaped.is_done = has_wrapped && !reaped.has_more;
	if (ended == SGATE_OK)
		*out_reaped = reaped;
	return ended;
}

/* ---- touches ---- */

static int
compare_touches(const void *a, const void *b)
{
	const struct durable_touch *left = a, *right = b;

	return memcmp(left->ref.bytes, right->ref.bytes, SGATE_REF_BYTES);
}

/*
 * By ascending ref, a batch a transaction; doing one twice does no harm. The
 * copies first: they are what keeps sessions alive while MySQL is away.
 */
enum sgate_status
manager_touch_write(struct sgate_manager *mgr, struct durable_touch *touches,
    size_t count, struct sgate_error *err)
{
	enum sgate_status status;
	size_t done, batch;

	manager_begin(mgr, err);
	if (count > 1)
		qsort(touches, count, sizeof(*touches), compare_touches);
	for (done = 0; done < count; done += batch) {
		batch = count - done;
		if (batch > MANAGER_TOUCH_BATCH)
			batch = MANAGER_TOUCH_BATCH;
		cached_touch(mgr, touches + done, batch);
	}
	status = manager_need_durable(mgr, err);
	for (done = 0; done < count && status == SGATE_OK; done += batch) {
		batch = count - done;
		if (batch > MANAGER_TOUCH_BATCH)
			batch = MANAGER_TOUCH_BATCH;
		status = manager_write(mgr,
		    mgr->ops->touch(mgr->durable, touches + done, batch, err),
		    err);
		if (status == SGATE_OK)
			stores_count(mgr->counts, STORES_DURABLE_WRITES);
	}
	return status;
}

/* ---- counts and health ---- */

/* Some milliseconds of the store's time. */
#define COUNT_ROWS 5000

/* Of the others that are flushed nobody can tell by an index: they count until
 * the reaper has ended them. */
static void
count_begin(const struct sgate_manager *mgr, struct durable_count *count)
{
	int64_t any_ms;

	if (count->rows == 0)
		settings_flushed_before(mgr, &any_ms, &count->created_from_ms);
}

enum sgate_status
manager_count(struct sgate_manager *mgr, struct durable_count *count,
    bool *out_done, struct sgate_error *err)
{
	enum sgate_status status = manager_enter(mgr, err);

	*out_done = false;
	if (status != SGATE_OK)
		return status;
	count_begin(mgr, count);
	return manager_read(mgr,
	    mgr->ops->stats(mgr->durable, manager_now_ms(mgr), COUNT_ROWS,
		count, out_done, err),
	    err);
}

enum sgate_status
sgate_stats(struct sgate_manager *mgr, struct sgate_stats *out_stats,
    struct sgate_error *err)
{
	struct durable_count count = {.rows = 0};
	enum sgate_status status;
	bool is_done = false;

	memset(out_stats, 0, sizeof(*out_stats));
	status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = settings_need(mgr, true, err);
	count_begin(mgr, &count);
	while (status == SGATE_OK && !is_done) {
		if (!manager_has_time(mgr))
			return error_set(err, SGATE_UNAVAILABLE, "session",
			    "stats", 0,
			    "there was time to count %" PRIu64
			    " sessions, and there are more",
			    count.rows);
		status = manager_read(mgr,
		    mgr->ops->stats(mgr->durable, manager_now_ms(mgr),
			COUNT_ROWS, &count, &is_done, err),
		    err);
	}
	if (status == SGATE_OK)
		*out_stats = count.stats;
	return status;
}

static void
probe_durable(struct sgate_manager *mgr, struct sgate_health *out)
{
	struct sgate_error why;
	int64_t started_us = clock_monotonic_us();
	enum sgate_status status;

	memset(&why, 0, sizeof(why));
	input_copy(out->durable_name, sizeof(out->durable_name),
	    bytes_of(mgr->ops->name));
	manager_begin_let(mgr, &why);
	status = manager_need_durable(mgr, &why);
	if (status == SGATE_OK)
		status =
		    manager_read(mgr, mgr->ops->ping(mgr->durable, &why), &why);
	out->durable_latency_us = clock_monotonic_us() - started_us;
	out->durable_up = status == SGATE_OK;
	if (status != SGATE_OK)
		input_copy(out->durable_text, sizeof(out->durable_text),
		    bytes_of(why.text));
}

static void
probe_cache(struct sgate_manager *mgr, struct sgate_health *out)
{
	char syncs[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];
	struct sgate_error why;
	int64_t started_us = clock_monotonic_us();
	enum sgate_status status;

	if (mgr->cache_ops == NULL)
		return;
	memset(&why, 0, sizeof(why));
	input_copy(out->cache_name, sizeof(out->cache_name),
	    bytes_of(mgr->cache_ops->name));
	status = manager_cache_enter(mgr, false, &why);
	if (status == SGATE_OK)
		status = manager_cache_left(
		    mgr, mgr->cache_ops->ping(mgr->cache, &why), &why);
	out->cache_latency_us = clock_monotonic_us() - started_us;
	/* One that is there may still refuse what a look asks. */
	if (status == SGATE_OK)
		status = manager_cache_enter(mgr, false, &why);
	if (status == SGATE_OK)
		status = manager_cache_left(mgr,
		    mgr->cache_ops->sync_get(mgr->cache, syncs, &why), &why);
	out->cache_up = status == SGATE_OK;
	if (status != SGATE_OK)
		input_copy(out->cache_text, sizeof(out->cache_text),
		    bytes_of(why.text));
}

enum sgate_status
sgate_health(struct sgate_manager *mgr, struct sgate_health *out_health,
    struct sgate_error *err)
{
	const struct manager_round round = {.runtime_dir = NULL};
	struct sgate_error ignored;

	memset(out_health, 0, sizeof(*out_health));
	error_clear(err);
	/* What cannot be found does not answer either. */
	if (manager_is_alone(mgr) &&
	    manager_locate(mgr, &round, &ignored) != SGATE_OK)
		error_clear(&ignored);
	probe_durable(mgr, out_health);
	probe_cache(mgr, out_health);
	return SGATE_OK;
}

/* ---- schema and audit ---- */

/*
 * For whoever sets the store up: the answers stay as they are, the store is
 * asked whatever is known of it, and there need be no table yet.
 */
static enum sgate_status
enter_to_set_up(struct sgate_manager *mgr, struct sgate_error *err)
{
	manager_begin_let(mgr, err);
	return manager_need_durable(mgr, err);
}

enum sgate_status
manager_schema_init(struct sgate_manager *mgr, struct sgate_error *err)
{
	enum sgate_status status = enter_to_set_up(mgr, err);

	if (status == SGATE_OK)
		status = mgr->ops->schema_init(mgr->durable, err);
	return status;
}

enum sgate_status
manager_schema_check(struct sgate_manager *mgr, struct sgate_error *err)
{
	enum sgate_status status = enter_to_set_up(mgr, err);

	if (status == SGATE_OK)
		status = mgr->ops->schema_check(mgr->durable, err);
	return status;
}

enum sgate_status
manager_maintain(struct sgate_manager *mgr, bool *out_is_needed,
    unsigned *out_made, unsigned *out_dropped, struct sgate_error *err)
{
	int64_t now_ms = manager_now_ms(mgr);
	enum sgate_status status = enter_to_set_up(mgr, err);

	*out_is_needed = mgr->ops->maintain != NULL;
	*out_made = 0;
	*out_dropped = 0;
	if (status == SGATE_OK && *out_is_needed)
		status = mgr->ops->maintain(mgr->durable, now_ms,
		    now_ms - mgr->conf->reap.audit_keep_ms, out_made,
		    out_dropped, err);
	return status;
}

enum sgate_status
manager_audit_list(struct sgate_manager *mgr,
    const struct durable_audit_filter *filter, durable_audit_fn *fn, void *arg,
    struct sgate_error *err)
{
	struct durable_audit_filter own = *filter;
	enum sgate_status status = manager_enter(mgr, err);

	own.realm = manager_realm(mgr);
	if (status == SGATE_OK)
		status = manager_read(mgr,
		    mgr->ops->audit_list(mgr->durable, &own, fn, arg, err),
		    err);
	return status;
}

/* ---- leases ---- */

#define HOST_PREFIX "host:"
#define KEYS_PREFIX "keys="
#define REAPER_LEASE "reaper"
#define WARMER_LEASE "warmer"

static void
write_key_ids(const struct keys *keys, struct buf *out)
{
	size_t i;

	buf_add_text(out, KEYS_PREFIX);
	for (i = 0; i < keys_count(keys); i++) {
		if (i > 0)
			buf_add_char(out, ',');
		buf_add_uint(out, keys_info(keys, i).id);
	}
}

struct lease_search {
	const char *name;
	char holder[129];
};

static int
find_holder(void *arg, const char *name, const char *holder, int64_t until_ms)
{
	struct lease_search *search = arg;

	(void)until_ms;
	if (strcmp(name, search->name) != 0)
		return 0;
	input_copy(search->holder, sizeof(search->holder), bytes_of(holder));
	return 1;
}

/*
 * A lease belongs to its holder, and the holder of a host's row is its list of
 * keys. After a reload with other keys the row of before is given back first.
 */
static enum sgate_status
give_back(struct sgate_manager *mgr, const char *name, struct sgate_error *err)
{
	struct lease_search search = {.name = name};
	int64_t now_ms = manager_now_ms(mgr);
	enum sgate_status status;

	status = manager_read(mgr,
	    mgr->ops->lease_list(mgr->durable, find_holder, &search, err), err);
	if (status == SGATE_OK && search.holder[0] != '\0')
		status = manager_write(mgr,
		    mgr->ops->lease_take(
			mgr->durable, name, search.holder, now_ms, now_ms, err),
		    err);
	return status;
}

static enum sgate_status
take_lease(struct sgate_manager *mgr, const char *name, const char *holder,
    int64_t ttl_ms, struct sgate_error *err)
{
	int64_t now_ms = manager_now_ms(mgr);

	return manager_write(mgr,
	    mgr->ops->lease_take(
		mgr->durable, name, holder, now_ms, now_ms + ttl_ms, err),
	    err);
}

enum sgate_status
manager_announce(struct sgate_manager *mgr, const char *host, int64_t ttl_ms,
    struct sgate_error *err)
{
	struct buf holder;
	char name[128];
	enum sgate_status status;

	buf_init(&holder);
	write_key_ids(mgr->keys, &holder);
	snprintf(name, sizeof(name), HOST_PREFIX "%s", host);
	status = manager_enter(mgr, err);
	if (status == SGATE_OK && buf_failed(&holder))
		status = error_memory(err, "announce");
	if (status == SGATE_OK)
		status = take_lease(mgr, name, buf_text(&holder), ttl_ms, err);
	if (status == SGATE_DENIED) {
		status = give_back(mgr, name, err);
		if (status == SGATE_OK)
			status = take_lease(
			    mgr, name, buf_text(&holder), ttl_ms, err);
	}
	buf_clear(&holder);
	return status;
}

struct key_search {
	uint8_t key_id;
	int64_t now_ms;
	char missing_at[129]; /* "" = nowhere */
};

static bool
holder_has_key(const char *holder, uint8_t key_id)
{
	char id[4];

	if (strncmp(holder, KEYS_PREFIX, strlen(KEYS_PREFIX)) != 0)
		return false;
	snprintf(id, sizeof(id), "%u", key_id);
	return session_list_has(
	    holder + strlen(KEYS_PREFIX), ',', bytes_of(id));
}

static int
look_at_host(void *arg, const char *name, const char *holder, int64_t until_ms)
{
	struct key_search *search = arg;
	size_t prefix = strlen(HOST_PREFIX);

	if (strncmp(name, HOST_PREFIX, prefix) != 0 ||
	    until_ms <= search->now_ms ||
	    holder_has_key(holder, search->key_id))
		return 0;
	input_copy(search->missing_at, sizeof(search->missing_at),
	    bytes_of(name + prefix));
	return 1;
}

enum sgate_status
manager_key_is_everywhere(
    struct sgate_manager *mgr, uint8_t key_id, struct sgate_error *err)
{
	struct key_search search = {.key_id = key_id};
	enum sgate_status status = manager_enter(mgr, err);

	search.now_ms = manager_now_ms(mgr);
	if (status == SGATE_OK)
		status = manager_read(mgr,
		    mgr->ops->lease_list(
			mgr->durable, look_at_host, &search, err),
		    err);
	if (status == SGATE_OK && search.missing_at[0] != '\0')
		status = error_set(err, SGATE_DENIED, "keys", "use", 0,
		    "host %s has not loaded key %u yet; reload it and try "
		    "again",
		    search.missing_at, key_id);
	return status;
}

enum sgate_status
manager_reaper_take(struct sgate_manager *mgr, const char *host, int64_t ttl_ms,
    struct sgate_error *err)
{
	enum sgate_status status = manager_enter(mgr, err);

	if (status == SGATE_OK)
		status = take_lease(mgr, REAPER_LEASE, host, ttl_ms, err);
	return status;
}

enum sgate_status
manager_warmer_take(struct sgate_manager *mgr, const char *host, int64_t ttl_ms,
    struct sgate_error *err)
{
	enum sgate_status status = manager_enter(mgr, err);

	if (status == SGATE_OK)
		status = take_lease(mgr, WARMER_LEASE, host, ttl_ms, err);
	return status;
}

enum sgate_status
manager_warmer_leave(struct sgate_manager *mgr, struct sgate_error *err)
{
	enum sgate_status status = manager_enter(mgr, err);

	if (status == SGATE_OK)
		status = give_back(mgr, WARMER_LEASE, err);
	return status;
}
