/*
 * Inside the spool: what stands in its directory. Only spool*.c and its tests
 * include this.
 *
 *   WRITER-ORDINAL.spool   frames of one writer; never changed but at its end
 *   WRITER-ORDINAL.done    what of it which store has: spool_marks.c
 *   *.new                  either of them while it is being made
 *   reserve                room on the disk for ends: spool_space.c
 *
 * WRITER is a number of 64 random bits (16 hex digits) that a process gives
 * itself, ORDINAL counts its files. The process holds a lock (flock) on the
 * file that it writes: who gets that lock knows that nothing will be added. A
 * file in which a write or a sync went wrong is never written or synced again:
 * its writer lets go of it and begins another one.
 *
 * A file is a header and frames, all integers big-endian:
 *   header  "sessgate spool" blank version-digit 16 | host 64, zeros behind it
 *           | made at 8 (UTC ms) | CRC-32C of all that 4
 *   frame   magic 4 | writer 8 | length of the frame 4 | CRC-32C of all but
 *           these four bytes 4 | body
 *   body    kind 1 | done 1 | event id 16 | store id 16 | version 8 | absolute
 *           8 | ended 8 | at 8 | reason 2 | has ref 1 | ref 12 | host, actor,
 *           kind, realm, user, detail, client address: each length 2 and bytes
 *           | record: length 4 and bytes, of a creation alone
 *
 * Damage is passed over to the next bytes that are a frame. That the writer's
 * number stands in each frame keeps whole frames of other files from being
 * taken for some of this one, where a disk after a crash shows old blocks.
 * The sum is no seal: who can write here is the gateway's own user, who has the
 * keys as well. Nothing that is needed stands in the header alone: when it is
 * damaged, the frames are still there.
 */
#ifndef SESSGATE_SPOOL_FILE_H
#define SESSGATE_SPOOL_FILE_H

#include <fcntl.h>
#include <sys/types.h>

#include "spool.h"

#define SPOOL_VERSION '2'
#define SPOOL_HEADER_BYTES 92
#define SPOOL_WRITER_BYTES 8
#define SPOOL_MAGIC_FIRST 0xf7 /* in no UTF-8 */
#define SPOOL_FRAME_MIN 119
#define SPOOL_PLAIN_MAX 1024 /* without a record */
#define SPOOL_FRAME_MAX (SPOOL_PLAIN_MAX + SPOOL_RECORD_MAX)
/* No two frames begin in the same so many bytes. */
#define SPOOL_GRANULE 64
/* A writer begins another file at this size, or at limits.max_bytes / 16. */
#define SPOOL_ROTATE_BYTES (INT64_C(64) * 1024 * 1024)
#define SPOOL_ROTATE_PARTS 16
/* What is larger is none of ours. */
#define SPOOL_FILE_MAX (2 * SPOOL_ROTATE_BYTES)

/* ---- spool_file.c ---- */

/* Big-endian, len up to 8. */
void spool_write_uint(unsigned char *out, size_t len, uint64_t value);
uint64_t spool_read_uint(const unsigned char *bytes, size_t len);

void spool_header_write(
    const char *host, int64_t now_ms, unsigned char out[SPOOL_HEADER_BYTES]);
enum spool_header {
	SPOOL_HEADER_RIGHT,
	SPOOL_HEADER_DAMAGED,
	SPOOL_HEADER_FOREIGN /* whole, and of another version */
};
enum spool_header spool_header_read(const unsigned char *bytes, size_t len);

/* The frame's length; 0: no such frame can be. out: SPOOL_PLAIN_MAX bytes and
 * those of its record. */
size_t spool_frame_write(const struct spool_frame *frame,
    const unsigned char writer[SPOOL_WRITER_BYTES], unsigned char *out);
/*
 * The length of the frame that begins here; 0: none does, or not all of it is
 * there. out->record is borrowed from bytes.
 */
size_t spool_frame_read(const unsigned char *bytes, size_t len,
    const unsigned char writer[SPOOL_WRITER_BYTES], struct spool_frame *out);
/* How long the frame that begins here says it is; 0: none does, or it is not
 * known yet. */
size_t spool_frame_length(const unsigned char *bytes, size_t len,
    const unsigned char writer[SPOOL_WRITER_BYTES]);
/* Whether these bytes could go on to be a frame. */
bool spool_frame_begins(const unsigned char *bytes, size_t len,
    const unsigned char writer[SPOOL_WRITER_BYTES]);
/* The time in an event id. */
int64_t spool_event_ms(const unsigned char event_id[DURABLE_EVENT_BYTES]);

/* "WRITER-ORDINAL" */
#define SPOOL_STEM_MAX 32
void spool_stem_write(const unsigned char writer[SPOOL_WRITER_BYTES],
    unsigned ordinal, char out[SPOOL_STEM_MAX + 1]);
/* Of a name that ends so, and with `suffix`. False: none of ours. */
bool spool_stem_read(const char *name, const char *suffix,
    char out_stem[SPOOL_STEM_MAX + 1],
    unsigned char out_writer[SPOOL_WRITER_BYTES]);

/*
 * The calls that a disk can fail, in one table that tests replace; otherwise
 * the system's.
 */
struct spool_io {
	int (*open)(int dir, const char *name, int flags, mode_t mode);
	ssize_t (*write)(int fd, const void *data, size_t len);
	int (*fdatasync)(int fd);
	int (*sync_dir)(int dir);
	int (*rename)(int dir, const char *from, const char *to);
};
extern const struct spool_io spool_io_system;
/* Writes all of it. 0, or -1 with errno and how much in *out_done. */
int spool_write_all(const struct spool_io *io, int fd, const void *data,
    size_t len, size_t *out_done);

/* ---- spool_space.c ---- */

/* What spool_open() was told of the directory. */
struct spool_space {
	char *dir;
	int64_t max_bytes, reserve_bytes;
	int64_t keep_ms;
};
/* False: no memory. _clear takes a half-made one. */
bool spool_space_init(
    struct spool_space *space, const struct spool_limits *limits);
void spool_space_clear(struct spool_space *space);
/* Makes it if it is missing, and looks at it: spool_open(). */
SGATE_MUST_CHECK enum sgate_status spool_space_prepare(
    const struct spool_space *space, struct sgate_error *err);
/* A descriptor of the directory, or -1 with errno. */
int spool_space_enter(const struct spool_space *space);
/* What the files of frames in it take, or -1 with errno. */
int64_t spool_space_used(int dir);
/* Gives some of the reserve to the disk. False: there was nothing to give. */
bool spool_reserve_release(int dir);
/*
 * Makes it what it should be beside `used` bytes of frames, as far as the disk
 * has plenty of room.
 */
void spool_reserve_keep(const struct spool_space *space, int dir, int64_t used);

/* ---- spool_marks.c ---- */

/* What one store has of one file: a bit a granule, for the frame there. */
struct spool_marks {
	unsigned char *bits;
	size_t bytes;
};
/* Room for a file of that size. False: no memory, and nothing has changed. */
bool spool_marks_grow(struct spool_marks *marks, int64_t file_bytes);
bool spool_marks_has(const struct spool_marks *marks, int64_t offset);
/* The place has room. */
void spool_marks_set(struct spool_marks *marks, int64_t offset, bool is_done);
/*
 * Those of both stores, beside the file. read: nothing is done if there are
 * none, or none that can be read. False: no memory.
 */
bool spool_marks_read(int dir, const char *stem, struct spool_marks marks[2]);
/* Written whole and renamed, without a sync. False: the old ones are there. */
bool spool_marks_write(const struct spool_io *io, int dir, const char *stem,
    const struct spool_marks marks[2]);

/* For tests: the same with other calls. */
void spool_set_io(struct spool *spool, const struct spool_io *io);
void spool_reader_set_io(
    struct spool_reader *reader, const struct spool_io *io);

#endif
