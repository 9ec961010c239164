/*
 * sessgatectl: the administrator's and the login program's command line.
 *
 * One table of commands feeds the parser, the dispatch and --help. To add a
 * command: a row here, a function in one of the ctl_*.c files, its name in
 * ctl.h, a case in tests/it/ctl.py.
 */
#include "config.h"

#include "ctl.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT_MS 5000

static const struct ctl_option create_options[] = {
    {"user", "USER", "whose session"},
    {"anonymous", NULL, "a session without a user"},
    {"context", "TEXT", "the application's own id (platform connection)"},
    {"contexts", "TEXT", "a context that the browser may change to; repeat"},
    {"role", "ROLE", "a role; repeat for more"},
    {"data", "JSON", "an object for the application; - reads standard input"},
    {"remember", NULL, "with the longer timeouts of \"remember me\""},
    {"idle", "DURATION", "shorter than session.idle_timeout"},
    {"absolute", "DURATION", "shorter than session.absolute_timeout"},
    {"client-ip", "ADDRESS", "the visitor's address"},
    {"user-agent", "TEXT", "the visitor's browser"},
    {"from-cgi", NULL,
	"address, browser and the session that ends by it, from the CGI "
	"environment"},
    {"cookie-name", "NAME",
	"for --from-cgi (default: cookie.name; with --socket: __Host-sid)"},
    {"replaces-stdin", NULL,
	"replace the anonymous session whose token is on standard input"},
    {"idempotency-key", "TEXT", "a repeat with the same key makes no second"},
    {"set-cookie", NULL, "print the header line for the browser, nothing else"},
    {"redirect", NULL,
	"with --set-cookie: lines that lead to the query's return_to, or to /"},
    {"return-to", "URL", "where --redirect leads in the place of the query's"},
    {"print-token", NULL, "print the token too"},
    {NULL, NULL, NULL},
};
static const struct ctl_option end_options[] = {
    {"reason", "REASON", "revoked (default) or logged_out"},
    {NULL, NULL, NULL},
};
static const struct ctl_option cleanup_options[] = {
    {"except", "REF", "the session that stays"},
    {NULL, NULL, NULL},
};
static const struct ctl_option block_options[] = {
    {"remove", NULL, "let the user in again"},
    {"reason", "TEXT", "why, for the audit"},
    {NULL, NULL, NULL},
};
static const struct ctl_option audit_options[] = {
    {"user", "USER", "of this user"},
    {"ref", "REF", "of this session"},
    {"kind", "KIND", "create, update, rotate, end, cleanup, block, ..."},
    {"since", "WHEN", "2h, or 2026-11-22, or 2026-11-22T14:03"},
    {"limit", "N", "how many, newest first (default: 100)"},
    {"follow", NULL, "then print what happens, until interrupted"},
    {NULL, NULL, NULL},
};
static const struct ctl_option maintenance_options[] = {
    {"role", "ROLE",
	"is let through; repeat for more (default: session.admin_roles)"},
    {"nobody", NULL, "let nobody through"},
    {"reason", "TEXT", "why, for whoever is held back to read"},
    {"until", "WHEN", "over by itself: 2026-11-22T14:03"},
    {"for", "DURATION", "the same from now on: 2h"},
    {NULL, NULL, NULL},
};
static const struct ctl_option flush_options[] = {
    {"all", NULL, "all sessions"},
    {"role", "ROLE", "sessions with this role; repeat for more"},
    {"but-role", "ROLE", "all but sessions with this role; repeat for more"},
    {"before", "WHEN",
	"created before: 2h, or 2026-11-22T14:03 (default: until now)"},
    {NULL, NULL, NULL},
};
static const struct ctl_option import_options[] = {
    {"user-key", "NAME",
	"where the user stands, as user_id; repeat: the first one counts"},
    {"prefix", "TEXT", "what the keys or the files' names begin with"},
    {"lifetime", "DURATION",
	"how long one lives there without activity, if the store does not say"},
    {"table", "NAME", "where they are, if not in the usual table"},
    {"id-column", "NAME", "its column for the id"},
    {"data-column", "NAME", "its column for the data"},
    {"expiry-column", "NAME", "its column for the end"},
    {"secret-file", "FILE",
	"what the old site signs with (SECRET_KEY), in the first line"},
    {"account", "NAME", "of the old store"},
    {"password-file", "FILE", "its password, in the first line"},
    {NULL, NULL, NULL},
};
static const struct ctl_option status_options[] = {
    {"watch", NULL, "how fast what goes, each second, until interrupted"},
    {NULL, NULL, NULL},
};
static const struct ctl_option mount_options[] = {
    {"protect", "PATH", "what needs a session (default: /app/)"},
    {NULL, NULL, NULL},
};
static const struct ctl_option restored_options[] = {
    {"yes", NULL, "do not ask whether every gateway has been stopped"},
    {NULL, NULL, NULL},
};
static const struct ctl_option service_options[] = {
    {"scope", "SCOPES", "of create, introspect, manage, admin; by commas"},
    {"expires", "DURATION", "after this the key is refused (default: never)"},
    {NULL, NULL, NULL},
};

const struct ctl_command ctl_commands[] = {
    {"config check", CTL_LOCAL, "", 0, 0, NULL,
	"say whether the configuration is right",
	"Run it before a reload: sessgated refuses what this refuses.",
	"sessgatectl config check\n"
	"sessgatectl config check --config /tmp/new.conf\n",
	ctl_config_check},
    {"config mount", CTL_LOCAL, "NAME...", 1, CTL_ARGUMENTS_MAX, mount_options,
	"print the web server's configuration for this gateway",
	"NAME is one of these files of conf/: lighttpd, lighttpd-bin-path, "
	"lighttpd-cookie,\nlighttpd-cookie.lua, lighttpd-login; apache, "
	"apache-fcgid, apache-login; nginx-http,\nnginx-server, "
	"nginx-params, nginx-protect, nginx-fcgiwrap, nginx-login. Several are "
	"printed one\nbehind the other.",
	"sessgatectl config mount lighttpd > "
	"/etc/lighttpd/conf-enabled/50-sessgate.conf\n"
	"sessgatectl config mount lighttpd-login lighttpd --protect "
	"/cgi-bin/\n"
	"sessgatectl config mount apache > "
	"/etc/apache2/conf-available/sessgate.conf\n"
	"sessgatectl config mount nginx-http > "
	"/etc/nginx/sessgate/http.conf\n",
	ctl_config_mount},
    {"config show", CTL_LOCAL, "", 0, 0, NULL,
	"print the effective options and where each comes from", NULL,
	"sessgatectl config show\n"
	"sessgatectl config show -o session.idle_timeout=10min --json\n",
	ctl_config_show},
    {"config template", CTL_LOCAL, "", 0, 0, NULL,
	"print a configuration file with every option explained", NULL,
	"sessgatectl config template > /etc/sessgate/sessgate.conf\n",
	ctl_config_template},
    {"db check", CTL_LOCAL, "", 0, 0, NULL,
	"say whether the store's tables are there and of this version", NULL,
	"sessgatectl db check\n", ctl_db_check},
    {"db init", CTL_LOCAL, "", 0, 0, NULL,
	"make the store's tables, where they are missing",
	"Makes the key file too, if there is none. Safe to repeat. With MySQL "
	"it needs the\nmaintainer's account; to convert the tables of an "
	"older version, which no gateway\nmay use meanwhile, the "
	"administrator's.",
	"sessgatectl db init\n"
	"sessgatectl db init -o mysql.user=sessgate_maintainer "
	"-o mysql.password_file=/root/maintainer\n",
	ctl_db_init},
    {"db maintain", CTL_LOCAL, "", 0, 0, NULL,
	"make room for the audit of the weeks to come, drop the oldest",
	"For a MySQL store, from a daily job with the maintainer's account: "
	"what is\nolder than reap.audit_keep goes, in whole weeks. On a day "
	"with nothing to do it\ndoes nothing.",
	"sessgatectl db maintain -o mysql.user=sessgate_maintainer "
	"-o mysql.password_file=/root/maintainer\n",
	ctl_db_maintain},
    {"db restored", CTL_LOCAL, "", 0, 0, restored_options,
	"tell a MySQL store that a dump was loaded into it",
	"Stop every gateway on every host first, load the dump, run this, "
	"start "
	"them again.\nNo copy from before is believed then, and sessions that "
	"had ended after the dump\nwas made are ended again, if Redis still "
	"knows of it. It needs Redis, if there is\none, and an account that "
	"may do all in the database: its administrator's.",
	"sessgatectl db restored -o mysql.user=root -o mysql.password_file=\n",
	ctl_db_restored},
    {"doctor", CTL_LOCAL, "", 0, 0, NULL,
	"say what is wrong with this host and the stores, and what to do",
	"Looks at files and their rights, the keys and the cookie of this "
	"host, and at MySQL,\nits replicas, Redis and its Sentinels as the "
	"gateway's account sees\nthem, and changes nothing. \"unseen\" is "
	"what that account may not see. The exit\ncode is 0 without an error, "
	"1 with one, 3 if a store does not answer.",
	"sessgatectl doctor\n"
	"sessgatectl doctor --json\n",
	ctl_doctor},
    {"import plan", CTL_LOCAL, "READER PLACE", 2, 2, import_options,
	"say what of another system's sessions could be brought in",
	"Reads them all, and writes nothing, there or here. READER "
	"is\napache-session, cgi-session, connect-redis, django, "
	"flask-session, mod-session,\nold-redis, old-table, php or phpredis. "
	"PLACE is /DIRECTORY, redis:[NUMBER@]HOST:PORT,\n"
	"redis:[NUMBER@]/SOCKET, mysql:DATABASE@HOST:PORT, "
	"mysql:DATABASE@/SOCKET or\nsqlite:/FILE. A session is shown by a "
	"hash of its id. The exit code is 1 if there\nis none.",
	"sessgatectl import plan connect-redis redis:127.0.0.1:6379 "
	"--user-key passport.user\n"
	"sessgatectl import plan old-redis redis:2@/run/redis/redis.sock "
	"--json\n",
	ctl_import_plan},
    {"key list", CTL_LOCAL, "", 0, 0, NULL,
	"list the signing keys (never the keys themselves)", NULL,
	"sessgatectl key list\n", ctl_key_list},
    {"key new", CTL_LOCAL, "", 0, 0, NULL,
	"add a signing key, which only verifies until \"key use\"", NULL,
	"sessgatectl key new\n", ctl_key_new},
    {"key retire", CTL_LOCAL, "ID", 1, 1, NULL,
	"remove a key when no session signed with it can live any more", NULL,
	"sessgatectl key retire 1\n", ctl_key_retire},
    {"key use", CTL_LOCAL, "ID", 1, 1, NULL, "sign with this key from now on",
	"Refused until every gateway host has said that it has loaded the key.",
	"sessgatectl key use 2\n", ctl_key_use},
    {"manual", CTL_LOCAL, "PAGE", 1, 1, NULL, "print a manual page, for man(1)",
	"PAGE is sessgatectl, sessgated or sessgate.conf: for where the pages "
	"are not\ninstalled.",
	"sessgatectl manual sessgate.conf | man -l -\n", ctl_manual},
    {"service add", CTL_LOCAL, "NAME", 1, 1, service_options,
	"give a program a key for the v1 API",
	"The key is printed once; the store keeps only its hash. With --realm "
	"it is\ngood for that site alone.",
	"sessgatectl service add shop --scope create,introspect --realm shop "
	"--expires 90d\n",
	ctl_service_add},
    {"service list", CTL_LOCAL, "", 0, 0, NULL, "list the programs' keys", NULL,
	"sessgatectl service list\n", ctl_service_list},
    {"service remove", CTL_LOCAL, "NAME", 1, 1, NULL,
	"take a program's key away, at once", NULL,
	"sessgatectl service remove shop\n", ctl_service_remove},

    {"audit", CTL_DAEMON, "", 0, 0, audit_options,
	"print the audit trail, newest first", NULL,
	"sessgatectl audit --user alice --since 2h\n"
	"sessgatectl audit --follow\n",
	ctl_audit},
    {"block", CTL_DAEMON, "USER", 1, 1, block_options,
	"end a user's sessions and refuse new ones", NULL,
	"sessgatectl block mallory --reason 'stolen laptop'\n"
	"sessgatectl block mallory --remove\n",
	ctl_block},
    {"cleanup", CTL_DAEMON, "USER", 1, 1, cleanup_options,
	"end a user's sessions", NULL,
	"sessgatectl cleanup alice\n"
	"sessgatectl cleanup alice --except 5c8d0a41e07b3f9926d1c0aa\n",
	ctl_cleanup},
    {"create", CTL_DAEMON, "", 0, 0, create_options, "make a session",
	"A login program prints what --set-cookie prints. It runs this as the "
	"web\nserver's user, through login.sock; no configuration is read "
	"then. The token is\nnot shown unless --print-token or --set-cookie "
	"asks for it.",
	"sessgatectl create --user alice --role editor\n"
	"sessgatectl --socket /run/sessgate/login.sock create --user \"$user\" "
	"--from-cgi --set-cookie\n"
	"printf %s \"$data\" | sessgatectl create --user alice --data - "
	"--json\n",
	ctl_create},
    {"end", CTL_DAEMON, "REF|-", 1, 1, end_options,
	"end a session; - reads its token from standard input", NULL,
	"sessgatectl end 5c8d0a41e07b3f9926d1c0aa --reason revoked\n"
	"printf %s \"$token\" | sessgatectl end -\n",
	ctl_end},
    {"explain", CTL_DAEMON, "REF|REASON", 1, 1, NULL,
	"tell a session's story in plain words, or what a reason means",
	"REASON is one of those that the log, the metrics and the audit name: "
	"role, theft,\nexpired_idle, ...",
	"sessgatectl explain 5c8d0a41e07b3f9926d1c0aa\n"
	"sessgatectl explain auth_age\n",
	ctl_explain},
    {"flush", CTL_DAEMON, "", 0, 0, flush_options,
	"end many sessions at once, on every host",
	"No session is touched: what was created before the moment that is set "
	"counts as\nended, within two seconds on every host that reaches the "
	"durable store. Without\n--realm those of all realms. Who logs in "
	"after it has returned is not concerned.",
	"sessgatectl flush --all\n"
	"sessgatectl flush --all --before 2026-11-22T14:03 --realm shop\n"
	"sessgatectl flush --role editor\n"
	"sessgatectl flush --but-role admin\n",
	ctl_flush},
    {"list", CTL_DAEMON, "USER", 1, 1, NULL, "list a user's live sessions",
	NULL,
	"sessgatectl list alice\n"
	"sessgatectl list alice --realm shop --json\n",
	ctl_list},
    {"maintenance", CTL_DAEMON, "[normal|emergency|off]", 0, 1,
	maintenance_options, "hold back logins, or everybody; or tell what is",
	"normal: new sessions are refused, but for roles that are let through. "
	"emergency:\ntheir sessions alone are accepted; the others are not "
	"ended, and go on when it\nis over. Without --realm in all realms; off "
	"without --realm ends all of it. In\nforce within two seconds on every "
	"host that reaches the durable store.",
	"sessgatectl maintenance\n"
	"sessgatectl maintenance normal --for 2h --reason 'New disks'\n"
	"sessgatectl maintenance emergency --role admin --role editor\n"
	"sessgatectl maintenance off\n",
	ctl_maintenance},
    {"show", CTL_DAEMON, "REF|-", 1, 1, NULL,
	"print a session; - reads its token from standard input",
	"The exit code is 0 if the session is live, 1 if not.",
	"sessgatectl show 5c8d0a41e07b3f9926d1c0aa\n"
	"printf %s \"$token\" | sessgatectl show -\n",
	ctl_show},
    {"stats", CTL_DAEMON, "", 0, 0, NULL,
	"how many sessions, users and requests", NULL,
	"sessgatectl stats --json\n", ctl_stats},
    {"status", CTL_DAEMON, "", 0, 0, status_options,
	"how the gateway and its stores are",
	"Asks the keeper, which answers also when all workers hang.",
	"sessgatectl status --watch\n", ctl_status},
    {.name = NULL},
};

/* ---- failing ---- */

enum ctl_exit
ctl_fail(enum ctl_exit code, const char *format, ...)
{
	struct buf text = {0}, clean = {0};
	va_list args;

	va_start(args, format);
	buf_vprintf(&text, format, args);
	va_end(args);
	ctl_add_clean(&clean, buf_bytes(&text));
	fprintf(stderr, "sessgatectl: %s\n",
	    buf_failed(&clean) || clean.len == 0 ? "out of memory"
						 : buf_text(&clean));
	buf_clear(&text);
	buf_clear(&clean);
	return code;
}

enum ctl_exit
ctl_fail_memory(void)
{
	return ctl_fail(CTL_UNAVAILABLE, "out of memory");
}

/* An address does not tell whose it is. */
static const char *
store_of(const struct sgate_error *err)
{
	static const char *const names[] = {"mysql", "redis"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(err->source, names[i]) == 0 &&
		    strncmp(err->text, names[i], strlen(names[i])) != 0)
			return names[i];
	}
	return NULL;
}

enum ctl_exit
ctl_fail_error(const struct sgate_error *err)
{
	const char *store = store_of(err);
	enum ctl_exit code = CTL_UNAVAILABLE;

	switch (err->status) {
	case SGATE_OK:
	case SGATE_NOT_FOUND:
	case SGATE_CONFLICT:
	case SGATE_DENIED:
		code = CTL_NO;
		break;
	case SGATE_INVALID:
	case SGATE_TOO_LARGE:
		code = CTL_USAGE;
		break;
	case SGATE_UNAVAILABLE:
	case SGATE_UNCERTAIN:
	case SGATE_CORRUPT:
	case SGATE_NO_MEMORY:
	case SGATE_INTERNAL:
		break;
	}
	return ctl_fail(code, "%s%s%s", store == NULL ? "" : store,
	    store == NULL ? "" : ": ",
	    err->text[0] != '\0' ? err->text : sgate_status_text(err->status));
}

/* ---- the context ---- */

const struct sgate_conf *
ctl_conf(struct ctl *ctl)
{
	const char *overrides[CTL_OPTIONS_MAX + 1];
	const char *path = ctl_args_get(&ctl->args, "config");
	struct sgate_error err;
	int i;

	if (ctl->conf != NULL)
		return ctl->conf;
	for (i = 0; i < CTL_OPTIONS_MAX; i++) {
		overrides[i] = ctl_args_at(&ctl->args, "set", i);
		if (overrides[i] == NULL)
			break;
	}
	overrides[i] = NULL;
	if (path == NULL &&
	    (access(CONF_DEFAULT_PATH, F_OK) == 0 || errno != ENOENT))
		path = CONF_DEFAULT_PATH;
	if (sgate_conf_load(path, overrides, &ctl->conf, &err) != SGATE_OK) {
		ctl_fail_error(&err);
		ctl->conf = NULL;
	}
	return ctl->conf;
}

bool
ctl_get_duration(const struct ctl *ctl, const char *name, int64_t *out_ms)
{
	const char *text = ctl_args_get(&ctl->args, name);

	*out_ms = 0;
	if (text == NULL || ctl_parse_duration(text, out_ms))
		return true;
	ctl_fail(CTL_USAGE,
	    "--%s %.40s: a number and a unit are needed, like 90s, 30min, 8h "
	    "or 7d",
	    name, text);
	return false;
}

/* To the end, to more than max bytes, or on a terminal one line; 0 or errno. */
static int
read_stdin(struct buf *out, size_t max, bool is_terminal)
{
	char chunk[4096];
	bool is_done = false;
	int code = 0;
	ssize_t n;

	while (!is_done && out->len <= max) {
		n = read(STDIN_FILENO, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			code = errno;
		if (n > 0)
			buf_add(out, chunk, (size_t)n);
		is_done = n <= 0 || buf_failed(out) ||
			  (is_terminal && chunk[n - 1] == '\n');
	}
	explicit_bzero(chunk, sizeof(chunk));
	return code;
}

bool
ctl_read_stdin(struct buf *out, size_t max, const char *what)
{
	bool is_terminal = isatty(STDIN_FILENO) == 1;
	int code;

	if (is_terminal)
		fprintf(stderr, "%s: ", what);
	code = read_stdin(out, max, is_terminal);
	while (out->len > 0 && (out->data[out->len - 1] == '\n' ||
				   out->data[out->len - 1] == '\r'))
		out->data[--out->len] = '\0';
	if (code != 0)
		ctl_fail(
		    CTL_USAGE, "%s: standard input: %s", what, strerror(code));
	else if (buf_failed(out))
		ctl_fail_memory();
	else if (out->len > max)
		ctl_fail(CTL_USAGE, "%s: more than %zu bytes", what, max);
	else if (out->len == 0)
		ctl_fail(CTL_USAGE, "%s: standard input is empty", what);
	else
		return true;
	return false;
}

enum ctl_exit
ctl_print(struct ctl_table *table)
{
	bool is_printed = ctl_table_print(table, stdout);

	ctl_table_clear(table);
	return is_printed ? CTL_YES : ctl_fail_memory();
}

/* ---- help ---- */

static void
print_options(const struct ctl_option *option, FILE *out)
{
	char left[64];

	for (; option->name != NULL; option++) {
		snprintf(left, sizeof(left), "--%s%s%s", option->name,
		    option->value == NULL ? "" : " ",
		    option->value == NULL ? "" : option->value);
		fprintf(out, "  %-26s  %s\n", left, option->help);
	}
}

static void
print_group(enum ctl_group group, FILE *out)
{
	const struct ctl_command *c;
	char left[64];

	for (c = ctl_commands; c->name != NULL; c++) {
		if (c->group != group)
			continue;
		snprintf(left, sizeof(left), "%s %s", c->name, c->arguments);
		fprintf(out, "  %-26s  %s\n", left, c->summary);
	}
}

static void
print_help(FILE *out)
{
	fputs("usage: sessgatectl [options] command [arguments]\n\n"
	      "commands that ask the running daemon:\n",
	    out);
	print_group(CTL_DAEMON, out);
	fputs("\ncommands that work without it:\n", out);
	print_group(CTL_LOCAL, out);
	fputs("\noptions of every command (-h, -V, -c FILE and -o "
	      "SECTION.NAME=VALUE are short forms):\n",
	    out);
	print_options(ctl_common_options, out);
	fputs("\nexit codes: 0 yes, 1 no, 2 wrong usage, 3 unavailable: try "
	      "again\n"
	      "\"sessgatectl COMMAND --help\" says more, with examples.\n",
	    out);
}

static void
print_command_help(const struct ctl_command *command, FILE *out)
{
	const char *line, *end;

	fprintf(out, "usage: sessgatectl %s%s%s%s\n\n%s\n", command->name,
	    command->options == NULL ? "" : " [options]",
	    command->arguments[0] == '\0' ? "" : " ", command->arguments,
	    command->summary);
	if (command->help != NULL)
		fprintf(out, "\n%s\n", command->help);
	if (command->options != NULL) {
		fputs("\noptions:\n", out);
		print_options(command->options, out);
	}
	fputs("\noptions of every command:\n", out);
	print_options(ctl_common_options, out);
	fputs("\nexamples:\n", out);
	for (line = command->examples; *line != '\0'; line = end + 1) {
		end = strchr(line, '\n');
		fprintf(out, "  %.*s\n", (int)(end - line), line);
	}
}

/* ---- running ---- */

/* A descriptor 0, 1 or 2 that is closed would become a socket or a file. */
static bool
open_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
	return fd > 2;
}

static enum ctl_exit
run(struct ctl *ctl)
{
	const struct ctl_args *args = &ctl->args;

	ctl->now_ms = clock_utc_ms();
	ctl->json = ctl_args_has(args, "json");
	ctl->realm = ctl_args_get(args, "realm");
	if (ctl->realm == NULL)
		ctl->realm = "";
	if (ctl->realm[0] != '\0' &&
	    !bytes_is_name(bytes_of(ctl->realm), CONF_REALM_MAX, "._-"))
		return ctl_fail(CTL_USAGE,
		    "--realm: a name of 1 to %d of [A-Za-z0-9._-] is needed",
		    CONF_REALM_MAX);
	if (!ctl_get_duration(ctl, "timeout", &ctl->timeout_ms))
		return CTL_USAGE;
	if (ctl->timeout_ms == 0)
		ctl->timeout_ms = DEFAULT_TIMEOUT_MS;
	return args->command->run(ctl);
}

int
main(int argc, char **argv)
{
	struct ctl ctl = {0};
	struct buf problem = {0};
	enum ctl_exit code = CTL_YES;

	if (!open_standard_files())
		return CTL_UNAVAILABLE;
	signal(SIGPIPE, SIG_IGN);
	if (!ctl_args_parse(
		ctl_commands, argc - 1, argv + 1, &ctl.args, &problem)) {
		code = ctl_fail(CTL_USAGE, "%s", buf_text(&problem));
		if (ctl.args.command != NULL)
			fprintf(stderr, "try: sessgatectl %s --help\n",
			    ctl.args.command->name);
	} else if (ctl.args.version) {
		printf("sessgatectl %s\n", sgate_version());
	} else if (ctl.args.help && ctl.args.command != NULL) {
		print_command_help(ctl.args.command, stdout);
	} else if (ctl.args.help) {
		print_help(stdout);
	} else {
		code = run(&ctl);
	}
	buf_clear(&problem);
	sgate_conf_free(ctl.conf);
	/* A login program must not take a cut header line for a whole one. */
	if (fflush(stdout) != 0 || ferror(stdout))
		code = ctl_fail(
		    CTL_UNAVAILABLE, "standard output: %s", strerror(errno));
	return code;
}
