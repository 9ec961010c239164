/*
 * `sessgated --relay`: what Apache's mod_fcgid, or lighttpd with several
 * processes, starts as often as it likes. It takes one connection at a time
 * from the listening socket on fd 0 and passes its bytes to the instance's
 * pool socket and back. It has no keys, no store, no shared memory, and does
 * not understand what it passes on.
 */
#ifndef SESSGATE_RELAY_H
#define SESSGATE_RELAY_H

#include "conf.h"

struct relay_args {
	const char *pool_path; /* of the instance's pool socket */
	size_t params_max;     /* for the request of which no pool is told */
};

/* Until SIGTERM or SIGUSR1. The exit status. */
int relay_run(const struct relay_args *args);

#endif
