/*
 * Waiting for a store's answer, and who else may not be kept waiting by it.
 *
 * A process that has more to serve than the request at hand (front.c) says
 * here what it does for the others meanwhile. Of the process, not of a thread:
 * who sets it has one thread, beside the one that wait_block() may start.
 */
#ifndef SESSGATE_WAIT_H
#define SESSGATE_WAIT_H

#include <stdint.h>

/*
 * look(arg) is quick, does not wait, asks no store and writes no log. NULL:
 * nothing. It is called in this file's functions, and by another thread between
 * wait_block() and wait_unblock(); by one of them at a time.
 */
void wait_set_look(void (*look)(void *arg), void *arg);
/* Look after the others: before what may take long in its own way. */
void wait_look(void);
/*
 * Around a call that may stay in the kernel for seconds, where nothing can be
 * looked after: a sync to a disk that is busy. When it takes long another
 * thread looks until it is over. What stands between the two touches nothing
 * that a look does. Not within each other. errno stays.
 */
void wait_block(void);
void wait_unblock(void);
/*
 * poll() for events of fd until the monotonic deadline, looking after the
 * others before and every few milliseconds. Above 0: ready. 0: late, errno is
 * ETIMEDOUT. Below: as poll(), never EINTR.
 */
int wait_ready(int fd, short events, int64_t deadline_us);

#endif
