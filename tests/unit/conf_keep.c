/* What a reload keeps of the old configuration. */
#include "config.h"

#include "tap.h"

#include "conf.h"

#include <string.h>

static struct sgate_conf *
load(const char *const *overrides)
{
	struct sgate_conf *conf = NULL;
	struct sgate_error err;

	if (sgate_conf_load(NULL, overrides, &conf, &err) != SGATE_OK)
		fail_msg("%s", err.text);
	return conf;
}

/* The new configuration as it is after a reload. */
static struct sgate_conf *
reload(const char *const *before, const char *const *after)
{
	struct sgate_conf *old = load(before);
	struct sgate_conf *conf = load(after);
	struct sgate_error err;
	struct buf rest = {0};

	if (conf_keep_not_reloadable(old, conf, &err) != SGATE_OK)
		fail_msg("%s", err.text);
	conf_not_reloadable(old, conf, &rest);
	assert_string_equal(buf_text(&rest), "");
	buf_clear(&rest);
	sgate_conf_free(old);
	return conf;
}

static void
reloadable_options_are_new_and_the_others_old(void **state)
{
	static const char *const before[] = {"gateway.mount=/old/",
	    "gateway.workers=3", "gateway.params_max=8 KiB", "cookie.name=old",
	    "cookie.secure=no", NULL};
	static const char *const after[] = {"gateway.mount=/new/",
	    "gateway.workers=5", "gateway.params_max=16 KiB",
	    "session.idle_timeout=7 min", NULL};
	struct sgate_conf *conf = reload(before, after);

	(void)state;
	assert_string_equal(conf->gateway.mount, "/old/");
	assert_int_equal(conf->gateway.workers, 5);
	assert_int_equal(conf->gateway.params_max_bytes, 8192);
	assert_string_equal(conf->cookie.name, "old");
	assert_false(conf->cookie.secure);
	assert_int_equal(conf->session.idle_timeout_ms, 7 * 60 * 1000);
	sgate_conf_free(conf);
}

/* Where the copies are is fixed; how long to wait for them is not. */
static void
redis_stays_where_it_is(void **state)
{
	static const char *const before[] = {"mysql.socket=/m",
	    "redis.address=unix:/old", "redis.prefix=old", NULL};
	static const char *const after[] = {"mysql.socket=/m",
	    "redis.address=10.0.0.1", "redis.database=1", "redis.user=u",
	    "redis.password_file=/p", "redis.timeout=7 ms",
	    "fence.poll_interval=1 s", "fence.max_blind=off", NULL};
	struct sgate_conf *conf = reload(before, after);

	(void)state;
	assert_string_equal(conf->redis.address, "unix:/old");
	assert_string_equal(conf->redis.prefix, "old");
	assert_int_equal(conf->redis.database, 0);
	assert_string_equal(conf->redis.user, "");
	assert_string_equal(conf->redis.password_file, "");
	assert_int_equal(conf->redis.timeout_ms, 7);
	assert_int_equal(conf->fence.poll_interval_ms, 1000);
	assert_int_equal(conf->fence.max_blind_ms, -1);
	sgate_conf_free(conf);
}

/* Another directory would leave the old one's frames behind. */
static void
the_spool_stays_where_it_is(void **state)
{
	static const char *const before[] = {
	    "mysql.socket=/m", "spool.dir=/old", NULL};
	static const char *const after[] = {"mysql.socket=/m", "spool.dir=/new",
	    "spool.max=1 MiB", "spool.reserve=5", "spool.keep=2 min",
	    "redis.replicas=1", NULL};
	struct sgate_conf *conf = reload(before, after);

	(void)state;
	assert_string_equal(conf->spool.dir, "/old");
	assert_int_equal(conf->spool.max_bytes, 1 << 20);
	assert_int_equal(conf->spool.reserve_percent, 5);
	assert_int_equal(conf->spool.keep_ms, 120000);
	assert_int_equal(conf->redis.replicas, 1);
	sgate_conf_free(conf);
}

/* Redis that is added to the file waits for a restart. */
static void
redis_does_not_come_with_a_reload(void **state)
{
	static const char *const before[] = {"mysql.socket=/m", NULL};
	static const char *const after[] = {"mysql.socket=/m",
	    "redis.address=unix:/r", "redis.user=u", "redis.timeout=7 ms",
	    NULL};
	struct sgate_conf *conf = reload(before, after);

	(void)state;
	assert_false(conf_has_redis(conf));
	assert_string_equal(conf->redis.user, "");
	sgate_conf_free(conf);
}

static void
listeners_are_the_old_ones_with_new_rules(void **state)
{
	static const char *const before[] = {"listener.pool.mode=0640",
	    "listener.login.allow=create", "listener.login.roles=a,b",
	    "listener.gone.realm=shop", NULL};
	static const char *const after[] = {"listener.more.allow=check",
	    "listener.pool.mode=0666", "listener.pool.allow=check",
	    "listener.login.roles=c", NULL};
	struct sgate_conf *conf = reload(before, after);
	const struct conf_listener *pool = conf_listener(conf, "pool");
	const struct conf_listener *login = conf_listener(conf, "login");
	const struct conf_listener *gone = conf_listener(conf, "gone");

	(void)state;
	assert_null(conf_listener(conf, "more"));
	assert_non_null(conf_listener(conf, "control"));
	assert_non_null(conf_listener(conf, "inherited"));
	assert_int_equal(pool->mode, 0640);
	assert_int_equal(pool->allow, CONF_ALLOW_CHECK);
	assert_string_equal(pool->address, "unix:/run/sessgate/pool.sock");
	assert_string_equal(login->roles[0], "c");
	assert_null(login->roles[1]);
	assert_non_null(gone);
	assert_true(gone->has_realm);
	assert_string_equal(gone->realm, "shop");
	sgate_conf_free(conf);
}

static void
a_copy_of_the_outcome_is_whole(void **state)
{
	static const char *const before[] = {
	    "listener.login.allow=create", NULL};
	static const char *const after[] = {"listener.b.mode=0600", NULL};
	struct sgate_conf *conf = reload(before, after);
	struct sgate_conf *copy = conf_dup(conf);

	(void)state;
	assert_non_null(copy);
	assert_int_equal(copy->listeners_count, conf->listeners_count);
	sgate_conf_free(conf);
	assert_int_equal(
	    conf_listener(copy, "login")->allow, CONF_ALLOW_CREATE);
	sgate_conf_free(copy);
}

static void
old_and_new_that_do_not_go_together_are_refused(void **state)
{
	static const char *const before[] = {
	    "listener.tcp.address=tcp:127.0.0.1:9000",
	    "listener.tcp.allow=check", NULL};
	static const char *const after[] = {"listener.tcp.allow=create", NULL};
	struct sgate_conf *old = load(before), *conf = load(after);
	struct sgate_error err;

	(void)state;
	assert_int_equal(
	    conf_keep_not_reloadable(old, conf, &err), SGATE_INVALID);
	assert_non_null(strstr(err.text, "listener.tcp"));
	sgate_conf_free(conf);
	sgate_conf_free(old);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(reloadable_options_are_new_and_the_others_old),
    cmocka_unit_test(redis_stays_where_it_is),
    cmocka_unit_test(the_spool_stays_where_it_is),
    cmocka_unit_test(redis_does_not_come_with_a_reload),
    cmocka_unit_test(listeners_are_the_old_ones_with_new_rules),
    cmocka_unit_test(a_copy_of_the_outcome_is_whole),
    cmocka_unit_test(old_and_new_that_do_not_go_together_are_refused),
};

TAP_MAIN(tests)
