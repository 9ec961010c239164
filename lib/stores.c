/* The names of the counters. */
#include "config.h"

#include "stores.h"

static const char *const names[STORES_COUNTERS] = {
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
    [STORES_CACHE_SKIPPED] = "cache_skipped",
    [STORES_DURABLE_SKIPPED] = "durable_skipped",
    [STORES_POLLS] = "polls",
    [STORES_POLLS_FAILED] = "polls_failed",
    [STORES_RECONCILED] = "reconciled",
    [STORES_APPLY_REFUSED] = "apply_refused",
    [STORES_FOREIGN_SYNC] = "foreign_sync",
    [STORES_ROWS_OLDER] = "rows_older",
};

const char *
stores_counter_name(enum stores_counter counter)
{
	if ((unsigned)counter >= STORES_COUNTERS)
		return "unknown";
	return names[counter];
}
