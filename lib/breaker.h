/*
 * A breaker: whether a store is worth asking. One a store and host, in shared
 * memory, so that a store that hangs costs a few time-outs a host and not one a
 * request. It says where we look, never what we believe.
 *
 * | state  | who asks             | becomes                                  |
 * | CLOSED | everybody            | OPEN: 3 failures within a second, or one |
 * |        |                      | that is certain (refused); slow answers  |
 * |        |                      | in every quarter of a second, 10 of them |
 * |        |                      | and 1 % of all                           |
 * | OPEN   | who takes the probe: | HALF: two good answers in a row          |
 * |        | the keeper when one  |                                          |
 * |        | is due; anybody when |                                          |
 * |        | it is a second late  |                                          |
 * | HALF   | one of 8; all who    | OPEN: a failure, or slow as above;       |
 * |        | have no other store  | CLOSED: after a second, by whoever looks |
 * |        | to ask, or probe     |                                          |
 *
 * A probe is due 100 ms after the store was given up, then after twice that
 * each time up to a second, and 100 ms after a good one; all of it times 0.7 to
 * 1.3, so that hosts do not come together. With what two probes take and the
 * second of HALF, a store that is back is used again within three seconds; that
 * is why it is a second and not longer.
 *
 * State, generation and the moment of the state are one word, so no process
 * that dies leaves it half-way: whoever comes next goes on from the word alone.
 * Opening begins a new generation, and an answer counts only if it came over a
 * connection that was opened in the present one. So a late answer of a store
 * that was given up neither closes nor opens anything, and no connection of
 * before an outage is used after it, not in HALF either.
 *
 * Who probes: the keeper with its rounds, or a manager that has none.
 */
#ifndef SESSGATE_BREAKER_H
#define SESSGATE_BREAKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BREAKER_PROBE_MIN_MS 100
#define BREAKER_PROBE_MAX_MS 1000
#define BREAKER_PROBES 2
#define BREAKER_HALF_MS 1000
#define BREAKER_HALF_ONE_OF 8
/* A probe that nobody has taken for so long: who should is dead, or hangs. */
#define BREAKER_ORPHAN_MS 1000
#define BREAKER_SLOW_MIN 10

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF };

/* Zeros: closed, and not seen up yet. breaker.c has what the words hold. */
struct breaker {
	_Atomic uint64_t word;  /* state, generation, since when */
	_Atomic uint64_t probe; /* of that generation: when the next is due */
	_Atomic uint64_t failures; /* moments of the last two */
	_Atomic uint64_t answers;  /* of this second, and the slow ones */
	_Atomic uint64_t asked_in_half;
	_Atomic uint64_t opened; /* how often */
};

enum breaker_state breaker_state(const struct breaker *b);
/* "closed", "open", "half". */
const char *breaker_state_text(const struct breaker *b);
/* Open or half: not everybody may ask. */
bool breaker_is_open(const struct breaker *b);
uint32_t breaker_generation(const struct breaker *b);
/* Monotonic: since when it is what it is. */
int64_t breaker_since_ms(const struct breaker *b);

/* Who wants to ask. */
enum breaker_asker {
	BREAKER_CALLER, /* there is another store that can answer him */
	BREAKER_ALONE,  /* there is none */
	BREAKER_PROBER
};
/* Whether to ask now. */
enum breaker_leave {
	BREAKER_SKIP,
	BREAKER_ASK,
	BREAKER_PROBE /* over a connection that is made for it */
};
enum breaker_leave breaker_lets(
    struct breaker *b, enum breaker_asker asker, int64_t now_ms);
/*
 * When a prober should ask without having a reason of its own, monotonic: while
 * it is open, the next probe; closed, soon after a failure, because that of a
 * store that hangs comes alone where there are few requests. INT64_MAX: no need
 * to.
 */
int64_t breaker_next_ms(const struct breaker *b, int64_t now_ms);
/*
 * So that not all processes connect at once when it closes: how long one whose
 * turn is so long after that moment has to wait for it.
 */
int64_t breaker_turn_left_ms(
    const struct breaker *b, int64_t turn_ms, int64_t now_ms);

/* How an answer came. UNTIMED: what was asked may well take long. */
enum breaker_pace { BREAKER_UNTIMED, BREAKER_FAST, BREAKER_SLOW };
/* It answered; generation: of the connection. A slow answer is no good probe.
 */
void breaker_succeeded(struct breaker *b, uint32_t generation,
    enum breaker_pace pace, int64_t now_ms);
/* It did not. is_certain: open at once; else with the third within window_ms.
 * True: this opened it. */
bool breaker_failed(struct breaker *b, uint32_t generation, bool is_certain,
    int64_t window_ms, int64_t now_ms);
/* For how long it has been closed without a break: 0 = it is not. */
int64_t breaker_up_for_ms(const struct breaker *b, int64_t now_ms);
/*
 * Whether it has been closed for so long that what other hosts could not tell
 * the store during its last outage is there; or was never open here. They may
 * find it up a second and a half after us; what they have, they ship in HALF.
 */
#define BREAKER_SETTLED_MS 1000
bool breaker_is_settled(const struct breaker *b, int64_t now_ms);

/* Whatever was, as if nothing had been before. breaker_open(): true if it was
 * not open yet. */
bool breaker_open(struct breaker *b, int64_t now_ms);
void breaker_close(struct breaker *b, int64_t now_ms);

#endif
