/*
 * The command line of sessgatectl: what a command is, and taking argv apart by
 * a table of commands. No I/O here; the one table stands in sessgatectl.c.
 */
#ifndef SESSGATE_CTL_ARGS_H
#define SESSGATE_CTL_ARGS_H

#include <stdbool.h>

#include "buf.h"

struct ctl;

/* Exit codes, for scripts: documented in --help, never renumber. */
enum ctl_exit {
	CTL_YES = 0,
	CTL_NO = 1,         /* the answer is no: not found, ended, refused */
	CTL_USAGE = 2,      /* the command line or its input is wrong */
	CTL_UNAVAILABLE = 3 /* nobody could answer: try again */
};

struct ctl_option {
	const char *name;  /* without the dashes */
	const char *value; /* what stands for the value in help; NULL: a flag */
	const char *help;
};

enum ctl_group { CTL_LOCAL, CTL_DAEMON };

struct ctl_command {
	const char *name; /* "list", or two words: "key list" */
	enum ctl_group group;
	const char *arguments; /* "REF|-"; "" when there are none */
	int arguments_min, arguments_max;
	const struct ctl_option *options; /* ended by a NULL name; or NULL */
	const char *summary;              /* one line */
	const char *help;                 /* more sentences, or NULL */
	const char *examples;             /* one a line, each ended by \n */
	enum ctl_exit (*run)(struct ctl *ctl);
};

#define CTL_ARGUMENTS_MAX 2
#define CTL_OPTIONS_MAX 64 /* uses of options, repeated ones counted */

struct ctl_args {
	const struct ctl_command *command; /* NULL: none given */
	bool help, version;
	const char *arguments[CTL_ARGUMENTS_MAX];
	int arguments_count;
	struct {
		const struct ctl_option *option;
		const char *value; /* "" for a flag */
	} used[CTL_OPTIONS_MAX];
	int used_count;
};

/* Options that every command takes. */
extern const struct ctl_option ctl_common_options[];

/*
 * Take argv (without the program's name) apart. commands: ended by a NULL
 * name. Options may stand anywhere, the common ones also before the command;
 * "--" ends them.
 * "--name VALUE" takes the next word whatever it looks like, so that a quoted
 * variable of a script can never turn into an option; "--name=VALUE" too.
 *
 * False: *problem (appended) is one line for the user, with the nearest name
 * when one was mistyped. out->command may be set nevertheless.
 */
SGATE_MUST_CHECK bool ctl_args_parse(const struct ctl_command *commands,
    int argc, char *const *argv, struct ctl_args *out, struct buf *problem);

/* The last value given; NULL when the option was not. A flag's is "". */
const char *ctl_args_get(const struct ctl_args *args, const char *name);
static inline bool
ctl_args_has(const struct ctl_args *args, const char *name)
{
	return ctl_args_get(args, name) != NULL;
}
/* Of a repeated option the value number index; NULL past the end. */
const char *ctl_args_at(
    const struct ctl_args *args, const char *name, int index);

/*
 * "90s", "30 min", "8h", "7d" to milliseconds; units ms, s, m, min, h, d, w.
 * The unit must be there. False: not a duration, 0, or over 100 years.
 */
bool ctl_parse_duration(const char *text, int64_t *out_ms);
/*
 * A moment in the past: a duration before now_ms ("2h"), or UTC or local time
 * "2026-11-22", "2026-11-22T14:03", "2026-11-22T14:03:05Z".
 */
bool ctl_parse_since(const char *text, int64_t now_ms, int64_t *out_ms);
/* How many single-letter edits lie between the two; up to 64 bytes count. */
unsigned ctl_distance(const char *a, const char *b);

#endif
