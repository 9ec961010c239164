/*
 * Where the workers of an instance hand connections to each other: one socket
 * pair, made by the master and inherited by all. Who has a connection that it
 * cannot serve now gives it here, and whoever is free takes it. What has been
 * given and not taken is in the sockets, so a worker that dies takes none of
 * it along, and a new generation takes what an old one gives.
 *
 * Nothing that was received may be missing in what is given: only connections
 * of which no byte has been read since their last answer change hands.
 */
#ifndef SESSGATE_HANDOVER_H
#define SESSGATE_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

struct handover {
	int give_fd, take_fd; /* -1: nobody to give to */
};

/* What goes with a connection. */
struct handover_note {
	uint32_t listener; /* its index */
	uint32_t was_kept; /* 1: a request has been answered on it */
};

/* False: errno says why there is none. */
bool handover_open(struct handover *out);
void handover_close(struct handover *handover);
/* Never waits. True: fd has been given; close it. */
bool handover_give(
    const struct handover *handover, int fd, const struct handover_note *note);
/* Never waits. The connection, or -1: there is none. */
int handover_take(
    const struct handover *handover, struct handover_note *out_note);

#endif
