/*
 * A breaker: whether a store is worth asking. One a store and host, in shared
 * memory, so that a store that hangs costs a few time-outs a host and not one a
 * request. It says where we look, never what we believe.
 *
 * Three failures in a row open it, or one that is certain (refused, or the
 * keeper's own); one success of the keeper closes it. While it is open only the
 * keeper asks, with every poll. Where there is no keeper (a library manager of
 * its own, or a keeper that hangs), one call in each BREAKER_RETRY_MS is let
 * through.
 */
#ifndef SESSGATE_BREAKER_H
#define SESSGATE_BREAKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FAILURES 3
#define BREAKER_RETRY_MS 1000

/* Zeros: closed. */
struct breaker {
	_Atomic int failures;          /* in a row */
	_Atomic int64_t open_since_ms; /* monotonic; 0 = closed */
	_Atomic int64_t up_since_ms;   /* monotonic; 0 = never seen up */
	_Atomic int64_t retry_at_ms;
	_Atomic uint64_t opened; /* how often */
};

bool breaker_is_open(const struct breaker *b);
/* Whether to ask now. has_keeper: somebody else finds out when it is back. */
bool breaker_lets(struct breaker *b, bool has_keeper, int64_t now_ms);
/* It answered. is_probe: the keeper, or where there is none. */
void breaker_succeeded(struct breaker *b, bool is_probe, int64_t now_ms);
/* It did not. is_certain: open at once. True: this opened it. */
bool breaker_failed(struct breaker *b, bool is_certain, int64_t now_ms);
/* For how long it has been up without a break: 0 = it is down. */
int64_t breaker_up_for_ms(const struct breaker *b, int64_t now_ms);

#endif
