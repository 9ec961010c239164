/*
 * return_to: where a form's answer sends the browser. A parser that takes
 * bytes; six years of open redirects in other gateways are why its rule is this
 * short.
 */
#ifndef SESSGATE_RETURN_TO_H
#define SESSGATE_RETURN_TO_H

#include "buf.h"

#define RETURN_TO_MAX 2048

/*
 * One leading '/', then neither '/' nor '\'; no byte <= 0x20, 0x7f or '\'
 * anywhere; or exactly one of `allow` (NULL-terminated, may be NULL).
 */
bool return_to_is_allowed(struct sgate_bytes text, char *const *allow);
/* Append it as a Location value: what a URI cannot hold becomes %XX. */
void return_to_write(struct sgate_bytes text, struct buf *out);
/*
 * Append the address of a login page that is to come back to `text`. Where that
 * is longer than RETURN_TO_MAX, or empty, it is left out.
 */
void return_to_login(
    const char *login_url, struct sgate_bytes text, struct buf *out);

#endif
