/* The strict scan for the session cookie, and the Set-Cookie line. */
#include "tap.h"

#include "cookie.h"

#include <stdlib.h>
#include <string.h>

static void
finds(const char *header, const char *expected)
{
	struct sgate_bytes value;

	assert_int_equal(cookie_find(bytes_of(header), "__Host-sid", &value),
	    SGATE_REASON_OK);
	assert_true(bytes_equal_text(value, expected));
}

static void
refuses(const char *header, enum sgate_reason reason)
{
	struct sgate_bytes value;

	assert_int_equal(
	    cookie_find(bytes_of(header), "__Host-sid", &value), reason);
	assert_int_equal(value.len, 0);
}

static void
the_exact_name_is_found(void **state)
{
	(void)state;
	finds("__Host-sid=abc", "abc");
	finds("a=b; __Host-sid=abc; c=d", "abc");
	finds("a=b;__Host-sid=abc;c=d", "abc");
	finds("  __Host-sid=abc", "abc");
	finds("a; =; ;; __Host-sid=abc;", "abc");
	finds("x__Host-sid=no; __Host-sid=abc; __Host-sid2=no", "abc");
	finds("a=__Host-sid=no; __Host-sid=a=b", "a=b");
}

static void
quotes_and_blanks_are_part_of_the_value(void **state)
{
	(void)state;
	finds("__Host-sid=\"abc\"", "\"abc\"");
	finds("__Host-sid= abc", " abc");
	finds("__Host-sid=abc ; a=b", "abc ");
}

static void
another_name_is_none(void **state)
{
	(void)state;
	refuses("", SGATE_REASON_NONE);
	refuses("a=b", SGATE_REASON_NONE);
	refuses("__host-sid=abc", SGATE_REASON_NONE);
	refuses("__Host-sid", SGATE_REASON_NONE);
	refuses("__Host-sid =abc", SGATE_REASON_NONE);
	refuses("__Host-si=abc", SGATE_REASON_NONE);
	refuses("__Host-sid=", SGATE_REASON_NONE);
	refuses("a=b, __Host-sid=abc", SGATE_REASON_NONE);
}

static void
twice_is_ambiguous_even_if_equal(void **state)
{
	(void)state;
	refuses("__Host-sid=abc; __Host-sid=abc", SGATE_REASON_AMBIGUOUS);
	refuses("__Host-sid=abc; __Host-sid=def", SGATE_REASON_AMBIGUOUS);
	refuses("__Host-sid=; a=b; __Host-sid=abc", SGATE_REASON_AMBIGUOUS);
	refuses("__Host-sid=;__Host-sid=", SGATE_REASON_AMBIGUOUS);
}

static void
too_much_is_malformed(void **state)
{
	struct buf text = {0};
	int i;

	(void)state;
	for (i = 0; i < COOKIE_COUNT_MAX - 1; i++)
		buf_add_text(&text, "a=b; ");
	buf_add_text(&text, "__Host-sid=abc");
	finds(buf_text(&text), "abc");
	buf_add_text(&text, "; a=b");
	refuses(buf_text(&text), SGATE_REASON_MALFORMED);
	buf_reset(&text);
	buf_add_text(&text, "__Host-sid=abc; b=");
	while (text.len < COOKIE_HEADER_MAX)
		buf_add_char(&text, 'x');
	finds(buf_text(&text), "abc");
	buf_add_char(&text, 'x');
	refuses(buf_text(&text), SGATE_REASON_MALFORMED);
	refuses("a=\x01; __Host-sid=abc", SGATE_REASON_MALFORMED);
	refuses("__Host-sid=abc\r\nX: y", SGATE_REASON_MALFORMED);
	buf_clear(&text);
}

static struct sgate_conf *
conf_with(const char *const *overrides)
{
	struct sgate_conf *conf = NULL;
	struct sgate_error err;

	if (sgate_conf_load(NULL, overrides, &conf, &err) != SGATE_OK)
		fail_msg("%s", err.text);
	return conf;
}

static void
the_default_line_is_host_bound(void **state)
{
	struct sgate_conf *conf = conf_with(NULL);
	struct buf out = {0};

	(void)state;
	cookie_write(conf, "TOKEN", 0, &out);
	assert_string_equal(buf_text(&out),
	    "__Host-sid=TOKEN; Path=/; Secure; HttpOnly; SameSite=Lax");
	buf_reset(&out);
	cookie_write(conf, "TOKEN", 60, &out);
	assert_string_equal(buf_text(&out),
	    "__Host-sid=TOKEN; Max-Age=60; Path=/; Secure; HttpOnly; "
	    "SameSite=Lax");
	buf_reset(&out);
	cookie_clear(conf, &out);
	assert_string_equal(buf_text(&out),
	    "__Host-sid=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax");
	buf_clear(&out);
	sgate_conf_free(conf);
}

static void
clearing_uses_the_same_attributes(void **state)
{
	static const char *const overrides[] = {"cookie.name=sid",
	    "cookie.secure=no", "cookie.path=/app/",
	    "cookie.domain=example.org", "cookie.samesite=Strict", NULL};
	struct sgate_conf *conf = conf_with(overrides);
	struct buf set = {0}, cleared = {0};

	(void)state;
	cookie_write(conf, "T", 7, &set);
	cookie_clear(conf, &cleared);
	assert_string_equal(buf_text(&set),
	    "sid=T; Max-Age=7; Path=/app/; Domain=example.org; HttpOnly; "
	    "SameSite=Strict");
	assert_string_equal(strstr(buf_text(&set), "; Path"),
	    strstr(buf_text(&cleared), "; Path"));
	buf_clear(&set);
	buf_clear(&cleared);
	sgate_conf_free(conf);
}

static const struct CMUnitTest cookie_tests[] = {
    cmocka_unit_test(the_exact_name_is_found),
    cmocka_unit_test(quotes_and_blanks_are_part_of_the_value),
    cmocka_unit_test(another_name_is_none),
    cmocka_unit_test(twice_is_ambiguous_even_if_equal),
    cmocka_unit_test(too_much_is_malformed),
    cmocka_unit_test(the_default_line_is_host_bound),
    cmocka_unit_test(clearing_uses_the_same_attributes),
};

TAP_MAIN(cookie_tests)
