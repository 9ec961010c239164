/*
 * SessionManagerV2: sessions as one JSON text in Redis, and a row of MySQL
 * beside it that was never read.
 */
#include "parity.h"

#include <stdlib.h>
#include <string.h>

/* ---- create_session(user_id, platform_connection_id) ---- */

static void
is_of_user_1_on_platform_10(const struct sgate_session *s)
{
	assert_bytes(sgate_session_get_user_id(s), "1");
	assert_bytes(sgate_session_get_context(s), "10");
}

/*
 * An id that works at once and everywhere. Without Redis it was an error, and
 * a platform that was no good was left out with a warning.
 */
void
session_manager_v2__create_session(void **state)
{
	struct sgate_create c = {.user_id = B("1"), .context = B("10")};
	struct sgate_session *s = NULL;
	struct sgate_stats stats;
	struct made made;
	char *token = NULL;

	(void)state;
	world_create_with(&parity, &c, &made);
	served_by_durable();
	assert_int_equal(world_audit(&parity, "create", &made.ref), 1);
	parity_everywhere(&made, SGATE_REASON_OK, is_of_user_1_on_platform_10);
	made_clear(&made);

	world_pause_cache(&parity);
	world_create_with(&parity, &c, &made);
	served_by_durable();
	world_resume_cache(&parity);
	assert_int_equal(world_look(&parity, made.token), SGATE_REASON_OK);
	parity_everywhere(&made, SGATE_REASON_OK, is_of_user_1_on_platform_10);
	made_clear(&made);

	c.context = B("1\n0");
	assert_status(&parity,
	    sgate_session_create(parity.mgr, &c, &s, &token, &parity.err),
	    SGATE_INVALID);
	served_by_none();
	assert_null(s);
	assert_null(token);
	parity_stats(&stats);
	assert_int_equal(stats.live, 2);
}

void
session_manager_v2__create_session__of_inactive_user(void **state)
{
	struct sgate_create c = {.user_id = B("1")};
	struct sgate_session *s = NULL;
	struct made before;
	char *token = NULL;
	uint64_t count = 0;

	(void)state;
	world_create(&parity, "1", &before);
	assert_status(&parity,
	    sgate_user_block(
		parity.mgr, B("1"), B("inactive"), &count, &parity.err),
	    SGATE_OK);
	served_by_durable();
	assert_int_equal(count, 1);
	parity_everywhere(&before, SGATE_REASON_BLOCKED, NULL);
	assert_status(&parity,
	    sgate_session_create(parity.mgr, &c, &s, &token, &parity.err),
	    SGATE_DENIED);
	served_by_durable();
	assert_int_equal(parity.err.reason, SGATE_REASON_BLOCKED);
	assert_null(token);
	made_clear(&before);
}

/* ---- get_session_data(sid) ---- */

static void
speaks_esperanto(const struct sgate_session *s)
{
	assert_bytes(sgate_session_get_data(s), "{\"lang\":\"eo\"}");
	assert_int_equal(sgate_session_get_version(s), 1);
}

void
session_manager_v2__get_session_data(void **state)
{
	struct sgate_create c = {
	    .user_id = B("1"), .data = B("{\"lang\":\"eo\"}")};
	struct sgate_session *s = NULL;
	struct made made;

	(void)state;
	world_create_with(&parity, &c, &made);
	parity_everywhere(&made, SGATE_REASON_OK, speaks_esperanto);
	assert_status(&parity,
	    sgate_session_get(parity.mgr, B("unknown"), 0, &s, &parity.err),
	    SGATE_NOT_FOUND);
	served_by_none();
	assert_null(s);
	made_clear(&made);
}

static bool
keep_touch(void *arg, const struct durable_touch *touch)
{
	*(struct durable_touch *)arg = *touch;
	return true;
}

static void
speaks_latin(const struct sgate_session *s)
{
	assert_bytes(sgate_session_get_data(s), "{\"lang\":\"la\"}");
}

static void
is_changed_and_seen(const struct sgate_session *s)
{
	speaks_latin(s);
	assert_int_equal(sgate_session_get_last_seen_ms(s), parity.now_ms);
}

/*
 * A read wrote the whole of what it had read, with a new time: a change that
 * came between was lost. Here that write comes late, after the change.
 */
void
session_manager_v2__get_session_data__writes_nothing_back(void **state)
{
	struct durable_touch late = {.last_seen_ms = 0};
	struct manager_touch_hooks hooks = {.put = keep_touch, .arg = &late};
	struct sgate_create c = {
	    .user_id = B("1"), .data = B("{\"lang\":\"eo\"}")};
	struct sgate_session *s = NULL;
	struct made made;

	(void)state;
	world_create_with(&parity, &c, &made);
	parity.now_ms += 5 * MINUTE;
	manager_set_touch_hooks(parity.mgr, &hooks);
	assert_status(&parity,
	    sgate_session_get(parity.mgr, B(made.token), 0, &s, &parity.err),
	    SGATE_OK);
	served_by_cache();
	sgate_session_free(s);
	manager_set_touch_hooks(parity.mgr, NULL);
	assert_int_equal(late.last_seen_ms, parity.now_ms);

	parity_update(&made.ref, "{\"lang\":\"la\"}");
	assert_status(&parity,
	    manager_touch_write(parity.mgr, &late, 1, &parity.err), SGATE_OK);
	served_by_durable();
	parity_everywhere(&made, SGATE_REASON_OK, is_changed_and_seen);
	made_clear(&made);
}

/* ---- update_session(sid, updates) ---- */

static void
is_merged(const struct sgate_session *s)
{
	assert_bytes(sgate_session_get_data(s), "{\"b\":3,\"c\":4}");
}

/* Members are merged. That it also began the whole life anew, it does not. */
void
session_manager_v2__update_session(void **state)
{
	struct sgate_create c = {
	    .user_id = B("1"), .data = B("{\"a\":1,\"b\":2}")};
	struct sgate_update u = {.data_patch = B("{\"c\":4,\"a\":null}")};
	struct sgate_session *s = NULL;
	struct made made;

	(void)state;
	world_create_with(&parity, &c, &made);
	parity_update(&made.ref, "{\"b\":3}");
	parity.now_ms += 10 * MINUTE;
	assert_status(&parity,
	    sgate_session_update(parity.mgr, &made.ref, &u, &s, &parity.err),
	    SGATE_OK);
	served_by_durable();
	is_merged(s);
	assert_int_equal(parity_ttl(s), 20 * 60);
	sgate_session_free(s);
	parity_everywhere(&made, SGATE_REASON_OK, is_merged);
	assert_int_equal(world_audit(&parity, "update", &made.ref), 2);
	made_clear(&made);
}

static void
has_both(const struct sgate_session *s)
{
	assert_bytes(sgate_session_get_data(s), "{\"a\":1,\"b\":1}");
}

/*
 * Both read the same text, both wrote it back: one change was lost. Members
 * that differ both survive, and who depends on what he read says so.
 */
void
session_manager_v2__update_session__of_two_at_once(void **state)
{
	struct sgate_update u = {.data_patch = B("{\"a\":2}")};
	struct sgate_manager *other;
	struct sgate_session *s = NULL;
	struct made made;

	(void)state;
	world_create(&parity, "1", &made);
	other = world_manager(&parity, NULL);
	assert_status(&parity,
	    sgate_session_get(other, B(made.token), 0, &s, &parity.err),
	    SGATE_OK);
	parity_update(&made.ref, "{\"a\":1}");
	u.if_version = sgate_session_get_version(s);
	assert_status(&parity,
	    sgate_session_update(other, &made.ref, &u, NULL, &parity.err),
	    SGATE_CONFLICT);
	u.data_patch = B("{\"b\":1}");
	u.if_version = 0;
	assert_status(&parity,
	    sgate_session_update(other, &made.ref, &u, NULL, &parity.err),
	    SGATE_OK);
	parity_everywhere(&made, SGATE_REASON_OK, has_both);
	sgate_session_free(s);
	sgate_manager_free(other);
	made_clear(&made);
}

/*
 * It wrote a session that was destroyed meanwhile. And what was changed while
 * Redis did not answer is not forgotten when it answers again.
 */
void
session_manager_v2__update_session__resurrects_nothing(void **state)
{
	struct sgate_update u = {.data_patch = B("{\"a\":1}")};
	struct made ended, live;

	(void)state;
	world_create(&parity, "1", &ended);
	parity_end(&ended.ref, SGATE_REASON_REVOKED);
	assert_status(&parity,
	    sgate_session_update(parity.mgr, &ended.ref, &u, NULL, &parity.err),
	    SGATE_NOT_FOUND);
	served_by_durable();
	parity_everywhere(&ended, SGATE_REASON_REVOKED, NULL);

	world_create(&parity, "1", &live);
	world_pause_cache(&parity);
	parity_update(&live.ref, "{\"a\":1}");
	parity_update(&live.ref, "{\"b\":1}");
	world_resume_cache(&parity);
	parity_everywhere(&live, SGATE_REASON_OK, has_both);
	made_clear(&ended);
	made_clear(&live);
}

/* ---- destroy_session(sid) ---- */

/*
 * Gone in both stores, and the same answer when that is so already. It said
 * False when Redis had lost the key, and left it in Redis when that was away.
 */
void
session_manager_v2__destroy_session(void **state)
{
	struct made made;

	(void)state;
	world_create(&parity, "1", &made);
	world_flush_cache(&parity);
	parity_end(&made.ref, SGATE_REASON_LOGGED_OUT);
	parity_end(&made.ref, SGATE_REASON_LOGGED_OUT);
	parity_everywhere(&made, SGATE_REASON_LOGGED_OUT, NULL);
	assert_int_equal(world_audit(&parity, "end", &made.ref), 1);
	made_clear(&made);

	world_create(&parity, "1", &made);
	world_pause_cache(&parity);
	parity_end(&made.ref, SGATE_REASON_LOGGED_OUT);
	world_resume_cache(&parity);
	parity_everywhere(&made, SGATE_REASON_LOGGED_OUT, NULL);
	made_clear(&made);
}

/*
 * A Redis that comes back as it was before: from a dump, or as a replica that
 * had not been told. The session that it still has was in use again.
 */
void
session_manager_v2__destroy_session__when_redis_is_set_back(void **state)
{
	struct made ended, changed;

	(void)state;
	world_create(&parity, "1", &ended);
	world_create(&parity, "2", &changed);
	world_save_cache(&parity);
	parity_end(&ended.ref, SGATE_REASON_LOGGED_OUT);
	parity_update(&changed.ref, "{\"lang\":\"la\"}");
	world_round(&parity);
	world_restore_cache(&parity);
	assert_int_equal(
	    world_has_copy(&parity, &ended.ref), world_has_redis());
	assert_int_equal(
	    world_look(&parity, ended.token), SGATE_REASON_LOGGED_OUT);
	served_by_durable();
	assert_int_equal(world_look(&parity, changed.token), SGATE_REASON_OK);
	served_by_durable();
	world_round(&parity);
	parity_everywhere(&ended, SGATE_REASON_LOGGED_OUT, NULL);
	assert_int_equal(world_look(&parity, changed.token), SGATE_REASON_OK);
	parity_everywhere(&changed, SGATE_REASON_OK, speaks_latin);
	made_clear(&ended);
	made_clear(&changed);
}

/* ---- switch_platform(sid, platform_id) ---- */

static void
is_on_platform_11(const struct sgate_session *s)
{
	assert_bytes(sgate_session_get_context(s), "11");
}

/*
 * One of the user's own platforms or no change at all; of two switches at once
 * the first wins. It kept two copies, of which a page saw either.
 */
void
session_manager_v2__switch_platform(void **state)
{
	const struct sgate_bytes own[] = {B("10"), B("11")};
	struct sgate_create c = {.user_id = B("1"),
	    .context = B("10"),
	    .contexts = own,
	    .contexts_count = 2};
	struct sgate_update u = {
	    .context = B("11"), .context_listed = 1, .if_version = 1};
	struct made made;

	(void)state;
	world_create_with(&parity, &c, &made);
	assert_status(&parity,
	    sgate_session_update(parity.mgr, &made.ref, &u, NULL, &parity.err),
	    SGATE_OK);
	served_by_durable();
	u.context = B("10");
	assert_status(&parity,
	    sgate_session_update(parity.mgr, &made.ref, &u, NULL, &parity.err),
	    SGATE_CONFLICT);
	u.context = B("12");
	u.if_version = 0;
	assert_status(&parity,
	    sgate_session_update(parity.mgr, &made.ref, &u, NULL, &parity.err),
	    SGATE_DENIED);
	parity_everywhere(&made, SGATE_REASON_OK, is_on_platform_11);
	assert_int_equal(world_audit(&parity, "update", &made.ref), 1);
	made_clear(&made);
}

/* ---- cleanup_user_sessions(user_id, keep_current=True) ---- */

void
session_manager_v2__cleanup_user_sessions(void **state)
{
	struct parity_crowd crowd;

	(void)state;
	parity_gather(&crowd);
	assert_int_equal(parity_cleanup("1", &crowd.own[0].ref), 2);
	parity_everywhere(&crowd.own[0], SGATE_REASON_OK, NULL);
	parity_everywhere(&crowd.own[1], SGATE_REASON_REVOKED, NULL);
	parity_everywhere(&crowd.own[2], SGATE_REASON_REVOKED, NULL);
	assert_int_equal(
	    world_look(&parity, crowd.other.token), SGATE_REASON_OK);
	parity_everywhere(&crowd.other, SGATE_REASON_OK, NULL);
	assert_int_equal(parity_cleanup("1", NULL), 1);
	assert_int_equal(
	    world_look(&parity, crowd.own[0].token), SGATE_REASON_REVOKED);
	parity_leave(&crowd);
}

/* ---- get_user_sessions(user_id) ---- */

/* Newest first, each with what it needs to be told from the others. */
void
session_manager_v2__get_user_sessions(void **state)
{
	struct sgate_create c = {.user_id = B("1"),
	    .context = B("10"),
	    .client_ip = B("192.0.2.7"),
	    .user_agent = B("Lynx/2.9")};
	const struct sgate_session *s;
	struct made first, second, ended;
	struct sgate_list *list;

	(void)state;
	world_create_with(&parity, &c, &first);
	world_create(&parity, "1", &ended);
	parity_end(&ended.ref, SGATE_REASON_LOGGED_OUT);
	parity.now_ms += MINUTE;
	world_create(&parity, "1", &second);
	list = parity_list("1");
	assert_int_equal(sgate_list_count(list), 2);
	s = sgate_list_get(list, 0);
	assert_memory_equal(
	    sgate_session_get_ref(s)->bytes, second.ref.bytes, SGATE_REF_BYTES);
	s = sgate_list_get(list, 1);
	assert_memory_equal(
	    sgate_session_get_ref(s)->bytes, first.ref.bytes, SGATE_REF_BYTES);
	assert_bytes(sgate_session_get_context(s), "10");
	assert_string_equal(sgate_session_get_client_ip(s), "192.0.2.7");
	assert_bytes(sgate_session_get_user_agent(s), "Lynx/2.9");
	assert_int_equal(
	    sgate_session_get_created_ms(s), parity.now_ms - MINUTE);
	assert_int_equal(
	    sgate_session_get_last_seen_ms(s), parity.now_ms - MINUTE);
	assert_int_equal(parity_ttl(s), 29 * 60);
	sgate_list_free(list);
	made_clear(&first);
	made_clear(&second);
	made_clear(&ended);
}

/* ---- validate_session(sid) ---- */

/*
 * It asked whether the key is there, and no more. A copy that stands in Redis
 * past its session's time is of no use, nor is one of a user who was blocked.
 */
void
session_manager_v2__validate_session(void **state)
{
	struct sgate_ref ref;
	struct made made;

	(void)state;
	world_create(&parity, "1", &made);
	assert_status(&parity,
	    sgate_session_validate(
		parity.mgr, B(made.token), &ref, &parity.err),
	    SGATE_OK);
	served_by_cache();
	assert_memory_equal(ref.bytes, made.ref.bytes, SGATE_REF_BYTES);
	parity.now_ms += 33 * MINUTE;
	assert_status(&parity,
	    sgate_session_validate(
		parity.mgr, B(made.token), &ref, &parity.err),
	    SGATE_NOT_FOUND);
	served_by_durable();
	assert_int_equal(parity.err.reason, SGATE_REASON_EXPIRED_IDLE);
	made_clear(&made);

	world_create(&parity, "1", &made);
	assert_status(&parity,
	    sgate_user_block(parity.mgr, B("1"), B(""), NULL, &parity.err),
	    SGATE_OK);
	assert_status(&parity,
	    sgate_session_validate(
		parity.mgr, B(made.token), &ref, &parity.err),
	    SGATE_NOT_FOUND);
	served_by_cache();
	assert_int_equal(parity.err.reason, SGATE_REASON_BLOCKED);
	made_clear(&made);
}

/* ---- extend_session(sid, additional_seconds=None) ---- */

static void
has_half_an_hour(const struct sgate_session *s)
{
	assert_int_equal(parity_ttl(s), 30 * 60);
}

/*
 * "Additional" seconds were the whole of them, so it could shorten; and Redis
 * and MySQL had different ends afterwards. Never past the absolute expiry.
 */
void
session_manager_v2__extend_session(void **state)
{
	struct sgate_session *s = NULL;
	struct made made;
	int64_t end_ms;

	(void)state;
	world_create(&parity, "1", &made);
	end_ms = sgate_session_get_expires_ms(made.session);
	parity.now_ms += 20 * MINUTE;
	assert_status(&parity,
	    sgate_session_extend(parity.mgr, B(made.token), &s, &parity.err),
	    SGATE_OK);
	served_by_durable();
	has_half_an_hour(s);
	assert_int_equal(sgate_session_get_expires_ms(s), end_ms);
	sgate_session_free(s);
	parity_everywhere(&made, SGATE_REASON_OK, has_half_an_hour);
	while (parity.now_ms < end_ms) {
		parity.now_ms += 20 * MINUTE;
		assert_int_equal(sgate_session_extend(parity.mgr, B(made.token),
				     &s, &parity.err),
		    parity.now_ms < end_ms ? SGATE_OK : SGATE_NOT_FOUND);
		sgate_session_free(s);
	}
	assert_int_equal(parity.err.reason, SGATE_REASON_EXPIRED_ABSOLUTE);
	made_clear(&made);
}

/* ---- get_session_stats() ---- */

/* Counted where sessions are kept: a dashboard read 0 from the other store. */
void
session_manager_v2__get_session_stats(void **state)
{
	struct parity_crowd crowd;
	struct sgate_stats stats;

	(void)state;
	parity_gather(&crowd);
	parity_end(&crowd.own[0].ref, SGATE_REASON_LOGGED_OUT);
	world_flush_cache(&parity);
	parity_stats(&stats);
	assert_int_equal(stats.live, 3);
	assert_int_equal(stats.users, 2);
	assert_int_equal(stats.anonymous, 0);
	assert_int_equal(stats.ended, 1);
	parity_leave(&crowd);
}

/* ---- get_db_session() ---- */

struct row {
	int count;
	int64_t number;
	char text[16];
};

static int
keep_row(void *arg, const struct sgate_value *columns, size_t count)
{
	struct row *row = arg;

	assert_int_equal(count, 2);
	row->count++;
	row->number = columns[0].integer;
	snprintf(row->text, sizeof(row->text), "%.*s",
	    (int)columns[1].bytes.len, columns[1].bytes.data);
	return 0;
}

/* The program's own tables, values bound and never part of a statement. */
void
session_manager_v2__get_db_session(void **state)
{
	const struct sgate_value values[] = {
	    {.kind = SGATE_VALUE_INTEGER, .integer = 7},
	    {.kind = SGATE_VALUE_TEXT, .bytes = B("it's")}};
	struct row row = {.count = 0};
	struct sgate_db *db = NULL;

	(void)state;
	world_make_table(
	    &parity, "CREATE TABLE own (x INTEGER, t VARCHAR(16))");
	assert_status(
	    &parity, sgate_db_open(parity.mgr, 0, &db, &parity.err), SGATE_OK);
	served_by_durable();
	assert_status(&parity,
	    sgate_db_exec(db, "INSERT INTO own VALUES (?, ?)", values, 2, NULL,
		NULL, &parity.err),
	    SGATE_OK);
	assert_status(&parity, sgate_db_commit(db, &parity.err), SGATE_OK);
	sgate_db_close(db);
	assert_status(
	    &parity, sgate_db_open(parity.mgr, 0, &db, &parity.err), SGATE_OK);
	assert_status(&parity,
	    sgate_db_exec(db, "SELECT x, t FROM own", NULL, 0, keep_row, &row,
		&parity.err),
	    SGATE_OK);
	sgate_db_close(db);
	assert_int_equal(row.count, 1);
	assert_int_equal(row.number, 7);
	assert_string_equal(row.text, "it's");
}
