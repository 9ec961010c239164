/*
 * "manual PAGE" prints the manual pages of gateway/manual, which are mdoc(7)
 * with words between @ where the tables of commands and of options, or this
 * build's paths, have the text: so no page can differ from the program. The
 * build makes the pages that are installed with it.
 */
#include "config.h"

#include "ctl.h"

#include "gateway/ctl_manuals.h" /* manual_files, made from gateway/manual */

#include <string.h>

#define PAGES (sizeof(manual_files) / sizeof(manual_files[0]))

/* ---- mdoc ---- */

/* Text that no macro and no escape is read in. */
static void
add_text(struct buf *out, const char *text)
{
	bool is_start = out->len == 0 || out->data[out->len - 1] == '\n';

	for (; *text != '\0'; text++) {
		if (is_start && (*text == '.' || *text == '\''))
			buf_add_text(out, "\\&");
		if (*text == '\\')
			buf_add_text(out, "\\e");
		else if (*text == '-')
			buf_add_text(out, "\\-");
		else
			buf_add_char(out, *text);
		is_start = *text == '\n';
	}
}

/* Text as one argument of a macro. */
static void
add_word(struct buf *out, const char *word)
{
	buf_add_text(out, " \"");
	for (; *word != '\0'; word++) {
		char text[2] = {*word, '\0'};

		if (*word == '"')
			buf_add_text(out, "\\(dq");
		else
			add_text(out, text);
	}
	buf_add_text(out, "\"");
}

/* ---- commands ---- */

static void
add_ctl_options(struct buf *out, const struct ctl_option *option)
{
	for (; option->name != NULL; option++) {
		buf_printf(out, ".It Fl -%s", option->name);
		if (option->value != NULL) {
			buf_add_text(out, " Ar");
			add_word(out, option->value);
		}
		buf_add_char(out, '\n');
		add_text(out, option->help);
		buf_add_char(out, '\n');
	}
}

/* A new line for each sentence, as mdoc wants it. */
static void
add_sentences(struct buf *out, const char *text)
{
	char line[2] = {0};

	for (; *text != '\0'; text++) {
		line[0] = *text;
		if (*text == ' ' && text[-1] == '.')
			line[0] = '\n';
		add_text(out, line);
	}
}

static void
add_command(struct buf *out, const struct ctl_command *command)
{
	buf_printf(out, ".Ss %s", command->name);
	if (command->arguments[0] != '\0')
		add_word(out, command->arguments);
	buf_add_char(out, '\n');
	add_text(out, command->summary);
	buf_add_text(out, ".\n");
	if (command->help != NULL)
		add_sentences(out, command->help);
	if (command->help != NULL)
		buf_add_char(out, '\n');
	if (command->options != NULL) {
		buf_add_text(out, ".Bl -tag -width Ds\n");
		add_ctl_options(out, command->options);
		buf_add_text(out, ".El\n");
	}
	buf_add_text(out, ".Pp\n.Bd -literal -offset indent -compact\n");
	add_text(out, command->examples);
	buf_add_text(out, ".Ed\n");
}

static void
add_commands(struct buf *out, enum ctl_group group)
{
	const struct ctl_command *command;

	for (command = ctl_commands; command->name != NULL; command++)
		if (command->group == group)
			add_command(out, command);
}

static void
add_daemon_commands(struct buf *out)
{
	add_commands(out, CTL_DAEMON);
}

static void
add_local_commands(struct buf *out)
{
	add_commands(out, CTL_LOCAL);
}

static void
add_common_options(struct buf *out)
{
	add_ctl_options(out, ctl_common_options);
}

/* ---- options of the configuration ---- */

static void
add_option(struct buf *out, size_t index)
{
	const struct conf_option *option = conf_option(index);
	struct buf range = {0};

	conf_option_range(index, &range);
	buf_printf(out, ".It Va %s\n", option->name);
	add_text(out, option->type);
	add_text(out, buf_text(&range));
	if (option->default_text[0] == '\0') {
		buf_add_text(out, "; empty by default");
	} else {
		buf_add_text(out, "; default ");
		add_text(out, option->default_text);
	}
	buf_printf(out, "%s.\n.br\n",
	    option->is_reloadable ? "; a reload takes it over" : "");
	add_text(out, option->help);
	buf_add_text(out, ".\n");
	if (buf_failed(&range))
		out->failed = true;
	buf_clear(&range);
}

static void
add_options(struct buf *out)
{
	const struct conf_option *option;
	const char *section = "";
	size_t i;

	for (i = 0; (option = conf_option(i)) != NULL; i++) {
		if (strcmp(option->section, section) != 0)
			buf_printf(out,
			    "%s.Sh SECTION %s\n.Bl -tag -width Ds\n",
			    section[0] == '\0' ? "" : ".El\n", option->section);
		section = option->section;
		add_option(out, i);
	}
	buf_add_text(out, ".El\n");
}

/* ---- pages ---- */

static void
add_conf_path(struct buf *out)
{
	buf_add_text(out, CONF_DEFAULT_PATH);
}

static void
add_state_path(struct buf *out)
{
	buf_add_text(out, LOCALSTATEDIR "/lib/sessgate");
}

static const struct {
	const char *name; /* with its @; a line of its own ends there */
	void (*add)(struct buf *out);
} parts[] = {
    {"@conf@", add_conf_path},
    {"@state@", add_state_path},
    {"@options of every command@\n", add_common_options},
    {"@commands of the daemon@\n", add_daemon_commands},
    {"@local commands@\n", add_local_commands},
    {"@options@\n", add_options},
};

static void
add_page(struct buf *out, const char *text)
{
	size_t i, len;

	while (*text != '\0') {
		len = strcspn(text, "@");
		buf_add(out, text, len);
		text += len;
		for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
			len = strlen(parts[i].name);
			if (strncmp(text, parts[i].name, len) == 0)
				break;
		}
		if (i < sizeof(parts) / sizeof(parts[0])) {
			parts[i].add(out);
			text += len;
		} else if (*text != '\0') {
			buf_add_char(out, *text++);
		}
	}
}

/* "sessgated" or "sessgated.8" is the page sessgated.8. */
static bool
is_page(const char *page, const char *name)
{
	size_t len = strlen(name);

	return strncmp(page, name, len) == 0 &&
	       (page[len] == '\0' || strrchr(page, '.') == page + len);
}

static enum ctl_exit
no_such_page(const char *name)
{
	struct buf names = {0};
	size_t i;

	for (i = 0; i < PAGES; i++)
		buf_printf(
		    &names, "%s%s", i == 0 ? "" : ", ", manual_files[i].name);
	ctl_fail(CTL_USAGE, "there is no page \"%.100s\"; there are %s", name,
	    buf_text(&names));
	buf_clear(&names);
	return CTL_USAGE;
}

enum ctl_exit
ctl_manual(struct ctl *ctl)
{
	const char *name = ctl->args.arguments[0];
	enum ctl_exit code = CTL_YES;
	struct buf out = {0};
	size_t i;

	for (i = 0; i < PAGES; i++)
		if (is_page(manual_files[i].name, name))
			break;
	if (i == PAGES)
		return no_such_page(name);
	add_page(&out, manual_files[i].text);
	if (buf_failed(&out))
		code = ctl_fail_memory();
	else
		fwrite(out.data, 1, out.len, stdout);
	buf_clear(&out);
	return code;
}
