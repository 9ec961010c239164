/*
 * GET admin/, the operator's page: who is let in. A listener that allows
 * `admin`, which none does by itself, and a live session of a user with a role
 * in session.admin_roles. Everybody else gets what an unknown route gets,
 * whatever the method: nobody learns here whether he only lacks a role. The
 * counters and the log have the exact reason.
 *
 * The page is asked for again all the time, so it is no activity: it keeps
 * nobody logged in.
 */
#include "config.h"

#include "api_admin.h"

#include "page.h"

#include <string.h>

#define ROUTE "admin/"
#define ROUTE_LEN (sizeof(ROUTE) - 1)
/* So that a page that refreshes itself goes on behind an outage. */
#define REFRESH_S "10"

static bool
has_admin_role(const struct call *c)
{
	size_t i;

	for (i = 0; i < sgate_session_count_roles(c->session); i++)
		if (conf_list_has(c->conf->session.admin_roles,
			sgate_session_get_role_at(c->session, i)))
			return true;
	return false;
}

static enum sgate_reason
find_operator(struct call *c)
{
	enum sgate_reason reason;

	if (!call_may(c, CONF_ALLOW_ADMIN))
		return SGATE_REASON_LISTENER;
	reason = call_find_realm(c);
	if (reason == SGATE_REASON_OK)
		reason = call_introduce(c, "browser");
	if (reason == SGATE_REASON_OK)
		reason =
		    call_load_session(c, SGATE_NO_TOUCH | SGATE_IN_MAINTENANCE);
	if (reason != SGATE_REASON_OK)
		return reason;
	if (sgate_session_is_anonymous(c->session))
		return SGATE_REASON_NONE;
	return has_admin_role(c) ? SGATE_REASON_OK : SGATE_REASON_ROLE;
}

/* Whose session it is cannot be told now: that is no "not found". */
static void
answer_unavailable(struct call *c, enum sgate_reason reason)
{
	call_note_denial(c, reason);
	reply_begin(&c->reply, 503);
	reply_header(&c->reply, "Refresh", bytes_of(REFRESH_S));
	reply_retry_after(&c->reply);
	page_refusal(c, reason, c->conf->gateway.login_url,
	    "On the host itself `sessgatectl status` says what is wrong.");
}

static void
answer(struct call *c, bool is_still)
{
	reply_begin(&c->reply, 200);
	if (!is_still)
		reply_header(&c->reply, "Refresh", bytes_of(REFRESH_S));
	page_admin(c, is_still);
}

/* "?still": the page stays as it is. */
static bool
is_to_stay(const struct call *c)
{
	return bytes_equal_text(request_query(c->req), PAGE_ADMIN_STILL);
}

bool
api_admin_serve(struct call *c, struct sgate_bytes path)
{
	enum sgate_reason reason;

	if (path.len < ROUTE_LEN || memcmp(path.data, ROUTE, ROUTE_LEN) != 0)
		return false;
	/* A web server may send all below it to the page's listener. */
	if (path.len > ROUTE_LEN) {
		api_not_found(c);
		return true;
	}
	reason = find_operator(c);
	if (reason == SGATE_REASON_OK && c->gw->shared == NULL)
		reason = SGATE_REASON_STORE;
	if (reason == SGATE_REASON_OK && c->req->method != REQUEST_GET &&
	    c->req->method != REQUEST_HEAD) {
		api_not_found(c);
	} else if (reason == SGATE_REASON_OK) {
		answer(c, is_to_stay(c));
	} else if (reply_reason(reason)->api_status == 503) {
		answer_unavailable(c, reason);
	} else {
		call_note_denial(c, reason);
		api_not_found(c);
	}
	return true;
}
