/*
 * The reader: all files of the directory, what of them which store has, and
 * passes over the rest.
 *
 * Nobody is waited for and nobody is held up: a writer is never asked, its file
 * only grows, and what stands in it once stays as it is. So a look counts what
 * has come since the last one, up to the last whole frame; what is behind that
 * may still be under way as long as the writer holds its lock, and is damage
 * once it does not. What cannot be read is passed over when a whole frame
 * follows.
 */
#include "config.h"

#include "spool_reader.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "failpoint_stores.h"
#include "status.h"

/* More are not looked at until some of these are gone. */
#define FILES_MAX 4096
/* One look reads so much that is new. */
#define LOOK_BYTES (INT64_C(32) * 1024 * 1024)
/* Marks are written no more often. */
#define MARKS_MS 1000

struct spool_reader {
	struct spool_space space;
	const struct spool_io *io;
	unsigned stores;
	int dir;                         /* of the last look; -1: none */
	struct spool_reader_file *files; /* by stem, but for those of this look
					  */
	size_t count, size, sorted;
	int64_t marks_ms; /* monotonic: when marks were written */
	unsigned pass;    /* index of the store of the pass */
	bool is_whole;
	uint64_t damaged, torn;
	char last_damage[160];
};

static unsigned
index_of(unsigned store)
{
	return store == SPOOL_TO_CACHE ? 1 : 0;
}

static bool
is_wanted(const struct spool_reader *reader, unsigned index)
{
	return (reader->stores >> index & 1) != 0;
}

static bool
is_pending(const struct spool_reader_file *file)
{
	return file->pending[0] > 0 || file->pending[1] > 0;
}

/* ---- the files that there are ---- */

static void
file_clear(struct spool_reader_file *file)
{
	spool_scan_clear(file);
	free(file->marks[0].bits);
	free(file->marks[1].bits);
	memset(file, 0, sizeof(*file));
}

static int
compare_files(const void *a, const void *b)
{
	const struct spool_reader_file *left = a, *right = b;

	return strcmp(left->stem, right->stem);
}

static int
compare_stem(const void *stem, const void *file)
{
	return strcmp(stem, ((const struct spool_reader_file *)file)->stem);
}

/* Among those of earlier looks. */
static struct spool_reader_file *
file_find(struct spool_reader *reader, const char *stem)
{
	return reader->sorted == 0
		   ? NULL
		   : bsearch(stem, reader->files, reader->sorted,
			 sizeof(*reader->files), compare_stem);
}

/* A new one, of which nothing is known; NULL: no memory. */
static struct spool_reader_file *
file_add(struct spool_reader *reader, const char *stem,
    const unsigned char writer[SPOOL_WRITER_BYTES])
{
	struct spool_reader_file *file;
	size_t size;

	if (reader->count == reader->size) {
		size = reader->size == 0 ? 16 : 2 * reader->size;
		file = reallocarray(reader->files, size, sizeof(*file));
		if (file == NULL)
			return NULL;
		reader->files = file;
		reader->size = size;
	}
	file = &reader->files[reader->count];
	memset(file, 0, sizeof(*file));
	memcpy(file->stem, stem, sizeof(file->stem));
	memcpy(file->writer, writer, sizeof(file->writer));
	if (!spool_marks_read(reader->dir, stem, file->marks)) {
		file_clear(file);
		return NULL;
	}
	reader->count++;
	return file;
}

/* What was not seen in the directory, or has been removed from it. */
static void
forget_unseen(struct spool_reader *reader)
{
	size_t i, kept = 0;

	for (i = 0; i < reader->count; i++) {
		if (!reader->files[i].is_seen)
			file_clear(&reader->files[i]);
		else if (kept++ != i)
			reader->files[kept - 1] = reader->files[i];
	}
	reader->count = kept;
}

/* A file that has become shorter is looked at from its beginning. */
static void
file_forget_frames(struct spool_reader_file *file)
{
	unsigned i;

	file->known = 0;
	file->newest_ms = 0;
	spool_scan_clear(file);
	for (i = 0; i < SPOOL_STORES; i++) {
		file->pending[i] = 0;
		file->from[i] = 0;
		file->oldest_ms[i] = 0;
	}
}

/* ---- the directory ---- */

static enum sgate_status
see_file(struct spool_reader *reader, const char *name, struct sgate_error *err)
{
	unsigned char writer[SPOOL_WRITER_BYTES];
	char stem[SPOOL_STEM_MAX + 1];
	struct spool_reader_file *file;
	struct stat st;

	if (!spool_stem_read(name, ".spool", stem, writer) ||
	    fstatat(reader->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(st.st_mode))
		return SGATE_OK;
	file = file_find(reader, stem);
	if (file == NULL && reader->count >= FILES_MAX) {
		reader->is_whole = false;
		return SGATE_OK;
	}
	if (file == NULL)
		file = file_add(reader, stem, writer);
	if (file == NULL)
		return error_memory(err, "look");
	file->is_seen = true;
	if (st.st_size < file->known)
		file_forget_frames(file);
	file->bytes = st.st_size;
	if (file->bytes > SPOOL_FILE_MAX)
		file->is_foreign = true;
	return SGATE_OK;
}

/* Whether somebody holds the lock of its writer; also when that cannot be
 * told. out_bytes: how long it is, once nobody does. */
static bool
has_writer(int dir, const char *name, int64_t *out_bytes)
{
	int fd =
	    openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool is_held = true;
	struct stat st;

	if (fd < 0)
		return true;
	if (flock(fd, LOCK_SH | LOCK_NB) == 0 && fstat(fd, &st) == 0) {
		is_held = false;
		*out_bytes = st.st_size;
	}
	close(fd);
	return is_held;
}

/*
 * What a killed process left half made, and marks whose file is gone. Somebody
 * may be about to rename or to lock it, so only when it is old.
 */
static void
see_leftover(struct spool_reader *reader, const char *name)
{
	unsigned char writer[SPOOL_WRITER_BYTES];
	char stem[SPOOL_STEM_MAX + 1], file[SPOOL_STEM_MAX + 16];
	struct stat st;
	int64_t bytes;

	if (spool_stem_read(name, ".done", stem, writer)) {
		snprintf(file, sizeof(file), "%s.spool", stem);
		if (fstatat(reader->dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
		    errno != ENOENT)
			return;
	} else if (!spool_stem_read(name, ".spool.new", stem, writer) &&
		   !spool_stem_read(name, ".done.new", stem, writer)) {
		return;
	}
	if (fstatat(reader->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode) &&
	    clock_utc_ms() - (int64_t)st.st_mtime * 1000 >
		reader->space.keep_ms &&
	    !has_writer(reader->dir, name, &bytes))
		unlinkat(reader->dir, name, 0);
}

static enum sgate_status
see_all(struct spool_reader *reader, struct sgate_error *err)
{
	int fd = openat(reader->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	enum sgate_status status = SGATE_OK;
	const struct dirent *entry;
	int native = errno;
	size_t i;

	if (list == NULL) {
		if (fd >= 0)
			close(fd);
		return error_set(err, SGATE_UNAVAILABLE, "spool", "look",
		    native, "%s: %s", reader->space.dir, strerror(native));
	}
	reader->sorted = reader->count;
	for (i = 0; i < reader->count; i++)
		reader->files[i].is_seen = false;
	while (status == SGATE_OK && (entry = readdir(list)) != NULL) {
		see_leftover(reader, entry->d_name);
		status = see_file(reader, entry->d_name, err);
	}
	closedir(list);
	/* Those that were not come to yet have not gone. */
	for (i = 0; status != SGATE_OK && i < reader->sorted; i++)
		reader->files[i].is_seen = true;
	forget_unseen(reader);
	if (reader->count > 1)
		qsort(reader->files, reader->count, sizeof(*reader->files),
		    compare_files);
	return status;
}

static enum sgate_status
enter(struct spool_reader *reader, struct sgate_error *err)
{
	int dir = spool_space_enter(&reader->space), native = errno;

	if (dir < 0)
		return error_set(err, SGATE_UNAVAILABLE, "spool", "look",
		    native, "%s: %s", reader->space.dir, strerror(native));
	if (reader->dir >= 0)
		close(reader->dir);
	reader->dir = dir;
	return SGATE_OK;
}

/* ---- what is new in a file ---- */

static void
note_damage(struct spool_reader *reader, const struct spool_reader_file *file,
    int64_t from, int64_t to)
{
	reader->damaged++;
	snprintf(reader->last_damage, sizeof(reader->last_damage),
	    "%s.spool: %lld bytes at %lld", file->stem, (long long)(to - from),
	    (long long)from);
}

static void
file_add_pending(struct spool_reader_file *file, unsigned index, int64_t offset,
    int64_t event_ms)
{
	if (file->pending[index]++ == 0) {
		file->from[index] = offset;
		file->oldest_ms[index] = event_ms;
	}
	if (offset < file->from[index])
		file->from[index] = offset;
	if (event_ms < file->oldest_ms[index])
		file->oldest_ms[index] = event_ms;
}

static void
file_count_frame(const struct spool_reader *reader,
    struct spool_reader_file *file, const struct spool_frame *frame,
    int64_t offset)
{
	int64_t event_ms = spool_event_ms(frame->audit.event_id);
	unsigned i;

	if (event_ms > file->newest_ms)
		file->newest_ms = event_ms;
	for (i = 0; i < SPOOL_STORES; i++) {
		if ((frame->done >> i & 1) != 0 || !is_wanted(reader, i))
			spool_marks_set(&file->marks[i], offset, true);
		if (!spool_marks_has(&file->marks[i], offset))
			file_add_pending(file, i, offset, event_ms);
	}
}

/* No whole frame is behind file->known. */
static void
file_end(struct spool_reader *reader, struct spool_reader_file *file)
{
	char name[SPOOL_STEM_MAX + 16];
	int64_t bytes = 0;

	snprintf(name, sizeof(name), "%s.spool", file->stem);
	if (has_writer(reader->dir, name, &bytes) || bytes != file->bytes)
		return;
	if (spool_scan_is_cut(reader->dir, file, file->known, file->bytes))
		reader->torn++;
	else
		note_damage(reader, file, file->known, file->bytes);
	file->known = file->bytes;
}

static enum sgate_status
file_begin(struct spool_reader *reader, struct spool_reader_file *file,
    struct sgate_error *err)
{
	enum spool_header header = SPOOL_HEADER_DAMAGED;
	enum sgate_status status;

	status = spool_scan_header(reader->dir, file, &header, err);
	if (header == SPOOL_HEADER_FOREIGN)
		file->is_foreign = true;
	if (header == SPOOL_HEADER_RIGHT)
		file->known = SPOOL_HEADER_BYTES;
	return status;
}

static enum sgate_status
file_look(struct spool_reader *reader, struct spool_reader_file *file,
    int64_t *budget, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	struct spool_frame frame;
	int64_t at;
	size_t len;

	if (file->known == file->bytes || file->is_foreign)
		return SGATE_OK;
	file->done_boot_ms = 0;
	if (!spool_marks_grow(&file->marks[0], file->bytes) ||
	    !spool_marks_grow(&file->marks[1], file->bytes))
		return error_memory(err, "look");
	if (file->known == 0)
		status = file_begin(reader, file, err);
	while (status == SGATE_OK && !file->is_foreign &&
	       file->known<file->bytes && * budget> 0) {
		at = file->known;
		status = spool_scan_next(
		    reader->dir, file, &at, file->bytes, &frame, &len, err);
		if (status != SGATE_OK)
			break;
		if (at > file->known)
			note_damage(reader, file, file->known, at);
		file_count_frame(reader, file, &frame, at);
		*budget -= at + (int64_t)len - file->known;
		file->known = at + (int64_t)len;
	}
	if (status != SGATE_NOT_FOUND)
		return status;
	file_end(reader, file);
	return SGATE_OK;
}

/*
 * One file that cannot be read holds up no other; the last error is told when
 * all of them have been looked at.
 */
static enum sgate_status
look_at_files(struct spool_reader *reader, struct sgate_error *err)
{
	enum sgate_status status, answer = SGATE_OK;
	int64_t budget = LOOK_BYTES;
	size_t i;

	for (i = 0; i < reader->count; i++) {
		struct spool_reader_file *file = &reader->files[i];

		status = file_look(reader, file, &budget, err);
		if (status != SGATE_OK)
			answer = status;
		if (!file->is_foreign && file->known < file->bytes)
			reader->is_whole = false;
		spool_scan_clear(file);
	}
	return answer;
}

/* ---- what is done ---- */

static void
write_marks(struct spool_reader *reader)
{
	size_t i;

	for (i = 0; reader->dir >= 0 && i < reader->count; i++) {
		struct spool_reader_file *file = &reader->files[i];

		if (file->is_changed &&
		    spool_marks_write(
			reader->io, reader->dir, file->stem, file->marks))
			file->is_changed = false;
	}
	reader->marks_ms = clock_monotonic_ms();
}

/* How long ago the file, or its marks, were written last. */
static int64_t
file_age_ms(const struct spool_reader *reader, const char *stem)
{
	static const char *const suffixes[] = {".spool", ".done"};
	char name[SPOOL_STEM_MAX + 16];
	int64_t written_ms = 0, age_ms;
	struct stat st;
	size_t i;

	for (i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s%s", stem, suffixes[i]);
		if (fstatat(reader->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    (int64_t)st.st_mtime * 1000 > written_ms)
			written_ms = (int64_t)st.st_mtime * 1000;
	}
	age_ms = clock_utc_ms() - written_ms;
	return age_ms > 0 ? age_ms : 0;
}

/* Nothing is left to do with it, nothing to be told again, nobody adds to it.
 */
static bool
is_finished(struct spool_reader *reader, struct spool_reader_file *file)
{
	char name[SPOOL_STEM_MAX + 16];
	int64_t now_ms = clock_boot_ms(), bytes = 0;

	if (file->is_foreign || file->known < file->bytes || is_pending(file))
		return false;
	/* Found done, it has been so since something was written. */
	if (file->done_boot_ms == 0)
		file->done_boot_ms = now_ms - file_age_ms(reader, file->stem);
	if (now_ms - file->done_boot_ms < reader->space.keep_ms)
		return false;
	snprintf(name, sizeof(name), "%s.spool", file->stem);
	return !has_writer(reader->dir, name, &bytes) && bytes == file->bytes;
}

/* The frames first: marks alone are only left over. */
static void
remove_finished(struct spool_reader *reader)
{
	char name[SPOOL_STEM_MAX + 16];
	size_t i;

	for (i = 0; i < reader->count; i++) {
		struct spool_reader_file *file = &reader->files[i];

		if (!is_finished(reader, file))
			continue;
		snprintf(name, sizeof(name), "%s.spool", file->stem);
		if (unlinkat(reader->dir, name, 0) != 0)
			continue;
		snprintf(name, sizeof(name), "%s.done", file->stem);
		unlinkat(reader->dir, name, 0);
		file->is_seen = false;
	}
	forget_unseen(reader);
}

enum sgate_status
spool_look(struct spool_reader *reader, struct sgate_error *err)
{
	enum sgate_status status;
	int64_t used = 0;
	size_t i;

	error_clear(err);
	status = enter(reader, err);
	if (status != SGATE_OK)
		return status;
	reader->is_whole = true;
	status = see_all(reader, err);
	if (status != SGATE_OK) {
		reader->is_whole = false;
		return status;
	}
	status = look_at_files(reader, err);
	if (clock_monotonic_ms() - reader->marks_ms >= MARKS_MS)
		write_marks(reader);
	remove_finished(reader);
	for (i = 0; i < reader->count; i++)
		used += reader->files[i].bytes;
	spool_reserve_keep(&reader->space, reader->dir, used);
	return status;
}

/* ---- passes ---- */

/* Frames that were there when they were counted may be damaged since. */
static enum sgate_status
file_find_head(struct spool_reader *reader, struct spool_reader_file *file,
    int64_t offset, bool is_first, struct sgate_error *err)
{
	unsigned index = reader->pass;
	enum sgate_status status;

	status = spool_scan_pending(reader->dir, file, index, offset, err);
	if (status == SGATE_NOT_FOUND && is_first)
		file->pending[index] = 0;
	if (status == SGATE_NOT_FOUND) {
		spool_scan_clear(file);
		return SGATE_OK;
	}
	if (status == SGATE_OK && is_first) {
		file->from[index] = file->scan->head;
		file->oldest_ms[index] =
		    spool_event_ms(file->scan->frame.audit.event_id);
	}
	return status;
}

enum sgate_status
spool_pass_begin(
    struct spool_reader *reader, unsigned store, struct sgate_error *err)
{
	enum sgate_status status, answer = SGATE_OK;
	size_t i;

	error_clear(err);
	reader->pass = index_of(store);
	for (i = 0; i < reader->count; i++) {
		struct spool_reader_file *file = &reader->files[i];

		spool_scan_clear(file);
		if (file->pending[reader->pass] == 0)
			continue;
		status = file_find_head(
		    reader, file, file->from[reader->pass], true, err);
		if (status != SGATE_OK)
			answer = status;
	}
	return answer;
}

bool
spool_pass_next(struct spool_reader *reader, struct spool_frame *out,
    struct spool_place *out_place)
{
	struct spool_reader_file *file, *oldest = NULL;
	struct sgate_error ignored;
	size_t i;

	for (i = 0; i < reader->count; i++) {
		file = &reader->files[i];
		if (file->scan != NULL && file->scan->head >= 0 &&
		    (oldest == NULL || memcmp(file->scan->frame.audit.event_id,
					   oldest->scan->frame.audit.event_id,
					   DURABLE_EVENT_BYTES) < 0))
			oldest = file;
	}
	if (oldest == NULL)
		return false;
	*out = oldest->scan->frame;
	out_place->file = (size_t)(oldest - reader->files);
	out_place->offset = oldest->scan->head;
	/* If it cannot be read on, the rest of it waits for the next pass. */
	file_find_head(reader, oldest,
	    oldest->scan->head + (int64_t)oldest->scan->head_len, false,
	    &ignored);
	return true;
}

enum sgate_status
spool_load(struct spool_reader *reader, const struct spool_place *place,
    struct buf *out, struct sgate_error *err)
{
	struct spool_reader_file *file;
	int64_t at = place->offset;
	enum sgate_status status = SGATE_NOT_FOUND;
	struct spool_frame frame;
	size_t len;

	error_clear(err);
	if (place->file >= reader->count)
		return status;
	file = &reader->files[place->file];
	status = spool_scan_next(
	    reader->dir, file, &at, file->known, &frame, &len, err);
	if (status == SGATE_OK && at != place->offset)
		status = SGATE_NOT_FOUND;
	if (status == SGATE_OK)
		buf_add_bytes(out, frame.record);
	spool_scan_shrink(file);
	if (buf_failed(out))
		return error_memory(err, "load");
	return status;
}

void
spool_done(struct spool_reader *reader, const struct spool_place *place,
    unsigned store)
{
	unsigned index = index_of(store);
	struct spool_reader_file *file;

	if (place->file >= reader->count)
		return;
	file = &reader->files[place->file];
	if (spool_marks_has(&file->marks[index], place->offset))
		return;
	spool_marks_set(&file->marks[index], place->offset, true);
	file->is_changed = true;
	if (file->pending[index] > 0)
		file->pending[index]--;
	file->done_boot_ms = clock_boot_ms();
}

static enum sgate_status
file_again(struct spool_reader *reader, struct spool_reader_file *file,
    unsigned index, int64_t since_ms, struct sgate_error *err)
{
	enum sgate_status status;
	struct spool_frame frame;
	int64_t at = 0, event_ms;
	size_t len;

	if (file->newest_ms < since_ms)
		return SGATE_OK;
	while ((status = spool_scan_next(reader->dir, file, &at, file->known,
		    &frame, &len, err)) == SGATE_OK) {
		event_ms = spool_event_ms(frame.audit.event_id);
		if (event_ms >= since_ms &&
		    spool_marks_has(&file->marks[index], at)) {
			spool_marks_set(&file->marks[index], at, false);
			file_add_pending(file, index, at, event_ms);
			file->is_changed = true;
		}
		at += (int64_t)len;
	}
	spool_scan_clear(file);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

/* Files are in the order of their stems; what has come since is not done. */
enum sgate_status
spool_again_some(struct spool_reader *reader, unsigned store, int64_t since_ms,
    struct spool_cursor *cursor, struct sgate_error *err)
{
	unsigned index = index_of(store);
	enum sgate_status status, answer = SGATE_OK;
	int64_t budget = LOOK_BYTES;
	size_t i;

	error_clear(err);
	for (i = 0; is_wanted(reader, index) && i < reader->count; i++) {
		struct spool_reader_file *file = &reader->files[i];

		if (strcmp(file->stem, cursor->after) <= 0)
			continue;
		if (budget <= 0)
			return answer;
		status = file_again(reader, file, index, since_ms, err);
		if (status != SGATE_OK)
			answer = status;
		budget -= file->bytes;
		memcpy(cursor->after, file->stem, sizeof(file->stem));
	}
	cursor->after[0] = '\0';
	return answer;
}

enum sgate_status
spool_again(struct spool_reader *reader, unsigned store, int64_t since_ms,
    struct sgate_error *err)
{
	struct spool_cursor cursor = {""};
	enum sgate_status status, answer = SGATE_OK;

	do {
		status =
		    spool_again_some(reader, store, since_ms, &cursor, err);
		if (status != SGATE_OK)
			answer = status;
	} while (cursor.after[0] != '\0');
	return answer;
}

/* ---- state ---- */

static void
state_add(const struct spool_reader_file *file, unsigned index,
    uint64_t *frames, int64_t *oldest_ms)
{
	*frames += file->pending[index];
	if (file->pending[index] > 0 &&
	    (*oldest_ms == 0 || file->oldest_ms[index] < *oldest_ms))
		*oldest_ms = file->oldest_ms[index];
}

void
spool_state(const struct spool_reader *reader, struct spool_state *out)
{
	size_t i;

	memset(out, 0, sizeof(*out));
	out->files = reader->count;
	out->is_whole = reader->is_whole;
	out->damaged = reader->damaged;
	out->torn = reader->torn;
	memcpy(out->last_damage, reader->last_damage, sizeof(out->last_damage));
	for (i = 0; i < reader->count; i++) {
		const struct spool_reader_file *file = &reader->files[i];

		out->bytes += (uint64_t)file->bytes;
		out->foreign += file->is_foreign;
		state_add(file, 0, &out->to_durable, &out->oldest_durable_ms);
		state_add(file, 1, &out->to_cache, &out->oldest_cache_ms);
	}
}

/* ---- make and free ---- */

enum sgate_status
spool_reader_open(const struct spool_limits *limits, unsigned stores,
    struct spool_reader **out_reader, struct sgate_error *err)
{
	struct spool_reader *reader = calloc(1, sizeof(*reader));
	enum sgate_status status;

	*out_reader = NULL;
	if (reader == NULL)
		return error_memory(err, "open");
	reader->io = failpoint_spool(&spool_io_system);
	reader->stores = stores;
	reader->dir = -1;
	if (spool_space_init(&reader->space, limits))
		status = spool_space_prepare(&reader->space, err);
	else
		status = error_memory(err, "open");
	if (status == SGATE_OK)
		*out_reader = reader;
	else
		spool_reader_close(reader);
	return status;
}

void
spool_reader_close(struct spool_reader *reader)
{
	size_t i;

	if (reader == NULL)
		return;
	write_marks(reader);
	for (i = 0; i < reader->count; i++)
		file_clear(&reader->files[i]);
	free(reader->files);
	if (reader->dir >= 0)
		close(reader->dir);
	spool_space_clear(&reader->space);
	free(reader);
}

void
spool_reader_set_io(struct spool_reader *reader, const struct spool_io *io)
{
	reader->io = io;
}
