/*
 * Walking the frames of one file: read a window at a time, look for the next
 * bytes that are a frame. A file is opened for each window and not held: there
 * may be thousands of them.
 */
#include "config.h"

#include "spool_reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "status.h"

#define BLOCK_BYTES 4096

/* ---- bytes ---- */

/* What was read, up to `len`; -1: with errno. */
static ssize_t
read_at(int fd, unsigned char *out, size_t len, int64_t offset)
{
	size_t sum = 0;
	ssize_t got;

	while (sum < len) {
		got = pread(fd, out + sum, len - sum, offset + (int64_t)sum);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return sum > 0 ? (ssize_t)sum : -1;
		if (got == 0)
			break;
		sum += (size_t)got;
	}
	return (ssize_t)sum;
}

/* A block that the disk cannot read any more is damage like any other. */
static ssize_t
read_block_by_block(int fd, unsigned char *out, size_t len, int64_t offset)
{
	size_t sum = 0, block;
	ssize_t got;

	while (sum < len) {
		block = (size_t)(BLOCK_BYTES -
				 (offset + (int64_t)sum) % BLOCK_BYTES);
		if (block > len - sum)
			block = len - sum;
		got = read_at(fd, out + sum, block, offset + (int64_t)sum);
		if (got < 0 && errno != EIO)
			return -1;
		if (got < 0)
			memset(out + sum, 0, block);
		else if (got == 0)
			break;
		sum += got < 0 ? block : (size_t)got;
	}
	return (ssize_t)sum;
}

static enum sgate_status
window_load(int dir, struct spool_reader_file *file, int64_t offset,
    struct sgate_error *err)
{
	struct spool_scan *scan = file->scan;
	char name[SPOOL_STEM_MAX + 16];
	ssize_t got = -1;
	int fd, native;

	snprintf(name, sizeof(name), "%s.spool", file->stem);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		got = read_at(fd, scan->bytes, scan->size, offset);
	if (fd >= 0 && got < 0 && errno == EIO)
		got = read_block_by_block(fd, scan->bytes, scan->size, offset);
	native = errno;
	if (fd >= 0)
		close(fd);
	scan->at = offset;
	scan->len = got < 0 ? 0 : (size_t)got;
	if (got >= 0)
		return SGATE_OK;
	return error_set(err, SGATE_UNAVAILABLE, "spool", "read", native,
	    "%s: %s", name, strerror(native));
}

/* Room for so many bytes; what was in it is forgotten when it grows. */
static bool
window_grow(struct spool_reader_file *file, size_t want)
{
	struct spool_scan *scan = file->scan;
	unsigned char *bytes;

	if (scan == NULL) {
		scan = file->scan = calloc(1, sizeof(*scan));
		if (scan == NULL)
			return false;
		scan->head = -1;
	}
	if (want < SPOOL_WINDOW_BYTES)
		want = SPOOL_WINDOW_BYTES;
	if (scan->size >= want)
		return true;
	bytes = malloc(want);
	if (bytes == NULL)
		return false;
	free(scan->bytes);
	scan->bytes = bytes;
	scan->size = want;
	scan->len = 0;
	return true;
}

/*
 * The file's bytes from `offset` on: `want` at least, or as many as there are
 * before `limit`. Fewer: the file has become shorter.
 */
static enum sgate_status
window_get(int dir, struct spool_reader_file *file, int64_t offset,
    size_t wanted, int64_t limit, const unsigned char **out, size_t *out_len,
    struct sgate_error *err)
{
	int64_t want = limit - offset;
	enum sgate_status status = SGATE_OK;
	struct spool_scan *scan;

	if (want > (int64_t)wanted)
		want = (int64_t)wanted;
	if (!window_grow(file, (size_t)want))
		return error_memory(err, "read");
	scan = file->scan;
	if (offset < scan->at || offset + want > scan->at + (int64_t)scan->len)
		status = window_load(dir, file, offset, err);
	if (status != SGATE_OK)
		return status;
	*out = scan->bytes + (offset - scan->at);
	*out_len = scan->len - (size_t)(offset - scan->at);
	if ((int64_t)*out_len > limit - offset)
		*out_len = (size_t)(limit - offset);
	return SGATE_OK;
}

void
spool_scan_shrink(struct spool_reader_file *file)
{
	struct spool_scan *scan = file->scan;

	if (scan == NULL || scan->size <= SPOOL_WINDOW_BYTES)
		return;
	free(scan->bytes);
	scan->bytes = NULL;
	scan->size = 0;
	scan->len = 0;
}

void
spool_scan_clear(struct spool_reader_file *file)
{
	if (file->scan != NULL)
		free(file->scan->bytes);
	free(file->scan);
	file->scan = NULL;
}

/* ---- frames ---- */

enum sgate_status
spool_scan_next(int dir, struct spool_reader_file *file, int64_t *offset,
    int64_t limit, struct spool_frame *out, size_t *out_len,
    struct sgate_error *err)
{
	const unsigned char *bytes, *next;
	int64_t at = *offset;
	enum sgate_status status;
	size_t len, length;

	while (at + SPOOL_FRAME_MIN <= limit) {
		status = window_get(
		    dir, file, at, SPOOL_PLAIN_MAX, limit, &bytes, &len, err);
		if (status != SGATE_OK)
			return status;
		if (len < SPOOL_FRAME_MIN)
			break;
		length = spool_frame_length(bytes, len, file->writer);
		if (length > len && at + (int64_t)length <= limit)
			status = window_get(
			    dir, file, at, length, limit, &bytes, &len, err);
		if (status != SGATE_OK)
			return status;
		*out_len = spool_frame_read(bytes, len, file->writer, out);
		if (*out_len > 0) {
			*offset = at;
			return SGATE_OK;
		}
		next = memchr(bytes + 1, SPOOL_MAGIC_FIRST, len - 1);
		at += next != NULL ? next - bytes : (int64_t)len;
	}
	return SGATE_NOT_FOUND;
}

bool
spool_scan_is_cut(
    int dir, struct spool_reader_file *file, int64_t offset, int64_t limit)
{
	const unsigned char *bytes;
	struct sgate_error ignored;
	size_t len;

	return limit - offset < (int64_t)SPOOL_FRAME_MAX &&
	       window_get(dir, file, offset, SPOOL_PLAIN_MAX, limit, &bytes,
		   &len, &ignored) == SGATE_OK &&
	       spool_frame_begins(bytes, len, file->writer);
}

enum sgate_status
spool_scan_header(int dir, struct spool_reader_file *file,
    enum spool_header *out_header, struct sgate_error *err)
{
	const unsigned char *bytes;
	enum sgate_status status;
	size_t len;

	status = window_get(
	    dir, file, 0, SPOOL_PLAIN_MAX, file->bytes, &bytes, &len, err);
	if (status == SGATE_OK)
		*out_header = spool_header_read(bytes, len);
	return status;
}

enum sgate_status
spool_scan_pending(int dir, struct spool_reader_file *file, unsigned index,
    int64_t offset, struct sgate_error *err)
{
	struct spool_frame frame;
	enum sgate_status status;
	size_t len;

	for (;;) {
		status = spool_scan_next(
		    dir, file, &offset, file->known, &frame, &len, err);
		if (status != SGATE_OK)
			break;
		if (!spool_marks_has(&file->marks[index], offset)) {
			file->scan->head = offset;
			file->scan->head_len = len;
			file->scan->frame = frame;
			file->scan->frame.record.data = NULL;
			spool_scan_shrink(file);
			return SGATE_OK;
		}
		offset += (int64_t)len;
	}
	if (file->scan != NULL)
		file->scan->head = -1;
	spool_scan_shrink(file);
	return status;
}
