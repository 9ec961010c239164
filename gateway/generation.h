/*
 * The processes of one configuration: its workers, its keeper and its tracker,
 * seen from the master. A reload starts a second generation beside the first
 * and ends the first when the second is ready; what has been told to end is the
 * family's, not a generation's, any more.
 *
 * What stands in shared memory may have been written by a worker that was
 * broken into: here it is only compared with numbers, and at worst a worker is
 * ended or kept too long.
 */
#ifndef SESSGATE_GENERATION_H
#define SESSGATE_GENERATION_H

#include <signal.h>

#include "listener.h"
#include "shared.h"
#include "worker.h"

/* Two generations have to fit into shared->workers. */
#define GENERATION_WORKERS_MAX (SHARED_WORKERS_MAX / 2)
#define FAMILY_LEAVING_MAX (SHARED_WORKERS_MAX + 32)

/* A process that has been told to end. */
struct leaving {
	pid_t pid;
	enum process_kind kind;
	int row; /* of shared->workers; -1: no worker */
	int64_t kill_at_ms;
	bool is_killed;
};

/* What all generations share. */
struct family {
	struct shared *shared;
	struct local *local; /* NULL: there is no local cache */
	struct batch *batch; /* NULL: creations are not gathered */
	struct listeners *listeners;
	struct handover handover; /* between workers, of all generations */
	sigset_t child_mask;      /* the signal mask that children get */
	bool is_row_used[SHARED_WORKERS_MAX];
	struct leaving leaving[FAMILY_LEAVING_MAX];
	size_t leaving_count;
};

/* The place of one process; whoever dies in it is replaced. */
struct seat {
	pid_t pid; /* 0 = empty */
	enum process_kind kind;
	int row;               /* of shared->workers; -1: no worker */
	int64_t started_ms;    /* monotonic */
	int64_t not_before_ms; /* no new process before that */
	int64_t delay_ms;      /* grows while processes die young */
	int ready_fd; /* a keeper's word that it answers; -1: has been read */
};

struct generation {
	struct sgate_conf *conf; /* owned */
	struct seat keeper;
	struct seat tracker; /* stays empty where there is nothing to track */
	struct seat workers[GENERATION_WORKERS_MAX];
	int wanted;   /* seats 0..wanted-1 are to be taken */
	int min, max; /* of wanted; min == max: not dynamic */
	int spawn_rate;
	bool is_max_logged;
	bool has_failed; /* a process of it said EXIT_CANNOT_RUN */
	int64_t next_scale_ms;
};

/* Takes conf over. NULL when memory is out (conf is freed then too). */
struct generation *generation_new(struct sgate_conf *conf);
/* Frees it; the processes must have been dismissed. */
void generation_free(struct generation *gen);

/* Fork what is missing and may be forked now. */
void generation_fill(struct generation *gen, struct family *family);
/* The seats of workers and keeper taken, by processes that wait for requests.
 * The tracker is waited for by nobody. */
bool generation_is_ready(struct generation *gen, const struct family *family);
/* End who is stuck. */
void generation_check(struct generation *gen, struct family *family);
/* Dynamic: once a second, spares as php-fpm's pm = dynamic keeps them. */
void generation_scale(struct generation *gen, struct family *family);
/* SIGTTIN, SIGTTOU: one more or one less. */
void generation_adjust(
    struct generation *gen, struct family *family, int change);
/* Whether pid was one of its own; then its seat is empty now. */
bool generation_bury(
    struct generation *gen, struct family *family, pid_t pid, int wait_status);
/* Tell all to end, in request_terminate_timeout at the latest. */
void generation_dismiss_workers(struct generation *gen, struct family *family);
/* The tracker, too. */
void generation_dismiss_keeper(struct generation *gen, struct family *family);
/* Their pids into shared memory: of the generation that serves. */
void generation_show(const struct generation *gen, const struct family *family);

/* As generation_bury() for those that were told to end. */
bool family_bury(struct family *family, pid_t pid, int wait_status);
/* SIGKILL for those whose time is up. */
void family_kill_late(struct family *family);
/* How many are still to end, without or with keepers and trackers. */
size_t family_leaving(const struct family *family, bool with_keepers);

#endif
