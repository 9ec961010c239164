/*
 * Calls of the C library that fail when a test says so, for the whole program
 * with its shared libraries: the n-th allocation, or the n-th call that writes.
 * Unlike no_memory.h, which sees the library's own code alone. One thread.
 */
#ifndef TESTS_FAULTY_H
#define TESTS_FAULTY_H

#include <stdbool.h>

enum faulty {
	FAULTY_MEMORY, /* malloc() and its kin: NULL */
	/* write, pwrite, send, sendto, sendmsg, writev, fsync, fdatasync, open,
	 * openat, rename, renameat, ftruncate: */
	FAULTY_FAIL,      /* EIO; of a socket EPIPE */
	FAULTY_FULL,      /* ENOSPC; of a socket ENOBUFS */
	FAULTY_INTERRUPT, /* EINTR, and then it works */
	FAULTY_SHORT      /* half of it is written, where something is */
};

/* The call after `countdown` more of that kind fails, that one alone. */
void faulty_arm(enum faulty what, int countdown);
/* Whether it has come to that; nothing fails any more. */
bool faulty_disarm(void);

#endif
