/*
 * Taking out of the local cache what has changed. Who changes a session does it
 * by himself (manager_drop()); what others have changed is found by the
 * keeper's rounds, in the change log, also while Redis does not answer, and
 * also where there is none and other programs use the same SQLite file.
 *
 * The order of a round is APPLY, raise `known`, drop: a drop before that lets a
 * worker that still believes the old copy fill it in again, and a Redis that
 * takes no writes then tells nobody. And `heard` comes last of all, so that a
 * keeper that is killed in between has not heard: the next one begins by
 * dropping everything.
 */
#include "config.h"

#include "manager.h"

#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* Of a group in one round; more cost a longer time than filling again. */
#define DROPS_MAX 4096

void
manager_drop(struct sgate_manager *mgr, const struct sgate_ref *ref)
{
	if (mgr->local == NULL || failpoint_is_off("local-own"))
		return;
	failpoint("local-drop");
	local_drop(mgr->local, ref);
}

static uint64_t
polled_mark(const struct durable_poll *poll, unsigned group)
{
	return fence_mark(poll->store.epoch, poll->counters[group]);
}

void
local_work_begin(struct sgate_manager *mgr, const struct durable_poll *poll)
{
	struct local_work *work = &mgr->local_work;
	unsigned group;

	if (mgr->local == NULL ||
	    (work->has_begun && memcmp(work->store_id, poll->store.id,
				    sizeof(work->store_id)) == 0))
		return;
	for (group = 0; group < TOKEN_GROUPS; group++) {
		atomic_store(&mgr->stores->fence.heard_ms[group], 0);
		/* Until its fence has been raised a look may fill in an old
		 * copy: the first drop of a group drops everything. */
		work->marks[group] = 0;
	}
	local_drop_all(mgr->local);
	memcpy(work->store_id, poll->store.id, sizeof(work->store_id));
	work->has_begun = true;
}

static int
drop_one(void *arg, const struct sgate_ref *ref)
{
	local_drop(arg, ref);
	return 0;
}

/*
 * A number that has fallen, or another epoch: what was filled goes by rows that
 * the change log of today does not know. False: not all could be dropped so.
 */
static bool
drop_changed(struct sgate_manager *mgr, unsigned group, uint64_t mark)
{
	uint64_t before = mgr->local_work.marks[group];
	struct sgate_error ignored;
	enum sgate_status status;
	bool is_all = false;

	if (mark < before ||
	    mark >> FENCE_NUMBER_BITS != before >> FENCE_NUMBER_BITS)
		return false;
	status = manager_need_durable(mgr, &ignored);
	if (status == SGATE_OK)
		status = manager_read(mgr,
		    mgr->ops->changed(mgr->durable, group,
			before & FENCE_NUMBER_MAX, DROPS_MAX, drop_one,
			mgr->local, &is_all, &ignored),
		    &ignored);
	return status == SGATE_OK && is_all;
}

void
local_work_group(struct sgate_manager *mgr, unsigned group,
    const struct durable_poll *poll, int64_t began_boot_ms, bool can_read)
{
	uint64_t mark = polled_mark(poll, group);

	if (mgr->local == NULL)
		return;
	failpoint("raise-drop");
	if (mark != mgr->local_work.marks[group] &&
	    !failpoint_is_off("local-round") &&
	    (!can_read || !drop_changed(mgr, group, mark)))
		local_drop_all(mgr->local);
	mgr->local_work.marks[group] = mark;
	atomic_store(&mgr->stores->fence.heard_ms[group], began_boot_ms);
}

enum sgate_status
local_work_alone(struct sgate_manager *mgr, struct sgate_error *err)
{
	int64_t began_boot_ms = clock_boot_ms();
	struct durable_poll poll;
	enum sgate_status status;
	unsigned group;

	status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = manager_read(
		    mgr, mgr->ops->poll(mgr->durable, &poll, err), err);
	if (status != SGATE_OK)
		return status;
	status = settings_round(mgr, &poll, began_boot_ms, NULL, NULL, err);
	if (mgr->local == NULL)
		return status;
	local_work_begin(mgr, &poll);
	for (group = 0; group < TOKEN_GROUPS; group++)
		local_work_group(mgr, group, &poll, began_boot_ms, true);
	return status;
}
