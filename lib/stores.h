/*
 * What all processes of one host know together about the stores: fence,
 * breakers, counters. In the gateway it lies in shared memory; a manager that
 * is alone (a library program) has its own. Zeros are a good start.
 */
#ifndef SESSGATE_STORES_H
#define SESSGATE_STORES_H

#include "breaker.h"
#include "fence.h"
#include "place.h"
#include "settings.h"

/* Every decision about stores. When you add one: stores_counter_name(). */
enum stores_counter {
	STORES_SERVED_LOCAL,   /* looks answered by the local cache */
	STORES_SERVED_CACHE,   /* looks answered by a copy in Redis */
	STORES_SERVED_DURABLE, /* looks answered by a row */
	STORES_SERVED_BLIND,   /* by a copy because MySQL could not answer */
	STORES_UNAVAILABLE,    /* looks that nobody could answer */
	STORES_REFUSED_TOMBSTONE,
	STORES_CACHE_MISSES,
	STORES_DISTRUSTED, /* copies not believed: sync below the fence */
	STORES_DOUBTED,    /* copies not believed: seal, epoch, secret, idle */
	STORES_BAD_SEALS,
	STORES_REPAIRED,    /* rows put into Redis by a look */
	STORES_PUT_RETRIES, /* a change came between row and PUT */
	STORES_PUBLISHED,   /* changes and ends written to Redis */
	STORES_CACHE_ERRORS,
	STORES_DURABLE_ERRORS,
	STORES_CACHE_WRITES,   /* sent: records, ends, activity */
	STORES_DURABLE_WRITES, /* transactions and activity, answered */
	STORES_CACHE_SKIPPED,  /* its breaker was open */
	STORES_DURABLE_SKIPPED,
	STORES_POLLS,
	STORES_POLLS_FAILED,
	STORES_RECONCILED,    /* rows that the keeper brought to Redis */
	STORES_APPLY_REFUSED, /* sync had moved */
	STORES_FOREIGN_SYNC,  /* a sync of another store was met */
	STORES_ROWS_OLDER, /* a row older than the token: restored, lost commit
			    */
	STORES_SPOOLED,    /* events that the spool alone has acknowledged */
	STORES_SPOOL_FAILED,    /* events that could not be written there */
	STORES_SPOOL_APPLIED,   /* frames that MySQL has now, or had already */
	STORES_SPOOL_PUBLISHED, /* frames that Redis has now */
	STORES_REFUSED_HERE,    /* looks refused because of an end that no store
				 * has yet */
	STORES_CREATED_AWAY,    /* sessions, while the durable store was away */
	STORES_LANDED,          /* of these, brought to the durable store */
	STORES_LANDED_ENDED, /* and ended there: blocked or cleaned meanwhile */
	STORES_ABSENT_HELD,  /* looks that waited for one of these to come */
	STORES_ABSENT,       /* genuine tokens of sessions that nobody has */
	STORES_BATCH_CREATIONS, /* committed with others', or alone there */
	STORES_BATCH_CHANGES,   /* changes and ends, likewise */
	STORES_BATCH_COMMITS,
	STORES_WARMED,       /* rows put into Redis after it had lost data */
	STORES_NEWER_COPIES, /* bad seals of a format that is not known yet */
	STORES_COUNTERS
};
/* "served_cache", ... Never NULL. */
const char *stores_counter_name(enum stores_counter counter);

/* Who answered. */
enum stores_server {
	STORES_NOBODY, /* nobody was asked, or nobody answered */
	STORES_LOCAL,  /* the local cache */
	STORES_CACHE,
	STORES_DURABLE,
	STORES_SERVERS
};

/*
 * Sessions of which an end is in this host's spool, because the durable store
 * did not confirm it: whoever asks here is refused, whichever store can be
 * asked. One that has to make room is refused as soon as that store has its
 * end, as everywhere else. An end never has to be taken out: it comes true.
 */
#define STORES_ENDED_SLOTS 1024
struct stores;
struct stores_ended {
	_Atomic uint64_t begin; /* of the ref */
	_Atomic uint64_t rest;  /* of it, and the reason + 1; 0: none */
};
void stores_end_here(struct stores *stores, const struct sgate_ref *ref,
    enum sgate_reason reason);
/* SGATE_REASON_OK: none is known. */
enum sgate_reason stores_ended_here(
    const struct stores *stores, const struct sgate_ref *ref);

/* What the keeper found in the spool, struct spool_state. */
struct stores_spool {
	_Atomic int64_t looked_ms; /* UTC; 0: it has not looked yet */
	_Atomic uint64_t files, bytes, to_durable, to_cache;
	_Atomic int64_t oldest_ms; /* UTC, of both; 0: nothing is waiting */
	_Atomic uint64_t damaged, torn, foreign;
	/* Of those that wait: what a store that answers does not take. */
	_Atomic uint64_t refused;
	_Atomic int is_unreadable; /* its directory or a file in it */
	/* UTC: when something could not be written last; 0: never. */
	_Atomic int64_t failed_ms;
};

/*
 * Blocked users, for creating without the durable store: the first bytes of
 * token_user_hash(), read whenever the number of the settings has changed.
 */
#define STORES_BLOCKED_MAX 16384
struct stores_blocked {
	_Atomic uint64_t turn;   /* odd: it is being written */
	_Atomic uint64_t number; /* of the settings, and 1; 0: not known */
	_Atomic uint64_t full;   /* the same when more were blocked than fit */
	_Atomic uint64_t count;
	_Atomic uint64_t users[STORES_BLOCKED_MAX];
};

/* When the durable store was away last, as rounds and creations find it. */
struct stores_absence {
	_Atomic int64_t polled_ms; /* UTC by it: the last good poll; 0: none */
	_Atomic int64_t since_ms;  /* UTC: it was there last; 0: not known */
	_Atomic int64_t back_ms;   /* monotonic: it is there again; 0: away */
	/* Monotonic: when it answered somebody of this host last, and when
	 * somebody had no answer, or one that was slow. */
	_Atomic int64_t heard_ms, lost_ms;
};

/*
 * What is to be brought to the cache again (manager_warm.c). A keeper that dies
 * leaves `done` behind `losses`, and the next one begins anew.
 */
struct stores_warm {
	_Atomic uint64_t losses; /* seen by the rounds */
	_Atomic uint64_t
	    opened;            /* of the cache's breaker, of which they know */
	_Atomic uint64_t done; /* losses that are made good */
	_Atomic uint64_t looked; /* sessions, of the pass that runs */
	_Atomic int is_running;  /* 0: another host's turn, or nothing to do */
};

struct stores {
	struct fence fence;
	struct settings_shared settings;
	struct stores_warm warm;
	struct stores_spool spool;
	struct stores_ended ended[STORES_ENDED_SLOTS];
	struct stores_absence absence;
	struct stores_blocked blocked;
	struct breaker durable, cache;
	/* Which server is the primary, where that can change. */
	struct place durable_at, cache_at;
	/* Fence groups whose copies the last round left in doubt. */
	_Atomic unsigned groups_behind;
	/* Of these, those whose sync is another database's. */
	_Atomic unsigned groups_foreign;
	_Atomic uint64_t counts[STORES_COUNTERS];
};

/* Into struct stores' counts, or those of one process (tally.h). */
static inline void
stores_count(_Atomic uint64_t *counts, enum stores_counter counter)
{
	atomic_fetch_add_explicit(&counts[counter], 1, memory_order_relaxed);
}

#endif
