/*
 * sessgatectl create: a session from the command line, above all from a login
 * program that the web server runs. That program's user may open login.sock
 * and read no configuration; what the visitor chose (address, browser, cookie)
 * comes from the CGI environment and is not believed: it is checked or cut.
 */
#include "config.h"

#include "ctl.h"

#include "conf.h"
#include "cookie.h"
#include "form.h"
#include "return_to.h"

#include <stdlib.h>
#include <string.h>

#define AGENT_MAX 255
#define DATA_MAX ((size_t)64 * 1024)
#define DEFAULT_COOKIE "__Host-sid"

/* ---- the CGI environment ---- */

static bool
is_token(struct sgate_bytes text)
{
	return text.len == SGATE_TOKEN_LEN &&
	       bytes_is_name(text, SGATE_TOKEN_LEN, "-_");
}

/*
 * The token of that cookie. None, two, or one that cannot be a token: {NULL,
 * 0}. A stale or strange cookie must not stop a login.
 */
static struct sgate_bytes
find_token(struct sgate_bytes header, const char *name)
{
	struct sgate_bytes found;

	if (cookie_find(header, name, &found) != SGATE_REASON_OK ||
	    !is_token(found))
		return (struct sgate_bytes){NULL, 0};
	return found;
}

static const char *
cookie_name(struct ctl *ctl)
{
	const char *given = ctl_args_get(&ctl->args, "cookie-name");
	const struct sgate_conf *conf;

	if (given != NULL)
		return given;
	if (ctl_args_has(&ctl->args, "socket") &&
	    !ctl_args_has(&ctl->args, "config"))
		return DEFAULT_COOKIE;
	conf = ctl_conf(ctl);
	return conf == NULL ? NULL : conf->cookie.name;
}

/* A question about a token, or what shall become of it; quietly. */
static enum ctl_exit
ask_about(struct ctl *ctl, const char *route, struct sgate_bytes token,
    struct ctl_reply *out_reply)
{
	struct ctl_request request;
	struct json json;
	enum ctl_exit code;

	ctl_request_init(&request, "POST", route);
	request.is_quiet = true;
	json_init(&json, &request.body);
	json_object(&json, NULL);
	json_string(&json, "token", token);
	if (ctl->realm[0] != '\0')
		json_text(&json, "realm", ctl->realm);
	json_end(&json);
	code = ctl_ask(ctl, &request, out_reply);
	ctl_request_clear(&request);
	return code;
}

/*
 * Whether the daemon knows the token as a live session without a user: only
 * such a one can be replaced.
 */
static bool
is_anonymous(struct ctl *ctl, struct sgate_bytes token)
{
	struct ctl_reply reply;
	bool active = false;

	if (ask_about(ctl, "v1/introspect", token, &reply) == CTL_YES &&
	    data_get_bool(reply.data, "active", &active) && active)
		active = ctl_member(reply.data, "sub").len == 0;
	ctl_reply_clear(&reply);
	return active;
}

/*
 * The session that this browser has had ends with the new login: its cookie is
 * overwritten, and nobody could log it out any more. One that was replaced has
 * ended already. Whatever comes of it, the login stands.
 */
static void
end_old(struct ctl *ctl)
{
	const char *header = getenv("HTTP_COOKIE");
	const char *name;
	struct sgate_bytes token;
	struct ctl_reply reply;
	enum ctl_exit code;

	if (header == NULL || !ctl_args_has(&ctl->args, "from-cgi"))
		return;
	name = cookie_name(ctl);
	token = name == NULL ? (struct sgate_bytes){NULL, 0}
			     : find_token(bytes_of(header), name);
	if (token.len == 0)
		return;
	code = ask_about(ctl, "v1/end", token, &reply);
	(void)code;
	ctl_reply_clear(&reply);
}

/* False: said what is wrong. *out_token is {NULL, 0} when there is none. */
static bool
token_from_cgi(struct ctl *ctl, struct sgate_bytes *out_token)
{
	const char *header = getenv("HTTP_COOKIE");
	const char *name = cookie_name(ctl);

	*out_token = (struct sgate_bytes){NULL, 0};
	if (name == NULL)
		return false;
	if (header == NULL)
		return true;
	*out_token = find_token(bytes_of(header), name);
	if (out_token->len > 0 && !is_anonymous(ctl, *out_token))
		*out_token = (struct sgate_bytes){NULL, 0};
	return true;
}

/* Any bytes to a text of at most AGENT_MAX bytes: what is no text is '?'. */
static void
add_agent(struct buf *out, struct sgate_bytes agent)
{
	size_t len;

	while (agent.len > 0) {
		len = bytes_utf8_length(agent);
		if (out->len + (len == 0 ? 1 : len) > AGENT_MAX)
			return;
		if (len == 0 ||
		    (len == 1 &&
			bytes_has_control((struct sgate_bytes){agent.data, 1})))
			buf_add_char(out, '?');
		else
			buf_add(out, agent.data, len);
		agent.data += len == 0 ? 1 : len;
		agent.len -= len == 0 ? 1 : len;
	}
}

/* ---- the request ---- */

static bool
refuse(const char *name, const char *why)
{
	ctl_fail(CTL_USAGE, "--%s: %s", name, why);
	return false;
}

/* A text option as a JSON member. */
static bool
add_text(const struct ctl *ctl, struct json *json, const char *option,
    const char *member)
{
	const char *value = ctl_args_get(&ctl->args, option);

	if (value == NULL)
		return true;
	if (!bytes_is_utf8(bytes_of(value)))
		return refuse(option, "not UTF-8");
	json_text(json, member, value);
	return true;
}

static bool
add_texts(const struct ctl *ctl, struct json *json, const char *option,
    const char *member)
{
	const char *value;
	int i;

	if (!ctl_args_has(&ctl->args, option))
		return true;
	json_array(json, member);
	for (i = 0; (value = ctl_args_at(&ctl->args, option, i)) != NULL; i++) {
		if (!bytes_is_utf8(bytes_of(value)))
			return refuse(option, "not UTF-8");
		json_text(json, NULL, value);
	}
	json_end(json);
	return true;
}

static bool
add_duration(const struct ctl *ctl, struct json *json, const char *option,
    const char *member)
{
	int64_t ms;

	if (!ctl_get_duration(ctl, option, &ms))
		return false;
	if (ms == 0)
		return true;
	if (ms % 1000 != 0)
		return refuse(option, "whole seconds are needed");
	json_int(json, member, ms / 1000);
	return true;
}

static bool
add_user(const struct ctl *ctl, struct json *json)
{
	const char *user = ctl_args_get(&ctl->args, "user");
	bool anonymous = ctl_args_has(&ctl->args, "anonymous");

	/*
	 * A login program whose variable is empty must not get a session, not
	 * even one without a user: that has to be asked for by name.
	 */
	if ((user == NULL) != anonymous)
		return refuse("user", "needed, or else --anonymous");
	if (user != NULL && user[0] == '\0')
		return refuse("user", "empty");
	return add_text(ctl, json, "user", "user_id");
}

static bool
add_data(const struct ctl *ctl, struct json *json)
{
	const char *given = ctl_args_get(&ctl->args, "data");
	struct buf read = {0};
	struct sgate_bytes text;
	struct sgate_error err;
	bool is_right;

	if (given == NULL)
		return true;
	if (strcmp(given, "-") != 0) {
		text = bytes_of(given);
	} else if (ctl_read_stdin(&read, DATA_MAX, "data")) {
		text = buf_bytes(&read);
	} else {
		buf_wipe(&read);
		return false;
	}
	is_right = data_scan(text, DATA_MAX, &err) == SGATE_OK;
	if (is_right)
		json_raw(json, "data", text);
	else
		refuse("data", err.text);
	buf_wipe(&read);
	return is_right;
}

static bool
add_visitor(const struct ctl *ctl, struct json *json)
{
	bool from_cgi = ctl_args_has(&ctl->args, "from-cgi");
	const char *address = ctl_args_get(&ctl->args, "client-ip");
	const char *agent = ctl_args_get(&ctl->args, "user-agent");
	unsigned char parsed[16];
	struct buf clean = {0};

	if (address != NULL && address_parse(bytes_of(address), parsed) == 0)
		return refuse("client-ip", "not an address");
	if (address == NULL && from_cgi) {
		address = getenv("REMOTE_ADDR");
		if (address != NULL &&
		    address_parse(bytes_of(address), parsed) == 0)
			address = NULL;
	}
	if (address != NULL)
		json_text(json, "client_ip", address);
	if (agent == NULL && from_cgi)
		agent = getenv("HTTP_USER_AGENT");
	if (agent != NULL) {
		add_agent(&clean, bytes_of(agent));
		json_string(json, "user_agent", buf_bytes(&clean));
		buf_clear(&clean);
	}
	return true;
}

static bool
add_replaces(struct ctl *ctl, struct json *json)
{
	struct sgate_bytes token = {NULL, 0};
	struct buf read = {0};
	bool is_right = true;

	if (ctl_args_has(&ctl->args, "replaces-stdin")) {
		is_right =
		    ctl_read_stdin(&read, SGATE_TOKEN_LEN + 2, "token") &&
		    is_token(buf_bytes(&read));
		if (!is_right && read.len > 0)
			refuse("replaces-stdin", "not a token");
		token = buf_bytes(&read);
	} else if (ctl_args_has(&ctl->args, "from-cgi")) {
		is_right = token_from_cgi(ctl, &token);
	}
	if (is_right && token.len > 0)
		json_string(json, "replaces", token);
	buf_wipe(&read);
	return is_right;
}

/*
 * What the visitor was on the way to, for the daemon to judge: it knows what is
 * allowed. What cannot be read leads nowhere, and that is no error.
 */
static void
add_return_to(const struct ctl *ctl, struct json *json)
{
	const char *given = ctl_args_get(&ctl->args, "return-to");
	const char *query = getenv("QUERY_STRING");
	struct buf field = {0};
	struct sgate_bytes text = bytes_of(given == NULL ? "" : given);

	if (!ctl_args_has(&ctl->args, "redirect"))
		return;
	if (given == NULL && query != NULL &&
	    form_get(bytes_of(query), "return_to", &field) == FORM_FOUND)
		text = buf_bytes(&field);
	if (text.len > RETURN_TO_MAX || !bytes_is_utf8(text))
		text.len = 0;
	json_string(json, "return_to", text);
	buf_clear(&field);
}

static bool
check_redirect(const struct ctl *ctl)
{
	if (ctl_args_has(&ctl->args, "return-to") &&
	    !ctl_args_has(&ctl->args, "redirect"))
		return refuse("return-to", "is for --redirect");
	if (ctl_args_has(&ctl->args, "redirect") &&
	    !ctl_args_has(&ctl->args, "set-cookie"))
		return refuse("redirect", "is for --set-cookie");
	return true;
}

static bool
add_body(struct ctl *ctl, struct buf *body)
{
	struct json json;

	if (!check_redirect(ctl))
		return false;

	if (ctl_args_has(&ctl->args, "replaces-stdin") &&
	    ctl_args_has(&ctl->args, "data") &&
	    strcmp(ctl_args_get(&ctl->args, "data"), "-") == 0)
		return refuse("replaces-stdin",
		    "standard input cannot be the data and the token");
	json_init(&json, body);
	json_object(&json, NULL);
	if (!add_user(ctl, &json) ||
	    !add_text(ctl, &json, "context", "context") ||
	    !add_texts(ctl, &json, "contexts", "contexts") ||
	    !add_texts(ctl, &json, "role", "roles") ||
	    !add_duration(ctl, &json, "idle", "idle_timeout") ||
	    !add_duration(ctl, &json, "absolute", "absolute_timeout") ||
	    !add_visitor(ctl, &json) || !add_replaces(ctl, &json) ||
	    !add_data(ctl, &json))
		return false;
	if (ctl->realm[0] != '\0')
		json_text(&json, "realm", ctl->realm);
	if (ctl_args_has(&ctl->args, "remember"))
		json_bool(&json, "remember", true);
	add_return_to(ctl, &json);
	json_end(&json);
	return true;
}

/* ---- the answer ---- */

static void
print_line(const char *name, struct sgate_bytes value)
{
	printf("%s: ", name);
	fwrite(value.data, 1, value.len, stdout);
	putchar('\n');
}

/* Header lines and nothing else; never a part of one. */
static enum ctl_exit
print_set_cookie(const struct ctl *ctl, const struct ctl_reply *reply)
{
	struct sgate_bytes cookie = ctl_member(reply->data, "set_cookie");
	struct sgate_bytes location = ctl_member(reply->data, "return_to");

	if (location.len == 0)
		location = bytes_of("/");
	if (cookie.len == 0 || bytes_has_control(cookie) ||
	    bytes_has_control(location))
		return ctl_fail(CTL_UNAVAILABLE,
		    "the daemon's answer has no cookie that can be printed");
	print_line("Set-Cookie", cookie);
	if (ctl_args_has(&ctl->args, "redirect")) {
		print_line("Status", bytes_of("303 See Other"));
		print_line("Location", location);
	}
	return CTL_YES;
}

/* The API's answer, without what must not be printed unless asked for. */
static enum ctl_exit
print_json(const struct ctl_reply *reply)
{
	struct buf session = {0}, text = {0};
	struct json json;
	enum ctl_exit code = CTL_YES;

	json_init(&json, &text);
	json_object(&json, NULL);
	if (data_get_json(reply->data, "session", &session))
		json_raw(&json, "session", buf_bytes(&session));
	json_end(&json);
	if (buf_failed(&text) || buf_failed(&session))
		code = ctl_fail_memory();
	else
		puts(buf_text(&text));
	buf_clear(&session);
	buf_clear(&text);
	return code;
}

static enum ctl_exit
print_created(const struct ctl *ctl, const struct ctl_reply *reply)
{
	const struct data *session = data_get_object(reply->data, "session");
	bool with_token = ctl_args_has(&ctl->args, "print-token");
	struct ctl_table table;

	if (ctl_args_has(&ctl->args, "set-cookie"))
		return print_set_cookie(ctl, reply);
	if (ctl->json)
		return with_token ? ctl_print_json(reply) : print_json(reply);
	if (session == NULL)
		return ctl_fail(
		    CTL_UNAVAILABLE, "the daemon's answer has no session");
	ctl_table_init(&table, 2, NULL);
	ctl_table_object(&table, session, ctl->now_ms);
	if (with_token)
		ctl_table_pair(
		    &table, "token", ctl_member(reply->data, "token"));
	return ctl_print(&table);
}

enum ctl_exit
ctl_create(struct ctl *ctl)
{
	struct ctl_request request;
	struct ctl_reply reply;
	enum ctl_exit code;

	ctl_request_init(&request, "POST", "v1/sessions");
	request.idempotency_key = ctl_args_get(&ctl->args, "idempotency-key");
	if (!add_body(ctl, &request.body)) {
		ctl_request_clear(&request);
		return CTL_USAGE;
	}
	code = ctl_ask(ctl, &request, &reply);
	if (code == CTL_YES) {
		end_old(ctl);
		code = print_created(ctl, &reply);
	}
	ctl_reply_clear(&reply);
	ctl_request_clear(&request);
	return code;
}
