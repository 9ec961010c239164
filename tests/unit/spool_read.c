/*
 * The spool's reader: order, what is done, what is told again, which files go,
 * and writers that go on meanwhile.
 */
#include "config.h"

#include "tap.h"

#include "spooled.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "crc32c.h"
#include "no_memory.h"

#define BOTH (SPOOL_TO_DURABLE | SPOOL_TO_CACHE)

static void
expect_state(struct spool_reader *reader, uint64_t to_durable,
    int64_t oldest_durable, uint64_t to_cache, int64_t oldest_cache)
{
	struct spool_state found;

	spool_state(reader, &found);
	assert_int_equal(found.to_durable, to_durable);
	assert_int_equal(found.to_cache, to_cache);
	assert_true(found.oldest_durable_ms ==
		    (oldest_durable < 0 ? 0 : SPOOLED_MS + oldest_durable));
	assert_true(found.oldest_cache_ms ==
		    (oldest_cache < 0 ? 0 : SPOOLED_MS + oldest_cache));
}

/* What was last written there was so long ago. */
static void
make_old(const char *path, int64_t age_ms)
{
	int64_t at = clock_utc_ms() - age_ms;
	struct timespec times[2] = {
	    {.tv_sec = at / 1000}, {.tv_sec = at / 1000}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* The frames of a pass whose number is even, say. */
static size_t
mark_some(struct spooled *s, struct spool_reader *reader, unsigned store,
    unsigned divisor)
{
	struct spool_frame frame;
	struct spool_place place;
	size_t count = 0;

	assert_int_equal(spool_pass_begin(reader, store, &s->err), SGATE_OK);
	while (spool_pass_next(reader, &frame, &place)) {
		if (spooled_number(&frame) % divisor != 0)
			continue;
		spool_done(reader, &place, store);
		spool_done(reader, &place, store);
		count++;
	}
	return count;
}

/* ---- order and marks ---- */

static void
frames_of_all_writers_come_by_event_id(void **state)
{
	struct spool *spools[7];
	unsigned got[200], n, i;
	struct spooled s;

	(void)state;
	spooled_open(&s);
	for (i = 0; i < 7; i++)
		spools[i] = spooled_writer(&s);
	for (n = 0; n < 200; n++)
		assert_int_equal(
		    spooled_append(&s, spools[n * n % 7], n, false), SGATE_OK);
	for (i = 0; i < 7; i++)
		spool_close(spools[i]);
	assert_int_equal(spooled_read(&s, got, 200), 200);
	for (n = 0; n < 200; n++)
		assert_int_equal(got[n], n);
	spooled_close(&s);
}

static void
each_store_has_its_own_marks(void **state)
{
	struct spool_reader *reader;
	unsigned got[100];
	struct spooled s;

	(void)state;
	spooled_open(&s);
	spooled_fill(&s, 0, 50);
	spooled_fill(&s, 50, 100);
	reader = spooled_reader(&s);
	expect_state(reader, 0, -1, 0, -1);
	spooled_look(&s, reader);
	expect_state(reader, 100, 0, 100, 0);
	assert_int_equal(mark_some(&s, reader, SPOOL_TO_DURABLE, 2), 50);
	assert_int_equal(mark_some(&s, reader, SPOOL_TO_CACHE, 5), 20);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_DURABLE, false, got, 100), 50);
	assert_int_equal(got[0], 1);
	assert_int_equal(got[49], 99);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_CACHE, false, got, 100), 80);
	expect_state(reader, 50, 1, 80, 1);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_CACHE, true, NULL, 0), 80);
	expect_state(reader, 50, 1, 0, -1);
	spool_reader_close(reader);

	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	expect_state(reader, 50, 1, 0, -1);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_DURABLE, false, got, 100), 50);
	assert_int_equal(got[25], 51);
	spool_reader_close(reader);
	spooled_close(&s);
}

static void
a_store_that_is_not_there_is_not_waited_for(void **state)
{
	struct spool_reader *reader = NULL;
	struct spooled s;

	(void)state;
	spooled_open(&s);
	spooled_fill(&s, 0, 3);
	assert_int_equal(
	    spool_reader_open(&s.limits, SPOOL_TO_DURABLE, &reader, &s.err),
	    SGATE_OK);
	spooled_look(&s, reader);
	expect_state(reader, 3, 0, 0, -1);
	assert_int_equal(
	    spool_again(reader, SPOOL_TO_CACHE, 0, &s.err), SGATE_OK);
	expect_state(reader, 3, 0, 0, -1);
	spool_reader_close(reader);
	spooled_close(&s);
}

static void
marks_that_are_lost_or_damaged_tell_all_again(void **state)
{
	struct spool_reader *reader;
	struct spooled s;
	unsigned char *bytes;
	char path[160];
	size_t len, i;

	(void)state;
	spooled_open(&s);
	spooled_fill(&s, 0, 9);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_DURABLE, true, NULL, 0), 9);
	spool_reader_close(reader);
	assert_int_equal(spooled_count(&s, ".done", path), 1);
	assert_int_equal(spooled_read(&s, NULL, 0), 0);
	bytes = spooled_load(path, &len);
	for (i = 0; i < len; i++) {
		bytes[i] ^= 1;
		spooled_store(path, bytes, len);
		assert_int_equal(spooled_read(&s, NULL, 0), 9);
		bytes[i] ^= 1;
		spooled_store(path, bytes, i);
		assert_int_equal(spooled_read(&s, NULL, 0), 9);
	}
	spooled_store(path, bytes, len);
	assert_int_equal(spooled_read(&s, NULL, 0), 0);
	/* Rightly summed, and nonsense: lengths that cannot be. */
	for (i = 16; i < 24; i++) {
		bytes[i] ^= 1;
		spool_write_uint(bytes + len - 4, 4, crc32c(0, bytes, len - 4));
		spooled_store(path, bytes, len);
		assert_int_equal(spooled_read(&s, NULL, 0), 9);
		bytes[i] ^= 1;
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(spooled_read(&s, NULL, 0), 9);
	free(bytes);
	spooled_close(&s);
}

/* A frame that is damaged after it was marked does not shift others' marks. */
static void
damage_does_not_mark_the_next_frame_done(void **state)
{
	struct spool_reader *reader;
	unsigned got[8];
	unsigned char *bytes;
	struct spooled s;
	char path[160];
	size_t len;

	(void)state;
	spooled_open(&s);
	spooled_fill(&s, 0, 6);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	assert_int_equal(mark_some(&s, reader, SPOOL_TO_DURABLE, 2), 3);
	spool_reader_close(reader);
	assert_int_equal(spooled_count(&s, ".spool", path), 1);
	bytes = spooled_load(path, &len);
	bytes[SPOOL_HEADER_BYTES + 50] ^= 1;
	spooled_store(path, bytes, len);
	assert_int_equal(spooled_read(&s, got, 8), 3);
	assert_int_equal(got[0] * 100 + got[1] * 10 + got[2], 135);
	free(bytes);
	spooled_close(&s);
}

static void
marks_that_cannot_be_written_stop_nothing(void **state)
{
	struct spool_reader *reader;
	struct spooled s;
	char path[160];

	(void)state;
	spooled_open(&s);
	spooled_fill(&s, 0, 4);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_DURABLE, true, NULL, 0), 4);
	/* Where the new marks would be made there is a directory. */
	assert_int_equal(spooled_count(&s, ".spool", path), 1);
	snprintf(strrchr(path, '.'), 20, ".done.new");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(spool_look(reader, &s.err), SGATE_OK);
	expect_state(reader, 0, -1, 4, 0);
	spool_reader_close(reader);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(spooled_read(&s, NULL, 0), 4);
	spooled_close(&s);
}

/* ---- told again ---- */

static void
what_a_store_had_when_it_was_written_waits_till_it_is_asked_for(void **state)
{
	struct spool_reader *reader;
	struct spool_frame frame;
	struct spool *spool;
	struct spooled s;
	unsigned got[20], n;

	(void)state;
	spooled_open(&s);
	spool = spooled_writer(&s);
	for (n = 0; n < 20; n++) {
		spooled_frame(n, &frame);
		frame.done = n < 10 ? BOTH : SPOOL_TO_DURABLE;
		assert_int_equal(
		    spool_append(spool, &frame, false, &s.err), SGATE_OK);
	}
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	expect_state(reader, 0, -1, 10, 10);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_CACHE, true, NULL, 0), 10);
	expect_state(reader, 0, -1, 0, -1);
	assert_int_equal(
	    spool_again(reader, SPOOL_TO_CACHE, SPOOLED_MS + 5, &s.err),
	    SGATE_OK);
	expect_state(reader, 0, -1, 15, 5);
	assert_int_equal(
	    spool_again(reader, SPOOL_TO_DURABLE, SPOOLED_MS + 18, &s.err),
	    SGATE_OK);
	expect_state(reader, 2, 18, 15, 5);
	/* Twice is once. */
	assert_int_equal(
	    spool_again(reader, SPOOL_TO_CACHE, SPOOLED_MS + 5, &s.err),
	    SGATE_OK);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_CACHE, true, got, 20), 15);
	assert_int_equal(got[0], 5);
	assert_int_equal(got[14], 19);
	assert_int_equal(
	    spool_again(reader, SPOOL_TO_CACHE, SPOOLED_MS + 20, &s.err),
	    SGATE_OK);
	expect_state(reader, 2, 18, 0, -1);
	spool_reader_close(reader);
	spool_close(spool);
	spooled_close(&s);
}

/* ---- files that go ---- */

/* How many files of frames are there after a look by a new reader. */
static size_t
files_after_look(struct spooled *s)
{
	struct spool_reader *reader = spooled_reader(s);

	spooled_look(s, reader);
	spool_reader_close(reader);
	return spooled_count(s, ".spool", NULL);
}

static void
a_file_goes_when_it_is_done_old_and_let_go(void **state)
{
	struct spool_reader *reader;
	char frames[160], marks[160];
	struct spool *spool;
	struct spooled s;

	(void)state;
	spooled_open(&s);
	s.limits.keep_ms = 100000;
	spool = spooled_writer(&s);
	assert_int_equal(spooled_append(&s, spool, 1, false), SGATE_OK);
	assert_int_equal(spooled_count(&s, ".spool", frames), 1);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_DURABLE, true, NULL, 0), 1);
	spool_reader_close(reader);
	assert_int_equal(spooled_count(&s, ".done", marks), 1);
	/* One store has it: however old it is. */
	make_old(frames, 200000);
	make_old(marks, 200000);
	assert_int_equal(files_after_look(&s), 1);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_CACHE, true, NULL, 0), 1);
	spooled_look(&s, reader);
	/* Done, but just now. */
	assert_int_equal(spooled_count(&s, ".spool", NULL), 1);
	spool_reader_close(reader);
	assert_int_equal(files_after_look(&s), 1);
	/* Done long ago, but somebody may add to it. */
	make_old(frames, 200000);
	make_old(marks, 200000);
	assert_int_equal(files_after_look(&s), 1);
	spool_close(spool);
	/* The frames are old, the marks are not. */
	make_old(marks, 50000);
	assert_int_equal(files_after_look(&s), 1);
	make_old(marks, 200000);
	assert_int_equal(files_after_look(&s), 0);
	assert_int_equal(spooled_count(&s, ".done", NULL), 0);
	spooled_close(&s);
}

static void
a_file_that_a_store_has_not_got_stays_however_old(void **state)
{
	struct spool_reader *reader;
	struct spooled s;
	char path[160];
	unsigned i;

	(void)state;
	spooled_open(&s);
	s.limits.keep_ms = 1000;
	spooled_fill(&s, 0, 3);
	for (i = 0; i < 2; i++) {
		assert_int_equal(spooled_count(&s, ".spool", path), 1);
		make_old(path, INT64_C(10000000));
		assert_int_equal(files_after_look(&s), 1);
		reader = spooled_reader(&s);
		spooled_look(&s, reader);
		assert_int_equal(
		    spooled_pass(&s, reader, 1u << i, true, NULL, 0), 3);
		spool_reader_close(reader);
		assert_int_equal(spooled_count(&s, ".done", path), 1);
		make_old(path, INT64_C(10000000));
	}
	assert_int_equal(files_after_look(&s), 0);
	spooled_close(&s);
}

/* Whatever a store has had from the beginning is kept as long. */
static void
a_file_is_kept_from_its_last_frame_on(void **state)
{
	struct spool_reader *reader;
	struct spool_frame frame;
	struct spool *spool;
	struct spooled s;
	char frames[160];

	(void)state;
	spooled_open(&s);
	s.limits.keep_ms = 100000;
	spool = spooled_writer(&s);
	spooled_frame(1, &frame);
	frame.done = BOTH;
	assert_int_equal(spool_append(spool, &frame, false, &s.err), SGATE_OK);
	assert_int_equal(spooled_count(&s, ".spool", frames), 1);
	make_old(frames, 200000);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	assert_int_equal(spooled_count(&s, ".spool", NULL), 1);
	spooled_frame(2, &frame);
	frame.done = BOTH;
	assert_int_equal(spool_append(spool, &frame, false, &s.err), SGATE_OK);
	spool_close(spool);
	spooled_look(&s, reader);
	assert_int_equal(spooled_count(&s, ".spool", NULL), 1);
	spool_reader_close(reader);
	make_old(frames, 200000);
	assert_int_equal(files_after_look(&s), 0);
	spooled_close(&s);
}

static void
leftovers_go_when_they_are_old_and_nobodys(void **state)
{
	static const char *const names[] = {"0102030405060708-000001.spool.new",
	    "0102030405060708-000001.done.new", "0102030405060708-000001.done"};
	struct spooled s;
	char path[160];
	size_t i;
	int fd;

	(void)state;
	spooled_open(&s);
	spooled_fill(&s, 0, 1);
	for (i = 0; i < 3; i++) {
		spooled_path(&s, names[i], path);
		spooled_store(path, (const unsigned char *)"x", 1);
		assert_int_equal(files_after_look(&s), 1);
		assert_int_equal(access(path, F_OK), 0);
		make_old(path, 3600000);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(flock(fd, LOCK_EX), 0);
		assert_int_equal(files_after_look(&s), 1);
		assert_int_equal(access(path, F_OK), 0);
		close(fd);
		assert_int_equal(files_after_look(&s), 1);
		assert_int_equal(access(path, F_OK), -1);
	}
	spooled_close(&s);
}

static void
what_is_not_ours_is_left_alone(void **state)
{
	static const char *const names[] = {"notes", "x.spool", "reserve.old",
	    "0102030405060708-1.spool", "0102030405060708-000001.spool.bak"};
	unsigned char header[SPOOL_HEADER_BYTES];
	struct spool_reader *reader;
	struct spool_state found;
	struct spooled s;
	char path[160], target[160];
	size_t i;

	(void)state;
	spooled_open(&s);
	spooled_fill(&s, 0, 2);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		spooled_path(&s, names[i], path);
		spooled_store(path, (const unsigned char *)"x", 1);
		make_old(path, INT64_C(10000000));
	}
	/* A link, a pipe, a directory by names of ours. */
	spooled_path(&s, "notes", target);
	spooled_path(&s, "0102030405060708-000001.spool", path);
	assert_int_equal(symlink(target, path), 0);
	spooled_path(&s, "0102030405060708-000002.spool", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	spooled_path(&s, "0102030405060708-000003.spool", path);
	assert_int_equal(mkdir(path, 0700), 0);
	/* Of another version; larger than any. */
	spool_header_write("host", 1, header);
	header[15] = '1';
	spool_write_uint(header + 88, 4, crc32c(0, header, 88));
	spooled_path(&s, "0102030405060708-000004.spool", path);
	spooled_store(path, header, sizeof(header));
	make_old(path, INT64_C(10000000));
	spooled_path(&s, "0102030405060708-000005.spool", path);
	spooled_store(path, header, 1);
	assert_int_equal(truncate(path, SPOOL_FILE_MAX + 1), 0);
	make_old(path, INT64_C(10000000));

	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	spool_state(reader, &found);
	assert_true(found.is_whole);
	assert_int_equal(found.files, 3);
	assert_int_equal(found.foreign, 2);
	assert_int_equal(found.damaged, 0);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_CACHE, true, NULL, 0), 2);
	assert_int_equal(
	    spool_again(reader, SPOOL_TO_CACHE, 0, &s.err), SGATE_OK);
	spooled_look(&s, reader);
	spool_reader_close(reader);
	assert_int_equal(spooled_count(&s, ".spool", NULL), 8);
	assert_int_equal(unlink(path), 0);
	spooled_close(&s);
}

/* ---- writers that go on ---- */

static void
half_a_frame_is_waited_for_while_its_writer_lives(void **state)
{
	struct spool_reader *reader;
	struct spool_state found;
	struct spool *spool;
	unsigned char *bytes;
	struct spooled s;
	char path[160];
	size_t len, i;
	int fd;

	(void)state;
	spooled_open(&s);
	spool = spooled_writer(&s);
	assert_int_equal(spooled_append(&s, spool, 1, false), SGATE_OK);
	assert_int_equal(spooled_append(&s, spool, 2, false), SGATE_OK);
	assert_int_equal(spooled_count(&s, ".spool", path), 1);
	bytes = spooled_load(path, &len);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_CACHE, true, NULL, 0), 2);
	/* A third one comes byte by byte: the first one, again. */
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	for (i = SPOOL_HEADER_BYTES; i < len; i++) {
		assert_int_equal(write(fd, bytes + i, 1), 1);
		assert_int_equal(spool_look(reader, &s.err), SGATE_OK);
		spool_state(reader, &found);
		if (found.to_cache > 0)
			break;
		assert_false(found.is_whole);
		assert_int_equal(found.torn + found.damaged, 0);
	}
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_CACHE, true, NULL, 0), 1);
	/* Half of one, and then its writer is gone. */
	assert_int_equal(write(fd, bytes + SPOOL_HEADER_BYTES, 60), 60);
	close(fd);
	assert_int_equal(spool_look(reader, &s.err), SGATE_OK);
	spool_state(reader, &found);
	assert_int_equal(found.torn, 0);
	spool_close(spool);
	assert_int_equal(spool_look(reader, &s.err), SGATE_OK);
	spool_state(reader, &found);
	assert_int_equal(found.torn, 1);
	assert_int_equal(found.damaged, 0);
	assert_true(found.is_whole);
	spool_reader_close(reader);
	free(bytes);
	spooled_close(&s);
}

static void
damage_is_told_once_with_its_place(void **state)
{
	struct spool_reader *reader;
	struct spool_state found;
	unsigned char *bytes;
	struct spooled s;
	char path[160], expected[220];
	size_t len;

	(void)state;
	spooled_open(&s);
	spooled_fill(&s, 0, 3);
	assert_int_equal(spooled_count(&s, ".spool", path), 1);
	bytes = spooled_load(path, &len);
	len -= 5;
	memset(bytes + len - 30, 0, 30);
	bytes[3] ^= 1;
	spooled_store(path, bytes, len);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	spool_state(reader, &found);
	assert_int_equal(found.to_durable, 2);
	assert_int_equal(found.damaged, 1); /* the header */
	assert_int_equal(found.torn, 1);
	snprintf(expected, sizeof(expected), "%s: %d bytes at 0",
	    strrchr(path, '/') + 1, SPOOL_HEADER_BYTES);
	assert_string_equal(found.last_damage, expected);
	spooled_look(&s, reader);
	spool_state(reader, &found);
	assert_int_equal(found.damaged, 1);
	spool_reader_close(reader);
	free(bytes);
	spooled_close(&s);
}

/* Frames that were there and are damaged since are not waited for. */
static void
frames_that_vanish_between_look_and_pass_are_given_up(void **state)
{
	struct spool_reader *reader;
	unsigned char *bytes;
	struct spooled s;
	char path[160];
	size_t len;

	(void)state;
	spooled_open(&s);
	spooled_fill(&s, 0, 3);
	spooled_fill(&s, 3, 5);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	expect_state(reader, 5, 0, 5, 0);
	assert_int_equal(spooled_count(&s, ".spool", path), 2);
	bytes = spooled_load(path, &len);
	memset(bytes, 0, len);
	spooled_store(path, bytes, len);
	assert_in_range(
	    spooled_pass(&s, reader, SPOOL_TO_DURABLE, true, NULL, 0), 2, 3);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_DURABLE, true, NULL, 0), 0);
	expect_state(reader, 0, -1, 5, 0);
	/* A file that is gone is not in the pass; the next look knows. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(spool_pass_begin(reader, SPOOL_TO_CACHE, &s.err),
	    SGATE_UNAVAILABLE);
	spooled_look(&s, reader);
	assert_in_range(
	    spooled_pass(&s, reader, SPOOL_TO_CACHE, true, NULL, 0), 2, 3);
	expect_state(reader, 0, -1, 0, -1);
	spool_reader_close(reader);
	free(bytes);
	spooled_close(&s);
}

static void
a_file_that_became_shorter_is_counted_anew(void **state)
{
	struct spool_reader *reader;
	struct spooled s;
	char path[160];

	(void)state;
	spooled_open(&s);
	spooled_fill(&s, 0, 5);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	assert_int_equal(mark_some(&s, reader, SPOOL_TO_CACHE, 2), 3);
	assert_int_equal(spooled_count(&s, ".spool", path), 1);
	assert_int_equal(truncate(path, SPOOL_HEADER_BYTES + 700), 0);
	spooled_look(&s, reader);
	expect_state(reader, spooled_read(&s, NULL, 0), 0, 1, 1);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_DURABLE, false, NULL, 0),
	    spooled_read(&s, NULL, 0));
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_CACHE, true, NULL, 0), 1);
	spool_reader_close(reader);
	spooled_close(&s);
}

#define STREAM 3000

static void
write_stream(struct spooled *s)
{
	struct spool *spool = spooled_writer(s);
	unsigned n;

	for (n = 0; n < STREAM; n++)
		if (spooled_append(s, spool, n, n % 500 == 0) != SGATE_OK)
			_exit(1);
	_exit(0);
}

static void
writers_and_a_reader_go_on_at_the_same_time(void **state)
{
	int64_t until_ms = clock_monotonic_ms() + 30000;
	static unsigned seen[STREAM];
	struct spool_reader *reader;
	struct spool_frame frame;
	struct spool_place place;
	struct spool_state found;
	struct spooled s;
	unsigned n, sum = 0;
	pid_t pids[3];
	int i, status;

	(void)state;
	spooled_open(&s);
	s.limits.max_bytes = 16 * 1024 * 1024;
	memset(seen, 0, sizeof(seen));
	for (i = 0; i < 3; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			write_stream(&s);
	}
	reader = spooled_reader(&s);
	while (sum < 3 * STREAM && clock_monotonic_ms() < until_ms) {
		assert_int_equal(spool_look(reader, &s.err), SGATE_OK);
		assert_int_equal(
		    spool_pass_begin(reader, SPOOL_TO_CACHE, &s.err), SGATE_OK);
		while (spool_pass_next(reader, &frame, &place)) {
			seen[spooled_number(&frame)]++;
			spool_done(reader, &place, SPOOL_TO_CACHE);
			sum++;
		}
	}
	for (i = 0; i < 3; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	for (n = 0; n < STREAM; n++)
		assert_int_equal(seen[n], 3);
	spool_state(reader, &found);
	assert_int_equal(found.damaged + found.torn, 0);
	assert_int_equal(found.to_cache, 0);
	spool_reader_close(reader);
	spooled_close(&s);
}

/* ---- many, and no memory ---- */

#define MANY 100000

static void
a_hundred_thousand_frames(void **state)
{
	struct spool_reader *reader;
	struct spool_frame frame;
	struct spool_place place;
	int64_t begun_ms, looked_ms, passed_ms, again_ms;
	struct spool *spools[8];
	struct spooled s;
	size_t count = 0;
	unsigned n;

	(void)state;
	spooled_open(&s);
	s.limits.max_bytes = 1024 * 1024 * 1024;
	for (n = 0; n < 8; n++)
		spools[n] = spooled_writer(&s);
	begun_ms = clock_monotonic_ms();
	for (n = 0; n < MANY; n++)
		assert_int_equal(
		    spooled_append(&s, spools[n % 8], n, false), SGATE_OK);
	print_message(
	    "# written: %d ms\n", (int)(clock_monotonic_ms() - begun_ms));
	for (n = 0; n < 8; n++)
		spool_close(spools[n]);

	reader = spooled_reader(&s);
	begun_ms = clock_monotonic_ms();
	spooled_look(&s, reader);
	looked_ms = clock_monotonic_ms();
	expect_state(reader, MANY, 0, MANY, 0);
	assert_int_equal(
	    spool_pass_begin(reader, SPOOL_TO_DURABLE, &s.err), SGATE_OK);
	while (spool_pass_next(reader, &frame, &place)) {
		assert_int_equal(
		    spool_read_uint(frame.audit.event_id + 12, 4), count);
		spool_done(reader, &place, SPOOL_TO_DURABLE);
		count++;
	}
	passed_ms = clock_monotonic_ms();
	assert_int_equal(count, MANY);
	spool_reader_close(reader);
	again_ms = clock_monotonic_ms();
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	expect_state(reader, 0, -1, MANY, 0);
	print_message("# found: %d ms, read and marked: %d ms, marks written: "
		      "%d ms, found again: %d ms\n",
	    (int)(looked_ms - begun_ms), (int)(passed_ms - looked_ms),
	    (int)(again_ms - passed_ms),
	    (int)(clock_monotonic_ms() - again_ms));
	spool_reader_close(reader);
	spooled_close(&s);
}

/* Opens, looks, passes, tells again; the first answer that is not OK. */
static enum sgate_status
use_reader(struct spooled *s, size_t *out_count)
{
	struct spool_reader *reader = NULL;
	struct spool_frame frame;
	struct spool_place place;
	enum sgate_status status;

	*out_count = 0;
	status = spool_reader_open(&s->limits, BOTH, &reader, &s->err);
	if (status == SGATE_OK)
		status = spool_look(reader, &s->err);
	if (status == SGATE_OK)
		status = spool_again(
		    reader, SPOOL_TO_DURABLE, SPOOLED_MS + 1, &s->err);
	if (status == SGATE_OK)
		status = spool_pass_begin(reader, SPOOL_TO_DURABLE, &s->err);
	while (status == SGATE_OK && spool_pass_next(reader, &frame, &place)) {
		spool_done(reader, &place, SPOOL_TO_DURABLE);
		(*out_count)++;
	}
	spool_reader_close(reader);
	return status;
}

static void
without_memory_nothing_is_lost(void **state)
{
	enum sgate_status status;
	struct spool *spool;
	struct spooled s;
	char path[160];
	size_t count;
	int n;

	(void)state;
	spooled_open(&s);
	spooled_fill(&s, 0, 40);
	spooled_fill(&s, 40, 60);
	for (n = 0;; n++) {
		no_memory_countdown = n;
		status = use_reader(&s, &count);
		if (no_memory_countdown >= 0)
			break;
		no_memory_countdown = -1;
		/* The directory's list is the system's. */
		if (status != SGATE_OK)
			assert_true(status == SGATE_NO_MEMORY ||
				    status == SGATE_UNAVAILABLE);
		else
			assert_int_equal(count, 60);
		while (spooled_count(&s, ".done", path) > 0)
			assert_int_equal(unlink(path), 0);
	}
	no_memory_countdown = -1;
	assert_true(n > 8);
	assert_int_equal(status, SGATE_OK);
	assert_int_equal(count, 60);
	for (n = 0; n < 2; n++) {
		no_memory_countdown = n;
		assert_int_equal(
		    spool_open(&s.limits, &spool, &s.err), SGATE_NO_MEMORY);
		assert_null(spool);
	}
	no_memory_countdown = -1;
	spooled_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(frames_of_all_writers_come_by_event_id),
    cmocka_unit_test(each_store_has_its_own_marks),
    cmocka_unit_test(a_store_that_is_not_there_is_not_waited_for),
    cmocka_unit_test(marks_that_are_lost_or_damaged_tell_all_again),
    cmocka_unit_test(damage_does_not_mark_the_next_frame_done),
    cmocka_unit_test(marks_that_cannot_be_written_stop_nothing),
    cmocka_unit_test(
	what_a_store_had_when_it_was_written_waits_till_it_is_asked_for),
    cmocka_unit_test(a_file_goes_when_it_is_done_old_and_let_go),
    cmocka_unit_test(a_file_that_a_store_has_not_got_stays_however_old),
    cmocka_unit_test(a_file_is_kept_from_its_last_frame_on),
    cmocka_unit_test(leftovers_go_when_they_are_old_and_nobodys),
    cmocka_unit_test(what_is_not_ours_is_left_alone),
    cmocka_unit_test(half_a_frame_is_waited_for_while_its_writer_lives),
    cmocka_unit_test(damage_is_told_once_with_its_place),
    cmocka_unit_test(frames_that_vanish_between_look_and_pass_are_given_up),
    cmocka_unit_test(a_file_that_became_shorter_is_counted_anew),
    cmocka_unit_test(writers_and_a_reader_go_on_at_the_same_time),
    cmocka_unit_test(a_hundred_thousand_frames),
    cmocka_unit_test(without_memory_nothing_is_lost),
};

TAP_MAIN(tests)
