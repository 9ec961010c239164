/*
 * How sessgatectl asks the daemon: one FastCGI request to a socket, below the
 * mount, with a deadline; and what its answers mean for people and scripts.
 */
#include "config.h"

#include "ctl.h"

#include "clock.h"
#include "status.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_MOUNT "/.sessgate/"
/* Objects within objects: an answer has two levels and a session's data. */
#define TABLE_DEPTH_MAX 3

/* ---- requests ---- */

void
ctl_request_init(
    struct ctl_request *request, const char *method, const char *route)
{
	memset(request, 0, sizeof(*request));
	request->method = method;
	buf_add_text(&request->route, route);
}

void
ctl_request_clear(struct ctl_request *request)
{
	buf_wipe(&request->route);
	buf_wipe(&request->body);
}

void
ctl_request_query(
    struct ctl_request *request, const char *name, const char *value)
{
	bool is_first = strchr(buf_text(&request->route), '?') == NULL;

	if (value == NULL)
		return;
	buf_add_char(&request->route, is_first ? '?' : '&');
	buf_add_text(&request->route, name);
	buf_add_char(&request->route, '=');
	buf_add_url(&request->route, bytes_of(value));
}

/* ---- which socket ---- */

/* False: said why. The text is empty when there is no such socket. */
static bool
find_socket(struct ctl *ctl, enum ctl_socket which, struct buf *out)
{
	const char *given = ctl_args_get(&ctl->args, "socket");
	const struct conf_listener *control;
	const struct sgate_conf *conf;

	if (given != NULL) {
		buf_add_text(out, given);
		return true;
	}
	conf = ctl_conf(ctl);
	if (conf == NULL)
		return false;
	if (which == CTL_KEEPER) {
		buf_printf(out, "%s/keeper.sock", conf->gateway.runtime_dir);
		return true;
	}
	control = conf_listener(conf, "control");
	if (control == NULL || strncmp(control->address, "unix:", 5) != 0) {
		ctl_fail(CTL_USAGE, "listener.control is no unix socket");
		return false;
	}
	buf_add_text(out, control->address + 5);
	return true;
}

/* Without --socket the configuration knows; with it, nothing is read. */
static const char *
find_mount(struct ctl *ctl)
{
	const char *given = ctl_args_get(&ctl->args, "mount");
	const struct sgate_conf *conf;

	if (given != NULL)
		return given;
	if (ctl_args_has(&ctl->args, "socket") &&
	    !ctl_args_has(&ctl->args, "config"))
		return DEFAULT_MOUNT;
	conf = ctl_conf(ctl);
	return conf == NULL ? NULL : conf->gateway.mount;
}

static void
say_owner(const char *path, struct buf *out)
{
	struct stat st;
	struct passwd *user;
	struct group *group;

	if (stat(path, &st) != 0) {
		buf_add_text(out, "run it as root");
		return;
	}
	user = getpwuid(st.st_uid);
	group = getgrgid(st.st_gid);
	buf_add_text(out, "run it as root, as the user ");
	if (user != NULL)
		buf_add_text(out, user->pw_name);
	else
		buf_add_uint(out, st.st_uid);
	if ((st.st_mode & S_IWGRP) == 0)
		return;
	buf_add_text(out, ", or as a member of the group ");
	if (group != NULL)
		buf_add_text(out, group->gr_name);
	else
		buf_add_uint(out, st.st_gid);
}

/* Nothing was asked, or no answer came. */
static enum ctl_exit
fail_call(const char *path, const struct ctl_request *request,
    const struct sgate_error *err)
{
	struct buf advice = {0};

	if (err->status == SGATE_INVALID)
		return ctl_fail(CTL_USAGE, "%s", err->text);
	if (err->native_code == ENOENT || err->native_code == ECONNREFUSED) {
		buf_add_text(&advice, ": is sessgated running?");
	} else if (err->native_code == EACCES || err->native_code == EPERM) {
		buf_add_text(&advice, ": ");
		say_owner(path, &advice);
	} else if (err->status == SGATE_UNCERTAIN &&
		   strcmp(request->method, "GET") != 0) {
		buf_add_text(&advice, "; it may have been done nevertheless");
	}
	ctl_fail(
	    CTL_UNAVAILABLE, "%s: %s%s", path, err->text, buf_text(&advice));
	buf_clear(&advice);
	return CTL_UNAVAILABLE;
}

/* ---- answers ---- */

/* 4xx is a no, unless the question itself was wrong; the rest is trouble. */
static enum ctl_exit
exit_of_status(int status)
{
	switch (status) {
	case 400:
	case 411:
	case 413:
	case 414:
	case 415:
	case 422:
		return CTL_USAGE;
	case 405:
	case 408:
		return CTL_UNAVAILABLE;
	default:
		break;
	}
	if (status >= 200 && status <= 299)
		return CTL_YES;
	return status >= 400 && status <= 499 ? CTL_NO : CTL_UNAVAILABLE;
}

/* The API's problem document (RFC 9457) as one line, and what helps. */
static void
fail_problem(const struct ctl *ctl, const struct ctl_reply *reply)
{
	struct sgate_bytes code = ctl_member(reply->data, "code");
	struct sgate_bytes title = ctl_member(reply->data, "title");
	struct sgate_bytes detail = ctl_member(reply->data, "detail");
	struct buf text = {0};

	ctl_add_clean(&text, title);
	if (detail.len > 0 && !bytes_equal(detail, title)) {
		buf_add_text(&text, title.len > 0 ? ": " : "");
		ctl_add_clean(&text, detail);
	}
	if (text.len == 0)
		buf_printf(&text, "the daemon answered %d", reply->status);
	if (reply->status == 404) {
		buf_printf(&text, " in the %srealm%s%s",
		    ctl->realm[0] == '\0' ? "default " : "",
		    ctl->realm[0] == '\0' ? "" : " ", ctl->realm);
	} else if (bytes_equal_text(code, "scope")) {
		buf_add_text(&text, "; control.sock may, for root and the "
				    "gateway's user");
	} else if (bytes_equal_text(code, "unavailable")) {
		buf_add_text(&text, ": try again; `sessgatectl status` and the "
				    "log say why");
	} else if (code.len > 0) {
		buf_add_text(&text, " (");
		ctl_add_clean(&text, code);
		buf_add_text(&text, ")");
	}
	ctl_fail(CTL_NO, "%s", buf_text(&text));
	buf_clear(&text);
}

static enum ctl_exit
take_reply(
    struct ctl *ctl, const struct ctl_request *request, struct ctl_reply *reply)
{
	struct sgate_error err;
	enum ctl_exit code;

	reply->status = reply->answer.status;
	code = exit_of_status(reply->status);
	if (reply->answer.body.len > 0 &&
	    data_parse_answer(reply->answer.body, CTL_ANSWER_MAX_BYTES,
		&reply->data, &err) != SGATE_OK) {
		if (code == CTL_YES)
			return ctl_fail(CTL_UNAVAILABLE,
			    "the daemon's answer is not JSON: %s", err.text);
		reply->data = NULL;
	}
	if (code == CTL_YES && reply->data == NULL)
		return ctl_fail(
		    CTL_UNAVAILABLE, "the daemon's answer is empty");
	if (code == CTL_YES || request->is_quiet)
		return code;
	if (ctl->json && reply->data != NULL &&
	    ctl_print_json(reply) != CTL_YES)
		return CTL_UNAVAILABLE;
	fail_problem(ctl, reply);
	return code;
}

#define PARAMS_MAX 12

struct params {
	struct fcgi_param items[PARAMS_MAX];
	size_t count;
	struct buf uri;
	struct buf length;
};

static void
add_param(struct params *p, const char *name, struct sgate_bytes value)
{
	p->items[p->count].name = name;
	p->items[p->count].value = value;
	p->count++;
}

/* What a web server would send. False: memory. */
static bool
params_init(struct params *p, const struct ctl *ctl, const char *mount,
    const struct ctl_request *request)
{
	struct sgate_bytes body = buf_bytes(&request->body);
	struct sgate_bytes uri;
	const char *query;

	memset(p, 0, sizeof(*p));
	buf_add_text(&p->uri, mount);
	buf_add_bytes(&p->uri, buf_bytes(&request->route));
	buf_add_uint(&p->length, body.len);
	if (buf_failed(&p->uri) || buf_failed(&p->length) ||
	    buf_failed(&request->route) || buf_failed(&request->body))
		return false;
	uri = buf_bytes(&p->uri);
	query = strchr(uri.data, '?');
	add_param(p, "GATEWAY_INTERFACE", bytes_of("CGI/1.1"));
	add_param(p, "SERVER_PROTOCOL", bytes_of("HTTP/1.1"));
	add_param(p, "REQUEST_METHOD", bytes_of(request->method));
	add_param(p, "REQUEST_URI", uri);
	if (query != NULL)
		uri.len = (size_t)(query - uri.data);
	add_param(p, "SCRIPT_NAME", uri);
	add_param(p, "QUERY_STRING", bytes_of(query == NULL ? "" : query + 1));
	add_param(p, "HTTP_ACCEPT", bytes_of("application/json"));
	if (ctl->realm[0] != '\0')
		add_param(p, "SESSGATE_REALM", bytes_of(ctl->realm));
	if (body.len > 0) {
		add_param(p, "CONTENT_TYPE", bytes_of("application/json"));
		add_param(p, "CONTENT_LENGTH", buf_bytes(&p->length));
	}
	if (request->idempotency_key != NULL)
		add_param(p, "HTTP_IDEMPOTENCY_KEY",
		    bytes_of(request->idempotency_key));
	return true;
}

static void
params_clear(struct params *p)
{
	buf_clear(&p->uri);
	buf_clear(&p->length);
}

enum ctl_exit
ctl_ask_at(struct ctl *ctl, const char *socket_path,
    const struct ctl_request *request, struct ctl_reply *out_reply)
{
	const char *mount = find_mount(ctl);
	struct sgate_error err;
	struct params params;
	struct fcgi_call call = {
	    .socket_path = socket_path,
	    .params = params.items,
	    .body = buf_bytes(&request->body),
	    .deadline_ms = clock_monotonic_ms() + ctl->timeout_ms,
	    .answer_max_bytes = CTL_ANSWER_MAX_BYTES,
	};
	enum ctl_exit code;

	memset(out_reply, 0, sizeof(*out_reply));
	if (mount == NULL)
		return CTL_USAGE;
	if (!params_init(&params, ctl, mount, request)) {
		params_clear(&params);
		return ctl_fail_memory();
	}
	call.params_count = params.count;
	if (fcgi_client_call(&call, &out_reply->answer, &err) == SGATE_OK)
		code = take_reply(ctl, request, out_reply);
	else if (request->is_quiet)
		code = CTL_UNAVAILABLE;
	else
		code = fail_call(socket_path, request, &err);
	params_clear(&params);
	return code;
}

enum ctl_exit
ctl_ask(struct ctl *ctl, const struct ctl_request *request,
    struct ctl_reply *out_reply)
{
	struct buf path = {0};
	enum ctl_exit code = CTL_USAGE;

	memset(out_reply, 0, sizeof(*out_reply));
	if (find_socket(ctl, request->socket, &path))
		code = buf_failed(&path) ? ctl_fail_memory()
					 : ctl_ask_at(ctl, buf_text(&path),
					       request, out_reply);
	buf_clear(&path);
	return code;
}

void
ctl_reply_clear(struct ctl_reply *reply)
{
	fcgi_answer_clear(&reply->answer);
	data_free(reply->data);
	reply->data = NULL;
}

/* ---- looking into answers ---- */

enum ctl_exit
ctl_print_json(const struct ctl_reply *reply)
{
	struct sgate_bytes body = reply->answer.body;

	fwrite(body.data, 1, body.len, stdout);
	if (body.len == 0 || body.data[body.len - 1] != '\n')
		putchar('\n');
	return ferror(stdout) ? CTL_UNAVAILABLE : CTL_YES;
}

struct sgate_bytes
ctl_member(const struct data *data, const char *name)
{
	struct sgate_bytes value;

	if (data == NULL || !data_get_string(data, name, &value))
		value = (struct sgate_bytes){NULL, 0};
	return value;
}

int64_t
ctl_member_time(const struct data *data, const char *name)
{
	int64_t seconds;

	if (data == NULL || !data_get_integer(data, name, &seconds) ||
	    seconds < 0 || seconds > INT64_MAX / 1000)
		return 0;
	return seconds * 1000;
}

/* The API's moments, UTC seconds. */
static bool
is_time_name(const char *name)
{
	size_t len = strlen(name);

	return (len > 3 && strcmp(name + len - 3, "_at") == 0) ||
	       strcmp(name, "at") == 0 || strcmp(name, "server_time") == 0 ||
	       strcmp(name, "iat") == 0 || strcmp(name, "exp") == 0;
}

bool
ctl_add_strings(struct buf *out, const struct data *data, const char *name)
{
	struct sgate_bytes *items = NULL;
	size_t i, count;

	if (!data_get_strings(data, name, &items, &count))
		return false;
	for (i = 0; i < count; i++) {
		buf_add_text(out, i == 0 ? "" : ", ");
		buf_add_bytes(out, items[i]);
	}
	free(items);
	return true;
}

static void
add_value(struct ctl_table *table, const struct data *data, const char *name,
    int64_t now_ms)
{
	struct sgate_bytes text;
	struct buf out = {0};

	switch (data_kind(data, name)) {
	case DATA_INTEGER:
		if (is_time_name(name)) {
			ctl_table_time(
			    table, ctl_member_time(data, name), now_ms);
			return;
		}
		data_get_json(data, name, &out);
		break;
	case DATA_STRING:
		data_get_string(data, name, &text);
		ctl_table_add(table, text);
		return;
	case DATA_NULL:
		buf_add_char(&out, '-');
		break;
	case DATA_ARRAY:
		if (!ctl_add_strings(&out, data, name))
			data_get_json(data, name, &out);
		break;
	default:
		data_get_json(data, name, &out);
		break;
	}
	if (buf_failed(&out)) /* "sticky": the table is not printed then */
		table->text.failed = true;
	ctl_table_add(table, buf_bytes(&out));
	buf_wipe(&out);
}

/* An object on one line: "pid 12, state idle". */
static void
add_on_one_line(
    struct ctl_table *table, const struct data *data, int64_t now_ms)
{
	struct buf out = {0}, value = {0};
	struct sgate_bytes text;
	const char *name;
	size_t i;

	for (i = 0; (name = data_member_at(data, i)) != NULL; i++) {
		buf_printf(&out, "%s%s ", i == 0 ? "" : ", ", name);
		buf_reset(&value);
		if (data_get_string(data, name, &text))
			buf_add_bytes(&out, text);
		else if (is_time_name(name) &&
			 data_kind(data, name) == DATA_INTEGER)
			ctl_add_time(&out, ctl_member_time(data, name), now_ms);
		else if (data_get_json(data, name, &value))
			buf_add_bytes(&out, buf_bytes(&value));
	}
	ctl_table_add(table, buf_bytes(&out));
	buf_clear(&out);
	buf_clear(&value);
}

/* False: not an array of objects. */
static bool
add_objects(struct ctl_table *table, const struct data *data, const char *name,
    const char *label, int64_t now_ms)
{
	size_t i, count = data_array_count(data, name);
	const struct data *item;
	struct buf text = {0};

	if (data_array_object(data, name, 0) == NULL)
		return false;
	for (i = 0; i < count; i++) {
		item = data_array_object(data, name, i);
		if (item == NULL)
			continue;
		buf_reset(&text);
		buf_printf(&text, "%s.%zu", label, i + 1);
		ctl_table_text(table, buf_text(&text));
		add_on_one_line(table, item, now_ms);
	}
	buf_clear(&text);
	return true;
}

/* Sentences, which do not go on one line. False: these are none. */
static bool
add_sentences(struct ctl_table *table, const struct data *data,
    const char *name, const char *label)
{
	struct sgate_bytes *items = NULL;
	struct buf text = {0};
	size_t i, count = 0;

	if (strcmp(name, "problems") != 0 ||
	    !data_get_strings(data, name, &items, &count))
		return false;
	for (i = 0; i < count; i++) {
		buf_reset(&text);
		buf_printf(&text, "%s.%zu", label, i + 1);
		ctl_table_text(table, buf_text(&text));
		ctl_table_add(table, items[i]);
	}
	if (count == 0) {
		ctl_table_text(table, label);
		ctl_table_text(table, "none");
	}
	buf_clear(&text);
	free(items);
	return true;
}

/* Of the many counters those that have counted something are shown. */
static bool
is_zero_count(const struct data *data, const char *name, const char *prefix)
{
	int64_t count;

	return (strcmp(prefix, "denials.") == 0 ||
		   strcmp(prefix, "counters.") == 0 ||
		   strcmp(prefix, "stores.") == 0) &&
	       data_get_integer(data, name, &count) && count == 0;
}

/* A session's data is shown as it is; other objects member by member. */
static void
add_object(struct ctl_table *table, const struct data *data, const char *prefix,
    unsigned depth, int64_t now_ms)
{
	const struct data *inner;
	const char *name;
	struct buf label = {0};
	size_t i;

	for (i = 0; (name = data_member_at(data, i)) != NULL; i++) {
		if (is_zero_count(data, name, prefix))
			continue;
		buf_reset(&label);
		buf_printf(&label, "%s%s", prefix, name);
		inner = strcmp(name, "data") == 0 ? NULL
						  : data_get_object(data, name);
		if (inner != NULL && depth < TABLE_DEPTH_MAX) {
			buf_add_char(&label, '.');
			add_object(
			    table, inner, buf_text(&label), depth + 1, now_ms);
		} else if (!add_objects(
			       table, data, name, buf_text(&label), now_ms) &&
			   !add_sentences(
			       table, data, name, buf_text(&label))) {
			ctl_table_text(table, buf_text(&label));
			add_value(table, data, name, now_ms);
		}
	}
	buf_clear(&label);
}

void
ctl_table_object(
    struct ctl_table *table, const struct data *data, int64_t now_ms)
{
	add_object(table, data, "", 1, now_ms);
}
