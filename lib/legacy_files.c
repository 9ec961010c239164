/*
 * Sessions that are files of one directory. A file is read under a shared lock,
 * which is how the programs that write them (PHP, CGI::Session) keep readers
 * from half-written ones; one that stays locked is not read.
 */
#include "config.h"

#include "legacy_own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "status.h"

/* A request of theirs may hold the lock all the time that it takes. */
#define LOCK_TRIES 20
#define LOCK_PAUSE_NS (50 * 1000 * 1000)

struct files {
	struct legacy_source source;
	DIR *dir;
	char *path, *prefix;
	struct buf body, id;
};

static void
files_close(struct legacy_source *source)
{
	struct files *files = (struct files *)source;

	if (files->dir != NULL)
		closedir(files->dir);
	free(files->path);
	free(files->prefix);
	buf_wipe(&files->body);
	buf_wipe(&files->id);
	free(files);
}

static enum sgate_status
files_open(const struct legacy_settings *settings, const char *address,
    struct legacy_source **out, struct sgate_error *err)
{
	struct files *files = calloc(1, sizeof(*files));

	if (files == NULL)
		return error_memory(err, "open");
	files->source.type = &legacy_files;
	files->path = strdup(address);
	files->prefix = strdup(legacy_prefix(settings));
	if (files->path == NULL || files->prefix == NULL) {
		files_close(&files->source);
		return error_memory(err, "open");
	}
	files->dir = opendir(address);
	if (files->dir == NULL) {
		int code = errno;

		files_close(&files->source);
		return error_set(err,
		    code == EACCES || code == ENOENT || code == ENOTDIR
			? SGATE_INVALID
			: SGATE_UNAVAILABLE,
		    "files", "open", code,
		    "%.150s: %s; give the directory that has the sessions, "
		    "as a user who may read it",
		    address, strerror(code));
	}
	*out = &files->source;
	return SGATE_OK;
}

/* NULL, or why it is not to be read now. */
static const char *
lock(int fd)
{
	const struct timespec pause = {0, LOCK_PAUSE_NS};
	int i;

	for (i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_SH | LOCK_NB) == 0)
			return NULL;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return NULL; /* a file system without locks */
		nanosleep(&pause, NULL);
	}
	return "a request of the old system has it locked; try again";
}

static const char *
read_body(int fd, struct buf *out)
{
	char *at;
	ssize_t got;

	buf_reset(out);
	do {
		size_t before = out->len;

		at = buf_extend(out, 4096);
		if (at == NULL)
			return "out of memory";
		got = read(fd, at, 4096);
		buf_cut(out, before + (got > 0 ? (size_t)got : 0));
		if (out->len > LEGACY_BODY_MAX)
			return LEGACY_WHY_LARGE;
	} while (got > 0 || (got < 0 && errno == EINTR));
	return got < 0 ? "it could not be read" : NULL;
}

/* False: it is gone, or no file. */
static bool
read_file(struct files *files, const char *name, struct legacy_raw *out)
{
	struct stat st;
	/* Nobody can make it wait by a pipe, or lead it elsewhere by a link. */
	int fd = openat(dirfd(files->dir), name,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 && (errno == ENOENT || errno == ELOOP))
		return false;
	buf_reset(&files->id);
	buf_add_text(&files->id, name + strlen(files->prefix));
	out->id = buf_bytes(&files->id);
	if (fd < 0) {
		out->why = "it may not be read by this user";
		return true;
	}
	out->why = lock(fd);
	if (out->why == NULL)
		out->why = read_body(fd, &files->body);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return false;
	}
	close(fd);
	out->changed_ms =
	    (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	if (out->why == NULL)
		out->body = buf_bytes(&files->body);
	return true;
}

static enum sgate_status
files_next(struct legacy_source *source, struct legacy_raw *out,
    struct sgate_error *err)
{
	struct files *files = (struct files *)source;
	size_t len = strlen(files->prefix);
	const struct dirent *entry;

	for (;;) {
		errno = 0;
		entry = readdir(files->dir);
		if (entry == NULL && errno != 0)
			return error_set(err, SGATE_UNAVAILABLE, "files",
			    "list", errno, "%.150s: %s", files->path,
			    strerror(errno));
		if (entry == NULL)
			return SGATE_NOT_FOUND;
		if (entry->d_name[0] == '.' ||
		    strncmp(entry->d_name, files->prefix, len) != 0 ||
		    entry->d_name[len] == '\0')
			continue;
		if (read_file(files, entry->d_name, out))
			return SGATE_OK;
		memset(out, 0, sizeof(*out));
	}
}

static enum sgate_status
files_find(struct legacy_source *source, struct sgate_bytes id,
    struct legacy_raw *out, struct sgate_error *err)
{
	struct files *files = (struct files *)source;
	struct buf name = {0};
	enum sgate_status status = SGATE_NOT_FOUND;

	if (memchr(id.data, '/', id.len) != NULL ||
	    memchr(id.data, '\0', id.len) != NULL ||
	    (files->prefix[0] == '\0' && id.data[0] == '.'))
		return SGATE_NOT_FOUND;
	buf_add_text(&name, files->prefix);
	buf_add_bytes(&name, id);
	if (buf_failed(&name))
		status = error_memory(err, "find");
	else if (read_file(files, name.data, out))
		status = SGATE_OK;
	buf_wipe(&name);
	return status;
}

const struct legacy_source_type legacy_files = {
    "/", LEGACY_FILES, files_open, files_close, files_next, files_find};
