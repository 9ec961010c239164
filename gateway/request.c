/* One pass over the params. */
#include "config.h"

#include "request.h"

#include "buf.h"

#include <string.h>
#include <strings.h>

#define FORWARDED_MAX 64 /* addresses looked at in X-Forwarded-For */

#define NAMED(text, field)                                                     \
	if (memcmp(name, text, sizeof(text) - 1) == 0)                         \
	return &req->field

struct sgate_bytes *
request_field(struct request *req, const char *name, size_t len)
{
	switch (len) {
	case sizeof("HTTP_HOST") - 1:
		NAMED("HTTP_HOST", host);
		break;
	case sizeof("HTTP_ACCEPT") - 1:
		NAMED("HTTP_COOKIE", cookie);
		NAMED("REQUEST_URI", uri);
		NAMED("REMOTE_ADDR", remote_addr);
		NAMED("HTTP_ACCEPT", accept);
		NAMED("HTTP_ORIGIN", origin);
		break;
	case sizeof("CONTENT_TYPE") - 1:
		NAMED("CONTENT_TYPE", content_type);
		NAMED("HTTP_REFERER", referer);
		break;
	case sizeof("HTTP_IF_MATCH") - 1:
		NAMED("HTTP_IF_MATCH", if_match);
		break;
	case sizeof("CONTENT_LENGTH") - 1:
		NAMED("REQUEST_METHOD", method_text);
		NAMED("SESSGATE_CHECK", check);
		NAMED("SESSGATE_REALM", realm);
		NAMED("CONTENT_LENGTH", content_length);
		break;
	case sizeof("HTTP_USER_AGENT") - 1:
		NAMED("HTTP_USER_AGENT", user_agent);
		NAMED("SESSGATE_POLICY", policy);
		break;
	case sizeof("FCGI_APACHE_ROLE") - 1:
		NAMED("FCGI_APACHE_ROLE", apache_role);
		break;
	case sizeof("HTTP_X_CSRF_TOKEN") - 1:
		NAMED("HTTP_X_CSRF_TOKEN", csrf_token);
		break;
	case sizeof("HTTP_AUTHORIZATION") - 1:
		NAMED("HTTP_AUTHORIZATION", authorization);
		NAMED("HTTP_IF_NONE_MATCH", if_none_match);
		break;
	case sizeof("HTTP_SEC_FETCH_SITE") - 1:
		NAMED("HTTP_SEC_FETCH_SITE", sec_fetch_site);
		NAMED("SESSGATE_SET_COOKIE", set_cookie);
		break;
	case sizeof("HTTP_IDEMPOTENCY_KEY") - 1:
		NAMED("HTTP_IDEMPOTENCY_KEY", idempotency_key);
		NAMED("HTTP_X_FORWARDED_FOR", forwarded_for);
		break;
	case sizeof("REDIRECT_REQUEST_METHOD") - 1:
		NAMED("REDIRECT_REQUEST_METHOD", first_method);
		break;
	default:
		break;
	}
	return NULL;
}

static void
request_param(struct request *req, const char *param)
{
	const char *equals = strchr(param, '=');
	struct sgate_bytes *field;
	size_t name_len;

	if (equals == NULL) {
		req->is_malformed = true;
		return;
	}
	name_len = (size_t)(equals - param);
	field = request_field(req, param, name_len);
	if (field == NULL)
		return;
	if (field->data != NULL) {
		if (request_may_stand_twice(param, name_len) ==
		    REQUEST_TWICE_NEVER)
			req->is_malformed = true;
		else
			req->is_twice_for_a_body = true;
	}
	field->data = equals + 1;
	field->len = strlen(equals + 1);
}

#define METHOD(word, method)                                                   \
	if (text.len == sizeof(word) - 1 &&                                    \
	    memcmp(text.data, word, sizeof(word) - 1) == 0)                    \
	return method

static enum request_method
request_method_parse(struct sgate_bytes text)
{
	METHOD("GET", REQUEST_GET);
	METHOD("HEAD", REQUEST_HEAD);
	METHOD("POST", REQUEST_POST);
	METHOD("PUT", REQUEST_PUT);
	METHOD("PATCH", REQUEST_PATCH);
	METHOD("DELETE", REQUEST_DELETE);
	METHOD("OPTIONS", REQUEST_OPTIONS);
	return REQUEST_OTHER;
}

/* A method is a token (RFC 9110, 5.6.2): anything else is no request. */
static bool
is_method(struct sgate_bytes text)
{
	return bytes_is_name(text, 32, "!#$%&'*+-.^_`|~");
}

void
request_settle(struct request *req, bool is_authorizer)
{
	if (is_authorizer)
		req->role = REQUEST_AUTHORIZER;
	else if (req->check.len > 0)
		req->role = REQUEST_CHECK;
	else
		req->role = REQUEST_API;
	if (req->is_twice_for_a_body && req->role == REQUEST_API)
		req->is_malformed = true;
	req->method = request_method_parse(req->method_text);
	if (req->uri.len == 0 ||
	    (req->method == REQUEST_OTHER && !is_method(req->method_text)))
		req->is_malformed = true;
	if (req->first_method.len > 0 && request_wants_page(req))
		req->method = request_method_parse(req->first_method);
}

void
request_init(struct request *req, char *const *params, bool is_authorizer)
{
	memset(req, 0, sizeof(*req));
	for (; *params != NULL; params++)
		request_param(req, *params);
	request_settle(req, is_authorizer);
}

struct sgate_bytes
request_path(const struct request *req)
{
	struct sgate_bytes query = req->uri;

	return bytes_cut(&query, '?');
}

struct sgate_bytes
request_query(const struct request *req)
{
	struct sgate_bytes query = req->uri;

	(void)bytes_cut(&query, '?');
	return query;
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
request_only(char *const *params, const char *name, struct sgate_bytes *out)
{
	size_t len = strlen(name);
	unsigned found = 0;

	memset(out, 0, sizeof(*out));
	for (; *params != NULL; params++) {
		if (strncmp(*params, name, len) != 0 || (*params)[len] != '=')
			continue;
		found++;
		*out = bytes_of(*params + len + 1);
	}
	return found == 1;
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

/* The digits behind the last colon are a port, but in an IPv6 address without
 * brackets its last part. */
static struct sgate_bytes
without_port(struct sgate_bytes text)
{
	size_t len = text.len;

	while (
	    len > 0 && text.data[len - 1] >= '0' && text.data[len - 1] <= '9')
		len--;
	if (len == 0 || len == text.len || text.len - len > 5 ||
	    text.data[len - 1] != ':' ||
	    (text.data[0] != '[' && memchr(text.data, ':', len - 1) != NULL))
		return text;
	text.len = len - 1;
	return text;
}

/*
 * As proxies write them: "192.0.2.1", "2001:db8::1", and with the port that
 * some add, "192.0.2.1:4711", "[2001:db8::1]:4711", "[2001:db8::1]".
 */
static struct address
address_read_forwarded(struct sgate_bytes text)
{
	struct address none = {0};

	text = without_port(text);
	if (text.len < 2 || text.data[0] != '[' ||
	    text.data[text.len - 1] != ']')
		return address_read(text);
	text.data++;
	text.len -= 2;
	return memchr(text.data, ':', text.len) == NULL ? none
							: address_read(text);
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

bool
request_is_trusted(struct sgate_bytes address, char *const *trusted)
{
	struct address a = address_read(address);

	return a.len > 0 && is_trusted(&a, trusted);
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
		next = address_read_forwarded(take_last(&rest));
		/* What cannot be read was not written by a trusted proxy. */
		if (next.len == 0)
			break;
		client = next;
	}
	out[0] = '\0';
	if (client.len > 0)
		address_text(client.bytes, client.len, out);
}
