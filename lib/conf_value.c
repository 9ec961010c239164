/*
 * One value of one option: from what the file or -o gives into the struct, and
 * back to text. Refusals say what is wrong and what would be right.
 */
#include "config.h"

#include "conf_option.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 1024
#define ITEMS_MAX 256
/* As much of a wrong value as a message repeats. */
#define SHOWN 40

struct unit {
	const char *name;
	int64_t factor;
};

/* From large to small, for printing. */
static const struct unit durations[] = {{"d", 86400000}, {"h", 3600000},
    {"min", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
static const struct unit sizes[] = {{"GiB", INT64_C(1) << 30}, {"MiB", 1 << 20},
    {"KiB", 1 << 10}, {"B", 1}, {NULL, 0}};

static const struct {
	const char *word;
	unsigned bit;
} allows[] = {{"check", CONF_ALLOW_CHECK}, {"api", CONF_ALLOW_API},
    {"remote-user", CONF_ALLOW_REMOTE_USER}, {"create", CONF_ALLOW_CREATE},
    {"v1", CONF_ALLOW_V1}, {"admin", CONF_ALLOW_ADMIN}};
#define ALLOWS_COUNT (sizeof(allows) / sizeof(allows[0]))

unsigned
conf_allow_parse(const char *word)
{
	size_t i;

	for (i = 0; i < ALLOWS_COUNT; i++)
		if (strcmp(word, allows[i].word) == 0)
			return allows[i].bit;
	return 0;
}

/* ---- printing ---- */

static void
print_text(const char *text, struct buf *out)
{
	buf_add_char(out, '"');
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, *text);
	}
	buf_add_char(out, '"');
}

static void
print_list(char *const *list, struct buf *out)
{
	size_t i;

	buf_add_char(out, '[');
	for (i = 0; list[i] != NULL; i++) {
		if (i > 0)
			buf_add_text(out, ", ");
		print_text(list[i], out);
	}
	buf_add_char(out, ']');
}

static void
print_allow(unsigned bits, struct buf *out)
{
	const char *separator = "";
	size_t i;

	buf_add_char(out, '[');
	for (i = 0; i < ALLOWS_COUNT; i++) {
		if ((bits & allows[i].bit) == 0)
			continue;
		buf_printf(out, "%s\"%s\"", separator, allows[i].word);
		separator = ", ";
	}
	buf_add_char(out, ']');
}

static void
print_unit(int64_t value, const struct unit *units, struct buf *out)
{
	if (value == 0) {
		buf_add_text(out, "\"0\"");
		return;
	}
	while (value % units->factor != 0)
		units++;
	buf_printf(
	    out, "\"%" PRId64 " %s\"", value / units->factor, units->name);
}

static void
print_number(const struct option *option, int64_t value, struct buf *out)
{
	if (option->has_off && value < 0)
		print_text("off", out);
	else if (option->kind == OPTION_DURATION)
		print_unit(value, durations, out);
	else if (option->kind == OPTION_SIZE)
		print_unit(value, sizes, out);
	else
		buf_add_int(out, value);
}

/* "0" to "2 s" or "off". */
static void
print_limits(const struct option *option, struct buf *out)
{
	print_number(option, option->min, out);
	buf_add_text(out, " to ");
	print_number(option, option->max, out);
	if (option->has_off)
		buf_add_text(out, " or \"off\"");
}

static void
add_words(const struct option *option, struct buf *out)
{
	size_t i;

	for (i = 0; option->words[i] != NULL; i++)
		buf_printf(
		    out, "%s\"%s\"", i == 0 ? "" : " or ", option->words[i]);
}

void
option_print(const struct option *option, const void *base, struct buf *out)
{
	const void *field = (const char *)base + option->offset;
	bool is_yes;

	switch (option->kind) {
	case OPTION_TEXT:
	case OPTION_TEXT_WORD:
		print_text(*(char *const *)field, out);
		break;
	case OPTION_LIST:
		print_list(*(char **const *)field, out);
		break;
	case OPTION_BOOL:
		is_yes = *(const bool *)field;
		if (option->words != NULL)
			print_text(option->words[is_yes ? 1 : 0], out);
		else
			buf_add_text(out, is_yes ? "true" : "false");
		break;
	case OPTION_INTEGER:
		print_number(option, *(const int *)field, out);
		break;
	case OPTION_COUNT:
	case OPTION_DURATION:
		print_number(option, *(const int64_t *)field, out);
		break;
	case OPTION_SIZE:
		print_number(option, (int64_t) * (const size_t *)field, out);
		break;
	case OPTION_MODE:
		buf_printf(out, "\"%04o\"", (unsigned)*(const mode_t *)field);
		break;
	case OPTION_WORD:
		print_text(option->words[*(const int *)field], out);
		break;
	case OPTION_ALLOW:
		print_allow(*(const unsigned *)field, out);
		break;
	case OPTION_REALM:
		print_text(((const struct conf_listener *)base)->has_realm
			       ? *(char *const *)field
			       : "*",
		    out);
		break;
	}
}

void
option_print_range(const struct option *option, struct buf *out)
{
	if (option->max > option->min) {
		buf_add_text(out, ", ");
		print_limits(option, out);
	}
	if (option->words != NULL) {
		buf_add_text(out, ": ");
		add_words(option, out);
	}
}

/* ---- memory ---- */

static void
list_free(char **list)
{
	size_t i;

	for (i = 0; list != NULL && list[i] != NULL; i++)
		free(list[i]);
	free(list);
}

static char **
list_dup(const char *const *items, size_t count)
{
	char **list = calloc(count + 1, sizeof(*list));
	size_t i;

	for (i = 0; list != NULL && i < count; i++) {
		list[i] = strdup(items[i]);
		if (list[i] == NULL) {
			list_free(list);
			return NULL;
		}
	}
	return list;
}

static bool
is_text(const struct option *option)
{
	return option->kind == OPTION_TEXT ||
	       option->kind == OPTION_TEXT_WORD || option->kind == OPTION_REALM;
}

void
option_free_value(const struct option *option, void *base)
{
	void *field = (char *)base + option->offset;

	if (is_text(option))
		free(*(char **)field);
	if (option->kind == OPTION_LIST)
		list_free(*(char ***)field);
	option_forget_value(option, base);
}

void
option_forget_value(const struct option *option, void *base)
{
	void *field = (char *)base + option->offset;

	if (is_text(option))
		*(char **)field = NULL;
	if (option->kind == OPTION_LIST)
		*(char ***)field = NULL;
}

bool
option_dup_value(const struct option *option, void *base, const void *from)
{
	void *field = (char *)base + option->offset;
	const void *source = (const char *)from + option->offset;

	if (is_text(option)) {
		*(char **)field = strdup(*(char *const *)source);
		return *(char **)field != NULL;
	}
	if (option->kind == OPTION_LIST) {
		const char *const *list = *(const char *const *const *)source;
		size_t count = 0;

		while (list[count] != NULL)
			count++;
		*(char ***)field = list_dup(list, count);
		return *(char ***)field != NULL;
	}
	return true;
}

/* ---- reading ---- */

static const char *
what_is_right(const struct option *option)
{
	switch (option->kind) {
	case OPTION_INTEGER:
	case OPTION_COUNT:
		return "a number, as 8";
	case OPTION_DURATION:
		return option->has_off
			   ? "a duration, as \"30 min\" (units: ms, s, min, "
			     "h, d), or \"off\""
			   : "a duration, as \"30 min\" (units: ms, s, min, "
			     "h, d)";
	case OPTION_SIZE:
		return "a size, as \"64 KiB\" (units: B, KiB, MiB, GiB)";
	case OPTION_MODE:
		return "octal in quotes, read and write for the owner at "
		       "least, as \"0660\"";
	case OPTION_LIST:
	case OPTION_ALLOW:
		return "a list of texts, as [\"a\", \"b\"]";
	case OPTION_BOOL:
		return "true or false (or \"yes\" or \"no\")";
	case OPTION_TEXT:
	case OPTION_TEXT_WORD:
	case OPTION_WORD:
	case OPTION_REALM:
		return "a text, as \"a\"";
	}
	return "";
}

static enum sgate_status
refuse_type(const struct option *option, struct buf *why)
{
	buf_add_text(why, "has the wrong type; it must be ");
	if (option->words != NULL)
		add_words(option, why);
	else
		buf_add_text(why, what_is_right(option));
	return SGATE_INVALID;
}

static enum sgate_status
refuse_text(const char *text, const char *right, struct buf *why)
{
	buf_printf(why, "\"%.*s%s\" is wrong; it must be %s", SHOWN, text,
	    strlen(text) > SHOWN ? "..." : "", right);
	return SGATE_INVALID;
}

static enum sgate_status
refuse_range(const struct option *option, const struct option_given *given,
    struct buf *why)
{
	if (given->type == GIVEN_TEXT)
		buf_printf(why, "\"%.*s\"", SHOWN, given->text);
	else
		buf_add_int(why, given->integer);
	buf_add_text(why, " is out of range; it must be from ");
	print_limits(option, why);
	return SGATE_INVALID;
}

static bool
is_in_range(const struct option *option, int64_t value)
{
	return value >= option->min && value <= option->max;
}

/* "30 min", "30min", "0". */
static bool
parse_unit(const char *text, const struct unit *units, int64_t *out)
{
	size_t digits = strspn(text, "0123456789");
	const char *name = text + digits;
	uint64_t count;

	*out = 0;
	if (!bytes_to_uint(
		(struct sgate_bytes){text, digits}, INT64_MAX, &count))
		return false;
	if (*name == '\0')
		return count == 0;
	name += strspn(name, " ");
	for (; units->name != NULL; units++) {
		if (strcmp(name, units->name) != 0)
			continue;
		if ((int64_t)count > INT64_MAX / units->factor)
			*out = INT64_MAX; /* beyond every range */
		else
			*out = (int64_t)count * units->factor;
		return true;
	}
	return false;
}

static enum sgate_status
read_number(const struct option *option, const struct option_given *given,
    int64_t *out, struct buf *why)
{
	const struct unit *units = option->kind == OPTION_DURATION ? durations
				   : option->kind == OPTION_SIZE   ? sizes
								   : NULL;
	uint64_t value;

	*out = given->integer;
	if (option->has_off && given->type == GIVEN_TEXT &&
	    strcmp(given->text, "off") == 0) {
		*out = -1;
		return SGATE_OK;
	}
	if (given->type == GIVEN_TEXT && units != NULL) {
		if (!parse_unit(given->text, units, out))
			return refuse_text(
			    given->text, what_is_right(option), why);
	} else if (given->type == GIVEN_TEXT && given->is_loose) {
		if (!bytes_to_uint(bytes_of(given->text), INT64_MAX, &value))
			return refuse_text(
			    given->text, what_is_right(option), why);
		*out = (int64_t)value;
	} else if (given->type != GIVEN_INTEGER ||
		   (units != NULL && given->integer != 0)) {
		return refuse_type(option, why);
	}
	return is_in_range(option, *out) ? SGATE_OK
					 : refuse_range(option, given, why);
}

static enum sgate_status
read_bool(const struct option *option, const struct option_given *given,
    bool *out, struct buf *why)
{
	static const char *const names[] = {"no", "yes", "false", "true"};
	size_t i;

	if (given->type == GIVEN_BOOL) {
		*out = given->integer != 0;
		return SGATE_OK;
	}
	if (given->type != GIVEN_TEXT)
		return refuse_type(option, why);
	for (i = 0; i < 4; i++) {
		if (strcmp(given->text, names[i]) == 0) {
			*out = i % 2 == 1;
			return SGATE_OK;
		}
	}
	return refuse_text(given->text, what_is_right(option), why);
}

static enum sgate_status
read_word(const struct option *option, const struct option_given *given,
    int *out, struct buf *why)
{
	struct buf right = {0};
	int i;

	if (given->type != GIVEN_TEXT)
		return refuse_type(option, why);
	for (i = 0; option->words[i] != NULL; i++) {
		if (strcmp(given->text, option->words[i]) == 0) {
			*out = i;
			buf_clear(&right);
			return SGATE_OK;
		}
	}
	add_words(option, &right);
	refuse_text(given->text, buf_text(&right), why);
	buf_clear(&right);
	return SGATE_INVALID;
}

static enum sgate_status
read_mode(const struct option *option, const struct option_given *given,
    mode_t *out, struct buf *why)
{
	unsigned mode = 0;
	const char *c;

	if (given->type != GIVEN_TEXT)
		return refuse_type(option, why);
	for (c = given->text; *c >= '0' && *c <= '7' && mode <= 0777; c++)
		mode = mode * 8 + (unsigned)(*c - '0');
	if (c == given->text || *c != '\0' || (mode & ~0666U) != 0 ||
	    (mode & 0600U) != 0600)
		return refuse_text(given->text, what_is_right(option), why);
	*out = (mode_t)mode;
	return SGATE_OK;
}

/* What holds for every text, then the option's own rule. */
static enum sgate_status
check_text(const struct option *option, const char *text, struct buf *why)
{
	struct sgate_bytes bytes = bytes_of(text);

	if (bytes.len > TEXT_MAX) {
		buf_printf(why, "is too long; at most %d bytes", TEXT_MAX);
		return SGATE_INVALID;
	}
	if (!bytes_is_utf8(bytes) || bytes_has_control(bytes)) {
		buf_add_text(why,
		    "holds a control character or bad UTF-8; it must be "
		    "printable");
		return SGATE_INVALID;
	}
	if (option->is_right != NULL && !option->is_right(text))
		return refuse_text(text, option->right, why);
	return SGATE_OK;
}

static enum sgate_status
set_text(const struct option *option, const struct option_given *given,
    char **field, struct buf *why)
{
	enum sgate_status status;
	char *copy;
	int word;

	if (given->type != GIVEN_TEXT)
		return refuse_type(option, why);
	if (option->words != NULL)
		status = read_word(option, given, &word, why);
	else
		status = check_text(option, given->text, why);
	if (status != SGATE_OK)
		return status;
	copy = strdup(given->text);
	if (copy == NULL)
		return SGATE_NO_MEMORY;
	free(*field);
	*field = copy;
	return SGATE_OK;
}

static enum sgate_status
set_realm(const struct option *option, const struct option_given *given,
    struct conf_listener *listener, struct buf *why)
{
	struct option_given realm = *given;
	bool is_any =
	    given->type == GIVEN_TEXT && strcmp(given->text, "*") == 0;
	enum sgate_status status;

	if (is_any)
		realm.text = "";
	status = set_text(option, &realm, &listener->realm, why);
	if (status == SGATE_OK)
		listener->has_realm = !is_any;
	return status;
}

/* "a,b" as -o gives it: a list of its own, to free; NULL: no memory. */
static char **
split(const char *text)
{
	size_t count = *text == '\0' ? 0 : 1;
	const char *c;
	char **list;
	size_t i;

	for (c = text; *c != '\0'; c++)
		if (*c == ',')
			count++;
	list = calloc(count + 1, sizeof(*list));
	for (i = 0; list != NULL && i < count; i++) {
		size_t len = strcspn(text, ",");

		list[i] = bytes_dup((struct sgate_bytes){text, len});
		if (list[i] == NULL) {
			list_free(list);
			return NULL;
		}
		text += len + 1;
	}
	return list;
}

/* The items as a list of its own. */
static enum sgate_status
read_list(const struct option *option, const struct option_given *given,
    char ***out, struct buf *why)
{
	size_t count;

	if (given->type == GIVEN_TEXT)
		*out = given->is_loose ? split(given->text)
				       : list_dup(&given->text, 1);
	else if (given->type == GIVEN_LIST)
		*out = list_dup(given->items, given->items_count);
	else
		return refuse_type(option, why);
	if (*out == NULL)
		return SGATE_NO_MEMORY;
	for (count = 0; (*out)[count] != NULL; count++)
		if ((*out)[count][0] == '\0') {
			buf_add_text(
			    why, "has an empty item; an empty list is []");
			return SGATE_INVALID;
		}
	if (count > ITEMS_MAX) {
		buf_printf(why, "has too many items; at most %d", ITEMS_MAX);
		return SGATE_INVALID;
	}
	return SGATE_OK;
}

static enum sgate_status
set_list(const struct option *option, const struct option_given *given,
    char ***field, struct buf *why)
{
	char **list = NULL;
	enum sgate_status status = read_list(option, given, &list, why);
	size_t i;

	for (i = 0; status == SGATE_OK && list[i] != NULL; i++)
		status = check_text(option, list[i], why);
	if (status == SGATE_OK) {
		list_free(*field);
		*field = list;
	} else {
		list_free(list);
	}
	return status;
}

static enum sgate_status
set_allow(const struct option *option, const struct option_given *given,
    unsigned *field, struct buf *why)
{
	char **list = NULL;
	enum sgate_status status = read_list(option, given, &list, why);
	unsigned bits = 0;
	size_t i;

	for (i = 0; status == SGATE_OK && list[i] != NULL; i++) {
		unsigned bit = conf_allow_parse(list[i]);

		if (bit == 0)
			status = refuse_text(list[i],
			    "\"check\", \"api\", \"remote-user\", "
			    "\"create\", \"v1\" or \"admin\"",
			    why);
		bits |= bit;
	}
	if (status == SGATE_OK && bits == 0) {
		buf_add_text(why,
		    "is empty, so nothing could be asked there; name at least "
		    "one, as [\"check\"]");
		status = SGATE_INVALID;
	}
	if (status == SGATE_OK)
		*field = bits;
	list_free(list);
	return status;
}

enum sgate_status
option_set(const struct option *option, void *base,
    const struct option_given *given, struct buf *why)
{
	void *field = (char *)base + option->offset;
	enum sgate_status status = SGATE_INTERNAL;
	int64_t number;
	int word;

	switch (option->kind) {
	case OPTION_TEXT:
	case OPTION_TEXT_WORD:
		return set_text(option, given, field, why);
	case OPTION_REALM:
		return set_realm(option, given, base, why);
	case OPTION_LIST:
		return set_list(option, given, field, why);
	case OPTION_ALLOW:
		return set_allow(option, given, field, why);
	case OPTION_MODE:
		return read_mode(option, given, field, why);
	case OPTION_BOOL:
		if (option->words == NULL)
			return read_bool(option, given, field, why);
		status = read_word(option, given, &word, why);
		if (status == SGATE_OK)
			*(bool *)field = word == 1;
		return status;
	case OPTION_WORD:
		return read_word(option, given, field, why);
	case OPTION_INTEGER:
		status = read_number(option, given, &number, why);
		if (status == SGATE_OK)
			*(int *)field = (int)number;
		return status;
	case OPTION_COUNT:
	case OPTION_DURATION:
		return read_number(option, given, field, why);
	case OPTION_SIZE:
		status = read_number(option, given, &number, why);
		if (status == SGATE_OK)
			*(size_t *)field = (size_t)number;
		return status;
	}
	return status;
}

enum sgate_status
option_set_text(
    const struct option *option, void *base, const char *text, struct buf *why)
{
	struct option_given given = {
	    .type = GIVEN_TEXT, .is_loose = true, .text = text};

	return option_set(option, base, &given, why);
}
