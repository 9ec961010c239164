/* Maintenance and flush: whom they refuse, where, and what goes on. */
#include "tap.h"

#include "world.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

static const struct sgate_flush everybody = {.all_realms = 1};

static void
flush(struct world *w, const struct sgate_flush *flush)
{
	int64_t before_ms = 0;

	assert_status(w,
	    sgate_sessions_flush(w->mgr, flush, &before_ms, &w->err), SGATE_OK);
	assert_true(before_ms ==
		    (flush->before_ms != 0 ? flush->before_ms : w->now_ms + 1));
	w->now_ms++;
}

static void
set(struct world *w, enum sgate_maintenance_mode mode, const char *reason)
{
	const struct sgate_maintenance m = {
	    .mode = mode, .all_realms = 1, .reason = B(reason)};

	assert_status(w, sgate_maintenance_set(w->mgr, &m, &w->err), SGATE_OK);
}

static void
end(struct world *w)
{
	assert_status(w, sgate_maintenance_end(w->mgr, 1, &w->err), SGATE_OK);
}

static void
create_as(struct world *w, const char *role, struct made *out)
{
	struct sgate_bytes roles = B(role);
	const struct sgate_create create = {
	    .user_id = B("ann"), .roles = &roles, .roles_count = 1};

	world_create_with(w, &create, out);
}

static enum sgate_status
create_now(struct world *w, const char *role)
{
	struct sgate_bytes roles = B(role);
	const struct sgate_create create = {.user_id = B("bob"),
	    .roles = &roles,
	    .roles_count = role == NULL ? 0 : 1};
	struct sgate_session *session = NULL;
	char *token = NULL;
	enum sgate_status status =
	    sgate_session_create(w->mgr, &create, &session, &token, &w->err);

	sgate_session_free(session);
	sgate_token_free(token);
	return status;
}

static bool
is_held_back(struct world *w, const char *token)
{
	struct sgate_session *session = NULL;
	enum sgate_status status =
	    sgate_session_get(w->mgr, B(token), 0, &session, &w->err);

	sgate_session_free(session);
	if (status != SGATE_UNAVAILABLE)
		return false;
	assert_int_equal(w->err.reason, SGATE_REASON_MAINTENANCE);
	return true;
}

/* ---- flush ---- */

static void
a_flushed_session_is_nowhere_live(void **state)
{
	const struct sgate_update change = {.data_patch = B("{\"a\":1}")};
	struct sgate_session *s = NULL;
	struct sgate_stats stats;
	struct made made, anonymous;
	char *token = NULL;
	struct world w;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	world_create(&w, "", &anonymous);
	flush(&w, &everybody);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_FLUSHED);
	assert_int_equal(world_look(&w, anonymous.token), SGATE_REASON_FLUSHED);
	assert_int_equal(world_look_at(&w, &made.ref), SGATE_REASON_FLUSHED);
	assert_int_equal(world_count(&w, "ann"), 0);
	assert_status(&w, sgate_stats(w.mgr, &stats, &w.err), SGATE_OK);
	assert_true(stats.live == 0 && stats.users == 0);
	assert_true(stats.anonymous == 0 && stats.ended == 0);
	assert_status(&w,
	    sgate_session_update(w.mgr, &made.ref, &change, &s, &w.err),
	    SGATE_NOT_FOUND);
	assert_int_equal(w.err.reason, SGATE_REASON_FLUSHED);
	assert_status(&w,
	    sgate_session_extend(w.mgr, B(made.token), &s, &w.err),
	    SGATE_NOT_FOUND);
	assert_status(&w,
	    sgate_session_rotate(w.mgr, B(made.token), &s, &token, &w.err),
	    SGATE_NOT_FOUND);
	assert_int_equal(w.err.reason, SGATE_REASON_FLUSHED);
	made_clear(&made);
	made_clear(&anonymous);
	/* Who logs in now is not concerned. */
	world_create(&w, "ann", &made);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_int_equal(world_count(&w, "ann"), 1);
	made_clear(&made);
	world_close(&w);
}

static void
a_flush_touches_no_row_and_the_reaper_ends_them(void **state)
{
	struct sgate_reaped reaped = {0};
	struct sgate_session *row;
	struct made old[3], fresh;
	struct world w;
	size_t i;

	(void)state;
	world_start(&w);
	for (i = 0; i < 3; i++)
		create_as(&w, i == 2 ? "admin" : "x", &old[i]);
	flush(&w, &(struct sgate_flush){.all_realms = 1,
		      .roles = (struct sgate_bytes[]){B("x")},
		      .roles_count = 1});
	world_create(&w, "ann", &fresh);
	for (i = 0; i < 3; i++) {
		row = world_row(&w, &old[i].ref);
		assert_int_equal(row->state, SESSION_LIVE);
		sgate_session_free(row);
	}
	assert_int_equal(world_audit(&w, "flush", NULL), 1);
	assert_int_equal(world_audit(&w, "end", NULL), 0);
	for (i = 0; i < 10 && !reaped.is_done; i++)
		assert_status(&w, sgate_reap(w.mgr, &reaped, &w.err), SGATE_OK);
	assert_int_equal(world_audit(&w, "end", NULL), 2);
	for (i = 0; i < 3; i++) {
		row = world_row(&w, &old[i].ref);
		assert_int_equal(
		    row->state, i == 2 ? SESSION_LIVE : SESSION_ENDED);
		assert_int_equal(row->end_reason,
		    i == 2 ? SGATE_REASON_OK : SGATE_REASON_FLUSHED);
		sgate_session_free(row);
		assert_int_equal(world_look(&w, old[i].token),
		    i == 2 ? SGATE_REASON_OK : SGATE_REASON_FLUSHED);
		made_clear(&old[i]);
	}
	assert_int_equal(world_look(&w, fresh.token), SGATE_REASON_OK);
	made_clear(&fresh);
	world_close(&w);
}

static void
a_flush_means_a_realm_roles_and_a_moment(void **state)
{
	struct sgate_bytes admin = B("admin");
	struct made staff, other, shop, young;
	struct world w;

	(void)state;
	world_start(&w);
	create_as(&w, "admin", &staff);
	create_as(&w, "x", &other);
	world_caller(w.mgr, "shop");
	world_create(&w, "ann", &shop);
	flush(&w, &(struct sgate_flush){.all_realms = 0});
	assert_int_equal(world_look(&w, shop.token), SGATE_REASON_FLUSHED);
	world_caller(w.mgr, "");
	assert_int_equal(world_look(&w, other.token), SGATE_REASON_OK);
	flush(&w, &(struct sgate_flush){
		      .roles = &admin, .roles_count = 1, .but_roles = 1});
	assert_int_equal(world_look(&w, other.token), SGATE_REASON_FLUSHED);
	assert_int_equal(world_look(&w, staff.token), SGATE_REASON_OK);
	w.now_ms += 5000;
	create_as(&w, "admin", &young);
	w.now_ms += 5000;
	flush(&w, &(struct sgate_flush){
		      .all_realms = 1, .before_ms = w.now_ms - 6000});
	assert_int_equal(world_look(&w, staff.token), SGATE_REASON_FLUSHED);
	assert_int_equal(world_look(&w, young.token), SGATE_REASON_OK);
	assert_status(&w,
	    sgate_sessions_flush(w.mgr,
		&(struct sgate_flush){.before_ms = w.now_ms + 1}, NULL, &w.err),
	    SGATE_INVALID);
	assert_non_null(strstr(w.err.text, "future"));
	made_clear(&staff);
	made_clear(&other);
	made_clear(&shop);
	made_clear(&young);
	world_close(&w);
}

/* The database's clock was an hour ahead, or its successor's is behind. */
static void
who_logs_in_after_a_flush_is_let_in_though_the_clock_was_set_back(void **state)
{
	const int64_t hour_ms = 3600000;
	struct made before, after, other;
	struct sgate_session *row;
	struct world w;

	(void)state;
	world_start(&w);
	create_as(&w, "x", &before);
	flush(&w, &(struct sgate_flush){.all_realms = 1,
		      .roles = (struct sgate_bytes[]){B("x")},
		      .roles_count = 1});
	w.now_ms -= hour_ms;
	create_as(&w, "x", &after);
	create_as(&w, "y", &other);
	assert_int_equal(world_look(&w, before.token), SGATE_REASON_FLUSHED);
	assert_int_equal(world_look(&w, after.token), SGATE_REASON_OK);
	assert_int_equal(world_look(&w, other.token), SGATE_REASON_OK);
	/* It does not live longer for that. */
	row = world_row(&w, &after.ref);
	assert_true(row->created_ms == w.now_ms + hour_ms);
	assert_true(row->last_seen_ms == w.now_ms);
	assert_true(
	    row->absolute_ms == w.now_ms + w.conf->session.absolute_timeout_ms);
	sgate_session_free(row);
	row = world_row(&w, &other.ref);
	assert_true(row->created_ms == w.now_ms);
	sgate_session_free(row);
	/* Further than any session lives: that is said. */
	w.now_ms -= w.conf->session.absolute_timeout_ms;
	assert_status(&w, create_now(&w, "x"), SGATE_UNAVAILABLE);
	assert_non_null(strstr(w.err.text, "clock"));
	assert_status(&w, create_now(&w, "y"), SGATE_OK);
	made_clear(&before);
	made_clear(&after);
	made_clear(&other);
	world_close(&w);
}

/* Another host, or a program of its own, reads them by itself. */
static void
another_process_goes_by_it(void **state)
{
	struct sgate_manager *alone;
	struct sgate_session *s = NULL;
	struct made made;
	struct world w;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	alone = world_manager(&w, NULL);
	manager_set_stores(alone, NULL);
	assert_status(&w,
	    sgate_session_get(alone, B(made.token), 0, &s, &w.err), SGATE_OK);
	sgate_session_free(s);
	flush(&w, &everybody);
	/* As if its last poll were two seconds old. */
	atomic_fetch_sub(&alone->own_stores.settings.polled_ms, 2000);
	alone->round_after_ms = 0;
	assert_status(&w,
	    sgate_session_get(alone, B(made.token), 0, &s, &w.err),
	    SGATE_NOT_FOUND);
	assert_int_equal(w.err.reason, SGATE_REASON_FLUSHED);
	sgate_manager_free(alone);
	made_clear(&made);
	world_close(&w);
}

static void
a_full_user_who_was_flushed_may_log_in(void **state)
{
	static const char *const one[] = {
	    "session.max_sessions=1", "session.on_limit=refuse", NULL};
	const struct sgate_create create = {
	    .user_id = B("ann"), .idempotency_key = B("k")};
	struct sgate_session *s = NULL;
	struct made made, again;
	char *token = NULL;
	struct world w;

	(void)state;
	world_start_with(&w, one);
	world_create_with(&w, &create, &made);
	assert_status(&w,
	    sgate_session_create(w.mgr,
		&(struct sgate_create){.user_id = B("ann")}, &s, &token,
		&w.err),
	    SGATE_DENIED);
	flush(&w, &everybody);
	/* A repeat is told that what it made has ended. */
	assert_status(&w,
	    sgate_session_create(w.mgr, &create, &s, &token, &w.err),
	    SGATE_CONFLICT);
	world_create(&w, "ann", &again);
	assert_int_equal(world_look(&w, again.token), SGATE_REASON_OK);
	made_clear(&made);
	made_clear(&again);
	world_close(&w);
}

static void
a_flush_is_kept_while_somebody_may_be_that_old(void **state)
{
	static struct settings settings;
	struct made made;
	struct world w;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	flush(&w, &everybody);
	assert_true(settings_get(&w.mgr->stores->settings, &settings));
	assert_int_equal(settings.flushes_count, 1);
	assert_true(settings.flushes[0].needed_until_ms >
		    sgate_session_get_expires_ms(made.session));
	/* The next one, in years, finds no use for it. */
	w.now_ms = settings.flushes[0].needed_until_ms + 1;
	flush(&w, &(struct sgate_flush){.roles = (struct sgate_bytes[]){B("x")},
		      .roles_count = 1});
	assert_true(settings_get(&w.mgr->stores->settings, &settings));
	assert_int_equal(settings.flushes_count, 1);
	assert_int_equal(settings.flushes[0].whom, SETTINGS_WITH);
	made_clear(&made);
	world_close(&w);
}

/* ---- maintenance ---- */

static void
normal_maintenance_refuses_new_sessions_alone(void **state)
{
	struct sgate_maintenance_state got;
	struct made made;
	struct world w;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	set(&w, SGATE_MAINTENANCE_NORMAL, "new disks");
	assert_status(&w, create_now(&w, NULL), SGATE_UNAVAILABLE);
	assert_int_equal(w.err.reason, SGATE_REASON_MAINTENANCE);
	assert_string_equal(w.err.text, "new disks");
	assert_status(&w, create_now(&w, "admin"), SGATE_OK);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_status(&w, sgate_maintenance_get(w.mgr, &got, &w.err), SGATE_OK);
	assert_int_equal(got.mode, SGATE_MAINTENANCE_NORMAL);
	assert_string_equal(got.roles, "admin");
	assert_string_equal(got.reason, "new disks");
	assert_true(got.since_ms == w.now_ms && got.until_ms == 0);
	end(&w);
	assert_status(&w, create_now(&w, NULL), SGATE_OK);
	assert_status(&w, sgate_maintenance_get(w.mgr, &got, &w.err), SGATE_OK);
	assert_int_equal(got.mode, SGATE_MAINTENANCE_OFF);
	assert_int_equal(world_audit(&w, "maintenance", NULL), 2);
	/* There was nothing to end: no event. */
	end(&w);
	assert_int_equal(world_audit(&w, "maintenance", NULL), 2);
	made_clear(&made);
	world_close(&w);
}

static void
an_emergency_holds_back_and_ends_nobody(void **state)
{
	struct sgate_session *s = NULL;
	struct made made, staff;
	char *token = NULL;
	struct world w;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	create_as(&w, "admin", &staff);
	set(&w, SGATE_MAINTENANCE_EMERGENCY, "");
	assert_true(is_held_back(&w, made.token));
	assert_int_equal(world_look(&w, staff.token), SGATE_REASON_OK);
	assert_status(&w,
	    sgate_session_extend(w.mgr, B(made.token), &s, &w.err),
	    SGATE_UNAVAILABLE);
	assert_status(&w,
	    sgate_session_rotate(w.mgr, B(made.token), &s, &token, &w.err),
	    SGATE_UNAVAILABLE);
	assert_status(&w, create_now(&w, NULL), SGATE_UNAVAILABLE);
	/* Whoever manages sessions sees them, and so does who asks for it. */
	assert_int_equal(world_look_at(&w, &made.ref), SGATE_REASON_OK);
	assert_int_equal(world_count(&w, "ann"), 2);
	assert_status(&w,
	    sgate_session_get(
		w.mgr, B(made.token), SGATE_IN_MAINTENANCE, &s, &w.err),
	    SGATE_OK);
	assert_true(manager_is_held(w.mgr, s));
	sgate_session_free(s);
	end(&w);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	set(&w, SGATE_MAINTENANCE_EMERGENCY, "");
	/* Logging out works all the time. */
	assert_status(&w,
	    sgate_session_end_token(
		w.mgr, B(made.token), SGATE_REASON_LOGGED_OUT, &w.err),
	    SGATE_OK);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_LOGGED_OUT);
	made_clear(&made);
	made_clear(&staff);
	world_close(&w);
}

static void
who_is_held_back_and_asks_is_not_idle(void **state)
{
	struct made made, away;
	struct world w;
	int i;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	world_create(&w, "bob", &away);
	set(&w, SGATE_MAINTENANCE_EMERGENCY, "");
	for (i = 0; i < 4; i++) {
		w.now_ms += w.conf->session.idle_timeout_ms / 2;
		assert_true(is_held_back(&w, made.token));
	}
	end(&w);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_int_equal(world_look(&w, away.token), SGATE_REASON_EXPIRED_IDLE);
	made_clear(&made);
	made_clear(&away);
	world_close(&w);
}

static void
maintenance_ends_by_itself(void **state)
{
	struct sgate_maintenance m = {.mode = SGATE_MAINTENANCE_EMERGENCY};
	struct made made;
	struct world w;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	m.until_ms = w.now_ms + 60000;
	assert_status(&w, sgate_maintenance_set(w.mgr, &m, &w.err), SGATE_OK);
	assert_true(is_held_back(&w, made.token));
	w.now_ms += 60000;
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_status(&w, create_now(&w, NULL), SGATE_OK);
	assert_status(
	    &w, sgate_maintenance_set(w.mgr, &m, &w.err), SGATE_INVALID);
	assert_non_null(strstr(w.err.text, "until"));
	made_clear(&made);
	world_close(&w);
}

static void
maintenance_of_a_realm_is_its_own(void **state)
{
	struct sgate_maintenance m = {
	    .mode = SGATE_MAINTENANCE_EMERGENCY, .set_roles = 1};
	struct made here, there;
	struct world w;

	(void)state;
	world_start(&w);
	create_as(&w, "admin", &here);
	world_caller(w.mgr, "shop");
	create_as(&w, "admin", &there);
	assert_status(&w, sgate_maintenance_set(w.mgr, &m, &w.err), SGATE_OK);
	/* Nobody is let through. */
	assert_true(is_held_back(&w, there.token));
	world_caller(w.mgr, "");
	assert_int_equal(world_look(&w, here.token), SGATE_REASON_OK);
	/* That of another realm does not end it. */
	assert_status(&w, sgate_maintenance_end(w.mgr, 0, &w.err), SGATE_OK);
	world_caller(w.mgr, "shop");
	assert_true(is_held_back(&w, there.token));
	assert_status(&w, sgate_maintenance_end(w.mgr, 0, &w.err), SGATE_OK);
	assert_int_equal(world_look(&w, there.token), SGATE_REASON_OK);
	made_clear(&here);
	made_clear(&there);
	world_close(&w);
}

static void
wrong_input_is_refused_by_name(void **state)
{
	static char long_text[SETTINGS_REASON_MAX + 2];
	struct sgate_bytes bad = B("no role");
	struct sgate_bytes many[SESSION_ROLES_MAX];
	static char names[SESSION_ROLES_MAX][40];
	struct world w;
	size_t i;

	(void)state;
	world_start(&w);
	memset(long_text, 'x', sizeof(long_text) - 1);
	for (i = 0; i < SESSION_ROLES_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "%030zu", i);
		many[i] = B(names[i]);
	}
	{
		struct sgate_maintenance m = {
		    .mode = SGATE_MAINTENANCE_NORMAL, .reason = B(long_text)};

		assert_status(&w, sgate_maintenance_set(w.mgr, &m, &w.err),
		    SGATE_TOO_LARGE);
		assert_non_null(strstr(w.err.text, "reason"));
		m.reason = B("two\nlines");
		assert_status(&w, sgate_maintenance_set(w.mgr, &m, &w.err),
		    SGATE_INVALID);
		m.reason = B("");
		m.mode = SGATE_MAINTENANCE_OFF;
		assert_status(&w, sgate_maintenance_set(w.mgr, &m, &w.err),
		    SGATE_INVALID);
		m.mode = SGATE_MAINTENANCE_NORMAL;
		m.set_roles = 1;
		m.roles = &bad;
		m.roles_count = 1;
		assert_status(&w, sgate_maintenance_set(w.mgr, &m, &w.err),
		    SGATE_INVALID);
		m.roles = many;
		m.roles_count = SESSION_ROLES_MAX;
		assert_status(&w, sgate_maintenance_set(w.mgr, &m, &w.err),
		    SGATE_TOO_LARGE);
		assert_non_null(strstr(w.err.text, "roles"));
	}
	assert_int_equal(world_audit(&w, "maintenance", NULL), 0);
	world_close(&w);
}

/* ---- stores that do not answer, and rows that nobody can read ---- */

static void
without_the_store_nothing_is_changed_and_all_stays_in_force(void **state)
{
	const struct sgate_maintenance m = {.mode = SGATE_MAINTENANCE_NORMAL};
	struct sgate_manager *later;
	struct world w;

	(void)state;
	world_start(&w);
	set(&w, SGATE_MAINTENANCE_EMERGENCY, "fire");
	world_lose_store(&w);
	later = world_manager(&w, NULL);
	manager_set_stores(later, w.mgr->stores);
	assert_status(
	    &w, sgate_maintenance_set(later, &m, &w.err), SGATE_UNAVAILABLE);
	assert_true(w.err.reason == SGATE_REASON_STORE);
	{
		struct sgate_bytes roles = B("x");
		const struct sgate_create create = {
		    .user_id = B("bob"), .roles = &roles, .roles_count = 1};
		struct sgate_session *s = NULL;
		char *token = NULL;

		assert_status(&w,
		    sgate_session_create(later, &create, &s, &token, &w.err),
		    SGATE_UNAVAILABLE);
		assert_int_equal(w.err.reason, SGATE_REASON_MAINTENANCE);
		assert_string_equal(w.err.text, "fire");
	}
	sgate_manager_free(later);
	world_close(&w);
}

static void
put_row(struct world *w, const char *name, const char *value)
{
	struct durable *d = NULL;
	uint64_t number;

	assert_int_equal(
	    w->mgr->ops->open(w->mgr->conf, &d, &w->err), SGATE_OK);
	d->deadline_ms = clock_monotonic_ms() + 5000;
	assert_int_equal(w->mgr->ops->begin(d, &w->err), SGATE_OK);
	assert_int_equal(
	    w->mgr->ops->counter_next(d, DURABLE_SETTINGS, &number, &w->err),
	    SGATE_OK);
	assert_int_equal(
	    w->mgr->ops->setting_put(d, name, B(value), number, &w->err),
	    SGATE_OK);
	assert_int_equal(w->mgr->ops->commit(d, &w->err), SGATE_OK);
	w->mgr->ops->close(d);
	settings_forget(&w->mgr->stores->settings);
}

static void
what_nobody_can_read_lets_nobody_in(void **state)
{
	struct sgate_session *s = NULL;
	struct made made;
	struct world w;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	put_row(&w, "some_option_of_later", "{}");
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	put_row(&w, SETTINGS_MAINTENANCE, "{\"mode\":\"normal\"}");
	assert_status(&w,
	    sgate_session_get(w.mgr, B(made.token), 0, &s, &w.err),
	    SGATE_UNAVAILABLE);
	assert_int_equal(w.err.reason, SGATE_REASON_STORE);
	assert_status(&w, create_now(&w, "admin"), SGATE_UNAVAILABLE);
	/* To end it is to write it anew. */
	end(&w);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	put_row(&w, SETTINGS_FLUSH, "everybody");
	assert_status(&w,
	    sgate_session_get(w.mgr, B(made.token), 0, &s, &w.err),
	    SGATE_UNAVAILABLE);
	/* This one not: what it said is lost with it. */
	assert_status(&w, sgate_sessions_flush(w.mgr, &everybody, NULL, &w.err),
	    SGATE_UNAVAILABLE);
	assert_non_null(strstr(w.err.text, "flush"));
	put_row(&w, SETTINGS_FLUSH, "");
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	made_clear(&made);
	world_close(&w);
}

static void
the_fences_file_keeps_them(void **state)
{
	static struct settings settings, read;
	struct fence fence;
	struct made made;
	struct world w;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	set(&w, SGATE_MAINTENANCE_EMERGENCY, "fire");
	flush(&w, &(struct sgate_flush){.roles = (struct sgate_bytes[]){B("x")},
		      .roles_count = 1});
	flush(&w, &everybody);
	assert_true(settings_get(&w.mgr->stores->settings, &settings));
	fence_reset(&fence, settings.store.id);
	assert_int_equal(
	    fence_file_write_all(w.dir, &fence, &settings, false, &w.err),
	    SGATE_OK);
	assert_int_equal(
	    fence_file_read_all(w.dir, &fence, &read, &w.err), SGATE_OK);
	assert_true(read.number == settings.number);
	assert_memory_equal(&read.store, &settings.store, sizeof(read.store));
	assert_int_equal(read.maintenances_count, 1);
	assert_string_equal(read.maintenances[0].reason, "fire");
	assert_int_equal(read.flushes_count, settings.flushes_count);
	assert_memory_equal(
	    &read.flushes[0], &settings.flushes[0], sizeof(read.flushes[0]));
	/* A file without them is one of a host that did not know. */
	assert_int_equal(
	    fence_file_write(w.dir, &fence, false, &w.err), SGATE_OK);
	assert_int_equal(
	    fence_file_read_all(w.dir, &fence, &read, &w.err), SGATE_OK);
	assert_true(read.number == 0);
	made_clear(&made);
	world_close(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_flushed_session_is_nowhere_live),
    cmocka_unit_test(a_flush_touches_no_row_and_the_reaper_ends_them),
    cmocka_unit_test(a_flush_means_a_realm_roles_and_a_moment),
    cmocka_unit_test(
	who_logs_in_after_a_flush_is_let_in_though_the_clock_was_set_back),
    cmocka_unit_test(another_process_goes_by_it),
    cmocka_unit_test(a_full_user_who_was_flushed_may_log_in),
    cmocka_unit_test(a_flush_is_kept_while_somebody_may_be_that_old),
    cmocka_unit_test(normal_maintenance_refuses_new_sessions_alone),
    cmocka_unit_test(an_emergency_holds_back_and_ends_nobody),
    cmocka_unit_test(who_is_held_back_and_asks_is_not_idle),
    cmocka_unit_test(maintenance_ends_by_itself),
    cmocka_unit_test(maintenance_of_a_realm_is_its_own),
    cmocka_unit_test(wrong_input_is_refused_by_name),
    cmocka_unit_test(
	without_the_store_nothing_is_changed_and_all_stays_in_force),
    cmocka_unit_test(what_nobody_can_read_lets_nobody_in),
    cmocka_unit_test(the_fences_file_keeps_them),
};

TAP_MAIN(tests)
