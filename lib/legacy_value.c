/* The tree that formats become: making it, looking into it, writing it out. */
#include "config.h"

#include "legacy_value.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"

#define CHUNK_BYTES 4096

struct legacy_chunk {
	struct legacy_chunk *next;
	size_t used, size;
	max_align_t memory[];
};

/* ---- making ---- */

void
legacy_tree_init(struct legacy_tree *tree)
{
	memset(tree, 0, sizeof(*tree));
	tree->root.kind = LEGACY_MAP;
}

void
legacy_tree_clear(struct legacy_tree *tree)
{
	while (tree->chunks != NULL) {
		struct legacy_chunk *chunk = tree->chunks;

		tree->chunks = chunk->next;
		explicit_bzero(chunk->memory, chunk->size);
		free(chunk);
	}
	legacy_tree_init(tree);
}

bool
legacy_fail(struct legacy_tree *tree, const char *why)
{
	if (tree->why == NULL)
		tree->why = why;
	return false;
}

bool
legacy_enter(struct legacy_tree *tree)
{
	if (tree->depth >= LEGACY_DEPTH_MAX)
		return legacy_fail(tree, "it is nested too deeply");
	tree->depth++;
	return true;
}

void
legacy_leave(struct legacy_tree *tree)
{
	tree->depth--;
}

static struct legacy_chunk *
add_chunk(struct legacy_tree *tree, size_t len)
{
	size_t size = len > CHUNK_BYTES ? len : CHUNK_BYTES;
	struct legacy_chunk *chunk;

	if (size > LEGACY_TREE_BYTES_MAX - tree->bytes) {
		legacy_fail(tree, "it needs too much memory");
		return NULL;
	}
	chunk = malloc(sizeof(*chunk) + size);
	if (chunk == NULL) {
		tree->has_no_memory = true;
		legacy_fail(tree, "out of memory");
		return NULL;
	}
	chunk->next = tree->chunks;
	chunk->used = 0;
	chunk->size = size;
	tree->chunks = chunk;
	tree->bytes += size;
	return chunk;
}

char *
legacy_room(struct legacy_tree *tree, size_t len)
{
	struct legacy_chunk *chunk = tree->chunks;
	char *at;

	if (len > LEGACY_TREE_BYTES_MAX) {
		legacy_fail(tree, "it needs too much memory");
		return NULL;
	}
	len = (len / sizeof(max_align_t) + 1) * sizeof(max_align_t);
	if (chunk == NULL || chunk->size - chunk->used < len)
		chunk = add_chunk(tree, len);
	if (chunk == NULL)
		return NULL;
	at = (char *)chunk->memory + chunk->used;
	chunk->used += len;
	return at;
}

struct legacy_value *
legacy_add(struct legacy_tree *tree, struct legacy_value *parent,
    struct sgate_bytes key)
{
	struct legacy_value *value;

	if (++tree->values > LEGACY_VALUES_MAX) {
		legacy_fail(tree, "it has too many values");
		return NULL;
	}
	value =
	    (struct legacy_value *)(void *)legacy_room(tree, sizeof(*value));
	if (value == NULL)
		return NULL;
	memset(value, 0, sizeof(*value));
	value->key = key;
	if (parent->last == NULL)
		parent->first = value;
	else
		parent->last->next = value;
	parent->last = value;
	return value;
}

struct sgate_bytes
legacy_int_text(struct legacy_tree *tree, int64_t value)
{
	char *text = legacy_room(tree, INT_TEXT_MAX);

	if (text == NULL)
		return (struct sgate_bytes){NULL, 0};
	return (struct sgate_bytes){text, int_text(value, text)};
}

void
legacy_set_text(struct legacy_value *value, struct sgate_bytes text)
{
	value->kind = LEGACY_TEXT;
	value->text = text;
}

void
legacy_set_integer(struct legacy_value *value, int64_t integer)
{
	value->kind = LEGACY_INTEGER;
	value->integer = integer;
}

void
legacy_set_number(struct legacy_value *value, double number)
{
	value->kind = LEGACY_NUMBER;
	value->number = number;
}

void
legacy_set_bool(struct legacy_value *value, bool is_true)
{
	value->kind = LEGACY_BOOL;
	value->integer = is_true;
}

/* ---- looking ---- */

static struct legacy_value *
find_member(struct legacy_value *map, struct sgate_bytes name)
{
	struct legacy_value *member, *found = NULL;
	uint64_t index = 0;
	bool is_list = map->kind == LEGACY_LIST &&
		       bytes_to_uint(name, LEGACY_VALUES_MAX, &index);

	if (map->kind != LEGACY_MAP && !is_list)
		return NULL;
	for (member = map->first; member != NULL; member = member->next) {
		if (is_list
			? index-- == 0
			: !member->is_gone && bytes_equal(member->key, name))
			found = member;
		if (is_list && found != NULL)
			break;
	}
	return found;
}

struct legacy_value *
legacy_find(struct legacy_value *map, const char *path)
{
	struct sgate_bytes rest = bytes_of(path);
	struct legacy_value *found = find_member(map, rest);

	if (found != NULL || strchr(path, '.') == NULL)
		return found;
	found = map;
	while (found != NULL && rest.data != NULL)
		found = find_member(found, bytes_cut(&rest, '.'));
	return found;
}

bool
legacy_get_text(struct legacy_value *map, const char *path,
    char number[INT_TEXT_MAX], struct sgate_bytes *out)
{
	const struct legacy_value *value = legacy_find(map, path);

	*out = (struct sgate_bytes){NULL, 0};
	if (value == NULL)
		return false;
	if (value->kind == LEGACY_TEXT) {
		*out = value->text;
		return true;
	}
	if (value->kind != LEGACY_INTEGER && value->kind != LEGACY_BOOL)
		return false;
	*out = (struct sgate_bytes){number, int_text(value->integer, number)};
	return true;
}

bool
legacy_get_integer(struct legacy_value *map, const char *path, int64_t *out)
{
	const struct legacy_value *value = legacy_find(map, path);
	uint64_t number;

	if (value == NULL)
		return false;
	if (value->kind == LEGACY_INTEGER) {
		*out = value->integer;
		return true;
	}
	if (value->kind == LEGACY_NUMBER &&
	    fabs(value->number) <= (double)DATA_INTEGER_MAX) {
		*out = (int64_t)value->number;
		return true;
	}
	if (value->kind != LEGACY_TEXT ||
	    !bytes_to_uint(value->text, INT64_MAX, &number))
		return false;
	*out = (int64_t)number;
	return true;
}

void
legacy_remove(struct legacy_value *map, const char *name)
{
	struct legacy_value *member;

	for (member = map->first; member != NULL; member = member->next)
		if (bytes_equal_text(member->key, name))
			member->is_gone = true;
}

/* ---- writing ---- */

static bool
is_text(struct sgate_bytes text)
{
	return memchr(text.len == 0 ? "" : text.data, '\0', text.len) == NULL &&
	       bytes_is_utf8(text);
}

/* Whether JSON can have it there, at that depth. */
static bool
is_sayable(const struct legacy_value *value, unsigned depth,
    struct legacy_dropped *dropped)
{
	switch (value->kind) {
	case LEGACY_NULL:
	case LEGACY_BOOL:
	case LEGACY_INTEGER:
		return true;
	case LEGACY_NUMBER:
		dropped->unknown += !isfinite(value->number);
		return isfinite(value->number);
	case LEGACY_TEXT:
		dropped->not_text += !is_text(value->text);
		return is_text(value->text);
	case LEGACY_LIST:
	case LEGACY_MAP:
		dropped->too_deep += depth >= DATA_DEPTH_MAX;
		return depth < DATA_DEPTH_MAX;
	case LEGACY_OTHER:
		break;
	}
	dropped->unknown++;
	return false;
}

/* Whether a later member has its name: bounded, since more than ours may have
 * are not looked at. */
static bool
is_replaced(const struct legacy_value *member)
{
	const struct legacy_value *later;

	for (later = member->next; later != NULL; later = later->next)
		if (!later->is_gone && bytes_equal(later->key, member->key))
			return true;
	return false;
}

static void write_value(struct json *json, const char *key,
    const struct legacy_value *value, struct legacy_dropped *dropped);

static void
write_number(struct json *json, const char *key, double number)
{
	char text[40];

	snprintf(text, sizeof(text), "%.17g", number);
	/* An integer beyond what all readers take is written as a fraction. */
	if (fabs(number) > (double)DATA_INTEGER_MAX &&
	    strpbrk(text, ".e") == NULL)
		snprintf(text, sizeof(text), "%.16e", number);
	json_raw(json, key, bytes_of(text));
}

static void
write_integer(struct json *json, const char *key, int64_t integer)
{
	char text[INT_TEXT_MAX];

	if (integer >= -DATA_INTEGER_MAX && integer <= DATA_INTEGER_MAX)
		json_int(json, key, integer);
	else
		json_string(json, key,
		    (struct sgate_bytes){text, int_text(integer, text)});
}

static void
write_list(struct json *json, const char *key, const struct legacy_value *list,
    struct legacy_dropped *dropped)
{
	const struct legacy_value *value;

	json_array(json, key);
	for (value = list->first; value != NULL; value = value->next) {
		if (is_sayable(value, json->depth, dropped))
			write_value(json, NULL, value, dropped);
		else
			json_null(json, NULL);
	}
	json_end(json);
}

static void
write_map(struct json *json, const char *key, const struct legacy_value *map,
    struct legacy_dropped *dropped)
{
	const struct legacy_value *member;
	char *name;

	json_object(json, key);
	for (member = map->first; member != NULL; member = member->next) {
		if (member->is_gone || is_replaced(member) ||
		    member->kind == LEGACY_NULL)
			continue;
		if (!is_text(member->key)) {
			dropped->not_text++;
			continue;
		}
		if (!is_sayable(member, json->depth, dropped))
			continue;
		name = bytes_dup(member->key);
		if (name == NULL)
			json->buf->failed = true;
		else
			write_value(json, name, member, dropped);
		free(name);
	}
	json_end(json);
}

static void
write_value(struct json *json, const char *key,
    const struct legacy_value *value, struct legacy_dropped *dropped)
{
	switch (value->kind) {
	case LEGACY_NULL:
	case LEGACY_OTHER:
		json_null(json, key);
		break;
	case LEGACY_BOOL:
		json_bool(json, key, value->integer != 0);
		break;
	case LEGACY_INTEGER:
		write_integer(json, key, value->integer);
		break;
	case LEGACY_NUMBER:
		write_number(json, key, value->number);
		break;
	case LEGACY_TEXT:
		json_string(json, key, value->text);
		break;
	case LEGACY_LIST:
		write_list(json, key, value, dropped);
		break;
	case LEGACY_MAP:
		write_map(json, key, value, dropped);
		break;
	}
}

/* Stops counting where it is more than ours may have anyway. */
static size_t
count_members(const struct legacy_value *value, size_t count)
{
	const struct legacy_value *child;

	for (child = value->first; child != NULL && count <= DATA_MEMBERS_MAX;
	     child = child->next)
		count =
		    count_members(child, count + (value->kind == LEGACY_MAP));
	return count;
}

void
legacy_render(const struct legacy_value *map, struct buf *out,
    struct legacy_dropped *dropped)
{
	struct json json;

	/* Also what keeps is_replaced() from being slow. */
	if (count_members(map, 0) > DATA_MEMBERS_MAX) {
		dropped->data = true;
		buf_add_text(out, "{}");
		return;
	}
	json_init(&json, out);
	write_map(&json, NULL, map, dropped);
}

/* ---- moments ---- */

/* Exactly `digits` of them. */
static bool
take_number(
    struct sgate_bytes *text, unsigned digits, int64_t max, int64_t *out)
{
	int64_t number = 0;
	unsigned i;

	if (text->len < digits)
		return false;
	for (i = 0; i < digits; i++) {
		if (text->data[i] < '0' || text->data[i] > '9')
			return false;
		number = number * 10 + (text->data[i] - '0');
	}
	text->data += digits;
	text->len -= digits;
	*out = number;
	return number <= max;
}

static bool
take_char(struct sgate_bytes *text, const char *any)
{
	if (text->len == 0 || text->data[0] == '\0' ||
	    strchr(any, text->data[0]) == NULL)
		return false;
	text->data++;
	text->len--;
	return true;
}

/* Howard Hinnant's: days since 1970-01-01 of the proleptic calendar. */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t era, of_era, of_year;

	year -= month <= 2;
	era = (year >= 0 ? year : year - 399) / 400;
	of_era = year - era * 400;
	of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
	return era * 146097 + of_era - 719468;
}

/* Behind the seconds: a fraction, of which milliseconds count. */
static bool
take_fraction(struct sgate_bytes *text, int64_t *out_ms)
{
	int64_t digit, unit = 100;
	unsigned count = 0;

	*out_ms = 0;
	if (!take_char(text, "."))
		return true;
	while (take_number(text, 1, 9, &digit)) {
		*out_ms += digit * unit;
		unit /= 10;
		if (++count > 9)
			return false;
	}
	return count > 0;
}

/* "Z", "+01:00", "-0530" or nothing: seconds east. */
static bool
take_zone(struct sgate_bytes *text, int64_t *out_seconds)
{
	int64_t hours, minutes;
	bool is_west;

	*out_seconds = 0;
	if (text->len == 0)
		return true;
	if (take_char(text, "Zz"))
		return text->len == 0;
	is_west = text->data[0] == '-';
	if (!take_char(text, "+-") || !take_number(text, 2, 14, &hours))
		return false;
	if (text->len > 2 && !take_char(text, ":"))
		return false;
	if (!take_number(text, 2, 59, &minutes) || text->len > 0)
		return false;
	*out_seconds = (hours * 3600 + minutes * 60) * (is_west ? -1 : 1);
	return true;
}

bool
legacy_parse_time(struct sgate_bytes text, int64_t *out_ms)
{
	int64_t year, month, day, hour, minute, second, ms, zone;

	if (!take_number(&text, 4, 9999, &year) || !take_char(&text, "-") ||
	    !take_number(&text, 2, 12, &month) || !take_char(&text, "-") ||
	    !take_number(&text, 2, 31, &day) || !take_char(&text, "T ") ||
	    !take_number(&text, 2, 23, &hour) || !take_char(&text, ":") ||
	    !take_number(&text, 2, 59, &minute) || !take_char(&text, ":") ||
	    !take_number(&text, 2, 60, &second) || !take_fraction(&text, &ms) ||
	    !take_zone(&text, &zone))
		return false;
	if (month == 0 || day == 0 || year < 1970)
		return false;
	*out_ms = (days_of(year, month, day) * 86400 + hour * 3600 +
		      minute * 60 + second - zone) *
		      1000 +
		  ms;
	return *out_ms > 0;
}
