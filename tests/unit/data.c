/* JSON: what is let through, what it means, RFC 7396, exports. */
#include "tap.h"

#include "data.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <sodium.h>

#define MAX_BYTES (64 * 1024)

static enum sgate_status
scan(const char *text)
{
	return data_scan(bytes_of(text), MAX_BYTES, NULL);
}

static void
taken(const char *text)
{
	struct sgate_error err;

	if (data_scan(bytes_of(text), MAX_BYTES, &err) != SGATE_OK)
		fail_msg("%s: %s", text, err.text);
}

static void
refused(const char *text, const char *words)
{
	struct sgate_error err;

	if (data_scan(bytes_of(text), MAX_BYTES, &err) != SGATE_INVALID)
		fail_msg("taken: %s", text);
	if (strstr(err.text, words) == NULL)
		fail_msg("%s: \"%s\" is not in: %s", text, words, err.text);
}

static struct data *
parse(const char *text)
{
	struct sgate_error err;
	struct data *data;

	if (data_parse(bytes_of(text), MAX_BYTES, &data, &err) != SGATE_OK)
		fail_msg("%s: %s", text, err.text);
	return data;
}

static void
prints(const struct data *data, const char *expected)
{
	struct buf out;

	buf_init(&out);
	assert_int_equal(data_print(data, &out, NULL), SGATE_OK);
	assert_string_equal(buf_text(&out), expected);
	assert_int_equal(data_scan(buf_bytes(&out), MAX_BYTES, NULL), SGATE_OK);
	buf_clear(&out);
}

static void
reprints(const char *text, const char *expected)
{
	struct data *data = parse(text);

	prints(data, expected);
	data_free(data);
}

/* `count` times `part`, between head and tail. free() it. */
static char *
repeated(const char *head, const char *part, size_t count, const char *tail)
{
	struct buf buf;

	buf_init(&buf);
	buf_add_text(&buf, head);
	while (count-- > 0)
		buf_add_text(&buf, part);
	buf_add_text(&buf, tail);
	return buf_take(&buf);
}

/* An object with `count` members "m0", "m1", ... */
static char *
members(size_t count)
{
	struct buf buf;
	size_t i;

	buf_init(&buf);
	buf_add_char(&buf, '{');
	for (i = 0; i < count; i++)
		buf_printf(&buf, "%s\"m%zu\":1", i == 0 ? "" : ",", i);
	buf_add_char(&buf, '}');
	return buf_take(&buf);
}

/* ---- the scan ---- */

static void
right_texts_are_taken(void **state)
{
	(void)state;
	taken("{}");
	taken(" \t\r\n{ \t\r\n} \t\r\n");
	taken("{\"\":\"\"}");
	taken("{\"a\":[],\"b\":{},\"c\":[{}],\"d\":[1,\"x\",null,true,false]}");
	taken("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD834\\uDd1e\"}");
	taken(
	    "{\"a\":\"\x7f\xc2\x80\xe2\x82\xac\xef\xbf\xbf\xf4\x8f\xbf\xbf\"}");
	taken("{\"a\":\"\\u0001\\u001f\\uFFFF\"}");
	taken("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}");
}

static void
wrong_texts_are_refused_with_the_offset(void **state)
{
	(void)state;
	refused("", "byte 0: an object was expected");
	refused("   ", "byte 3: an object");
	refused("[]", "byte 0: an object");
	refused("\"a\"", "byte 0: an object");
	refused("1", "byte 0: an object");
	refused("null", "byte 0: an object");
	refused("\xef\xbb\xbf{}", "byte 0: an object");
	refused("{}x", "byte 2: more text");
	refused("{}{}", "byte 2: more text");
	refused("{} //", "byte 3: more text");
	refused("{", "byte 1: a member's name");
	refused("{,}", "byte 1: a member's name");
	refused("{a:1}", "byte 1: a member's name");
	refused("{'a':1}", "byte 1: a member's name");
	refused("{\"a\"}", "byte 4: ':' was");
	refused("{\"a\" 1}", "byte 5: ':' was");
	refused("{\"a\":}", "byte 5: a value");
	refused("{\"a\":1,}", "byte 7: a member's name");
	refused("{\"a\":1", "byte 6: the text ends");
	refused("{\"a\":", "byte 5: the text ends");
	refused("{\"a\":1 \"b\":2}", "byte 7: ',' or '}'");
	refused("{\"a\":1]", "byte 6: ',' or '}'");
	refused("{\"a\":[1,]}", "byte 8: a value");
	refused("{\"a\":[,1]}", "byte 6: a value");
	refused("{\"a\":[1}", "byte 7: ',' or ']'");
	refused("{\"a\":[1 2]}", "byte 8: ',' or ']'");
	refused("{\"a\":[}", "byte 6: a value");
	refused("{\"a\":tru}", "byte 5: neither");
	refused("{\"a\":True}", "byte 5: a value");
	refused("{\"a\":nullx}", "byte 9: ',' or '}'");
	refused("{\"a\":NaN}", "byte 5: a value");
	refused("{\"a\":Infinity}", "byte 5: a value");
	refused("{\"a\":\f1}", "byte 5: a value");
	refused("{\"a\":\xc2\xa0"
		"1}",
	    "byte 5: a value");
	refused("{/**/}", "byte 1: a member's name");
}

static void
wrong_strings_are_refused(void **state)
{
	(void)state;
	refused("{\"a\":\"", "byte 6: the string is not closed");
	refused("{\"a\":\"\\", "byte 6: the string is not closed");
	refused("{\"a\":\"\\\"}", "the string is not closed");
	refused("{\"a\":\"\n\"}", "byte 6: control byte");
	refused("{\"a\":\"\x1f\"}", "byte 6: control byte");
	refused("{\"a\tb\":1}", "byte 3: control byte");
	refused("{\"a\":\"\\x41\"}", "byte 6: unknown escape");
	refused("{\"a\":\"\\'\"}", "byte 6: unknown escape");
	refused("{\"a\":\"\\U0041\"}", "byte 6: unknown escape");
	refused("{\"a\":\"\\u\"}", "byte 6: \\u needs four");
	refused("{\"a\":\"\\u12\"}", "byte 6: \\u needs four");
	refused("{\"a\":\"\\u12g4\"}", "byte 6: \\u needs four");
	refused("{\"a\":\"\\u+123\"}", "byte 6: \\u needs four");
	refused("{\"a\":\"admin\\u0000x\"}", "byte 11: \\u0000");
	refused("{\"a\\u0000\":1}", "byte 3: \\u0000");
	refused("{\"a\":\"\\ud800\"}", "byte 6: half of");
	refused("{\"a\":\"\\ud800x\"}", "byte 6: half of");
	refused("{\"a\":\"\\ud800\\n\"}", "byte 6: half of");
	refused("{\"a\":\"\\ud800\\u0041\"}", "byte 6: half of");
	refused("{\"a\":\"\\ud800\\ud800\"}", "byte 6: half of");
	refused("{\"a\":\"\\udc00\"}", "byte 6: half of");
	refused("{\"a\":\"\\udc00\\ud800\"}", "byte 6: half of");
	refused("{\"a\":\"\\ud834\\udd1", "half of");
}

static void
bytes_that_are_not_utf8_are_refused(void **state)
{
	static const char *const wrong[] = {"\x80", "\xbf", "\xc0\x80",
	    "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x80\x80", "\xe0\x9f\xbf",
	    "\xe2\x82", "\xe2\x82\x41", "\xed\xa0\x80", "\xed\xbf\xbf",
	    "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
	    "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xfe", "\xff"};
	char text[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(text, sizeof(text), "{\"a\":\"%s\"}", wrong[i]);
		refused(text, "byte 6: not UTF-8");
		snprintf(text, sizeof(text), "{\"%s\":1}", wrong[i]);
		refused(text, "byte 2: not UTF-8");
	}
}

static void
a_nul_byte_is_refused_everywhere(void **state)
{
	static const char text[] = "{ \"a\" : [ \"b\" , 12 , true ] } ";
	char changed[sizeof(text)];
	struct sgate_bytes bytes = {changed, sizeof(text) - 1};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(text) - 1; i++) {
		memcpy(changed, text, sizeof(text));
		assert_int_equal(data_scan(bytes, MAX_BYTES, NULL), SGATE_OK);
		changed[i] = '\0';
		assert_int_equal(
		    data_scan(bytes, MAX_BYTES, NULL), SGATE_INVALID);
	}
}

static void
every_prefix_is_refused_and_nothing_behind_is_read(void **state)
{
	static const char text[] =
	    "{\"a\\u00e9\":[1,-2.5e+3,\"\\ud834\\udd1e\xe2\x82\xac\",true],"
	    "\"b\":{\"c\":null}}";
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t len;
	char *map;

	(void)state;
	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(map != MAP_FAILED);
	assert_int_equal(mprotect(map + page, page, PROT_NONE), 0);
	for (len = 0; len < sizeof(text); len++) {
		struct sgate_bytes bytes = {map + page - len, len};
		enum sgate_status expected =
		    len == sizeof(text) - 1 ? SGATE_OK : SGATE_INVALID;
		struct data *data;

		memcpy(map + page - len, text, len);
		if (data_parse(bytes, MAX_BYTES, &data, NULL) != expected)
			fail_msg("prefix of %zu bytes", len);
		data_free(data);
		if (expected == SGATE_OK)
			break;
	}
	munmap(map, 2 * page);
}

static void
numbers_follow_the_grammar(void **state)
{
	static const char *const right[] = {"0", "-0", "1", "-1", "10", "0.5",
	    "-0.5", "1e5", "1E+5", "1e-5", "1.25e10", "0e0", "1e308", "1e-400",
	    "9007199254740991", "-9007199254740991", "1e300", "0.1",
	    "12345678901234567.5"};
	static const char *const wrong[] = {"-", "+1", ".5", "5.", "1.e5", "1e",
	    "1e+", "--1", "00", "01", "-01", "0x10", "1.2.3", "1e5.5", "1_0",
	    "9007199254740992", "-9007199254740992", "9007199254740993",
	    "18446744073709551616", "99999999999999999999999", "1e309", "1e999",
	    "-1e999", "1e99999999999999999999"};
	char text[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		snprintf(text, sizeof(text), "{\"a\":%s}", right[i]);
		taken(text);
		snprintf(text, sizeof(text), "{\"a\":[%s ]}", right[i]);
		taken(text);
	}
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(text, sizeof(text), "{\"a\":%s}", wrong[i]);
		refused(text, "byte ");
	}
}

static void
a_number_has_at_most_63_bytes(void **state)
{
	char *longest = repeated("{\"a\":1.", "0", 61, "}");
	char *longer = repeated("{\"a\":1.", "0", 62, "}");
	char *huge = repeated("{\"a\":", "1", 60000, "}");

	(void)state;
	reprints(longest, "{\"a\":1}");
	refused(longer, "byte 5: a number of more than 63");
	refused(huge, "byte 5: a number of more than 63");
	free(longest);
	free(longer);
	free(huge);
}

static void
depth_16_is_taken_and_17_is_not(void **state)
{
	char *text;

	(void)state;
	text = repeated("{\"a\":", "[", 15, "]]]]]]]]]]]]]]]}");
	taken(text);
	free(text);
	text = repeated("{\"a\":", "[", 16, "]]]]]]]]]]]]]]]]}");
	refused(text, "byte 20: too deep");
	free(text);
	text = repeated("", "{\"a\":", 16, "1}}}}}}}}}}}}}}}}");
	taken(text);
	free(text);
	text = repeated("", "{\"a\":", 17, "1}}}}}}}}}}}}}}}}}");
	refused(text, "byte 80: too deep");
	free(text);
	/* Depth counts what is open, not what was. */
	text = repeated("{\"a\":[", "[[]],", 5000, "1]}");
	taken(text);
	free(text);
}

static void
bombs_are_refused(void **state)
{
	struct sgate_bytes bytes;
	char *text;

	(void)state;
	text = repeated("{\"a\":", "[", 64 * 1024 - 5, "");
	refused(text, "byte 20: too deep");
	free(text);
	text = repeated("", "{\"a\":", 13000, "");
	refused(text, "byte 80: too deep");
	free(text);
	text = members(1000000);
	bytes = bytes_of(text);
	assert_int_equal(scan(text), SGATE_TOO_LARGE);
	assert_int_equal(
	    data_scan(bytes, bytes.len - 1, NULL), SGATE_TOO_LARGE);
	assert_int_equal(data_scan(bytes, bytes.len, NULL), SGATE_INVALID);
	free(text);
}

static void
members_count_in_all_objects_together(void **state)
{
	char *text;

	(void)state;
	text = members(1024);
	taken(text);
	free(text);
	text = members(1025);
	refused(text, "too many members");
	free(text);
	text = repeated("{\"x\":[", "{\"a\":1,\"b\":2},", 511, "{\"a\":1}]}");
	taken(text);
	free(text);
	text = repeated("{\"x\":[", "{\"a\":1,\"b\":2},", 512, "{}]}");
	refused(text, "too many members");
	free(text);
	/* Elements of arrays are not members. */
	text = repeated("{\"x\":[", "1,", 20000, "1]}");
	taken(text);
	free(text);
}

static void
a_member_may_not_stand_twice_however_it_is_spelled(void **state)
{
	(void)state;
	refused("{\"a\":1,\"a\":2}", "byte 8: this member stands twice");
	refused("{\"a\":1,\"\\u0061\":2}", "stands twice");
	refused("{\"\\u0061\":1,\"a\":2}", "stands twice");
	refused("{\"\\u00e9\":1,\"\xc3\xa9\":2}", "stands twice");
	refused("{\"\\u00E9\":1,\"\\u00e9\":2}", "stands twice");
	refused("{\"\\u20ac\":1,\"\xe2\x82\xac\":2}", "stands twice");
	refused(
	    "{\"\\ud834\\udd1e\":1,\"\xf0\x9d\x84\x9e\":2}", "stands twice");
	refused("{\"\\n\":1,\"\\u000a\":2}", "stands twice");
	refused("{\"\\/\":1,\"/\":2}", "stands twice");
	refused("{\"\\\\\":1,\"\\u005c\":2}", "stands twice");
	refused("{\"\\\"\":1,\"\\u0022\":2}", "stands twice");
	refused("{\"\":1,\"\":2}", "stands twice");
	refused("{\"a\":1,\"b\":{\"c\":1,\"d\":2,\"c\":3}}", "byte 25: this");
	refused("{\"a\":[{\"b\":1},{\"b\":1,\"b\":1}]}", "stands twice");
	refused("{\"a\":{\"x\":1},\"b\":2,\"a\":3}", "stands twice");
	taken("{\"a\":1,\"A\":2,\"aa\":3,\"\":4,\" a\":5,\"a \":6}");
	taken("{\"a\":{\"a\":{\"a\":1}}}");
	/* Canonically equivalent is not equal. */
	taken("{\"\xc3\xa9\":1,\"e\xcc\x81\":2}");
}

static void
many_members_with_long_common_beginnings_are_sorted_fast(void **state)
{
	struct buf buf;
	int i;

	(void)state;
	buf_init(&buf);
	buf_add_char(&buf, '{');
	for (i = 0; i < 1023; i++)
		buf_printf(&buf, "\"%050d\":1,", i * 7919 % 1024);
	buf_printf(&buf, "\"%050d\":1}", 1023 * 7919 % 1024);
	assert_int_equal(data_scan(buf_bytes(&buf), MAX_BYTES, NULL), SGATE_OK);
	/* The last name becomes that of the first one. */
	memset(buf.data + buf.len - 54, '0', 50);
	assert_int_equal(
	    data_scan(buf_bytes(&buf), MAX_BYTES, NULL), SGATE_INVALID);
	buf_clear(&buf);
}

/* ---- parsing and printing ---- */

static void
what_is_printed_means_the_same(void **state)
{
	(void)state;
	reprints("{ \"b\" : [ 1 , { } , [ ] , null ] , \"a\" : true }",
	    "{\"b\":[1,{},[],null],\"a\":true}");
	reprints("{\"a\":\"\\u00e9\\u20ac\\ud834\\udd1e\\/\"}",
	    "{\"a\":\"\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e/\"}");
	reprints("{\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\":false}",
	    "{\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\":false}");
	reprints("{} \n", "{}");
}

static void
numbers_keep_their_value(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
	    {"9007199254740991", "9007199254740991"},
	    {"-9007199254740991", "-9007199254740991"},
	    {"4503599627370497", "4503599627370497"},
	    {"1234567890123456", "1234567890123456"},
	    {"1e15", "1000000000000000"},
	    {"1.0", "1"},
	    {"-0", "0"},
	    {"-0.0", "0"},
	    {"100", "100"},
	    {"1.5e3", "1500"},
	    {"0.1", "0.1"},
	    {"0.30000000000000004", "0.30000000000000004"},
	    {"-2.5", "-2.5"},
	    {"1e16", "1e+16"},
	    {"12345678901234567.5", "12345678901234568.0"},
	    {"1e17", "1e+17"},
	    {"1e300", "1e+300"},
	    {"1.7976931348623157e308", "1.7976931348623157e+308"},
	    {"5e-324", "4.94065645841247e-324"},
	    {"1e-400", "0"},
	};
	char text[64], expected[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "{\"a\":%s}", cases[i].in);
		snprintf(
		    expected, sizeof(expected), "{\"a\":%s}", cases[i].out);
		reprints(text, expected);
		reprints(expected, expected);
	}
}

static void
a_locale_with_decimal_commas_changes_nothing(void **state)
{
	static const char *const names[] = {
	    "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", NULL};
	size_t i;

	(void)state;
	for (i = 0; names[i] != NULL; i++)
		if (setlocale(LC_NUMERIC, names[i]) != NULL)
			break;
	if (names[i] == NULL) {
		print_message("# no such locale is installed here\n");
		return;
	}
	reprints("{\"a\":1.5,\"b\":1e-7}", "{\"a\":1.5,\"b\":1e-07}");
	assert_string_equal(localeconv()->decimal_point, ",");
	setlocale(LC_NUMERIC, "C");
}

static void
random_texts_do_no_harm_and_print_to_what_is_taken(void **state)
{
	static const char text[] =
	    "{\"a\":[1,-2.5e+3,\"\\ud834\\udd1e\xe2\x82\xac\",true],\"b\":{\"c"
	    "\":null,\"d\":\"x\"},\"e\":123}";
	static const char pieces[] = "{}[]:,\"\\u0aeE+-.19 \xc3\xa9tn";
	static const unsigned char seed[randombytes_SEEDBYTES] = {3};
	static unsigned char noise[10000 * 16];
	char changed[sizeof(text)];
	unsigned good = 0;
	size_t i, j;

	(void)state;
	print_message("# seed: 03 and 31 zero bytes\n");
	randombytes_buf_deterministic(noise, sizeof(noise), seed);
	for (i = 0; i < 10000; i++) {
		const unsigned char *n = noise + 16 * i;
		struct sgate_bytes bytes = {changed, sizeof(text) - 1};
		struct data *data, *again;
		struct buf first, second;

		memcpy(changed, text, sizeof(text));
		for (j = 0; j < 1u + n[0] % 5; j++)
			changed[n[1 + 2 * j] % (sizeof(text) - 1)] =
			    n[0] & 0x80
				? (char)n[2 + 2 * j]
				: pieces[n[2 + 2 * j] % (sizeof(pieces) - 1)];
		if (data_parse(bytes, MAX_BYTES, &data, NULL) != SGATE_OK) {
			assert_null(data);
			continue;
		}
		good++;
		buf_init(&first);
		buf_init(&second);
		assert_int_equal(data_print(data, &first, NULL), SGATE_OK);
		assert_int_equal(
		    data_parse(buf_bytes(&first), MAX_BYTES, &again, NULL),
		    SGATE_OK);
		assert_int_equal(data_print(again, &second, NULL), SGATE_OK);
		assert_string_equal(buf_text(&first), buf_text(&second));
		data_free(data);
		data_free(again);
		buf_clear(&first);
		buf_clear(&second);
	}
	assert_in_range(good, 100, 9900);
	for (i = 0; i + 64 <= sizeof(noise); i += 16) {
		struct sgate_bytes bytes = {(char *)noise + i, 64};

		assert_int_equal(
		    data_scan(bytes, MAX_BYTES, NULL), SGATE_INVALID);
	}
}

static void
answers_may_be_larger_than_data(void **state)
{
	char *text = repeated(
	    "{\"sessions\":[", "{\"ref\":\"r\",\"n\":1},", 5000, "{}]}");
	struct data *data;
	char *deep;

	(void)state;
	assert_int_equal(
	    data_parse(bytes_of(text), 1 << 20, &data, NULL), SGATE_INVALID);
	assert_int_equal(
	    data_parse_answer(bytes_of(text), 1 << 20, &data, NULL), SGATE_OK);
	assert_int_equal(data_array_count(data, "sessions"), 5001);
	assert_int_equal(data_array_count(data, "none"), 0);
	assert_non_null(data_array_object(data, "sessions", 5000));
	assert_null(data_array_object(data, "sessions", 5001));
	assert_null(data_array_object(data, "none", 0));
	assert_int_equal(data_kind(data_array_object(data, "sessions", 7), "n"),
	    DATA_INTEGER);
	data_free(data);
	free(text);
	deep = repeated("", "{\"a\":", 20, "1}}}}}}}}}}}}}}}}}}}}");
	assert_int_equal(
	    data_parse_answer(bytes_of(deep), 1 << 20, &data, NULL), SGATE_OK);
	data_free(data);
	free(deep);
	deep = repeated("", "{\"a\":", 21, "1}}}}}}}}}}}}}}}}}}}}}");
	assert_int_equal(
	    data_parse_answer(bytes_of(deep), 1 << 20, &data, NULL),
	    SGATE_INVALID);
	free(deep);
	assert_int_equal(data_parse_answer(bytes_of("{\"a\":1,\"a\":2}"),
			     1 << 20, &data, NULL),
	    SGATE_INVALID);
}

/* ---- members ---- */

static void
members_are_found_by_kind_and_exact_name(void **state)
{
	struct data *data = parse(
	    "{\"s\":\"x\\u00e9\",\"i\":-7,\"f\":1.5,\"t\":true,\"n\":null,"
	    "\"l\":[\"a\",\"\"],\"e\":[],\"m\":[\"a\",1],\"o\":{\"k\":1},"
	    "\"w\":1.0,\"x\":1e16}");
	struct sgate_bytes *items;
	struct sgate_bytes text;
	struct buf out;
	int64_t integer;
	size_t count;
	bool truth;

	(void)state;
	assert_int_equal(data_kind(data, "s"), DATA_STRING);
	assert_int_equal(data_kind(data, "S"), DATA_ABSENT);
	assert_int_equal(data_kind(data, "i"), DATA_INTEGER);
	assert_int_equal(data_kind(data, "f"), DATA_NUMBER);
	assert_int_equal(data_kind(data, "t"), DATA_BOOL);
	assert_int_equal(data_kind(data, "n"), DATA_NULL);
	assert_int_equal(data_kind(data, "l"), DATA_ARRAY);
	assert_int_equal(data_kind(data, "o"), DATA_OBJECT);
	assert_int_equal(data_kind(data, "w"), DATA_INTEGER);
	assert_int_equal(data_kind(data, "x"), DATA_NUMBER);
	assert_string_equal(data_member_at(data, 0), "s");
	assert_string_equal(data_member_at(data, 10), "x");
	assert_null(data_member_at(data, 11));

	assert_true(data_get_string(data, "s", &text));
	assert_true(bytes_equal_text(text, "x\xc3\xa9"));
	assert_false(data_get_string(data, "i", &text));
	assert_null(text.data);
	assert_true(data_get_integer(data, "i", &integer));
	assert_int_equal(integer, -7);
	assert_true(data_get_integer(data, "w", &integer));
	assert_int_equal(integer, 1);
	assert_false(data_get_integer(data, "f", &integer));
	assert_false(data_get_integer(data, "x", &integer));
	assert_false(data_get_integer(data, "s", &integer));
	assert_int_equal(integer, 0);
	assert_true(data_get_bool(data, "t", &truth));
	assert_true(truth);
	assert_false(data_get_bool(data, "n", &truth));
	assert_false(truth);

	assert_true(data_get_strings(data, "l", &items, &count));
	assert_int_equal(count, 2);
	assert_true(bytes_equal_text(items[0], "a"));
	assert_int_equal(items[1].len, 0);
	free(items);
	assert_true(data_get_strings(data, "e", &items, &count));
	assert_non_null(items);
	assert_int_equal(count, 0);
	free(items);
	assert_false(data_get_strings(data, "m", &items, &count));
	assert_null(items);
	assert_false(data_get_strings(data, "s", &items, &count));
	assert_false(data_get_strings(data, "none", &items, &count));

	buf_init(&out);
	assert_true(data_get_json(data, "o", &out));
	assert_true(data_get_json(data, "i", &out));
	assert_false(data_get_json(data, "none", &out));
	assert_string_equal(buf_text(&out), "{\"k\":1}-7");
	buf_clear(&out);
	assert_int_equal(
	    data_kind(data_get_object(data, "o"), "k"), DATA_INTEGER);
	assert_null(data_get_object(data, "l"));
	assert_null(data_get_object(data, "none"));
	data_free(data);
	data_free(NULL);
}

static void
null_members_are_refused_at_any_depth(void **state)
{
	static const char *const wrong[] = {"{\"a\":null}",
	    "{\"x\":{\"y\":{\"a\":null}}}", "{\"x\":[1,{\"a\":null}]}"};
	struct sgate_error err;
	struct data *data;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		data = parse(wrong[i]);
		assert_int_equal(data_refuse_null(data, &err), SGATE_INVALID);
		assert_non_null(strstr(err.text, "member \"a\" is null"));
		data_free(data);
	}
	data = parse("{\"a\":[null,[null]],\"b\":{}}");
	assert_int_equal(data_refuse_null(data, &err), SGATE_OK);
	data_free(data);
}

/* ---- RFC 7396 ---- */

static void
merges(const char *target_text, const char *patch_text, const char *expected)
{
	struct data *target = parse(target_text);
	struct data *patch = parse(patch_text);

	assert_int_equal(data_merge(target, patch, NULL), SGATE_OK);
	prints(target, expected);
	prints(patch, patch_text);
	data_free(target);
	data_free(patch);
}

static void
the_examples_of_rfc_7396_merge_as_it_says(void **state)
{
	/* Appendix A, each one as the member "m": ours is always an object. */
	static const char *const cases[][3] = {
	    {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
	    {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
	    {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
	    {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
	    {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
	    {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
	    {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
		"{\"a\":{\"b\":\"d\"}}"},
	    {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
	    {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
	    {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
	    {"{\"a\":\"foo\"}", "null", NULL},
	    {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
	    {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
	    {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
	    {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
	};
	char text[3][128];
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cases[i][0][0] == '{' && cases[i][1][0] == '{')
			merges(cases[i][0], cases[i][1], cases[i][2]);
		for (j = 0; j < 3; j++)
			snprintf(text[j], sizeof(text[j]),
			    cases[i][j] == NULL ? "{}" : "{\"m\":%s}",
			    cases[i][j]);
		merges(text[0], text[1], text[2]);
	}
	/* Section 3. */
	merges("{\"title\":\"Goodbye!\",\"author\":{\"givenName\":\"John\","
	       "\"familyName\":\"Doe\"},\"tags\":[\"example\",\"sample\"],"
	       "\"content\":\"This will be unchanged\"}",
	    "{\"title\":\"Hello!\",\"phoneNumber\":\"+01-123-456-7890\","
	    "\"author\":{\"familyName\":null},\"tags\":[\"example\"]}",
	    "{\"title\":\"Hello!\",\"author\":{\"givenName\":\"John\"},"
	    "\"tags\":[\"example\"],\"content\":\"This will be unchanged\","
	    "\"phoneNumber\":\"+01-123-456-7890\"}");
}

static void
merging_minds_case_and_keeps_nulls_in_arrays(void **state)
{
	(void)state;
	merges("{\"A\":1,\"a\":2}", "{\"a\":null}", "{\"A\":1}");
	merges("{\"A\":1}", "{\"a\":2}", "{\"A\":1,\"a\":2}");
	merges(
	    "{}", "{\"a\":[null,{\"b\":null}]}", "{\"a\":[null,{\"b\":null}]}");
	merges("{\"\":1}", "{\"\":null}", "{}");
	merges("{}", "{}", "{}");
	merges("{\"a\":1,\"b\":2,\"c\":3}", "{\"b\":{\"x\":null,\"y\":0}}",
	    "{\"a\":1,\"b\":{\"y\":0},\"c\":3}");
}

static void
merging_makes_nothing_deeper_than_both_were(void **state)
{
	char *objects = repeated("", "{\"a\":", 16, "1}}}}}}}}}}}}}}}}");
	char *arrays = repeated("{\"a\":", "[", 15, "]]]]]]]]]]]]]]]}");

	(void)state;
	merges(objects, objects, objects);
	merges(objects, arrays, arrays);
	merges(arrays, objects, objects);
	free(objects);
	free(arrays);
}

static void
merging_may_exceed_the_number_of_members(void **state)
{
	char *first = members(1024);
	struct data *target = parse(first);
	struct data *patch = parse("{\"one more\":1}");
	struct buf out;

	(void)state;
	buf_init(&out);
	assert_int_equal(data_merge(target, patch, NULL), SGATE_OK);
	assert_int_equal(data_print(target, &out, NULL), SGATE_OK);
	assert_int_equal(
	    data_scan(buf_bytes(&out), MAX_BYTES, NULL), SGATE_INVALID);
	buf_clear(&out);
	data_free(target);
	data_free(patch);
	free(first);
}

/* ---- filter and exports ---- */

static char *const names[] = {(char[]){"b"}, (char[]){"none"},
    (char[]){"theme"}, (char[]){"n"}, (char[]){"f"}, (char[]){"o"},
    (char[]){"z"}, NULL};
static char *const no_names[] = {NULL};

static void
filters_copy_the_members_named(void **state)
{
	struct data *data =
	    parse("{\"n\":1,\"B\":2,\"o\":{\"x\":[1]},\"b\":null}");
	struct data *some;

	(void)state;
	assert_int_equal(data_filter(data, names, &some, NULL), SGATE_OK);
	prints(some, "{\"n\":1,\"o\":{\"x\":[1]},\"b\":null}");
	data_free(data);
	data_free(some);
	data = parse("{\"n\":1}");
	assert_int_equal(data_filter(data, no_names, &some, NULL), SGATE_OK);
	prints(some, "{}");
	data_free(data);
	data_free(some);
}

static void
exports_are_lines_of_upper_case_variables(void **state)
{
	struct data *data =
	    parse("{\"theme\":\"dark = \xc3\xa9\\\"\",\"b\":true,\"n\":1.5e3,"
		  "\"f\":0.25,\"o\":{\"x\":1},\"z\":null,\"secret\":\"no\"}");
	struct buf out;

	(void)state;
	buf_init(&out);
	buf_add_text(&out, "before\n");
	assert_int_equal(data_exports(data, names, 3072, &out, NULL), SGATE_OK);
	assert_string_equal(buf_text(&out),
	    "before\nSESSION_DATA_B=true\nSESSION_DATA_THEME=dark = \xc3\xa9\""
	    "\nSESSION_DATA_N=1500\nSESSION_DATA_F=0.25\n");
	buf_reset(&out);
	assert_int_equal(
	    data_exports(data, no_names, 3072, &out, NULL), SGATE_OK);
	assert_int_equal(out.len, 0);
	buf_clear(&out);
	data_free(data);
}

static void
exports_refuse_control_characters_and_too_much(void **state)
{
	static const char *const wrong[] = {"{\"b\":\"a\\nX=1\"}",
	    "{\"b\":\"\\r\"}", "{\"b\":\"\\u007f\"}", "{\"b\":\"\\t\"}"};
	char bad_name[] = "a-b";
	char *const bad_names[] = {bad_name, NULL};
	struct sgate_error err;
	struct data *data;
	struct buf out;
	size_t i;

	(void)state;
	buf_init(&out);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		data = parse(wrong[i]);
		assert_int_equal(
		    data_exports(data, names, 3072, &out, &err), SGATE_INVALID);
		assert_non_null(strstr(err.text, "\"b\""));
		data_free(data);
	}
	data = parse("{\"a-b\":1}");
	assert_int_equal(
	    data_exports(data, bad_names, 3072, &out, &err), SGATE_INVALID);
	data_free(data);
	data = parse("{\"b\":\"12345\"}"); /* SESSION_DATA_B=12345\n */
	assert_int_equal(
	    data_exports(data, names, 20, &out, &err), SGATE_TOO_LARGE);
	assert_int_equal(out.len, 0);
	assert_int_equal(data_exports(data, names, 21, &out, &err), SGATE_OK);
	assert_string_equal(buf_text(&out), "SESSION_DATA_B=12345\n");
	buf_clear(&out);
	data_free(data);
}

/* ---- memory ---- */

static int allocations_left;

static void *
scarce_malloc(size_t size)
{
	return allocations_left-- > 0 ? malloc(size) : NULL;
}

static enum sgate_status
work(const char *text, const char *patch_text)
{
	struct data *data = NULL, *patch = NULL, *some = NULL;
	enum sgate_status status;

	status = data_parse(bytes_of(text), MAX_BYTES, &data, NULL);
	if (status == SGATE_OK)
		status =
		    data_parse(bytes_of(patch_text), MAX_BYTES, &patch, NULL);
	if (status == SGATE_OK)
		status = data_merge(data, patch, NULL);
	if (status == SGATE_OK)
		status = data_filter(data, names, &some, NULL);
	data_free(data);
	data_free(patch);
	data_free(some);
	return status;
}

static void
every_failing_allocation_of_cjson_is_met(void **state)
{
	cJSON_Hooks hooks = {scarce_malloc, free};
	enum sgate_status status = SGATE_NO_MEMORY;
	int n;

	(void)state;
	cJSON_InitHooks(&hooks);
	for (n = 0; n < 200 && status != SGATE_OK; n++) {
		allocations_left = n;
		status = work("{\"a\":{\"b\":[1,\"x\"]},\"n\":\"y\",\"o\":1}",
		    "{\"a\":{\"b\":{\"c\":[2]},\"d\":null},\"o\":{\"p\":1},"
		    "\"q\":{}}");
		assert_true(status == SGATE_OK || status == SGATE_NO_MEMORY);
	}
	cJSON_InitHooks(NULL);
	assert_in_range(n, 30, 199);
}

static const struct CMUnitTest data[] = {
    cmocka_unit_test(right_texts_are_taken),
    cmocka_unit_test(wrong_texts_are_refused_with_the_offset),
    cmocka_unit_test(wrong_strings_are_refused),
    cmocka_unit_test(bytes_that_are_not_utf8_are_refused),
    cmocka_unit_test(a_nul_byte_is_refused_everywhere),
    cmocka_unit_test(every_prefix_is_refused_and_nothing_behind_is_read),
    cmocka_unit_test(numbers_follow_the_grammar),
    cmocka_unit_test(a_number_has_at_most_63_bytes),
    cmocka_unit_test(depth_16_is_taken_and_17_is_not),
    cmocka_unit_test(bombs_are_refused),
    cmocka_unit_test(members_count_in_all_objects_together),
    cmocka_unit_test(a_member_may_not_stand_twice_however_it_is_spelled),
    cmocka_unit_test(many_members_with_long_common_beginnings_are_sorted_fast),
    cmocka_unit_test(what_is_printed_means_the_same),
    cmocka_unit_test(numbers_keep_their_value),
    cmocka_unit_test(a_locale_with_decimal_commas_changes_nothing),
    cmocka_unit_test(random_texts_do_no_harm_and_print_to_what_is_taken),
    cmocka_unit_test(answers_may_be_larger_than_data),
    cmocka_unit_test(members_are_found_by_kind_and_exact_name),
    cmocka_unit_test(null_members_are_refused_at_any_depth),
    cmocka_unit_test(the_examples_of_rfc_7396_merge_as_it_says),
    cmocka_unit_test(merging_minds_case_and_keeps_nulls_in_arrays),
    cmocka_unit_test(merging_makes_nothing_deeper_than_both_were),
    cmocka_unit_test(merging_may_exceed_the_number_of_members),
    cmocka_unit_test(filters_copy_the_members_named),
    cmocka_unit_test(exports_are_lines_of_upper_case_variables),
    cmocka_unit_test(exports_refuse_control_characters_and_too_much),
    cmocka_unit_test(every_failing_allocation_of_cjson_is_met),
};

TAP_MAIN(data)
