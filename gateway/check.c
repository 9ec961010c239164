/*
 * Order of the decision: may this listener ask at all, is the request whole,
 * which realm and policy, is there a live session, and does it satisfy the
 * policy. Every step can only refuse; what falls through all of them is the
 * one place that allows.
 *
 * Web servers differ in what they do with an answer (facts about each:
 * conf/README.md); these hold for all: Status first; Variable-* only with 200;
 * a denial is static, HTML-safe and short; an anonymous 200 to Apache's
 * mod_authnz_fcgi would be its 500, so it is a 401.
 */
#include "config.h"

#include "check.h"

#include "clock.h"
#include "csrf.h"
#include "log.h"
#include "page.h"
#include "return_to.h"
#include "token.h"

#include <string.h>

struct decision {
	enum sgate_reason reason; /* OK = allow */
	bool is_anonymous;        /* allowed without a user */
	bool may_redirect;        /* a refusal that a login would cure */
	const struct conf_policy *policy;
};

/* OK and *out_policy (NULL: the request names none), or POLICY. */
static enum sgate_reason
find_policy(const struct call *c, const struct conf_policy **out_policy)
{
	*out_policy = NULL;
	if (c->req->policy.len == 0)
		return c->conf->gateway.policy_required ? SGATE_REASON_POLICY
							: SGATE_REASON_OK;
	*out_policy = conf_policy(c->conf, c->req->policy);
	return *out_policy == NULL ? SGATE_REASON_POLICY : SGATE_REASON_OK;
}

/*
 * Whether a visitor without a live session is let through. Not when the token
 * was not ours, when there were two, or when no store could tell; and not
 * where the policy asks for what only a user can have.
 */
static bool
allows_anonymous(const struct conf_policy *policy, enum sgate_reason reason)
{
	if (policy == NULL || !policy->anonymous ||
	    policy->require_role[0] != NULL || policy->max_auth_age_ms > 0)
		return false;
	switch (reason) {
	case SGATE_REASON_NONE:
	case SGATE_REASON_UNKNOWN:
	case SGATE_REASON_EXPIRED_IDLE:
	case SGATE_REASON_EXPIRED_ABSOLUTE:
	case SGATE_REASON_LOGGED_OUT:
	case SGATE_REASON_REVOKED:
	case SGATE_REASON_REPLACED:
	case SGATE_REASON_THEFT:
	case SGATE_REASON_LIMIT:
	case SGATE_REASON_BLOCKED:
	case SGATE_REASON_FLUSHED:
	case SGATE_REASON_BINDING:
		return true;
	default:
		return false;
	}
}

static bool
has_any_role(const struct identity *identity, char *const *roles)
{
	if (*roles == NULL)
		return true;
	for (; *roles != NULL; roles++)
		if (identity_has_role(identity, bytes_of(*roles)))
			return true;
	return false;
}

/* What the policy asks of a user's live session. */
static enum sgate_reason
check_policy(const struct call *c, const struct conf_policy *policy)
{
	if (policy == NULL)
		return SGATE_REASON_OK;
	if (!has_any_role(&c->identity, policy->require_role))
		return SGATE_REASON_ROLE;
	if (policy->max_auth_age_ms > 0 &&
	    call_now_ms(c) - c->identity.auth_ms > policy->max_auth_age_ms)
		return SGATE_REASON_AUTH_AGE;
	return SGATE_REASON_OK;
}

static enum sgate_reason
check_csrf(const struct call *c, const struct conf_policy *policy)
{
	struct sgate_bytes no_field = {NULL, 0};

	if (policy == NULL || !policy->csrf || request_is_safe(c->req))
		return SGATE_REASON_OK;
	if (!csrf_is_ours(c->conf, manager_keys(c->gw->mgr), c->req,
		call_ref(c), no_field, call_now_ms(c)))
		return SGATE_REASON_CSRF;
	return SGATE_REASON_OK;
}

/* Everything before the session. */
static enum sgate_reason
check_request(struct call *c, struct decision *d)
{
	enum sgate_reason reason;

	if (!call_may(c, CONF_ALLOW_CHECK))
		return SGATE_REASON_LISTENER;
	if (c->req->is_malformed)
		return SGATE_REASON_MALFORMED;
	reason = call_find_realm(c);
	if (reason == SGATE_REASON_OK)
		reason = find_policy(c, &d->policy);
	if (reason == SGATE_REASON_OK && c->gw->mgr == NULL)
		reason = SGATE_REASON_STORE;
	return reason;
}

/* An emergency holds back visitors, too; whoever cannot be let in without a
 * login is sent there as always, for those who are let through come that way.
 */
static enum sgate_reason
check_visitor(struct call *c)
{
	struct sgate_maintenance_state state;

	call_maintenance(c, &state);
	return state.mode == SGATE_MAINTENANCE_EMERGENCY
		   ? SGATE_REASON_MAINTENANCE
		   : SGATE_REASON_OK;
}

static void
check_decide(struct call *c, struct decision *d)
{
	enum sgate_reason reason;

	memset(d, 0, sizeof(*d));
	d->reason = check_request(c, d);
	if (d->reason != SGATE_REASON_OK)
		return;
	d->may_redirect = true;
	reason = call_load_identity(c);
	if (reason == SGATE_REASON_OK && c->identity.is_anonymous)
		reason = SGATE_REASON_NONE;
	if (reason == SGATE_REASON_OK) {
		reason = check_policy(c, d->policy);
	} else if (allows_anonymous(d->policy, reason)) {
		d->is_anonymous = true;
		/* Where an empty user is an error, nobody is not let in. */
		if (!request_is_authenticator(c->req))
			reason = check_visitor(c);
	}
	if (reason == SGATE_REASON_OK)
		reason = check_csrf(c, d->policy);
	d->reason = reason;
}

/* ---- allow ---- */

#define VARIABLE(name) REPLY_NAME("Variable-" name)
/* Writes a text where there is room for it; behind it. */
#define PUT(at, text) ((char *)mempcpy(at, text, sizeof(text) - 1))
#define USER "Variable-REMOTE_USER: "
#define REF                                                                    \
	"\r\nVariable-AUTH_TYPE: Session\r\n"                                  \
	"Variable-SESSION_STATE: live\r\n"                                     \
	"Variable-SESSION_REF: "
#define ROLES "\r\nVariable-SESSION_ROLES: "
#define CONTEXT "\r\nVariable-SESSION_CONTEXT: "
#define CREATED "\r\nVariable-SESSION_CREATED: "
#define AUTH_TIME "\r\nVariable-SESSION_AUTH_TIME: "
#define EXPIRES "\r\nVariable-SESSION_EXPIRES: "
#define CSRF "Variable-SESSION_CSRF: "
#define END "\r\n"

static void
add_ref(struct call *c)
{
	char ref[SGATE_REF_HEX + 1];

	sgate_ref_text(&c->identity.ref, ref);
	reply_line(&c->reply, VARIABLE("SESSION_REF"),
	    (struct sgate_bytes){ref, SGATE_REF_HEX});
}

static void
add_csrf(struct call *c)
{
	const char *token = csrf_token(&c->gw->csrf, manager_keys(c->gw->mgr),
	    &c->identity.ref, c->identity.now_ms);
	char *at;

	if (token == NULL) {
		c->reply.is_broken = true;
		return;
	}
	at = buf_extend(
	    c->reply.out, sizeof(CSRF) - 1 + TOKEN_CSRF_LEN + sizeof(END) - 1);
	if (at == NULL)
		return;
	at = mempcpy(PUT(at, CSRF), token, TOKEN_CSRF_LEN);
	memcpy(at, END, sizeof(END) - 1);
}

/*
 * "SESSION_DATA_X=value\n" lines become headers. They were rendered when the
 * data was written; a line of another form is a damaged row and no answer.
 */
static void
add_exports(struct call *c)
{
	static const char prefix[] = "SESSION_DATA_";
	const size_t prefix_len = sizeof(prefix) - 1;
	struct sgate_bytes block = c->identity.exports;
	struct buf *out = c->reply.out;

	while (block.len > 0) {
		struct sgate_bytes value = bytes_cut(&block, '\n');
		struct sgate_bytes name = bytes_cut(&value, '=');

		if (value.data == NULL || name.len <= prefix_len ||
		    memcmp(name.data, prefix, prefix_len) != 0 ||
		    !bytes_is_name(name, 128, "_")) {
			c->reply.is_broken = true;
			return;
		}
		if (bytes_has_control(value)) {
			c->reply.is_broken = true;
			return;
		}
		buf_add(out, "Variable-", 9);
		buf_add_bytes(out, name);
		buf_add(out, ": ", 2);
		buf_add_bytes(out, value);
		buf_add(out, "\r\n", 2);
	}
}

static char *
put_bytes(char *at, struct sgate_bytes bytes)
{
	return bytes.len == 0 ? at : mempcpy(at, bytes.data, bytes.len);
}

/* Mostly the moment of the creation, whose digits are there already. */
static char *
put_auth_time(
    const struct identity *who, char *at, const char *created, size_t len)
{
	if (who->auth_ms != who->created_ms)
		return at + int_text(who->auth_ms / 1000, at);
	memcpy(at, created, INT_TEXT_MAX);
	return at + len;
}

/* What put_user_variables() writes, without user, roles and context. */
#define USER_VARIABLES_MAX                                                     \
	(sizeof(USER REF ROLES CONTEXT CREATED AUTH_TIME EXPIRES END) +        \
	    SGATE_REF_HEX + (size_t)3 * INT_TEXT_MAX)

static size_t
put_user_variables(const struct identity *who, char *out)
{
	char *at = PUT(out, USER), *created;

	at = put_bytes(at, who->user);
	at = PUT(at, REF);
	sgate_ref_text(&who->ref, at);
	at = PUT(at + SGATE_REF_HEX, ROLES);
	at = put_bytes(at, who->roles);
	at = PUT(at, CONTEXT);
	at = put_bytes(at, who->context);
	created = at = PUT(at, CREATED);
	at += int_text(who->created_ms / 1000, at);
	at = put_auth_time(
	    who, PUT(at, AUTH_TIME), created, (size_t)(at - created));
	at = PUT(at, EXPIRES);
	at += int_text(who->absolute_ms / 1000, at);
	at = PUT(at, END);
	return (size_t)(at - out);
}

/* As reply_line() for each of them, but written at once. */
static void
add_user_variables(struct call *c)
{
	const struct identity *who = &c->identity;
	struct buf *out = c->reply.out;
	size_t start = out->len;
	char *at;

	if (bytes_has_control(who->user) || bytes_has_control(who->roles) ||
	    bytes_has_control(who->context)) {
		c->reply.is_broken = true;
		return;
	}
	at = buf_extend(out, USER_VARIABLES_MAX + who->user.len +
				 who->roles.len + who->context.len);
	if (at != NULL)
		buf_cut(out, start + put_user_variables(who, at));
}

/* AUTH_TYPE is sent empty: what another module had set must not stay. */
static void
add_anonymous_variables(struct call *c)
{
	struct sgate_bytes nothing = {NULL, 0};
	struct reply *r = &c->reply;

	reply_line(r, VARIABLE("REMOTE_USER"), nothing);
	reply_line(r, VARIABLE("AUTH_TYPE"), nothing);
	reply_line(r, VARIABLE("SESSION_STATE"), bytes_of("anonymous"));
	if (c->has_identity)
		add_ref(c);
}

/*
 * A renewed cookie, for a web server that drops Set-Cookie from what allows:
 * conf/lighttpd/cookie.lua takes it from here, and the program never sees it.
 */
static void
add_set_cookie(struct call *c)
{
	if (c->reply.cookie.len > 0 && c->req->set_cookie.len > 0 &&
	    !request_is_access_checker(c->req))
		reply_line(&c->reply, VARIABLE("SESSION_SET_COOKIE"),
		    buf_bytes(&c->reply.cookie));
}

/*
 * The only place that says 200 to a check. No Content-Type: Apache would give
 * it to the program's own answer.
 */
static void
answer_allow(struct call *c, const struct decision *d)
{
	reply_begin(&c->reply, 200);
	if (d->is_anonymous)
		add_anonymous_variables(c);
	else
		add_user_variables(c);
	if (c->has_identity && !request_is_access_checker(c->req)) {
		add_csrf(c);
		add_exports(c);
	}
	add_set_cookie(c);
	reply_no_body(&c->reply);
}

/* ---- deny ---- */

static const char *
login_url(const struct call *c, const struct conf_policy *policy)
{
	if (policy != NULL && policy->login_url[0] != '\0')
		return policy->login_url;
	return c->conf->gateway.login_url;
}

/*
 * nginx takes no 302 from a check and mod_fcgid drops its Location: both ask
 * again for the page.
 */
static bool
is_redirected(const struct call *c, const struct decision *d)
{
	return d->may_redirect &&
	       (c->req->role == REQUEST_AUTHORIZER ||
		   request_wants_page(c->req)) &&
	       reply_reason(d->reason)->check_status == 401 &&
	       (c->req->method & (REQUEST_GET | REQUEST_HEAD)) != 0 &&
	       request_accepts_html(c->req) &&
	       !request_is_access_checker(c->req) &&
	       login_url(c, d->policy)[0] != '\0';
}

static void
add_location(struct call *c, const struct decision *d)
{
	struct buf location = {0};

	return_to_login(login_url(c, d->policy), c->req->uri, &location);
	if (buf_failed(&location))
		c->reply.is_broken = true;
	reply_header(&c->reply, "Location", buf_bytes(&location));
	buf_clear(&location);
}

/* nginx and mod_fcgid throw away what a check says, and a program reads none.
 */
static bool
is_for_a_person(const struct call *c)
{
	return request_accepts_html(c->req) &&
	       !request_is_access_checker(c->req) &&
	       (c->req->role == REQUEST_AUTHORIZER ||
		   request_wants_page(c->req));
}

static void
add_short_page(struct call *c, const struct reply_reason *row)
{
	struct buf *out = c->reply.out;

	reply_body(&c->reply, "text/html; charset=utf-8");
	buf_add_text(out, "<!DOCTYPE html>\n<title>");
	buf_add_text(out, row->title);
	buf_add_text(out, "</title>\n<p>");
	buf_add_text(out, row->title);
	buf_add_text(out, " (");
	buf_add_text(out, row->shown);
	buf_add_text(out, ").</p>\n");
}

static void
answer_deny(struct call *c, const struct decision *d)
{
	const struct reply_reason *row = reply_reason(d->reason);
	struct reply *r = &c->reply;
	bool redirect = is_redirected(c, d);

	/* A denial changes no cookie: it may be older than the next login. */
	buf_reset(&r->cookie);
	reply_begin(r, redirect ? 302 : row->check_status);
	if (redirect)
		add_location(c, d);
	call_set_retry_after(c, d->reason);
	if (row->check_status == 503)
		reply_retry_after(r);
	if (c->conf->gateway.expose_reason)
		reply_header(r, "X-Session-Reason",
		    bytes_of(sgate_reason_text(d->reason)));
	if (!redirect && is_for_a_person(c))
		page_refusal(c, d->reason, login_url(c, d->policy), NULL);
	else
		add_short_page(c, row);
}

/* Which web server asks, as far as its request tells. */
static enum tally_mount
find_mount(const struct request *req)
{
	if (req->role == REQUEST_CHECK)
		return TALLY_NGINX;
	if (req->apache_role.len == 0)
		return TALLY_LIGHTTPD;
	if (request_is_authenticator(req))
		return TALLY_APACHE;
	return request_is_access_checker(req) ? TALLY_APACHE_FCGID
					      : TALLY_UNKNOWN_MOUNT;
}

/* The answer as it went out, not as it was meant: building it may fail. */
static unsigned
find_outcome(const struct call *c, const struct decision *d)
{
	if (c->reply.status == 200)
		return d->is_anonymous ? TALLY_ANONYMOUS
				       : (unsigned)SGATE_REASON_OK;
	if (c->reply.status == 503 &&
	    reply_reason(d->reason)->check_status != 503)
		return SGATE_REASON_STORE;
	return (unsigned)d->reason;
}

/* Only workers are asked (they have a manager), and each has its own tally. */
static void
check_count(const struct call *c, const struct decision *d)
{
	struct tally *tally = c->gw->tally;
	enum stores_server server = STORES_NOBODY;

	/* Without a token of its form nobody was asked in this call. */
	if (c->token.len > 0)
		server = manager_server(c->gw->mgr);
	tally_add_own(
	    &tally->checks[find_mount(c->req)][find_outcome(c, d)][server], 1);
	tally_add_time(&tally->check_times[server],
	    clock_monotonic_us() - c->input->began_us);
}

static void
note_broken(const struct call *c)
{
	static struct log_limit limit = {.burst = 10, .period_ms = 10000};
	char ref[SGATE_REF_HEX + 1] = "-";

	if (c->has_identity)
		sgate_ref_text(&c->identity.ref, ref);
	log_limited(&limit, LOG_LEVEL_ERROR,
	    "check: session %s: a value cannot stand in a header; answering "
	    "\"unavailable\"",
	    ref);
}

/*
 * Once more the refusal that the web server has had, as a page; it is counted
 * and noted already. Nothing is allowed here: when the refusal is over (the
 * store is back, say), the browser asks for the program again.
 */
static void
serve_page(struct call *c, struct decision *d)
{
	if (d->reason == SGATE_REASON_OK)
		d->reason = SGATE_REASON_STORE;
	answer_deny(c, d);
	reply_end(&c->reply);
}

void
check_serve(struct call *c)
{
	struct decision d;

	check_decide(c, &d);
	if (request_wants_page(c->req)) {
		serve_page(c, &d);
		return;
	}
	if (d.reason == SGATE_REASON_OK) {
		answer_allow(c, &d);
	} else {
		call_note_denial(c, d.reason);
		answer_deny(c, &d);
	}
	if (c->reply.is_broken)
		note_broken(c);
	reply_end(&c->reply);
	check_count(c, &d);
}
