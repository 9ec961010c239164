/*
 * What Perl's Data::Dumper writes for CGI::Session: a statement "$D =
 * LITERAL;", and perhaps more of them, which tie references that stand in two
 * places:
 *
 *   $D = {'a' => 'it\'s','n' => 5,'l' => [undef,"\x{263a}"],'o' => bless( {},
 * 'C' )}; $D->{'again'} = $D->{'l'};;$D
 *
 * CGI::Session evaluates it, which is why whoever can write its file can run
 * anything. Here it is read, as the literals that it consists of, by a grammar
 * that has nothing else. What is blessed is read to find its end and not kept;
 * neither is a reference to another place.
 */
#include "config.h"

#include "legacy_own.h"

#include <string.h>

struct reader {
	struct legacy_tree *tree;
	const char *at, *end;
};

static bool read_value(struct reader *r, struct legacy_value *value);

static bool
fail(struct reader *r)
{
	legacy_fail(r->tree, "it is not what Data::Dumper writes");
	return false;
}

static void
skip_blanks(struct reader *r)
{
	while (r->at < r->end && *r->at != '\0' &&
	       strchr(" \t\r\n", *r->at) != NULL)
		r->at++;
}

static bool
is_next(struct reader *r, const char *word)
{
	size_t len = strlen(word);

	skip_blanks(r);
	return (size_t)(r->end - r->at) >= len && memcmp(r->at, word, len) == 0;
}

static bool
take(struct reader *r, const char *word)
{
	if (!is_next(r, word))
		return false;
	r->at += strlen(word);
	return true;
}

/* ---- texts ---- */

/* Behind the quote; len: up to the closing one. */
static bool
find_quote(struct reader *r, char quote, size_t *out_len)
{
	const char *at = r->at;

	while (at < r->end && *at != quote)
		at += *at == '\\' && at + 1 < r->end ? 2 : 1;
	if (at >= r->end)
		return fail(r);
	*out_len = (size_t)(at - r->at);
	return true;
}

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

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* Behind "\x{". */
static bool
read_braced(struct reader *r, const char *end, unsigned *out)
{
	unsigned digits = 0;

	*out = 0;
	while (r->at < end && hex_digit(*r->at) >= 0 && digits++ < 6)
		*out = *out << 4 | (unsigned)hex_digit(*r->at++);
	if (digits == 0 || r->at == end || *r->at != '}' || *out > 0x10ffff)
		return false;
	r->at++;
	return true;
}

/* Behind the backslash, in double quotes. 0: it is no escape of its. */
static size_t
read_escape(struct reader *r, const char *end, char *out)
{
	static const char from[] = "abefnrt";
	static const char to[] = "\a\b\x1b\f\n\r\t";
	const char *which;
	unsigned c = 0, digits = 0;

	if (r->at == end)
		return 0;
	if (end - r->at > 2 && r->at[0] == 'x' && r->at[1] == '{') {
		r->at += 2;
		return read_braced(r, end, &c) ? put_character(out, c) : 0;
	}
	while (r->at < end && *r->at >= '0' && *r->at <= '7' && digits++ < 3)
		c = c << 3 | (unsigned)(*r->at++ - '0');
	if (digits > 0) {
		out[0] = (char)c;
		return 1;
	}
	which = *r->at == '\0' ? NULL : strchr(from, *r->at);
	out[0] = which == NULL ? *r->at : to[which - from];
	r->at++;
	return 1;
}

/* 'it\'s' knows two escapes, "\x{263a}\n" more. */
static bool
read_text(struct reader *r, struct sgate_bytes *out)
{
	char quote = *r->at++;
	size_t len = 0, more, raw = 0;
	const char *end;
	char *copy;

	if (!find_quote(r, quote, &raw))
		return false;
	end = r->at + raw;
	copy = legacy_room(r->tree, raw); /* no escape is longer than it was */
	if (copy == NULL)
		return false;
	while (r->at < end) {
		char c = *r->at++;

		if (c == '\\' && quote == '"') {
			more = read_escape(r, end, copy + len);
			if (more == 0)
				return fail(r);
			len += more;
			continue;
		}
		if (c == '\\' && r->at < end &&
		    (*r->at == '\\' || *r->at == '\''))
			c = *r->at++;
		copy[len++] = c;
	}
	*out = (struct sgate_bytes){copy, len};
	r->at = end + 1;
	return true;
}

/* ---- places: $D->{'a'}[0]{'b'}, ${$D->{'a'}}, @{...} ---- */

/*
 * To be stepped over. '{' and '[' are matched by depth alone, with texts
 * between them read as texts.
 */
static bool
skip_place(struct reader *r)
{
	struct sgate_bytes text;
	size_t depth = 0;

	while (r->at < r->end) {
		char c = *r->at;

		if (c == '\'' || c == '"') {
			if (!read_text(r, &text))
				return false;
			continue;
		}
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && depth-- == 0)
			return true; /* of what it stands in */
		else if (depth == 0 && strchr(",;= ", c) != NULL && c != '\0')
			return true;
		r->at++;
	}
	return depth == 0 || fail(r);
}

/* ---- values ---- */

static bool
read_number(struct reader *r, struct legacy_value *value)
{
	const char *start = r->at;
	bool is_negative = *start == '-';
	uint64_t number;

	r->at += is_negative;
	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	start += is_negative;
	if (!bytes_to_uint((struct sgate_bytes){start, (size_t)(r->at - start)},
		INT64_MAX, &number))
		return fail(r);
	legacy_set_integer(
	    value, is_negative ? -(int64_t)number : (int64_t)number);
	return true;
}

static bool
read_list(struct reader *r, struct legacy_value *list)
{
	const struct sgate_bytes none = {NULL, 0};
	struct legacy_value *value;

	list->kind = LEGACY_LIST;
	if (take(r, "]"))
		return true;
	do {
		value = legacy_add(r->tree, list, none);
		if (value == NULL || !read_value(r, value))
			return false;
	} while (take(r, ","));
	return take(r, "]") || fail(r);
}

static bool
read_map(struct reader *r, struct legacy_value *map)
{
	struct legacy_value *value;
	struct sgate_bytes key;

	map->kind = LEGACY_MAP;
	if (take(r, "}"))
		return true;
	do {
		if (!is_next(r, "'") && !is_next(r, "\""))
			return fail(r);
		if (!read_text(r, &key))
			return false;
		if (!take(r, "=>"))
			return fail(r);
		value = legacy_add(r->tree, map, key);
		if (value == NULL || !read_value(r, value))
			return false;
	} while (take(r, ","));
	return take(r, "}") || fail(r);
}

/* bless( VALUE, 'Class' ) */
static bool
read_blessed(struct reader *r, struct legacy_value *value)
{
	struct legacy_value inside = {.kind = LEGACY_NULL};
	struct sgate_bytes name;

	value->kind = LEGACY_OTHER;
	if (!read_value(r, &inside))
		return false;
	if (!take(r, ",") || !is_next(r, "'"))
		return fail(r);
	return read_text(r, &name) && (take(r, ")") || fail(r));
}

static bool
read_some(struct reader *r, struct legacy_value *value)
{
	if (take(r, "{"))
		return read_map(r, value);
	if (take(r, "["))
		return read_list(r, value);
	if (is_next(r, "'") || is_next(r, "\"")) {
		value->kind = LEGACY_TEXT;
		return read_text(r, &value->text);
	}
	if (take(r, "undef"))
		return true;
	if (take(r, "bless("))
		return read_blessed(r, value);
	/* Of a reference to a value, the value. */
	if (take(r, "\\"))
		return read_value(r, value);
	if (is_next(r, "$") || is_next(r, "@") || is_next(r, "%")) {
		value->kind = LEGACY_OTHER;
		return skip_place(r);
	}
	return r->at < r->end ? read_number(r, value) : fail(r);
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

/* ---- statements ---- */

/* The value that a place names, as far as it is one of plain members. */
static struct legacy_value *
find_place(struct reader *r, struct legacy_value *value)
{
	struct legacy_value *child;
	struct sgate_bytes key;

	while (take(r, "->{'") || take(r, "{'")) {
		r->at--;
		if (!read_text(r, &key) || !take(r, "}"))
			return NULL;
		if (value == NULL || value->kind != LEGACY_MAP)
			continue;
		for (child = value->first; child != NULL; child = child->next)
			if (bytes_equal(child->key, key))
				break;
		value = child;
	}
	return is_next(r, "=") ? value : NULL;
}

/*
 * "$D->{'again'} = $D->{'l'};": what stands at the first place is not known
 * then. Of another place that we do not find, the whole session would be wrong
 * if it were read on, so it is refused.
 */
static bool
read_statement(struct reader *r)
{
	struct legacy_value *value = find_place(r, &r->tree->root);
	struct legacy_value ignored = {.kind = LEGACY_NULL};

	if (value == NULL || value == &r->tree->root)
		return r->tree->why == NULL
			   ? legacy_fail(r->tree, "it ties references in a way "
						  "that only Perl could read")
			   : false;
	if (!take(r, "=") || !read_value(r, &ignored))
		return fail(r);
	value->kind = LEGACY_OTHER;
	return take(r, ";") || fail(r);
}

bool
legacy_dumper(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree)
{
	struct reader r = {.tree = tree};

	(void)settings;
	if (raw->body.len == 0)
		return legacy_fail(tree, "it is empty");
	r.at = raw->body.data;
	r.end = raw->body.data + raw->body.len;
	if (!take(&r, "$D") || !take(&r, "="))
		return fail(&r);
	if (!read_value(&r, &tree->root))
		return false;
	if (tree->root.kind != LEGACY_MAP || !take(&r, ";"))
		return fail(&r);
	for (;;) {
		while (take(&r, ";"))
			;
		skip_blanks(&r);
		if (r.at == r.end)
			return true;
		if (!take(&r, "$D"))
			return fail(&r);
		skip_blanks(&r);
		if (r.at < r.end && *r.at != ';' && !read_statement(&r))
			return false;
	}
}
