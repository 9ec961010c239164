/*
 * Maintenance and flush: the routes that set them for all hosts, and what
 * others tell of them. A caller without a realm means all realms; one that has
 * a realm (by listener, key, param or ?realm=) means that one alone.
 */
#include "config.h"

#include "api_programs.h"

#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nobody knows when it ends: a page that is asked for again each minute. */
#define RETRY_UNKNOWN_S 60
/* It may end before it should. */
#define RETRY_MAX_S 3600
/* 1 January 10000 is past what any store takes. */
#define SECONDS_MAX INT64_C(253402300799)

static const char *
mode_text(enum sgate_maintenance_mode mode)
{
	switch (mode) {
	case SGATE_MAINTENANCE_OFF:
		return "off";
	case SGATE_MAINTENANCE_NORMAL:
		return "normal";
	case SGATE_MAINTENANCE_EMERGENCY:
		return "emergency";
	case SGATE_MAINTENANCE_UNKNOWN:
		break;
	}
	return NULL;
}

static const struct settings_shared *
settings_of(const struct call *c)
{
	if (c->gw->mgr != NULL)
		return &manager_stores(c->gw->mgr)->settings;
	return c->gw->shared != NULL ? &c->gw->shared->stores.settings : NULL;
}

void
call_maintenance(const struct call *c, struct sgate_maintenance_state *out)
{
	const struct settings_shared *settings = settings_of(c);
	char realm[CONF_REALM_MAX + 1] = "";

	memset(out, 0, sizeof(*out));
	out->mode = SGATE_MAINTENANCE_UNKNOWN;
	if (c->realm.len > 0 && c->realm.len < sizeof(realm))
		memcpy(realm, c->realm.data, c->realm.len);
	if (settings != NULL)
		settings_tell_maintenance(settings, realm, call_now_ms(c), out);
}

void
call_set_retry_after(struct call *c, enum sgate_reason reason)
{
	struct sgate_maintenance_state state;
	int64_t left_s;

	if (reason != SGATE_REASON_MAINTENANCE)
		return;
	call_maintenance(c, &state);
	left_s = RETRY_UNKNOWN_S;
	if (state.until_ms != 0)
		left_s = (state.until_ms - call_now_ms(c) + 999) / 1000;
	if (left_s < 1)
		left_s = 1;
	c->reply.retry_after_s =
	    (int)(left_s < RETRY_MAX_S ? left_s : RETRY_MAX_S);
}

/* ---- what it is ---- */

static void
add_roles(struct json *j, const char *text)
{
	struct sgate_bytes rest = bytes_of(text);

	json_array(j, "roles");
	while (rest.len > 0)
		json_string(j, NULL, bytes_cut(&rest, ','));
	json_end(j);
}

/* What everybody may know. */
static void
add_public(struct json *j, const struct sgate_maintenance_state *state)
{
	json_text(j, "mode", mode_text(state->mode));
	api_json_optional(j, "reason", bytes_of(state->reason));
	api_json_seconds(j, "until", state->until_ms);
}

void
api_json_maintenance(struct json *j, const struct call *c, bool has_null)
{
	struct sgate_maintenance_state state;

	call_maintenance(c, &state);
	if (state.mode == SGATE_MAINTENANCE_OFF ||
	    state.mode == SGATE_MAINTENANCE_UNKNOWN) {
		if (has_null)
			json_null(j, "maintenance");
		return;
	}
	json_object(j, "maintenance");
	add_public(j, &state);
	if (c->session != NULL)
		json_bool(
		    j, "held_back", manager_is_held(c->gw->mgr, c->session));
	json_end(j);
}

/* ---- status and metrics ---- */

static void
add_where(struct json *j, const struct settings_where *where)
{
	json_bool(j, "all_realms", where->is_all);
	if (where->is_all)
		json_null(j, "realm");
	else
		json_text(j, "realm", where->realm);
}

static void
add_maintenances(struct json *j, const struct settings *settings)
{
	const struct settings_maintenance *m;
	uint32_t i;

	json_array(j, "maintenance");
	for (i = 0; i < settings->maintenances_count; i++) {
		m = &settings->maintenances[i];
		json_object(j, NULL);
		json_text(j, "mode", m->is_emergency ? "emergency" : "normal");
		add_where(j, &m->where);
		add_roles(j, m->roles);
		api_json_optional(j, "reason", bytes_of(m->reason));
		api_json_seconds(j, "since", m->since_ms);
		api_json_seconds(j, "until", m->until_ms);
		json_end(j);
	}
	json_end(j);
}

static void
add_flushes(struct json *j, const struct settings *settings)
{
	static const char *const whom[] = {"all", "roles", "but_roles"};
	const struct settings_flush *f;
	uint32_t i;

	json_array(j, "flushes");
	for (i = 0; i < settings->flushes_count; i++) {
		f = &settings->flushes[i];
		json_object(j, NULL);
		add_where(j, &f->where);
		json_text(j, "whom", whom[f->whom]);
		add_roles(j, f->roles);
		api_json_seconds(j, "before", f->before_ms);
		api_json_seconds(j, "needed_until", f->needed_until_ms);
		json_end(j);
	}
	json_end(j);
}

/* From memory that workers write, as all of status. */
void
api_settings_json(struct json *j, const struct stores *stores)
{
	int64_t polled_ms = atomic_load(&stores->settings.polled_ms);
	struct settings settings;

	if (!settings_get(&stores->settings, &settings)) {
		json_null(j, "settings");
		return;
	}
	json_object(j, "settings");
	json_int(j, "number", (int64_t)(settings.number - 1));
	json_int(j, "polled_age_ms", clock_boot_ms() - polled_ms);
	add_maintenances(j, &settings);
	add_flushes(j, &settings);
	json_end(j);
}

/* ---- GET, PUT, DELETE v1/maintenance ---- */

static void
answer_maintenance(struct call *c)
{
	struct sgate_maintenance_state state;
	struct json j;
	enum sgate_status status =
	    sgate_maintenance_get(c->gw->mgr, &state, &c->err);

	if (status != SGATE_OK) {
		api_fail(c, status);
		return;
	}
	api_json_begin(c, 200, &j);
	add_public(&j, &state);
	json_bool(&j, "all_realms", state.all_realms != 0);
	add_roles(&j, state.roles);
	api_json_seconds(&j, "since", state.since_ms);
	api_json_end(c, &j);
}

void
api_maintenance_show(struct call *c, const struct api_path *path)
{
	(void)path;
	answer_maintenance(c);
}

/* A moment as UTC seconds. False: answered. */
static bool
read_seconds(struct call *c, const char *name, int64_t *out_ms)
{
	int64_t seconds;
	char text[64];

	if (data_kind(c->body.json, name) == DATA_ABSENT)
		return true;
	if (data_get_integer(c->body.json, name, &seconds) && seconds > 0 &&
	    seconds <= SECONDS_MAX) {
		*out_ms = seconds * 1000;
		return true;
	}
	snprintf(text, sizeof(text), "%s: is not UTC seconds", name);
	api_problem(c, 400, "invalid", text);
	return false;
}

static bool
read_mode(struct call *c, enum sgate_maintenance_mode *out)
{
	struct sgate_bytes text = {NULL, 0};

	if (!api_string(c, "mode", &text))
		return false;
	if (bytes_equal_text(text, "normal"))
		*out = SGATE_MAINTENANCE_NORMAL;
	else if (bytes_equal_text(text, "emergency"))
		*out = SGATE_MAINTENANCE_EMERGENCY;
	else
		api_problem(c, 400, "invalid", "mode: normal or emergency");
	return *out != SGATE_MAINTENANCE_OFF;
}

void
api_maintenance_set(struct call *c, const struct api_path *path)
{
	static const char *const names[] = {
	    "mode", "roles", "reason", "until", "realm", NULL};
	struct sgate_maintenance given;
	struct sgate_bytes *roles = NULL;
	enum sgate_status status;

	(void)path;
	memset(&given, 0, sizeof(given));
	if (!body_json(c) || !api_only(c, names, 400, "invalid") ||
	    !api_use_body_realm(c) || !read_mode(c, &given.mode) ||
	    !api_string(c, "reason", &given.reason) ||
	    !read_seconds(c, "until", &given.until_ms) ||
	    !api_strings(c, "roles", &roles, &given.roles_count)) {
		free(roles);
		return;
	}
	given.roles = roles;
	given.set_roles = data_kind(c->body.json, "roles") != DATA_ABSENT;
	given.all_realms = !c->realm_is_given;
	status = sgate_maintenance_set(c->gw->mgr, &given, &c->err);
	if (status == SGATE_OK)
		answer_maintenance(c);
	else
		api_fail_told(c, status);
	free(roles);
}

void
api_maintenance_end(struct call *c, const struct api_path *path)
{
	enum sgate_status status =
	    sgate_maintenance_end(c->gw->mgr, !c->realm_is_given, &c->err);

	(void)path;
	if (status == SGATE_OK)
		answer_maintenance(c);
	else
		api_fail_told(c, status);
}

/* ---- POST v1/flush ---- */

static void
answer_flush(struct call *c, const struct sgate_flush *flush, int64_t before_ms)
{
	struct json j;

	api_json_begin(c, 200, &j);
	json_bool(&j, "all_realms", flush->all_realms != 0);
	if (flush->all_realms != 0)
		json_null(&j, "realm");
	else
		json_string(&j, "realm", c->realm);
	/* Whoever was created before: the second is not over. */
	api_json_seconds(&j, "before", before_ms);
	api_json_end(c, &j);
}

/* {"all": true}, {"roles": [...]} or {"but_roles": [...]}: a body that says
 * nothing flushes nobody. */
void
api_flush(struct call *c, const struct api_path *path)
{
	static const char *const names[] = {
	    "all", "roles", "but_roles", "before", "realm", NULL};
	struct sgate_bytes *roles = NULL, *but = NULL;
	size_t roles_count = 0, but_count = 0;
	struct sgate_flush flush;
	enum sgate_status status;
	int64_t before_ms;
	bool is_all = false;

	(void)path;
	memset(&flush, 0, sizeof(flush));
	if (!body_json(c) || !api_only(c, names, 400, "invalid") ||
	    !api_use_body_realm(c) ||
	    !read_seconds(c, "before", &flush.before_ms) ||
	    !api_strings(c, "roles", &roles, &roles_count) ||
	    !api_strings(c, "but_roles", &but, &but_count))
		goto out;
	if (data_kind(c->body.json, "all") != DATA_ABSENT &&
	    !data_get_bool(c->body.json, "all", &is_all)) {
		api_problem(c, 400, "invalid", "all: is not true or false");
		goto out;
	}
	if (is_all + (roles_count > 0) + (but_count > 0) != 1) {
		api_problem(c, 400, "invalid",
		    "say whom: \"all\": true, or some \"roles\", or all but "
		    "those with some of \"but_roles\"");
		goto out;
	}
	flush.roles = roles_count > 0 ? roles : but;
	flush.roles_count = roles_count + but_count;
	flush.but_roles = but_count > 0;
	flush.all_realms = !c->realm_is_given;
	status = sgate_sessions_flush(c->gw->mgr, &flush, &before_ms, &c->err);
	if (status == SGATE_OK)
		answer_flush(c, &flush, before_ms);
	else
		api_fail_told(c, status);
out:
	free(roles);
	free(but);
}
