/*
 * The contract of cache.h: "redis: name_of_the_case". This file has the frame,
 * what cases share, and the cases of the fake's script.
 *
 * Compiled twice: alone, over the fake, with the cases of the wire, which need
 * no server; and with CONTRACT_REDIS over a private Redis, a program of its
 * own, so that it can be skipped.
 */
#include "config.h"

#include "cache_cases.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "token.h"
#ifdef CONTRACT_REDIS
#include "cache_server.h"
#else
#include "cache_fake.h"
#endif

#define CASES_MAX 128
#define BUDGET_MS 10000

struct run {
	char name[128];
	const struct cache_ops *ops;
	const struct contract_case *contract;
};

/* ---- what cases share ---- */

void
allow_ms(struct fixture *f, int64_t budget_ms)
{
	f->a->deadline_ms = clock_monotonic_ms() + budget_ms;
	f->b->deadline_ms = f->a->deadline_ms;
}

struct cache *
open_handle(struct fixture *f)
{
	struct cache *c = NULL;

	assert_ok(f, f->ops->open(&f->conf, &c, &f->err));
	c->deadline_ms = clock_monotonic_ms() + BUDGET_MS;
	return c;
}

void
check_status(struct fixture *f, enum sgate_status expected,
    enum sgate_status got, const char *call, const char *file, int line)
{
	if (got == expected)
		return;
	fprintf(stderr, "%s\n  is \"%s\", not \"%s\": %s\n", call,
	    sgate_status_text(got), sgate_status_text(expected), f->err.text);
	_fail(file, line);
}

static void
show(const char *what, struct sgate_bytes bytes)
{
	struct buf text = {0};

	if (bytes.len > 200)
		bytes.len = 200;
	buf_add_escaped(&text, bytes);
	fprintf(stderr, "%s: %s\n", what,
	    bytes.data == NULL ? "none" : buf_text(&text));
	buf_clear(&text);
}

void
check_bytes(struct sgate_bytes got, struct sgate_bytes expected,
    const char *file, int line)
{
	if (got.len == expected.len &&
	    (got.len == 0 || memcmp(got.data, expected.data, got.len) == 0))
		return;
	show("got", got);
	show("expected", expected);
	_fail(file, line);
}

struct sgate_ref
make_ref(unsigned group, unsigned number)
{
	struct sgate_ref ref = {{0}};

	/* The group byte mod 16 is the group. */
	ref.bytes[0] = (unsigned char)(0xa0 + group);
	ref.bytes[1] = 0xff;
	ref.bytes[10] = (unsigned char)(number >> 8);
	ref.bytes[11] = (unsigned char)number;
	return ref;
}

static char *
next_text(void)
{
	static char texts[32][256];
	static unsigned next;

	return texts[next++ % 32];
}

struct sgate_bytes
make_record(unsigned epoch, unsigned version, int64_t seen_ms, const char *body)
{
	char *text = next_text();

	snprintf(text, 256, "L%04u%012u%013" PRId64 "%s", epoch, version,
	    seen_ms, body);
	return bytes_of(text);
}

struct sgate_bytes
make_tombstone(unsigned epoch, unsigned version)
{
	char *text = next_text();

	snprintf(text, 256, "T%04u%012u%02d", epoch, version,
	    SGATE_REASON_LOGGED_OUT);
	return bytes_of(text);
}

struct cache_item
make_item(unsigned number, struct sgate_bytes record)
{
	struct cache_item item = {
	    make_ref(GROUP, number), record, 10 * MINUTE_MS};

	return item;
}

enum cache_put
put_over(struct fixture *f, unsigned number, struct sgate_bytes record,
    uint64_t s0, struct sgate_bytes only_over)
{
	struct cache_item item = make_item(number, record);
	enum cache_put answer;
	struct cache_copy copy;

	assert_ok(f,
	    f->ops->put(f->a, &item, s0, only_over, &answer, &copy, &f->err));
	assert_true((copy.record.len > 0) == (answer == CACHE_PUT_ENDED));
	if (answer == CACHE_PUT_ENDED)
		assert_record(number, copy.record);
	return answer;
}

enum cache_put
put(struct fixture *f, unsigned number, struct sgate_bytes record, uint64_t s0)
{
	return put_over(f, number, record, s0, NONE);
}

void
end(struct fixture *f, unsigned number, struct sgate_bytes tombstone)
{
	struct cache_item item = make_item(number, tombstone);

	assert_ok(f, f->ops->end(f->a, &item, 1, 0, &f->err));
}

void
touch(struct fixture *f, unsigned number, int64_t seen_ms, int64_t ttl_ms)
{
	struct cache_touch item = {make_ref(GROUP, number), seen_ms, ttl_ms};

	assert_ok(f, f->ops->touch(f->a, &item, 1, &f->err));
}

void
check_record(
    unsigned number, struct sgate_bytes expected, const char *file, int line)
{
	struct sgate_ref ref = make_ref(GROUP, number);
	struct sgate_bytes got = raw_record(&ref);

	if ((got.data == NULL) != (expected.data == NULL)) {
		show("got", got);
		show("expected", expected);
		_fail(file, line);
	}
	check_bytes(got, expected, file, line);
}

void
check_ttl(unsigned number, int64_t ttl_ms, const char *file, int line)
{
	struct sgate_ref ref = make_ref(GROUP, number);
	int64_t got = raw_ttl(&ref);

	if (got <= ttl_ms && got > ttl_ms - 1000)
		return;
	fprintf(stderr, "lives %" PRId64 " ms, not %" PRId64 "\n", got, ttl_ms);
	_fail(file, line);
}

/* ---- the fake alone ---- */

#ifndef CONTRACT_REDIS

struct sgate_bytes
raw_record(const struct sgate_ref *ref)
{
	return cache_fake_record(ref);
}

int64_t
raw_ttl(const struct sgate_ref *ref)
{
	return cache_fake_ttl(ref);
}

void
raw_set(const struct sgate_ref *ref, struct sgate_bytes record, int64_t ttl_ms)
{
	cache_fake_set_record(ref, record, ttl_ms);
}

struct sgate_bytes
raw_sync(unsigned group)
{
	const char *sync = cache_fake_sync(group);

	return *sync == '\0' ? NONE : bytes_of(sync);
}

void
raw_set_sync(unsigned group, struct sgate_bytes sync)
{
	char text[CACHE_SYNC_MAX + 1];

	cache_sync_copy(sync, text);
	cache_fake_set_sync(group, text);
}

static void
the_nth_call_answers_as_scripted_and_the_next_is_normal(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_copy copy;

	cache_fake_script("get", 2, CACHE_FAKE_UNAVAILABLE);
	cache_fake_script("get", 3, CACHE_FAKE_NO_MEMORY);
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_int_equal(f->err.reason, SGATE_REASON_STORE);
	assert_int_not_equal(f->err.native_code, 0);
	assert_status(
	    f, SGATE_NO_MEMORY, f->ops->get(f->b, &ref, &copy, &f->err));
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_int_equal(cache_fake_calls("get"), 4);
	assert_int_equal(cache_fake_calls(NULL), 4);
}

static void
what_is_late_is_done_when_it_wakes(struct fixture *f)
{
	struct cache_item item = make_item(1, make_record(1, 2, 5, "b"));
	struct cache_item tombstone = make_item(2, make_tombstone(1, 3));
	enum cache_put answer;
	struct cache_copy copy;

	cache_fake_set_sync(GROUP, "1 s");
	cache_fake_script("put", 1, CACHE_FAKE_LATE);
	cache_fake_script("end", 1, CACHE_FAKE_LATE);
	cache_fake_script("end", 2, CACHE_FAKE_DONE);
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->put(f->a, &item, 1, NONE, &answer, &copy, &f->err));
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->end(f->a, &tombstone, 1, 0, &f->err));
	assert_record(1, NONE);
	assert_record(2, NONE);
	cache_fake_wake();
	assert_record(1, item.record);
	assert_record(2, tombstone.record);
	tombstone = make_item(4, make_tombstone(1, 3));
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->end(f->a, &tombstone, 1, 0, &f->err));
	assert_record(4, tombstone.record);
}

static void
what_was_not_saved_is_gone_after_a_restore(struct fixture *f)
{
	(void)f;
	cache_fake_set_sync(GROUP, "1 s");
	assert_int_equal(put(f, 1, make_record(1, 1, 5, "b"), 1), CACHE_PUT_OK);
	cache_fake_save();
	end(f, 1, make_tombstone(1, 2));
	cache_fake_set_sync(GROUP, "2 s");
	cache_fake_restore();
	assert_record(1, make_record(1, 1, 5, "b"));
	assert_string_equal(cache_fake_sync(GROUP), "1 s");
	cache_fake_flush();
	assert_record(1, NONE);
	assert_int_equal(cache_fake_count(), 0);
}

static void
its_time_goes_on_as_it_is_told(struct fixture *f)
{
	end(f, 1, make_tombstone(1, 2));
	cache_fake_pass(10 * MINUTE_MS - 1);
	assert_int_equal(cache_fake_count(), 1);
	cache_fake_pass(1);
	assert_int_equal(cache_fake_count(), 0);
	assert_record(1, NONE);
}

static void
end_from_hook(void *arg, const char *operation, bool is_after)
{
	struct fixture *f = arg;

	if (strcmp(operation, "get") == 0 && is_after)
		end(f, 1, make_tombstone(1, 9));
}

static void
another_handle_comes_between(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct sgate_bytes record = make_record(1, 1, 5, "b");
	struct cache_copy copy;

	cache_fake_set_sync(GROUP, "1 s");
	assert_int_equal(put(f, 1, record, 1), CACHE_PUT_OK);
	cache_fake_set_hook(end_from_hook, f);
	assert_ok(f, f->ops->get(f->b, &ref, &copy, &f->err));
	assert_bytes(copy.record, record);
	assert_record(1, make_tombstone(1, 9));
}

static void
it_is_down_read_only_or_full_as_it_is_told(struct fixture *f)
{
	struct cache_item item = make_item(1, make_record(1, 1, 5, "b"));
	enum cache_put answer;
	struct cache_copy copy;

	cache_fake_set_down(true, CACHE_FAKE_UNAVAILABLE);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(f->a, &f->err));
	cache_fake_set_down(false, CACHE_FAKE_UNAVAILABLE);
	assert_ok(f, f->ops->ping(f->a, &f->err));
	cache_fake_set_full(true);
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->put(f->a, &item, 1, NONE, &answer, &copy, &f->err));
	assert_int_equal(f->err.native_code, 0);
	end(f, 1, make_tombstone(1, 2));
	cache_fake_set_full(false);
	cache_fake_set_read_only(true);
	item = make_item(1, make_tombstone(1, 3));
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->end(f->a, &item, 1, 0, &f->err));
	assert_ok(f, f->ops->get(f->a, &item.ref, &copy, &f->err));
}

#define CASE(name)                                                             \
	{                                                                      \
#name, name                                                    \
	}
const struct contract_case fake_cases[] = {
    CASE(the_nth_call_answers_as_scripted_and_the_next_is_normal),
    CASE(what_is_late_is_done_when_it_wakes),
    CASE(what_was_not_saved_is_gone_after_a_restore),
    CASE(its_time_goes_on_as_it_is_told), CASE(another_handle_comes_between),
    CASE(it_is_down_read_only_or_full_as_it_is_told), {NULL, NULL}};

#endif

/* ---- the frame ---- */

static void
run_case(void **state)
{
	const struct run *run = *state;
	struct fixture f = {.ops = run->ops};
	static char empty[] = "", prefix[] = "sg", nowhere[] = "unix:/nowhere";

	f.conf.redis.address = nowhere;
	f.conf.redis.user = empty;
	f.conf.redis.password_file = empty;
	f.conf.redis.prefix = prefix;
#ifdef CONTRACT_REDIS
	server_open_case(&f);
#else
	cache_fake_reset();
#endif
	f.a = open_handle(&f);
	f.b = open_handle(&f);
	run->contract->run(&f);
	f.ops->close(f.b);
	f.ops->close(f.a);
#ifdef CONTRACT_REDIS
	server_close_case(&f);
#else
	cache_fake_reset();
#endif
}

static size_t
add_runs(struct run *runs, size_t count, const struct cache_ops *ops,
    const struct contract_case *cases)
{
	for (; cases->name != NULL; cases++) {
		if (count == CASES_MAX)
			abort();
		snprintf(runs[count].name, sizeof(runs[count].name), "%s: %s",
		    ops->name, cases->name);
		runs[count].ops = ops;
		runs[count].contract = cases;
		count++;
	}
	return count;
}

static size_t
add_caches(struct run *runs)
{
	size_t count = 0;

#ifdef CONTRACT_REDIS
	count = add_runs(runs, count, &cache_redis, put_cases);
	count = add_runs(runs, count, &cache_redis, group_cases);
	count = add_runs(runs, count, &cache_redis, new_cases);
	return add_runs(runs, count, &cache_redis, redis_cases);
#else
	count = add_runs(runs, count, &cache_fake, put_cases);
	count = add_runs(runs, count, &cache_fake, group_cases);
	count = add_runs(runs, count, &cache_fake, new_cases);
	count = add_runs(runs, count, &cache_fake, fake_cases);
	return add_runs(runs, count, &cache_redis, wire_cases);
#endif
}

#ifdef CONTRACT_REDIS
#define SETUP server_open
#define TEARDOWN server_close
#else
#define SETUP NULL
#define TEARDOWN NULL
#endif

int
main(int argc, char **argv)
{
	static struct run runs[CASES_MAX];
	static struct CMUnitTest tests[CASES_MAX];
	char pattern[128];
	size_t count;
	size_t i;

#ifdef CONTRACT_REDIS
	if (server_missing() != NULL)
		return server_skip();
#endif
	count = add_caches(runs);
	for (i = 0; i < count; i++) {
		tests[i].name = runs[i].name;
		tests[i].test_func = run_case;
		tests[i].initial_state = &runs[i];
	}
	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (argc > 1) {
		snprintf(pattern, sizeof(pattern), "*%s*", argv[1]);
		cmocka_set_test_filter(pattern);
	}
	return _cmocka_run_group_tests("cache", tests, count, SETUP, TEARDOWN);
}
