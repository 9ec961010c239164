/*
 * The spool's writer: what a frame is, when it is on the disk, and what becomes
 * of it when the disk fails or is full.
 */
#include "config.h"

#include "tap.h"

#include "spooled.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crc32c.h"
#include "wait.h"

static const unsigned char me[SPOOL_WRITER_BYTES] = {
    1, 2, 3, 4, 0xff, 0x80, 0, 7};

/* ---- the sum ---- */

static void
crc32c_is_the_castagnoli_sum(void **state)
{
	unsigned char byte;
	uint32_t sum;
	int i, bit;

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, "", 0), 0);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
	/* RFC 3720, B.4: 32 zeros. */
	for (i = 0, sum = 0; i < 32; i++)
		sum = crc32c(sum, "", 1);
	assert_int_equal(sum, 0x8a9136aa);
	/* Each entry of the table, one bit at a time. */
	for (i = 0; i < 256; i++) {
		byte = (unsigned char)i;
		sum = 0xffffffff ^ byte;
		for (bit = 0; bit < 8; bit++)
			sum = sum >> 1 ^ ((sum & 1) != 0 ? 0x82f63b78 : 0);
		assert_int_equal(crc32c(0, &byte, 1), sum ^ 0xffffffff);
	}
}

/* ---- frames, headers, names ---- */

static void
a_frame_reads_as_it_was_written(void **state)
{
	unsigned char bytes[SPOOL_FRAME_MAX];
	struct spool_frame frame, read;
	size_t len;
	unsigned n;

	(void)state;
	for (n = 0; n < 1000; n++) {
		spooled_frame(n, &frame);
		frame.done = n % 4;
		len = spool_frame_write(&frame, me, bytes);
		assert_in_range(len, SPOOL_FRAME_MIN, SPOOL_FRAME_MAX);
		assert_int_equal(spool_frame_read(bytes, len, me, &read), len);
		assert_int_equal(spooled_number(&read), n);
		assert_int_equal(read.done, n % 4);
		assert_int_equal(read.audit.reason, frame.audit.reason);
		assert_true(read.absolute_ms == frame.absolute_ms);
		assert_int_equal(
		    spool_event_ms(read.audit.event_id), SPOOLED_MS + n);
	}
}

static void
the_longest_and_the_shortest_frame_fit(void **state)
{
	unsigned char bytes[SPOOL_FRAME_MAX];
	struct spool_frame frame, read;
	struct durable_audit *audit = &frame.audit;
	size_t len;

	(void)state;
	memset(&frame, 0, sizeof(frame));
	frame.kind = SPOOL_END;
	audit->has_ref = true;
	len = spool_frame_write(&frame, me, bytes);
	assert_int_equal(len, SPOOL_FRAME_MIN);
	assert_int_equal(spool_frame_read(bytes, len, me, &read), len);

	memset(audit->host, 'h', sizeof(audit->host) - 1);
	memset(audit->actor, 'a', sizeof(audit->actor) - 1);
	memset(audit->kind, 'k', sizeof(audit->kind) - 1);
	memset(audit->realm, 'r', sizeof(audit->realm) - 1);
	memset(audit->user, 'u', sizeof(audit->user) - 1);
	memset(audit->detail, 'd', sizeof(audit->detail) - 1);
	audit->client_ip_len = sizeof(audit->client_ip);
	frame.version = UINT64_MAX;
	frame.absolute_ms = INT64_MAX;
	len = spool_frame_write(&frame, me, bytes);
	assert_int_equal(len, SPOOL_FRAME_MIN + 64 + 64 + 16 +
				  SESSION_REALM_MAX + SESSION_USER_MAX + 256 +
				  16);
	assert_int_equal(spool_frame_read(bytes, len, me, &read), len);
	assert_string_equal(read.audit.detail, audit->detail);
	assert_string_equal(read.audit.user, audit->user);
	assert_true(read.version == UINT64_MAX);
}

static void
what_cannot_be_an_end_is_not_written(void **state)
{
	unsigned char bytes[SPOOL_FRAME_MAX];
	struct spool_frame frame;
	int i;

	(void)state;
	for (i = 0; i < 8; i++) {
		spooled_frame(5, &frame);
		switch (i) {
		case 0:
			frame.kind = (enum spool_kind)3;
			break;
		case 1:
			frame.done = 4;
			break;
		case 2:
			frame.absolute_ms = -1;
			break;
		case 3:
			frame.ended_ms = -1;
			break;
		case 4:
			frame.audit.at_ms = -1;
			break;
		case 5:
			frame.audit.has_ref = false;
			break;
		case 6:
			frame.audit.client_ip_len = 17;
			break;
		default:
			frame.audit.reason = SGATE_REASON_COUNT;
		}
		assert_int_equal(spool_frame_write(&frame, me, bytes), 0);
	}
}

static void
a_frame_with_a_changed_bit_or_a_missing_byte_is_none(void **state)
{
	unsigned char bytes[SPOOL_FRAME_MAX];
	struct spool_frame frame, read;
	size_t len, i;

	(void)state;
	spooled_frame(11, &frame);
	len = spool_frame_write(&frame, me, bytes);
	for (i = 0; i < 8 * len; i++) {
		bytes[i / 8] ^= (unsigned char)(1 << i % 8);
		assert_int_equal(spool_frame_read(bytes, len, me, &read), 0);
		bytes[i / 8] ^= (unsigned char)(1 << i % 8);
	}
	for (i = 0; i < len; i++) {
		unsigned char *exact = malloc(i + 1);

		assert_non_null(exact);
		memcpy(exact, bytes, i);
		assert_int_equal(spool_frame_read(exact, i, me, &read), 0);
		assert_true(spool_frame_begins(exact, i, me));
		free(exact);
	}
	bytes[0] = 'x';
	assert_false(spool_frame_begins(bytes, 1, me));
}

/* The sum is right in all of these. */
static void
a_frame_that_lies_about_its_lengths_is_none(void **state)
{
	unsigned char bytes[SPOOL_FRAME_MAX + 64];
	struct spool_frame frame, read;
	size_t len, i;
	uint32_t crc;
	unsigned value;

	(void)state;
	memset(bytes, 0, sizeof(bytes));
	spooled_frame(11, &frame);
	len = spool_frame_write(&frame, me, bytes);
	for (i = 20; i < len; i++) {
		for (value = 0; value < 256; value += 51) {
			unsigned char before = bytes[i];

			bytes[i] = (unsigned char)value;
			crc = crc32c(0, bytes, 16);
			crc = crc32c(crc, bytes + 20, len - 20);
			spool_write_uint(bytes + 16, 4, crc);
			if (spool_frame_read(bytes, len, me, &read) > 0) {
				assert_true(strlen(read.audit.host) < 65);
				assert_true(strlen(read.audit.detail) < 257);
				assert_true(read.audit.client_ip_len <= 16);
				assert_true(read.absolute_ms >= 0);
				assert_true((unsigned)read.audit.reason <
					    SGATE_REASON_COUNT);
			}
			bytes[i] = before;
		}
	}
	/* A NUL in the host's name. */
	assert_true(frame.audit.host[0] != '\0');
	bytes[103] = '\0';
	crc = crc32c(crc32c(0, bytes, 16), bytes + 20, len - 20);
	spool_write_uint(bytes + 16, 4, crc);
	assert_int_equal(spool_frame_read(bytes, len, me, &read), 0);
	bytes[103] = (unsigned char)frame.audit.host[0];
	/* One byte more than its fields, one less. */
	for (i = len - 1; i <= len + 1; i += 2) {
		spool_write_uint(bytes + 12, 4, i);
		crc = crc32c(0, bytes, 16);
		crc = crc32c(crc, bytes + 20, i - 20);
		spool_write_uint(bytes + 16, 4, crc);
		assert_int_equal(spool_frame_read(bytes, i, me, &read), 0);
	}
}

static void
a_reason_that_is_not_known_revokes(void **state)
{
	unsigned char bytes[SPOOL_FRAME_MAX];
	struct spool_frame frame, read;
	uint32_t crc;
	size_t len;

	(void)state;
	spooled_frame(2, &frame);
	len = spool_frame_write(&frame, me, bytes);
	spool_write_uint(bytes + 86, 2, 999);
	crc = crc32c(crc32c(0, bytes, 16), bytes + 20, len - 20);
	spool_write_uint(bytes + 16, 4, crc);
	assert_int_equal(spool_frame_read(bytes, len, me, &read), len);
	assert_int_equal(read.audit.reason, SGATE_REASON_REVOKED);
}

static void
a_frame_of_another_writer_is_none(void **state)
{
	static const unsigned char other[SPOOL_WRITER_BYTES] = {
	    1, 2, 3, 4, 0xff, 0x80, 0, 8};
	unsigned char bytes[SPOOL_FRAME_MAX];
	struct spool_frame frame, read;
	size_t len;

	(void)state;
	spooled_frame(3, &frame);
	len = spool_frame_write(&frame, other, bytes);
	assert_int_equal(spool_frame_read(bytes, len, other, &read), len);
	assert_int_equal(spool_frame_read(bytes, len, me, &read), 0);
}

static void
a_header_tells_its_version(void **state)
{
	unsigned char bytes[SPOOL_HEADER_BYTES];
	char host[100];
	size_t i;

	(void)state;
	memset(host, 'h', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	spool_header_write(host, SPOOLED_MS, bytes);
	assert_memory_equal(bytes, "sessgate spool 2hhhh", 20);
	assert_int_equal(
	    spool_header_read(bytes, sizeof(bytes)), SPOOL_HEADER_RIGHT);
	for (i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(
		    spool_header_read(bytes, i), SPOOL_HEADER_DAMAGED);
		bytes[i] ^= 1;
		assert_int_equal(spool_header_read(bytes, sizeof(bytes)),
		    SPOOL_HEADER_DAMAGED);
		bytes[i] ^= 1;
	}
	bytes[15] = '3';
	spool_write_uint(bytes + 88, 4, crc32c(0, bytes, 88));
	assert_int_equal(
	    spool_header_read(bytes, sizeof(bytes)), SPOOL_HEADER_FOREIGN);
}

static void
only_our_names_are_names(void **state)
{
	static const char *const wrong[] = {"", ".", "..", ".spool", "reserve",
	    "-000001.spool", "01020304ff800007.spool",
	    "01020304ff800007-.spool", "01020304ff800007-1.spool",
	    "01020304ff800007-0000001.spool", "01020304ff800007-00000x.spool",
	    "01020304FF800007-000001.spool", "01020304ff8000-000001.spool",
	    "01020304ff80000700-000001.spool", "01020304ff800007-000001",
	    "01020304ff800007-000001.spool.new", "01020304ff800007-000001.done",
	    "01020304ff800007--00001.spool",
	    "01020304ff800007-99999999999.spool",
	    "01 020304ff80007-000001.spool", "x01020304ff800007-000001.spool"};
	unsigned char writer[SPOOL_WRITER_BYTES];
	char stem[SPOOL_STEM_MAX + 1], read[SPOOL_STEM_MAX + 1], name[80];
	size_t i;

	(void)state;
	spool_stem_write(me, 1, stem);
	assert_string_equal(stem, "01020304ff800007-000001");
	assert_true(spool_stem_read(
	    "01020304ff800007-000001.spool", ".spool", read, writer));
	assert_string_equal(read, stem);
	assert_memory_equal(writer, me, sizeof(me));
	spool_stem_write(me, UINT32_MAX, stem);
	snprintf(name, sizeof(name), "%s.done", stem);
	assert_true(spool_stem_read(name, ".done", read, writer));
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (spool_stem_read(wrong[i], ".spool", read, writer))
			fail_msg("%s is taken for ours", wrong[i]);
}

/* ---- the directory ---- */

static void
the_directory_and_the_files_are_the_owners_alone(void **state)
{
	struct spool *spool;
	struct spooled s;
	char path[160];
	struct stat st;
	mode_t before = umask(0);

	(void)state;
	spooled_open(&s);
	spool = spooled_writer(&s);
	spooled_path(&s, "", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(spooled_count(&s, "", NULL), 0);
	assert_int_equal(spooled_append(&s, spool, 1, false), SGATE_OK);
	assert_int_equal(spooled_count(&s, "", path), 1);
	assert_int_equal(spooled_count(&s, ".spool", path), 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	spool_close(spool);
	umask(before);
	spooled_close(&s);
}

static void
expect_refused(struct spooled *s, enum sgate_status expected)
{
	struct spool *spool = NULL;
	struct spool_reader *reader = NULL;

	assert_int_equal(spool_open(&s->limits, &spool, &s->err), expected);
	assert_null(spool);
	assert_int_equal(
	    spool_reader_open(&s->limits, SPOOL_TO_DURABLE, &reader, &s->err),
	    expected);
	assert_null(reader);
	assert_non_null(strstr(s->err.text, s->limits.dir));
}

static void
only_a_directory_of_mode_0700_is_used(void **state)
{
	static const mode_t modes[] = {0750, 0710, 0701, 0777, 0, 0600, 0500};
	struct spooled s;
	char path[160], real[160];
	size_t i;

	(void)state;
	spooled_open(&s);
	spooled_path(&s, ".", path);
	path[strlen(path) - 2] = '\0';
	snprintf(real, sizeof(real), "%s/real", s.dir);
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(mkdir(path, 0700), 0);
		assert_int_equal(chmod(path, modes[i]), 0);
		expect_refused(&s, SGATE_INVALID);
		assert_int_equal(rmdir(path), 0);
	}
	assert_int_equal(mkdir(real, 0700), 0);
	assert_int_equal(symlink(real, path), 0);
	expect_refused(&s, SGATE_INVALID);
	assert_non_null(strstr(s.err.text, "symbolic link"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(real), 0);
	spooled_store(path, (const unsigned char *)"x", 1);
	expect_refused(&s, SGATE_INVALID);
	assert_int_equal(unlink(path), 0);
	s.limits.dir = "/nonexistent/sessgate/spool";
	expect_refused(&s, SGATE_INVALID);
	spooled_close(&s);
}

static void
the_writer_of_a_file_holds_its_lock(void **state)
{
	struct spool *spool;
	struct spooled s;
	char path[160];
	int fd;

	(void)state;
	spooled_open(&s);
	spool = spooled_writer(&s);
	assert_int_equal(spooled_append(&s, spool, 1, true), SGATE_OK);
	assert_int_equal(spooled_count(&s, ".spool", path), 1);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	spool_close(spool);
	assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), 0);
	close(fd);
	spooled_close(&s);
}

static int
wait_for(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	return status;
}

static void
a_child_writes_a_file_of_its_own(void **state)
{
	unsigned got[8];
	struct spool *spool;
	struct spooled s;
	char path[160];
	pid_t pid;
	int fd;

	(void)state;
	spooled_open(&s);
	spool = spooled_writer(&s);
	assert_int_equal(spooled_append(&s, spool, 1, false), SGATE_OK);
	assert_int_equal(spooled_count(&s, ".spool", path), 1);
	pid = fork();
	if (pid == 0) {
		enum sgate_status status = spooled_append(&s, spool, 2, true);

		spool_close(spool);
		_exit(status == SGATE_OK ? 0 : 1);
	}
	assert_int_equal(wait_for(pid), 0);
	assert_int_equal(spooled_count(&s, ".spool", NULL), 2);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), -1);
	close(fd);
	assert_int_equal(spooled_append(&s, spool, 3, false), SGATE_OK);
	assert_int_equal(spooled_count(&s, ".spool", NULL), 2);
	assert_int_equal(spooled_read(&s, got, 8), 3);
	assert_int_equal(got[0] + 10 * got[1] + 100 * got[2], 321);
	spool_close(spool);
	spooled_close(&s);
}

static void
another_file_is_begun_when_one_is_large_or_old_or_gone(void **state)
{
	struct spool *spool;
	struct spooled s;
	unsigned got[700];
	struct stat st;
	char path[160];
	unsigned n;

	(void)state;
	spooled_open(&s);
	s.limits.max_bytes = 1024 * 1024; /* a file: a sixteenth */
	spool = spooled_writer(&s);
	for (n = 0; n < 600; n++)
		assert_int_equal(spooled_append(&s, spool, n, false), SGATE_OK);
	assert_in_range(spooled_count(&s, ".spool", path), 3, 5);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, SPOOL_HEADER_BYTES, 65536);
	assert_int_equal(spooled_read(&s, got, 700), 600);
	spooled_empty(&s);
	assert_int_equal(spooled_append(&s, spool, 7, true), SGATE_OK);
	assert_int_equal(spooled_count(&s, ".spool", NULL), 1);
	assert_int_equal(spooled_read(&s, got, 8), 1);
	spool_close(spool);
	spooled_empty(&s);

	s.limits.keep_ms = 0;
	spool = spooled_writer(&s);
	for (n = 0; n < 4; n++)
		assert_int_equal(spooled_append(&s, spool, n, false), SGATE_OK);
	assert_int_equal(spooled_count(&s, ".spool", NULL), 4);
	spool_close(spool);
	spooled_close(&s);
}

static void
a_directory_that_has_gone_is_unavailable(void **state)
{
	struct spool *spool;
	struct spooled s;
	char path[160];

	(void)state;
	spooled_open(&s);
	spool = spooled_writer(&s);
	assert_int_equal(spooled_append(&s, spool, 1, true), SGATE_OK);
	spooled_empty(&s);
	spooled_path(&s, "", path);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(spooled_append(&s, spool, 2, true), SGATE_UNAVAILABLE);
	assert_int_equal(s.err.native_code, ENOENT);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(spooled_append(&s, spool, 3, true), SGATE_OK);
	spool_close(spool);
	spooled_close(&s);
}

/* What was acknowledged would wait where nobody reads. */
static void
a_directory_that_was_moved_away_is_not_written_to(void **state)
{
	struct spool *spool;
	struct spooled s;
	char path[160], moved[170];
	unsigned got[8];

	(void)state;
	spooled_open(&s);
	spool = spooled_writer(&s);
	assert_int_equal(spooled_append(&s, spool, 1, true), SGATE_OK);
	spooled_path(&s, "", path);
	path[strlen(path) - 1] = '\0';
	snprintf(moved, sizeof(moved), "%s.moved", path);
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(spooled_append(&s, spool, 2, true), SGATE_UNAVAILABLE);
	assert_int_equal(s.err.native_code, ENOENT);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(spooled_append(&s, spool, 3, true), SGATE_OK);
	assert_int_equal(spooled_read(&s, got, 8), 1);
	assert_int_equal(got[0], 3);
	spool_close(spool);
	spooled_empty(&s);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rename(moved, path), 0);
	assert_int_equal(spooled_read(&s, got, 8), 1);
	assert_int_equal(got[0], 1);
	spooled_close(&s);
}

/* ---- a disk that fails ---- */

/* Calls of the table that follow; what the nth of all, or of one name, does. */
static struct {
	unsigned calls[5];
	unsigned nth; /* 1 is the next one; 0: none fails */
	int only;     /* of this name alone; -1: of all */
	int native;
	bool for_ever; /* it and all that follow */
	size_t cut;    /* a write takes no more at once; 0: all */
	ino_t failed[16];
	size_t failed_count;
	bool was_synced_again;
	bool is_dirty, is_dir_dirty; /* written or renamed since a sync */
} disk;
enum { OPEN, WRITE, FDATASYNC, SYNC_DIR, RENAME };

static void
disk_reset(void)
{
	memset(&disk, 0, sizeof(disk));
	disk.only = -1;
}

static bool
disk_fails(int name)
{
	disk.calls[name]++;
	if (disk.nth == 0 || (disk.only >= 0 && disk.only != name))
		return false;
	if (disk.nth > 1) {
		disk.nth--;
		return false;
	}
	if (!disk.for_ever)
		disk.nth = 0;
	errno = disk.native;
	return true;
}

static int
disk_open(int dir, const char *name, int flags, mode_t mode)
{
	return disk_fails(OPEN) ? -1
				: spool_io_system.open(dir, name, flags, mode);
}

/* Half of what is to be written is, before it fails. */
static ssize_t
disk_write(int fd, const void *data, size_t len)
{
	if (disk_fails(WRITE)) {
		int native = errno;

		assert_int_equal(write(fd, data, len / 2), (ssize_t)(len / 2));
		errno = native;
		return -1;
	}
	disk.is_dirty = true;
	if (disk.cut > 0 && len > disk.cut)
		len = disk.cut;
	return write(fd, data, len);
}

static int
disk_fdatasync(int fd)
{
	struct stat st;
	size_t i;

	assert_int_equal(fstat(fd, &st), 0);
	for (i = 0; i < disk.failed_count; i++)
		if (disk.failed[i] == st.st_ino)
			disk.was_synced_again = true;
	if (!disk_fails(FDATASYNC)) {
		disk.is_dirty = false;
		return fdatasync(fd);
	}
	if (disk.failed_count < 16)
		disk.failed[disk.failed_count++] = st.st_ino;
	return -1;
}

static int
disk_sync_dir(int dir)
{
	if (disk_fails(SYNC_DIR))
		return -1;
	disk.is_dir_dirty = false;
	return spool_io_system.sync_dir(dir);
}

static int
disk_rename(int dir, const char *from, const char *to)
{
	if (disk_fails(RENAME))
		return -1;
	disk.is_dir_dirty = true;
	return spool_io_system.rename(dir, from, to);
}

static const struct spool_io disk_io = {.open = disk_open,
    .write = disk_write,
    .fdatasync = disk_fdatasync,
    .sync_dir = disk_sync_dir,
    .rename = disk_rename};

static struct spool *
disk_writer(struct spooled *s)
{
	struct spool *spool = spooled_writer(s);

	disk_reset();
	spool_set_io(spool, &disk_io);
	return spool;
}

/* A disk that answers when somebody has looked after the others meanwhile. */
static atomic_int looks;

static void
count_look(void *arg)
{
	(void)arg;
	atomic_fetch_add(&looks, 1);
}

static int
slow_fdatasync(int fd)
{
	const struct timespec pause = {0, 1000000};
	int tries;

	for (tries = 0; tries < 5000 && atomic_load(&looks) == 0; tries++)
		nanosleep(&pause, NULL);
	return fdatasync(fd);
}

static void
a_slow_disk_keeps_nobody_else_waiting(void **state)
{
	struct spool_io slow = spool_io_system;
	struct spool *spool;
	struct spooled s;

	(void)state;
	spooled_open(&s);
	spool = spooled_writer(&s);
	slow.fdatasync = slow_fdatasync;
	spool_set_io(spool, &slow);
	wait_set_look(count_look, NULL);
	assert_int_equal(spooled_append(&s, spool, 1, true), SGATE_OK);
	wait_set_look(NULL, NULL);
	assert_true(atomic_load(&looks) > 0);
	spool_close(spool);
	spooled_close(&s);
}

static void
nothing_is_synced_unless_it_is_asked_for(void **state)
{
	struct spool *spool;
	struct spooled s;
	unsigned n;

	(void)state;
	spooled_open(&s);
	spool = disk_writer(&s);
	for (n = 0; n < 5; n++)
		assert_int_equal(spooled_append(&s, spool, n, false), SGATE_OK);
	assert_int_equal(disk.calls[FDATASYNC], 0);
	assert_int_equal(disk.calls[SYNC_DIR], 0);
	assert_int_equal(disk.calls[OPEN], 1);
	assert_int_equal(disk.calls[WRITE], 6);
	for (n = 5; n < 8; n++)
		assert_int_equal(spooled_append(&s, spool, n, true), SGATE_OK);
	assert_int_equal(disk.calls[FDATASYNC], 3);
	assert_int_equal(disk.calls[SYNC_DIR], 1);
	assert_int_equal(disk.calls[WRITE], 9);
	spool_close(spool);
	spooled_close(&s);
}

/*
 * Ten frames, the nth call of all fails: what was acknowledged is there once or
 * twice, what was not at most, and nothing else.
 */
static void
write_ten(struct spooled *s, unsigned nth, int native, bool for_ever,
    bool *out_has_failed)
{
	struct spool *spool = disk_writer(s);
	bool is_ok[10];
	unsigned got[40], n, seen;
	size_t count, i;

	disk.nth = nth;
	disk.native = native;
	disk.for_ever = for_ever;
	for (n = 0; n < 10; n++) {
		is_ok[n] = spooled_append(s, spool, n, n % 2 == 0) == SGATE_OK;
		if (is_ok[n] && n % 2 == 0)
			assert_false(disk.is_dirty || disk.is_dir_dirty);
	}
	*out_has_failed = disk.nth == 0 || (for_ever && disk.nth == 1);
	assert_false(disk.was_synced_again);
	spool_close(spool);
	count = spooled_read(s, got, 40);
	for (n = 0; n < 10; n++) {
		for (i = 0, seen = 0; i < count; i++)
			seen += got[i] == n;
		assert_in_range(seen, is_ok[n] ? 1 : 0, 3);
	}
	for (i = 0; i < count; i++)
		assert_true(got[i] < 10);
	assert_int_equal(spooled_count(s, ".new", NULL), 0);
	spooled_empty(s);
}

static void
any_call_may_fail_once(void **state)
{
	static const int natives[] = {EIO, ENOSPC, EDQUOT, EFBIG, EROFS};
	bool has_failed;
	struct spooled s;
	unsigned nth;
	size_t i;

	(void)state;
	spooled_open(&s);
	for (i = 0; i < sizeof(natives) / sizeof(natives[0]); i++) {
		for (nth = 1;; nth++) {
			write_ten(&s, nth, natives[i], false, &has_failed);
			if (!has_failed)
				break;
		}
		assert_true(nth > 15);
	}
	spooled_close(&s);
}

static void
any_call_may_fail_from_then_on(void **state)
{
	bool has_failed;
	struct spooled s;
	unsigned nth;

	(void)state;
	spooled_open(&s);
	for (nth = 1;; nth++) {
		write_ten(&s, nth, EIO, true, &has_failed);
		if (!has_failed)
			break;
	}
	assert_true(nth > 15);
	spooled_close(&s);
}

static void
a_write_or_a_sync_that_fails_once_is_made_up_for(void **state)
{
	static const int names[] = {WRITE, FDATASYNC, SYNC_DIR};
	struct spool *spool;
	struct spooled s;
	unsigned got[8];
	size_t i;

	(void)state;
	spooled_open(&s);
	for (i = 0; i < 3; i++) {
		spool = disk_writer(&s);
		assert_int_equal(spooled_append(&s, spool, 0, false), SGATE_OK);
		disk.nth = 1;
		disk.only = names[i];
		disk.native = EIO;
		assert_int_equal(spooled_append(&s, spool, 1, true), SGATE_OK);
		assert_int_equal(disk.nth, 0);
		assert_int_equal(spooled_count(&s, ".spool", NULL), 2);
		assert_true(spooled_read(&s, got, 8) >= 2);
		spool_close(spool);
		spooled_empty(&s);
	}
	spooled_close(&s);
}

static void
a_sync_that_always_fails_is_unavailable(void **state)
{
	struct spool *spool;
	struct spooled s;

	(void)state;
	spooled_open(&s);
	spool = disk_writer(&s);
	disk.nth = 1;
	disk.only = FDATASYNC;
	disk.native = EIO;
	disk.for_ever = true;
	assert_int_equal(spooled_append(&s, spool, 1, false), SGATE_OK);
	assert_int_equal(spooled_append(&s, spool, 2, true), SGATE_UNAVAILABLE);
	assert_int_equal(s.err.native_code, EIO);
	assert_false(disk.was_synced_again);
	assert_int_equal(disk.failed_count, 3);
	disk.nth = 0;
	assert_int_equal(spooled_append(&s, spool, 3, true), SGATE_OK);
	spool_close(spool);
	spooled_close(&s);
}

/* Nor does it fill the directory with files in which nothing is. */
static void
a_write_that_always_fails_leaves_no_files(void **state)
{
	struct spool *spool;
	struct spooled s;
	unsigned n;

	(void)state;
	spooled_open(&s);
	spool = disk_writer(&s);
	disk.nth = 2; /* the 1st is the header's */
	disk.only = WRITE;
	disk.native = EIO;
	disk.for_ever = true;
	for (n = 0; n < 5; n++)
		assert_int_equal(
		    spooled_append(&s, spool, n, true), SGATE_UNAVAILABLE);
	assert_int_equal(spooled_count(&s, "", NULL), 0);
	spool_close(spool);
	spooled_close(&s);
}

static void
writes_may_be_as_short_as_they_like(void **state)
{
	struct spool *spool;
	struct spooled s;
	unsigned got[8];
	size_t cut;

	(void)state;
	spooled_open(&s);
	for (cut = 1; cut < 200; cut = cut * 3) {
		spool = disk_writer(&s);
		disk.cut = cut;
		assert_int_equal(spooled_append(&s, spool, 1, true), SGATE_OK);
		assert_int_equal(spooled_append(&s, spool, 2, true), SGATE_OK);
		spool_close(spool);
		assert_int_equal(spooled_read(&s, got, 8), 2);
		spooled_empty(&s);
	}
	spooled_close(&s);
}

static unsigned interrupts;

static ssize_t
interrupted_write(int fd, const void *data, size_t len)
{
	if (interrupts++ % 2 == 0) {
		errno = EINTR;
		return -1;
	}
	return write(fd, data, len > 7 ? 7 : len);
}

static int
interrupted_open(int dir, const char *name, int flags, mode_t mode)
{
	if (interrupts++ % 2 == 0) {
		errno = EINTR;
		return -1;
	}
	return spool_io_system.open(dir, name, flags, mode);
}

static void
signals_do_not_tear_frames(void **state)
{
	struct spool_io io = disk_io;
	struct spool_state found;
	struct spool_reader *reader;
	struct spool *spool;
	struct spooled s;

	(void)state;
	spooled_open(&s);
	spool = disk_writer(&s);
	io.write = interrupted_write;
	io.open = interrupted_open;
	spool_set_io(spool, &io);
	assert_int_equal(spooled_append(&s, spool, 1, true), SGATE_OK);
	assert_int_equal(spooled_append(&s, spool, 2, false), SGATE_OK);
	spool_close(spool);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	spool_state(reader, &found);
	assert_int_equal(found.to_durable, 2);
	assert_int_equal(found.damaged + found.torn, 0);
	spool_reader_close(reader);
	spooled_close(&s);
}

/* ---- room ---- */

static void
the_last_part_of_max_is_for_ends_that_nobody_else_has(void **state)
{
	enum sgate_status status;
	struct spool *spool;
	unsigned n, plain, all;
	struct spooled s;

	(void)state;
	spooled_open(&s);
	s.limits.max_bytes = 1000000;
	s.limits.reserve_percent = 20;
	spool = spooled_writer(&s);
	for (n = 0;; n++) {
		status = spooled_append(&s, spool, n, false);
		if (status != SGATE_OK)
			break;
	}
	plain = n;
	assert_int_equal(status, SGATE_UNAVAILABLE);
	assert_non_null(strstr(s.err.text, "limit"));
	for (;; n++) {
		status = spooled_append(&s, spool, n, true);
		if (status != SGATE_OK)
			break;
	}
	all = n;
	assert_int_equal(status, SGATE_UNAVAILABLE);
	assert_in_range(plain * 100 / all, 79, 81);
	spool_close(spool);
	assert_int_equal(spooled_read(&s, NULL, 0), all);
	spooled_close(&s);
}

/* A process that would be killed by its file size limit is not. */
static void
write_to_the_limit(struct spooled *s, int out)
{
	struct rlimit limit = {.rlim_cur = 5000, .rlim_max = RLIM_INFINITY};
	struct spool *spool = spooled_writer(s);
	unsigned n, ok = 0;

	signal(SIGXFSZ, SIG_DFL);
	setrlimit(RLIMIT_FSIZE, &limit);
	for (n = 0; n < 60; n++)
		ok += spooled_append(s, spool, n, n % 2 == 0) == SGATE_OK;
	limit.rlim_cur = 200;
	setrlimit(RLIMIT_FSIZE, &limit);
	ok += spooled_append(s, spool, 60, true) != SGATE_UNAVAILABLE;
	ok += s->err.native_code != EFBIG;
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
	ok += spooled_append(s, spool, 60, true) == SGATE_OK;
	spool_close(spool);
	_exit(write(out, &ok, sizeof(ok)) == sizeof(ok) ? 0 : 1);
}

static void
a_file_size_limit_begins_other_files(void **state)
{
	unsigned got[100], ok = 0;
	struct spooled s;
	char path[160];
	struct stat st;
	int pipes[2];
	pid_t pid;

	(void)state;
	spooled_open(&s);
	s.limits.max_bytes = 1024 * 1024;
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0)
		write_to_the_limit(&s, pipes[1]);
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &ok, sizeof(ok)), sizeof(ok));
	close(pipes[0]);
	assert_int_equal(wait_for(pid), 0);
	assert_int_equal(ok, 61);
	assert_true(spooled_count(&s, ".spool", path) >= 3);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size <= 65536);
	assert_int_equal(spooled_read(&s, got, 100), 61);
	spooled_close(&s);
}

static int64_t
reserve_bytes(const struct spooled *s)
{
	char path[160];
	struct stat st;

	spooled_path(s, "reserve", path);
	return stat(path, &st) == 0 ? (int64_t)st.st_blocks * 512 : -1;
}

/* Takes all that is free, but up to max. */
static void
fill_disk(const struct spooled *s, int64_t max)
{
	static const char block[4096];
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "%s/ballast", s->dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	while (max > 0 && write(fd, block, sizeof(block)) > 0)
		max -= (int64_t)sizeof(block);
	if (max > 0)
		assert_int_equal(errno, ENOSPC);
	close(fd);
}

/* A small disk, mounted where nobody else sees it. */
static bool
mount_disk(const struct spooled *s)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("sessgate", s->dir, "tmpfs", 0, "size=6m,mode=0700") == 0;
}

static void
a_full_disk_has_its_reserve_for_ends(void **state)
{
	unsigned n = 0, acked = 0, plain;
	struct spool_reader *reader;
	struct spool_state found;
	struct spool *spool;
	struct spooled s;
	char path[160];

	(void)state;
	spooled_open(&s);
	s.limits.max_bytes = 10 * 1024 * 1024;
	s.limits.reserve_percent = 10;
	if (!mount_disk(&s)) {
		spooled_close(&s);
		skip(); /* not root, or no mount here */
	}
	reader = spooled_reader(&s);
	spool = spooled_writer(&s);
	snprintf(path, sizeof(path), "%s/ballast", s.dir);
	/* It is only held where there is plenty. */
	fill_disk(&s, 9 * 1024 * 512);
	assert_int_equal(spool_look(reader, &s.err), SGATE_OK);
	assert_int_equal(reserve_bytes(&s), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(spool_look(reader, &s.err), SGATE_OK);
	assert_in_range(reserve_bytes(&s), 1040000, 1052672);
	fill_disk(&s, INT64_MAX);
	/* What somebody else has gets no more than the page it is in. */
	while (spooled_append(&s, spool, n, false) == SGATE_OK)
		n++;
	plain = n;
	assert_true(plain < 30);
	assert_in_range(reserve_bytes(&s), 1040000, 1052672);
	/* The keeper does not take back what was given. */
	while (spooled_append(&s, spool, n, true) == SGATE_OK) {
		if (n % 100 == 0)
			assert_int_equal(spool_look(reader, &s.err), SGATE_OK);
		acked++;
		n++;
	}
	assert_int_equal(s.err.status, SGATE_UNAVAILABLE);
	assert_int_equal(s.err.native_code, ENOSPC);
	assert_int_equal(reserve_bytes(&s), 0);
	assert_true(acked > 2000);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(spooled_append(&s, spool, n, true), SGATE_OK);
	acked++;
	spooled_look(&s, reader);
	assert_in_range(reserve_bytes(&s), 1040000, 1052672);
	assert_int_equal(
	    spooled_pass(&s, reader, SPOOL_TO_DURABLE, true, NULL, 0),
	    plain + acked);
	spool_state(reader, &found);
	assert_int_equal(found.damaged, 0);
	spool_close(spool);
	spool_reader_close(reader);
	spooled_empty(&s);
	spooled_path(&s, "", path);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(umount(s.dir), 0);
	spooled_close(&s);
}

static void
the_reserve_is_what_the_configuration_says(void **state)
{
	struct spool_reader *reader;
	struct spooled s;

	(void)state;
	spooled_open(&s);
	s.limits.max_bytes = 2000000;
	s.limits.reserve_percent = 50;
	reader = spooled_reader(&s);
	assert_int_equal(spool_look(reader, &s.err), SGATE_OK);
	if (reserve_bytes(&s) == 0) {
		spool_reader_close(reader);
		spooled_close(&s);
		skip(); /* a file system without fallocate */
	}
	assert_in_range(reserve_bytes(&s), 1000000, 1004096);
	spool_reader_close(reader);
	s.limits.reserve_percent = 10;
	reader = spooled_reader(&s);
	assert_int_equal(spool_look(reader, &s.err), SGATE_OK);
	assert_in_range(reserve_bytes(&s), 200000, 204096);
	spool_reader_close(reader);
	/* What frames take of it is not held twice. */
	s.limits.max_bytes = 1048576;
	s.limits.reserve_percent = 90;
	spooled_fill(&s, 0, 340);
	reader = spooled_reader(&s);
	spooled_look(&s, reader);
	assert_in_range(reserve_bytes(&s), 850000, 950000);
	spool_reader_close(reader);
	spooled_close(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(crc32c_is_the_castagnoli_sum),
    cmocka_unit_test(a_frame_reads_as_it_was_written),
    cmocka_unit_test(the_longest_and_the_shortest_frame_fit),
    cmocka_unit_test(what_cannot_be_an_end_is_not_written),
    cmocka_unit_test(a_frame_with_a_changed_bit_or_a_missing_byte_is_none),
    cmocka_unit_test(a_frame_that_lies_about_its_lengths_is_none),
    cmocka_unit_test(a_reason_that_is_not_known_revokes),
    cmocka_unit_test(a_frame_of_another_writer_is_none),
    cmocka_unit_test(a_header_tells_its_version),
    cmocka_unit_test(only_our_names_are_names),
    cmocka_unit_test(the_directory_and_the_files_are_the_owners_alone),
    cmocka_unit_test(only_a_directory_of_mode_0700_is_used),
    cmocka_unit_test(the_writer_of_a_file_holds_its_lock),
    cmocka_unit_test(a_child_writes_a_file_of_its_own),
    cmocka_unit_test(another_file_is_begun_when_one_is_large_or_old_or_gone),
    cmocka_unit_test(a_directory_that_has_gone_is_unavailable),
    cmocka_unit_test(a_directory_that_was_moved_away_is_not_written_to),
    cmocka_unit_test(a_slow_disk_keeps_nobody_else_waiting),
    cmocka_unit_test(nothing_is_synced_unless_it_is_asked_for),
    cmocka_unit_test(any_call_may_fail_once),
    cmocka_unit_test(any_call_may_fail_from_then_on),
    cmocka_unit_test(a_write_or_a_sync_that_fails_once_is_made_up_for),
    cmocka_unit_test(a_sync_that_always_fails_is_unavailable),
    cmocka_unit_test(a_write_that_always_fails_leaves_no_files),
    cmocka_unit_test(writes_may_be_as_short_as_they_like),
    cmocka_unit_test(signals_do_not_tear_frames),
    cmocka_unit_test(the_last_part_of_max_is_for_ends_that_nobody_else_has),
    cmocka_unit_test(a_file_size_limit_begins_other_files),
    cmocka_unit_test(a_full_disk_has_its_reserve_for_ends),
    cmocka_unit_test(the_reserve_is_what_the_configuration_says),
};

TAP_MAIN(tests)
