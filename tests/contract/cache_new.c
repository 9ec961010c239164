/*
 * The cache contract: sessions that the durable store has not got, and what
 * becomes of them when it has.
 */
#include "config.h"

#include "cache_cases.h"

#include <string.h>

#include "token.h"

static const unsigned char ann[TOKEN_USER_BYTES] = {1, 2, 3};
static const unsigned char bob[TOKEN_USER_BYTES] = {1, 2, 4};
#define NOBODY NULL
#define SET_MS (20 * MINUTE_MS)

/* 'U' of epoch and version, as make_record(). */
static struct sgate_bytes
make_new(unsigned epoch, unsigned version, int64_t seen_ms, const char *body)
{
	struct sgate_bytes record = make_record(epoch, version, seen_ms, body);

	((char *)(uintptr_t)record.data)[0] = 'U';
	return record;
}

static enum cache_put
create(struct fixture *f, unsigned number, const unsigned char *user,
    struct sgate_bytes record)
{
	struct cache_item item = make_item(number, record);
	enum cache_put answer;
	struct cache_copy copy;

	assert_ok(f, f->ops->create(f->a, &item, 8, user, SET_MS, 0, &answer,
			 &copy, &f->err));
	assert_true((copy.record.len > 0) == (answer == CACHE_PUT_ENDED));
	return answer;
}

static enum cache_put
land(struct fixture *f, unsigned number, const unsigned char *user,
    struct sgate_bytes record)
{
	struct cache_item item = make_item(number, record);
	enum cache_put answer;
	struct cache_copy copy;

	assert_ok(f, f->ops->land(f->a, &item, user, &answer, &copy, &f->err));
	assert_true((copy.record.len > 0) == (answer == CACHE_PUT_ENDED));
	return answer;
}

/* How many of GROUP the user has, asked by the other handle; `number` is among
 * them, or (0) need not be. Redis may give one twice: not in sets this small.
 */
static size_t
unlanded(struct fixture *f, const unsigned char *user, unsigned number)
{
	struct sgate_ref refs[CACHE_UNLANDED_MAX],
	    ref = make_ref(GROUP, number);
	bool is_there = number == 0;
	uint64_t cursor = 0;
	size_t i, count, all = 0;

	do {
		count = 9999;
		assert_ok(f, f->ops->unlanded(f->b, GROUP, user, &cursor, refs,
				 &count, &f->err));
		assert_true(count <= CACHE_UNLANDED_MAX);
		for (i = 0; i < count; i++)
			is_there = is_there ||
				   memcmp(&refs[i], &ref, sizeof(ref)) == 0;
		all += count;
	} while (cursor != 0);
	assert_true(is_there);
	return all;
}

static void
a_new_session_stands_there_and_in_its_users_set(struct fixture *f)
{
	struct sgate_bytes one = make_new(1, 1, 5, "one");
	struct sgate_bytes two = make_new(1, 1, 5, "two");

	assert_int_equal(unlanded(f, ann, 0), 0);
	assert_int_equal(create(f, 1, ann, one), CACHE_PUT_OK);
	assert_int_equal(create(f, 2, ann, two), CACHE_PUT_OK);
	assert_int_equal(create(f, 3, NOBODY, one), CACHE_PUT_OK);
	assert_record(1, one);
	assert_record(2, two);
	assert_record(3, one);
	assert_ttl(1, 10 * MINUTE_MS);
	assert_int_equal(unlanded(f, ann, 1), 2);
	assert_int_equal(unlanded(f, ann, 2), 2);
	assert_int_equal(unlanded(f, bob, 0), 0);
}

/* The spool tells it again: nothing comes of that. */
static void
creating_again_keeps_the_activity(struct fixture *f)
{
	assert_int_equal(
	    create(f, 1, ann, make_new(1, 1, 5, "x")), CACHE_PUT_OK);
	touch(f, 1, 9, 10 * MINUTE_MS);
	assert_int_equal(
	    create(f, 1, ann, make_new(1, 1, 5, "x")), CACHE_PUT_OK);
	assert_record(1, make_new(1, 1, 9, "x"));
	assert_int_equal(unlanded(f, ann, 1), 1);
}

static void
creating_again_brings_nothing_back(struct fixture *f)
{
	struct sgate_bytes tombstone = make_tombstone(1, 1);
	struct sgate_bytes landed = make_record(1, 1, 5, "x");
	struct sgate_bytes changed = make_record(1, 2, 5, "y");
	struct sgate_bytes epoch = make_new(2, 1, 5, "z");
	struct sgate_ref ref = make_ref(GROUP, 2);

	end(f, 1, tombstone);
	assert_int_equal(
	    create(f, 1, ann, make_new(1, 1, 5, "x")), CACHE_PUT_ENDED);
	assert_record(1, tombstone);
	raw_set(&ref, landed, MINUTE_MS);
	assert_int_equal(
	    create(f, 2, ann, make_new(1, 1, 5, "x")), CACHE_PUT_HAVE);
	assert_record(2, landed);
	raw_set(&ref, changed, MINUTE_MS);
	assert_int_equal(
	    create(f, 2, ann, make_new(1, 1, 5, "x")), CACHE_PUT_HAVE);
	assert_record(2, changed);
	raw_set(&ref, epoch, MINUTE_MS);
	assert_int_equal(
	    create(f, 2, ann, make_new(1, 1, 5, "x")), CACHE_PUT_HAVE);
	assert_record(2, epoch);
	assert_int_equal(unlanded(f, ann, 0), 0);
}

/*
 * Told again, of a session that has landed and changed, and whose record is
 * gone since: sync says that it is old. Without sync nobody believes it.
 */
static void
an_old_creation_is_not_told_again(struct fixture *f)
{
	struct sgate_bytes record = make_new(1, 1, 5, "x");

	raw_set_sync(GROUP, bytes_of("9 s"));
	assert_int_equal(create(f, 1, ann, record), CACHE_PUT_RETRY);
	assert_record(1, NONE);
	assert_int_equal(unlanded(f, ann, 0), 0);
	raw_set_sync(GROUP, bytes_of("8 s"));
	assert_int_equal(create(f, 1, ann, record), CACHE_PUT_OK);
	assert_record(1, record);
	raw_set_sync(GROUP, bytes_of("9 s"));
	assert_int_equal(create(f, 1, ann, record), CACHE_PUT_RETRY);
	assert_int_equal(unlanded(f, ann, 1), 1);
}

static void
landing_makes_it_a_copy_like_any_other(struct fixture *f)
{
	create(f, 1, ann, make_new(1, 1, 5, "x"));
	create(f, 2, NOBODY, make_new(1, 1, 5, "x"));
	touch(f, 1, 9, 10 * MINUTE_MS);
	assert_int_equal(
	    land(f, 1, ann, make_record(1, 1, 7, "x")), CACHE_PUT_OK);
	assert_record(1, make_record(1, 1, 9, "x"));
	assert_int_equal(
	    land(f, 2, NOBODY, make_record(1, 1, 7, "x")), CACHE_PUT_OK);
	assert_record(2, make_record(1, 1, 7, "x"));
	assert_int_equal(unlanded(f, ann, 0), 0);
	/* Once more, and where nothing is. */
	assert_int_equal(
	    land(f, 1, ann, make_record(1, 1, 99, "x")), CACHE_PUT_OK);
	assert_record(1, make_record(1, 1, 9, "x"));
	assert_int_equal(
	    land(f, 3, ann, make_record(1, 1, 7, "x")), CACHE_PUT_OK);
	assert_record(3, NONE);
}

static void
landing_changes_nothing_else(struct fixture *f)
{
	struct sgate_bytes tombstone = make_tombstone(1, 1);
	struct sgate_bytes changed = make_record(1, 2, 5, "y");
	struct sgate_bytes later = make_new(2, 1, 5, "z");
	struct sgate_ref ref = make_ref(GROUP, 1);

	create(f, 1, ann, make_new(1, 1, 5, "x"));
	end(f, 1, tombstone);
	assert_int_equal(unlanded(f, ann, 1), 1);
	assert_int_equal(
	    land(f, 1, ann, make_record(1, 1, 7, "x")), CACHE_PUT_ENDED);
	assert_record(1, tombstone);
	assert_int_equal(unlanded(f, ann, 0), 0);
	raw_set(&ref, changed, MINUTE_MS);
	assert_int_equal(
	    land(f, 1, ann, make_record(1, 1, 7, "x")), CACHE_PUT_OK);
	assert_record(1, changed);
	raw_set(&ref, later, MINUTE_MS);
	assert_int_equal(
	    land(f, 1, ann, make_record(1, 1, 7, "x")), CACHE_PUT_OK);
	assert_record(1, later);
}

/* A row that was read: the database has it. */
static void
a_put_takes_the_place_of_a_new_session(struct fixture *f)
{
	create(f, 1, ann, make_new(1, 1, 5, "x"));
	assert_int_equal(
	    put(f, 1, make_record(1, 1, 4, "x"), 7), CACHE_PUT_NOSYNC);
	raw_set_sync(GROUP, bytes_of("8 s"));
	assert_int_equal(
	    put(f, 1, make_record(1, 1, 4, "x"), 7), CACHE_PUT_RETRY);
	assert_record(1, make_new(1, 1, 5, "x"));
	assert_int_equal(put(f, 1, make_record(1, 1, 4, "x"), 8), CACHE_PUT_OK);
	assert_record(1, make_record(1, 1, 5, "x"));
	assert_int_equal(
	    put(f, 1, make_record(1, 1, 4, "x"), 8), CACHE_PUT_HAVE);
	/* Never of a newer one. */
	create(f, 2, ann, make_new(2, 1, 5, "x"));
	assert_int_equal(
	    put(f, 2, make_record(1, 1, 4, "x"), 8), CACHE_PUT_HAVE);
}

/* Page by page, each emptied as it is read, as a cleanup does. */
static void
a_large_set_comes_in_pages(struct fixture *f)
{
	struct sgate_ref refs[CACHE_UNLANDED_MAX];
	bool seen[2 * CACHE_UNLANDED_MAX] = {false};
	uint64_t cursor = 0;
	size_t i, count, pages = 0, all = 0;
	unsigned n;

	for (n = 1; n < 2 * CACHE_UNLANDED_MAX; n++)
		create(f, n, ann, make_new(1, 1, 5, "x"));
	create(f, n, bob, make_new(1, 1, 5, "x"));
	do {
		assert_ok(f, f->ops->unlanded(f->a, GROUP, ann, &cursor, refs,
				 &count, &f->err));
		pages++;
		for (i = 0; i < count; i++) {
			for (n = 1; n < 2 * CACHE_UNLANDED_MAX; n++) {
				struct sgate_ref ref = make_ref(GROUP, n);

				if (memcmp(&ref, &refs[i], sizeof(ref)) == 0)
					break;
			}
			assert_true(n < 2 * CACHE_UNLANDED_MAX);
			all += !seen[n];
			seen[n] = true;
		}
		if (count > 0)
			assert_ok(f, f->ops->landed(f->b, GROUP, ann, refs,
					 count, &f->err));
	} while (cursor != 0);
	assert_true(pages > 2);
	assert_int_equal(all, 2 * CACHE_UNLANDED_MAX - 1);
	assert_int_equal(unlanded(f, ann, 0), 0);
	assert_int_equal(unlanded(f, bob, 2 * CACHE_UNLANDED_MAX), 1);
}

/* There is none: it is written, and not enough. */
static void
a_creation_may_have_to_be_on_replicas(struct fixture *f)
{
	struct cache_item item = make_item(1, make_new(1, 1, 5, "x"));
	enum cache_put answer;
	struct cache_copy copy;

	/* Redis sees only ten times a second that a WAIT is over. This is the
	 * first creation: the script is sent as well. */
	allow_ms(f, 800);
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->create(
		f->a, &item, 8, ann, SET_MS, 1, &answer, &copy, &f->err));
	assert_int_equal(f->err.native_code, 0);
	assert_err(f, "replicas");
	allow_ms(f, 10000);
	assert_record(1, item.record);
	assert_int_equal(unlanded(f, ann, 1), 1);
}

static void
what_is_not_new_is_not_created(struct fixture *f)
{
	struct cache_item item = make_item(1, make_record(1, 1, 5, "x"));
	struct sgate_ref refs[CACHE_UNLANDED_MAX] = {{{0}}};
	struct cache_copy copy;
	enum cache_put answer;
	uint64_t cursor = 0;
	size_t count;

	assert_status(f, SGATE_INTERNAL,
	    f->ops->create(
		f->a, &item, 8, ann, SET_MS, 0, &answer, &copy, &f->err));
	item.record = make_new(1, 1, 5, "x");
	assert_status(f, SGATE_INTERNAL,
	    f->ops->create(f->a, &item, 8, ann, 0, 0, &answer, &copy, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->land(f->a, &item, ann, &answer, &copy, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->unlanded(
		f->a, TOKEN_GROUPS, ann, &cursor, refs, &count, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->landed(f->a, TOKEN_GROUPS, ann, refs, 1, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->landed(f->a, GROUP, ann, refs, 0, &f->err));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->landed(
		f->a, GROUP, ann, refs, CACHE_UNLANDED_MAX + 1, &f->err));
	assert_record(1, NONE);
}

#define CASE(name)                                                             \
	{                                                                      \
#name, name                                                    \
	}
const struct contract_case new_cases[] = {
    CASE(a_new_session_stands_there_and_in_its_users_set),
    CASE(creating_again_keeps_the_activity),
    CASE(creating_again_brings_nothing_back),
    CASE(an_old_creation_is_not_told_again),
    CASE(landing_makes_it_a_copy_like_any_other),
    CASE(landing_changes_nothing_else),
    CASE(a_put_takes_the_place_of_a_new_session),
    CASE(a_large_set_comes_in_pages),
    CASE(a_creation_may_have_to_be_on_replicas),
    CASE(what_is_not_new_is_not_created), {NULL, NULL}};
