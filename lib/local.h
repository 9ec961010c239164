/*
 * The local cache (L1): what the workers of one host found out about sessions,
 * in memory that all processes of the instance share. A hit asks no store.
 *
 * An entry is believed only while nothing can have made it wrong unnoticed:
 *
 * - Its ticket. Before a reader asks a store it takes a ticket: the count of
 *   drops of that ref's bucket, and the epoch. The entry it makes carries the
 *   ticket. local_drop() raises the count, local_drop_all() the epoch: what was
 *   made of an older answer is no entry any more, whoever writes it however
 *   late. So to drop is one atomic addition: nobody waits, and a process that
 *   is killed leaves nothing half done. Each write of the fleet is a drop here,
 *   of whatever ref: buckets are many more than entries, so that it seldom
 *   costs somebody else's.
 * - The lease. It says until when this host would have heard of every change
 *   (struct local_lease). Without it there are no hits.
 * - Its own times: idle and absolute expiry are judged at every hit.
 *
 * Readers take no lock: they copy, and look whether anybody wrote meanwhile. A
 * writer that finds an entry taken by another leaves it alone; one whose taker
 * is dead is taken over (local.c says why each of these is safe).
 *
 * Entries lie in the set of their ref (that is how drops find them) and are
 * found by a keyed hash of realm, token and whatever else the caller has judged
 * by. A ref has one entry; two readers that fill at once may make two, for a
 * while: a drop takes both.
 */
#ifndef SESSGATE_LOCAL_H
#define SESSGATE_LOCAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "sessgate.h"

#define LOCAL_WAYS 8
#define LOCAL_KEY_BYTES 16
/* User, roles, context and exports of an entry, together. What has more is
 * answered by the stores. With this an entry takes 320 bytes, its share of the
 * buckets included. */
#define LOCAL_TEXT_MAX 188
/* Of what is hashed beside realm and token. */
#define LOCAL_BOUND_MAX 320

struct local;

/* What a hit tells; also what a fill gives. Moments in UTC ms. */
struct local_entry {
	struct sgate_ref ref;
	uint64_t version;
	int64_t created_ms, auth_ms, last_seen_ms, idle_ms, absolute_ms;
	/* In `text`, one behind the other. */
	uint8_t user_len, roles_len, context_len, exports_len;
	char text[LOCAL_TEXT_MAX];
};

struct local_ticket {
	uint64_t epoch;
	uint32_t drops;
};

/*
 * How this host hears of changes. TRACKED: the tracker (gateway/tracker.c)
 * listens to Redis; the lease is what its PINGs prove. POLLED: there is no
 * Redis, or its breaker is open; the lease is that of the last complete round
 * of the group (fence.h), from its begin. Changing from one to the other drops
 * everything, before and after.
 *
 * The tracker says which. With Redis, POLLED is good only while nobody would
 * ask Redis, because it may have an end that MySQL has not got: who goes by it
 * looks at the breaker himself, and does not depend on a tracker that has died.
 */
enum local_mode { LOCAL_POLLED = 0, LOCAL_TRACKED };

/* size_bytes: of the table, rounded down to sets; made before the fork, and
 * inherited. Zero: SGATE_OK and *out NULL: there is none. */
SGATE_MUST_CHECK enum sgate_status local_create(
    uint64_t size_bytes, struct local **out, struct sgate_error *err);
void local_close(struct local *local);

/*
 * What a process hashes tokens with: the instance's random key, and what makes
 * a token a good one there (the digest of its keys). So a process finds what
 * was made of a token by those alone who go by the same keys: who has the text
 * of an entry need not look at its tag again.
 */
struct local_hash {
	unsigned char key[LOCAL_KEY_BYTES];
};
void local_hash_init(const struct local *local, const unsigned char *digest,
    size_t digest_len, struct local_hash *out);
/*
 * Of realm, token text and `bound` (what else the caller judges by; empty:
 * nothing). False: one of them is too long, and there is no such entry.
 */
bool local_key(const struct local_hash *hash, struct sgate_bytes realm,
    struct sgate_bytes token, struct sgate_bytes bound,
    unsigned char out[LOCAL_KEY_BYTES]);

void local_take_ticket(const struct local *local, const struct sgate_ref *ref,
    struct local_ticket *out);
/* Nothing happens when the ticket is old, or the place is being written. */
void local_fill(struct local *local, const unsigned char key[LOCAL_KEY_BYTES],
    const struct local_ticket *ticket, const struct local_entry *entry);
/* Says nothing about lease and times: local_lease_holds(), the caller. */
bool local_get(const struct local *local, const struct sgate_ref *ref,
    const unsigned char key[LOCAL_KEY_BYTES], struct local_entry *out);
/* Whether there is an entry, and of which version: of two the newer one. */
bool local_has(const struct local *local, const struct sgate_ref *ref,
    uint64_t *out_version);
/* Raises last_seen of the entry of that version, never lowers it. */
void local_seen(struct local *local, const struct sgate_ref *ref,
    uint64_t version, int64_t last_seen_ms);

void local_drop(struct local *local, const struct sgate_ref *ref);
void local_drop_all(struct local *local);

/*
 * local_drop(), by who then asks whether the entry was right. True: there was
 * one, of *out_version, and nobody else has dropped it meanwhile; *out_ticket
 * is one of after the drop. local_keep(): what a fill with that ticket would
 * do, for who knows now that the entry of that version is right: the one that
 * still lies there is one again, and its last_seen is raised. Nothing happens
 * when the ticket is old, or something else lies there.
 */
bool local_doubt(struct local *local, const struct sgate_ref *ref,
    uint64_t *out_version, struct local_ticket *out_ticket);
void local_keep(struct local *local, const struct sgate_ref *ref,
    uint64_t version, int64_t last_seen_ms, const struct local_ticket *ticket);

/* Drops all, changes, drops all; also when it is that mode already. The lease
 * of TRACKED begins ended. For one process at a time. */
void local_set_mode(struct local *local, enum local_mode mode);
enum local_mode local_get_mode(const struct local *local);
/* TRACKED: raises, never lowers. clock_boot_ms(), which goes on while the host
 * is suspended: a lease has ended when that wakes up. */
void local_renew(struct local *local, int64_t until_boot_ms);
/* TRACKED: whether that is before its end. POLLED: false. */
bool local_is_renewed(const struct local *local, int64_t now_boot_ms);

#endif
