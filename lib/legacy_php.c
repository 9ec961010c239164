/*
 * PHP's sessions: "php" (NAME|VALUE NAME|VALUE ...) and "php_serialize" (one
 * array), told apart by how they begin: no name has a ':' and a digit behind
 * an 'a' and then a '{'. VALUE is what serialize() writes, ext/standard/var.c:
 *
 *   N;  b:1;  i:5;  d:0.5;  s:3:"abc";  a:1:{KEY VALUE}  r:N;  R:N;
 *   O:5:"Class":1:{KEY VALUE}  C:5:"Class":3:{...}  E:10:"Class:Case";
 *
 * Lengths are bytes. An object is stepped over, not made: of a class we know
 * nothing. A reference points to a value by its number and is stepped over,
 * too: it would let a few bytes stand for many.
 */
#include "config.h"

#include "legacy_own.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 64

struct reader {
	struct legacy_tree *tree;
	const char *at, *end;
};

static bool read_value(struct reader *r, struct legacy_value *value);

static bool
fail(struct reader *r)
{
	legacy_fail(r->tree, "it is not what PHP writes");
	return false;
}

static bool
take(struct reader *r, char c)
{
	if (r->at == r->end || *r->at != c)
		return fail(r);
	r->at++;
	return true;
}

/* What stands before the separator, which goes too. */
static bool
take_until(struct reader *r, char separator, struct sgate_bytes *out)
{
	const char *end = r->at == r->end ? NULL
					  : memchr(r->at, separator,
						(size_t)(r->end - r->at));

	*out = (struct sgate_bytes){NULL, 0};
	if (end == NULL)
		return fail(r);
	*out = (struct sgate_bytes){r->at, (size_t)(end - r->at)};
	r->at = end + 1;
	return true;
}

static bool
take_count(struct reader *r, char separator, size_t *out)
{
	struct sgate_bytes digits;
	uint64_t number;

	if (!take_until(r, separator, &digits) ||
	    !bytes_to_uint(digits, LEGACY_BODY_MAX, &number))
		return fail(r);
	*out = (size_t)number;
	return true;
}

/* LENGTH:"..." */
static bool
take_text(struct reader *r, struct sgate_bytes *out)
{
	size_t len;

	if (!take_count(r, ':', &len) || !take(r, '"'))
		return false;
	if ((size_t)(r->end - r->at) < len)
		return fail(r);
	*out = (struct sgate_bytes){r->at, len};
	r->at += len;
	return take(r, '"');
}

static bool
to_integer(struct sgate_bytes text, int64_t *out)
{
	bool is_negative = text.len > 0 && text.data[0] == '-';
	uint64_t number;

	text.data += is_negative;
	text.len -= is_negative;
	if (!bytes_to_uint(text, (uint64_t)INT64_MAX + is_negative, &number))
		return false;
	*out = is_negative ? (int64_t)(0 - number) : (int64_t)number;
	return true;
}

static bool
read_integer(struct reader *r, struct legacy_value *value)
{
	struct sgate_bytes text;
	int64_t number;

	if (!take_until(r, ';', &text) || !to_integer(text, &number))
		return fail(r);
	legacy_set_integer(value, number);
	return true;
}

static bool
read_number(struct reader *r, struct legacy_value *value)
{
	char text[NUMBER_MAX + 1], *end;
	struct sgate_bytes digits;

	if (!take_until(r, ';', &digits) || digits.len == 0 ||
	    digits.len > NUMBER_MAX)
		return fail(r);
	memcpy(text, digits.data, digits.len);
	text[digits.len] = '\0';
	/* NAN, INF and -INF as well. */
	legacy_set_number(value, strtod(text, &end));
	return end == text + digits.len || fail(r);
}

/* ---- arrays and objects ---- */

/* A member's name: i or s. */
static bool
read_key(struct reader *r, struct sgate_bytes *out, bool *is_index,
    int64_t *out_index)
{
	struct legacy_value key = {.kind = LEGACY_NULL};

	if (r->end - r->at < 2 || r->at[1] != ':' ||
	    (r->at[0] != 'i' && r->at[0] != 's'))
		return fail(r);
	*is_index = r->at[0] == 'i';
	r->at += 2;
	if (!*is_index)
		return take_text(r, out) && take(r, ';');
	if (!read_integer(r, &key))
		return false;
	*out_index = key.integer;
	*out = legacy_int_text(r->tree, key.integer);
	return out->data != NULL;
}

/* COUNT:{...}; an array of 0 to n-1 in order is a list, as json_encode() does.
 */
static bool
read_members(struct reader *r, struct legacy_value *map)
{
	bool is_list = true, is_index = false;
	struct legacy_value *member;
	struct sgate_bytes key;
	int64_t index = 0;
	size_t i, count;

	map->kind = LEGACY_MAP;
	if (!take_count(r, ':', &count) || !take(r, '{'))
		return false;
	for (i = 0; i < count; i++) {
		if (!read_key(r, &key, &is_index, &index))
			return false;
		is_list = is_list && is_index && index == (int64_t)i;
		member = legacy_add(r->tree, map, key);
		if (member == NULL || !read_value(r, member))
			return false;
	}
	if (is_list && count > 0)
		map->kind = LEGACY_LIST;
	return take(r, '}');
}

/* "Class":MEMBERS: read to find its end, and nothing of it is kept. */
static bool
read_object(struct reader *r, struct legacy_value *value)
{
	struct legacy_value inside = {.kind = LEGACY_NULL};
	struct sgate_bytes name;

	value->kind = LEGACY_OTHER;
	return take_text(r, &name) && take(r, ':') && read_members(r, &inside);
}

/* "Class":LENGTH:{...}, whose inside is the class's own. */
static bool
read_custom(struct reader *r, struct legacy_value *value)
{
	struct sgate_bytes name;
	size_t len;

	value->kind = LEGACY_OTHER;
	if (!take_text(r, &name) || !take(r, ':') ||
	    !take_count(r, ':', &len) || !take(r, '{'))
		return false;
	if ((size_t)(r->end - r->at) < len)
		return fail(r);
	r->at += len;
	return take(r, '}');
}

static bool
read_kind(struct reader *r, char kind, struct legacy_value *value)
{
	struct sgate_bytes text;

	switch (kind) {
	case 'b':
		if (!read_integer(r, value))
			return false;
		legacy_set_bool(value, value->integer != 0);
		return true;
	case 'i':
		return read_integer(r, value);
	case 'd':
		return read_number(r, value);
	case 's':
		value->kind = LEGACY_TEXT;
		return take_text(r, &value->text) && take(r, ';');
	case 'a':
		return read_members(r, value);
	case 'O':
		return read_object(r, value);
	case 'C':
		return read_custom(r, value);
	case 'E':
		value->kind = LEGACY_OTHER;
		return take_text(r, &text) && take(r, ';');
	case 'r':
	case 'R':
		value->kind = LEGACY_OTHER;
		return take_until(r, ';', &text);
	default:
		return fail(r);
	}
}

static bool
read_value(struct reader *r, struct legacy_value *value)
{
	bool is_read;

	if (r->end - r->at < 2)
		return fail(r);
	if (r->at[0] == 'N' && r->at[1] == ';') {
		r->at += 2;
		return true;
	}
	if (r->at[1] != ':')
		return fail(r);
	if (!legacy_enter(r->tree))
		return false;
	r->at += 2;
	is_read = read_kind(r, r->at[-2], value);
	legacy_leave(r->tree);
	return is_read;
}

/* ---- sessions ---- */

static bool
read_named(struct reader *r)
{
	struct legacy_value *member;
	struct sgate_bytes name;

	while (r->at < r->end) {
		if (!take_until(r, '|', &name))
			return false;
		member = legacy_add(r->tree, &r->tree->root, name);
		if (member == NULL)
			return false;
		/* "!NAME|" stands for one that has no value. */
		if (name.len > 0 && name.data[0] == '!')
			member->is_gone = true;
		else if (!read_value(r, member))
			return false;
	}
	return true;
}

static bool
is_array(struct sgate_bytes body)
{
	size_t i = 2;

	if (body.len < 6 || memcmp(body.data, "a:", 2) != 0)
		return false;
	while (i < body.len && body.data[i] >= '0' && body.data[i] <= '9')
		i++;
	return i > 2 && i + 1 < body.len && body.data[i] == ':' &&
	       body.data[i + 1] == '{';
}

bool
legacy_php(const struct legacy_settings *settings, const struct legacy_raw *raw,
    struct legacy_tree *tree)
{
	struct reader r = {.tree = tree};

	(void)settings;
	if (raw->body.len == 0)
		return true; /* how PHP stores a session without anything */
	r.at = raw->body.data;
	r.end = raw->body.data + raw->body.len;
	if (!is_array(raw->body))
		return read_named(&r);
	if (!read_value(&r, &tree->root))
		return false;
	tree->root.kind = LEGACY_MAP;
	return r.at == r.end || fail(&r);
}
