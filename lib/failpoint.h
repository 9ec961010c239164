/*
 * Places where tests make things go wrong, and switches that turn a mechanism
 * off. Without `configure --enable-failpoints` all of them are constants that
 * the compiler removes.
 *
 * SESSGATE_FAILPOINTS="fence=off,row-put=pause:300,durable-commit=kill:2" in
 * the environment. At a place: "pause:MS" waits, "kill" kills the process,
 * "error" makes the call that is there fail; with ":N" behind it only when this
 * process comes there for the N-th time. Names: the list in tests/README.md.
 */
#ifndef SESSGATE_FAILPOINT_H
#define SESSGATE_FAILPOINT_H

#include <stdbool.h>
#include <stddef.h>

#ifdef SESSGATE_FAILPOINTS
/* Whether the mechanism of that name is turned off. */
bool failpoint_is_off(const char *name);

struct failpoint {
	const char *name;
	unsigned long reached; /* how often, by this process */
};
/* Waits, or kills the process, if that place is told to. True: fail. */
bool failpoint_reach(struct failpoint *place);

/*
 * A place, whose name is a literal; true: what follows is to fail as it would
 * by itself. All places of a program stand in a section of their own, so that a
 * test can go through them.
 */
#define failpoint_fails(text)                                                  \
	__extension__({                                                        \
		static struct failpoint failpoint_place = {text, 0};           \
		static struct failpoint *const failpoint_listed                \
		    __attribute__((used, section("sg_failpoints"))) =          \
			&failpoint_place;                                      \
		failpoint_reach(&failpoint_place);                             \
	})
/* The same where nothing can fail. */
#define failpoint(text) ((void)failpoint_fails(text))

/* The places of this program, in no order; a name may stand there twice. */
size_t failpoint_count(void);
const struct failpoint *failpoint_get(size_t index);
/* As if this process had not been anywhere. */
void failpoint_reset(void);
#else
#define failpoint_is_off(name) (false)
#define failpoint_fails(name) (false)
#define failpoint(name) ((void)0)
#endif

#endif
