/*
 * Ends that the durable store does not confirm: what is written, what is told,
 * in which order, and what the caller hears.
 */
#include "tap.h"

#include "pair.h"
#include "spooled.h"

#include <string.h>
#include <unistd.h>

/* What the disk was asked, and what the cache had then. */
static struct {
	unsigned syncs, calls_before_sync;
	bool is_broken;
} disk;

static int
disk_fdatasync(int fd)
{
	disk.syncs++;
	disk.calls_before_sync = cache_fake_calls("end");
	return disk.is_broken ? -1 : fdatasync(fd);
}

static const struct spool_io *
disk_io(void)
{
	static struct spool_io io;

	io = spool_io_system;
	io.fdatasync = disk_fdatasync;
	memset(&disk, 0, sizeof(disk));
	return &io;
}

struct away {
	struct pair p;
	struct spooled s;
	struct spool *spool;
	struct made made;
};

/* A session that both stores have; then the durable one goes. */
static void
away_start(struct away *a)
{
	pair_start(&a->p);
	spooled_open(&a->s);
	a->spool = spooled_writer(&a->s);
	spool_set_io(a->spool, disk_io());
	world_create(&a->p.w, "ann", &a->made);
	manager_set_spool(a->p.w.mgr, a->spool);
	pair_durable_down(&a->p);
}

static void
away_stop(struct away *a)
{
	pair_durable_back(&a->p);
	spool_close(a->spool);
	spooled_close(&a->s);
	made_clear(&a->made);
	pair_stop(&a->p);
}

static size_t
pass(struct away *a, struct spool_reader *reader, unsigned store,
    struct spool_frame *out)
{
	struct spool_place place;
	size_t count = 0;

	assert_int_equal(spool_pass_begin(reader, store, &a->s.err), SGATE_OK);
	while (spool_pass_next(reader, out, &place))
		count++;
	return count;
}

/* The frames that wait for a store; the last one. */
static size_t
waiting(struct away *a, unsigned store, struct spool_frame *out)
{
	struct spool_reader *reader = spooled_reader(&a->s);
	size_t count;

	spooled_look(&a->s, reader);
	count = pass(a, reader, store, out);
	spool_reader_close(reader);
	return count;
}

static enum sgate_status
end_token(struct away *a)
{
	return sgate_session_end_token(
	    a->p.w.mgr, B(a->made.token), SGATE_REASON_LOGGED_OUT, &a->p.w.err);
}

static enum sgate_status
end_ref(struct away *a, const struct sgate_ref *ref)
{
	return sgate_session_end(
	    a->p.w.mgr, ref, SGATE_REASON_REVOKED, &a->p.w.err);
}

static void
an_end_is_on_the_disk_before_the_cache_is_told(void **state)
{
	struct spool_frame frame;
	struct away a;

	(void)state;
	away_start(&a);
	assert_status(&a.p.w, end_token(&a), SGATE_OK);
	assert_int_equal(disk.syncs, 1);
	assert_int_equal(disk.calls_before_sync, 0);
	assert_int_equal(cache_fake_calls("end"), 1);
	assert_int_equal(cache_fake_record(&a.made.ref).data[0], 'T');
	assert_int_equal(waiting(&a, SPOOL_TO_DURABLE, &frame), 1);
	assert_string_equal(frame.audit.user, "ann");
	assert_int_equal(frame.audit.reason, SGATE_REASON_LOGGED_OUT);
	assert_int_equal(frame.version, 1);
	assert_memory_equal(
	    frame.store_id, fake_server()->store.id, sizeof(frame.store_id));
	/* An end of an end writes nothing more. */
	assert_status(&a.p.w, end_token(&a), SGATE_OK);
	assert_status(&a.p.w, end_ref(&a, &a.made.ref), SGATE_OK);
	assert_int_equal(waiting(&a, SPOOL_TO_DURABLE, &frame), 1);
	away_stop(&a);
}

/* As MySQL would have answered. */
static void
an_end_in_another_realm_does_not_learn_of_a_tombstone(void **state)
{
	struct sgate_bytes record;
	struct away a;

	(void)state;
	away_start(&a);
	assert_status(&a.p.w, end_ref(&a, &a.made.ref), SGATE_OK);
	world_caller(a.p.w.mgr, "shop");
	assert_status(&a.p.w, end_ref(&a, &a.made.ref), SGATE_NOT_FOUND);
	assert_int_equal(a.p.w.err.reason, SGATE_REASON_UNKNOWN);
	assert_int_equal(cache_fake_calls("end"), 1);
	world_caller(a.p.w.mgr, "");
	assert_status(&a.p.w, end_ref(&a, &a.made.ref), SGATE_OK);
	/* One that does not say whose it is. */
	record = cache_fake_record(&a.made.ref);
	cache_fake_set_record(&a.made.ref,
	    (struct sgate_bytes){record.data, RECORD_TOMBSTONE_BYTES - 8},
	    HOUR);
	assert_status(&a.p.w, end_ref(&a, &a.made.ref), SGATE_UNAVAILABLE);
	assert_status(&a.p.w, end_token(&a), SGATE_OK);
	away_stop(&a);
}

/* A host that starts without MySQL, by a clock that is years ahead. */
static void
a_clock_that_nobody_has_set_keeps_no_tombstone_away(void **state)
{
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_back(&a.p);
	a.p.w.now_ms = INT64_C(1600000000000);
	made_clear(&a.made);
	world_create(&a.p.w, "ann", &a.made);
	pair_durable_down(&a.p);
	a.p.w.mgr->clock = NULL;
	atomic_store(&a.p.stores.fence.clock_offset_ms, 0);
	assert_status(&a.p.w, end_token(&a), SGATE_OK);
	assert_int_equal(pair_state(&a.made.ref), 'T');
	away_stop(&a);
}

static void
what_no_store_hears_is_recorded_and_refused_here(void **state)
{
	struct spool_frame frame;
	struct away a;

	(void)state;
	away_start(&a);
	pair_cache_down();
	assert_status(&a.p.w, end_token(&a), SGATE_UNAVAILABLE);
	assert_true(manager_is_recorded(&a.p.w.err));
	assert_int_equal(waiting(&a, SPOOL_TO_CACHE, &frame), 1);
	assert_int_equal(waiting(&a, SPOOL_TO_DURABLE, &frame), 1);
	assert_string_equal(frame.audit.user, "");
	pair_cache_back(&a.p);
	assert_int_equal(
	    world_look(&a.p.w, a.made.token), SGATE_REASON_LOGGED_OUT);
	away_stop(&a);
}

static void
a_disk_that_fails_records_nothing_and_tells_nobody(void **state)
{
	struct away a;

	(void)state;
	away_start(&a);
	disk.is_broken = true;
	assert_status(&a.p.w, end_token(&a), SGATE_UNAVAILABLE);
	assert_false(manager_is_recorded(&a.p.w.err));
	assert_int_equal(cache_fake_calls("end"), 0);
	assert_int_equal(a.p.stores.counts[STORES_SPOOL_FAILED], 1);
	away_stop(&a);
}

static void
without_a_spool_or_a_known_ref_nothing_is_acknowledged(void **state)
{
	struct spool_frame frame;
	struct sgate_ref other;
	struct away a;

	(void)state;
	away_start(&a);
	other = a.made.ref;
	other.bytes[SGATE_REF_BYTES - 1] ^= 1;
	assert_status(&a.p.w, end_ref(&a, &other), SGATE_UNAVAILABLE);
	assert_false(manager_is_recorded(&a.p.w.err));
	world_caller(a.p.w.mgr, "shop");
	assert_status(&a.p.w, end_ref(&a, &a.made.ref), SGATE_UNAVAILABLE);
	world_caller(a.p.w.mgr, "");
	manager_set_spool(a.p.w.mgr, NULL);
	assert_status(&a.p.w, end_token(&a), SGATE_UNAVAILABLE);
	assert_int_equal(waiting(&a, SPOOL_TO_DURABLE, &frame), 0);
	assert_int_equal(cache_fake_calls("end"), 0);
	away_stop(&a);
}

static void
a_commit_that_was_made_after_all_has_the_event_id_of_the_frame(void **state)
{
	struct spool_frame frame;
	bool done = false;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_back(&a.p);
	fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
	fake_script("audit_exists", 1, FAKE_UNAVAILABLE);
	fake_script("begin", 2, FAKE_UNAVAILABLE);
	assert_status(&a.p.w, end_token(&a), SGATE_OK);
	assert_int_equal(waiting(&a, SPOOL_TO_DURABLE, &frame), 1);
	pair_durable_back(&a.p);
	assert_int_equal(world_audit(&a.p.w, "end", &a.made.ref), 1);
	assert_status(&a.p.w,
	    manager_spool_apply(a.p.w.mgr, &frame, 1, &done, &a.p.w.err),
	    SGATE_OK);
	assert_true(done);
	assert_int_equal(world_audit(&a.p.w, "end", &a.made.ref), 1);
	away_stop(&a);
}

static void
what_both_stores_have_is_kept_without_a_sync(void **state)
{
	struct spool_reader *reader;
	struct spool_frame frame;
	struct away a;

	(void)state;
	away_start(&a);
	pair_durable_back(&a.p);
	assert_status(&a.p.w, end_token(&a), SGATE_OK);
	assert_int_equal(disk.syncs, 0);
	assert_int_equal(waiting(&a, SPOOL_TO_DURABLE, &frame), 0);
	assert_int_equal(waiting(&a, SPOOL_TO_CACHE, &frame), 0);
	reader = spooled_reader(&a.s);
	spooled_look(&a.s, reader);
	assert_int_equal(
	    spool_again(reader, SPOOL_TO_CACHE, 0, &a.s.err), SGATE_OK);
	assert_int_equal(pass(&a, reader, SPOOL_TO_CACHE, &frame), 1);
	assert_int_equal(pass(&a, reader, SPOOL_TO_DURABLE, &frame), 0);
	spool_reader_close(reader);
	away_stop(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_end_is_on_the_disk_before_the_cache_is_told),
    cmocka_unit_test(an_end_in_another_realm_does_not_learn_of_a_tombstone),
    cmocka_unit_test(a_clock_that_nobody_has_set_keeps_no_tombstone_away),
    cmocka_unit_test(what_no_store_hears_is_recorded_and_refused_here),
    cmocka_unit_test(a_disk_that_fails_records_nothing_and_tells_nobody),
    cmocka_unit_test(without_a_spool_or_a_known_ref_nothing_is_acknowledged),
    cmocka_unit_test(
	a_commit_that_was_made_after_all_has_the_event_id_of_the_frame),
    cmocka_unit_test(what_both_stores_have_is_kept_without_a_sync),
};

TAP_MAIN(tests)
