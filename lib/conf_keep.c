/*
 * A reload: the new configuration with the old values of what only a restart
 * can change, so that what is in force is one configuration without gaps. The
 * sockets are open, so a listener that was added or removed is such a value
 * too.
 */
#include "config.h"

#include "conf_option.h"

#include <stdlib.h>
#include <string.h>

#include "status.h"

static size_t
size_of(enum option_kind kind)
{
	switch (kind) {
	case OPTION_BOOL:
		return sizeof(bool);
	case OPTION_INTEGER:
	case OPTION_WORD:
		return sizeof(int);
	case OPTION_COUNT:
	case OPTION_DURATION:
		return sizeof(int64_t);
	case OPTION_SIZE:
		return sizeof(size_t);
	case OPTION_MODE:
		return sizeof(mode_t);
	case OPTION_ALLOW:
		return sizeof(unsigned);
	case OPTION_TEXT:
	case OPTION_LIST:
	case OPTION_TEXT_WORD:
	case OPTION_REALM:
		break; /* memory of their own: option_dup_value() */
	}
	return 0;
}

static bool
keep_value(const struct option *option, void *base, const void *old)
{
	size_t size = size_of(option->kind);

	if (size > 0) {
		memcpy((char *)base + option->offset,
		    (const char *)old + option->offset, size);
		return true;
	}
	option_free_value(option, base);
	if (option->kind == OPTION_REALM)
		((struct conf_listener *)base)->has_realm =
		    ((const struct conf_listener *)old)->has_realm;
	return option_dup_value(option, base, old);
}

/* section NULL: those that struct sgate_conf holds itself. all: also what a
 * reload may change. */
static bool
keep_values(const char *section, void *base, const void *old, bool all)
{
	const struct option *option;
	size_t i;

	for (i = 0; (option = option_at(i)) != NULL; i++)
		if (option_is_in(option, section) &&
		    (all || !option->row.is_reloadable) &&
		    !keep_value(option, base, old))
			return false;
	return true;
}

static void
free_listener(struct conf_listener *listener)
{
	const struct option *option;
	size_t i;

	for (i = 0; (option = option_at(i)) != NULL; i++)
		if (option_is_in(option, "listener"))
			option_free_value(option, listener);
	free(listener->name);
}

static bool
keep_listener(struct sgate_conf *conf, const struct conf_listener *old,
    struct conf_listener *out)
{
	const struct option *option;
	size_t i;

	for (i = 0; i < conf->listeners_count; i++) {
		if (strcmp(conf->listeners[i].name, old->name) != 0)
			continue;
		/* Moved: the last one takes its place. */
		*out = conf->listeners[i];
		conf->listeners[i] = conf->listeners[--conf->listeners_count];
		return keep_values("listener", out, old, false);
	}
	out->line = old->line;
	out->name = strdup(old->name);
	for (i = 0; (option = option_at(i)) != NULL; i++)
		if (option_is_in(option, "listener"))
			option_forget_value(option, out);
	return keep_values("listener", out, old, true) && out->name != NULL;
}

/* Origins name sections by index, which is another now. */
static void
forget_listener_origins(struct sgate_conf *conf)
{
	size_t kept = 0;
	size_t i;

	for (i = 0; i < conf->origins_count; i++) {
		size_t index = conf->origins[i].option;
		const struct option *option = option_at(index);

		if (index == CONF_ORIGIN_LISTENER ||
		    (option != NULL && option_is_in(option, "listener")))
			free(conf->origins[i].text);
		else
			conf->origins[kept++] = conf->origins[i];
	}
	conf->origins_count = kept;
}

static bool
keep_listeners(struct sgate_conf *conf, const struct sgate_conf *old)
{
	struct conf_listener *kept =
	    calloc(old->listeners_count + 1, sizeof(*kept));
	bool is_kept = kept != NULL;
	size_t count;
	size_t i;

	for (count = 0; is_kept && count < old->listeners_count; count++)
		is_kept =
		    keep_listener(conf, &old->listeners[count], &kept[count]);
	if (kept == NULL)
		return false;
	for (i = 0; i < conf->listeners_count; i++)
		free_listener(&conf->listeners[i]);
	free(conf->listeners);
	conf->listeners = kept;
	conf->listeners_count = count;
	forget_listener_origins(conf);
	return is_kept;
}

enum sgate_status
conf_keep_not_reloadable(const struct sgate_conf *old,
    struct sgate_conf *new_conf, struct sgate_error *err)
{
	if (!keep_values(NULL, new_conf, old, false) ||
	    !keep_listeners(new_conf, old))
		return error_memory(err, "reload");
	/* New values beside old ones may be an impossible pair. */
	return conf_check(new_conf, err);
}
