/*
 * JSON values, kept by cJSON, which no other file sees.
 *
 * cJSON 1.7.15 is used for what it does right: a parser for text that
 * data_scan.c has let through, and a tree. Not used: its printer (of
 * 9007199254740991 it makes 9.00719925474099e+15, another number), the calls
 * that ignore case, cJSON_Compare and cJSON_Utils. It recurses; the scan has
 * bounded the depth by then.
 *
 * Numbers are read and written in the "C" locale, whatever the program's is.
 */
#include "config.h"

#include "data.h"

#include "status.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#define NAME_PREFIX "SESSION_DATA_"
#define NAME_MAX_BYTES 128
#define NUMBER_SIZE 40

/* struct data is never defined: it is a cJSON object in disguise. */
static const cJSON *
node(const struct data *data)
{
	return (const cJSON *)data;
}

static const cJSON *
member(const struct data *data, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(node(data), name);
}

/* ---- locale ---- */

struct locales {
	locale_t c, former;
};

static bool
enter_c_locale(struct locales *locales)
{
	locales->c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (locales->c == (locale_t)0)
		return false;
	locales->former = uselocale(locales->c);
	return true;
}

static void
leave_c_locale(const struct locales *locales)
{
	uselocale(locales->former);
	freelocale(locales->c);
}

/* ---- parsing ---- */

/* The text has been scanned. */
static enum sgate_status
parse(struct sgate_bytes json, struct data **out_data, struct sgate_error *err)
{
	struct locales locales;
	const char *end = NULL;
	cJSON *root;

	if (!enter_c_locale(&locales))
		return error_memory(err, "parse");
	root = cJSON_ParseWithLengthOpts(json.data, json.len, &end, 0);
	leave_c_locale(&locales);
	if (root == NULL)
		return error_memory(err, "parse");
	while (end < json.data + json.len && strchr(" \t\r\n", *end) != NULL)
		end++;
	if (end != json.data + json.len || !cJSON_IsObject(root)) {
		cJSON_Delete(root);
		return error_set(err, SGATE_INTERNAL, "data", "parse", 0,
		    "cJSON read the text otherwise than data_scan()");
	}
	*out_data = (struct data *)root;
	return SGATE_OK;
}

enum sgate_status
data_parse(struct sgate_bytes json, size_t max_bytes, struct data **out_data,
    struct sgate_error *err)
{
	enum sgate_status status;

	*out_data = NULL;
	status = data_scan(json, max_bytes, err);
	if (status != SGATE_OK)
		return status;
	return parse(json, out_data, err);
}

enum sgate_status
data_parse_answer(struct sgate_bytes json, size_t max_bytes,
    struct data **out_data, struct sgate_error *err)
{
	enum sgate_status status;

	*out_data = NULL;
	status = data_scan_within(json, max_bytes, DATA_ANSWER_DEPTH_MAX,
	    DATA_ANSWER_MEMBERS_MAX, err);
	if (status != SGATE_OK)
		return status;
	return parse(json, out_data, err);
}

void
data_free(struct data *data)
{
	cJSON_Delete((cJSON *)data);
}

/* ---- printing ---- */

static bool
is_integer(double value)
{
	return value >= -(double)DATA_INTEGER_MAX &&
	       value <= (double)DATA_INTEGER_MAX && trunc(value) == value;
}

/*
 * The shortest of 15 to 17 digits that reads back as the same number. In the
 * "C" locale. Beyond 2^53 a point is added where there is no exponent, or it
 * would read as an integer that is too large.
 */
static void
number_text(double value, char out[NUMBER_SIZE])
{
	int digits;

	if (is_integer(value)) {
		snprintf(out, NUMBER_SIZE, "%" PRId64, (int64_t)value);
		return;
	}
	for (digits = 15; digits <= 17; digits++) {
		snprintf(out, NUMBER_SIZE - 2, "%.*g", digits, value);
		if (strtod(out, NULL) == value)
			break;
	}
	if (strpbrk(out, ".e") == NULL)
		strcat(out, ".0");
}

static void
print_string(const char *text, struct buf *out)
{
	static const char plain[] = "\"\\\b\f\n\r\t", escapes[] = "\"\\bfnrt";
	const char *found;

	buf_add_char(out, '"');
	for (; *text != '\0'; text++) {
		found = strchr(plain, *text);
		if (found != NULL) {
			buf_add_char(out, '\\');
			buf_add_char(out, escapes[found - plain]);
		} else if ((unsigned char)*text < 0x20) {
			buf_printf(out, "\\u%04x", (unsigned char)*text);
		} else {
			buf_add_char(out, *text);
		}
	}
	buf_add_char(out, '"');
}

static void
print_number(double value, struct buf *out)
{
	char text[NUMBER_SIZE];

	number_text(value, text);
	buf_add_text(out, text);
}

static void print_item(const cJSON *item, struct buf *out);

static void
print_children(const cJSON *item, struct buf *out)
{
	const cJSON *child;

	for (child = item->child; child != NULL; child = child->next) {
		if (child != item->child)
			buf_add_char(out, ',');
		if (cJSON_IsObject(item)) {
			print_string(child->string, out);
			buf_add_char(out, ':');
		}
		print_item(child, out);
	}
}

/* As deep as what was parsed: DATA_ANSWER_DEPTH_MAX at most. */
static void
print_item(const cJSON *item, struct buf *out)
{
	if (cJSON_IsObject(item)) {
		buf_add_char(out, '{');
		print_children(item, out);
		buf_add_char(out, '}');
	} else if (cJSON_IsArray(item)) {
		buf_add_char(out, '[');
		print_children(item, out);
		buf_add_char(out, ']');
	} else if (cJSON_IsString(item)) {
		print_string(item->valuestring, out);
	} else if (cJSON_IsNumber(item)) {
		print_number(item->valuedouble, out);
	} else if (cJSON_IsTrue(item)) {
		buf_add_text(out, "true");
	} else if (cJSON_IsFalse(item)) {
		buf_add_text(out, "false");
	} else {
		buf_add_text(out, "null");
	}
}

static bool
print(const cJSON *item, struct buf *out)
{
	struct locales locales;

	if (!enter_c_locale(&locales))
		return false;
	print_item(item, out);
	leave_c_locale(&locales);
	return !buf_failed(out);
}

enum sgate_status
data_print(const struct data *data, struct buf *out, struct sgate_error *err)
{
	error_clear(err);
	return print(node(data), out) ? SGATE_OK : error_memory(err, "print");
}

/* ---- changing ---- */

/* The first null member at any depth, or NULL. */
static const cJSON *
find_null(const cJSON *item)
{
	const cJSON *child, *found;

	for (child = item->child; child != NULL; child = child->next) {
		if (cJSON_IsNull(child) && cJSON_IsObject(item))
			return child;
		found = find_null(child);
		if (found != NULL)
			return found;
	}
	return NULL;
}

enum sgate_status
data_refuse_null(const struct data *data, struct sgate_error *err)
{
	const cJSON *found = find_null(node(data));

	error_clear(err);
	if (found == NULL)
		return SGATE_OK;
	return error_set(err, SGATE_INVALID, "data", "check", 0,
	    "member \"%.64s\" is null; leave it out", found->string);
}

/* Takes `item`, also when it fails. */
static bool
put(cJSON *object, const char *name, cJSON *item)
{
	bool is_ok;

	if (item == NULL)
		return false;
	if (cJSON_GetObjectItemCaseSensitive(object, name) == NULL) {
		is_ok = cJSON_AddItemToObject(object, name, item);
		if (!is_ok)
			cJSON_Delete(item);
		return is_ok;
	}
	/* It does not look whether it got memory for the name. */
	return cJSON_ReplaceItemInObjectCaseSensitive(object, name, item) &&
	       item->string != NULL;
}

static bool
merge(cJSON *target, const cJSON *patch)
{
	const cJSON *change;
	cJSON *old, *made;

	for (change = patch->child; change != NULL; change = change->next) {
		const char *name = change->string;

		old = cJSON_GetObjectItemCaseSensitive(target, name);
		if (cJSON_IsNull(change)) {
			cJSON_DeleteItemFromObjectCaseSensitive(target, name);
		} else if (!cJSON_IsObject(change)) {
			if (!put(target, name, cJSON_Duplicate(change, 1)))
				return false;
		} else if (cJSON_IsObject(old)) {
			if (!merge(old, change))
				return false;
		} else {
			/* Nulls inside are left out, so not a plain copy. */
			made = cJSON_CreateObject();
			if (made != NULL && !merge(made, change)) {
				cJSON_Delete(made);
				return false;
			}
			if (!put(target, name, made))
				return false;
		}
	}
	return true;
}

enum sgate_status
data_merge(
    struct data *target, const struct data *patch, struct sgate_error *err)
{
	error_clear(err);
	return merge((cJSON *)target, node(patch)) ? SGATE_OK
						   : error_memory(err, "merge");
}

static bool
is_listed(char *const *names, const char *name)
{
	for (; *names != NULL; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

enum sgate_status
data_filter(const struct data *data, char *const *names, struct data **out,
    struct sgate_error *err)
{
	cJSON *copy = cJSON_CreateObject();
	const cJSON *child;

	*out = NULL;
	error_clear(err);
	if (copy == NULL)
		return error_memory(err, "filter");
	for (child = node(data)->child; child != NULL; child = child->next) {
		if (!is_listed(names, child->string))
			continue;
		if (!put(copy, child->string, cJSON_Duplicate(child, 1))) {
			cJSON_Delete(copy);
			return error_memory(err, "filter");
		}
	}
	*out = (struct data *)copy;
	return SGATE_OK;
}

/* ---- reading ---- */

const char *
data_member_at(const struct data *data, size_t index)
{
	const cJSON *child = node(data)->child;

	while (child != NULL && index-- > 0)
		child = child->next;
	return child == NULL ? NULL : child->string;
}

enum data_kind
data_kind(const struct data *data, const char *name)
{
	const cJSON *item = member(data, name);

	if (item == NULL)
		return DATA_ABSENT;
	if (cJSON_IsNull(item))
		return DATA_NULL;
	if (cJSON_IsBool(item))
		return DATA_BOOL;
	if (cJSON_IsNumber(item))
		return is_integer(item->valuedouble) ? DATA_INTEGER
						     : DATA_NUMBER;
	if (cJSON_IsString(item))
		return DATA_STRING;
	return cJSON_IsArray(item) ? DATA_ARRAY : DATA_OBJECT;
}

bool
data_get_string(
    const struct data *data, const char *name, struct sgate_bytes *out)
{
	const cJSON *item = member(data, name);

	*out = bytes_of(NULL);
	if (!cJSON_IsString(item))
		return false;
	*out = bytes_of(item->valuestring);
	return true;
}

bool
data_get_integer(const struct data *data, const char *name, int64_t *out)
{
	const cJSON *item = member(data, name);

	*out = 0;
	if (!cJSON_IsNumber(item) || !is_integer(item->valuedouble))
		return false;
	*out = (int64_t)item->valuedouble;
	return true;
}

bool
data_get_bool(const struct data *data, const char *name, bool *out)
{
	const cJSON *item = member(data, name);

	*out = cJSON_IsTrue(item);
	return cJSON_IsBool(item);
}

bool
data_get_strings(const struct data *data, const char *name,
    struct sgate_bytes **out_items, size_t *out_count)
{
	const cJSON *array = member(data, name);
	struct sgate_bytes *items;
	const cJSON *child;
	size_t count = 0;

	*out_items = NULL;
	*out_count = 0;
	if (!cJSON_IsArray(array))
		return false;
	for (child = array->child; child != NULL; child = child->next) {
		if (!cJSON_IsString(child))
			return false;
		count++;
	}
	/* One more, so that an empty list is not NULL. */
	items = calloc(count + 1, sizeof(*items));
	if (items == NULL)
		return false;
	*out_items = items;
	*out_count = count;
	for (child = array->child; child != NULL; child = child->next)
		*items++ = bytes_of(child->valuestring);
	return true;
}

bool
data_get_json(const struct data *data, const char *name, struct buf *out)
{
	const cJSON *item = member(data, name);

	return item != NULL && print(item, out);
}

const struct data *
data_get_object(const struct data *data, const char *name)
{
	const cJSON *item = member(data, name);

	return cJSON_IsObject(item) ? (const struct data *)item : NULL;
}

size_t
data_array_count(const struct data *data, const char *name)
{
	const cJSON *array = member(data, name);

	return cJSON_IsArray(array) ? (size_t)cJSON_GetArraySize(array) : 0;
}

const struct data *
data_array_object(const struct data *data, const char *name, size_t index)
{
	const cJSON *array = member(data, name);
	const cJSON *child = cJSON_IsArray(array) ? array->child : NULL;

	while (child != NULL && index-- > 0)
		child = child->next;
	return cJSON_IsObject(child) ? (const struct data *)child : NULL;
}

/* ---- exports ---- */

/* False: not a name that a variable can be made of. */
static bool
variable_name(const char *name, char out[NAME_MAX_BYTES + 1])
{
	size_t i;

	if (!bytes_is_name(bytes_of(name), NAME_MAX_BYTES, "_"))
		return false;
	for (i = 0; name[i] != '\0'; i++)
		out[i] = name[i] >= 'a' && name[i] <= 'z'
			     ? (char)(name[i] - 'a' + 'A')
			     : name[i];
	out[i] = '\0';
	return true;
}

static enum sgate_status
export_member(const cJSON *item, const char *name, struct buf *out,
    struct sgate_error *err)
{
	char variable[NAME_MAX_BYTES + 1];

	if (!variable_name(name, variable))
		return error_set(err, SGATE_INVALID, "data", "export", 0,
		    "member \"%.64s\" has a name that no variable can have",
		    name);
	if (cJSON_IsString(item) &&
	    bytes_has_control(bytes_of(item->valuestring)))
		return error_set(err, SGATE_INVALID, "data", "export", 0,
		    "member \"%s\" is exported and has a control character",
		    name);
	buf_printf(out, NAME_PREFIX "%s=", variable);
	if (cJSON_IsString(item))
		buf_add_text(out, item->valuestring);
	else
		print_item(item, out);
	buf_add_char(out, '\n');
	return SGATE_OK;
}

static bool
is_exported(const cJSON *item)
{
	return cJSON_IsString(item) || cJSON_IsNumber(item) ||
	       cJSON_IsBool(item);
}

static enum sgate_status
export_members(const struct data *data, char *const *names, struct buf *out,
    struct sgate_error *err)
{
	enum sgate_status status;
	const cJSON *item;

	for (; *names != NULL; names++) {
		item = member(data, *names);
		if (!is_exported(item))
			continue;
		status = export_member(item, *names, out, err);
		if (status != SGATE_OK)
			return status;
	}
	return buf_failed(out) ? error_memory(err, "export") : SGATE_OK;
}

enum sgate_status
data_exports(const struct data *data, char *const *names, size_t max_bytes,
    struct buf *out, struct sgate_error *err)
{
	enum sgate_status status;
	struct locales locales;
	struct buf block;

	error_clear(err);
	if (!enter_c_locale(&locales))
		return error_memory(err, "export");
	buf_init(&block);
	status = export_members(data, names, &block, err);
	leave_c_locale(&locales);
	if (status == SGATE_OK && block.len > max_bytes)
		status = error_set(err, SGATE_TOO_LARGE, "data", "export", 0,
		    "the exported members take %zu bytes, more than %zu",
		    block.len, max_bytes);
	if (status == SGATE_OK) {
		buf_add_bytes(out, buf_bytes(&block));
		if (buf_failed(out))
			status = error_memory(err, "export");
	}
	buf_clear(&block);
	return status;
}
