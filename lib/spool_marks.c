/*
 * Which frames of a file which store has: a bit for each SPOOL_GRANULE of it,
 * set for the one in which a done frame begins. By the place and not by the
 * count, so that damage which hides one frame does not shift the others' marks.
 *
 *   "sessgate marks 1" | bytes of one store's bits 8 | bits of the durable
 *   store | bits of the cache | CRC-32C of all that 4
 *
 * Marks that are lost, or older than what was done, only have frames told
 * again: so they are written seldom, never synced, and not believed at all
 * unless they are whole.
 */
#include "config.h"

#include "spool_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"

#define TEXT "sessgate marks 1"
#define TEXT_BYTES 16
#define HEAD_BYTES (TEXT_BYTES + 8)
#define CRC_BYTES 4
#define BITS_MAX (SPOOL_FILE_MAX / SPOOL_GRANULE / 8)

/* ---- in memory ---- */

static size_t
bits_for(int64_t file_bytes)
{
	return (size_t)(file_bytes / SPOOL_GRANULE / 8) + 1;
}

bool
spool_marks_grow(struct spool_marks *marks, int64_t file_bytes)
{
	size_t bytes = bits_for(file_bytes);
	unsigned char *bits;

	if (bytes <= marks->bytes)
		return true;
	bits = realloc(marks->bits, bytes);
	if (bits == NULL)
		return false;
	memset(bits + marks->bytes, 0, bytes - marks->bytes);
	marks->bits = bits;
	marks->bytes = bytes;
	return true;
}

bool
spool_marks_has(const struct spool_marks *marks, int64_t offset)
{
	uint64_t bit = (uint64_t)offset / SPOOL_GRANULE;

	return bit / 8 < marks->bytes &&
	       (marks->bits[bit / 8] >> bit % 8 & 1) != 0;
}

void
spool_marks_set(struct spool_marks *marks, int64_t offset, bool is_done)
{
	uint64_t bit = (uint64_t)offset / SPOOL_GRANULE;
	unsigned char mask = (unsigned char)(1u << bit % 8);

	if (bit / 8 >= marks->bytes)
		return;
	if (is_done)
		marks->bits[bit / 8] |= mask;
	else
		marks->bits[bit / 8] &= (unsigned char)~mask;
}

/* ---- on the disk ---- */

static void
file_name(const char *stem, const char *suffix, char out[SPOOL_STEM_MAX + 16])
{
	snprintf(out, SPOOL_STEM_MAX + 16, "%s%s", stem, suffix);
}

/* Of each store's bits how many bytes there are; 0: it cannot be believed. */
static size_t
bytes_if_whole(const unsigned char *file, size_t len)
{
	uint64_t bytes;

	if (len < HEAD_BYTES + CRC_BYTES || memcmp(file, TEXT, TEXT_BYTES) != 0)
		return 0;
	bytes = spool_read_uint(file + TEXT_BYTES, 8);
	if (bytes > BITS_MAX + 1 || len != HEAD_BYTES + 2 * bytes + CRC_BYTES ||
	    crc32c(0, file, len - CRC_BYTES) !=
		spool_read_uint(file + len - CRC_BYTES, 4))
		return 0;
	return (size_t)bytes;
}

static bool
take_file(const unsigned char *file, size_t len, struct spool_marks marks[2])
{
	size_t bytes = bytes_if_whole(file, len);
	int i;

	for (i = 0; i < 2 && bytes > 0; i++) {
		if (!spool_marks_grow(
			&marks[i], (int64_t)(bytes - 1) * 8 * SPOOL_GRANULE))
			return false;
		memcpy(marks[i].bits, file + HEAD_BYTES + (size_t)i * bytes,
		    bytes);
	}
	return true;
}

static size_t
read_whole(int fd, unsigned char *out, size_t size)
{
	size_t len = 0;
	ssize_t got;

	while (len < size) {
		got = read(fd, out + len, size - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	return len;
}

bool
spool_marks_read(int dir, const char *stem, struct spool_marks marks[2])
{
	const off_t max = HEAD_BYTES + 2 * (BITS_MAX + 1) + CRC_BYTES;
	char name[SPOOL_STEM_MAX + 16];
	unsigned char *file = NULL;
	bool has_memory = true;
	struct stat st;
	int fd;

	file_name(stem, ".done", name);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return true;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0 ||
	    st.st_size > max)
		goto out;
	file = malloc((size_t)st.st_size);
	has_memory =
	    file != NULL &&
	    take_file(file, read_whole(fd, file, (size_t)st.st_size), marks);
out:
	free(file);
	close(fd);
	return has_memory;
}

/* The file's bytes, or NULL: no memory. */
static unsigned char *
make_file(const struct spool_marks marks[2], size_t *out_len)
{
	size_t bytes =
	    marks[0].bytes > marks[1].bytes ? marks[0].bytes : marks[1].bytes;
	size_t len = HEAD_BYTES + 2 * bytes + CRC_BYTES;
	unsigned char *file = calloc(1, len);
	int i;

	if (file == NULL)
		return NULL;
	memcpy(file, TEXT, TEXT_BYTES);
	spool_write_uint(file + TEXT_BYTES, 8, bytes);
	for (i = 0; i < 2; i++)
		if (marks[i].bytes > 0)
			memcpy(file + HEAD_BYTES + (size_t)i * bytes,
			    marks[i].bits, marks[i].bytes);
	spool_write_uint(file + len - CRC_BYTES, CRC_BYTES,
	    crc32c(0, file, len - CRC_BYTES));
	*out_len = len;
	return file;
}

bool
spool_marks_write(const struct spool_io *io, int dir, const char *stem,
    const struct spool_marks marks[2])
{
	char name[SPOOL_STEM_MAX + 16], new_name[SPOOL_STEM_MAX + 16];
	size_t len, done;
	unsigned char *file = make_file(marks, &len);
	bool is_written = false;
	int fd;

	if (file == NULL)
		return false;
	file_name(stem, ".done", name);
	file_name(stem, ".done.new", new_name);
	fd = io->open(dir, new_name,
	    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
	    S_IRUSR | S_IWUSR);
	if (fd >= 0) {
		is_written = spool_write_all(io, fd, file, len, &done) == 0;
		is_written = close(fd) == 0 && is_written &&
			     io->rename(dir, new_name, name) == 0;
		if (!is_written)
			unlinkat(dir, new_name, 0);
	}
	free(file);
	return is_written;
}
