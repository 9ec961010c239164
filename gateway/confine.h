/*
 * What the gateway's processes can never need is taken from them for good
 * (seccomp), so that a hole in one of them starts no program.
 */
#ifndef SESSGATE_CONFINE_H
#define SESSGATE_CONFINE_H

#include "sessgate.h"

/*
 * From here on this process and all it forks are killed (SIGSYS) when they
 * start a program, look into another process, load code into the kernel or
 * change what they see of the system; none gains rights by a set-uid file.
 * Call it when the last such thing has been done.
 *
 * SGATE_OK; SGATE_UNAVAILABLE: the kernel does not do that, nothing is changed.
 */
SGATE_MUST_CHECK enum sgate_status confine(struct sgate_error *err);

#endif
