/*
 * The failpoint matrix. Each operation runs in a process of its own on a host
 * of its own, over a real MariaDB and a real Redis, and at each place that it
 * comes to (failpoint.h) once the process is killed, once it waits while
 * another host changes the same session, and the call that is there fails, once
 * and for good. Then another host looks: what was acknowledged is there, what
 * has ended is refused, what lives is not, every acknowledged event has its one
 * audit row and no row comes from nowhere, nothing is locked, and Redis and
 * MySQL agree.
 *
 * Which places there are the program itself knows, and which ones an operation
 * comes to is seen in a run without any fault; places that it only comes to
 * after another fault are tried behind that one. A place that no operation
 * comes to is a failure: add an operation to failpoints_ops.c.
 *
 *     failpoints [WORD [MORE]]
 *
 * Operations whose name contains the word. MORE: failpoints in every cell, as
 * "event-id=off", with which there must be failures.
 */
#include "config.h"

#include "failpoints.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "batch.h"
#include "clock.h"
#include "failpoint.h"
#include "local.h"

#define DATABASE "failpoints"
#define PAUSE_MS 40
/* A lock that was left would last longer, and so would a hung process. */
#define NEXT_MAX_MS 1500
#define CHILD_MAX_S 10
#define HEAL_MAX_MS 5000
#define PAST_MS (5 * 60 * 1000)
#define SHOWN_MAX 20

static const char *places[PLACES_MAX]; /* sorted */
static size_t places_count;
static bool was_reached[PLACES_MAX];
static const char *more = "";

/* ---- small things ---- */

bool
same_ref(const struct sgate_ref *a, const struct sgate_ref *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

void
copy_text(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text);
}

void
cell_wrong(struct cell *cell, const char *format, ...)
{
	va_list args;

	if (cell->wrong[0] != '\0')
		return;
	va_start(args, format);
	vsnprintf(cell->wrong, sizeof(cell->wrong), format, args);
	va_end(args);
}

void
site_sql(struct site *site, const char *format, ...)
{
	char sql[512];
	va_list args;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	mariadb_run(&site->db, site->database, sql);
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Not in what is done with MySQL and Redis: keep.py has a place in SQLite. */
static bool
is_elsewhere(const char *name)
{
	return strncmp(name, "sqlite-", strlen("sqlite-")) == 0;
}

static void
find_places(void)
{
	size_t i, kept = 0;

	places_count = failpoint_count();
	if (places_count > PLACES_MAX) {
		printf("Bail out! more than %d failpoints\n", PLACES_MAX);
		exit(1);
	}
	for (i = 0; i < places_count; i++)
		if (!is_elsewhere(failpoint_get(i)->name))
			places[kept++] = failpoint_get(i)->name;
	places_count = kept;
	kept = 0;
	qsort(places, places_count, sizeof(places[0]), compare_names);
	for (i = 1; i < places_count; i++)
		if (strcmp(places[kept], places[i]) != 0)
			places[++kept] = places[i];
	places_count = kept + 1;
}

static void
tell_reached(struct result *out)
{
	const struct failpoint *place;
	size_t i, n;

	for (i = 0; i < failpoint_count(); i++) {
		place = failpoint_get(i);
		for (n = 0; n < places_count; n++)
			if (strcmp(places[n], place->name) == 0)
				out->reached[n] += place->reached;
	}
}

/* ---- hosts ---- */

static int64_t
past_clock(void *arg)
{
	(void)arg;
	return clock_utc_ms() - PAST_MS;
}

static struct sgate_manager *
make_manager(struct site *site, struct stores *stores, bool is_past)
{
	const struct sgate_options past = {.clock = past_clock};
	struct sgate_manager *mgr = NULL;
	struct sgate_error err;

	if (sgate_manager_new(site->conf, is_past ? &past : NULL, &mgr, &err) !=
	    SGATE_OK) {
		printf("Bail out! %s\n", err.text);
		exit(1);
	}
	manager_set_stores(mgr, stores);
	return mgr;
}

static void
load_records(struct spool_reader *reader, struct spool_frame *frames,
    const struct spool_place *found, struct buf *records, size_t count)
{
	struct sgate_error err;
	size_t i;

	for (i = 0; i < count; i++)
		if (frames[i].record.len > 0 &&
		    spool_load(reader, &found[i], &records[i], &err) ==
			SGATE_OK)
			frames[i].record = buf_bytes(&records[i]);
}

/* As far as the frames that are there now. */
enum sgate_status
site_ship(struct sgate_manager *mgr, struct spool_reader *reader,
    struct sgate_error *err)
{
	static struct spool_frame frames[MANAGER_SPOOL_BATCH];
	const unsigned stores[] = {SPOOL_TO_DURABLE, SPOOL_TO_CACHE};
	static struct buf records[MANAGER_SPOOL_BATCH];
	struct spool_place found[MANAGER_SPOOL_BATCH];
	bool done[MANAGER_SPOOL_BATCH];
	enum sgate_status status;
	size_t store, count, i;

	status = spool_look(reader, err);
	for (store = 0; store < 2 && status == SGATE_OK; store++) {
		status = spool_pass_begin(reader, stores[store], err);
		for (count = 0; count < MANAGER_SPOOL_BATCH; count++)
			if (!spool_pass_next(
				reader, &frames[count], &found[count]))
				break;
		if (status != SGATE_OK || count == 0)
			continue;
		load_records(reader, frames, found, records, count);
		status =
		    (store == 0 ? manager_spool_apply : manager_spool_publish)(
			mgr, frames, count, done, err);
		for (i = 0; i < count; i++) {
			if (done[i])
				spool_done(reader, &found[i], stores[store]);
			buf_wipe(&records[i]);
		}
	}
	return status == SGATE_OK ? spool_look(reader, err) : status;
}

static bool
is_spool_empty(const struct spool_reader *reader)
{
	struct spool_state state;

	spool_state(reader, &state);
	return state.is_whole && state.to_durable + state.to_cache == 0;
}

enum sgate_status
site_round(struct site *site, struct sgate_manager *mgr)
{
	const struct manager_round round = {
	    .runtime_dir = mgr == site->here ? site->dir : NULL};
	struct sgate_error err;
	enum sgate_status status = manager_fence_round(mgr, &round, &err);

	if (status == SGATE_OK && mgr == site->here)
		status = site_ship(mgr, site->reader, &err);
	if (status == SGATE_OK && mgr == site->here &&
	    !is_spool_empty(site->reader)) {
		status = SGATE_UNAVAILABLE;
		copy_text(err.text, sizeof(err.text), "the spool is not empty");
	}
	if (status != SGATE_OK)
		copy_text(site->why, sizeof(site->why), err.text);
	return status;
}

static bool
is_whole(const struct stores *stores)
{
	return !breaker_is_open(&stores->durable) &&
	       !breaker_is_open(&stores->cache);
}

/* Closed, and up for long; what a cell does is not to depend on another's. */
static void
settle_breaker(struct breaker *breaker)
{
	breaker_close(breaker, clock_monotonic_ms() - 60000);
}

/* What the keepers of both hosts do, until all is well. */
static void
heal(struct site *site, struct cell *cell)
{
	const struct timespec pause = {0, 10000000};
	int64_t end_ms = clock_monotonic_ms() + HEAL_MAX_MS;

	/* When they close by themselves is theirs to show. */
	settle_breaker(&site->common->here.durable);
	settle_breaker(&site->common->here.cache);
	for (;;) {
		if (site_round(site, site->here) == SGATE_OK &&
		    site_round(site, site->there) == SGATE_OK &&
		    is_whole(&site->common->here) &&
		    is_whole(&site->common->there))
			return;
		if (clock_monotonic_ms() > end_ms)
			break;
		nanosleep(&pause, NULL);
	}
	cell_wrong(cell, "the stores do not come to agree: %s", site->why);
}

/* ---- what must hold ---- */

struct counts {
	unsigned creates, ends, others;
};

static int
count_row(void *arg, const struct durable_audit *audit)
{
	struct counts *counts = arg;

	if (strcmp(audit->kind, "create") == 0)
		counts->creates++;
	else if (strcmp(audit->kind, "end") == 0)
		counts->ends++;
	else
		counts->others++;
	return 0;
}

static void
check_audit(struct site *site, struct cell *cell, const struct target *target,
    const struct sgate_session *row)
{
	struct durable_audit_filter filter = {
	    .ref = &target->ref, .limit = 100};
	struct counts counts = {0};
	struct sgate_error err;

	if (manager_audit_list(
		site->there, &filter, count_row, &counts, &err) != SGATE_OK)
		cell_wrong(cell, "audit: %s", err.text);
	if (counts.creates != 1)
		cell_wrong(
		    cell, "%u audit rows of one creation", counts.creates);
	if (row->version !=
	    1 + counts.others + (row->state == SESSION_LIVE ? 0 : 1))
		cell_wrong(cell, "version %d with %u audit rows of changes",
		    (int)row->version, counts.others);
	if (counts.ends < target->ends ||
	    counts.ends > target->ends + target->maybe_ends ||
	    (counts.ends == 0 && row->state != SESSION_LIVE))
		cell_wrong(cell, "%u audit rows of %u ends, %u unknown",
		    counts.ends, target->ends, target->maybe_ends);
	if (counts.others < target->changes ||
	    counts.others > target->changes + target->maybe)
		cell_wrong(cell, "%u audit rows of %u events, %u unknown",
		    counts.others, target->changes, target->maybe);
}

/* What Redis has under the ref is the row, or nothing. */
static void
check_copy(struct site *site, struct cell *cell, const struct sgate_ref *ref,
    const struct sgate_session *row)
{
	struct cached cached;
	struct sgate_error err;

	if (cached_get(site->there, ref, &cached, &err) != SGATE_OK)
		cell_wrong(cell, "redis: %s", err.text);
	else if (cached.ended != SGATE_REASON_OK && row->state == SESSION_LIVE)
		cell_wrong(cell, "a tombstone of a live session");
	else if (cached.session != NULL && row->state != SESSION_LIVE)
		cell_wrong(cell, "a live copy of an ended session");
	else if (cached.session != NULL &&
		 cached.session->version != row->version)
		cell_wrong(cell, "a copy of version %d, the row has %d",
		    (int)cached.session->version, (int)row->version);
	else if (cached.session != NULL && cached.trust != FENCE_YES)
		cell_wrong(cell, "a copy that is not believed");
	cached_clear(&cached);
}

static void
check_look(struct site *site, struct cell *cell, const struct target *target,
    const char *token, const struct sgate_session *row)
{
	struct sgate_session *session = NULL;
	struct sgate_error err;
	enum sgate_status status = sgate_session_get(
	    site->there, bytes_of(token), SGATE_NO_TOUCH, &session, &err);
	bool is_live = target->fate == FATE_LIVE ||
		       (target->fate == FATE_ANY && row->state == SESSION_LIVE);

	if (status != (is_live ? SGATE_OK : SGATE_NOT_FOUND))
		cell_wrong(cell, "a look at %s session: %s: %s",
		    is_live ? "a live" : "an ended", sgate_status_text(status),
		    err.text);
	if (status == SGATE_OK && (strcmp(session->user, cell->user) != 0 ||
				      !same_ref(&session->ref, &target->ref)))
		cell_wrong(cell, "a look finds another session");
	sgate_session_free(session);
}

static void
check_target(struct site *site, struct cell *cell, const struct target *target)
{
	struct sgate_session *row = NULL;
	struct sgate_error err;

	if (manager_session_any(site->there, &target->ref, &row, &err) !=
	    SGATE_OK) {
		cell_wrong(cell, "no row of a session: %s", err.text);
		return;
	}
	if (target->fate == FATE_LIVE && row->state != SESSION_LIVE)
		cell_wrong(cell, "the row of a live session has ended");
	if (target->fate == FATE_ENDED && row->state == SESSION_LIVE)
		cell_wrong(cell, "the row of an ended session is live");
	check_look(site, cell, target, target->token, row);
	if (target->spare[0] != '\0')
		check_look(site, cell, target, target->spare, row);
	check_copy(site, cell, &target->ref, row);
	check_audit(site, cell, target, row);
	sgate_session_free(row);
}

/* Nobody made a session that nobody knows of. */
static void
check_user(struct site *site, struct cell *cell)
{
	struct durable_audit_filter filter = {.user = bytes_of(cell->user),
	    .kind = bytes_of("create"),
	    .limit = 100};
	struct counts counts = {0};
	struct sgate_error err;

	if (manager_audit_list(
		site->there, &filter, count_row, &counts, &err) != SGATE_OK)
		cell_wrong(cell, "audit: %s", err.text);
	else if (counts.creates != cell->count)
		cell_wrong(cell, "%u sessions were created, %u are known",
		    counts.creates, (unsigned)cell->count);
}

/* ---- a cell ---- */

void
next_change(struct site *site, struct cell *cell)
{
	struct sgate_update update = {
	    .data_patch = bytes_of("{\"next\":true}")};
	struct target *target = &cell->targets[0];
	struct sgate_session *session = NULL;
	struct sgate_error err;
	enum sgate_status status;

	status = sgate_session_update(
	    site->there, &target->ref, &update, &session, &err);
	sgate_session_free(session);
	if (status == SGATE_OK && target->fate != FATE_ENDED)
		target->changes++;
	else if (status != SGATE_NOT_FOUND ||
		 (target->fate == FATE_LIVE && !cell->is_paused))
		cell_wrong(cell, "the next change: %s", err.text);
	/* Refused by a tombstone of an end that MySQL has not got yet. */
	else
		target->maybe++;
}

static void
do_next(struct site *site, struct cell *cell)
{
	int64_t begun_ms = clock_monotonic_ms();

	if (cell->op->next != NULL)
		cell->op->next(site, cell);
	else
		next_change(site, cell);
	if (clock_monotonic_ms() - begun_ms > NEXT_MAX_MS)
		cell_wrong(cell, "the next call waited for %d ms",
		    (int)(clock_monotonic_ms() - begun_ms));
}

static void
run_child(struct site *site, struct cell *cell)
{
	struct result *out = &site->common->result;
	struct sgate_manager *mgr;
	struct spool *spool = NULL;
	const struct spool_limits limits = {.dir = site->spool_dir,
	    .max_bytes = INT64_C(1) << 24,
	    .keep_ms = 60000};
	struct sgate_error err;

	alarm(CHILD_MAX_S);
	site->conf->session.max_sessions = cell->op->max_sessions;
	setenv("SESSGATE_FAILPOINTS", cell->spec, 1);
	failpoint_reset();
	mgr = make_manager(site, &site->common->here, false);
	if (spool_open(&limits, &spool, &err) != SGATE_OK)
		_exit(2);
	manager_set_spool(mgr, spool);
	manager_set_local(mgr, site->local);
	manager_set_batch(mgr, site->batch, 0);
	memset(&err, 0, sizeof(err));
	out->status = cell->op->run(site, mgr, cell, out, &err);
	copy_text(out->text, sizeof(out->text), err.text);
	tell_reached(out);
	out->is_finished = true;
	_exit(0);
}

/* Killed at a place, or it has told how it went; nothing else. */
static void
wait_for_child(struct site *site, struct cell *cell, pid_t pid)
{
	const struct result *result = &site->common->result;
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	cell->is_known = result->is_finished;
	cell->is_acknowledged =
	    result->is_finished && result->status == SGATE_OK;
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		cell_wrong(cell, "the process hung or crashed: signal %d",
		    WTERMSIG(status));
	else if (!WIFSIGNALED(status) &&
		 (WEXITSTATUS(status) != 0 || !result->is_finished))
		cell_wrong(cell, "the process failed");
	if (cell->is_known && result->status != SGATE_OK &&
	    result->status != SGATE_UNAVAILABLE &&
	    result->status != SGATE_UNCERTAIN &&
	    result->status != SGATE_NOT_FOUND &&
	    !(cell->op->may_fail && result->status == SGATE_INTERNAL))
		cell_wrong(cell, "%s: %s", sgate_status_text(result->status),
		    result->text);
}

/* Another host, while that process waits. */
static void
come_between(struct site *site, struct cell *cell)
{
	const struct timespec pause = {0, PAUSE_MS / 2 * 1000000};

	nanosleep(&pause, NULL);
	if (site_round(site, site->there) != SGATE_OK)
		cell_wrong(cell, "another host's round waits");
	if (cell->op->next == NULL && cell->count > 0)
		do_next(site, cell);
}

static void
run_cell(struct site *site, struct cell *cell)
{
	pid_t pid;
	size_t i;

	snprintf(cell->user, sizeof(cell->user), USER "%u", site->number++);
	settle_breaker(&site->common->here.durable);
	settle_breaker(&site->common->here.cache);
	memset(&site->common->result, 0, sizeof(site->common->result));
	if (cell->op->prepare != NULL)
		cell->op->prepare(site, cell);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		run_child(site, cell);
	if (cell->is_paused)
		come_between(site, cell);
	wait_for_child(site, cell, pid);
	if (cell->op->judge != NULL)
		cell->op->judge(site, cell);
	if (!cell->is_paused || cell->op->next != NULL)
		do_next(site, cell);
	heal(site, cell);
	for (i = 0; i < cell->count; i++)
		check_target(site, cell, &cell->targets[i]);
	if (cell->count > 0)
		check_user(site, cell);
	if (cell->op->check != NULL)
		cell->op->check(site, cell);
}

/* ---- the cells of an operation ---- */

enum action { KILL, PAUSE, ERROR, ERRORS, ACTIONS };
static const char *const action_texts[ACTIONS] = {
    "kill:1", "pause:40:1", "error:1", "error"};

struct matrix {
	struct site *site;
	const struct op *op;
	unsigned cells[ACTIONS], failed;
	unsigned long normally[PLACES_MAX];
	/* Places that are come to behind a fault alone: that one. */
	char behind[PLACES_MAX][SPEC_MAX];
};

static void
add_spec(struct cell *cell, const char *more_of_it)
{
	size_t len = strlen(cell->spec);

	if (more_of_it != NULL && *more_of_it != '\0')
		snprintf(cell->spec + len, sizeof(cell->spec) - len, "%s%s",
		    len > 0 ? "," : "", more_of_it);
}

static void
try_cell(struct matrix *m, const char *before, size_t place, int action)
{
	struct cell cell = {.op = m->op, .is_paused = action == PAUSE};
	const struct result *result = &m->site->common->result;
	size_t i;

	if (action == ACTIONS)
		copy_text(cell.spec, sizeof(cell.spec), "");
	else
		snprintf(cell.spec, sizeof(cell.spec), "%s%s%s=%s", before,
		    *before == '\0' ? "" : ",", places[place],
		    action_texts[action]);
	add_spec(&cell, m->op->more);
	add_spec(&cell, more);
	run_cell(m->site, &cell);
	if (action == ACTIONS && !cell.is_acknowledged &&
	    !(m->op->is_refused && result->status == SGATE_NOT_FOUND))
		cell_wrong(&cell, "without a fault: %s", result->text);
	if (action != ACTIONS)
		m->cells[action]++;
	if (cell.wrong[0] != '\0' && ++m->failed <= SHOWN_MAX)
		printf("# %s %s: %s (%s)\n", m->op->name, cell.spec, cell.wrong,
		    cell.is_acknowledged ? "acknowledged"
		    : cell.is_known      ? result->text
					 : "killed");
	for (i = 0; i < places_count; i++) {
		if (result->reached[i] == 0)
			continue;
		was_reached[i] = true;
		if (action == ACTIONS)
			m->normally[i] = result->reached[i];
		else if (m->normally[i] == 0 && m->behind[i][0] == '\0' &&
			 *before == '\0')
			copy_text(m->behind[i], SPEC_MAX, cell.spec);
	}
}

static bool
try_operation(struct site *site, const struct op *op, unsigned sums[ACTIONS])
{
	struct matrix *m = calloc(1, sizeof(*m));
	int64_t begun_ms = clock_monotonic_ms();
	bool is_ok;
	size_t i;
	int action;

	m->site = site;
	m->op = op;
	site_sql(site, "DELETE FROM session");
	try_cell(m, "", 0, ACTIONS);
	for (i = 0; i < places_count; i++)
		for (action = 0; action < ACTIONS && m->normally[i] > 0;
		     action++)
			try_cell(m, "", i, action);
	for (i = 0; i < places_count; i++)
		for (action = 0; action < ACTIONS && m->behind[i][0] != '\0';
		     action++)
			try_cell(m, m->behind[i], i, action);
	is_ok = m->failed == 0;
	printf("# %s: %u crashes, %u pauses, %u errors; %u failed; %d ms\n",
	    op->name, m->cells[KILL], m->cells[PAUSE],
	    m->cells[ERROR] + m->cells[ERRORS], m->failed,
	    (int)(clock_monotonic_ms() - begun_ms));
	for (action = 0; action < ACTIONS; action++)
		sums[action] += m->cells[action];
	free(m);
	return is_ok;
}

/* ---- servers ---- */

static void
site_open(struct site *site)
{
	const char *temp = getenv("TMPDIR");
	char keys[96], socket[128], address[128];
	const char *const overrides[] = {keys, socket, "mysql.user=root",
	    "mysql.database=" DATABASE, address, "gateway.request_timeout=9s",
	    "redis.timeout=2s", "mysql.read_timeout=3s",
	    "mysql.write_timeout=3s", "fence.poll_interval=10s",
	    "session.create_without_mysql=yes", NULL};
	const struct spool_limits limits = {.dir = site->spool_dir,
	    .max_bytes = INT64_C(1) << 24,
	    .keep_ms = 60000};
	struct sgate_error err = {.text = ""};

	snprintf(site->dir, sizeof(site->dir), "%s/sgfail-XXXXXX",
	    temp != NULL && strlen(temp) < 32 ? temp : "/tmp");
	if (!redis_open(&site->redis) || !mariadb_open(&site->db) ||
	    mkdtemp(site->dir) == NULL)
		goto failed;
	snprintf(
	    site->spool_dir, sizeof(site->spool_dir), "%s/spool", site->dir);
	copy_text(site->database, sizeof(site->database), DATABASE);
	mariadb_run(&site->db, NULL, "CREATE DATABASE " DATABASE);
	snprintf(keys, sizeof(keys), "keys.file=%s/keys", site->dir);
	snprintf(socket, sizeof(socket), "mysql.socket=%s", site->db.socket);
	snprintf(address, sizeof(address), "redis.address=unix:%s",
	    site->redis.socket);
	site->common = mmap(NULL, sizeof(*site->common), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sgate_conf_load(NULL, overrides, &site->conf, &err) != SGATE_OK ||
	    keys_create(site->conf->keys.file, clock_utc_ms(), &err) !=
		SGATE_OK)
		goto failed;
	if (local_create(1024 * 1024, &site->local, &err) != SGATE_OK ||
	    batch_create(&site->batch, &err) != SGATE_OK)
		goto failed;
	site->here = make_manager(site, &site->common->here, false);
	site->there = make_manager(site, &site->common->there, false);
	site->past = make_manager(site, &site->common->there, true);
	if (spool_open(&limits, &site->spool, &err) != SGATE_OK ||
	    spool_reader_open(&limits, SPOOL_TO_DURABLE | SPOOL_TO_CACHE,
		&site->reader, &err) != SGATE_OK ||
	    manager_schema_init(site->here, &err) != SGATE_OK ||
	    site_round(site, site->here) != SGATE_OK ||
	    site_round(site, site->there) != SGATE_OK)
		goto failed;
	return;
failed:
	printf("Bail out! the servers: %s\n", err.text);
	exit(1);
}

static void
site_close(struct site *site)
{
	char command[128];

	spool_close(site->spool);
	spool_reader_close(site->reader);
	sgate_manager_free(site->here);
	sgate_manager_free(site->there);
	sgate_manager_free(site->past);
	sgate_conf_free(site->conf);
	local_close(site->local);
	batch_close(site->batch);
	redis_close(&site->redis);
	mariadb_close(&site->db);
	snprintf(command, sizeof(command), "rm -r %s", site->dir);
	if (system(command) != 0)
		printf("# %s is left\n", site->dir);
}

int
main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	unsigned sums[ACTIONS] = {0}, sum = 0, tests = 0, failed = 0;
	struct site site = {.number = 1};
	size_t i, missed = 0;

	if (argc > 2)
		more = argv[2];
	signal(SIGPIPE, SIG_IGN);
	find_places();
	site_open(&site);
	for (i = 0; i < ops_count; i++) {
		if (strstr(ops[i].name, word) == NULL)
			continue;
		if (!try_operation(&site, &ops[i], sums)) {
			printf("not ");
			failed++;
		}
		printf("ok %u - %s\n", ++tests, ops[i].name);
	}
	for (i = 0; i < places_count && *word == '\0'; i++)
		if (!was_reached[i]) {
			printf("# %s: no operation comes there\n", places[i]);
			missed++;
		}
	for (i = 0; i < ACTIONS; i++)
		sum += sums[i];
	printf("%sok %u - every_failpoint_is_tried\n", missed > 0 ? "not " : "",
	    ++tests);
	printf("# %u cells: %d failpoints, %u crashes, %u pauses, %u errors\n",
	    sum, (int)places_count, sums[KILL], sums[PAUSE],
	    sums[ERROR] + sums[ERRORS]);
	printf("1..%u\n", tests);
	site_close(&site);
	return failed > 0 || missed > 0;
}
