/*
 * A durable store in memory, for tests: it fills the same table as the real
 * ones and passes the same contract test, and fails on command. One database
 * for the whole process; as many handles on it as you like.
 */
#ifndef TESTS_DURABLE_FAKE_H
#define TESTS_DURABLE_FAKE_H

#include "durable.h"

extern const struct durable_ops durable_fake;

/* An empty database, nothing counted, no script. Close all handles first. */
void fake_reset(bool has_schema);

enum fake_answer {
	FAKE_UNAVAILABLE,    /* nothing was done: it cannot be reached */
	FAKE_REFUSED,        /* nothing was done: it answered with an error */
	FAKE_UNCERTAIN_DONE, /* it was done, and is not known to be */
	FAKE_UNCERTAIN_LOST, /* it was not, and is not known not to be */
	FAKE_CORRUPT,
	FAKE_CONFLICT,
	FAKE_NO_MEMORY
};
/*
 * The nth call (1 is the next one) of an operation, by its name in struct
 * durable_ops, answers this. Up to 32 such rules; each is used once.
 */
void fake_script(const char *operation, unsigned nth, enum fake_answer answer);
/* Calls of an operation since fake_reset(). */
unsigned fake_calls(const char *operation);
/*
 * What snapshot and poll tell but for the counters: to be changed as a test
 * likes. fake_reset() sets it back; now_ms 0: the clock of this machine.
 */
struct fake_server {
	struct record_store store;
	uint64_t settings;
	int64_t now_ms;
	char ident[33];
};
struct fake_server *fake_server(void);
/* Whether no handle is in a transaction: what a test should find at its end. */
bool fake_is_idle(void);

#endif
