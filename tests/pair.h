/*
 * A world with both stores, the fake ones: what the manager makes of what they
 * say. The fence is set by the test, as a keeper's rounds would leave it; who
 * answered is asserted with every look.
 */
#ifndef TESTS_PAIR_H
#define TESTS_PAIR_H

#include "contract/cache_fake.h"
#include "contract/durable_fake.h"
#include "world.h"

/* Who served: names of the fakes. */
#define COPY "fake cache"
#define ROW "fake"

struct pair {
	struct world w;
	struct stores stores; /* of this host: its managers share it */
	struct durable *keeper;
};

/* Both stores empty; one good round has been. */
void pair_start(struct pair *p);
void pair_stop(struct pair *p);
/* Another worker of this host. */
struct sgate_manager *pair_manager(struct pair *p);
/* Another host: its own fence, as of now. pair_other_close() after. */
struct other {
	struct stores stores;
	struct sgate_manager *mgr;
};
void pair_other_open(struct pair *p, struct other *other);
void pair_other_close(struct other *other);

/* The keeper has seen all counters now; Redis has not. */
void pair_poll(struct pair *p, struct stores *stores);
/* Both have, and nothing had to be brought. */
void pair_round(struct pair *p, struct stores *stores);
/* The last round was so long ago. */
void pair_age(struct stores *stores, int64_t ms);
/* Both stores have been up for so long. */
void pair_up_since(struct stores *stores, int64_t ms);
/* MySQL, and its breaker, which the keeper closes when it is back; a second
 * ago, so that its rows count again. */
void pair_durable_down(struct pair *p);
void pair_durable_back(struct pair *p);
void pair_cache_down(void);
void pair_cache_back(struct pair *p);

uint64_t pair_count(const struct pair *p, enum stores_counter counter);
/* Raises the counter of the group of a ref, as another session's change. */
void pair_other_change(struct pair *p, const struct sgate_ref *ref);

/*
 * A look with SGATE_NO_TOUCH by mgr: SGATE_OK or NOT_FOUND's reason, and who
 * served. UNAVAILABLE is SGATE_REASON_STORE, served by "".
 */
void pair_expect(struct pair *p, struct sgate_manager *mgr, const char *token,
    enum sgate_reason reason, const char *served_by);
/* The same, and it is free with sgate_session_free(). */
struct sgate_session *pair_get(
    struct pair *p, const char *token, const char *served_by);

/* What the cache has: 'L', 'T', '\0' for nothing. */
char pair_state(const struct sgate_ref *ref);
uint64_t pair_version(const struct sgate_ref *ref);
int64_t pair_last_seen(const struct sgate_ref *ref);
enum sgate_reason pair_tombstone(const struct sgate_ref *ref);
/* A copy of what is there, to be put back: free its data. */
struct sgate_bytes pair_save(const struct sgate_ref *ref);
void pair_put_back(const struct sgate_ref *ref, struct sgate_bytes record);

#endif
