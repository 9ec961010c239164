/* Taking sessgatectl's command line apart by the table of commands. */
#include "config.h"

#include "ctl_args.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* A guess further away than this helps nobody. */
#define DISTANCE_MAX 3
#define WORD_MAX 64

const struct ctl_option ctl_common_options[] = {
    {"config", "FILE",
	"the configuration to read (default: " SYSCONFDIR
	"/sessgate/sessgate.conf)"},
    {"set", "SECTION.NAME=VALUE", "an option for this run alone; also -o"},
    {"socket", "PATH", "ask the daemon there; no configuration is read then"},
    {"mount", "PATH", "where the daemon's API is mounted (with --socket)"},
    {"realm", "REALM",
	"the site that is meant (default: the one without name)"},
    {"timeout", "DURATION", "how long to wait for the daemon (default: 5s)"},
    {"json", NULL, "answer in JSON, for programs"},
    {"help", NULL, "this help"},
    {"version", NULL, "the version"},
    {NULL, NULL, NULL},
};

static unsigned
least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: Levenshtein's, and two letters swapped is one. */
unsigned
ctl_distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_MAX + 1];
	unsigned *before = rows[0], *above = rows[1], *row = rows[2], *free_row;
	size_t a_len = strnlen(a, WORD_MAX);
	size_t b_len = strnlen(b, WORD_MAX);
	size_t i, j;

	for (j = 0; j <= b_len; j++)
		row[j] = before[j] = above[j] = (unsigned)j;
	for (i = 1; i <= a_len; i++) {
		free_row = before;
		before = above;
		above = row;
		row = free_row;
		row[0] = (unsigned)i;
		for (j = 1; j <= b_len; j++) {
			row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
			row[j] = least(row[j], above[j] + 1);
			row[j] = least(row[j], row[j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
	}
	return row[b_len];
}

/* Keeps in *nearest the name that is closer to word than what was there. */
static void
keep_nearer(const char *word, const char *name, unsigned *distance,
    const char **nearest)
{
	unsigned d = ctl_distance(word, name);

	/* More than one slip in three letters is another word. */
	if (d < *distance && d * 3 <= strlen(word)) {
		*distance = d;
		*nearest = name;
	}
}

static void
add_word(struct buf *out, const char *word)
{
	struct sgate_bytes bytes = {word, strnlen(word, WORD_MAX)};

	buf_add_escaped(out, bytes);
}

/* ---- options ---- */

static const struct ctl_option *
find_in(const struct ctl_option *options, const char *name, size_t len)
{
	for (; options != NULL && options->name != NULL; options++)
		if (strlen(options->name) == len &&
		    memcmp(options->name, name, len) == 0)
			return options;
	return NULL;
}

static bool
unknown_option(const struct ctl_command *command, const char *name, size_t len,
    struct buf *problem)
{
	const struct ctl_option *lists[2] = {
	    ctl_common_options, command == NULL ? NULL : command->options};
	const struct ctl_option *o;
	const char *nearest = NULL;
	unsigned distance = DISTANCE_MAX + 1;
	char word[WORD_MAX + 1] = "";
	int i;

	memcpy(word, name, len < WORD_MAX ? len : WORD_MAX);
	for (i = 0; i < 2; i++)
		for (o = lists[i]; o != NULL && o->name != NULL; o++)
			keep_nearer(word, o->name, &distance, &nearest);
	buf_add_text(problem, "unknown option --");
	add_word(problem, word);
	if (nearest != NULL)
		buf_printf(problem, "; did you mean --%s?", nearest);
	return false;
}

static bool
add_used(struct ctl_args *out, const struct ctl_option *option,
    const char *value, struct buf *problem)
{
	if (out->used_count == CTL_OPTIONS_MAX) {
		buf_printf(
		    problem, "more than %d options", (int)CTL_OPTIONS_MAX);
		return false;
	}
	out->used[out->used_count].option = option;
	out->used[out->used_count].value = value;
	out->used_count++;
	return true;
}

/* The name that a short option stands for. */
static const char *
long_name(const char *word)
{
	static const char *const names[][2] = {{"-h", "help"},
	    {"-V", "version"}, {"-c", "config"}, {"-o", "set"}, {NULL, NULL}};
	size_t i;

	for (i = 0; names[i][0] != NULL; i++)
		if (strcmp(word, names[i][0]) == 0)
			return names[i][1];
	return NULL;
}

/* argv[*i] is an option: take it and its value. */
static bool
take_option(int argc, char *const *argv, int *i, struct ctl_args *out,
    struct buf *problem)
{
	const struct ctl_option *option;
	const char *name = long_name(argv[*i]);
	const char *equals = NULL;
	size_t len;

	if (name == NULL && argv[*i][1] != '-') {
		buf_add_text(problem, "unknown option ");
		add_word(problem, argv[*i]);
		return false;
	}
	if (name == NULL) {
		name = argv[*i] + 2;
		equals = strchr(name, '=');
	}
	len = equals == NULL ? strlen(name) : (size_t)(equals - name);
	option = find_in(ctl_common_options, name, len);
	if (option == NULL && out->command != NULL)
		option = find_in(out->command->options, name, len);
	if (option == NULL)
		return unknown_option(out->command, name, len, problem);
	if (option->value == NULL && equals != NULL) {
		buf_printf(problem, "--%s takes no value", option->name);
		return false;
	}
	if (strcmp(option->name, "help") == 0)
		out->help = true;
	if (strcmp(option->name, "version") == 0)
		out->version = true;
	if (option->value == NULL)
		return add_used(out, option, "", problem);
	if (equals != NULL)
		return add_used(out, option, equals + 1, problem);
	if (*i + 1 >= argc) {
		buf_printf(problem, "--%s needs a value: --%s %s", option->name,
		    option->name, option->value);
		return false;
	}
	return add_used(out, option, argv[++*i], problem);
}

/* ---- commands ---- */

/* Whether command is `first`, or `first second`. */
static bool
is_command(
    const struct ctl_command *command, const char *first, const char *second)
{
	size_t len = strlen(first);

	if (strncmp(command->name, first, len) != 0)
		return false;
	if (second == NULL)
		return command->name[len] == '\0';
	return command->name[len] == ' ' &&
	       strcmp(command->name + len + 1, second) == 0;
}

/* "key" is the first word of "key list". */
static bool
is_first_word(const struct ctl_command *command, const char *first)
{
	size_t len = strlen(first);

	return len > 0 && strncmp(command->name, first, len) == 0 &&
	       command->name[len] == ' ';
}

static bool
unknown_command(const struct ctl_command *commands, const char *first,
    const char *second, struct buf *problem)
{
	const struct ctl_command *c;
	const char *nearest = NULL;
	const char *separator = "";
	unsigned distance = DISTANCE_MAX + 1;
	char both[2 * WORD_MAX + 2];
	bool is_family = false;

	for (c = commands; c->name != NULL; c++)
		is_family = is_family || is_first_word(c, first);
	if (is_family) {
		buf_printf(problem, "%s needs one of: ", first);
		for (c = commands; c->name != NULL; c++) {
			if (!is_first_word(c, first))
				continue;
			buf_printf(problem, "%s%s", separator,
			    c->name + strlen(first) + 1);
			separator = ", ";
		}
		return false;
	}
	snprintf(both, sizeof(both), "%.64s %.64s", first,
	    second == NULL ? "" : second);
	for (c = commands; c->name != NULL; c++) {
		keep_nearer(first, c->name, &distance, &nearest);
		if (strchr(c->name, ' ') != NULL)
			keep_nearer(both, c->name, &distance, &nearest);
	}
	buf_add_text(problem, "unknown command ");
	add_word(problem, first);
	if (nearest != NULL)
		buf_printf(problem, "; did you mean %s?", nearest);
	return false;
}

/*
 * Words that are not options: the command's one or two, then its arguments.
 * The command must be known before its options can be, so a first round over
 * argv finds it; the options of no command take no part in that.
 */
static const struct ctl_command *
find_command(const struct ctl_command *commands, const char *first,
    const char *second, int *out_words)
{
	const struct ctl_command *c;

	for (c = commands; c->name != NULL; c++) {
		if (second != NULL && is_command(c, first, second)) {
			*out_words = 2;
			return c;
		}
		if (is_command(c, first, NULL)) {
			*out_words = 1;
			return c;
		}
	}
	*out_words = 0;
	return NULL;
}

static bool
take_word(const char *word, struct ctl_args *out, struct buf *problem)
{
	if (out->arguments_count >= out->command->arguments_max) {
		buf_add_text(problem, "one argument too many: ");
		add_word(problem, word);
		return false;
	}
	out->arguments[out->arguments_count++] = word;
	return true;
}

static bool
check_complete(const struct ctl_args *out, struct buf *problem)
{
	if (out->help || out->version)
		return true;
	if (out->command == NULL) {
		buf_add_text(problem, "which command? See sessgatectl --help");
		return false;
	}
	if (out->arguments_count < out->command->arguments_min) {
		buf_printf(problem, "%s needs %s", out->command->name,
		    out->command->arguments);
		return false;
	}
	return true;
}

/* A second word that can be the command's: not an option. */
static const char *
second_word(int argc, char *const *argv, int i)
{
	return i + 1 < argc && argv[i + 1][0] != '-' ? argv[i + 1] : NULL;
}

bool
ctl_args_parse(const struct ctl_command *commands, int argc, char *const *argv,
    struct ctl_args *out, struct buf *problem)
{
	bool options_end = false;
	int i, words;

	memset(out, 0, sizeof(*out));
	for (i = 0; i < argc; i++) {
		if (!options_end && strcmp(argv[i], "--") == 0) {
			options_end = true;
		} else if (!options_end && argv[i][0] == '-' &&
			   argv[i][1] != '\0') {
			if (!take_option(argc, argv, &i, out, problem))
				return false;
		} else if (out->command == NULL) {
			out->command = find_command(commands, argv[i],
			    second_word(argc, argv, i), &words);
			if (out->command == NULL)
				return out->help ||
				       unknown_command(commands, argv[i],
					   second_word(argc, argv, i), problem);
			i += words - 1;
		} else if (!take_word(argv[i], out, problem)) {
			return false;
		}
	}
	return check_complete(out, problem);
}

/* ---- what was given ---- */

const char *
ctl_args_get(const struct ctl_args *args, const char *name)
{
	int i;

	for (i = args->used_count - 1; i >= 0; i--)
		if (strcmp(args->used[i].option->name, name) == 0)
			return args->used[i].value;
	return NULL;
}

const char *
ctl_args_at(const struct ctl_args *args, const char *name, int index)
{
	int i;

	for (i = 0; i < args->used_count; i++)
		if (strcmp(args->used[i].option->name, name) == 0 &&
		    index-- == 0)
			return args->used[i].value;
	return NULL;
}

/* ---- values ---- */

bool
ctl_parse_duration(const char *text, int64_t *out_ms)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"min", 60000},
	    {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
	const int64_t max_ms = INT64_C(100) * 366 * 86400000;
	size_t digits = strspn(text, "0123456789");
	const char *unit = text + digits;
	uint64_t number;
	size_t i;

	*out_ms = 0;
	if (!bytes_to_uint((struct sgate_bytes){text, digits}, (uint64_t)max_ms,
		&number) ||
	    number == 0)
		return false;
	while (*unit == ' ')
		unit++;
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(unit, units[i].unit) != 0)
			continue;
		if ((int64_t)number > max_ms / units[i].ms)
			return false;
		*out_ms = (int64_t)number * units[i].ms;
		return true;
	}
	return false;
}

bool
ctl_parse_since(const char *text, int64_t now_ms, int64_t *out_ms)
{
	static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M",
	    "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"};
	struct tm tm;
	const char *end;
	time_t seconds;
	size_t i;

	if (ctl_parse_duration(text, out_ms)) {
		*out_ms = now_ms - *out_ms;
		return *out_ms >= 0;
	}
	for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		memset(&tm, 0, sizeof(tm));
		tm.tm_isdst = -1;
		end = strptime(text, formats[i], &tm);
		if (end == NULL || (*end != '\0' && strcmp(end, "Z") != 0))
			continue;
		seconds = *end == 'Z' ? timegm(&tm) : mktime(&tm);
		*out_ms = (int64_t)seconds * 1000;
		return seconds > 0;
	}
	return false;
}
