#include "config.h"

#include "tap.h"

#include "site.h"

#include "data.h"
#include "keys.h"
#include "log.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define SITE_START_MS INT64_C(1780000000000)

static int64_t
site_clock(void *arg)
{
	return *(int64_t *)arg;
}

static void
site_open_manager(struct site *site)
{
	struct sgate_options options = {site_clock, &site->now_ms};
	struct sgate_error err;

	if (sgate_manager_new(site->conf, &options, &site->mgr, &err) !=
	    SGATE_OK)
		fail_msg("manager: %s", err.text);
	site->gw.mgr = site->mgr;
}

/* Everything but configuration and manager. */
static void
site_begin(struct site *site)
{
	char file[128];

	memset(site, 0, sizeof(*site));
	site->now_ms = SITE_START_MS;
	snprintf(site->directory, sizeof(site->directory),
	    "/tmp/sessgate-site.XXXXXX");
	assert_non_null(mkdtemp(site->directory));
	snprintf(file, sizeof(file), "file:%s/log", site->directory);
	assert_int_equal(log_open(file, LOG_LEVEL_INFO), 0);
	site->shared =
	    aligned_alloc(_Alignof(struct shared), sizeof(*site->shared));
	assert_non_null(site->shared);
	memset(site->shared, 0, sizeof(*site->shared));
	site->gw.shared = site->shared;
	site->gw.tally = &site->shared->others;
	site->listener.name = (char *)(uintptr_t) "pool";
	site->listener.realm = (char *)(uintptr_t) "";
	site->listener.roles = site->no_roles;
}

void
site_open(struct site *site, const char *const *overrides)
{
	const char *all[64];
	char keys[160], file[128], path[96];
	struct sgate_error err;
	size_t count = 0;

	site_begin(site);
	snprintf(path, sizeof(path), "%s/keys", site->directory);
	assert_int_equal(keys_create(path, site->now_ms, &err), SGATE_OK);
	snprintf(keys, sizeof(keys), "keys.file=%s", path);
	snprintf(file, sizeof(file), "sqlite.file=%s/db", site->directory);
	all[count++] = keys;
	all[count++] = file;
	for (; overrides != NULL && *overrides != NULL; overrides++)
		all[count++] = *overrides;
	all[count] = NULL;
	if (sgate_conf_load(NULL, all, &site->own_conf, &err) != SGATE_OK)
		fail_msg("conf: %s", err.text);
	site->conf = site->own_conf;
	site->gw.conf = site->conf;
	site_open_manager(site);
	if (manager_schema_init(site->mgr, &err) != SGATE_OK)
		fail_msg("schema: %s", err.text);
}

void
site_open_over(
    struct site *site, const struct sgate_conf *conf, struct sgate_manager *mgr)
{
	site_begin(site);
	site->conf = conf;
	site->gw.conf = conf;
	site->gw.mgr = mgr;
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void
site_close(struct site *site)
{
	sgate_manager_free(site->mgr);
	sgate_conf_free(site->own_conf);
	free(site->shared);
	buf_wipe(&site->answer);
	buf_wipe(&site->cookie);
	log_open("stderr", LOG_LEVEL_NOTICE);
	nftw(site->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void
site_move(const struct site *site, const char *from, const char *to)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char a[96], b[96];
	size_t i;

	for (i = 0; i < 3; i++) {
		snprintf(a, sizeof(a), "%s/%s%s", site->directory, from,
		    suffixes[i]);
		snprintf(
		    b, sizeof(b), "%s/%s%s", site->directory, to, suffixes[i]);
		rename(a, b);
	}
}

void
site_break_store(struct site *site)
{
	char path[96];

	sgate_manager_free(site->mgr);
	site_move(site, "db", "moved");
	snprintf(path, sizeof(path), "%s/db", site->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	site_open_manager(site);
}

void
site_mend_store(struct site *site)
{
	char path[96];

	sgate_manager_free(site->mgr);
	snprintf(path, sizeof(path), "%s/db", site->directory);
	assert_int_equal(rmdir(path), 0);
	site_move(site, "moved", "db");
	site_open_manager(site);
}

static void
site_be_library(struct site *site)
{
	struct sgate_caller caller;
	struct sgate_error err;

	memset(&caller, 0, sizeof(caller));
	if (site->listener.has_realm)
		caller.realm = bytes_of(site->listener.realm);
	caller.budget_ms = 5000;
	assert_int_equal(
	    sgate_manager_set_caller(site->gw.mgr, &caller, &err), SGATE_OK);
}

void
site_create(struct site *site, const struct sgate_create *create)
{
	struct sgate_session *session = NULL;
	struct sgate_error err;
	char *token = NULL;

	site_be_library(site);
	if (sgate_session_create(
		site->gw.mgr, create, &session, &token, &err) != SGATE_OK)
		fail_msg("create: %s", err.text);
	snprintf(site->token, sizeof(site->token), "%s", token);
	sgate_ref_text(sgate_session_get_ref(session), site->ref);
	buf_reset(&site->cookie);
	buf_add_text(&site->cookie, site->conf->cookie.name);
	buf_add_char(&site->cookie, '=');
	buf_add_text(&site->cookie, token);
	sgate_token_free(token);
	sgate_session_free(session);
}

void
site_login(struct site *site, const char *user, const char *role)
{
	struct sgate_bytes roles = bytes_of(role);
	struct sgate_create create;

	memset(&create, 0, sizeof(create));
	create.user_id = bytes_of(user);
	create.roles = &roles;
	create.roles_count = role == NULL ? 0 : 1;
	site_create(site, &create);
}

void
site_end(struct site *site, enum sgate_reason reason)
{
	struct sgate_error err;

	site_be_library(site);
	assert_int_equal(sgate_session_end_token(
			     site->gw.mgr, bytes_of(site->token), reason, &err),
	    SGATE_OK);
}

/* ---- asking ---- */

struct params {
	char *items[SITE_PARAMS_MAX];
	size_t count;
};

static void
add_param(struct params *p, const char *name, const char *value)
{
	size_t size;

	if (value == NULL)
		return;
	assert_true(p->count + 1 < SITE_PARAMS_MAX);
	size = strlen(name) + strlen(value) + 2;
	p->items[p->count] = malloc(size);
	assert_non_null(p->items[p->count]);
	snprintf(p->items[p->count++], size, "%s=%s", name, value);
}

struct reader {
	struct sgate_bytes left;
	bool breaks;
	bool was_read;
};

static ssize_t
read_some(void *arg, char *out, size_t max)
{
	struct reader *reader = arg;
	/* In small pieces, as it may come. */
	size_t n = reader->left.len < 7 ? reader->left.len : 7;

	reader->was_read = true;
	if (n == 0)
		return reader->breaks ? -1 : 0;
	if (n > max)
		n = max;
	memcpy(out, reader->left.data, n);
	reader->left.data += n;
	reader->left.len -= n;
	return (ssize_t)n;
}

static void
make_params(const struct ask *ask, struct params *p)
{
	char length[24];
	size_t i;

	add_param(p, "SERVER_SOFTWARE", "test");
	add_param(
	    p, "REQUEST_METHOD", ask->method == NULL ? "GET" : ask->method);
	add_param(p, "REQUEST_URI", ask->uri == NULL ? "/app/" : ask->uri);
	add_param(p, "REMOTE_ADDR", "192.0.2.1");
	add_param(p, "HTTP_HOST", "example.org");
	add_param(p, "HTTP_COOKIE", ask->cookie);
	add_param(p, "HTTP_ACCEPT", ask->accept);
	if (ask->origin == NULL)
		add_param(p, "HTTP_ORIGIN", "https://example.org");
	else if (ask->origin[0] != '\0')
		add_param(p, "HTTP_ORIGIN", ask->origin);
	if (ask->is_check)
		add_param(p, "SESSGATE_CHECK", "1");
	add_param(p, "CONTENT_TYPE",
	    ask->type != NULL   ? ask->type
	    : ask->body == NULL ? NULL
				: "application/json");
	if (ask->body != NULL || ask->length != NULL) {
		snprintf(length, sizeof(length), "%zu",
		    ask->body == NULL ? 0 : strlen(ask->body));
		if (ask->length == NULL)
			add_param(p, "CONTENT_LENGTH", length);
		else if (ask->length[0] != '-')
			add_param(p, "CONTENT_LENGTH", ask->length);
	}
	for (i = 0; i < sizeof(ask->more) / sizeof(ask->more[0]); i++) {
		const char *equals;

		if (ask->more[i] == NULL)
			continue;
		equals = strchr(ask->more[i], '=');
		assert_non_null(equals);
		p->items[p->count++] = strdup(ask->more[i]);
	}
}

/* What every answer must be: one Status, first; whole headers. */
static int
check_form(const struct site *site)
{
	const char *text = buf_text(&site->answer);
	const char *end = strstr(text, "\r\n\r\n");
	const char *at;
	int status = 0;

	assert_int_equal(strncmp(text, "Status: ", 8), 0);
	assert_int_equal(sscanf(text, "Status: %3d ", &status), 1);
	assert_non_null(end);
	assert_int_equal(strlen(text), site->answer.len);
	for (at = text; at < end; at = strstr(at, "\r\n") + 2) {
		const char *stop = strstr(at, "\r\n");
		const char *colon = strstr(at, ": ");

		assert_true(colon != NULL && colon < stop);
		assert_null(memchr(at, '\n', (size_t)(stop - at)));
		if (at > text)
			assert_int_not_equal(strncasecmp(at, "Status:", 7), 0);
		if (stop == end)
			break;
	}
	return status;
}

/* The one thing that does not depend on who asks. */
static bool
is_for_everybody(const struct serve_input *input)
{
	static const char script[] = "REQUEST_URI=/.sessgate/sessgate.js";
	bool is_get = false, is_script = false;
	size_t i;

	for (i = 0; input->params[i] != NULL; i++) {
		is_script |= strcmp(input->params[i], script) == 0;
		is_get |= strcmp(input->params[i], "REQUEST_METHOD=GET") == 0 ||
			  strcmp(input->params[i], "REQUEST_METHOD=HEAD") == 0;
	}
	return is_script && is_get && input->allow != CONF_ALLOW_CHECK;
}

static int
serve_input(struct site *site, struct serve_input *input)
{
	int status;

	input->listener = &site->listener;
	buf_reset(&site->answer);
	serve(&site->gw, input, &site->answer);
	status = check_form(site);
	assert_int_equal(site_count_header(site, "Status"), 1);
	assert_true(site_count_header(site, "Set-Cookie") <= 1);
	if (is_for_everybody(input)) {
		assert_string_equal(
		    site_header(site, "Cache-Control"), "public, max-age=3600");
		assert_int_equal(site_count_header(site, "Set-Cookie"), 0);
		return status;
	}
	assert_string_equal(site_header(site, "Cache-Control"), "no-store");
	assert_string_equal(site_header(site, "Vary"), "Cookie");
	return status;
}

int
site_ask(struct site *site, const struct ask *ask)
{
	struct serve_input input;
	struct reader reader;
	struct params p;
	size_t i;
	int status;

	memset(&p, 0, sizeof(p));
	make_params(ask, &p);
	memset(&input, 0, sizeof(input));
	memset(&reader, 0, sizeof(reader));
	reader.left = bytes_of(ask->body);
	reader.breaks = ask->body_breaks;
	input.params = p.items;
	input.is_authorizer = ask->is_authorizer;
	input.is_malformed = ask->is_malformed;
	input.allow =
	    ask->allow != 0 ? ask->allow : CONF_ALLOW_CHECK | CONF_ALLOW_API;
	input.has_peer = !ask->no_peer;
	input.peer_uid = 33;
	input.peer_pid = ask->peer_pid != 0 ? ask->peer_pid : 12;
	input.read_body = read_some;
	input.read_body_arg = &reader;
	status = serve_input(site, &input);
	for (i = 0; i < p.count; i++)
		free(p.items[i]);
	if (ask->is_authorizer || ask->is_check)
		assert_false(reader.was_read);
	return status;
}

static ssize_t
read_never(void *arg, char *out, size_t max)
{
	(void)arg;
	(void)out;
	(void)max;
	fail_msg("the body was read");
	return -1;
}

int
site_ask_raw(struct site *site, char *const *params, bool is_authorizer)
{
	struct serve_input input;

	memset(&input, 0, sizeof(input));
	input.params = params;
	input.is_authorizer = is_authorizer;
	input.allow = CONF_ALLOW_CHECK | CONF_ALLOW_API;
	input.read_body = read_never;
	return serve_input(site, &input);
}

static const char *
find_header(const struct site *site, const char *name, const char *from)
{
	const char *text = buf_text(&site->answer);
	const char *end = strstr(text, "\r\n\r\n");
	const char *at = from == NULL ? text : from;
	size_t len = strlen(name);

	while (at != NULL && at < end) {
		if (strncasecmp(at, name, len) == 0 && at[len] == ':')
			return at + len + 2;
		at = strstr(at, "\r\n");
		if (at != NULL)
			at += 2;
	}
	return NULL;
}

const char *
site_header(struct site *site, const char *name)
{
	static char value[16384];
	const char *at = find_header(site, name, NULL);
	size_t len;

	if (at == NULL)
		return NULL;
	len = (size_t)(strstr(at, "\r\n") - at);
	assert_true(len < sizeof(value));
	memcpy(value, at, len);
	value[len] = '\0';
	return value;
}

int
site_count_header(struct site *site, const char *name)
{
	const char *at = NULL;
	int count = 0;

	while ((at = find_header(site, name, at)) != NULL)
		count++;
	return count;
}

const char *
site_body(const struct site *site)
{
	const char *end = strstr(buf_text(&site->answer), "\r\n\r\n");

	return end == NULL ? "" : end + 4;
}

const char *
site_member(struct site *site, const char *name)
{
	static char text[4096];
	struct sgate_error err;
	struct sgate_bytes value;
	struct data *data = NULL;
	int64_t number;

	text[0] = '\0';
	if (data_parse_answer(
		bytes_of(site_body(site)), 1 << 20, &data, &err) != SGATE_OK)
		fail_msg("not JSON: %s: %s", err.text, site_body(site));
	if (data_get_string(data, name, &value))
		snprintf(
		    text, sizeof(text), "%.*s", (int)value.len, value.data);
	else if (data_get_integer(data, name, &number))
		snprintf(text, sizeof(text), "%lld", (long long)number);
	data_free(data);
	return text;
}

bool
site_body_has(const struct site *site, const char *text)
{
	return strstr(site_body(site), text) != NULL;
}

bool
site_log_has(const struct site *site, const char *text)
{
	static char log[1 << 20];
	char path[96];
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/log", site->directory);
	f = fopen(path, "r");
	assert_non_null(f);
	len = fread(log, 1, sizeof(log) - 1, f);
	fclose(f);
	log[len] = '\0';
	return strstr(log, text) != NULL;
}
