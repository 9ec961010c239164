/*
 * JSON as other programs write it. data.c refuses what our own sessions must
 * not have (duplicate members, "\u0000", lone surrogates, large integers, NaN,
 * which Python writes); here that is taken, and legacy_render() settles it.
 */
#include "config.h"

#include "legacy_own.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 400 /* bytes of one */

struct reader {
	struct legacy_tree *tree;
	const char *at, *end;
};

static bool read_value(struct reader *r, struct legacy_value *value);

static void
skip_blanks(struct reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' ||
				     *r->at == '\r' || *r->at == '\n'))
		r->at++;
}

static bool
take(struct reader *r, char c)
{
	skip_blanks(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool
fail(struct reader *r)
{
	return legacy_fail(r->tree, "it is no JSON");
}

/* ---- texts ---- */

static bool
read_hex(struct reader *r, unsigned *out)
{
	unsigned i, value = 0;

	if (r->end - r->at < 4)
		return false;
	for (i = 0; i < 4; i++) {
		char c = r->at[i];

		value <<= 4;
		if (c >= '0' && c <= '9')
			value |= (unsigned)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value |= (unsigned)((c | 0x20) - 'a' + 10);
		else
			return false;
	}
	r->at += 4;
	*out = value;
	return true;
}

/* A lone surrogate becomes three bytes that are no UTF-8. */
static size_t
put_character(char *out, unsigned c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Behind "\u". */
static bool
read_character(struct reader *r, unsigned *out)
{
	unsigned low;

	if (!read_hex(r, out))
		return false;
	if (*out >= 0xd800 && *out < 0xdc00 && r->end - r->at >= 6 &&
	    r->at[0] == '\\' && r->at[1] == 'u') {
		const char *before = r->at;

		r->at += 2;
		if (!read_hex(r, &low))
			return false;
		if (low >= 0xdc00 && low < 0xe000)
			*out =
			    0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
		else
			r->at = before;
	}
	return true;
}

/* Behind the backslash; out has room for four bytes. 0: it is no escape. */
static size_t
read_escape(struct reader *r, char *out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *which;
	unsigned c;

	if (r->at == r->end)
		return 0;
	if (*r->at == 'u') {
		r->at++;
		return read_character(r, &c) ? put_character(out, c) : 0;
	}
	which = *r->at == '\0' ? NULL : strchr(from, *r->at);
	if (which == NULL)
		return 0;
	r->at++;
	out[0] = to[which - from];
	return 1;
}

/* Behind the quote. What needs no copy is borrowed. */
static bool
read_text(struct reader *r, struct sgate_bytes *out)
{
	const char *start = r->at;
	const char *end = start;
	size_t len = 0, escape;
	char *copy;

	while (end < r->end && *end != '"')
		end += *end == '\\' && end + 1 < r->end ? 2 : 1;
	if (end >= r->end)
		return fail(r);
	if (memchr(start, '\\', (size_t)(end - start)) == NULL) {
		*out = (struct sgate_bytes){start, (size_t)(end - start)};
		r->at = end + 1;
		return true;
	}
	/* No escape is longer than it was. */
	copy = legacy_room(r->tree, (size_t)(end - start));
	if (copy == NULL)
		return false;
	while (r->at < end) {
		if (*r->at != '\\') {
			copy[len++] = *r->at++;
			continue;
		}
		r->at++;
		escape = read_escape(r, copy + len);
		if (escape == 0 || r->at > end)
			return fail(r);
		len += escape;
	}
	*out = (struct sgate_bytes){copy, len};
	r->at = end + 1;
	return true;
}

/* ---- numbers and words ---- */

static bool
read_number(struct reader *r, struct legacy_value *value)
{
	const char *start = r->at;
	char text[NUMBER_MAX + 1], *end;
	bool is_integer = true;
	uint64_t number;
	size_t len;

	while (r->at < r->end && *r->at != '\0' &&
	       strchr("+-0123456789.eE", *r->at) != NULL) {
		is_integer = is_integer && strchr("+.eE", *r->at) == NULL;
		r->at++;
	}
	len = (size_t)(r->at - start);
	if (len == 0 || len > NUMBER_MAX)
		return fail(r);
	if (is_integer &&
	    bytes_to_uint((struct sgate_bytes){start + (*start == '-'),
			      len - (*start == '-')},
		INT64_MAX, &number)) {
		legacy_set_integer(
		    value, *start == '-' ? -(int64_t)number : (int64_t)number);
		return true;
	}
	memcpy(text, start, len);
	text[len] = '\0';
	value->number = strtod(text, &end);
	if (end != text + len || *start == '+' || *start == '.')
		return fail(r);
	/* An integer that no integer of ours can be stays what it says. */
	if (is_integer)
		legacy_set_text(value, (struct sgate_bytes){start, len});
	else
		legacy_set_number(value, value->number);
	return true;
}

static bool
take_word(struct reader *r, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
		return false;
	r->at += len;
	return true;
}

static bool
read_word(struct reader *r, struct legacy_value *value)
{
	if (take_word(r, "true"))
		legacy_set_bool(value, true);
	else if (take_word(r, "false"))
		legacy_set_bool(value, false);
	else if (take_word(r, "NaN") || take_word(r, "Infinity") ||
		 take_word(r, "-Infinity"))
		legacy_set_number(value, (double)NAN);
	else if (!take_word(r, "null"))
		return read_number(r, value);
	return true;
}

/* ---- lists and maps ---- */

static bool
read_list(struct reader *r, struct legacy_value *list)
{
	const struct sgate_bytes none = {NULL, 0};
	struct legacy_value *value;

	list->kind = LEGACY_LIST;
	if (take(r, ']'))
		return true;
	do {
		value = legacy_add(r->tree, list, none);
		if (value == NULL || !read_value(r, value))
			return false;
	} while (take(r, ','));
	return take(r, ']') || fail(r);
}

static bool
read_map(struct reader *r, struct legacy_value *map)
{
	struct legacy_value *value;
	struct sgate_bytes key;

	map->kind = LEGACY_MAP;
	if (take(r, '}'))
		return true;
	do {
		if (!take(r, '"'))
			return fail(r);
		if (!read_text(r, &key))
			return false;
		if (!take(r, ':'))
			return fail(r);
		value = legacy_add(r->tree, map, key);
		if (value == NULL || !read_value(r, value))
			return false;
	} while (take(r, ','));
	return take(r, '}') || fail(r);
}

static bool
read_value(struct reader *r, struct legacy_value *value)
{
	bool is_read;

	if (!legacy_enter(r->tree))
		return false;
	if (take(r, '{')) {
		is_read = read_map(r, value);
	} else if (take(r, '[')) {
		is_read = read_list(r, value);
	} else if (take(r, '"')) {
		value->kind = LEGACY_TEXT;
		is_read = read_text(r, &value->text);
	} else {
		is_read = read_word(r, value);
	}
	legacy_leave(r->tree);
	return is_read;
}

bool
legacy_json_into(struct legacy_tree *tree, struct legacy_value *value,
    struct sgate_bytes text)
{
	struct reader r = {.tree = tree};

	if (text.len == 0)
		return legacy_fail(tree, "it is empty");
	r.at = text.data;
	r.end = text.data + text.len;
	if (!read_value(&r, value))
		return false;
	skip_blanks(&r);
	return r.at == r.end || fail(&r);
}

bool
legacy_json(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree)
{
	(void)settings;
	if (!legacy_json_into(tree, &tree->root, raw->body))
		return false;
	return tree->root.kind == LEGACY_MAP ||
	       legacy_fail(tree, "its JSON is no object");
}
