/*
 * The one place where requests stand within each other. A creation is about to
 * be committed: whoever waits at the same door is served before that, so that
 * one commit does for all (manager_batch.c). It is the door where logins come;
 * nobody who looks a session up waits for it.
 *
 * What is a request's own, and not the process's, is a desk: the inner one gets
 * another, and the outer one finds its own as it left it.
 */
#include "config.h"

#include "front_own.h"

#include "fcgi.h"
#include "session_manager.h"

#include <stdlib.h>

static bool
open_desk(struct front *front, struct desk *desk)
{
	if (desk->scratch == NULL)
		desk->scratch = malloc(front->request_max);
	return desk->scratch != NULL &&
	       (desk->fcgi != NULL || fcgi_new(&desk->fcgi, NULL) == SGATE_OK);
}

static void
swap_desks(struct front *front, struct desk *desk)
{
	struct desk mine = {
	    .fcgi = front->fcgi,
	    .scratch = front->scratch,
	    .answer = front->answer,
	};

	front->fcgi = desk->fcgi;
	front->scratch = desk->scratch;
	front->answer = desk->answer;
	*desk = mine;
}

bool
front_gather_one(void *arg)
{
	struct front *front = arg;
	struct shared_worker *slot = front->options.slot;
	const struct listener *serving = front->serving;
	size_t used = front->scratch_used;
	struct desk *desk = &front->inner[front->depth];
	bool is_open, was_there = false;
	int64_t since_us;

	if (slot == NULL || front->is_stopped || front->paused_until_ms != 0 ||
	    front->depth == FRONT_INNER_MAX ||
	    conns_count(&front->conns) + front->depth >= front->conns.max)
		return false;
	since_us = atomic_load(&slot->since_us);
	is_open = open_desk(front, desk);
	if (is_open) {
		swap_desks(front, desk);
		front->scratch_used = 0;
		front->depth++;
		was_there =
		    front_accept_one(front, serving, &front->inner_served);
		front->depth--;
		front->scratch_used = used;
		swap_desks(front, desk);
	}
	fcgi_resume(front->fcgi);
	front->serving = serving;
	/* Its own moment again, by which the master judges it. */
	atomic_store(&slot->since_us, since_us);
	atomic_store(&slot->state, SHARED_BUSY);
	return was_there;
}

void
front_gather_clear(struct front *front)
{
	size_t i;

	for (i = 0; i < FRONT_INNER_MAX; i++) {
		fcgi_free(front->inner[i].fcgi);
		free(front->inner[i].scratch);
		buf_wipe(&front->inner[i].answer);
	}
}
