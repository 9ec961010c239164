/*
 * The configuration: every default from table to file and back, every refusal
 * with its words, -o, what a reload leaves, and files that were damaged.
 */
#include "config.h"

#include "conf.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"

/*
 * libconfig 1.5 does not free the string that its scanner holds when the file
 * has a syntax error. LeakSanitizer asks for this by name.
 */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libconfig\n";
}

static char dir[] = "/tmp/sessgate-conf.XXXXXX";
static char path[64];

static int
set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/c", dir);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void
write_file(const char *name, const void *text, size_t len)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static enum sgate_status
load(const char *text, const char *override, struct sgate_conf **out_conf,
    struct sgate_error *err)
{
	const char *overrides[] = {override, NULL};

	write_file(path, text, strlen(text));
	return sgate_conf_load(path, overrides, out_conf, err);
}

static struct sgate_conf *
loaded(const char *text, const char *override)
{
	struct sgate_conf *conf;
	struct sgate_error err;

	if (load(text, override, &conf, &err) != SGATE_OK)
		fail_msg("refused: %s: %s", text, err.text);
	return conf;
}

/* The error's text without the path, or the directory, in front. */
static void
assert_refused(const char *text, const char *override, const char *expected)
{
	struct sgate_conf *conf = (void *)&conf;
	struct sgate_error err;
	const char *said = err.text;

	if (load(text, override, &conf, &err) == SGATE_OK)
		fail_msg("accepted: %s %s", text, override);
	assert_null(conf);
	assert_int_equal(err.status, SGATE_INVALID);
	assert_string_equal(err.source, "conf");
	if (strncmp(said, path, strlen(path)) == 0)
		said += strlen(path);
	else if (strncmp(said, dir, strlen(dir)) == 0)
		said += strlen(dir);
	if (strcmp(said, expected) != 0)
		fail_msg(
		    "%s\n     said: %s\n expected: %s", text, said, expected);
}

/* ---- defaults ---- */

static void
defaults_are_what_is_documented(void **state)
{
	struct sgate_conf *conf;
	struct sgate_error err;
	const struct conf_listener *l;

	(void)state;
	assert_int_equal(sgate_conf_load(NULL, NULL, &conf, &err), SGATE_OK);
	assert_string_equal(conf->path, "");
	assert_string_equal(conf->gateway.runtime_dir, "/run/sessgate");
	assert_string_equal(conf->gateway.mount, "/.sessgate/");
	assert_int_equal(conf->gateway.workers, 8);
	assert_int_equal(conf->gateway.request_timeout_ms, 800);
	assert_int_equal(conf->gateway.request_terminate_timeout_ms, 10000);
	assert_int_equal(conf->gateway.read_timeout_ms, 2000);
	assert_int_equal(conf->gateway.params_max_bytes, 65536);
	assert_int_equal(conf->gateway.body_max_bytes, 131072);
	assert_null(conf->gateway.trusted_proxies[0]);
	assert_false(conf->gateway.policy_required);
	assert_string_equal(conf->cookie.name, "__Host-sid");
	assert_true(conf->cookie.secure);
	assert_string_equal(conf->cookie.samesite, "Lax");
	assert_int_equal(conf->session.idle_timeout_ms, 30 * 60000);
	assert_int_equal(conf->session.absolute_timeout_ms, 8 * 3600000);
	assert_true(
	    conf->session.remember_idle_timeout_ms == INT64_C(14) * 86400000);
	assert_true(conf->session.remember_absolute_timeout_ms ==
		    INT64_C(30) * 86400000);
	assert_true(conf_largest_absolute_ms(conf) == INT64_C(30) * 86400000);
	assert_int_equal(conf->session.warn_before_ms, 120000);
	assert_int_equal(conf->session.rotate_grace_ms, 10000);
	assert_int_equal(conf->session.data_max_bytes, 65536);
	assert_false(conf->session.csrf_unknown_allow);
	assert_int_equal(conf->session.max_sessions, 0);
	assert_int_equal(conf->session.on_limit, CONF_LIMIT_EVICT);
	assert_int_equal(conf->session.bind_agent, CONF_BIND_LOG);
	assert_int_equal(conf->session.bind_address, CONF_BIND_OFF);
	assert_true(
	    conf_list_has(conf->session.admin_roles, bytes_of("admin")));
	assert_false(conf_list_has(conf->session.admin_roles, bytes_of("adm")));
	assert_string_equal(
	    conf->keys.file, LOCALSTATEDIR "/lib/sessgate/keys");
	assert_string_equal(
	    conf->sqlite.file, LOCALSTATEDIR "/lib/sessgate/sessgate.db");
	assert_int_equal(conf->sqlite.busy_timeout_ms, 600);
	assert_int_equal(conf->reap.interval_ms, 60000);
	assert_int_equal(conf->reap.chunk, 500);
	assert_int_equal(conf->limit.login_per_minute, 30);
	assert_int_equal(conf->limit.bad_token_per_minute, 60);
	assert_int_equal(conf->log.level, LOG_LEVEL_NOTICE);
	assert_string_equal(conf->log.destination, "stderr");

	assert_int_equal(conf->policies_count, 0);
	assert_int_equal(conf->listeners_count, 3);
	l = conf_listener(conf, "pool");
	assert_string_equal(l->address, "unix:/run/sessgate/pool.sock");
	assert_int_equal(l->allow, CONF_ALLOW_CHECK | CONF_ALLOW_API);
	assert_int_equal(l->mode, 0660);
	assert_false(l->has_realm);
	l = conf_listener(conf, "control");
	assert_int_equal(l->mode, 0600);
	assert_true(l->allow & CONF_ALLOW_ALL);
	l = conf_listener(conf, "inherited");
	assert_string_equal(l->address, "");
	assert_int_equal(l->allow, CONF_ALLOW_CHECK | CONF_ALLOW_API);
	assert_null(conf_listener(conf, "login"));
	sgate_conf_free(conf);
	sgate_conf_free(NULL);
}

static void
print_all(const struct sgate_conf *conf, bool with_origin, struct buf *out)
{
	const struct conf_option *option;
	size_t i, section;

	for (i = 0; (option = conf_option(i)) != NULL; i++) {
		struct buf value = {0}, origin = {0};

		for (section = 0; conf_value(conf, i, section, &value, &origin);
		     section++) {
			buf_printf(out, "%s[%u].%s = %s", option->section,
			    (unsigned)section, option->name, buf_text(&value));
			if (with_origin)
				buf_printf(out, " %s", buf_text(&origin));
			buf_add_char(out, '\n');
			buf_reset(&value);
			buf_reset(&origin);
			assert_true(section < 100);
		}
		buf_clear(&value);
		buf_clear(&origin);
	}
	assert_false(buf_failed(out));
}

/* The template with line `number` no longer commented out; 0 = all as is. */
static void
uncomment(const char *template, unsigned number, struct buf *out)
{
	unsigned line = 0;

	while (*template != '\0') {
		size_t len = strcspn(template, "\n") + 1;

		line++;
		if (line == number && template[0] == '#')
			buf_add(out, template + 1, len - 1);
		else
			buf_add(out, template, len);
		template += len;
	}
}

static void
the_template_as_it_is_gives_the_defaults(void **state)
{
	struct buf template = {0}, a = {0}, b = {0};
	struct sgate_conf *conf, *empty;

	(void)state;
	conf_template(&template);
	assert_false(buf_failed(&template));
	conf = loaded(buf_text(&template), NULL);
	empty = loaded("", NULL);
	print_all(conf, false, &a);
	print_all(empty, false, &b);
	assert_string_equal(buf_text(&a), buf_text(&b));
	sgate_conf_free(conf);
	sgate_conf_free(empty);
	buf_clear(&template);
	buf_clear(&a);
	buf_clear(&b);
}

/* "#\tname = value;" is an option, whatever section it stands in. */
static bool
is_option_line(const char *line, const struct conf_option *option)
{
	char begin[80];
	size_t tabs;

	if (*line != '#')
		return false;
	tabs = strspn(line + 1, "\t");
	snprintf(begin, sizeof(begin), "%s = ", option->name);
	return tabs > 0 && strncmp(line + 1 + tabs, begin, strlen(begin)) == 0;
}

/* Line number of an option in the template, 0 = it is not there. */
static unsigned
find_line(const char *template, const struct conf_option *option)
{
	bool is_inside = false;
	unsigned line = 1;
	char begin[80];

	snprintf(begin, sizeof(begin), "%s: {\n", option->section);
	for (; *template != '\0'; line++) {
		if (strncmp(template, begin, strlen(begin)) == 0)
			is_inside = true;
		else if (strncmp(template, "};", 2) == 0)
			is_inside = false;
		if (is_inside && is_option_line(template, option))
			return line;
		template += strcspn(template, "\n") + 1;
	}
	return 0;
}

static void
every_default_survives_template_and_load(void **state)
{
	struct buf template = {0}, before = {0};
	const struct conf_option *option;
	struct sgate_conf *defaults = loaded("", NULL);
	size_t i;

	(void)state;
	conf_template(&template);
	for (i = 0; (option = conf_option(i)) != NULL; i++) {
		struct buf text = {0}, value = {0}, expected = {0}, from = {0};
		unsigned line = find_line(buf_text(&template), option);
		struct sgate_conf *conf;
		char origin[100];

		if (line == 0)
			fail_msg("%s.%s is not in the template",
			    option->section, option->name);
		assert_true(strlen(option->help) > 5);
		assert_int_equal(option->help[strcspn(option->help, "\n")], 0);
		if (strcmp(option->section, "policy") == 0)
			continue; /* its whole section is commented out */
		uncomment(buf_text(&template), line, &text);
		conf = loaded(buf_text(&text), NULL);
		assert_true(conf_value(conf, i, 0, &value, &from));
		snprintf(origin, sizeof(origin), "%s:%u", path, line);
		assert_string_equal(buf_text(&from), origin);
		buf_reset(&from);
		assert_true(conf_value(defaults, i, 0, &expected, &from));
		assert_string_equal(buf_text(&from), "default");
		assert_string_equal(buf_text(&value), buf_text(&expected));
		sgate_conf_free(conf);
		buf_clear(&text);
		buf_clear(&value);
		buf_clear(&expected);
		buf_clear(&from);
	}
	sgate_conf_free(defaults);
	buf_clear(&template);
	buf_clear(&before);
}

static void
the_template_s_policy_is_a_policy_with_defaults(void **state)
{
	struct buf template = {0}, text = {0};
	const char *line, *staff, *end;
	struct sgate_conf *conf;
	const struct conf_policy *policy;

	(void)state;
	conf_template(&template);
	staff = strstr(buf_text(&template), "#\tstaff: {");
	assert_non_null(staff);
	end = strstr(staff, "\n};");
	buf_add_text(&text, "policy: {\n");
	for (line = staff; line < end; line += strcspn(line, "\n") + 1)
		buf_add(&text, line + 1, strcspn(line, "\n"));
	buf_add_text(&text, "};\n");
	conf = loaded(buf_text(&text), NULL);
	assert_int_equal(conf->policies_count, 1);
	policy = conf_policy(conf, bytes_of("staff"));
	assert_non_null(policy);
	assert_null(policy->require_role[0]);
	assert_int_equal(policy->max_auth_age_ms, 0);
	assert_false(policy->anonymous);
	assert_false(policy->csrf);
	assert_string_equal(policy->login_url, "");
	assert_null(conf_policy(conf, bytes_of("staf")));
	sgate_conf_free(conf);
	buf_clear(&template);
	buf_clear(&text);
}

/* ---- values ---- */

static const char all_changed[] =
    "gateway: { user = \"www-data\"; group = \"web\"; runtime_dir = "
    "\"/tmp/r\"; mount = \"/s/\";\n"
    " workers_min = 3; workers_max = 30; spare_min = 2; spare_max = 9; "
    "max_requests = 1000;\n"
    " request_terminate_timeout = \"1 min\"; request_timeout = \"2s\"; "
    "read_timeout = \"90 ms\"; keep_timeout = 0; scheduling = \"normal\";\n"
    " params_max = \"4096 B\"; body_max = \"1 MiB\"; login_url = "
    "\"/login\";\n"
    " return_to_allow = [\"https://a.example/x\", \"/y\"]; trusted_proxies = "
    "\"10.0.0.0/8\";\n"
    " policy_required = true; expose_reason = \"yes\"; };\n"
    "listener = { pool = { mode = \"0666\"; owner = \"o\"; group = \"g\"; "
    "backlog = 5;\n"
    "   realm = \"shop\"; allow = \"check\"; };\n"
    " login: { realm = \"\"; roles = (\"a\", \"b\"); };\n"
    " auth: { address = \"tcp:[::1]:9000\"; allow = [\"check\"]; }; };\n"
    "policy: { staff: { require_role = [\"staff\", \"boss\"]; max_auth_age = "
    "\"5 min\";\n"
    "   anonymous = true; csrf = true; login_url = \"https://x.example/\"; "
    "};\n"
    " other: { }; };\n"
    "cookie: { name = \"sid\"; secure = false; samesite = \"Strict\"; path = "
    "\"/a\";\n"
    " domain = \"example.org\"; max_age = \"1 d\"; };\n"
    "session: { idle_timeout = \"1 h\"; absolute_timeout = \"2 h\"; "
    "remember_idle_timeout = \"1 d\";\n"
    " remember_absolute_timeout = \"2 d\"; warn_before = 0; rotate_grace = "
    "\"0\"; data_max = \"1 KiB\";\n"
    " browser_readable = [\"a b\"]; browser_writable = [\"\xc3\xa9\"]; "
    "export_data = [\"x_1\"];\n"
    " origins = [\"https://a.example\"]; csrf_unknown = \"allow\"; "
    "max_sessions = 3;\n"
    " on_limit = \"refuse\"; bind_agent = \"strict\"; bind_address = \"log\";\n"
    " create_without_mysql = false; self_service_max_auth_age = \"10 min\"; "
    "admin_roles = []; };\n"
    "keys: { file = \"/k\"; }; sqlite: { file = \"/s\"; busy_timeout = \"1 "
    "s\"; };\n"
    "reap: { interval = \"1 s\"; chunk = 1; ended_keep = \"2 d\"; audit_keep "
    "= \"1 d\"; };\n"
    "cache: { size = \"128 KiB\"; lease = \"500 ms\"; };\n"
    "limit: { login_per_minute = 2; bad_token_per_minute = 1; };\n"
    "log: { level = \"debug\"; destination = \"file:/var/log/s\"; "
    "denials_per_minute = 0; };\n";

/* Not beside SQLite: MySQL and the Redis before it; MySQL's socket. */
static const char mysql_changed[] =
    "mysql: { hosts = [\"10.0.0.1\", \"[::1]:3307\"]; database = \"d\"; user "
    "= \"u\";\n"
    " password_file = \"/p\"; read_timeout = \"1 s\"; write_timeout = \"2 "
    "s\"; };\n"
    "redis: { address = \"[::1]:6380\"; database = 3; user = \"r\"; "
    "password_file = \"/q\";\n"
    " prefix = \"x-1\"; timeout = \"20 ms\"; replicas = 2;\n"
    " warm_rate = 700; };\n"
    "fence: { poll_interval = \"1 s\"; max_blind = \"off\"; };\n"
    "spool: { dir = \"/d\"; max = \"2 MiB\"; reserve = 20; keep = \"5 "
    "min\"; };\n";

static bool
is_of_mysql(const struct conf_option *option)
{
	return strcmp(option->section, "mysql") == 0 ||
	       strcmp(option->section, "redis") == 0 ||
	       strcmp(option->section, "fence") == 0 ||
	       strcmp(option->section, "spool") == 0;
}

/* What excludes others of these. */
static bool
is_of_socket(const struct conf_option *option)
{
	return strcmp(option->name, "socket") == 0 ||
	       strcmp(option->name, "sentinel") == 0 ||
	       strcmp(option->name, "master_name") == 0 ||
	       strcmp(option->name, "sentinel_password_file") == 0;
}

static void
every_option_can_be_changed(void **state)
{
	struct sgate_conf *conf = loaded(all_changed, NULL);
	struct sgate_conf *mysql = loaded(mysql_changed, NULL);
	struct sgate_conf *socket = loaded(
	    "redis: { sentinel = [\"10.0.0.1\", \"::1\", \"[::1]:26380\", "
	    "\"[2001:db8::1:80]\", \"::ffff:10.0.0.2\"]; "
	    "master_name = \"m\"; sentinel_password_file = \"/p\"; };",
	    "mysql.socket=/s");
	struct sgate_conf *defaults = loaded("", NULL);
	const struct conf_option *option;
	const struct conf_listener *l;
	size_t i;

	(void)state;
	/* No option was forgotten in the text above. */
	for (i = 0; (option = conf_option(i)) != NULL; i++) {
		struct buf a = {0}, b = {0}, origin = {0};

		assert_true(conf_value(!is_of_mysql(option)   ? conf
				       : is_of_socket(option) ? socket
							      : mysql,
		    i, 0, &a, &origin));
		if (conf_value(defaults, i, 0, &b, &origin) &&
		    (strcmp(option->section, "listener") != 0 ||
			(strcmp(option->name, "address") != 0 &&
			    strcmp(option->name, "roles") != 0)) &&
		    strcmp(buf_text(&a), buf_text(&b)) == 0)
			fail_msg(
			    "%s.%s is the same", option->section, option->name);
		buf_clear(&a);
		buf_clear(&b);
		buf_clear(&origin);
	}
	assert_int_equal(conf->gateway.workers, 0);
	assert_int_equal(conf->gateway.workers_max, 30);
	assert_int_equal(conf->gateway.read_timeout_ms, 90);
	assert_int_equal(conf->gateway.keep_timeout_ms, 0);
	assert_int_equal(conf->gateway.scheduling, CONF_SCHEDULING_NORMAL);
	assert_int_equal(conf->gateway.params_max_bytes, 4096);
	assert_int_equal(conf->gateway.body_max_bytes, 1048576);
	assert_string_equal(conf->gateway.trusted_proxies[0], "10.0.0.0/8");
	assert_string_equal(conf->gateway.return_to_allow[1], "/y");
	assert_null(conf->gateway.return_to_allow[2]);
	assert_true(conf->gateway.expose_reason);
	l = conf_listener(conf, "pool");
	assert_string_equal(l->address, "unix:/tmp/r/pool.sock");
	assert_true(l->has_realm);
	assert_string_equal(l->realm, "shop");
	assert_int_equal(l->allow, CONF_ALLOW_CHECK);
	assert_int_equal(l->line, 7);
	l = conf_listener(conf, "login");
	assert_int_equal(l->allow, CONF_ALLOW_CREATE);
	assert_true(l->has_realm);
	assert_string_equal(l->realm, "");
	assert_string_equal(l->roles[1], "b");
	l = conf_listener(conf, "auth");
	assert_string_equal(l->address, "tcp:[::1]:9000");
	assert_int_equal(conf->policies_count, 2);
	assert_int_equal(conf->policies[0].max_auth_age_ms, 300000);
	assert_string_equal(conf->policies[0].require_role[1], "boss");
	assert_true(conf->session.csrf_unknown_allow);
	assert_int_equal(conf->session.on_limit, CONF_LIMIT_REFUSE);
	assert_int_equal(conf->session.bind_agent, CONF_BIND_STRICT);
	assert_null(conf->session.admin_roles[0]);
	assert_int_equal(conf->log.level, LOG_LEVEL_DEBUG);
	assert_false(conf_has_mysql(conf));
	assert_true(conf_has_mysql(mysql));
	assert_string_equal(mysql->mysql.hosts[1], "[::1]:3307");
	assert_int_equal(mysql->mysql.write_timeout_ms, 2000);
	assert_true(conf_has_mysql(socket));
	assert_false(conf_has_redis(conf));
	assert_true(conf_has_redis(socket));
	assert_string_equal(socket->redis.address, "");
	assert_string_equal(socket->redis.sentinel[2], "[::1]:26380");
	assert_null(socket->redis.sentinel[5]);
	assert_string_equal(socket->redis.master_name, "m");
	assert_string_equal(socket->redis.sentinel_password_file, "/p");
	assert_true(conf_has_redis(mysql));
	assert_string_equal(mysql->redis.address, "[::1]:6380");
	assert_int_equal(mysql->redis.database, 3);
	assert_string_equal(mysql->redis.user, "r");
	assert_string_equal(mysql->redis.password_file, "/q");
	assert_string_equal(mysql->redis.prefix, "x-1");
	assert_int_equal(mysql->redis.timeout_ms, 20);
	assert_int_equal(mysql->fence.poll_interval_ms, 1000);
	assert_int_equal(mysql->fence.max_blind_ms, -1);
	assert_int_equal(mysql->redis.replicas, 2);
	assert_int_equal(mysql->redis.warm_rate, 700);
	assert_string_equal(mysql->spool.dir, "/d");
	assert_int_equal(mysql->spool.max_bytes, 2 << 20);
	assert_int_equal(mysql->spool.reserve_percent, 20);
	assert_int_equal(mysql->spool.keep_ms, 300000);
	assert_true(conf_has_spool(mysql));
	assert_false(conf_has_spool(conf));
	assert_int_equal(defaults->redis.replicas, 0);
	assert_int_equal(defaults->redis.warm_rate, 5000);
	assert_int_equal(defaults->spool.max_bytes, 1 << 30);
	assert_int_equal(defaults->spool.reserve_percent, 10);
	assert_int_equal(defaults->spool.keep_ms, 900000);
	assert_int_equal(defaults->redis.timeout_ms, 50);
	assert_string_equal(defaults->redis.prefix, "sg");
	assert_int_equal(defaults->fence.poll_interval_ms, 500);
	assert_int_equal(defaults->fence.max_blind_ms, 300000);
	sgate_conf_free(socket);
	sgate_conf_free(mysql);
	sgate_conf_free(conf);
	sgate_conf_free(defaults);
}

static void
redis_is_at_a_socket_or_an_address(void **state)
{
	static const char *const addresses[] = {"unix:/run/redis/r.sock",
	    "10.0.0.1", "10.0.0.1:6380", "::1", "[::1]:6379"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct sgate_conf *conf;
		char text[120];

		snprintf(text, sizeof(text), "redis: { address = \"%s\"; };",
		    addresses[i]);
		conf = loaded(text, "mysql.socket=/s");
		assert_true(conf_has_redis(conf));
		assert_string_equal(conf->redis.address, addresses[i]);
		sgate_conf_free(conf);
	}
}

static void
blind_time_has_an_end_none_or_is_never(void **state)
{
	struct sgate_conf *never = loaded("", "fence.max_blind=0");
	struct sgate_conf *off = loaded("", "fence.max_blind=off");
	struct sgate_conf *end =
	    loaded("fence: { max_blind = \"1 h\"; };", NULL);

	(void)state;
	assert_int_equal(never->fence.max_blind_ms, 0);
	assert_int_equal(off->fence.max_blind_ms, -1);
	assert_int_equal(end->fence.max_blind_ms, 3600000);
	sgate_conf_free(never);
	sgate_conf_free(off);
	sgate_conf_free(end);
}

static void
values_print_as_the_file_writes_them(void **state)
{
	struct sgate_conf *conf = loaded(all_changed, NULL), *again;
	struct buf text = {0}, a = {0}, b = {0};
	const struct conf_option *option;
	const char *last = "";
	size_t i;

	(void)state;
	/* All but the sections with names: print, load, print. */
	for (i = 0; (option = conf_option(i)) != NULL; i++) {
		struct buf origin = {0};

		if (strcmp(option->section, "listener") == 0 ||
		    strcmp(option->section, "policy") == 0 ||
		    strncmp(option->name, "workers_", 8) == 0 ||
		    strncmp(option->name, "spare_", 6) == 0)
			continue;
		if (strcmp(option->section, last) != 0)
			buf_printf(&text, "%s%s: {\n",
			    *last == '\0' ? "" : "};\n", option->section);
		last = option->section;
		buf_printf(&text, "%s = ", option->name);
		assert_true(conf_value(conf, i, 0, &text, &origin));
		buf_add_text(&text, ";\n");
		buf_clear(&origin);
	}
	buf_add_text(&text, "};\n");
	again = loaded(buf_text(&text), NULL);
	for (i = 0; (option = conf_option(i)) != NULL; i++) {
		struct buf origin = {0};

		if (strcmp(option->section, "listener") == 0 ||
		    strcmp(option->section, "policy") == 0 ||
		    strncmp(option->name, "workers_", 8) == 0 ||
		    strncmp(option->name, "spare_", 6) == 0)
			continue;
		buf_reset(&a);
		buf_reset(&b);
		assert_true(conf_value(conf, i, 0, &a, &origin));
		assert_true(conf_value(again, i, 0, &b, &origin));
		assert_string_equal(buf_text(&a), buf_text(&b));
		buf_clear(&origin);
	}
	sgate_conf_free(conf);
	sgate_conf_free(again);
	buf_clear(&text);
	buf_clear(&a);
	buf_clear(&b);
}

static void
quotes_and_backslashes_are_printed_escaped(void **state)
{
	struct sgate_conf *conf =
	    loaded("session: { browser_readable = [\"a\\\"b\\\\c\"]; };", NULL);
	struct buf value = {0}, origin = {0};
	size_t i;

	(void)state;
	assert_string_equal(conf->session.browser_readable[0], "a\"b\\c");
	for (i = 0; strcmp(conf_option(i)->name, "browser_readable") != 0; i++)
		;
	assert_true(conf_value(conf, i, 0, &value, &origin));
	assert_string_equal(buf_text(&value), "[\"a\\\"b\\\\c\"]");
	assert_false(conf_value(conf, i, 1, &value, &origin));
	assert_false(conf_value(conf, 10000, 0, &value, &origin));
	buf_clear(&value);
	buf_clear(&origin);
	sgate_conf_free(conf);
}

/* ---- -o ---- */

static void
overrides_come_after_the_file(void **state)
{
	static const char *const overrides[] = {"gateway.workers=3",
	    "session.idle_timeout=5min",
	    "session.origins=https://a.example,"
	    "http://b.example:8080",
	    "session.admin_roles=", "gateway.policy_required=yes",
	    "gateway.expose_reason=false", "listener.login.mode=0600",
	    "listener.my.own.address=unix:/tmp/x=y", "policy.staff.csrf=true",
	    "gateway.workers=4", "session.max_sessions=0", NULL};
	struct buf value = {0}, origin = {0};
	struct sgate_conf *conf;
	struct sgate_error err;

	(void)state;
	write_file(
	    path, "gateway: { workers = 2; expose_reason = true; };", 48);
	assert_int_equal(
	    sgate_conf_load(path, overrides, &conf, &err), SGATE_OK);
	assert_int_equal(conf->gateway.workers, 4);
	assert_int_equal(conf->session.idle_timeout_ms, 300000);
	assert_string_equal(conf->session.origins[1], "http://b.example:8080");
	assert_null(conf->session.admin_roles[0]);
	assert_true(conf->gateway.policy_required);
	assert_false(conf->gateway.expose_reason);
	assert_int_equal(conf_listener(conf, "login")->mode, 0600);
	assert_string_equal(
	    conf_listener(conf, "my.own")->address, "unix:/tmp/x=y");
	assert_true(conf_policy(conf, bytes_of("staff"))->csrf);
	assert_true(conf_value(conf, 4, 0, &value, &origin));
	assert_string_equal(buf_text(&value), "4");
	assert_string_equal(buf_text(&origin), "-o");
	sgate_conf_free(conf);
	buf_clear(&value);
	buf_clear(&origin);
}

static void
overrides_that_are_wrong_are_refused(void **state)
{
	static const struct {
		const char *override, *expected;
	} cases[] = {
	    {"", "-o: \"\" is not an option; write SECTION.NAME=VALUE"},
	    {"workers",
		"-o: \"workers\" is not an option; write SECTION.NAME=VALUE"},
	    {"workers=3",
		"-o: \"workers=3\" is not an option; write SECTION.NAME=VALUE"},
	    {"gateway.workers", "-o: \"gateway.workers\" is not an option; "
				"write SECTION.NAME=VALUE"},
	    {"gatewy.workers=3",
		"-o: gatewy: there is no such section; did you mean gateway?"},
	    {"nothing.like_it=3", "-o: nothing: there is no such section; "
				  "`sessgatectl config template` shows all"},
	    {"gateway.worker=3", "-o: gateway.worker: there is no such option; "
				 "did you mean workers?"},
	    {"gateway.workers=", "-o: gateway.workers: \"\" is wrong; it must "
				 "be a number, as 8"},
	    {"gateway.workers=3x", "-o: gateway.workers: \"3x\" is wrong; it "
				   "must be a number, as 8"},
	    {"gateway.workers=201", "-o: gateway.workers: \"201\" is out of "
				    "range; it must be from 0 to 200"},
	    {"gateway.workers=99999999999999999999",
		"-o: gateway.workers: \"99999999999999999999\" is wrong; it "
		"must be a number, as 8"},
	    {"gateway.policy_required=maybe",
		"-o: gateway.policy_required: \"maybe\" is wrong; it must be "
		"true or false (or \"yes\" or \"no\")"},
	    {"session.admin_roles=a,,b", "-o: session.admin_roles: has an "
					 "empty item; an empty list is []"},
	    {"session.admin_roles=a,", "-o: session.admin_roles: has an empty "
				       "item; an empty list is []"},
	    {"listener.mode=0600", "-o: \"listener.mode=0600\" has no name in "
				   "it; write listener.NAME.OPTION=VALUE"},
	    {"listener..mode=0600", "-o: listener: \"\" is no name; it must be "
				    "up to 64 of [A-Za-z0-9._-]"},
	    {"listener.a/b.mode=0600", "-o: listener: \"a/b\" is no name; it "
				       "must be up to 64 of [A-Za-z0-9._-]"},
	    {"listener.pool.mod=0600", "-o: listener.pool.mod: there is no "
				       "such option; did you mean mode?"},
	    {"listener.pool.mode=0600\n",
		"-o: listener.pool.mode: \"0600?\" is wrong; it must be octal "
		"in quotes, read and write for the owner at least, as "
		"\"0660\""},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_refused("", cases[i].override, cases[i].expected);
}

/* ---- refusals ---- */

struct refusal {
	const char *text, *expected;
};

static void
assert_all_refused(const struct refusal *cases, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		assert_refused(cases[i].text, NULL, cases[i].expected);
}
#define ALL(cases) cases, sizeof(cases) / sizeof((cases)[0])

static void
names_that_are_not_known_are_refused(void **state)
{
	static const struct refusal cases[] = {
	    {"sesion: { };",
		":1: sesion: there is no such section; did you mean session?"},
	    {"\n\nspare: { };", ":3: spare: there is no such section; "
				"`sessgatectl config template` shows all"},
	    {"workers = 3;", ":1: workers: is an option, not a section; write "
			     "gateway: { workers = ...; };"},
	    {"session = 3;",
		":1: session: is a section; write session: { ... };"},
	    {"session: {\n idle_timout = \"1 h\";\n};",
		":2: session.idle_timout: there is no such option; did you "
		"mean idle_timeout?"},
	    {"gateway: {\n idle_timeout = \"1 h\";\n};",
		":2: gateway.idle_timeout: there is no such option; it belongs "
		"to the section session"},
	    {"gateway: {\n nothing_like_it = 1;\n};",
		":2: gateway.nothing_like_it: there is no such option; "
		"`sessgatectl config template` shows all"},
	    {"listener: { pool = \"x\"; };",
		":1: listener: \"pool\" is not a group; write listener: { "
		"NAME: { ... }; };"},
	    {"listener: { mode = \"0600\"; };",
		":1: listener: \"mode\" is not a group; write listener: { "
		"NAME: { ... }; };"},
	    {"listener: { pool: { adress = \"x\"; }; };",
		":1: listener.pool.adress: there is no such option; did you "
		"mean address?"},
	    {"policy: { a*b: { }; };", ":1: policy: \"a*b\" is no name; it "
				       "must be up to 64 of [A-Za-z0-9._-]"},
	    {"policy: { staff: { role = [\"x\"]; }; };",
		":1: policy.staff.role: there is no such option; `sessgatectl "
		"config template` shows all"},
	};

	(void)state;
	assert_all_refused(ALL(cases));
}

static void
wrong_types_and_units_are_refused(void **state)
{
	static const struct refusal cases[] = {
	    {"gateway: {\n workers = \"8\";\n};",
		":2: gateway.workers: has the wrong type; it must be a number, "
		"as 8"},
	    {"gateway: { workers = 1.5; };",
		":1: gateway.workers: has the wrong type; it must be a number, "
		"as 8"},
	    {"gateway: { workers = true; };",
		":1: gateway.workers: has the wrong type; it must be a number, "
		"as 8"},
	    {"gateway: { workers = [8]; };",
		":1: gateway.workers: has the wrong type; it must be a number, "
		"as 8"},
	    {"gateway: { workers = { a = 1; }; };",
		":1: gateway.workers: has the wrong type; it must be a number, "
		"as 8"},
	    {"gateway: { request_timeout = 800; };",
		":1: gateway.request_timeout: has the wrong type; it must be a "
		"duration, as \"30 min\" (units: ms, s, min, h, d)"},
	    {"gateway: { request_timeout = \"800\"; };",
		":1: gateway.request_timeout: \"800\" is wrong; it must be a "
		"duration, as \"30 min\" (units: ms, s, min, h, d)"},
	    {"gateway: { request_timeout = \"800 msec\"; };",
		":1: gateway.request_timeout: \"800 msec\" is wrong; it must "
		"be a duration, as \"30 min\" (units: ms, s, min, h, d)"},
	    {"gateway: { request_timeout = \"0.8 s\"; };",
		":1: gateway.request_timeout: \"0.8 s\" is wrong; it must be a "
		"duration, as \"30 min\" (units: ms, s, min, h, d)"},
	    {"gateway: { request_timeout = \"-1 s\"; };",
		":1: gateway.request_timeout: \"-1 s\" is wrong; it must be a "
		"duration, as \"30 min\" (units: ms, s, min, h, d)"},
	    {"gateway: { request_timeout = \"s\"; };",
		":1: gateway.request_timeout: \"s\" is wrong; it must be a "
		"duration, as \"30 min\" (units: ms, s, min, h, d)"},
	    {"gateway: { request_timeout = \"\"; };",
		":1: gateway.request_timeout: \"\" is wrong; it must be a "
		"duration, as \"30 min\" (units: ms, s, min, h, d)"},
	    {"gateway: { request_timeout = \"1 s \"; };",
		":1: gateway.request_timeout: \"1 s \" is wrong; it must be a "
		"duration, as \"30 min\" (units: ms, s, min, h, d)"},
	    {"gateway: { request_timeout = \"9223372036854775807 d\"; };",
		":1: gateway.request_timeout: \"9223372036854775807 d\" is out "
		"of range; it must be from \"20 ms\" to \"1 min\""},
	    {"gateway: { request_timeout = \"9223372036854775808 ms\"; };",
		":1: gateway.request_timeout: \"9223372036854775808 ms\" is "
		"wrong; it must be a duration, as \"30 min\" (units: ms, s, "
		"min, h, d)"},
	    {"cache: { size = \"1 KiB\"; };",
		":1: cache.size: is too small to hold anything; give it 64 KiB "
		"at least, or 0 for no local cache"},
	    {"cache: { lease = \"99 ms\"; };",
		":1: cache.lease: is too short to hear from Redis again in "
		"time; give it 100 ms at least, or 0 for not using the local "
		"cache"},
	    {"fence: { max_blind = 300; };",
		":1: fence.max_blind: has the wrong type; it must be a "
		"duration, as \"30 min\" (units: ms, s, min, h, d), or "
		"\"off\""},
	    {"fence: { max_blind = \"-1 ms\"; };",
		":1: fence.max_blind: \"-1 ms\" is wrong; it must be a "
		"duration, as \"30 min\" (units: ms, s, min, h, d), or "
		"\"off\""},
	    {"fence: { poll_interval = \"off\"; };",
		":1: fence.poll_interval: \"off\" is wrong; it must be a "
		"duration, as \"30 min\" (units: ms, s, min, h, d)"},
	    {"gateway: { params_max = \"64 KB\"; };",
		":1: gateway.params_max: \"64 KB\" is wrong; it must be a "
		"size, as \"64 KiB\" (units: B, KiB, MiB, GiB)"},
	    {"gateway: { params_max = 65536; };",
		":1: gateway.params_max: has the wrong type; it must be a "
		"size, as \"64 KiB\" (units: B, KiB, MiB, GiB)"},
	    {"gateway: { policy_required = 1; };",
		":1: gateway.policy_required: has the wrong type; it must be "
		"true or false (or \"yes\" or \"no\")"},
	    {"gateway: { policy_required = \"on\"; };",
		":1: gateway.policy_required: \"on\" is wrong; it must be true "
		"or false (or \"yes\" or \"no\")"},
	    {"gateway: { mount = 1; };", ":1: gateway.mount: has the wrong "
					 "type; it must be a text, as \"a\""},
	    {"gateway: { trusted_proxies = [1, 2]; };",
		":1: gateway.trusted_proxies: has the wrong type; it must be a "
		"list of texts, as [\"a\", \"b\"]"},
	    {"gateway: { trusted_proxies = (\"10.0.0.1\", 2); };",
		":1: gateway.trusted_proxies: has the wrong type; it must be a "
		"list of texts, as [\"a\", \"b\"]"},
	    {"gateway: { trusted_proxies = [\"\"]; };",
		":1: gateway.trusted_proxies: has an empty item; an empty list "
		"is []"},
	    {"listener: { pool: { mode = 0660; }; };",
		":1: listener.pool.mode: has the wrong type; it must be octal "
		"in quotes, read and write for the owner at least, as "
		"\"0660\""},
	    {"listener: { pool: { mode = \"0888\"; }; };",
		":1: listener.pool.mode: \"0888\" is wrong; it must be octal "
		"in quotes, read and write for the owner at least, as "
		"\"0660\""},
	    {"listener: { pool: { mode = \"0777\"; }; };",
		":1: listener.pool.mode: \"0777\" is wrong; it must be octal "
		"in quotes, read and write for the owner at least, as "
		"\"0660\""},
	    {"listener: { pool: { mode = \"0060\"; }; };",
		":1: listener.pool.mode: \"0060\" is wrong; it must be octal "
		"in quotes, read and write for the owner at least, as "
		"\"0660\""},
	    {"listener: { pool: { allow = [\"chek\"]; }; };",
		":1: listener.pool.allow: \"chek\" is wrong; it must be "
		"\"check\", \"api\", \"remote-user\", \"create\", \"v1\" or "
		"\"admin\""},
	    {"listener: { pool: { allow = []; }; };",
		":1: listener.pool.allow: is empty, so nothing could be asked "
		"there; name at least one, as [\"check\"]"},
	    {"listener: { pool: { allow = 1; }; };",
		":1: listener.pool.allow: has the wrong type; it must be a "
		"list of texts, as [\"a\", \"b\"]"},
	    {"cookie: { samesite = \"lax\"; };",
		":1: cookie.samesite: \"lax\" is wrong; it must be \"Lax\" or "
		"\"Strict\" or \"None\""},
	    {"session: { on_limit = \"kill\"; };",
		":1: session.on_limit: \"kill\" is wrong; it must be \"evict\" "
		"or \"refuse\""},
	    {"session: { csrf_unknown = true; };",
		":1: session.csrf_unknown: has the wrong type; it must be "
		"\"refuse\" or \"allow\""},
	    {"log: { level = \"loud\"; };",
		":1: log.level: \"loud\" is wrong; it must be \"error\" or "
		"\"warning\" or \"notice\" or \"info\" or \"debug\""},
	};

	(void)state;
	assert_all_refused(ALL(cases));
}

static void
numbers_out_of_range_are_refused(void **state)
{
	static const struct refusal cases[] = {
	    {"gateway: { workers = 201; };",
		":1: gateway.workers: 201 is out of range; it must be from 0 "
		"to 200"},
	    {"gateway: { workers = -1; };", ":1: gateway.workers: -1 is out of "
					    "range; it must be from 0 to 200"},
	    {"gateway: { workers_min = 0; };",
		":1: gateway.workers_min: 0 is out of range; it must be from 1 "
		"to 200"},
	    {"gateway: { max_requests = -1; };",
		":1: gateway.max_requests: -1 is out of range; it must be from "
		"0 to 1000000000"},
	    {"gateway: { request_timeout = \"0\"; };",
		":1: gateway.request_timeout: \"0\" is out of range; it must "
		"be from \"20 ms\" to \"1 min\""},
	    {"gateway: { request_timeout = \"2 min\"; };",
		":1: gateway.request_timeout: \"2 min\" is out of range; it "
		"must be from \"20 ms\" to \"1 min\""},
	    {"gateway: { params_max = \"1 KiB\"; };",
		":1: gateway.params_max: \"1 KiB\" is out of range; it must be "
		"from \"4 KiB\" to \"128 KiB\""},
	    {"gateway: { body_max = \"1 GiB\"; };",
		":1: gateway.body_max: \"1 GiB\" is out of range; it must be "
		"from \"1 KiB\" to \"1 MiB\""},
	    {"listener: { pool: { backlog = 0; }; };",
		":1: listener.pool.backlog: 0 is out of range; it must be from "
		"1 to 65535"},
	    {"policy: { a: { max_auth_age = \"401 d\"; }; };",
		":1: policy.a.max_auth_age: \"401 d\" is out of range; it must "
		"be from \"0\" to \"400 d\""},
	    {"session: { idle_timeout = \"0\"; };",
		":1: session.idle_timeout: \"0\" is out of range; it must be "
		"from \"1 s\" to \"400 d\""},
	    {"session: { absolute_timeout = \"401 d\"; };",
		":1: session.absolute_timeout: \"401 d\" is out of range; it "
		"must be from \"1 s\" to \"400 d\""},
	    {"session: { rotate_grace = \"1 h\"; };",
		":1: session.rotate_grace: \"1 h\" is out of range; it must be "
		"from \"0\" to \"10 min\""},
	    {"session: { data_max = \"65 KiB\"; };",
		":1: session.data_max: \"65 KiB\" is out of range; it must be "
		"from \"1 KiB\" to \"64 KiB\""},
	    {"session: { max_sessions = 10001; };",
		":1: session.max_sessions: 10001 is out of range; it must be "
		"from 0 to 10000"},
	    {"sqlite: { busy_timeout = \"0\"; };",
		":1: sqlite.busy_timeout: \"0\" is out of range; it must be "
		"from \"1 ms\" to \"1 min\""},
	    {"redis: { database = 16384; };",
		":1: redis.database: 16384 is out of range; it must be from 0 "
		"to 16383"},
	    {"redis: { timeout = \"0\"; };",
		":1: redis.timeout: \"0\" is out of range; it must be from \"1 "
		"ms\" to \"10 s\""},
	    {"fence: { poll_interval = \"0\"; };",
		":1: fence.poll_interval: \"0\" is out of range; it must be "
		"from \"50 ms\" to \"10 s\""},
	    {"fence: { max_blind = \"31 d\"; };",
		":1: fence.max_blind: \"31 d\" is out of range; it must be "
		"from \"0\" to \"30 d\" or \"off\""},
	    {"reap: { chunk = 0; };", ":1: reap.chunk: 0 is out of range; it "
				      "must be from 1 to 10000"},
	    {"reap: { ended_keep = \"23 h\"; };",
		":1: reap.ended_keep: \"23 h\" is out of range; it must be "
		"from \"1 d\" to \"3650 d\""},
	    {"reap: { audit_keep = \"0\"; };",
		":1: reap.audit_keep: \"0\" is out of range; it must be from "
		"\"1 d\" to \"36500 d\""},
	    {"limit: { bad_token_per_minute = -1; };",
		":1: limit.bad_token_per_minute: -1 is out of range; it must "
		"be "
		"from 0 to 1000000"},
	};

	(void)state;
	assert_all_refused(ALL(cases));
}

static void
wrong_texts_are_refused(void **state)
{
	static const struct refusal cases[] = {
	    {"gateway: { user = \"a b\"; };",
		":1: gateway.user: \"a b\" is wrong; it must be a name of "
		"letters, digits, '.', '_' and '-'"},
	    {"gateway: { runtime_dir = \"run\"; };",
		":1: gateway.runtime_dir: \"run\" is wrong; it must be an "
		"absolute path without a '/' at its end"},
	    {"gateway: { runtime_dir = \"/run/\"; };",
		":1: gateway.runtime_dir: \"/run/\" is wrong; it must be an "
		"absolute path without a '/' at its end"},
	    {"gateway: { runtime_dir = \"/a\\nb\"; };",
		":1: gateway.runtime_dir: holds a control character or bad "
		"UTF-8; it must be printable"},
	    {"gateway: { runtime_dir = \"/a\\xffb\"; };",
		":1: gateway.runtime_dir: holds a control character or bad "
		"UTF-8; it must be printable"},
	    {"gateway: { mount = \"sessgate/\"; };",
		":1: gateway.mount: \"sessgate/\" is wrong; it must be a path "
		"that begins and ends with '/', of plain segments, as "
		"\"/.sessgate/\""},
	    {"gateway: { mount = \"/sessgate\"; };",
		":1: gateway.mount: \"/sessgate\" is wrong; it must be a path "
		"that begins and ends with '/', of plain segments, as "
		"\"/.sessgate/\""},
	    {"gateway: { mount = \"\"; };",
		":1: gateway.mount: \"\" is wrong; it must be a path that "
		"begins and ends with '/', of plain segments, as "
		"\"/.sessgate/\""},
	    {"gateway: { mount = \"/a//b/\"; };",
		":1: gateway.mount: \"/a//b/\" is wrong; it must be a path "
		"that begins and ends with '/', of plain segments, as "
		"\"/.sessgate/\""},
	    {"gateway: { mount = \"/a/../b/\"; };",
		":1: gateway.mount: \"/a/../b/\" is wrong; it must be a path "
		"that begins and ends with '/', of plain segments, as "
		"\"/.sessgate/\""},
	    {"gateway: { mount = \"/%2e/\"; };",
		":1: gateway.mount: \"/%2e/\" is wrong; it must be a path that "
		"begins and ends with '/', of plain segments, as "
		"\"/.sessgate/\""},
	    {"gateway: { login_url = \"login\"; };",
		":1: gateway.login_url: \"login\" is wrong; it must be empty, "
		"a path as \"/login\", or http(s)://host/..."},
	    {"gateway: { login_url = \"//evil.example/\"; };",
		":1: gateway.login_url: \"//evil.example/\" is wrong; it must "
		"be empty, a path as \"/login\", or http(s)://host/..."},
	    {"gateway: { login_url = \"/\\\\evil.example/\"; };",
		":1: gateway.login_url: \"/\\evil.example/\" is wrong; it must "
		"be empty, a path as \"/login\", or http(s)://host/..."},
	    {"gateway: { login_url = \"javascript:alert(1)\"; };",
		":1: gateway.login_url: \"javascript:alert(1)\" is wrong; it "
		"must be empty, a path as \"/login\", or http(s)://host/..."},
	    {"gateway: { login_url = \"https://a@b/\"; };",
		":1: gateway.login_url: \"https://a@b/\" is wrong; it must be "
		"empty, a path as \"/login\", or http(s)://host/..."},
	    {"gateway: { return_to_allow = [\"https:///x\"]; };",
		":1: gateway.return_to_allow: \"https:///x\" is wrong; it must "
		"be a path as \"/start\", or http(s)://host/..."},
	    {"gateway: { trusted_proxies = [\"0.0.0.0/0\"]; };",
		":1: gateway.trusted_proxies: \"0.0.0.0/0\" is wrong; it must "
		"be an address or address/prefix as \"10.0.0.0/8\", and not "
		"everybody"},
	    {"gateway: { trusted_proxies = [\"::/0\"]; };",
		":1: gateway.trusted_proxies: \"::/0\" is wrong; it must be an "
		"address or address/prefix as \"10.0.0.0/8\", and not "
		"everybody"},
	    {"gateway: { trusted_proxies = [\"10.0.0.0/33\"]; };",
		":1: gateway.trusted_proxies: \"10.0.0.0/33\" is wrong; it "
		"must be an address or address/prefix as \"10.0.0.0/8\", and "
		"not everybody"},
	    {"gateway: { trusted_proxies = [\"proxy.example\"]; };",
		":1: gateway.trusted_proxies: \"proxy.example\" is wrong; it "
		"must be an address or address/prefix as \"10.0.0.0/8\", and "
		"not everybody"},
	    {"gateway: { trusted_proxies = [\"10.0.0.1/\"]; };",
		":1: gateway.trusted_proxies: \"10.0.0.1/\" is wrong; it must "
		"be an address or address/prefix as \"10.0.0.0/8\", and not "
		"everybody"},
	    {"listener: { pool: { address = \"/run/x\"; }; };",
		":1: listener.pool.address: \"/run/x\" is wrong; it must be "
		"\"unix:/path\" (path up to 107 bytes) or loopback as "
		"\"tcp:127.0.0.1:9000\""},
	    {"listener: { pool: { address = \"unix:x\"; }; };",
		":1: listener.pool.address: \"unix:x\" is wrong; it must be "
		"\"unix:/path\" (path up to 107 bytes) or loopback as "
		"\"tcp:127.0.0.1:9000\""},
	    {"listener: { x: { address = \"tcp:0.0.0.0:9000\"; }; };",
		":1: listener.x.address: \"tcp:0.0.0.0:9000\" is wrong; it "
		"must be \"unix:/path\" (path up to 107 bytes) or loopback as "
		"\"tcp:127.0.0.1:9000\""},
	    {"listener: { x: { address = \"tcp:10.0.0.1:9000\"; }; };",
		":1: listener.x.address: \"tcp:10.0.0.1:9000\" is wrong; it "
		"must be \"unix:/path\" (path up to 107 bytes) or loopback as "
		"\"tcp:127.0.0.1:9000\""},
	    {"listener: { x: { address = \"tcp:localhost:9000\"; }; };",
		":1: listener.x.address: \"tcp:localhost:9000\" is wrong; it "
		"must be \"unix:/path\" (path up to 107 bytes) or loopback as "
		"\"tcp:127.0.0.1:9000\""},
	    {"listener: { x: { address = \"tcp:127.0.0.1\"; }; };",
		":1: listener.x.address: \"tcp:127.0.0.1\" is wrong; it must "
		"be \"unix:/path\" (path up to 107 bytes) or loopback as "
		"\"tcp:127.0.0.1:9000\""},
	    {"listener: { x: { address = \"tcp:127.0.0.1:0\"; }; };",
		":1: listener.x.address: \"tcp:127.0.0.1:0\" is wrong; it must "
		"be \"unix:/path\" (path up to 107 bytes) or loopback as "
		"\"tcp:127.0.0.1:9000\""},
	    {"listener: { x: { address = \"tcp:127.0.0.1:65536\"; }; };",
		":1: listener.x.address: \"tcp:127.0.0.1:65536\" is wrong; it "
		"must be \"unix:/path\" (path up to 107 bytes) or loopback as "
		"\"tcp:127.0.0.1:9000\""},
	    {"listener: { x: { address = \"tcp:::1:9000\"; }; };",
		":1: listener.x.address: \"tcp:::1:9000\" is wrong; it must be "
		"\"unix:/path\" (path up to 107 bytes) or loopback as "
		"\"tcp:127.0.0.1:9000\""},
	    {"listener: { x: { address = \"tcp:[::2]:9000\"; }; };",
		":1: listener.x.address: \"tcp:[::2]:9000\" is wrong; it must "
		"be \"unix:/path\" (path up to 107 bytes) or loopback as "
		"\"tcp:127.0.0.1:9000\""},
	    {"listener: { x: { realm = \"a/b\"; }; };",
		":1: listener.x.realm: \"a/b\" is wrong; it must be \"*\" for "
		"any, or up to 64 of [A-Za-z0-9._-]"},
	    {"listener: { login: { roles = [\"a b\"]; }; };",
		":1: listener.login.roles: \"a b\" is wrong; it must be up to "
		"64 of [A-Za-z0-9._:-]"},
	    {"cookie: { name = \"\"; };", ":1: cookie.name: \"\" is wrong; it "
					  "must be up to 64 of [A-Za-z0-9_-]"},
	    {"cookie: { name = \"a=b\"; };",
		":1: cookie.name: \"a=b\" is wrong; it must be up to 64 of "
		"[A-Za-z0-9_-]"},
	    {"cookie: { path = \"a\"; };",
		":1: cookie.path: \"a\" is wrong; it must be a path that "
		"begins with '/', without ';' or blanks"},
	    {"cookie: { path = \"/;x\"; };",
		":1: cookie.path: \"/;x\" is wrong; it must be a path that "
		"begins with '/', without ';' or blanks"},
	    {"cookie: { domain = \".example.org\"; };",
		":1: cookie.domain: \".example.org\" is wrong; it must be a "
		"host name without a dot in front, or empty"},
	    {"session: { export_data = [\"a-b\"]; };",
		":1: session.export_data: \"a-b\" is wrong; it must be up to "
		"64 of [A-Za-z0-9_], as it becomes a variable's name"},
	    {"session: { origins = [\"https://A.example\"]; };",
		":1: session.origins: \"https://A.example\" is wrong; it must "
		"be as browsers send it: \"https://www.example.org\", lower "
		"case, without a path or a default port"},
	    {"session: { origins = [\"https://a.example/\"]; };",
		":1: session.origins: \"https://a.example/\" is wrong; it must "
		"be as browsers send it: \"https://www.example.org\", lower "
		"case, without a path or a default port"},
	    {"session: { origins = [\"https://a.example:443\"]; };",
		":1: session.origins: \"https://a.example:443\" is wrong; it "
		"must be as browsers send it: \"https://www.example.org\", "
		"lower case, without a path or a default port"},
	    {"session: { origins = [\"a.example\"]; };",
		":1: session.origins: \"a.example\" is wrong; it must be as "
		"browsers send it: \"https://www.example.org\", lower case, "
		"without a path or a default port"},
	    {"session: { origins = [\"null\"]; };",
		":1: session.origins: \"null\" is wrong; it must be as "
		"browsers send it: \"https://www.example.org\", lower case, "
		"without a path or a default port"},
	    {"keys: { file = \"\"; };",
		":1: keys.file: \"\" is wrong; it must be an absolute path "
		"without a '/' at its end"},
	    {"redis: { address = \"redis.example\"; };",
		":1: redis.address: \"redis.example\" is wrong; it must be "
		"\"unix:/path\" "
		"(path up to 107 bytes), or an address as \"10.0.0.1:6379\" "
		"or \"[2001:db8::1]:6379\"; names are not looked up"},
	    {"redis: { address = \"localhost:6379\"; };",
		":1: redis.address: \"localhost:6379\" is wrong; it must be "
		"\"unix:/path\" "
		"(path up to 107 bytes), or an address as \"10.0.0.1:6379\" "
		"or \"[2001:db8::1]:6379\"; names are not looked up"},
	    {"redis: { address = \"unix:redis.sock\"; };",
		":1: redis.address: \"unix:redis.sock\" is wrong; it must be "
		"\"unix:/path\" "
		"(path up to 107 bytes), or an address as \"10.0.0.1:6379\" "
		"or \"[2001:db8::1]:6379\"; names are not looked up"},
	    {"redis: { address = \"/run/redis.sock\"; };",
		":1: redis.address: \"/run/redis.sock\" is wrong; it must be "
		"\"unix:/path\" "
		"(path up to 107 bytes), or an address as \"10.0.0.1:6379\" "
		"or \"[2001:db8::1]:6379\"; names are not looked up"},
	    {"redis: { address = \"tcp:10.0.0.1:6379\"; };",
		":1: redis.address: \"tcp:10.0.0.1:6379\" is wrong; it must be "
		"\"unix:/path\" "
		"(path up to 107 bytes), or an address as \"10.0.0.1:6379\" "
		"or \"[2001:db8::1]:6379\"; names are not looked up"},
	    {"redis: { address = \"10.0.0.1:0\"; };",
		":1: redis.address: \"10.0.0.1:0\" is wrong; it must be "
		"\"unix:/path\" "
		"(path up to 107 bytes), or an address as \"10.0.0.1:6379\" "
		"or \"[2001:db8::1]:6379\"; names are not looked up"},
	    {"redis: { address = \"[::1]:65536\"; };",
		":1: redis.address: \"[::1]:65536\" is wrong; it must be "
		"\"unix:/path\" "
		"(path up to 107 bytes), or an address as \"10.0.0.1:6379\" "
		"or \"[2001:db8::1]:6379\"; names are not looked up"},
	    {"redis: { address = \"redis://10.0.0.1\"; };",
		":1: redis.address: \"redis://10.0.0.1\" is wrong; it must be "
		"\"unix:/path\" "
		"(path up to 107 bytes), or an address as \"10.0.0.1:6379\" "
		"or \"[2001:db8::1]:6379\"; names are not looked up"},
	    {"redis: { prefix = \"\"; };",
		":1: redis.prefix: \"\" is wrong; it must be up to 16 of "
		"[A-Za-z0-9_.-]"},
	    {"redis: { prefix = \"a b\"; };",
		":1: redis.prefix: \"a b\" is wrong; it must be up to 16 of "
		"[A-Za-z0-9_.-]"},
	    {"redis: { prefix = \"a:b\"; };",
		":1: redis.prefix: \"a:b\" is wrong; it must be up to 16 of "
		"[A-Za-z0-9_.-]"},
	    {"redis: { prefix = \"{1}\"; };",
		":1: redis.prefix: \"{1}\" is wrong; it must be up to 16 of "
		"[A-Za-z0-9_.-]"},
	    {"redis: { prefix = \"a*\"; };",
		":1: redis.prefix: \"a*\" is wrong; it must be up to 16 of "
		"[A-Za-z0-9_.-]"},
	    {"redis: { password_file = \"p\"; };",
		":1: redis.password_file: \"p\" is wrong; it must be empty, or "
		"an absolute path of up to 107 bytes"},
	    {"log: { destination = \"file:log\"; };",
		":1: log.destination: \"file:log\" is wrong; it must be "
		"\"stderr\", \"syslog\" or \"file:/path\""},
	    {"log: { destination = \"stdout\"; };",
		":1: log.destination: \"stdout\" is wrong; it must be "
		"\"stderr\", \"syslog\" or \"file:/path\""},
	};

	(void)state;
	assert_all_refused(ALL(cases));
}

static void
impossible_pairs_are_refused(void **state)
{
	static const struct refusal cases[] = {
	    {"gateway: {\n workers = 8;\n workers_max = 9; };",
		":3: gateway.workers_max: does not go with workers, a fixed "
		"number; set one or the other"},
	    {"gateway: { spare_min = 1; workers = 8; };",
		":1: gateway.spare_min: does not go with workers, a fixed "
		"number; set one or the other"},
	    {"gateway: { workers_max = 1; };",
		":1: gateway.workers_max: workers_max is below workers_min; "
		"set both"},
	    {"gateway: { workers = 0; workers_min = 20; };",
		":1: gateway.workers_min: workers_max is below workers_min; "
		"set both"},
	    {"gateway: { spare_min = 5; };", ":1: gateway.spare_min: spare_max "
					     "is below spare_min; set both"},
	    {"gateway: { spare_max = 20; spare_min = 17; };",
		":1: gateway.spare_min: spare_min is above workers_max, so it "
		"is never reached; lower it"},
	    {"gateway: { request_terminate_timeout = \"500 ms\"; };",
		":1: gateway.request_terminate_timeout: request_timeout must "
		"be below request_terminate_timeout, or workers are killed at "
		"work"},
	    {"gateway: { request_timeout = \"10 s\"; };",
		":1: gateway.request_timeout: request_timeout must be below "
		"request_terminate_timeout, or workers are killed at work"},
	    {"listener: { control: { allow = [\"check\"]; }; };",
		":1: listener.control.allow: control always has everything; "
		"remove it"},
	    {"listener: { control: { mode = \"0666\"; }; };",
		":1: listener.control.mode: everybody on this host could log "
		"in as anybody; it must be \"0660\" or less"},
	    {"listener: { control: { address = \"tcp:127.0.0.1:9\"; }; };",
		":1: listener.control.address: control has everything, so it "
		"must be a unix socket"},
	    {"listener: { login: { mode = \"0662\"; }; };",
		":1: listener.login.mode: everybody on this host could log in "
		"as anybody; it must be \"0660\" or less"},
	    {"listener: { inherited: { mode = \"0660\"; }; };",
		":1: listener.inherited.mode: fd 0 is made by whoever starts "
		"sessgated; remove it"},
	    {"listener: { inherited: { address = \"unix:/x\"; }; };",
		":1: listener.inherited.address: fd 0 is made by whoever "
		"starts sessgated; remove it"},
	    {"listener: { pool: { address = \"tcp:127.0.0.1:9\"; }; };",
		":1: listener.pool.address: anybody on this host can connect "
		"to a TCP port; it must be allow = [\"check\"] alone"},
	    {"listener: { x: { address = \"tcp:127.0.0.1:9\"; allow = "
	     "[\"check\", \"v1\"]; }; };",
		":1: listener.x.allow: anybody on this host can connect to a "
		"TCP port; it must be allow = [\"check\"] alone"},
	    {"listener: { x: { address = \"tcp:127.0.0.1:9\"; allow = "
	     "[\"check\"]; mode = \"0660\"; }; };",
		":1: listener.x.mode: a TCP port has no owner, group or mode; "
		"remove it"},
	    {"listener: { x: { address = \"unix:/run/sessgate/pool.sock\"; }; "
	     "};",
		":1: listener.x.address: another listener has this address; "
		"each needs its own"},
	    {"listener: { keeper: { }; };",
		":1: listener.keeper.address: keeper.sock is sessgated's own; "
		"choose another path"},
	    {"cookie: { secure = false; };",
		":1: cookie.secure: browsers drop a cookie __Host-... without "
		"Secure; for plain http set name = \"sid\""},
	    {"cookie: { name = \"__host-x\"; secure = \"no\"; };",
		":1: cookie.secure: browsers drop a cookie __Host-... without "
		"Secure; for plain http set name = \"sid\""},
	    {"cookie: { name = \"__Secure-x\"; secure = false; };",
		":1: cookie.secure: browsers drop a cookie __Secure-... "
		"without Secure; for plain http set name = \"sid\""},
	    {"cookie: { name = \"x\"; secure = false; samesite = \"None\"; };",
		":1: cookie.samesite: browsers drop a cookie with "
		"SameSite=None without Secure; use \"Lax\""},
	    {"cookie: { domain = \"example.org\"; };",
		":1: cookie.domain: browsers drop a cookie __Host-... with a "
		"Domain; set name = \"__Secure-sid\""},
	    {"cookie: { path = \"/a\"; };",
		":1: cookie.path: browsers drop a cookie __Host-... with "
		"another Path than /; set name = \"__Secure-sid\""},
	    {"session: { idle_timeout = \"9 h\"; };",
		":1: session.idle_timeout: idle_timeout is above "
		"absolute_timeout; it must be at most that"},
	    {"session: {\n absolute_timeout = \"10 min\"; };",
		":2: session.absolute_timeout: idle_timeout is above "
		"absolute_timeout; it must be at most that"},
	    {"session: { remember_idle_timeout = \"31 d\"; };",
		":1: session.remember_idle_timeout: remember_idle_timeout is "
		"above remember_absolute_timeout; it must be at most that"},
	    {"session: { idle_timeout = \"1 min\"; warn_before = \"2 min\"; };",
		":1: session.warn_before: is above idle_timeout, so it would "
		"always warn; it must be at most that"},
	    {"session: { export_data = [\"a\", \"b\"]; browser_writable = "
	     "[\"b\"]; };",
		":1: session.export_data: a member is also in "
		"browser_writable: browsers would choose what programs trust; "
		"keep it in one of them"},
	    {"session: { export_data = [\"cart\", \"x\", \"Cart\"]; };",
		":1: session.export_data: two members give the same variable "
		"(upper case); name it once"},
	    {"keys: { file = \"/a\"; }; sqlite: { file = \"/a\"; };",
		":1: sqlite.file: is also keys.file; each needs its own"},
	    {"mysql: { hosts = \"10.0.0.1\"; socket = \"/s\"; };",
		":1: mysql.socket: stands beside hosts; only one of them is "
		"possible"},
	    {"mysql: { socket = \"/s\"; }; sqlite: { file = \"/a\"; };",
		":1: sqlite.file: stands beside mysql.hosts or mysql.socket; "
		"sessions are in one store: remove one of them"},
	    {"mysql: { password_file = \"/p\"; };",
		":1: mysql.password_file: stands without hosts or socket; give "
		"one of them too"},
	    {"mysql: { hosts = \"localhost\"; };",
		":1: mysql.hosts: \"localhost\" is wrong; it must be an "
		"address as \"10.0.0.1\", or with a port as "
		"\"10.0.0.1:3306\" or \"[2001:db8::1]:3306\"; names are not "
		"looked up"},
	    {"mysql: { user = \"u\"; };",
		":1: mysql.user: stands without hosts or socket; give one of "
		"them too"},
	    {"redis: {\n address = \"unix:/r\"; };",
		":2: redis.address: stands without mysql.hosts or "
		"mysql.socket; copies in Redis are for hosts that share a "
		"MySQL, and SQLite is one host's: give one of them, or remove "
		"redis"},
	    {"sqlite: { file = \"/a\"; }; redis: { address = \"::1\"; };",
		":1: redis.address: stands without mysql.hosts or "
		"mysql.socket; copies in Redis are for hosts that share a "
		"MySQL, and SQLite is one host's: give one of them, or remove "
		"redis"},
	    {"redis: { sentinel = [\"redis.example\"]; };",
		":1: redis.sentinel: \"redis.example\" is wrong; it must be an "
		"address as \"10.0.0.1\", or with a port as "
		"\"10.0.0.1:26379\" or \"[2001:db8::1]:26379\"; names are not "
		"looked up"},
	    {"redis: { sentinel = [\"::1:26379\"]; };",
		":1: redis.sentinel: \"::1:26379\" is wrong; it must be an "
		"address as \"10.0.0.1\", or with a port as "
		"\"10.0.0.1:26379\" or \"[2001:db8::1]:26379\"; names are not "
		"looked up"},
	    {"redis: { address = \"::1:6379\"; };",
		":1: redis.address: \"::1:6379\" is wrong; it must be "
		"\"unix:/path\" "
		"(path up to 107 bytes), or an address as \"10.0.0.1:6379\" "
		"or \"[2001:db8::1]:6379\"; names are not looked up"},
	    {"mysql: { hosts = [\"2001:db8::1:3306\"]; };",
		":1: mysql.hosts: \"2001:db8::1:3306\" is wrong; it must be an "
		"address as \"10.0.0.1\", or with a port as "
		"\"10.0.0.1:3306\" or \"[2001:db8::1]:3306\"; names are not "
		"looked up"},
	    {"mysql: { hosts = [\"10.0.0.5\", \"10.0.0.6\",\n"
	     " \"10.0.0.5:3306\"]; };",
		":1: mysql.hosts: a server stands there twice; name each "
		"once"},
	    {"mysql: { socket = \"/s\"; };\n"
	     "redis: { master_name = \"m\";\n"
	     " sentinel = [\"::1\", \"[::1]:26379\"]; };",
		":3: redis.sentinel: a Sentinel stands there twice; name each "
		"once"},
	    {"redis: { master_name = \"a b\"; };",
		":1: redis.master_name: \"a b\" is wrong; it must be empty, or "
		"up to 64 of [A-Za-z0-9._-]"},
	    {"mysql: { socket = \"/s\"; }; redis: { address = \"::1\";\n "
	     "sentinel = [\"::2\"]; master_name = \"m\"; };",
		":2: redis.sentinel: stands beside address; with Sentinels "
		"remove address, without them remove sentinel and "
		"master_name"},
	    {"mysql: { socket = \"/s\"; };\nredis: { sentinel = [\"::2\"]; };",
		":2: redis.sentinel: stands without master_name; give the "
		"name of the line \"sentinel monitor NAME ...\""},
	    {"redis: { master_name = \"m\"; };",
		":1: redis.master_name: stands without sentinel; give the "
		"Sentinels' addresses, or remove it"},
	    {"redis: { sentinel_password_file = \"/p\"; };",
		":1: redis.sentinel_password_file: stands without sentinel; "
		"give the Sentinels' addresses, or remove it"},
	    {"redis: { sentinel = [\"::2\"]; master_name = \"m\"; };",
		":1: redis.sentinel: stands without mysql.hosts or "
		"mysql.socket; copies in Redis are for hosts that share a "
		"MySQL, and SQLite is one host's: give one of them, or remove "
		"redis"},
	    {"redis: { database = 1; };",
		":1: redis.database: stands without redis.address or "
		"redis.sentinel; give one of them too, or remove it"},
	    {"redis: { user = \"u\"; };",
		":1: redis.user: stands without redis.address or "
		"redis.sentinel; give one of them too, or remove it"},
	    {"redis: { password_file = \"/p\"; };",
		":1: redis.password_file: stands without redis.address or "
		"redis.sentinel; give one of them too, or remove it"},
	    {"mysql: { socket = \"/s\"; }; redis: { address = \"\";\n prefix = "
	     "\"p\"; };",
		":2: redis.prefix: stands without redis.address or "
		"redis.sentinel; give one of them too, or remove it"},
	    {"mysql: { socket = \"/s\"; }; redis: { address = \"::1\";\n "
	     "timeout = \"800 ms\"; };",
		":2: redis.timeout: redis.timeout must be below "
		"gateway.request_timeout, or a Redis that hangs leaves MySQL "
		"no time to answer"},
	    {"mysql: { socket = \"/s\"; }; redis: { address = \"::1\"; "
	     "};\ngateway: { request_timeout = \"50 ms\"; };",
		":2: gateway.request_timeout: redis.timeout must be below "
		"gateway.request_timeout, or a Redis that hangs leaves MySQL "
		"no time to answer"},
	};

	(void)state;
	assert_all_refused(ALL(cases));
}

static void
what_is_no_configuration_is_refused(void **state)
{
	static const struct refusal cases[] = {
	    {"gateway: {\n workers = ;\n};",
		":2: syntax error here or just before; write SECTION: { NAME = "
		"VALUE; ... }; (a text is \"in quotes\", yes and no are true "
		"and false)"},
	    {"gateway: {\n workers = 8\n",
		":4: syntax error here or just before; write SECTION: { NAME = "
		"VALUE; ... }; (a text is \"in quotes\", yes and no are true "
		"and false)"},
	    {"policy: { all: { anonymous = yes; }; };",
		":1: syntax error here or just before; write SECTION: { NAME = "
		"VALUE; ... }; (a text is \"in quotes\", yes and no are true "
		"and false)"},
	    {"gateway: { workers = 1;\n workers = 2; };",
		":2: this name stands here twice; keep one"},
	    {"gateway: { };\ngateway: { };",
		":2: this name stands here twice; keep one"},
	    {"gateway: { workers = 4294967304; };",
		":1: this number is too large; the largest is 2147483647"},
	    {"gateway: {\n workers = 0x100000008; };",
		":2: this number is too large; the largest is 2147483647"},
	    {"gateway: { workers = 4294967304L; };",
		":1: this number is too large; the largest is 2147483647"},
	    {"# a\n/* never\n closed\n gateway: { };",
		":2: this comment is never closed, and hides the rest; close "
		"it with */"},
	    {"gateway: { user = \"a;\n };",
		":1: this string is never closed; close it with \""},
	    {"@include \"", ":1: @include: write the path in quotes on this "
			    "line, relative to the main file's directory"},
	    {"@include \"/etc/passwd\"",
		":1: @include: write the path in quotes on this line, relative "
		"to the main file's directory"},
	    {"\n  @include \"nothing\"\n",
		":2: @include: this file cannot be read; it must be a plain "
		"file below the main file's directory"},
	    {"@include \"c\"\n",
		":1: @include: the files include each other, or are too many; "
		"at most 10 levels, 100 in all"},
	    {"@include \".\"\n",
		":1: @include: this file cannot be read; it must be a plain "
		"file below the main file's directory"},
	};

	(void)state;
	assert_all_refused(ALL(cases));
}

static void
files_that_cannot_be_read_are_refused(void **state)
{
	static char huge[1024 * 1024 + 1];
	struct sgate_conf *conf;
	struct sgate_error err;

	(void)state;
	unlink(path);
	assert_int_equal(
	    sgate_conf_load(path, NULL, &conf, &err), SGATE_INVALID);
	assert_non_null(strstr(err.text,
	    ": there is no such file; make one with `sessgatectl config "
	    "template`"));
	assert_int_equal(
	    sgate_conf_load(dir, NULL, &conf, &err), SGATE_INVALID);
	assert_non_null(strstr(err.text, ": is not a plain file"));
	assert_int_equal(
	    sgate_conf_load("/dev/zero", NULL, &conf, &err), SGATE_INVALID);
	assert_non_null(strstr(err.text, ": is not a plain file"));
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(
	    sgate_conf_load(path, NULL, &conf, &err), SGATE_INVALID);
	unlink(path);
	write_file(path, "log: {\0};", 9);
	assert_int_equal(
	    sgate_conf_load(path, NULL, &conf, &err), SGATE_INVALID);
	assert_non_null(strstr(err.text, "NUL byte"));
	memset(huge, '\n', sizeof(huge));
	write_file(path, huge, sizeof(huge));
	assert_int_equal(
	    sgate_conf_load(path, NULL, &conf, &err), SGATE_INVALID);
	assert_non_null(strstr(err.text, "larger than 1 MiB"));
	write_file(path, huge, sizeof(huge) - 2);
	assert_int_equal(sgate_conf_load(path, NULL, &conf, NULL), SGATE_OK);
	sgate_conf_free(conf);
}

static void
a_long_path_leaves_room_for_what_is_wrong(void **state)
{
	struct sgate_conf *conf;
	struct sgate_error err;
	char longer[400];
	char *end;

	(void)state;
	end = longer + sprintf(longer, "%s/", dir);
	while (strlen(longer) < 300)
		end += sprintf(end, "./");
	strcpy(end, "c");
	write_file(path, "cookie: { secure = false; };", 28);
	assert_int_equal(
	    sgate_conf_load(longer, NULL, &conf, &err), SGATE_INVALID);
	assert_memory_equal(err.text, "...", 3);
	assert_non_null(strstr(err.text, "/c:1: cookie.secure: browsers drop"));
	assert_non_null(strstr(err.text, "set name = \"sid\""));
}

static void
an_included_file_is_named_in_origins_and_refusals(void **state)
{
	struct sgate_conf *conf;
	char included[80], expected[100];
	struct buf value = {0}, origin = {0};

	(void)state;
	snprintf(included, sizeof(included), "%s/more", dir);
	write_file(included, "\nworkers = 5;\n", 14);
	conf = loaded("gateway: {\n@include \"more\"\n};\n"
		      "log: { level = \"info\"; }; # at the end",
	    NULL);
	assert_int_equal(conf->gateway.workers, 5);
	assert_int_equal(conf->log.level, LOG_LEVEL_INFO);
	assert_true(conf_value(conf, 4, 0, &value, &origin));
	snprintf(expected, sizeof(expected), "%s:2", included);
	assert_string_equal(buf_text(&origin), expected);
	sgate_conf_free(conf);

	write_file(included, "\n\nworkers = 500;\n", 17);
	assert_refused("gateway: {\n@include \"more\"\n};", NULL,
	    "/more:3: gateway.workers: 500 is out of range; it must be from 0 "
	    "to 200");
	write_file(included, "workers = ;\n", 12);
	assert_refused("gateway: {\n@include \"more\"\n};", NULL,
	    "/more:1: syntax error here or just before; write SECTION: { "
	    "NAME = VALUE; ... }; (a text is \"in quotes\", yes and no are "
	    "true and false)");
	write_file(included, "workers = 5; # no newline", 25);
	assert_refused("gateway: {\n@include \"more\"\n};", NULL,
	    "/more:1: an included file may not end in a comment without a "
	    "newline; add one");
	/* What is no include is left alone. */
	conf = loaded("# @include \".\"\n/*\n@include \".\"\n*/\n"
		      "log: { level = \"info\"; }; // @include \".\"\n",
	    NULL);
	sgate_conf_free(conf);
	buf_clear(&value);
	buf_clear(&origin);
	unlink(included);
}

/* ---- copies and reloads ---- */

static void
a_copy_is_independent(void **state)
{
	struct sgate_conf *conf = loaded(all_changed, "log.level=error");
	struct buf a = {0}, b = {0};
	struct sgate_conf *copy, *copy_of_copy;

	(void)state;
	print_all(conf, true, &a);
	copy = conf_dup(conf);
	assert_non_null(copy);
	copy_of_copy = conf_dup(copy);
	sgate_conf_free(conf);
	sgate_conf_free(copy);
	print_all(copy_of_copy, true, &b);
	assert_string_equal(buf_text(&a), buf_text(&b));
	assert_string_equal(copy_of_copy->path, path);
	assert_string_equal(
	    conf_listener(copy_of_copy, "auth")->address, "tcp:[::1]:9000");
	sgate_conf_free(copy_of_copy);
	buf_clear(&a);
	buf_clear(&b);
}

static void
a_reload_names_what_needs_a_restart(void **state)
{
	struct sgate_conf *old = loaded("listener: { a: { }; b: { }; };", NULL);
	struct sgate_conf *same = loaded(
	    "gateway: { workers = 3; };\n"
	    "listener: { b: { allow = [\"api\"]; realm = \"x\"; }; a: { }; };\n"
	    "policy: { staff: { }; };\n",
	    NULL);
	struct sgate_conf *other =
	    loaded("gateway: { runtime_dir = \"/r\"; workers = 3; };\n"
		   "cookie: { name = \"__Secure-x\"; max_age = \"1 d\"; };\n"
		   "listener: { a: { address = \"unix:/a\"; }; c: { }; };\n",
		NULL);
	struct buf out = {0};

	(void)state;
	conf_not_reloadable(old, same, &out);
	assert_string_equal(buf_text(&out), "");
	conf_not_reloadable(old, other, &out);
	assert_string_equal(buf_text(&out),
	    "gateway.runtime_dir\ncookie.name\n"
	    "listener.pool.address\nlistener.control.address\n"
	    "listener.a.address\nlistener.c\nlistener.b\n");
	buf_clear(&out);
	sgate_conf_free(old);
	sgate_conf_free(same);
	sgate_conf_free(other);
}

/* ---- damaged files ---- */

static uint64_t
next_random(uint64_t *seed)
{
	/* Marsaglia's xorshift64: the same files on every machine. */
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static size_t
mutate(char *text, size_t len, size_t max, uint64_t *seed)
{
	static const char *const pieces[] = {"\"", "{", "}", "[", "]", "(", ")",
	    ";", "=", "/*", "*/", "#", "\n", "\\", "\xff", "\x01",
	    "\n@include \"c\"\n", "\n@include \".\"\n", "99999999999", "-",
	    "1.5e9", "0x", "\"30 min\"", "listener", "a.b", "\\x00"};
	const char *piece =
	    pieces[next_random(seed) % (sizeof(pieces) / sizeof(pieces[0]))];
	size_t at = next_random(seed) % (len + 1);
	size_t rest = len - at;
	size_t cut;

	switch (next_random(seed) % 4) {
	case 0: /* cut the end off */
		return at;
	case 1: /* remove some */
		cut = next_random(seed) % 20;
		if (cut > rest)
			cut = rest;
		memmove(text + at, text + at + cut, rest - cut);
		return len - cut;
	case 2: /* change one byte */
		if (rest > 0)
			text[at] = (char)next_random(seed);
		return len;
	default: /* put something in */
		if (len + strlen(piece) > max)
			return len;
		memmove(text + at + strlen(piece), text + at, rest);
		memcpy(text + at, piece, strlen(piece));
		return len + strlen(piece);
	}
}

static void
a_thousand_damaged_files_are_loaded_or_refused(void **state)
{
	uint64_t seed = UINT64_C(88172645463325252);
	char text[sizeof(all_changed) + 512];
	struct sgate_conf *conf, *copy;
	struct sgate_error err;
	unsigned good = 0, bad = 0;
	int i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		size_t len = sizeof(all_changed) - 1;
		uint64_t changes = 1 + next_random(&seed) % 3;

		memcpy(text, all_changed, len);
		while (changes-- > 0)
			len = mutate(text, len, sizeof(text), &seed);
		write_file(path, text, len);
		if (sgate_conf_load(path, NULL, &conf, &err) == SGATE_OK) {
			copy = conf_dup(conf);
			assert_non_null(copy);
			sgate_conf_free(copy);
			sgate_conf_free(conf);
			good++;
		} else {
			assert_int_equal(err.status, SGATE_INVALID);
			assert_null(conf);
			assert_true(strlen(err.text) > 10);
			bad++;
		}
	}
	/* Both ways were walked. */
	assert_true(good > 10 && bad > 100);
}

static void
deep_and_wide_files_end(void **state)
{
	struct buf text = {0};
	struct sgate_conf *conf;
	struct sgate_error err;
	int i;

	(void)state;
	buf_add_text(&text, "gateway: { workers = ");
	for (i = 0; i < 200000; i++)
		buf_add_char(&text, '(');
	assert_int_equal(
	    load(buf_text(&text), NULL, &conf, &err), SGATE_INVALID);
	buf_reset(&text);
	buf_add_text(&text, "policy: {\n");
	for (i = 0; i < 300; i++)
		buf_printf(&text, "p%d: { csrf = true; };\n", i);
	buf_add_text(&text, "};");
	assert_refused(buf_text(&text), NULL,
	    ":258: policy: there are too many; at most 256");
	buf_reset(&text);
	buf_add_text(&text, "session: { admin_roles = [");
	for (i = 0; i < 257; i++)
		buf_printf(&text, "%s\"r%d\"", i == 0 ? "" : ",", i);
	buf_add_text(&text, "]; };");
	assert_refused(buf_text(&text), NULL,
	    ":1: session.admin_roles: has too many items; at most 256");
	buf_reset(&text);
	buf_add_text(&text, "gateway: { runtime_dir = \"/");
	for (i = 0; i < 90; i++)
		buf_add_char(&text, 'x');
	buf_add_text(&text, "\"; };");
	conf = loaded(buf_text(&text), NULL);
	sgate_conf_free(conf);
	text.len -= strlen("\"; };");
	buf_add_text(&text, "xxxx\"; };");
	assert_refused(buf_text(&text), NULL,
	    ":1: gateway.runtime_dir: is too long: with /NAME.sock of every "
	    "listener it must be up to 107 bytes");
	buf_clear(&text);
}

static void
words_of_allow_are_bits(void **state)
{
	(void)state;
	assert_int_equal(conf_allow_parse("check"), CONF_ALLOW_CHECK);
	assert_int_equal(
	    conf_allow_parse("remote-user"), CONF_ALLOW_REMOTE_USER);
	assert_int_equal(conf_allow_parse("all"), 0);
	assert_int_equal(conf_allow_parse(""), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(defaults_are_what_is_documented),
    cmocka_unit_test(the_template_as_it_is_gives_the_defaults),
    cmocka_unit_test(every_default_survives_template_and_load),
    cmocka_unit_test(the_template_s_policy_is_a_policy_with_defaults),
    cmocka_unit_test(every_option_can_be_changed),
    cmocka_unit_test(redis_is_at_a_socket_or_an_address),
    cmocka_unit_test(blind_time_has_an_end_none_or_is_never),
    cmocka_unit_test(values_print_as_the_file_writes_them),
    cmocka_unit_test(quotes_and_backslashes_are_printed_escaped),
    cmocka_unit_test(overrides_come_after_the_file),
    cmocka_unit_test(overrides_that_are_wrong_are_refused),
    cmocka_unit_test(names_that_are_not_known_are_refused),
    cmocka_unit_test(wrong_types_and_units_are_refused),
    cmocka_unit_test(numbers_out_of_range_are_refused),
    cmocka_unit_test(wrong_texts_are_refused),
    cmocka_unit_test(impossible_pairs_are_refused),
    cmocka_unit_test(what_is_no_configuration_is_refused),
    cmocka_unit_test(files_that_cannot_be_read_are_refused),
    cmocka_unit_test(a_long_path_leaves_room_for_what_is_wrong),
    cmocka_unit_test(an_included_file_is_named_in_origins_and_refusals),
    cmocka_unit_test(a_copy_is_independent),
    cmocka_unit_test(a_reload_names_what_needs_a_restart),
    cmocka_unit_test(a_thousand_damaged_files_are_loaded_or_refused),
    cmocka_unit_test(deep_and_wide_files_end),
    cmocka_unit_test(words_of_allow_are_bits)};

TAP_MAIN_WITH(tests, set_up, tear_down)
