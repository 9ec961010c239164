/*
 * How often something comes from an address within a minute, counted together
 * by all processes that share the table: POST login, bad tokens.
 *
 * A fixed number of words, each an address (by a keyed hash), a minute and a
 * count, and nothing that is locked: who is killed at any place leaves a table
 * that is right. Where all places for an address are taken by others of the
 * same minute, the one that came least makes room: who comes from many
 * addresses gets his own counts forgotten, and nobody else refused.
 */
#ifndef SESSGATE_RATE_H
#define SESSGATE_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sessgate.h"

#define RATE_SETS 1024
#define RATE_WAYS 8
#define RATE_KEY_BYTES 16
/* More cannot be counted. */
#define RATE_MAX 1000000

struct rate_table {
	/* Nobody outside can choose an address that shares another's count. */
	unsigned char key[RATE_KEY_BYTES];
	_Atomic uint64_t words[RATE_SETS][RATE_WAYS];
};

/* Zeros become a table of no addresses. */
void rate_init(struct rate_table *table);
/*
 * Whether this is one of the first `max` from the address in this minute of
 * now_ms (a clock that is the same to all processes). Exactly so many get a
 * yes, in whatever processes, unless the address had to make room. An IPv6
 * address counts as its network of 64 bits, which is what one visitor has;
 * what is no address, as one and the same.
 */
bool rate_take(struct rate_table *table, struct sgate_bytes address,
    unsigned max, int64_t now_ms);
/* Seconds until the next minute begins, 1 at least. */
int rate_wait_s(int64_t now_ms);

#endif
