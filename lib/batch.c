/*
 * A place for each worker, and one word that says who is at work.
 *
 * The state of a place is one word that its owner waits on (futex): turn and
 * state. Only these exchanges are made of it, each by one side:
 *
 *   FREE     -> WAITING   owner: bytes are there
 *   WAITING  -> TAKEN     who is at work (by: his pid, written before)
 *   WAITING  -> FREE      owner: out of patience; it surely did not happen
 *   TAKEN    -> ANSWERED  who is at work: the answer is there
 *   TAKEN    -> LEFT      owner: out of time
 *   TAKEN    -> LOST      whoever finds out that its taker is dead
 *   LEFT     -> FREE      the taker, or the owner when the taker is dead
 *   ANSWERED, LOST -> FREE  owner
 *
 * `worker` is the pid of who is at work, and a count, so that it is never the
 * same twice: to get to work is one exchange. Who is dead is relieved by the
 * next one who looks: waits are short, and a wake-up that was lost with a
 * process is made good by the clock. All that a dead one had taken is found by
 * its pid.
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
#define PID_BITS 32

enum state { FREE = 0, WAITING, TAKEN, ANSWERED, LOST, LEFT };

struct place {
	size_t len;
	_Atomic int by; /* the pid of its taker */
	struct batch_answer answer;
	unsigned char bytes[BATCH_BYTES_MAX];
};

struct batch {
	_Atomic uint64_t worker;
	_Atomic int64_t since_ms; /* monotonic: he began then */
	_Atomic uint64_t items, times;
	_Atomic uint32_t states[BATCH_PLACES]; /* together: they are scanned */
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

/* False: it has changed. */
static bool
move_state(struct batch *batch, unsigned place, uint32_t word, enum state to)
{
	return atomic_compare_exchange_strong(
	    &batch->states[place], &word, (word & ~STATE_MASK) | (uint32_t)to);
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

/* 0: somebody else was faster. */
static uint64_t
begin_work(struct batch *batch, uint64_t seen)
{
	uint64_t mine =
	    ((seen >> PID_BITS) + 1) << PID_BITS | (uint32_t)getpid();

	if (!atomic_compare_exchange_strong(&batch->worker, &seen, mine))
		return 0;
	atomic_store(&batch->since_ms, clock_monotonic_ms());
	return mine;
}

/* What he had taken may have happened, or not. */
static void
bury(struct batch *batch, int pid)
{
	unsigned place;
	uint32_t word;

	for (place = 0; place < BATCH_PLACES; place++) {
		word = atomic_load(&batch->states[place]);
		if (atomic_load(&batch->places[place].by) != pid)
			continue;
		if (state_of(word) == TAKEN &&
		    move_state(batch, place, word, LOST))
			wake(batch, place);
		else if (state_of(word) == LEFT)
			move_state(batch, place, word, FREE);
	}
}

static int64_t
busy_ms(const struct batch *batch)
{
	return clock_monotonic_ms() - atomic_load(&batch->since_ms);
}

/* What end_work() needs; 0: somebody is at work. */
static uint64_t
try_work(struct batch *batch)
{
	uint64_t seen = atomic_load(&batch->worker), mine;
	int pid = (int)(uint32_t)seen;
	bool was_dead = is_dead(pid);

	if (pid != 0 && !was_dead && busy_ms(batch) < RELIEVE_MS)
		return 0;
	mine = begin_work(batch, seen);
	if (mine != 0 && was_dead)
		bury(batch, pid);
	return mine;
}

static bool
take(struct batch *batch, unsigned place, struct batch_item *item)
{
	struct place *at = &batch->places[place];
	uint32_t word = atomic_load(&batch->states[place]);

	if (state_of(word) != WAITING)
		return false;
	/* Only who is at work writes it, and only he takes. */
	atomic_store(&at->by, getpid());
	if (!move_state(batch, place, word, TAKEN))
		return false;
	memset(item, 0, sizeof(*item));
	item->bytes = at->bytes;
	item->len = at->len < BATCH_BYTES_MAX ? at->len : BATCH_BYTES_MAX;
	item->answer.status = SGATE_UNAVAILABLE;
	item->answer.is_alone = true;
	return true;
}

/* Whoever waits now is the next one at work. */
static void
end_work(struct batch *batch, uint64_t mine, unsigned after)
{
	unsigned i, place;

	atomic_compare_exchange_strong(
	    &batch->worker, &mine, mine >> PID_BITS << PID_BITS);
	for (i = 1; i <= BATCH_PLACES; i++) {
		place = (after + i) % BATCH_PLACES;
		if (state_of(atomic_load(&batch->states[place])) == WAITING) {
			wake(batch, place);
			return;
		}
	}
}

static void
answer(struct batch *batch, unsigned place, const struct batch_answer *answer)
{
	uint32_t word = atomic_load(&batch->states[place]);

	batch->places[place].answer = *answer;
	if (state_of(word) == TAKEN && move_state(batch, place, word, ANSWERED))
		return;
	/* Its owner has left. */
	move_state(batch, place, atomic_load(&batch->states[place]), FREE);
}

static void
work(struct batch *batch, uint64_t mine, unsigned own, batch_fn *fn, void *arg)
{
	struct batch_item items[BATCH_ITEMS_MAX];
	unsigned places[BATCH_ITEMS_MAX];
	unsigned i, count = 0;

	/* Unless the one before has just done it. */
	if (take(batch, own, &items[0]))
		places[count++] = own;
	for (i = 1; i < BATCH_PLACES && count > 0 && count < BATCH_ITEMS_MAX;
	     i++) {
		places[count] = (own + i) % BATCH_PLACES;
		if (take(batch, places[count], &items[count]))
			count++;
	}
	if (count > 0) {
		failpoint("batch-taken");
		fn(arg, items, count);
		failpoint("batch-done");
		atomic_fetch_add_explicit(
		    &batch->items, count, memory_order_relaxed);
		atomic_fetch_add_explicit(
		    &batch->times, 1, memory_order_relaxed);
	}
	for (i = 0; i < count; i++)
		answer(batch, places[i], &items[i].answer);
	/* First, so that the next commit begins. */
	end_work(batch, mine, own);
	for (i = 1; i < count; i++)
		wake(batch, places[i]);
}

/* ---- the owner's side ---- */

void
batch_enter(struct batch *batch, unsigned place)
{
	uint32_t word;
	bool is_done = false;

	/* Left to whoever has taken it: he frees it, or he is buried. */
	while (!is_done) {
		word = atomic_load(&batch->states[place]);
		is_done = state_of(word) == LEFT ||
			  move_state(batch, place, word,
			      state_of(word) == TAKEN ? LEFT : FREE);
	}
}

/* Whether he has been at it for so long that nobody should wait for him. */
static bool
is_stuck(const struct batch *batch)
{
	return (uint32_t)atomic_load(&batch->worker) != 0 &&
	       busy_ms(batch) > BATCH_PATIENCE_MS &&
	       busy_ms(batch) < RELIEVE_MS;
}

static bool
is_free(struct batch *batch, unsigned place)
{
	uint32_t word = atomic_load(&batch->states[place]);

	if (state_of(word) == LEFT &&
	    is_dead(atomic_load(&batch->places[place].by)))
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
	    ((word >> STATE_BITS) + 1) << STATE_BITS | (uint32_t)WAITING);
}

/* Its taker is dead, and nobody has come to bury him. */
static void
look_at_taker(struct batch *batch, unsigned place, uint32_t word)
{
	if (state_of(word) == TAKEN &&
	    is_dead(atomic_load(&batch->places[place].by)))
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
	if (place >= BATCH_PLACES || len > BATCH_BYTES_MAX || is_stuck(batch) ||
	    !is_free(batch, place))
		return SGATE_OK;
	if (patient_ms > until_ms)
		patient_ms = until_ms;
	put_in(batch, place, bytes, len);
	for (;;) {
		word = atomic_load(&batch->states[place]);
		switch (state_of(word)) {
		case WAITING:
			mine = try_work(batch);
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
