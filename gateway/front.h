/*
 * The accepting side of a process: an epoll set of listeners, of accepted
 * connections whose request is not all there yet, and of those that the web
 * server keeps open for its next request. A connection is served only when its
 * whole head, and a responder's body, have come (head.h), so a slow, silent or
 * idle peer holds a place in the set, never the process. Used by workers for
 * all listeners and by the keeper for its own.
 */
#ifndef SESSGATE_FRONT_H
#define SESSGATE_FRONT_H

#include <signal.h>

#include "handover.h"
#include "listener.h"
#include "serve.h"

struct front;

struct front_options {
	const struct listeners *listeners;
	bool is_keeper; /* take keeper.sock alone; else all others */
	/* The process's own row in shared memory; NULL for the keeper. */
	struct shared_worker *slot;
	const struct handover *handover; /* NULL: nobody to give to */
};

/*
 * gw, listeners and the handover are borrowed; a listener without conf serves
 * nothing. One front a process: it looks after its connections while a store
 * is waited for (wait.h).
 */
SGATE_MUST_CHECK enum sgate_status front_new(struct gateway *gw,
    const struct front_options *options, struct front **out,
    struct sgate_error *err);
/*
 * Wait up to timeout_ms with wait_mask as the signal mask (the only moment
 * when stop signals arrive), then serve what is ready. How many requests were
 * served; 0 also after a signal; -1 when the set is broken (exit then).
 */
int front_step(struct front *front, int timeout_ms, const sigset_t *wait_mask);
/*
 * Take no more connections. What stands in the backlogs is taken once more
 * first: a wake-up that was meant for this process must not get lost; all of
 * it when the instance stops, up to 64 when only this process ends. Kept
 * connections go to other workers; when the instance stops they are closed
 * behind their next answer, or when there is none for a moment.
 */
void front_stop(struct front *front, bool drain_all);
/* Connections that wait for the rest of their request, or for the peer's end.
 */
size_t front_waiting(const struct front *front);
void front_free(struct front *front);

#endif
