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
	const char *at, *end;
	unsigned fields = 0;
	bool is_found = false;

	buf_reset(out);
	if (text.len == 0)
		return FORM_ABSENT;
	at = text.data;
	end = text.data + text.len;
	while (at < end) {
		const char *stop = memchr(at, '&', (size_t)(end - at));
		const char *equals;
		struct sgate_bytes key;

		if (stop == NULL)
			stop = end;
		if (++fields > FORM_FIELDS_MAX)
			return FORM_BAD;
		equals = memchr(at, '=', (size_t)(stop - at));
		key.data = at;
		key.len = (size_t)((equals == NULL ? stop : equals) - at);
		if (!decode(key, true, out))
			return FORM_BAD;
		if (bytes_equal_text(buf_bytes(out), name)) {
			if (is_found)
				return FORM_BAD;
			is_found = true;
			value.data = equals == NULL ? stop : equals + 1;
			value.len = (size_t)(stop - value.data);
		}
		at = stop + 1;
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
