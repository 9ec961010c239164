/* The commands that set something for all hosts: maintenance, flush. */
#include "config.h"

#include "ctl.h"

#include <inttypes.h>
#include <string.h>

/* Without --realm all realms are meant; --realm '' is the default one. */
static void
init_request(const struct ctl *ctl, struct ctl_request *request,
    const char *method, const char *route)
{
	const char *realm = ctl_args_get(&ctl->args, "realm");

	ctl_request_init(request, method, route);
	if (realm != NULL && realm[0] == '\0')
		ctl_request_query(request, "realm", "");
}

static const char *
realm_phrase(const struct ctl *ctl, bool is_all)
{
	if (is_all)
		return "all realms";
	return ctl->realm[0] == '\0' ? "the default realm" : ctl->realm;
}

/* An array of the values of a repeated option; nothing when there are none. */
static void
add_values(const struct ctl *ctl, struct json *json, const char *option,
    const char *member)
{
	int i;

	if (!ctl_args_has(&ctl->args, option))
		return;
	json_array(json, member);
	for (i = 0; ctl_args_at(&ctl->args, option, i) != NULL; i++)
		json_text(json, NULL, ctl_args_at(&ctl->args, option, i));
	json_end(json);
}

static bool
check_texts(const struct ctl *ctl)
{
	static const char *const names[] = {"role", "but-role", "reason"};
	const char *value;
	size_t i;
	int k;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (k = 0;
		     (value = ctl_args_at(&ctl->args, names[i], k)) != NULL;
		     k++)
			if (!bytes_is_utf8(bytes_of(value))) {
				ctl_fail(
				    CTL_USAGE, "--%s: not UTF-8", names[i]);
				return false;
			}
	return true;
}

/* ---- maintenance ---- */

static enum ctl_exit
print_maintenance(struct ctl *ctl, const struct ctl_reply *reply)
{
	struct sgate_bytes mode = ctl_member(reply->data, "mode");
	struct buf roles = {0};
	struct ctl_table table;
	bool is_all = false;

	if (ctl->json)
		return ctl_print_json(reply);
	if (bytes_equal_text(mode, "off")) {
		puts("off");
		return CTL_YES;
	}
	(void)!data_get_bool(reply->data, "all_realms", &is_all);
	ctl_add_strings(&roles, reply->data, "roles");
	ctl_table_init(&table, 2, NULL);
	ctl_table_pair(&table, "mode", mode);
	ctl_table_text(&table, "of");
	ctl_table_text(&table, realm_phrase(ctl, is_all));
	ctl_table_pair(&table, "let through", buf_bytes(&roles));
	ctl_table_pair(&table, "reason", ctl_member(reply->data, "reason"));
	ctl_table_text(&table, "since");
	ctl_table_time(
	    &table, ctl_member_time(reply->data, "since"), ctl->now_ms);
	ctl_table_text(&table, "until");
	ctl_table_time(
	    &table, ctl_member_time(reply->data, "until"), ctl->now_ms);
	buf_clear(&roles);
	return ctl_print(&table);
}

/* --until or --for, as UTC ms; 0: neither. False: said so. */
static bool
read_until(const struct ctl *ctl, int64_t *out_ms)
{
	const char *until = ctl_args_get(&ctl->args, "until");
	int64_t for_ms;

	*out_ms = 0;
	if (!ctl_get_duration(ctl, "for", &for_ms))
		return false;
	if (until != NULL && for_ms != 0) {
		ctl_fail(CTL_USAGE, "--until and --for: give one of them");
		return false;
	}
	if (for_ms != 0)
		*out_ms = ctl->now_ms + for_ms;
	if (until == NULL)
		return true;
	if (ctl_parse_since(until, ctl->now_ms, out_ms) &&
	    *out_ms > ctl->now_ms)
		return true;
	ctl_fail(CTL_USAGE,
	    "--until %s: a moment to come is needed, as 2026-11-22T14:03; or "
	    "--for 2h",
	    until);
	return false;
}

/* False: said what is wrong. */
static bool
add_maintenance_body(struct ctl *ctl, const char *mode, struct buf *body)
{
	const char *reason = ctl_args_get(&ctl->args, "reason");
	struct json json;
	int64_t until_ms;

	if (ctl_args_has(&ctl->args, "role") &&
	    ctl_args_has(&ctl->args, "nobody")) {
		ctl_fail(CTL_USAGE, "--role and --nobody: give one of them");
		return false;
	}
	if (!check_texts(ctl) || !read_until(ctl, &until_ms))
		return false;
	json_init(&json, body);
	json_object(&json, NULL);
	json_text(&json, "mode", mode);
	add_values(ctl, &json, "role", "roles");
	if (ctl_args_has(&ctl->args, "nobody")) {
		json_array(&json, "roles");
		json_end(&json);
	}
	if (reason != NULL)
		json_text(&json, "reason", reason);
	if (until_ms != 0)
		json_int(&json, "until", (until_ms + 999) / 1000);
	json_end(&json);
	return true;
}

static bool
has_options(const struct ctl *ctl)
{
	static const char *const names[] = {
	    "role", "nobody", "reason", "until", "for"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (ctl_args_has(&ctl->args, names[i])) {
			ctl_fail(CTL_USAGE,
			    "--%s goes with normal or emergency", names[i]);
			return true;
		}
	return false;
}

enum ctl_exit
ctl_maintenance(struct ctl *ctl)
{
	const char *mode =
	    ctl->args.arguments_count > 0 ? ctl->args.arguments[0] : NULL;
	bool is_set = mode != NULL && (strcmp(mode, "normal") == 0 ||
					  strcmp(mode, "emergency") == 0);
	struct ctl_request request;
	struct ctl_reply reply = {0};
	enum ctl_exit code = CTL_USAGE;

	if (mode != NULL && !is_set && strcmp(mode, "off") != 0)
		return ctl_fail(CTL_USAGE,
		    "maintenance %s: normal, emergency or off, or nothing to "
		    "be told what is in force",
		    mode);
	init_request(ctl, &request,
	    mode == NULL ? "GET"
	    : is_set     ? "PUT"
			 : "DELETE",
	    "v1/maintenance");
	if (is_set ? add_maintenance_body(ctl, mode, &request.body)
		   : !has_options(ctl))
		code = ctl_ask(ctl, &request, &reply);
	if (code == CTL_YES)
		code = print_maintenance(ctl, &reply);
	ctl_reply_clear(&reply);
	ctl_request_clear(&request);
	return code;
}

/* ---- flush ---- */

static enum ctl_exit
print_flush(struct ctl *ctl, const struct ctl_reply *reply)
{
	struct buf text = {0};
	bool is_all = false;

	if (ctl->json)
		return ctl_print_json(reply);
	(void)!data_get_bool(reply->data, "all_realms", &is_all);
	buf_printf(
	    &text, "flushed in %s: created before ", realm_phrase(ctl, is_all));
	ctl_add_time(
	    &text, ctl_member_time(reply->data, "before"), ctl->now_ms);
	if (buf_failed(&text)) {
		buf_clear(&text);
		return ctl_fail_memory();
	}
	puts(buf_text(&text));
	buf_clear(&text);
	return CTL_YES;
}

/* False: said what is wrong. */
static bool
add_flush_body(struct ctl *ctl, struct buf *body)
{
	const char *before = ctl_args_get(&ctl->args, "before");
	bool is_all = ctl_args_has(&ctl->args, "all");
	int ways = is_all + ctl_args_has(&ctl->args, "role") +
		   ctl_args_has(&ctl->args, "but-role");
	struct json json;
	int64_t before_ms = 0;

	if (ways != 1) {
		ctl_fail(CTL_USAGE,
		    "say whom: --all, or --role ROLE, or all --but-role ROLE");
		return false;
	}
	if (before != NULL &&
	    (!ctl_parse_since(before, ctl->now_ms, &before_ms) ||
		before_ms > ctl->now_ms)) {
		ctl_fail(CTL_USAGE,
		    "--before %s: a moment that is past is needed, as "
		    "2026-11-22T14:03, or 2h",
		    before);
		return false;
	}
	if (!check_texts(ctl))
		return false;
	json_init(&json, body);
	json_object(&json, NULL);
	if (is_all)
		json_bool(&json, "all", true);
	add_values(ctl, &json, "role", "roles");
	add_values(ctl, &json, "but-role", "but_roles");
	if (before_ms != 0)
		json_int(&json, "before", before_ms / 1000);
	json_end(&json);
	return true;
}

enum ctl_exit
ctl_flush(struct ctl *ctl)
{
	struct ctl_request request;
	struct ctl_reply reply = {0};
	enum ctl_exit code = CTL_USAGE;

	init_request(ctl, &request, "POST", "v1/flush");
	if (add_flush_body(ctl, &request.body))
		code = ctl_ask(ctl, &request, &reply);
	if (code == CTL_YES)
		code = print_flush(ctl, &reply);
	ctl_reply_clear(&reply);
	ctl_request_clear(&request);
	return code;
}
