/*
 * The session cookie: found in a Cookie header by a strict scan, and written
 * as a Set-Cookie line. Bytes in, bytes out.
 */
#ifndef SESSGATE_COOKIE_H
#define SESSGATE_COOKIE_H

#include "buf.h"
#include "conf.h"

#define COOKIE_HEADER_MAX 8192
#define COOKIE_COUNT_MAX 64

/*
 * Find the cookie of exactly this name.
 *
 * SGATE_REASON_OK:        *out_value is its value as sent, quotes and all.
 * SGATE_REASON_NONE:      not there, or empty.
 * SGATE_REASON_AMBIGUOUS: there more than once, even with equal values.
 * SGATE_REASON_MALFORMED: header over 8 KiB, over 64 cookies, or a control
 *                         byte in it.
 */
SGATE_MUST_CHECK enum sgate_reason cookie_find(
    struct sgate_bytes header, const char *name, struct sgate_bytes *out_value);

/*
 * Append the value of a Set-Cookie header (no name, no line end) for token.
 * max_age_s: 0 = no Max-Age attribute.
 */
void cookie_write(const struct sgate_conf *conf, const char *token,
    int64_t max_age_s, struct buf *out);
/* The same with an empty value and Max-Age=0: equal attributes, or browsers
 * keep the old one. */
void cookie_clear(const struct sgate_conf *conf, struct buf *out);
/*
 * The Max-Age for a session's cookie: the rest of its life for a remembered
 * session, else what is configured.
 */
int64_t cookie_max_age_s(const struct sgate_conf *conf,
    const struct sgate_session *session, int64_t now_ms);

#endif
