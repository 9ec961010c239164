/*
 * POST login and its page: a session for a user whom the web server itself has
 * authenticated (Basic, Digest, Kerberos, a certificate). The gateway believes
 * REMOTE_USER here and nowhere else, so all of this must hold: the operator
 * has given this listener `remote-user`; REMOTE_USER and AUTH_TYPE stand there
 * once each; AUTH_TYPE says that somebody was authenticated, and not by us.
 * With nginx's stock configuration REMOTE_USER is what the client has chosen,
 * beside no AUTH_TYPE.
 */
#include "config.h"

#include "api_browser.h"
#include "api_programs.h"
#include "log.h"
#include "page.h"

#include <string.h>

static void
refuse(struct call *c, const char *detail)
{
	call_note_denial(c, SGATE_REASON_LISTENER);
	api_problem(c, 403, "denied", detail);
}

void
api_login_unserved(struct call *c)
{
	refuse(c, "The web server does not log in users here.");
}

/* NULL, and *out_user; or what is wrong, for the operator. */
static const char *
find_user(const struct call *c, struct sgate_bytes *out_user)
{
	struct sgate_bytes type;

	if (c->input->params == NULL ||
	    !request_only(c->input->params, "REMOTE_USER", out_user) ||
	    out_user->len == 0)
		return "REMOTE_USER is not there, empty, or there twice";
	if (!request_only(c->input->params, "AUTH_TYPE", &type) ||
	    type.len == 0)
		return "AUTH_TYPE is not there, empty, or there twice: nobody "
		       "says that REMOTE_USER was authenticated";
	if (bytes_equal_nocase(type, "Session"))
		return "AUTH_TYPE is Session: this location must not be "
		       "protected by sessgate";
	return NULL;
}

/* False: answered. */
static bool
pass_user(struct call *c, struct sgate_bytes *out_user)
{
	static struct log_limit limit = {.burst = 10, .period_ms = 60000};
	const char *wrong = find_user(c, out_user);

	if (wrong == NULL)
		return true;
	log_limited(&limit, LOG_LEVEL_NOTICE, "login refused: %s", wrong);
	refuse(c, "The web server has not authenticated you.");
	return false;
}

/* A checkbox says "on" where its page gives it no value. */
static bool
read_checkbox(struct call *c, int *out)
{
	static const char *const words[] = {
	    "0", "1", "off", "on", "no", "yes", "false", "true", ""};
	struct sgate_bytes value;
	size_t i;

	if (!body_field(c, "remember", &value))
		return false;
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (bytes_equal_text(value, words[i])) {
			*out = i % 2 == 1;
			return true;
		}
	api_problem(c, 400, "invalid", "remember: is neither 1 nor 0");
	return false;
}

/* False: answered. */
static bool
read_remember(struct call *c, int *out)
{
	static const char *const names[] = {"remember", NULL};

	if (body_is_form(c))
		return read_checkbox(c, out);
	return body_json(c) && api_only(c, names, 400, "invalid") &&
	       api_bool(c, "remember", out);
}

/*
 * The session that this browser has had, in c->session. One that cannot be
 * looked up now must not stop the login: nobody can use it now either.
 */
static void
find_old(struct call *c)
{
	enum sgate_reason reason =
	    call_load_session(c, SGATE_NO_TOUCH | SGATE_NO_DATA);

	(void)reason;
}

static bool
end_old(struct call *c)
{
	enum sgate_status status = sgate_session_end(c->gw->mgr,
	    sgate_session_get_ref(c->session), SGATE_REASON_REPLACED, &c->err);

	if (status == SGATE_OK)
		call_count_ended(c, 1);
	else if (status != SGATE_NOT_FOUND)
		call_note_error(c, "login, of the session before");
	return status == SGATE_OK;
}

static bool
is_full_of_own(const struct call *c, const struct sgate_create *create)
{
	return c->err.reason == SGATE_REASON_LIMIT && c->session != NULL &&
	       bytes_equal(
		   sgate_session_get_user_id(c->session), create->user_id);
}

/*
 * An anonymous session is replaced within the creation. A user's ends behind
 * it, so that a login which fails takes nothing away; but where the user may
 * have no more of them (on_limit), it makes room first.
 */
static enum sgate_status
create(struct call *c, struct sgate_create *create,
    struct sgate_session **out_session, char **out_token)
{
	bool has_user =
	    c->session != NULL && !sgate_session_is_anonymous(c->session);
	enum sgate_status status;

	if (c->session != NULL && !has_user)
		create->replaces = c->token;
	status = sgate_session_create(
	    c->gw->mgr, create, out_session, out_token, &c->err);
	if (status == SGATE_DENIED && has_user && is_full_of_own(c, create) &&
	    end_old(c)) {
		has_user = false;
		status = sgate_session_create(
		    c->gw->mgr, create, out_session, out_token, &c->err);
	}
	if (status == SGATE_OK && has_user) {
		struct sgate_error kept = c->err;

		end_old(c);
		c->err = kept;
	}
	return status;
}

static void
answer(struct call *c)
{
	if (!body_is_form(c))
		api_browser_session(c);
	else if (!api_browser_return(c))
		page_done(c, "Logged in");
}

static void
log_in(struct call *c, struct sgate_create *wanted)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;
	char *token = NULL;

	status = create(c, wanted, &session, &token);
	if (status == SGATE_OK) {
		call_count(c, TALLY_CREATED);
		sgate_session_free(c->session);
		c->session = session;
		call_send_cookie(c, token, session);
		answer(c);
	} else if (status == SGATE_DENIED) {
		call_note_denial(c, c->err.reason);
		api_problem(c, 403, sgate_reason_text(c->err.reason), NULL);
	} else {
		api_fail(c, status);
	}
	sgate_token_free(token);
}

void
api_login(struct call *c, const struct api_path *path)
{
	struct sgate_create wanted;

	(void)path;
	memset(&wanted, 0, sizeof(wanted));
	wanted.user_agent = c->req->user_agent;
	if (!pass_user(c, &wanted.user_id) ||
	    !read_remember(c, &wanted.remember) ||
	    !api_count_login(c, bytes_of(c->client_ip)))
		return;
	find_old(c);
	log_in(c, &wanted);
}

/* Whom the web server has let in sees a button: GET changes nothing. */
void
api_login_page(struct call *c, const struct api_path *path)
{
	struct sgate_bytes user;
	struct buf field = {0};
	struct sgate_ref ref;
	bool has_ref = call_token_ref(c, &ref);

	(void)path;
	if (!pass_user(c, &user))
		return;
	page_login(c, has_ref ? &ref : NULL, user,
	    api_browser_return_to(c, request_query(c->req), &field));
	buf_clear(&field);
}
