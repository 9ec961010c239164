#include "config.h"

#include "body.h"

#include "call.h"
#include "form.h"
#include "page.h"

#include <string.h>

void
body_clear(struct body *body)
{
	data_free(body->json);
	body->json = NULL;
	buf_wipe(&body->text);
	buf_wipe(&body->field);
	body->kind = 0;
}

/* "type/subtype" without parameters. */
static unsigned
body_kind(struct sgate_bytes type)
{
	type = bytes_trim(bytes_cut(&type, ';'));
	if (bytes_equal_nocase(type, "application/json"))
		return BODY_JSON;
	if (bytes_equal_nocase(type, "application/merge-patch+json"))
		return BODY_MERGE_PATCH;
	if (bytes_equal_nocase(type, "application/x-www-form-urlencoded"))
		return BODY_FORM;
	return 0;
}

static bool
body_refuse(struct call *c, int status, const char *code, const char *detail)
{
	if (c->wants_page && status < 500)
		page_problem(c, status, "Body refused", detail);
	else
		reply_problem(&c->reply, status, code, "Body refused", detail);
	return false;
}

static ssize_t
body_pull(struct call *c, char *out, size_t max)
{
	ssize_t n;

	if (c->input->read_body == NULL)
		return 0;
	n = c->input->read_body(c->input->read_body_arg, out, max);
	return n > 0 && (size_t)n > max ? -1 : n;
}

/* Exactly len bytes and then the end. */
static bool
body_pull_all(struct call *c, size_t len)
{
	struct buf *text = &c->body.text;
	char chunk[4096];
	bool is_whole;
	ssize_t n = 0;

	while (text->len < len) {
		size_t want = len - text->len;

		n = body_pull(
		    c, chunk, want < sizeof(chunk) ? want : sizeof(chunk));
		if (n <= 0 || buf_failed(text))
			break;
		buf_add(text, chunk, (size_t)n);
	}
	is_whole = text->len == len && !buf_failed(text) &&
		   body_pull(c, chunk, 1) == 0;
	explicit_bzero(chunk, sizeof(chunk));
	return is_whole;
}

bool
body_read(struct call *c, unsigned takes)
{
	uint64_t len = 0;
	char one;

	if (c->req->content_length.len == 0) {
		/* A body of unknown length may be cut off unnoticed. */
		if (body_pull(c, &one, 1) != 0)
			return body_refuse(c, 411, "length_required",
			    "CONTENT_LENGTH is missing");
	} else if (!bytes_to_uint(c->req->content_length, INT64_MAX, &len)) {
		return body_refuse(
		    c, 400, "malformed", "CONTENT_LENGTH is not a number");
	}
	if (len == 0) {
		/* A form without fields is a form: its answer is a page. */
		if ((takes & BODY_REQUIRED) == 0) {
			c->body.kind =
			    body_kind(c->req->content_type) & takes & BODY_FORM;
			return true;
		}
		return body_refuse(c, 400, "malformed", "the body is missing");
	}
	if (len > c->conf->gateway.body_max_bytes)
		return body_refuse(
		    c, 413, "too_large", "over gateway.body_max");
	c->body.kind = body_kind(c->req->content_type) & takes;
	if (c->body.kind == 0)
		return body_refuse(c, 415, "content_type",
		    "this route does not take this Content-Type");
	if (!body_pull_all(c, (size_t)len))
		return body_refuse(c, 400, "malformed",
		    "the body is not as long as CONTENT_LENGTH says");
	return true;
}

bool
body_json(struct call *c)
{
	struct sgate_bytes text = buf_bytes(&c->body.text);
	enum sgate_status status;

	if (c->body.kind == 0)
		text = bytes_of("{}");
	status = data_parse(
	    text, c->conf->gateway.body_max_bytes, &c->body.json, &c->err);
	switch (status) {
	case SGATE_OK:
		return true;
	case SGATE_INVALID:
		return body_refuse(c, 400, "malformed", c->err.text);
	case SGATE_TOO_LARGE:
		return body_refuse(c, 413, "too_large", c->err.text);
	default:
		return body_refuse(c, 503, "unavailable", NULL);
	}
}

bool
body_is_form(const struct call *c)
{
	return c->body.kind == BODY_FORM;
}

bool
body_field(struct call *c, const char *name, struct sgate_bytes *out_value)
{
	memset(out_value, 0, sizeof(*out_value));
	if (!body_is_form(c))
		return true;
	switch (form_get(buf_bytes(&c->body.text), name, &c->body.field)) {
	case FORM_FOUND:
		*out_value = buf_bytes(&c->body.field);
		return true;
	case FORM_ABSENT:
		return true;
	case FORM_BAD:
		break;
	}
	return body_refuse(c, 400, "malformed", "the form cannot be read");
}
