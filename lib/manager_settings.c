/*
 * What is set for all hosts at once: maintenance and flushes (settings.h).
 *
 * They stand in the durable store. Who changes them takes their number (group
 * 255) first, which is their lock, reads them, and writes the row anew; one
 * audit row tells of it. The rounds poll that number with the others and read
 * the rows whenever it is another one; a process that changes them, or that
 * finds that nobody has polled for a while, reads them by itself. So all hosts
 * that reach the durable store go by them within a round. What does not:
 *
 * | the host                       | goes by                                  |
 * | does not reach the durable     | what it knew: nothing new comes, nothing |
 * | store                          | is forgotten, and what ends by itself    |
 * |                                | ends; it believes its copies for         |
 * |                                | fence.max_blind, and then nobody         |
 * | was started anew meanwhile     | what its fence's file has                |
 * | has no such file, or could not | nothing: SGATE_UNAVAILABLE               |
 * | read the rows in two rounds    |                                          |
 * | has a keeper that hangs        | copies as long as its last round is      |
 * |                                | young; who believes a row reads them     |
 *
 * A flush touches no session. A session that was created before the moment that
 * is set counts as ended wherever it is looked at; the reaper ends its row by
 * and by. The moment is the database's, which each host only knows by its
 * polls, half an answer's time off at most. So the moment of a flush lies that
 * much later than now, and the flush is acknowledged when it is past on every
 * host: who was created before the call is flushed, who is created after it is
 * not, whatever the clocks.
 */
#include "config.h"

#include "manager.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "failpoint.h"
#include "status.h"

/* How far hosts may be off, at most; else half of mysql.read_timeout, as an
 * answer that took longer is none. */
#define CLOCK_OFF_MAX_MS 250
#define CLOCK_OFF_MORE_MS 10
/* Rounds since the last one that tell that nobody polls: as of the fence. */
#define YOUNG_POLLS 3
/* Beyond what is known of the sessions' lives: other hosts may be set to
 * another session.absolute_timeout. */
#define NEEDED_MORE_MS (INT64_C(24) * 60 * 60 * 1000)
/* Rounds in which the rows may fail. */
#define FAILED_ROUNDS 2

/* ---- reading them ---- */

struct reading {
	struct settings *settings;
	const char *damaged; /* the row, or NULL */
};

static int
read_row(void *arg, const char *name, struct sgate_bytes value)
{
	struct reading *reading = arg;

	if (strcmp(name, SETTINGS_MAINTENANCE) == 0) {
		if (!settings_read_maintenances(value, reading->settings))
			reading->damaged = SETTINGS_MAINTENANCE;
	} else if (strcmp(name, SETTINGS_FLUSH) == 0) {
		if (!settings_read_flushes(value, reading->settings))
			reading->damaged = SETTINGS_FLUSH;
	}
	return 0;
}

static enum sgate_status
damaged(
    const struct sgate_manager *mgr, const char *row, struct sgate_error *err)
{
	return error_set(err, SGATE_UNAVAILABLE, mgr->ops->name, "setting", 0,
	    "row '%s' of table setting cannot be read: a newer version of "
	    "sessgate wrote it, or a person; until it is right nobody is let "
	    "in. `sessgatectl maintenance off` writes 'maintenance' anew; "
	    "delete 'flush', and flush again",
	    row);
}

/* What a poll has shown the number of, or newer: then the next poll tells. */
static enum sgate_status
read_rows(struct sgate_manager *mgr, const struct durable_poll *poll,
    struct settings *out, struct sgate_error *err)
{
	struct reading reading = {.settings = out};
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	out->store = poll->store;
	out->number = poll->settings + 1;
	status = manager_need_durable(mgr, err);
	if (status == SGATE_OK)
		status = manager_read(mgr,
		    mgr->ops->setting_list(
			mgr->durable, read_row, &reading, err),
		    err);
	if (status == SGATE_OK && reading.damaged != NULL)
		status = damaged(mgr, reading.damaged, err);
	return status;
}

static void
note_polled(struct settings_shared *shared, int64_t began_boot_ms)
{
	int64_t before_ms = atomic_load(&shared->polled_ms);

	while (before_ms < began_boot_ms &&
	       !atomic_compare_exchange_weak(
		   &shared->polled_ms, &before_ms, began_boot_ms))
		continue;
}

enum sgate_status
settings_round(struct sgate_manager *mgr, const struct durable_poll *poll,
    int64_t began_boot_ms,
    void (*keep)(void *arg, const struct settings *settings), void *arg,
    struct sgate_error *err)
{
	struct settings_shared *shared = &mgr->stores->settings;
	unsigned *failed = &mgr->fence_work.settings_failed;
	struct settings settings;
	enum sgate_status status = SGATE_OK;
	uint64_t before;

	if (settings_are_of(shared, &poll->store, poll->settings)) {
		settings_watch(shared, manager_now_ms(mgr));
	} else {
		before = atomic_load(&shared->published);
		status = read_rows(mgr, poll, &settings, err);
		if (status == SGATE_OK && keep != NULL)
			keep(arg, &settings);
		/* What somebody has read meanwhile may be newer; if it is not,
		 * the next poll tells. */
		if (status == SGATE_OK &&
		    atomic_load(&shared->published) == before)
			settings_publish(
			    shared, &settings, manager_now_ms(mgr));
	}
	*failed = status == SGATE_OK ? 0 : *failed + 1;
	if (status == SGATE_OK)
		note_polled(shared, began_boot_ms);
	else if (*failed >= FAILED_ROUNDS)
		settings_forget(shared);
	return status;
}

static enum sgate_status
learn(struct sgate_manager *mgr, struct sgate_error *err)
{
	int64_t began_boot_ms = clock_boot_ms();
	enum stores_server served_by = mgr->served_by;
	struct durable_poll poll;
	enum sgate_status status = manager_need_durable(mgr, err);

	if (status == SGATE_OK)
		status = manager_read(
		    mgr, mgr->ops->poll(mgr->durable, &poll, err), err);
	if (status == SGATE_OK)
		status =
		    settings_round(mgr, &poll, began_boot_ms, NULL, NULL, err);
	mgr->served_by = served_by;
	return status;
}

static bool
is_young(const struct sgate_manager *mgr)
{
	int64_t limit_ms = YOUNG_POLLS * mgr->conf->fence.poll_interval_ms;
	int64_t age_ms =
	    clock_boot_ms() - atomic_load(&mgr->stores->settings.polled_ms);

	return (age_ms <= limit_ms && age_ms >= -limit_ms) ||
	       failpoint_is_off("settings-young");
}

enum sgate_status
settings_need(
    struct sgate_manager *mgr, bool must_be_young, struct sgate_error *err)
{
	enum sgate_status status;
	struct sgate_error why;

	if (settings_are_known(&mgr->stores->settings) &&
	    (!must_be_young || is_young(mgr)))
		return SGATE_OK;
	error_clear(&why);
	status = learn(mgr, &why);
	if (status == SGATE_INTERNAL || status == SGATE_NO_MEMORY) {
		if (err != NULL)
			*err = why;
		return status;
	}
	if (status == SGATE_OK)
		return SGATE_OK;
	return error_set(err, SGATE_UNAVAILABLE, "session", "settings",
	    why.native_code,
	    "it cannot be known who is flushed or held back by maintenance: "
	    "%.180s",
	    why.text);
}

/* ---- judging by them ---- */

static enum sgate_status
hold(const struct settings_maintenance *by, struct sgate_error *err)
{
	error_set(err, SGATE_UNAVAILABLE, "session", "maintenance", 0, "%s",
	    by->reason[0] != '\0' ? by->reason : "Maintenance");
	if (err != NULL)
		err->reason = SGATE_REASON_MAINTENANCE;
	return SGATE_UNAVAILABLE;
}

/* They were known a moment ago. */
static enum sgate_status
not_now(struct sgate_error *err)
{
	return error_set(err, SGATE_UNAVAILABLE, "session", "settings", 0,
	    "what is flushed or held back by maintenance is just being read; "
	    "try again");
}

enum sgate_status
settings_judge_of(struct sgate_manager *mgr, const char *realm,
    struct sgate_bytes roles, int64_t created_ms, bool is_held, int64_t now_ms,
    struct sgate_error *err)
{
	const struct settings_maintenance *by;
	struct settings settings;

	if (!settings_get(&mgr->stores->settings, &settings))
		return not_now(err);
	if (settings_flushed(&settings, realm, roles, created_ms))
		return error_reason(
		    err, SGATE_NOT_FOUND, SGATE_REASON_FLUSHED, "get");
	by = is_held ? settings_holding(&settings, realm, roles, false, now_ms)
		     : NULL;
	return by == NULL ? SGATE_OK : hold(by, err);
}

enum sgate_status
settings_judge(struct sgate_manager *mgr, const struct sgate_session *session,
    bool is_row, bool is_held, struct sgate_error *err)
{
	enum sgate_status status = settings_need(mgr, is_row, err);

	if (status != SGATE_OK ||
	    !settings_may_concern(&mgr->stores->settings, session->created_ms))
		return status;
	return settings_judge_of(mgr, session->realm,
	    sgate_session_get_roles(session), session->created_ms, is_held,
	    manager_now_ms(mgr), err);
}

/*
 * Who logs in after a flush is not meant by it, though the database's clock has
 * been set back since, or another server with a slower one is the primary now:
 * created at the moment of that flush. All else goes by what time it is.
 */
static enum sgate_status
settings_date(const struct settings *settings, struct sgate_session *session,
    struct sgate_error *err)
{
	int64_t until_ms = settings_flushed_until(
	    settings, session->realm, sgate_session_get_roles(session));

	if (until_ms <= session->created_ms)
		return SGATE_OK;
	if (until_ms >= session->absolute_ms)
		return error_set(err, SGATE_UNAVAILABLE, "session", "settings",
		    0,
		    "a flush is of a moment so far ahead that a session would "
		    "have expired by then: the clock of the database has been "
		    "set back; set it right, or delete the row 'flush' of "
		    "table setting and flush again");
	session->created_ms = until_ms;
	return SGATE_OK;
}

enum sgate_status
settings_judge_new(struct sgate_manager *mgr, struct sgate_session *session,
    struct sgate_error *err)
{
	const struct settings_maintenance *by;
	struct settings settings;
	enum sgate_status status;

	/* What is known goes on while nobody can tell more. */
	status = settings_need(mgr, true, err);
	if (status != SGATE_OK && !settings_are_known(&mgr->stores->settings))
		return status;
	if (!settings_get(&mgr->stores->settings, &settings))
		return not_now(err);
	by = settings_holding(&settings, session->realm,
	    sgate_session_get_roles(session), true, manager_now_ms(mgr));
	if (by != NULL)
		return hold(by, err);
	error_clear(err);
	return settings_date(&settings, session, err);
}

bool
manager_is_held(struct sgate_manager *mgr, const struct sgate_session *session)
{
	struct settings settings;

	return settings_get(&mgr->stores->settings, &settings) &&
	       settings_holding(&settings, session->realm,
		   sgate_session_get_roles(session), false,
		   manager_now_ms(mgr)) != NULL;
}

bool
settings_are_against(
    const struct sgate_manager *mgr, const struct sgate_session *session)
{
	struct settings settings;

	return settings_may_concern(
		   &mgr->stores->settings, session->created_ms) &&
	       settings_get(&mgr->stores->settings, &settings) &&
	       settings_flushed(&settings, session->realm,
		   sgate_session_get_roles(session), session->created_ms);
}

void
settings_flushed_before(
    const struct sgate_manager *mgr, int64_t *out_any_ms, int64_t *out_all_ms)
{
	struct settings settings;

	*out_any_ms = *out_all_ms = 0;
	if (!settings_get(&mgr->stores->settings, &settings))
		return;
	*out_any_ms = settings_any_flushed_before(&settings);
	*out_all_ms = settings_all_flushed_before(&settings);
}

/* ---- changing them ---- */

struct edit {
	const char *row;
	struct settings settings; /* as they are, under their lock */
	const char *damaged;
	/* Changes them. SGATE_NOT_FOUND: there was nothing to change. */
	enum sgate_status (*make)(struct sgate_manager *mgr, struct edit *edit,
	    struct sgate_error *err);
	struct settings_maintenance maintenance;
	struct settings_flush flush;
};

static enum sgate_status
write_row(struct sgate_manager *mgr, const struct edit *edit, uint64_t number,
    struct sgate_error *err)
{
	struct buf text = {0};
	enum sgate_status status;

	if (strcmp(edit->row, SETTINGS_FLUSH) == 0)
		settings_write_flushes(&edit->settings, &text);
	else
		settings_write_maintenances(&edit->settings, &text);
	if (buf_failed(&text))
		status = error_memory(err, "setting");
	else
		status = manager_write(mgr,
		    mgr->ops->setting_put(
			mgr->durable, edit->row, buf_bytes(&text), number, err),
		    err);
	buf_clear(&text);
	return status;
}

static enum sgate_status
edit_apply(struct change *change, struct sgate_error *err)
{
	struct sgate_manager *mgr = change->mgr;
	struct edit *edit = change->arg;
	struct reading reading = {.settings = &edit->settings};
	enum sgate_status status;
	uint64_t number;

	memset(&edit->settings, 0, sizeof(edit->settings));
	status = manager_write(mgr,
	    mgr->ops->counter_next(
		mgr->durable, DURABLE_SETTINGS, &number, err),
	    err);
	if (status == SGATE_OK)
		status = manager_write(mgr,
		    mgr->ops->setting_list(
			mgr->durable, read_row, &reading, err),
		    err);
	edit->damaged = reading.damaged;
	if (status == SGATE_OK)
		status = edit->make(mgr, edit, err);
	change->is_void = status == SGATE_NOT_FOUND;
	if (change->is_void)
		return SGATE_OK;
	return status == SGATE_OK ? write_row(mgr, edit, number, err) : status;
}

static void
describe_where(const struct settings_where *where, struct buf *out)
{
	if (where->is_all)
		buf_add_text(out, "; all realms");
}

static void
take_detail(struct change *change, struct buf *detail)
{
	input_copy(change->audit.detail, sizeof(change->audit.detail),
	    buf_bytes(detail));
	buf_clear(detail);
}

/*
 * This host goes by it when the call ends; that it cannot be read now matters
 * to nobody, for the next round does it.
 */
static enum sgate_status
edit_run(struct sgate_manager *mgr, struct edit *edit, const char *kind,
    enum sgate_reason reason, struct buf *detail, struct sgate_error *err)
{
	struct sgate_error ignored;
	struct change change;
	enum sgate_status status;

	change_init(&change, mgr, kind, reason, edit_apply, edit);
	take_detail(&change, detail);
	status = change_run(&change, err);
	if (status != SGATE_OK) {
		if (status == SGATE_UNAVAILABLE && err != NULL) {
			struct sgate_error why = *err;

			error_set(err, status, why.source, why.operation,
			    why.native_code,
			    "nothing was changed, and what was set before "
			    "stays in force: %.180s",
			    why.text);
		}
		return status;
	}
	(void)!learn(mgr, &ignored);
	return SGATE_OK;
}

static void
set_where(
    const struct sgate_manager *mgr, int all_realms, struct settings_where *out)
{
	out->is_all = all_realms != 0;
	if (!out->is_all)
		input_copy(out->realm, sizeof(out->realm), manager_realm(mgr));
}

/* A list of names, by commas. */
static enum sgate_status
set_roles(const struct sgate_bytes *roles, size_t count,
    char out[SETTINGS_ROLES_MAX + 1], struct sgate_error *err)
{
	char *joined = NULL;
	enum sgate_status status = input_roles(roles, count, &joined, err);

	if (status == SGATE_OK && strlen(joined) > SETTINGS_ROLES_MAX)
		status = error_set(err, SGATE_TOO_LARGE, "input", "roles", 0,
		    "roles: more than %d bytes together", SETTINGS_ROLES_MAX);
	if (status == SGATE_OK)
		input_copy(out, SETTINGS_ROLES_MAX + 1, bytes_of(joined));
	free(joined);
	return status;
}

static enum sgate_status
set_configured_roles(const struct sgate_manager *mgr,
    char out[SETTINGS_ROLES_MAX + 1], struct sgate_error *err)
{
	struct sgate_bytes roles[SESSION_ROLES_MAX];
	char *const *name = mgr->conf->session.admin_roles;
	size_t count = 0;

	for (; *name != NULL && count < SESSION_ROLES_MAX; name++)
		roles[count++] = bytes_of(*name);
	return set_roles(roles, count, out, err);
}

/* ---- maintenance ---- */

/* A row that cannot be read is written anew: that is how it is mended. */
static enum sgate_status
make_maintenance(
    struct sgate_manager *mgr, struct edit *edit, struct sgate_error *err)
{
	(void)mgr;
	if (!settings_add_maintenance(&edit->settings, &edit->maintenance))
		return error_set(err, SGATE_TOO_LARGE, "session", "maintenance",
		    0,
		    "%d realms are in maintenance, which is the most that can "
		    "be; set it for all realms",
		    SETTINGS_MAINTENANCES);
	return SGATE_OK;
}

static enum sgate_status
fill_maintenance(const struct sgate_manager *mgr,
    const struct sgate_maintenance *given, struct settings_maintenance *out,
    struct sgate_error *err)
{
	int64_t now_ms = manager_now_ms(mgr);
	enum sgate_status status;

	if (given->mode != SGATE_MAINTENANCE_NORMAL &&
	    given->mode != SGATE_MAINTENANCE_EMERGENCY)
		return error_set(err, SGATE_INVALID, "input", "mode", 0,
		    "mode: normal or emergency");
	if (given->until_ms != 0 && given->until_ms <= now_ms)
		return error_set(
		    err, SGATE_INVALID, "input", "until", 0, "until: is past");
	status = input_text("reason", given->reason, SETTINGS_REASON_MAX, err);
	if (status != SGATE_OK)
		return status;
	out->is_emergency = given->mode == SGATE_MAINTENANCE_EMERGENCY;
	out->since_ms = now_ms;
	out->until_ms = given->until_ms;
	input_copy(out->reason, sizeof(out->reason), given->reason);
	set_where(mgr, given->all_realms, &out->where);
	return given->set_roles != 0
		   ? set_roles(
			 given->roles, given->roles_count, out->roles, err)
		   : set_configured_roles(mgr, out->roles, err);
}

static void
describe_maintenance(const struct settings_maintenance *m, struct buf *out)
{
	char until[25];

	buf_add_text(out, m->is_emergency ? "emergency" : "normal");
	describe_where(&m->where, out);
	buf_printf(out, "; but %s", m->roles[0] != '\0' ? m->roles : "nobody");
	if (m->until_ms != 0) {
		clock_text(m->until_ms, until);
		buf_printf(out, "; until %s", until);
	}
	if (m->reason[0] != '\0')
		buf_printf(out, "; %s", m->reason);
}

enum sgate_status
sgate_maintenance_set(struct sgate_manager *mgr,
    const struct sgate_maintenance *maintenance, struct sgate_error *err)
{
	struct edit edit = {
	    .row = SETTINGS_MAINTENANCE, .make = make_maintenance};
	struct buf detail = {0};
	enum sgate_status status;

	manager_begin(mgr, err);
	status = fill_maintenance(mgr, maintenance, &edit.maintenance, err);
	if (status == SGATE_OK)
		status = manager_need_durable(mgr, err);
	if (status != SGATE_OK)
		return status;
	describe_maintenance(&edit.maintenance, &detail);
	return edit_run(
	    mgr, &edit, "maintenance", SGATE_REASON_MAINTENANCE, &detail, err);
}

static enum sgate_status
make_end(struct sgate_manager *mgr, struct edit *edit, struct sgate_error *err)
{
	(void)mgr;
	(void)err;
	return settings_end_maintenance(
		   &edit->settings, &edit->maintenance.where) ||
		       edit->damaged != NULL
		   ? SGATE_OK
		   : SGATE_NOT_FOUND;
}

enum sgate_status
sgate_maintenance_end(
    struct sgate_manager *mgr, int all_realms, struct sgate_error *err)
{
	struct edit edit = {.row = SETTINGS_MAINTENANCE, .make = make_end};
	struct buf detail = {0};
	enum sgate_status status = manager_enter(mgr, err);

	if (status != SGATE_OK)
		return status;
	set_where(mgr, all_realms, &edit.maintenance.where);
	buf_add_text(&detail, "off");
	describe_where(&edit.maintenance.where, &detail);
	return edit_run(
	    mgr, &edit, "maintenance", SGATE_REASON_OK, &detail, err);
}

void
settings_tell_maintenance(const struct settings_shared *shared,
    const char *realm, int64_t now_ms, struct sgate_maintenance_state *out)
{
	const struct settings_maintenance *m;
	struct settings settings;

	memset(out, 0, sizeof(*out));
	out->mode = SGATE_MAINTENANCE_UNKNOWN;
	if (!settings_get(shared, &settings))
		return;
	out->mode = SGATE_MAINTENANCE_OFF;
	m = settings_in_force(&settings, realm, now_ms);
	if (m == NULL)
		return;
	out->mode = m->is_emergency ? SGATE_MAINTENANCE_EMERGENCY
				    : SGATE_MAINTENANCE_NORMAL;
	out->all_realms = m->where.is_all;
	out->since_ms = m->since_ms;
	out->until_ms = m->until_ms;
	memcpy(out->roles, m->roles, sizeof(out->roles));
	memcpy(out->reason, m->reason, sizeof(out->reason));
}

enum sgate_status
sgate_maintenance_get(struct sgate_manager *mgr,
    struct sgate_maintenance_state *out_state, struct sgate_error *err)
{
	enum sgate_status status;

	memset(out_state, 0, sizeof(*out_state));
	out_state->mode = SGATE_MAINTENANCE_UNKNOWN;
	manager_begin(mgr, err);
	status = settings_need(mgr, true, err);
	if (status != SGATE_OK && !settings_are_known(&mgr->stores->settings))
		return status;
	error_clear(err);
	settings_tell_maintenance(&mgr->stores->settings, mgr->call.realm,
	    manager_now_ms(mgr), out_state);
	return SGATE_OK;
}

/* ---- flush ---- */

/* How far another host's idea of the database's time may be from this one's. */
static int64_t
clocks_off_ms(const struct sgate_manager *mgr)
{
	int64_t ms = mgr->conf->mysql.read_timeout_ms / 2 + CLOCK_OFF_MORE_MS;

	if (!mgr->ops->is_shared || mgr->clock != NULL)
		return 0;
	return ms < CLOCK_OFF_MAX_MS ? ms : CLOCK_OFF_MAX_MS;
}

static int64_t
longest_life_ms(const struct sgate_conf *conf)
{
	int64_t life_ms = conf->session.absolute_timeout_ms;

	if (conf->session.remember_absolute_timeout_ms > life_ms)
		life_ms = conf->session.remember_absolute_timeout_ms;
	return life_ms;
}

/* Sessions that are created away may not have a row yet. */
static enum sgate_status
make_flush(
    struct sgate_manager *mgr, struct edit *edit, struct sgate_error *err)
{
	int64_t now_ms = manager_now_ms(mgr), latest_ms;
	enum sgate_status status;

	if (edit->damaged != NULL && strcmp(edit->damaged, edit->row) == 0)
		return damaged(mgr, edit->damaged, err);
	status = manager_write(
	    mgr, mgr->ops->latest_expiry(mgr->durable, &latest_ms, err), err);
	if (status != SGATE_OK)
		return status;
	if (latest_ms < now_ms + longest_life_ms(mgr->conf))
		latest_ms = now_ms + longest_life_ms(mgr->conf);
	edit->flush.needed_until_ms = latest_ms + NEEDED_MORE_MS;
	if (!settings_add_flush(&edit->settings, &edit->flush, now_ms))
		return error_set(err, SGATE_TOO_LARGE, "session", "flush", 0,
		    "%d different flushes are in force, which is the most that "
		    "can be until their sessions have expired; flush all users "
		    "of the realm, which takes the place of its others",
		    SETTINGS_FLUSHES);
	return SGATE_OK;
}

static enum sgate_status
fill_flush(const struct sgate_manager *mgr, const struct sgate_flush *given,
    struct settings_flush *out, struct sgate_error *err)
{
	int64_t now_ms = manager_now_ms(mgr);

	if (given->before_ms < 0 || given->before_ms > now_ms)
		return error_set(err, SGATE_INVALID, "input", "before", 0,
		    "before: lies in the future, when those are to live who "
		    "log in again");
	out->before_ms = given->before_ms != 0
			     ? given->before_ms
			     : now_ms + clocks_off_ms(mgr) + 1;
	set_where(mgr, given->all_realms, &out->where);
	out->whom = SETTINGS_ALL;
	if (given->roles_count == 0)
		return SGATE_OK;
	out->whom = given->but_roles != 0 ? SETTINGS_WITHOUT : SETTINGS_WITH;
	return set_roles(given->roles, given->roles_count, out->roles, err);
}

static void
describe_flush(const struct settings_flush *flush, struct buf *out)
{
	static const char *const whom[] = {"all", "roles ", "all but roles "};
	char before[25];

	clock_text(flush->before_ms, before);
	buf_printf(out, "%s%s", whom[flush->whom], flush->roles);
	describe_where(&flush->where, out);
	buf_printf(out, "; created before %s", before);
}

/* Until that moment is past on every host. */
static void
wait_until_past(const struct sgate_manager *mgr, int64_t before_ms)
{
	int64_t ms = before_ms + clocks_off_ms(mgr) - manager_now_ms(mgr);
	struct timespec left = {
	    .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	if (mgr->clock == NULL && ms > 0 && ms <= 2 * CLOCK_OFF_MAX_MS + 1)
		nanosleep(&left, NULL);
}

enum sgate_status
sgate_sessions_flush(struct sgate_manager *mgr, const struct sgate_flush *flush,
    int64_t *out_before_ms, struct sgate_error *err)
{
	struct edit edit = {.row = SETTINGS_FLUSH, .make = make_flush};
	struct buf detail = {0};
	enum sgate_status status;

	if (out_before_ms != NULL)
		*out_before_ms = 0;
	manager_begin(mgr, err);
	status = fill_flush(mgr, flush, &edit.flush, err);
	if (status == SGATE_OK)
		status = manager_need_durable(mgr, err);
	if (status != SGATE_OK)
		return status;
	describe_flush(&edit.flush, &detail);
	status =
	    edit_run(mgr, &edit, "flush", SGATE_REASON_FLUSHED, &detail, err);
	if (status != SGATE_OK)
		return status;
	wait_until_past(mgr, edit.flush.before_ms);
	if (out_before_ms != NULL)
		*out_before_ms = edit.flush.before_ms;
	return SGATE_OK;
}
