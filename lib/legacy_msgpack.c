/*
 * MessagePack (its specification is at msgpack.org), as Flask-Session writes it
 * since 0.7. A byte says what follows; lengths and numbers are big-endian. What
 * has a type of the program's own is stepped over. JSON, which Flask-Session
 * may be set to, begins with '{', which is a number there.
 */
#include "config.h"

#include "legacy_own.h"

#include <string.h>

struct reader {
	struct legacy_tree *tree;
	const unsigned char *at, *end;
};

static bool read_value(struct reader *r, struct legacy_value *value);

static bool
fail(struct reader *r)
{
	legacy_fail(r->tree, "it is no MessagePack");
	return false;
}

static bool
take_bytes(struct reader *r, size_t len, struct sgate_bytes *out)
{
	*out = (struct sgate_bytes){(const char *)r->at, len};
	if ((size_t)(r->end - r->at) < len)
		return fail(r);
	r->at += len;
	return true;
}

static bool
take_number(struct reader *r, size_t len, uint64_t *out)
{
	struct sgate_bytes bytes;
	size_t i;

	*out = 0;
	if (!take_bytes(r, len, &bytes))
		return false;
	for (i = 0; i < len; i++)
		*out = *out << 8 | (unsigned char)bytes.data[i];
	return true;
}

static bool
read_list(struct reader *r, uint64_t count, struct legacy_value *list)
{
	const struct sgate_bytes none = {NULL, 0};
	struct legacy_value *value;

	list->kind = LEGACY_LIST;
	while (count-- > 0) {
		value = legacy_add(r->tree, list, none);
		if (value == NULL || !read_value(r, value))
			return false;
	}
	return true;
}

static bool
read_map(struct reader *r, uint64_t count, struct legacy_value *map)
{
	const struct sgate_bytes none = {NULL, 0};
	struct legacy_value *member;

	map->kind = LEGACY_MAP;
	while (count-- > 0) {
		struct legacy_value key = {.kind = LEGACY_NULL};

		if (!read_value(r, &key))
			return false;
		member = legacy_add(r->tree, map, none);
		if (member == NULL || !read_value(r, member))
			return false;
		/* Names that are no texts JSON could not have. */
		member->key = key.text;
		if (key.kind == LEGACY_INTEGER)
			member->key = legacy_int_text(r->tree, key.integer);
		else if (key.kind != LEGACY_TEXT)
			member->kind = LEGACY_OTHER;
	}
	return true;
}

static bool
read_text(struct reader *r, uint64_t len, struct legacy_value *value)
{
	value->kind = LEGACY_TEXT;
	return len <= LEGACY_BODY_MAX ? take_bytes(r, (size_t)len, &value->text)
				      : fail(r);
}

/* A type of one byte, and so many bytes. */
static bool
read_other(struct reader *r, uint64_t len, struct legacy_value *value)
{
	struct sgate_bytes ignored;

	value->kind = LEGACY_OTHER;
	return len < LEGACY_BODY_MAX ? take_bytes(r, (size_t)len + 1, &ignored)
				     : fail(r);
}

static bool
read_unsigned(struct reader *r, size_t len, struct legacy_value *value)
{
	uint64_t number;

	if (!take_number(r, len, &number))
		return false;
	if (number > INT64_MAX)
		legacy_set_number(value, (double)number);
	else
		legacy_set_integer(value, (int64_t)number);
	return true;
}

static bool
read_signed(struct reader *r, size_t len, struct legacy_value *value)
{
	unsigned shift = 64 - 8 * (unsigned)len;
	uint64_t number;

	if (!take_number(r, len, &number))
		return false;
	legacy_set_integer(value, (int64_t)(number << shift) >> shift);
	return true;
}

static bool
read_real(struct reader *r, size_t len, struct legacy_value *value)
{
	uint64_t number;
	uint32_t half;
	double real;
	float small;

	if (!take_number(r, len, &number))
		return false;
	half = (uint32_t)number;
	memcpy(&real, &number, sizeof(real));
	memcpy(&small, &half, sizeof(small));
	legacy_set_number(value, len == sizeof(small) ? (double)small : real);
	return true;
}

/* ---- by the first byte ---- */

/* 0xc4 and up: a length of 1, 2 or 4 bytes, then what has it. */
static bool
read_long(struct reader *r, size_t bytes,
    bool (*read)(struct reader *, uint64_t, struct legacy_value *),
    struct legacy_value *value)
{
	uint64_t len;

	return take_number(r, bytes, &len) && read(r, len, value);
}

static bool
read_kind(struct reader *r, unsigned kind, struct legacy_value *value)
{
	if (kind >= 0xc4 && kind <= 0xc6)
		return read_long(
		    r, (size_t)1 << (kind - 0xc4), read_text, value);
	if (kind >= 0xc7 && kind <= 0xc9)
		return read_long(
		    r, (size_t)1 << (kind - 0xc7), read_other, value);
	if (kind == 0xca || kind == 0xcb)
		return read_real(r, kind == 0xca ? 4 : 8, value);
	if (kind >= 0xcc && kind <= 0xcf)
		return read_unsigned(r, (size_t)1 << (kind - 0xcc), value);
	if (kind >= 0xd0 && kind <= 0xd3)
		return read_signed(r, (size_t)1 << (kind - 0xd0), value);
	if (kind >= 0xd4 && kind <= 0xd8)
		return read_other(r, (uint64_t)1 << (kind - 0xd4), value);
	if (kind >= 0xd9 && kind <= 0xdb)
		return read_long(
		    r, (size_t)1 << (kind - 0xd9), read_text, value);
	if (kind == 0xdc || kind == 0xdd)
		return read_long(r, kind == 0xdc ? 2 : 4, read_list, value);
	if (kind == 0xde || kind == 0xdf)
		return read_long(r, kind == 0xde ? 2 : 4, read_map, value);
	if (kind == 0xc2 || kind == 0xc3)
		legacy_set_bool(value, kind == 0xc3);
	else if (kind == 0xc1)
		return fail(r);
	return true; /* 0xc0: null */
}

static bool
read_some(struct reader *r, struct legacy_value *value)
{
	uint64_t kind;

	if (!take_number(r, 1, &kind))
		return false;
	if (kind < 0x80 || kind >= 0xe0) {
		legacy_set_integer(value, (int64_t)(int8_t)kind);
		return true;
	}
	if (kind < 0x90)
		return read_map(r, kind & 0x0f, value);
	if (kind < 0xa0)
		return read_list(r, kind & 0x0f, value);
	if (kind < 0xc0)
		return read_text(r, kind & 0x1f, value);
	return read_kind(r, (unsigned)kind, value);
}

static bool
read_value(struct reader *r, struct legacy_value *value)
{
	bool is_read;

	if (!legacy_enter(r->tree))
		return false;
	is_read = read_some(r, value);
	legacy_leave(r->tree);
	return is_read;
}

/* Python's pickle begins with 0x80 and a number of a protocol, 2 to 5, at which
 * an empty map of MessagePack would have ended. */
static bool
is_pickled(struct sgate_bytes body)
{
	return body.len > 1 && (unsigned char)body.data[0] == 0x80;
}

bool
legacy_msgpack(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree)
{
	struct reader r = {.tree = tree};

	if (raw->body.len == 0)
		return legacy_fail(tree, "it is empty");
	if (raw->body.data[0] == '{')
		return legacy_json(settings, raw, tree);
	if (is_pickled(raw->body))
		return legacy_fail(
		    tree, "it is pickled, which only Python itself could read");
	r.at = (const unsigned char *)raw->body.data;
	r.end = r.at + raw->body.len;
	if (!read_value(&r, &tree->root))
		return false;
	return (r.at == r.end && tree->root.kind == LEGACY_MAP) || fail(&r);
}
