/* Creations that are gathered: batch.h, with processes that are killed. */
#include "config.h"

#include "tap.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch.h"
#include "clock.h"
#include "failpoint.h"
#include "status.h"

#define PROCESSES 6
#define ROUNDS 400
#define TIME_MS 10000

/* What the processes of a test share. */
struct common {
	_Atomic int at_work, most_at_work;
	_Atomic int done[PROCESSES][ROUNDS]; /* by whoever did it */
	_Atomic int answered[PROCESSES][ROUNDS];
	_Atomic int alone, uncertain;
	_Atomic int is_in, is_let; /* of a worker that waits */
};

struct world {
	struct batch *batch;
	struct common *common;
	int wait_us; /* of each transaction */
	int level;   /* of is_let that this process waits for */
};

struct number {
	int process, round;
};

static int
setup(void **state)
{
	static struct world w;
	struct sgate_error err;

	memset(&w, 0, sizeof(w));
	w.level = 1;
	assert_int_equal(batch_create(&w.batch, &err), SGATE_OK);
	w.common = mmap(NULL, sizeof(*w.common), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(w.common != MAP_FAILED);
	*state = &w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	batch_close(w->batch);
	munmap(w->common, sizeof(*w->common));
	return 0;
}

/* Answers each with the sum of its numbers. */
static void
do_all(void *arg, struct batch_item *items, size_t count)
{
	struct world *w = arg;
	int now = atomic_fetch_add(&w->common->at_work, 1) + 1;
	struct number number;
	size_t i;

	if (now > atomic_load(&w->common->most_at_work))
		atomic_store(&w->common->most_at_work, now);
	usleep((useconds_t)w->wait_us);
	for (i = 0; i < count; i++) {
		memcpy(&number, items[i].bytes, sizeof(number));
		atomic_fetch_add(
		    &w->common->done[number.process][number.round], 1);
		items[i].answer = (struct batch_answer){.status = SGATE_OK,
		    .put = number.process * ROUNDS + number.round};
	}
	atomic_fetch_sub(&w->common->at_work, 1);
}

/* Whether it was done by somebody in that time. */
static bool
ask_for(struct world *w, int process, int round, int ms, batch_fn *fn)
{
	struct number number = {process, round};
	struct batch_answer answer;
	enum sgate_status status = batch_do(w->batch, (unsigned)process,
	    &number, sizeof(number), clock_monotonic_ms() + ms, fn, w, &answer);

	if (status == SGATE_UNCERTAIN) {
		atomic_fetch_add(&w->common->uncertain, 1);
		return false;
	}
	if (status != SGATE_OK)
		_exit(7);
	if (answer.is_alone) {
		atomic_fetch_add(&w->common->alone, 1);
		return false;
	}
	if (answer.put != process * ROUNDS + round)
		_exit(8);
	atomic_store(&w->common->answered[process][round], 1);
	return true;
}

static bool
ask(struct world *w, int process, int round, batch_fn *fn)
{
	return ask_for(w, process, round, TIME_MS, fn);
}

static pid_t
start(struct world *w, int process, int rounds)
{
	pid_t pid = fork();
	int round;

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	alarm(60);
	batch_enter(w->batch, (unsigned)process);
	for (round = 0; round < rounds; round++)
		ask(w, process, round, do_all);
	_exit(0);
}

static void
wait_for(pid_t pid, int expected)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, expected);
}

static void
wait_until(const _Atomic int *word, int level)
{
	int64_t until_ms = clock_monotonic_ms() + TIME_MS;

	while (atomic_load(word) < level) {
		assert_true(clock_left_ms(until_ms) > 0);
		usleep(500);
	}
}

static void
one_that_is_alone_does_its_own(void **state)
{
	struct world *w = *state;
	uint64_t items, times;
	int round;

	for (round = 0; round < 10; round++)
		assert_true(ask(w, 3, round, do_all));
	batch_counts(w->batch, &items, &times);
	assert_int_equal(items, 10);
	assert_int_equal(times, 10);
}

static void
what_waits_is_done_together_and_once(void **state)
{
	struct world *w = *state;
	pid_t pids[PROCESSES];
	uint64_t items, times;
	int i, round;

	w->wait_us = 500;
	for (i = 0; i < PROCESSES; i++)
		pids[i] = start(w, i, ROUNDS);
	for (i = 0; i < PROCESSES; i++)
		wait_for(pids[i], 0);
	for (i = 0; i < PROCESSES; i++)
		for (round = 0; round < ROUNDS; round++)
			assert_int_equal(
			    atomic_load(&w->common->done[i][round]),
			    atomic_load(&w->common->answered[i][round]));
	assert_int_equal(atomic_load(&w->common->uncertain), 0);
	batch_counts(w->batch, &items, &times);
	assert_int_equal(items + (uint64_t)atomic_load(&w->common->alone),
	    PROCESSES * ROUNDS);
	assert_true(times < items);
}

/* In the middle of its work, until it is let go on. */
static void
do_and_wait(void *arg, struct batch_item *items, size_t count)
{
	struct world *w = arg;

	atomic_store(&w->common->is_in, (int)count);
	wait_until(&w->common->is_let, w->level);
	do_all(w, items, count);
}

static pid_t
start_waiting(struct world *w, int process)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0) {
		wait_until(&w->common->is_in, 1);
		return pid;
	}
	alarm(60);
	ask(w, process, 0, do_and_wait);
	_exit(0);
}

static void
the_next_one_goes_on_when_it_is_killed(void **state)
{
	struct world *w = *state;
	pid_t pid = start_waiting(w, 1);

	kill(pid, SIGKILL);
	wait_for(pid, SIGKILL);
	assert_true(ask(w, 2, 0, do_all));
	/* Its own place can be used again. */
	batch_enter(w->batch, 1);
	assert_true(ask(w, 1, 1, do_all));
}

/* When nobody would wait for one that is alive. */
static void
nobody_goes_alone_because_of_a_dead_one(void **state)
{
	struct world *w = *state;
	pid_t pid = start_waiting(w, 1);

	usleep(1000 * (BATCH_PATIENCE_MS + 20));
	kill(pid, SIGKILL);
	wait_for(pid, SIGKILL);
	assert_true(ask(w, 2, 0, do_all));
}

/* Lets the first go on when others wait, and kills the second with theirs. */
static void
release_and_kill(struct world *w, pid_t second)
{
	int64_t until_ms = clock_monotonic_ms() + 500;

	usleep(30000);
	atomic_store(&w->common->is_in, 0);
	atomic_store(&w->common->is_let, 1);
	while (
	    atomic_load(&w->common->is_in) == 0 && clock_left_ms(until_ms) > 0)
		usleep(500);
	kill(second, SIGKILL);
	_exit(0);
}

/*
 * The first is at work, the second and the caller wait; then the second takes
 * both, and is killed. Who is kept from its processor for too long goes alone.
 */
static bool
lose_one(struct world *w, int round)
{
	pid_t first = start_waiting(w, 1), second, third;
	int before = atomic_load(&w->common->uncertain);

	second = fork();
	if (second == 0) {
		alarm(60);
		w->level = 2;
		ask(w, 2, 0, do_and_wait);
		_exit(0);
	}
	third = fork();
	if (third == 0)
		release_and_kill(w, second);
	usleep(10000);
	if (!ask(w, 3, round, do_all) &&
	    atomic_load(&w->common->uncertain) > before)
		assert_int_equal(atomic_load(&w->common->done[3][round]), 0);
	kill(first, SIGKILL);
	kill(second, SIGKILL);
	waitpid(first, NULL, 0);
	waitpid(second, NULL, 0);
	waitpid(third, NULL, 0);
	atomic_store(&w->common->is_in, 0);
	atomic_store(&w->common->is_let, 0);
	return atomic_load(&w->common->uncertain) > before;
}

static void
what_a_dead_one_had_taken_is_uncertain(void **state)
{
	struct world *w = *state;
	int round = 0;

	while (!lose_one(w, round)) {
		assert_true(++round < 50);
		batch_enter(w->batch, 1);
		batch_enter(w->batch, 2);
	}
	/* And it goes on. */
	assert_true(ask(w, 3, 100, do_all));
}

static void
one_that_is_stopped_holds_nobody_up(void **state)
{
	struct world *w = *state;
	pid_t pid = start_waiting(w, 1);

	kill(pid, SIGSTOP);
	/* Nobody has taken it: it goes on alone, after some patience. */
	assert_false(ask(w, 2, 0, do_all));
	assert_int_equal(atomic_load(&w->common->alone), 1);
	/* And after a while he is relieved. */
	usleep(1100000);
	assert_true(ask(w, 2, 2, do_all));
	/* What he has in hand he answers when he wakes. */
	kill(pid, SIGCONT);
	atomic_store(&w->common->is_let, 1);
	wait_for(pid, 0);
	assert_int_equal(atomic_load(&w->common->answered[1][0]), 1);
	assert_true(ask(w, 2, 3, do_all));
}

/* Somebody's creation that waits, and nobody waits for it any more. */
static void
leave_one_waiting(struct world *w, int process)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		ask(w, process, 0, do_all);
		_exit(0);
	}
	/* Well within its patience. */
	usleep(30000);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Process 1 takes it, with its own, and does not go on. */
static pid_t
have_one_taken(struct world *w, int process)
{
	pid_t first = start_waiting(w, 2), pid;

	leave_one_waiting(w, process);
	kill(first, SIGKILL);
	assert_int_equal(waitpid(first, NULL, 0), first);
	batch_enter(w->batch, 2);
	atomic_store(&w->common->is_in, 0);
	pid = start_waiting(w, 1);
	return pid;
}

static void
what_a_slow_one_has_taken_is_his_until_he_answers(void **state)
{
	struct world *w = *state;
	pid_t pid;

	do {
		pid = have_one_taken(w, 3);
		/* Who was slow himself has had it back in time. */
	} while (atomic_load(&w->common->is_in) != 2 &&
		 kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	batch_enter(w->batch, 3);
	/* He is relieved; but no new one is put where he will answer. */
	usleep(1100000);
	assert_false(ask(w, 3, 1, do_all));
	assert_int_equal(atomic_load(&w->common->alone), 1);
	assert_true(ask(w, 2, 1, do_all));
	atomic_store(&w->common->is_let, 1);
	wait_for(pid, 0);
	assert_int_equal(atomic_load(&w->common->done[3][0]), 1);
	assert_true(ask(w, 3, 2, do_all));
	assert_int_equal(atomic_load(&w->common->uncertain), 0);
}

#ifdef SESSGATE_FAILPOINTS
static pid_t
start_late(struct world *w, int process)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	alarm(60);
	/* Its own is the first that it takes. */
	setenv("SESSGATE_FAILPOINTS", "batch-take=pause:2500:2", 1);
	failpoint_reset();
	ask(w, process, 0, do_all);
	_exit(0);
}

static pid_t
start_until_taken(struct world *w, int process)
{
	pid_t pid = fork();
	int round = 0;

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	alarm(60);
	while (!ask(w, process, round++, do_and_wait))
		usleep(20000);
	_exit(0);
}

/*
 * Two at work want the same one: process 2 has seen it wait, and is slow to
 * take it; process 1, who relieves him, takes it. Then the loser ends.
 */
static pid_t
have_two_want_one(struct world *w, int process)
{
	pid_t first = start_waiting(w, 1), loser, taker;

	leave_one_waiting(w, process);
	kill(first, SIGKILL);
	assert_int_equal(waitpid(first, NULL, 0), first);
	batch_enter(w->batch, 1);
	atomic_store(&w->common->is_in, 0);
	loser = start_late(w, 2);
	taker = start_until_taken(w, 1);
	wait_for(loser, 0);
	wait_until(&w->common->is_in, 1);
	return taker;
}

static void
the_end_of_who_came_too_late_says_nothing(void **state)
{
	struct world *w = *state;
	pid_t pid;

	do {
		pid = have_two_want_one(w, 3);
	} while (atomic_load(&w->common->is_in) != 2 &&
		 kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	/* It is the living one's, so nobody may use its place. */
	batch_enter(w->batch, 3);
	usleep(1100000);
	assert_false(ask(w, 3, 1, do_all));
	assert_int_equal(atomic_load(&w->common->uncertain), 0);
	atomic_store(&w->common->is_let, 1);
	wait_for(pid, 0);
	assert_int_equal(atomic_load(&w->common->done[3][0]), 1);
	assert_true(ask(w, 3, 2, do_all));
}
#endif

static struct batch_item
item_of(const struct number *number)
{
	return (struct batch_item){.bytes = number, .len = sizeof(*number)};
}

static void
several_of_one_process_are_done_at_once(void **state)
{
	static const struct number numbers[] = {{1, 0}, {1, 1}, {1, 2}};
	struct world *w = *state;
	struct batch_item items[3];
	uint64_t count, times;
	int i;

	for (i = 0; i < 3; i++)
		items[i] = item_of(&numbers[i]);
	batch_do_own(w->batch, 1, items, 3, do_all, w);
	for (i = 0; i < 3; i++) {
		assert_int_equal(items[i].answer.put, ROUNDS + i);
		assert_int_equal(atomic_load(&w->common->done[1][i]), 1);
	}
	batch_counts(w->batch, &count, &times);
	assert_int_equal(count, 3);
	assert_int_equal(times, 1);
}

static void
several_take_with_them_who_waits(void **state)
{
	static const struct number numbers[] = {{1, 1}, {1, 2}};
	struct world *w = *state;
	struct batch_item items[] = {
	    item_of(&numbers[0]), item_of(&numbers[1])};
	pid_t first = start_waiting(w, 2), other;
	uint64_t count, times;

	/* They do not wait for who is at work. */
	batch_do_own(w->batch, 1, items, 2, do_all, w);
	assert_int_equal(items[1].answer.put, ROUNDS + 2);
	leave_one_waiting(w, 3);
	kill(first, SIGKILL);
	assert_int_equal(waitpid(first, NULL, 0), first);
	batch_do_own(w->batch, 1, items, 2, do_all, w);
	assert_int_equal(items[0].answer.put, ROUNDS + 1);
	batch_counts(w->batch, &count, &times);
	assert_int_equal(times, 2);
	/* Who was slow to wait has missed it. */
	assert_int_equal(
	    count, 4 + (uint64_t)atomic_load(&w->common->done[3][0]));
	batch_enter(w->batch, 3);
	other = start(w, 3, 1);
	wait_for(other, 0);
	assert_int_equal(atomic_load(&w->common->answered[3][0]), 1);
}

static void
what_does_not_fit_goes_alone(void **state)
{
	static const char bytes[BATCH_BYTES_MAX + 1];
	struct world *w = *state;
	struct batch_answer answer;

	assert_int_equal(
	    batch_do(w->batch, 1, bytes, sizeof(bytes),
		clock_monotonic_ms() + TIME_MS, do_all, w, &answer),
	    SGATE_OK);
	assert_true(answer.is_alone);
	assert_int_equal(
	    batch_do(w->batch, BATCH_PLACES, bytes, 8,
		clock_monotonic_ms() + TIME_MS, do_all, w, &answer),
	    SGATE_OK);
	assert_true(answer.is_alone);
}

/* Nothing is done twice, nothing is answered that was not done. */
static void
kill_9_at_any_moment_loses_nothing_that_was_answered(void **state)
{
	struct world *w = *state;
	pid_t pids[PROCESSES];
	int i, round, kills;

	srand(20261123);
	w->wait_us = 300;
	for (i = 0; i < PROCESSES; i++)
		pids[i] = start(w, i, 20);
	for (kills = 0; kills < 60; kills++) {
		i = rand() % PROCESSES;
		usleep((useconds_t)(rand() % 3000));
		kill(pids[i], SIGKILL);
		assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
		for (round = 0; round < ROUNDS; round++) {
			assert_true(
			    atomic_load(&w->common->answered[i][round]) <=
			    atomic_load(&w->common->done[i][round]));
			atomic_store(&w->common->answered[i][round], 0);
			atomic_store(&w->common->done[i][round], 0);
		}
		pids[i] = start(w, i, 20);
	}
	for (i = 0; i < PROCESSES; i++)
		assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
	for (i = 0; i < PROCESSES; i++) {
		batch_enter(w->batch, (unsigned)i);
		assert_true(ask(w, i, 30, do_all));
	}
}

int
main(int argc, char **argv)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest batches[] = {
	    CASE(one_that_is_alone_does_its_own),
	    CASE(what_waits_is_done_together_and_once),
	    CASE(the_next_one_goes_on_when_it_is_killed),
	    CASE(nobody_goes_alone_because_of_a_dead_one),
	    CASE(what_a_dead_one_had_taken_is_uncertain),
	    CASE(one_that_is_stopped_holds_nobody_up),
	    CASE(what_a_slow_one_has_taken_is_his_until_he_answers),
#ifdef SESSGATE_FAILPOINTS
	    CASE(the_end_of_who_came_too_late_says_nothing),
#endif
	    CASE(several_of_one_process_are_done_at_once),
	    CASE(several_take_with_them_who_waits),
	    CASE(what_does_not_fit_goes_alone),
	    CASE(kill_9_at_any_moment_loses_nothing_that_was_answered),
	};
#undef CASE

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(batches, NULL, NULL);
}
