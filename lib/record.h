/*
 * The sealed form of a session for stores that are only believed when the seal
 * is right: Redis, the spool, shared memory.
 *
 * Text header, then body:
 *   state 1 ('L', 'U' or 'T') | version 16 (store epoch 4 digits, version 12)
 *   | last_seen 13 digits | format 1 byte | key id 1 | fields | birth ('U')
 *   | seal 16
 * That is format 1. Data of more than RECORD_DATA_INSIDE bytes stands apart
 * (format 2), so that who does not want it need neither fetch nor check it:
 *   ... | format 1 byte | key id 1 | length of the head 4 | fields, of data its
 *   length alone | birth ('U') | seal 16 | data | seal of the data 16
 * The head is what stands before the first seal. The second one covers the
 * first and the data.
 * Fields stand in the order of record.c: integers in 8 bytes, big-endian; texts
 * behind their length in 4. The seal is crypto_generichash(16) under KEYS_SEAL
 * of that key id over store id, ref, state, epoch, version and body, not over
 * last_seen (a touch rewrites that in place). A copy of another ref, state,
 * version or store does not verify. A tombstone is 'T' version reason(2
 * digits) realm(8 digits of its sum), unsealed: it can only refuse.
 *
 * Not in a record: end_reason and ended_ms (only live sessions have one),
 * new_token, and successor_used_ms, which is judged on the row alone. It is
 * read back as 0 without a previous secret, else as 1, long ago: a copy gives
 * the previous secret grace until prev_until_ms and no longer (lib/README.md,
 * "Rotation").
 */
#ifndef SESSGATE_RECORD_H
#define SESSGATE_RECORD_H

#include "buf.h"
#include "keys.h"
#include "session.h"

#define RECORD_VERSION_OFFSET 1
#define RECORD_LAST_SEEN_OFFSET 17
#define RECORD_BODY_OFFSET 30
#define RECORD_SEAL_BYTES 16
#define RECORD_MAX_BYTES (1024 * 1024)
#define RECORD_DATA_INSIDE 1024
/* What is read of a record by who does not want data: most heads are shorter.
 */
#define RECORD_PEEK_BYTES 2048
#define RECORD_TOMBSTONE_BYTES 27

struct record_store {
	unsigned char id[16];
	unsigned epoch; /* 0..9999 */
};

/*
 * Of a session that the durable store may not have yet: what the audit row of
 * its creation says beyond the session, so that whoever lands it writes that
 * row, once.
 */
#define RECORD_EVENT_BYTES 16
struct record_birth {
	unsigned char event_id[RECORD_EVENT_BYTES];
	char host[65];
	char actor[65];
};

/*
 * Appends. state: 'L'. SGATE_OK, TOO_LARGE, NO_MEMORY, or INTERNAL (the session
 * has ended: its record is a tombstone).
 */
SGATE_MUST_CHECK enum sgate_status record_write(const struct keys *keys,
    const struct record_store *store, char state,
    const struct sgate_session *session, struct buf *out,
    struct sgate_error *err);
/* The same with 'U'. */
SGATE_MUST_CHECK enum sgate_status record_write_new(const struct keys *keys,
    const struct record_store *store, const struct sgate_session *session,
    const struct record_birth *birth, struct buf *out, struct sgate_error *err);
/*
 * SGATE_OK: *out_session new (state in *out_state). SGATE_CORRUPT: too short,
 * wrong seal, another ref, store or epoch, a key that is gone, a length that
 * does not fit: treat as a miss. SGATE_NO_MEMORY.
 */
SGATE_MUST_CHECK enum sgate_status record_read(const struct keys *keys,
    const struct record_store *store, const struct sgate_ref *ref,
    struct sgate_bytes bytes, char *out_state,
    struct sgate_session **out_session, struct sgate_error *err);
/* The same of a 'U' alone: of another state it is SGATE_CORRUPT. */
SGATE_MUST_CHECK enum sgate_status record_read_new(const struct keys *keys,
    const struct record_store *store, const struct sgate_ref *ref,
    struct sgate_bytes bytes, struct sgate_session **out_session,
    struct record_birth *out_birth, struct sgate_error *err);

/*
 * Of a record, or of its first RECORD_PEEK_BYTES: whether that is enough for
 * record_read_head(), if the seal is right.
 */
bool record_has_head(struct sgate_bytes bytes);
/*
 * As record_read(), of an 'L' whose data stands apart: all but that, whatever
 * is behind the head. SGATE_CORRUPT: it has to be read whole to know more.
 */
SGATE_MUST_CHECK enum sgate_status record_read_head(const struct keys *keys,
    const struct record_store *store, const struct sgate_ref *ref,
    struct sgate_bytes bytes, struct sgate_session **out_session,
    struct sgate_error *err);

/* Whether it says that it is of a format that came after this version: whatever
 * its seal is, it cannot be read. */
bool record_is_newer(struct sgate_bytes bytes);

/* The store's epoch that stands in a record of any kind. False: none. */
bool record_epoch(struct sgate_bytes bytes, unsigned *out_epoch);

struct record_tombstone {
	uint64_t version;
	enum sgate_reason reason;
	uint64_t realm; /* record_realm(); 0: not known */
};

/*
 * A realm in a tombstone: who names an ended session by its ref is told that it
 * has ended in its own realm alone. Never 0. Two realms with one sum learn this
 * of each other's sessions, and nothing else.
 */
uint64_t record_realm(const char *realm);
/* Of a session that has ended. */
void record_tombstone_of(
    const struct sgate_session *session, struct record_tombstone *out);
/* Appends RECORD_TOMBSTONE_BYTES. */
void record_tombstone_write(const struct record_store *store,
    const struct record_tombstone *tombstone, struct buf *out);
/*
 * False: not a tombstone. A reason that this version does not know (or that
 * ends no session) is read as REVOKED: a tombstone refuses whatever it says.
 */
bool record_tombstone_read(
    struct sgate_bytes bytes, struct record_tombstone *out);

#endif
