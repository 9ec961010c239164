/*
 * What a browser and a web server say of a request: params, Accept, who asks
 * from where, and whether one of our own pages does.
 *
 *   each line   a param, "NAME=value"
 *
 * - A name twice, or none, is malformed; else each field is the param's value.
 * - A forwarded address counts only behind a trusted one.
 * - A request of another site is not ours, however it writes its origin.
 */
#include "config.h"

#include "fuzz.h"

#include "buf.h"
#include "csrf.h"
#include "keyfile.h"
#include "request.h"

#include <ctype.h>
#include <stdbool.h>
#include <strings.h>

#define PARAMS_MAX 64

struct params {
	char *items[PARAMS_MAX + 1];
	size_t count;
};

static void
params_read(struct fuzz_input in, struct params *out)
{
	out->count = 0;
	while (in.left > 0 && out->count < PARAMS_MAX)
		out->items[out->count++] = bytes_dup(fuzz_line(&in));
	out->items[out->count] = NULL;
}

/* The only param of that name; count: how many there are. */
static const char *
params_find(const struct params *params, const char *name, size_t *count)
{
	const char *found = NULL;
	size_t i, len = strlen(name);

	*count = 0;
	for (i = 0; i < params->count; i++)
		if (strncmp(params->items[i], name, len) == 0 &&
		    params->items[i][len] == '=') {
			found = params->items[i] + len + 1;
			++*count;
		}
	return found;
}

#define FIELD(name, field)                                                     \
	{                                                                      \
		name, offsetof(struct request, field)                          \
	}
static const struct {
	const char *name;
	size_t offset;
} fields[] = {FIELD("HTTP_HOST", host), FIELD("HTTP_ACCEPT", accept),
    FIELD("HTTP_COOKIE", cookie), FIELD("HTTP_ORIGIN", origin),
    FIELD("REMOTE_ADDR", remote_addr), FIELD("REQUEST_URI", uri),
    FIELD("CONTENT_TYPE", content_type), FIELD("HTTP_REFERER", referer),
    FIELD("HTTP_IF_MATCH", if_match), FIELD("CONTENT_LENGTH", content_length),
    FIELD("REQUEST_METHOD", method_text), FIELD("SESSGATE_CHECK", check),
    FIELD("SESSGATE_SET_COOKIE", set_cookie),
    FIELD("REDIRECT_REQUEST_METHOD", first_method),
    FIELD("SESSGATE_REALM", realm), FIELD("HTTP_USER_AGENT", user_agent),
    FIELD("SESSGATE_POLICY", policy), FIELD("FCGI_APACHE_ROLE", apache_role),
    FIELD("HTTP_X_CSRF_TOKEN", csrf_token),
    FIELD("HTTP_AUTHORIZATION", authorization),
    FIELD("HTTP_IF_NONE_MATCH", if_none_match),
    FIELD("HTTP_SEC_FETCH_SITE", sec_fetch_site),
    FIELD("HTTP_IDEMPOTENCY_KEY", idempotency_key),
    FIELD("HTTP_X_FORWARDED_FOR", forwarded_for)};

/* What describes a body, where nobody reads one. */
static bool
may_be_twice(const struct params *params, const char *name)
{
	const char *check;
	size_t count;

	check = params_find(params, "SESSGATE_CHECK", &count);
	return check != NULL && check[0] != '\0' &&
	       (strcmp(name, "CONTENT_LENGTH") == 0 ||
		   strcmp(name, "CONTENT_TYPE") == 0);
}

static void
check_fields(const struct params *params, const struct request *req)
{
	bool is_malformed = false;
	struct sgate_bytes only;
	const char *text;
	size_t i, count;

	for (i = 0; i < params->count; i++)
		is_malformed |= strchr(params->items[i], '=') == NULL;
	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct sgate_bytes *field =
		    (const void *)((const char *)req + fields[i].offset);

		text = params_find(params, fields[i].name, &count);
		is_malformed |=
		    count > 1 && !may_be_twice(params, fields[i].name);
		if (count == 1)
			MUST(bytes_equal_text(*field, text));
		MUST(count > 0 || field->len == 0);
	}
	text = params_find(params, "REMOTE_USER", &count);
	MUST(request_only(params->items, "REMOTE_USER", &only) == (count == 1));
	MUST(count != 1 || bytes_equal_text(only, text));
	text = params_find(params, "REQUEST_METHOD", &count);
	is_malformed |= text == NULL || text[0] == '\0' || strlen(text) > 32;
	for (; text != NULL && *text != '\0'; text++)
		is_malformed |= !isalnum((unsigned char)*text) &&
				strchr("!#$%&'*+-.^_`|~", *text) == NULL;
	text = params_find(params, "REQUEST_URI", &count);
	is_malformed |= text == NULL || text[0] == '\0';
	MUST(req->is_malformed == is_malformed);
	if (request_is_safe(req) && !request_wants_page(req))
		MUST(bytes_equal_text(req->method_text, "GET") ||
		     bytes_equal_text(req->method_text, "HEAD") ||
		     bytes_equal_text(req->method_text, "OPTIONS"));
	if (request_prefers_html(req))
		MUST(request_accepts_html(req));
	if (request_accepts_html(req))
		MUST(req->accept.len >= 9);
	if (request_is_authenticator(req) || request_is_access_checker(req))
		MUST(req->apache_role.data[0] == 'A');
	if (request_is_authenticator(req))
		MUST(!request_is_access_checker(req));
}

/* ---- the address ---- */

static void
check_client(const struct request *req)
{
	char near[] = "192.0.2.0/24", one[] = "2001:db8::1",
	     far[] = "10.0.0.0/9";
	char *trusted[] = {near, one, far, NULL};
	char *nobody[] = {NULL};
	char client[46], direct[46];
	unsigned char address[16];
	bool is_near;
	size_t len;

	request_client(req, nobody, direct);
	len = address_parse(req->remote_addr, address);
	MUST((len > 0) == (direct[0] != '\0'));
	is_near = strncmp(direct, "192.0.2.", 8) == 0 ||
		  strcmp(direct, "2001:db8::1") == 0 ||
		  (strncmp(direct, "10.", 3) == 0 && atoi(direct + 3) < 128);
	MUST(request_is_trusted(req->remote_addr, trusted) == is_near);
	request_client(req, trusted, client);
	MUST((client[0] == '\0') == (direct[0] == '\0'));
	/* Somebody else's word is taken of one that is trusted. */
	MUST(is_near || strcmp(client, direct) == 0);
	MUST(client[0] == '\0' || address_parse(bytes_of(client), address) > 0);
}

/* ---- our own pages ---- */

/* Whether digits alone stand there, to the end of what names a host. */
static bool
is_port(struct sgate_bytes text, size_t at)
{
	while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9')
		at++;
	return at == text.len || strchr("/?#", text.data[at]) != NULL;
}

/* Lower case, and the port as a number without zeros before it. */
static void
write_plainly(struct sgate_bytes text, char *out, size_t size)
{
	size_t i, n = 0;

	for (i = 0; i < text.len && n + 1 < size; i++) {
		if (text.data[i] == '0' && i > 6 && text.data[i - 1] == ':' &&
		    is_port(text, i)) {
			while (i + 1 < text.len && text.data[i] == '0')
				i++;
		}
		out[n++] = (char)tolower((unsigned char)text.data[i]);
	}
	out[n] = '\0';
}

static bool
is_of(const char *text, const char *origin)
{
	size_t len = strlen(origin);

	return strncmp(text, origin, len) == 0 &&
	       (text[len] == '\0' || strchr("/?#", text[len]) != NULL);
}

/* With a Host and an origin that are ours, and secure cookies. */
static bool
is_ours(struct sgate_bytes text, bool may_have_path, bool must_be_listed)
{
	static const char *const origins[] = {"https://www.example.org",
	    "https://www.example.org:443", "https://app.example.net:8443",
	    "http://[2001:db8::1]", "http://[2001:db8::1]:80"};
	char plain[8192];
	size_t i;

	write_plainly(text, plain, sizeof(plain));
	for (i = must_be_listed ? 2 : 0;
	     i < sizeof(origins) / sizeof(origins[0]); i++)
		if (may_have_path ? is_of(plain, origins[i])
				  : strcmp(plain, origins[i]) == 0)
			return true;
	return false;
}

static const struct sgate_conf *
our_conf(void)
{
	static const char *const options[] = {
	    "session.origins=https://app.example.net:8443,"
	    "http://[2001:db8::1]",
	    NULL};
	static struct sgate_conf *conf;
	struct sgate_error err;

	if (conf == NULL &&
	    sgate_conf_load(NULL, options, &conf, &err) != SGATE_OK) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return conf;
}

static void
check_origin(struct request req)
{
	const struct sgate_ref ref = {{1}};
	static struct keys *keys;
	static struct csrf_recent recent;
	bool accepted, expected = false;
	const char *token;

	if (keys == NULL)
		keys = keyfile_keys(KEYFILE_KNOWN);
	token = csrf_token(&recent, keys, &ref, INT64_C(1800000000000));
	MUST(token != NULL);
	req.host = bytes_of("www.example.org");
	accepted = csrf_is_ours(our_conf(), keys, &req, &ref,
	    (struct sgate_bytes){NULL, 0}, INT64_C(1800000000000));
	if (req.sec_fetch_site.len > 0)
		expected =
		    bytes_equal_text(req.sec_fetch_site, "same-origin") ||
		    bytes_equal_text(req.sec_fetch_site, "none") ||
		    is_ours(req.origin, false, true);
	else if (req.origin.len > 0 && !bytes_equal_text(req.origin, "null"))
		expected = is_ours(req.origin, false, false);
	else if (req.referer.len > 0)
		expected = is_ours(req.referer, true, false);
	else if (req.csrf_token.len > 0)
		expected = bytes_equal_text(req.csrf_token, token);
	else
		expected = csrf_is_ours(our_conf(), keys, &req, &ref,
			       bytes_of(token), INT64_C(1800000000000)) &&
			   our_conf()->session.csrf_unknown_allow;
	MUST(accepted == expected);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct params params;
	struct request req;
	size_t i;

	params_read(in, &params);
	request_init(&req, params.items, false);
	check_fields(&params, &req);
	check_client(&req);
	check_origin(req);
	for (i = 0; i < params.count; i++)
		free(params.items[i]);
	return 0;
}
