/* The names of the counters; ends that this host has spooled. */
#include "config.h"

#include "stores.h"

#include <string.h>

static const char *const names[STORES_COUNTERS] = {
    [STORES_SERVED_LOCAL] = "served_local",
    [STORES_SERVED_CACHE] = "served_cache",
    [STORES_SERVED_DURABLE] = "served_durable",
    [STORES_SERVED_BLIND] = "served_blind",
    [STORES_UNAVAILABLE] = "unavailable",
    [STORES_REFUSED_TOMBSTONE] = "refused_tombstone",
    [STORES_CACHE_MISSES] = "cache_misses",
    [STORES_DISTRUSTED] = "distrusted",
    [STORES_DOUBTED] = "doubted",
    [STORES_BAD_SEALS] = "bad_seals",
    [STORES_REPAIRED] = "repaired",
    [STORES_PUT_RETRIES] = "put_retries",
    [STORES_PUBLISHED] = "published",
    [STORES_CACHE_ERRORS] = "cache_errors",
    [STORES_DURABLE_ERRORS] = "durable_errors",
    [STORES_CACHE_WRITES] = "cache_writes",
    [STORES_DURABLE_WRITES] = "durable_writes",
    [STORES_CACHE_SKIPPED] = "cache_skipped",
    [STORES_DURABLE_SKIPPED] = "durable_skipped",
    [STORES_POLLS] = "polls",
    [STORES_POLLS_FAILED] = "polls_failed",
    [STORES_RECONCILED] = "reconciled",
    [STORES_APPLY_REFUSED] = "apply_refused",
    [STORES_FOREIGN_SYNC] = "foreign_sync",
    [STORES_ROWS_OLDER] = "rows_older",
    [STORES_SPOOLED] = "spooled",
    [STORES_SPOOL_FAILED] = "spool_failed",
    [STORES_SPOOL_APPLIED] = "spool_applied",
    [STORES_SPOOL_PUBLISHED] = "spool_published",
    [STORES_REFUSED_HERE] = "refused_here",
    [STORES_BATCH_CREATIONS] = "batch_creations",
    [STORES_BATCH_CHANGES] = "batch_changes",
    [STORES_BATCH_COMMITS] = "batch_commits",
    [STORES_CREATED_AWAY] = "created_away",
    [STORES_WARMED] = "warmed",
    [STORES_NEWER_COPIES] = "newer_copies",
    [STORES_LANDED] = "landed",
    [STORES_LANDED_ENDED] = "landed_ended",
    [STORES_ABSENT_HELD] = "absent_held",
    [STORES_ABSENT] = "absent",
};

const char *
stores_counter_name(enum stores_counter counter)
{
	if ((unsigned)counter >= STORES_COUNTERS)
		return "unknown";
	return names[counter];
}

/* The last bytes of a ref are random. */
static size_t
slot_of(const struct sgate_ref *ref)
{
	const unsigned char *end = ref->bytes + SGATE_REF_BYTES;

	return ((size_t)end[-1] << 8 | end[-2]) % STORES_ENDED_SLOTS;
}

static uint64_t
begin_of(const struct sgate_ref *ref)
{
	uint64_t begin;

	memcpy(&begin, ref->bytes, sizeof(begin));
	return begin;
}

static uint64_t
rest_of(const struct sgate_ref *ref, enum sgate_reason reason)
{
	uint32_t rest;

	memcpy(&rest, ref->bytes + sizeof(uint64_t), sizeof(rest));
	return (uint64_t)rest << 32 | ((uint64_t)reason + 1);
}

/*
 * Two words are not one: two that write the same slot at once may leave a ref
 * that nobody has, which refuses nobody.
 */
void
stores_end_here(struct stores *stores, const struct sgate_ref *ref,
    enum sgate_reason reason)
{
	struct stores_ended *slot = &stores->ended[slot_of(ref)];

	atomic_store(&slot->rest, 0);
	atomic_store(&slot->begin, begin_of(ref));
	atomic_store(&slot->rest, rest_of(ref, reason));
}

enum sgate_reason
stores_ended_here(const struct stores *stores, const struct sgate_ref *ref)
{
	const struct stores_ended *slot = &stores->ended[slot_of(ref)];
	uint64_t rest = atomic_load(&slot->rest);
	uint64_t reason = (rest & UINT32_MAX) - 1;

	if (rest == 0 || atomic_load(&slot->begin) != begin_of(ref) ||
	    rest >> 32 != rest_of(ref, SGATE_REASON_OK) >> 32)
		return SGATE_REASON_OK;
	return reason > 0 && reason < SGATE_REASON_COUNT
		   ? (enum sgate_reason)reason
		   : SGATE_REASON_REVOKED;
}
