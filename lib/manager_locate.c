/*
 * Which server of a store is the primary, where the configuration names several
 * or leaves it to Sentinels. The drivers know how to find out (locate); here it
 * is decided when they are asked, and what they found is for all of the host.
 *
 * It is no probe: a store whose primary was found may still be down, and one
 * whose primary cannot be found is asked where it was last.
 */
#include "config.h"

#include "manager.h"

#include <stdio.h>

#include "clock.h"
#include "status.h"

/* Of redis.timeout: for Sentinels that do not answer, and the master. */
#define CACHE_TIMES 4

static void
tell_move(const char *store, const struct place *place,
    const struct place_address *before, const struct manager_round *round)
{
	char now[PLACE_TEXT_MAX + 1], then[PLACE_TEXT_MAX + 1], text[256];
	struct place_address at;
	uint64_t generation;

	if (round->tell == NULL || !place_get(place, &at, &generation) ||
	    place_equal(&at, before))
		return;
	place_text(&at, now);
	place_text(before, then);
	if (before->len == 0)
		snprintf(
		    text, sizeof(text), "%s: the primary is %s", store, now);
	else
		snprintf(text, sizeof(text),
		    "%s: the primary is %s now, it was %s", store, now, then);
	round->tell(round->arg, false, text);
}

static enum sgate_status
locate_cache(struct sgate_manager *mgr, const struct manager_round *round,
    struct sgate_error *err)
{
	struct place *place = &mgr->stores->cache_at;
	struct place_address before;
	enum sgate_status status;
	uint64_t generation;

	if (mgr->cache_ops == NULL || mgr->cache_ops->locate == NULL)
		return SGATE_OK;
	status = manager_cache_open(mgr, err);
	if (status != SGATE_OK)
		return status;
	place_get(place, &before, &generation);
	mgr->cache->deadline_ms =
	    clock_monotonic_ms() + CACHE_TIMES * mgr->conf->redis.timeout_ms;
	if (mgr->cache->deadline_ms > mgr->call.deadline_ms)
		mgr->cache->deadline_ms = mgr->call.deadline_ms;
	status = mgr->cache_ops->locate(mgr->cache, place, err);
	tell_move(mgr->cache_ops->name, place, &before, round);
	return status;
}

static enum sgate_status
locate_durable(struct sgate_manager *mgr, const struct manager_round *round,
    struct sgate_error *err)
{
	struct place *place = &mgr->stores->durable_at;
	struct place_address before;
	enum sgate_status status;
	uint64_t generation;

	if (mgr->ops->locate == NULL)
		return SGATE_OK;
	status = manager_need_durable(mgr, err);
	if (status != SGATE_OK)
		return status;
	place_get(place, &before, &generation);
	status = mgr->ops->locate(mgr->durable, place, err);
	tell_move(mgr->ops->name, place, &before, round);
	if (status == SGATE_CONFLICT && round->tell != NULL)
		round->tell(round->arg, true, err->text);
	return status;
}

enum sgate_status
manager_locate(struct sgate_manager *mgr, const struct manager_round *round,
    struct sgate_error *err)
{
	enum sgate_status of_durable, of_cache;
	struct sgate_error why;

	manager_begin_let(mgr, err);
	of_durable = locate_durable(mgr, round, err);
	error_clear(&why);
	of_cache = locate_cache(mgr, round, &why);
	if (of_durable != SGATE_OK)
		return of_durable;
	if (of_cache != SGATE_OK && err != NULL)
		*err = why;
	return of_cache;
}

/* ---- doctor ---- */

static enum sgate_status
examine_durable(struct sgate_manager *mgr, finding_fn *fn, void *arg,
    struct sgate_error *err)
{
	const struct findings findings = {fn, arg, mgr->ops->name};
	enum sgate_status status = manager_need_durable(mgr, err);

	if (status == SGATE_OK && mgr->ops->examine != NULL)
		return mgr->ops->examine(mgr->durable, fn, arg, err);
	if (status == SGATE_OK)
		status = mgr->ops->schema_check(mgr->durable, err);
	if (status == SGATE_OK)
		finding_tell(&findings, FINDING_OK, "schema", "",
		    "its tables are there");
	else
		finding_tell_error(&findings, FINDING_ERROR, "schema", err);
	/* Said, and nothing that a second try would mend. */
	return status == SGATE_INVALID ? SGATE_OK : status;
}

enum sgate_status
manager_examine(struct sgate_manager *mgr, finding_fn *fn, void *arg,
    struct sgate_error *err)
{
	const struct manager_round round = {.runtime_dir = NULL};
	enum sgate_status of_durable, of_cache = SGATE_OK;
	struct sgate_error why;

	error_clear(&why);
	/* What it finds out is examined below, and found to be so or not. */
	if (manager_locate(mgr, &round, &why) != SGATE_OK)
		error_clear(&why);
	manager_begin_let(mgr, err);
	of_durable = examine_durable(mgr, fn, arg, err);
	if (mgr->cache_ops != NULL && mgr->cache_ops->examine != NULL) {
		mgr->call.deadline_ms =
		    clock_monotonic_ms() + mgr->call.budget_ms;
		of_cache = manager_cache_enter(mgr, true, &why);
		if (of_cache == SGATE_OK)
			of_cache =
			    mgr->cache_ops->examine(mgr->cache, fn, arg, &why);
	}
	if (of_durable != SGATE_OK)
		return of_durable;
	if (of_cache != SGATE_OK && err != NULL)
		*err = why;
	return of_cache;
}
