/*
 * Whether a request that changes something comes from our own pages. The first
 * of these that the browser sent decides: Sec-Fetch-Site (same-origin or none;
 * else Origin must be one of session.origins), Origin (the Host's, or one of
 * session.origins), Referer (the same), our token. Nothing sent:
 * session.csrf_unknown.
 */
#ifndef SESSGATE_CSRF_H
#define SESSGATE_CSRF_H

#include "conf.h"
#include "keys.h"
#include "request.h"
#include "token.h"

/*
 * The tokens that one process has computed last: each stands for a day, and
 * computing it costs as much as all else of a check from the local cache.
 */
#define CSRF_RECENT 256
struct csrf_recent {
	struct {
		struct sgate_ref ref;
		uint8_t key_id;
		int64_t day;
		char token[TOKEN_CSRF_LEN + 1]; /* "" = an empty place */
	} items[CSRF_RECENT];
};

/*
 * The session's token of today, of TOKEN_CSRF_LEN characters, borrowed until
 * the next call; NULL: it cannot be computed. recent goes with these keys: {0}
 * at first.
 */
const char *csrf_token(struct csrf_recent *recent, const struct keys *keys,
    const struct sgate_ref *ref, int64_t now_ms);
/*
 * ref: the session's, or NULL when there is none (no token can then be right).
 * field: the form field `csrf`, or empty. now_ms: the durable store's clock.
 */
bool csrf_is_ours(const struct sgate_conf *conf, const struct keys *keys,
    const struct request *req, const struct sgate_ref *ref,
    struct sgate_bytes field, int64_t now_ms);

#endif
