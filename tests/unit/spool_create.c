/*
 * Creations in the spool: frames that hold a record, between small ones. What
 * the spool does with any frame is tested beside this, in spool*.c.
 */
#include "config.h"

#include "tap.h"

#include "spooled.h"

#include <stdlib.h>
#include <string.h>

/* Sizes around what a window holds, and the limit. */
static const size_t sizes[] = {1, 600, 1024, 4096, 8192 - 300, 8192, 9000,
    65536, SPOOL_RECORD_MAX - 1, SPOOL_RECORD_MAX};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))
/* Frame n is a creation if n is divisible by that. */
#define EVERY 3

static char *
record_of(unsigned n, size_t *out_len)
{
	char *record;
	size_t i;

	*out_len = sizes[n / EVERY % SIZES];
	record = malloc(*out_len);
	assert_non_null(record);
	/* The first byte of a frame may stand in it as often as it likes. */
	for (i = 0; i < *out_len; i++)
		record[i] = (char)(i % 5 == 0 ? SPOOL_MAGIC_FIRST : n + i);
	return record;
}

/* Free record.data. */
static void
make_frame(unsigned n, struct spool_frame *out)
{
	spooled_frame(n, out);
	if (n % EVERY != 0)
		return;
	out->kind = SPOOL_CREATE;
	out->ended_ms = 0;
	out->record.data = record_of(n, &out->record.len);
}

static void
drop_frame(struct spool_frame *frame)
{
	free((void *)(uintptr_t)frame->record.data);
}

static void
fill(struct spooled *s, unsigned from, unsigned to)
{
	struct spool *spool = spooled_writer(s);
	struct spool_frame frame;

	for (; from < to; from++) {
		make_frame(from, &frame);
		assert_int_equal(
		    spool_append(spool, &frame, from % 7 == 0, &s->err),
		    SGATE_OK);
		drop_frame(&frame);
	}
	spool_close(spool);
}

static void
check_record(struct spooled *s, struct spool_reader *reader,
    const struct spool_frame *frame, const struct spool_place *place)
{
	unsigned n = (unsigned)spool_read_uint(frame->audit.event_id + 12, 4);
	struct buf loaded = {0};
	size_t len = 0;
	char *record;

	assert_null(frame->record.data);
	if (n % EVERY != 0) {
		assert_int_equal(frame->kind, SPOOL_END);
		assert_int_equal(frame->record.len, 0);
		return;
	}
	assert_int_equal(frame->kind, SPOOL_CREATE);
	record = record_of(n, &len);
	assert_int_equal(frame->record.len, len);
	assert_int_equal(spool_load(reader, place, &loaded, &s->err), SGATE_OK);
	assert_int_equal(loaded.len, len);
	assert_memory_equal(loaded.data, record, len);
	buf_clear(&loaded);
	free(record);
}

/* All that the durable store has not got, with every record; how many. */
static unsigned
read_all(struct spooled *s, struct spool_reader *reader, bool is_done)
{
	struct spool_frame frame;
	struct spool_place place;
	unsigned count = 0;

	spooled_look(s, reader);
	assert_int_equal(
	    spool_pass_begin(reader, SPOOL_TO_DURABLE, &s->err), SGATE_OK);
	while (spool_pass_next(reader, &frame, &place)) {
		check_record(s, reader, &frame, &place);
		if (is_done)
			spool_done(reader, &place, SPOOL_TO_DURABLE);
		count++;
	}
	return count;
}

static void
records_are_read_as_they_were_written(void **state)
{
	struct spool_reader *reader;
	struct spooled s;

	(void)state;
	spooled_open(&s);
	fill(&s, 0, 100);
	fill(&s, 100, 120); /* another file */
	reader = spooled_reader(&s);
	assert_int_equal(read_all(&s, reader, false), 120);
	assert_int_equal(read_all(&s, reader, true), 120);
	fill(&s, 120, 124);
	assert_int_equal(read_all(&s, reader, true), 4);
	spool_reader_close(reader);
	spooled_close(&s);
}

static void
a_record_too_large_is_refused(void **state)
{
	struct spool_frame frame;
	struct spooled s;
	struct spool *spool;

	(void)state;
	spooled_open(&s);
	spool = spooled_writer(&s);
	make_frame(0, &frame);
	drop_frame(&frame);
	frame.record.data = calloc(1, SPOOL_RECORD_MAX + 1);
	assert_non_null(frame.record.data);
	frame.record.len = SPOOL_RECORD_MAX + 1;
	assert_int_equal(
	    spool_append(spool, &frame, true, &s.err), SGATE_INTERNAL);
	frame.record.len = 0; /* a creation of nothing */
	assert_int_equal(
	    spool_append(spool, &frame, true, &s.err), SGATE_INTERNAL);
	frame.record.len = 5;
	frame.kind = SPOOL_END;
	assert_int_equal(
	    spool_append(spool, &frame, true, &s.err), SGATE_INTERNAL);
	drop_frame(&frame);
	spool_close(spool);
	spooled_close(&s);
}

/* One byte of the file, wherever it is: at most that frame is lost. */
static void
damage_loses_its_frame_alone(void **state)
{
	struct spool_reader *reader;
	struct spool_state found;
	unsigned char *bytes;
	char path[160];
	struct spooled s;
	unsigned count;
	size_t len, at;

	(void)state;
	spooled_open(&s);
	fill(&s, 0, 40);
	assert_int_equal(spooled_count(&s, ".spool", path), 1);
	bytes = spooled_load(path, &len);
	for (at = SPOOL_HEADER_BYTES; at < len; at += len / 60) {
		bytes[at] ^= 0x10;
		spooled_store(path, bytes, len);
		reader = spooled_reader(&s);
		count = read_all(&s, reader, false);
		assert_int_equal(count, 39);
		spool_state(reader, &found);
		assert_int_equal(found.damaged + found.torn, 1);
		spool_reader_close(reader);
		bytes[at] ^= 0x10;
	}
	free(bytes);
	spooled_close(&s);
}

/* Wherever its writer was killed: what was whole is there, and no more. */
static void
a_cut_record_is_torn(void **state)
{
	struct spool_reader *reader;
	struct spool_state found;
	char path[160];
	unsigned char *bytes;
	struct spooled s;
	size_t len, cut;

	(void)state;
	spooled_open(&s);
	fill(&s, 19, 28); /* the last one is of 65,536 bytes */
	assert_int_equal(spooled_count(&s, ".spool", path), 1);
	bytes = spooled_load(path, &len);
	for (cut = 1; cut < 65000; cut = 2 * cut + 1) {
		spooled_store(path, bytes, len - cut);
		reader = spooled_reader(&s);
		assert_int_equal(read_all(&s, reader, false), 8);
		spool_state(reader, &found);
		assert_int_equal(found.torn, 1);
		assert_int_equal(found.damaged, 0);
		spool_reader_close(reader);
	}
	free(bytes);
	spooled_close(&s);
}

/* What was whole at the look and is damaged at the load is not given. */
static void
a_record_that_is_damaged_since_is_not_loaded(void **state)
{
	struct spool_reader *reader;
	char path[160];
	struct spool_frame frame;
	struct spool_place place;
	struct buf loaded = {0};
	unsigned char *bytes;
	struct spooled s;
	size_t len;

	(void)state;
	spooled_open(&s);
	fill(&s, 0, 1);
	fill(&s, 21, 22);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	assert_int_equal(
	    spool_pass_begin(reader, SPOOL_TO_DURABLE, &s.err), SGATE_OK);
	assert_true(spool_pass_next(reader, &frame, &place));
	assert_true(spool_pass_next(reader, &frame, &place));
	assert_int_equal(spooled_count(&s, ".spool", path), 2);
	bytes = spooled_load(path, &len);
	bytes[len - 1] ^= 1;
	spooled_store(path, bytes, len);
	free(bytes);
	for (place.file = 0; place.file < 3; place.file++) {
		place.offset = SPOOL_HEADER_BYTES;
		if (spool_load(reader, &place, &loaded, &s.err) != SGATE_OK)
			break;
	}
	assert_in_range(place.file, 0, 1);
	assert_int_equal(
	    spool_load(reader, &place, &loaded, &s.err), SGATE_NOT_FOUND);
	buf_clear(&loaded);
	spool_reader_close(reader);
	spooled_close(&s);
}

/* A spool that is full keeps its reserve for ends. */
static void
a_full_spool_refuses_creations_first(void **state)
{
	struct spool_frame frame;
	struct spooled s;
	struct spool *spool;
	unsigned n = 0;

	(void)state;
	spooled_open(&s);
	s.limits.max_bytes = 1024 * 1024;
	s.limits.reserve_percent = 20;
	spool = spooled_writer(&s);
	for (;; n += EVERY) {
		enum sgate_status status;

		make_frame(n, &frame);
		status = spool_append(spool, &frame, true, &s.err);
		drop_frame(&frame);
		if (status != SGATE_OK)
			break;
	}
	assert_in_range(n, 10 * EVERY, 200 * EVERY);
	assert_int_equal(s.err.status, SGATE_UNAVAILABLE);
	assert_int_equal(spooled_append(&s, spool, 1, true), SGATE_OK);
	spool_close(spool);
	spooled_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(records_are_read_as_they_were_written),
    cmocka_unit_test(a_record_too_large_is_refused),
    cmocka_unit_test(damage_loses_its_frame_alone),
    cmocka_unit_test(a_cut_record_is_torn),
    cmocka_unit_test(a_record_that_is_damaged_since_is_not_loaded),
    cmocka_unit_test(a_full_spool_refuses_creations_first),
};

TAP_MAIN(tests)
