/*
 * What a cache must do: a table of functions that a driver fills in, and
 * nothing about sessions beyond bytes under a ref. Whether a copy is believed
 * (fence.h), what its bytes mean (record.h) and when it is written belong to
 * the session manager. The scripts and their reasons: lib/README.md, "Redis".
 *
 * Answers: SGATE_OK, or SGATE_UNAVAILABLE: it cannot be told what is there or
 * whether it was written. An error reply of the server (-LOADING, -READONLY,
 * -OOM, -NOAUTH, ...) is SGATE_UNAVAILABLE too: only "nothing there" is a miss.
 * With it err->native_code is the errno of a connection that could not be made
 * or was lost (ETIMEDOUT: no answer in time, for whatever was asked), EBUSY for
 * an error reply that every question would get (-LOADING), and 0 for another
 * one: the server is there. SGATE_NO_MEMORY; SGATE_INTERNAL: the
 * caller's bug, used after a fork.
 *
 * Every wait ends at handle->deadline_ms (monotonic), which the manager sets
 * before each call; connecting counts. After an error of the connection nothing
 * that arrives on it is read: a late reply would answer the next question.
 */
#ifndef SESSGATE_CACHE_H
#define SESSGATE_CACHE_H

#include "conf.h"
#include "finding.h"
#include "place.h"
#include "record.h"
#include "session.h"

struct cache_ops;

/* Drivers embed this as the first member of their own handle. */
struct cache {
	const struct cache_ops *ops;
	int64_t deadline_ms; /* monotonic */
	/* Borrowed; NULL: nobody tells where it is, should that change. */
	const struct place *at;
	/* How often it has connected: what it finds then may be older than
	 * what it left. */
	uint64_t connections;
};

/* A group's `sync` as it stands there: fence.h reads and writes it. */
#define CACHE_SYNC_MAX 127
/* What stands there is longer, or holds a NUL: nothing that we wrote. */
#define CACHE_SYNC_FOREIGN "?"
/* Scripts count in doubles. */
#define CACHE_NUMBER_MAX (UINT64_C(1) << 53)
/* Longer than the longest session: 400 days. */
#define CACHE_TTL_MAX_MS (INT64_C(1000) * 24 * 3600 * 1000)

struct cache_copy {
	struct sgate_bytes
	    record; /* len 0: none. Borrowed till the next call */
	char sync[CACHE_SYNC_MAX + 1]; /* "": none */
};

/* A record (live or tombstone) to be written. */
struct cache_item {
	struct sgate_ref ref;
	struct sgate_bytes record;
	int64_t ttl_ms; /* > 0 */
};

/* Of a user's set: refs that a page is asked to have, and most that it may
 * have. */
#define CACHE_UNLANDED_PAGE 500
#define CACHE_UNLANDED_MAX 1000

struct cache_touch {
	struct sgate_ref ref;
	int64_t last_seen_ms;
	int64_t ttl_ms; /* the time to live is never made shorter */
};

/* What became of a put. */
enum cache_put {
	CACHE_PUT_OK,    /* written */
	CACHE_PUT_ENDED, /* a tombstone stands there; it is in out->record */
	/* The same or a newer version stands there (a 'U' gives way to the 'L'
	 * of the same version). */
	CACHE_PUT_HAVE,
	CACHE_PUT_NOSYNC, /* the group has no sync: nothing was written */
	CACHE_PUT_RETRY   /* sync is past s0: the row may be older than that */
};

/* One of put_many. */
struct cache_putting {
	struct cache_item item;
	uint64_t s0;
	enum cache_put put; /* what became of it; RETRY when it is not known */
	/* With CACHE_PUT_ENDED. */
	char tombstone[RECORD_TOMBSTONE_BYTES];
	size_t tombstone_len;
};
#define CACHE_PUTS_MAX 64

struct cache_ops {
	const char *name; /* "redis" */
	/* No I/O yet beyond reading a password file. */
	enum sgate_status (*open)(const struct sgate_conf *conf,
	    struct cache **out, struct sgate_error *err);
	void (*close)(struct cache *c);
	enum sgate_status (*ping)(struct cache *c, struct sgate_error *err);
	/*
	 * Find out where it is, and write that into *at. SGATE_OK also where
	 * that is no question. Else *at is as it was: nobody knows better.
	 * NULL: it is always where it was opened.
	 */
	enum sgate_status (*locate)(
	    struct cache *c, struct place *at, struct sgate_error *err);
	/* For doctor. SGATE_OK whatever was found, unless it does not answer.
	 * NULL: nothing to be looked at. */
	enum sgate_status (*examine)(struct cache *c, finding_fn *fn, void *arg,
	    struct sgate_error *err);
	/* The record of a ref and its group's sync, read at one moment. */
	enum sgate_status (*get)(struct cache *c, const struct sgate_ref *ref,
	    struct cache_copy *out, struct sgate_error *err);
	/* The same, but of a record that is longer than RECORD_PEEK_BYTES that
	 * beginning, or (where the server lets nobody do that) all. */
	enum sgate_status (*peek)(struct cache *c, const struct sgate_ref *ref,
	    struct cache_copy *out, struct sgate_error *err);
	/*
	 * PUT. s0: the group's counter when the row was read. only_over (data
	 * NULL: none): the bytes that were found with a wrong seal; they are
	 * replaced whatever their version, and without their last_seen, but
	 * only if they still stand there.
	 */
	enum sgate_status (*put)(struct cache *c, const struct cache_item *item,
	    uint64_t s0, struct sgate_bytes only_over, enum cache_put *out_put,
	    struct cache_copy *out, struct sgate_error *err);
	/*
	 * put of up to CACHE_PUTS_MAX, only_over none, in one round trip. Some
	 * may be done although the answer is an error.
	 */
	enum sgate_status (*put_many)(struct cache *c,
	    struct cache_putting *puts, size_t count, struct sgate_error *err);
	/*
	 * Tombstones, unconditionally, also when memory is short. Those of one
	 * fence group in one script; any number, any order. replicas:
	 * waits till so many have them, 0: does not wait. SGATE_UNAVAILABLE
	 * without a native_code also when fewer have them in three quarters of
	 * the time; the tombstones are written all the same.
	 */
	enum sgate_status (*end)(struct cache *c,
	    const struct cache_item *tombstones, size_t count,
	    unsigned replicas, struct sgate_error *err);
	/* What is missing or ended is passed over. One round trip. Some may be
	 * done although the answer is an error. */
	enum sgate_status (*touch)(struct cache *c,
	    const struct cache_touch *touches, size_t count,
	    struct sgate_error *err);
	/* Every group's sync. One round trip. */
	enum sgate_status (*sync_get)(struct cache *c,
	    char out_sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1],
	    struct sgate_error *err);
	/*
	 * APPLY: if the group's sync is exactly `from` ("": none), write the
	 * items (a tombstone always, a live record only over an older version)
	 * and set sync to `to`; one script, also when memory is short.
	 * out_sync: what sync is then; another text than `to`: nothing was
	 * done.
	 */
	enum sgate_status (*apply)(struct cache *c, unsigned group,
	    const char *from, const char *to, const struct cache_item *items,
	    size_t count, char out_sync[CACHE_SYNC_MAX + 1],
	    struct sgate_error *err);
	/*
	 * A session that the durable store has not got, its record 'U': it
	 * takes the place of nothing, of an older version or of another 'U',
	 * and its ref joins the user's set, which lives as long as set_ttl_ms
	 * at least. s0: the number of the group's sync when it was created;
	 * nothing is written when sync is past that. user: TOKEN_USER_BYTES;
	 * NULL: it is nobody's. One script. CACHE_PUT_OK, ENDED (out->record
	 * may be missing), HAVE, RETRY. replicas: as end.
	 */
	enum sgate_status (*create)(struct cache *c,
	    const struct cache_item *item, uint64_t s0,
	    const unsigned char *user, int64_t set_ttl_ms, unsigned replicas,
	    enum cache_put *out_put, struct cache_copy *out,
	    struct sgate_error *err);
	/*
	 * The durable store has got it: what is 'U' and no newer becomes the
	 * item ('L'), whatever else stands there stays, and the ref leaves the
	 * user's set. CACHE_PUT_OK or ENDED.
	 */
	enum sgate_status (*land)(struct cache *c,
	    const struct cache_item *item, const unsigned char *user,
	    enum cache_put *out_put, struct cache_copy *out,
	    struct sgate_error *err);
	/*
	 * A page of the refs in a user's set. *cursor: 0 asks for the first
	 * one; it becomes what asks for the next, 0 after the last. What is in
	 * the set all the while is in one of the pages, perhaps in several. A
	 * page may be empty.
	 */
	enum sgate_status (*unlanded)(struct cache *c, unsigned group,
	    const unsigned char *user, uint64_t *cursor,
	    struct sgate_ref out_refs[CACHE_UNLANDED_MAX], size_t *out_count,
	    struct sgate_error *err);
	/* The durable store has these: they leave the user's set. count: 1 to
	 * CACHE_UNLANDED_MAX. */
	enum sgate_status (*landed)(struct cache *c, unsigned group,
	    const unsigned char *user, const struct sgate_ref *refs,
	    size_t count, struct sgate_error *err);
	/* Unconditionally, for `db restored`. */
	enum sgate_status (*sync_set)(struct cache *c, unsigned group,
	    const char *sync, struct sgate_error *err);
};

extern const struct cache_ops cache_redis;
/* The cache that the configuration asks for; NULL: none. */
const struct cache_ops *cache_choose(const struct sgate_conf *conf);

/*
 * For drivers. What a caller must not ask for, which is SGATE_INTERNAL: NULL,
 * or what is wrong with it. states: those that the record may have.
 */
const char *cache_wrong_item(const struct cache_item *item, const char *states);
const char *cache_wrong_create(
    const struct cache_item *item, uint64_t s0, int64_t set_ttl_ms);
const char *cache_wrong_touch(const struct cache_touch *touch);
const char *cache_wrong_sync(unsigned group, const char *sync);
const char *cache_wrong_apply(unsigned group, const char *from, const char *to,
    const struct cache_item *items, size_t count);
/* A sync as it was found. */
void cache_sync_copy(struct sgate_bytes text, char out[CACHE_SYNC_MAX + 1]);

#endif
