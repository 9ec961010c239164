/*
 * The spool after the worst: writers killed at every point, and files damaged
 * at every place. What was acknowledged and stands whole is read, nothing else
 * is, and a damage costs the frames that it touches.
 */
#include "config.h"

#include "tap.h"

#include "spooled.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAMES 6
#define GOT_MAX 64

/* ---- a writer that is killed ---- */

/* The nth call kills: before it, after it, or (a write) half-way. */
enum moment { BEFORE, AFTER, HALFWAY, MOMENTS };
static unsigned kill_at;
static enum moment kill_moment;

static bool
is_last(void)
{
	bool is_it = kill_at > 0 && --kill_at == 0;

	if (is_it && kill_moment == BEFORE)
		raise(SIGKILL);
	return is_it;
}

static int
deadly_open(int dir, const char *name, int flags, mode_t mode)
{
	bool is_it = is_last();
	int fd = spool_io_system.open(dir, name, flags, mode);

	if (is_it)
		raise(SIGKILL);
	return fd;
}

static ssize_t
deadly_write(int fd, const void *data, size_t len)
{
	bool is_it = is_last();
	ssize_t done;

	if (is_it && kill_moment == HALFWAY)
		len /= 2;
	done = write(fd, data, len);
	if (is_it)
		raise(SIGKILL);
	return done;
}

static int
deadly_fdatasync(int fd)
{
	bool is_it = is_last();
	int result = fdatasync(fd);

	if (is_it)
		raise(SIGKILL);
	return result;
}

static int
deadly_sync_dir(int dir)
{
	bool is_it = is_last();
	int result = spool_io_system.sync_dir(dir);

	if (is_it)
		raise(SIGKILL);
	return result;
}

static int
deadly_rename(int dir, const char *from, const char *to)
{
	bool is_it = is_last();
	int result = spool_io_system.rename(dir, from, to);

	if (is_it)
		raise(SIGKILL);
	return result;
}

static const struct spool_io deadly_io = {.open = deadly_open,
    .write = deadly_write,
    .fdatasync = deadly_fdatasync,
    .sync_dir = deadly_sync_dir,
    .rename = deadly_rename};

/* Tells each number that was acknowledged. Ends by itself when it lives. */
static void
write_till_killed(struct spooled *s, unsigned at, enum moment moment, int out)
{
	struct spool *spool = spooled_writer(s);
	unsigned n;

	spool_set_io(spool, &deadly_io);
	kill_at = at;
	kill_moment = moment;
	for (n = 0; n < FRAMES; n++)
		if (spooled_append(s, spool, n, n % 2 == 1) != SGATE_OK ||
		    write(out, &n, sizeof(n)) != sizeof(n))
			_exit(1);
	_exit(0);
}

/* False: it was not killed, there are no more calls. */
static bool
kill_writer(struct spooled *s, unsigned at, enum moment moment)
{
	unsigned got[GOT_MAX], n, acked = 0;
	struct spool_reader *reader;
	struct spool_state found;
	int pipes[2], status;
	size_t count, i;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		write_till_killed(s, at, moment, pipes[1]);
	close(pipes[1]);
	while (read(pipes[0], &n, sizeof(n)) == sizeof(n))
		assert_int_equal(n, acked++);
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);

	reader = spooled_reader(s);
	spooled_look(s, reader);
	spool_state(reader, &found);
	assert_true(found.is_whole);
	assert_int_equal(found.damaged, 0);
	assert_in_range(found.torn, 0, 1);
	count = spooled_pass(s, reader, SPOOL_TO_DURABLE, false, got, GOT_MAX);
	assert_in_range(count, acked, acked + 1);
	for (i = 0; i < count; i++)
		assert_int_equal(got[i], i);
	spool_reader_close(reader);
	spooled_empty(s);
	assert_true(WIFSIGNALED(status) || status == 0);
	return WIFSIGNALED(status);
}

static void
a_writer_killed_anywhere_leaves_what_it_acknowledged(void **state)
{
	struct spooled s;
	unsigned at, moment, kills = 0;

	(void)state;
	spooled_open(&s);
	for (moment = 0; moment < MOMENTS; moment++) {
		for (at = 1; kill_writer(&s, at, (enum moment)moment); at++)
			kills++;
		assert_true(at > 10);
	}
	print_message("# %u kills\n", kills);
	spooled_close(&s);
}

/* ---- a file that is damaged ---- */

/* The only file, as it was written, and where its frames begin. */
struct original {
	struct spooled s;
	char path[160];
	unsigned char *bytes;
	size_t len;
	size_t begins[FRAMES + 1];
};

static int
original_open(void **state)
{
	struct original *o = calloc(1, sizeof(*o));
	unsigned char writer[SPOOL_WRITER_BYTES];
	char stem[SPOOL_STEM_MAX + 1];
	struct spool_frame frame;
	size_t at;
	int i;

	assert_non_null(o);
	spooled_open(&o->s);
	spooled_fill(&o->s, 0, FRAMES);
	assert_int_equal(spooled_count(&o->s, ".spool", o->path), 1);
	assert_true(
	    spool_stem_read(strrchr(o->path, '/') + 1, ".spool", stem, writer));
	o->bytes = spooled_load(o->path, &o->len);
	for (i = 0, at = SPOOL_HEADER_BYTES; i < FRAMES; i++) {
		o->begins[i] = at;
		at += spool_frame_read(
		    o->bytes + at, o->len - at, writer, &frame);
		assert_true(at > o->begins[i]);
	}
	assert_int_equal(at, o->len);
	o->begins[FRAMES] = at;
	*state = o;
	return 0;
}

static int
original_close(void **state)
{
	struct original *o = *state;

	spooled_close(&o->s);
	free(o->bytes);
	free(o);
	return 0;
}

/* Whether any of the bytes from..to-1 is frame i's. */
static bool
touches(const struct original *o, int i, size_t from, size_t to)
{
	return from < o->begins[i + 1] && to > o->begins[i];
}

/*
 * What is read of these bytes: every frame that is not touched, once, in order;
 * of those that are, any that is still what it was; nothing else (which
 * spooled_pass() fails on).
 */
static void
expect_rest(struct original *o, const unsigned char *bytes, size_t len,
    size_t from, size_t to)
{
	unsigned got[GOT_MAX];
	size_t count, i;
	int frame;

	spooled_store(o->path, bytes, len);
	count = spooled_read(&o->s, got, GOT_MAX);
	for (frame = 0; frame < FRAMES; frame++) {
		size_t seen = 0;

		for (i = 0; i < count; i++)
			seen += got[i] == (unsigned)frame;
		if (!touches(o, frame, from, to))
			assert_in_range(seen, 1, 2);
	}
	for (i = 0; i < count; i++)
		assert_true(got[i] < FRAMES);
}

static void
a_changed_byte_costs_its_own_frame(void **state)
{
	static const unsigned char masks[] = {0x01, 0x80, 0xff, 0x5a};
	struct original *o = *state;
	unsigned char *copy = malloc(o->len);
	size_t i, mask;

	assert_non_null(copy);
	memcpy(copy, o->bytes, o->len);
	for (i = 0; i < o->len; i++) {
		for (mask = 0; mask < sizeof(masks); mask++) {
			copy[i] = o->bytes[i] ^ masks[mask];
			expect_rest(o, copy, o->len, i, i + 1);
		}
		copy[i] = o->bytes[i];
	}
	free(copy);
}

static void
a_file_cut_anywhere_has_what_is_before(void **state)
{
	struct original *o = *state;
	size_t i;

	for (i = 0; i <= o->len; i++)
		expect_rest(o, o->bytes, i, i, o->len);
}

static void
bytes_that_are_missing_cost_their_own_frames(void **state)
{
	static const size_t sizes[] = {1, 4, 100, 500};
	struct original *o = *state;
	unsigned char *copy = malloc(o->len);
	size_t i, n, size;

	assert_non_null(copy);
	for (i = 0; i < o->len; i++) {
		for (n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
			size = sizes[n] < o->len - i ? sizes[n] : o->len - i;
			memcpy(copy, o->bytes, i);
			memcpy(
			    copy + i, o->bytes + i + size, o->len - i - size);
			expect_rest(o, copy, o->len - size, i, i + size);
		}
	}
	free(copy);
}

/* A byte, or so many, stand there twice: between two frames that costs none. */
static void
bytes_that_stand_twice_cost_one_frame(void **state)
{
	static const size_t sizes[] = {1, 4, 100, 500, 1500};
	struct original *o = *state;
	unsigned char *copy = malloc(2 * o->len);
	size_t i, n, size;

	assert_non_null(copy);
	for (i = 0; i < o->len; i++) {
		for (n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
			size = sizes[n] < o->len - i ? sizes[n] : o->len - i;
			memcpy(copy, o->bytes, i + size);
			memcpy(copy + i + size, o->bytes + i, o->len - i);
			/* Into the frame in which the copy is put. */
			expect_rest(
			    o, copy, o->len + size, i + size, i + size + 1);
		}
	}
	free(copy);
}

static void
a_block_of_zeros_or_of_anything_costs_what_it_covers(void **state)
{
	static const size_t sizes[] = {16, 64, 512};
	struct original *o = *state;
	unsigned char *copy = malloc(o->len);
	size_t i, n, size;

	assert_non_null(copy);
	for (i = 0; i < o->len; i++) {
		for (n = 0; n < 2 * sizeof(sizes) / sizeof(sizes[0]); n++) {
			size = sizes[n / 2];
			if (size > o->len - i)
				size = o->len - i;
			memcpy(copy, o->bytes, o->len);
			memset(
			    copy + i, n % 2 == 0 ? 0 : SPOOL_MAGIC_FIRST, size);
			expect_rest(o, copy, o->len, i, i + size);
		}
	}
	free(copy);
}

/* A disk shows, after a crash, blocks of a file that was removed. */
static void
frames_of_another_file_are_not_taken_for_its_own(void **state)
{
	struct original *o = *state;
	char path[160], other_path[160];
	struct spooled other;
	unsigned char *copy, *stale;
	size_t len, i;

	spooled_open(&other);
	spooled_fill(&other, 100, 103);
	assert_int_equal(spooled_count(&other, ".spool", path), 1);
	snprintf(other_path, sizeof(other_path), "%s", path);
	stale = spooled_load(other_path, &len);
	copy = malloc(o->len + len);
	assert_non_null(copy);
	for (i = 0; i <= FRAMES; i++) {
		memcpy(copy, o->bytes, o->begins[i]);
		memcpy(copy + o->begins[i], stale, len);
		memcpy(copy + o->begins[i] + len, o->bytes + o->begins[i],
		    o->len - o->begins[i]);
		expect_rest(o, copy, o->len + len, 0, 0);
	}
	free(copy);
	free(stale);
	spooled_close(&other);
}

/* Whatever bytes there are, it ends and finds nothing. */
static void
any_bytes_are_read_safely(void **state)
{
	struct original *o = *state;
	unsigned char bytes[3000];
	unsigned seed = 7, round;
	size_t i;

	for (round = 0; round < 200; round++) {
		for (i = 0; i < sizeof(bytes); i++) {
			seed = seed * 1103515245 + 12345;
			bytes[i] = (unsigned char)(seed >> 16);
			/* Beginnings of frames, one in another. */
			if (round % 2 == 1 && i % 40 == 0 && i > 40)
				memcpy(bytes + i - 40,
				    o->bytes + o->begins[i % FRAMES], 16);
		}
		spooled_store(o->path, bytes, sizeof(bytes));
		assert_int_equal(spooled_read(&o->s, NULL, 0), 0);
	}
}

#define DAMAGE_TEST(name)                                                      \
	cmocka_unit_test_setup_teardown(name, original_open, original_close)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_writer_killed_anywhere_leaves_what_it_acknowledged),
    DAMAGE_TEST(a_changed_byte_costs_its_own_frame),
    DAMAGE_TEST(a_file_cut_anywhere_has_what_is_before),
    DAMAGE_TEST(bytes_that_are_missing_cost_their_own_frames),
    DAMAGE_TEST(bytes_that_stand_twice_cost_one_frame),
    DAMAGE_TEST(a_block_of_zeros_or_of_anything_costs_what_it_covers),
    DAMAGE_TEST(frames_of_another_file_are_not_taken_for_its_own),
    DAMAGE_TEST(any_bytes_are_read_safely),
};

TAP_MAIN(tests)
