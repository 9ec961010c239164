/*
 * What is made from the option table for people: effective values with where
 * they come from, the template, and what a reload cannot take over.
 */
#include "config.h"

#include "conf_option.h"

#include <string.h>

bool
conf_value(const struct sgate_conf *conf, size_t option_index,
    size_t section_index, struct buf *out_value, struct buf *out_origin)
{
	const struct option *option = option_at(option_index);
	const void *base;
	const char *origin;

	if (option == NULL)
		return false;
	base = option_get_base(conf, option, section_index);
	if (base == NULL)
		return false;
	option_print(option, base, out_value);
	origin = conf_origin_get(conf, option_index, section_index);
	buf_add_text(out_origin, origin == NULL ? "default" : origin);
	return true;
}

void
conf_option_range(size_t index, struct buf *out)
{
	const struct option *option = option_at(index);

	if (option != NULL)
		option_print_range(option, out);
}

/* ---- template ---- */

static const char head[] =
    "# The configuration of sessgate: every option with its default.\n"
    "#\n"
    "# To change one, remove the '#' in front of it. Durations are \"800 "
    "ms\",\n"
    "# \"2 s\", \"30 min\", \"8 h\", \"1 d\"; sizes \"4096 B\", \"64 KiB\",\n"
    "# \"1 MiB\"; lists [\"a\", \"b\"]. Check with `sessgatectl config "
    "check`;\n"
    "# `sessgatectl config show` prints what is in force and where it comes\n"
    "# from. SIGHUP takes over the options marked \"reload\"; the others need\n"
    "# a restart.\n";

static const char listeners[] =
    "\t# The sockets. What callers may ask is a property of the socket that\n"
    "\t# they reach, never of a request. pool (check, api) and control (all,\n"
    "\t# mode 0600) always exist; more of any name may be added here.\n";

static const char more_listeners[] =
    "\n\t# For login programs: whoever opens it can log in as anybody, so\n"
    "\t# give it to a group that only they have. Exists when it is here.\n"
    "#\tlogin: { allow = [\"create\"]; mode = \"0660\"; };\n"
    "\n\t# fd 0, when the web server starts sessgated.\n"
    "#\tinherited: { allow = [\"check\", \"api\"]; };\n";

static const char policies[] =
    "\t# Rules of parts of a site: the web server's configuration names one\n"
    "\t# in the param SESSGATE_POLICY.\n";

/* The options of a section; prefix '#' also comments their help out. */
static void
add_options(struct buf *out, const struct sgate_conf *conf, const char *section,
    const char *indent, const char *prefix)
{
	const struct option *option;
	size_t i;

	for (i = 0; (option = option_at(i)) != NULL; i++) {
		if (strcmp(option->row.section, section) != 0)
			continue;
		buf_printf(out, "%s%s# %s (%s", prefix, indent,
		    option->row.help, option->row.type);
		option_print_range(option, out);
		buf_printf(out, "%s)\n#%s%s = ",
		    option->row.is_reloadable ? "; reload" : "", indent,
		    option->row.name);
		option_print(option, option_get_base(conf, option, 0), out);
		buf_add_text(out, ";\n");
	}
}

static void
add_section(struct buf *out, const struct sgate_conf *conf, const char *section)
{
	buf_printf(out, "\n%s: {\n", section);
	if (strcmp(section, "listener") == 0) {
		buf_printf(out, "%s\tpool: {\n", listeners);
		add_options(out, conf, section, "\t\t", "");
		buf_printf(out, "\t};\n%s", more_listeners);
	} else if (strcmp(section, "policy") == 0) {
		buf_printf(out, "%s#\tstaff: {\n", policies);
		add_options(out, conf, section, "\t\t", "#");
		buf_add_text(out, "#\t};\n");
	} else {
		add_options(out, conf, section, "\t", "");
	}
	buf_add_text(out, "};\n");
}

void
conf_template(struct buf *out)
{
	static const char *const one_policy[] = {"policy.staff.csrf=no", NULL};
	struct sgate_conf *conf = NULL;
	const struct option *option;
	const char *last = "";
	size_t i;

	if (sgate_conf_load(NULL, one_policy, &conf, NULL) != SGATE_OK) {
		out->failed = true;
		return;
	}
	buf_add_text(out, head);
	for (i = 0; (option = option_at(i)) != NULL; i++) {
		if (strcmp(option->row.section, last) != 0)
			add_section(out, conf, option->row.section);
		last = option->row.section;
	}
	sgate_conf_free(conf);
}

/* ---- reload ---- */

static bool
is_same(
    const struct option *option, const void *a, const void *b, struct buf *out)
{
	struct buf text_a = {0}, text_b = {0};
	bool same;

	option_print(option, a, &text_a);
	option_print(option, b, &text_b);
	if (buf_failed(&text_a) || buf_failed(&text_b))
		out->failed = true;
	same = strcmp(buf_text(&text_a), buf_text(&text_b)) == 0;
	buf_clear(&text_a);
	buf_clear(&text_b);
	return same;
}

/* The options of one struct that only a restart takes over. */
static void
add_changed(const struct sgate_conf *conf, const char *section, size_t index,
    const void *a, const void *b, struct buf *out)
{
	const struct option *option;
	size_t i;

	for (i = 0; (option = option_at(i)) != NULL; i++) {
		if (!option_is_in(option, section) ||
		    option->row.is_reloadable || is_same(option, a, b, out))
			continue;
		conf_option_name(conf, &option->row, index, out);
		buf_add_char(out, '\n');
	}
}

void
conf_not_reloadable(const struct sgate_conf *old,
    const struct sgate_conf *new_conf, struct buf *out)
{
	size_t i;

	add_changed(new_conf, NULL, 0, old, new_conf, out);
	for (i = 0; i < new_conf->listeners_count; i++) {
		const struct conf_listener *listener = &new_conf->listeners[i];
		const struct conf_listener *before =
		    conf_listener(old, listener->name);

		if (before == NULL)
			buf_printf(out, "listener.%s\n", listener->name);
		else
			add_changed(
			    new_conf, "listener", i, before, listener, out);
	}
	for (i = 0; i < old->listeners_count; i++)
		if (conf_listener(new_conf, old->listeners[i].name) == NULL)
			buf_printf(
			    out, "listener.%s\n", old->listeners[i].name);
}
