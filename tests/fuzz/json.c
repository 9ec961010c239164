/*
 * JSON: what data_scan() takes, and what cJSON makes of it, against a slow
 * recursive reader written here from RFC 8259.
 *
 *   up to the first NUL   a text; behind it, another one, merged into the first
 *
 * - data_scan() takes exactly what the slow reader takes.
 * - What is parsed and printed says the same, and printed again is the same.
 * - RFC 7396: a patch applied twice is a patch applied once, and leaves no null
 *   where it made members; an empty one changes nothing.
 * - An export is lines of one variable each.
 */
#include "config.h"

#include "fuzz.h"

#include "data.h"

#include <math.h>
#include <stdbool.h>

#define MAX_BYTES 3000

/* ---- the slow reader ---- */

struct token {
	char what; /* { } [ ] s(tring) n(umber) t f 0 */
	double number;
	const char *text; /* decoded, UTF-8 */
	size_t len;
};

struct reader {
	const unsigned char *at, *end;
	unsigned depth, members;
	struct token *tokens; /* no more than bytes */
	size_t count, max;
	char *memory; /* as large as the text: what is decoded is no longer */
	size_t used;
};

static bool read_value(struct reader *r);

static void
blanks(struct reader *r)
{
	while (r->at < r->end && memchr(" \t\r\n", *r->at, 4) != NULL)
		r->at++;
}

static bool
take(struct reader *r, char c)
{
	blanks(r);
	if (r->at == r->end || *r->at != (unsigned char)c)
		return false;
	r->at++;
	return true;
}

static void
add(struct reader *r, struct token token)
{
	MUST(r->count < r->max);
	r->tokens[r->count++] = token;
}

static bool
read_hex(struct reader *r, unsigned *out)
{
	char text[5] = "";

	if (r->end - r->at < 4)
		return false;
	memcpy(text, r->at, 4);
	if (strspn(text, "0123456789abcdefABCDEF") != 4)
		return false;
	*out = (unsigned)strtoul(text, NULL, 16);
	r->at += 4;
	return true;
}

static void
put_code(struct reader *r, unsigned code)
{
	char *out = r->memory + r->used;

	if (code < 0x80) {
		out[0] = (char)code;
		r->used += 1;
	} else if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		r->used += 2;
	} else if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		r->used += 3;
	} else {
		out[0] = (char)(0xf0 | code >> 18);
		out[1] = (char)(0x80 | (code >> 12 & 0x3f));
		out[2] = (char)(0x80 | (code >> 6 & 0x3f));
		out[3] = (char)(0x80 | (code & 0x3f));
		r->used += 4;
	}
}

static bool
read_escape(struct reader *r)
{
	static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	unsigned code, low;
	const char *found;

	if (r->at == r->end)
		return false;
	if (*r->at != 'u') {
		found = *r->at == 0 ? NULL : strchr(plain, *r->at);
		if (found == NULL)
			return false;
		put_code(r, (unsigned char)meant[found - plain]);
		r->at++;
		return true;
	}
	r->at++;
	if (!read_hex(r, &code) || code == 0)
		return false;
	if (code >= 0xd800 && code < 0xe000) {
		if (code >= 0xdc00 || r->end - r->at < 2 || r->at[0] != '\\' ||
		    r->at[1] != 'u')
			return false;
		r->at += 2;
		if (!read_hex(r, &low) || low < 0xdc00 || low >= 0xe000)
			return false;
		code = 0x10000 + (code - 0xd800) * 0x400 + (low - 0xdc00);
	}
	put_code(r, code);
	return true;
}

/* A character that takes more than a byte. */
static bool
read_utf8(struct reader *r)
{
	unsigned first = *r->at, more, code, i;

	more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
	if (first < 0xc2 || first > 0xf4 || r->end - r->at <= (long)more)
		return false;
	code = first & (0x3fu >> more);
	for (i = 1; i <= more; i++) {
		if ((r->at[i] & 0xc0) != 0x80)
			return false;
		code = code << 6 | (r->at[i] & 0x3f);
	}
	if ((more == 2 && code < 0x800) || (more == 3 && code < 0x10000) ||
	    code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return false;
	put_code(r, code);
	r->at += more + 1;
	return true;
}

static bool
read_string(struct reader *r)
{
	struct token token = {.what = 's', .text = r->memory + r->used};

	if (!take(r, '"'))
		return false;
	for (;;) {
		if (r->at == r->end || *r->at < 0x20)
			return false;
		if (*r->at == '"')
			break;
		if (*r->at == '\\') {
			r->at++;
			if (!read_escape(r))
				return false;
		} else if (*r->at < 0x80) {
			put_code(r, *r->at++);
		} else if (!read_utf8(r)) {
			return false;
		}
	}
	r->at++;
	token.len = (size_t)(r->memory + r->used - token.text);
	add(r, token);
	return true;
}

static size_t
digits(struct reader *r)
{
	const unsigned char *first = r->at;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	return (size_t)(r->at - first);
}

static bool
read_number(struct reader *r)
{
	const unsigned char *first = r->at, *start;
	struct token token = {.what = 'n'};
	bool is_integer = true;
	char text[64] = "";
	size_t count;

	if (*r->at == '-')
		r->at++;
	start = r->at;
	count = digits(r);
	if (count == 0 || (count > 1 && *start == '0'))
		return false;
	if (r->at < r->end && *r->at == '.') {
		is_integer = false;
		r->at++;
		if (digits(r) == 0)
			return false;
	}
	if (r->at < r->end && (*r->at | 0x20) == 'e') {
		is_integer = false;
		r->at++;
		if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
			r->at++;
		if (digits(r) == 0)
			return false;
	}
	if (r->at - first > 63)
		return false;
	memcpy(text, first, (size_t)(r->at - first));
	token.number = strtod(text, NULL);
	add(r, token);
	if (is_integer)
		return count <= 16 &&
		       llabs(strtoll(text, NULL, 10)) <= 9007199254740991;
	return isfinite(token.number);
}

static bool
is_repeated(const struct reader *r, size_t first, size_t last)
{
	const struct token *a = &r->tokens[first], *b = &r->tokens[last];

	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

static bool
read_object(struct reader *r)
{
	size_t *names = malloc(1025 * sizeof(*names)), count = 0, i;
	bool is_right = true;

	MUST(names != NULL);
	blanks(r);
	if (r->at < r->end && *r->at == '}')
		goto out;
	do {
		blanks(r);
		if (++r->members > 1024)
			is_right = false;
		names[count] = r->count;
		is_right = is_right && read_string(r);
		for (i = 0; is_right && i < count; i++)
			if (is_repeated(r, names[i], names[count]))
				is_right = false;
		count++;
		is_right = is_right && take(r, ':') && read_value(r);
	} while (is_right && take(r, ','));
out:
	free(names);
	return is_right && take(r, '}');
}

static bool
read_array(struct reader *r)
{
	blanks(r);
	if (take(r, ']'))
		return true;
	do {
		if (!read_value(r))
			return false;
	} while (take(r, ','));
	return take(r, ']');
}

static bool
read_word(struct reader *r, const char *word, char what)
{
	if ((size_t)(r->end - r->at) < strlen(word) ||
	    memcmp(r->at, word, strlen(word)) != 0)
		return false;
	r->at += strlen(word);
	add(r, (struct token){.what = what});
	return true;
}

static bool
read_value(struct reader *r)
{
	bool is_object;

	blanks(r);
	if (r->at == r->end)
		return false;
	switch (*r->at) {
	case '"':
		return read_string(r);
	case 't':
		return read_word(r, "true", 't');
	case 'f':
		return read_word(r, "false", 'f');
	case 'n':
		return read_word(r, "null", '0');
	case '{':
	case '[':
		break;
	default:
		return (*r->at == '-' || (*r->at >= '0' && *r->at <= '9')) &&
		       read_number(r);
	}
	is_object = *r->at++ == '{';
	if (++r->depth > 16)
		return false;
	add(r, (struct token){.what = is_object ? '{' : '['});
	if (is_object ? !read_object(r) : !read_array(r))
		return false;
	add(r, (struct token){.what = is_object ? '}' : ']'});
	r->depth--;
	return true;
}

static void
slow_free(struct reader *r)
{
	if (r != NULL) {
		free(r->memory);
		free(r->tokens);
	}
	free(r);
}

/* NULL: not taken. */
static struct reader *
slow_read(struct sgate_bytes text)
{
	struct reader *r = calloc(1, sizeof(*r));
	bool is_right;

	MUST(r != NULL);
	r->at = (const unsigned char *)text.data;
	r->end = r->at + text.len;
	r->max = text.len + 1;
	r->memory = malloc(r->max);
	r->tokens = malloc(r->max * sizeof(*r->tokens));
	MUST(r->memory != NULL && r->tokens != NULL);
	blanks(r);
	is_right = r->at < r->end && *r->at == '{' && read_value(r);
	blanks(r);
	if (is_right && r->at == r->end)
		return r;
	slow_free(r);
	return NULL;
}

static bool
says_the_same(const struct reader *a, const struct reader *b)
{
	size_t i;

	if (a->count != b->count)
		return false;
	for (i = 0; i < a->count; i++) {
		const struct token *x = &a->tokens[i], *y = &b->tokens[i];

		if (x->what != y->what || x->len != y->len ||
		    (x->what == 'n' && x->number != y->number) ||
		    (x->len > 0 && memcmp(x->text, y->text, x->len) != 0))
			return false;
	}
	return true;
}

/* ---- what must hold ---- */

/* The text of what was parsed. */
static void
print(const struct data *data, struct buf *out)
{
	buf_reset(out);
	MUST(data_print(data, out, NULL) == SGATE_OK);
}

static struct data *
parse(struct sgate_bytes text)
{
	struct data *data;

	MUST(data_parse(text, SIZE_MAX, &data, NULL) == SGATE_OK);
	return data;
}

static void
check_printed(const struct data *data, const struct reader *expected)
{
	struct buf text = {0}, again = {0};
	struct data *parsed;
	struct reader *r;

	print(data, &text);
	r = slow_read(buf_bytes(&text));
	MUST(r != NULL && says_the_same(r, expected));
	slow_free(r);
	parsed = parse(buf_bytes(&text));
	print(parsed, &again);
	MUST(bytes_equal(buf_bytes(&text), buf_bytes(&again)));
	data_free(parsed);
	buf_clear(&text);
	buf_clear(&again);
}

static void
check_exports(const struct data *data)
{
	char *names[9] = {NULL};
	struct buf block = {0};
	size_t count = 0, lines = 0, i;
	const char *at, *name;

	for (i = 0; count < 8 && (name = data_member_at(data, i)) != NULL; i++)
		if (data_kind(data, name) != DATA_ABSENT)
			names[count++] = (char *)(uintptr_t)name;
	MUST(count == 8 || data_member_at(data, count) == NULL);
	if (data_exports(data, names, 3072, &block, NULL) == SGATE_OK) {
		for (at = buf_text(&block); *at != '\0'; lines++) {
			MUST(strncmp(at, "SESSION_DATA_", 13) == 0);
			MUST(strchr(at, '=') != NULL);
			at = strchr(at, '\n');
			MUST(at != NULL);
			at++;
		}
		MUST(lines <= count && block.len <= 3072);
	}
	buf_clear(&block);
}

/* One member: what it is said to be is what it gives, and nothing else. */
static void
check_member(const struct data *data, const char *name)
{
	enum data_kind kind = data_kind(data, name);
	struct sgate_bytes text, *items;
	struct buf json = {0};
	int64_t number;
	size_t count;
	bool is_true;

	MUST(data_get_string(data, name, &text) == (kind == DATA_STRING));
	MUST(data_get_integer(data, name, &number) == (kind == DATA_INTEGER));
	MUST(number >= -DATA_INTEGER_MAX && number <= DATA_INTEGER_MAX);
	MUST(data_get_bool(data, name, &is_true) == (kind == DATA_BOOL));
	MUST((data_get_object(data, name) != NULL) == (kind == DATA_OBJECT));
	MUST(kind == DATA_ARRAY || data_array_count(data, name) == 0);
	count = data_array_count(data, name);
	MUST(data_array_object(data, name, count) == NULL);
	if (data_get_strings(data, name, &items, &count)) {
		MUST(count == data_array_count(data, name));
		MUST(data_array_object(data, name, 0) == NULL);
		free(items);
	}
	MUST(data_get_json(data, name, &json) == (kind != DATA_ABSENT));
	buf_clear(&json);
}

/* Filtered by the names of all members, it is what it was. */
static void
check_members(const struct data *data)
{
	char *names[1025] = {NULL};
	struct buf before = {0}, after = {0};
	struct data *copy;
	const char *name;
	size_t i;

	for (i = 0; (name = data_member_at(data, i)) != NULL; i++) {
		names[i] = (char *)(uintptr_t)name;
		check_member(data, name);
	}
	check_member(data, "nobody has this name");
	MUST(data_filter(data, names, &copy, NULL) == SGATE_OK);
	print(data, &before);
	print(copy, &after);
	MUST(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
	data_free(copy);
	MUST(data_parse_answer(buf_bytes(&before), SIZE_MAX, &copy, NULL) ==
	     SGATE_OK);
	data_free(copy);
	buf_clear(&before);
	buf_clear(&after);
}

static void
check_merge(struct sgate_bytes target, struct sgate_bytes patch)
{
	struct data *data = parse(target), *change = parse(patch);
	struct data *nothing = parse(bytes_of("{}"));
	struct buf before = {0}, once = {0}, twice = {0};

	print(data, &before);
	MUST(data_merge(data, nothing, NULL) == SGATE_OK);
	print(data, &once);
	MUST(bytes_equal(buf_bytes(&before), buf_bytes(&once)));
	MUST(data_merge(data, change, NULL) == SGATE_OK);
	print(data, &once);
	MUST(data_merge(data, change, NULL) == SGATE_OK);
	print(data, &twice);
	MUST(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
	/* Of nulls in arrays nobody says anything: they are values. */
	MUST(data_merge(nothing, change, NULL) == SGATE_OK);
	if (memchr(patch.data, '[', patch.len) == NULL)
		MUST(data_refuse_null(nothing, NULL) == SGATE_OK);
	data_free(data);
	data_free(change);
	data_free(nothing);
	buf_clear(&before);
	buf_clear(&once);
	buf_clear(&twice);
}

/* Whether it is taken. */
static bool
check_text(struct sgate_bytes text)
{
	enum sgate_status status = data_scan(text, MAX_BYTES, NULL);
	struct reader *expected;
	struct data *data;

	if (text.len > MAX_BYTES) {
		MUST(status == SGATE_TOO_LARGE);
		return false;
	}
	expected = slow_read(text);
	MUST((status == SGATE_OK) == (expected != NULL));
	if (expected == NULL) {
		MUST(status == SGATE_INVALID);
		MUST(data_parse(text, MAX_BYTES, &data, NULL) != SGATE_OK);
		MUST(data == NULL);
		return false;
	}
	data = parse(text);
	check_printed(data, expected);
	check_exports(data);
	check_members(data);
	data_free(data);
	slow_free(expected);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct sgate_bytes all = fuzz_rest(&in), first = all, second = all;
	const char *nul = size > 0 ? memchr(all.data, '\0', size) : NULL;
	bool is_taken;

	if (nul == NULL) {
		check_text(all);
		return 0;
	}
	MUST(data_scan(all, SIZE_MAX, NULL) == SGATE_INVALID);
	first.len = (size_t)(nul - all.data);
	second.data = nul + 1;
	second.len = all.len - first.len - 1;
	is_taken = check_text(first);
	if (check_text(second) && is_taken)
		check_merge(first, second);
	return 0;
}
