/*
 * Forms, queries, path segments and return_to.
 *
 *   line 1   the name of a field; or an allowed address
 *   rest     the form, the segment, the address
 *
 * - form_get() finds what a slow decoder written here finds.
 * - What buf_add_url() encodes is decoded to the same.
 * - An allowed return_to stays on this site however a browser reads it, and
 *   what return_to_write() makes of it is as safe and stays as it is.
 */
#include "config.h"

#include "fuzz.h"

#include "form.h"
#include "return_to.h"

#include <stdbool.h>

/* ---- forms ---- */

/* UTF-8 as in RFC 3629, table of section 4. */
static bool
slow_is_utf8(const unsigned char *at, size_t left)
{
	static const struct {
		unsigned char first, last, second_first, second_last;
		size_t len;
	} rows[] = {{0x00, 0x7f, 0, 0, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2},
	    {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
	    {0xf4, 0xf4, 0x80, 0x8f, 4}};
	size_t row, i;

	while (left > 0) {
		for (row = 0; row < 9; row++)
			if (*at >= rows[row].first && *at <= rows[row].last)
				break;
		if (row == 9 || rows[row].len > left)
			return false;
		for (i = 1; i < rows[row].len; i++)
			if (at[i] < (i == 1 ? rows[row].second_first : 0x80) ||
			    at[i] > (i == 1 ? rows[row].second_last : 0xbf))
				return false;
		at += rows[row].len;
		left -= rows[row].len;
	}
	return true;
}

static int
digit(char c)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *at = c == '\0' ? NULL : strchr(digits, c);

	return at == NULL         ? -1
	       : at - digits < 16 ? (int)(at - digits)
				  : (int)(at - digits) - 6;
}

/* False: it cannot be decoded. out: as many bytes as text, or fewer. */
static bool
slow_decode(struct sgate_bytes text, bool is_form, char *out, size_t *out_len)
{
	size_t i;

	*out_len = 0;
	for (i = 0; i < text.len; i++) {
		char c = text.data[i];

		if (c == '+' && is_form)
			c = ' ';
		if (c == '%') {
			if (i + 2 >= text.len || digit(text.data[i + 1]) < 0 ||
			    digit(text.data[i + 2]) < 0)
				return false;
			c = (char)(digit(text.data[i + 1]) * 16 +
				   digit(text.data[i + 2]));
			i += 2;
		}
		if (c == '\0')
			return false;
		out[(*out_len)++] = c;
	}
	return slow_is_utf8((const unsigned char *)out, *out_len);
}

/* All fields; one that cannot be decoded, or stands twice, makes it bad. */
static enum form_answer
slow_get(struct sgate_bytes text, const char *name, char *out, size_t *out_len)
{
	char *key = malloc(text.len + 1);
	size_t start, end, equals, len, fields = 0, found = 0;
	struct sgate_bytes value = {NULL, 0};
	bool is_bad = false;

	MUST(key != NULL);
	for (start = 0; start < text.len; start = end + 1) {
		for (end = start; end < text.len && text.data[end] != '&';)
			end++;
		for (equals = start; equals < end && text.data[equals] != '=';)
			equals++;
		fields++;
		if (!slow_decode(
			(struct sgate_bytes){text.data + start, equals - start},
			true, key, &len))
			is_bad = true;
		else if (len == strlen(name) && memcmp(key, name, len) == 0) {
			found++;
			value.data = text.data + equals + 1;
			value.len = equals < end ? end - equals - 1 : 0;
		}
	}
	free(key);
	*out_len = 0;
	if (is_bad || fields > 64 || found > 1)
		return FORM_BAD;
	if (found == 0)
		return FORM_ABSENT;
	return slow_decode(value, true, out, out_len) ? FORM_FOUND : FORM_BAD;
}

static void
check_form(struct sgate_bytes text, const char *name)
{
	char *expected = malloc(text.len + 1);
	struct buf value = {0};
	enum form_answer answer;
	size_t len;

	MUST(expected != NULL);
	answer = form_get(text, name, &value);
	MUST(answer == slow_get(text, name, expected, &len));
	if (answer == FORM_FOUND)
		MUST(value.len == len &&
		     memcmp(buf_text(&value), expected, len) == 0);
	MUST(form_decode_segment(text, &value) ==
	     slow_decode(text, false, expected, &len));
	free(expected);
	buf_clear(&value);
}

static void
check_encoding(struct sgate_bytes text)
{
	struct buf encoded = {0}, decoded = {0};

	buf_add_url(&encoded, text);
	MUST(!buf_failed(&encoded));
	MUST(!bytes_has_control(buf_bytes(&encoded)));
	if (slow_is_utf8((const unsigned char *)text.data, text.len) &&
	    (text.len == 0 || memchr(text.data, 0, text.len) == NULL)) {
		MUST(form_decode_segment(buf_bytes(&encoded), &decoded));
		MUST(bytes_equal(buf_bytes(&decoded), text) || text.len == 0);
	} else {
		MUST(!form_decode_segment(buf_bytes(&encoded), &decoded));
	}
	buf_clear(&encoded);
	buf_clear(&decoded);
}

/* ---- return_to ---- */

/*
 * Does a browser on http(s) leave the site with this address? As the URL
 * standard says: blanks and controls at both ends go, then every tab and
 * newline, and '\' is '/'. A path begins with one '/' and goes on with none.
 */
static bool
leaves(struct sgate_bytes text)
{
	char first[2] = {0, 0};
	size_t i, n = 0;

	while (text.len > 0 && (unsigned char)text.data[0] <= 0x20) {
		text.data++;
		text.len--;
	}
	for (i = 0; i < text.len && n < 2; i++) {
		char c = text.data[i];

		if (c == '\t' || c == '\n' || c == '\r')
			continue;
		first[n++] = c == '\\' ? '/' : c;
	}
	return first[0] != '/' || first[1] == '/';
}

static void
check_return_to(struct sgate_bytes text, const char *allowed)
{
	char *list[] = {(char *)(uintptr_t)allowed, NULL};
	struct buf written = {0}, again = {0};
	bool is_allowed = return_to_is_allowed(text, NULL);

	if (is_allowed)
		MUST(!leaves(text));
	if (return_to_is_allowed(text, list) != is_allowed)
		MUST(bytes_equal_text(text, allowed));
	return_to_write(text, &written);
	MUST(!buf_failed(&written));
	MUST(!bytes_has_control(buf_bytes(&written)));
	if (is_allowed)
		MUST(!leaves(buf_bytes(&written)));
	return_to_write(buf_bytes(&written), &again);
	MUST(bytes_equal(buf_bytes(&written), buf_bytes(&again)));
	buf_clear(&written);
	buf_clear(&again);
}

/* The way to the login page has the text and nothing else behind it. */
static void
check_login(struct sgate_bytes text)
{
	struct buf url = {0}, found = {0};
	struct sgate_bytes query;
	enum form_answer answer;
	size_t i;

	return_to_login("/login?x=1", text, &url);
	MUST(!buf_failed(&url));
	for (i = 0; i < url.len; i++)
		MUST(url.data[i] > 0x20 && url.data[i] < 0x7f);
	query = buf_bytes(&url);
	MUST(bytes_equal_text(bytes_cut(&query, '?'), "/login"));
	answer = form_get(query, "return_to", &found);
	if (text.len == 0 || text.len > RETURN_TO_MAX)
		MUST(answer == FORM_ABSENT);
	else if (answer == FORM_FOUND)
		MUST(bytes_equal(buf_bytes(&found), text));
	else
		MUST(answer == FORM_BAD &&
		     (!bytes_is_utf8(text) ||
			 memchr(text.data, '\0', text.len) != NULL));
	buf_clear(&url);
	buf_clear(&found);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct sgate_bytes first = fuzz_line(&in), text = fuzz_rest(&in);
	char name[65] = "";

	memcpy(name, first.data, first.len < 64 ? first.len : 64);
	MUST(bytes_is_utf8(text) ==
	     slow_is_utf8((const unsigned char *)text.data, text.len));
	check_form(text, name);
	check_login(text);
	check_encoding(text);
	check_return_to(text, name);
	return 0;
}
