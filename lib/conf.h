/*
 * The configuration: one struct of plain values, filled from one table of
 * options (conf.c). The table row has section, name, type with unit, default,
 * reloadable or not, and one line of help; the parser, `sessgatectl config`,
 * the template in conf/ and the test that they agree all read that row.
 *
 * A struct sgate_conf is constant after loading and is passed down. Strings
 * belong to it. Lists are NULL-terminated arrays of strings, never NULL.
 * Durations are milliseconds (`*_ms`), sizes bytes (`*_bytes`).
 */
#ifndef SESSGATE_CONF_H
#define SESSGATE_CONF_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "buf.h"
#include "sessgate.h"

#define CONF_REALM_MAX 64
#define CONF_DEFAULT_PATH SYSCONFDIR "/sessgate/sessgate.conf"
/* Of an address without one. */
#define CONF_MYSQL_PORT 3306
#define CONF_SENTINEL_PORT 26379

/* What a listener's callers may ask: bits of conf_listener.allow. */
enum conf_allow {
	CONF_ALLOW_CHECK = 1 << 0,
	CONF_ALLOW_API = 1 << 1,
	CONF_ALLOW_REMOTE_USER = 1 << 2,
	CONF_ALLOW_CREATE = 1 << 3,
	CONF_ALLOW_V1 = 1 << 4,
	CONF_ALLOW_ADMIN = 1 << 5,
	/* Control socket alone, not in `allow`: all of v1, without a key. */
	CONF_ALLOW_ALL = 1 << 6
};
/* "check" -> bit; 0 for an unknown word. CONF_ALLOW_ALL has no word. */
unsigned conf_allow_parse(const char *word);

/*
 * Listeners. `pool` (check, api) and `control` (0600, everything) always
 * exist, at RUNTIME_DIR/NAME.sock; a section of that name changes them.
 * `login` (create) exists when its section is there. `inherited` is fd 0 in
 * that start mode: it always exists, its address is "" (nothing to make), and
 * only its allow (check, api), realm and roles are used.
 */
struct conf_listener {
	char *name;
	char *address; /* "unix:/path" or "tcp:127.0.0.1:PORT" or
			  "tcp:[::1]:PORT" */
	mode_t mode;
	char *owner; /* "" = as the process */
	char *group;
	int backlog;
	bool has_realm; /* serves `realm` alone; realm = "*" in the file: any */
	char *realm;
	char **roles; /* what create may grant; empty = no limit */
	unsigned allow;
	int line; /* where it stands in the file, 0 = built in */
};

struct conf_policy {
	char *name;
	char **require_role;     /* any of these */
	int64_t max_auth_age_ms; /* 0 = no limit */
	bool anonymous;
	bool csrf;
	char *login_url; /* "" = gateway.login_url */
	int line;
};

enum conf_on_limit { CONF_LIMIT_EVICT, CONF_LIMIT_REFUSE };
enum conf_scheduling { CONF_SCHEDULING_NORMAL, CONF_SCHEDULING_BATCH };
enum conf_bind { CONF_BIND_OFF, CONF_BIND_LOG, CONF_BIND_STRICT };

struct conf_origin;

struct sgate_conf {
	char *path; /* of the file, "" for none */

	/* Where values that are not defaults come from: conf_value(). */
	struct conf_origin *origins;
	size_t origins_count;

	struct {
		char *user, *group;
		char *runtime_dir;
		char *mount; /* begins and ends with '/' */
		int workers; /* static; 0 = dynamic, see workers_max */
		int workers_min, workers_max, spare_min, spare_max;
		int64_t max_requests; /* 0 = no limit */
		enum conf_scheduling scheduling;
		int64_t request_terminate_timeout_ms;
		int64_t request_timeout_ms;
		int64_t read_timeout_ms;
		int64_t keep_timeout_ms; /* 0 = close after each answer */
		size_t params_max_bytes;
		size_t body_max_bytes;
		char *login_url; /* "" = answer 401 */
		char **return_to_allow;
		char **trusted_proxies; /* addresses or networks a.b.c.d/n */
		bool policy_required;
		bool expose_reason;
	} gateway;

	struct conf_listener *listeners;
	size_t listeners_count;
	struct conf_policy *policies;
	size_t policies_count;

	struct {
		char *name;
		bool secure;
		char *samesite; /* "Lax", "Strict" or "None" */
		char *path;
		char *domain;       /* "" = host-only */
		int64_t max_age_ms; /* 0 = a session cookie */
	} cookie;

	struct {
		int64_t idle_timeout_ms, absolute_timeout_ms;
		int64_t remember_idle_timeout_ms, remember_absolute_timeout_ms;
		int64_t warn_before_ms;
		int64_t rotate_grace_ms;
		size_t data_max_bytes;
		char **browser_readable, **browser_writable, **export_data;
		char **origins;
		bool csrf_unknown_allow; /* csrf_unknown = "refuse" | "allow" */
		int max_sessions;        /* 0 = no limit */
		enum conf_on_limit on_limit;
		enum conf_bind bind_agent, bind_address;
		bool create_without_mysql;
		int64_t self_service_max_auth_age_ms; /* 0 = no limit */
		char **admin_roles;
	} session;

	struct {
		char *file;
	} keys;
	struct {
		char *address;   /* "unix:/path", "10.0.0.1:6379"; "" = none */
		char **sentinel; /* or Sentinels: addresses */
		char *master_name;            /* that they know it by */
		char *sentinel_password_file; /* "" = none */
		int database;
		char *user;          /* "" = none */
		char *password_file; /* "" = none */
		char *prefix;
		int64_t timeout_ms;
		int replicas;  /* that an end without MySQL must be on */
		int warm_rate; /* sessions a second; 0 = never */
	} redis;
	struct {
		int64_t poll_interval_ms;
		int64_t max_blind_ms; /* -1 = off: without limit */
	} fence;
	struct {
		size_t size_bytes; /* 0: no local cache */
		int64_t lease_ms;
	} cache;
	struct {
		char *dir;
		size_t max_bytes;
		int reserve_percent;
		int64_t keep_ms;
	} spool;
	struct {
		char **hosts; /* addresses, "10.0.0.1:3306"; or socket */
		char *socket;
		char *database;
		char *user;
		char *password_file; /* "" = none */
		int64_t read_timeout_ms, write_timeout_ms;
	} mysql;
	struct {
		char *file;
		int64_t busy_timeout_ms;
	} sqlite;
	struct {
		int64_t interval_ms;
		int chunk;
		int64_t ended_keep_ms, audit_keep_ms;
	} reap;
	struct {
		int login_per_minute; /* 0 = no limit */
		int bad_token_per_minute;
	} limit;
	struct {
		int level;         /* enum log_level */
		char *destination; /* "stderr", "syslog", "file:/path" */
		int denials_per_minute;
	} log;
};

/* Whether MySQL is the durable store; else it is SQLite. */
bool conf_has_mysql(const struct sgate_conf *conf);
bool conf_has_redis(const struct sgate_conf *conf);
/* Whether there is a spool: SQLite is a file on this host, and needs none. */
bool conf_has_spool(const struct sgate_conf *conf);
/* The largest life a session can have by this configuration. */
int64_t conf_largest_absolute_ms(const struct sgate_conf *conf);
/* NULL when there is none of that name. */
const struct conf_listener *conf_listener(
    const struct sgate_conf *conf, const char *name);
const struct conf_policy *conf_policy(
    const struct sgate_conf *conf, struct sgate_bytes name);
/* An independent copy; NULL when memory is out. */
struct sgate_conf *conf_dup(const struct sgate_conf *conf);
bool conf_list_has(char *const *list, struct sgate_bytes item);

/* ---- the table itself, for `config show`, `config template`, reload ---- */

struct conf_option {
	const char *section; /* "gateway", "listener", ... */
	const char *name;
	const char *type; /* "duration", "size", "integer", "yes/no", ... */
	const char *default_text; /* as after -o: 30 min, a list with commas */
	bool is_reloadable;
	const char *help;
};
/* The rows in order; NULL past the end. */
const struct conf_option *conf_option(size_t index);
/* "session.idle_timeout"; with the section's index: "listener.pool.mode". */
void conf_option_name(const struct sgate_conf *conf,
    const struct conf_option *option, size_t section_index, struct buf *out);
/*
 * The effective value of a row as the file would write it, and where it comes
 * from ("default", "FILE:LINE", "-o"). For listener and policy rows give the
 * section's index. False when there is no such section.
 */
bool conf_value(const struct sgate_conf *conf, size_t option_index,
    size_t section_index, struct buf *out_value, struct buf *out_origin);
/* What a value may be: ", 0 to 200" or ": \"evict\" or \"refuse\"". */
void conf_option_range(size_t index, struct buf *out);
/* The whole template: every option with its help, commented out. */
void conf_template(struct buf *out);
/*
 * What a reload from old to new would have to leave for a restart: one line
 * "section.name" each, empty when nothing.
 */
void conf_not_reloadable(const struct sgate_conf *old,
    const struct sgate_conf *new_conf, struct buf *out);
/*
 * Put the old values of these into the new configuration, so that it may be
 * used in place of the old one; listeners are the old ones, in the old order.
 * SGATE_INVALID: together with the old values it is wrong; new_conf can only
 * be freed then.
 */
SGATE_MUST_CHECK enum sgate_status conf_keep_not_reloadable(
    const struct sgate_conf *old, struct sgate_conf *new_conf,
    struct sgate_error *err);

#endif
