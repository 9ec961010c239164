/*
 * Loading the configuration: defaults from the table, then the file, then -o,
 * then conf_check(). libconfig gives types and lines, nothing more; what it
 * takes without a word although it should not is found by conf_scan.c before.
 */
#include "config.h"

#include "conf.h"

#include "conf_option.h"
#include "conf_rule.h"
#include "status.h"

#include <stdlib.h>
#include <string.h>

#include <libconfig.h>

#define LISTENERS_MAX 32
#define POLICIES_MAX 256
#define ITEMS_MAX 1024

/* What goes along while a file is read. */
struct load {
	struct sgate_conf *conf;
	const char *dir; /* of the main file */
	struct sgate_error *err;
};

/* ---- memory ---- */

/* Do something with every option of one struct. */
typedef void option_fn(const struct option *option, void *base);

static void
each_option(const char *section, void *base, option_fn *fn)
{
	const struct option *option;
	size_t i;

	for (i = 0; (option = option_at(i)) != NULL; i++)
		if (option_is_in(option, section))
			fn(option, base);
}

static void
each_value(struct sgate_conf *conf, option_fn *fn)
{
	size_t i;

	each_option(NULL, conf, fn);
	for (i = 0; i < conf->listeners_count; i++)
		each_option("listener", &conf->listeners[i], fn);
	for (i = 0; i < conf->policies_count; i++)
		each_option("policy", &conf->policies[i], fn);
}

void
sgate_conf_free(struct sgate_conf *conf)
{
	size_t i;

	if (conf == NULL)
		return;
	each_value(conf, option_free_value);
	for (i = 0; i < conf->listeners_count; i++)
		free(conf->listeners[i].name);
	for (i = 0; i < conf->policies_count; i++)
		free(conf->policies[i].name);
	for (i = 0; i < conf->origins_count; i++)
		free(conf->origins[i].text);
	free(conf->listeners);
	free(conf->policies);
	free(conf->origins);
	free(conf->path);
	free(conf);
}

/* An array of the same bytes; never NULL but when memory is out. */
static void *
copy_array(const void *from, size_t count, size_t size)
{
	void *copy = calloc(count + 1, size);

	if (copy != NULL && count > 0)
		memcpy(copy, from, count * size);
	return copy;
}

static bool
dup_values(const char *section, void *base, const void *from)
{
	const struct option *option;
	size_t i;

	for (i = 0; (option = option_at(i)) != NULL; i++)
		if (option_is_in(option, section) &&
		    !option_dup_value(option, base, from))
			return false;
	return true;
}

static bool
dup_sections(struct sgate_conf *copy, const struct sgate_conf *conf)
{
	size_t i;

	for (i = 0; i < conf->listeners_count; i++) {
		copy->listeners[i].name = strdup(conf->listeners[i].name);
		if (copy->listeners[i].name == NULL ||
		    !dup_values(
			"listener", &copy->listeners[i], &conf->listeners[i]))
			return false;
	}
	for (i = 0; i < conf->policies_count; i++) {
		copy->policies[i].name = strdup(conf->policies[i].name);
		if (copy->policies[i].name == NULL ||
		    !dup_values(
			"policy", &copy->policies[i], &conf->policies[i]))
			return false;
	}
	return true;
}

static bool
dup_origins(struct sgate_conf *copy, const struct sgate_conf *conf)
{
	size_t i;

	for (i = 0; i < conf->origins_count; i++)
		if (!conf_origin_put(copy, conf->origins[i].option,
			conf->origins[i].section, conf->origins[i].text))
			return false;
	return true;
}

struct sgate_conf *
conf_dup(const struct sgate_conf *conf)
{
	struct sgate_conf *copy = malloc(sizeof(*copy));
	size_t i;

	if (copy == NULL)
		return NULL;
	/* First nothing of the original may be left in it, then copies. */
	*copy = *conf;
	copy->path = NULL;
	copy->origins = NULL;
	copy->origins_count = 0;
	copy->listeners = copy_array(
	    conf->listeners, conf->listeners_count, sizeof(*conf->listeners));
	copy->policies = copy_array(
	    conf->policies, conf->policies_count, sizeof(*conf->policies));
	if (copy->listeners == NULL)
		copy->listeners_count = 0;
	if (copy->policies == NULL)
		copy->policies_count = 0;
	for (i = 0; i < copy->listeners_count; i++)
		copy->listeners[i].name = NULL;
	for (i = 0; i < copy->policies_count; i++)
		copy->policies[i].name = NULL;
	each_value(copy, option_forget_value);

	copy->path = strdup(conf->path);
	if (copy->path == NULL || copy->listeners == NULL ||
	    copy->policies == NULL || !dup_values(NULL, copy, conf) ||
	    !dup_sections(copy, conf) || !dup_origins(copy, conf)) {
		sgate_conf_free(copy);
		return NULL;
	}
	return copy;
}

/* ---- defaults and sections ---- */

/* A default that its own row refuses is our bug: the unit test loads all. */
static enum sgate_status
set_defaults(const char *section, void *base, struct sgate_error *err)
{
	const struct option *option;
	struct buf why = {0};
	enum sgate_status status = SGATE_OK;
	size_t i;

	for (i = 0; status == SGATE_OK && (option = option_at(i)) != NULL;
	     i++) {
		if (!option_is_in(option, section))
			continue;
		status = option_set_text(
		    option, base, option->row.default_text, &why);
		if (status == SGATE_INVALID)
			status = error_set(err, SGATE_INTERNAL, "conf", "load",
			    0, "default of %s.%s: %s", option->row.section,
			    option->row.name, buf_text(&why));
	}
	buf_clear(&why);
	return status;
}

static enum sgate_status
listener_add(
    struct sgate_conf *conf, struct sgate_bytes name, struct sgate_error *err)
{
	struct conf_listener *listeners = reallocarray(
	    conf->listeners, conf->listeners_count + 1, sizeof(*listeners));
	struct conf_listener *listener;
	enum sgate_status status;

	if (listeners == NULL)
		return error_memory(err, "load");
	conf->listeners = listeners;
	listener = &listeners[conf->listeners_count++];
	memset(listener, 0, sizeof(*listener));
	listener->name = bytes_dup(name);
	if (listener->name == NULL)
		return error_memory(err, "load");
	status = set_defaults("listener", listener, err);
	if (strcmp(listener->name, "login") == 0)
		listener->allow = CONF_ALLOW_CREATE;
	if (strcmp(listener->name, "control") == 0) {
		listener->mode = 0600;
		listener->allow = CONF_ALLOW_CHECK | CONF_ALLOW_API |
				  CONF_ALLOW_CREATE | CONF_ALLOW_V1 |
				  CONF_ALLOW_ADMIN | CONF_ALLOW_ALL;
	}
	return status;
}

static enum sgate_status
policy_add(
    struct sgate_conf *conf, struct sgate_bytes name, struct sgate_error *err)
{
	struct conf_policy *policies = reallocarray(
	    conf->policies, conf->policies_count + 1, sizeof(*policies));
	struct conf_policy *policy;

	if (policies == NULL)
		return error_memory(err, "load");
	conf->policies = policies;
	policy = &policies[conf->policies_count++];
	memset(policy, 0, sizeof(*policy));
	policy->name = bytes_dup(name);
	if (policy->name == NULL)
		return error_memory(err, "load");
	return set_defaults("policy", policy, err);
}

/* The index of listener or policy NAME; made when there is none. */
static enum sgate_status
section_open(const struct load *load, const char *section,
    struct sgate_bytes name, const char *origin, size_t *out_index)
{
	struct sgate_conf *conf = load->conf;
	bool is_policy = strcmp(section, "policy") == 0;
	size_t count = is_policy ? conf->policies_count : conf->listeners_count;
	size_t max = is_policy ? POLICIES_MAX : LISTENERS_MAX;
	char text[CONF_NAME_MAX + 1];
	enum sgate_status status = SGATE_OK;
	size_t i;

	for (i = 0; i < count; i++)
		if (bytes_equal_text(name, is_policy ? conf->policies[i].name
						     : conf->listeners[i].name))
			break;
	*out_index = i;
	if (i == count) {
		snprintf(text, sizeof(text), "%.*s", (int)name.len, name.data);
		if (name.len > CONF_NAME_MAX || !rule_section(text))
			return conf_refuse(load->err, origin, section,
			    "\"%s\" is no name; it must be " RULE_section,
			    text);
		if (count >= max)
			return conf_refuse(load->err, origin, section,
			    "there are too many; at most %zu", max);
		status = is_policy ? policy_add(conf, name, load->err)
				   : listener_add(conf, name, load->err);
	}
	if (status == SGATE_OK &&
	    !conf_origin_put(conf,
		is_policy ? CONF_ORIGIN_POLICY : CONF_ORIGIN_LISTENER, i,
		origin))
		status = error_memory(load->err, "load");
	return status;
}

/* ---- names that are not known ---- */

/* Edit distance, for names up to 64 bytes; longer ones are far away. */
static unsigned
distance(struct sgate_bytes a, const char *b)
{
	unsigned row[65];
	size_t i, j;

	if (a.len > 64)
		return 64;
	for (i = 0; i <= a.len; i++)
		row[i] = (unsigned)i;
	for (j = 0; b[j] != '\0'; j++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)j + 1;
		for (i = 0; i < a.len; i++) {
			unsigned best = diagonal + (a.data[i] == b[j] ? 0 : 1);

			diagonal = row[i + 1];
			if (row[i] + 1 < best)
				best = row[i] + 1;
			if (diagonal + 1 < best)
				best = diagonal + 1;
			row[i + 1] = best;
		}
	}
	return row[a.len];
}

/* Near enough to be a slip of the hand. */
static bool
is_near(struct sgate_bytes name, unsigned d)
{
	return d <= 3 && d * 2 <= name.len;
}

static enum sgate_status
refuse_section(
    const struct load *load, const char *origin, struct sgate_bytes name)
{
	const struct option *option, *nearest = NULL, *same = NULL;
	int shown = name.len > 64 ? 64 : (int)name.len;
	unsigned least = 64;
	size_t i;

	for (i = 0; (option = option_at(i)) != NULL; i++) {
		unsigned d = distance(name, option->row.section);

		if (d < least && is_near(name, d)) {
			least = d;
			nearest = option;
		}
		if (same == NULL && bytes_equal_text(name, option->row.name))
			same = option;
	}
	if (nearest != NULL)
		return conf_refuse(load->err, origin, NULL,
		    "%.*s: there is no such section; did you mean %s?", shown,
		    name.data, nearest->row.section);
	if (same != NULL)
		return conf_refuse(load->err, origin, NULL,
		    "%.*s: is an option, not a section; write %s: { %s%s = "
		    "...; };",
		    shown, name.data, same->row.section,
		    option_is_named_section(same->row.section) ? "NAME: { "
							       : "",
		    same->row.name);
	return conf_refuse(load->err, origin, NULL,
	    "%.*s: there is no such section; `sessgatectl config template` "
	    "shows all",
	    shown, name.data);
}

/* prefix: "session" or "listener.pool". */
static enum sgate_status
refuse_option(const struct load *load, const char *origin, const char *section,
    const char *prefix, struct sgate_bytes name)
{
	const struct option *option, *nearest = NULL, *elsewhere = NULL;
	int shown = name.len > 64 ? 64 : (int)name.len;
	unsigned least = 64;
	size_t i;

	for (i = 0; (option = option_at(i)) != NULL; i++) {
		unsigned d = distance(name, option->row.name);

		if (d == 0)
			elsewhere = option;
		if (strcmp(option->row.section, section) == 0 && d < least &&
		    is_near(name, d)) {
			least = d;
			nearest = option;
		}
	}
	if (nearest != NULL)
		return conf_refuse(load->err, origin, NULL,
		    "%s.%.*s: there is no such option; did you mean %s?",
		    prefix, shown, name.data, nearest->row.name);
	if (elsewhere != NULL)
		return conf_refuse(load->err, origin, NULL,
		    "%s.%.*s: there is no such option; it belongs to the "
		    "section %s",
		    prefix, shown, name.data, elsewhere->row.section);
	return conf_refuse(load->err, origin, NULL,
	    "%s.%.*s: there is no such option; `sessgatectl config template` "
	    "shows all",
	    prefix, shown, name.data);
}

static enum sgate_status
refuse_option_of(const struct load *load, const char *origin,
    const char *section, size_t section_index, struct sgate_bytes name)
{
	struct buf prefix = {0};
	enum sgate_status status;

	buf_add_text(&prefix, section);
	if (strcmp(section, "listener") == 0)
		buf_printf(
		    &prefix, ".%s", load->conf->listeners[section_index].name);
	if (strcmp(section, "policy") == 0)
		buf_printf(
		    &prefix, ".%s", load->conf->policies[section_index].name);
	status = refuse_option(load, origin, section, buf_text(&prefix), name);
	buf_clear(&prefix);
	return status;
}

/* ---- one value, from wherever ---- */

static enum sgate_status
store(const struct load *load, int index, size_t section_index,
    const struct option_given *given, const char *origin)
{
	const struct option *option = option_at((size_t)index);
	struct buf why = {0}, name = {0};
	enum sgate_status status = option_set(option,
	    option_base(load->conf, option, section_index), given, &why);

	if (status == SGATE_OK &&
	    !conf_origin_put(load->conf, (size_t)index, section_index, origin))
		status = SGATE_NO_MEMORY;
	if (status == SGATE_NO_MEMORY)
		error_memory(load->err, "load");
	if (status == SGATE_INVALID) {
		conf_option_name(
		    load->conf, &option->row, section_index, &name);
		conf_refuse(
		    load->err, origin, buf_text(&name), "%s", buf_text(&why));
	}
	buf_clear(&why);
	buf_clear(&name);
	return status;
}

/* ---- the file ---- */

/* "FILE:LINE"; libconfig names a file only when it was included. */
static void
add_origin(
    const struct load *load, const config_setting_t *setting, struct buf *out)
{
	const char *file = config_setting_source_file(setting);

	if (file == NULL)
		buf_add_text(out, load->conf->path);
	else
		buf_printf(out, "%s/%s", load->dir, file);
	buf_printf(out, ":%u", config_setting_source_line(setting));
}

static struct sgate_bytes
name_of(const config_setting_t *setting)
{
	return bytes_of(config_setting_name(setting));
}

/* out_items: to free, not its strings. */
static enum sgate_status
give_list(const config_setting_t *setting, struct option_given *given,
    const char ***out_items)
{
	int i, count = config_setting_length(setting);
	const char **items = calloc((size_t)count + 1, sizeof(*items));

	*out_items = items;
	if (items == NULL)
		return SGATE_NO_MEMORY;
	given->type = count > ITEMS_MAX ? GIVEN_OTHER : GIVEN_LIST;
	given->items = items;
	given->items_count = (size_t)count;
	for (i = 0; i < count; i++) {
		items[i] = config_setting_get_string_elem(setting, i);
		if (items[i] == NULL)
			given->type = GIVEN_OTHER;
	}
	return SGATE_OK;
}

static enum sgate_status
load_value(const struct load *load, const config_setting_t *setting, int index,
    size_t section_index, const char *origin)
{
	struct option_given given = {.type = GIVEN_OTHER};
	const char **items = NULL;
	enum sgate_status status = SGATE_OK;

	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_STRING:
		given.type = GIVEN_TEXT;
		given.text = config_setting_get_string(setting);
		break;
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		given.type = GIVEN_INTEGER;
		given.integer = config_setting_get_int64(setting);
		break;
	case CONFIG_TYPE_BOOL:
		given.type = GIVEN_BOOL;
		given.integer = config_setting_get_bool(setting);
		break;
	case CONFIG_TYPE_ARRAY:
	case CONFIG_TYPE_LIST:
		status = give_list(setting, &given, &items);
		break;
	}
	if (status == SGATE_OK)
		status = store(load, index, section_index, &given, origin);
	else
		error_memory(load->err, "load");
	free(items);
	return status;
}

static enum sgate_status
load_option(const struct load *load, const config_setting_t *setting,
    const char *section, size_t section_index)
{
	int index = option_find(bytes_of(section), name_of(setting));
	struct buf origin = {0};
	enum sgate_status status;

	add_origin(load, setting, &origin);
	if (index < 0)
		status = refuse_option_of(load, buf_text(&origin), section,
		    section_index, name_of(setting));
	else
		status = load_value(
		    load, setting, index, section_index, buf_text(&origin));
	buf_clear(&origin);
	return status;
}

static enum sgate_status
load_options(const struct load *load, config_setting_t *group,
    const char *section, size_t section_index)
{
	enum sgate_status status = SGATE_OK;
	int i, count = config_setting_length(group);

	for (i = 0; status == SGATE_OK && i < count; i++)
		status = load_option(load,
		    config_setting_get_elem(group, (unsigned)i), section,
		    section_index);
	return status;
}

static void
set_line(struct sgate_conf *conf, const char *section, size_t index, int line)
{
	if (strcmp(section, "listener") == 0)
		conf->listeners[index].line = line;
	else
		conf->policies[index].line = line;
}

/* listener: { NAME: { ... }; ... }; */
static enum sgate_status
load_named(
    const struct load *load, config_setting_t *group, const char *section)
{
	enum sgate_status status = SGATE_OK;
	int i, count = config_setting_length(group);

	for (i = 0; status == SGATE_OK && i < count; i++) {
		config_setting_t *named =
		    config_setting_get_elem(group, (unsigned)i);
		struct buf origin = {0};
		size_t index = 0;

		add_origin(load, named, &origin);
		if (config_setting_type(named) != CONFIG_TYPE_GROUP)
			status =
			    conf_refuse(load->err, buf_text(&origin), section,
				"\"%.40s\" is not a group; write %s: { NAME: { "
				"... }; };",
				config_setting_name(named), section);
		else
			status = section_open(load, section, name_of(named),
			    buf_text(&origin), &index);
		buf_clear(&origin);
		if (status != SGATE_OK)
			break;
		set_line(load->conf, section, index,
		    (int)config_setting_source_line(named));
		status = load_options(load, named, section, index);
	}
	return status;
}

static enum sgate_status
load_section(const struct load *load, config_setting_t *group)
{
	const char *section = config_setting_name(group);
	struct buf origin = {0};
	enum sgate_status status;

	add_origin(load, group, &origin);
	if (!option_is_section(bytes_of(section)))
		status =
		    refuse_section(load, buf_text(&origin), bytes_of(section));
	else if (config_setting_type(group) != CONFIG_TYPE_GROUP)
		status = conf_refuse(load->err, buf_text(&origin), section,
		    "is a section; write %s: { ... };", section);
	else if (option_is_named_section(section))
		status = load_named(load, group, section);
	else
		status = load_options(load, group, section, 0);
	buf_clear(&origin);
	return status;
}

static enum sgate_status
refuse_syntax(const struct load *load, const config_t *config)
{
	const char *file = config_error_file(config);
	const char *text = config_error_text(config);
	struct buf origin = {0};

	if (file == NULL)
		buf_add_text(&origin, load->conf->path);
	else
		buf_printf(&origin, "%s/%s", load->dir, file);
	buf_printf(&origin, ":%d", config_error_line(config));
	if (text != NULL && strstr(text, "duplicate") != NULL)
		text = "this name stands here twice; keep one";
	else if (text == NULL || strcmp(text, "syntax error") == 0)
		text = "syntax error here or just before; write SECTION: { "
		       "NAME = VALUE; ... }; (a text is \"in quotes\", yes "
		       "and no are true and false)";
	conf_refuse(load->err, buf_text(&origin), NULL, "%s", text);
	buf_clear(&origin);
	return SGATE_INVALID;
}

static enum sgate_status
parse_file(const struct load *load, const char *text)
{
	enum sgate_status status = SGATE_OK;
	config_setting_t *root;
	config_t config;
	int i;

	config_init(&config);
	config_set_include_dir(&config, load->dir);
	if (config_read_string(&config, text) != CONFIG_TRUE) {
		status = refuse_syntax(load, &config);
		config_destroy(&config);
		return status;
	}
	root = config_root_setting(&config);
	for (i = 0; status == SGATE_OK && i < config_setting_length(root); i++)
		status = load_section(
		    load, config_setting_get_elem(root, (unsigned)i));
	config_destroy(&config);
	return status;
}

static enum sgate_status
load_file(struct load *load)
{
	const char *path = load->conf->path;
	const char *slash = strrchr(path, '/');
	size_t len = slash == NULL ? 0 : (size_t)(slash - path);
	struct buf text = {0};
	enum sgate_status status;
	char *dir;

	dir = slash == NULL ? strdup(".")
	      : len == 0    ? strdup("/")
			    : bytes_dup((struct sgate_bytes){path, len});
	if (dir == NULL)
		return error_memory(load->err, "load");
	load->dir = dir;
	status = conf_scan(path, dir, &text, load->err);
	if (status == SGATE_OK)
		status = parse_file(load, buf_text(&text));
	buf_clear(&text);
	load->dir = NULL;
	free(dir);
	return status;
}

/* ---- -o section.name=value ---- */

static enum sgate_status
load_override(const struct load *load, const char *override)
{
	const char *equals = strchr(override, '=');
	const char *dot = strchr(override, '.');
	const char *last;
	struct option_given given = {.type = GIVEN_TEXT,
	    .is_loose = true,
	    .text = equals == NULL ? NULL : equals + 1};
	struct sgate_bytes section, name;
	char text[CONF_NAME_MAX];
	size_t index = 0;
	enum sgate_status status;
	int option;

	if (equals == NULL || dot == NULL || dot > equals)
		return conf_refuse(load->err, "-o", NULL,
		    "\"%.60s\" is not an option; write SECTION.NAME=VALUE",
		    override);
	section = (struct sgate_bytes){override, (size_t)(dot - override)};
	if (!option_is_section(section))
		return refuse_section(load, "-o", section);
	snprintf(text, sizeof(text), "%.*s", (int)section.len, section.data);
	last = memrchr(override, '.', (size_t)(equals - override));
	if (option_is_named_section(text)) {
		if (last == dot)
			return conf_refuse(load->err, "-o", NULL,
			    "\"%.60s\" has no name in it; write "
			    "%s.NAME.OPTION=VALUE",
			    override, text);
		name = (struct sgate_bytes){dot + 1, (size_t)(last - dot - 1)};
		status = section_open(load, text, name, "-o", &index);
		if (status != SGATE_OK)
			return status;
		dot = last;
	}
	name = (struct sgate_bytes){dot + 1, (size_t)(equals - dot - 1)};
	option = option_find(section, name);
	if (option < 0)
		return refuse_option_of(load, "-o", text, index, name);
	return store(load, option, index, &given, "-o");
}

/* ---- all of it ---- */

static enum sgate_status
load_all(struct load *load, const char *path, const char *const *overrides)
{
	static const char *const built_in[] = {"pool", "control", "inherited"};
	struct sgate_conf *conf = load->conf;
	enum sgate_status status;
	size_t i;

	conf->path = strdup(path == NULL ? "" : path);
	if (conf->path == NULL)
		return error_memory(load->err, "load");
	status = set_defaults(NULL, conf, load->err);
	for (i = 0; status == SGATE_OK && i < 3; i++)
		status = listener_add(conf, bytes_of(built_in[i]), load->err);
	if (status == SGATE_OK && path != NULL)
		status = load_file(load);
	for (i = 0;
	     status == SGATE_OK && overrides != NULL && overrides[i] != NULL;
	     i++)
		status = load_override(load, overrides[i]);
	if (status == SGATE_OK)
		status = conf_check(conf, load->err);
	if (status == SGATE_NO_MEMORY)
		error_memory(load->err, "load");
	return status;
}

enum sgate_status
sgate_conf_load(const char *path, const char *const *overrides,
    struct sgate_conf **out_conf, struct sgate_error *err)
{
	struct load load = {.err = err};
	enum sgate_status status;

	error_clear(err);
	*out_conf = NULL;
	load.conf = calloc(1, sizeof(*load.conf));
	if (load.conf == NULL)
		return error_memory(err, "load");
	status = load_all(&load, path, overrides);
	if (status == SGATE_OK)
		*out_conf = load.conf;
	else
		sgate_conf_free(load.conf);
	return status;
}

/* ---- asking ---- */

bool
conf_has_mysql(const struct sgate_conf *conf)
{
	return (conf->mysql.hosts != NULL && conf->mysql.hosts[0] != NULL) ||
	       (conf->mysql.socket != NULL && conf->mysql.socket[0] != '\0');
}

bool
conf_has_redis(const struct sgate_conf *conf)
{
	return (conf->redis.address != NULL &&
		   conf->redis.address[0] != '\0') ||
	       (conf->redis.sentinel != NULL &&
		   conf->redis.sentinel[0] != NULL);
}

bool
conf_has_spool(const struct sgate_conf *conf)
{
	return conf_has_mysql(conf);
}

int64_t
conf_largest_absolute_ms(const struct sgate_conf *conf)
{
	int64_t usual = conf->session.absolute_timeout_ms;
	int64_t remember = conf->session.remember_absolute_timeout_ms;

	return usual > remember ? usual : remember;
}

const struct conf_listener *
conf_listener(const struct sgate_conf *conf, const char *name)
{
	size_t i;

	for (i = 0; i < conf->listeners_count; i++)
		if (strcmp(conf->listeners[i].name, name) == 0)
			return &conf->listeners[i];
	return NULL;
}

const struct conf_policy *
conf_policy(const struct sgate_conf *conf, struct sgate_bytes name)
{
	size_t i;

	for (i = 0; i < conf->policies_count; i++)
		if (bytes_equal_text(name, conf->policies[i].name))
			return &conf->policies[i];
	return NULL;
}

bool
conf_list_has(char *const *list, struct sgate_bytes item)
{
	for (; *list != NULL; list++)
		if (bytes_equal_text(item, *list))
			return true;
	return false;
}
