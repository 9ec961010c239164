/*
 * The accepting side of a process: an epoll set of listeners and of accepted
 * connections whose request is not all there yet. A connection is served only
 * when its whole head, and a responder's body, have come (head.h), so a slow or
 * silent peer holds a slot in the set, never the process. Used by workers for
 * all listeners and by the keeper for its own.
 */
#ifndef SESSGATE_FRONT_H
#define SESSGATE_FRONT_H

#include <signal.h>

#include "listener.h"
#include "serve.h"

struct front;

/*
 * is_keeper: take keeper.sock alone; else all others. slot: the process's own
 * row in shared memory (state and stamps are kept there), NULL for the keeper.
 * gw and listeners are borrowed; a listener without conf serves nothing.
 */
SGATE_MUST_CHECK enum sgate_status front_new(struct gateway *gw,
    const struct listeners *listeners, bool is_keeper,
    struct shared_worker *slot, struct front **out, struct sgate_error *err);
/*
 * Wait up to timeout_ms with wait_mask as the signal mask (the only moment
 * when stop signals arrive), then serve what is ready. How many requests were
 * served; 0 also after a signal; -1 when the set is broken (exit then).
 */
int front_step(struct front *front, int timeout_ms, const sigset_t *wait_mask);
/*
 * Take no more connections. What stands in the backlogs is taken once more
 * first: a wake-up that was meant for this process must not get lost; all of
 * it when the instance stops, up to 64 when only this process ends.
 */
void front_stop(struct front *front, bool drain_all);
/* Connections that wait for the rest of their request, or for the peer's end.
 */
size_t front_waiting(const struct front *front);
void front_free(struct front *front);

#endif
