/*
 * The spool's whole way, from append() to both stores, over the stores of the
 * world (SQLite, or MySQL and Redis: world.h). SESSGATE_SPOOL_FRAMES: how many
 * frames, to measure with.
 */
#include "config.h"

#include "tap.h"

#include "world.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "no_memory.h"
#include "spool.h"

#define LIVE 40
#define BATCH MANAGER_SPOOL_BATCH

static unsigned
frames_wanted(void)
{
	const char *text = getenv("SESSGATE_SPOOL_FRAMES");

	return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 300;
}

static char spool_dir[100];
static const struct spool_limits limits = {
    .dir = spool_dir, .max_bytes = INT64_C(1) << 30, .keep_ms = 15 * MINUTE};

static void
spool_start(
    struct world *w, struct spool **out_spool, struct spool_reader **out_reader)
{
	unsigned stores = SPOOL_TO_DURABLE;

	world_start(w);
	snprintf(spool_dir, sizeof(spool_dir), "%s.spool", w->dir);
	if (world_has_redis())
		stores |= SPOOL_TO_CACHE;
	assert_status(w, spool_open(&limits, out_spool, &w->err), SGATE_OK);
	assert_status(w,
	    spool_reader_open(&limits, stores, out_reader, &w->err), SGATE_OK);
}

static void
spool_stop(struct world *w, struct spool *spool, struct spool_reader *reader)
{
	char command[128];

	spool_close(spool);
	spool_reader_close(reader);
	snprintf(command, sizeof(command), "rm -r %s", spool_dir);
	assert_int_equal(system(command), 0);
	world_close(w);
}

/* Of a session that is there, or (NULL) of one that nobody knows. */
static void
append_end(struct world *w, struct spool *spool, unsigned number,
    const struct sgate_ref *ref)
{
	struct spool_frame frame;
	uint32_t seconds = (uint32_t)(w->now_ms / 1000 - 60);
	int i;

	memset(&frame, 0, sizeof(frame));
	frame.kind = SPOOL_END;
	frame.absolute_ms = w->now_ms + 7 * HOUR;
	frame.ended_ms = w->now_ms;
	audit_init(&frame.audit, w->mgr, "end", SGATE_REASON_LOGGED_OUT);
	frame.audit.has_ref = true;
	if (ref != NULL) {
		frame.audit.ref = *ref;
	} else {
		frame.audit.ref.bytes[0] = (unsigned char)number;
		for (i = 0; i < 4; i++) {
			frame.audit.ref.bytes[1 + i] =
			    (unsigned char)(seconds >> 8 * (3 - i));
			frame.audit.ref.bytes[8 + i] =
			    (unsigned char)(number >> 8 * (3 - i));
		}
	}
	memcpy(frame.audit.user, "ann", 4);
	assert_status(w,
	    spool_append(spool, &frame, number % 100 == 0, &w->err), SGATE_OK);
}

typedef enum sgate_status ship_fn(struct sgate_manager *mgr,
    const struct spool_frame *frames, size_t count, bool *out_done,
    struct sgate_error *err);

/* One pass, as the keeper's: batches, each told as far as it was done. */
static size_t
ship_pass(
    struct world *w, struct spool_reader *reader, unsigned store, ship_fn *ship)
{
	static struct spool_frame frames[BATCH];
	struct spool_place places[BATCH];
	bool done[BATCH];
	size_t count, i, sum = 0;

	assert_status(w, spool_pass_begin(reader, store, &w->err), SGATE_OK);
	do {
		count = 0;
		while (count < BATCH &&
		       spool_pass_next(reader, &frames[count], &places[count]))
			count++;
		if (count == 0)
			break;
		assert_status(
		    w, ship(w->mgr, frames, count, done, &w->err), SGATE_OK);
		for (i = 0; i < count; i++) {
			assert_true(done[i]);
			spool_done(reader, &places[i], store);
			sum++;
		}
	} while (count == BATCH);
	return sum;
}

static void
ship_all(struct world *w, struct spool_reader *reader, size_t frames)
{
	struct spool_state found;
	int64_t begun_ms = clock_monotonic_ms(), applied_ms;

	do {
		assert_status(w, spool_look(reader, &w->err), SGATE_OK);
		spool_state(reader, &found);
	} while (!found.is_whole);
	assert_int_equal(found.to_durable, frames);
	assert_int_equal(
	    ship_pass(w, reader, SPOOL_TO_DURABLE, manager_spool_apply),
	    frames);
	applied_ms = clock_monotonic_ms();
	if (world_has_redis())
		assert_int_equal(
		    ship_pass(w, reader, SPOOL_TO_CACHE, manager_spool_publish),
		    frames);
	print_message("# %zu frames: %s %d ms, tombstones %d ms\n", frames,
	    world_store(), (int)(applied_ms - begun_ms),
	    (int)(clock_monotonic_ms() - applied_ms));
	spool_state(reader, &found);
	assert_int_equal(found.to_durable + found.to_cache, 0);
}

static void
ends_in_the_spool_reach_both_stores_once(void **state)
{
	unsigned wanted = frames_wanted(), n;
	struct spool_reader *reader;
	struct made made[LIVE];
	struct spool *spool;
	struct world w;

	(void)state;
	spool_start(&w, &spool, &reader);
	for (n = 0; n < LIVE; n++)
		world_create(&w, n % 2 == 0 ? "ann" : "ben", &made[n]);
	for (n = 0; n < wanted; n++)
		append_end(&w, spool, n, n < LIVE ? &made[n].ref : NULL);
	ship_all(&w, reader, wanted);
	assert_int_equal(world_audit(&w, "end", &made[1].ref), 1);
	for (n = 0; n < LIVE; n++)
		assert_int_equal(
		    world_look(&w, made[n].token), SGATE_REASON_LOGGED_OUT);
	/* What a store may have lost is told again: no second audit row. */
	assert_status(
	    &w, spool_again(reader, SPOOL_TO_DURABLE, 0, &w.err), SGATE_OK);
	assert_status(
	    &w, spool_again(reader, SPOOL_TO_CACHE, 0, &w.err), SGATE_OK);
	ship_all(&w, reader, wanted);
	for (n = 0; n < LIVE; n++) {
		assert_int_equal(world_audit(&w, "end", &made[n].ref), 1);
		made_clear(&made[n]);
	}
	spool_stop(&w, spool, reader);
}

/* Sessions whose end only the spool knows, in a Redis that lost its tombstone.
 */
static void
a_cache_that_was_emptied_is_told_again(void **state)
{
	struct spool_reader *reader;
	struct spool *spool;
	struct made made;
	struct world w;

	(void)state;
	if (!world_has_redis())
		return; /* there is none to be emptied */
	spool_start(&w, &spool, &reader);
	world_create(&w, "ann", &made);
	world_save_cache(&w);
	append_end(&w, spool, 0, &made.ref);
	assert_status(&w, spool_look(reader, &w.err), SGATE_OK);
	assert_int_equal(
	    ship_pass(&w, reader, SPOOL_TO_CACHE, manager_spool_publish), 1);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_LOGGED_OUT);
	world_restore_cache(&w);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_status(
	    &w, spool_again(reader, SPOOL_TO_CACHE, 0, &w.err), SGATE_OK);
	assert_int_equal(
	    ship_pass(&w, reader, SPOOL_TO_CACHE, manager_spool_publish), 1);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_LOGGED_OUT);
	assert_int_equal(
	    ship_pass(&w, reader, SPOOL_TO_DURABLE, manager_spool_apply), 1);
	assert_int_equal(world_audit(&w, "end", &made.ref), 1);
	made_clear(&made);
	spool_stop(&w, spool, reader);
}

/* A live session and one that nobody knows, when memory ends on the way. */
static void
without_memory_nothing_is_done_or_all_of_it(void **state)
{
	struct spool_frame frames[2];
	struct spool_place places[2];
	bool done[2] = {false, false}, is_told[2];
	struct spool_reader *reader;
	enum sgate_status status;
	struct spool *spool;
	struct made made;
	struct world w;
	int n;

	(void)state;
	spool_start(&w, &spool, &reader);
	world_create(&w, "ann", &made);
	append_end(&w, spool, 0, &made.ref);
	append_end(&w, spool, 1, NULL);
	assert_status(&w, spool_look(reader, &w.err), SGATE_OK);
	assert_status(
	    &w, spool_pass_begin(reader, SPOOL_TO_DURABLE, &w.err), SGATE_OK);
	assert_true(spool_pass_next(reader, &frames[0], &places[0]));
	assert_true(spool_pass_next(reader, &frames[1], &places[1]));
	for (n = 0;; n++) {
		no_memory_countdown = n;
		status = manager_spool_apply(w.mgr, frames, 2, done, &w.err);
		if (no_memory_countdown >= 0)
			break;
		assert_int_equal(status, SGATE_NO_MEMORY);
		assert_false(done[0] || done[1]);
	}
	no_memory_countdown = -1;
	assert_true(n > 10);
	assert_int_equal(status, SGATE_OK);
	assert_true(done[0] && done[1]);
	assert_int_equal(world_audit(&w, "end", NULL), 2);
	for (n = 0; world_has_redis(); n++) {
		no_memory_countdown = n;
		status =
		    manager_spool_publish(w.mgr, frames, 2, is_told, &w.err);
		if (no_memory_countdown >= 0)
			break;
		assert_int_not_equal(status, SGATE_OK);
		assert_false(is_told[0] || is_told[1]);
	}
	no_memory_countdown = -1;
	made_clear(&made);
	spool_stop(&w, spool, reader);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ends_in_the_spool_reach_both_stores_once),
    cmocka_unit_test(a_cache_that_was_emptied_is_told_again),
    cmocka_unit_test(without_memory_nothing_is_done_or_all_of_it),
};

TAP_MAIN(tests)
