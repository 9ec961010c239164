/*
 * What the routes for browsers share: api_browser.c has them, but for the login
 * (api_login.c).
 */
#ifndef SESSGATE_API_BROWSER_H
#define SESSGATE_API_BROWSER_H

#include "api.h"

/* c->session as JSON, with its ETag. */
void api_browser_session(struct call *c);
/*
 * The field return_to of a query or form, if it is one that is allowed; else
 * {NULL, 0}. It is borrowed of *buf.
 */
struct sgate_bytes api_browser_return_to(
    struct call *c, struct sgate_bytes fields, struct buf *buf);
/* True: the form names where to go, and that is the answer. */
bool api_browser_return(struct call *c);

/* api_login.c: the listener must allow `remote-user`; */
void api_login(struct call *c, const struct api_path *path);
void api_login_page(struct call *c, const struct api_path *path);
/* this one does not. */
void api_login_unserved(struct call *c);

#endif
