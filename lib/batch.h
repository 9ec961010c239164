/*
 * Creations of all workers of an instance that wait for the durable store,
 * gathered so that one commit serves many. Nobody is there for it alone: a
 * worker that finds nobody at work takes what waits, his own among it, and
 * answers the others when it is done; what comes meanwhile is the next one's.
 * One that is alone waits for nobody.
 *
 * Nothing is known here of sessions: bytes are handed over, and answers back.
 *
 * A worker may be killed at any instruction. What a dead one had taken is lost:
 * whoever waits for that is told that it may have happened. What nobody has
 * taken yet is the next one's.
 */
#ifndef SESSGATE_BATCH_H
#define SESSGATE_BATCH_H

#include <stdbool.h>

#include "sessgate.h"

#define BATCH_PLACES 512 /* as many as there are workers */
#define BATCH_BYTES_MAX 4032
/* Taken together. */
#define BATCH_ITEMS_MAX 64
/* What waits longer than this to be taken goes on alone. */
#define BATCH_PATIENCE_MS 100

struct batch;

struct batch_answer {
	int status;    /* enum sgate_status */
	int reason;    /* enum sgate_reason */
	int put;       /* enum cache_put */
	int ended;     /* enum sgate_reason, with CACHE_PUT_ENDED */
	bool is_alone; /* it surely did not happen: try by yourself */
	bool is_away;  /* because the store is away, as far as it is known */
};

struct batch_item {
	const void *bytes; /* borrowed; what another process has written */
	size_t len;
	struct batch_answer answer; /* to be filled in */
};
/* Those of the caller come first. */
typedef void batch_fn(void *arg, struct batch_item *items, size_t count);

/* In memory that is inherited; before the fork. */
SGATE_MUST_CHECK enum sgate_status batch_create(
    struct batch **out, struct sgate_error *err);
void batch_close(struct batch *batch);
/* What a worker before this one has left in its place. */
void batch_enter(struct batch *batch, unsigned place);

/*
 * Have bytes be done by whoever does it; that may be fn, called once at most,
 * with what others wait for as well. until_ms: monotonic.
 * SGATE_OK: *out is the answer (is_alone: also when nobody has taken it in
 * time, or there is no room). SGATE_UNCERTAIN: it was taken, and there is no
 * answer.
 */
SGATE_MUST_CHECK enum sgate_status batch_do(struct batch *batch, unsigned place,
    const void *bytes, size_t len, int64_t until_ms, batch_fn *fn, void *arg,
    struct batch_answer *out);

/*
 * The same for several of one process at once, which are done at once: by the
 * caller, with what others wait for if nobody is at work. The answers are in
 * the items.
 */
void batch_do_own(struct batch *batch, unsigned place, struct batch_item *items,
    size_t count, batch_fn *fn, void *arg);

/* Whether somebody is at work. If not, who has one alone need not hand it over:
 * batch_do_own() does it at once. */
bool batch_is_busy(const struct batch *batch);

/* For statistics: how many were taken together, and how often. */
void batch_counts(
    const struct batch *batch, uint64_t *out_items, uint64_t *out_times);

#endif
