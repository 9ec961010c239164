/*
 * The spool: this host's journal of events that a store has not taken, or may
 * have to be told again. A process that acknowledges an event appends a frame
 * to a file of its own; the keeper reads all files and brings their frames to
 * both stores (manager_spool.c). No store is asked here.
 *
 * Everything may happen twice: a frame is known by its event id, and both
 * stores take a repeat for what it is. So whatever is forgotten here is only
 * told again, and whatever cannot be read is passed over alone.
 *
 * The directory (limits.dir, 0700) and the bytes in it: spool_file.h.
 */
#ifndef SESSGATE_SPOOL_H
#define SESSGATE_SPOOL_H

#include <stdbool.h>

#include "durable.h"

/* Where it is and how large it may get. */
struct spool_limits {
	const char *dir;     /* 0700, this host's alone */
	int64_t max_bytes;   /* all of it */
	int reserve_percent; /* of max_bytes, for what no store has yet */
	int64_t keep_ms;     /* how long it is kept to be told again */
};

/* The kinds are stored: never renumber. */
enum spool_kind { SPOOL_END = 1, SPOOL_CREATE = 2 /* of one session */ };

/* The largest record of a new session: data, exports, lists, and the rest. */
#define SPOOL_RECORD_MAX ((size_t)80 * 1024)

/* The stores that a frame is for: bits. */
#define SPOOL_TO_DURABLE 1u
#define SPOOL_TO_CACHE 2u

/*
 * One event. Its effect is on the session of the audit row: ref, realm and
 * reason stand there, and its event id is the frame's.
 */
struct spool_frame {
	enum spool_kind kind;
	unsigned done;              /* stores that had it when it was written */
	unsigned char store_id[16]; /* of the durable store that it is for;
				     * zeros: it was not known */
	uint64_t version;           /* of the session as it was seen; 0: not */
	int64_t absolute_ms;        /* of the session; 0: not known */
	int64_t ended_ms;
	struct durable_audit audit;
	/*
	 * SPOOL_CREATE: the session, as its sealed record 'U' (record.h),
	 * borrowed. Of a frame that a pass gives only the length is here:
	 * spool_load().
	 */
	struct sgate_bytes record;
};

/* ---- writing: spool.c ---- */

struct spool;

/*
 * Makes the directory if only it is missing. No file is made before the first
 * append. SGATE_INVALID: others may look into the directory, or it is none;
 * SGATE_UNAVAILABLE, SGATE_NO_MEMORY.
 */
SGATE_MUST_CHECK enum sgate_status spool_open(const struct spool_limits *limits,
    struct spool **out_spool, struct sgate_error *err);
/* The file stays, for the keeper. NULL is fine. */
void spool_close(struct spool *spool);
/*
 * SGATE_OK: it is in the file, and (is_synced) on the disk. is_synced: nobody
 * else has it; such ends alone may use the reserve. SGATE_UNAVAILABLE: spool or
 * disk are full, or the disk failed; it may be there all the same, and will be
 * shipped then. SGATE_INTERNAL: no frame of this kind can be written;
 * SGATE_NO_MEMORY: of a creation, an end needs none.
 *
 * How long a disk takes to sync is not ours to bound: it is the one wait here
 * without an end of its own.
 */
SGATE_MUST_CHECK enum sgate_status spool_append(struct spool *spool,
    const struct spool_frame *frame, bool is_synced, struct sgate_error *err);

/* ---- reading: spool_read.c ---- */

struct spool_reader;

/*
 * stores: those that are there (SPOOL_TO_*); a frame is done when all of them
 * have it. Errors as spool_open(). One reader is enough for a host; two do
 * everything twice, which does no harm.
 */
SGATE_MUST_CHECK enum sgate_status spool_reader_open(
    const struct spool_limits *limits, unsigned stores,
    struct spool_reader **out_reader, struct sgate_error *err);
/* Writes down what is done. NULL is fine. */
void spool_reader_close(struct spool_reader *reader);

/*
 * Once a round: finds what has been written since, a bounded amount at a time;
 * writes down what is done; removes files of which nothing is left to do or to
 * be told again; sees to the reserve. Not within a pass.
 */
SGATE_MUST_CHECK enum sgate_status spool_look(
    struct spool_reader *reader, struct sgate_error *err);

/*
 * A pass over what a store has not got, as of the last look, oldest event
 * first. begin: anything but SGATE_OK means that a file could not be read and
 * is not in this pass; the others are. next: false at the end. The frames of a
 * pass may be marked done in any order, or not at all: the next pass has these
 * again.
 */
struct spool_place {
	size_t file;
	int64_t offset;
};
SGATE_MUST_CHECK enum sgate_status spool_pass_begin(
    struct spool_reader *reader, unsigned store, struct sgate_error *err);
bool spool_pass_next(struct spool_reader *reader, struct spool_frame *out,
    struct spool_place *out_place);
/* Appends the record of a creation of this pass. SGATE_NOT_FOUND: it cannot be
 * read any more, as if it had not been in the pass. */
SGATE_MUST_CHECK enum sgate_status spool_load(struct spool_reader *reader,
    const struct spool_place *place, struct buf *out, struct sgate_error *err);
void spool_done(struct spool_reader *reader, const struct spool_place *place,
    unsigned store);
/*
 * The store may have lost what it had: everything from since_ms (the time in
 * the event ids) on that is still here is told again. Anything but SGATE_OK: a
 * file could not be read; call it again. Not within a pass.
 */
SGATE_MUST_CHECK enum sgate_status spool_again(struct spool_reader *reader,
    unsigned store, int64_t since_ms, struct sgate_error *err);
/*
 * The same in pieces that end soon. Begin with an empty cursor; that was all
 * when it is empty again.
 */
struct spool_cursor {
	char after[40];
};
SGATE_MUST_CHECK enum sgate_status spool_again_some(struct spool_reader *reader,
    unsigned store, int64_t since_ms, struct spool_cursor *cursor,
    struct sgate_error *err);

struct spool_state {
	uint64_t files, bytes;
	/* Frames that each store has not got, and the time in the event id of
	 * the oldest one; 0: none. */
	uint64_t to_durable, to_cache;
	int64_t oldest_durable_ms, oldest_cache_ms;
	bool is_whole;    /* the last look came to the end of everything */
	uint64_t damaged; /* places passed over since the reader was opened */
	uint64_t torn;    /* frames that a killed writer did not finish */
	uint64_t foreign; /* files of another version, or too large: left */
	char last_damage[160]; /* "FILE: 300 bytes at 1024"; "": none */
};
void spool_state(const struct spool_reader *reader, struct spool_state *out);

#endif
