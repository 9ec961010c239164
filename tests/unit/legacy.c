/* What becomes of other systems' sessions: every format, also hostile ones. */
#include "config.h"

#include "legacy.h"

#include "buf.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

#define NOW_MS INT64_C(1795000000000) /* 2026-11-18T11:06:40Z */

static struct legacy_session session;

static int
teardown(void **state)
{
	(void)state;
	legacy_session_clear(&session);
	return 0;
}

static struct legacy_settings
settings_of(const char *reader)
{
	struct legacy_settings settings = {
	    .reader = legacy_reader_find(reader), .data_max_bytes = 65536};

	assert_non_null(settings.reader);
	return settings;
}

static void
decode_raw(const char *reader, const struct legacy_raw *raw)
{
	struct legacy_settings settings = settings_of(reader);
	struct sgate_error err;

	legacy_session_clear(&session);
	if (legacy_decode(&settings, raw, NOW_MS, &session, &err) != SGATE_OK)
		fail_msg("%s", err.text);
}

static void
decode(const char *reader, struct sgate_bytes body)
{
	const struct legacy_raw raw = {.id = bytes_of("x"), .body = body};

	decode_raw(reader, &raw);
}

static void
live(const char *user, const char *data)
{
	if (session.verdict != LEGACY_LIVE)
		fail_msg("%s: %s", legacy_verdict_text(session.verdict),
		    session.why == NULL ? "" : session.why);
	assert_null(session.why);
	assert_string_equal(buf_text(&session.user_id), user);
	assert_string_equal(buf_text(&session.data), data);
}

static void
undecodable(const char *why)
{
	assert_int_equal(session.verdict, LEGACY_UNDECODABLE);
	assert_string_equal(session.why, why);
}

/* `count` times `part`, between head and tail; buf_clear() it. */
static struct buf
repeated(const char *head, const char *part, size_t count, const char *tail)
{
	struct buf buf = {0};

	buf_add_text(&buf, head);
	while (count-- > 0)
		buf_add_text(&buf, part);
	buf_add_text(&buf, tail);
	assert_false(buf_failed(&buf));
	return buf;
}

/* Every beginning of it is an answer, too. */
static void
every_beginning(const char *reader, struct sgate_bytes whole)
{
	char *copy;
	size_t len;

	for (len = 0; len <= whole.len; len++) {
		copy = malloc(len + 1);
		assert_non_null(copy);
		memcpy(copy, whole.data, len);
		decode(reader, (struct sgate_bytes){copy, len});
		free(copy);
	}
	assert_int_not_equal(session.verdict, LEGACY_UNDECODABLE);
}

/* ---- express-session ---- */

#define COOKIE                                                                 \
	"{\"cookie\":{\"originalMaxAge\":3600000,\"expires\":"                 \
	"\"2026-11-18T11:36:40.000Z\",\"httpOnly\":true,\"path\":\"/\"},"

static void
an_express_session_is_read(void **state)
{
	struct legacy_raw raw = {.id = bytes_of("x"),
	    .body = bytes_of(COOKIE "\"views\":3,\"passport\":{\"user\":42}}")};

	(void)state;
	decode_raw("connect-redis", &raw);
	live("42", "{\"views\":3,\"passport\":{\"user\":42}}");
	assert_string_equal(session.user_key, "passport.user");
	assert_int_equal(session.expires_ms, NOW_MS + 1800000);
	assert_int_equal(session.last_seen_ms, NOW_MS - 1800000);
	/* The store's end, if that is earlier. */
	raw.expires_ms = NOW_MS + 5000;
	decode_raw("connect-redis", &raw);
	assert_int_equal(session.expires_ms, NOW_MS + 5000);
	raw.expires_ms = NOW_MS + 1800001;
	decode_raw("connect-redis", &raw);
	assert_int_equal(session.expires_ms, NOW_MS + 1800000);
	raw.expires_ms = NOW_MS;
	decode_raw("connect-redis", &raw);
	assert_int_equal(session.verdict, LEGACY_EXPIRED);
	every_beginning("connect-redis", raw.body);
}

static void
an_express_session_without_an_end_has_the_store_s(void **state)
{
	const struct legacy_raw raw = {.id = bytes_of("x"),
	    .body = bytes_of("{\"cookie\":{\"originalMaxAge\":null,"
			     "\"expires\":null},\"userId\":\"bob\"}"),
	    .expires_ms = NOW_MS + 86400000};

	(void)state;
	decode_raw("connect-redis", &raw);
	live("bob", "{\"userId\":\"bob\"}");
	assert_int_equal(session.expires_ms, NOW_MS + 86400000);
}

static void
a_session_without_a_user_or_a_cookie_is_told_apart(void **state)
{
	(void)state;
	decode("connect-redis", bytes_of(COOKIE "\"cart\":[1]}"));
	assert_int_equal(session.verdict, LEGACY_NO_USER);
	assert_false(session.dropped.user);
	decode("connect-redis", bytes_of(COOKIE "\"user_id\":\"\"}"));
	assert_int_equal(session.verdict, LEGACY_NO_USER);
	decode("connect-redis", bytes_of(COOKIE "\"user_id\":\"a\\nb\"}"));
	assert_int_equal(session.verdict, LEGACY_NO_USER);
	assert_true(session.dropped.user);
	decode("connect-redis", bytes_of("{\"user_id\":1}"));
	undecodable("it has no \"cookie\": not of express-session");
}

static void
the_user_is_where_one_says(void **state)
{
	static const char *const keys[] = {
	    "account.names.1", "account.id", NULL};
	struct legacy_settings settings = settings_of("connect-redis");
	const struct legacy_raw raw = {.id = bytes_of("x"),
	    .body = bytes_of(COOKIE
		"\"user_id\":\"no\",\"account\":{\"id\":7,\"names\":[\"a\","
		"\"b\"]}}")};
	struct sgate_error err;

	(void)state;
	settings.user_keys = keys;
	assert_int_equal(
	    legacy_decode(&settings, &raw, NOW_MS, &session, &err), SGATE_OK);
	assert_string_equal(buf_text(&session.user_id), "b");
	assert_string_equal(session.user_key, "account.names.1");
}

/* ---- JSON ---- */

static void
json_that_ours_may_not_have_is_settled(void **state)
{
	(void)state;
	decode("connect-redis",
	    bytes_of(COOKIE
		"\"user_id\":\"x\",\"user_id\":\"y\",\"n\":null,"
		"\"big\":9007199254740993,\"huge\":123456789012345678901,"
		"\"neg\":-9007199254740991,\"f\":1.5,\"e\":1e300,\"t\":true,"
		"\"nan\":NaN,\"nul\":\"a\\u0000b\",\"lone\":\"\\ud800\","
		"\"pair\":\"\\ud83d\\ude00\",\"l\":[null,NaN,\"\\u00e9\"]}"));
	live("y",
	    "{\"user_id\":\"y\",\"big\":\"9007199254740993\","
	    "\"huge\":\"123456789012345678901\",\"neg\":-9007199254740991,"
	    "\"f\":1.5,\"e\":1.0000000000000001e+300,\"t\":true,"
	    "\"pair\":\"\xf0\x9f\x98\x80\",\"l\":[null,null,\"\xc3\xa9\"]}");
	assert_int_equal(session.dropped.unknown, 2);
	assert_int_equal(session.dropped.not_text, 2);
	assert_false(session.dropped.data);
}

static void
json_that_is_none_is_undecodable(void **state)
{
	static const char *const texts[] = {"{", "{\"a\"", "{\"a\":", "{a:1}",
	    "{\"a\":1,}", "[1 2]", "{\"a\":+1}", "{\"a\":.5}",
	    "{\"a\":\"\\x\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"",
	    "{\"a\":\"\\", "{} x", "nul", "{\"a\":1e}", "{\"a\":--1}",
	    "{\"a\":\"\\u12\"}"};
	struct buf deep = repeated("{\"a\":", "[", 100000, "");
	struct buf many = repeated("{\"a\":[0", ",0", 30000, "]}");
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		decode("connect-redis", bytes_of(texts[i]));
		undecodable("it is no JSON");
	}
	decode("connect-redis", bytes_of(""));
	undecodable("it is empty");
	decode("connect-redis", bytes_of("[1]"));
	undecodable("its JSON is no object");
	decode("connect-redis", buf_bytes(&deep));
	undecodable("it is nested too deeply");
	decode("connect-redis", buf_bytes(&many));
	undecodable("it has too many values");
	buf_clear(&deep);
	buf_clear(&many);
}

static void
data_that_is_too_much_is_left_out_and_the_user_stays(void **state)
{
	struct buf deep = repeated(COOKIE "\"user_id\":\"x\",\"a\":", "[", 20,
	    "]]]]]]]]]]]]]]]]]]]]}");
	struct buf wide =
	    repeated(COOKIE "\"user_id\":\"x\"", ",\"a\":1", 1500, "}");
	struct buf large = repeated(
	    COOKIE "\"user_id\":\"x\",\"a\":\"", "0123456789", 7000, "\"}");

	(void)state;
	decode("connect-redis", buf_bytes(&deep));
	live("x",
	    "{\"user_id\":\"x\",\"a\":[[[[[[[[[[[[[[[null]]]]]]]]]]]]]]]}");
	assert_int_equal(session.dropped.too_deep, 1);
	decode("connect-redis", buf_bytes(&wide));
	live("x", "{}");
	assert_true(session.dropped.data);
	decode("connect-redis", buf_bytes(&large));
	live("x", "{}");
	assert_true(session.dropped.data);
	buf_clear(&deep);
	buf_clear(&wide);
	buf_clear(&large);
}

/* ---- the old managers ---- */

static void
an_old_manager_s_text_is_read(void **state)
{
	(void)state;
	decode("old-redis",
	    bytes_of("{\"user_id\":7,\"username\":\"ann\",\"role\":\"admin\","
		     "\"created_at\":\"2026-11-18T10:00:00.250000+00:00\","
		     "\"last_activity\":\"2026-11-18T12:00:00+01:00\","
		     "\"csrf_token\":\"s\",\"session_fingerprint\":\"f\","
		     "\"platform_connection_id\":3,\"lang\":\"de\","
		     "\"_last_updated\":\"2026-11-18T11:00:00\"}"));
	live("7", "{\"user_id\":7,\"username\":\"ann\",\"lang\":\"de\"}");
	assert_string_equal(buf_text(&session.role), "admin");
	assert_string_equal(buf_text(&session.context), "3");
	assert_int_equal(session.created_ms, NOW_MS - 4000000 + 250);
	assert_int_equal(session.last_seen_ms, NOW_MS - 400000);
	/* The key lives for ever, the session does not. */
	assert_int_equal(session.expires_ms, NOW_MS - 400000 + 7200000);
}

static void
an_old_manager_s_hash_is_read(void **state)
{
	const struct legacy_field fields[] = {
	    {bytes_of("user_id"), bytes_of("7"), false},
	    {bytes_of("created_at"), bytes_of("2026-11-18 10:00:00"), false},
	    {bytes_of("expires_at"), bytes_of("2026-11-18T11:06:40"), false},
	    {bytes_of("platform_name"), {NULL, 0}, true},
	    {bytes_of("lang"), bytes_of("de"), false},
	};
	struct legacy_raw raw = {.id = bytes_of("x"),
	    .fields = fields,
	    .fields_count = 5,
	    .expires_ms = NOW_MS + 99999};

	(void)state;
	decode_raw("old-redis", &raw);
	assert_int_equal(session.verdict, LEGACY_EXPIRED);
	assert_int_equal(session.expires_ms, NOW_MS);
	assert_string_equal(
	    buf_text(&session.data), "{\"user_id\":\"7\",\"lang\":\"de\"}");
}

static void
moments_are_read_or_are_none(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
	    {"2026-11-18T11:06:40Z", NOW_MS},
	    {"2026-11-18 11:06:40.5", NOW_MS + 500},
	    {"2026-11-18T11:06:40.123456789", NOW_MS + 123},
	    {"2026-11-18T06:06:40-0500", NOW_MS},
	    {"2024-02-29T00:00:00Z", INT64_C(1709164800000)},
	    {"1970-01-01T00:00:01Z", 1000},
	    {"2026-11-18T11:06:40.", 0},
	    {"2026-11-18T11:06:40.1234567890", 0},
	    {"2026-11-18T11:06:40+1", 0},
	    {"2026-11-18T11:06:40Zx", 0},
	    {"2026-13-18T11:06:40", 0},
	    {"2026-00-18T11:06:40", 0},
	    {"2026-11-18T24:06:40", 0},
	    {"1969-11-18T11:06:40", 0},
	    {"2026-11-18", 0},
	    {"", 0},
	};
	struct buf text = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_reset(&text);
		buf_printf(&text, "{\"user_id\":1,\"created_at\":\"%s\"}",
		    cases[i].text);
		decode("old-redis", buf_bytes(&text));
		if (session.created_ms != cases[i].ms)
			fail_msg("%s: %lld", cases[i].text,
			    (long long)session.created_ms);
	}
	buf_clear(&text);
}

static void
an_old_manager_s_row_is_read(void **state)
{
	struct legacy_field fields[] = {
	    {bytes_of("user_id"), bytes_of("7"), false},
	    {bytes_of("expires_at"), bytes_of("2026-11-18 11:06:41"), false},
	    {bytes_of("is_active"), bytes_of("1"), false},
	};
	const struct legacy_raw raw = {
	    .id = bytes_of("x"), .fields = fields, .fields_count = 3};

	(void)state;
	decode_raw("old-table", &raw);
	live("7", "{\"user_id\":\"7\"}");
	assert_int_equal(session.expires_ms, NOW_MS + 1000);
	fields[2].value = bytes_of("0");
	decode_raw("old-table", &raw);
	assert_int_equal(session.verdict, LEGACY_ENDED);
}

/* ---- Django: made by Django 3.2, SECRET_KEY "the old site's secret" ---- */

#define DJANGO_SHORT                                                           \
	".eJyrVopPLC3JiC8tTi2Kz0xRslIyMVLSQRZMSkzOTs0DySShSmQkFmcARTOAosm"     \
	"JRSVKVtGGsbUAWUAa5w:1xVSB8:-48O0fkyEdJz9yQwX2Gg-7SOd2js5zqNYSBDH"     \
	"tGUhOw"
#define DJANGO_LONG                                                            \
	".eJyrVopPLC3JiC8tTi2Kz0xRslIyMVLSUUoEMipGwSgYBaNgFIyCUTDkgVItAIv"     \
	"Csng:1xVSB8:teRt76iRlci0nkKn1pPX1zWn8lFXw8pJhP-2T_SXp5A"
#define DJANGO_BOMB                                                            \
	".eJztwQEJAAAMA6Aq7zXev8ZyDNQcAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADAuC8"     \
	"iVVq5:1xVSB8:hPKgFDqctqh0j-r39yXxn540SoxmQJO4YTtudFtmUZA"
#define DJANGO_PICKLED                                                         \
	"gAWVGQAAAAAAAAB9lIwNX2F1dGhfdXNlcl9pZJSMAjQylHMu:1xVSB8:Q6J26z8l"     \
	"SxwlaOLMHUOj-WP9h_ojyEaHXWj4KNZUnt8"

static void
decode_django(const char *text, size_t len, const char *expiry)
{
	struct legacy_settings settings = settings_of("django");
	const struct legacy_raw raw = {.id = bytes_of("x"),
	    .body = {text, len},
	    .expiry = bytes_of(expiry)};
	struct sgate_error err;

	legacy_session_clear(&session);
	settings.secret = bytes_of("the old site's secret");
	if (legacy_decode(&settings, &raw, NOW_MS, &session, &err) != SGATE_OK)
		fail_msg("%s", err.text);
}

static void
a_django_session_is_read_if_its_signature_is_right(void **state)
{
	char text[] = DJANGO_SHORT;
	size_t i, len = strlen(text);

	(void)state;
	decode_django(text, len, "2026-11-18 11:06:41.500000");
	live("42", "{\"_auth_user_id\":\"42\",\"cart\":[1]}");
	assert_int_equal(session.expires_ms, NOW_MS + 1500);
	decode_django(text, len, "2026-11-18 11:06:40");
	assert_int_equal(session.verdict, LEGACY_EXPIRED);
	decode_django(text, len, "soon");
	undecodable("its expire_date is no moment");
	for (i = 0; i < len; i++) {
		decode_django(text, i, "2026-11-18 11:06:41");
		assert_int_equal(session.verdict, LEGACY_UNDECODABLE);
		text[i] = text[i] == 'A' ? 'B' : 'A';
		decode_django(text, len, "2026-11-18 11:06:41");
		assert_int_equal(session.verdict, LEGACY_UNDECODABLE);
		memcpy(text, DJANGO_SHORT, len);
	}
}

static void
a_compressed_django_session_is_read_within_bounds(void **state)
{
	(void)state;
	decode_django(DJANGO_LONG, strlen(DJANGO_LONG), "2026-11-18 11:06:41");
	assert_int_equal(session.verdict, LEGACY_LIVE);
	assert_int_equal(session.data.len, 29 + 2000);
	decode_django(DJANGO_BOMB, strlen(DJANGO_BOMB), "2026-11-18 11:06:41");
	undecodable("it is over 1 MiB");
	decode_django(
	    DJANGO_PICKLED, strlen(DJANGO_PICKLED), "2026-11-18 11:06:41");
	undecodable("it is pickled, which only Python itself could read");
	decode_django("eyJhIjoxfQ==", 12, "2026-11-18 11:06:41");
	undecodable("Django before 3.1 wrote it, or none");
}

/* ---- PHP ---- */

static void
php_sessions_are_read(void **state)
{
	struct legacy_raw raw = {
	    .id = bytes_of("x"), .changed_ms = NOW_MS - 440000};

	(void)state;
	decode_raw("php", &raw);
	assert_int_equal(session.verdict, LEGACY_NO_USER);
	assert_int_equal(session.expires_ms, NOW_MS + 1000000);
	assert_int_equal(session.last_seen_ms, NOW_MS - 440000);
	raw.body = bytes_of(
	    "user_id|i:-7;name|s:5:\"a\"|;b\";f|d:0.5;e|d:1.0E+25;t|b:1;n|N;"
	    "!gone|l|a:2:{i:0;s:1:\"x\";i:1;a:0:{}}m|a:2:{i:1;i:1;"
	    "s:1:\"k\";i:2;}o|O:3:\"Foo\":2:{s:2:\"pw\";s:1:\"p\";"
	    "s:1:\"r\";r:1;}c|C:3:\"Bar\":4:{a;}}}q|E:5:\"E:One\";z|R:3;");
	decode_raw("php", &raw);
	live("-7", "{\"user_id\":-7,\"name\":\"a\\\"|;b\",\"f\":0.5,"
		   "\"e\":1.0000000000000001e+25,\"t\":true,"
		   "\"l\":[\"x\",{}],\"m\":{\"1\":1,\"k\":2}}");
	assert_int_equal(session.dropped.unknown, 4);
	every_beginning("php", raw.body);
	raw.changed_ms = NOW_MS - 1440000;
	decode_raw("php", &raw);
	assert_int_equal(session.verdict, LEGACY_EXPIRED);
}

static void
an_array_of_php_is_a_session_too(void **state)
{
	(void)state;
	decode(
	    "phpredis", bytes_of("a:2:{s:7:\"user_id\";s:2:\"42\";i:0;b:0;}"));
	live("42", "{\"user_id\":\"42\",\"0\":false}");
	assert_int_equal(session.expires_ms, 0);
	decode("phpredis", bytes_of("a:1:{i:0;i:3;}"));
	assert_int_equal(session.verdict, LEGACY_NO_USER);
	/* The same letters as the begin of a name. */
	decode("php", bytes_of("a:b|i:1;user|s:1:\"x\";"));
	live("x", "{\"a:b\":1,\"user\":\"x\"}");
}

/* Longer than any number that PHP writes. */
#define ZEROS_17 "00000000000000000"
#define ZEROS_68 ZEROS_17 ZEROS_17 ZEROS_17 ZEROS_17

static void
what_php_did_not_write_is_undecodable(void **state)
{
	static const char *const texts[] = {"x", "a|", "a|i:;", "a|i:1",
	    "a|i1;", "a|i:1x;", "a|s:9:\"a\";", "a|s:1:\"ab\";", "a|s:-1:\"\";",
	    "a|s:99999999999999999999:\"\";", "a|s:1:a;", "a|a:1:{i:0;}",
	    "a|a:2:{i:0;i:1;}", "a|a:1:{d:1;i:1;}", "a|a:0:{",
	    "a|O:1:\"x\":1:{}", "a|C:1:\"x\":9:{}", "a|E:1:\"x\"", "a|r:1",
	    "a|d:;", "a|d:1x;", "a|d:" ZEROS_68 ";", "a|S:1:\"a\";",
	    "a|i:9223372036854775808;", "a:1:{i:0;i:1;}x", "a:1:{i:0;i:1;"};
	struct buf deep = repeated("a|", "a:1:{i:0;", 100000, "");
	struct buf many = repeated("a|a:30000:{", "i:0;i:0;", 30000, "}");
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		decode("php", bytes_of(texts[i]));
		if (session.verdict != LEGACY_UNDECODABLE)
			fail_msg("%s", texts[i]);
		undecodable("it is not what PHP writes");
	}
	decode("php", buf_bytes(&deep));
	undecodable("it is nested too deeply");
	decode("php", buf_bytes(&many));
	undecodable("it has too many values");
	decode("php", bytes_of("a|i:-9223372036854775808;user|i:1;"));
	live("1", "{\"a\":\"-9223372036854775808\",\"user\":1}");
	buf_clear(&deep);
	buf_clear(&many);
}

/* ---- Perl ---- */

#define TIMES "'_SESSION_ATIME' => 1794999900,'_SESSION_ETIME' => 3600,"

static void
dumper(const char *members)
{
	struct buf text = {0};

	buf_printf(&text, "$D = {" TIMES "%s};;$D", members);
	decode("cgi-session", buf_bytes(&text));
	buf_clear(&text);
}

static void
what_data_dumper_writes_is_read(void **state)
{
	const char *whole =
	    "$D = {" TIMES "'user' => 'x','l' => [1,'it\\'s']};;$D";

	(void)state;
	dumper("'_SESSION_CTIME' => 1794999000,'_SESSION_ID' => 'abc',"
	       "'_SESSION_REMOTE_ADDR' => '','user_id' => 7,"
	       "'q' => 'it\\'s \\\\ \\n','d' => \"\\x{263a}\\\"\\$\\n\\0\\1\","
	       "'l' => [undef,-5,'12345678901',[],{}],'o' => bless( {'a' => "
	       "bless( [], 'B' )}, 'C::D' ),'r' => \\'x','s' => $D->{'l'}[2],"
	       "'t' => ${$D->{'r'}}");
	live("7", "{\"user_id\":7,\"q\":\"it's \\\\ \\\\n\","
		  "\"l\":[null,-5,\"12345678901\",[],{}],\"r\":\"x\"}");
	assert_int_equal(session.created_ms, INT64_C(1794999000000));
	assert_int_equal(session.last_seen_ms, NOW_MS - 100000);
	assert_int_equal(session.expires_ms, NOW_MS + 3500000);
	assert_int_equal(session.dropped.unknown, 3);
	assert_int_equal(session.dropped.not_text, 1);
	every_beginning("cgi-session", bytes_of(whole));
}

static void
members_with_an_end_of_their_own_do_not_outlive_it(void **state)
{
	(void)state;
	dumper("'_SESSION_EXPIRE_LIST' => {'user_id' => 600,'a' => 50,'b' => "
	       "600},'user_id' => 7,'a' => 1,'b' => 1,'c' => 1");
	live("7", "{\"user_id\":7,\"c\":1}");
	assert_int_equal(session.expires_ms, NOW_MS + 500000);
	assert_int_equal(session.dropped.ending, 1);
	dumper("'_SESSION_EXPIRE_LIST' => {'user_id' => 99},'user_id' => 7");
	assert_int_equal(session.verdict, LEGACY_NO_USER);
}

static void
references_that_are_tied_later_are_not_known(void **state)
{
	(void)state;
	decode("cgi-session",
	    bytes_of("$D = {" TIMES "'user' => 'x','a' => [],'h' => {'b' => {}}"
		     "};$D->{'a'} = $D->{'h'}{'b'};$D->{'h'}{'b'} = "
		     "[1];;$D"));
	live("x", "{\"user\":\"x\",\"h\":{}}");
	assert_int_equal(session.dropped.unknown, 2);
	decode("cgi-session",
	    bytes_of("$D = {" TIMES "'user' => 'x'};$D->{'no'} = 1;;$D"));
	undecodable("it ties references in a way that only Perl could read");
	decode("cgi-session",
	    bytes_of("$D = {" TIMES "'user' => 'x'};$D = {'user' => 'y'};$D"));
	undecodable("it ties references in a way that only Perl could read");
}

static void
what_data_dumper_did_not_write_is_undecodable(void **state)
{
	static const char *const texts[] = {"$", "$D", "$D =", "$D = 5;",
	    "$D = {", "$D = {}", "$D = {'a'};", "$D = {a => 1};",
	    "$D = {'a' => system('id')};", "$D = {'a' => `id`};",
	    "$D = {'a' => sub { 1 }};", "$D = {'a' => 1};system('id');",
	    "$D = {'a' => 1}; x", "$D = {'a' => '};", "$D = {'a' => 1.5};",
	    "$D = {'a' => -};", "$D = {'a' => \"\\x{zz}\"};",
	    "$D = {'a' => \"\\x{110000}\"};", "$D = {'a' => bless( {} )};",
	    "$D = {'a' => bless( {}, $x )};", "$D = {'a' => do {1}};",
	    "$D = {'a' => 99999999999999999999};"};
	struct buf deep = repeated("$D = {'a' => ", "[", 100000, "");
	struct buf blessed = repeated("$D = {'a' => ", "bless(", 100000, "");
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		decode("cgi-session", bytes_of(texts[i]));
		if (session.verdict != LEGACY_UNDECODABLE)
			fail_msg("%s", texts[i]);
		undecodable("it is not what Data::Dumper writes");
	}
	decode("cgi-session", buf_bytes(&deep));
	undecodable("it is nested too deeply");
	decode("cgi-session", buf_bytes(&blessed));
	undecodable("it is nested too deeply");
	decode("cgi-session", bytes_of("FrT;@1|%"));
	undecodable("FreezeThaw, which is not read");
	decode("cgi-session", bytes_of("$D = {'user' => 'x'};"));
	undecodable("it has no _SESSION_ATIME: not of CGI::Session");
	buf_clear(&deep);
	buf_clear(&blessed);
}

/* Made by Storable 3.26: freeze, nfreeze, and with objects. */
static const char frozen[] =
    "\004\013\01012345678\004\010\010\010\031\000\010\000\000\000"
    "\006\134\206\375j\000\000\000\000\000\016\000\000\000_SESSIO"
    "N_ATIME\006\020\016\000\000\000\000\000\000\000\016\000\000"
    "\000_SESSION_ETIME\012\001i\000\013\000\000\000_session_id"
    "\001,\001\000\000xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxx\000\003\000\000\000big\004\003\000\000\000"
    "\000\001\004\000\000\000k\342\230\272\004\002\006\000\000"
    "\000\010\201\005\007\000\000\000\000\000\000\004\300\006\324"
    "\376\377\377\377\377\377\377\0065\034\334\337\002\000\000"
    "\000\027\003\342\230\272\000\001\000\000\000l\012\001a\000"
    "\001\000\000\000s\010\207\000\007\000\000\000user_id";
static const char nfrozen[] =
    "\005\013\031\000\000\000\000\010\011j\375\206\134\000\000"
    "\000\000\016_SESSION_ATIME\011\000\000\016\020\000\000\000"
    "\000\016_SESSION_ETIME\012\001i\000\000\000\000\013_session_"
    "id\001\000\000\001,xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxx\000\000\000\000\003big\004\003\000\000"
    "\000\000\001\000\000\000\004k\342\230\272\004\002\000\000"
    "\000\006\010\201\005\012\004-2.5\011\377\377\376\324\012\013"
    "12345678901\027\003\342\230\272\000\000\000\000\001l\012\001"
    "a\000\000\000\000\001s\010\207\000\000\000\000\007user_id";
static const char blessed_ones[] =
    "\005\013\003\000\000\000\006\010\201\000\000\000\013_session"
    "_id\004\021\001C\003\000\000\000\001\010\201\000\000\000\001"
    "a\000\000\000\001o\004\022\000\002\000\000\000\000\000\000"
    "\000\001p\004\002\000\000\000\001\010\201\000\000\000\001r"
    "\004\000\000\000\000\010\000\000\000\001t\012\001x\000\000"
    "\000\007user_id";

static void
what_storable_writes_is_read(void **state)
{
	static const struct sgate_bytes native = {frozen, sizeof(frozen) - 1};
	static const struct sgate_bytes net = {nfrozen, sizeof(nfrozen) - 1};

	(void)state;
	decode("apache-session", native);
	assert_int_equal(session.verdict, LEGACY_LIVE);
	assert_string_equal(buf_text(&session.user_id), "7");
	assert_non_null(strstr(buf_text(&session.data),
	    "\"l\":[1,null,-2.5,-300,12345678901,\"\xe2\x98\xba\"]"));
	assert_non_null(
	    strstr(buf_text(&session.data), "\"k\xe2\x98\xba\":{}"));
	every_beginning("apache-session", native);
	decode("cgi-session", net);
	assert_int_equal(session.expires_ms, NOW_MS + 3500000);
	every_beginning("apache-session", net);
	assert_true(session.data.len > 300);
	decode("apache-session",
	    (struct sgate_bytes){blessed_ones, sizeof(blessed_ones) - 1});
	live("x", "{\"r\":[1],\"user_id\":\"x\"}");
	assert_int_equal(session.dropped.unknown, 3);
}

static void
decode_bytes(const char *bytes, size_t len)
{
	decode("apache-session", (struct sgate_bytes){bytes, len});
}

static void
what_storable_did_not_write_is_undecodable(void **state)
{
	struct buf deep = {0};
	size_t i;

	(void)state;
	for (i = 0; i < 100000; i++)
		buf_add(&deep, i == 0 ? "\5\13" : "\4", i == 0 ? 2 : 1);
	decode("apache-session", buf_bytes(&deep));
	undecodable("it is nested too deeply");
	buf_clear(&deep);
	decode_bytes("\5\13\3\377\377\377\377", 7);
	undecodable("it is not what Storable writes");
	decode_bytes("\5\13\1\0\17\0\0", 7);
	undecodable("it is not what Storable writes");
	decode_bytes("\7\13\3\0\0\0\0", 7);
	undecodable("it is not what Storable writes");
	decode_bytes("\5\13\2\0\0\0\0", 7);
	undecodable("it is not what Storable writes");
	decode_bytes("\5\13\3\0\0\0\0x", 8);
	undecodable("it is not what Storable writes");
	decode_bytes("\4\13\04"
		     "1234"
		     "\4\4\4\10\3\0\0\0\0",
	    18);
	undecodable("another kind of machine froze it");
	decode_bytes("\5\13\3\0\0\0\1\32\12\1x", 11);
	undecodable("it has an object that only Perl could read");
	decode_bytes("\5\13\23\0", 4);
	undecodable("it has an object that only Perl could read");
	decode_bytes("\5\13\21\1C\3\0\0\0\0", 10);
	undecodable("it is an object of some class");
	decode_bytes("BQsDAAAAAA==", 12);
	undecodable("it has no _session_id: not of Apache::Session");
	decode_bytes("!", 1);
	undecodable("it is not what Storable writes");
}

/* ---- mod_session ---- */

static void
mod_session(const char *text, const char *expiry)
{
	const struct legacy_raw raw = {.id = bytes_of("x"),
	    .body = bytes_of(text),
	    .expiry = bytes_of(expiry)};

	decode_raw("mod-session", &raw);
}

static void
a_session_of_apache_comes_without_its_password(void **state)
{
	(void)state;
	mod_session("My+Site-user=b%c3%b6b&My+Site-pw=geheim&My+Site-site=/x&"
		    "a%26b=1+2&expiry=1795000002000000",
	    "1795000001500000");
	live("b\xc3\xb6"
	     "b",
	    "{\"My Site-user\":\"b\xc3\xb6"
	    "b\",\"a&b\":\"1 2\"}");
	assert_int_equal(session.expires_ms, NOW_MS + 1500);
	assert_int_equal(session.dropped.passwords, 1);
	assert_string_equal(session.user_key, "*-user");
	mod_session("x-user=bob&expiry=1795000002000000", "0");
	assert_int_equal(session.expires_ms, NOW_MS + 2000);
	mod_session("x-user=bob", "0");
	assert_int_equal(session.expires_ms, 0);
	mod_session("x-user=bob", "1");
	assert_int_equal(session.verdict, LEGACY_EXPIRED);
	mod_session("x-user=bob&expiry=999", "0");
	assert_int_equal(session.verdict, LEGACY_EXPIRED);
	mod_session("", "0");
	assert_int_equal(session.verdict, LEGACY_NO_USER);
	mod_session("x-user=bob", "soon");
	undecodable("its expiry is no number of microseconds");
}

static void
what_mod_session_did_not_write_is_undecodable(void **state)
{
	static const char *const texts[] = {
	    "a", "a=1&b", "=1", "a=1&=2", "a=%", "a=%4", "a=%zz", "%=1", "&"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		mod_session(texts[i], "0");
		undecodable("it is not what mod_session writes");
	}
}

/* ---- Flask-Session ---- */

static void
flask(const char *bytes, size_t len)
{
	decode("flask-session", (struct sgate_bytes){bytes, len});
}

static void
message_pack_is_read(void **state)
{
	static const char text[] = "\xde\x00\x10\xa8_user_id\xa1"
				   "7\xaa_permanent\xc3\xa1"
				   "a\x93\x01\xff"
				   "\xc0\xa1"
				   "b\xcc\xff\xa1"
				   "c\xcd\x01\x00\xa1"
				   "d\xd0\x80\xa1"
				   "e\xd1\xff\x00\xa1"
				   "f\xcb\x3f\xe0\0\0\0\0\0\0\xa1"
				   "g\xca\x3f\x00\0\0\xa1"
				   "h\xd9\x02xy\xa1"
				   "i\xdc\x00\x01\x05"
				   "\xa1"
				   "j\xde\x00\x01\x05\xc2\xa1"
				   "k\xc4\x01\xff\xa1"
				   "l\xd6\xff\0\0\0\1\xa1"
				   "m\xcf\xff\xff\xff\xff\xff\xff\xff"
				   "\xff\xa1"
				   "n\xd3\xff\xff\xff\xff\xff\xff\xff\xfe";
	static const struct sgate_bytes whole = {text, sizeof(text) - 1};

	(void)state;
	decode("flask-session", whole);
	live("7", "{\"_user_id\":\"7\",\"a\":[1,-1,null],\"b\":255,\"c\":256,"
		  "\"d\":-128,\"e\":-256,\"f\":0.5,\"g\":0.5,\"h\":\"xy\","
		  "\"i\":[5],\"j\":{\"5\":false},\"m\":1.8446744073709552e+19,"
		  "\"n\":-2}");
	assert_int_equal(session.dropped.not_text, 1);
	assert_int_equal(session.dropped.unknown, 1);
	every_beginning("flask-session", whole);
	decode("flask-session", bytes_of("{\"_user_id\":\"8\"}"));
	live("8", "{\"_user_id\":\"8\"}");
}

static void
what_is_no_message_pack_is_undecodable(void **state)
{
	struct buf deep = repeated("\x81\xa1"
				   "a",
	    "\x91", 100000, "");

	(void)state;
	flask("\x80\x04\x95", 3);
	undecodable("it is pickled, which only Python itself could read");
	flask("", 0);
	undecodable("it is empty");
	decode("flask-session", buf_bytes(&deep));
	undecodable("it is nested too deeply");
	buf_clear(&deep);
	flask("\x81\xa1"
	      "a\xc1",
	    4);
	undecodable("it is no MessagePack");
	flask("\xdf\xff\xff\xff\xff", 5);
	undecodable("it is no MessagePack");
	flask("\x81\xa1"
	      "a\xdb\xff\xff\xff\xff",
	    8);
	undecodable("it is no MessagePack");
	flask("\x81\xa1"
	      "a\xc9\xff\xff\xff\xff\1",
	    9);
	undecodable("it is no MessagePack");
	flask("\x91\x01", 2);
	undecodable("it is no MessagePack");
	flask("\x81\xa1"
	      "a\x01\x01",
	    5);
	undecodable("it is no MessagePack");
}

/* ---- all of them ---- */

static void
every_reader_says_what_it_is(void **state)
{
	const struct legacy_reader *reader;
	size_t i;

	(void)state;
	for (i = 0; (reader = legacy_reader_at(i)) != NULL; i++) {
		assert_ptr_equal(
		    legacy_reader_find(legacy_reader_name(reader)), reader);
		assert_true(strlen(legacy_reader_help(reader)) > 10);
	}
	assert_null(legacy_reader_find("none"));
	assert_null(legacy_reader_find(""));
}

static void
a_place_of_another_kind_is_refused(void **state)
{
	static const char *const places[] = {"", "redis", "mysql:x@/y", "/tmp",
	    "redis:", "redis:x:0", "redis:x:y", "redis:1@"};
	struct legacy_settings settings = settings_of("connect-redis");
	struct legacy_source *source;
	struct sgate_error err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		settings.place = places[i];
		assert_int_equal(legacy_source_open(&settings, &source, &err),
		    SGATE_INVALID);
		assert_null(source);
		assert_non_null(strstr(err.text, "redis:[NUMBER@]HOST:PORT"));
	}
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_teardown(an_express_session_is_read, teardown),
    cmocka_unit_test_teardown(
	an_express_session_without_an_end_has_the_store_s, teardown),
    cmocka_unit_test_teardown(
	a_session_without_a_user_or_a_cookie_is_told_apart, teardown),
    cmocka_unit_test_teardown(the_user_is_where_one_says, teardown),
    cmocka_unit_test_teardown(json_that_ours_may_not_have_is_settled, teardown),
    cmocka_unit_test_teardown(json_that_is_none_is_undecodable, teardown),
    cmocka_unit_test_teardown(
	data_that_is_too_much_is_left_out_and_the_user_stays, teardown),
    cmocka_unit_test_teardown(an_old_manager_s_text_is_read, teardown),
    cmocka_unit_test_teardown(an_old_manager_s_hash_is_read, teardown),
    cmocka_unit_test_teardown(moments_are_read_or_are_none, teardown),
    cmocka_unit_test_teardown(an_old_manager_s_row_is_read, teardown),
    cmocka_unit_test_teardown(
	a_django_session_is_read_if_its_signature_is_right, teardown),
    cmocka_unit_test_teardown(
	a_compressed_django_session_is_read_within_bounds, teardown),
    cmocka_unit_test_teardown(php_sessions_are_read, teardown),
    cmocka_unit_test_teardown(an_array_of_php_is_a_session_too, teardown),
    cmocka_unit_test_teardown(what_php_did_not_write_is_undecodable, teardown),
    cmocka_unit_test_teardown(what_data_dumper_writes_is_read, teardown),
    cmocka_unit_test_teardown(
	members_with_an_end_of_their_own_do_not_outlive_it, teardown),
    cmocka_unit_test_teardown(
	references_that_are_tied_later_are_not_known, teardown),
    cmocka_unit_test_teardown(
	what_data_dumper_did_not_write_is_undecodable, teardown),
    cmocka_unit_test_teardown(what_storable_writes_is_read, teardown),
    cmocka_unit_test_teardown(
	what_storable_did_not_write_is_undecodable, teardown),
    cmocka_unit_test_teardown(
	a_session_of_apache_comes_without_its_password, teardown),
    cmocka_unit_test_teardown(
	what_mod_session_did_not_write_is_undecodable, teardown),
    cmocka_unit_test_teardown(message_pack_is_read, teardown),
    cmocka_unit_test_teardown(what_is_no_message_pack_is_undecodable, teardown),
    cmocka_unit_test_teardown(every_reader_says_what_it_is, teardown),
    cmocka_unit_test_teardown(a_place_of_another_kind_is_refused, teardown),
};

TAP_MAIN(tests)
