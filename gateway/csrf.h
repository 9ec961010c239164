/*
 * Whether a request that changes something comes from our own pages. The first
 * of these that the browser sent decides: Sec-Fetch-Site (same-origin or
 * none), Origin (the Host's, or one of session.origins), Referer (the same),
 * our token. Nothing sent: session.csrf_unknown.
 */
#ifndef SESSGATE_CSRF_H
#define SESSGATE_CSRF_H

#include "conf.h"
#include "keys.h"
#include "request.h"

/*
 * ref: the session's, or NULL when there is none (no token can then be right).
 * field: the form field `csrf`, or empty. now_ms: the durable store's clock.
 */
bool csrf_is_ours(const struct sgate_conf *conf, const struct keys *keys,
    const struct request *req, const struct sgate_ref *ref,
    struct sgate_bytes field, int64_t now_ms);

#endif
