/*
 * Tells systemd how the master is: sd_notify(3)'s protocol, one datagram a
 * message, which is all of libsystemd that we would use.
 */
#ifndef SESSGATE_NOTIFY_H
#define SESSGATE_NOTIFY_H

#include "sessgate.h"

/*
 * Takes NOTIFY_SOCKET out of the environment, so that no child speaks in the
 * master's name. Call once, before the first fork(). Without it, or with one
 * that is no path of a unix socket, all of these do nothing.
 */
void notify_open(void);
/* Requests are taken: `workers` of them serve. */
void notify_ready(int workers);
/* A reload has begun; notify_ready() ends it. */
void notify_reloading(void);
void notify_stopping(void);

#endif
