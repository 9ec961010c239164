/* sessgatectl's command line, its values and its tables. */
#include "config.h"

#include "ctl_args.h"
#include "ctl_table.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct ctl_option options[] = {
    {"user", "USER", "who"},
    {"role", "ROLE", "may be repeated"},
    {"remember", NULL, "a flag"},
    {NULL, NULL, NULL},
};
static const struct ctl_command commands[] = {
    {.name = "create", .arguments = "", .options = options},
    {.name = "list",
	.arguments = "USER",
	.arguments_min = 1,
	.arguments_max = 1},
    {.name = "key list", .arguments = ""},
    {.name = "key use",
	.arguments = "ID",
	.arguments_min = 1,
	.arguments_max = 1},
    {.name = NULL},
};

static bool
parse(struct ctl_args *args, struct buf *problem, const char *line)
{
	static char words[1024];
	static char *argv[100];
	int argc = 0;
	char *word, *rest = words;

	snprintf(words, sizeof(words), "%s", line);
	while ((word = strsep(&rest, " ")) != NULL && argc < 100)
		argv[argc++] = word;
	buf_reset(problem);
	return ctl_args_parse(
	    commands, line[0] == '\0' ? 0 : argc, argv, args, problem);
}

static void
options_stand_before_and_behind_the_arguments(void **state)
{
	struct ctl_args args;
	struct buf problem = {0};

	(void)state;
	assert_true(
	    parse(&args, &problem, "--json list alice --realm=shop -c f"));
	assert_string_equal(args.command->name, "list");
	assert_int_equal(args.arguments_count, 1);
	assert_string_equal(args.arguments[0], "alice");
	assert_true(ctl_args_has(&args, "json"));
	assert_string_equal(ctl_args_get(&args, "realm"), "shop");
	assert_string_equal(ctl_args_get(&args, "config"), "f");
	assert_null(ctl_args_get(&args, "socket"));
	assert_true(parse(&args, &problem, "key use 3"));
	assert_string_equal(args.command->name, "key use");
	assert_string_equal(args.arguments[0], "3");
	buf_clear(&problem);
}

static void
value_in_the_next_word_is_never_an_option(void **state)
{
	struct ctl_args args;
	struct buf problem = {0};

	(void)state;
	assert_true(parse(&args, &problem, "create --user --remember"));
	assert_string_equal(ctl_args_get(&args, "user"), "--remember");
	assert_false(ctl_args_has(&args, "remember"));
	assert_true(parse(&args, &problem, "create --user="));
	assert_string_equal(ctl_args_get(&args, "user"), "");
	assert_true(parse(&args, &problem, "list -- --help"));
	assert_string_equal(args.arguments[0], "--help");
	assert_true(parse(&args, &problem, "list -"));
	assert_string_equal(args.arguments[0], "-");
	buf_clear(&problem);
}

static void
repeated_options_are_all_there(void **state)
{
	struct ctl_args args;
	struct buf problem = {0};

	(void)state;
	assert_true(parse(&args, &problem,
	    "create --role a --user u --role b --remember --user v"));
	assert_string_equal(ctl_args_at(&args, "role", 0), "a");
	assert_string_equal(ctl_args_at(&args, "role", 1), "b");
	assert_null(ctl_args_at(&args, "role", 2));
	assert_string_equal(ctl_args_get(&args, "user"), "v");
	assert_string_equal(ctl_args_get(&args, "remember"), "");
	buf_clear(&problem);
}

static void
wrong_line_is_explained(void **state)
{
	static const char *const lines[][2] = {
	    {"", "which command? See sessgatectl --help"},
	    {"lits alice", "unknown command lits; did you mean list?"},
	    {"key lst", "key needs one of: list, use"},
	    {"key", "key needs one of: list, use"},
	    {"kye list", "unknown command kye; did you mean key list?"},
	    {"frobnicate", "unknown command frobnicate"},
	    {"list", "list needs USER"},
	    {"list a b", "one argument too many: b"},
	    {"create --usre x", "unknown option --usre; did you mean --user?"},
	    {"create --usre=x", "unknown option --usre; did you mean --user?"},
	    {"list --user x", "unknown option --user"},
	    {"--user x create", "unknown option --user"},
	    {"create --remember=yes", "--remember takes no value"},
	    {"create --user", "--user needs a value: --user USER"},
	    {"create -x", "unknown option -x"},
	    {"create ---", "unknown option ---"},
	    {"list \x1b[2J x", "one argument too many: x"},
	    {"\x1b[2J", "unknown command \\x1b[2J"},
	};
	struct ctl_args args;
	struct buf problem = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_false(parse(&args, &problem, lines[i][0]));
		assert_string_equal(buf_text(&problem), lines[i][1]);
	}
	buf_clear(&problem);
}

static void
help_needs_no_complete_line(void **state)
{
	struct ctl_args args;
	struct buf problem = {0};

	(void)state;
	assert_true(parse(&args, &problem, "--help"));
	assert_null(args.command);
	assert_true(args.help);
	assert_true(parse(&args, &problem, "list --help"));
	assert_string_equal(args.command->name, "list");
	assert_true(parse(&args, &problem, "-h key list"));
	assert_string_equal(args.command->name, "key list");
	buf_clear(&problem);
}

static void
too_many_options_are_refused(void **state)
{
	char *argv[2 + 2 * CTL_OPTIONS_MAX];
	char create[] = "create", role[] = "--role", value[] = "r";
	struct ctl_args args;
	struct buf problem = {0};
	int argc = 0, i;

	(void)state;
	argv[argc++] = create;
	for (i = 0; i < CTL_OPTIONS_MAX; i++) {
		argv[argc++] = role;
		argv[argc++] = value;
	}
	assert_true(ctl_args_parse(commands, argc, argv, &args, &problem));
	argv[argc++] = role;
	argv[argc - 2] = role;
	assert_false(ctl_args_parse(commands, argc, argv, &args, &problem));
	buf_clear(&problem);
}

static void
durations_need_a_unit(void **state)
{
	static const char *const wrong[] = {"", "5", "s", "0s", "-5s", "5 y",
	    "5.5h", "1e3s", " 5s", "5s ", "99999999999999999999s", "36601d",
	    "9223372036854775807d"};
	int64_t ms;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(ctl_parse_duration(wrong[i], &ms));
	assert_true(ctl_parse_duration("250ms", &ms) && ms == 250);
	assert_true(ctl_parse_duration("30 min", &ms) && ms == 1800000);
	assert_true(ctl_parse_duration("30m", &ms) && ms == 1800000);
	assert_true(ctl_parse_duration("90d", &ms) && ms == 90 * 86400000LL);
}

static void
moments_are_ago_or_dates(void **state)
{
	int64_t ms, now = 1763820185000;

	(void)state;
	setenv("TZ", "UTC-2", 1);
	tzset();
	assert_true(ctl_parse_since("2h", now, &ms) && ms == now - 7200000);
	assert_true(ctl_parse_since("2025-11-22T14:03:05Z", now, &ms));
	assert_int_equal(ms, now);
	assert_true(ctl_parse_since("2025-11-22 16:03:05", now, &ms));
	assert_int_equal(ms, now);
	assert_true(ctl_parse_since("2025-11-22", now, &ms));
	assert_int_equal(ms, now - (16 * 3600 + 3 * 60 + 5) * 1000);
	assert_false(ctl_parse_since("yesterday", now, &ms));
	assert_false(ctl_parse_since("2025-11-22x", now, &ms));
	assert_false(ctl_parse_since("2025-13-22", now, &ms));
	assert_false(ctl_parse_since("", now, &ms));
}

static void
distance_counts_edits(void **state)
{
	(void)state;
	assert_int_equal(ctl_distance("", ""), 0);
	assert_int_equal(ctl_distance("", "abc"), 3);
	assert_int_equal(ctl_distance("kitten", "sitting"), 3);
	assert_int_equal(ctl_distance("list", "lits"), 1);
	assert_int_equal(ctl_distance("abcd", "badc"), 2);
}

static char *
clean(const char *text, size_t len)
{
	static struct buf out;

	buf_reset(&out);
	ctl_add_clean(&out, (struct sgate_bytes){text, len});
	return out.data;
}

static void
nothing_that_a_terminal_obeys_is_printed(void **state)
{
	(void)state;
	assert_string_equal(clean("a\"b\\c \xc3\xa9", 8), "a\"b\\c \xc3\xa9");
	assert_string_equal(clean("\x1b[2J\n", 5), "\\x1b[2J\\x0a");
	assert_string_equal(clean("\0", 1), "\\x00");
	assert_string_equal(clean("\xc2\x9b", 2), "\\xc2\\x9b");
	assert_string_equal(clean("\xe2\x80\xae", 3), "\\xe2\\x80\\xae");
	assert_string_equal(clean("\xe2\x81\xa6", 3), "\\xe2\\x81\\xa6");
	assert_string_equal(clean("\xff\x41", 2), "\\xff"
						  "A");
	assert_string_equal(clean("\xe2\x80", 2), "\\xe2\\x80");
}

static void
tables_are_aligned(void **state)
{
	static const char *const headers[] = {"NAME", "N"};
	struct ctl_table table;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	ctl_table_init(&table, 2, headers);
	ctl_table_text(&table, "\xc3\xa9t\xc3\xa9 long");
	ctl_table_int(&table, -5);
	ctl_table_text(&table, NULL);
	ctl_table_time(&table, 0, 0);
	assert_true(ctl_table_print(&table, out));
	fclose(out);
	assert_string_equal(text, "NAME      N\n"
				  "\xc3\xa9t\xc3\xa9 long  -5\n"
				  "-         -\n");
	free(text);
	ctl_table_clear(&table);
}

static void
times_are_local_with_their_distance(void **state)
{
	struct buf out = {0};

	(void)state;
	setenv("TZ", "UTC-1", 1);
	tzset();
	ctl_add_time(&out, 1763820185000, 1763820185000 + 185000);
	assert_string_equal(
	    buf_text(&out), "2025-11-22 15:03:05 +0100 (3 min ago)");
	buf_reset(&out);
	ctl_add_time(&out, 1763820185000, 1763820185000 - 7500000);
	assert_string_equal(
	    buf_text(&out), "2025-11-22 15:03:05 +0100 (in 2 h 5 min)");
	buf_clear(&out);
}

static const struct CMUnitTest ctl_tests[] = {
    cmocka_unit_test(options_stand_before_and_behind_the_arguments),
    cmocka_unit_test(value_in_the_next_word_is_never_an_option),
    cmocka_unit_test(repeated_options_are_all_there),
    cmocka_unit_test(wrong_line_is_explained),
    cmocka_unit_test(help_needs_no_complete_line),
    cmocka_unit_test(too_many_options_are_refused),
    cmocka_unit_test(durations_need_a_unit),
    cmocka_unit_test(moments_are_ago_or_dates),
    cmocka_unit_test(distance_counts_edits),
    cmocka_unit_test(nothing_that_a_terminal_obeys_is_printed),
    cmocka_unit_test(tables_are_aligned),
    cmocka_unit_test(times_are_local_with_their_distance),
};

TAP_MAIN(ctl_tests)
