/*
 * The fence: how far this host may believe Redis (design 4.2). No I/O but its
 * own file.
 *
 * A mark is an epoch and a number of a fence group in one word, so that marks
 * compare as (epoch, number) and are read and written whole. `known` of a group
 * is the newest mark that this host has seen in MySQL; a copy counts only if
 * the `sync` read beside it is of the same store and not below `known`, nor
 * below `untold`. `known` never falls within an epoch. It is kept in the file
 * `fence` of runtime_dir, written before a higher one is used, so that a
 * restart does not forget it.
 *
 * Zeros: nothing is known, nothing is believed.
 */
#ifndef SESSGATE_FENCE_H
#define SESSGATE_FENCE_H

#include <stdatomic.h>

#include "record.h"
#include "settings.h"

/* 14 bits of epoch, 50 of number. */
#define FENCE_NUMBER_BITS 50
#define FENCE_NUMBER_MAX ((UINT64_C(1) << FENCE_NUMBER_BITS) - 1)
static inline uint64_t
fence_mark(unsigned epoch, uint64_t number)
{
	return (uint64_t)epoch << FENCE_NUMBER_BITS | number;
}

struct fence {
	_Atomic uint64_t store_id[2];         /* of the last poll */
	_Atomic uint64_t known[TOKEN_GROUPS]; /* marks */
	/* Marks of the changes that this host has made and could not tell
	 * Redis: it knows of them before a round does. Not in the file. */
	_Atomic uint64_t untold[TOKEN_GROUPS];
	/* When the last complete round of a group began: clock_boot_ms();
	 * 0 = none. */
	_Atomic int64_t complete_ms[TOKEN_GROUPS];
	/* When the last round of a group began after which the local cache of
	 * this host lacked none of its changes; not in the file. */
	_Atomic int64_t heard_ms[TOKEN_GROUPS];
	_Atomic uint64_t settings; /* number of the settings */
	/* The database's clock less clock_boot_ms(); 0 = not known. */
	_Atomic int64_t clock_offset_ms;
	/* A counter fell within an epoch: a dump was loaded without
	 * `db restored`. Nothing is believed until the epoch rises. */
	_Atomic int is_alarmed;
};

/* `sync` of a group: "NUMBER STORE EPOCH", and while an APPLY of many parts
 * runs ";NONCE;PART" behind it, which keeps the old number. */
struct fence_sync {
	uint64_t number;
	struct record_store store;
};
/* False: none, or nothing that we wrote. */
bool fence_sync_read(const char *text, struct fence_sync *out);
/* part 0: the whole; else the part's number and nonce stand behind. */
void fence_sync_write(const struct fence_sync *sync, const char *nonce,
    unsigned part, char *out, size_t size);

enum fence_trust {
	FENCE_NO,       /* doubt */
	FENCE_IF_BLIND, /* only if MySQL cannot answer */
	FENCE_YES
};
/*
 * Whether a copy that stood beside `sync` counts. The last complete round must
 * be young (three polls), or, if MySQL cannot answer, within max_blind_ms (< 0:
 * without limit). out_store: what the copy must be sealed for, also when the
 * answer is no; all zeros when sync cannot be read.
 */
enum fence_trust fence_trusts(const struct fence *fence, unsigned group,
    const char *sync, int64_t poll_interval_ms, int64_t max_blind_ms,
    int64_t now_boot_ms, struct record_store *out_store);
/*
 * The same by the age of a round alone, by complete_ms or heard_ms: *out_age_ms
 * (INT64_MAX: there was none).
 */
enum fence_trust fence_age(const struct fence *fence, int64_t round_ms,
    int64_t poll_interval_ms, int64_t max_blind_ms, int64_t now_boot_ms,
    int64_t *out_age_ms);
/* Raises known, never lowers it. */
void fence_raise(struct fence *fence, unsigned group, uint64_t mark);
/* The same for untold: who has changed something says so before he drops it
 * from the local cache, or an old copy could be filled in again. */
void fence_raise_untold(struct fence *fence, unsigned group, uint64_t mark);
/* All of it anew for another store. */
void fence_reset(struct fence *fence, const unsigned char store_id[16]);

/*
 * The file: text, one line a value, with a checksum; written whole and renamed.
 * read: SGATE_NOT_FOUND when there is none, or none of this boot; SGATE_CORRUPT
 * when it cannot be read: either way nothing is known. write: any other answer
 * than SGATE_OK means that there is no file any more, or that it could not even
 * be removed; the fence rises all the same (why: fence.c).
 */
SGATE_MUST_CHECK enum sgate_status fence_file_read(
    const char *runtime_dir, struct fence *out, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status fence_file_write(const char *runtime_dir,
    const struct fence *fence, bool is_synced, struct sgate_error *err);
/*
 * The same with the settings (settings.h) in the file: they are known as of the
 * last complete round in there. read: settings->number 0: there are none.
 */
SGATE_MUST_CHECK enum sgate_status fence_file_read_all(const char *runtime_dir,
    struct fence *out, struct settings *out_settings, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status fence_file_write_all(const char *runtime_dir,
    const struct fence *fence, const struct settings *settings, bool is_synced,
    struct sgate_error *err);

#endif
