/*
 * What Perl's Storable writes with freeze() and nfreeze(), of its format 2.
 * Storable.xs has it: a header, then values, each with a byte that says what it
 * is; of a member of a hash the value comes before the name. Lengths are of the
 * machine's order after freeze(), big-endian after nfreeze().
 *
 * Code and objects with hooks of their class are refused: only Perl could find
 * their end. What is blessed is stepped over, and so is a value that stands in
 * a second place, which is a number there.
 */
#include "config.h"

#include "legacy_own.h"

#include <string.h>

#include <sodium.h>

enum {
	SX_OBJECT = 0,
	SX_LSCALAR = 1,
	SX_ARRAY = 2,
	SX_HASH = 3,
	SX_REF = 4,
	SX_UNDEF = 5,
	SX_INTEGER = 6,
	SX_DOUBLE = 7,
	SX_BYTE = 8,
	SX_NETINT = 9,
	SX_SCALAR = 10,
	SX_SV_UNDEF = 14,
	SX_SV_YES = 15,
	SX_SV_NO = 16,
	SX_BLESS = 17,
	SX_IX_BLESS = 18,
	SX_OVERLOAD = 20,
	SX_UTF8STR = 23,
	SX_LUTF8STR = 24,
	SX_FLAG_HASH = 25,
	SX_WEAKREF = 27,
	SX_WEAKOVERLOAD = 28,
	SX_SVUNDEF_ELEM = 31,
	SX_BOOLEAN_TRUE = 34,
	SX_BOOLEAN_FALSE = 35
};

#define MAJOR 2
/* Of a name in a SX_FLAG_HASH: the name is a value of its own. */
#define KEY_IS_VALUE 0x08
#define KEY_IS_PLACEHOLDER 0x10

struct reader {
	struct legacy_tree *tree;
	const unsigned char *at, *end;
	bool is_big_endian;
};

static bool read_value(struct reader *r, struct legacy_value *value);

static bool
fail(struct reader *r)
{
	legacy_fail(r->tree, "it is not what Storable writes");
	return false;
}

static bool
take_bytes(struct reader *r, size_t len, const unsigned char **out)
{
	*out = r->at;
	if ((size_t)(r->end - r->at) < len)
		return fail(r);
	r->at += len;
	return true;
}

static bool
take_byte(struct reader *r, unsigned *out)
{
	const unsigned char *byte;

	*out = 0;
	if (!take_bytes(r, 1, &byte))
		return false;
	*out = *byte;
	return true;
}

static uint64_t
to_number(const unsigned char *bytes, size_t len, bool is_big_endian)
{
	uint64_t number = 0;
	size_t i;

	for (i = 0; i < len; i++)
		number = number << 8 | bytes[is_big_endian ? i : len - 1 - i];
	return number;
}

static bool
take_length(struct reader *r, size_t *out)
{
	const unsigned char *bytes;

	*out = 0;
	if (!take_bytes(r, 4, &bytes))
		return false;
	*out = (size_t)to_number(bytes, 4, r->is_big_endian);
	return *out <= LEGACY_BODY_MAX || fail(r);
}

static bool
take_text(struct reader *r, bool is_long, struct sgate_bytes *out)
{
	const unsigned char *bytes;
	unsigned byte;
	size_t len;

	*out = (struct sgate_bytes){NULL, 0};
	if (is_long ? !take_length(r, &len) : !take_byte(r, &byte))
		return false;
	if (!is_long)
		len = byte;
	if (!take_bytes(r, len, &bytes))
		return false;
	*out = (struct sgate_bytes){(const char *)bytes, len};
	return true;
}

static bool
read_integer(struct reader *r, size_t len, bool is_big_endian,
    struct legacy_value *value)
{
	const unsigned char *bytes;
	uint64_t number;

	if (!take_bytes(r, len, &bytes))
		return false;
	number = to_number(bytes, len, is_big_endian);
	legacy_set_integer(
	    value, len == 4 ? (int64_t)(int32_t)number : (int64_t)number);
	return true;
}

static bool
read_double(struct reader *r, struct legacy_value *value)
{
	const unsigned char *bytes;
	uint64_t number;
	double real;

	if (!take_bytes(r, sizeof(real), &bytes))
		return false;
	number = to_number(bytes, sizeof(number), r->is_big_endian);
	memcpy(&real, &number, sizeof(real));
	legacy_set_number(value, real);
	return true;
}

/* ---- arrays and hashes ---- */

static bool
read_array(struct reader *r, struct legacy_value *list)
{
	const struct sgate_bytes none = {NULL, 0};
	struct legacy_value *value;
	size_t count;

	list->kind = LEGACY_LIST;
	if (!take_length(r, &count))
		return false;
	while (count-- > 0) {
		value = legacy_add(r->tree, list, none);
		if (value == NULL || !read_value(r, value))
			return false;
	}
	return true;
}

/* The flags and the name; of a name that is a value of its own the text. */
static bool
read_key(struct reader *r, bool has_flags, struct legacy_value *member)
{
	struct legacy_value key = {.kind = LEGACY_NULL};
	unsigned flags = 0;

	if (has_flags && !take_byte(r, &flags))
		return false;
	member->is_gone = (flags & KEY_IS_PLACEHOLDER) != 0;
	if ((flags & KEY_IS_VALUE) == 0)
		return take_text(r, true, &member->key);
	if (!read_value(r, &key))
		return false;
	member->key = key.text;
	return key.kind == LEGACY_TEXT || fail(r);
}

static bool
read_hash(struct reader *r, bool has_flags, struct legacy_value *map)
{
	const struct sgate_bytes none = {NULL, 0};
	struct legacy_value *member;
	unsigned flags;
	size_t count;

	map->kind = LEGACY_MAP;
	if (has_flags && !take_byte(r, &flags))
		return false;
	if (!take_length(r, &count))
		return false;
	while (count-- > 0) {
		member = legacy_add(r->tree, map, none);
		if (member == NULL || !read_value(r, member) ||
		    !read_key(r, has_flags, member))
			return false;
	}
	return true;
}

/* ---- values ---- */

/* The class by name, or by the number of one that was named before. */
static bool
read_blessed(struct reader *r, bool is_number, struct legacy_value *value)
{
	struct legacy_value inside = {.kind = LEGACY_NULL};
	const unsigned char *name;
	unsigned byte;
	size_t len;

	value->kind = LEGACY_OTHER;
	if (!take_byte(r, &byte))
		return false;
	len = byte;
	if ((byte & 0x80) != 0 && !take_length(r, &len))
		return false;
	if (!is_number && !take_bytes(r, len, &name))
		return false;
	return read_value(r, &inside);
}

static bool
read_kind(struct reader *r, unsigned kind, struct legacy_value *value)
{
	const unsigned char *tag;
	unsigned byte;

	switch (kind) {
	case SX_OBJECT:
		value->kind = LEGACY_OTHER;
		return take_bytes(r, 4, &tag);
	case SX_SCALAR:
	case SX_UTF8STR:
		value->kind = LEGACY_TEXT;
		return take_text(r, false, &value->text);
	case SX_LSCALAR:
	case SX_LUTF8STR:
		value->kind = LEGACY_TEXT;
		return take_text(r, true, &value->text);
	case SX_ARRAY:
		return read_array(r, value);
	case SX_HASH:
		return read_hash(r, false, value);
	case SX_FLAG_HASH:
		return read_hash(r, true, value);
	case SX_REF:
	case SX_OVERLOAD:
	case SX_WEAKREF:
	case SX_WEAKOVERLOAD:
		return read_value(r, value);
	case SX_UNDEF:
	case SX_SV_UNDEF:
	case SX_SVUNDEF_ELEM:
		return true;
	case SX_INTEGER:
		return read_integer(r, 8, r->is_big_endian, value);
	case SX_NETINT:
		return read_integer(r, 4, true, value);
	case SX_DOUBLE:
		return read_double(r, value);
	case SX_BYTE:
		if (!take_byte(r, &byte))
			return false;
		legacy_set_integer(value, (int64_t)byte - 128);
		return true;
	case SX_SV_YES:
	case SX_BOOLEAN_TRUE:
		legacy_set_bool(value, true);
		return true;
	case SX_SV_NO:
	case SX_BOOLEAN_FALSE:
		legacy_set_bool(value, false);
		return true;
	case SX_BLESS:
	case SX_IX_BLESS:
		return read_blessed(r, kind == SX_IX_BLESS, value);
	default:
		return legacy_fail(
		    r->tree, "it has an object that only Perl could read");
	}
}

static bool
read_value(struct reader *r, struct legacy_value *value)
{
	unsigned kind;
	bool is_read;

	if (!take_byte(r, &kind) || !legacy_enter(r->tree))
		return false;
	is_read = read_kind(r, kind, value);
	legacy_leave(r->tree);
	return is_read;
}

/* ---- the header ---- */

/* Version, and of freeze() what machine it was: sizes of int, long, pointer and
 * double. */
static bool
read_header(struct reader *r)
{
	static const char little[] = "\x08"
				     "12345678\x04\x08\x08\x08";
	static const char big[] = "\x08"
				  "87654321\x04\x08\x08\x08";
	const unsigned char *machine;
	unsigned version, minor;

	if (!take_byte(r, &version) || !take_byte(r, &minor))
		return false;
	if (version >> 1 != MAJOR)
		return fail(r);
	r->is_big_endian = (version & 1) != 0;
	if (r->is_big_endian)
		return true;
	if (!take_bytes(r, sizeof(little) - 1, &machine))
		return false;
	r->is_big_endian = memcmp(machine, big, sizeof(big) - 1) == 0;
	return r->is_big_endian ||
	       memcmp(machine, little, sizeof(little) - 1) == 0 ||
	       legacy_fail(r->tree, "another kind of machine froze it");
}

static bool
read_all(struct legacy_tree *tree, struct sgate_bytes body)
{
	struct reader r = {.tree = tree};

	if (body.len == 0)
		return legacy_fail(tree, "it is empty");
	r.at = (const unsigned char *)body.data;
	r.end = r.at + body.len;
	if (!read_header(&r) || !read_value(&r, &tree->root))
		return false;
	if (tree->root.kind == LEGACY_OTHER)
		return legacy_fail(tree, "it is an object of some class");
	return (r.at == r.end && tree->root.kind == LEGACY_MAP) || fail(&r);
}

bool
legacy_storable(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree)
{
	struct sgate_bytes body = raw->body;
	size_t len = 0;
	char *memory;

	(void)settings;
	/* The byte of a version is no letter of Base64. */
	if (body.len == 0 || (unsigned char)body.data[0] < ' ')
		return read_all(tree, body);
	memory = legacy_room(tree, body.len);
	if (memory == NULL)
		return false;
	if (sodium_base642bin((unsigned char *)memory, body.len, body.data,
		body.len, "\r\n", &len, NULL,
		sodium_base64_VARIANT_ORIGINAL) != 0)
		return legacy_fail(tree, "it is not what Storable writes");
	return read_all(tree, (struct sgate_bytes){memory, len});
}
