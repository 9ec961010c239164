/*
 * The params of one FastCGI request, read in one pass into named fields. Plain
 * values that point into the params; nothing is decided here and nothing is
 * allocated.
 *
 * What a browser can choose (HTTP_*, the URI) and what only the web server's
 * configuration can set (SESSGATE_*, FCGI_APACHE_ROLE, REMOTE_ADDR) are marked
 * apart. REMOTE_USER and AUTH_TYPE are not among them: with nginx's stock
 * configuration the client chooses them. A login looks for them itself.
 */
#ifndef SESSGATE_REQUEST_H
#define SESSGATE_REQUEST_H

#include <stdbool.h>
#include <string.h>

#include "sessgate.h"

enum request_role { REQUEST_AUTHORIZER, REQUEST_CHECK, REQUEST_API };

/* Methods as bits, so that a route can say which it takes. */
enum request_method {
	REQUEST_GET = 1 << 0,
	REQUEST_HEAD = 1 << 1,
	REQUEST_POST = 1 << 2,
	REQUEST_PUT = 1 << 3,
	REQUEST_PATCH = 1 << 4,
	REQUEST_DELETE = 1 << 5,
	REQUEST_OPTIONS = 1 << 6,
	REQUEST_OTHER = 1 << 7
};

/*
 * Whether a name may stand among the params twice. Which of two values counts
 * would differ between us and the web server, and that difference has been the
 * way into gateways before: so such a request is malformed. Exceptions are what
 * nginx's stock fastcgi_params and a line of one's own send both: REMOTE_USER,
 * which a login accepts only where it stands once, and what would describe a
 * body, where there is none.
 */
enum request_twice {
	REQUEST_TWICE_NEVER,
	REQUEST_TWICE_WITHOUT_BODY, /* an authorizer's request, or a check */
	REQUEST_TWICE_ALWAYS
};

static inline enum request_twice
request_may_stand_twice(const char *name, size_t len)
{
#define IS(text)                                                               \
	(len == sizeof(text) - 1 && memcmp(name, text, sizeof(text) - 1) == 0)
	if (IS("CONTENT_LENGTH") || IS("CONTENT_TYPE"))
		return REQUEST_TWICE_WITHOUT_BODY;
	return IS("REMOTE_USER") ? REQUEST_TWICE_ALWAYS : REQUEST_TWICE_NEVER;
#undef IS
}

/* Fields are {NULL, 0} when absent; present and empty counts as absent too. */
struct request {
	enum request_role role;
	enum request_method method;
	bool is_malformed;        /* a name twice, no '=', no method, no URI */
	bool is_twice_for_a_body; /* REQUEST_TWICE_WITHOUT_BODY has been */

	/* From the web server's configuration or its own knowledge. */
	struct sgate_bytes check;      /* SESSGATE_CHECK */
	struct sgate_bytes set_cookie; /* SESSGATE_SET_COOKIE */
	struct sgate_bytes policy;
	struct sgate_bytes realm;
	struct sgate_bytes apache_role;
	struct sgate_bytes remote_addr;
	/* REDIRECT_REQUEST_METHOD: Apache asks for a page with GET. */
	struct sgate_bytes first_method;

	/* From the client. */
	struct sgate_bytes method_text;
	struct sgate_bytes uri; /* raw, with query */
	struct sgate_bytes content_type;
	struct sgate_bytes content_length;
	struct sgate_bytes cookie;
	struct sgate_bytes host;
	struct sgate_bytes accept;
	struct sgate_bytes origin;
	struct sgate_bytes referer;
	struct sgate_bytes sec_fetch_site;
	struct sgate_bytes csrf_token;
	struct sgate_bytes if_match;
	struct sgate_bytes if_none_match;
	struct sgate_bytes authorization;
	struct sgate_bytes idempotency_key;
	struct sgate_bytes user_agent;
	struct sgate_bytes forwarded_for;
};

/* params: "NAME=value" strings, NULL-terminated; borrowed by *req. */
void request_init(struct request *req, char *const *params, bool is_authorizer);

/*
 * The same for who has the params in another form (plain.h): a request of zeros
 * is given its fields, and then settled. request_field(): where the value of
 * that name belongs, NULL when nobody reads it; one that has data already is
 * malformed.
 */
struct sgate_bytes *request_field(
    struct request *req, const char *name, size_t len);
void request_settle(struct request *req, bool is_authorizer);

/* GET, HEAD and OPTIONS change nothing. */
bool request_is_safe(const struct request *req);
/*
 * Whether Accept names text/html (not just a wildcard, not with q=0); prefers:
 * and does not name application/json beside it.
 */
/* The two parts of uri, raw; most checks need neither. */
struct sgate_bytes request_path(const struct request *req);
struct sgate_bytes request_query(const struct request *req);
bool request_accepts_html(const struct request *req);
bool request_prefers_html(const struct request *req);
/* "AUTHENTICATOR...": Apache's mod_authnz_fcgi. */
bool request_is_authenticator(const struct request *req);
/* "ACCESS_CHECKER": Apache's mod_fcgid; it shows Variable-* to the browser. */
bool request_is_access_checker(const struct request *req);
/*
 * SESSGATE_CHECK=page: the web server has been told "no" and asks once more,
 * for what the browser shall see of it.
 */
static inline bool
request_wants_page(const struct request *req)
{
	return req->role == REQUEST_CHECK &&
	       req->check.len == sizeof("page") - 1 &&
	       memcmp(req->check.data, "page", sizeof("page") - 1) == 0;
}

/*
 * A param that is there exactly once: its value, which may be empty. False:
 * there is none or more than one. For what request.h does not read, because in
 * most requests it says nothing: REMOTE_USER, AUTH_TYPE.
 */
bool request_only(
    char *const *params, const char *name, struct sgate_bytes *out);

/* Whether the text is one of these addresses, or in one of these networks. */
bool request_is_trusted(struct sgate_bytes address, char *const *trusted);
/*
 * The visitor's address as text in out ("" when not known): REMOTE_ADDR, or,
 * where that is one of the trusted addresses or networks, the right-most
 * address of X-Forwarded-For that is not.
 */
void request_client(
    const struct request *req, char *const *trusted, char out[46]);

#endif
