/*
 * What the round's two files share, and nobody else sees:
 *
 *   manager_fence.c   the round: what the poll says, the file, the order
 *   manager_bring.c   rows to the cache, group by group
 */
#ifndef SESSGATE_MANAGER_ROUND_H
#define SESSGATE_MANAGER_ROUND_H

#include "manager.h"

/* What is told: at most FENCE_NEWS kinds. */
enum news {
	NEWS_ALARM,
	NEWS_FOREIGN,
	NEWS_ROWS,
	NEWS_FILE,
	NEWS_CLOCK,
	NEWS_STORE,
	NEWS_BLOCKED,
	NEWS_SETTINGS,
	NEWS_NEWER
};

struct round {
	struct sgate_manager *mgr;
	const struct manager_round *given;
	struct fence *fence;
	int64_t began_boot_ms;
	int64_t deadline_ms; /* monotonic */
	struct durable_poll poll;
	bool has_cache; /* it answers; syncs are there */
	bool has_rows;  /* MySQL gives rows, as far as is known */
	char syncs[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];
	enum sgate_status status; /* the first failure */
	struct sgate_error *err;  /* of that */
};

/* ---- manager_fence.c ---- */

/* It goes on: the keeper is told. */
void round_beat(const struct round *r);
/* A line for the log, of each kind one a minute. */
void round_tell(struct round *r, enum news news, bool is_error,
    const char *format, ...) SGATE_PRINTF(4, 5);
/* The first one is what the round answers. */
void round_note_failure(
    struct round *r, enum sgate_status status, const struct sgate_error *err);
/* How far the poll says that a group has come. */
uint64_t round_polled_mark(const struct round *r, unsigned group);

/* ---- manager_bring.c ---- */

/* Each group's rows, as far as there is time, and its fence. */
void round_bring(struct round *r);
/* For status: the groups whose copies nobody believes after this round. */
void round_count_behind(struct round *r);

#endif
