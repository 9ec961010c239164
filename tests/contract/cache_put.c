/* The cache contract: looking, putting, touching and ending one session. */
#include "config.h"

#include "cache_cases.h"

#include <stdlib.h>
#include <string.h>

#include "token.h"

/* ---- get ---- */

static void
nothing_is_a_miss_and_no_error(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_copy copy;

	memset(&copy, 'x', sizeof(copy));
	assert_ok(f, f->ops->ping(f->a, &f->err));
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_int_equal(copy.record.len, 0);
	assert_string_equal(copy.sync, "");
}

static void
a_record_comes_with_the_sync_of_its_group(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct sgate_ref other = make_ref(GROUP + 1, 1);
	struct sgate_bytes record = make_record(1, 7, 5, "body");
	struct cache_copy copy;

	raw_set_sync(GROUP, bytes_of("12 store 1"));
	raw_set_sync(GROUP + 1, bytes_of("13 store 1"));
	raw_set(&ref, record, MINUTE_MS);
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_bytes(copy.record, record);
	assert_string_equal(copy.sync, "12 store 1");
	assert_ok(f, f->ops->get(f->a, &other, &copy, &f->err));
	assert_int_equal(copy.record.len, 0);
	assert_string_equal(copy.sync, "13 store 1");
}

static void
what_one_handle_writes_the_other_reads(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct sgate_bytes record = make_record(1, 7, 5, "body");
	struct cache_copy copy;

	raw_set_sync(GROUP, bytes_of("1 s"));
	assert_int_equal(put(f, 1, record, 1), CACHE_PUT_OK);
	assert_ok(f, f->ops->get(f->b, &ref, &copy, &f->err));
	assert_bytes(copy.record, record);
}

static void
records_hold_any_byte(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct buf record = {0};
	struct cache_copy copy;
	int i;

	raw_set_sync(GROUP, bytes_of("1 s"));
	buf_add_bytes(&record, make_record(1, 1, 5, ""));
	for (i = 0; i < 512; i++)
		buf_add_char(&record, (char)i);
	buf_add_text(&record, "\r\n$5\r\n*1\r\n-ERR\r\n");
	assert_int_equal(put(f, 1, buf_bytes(&record), 1), CACHE_PUT_OK);
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_bytes(copy.record, buf_bytes(&record));
	assert_record(1, buf_bytes(&record));
	buf_clear(&record);
}

static void
the_largest_record_fits_and_no_larger_one(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct buf record = {0};
	struct cache_item item;
	enum cache_put answer;
	struct cache_copy copy;

	raw_set_sync(GROUP, bytes_of("1 s"));
	buf_add_bytes(&record, make_record(1, 1, 5, ""));
	while (record.len < RECORD_MAX_BYTES)
		buf_add_char(&record, (char)record.len);
	assert_int_equal(put(f, 1, buf_bytes(&record), 1), CACHE_PUT_OK);
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_bytes(copy.record, buf_bytes(&record));
	buf_add_char(&record, 'x');
	item = make_item(1, buf_bytes(&record));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->put(f->a, &item, 1, NONE, &answer, &copy, &f->err));
	buf_clear(&record);
}

/* ---- peek ---- */

static void
a_peek_is_a_get_of_what_is_short(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct sgate_bytes record = make_record(1, 7, 5, "body");
	struct sgate_bytes tombstone = make_tombstone(1, 8);
	struct cache_copy copy;

	memset(&copy, 'x', sizeof(copy));
	assert_ok(f, f->ops->peek(f->a, &ref, &copy, &f->err));
	assert_int_equal(copy.record.len, 0);
	assert_string_equal(copy.sync, "");
	raw_set_sync(GROUP, bytes_of("12 store 1"));
	assert_ok(f, f->ops->peek(f->a, &ref, &copy, &f->err));
	assert_int_equal(copy.record.len, 0);
	assert_string_equal(copy.sync, "12 store 1");
	raw_set(&ref, record, MINUTE_MS);
	assert_ok(f, f->ops->peek(f->a, &ref, &copy, &f->err));
	assert_bytes(copy.record, record);
	assert_string_equal(copy.sync, "12 store 1");
	raw_set(&ref, tombstone, MINUTE_MS);
	assert_ok(f, f->ops->peek(f->a, &ref, &copy, NULL));
	assert_bytes(copy.record, tombstone);
}

static void
a_peek_gives_the_beginning_of_what_is_long(struct fixture *f)
{
	static const size_t lens[] = {RECORD_PEEK_BYTES - 1, RECORD_PEEK_BYTES,
	    RECORD_PEEK_BYTES + 1, RECORD_MAX_BYTES};
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct buf record = {0};
	struct cache_copy copy;
	struct sgate_bytes all;
	size_t i;

	raw_set_sync(GROUP, bytes_of("1 s"));
	buf_add_bytes(&record, make_record(1, 1, 5, ""));
	while (record.len < RECORD_MAX_BYTES)
		buf_add_char(&record, (char)record.len);
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		all = (struct sgate_bytes){record.data, lens[i]};
		raw_set(&ref, all, MINUTE_MS);
		assert_ok(f, f->ops->peek(f->a, &ref, &copy, &f->err));
		if (all.len > RECORD_PEEK_BYTES)
			all.len = RECORD_PEEK_BYTES;
		assert_bytes(copy.record, all);
		assert_string_equal(copy.sync, "1 s");
		assert_ok(f, f->ops->ping(f->a, &f->err));
	}
	buf_clear(&record);
}

/* ---- put ---- */

static void
without_a_sync_nothing_is_put(struct fixture *f)
{
	assert_int_equal(
	    put(f, 1, make_record(1, 1, 5, "b"), 9), CACHE_PUT_NOSYNC);
	assert_record(1, NONE);
	raw_set_sync(GROUP, bytes_of("nothing of ours"));
	assert_int_equal(
	    put(f, 1, make_record(1, 1, 5, "b"), 9), CACHE_PUT_NOSYNC);
	assert_record(1, NONE);
	/* Another group's is no help. */
	raw_set_sync(GROUP + 1, bytes_of("1 s"));
	assert_int_equal(
	    put(f, 1, make_record(1, 1, 5, "b"), 9), CACHE_PUT_NOSYNC);
}

static void
a_row_that_may_be_older_than_sync_is_read_again(struct fixture *f)
{
	static const struct {
		const char *sync;
		uint64_t s0;
		enum cache_put answer;
	} cases[] = {{"7 s 1", 7, CACHE_PUT_OK}, {"7 s 1", 8, CACHE_PUT_OK},
	    {"8 s 1", 7, CACHE_PUT_RETRY},
	    /* Numbers, not texts. */
	    {"10 s 1", 9, CACHE_PUT_RETRY}, {"9 s 1", 10, CACHE_PUT_OK},
	    {"0 s 1", 0, CACHE_PUT_OK},
	    /* All of a mark's 50 bits. */
	    {"1125899906842623 s 1", UINT64_C(1125899906842622),
		CACHE_PUT_RETRY},
	    {"1125899906842623 s 1", UINT64_C(1125899906842623), CACHE_PUT_OK},
	    /* While many parts are brought, the old number stands in front. */
	    {"7 s 1;abc;3", 7, CACHE_PUT_OK},
	    {"7 s 1;abc;3", 6, CACHE_PUT_RETRY}};
	unsigned i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sgate_bytes record = make_record(1, 1, 5, "b");

		raw_set_sync(GROUP, bytes_of(cases[i].sync));
		assert_int_equal(
		    put(f, i, record, cases[i].s0), cases[i].answer);
		assert_record(
		    i, cases[i].answer == CACHE_PUT_OK ? record : NONE);
	}
}

static void
only_a_newer_version_replaces_one(struct fixture *f)
{
	struct sgate_bytes second = make_record(1, 2, 5, "second");

	raw_set_sync(GROUP, bytes_of("1 s"));
	assert_int_equal(put(f, 1, second, 1), CACHE_PUT_OK);
	assert_int_equal(
	    put(f, 1, make_record(1, 1, 9, "first"), 1), CACHE_PUT_HAVE);
	assert_int_equal(
	    put(f, 1, make_record(1, 2, 9, "other"), 1), CACHE_PUT_HAVE);
	assert_record(1, second);
	assert_int_equal(
	    put(f, 1, make_record(1, 3, 5, "third"), 1), CACHE_PUT_OK);
	assert_record(1, make_record(1, 3, 5, "third"));
	/* Also when the row may be old: HAVE says that this look is over. */
	raw_set_sync(GROUP, bytes_of("5 s"));
	assert_int_equal(
	    put(f, 1, make_record(1, 3, 5, "third"), 1), CACHE_PUT_HAVE);
}

static void
a_newer_epoch_is_newer_whatever_the_version(struct fixture *f)
{
	raw_set_sync(GROUP, bytes_of("1 s"));
	assert_int_equal(
	    put(f, 1, make_record(1, 900, 5, "old"), 1), CACHE_PUT_OK);
	assert_int_equal(
	    put(f, 1, make_record(2, 1, 5, "new"), 1), CACHE_PUT_OK);
	assert_int_equal(
	    put(f, 1, make_record(1, 901, 5, "old"), 1), CACHE_PUT_HAVE);
	assert_record(1, make_record(2, 1, 5, "new"));
}

static void
put_keeps_the_later_last_seen(struct fixture *f)
{
	raw_set_sync(GROUP, bytes_of("1 s"));
	assert_int_equal(
	    put(f, 1, make_record(1, 1, 500, "a"), 1), CACHE_PUT_OK);
	assert_int_equal(
	    put(f, 1, make_record(1, 2, 400, "b"), 1), CACHE_PUT_OK);
	assert_record(1, make_record(1, 2, 500, "b"));
	assert_int_equal(
	    put(f, 1, make_record(1, 3, 1600000000000, "c"), 1), CACHE_PUT_OK);
	assert_record(1, make_record(1, 3, 1600000000000, "c"));
}

/* What somebody planted there is not carried on. */
static void
put_keeps_no_last_seen_that_is_none(struct fixture *f)
{
	static const char *const planted[] = {"", "L", "L000", "x0001",
	    "L0000000000000000zzzzzzzzzzzzz", "L0000000000000000zzz",
	    "L00000000000000009999999999999999",
	    "L0000000000000000999999999999", "L000000000000000099999999999x9"};
	struct sgate_bytes record = make_record(1, 2, 500, "b");
	unsigned i;

	raw_set_sync(GROUP, bytes_of("1 s"));
	for (i = 0; i < sizeof(planted) / sizeof(planted[0]); i++) {
		struct sgate_ref ref = make_ref(GROUP, i);
		struct sgate_bytes got;

		raw_set(&ref, bytes_of(planted[i]), MINUTE_MS);
		put(f, i, record, 1);
		got = raw_record(&ref);
		if (bytes_equal(got, bytes_of(planted[i])))
			continue; /* HAVE: doubt, which force ends */
		assert_int_equal(got.len, record.len);
		assert_memory_equal(
		    got.data, record.data, RECORD_LAST_SEEN_OFFSET);
		assert_int_equal(
		    strspn(got.data + RECORD_LAST_SEEN_OFFSET, "0123456789"),
		    RECORD_BODY_OFFSET - RECORD_LAST_SEEN_OFFSET);
	}
}

static void
a_put_lives_as_long_as_it_says(struct fixture *f)
{
	raw_set_sync(GROUP, bytes_of("1 s"));
	put(f, 1, make_record(1, 1, 5, "a"), 1);
	assert_ttl(1, 10 * MINUTE_MS);
}

static void
nothing_is_put_over_a_tombstone(struct fixture *f)
{
	struct sgate_bytes tombstone = make_tombstone(1, 3);

	raw_set_sync(GROUP, bytes_of("1 s"));
	end(f, 1, tombstone);
	assert_int_equal(
	    put(f, 1, make_record(1, 2, 5, "b"), 1), CACHE_PUT_ENDED);
	assert_int_equal(
	    put(f, 1, make_record(1, 9, 5, "b"), 1), CACHE_PUT_ENDED);
	assert_int_equal(
	    put(f, 1, make_record(2, 1, 5, "b"), 1), CACHE_PUT_ENDED);
	assert_int_equal(
	    put(f, 1, make_record(1, 9, 5, "b"), 0), CACHE_PUT_ENDED);
	assert_int_equal(
	    put_over(f, 1, make_record(1, 9, 5, "b"), 1, make_tombstone(1, 3)),
	    CACHE_PUT_ENDED);
	assert_record(1, tombstone);
	/* Also without a sync: what has ended has. */
	raw_set_sync(GROUP, bytes_of("x"));
	assert_int_equal(
	    put(f, 1, make_record(1, 9, 5, "b"), 1), CACHE_PUT_ENDED);
}

/* ---- put over what has a wrong seal ---- */

static void
bytes_that_were_found_wrong_are_replaced(struct fixture *f)
{
	static const char *const wrong[] = {"L0001000000000009"
					    "9000000000000"
					    "forged",
	    "", "L", "x", "T",
	    "L0009999999999999"
	    "0000000000000",
	    "\x7f\xff\xfe garbage, longer "
	    "than the thirty bytes of a header"};
	struct sgate_bytes record = make_record(1, 2, 500, "b");
	unsigned i;

	raw_set_sync(GROUP, bytes_of("1 s"));
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct sgate_ref ref = make_ref(GROUP, i);
		bool has_ended = wrong[i][0] == 'T';

		raw_set(&ref, bytes_of(wrong[i]), MINUTE_MS);
		assert_int_equal(put_over(f, i, record, 1, bytes_of(wrong[i])),
		    has_ended ? CACHE_PUT_ENDED : CACHE_PUT_OK);
		/* Their last_seen counts for nothing either. */
		if (!has_ended)
			assert_record(i, record);
	}
}

static void
a_touch_since_does_not_keep_wrong_bytes(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct sgate_bytes record = make_record(1, 2, 500, "b");

	raw_set_sync(GROUP, bytes_of("1 s"));
	raw_set(&ref, make_record(1, 9, 100, "forged"), MINUTE_MS);
	touch(f, 1, 900, MINUTE_MS);
	assert_int_equal(
	    put_over(f, 1, record, 1, make_record(1, 9, 100, "forged")),
	    CACHE_PUT_OK);
	assert_record(1, record);
}

static void
other_bytes_than_those_that_were_found_wrong_stay(struct fixture *f)
{
	struct sgate_bytes wrong = make_record(1, 9, 100, "forged");
	struct sgate_bytes good = make_record(1, 3, 100, "good");
	struct sgate_ref ref = make_ref(GROUP, 1);

	raw_set_sync(GROUP, bytes_of("1 s"));
	raw_set(&ref, good, MINUTE_MS);
	assert_int_equal(put_over(f, 1, make_record(1, 2, 500, "b"), 1, wrong),
	    CACHE_PUT_HAVE);
	assert_record(1, good);
	/* One byte, in the header, in the body, or one more. */
	raw_set(&ref, make_record(2, 9, 100, "forged"), MINUTE_MS);
	assert_int_equal(put_over(f, 1, make_record(1, 2, 500, "b"), 1, wrong),
	    CACHE_PUT_HAVE);
	raw_set(&ref, make_record(1, 9, 100, "forgex"), MINUTE_MS);
	assert_int_equal(put_over(f, 1, make_record(1, 2, 500, "b"), 1, wrong),
	    CACHE_PUT_HAVE);
	raw_set(&ref, make_record(1, 9, 100, "forged+"), MINUTE_MS);
	assert_int_equal(put_over(f, 1, make_record(1, 2, 500, "b"), 1, wrong),
	    CACHE_PUT_HAVE);
	/* An older one is replaced as always, and its last_seen kept. */
	raw_set(&ref, make_record(1, 1, 700, "older"), MINUTE_MS);
	assert_int_equal(put_over(f, 1, make_record(1, 2, 500, "b"), 1, wrong),
	    CACHE_PUT_OK);
	assert_record(1, make_record(1, 2, 700, "b"));
}

static void
force_obeys_sync_too(struct fixture *f)
{
	struct sgate_bytes wrong = make_record(1, 9, 100, "forged");
	struct sgate_ref ref = make_ref(GROUP, 1);

	raw_set(&ref, wrong, MINUTE_MS);
	assert_int_equal(put_over(f, 1, make_record(1, 2, 500, "b"), 1, wrong),
	    CACHE_PUT_NOSYNC);
	raw_set_sync(GROUP, bytes_of("2 s"));
	assert_int_equal(put_over(f, 1, make_record(1, 2, 500, "b"), 1, wrong),
	    CACHE_PUT_RETRY);
	assert_record(1, wrong);
}

/* ---- touch ---- */

static void
touch_writes_a_later_last_seen_and_nothing_else(struct fixture *f)
{
	raw_set_sync(GROUP, bytes_of("1 s"));
	put(f, 1, make_record(1, 1, 1600000000000, "body"), 1);
	touch(f, 1, 1600000000001, 10 * MINUTE_MS);
	assert_record(1, make_record(1, 1, 1600000000001, "body"));
	touch(f, 1, 1600000000001, 10 * MINUTE_MS);
	touch(f, 1, 0, 10 * MINUTE_MS);
	touch(f, 1, 999999999999, 10 * MINUTE_MS);
	assert_record(1, make_record(1, 1, 1600000000001, "body"));
	touch(f, 1, 9999999999999, 10 * MINUTE_MS);
	assert_record(1, make_record(1, 1, 9999999999999, "body"));
}

static void
touch_never_makes_a_life_shorter(struct fixture *f)
{
	raw_set_sync(GROUP, bytes_of("1 s"));
	put(f, 1, make_record(1, 1, 5, "body"), 1);
	touch(f, 1, 6, MINUTE_MS);
	assert_record(1, make_record(1, 1, 6, "body"));
	assert_ttl(1, 10 * MINUTE_MS);
	touch(f, 1, 7, 20 * MINUTE_MS);
	assert_ttl(1, 20 * MINUTE_MS);
	/* What is not later is no activity. */
	touch(f, 1, 7, 30 * MINUTE_MS);
	assert_ttl(1, 20 * MINUTE_MS);
}

static void
touch_makes_nothing_and_wakes_no_one(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 3);

	touch(f, 1, 9, MINUTE_MS);
	assert_record(1, NONE);
	end(f, 2, make_tombstone(1, 2));
	touch(f, 2, 9, 90 * MINUTE_MS);
	assert_record(2, make_tombstone(1, 2));
	assert_ttl(2, 10 * MINUTE_MS);
	/* Nor does it stretch what is shorter than a header. */
	raw_set(&ref, bytes_of("L0001"), MINUTE_MS);
	touch(f, 3, 9, MINUTE_MS);
	assert_record(3, bytes_of("L0001"));
}

static void
many_touches_go_at_once(struct fixture *f)
{
	struct cache_touch touches[300];
	unsigned i;

	for (i = 0; i < 300; i++) {
		touches[i].ref = make_ref(i % 7 == 0 ? GROUP : i % 16, i);
		touches[i].last_seen_ms = 1000 + i;
		touches[i].ttl_ms = 20 * MINUTE_MS;
		if (i % 3 == 0)
			raw_set(&touches[i].ref, make_record(1, 1, 5, "b"),
			    MINUTE_MS);
		if (i % 3 == 1)
			raw_set(
			    &touches[i].ref, make_tombstone(1, 1), MINUTE_MS);
	}
	assert_ok(f, f->ops->touch(f->a, touches, 300, &f->err));
	for (i = 0; i < 300; i++) {
		struct sgate_bytes got = raw_record(&touches[i].ref);

		if (i % 3 == 0)
			assert_bytes(got, make_record(1, 1, 1000 + i, "b"));
		if (i % 3 == 1)
			assert_bytes(got, make_tombstone(1, 1));
		if (i % 3 == 2)
			assert_null(got.data);
	}
	assert_ok(f, f->ops->touch(f->a, NULL, 0, &f->err));
}

/* ---- misuse ---- */

static void
assert_put_is_misuse(
    struct fixture *f, const struct cache_item *item, uint64_t s0)
{
	enum cache_put answer = CACHE_PUT_OK;
	struct cache_copy copy;

	assert_status(f, SGATE_INTERNAL,
	    f->ops->put(f->a, item, s0, NONE, &answer, &copy, &f->err));
	assert_int_not_equal(answer, CACHE_PUT_OK);
	assert_record(1, NONE);
}

static void
what_is_no_record_is_not_put(struct fixture *f)
{
	struct cache_item item;

	raw_set_sync(GROUP, bytes_of("1 s"));
	item = make_item(1, make_tombstone(1, 1));
	assert_put_is_misuse(f, &item, 1);
	item = make_item(1, bytes_of("X00010000000000010000000000000"));
	assert_put_is_misuse(f, &item, 1);
	item = make_item(1, bytes_of("L0001000000000001000000000000"));
	assert_put_is_misuse(f, &item, 1);
	item = make_item(1, NONE);
	assert_put_is_misuse(f, &item, 1);
	item = make_item(1, (struct sgate_bytes){"\0", 1});
	assert_put_is_misuse(f, &item, 1);
	item = make_item(1, make_record(1, 1, 1, "b"));
	item.ttl_ms = 0;
	assert_put_is_misuse(f, &item, 1);
	item.ttl_ms = -5;
	assert_put_is_misuse(f, &item, 1);
	item.ttl_ms = INT64_MAX;
	assert_put_is_misuse(f, &item, 1);
	item.ttl_ms = 1000;
	assert_put_is_misuse(f, &item, UINT64_MAX);
	assert_put_is_misuse(f, &item, CACHE_NUMBER_MAX + 1);
}

static void
what_is_no_end_or_touch_is_not_done(struct fixture *f)
{
	struct cache_item items[2] = {make_item(1, make_tombstone(1, 2)),
	    make_item(2, make_record(1, 1, 1, "b"))};
	struct cache_touch touches[2] = {{make_ref(GROUP, 1), 9, MINUTE_MS},
	    {make_ref(GROUP, 2), -1, MINUTE_MS}};

	assert_status(
	    f, SGATE_INTERNAL, f->ops->end(f->a, items, 2, 0, &f->err));
	assert_record(1, NONE);
	raw_set(&touches[0].ref, make_record(1, 1, 1, "b"), MINUTE_MS);
	assert_status(
	    f, SGATE_INTERNAL, f->ops->touch(f->a, touches, 2, &f->err));
	touches[1].last_seen_ms = INT64_C(10000000000000);
	assert_status(
	    f, SGATE_INTERNAL, f->ops->touch(f->a, touches, 2, &f->err));
	touches[1].last_seen_ms = 5;
	touches[1].ttl_ms = 0;
	assert_status(
	    f, SGATE_INTERNAL, f->ops->touch(f->a, touches, 2, &f->err));
	assert_record(1, make_record(1, 1, 1, "b"));
}

static void
many_are_put_at_once_and_each_is_told_its_own(struct fixture *f)
{
	struct sgate_bytes tombstone = make_tombstone(3, 7);
	struct cache_putting puts[5];
	size_t i;

	memset(puts, 0, sizeof(puts));
	raw_set_sync(GROUP, bytes_of("5 s"));
	end(f, 2, tombstone);
	assert_int_equal(
	    put(f, 3, make_record(3, 4, 5, "new"), 5), CACHE_PUT_OK);
	for (i = 0; i < 5; i++) {
		puts[i].item = make_item(
		    (unsigned)i + 1, make_record((unsigned)i + 1, 3, 5, "m"));
		puts[i].s0 = 5;
	}
	puts[3].s0 = 4;
	/* Of a group without a sync. */
	puts[4].item.ref = make_ref(GROUP + 1, 5);
	assert_ok(f, f->ops->put_many(f->a, puts, 5, &f->err));
	assert_int_equal(puts[0].put, CACHE_PUT_OK);
	assert_int_equal(puts[1].put, CACHE_PUT_ENDED);
	assert_int_equal(puts[1].tombstone_len, tombstone.len);
	assert_memory_equal(puts[1].tombstone, tombstone.data, tombstone.len);
	assert_int_equal(puts[2].put, CACHE_PUT_HAVE);
	assert_int_equal(puts[3].put, CACHE_PUT_RETRY);
	assert_int_equal(puts[4].put, CACHE_PUT_NOSYNC);
	assert_record(1, make_record(1, 3, 5, "m"));
	assert_record(2, tombstone);
	assert_record(3, make_record(3, 4, 5, "new"));
	assert_record(4, NONE);
}

static void
as_many_as_allowed_are_put_at_once_and_no_more(struct fixture *f)
{
	static struct cache_putting puts[CACHE_PUTS_MAX + 1];
	unsigned i;

	raw_set_sync(GROUP, bytes_of("5 s"));
	memset(puts, 0, sizeof(puts));
	for (i = 0; i < CACHE_PUTS_MAX; i++) {
		puts[i].item = make_item(i + 1, make_record(i + 1, 1, 5, "m"));
		puts[i].s0 = 5;
	}
	assert_ok(f, f->ops->put_many(f->a, puts, CACHE_PUTS_MAX, &f->err));
	for (i = 0; i < CACHE_PUTS_MAX; i++)
		assert_int_equal(puts[i].put, CACHE_PUT_OK);
	puts[CACHE_PUTS_MAX] = puts[0];
	assert_status(f, SGATE_INTERNAL,
	    f->ops->put_many(f->a, puts, CACHE_PUTS_MAX + 1, &f->err));
	assert_status(f, SGATE_INTERNAL, f->ops->put_many(f->a, puts, 0, NULL));
	puts[1].item.ttl_ms = 0;
	assert_status(
	    f, SGATE_INTERNAL, f->ops->put_many(f->a, puts, 2, &f->err));
}

static void
an_error_may_be_left_out(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_item item = make_item(1, NONE);
	enum cache_put answer;
	struct cache_copy copy;

	assert_ok(f, f->ops->get(f->a, &ref, &copy, NULL));
	assert_status(f, SGATE_INTERNAL,
	    f->ops->put(f->a, &item, 1, NONE, &answer, &copy, NULL));
	f->ops->close(NULL);
}

#define CASE(name)                                                             \
	{                                                                      \
#name, name                                                    \
	}
const struct contract_case put_cases[] = {CASE(nothing_is_a_miss_and_no_error),
    CASE(a_record_comes_with_the_sync_of_its_group),
    CASE(what_one_handle_writes_the_other_reads), CASE(records_hold_any_byte),
    CASE(the_largest_record_fits_and_no_larger_one),
    CASE(a_peek_is_a_get_of_what_is_short),
    CASE(a_peek_gives_the_beginning_of_what_is_long),
    CASE(without_a_sync_nothing_is_put),
    CASE(a_row_that_may_be_older_than_sync_is_read_again),
    CASE(only_a_newer_version_replaces_one),
    CASE(a_newer_epoch_is_newer_whatever_the_version),
    CASE(put_keeps_the_later_last_seen),
    CASE(put_keeps_no_last_seen_that_is_none),
    CASE(a_put_lives_as_long_as_it_says), CASE(nothing_is_put_over_a_tombstone),
    CASE(bytes_that_were_found_wrong_are_replaced),
    CASE(a_touch_since_does_not_keep_wrong_bytes),
    CASE(other_bytes_than_those_that_were_found_wrong_stay),
    CASE(force_obeys_sync_too),
    CASE(touch_writes_a_later_last_seen_and_nothing_else),
    CASE(touch_never_makes_a_life_shorter),
    CASE(touch_makes_nothing_and_wakes_no_one), CASE(many_touches_go_at_once),
    CASE(what_is_no_record_is_not_put),
    CASE(many_are_put_at_once_and_each_is_told_its_own),
    CASE(as_many_as_allowed_are_put_at_once_and_no_more),
    CASE(what_is_no_end_or_touch_is_not_done), CASE(an_error_may_be_left_out),
    {NULL, NULL}};
