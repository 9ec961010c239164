/* The cache contract: many sessions at once, sync, and what keepers apply. */
#include "config.h"

#include "cache_cases.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "token.h"

/* ---- end ---- */

static void
an_end_stands_over_whatever_was_there(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 3);

	raw_set_sync(GROUP, bytes_of("1 s"));
	put(f, 1, make_record(9, 900, 5, "newer than the end"), 1);
	end(f, 1, make_tombstone(1, 2));
	assert_record(1, make_tombstone(1, 2));
	assert_ttl(1, 10 * MINUTE_MS);
	end(f, 2, make_tombstone(1, 2));
	assert_record(2, make_tombstone(1, 2));
	raw_set(&ref, bytes_of("garbage"), 90 * MINUTE_MS);
	end(f, 3, make_tombstone(1, 2));
	assert_record(3, make_tombstone(1, 2));
	end(f, 3, make_tombstone(1, 5));
	assert_record(3, make_tombstone(1, 5));
	assert_ttl(3, 10 * MINUTE_MS);
}

/* Of all groups, mixed, some of them more than once. */
static void
many_ends_go_at_once(struct fixture *f)
{
	static struct cache_item items[2000];
	const size_t count = sizeof(items) / sizeof(items[0]);
	unsigned i;

	for (i = 0; i < count; i++) {
		items[i] = make_item(i, NONE);
		items[i].ref = make_ref(i * 7 % 16, i);
		items[i].record = bytes_of("T000100000000000207");
	}
	raw_set(&items[17].ref, make_record(1, 1, 5, "b"), MINUTE_MS);
	assert_ok(f, f->ops->end(f->a, items, count, 0, &f->err));
	for (i = 0; i < count; i++)
		assert_bytes(raw_record(&items[i].ref), items[i].record);
	assert_ok(f, f->ops->end(f->a, NULL, 0, 0, &f->err));
	assert_ok(f, f->ops->end(f->a, items, 1, 0, &f->err));
}

/* ---- sync ---- */

static void
every_group_has_its_sync(struct fixture *f)
{
	char sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];
	char longest[CACHE_SYNC_MAX + 1];
	unsigned i;

	memset(sync, 'x', sizeof(sync));
	assert_ok(f, f->ops->sync_get(f->a, sync, &f->err));
	for (i = 0; i < TOKEN_GROUPS; i++)
		assert_string_equal(sync[i], "");
	for (i = 0; i < TOKEN_GROUPS; i += 3) {
		char text[32];

		snprintf(text, sizeof(text), "%u store 1", 100 + i);
		assert_ok(f, f->ops->sync_set(f->a, i, text, &f->err));
	}
	memset(longest, '9', CACHE_SYNC_MAX);
	longest[CACHE_SYNC_MAX] = '\0';
	assert_ok(f, f->ops->sync_set(f->a, 15, longest, &f->err));
	assert_ok(f, f->ops->sync_get(f->b, sync, &f->err));
	assert_string_equal(sync[0], "100 store 1");
	assert_string_equal(sync[1], "");
	assert_string_equal(sync[12], "112 store 1");
	assert_string_equal(sync[15], longest);
	/* Backwards as well. */
	assert_ok(f, f->ops->sync_set(f->a, 12, "5 other 2", &f->err));
	assert_bytes(raw_sync(12), bytes_of("5 other 2"));
}

/* Neither cut nor read up to its NUL: it could look like one of ours then. */
static void
a_sync_that_is_none_is_told_as_foreign(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	char sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];
	struct cache_copy copy;
	char text[400];

	memset(text, '7', sizeof(text));
	raw_set_sync(GROUP, (struct sgate_bytes){text, CACHE_SYNC_MAX + 1});
	raw_set_sync(GROUP + 1, (struct sgate_bytes){"7 s 1\0x", 7});
	raw_set_sync(GROUP + 2, (struct sgate_bytes){text, sizeof(text)});
	assert_ok(f, f->ops->sync_get(f->a, sync, &f->err));
	assert_string_equal(sync[GROUP], CACHE_SYNC_FOREIGN);
	assert_string_equal(sync[GROUP + 1], CACHE_SYNC_FOREIGN);
	assert_string_equal(sync[GROUP + 2], CACHE_SYNC_FOREIGN);
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_string_equal(copy.sync, CACHE_SYNC_FOREIGN);
}

/* ---- apply ---- */

static void
apply(struct fixture *f, const char *from, const char *to,
    const struct cache_item *items, size_t count, const char *expected)
{
	char sync[CACHE_SYNC_MAX + 1] = "x";

	assert_ok(f,
	    f->ops->apply(f->a, GROUP, from, to, items, count, sync, &f->err));
	assert_string_equal(sync, expected);
	assert_bytes(
	    raw_sync(GROUP), *expected == '\0' ? NONE : bytes_of(expected));
}

static void
apply_needs_the_very_sync_that_it_starts_from(struct fixture *f)
{
	struct cache_item item = make_item(1, make_record(1, 1, 5, "b"));

	apply(f, "1 s 1", "2 s 1", &item, 1, "");
	assert_record(1, NONE);
	apply(f, "", "5 s 1", NULL, 0, "5 s 1");
	apply(f, "", "6 s 1", &item, 1, "5 s 1");
	apply(f, "4 s 1", "6 s 1", &item, 1, "5 s 1");
	apply(f, "5 s 2", "6 s 1", &item, 1, "5 s 1");
	apply(f, "5 s 1 ", "6 s 1", &item, 1, "5 s 1");
	apply(f, "05 s 1", "6 s 1", &item, 1, "5 s 1");
	assert_record(1, NONE);
	apply(f, "5 s 1", "6 s 1", &item, 1, "6 s 1");
	assert_record(1, item.record);
	assert_ttl(1, 10 * MINUTE_MS);
	/* A part keeps the old number, and refuses another keeper's. */
	apply(f, "6 s 1", "6 s 1;nonce;1", NULL, 0, "6 s 1;nonce;1");
	apply(f, "6 s 1", "9 s 1", NULL, 0, "6 s 1;nonce;1");
	apply(f, "6 s 1;nonce;1", "7 s 1", NULL, 0, "7 s 1");
	/* No other group has one now. */
	assert_null(raw_sync(GROUP + 1).data);
}

static void
apply_after_an_answer_that_was_lost_says_so(struct fixture *f)
{
	struct cache_item item = make_item(1, make_record(1, 1, 5, "b"));

	apply(f, "", "6 s 1", &item, 1, "6 s 1");
	apply(f, "", "6 s 1", &item, 1, "6 s 1");
	assert_record(1, item.record);
}

static void
apply_writes_what_is_newer_and_every_end(struct fixture *f)
{
	struct cache_item items[] = {
	    make_item(0, make_record(1, 5, 50, "0")), /* nothing there */
	    make_item(1, make_record(1, 5, 50, "1")), /* older there */
	    make_item(2, make_record(1, 5, 50, "2")), /* the same there */
	    make_item(3, make_record(1, 5, 50, "3")), /* newer there */
	    make_item(4, make_record(1, 5, 50, "4")), /* ended there */
	    make_item(5, make_tombstone(1, 5)),       /* newer there */
	    make_item(6, make_tombstone(1, 5))};      /* ended there */
	struct sgate_ref ref;
	unsigned i;

	raw_set_sync(GROUP, bytes_of("1 s"));
	for (i = 1; i < 7; i++) {
		static const unsigned versions[] = {0, 4, 5, 6, 0, 6, 0};

		ref = make_ref(GROUP, i);
		raw_set(&ref,
		    i == 4 || i == 6 ? make_tombstone(1, 2)
				     : make_record(1, versions[i], 40, "there"),
		    MINUTE_MS);
	}
	apply(f, "1 s", "2 s", items, 7, "2 s");
	assert_record(0, items[0].record);
	assert_record(1, items[1].record);
	assert_record(2, make_record(1, 5, 40, "there"));
	assert_record(3, make_record(1, 6, 40, "there"));
	assert_record(4, make_tombstone(1, 2));
	assert_record(5, make_tombstone(1, 5));
	assert_record(6, make_tombstone(1, 5));
	assert_ttl(0, 10 * MINUTE_MS);
	assert_ttl(1, 10 * MINUTE_MS);
	assert_ttl(2, MINUTE_MS);
	assert_ttl(5, 10 * MINUTE_MS);
}

static void
apply_keeps_the_later_last_seen(struct fixture *f)
{
	struct cache_item items[] = {make_item(1, make_record(1, 5, 50, "1")),
	    make_item(2, make_record(1, 5, 50, "2")),
	    make_item(3, make_record(1, 5, 50, "3"))};
	struct sgate_ref ref = make_ref(GROUP, 3);

	raw_set_sync(GROUP, bytes_of("1 s"));
	put(f, 1, make_record(1, 4, 60, "a"), 1);
	put(f, 2, make_record(1, 4, 40, "b"), 1);
	raw_set(&ref, bytes_of("L0000000000000001zzzzzzzzzzzzz"), MINUTE_MS);
	apply(f, "1 s", "2 s", items, 3, "2 s");
	assert_record(1, make_record(1, 5, 60, "1"));
	assert_record(2, make_record(1, 5, 50, "2"));
	assert_record(3, make_record(1, 5, 50, "3"));
}

static void
many_rows_are_applied_at_once(struct fixture *f)
{
	static struct cache_item items[200];
	struct buf record = {0};
	unsigned i;

	buf_add_bytes(&record, make_record(1, 1, 5, ""));
	while (record.len < (size_t)20 * 1024)
		buf_add_char(&record, (char)record.len);
	for (i = 0; i < 200; i++)
		items[i] = make_item(i, buf_bytes(&record));
	apply(f, "", "2 s", items, 200, "2 s");
	for (i = 0; i < 200; i++)
		assert_record(i, buf_bytes(&record));
	buf_clear(&record);
}

/* What keeps the trace of an end written late: a row of an older change. */
static void
apply_brings_nobody_back(struct fixture *f)
{
	struct cache_item stale = make_item(1, make_record(1, 4, 5, "live"));

	raw_set_sync(GROUP, bytes_of("1 s"));
	put(f, 1, make_record(1, 3, 5, "live"), 1);
	end(f, 1, make_tombstone(1, 5));
	apply(f, "1 s", "2 s", &stale, 1, "2 s");
	assert_record(1, make_tombstone(1, 5));
}

/* ---- misuse ---- */

static void
assert_apply_is_misuse(struct fixture *f, unsigned group, const char *from,
    const char *to, const struct cache_item *item)
{
	char sync[CACHE_SYNC_MAX + 1] = "x";

	assert_status(f, SGATE_INTERNAL,
	    f->ops->apply(f->a, group, from, to, item, 1, sync, &f->err));
	assert_string_equal(sync, "");
	assert_null(raw_sync(GROUP).data);
}

static void
what_cannot_be_applied_is_not(struct fixture *f)
{
	struct cache_item good = make_item(1, make_record(1, 1, 5, "b"));
	struct cache_item bad = make_item(1, make_record(1, 1, 5, "b"));
	char text[CACHE_SYNC_MAX + 2];

	memset(text, '1', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_apply_is_misuse(f, 16, "", "1 s", &good);
	assert_apply_is_misuse(f, GROUP + 1, "", "1 s", &good);
	assert_apply_is_misuse(f, GROUP, "", "", &good);
	assert_apply_is_misuse(f, GROUP, "", text, &good);
	assert_apply_is_misuse(f, GROUP, text, "1 s", &good);
	bad.ttl_ms = 0;
	assert_apply_is_misuse(f, GROUP, "", "1 s", &bad);
	bad = make_item(1, bytes_of("nothing"));
	assert_apply_is_misuse(f, GROUP, "", "1 s", &bad);
	assert_status(
	    f, SGATE_INTERNAL, f->ops->sync_set(f->a, 16, "1 s", &f->err));
	assert_status(
	    f, SGATE_INTERNAL, f->ops->sync_set(f->a, 1, "", &f->err));
	assert_status(
	    f, SGATE_INTERNAL, f->ops->sync_set(f->a, 1, text, &f->err));
}

static int
in_child(struct fixture *f)
{
	char sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_copy copy;

	if (f->ops->ping(f->a, &f->err) != SGATE_INTERNAL ||
	    f->ops->get(f->a, &ref, &copy, &f->err) != SGATE_INTERNAL ||
	    copy.record.len != 0 ||
	    f->ops->sync_get(f->b, sync, &f->err) != SGATE_INTERNAL)
		return 1;
	f->ops->close(f->b);
	f->ops->close(f->a);
	return 0;
}

static void
a_handle_stays_in_its_process(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct sgate_bytes record = make_record(1, 1, 5, "b");
	struct cache_copy copy;
	int status = -1;
	pid_t pid;

	raw_set(&ref, record, MINUTE_MS);
	assert_ok(f, f->ops->ping(f->a, &f->err));
	pid = fork();
	if (pid == 0)
		_exit(in_child(f));
	assert_true(waitpid(pid, &status, 0) == pid);
	assert_int_equal(status, 0);
	/* What the child closed is still open here. */
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_bytes(copy.record, record);
}

#define CASE(name)                                                             \
	{                                                                      \
#name, name                                                    \
	}
const struct contract_case group_cases[] = {
    CASE(an_end_stands_over_whatever_was_there), CASE(many_ends_go_at_once),
    CASE(every_group_has_its_sync),
    CASE(a_sync_that_is_none_is_told_as_foreign),
    CASE(apply_needs_the_very_sync_that_it_starts_from),
    CASE(apply_after_an_answer_that_was_lost_says_so),
    CASE(apply_writes_what_is_newer_and_every_end),
    CASE(apply_keeps_the_later_last_seen), CASE(many_rows_are_applied_at_once),
    CASE(apply_brings_nobody_back), CASE(what_cannot_be_applied_is_not),
    CASE(a_handle_stays_in_its_process), {NULL, NULL}};
