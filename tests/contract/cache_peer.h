/*
 * A peer on a unix socket that does what a list of steps says, in a thread of
 * its own: what no real Redis does when a test wants it.
 */
#ifndef TESTS_CACHE_PEER_H
#define TESTS_CACHE_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

struct peer_step {
	enum {
		PEER_END,    /* keep the connection, do nothing more */
		PEER_ACCEPT, /* the next connection, instead of the last */
		PEER_READ,   /* what comes first, at least one byte */
		PEER_SAY,
		PEER_TRICKLE, /* a byte each `ms` */
		PEER_FLOOD,   /* again and again, till nobody listens */
		PEER_WAIT,    /* ms */
		PEER_HOLD,    /* till peer_go() */
		PEER_CLOSE
	} what;
	const char *text;
	int ms;
};

struct peer {
	char directory[64];
	char address[96]; /* "unix:/..." */
	int listener;
	const struct peer_step *steps;
	_Atomic int connection; /* -1: none */
	_Atomic int accepted;   /* how many */
	_Atomic int done;       /* steps */
	_Atomic int may_go;
	_Atomic int is_over;
	pthread_t thread;
	/* What it read last, with a NUL; to be looked at after peer_close(). */
	char heard[4096];
};

void peer_open(struct peer *peer, const struct peer_step *steps);
void peer_go(struct peer *peer);
/* Till so many steps are done; gives up after ten seconds. */
void peer_wait(const struct peer *peer, int steps);
void peer_close(struct peer *peer);

#endif
