#include "config.h"

#include "page.h"

#include "clock.h"
#include "gateway/page_admin_css.h"
#include "gateway/page_css.h"
#include "return_to.h"
#include "token.h"

#include <sodium.h>
#include <string.h>

/* ---- the frame ---- */

struct style {
	const char *text;
	size_t len;
	char hash[7 + sodium_base64_ENCODED_LEN(crypto_hash_sha256_BYTES,
			  sodium_base64_VARIANT_ORIGINAL)];
};
/* Every page's, and what the operator's has besides. */
static struct style page_style = {page_css, sizeof(page_css) - 1, ""};
static struct style admin_style = {
    page_admin_css, sizeof(page_admin_css) - 1, ""};

/* "sha256-...", by which alone a browser takes the style that stands in the
 * page. */
static const char *
style_hash(struct style *style)
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	if (style->hash[0] != '\0')
		return style->hash;
	crypto_hash_sha256(
	    hash, (const unsigned char *)style->text, style->len);
	memcpy(style->hash, "sha256-", 7);
	sodium_bin2base64(style->hash + 7, sizeof(style->hash) - 7, hash,
	    sizeof(hash), sodium_base64_VARIANT_ORIGINAL);
	return style->hash;
}

static void
add_style(struct buf *out, const struct style *style)
{
	buf_add_text(out, "<style>");
	buf_add(out, style->text, style->len);
	buf_add_text(out, "</style>\n");
}

/*
 * "https://host:port" of an absolute address; empty when it is a path, or has
 * what would mean something in a policy.
 */
static struct sgate_bytes
origin_of(struct sgate_bytes url)
{
	struct sgate_bytes none = {NULL, 0};
	const char *host, *end;

	if (url.len == 0 || url.data[0] == '/')
		return none;
	host = memmem(url.data, url.len, "://", 3);
	if (host == NULL)
		return none;
	host += 3;
	end = memchr(host, '/', url.len - (size_t)(host - url.data));
	if (end != NULL)
		url.len = (size_t)(end - url.data);
	return bytes_is_name(url, 300, ":/.-[]") ? url : none;
}

/*
 * goes_to: where the answer to the page's form may send the browser, which
 * Chromium judges by form-action, too. more: a second style, or NULL.
 */
static void
page_headers(struct call *c, struct sgate_bytes goes_to, struct style *more)
{
	struct buf policy = {0};
	struct sgate_bytes origin = origin_of(goes_to);

	buf_add_text(&policy, "default-src 'none'; style-src '");
	buf_add_text(&policy, style_hash(&page_style));
	if (more != NULL)
		buf_printf(&policy, "' '%s", style_hash(more));
	buf_add_text(&policy, "'; form-action 'self'");
	if (origin.len > 0) {
		buf_add_char(&policy, ' ');
		buf_add_bytes(&policy, origin);
	}
	buf_add_text(&policy, "; frame-ancestors 'none'; base-uri 'none'");
	if (buf_failed(&policy))
		c->reply.is_broken = true;
	reply_header(&c->reply, "Content-Security-Policy", buf_bytes(&policy));
	buf_clear(&policy);
	reply_header(&c->reply, "X-Frame-Options", bytes_of("DENY"));
	reply_header(&c->reply, "Referrer-Policy", bytes_of("same-origin"));
	reply_body(&c->reply, "text/html; charset=utf-8");
}

static void
page_open_styled(struct call *c, const char *title, struct sgate_bytes goes_to,
    struct style *more)
{
	struct buf *out = c->reply.out;

	page_headers(c, goes_to, more);
	buf_add_text(out,
	    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
	    "<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
	    "content=\"width=device-width, initial-scale=1\">\n<title>");
	buf_add_html(out, bytes_of(title));
	buf_add_text(out, "</title>\n");
	add_style(out, &page_style);
	if (more != NULL)
		add_style(out, more);
	buf_add_text(out, "</head>\n<body>\n<main>\n<h1>");
	buf_add_html(out, bytes_of(title));
	buf_add_text(out, "</h1>\n");
}

static void
page_open_to(struct call *c, const char *title, struct sgate_bytes goes_to)
{
	page_open_styled(c, title, goes_to, NULL);
}

void
page_open(struct call *c, const char *title)
{
	page_open_to(c, title, (struct sgate_bytes){NULL, 0});
}

void
page_open_admin(struct call *c, const char *title)
{
	page_open_styled(c, title, (struct sgate_bytes){NULL, 0}, &admin_style);
}

void
page_begin(struct call *c, int status, const char *title)
{
	reply_begin(&c->reply, status);
	page_open(c, title);
}

void
page_end(struct call *c)
{
	buf_add_text(c->reply.out, "</main>\n</body>\n</html>\n");
}

/* ---- parts ---- */

void
page_paragraph(struct call *c, const char *text)
{
	if (text == NULL || text[0] == '\0')
		return;
	buf_add_text(c->reply.out, "<p>");
	buf_add_html(c->reply.out, bytes_of(text));
	buf_add_text(c->reply.out, "</p>\n");
}

static void
page_link(
    struct call *c, struct sgate_bytes url, const char *class, const char *text)
{
	struct buf *out = c->reply.out;

	buf_add_text(out, "<p><a");
	buf_add_text(out, class);
	buf_add_text(out, " href=\"");
	buf_add_html(out, url);
	buf_add_text(out, "\">");
	buf_add_text(out, text);
	buf_add_text(out, "</a></p>\n");
}

void
page_login_link(struct call *c, const char *text, const char *login_url,
    struct sgate_bytes return_to)
{
	struct buf url = {0};

	if (login_url[0] == '\0')
		return;
	return_to_login(login_url, return_to, &url);
	if (buf_failed(&url))
		c->reply.is_broken = true;
	page_link(c, buf_bytes(&url), " class=\"button\"", text);
	buf_clear(&url);
}

/* mount + route, to be cleared by the caller. */
static struct sgate_bytes
own_url(struct call *c, const char *route, struct buf *out)
{
	buf_add_text(out, c->conf->gateway.mount);
	buf_add_text(out, route);
	if (buf_failed(out))
		c->reply.is_broken = true;
	return buf_bytes(out);
}

void
page_sessions_link(struct call *c)
{
	struct buf url = {0};

	page_link(c, own_url(c, "sessions", &url), "", "Your sessions");
	buf_clear(&url);
}

void
page_form_begin(struct call *c, const struct sgate_ref *ref, const char *route)
{
	char token[TOKEN_CSRF_LEN + 1];
	struct buf *out = c->reply.out;

	buf_add_text(out, "<form method=\"post\" action=\"");
	buf_add_html(out, bytes_of(c->conf->gateway.mount));
	buf_add_html(out, bytes_of(route));
	buf_add_text(out, "\">");
	if (ref != NULL && token_csrf_write(manager_keys(c->gw->mgr), ref,
			       call_now_ms(c), token))
		page_form_field(c, "csrf", bytes_of(token));
}

void
page_form_field(struct call *c, const char *name, struct sgate_bytes value)
{
	struct buf *out = c->reply.out;

	buf_add_text(out, "<input type=\"hidden\" name=\"");
	buf_add_text(out, name);
	buf_add_text(out, "\" value=\"");
	buf_add_html(out, value);
	buf_add_text(out, "\">");
}

void
page_form_end(
    struct call *c, const char *label, struct sgate_bytes about, bool is_main)
{
	struct buf *out = c->reply.out;

	buf_add_text(out, is_main ? "<button class=\"main\">" : "<button>");
	buf_add_html(out, bytes_of(label));
	if (about.len > 0) {
		buf_add_text(out, " <span class=\"unseen\">(");
		buf_add_html(out, about);
		buf_add_text(out, ")</span>");
	}
	buf_add_text(out, "</button></form>\n");
}

/* ---- pages ---- */

void
page_redirect(struct call *c, struct sgate_bytes return_to)
{
	struct buf location = {0};

	return_to_write(return_to, &location);
	reply_begin(&c->reply, 303);
	if (buf_failed(&location))
		c->reply.is_broken = true;
	reply_header(&c->reply, "Location", buf_bytes(&location));
	reply_no_body(&c->reply);
	buf_clear(&location);
}

/* Whether the visitor pressed a button of the list of sessions. */
static bool
came_from_the_list(const struct call *c)
{
	struct sgate_bytes path = request_path(c->req);
	size_t mount = strlen(c->conf->gateway.mount);

	return c->req->role == REQUEST_API && path.len > mount &&
	       path.len - mount > sizeof("sessions/") - 1 &&
	       memcmp(path.data + mount, "sessions/",
		   sizeof("sessions/") - 1) == 0;
}

/* The same request once more, where that is no more than a look. */
static void
page_again_link(struct call *c)
{
	struct buf url = {0};

	if (!request_is_safe(c->req) ||
	    !return_to_is_allowed(c->req->uri, NULL))
		return;
	return_to_write(c->req->uri, &url);
	if (buf_failed(&url))
		c->reply.is_broken = true;
	page_link(c, buf_bytes(&url), " class=\"button\"", "Try again");
	buf_clear(&url);
}

static void
page_refused_login_link(struct call *c, const char *text, const char *login_url)
{
	struct buf url = {0};
	struct sgate_bytes back = {NULL, 0};

	if (request_is_safe(c->req))
		back = c->req->uri;
	else if (came_from_the_list(c))
		back = own_url(c, "sessions", &url);
	page_login_link(c, text, login_url, back);
	buf_clear(&url);
}

/* Why, in the operator's words, and until when. */
static void
page_maintenance(struct call *c)
{
	struct sgate_maintenance_state state;
	char until[25];

	call_maintenance(c, &state);
	page_paragraph(c, state.reason);
	if (state.until_ms == 0)
		return;
	clock_text(state.until_ms, until);
	buf_add_text(c->reply.out, "<p>Until <time>");
	buf_add_text(c->reply.out, until);
	buf_add_text(c->reply.out, "</time>.</p>\n");
}

void
page_refusal(struct call *c, enum sgate_reason reason, const char *login_url,
    const char *detail)
{
	const struct reply_reason *row = reply_reason(reason);

	page_open(c, row->title);
	page_paragraph(c, row->help);
	if (reason == SGATE_REASON_MAINTENANCE)
		page_maintenance(c);
	else
		page_paragraph(c, detail);
	if (row->check_status == 401)
		page_refused_login_link(c, "Log in", login_url);
	else if (reason == SGATE_REASON_ROLE)
		page_refused_login_link(
		    c, "Log in as somebody else", login_url);
	else if (row->check_status == 503)
		page_again_link(c);
	if (row->check_status != 401 && came_from_the_list(c))
		page_sessions_link(c);
	page_end(c);
}

void
page_problem_body(struct call *c, const char *title, const char *detail)
{
	page_open(c, title);
	page_paragraph(c, detail);
	if (came_from_the_list(c))
		page_sessions_link(c);
	page_end(c);
}

void
page_problem(struct call *c, int status, const char *title, const char *detail)
{
	reply_begin(&c->reply, status);
	page_problem_body(c, title, detail);
}

void
page_done(struct call *c, const char *title)
{
	page_begin(c, 200, title);
	page_sessions_link(c);
	page_end(c);
}

void
page_logged_out(struct call *c, const char *title)
{
	page_begin(c, 200, title);
	page_paragraph(c, "On this device nobody is logged in to this site.");
	page_login_link(c, "Log in", c->conf->gateway.login_url,
	    (struct sgate_bytes){NULL, 0});
	page_end(c);
}

void
page_login(struct call *c, const struct sgate_ref *ref, struct sgate_bytes user,
    struct sgate_bytes return_to)
{
	struct buf *out = c->reply.out;

	reply_begin(&c->reply, 200);
	page_open_to(c, "Log in", return_to);
	buf_add_text(out, "<p>As <strong><bdi>");
	buf_add_html(out, user);
	buf_add_text(out, "</bdi></strong></p>\n");
	page_form_begin(c, ref, "login");
	if (return_to.len > 0)
		page_form_field(c, "return_to", return_to);
	buf_add_text(out, "<p><label><input type=\"checkbox\" "
			  "name=\"remember\" value=\"1\"> Stay logged in on "
			  "this device</label></p>");
	page_form_end(c, "Log in", (struct sgate_bytes){NULL, 0}, true);
	page_end(c);
}

void
page_logout(
    struct call *c, const struct sgate_ref *ref, struct sgate_bytes return_to)
{
	reply_begin(&c->reply, 200);
	page_open_to(c, "Log out", return_to);
	page_paragraph(
	    c, "This ends your session on this device, and no other.");
	page_form_begin(c, ref, "logout");
	if (return_to.len > 0)
		page_form_field(c, "return_to", return_to);
	page_form_end(c, "Log out", (struct sgate_bytes){NULL, 0}, true);
	page_end(c);
}
