/* Params, Accept, addresses, forms, return_to. */
#include "tap.h"

#include "form.h"
#include "request.h"
#include "return_to.h"

#include "buf.h"

#include <string.h>

#define PARAMS(...) ((char *const[]){__VA_ARGS__, NULL})
#define P(text) ((char *)(uintptr_t)(text))
#define LINE P("REQUEST_METHOD=GET"), P("REQUEST_URI=/a/b?c=d?e")

static void
params_become_fields(void **state)
{
	struct request req;

	(void)state;
	request_init(&req,
	    PARAMS(LINE, P("HTTP_COOKIE=a=b; c"), P("HTTP_HOST="),
		P("SESSGATE_POLICY=staff"), P("REMOTE_USER=mallory"), P("X=1")),
	    false);
	assert_false(req.is_malformed);
	assert_int_equal(req.role, REQUEST_API);
	assert_int_equal(req.method, REQUEST_GET);
	assert_true(bytes_equal_text(req.uri, "/a/b?c=d?e"));
	assert_true(bytes_equal_text(request_path(&req), "/a/b"));
	assert_true(bytes_equal_text(request_query(&req), "c=d?e"));
	assert_true(bytes_equal_text(req.cookie, "a=b; c"));
	assert_true(bytes_equal_text(req.policy, "staff"));
	assert_int_equal(req.host.len, 0);
	assert_null(req.origin.data);
}

static void
the_role_is_the_servers(void **state)
{
	struct request req;

	(void)state;
	request_init(&req, PARAMS(LINE, P("SESSGATE_CHECK=1")), false);
	assert_int_equal(req.role, REQUEST_CHECK);
	request_init(&req, PARAMS(LINE, P("SESSGATE_CHECK=")), false);
	assert_int_equal(req.role, REQUEST_API);
	request_init(&req, PARAMS(LINE, P("HTTP_SESSGATE_CHECK=1")), false);
	assert_int_equal(req.role, REQUEST_API);
	request_init(&req, PARAMS(LINE, P("SESSGATE_CHECK=")), true);
	assert_int_equal(req.role, REQUEST_AUTHORIZER);
}

static void
a_page_is_wanted_for_how_the_browser_asked(void **state)
{
	struct request req;

	(void)state;
	request_init(&req, PARAMS(LINE, P("SESSGATE_CHECK=1")), false);
	assert_false(request_wants_page(&req));
	request_init(&req, PARAMS(LINE, P("SESSGATE_CHECK=page")), true);
	assert_false(request_wants_page(&req));
	request_init(&req, PARAMS(LINE, P("SESSGATE_CHECK=page")), false);
	assert_int_equal(req.role, REQUEST_CHECK);
	assert_true(request_wants_page(&req));
	assert_int_equal(req.method, REQUEST_GET);
	request_init(&req,
	    PARAMS(LINE, P("SESSGATE_CHECK=page"),
		P("REDIRECT_REQUEST_METHOD=POST")),
	    false);
	assert_int_equal(req.method, REQUEST_POST);
	request_init(&req,
	    PARAMS(
		LINE, P("SESSGATE_CHECK=1"), P("REDIRECT_REQUEST_METHOD=POST")),
	    false);
	assert_int_equal(req.method, REQUEST_GET);
}

static void
incomplete_or_double_params_are_malformed(void **state)
{
	static char *const cases[][4] = {
	    {NULL},
	    {P("REQUEST_METHOD=GET"), NULL},
	    {P("REQUEST_URI=/"), NULL},
	    {P("REQUEST_METHOD="), P("REQUEST_URI=/"), NULL},
	    {P("REQUEST_METHOD=GET"), P("REQUEST_URI="), NULL},
	    {P("REQUEST_METHOD=G T"), P("REQUEST_URI=/"), NULL},
	    {P("REQUEST_METHOD=GET\r"), P("REQUEST_URI=/"), NULL},
	    {P("REQUEST_METHOD=GET"), P("REQUEST_URI=/"), P("REQUEST_URI=/"),
		NULL},
	    {P("REQUEST_METHOD=GET"), P("REQUEST_URI=/"), P("NOEQUALS"), NULL},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct request req;

		request_init(&req, cases[i], false);
		assert_true(req.is_malformed);
	}
}

/* nginx's stock fastcgi_params and a line of one's own: a check has no body. */
static void
what_describes_a_body_may_stand_twice_in_a_check(void **state)
{
	static char *const names[] = {
	    P("CONTENT_LENGTH=1"), P("CONTENT_TYPE=text/plain")};
	struct request req;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		request_init(&req,
		    PARAMS(LINE, names[i], P("SESSGATE_CHECK=1"), names[i]),
		    false);
		assert_false(req.is_malformed);
		request_init(&req, PARAMS(LINE, names[i], names[i]), true);
		assert_false(req.is_malformed);
		request_init(&req, PARAMS(LINE, names[i], names[i]), false);
		assert_true(req.is_malformed);
	}
}

static bool
accepts(const char *accept)
{
	struct request req;

	memset(&req, 0, sizeof(req));
	req.accept = bytes_of(accept);
	return request_accepts_html(&req);
}

static void
only_a_named_html_is_accepted(void **state)
{
	(void)state;
	assert_true(accepts("text/html"));
	assert_true(accepts("a/b, text/html;q=0.9,*/*;q=0.8"));
	assert_true(accepts("TEXT/HTML ; charset=x"));
	assert_false(accepts(NULL));
	assert_false(accepts(""));
	assert_false(accepts("*/*"));
	assert_false(accepts("text/*"));
	assert_false(accepts("application/json"));
	assert_false(accepts("text/html;q=0"));
	assert_false(accepts("text/html; q=0.000"));
	assert_false(accepts("text/htmlx"));
	assert_false(accepts("x/text/html"));
}

static const char *
client(const char *remote, const char *forwarded, const char *a, const char *b)
{
	static char out[46];
	char *trusted[3] = {P(a), P(b), NULL};
	struct request req;

	memset(&req, 0, sizeof(req));
	req.remote_addr = bytes_of(remote);
	req.forwarded_for = bytes_of(forwarded);
	request_client(&req, trusted, out);
	return out;
}

static void
forwarded_addresses_count_from_trusted_proxies_alone(void **state)
{
	(void)state;
	assert_string_equal(
	    client("192.0.2.1", "198.51.100.7", NULL, NULL), "192.0.2.1");
	assert_string_equal(
	    client("192.0.2.1", "198.51.100.7", "192.0.2.2", NULL),
	    "192.0.2.1");
	assert_string_equal(
	    client("192.0.2.1", "198.51.100.7", "192.0.2.1", NULL),
	    "198.51.100.7");
	assert_string_equal(
	    client("192.0.2.1", "6.6.6.6, 198.51.100.7", "192.0.2.0/24", NULL),
	    "198.51.100.7");
	assert_string_equal(
	    client("192.0.2.1", "6.6.6.6, 198.51.100.7 ,10.0.0.3",
		"192.0.2.0/24", "10.0.0.0/8"),
	    "198.51.100.7");
	assert_string_equal(
	    client("192.0.2.1", "6.6.6.6, junk", "192.0.2.1", NULL),
	    "192.0.2.1");
	assert_string_equal(client("192.0.2.1", "10.0.0.1, 10.0.0.2",
				"192.0.2.1", "10.0.0.0/8"),
	    "10.0.0.1");
	assert_string_equal(
	    client("192.0.2.129", "7.7.7.7", "192.0.2.0/25", NULL),
	    "192.0.2.129");
	assert_string_equal(
	    client("2001:db8::5", "7.7.7.7", "2001:db8::/32", NULL), "7.7.7.7");
	assert_string_equal(
	    client("::ffff:192.0.2.1", NULL, NULL, NULL), "192.0.2.1");
	assert_string_equal(client("::ffff:192.0.2.1", "::ffff:198.51.100.7",
				"192.0.2.1", NULL),
	    "198.51.100.7");
	assert_string_equal(client("unix:", "7.7.7.7", "0.0.0.0/0", NULL), "");
	assert_string_equal(client(NULL, "7.7.7.7", "0.0.0.0/0", NULL), "");
}

/* What stands last in X-Forwarded-For, and whom that names. */
static void
a_forwarded_address_may_have_a_port_and_nothing_else(void **state)
{
	static const char *const proxy = "192.0.2.1";
	static const char *const cases[][2] = {
	    {"198.51.100.7:4711", "198.51.100.7"},
	    {"6.6.6.6, 198.51.100.7:1", "198.51.100.7"},
	    {"2001:db8::7", "2001:db8::7"},
	    {"2001:db8::7:4711", "2001:db8::7:4711"},
	    {"2001:DB8:0::7", "2001:db8::7"},
	    {"[2001:db8::7]", "2001:db8::7"},
	    {"[2001:db8::7]:65535", "2001:db8::7"},
	    {" [2001:db8::7]:1 ", "2001:db8::7"},
	    {"[::ffff:198.51.100.7]:1", "198.51.100.7"},
	    /* Whom it names is not known: the proxy stands for him. */
	    {"unknown", proxy},
	    {"_hidden", proxy},
	    {"6.6.6.6, unknown", proxy},
	    {"6.6.6.6,", proxy},
	    {",", proxy},
	    {"6.6.6.6 7.7.7.7", proxy},
	    {"198.51.100.7:", proxy},
	    {"198.51.100.7:x", proxy},
	    {"198.51.100.7:123456", proxy},
	    {":4711", proxy},
	    {"198.51.100.7:1:2", proxy},
	    {"[198.51.100.7]", proxy},
	    {"[198.51.100.7]:1", proxy},
	    {"[2001:db8::7", proxy},
	    {"2001:db8::7]", proxy},
	    {"[2001:db8::7]x", proxy},
	    {"[2001:db8::7]:", proxy},
	    {"[[2001:db8::7]]", proxy},
	    {"[]", proxy},
	    {"[", proxy},
	    {"\"198.51.100.7\"", proxy},
	    {"for=198.51.100.7", proxy},
	    {"198.51.100.07", proxy},
	    {"198.51.100", proxy},
	    {"3325256711", proxy},
	    {"fe80::1%eth0", proxy},
	    {"198.51.100.7/32", proxy},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(client(proxy, cases[i][0], proxy, NULL),
			cases[i][1]) != 0)
			fail_msg("\"%s\": %s", cases[i][0],
			    client(proxy, cases[i][0], proxy, NULL));
}

/* ---- forms ---- */

static void
field_is(const char *text, const char *name, const char *expected)
{
	struct buf out = {0};

	assert_int_equal(form_get(bytes_of(text), name, &out), FORM_FOUND);
	assert_string_equal(buf_text(&out), expected);
	buf_clear(&out);
}

static void
field_answers(const char *text, const char *name, enum form_answer answer)
{
	struct buf out = {0};

	assert_int_equal(form_get(bytes_of(text), name, &out), answer);
	assert_int_equal(out.len, 0);
	buf_clear(&out);
}

static void
form_fields_are_decoded_once(void **state)
{
	(void)state;
	field_is("a=b", "a", "b");
	field_is("x=1&a=b%20c+d&y", "a", "b c d");
	field_is("%61=%2541", "a", "%41");
	field_is("a", "a", "");
	field_is("a=", "a", "");
	field_is("a=b=c", "a", "b=c");
	field_is("a=%C3%A4", "a", "\xc3\xa4");
	field_answers("", "a", FORM_ABSENT);
	field_answers("b=a", "a", FORM_ABSENT);
}

static void
doubtful_forms_are_refused(void **state)
{
	static const char *const bad[] = {"a=1&a=1", "a=1&%61=2", "a=%", "a=%4",
	    "a=%zz", "a=%00", "a=\xff", "a=%ff", "%=1&a=b"};
	struct buf many = {0}, out = {0};
	size_t i;

	(void)state;
	for (i = 0; i <= FORM_FIELDS_MAX; i++)
		buf_add_text(&many, "x=y&");
	assert_int_equal(form_get(buf_bytes(&many), "a", &out), FORM_BAD);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
		    form_get(bytes_of(bad[i]), "a", &out), FORM_BAD);
	buf_clear(&many);
	buf_clear(&out);
}

/* ---- return_to ---- */

static void
bad_return_targets_are_refused(void **state)
{
	static const char *const bad[] = {"", "evil.com", "//evil.com",
	    "///evil.com", "////evil.com", "/\\evil.com", "/\\/evil.com",
	    "\\/evil.com", "\\\\evil.com", "\\evil.com", "/a\\b",
	    "/a/\\evil.com", "http://evil.com", "https://evil.com",
	    "HTTPS://evil.com", "http:/evil.com", "http:evil.com",
	    "https:\\\\evil.com", "ftp://evil.com", "javascript:alert(1)",
	    "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x",
	    "mailto:a@b", "file:///etc/passwd", " /a", "/ a", "/a ", "\t/a",
	    "/\t/evil.com", "/\n/evil.com", "/\r/evil.com", "/a\tb", "/a\nb",
	    "/a\rb", "/a\r\nSet-Cookie: x=y", "/a\x01", "/a\x1f", "/a\x7f",
	    "/\x0b/evil.com", "/\x0c/evil.com", "\n//evil.com", "\r//evil.com",
	    "\x01//evil.com",
	    "\xe3\x80\x82"
	    "evil.com",
	    "\xef\xbc\x8f\xef\xbc\x8f"
	    "evil.com",
	    "@evil.com", "user@evil.com", "user:pass@evil.com",
	    "//user@evil.com", "//user:pw@evil.com/a", "//[::1]/", "//0x7f.1",
	    "//evil.com:80", "//evil.com%2f", "//\xc3\xa9vil.com",
	    "//google\xe3\x80\x82"
	    "com",
	    "https://example.org.evil.com", "https://example.org@evil.com",
	    "https://example.org", "https://example.org/ok2",
	    "https://example.org/o", "https://Example.org/ok", "?a=//evil.com",
	    "#//evil.com", ".", "..", "./a", "../a", "a/b", ":80",
	    "::", "%2f%2fevil.com", "%5cevil.com", "%09//evil.com", "*"};
	static char *const allow[] = {P("https://example.org/ok"), NULL};
	size_t i;

	(void)state;
	assert_true(sizeof(bad) / sizeof(bad[0]) >= 60);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (return_to_is_allowed(bytes_of(bad[i]), allow))
			fail_msg("allowed: \"%s\"", bad[i]);
}

static void
good_return_targets_are_reencoded(void **state)
{
	static const char *const good[][2] = {
	    {"/", "/"},
	    {"/a", "/a"},
	    {"/a/b?c=d&e=%20#f", "/a/b?c=d&e=%20#f"},
	    {"/a?u=http://x/", "/a?u=http://x/"},
	    {"/a//b", "/a//b"},
	    {"/%09/evil.com", "/%09/evil.com"},
	    {"/%5cevil.com", "/%5cevil.com"},
	    {"/\xc3\xa4", "/%c3%a4"},
	    {"/\xff", "/%ff"},
	    {"/a\"<>`{|}^b", "/a%22%3c%3e%60%7b%7c%7d%5eb"},
	    {"/100%", "/100%25"},
	    {"/%zz", "/%25zz"},
	    {"/@evil.com", "/@evil.com"},
	    {"/.evil.com", "/.evil.com"},
	    {"https://example.org/ok", "https://example.org/ok"},
	};
	static char *const allow[] = {P("https://example.org/ok"), NULL};
	struct buf out = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct sgate_bytes text = bytes_of(good[i][0]);

		assert_true(return_to_is_allowed(text, allow));
		buf_reset(&out);
		return_to_write(text, &out);
		assert_string_equal(buf_text(&out), good[i][1]);
	}
	assert_false(
	    return_to_is_allowed(bytes_of("https://example.org/ok"), NULL));
	buf_clear(&out);
}

static void
long_return_targets_are_refused(void **state)
{
	struct buf text = {0};

	(void)state;
	while (text.len < RETURN_TO_MAX)
		buf_add_char(&text, '/' + (text.len > 0));
	assert_true(return_to_is_allowed(buf_bytes(&text), NULL));
	buf_add_char(&text, 'a');
	assert_false(return_to_is_allowed(buf_bytes(&text), NULL));
	buf_clear(&text);
}

static const struct CMUnitTest request_tests[] = {
    cmocka_unit_test(params_become_fields),
    cmocka_unit_test(the_role_is_the_servers),
    cmocka_unit_test(a_page_is_wanted_for_how_the_browser_asked),
    cmocka_unit_test(incomplete_or_double_params_are_malformed),
    cmocka_unit_test(what_describes_a_body_may_stand_twice_in_a_check),
    cmocka_unit_test(only_a_named_html_is_accepted),
    cmocka_unit_test(forwarded_addresses_count_from_trusted_proxies_alone),
    cmocka_unit_test(a_forwarded_address_may_have_a_port_and_nothing_else),
    cmocka_unit_test(form_fields_are_decoded_once),
    cmocka_unit_test(doubtful_forms_are_refused),
    cmocka_unit_test(bad_return_targets_are_refused),
    cmocka_unit_test(good_return_targets_are_reencoded),
    cmocka_unit_test(long_return_targets_are_refused),
};

TAP_MAIN(request_tests)
