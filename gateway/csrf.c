#include "config.h"

#include "csrf.h"

#include "buf.h"
#include "token.h"

#include <string.h>
#include <strings.h>

struct origin {
	struct sgate_bytes scheme;
	struct sgate_bytes host; /* with the brackets of an IPv6 address */
	uint64_t port;
};

static bool
equal_nocase(struct sgate_bytes a, struct sgate_bytes b)
{
	return a.len == b.len && strncasecmp(a.data, b.data, a.len) == 0;
}

static bool
is_host(struct sgate_bytes host)
{
	if (host.len > 2 && host.data[0] == '[' &&
	    host.data[host.len - 1] == ']') {
		host.data++;
		host.len -= 2;
		return bytes_is_name(host, 64, ":.");
	}
	return bytes_is_name(host, 253, ".-_");
}

/* "host", "host:port", "[::1]:port". Without a port: default_port. */
static bool
parse_host(struct sgate_bytes text, uint64_t default_port, struct origin *out)
{
	struct sgate_bytes port = {NULL, 0};
	size_t at = text.len;

	while (at > 0 && text.data[at - 1] != ':' && text.data[at - 1] != ']')
		at--;
	if (at > 0 && text.data[at - 1] == ':') {
		port.data = text.data + at;
		port.len = text.len - at;
		text.len = at - 1;
	}
	out->host = text;
	out->port = default_port;
	if (port.data != NULL &&
	    (!bytes_to_uint(port, 65535, &out->port) || out->port == 0))
		return false;
	return is_host(text);
}

/* scheme://host[:port], and for a Referer what may stand behind it. */
static bool
parse_origin(struct sgate_bytes text, bool may_have_path, struct origin *out)
{
	size_t i;

	memset(out, 0, sizeof(*out));
	out->scheme.data = text.data;
	if (text.len > 8 && strncasecmp(text.data, "https://", 8) == 0)
		out->scheme.len = 5;
	else if (text.len > 7 && strncasecmp(text.data, "http://", 7) == 0)
		out->scheme.len = 4;
	else
		return false;
	text.data += out->scheme.len + 3;
	text.len -= out->scheme.len + 3;
	for (i = 0; may_have_path && i < text.len; i++)
		if (strchr("/?#", text.data[i]) != NULL) {
			text.len = i;
			break;
		}
	return parse_host(text, out->scheme.len == 5 ? 443 : 80, out);
}

static bool
is_listed(const struct sgate_conf *conf, const struct origin *origin)
{
	char *const *entry;
	struct origin listed;

	for (entry = conf->session.origins; *entry != NULL; entry++)
		if (parse_origin(bytes_of(*entry), false, &listed) &&
		    equal_nocase(listed.scheme, origin->scheme) &&
		    equal_nocase(listed.host, origin->host) &&
		    listed.port == origin->port)
			return true;
	return false;
}

/* Every browser that sends Sec-Fetch-Site sends Origin with what is unsafe. */
static bool
is_of_listed(const struct sgate_conf *conf, struct sgate_bytes text)
{
	struct origin origin;

	return parse_origin(text, false, &origin) && is_listed(conf, &origin);
}

/*
 * The Host header has no scheme. With secure cookies our pages are on https,
 * so a bare host means port 443 and a page on http is another site, whatever
 * its port; without, the origin's own scheme has to do.
 */
static bool
is_same_site(const struct sgate_conf *conf, const struct request *req,
    struct sgate_bytes text, bool may_have_path)
{
	struct origin origin, own;
	bool is_https;

	if (!parse_origin(text, may_have_path, &origin))
		return false;
	is_https = origin.scheme.len == 5;
	if ((is_https || !conf->cookie.secure) &&
	    parse_host(req->host, is_https ? 443 : 80, &own) &&
	    equal_nocase(own.host, origin.host) && own.port == origin.port)
		return true;
	return is_listed(conf, &origin);
}

const char *
csrf_token(struct csrf_recent *recent, const struct keys *keys,
    const struct sgate_ref *ref, int64_t now_ms)
{
	size_t at = ref->bytes[SGATE_REF_BYTES - 1] % CSRF_RECENT;
	uint8_t key_id = keys_signing_id(keys);
	int64_t day = now_ms / TOKEN_CSRF_DAY_MS;

	if (recent->items[at].token[0] != '\0' &&
	    recent->items[at].key_id == key_id &&
	    recent->items[at].day == day &&
	    memcmp(&recent->items[at].ref, ref, sizeof(*ref)) == 0)
		return recent->items[at].token;
	recent->items[at].ref = *ref;
	recent->items[at].key_id = key_id;
	recent->items[at].day = day;
	if (!token_csrf_write(keys, ref, now_ms, recent->items[at].token))
		return NULL;
	return recent->items[at].token;
}

bool
csrf_is_ours(const struct sgate_conf *conf, const struct keys *keys,
    const struct request *req, const struct sgate_ref *ref,
    struct sgate_bytes field, int64_t now_ms)
{
	struct sgate_bytes token = req->csrf_token;

	if (req->sec_fetch_site.len > 0)
		return bytes_equal_text(req->sec_fetch_site, "same-origin") ||
		       bytes_equal_text(req->sec_fetch_site, "none") ||
		       is_of_listed(conf, req->origin);
	if (req->origin.len > 0 && !bytes_equal_text(req->origin, "null"))
		return is_same_site(conf, req, req->origin, false);
	if (req->referer.len > 0)
		return is_same_site(conf, req, req->referer, true);
	if (token.len == 0)
		token = field;
	if (token.len > 0)
		return ref != NULL &&
		       token_csrf_check(keys, ref, now_ms, token);
	return conf->session.csrf_unknown_allow;
}
