/*
 * Identities: when the local cache answers a check, what it then says, and all
 * that makes it no answer. Each case says who served.
 */
#include "tap.h"

#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define LOCAL "local"

struct cached_pair {
	struct pair p;
	struct local *local;
	/* What the hooks were given. */
	struct durable_touch touch;
	unsigned touches;
	bool is_full;
};

static bool
put_touch(void *arg, const struct durable_touch *touch)
{
	struct cached_pair *c = arg;

	if (c->is_full)
		return false;
	c->touch = *touch;
	c->touches++;
	return true;
}

static int64_t
no_last_seen(void *arg, const struct sgate_ref *ref)
{
	(void)arg;
	(void)ref;
	return 0;
}

static void
start(struct cached_pair *c)
{
	struct manager_touch_hooks hooks = {
	    .put = put_touch, .last_seen = no_last_seen, .arg = c};
	struct sgate_error err;

	memset(c, 0, sizeof(*c));
	pair_start(&c->p);
	assert_int_equal(
	    local_create(UINT64_C(65536), &c->local, &err), SGATE_OK);
	manager_set_local(c->p.w.mgr, c->local);
	manager_set_touch_hooks(c->p.w.mgr, &hooks);
	local_set_mode(c->local, LOCAL_TRACKED);
	local_renew(c->local, clock_boot_ms() + 60000);
}

static void
stop(struct cached_pair *c)
{
	pair_stop(&c->p);
	local_close(c->local);
}

static struct identity
identify(struct cached_pair *c, const char *token, const char *bound,
    enum sgate_reason reason, const char *served_by)
{
	struct sgate_manager *mgr = c->p.w.mgr;
	struct identity who;
	enum sgate_status status;

	status = manager_identify(mgr, B(token), B(bound), &who, &c->p.w.err);
	assert_status(&c->p.w, status,
	    reason == SGATE_REASON_OK      ? SGATE_OK
	    : reason == SGATE_REASON_STORE ? SGATE_UNAVAILABLE
					   : SGATE_NOT_FOUND);
	assert_int_equal(c->p.w.err.reason, reason);
	assert_string_equal(manager_served_by(mgr), served_by);
	return who;
}

/* A look, and it is remembered if it may be. */
static void
learn(struct cached_pair *c, const char *token, const char *served_by)
{
	identify(c, token, "", SGATE_REASON_OK, served_by);
	manager_remember(c->p.w.mgr);
}

static void
expect(struct cached_pair *c, const char *token, const char *served_by)
{
	identify(c, token, "", SGATE_REASON_OK, served_by);
}

/* ---- hits ---- */

static void
a_hit_says_what_the_look_said_and_asks_no_store(void **state)
{
	const struct sgate_bytes roles[] = {B("editor"), B("admin")};
	struct sgate_create create = {.user_id = B("ann"),
	    .context = B("7"),
	    .roles = roles,
	    .roles_count = 2,
	    .data = B("{\"theme\":\"dark\"}")};
	struct identity look, hit;
	unsigned calls, reads;
	struct cached_pair c;
	struct made made;
	char user[16];
	int i;

	(void)state;
	start(&c);
	world_create_with(&c.p.w, &create, &made);
	look = identify(&c, made.token, "", SGATE_REASON_OK, COPY);
	assert_bytes(look.user, "ann");
	assert_non_null(look.session);
	snprintf(
	    user, sizeof(user), "%.*s", (int)look.user.len, look.user.data);
	manager_remember(c.p.w.mgr);
	calls = cache_fake_calls(NULL);
	reads = fake_calls("session_get");
	for (i = 0; i < 100; i++) {
		hit = identify(&c, made.token, "", SGATE_REASON_OK, LOCAL);
		assert_memory_equal(&hit.ref, &made.ref, sizeof(hit.ref));
		assert_bytes(hit.user, user);
		assert_bytes(hit.roles, "editor,admin");
		assert_bytes(hit.context, "7");
		assert_true(identity_has_role(&hit, B("admin")));
		assert_true(identity_has_role(&hit, B("editor")));
		assert_false(identity_has_role(&hit, B("edit")));
		assert_false(identity_has_role(&hit, B("")));
		assert_false(hit.is_anonymous);
		assert_int_equal(hit.created_ms, made.session->created_ms);
		assert_int_equal(hit.auth_ms, made.session->auth_ms);
		assert_int_equal(hit.absolute_ms, made.session->absolute_ms);
		assert_null(hit.new_token);
		assert_null(hit.session);
	}
	assert_int_equal(cache_fake_calls(NULL), calls);
	assert_int_equal(fake_calls("session_get"), reads);
	assert_int_equal(pair_count(&c.p, STORES_SERVED_LOCAL), 100);
	made_clear(&made);
	stop(&c);
}

static void
an_anonymous_session_is_found_as_well(void **state)
{
	struct cached_pair c;
	struct identity hit;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "", &made);
	learn(&c, made.token, COPY);
	hit = identify(&c, made.token, "", SGATE_REASON_OK, LOCAL);
	assert_true(hit.is_anonymous);
	assert_bytes(hit.user, "");
	made_clear(&made);
	stop(&c);
}

static void
what_was_found_in_a_row_is_remembered_too(void **state)
{
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	cache_fake_flush();
	learn(&c, made.token, ROW);
	expect(&c, made.token, LOCAL);
	made_clear(&made);
	stop(&c);
}

static void
without_a_cache_the_lease_is_that_of_the_round(void **state)
{
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	local_set_mode(c.local, LOCAL_POLLED);
	learn(&c, made.token, COPY);
	/* As long as somebody would ask Redis, it is asked. */
	expect(&c, made.token, COPY);
	breaker_open(&c.p.stores.cache, clock_monotonic_ms());
	pair_age(&c.p.stores, 0);
	expect(&c, made.token, LOCAL);
	pair_age(&c.p.stores, c.p.w.conf->cache.lease_ms + 1);
	expect(&c, made.token, ROW);
	pair_age(&c.p.stores, 0);
	expect(&c, made.token, LOCAL);
	made_clear(&made);
	stop(&c);
}

/* It may have ended while MySQL was away, which rounds do not see yet. */
static void
without_a_cache_a_mysql_that_is_just_back_is_not_enough(void **state)
{
	struct cached_pair c;
	struct made made;
	int64_t now_ms = clock_monotonic_ms();

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	local_set_mode(c.local, LOCAL_POLLED);
	learn(&c, made.token, COPY);
	breaker_open(&c.p.stores.cache, now_ms + 15 * MINUTE);
	pair_age(&c.p.stores, 0);
	expect(&c, made.token, LOCAL);
	pair_durable_down(&c.p);
	breaker_close(&c.p.stores.durable, now_ms + 15 * MINUTE);
	identify(&c, made.token, "", SGATE_REASON_STORE, "");
	pair_durable_back(&c.p);
	pair_age(&c.p.stores, 0);
	expect(&c, made.token, LOCAL);
	made_clear(&made);
	stop(&c);
}

/* ---- misses ---- */

static void
another_token_realm_or_binding_finds_nothing(void **state)
{
	struct cached_pair c;
	struct made made, other;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	world_create(&c.p.w, "ann", &other);
	identify(&c, made.token, "Lynx", SGATE_REASON_OK, COPY);
	manager_remember(c.p.w.mgr);
	identify(&c, made.token, "Lynx", SGATE_REASON_OK, LOCAL);
	identify(&c, made.token, "", SGATE_REASON_OK, COPY);
	identify(&c, made.token, "Links", SGATE_REASON_OK, COPY);
	identify(&c, other.token, "Lynx", SGATE_REASON_OK, COPY);
	identify(&c, made.token, "Lynx", SGATE_REASON_OK, LOCAL);
	world_caller(c.p.w.mgr, "shop");
	identify(&c, made.token, "Lynx", SGATE_REASON_BAD_TAG, "");
	made_clear(&made);
	made_clear(&other);
	stop(&c);
}

static void
what_nobody_accepted_is_not_remembered(void **state)
{
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	expect(&c, made.token, COPY);
	expect(&c, made.token, COPY);
	/* After a refusal there is nothing that could be. */
	identify(&c, "x", "", SGATE_REASON_MALFORMED, "");
	manager_remember(c.p.w.mgr);
	expect(&c, made.token, COPY);
	made_clear(&made);
	stop(&c);
}

static void
without_the_lease_there_is_no_hit(void **state)
{
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	local_set_mode(c.local, LOCAL_TRACKED);
	learn(&c, made.token, COPY);
	expect(&c, made.token, COPY);
	local_renew(c.local, clock_boot_ms() + 60000);
	expect(&c, made.token, LOCAL);
	made_clear(&made);
	stop(&c);
}

static void
rounds_that_stopped_end_the_hits(void **state)
{
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	learn(&c, made.token, COPY);
	pair_age(&c.p.stores, 3 * c.p.w.conf->fence.poll_interval_ms + 1);
	expect(&c, made.token, ROW);
	/* Who is blind goes by it for max_blind. */
	pair_durable_down(&c.p);
	expect(&c, made.token, LOCAL);
	pair_age(&c.p.stores, c.p.w.conf->fence.max_blind_ms + 1);
	assert_int_equal(manager_identify(c.p.w.mgr, B(made.token), B(""),
			     &(struct identity){0}, &c.p.w.err),
	    SGATE_UNAVAILABLE);
	pair_durable_back(&c.p);
	pair_age(&c.p.stores, 0);
	expect(&c, made.token, LOCAL);
	atomic_store(&c.p.stores.fence.is_alarmed, 1);
	expect(&c, made.token, ROW);
	made_clear(&made);
	stop(&c);
}

static void
expiry_is_judged_at_every_hit(void **state)
{
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	learn(&c, made.token, COPY);
	c.is_full = true; /* no activity is noted */
	c.p.w.now_ms = session_idle_deadline_ms(made.session) - 1;
	identify(&c, made.token, "", SGATE_REASON_OK, COPY);
	c.is_full = false;
	made_clear(&made);
	world_create(&c.p.w, "bob", &made);
	learn(&c, made.token, COPY);
	expect(&c, made.token, LOCAL);
	c.p.w.now_ms = made.session->absolute_ms - 1;
	local_seen(c.local, &made.ref, 1, c.p.w.now_ms);
	expect(&c, made.token, LOCAL);
	c.p.w.now_ms = made.session->absolute_ms;
	identify(&c, made.token, "", SGATE_REASON_EXPIRED_ABSOLUTE, COPY);
	made_clear(&made);
	stop(&c);
}

static void
an_idle_entry_is_left_to_the_look(void **state)
{
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	learn(&c, made.token, COPY);
	expect(&c, made.token, LOCAL);
	c.p.w.now_ms =
	    session_idle_deadline_ms(made.session) + MANAGER_SEEN_LATE_MS;
	identify(&c, made.token, "", SGATE_REASON_EXPIRED_IDLE, ROW);
	made_clear(&made);
	stop(&c);
}

static void
an_end_that_no_store_has_refuses(void **state)
{
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	learn(&c, made.token, COPY);
	stores_end_here(&c.p.stores, &made.ref, SGATE_REASON_LOGGED_OUT);
	identify(&c, made.token, "", SGATE_REASON_LOGGED_OUT, "");
	made_clear(&made);
	stop(&c);
}

static void
what_does_not_fit_is_left_to_the_stores(void **state)
{
	char user[SESSION_USER_MAX + 1], context[SESSION_CONTEXT_MAX + 1];
	struct sgate_create create = {.user_id = B("")};
	struct cached_pair c;
	struct made made;
	int more;

	(void)state;
	start(&c);
	memset(user, 'u', SESSION_USER_MAX);
	user[SESSION_USER_MAX] = '\0';
	memset(context, 'c', sizeof(context));
	create.user_id = B(user);
	for (more = 0; more < 2; more++) {
		create.context = (struct sgate_bytes){
		    context, LOCAL_TEXT_MAX - SESSION_USER_MAX + (size_t)more};
		world_create_with(&c.p.w, &create, &made);
		learn(&c, made.token, COPY);
		expect(&c, made.token, more == 0 ? LOCAL : COPY);
		made_clear(&made);
	}
	stop(&c);
}

static void
a_drop_between_look_and_fill_wins(void **state)
{
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	expect(&c, made.token, COPY);
	local_drop(c.local, &made.ref);
	manager_remember(c.p.w.mgr);
	expect(&c, made.token, COPY);
	local_drop_all(c.local);
	manager_remember(c.p.w.mgr);
	expect(&c, made.token, COPY);
	manager_remember(c.p.w.mgr);
	expect(&c, made.token, LOCAL);
	made_clear(&made);
	stop(&c);
}

/* The old token, in grace, and the new one until its first use is written. */
static void
nothing_is_remembered_while_a_rotation_is_noted(void **state)
{
	struct sgate_session *s = NULL;
	struct cached_pair c;
	struct identity who;
	char *token = NULL;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	assert_status(&c.p.w,
	    sgate_session_rotate(
		c.p.w.mgr, B(made.token), &s, &token, &c.p.w.err),
	    SGATE_OK);
	sgate_session_free(s);
	who = identify(&c, made.token, "", SGATE_REASON_OK, COPY);
	assert_string_equal(who.new_token, token);
	manager_remember(c.p.w.mgr);
	expect(&c, made.token, COPY);
	learn(&c, token, COPY);
	assert_int_equal(c.touch.successor_used_ms, c.p.w.now_ms);
	expect(&c, token, COPY);
	made_clear(&made);
	sgate_token_free(token);
	stop(&c);
}

/* ---- activity ---- */

static void
activity_of_hits_is_noted_when_it_is_due(void **state)
{
	struct cached_pair c;
	struct made made;
	unsigned calls;
	int i;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	learn(&c, made.token, COPY);
	calls = cache_fake_calls(NULL);
	c.p.w.now_ms += made.session->idle_ms / 10 - 1;
	expect(&c, made.token, LOCAL);
	assert_int_equal(c.touches, 0);
	c.p.w.now_ms++;
	for (i = 0; i < 3; i++)
		expect(&c, made.token, LOCAL);
	assert_int_equal(c.touches, 1);
	assert_memory_equal(&c.touch.ref, &made.ref, sizeof(made.ref));
	assert_int_equal(c.touch.last_seen_ms, c.p.w.now_ms);
	assert_int_equal(c.touch.successor_used_ms, 0);
	assert_int_equal(c.touch.copy_ttl_ms,
	    session_copy_ttl_ms(made.session, c.p.w.now_ms));
	/* And so on: nobody who comes back in time is logged out. */
	for (i = 0; i < 10; i++) {
		c.p.w.now_ms += made.session->idle_ms;
		expect(&c, made.token, LOCAL);
	}
	assert_int_equal(c.touches, 11);
	assert_int_equal(cache_fake_calls(NULL), calls);
	made_clear(&made);
	stop(&c);
}

static void
activity_that_nobody_takes_is_left_to_the_look(void **state)
{
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	learn(&c, made.token, COPY);
	c.p.w.now_ms += made.session->idle_ms / 10;
	c.is_full = true;
	expect(&c, made.token, COPY);
	assert_int_equal(pair_last_seen(&made.ref), c.p.w.now_ms);
	made_clear(&made);
	stop(&c);
}

static bool
recalls(struct sgate_manager *mgr, const char *realm, const char *token)
{
	struct identity who;
	bool is_hit = manager_recall(mgr, B(realm), B(token), B(""), &who);

	assert_true(is_hit || who.user.data == NULL);
	return is_hit;
}

/* A hit asks for no tag: whose keys are others has no hits by it. */
static void
what_was_found_good_by_other_keys_is_no_hit(void **state)
{
	struct sgate_manager *later;
	struct cached_pair c;
	struct made made;
	uint8_t id;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	learn(&c, made.token, COPY);
	assert_true(recalls(c.p.w.mgr, "", made.token));
	assert_status(&c.p.w,
	    keys_file_new(c.p.w.conf->keys.file, c.p.w.now_ms, &id, &c.p.w.err),
	    SGATE_OK);
	later = pair_manager(&c.p);
	manager_set_local(later, c.local);
	assert_false(recalls(later, "", made.token));
	assert_true(recalls(c.p.w.mgr, "", made.token));
	sgate_manager_free(later);
	made_clear(&made);
	stop(&c);
}

/* It shows what a look would, asks nobody, and is no activity. */
static void
a_glance_is_no_activity(void **state)
{
	struct sgate_session *shown, *known = NULL;
	struct cached_pair c;
	unsigned asked, calls;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	assert_false(manager_glance(c.p.w.mgr, B(made.token), B(""), &shown));
	assert_null(shown);
	learn(&c, made.token, COPY);
	c.p.w.now_ms += made.session->idle_ms / 2;
	asked = cache_fake_calls("get") + cache_fake_calls("peek");
	calls = fake_calls("session_get");
	assert_true(manager_glance(c.p.w.mgr, B(made.token), B(""), &shown));
	assert_int_equal(
	    cache_fake_calls("get") + cache_fake_calls("peek"), asked);
	assert_int_equal(fake_calls("session_get"), calls);
	assert_int_equal(pair_last_seen(&made.ref), made.session->created_ms);
	assert_status(&c.p.w,
	    sgate_session_get(
		c.p.w.mgr, B(made.token), SGATE_NO_TOUCH, &known, &c.p.w.err),
	    SGATE_OK);
	assert_memory_equal(&shown->ref, &known->ref, sizeof(known->ref));
	assert_int_equal(shown->version, known->version);
	assert_string_equal(shown->user, known->user);
	assert_string_equal(shown->roles, known->roles);
	assert_string_equal(shown->context, known->context);
	assert_int_equal(sgate_session_get_idle_expires_ms(shown),
	    sgate_session_get_idle_expires_ms(known));
	assert_int_equal(sgate_session_get_expires_ms(shown),
	    sgate_session_get_expires_ms(known));
	sgate_session_free(known);
	sgate_session_free(shown);
	assert_false(manager_glance(c.p.w.mgr, B(made.token), B("x"), &shown));
	world_caller(c.p.w.mgr, "shop");
	assert_false(manager_glance(c.p.w.mgr, B(made.token), B(""), &shown));
	world_caller(c.p.w.mgr, "");
	/* Over, or nearly: the look knows. */
	c.p.w.now_ms += made.session->idle_ms;
	assert_false(manager_glance(c.p.w.mgr, B(made.token), B(""), &shown));
	made_clear(&made);
	stop(&c);
}

/* What the local cache does not know is judged as ever. */
static void
another_text_with_that_ref_is_no_hit(void **state)
{
	struct cached_pair c;
	struct made made;
	size_t i;
	char last;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	learn(&c, made.token, COPY);
	for (i = 0; i < SGATE_TOKEN_LEN; i++) {
		char was = made.token[i];

		made.token[i] = was == 'A' ? 'B' : 'A';
		assert_false(recalls(c.p.w.mgr, "", made.token));
		made.token[i] = '*';
		assert_false(recalls(c.p.w.mgr, "", made.token));
		made.token[i] = was;
	}
	last = made.token[SGATE_TOKEN_LEN - 2];
	made.token[SGATE_TOKEN_LEN - 2] = last == 'A' ? 'B' : 'A';
	identify(&c, made.token, "", SGATE_REASON_BAD_TAG, "");
	made.token[SGATE_TOKEN_LEN - 2] = last;
	assert_false(recalls(c.p.w.mgr, "shop", made.token));
	assert_true(recalls(c.p.w.mgr, "", made.token));
	made_clear(&made);
	stop(&c);
}

/* ---- what takes entries out ---- */

static bool
is_there(struct cached_pair *c, const struct sgate_ref *ref)
{
	uint64_t version;

	return local_has(c->local, ref, &version);
}

/* A keeper that has done its first round. */
static struct sgate_manager *
keeper_start(struct cached_pair *c)
{
	const struct manager_round round = {.runtime_dir = NULL};
	struct sgate_manager *keeper = pair_manager(&c->p);

	manager_set_local(keeper, c->local);
	assert_status(&c->p.w, manager_fence_round(keeper, &round, &c->p.w.err),
	    SGATE_OK);
	return keeper;
}

static void
keeper_round(struct cached_pair *c, struct sgate_manager *keeper)
{
	const struct manager_round round = {.runtime_dir = NULL};
	struct sgate_error ignored;

	if (manager_fence_round(keeper, &round, &ignored) != SGATE_OK)
		assert_int_equal(ignored.status, SGATE_UNAVAILABLE);
	(void)c;
}

static void
who_changes_or_ends_takes_it_out(void **state)
{
	struct sgate_update change = {.data_patch = B("{\"a\":1}")};
	struct cached_pair c;
	struct made made, other;
	uint64_t count;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	world_create(&c.p.w, "ann", &other);
	learn(&c, made.token, COPY);
	assert_true(is_there(&c, &made.ref));
	assert_status(&c.p.w,
	    sgate_session_update(
		c.p.w.mgr, &made.ref, &change, NULL, &c.p.w.err),
	    SGATE_OK);
	assert_false(is_there(&c, &made.ref));
	/* Also when the answer was lost, and the next try finds it done. */
	learn(&c, made.token, COPY);
	assert_true(is_there(&c, &made.ref));
	fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
	fake_script("audit_exists", 1, FAKE_REFUSED);
	assert_status(&c.p.w,
	    sgate_session_update(
		c.p.w.mgr, &made.ref, &change, NULL, &c.p.w.err),
	    SGATE_OK);
	assert_false(is_there(&c, &made.ref));
	learn(&c, made.token, COPY);
	learn(&c, other.token, COPY);
	assert_status(&c.p.w,
	    sgate_user_cleanup(c.p.w.mgr, B("ann"), &other.ref,
		SGATE_REASON_REVOKED, &count, &c.p.w.err),
	    SGATE_OK);
	assert_false(is_there(&c, &made.ref));
	assert_true(is_there(&c, &other.ref));
	assert_status(&c.p.w,
	    sgate_session_end_token(
		c.p.w.mgr, B(other.token), SGATE_REASON_LOGGED_OUT, &c.p.w.err),
	    SGATE_OK);
	assert_false(is_there(&c, &other.ref));
	made_clear(&made);
	made_clear(&other);
	stop(&c);
}

static void
a_round_takes_out_what_others_have_changed(void **state)
{
	struct sgate_update change = {.data_patch = B("{\"a\":1}")};
	struct sgate_manager *keeper;
	struct made made, kept;
	struct cached_pair c;
	struct other other;
	int is_down;

	(void)state;
	start(&c);
	keeper = keeper_start(&c);
	pair_other_open(&c.p, &other);
	world_create(&c.p.w, "ann", &made);
	world_create(&c.p.w, "bob", &kept);
	learn(&c, kept.token, COPY);
	/* Whether Redis answers or not. */
	for (is_down = 0; is_down < 2; is_down++) {
		if (is_down)
			pair_cache_down();
		learn(&c, made.token, is_down ? ROW : COPY);
		assert_status(&c.p.w,
		    sgate_session_update(
			other.mgr, &made.ref, &change, NULL, &c.p.w.err),
		    SGATE_OK);
		assert_true(is_there(&c, &made.ref));
		keeper_round(&c, keeper);
		assert_false(is_there(&c, &made.ref));
		assert_true(is_there(&c, &kept.ref));
	}
	pair_other_close(&other);
	sgate_manager_free(keeper);
	made_clear(&made);
	made_clear(&kept);
	stop(&c);
}

static void
a_round_that_cannot_read_them_takes_everything_out(void **state)
{
	struct sgate_manager *keeper;
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	keeper = keeper_start(&c);
	world_create(&c.p.w, "ann", &made);
	learn(&c, made.token, COPY);
	keeper_round(&c, keeper);
	assert_true(is_there(&c, &made.ref));
	pair_other_change(&c.p, &made.ref);
	fake_script("changed", 1, FAKE_UNAVAILABLE);
	keeper_round(&c, keeper);
	assert_false(is_there(&c, &made.ref));
	sgate_manager_free(keeper);
	made_clear(&made);
	stop(&c);
}

/* The one before it may have been killed before it dropped something. */
static void
a_new_keeper_begins_with_nothing(void **state)
{
	struct cached_pair c;
	struct made made;

	(void)state;
	start(&c);
	world_create(&c.p.w, "ann", &made);
	learn(&c, made.token, COPY);
	assert_true(is_there(&c, &made.ref));
	sgate_manager_free(keeper_start(&c));
	assert_false(is_there(&c, &made.ref));
	made_clear(&made);
	stop(&c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_hit_says_what_the_look_said_and_asks_no_store),
    cmocka_unit_test(an_anonymous_session_is_found_as_well),
    cmocka_unit_test(what_was_found_good_by_other_keys_is_no_hit),
    cmocka_unit_test(another_text_with_that_ref_is_no_hit),
    cmocka_unit_test(what_was_found_in_a_row_is_remembered_too),
    cmocka_unit_test(without_a_cache_the_lease_is_that_of_the_round),
    cmocka_unit_test(without_a_cache_a_mysql_that_is_just_back_is_not_enough),
    cmocka_unit_test(another_token_realm_or_binding_finds_nothing),
    cmocka_unit_test(what_nobody_accepted_is_not_remembered),
    cmocka_unit_test(without_the_lease_there_is_no_hit),
    cmocka_unit_test(rounds_that_stopped_end_the_hits),
    cmocka_unit_test(expiry_is_judged_at_every_hit),
    cmocka_unit_test(an_idle_entry_is_left_to_the_look),
    cmocka_unit_test(an_end_that_no_store_has_refuses),
    cmocka_unit_test(what_does_not_fit_is_left_to_the_stores),
    cmocka_unit_test(a_drop_between_look_and_fill_wins),
    cmocka_unit_test(nothing_is_remembered_while_a_rotation_is_noted),
    cmocka_unit_test(activity_of_hits_is_noted_when_it_is_due),
    cmocka_unit_test(activity_that_nobody_takes_is_left_to_the_look),
    cmocka_unit_test(a_glance_is_no_activity),
    cmocka_unit_test(who_changes_or_ends_takes_it_out),
    cmocka_unit_test(a_round_takes_out_what_others_have_changed),
    cmocka_unit_test(a_round_that_cannot_read_them_takes_everything_out),
    cmocka_unit_test(a_new_keeper_begins_with_nothing),
};

TAP_MAIN(tests)
