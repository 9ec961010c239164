/*
 * What options say together: first what one gives another that is not set,
 * then every pair that cannot be. A refusal names the option that is in the
 * file, not the one that is only a default.
 */
#include "config.h"

#include "conf_option.h"

#include <stdlib.h>
#include <string.h>

/* As sockaddr_un.sun_path takes with its NUL. */
#define SOCKET_PATH_MAX 107
#define CACHE_MIN ((size_t)64 * 1024)
/* Four PINGs a lease: with less the tracker does nothing else, or is late. */
#define CACHE_LEASE_MIN_MS 100

struct check {
	struct sgate_conf *conf;
	struct sgate_error *err;
};

static size_t
index_of(const char *section, const char *name)
{
	return (size_t)option_find(bytes_of(section), bytes_of(name));
}

static bool
is_given(const struct sgate_conf *conf, const char *section, const char *name,
    size_t section_index)
{
	return conf_origin_get(conf, index_of(section, name), section_index) !=
	       NULL;
}

/* name, or if that is a default, other (may be NULL), is what is refused. */
static enum sgate_status
refuse(const struct check *check, const char *section, size_t section_index,
    const char *name, const char *other, const char *what)
{
	size_t option = index_of(section, name);
	const char *origin;
	struct buf full = {0};

	if (other != NULL &&
	    !is_given(check->conf, section, name, section_index))
		option = index_of(section, other);
	origin = conf_origin_get(check->conf, option, section_index);
	if (origin == NULL && strcmp(section, "listener") == 0)
		origin = conf_origin_get(
		    check->conf, CONF_ORIGIN_LISTENER, section_index);
	conf_option_name(
	    check->conf, conf_option(option), section_index, &full);
	conf_refuse(check->err,
	    origin != NULL                 ? origin
	    : check->conf->path[0] != '\0' ? check->conf->path
					   : "default",
	    buf_text(&full), "%s", what);
	buf_clear(&full);
	return SGATE_INVALID;
}

/* ---- gateway ---- */

static const char *const dynamic_options[] = {
    "workers_min", "workers_max", "spare_min", "spare_max"};

/* The first of the four that is given, or NULL. */
static const char *
given_dynamic(const struct sgate_conf *conf)
{
	size_t i;

	for (i = 0; i < 4; i++)
		if (is_given(conf, "gateway", dynamic_options[i], 0))
			return dynamic_options[i];
	return NULL;
}

static enum sgate_status
check_workers(const struct check *check)
{
	struct sgate_conf *conf = check->conf;
	const char *dynamic = given_dynamic(conf);

	if (dynamic != NULL && !is_given(conf, "gateway", "workers", 0))
		conf->gateway.workers = 0;
	if (conf->gateway.workers > 0)
		return dynamic == NULL
			   ? SGATE_OK
			   : refuse(check, "gateway", 0, dynamic, NULL,
				 "does not go with workers, a fixed number; "
				 "set one or the other");
	if (conf->gateway.workers_min > conf->gateway.workers_max)
		return refuse(check, "gateway", 0, "workers_max", "workers_min",
		    "workers_max is below workers_min; set both");
	if (conf->gateway.spare_min > conf->gateway.spare_max)
		return refuse(check, "gateway", 0, "spare_max", "spare_min",
		    "spare_max is below spare_min; set both");
	if (conf->gateway.spare_min > conf->gateway.workers_max)
		return refuse(check, "gateway", 0, "spare_min", "workers_max",
		    "spare_min is above workers_max, so it is never reached; "
		    "lower it");
	return SGATE_OK;
}

static enum sgate_status
check_gateway(const struct check *check)
{
	const struct sgate_conf *conf = check->conf;

	if (conf->gateway.request_timeout_ms >=
	    conf->gateway.request_terminate_timeout_ms)
		return refuse(check, "gateway", 0, "request_timeout",
		    "request_terminate_timeout",
		    "request_timeout must be below "
		    "request_terminate_timeout, or workers are killed at "
		    "work");
	return SGATE_OK;
}

/* ---- listeners ---- */

static bool
is_unix(const struct conf_listener *listener)
{
	return strncmp(listener->address, "unix:", 5) == 0;
}

/* "" becomes RUNTIME_DIR/NAME.sock. */
static enum sgate_status
derive_address(const struct check *check, size_t index)
{
	struct conf_listener *listener = &check->conf->listeners[index];
	struct buf path = {0};
	char *address;

	if (listener->address[0] != '\0' ||
	    strcmp(listener->name, "inherited") == 0)
		return SGATE_OK;
	buf_printf(&path, "unix:%s/%s.sock", check->conf->gateway.runtime_dir,
	    listener->name);
	if (path.len > SOCKET_PATH_MAX + strlen("unix:")) {
		buf_clear(&path);
		return refuse(check, "gateway", 0, "runtime_dir", NULL,
		    "is too long: with /NAME.sock of every listener it must "
		    "be up to 107 bytes");
	}
	address = buf_take(&path);
	if (address == NULL)
		return SGATE_NO_MEMORY;
	free(listener->address);
	listener->address = address;
	return SGATE_OK;
}

/* None of the options in names, which ends with NULL, may be given. */
static enum sgate_status
refuse_given(const struct check *check, size_t index, const char *const *names,
    const char *what)
{
	for (; *names != NULL; names++)
		if (is_given(check->conf, "listener", *names, index))
			return refuse(
			    check, "listener", index, *names, NULL, what);
	return SGATE_OK;
}

static enum sgate_status
check_tcp(const struct check *check, size_t index)
{
	static const char *const names[] = {"mode", "owner", "group", NULL};
	const struct conf_listener *listener = &check->conf->listeners[index];

	if (strcmp(listener->name, "control") == 0)
		return refuse(check, "listener", index, "address", NULL,
		    "control has everything, so it must be a unix socket");
	if (listener->allow != CONF_ALLOW_CHECK)
		return refuse(check, "listener", index, "allow", "address",
		    "anybody on this host can connect to a TCP port; it must "
		    "be allow = [\"check\"] alone");
	return refuse_given(check, index, names,
	    "a TCP port has no owner, group or mode; remove it");
}

static enum sgate_status
check_listener(const struct check *check, size_t index)
{
	static const char *const made[] = {
	    "address", "mode", "owner", "group", "backlog", NULL};
	static const char *const allow[] = {"allow", NULL};
	const struct conf_listener *listener = &check->conf->listeners[index];
	const unsigned strong = CONF_ALLOW_ALL | CONF_ALLOW_CREATE;

	if (strcmp(listener->name, "inherited") == 0)
		return refuse_given(check, index, made,
		    "fd 0 is made by whoever starts sessgated; remove it");
	if (strcmp(listener->name, "control") == 0 &&
	    is_given(check->conf, "listener", "allow", index))
		return refuse_given(check, index, allow,
		    "control always has everything; remove it");
	if (!is_unix(listener))
		return check_tcp(check, index);
	if ((listener->allow & strong) != 0 && (listener->mode & 0007) != 0)
		return refuse(check, "listener", index, "mode", "allow",
		    "everybody on this host could log in as anybody; it must "
		    "be \"0660\" or less");
	return SGATE_OK;
}

static enum sgate_status
check_listener_address(const struct check *check, size_t index)
{
	const struct sgate_conf *conf = check->conf;
	const char *address = conf->listeners[index].address;
	struct buf keeper = {0};
	bool is_keeper, is_failed;
	size_t i;

	buf_printf(&keeper, "unix:%s/keeper.sock", conf->gateway.runtime_dir);
	is_keeper = strcmp(address, buf_text(&keeper)) == 0;
	is_failed = buf_failed(&keeper);
	buf_clear(&keeper);
	if (is_failed)
		return SGATE_NO_MEMORY;
	if (is_keeper)
		return refuse(check, "listener", index, "address", NULL,
		    "keeper.sock is sessgated's own; choose another path");
	for (i = 0; i < index; i++)
		if (address[0] != '\0' &&
		    strcmp(address, conf->listeners[i].address) == 0)
			return refuse(check, "listener", index, "address", NULL,
			    "another listener has this address; each needs "
			    "its own");
	return SGATE_OK;
}

static enum sgate_status
check_listeners(const struct check *check)
{
	enum sgate_status status = SGATE_OK;
	size_t i;

	for (i = 0; i < check->conf->listeners_count; i++) {
		status = derive_address(check, i);
		if (status == SGATE_OK)
			status = check_listener(check, i);
		if (status == SGATE_OK)
			status = check_listener_address(check, i);
		if (status != SGATE_OK)
			return status;
	}
	return SGATE_OK;
}

/* ---- cookie ---- */

static bool
has_prefix(const char *name, const char *prefix)
{
	struct sgate_bytes start = {name, strnlen(name, strlen(prefix))};

	/* Browsers compare these without regard to case (RFC 6265bis). */
	return bytes_equal_nocase(start, prefix);
}

static enum sgate_status
check_cookie(const struct check *check)
{
	const struct sgate_conf *conf = check->conf;
	bool is_host = has_prefix(conf->cookie.name, "__Host-");

	if (!conf->cookie.secure && is_host)
		return refuse(check, "cookie", 0, "secure", "name",
		    "browsers drop a cookie __Host-... without Secure; for "
		    "plain http set name = \"sid\"");
	if (!conf->cookie.secure && has_prefix(conf->cookie.name, "__Secure-"))
		return refuse(check, "cookie", 0, "secure", "name",
		    "browsers drop a cookie __Secure-... without Secure; for "
		    "plain http set name = \"sid\"");
	if (!conf->cookie.secure && strcmp(conf->cookie.samesite, "None") == 0)
		return refuse(check, "cookie", 0, "samesite", "secure",
		    "browsers drop a cookie with SameSite=None without "
		    "Secure; use \"Lax\"");
	if (is_host && conf->cookie.domain[0] != '\0')
		return refuse(check, "cookie", 0, "domain", NULL,
		    "browsers drop a cookie __Host-... with a Domain; set "
		    "name = \"__Secure-sid\"");
	if (is_host && strcmp(conf->cookie.path, "/") != 0)
		return refuse(check, "cookie", 0, "path", NULL,
		    "browsers drop a cookie __Host-... with another Path than "
		    "/; set name = \"__Secure-sid\"");
	return SGATE_OK;
}

/* ---- session ---- */

static enum sgate_status
check_times(const struct check *check)
{
	const struct sgate_conf *conf = check->conf;

	if (conf->session.idle_timeout_ms > conf->session.absolute_timeout_ms)
		return refuse(check, "session", 0, "idle_timeout",
		    "absolute_timeout",
		    "idle_timeout is above absolute_timeout; it must be at "
		    "most that");
	if (conf->session.remember_idle_timeout_ms >
	    conf->session.remember_absolute_timeout_ms)
		return refuse(check, "session", 0, "remember_idle_timeout",
		    "remember_absolute_timeout",
		    "remember_idle_timeout is above "
		    "remember_absolute_timeout; it must be at most that");
	if (is_given(conf, "session", "warn_before", 0) &&
	    conf->session.warn_before_ms > conf->session.idle_timeout_ms)
		return refuse(check, "session", 0, "warn_before", NULL,
		    "is above idle_timeout, so it would always warn; it must "
		    "be at most that");
	return SGATE_OK;
}

static enum sgate_status
check_members(const struct check *check)
{
	char *const *exports = check->conf->session.export_data;
	char *const *writable = check->conf->session.browser_writable;
	size_t i, j;

	for (i = 0; exports[i] != NULL; i++) {
		if (conf_list_has(writable, bytes_of(exports[i])))
			return refuse(check, "session", 0, "export_data", NULL,
			    "a member is also in browser_writable: browsers "
			    "would choose what programs trust; keep it in one "
			    "of them");
		for (j = 0; j < i; j++)
			if (bytes_equal_nocase(
				bytes_of(exports[i]), exports[j]))
				return refuse(check, "session", 0,
				    "export_data", NULL,
				    "two members give the same variable "
				    "(upper case); name it once");
	}
	return SGATE_OK;
}

static enum sgate_status
check_files(const struct check *check)
{
	const struct sgate_conf *conf = check->conf;

	if (!conf_has_mysql(conf) &&
	    strcmp(conf->keys.file, conf->sqlite.file) == 0)
		return refuse(check, "sqlite", 0, "file", NULL,
		    "is also keys.file; each needs its own");
	return SGATE_OK;
}

/* The same server twice would look like two primaries. */
static bool
has_twice(char *const *servers, unsigned default_port)
{
	unsigned char one[16], other[16];
	size_t i, j;

	for (i = 0; servers[i] != NULL; i++) {
		unsigned port = default_port;
		size_t len = address_port_parse(servers[i], one, &port);

		for (j = 0; j < i; j++) {
			unsigned other_port = default_port;

			if (address_port_parse(
				servers[j], other, &other_port) == len &&
			    memcmp(one, other, len) == 0 && port == other_port)
				return true;
		}
	}
	return false;
}

/* One store: MySQL where hosts or socket say so, else SQLite. */
static enum sgate_status
check_store(const struct check *check)
{
	static const char *const lonely =
	    "stands without hosts or socket; give one of them too";
	static const char *const beside =
	    "stands beside mysql.hosts or mysql.socket; sessions are in one "
	    "store: remove one of them";
	const struct sgate_conf *conf = check->conf;

	if (conf->mysql.hosts[0] != NULL && conf->mysql.socket[0] != '\0')
		return refuse(check, "mysql", 0, "socket", NULL,
		    "stands beside hosts; only one of them is possible");
	if (has_twice(conf->mysql.hosts, CONF_MYSQL_PORT))
		return refuse(check, "mysql", 0, "hosts", NULL,
		    "a server stands there twice; name each once");
	if (conf_has_mysql(conf)) {
		if (is_given(conf, "sqlite", "file", 0))
			return refuse(check, "sqlite", 0, "file", NULL, beside);
		if (is_given(conf, "sqlite", "busy_timeout", 0))
			return refuse(
			    check, "sqlite", 0, "busy_timeout", NULL, beside);
		return SGATE_OK;
	}
	if (strcmp(conf->mysql.user, "sessgate") != 0)
		return refuse(check, "mysql", 0, "user", NULL, lonely);
	if (strcmp(conf->mysql.database, "sessgate") != 0)
		return refuse(check, "mysql", 0, "database", NULL, lonely);
	if (conf->mysql.password_file[0] != '\0')
		return refuse(check, "mysql", 0, "password_file", NULL, lonely);
	return SGATE_OK;
}

/* Redis is at an address, or Sentinels tell where it is. */
static enum sgate_status
check_sentinel(const struct check *check)
{
	const struct sgate_conf *conf = check->conf;
	bool has_sentinel = conf->redis.sentinel[0] != NULL;

	if (has_sentinel && conf->redis.address[0] != '\0')
		return refuse(check, "redis", 0, "sentinel", "address",
		    "stands beside address; with Sentinels remove address, "
		    "without them remove sentinel and master_name");
	if (has_sentinel && conf->redis.master_name[0] == '\0')
		return refuse(check, "redis", 0, "sentinel", NULL,
		    "stands without master_name; give the name of the line "
		    "\"sentinel monitor NAME ...\"");
	if (has_twice(conf->redis.sentinel, CONF_SENTINEL_PORT))
		return refuse(check, "redis", 0, "sentinel", NULL,
		    "a Sentinel stands there twice; name each once");
	if (!has_sentinel && conf->redis.master_name[0] != '\0')
		return refuse(check, "redis", 0, "master_name", NULL,
		    "stands without sentinel; give the Sentinels' addresses, "
		    "or remove it");
	if (!has_sentinel && conf->redis.sentinel_password_file[0] != '\0')
		return refuse(check, "redis", 0, "sentinel_password_file", NULL,
		    "stands without sentinel; give the Sentinels' addresses, "
		    "or remove it");
	return SGATE_OK;
}

/* Redis holds copies of what is in MySQL. */
static enum sgate_status
check_redis(const struct check *check)
{
	static const char *const lonely =
	    "stands without redis.address or redis.sentinel; give one of them "
	    "too, or remove it";
	const struct sgate_conf *conf = check->conf;
	const char *where =
	    conf->redis.sentinel[0] != NULL ? "sentinel" : "address";
	bool has_timeout = is_given(conf, "redis", "timeout", 0);

	if (conf_has_redis(conf)) {
		if (!conf_has_mysql(conf))
			return refuse(check, "redis", 0, where, NULL,
			    "stands without mysql.hosts or mysql.socket; "
			    "copies in Redis are for hosts that share a MySQL, "
			    "and SQLite is one host's: give one of them, or "
			    "remove redis");
		if (conf->redis.timeout_ms >= conf->gateway.request_timeout_ms)
			return refuse(check, has_timeout ? "redis" : "gateway",
			    0, has_timeout ? "timeout" : "request_timeout",
			    NULL,
			    "redis.timeout must be below "
			    "gateway.request_timeout, or a Redis that hangs "
			    "leaves MySQL no time to answer");
		return SGATE_OK;
	}
	if (conf->redis.database != 0)
		return refuse(check, "redis", 0, "database", NULL, lonely);
	if (conf->redis.user[0] != '\0')
		return refuse(check, "redis", 0, "user", NULL, lonely);
	if (conf->redis.password_file[0] != '\0')
		return refuse(check, "redis", 0, "password_file", NULL, lonely);
	if (strcmp(conf->redis.prefix, "sg") != 0)
		return refuse(check, "redis", 0, "prefix", NULL, lonely);
	return SGATE_OK;
}

static enum sgate_status
check_cache(const struct check *check)
{
	size_t size = check->conf->cache.size_bytes;
	int64_t lease_ms = check->conf->cache.lease_ms;

	if (size != 0 && size < CACHE_MIN)
		return refuse(check, "cache", 0, "size", NULL,
		    "is too small to hold anything; give it 64 KiB at least, "
		    "or 0 for no local cache");
	if (lease_ms != 0 && lease_ms < CACHE_LEASE_MIN_MS)
		return refuse(check, "cache", 0, "lease", NULL,
		    "is too short to hear from Redis again in time; give it "
		    "100 ms at least, or 0 for not using the local cache");
	return SGATE_OK;
}

enum sgate_status
conf_check(struct sgate_conf *conf, struct sgate_error *err)
{
	static enum sgate_status (*const checks[])(
	    const struct check *check) = {check_workers, check_gateway,
	    check_listeners, check_cookie, check_times, check_members,
	    check_store, check_files, check_sentinel, check_redis, check_cache};
	struct check check = {conf, err};
	size_t i;

	for (i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		enum sgate_status status = checks[i](&check);

		if (status != SGATE_OK)
			return status;
	}
	return SGATE_OK;
}
