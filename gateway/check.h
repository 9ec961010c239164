/*
 * "Whose request is this?": the decision, and its answers to an authorizer and
 * to a check.
 *
 * The decision starts at deny. It never looks at the body, at REMOTE_USER or
 * at any identity in the request but the token.
 */
#ifndef SESSGATE_CHECK_H
#define SESSGATE_CHECK_H

#include "call.h"

/* Decide and append the whole answer. */
void check_serve(struct call *c);

#endif
