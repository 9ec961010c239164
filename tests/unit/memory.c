/*
 * No memory: the n-th allocation of buffers and of the configuration fails, for
 * every n until nothing fails any more. Files are left out: libconfig 1.5 does
 * not look whether it got memory.
 */
#include "config.h"

#include "conf.h"

#include <stdlib.h>
#include <string.h>

#include "no_memory.h"
#include "tap.h"

static const char *const overrides[] = {"gateway.login_url=/login",
    "listener.login.roles=a,b", "listener.auth.address=tcp:127.0.0.1:9",
    "listener.auth.allow=check", "policy.staff.require_role=staff",
    "session.export_data=a,b", NULL};

static void
a_load_without_memory_says_so(void **state)
{
	struct sgate_conf *conf;
	struct sgate_error err;
	enum sgate_status status;
	int n;

	(void)state;
	for (n = 0;; n++) {
		no_memory_countdown = n;
		status = sgate_conf_load(NULL, overrides, &conf, &err);
		if (no_memory_countdown >= 0)
			break;
		assert_int_equal(status, SGATE_NO_MEMORY);
		assert_int_equal(err.status, SGATE_NO_MEMORY);
		assert_null(conf);
	}
	no_memory_countdown = -1;
	assert_true(n > 50);
	assert_int_equal(status, SGATE_OK);
	sgate_conf_free(conf);
}

static void
a_refusal_without_memory_is_still_no_success(void **state)
{
	static const char *const wrong[] = {
	    "listener.a.mode=0666", "listener.a.allow=create", NULL};
	struct sgate_conf *conf;
	struct sgate_error err;
	int n;

	(void)state;
	for (n = 0;; n++) {
		no_memory_countdown = n;
		assert_int_not_equal(
		    sgate_conf_load(NULL, wrong, &conf, &err), SGATE_OK);
		assert_null(conf);
		if (no_memory_countdown >= 0)
			break;
	}
	no_memory_countdown = -1;
	assert_int_equal(err.status, SGATE_INVALID);
}

static void
a_copy_without_memory_is_none(void **state)
{
	struct sgate_conf *conf, *copy;
	int n;

	(void)state;
	assert_int_equal(
	    sgate_conf_load(NULL, overrides, &conf, NULL), SGATE_OK);
	for (n = 0;; n++) {
		no_memory_countdown = n;
		copy = conf_dup(conf);
		if (no_memory_countdown >= 0)
			break;
		assert_null(copy);
	}
	no_memory_countdown = -1;
	assert_true(n > 50);
	assert_string_equal(copy->gateway.login_url, "/login");
	sgate_conf_free(copy);
	sgate_conf_free(conf);
}

static void
a_template_without_memory_fails_its_buffer(void **state)
{
	struct buf out;
	int n;

	(void)state;
	for (n = 0;; n++) {
		no_memory_countdown = n;
		buf_init(&out);
		conf_template(&out);
		if (no_memory_countdown >= 0)
			break;
		assert_true(buf_failed(&out));
		assert_string_equal(buf_text(&out), "");
		buf_clear(&out);
	}
	no_memory_countdown = -1;
	assert_false(buf_failed(&out));
	buf_clear(&out);
}

static void
a_reload_without_memory_fails_its_buffer(void **state)
{
	static const char *const other[] = {
	    "gateway.mount=/x/", "listener.new.mode=0600", NULL};
	struct sgate_conf *a, *b;
	struct buf out;
	int n;

	(void)state;
	assert_int_equal(sgate_conf_load(NULL, overrides, &a, NULL), SGATE_OK);
	assert_int_equal(sgate_conf_load(NULL, other, &b, NULL), SGATE_OK);
	for (n = 0;; n++) {
		no_memory_countdown = n;
		buf_init(&out);
		conf_not_reloadable(a, b, &out);
		if (no_memory_countdown >= 0)
			break;
		assert_true(buf_failed(&out));
		buf_clear(&out);
	}
	no_memory_countdown = -1;
	assert_non_null(strstr(buf_text(&out), "gateway.mount\n"));
	buf_clear(&out);
	sgate_conf_free(a);
	sgate_conf_free(b);
}

static void
keeping_without_memory_fails_and_can_be_freed(void **state)
{
	static const char *const other[] = {"gateway.mount=/x/",
	    "listener.login.mode=0600", "listener.new.mode=0600", NULL};
	struct sgate_conf *old, *conf;
	struct sgate_error err;
	enum sgate_status status;
	int n;

	(void)state;
	assert_int_equal(
	    sgate_conf_load(NULL, overrides, &old, NULL), SGATE_OK);
	for (n = 0;; n++) {
		assert_int_equal(
		    sgate_conf_load(NULL, other, &conf, NULL), SGATE_OK);
		no_memory_countdown = n;
		status = conf_keep_not_reloadable(old, conf, &err);
		if (no_memory_countdown >= 0)
			break;
		assert_int_equal(status, SGATE_NO_MEMORY);
		sgate_conf_free(conf);
	}
	no_memory_countdown = -1;
	assert_int_equal(status, SGATE_OK);
	assert_string_equal(conf->gateway.mount, "/.sessgate/");
	sgate_conf_free(conf);
	sgate_conf_free(old);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_load_without_memory_says_so),
    cmocka_unit_test(a_refusal_without_memory_is_still_no_success),
    cmocka_unit_test(a_copy_without_memory_is_none),
    cmocka_unit_test(a_template_without_memory_fails_its_buffer),
    cmocka_unit_test(a_reload_without_memory_fails_its_buffer),
    cmocka_unit_test(keeping_without_memory_fails_and_can_be_freed)};

TAP_MAIN(tests)
