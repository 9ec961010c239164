/*
 * Whom a look believes: every line of the table at the top of manager_look.c,
 * and the traces of the protocol that are decided there. Each case says which
 * store served.
 */
#include "tap.h"

#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define TRIALS 3

static void
rotate(struct pair *p, const char *token, char out[SGATE_TOKEN_LEN + 1])
{
	struct sgate_session *s = NULL;
	char *text = NULL;

	assert_status(&p->w,
	    sgate_session_rotate(p->w.mgr, B(token), &s, &text, &p->w.err),
	    SGATE_OK);
	memcpy(out, text, SGATE_TOKEN_LEN + 1);
	sgate_session_free(s);
	sgate_token_free(text);
}

static void
update(struct pair *p, struct sgate_manager *mgr, const struct sgate_ref *ref,
    const char *patch)
{
	struct sgate_update u = {.data_patch = B(patch)};

	assert_status(&p->w,
	    sgate_session_update(mgr, ref, &u, NULL, &p->w.err), SGATE_OK);
}

/* What a test does at one moment within an operation of the cache. */
struct moment {
	const char *operation;
	bool is_after;
	void (*act)(struct moment *moment);
	struct pair *p;
	struct made *made;
	struct sgate_manager *other;
	struct sgate_bytes bytes;
	int times; /* how often it is still to happen */
};

static void
at_moment(void *arg, const char *operation, bool is_after)
{
	struct moment *moment = arg;

	if (moment->times == 0 || is_after != moment->is_after ||
	    strcmp(operation, moment->operation) != 0)
		return;
	moment->times--;
	moment->act(moment);
}

/* ---- believed ---- */

static void
a_copy_at_the_fence_serves_without_mysql(void **state)
{
	const struct sgate_bytes roles[] = {B("editor"), B("admin")};
	struct sgate_create create = {.user_id = B("ann"),
	    .context = B("7"),
	    .roles = roles,
	    .roles_count = 2,
	    .data = B("{\"a\":[1]}"),
	    .client_ip = B("192.0.2.7"),
	    .user_agent = B("Lynx")};
	struct sgate_session *s;
	struct made made;
	struct pair p;
	unsigned reads;

	(void)state;
	pair_start(&p);
	world_create_with(&p.w, &create, &made);
	assert_string_equal(manager_served_by(p.w.mgr), ROW);
	reads = fake_calls("session_get");
	s = pair_get(&p, made.token, COPY);
	assert_bytes(sgate_session_get_user_id(s), "ann");
	assert_bytes(sgate_session_get_context(s), "7");
	assert_bytes(sgate_session_get_roles(s), "editor,admin");
	assert_bytes(sgate_session_get_data(s), "{\"a\":[1]}");
	assert_bytes(sgate_session_get_user_agent(s), "Lynx");
	assert_string_equal(sgate_session_get_client_ip(s), "192.0.2.7");
	assert_int_equal(sgate_session_get_version(s), 1);
	assert_int_equal(
	    sgate_session_get_expires_ms(s), made.session->absolute_ms);
	sgate_session_free(s);
	assert_int_equal(fake_calls("session_get"), reads);
	assert_int_equal(pair_count(&p, STORES_SERVED_CACHE), 1);
	assert_int_equal(pair_count(&p, STORES_SERVED_DURABLE), 0);
	made_clear(&made);
	pair_stop(&p);
}

/* The fence and sync are compared as (epoch, number). */
static void
a_sync_past_the_fence_is_believed(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_other_change(&p, &made.ref);
	pair_round(&p, &p.stores);
	memset(&p.stores.fence.known, 0, sizeof(p.stores.fence.known));
	fence_raise(
	    &p.stores.fence, token_ref_group(&made.ref), fence_mark(1, 0));
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_stop(&p);
}

static void
data_is_left_out_of_a_copy_as_of_a_row(void **state)
{
	struct sgate_create create = {
	    .user_id = B("ann"), .data = B("{\"a\":1}")};
	struct sgate_session *s = NULL;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create_with(&p.w, &create, &made);
	assert_status(&p.w,
	    sgate_session_get(
		p.w.mgr, B(made.token), SGATE_NO_DATA, &s, &p.w.err),
	    SGATE_OK);
	assert_string_equal(manager_served_by(p.w.mgr), COPY);
	assert_bytes(sgate_session_get_data(s), "{}");
	sgate_session_free(s);
	/* From the row, which is put there whole all the same. */
	cache_fake_set_record(&made.ref, B(""), 0);
	assert_status(&p.w,
	    sgate_session_get(
		p.w.mgr, B(made.token), SGATE_NO_DATA, &s, &p.w.err),
	    SGATE_OK);
	assert_string_equal(manager_served_by(p.w.mgr), ROW);
	assert_bytes(sgate_session_get_data(s), "{}");
	sgate_session_free(s);
	s = pair_get(&p, made.token, COPY);
	assert_bytes(sgate_session_get_data(s), "{\"a\":1}");
	sgate_session_free(s);
	made_clear(&made);
	pair_stop(&p);
}

/* ---- much data ---- */

#define MUCH 5000

/* "ann", with much data; its text in `data`. */
static void
create_with_much(struct pair *p, char data[MUCH + 1], struct made *out)
{
	struct sgate_create create = {.user_id = B("ann")};

	memset(data, 'x', MUCH);
	memcpy(data, "{\"a\":\"", 6);
	memcpy(data + MUCH - 2, "\"}", 3);
	create.data = bytes_of(data);
	world_create_with(&p->w, &create, out);
}

/* A look that needs no data. */
static void
expect_without_data(struct pair *p, const char *token, const char *served_by,
    const char *operation)
{
	unsigned before = cache_fake_calls(operation);
	struct sgate_session *s = NULL;

	assert_status(&p->w,
	    sgate_session_get(p->w.mgr, B(token),
		SGATE_NO_DATA | SGATE_NO_TOUCH, &s, &p->w.err),
	    SGATE_OK);
	assert_string_equal(manager_served_by(p->w.mgr), served_by);
	assert_bytes(sgate_session_get_user_id(s), "ann");
	assert_bytes(sgate_session_get_data(s), "{}");
	sgate_session_free(s);
	assert_int_equal(cache_fake_calls(operation), before + 1);
}

static void
expect_with_data(
    struct pair *p, const char *token, const char *served_by, const char *data)
{
	struct sgate_session *s = pair_get(p, token, served_by);

	assert_bytes(sgate_session_get_data(s), data);
	sgate_session_free(s);
}

static void
who_needs_no_data_peeks_where_there_is_much(void **state)
{
	char data[MUCH + 1];
	struct made much, little;
	struct pair p;
	unsigned reads;
	int i;

	(void)state;
	pair_start(&p);
	create_with_much(&p, data, &much);
	world_create(&p.w, "ann", &little);
	reads = fake_calls("session_get");
	expect_without_data(&p, little.token, COPY, "get");
	expect_without_data(&p, much.token, COPY, "get");
	for (i = 0; i < 100; i++)
		expect_without_data(&p, much.token, COPY, "peek");
	expect_with_data(&p, much.token, COPY, data);
	/* Until there has been none of it for a while. */
	for (i = 0; i < 32; i++)
		expect_without_data(&p, little.token, COPY, "peek");
	expect_without_data(&p, little.token, COPY, "get");
	assert_int_equal(fake_calls("session_get"), reads);
	made_clear(&much);
	made_clear(&little);
	pair_stop(&p);
}

static void
who_may_not_peek_does_not_try_each_time(void **state)
{
	char data[MUCH + 1];
	struct made made;
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	create_with_much(&p, data, &made);
	cache_fake_refuse_peeks();
	expect_without_data(&p, made.token, COPY, "get");
	expect_without_data(&p, made.token, COPY, "peek");
	for (i = 0; i < 100; i++)
		expect_without_data(&p, made.token, COPY, "get");
	assert_int_equal(cache_fake_calls("peek"), 1);
	made_clear(&made);
	pair_stop(&p);
}

static void
flip(const struct sgate_ref *ref, size_t at)
{
	struct sgate_bytes copy = pair_save(ref);
	char *bytes = (char *)(uintptr_t)copy.data;

	bytes[at] ^= 1;
	pair_put_back(ref, copy);
	free(bytes);
}

/* The next look peeks. */
static void
start_with_much(struct pair *p, char data[MUCH + 1], struct made *out)
{
	pair_start(p);
	create_with_much(p, data, out);
	expect_without_data(p, out->token, COPY, "get");
}

static void
a_head_with_a_wrong_seal_is_a_wrong_seal(void **state)
{
	char data[MUCH + 1];
	struct made made;
	struct pair p;

	(void)state;
	start_with_much(&p, data, &made);
	flip(&made.ref, RECORD_BODY_OFFSET + 20);
	expect_without_data(&p, made.token, ROW, "peek");
	assert_int_equal(pair_count(&p, STORES_BAD_SEALS), 1);
	assert_int_equal(pair_count(&p, STORES_REPAIRED), 1);
	expect_with_data(&p, made.token, COPY, data);
	made_clear(&made);
	pair_stop(&p);
}

/* Who needs no data does not look; who does asks the row, and repairs it. */
static void
data_with_a_wrong_seal_is_nobodys_data(void **state)
{
	char data[MUCH + 1];
	struct made made;
	struct pair p;

	(void)state;
	start_with_much(&p, data, &made);
	flip(&made.ref, 3000);
	expect_without_data(&p, made.token, COPY, "peek");
	assert_int_equal(pair_count(&p, STORES_BAD_SEALS), 0);
	expect_with_data(&p, made.token, ROW, data);
	assert_int_equal(pair_count(&p, STORES_BAD_SEALS), 1);
	expect_with_data(&p, made.token, COPY, data);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_peeked_copy_is_judged_as_each_other(void **state)
{
	char data[MUCH + 1];
	struct sgate_session *s;
	struct made made;
	struct pair p;

	(void)state;
	start_with_much(&p, data, &made);
	/* Below the fence. */
	pair_other_change(&p, &made.ref);
	fence_raise(
	    &p.stores.fence, token_ref_group(&made.ref), fence_mark(1, 1));
	expect_without_data(&p, made.token, ROW, "peek");
	pair_round(&p, &p.stores);
	expect_without_data(&p, made.token, COPY, "peek");
	/* Ended. */
	assert_status(&p.w,
	    sgate_session_end(
		p.w.mgr, &made.ref, SGATE_REASON_LOGGED_OUT, &p.w.err),
	    SGATE_OK);
	assert_status(&p.w,
	    sgate_session_get(
		p.w.mgr, B(made.token), SGATE_NO_DATA, &s, &p.w.err),
	    SGATE_NOT_FOUND);
	assert_int_equal(p.w.err.reason, SGATE_REASON_LOGGED_OUT);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_tombstone_refuses_with_its_reason_and_asks_nobody(void **state)
{
	struct buf text = {0};
	struct made made;
	struct pair p;
	unsigned reads;
	int reason;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	reads = fake_calls("session_get");
	for (reason = SGATE_REASON_EXPIRED_IDLE; reason <= SGATE_REASON_BINDING;
	     reason++) {
		buf_reset(&text);
		/* Of whatever epoch, beside whatever sync. */
		record_tombstone_write(
		    &(struct record_store){.epoch = reason % 2 ? 1 : 7},
		    &(struct record_tombstone){1, (enum sgate_reason)reason, 1},
		    &text);
		cache_fake_set_record(&made.ref, buf_bytes(&text), HOUR);
		pair_expect(
		    &p, p.w.mgr, made.token, (enum sgate_reason)reason, COPY);
		cache_fake_set_sync(token_ref_group(&made.ref), "");
	}
	/* One that cannot be read refuses as well. */
	cache_fake_set_record(&made.ref, B("T"), HOUR);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_REVOKED, COPY);
	assert_int_equal(fake_calls("session_get"), reads);
	assert_int_equal(pair_count(&p, STORES_REFUSED_TOMBSTONE),
	    SGATE_REASON_BINDING - SGATE_REASON_EXPIRED_IDLE + 2);
	buf_clear(&text);
	made_clear(&made);
	pair_stop(&p);
}

/* ---- not believed ---- */

static void
a_copy_below_the_fence_is_not_believed(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_other_change(&p, &made.ref);
	pair_poll(&p, &p.stores);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(pair_count(&p, STORES_DISTRUSTED), 1);
	assert_int_equal(pair_count(&p, STORES_SERVED_DURABLE), 1);
	/* It is not believed because the row was, either. */
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	pair_round(&p, &p.stores);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_copy_beside_no_sync_or_a_foreign_one_is_not_believed(void **state)
{
	static const char *const syncs[] = {"",
	    "9 a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5 1", /* another store */
	    "9", "nonsense"};
	struct made made;
	struct pair p;
	size_t i;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	for (i = 0; i < sizeof(syncs) / sizeof(syncs[0]); i++) {
		cache_fake_set_sync(token_ref_group(&made.ref), syncs[i]);
		pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	}
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	made_clear(&made);
	pair_stop(&p);
}

/* A Redis of another database, whose copies and syncs agree. */
static void
a_redis_of_another_store_is_not_believed(void **state)
{
	struct other other;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	memset(fake_server()->store.id, 0x77, 16);
	pair_other_open(&p, &other);
	pair_round(&p, &other.stores);
	world_create(&p.w, "ann", &made);
	pair_expect(&p, other.mgr, made.token, SGATE_REASON_OK, COPY);
	memset(fake_server()->store.id, 0x5a, 16);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	pair_other_close(&other);
	made_clear(&made);
	pair_stop(&p);
}

/* Its copies are sealed for it. */
static void
a_copy_of_another_store_is_a_wrong_seal(void **state)
{
	struct sgate_bytes copy;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	memset(fake_server()->store.id, 0x77, 16);
	world_create(&p.w, "ann", &made);
	copy = pair_save(&made.ref);
	memset(fake_server()->store.id, 0x5a, 16);
	pair_round(&p, &p.stores);
	pair_put_back(&made.ref, copy);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(pair_count(&p, STORES_BAD_SEALS), 1);
	/* It was replaced by one of ours. */
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	free((void *)(uintptr_t)copy.data);
	made_clear(&made);
	pair_stop(&p);
}

/* Trace 16: the epoch is that of the sync beside it, never the host's own. */
static void
a_copy_of_an_older_epoch_is_doubt(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	fake_server()->store.epoch = 2;
	pair_round(&p, &p.stores);
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	pair_durable_back(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(pair_count(&p, STORES_DOUBTED), 2);
	assert_int_equal(pair_count(&p, STORES_BAD_SEALS), 0);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_stop(&p);
}

/* A host that does not know of the restore yet: sync is of the new epoch. */
static void
a_host_blind_to_the_new_epoch_does_not_serve_the_old_one(void **state)
{
	struct other other;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_other_open(&p, &other);
	fake_server()->store.epoch = 2;
	pair_round(&p, &other.stores);
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	pair_other_close(&other);
	made_clear(&made);
	pair_stop(&p);
}

/* Trace 7: an old dump with an unchanged number logs active users out. */
static void
an_idle_expired_copy_is_doubt(void **state)
{
	struct sgate_session *s;
	struct durable_touch touch;
	struct sgate_bytes old;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	old = pair_save(&made.ref);
	p.w.now_ms += 25 * MINUTE;
	memset(&touch, 0, sizeof(touch));
	touch.ref = made.ref;
	touch.last_seen_ms = p.w.now_ms;
	assert_status(
	    &p.w, manager_touch_write(p.w.mgr, &touch, 1, &p.w.err), SGATE_OK);
	p.w.now_ms += 20 * MINUTE;
	pair_put_back(&made.ref, old);
	s = pair_get(&p, made.token, ROW);
	assert_int_equal(
	    sgate_session_get_last_seen_ms(s), p.w.now_ms - 20 * MINUTE);
	sgate_session_free(s);
	assert_int_equal(pair_count(&p, STORES_DOUBTED), 1);
	/* Nor is it a reason to say no when MySQL is away. */
	pair_put_back(&made.ref, old);
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	free((void *)(uintptr_t)old.data);
	made_clear(&made);
	pair_stop(&p);
}

/* The same after an outage of MySQL that was longer than the idle timeout. */
static void
an_idle_expired_row_is_live_by_its_copy(void **state)
{
	struct sgate_session *s;
	struct cache_touch touch;
	struct cache *cache;
	struct sgate_error err;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	p.w.now_ms += 60 * MINUTE;
	touch.ref = made.ref;
	touch.last_seen_ms = p.w.now_ms - MINUTE;
	touch.ttl_ms = HOUR;
	assert_int_equal(cache_fake.open(p.w.conf, &cache, &err), SGATE_OK);
	assert_int_equal(cache_fake.touch(cache, &touch, 1, &err), SGATE_OK);
	cache_fake.close(cache);
	/* The copy is not trusted: its last_seen counts all the same. */
	pair_other_change(&p, &made.ref);
	pair_poll(&p, &p.stores);
	s = pair_get(&p, made.token, ROW);
	assert_int_equal(
	    sgate_session_get_last_seen_ms(s), p.w.now_ms - MINUTE);
	sgate_session_free(s);
	/* Nor does it stand beside a sync, for what it was sealed is known. */
	cache_fake_set_sync(token_ref_group(&made.ref), "");
	s = pair_get(&p, made.token, ROW);
	sgate_session_free(s);
	assert_int_equal(pair_count(&p, STORES_BAD_SEALS), 0);
	/* By ref, and for a change, too. */
	assert_int_equal(world_look_at(&p.w, &made.ref), SGATE_REASON_OK);
	update(&p, p.w.mgr, &made.ref, "{\"a\":1}");
	s = world_row(&p.w, &made.ref);
	assert_int_equal(s->last_seen_ms, p.w.now_ms - MINUTE);
	sgate_session_free(s);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_copy_seen_in_the_future_counts_as_now(void **state)
{
	struct sgate_session *s;
	struct cache_touch touch;
	struct cache *cache;
	struct sgate_error err;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	touch.ref = made.ref;
	touch.last_seen_ms = p.w.now_ms + 100 * HOUR;
	touch.ttl_ms = 8 * HOUR;
	assert_int_equal(cache_fake.open(p.w.conf, &cache, &err), SGATE_OK);
	assert_int_equal(cache_fake.touch(cache, &touch, 1, &err), SGATE_OK);
	cache_fake.close(cache);
	s = pair_get(&p, made.token, COPY);
	assert_int_equal(sgate_session_get_last_seen_ms(s), p.w.now_ms);
	sgate_session_free(s);
	p.w.now_ms += 8 * HOUR;
	pair_expect(
	    &p, p.w.mgr, made.token, SGATE_REASON_EXPIRED_ABSOLUTE, COPY);
	made_clear(&made);
	pair_stop(&p);
}

/* That moment never changes, so any copy of ours tells it. */
static void
absolute_expiry_is_judged_on_any_well_sealed_copy(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_other_change(&p, &made.ref);
	fake_server()->store.epoch = 2;
	pair_poll(&p, &p.stores);
	pair_durable_down(&p);
	p.w.now_ms += 8 * HOUR - 1;
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	p.w.now_ms += 1;
	pair_expect(
	    &p, p.w.mgr, made.token, SGATE_REASON_EXPIRED_ABSOLUTE, COPY);
	made_clear(&made);
	pair_stop(&p);
}

/* ---- seals ---- */

/* With a byte of the body changed, and claiming that version. */
static void
spoil(const struct sgate_ref *ref, const char *version12)
{
	struct sgate_bytes copy = pair_save(ref);
	char *data = (char *)(uintptr_t)copy.data;

	data[RECORD_BODY_OFFSET + 20] ^= 1;
	memcpy(data + RECORD_VERSION_OFFSET + 4, version12, 12);
	memcpy(data + RECORD_LAST_SEEN_OFFSET, "9999999999999", 13);
	pair_put_back(ref, copy);
	free(data);
}

static void
a_wrong_seal_is_counted_and_replaced_whatever_it_claims(void **state)
{
	static const char *const versions[] = {
	    "000000000000", "000000000001", "999999999999"};
	struct sgate_session *s;
	struct made made;
	struct pair p;
	size_t i;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	for (i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		spoil(&made.ref, versions[i]);
		s = pair_get(&p, made.token, ROW);
		/* Its last_seen is nobody's. */
		assert_int_equal(sgate_session_get_last_seen_ms(s), p.w.now_ms);
		sgate_session_free(s);
		assert_int_equal(pair_count(&p, STORES_BAD_SEALS), i + 1);
		assert_int_equal(pair_count(&p, STORES_REPAIRED), i + 1);
		pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
		assert_int_equal(pair_version(&made.ref), 1);
	}
	pair_durable_down(&p);
	spoil(&made.ref, versions[1]);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	made_clear(&made);
	pair_stop(&p);
}

static void
put_newer_back(struct moment *moment)
{
	pair_put_back(&moment->made->ref, moment->bytes);
}

/* Trace 19: what has come there since is not what had the wrong seal. */
static void
a_wrong_seal_is_replaced_only_where_it_still_stands(void **state)
{
	struct moment moment;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	update(&p, p.w.mgr, &made.ref, "{\"a\":1}");
	pair_round(&p, &p.stores);
	moment = (struct moment){.operation = "put",
	    .is_after = true, /* between the first put and the second */
	    .act = put_newer_back,
	    .p = &p,
	    .made = &made,
	    .bytes = pair_save(&made.ref),
	    .times = 1};
	spoil(&made.ref, "999999999999");
	cache_fake_set_hook(at_moment, &moment);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(moment.times, 0);
	assert_true(bytes_equal(cache_fake_record(&made.ref), moment.bytes));
	free((void *)(uintptr_t)moment.bytes.data);
	made_clear(&made);
	pair_stop(&p);
}

static void
put_tombstone(struct moment *moment)
{
	struct buf text = {0};

	record_tombstone_write(&fake_server()->store,
	    &(struct record_tombstone){2, SGATE_REASON_LOGGED_OUT, 1}, &text);
	cache_fake_set_record(&moment->made->ref, buf_bytes(&text), HOUR);
	buf_clear(&text);
}

static void
a_tombstone_that_comes_before_the_second_put_refuses(void **state)
{
	struct moment moment;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	moment = (struct moment){.operation = "put",
	    .is_after = true,
	    .act = put_tombstone,
	    .made = &made,
	    .times = 1};
	spoil(&made.ref, "999999999999");
	cache_fake_set_hook(at_moment, &moment);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_LOGGED_OUT, COPY);
	made_clear(&made);
	pair_stop(&p);
}

/* A good copy of one session in another's place is nobody's. */
static void
another_sessions_copy_is_a_wrong_seal(void **state)
{
	struct made ann, bob;
	struct sgate_bytes copy;
	struct sgate_session *s;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &ann);
	world_create(&p.w, "bob", &bob);
	copy = pair_save(&bob.ref);
	pair_put_back(&ann.ref, copy);
	s = pair_get(&p, ann.token, ROW);
	assert_bytes(sgate_session_get_user_id(s), "ann");
	sgate_session_free(s);
	assert_int_equal(pair_count(&p, STORES_BAD_SEALS), 1);
	free((void *)(uintptr_t)copy.data);
	made_clear(&ann);
	made_clear(&bob);
	pair_stop(&p);
}

/* ---- secrets ---- */

static void
the_secret_before_is_served_by_a_copy_while_it_is_in_grace(void **state)
{
	char token[SGATE_TOKEN_LEN + 1];
	struct sgate_session *s;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	rotate(&p, made.token, token);
	pair_round(&p, &p.stores);
	s = pair_get(&p, made.token, COPY);
	assert_string_equal(sgate_session_new_token(s), token);
	sgate_session_free(s);
	p.w.now_ms += 10000;
	s = pair_get(&p, made.token, COPY);
	sgate_session_free(s);
	/* Later only the row knows that the successor was not used yet. */
	p.w.now_ms += 1;
	s = pair_get(&p, made.token, ROW);
	assert_string_equal(sgate_session_new_token(s), token);
	sgate_session_free(s);
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	made_clear(&made);
	pair_stop(&p);
}

/* Trace 11: the honest user's newest cookie, a copy from before it. */
static void
a_mismatch_on_a_copy_is_doubt_and_never_a_theft(void **state)
{
	char first[SGATE_TOKEN_LEN + 1], second[SGATE_TOKEN_LEN + 1];
	struct sgate_bytes old;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	old = pair_save(&made.ref);
	rotate(&p, made.token, first);
	pair_expect(&p, p.w.mgr, first, SGATE_REASON_OK, COPY);
	p.w.now_ms += 10001;
	rotate(&p, first, second);
	pair_round(&p, &p.stores);
	pair_put_back(&made.ref, old);
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, second, SGATE_REASON_STORE, "");
	pair_durable_back(&p);
	pair_expect(&p, p.w.mgr, second, SGATE_REASON_OK, ROW);
	assert_int_equal(world_audit(&p.w, "end", &made.ref), 0);
	free((void *)(uintptr_t)old.data);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_theft_is_judged_on_the_row_and_leaves_a_tombstone(void **state)
{
	char first[SGATE_TOKEN_LEN + 1], second[SGATE_TOKEN_LEN + 1];
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	rotate(&p, made.token, first);
	pair_round(&p, &p.stores);
	assert_int_equal(world_look(&p.w, first), SGATE_REASON_OK);
	p.w.now_ms += 10001;
	rotate(&p, first, second);
	pair_round(&p, &p.stores);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_THEFT, ROW);
	assert_int_equal(pair_tombstone(&made.ref), SGATE_REASON_THEFT);
	pair_expect(&p, p.w.mgr, second, SGATE_REASON_THEFT, COPY);
	made_clear(&made);
	pair_stop(&p);
}

/* Trace 15: rotated since the dump. The row is older than the token. */
static void
a_token_newer_than_the_row_is_refused_and_ends_nothing(void **state)
{
	char token[SGATE_TOKEN_LEN + 1];
	struct sgate_session *before, *row;
	struct sgate_error err;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	before = world_row(&p.w, &made.ref);
	rotate(&p, made.token, token);
	/* The dump is loaded: the row is as before, and so is Redis's copy. */
	p.keeper->deadline_ms = clock_monotonic_ms() + 10000;
	assert_int_equal(durable_fake.begin(p.keeper, &err), SGATE_OK);
	assert_int_equal(
	    durable_fake.session_store(p.keeper, before, &err), SGATE_OK);
	assert_int_equal(durable_fake.commit(p.keeper, &err), SGATE_OK);
	fake_server()->store.epoch = 2;
	pair_round(&p, &p.stores);
	pair_expect(&p, p.w.mgr, token, SGATE_REASON_UNKNOWN, ROW);
	assert_int_equal(pair_count(&p, STORES_ROWS_OLDER), 1);
	assert_int_equal(manager_rows_older(p.w.mgr), 1);
	row = world_row(&p.w, &made.ref);
	assert_int_equal(row->state, SESSION_LIVE);
	sgate_session_free(row);
	assert_int_equal(world_audit(&p.w, "end", NULL), 0);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	sgate_session_free(before);
	made_clear(&made);
	pair_stop(&p);
}

/* ---- repair ---- */

static void
what_the_cache_does_not_have_is_put_there(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	cache_fake_set_record(&made.ref, B(""), 0);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(pair_count(&p, STORES_CACHE_MISSES), 1);
	assert_int_equal(pair_count(&p, STORES_REPAIRED), 1);
	assert_int_equal(cache_fake_ttl(&made.ref), 34 * MINUTE);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	/* Not after a flush, until a keeper's round. */
	cache_fake_flush();
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(pair_count(&p, STORES_REPAIRED), 1);
	pair_round(&p, &p.stores);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_stop(&p);
}

static void
end_by_other(struct moment *moment)
{
	struct pair *p = moment->p;

	assert_status(&p->w,
	    sgate_session_end(moment->other, &moment->made->ref,
		SGATE_REASON_LOGGED_OUT, &p->w.err),
	    SGATE_OK);
}

/* Trace 5, H3: the row was read, then the session ends, then the put. */
static void
an_end_between_row_and_put_is_seen(void **state)
{
	struct moment moment;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	cache_fake_set_record(&made.ref, B(""), 0);
	moment = (struct moment){.operation = "put",
	    .act = end_by_other,
	    .p = &p,
	    .made = &made,
	    .other = pair_manager(&p),
	    .times = 1};
	cache_fake_set_hook(at_moment, &moment);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_LOGGED_OUT, COPY);
	assert_int_equal(pair_state(&made.ref), 'T');
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_LOGGED_OUT, COPY);
	sgate_manager_free(moment.other);
	made_clear(&made);
	pair_stop(&p);
}

/* The same where the tombstone was lost and only sync tells. */
static void
end_and_forget(struct moment *moment)
{
	end_by_other(moment);
	cache_fake_set_record(&moment->made->ref, B(""), 0);
	pair_round(moment->p, &moment->p->stores);
}

static void
a_change_of_the_group_since_the_row_was_read_reads_it_again(void **state)
{
	struct moment moment;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	cache_fake_set_record(&made.ref, B(""), 0);
	moment = (struct moment){.operation = "put",
	    .act = end_and_forget,
	    .p = &p,
	    .made = &made,
	    .other = pair_manager(&p),
	    .times = 1};
	cache_fake_set_hook(at_moment, &moment);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_LOGGED_OUT, ROW);
	assert_int_equal(pair_state(&made.ref), '\0');
	assert_int_equal(pair_count(&p, STORES_PUT_RETRIES), 1);
	sgate_manager_free(moment.other);
	made_clear(&made);
	pair_stop(&p);
}

static void
change_another(struct moment *moment)
{
	pair_other_change(moment->p, &moment->made->ref);
	pair_round(moment->p, &moment->p->stores);
}

static void
a_row_is_read_again_twice_and_then_believed(void **state)
{
	struct moment moment;
	struct made made;
	struct pair p;
	unsigned reads;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	cache_fake_set_record(&made.ref, B(""), 0);
	moment = (struct moment){.operation = "put",
	    .act = change_another,
	    .p = &p,
	    .made = &made,
	    .times = 1000};
	cache_fake_set_hook(at_moment, &moment);
	reads = fake_calls("session_get");
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(fake_calls("session_get"), reads + 3);
	assert_int_equal(pair_count(&p, STORES_PUT_RETRIES), 3);
	assert_int_equal(pair_state(&made.ref), '\0');
	/* MySQL goes away between: what was read is a moment old. */
	fake_script("session_get", 2, FAKE_UNAVAILABLE);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	moment.times = 1;
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(pair_state(&made.ref), 'L');
	made_clear(&made);
	pair_stop(&p);
}

/* The newer row has another secret: what was judged first does not stand. */
static void
rotate_twice_by_other(struct moment *moment)
{
	struct pair *p = moment->p;
	struct sgate_manager *own = p->w.mgr;
	char first[SGATE_TOKEN_LEN + 1], second[SGATE_TOKEN_LEN + 1];

	p->w.mgr = moment->other;
	rotate(p, moment->made->token, first);
	assert_int_equal(world_look(&p->w, first), SGATE_REASON_OK);
	p->w.now_ms += 10001;
	rotate(p, first, second);
	p->w.mgr = own;
	cache_fake_set_record(&moment->made->ref, B(""), 0);
	pair_round(p, &p->stores);
}

static void
a_theft_on_the_row_read_again_is_not_overlooked(void **state)
{
	struct sgate_session *s = NULL;
	struct moment moment;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	cache_fake_set_record(&made.ref, B(""), 0);
	moment = (struct moment){.operation = "put",
	    .act = rotate_twice_by_other,
	    .p = &p,
	    .made = &made,
	    .other = pair_manager(&p),
	    .times = 1};
	cache_fake_set_hook(at_moment, &moment);
	/* The theft cannot be recorded: that is no reason to go on. */
	fake_script("begin", 3, FAKE_UNAVAILABLE);
	fake_script("begin", 4, FAKE_UNAVAILABLE);
	assert_status(&p.w,
	    sgate_session_get(
		p.w.mgr, B(made.token), SGATE_NO_TOUCH, &s, &p.w.err),
	    SGATE_UNAVAILABLE);
	assert_null(s);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_THEFT, ROW);
	sgate_manager_free(moment.other);
	made_clear(&made);
	pair_stop(&p);
}

static void
update_by_other(struct moment *moment)
{
	update(moment->p, moment->other, &moment->made->ref, "{\"a\":2}");
}

/* HAVE: somebody put the same or a newer version there. */
static void
a_newer_copy_that_comes_between_stays(void **state)
{
	struct moment moment;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	cache_fake_set_record(&made.ref, B(""), 0);
	moment = (struct moment){.operation = "put",
	    .act = update_by_other,
	    .p = &p,
	    .made = &made,
	    .other = pair_manager(&p),
	    .times = 1};
	cache_fake_set_hook(at_moment, &moment);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(pair_version(&made.ref), 2);
	sgate_manager_free(moment.other);
	made_clear(&made);
	pair_stop(&p);
}

/* ---- a store that is away ---- */

static void
without_redis_everything_comes_from_mysql(void **state)
{
	struct made made;
	struct pair p;
	unsigned calls;
	int i;

	(void)state;
	pair_start(&p);
	pair_cache_down();
	world_create(&p.w, "ann", &made);
	for (i = 0; i < TRIALS; i++)
		pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	/* Refused once: nobody asks again but the keeper. */
	calls = cache_fake_calls(NULL);
	assert_int_equal(calls, 1);
	assert_int_equal(pair_count(&p, STORES_CACHE_ERRORS), 1);
	assert_true(pair_count(&p, STORES_CACHE_SKIPPED) >= TRIALS);
	update(&p, p.w.mgr, &made.ref, "{\"a\":1}");
	assert_int_equal(world_look_at(&p.w, &made.ref), SGATE_REASON_OK);
	assert_status(&p.w,
	    sgate_session_end(
		p.w.mgr, &made.ref, SGATE_REASON_LOGGED_OUT, &p.w.err),
	    SGATE_OK);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_LOGGED_OUT, ROW);
	assert_int_equal(cache_fake_calls(NULL), calls);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_redis_that_hangs_costs_three_waits(void **state)
{
	struct made made;
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	cache_fake_set_down(true, CACHE_FAKE_LATE);
	i = (int)cache_fake_calls(NULL);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(cache_fake_calls(NULL), i + 2);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(cache_fake_calls(NULL), i + 3);
	pair_cache_back(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_stop(&p);
}

/* It answers: reads are good, and no breaker opens. */
static void
a_redis_that_refuses_writes_is_read(void **state)
{
	struct made made;
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	cache_fake_set_read_only(true);
	for (i = 0; i < 5; i++)
		update(&p, p.w.mgr, &made.ref, "{\"a\":1}");
	assert_false(breaker_is_open(&p.stores.cache));
	/* The old copy is still there: not for this host, once it has polled.
	 */
	pair_poll(&p, &p.stores);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(pair_version(&made.ref), 1);
	cache_fake_set_read_only(false);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	assert_int_equal(pair_version(&made.ref), 6);
	made_clear(&made);
	pair_stop(&p);
}

static void
without_mysql_copies_serve_and_all_else_is_unavailable(void **state)
{
	struct sgate_update u = {.data_patch = B("{}")};
	struct sgate_create create = {.user_id = B("bob")};
	struct sgate_session *s = NULL;
	struct sgate_list *list = NULL;
	struct made made;
	struct pair p;
	char *token = NULL;
	unsigned calls;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	calls = fake_calls("session_get") + fake_calls("begin");
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	assert_status(&p.w,
	    sgate_session_create(p.w.mgr, &create, &s, &token, &p.w.err),
	    SGATE_UNAVAILABLE);
	assert_non_null(strstr(p.w.err.text, "does not answer"));
	assert_int_equal(p.w.err.reason, SGATE_REASON_STORE);
	assert_status(&p.w,
	    sgate_session_update(p.w.mgr, &made.ref, &u, NULL, &p.w.err),
	    SGATE_UNAVAILABLE);
	assert_status(&p.w,
	    sgate_session_rotate(p.w.mgr, B(made.token), &s, &token, &p.w.err),
	    SGATE_UNAVAILABLE);
	assert_status(&p.w,
	    sgate_session_extend(p.w.mgr, B(made.token), &s, &p.w.err),
	    SGATE_UNAVAILABLE);
	assert_status(&p.w,
	    sgate_session_get_by_ref(p.w.mgr, &made.ref, &s, &p.w.err),
	    SGATE_UNAVAILABLE);
	assert_status(&p.w,
	    sgate_session_end_token(
		p.w.mgr, B(made.token), SGATE_REASON_LOGGED_OUT, &p.w.err),
	    SGATE_UNAVAILABLE);
	assert_status(&p.w,
	    sgate_user_sessions(p.w.mgr, B("ann"), 9, &list, &p.w.err),
	    SGATE_UNAVAILABLE);
	assert_null(s);
	assert_null(token);
	assert_null(list);
	assert_int_equal(
	    fake_calls("session_get") + fake_calls("begin"), calls);
	assert_int_equal(pair_count(&p, STORES_DURABLE_SKIPPED), 7);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_mysql_that_hangs_costs_three_waits(void **state)
{
	struct made made;
	struct pair p;
	unsigned calls;
	int i;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_cache_down();
	for (i = 1; i <= 3; i++)
		fake_script("session_get", (unsigned)i, FAKE_UNAVAILABLE);
	calls = fake_calls("session_get");
	for (i = 0; i < 10; i++)
		pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	assert_int_equal(fake_calls("session_get"), calls + 3);
	assert_int_equal(pair_count(&p, STORES_DURABLE_ERRORS), 3);
	assert_int_equal(pair_count(&p, STORES_UNAVAILABLE), 10);
	pair_durable_back(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	made_clear(&made);
	pair_stop(&p);
}

/* A full disk, a lock, a table that is missing: reads may be fine. */
static void
errors_that_mysql_answers_open_no_breaker(void **state)
{
	struct sgate_update u = {.data_patch = B("{}")};
	struct made made;
	struct pair p;
	int i;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_cache_down();
	for (i = 0; i < 8; i++) {
		fake_script("audit_insert", 1, FAKE_REFUSED);
		fake_script("audit_insert", 2, FAKE_REFUSED);
		assert_status(&p.w,
		    sgate_session_update(
			p.w.mgr, &made.ref, &u, NULL, &p.w.err),
		    SGATE_UNAVAILABLE);
	}
	assert_false(breaker_is_open(&p.stores.durable));
	assert_int_equal(pair_count(&p, STORES_DURABLE_ERRORS), 16);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	/* While it is open such an error does not close it, either. */
	manager_set_stores(p.w.mgr, NULL);
	p.w.mgr->round_after_ms = INT64_MAX;
	breaker_open(&p.w.mgr->own_stores.durable, 1);
	fake_script("audit_insert", 1, FAKE_REFUSED);
	fake_script("audit_insert", 2, FAKE_REFUSED);
	assert_status(&p.w, sgate_user_unblock(p.w.mgr, B("ann"), &p.w.err),
	    SGATE_UNAVAILABLE);
	assert_true(breaker_is_open(&p.w.mgr->own_stores.durable));
	made_clear(&made);
	pair_stop(&p);
}

/* What the store says, whatever it is, is an answer: it is there. */
static void
answers_of_mysql_open_no_breaker(void **state)
{
	const enum fake_answer answers[] = {
	    FAKE_CORRUPT, FAKE_CONFLICT, FAKE_NO_MEMORY};
	struct sgate_session *s = NULL;
	struct made made;
	struct pair p;
	size_t i;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	for (i = 0; i < 12; i++) {
		fake_script("session_get", 1, answers[i % 3]);
		assert_int_not_equal(
		    sgate_session_get_by_ref(p.w.mgr, &made.ref, &s, &p.w.err),
		    SGATE_OK);
	}
	assert_false(breaker_is_open(&p.stores.durable));
	assert_int_equal(world_look_at(&p.w, &made.ref), SGATE_REASON_OK);
	made_clear(&made);
	pair_stop(&p);
}

/* ---- blind ---- */

static void
a_blind_host_asks_mysql_first_and_the_copy_after_it(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_age(&p.stores, 3 * p.w.conf->fence.poll_interval_ms + 1000);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, ROW);
	fake_script("session_get", 1, FAKE_UNAVAILABLE);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	assert_int_equal(pair_count(&p, STORES_SERVED_BLIND), 1);
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	assert_int_equal(pair_count(&p, STORES_SERVED_BLIND), 2);
	assert_int_equal(pair_count(&p, STORES_UNAVAILABLE), 0);
	pair_age(&p.stores, p.w.conf->fence.max_blind_ms - 1000);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	pair_age(&p.stores, p.w.conf->fence.max_blind_ms + 1);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	assert_int_equal(pair_count(&p, STORES_UNAVAILABLE), 1);
	made_clear(&made);
	pair_stop(&p);
}

/*
 * A breaker was opened, and then the keeper hangs that would close it: workers
 * find out that MySQL is back, and do not serve copies as if it were not.
 */
static void
without_a_keeper_workers_find_out_when_a_store_is_back(void **state)
{
	struct made made, other;
	struct pair p;
	unsigned calls;
	int i;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	pair_durable_down(&p);
	pair_cache_down();
	breaker_open(&p.stores.cache, clock_monotonic_ms());
	cache_fake_set_down(false, CACHE_FAKE_UNAVAILABLE);
	pair_age(&p.stores, 20000);
	/* It is the keeper's to ask. */
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	world_probe_is_late(&p.stores.durable);
	calls = fake_calls("session_get");
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	assert_int_equal(fake_calls("session_get"), calls + 1);
	assert_non_null(strstr(p.w.err.text, "has just come back"));
	/* One answer is not enough, and the next probe is the keeper's too. */
	assert_int_equal(breaker_state(&p.stores.durable), BREAKER_OPEN);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	pair_durable_back(&p);
	pair_cache_back(&p);
	world_create(&p.w, "bea", &other);
	made_clear(&other);
	/* One of many, while it is still away. */
	world_probe_is_late(&p.stores.durable);
	fake_script("session_get", 1, FAKE_UNAVAILABLE);
	calls = fake_calls("session_get");
	for (i = 0; i < 5; i++)
		pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	assert_int_equal(fake_calls("session_get"), calls + 1);
	assert_int_equal(breaker_state(&p.stores.durable), BREAKER_OPEN);
	assert_int_equal(pair_count(&p, STORES_SERVED_BLIND), 5);
	made_clear(&made);
	pair_stop(&p);
}

static void
how_long_blind_is_a_setting(void **state)
{
	struct sgate_conf *conf;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	conf = p.w.mgr->conf;
	pair_durable_down(&p);
	conf->fence.max_blind_ms = 0;
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	pair_age(&p.stores, 3 * conf->fence.poll_interval_ms + 1000);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	conf->fence.max_blind_ms = -1;
	pair_age(&p.stores, 60000);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	made_clear(&made);
	pair_stop(&p);
}

/* To be blind is no reason to believe what would not be believed else. */
static void
a_blind_host_believes_no_worse_copy(void **state)
{
	struct made made;
	struct pair p;
	int64_t blind_ms;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	blind_ms = 3 * p.w.conf->fence.poll_interval_ms + 1000;
	pair_other_change(&p, &made.ref);
	pair_poll(&p, &p.stores);
	pair_age(&p.stores, blind_ms);
	pair_durable_down(&p);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	pair_round(&p, &p.stores);
	pair_age(&p.stores, blind_ms);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_OK, COPY);
	p.w.now_ms += 34 * MINUTE;
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, "");
	made_clear(&made);
	pair_stop(&p);
}

/* The row was read: that the end could not be written changes no verdict. */
static void
a_blind_host_does_not_believe_a_copy_over_the_row_it_has_read(void **state)
{
	char first[SGATE_TOKEN_LEN + 1], second[SGATE_TOKEN_LEN + 1];
	struct sgate_bytes old;
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	old = pair_save(&made.ref);
	rotate(&p, made.token, first);
	assert_int_equal(world_look(&p.w, first), SGATE_REASON_OK);
	p.w.now_ms += 10001;
	rotate(&p, first, second);
	pair_round(&p, &p.stores);
	pair_put_back(&made.ref, old);
	pair_age(&p.stores, 3 * p.w.conf->fence.poll_interval_ms + 1000);
	fake_script("begin", 1, FAKE_UNAVAILABLE);
	fake_script("begin", 2, FAKE_UNAVAILABLE);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_STORE, ROW);
	/* A damaged row is not "cannot answer" either. */
	fake_script("session_get", 1, FAKE_CORRUPT);
	assert_status(&p.w,
	    sgate_session_validate(
		p.w.mgr, B(made.token), &(struct sgate_ref){{0}}, &p.w.err),
	    SGATE_CORRUPT);
	free((void *)(uintptr_t)old.data);
	made_clear(&made);
	pair_stop(&p);
}

static void
a_session_that_mysql_does_not_know_is_none(void **state)
{
	struct made made;
	struct pair p;

	(void)state;
	pair_start(&p);
	world_create(&p.w, "ann", &made);
	fake_reset(true);
	cache_fake_flush();
	pair_round(&p, &p.stores);
	pair_expect(&p, p.w.mgr, made.token, SGATE_REASON_UNKNOWN, ROW);
	made_clear(&made);
	pair_stop(&p);
}

static const struct CMUnitTest manager_look[] = {
    cmocka_unit_test(a_copy_at_the_fence_serves_without_mysql),
    cmocka_unit_test(a_sync_past_the_fence_is_believed),
    cmocka_unit_test(data_is_left_out_of_a_copy_as_of_a_row),
    cmocka_unit_test(who_needs_no_data_peeks_where_there_is_much),
    cmocka_unit_test(who_may_not_peek_does_not_try_each_time),
    cmocka_unit_test(a_head_with_a_wrong_seal_is_a_wrong_seal),
    cmocka_unit_test(data_with_a_wrong_seal_is_nobodys_data),
    cmocka_unit_test(a_peeked_copy_is_judged_as_each_other),
    cmocka_unit_test(a_tombstone_refuses_with_its_reason_and_asks_nobody),
    cmocka_unit_test(a_copy_below_the_fence_is_not_believed),
    cmocka_unit_test(a_copy_beside_no_sync_or_a_foreign_one_is_not_believed),
    cmocka_unit_test(a_redis_of_another_store_is_not_believed),
    cmocka_unit_test(a_copy_of_another_store_is_a_wrong_seal),
    cmocka_unit_test(a_copy_of_an_older_epoch_is_doubt),
    cmocka_unit_test(a_host_blind_to_the_new_epoch_does_not_serve_the_old_one),
    cmocka_unit_test(an_idle_expired_copy_is_doubt),
    cmocka_unit_test(an_idle_expired_row_is_live_by_its_copy),
    cmocka_unit_test(a_copy_seen_in_the_future_counts_as_now),
    cmocka_unit_test(absolute_expiry_is_judged_on_any_well_sealed_copy),
    cmocka_unit_test(a_wrong_seal_is_counted_and_replaced_whatever_it_claims),
    cmocka_unit_test(a_wrong_seal_is_replaced_only_where_it_still_stands),
    cmocka_unit_test(a_tombstone_that_comes_before_the_second_put_refuses),
    cmocka_unit_test(another_sessions_copy_is_a_wrong_seal),
    cmocka_unit_test(
	the_secret_before_is_served_by_a_copy_while_it_is_in_grace),
    cmocka_unit_test(a_mismatch_on_a_copy_is_doubt_and_never_a_theft),
    cmocka_unit_test(a_theft_is_judged_on_the_row_and_leaves_a_tombstone),
    cmocka_unit_test(a_token_newer_than_the_row_is_refused_and_ends_nothing),
    cmocka_unit_test(what_the_cache_does_not_have_is_put_there),
    cmocka_unit_test(an_end_between_row_and_put_is_seen),
    cmocka_unit_test(
	a_change_of_the_group_since_the_row_was_read_reads_it_again),
    cmocka_unit_test(a_row_is_read_again_twice_and_then_believed),
    cmocka_unit_test(a_theft_on_the_row_read_again_is_not_overlooked),
    cmocka_unit_test(a_newer_copy_that_comes_between_stays),
    cmocka_unit_test(without_redis_everything_comes_from_mysql),
    cmocka_unit_test(a_redis_that_hangs_costs_three_waits),
    cmocka_unit_test(a_redis_that_refuses_writes_is_read),
    cmocka_unit_test(without_mysql_copies_serve_and_all_else_is_unavailable),
    cmocka_unit_test(a_mysql_that_hangs_costs_three_waits),
    cmocka_unit_test(errors_that_mysql_answers_open_no_breaker),
    cmocka_unit_test(answers_of_mysql_open_no_breaker),
    cmocka_unit_test(a_blind_host_asks_mysql_first_and_the_copy_after_it),
    cmocka_unit_test(without_a_keeper_workers_find_out_when_a_store_is_back),
    cmocka_unit_test(how_long_blind_is_a_setting),
    cmocka_unit_test(a_blind_host_believes_no_worse_copy),
    cmocka_unit_test(
	a_blind_host_does_not_believe_a_copy_over_the_row_it_has_read),
    cmocka_unit_test(a_session_that_mysql_does_not_know_is_none),
};

TAP_MAIN(manager_look)
