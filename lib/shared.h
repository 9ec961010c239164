/*
 * The instance's shared memory: one file `shared` in runtime_dir (0600),
 * mapped by master, workers and keeper. Everything in it may have been written
 * by a worker that was broken into: readers copy, check bounds, follow no
 * pointer. A process may be killed at any instruction: whatever is in here is
 * either a single atomic word or guarded by a robust mutex whose next owner
 * wipes what it guards.
 */
#ifndef SESSGATE_SHARED_H
#define SESSGATE_SHARED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "durable.h"
#include "history.h"
#include "log.h"
#include "rate.h"
#include "sessgate.h"
#include "stores.h"
#include "tally.h"

/* Two generations of the largest pool that the configuration takes. */
#define SHARED_WORKERS_MAX 512
#define SHARED_TOUCH_BUCKETS 256
#define SHARED_TOUCH_WAYS 64
/* First uses of successors that are written: room for 256 Ki sessions. */
#define SHARED_MARK_SETS 65536
#define SHARED_MARK_WAYS 4
#define SHARED_UNAVAILABLE 16

enum shared_worker_state {
	SHARED_FREE = 0,
	SHARED_STARTING,
	SHARED_IDLE,
	SHARED_BUSY,
	SHARED_STOPPING
};

struct shared_worker {
	_Atomic int pid;
	_Atomic int state;          /* enum shared_worker_state */
	_Atomic int64_t since_us;   /* monotonic: when the state was entered */
	_Atomic int64_t started_ms; /* UTC */
	_Atomic uint64_t requests;  /* by this process */
};

struct shared_touch_bucket {
	pthread_mutex_t mutex; /* robust, process-shared */
	uint32_t count;
	struct durable_touch touches[SHARED_TOUCH_WAYS];
};

/* What the keeper's last question to a store showed. */
struct shared_store {
	_Atomic int is_up;
	_Atomic int64_t since_ms;   /* UTC: since when it is up, or down */
	_Atomic int64_t checked_ms; /* UTC; 0 = never */
	_Atomic int64_t latency_us;
};

/* What the tracker does (gateway/tracker.c). */
struct shared_tracker {
	_Atomic int64_t heartbeat_ms; /* monotonic */
	_Atomic int is_listening;
	_Atomic int is_polled; /* LOCAL_POLLED: Redis is not asked */
	/* clock_boot_ms(): what was changed before that has been told; 0: it
	 * is not listening, or has not heard enough yet. */
	_Atomic int64_t proved_ms;
	_Atomic uint64_t connections; /* that began to listen */
	_Atomic uint64_t changes;     /* records that were named as changed */
	_Atomic uint64_t drops;       /* entries that they were of */
	_Atomic uint64_t kept;        /* of these, brought back: only touched */
	_Atomic uint64_t emptied;     /* times that all were dropped */
};

/* What the keeper found out; each with its moment, 0 = not known yet. */
struct shared_state {
	_Atomic int64_t heartbeat_ms; /* keeper, monotonic */
	struct shared_store durable, cache;
	_Atomic int64_t stats_at_ms; /* UTC */
	_Atomic uint64_t live, anonymous, users, ended;
	_Atomic int64_t reaped_at_ms;
	_Atomic uint64_t reaped_ended, reaped_deleted;
	struct shared_tracker tracker;
};

struct shared {
	char magic[8];    /* "sessgate" */
	uint32_t version; /* of this layout: the git of it is not enough */
	uint32_t size;
	_Atomic int master_pid;
	_Atomic int keeper_pid;
	_Atomic int tracker_pid;    /* 0: there is nothing to track */
	_Atomic int stopping;       /* the whole instance: drain the backlogs */
	_Atomic int64_t started_ms; /* UTC */
	_Atomic uint64_t generation;    /* reloads */
	_Atomic uint64_t worker_deaths; /* not by exit 0 */
	_Atomic uint64_t keeper_deaths, tracker_deaths;
	struct shared_state state;
	struct stores stores;   /* fence, breakers, counters of decisions */
	struct history history; /* of the last hour; the keeper's */
	_Atomic uint64_t marks[SHARED_MARK_SETS][SHARED_MARK_WAYS];
	struct rate_table bad_tokens, logins; /* by address */
	struct log_count denials;             /* log.denials_per_minute */
	struct log_count unavailable[SHARED_UNAVAILABLE]; /* outage_note() */
	struct shared_worker workers[SHARED_WORKERS_MAX];
	/* What the worker of that row counts, and those before it did. */
	struct tally tallies[SHARED_WORKERS_MAX];
	/* What others count, by tally_add() alone; their decisions about
	 * stores: stores.counts. */
	struct tally others;
	struct shared_touch_bucket touches[SHARED_TOUCH_BUCKETS];
};

/* Make a new one (an old file is unlinked first). Unmap with shared_close. */
SGATE_MUST_CHECK enum sgate_status shared_create(const char *runtime_dir,
    struct shared **out_shared, struct sgate_error *err);
void shared_close(struct shared *shared);
/* Unlink the file. */
void shared_remove(const char *runtime_dir);

/*
 * All that was counted: *out is overwritten. Each figure has grown since an
 * earlier sum, or is the same; they are not all of one moment.
 */
void shared_sum(const struct shared *shared, struct tally *out);

/*
 * Touches: put merges with what is pending for that ref; false when the bucket
 * is full. last_seen: 0 = none.
 */
bool shared_touch_put(struct shared *shared, const struct durable_touch *touch);
/*
 * Copies pending touches, whole buckets from *cursor on, and moves *cursor
 * behind them; max is SHARED_TOUCH_WAYS at least. Begin with 0; all have been
 * seen when *cursor is SHARED_TOUCH_BUCKETS. They stay pending, so that
 * last_seen answers with them while they are written, until
 * shared_touch_written forgets those that have not changed since.
 */
size_t shared_touch_copy(struct shared *shared, size_t *cursor,
    struct durable_touch *out, size_t max);
void shared_touch_written(
    struct shared *shared, const struct durable_touch *touches, size_t count);
int64_t shared_touch_last_seen(
    struct shared *shared, const struct sgate_ref *ref);

/*
 * Whether the first use of a rotation's successor is in the durable store: set
 * when its UPDATE was answered. One that had to make room is only written once
 * more; a wrong "yes", at 2^-64, would give the old secret no end.
 */
void shared_mark_set(struct shared *shared, const struct sgate_ref *ref,
    const unsigned char secret_hash[TOKEN_HASH_BYTES]);
bool shared_mark_is_set(struct shared *shared, const struct sgate_ref *ref,
    const unsigned char secret_hash[TOKEN_HASH_BYTES]);

#endif
