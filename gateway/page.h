/*
 * The few pages that the gateway serves itself: plain HTML without script or
 * style, every value escaped.
 */
#ifndef SESSGATE_PAGE_H
#define SESSGATE_PAGE_H

#include "call.h"

/* Nothing but a heading. */
void page_message(struct call *c, const char *title);
/* 303; return_to has been allowed by return_to_is_allowed(). */
void page_redirect(struct call *c, struct sgate_bytes return_to);
/* The page with the button. ref NULL: no token can be put into the form. */
void page_logout(
    struct call *c, const struct sgate_ref *ref, struct sgate_bytes return_to);
/* A user's sessions with a button each; c->session is the current one. */
void page_sessions(struct call *c, const struct sgate_list *list);

#endif
