/*
 * The words of a breaker, from the highest bit down:
 *
 *   word      state 2, generation 20, monotonic ms of the state 42
 *   probe     generation 12, good answers 4, step of the back-off 6, ms 42
 *   failures  the last moment 32, the one before 32 (0 = none)
 *   answers   second 24, quarters with a slow answer 4, slow 16, all 20
 *
 * Only `word` says what a breaker is. The others are hints: probe is of its
 * generation or counts as not written yet, so that opening is one exchange and
 * nothing has to be set before or after it; the rest may be lost or mixed up by
 * a process that dies, which costs an answer more or less.
 */
#include "config.h"

#include "breaker.h"

#include "failpoint.h"

#define MS_BITS 42
#define MS_MASK ((UINT64_C(1) << MS_BITS) - 1)
#define GENERATION_MASK UINT32_C(0xfffff)
#define PROBE_GENERATION_MASK UINT32_C(0xfff)
#define STEP_MAX 63
#define GOOD_MAX 15
#define QUARTER_MS 250
#define ALL_QUARTERS 0xfu
#define SECOND_MASK UINT64_C(0xffffff)
#define SLOW_MAX 0xffffu
#define ANSWERS_MAX 0xfffffu

struct word {
	enum breaker_state state;
	uint32_t generation;
	int64_t since_ms; /* 0: closed, and not seen up yet */
};

static struct word
unpack_word(uint64_t bits)
{
	struct word word = {
	    .state = (enum breaker_state)(bits >> 62),
	    .generation = (uint32_t)(bits >> MS_BITS) & GENERATION_MASK,
	    .since_ms = (int64_t)(bits & MS_MASK),
	};

	return word;
}

static uint64_t
pack_word(enum breaker_state state, uint32_t generation, int64_t since_ms)
{
	uint64_t ms = since_ms > 0 ? (uint64_t)since_ms & MS_MASK : 1;

	return (uint64_t)state << 62 |
	       (uint64_t)(generation & GENERATION_MASK) << MS_BITS | ms;
}

/* False: somebody else was first, whatever he made of it. */
static bool
become(struct breaker *b, uint64_t from, enum breaker_state state,
    uint32_t generation, int64_t now_ms)
{
	return atomic_compare_exchange_strong(
	    &b->word, &from, pack_word(state, generation, now_ms));
}

enum breaker_state
breaker_state(const struct breaker *b)
{
	return unpack_word(atomic_load(&b->word)).state;
}

const char *
breaker_state_text(const struct breaker *b)
{
	switch (breaker_state(b)) {
	case BREAKER_OPEN:
		return "open";
	case BREAKER_HALF:
		return "half";
	case BREAKER_CLOSED:
		break;
	}
	return "closed";
}

bool
breaker_is_open(const struct breaker *b)
{
	return breaker_state(b) != BREAKER_CLOSED;
}

uint32_t
breaker_generation(const struct breaker *b)
{
	return unpack_word(atomic_load(&b->word)).generation;
}

int64_t
breaker_since_ms(const struct breaker *b)
{
	return unpack_word(atomic_load(&b->word)).since_ms;
}

int64_t
breaker_up_for_ms(const struct breaker *b, int64_t now_ms)
{
	struct word word = unpack_word(atomic_load(&b->word));

	if (word.state != BREAKER_CLOSED || word.since_ms == 0)
		return 0;
	return now_ms > word.since_ms ? now_ms - word.since_ms : 1;
}

bool
breaker_is_settled(const struct breaker *b, int64_t now_ms)
{
	struct word word = unpack_word(atomic_load(&b->word));

	return word.state == BREAKER_CLOSED &&
	       (word.generation == 0 ||
		   now_ms - word.since_ms >= BREAKER_SETTLED_MS);
}

int64_t
breaker_turn_left_ms(const struct breaker *b, int64_t turn_ms, int64_t now_ms)
{
	struct word word = unpack_word(atomic_load(&b->word));
	int64_t left_ms = word.since_ms + turn_ms - now_ms;

	return word.state != BREAKER_CLOSED || left_ms < 0 ? 0 : left_ms;
}

bool
breaker_open(struct breaker *b, int64_t now_ms)
{
	uint64_t bits = atomic_load(&b->word);
	struct word word = unpack_word(bits);

	if (failpoint_is_off("breaker"))
		return false;
	while (word.state != BREAKER_OPEN) {
		if (become(
			b, bits, BREAKER_OPEN, word.generation + 1, now_ms)) {
			atomic_fetch_add(&b->opened, 1);
			return true;
		}
		bits = atomic_load(&b->word);
		word = unpack_word(bits);
	}
	return false;
}

void
breaker_close(struct breaker *b, int64_t now_ms)
{
	atomic_store(&b->failures, 0);
	atomic_store(
	    &b->word, pack_word(BREAKER_CLOSED, breaker_generation(b), now_ms));
}

/* ---- probes ---- */

struct probe {
	unsigned good; /* answers in a row */
	unsigned step;
	int64_t due_ms;
};

/* 0.7 to 1.3 of it: of the same word the same for everybody on this host, of
 * another host's, which began at another millisecond, another. */
static int64_t
spread(int64_t ms, uint64_t seed)
{
	seed ^= seed >> 33;
	seed *= UINT64_C(0xff51afd7ed558ccd);
	seed ^= seed >> 33;
	seed *= UINT64_C(0xc4ceb9fe1a85ec53);
	seed ^= seed >> 33;
	return ms * (70 + (int64_t)(seed % 61)) / 100;
}

static int64_t
pause_ms(unsigned step, uint64_t seed)
{
	int64_t ms = BREAKER_PROBE_MIN_MS;

	while (step-- > 0 && ms < BREAKER_PROBE_MAX_MS)
		ms *= 2;
	return spread(
	    ms < BREAKER_PROBE_MAX_MS ? ms : BREAKER_PROBE_MAX_MS, seed);
}

static struct probe
unpack_probe(uint64_t bits, const struct word *word)
{
	struct probe probe = {.good = 0, .step = 0};

	if (bits >> 52 == (word->generation & PROBE_GENERATION_MASK)) {
		probe.good = (unsigned)(bits >> 48) & GOOD_MAX;
		probe.step = (unsigned)(bits >> MS_BITS) & STEP_MAX;
		probe.due_ms = (int64_t)(bits & MS_MASK);
	}
	/* One of 4,096 generations ago is not of this outage either. */
	if (probe.due_ms < word->since_ms) {
		probe = (struct probe){.good = 0, .step = 0};
		probe.due_ms =
		    word->since_ms +
		    pause_ms(0, (uint64_t)word->since_ms + word->generation);
	}
	return probe;
}

static bool
set_probe(struct breaker *b, uint64_t from, const struct word *word,
    const struct probe *probe)
{
	uint64_t bits =
	    (uint64_t)(word->generation & PROBE_GENERATION_MASK) << 52 |
	    (uint64_t)(probe->good < GOOD_MAX ? probe->good : GOOD_MAX) << 48 |
	    (uint64_t)(probe->step < STEP_MAX ? probe->step : STEP_MAX)
		<< MS_BITS |
	    ((uint64_t)probe->due_ms & MS_MASK);

	return atomic_compare_exchange_strong(&b->probe, &from, bits);
}

/* Of many that find it due, one goes; if it dies the next one is due later. */
static bool
take_probe(struct breaker *b, const struct word *word, int64_t patience_ms,
    int64_t now_ms)
{
	uint64_t bits = atomic_load(&b->probe);
	struct probe probe = unpack_probe(bits, word);

	if (now_ms < probe.due_ms + patience_ms)
		return false;
	probe.step++;
	probe.due_ms =
	    now_ms + pause_ms(probe.step, (uint64_t)now_ms + word->generation);
	return set_probe(b, bits, word, &probe);
}

static void
end_probe(struct breaker *b, uint64_t word_bits, bool is_good, int64_t now_ms)
{
	struct word word = unpack_word(word_bits);
	uint64_t bits = atomic_load(&b->probe);
	struct probe probe = unpack_probe(bits, &word);

	if (!is_good && probe.good == 0)
		return;
	probe.good = is_good ? probe.good + 1 : 0;
	if (probe.good >= BREAKER_PROBES) {
		become(b, word_bits, BREAKER_HALF, word.generation, now_ms);
		return;
	}
	if (is_good) {
		probe.step = 0;
		probe.due_ms = now_ms + pause_ms(0, (uint64_t)now_ms);
	}
	set_probe(b, bits, &word, &probe);
}

/* ---- whether to ask ---- */

enum breaker_leave
breaker_lets(struct breaker *b, enum breaker_asker asker, int64_t now_ms)
{
	uint64_t bits = atomic_load(&b->word);
	struct word word = unpack_word(bits);

	switch (word.state) {
	case BREAKER_CLOSED:
		break;
	case BREAKER_OPEN:
		return take_probe(b, &word,
			   asker == BREAKER_PROBER ? 0 : BREAKER_ORPHAN_MS,
			   now_ms)
			   ? BREAKER_PROBE
			   : BREAKER_SKIP;
	case BREAKER_HALF:
		if (now_ms - word.since_ms >= BREAKER_HALF_MS) {
			become(
			    b, bits, BREAKER_CLOSED, word.generation, now_ms);
			break;
		}
		if (asker == BREAKER_CALLER &&
		    atomic_fetch_add(&b->asked_in_half, 1) %
			    BREAKER_HALF_ONE_OF !=
			0)
			return BREAKER_SKIP;
		break;
	}
	return BREAKER_ASK;
}

int64_t
breaker_next_ms(const struct breaker *b, int64_t now_ms)
{
	struct word word = unpack_word(atomic_load(&b->word));
	uint64_t failures = atomic_load(&b->failures);
	int32_t ago_ms =
	    (int32_t)((uint32_t)now_ms - (uint32_t)(failures >> 32));

	if (word.state == BREAKER_OPEN)
		return unpack_probe(atomic_load(&b->probe), &word).due_ms;
	if (word.state == BREAKER_HALF)
		return word.since_ms + BREAKER_HALF_MS;
	if (failures != 0 && ago_ms < BREAKER_PROBE_MAX_MS)
		return now_ms - ago_ms + BREAKER_PROBE_MIN_MS;
	return INT64_MAX;
}

/* ---- what came of it ---- */

/* Whether it is the third within the window. */
static bool
is_last_failure(struct breaker *b, int64_t window_ms, int64_t now_ms)
{
	uint32_t now = (uint32_t)now_ms != 0 ? (uint32_t)now_ms : 1;
	uint64_t before = atomic_load(&b->failures);
	uint32_t oldest;

	do {
		oldest = (uint32_t)before;
		if (oldest != 0 && (int32_t)(now - oldest) <= window_ms)
			return true;
	} while (!atomic_compare_exchange_weak(
	    &b->failures, &before, (uint64_t)now << 32 | before >> 32));
	return false;
}

bool
breaker_failed(struct breaker *b, uint32_t generation, bool is_certain,
    int64_t window_ms, int64_t now_ms)
{
	uint64_t bits = atomic_load(&b->word);
	struct word word = unpack_word(bits);

	if (generation != word.generation)
		return false;
	if (word.state == BREAKER_OPEN) {
		end_probe(b, bits, false, now_ms);
		return false;
	}
	if (!is_certain && word.state == BREAKER_CLOSED &&
	    !is_last_failure(b, window_ms, now_ms))
		return false;
	atomic_store(&b->failures, 0);
	return breaker_open(b, now_ms);
}

/*
 * Whether the store has been slow for all of a second: some slow answer in each
 * quarter of it, which no moment's stand-still of this host makes.
 */
static bool
count_answer(struct breaker *b, bool is_slow, int64_t now_ms)
{
	uint64_t second = (uint64_t)now_ms / 1000 & SECOND_MASK;
	unsigned quarter = 1u << (uint64_t)now_ms % 1000 / QUARTER_MS;
	uint64_t before = atomic_load(&b->answers), after;
	unsigned quarters, slow, all;

	do {
		quarters = slow = all = 0;
		if (before >> 40 == second) {
			quarters = (unsigned)(before >> 36) & ALL_QUARTERS;
			slow = (unsigned)(before >> 20) & SLOW_MAX;
			all = (unsigned)before & ANSWERS_MAX;
		}
		if (all < ANSWERS_MAX)
			all++;
		if (is_slow && slow < SLOW_MAX)
			slow++;
		if (is_slow)
			quarters |= quarter;
		after = second << 40 | (uint64_t)quarters << 36 |
			(uint64_t)slow << 20 | all;
	} while (!atomic_compare_exchange_weak(&b->answers, &before, after));
	return is_slow && quarters == ALL_QUARTERS &&
	       slow >= BREAKER_SLOW_MIN && (uint64_t)slow * 100 > all;
}

void
breaker_succeeded(struct breaker *b, uint32_t generation,
    enum breaker_pace pace, int64_t now_ms)
{
	uint64_t bits = atomic_load(&b->word);
	struct word word = unpack_word(bits);

	if (generation != word.generation)
		return;
	if (word.state == BREAKER_OPEN) {
		end_probe(b, bits, pace != BREAKER_SLOW, now_ms);
		return;
	}
	if (word.since_ms == 0)
		become(b, bits, BREAKER_CLOSED, word.generation, now_ms);
	if (pace != BREAKER_UNTIMED &&
	    count_answer(b, pace == BREAKER_SLOW, now_ms) &&
	    !failpoint_is_off("breaker-slow"))
		breaker_open(b, now_ms);
}
