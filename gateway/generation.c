/*
 * Forking, replacing and ending the processes of one configuration.
 *
 * A process that dies is replaced at once, or a tenth of a second later if it
 * died young. One that did not come as far as serving leaves its seat empty for
 * a second, and twice as long each further time up to ten: a broken store
 * cannot make the master fork in a circle, and requests that kill cannot empty
 * the pool.
 */
#include "config.h"

#include "generation.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

#define YOUNG_MS 1000
#define DELAY_YOUNG_MS 100
#define DELAY_MIN_MS 1000
#define DELAY_MAX_MS 10000
#define SCALE_MS 1000
#define SPAWN_RATE_MAX 32 /* as FPM_MAX_SPAWN_RATE */
#define SILENT_MS 10000
#define STARTING_MIN_MS 10000
/* Beyond its own limit a process gets this to log and leave. */
#define LEAVING_EXTRA_MS 1000

static int
at_most(int value, int max)
{
	return value < max ? value : max;
}

/* For people: "worker 4", "keeper", "tracker". */
#define NAME_SIZE 32
static const char *
name_of(enum process_kind kind, int row, char out[NAME_SIZE])
{
	if (kind == PROCESS_WORKER)
		snprintf(out, NAME_SIZE, "worker %d", row);
	else
		snprintf(out, NAME_SIZE, "%s",
		    kind == PROCESS_KEEPER ? "keeper" : "tracker");
	return out;
}

static void
close_ready(struct seat *seat)
{
	if (seat->ready_fd >= 0)
		close(seat->ready_fd);
	seat->ready_fd = -1;
}

struct generation *
generation_new(struct sgate_conf *conf)
{
	struct generation *gen = calloc(1, sizeof(*gen));
	int start;

	if (gen == NULL) {
		sgate_conf_free(conf);
		return NULL;
	}
	gen->conf = conf;
	gen->spawn_rate = 1;
	gen->keeper.kind = PROCESS_KEEPER;
	gen->tracker.kind = PROCESS_TRACKER;
	gen->keeper.row = gen->tracker.row = -1;
	gen->keeper.ready_fd = gen->tracker.ready_fd = -1;
	if (conf->gateway.workers > 0) {
		gen->min = gen->max =
		    at_most(conf->gateway.workers, GENERATION_WORKERS_MAX);
		gen->wanted = gen->max;
	} else {
		gen->max =
		    at_most(conf->gateway.workers_max, GENERATION_WORKERS_MAX);
		gen->min = at_most(conf->gateway.workers_min, gen->max);
		/* As php-fpm's pm.start_servers. */
		start = (conf->gateway.spare_min + conf->gateway.spare_max) / 2;
		gen->wanted = at_most(start, gen->max);
		if (gen->wanted < gen->min)
			gen->wanted = gen->min;
	}
	if (conf->gateway.workers > gen->max ||
	    conf->gateway.workers_max > GENERATION_WORKERS_MAX)
		log_warning("more than %d workers are not possible",
		    GENERATION_WORKERS_MAX);
	return gen;
}

void
generation_free(struct generation *gen)
{
	if (gen == NULL)
		return;
	close_ready(&gen->keeper);
	sgate_conf_free(gen->conf);
	free(gen);
}

static bool
is_dynamic(const struct generation *gen)
{
	return gen->conf->gateway.workers == 0;
}

/* ---- forking ---- */

static int
take_row(struct family *family)
{
	int row;

	for (row = 0; row < SHARED_WORKERS_MAX; row++) {
		if (!family->is_row_used[row]) {
			family->is_row_used[row] = true;
			return row;
		}
	}
	return -1;
}

static void
set_row(struct family *family, int row, enum shared_worker_state state)
{
	struct shared_worker *worker = &family->shared->workers[row];

	atomic_store(&worker->pid, 0);
	atomic_store(&worker->requests, 0);
	atomic_store(&worker->since_us, clock_monotonic_us());
	atomic_store(
	    &worker->started_ms, state == SHARED_FREE ? 0 : clock_utc_ms());
	atomic_store(&worker->state, state);
}

static void
free_row(struct family *family, int row)
{
	if (row < 0)
		return;
	set_row(family, row, SHARED_FREE);
	family->is_row_used[row] = false;
}

/*
 * What is meant for the master alone is ignored. SIGTERM stays blocked until
 * the child waits for requests: then it ends in order.
 */
static void
set_child_signals(const sigset_t *mask)
{
	static const int ignored[] = {
	    SIGINT, SIGHUP, SIGUSR1, SIGTTIN, SIGTTOU, SIGPIPE};
	sigset_t blocked = *mask;
	size_t i;

	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static int
run_process(enum process_kind kind, const struct process_args *args)
{
	switch (kind) {
	case PROCESS_KEEPER:
		return keeper_run(args);
	case PROCESS_TRACKER:
		return tracker_run(args);
	case PROCESS_WORKER:
	default:
		return worker_run(args);
	}
}

/*
 * A worker that is woken does not interrupt who is running, so the web server
 * comes to write more before workers read: fewer switches, and longer waits
 * for the slowest. Not for the other processes: what they renew
 * must not be late. Where who started us has given another class (systemd's
 * CPUSchedulingPolicy, chrt), that stays.
 */
static void
set_scheduling(const struct sgate_conf *conf)
{
	struct sched_param none = {0};

	if (conf->gateway.scheduling == CONF_SCHEDULING_BATCH &&
	    sched_getscheduler(0) == SCHED_OTHER &&
	    sched_setscheduler(0, SCHED_BATCH, &none) != 0)
		log_warning("gateway.scheduling = \"batch\": %s; going on as "
			    "\"normal\": let the service call "
			    "sched_setscheduler(), or say \"normal\"",
		    strerror(errno));
}

static _Noreturn void
run_child(const struct generation *gen, const struct family *family,
    enum process_kind kind, int row, pid_t master_pid, int ready_fd)
{
	struct process_args args = {
	    .conf = gen->conf,
	    .shared = family->shared,
	    .local = family->local,
	    .batch = family->batch,
	    .listeners = family->listeners,
	    .handover = &family->handover,
	    .index = row,
	    .master_pid = master_pid,
	    .ready_fd = ready_fd,
	};
	char who[NAME_SIZE];

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	set_child_signals(&family->child_mask);
	/* The master may have died before the line above the last. */
	if (getppid() != master_pid)
		exit(EXIT_DONE);
	log_set_who(name_of(kind, row, who));
	if (log_open(gen->conf->log.destination,
		(enum log_level)gen->conf->log.level) != 0)
		log_warning("log.destination: %s: %s; using stderr",
		    gen->conf->log.destination, strerror(errno));
	if (row >= 0) {
		atomic_store(&family->shared->workers[row].pid, getpid());
		set_scheduling(gen->conf);
	}
	exit(run_process(kind, &args));
}

static void
fork_failed(struct family *family, struct seat *seat, int row)
{
	static struct log_limit limit = {.burst = 5, .period_ms = 10000};

	log_limited(&limit, LOG_LEVEL_ERROR,
	    "fork: %s; trying again in a second", strerror(errno));
	seat->pid = 0;
	seat->not_before_ms = clock_monotonic_ms() + DELAY_MIN_MS;
	free_row(family, row);
}

static void
fork_worker(struct generation *gen, struct family *family, struct seat *seat)
{
	pid_t master_pid = getpid();
	int row = take_row(family);

	if (row < 0)
		return;
	listeners_rebind(family->listeners, gen->conf);
	set_row(family, row, SHARED_STARTING);
	seat->pid = fork();
	if (seat->pid == 0)
		run_child(gen, family, PROCESS_WORKER, row, master_pid, -1);
	if (seat->pid < 0) {
		fork_failed(family, seat, row);
		return;
	}
	seat->kind = PROCESS_WORKER;
	seat->row = row;
	seat->started_ms = clock_monotonic_ms();
	atomic_store(&family->shared->workers[row].pid, seat->pid);
}

/*
 * A keeper has no row of its own in shared memory, and two may be starting at
 * the same time: each has a pipe to say that it is ready.
 */
static void
fork_keeper(struct generation *gen, struct family *family)
{
	struct seat *seat = &gen->keeper;
	pid_t master_pid = getpid();
	int ends[2] = {-1, -1};

	close_ready(seat);
	listeners_rebind(family->listeners, gen->conf);
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0)
		seat->pid = fork();
	else
		seat->pid = -1;
	if (seat->pid == 0) {
		close(ends[0]);
		run_child(gen, family, PROCESS_KEEPER, -1, master_pid, ends[1]);
	}
	if (seat->pid < 0) {
		fork_failed(family, seat, -1);
		if (ends[0] >= 0)
			close(ends[0]);
	} else {
		seat->ready_fd = ends[0];
		seat->started_ms = clock_monotonic_ms();
		atomic_store(&family->shared->keeper_pid, seat->pid);
	}
	if (ends[1] >= 0)
		close(ends[1]);
}

/* Whether anything has to be heard from Redis. */
static bool
has_tracker(const struct generation *gen, const struct family *family)
{
	return family->local != NULL && gen->conf->cache.lease_ms > 0 &&
	       conf_has_redis(gen->conf);
}

static void
fork_tracker(struct generation *gen, struct family *family)
{
	struct seat *seat = &gen->tracker;
	pid_t master_pid = getpid();

	seat->pid = fork();
	if (seat->pid == 0)
		run_child(gen, family, PROCESS_TRACKER, -1, master_pid, -1);
	if (seat->pid < 0) {
		fork_failed(family, seat, -1);
		return;
	}
	seat->started_ms = clock_monotonic_ms();
	atomic_store(&family->shared->tracker_pid, seat->pid);
}

void
generation_show(const struct generation *gen, const struct family *family)
{
	atomic_store(&family->shared->keeper_pid, gen->keeper.pid);
	atomic_store(&family->shared->tracker_pid, gen->tracker.pid);
}

void
generation_fill(struct generation *gen, struct family *family)
{
	int64_t now_ms = clock_monotonic_ms();
	int i;

	if (gen->keeper.pid == 0 && gen->keeper.not_before_ms <= now_ms)
		fork_keeper(gen, family);
	if (gen->tracker.pid == 0 && gen->tracker.not_before_ms <= now_ms &&
	    has_tracker(gen, family))
		fork_tracker(gen, family);
	for (i = 0; i < gen->wanted; i++)
		if (gen->workers[i].pid == 0 &&
		    gen->workers[i].not_before_ms <= now_ms)
			fork_worker(gen, family, &gen->workers[i]);
}

/* ---- looking after them ---- */

static int
state_of(const struct family *family, const struct seat *seat)
{
	if (seat->pid == 0)
		return SHARED_FREE;
	return atomic_load(&family->shared->workers[seat->row].state);
}

/* How long the state has lasted, by the worker's word, within reason. */
static int64_t
state_age_ms(const struct family *family, const struct seat *seat)
{
	int64_t since_ms =
	    atomic_load(&family->shared->workers[seat->row].since_us) / 1000;
	int64_t now_ms = clock_monotonic_ms();

	if (since_ms > now_ms)
		return 0;
	return since_ms < seat->started_ms ? now_ms - seat->started_ms
					   : now_ms - since_ms;
}

static bool
keeper_is_ready(struct seat *keeper)
{
	char byte;

	if (keeper->pid == 0)
		return false;
	if (keeper->ready_fd >= 0 && read(keeper->ready_fd, &byte, 1) == 1)
		close_ready(keeper);
	return keeper->ready_fd < 0;
}

bool
generation_is_ready(struct generation *gen, const struct family *family)
{
	int i;

	if (!keeper_is_ready(&gen->keeper))
		return false;
	for (i = 0; i < gen->wanted; i++) {
		int state = state_of(family, &gen->workers[i]);

		if (state != SHARED_IDLE && state != SHARED_BUSY)
			return false;
	}
	return true;
}

/*
 * Where a process that must be killed hangs, for whoever looks for the cause:
 * the scheduler's letter and the kernel function it sleeps in, as ps has them
 * ("D in jbd2_log_wait_commit" is a disk that does not answer).
 */
static const char *
where_it_hangs(pid_t pid, char *out, size_t size)
{
	char path[64], line[512], function[64] = "";
	const char *end;
	char state = '?';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	file = fopen(path, "re");
	if (file != NULL) {
		if (fgets(line, sizeof(line), file) != NULL &&
		    (end = strrchr(line, ')')) != NULL && end[1] == ' ')
			state = end[2];
		fclose(file);
	}
	snprintf(path, sizeof(path), "/proc/%ld/wchan", (long)pid);
	file = fopen(path, "re");
	if (file != NULL) {
		if (fgets(function, sizeof(function), file) == NULL)
			function[0] = '\0';
		fclose(file);
	}
	snprintf(out, size, "%c in %s", state,
	    function[0] == '\0' || function[0] == '0' ? "user space"
						      : function);
	return out;
}

static void
check_worker(const struct generation *gen, const struct family *family,
    const struct seat *seat)
{
	int64_t limit_ms = gen->conf->gateway.request_terminate_timeout_ms;
	int state = state_of(family, seat);
	int64_t age_ms;
	char where[96];

	if (state == SHARED_STARTING) {
		if (limit_ms < STARTING_MIN_MS)
			limit_ms = STARTING_MIN_MS;
	} else if (state != SHARED_BUSY) {
		return;
	}
	age_ms = state_age_ms(family, seat);
	if (limit_ms <= 0 || age_ms <= limit_ms)
		return;
	log_error("worker %d (pid %ld): %s for %lld ms, longer than "
		  "gateway.request_terminate_timeout (%s): killing it",
	    seat->row, (long)seat->pid,
	    state == SHARED_STARTING ? "starting" : "in one request",
	    (long long)age_ms, where_it_hangs(seat->pid, where, sizeof(where)));
	kill(seat->pid, SIGKILL);
}

/* Keeper or tracker. */
static void
check_beat(const struct seat *seat, const _Atomic int64_t *heartbeat_ms)
{
	int64_t now_ms = clock_monotonic_ms();
	int64_t beat_ms = atomic_load(heartbeat_ms);
	char where[96], name[NAME_SIZE];

	if (seat->pid == 0)
		return;
	if (beat_ms > now_ms || beat_ms < seat->started_ms)
		beat_ms = seat->started_ms;
	if (now_ms - beat_ms <= SILENT_MS)
		return;
	log_error("%s (pid %ld): no heartbeat for %lld ms (%s): killing it",
	    name_of(seat->kind, -1, name), (long)seat->pid,
	    (long long)(now_ms - beat_ms),
	    where_it_hangs(seat->pid, where, sizeof(where)));
	kill(seat->pid, SIGKILL);
}

void
generation_check(struct generation *gen, struct family *family)
{
	int i;

	check_beat(&gen->keeper, &family->shared->state.heartbeat_ms);
	check_beat(&gen->tracker, &family->shared->state.tracker.heartbeat_ms);
	for (i = 0; i < GENERATION_WORKERS_MAX; i++)
		if (gen->workers[i].pid != 0)
			check_worker(gen, family, &gen->workers[i]);
}

/* ---- telling to end ---- */

static void
dismiss(struct generation *gen, struct family *family, struct seat *seat)
{
	struct leaving *leaving;

	if (seat->pid == 0)
		return;
	if (family->leaving_count == FAMILY_LEAVING_MAX) {
		/* Cannot be with bounded times to leave; and if so: */
		kill(seat->pid, SIGKILL);
		free_row(family, seat->row);
	} else {
		leaving = &family->leaving[family->leaving_count++];
		leaving->pid = seat->pid;
		leaving->kind = seat->kind;
		leaving->row = seat->row;
		leaving->kill_at_ms =
		    clock_monotonic_ms() + LEAVING_EXTRA_MS +
		    gen->conf->gateway.request_terminate_timeout_ms;
		leaving->is_killed = false;
		kill(seat->pid, SIGTERM);
	}
	seat->pid = 0;
	seat->delay_ms = 0;
	seat->not_before_ms = 0;
}

void
generation_dismiss_workers(struct generation *gen, struct family *family)
{
	int i;

	for (i = 0; i < GENERATION_WORKERS_MAX; i++)
		dismiss(gen, family, &gen->workers[i]);
}

void
generation_dismiss_keeper(struct generation *gen, struct family *family)
{
	dismiss(gen, family, &gen->keeper);
	dismiss(gen, family, &gen->tracker);
}

/* ---- how many ---- */

/* Give up the seat of a worker that waits, or else the last one. */
static void
drop_one(struct generation *gen, struct family *family)
{
	int last = gen->wanted - 1;
	int chosen = last;
	int i;

	for (i = last; i >= 0; i--) {
		if (gen->workers[i].pid == 0 ||
		    state_of(family, &gen->workers[i]) == SHARED_IDLE) {
			chosen = i;
			break;
		}
	}
	dismiss(gen, family, &gen->workers[chosen]);
	gen->workers[chosen] = gen->workers[last];
	gen->workers[last] = (struct seat){0};
	gen->wanted--;
}

static int
count_idle(const struct generation *gen, const struct family *family)
{
	int idle = 0;
	int i;

	for (i = 0; i < gen->wanted; i++) {
		int state = state_of(family, &gen->workers[i]);

		/* One that is still to start will be idle in a moment. */
		if (state == SHARED_IDLE || state == SHARED_STARTING ||
		    state == SHARED_FREE)
			idle++;
	}
	return idle;
}

static void
add_spares(struct generation *gen, int missing)
{
	int room = gen->max - gen->wanted;
	int more = at_most(missing, gen->spawn_rate);

	if (room <= 0) {
		gen->spawn_rate = 1;
		if (!gen->is_max_logged)
			log_warning("gateway.workers_max (%d) is reached: "
				    "requests wait; raise it",
			    gen->max);
		gen->is_max_logged = true;
		return;
	}
	gen->wanted += at_most(more, room);
	if (gen->spawn_rate < SPAWN_RATE_MAX)
		gen->spawn_rate *= 2;
}

void
generation_scale(struct generation *gen, struct family *family)
{
	int64_t now_ms = clock_monotonic_ms();
	int idle;

	if (!is_dynamic(gen) || now_ms < gen->next_scale_ms)
		return;
	gen->next_scale_ms = now_ms + SCALE_MS;
	idle = count_idle(gen, family);
	if (idle < gen->conf->gateway.spare_min) {
		add_spares(gen, gen->conf->gateway.spare_min - idle);
		return;
	}
	gen->spawn_rate = 1;
	if (gen->wanted < gen->max)
		gen->is_max_logged = false;
	if (idle > gen->conf->gateway.spare_max && gen->wanted > gen->min)
		drop_one(gen, family);
}

void
generation_adjust(struct generation *gen, struct family *family, int change)
{
	int wanted = gen->wanted + change;
	int min = is_dynamic(gen) ? gen->min : 1;

	gen->max += change;
	if (gen->max > GENERATION_WORKERS_MAX)
		gen->max = GENERATION_WORKERS_MAX;
	if (gen->max < min)
		gen->max = min;
	if (!is_dynamic(gen))
		gen->min = gen->max;
	if (change > 0 && wanted <= gen->max)
		gen->wanted = wanted;
	if (change < 0 && wanted >= min)
		drop_one(gen, family);
	log_notice("%s: %d workers now%s, until the next reload",
	    change > 0 ? "SIGTTIN" : "SIGTTOU", gen->wanted,
	    is_dynamic(gen) ? " (and so for workers_max)" : "");
}

/* ---- deaths ---- */

static void
describe(int wait_status, char *out, size_t size)
{
	int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 0;

	if (WIFSIGNALED(wait_status))
		snprintf(out, size, "killed by signal %d (%s)",
		    WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
	else if (code == EXIT_CANNOT_RUN)
		snprintf(out, size, "could not run");
	else if (code == EXIT_BROKEN)
		snprintf(out, size, "did not trust its own state");
	else
		snprintf(out, size, "ended with status %d", code);
}

static bool
is_done(int wait_status)
{
	return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EXIT_DONE;
}

static void
count_death(struct family *family, enum process_kind kind)
{
	_Atomic uint64_t *const deaths[] = {
	    [PROCESS_WORKER] = &family->shared->worker_deaths,
	    [PROCESS_KEEPER] = &family->shared->keeper_deaths,
	    [PROCESS_TRACKER] = &family->shared->tracker_deaths,
	};

	atomic_fetch_add(deaths[kind], 1);
}

static void
log_death(const struct seat *seat, int wait_status, int64_t lived_ms)
{
	char who[NAME_SIZE], how[64], next[64];

	describe(wait_status, how, sizeof(how));
	if (seat->delay_ms > 0)
		snprintf(next, sizeof(next), "replacing it in %lld ms",
		    (long long)seat->delay_ms);
	else
		snprintf(next, sizeof(next), "replacing it");
	log_warning("%s (pid %ld) %s after %lld ms; %s",
	    name_of(seat->kind, seat->row, who), (long)seat->pid, how,
	    (long long)lived_ms, next);
}

/* Whether it came as far as serving; the row is as the dead one left it. */
static bool
was_ready(const struct family *family, struct seat *seat)
{
	int state;

	if (seat->kind == PROCESS_KEEPER)
		return keeper_is_ready(seat);
	if (seat->kind == PROCESS_TRACKER)
		return atomic_load(
			   &family->shared->state.tracker.heartbeat_ms) >=
		       seat->started_ms;
	state = atomic_load(&family->shared->workers[seat->row].state);
	return state != SHARED_STARTING && state != SHARED_FREE;
}

static bool
has_served(
    const struct family *family, const struct seat *seat, int wait_status)
{
	return seat->row >= 0 && is_done(wait_status) &&
	       atomic_load(&family->shared->workers[seat->row].requests) > 0;
}

static int64_t
longer_delay_ms(int64_t delay_ms)
{
	if (delay_ms < DELAY_MIN_MS)
		return DELAY_MIN_MS;
	return delay_ms * 2 > DELAY_MAX_MS ? DELAY_MAX_MS : delay_ms * 2;
}

static void
bury(struct generation *gen, struct family *family, struct seat *seat,
    int wait_status)
{
	int64_t lived_ms = clock_monotonic_ms() - seat->started_ms;
	bool cannot_run = WIFEXITED(wait_status) &&
			  WEXITSTATUS(wait_status) == EXIT_CANNOT_RUN;

	if (cannot_run || (!is_done(wait_status) && !was_ready(family, seat)))
		seat->delay_ms = longer_delay_ms(seat->delay_ms);
	else if (lived_ms < YOUNG_MS && !has_served(family, seat, wait_status))
		seat->delay_ms = DELAY_YOUNG_MS;
	else
		seat->delay_ms = 0;
	seat->not_before_ms =
	    seat->delay_ms == 0 ? 0 : clock_monotonic_ms() + seat->delay_ms;
	gen->has_failed = gen->has_failed || cannot_run;
	if (!is_done(wait_status)) {
		count_death(family, seat->kind);
		log_death(seat, wait_status, lived_ms);
	}
	free_row(family, seat->row);
	seat->pid = 0;
}

bool
generation_bury(
    struct generation *gen, struct family *family, pid_t pid, int wait_status)
{
	int i;

	if (gen->keeper.pid == pid) {
		bury(gen, family, &gen->keeper, wait_status);
		return true;
	}
	if (gen->tracker.pid == pid) {
		bury(gen, family, &gen->tracker, wait_status);
		return true;
	}
	for (i = 0; i < GENERATION_WORKERS_MAX; i++) {
		if (gen->workers[i].pid == pid) {
			bury(gen, family, &gen->workers[i], wait_status);
			return true;
		}
	}
	return false;
}

bool
family_bury(struct family *family, pid_t pid, int wait_status)
{
	struct leaving *leaving;
	char how[64], name[NAME_SIZE];
	size_t i;

	for (i = 0; i < family->leaving_count; i++)
		if (family->leaving[i].pid == pid)
			break;
	if (i == family->leaving_count)
		return false;
	leaving = &family->leaving[i];
	if (!is_done(wait_status) && !leaving->is_killed) {
		count_death(family, leaving->kind);
		describe(wait_status, how, sizeof(how));
		log_warning("%s (pid %ld) %s while it was to end",
		    name_of(leaving->kind, leaving->row, name), (long)pid, how);
	}
	free_row(family, leaving->row);
	*leaving = family->leaving[--family->leaving_count];
	return true;
}

void
family_kill_late(struct family *family)
{
	int64_t now_ms = clock_monotonic_ms();
	char name[NAME_SIZE];
	size_t i;

	for (i = 0; i < family->leaving_count; i++) {
		struct leaving *leaving = &family->leaving[i];

		if (leaving->is_killed || now_ms < leaving->kill_at_ms)
			continue;
		log_error("%s (pid %ld) does not end: killing it",
		    name_of(leaving->kind, leaving->row, name),
		    (long)leaving->pid);
		count_death(family, leaving->kind);
		kill(leaving->pid, SIGKILL);
		leaving->is_killed = true;
	}
}

size_t
family_leaving(const struct family *family, bool with_keepers)
{
	size_t count = 0;
	size_t i;

	for (i = 0; i < family->leaving_count; i++)
		if (with_keepers || family->leaving[i].kind == PROCESS_WORKER)
			count++;
	return count;
}
