/*
 * RedisSessionBackend: keys, values and their time to live. Its callers had to
 * know what belongs together; here they ask for sessions.
 */
#include "parity.h"

#include <stdlib.h>
#include <string.h>

/* ---- from_env() ---- */

static void
replace(char **text, const char *by)
{
	free(*text);
	*text = strdup(by);
	assert_non_null(*text);
}

/*
 * With REDIS_URL the prefix was ignored: two sites met in one Redis. Settings
 * count together, and who has others sees other keys.
 */
void
redis_session_backend__from_env(void **state)
{
	static const char *const settings[] = {"redis.address=unix:/run/x",
	    "redis.prefix=own", "redis.database=3", "mysql.socket=/run/y",
	    NULL};
	struct sgate_conf *conf = NULL;
	struct made made;

	(void)state;
	assert_status(&parity,
	    sgate_conf_load(NULL, settings, &conf, &parity.err), SGATE_OK);
	assert_string_equal(conf->redis.address, "unix:/run/x");
	assert_string_equal(conf->redis.prefix, "own");
	assert_int_equal(conf->redis.database, 3);
	sgate_conf_free(conf);

	replace(&parity.conf->redis.prefix, "own");
	parity.conf->redis.database = 3;
	sgate_manager_free(parity.mgr);
	parity.mgr = world_manager(&parity, NULL);
	world_round(&parity);
	world_create(&parity, "1", &made);
	served_by_durable();
	parity_everywhere(&made, SGATE_REASON_OK, NULL);
	assert_int_equal(world_has_copy(&parity, &made.ref), world_has_redis());
	replace(&parity.conf->redis.prefix, "sg");
	assert_false(world_has_copy(&parity, &made.ref));
	made_clear(&made);
}

/* ---- get(sid) ---- */

static void
has_its_data(const struct sgate_session *s)
{
	assert_bytes(sgate_session_get_data(s), "{\"lang\":\"eo\"}");
}

/*
 * An error of Redis was None, as if there were no session. And any text went
 * to Redis as part of a key.
 */
void
redis_session_backend__get(void **state)
{
	static const char *const wrong[] = {"", "x", "vedfolnir:session:1", "*",
	    "../../1", "1\r\nFLUSHALL\r\n"};
	struct sgate_create c = {
	    .user_id = B("1"), .data = B("{\"lang\":\"eo\"}")};
	struct sgate_session *s = NULL;
	struct made made;
	size_t i;

	(void)state;
	world_create_with(&parity, &c, &made);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_status(&parity,
		    sgate_session_get(
			parity.mgr, B(wrong[i]), 0, &s, &parity.err),
		    SGATE_NOT_FOUND);
		served_by_none();
	}
	parity_everywhere(&made, SGATE_REASON_OK, has_its_data);
	made_clear(&made);
}

/*
 * A text that could not be read was an empty session, for ever. Nobody is
 * logged out by it, it is not believed, and it is mended.
 */
void
redis_session_backend__get__of_damaged_record(void **state)
{
	struct sgate_create c = {
	    .user_id = B("1"), .data = B("{\"lang\":\"eo\"}")};
	struct made made;

	(void)state;
	world_create_with(&parity, &c, &made);
	world_damage_copy(&parity, &made.ref);
	assert_int_equal(world_look(&parity, made.token), SGATE_REASON_OK);
	served_by_durable();
	parity_everywhere(&made, SGATE_REASON_OK, has_its_data);
	made_clear(&made);
}

/* ---- set(sid, data, ttl) ---- */

/*
 * Whatever was no JSON became a text, and a failure was False, which nobody
 * looked at. What is refused changes nothing.
 */
void
redis_session_backend__set(void **state)
{
	static const char *const wrong[] = {"", "[]", "\"text\"", "{\"a\":}",
	    "{\"a\":1,\"a\":2}", "{\"a\":9007199254740993}", "{\"a\":NaN}",
	    "{\"a\":\"\xff\"}", "{\"a\":1} x"};
	struct sgate_update u = {.if_version = 0};
	struct made made;
	size_t i;

	(void)state;
	world_create(&parity, "1", &made);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		u.data_patch = B(wrong[i]);
		assert_status(&parity,
		    sgate_session_update(
			parity.mgr, &made.ref, &u, NULL, &parity.err),
		    SGATE_INVALID);
		served_by_none();
	}
	parity_update(&made.ref, "{\"lang\":\"eo\"}");
	parity_everywhere(&made, SGATE_REASON_OK, has_its_data);
	assert_int_equal(world_audit(&parity, "update", &made.ref), 1);
	made_clear(&made);
}

/* ---- delete(sid) ---- */

/* True only if a key went: a second time, or after a loss of Redis, False. */
void
redis_session_backend__delete(void **state)
{
	struct made made;
	int i;

	(void)state;
	world_create(&parity, "1", &made);
	for (i = 0; i < 2; i++) {
		world_flush_cache(&parity);
		assert_status(&parity,
		    sgate_session_end_token(parity.mgr, B(made.token),
			SGATE_REASON_LOGGED_OUT, &parity.err),
		    SGATE_OK);
		served_by_durable();
	}
	world_round(&parity);
	parity_everywhere(&made, SGATE_REASON_LOGGED_OUT, NULL);
	assert_status(&parity,
	    sgate_session_end_token(
		parity.mgr, B("unknown"), SGATE_REASON_LOGGED_OUT, &parity.err),
	    SGATE_NOT_FOUND);
	served_by_none();
	made_clear(&made);
}

/* ---- exists(sid) ---- */

static void
exists(void *arg)
{
	const struct made *made = arg;
	struct sgate_ref ref;

	assert_status(&parity,
	    sgate_session_validate(
		parity.mgr, B(made->token), &ref, &parity.err),
	    SGATE_OK);
}

/* That a key is there says nothing of whether its session is good. */
void
redis_session_backend__exists(void **state)
{
	struct sgate_ref ref;
	struct made made;

	(void)state;
	world_create(&parity, "1", &made);
	parity_in_each_state(exists, &made);
	parity.now_ms += 8 * HOUR;
	assert_int_equal(world_has_copy(&parity, &made.ref), world_has_redis());
	assert_status(&parity,
	    sgate_session_validate(
		parity.mgr, B(made.token), &ref, &parity.err),
	    SGATE_NOT_FOUND);
	served_by_cache();
	assert_int_equal(parity.err.reason, SGATE_REASON_EXPIRED_ABSOLUTE);
	made_clear(&made);
}

/* ---- update_ttl(sid, ttl) ---- */

static void
has_ten_minutes(const struct sgate_session *s)
{
	assert_int_equal(parity_ttl(s), 10 * 60);
	assert_int_equal(sgate_session_get_idle_timeout_ms(s), 10 * MINUTE);
}

/* In Redis alone; the database knew another end. Never beyond what is set. */
void
redis_session_backend__update_ttl(void **state)
{
	struct sgate_update u = {.idle_timeout_ms = 10 * MINUTE};
	struct sgate_session *s = NULL;
	struct made made;

	(void)state;
	world_create(&parity, "1", &made);
	assert_status(&parity,
	    sgate_session_update(parity.mgr, &made.ref, &u, NULL, &parity.err),
	    SGATE_OK);
	served_by_durable();
	parity_everywhere(&made, SGATE_REASON_OK, has_ten_minutes);
	u.idle_timeout_ms = 100 * HOUR;
	assert_status(&parity,
	    sgate_session_update(parity.mgr, &made.ref, &u, &s, &parity.err),
	    SGATE_OK);
	assert_int_equal(parity_ttl(s), 30 * 60);
	sgate_session_free(s);
	u.idle_timeout_ms = 10 * MINUTE;
	assert_status(&parity,
	    sgate_session_update(parity.mgr, &made.ref, &u, NULL, &parity.err),
	    SGATE_OK);
	parity.now_ms += 11 * MINUTE;
	assert_int_equal(
	    world_look(&parity, made.token), SGATE_REASON_EXPIRED_IDLE);
	served_by_durable();
	made_clear(&made);
}

/* ---- get_ttl(sid) ---- */

static void
has_twelve_minutes(const struct sgate_session *s)
{
	assert_int_equal(parity_ttl(s), 12 * 60);
}

/* None was both "missing" and "an error". To ask is no activity. */
void
redis_session_backend__get_ttl(void **state)
{
	struct made made;

	(void)state;
	world_create(&parity, "1", &made);
	parity.now_ms += 18 * MINUTE;
	parity_everywhere(&made, SGATE_REASON_OK, has_twelve_minutes);
	parity.now_ms += 15 * MINUTE;
	assert_int_equal(
	    world_look(&parity, made.token), SGATE_REASON_EXPIRED_IDLE);
	served_by_durable();
	made_clear(&made);
}

/* ---- get_sessions_by_user(uid) ---- */

#define OTHERS 40

static void
list_one(void *arg)
{
	assert_int_equal(parity_count(arg), 1);
}

/*
 * It went through all sessions of everybody, and read each. Neither store is
 * scanned now: the work does not grow with those of others.
 */
void
redis_session_backend__get_sessions_by_user(void **state)
{
	struct made made;
	char user[16], user_1[] = "1";
	int i;

	(void)state;
	for (i = 0; i < OTHERS; i++) {
		snprintf(user, sizeof(user), "other-%d", i);
		world_create(&parity, user, &made);
		made_clear(&made);
	}
	world_create(&parity, "1", &made);
	assert_in_range(
	    world_rows_read(&parity, list_one, user_1), 0, OTHERS / 2);
	assert_int_equal(world_cache_scans(&parity), 0);
	made_clear(&made);
}

/* ---- cleanup_user_sessions(uid) ---- */

/* What Redis had lost was not found, so it was not ended. */
void
redis_session_backend__cleanup_user_sessions(void **state)
{
	struct parity_crowd crowd;

	(void)state;
	parity_gather(&crowd);
	world_flush_cache(&parity);
	assert_int_equal(parity_cleanup("1", NULL), 3);
	world_round(&parity);
	parity_everywhere(&crowd.own[2], SGATE_REASON_REVOKED, NULL);
	assert_int_equal(world_cache_scans(&parity), 0);
	assert_int_equal(parity_count("1"), 0);
	assert_int_equal(parity_count("2"), 1);
	parity_leave(&crowd);
}

/* ---- get_session_count() ---- */

/*
 * A scan, which counted keys, and was 0 after an error. What has expired counts
 * until it has been reaped, which a gateway does once a minute.
 */
void
redis_session_backend__get_session_count(void **state)
{
	struct parity_crowd crowd;
	struct sgate_manager *lost;
	struct sgate_reaped reaped;
	struct sgate_stats stats;

	(void)state;
	parity_gather(&crowd);
	parity.now_ms += 40 * MINUTE;
	parity_leave(&crowd);
	parity_gather(&crowd);
	parity_end(&crowd.other.ref, SGATE_REASON_LOGGED_OUT);
	assert_status(
	    &parity, sgate_reap(parity.mgr, &reaped, &parity.err), SGATE_OK);
	assert_int_equal(reaped.ended, 4);
	parity_stats(&stats);
	assert_int_equal(stats.live, 3);
	assert_int_equal(stats.users, 1);
	assert_int_equal(world_cache_scans(&parity), 0);
	lost = parity_without_durable();
	assert_status(
	    &parity, sgate_stats(lost, &stats, &parity.err), SGATE_UNAVAILABLE);
	assert_string_equal(manager_served_by(lost), "");
	sgate_manager_free(lost);
	parity_leave(&crowd);
}

/* ---- health_check() ---- */

static void
ask_health(struct sgate_health *out)
{
	assert_status(
	    &parity, sgate_health(parity.mgr, out, &parity.err), SGATE_OK);
	served_by_durable();
}

/*
 * Whatever it found, its answer was true. It scanned all keys for a number that
 * nobody needs to know whether Redis is up.
 */
void
redis_session_backend__health_check(void **state)
{
	bool has_redis = world_has_redis();
	struct sgate_manager *lost;
	struct sgate_health health;

	(void)state;
	ask_health(&health);
	assert_true(health.durable_up);
	assert_string_equal(health.durable_name, world_store());
	assert_true(health.durable_latency_us >= 0);
	assert_string_equal(health.durable_text, "");
	assert_string_equal(health.cache_name, has_redis ? "redis" : "");
	assert_int_equal(health.cache_up, has_redis);
	assert_int_equal(world_cache_scans(&parity), 0);
	world_pause_cache(&parity);
	ask_health(&health);
	assert_true(health.durable_up);
	assert_false(health.cache_up);
	assert_int_equal(health.cache_text[0] != '\0', has_redis);
	world_resume_cache(&parity);
	ask_health(&health);
	assert_int_equal(health.cache_up, has_redis);

	lost = parity_without_durable();
	assert_status(
	    &parity, sgate_health(lost, &health, &parity.err), SGATE_OK);
	assert_false(health.durable_up);
	assert_true(health.durable_text[0] != '\0');
	assert_int_equal(health.cache_up, has_redis);
	sgate_manager_free(lost);
}
