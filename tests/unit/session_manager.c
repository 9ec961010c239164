/*
 * The manager on SQLite: create, get, validate, update, extend, end, expiry,
 * idempotency, realms. The clock is the test's.
 */
#include "tap.h"

#include "world.h"

#include <stdlib.h>
#include <string.h>

#define DENIED_TEXT "not among"

static void
a_created_session_is_found_by_its_token(void **state)
{
	const struct sgate_bytes contexts[] = {B("7"), B("8")};
	const struct sgate_bytes roles[] = {B("editor"), B("admin")};
	struct sgate_create create = {.user_id = B("ann"),
	    .context = B("7"),
	    .contexts = contexts,
	    .contexts_count = 2,
	    .roles = roles,
	    .roles_count = 2,
	    .data = B("{\"a\": {\"b\": [1, \"x\"]}}"),
	    .client_ip = B("192.0.2.7"),
	    .user_agent = B("Lynx\t2")};
	struct sgate_session *s = NULL;
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	world_create_with(&w, &create, &made);
	assert_int_equal(strlen(made.token), SGATE_TOKEN_LEN);
	assert_status(&w,
	    sgate_session_get(w.mgr, B(made.token), 0, &s, &w.err), SGATE_OK);
	assert_memory_equal(
	    sgate_session_get_ref(s)->bytes, made.ref.bytes, SGATE_REF_BYTES);
	assert_bytes(sgate_session_get_user_id(s), "ann");
	assert_bytes(sgate_session_get_realm(s), "");
	assert_bytes(sgate_session_get_context(s), "7");
	assert_int_equal(sgate_session_count_contexts(s), 2);
	assert_bytes(sgate_session_get_context_at(s, 1), "8");
	assert_bytes(sgate_session_get_roles(s), "editor,admin");
	assert_true(sgate_session_has_role(s, B("admin")));
	assert_bytes(sgate_session_get_data(s), "{\"a\":{\"b\":[1,\"x\"]}}");
	assert_string_equal(sgate_session_get_client_ip(s), "192.0.2.7");
	assert_bytes(sgate_session_get_user_agent(s), "Lynx?2");
	assert_int_equal(sgate_session_get_version(s), 1);
	assert_int_equal(sgate_session_get_created_ms(s), w.now_ms);
	assert_int_equal(sgate_session_get_auth_ms(s), w.now_ms);
	assert_int_equal(sgate_session_get_idle_timeout_ms(s), 30 * MINUTE);
	assert_int_equal(sgate_session_get_expires_ms(s), w.now_ms + 8 * HOUR);
	assert_null(sgate_session_new_token(s));
	assert_string_equal(manager_served_by(w.mgr), world_cache());
	assert_int_equal(world_audit(&w, NULL, NULL), 1);
	assert_int_equal(world_audit(&w, "create", &made.ref), 1);
	sgate_session_free(s);
	made_clear(&made);
	world_close(&w);
}

static void
no_token_is_taken_for_another(void **state)
{
	char changed[SGATE_TOKEN_LEN + 1];
	struct world w;
	struct made made;
	size_t i;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	assert_int_equal(world_look(&w, ""), SGATE_REASON_NONE);
	assert_string_equal(manager_served_by(w.mgr), "");
	assert_int_equal(world_look(&w, "abc"), SGATE_REASON_MALFORMED);
	for (i = 0; i < SGATE_TOKEN_LEN - 1; i++) {
		memcpy(changed, made.token, sizeof(changed));
		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		assert_int_equal(world_look(&w, changed), SGATE_REASON_BAD_TAG);
		assert_string_equal(manager_served_by(w.mgr), "");
	}
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	made_clear(&made);
	world_close(&w);
}

static void
create_refuse(struct world *w, const struct sgate_create *create,
    enum sgate_status expected, const char *member)
{
	struct sgate_session *s = NULL;
	char *token = NULL;

	assert_status(w,
	    sgate_session_create(w->mgr, create, &s, &token, &w->err),
	    expected);
	assert_null(s);
	assert_null(token);
	assert_non_null(strstr(w->err.text, member));
}

static void
create_names_the_member_that_is_wrong(void **state)
{
	struct sgate_bytes many[SESSION_ROLES_MAX + 1];
	struct sgate_bytes one = B("");
	struct sgate_create c = {0};
	char big[70000];
	struct world w;
	size_t i;

	(void)state;
	world_start(&w);
	memset(big, 'a', sizeof(big));
	c.user_id = (struct sgate_bytes){big, 129};
	create_refuse(&w, &c, SGATE_TOO_LARGE, "user_id");
	c.user_id = B("a\nb");
	create_refuse(&w, &c, SGATE_INVALID, "user_id");
	c.user_id = B("a\xc2\x9b"
		      "b");
	create_refuse(&w, &c, SGATE_INVALID, "user_id");
	c.user_id = B("a\xff");
	create_refuse(&w, &c, SGATE_INVALID, "user_id");
	c.user_id = (struct sgate_bytes){"a\0b", 3};
	create_refuse(&w, &c, SGATE_INVALID, "user_id");
	c.user_id = (struct sgate_bytes){NULL, 3};
	create_refuse(&w, &c, SGATE_INVALID, "user_id");
	c.user_id = B("ann");
	c.context = (struct sgate_bytes){big, 129};
	create_refuse(&w, &c, SGATE_TOO_LARGE, "context");
	c.context = B("");
	c.contexts = &one;
	c.contexts_count = 1;
	create_refuse(&w, &c, SGATE_INVALID, "contexts");
	c.contexts_count = 0;
	c.roles = &one;
	c.roles_count = 1;
	one = B("a,b");
	create_refuse(&w, &c, SGATE_INVALID, "roles");
	one = (struct sgate_bytes){big, 65};
	create_refuse(&w, &c, SGATE_TOO_LARGE, "roles");
	for (i = 0; i <= SESSION_ROLES_MAX; i++)
		many[i] = B("r");
	c.roles = many;
	c.roles_count = SESSION_ROLES_MAX + 1;
	create_refuse(&w, &c, SGATE_TOO_LARGE, "roles");
	c.roles_count = 0;
	c.client_ip = B("localhost");
	create_refuse(&w, &c, SGATE_INVALID, "client_ip");
	c.client_ip = B("");
	c.idle_timeout_ms = -1;
	create_refuse(&w, &c, SGATE_INVALID, "idle_timeout");
	c.idle_timeout_ms = 0;
	c.absolute_timeout_ms = -1;
	create_refuse(&w, &c, SGATE_INVALID, "absolute_timeout");
	c.absolute_timeout_ms = 0;
	c.idempotency_key = (struct sgate_bytes){big, 256};
	create_refuse(&w, &c, SGATE_TOO_LARGE, "idempotency_key");
	c.idempotency_key = B("");
	c.data = B("[1]");
	create_refuse(&w, &c, SGATE_INVALID, "");
	c.data = B("{\"a\": {\"b\": null}}");
	create_refuse(&w, &c, SGATE_INVALID, "");
	c.data = B("");
	create_refuse(&w, &c, SGATE_INVALID, "");
	c.data = (struct sgate_bytes){big, sizeof(big)};
	create_refuse(&w, &c, SGATE_TOO_LARGE, "");
	assert_int_equal(world_audit(&w, NULL, NULL), 0);
	world_close(&w);
}

static void
timeouts_are_never_above_the_configured(void **state)
{
	struct sgate_create c = {.user_id = B("ann"),
	    .idle_timeout_ms = 100 * HOUR,
	    .absolute_timeout_ms = 1000 * HOUR};
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	world_create_with(&w, &c, &made);
	assert_int_equal(made.session->idle_ms, 30 * MINUTE);
	assert_int_equal(made.session->absolute_ms, w.now_ms + 8 * HOUR);
	made_clear(&made);
	c.idle_timeout_ms = MINUTE;
	c.absolute_timeout_ms = HOUR;
	world_create_with(&w, &c, &made);
	assert_int_equal(made.session->idle_ms, MINUTE);
	assert_int_equal(made.session->absolute_ms, w.now_ms + HOUR);
	made_clear(&made);
	c = (struct sgate_create){.user_id = B("ann"), .remember = 1};
	world_create_with(&w, &c, &made);
	assert_int_equal(made.session->idle_ms, 240 * HOUR);
	assert_int_equal(made.session->absolute_ms, w.now_ms + 720 * HOUR);
	made_clear(&made);
	world_close(&w);
}

static void
idle_expiry_has_a_tenth_of_leeway_and_activity_moves_it(void **state)
{
	struct sgate_session *s = NULL;
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	w.now_ms += 33 * MINUTE - 1;
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	w.now_ms += 1;
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_EXPIRED_IDLE);
	w.now_ms -= 1;
	assert_status(&w,
	    sgate_session_get(w.mgr, B(made.token), 0, &s, &w.err), SGATE_OK);
	assert_int_equal(sgate_session_get_last_seen_ms(s), w.now_ms);
	sgate_session_free(s);
	w.now_ms += 33 * MINUTE - 1;
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	/* A look without touch has moved nothing. */
	w.now_ms += 1;
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_EXPIRED_IDLE);
	assert_int_equal(
	    world_look_at(&w, &made.ref), SGATE_REASON_EXPIRED_IDLE);
	made_clear(&made);
	world_close(&w);
}

static void
absolute_expiry_comes_whatever_happens(void **state)
{
	struct sgate_session *s = NULL;
	struct world w;
	struct made made;
	int i;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	for (i = 0; i < 31; i++) {
		w.now_ms += 15 * MINUTE;
		assert_status(&w,
		    sgate_session_extend(w.mgr, B(made.token), &s, &w.err),
		    SGATE_OK);
		assert_true(sgate_session_get_idle_expires_ms(s) <=
			    sgate_session_get_expires_ms(s));
		sgate_session_free(s);
	}
	w.now_ms += 15 * MINUTE - 1;
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	w.now_ms += 1;
	assert_int_equal(
	    world_look(&w, made.token), SGATE_REASON_EXPIRED_ABSOLUTE);
	assert_status(&w,
	    sgate_session_extend(w.mgr, B(made.token), &s, &w.err),
	    SGATE_NOT_FOUND);
	made_clear(&made);
	world_close(&w);
}

static void
activity_is_written_once_in_a_tenth_of_the_idle_timeout(void **state)
{
	struct sgate_session *row;
	struct sgate_ref ref;
	struct world w;
	struct made made;
	int64_t created_ms;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	created_ms = w.now_ms;
	w.now_ms += 3 * MINUTE - 1;
	assert_status(&w,
	    sgate_session_validate(w.mgr, B(made.token), &ref, &w.err),
	    SGATE_OK);
	row = world_row(&w, &made.ref);
	assert_int_equal(row->last_seen_ms, created_ms);
	sgate_session_free(row);
	w.now_ms += 1;
	assert_status(&w,
	    sgate_session_validate(w.mgr, B(made.token), &ref, &w.err),
	    SGATE_OK);
	row = world_row(&w, &made.ref);
	assert_int_equal(row->last_seen_ms, w.now_ms);
	assert_int_equal(row->version, 1);
	sgate_session_free(row);
	made_clear(&made);
	world_close(&w);
}

struct pending {
	int64_t last_seen_ms;
	int puts;
	bool is_full;
};

static bool
pending_put(void *arg, const struct durable_touch *touch)
{
	struct pending *p = arg;

	if (p->is_full)
		return false;
	p->puts++;
	if (touch->last_seen_ms > p->last_seen_ms)
		p->last_seen_ms = touch->last_seen_ms;
	return true;
}

static int64_t
pending_last_seen(void *arg, const struct sgate_ref *ref)
{
	const struct pending *p = arg;

	(void)ref;
	return p->last_seen_ms;
}

static void
a_touch_that_is_pending_counts(void **state)
{
	struct pending p = {0};
	struct manager_touch_hooks hooks = {
	    .put = pending_put, .last_seen = pending_last_seen, .arg = &p};
	struct sgate_session *row;
	struct sgate_reaped reaped;
	struct sgate_ref ref;
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	manager_set_touch_hooks(w.mgr, &hooks);
	world_create(&w, "ann", &made);
	w.now_ms += 20 * MINUTE;
	assert_status(&w,
	    sgate_session_validate(w.mgr, B(made.token), &ref, &w.err),
	    SGATE_OK);
	assert_int_equal(p.puts, 1);
	row = world_row(&w, &made.ref);
	assert_int_equal(row->last_seen_ms, row->created_ms);
	sgate_session_free(row);
	w.now_ms += 20 * MINUTE;
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_status(&w, sgate_reap(w.mgr, &reaped, &w.err), SGATE_OK);
	assert_int_equal(reaped.ended, 0);
	/* No room: the manager writes it. */
	p.is_full = true;
	assert_status(&w,
	    sgate_session_validate(w.mgr, B(made.token), &ref, &w.err),
	    SGATE_OK);
	row = world_row(&w, &made.ref);
	assert_int_equal(row->last_seen_ms, w.now_ms);
	sgate_session_free(row);
	made_clear(&made);
	world_close(&w);
}

static void
an_anonymous_session_lives_for_the_idle_timeout_once(void **state)
{
	struct sgate_session *s = NULL;
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	world_create(&w, "", &made);
	assert_true(sgate_session_is_anonymous(made.session));
	assert_int_equal(sgate_session_get_auth_ms(made.session), 0);
	w.now_ms += 29 * MINUTE;
	assert_status(&w,
	    sgate_session_get(w.mgr, B(made.token), 0, &s, &w.err), SGATE_OK);
	sgate_session_free(s);
	w.now_ms += MINUTE;
	assert_int_equal(
	    world_look(&w, made.token), SGATE_REASON_EXPIRED_ABSOLUTE);
	made_clear(&made);
	world_close(&w);
}

static void
a_login_replaces_an_anonymous_session(void **state)
{
	struct sgate_create c = {.data = B("{\"cart\": 1}")};
	struct world w;
	struct made before, after, other;

	(void)state;
	world_start(&w);
	world_create_with(&w, &c, &before);
	c = (struct sgate_create){
	    .user_id = B("ann"), .replaces = B(before.token)};
	world_create_with(&w, &c, &after);
	assert_bytes(sgate_session_get_data(after.session), "{}");
	assert_int_equal(world_look(&w, before.token), SGATE_REASON_REPLACED);
	assert_int_equal(world_look(&w, after.token), SGATE_REASON_OK);
	assert_int_equal(world_audit(&w, "create", NULL), 2);
	assert_int_equal(world_audit(&w, "end", &before.ref), 1);
	assert_int_equal(world_audit(&w, NULL, NULL), 3);

	/* It is gone: the next login succeeds all the same. */
	world_create_with(&w, &c, &other);
	made_clear(&other);
	c.replaces = B("no token at all");
	world_create_with(&w, &c, &other);
	made_clear(&other);
	assert_int_equal(world_audit(&w, "end", NULL), 1);

	/* A user's session is not replaced. */
	c.replaces = B(after.token);
	create_refuse(&w, &c, SGATE_INVALID, "replaces");
	assert_int_equal(world_look(&w, after.token), SGATE_REASON_OK);
	made_clear(&before);
	made_clear(&after);
	world_close(&w);
}

static void
realms_do_not_see_each_other(void **state)
{
	struct sgate_list *list = NULL;
	struct sgate_session *s = NULL;
	struct sgate_update update = {.context = B("x")};
	struct world w;
	struct made here, there;
	uint64_t count;

	(void)state;
	world_start(&w);
	world_caller(w.mgr, "here");
	world_create(&w, "ann", &here);
	world_caller(w.mgr, "there");
	world_create(&w, "ann", &there);
	assert_int_equal(world_look(&w, here.token), SGATE_REASON_BAD_TAG);
	assert_int_equal(world_look_at(&w, &here.ref), SGATE_REASON_UNKNOWN);
	assert_status(&w,
	    sgate_session_end(w.mgr, &here.ref, SGATE_REASON_REVOKED, &w.err),
	    SGATE_NOT_FOUND);
	assert_status(&w,
	    sgate_session_end_token(
		w.mgr, B(here.token), SGATE_REASON_LOGGED_OUT, &w.err),
	    SGATE_NOT_FOUND);
	assert_status(&w,
	    sgate_session_update(w.mgr, &here.ref, &update, &s, &w.err),
	    SGATE_NOT_FOUND);
	assert_status(&w, manager_session_any(w.mgr, &here.ref, &s, &w.err),
	    SGATE_NOT_FOUND);
	assert_int_equal(world_audit(&w, NULL, &here.ref), 0);
	assert_status(&w,
	    sgate_user_sessions(w.mgr, B("ann"), 10, &list, &w.err), SGATE_OK);
	assert_int_equal(sgate_list_count(list), 1);
	sgate_list_free(list);
	assert_status(&w,
	    sgate_user_cleanup(
		w.mgr, B("ann"), NULL, SGATE_REASON_REVOKED, &count, &w.err),
	    SGATE_OK);
	assert_int_equal(count, 1);
	assert_status(&w,
	    sgate_user_block(w.mgr, B("ann"), B(""), &count, &w.err), SGATE_OK);
	world_caller(w.mgr, "here");
	assert_int_equal(world_look(&w, here.token), SGATE_REASON_OK);
	made_clear(&here);
	world_create(&w, "ann", &here);
	made_clear(&here);
	made_clear(&there);
	world_close(&w);
}

static void
the_caller_is_checked_and_named_in_the_audit(void **state)
{
	struct sgate_caller caller = {.realm = B("a/b")};
	struct world w;

	(void)state;
	world_start(&w);
	assert_status(&w, sgate_manager_set_caller(w.mgr, &caller, &w.err),
	    SGATE_INVALID);
	caller.realm = B("a");
	caller.client_ip = B("nowhere");
	assert_status(&w, sgate_manager_set_caller(w.mgr, &caller, &w.err),
	    SGATE_INVALID);
	caller.client_ip = B("2001:db8::1");
	caller.budget_ms = -1;
	assert_status(&w, sgate_manager_set_caller(w.mgr, &caller, &w.err),
	    SGATE_INVALID);
	world_close(&w);
}

static void
the_largest_budget_is_a_long_time_and_not_none(void **state)
{
	struct sgate_caller caller = {.budget_ms = INT64_MAX};
	struct sgate_db *db = NULL;
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	assert_status(
	    &w, sgate_manager_set_caller(w.mgr, &caller, &w.err), SGATE_OK);
	world_create(&w, "ann", &made);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_OK);
	assert_status(
	    &w, sgate_db_open(w.mgr, INT64_MAX, &db, &w.err), SGATE_OK);
	sgate_db_close(db);
	made_clear(&made);
	world_close(&w);
}

static void
an_end_is_final_and_may_be_repeated(void **state)
{
	struct sgate_session *row;
	struct sgate_ref unknown = {{1, 2, 3}};
	struct sgate_create c = {
	    .user_id = B("ann"), .data = B("{\"secret\": 1}")};
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	world_create_with(&w, &c, &made);
	assert_status(&w,
	    sgate_session_end(w.mgr, &unknown, SGATE_REASON_REVOKED, &w.err),
	    SGATE_NOT_FOUND);
	assert_int_equal(w.err.reason, SGATE_REASON_UNKNOWN);
	assert_status(&w,
	    sgate_session_end(w.mgr, &made.ref, SGATE_REASON_CSRF, &w.err),
	    SGATE_INVALID);
	assert_status(&w,
	    sgate_session_end(
		w.mgr, &made.ref, SGATE_REASON_LOGGED_OUT, &w.err),
	    SGATE_OK);
	assert_status(&w,
	    sgate_session_end(w.mgr, &made.ref, SGATE_REASON_REVOKED, &w.err),
	    SGATE_OK);
	assert_status(&w,
	    sgate_session_end_token(
		w.mgr, B(made.token), SGATE_REASON_REVOKED, &w.err),
	    SGATE_OK);
	assert_int_equal(world_look(&w, made.token), SGATE_REASON_LOGGED_OUT);
	row = world_row(&w, &made.ref);
	assert_int_equal(row->state, SESSION_ENDED);
	assert_int_equal(row->version, 2);
	assert_int_equal(row->ended_ms, w.now_ms);
	assert_true(row->seq > 0);
	assert_bytes(sgate_session_get_data(row), "{}");
	sgate_session_free(row);
	assert_int_equal(world_audit(&w, "end", &made.ref), 1);
	assert_status(&w,
	    sgate_session_end_token(
		w.mgr, B("nonsense"), SGATE_REASON_REVOKED, &w.err),
	    SGATE_NOT_FOUND);
	made_clear(&made);
	world_close(&w);
}

/* ---- idempotency ---- */

static void
create_conflict(
    struct world *w, const struct sgate_create *create, const char *text)
{
	struct sgate_session *s = NULL;
	char *token = NULL;

	assert_status(w,
	    sgate_session_create(w->mgr, create, &s, &token, &w->err),
	    SGATE_CONFLICT);
	assert_null(s);
	assert_null(token);
	assert_string_equal(w->err.text, text);
}

static void
a_repeated_create_gives_the_same_token(void **state)
{
	struct sgate_create c = {
	    .user_id = B("ann"), .idempotency_key = B("k1")};
	char used[64], hex[SGATE_REF_HEX + 1];
	struct sgate_session *s = NULL;
	struct world w;
	struct made first, again;
	char *token = NULL;

	(void)state;
	world_start(&w);
	world_create_with(&w, &c, &first);
	w.now_ms += 5 * MINUTE;
	world_create_with(&w, &c, &again);
	assert_string_equal(first.token, again.token);
	assert_int_equal(world_audit(&w, "create", NULL), 1);
	made_clear(&again);

	/* The same key from another actor or realm is another key. */
	world_caller(w.mgr, "");
	world_create_with(&w, &c, &again);
	assert_string_not_equal(first.token, again.token);
	made_clear(&again);
	sgate_manager_free(w.mgr);
	w.mgr = world_manager(&w, NULL);

	c.context = B("7");
	create_conflict(&w, &c, "idempotency_reuse");
	c.context = B("");
	assert_status(&w,
	    sgate_session_rotate(w.mgr, B(first.token), &s, &token, &w.err),
	    SGATE_OK);
	sgate_session_free(s);
	sgate_token_free(token);
	sgate_ref_text(&first.ref, hex);
	snprintf(used, sizeof(used), "idempotency_used %s", hex);
	create_conflict(&w, &c, used);

	/* After 24 h, reaped or not, the key is free again. */
	w.now_ms += 24 * HOUR;
	world_create_with(&w, &c, &again);
	assert_string_not_equal(first.token, again.token);
	made_clear(&again);
	made_clear(&first);
	world_close(&w);
}

static void
call_as(struct world *w, const char *actor)
{
	const struct sgate_caller caller = {.actor = bytes_of(actor)};

	assert_status(
	    w, sgate_manager_set_caller(w->mgr, &caller, &w->err), SGATE_OK);
}

static void
a_repeat_from_another_process_of_the_same_caller_is_a_repeat(void **state)
{
	struct sgate_create c = {
	    .user_id = B("ann"), .idempotency_key = B("k1")};
	struct world w;
	struct made first, again;

	(void)state;
	world_start(&w);
	call_as(&w, "login.sock uid=33 pid=7");
	world_create_with(&w, &c, &first);
	call_as(&w, "login.sock uid=33 pid=8");
	world_create_with(&w, &c, &again);
	assert_string_equal(first.token, again.token);
	made_clear(&again);
	call_as(&w, "login.sock uid=34 pid=8");
	world_create_with(&w, &c, &again);
	assert_string_not_equal(first.token, again.token);
	made_clear(&again);
	made_clear(&first);
	world_close(&w);
}

static void
a_repeated_create_of_an_ended_session_is_a_conflict(void **state)
{
	struct sgate_create c = {
	    .user_id = B("ann"), .idempotency_key = B("k1")};
	char used[64], hex[SGATE_REF_HEX + 1];
	struct world w;
	struct made first;

	(void)state;
	world_start(&w);
	world_create_with(&w, &c, &first);
	assert_status(&w,
	    sgate_session_end(w.mgr, &first.ref, SGATE_REASON_REVOKED, &w.err),
	    SGATE_OK);
	sgate_ref_text(&first.ref, hex);
	snprintf(used, sizeof(used), "idempotency_used %s", hex);
	create_conflict(&w, &c, used);
	made_clear(&first);
	world_close(&w);
}

static void
a_repeat_holds_when_the_signing_key_changes(void **state)
{
	struct sgate_create c = {
	    .user_id = B("ann"), .idempotency_key = B("k1")};
	struct world w;
	struct made first, again;
	uint8_t id;

	(void)state;
	world_start(&w);
	world_create_with(&w, &c, &first);
	assert_status(&w,
	    keys_file_new(w.conf->keys.file, w.now_ms, &id, &w.err), SGATE_OK);
	assert_status(&w,
	    keys_file_use(w.conf->keys.file, id, w.now_ms, &w.err), SGATE_OK);
	sgate_manager_free(w.mgr);
	w.mgr = world_manager(&w, NULL);
	world_create_with(&w, &c, &again);
	assert_string_equal(first.token, again.token);
	assert_int_equal(world_look(&w, again.token), SGATE_REASON_OK);
	made_clear(&again);
	made_clear(&first);
	world_close(&w);
}

/* ---- update ---- */

static void
update(struct world *w, const struct sgate_ref *ref,
    const struct sgate_update *change, enum sgate_status expected)
{
	struct sgate_session *s = NULL;

	assert_status(w, sgate_session_update(w->mgr, ref, change, &s, &w->err),
	    expected);
	assert_int_equal(s != NULL, expected == SGATE_OK);
	sgate_session_free(s);
}

static void
an_update_merges_and_counts_versions(void **state)
{
	struct sgate_create c = {.user_id = B("ann"),
	    .data = B("{\"a\":1,\"b\":{\"c\":2,\"d\":3}}")};
	struct sgate_update u = {
	    .data_patch = B("{\"a\":null,\"b\":{\"c\":4},\"e\":[1]}")};
	struct sgate_session *row;
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	world_create_with(&w, &c, &made);
	update(&w, &made.ref, &u, SGATE_OK);
	row = world_row(&w, &made.ref);
	assert_bytes(
	    sgate_session_get_data(row), "{\"b\":{\"c\":4,\"d\":3},\"e\":[1]}");
	assert_int_equal(row->version, 2);
	assert_true(row->seq > 0);
	sgate_session_free(row);
	u = (struct sgate_update){.context = B("9"), .if_version = 2};
	update(&w, &made.ref, &u, SGATE_OK);
	u.if_version = 2;
	update(&w, &made.ref, &u, SGATE_CONFLICT);
	row = world_row(&w, &made.ref);
	assert_int_equal(row->version, 3);
	assert_string_equal(row->context, "9");
	sgate_session_free(row);
	u = (struct sgate_update){.context = {"", 0}};
	update(&w, &made.ref, &u, SGATE_OK);
	row = world_row(&w, &made.ref);
	assert_string_equal(row->context, "");
	sgate_session_free(row);
	assert_int_equal(world_audit(&w, "update", &made.ref), 3);
	made_clear(&made);
	world_close(&w);
}

static int
look_at_detail(void *arg, const struct durable_audit *audit)
{
	char *detail = arg;

	strcpy(detail, audit->detail);
	return 1;
}

static void
an_update_is_audited_by_names_without_values(void **state)
{
	struct sgate_update u = {
	    .data_patch = B("{\"color\":\"red\",\"a\\nb\":1}"),
	    .context = B("hidden")};
	struct durable_audit_filter filter = {.kind = B("update"), .limit = 1};
	char detail[257] = "";
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	update(&w, &made.ref, &u, SGATE_OK);
	assert_status(&w,
	    manager_audit_list(w.mgr, &filter, look_at_detail, detail, &w.err),
	    SGATE_OK);
	assert_string_equal(detail, "context data.color data.a\\x0ab");
	made_clear(&made);
	world_close(&w);
}

static void
an_update_of_contexts_and_roles_replaces_the_lists(void **state)
{
	const struct sgate_bytes contexts[] = {B("1"), B("2")};
	const struct sgate_bytes roles[] = {B("reader")};
	struct sgate_update u = {.set_contexts = 1,
	    .contexts = contexts,
	    .contexts_count = 2,
	    .set_roles = 1,
	    .roles = roles,
	    .roles_count = 1,
	    .idle_timeout_ms = 5 * MINUTE};
	struct sgate_session *row;
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	update(&w, &made.ref, &u, SGATE_OK);
	u = (struct sgate_update){.context = B("3"), .context_listed = 1};
	update(&w, &made.ref, &u, SGATE_DENIED);
	assert_non_null(strstr(w.err.text, DENIED_TEXT));
	u.context = B("2");
	update(&w, &made.ref, &u, SGATE_OK);
	u = (struct sgate_update){.idle_timeout_ms = 100 * HOUR};
	row = world_row(&w, &made.ref);
	assert_string_equal(row->contexts, "1\n2");
	assert_string_equal(row->context, "2");
	assert_string_equal(row->roles, "reader");
	assert_int_equal(row->idle_ms, 5 * MINUTE);
	sgate_session_free(row);
	update(&w, &made.ref, &u, SGATE_OK);
	row = world_row(&w, &made.ref);
	assert_int_equal(row->idle_ms, 30 * MINUTE);
	assert_int_equal(row->version, 4);
	sgate_session_free(row);
	made_clear(&made);
	world_close(&w);
}

static void
an_update_that_makes_data_too_large_changes_nothing(void **state)
{
	struct sgate_update u = {.data_patch = B("{\"b\":\"0123456789\"}")};
	struct sgate_create c = {
	    .user_id = B("ann"), .data = B("{\"a\":\"0123456789\"}")};
	struct sgate_session *row;
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	sgate_manager_free(w.mgr);
	w.conf->session.data_max_bytes = 30;
	w.mgr = world_manager(&w, NULL);
	world_create_with(&w, &c, &made);
	update(&w, &made.ref, &u, SGATE_TOO_LARGE);
	u.data_patch = B("{\"b\":");
	update(&w, &made.ref, &u, SGATE_INVALID);
	row = world_row(&w, &made.ref);
	assert_int_equal(row->version, 1);
	assert_bytes(sgate_session_get_data(row), "{\"a\":\"0123456789\"}");
	sgate_session_free(row);
	assert_int_equal(world_audit(&w, "update", NULL), 0);
	made_clear(&made);
	world_close(&w);
}

static void
exports_are_rendered_when_data_is_written(void **state)
{
	static char name_a[] = "color", name_b[] = "size";
	static char *names[] = {name_a, name_b, NULL};
	struct sgate_update u = {.data_patch = B("{\"color\":\"blue\"}")};
	struct sgate_create c = {.user_id = B("ann"),
	    .data = B("{\"color\":\"red\",\"size\":4,\"x\":1}")};
	struct sgate_session *row;
	struct world w;
	struct made made;
	char **configured;

	(void)state;
	world_start(&w);
	configured = w.conf->session.export_data;
	w.conf->session.export_data = names;
	sgate_manager_free(w.mgr);
	w.mgr = world_manager(&w, NULL);
	w.conf->session.export_data = configured;
	world_create_with(&w, &c, &made);
	assert_bytes(session_get_exports(made.session),
	    "SESSION_DATA_COLOR=red\nSESSION_DATA_SIZE=4\n");
	update(&w, &made.ref, &u, SGATE_OK);
	row = world_row(&w, &made.ref);
	assert_bytes(session_get_exports(row),
	    "SESSION_DATA_COLOR=blue\nSESSION_DATA_SIZE=4\n");
	sgate_session_free(row);
	u.data_patch = B("{\"color\":\"a\\nb\"}");
	update(&w, &made.ref, &u, SGATE_INVALID);
	made_clear(&made);
	world_close(&w);
}

static void
what_has_ended_or_expired_is_not_updated(void **state)
{
	struct sgate_update u = {.context = B("1")};
	struct world w;
	struct made made;

	(void)state;
	world_start(&w);
	world_create(&w, "ann", &made);
	w.now_ms += 8 * HOUR;
	update(&w, &made.ref, &u, SGATE_NOT_FOUND);
	assert_int_equal(w.err.reason, SGATE_REASON_EXPIRED_ABSOLUTE);
	made_clear(&made);
	world_create(&w, "ann", &made);
	assert_status(&w,
	    sgate_session_end(w.mgr, &made.ref, SGATE_REASON_REVOKED, &w.err),
	    SGATE_OK);
	update(&w, &made.ref, &u, SGATE_NOT_FOUND);
	assert_int_equal(w.err.reason, SGATE_REASON_REVOKED);
	assert_int_equal(world_audit(&w, "update", NULL), 0);
	made_clear(&made);
	world_close(&w);
}

static const struct CMUnitTest session_manager[] = {
    cmocka_unit_test(a_created_session_is_found_by_its_token),
    cmocka_unit_test(no_token_is_taken_for_another),
    cmocka_unit_test(create_names_the_member_that_is_wrong),
    cmocka_unit_test(timeouts_are_never_above_the_configured),
    cmocka_unit_test(idle_expiry_has_a_tenth_of_leeway_and_activity_moves_it),
    cmocka_unit_test(absolute_expiry_comes_whatever_happens),
    cmocka_unit_test(activity_is_written_once_in_a_tenth_of_the_idle_timeout),
    cmocka_unit_test(a_touch_that_is_pending_counts),
    cmocka_unit_test(an_anonymous_session_lives_for_the_idle_timeout_once),
    cmocka_unit_test(a_login_replaces_an_anonymous_session),
    cmocka_unit_test(realms_do_not_see_each_other),
    cmocka_unit_test(the_caller_is_checked_and_named_in_the_audit),
    cmocka_unit_test(the_largest_budget_is_a_long_time_and_not_none),
    cmocka_unit_test(an_end_is_final_and_may_be_repeated),
    cmocka_unit_test(a_repeated_create_gives_the_same_token),
    cmocka_unit_test(
	a_repeat_from_another_process_of_the_same_caller_is_a_repeat),
    cmocka_unit_test(a_repeated_create_of_an_ended_session_is_a_conflict),
    cmocka_unit_test(a_repeat_holds_when_the_signing_key_changes),
    cmocka_unit_test(an_update_merges_and_counts_versions),
    cmocka_unit_test(an_update_is_audited_by_names_without_values),
    cmocka_unit_test(an_update_of_contexts_and_roles_replaces_the_lists),
    cmocka_unit_test(an_update_that_makes_data_too_large_changes_nothing),
    cmocka_unit_test(exports_are_rendered_when_data_is_written),
    cmocka_unit_test(what_has_ended_or_expired_is_not_updated),
};

TAP_MAIN(session_manager)
