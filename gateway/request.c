/*
 * One pass over the params. A param whose name stands twice makes the request
 * malformed: which of two values counts would differ between us and the web
 * server, and that difference has been the way into gateways before.
 */
#include "config.h"

#include "request.h"

#include "buf.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define FORWARDED_MAX 64 /* addresses looked at in X-Forwarded-For */

struct param {
	const char *name;
	size_t len;
	size_t offset;
};

#define PARAM(text, field)                                                     \
	{                                                                      \
		text, sizeof(text) - 1, offsetof(struct request, field)        \
	}
/* By length, so that the scan can stop early. */
static const struct param param_table[] = {
    PARAM("HTTP_HOST", host),
    PARAM("HTTP_ACCEPT", accept),
    PARAM("HTTP_COOKIE", cookie),
    PARAM("HTTP_ORIGIN", origin),
    PARAM("REMOTE_ADDR", remote_addr),
    PARAM("REQUEST_URI", uri),
    PARAM("CONTENT_TYPE", content_type),
    PARAM("HTTP_REFERER", referer),
    PARAM("HTTP_IF_MATCH", if_match),
    PARAM("CONTENT_LENGTH", content_length),
    PARAM("REQUEST_METHOD", method_text),
    PARAM("SESSGATE_CHECK", check),
    PARAM("SESSGATE_REALM", realm),
    PARAM("HTTP_USER_AGENT", user_agent),
    PARAM("SESSGATE_POLICY", policy),
    PARAM("FCGI_APACHE_ROLE", apache_role),
    PARAM("HTTP_X_CSRF_TOKEN", csrf_token),
    PARAM("HTTP_AUTHORIZATION", authorization),
    PARAM("HTTP_IF_NONE_MATCH", if_none_match),
    PARAM("SESSGATE_SET_COOKIE", set_cookie),
    PARAM("HTTP_SEC_FETCH_SITE", sec_fetch_site),
    PARAM("HTTP_IDEMPOTENCY_KEY", idempotency_key),
    PARAM("HTTP_X_FORWARDED_FOR", forwarded_for),
    PARAM("REDIRECT_REQUEST_METHOD", first_method),
};
#define PARAM_COUNT (sizeof(param_table) / sizeof(param_table[0]))

static struct sgate_bytes *
request_field(struct request *req, const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < PARAM_COUNT && param_table[i].len <= len; i++)
		if (param_table[i].len == len &&
		    memcmp(param_table[i].name, name, len) == 0)
			return (struct sgate_bytes *)(void
				*)((char *)req + param_table[i].offset);
	return NULL;
}

static void
request_param(struct request *req, const char *param)
{
	const char *equals = strchr(param, '=');
	struct sgate_bytes *field;

	if (equals == NULL) {
		req->is_malformed = true;
		return;
	}
	field = request_field(req, param, (size_t)(equals - param));
	if (field == NULL)
		return;
	if (field->data != NULL)
		req->is_malformed = true;
	field->data = equals + 1;
	field->len = strlen(equals + 1);
}

static const struct {
	const char *text;
	enum request_method method;
} method_table[] = {
    {"GET", REQUEST_GET},
    {"HEAD", REQUEST_HEAD},
    {"POST", REQUEST_POST},
    {"PUT", REQUEST_PUT},
    {"PATCH", REQUEST_PATCH},
    {"DELETE", REQUEST_DELETE},
    {"OPTIONS", REQUEST_OPTIONS},
};

static enum request_method
request_method_parse(struct sgate_bytes text)
{
	size_t i;

	for (i = 0; i < sizeof(method_table) / sizeof(method_table[0]); i++)
		if (bytes_equal_text(text, method_table[i].text))
			return method_table[i].method;
	return REQUEST_OTHER;
}

void
request_init(struct request *req, char *const *params, bool is_authorizer)
{
	memset(req, 0, sizeof(*req));
	for (; *params != NULL; params++)
		request_param(req, *params);
	if (is_authorizer)
		req->role = REQUEST_AUTHORIZER;
	else if (req->check.len > 0)
		req->role = REQUEST_CHECK;
	else
		req->role = REQUEST_API;
	/* A method is a token (RFC 9110, 5.6.2): anything else is no request.
	 */
	if (!bytes_is_name(req->method_text, 32, "!#$%&'*+-.^_`|~") ||
	    req->uri.len == 0)
		req->is_malformed = true;
	req->method = request_method_parse(req->method_text);
	if (request_wants_page(req) && req->first_method.len > 0)
		req->method = request_method_parse(req->first_method);
	req->query = req->uri;
	req->path = bytes_cut(&req->query, '?');
}

bool
request_is_safe(const struct request *req)
{
	return (req->method & (REQUEST_GET | REQUEST_HEAD | REQUEST_OPTIONS)) !=
	       0;
}

/* "q=0", "q=0.", "q=0.000" */
static bool
is_zero_quality(struct sgate_bytes parameter)
{
	size_t i;

	if (parameter.len < 3 ||
	    (parameter.data[0] != 'q' && parameter.data[0] != 'Q') ||
	    parameter.data[1] != '=')
		return false;
	for (i = 2; i < parameter.len; i++)
		if (parameter.data[i] != '0' && parameter.data[i] != '.')
			return false;
	return true;
}

static bool
accept_names(struct sgate_bytes accept, const char *type)
{
	while (accept.len > 0) {
		struct sgate_bytes item = bytes_trim(bytes_cut(&accept, ','));
		struct sgate_bytes name = bytes_trim(bytes_cut(&item, ';'));
		bool is_refused = false;

		if (!bytes_equal_nocase(name, type))
			continue;
		while (item.len > 0)
			if (is_zero_quality(bytes_trim(bytes_cut(&item, ';'))))
				is_refused = true;
		return !is_refused;
	}
	return false;
}

bool
request_accepts_html(const struct request *req)
{
	return accept_names(req->accept, "text/html");
}

bool
request_prefers_html(const struct request *req)
{
	return request_accepts_html(req) &&
	       !accept_names(req->accept, "application/json");
}

static bool
starts_with(struct sgate_bytes b, const char *prefix)
{
	size_t len = strlen(prefix);

	return b.len >= len && memcmp(b.data, prefix, len) == 0;
}

bool
request_is_authenticator(const struct request *req)
{
	return starts_with(req->apache_role, "AUTHENTICATOR");
}

bool
request_is_access_checker(const struct request *req)
{
	return starts_with(req->apache_role, "ACCESS_CHECKER");
}

bool
request_wants_page(const struct request *req)
{
	return req->role == REQUEST_CHECK &&
	       bytes_equal_text(req->check, "page");
}

/* ---- the visitor's address ---- */

struct address {
	unsigned char bytes[16];
	size_t len; /* 0 = none */
};

static struct address
address_read(struct sgate_bytes text)
{
	struct address a = {0};

	a.len = address_parse(text, a.bytes);
	return a;
}

static bool
is_in_network(const struct address *a, const char *network)
{
	struct sgate_bytes rest = bytes_of(network);
	struct address n = address_read(bytes_trim(bytes_cut(&rest, '/')));
	uint64_t bits = n.len * 8;
	size_t whole;
	unsigned char mask;

	if (n.len == 0 || n.len != a->len)
		return false;
	if (rest.len > 0 && !bytes_to_uint(rest, n.len * 8, &bits))
		return false;
	whole = (size_t)(bits / 8);
	if (memcmp(a->bytes, n.bytes, whole) != 0)
		return false;
	if (bits % 8 == 0)
		return true;
	mask = (unsigned char)(0xff << (8 - bits % 8));
	return ((a->bytes[whole] ^ n.bytes[whole]) & mask) == 0;
}

static bool
is_trusted(const struct address *a, char *const *trusted)
{
	for (; *trusted != NULL; trusted++)
		if (is_in_network(a, *trusted))
			return true;
	return false;
}

/* Cuts the part behind the last comma off *rest. */
static struct sgate_bytes
take_last(struct sgate_bytes *rest)
{
	struct sgate_bytes part = *rest;
	size_t at = rest->len;

	while (at > 0 && rest->data[at - 1] != ',')
		at--;
	part.data += at;
	part.len -= at;
	rest->len = at > 0 ? at - 1 : 0;
	return bytes_trim(part);
}

void
request_client(const struct request *req, char *const *trusted, char out[46])
{
	struct sgate_bytes rest = req->forwarded_for;
	struct address client = address_read(req->remote_addr);
	int i;

	for (i = 0; i < FORWARDED_MAX && rest.len > 0; i++) {
		struct address next;

		if (client.len == 0 || !is_trusted(&client, trusted))
			break;
		next = address_read(take_last(&rest));
		/* What cannot be read was not written by a trusted proxy. */
		if (next.len == 0)
			break;
		client = next;
	}
	out[0] = '\0';
	if (client.len > 0)
		address_text(client.bytes, client.len, out);
}
