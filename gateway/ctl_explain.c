/*
 * sessgatectl explain: a session's story in plain words, from its row and its
 * audit rows. When the row has been deleted, the audit rows still tell it. Of
 * a reason: what it means, and what to do.
 */
#include "config.h"

#include "ctl.h"

#include <string.h>

#define EVENTS_LIMIT "1000"

/* Of each reason of enum sgate_reason but OK, what it means and what to do. */
struct reason_words {
	const char *reason;
	const char *sentence; /* the end of "It ended because ..." */
	const char *todo;
};

static const struct reason_words *
find_reason(struct sgate_bytes reason)
{
	static const struct reason_words all[] = {
	    {"expired_idle", "it was not used for longer than its idle timeout",
		"log in again; session.idle_timeout is how long that is, and "
		"pages that stay open can use sessgate.js"},
	    {"expired_absolute", "its absolute timeout had come",
		"log in again; session.absolute_timeout is how long a session "
		"may live at most"},
	    {"logged_out", "the user logged out", "log in again"},
	    {"revoked", "it was revoked by an administrator or a program",
		"the event above names who; the user may log in again unless "
		"blocked"},
	    {"replaced", "a login took its place",
		"nothing: the user goes on with the newer session "
		"(sessgatectl list USER)"},
	    {"theft",
		"an old secret of it was used: somebody had copied the cookie",
		"ask the user; look where the cookie could be read (plain "
		"http, a program that writes cookies into a log), end the "
		"others with sessgatectl cleanup USER"},
	    {"limit", "the user had too many sessions, and it was the oldest",
		"log out elsewhere, or raise session.max_sessions"},
	    {"blocked", "the user was blocked",
		"sessgatectl block USER --remove lets the user in again"},
	    {"flushed", "an administrator ended many sessions at once",
		"log in again"},
	    {"binding",
		"it was used from another address or browser than the one it "
		"was bound to",
		"if that was the user (an update of the browser, another "
		"network), set session.bind_agent or session.bind_address to "
		"log"},
	    {"none", "no session cookie came with the request",
		"log in; if the user has, the browser does not send the "
		"cookie: look at its name, path, domain and Secure"},
	    {"malformed",
		"the cookie, or the request, has not the form of ours",
		"delete the cookie and log in again; if it goes on, look which "
		"program sets a cookie of that name"},
	    {"bad_tag", "the token was not signed by a key of this host",
		"log in again; if many are refused, compare sessgatectl key "
		"list on all hosts, and see whether the realm is the same"},
	    {"ambiguous", "two session cookies came with the request",
		"delete both; look who else sets one of that name, with "
		"another path or domain"},
	    {"unknown", "the token is genuine, and no store has its session",
		"log in again; if many are, a store was restored from an older "
		"dump (sessgatectl db restored)"},
	    {"role", "the session has none of the roles that the policy wants",
		"give the user the role at the login, or look at "
		"policy.NAME.require_role"},
	    {"auth_age", "the login is longer ago than the policy allows",
		"log in again; policy.NAME.max_auth_age is how long"},
	    {"csrf", "a request that changes something came from another site",
		"if that site is yours, name it in session.origins; a form of "
		"one's own needs the field csrf"},
	    {"policy", "the request names a policy or realm that there is not",
		"compare SESSGATE_POLICY and SESSGATE_REALM in the web "
		"server's configuration with sessgatectl config show"},
	    {"listener", "the listener that was asked does not allow it",
		"ask another one, or look at listener.NAME.allow and realm"},
	    {"rate", "too many logins came from one address",
		"wait a minute; if that address is a proxy of yours, name it "
		"in gateway.trusted_proxies"},
	    {"maintenance", "the site is in maintenance",
		"sessgatectl maintenance tells which; off ends it"},
	    {"store", "no store could answer, or a row is damaged",
		"sessgatectl status says what is wrong, sessgatectl doctor "
		"what "
		"to do"},
	    {"overload", "the gateway had too much to do",
		"sessgatectl status --watch; more workers, or another host"},
	};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (bytes_equal_text(reason, all[i].reason))
			return &all[i];
	return NULL;
}

/* What a kind of event means, as the end of "it ...". */
static const char *
kind_phrase(struct sgate_bytes kind)
{
	static const char *const phrases[][2] = {
	    {"create", "was created"},
	    {"update", "was changed"},
	    {"extend", "was extended"},
	    {"rotate", "got a new secret"},
	    {"end", "ended"},
	    {"expire", "expired"},
	    {"replace", "was replaced"},
	    {"cleanup", "ended with the user's other sessions"},
	    {"block", "ended when the user was blocked"},
	};
	size_t i;

	for (i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (bytes_equal_text(kind, phrases[i][0]))
			return phrases[i][1];
	return NULL;
}

static void
add_labelled(struct buf *out, const char *label, struct sgate_bytes value)
{
	if (value.len == 0)
		return;
	buf_add_text(out, label);
	ctl_add_clean(out, value);
}

/* "It belongs to alice (realm shop; roles: editor; context: 12)." */
static void
tell_owner(struct buf *out, const struct data *session)
{
	struct sgate_bytes user = ctl_member(session, "user_id");
	struct sgate_bytes realm = ctl_member(session, "realm");
	struct buf roles = {0};

	if (user.len == 0) {
		buf_add_text(out, "It has no user: it is anonymous");
	} else {
		buf_add_text(out, "It belongs to ");
		ctl_add_clean(out, user);
	}
	ctl_add_strings(&roles, session, "roles");
	add_labelled(out, ", in the realm ", realm);
	add_labelled(out, ", with the roles ", buf_bytes(&roles));
	add_labelled(out, ", in the context ", ctl_member(session, "context"));
	buf_add_text(out, ".\n");
	buf_clear(&roles);
}

static void
tell_event(const struct ctl *ctl, struct buf *out, const struct data *event)
{
	struct sgate_bytes kind = ctl_member(event, "kind");
	struct sgate_bytes reason = ctl_member(event, "reason");
	const char *phrase = kind_phrase(kind);

	buf_add_text(out, "  ");
	ctl_add_time(out, ctl_member_time(event, "at"), ctl->now_ms);
	if (phrase != NULL) {
		buf_printf(out, ": it %s", phrase);
	} else {
		buf_add_text(out, ": ");
		ctl_add_clean(out, kind);
	}
	if (reason.len > 0 && !bytes_equal_text(reason, "ok")) {
		add_labelled(out, " (", reason);
		buf_add_char(out, ')');
	}
	add_labelled(out, ", by ", ctl_member(event, "actor"));
	add_labelled(out, " on ", ctl_member(event, "host"));
	add_labelled(out, ", for the address ", ctl_member(event, "client_ip"));
	add_labelled(out, ": ", ctl_member(event, "detail"));
	buf_add_char(out, '\n');
}

static void
tell_moment(const struct ctl *ctl, struct buf *out, const char *label,
    const struct data *session, const char *member)
{
	int64_t ms = ctl_member_time(session, member);

	if (ms == 0)
		return;
	buf_add_text(out, label);
	ctl_add_time(out, ms, ctl->now_ms);
}

static void
tell_end(const struct ctl *ctl, struct buf *out, const struct data *answer)
{
	const struct data *session = data_get_object(answer, "session");
	struct sgate_bytes state = ctl_member(answer, "state");
	struct sgate_bytes reason = ctl_member(answer, "end_reason");
	const struct reason_words *words = find_reason(reason);

	if (bytes_equal_text(state, "live")) {
		buf_add_text(out, "It is live");
		tell_moment(ctl, out, ", last used ", session, "last_seen_at");
		tell_moment(
		    ctl, out, "; unused it ends ", session, "idle_expires_at");
		tell_moment(ctl, out, ", in any case ", session, "expires_at");
		buf_add_text(out, ".\n");
		return;
	}
	/* Expired, and the reaper has not come by yet. */
	buf_add_text(out,
	    bytes_equal_text(state, "expired") ? "It has expired" : "It ended");
	tell_moment(ctl, out, " ", answer, "ended_at");
	if (words != NULL)
		buf_printf(out, ", because %s", words->sentence);
	add_labelled(out, " (", reason);
	buf_add_text(out, reason.len > 0 ? ").\n" : ".\n");
	if (words != NULL)
		buf_printf(out, "What to do: %s.\n", words->todo);
}

static void
tell(const struct ctl *ctl, struct buf *out, const struct data *answer,
    const struct data *audit)
{
	size_t i, count = data_array_count(audit, "events");
	const struct data *session =
	    answer == NULL ? NULL : data_get_object(answer, "session");
	const struct data *event;

	buf_printf(out, "Session %s\n", ctl->args.arguments[0]);
	if (session != NULL)
		tell_owner(out, session);
	else
		buf_add_text(out, "Its row is not there any more; this is what "
				  "the audit trail has.\n");
	if (count == 0)
		buf_add_text(out, "The audit trail has nothing about it.\n");
	for (i = count; i-- > 0;) {
		event = data_array_object(audit, "events", i);
		if (event != NULL)
			tell_event(ctl, out, event);
	}
	if (session != NULL)
		tell_end(ctl, out, answer);
}

static void
tell_json(struct buf *out, const struct ctl_reply *session,
    const struct ctl_reply *audit)
{
	struct sgate_bytes answer = session->answer.body;
	struct buf events = {0};
	struct json json;

	while (answer.len > 0 && answer.data[answer.len - 1] == '\n')
		answer.len--;

	json_init(&json, out);
	json_object(&json, NULL);
	if (session->status == 200)
		json_raw(&json, "session", answer);
	else
		json_null(&json, "session");
	if (data_get_json(audit->data, "events", &events))
		json_raw(&json, "events", buf_bytes(&events));
	json_end(&json);
	buf_add_char(out, '\n');
	if (buf_failed(&events))
		out->failed = true;
	buf_clear(&events);
}

static enum ctl_exit
ask_both(struct ctl *ctl, struct ctl_reply *session, struct ctl_reply *audit)
{
	const char *ref = ctl->args.arguments[0];
	struct ctl_request request;
	enum ctl_exit code;

	ctl_request_init(&request, "GET", "v1/audit");
	ctl_request_query(&request, "ref", ref);
	ctl_request_query(&request, "limit", EVENTS_LIMIT);
	code = ctl_ask(ctl, &request, audit);
	ctl_request_clear(&request);
	if (code != CTL_YES)
		return code;
	ctl_request_init(&request, "GET", "v1/sessions/");
	buf_add_text(&request.route, ref);
	ctl_request_query(&request, "state", "any");
	/* Not found is no failure when there are audit rows. */
	request.is_quiet = data_array_count(audit->data, "events") > 0;
	code = ctl_ask(ctl, &request, session);
	ctl_request_clear(&request);
	if (session->status == 404 && request.is_quiet)
		return CTL_YES;
	if (code != CTL_YES && request.is_quiet)
		ctl_fail(code, "the session could not be read");
	return code;
}

/* What a reason of a log, of X-Session-Reason or of the metrics means. */
static enum ctl_exit
explain_reason(const struct ctl *ctl, const struct reason_words *words)
{
	struct buf out = {0};
	struct json json;
	enum ctl_exit code = CTL_YES;

	if (ctl->json) {
		json_init(&json, &out);
		json_object(&json, NULL);
		json_text(&json, "reason", words->reason);
		json_text(&json, "meaning", words->sentence);
		json_text(&json, "todo", words->todo);
		json_end(&json);
		buf_add_char(&out, '\n');
	} else {
		buf_printf(&out, "%s: %s.\nWhat to do: %s.\n", words->reason,
		    words->sentence, words->todo);
	}
	if (buf_failed(&out))
		code = ctl_fail_memory();
	else
		fputs(buf_text(&out), stdout);
	buf_clear(&out);
	return code;
}

enum ctl_exit
ctl_explain(struct ctl *ctl)
{
	const struct reason_words *words =
	    find_reason(bytes_of(ctl->args.arguments[0]));

	struct ctl_reply session = {0}, audit = {0};
	struct buf out = {0};
	enum ctl_exit code;

	if (words != NULL)
		return explain_reason(ctl, words);
	if (!ctl_check_ref(ctl->args.arguments[0]))
		return CTL_USAGE;
	code = ask_both(ctl, &session, &audit);
	if (code == CTL_YES && ctl->json)
		tell_json(&out, &session, &audit);
	else if (code == CTL_YES)
		tell(ctl, &out, session.status == 200 ? session.data : NULL,
		    audit.data);
	if (buf_failed(&out))
		code = ctl_fail_memory();
	else
		fputs(buf_text(&out), stdout);
	buf_clear(&out);
	ctl_reply_clear(&session);
	ctl_reply_clear(&audit);
	return code;
}
