/* Marks, the text of sync, what is believed, and the file. */
#include "config.h"

#include "fence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "clock.h"
#include "tap.h"

#define POLL_MS 500
#define BLIND_MS 300000
#define ID "00112233445566778899aabbccddeeff"

static const unsigned char id[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66,
    0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

/* ---- marks ---- */

static void
marks_compare_by_epoch_and_then_by_number(void **state)
{
	(void)state;
	assert_true(fence_mark(1, 5) < fence_mark(1, 6));
	assert_true(fence_mark(1, FENCE_NUMBER_MAX) < fence_mark(2, 0));
	assert_true(fence_mark(9998, FENCE_NUMBER_MAX) < fence_mark(9999, 0));
	assert_true(fence_mark(9999, FENCE_NUMBER_MAX) >
		    fence_mark(9999, FENCE_NUMBER_MAX - 1));
}

/* ---- sync ---- */

static void
sync_reads_what_it_writes(void **state)
{
	static const struct {
		uint64_t number;
		unsigned epoch;
		const char *nonce;
		unsigned part;
		const char *text;
	} cases[] = {
	    {0, 0, "", 0, "0 " ID " 0"},
	    {17, 1, "", 0, "17 " ID " 1"},
	    {FENCE_NUMBER_MAX, 9999, "", 0, "1125899906842623 " ID " 9999"},
	    {17, 1, "5f", 1, "17 " ID " 1;5f;1"},
	    {17, 12, "0123456789abcdef0123456789abcdef", 999999,
		"17 " ID " 12;0123456789abcdef0123456789abcdef;999999"},
	};
	struct fence_sync sync, read;
	char text[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&sync, 0, sizeof(sync));
		sync.number = cases[i].number;
		sync.store.epoch = cases[i].epoch;
		memcpy(sync.store.id, id, sizeof(id));
		fence_sync_write(
		    &sync, cases[i].nonce, cases[i].part, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
		assert_true(fence_sync_read(text, &read));
		assert_true(read.number == sync.number);
		assert_int_equal(read.store.epoch, sync.store.epoch);
		assert_memory_equal(read.store.id, id, sizeof(id));
	}
}

static void
sync_that_is_not_ours_is_none(void **state)
{
	static const char *const texts[] = {
	    "",
	    " ",
	    ";",
	    ";5f;1",
	    "17",
	    "17 ",
	    "17 " ID,
	    "17 " ID " ",
	    " 17 " ID " 1",
	    "17 " ID " 1 ",
	    "17  " ID " 1",
	    "017 " ID " 1",
	    "+17 " ID " 1",
	    "-17 " ID " 1",
	    "17.0 " ID " 1",
	    "1e3 " ID " 1",
	    "0x17 " ID " 1",
	    "17 " ID " 01",
	    "17 " ID " -1",
	    "17 " ID " 10000",
	    "1125899906842624 " ID " 1",
	    "99999999999999999999999999 " ID " 1",
	    "17 00112233445566778899AABBCCDDEEFF 1",
	    "17 00112233445566778899aabbccddee 1",
	    "17 00112233445566778899aabbccddeeff00 1",
	    "17 g0112233445566778899aabbccddeeff 1",
	    "17 " ID " 1\n",
	    "17 " ID " 1;",
	    "17 " ID " 1;5f",
	    "17 " ID " 1;5f;",
	    "17 " ID " 1;;1",
	    "17 " ID " 1;5f;0",
	    "17 " ID " 1;5f;01",
	    "17 " ID " 1;5f;1000000",
	    "17 " ID " 1;5F;1",
	    "17 " ID " 1;5f;1;2",
	    "17 " ID " 1;0123456789abcdef0123456789abcdef0;1",
	    "17 " ID " 1;5f;4294967297",
	};
	char long_text[400];
	struct fence_sync sync;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		memset(&sync, 0xff, sizeof(sync));
		if (fence_sync_read(texts[i], &sync))
			fail_msg("taken for ours: '%s'", texts[i]);
		assert_true(sync.number == 0 && sync.store.epoch == 0);
	}
	assert_false(fence_sync_read(NULL, &sync));
	memset(long_text, '1', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	assert_false(fence_sync_read(long_text, &sync));
}

static void
sync_of_any_bytes_is_read_safely_and_alike(void **state)
{
	static const char bytes[] = "0123456789abcdef ;\xff\x01Zz";
	static const char good[] = "17 " ID " 1;5f;12";
	struct fence_sync sync;
	char text[64], again[128];
	unsigned seed = 1;
	size_t i, at;

	(void)state;
	for (i = 0; i < 20000; i++) {
		strcpy(text, good);
		for (at = 0; at < 1 + i % 3; at++) {
			seed = seed * 1103515245u + 12345u;
			text[(seed >> 8) % (sizeof(good) - 1)] =
			    bytes[(seed >> 20) % (sizeof(bytes) - 1)];
		}
		if (!fence_sync_read(text, &sync))
			continue;
		fence_sync_write(&sync, "", 0, again, sizeof(again));
		assert_memory_equal(text, again, strlen(again));
	}
}

/* ---- what is believed ---- */

static const int64_t now_ms = 50000000;

static void
know(struct fence *fence, unsigned epoch, uint64_t number)
{
	unsigned group;

	memset(fence, 0, sizeof(*fence));
	fence_reset(fence, id);
	for (group = 0; group < TOKEN_GROUPS; group++) {
		fence_raise(fence, group, fence_mark(epoch, number));
		fence->complete_ms[group] = now_ms;
	}
}

static enum fence_trust
trusts(const struct fence *fence, const char *sync, int64_t at_ms)
{
	struct record_store store;

	return fence_trusts(fence, 3, sync, POLL_MS, BLIND_MS, at_ms, &store);
}

static void
zeros_believe_nothing(void **state)
{
	struct fence fence = {0};

	(void)state;
	assert_int_equal(trusts(&fence, "17 " ID " 1", 1), FENCE_NO);
	assert_int_equal(
	    trusts(&fence, "0 00000000000000000000000000000000 0", 0),
	    FENCE_NO);
}

static void
a_sync_at_the_fence_or_past_it_is_believed(void **state)
{
	struct fence fence;

	(void)state;
	know(&fence, 1, 17);
	assert_int_equal(trusts(&fence, "17 " ID " 1", now_ms), FENCE_YES);
	assert_int_equal(trusts(&fence, "18 " ID " 1", now_ms), FENCE_YES);
	assert_int_equal(trusts(&fence, "17 " ID " 1;5f;2", now_ms), FENCE_YES);
	assert_int_equal(trusts(&fence, "16 " ID " 1", now_ms), FENCE_NO);
	assert_int_equal(trusts(&fence, "16 " ID " 1;5f;2", now_ms), FENCE_NO);
	assert_int_equal(trusts(&fence, "", now_ms), FENCE_NO);
	assert_int_equal(trusts(&fence, "17", now_ms), FENCE_NO);
}

static void
an_older_epoch_is_not_believed_whatever_its_number(void **state)
{
	struct fence fence;

	(void)state;
	know(&fence, 2, 17);
	assert_int_equal(trusts(&fence, "900 " ID " 1", now_ms), FENCE_NO);
	assert_int_equal(trusts(&fence, "17 " ID " 2", now_ms), FENCE_YES);
	/* Somebody else has taken a newer one over already. */
	assert_int_equal(trusts(&fence, "3 " ID " 3", now_ms), FENCE_YES);
}

static void
another_store_is_not_believed_and_is_told(void **state)
{
	struct record_store store;
	struct fence fence;

	(void)state;
	know(&fence, 1, 17);
	assert_int_equal(
	    fence_trusts(&fence, 3, "17 ff112233445566778899aabbccddee00 1",
		POLL_MS, BLIND_MS, now_ms, &store),
	    FENCE_NO);
	assert_int_equal(store.epoch, 1);
	assert_int_equal(store.id[0], 0xff);
	assert_int_equal(fence_trusts(&fence, 3, "nonsense", POLL_MS, BLIND_MS,
			     now_ms, &store),
	    FENCE_NO);
	assert_int_equal(store.epoch, 0);
	assert_int_equal(store.id[0], 0);
}

static void
a_group_that_is_none_is_not_believed(void **state)
{
	struct record_store store;
	struct fence fence;

	(void)state;
	know(&fence, 1, 17);
	assert_int_equal(fence_trusts(&fence, TOKEN_GROUPS, "17 " ID " 1",
			     POLL_MS, BLIND_MS, now_ms, &store),
	    FENCE_NO);
}

static void
belief_ends_with_the_age_of_the_last_round(void **state)
{
	static const char sync[] = "17 " ID " 1";
	struct fence fence;

	(void)state;
	know(&fence, 1, 17);
	assert_int_equal(trusts(&fence, sync, now_ms + 1500), FENCE_YES);
	assert_int_equal(trusts(&fence, sync, now_ms + 1501), FENCE_IF_BLIND);
	assert_int_equal(
	    trusts(&fence, sync, now_ms + BLIND_MS), FENCE_IF_BLIND);
	assert_int_equal(trusts(&fence, sync, now_ms + BLIND_MS + 1), FENCE_NO);
	assert_int_equal(trusts(&fence, sync, INT64_MAX), FENCE_NO);
}

static void
max_blind_off_has_no_end_and_zero_no_beginning(void **state)
{
	static const char sync[] = "17 " ID " 1";
	struct record_store store;
	struct fence fence;

	(void)state;
	know(&fence, 1, 17);
	assert_int_equal(fence_trusts(&fence, 3, sync, POLL_MS, -1,
			     now_ms + 100 * BLIND_MS, &store),
	    FENCE_IF_BLIND);
	assert_int_equal(
	    fence_trusts(&fence, 3, sync, POLL_MS, 0, now_ms + 1501, &store),
	    FENCE_NO);
	/* No round at all is no beginning either. */
	fence.complete_ms[3] = 0;
	assert_int_equal(
	    fence_trusts(&fence, 3, sync, POLL_MS, -1, now_ms, &store),
	    FENCE_NO);
}

static void
a_moment_in_the_future_is_not_believed(void **state)
{
	static const char sync[] = "17 " ID " 1";
	struct fence fence;

	(void)state;
	know(&fence, 1, 17);
	/* A worker that read the clock a little before. */
	assert_int_equal(trusts(&fence, sync, now_ms - 200), FENCE_YES);
	assert_int_equal(trusts(&fence, sync, now_ms - 1501), FENCE_NO);
	assert_int_equal(trusts(&fence, sync, 0), FENCE_NO);
	fence.complete_ms[3] = INT64_MAX;
	assert_int_equal(trusts(&fence, sync, now_ms), FENCE_NO);
	fence.complete_ms[3] = INT64_MIN;
	assert_int_equal(trusts(&fence, sync, now_ms), FENCE_NO);
}

static void
an_alarm_believes_nothing(void **state)
{
	struct fence fence;

	(void)state;
	know(&fence, 1, 17);
	fence.is_alarmed = 1;
	assert_int_equal(trusts(&fence, "17 " ID " 1", now_ms), FENCE_NO);
	assert_int_equal(trusts(&fence, "17 " ID " 2", now_ms), FENCE_NO);
}

static void
raising_never_lowers(void **state)
{
	struct fence fence = {0};

	(void)state;
	fence_raise(&fence, 0, fence_mark(1, 9));
	fence_raise(&fence, 0, fence_mark(1, 5));
	assert_true(fence.known[0] == fence_mark(1, 9));
	fence_raise(&fence, 0, fence_mark(2, 1));
	fence_raise(&fence, 0, fence_mark(1, 900));
	assert_true(fence.known[0] == fence_mark(2, 1));
	assert_true(fence.known[1] == 0);
}

static void
what_could_not_be_told_counts_before_a_round(void **state)
{
	struct fence fence;

	(void)state;
	know(&fence, 1, 17);
	fence_raise_untold(&fence, 3, fence_mark(1, 18));
	assert_int_equal(trusts(&fence, "17 " ID " 1", now_ms), FENCE_NO);
	assert_int_equal(trusts(&fence, "18 " ID " 1", now_ms), FENCE_YES);
	fence_raise_untold(&fence, 3, fence_mark(1, 5));
	assert_int_equal(trusts(&fence, "17 " ID " 1", now_ms), FENCE_NO);
	/* Rounds go by what they have seen themselves. */
	assert_true(fence.known[3] == fence_mark(1, 17));
	know(&fence, 1, 17);
	assert_true(fence.untold[3] == 0);
}

static void
another_store_begins_anew(void **state)
{
	const uint64_t words[2] = {9, 0};
	unsigned char other[16];
	struct fence fence;
	unsigned group;

	(void)state;
	memcpy(other, words, sizeof(other));
	know(&fence, 7, 17);
	fence.is_alarmed = 1;
	fence.settings = 4;
	fence.clock_offset_ms = 5;
	fence_reset(&fence, other);
	for (group = 0; group < TOKEN_GROUPS; group++) {
		assert_true(fence.known[group] == 0);
		assert_true(fence.complete_ms[group] == 0);
	}
	assert_int_equal(fence.is_alarmed, 0);
	assert_true(fence.settings == 0);
	assert_true(fence.clock_offset_ms == 0);
	assert_true(fence.store_id[0] == words[0] && fence.store_id[1] == 0);
	assert_int_equal(trusts(&fence, "17 " ID " 7", now_ms), FENCE_NO);
}

static struct fence raced;
static _Atomic int has_fallen;

static void *
raise_all(void *arg)
{
	uint64_t step = (uintptr_t)arg, number, seen, before = 0;

	for (number = step; number < 200000; number += 4) {
		fence_raise(&raced, 5, fence_mark(1, number));
		seen = atomic_load(&raced.known[5]);
		if (seen < before || seen < fence_mark(1, number))
			atomic_store(&has_fallen, 1);
		before = seen;
	}
	return NULL;
}

static void
many_that_raise_at_once_end_at_the_highest(void **state)
{
	pthread_t threads[4];
	uintptr_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, raise_all, (void *)i), 0);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(has_fallen, 0);
	assert_true(raced.known[5] == fence_mark(1, 199999));
}

/* ---- the file ---- */

struct fixture {
	char dir[64], path[96];
};

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/sessgate-fence.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/fence", f->dir);
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* A fence with all members different. */
static void
fill(struct fence *fence)
{
	unsigned group;

	memset(fence, 0, sizeof(*fence));
	fence_reset(fence, id);
	for (group = 0; group < TOKEN_GROUPS; group++) {
		fence_raise(fence, group, fence_mark(group + 1, 1000 + group));
		fence->complete_ms[group] = 1 + group;
	}
	fence->known[15] = fence_mark(9999, FENCE_NUMBER_MAX);
	fence->settings = UINT64_MAX;
	fence->clock_offset_ms = -1234567890123;
	fence->is_alarmed = 1;
}

static void
assert_same(const struct fence *a, const struct fence *b)
{
	unsigned group;

	for (group = 0; group < TOKEN_GROUPS; group++) {
		assert_true(a->known[group] == b->known[group]);
		assert_true(a->complete_ms[group] == b->complete_ms[group]);
	}
	assert_true(a->store_id[0] == b->store_id[0]);
	assert_true(a->store_id[1] == b->store_id[1]);
	assert_true(a->settings == b->settings);
	assert_true(a->clock_offset_ms == b->clock_offset_ms);
	assert_int_equal(a->is_alarmed, b->is_alarmed);
}

static void
assert_nothing_is_known(const struct fence *fence)
{
	static const struct fence nothing;

	assert_same(fence, &nothing);
}

static void
write_file(const struct fixture *f, const char *bytes, size_t len)
{
	int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

static size_t
read_file(const struct fixture *f, char *out, size_t size)
{
	int fd = open(f->path, O_RDONLY);
	ssize_t len;

	assert_true(fd >= 0);
	len = read(fd, out, size);
	assert_true(len > 0);
	close(fd);
	return (size_t)len;
}

static void
the_file_keeps_everything(void **state)
{
	struct fixture *f = *state;
	struct fence fence, read;
	struct sgate_error err;
	struct stat st;

	fill(&fence);
	assert_int_equal(
	    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_OK);
	assert_same(&read, &fence);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* And again over itself, to the disk. */
	fence.settings = 1;
	fence.clock_offset_ms = INT64_MIN;
	assert_int_equal(
	    fence_file_write(f->dir, &fence, true, &err), SGATE_OK);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_OK);
	assert_same(&read, &fence);
}

static void
no_file_is_nothing_known(void **state)
{
	struct fixture *f = *state;
	struct sgate_error err;
	struct fence read;

	memset(&read, 0xff, sizeof(read));
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_NOT_FOUND);
	assert_nothing_is_known(&read);
	assert_int_equal(
	    fence_file_read("/nonexistent", &read, &err), SGATE_NOT_FOUND);
}

static void
a_torn_file_is_nothing_known(void **state)
{
	struct fixture *f = *state;
	char bytes[4096];
	struct fence fence, read;
	struct sgate_error err;
	size_t len, cut;

	fill(&fence);
	assert_int_equal(
	    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
	len = read_file(f, bytes, sizeof(bytes));
	for (cut = 0; cut < len; cut++) {
		write_file(f, bytes, cut);
		assert_int_equal(
		    fence_file_read(f->dir, &read, &err), SGATE_CORRUPT);
		assert_nothing_is_known(&read);
	}
	/* With something behind it as well. */
	memcpy(bytes + len, "\n", 1);
	write_file(f, bytes, len + 1);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_CORRUPT);
	memset(bytes, 'x', sizeof(bytes));
	write_file(f, bytes, sizeof(bytes));
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_CORRUPT);
}

static void
a_file_with_any_byte_changed_is_nothing_known(void **state)
{
	struct fixture *f = *state;
	char bytes[4096];
	struct fence fence, read;
	struct sgate_error err;
	size_t len, at;

	fill(&fence);
	assert_int_equal(
	    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
	len = read_file(f, bytes, sizeof(bytes));
	for (at = 0; at < len; at++) {
		bytes[at] ^= 1;
		write_file(f, bytes, len);
		bytes[at] ^= 1;
		assert_int_equal(
		    fence_file_read(f->dir, &read, &err), SGATE_CORRUPT);
		assert_nothing_is_known(&read);
	}
}

/* Puts `to` in the place of `from` and signs the result. */
static void
change_file(const struct fixture *f, const char *from, const char *to)
{
	char bytes[4096], out[4096];
	unsigned char sum[16];
	char hex[33];
	char *at, *end;
	size_t len;

	len = read_file(f, bytes, sizeof(bytes) - 1);
	bytes[len] = '\0';
	at = strstr(bytes, from);
	end = strstr(bytes, "sum ");
	assert_non_null(at);
	assert_non_null(end);
	*end = '\0';
	snprintf(out, sizeof(out), "%.*s%s%s", (int)(at - bytes), bytes, to,
	    at + strlen(from));
	crypto_generichash(
	    sum, sizeof(sum), (unsigned char *)out, strlen(out), NULL, 0);
	sodium_bin2hex(hex, sizeof(hex), sum, sizeof(sum));
	strcat(out, "sum ");
	strcat(out, hex);
	strcat(out, "\n");
	write_file(f, out, strlen(out));
}

static void
a_well_signed_file_of_nonsense_is_nothing_known(void **state)
{
	static const char *const changes[][2] = {
	    {"fence 1", "fence 2"},
	    {"store 00", "store 0"},
	    {"store 00", "store zz"},
	    {"alarmed 1", "alarmed 2"},
	    {"settings 18446744073709551615", "settings 18446744073709551616"},
	    {"settings 1", "settings -1"},
	    {"clock -1", "clock --1"},
	    {"clock -1234567890123", "clock -9223372036854775809"},
	    {"clock -1234567890123", "clock 9223372036854775808"},
	    {"clock -1234567890123", "clock "},
	    {"group 3", "group 4"},
	    {"group 15", "group 16"},
	    {"epoch 9999", "epoch 10000"},
	    {"number 1125899906842623", "number 1125899906842624"},
	    {"complete 1\n", "complete 99999999999999\n"},
	    {"complete 1\n", "complete -1\n"},
	    {"complete 1\n", "complete 1 \n"},
	    {"complete 1\n", "complete 1\nmore 1\n"},
	    {"settings ", "settinks "},
	};
	struct fixture *f = *state;
	struct fence fence, read;
	struct sgate_error err;
	size_t i;

	fill(&fence);
	for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		assert_int_equal(
		    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
		change_file(f, changes[i][0], changes[i][1]);
		if (fence_file_read(f->dir, &read, &err) != SGATE_CORRUPT)
			fail_msg("taken for ours: '%s'", changes[i][1]);
		assert_nothing_is_known(&read);
	}
	/* The same way with nothing wrong: the signing is right. */
	assert_int_equal(
	    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
	change_file(f, "alarmed 1", "alarmed 0");
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_OK);
	assert_int_equal(read.is_alarmed, 0);
}

static void
the_file_of_another_boot_is_nothing_known(void **state)
{
	static const char *const boots[] = {
	    "boot 00000000-0000-0000-0000-000000000000\n", "boot unknown\n"};
	struct fixture *f = *state;
	struct fence fence, read;
	char bytes[4096], line[128];
	struct sgate_error err;
	size_t i;

	fill(&fence);
	for (i = 0; i < 2; i++) {
		assert_int_equal(
		    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
		memset(bytes, 0, sizeof(bytes));
		read_file(f, bytes, sizeof(bytes) - 1);
		assert_int_equal(
		    sscanf(strstr(bytes, "boot "), "%100[^\n]", line), 1);
		strcat(line, "\n");
		change_file(f, line, boots[i]);
		assert_int_equal(
		    fence_file_read(f->dir, &read, &err), SGATE_NOT_FOUND);
		assert_nothing_is_known(&read);
	}
}

static void
a_round_of_the_future_is_nothing_known(void **state)
{
	struct fixture *f = *state;
	struct fence fence, read;
	struct sgate_error err;

	fill(&fence);
	fence.complete_ms[4] = clock_boot_ms() + 60000;
	assert_int_equal(
	    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_CORRUPT);
	assert_nothing_is_known(&read);
}

static void
blind_time_goes_on_over_a_restart(void **state)
{
	struct fixture *f = *state;
	int64_t boot_ms = clock_boot_ms();
	struct fence fence, read;
	struct record_store store;
	struct sgate_error err;

	know(&fence, 1, 17);
	for (unsigned group = 0; group < TOKEN_GROUPS; group++)
		fence.complete_ms[group] = boot_ms;
	fence.complete_ms[3] = boot_ms > 2000 ? boot_ms - 2000 : 1;
	assert_int_equal(
	    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_OK);
	assert_int_equal(
	    fence_trusts(&read, 3, "17 " ID " 1", 500, 2100, boot_ms, &store),
	    FENCE_IF_BLIND);
	assert_int_equal(fence_trusts(&read, 3, "17 " ID " 1", 500, 2100,
			     boot_ms + 200, &store),
	    FENCE_NO);
	assert_int_equal(fence_trusts(&read, 4, "17 " ID " 1", 500, 2100,
			     boot_ms + 200, &store),
	    FENCE_YES);
}

static void
links_pipes_and_directories_are_not_read(void **state)
{
	struct fixture *f = *state;
	struct sgate_error err;
	struct fence read;

	assert_int_equal(symlink("/etc/passwd", f->path), 0);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_CORRUPT);
	unlink(f->path);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_CORRUPT);
	unlink(f->path);
	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_CORRUPT);
	assert_int_equal(rmdir(f->path), 0);
}

static void
a_leftover_of_a_killed_writer_is_replaced(void **state)
{
	struct fixture *f = *state;
	char path[128], victim[128];
	struct fence fence, read;
	struct sgate_error err;
	struct stat st;

	fill(&fence);
	snprintf(path, sizeof(path), "%s/fence.new", f->dir);
	snprintf(victim, sizeof(victim), "%s/victim", f->dir);
	close(open(victim, O_WRONLY | O_CREAT, 0600));
	assert_int_equal(symlink(victim, path), 0);
	assert_int_equal(
	    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_OK);
	assert_int_equal(stat(victim, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(lstat(path, &st), -1);
	unlink(victim);
}

static void *
write_often(void *arg)
{
	struct fixture *f = arg;
	struct fence fence;
	struct sgate_error err;
	int i;

	fill(&fence);
	for (i = 0; i < 300; i++)
		(void)!fence_file_write(f->dir, &fence, false, &err);
	return NULL;
}

/* Two keepers, for the moment of a reload: nothing torn is believed. */
static void
two_who_write_leave_a_whole_file_or_none(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[2];
	struct fence fence, read;
	struct sgate_error err;
	enum sgate_status status;
	int i;

	fill(&fence);
	for (i = 0; i < 2; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, write_often, f), 0);
	for (i = 0; i < 200; i++) {
		status = fence_file_read(f->dir, &read, &err);
		if (status == SGATE_OK)
			assert_same(&read, &fence);
		else
			assert_nothing_is_known(&read);
	}
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(
	    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_OK);
	assert_same(&read, &fence);
}

/* What a full disk does, by a limit to the size of files. */
static void
on_a_full_disk_the_old_file_goes(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit, old;
	struct fence fence, read;
	enum sgate_status status;
	struct sgate_error err;
	char path[128];
	struct stat st;

	fill(&fence);
	assert_int_equal(
	    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 100;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	status = fence_file_write(f->dir, &fence, false, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(status, SGATE_INTERNAL);
	assert_int_equal(err.native_code, EFBIG);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_NOT_FOUND);
	assert_nothing_is_known(&read);
	snprintf(path, sizeof(path), "%s/fence.new", f->dir);
	assert_int_equal(lstat(path, &st), -1);
	/* There is room again. */
	assert_int_equal(
	    fence_file_write(f->dir, &fence, false, &err), SGATE_OK);
	assert_int_equal(fence_file_read(f->dir, &read, &err), SGATE_OK);
}

static void
without_a_directory_there_is_an_error(void **state)
{
	char dir[5000];
	struct fence fence;
	struct sgate_error err;

	(void)state;
	fill(&fence);
	assert_int_equal(fence_file_write("/nonexistent", &fence, false, &err),
	    SGATE_INTERNAL);
	assert_string_equal(err.source, "fence");
	memset(dir, 'd', sizeof(dir) - 1);
	dir[sizeof(dir) - 1] = '\0';
	assert_int_equal(
	    fence_file_write(dir, &fence, false, &err), SGATE_INTERNAL);
	assert_int_equal(fence_file_read(dir, &fence, &err), SGATE_CORRUPT);
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(marks_compare_by_epoch_and_then_by_number),
    cmocka_unit_test(sync_reads_what_it_writes),
    cmocka_unit_test(sync_that_is_not_ours_is_none),
    cmocka_unit_test(sync_of_any_bytes_is_read_safely_and_alike),
    cmocka_unit_test(zeros_believe_nothing),
    cmocka_unit_test(a_sync_at_the_fence_or_past_it_is_believed),
    cmocka_unit_test(an_older_epoch_is_not_believed_whatever_its_number),
    cmocka_unit_test(another_store_is_not_believed_and_is_told),
    cmocka_unit_test(a_group_that_is_none_is_not_believed),
    cmocka_unit_test(belief_ends_with_the_age_of_the_last_round),
    cmocka_unit_test(max_blind_off_has_no_end_and_zero_no_beginning),
    cmocka_unit_test(a_moment_in_the_future_is_not_believed),
    cmocka_unit_test(an_alarm_believes_nothing),
    cmocka_unit_test(raising_never_lowers),
    cmocka_unit_test(what_could_not_be_told_counts_before_a_round),
    cmocka_unit_test(another_store_begins_anew),
    cmocka_unit_test(many_that_raise_at_once_end_at_the_highest),
    FILE_TEST(the_file_keeps_everything),
    FILE_TEST(no_file_is_nothing_known),
    FILE_TEST(a_torn_file_is_nothing_known),
    FILE_TEST(a_file_with_any_byte_changed_is_nothing_known),
    FILE_TEST(a_well_signed_file_of_nonsense_is_nothing_known),
    FILE_TEST(the_file_of_another_boot_is_nothing_known),
    FILE_TEST(a_round_of_the_future_is_nothing_known),
    FILE_TEST(blind_time_goes_on_over_a_restart),
    FILE_TEST(links_pipes_and_directories_are_not_read),
    FILE_TEST(a_leftover_of_a_killed_writer_is_replaced),
    FILE_TEST(two_who_write_leave_a_whole_file_or_none),
    FILE_TEST(on_a_full_disk_the_old_file_goes),
    FILE_TEST(without_a_directory_there_is_an_error),
};

TAP_MAIN(tests)
