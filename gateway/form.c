/*
 * A field that stands twice is refused rather than taken first or last:
 * programs on the way may have looked at the other one.
 */
#include "config.h"

#include "form.h"

#include <string.h>

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool
decode(struct sgate_bytes text, bool plus_is_space, struct buf *out)
{
	size_t i;

	buf_reset(out);
	for (i = 0; i < text.len; i++) {
		char c = text.data[i];

		if (c == '%') {
			int high, low;

			if (text.len - i < 3)
				return false;
			high = hex_digit(text.data[i + 1]);
			low = hex_digit(text.data[i + 2]);
			if (high < 0 || low < 0)
				return false;
			c = (char)(high * 16 + low);
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		if (c == '\0')
			return false;
		buf_add_char(out, c);
	}
	return !buf_failed(out) && bytes_is_utf8(buf_bytes(out));
}

enum form_answer
form_get(struct sgate_bytes text, const char *name, struct buf *out)
{
	struct sgate_bytes value = {NULL, 0};
	unsigned fields = 0;
	bool is_found = false;

	buf_reset(out);
	while (text.len > 0) {
		struct sgate_bytes rest = bytes_cut(&text, '&');
		struct sgate_bytes key = bytes_cut(&rest, '=');

		if (++fields > FORM_FIELDS_MAX)
			return FORM_BAD;
		if (!decode(key, true, out))
			return FORM_BAD;
		if (bytes_equal_text(buf_bytes(out), name)) {
			if (is_found)
				return FORM_BAD;
			is_found = true;
			value = rest;
		}
	}
	buf_reset(out);
	if (!is_found)
		return FORM_ABSENT;
	return decode(value, true, out) ? FORM_FOUND : FORM_BAD;
}

bool
form_decode_segment(struct sgate_bytes text, struct buf *out)
{
	return decode(text, false, out);
}
