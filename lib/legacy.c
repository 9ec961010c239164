/*
 * The table of readers, and what all of them have in common: whose session it
 * is, whether it lives, and what of its data ours can have.
 */
#include "config.h"

#include "legacy_own.h"

#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "status.h"

#define MINUTE (INT64_C(60) * 1000)
#define HOUR (60 * MINUTE)
#define USER_ID_MAX 128

static const char *const old_columns[] = {"user_id", "platform_connection_id",
    "created_at", "last_activity", "expires_at", "is_active", NULL};
/* LemonLDAP::NG's first. */
static const char *const apache_user_keys[] = {"_whatToTrace", "user_id",
    "userid", "uid", "username", "user_name", "login", "user", NULL};
/* "<AuthName>-user". */
static const char *const mod_session_user_keys[] = {"*-user", NULL};
static const char *const django_user_keys[] = {"_auth_user_id", NULL};

static const struct legacy_reader readers[] = {
    {.name = "connect-redis",
	.help = "express-session of Node.js with connect-redis: Redis",
	.places = LEGACY_REDIS,
	.format = legacy_json,
	.layout = legacy_layout_connect,
	.prefix = "sess:"},
    {.name = "old-redis",
	.help =
	    "the Python session managers before sessgate: Redis, JSON texts "
	    "and hashes",
	.places = LEGACY_REDIS,
	.format = legacy_fields,
	.layout = legacy_layout_old,
	.prefix = "vedfolnir:session:",
	.lifetime_ms = 2 * HOUR},
    {.name = "old-table",
	.help = "the same managers' table user_sessions: MySQL or SQLite",
	.places = LEGACY_TABLE,
	.format = legacy_fields,
	.layout = legacy_layout_old,
	.table = "user_sessions",
	.id_column = "session_id",
	.columns = old_columns,
	.lifetime_ms = 2 * HOUR},
    {.name = "django",
	.help = "Django 3.1 and later, django_session: MySQL or SQLite",
	.places = LEGACY_TABLE,
	.format = legacy_django,
	.layout = legacy_layout_django,
	.table = "django_session",
	.id_column = "session_key",
	.data_column = "session_data",
	.expiry_column = "expire_date",
	.user_keys = django_user_keys,
	.needs_secret = true},
    {.name = "cgi-session",
	.help = "Perl's CGI::Session (Data::Dumper, Storable, JSON): a "
		"directory, MySQL or SQLite",
	.places = LEGACY_FILES | LEGACY_TABLE,
	.format = legacy_perl,
	.layout = legacy_layout_cgi,
	.prefix = "cgisess_",
	.table = "sessions",
	.id_column = "id",
	.data_column = "a_session"},
    {.name = "apache-session",
	.help = "Perl's Apache::Session (Storable, Base64, JSON): a directory, "
		"MySQL or SQLite",
	.places = LEGACY_FILES | LEGACY_TABLE,
	.format = legacy_perl,
	.layout = legacy_layout_apache,
	.table = "sessions",
	.id_column = "id",
	.data_column = "a_session",
	.user_keys = apache_user_keys},
    {.name = "php",
	.help = "PHP's own files (php, php_serialize): a directory",
	.places = LEGACY_FILES,
	.format = legacy_php,
	.layout = legacy_layout_php,
	.prefix = "sess_",
	.lifetime_ms = 1440 * INT64_C(1000)},
    {.name = "phpredis",
	.help = "PHP with the extension redis (php, php_serialize): Redis",
	.places = LEGACY_REDIS,
	.format = legacy_php,
	.layout = legacy_layout_php,
	.prefix = "PHPREDIS_SESSION:",
	.not_suffix = "_LOCK"},
    {.name = "mod-session",
	.help = "Apache's mod_session_dbd, with mod_auth_form: MySQL or SQLite",
	.places = LEGACY_TABLE,
	.format = legacy_form,
	.layout = legacy_layout_mod_session,
	.table = "session",
	.id_column = "key",
	.data_column = "value",
	.expiry_column = "expiry",
	.user_keys = mod_session_user_keys},
    {.name = "flask-session",
	.help = "Python's Flask-Session (MessagePack, JSON): Redis",
	.places = LEGACY_REDIS,
	.format = legacy_msgpack,
	.layout = legacy_layout_flask,
	.prefix = "session:"},
};
#define READERS (sizeof(readers) / sizeof(readers[0]))

/* The most telling first: "user" is often not a name. */
static const char *const common_user_keys[] = {"user_id", "_user_id", "userId",
    "uid", "passport.user", "user.id", "_auth_user_id", "auth_user", "username",
    "user_name", "login", "user", NULL};

static const struct legacy_source_type *const source_types[] = {
    &legacy_files, &legacy_redis, &legacy_mysql, &legacy_sqlite};
#define SOURCE_TYPES (sizeof(source_types) / sizeof(source_types[0]))

/* ---- readers ---- */

const struct legacy_reader *
legacy_reader_at(size_t index)
{
	return index < READERS ? &readers[index] : NULL;
}

const struct legacy_reader *
legacy_reader_find(const char *name)
{
	size_t i;

	for (i = 0; i < READERS; i++)
		if (strcmp(readers[i].name, name) == 0)
			return &readers[i];
	return NULL;
}

const char *
legacy_reader_name(const struct legacy_reader *reader)
{
	return reader->name;
}

const char *
legacy_reader_help(const struct legacy_reader *reader)
{
	return reader->help;
}

bool
legacy_reader_needs_secret(const struct legacy_reader *reader)
{
	return reader->needs_secret;
}

static const char *
choose(const char *given, const char *usual)
{
	return given != NULL ? given : usual;
}

const char *
legacy_prefix(const struct legacy_settings *settings)
{
	const char *prefix = choose(settings->prefix, settings->reader->prefix);

	return prefix == NULL ? "" : prefix;
}

const char *
legacy_table(const struct legacy_settings *settings)
{
	return choose(settings->table, settings->reader->table);
}

const char *
legacy_id_column(const struct legacy_settings *settings)
{
	return choose(settings->id_column, settings->reader->id_column);
}

const char *
legacy_data_column(const struct legacy_settings *settings)
{
	return choose(settings->data_column, settings->reader->data_column);
}

const char *
legacy_expiry_column(const struct legacy_settings *settings)
{
	return choose(settings->expiry_column, settings->reader->expiry_column);
}

int64_t
legacy_lifetime_ms(const struct legacy_settings *settings)
{
	return settings->lifetime_ms != 0 ? settings->lifetime_ms
					  : settings->reader->lifetime_ms;
}

const char *const *
legacy_user_keys(const struct legacy_settings *settings)
{
	if (settings->user_keys != NULL)
		return settings->user_keys;
	return settings->reader->user_keys != NULL ? settings->reader->user_keys
						   : common_user_keys;
}

/* ---- sources ---- */

static const struct legacy_source_type *
find_type(const char *place)
{
	size_t i;

	for (i = 0; i < SOURCE_TYPES; i++)
		if (strncmp(place, source_types[i]->scheme,
			strlen(source_types[i]->scheme)) == 0)
			return source_types[i];
	return NULL;
}

/* What a place of this reader looks like. */
static void
add_forms(const struct legacy_reader *reader, struct buf *out)
{
	if ((reader->places & LEGACY_FILES) != 0)
		buf_add_text(out, " or /DIRECTORY");
	if ((reader->places & LEGACY_REDIS) != 0)
		buf_add_text(out, " or redis:[NUMBER@]HOST:PORT or "
				  "redis:[NUMBER@]/SOCKET");
	if ((reader->places & LEGACY_TABLE) != 0)
		buf_add_text(out,
		    " or mysql:DATABASE@HOST:PORT or mysql:DATABASE@/SOCKET "
		    "or sqlite:/FILE");
}

enum sgate_status
legacy_source_open(const struct legacy_settings *settings,
    struct legacy_source **out, struct sgate_error *err)
{
	const struct legacy_source_type *type = find_type(settings->place);
	const struct legacy_reader *reader = settings->reader;
	struct buf forms = {0};

	*out = NULL;
	error_clear(err);
	if (type == NULL || (reader->places & (unsigned)type->kind) == 0) {
		add_forms(reader, &forms);
		error_set(err, SGATE_INVALID, "legacy", "open", 0,
		    "\"%.100s\" is no place of %s: give%s", settings->place,
		    reader->name,
		    forms.len == 0 ? "" : buf_text(&forms) + strlen(" or"));
		buf_clear(&forms);
		return SGATE_INVALID;
	}
	return type->open(settings,
	    settings->place +
		(type->kind == LEGACY_FILES ? 0 : strlen(type->scheme)),
	    out, err);
}

void
legacy_source_close(struct legacy_source *source)
{
	if (source != NULL)
		source->type->close(source);
}

enum sgate_status
legacy_source_next(struct legacy_source *source, struct legacy_raw *out,
    struct sgate_error *err)
{
	memset(out, 0, sizeof(*out));
	error_clear(err);
	return source->type->next(source, out, err);
}

enum sgate_status
legacy_source_find(struct legacy_source *source, struct sgate_bytes id,
    struct legacy_raw *out, struct sgate_error *err)
{
	memset(out, 0, sizeof(*out));
	error_clear(err);
	if (id.len == 0 || id.len > LEGACY_ID_MAX)
		return SGATE_NOT_FOUND;
	return source->type->find(source, id, out, err);
}

bool
legacy_address_parse(
    const char *text, unsigned default_port, struct legacy_address *out)
{
	const char *at = strchr(text, '@');
	const char *address = at == NULL ? text : at + 1;
	const char *colon = strrchr(address, ':');
	uint64_t port = default_port;
	struct sgate_bytes host;

	memset(out, 0, sizeof(*out));
	out->database = bytes_dup(
	    (struct sgate_bytes){text, at == NULL ? 0 : (size_t)(at - text)});
	if (address[0] == '/') {
		out->path = strdup(address);
		return out->database != NULL && out->path != NULL;
	}
	host = (struct sgate_bytes){address,
	    colon == NULL ? strlen(address) : (size_t)(colon - address)};
	if (colon != NULL && !bytes_to_uint(bytes_of(colon + 1), 65535, &port))
		return false;
	if (host.len > 2 && host.data[0] == '[' &&
	    host.data[host.len - 1] == ']') {
		host.data++;
		host.len -= 2;
	}
	out->host = bytes_dup(host);
	out->port = (unsigned)port;
	return out->database != NULL && out->host != NULL && host.len > 0 &&
	       port > 0;
}

void
legacy_address_clear(struct legacy_address *address)
{
	free(address->database);
	free(address->path);
	free(address->host);
	memset(address, 0, sizeof(*address));
}

/* ---- formats of all ---- */

bool
legacy_fields(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree)
{
	struct legacy_value *value;
	size_t i;

	if (raw->fields == NULL)
		return legacy_json(settings, raw, tree);
	for (i = 0; i < raw->fields_count; i++) {
		value = legacy_add(tree, &tree->root, raw->fields[i].name);
		if (value == NULL)
			return false;
		if (!raw->fields[i].is_null)
			legacy_set_text(value, raw->fields[i].value);
	}
	return true;
}

bool
legacy_perl(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree)
{
	const char *begin = raw->body.data;

	if (raw->body.len == 0)
		return legacy_fail(tree, "it is empty");
	if (begin[0] == '$')
		return legacy_dumper(settings, raw, tree);
	if (begin[0] == '{')
		return legacy_json(settings, raw, tree);
	if (raw->body.len > 4 && memcmp(begin, "FrT;", 4) == 0)
		return legacy_fail(tree, "FreezeThaw, which is not read");
	return legacy_storable(settings, raw, tree);
}

/* ---- sessions ---- */

const char *
legacy_verdict_text(enum legacy_verdict verdict)
{
	static const char *const texts[] = {[LEGACY_LIVE] = "live",
	    [LEGACY_EXPIRED] = "expired",
	    [LEGACY_ENDED] = "ended",
	    [LEGACY_NO_USER] = "without user",
	    [LEGACY_UNDECODABLE] = "undecodable"};

	return texts[verdict];
}

void
legacy_session_clear(struct legacy_session *session)
{
	buf_wipe(&session->id);
	buf_wipe(&session->user_id);
	buf_wipe(&session->context);
	buf_wipe(&session->role);
	buf_wipe(&session->data);
	memset(session, 0, sizeof(*session));
}

static bool
is_user_id(struct sgate_bytes text)
{
	return text.len > 0 && text.len <= USER_ID_MAX && bytes_is_utf8(text) &&
	       !bytes_has_control(text);
}

/* The name of the first member whose name ends as "*-user" says, or NULL. */
static char *
dup_ending(const struct legacy_tree *tree, const char *end)
{
	const struct legacy_value *member;
	size_t len = strlen(end);

	for (member = tree->root.first; member != NULL; member = member->next)
		if (!member->is_gone && member->key.len > len &&
		    memcmp(member->key.data + member->key.len - len, end,
			len) == 0)
			return bytes_dup(member->key);
	return NULL;
}

static bool
get_user(struct legacy_tree *tree, const char *key, char number[INT_TEXT_MAX],
    struct sgate_bytes *out)
{
	bool is_found;
	char *name;

	if (key[0] != '*')
		return legacy_get_text(&tree->root, key, number, out);
	name = dup_ending(tree, key + 1);
	is_found =
	    name != NULL && legacy_get_text(&tree->root, name, number, out);
	free(name);
	return is_found;
}

static void
find_user(const struct legacy_settings *settings, struct legacy_tree *tree,
    struct legacy_session *out)
{
	const char *const *keys = legacy_user_keys(settings);
	char number[INT_TEXT_MAX];
	struct sgate_bytes text;
	size_t i;

	for (i = 0; keys[i] != NULL; i++) {
		if (!get_user(tree, keys[i], number, &text))
			continue;
		if (is_user_id(text)) {
			out->user_key = keys[i];
			buf_add_bytes(&out->user_id, text);
			return;
		}
		/* An empty one is how programs log out. */
		out->dropped.user = out->dropped.user || text.len > 0;
	}
}

/* The data, if it is such that a session of ours can have it. */
static void
take_data(const struct legacy_settings *settings,
    const struct legacy_tree *tree, struct legacy_session *out)
{
	legacy_render(&tree->root, &out->data, &out->dropped);
	if (buf_failed(&out->data) ||
	    data_scan(buf_bytes(&out->data), settings->data_max_bytes, NULL) ==
		SGATE_OK)
		return;
	out->dropped.data = true;
	buf_wipe(&out->data);
	buf_add_text(&out->data, "{}");
}

static void
judge(const struct legacy_settings *settings, struct legacy_tree *tree,
    int64_t now_ms, struct legacy_session *out)
{
	find_user(settings, tree, out);
	take_data(settings, tree, out);
	if (out->verdict != LEGACY_LIVE)
		return;
	if (out->expires_ms != 0 && out->expires_ms <= now_ms)
		out->verdict = LEGACY_EXPIRED;
	else if (out->user_key == NULL)
		out->verdict = LEGACY_NO_USER;
}

enum sgate_status
legacy_decode(const struct legacy_settings *settings,
    const struct legacy_raw *raw, int64_t now_ms, struct legacy_session *out,
    struct sgate_error *err)
{
	const struct legacy_reader *reader = settings->reader;
	struct legacy_tree tree;
	bool has_no_memory;

	memset(out, 0, sizeof(*out));
	error_clear(err);
	legacy_tree_init(&tree);
	buf_add_bytes(&out->id, raw->id);
	out->expires_ms = raw->expires_ms;
	out->why = raw->why;
	if (raw->why == NULL && reader->format(settings, raw, &tree) &&
	    reader->layout(settings, raw, &tree, now_ms, out))
		judge(settings, &tree, now_ms, out);
	else
		out->verdict = LEGACY_UNDECODABLE;
	if (out->why == NULL)
		out->why = tree.why;
	has_no_memory = tree.has_no_memory || buf_failed(&out->id) ||
			buf_failed(&out->user_id) ||
			buf_failed(&out->context) || buf_failed(&out->role) ||
			buf_failed(&out->data);
	legacy_tree_clear(&tree);
	return has_no_memory ? error_memory(err, "decode") : SGATE_OK;
}
