/*
 * "config mount NAME" prints the files of conf/lighttpd, conf/apache and
 * conf/nginx, as they are shipped but for the values that sessgate.conf has:
 * where a file has a default (the first column of the table of places), the
 * value of this gateway stands in what is printed, in examples too.
 */
#include "config.h"

#include "ctl.h"

#include "gateway/ctl_mounts.h" /* mount_files, made from conf/ */

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOUNTS (sizeof(mount_files) / sizeof(mount_files[0]))

struct place {
	const char *text; /* in the shipped file */
	const char *keep; /* of it, what stays in front of the value */
	bool is_in_pattern;
	struct buf value; /* "" = the text stays as it is */
};

enum {
	PLACE_SOCKET,
	PLACE_CHECK,
	PLACE_LOGIN,
	PLACE_ADMIN,
	PLACE_MOUNT,
	PLACE_PROTECT,
	PLACE_COOKIE,
	PLACE_PROGRAM,
	PLACE_CONF,
	PLACE_LIGHTTPD_TIMEOUT,
	PLACE_APACHE_TIMEOUT,
	PLACE_NGINX_TIMEOUT,
	PLACES
};

static const struct place shipped_places[PLACES] = {
    [PLACE_SOCKET] = {.text = "/run/sessgate/pool.sock", .keep = ""},
    [PLACE_CHECK] = {.text = "127.0.0.1:9733", .keep = ""},
    [PLACE_MOUNT] = {.text = "/.sessgate/", .keep = ""},
    [PLACE_PROTECT] = {.text = "/app/", .keep = ""},
    [PLACE_COOKIE] = {.text = "__Host-sid", .keep = "", .is_in_pattern = true},
    [PLACE_PROGRAM] = {.text = "/usr/sbin/sessgated", .keep = ""},
    [PLACE_CONF] = {.text = "/etc/sessgate/sessgate.conf", .keep = ""},
    [PLACE_LOGIN] = {.text = "/run/sessgate/remote.sock", .keep = ""},
    [PLACE_ADMIN] = {.text = "/run/sessgate/admin.sock", .keep = ""},
    [PLACE_LIGHTTPD_TIMEOUT] = {.text = "_read_timeout = 12",
	.keep = "_read_timeout = "},
    [PLACE_APACHE_TIMEOUT] = {.text = "_TIMEOUT 12", .keep = "_TIMEOUT "},
    [PLACE_NGINX_TIMEOUT] = {.text = "_read_timeout 12s",
	.keep = "_read_timeout "},
};

/*
 * What means the same in the syntax of every web server, in strings, patterns
 * and shell commands: no quotes, spaces, variables, brackets.
 */
static bool
is_plain(const char *value)
{
	return value[strspn(value, "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789/._-@+~")] == '\0';
}

/* And in a pattern it stands for itself. */
static bool
is_word(const char *value)
{
	return is_plain(value) && strpbrk(value, "/.@+~") == NULL;
}

static bool
set_place(struct place *place, const char *option, const char *value)
{
	if (place->is_in_pattern ? !is_word(value) : !is_plain(value)) {
		ctl_fail(CTL_NO,
		    "%s: web servers cannot be given \"%.200s\"; use letters, "
		    "digits and . _ - /",
		    option, value);
		return false;
	}
	buf_add_text(&place->value, value);
	return true;
}

/* NULL: no listener that Apache's mod_authnz_fcgi can ask. */
static const char *
tcp_check_address(const struct sgate_conf *conf)
{
	size_t i;

	for (i = 0; i < conf->listeners_count; i++)
		if ((conf->listeners[i].allow & CONF_ALLOW_CHECK) != 0 &&
		    strncmp(conf->listeners[i].address, "tcp:", 4) == 0)
			return conf->listeners[i].address + 4;
	return NULL;
}

/* NULL: no listener that allows it and that a web server can ask. */
static const char *
address_of(const struct sgate_conf *conf, unsigned allow)
{
	size_t i;

	for (i = 0; i < conf->listeners_count; i++)
		if ((conf->listeners[i].allow & allow) != 0 &&
		    (conf->listeners[i].allow & CONF_ALLOW_ALL) == 0 &&
		    strncmp(conf->listeners[i].address, "unix:", 5) == 0)
			return conf->listeners[i].address + 5;
	return NULL;
}

/* sessgated beside this program, if that is how they are installed. */
static void
find_program(struct buf *out)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (len <= 0)
		return;
	path[len] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL)
		return;
	*slash = '\0';
	/* Installed: PREFIX/bin/sessgatectl and PREFIX/sbin/sessgated. */
	slash = strrchr(path, '/');
	if (slash != NULL && strcmp(slash, "/bin") == 0)
		strcpy(slash, "/sbin");
	buf_printf(out, "%s/sessgated", path);
	if (buf_failed(out) || access(buf_text(out), X_OK) != 0 ||
	    !is_plain(buf_text(out)))
		buf_reset(out);
}

static bool
set_conf_path(struct place *place, const struct sgate_conf *conf)
{
	char *path;
	bool is_set;

	if (conf->path[0] == '\0')
		return true;
	path = realpath(conf->path, NULL);
	is_set = set_place(
	    place, "the configuration file", path == NULL ? conf->path : path);
	free(path);
	return is_set;
}

/* --protect: what needs a session. False: it is no such path; said so. */
static bool
set_protect(struct place *place, const char *path)
{
	size_t len = path == NULL ? 0 : strlen(path);

	if (path == NULL)
		return true;
	if (len == 0 || path[0] != '/' || path[len - 1] != '/' ||
	    strstr(path, "//") != NULL || strstr(path, "/.") != NULL) {
		ctl_fail(CTL_USAGE,
		    "--protect needs a path that begins and ends with a slash, "
		    "like /cgi-bin/, not \"%.200s\"",
		    path);
		return false;
	}
	return set_place(place, "--protect", path);
}

static bool
set_places(struct place *places, const struct sgate_conf *conf)
{
	const struct conf_listener *pool = conf_listener(conf, "pool");
	const char *check = tcp_check_address(conf);
	const char *login = address_of(conf, CONF_ALLOW_REMOTE_USER);
	const char *admin = address_of(conf, CONF_ALLOW_ADMIN);
	long long seconds =
	    (long long)(conf->gateway.request_terminate_timeout_ms / 1000 + 2);

	if (pool == NULL || strncmp(pool->address, "unix:", 5) != 0) {
		ctl_fail(CTL_NO, "listener.pool is no unix socket");
		return false;
	}
	if (!set_place(&places[PLACE_SOCKET], "listener.pool.address",
		pool->address + 5) ||
	    !set_place(
		&places[PLACE_MOUNT], "gateway.mount", conf->gateway.mount) ||
	    !set_place(
		&places[PLACE_COOKIE], "cookie.name", conf->cookie.name) ||
	    !set_conf_path(&places[PLACE_CONF], conf))
		return false;
	if (login != NULL && !set_place(&places[PLACE_LOGIN],
				 "the address of a listener", login))
		return false;
	if (admin != NULL && !set_place(&places[PLACE_ADMIN],
				 "the address of a listener", admin))
		return false;
	if (check != NULL)
		buf_add_text(&places[PLACE_CHECK].value, check);
	find_program(&places[PLACE_PROGRAM].value);
	buf_printf(&places[PLACE_LIGHTTPD_TIMEOUT].value, "%lld", seconds);
	buf_printf(&places[PLACE_APACHE_TIMEOUT].value, "%lld", seconds);
	buf_printf(&places[PLACE_NGINX_TIMEOUT].value, "%llds", seconds);
	return true;
}

static const struct place *
place_at(const struct place *places, const char *at)
{
	size_t i;

	for (i = 0; i < PLACES; i++)
		if (places[i].value.len > 0 &&
		    strncmp(at, places[i].text, strlen(places[i].text)) == 0)
			return &places[i];
	return NULL;
}

static void
print_file(const char *text, const struct place *places)
{
	const char *at, *from = text;

	for (at = text; *at != '\0'; at++) {
		const struct place *place = place_at(places, at);

		if (place == NULL)
			continue;
		printf("%.*s%s%s", (int)(at - from), from, place->keep,
		    buf_text(&place->value));
		at += strlen(place->text) - 1;
		from = at + 1;
	}
	fputs(from, stdout);
}

static enum ctl_exit
unknown_mount(const char *name)
{
	struct buf names = {0};
	enum ctl_exit code;
	size_t i;

	for (i = 0; i < MOUNTS; i++)
		buf_printf(
		    &names, "%s%s", i == 0 ? "" : ", ", mount_files[i].name);
	code = buf_failed(&names)
		   ? ctl_fail_memory()
		   : ctl_fail(CTL_USAGE, "no mount \"%.40s\"; there is: %s",
			 name, buf_text(&names));
	buf_clear(&names);
	return code;
}

/* What is printed would ask where nobody listens. */
static void
note_missing_listener(const struct sgate_conf *conf, const char *text)
{
	if (tcp_check_address(conf) == NULL &&
	    strstr(text, "AuthnzFcgiDefineProvider") != NULL)
		ctl_fail(CTL_YES,
		    "sessgate.conf has no listener for this mount yet: add "
		    "listener: { apache: { address = \"tcp:127.0.0.1:9733\"; "
		    "allow = [\"check\"]; }; };");
	if (address_of(conf, CONF_ALLOW_REMOTE_USER) == NULL &&
	    strstr(text, shipped_places[PLACE_LOGIN].text) != NULL)
		ctl_fail(CTL_YES,
		    "sessgate.conf has no listener for this mount yet: add "
		    "listener: { remote: { allow = [\"remote-user\"]; group = "
		    "\"www-data\"; }; }; (the web server's group)");
	if (address_of(conf, CONF_ALLOW_ADMIN) == NULL &&
	    strstr(text, shipped_places[PLACE_ADMIN].text) != NULL)
		ctl_fail(CTL_YES,
		    "sessgate.conf has no listener for this mount yet: add "
		    "listener: { admin: { allow = [\"admin\"]; group = "
		    "\"www-data\"; }; }; (the web server's group)");
}

static enum ctl_exit
print_with_values(struct ctl *ctl, const char *text,
    const struct sgate_conf *conf, struct place *places)
{
	size_t i;

	if (!set_protect(
		&places[PLACE_PROTECT], ctl_args_get(&ctl->args, "protect")))
		return CTL_USAGE;
	if (!set_places(places, conf))
		return CTL_NO;
	for (i = 0; i < PLACES; i++)
		if (buf_failed(&places[i].value))
			return ctl_fail_memory();
	print_file(text, places);
	note_missing_listener(conf, text);
	return CTL_YES;
}

static enum ctl_exit
print_mount(struct ctl *ctl, const char *text)
{
	const struct sgate_conf *conf = ctl_conf(ctl);
	struct place places[PLACES];
	enum ctl_exit code;
	size_t i;

	if (conf == NULL)
		return CTL_USAGE;
	memcpy(places, shipped_places, sizeof(places));
	code = print_with_values(ctl, text, conf, places);
	for (i = 0; i < PLACES; i++)
		buf_clear(&places[i].value);
	return code;
}

/* NULL: there is none of that name. */
static const char *
find_mount(const char *name)
{
	size_t i;

	for (i = 0; i < MOUNTS; i++)
		if (strcmp(name, mount_files[i].name) == 0)
			return mount_files[i].text;
	return NULL;
}

enum ctl_exit
ctl_config_mount(struct ctl *ctl)
{
	enum ctl_exit code = CTL_YES;
	int i;

	/* All or nothing: what is printed mostly goes into a file. */
	for (i = 0; i < ctl->args.arguments_count; i++)
		if (find_mount(ctl->args.arguments[i]) == NULL)
			return unknown_mount(ctl->args.arguments[i]);
	for (i = 0; i < ctl->args.arguments_count && code == CTL_YES; i++)
		code = print_mount(ctl, find_mount(ctl->args.arguments[i]));
	return code;
}
