#include "tap.h"

#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

/* ---- the stores ---- */

void
pair_start(struct pair *p)
{
	struct sgate_error err;

	memset(p, 0, sizeof(*p));
	world_open(&p->w);
	/* A test is over while its round is young, on a slow machine too; and
	 * no moment that it makes is from before the machine was started. */
	p->w.conf->fence.poll_interval_ms = 5000;
	p->w.conf->fence.max_blind_ms = 30000;
	fake_reset(true);
	cache_fake_reset();
	assert_int_equal(
	    durable_fake.open(p->w.conf, &p->keeper, &err), SGATE_OK);
	p->w.mgr = pair_manager(p);
	pair_round(p, &p->stores);
	pair_up_since(&p->stores, 60000);
}

void
pair_stop(struct pair *p)
{
	assert_true(fake_is_idle());
	durable_fake.close(p->keeper);
	world_close(&p->w);
	cache_fake_reset();
}

static int64_t
pair_clock(void *arg)
{
	const struct pair *p = arg;

	return p->w.now_ms;
}

struct sgate_manager *
pair_manager(struct pair *p)
{
	struct sgate_options options = {pair_clock, p};
	struct sgate_manager *mgr = NULL;

	assert_status(&p->w,
	    manager_new_with(p->w.conf, &options, &durable_fake, &cache_fake,
		&mgr, &p->w.err),
	    SGATE_OK);
	manager_set_stores(mgr, &p->stores);
	return mgr;
}

void
pair_other_open(struct pair *p, struct other *other)
{
	memset(other, 0, sizeof(*other));
	other->mgr = pair_manager(p);
	manager_set_stores(other->mgr, &other->stores);
	pair_poll(p, &other->stores);
}

void
pair_other_close(struct other *other)
{
	sgate_manager_free(other->mgr);
}

static void
poll_counters(struct pair *p, struct durable_poll *out)
{
	struct sgate_error err;

	p->keeper->deadline_ms = clock_monotonic_ms() + 10000;
	assert_int_equal(durable_fake.poll(p->keeper, out, &err), SGATE_OK);
}

void
pair_poll(struct pair *p, struct stores *stores)
{
	struct fence *fence = &stores->fence;
	struct settings nothing_is_set = {.number = 0};
	struct durable_poll poll;
	unsigned group;
	uint64_t id[2];

	poll_counters(p, &poll);
	nothing_is_set.store = poll.store;
	nothing_is_set.number = poll.settings + 1;
	settings_publish(
	    &stores->settings, &nothing_is_set, manager_now_ms(p->w.mgr));
	atomic_store(&stores->settings.polled_ms, clock_boot_ms());
	memcpy(id, poll.store.id, sizeof(id));
	if (atomic_load(&fence->store_id[0]) != id[0] ||
	    atomic_load(&fence->store_id[1]) != id[1])
		fence_reset(fence, poll.store.id);
	for (group = 0; group < TOKEN_GROUPS; group++) {
		fence_raise(fence, group,
		    fence_mark(poll.store.epoch, poll.counters[group]));
		atomic_store(&fence->complete_ms[group], clock_boot_ms());
		atomic_store(&fence->heard_ms[group], clock_boot_ms());
	}
}

void
pair_round(struct pair *p, struct stores *stores)
{
	char text[CACHE_SYNC_MAX + 1];
	struct durable_poll poll;
	struct fence_sync sync;
	unsigned group;

	poll_counters(p, &poll);
	for (group = 0; group < TOKEN_GROUPS; group++) {
		sync.number = poll.counters[group];
		sync.store = poll.store;
		fence_sync_write(&sync, "", 0, text, sizeof(text));
		cache_fake_set_sync(group, text);
	}
	pair_poll(p, stores);
}

void
pair_age(struct stores *stores, int64_t ms)
{
	unsigned group;

	for (group = 0; group < TOKEN_GROUPS; group++) {
		atomic_store(
		    &stores->fence.complete_ms[group], clock_boot_ms() - ms);
		atomic_store(
		    &stores->fence.heard_ms[group], clock_boot_ms() - ms);
	}
}

void
pair_up_since(struct stores *stores, int64_t ms)
{
	int64_t since_ms = clock_monotonic_ms() - ms;

	breaker_close(&stores->durable, since_ms);
	breaker_close(&stores->cache, since_ms);
}

void
pair_durable_down(struct pair *p)
{
	int64_t now_ms = clock_monotonic_ms();

	atomic_store(&p->stores.absence.lost_ms, now_ms);
	breaker_open(&p->stores.durable, now_ms);
}

void
pair_durable_back(struct pair *p)
{
	breaker_close(
	    &p->stores.durable, clock_monotonic_ms() - BREAKER_SETTLED_MS);
}

void
pair_cache_down(void)
{
	cache_fake_set_down(true, CACHE_FAKE_UNAVAILABLE);
}

void
pair_cache_back(struct pair *p)
{
	cache_fake_set_down(false, CACHE_FAKE_UNAVAILABLE);
	breaker_close(&p->stores.cache, clock_monotonic_ms());
}

uint64_t
pair_count(const struct pair *p, enum stores_counter counter)
{
	return atomic_load(&p->stores.counts[counter]);
}

void
pair_other_change(struct pair *p, const struct sgate_ref *ref)
{
	struct sgate_error err;
	uint64_t seq;

	p->keeper->deadline_ms = clock_monotonic_ms() + 10000;
	assert_int_equal(durable_fake.begin(p->keeper, &err), SGATE_OK);
	assert_int_equal(durable_fake.counter_next(
			     p->keeper, token_ref_group(ref), &seq, &err),
	    SGATE_OK);
	assert_int_equal(durable_fake.commit(p->keeper, &err), SGATE_OK);
}

/* ---- looks ---- */

void
pair_expect(struct pair *p, struct sgate_manager *mgr, const char *token,
    enum sgate_reason reason, const char *served_by)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;

	status = sgate_session_get(
	    mgr, B(token), SGATE_NO_TOUCH, &session, &p->w.err);
	assert_int_equal(session != NULL, status == SGATE_OK);
	sgate_session_free(session);
	assert_status(&p->w, status,
	    reason == SGATE_REASON_OK      ? SGATE_OK
	    : reason == SGATE_REASON_STORE ? SGATE_UNAVAILABLE
					   : SGATE_NOT_FOUND);
	assert_string_equal(
	    sgate_reason_text(p->w.err.reason), sgate_reason_text(reason));
	assert_string_equal(manager_served_by(mgr), served_by);
}

struct sgate_session *
pair_get(struct pair *p, const char *token, const char *served_by)
{
	struct sgate_session *session = NULL;

	assert_status(&p->w,
	    sgate_session_get(
		p->w.mgr, B(token), SGATE_NO_TOUCH, &session, &p->w.err),
	    SGATE_OK);
	assert_string_equal(manager_served_by(p->w.mgr), served_by);
	return session;
}

/* ---- what the cache has ---- */

char
pair_state(const struct sgate_ref *ref)
{
	struct sgate_bytes record = cache_fake_record(ref);

	return record.len == 0 ? '\0' : record.data[0];
}

static uint64_t
digits(const struct sgate_ref *ref, size_t offset, size_t len)
{
	struct sgate_bytes record = cache_fake_record(ref);
	uint64_t value = 0;

	assert_true(record.len >= offset + len);
	assert_true(
	    bytes_to_uint((struct sgate_bytes){record.data + offset, len},
		UINT64_MAX, &value));
	return value;
}

uint64_t
pair_version(const struct sgate_ref *ref)
{
	return digits(ref, RECORD_VERSION_OFFSET + 4, 12);
}

int64_t
pair_last_seen(const struct sgate_ref *ref)
{
	return (int64_t)digits(ref, RECORD_LAST_SEEN_OFFSET, 13);
}

enum sgate_reason
pair_tombstone(const struct sgate_ref *ref)
{
	struct record_tombstone tombstone;

	assert_true(record_tombstone_read(cache_fake_record(ref), &tombstone));
	return tombstone.reason;
}

struct sgate_bytes
pair_save(const struct sgate_ref *ref)
{
	struct sgate_bytes record = cache_fake_record(ref);
	char *data = malloc(record.len + 1);

	assert_non_null(data);
	assert_true(record.len > 0);
	memcpy(data, record.data, record.len);
	return (struct sgate_bytes){data, record.len};
}

void
pair_put_back(const struct sgate_ref *ref, struct sgate_bytes record)
{
	cache_fake_set_record(ref, record, HOUR);
}
