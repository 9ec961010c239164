/* Buffers, bytes, addresses, JSON text and time as text. */
#include "config.h"

#include "buf.h"

#include "clock.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

/* text may hold NUL: its length is that of the literal. */
#define BYTES(text) ((struct sgate_bytes){(text), sizeof(text) - 1})

#define assert_buf(buf, text)                                                  \
	do {                                                                   \
		assert_false(buf_failed(buf));                                 \
		assert_string_equal(buf_text(buf), text);                      \
		assert_int_equal((buf)->len, strlen(text));                    \
	} while (0)

/* ---- buffers ---- */

static void
an_empty_buffer_is_an_empty_text(void **state)
{
	struct buf buf = {0};

	(void)state;
	assert_buf(&buf, "");
	assert_int_equal(buf_bytes(&buf).len, 0);
	buf_add(&buf, NULL, 0);
	buf_add_text(&buf, NULL);
	buf_add_bytes(&buf, (struct sgate_bytes){NULL, 0});
	assert_buf(&buf, "");
	buf_clear(&buf);
	buf_clear(&buf);
	buf_wipe(&buf);
}

static void
a_buffer_grows_over_every_step(void **state)
{
	struct buf buf = {0};
	size_t i;

	(void)state;
	for (i = 0; i < 5000; i++) {
		buf_add_char(&buf, (char)('a' + i % 26));
		assert_int_equal(buf.len, i + 1);
		assert_int_equal(buf.data[i + 1], '\0');
	}
	for (i = 0; i < 5000; i++)
		assert_int_equal(buf.data[i], 'a' + i % 26);
	buf_clear(&buf);
}

static void
numbers_and_hex_are_appended(void **state)
{
	struct buf buf = {0};

	(void)state;
	buf_add_int(&buf, INT64_MIN);
	buf_add_char(&buf, ' ');
	buf_add_int(&buf, INT64_MAX);
	buf_add_char(&buf, ' ');
	buf_add_uint(&buf, UINT64_MAX);
	buf_add_char(&buf, ' ');
	buf_add_hex(&buf, "\x00\x7f\xff", 3);
	buf_add_hex(&buf, NULL, 0);
	buf_printf(&buf, " %s-%d", "x", 7);
	assert_buf(&buf, "-9223372036854775808 9223372036854775807 "
			 "18446744073709551615 007fff x-7");
	buf_clear(&buf);
}

static void
a_buffer_that_cannot_grow_stays_failed(void **state)
{
	/* Hidden from the compiler, which knows that this is too much. */
	volatile size_t too_much = SIZE_MAX;
	struct buf buf = {0};

	(void)state;
	buf_add_text(&buf, "before");
	buf_add(&buf, "x", too_much);
	assert_true(buf_failed(&buf));
	buf_add_text(&buf, "after");
	buf_add_hex(&buf, "x", 1);
	buf_printf(&buf, "%d", 1);
	assert_true(buf_failed(&buf));
	assert_string_equal(buf_text(&buf), "");
	assert_int_equal(buf_bytes(&buf).len, 0);
	assert_null(buf_take(&buf));
	assert_false(buf_failed(&buf));

	buf_add_hex(&buf, "x", SIZE_MAX / 2 + 1);
	assert_true(buf_failed(&buf));
	buf_reset(&buf);
	buf_add_text(&buf, "again");
	assert_buf(&buf, "again");
	buf_clear(&buf);
}

static void
a_buffer_ends_at_64_mib(void **state)
{
	static char chunk[1024 * 1024];
	struct buf buf = {0};
	int i;

	(void)state;
	for (i = 0; i < 64; i++)
		buf_add(&buf, chunk, sizeof(chunk));
	assert_false(buf_failed(&buf));
	buf_add_char(&buf, 'x');
	assert_true(buf_failed(&buf));
	buf_clear(&buf);
}

static void
taking_hands_the_memory_over(void **state)
{
	struct buf buf = {0};
	char *text;

	(void)state;
	buf_add(&buf, "a\0b", 3);
	text = buf_take(&buf);
	assert_memory_equal(text, "a\0b", 4);
	assert_null(buf.data);
	free(text);
	text = buf_take(&buf);
	assert_string_equal(text, "");
	free(text);
}

static void
url_html_and_log_text_are_escaped(void **state)
{
	struct buf buf = {0};

	(void)state;
	buf_add_url(&buf, BYTES("/a-b_c.d~?x=1&y=\"\xc3\xa9\0 %"));
	assert_buf(&buf, "/a-b_c.d~%3Fx%3D1%26y%3D%22%C3%A9%00%20%25");
	buf_reset(&buf);
	buf_add_html(
	    &buf, BYTES("<a href='x'>\"&\xc3\xa9\n\x7f\0\xff\xc0\x80"));
	assert_buf(&buf, "&lt;a href=&#39;x&#39;&gt;&quot;&amp;\xc3\xa9"
			 "??????");
	buf_reset(&buf);
	buf_add_escaped(&buf,
	    BYTES("a\"b\\c\r\n\x1b[2J\x7f\0\xc3\xa9\xff\xc2\x9b\xc2\xa0"));
	assert_buf(&buf, "a\\x22b\\x5cc\\x0d\\x0a\\x1b[2J\\x7f\\x00\xc3\xa9"
			 "\\xff\\xc2\\x9b\xc2\xa0");
	buf_reset(&buf);
	buf_add_line(&buf, BYTES("a\"b\\x0a\n"));
	assert_buf(&buf, "a\"b\\x0a\\x0a");
	buf_clear(&buf);
}

/* ---- bytes ---- */

static void
bytes_compare_with_their_length(void **state)
{
	(void)state;
	assert_null(bytes_of(NULL).data);
	assert_int_equal(bytes_of("abc").len, 3);
	assert_true(bytes_equal(bytes_of(NULL), bytes_of("")));
	assert_true(bytes_equal_text(bytes_of("a"), "a"));
	assert_false(bytes_equal_text(BYTES("a\0"), "a"));
	assert_false(bytes_equal_text(bytes_of("a"), "ab"));
	assert_true(
	    bytes_equal_nocase(bytes_of("X-Csrf-TOKEN"), "x-csrf-token"));
	assert_false(bytes_equal_nocase(bytes_of("x"), "xy"));
	/* ASCII alone: '[' is '{' without the case bit. */
	assert_false(bytes_equal_nocase(bytes_of("["), "{"));
	assert_false(bytes_equal_nocase(BYTES("\xc3\x89"), "\xc3\xa9"));
}

static void
utf8_is_told_from_what_only_looks_like_it(void **state)
{
	static const struct sgate_bytes good[] = {BYTES(""), BYTES("abc"),
	    BYTES("\0"), BYTES("\x7f"), BYTES("\xc2\x80"), BYTES("\xdf\xbf"),
	    BYTES("\xe0\xa0\x80"), BYTES("\xed\x9f\xbf"), BYTES("\xee\x80\x80"),
	    BYTES("\xef\xbf\xbf"), BYTES("\xf0\x90\x80\x80"),
	    BYTES("\xf4\x8f\xbf\xbf"), BYTES("a\xc3\xa9z")};
	static const struct sgate_bytes bad[] = {BYTES("\x80"),
	    BYTES("\xbf"),                        /* alone */
	    BYTES("\xc0\x80"), BYTES("\xc1\xbf"), /* overlong */
	    BYTES("\xe0\x80\x80"), BYTES("\xe0\x9f\xbf"),
	    BYTES("\xf0\x80\x80\x80"), BYTES("\xf0\x8f\xbf\xbf"),
	    BYTES("\xed\xa0\x80"), BYTES("\xed\xbf\xbf"), /* surrogates */
	    BYTES("\xf4\x90\x80\x80"), BYTES("\xf5\x80\x80\x80"),
	    BYTES("\xf8\x88\x80\x80\x80"), BYTES("\xfe"), BYTES("\xff"),
	    BYTES("\xc3"), BYTES("\xe2\x82"), BYTES("\xf0\x9f\x98"), /* cut */
	    BYTES("\xc3\x28"), BYTES("\xe2\x28\xa1"), BYTES("\xe2\x82\x28"),
	    BYTES("\xf0\x9f\x98\x28"), BYTES("abc\xc3")};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(bytes_is_utf8(good[i]));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(bytes_is_utf8(bad[i]));
}

/* Any byte at any place of texts shorter and longer than a word. */
static void
assert_control_is_found_everywhere(void)
{
	unsigned char text[24];
	struct sgate_bytes bytes = {(char *)text, 0};
	unsigned c;
	size_t at;

	for (bytes.len = 1; bytes.len <= sizeof(text); bytes.len++) {
		for (at = 0; at < bytes.len; at++) {
			for (c = 0; c < 256; c++) {
				memset(text, c % 2 == 0 ? 0x80 : ' ',
				    sizeof(text));
				text[at] = (unsigned char)c;
				assert_int_equal(bytes_has_control(bytes),
				    c < 0x20 || c == 0x7f);
			}
		}
	}
}

static void
control_bytes_and_names_are_found(void **state)
{
	(void)state;
	assert_true(bytes_has_control(BYTES("a\0")));
	assert_true(bytes_has_control(BYTES("\x1f")));
	assert_true(bytes_has_control(BYTES("\x7f")));
	assert_false(bytes_has_control(BYTES(" ~\x80\xff")));
	assert_control_is_found_everywhere();
	assert_true(bytes_equal_text(bytes_trim(BYTES(" \t a b\t ")), "a b"));
	assert_int_equal(bytes_trim(BYTES(" \t ")).len, 0);
	assert_int_equal(bytes_trim(BYTES("")).len, 0);
	assert_true(bytes_is_name(BYTES("aZ09._-"), 7, "._-"));
	assert_false(bytes_is_name(BYTES("aZ09._-"), 6, "._-"));
	assert_false(bytes_is_name(BYTES(""), 8, "._-"));
	assert_false(bytes_is_name(BYTES("a\0"), 8, "._-"));
	assert_false(bytes_is_name(BYTES("a/b"), 8, "._-"));
	assert_false(bytes_is_name(BYTES("\xc3\xa9"), 8, "._-"));
}

static void
numbers_are_read_up_to_their_limit(void **state)
{
	uint64_t value;

	(void)state;
	assert_true(bytes_to_uint(BYTES("0"), 0, &value));
	assert_int_equal(value, 0);
	assert_true(
	    bytes_to_uint(BYTES("18446744073709551615"), UINT64_MAX, &value));
	assert_true(value == UINT64_MAX);
	assert_false(
	    bytes_to_uint(BYTES("18446744073709551616"), UINT64_MAX, &value));
	assert_int_equal(value, 0);
	assert_false(bytes_to_uint(
	    BYTES("99999999999999999999999"), UINT64_MAX, &value));
	assert_true(bytes_to_uint(BYTES("0200"), 200, &value));
	assert_int_equal(value, 200);
	assert_false(bytes_to_uint(BYTES("201"), 200, &value));
	assert_false(bytes_to_uint(BYTES("1"), 0, &value));
	assert_false(bytes_to_uint(BYTES(""), 9, &value));
	assert_false(bytes_to_uint(BYTES("+1"), 9, &value));
	assert_false(bytes_to_uint(BYTES("-1"), 9, &value));
	assert_false(bytes_to_uint(BYTES(" 1"), 9, &value));
	assert_false(bytes_to_uint(BYTES("1 "), 9, &value));
	assert_false(bytes_to_uint(BYTES("1\0"), 99, &value));
	assert_false(bytes_to_uint(BYTES("0x1"), 99, &value));
}

static void
bytes_are_copied_with_a_nul(void **state)
{
	char *copy = bytes_dup(BYTES("a\0b"));

	(void)state;
	assert_memory_equal(copy, "a\0b", 4);
	free(copy);
	copy = bytes_dup((struct sgate_bytes){NULL, 0});
	assert_string_equal(copy, "");
	free(copy);
}

/* ---- addresses ---- */

static void
assert_address(const char *text, size_t len, const char *again)
{
	unsigned char address[16];
	char out[46];

	assert_int_equal(address_parse(bytes_of(text), address), len);
	address_text(address, len, out);
	assert_string_equal(out, again);
}

static void
addresses_go_to_bytes_and_back(void **state)
{
	(void)state;
	assert_address("192.0.2.1", 4, "192.0.2.1");
	assert_address("0.0.0.0", 4, "0.0.0.0");
	assert_address("255.255.255.255", 4, "255.255.255.255");
	assert_address("::", 16, "::");
	assert_address("2001:DB8:0:0::1", 16, "2001:db8::1");
	assert_address("::ffff:192.0.2.1", 4, "192.0.2.1");
	assert_address("::FFFF:c000:201", 4, "192.0.2.1");
	assert_address("::192.0.2.1", 16, "::192.0.2.1");
	assert_address("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", 16,
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

static void
what_is_no_address_is_refused(void **state)
{
	static const char *const bad[] = {"", "localhost", "1.2.3", "1.2.3.4.5",
	    "256.1.1.1", "1.2.3.4 ", " 1.2.3.4", "01.2.3.4", "0x7f.1.1.1",
	    "1.2.3.4:80", "[::1]", "fe80::1%eth0", ":::", "1::2::3",
	    "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555"};
	unsigned char address[16], zero[16] = {0};
	char out[46];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(address, 'x', sizeof(address));
		assert_int_equal(address_parse(bytes_of(bad[i]), address), 0);
		assert_memory_equal(address, zero, 16);
	}
	assert_int_equal(address_parse(BYTES("1.2.3.4\0"), address), 0);
	assert_int_equal(address_parse(BYTES("1.2.3.4\0.5"), address), 0);
	address_text(address, 0, out);
	assert_string_equal(out, "");
	address_text(address, 5, out);
	assert_string_equal(out, "");
}

static void
an_address_may_have_a_port(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *address;
		unsigned port;
	} cases[] = {{"10.0.0.1", 4, "10.0.0.1", 7},
	    {"10.0.0.1:80", 4, "10.0.0.1", 80}, {"::1", 16, "::1", 7},
	    {"[::1]", 16, "::1", 7}, {"[::1]:65535", 16, "::1", 65535},
	    {"2001:db8::1:80", 16, "2001:db8::1:80", 7}};
	static const char *const bad[] = {"", ":", ":80",
	    "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:8x",
	    "10.0.0.1:+8", "a:80", "[::1", "[::1]80", "[::1]:", "[::1]:0",
	    "[]:80", "[::1]]:1", "10.0.0.1:80:80", "::1:"};
	unsigned char address[16];
	char out[46];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned port = 7;
		size_t len = address_port_parse(cases[i].text, address, &port);

		assert_int_equal(len, cases[i].len);
		assert_int_equal(port, cases[i].port);
		address_text(address, len, out);
		assert_string_equal(out, cases[i].address);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		unsigned port = 7;

		assert_int_equal(address_port_parse(bad[i], address, &port), 0);
		assert_int_equal(port, 7);
	}
}

/* ---- JSON ---- */

static void
json_has_its_commas(void **state)
{
	struct buf buf = {0};
	struct json json;

	(void)state;
	json_init(&json, &buf);
	json_object(&json, NULL);
	json_int(&json, "a", -1);
	json_array(&json, "b");
	json_bool(&json, NULL, true);
	json_bool(&json, NULL, false);
	json_null(&json, NULL);
	json_object(&json, NULL);
	json_end(&json);
	json_array(&json, NULL);
	json_end(&json);
	json_end(&json);
	json_raw(&json, "c", BYTES("{\"x\":1}"));
	json_text(&json, "d", "e");
	json_text(&json, "f", NULL);
	json_end(&json);
	assert_int_equal(json.depth, 0);
	assert_buf(&buf, "{\"a\":-1,\"b\":[true,false,null,{},[]],"
			 "\"c\":{\"x\":1},\"d\":\"e\",\"f\":\"\"}");
	buf_clear(&buf);
}

static void
json_strings_are_escaped(void **state)
{
	struct buf buf = {0};
	struct json json;

	(void)state;
	json_init(&json, &buf);
	json_string(
	    &json, "k\"\n", BYTES("\"\\/\n\t\0\x1f\x7f\xc3\xa9\xff\xc3"));
	assert_buf(&buf,
	    "\"k\\\"\\n\":\"\\\"\\\\/\\n\\u0009\\u0000\\u001f\\u007f\xc3\xa9"
	    "\xef\xbf\xbd\xef\xbf\xbd\"");
	buf_clear(&buf);
}

static void
json_deeper_than_16_fails_the_buffer(void **state)
{
	struct buf buf = {0};
	struct json json;
	int i;

	(void)state;
	json_init(&json, &buf);
	for (i = 0; i < 16; i++)
		json_array(&json, NULL);
	for (i = 0; i < 16; i++)
		json_end(&json);
	assert_buf(&buf, "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]");
	buf_reset(&buf);
	json_init(&json, &buf);
	for (i = 0; i < 20; i++)
		json_array(&json, NULL);
	for (i = 0; i < 20; i++)
		json_end(&json);
	assert_true(buf_failed(&buf));
	buf_clear(&buf);
}

/* ---- time ---- */

static void
time_is_written_as_utc(void **state)
{
	char text[25];

	(void)state;
	clock_text(INT64_C(1795356185123), text);
	assert_string_equal(text, "2026-11-22T14:03:05.123Z");
	clock_text(0, text);
	assert_string_equal(text, "1970-01-01T00:00:00.000Z");
	clock_text(INT64_MIN, text);
	assert_string_equal(text, "1970-01-01T00:00:00.000Z");
	clock_text(INT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

static void
what_is_left_of_a_deadline_fits_poll(void **state)
{
	int64_t now_ms = clock_monotonic_ms();
	int left;

	(void)state;
	assert_true(clock_utc_ms() > INT64_C(1600000000000));
	assert_true(clock_monotonic_us() / 1000 >= now_ms);
	assert_int_equal(clock_left_ms(now_ms - 1), 0);
	assert_int_equal(clock_left_ms(INT64_MIN), 0);
	assert_int_equal(clock_left_ms(INT64_MAX), INT_MAX);
	left = clock_left_ms(now_ms + 60000);
	assert_true(left > 50000 && left <= 60000);
}

static void
bytes_are_cut_at_the_first_separator(void **state)
{
	struct sgate_bytes rest = BYTES("a;;b;");

	(void)state;
	assert_true(bytes_equal_text(bytes_cut(&rest, ';'), "a"));
	assert_true(bytes_equal_text(bytes_cut(&rest, ';'), ""));
	assert_true(bytes_equal_text(bytes_cut(&rest, ';'), "b"));
	/* A last part that is empty is told from none. */
	assert_non_null(rest.data);
	assert_int_equal(rest.len, 0);
	assert_int_equal(bytes_cut(&rest, ';').len, 0);
	assert_null(rest.data);
	assert_int_equal(bytes_cut(&rest, ';').len, 0);
	assert_null(rest.data);
}

static void
what_was_appended_is_taken_back(void **state)
{
	struct buf buf = {0};

	(void)state;
	buf_cut(&buf, 0);
	buf_add(&buf, "abcd", 4);
	buf_add(&buf, NULL, 0);
	buf_add(&buf, "abcd", 4);
	assert_string_equal(buf_text(&buf), "abcdabcd");
	buf_cut(&buf, 9);
	buf_cut(&buf, 8);
	assert_int_equal(buf.len, 8);
	buf_cut(&buf, 5);
	assert_string_equal(buf_text(&buf), "abcda");
	buf_cut(&buf, 0);
	assert_string_equal(buf_text(&buf), "");
	buf_clear(&buf);
}

static void
integers_have_all_their_digits(void **state)
{
	char text[32], expected[32];
	int64_t value = 1, place;
	int i, j;

	(void)state;
	for (i = 0; i < 62; i++, value *= 2) {
		for (j = -1; j <= 1; j++) {
			snprintf(expected, sizeof(expected), "%lld",
			    (long long)(i % 2 ? value + j : -value + j));
			memset(text, 0, sizeof(text));
			assert_int_equal(
			    int_text(i % 2 ? value + j : -value + j, text),
			    strlen(expected));
			assert_string_equal(text, expected);
		}
	}
	/* Each pair of digits at each place of ten. */
	for (i = 0; i < 100; i++) {
		for (place = 1; place <= 100000000; place *= 100) {
			value = 1000000000 + i * place;
			snprintf(expected, sizeof(expected), "%lld",
			    (long long)value);
			memset(text, 0, sizeof(text));
			assert_int_equal(
			    int_text(value, text), strlen(expected));
			assert_string_equal(text, expected);
		}
	}
	for (i = 0; i < 1000; i++) {
		snprintf(expected, sizeof(expected), "%d", i);
		memset(text, 0, sizeof(text));
		assert_int_equal(int_text(i, text), strlen(expected));
		assert_string_equal(text, expected);
	}
	memset(text, 0, sizeof(text));
	assert_int_equal(int_text(INT64_MIN, text), 20);
	assert_string_equal(text, "-9223372036854775808");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_was_appended_is_taken_back),
    cmocka_unit_test(integers_have_all_their_digits),
    cmocka_unit_test(bytes_are_cut_at_the_first_separator),
    cmocka_unit_test(an_empty_buffer_is_an_empty_text),
    cmocka_unit_test(a_buffer_grows_over_every_step),
    cmocka_unit_test(numbers_and_hex_are_appended),
    cmocka_unit_test(a_buffer_that_cannot_grow_stays_failed),
    cmocka_unit_test(a_buffer_ends_at_64_mib),
    cmocka_unit_test(taking_hands_the_memory_over),
    cmocka_unit_test(url_html_and_log_text_are_escaped),
    cmocka_unit_test(bytes_compare_with_their_length),
    cmocka_unit_test(utf8_is_told_from_what_only_looks_like_it),
    cmocka_unit_test(control_bytes_and_names_are_found),
    cmocka_unit_test(numbers_are_read_up_to_their_limit),
    cmocka_unit_test(bytes_are_copied_with_a_nul),
    cmocka_unit_test(addresses_go_to_bytes_and_back),
    cmocka_unit_test(what_is_no_address_is_refused),
    cmocka_unit_test(an_address_may_have_a_port),
    cmocka_unit_test(json_has_its_commas),
    cmocka_unit_test(json_strings_are_escaped),
    cmocka_unit_test(json_deeper_than_16_fails_the_buffer),
    cmocka_unit_test(time_is_written_as_utc),
    cmocka_unit_test(what_is_left_of_a_deadline_fits_poll)};

TAP_MAIN(tests)
