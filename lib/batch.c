/*
 * A place for each worker, and one word that says who is at work.
 *
 * The state of a place is one word that its owner waits on (futex): turn, taker
 * and state. Only these exchanges are made of it, each from the very word that
 * was seen:
 *
 *   FREE     -> WAITING   owner: bytes are there; the next turn
 *   WAITING  -> TAKEN     who is at work, whose place is then in the word
 *   WAITING  -> FREE      owner: out of patience; it surely did not happen
 *   TAKEN    -> ANSWERED  who is at work: the answer is there
 *   TAKEN    -> LEFT      owner: out of time
 *   TAKEN    -> LOST      whoever finds out that its taker is dead
 *   LEFT     -> FREE      the taker, or the owner when the taker is dead
 *   ANSWERED, LOST -> FREE  owner
 *
 * A place in TAKEN or LEFT is its taker's as long as he lives: nobody else
 * answers it, and no new turn of it begins. Who he is, the word itself says; so
 * of two who want to take it, the one that comes late leaves no trace.
 *
 * `worker` is the place of who is at work, and a count, so that it is never the
 * same twice: to get to work is one exchange. Who is dead is relieved by the
 * next one who looks: waits are short, and a wake-up that was lost with a
 * process is made good by the clock.
 *
 * A process is known by its place, and a place has the pid of its process. To
 * see whether a taker is dead: first his word, then the pid, then the exchange
 * from that word. A process that comes to a place later buries there what the
 * one before had taken, and only then writes its pid.
 *
 * Who is slow or stopped keeps what he has taken; others go on alone meanwhile,
 * and after RELIEVE_MS somebody is at work in his place. Two at work do no
 * harm: each place is taken once.
 */
#include "config.h"

#include "batch.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* How long a wait is before somebody looks whether all are alive. */
#define LOOK_MS 10
#define RELIEVE_MS 1000
#define STATE_BITS 3
#define STATE_MASK ((1u << STATE_BITS) - 1)
#define TAKER_BITS 9
#define TAKER_MASK ((1u << TAKER_BITS) - 1)
#define TURN_SHIFT (STATE_BITS + TAKER_BITS)
/* Of `worker`: a place + 1, and the count above it. */
#define COUNT_SHIFT 32

_Static_assert(BATCH_PLACES <= 1 << TAKER_BITS, "a place fits into a word");

enum state { FREE = 0, WAITING, TAKEN, ANSWERED, LOST, LEFT };

struct place {
	size_t len;
	struct batch_answer answer;
	unsigned char bytes[BATCH_BYTES_MAX];
};

struct batch {
	_Atomic uint64_t worker;
	_Atomic int64_t since_ms; /* monotonic: he began then */
	_Atomic uint64_t items, times;
	_Atomic uint32_t states[BATCH_PLACES]; /* together: they are scanned */
	_Atomic int pids[BATCH_PLACES];
	struct place places[BATCH_PLACES];
};

/* ---- make and free ---- */

enum sgate_status
batch_create(struct batch **out, struct sgate_error *err)
{
	void *memory = mmap(NULL, sizeof(struct batch), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	*out = NULL;
	error_clear(err);
	if (memory == MAP_FAILED)
		return error_memory(err, "batch");
	*out = memory;
	return SGATE_OK;
}

void
batch_close(struct batch *batch)
{
	if (batch != NULL)
		munmap(batch, sizeof(*batch));
}

void
batch_counts(
    const struct batch *batch, uint64_t *out_items, uint64_t *out_times)
{
	*out_items = atomic_load_explicit(&batch->items, memory_order_relaxed);
	*out_times = atomic_load_explicit(&batch->times, memory_order_relaxed);
}

/* ---- words ---- */

static enum state
state_of(uint32_t word)
{
	return (enum state)(word & STATE_MASK);
}

static unsigned
taker_of(uint32_t word)
{
	return (word >> STATE_BITS) & TAKER_MASK;
}

static uint32_t
make_word(uint32_t turn, unsigned taker, enum state state)
{
	return turn << TURN_SHIFT | taker << STATE_BITS | (uint32_t)state;
}

/* The same turn and taker. */
static uint32_t
with_state(uint32_t word, enum state state)
{
	return (word & ~STATE_MASK) | (uint32_t)state;
}

/* False: it has changed. */
static bool
move_state(struct batch *batch, unsigned place, uint32_t word, enum state to)
{
	return atomic_compare_exchange_strong(
	    &batch->states[place], &word, with_state(word, to));
}

static void
wait_for_change(
    struct batch *batch, unsigned place, uint32_t word, int64_t until_ms)
{
	int left_ms = clock_left_ms(until_ms);
	struct timespec timeout;

	if (left_ms > LOOK_MS)
		left_ms = LOOK_MS;
	timeout.tv_sec = 0;
	timeout.tv_nsec = left_ms * 1000000L;
	syscall(SYS_futex, &batch->states[place], FUTEX_WAIT, word, &timeout,
	    NULL, 0);
}

static void
wake(struct batch *batch, unsigned place)
{
	syscall(SYS_futex, &batch->states[place], FUTEX_WAKE, INT_MAX, NULL,
	    NULL, 0);
}

static bool
is_dead(int pid)
{
	return pid > 0 && kill(pid, 0) != 0 && errno == ESRCH;
}

/* ---- who is at work ---- */

static bool
is_at_work(uint64_t worker)
{
	return (uint32_t)worker != 0;
}

bool
batch_is_busy(const struct batch *batch)
{
	return is_at_work(atomic_load(&batch->worker));
}

static unsigned
place_of(uint64_t worker)
{
	return ((uint32_t)worker - 1) % BATCH_PLACES;
}

static uint64_t
nobody_after(uint64_t worker)
{
	return worker >> COUNT_SHIFT << COUNT_SHIFT;
}

static bool
is_place_dead(const struct batch *batch, unsigned place)
{
	return is_dead(atomic_load(&batch->pids[place]));
}

/* What he had taken may have happened, or not. is_gone: the caller knows. */
static void
bury(struct batch *batch, unsigned taker, bool is_gone)
{
	unsigned place;
	uint32_t word;

	for (place = 0; place < BATCH_PLACES; place++) {
		word = atomic_load(&batch->states[place]);
		if (taker_of(word) != taker ||
		    (state_of(word) != TAKEN && state_of(word) != LEFT) ||
		    !(is_gone || is_place_dead(batch, taker)))
			continue;
		if (state_of(word) == LEFT)
			move_state(batch, place, word, FREE);
		else if (move_state(batch, place, word, LOST))
			wake(batch, place);
	}
}

/* The first time that a process comes to its place. */
static void
settle_in(struct batch *batch, unsigned place)
{
	uint64_t worker = atomic_load(&batch->worker);
	int pid = getpid();

	if (atomic_load(&batch->pids[place]) == pid)
		return;
	bury(batch, place, true);
	if ((uint32_t)worker == place + 1)
		atomic_compare_exchange_strong(
		    &batch->worker, &worker, nobody_after(worker));
	atomic_store(&batch->pids[place], pid);
}

/* 0: somebody else was faster. */
static uint64_t
begin_work(struct batch *batch, unsigned own, uint64_t seen)
{
	uint64_t mine = ((seen >> COUNT_SHIFT) + 1) << COUNT_SHIFT | (own + 1);

	if (!atomic_compare_exchange_strong(&batch->worker, &seen, mine))
		return 0;
	atomic_store(&batch->since_ms, clock_monotonic_ms());
	return mine;
}

static int64_t
busy_ms(const struct batch *batch)
{
	return clock_monotonic_ms() - atomic_load(&batch->since_ms);
}

/* What end_work() needs; 0: somebody is at work. */
static uint64_t
try_work(struct batch *batch, unsigned own)
{
	uint64_t seen = atomic_load(&batch->worker), mine;
	unsigned other = place_of(seen);
	bool was_dead = is_at_work(seen) && is_place_dead(batch, other);

	if (is_at_work(seen) && !was_dead && busy_ms(batch) < RELIEVE_MS)
		return 0;
	mine = begin_work(batch, own, seen);
	if (mine != 0 && was_dead)
		bury(batch, other, false);
	return mine;
}

/* The word of what was taken; 0: it was not. */
static uint32_t
take(struct batch *batch, unsigned place, unsigned own, struct batch_item *item)
{
	struct place *at = &batch->places[place];
	uint32_t word = atomic_load(&batch->states[place]);
	uint32_t taken = make_word(word >> TURN_SHIFT, own, TAKEN);

	if (state_of(word) != WAITING)
		return 0;
	failpoint("batch-take");
	if (!atomic_compare_exchange_strong(
		&batch->states[place], &word, taken))
		return 0;
	memset(item, 0, sizeof(*item));
	item->bytes = at->bytes;
	item->len = at->len < BATCH_BYTES_MAX ? at->len : BATCH_BYTES_MAX;
	item->answer.status = SGATE_UNAVAILABLE;
	item->answer.is_alone = true;
	return taken;
}

/* Whoever waits now is the next one at work. */
static void
end_work(struct batch *batch, uint64_t mine, unsigned after)
{
	unsigned i, place;

	atomic_compare_exchange_strong(
	    &batch->worker, &mine, nobody_after(mine));
	for (i = 1; i <= BATCH_PLACES; i++) {
		place = (after + i) % BATCH_PLACES;
		if (state_of(atomic_load(&batch->states[place])) == WAITING) {
			wake(batch, place);
			return;
		}
	}
}

/*
 * word: as it was taken. In that turn the answer is its taker's to write,
 * whether its owner still waits or has left; in any other turn nothing is.
 */
static void
answer(struct batch *batch, unsigned place, uint32_t word,
    const struct batch_answer *answer)
{
	uint32_t now = atomic_load(&batch->states[place]);

	if (now != word && now != with_state(word, LEFT))
		return;
	batch->places[place].answer = *answer;
	if (!move_state(batch, place, word, ANSWERED))
		move_state(batch, place, with_state(word, LEFT), FREE);
}

struct taken {
	unsigned place;
	uint32_t word;
};

static bool
take_one(struct batch *batch, unsigned place, unsigned own,
    struct taken *out_taken, struct batch_item *out_item)
{
	out_taken->place = place;
	out_taken->word = take(batch, place, own, out_item);
	return out_taken->word != 0;
}

static void
do_items(struct batch *batch, struct batch_item *items, size_t count,
    batch_fn *fn, void *arg)
{
	failpoint("batch-taken");
	fn(arg, items, count);
	failpoint("batch-done");
	atomic_fetch_add_explicit(&batch->items, count, memory_order_relaxed);
	atomic_fetch_add_explicit(&batch->times, 1, memory_order_relaxed);
}

/* As many as there is room for. */
static unsigned
take_others(struct batch *batch, unsigned own, struct taken *taken,
    struct batch_item *items, size_t room)
{
	unsigned i, count = 0;

	for (i = 1; i < BATCH_PLACES && count < room; i++) {
		if (take_one(batch, (own + i) % BATCH_PLACES, own,
			&taken[count], &items[count]))
			count++;
	}
	return count;
}

static void
answer_all(struct batch *batch, const struct taken *taken,
    const struct batch_item *items, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++)
		answer(batch, taken[i].place, taken[i].word, &items[i].answer);
}

static void
wake_all(struct batch *batch, const struct taken *taken, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++)
		wake(batch, taken[i].place);
}

static void
work(struct batch *batch, uint64_t mine, unsigned own, batch_fn *fn, void *arg)
{
	struct batch_item items[BATCH_ITEMS_MAX];
	struct taken taken[BATCH_ITEMS_MAX];
	unsigned count = 0;

	/* Unless the one before has just done it. */
	if (take_one(batch, own, own, &taken[0], &items[0])) {
		count = 1 + take_others(batch, own, &taken[1], &items[1],
				BATCH_ITEMS_MAX - 1);
		do_items(batch, items, count, fn, arg);
	}
	answer_all(batch, taken, items, count);
	/* First, so that the next commit begins. */
	end_work(batch, mine, own);
	if (count > 1)
		wake_all(batch, &taken[1], count - 1);
}

void
batch_do_own(struct batch *batch, unsigned place, struct batch_item *own,
    size_t own_count, batch_fn *fn, void *arg)
{
	struct batch_item items[BATCH_ITEMS_MAX];
	struct taken taken[BATCH_ITEMS_MAX];
	unsigned count = 0;
	uint64_t mine = 0;

	if (own_count > BATCH_ITEMS_MAX)
		own_count = BATCH_ITEMS_MAX;
	memcpy(items, own, own_count * sizeof(items[0]));
	if (place < BATCH_PLACES) {
		settle_in(batch, place);
		mine = try_work(batch, place);
	}
	if (mine != 0)
		count = take_others(batch, place, taken, &items[own_count],
		    BATCH_ITEMS_MAX - own_count);
	do_items(batch, items, own_count + count, fn, arg);
	memcpy(own, items, own_count * sizeof(items[0]));
	answer_all(batch, taken, &items[own_count], count);
	if (mine != 0)
		end_work(batch, mine, place);
	wake_all(batch, taken, count);
}

/* ---- the owner's side ---- */

void
batch_enter(struct batch *batch, unsigned place)
{
	uint32_t word;
	bool is_done = false;

	if (place >= BATCH_PLACES)
		return;
	settle_in(batch, place);
	/* Left to whoever has taken it: he frees it, or he is buried. */
	while (!is_done) {
		word = atomic_load(&batch->states[place]);
		is_done = state_of(word) == LEFT ||
			  move_state(batch, place, word,
			      state_of(word) == TAKEN ? LEFT : FREE);
	}
}

/* Whether he has been at it for so long that nobody should wait for him. One
 * who is dead is waited for by nobody: he is relieved. */
static bool
is_stuck(const struct batch *batch)
{
	uint64_t worker = atomic_load(&batch->worker);

	return is_at_work(worker) && busy_ms(batch) > BATCH_PATIENCE_MS &&
	       busy_ms(batch) < RELIEVE_MS &&
	       !is_place_dead(batch, place_of(worker));
}

static bool
is_free(struct batch *batch, unsigned place)
{
	uint32_t word = atomic_load(&batch->states[place]);

	if (state_of(word) == LEFT && is_place_dead(batch, taker_of(word)))
		move_state(batch, place, word, FREE);
	return state_of(atomic_load(&batch->states[place])) == FREE;
}

static void
put_in(struct batch *batch, unsigned place, const void *bytes, size_t len)
{
	struct place *at = &batch->places[place];
	uint32_t word = atomic_load(&batch->states[place]);

	memcpy(at->bytes, bytes, len);
	at->len = len;
	atomic_store(&batch->states[place],
	    make_word((word >> TURN_SHIFT) + 1, 0, WAITING));
}

/* Its taker is dead, and nobody has come to bury him. */
static void
look_at_taker(struct batch *batch, unsigned place, uint32_t word)
{
	if (state_of(word) == TAKEN && is_place_dead(batch, taker_of(word)))
		move_state(batch, place, word, LOST);
}

enum sgate_status
batch_do(struct batch *batch, unsigned place, const void *bytes, size_t len,
    int64_t until_ms, batch_fn *fn, void *arg, struct batch_answer *out)
{
	int64_t patient_ms = clock_monotonic_ms() + BATCH_PATIENCE_MS;
	uint64_t mine;
	uint32_t word;

	memset(out, 0, sizeof(*out));
	out->is_alone = true;
	if (place >= BATCH_PLACES || len > BATCH_BYTES_MAX)
		return SGATE_OK;
	settle_in(batch, place);
	if (is_stuck(batch) || !is_free(batch, place))
		return SGATE_OK;
	if (patient_ms > until_ms)
		patient_ms = until_ms;
	put_in(batch, place, bytes, len);
	for (;;) {
		word = atomic_load(&batch->states[place]);
		switch (state_of(word)) {
		case WAITING:
			mine = try_work(batch, place);
			if (mine != 0)
				work(batch, mine, place, fn, arg);
			else if (clock_left_ms(patient_ms) > 0)
				wait_for_change(batch, place, word, patient_ms);
			else if (move_state(batch, place, word, FREE))
				return SGATE_OK;
			break;
		case TAKEN:
			look_at_taker(batch, place, word);
			if (clock_left_ms(until_ms) > 0)
				wait_for_change(batch, place, word, until_ms);
			else if (move_state(batch, place, word, LEFT))
				return SGATE_UNCERTAIN;
			break;
		case ANSWERED:
			*out = batch->places[place].answer;
			move_state(batch, place, word, FREE);
			return SGATE_OK;
		case FREE:
		case LOST:
		case LEFT:
			move_state(batch, place, word, FREE);
			return SGATE_UNCERTAIN;
		}
	}
}
