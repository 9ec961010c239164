/*
 * Two cookies of our name in one request mean that somebody planted one (a
 * sibling domain, a plain-http neighbour): which of the two a program behind
 * us would use is anybody's guess, so neither counts.
 */
#include "config.h"

#include "cookie.h"

#include <string.h>

enum sgate_reason
cookie_find(
    struct sgate_bytes header, const char *name, struct sgate_bytes *out_value)
{
	size_t name_len = strlen(name);
	unsigned count = 0;
	unsigned found = 0;

	memset(out_value, 0, sizeof(*out_value));
	if (header.len == 0)
		return SGATE_REASON_NONE;
	if (header.len > COOKIE_HEADER_MAX || bytes_has_control(header))
		return SGATE_REASON_MALFORMED;
	while (header.len > 0) {
		struct sgate_bytes pair = bytes_cut(&header, ';');

		if (++count > COOKIE_COUNT_MAX) {
			memset(out_value, 0, sizeof(*out_value));
			return SGATE_REASON_MALFORMED;
		}
		while (pair.len > 0 && *pair.data == ' ') {
			pair.data++;
			pair.len--;
		}
		if (pair.len <= name_len || pair.data[name_len] != '=' ||
		    memcmp(pair.data, name, name_len) != 0)
			continue;
		found++;
		out_value->data = pair.data + name_len + 1;
		out_value->len = pair.len - name_len - 1;
	}
	if (found == 1 && out_value->len > 0)
		return SGATE_REASON_OK;
	memset(out_value, 0, sizeof(*out_value));
	return found > 1 ? SGATE_REASON_AMBIGUOUS : SGATE_REASON_NONE;
}

static void
cookie_attributes(const struct sgate_conf *conf, struct buf *out)
{
	buf_add_text(out, "; Path=");
	buf_add_text(out, conf->cookie.path);
	if (conf->cookie.domain[0] != '\0') {
		buf_add_text(out, "; Domain=");
		buf_add_text(out, conf->cookie.domain);
	}
	if (conf->cookie.secure)
		buf_add_text(out, "; Secure");
	buf_add_text(out, "; HttpOnly; SameSite=");
	buf_add_text(out, conf->cookie.samesite);
}

void
cookie_write(const struct sgate_conf *conf, const char *token,
    int64_t max_age_s, struct buf *out)
{
	buf_add_text(out, conf->cookie.name);
	buf_add_char(out, '=');
	buf_add_text(out, token);
	if (max_age_s > 0) {
		buf_add_text(out, "; Max-Age=");
		buf_add_int(out, max_age_s);
	}
	cookie_attributes(conf, out);
}

void
cookie_clear(const struct sgate_conf *conf, struct buf *out)
{
	buf_add_text(out, conf->cookie.name);
	buf_add_text(out, "=; Max-Age=0");
	cookie_attributes(conf, out);
}

int64_t
cookie_max_age_s(const struct sgate_conf *conf,
    const struct sgate_session *session, int64_t now_ms)
{
	int64_t expires = sgate_session_get_expires_ms(session);
	int64_t life = expires - sgate_session_get_created_ms(session);

	/*
	 * Whether "remember" was asked for is not stored: a session that was
	 * given more than the ordinary life can only be a remembered one.
	 */
	if (life > conf->session.absolute_timeout_ms && expires > now_ms)
		return (expires - now_ms) / 1000;
	return conf->cookie.max_age_ms / 1000;
}
