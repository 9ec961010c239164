#include "config.h"

#include "page.h"

#include "clock.h"
#include "return_to.h"
#include "token.h"

#include <string.h>

static void
page_begin(struct call *c, const char *title)
{
	struct buf *out = c->reply.out;

	reply_page(&c->reply, 200);
	buf_add_text(out,
	    "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
	    "<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
	buf_add_html(out, bytes_of(title));
	buf_add_text(out, "</title>\n<h1>");
	buf_add_html(out, bytes_of(title));
	buf_add_text(out, "</h1>\n");
}

/* <form ...> with the CSRF token, open. */
static void
form_begin(struct call *c, const struct sgate_ref *ref, const char *route)
{
	char token[TOKEN_CSRF_LEN + 1];
	struct buf *out = c->reply.out;

	buf_add_text(out, "<form method=\"post\" action=\"");
	buf_add_html(out, bytes_of(c->conf->gateway.mount));
	buf_add_html(out, bytes_of(route));
	buf_add_text(out, "\">");
	if (ref == NULL || !token_csrf_write(manager_keys(c->gw->mgr), ref,
			       call_now_ms(c), token))
		return;
	buf_add_text(out, "<input type=\"hidden\" name=\"csrf\" value=\"");
	buf_add_html(out, bytes_of(token));
	buf_add_text(out, "\">");
}

static void
form_end(struct call *c, const char *label)
{
	buf_add_text(c->reply.out, "<button>");
	buf_add_html(c->reply.out, bytes_of(label));
	buf_add_text(c->reply.out, "</button></form>\n");
}

static void
form_return_to(struct call *c, struct sgate_bytes return_to)
{
	if (return_to.len == 0)
		return;
	buf_add_text(
	    c->reply.out, "<input type=\"hidden\" name=\"return_to\" value=\"");
	buf_add_html(c->reply.out, return_to);
	buf_add_text(c->reply.out, "\">");
}

void
page_message(struct call *c, const char *title)
{
	page_begin(c, title);
}

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

void
page_logout(
    struct call *c, const struct sgate_ref *ref, struct sgate_bytes return_to)
{
	page_begin(c, "Log out");
	form_begin(c, ref, "logout");
	form_return_to(c, return_to);
	form_end(c, "Log out");
}

static void
add_cell(struct buf *out, struct sgate_bytes value)
{
	buf_add_text(out, "<td>");
	buf_add_html(out, value);
	buf_add_text(out, "</td>");
}

static void
add_time_cell(struct buf *out, int64_t ms)
{
	char text[25];

	clock_text(ms, text);
	add_cell(out, bytes_of(text));
}

static void
add_row(struct call *c, const struct sgate_session *s)
{
	const struct sgate_ref *own = sgate_session_get_ref(c->session);
	const struct sgate_ref *ref = sgate_session_get_ref(s);
	char text[SGATE_REF_HEX + 1];
	char route[SGATE_REF_HEX + sizeof("sessions//end")];
	struct buf *out = c->reply.out;

	sgate_ref_text(ref, text);
	buf_add_text(out, "<tr>");
	add_time_cell(out, sgate_session_get_created_ms(s));
	add_time_cell(out, sgate_session_get_last_seen_ms(s));
	add_cell(out, bytes_of(sgate_session_get_client_ip(s)));
	add_cell(out, sgate_session_get_user_agent(s));
	buf_add_text(out, "<td>");
	if (memcmp(own->bytes, ref->bytes, SGATE_REF_BYTES) == 0)
		buf_add_text(out, "this one ");
	snprintf(route, sizeof(route), "sessions/%s/end", text);
	form_begin(c, own, route);
	form_end(c, "End");
	buf_add_text(out, "</td></tr>\n");
}

void
page_sessions(struct call *c, const struct sgate_list *list)
{
	struct buf *out = c->reply.out;
	size_t i;

	page_begin(c, "Your sessions");
	buf_add_text(out,
	    "<table>\n<tr><th>Since</th><th>Last seen</th><th>Address</th>"
	    "<th>Browser</th><th></th></tr>\n");
	for (i = 0; i < sgate_list_count(list); i++)
		add_row(c, sgate_list_get(list, i));
	buf_add_text(out, "</table>\n");
	form_begin(c, sgate_session_get_ref(c->session), "sessions/end-others");
	form_end(c, "End all others");
}
