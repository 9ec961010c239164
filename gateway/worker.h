/*
 * What the master forks: workers, the keeper and the tracker. Each opens its
 * own store connections after the fork and returns its exit status when it is
 * done.
 */
#ifndef SESSGATE_WORKER_H
#define SESSGATE_WORKER_H

#include "handover.h"
#include "listener.h"
#include "shared.h"

struct batch;
struct local;

enum process_kind { PROCESS_WORKER, PROCESS_KEEPER, PROCESS_TRACKER };

struct process_args {
	const struct sgate_conf *conf;
	struct shared *shared;
	struct local *local; /* NULL: there is no local cache */
	struct batch *batch; /* NULL: creations are not gathered */
	const struct listeners *listeners;
	const struct handover *handover; /* workers only; NULL: none */
	int index; /* of the worker's row in shared->workers; others: -1 */
	pid_t master_pid;
	int ready_fd; /* the keeper writes a byte when it answers */
};

/*
 * Whether SIGTERM waits to be delivered. A wait that finds something to do, or
 * has no time to wait, returns without it: who never waits has to ask.
 */
bool process_is_told_to_end(void);
/* SIGTERM arrives in waits with this mask alone; SIGPIPE is ignored. */
void process_set_signals(void (*on_term)(int), sigset_t *out_wait_mask);

/* SIGTERM: finish what has begun, then return. */
int worker_run(const struct process_args *args);
/* Reap, write touches, announce, probe, and answer keeper.sock. */
int keeper_run(const struct process_args *args);
/* tracker.c: keep the local cache up to date. */
int tracker_run(const struct process_args *args);

/* Exit statuses, by name. */
enum process_exit {
	EXIT_DONE = 0,       /* told to stop, or max_requests reached */
	EXIT_CANNOT_RUN = 3, /* cannot start: the master waits a while */
	EXIT_BROKEN = 4      /* its own state is not to be trusted */
};

#endif
