/*
 * The option table. A new option is a member of struct sgate_conf and a row
 * here; parser, template, `config show` and reload follow. What concerns two
 * options together is in conf_check.c, a single value in conf_value.c.
 */
#include "config.h"

#include "conf_option.h"

#include "conf_rule.h"
#include "status.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define KIB INT64_C(1024)

static const char *const scheduling_words[] = {"normal", "batch", NULL};
static const char *const on_limit_words[] = {"evict", "refuse", NULL};
static const char *const bind_words[] = {"off", "log", "strict", NULL};
static const char *const unknown_words[] = {"refuse", "allow", NULL};
static const char *const samesite_words[] = {"Lax", "Strict", "None", NULL};
static const char *const level_words[] = {
    "error", "warning", "notice", "info", "debug", NULL};

#define TYPE_TEXT "text"
#define TYPE_LIST "list"
#define TYPE_BOOL "yes/no"
#define TYPE_INTEGER "integer"
#define TYPE_COUNT "integer"
#define TYPE_DURATION "duration"
#define TYPE_SIZE "size"
#define TYPE_MODE "mode"
#define TYPE_ALLOW "list"
#define TYPE_REALM "text"

/*
 * One macro for each shape of a row. The columns: section, name, member,
 * default, whether a reload takes it over (LIVE) or only a restart (FIXED),
 * what it may be, help.
 */
#define LIVE true
#define FIXED false
#define IN_CONF(member) offsetof(struct sgate_conf, member)
#define IN_LISTENER(member) offsetof(struct conf_listener, member)
#define IN_POLICY(member) offsetof(struct conf_policy, member)
#define ROW(type, kind_, section, name, at, text, live, help)                  \
	.row = {section, name, type, text, live, help},                        \
	.kind = OPTION_##kind_, .offset = at

#define NUMBER(kind, section, name, at, text, live, low, high, help)           \
	{                                                                      \
		ROW(TYPE_##kind, kind, section, name, at, text, live, help),   \
		    .min = (low), .max = (high)                                \
	}
#define STRING(kind, section, name, at, text, live, rule, help)                \
	{                                                                      \
		ROW(TYPE_##kind, kind, section, name, at, text, live, help),   \
		    .is_right = rule_##rule, .right = RULE_##rule              \
	}
#define CHOICE(kind, section, name, at, text, live, list, help)                \
	{                                                                      \
		ROW("word", kind, section, name, at, text, live, help),        \
		    .words = list                                              \
	}
#define DURATION_OR_OFF(section, name, at, text, live, low, high, help)        \
	{                                                                      \
		ROW(TYPE_DURATION, DURATION, section, name, at, text, live,    \
		    help),                                                     \
		    .min = (low), .max = (high), .has_off = true               \
	}
#define YES_NO(section, name, at, text, live, help)                            \
	{                                                                      \
		ROW(TYPE_BOOL, BOOL, section, name, at, text, live, help)      \
	}
#define PLAIN(kind, section, name, at, text, live, help)                       \
	{                                                                      \
		ROW(TYPE_##kind, kind, section, name, at, text, live, help)    \
	}

/* clang-format off */
static const struct option options[] = {
	STRING(TEXT, "gateway", "user", IN_CONF(gateway.user), "", FIXED,
	    account, "Run as this user when started as root; empty: stay"),
	STRING(TEXT, "gateway", "group", IN_CONF(gateway.group), "", FIXED,
	    account, "Run as this group; empty: the user's own"),
	STRING(TEXT, "gateway", "runtime_dir", IN_CONF(gateway.runtime_dir),
	    "/run/sessgate", FIXED, path,
	    "Where the sockets and the lock of this instance are"),
	STRING(TEXT, "gateway", "mount", IN_CONF(gateway.mount),
	    "/.sessgate/", FIXED, mount,
	    "The path below which the browsers' and the programs' API is"),
	NUMBER(INTEGER, "gateway", "workers", IN_CONF(gateway.workers), "8",
	    LIVE, 0, 200,
	    "Worker processes; 0: as many as needed, see workers_max"),
	NUMBER(INTEGER, "gateway", "workers_min", IN_CONF(gateway.workers_min),
	    "2", LIVE, 1, 200, "With workers = 0: never fewer"),
	NUMBER(INTEGER, "gateway", "workers_max", IN_CONF(gateway.workers_max),
	    "16", LIVE, 1, 200, "With workers = 0: never more"),
	NUMBER(INTEGER, "gateway", "spare_min", IN_CONF(gateway.spare_min),
	    "1", LIVE, 1, 200, "With workers = 0: start more below this"),
	NUMBER(INTEGER, "gateway", "spare_max", IN_CONF(gateway.spare_max),
	    "4", LIVE, 1, 200, "With workers = 0: stop some above this"),
	NUMBER(COUNT, "gateway", "max_requests", IN_CONF(gateway.max_requests),
	    "0", LIVE, 0, 1000000000,
	    "Replace a worker after this many requests; 0: never"),
	CHOICE(WORD, "gateway", "scheduling", IN_CONF(gateway.scheduling),
	    "batch", LIVE, scheduling_words,
	    "batch: workers take the processor from nobody; normal: they may"),
	NUMBER(DURATION, "gateway", "request_terminate_timeout",
	    IN_CONF(gateway.request_terminate_timeout_ms), "10 s", LIVE,
	    100, HOUR, "The master kills a worker whose request takes longer"),
	NUMBER(DURATION, "gateway", "request_timeout",
	    IN_CONF(gateway.request_timeout_ms), "800 ms", LIVE,
	    20, MINUTE, "What one request may spend on the stores"),
	NUMBER(DURATION, "gateway", "read_timeout",
	    IN_CONF(gateway.read_timeout_ms), "2 s", LIVE,
	    20, MINUTE, "How long the web server may take to send a request"),
	NUMBER(DURATION, "gateway", "keep_timeout",
	    IN_CONF(gateway.keep_timeout_ms), "2 min", LIVE,
	    0, HOUR, "How long a kept connection may be idle; 0: none is kept"),
	NUMBER(SIZE, "gateway", "params_max",
	    IN_CONF(gateway.params_max_bytes), "64 KiB", FIXED,
	    4 * KIB, 128 * KIB, "All FastCGI params of a request"),
	NUMBER(SIZE, "gateway", "body_max",
	    IN_CONF(gateway.body_max_bytes), "128 KiB", FIXED,
	    KIB, 1024 * KIB, "The body of a request to the API"),
	STRING(TEXT, "gateway", "login_url", IN_CONF(gateway.login_url), "",
	    LIVE, url,
	    "Where browsers without a session are sent; empty: 401"),
	STRING(LIST, "gateway", "return_to_allow",
	    IN_CONF(gateway.return_to_allow), "", LIVE, return_url,
	    "Whole URLs that return_to may be besides local paths"),
	STRING(LIST, "gateway", "trusted_proxies",
	    IN_CONF(gateway.trusted_proxies), "", LIVE, network,
	    "Proxies whose X-Forwarded-For names the visitor"),
	YES_NO("gateway", "policy_required", IN_CONF(gateway.policy_required),
	    "no", LIVE, "Deny a check without SESSGATE_POLICY"),
	YES_NO("gateway", "expose_reason", IN_CONF(gateway.expose_reason),
	    "no", LIVE, "Send the exact reason as X-Session-Reason"),

	STRING(TEXT, "listener", "address", IN_LISTENER(address), "", FIXED,
	    address, "unix:/path or tcp:127.0.0.1:PORT; empty: "
	    "unix:RUNTIME_DIR/NAME.sock"),
	PLAIN(MODE, "listener", "mode", IN_LISTENER(mode), "0660", FIXED,
	    "Permissions of the socket; control: 0600"),
	STRING(TEXT, "listener", "owner", IN_LISTENER(owner), "", FIXED,
	    account, "Owner of the socket; empty: gateway.user"),
	STRING(TEXT, "listener", "group", IN_LISTENER(group), "", FIXED,
	    account, "Group of the socket; empty: gateway.group"),
	NUMBER(INTEGER, "listener", "backlog", IN_LISTENER(backlog), "511",
	    FIXED, 1, 65535, "Connections that may wait to be accepted"),
	STRING(REALM, "listener", "realm", IN_LISTENER(realm), "*", LIVE,
	    realm, "The one realm that is served here; *: any"),
	STRING(LIST, "listener", "roles", IN_LISTENER(roles), "", LIVE, role,
	    "The roles that create may grant here; empty: any but "
	    "admin_roles"),
	PLAIN(ALLOW, "listener", "allow", IN_LISTENER(allow), "check,api",
	    LIVE, "What callers may ask: check, api, remote-user, create, v1, "
	    "admin; login: create"),

	STRING(LIST, "policy", "require_role", IN_POLICY(require_role), "",
	    LIVE, role, "The user must have one of these; empty: any user"),
	NUMBER(DURATION, "policy", "max_auth_age", IN_POLICY(max_auth_age_ms),
	    "0", LIVE, 0, 400 * DAY,
	    "The login must not be longer ago; 0: no limit"),
	YES_NO("policy", "anonymous", IN_POLICY(anonymous), "no", LIVE,
	    "Let visitors without a session through, without a user"),
	YES_NO("policy", "csrf", IN_POLICY(csrf), "no", LIVE,
	    "Refuse unsafe methods that come from other sites"),
	STRING(TEXT, "policy", "login_url", IN_POLICY(login_url), "", LIVE,
	    url, "Instead of gateway.login_url"),

	STRING(TEXT, "cookie", "name", IN_CONF(cookie.name), "__Host-sid",
	    FIXED, cookie_name, "The session cookie's name"),
	YES_NO("cookie", "secure", IN_CONF(cookie.secure), "yes", FIXED,
	    "Only over https; no: for development, with another name"),
	CHOICE(TEXT_WORD, "cookie", "samesite", IN_CONF(cookie.samesite),
	    "Lax", FIXED, samesite_words, "The attribute SameSite"),
	STRING(TEXT, "cookie", "path", IN_CONF(cookie.path), "/", FIXED,
	    cookie_path, "The attribute Path"),
	STRING(TEXT, "cookie", "domain", IN_CONF(cookie.domain), "", FIXED,
	    domain, "The attribute Domain; empty: this host alone"),
	NUMBER(DURATION, "cookie", "max_age", IN_CONF(cookie.max_age_ms), "0",
	    LIVE, 0, 400 * DAY,
	    "The attribute Max-Age; 0: until the browser is closed"),

	NUMBER(DURATION, "session", "idle_timeout",
	    IN_CONF(session.idle_timeout_ms), "30 min", LIVE,
	    SECOND, 400 * DAY, "A session ends after this without activity"),
	NUMBER(DURATION, "session", "absolute_timeout",
	    IN_CONF(session.absolute_timeout_ms), "8 h", LIVE,
	    SECOND, 400 * DAY, "A session ends after this whatever happens"),
	NUMBER(DURATION, "session", "remember_idle_timeout",
	    IN_CONF(session.remember_idle_timeout_ms), "14 d", LIVE,
	    SECOND, 400 * DAY, "idle_timeout of a login with remember"),
	NUMBER(DURATION, "session", "remember_absolute_timeout",
	    IN_CONF(session.remember_absolute_timeout_ms), "30 d", LIVE,
	    SECOND, 400 * DAY, "absolute_timeout of a login with remember"),
	NUMBER(DURATION, "session", "warn_before",
	    IN_CONF(session.warn_before_ms), "2 min", LIVE,
	    0, DAY, "GET state says warn when less is left"),
	NUMBER(DURATION, "session", "rotate_grace",
	    IN_CONF(session.rotate_grace_ms), "10 s", LIVE, 0, 10 * MINUTE,
	    "How long the old token still works after a rotation"),
	NUMBER(SIZE, "session", "data_max", IN_CONF(session.data_max_bytes),
	    "64 KiB", LIVE, KIB, 64 * KIB, "The JSON text of a session's data"),
	STRING(LIST, "session", "browser_readable",
	    IN_CONF(session.browser_readable), "", LIVE, member,
	    "Members of data that GET session shows"),
	STRING(LIST, "session", "browser_writable",
	    IN_CONF(session.browser_writable), "", LIVE, member,
	    "Members of data that PATCH session may change"),
	STRING(LIST, "session", "export_data", IN_CONF(session.export_data),
	    "", LIVE, export,
	    "Members of data that programs get as SESSION_DATA_NAME"),
	STRING(LIST, "session", "origins", IN_CONF(session.origins), "", LIVE,
	    origin, "Other origins that may send unsafe requests"),
	CHOICE(BOOL, "session", "csrf_unknown",
	    IN_CONF(session.csrf_unknown_allow), "refuse", LIVE, unknown_words,
	    "An unsafe request that does not say where it comes from"),
	NUMBER(INTEGER, "session", "max_sessions",
	    IN_CONF(session.max_sessions), "0", LIVE, 0, 10000,
	    "Live sessions of one user; 0: no limit"),
	CHOICE(WORD, "session", "on_limit", IN_CONF(session.on_limit),
	    "evict", LIVE, on_limit_words,
	    "At max_sessions: end the oldest, or refuse the login"),
	CHOICE(WORD, "session", "bind_agent", IN_CONF(session.bind_agent),
	    "log", LIVE, bind_words,
	    "When the browser changes within a session"),
	CHOICE(WORD, "session", "bind_address", IN_CONF(session.bind_address),
	    "off", LIVE, bind_words,
	    "When the address changes within a session"),
	YES_NO("session", "create_without_mysql",
	    IN_CONF(session.create_without_mysql), "yes", LIVE,
	    "Let users log in while MySQL is away: Redis and the spool hold "
	    "the session till it is back; no effect without both"),
	NUMBER(DURATION, "session", "self_service_max_auth_age",
	    IN_CONF(session.self_service_max_auth_age_ms), "0", LIVE,
	    0, 400 * DAY,
	    "Ending one's other sessions needs a login this young; 0: any"),
	STRING(LIST, "session", "admin_roles", IN_CONF(session.admin_roles),
	    "admin", LIVE, role, "Roles that make an administrator"),

	STRING(TEXT, "keys", "file", IN_CONF(keys.file),
	    LOCALSTATEDIR "/lib/sessgate/keys", FIXED, path,
	    "The signing keys, the same on all hosts"),

	STRING(TEXT, "redis", "address", IN_CONF(redis.address), "", FIXED,
	    redis, "unix:/path or address:port of the server whose copies are "
	    "asked before MySQL; empty: none"),
	STRING(LIST, "redis", "sentinel", IN_CONF(redis.sentinel), "", FIXED,
	    sentinel, "Instead of address: the Sentinels that know which server "
	    "is the master; without a port: 26379"),
	STRING(TEXT, "redis", "master_name", IN_CONF(redis.master_name), "",
	    FIXED, master_name, "The name of that master in Sentinel"),
	STRING(TEXT, "redis", "sentinel_password_file",
	    IN_CONF(redis.sentinel_password_file), "", FIXED, socket,
	    "The Sentinels' password is the first line; empty: they have none"),
	NUMBER(INTEGER, "redis", "database", IN_CONF(redis.database), "0",
	    FIXED, 0, 16383, "The number of the database"),
	STRING(TEXT, "redis", "user", IN_CONF(redis.user), "", FIXED,
	    account, "The ACL user; empty: the server's default user"),
	STRING(TEXT, "redis", "password_file", IN_CONF(redis.password_file),
	    "", FIXED, socket,
	    "Its password is the first line; empty: it has none"),
	STRING(TEXT, "redis", "prefix", IN_CONF(redis.prefix), "sg", FIXED,
	    prefix, "What all keys begin with"),
	NUMBER(DURATION, "redis", "timeout", IN_CONF(redis.timeout_ms),
	    "50 ms", LIVE, 1, 10 * SECOND,
	    "How long one question may take, connecting included"),
	NUMBER(INTEGER, "redis", "replicas", IN_CONF(redis.replicas), "0",
	    LIVE, 0, 16, "How many replicas must have an end, or a login, that "
	    "only Redis and the spool hold, before it is acknowledged"),
	NUMBER(INTEGER, "redis", "warm_rate", IN_CONF(redis.warm_rate),
	    "5000", LIVE, 0, 1000000,
	    "After Redis has lost data or was away, how many sessions a second "
	    "are brought there from MySQL; 0: none"),
	NUMBER(DURATION, "fence", "poll_interval",
	    IN_CONF(fence.poll_interval_ms), "500 ms", LIVE, 50, 10 * SECOND,
	    "How often MySQL is asked whether Redis may be behind; above "
	    "500 ms an end may take more than the promised 2 s to be known "
	    "everywhere when a store fails"),
	DURATION_OR_OFF("fence", "max_blind", IN_CONF(fence.max_blind_ms),
	    "5 min", LIVE, 0, 30 * DAY,
	    "How long Redis alone is believed while MySQL is away; 0: never; "
	    "off: without limit"),

	NUMBER(SIZE, "cache", "size", IN_CONF(cache.size_bytes), "64 MiB",
	    FIXED, 0, 64 * 1024 * 1024 * KIB,
	    "How large the local cache is, which all workers of this host "
	    "share; 0: there is none"),
	NUMBER(DURATION, "cache", "lease", IN_CONF(cache.lease_ms), "1 s",
	    LIVE, 0, 10 * SECOND,
	    "How long the local cache is used without word from the stores; "
	    "above 1 s an end may take more than the promised 1 s to be known "
	    "everywhere; 0: it is not used"),

	STRING(TEXT, "spool", "dir", IN_CONF(spool.dir),
	    LOCALSTATEDIR "/lib/sessgate/spool", FIXED, path,
	    "With MySQL: where ends, and logins, are kept that it could not be "
	    "told, on a disk that outlives a restart"),
	NUMBER(SIZE, "spool", "max", IN_CONF(spool.max_bytes), "1 GiB", LIVE,
	    64 * KIB, 1024 * 1024 * KIB, "How large all of it may get"),
	NUMBER(INTEGER, "spool", "reserve", IN_CONF(spool.reserve_percent),
	    "10", LIVE, 0, 90, "Percent of max for ends that no store has"),
	NUMBER(DURATION, "spool", "keep", IN_CONF(spool.keep_ms), "15 min",
	    LIVE, MINUTE, DAY, "How long it is kept, to be told again to a "
	    "store that has lost what it had"),

	STRING(LIST, "mysql", "hosts", IN_CONF(mysql.hosts), "", FIXED,
	    server, "The server, or a primary and its replicas: the one that "
	    "takes writes is used; with mysql.hosts or mysql.socket the "
	    "sessions are in MySQL"),
	STRING(TEXT, "mysql", "socket", IN_CONF(mysql.socket), "", FIXED,
	    socket, "Instead of hosts: a server on this machine"),
	STRING(TEXT, "mysql", "database", IN_CONF(mysql.database), "sessgate",
	    FIXED, database, "The database"),
	STRING(TEXT, "mysql", "user", IN_CONF(mysql.user), "sessgate", FIXED,
	    database, "The account"),
	STRING(TEXT, "mysql", "password_file", IN_CONF(mysql.password_file),
	    "", FIXED, socket,
	    "Its password is the first line; empty: it has none"),
	NUMBER(DURATION, "mysql", "read_timeout",
	    IN_CONF(mysql.read_timeout_ms), "250 ms", LIVE, 1, MINUTE,
	    "How long a read may take, connecting included"),
	NUMBER(DURATION, "mysql", "write_timeout",
	    IN_CONF(mysql.write_timeout_ms), "250 ms", LIVE, 1, MINUTE,
	    "How long each step of a change may take"),

	STRING(TEXT, "sqlite", "file", IN_CONF(sqlite.file),
	    LOCALSTATEDIR "/lib/sessgate/sessgate.db", FIXED, path,
	    "The database"),
	NUMBER(DURATION, "sqlite", "busy_timeout",
	    IN_CONF(sqlite.busy_timeout_ms), "600 ms", LIVE, 1, MINUTE,
	    "How long to wait for another writer"),

	NUMBER(DURATION, "reap", "interval", IN_CONF(reap.interval_ms), "60 s",
	    LIVE, 100, DAY, "How often expired sessions are looked for"),
	NUMBER(INTEGER, "reap", "chunk", IN_CONF(reap.chunk), "500", LIVE,
	    1, 10000, "Rows of one transaction of the reaper"),
	NUMBER(DURATION, "reap", "ended_keep", IN_CONF(reap.ended_keep_ms),
	    "1 d", LIVE, DAY, 3650 * DAY,
	    "How long the rows of ended sessions are kept"),
	NUMBER(DURATION, "reap", "audit_keep", IN_CONF(reap.audit_keep_ms),
	    "90 d", LIVE, DAY, 36500 * DAY, "How long audit rows are kept"),

	NUMBER(INTEGER, "limit", "login_per_minute",
	    IN_CONF(limit.login_per_minute), "30", LIVE, 0, 1000000,
	    "Logins of one address, IPv6 by /64; 0: no limit"),
	NUMBER(INTEGER, "limit", "bad_token_per_minute",
	    IN_CONF(limit.bad_token_per_minute), "60", LIVE, 0, 1000000,
	    "Bad tokens of one address that are logged and counted; 0: all"),

	CHOICE(WORD, "log", "level", IN_CONF(log.level), "notice", LIVE,
	    level_words, "What is logged: this and what is worse"),
	STRING(TEXT, "log", "destination", IN_CONF(log.destination), "stderr",
	    LIVE, destination, "stderr, syslog, or file:/path"),
	NUMBER(INTEGER, "log", "denials_per_minute",
	    IN_CONF(log.denials_per_minute), "60", LIVE, 0, 1000000,
	    "Denied requests that are logged; 0: none"),
};
/* clang-format on */

#define OPTIONS_COUNT (sizeof(options) / sizeof(options[0]))

const struct option *
option_at(size_t index)
{
	return index < OPTIONS_COUNT ? &options[index] : NULL;
}

const struct conf_option *
conf_option(size_t index)
{
	return index < OPTIONS_COUNT ? &options[index].row : NULL;
}

int
option_find(struct sgate_bytes section, struct sgate_bytes name)
{
	size_t i;

	for (i = 0; i < OPTIONS_COUNT; i++)
		if (bytes_equal_text(section, options[i].row.section) &&
		    bytes_equal_text(name, options[i].row.name))
			return (int)i;
	return -1;
}

bool
option_is_section(struct sgate_bytes section)
{
	size_t i;

	for (i = 0; i < OPTIONS_COUNT; i++)
		if (bytes_equal_text(section, options[i].row.section))
			return true;
	return false;
}

bool
option_is_named_section(const char *section)
{
	return strcmp(section, "listener") == 0 ||
	       strcmp(section, "policy") == 0;
}

bool
option_is_in(const struct option *option, const char *section)
{
	return section == NULL ? !option_is_named_section(option->row.section)
			       : strcmp(section, option->row.section) == 0;
}

static void *
named_base(const struct sgate_conf *conf, const char *section, size_t index)
{
	if (strcmp(section, "listener") == 0)
		return index < conf->listeners_count ? &conf->listeners[index]
						     : NULL;
	return index < conf->policies_count ? &conf->policies[index] : NULL;
}

void *
option_base(
    struct sgate_conf *conf, const struct option *option, size_t section_index)
{
	return option_is_named_section(option->row.section)
		   ? named_base(conf, option->row.section, section_index)
		   : conf;
}

const void *
option_get_base(const struct sgate_conf *conf, const struct option *option,
    size_t section_index)
{
	if (option_is_named_section(option->row.section))
		return named_base(conf, option->row.section, section_index);
	return section_index == 0 ? conf : NULL;
}

void
conf_option_name(const struct sgate_conf *conf,
    const struct conf_option *option, size_t section_index, struct buf *out)
{
	buf_printf(out, "%s.", option->section);
	if (strcmp(option->section, "listener") == 0)
		buf_printf(out, "%s.", conf->listeners[section_index].name);
	if (strcmp(option->section, "policy") == 0)
		buf_printf(out, "%s.", conf->policies[section_index].name);
	buf_add_text(out, option->name);
}

/* ---- where values come from ---- */

static struct conf_origin *
find_origin(const struct sgate_conf *conf, size_t option, size_t section)
{
	size_t i;

	for (i = 0; i < conf->origins_count; i++)
		if (conf->origins[i].option == option &&
		    conf->origins[i].section == section)
			return &conf->origins[i];
	return NULL;
}

const char *
conf_origin_get(const struct sgate_conf *conf, size_t option, size_t section)
{
	const struct conf_origin *origin = find_origin(conf, option, section);

	return origin == NULL ? NULL : origin->text;
}

bool
conf_origin_put(
    struct sgate_conf *conf, size_t option, size_t section, const char *text)
{
	struct conf_origin *origin = find_origin(conf, option, section);
	char *copy = strdup(text);

	if (copy == NULL)
		return false;
	if (origin == NULL) {
		struct conf_origin *more = reallocarray(
		    conf->origins, conf->origins_count + 1, sizeof(*more));

		if (more == NULL) {
			free(copy);
			return false;
		}
		conf->origins = more;
		origin = &more[conf->origins_count++];
		*origin = (struct conf_origin){option, section, NULL};
	}
	free(origin->text);
	origin->text = copy;
	return true;
}

enum sgate_status
conf_refuse(struct sgate_error *err, const char *origin, const char *name,
    const char *format, ...)
{
	/* err->text is short: what is wrong matters more than the directory. */
	const size_t keep = 80;
	size_t len = strlen(origin);
	struct buf what = {0};
	va_list args;

	va_start(args, format);
	buf_vprintf(&what, format, args);
	va_end(args);
	error_set(err, SGATE_INVALID, "conf", "load", 0, "%s%s: %s%s%s",
	    len > keep ? "..." : "", len > keep ? origin + len - keep : origin,
	    name == NULL ? "" : name, name == NULL ? "" : ": ",
	    buf_text(&what));
	buf_clear(&what);
	return SGATE_INVALID;
}
