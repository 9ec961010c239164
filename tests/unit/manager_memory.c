/*
 * No memory: the n-th allocation of a call fails, for every n until nothing
 * fails any more. Each call then either was not done and says so, or was done
 * and gives its answer: what is put into Redis beside it may fail. SQLite,
 * cJSON and the client libraries have memory of their own here. Without Redis
 * (tests/world.h) what is done to it is nothing.
 */
#include "tap.h"

#include "no_memory.h"
#include "world.h"

#include <stdlib.h>
#include <string.h>

/* One call of a kind. It asserts what is so whatever it answers. */
typedef enum sgate_status call_fn(struct world *w, const struct made *made);

static enum sgate_status
got(enum sgate_status status, struct sgate_session *s, char *token)
{
	if (status != SGATE_OK) {
		assert_null(s);
		assert_null(token);
	}
	sgate_session_free(s);
	sgate_token_free(token);
	return status;
}

static enum sgate_status
call_create(struct world *w, const struct made *made)
{
	const struct sgate_bytes roles[] = {B("a"), B("b")};
	struct sgate_create c = {.user_id = B("bob"),
	    .roles = roles,
	    .roles_count = 2,
	    .contexts = roles,
	    .contexts_count = 2,
	    .data = B("{\"a\":[1,2],\"color\":\"red\"}"),
	    .replaces = B(made->token),
	    .idempotency_key = B("k")};
	struct sgate_session *s = NULL;
	char *token = NULL;
	enum sgate_status status;

	status = sgate_session_create(w->mgr, &c, &s, &token, &w->err);
	return got(status, s, token);
}

static enum sgate_status
call_get(struct world *w, const struct made *made)
{
	struct sgate_session *s = NULL;
	enum sgate_status status;

	status = sgate_session_get(w->mgr, B(made->token), 0, &s, &w->err);
	return got(status, s, NULL);
}

/* Something else than the call, which has all the memory that it wants. */
static void
redis_do(struct world *w, const char *const *words)
{
	int countdown = no_memory_countdown;
	char answer[16];

	no_memory_countdown = -1;
	if (w->redis.pid != 0)
		redis_run(&w->redis, answer, sizeof(answer), words);
	no_memory_countdown = countdown;
}

static enum sgate_status
call_get_missing(struct world *w, const struct made *made)
{
	const char *const words[] = {"FLUSHALL", NULL};

	redis_do(w, words);
	return call_get(w, made);
}

static enum sgate_status
call_get_spoiled(struct world *w, const struct made *made)
{
	char ref[SGATE_REF_HEX + 1], key[128];
	const char *const words[] = {"SETRANGE", key, "60", "?!?", NULL};

	sgate_ref_text(&made->ref, ref);
	snprintf(key, sizeof(key), "%s:{%u}:s:%s", w->conf->redis.prefix,
	    token_ref_group(&made->ref), ref);
	redis_do(w, words);
	return call_get(w, made);
}

static enum sgate_status
call_round(struct world *w, const struct made *made)
{
	const struct manager_round round = {.runtime_dir = NULL};

	(void)made;
	return manager_fence_round(w->mgr, &round, &w->err);
}

static enum sgate_status
call_restored(struct world *w, const struct made *made)
{
	unsigned epoch;
	bool is_needed;

	(void)made;
	return manager_restored(w->mgr, &is_needed, &epoch, &w->err);
}

static enum sgate_status
call_update(struct world *w, const struct made *made)
{
	const struct sgate_bytes roles[] = {B("c")};
	struct sgate_update u = {.data_patch = B("{\"b\":{\"c\":1}}"),
	    .set_roles = 1,
	    .roles = roles,
	    .roles_count = 1,
	    .set_contexts = 1};
	struct sgate_session *s = NULL;
	enum sgate_status status;

	status = sgate_session_update(w->mgr, &made->ref, &u, &s, &w->err);
	return got(status, s, NULL);
}

static enum sgate_status
call_rotate(struct world *w, const struct made *made)
{
	struct sgate_session *s = NULL;
	char *token = NULL;
	enum sgate_status status;

	status =
	    sgate_session_rotate(w->mgr, B(made->token), &s, &token, &w->err);
	return got(status, s, token);
}

static enum sgate_status
call_end(struct world *w, const struct made *made)
{
	return sgate_session_end(
	    w->mgr, &made->ref, SGATE_REASON_REVOKED, &w->err);
}

static enum sgate_status
call_cleanup(struct world *w, const struct made *made)
{
	uint64_t count;

	(void)made;
	return sgate_user_cleanup(
	    w->mgr, B("ann"), NULL, SGATE_REASON_REVOKED, &count, &w->err);
}

static enum sgate_status
call_list(struct world *w, const struct made *made)
{
	struct sgate_list *list = NULL;
	enum sgate_status status;

	(void)made;
	status = sgate_user_sessions(w->mgr, B("ann"), 10, &list, &w->err);
	assert_int_equal(list != NULL, status == SGATE_OK);
	if (list != NULL)
		assert_int_equal(sgate_list_count(list), 1);
	sgate_list_free(list);
	return status;
}

static enum sgate_status
call_db(struct world *w, const struct made *made)
{
	struct sgate_db *db = NULL;
	enum sgate_status status;

	(void)made;
	status = sgate_db_open(w->mgr, 0, &db, &w->err);
	assert_int_equal(db != NULL, status == SGATE_OK);
	sgate_db_close(db);
	return status;
}

static enum sgate_status
call_announce(struct world *w, const struct made *made)
{
	(void)made;
	return manager_announce(w->mgr, "one", 1000, &w->err);
}

/* A manager of its own, and its first use of the store. */
static enum sgate_status
call_new(struct world *w, const struct made *made)
{
	struct sgate_manager *mgr = NULL;
	struct sgate_ref ref;
	enum sgate_status status;

	(void)made;
	status = manager_new_with(w->conf, NULL, NULL, NULL, &mgr, &w->err);
	assert_int_equal(mgr != NULL, status == SGATE_OK);
	if (status == SGATE_OK)
		status =
		    sgate_session_validate(mgr, B("no token"), &ref, &w->err);
	sgate_manager_free(mgr);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

static void
call_without_memory(call_fn *call, const char *user)
{
	enum sgate_status status;
	struct sgate_session *row;
	struct world w;
	struct made made;
	size_t audits;
	int n, left;

	world_start(&w);
	world_create(&w, user, &made);
	audits = world_audit(&w, NULL, NULL);
	for (n = 0; n < 1000; n++) {
		memset(&w.err, 0, sizeof(w.err));
		no_memory_countdown = n;
		status = call(&w, &made);
		left = no_memory_countdown;
		no_memory_countdown = -1;
		if (left >= 0)
			break;
		if (status == SGATE_OK) {
			/* It was done: another session for the next one. */
			assert_string_equal(world_cache(), "redis");
			made_clear(&made);
			world_create(&w, user, &made);
			audits = world_audit(&w, NULL, NULL);
			continue;
		}
		assert_status(&w, status, SGATE_NO_MEMORY);
		assert_int_equal(w.err.status, SGATE_NO_MEMORY);
		row = world_row(&w, &made.ref);
		assert_int_equal(row->version, 1);
		sgate_session_free(row);
		assert_int_equal(world_audit(&w, NULL, NULL), audits);
	}
	assert_status(&w, status, SGATE_OK);
	assert_true(n < 1000);
	if (call != call_round && call != call_restored)
		assert_true(n > 0);
	made_clear(&made);
	world_close(&w);
}

#define MEMORY_TEST(name, call, user)                                          \
	static void name(void **state)                                         \
	{                                                                      \
		(void)state;                                                   \
		call_without_memory(call, user);                               \
	}

MEMORY_TEST(a_create_without_memory_creates_nothing, call_create, "")
MEMORY_TEST(a_get_without_memory_is_no_answer, call_get, "ann")
MEMORY_TEST(
    a_get_that_is_put_into_redis_needs_no_memory, call_get_missing, "ann")
MEMORY_TEST(a_get_of_a_spoiled_copy_without_memory_is_no_answer,
    call_get_spoiled, "ann")
MEMORY_TEST(a_round_without_memory_goes_on, call_round, "ann")
MEMORY_TEST(a_restore_without_memory_is_done_again, call_restored, "ann")
MEMORY_TEST(an_update_without_memory_changes_nothing, call_update, "ann")
MEMORY_TEST(a_rotation_without_memory_changes_nothing, call_rotate, "ann")
MEMORY_TEST(an_end_without_memory_ends_nothing, call_end, "ann")
MEMORY_TEST(a_cleanup_without_memory_ends_nothing, call_cleanup, "ann")
MEMORY_TEST(a_list_without_memory_is_no_list, call_list, "ann")
MEMORY_TEST(a_transaction_without_memory_is_not_opened, call_db, "ann")
MEMORY_TEST(an_announcement_without_memory_is_none, call_announce, "ann")
MEMORY_TEST(a_manager_without_memory_is_not_made, call_new, "ann")

static const struct CMUnitTest manager_memory[] = {
    cmocka_unit_test(a_create_without_memory_creates_nothing),
    cmocka_unit_test(a_get_without_memory_is_no_answer),
    cmocka_unit_test(a_get_that_is_put_into_redis_needs_no_memory),
    cmocka_unit_test(a_get_of_a_spoiled_copy_without_memory_is_no_answer),
    cmocka_unit_test(a_round_without_memory_goes_on),
    cmocka_unit_test(a_restore_without_memory_is_done_again),
    cmocka_unit_test(an_update_without_memory_changes_nothing),
    cmocka_unit_test(a_rotation_without_memory_changes_nothing),
    cmocka_unit_test(an_end_without_memory_ends_nothing),
    cmocka_unit_test(a_cleanup_without_memory_ends_nothing),
    cmocka_unit_test(a_list_without_memory_is_no_list),
    cmocka_unit_test(a_transaction_without_memory_is_not_opened),
    cmocka_unit_test(an_announcement_without_memory_is_none),
    cmocka_unit_test(a_manager_without_memory_is_not_made),
};

TAP_MAIN(manager_memory)
