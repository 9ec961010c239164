/*
 * The spool's directory, and room in it.
 *
 * Two things can run out. max_bytes is ours to count: the last part of it
 * (the reserve) is for ends that nobody else has. The disk is everybody's: so
 * a file of that size, `reserve`, holds room there, and is made smaller when a
 * write finds the disk full. The keeper makes it whole again when the disk has
 * plenty. Where the file system cannot hold room (no fallocate), there is only
 * the counting.
 */
#include "config.h"

#include "spool_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "status.h"

#define RESERVE_NAME "reserve"
/* What a write that found the disk full takes from the reserve at once. */
#define RELEASE_BYTES (INT64_C(256) * 1024)

/* ---- the directory ---- */

int
spool_space_enter(const struct spool_space *space)
{
	return open(
	    space->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

bool
spool_space_init(struct spool_space *space, const struct spool_limits *limits)
{
	memset(space, 0, sizeof(*space));
	space->dir = strdup(limits->dir);
	space->max_bytes = limits->max_bytes;
	space->reserve_bytes =
	    limits->max_bytes / 100 * limits->reserve_percent;
	space->keep_ms = limits->keep_ms;
	return space->dir != NULL;
}

void
spool_space_clear(struct spool_space *space)
{
	free(space->dir);
	memset(space, 0, sizeof(*space));
}

/* What is synced in a directory is lost with it when its own name was not. */
static int
make_dir(const struct spool_space *space)
{
	int dir, parent = -1, result = -1, native;

	if (mkdir(space->dir, S_IRWXU) != 0)
		return errno == EEXIST ? 0 : -1;
	dir = spool_space_enter(space);
	if (dir >= 0)
		parent = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent >= 0)
		result = fsync(parent);
	native = errno;
	if (parent >= 0)
		close(parent);
	if (dir >= 0)
		close(dir);
	if (result != 0)
		rmdir(space->dir);
	errno = native;
	return result;
}

enum sgate_status
spool_space_prepare(const struct spool_space *space, struct sgate_error *err)
{
	struct stat st;
	int native;

	error_clear(err);
	if (make_dir(space) != 0) {
		native = errno;
		return error_set(err,
		    native == ENOENT || native == ENOTDIR ? SGATE_INVALID
							  : SGATE_UNAVAILABLE,
		    "spool", "mkdir", native, "%s: %s", space->dir,
		    strerror(native));
	}
	if (lstat(space->dir, &st) != 0) {
		native = errno;
		return error_set(err, SGATE_UNAVAILABLE, "spool", "stat",
		    native, "%s: %s", space->dir, strerror(native));
	}
	if (!S_ISDIR(st.st_mode))
		return error_set(err, SGATE_INVALID, "spool", "open", ENOTDIR,
		    "%s: not a directory%s", space->dir,
		    S_ISLNK(st.st_mode) ? " but a symbolic link: give the path "
					  "that it points to"
					: "");
	if (st.st_uid != geteuid() ||
	    (st.st_mode & (S_IRWXU | S_IRWXG | S_IRWXO)) != S_IRWXU)
		return error_set(err, SGATE_INVALID, "spool", "open", EPERM,
		    "%s: it must belong to this process's user, who may do all "
		    "in it, and nobody else may look into it: chown, chmod "
		    "0700",
		    space->dir);
	return SGATE_OK;
}

static bool
is_frames_file(const char *name)
{
	unsigned char writer[SPOOL_WRITER_BYTES];
	char stem[SPOOL_STEM_MAX + 1];

	return spool_stem_read(name, ".spool", stem, writer) ||
	       spool_stem_read(name, ".spool.new", stem, writer);
}

int64_t
spool_space_used(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int64_t used = 0;
	struct stat st;

	if (list == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while ((entry = readdir(list)) != NULL)
		if (is_frames_file(entry->d_name) &&
		    fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
			0 &&
		    S_ISREG(st.st_mode))
			used += st.st_size;
	closedir(list);
	return used;
}

/* ---- the reserve ---- */

static int
reserve_open(int dir, int flags, int64_t *out_bytes)
{
	int fd = openat(dir, RESERVE_NAME,
	    O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags,
	    S_IRUSR | S_IWUSR);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		return -1;
	}
	if (fd >= 0)
		*out_bytes = st.st_size;
	return fd;
}

/* Two that do it at once may give the same part: then they find that out. */
bool
spool_reserve_release(int dir)
{
	int64_t bytes = 0;
	bool is_given;
	int fd = reserve_open(dir, 0, &bytes);

	if (fd < 0)
		return false;
	is_given = bytes > 0 &&
		   ftruncate(fd,
		       bytes > RELEASE_BYTES ? bytes - RELEASE_BYTES : 0) == 0;
	close(fd);
	return is_given;
}

/* A growing file at its limit would kill the process with SIGXFSZ. */
static int64_t
cut_to_limit(int64_t bytes)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY && (uint64_t)bytes > limit.rlim_cur)
		return (int64_t)limit.rlim_cur;
	return bytes;
}

static bool
has_plenty(int dir, int64_t bytes)
{
	struct statvfs fs;

	return fstatvfs(dir, &fs) == 0 &&
	       fs.f_bavail / 2 >= (uint64_t)bytes / fs.f_frsize;
}

/*
 * It takes no more than half of what is free: who else writes to this disk
 * needs room too, and this is only a precaution. What it cannot have now it
 * tries to have in the next round.
 */
void
spool_reserve_keep(const struct spool_space *space, int dir, int64_t used)
{
	int64_t wanted = space->max_bytes - used, bytes = 0;
	int fd;

	if (wanted > space->reserve_bytes)
		wanted = space->reserve_bytes;
	wanted = cut_to_limit(wanted < 0 ? 0 : wanted);
	fd = reserve_open(dir, O_CREAT, &bytes);
	if (fd < 0)
		return;
	if (bytes > wanted && ftruncate(fd, wanted) == 0)
		bytes = wanted;
	if (bytes < wanted && has_plenty(dir, wanted - bytes) &&
	    fallocate(fd, 0, 0, wanted) != 0 && ftruncate(fd, bytes) != 0)
		unlinkat(dir, RESERVE_NAME, 0);
	close(fd);
}
