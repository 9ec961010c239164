/*
 * The commands that work without the daemon: configuration, keys, service
 * keys. The store's tables: ctl_db.c.
 *
 * What opens the store does so as the gateway's user: a file that root makes
 * beside the database would lock the gateway out.
 */
#include "config.h"

#include "ctl.h"

#include "clock.h"
#include "keys.h"
#include "session_manager.h"
#include "user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- configuration ---- */

enum ctl_exit
ctl_config_check(struct ctl *ctl)
{
	const struct sgate_conf *conf = ctl_conf(ctl);

	if (conf == NULL)
		return CTL_NO;
	if (ctl->json)
		puts("{\"ok\":true}");
	else if (conf->path[0] == '\0')
		puts("no configuration file: the defaults are used");
	else
		printf("%s is right\n", conf->path);
	if (!ctl->json)
		printf("sessions are kept in %s%s\n",
		    conf_has_mysql(conf) ? "mysql" : "the file ",
		    conf_has_mysql(conf) ? "" : conf->sqlite.file);
	return CTL_YES;
}

/* How many sections of that name there are. */
static size_t
count_sections(const struct sgate_conf *conf, const char *name)
{
	if (strcmp(name, "listener") == 0)
		return conf->listeners_count;
	if (strcmp(name, "policy") == 0)
		return conf->policies_count;
	return 1;
}

struct shown {
	struct ctl_table table;
	struct buf text;
	struct json json;
};

static void
show_option(struct shown *shown, const struct sgate_conf *conf, size_t index,
    size_t section)
{
	const struct conf_option *option = conf_option(index);
	struct buf name = {0}, value = {0}, origin = {0};

	if (conf_value(conf, index, section, &value, &origin)) {
		conf_option_name(conf, option, section, &name);
		ctl_table_add(&shown->table, buf_bytes(&name));
		ctl_table_add(&shown->table, buf_bytes(&value));
		ctl_table_add(&shown->table, buf_bytes(&origin));
		json_object(&shown->json, NULL);
		json_string(&shown->json, "name", buf_bytes(&name));
		json_string(&shown->json, "value", buf_bytes(&value));
		json_string(&shown->json, "origin", buf_bytes(&origin));
		json_bool(&shown->json, "reloadable", option->is_reloadable);
		json_end(&shown->json);
	}
	buf_clear(&name);
	buf_clear(&value);
	buf_clear(&origin);
}

/* All of one listener, then all of the next. Where the next section begins. */
static size_t
show_section(struct shown *shown, const struct sgate_conf *conf, size_t first)
{
	const char *name = conf_option(first)->section;
	const struct conf_option *option;
	size_t section, i, end = first;

	while ((option = conf_option(end)) != NULL &&
	       strcmp(option->section, name) == 0)
		end++;
	for (section = 0; section < count_sections(conf, name); section++)
		for (i = first; i < end; i++)
			show_option(shown, conf, i, section);
	return end;
}

/* Prints what a local command made, either way. */
static enum ctl_exit
print_either(struct ctl *ctl, struct ctl_table *table, struct buf *json)
{
	enum ctl_exit code = CTL_YES;

	if (!ctl->json)
		code = ctl_print(table);
	else if (buf_failed(json))
		code = ctl_fail_memory();
	else
		puts(buf_text(json));
	ctl_table_clear(table);
	buf_clear(json);
	return code;
}

enum ctl_exit
ctl_config_show(struct ctl *ctl)
{
	static const char *const headers[] = {"OPTION", "VALUE", "FROM"};
	const struct sgate_conf *conf = ctl_conf(ctl);
	struct shown shown = {0};
	size_t i = 0;

	if (conf == NULL)
		return CTL_USAGE;
	ctl_table_init(&shown.table, 3, headers);
	json_init(&shown.json, &shown.text);
	json_object(&shown.json, NULL);
	json_array(&shown.json, "options");
	while (conf_option(i) != NULL)
		i = show_section(&shown, conf, i);
	json_end(&shown.json);
	json_end(&shown.json);
	return print_either(ctl, &shown.table, &shown.text);
}

enum ctl_exit
ctl_config_template(struct ctl *ctl)
{
	struct buf text = {0};

	(void)ctl;
	conf_template(&text);
	if (buf_failed(&text))
		return ctl_fail_memory();
	fputs(buf_text(&text), stdout);
	buf_clear(&text);
	return CTL_YES;
}

/* ---- keys ---- */

static bool
parse_key_id(const char *text, uint8_t *out_id)
{
	uint64_t number;

	if (!bytes_to_uint(bytes_of(text), 255, &number) || number == 0) {
		ctl_fail(CTL_USAGE, "a key's ID is a number of 1 to 255");
		return false;
	}
	*out_id = (uint8_t)number;
	return true;
}

enum ctl_exit
ctl_key_new(struct ctl *ctl)
{
	const struct sgate_conf *conf = ctl_conf(ctl);
	struct sgate_error err;
	uint8_t id;

	if (conf == NULL)
		return CTL_USAGE;
	if (keys_file_new(conf->keys.file, ctl->now_ms, &id, &err) != SGATE_OK)
		return ctl_fail_error(&err);
	if (ctl->json) {
		printf("{\"id\":%d}\n", (int)id);
		return CTL_YES;
	}
	printf("key %d is in %s; it only verifies so far.\n"
	       "Next: copy the file to every gateway host, reload the gateways "
	       "(SIGHUP), then\n  sessgatectl key use %d\n",
	    (int)id, conf->keys.file, (int)id);
	return CTL_YES;
}

enum ctl_exit
ctl_key_list(struct ctl *ctl)
{
	static const char *const headers[] = {
	    "ID", "USE", "MADE", "STOPPED SIGNING", "CAN BE RETIRED"};
	const struct sgate_conf *conf = ctl_conf(ctl);
	struct keys *keys = NULL;
	struct keys_info info;
	struct ctl_table table;
	struct buf text = {0};
	struct json json;
	struct sgate_error err;
	int64_t free_ms;
	size_t i;

	if (conf == NULL)
		return CTL_USAGE;
	if (keys_load(conf->keys.file, &keys, &err) != SGATE_OK)
		return ctl_fail_error(&err);
	ctl_table_init(&table, 5, headers);
	json_init(&json, &text);
	json_object(&json, NULL);
	json_array(&json, "keys");
	for (i = 0; i < keys_count(keys); i++) {
		info = keys_info(keys, i);
		free_ms =
		    info.stopped_ms == 0
			? 0
			: info.stopped_ms + conf_largest_absolute_ms(conf);
		ctl_table_int(&table, info.id);
		ctl_table_text(&table, info.signs ? "signs" : "verifies");
		ctl_table_time(&table, info.created_ms, ctl->now_ms);
		ctl_table_time(&table, info.stopped_ms, ctl->now_ms);
		ctl_table_time(&table, free_ms, ctl->now_ms);
		json_object(&json, NULL);
		json_int(&json, "id", info.id);
		json_bool(&json, "signs", info.signs);
		json_int(&json, "created_at", info.created_ms / 1000);
		if (info.stopped_ms == 0)
			json_null(&json, "stopped_at");
		else
			json_int(&json, "stopped_at", info.stopped_ms / 1000);
		json_end(&json);
	}
	json_end(&json);
	json_end(&json);
	keys_free(keys);
	return print_either(ctl, &table, &text);
}

enum ctl_exit
ctl_key_retire(struct ctl *ctl)
{
	const struct sgate_conf *conf;
	struct sgate_error err;
	uint8_t id;

	if (!parse_key_id(ctl->args.arguments[0], &id))
		return CTL_USAGE;
	conf = ctl_conf(ctl);
	if (conf == NULL)
		return CTL_USAGE;
	if (keys_file_retire(conf->keys.file, id, ctl->now_ms,
		conf_largest_absolute_ms(conf), &err) != SGATE_OK)
		return ctl_fail_error(&err);
	if (ctl->json)
		puts("{\"ok\":true}");
	else
		printf("key %d is removed.\nNext: copy the file to every "
		       "gateway host and reload the gateways (SIGHUP).\n",
		    (int)id);
	return CTL_YES;
}

/* ---- the store ---- */

/* Give root up for the gateway's user. False: said why not. */
bool
ctl_become_gateway(const struct sgate_conf *conf)
{
	struct sgate_error err;
	struct user user;

	/* Tried out by root, with no user to become: as it is. */
	if (conf->gateway.user[0] == '\0' ||
	    (user_resolve(conf, &user, &err) == SGATE_OK &&
		user_become(&user, &err) == SGATE_OK))
		return true;
	ctl_fail_error(&err);
	return false;
}

struct sgate_manager *
ctl_open_manager(struct ctl *ctl)
{
	const struct sgate_conf *conf = ctl_conf(ctl);
	const struct sgate_caller caller = {.realm = bytes_of(ctl->realm),
	    .actor = bytes_of("sessgatectl"),
	    .budget_ms = ctl->timeout_ms};
	struct sgate_manager *mgr = NULL;
	struct sgate_error err;

	if (conf == NULL || !ctl_become_gateway(conf))
		return NULL;
	if (sgate_manager_new(conf, NULL, &mgr, &err) == SGATE_OK &&
	    sgate_manager_set_caller(mgr, &caller, &err) == SGATE_OK)
		return mgr;
	ctl_fail_error(&err);
	sgate_manager_free(mgr);
	return NULL;
}

/* False: said that the file has no such key. */
static bool
is_known_key(struct ctl *ctl, const struct sgate_manager *mgr, uint8_t id)
{
	const struct keys *keys = manager_keys(mgr);
	size_t i;

	for (i = 0; i < keys_count(keys); i++)
		if (keys_info(keys, i).id == id)
			return true;
	ctl_fail(CTL_NO,
	    "%s: there is no key %u; `sessgatectl key list` shows them",
	    ctl_conf(ctl)->keys.file, (unsigned)id);
	return false;
}

/*
 * Whether all hosts have the key: asked in a process of its own, because the
 * key file may need root afterwards and the store must not be opened as root.
 */
static enum ctl_exit
ask_hosts(struct ctl *ctl, uint8_t id)
{
	struct sgate_manager *mgr;
	struct sgate_error err;
	enum ctl_exit code = CTL_UNAVAILABLE;
	pid_t pid, got;
	int status = 0;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return ctl_fail(CTL_UNAVAILABLE, "fork: %s", strerror(errno));
	if (pid == 0) {
		mgr = ctl_open_manager(ctl);
		if (mgr != NULL && !is_known_key(ctl, mgr, id))
			code = CTL_NO;
		else if (mgr != NULL)
			code =
			    manager_key_is_everywhere(mgr, id, &err) == SGATE_OK
				? CTL_YES
				: ctl_fail_error(&err);
		sgate_manager_free(mgr);
		_exit((int)code);
	}
	do
		got = waitpid(pid, &status, 0);
	while (got < 0 && errno == EINTR);
	if (got != pid || !WIFEXITED(status))
		return ctl_fail(CTL_UNAVAILABLE, "the store was not asked");
	return (enum ctl_exit)WEXITSTATUS(status);
}

enum ctl_exit
ctl_key_use(struct ctl *ctl)
{
	const struct sgate_conf *conf;
	struct sgate_error err;
	enum ctl_exit code;
	uint8_t id;

	if (!parse_key_id(ctl->args.arguments[0], &id))
		return CTL_USAGE;
	conf = ctl_conf(ctl);
	if (conf == NULL)
		return CTL_USAGE;
	code = ask_hosts(ctl, id);
	if (code != CTL_YES)
		return code;
	if (keys_file_use(conf->keys.file, id, ctl->now_ms, &err) != SGATE_OK)
		return ctl_fail_error(&err);
	if (ctl->json)
		puts("{\"ok\":true}");
	else
		printf("key %d signs as soon as the gateways have read it.\n"
		       "Next: copy the file to every gateway host and reload "
		       "the gateways (SIGHUP).\n",
		    (int)id);
	return CTL_YES;
}

/* ---- service keys ---- */

static bool
check_scopes(const char *scopes)
{
	static const char *const known[] = {
	    "create", "introspect", "manage", "admin", NULL};
	size_t len, i;

	do {
		len = strcspn(scopes, ",");
		for (i = 0; known[i] != NULL; i++)
			if (strlen(known[i]) == len &&
			    strncmp(known[i], scopes, len) == 0)
				break;
		if (known[i] == NULL) {
			ctl_fail(CTL_USAGE,
			    "--scope: \"%.*s\" is none of create, introspect, "
			    "manage, admin",
			    (int)(len < 40 ? len : 40), scopes);
			return false;
		}
		scopes += len + (scopes[len] == ',');
	} while (*scopes != '\0');
	return true;
}

/* Fills in what the command line says. False: said what is wrong. */
static bool
read_service(const struct ctl *ctl, struct durable_service *out)
{
	const char *name = ctl->args.arguments[0];
	const char *scopes = ctl_args_get(&ctl->args, "scope");
	int64_t life_ms;

	memset(out, 0, sizeof(*out));
	if (!bytes_is_name(bytes_of(name), sizeof(out->name) - 1, "._-")) {
		ctl_fail(CTL_USAGE,
		    "a service's name is 1 to %zu of [A-Za-z0-9._-]",
		    sizeof(out->name) - 1);
		return false;
	}
	if (scopes == NULL) {
		ctl_fail(CTL_USAGE,
		    "--scope is needed: what may %s do? create, introspect, "
		    "manage, admin",
		    name);
		return false;
	}
	if (ctl_args_at(&ctl->args, "scope", 1) != NULL) {
		ctl_fail(CTL_USAGE,
		    "--scope: give it once, with commas between what %s may do",
		    name);
		return false;
	}
	if (strlen(scopes) >= sizeof(out->scopes) || !check_scopes(scopes) ||
	    !ctl_get_duration(ctl, "expires", &life_ms))
		return false;
	snprintf(out->name, sizeof(out->name), "%s", name);
	snprintf(out->scopes, sizeof(out->scopes), "%s", scopes);
	out->has_realm = ctl_args_has(&ctl->args, "realm");
	snprintf(out->realm, sizeof(out->realm), "%s", ctl->realm);
	out->created_ms = ctl->now_ms;
	out->expires_ms = life_ms == 0 ? 0 : ctl->now_ms + life_ms;
	return true;
}

enum ctl_exit
ctl_service_add(struct ctl *ctl)
{
	struct durable_service service;
	char key[MANAGER_SERVICE_KEY_LEN + 1] = "";
	struct sgate_manager *mgr;
	struct sgate_error err;
	enum ctl_exit code = CTL_YES;

	if (!read_service(ctl, &service))
		return CTL_USAGE;
	mgr = ctl_open_manager(ctl);
	if (mgr == NULL)
		return CTL_UNAVAILABLE;
	if (manager_service_add(mgr, &service, key, &err) != SGATE_OK)
		code = ctl_fail_error(&err);
	else if (ctl->json)
		printf("{\"name\":\"%s\",\"key\":\"%s\"}\n", service.name, key);
	else
		printf("%s\n", key);
	if (code == CTL_YES && !ctl->json)
		fprintf(stderr,
		    "This is the key of %s. It is shown only now.\n"
		    "It goes into the header \"Authorization: Bearer KEY\".\n",
		    service.name);
	explicit_bzero(key, sizeof(key));
	sgate_manager_free(mgr);
	return code;
}

struct services {
	struct ctl_table table;
	struct buf text;
	struct json json;
	int64_t now_ms;
};

static int
add_service(void *arg, const struct durable_service *service)
{
	struct services *s = arg;
	bool is_expired =
	    service->expires_ms != 0 && service->expires_ms <= s->now_ms;

	ctl_table_text(&s->table, service->name);
	ctl_table_text(&s->table, service->scopes);
	if (!service->has_realm)
		ctl_table_text(&s->table, "(all)");
	else if (service->realm[0] == '\0')
		ctl_table_text(&s->table, "(default)");
	else
		ctl_table_text(&s->table, service->realm);
	ctl_table_time(&s->table, service->created_ms, s->now_ms);
	ctl_table_time(&s->table, service->expires_ms, s->now_ms);
	json_object(&s->json, NULL);
	json_text(&s->json, "name", service->name);
	json_text(&s->json, "scopes", service->scopes);
	if (service->has_realm)
		json_text(&s->json, "realm", service->realm);
	else
		json_null(&s->json, "realm");
	json_int(&s->json, "created_at", service->created_ms / 1000);
	if (service->expires_ms != 0)
		json_int(&s->json, "expires_at", service->expires_ms / 1000);
	else
		json_null(&s->json, "expires_at");
	json_bool(&s->json, "expired", is_expired);
	json_end(&s->json);
	return 0;
}

enum ctl_exit
ctl_service_list(struct ctl *ctl)
{
	static const char *const headers[] = {
	    "NAME", "SCOPES", "REALM", "MADE", "EXPIRES"};
	struct services services = {.now_ms = ctl->now_ms};
	struct sgate_manager *mgr = ctl_open_manager(ctl);
	struct sgate_error err;
	enum sgate_status status;

	if (mgr == NULL)
		return CTL_UNAVAILABLE;
	ctl_table_init(&services.table, 5, headers);
	json_init(&services.json, &services.text);
	json_object(&services.json, NULL);
	json_array(&services.json, "services");
	status = manager_service_list(mgr, add_service, &services, &err);
	json_end(&services.json);
	json_end(&services.json);
	sgate_manager_free(mgr);
	if (status == SGATE_OK)
		return print_either(ctl, &services.table, &services.text);
	ctl_table_clear(&services.table);
	buf_clear(&services.text);
	return ctl_fail_error(&err);
}

enum ctl_exit
ctl_service_remove(struct ctl *ctl)
{
	const char *name = ctl->args.arguments[0];
	struct sgate_manager *mgr = ctl_open_manager(ctl);
	struct sgate_error err;
	enum ctl_exit code = CTL_YES;

	if (mgr == NULL)
		return CTL_UNAVAILABLE;
	if (manager_service_remove(mgr, name, &err) != SGATE_OK)
		code = ctl_fail_error(&err);
	sgate_manager_free(mgr);
	if (code == CTL_YES && ctl->json)
		puts("{\"ok\":true}");
	else if (code == CTL_YES)
		printf("%s has no key any more\n", name);
	return code;
}
