/*
 * The master: forks and watches, reloads and stops, and serves nobody.
 */
#ifndef SESSGATE_MASTER_H
#define SESSGATE_MASTER_H

#include <signal.h>

#include "listener.h"
#include "shared.h"

struct batch;
struct local;

struct master_args {
	struct sgate_conf *conf; /* taken over */
	const char *path;        /* of the configuration, NULL = none */
	const char *const *overrides;
	struct shared *shared;
	struct local *local; /* NULL: there is no local cache */
	struct batch *batch; /* NULL: creations are not gathered */
	struct listeners *listeners;
	sigset_t child_mask; /* the signal mask as it was at the start */
};

/* The signals that the master takes one by one. Block them at the start. */
void master_signals(sigset_t *out_set);
/*
 * Run until SIGTERM or SIGINT, then end everybody; listeners are unlinked, but
 * not closed. The exit status.
 */
int master_run(const struct master_args *args);

#endif
