/* The commands that ask the daemon: show, list, end, cleanup, block, audit,
 * status, stats. */
#include "config.h"

#include "ctl.h"

#include "clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LIST_LIMIT "1000"

/* ---- arguments ---- */

bool
ctl_check_ref(const char *text)
{
	struct sgate_ref ref;

	if (sgate_ref_parse(bytes_of(text), &ref) == SGATE_OK)
		return true;
	/* It may be a token, which must not get into a log as well. */
	if (strlen(text) > SGATE_REF_HEX)
		ctl_fail(CTL_USAGE,
		    "a session's ref is 24 hex digits; a token goes in by "
		    "standard input, with - in the ref's place");
	else
		ctl_fail(
		    CTL_USAGE, "%s: a session's ref is 24 hex digits", text);
	return false;
}

/*
 * A request about a user, who stands in the query: in a path the API refuses
 * encoded slashes and dots, and names have those. False: said what is wrong.
 */
static bool
init_user_request(const struct ctl *ctl, struct ctl_request *request,
    const char *method, const char *route)
{
	struct sgate_bytes user = bytes_of(ctl->args.arguments[0]);

	ctl_request_init(request, method, route);
	ctl_request_query(request, "user_id", user.data);
	if (user.len > 0 && user.len <= 128 && bytes_is_utf8(user) &&
	    !bytes_has_control(user))
		return true;
	ctl_fail(CTL_USAGE,
	    "a user is 1 to 128 bytes of UTF-8 without control characters");
	return false;
}

/* ---- one session ---- */

/* POST a token from standard input to a route. */
static enum ctl_exit
ask_token(struct ctl *ctl, const char *route, struct ctl_reply *reply)
{
	struct ctl_request request;
	struct buf token = {0};
	struct json json;
	enum ctl_exit code = CTL_USAGE;

	memset(reply, 0, sizeof(*reply));
	ctl_request_init(&request, "POST", route);
	json_init(&json, &request.body);
	if (ctl_read_stdin(&token, 256, "token")) {
		if (bytes_is_utf8(buf_bytes(&token))) {
			json_object(&json, NULL);
			json_string(&json, "token", buf_bytes(&token));
			json_end(&json);
			code = ctl_ask(ctl, &request, reply);
		} else {
			ctl_fail(CTL_USAGE, "token: not a token");
		}
	}
	buf_wipe(&token);
	ctl_request_clear(&request);
	return code;
}

static enum ctl_exit
ask_session(
    struct ctl *ctl, const char *ref, bool is_quiet, struct ctl_reply *reply)
{
	struct ctl_request request;
	enum ctl_exit code;

	ctl_request_init(&request, "GET", "v1/sessions/");
	request.is_quiet = is_quiet;
	buf_add_text(&request.route, ref);
	ctl_request_query(&request, "state", "any");
	code = ctl_ask(ctl, &request, reply);
	ctl_request_clear(&request);
	return code;
}

enum ctl_exit
ctl_print_object(struct ctl *ctl, const struct ctl_reply *reply)
{
	struct ctl_table table;

	if (ctl->json)
		return ctl_print_json(reply);
	ctl_table_init(&table, 2, NULL);
	ctl_table_object(&table, reply->data, ctl->now_ms);
	return ctl_print(&table);
}

/* {"state", "end_reason", "ended_at", "session": {...}} */
static enum ctl_exit
print_session(struct ctl *ctl, const struct ctl_reply *reply)
{
	const struct data *session = data_get_object(reply->data, "session");
	struct sgate_bytes state = ctl_member(reply->data, "state");
	bool is_live = bytes_equal_text(state, "live");
	struct ctl_table table;
	enum ctl_exit code;

	if (ctl->json) {
		code = ctl_print_json(reply);
	} else if (session == NULL) {
		code = ctl_fail(
		    CTL_UNAVAILABLE, "the daemon's answer has no session");
	} else {
		ctl_table_init(&table, 2, NULL);
		ctl_table_object(&table, session, ctl->now_ms);
		ctl_table_pair(&table, "state", state);
		if (!is_live) {
			ctl_table_pair(&table, "end_reason",
			    ctl_member(reply->data, "end_reason"));
			ctl_table_text(&table, "ended_at");
			ctl_table_time(&table,
			    ctl_member_time(reply->data, "ended_at"),
			    ctl->now_ms);
		}
		code = ctl_print(&table);
	}
	return code == CTL_YES && !is_live ? CTL_NO : code;
}

/*
 * What introspection says, without set_cookie: that holds a token, after a
 * rotation.
 */
static enum ctl_exit
print_introspection(struct ctl *ctl, const struct ctl_reply *reply)
{
	static char names[][8] = {
	    "active", "sub", "iat", "exp", "sid", "roles", "context"};
	char *const shown[] = {names[0], names[1], names[2], names[3], names[4],
	    names[5], names[6], NULL};
	struct data *members = NULL;
	struct sgate_error err;
	struct ctl_table table;
	struct buf text = {0};
	enum ctl_exit code = CTL_YES;

	if (data_filter(reply->data, shown, &members, &err) != SGATE_OK ||
	    data_print(members, &text, &err) != SGATE_OK) {
		code = ctl_fail_error(&err);
	} else if (ctl->json) {
		puts(buf_text(&text));
	} else {
		ctl_table_init(&table, 2, NULL);
		ctl_table_object(&table, members, ctl->now_ms);
		code = ctl_print(&table);
	}
	buf_clear(&text);
	data_free(members);
	return code;
}

/*
 * By token: introspection says which session it is; its other members need a
 * socket that may see them (control.sock), else the introspection is shown.
 */
static enum ctl_exit
show_token(struct ctl *ctl)
{
	struct ctl_reply introspection, session = {0};
	struct buf ref = {0};
	enum ctl_exit code = ask_token(ctl, "v1/introspect", &introspection);
	bool active = false;

	if (code != CTL_YES)
		goto out;
	if (!data_get_bool(introspection.data, "active", &active) || !active) {
		if (ctl->json)
			print_introspection(ctl, &introspection);
		code = ctl_fail(CTL_NO, "no live session has this token");
		goto out;
	}
	buf_add_bytes(&ref, ctl_member(introspection.data, "sid"));
	if (ask_session(ctl, buf_text(&ref), true, &session) == CTL_YES)
		code = print_session(ctl, &session);
	else
		code = print_introspection(ctl, &introspection);
out:
	buf_clear(&ref);
	ctl_reply_clear(&session);
	ctl_reply_clear(&introspection);
	return code;
}

enum ctl_exit
ctl_show(struct ctl *ctl)
{
	const char *ref = ctl->args.arguments[0];
	struct ctl_reply reply;
	enum ctl_exit code;

	if (strcmp(ref, "-") == 0)
		return show_token(ctl);
	if (!ctl_check_ref(ref))
		return CTL_USAGE;
	code = ask_session(ctl, ref, false, &reply);
	if (code == CTL_YES)
		code = print_session(ctl, &reply);
	ctl_reply_clear(&reply);
	return code;
}

enum ctl_exit
ctl_end(struct ctl *ctl)
{
	const char *ref = ctl->args.arguments[0];
	const char *reason = ctl_args_get(&ctl->args, "reason");
	struct ctl_request request;
	struct ctl_reply reply;
	enum ctl_exit code;

	if (strcmp(ref, "-") == 0) {
		if (reason != NULL)
			return ctl_fail(CTL_USAGE,
			    "--reason goes with a ref, not with a token");
		code = ask_token(ctl, "v1/end", &reply);
	} else {
		if (!ctl_check_ref(ref))
			return CTL_USAGE;
		ctl_request_init(&request, "DELETE", "v1/sessions/");
		buf_add_text(&request.route, ref);
		ctl_request_query(&request, "reason", reason);
		code = ctl_ask(ctl, &request, &reply);
		ctl_request_clear(&request);
	}
	if (code == CTL_YES && ctl->json)
		code = ctl_print_json(&reply);
	else if (code == CTL_YES)
		puts("ended");
	ctl_reply_clear(&reply);
	return code;
}

/* ---- a user's sessions ---- */

static enum ctl_exit
print_list(struct ctl *ctl, const struct ctl_reply *reply)
{
	static const char *const headers[] = {
	    "REF", "SINCE", "LAST SEEN", "ADDRESS", "ROLES", "AGENT"};
	const struct data *session;
	struct ctl_table table;
	size_t i, count;
	struct buf roles = {0};

	if (ctl->json)
		return ctl_print_json(reply);
	count = data_array_count(reply->data, "sessions");
	if (count == 0) {
		puts("no live sessions");
		return CTL_YES;
	}
	ctl_table_init(&table, 6, headers);
	for (i = 0; i < count; i++) {
		session = data_array_object(reply->data, "sessions", i);
		if (session == NULL)
			continue;
		buf_reset(&roles);
		ctl_add_strings(&roles, session, "roles");
		ctl_table_add(&table, ctl_member(session, "ref"));
		ctl_table_time(&table, ctl_member_time(session, "created_at"),
		    ctl->now_ms);
		ctl_table_time(&table, ctl_member_time(session, "last_seen_at"),
		    ctl->now_ms);
		ctl_table_add(&table, ctl_member(session, "client_ip"));
		ctl_table_add(&table, buf_bytes(&roles));
		ctl_table_add(&table, ctl_member(session, "user_agent"));
	}
	buf_clear(&roles);
	return ctl_print(&table);
}

enum ctl_exit
ctl_list(struct ctl *ctl)
{
	struct ctl_request request;
	struct ctl_reply reply = {0};
	enum ctl_exit code = CTL_USAGE;

	if (init_user_request(ctl, &request, "GET", "v1/users/sessions")) {
		ctl_request_query(&request, "limit", LIST_LIMIT);
		code = ctl_ask(ctl, &request, &reply);
	}
	if (code == CTL_YES)
		code = print_list(ctl, &reply);
	ctl_reply_clear(&reply);
	ctl_request_clear(&request);
	return code;
}

static enum ctl_exit
print_ended(struct ctl *ctl, const struct ctl_reply *reply, const char *what)
{
	int64_t ended = 0;

	if (ctl->json)
		return ctl_print_json(reply);
	if (data_get_integer(reply->data, "ended", &ended))
		printf("%s%lld session%s ended\n", what, (long long)ended,
		    ended == 1 ? "" : "s");
	else
		printf("%sdone\n", what);
	return CTL_YES;
}

enum ctl_exit
ctl_cleanup(struct ctl *ctl)
{
	const char *except = ctl_args_get(&ctl->args, "except");
	struct ctl_request request;
	struct ctl_reply reply = {0};
	enum ctl_exit code = CTL_USAGE;

	if (except != NULL && !ctl_check_ref(except))
		return CTL_USAGE;
	if (init_user_request(ctl, &request, "DELETE", "v1/users/sessions")) {
		ctl_request_query(&request, "except", except);
		code = ctl_ask(ctl, &request, &reply);
	}
	if (code == CTL_YES)
		code = print_ended(ctl, &reply, "");
	ctl_reply_clear(&reply);
	ctl_request_clear(&request);
	return code;
}

static void
add_block_body(struct buf *body, const char *reason)
{
	struct json json;

	if (reason == NULL)
		return;
	json_init(&json, body);
	json_object(&json, NULL);
	json_text(&json, "reason", reason);
	json_end(&json);
}

enum ctl_exit
ctl_block(struct ctl *ctl)
{
	const char *reason = ctl_args_get(&ctl->args, "reason");
	bool remove = ctl_args_has(&ctl->args, "remove");
	struct ctl_request request;
	struct ctl_reply reply = {0};
	enum ctl_exit code = CTL_USAGE;

	if (remove && reason != NULL)
		return ctl_fail(CTL_USAGE, "--reason does not go with "
					   "--remove");
	if (reason != NULL && !bytes_is_utf8(bytes_of(reason)))
		return ctl_fail(CTL_USAGE, "--reason: not UTF-8");
	if (init_user_request(
		ctl, &request, remove ? "DELETE" : "PUT", "v1/users/block")) {
		add_block_body(&request.body, reason);
		code = ctl_ask(ctl, &request, &reply);
	}
	if (code == CTL_YES && remove && !ctl->json)
		puts("not blocked any more");
	else if (code == CTL_YES)
		code = print_ended(ctl, &reply, "blocked; ");
	ctl_reply_clear(&reply);
	ctl_request_clear(&request);
	return code;
}
