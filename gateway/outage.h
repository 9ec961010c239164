/*
 * What it means for visitors that a store is away: whether sessions can be
 * looked up, and the words for it, which the keeper's log and `status` share.
 * All of it from shared memory, as nobody may wait for a store to say this.
 */
#ifndef SESSGATE_OUTAGE_H
#define SESSGATE_OUTAGE_H

#include "buf.h"
#include "serve.h"

enum store_state { STORE_UNKNOWN, STORE_DOWN, STORE_UP };

/* As the keeper has found it; what it found long ago counts as not known. */
enum store_state outage_store(const struct shared_store *store);

/*
 * How long ago the last complete round of the worst group began; -1: a group
 * has had none.
 */
int64_t outage_fence_age_ms(const struct fence *fence);

enum outage {
	OUTAGE_NONE,  /* the durable store can be asked */
	OUTAGE_BLIND, /* it cannot; the cache alone is believed */
	OUTAGE_TOTAL  /* nobody can be looked up */
};

/* out_left_ms: of OUTAGE_BLIND, how much longer; -1 = without limit. */
enum outage outage_now(const struct gateway *gw, int64_t *out_left_ms);

/* The durable store's, as logs and answers name it. */
const char *outage_durable_name(const struct gateway *gw);

/*
 * A request is answered "unavailable": says why. Once a second of each kind for
 * all processes together, and then how many more there were.
 */
void outage_note(
    const struct gateway *gw, const char *what, const struct sgate_error *err);
/* The keeper's: how many there were behind the last line that said so. */
void outage_tell_rest(const struct gateway *gw);

/* What requests get while a store is down: "requests are answered 503". */
void outage_add_meaning(struct buf *out, const struct gateway *gw);

/*
 * A sentence for each thing that is wrong: what, since when, what visitors get,
 * what to do. None: all is well. gw->shared is there.
 */
void outage_tell_problems(const struct gateway *gw,
    void (*tell_sentence)(void *arg, struct sgate_bytes sentence), void *arg);
/* The same as the array "problems". */
void outage_add_problems(struct json *j, const struct gateway *gw);

#endif
