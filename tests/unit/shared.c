/* Shared memory: the file, merging of touches, and owners that are killed. */
#include "config.h"

#include "counted.h"
#include "shared.h"

#include "clock.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

struct fixture {
	char dir[64];
	struct shared *shared;
};

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sgate_error err;

	assert_non_null(f);
	strcpy(f->dir, "/tmp/sessgate-shared.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(shared_create(f->dir, &f->shared, &err), SGATE_OK);
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	shared_close(f->shared);
	shared_remove(f->dir);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static struct durable_touch
touch_of(unsigned number, int64_t last_seen_ms)
{
	struct durable_touch touch = {.last_seen_ms = last_seen_ms};

	touch.ref.bytes[11] = (unsigned char)number;
	touch.ref.bytes[10] = (unsigned char)(number >> 8);
	touch.ref.bytes[9] = (unsigned char)(number >> 16);
	return touch;
}

static void
the_file_is_private_and_whole(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/shared", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, sizeof(struct shared));
	assert_true((uint64_t)st.st_blocks * 512 >= sizeof(struct shared));
	assert_memory_equal(f->shared->magic, "sessgate", 8);
	assert_int_equal(f->shared->size, sizeof(struct shared));
	assert_true(f->shared->started_ms > 0);
	assert_int_equal(f->shared->workers[SHARED_WORKERS_MAX - 1].pid, 0);
}

static void
a_second_create_replaces_the_file_and_follows_no_link(void **state)
{
	struct fixture *f = *state;
	struct shared *second = NULL;
	struct sgate_error err;
	char path[128], target[128];
	struct stat st;

	shared_remove(f->dir);
	snprintf(path, sizeof(path), "%s/shared", f->dir);
	snprintf(target, sizeof(target), "%s/target", f->dir);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(shared_create(f->dir, &second, &err), SGATE_OK);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_not_equal(stat(target, &st), 0);
	tally_add(&second->others.counters[TALLY_REQUESTS], 1);
	assert_int_equal(counted(second, TALLY_REQUESTS), 1);
	assert_int_equal(counted(f->shared, TALLY_REQUESTS), 0);
	shared_close(second);
}

static void
a_missing_directory_is_an_error_with_its_path(void **state)
{
	struct shared *shared = (struct shared *)1;
	struct sgate_error err;

	(void)state;
	assert_int_equal(
	    shared_create("/nonexistent/x", &shared, &err), SGATE_INTERNAL);
	assert_null(shared);
	assert_int_equal(err.native_code, ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/x/shared"));
}

static void
every_counter_has_a_name_of_its_own(void **state)
{
	int i, j;

	(void)state;
	for (i = 0; i < TALLY_COUNTERS; i++) {
		assert_non_null(tally_counter_name((enum tally_counter)i));
		for (j = 0; j < i; j++)
			assert_string_not_equal(
			    tally_counter_name((enum tally_counter)i),
			    tally_counter_name((enum tally_counter)j));
	}
	assert_string_equal(tally_counter_name(TALLY_COUNTERS), "unknown");
}

/* Up to max pending ones, which are pending no more. */
static size_t
take(struct shared *shared, struct durable_touch *out, size_t max)
{
	static struct durable_touch
	    all[SHARED_TOUCH_BUCKETS * SHARED_TOUCH_WAYS];
	size_t cursor = 0, count;

	count = shared_touch_copy(
	    shared, &cursor, all, sizeof(all) / sizeof(all[0]));
	assert_int_equal(cursor, SHARED_TOUCH_BUCKETS);
	if (count > max)
		count = max;
	memcpy(out, all, count * sizeof(*out));
	shared_touch_written(shared, out, count);
	return count;
}

static void
touches_of_one_ref_are_merged(void **state)
{
	struct fixture *f = *state;
	struct durable_touch touch = touch_of(7, 1000), out[4];

	assert_true(shared_touch_put(f->shared, &touch));
	touch.last_seen_ms = 500;
	assert_true(shared_touch_put(f->shared, &touch));
	assert_int_equal(shared_touch_last_seen(f->shared, &touch.ref), 1000);
	touch.last_seen_ms = 2000;
	assert_true(shared_touch_put(f->shared, &touch));
	assert_int_equal(shared_touch_last_seen(f->shared, &touch.ref), 2000);
	assert_int_equal(take(f->shared, out, 4), 1);
	assert_int_equal(out[0].last_seen_ms, 2000);
	assert_int_equal(out[0].successor_used_ms, 0);
	assert_int_equal(take(f->shared, out, 4), 0);
	assert_int_equal(shared_touch_last_seen(f->shared, &touch.ref), 0);
}

static void
successor_marks_keep_the_first_use_of_the_last_rotation(void **state)
{
	struct fixture *f = *state;
	struct durable_touch touch = touch_of(9, 0), out[2];

	touch.successor_used_ms = 300;
	touch.secret_hash[0] = 1;
	assert_true(shared_touch_put(f->shared, &touch));
	touch.successor_used_ms = 400; /* the same secret, used again */
	assert_true(shared_touch_put(f->shared, &touch));
	assert_int_equal(take(f->shared, out, 2), 1);
	assert_int_equal(out[0].successor_used_ms, 300);

	touch.successor_used_ms = 300;
	assert_true(shared_touch_put(f->shared, &touch));
	touch.successor_used_ms = 900; /* a later rotation */
	touch.secret_hash[0] = 2;
	assert_true(shared_touch_put(f->shared, &touch));
	touch.successor_used_ms = 350; /* a late message of the earlier one */
	touch.secret_hash[0] = 1;
	assert_true(shared_touch_put(f->shared, &touch));
	touch = touch_of(9, 5000); /* no mark: leaves the mark alone */
	assert_true(shared_touch_put(f->shared, &touch));
	assert_int_equal(take(f->shared, out, 2), 1);
	assert_int_equal(out[0].successor_used_ms, 900);
	assert_int_equal(out[0].secret_hash[0], 2);
	assert_int_equal(out[0].last_seen_ms, 5000);
}

static void
a_full_bucket_refuses_and_the_others_do_not(void **state)
{
	struct fixture *f = *state;
	struct durable_touch touch;
	unsigned i;

	for (i = 0; i < SHARED_TOUCH_WAYS; i++) {
		touch = touch_of(3 + 256 * i, 1);
		assert_true(shared_touch_put(f->shared, &touch));
	}
	touch = touch_of(3 + 256 * i, 1);
	assert_false(shared_touch_put(f->shared, &touch));
	touch = touch_of(3, 2); /* is pending already */
	assert_true(shared_touch_put(f->shared, &touch));
	touch = touch_of(4, 1);
	assert_true(shared_touch_put(f->shared, &touch));
}

static void
copies_of_whole_buckets_reach_every_touch_once(void **state)
{
	struct fixture *f = *state;
	struct durable_touch touch, out[SHARED_TOUCH_WAYS];
	size_t seen[SHARED_TOUCH_BUCKETS] = {0}, cursor = 0, count, i;

	for (i = 0; i < SHARED_TOUCH_BUCKETS * 3; i++) {
		touch = touch_of((unsigned)i, 1);
		assert_true(shared_touch_put(f->shared, &touch));
	}
	while (cursor < SHARED_TOUCH_BUCKETS) {
		count = shared_touch_copy(
		    f->shared, &cursor, out, SHARED_TOUCH_WAYS);
		for (i = 0; i < count; i++)
			seen[out[i].ref.bytes[11]]++;
	}
	for (i = 0; i < SHARED_TOUCH_BUCKETS; i++)
		assert_int_equal(seen[i], 3);
}

static void
a_touch_is_pending_until_it_is_written(void **state)
{
	struct fixture *f = *state;
	struct durable_touch touch = touch_of(7, 1000), other = touch_of(8, 1);
	struct durable_touch out[SHARED_TOUCH_WAYS * 2];
	size_t cursor = 0;

	assert_true(shared_touch_put(f->shared, &touch));
	assert_true(shared_touch_put(f->shared, &other));
	while (shared_touch_copy(
		   f->shared, &cursor, out, 2 * SHARED_TOUCH_WAYS) == 0)
		;
	assert_int_equal(shared_touch_last_seen(f->shared, &touch.ref), 1000);
	shared_touch_written(f->shared, &touch, 1);
	assert_int_equal(shared_touch_last_seen(f->shared, &touch.ref), 0);
	assert_int_equal(shared_touch_last_seen(f->shared, &other.ref), 1);
	shared_touch_written(f->shared, &touch, 1);
	assert_int_equal(shared_touch_last_seen(f->shared, &other.ref), 1);
}

static void
what_came_while_a_touch_was_written_stays(void **state)
{
	struct fixture *f = *state;
	struct durable_touch touch = touch_of(7, 1000), out[1];
	struct durable_touch written = touch;

	assert_true(shared_touch_put(f->shared, &touch));
	touch.last_seen_ms = 2000;
	assert_true(shared_touch_put(f->shared, &touch));
	shared_touch_written(f->shared, &written, 1);
	assert_int_equal(shared_touch_last_seen(f->shared, &touch.ref), 2000);
	written = touch;
	touch.successor_used_ms = 3000;
	touch.secret_hash[0] = 1;
	assert_true(shared_touch_put(f->shared, &touch));
	shared_touch_written(f->shared, &written, 1);
	assert_int_equal(take(f->shared, out, 1), 1);
	assert_int_equal(out[0].successor_used_ms, 3000);
}

/* Runs fn in a child; returns its pid. */
static pid_t
child(void (*fn)(struct shared *shared), struct shared *shared)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		fn(shared);
		_exit(0);
	}
	return pid;
}

static int
wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
put_many(struct shared *shared)
{
	struct durable_touch touch;
	unsigned i;

	for (i = 0; i < 20000; i++) {
		touch = touch_of(i % 5000, (int64_t)i + 1);
		while (!shared_touch_put(shared, &touch))
			usleep(100);
	}
}

static void
two_processes_put_while_a_third_takes(void **state)
{
	struct fixture *f = *state;
	struct durable_touch out[100];
	int64_t latest[5000] = {0};
	size_t taken, i;
	unsigned number;
	pid_t one = child(put_many, f->shared);
	pid_t two = child(put_many, f->shared);
	int status, left = 2;

	do {
		while (left > 0 && waitpid(-1, &status, WNOHANG) > 0) {
			assert_int_equal(status, 0);
			left--;
		}
		taken = take(f->shared, out, 100);
		for (i = 0; i < taken; i++) {
			number = out[i].ref.bytes[11] |
				 (unsigned)out[i].ref.bytes[10] << 8;
			assert_true(number < 5000);
			if (out[i].last_seen_ms > latest[number])
				latest[number] = out[i].last_seen_ms;
		}
	} while (left > 0 || taken > 0);
	for (i = 0; i < 5000; i++)
		assert_int_equal(latest[i], 15000 + (int64_t)i + 1);
	assert_true(one != two);
}

static void
lock_bucket_five_and_stay(struct shared *shared)
{
	pthread_mutex_lock(&shared->touches[5].mutex);
	shared->touches[5].count = 40; /* half-way through something */
	shared->state.heartbeat_ms = 1;
	for (;;)
		pause();
}

static void
a_killed_owner_costs_its_bucket_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct durable_touch five = touch_of(5, 1), six = touch_of(6, 1);
	struct durable_touch out[4];
	int64_t started_ms;
	pid_t pid;

	assert_true(shared_touch_put(f->shared, &five));
	assert_true(shared_touch_put(f->shared, &six));
	pid = child(lock_bucket_five_and_stay, f->shared);
	while (f->shared->state.heartbeat_ms == 0)
		usleep(1000);

	/* It lives: the others wait a moment, then do without. */
	started_ms = clock_monotonic_ms();
	assert_false(shared_touch_put(f->shared, &five));
	assert_int_equal(shared_touch_last_seen(f->shared, &five.ref), 0);
	assert_int_equal(take(f->shared, out, 4), 1);
	assert_true(clock_monotonic_ms() - started_ms < 2000);
	assert_true(shared_touch_put(f->shared, &six));

	kill(pid, SIGKILL);
	assert_true(WIFSIGNALED(wait_for(pid)));
	assert_int_equal(shared_touch_last_seen(f->shared, &five.ref), 0);
	assert_true(shared_touch_put(f->shared, &five));
	assert_int_equal(shared_touch_last_seen(f->shared, &five.ref), 1);
	assert_int_equal(take(f->shared, out, 4), 2);
}

static void
put_for_ever(struct shared *shared)
{
	struct durable_touch touch;
	unsigned i;

	for (i = 0;; i++) {
		touch = touch_of(i, 1);
		shared_touch_put(shared, &touch);
	}
}

static void
killing_writers_at_any_moment_leaves_no_lock(void **state)
{
	struct fixture *f = *state;
	struct durable_touch touch, out[64];
	unsigned round, i;
	pid_t pid;

	for (round = 0; round < 60; round++) {
		pid = child(put_for_ever, f->shared);
		usleep(1000 + round * 37);
		kill(pid, SIGKILL);
		wait_for(pid);
		while (take(f->shared, out, 64) > 0)
			;
		for (i = 0; i < SHARED_TOUCH_BUCKETS; i++) {
			touch = touch_of(i, 2);
			assert_true(shared_touch_put(f->shared, &touch));
		}
	}
}

static void
a_count_out_of_range_is_taken_as_none(void **state)
{
	struct fixture *f = *state;
	struct durable_touch touch = touch_of(5, 1), out[4];

	f->shared->touches[5].count = 0xffffffff;
	assert_int_equal(take(f->shared, out, 4), 0);
	f->shared->touches[5].count = SHARED_TOUCH_WAYS + 1;
	assert_true(shared_touch_put(f->shared, &touch));
	assert_int_equal(take(f->shared, out, 4), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- marks ---- */

static void
mark_of(unsigned number, struct sgate_ref *ref, unsigned char hash[32])
{
	unsigned i;

	memset(ref, 0, sizeof(*ref));
	memcpy(ref->bytes, &number, sizeof(number));
	/* As evenly spread as a SHA-256 is. */
	for (i = 0; i < 32; i++) {
		number = number * 1664525u + 1013904223u;
		hash[i] = (unsigned char)(number >> 24);
	}
}

static void
a_mark_is_of_one_session_and_one_secret(void **state)
{
	struct fixture *f = *state;
	unsigned char hash[32], other_hash[32];
	struct sgate_ref ref, other_ref;

	mark_of(1, &ref, hash);
	mark_of(2, &other_ref, other_hash);
	assert_false(shared_mark_is_set(f->shared, &ref, hash));
	shared_mark_set(f->shared, &ref, hash);
	assert_true(shared_mark_is_set(f->shared, &ref, hash));
	assert_false(shared_mark_is_set(f->shared, &other_ref, hash));
	assert_false(shared_mark_is_set(f->shared, &ref, other_hash));
	other_hash[0] = hash[0];
	other_hash[1] = hash[1];
	assert_false(shared_mark_is_set(f->shared, &ref, other_hash));
}

static void
a_mark_takes_one_place_however_often_it_is_set(void **state)
{
	struct fixture *f = *state;
	unsigned char hash[32], other_hash[32];
	struct sgate_ref ref, other_ref;
	int i;

	mark_of(1, &ref, hash);
	mark_of(2, &other_ref, other_hash);
	memcpy(other_hash, hash, 2); /* the same set */
	shared_mark_set(f->shared, &other_ref, other_hash);
	for (i = 0; i < 100; i++)
		shared_mark_set(f->shared, &ref, hash);
	assert_true(shared_mark_is_set(f->shared, &other_ref, other_hash));
	assert_true(shared_mark_is_set(f->shared, &ref, hash));
}

static void
in_a_full_set_the_newest_mark_has_its_place(void **state)
{
	struct fixture *f = *state;
	unsigned char hash[32];
	struct sgate_ref ref;
	unsigned i, left = 0;

	for (i = 0; i < 40; i++) {
		mark_of(i, &ref, hash);
		memset(hash, 7, 2);
		shared_mark_set(f->shared, &ref, hash);
		assert_true(shared_mark_is_set(f->shared, &ref, hash));
	}
	for (i = 0; i < 40; i++) {
		mark_of(i, &ref, hash);
		memset(hash, 7, 2);
		left += shared_mark_is_set(f->shared, &ref, hash);
	}
	assert_int_equal(left, SHARED_MARK_WAYS);
}

static void
a_hundred_thousand_marks_have_room(void **state)
{
	struct fixture *f = *state;
	unsigned char hash[32];
	struct sgate_ref ref;
	unsigned i, left = 0;

	for (i = 0; i < 100000; i++) {
		mark_of(i, &ref, hash);
		shared_mark_set(f->shared, &ref, hash);
	}
	for (i = 0; i < 100000; i++) {
		mark_of(i, &ref, hash);
		left += shared_mark_is_set(f->shared, &ref, hash);
	}
	assert_true(left > 97000);
	/* And none that was never set. */
	for (; i < 200000; i++) {
		mark_of(i, &ref, hash);
		assert_false(shared_mark_is_set(f->shared, &ref, hash));
	}
}

static const struct CMUnitTest shared_tests[] = {
    TEST(the_file_is_private_and_whole),
    TEST(a_second_create_replaces_the_file_and_follows_no_link),
    TEST(a_missing_directory_is_an_error_with_its_path),
    TEST(every_counter_has_a_name_of_its_own),
    TEST(touches_of_one_ref_are_merged),
    TEST(successor_marks_keep_the_first_use_of_the_last_rotation),
    TEST(a_full_bucket_refuses_and_the_others_do_not),
    TEST(copies_of_whole_buckets_reach_every_touch_once),
    TEST(a_touch_is_pending_until_it_is_written),
    TEST(what_came_while_a_touch_was_written_stays),
    TEST(two_processes_put_while_a_third_takes),
    TEST(a_killed_owner_costs_its_bucket_and_nothing_else),
    TEST(killing_writers_at_any_moment_leaves_no_lock),
    TEST(a_count_out_of_range_is_taken_as_none),
    TEST(a_mark_is_of_one_session_and_one_secret),
    TEST(a_mark_takes_one_place_however_often_it_is_set),
    TEST(in_a_full_set_the_newest_mark_has_its_place),
    TEST(a_hundred_thousand_marks_have_room),
};

TAP_MAIN(shared_tests)
