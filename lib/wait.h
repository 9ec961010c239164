/*
 * Waiting for a store's answer, and who else may not be kept waiting by it.
 *
 * A process that has more to serve than the request at hand (front.c) says
 * here what it does for the others meanwhile. Of the process, not of a thread:
 * who sets it has one thread.
 */
#ifndef SESSGATE_WAIT_H
#define SESSGATE_WAIT_H

#include <stdint.h>

/* look(arg) is quick, does not wait, and asks no store. NULL: nothing. */
void wait_set_look(void (*look)(void *arg), void *arg);
/* Look after the others: before what may take long in its own way. */
void wait_look(void);
/*
 * poll() for events of fd until the monotonic deadline, looking after the
 * others before and every few milliseconds. Above 0: ready. 0: late, errno is
 * ETIMEDOUT. Below: as poll(), never EINTR.
 */
int wait_ready(int fd, short events, int64_t deadline_us);

#endif
