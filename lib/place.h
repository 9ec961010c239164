/*
 * Where a store is, where that can change: the address of the server that is
 * the primary now. One writer (the keeper; a manager that is alone) finds out,
 * everybody on the host reads, so that nobody has to try servers that are dead.
 * In shared memory, beside the breakers.
 *
 * There are two slots, and the generation tells which one counts. The writer
 * fills the other one and then raises the generation: a writer that is killed
 * in between has changed nothing. A reader that was overtaken reads again.
 *
 * It says where to look, never what to believe.
 */
#ifndef SESSGATE_PLACE_H
#define SESSGATE_PLACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct place_address {
	unsigned char address[16];
	size_t len; /* 4 or 16; 0: none is known */
	unsigned port;
	/* What the server calls itself, for the driver; 0: it has no name. */
	uint64_t who;
};

/* Zeros: none is known. */
struct place {
	_Atomic uint64_t generation;
	_Atomic uint64_t slots[2][4];
	/* For the driver, whose writer alone reads and writes it: how far the
	 * data of the one in use has come. */
	_Atomic uint64_t mark;
};

/* *out_generation is another after each change. False: none is known; then
 * out->who is what was written with that. */
bool place_get(const struct place *place, struct place_address *out,
    uint64_t *out_generation);
/* NULL or len 0: none is known. True: it is another one than before. */
bool place_set(struct place *place, const struct place_address *address);
bool place_equal(const struct place_address *a, const struct place_address *b);

/* "10.0.0.1:6379", "[2001:db8::1]:6379". */
#define PLACE_TEXT_MAX 56
void place_text(
    const struct place_address *address, char out[PLACE_TEXT_MAX + 1]);

#endif
