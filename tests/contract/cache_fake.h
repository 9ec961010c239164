/*
 * A cache in memory, for tests: it fills the same table as the real one and
 * passes the same contract test, with the meaning of the scripts in C, and
 * fails, is late or forgets on command. One data set for the whole process; as
 * many handles on it as you like. It has a clock of its own for times to live.
 */
#ifndef TESTS_CACHE_FAKE_H
#define TESTS_CACHE_FAKE_H

#include "cache.h"

extern const struct cache_ops cache_fake;

/* An empty data set, nothing counted, no script, no hook, nothing late. */
void cache_fake_reset(void);

enum cache_fake_answer {
	CACHE_FAKE_UNAVAILABLE, /* nothing was done */
	CACHE_FAKE_DONE,        /* unavailable, but it was done */
	CACHE_FAKE_LATE, /* unavailable, and done by cache_fake_wake(): what a
			    stopped server does with what it was sent */
	CACHE_FAKE_NO_MEMORY
};
/*
 * The nth call (1 is the next one) of an operation, by its name in struct
 * cache_ops, answers this. Up to 32 such rules; each is used once.
 */
void cache_fake_script(
    const char *operation, unsigned nth, enum cache_fake_answer answer);
/* Until it is told otherwise: everything answers that. */
void cache_fake_set_down(bool is_down, enum cache_fake_answer answer);
/* Until it is told otherwise: every write is refused (a replica). */
void cache_fake_set_read_only(bool is_read_only);
/* Until it is told otherwise: memory is short; put and touch are refused. */
void cache_fake_set_full(bool is_full);
/* Till cache_fake_reset(): a peek gives the whole. */
void cache_fake_refuse_peeks(void);
/* Does what is late, in the order in which it was asked for. */
void cache_fake_wake(void);
/* Calls of an operation since cache_fake_reset(); NULL: of all. */
unsigned cache_fake_calls(const char *operation);

/*
 * Called in every operation before it looks at the data set, and again after
 * it, before it answers: there other handles can come between. Not called for
 * what is asked from within it.
 */
typedef void cache_fake_hook(void *arg, const char *operation, bool is_after);
void cache_fake_set_hook(cache_fake_hook *hook, void *arg);

/* ---- the data set, as somebody else sees and changes it ---- */

void cache_fake_flush(void);
/* A dump, and its return: what was written since is gone. */
void cache_fake_save(void);
void cache_fake_restore(void);
/* Time goes on, for times to live alone. */
void cache_fake_pass(int64_t ms);
/* {NULL, 0}: none. Borrowed till the next change. */
struct sgate_bytes cache_fake_record(const struct sgate_ref *ref);
/* What is left, -1: no such record. */
int64_t cache_fake_ttl(const struct sgate_ref *ref);
/* ttl_ms 0: remove it. */
void cache_fake_set_record(
    const struct sgate_ref *ref, struct sgate_bytes record, int64_t ttl_ms);
size_t cache_fake_count(void); /* records */
const char *cache_fake_sync(unsigned group);
void cache_fake_set_sync(unsigned group, const char *sync); /* "": remove */

#endif
