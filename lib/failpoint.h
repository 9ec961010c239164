/*
 * Switches for tests: what happens when a mechanism is missing, and pauses at
 * the places where another process comes between. Without
 * `configure --enable-failpoints` all of them are constants that the compiler
 * removes.
 *
 * SESSGATE_FAILPOINTS="fence=off,put=pause:300,commit=kill" in the environment.
 * Names: the list in tests/README.md.
 */
#ifndef SESSGATE_FAILPOINT_H
#define SESSGATE_FAILPOINT_H

#include <stdbool.h>

#ifdef SESSGATE_FAILPOINTS
/* Whether the mechanism of that name is turned off. */
bool failpoint_is_off(const char *name);
/* Waits, or kills the process, if that place is told to. */
void failpoint(const char *name);
#else
#define failpoint_is_off(name) (false)
#define failpoint(name) ((void)0)
#endif

#endif
