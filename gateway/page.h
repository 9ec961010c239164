/*
 * The few pages that the gateway serves itself, and the frame that all of them
 * have: plain HTML that needs no script, one style, nothing from elsewhere,
 * never in another page's frame. Every value is escaped.
 */
#ifndef SESSGATE_PAGE_H
#define SESSGATE_PAGE_H

#include "call.h"

/* ---- the frame: begin or open, content to c->reply.out, end ---- */

/* A whole answer with that status. */
void page_begin(struct call *c, int status, const char *title);
/* The same behind headers of one's own: reply_begin() has been called. */
void page_open(struct call *c, const char *title);
/* The same with the style of the operator's page, page_admin.css, besides. */
void page_open_admin(struct call *c, const char *title);
void page_end(struct call *c);
/* <p>text</p>, escaped; nothing when it is NULL or empty. */
void page_paragraph(struct call *c, const char *text);
/*
 * A link that looks like a button to the login page, which comes back to
 * return_to ({NULL, 0}: it does not). Nothing where login_url is "".
 */
void page_login_link(struct call *c, const char *text, const char *login_url,
    struct sgate_bytes return_to);
/* A link to the visitor's list of sessions. */
void page_sessions_link(struct call *c);

/*
 * A form that posts to a route below the mount, with the CSRF token of ref
 * (NULL: without one). label is the button's, and about, which only screen
 * readers tell, says of what: "" or plain text.
 */
void page_form_begin(
    struct call *c, const struct sgate_ref *ref, const char *route);
void page_form_field(
    struct call *c, const char *name, struct sgate_bytes value);
void page_form_end(
    struct call *c, const char *label, struct sgate_bytes about, bool is_main);

/* ---- pages ---- */

/* 303; return_to has been allowed by return_to_is_allowed(). */
void page_redirect(struct call *c, struct sgate_bytes return_to);
/*
 * Why a visitor was refused and what there is to do, behind headers of one's
 * own. detail: a sentence more, or NULL. login_url may be "".
 */
void page_refusal(struct call *c, enum sgate_reason reason,
    const char *login_url, const char *detail);
/* A refusal that has no reason of the table: "Not found". */
void page_problem(
    struct call *c, int status, const char *title, const char *detail);
/* The same where reply_begin() has been called, and headers added. */
void page_problem_body(struct call *c, const char *title, const char *detail);
/* A form has been obeyed. */
void page_done(struct call *c, const char *title);
/* A button for a user whom the web server has authenticated. ref as below. */
void page_login(struct call *c, const struct sgate_ref *ref,
    struct sgate_bytes user, struct sgate_bytes return_to);
/* The page with the button. ref NULL: no token can be put into the form. */
void page_logout(
    struct call *c, const struct sgate_ref *ref, struct sgate_bytes return_to);
/* Nobody is logged in, or no longer. */
void page_logged_out(struct call *c, const char *title);

/* What "sessions?done=" tells of; page_sessions() believes none of it. */
#define PAGE_DONE_OTHERS "others"
/*
 * A user's sessions with a button each; c->session is the current one.
 * has_more: the list was cut off. may_end: the login is young enough. done: as
 * the address says, a ref or PAGE_DONE_OTHERS: told only if it is true.
 */
struct page_sessions {
	const struct sgate_list *list;
	bool has_more;
	bool may_end;
	struct sgate_bytes done;
};
#define PAGE_SESSIONS_MAX 200
void page_sessions(struct call *c, const struct page_sessions *p);

/* The operator's: api_admin.c says who sees it, and refreshes it. is_still: it
 * is not refreshed, and was asked for with this query. */
#define PAGE_ADMIN_STILL "still"
void page_admin(struct call *c, bool is_still);

#endif
