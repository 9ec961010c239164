/*
 * "Whose request is this?": the decision, and its answers to an authorizer and
 * to a check (design 5).
 *
 * The decision starts at deny. It never looks at the body, at REMOTE_USER or
 * at any identity in the request but the token.
 */
#ifndef SESSGATE_CHECK_H
#define SESSGATE_CHECK_H

#include "call.h"

/* Decide and append the whole answer. */
void check_serve(struct call *c);

/* The policy that the request names: OK and *out (may be NULL: none is named),
 * or POLICY. */
SGATE_MUST_CHECK enum sgate_reason check_find_policy(
    const struct call *c, const struct conf_policy **out_policy);

#endif
