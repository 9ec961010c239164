/*
 * The writer: one process, one file at a time.
 *
 * A file is made under another name, locked, given its header, and only then
 * renamed: who finds it finds it whole and locked. After that it only grows.
 * When a write or a sync fails, what stands in it and what of it is on the disk
 * is no longer known, and a second sync would say "all is well" of pages that
 * the first one has lost: so the file is let go, and the frame is written again
 * to a new one. The reader passes over what was torn, and takes a frame that
 * stands in both for one.
 *
 * Nothing is synced until an append asks for it. Then the file is, and the
 * directory once, for its name.
 */
#include "config.h"

#include "spool_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "failpoint_stores.h"
#include "status.h"
#include "token.h"
#include "wait.h"

/* How often a frame is written to another file before that is no use. */
#define TRIES 3
/* The directory is counted anew after so long, or so much of our own. */
#define COUNT_MS 1000
#define COUNT_PARTS 256

struct spool {
	struct spool_space space;
	const struct spool_io *io;
	pid_t pid; /* whose file and number these are */
	unsigned char writer[SPOOL_WRITER_BYTES];
	unsigned ordinal; /* of the next file */

	/* The file that is written; fd -1: none. */
	int dir, fd;
	char stem[SPOOL_STEM_MAX + 1];
	int64_t bytes, made_boot_ms;
	uint64_t frames;  /* that were written whole */
	bool is_in_place; /* its name is on the disk */

	/* What the directory held when it was counted, and what we have
	 * written since. */
	int64_t used, own, counted_ms;
};

/* ---- one file ---- */

static void
file_name(const struct spool *spool, const char *suffix,
    char out[SPOOL_STEM_MAX + 16])
{
	snprintf(out, SPOOL_STEM_MAX + 16, "%s%s", spool->stem, suffix);
}

static void
file_remove(const struct spool *spool, const char *suffix)
{
	char name[SPOOL_STEM_MAX + 16];

	file_name(spool, suffix, name);
	unlinkat(spool->dir, name, 0);
}

/* Nothing is written to it any more; one without any frame is not left. */
static void
file_leave(struct spool *spool)
{
	if (spool->fd < 0)
		return;
	if (spool->frames == 0 && spool->pid == getpid())
		file_remove(spool, ".spool");
	close(spool->fd);
	close(spool->dir);
	spool->fd = -1;
	spool->dir = -1;
}

/* A file or the name of one that came through fork() is the parent's. */
static void
settle_in(struct spool *spool)
{
	pid_t pid = getpid();

	if (spool->pid == pid)
		return;
	file_leave(spool);
	spool->pid = pid;
	spool->ordinal = 1;
	token_random(spool->writer, sizeof(spool->writer));
}

static bool
is_full(int native)
{
	return native == ENOSPC || native == EDQUOT;
}

/*
 * After a call that failed: the disk was full, and some of the reserve has been
 * given to it, so that the call is worth another try. Leaves errno as it is.
 */
static bool
made_room(const struct spool *spool, bool may_use_reserve)
{
	int native = errno;
	bool is_made = is_full(native) && may_use_reserve &&
		       spool_reserve_release(spool->dir);

	errno = native;
	return is_made;
}

static int
write_with_reserve(struct spool *spool, const unsigned char *data, size_t len,
    bool may_use_reserve)
{
	size_t done, sum = 0;

	while (spool_write_all(
		   spool->io, spool->fd, data + sum, len - sum, &done) != 0) {
		sum += done;
		if (!made_room(spool, may_use_reserve))
			return -1;
	}
	return 0;
}

static int
open_new(struct spool *spool, const char *name, bool may_use_reserve)
{
	int fd;

	do {
		fd = spool->io->open(spool->dir, name,
		    O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW |
			O_CLOEXEC,
		    S_IRUSR | S_IWUSR);
	} while (
	    fd < 0 && (errno == EINTR || made_room(spool, may_use_reserve)));
	return fd;
}

/* spool->fd is the new file, or -1 with errno. */
static int
file_make(struct spool *spool, const char *host, bool may_use_reserve)
{
	unsigned char header[SPOOL_HEADER_BYTES];
	char name[SPOOL_STEM_MAX + 16], new_name[SPOOL_STEM_MAX + 16];
	int native;

	spool_header_write(host, clock_utc_ms(), header);
	spool_stem_write(spool->writer, spool->ordinal++, spool->stem);
	file_name(spool, ".spool", name);
	file_name(spool, ".spool.new", new_name);
	spool->fd = open_new(spool, new_name, may_use_reserve);
	if (spool->fd < 0)
		return -1;
	if (flock(spool->fd, LOCK_EX | LOCK_NB) == 0 &&
	    write_with_reserve(
		spool, header, sizeof(header), may_use_reserve) == 0 &&
	    spool->io->rename(spool->dir, new_name, name) == 0) {
		spool->bytes = sizeof(header);
		spool->made_boot_ms = clock_boot_ms();
		spool->frames = 0;
		spool->is_in_place = false;
		spool->own += sizeof(header);
		return 0;
	}
	native = errno;
	file_remove(spool, ".spool.new");
	close(spool->fd);
	spool->fd = -1;
	errno = native;
	return -1;
}

static int
file_begin(struct spool *spool, const char *host, bool may_use_reserve)
{
	int native;

	spool->dir = spool_space_enter(&spool->space);
	if (spool->dir < 0)
		return -1;
	if (file_make(spool, host, may_use_reserve) == 0)
		return 0;
	native = errno;
	close(spool->dir);
	spool->dir = -1;
	errno = native;
	return -1;
}

static int
write_frame(struct spool *spool, const unsigned char *frame, size_t len,
    bool is_synced, bool may_use_reserve)
{
	if (write_with_reserve(spool, frame, len, may_use_reserve) != 0)
		return -1;
	spool->frames++;
	spool->bytes += (int64_t)len;
	spool->own += (int64_t)len;
	if (!is_synced)
		return 0;
	if (spool->io->fdatasync(spool->fd) != 0)
		return -1;
	if (!spool->is_in_place && spool->io->sync_dir(spool->dir) != 0)
		return -1;
	spool->is_in_place = true;
	return 0;
}

/* A disk that is busy may keep us for seconds. */
static int
file_append(struct spool *spool, const unsigned char *frame, size_t len,
    bool is_synced, bool may_use_reserve)
{
	int result;

	wait_block();
	result = write_frame(spool, frame, len, is_synced, may_use_reserve);
	wait_unblock();
	return result;
}

/* ---- which file, and whether at all ---- */

/* How large a file may get: it holds one frame of `len` at least. A write past
 * the process's own limit would kill it (SIGXFSZ), so none is tried. */
static int64_t
file_limit(const struct spool *spool, size_t len)
{
	int64_t limit = spool->space.max_bytes / SPOOL_ROTATE_PARTS;
	struct rlimit rlimit;

	if (limit > SPOOL_ROTATE_BYTES)
		limit = SPOOL_ROTATE_BYTES;
	if (len < SPOOL_PLAIN_MAX)
		len = SPOOL_PLAIN_MAX;
	if (limit < SPOOL_HEADER_BYTES + (int64_t)len)
		limit = SPOOL_HEADER_BYTES + (int64_t)len;
	if (getrlimit(RLIMIT_FSIZE, &rlimit) == 0 &&
	    rlimit.rlim_cur != RLIM_INFINITY &&
	    rlimit.rlim_cur < (uint64_t)limit)
		limit = (int64_t)rlimit.rlim_cur;
	return limit;
}

/*
 * Somebody has removed the file, or moved its directory away, or put another
 * one over it: no reader looks there.
 */
static bool
is_out_of_sight(const struct spool *spool)
{
	struct stat file, dir, named;

	return fstat(spool->fd, &file) != 0 || file.st_nlink == 0 ||
	       fstat(spool->dir, &dir) != 0 ||
	       lstat(spool->space.dir, &named) != 0 ||
	       dir.st_dev != named.st_dev || dir.st_ino != named.st_ino;
}

/* An old file is left as well, so that it can be removed when it is done. */
static bool
is_worn(const struct spool *spool, size_t len, int64_t limit)
{
	return spool->bytes + (int64_t)len > limit ||
	       clock_boot_ms() - spool->made_boot_ms >= spool->space.keep_ms ||
	       is_out_of_sight(spool);
}

/*
 * limits.max_bytes, by what the directory held a moment ago: writers that do
 * not know of each other may be past it by what they write in that time.
 */
static bool
has_room(struct spool *spool, size_t len, bool may_use_reserve)
{
	int64_t now_ms = clock_monotonic_ms();
	int64_t max_bytes = spool->space.max_bytes;
	int dir;

	if (spool->counted_ms == 0 || now_ms - spool->counted_ms >= COUNT_MS ||
	    spool->own >= max_bytes / COUNT_PARTS) {
		dir = spool_space_enter(&spool->space);
		spool->used = dir < 0 ? 0 : spool_space_used(dir);
		if (dir >= 0)
			close(dir);
		if (spool->used < 0)
			spool->used = 0;
		spool->own = 0;
		spool->counted_ms = now_ms;
	}
	if (!may_use_reserve)
		max_bytes -= spool->space.reserve_bytes;
	return spool->used + spool->own + (int64_t)len <= max_bytes;
}

/* ---- append ---- */

static enum sgate_status
error_disk(const struct spool *spool, const char *operation, int native,
    struct sgate_error *err)
{
	return error_set(err, SGATE_UNAVAILABLE, "spool", operation, native,
	    "%s: %s", spool->space.dir, strerror(native));
}

/*
 * A disk that is full has had its reserve: another file would find it full as
 * well, unless it is the sync that said so.
 */
static enum sgate_status
append(struct spool *spool, const char *host, const unsigned char *frame,
    size_t len, bool is_synced, bool may_use_reserve, struct sgate_error *err)
{
	int64_t limit = file_limit(spool, len);
	int native = 0, tries;

	if (SPOOL_HEADER_BYTES + (int64_t)len > limit)
		return error_disk(spool, "append", EFBIG, err);
	for (tries = 0; tries < TRIES; tries++) {
		if (spool->fd >= 0 && is_worn(spool, len, limit))
			file_leave(spool);
		if (spool->fd < 0 &&
		    file_begin(spool, host, may_use_reserve) != 0)
			return error_disk(spool, "begin", errno, err);
		if (file_append(
			spool, frame, len, is_synced, may_use_reserve) == 0)
			return SGATE_OK;
		native = errno;
		made_room(spool, may_use_reserve);
		file_leave(spool);
	}
	return error_disk(spool, "append", native, err);
}

static enum sgate_status
error_frame(struct sgate_error *err)
{
	return error_set(err, SGATE_INTERNAL, "spool", "append", 0,
	    "this event cannot be written as a frame");
}

enum sgate_status
spool_append(struct spool *spool, const struct spool_frame *frame,
    bool is_synced, struct sgate_error *err)
{
	bool may_use_reserve = is_synced && frame->kind == SPOOL_END;
	unsigned char plain[SPOOL_PLAIN_MAX], *bytes = plain;
	enum sgate_status status;
	size_t len;

	error_clear(err);
	settle_in(spool);
	if (frame->record.len > SPOOL_RECORD_MAX)
		return error_frame(err);
	if (frame->record.len > 0)
		bytes = malloc(SPOOL_PLAIN_MAX + frame->record.len);
	if (bytes == NULL)
		return error_memory(err, "append");
	len = spool_frame_write(frame, spool->writer, bytes);
	if (len == 0)
		status = error_frame(err);
	else if (!has_room(spool, len, may_use_reserve))
		status = error_set(err, SGATE_UNAVAILABLE, "spool", "append",
		    ENOSPC, "%s: full: its limit is reached", spool->space.dir);
	else
		status = append(spool, frame->audit.host, bytes, len, is_synced,
		    may_use_reserve, err);
	if (bytes != plain)
		free(bytes);
	return status;
}

/* ---- make and free ---- */

enum sgate_status
spool_open(const struct spool_limits *limits, struct spool **out_spool,
    struct sgate_error *err)
{
	struct spool *spool = calloc(1, sizeof(*spool));
	enum sgate_status status;

	*out_spool = NULL;
	if (spool == NULL)
		return error_memory(err, "open");
	spool->io = failpoint_spool(&spool_io_system);
	spool->fd = -1;
	spool->dir = -1;
	if (spool_space_init(&spool->space, limits))
		status = spool_space_prepare(&spool->space, err);
	else
		status = error_memory(err, "open");
	if (status == SGATE_OK)
		*out_spool = spool;
	else
		spool_close(spool);
	return status;
}

void
spool_close(struct spool *spool)
{
	if (spool == NULL)
		return;
	file_leave(spool);
	spool_space_clear(&spool->space);
	free(spool);
}

void
spool_set_io(struct spool *spool, const struct spool_io *io)
{
	spool->io = io;
}
