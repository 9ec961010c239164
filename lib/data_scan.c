/*
 * Is this JSON text (RFC 8259) that we take? No memory is allocated, nothing
 * is recursive, and each byte is looked at a bounded number of times.
 *
 * Members of one object must have different names after unescaping: parsers
 * disagree about which of two counts. All names are noted while scanning and
 * sorted at the end, so a text with many members costs n log n.
 */
#include "config.h"

#include "data.h"

#include "status.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* cJSON reads a number into 64 bytes and leaves the rest as trailing text. */
#define NUMBER_MAX_BYTES 63

struct member {
	uint32_t object; /* number of the object it belongs to */
	uint32_t name_at, name_len;
};

struct scan {
	const unsigned char *start, *end;
	const unsigned char *at;
	const char *wrong; /* what is wrong at `at` */
	size_t depth, depth_max;
	uint32_t object; /* the last one that was opened */
	struct {
		bool is_object;
		uint32_t object;
	} levels[DATA_ANSWER_DEPTH_MAX];
	struct member *members;
	size_t members_count, members_max;
};

static bool
fail(struct scan *scan, const char *wrong)
{
	scan->wrong = wrong;
	return false;
}

/* -1 at the end. */
static int
peek(const struct scan *scan)
{
	return scan->at < scan->end ? *scan->at : -1;
}

static void
skip_blanks(struct scan *scan)
{
	while (
	    scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\t' ||
					*scan->at == '\n' || *scan->at == '\r'))
		scan->at++;
}

/* ---- strings ---- */

/* The value of four hex digits, or -1. */
static int
hex4(const unsigned char *at, const unsigned char *end)
{
	int value = 0;
	int i;

	if (end - at < 4)
		return -1;
	for (i = 0; i < 4; i++) {
		unsigned char c = at[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + c - '0';
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			value = value * 16 + c - 'A' + 10;
		else
			return -1;
	}
	return value;
}

static bool
is_high_surrogate(int code)
{
	return code >= 0xd800 && code <= 0xdbff;
}

static bool
is_low_surrogate(int code)
{
	return code >= 0xdc00 && code <= 0xdfff;
}

/* `at` is at the backslash. */
static bool
scan_escape(struct scan *scan)
{
	const unsigned char *at = scan->at + 1;
	int code;

	if (at == scan->end)
		return fail(scan, "the string is not closed");
	if (*at != 'u') {
		if (*at == '\0' || strchr("\"\\/bfnrt", *at) == NULL)
			return fail(scan, "unknown escape");
		scan->at += 2;
		return true;
	}
	code = hex4(at + 1, scan->end);
	if (code < 0)
		return fail(scan, "\\u needs four hex digits");
	if (code == 0)
		return fail(scan, "\\u0000 is not allowed");
	if (is_low_surrogate(code))
		return fail(scan, "half of a surrogate pair");
	scan->at += 6;
	if (!is_high_surrogate(code))
		return true;
	if (scan->end - scan->at < 6 || scan->at[0] != '\\' ||
	    scan->at[1] != 'u' ||
	    !is_low_surrogate(hex4(scan->at + 2, scan->end))) {
		scan->at -= 6;
		return fail(scan, "half of a surrogate pair");
	}
	scan->at += 6;
	return true;
}

/* `at` is at the opening quote; afterwards behind the closing one. */
static bool
scan_string(struct scan *scan)
{
	scan->at++;
	while (scan->at < scan->end) {
		struct sgate_bytes rest = {
		    (const char *)scan->at, (size_t)(scan->end - scan->at)};
		size_t len;

		if (*scan->at == '"') {
			scan->at++;
			return true;
		}
		if (*scan->at < 0x20)
			return fail(scan, "control byte in a string");
		if (*scan->at == '\\') {
			if (!scan_escape(scan))
				return false;
			continue;
		}
		len = bytes_utf8_length(rest);
		if (len == 0)
			return fail(scan, "not UTF-8");
		scan->at += len;
	}
	return fail(scan, "the string is not closed");
}

/* ---- numbers and words ---- */

static size_t
scan_digits(struct scan *scan)
{
	const unsigned char *first = scan->at;

	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
		scan->at++;
	return (size_t)(scan->at - first);
}

static bool
is_finite(const unsigned char *first, size_t len)
{
	locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	char text[NUMBER_MAX_BYTES + 1];
	double value;

	if (c_locale == (locale_t)0)
		return false;
	memcpy(text, first, len);
	text[len] = '\0';
	value = strtod_l(text, NULL, c_locale);
	freelocale(c_locale);
	return isfinite(value);
}

static bool
scan_number(struct scan *scan)
{
	const unsigned char *first = scan->at;
	struct sgate_bytes digits;
	bool is_integer = true;
	uint64_t value;

	if (peek(scan) == '-')
		scan->at++;
	digits.data = (const char *)scan->at;
	digits.len = scan_digits(scan);
	if (digits.len == 0)
		return fail(scan, "not a number");
	if (digits.len > 1 && digits.data[0] == '0')
		return fail(scan, "a number with a leading zero");
	if (peek(scan) == '.') {
		is_integer = false;
		scan->at++;
		if (scan_digits(scan) == 0)
			return fail(scan, "a number without digits after '.'");
	}
	if (peek(scan) == 'e' || peek(scan) == 'E') {
		is_integer = false;
		scan->at++;
		if (peek(scan) == '+' || peek(scan) == '-')
			scan->at++;
		if (scan_digits(scan) == 0)
			return fail(scan, "a number without exponent");
	}
	if (scan->at - first > NUMBER_MAX_BYTES) {
		scan->at = first;
		return fail(scan, "a number of more than 63 bytes");
	}
	if (is_integer && !bytes_to_uint(digits, DATA_INTEGER_MAX, &value)) {
		scan->at = first;
		return fail(scan, "an integer beyond +-(2^53-1)");
	}
	if (!is_integer && !is_finite(first, (size_t)(scan->at - first))) {
		scan->at = first;
		return fail(scan, "a number that is too large");
	}
	return true;
}

static bool
scan_word(struct scan *scan, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(scan->end - scan->at) < len ||
	    memcmp(scan->at, word, len) != 0)
		return fail(scan, "neither a value nor true, false, null");
	scan->at += len;
	return true;
}

/* ---- objects and arrays ---- */

static bool
scan_name(struct scan *scan)
{
	const unsigned char *quote;
	struct member *member;

	skip_blanks(scan);
	if (peek(scan) != '"')
		return fail(scan, "a member's name was expected");
	if (scan->members_count == scan->members_max)
		return fail(scan, "too many members");
	quote = scan->at;
	if (!scan_string(scan))
		return false;
	member = &scan->members[scan->members_count++];
	member->object = scan->levels[scan->depth - 1].object;
	member->name_at = (uint32_t)(quote + 1 - scan->start);
	member->name_len = (uint32_t)(scan->at - quote - 2);
	skip_blanks(scan);
	if (peek(scan) != ':')
		return fail(scan, "':' was expected");
	scan->at++;
	return true;
}

/* `at` is at the bracket. *wants_value: whether a value comes next. */
static bool
scan_open(struct scan *scan, bool *wants_value)
{
	bool is_object = *scan->at == '{';

	if (scan->depth == scan->depth_max)
		return fail(scan, "too deep");
	scan->levels[scan->depth].is_object = is_object;
	if (is_object)
		scan->levels[scan->depth].object = ++scan->object;
	scan->depth++;
	scan->at++;
	skip_blanks(scan);
	*wants_value = true;
	if (peek(scan) == (is_object ? '}' : ']')) {
		scan->at++;
		scan->depth--;
		*wants_value = false;
		return true;
	}
	return is_object ? scan_name(scan) : true;
}

static bool
scan_value(struct scan *scan, bool *wants_value)
{
	skip_blanks(scan);
	*wants_value = false;
	switch (peek(scan)) {
	case -1:
		return fail(scan, "the text ends too early");
	case '{':
	case '[':
		return scan_open(scan, wants_value);
	case '"':
		return scan_string(scan);
	case 't':
		return scan_word(scan, "true");
	case 'f':
		return scan_word(scan, "false");
	case 'n':
		return scan_word(scan, "null");
	default:
		if (peek(scan) == '-' ||
		    (peek(scan) >= '0' && peek(scan) <= '9'))
			return scan_number(scan);
		return fail(scan, "a value was expected");
	}
}

/* What comes behind a value in an object or array. */
static bool
scan_after(struct scan *scan, bool *wants_value)
{
	bool is_object = scan->levels[scan->depth - 1].is_object;

	skip_blanks(scan);
	if (peek(scan) == (is_object ? '}' : ']')) {
		scan->at++;
		scan->depth--;
		return true;
	}
	if (peek(scan) == -1)
		return fail(scan, "the text ends too early");
	if (peek(scan) != ',')
		return fail(scan, is_object ? "',' or '}' was expected"
					    : "',' or ']' was expected");
	scan->at++;
	*wants_value = true;
	return is_object ? scan_name(scan) : true;
}

/* ---- names that stand twice ---- */

/* The next character of a name that has been scanned, as a code point. */
static int
next_code(const unsigned char **at)
{
	static const char plain[] = "bfnrt", meant[] = "\b\f\n\r\t";
	const unsigned char *p = *at;
	const char *found;
	int code, more;

	if (p[0] == '\\' && p[1] == 'u') {
		code = hex4(p + 2, p + 6);
		*at += 6;
		if (is_high_surrogate(code)) {
			code = 0x10000 + ((code - 0xd800) << 10) +
			       (hex4(p + 8, p + 12) - 0xdc00);
			*at += 6;
		}
		return code;
	}
	if (p[0] == '\\') {
		*at += 2;
		found = strchr(plain, p[1]);
		return found == NULL ? p[1] : meant[found - plain];
	}
	more = p[0] < 0x80 ? 0 : p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
	code = more == 0 ? p[0] : p[0] & (0x3f >> more);
	*at += 1 + more;
	for (p++; more > 0; more--)
		code = code << 6 | (*p++ & 0x3f);
	return code;
}

static int
compare_members(const void *left, const void *right, void *arg)
{
	const struct scan *scan = arg;
	const struct member *a = left, *b = right;
	const unsigned char *a_at = scan->start + a->name_at;
	const unsigned char *b_at = scan->start + b->name_at;
	const unsigned char *a_end = a_at + a->name_len;
	const unsigned char *b_end = b_at + b->name_len;

	if (a->object != b->object)
		return a->object < b->object ? -1 : 1;
	while (a_at < a_end && b_at < b_end) {
		int difference = next_code(&a_at) - next_code(&b_at);

		if (difference != 0)
			return difference;
	}
	return (a_at < a_end) - (b_at < b_end);
}

static bool
check_names(struct scan *scan)
{
	struct member *members = scan->members;
	size_t i;

	qsort_r(members, scan->members_count, sizeof(*members), compare_members,
	    scan);
	for (i = 1; i < scan->members_count; i++)
		if (compare_members(&members[i - 1], &members[i], scan) == 0) {
			uint32_t a = members[i - 1].name_at;
			uint32_t b = members[i].name_at;

			scan->at = scan->start + (a > b ? a : b);
			return fail(scan, "this member stands twice");
		}
	return true;
}

/* ---- the whole ---- */

static bool
scan_document(struct scan *scan)
{
	bool wants_value = true;
	bool is_ok;

	skip_blanks(scan);
	if (peek(scan) != '{')
		return fail(scan, "an object was expected");
	do
		is_ok = wants_value ? scan_value(scan, &wants_value)
				    : scan_after(scan, &wants_value);
	while (is_ok && scan->depth > 0);
	if (!is_ok)
		return false;
	skip_blanks(scan);
	if (scan->at < scan->end)
		return fail(scan, "more text behind the object");
	return check_names(scan);
}

static enum sgate_status
run(struct sgate_bytes json, size_t max_bytes, size_t depth_max,
    struct member *members, size_t members_max, struct sgate_error *err)
{
	struct scan scan;

	error_clear(err);
	if (json.len > max_bytes || json.len > UINT32_MAX)
		return error_set(err, SGATE_TOO_LARGE, "data", "scan", 0,
		    "more than %zu bytes", max_bytes);
	memset(&scan, 0, sizeof(scan));
	scan.start = (const unsigned char *)(json.len > 0 ? json.data : "");
	scan.at = scan.start;
	scan.end = scan.start + json.len;
	scan.depth_max = depth_max;
	scan.members = members;
	scan.members_max = members_max;
	if (scan_document(&scan))
		return SGATE_OK;
	return error_set(err, SGATE_INVALID, "data", "scan", 0, "byte %zu: %s",
	    (size_t)(scan.at - scan.start), scan.wrong);
}

enum sgate_status
data_scan(struct sgate_bytes json, size_t max_bytes, struct sgate_error *err)
{
	struct member members[DATA_MEMBERS_MAX];

	return run(
	    json, max_bytes, DATA_DEPTH_MAX, members, DATA_MEMBERS_MAX, err);
}

enum sgate_status
data_scan_within(struct sgate_bytes json, size_t max_bytes, size_t depth_max,
    size_t members_max, struct sgate_error *err)
{
	enum sgate_status status;
	struct member *members;

	if (depth_max > DATA_ANSWER_DEPTH_MAX)
		depth_max = DATA_ANSWER_DEPTH_MAX;
	members = calloc(members_max, sizeof(*members));
	if (members == NULL)
		return error_memory(err, "scan");
	status = run(json, max_bytes, depth_max, members, members_max, err);
	free(members);
	return status;
}
