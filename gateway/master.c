/*
 * The master's loop: one signal or one tick at a time, taken with
 * sigtimedwait() from signals that are always blocked, so that none is lost
 * and nothing is done inside a handler.
 *
 * A reload starts a whole second generation and ends the first only when the
 * second takes requests: at no moment nobody accepts, and a configuration or a
 * key file with which workers cannot run changes nothing. Reopening the log
 * (SIGUSR1) is the same with an unchanged configuration, because every process
 * has its own descriptor of the log.
 */
#include "config.h"

#include "master.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "generation.h"
#include "log.h"
#include "notify.h"

#define TICK_MS 200
#define BUSY_TICK_MS 20 /* while somebody is awaited */
#define READY_MS 15000
#define KEEPER_BACK_MS 2000

struct master {
	const struct master_args *args;
	struct family family;
	struct generation *current;
	struct generation *next; /* of a reload that is under way */
	int64_t next_deadline_ms;
	bool is_ready_logged;
	bool reload_again; /* asked for while one was under way */
	bool reopen_again;
	bool is_stopping;
	sigset_t signals;
};

void
master_signals(sigset_t *out_set)
{
	sigemptyset(out_set);
	sigaddset(out_set, SIGTERM);
	sigaddset(out_set, SIGINT);
	sigaddset(out_set, SIGHUP);
	sigaddset(out_set, SIGUSR1);
	sigaddset(out_set, SIGTTIN);
	sigaddset(out_set, SIGTTOU);
	sigaddset(out_set, SIGCHLD);
}

/* ---- reload ---- */

static void
begin_next(struct master *m, struct sgate_conf *conf)
{
	m->next = generation_new(conf);
	if (m->next == NULL) {
		log_error("reload: out of memory; nothing is changed");
		return;
	}
	m->next_deadline_ms = clock_monotonic_ms() + READY_MS;
	generation_fill(m->next, &m->family);
}

/*
 * The new configuration, with the old values where only a restart can change
 * them. NULL: it is wrong, or memory is out; logged.
 */
static struct sgate_conf *
load_again(struct master *m)
{
	struct sgate_conf *conf = NULL;
	struct sgate_error err;
	struct buf kept = {0};
	char *c;

	if (sgate_conf_load(m->args->path, m->args->overrides, &conf, &err) !=
	    SGATE_OK) {
		log_error("reload: %s; the old configuration stays", err.text);
		return NULL;
	}
	conf_not_reloadable(m->current->conf, conf, &kept);
	if (kept.len > 0) {
		for (c = kept.data; *c != '\0'; c++)
			if (*c == '\n')
				*c = c[1] == '\0' ? '\0' : ' ';
		log_warning("reload: these change with a restart only and "
			    "keep their old values: %s",
		    buf_text(&kept));
	}
	buf_clear(&kept);
	if (conf_keep_not_reloadable(m->current->conf, conf, &err) !=
	    SGATE_OK) {
		log_error("reload: %s; the old configuration stays", err.text);
		sgate_conf_free(conf);
		return NULL;
	}
	return conf;
}

static void
reload(struct master *m)
{
	struct sgate_conf *conf;

	if (m->next != NULL) {
		m->reload_again = true;
		return;
	}
	notify_reloading();
	log_notice("reload: reading %s",
	    m->args->path == NULL ? "built-in defaults" : m->args->path);
	conf = load_again(m);
	if (conf != NULL)
		begin_next(m, conf);
	if (m->next == NULL) /* the old one goes on */
		notify_ready(m->current->wanted);
}

static void
reopen(struct master *m)
{
	struct sgate_conf *conf;

	if (m->next != NULL) {
		m->reopen_again = true;
		return;
	}
	log_notice("reopening the log, with new processes");
	conf = conf_dup(m->current->conf);
	if (conf == NULL)
		log_error("reopen: out of memory; nothing is changed");
	else
		begin_next(m, conf);
}

static void
give_next_up(struct master *m, const char *why)
{
	log_error("reload: %s; the old configuration and processes stay", why);
	generation_dismiss_workers(m->next, &m->family);
	generation_dismiss_keeper(m->next, &m->family);
	listeners_rebind(m->args->listeners, m->current->conf);
	generation_free(m->next);
	m->next = NULL;
	generation_show(m->current, &m->family);
}

static void
switch_to_next(struct master *m)
{
	struct generation *old = m->current;
	const struct sgate_conf *conf = m->next->conf;

	m->current = m->next;
	m->next = NULL;
	listeners_rebind(m->args->listeners, conf);
	generation_dismiss_workers(old, &m->family);
	generation_dismiss_keeper(old, &m->family);
	generation_free(old);
	generation_show(m->current, &m->family);
	if (log_open(conf->log.destination, (enum log_level)conf->log.level) !=
	    0)
		log_warning("log.destination: %s: %s; using stderr",
		    conf->log.destination, strerror(errno));
	log_notice("reload: done, generation %llu",
	    (unsigned long long)atomic_fetch_add(
		&m->args->shared->generation, 1) +
		1);
}

static void
look_at_next(struct master *m)
{
	if (m->next == NULL)
		return;
	if (m->next->has_failed)
		give_next_up(m, "the new processes cannot run");
	else if (generation_is_ready(m->next, &m->family))
		switch_to_next(m);
	else if (clock_left_ms(m->next_deadline_ms) == 0)
		give_next_up(m, "the new processes do not get ready");
	if (m->next != NULL)
		return;
	notify_ready(m->current->wanted);
	if (m->reload_again) {
		m->reload_again = m->reopen_again = false;
		reload(m);
	} else if (m->reopen_again) {
		m->reopen_again = false;
		reopen(m);
	}
}

/* ---- children ---- */

static void
bury_dead(struct master *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (generation_bury(m->current, &m->family, pid, status))
			continue;
		if (m->next != NULL &&
		    generation_bury(m->next, &m->family, pid, status))
			continue;
		family_bury(&m->family, pid, status);
	}
}

static void
look_after(struct master *m)
{
	generation_scale(m->current, &m->family);
	generation_check(m->current, &m->family);
	generation_fill(m->current, &m->family);
	if (m->next != NULL) {
		generation_check(m->next, &m->family);
		if (!m->next->has_failed)
			generation_fill(m->next, &m->family);
	}
	look_at_next(m);
	family_kill_late(&m->family);
	if (!m->is_ready_logged &&
	    generation_is_ready(m->current, &m->family)) {
		m->is_ready_logged = true;
		log_notice("ready: %d workers", m->current->wanted);
		notify_ready(m->current->wanted);
	}
}

/* ---- stop ---- */

/* Until a child dies, or a moment has passed. */
static void
wait_a_tick(void)
{
	static const struct timespec tick = {0, BUSY_TICK_MS * 1000000L};
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigtimedwait(&child, NULL, &tick);
}

/* Wait for those who leave; what comes in meanwhile is not looked at. */
static void
wait_for_leaving(struct master *m, bool with_keepers)
{
	for (;;) {
		bury_dead(m);
		if (family_leaving(&m->family, with_keepers) == 0)
			return;
		family_kill_late(&m->family);
		wait_a_tick();
	}
}

/*
 * Somebody who tells the whole process group to end has ended the keeper
 * already, and what workers handed over since is not written: start one more.
 */
static void
bring_keeper_back(struct master *m)
{
	int64_t deadline_ms = clock_monotonic_ms() + KEEPER_BACK_MS;

	bury_dead(m);
	if (m->current->keeper.pid != 0)
		return;
	m->current->keeper.not_before_ms = 0;
	generation_fill(m->current, &m->family);
	while (m->current->keeper.pid != 0 && clock_left_ms(deadline_ms) > 0 &&
	       !generation_is_ready(m->current, &m->family)) {
		wait_a_tick();
		bury_dead(m);
	}
}

static void
stop(struct master *m)
{
	int64_t started_ms = clock_monotonic_ms();

	notify_stopping();
	log_notice("stopping");
	atomic_store(&m->args->shared->stopping, 1);
	listeners_unlink(m->args->listeners);
	if (m->next != NULL)
		generation_dismiss_workers(m->next, &m->family);
	generation_dismiss_workers(m->current, &m->family);
	wait_for_leaving(m, false);
	/* The keeper last: it writes the touches of the others. */
	m->current->wanted = 0;
	bring_keeper_back(m);
	if (m->next != NULL)
		generation_dismiss_keeper(m->next, &m->family);
	generation_dismiss_keeper(m->current, &m->family);
	wait_for_leaving(m, true);
	log_notice("stopped in %lld ms",
	    (long long)(clock_monotonic_ms() - started_ms));
}

/* ---- loop ---- */

static void
take_signal(struct master *m, int number)
{
	switch (number) {
	case SIGTERM:
	case SIGINT:
		m->is_stopping = true;
		break;
	case SIGHUP:
		reload(m);
		break;
	case SIGUSR1:
		reopen(m);
		break;
	case SIGTTIN:
		generation_adjust(m->current, &m->family, 1);
		break;
	case SIGTTOU:
		generation_adjust(m->current, &m->family, -1);
		break;
	default: /* SIGCHLD: looked at after every wait */
		break;
	}
}

static void
wait_and_take(struct master *m)
{
	bool is_waiting = m->next != NULL || !m->is_ready_logged;
	struct timespec tick = {
	    0, (is_waiting ? BUSY_TICK_MS : TICK_MS) * 1000000L};
	int number = sigtimedwait(&m->signals, NULL, &tick);

	bury_dead(m);
	if (number > 0)
		take_signal(m, number);
}

int
master_run(const struct master_args *args)
{
	struct master m = {.args = args};

	m.family.shared = args->shared;
	m.family.local = args->local;
	m.family.batch = args->batch;
	m.family.listeners = args->listeners;
	m.family.child_mask = args->child_mask;
	notify_open();
	master_signals(&m.signals);
	m.current = generation_new(args->conf);
	if (m.current == NULL) {
		log_error("out of memory");
		return 1;
	}
	if (!handover_open(&m.family.handover)) {
		log_error("socketpair: %s", strerror(errno));
		generation_free(m.current);
		return 1;
	}
	atomic_store(&args->shared->master_pid, getpid());
	atomic_store(&args->shared->started_ms, clock_utc_ms());
	while (!m.is_stopping) {
		look_after(&m);
		wait_and_take(&m);
	}
	stop(&m);
	handover_close(&m.family.handover);
	generation_free(m.next);
	generation_free(m.current);
	return 0;
}
