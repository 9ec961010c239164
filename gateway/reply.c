#include "config.h"

#include "reply.h"

#include "serve.h"

#include <stdio.h>
#include <string.h>

#define RETRY_AFTER_S "2"

const char serve_unavailable[] = "Status: 503 Service Unavailable\r\n"
				 "Cache-Control: no-store\r\n"
				 "Vary: Cookie\r\n"
				 "Retry-After: " RETRY_AFTER_S "\r\n"
				 "Content-Type: text/plain\r\n"
				 "\r\n"
				 "Service unavailable\n";

/* What a visitor reads below the title. */
#define LOG_IN_HELP "Please log in."
#define TWICE_HELP                                                             \
	"Your browser sent two session cookies of this site, and one of "      \
	"them is not ours. Please delete this site's cookies and log in "      \
	"again."
#define EXPIRED_HELP                                                           \
	"Your session ended after a long pause, or because you had been "      \
	"logged in for a long time. Please log in again."
#define ENDED_HELP                                                             \
	"Your session was ended: by you, here or on another device, or by "    \
	"those who run this site. Please log in again."
#define ROLE_HELP                                                              \
	"You are logged in, but your account does not have the role that "     \
	"this needs."
#define AUTH_AGE_HELP                                                          \
	"This needs a recent login, and yours is too old. Please log in "      \
	"again."
#define CSRF_HELP                                                              \
	"Nothing was done: the request did not come from a page of this "      \
	"site. If you did not expect this, go back, reload the page, and try " \
	"again."
#define DENIED_HELP "This is not available here."
#define RATE_HELP                                                              \
	"There were too many logins from your address. Please wait a minute, " \
	"then try again."
#define MAINTENANCE_HELP "The site is being worked on. Please try again later."
#define STORE_HELP                                                             \
	"This cannot be answered at the moment. You have not been logged "     \
	"out. Please try again in a few seconds."

/* When you add a reason to sessgate.h, add its row here. */
static const struct reply_reason reason_table[SGATE_REASON_COUNT] = {
    [SGATE_REASON_NONE] = {401, 401, "none", "Not logged in", LOG_IN_HELP},
    [SGATE_REASON_MALFORMED] = {401, 401, "none", "Not logged in", LOG_IN_HELP},
    [SGATE_REASON_BAD_TAG] = {401, 401, "none", "Not logged in", LOG_IN_HELP},
    [SGATE_REASON_AMBIGUOUS] = {401, 400, "none", "Not logged in", TWICE_HELP},
    [SGATE_REASON_UNKNOWN] = {401, 401, "none", "Not logged in", LOG_IN_HELP},
    [SGATE_REASON_EXPIRED_IDLE] = {401, 401, "expired", "Session expired",
	EXPIRED_HELP},
    [SGATE_REASON_EXPIRED_ABSOLUTE] = {401, 401, "expired", "Session expired",
	EXPIRED_HELP},
    [SGATE_REASON_LOGGED_OUT] = {401, 401, "ended", "Session ended",
	ENDED_HELP},
    [SGATE_REASON_REVOKED] = {401, 401, "ended", "Session ended", ENDED_HELP},
    [SGATE_REASON_REPLACED] = {401, 401, "ended", "Session ended", ENDED_HELP},
    [SGATE_REASON_THEFT] = {401, 401, "ended", "Session ended", ENDED_HELP},
    [SGATE_REASON_LIMIT] = {401, 401, "ended", "Session ended", ENDED_HELP},
    [SGATE_REASON_BLOCKED] = {401, 401, "ended", "Session ended", ENDED_HELP},
    [SGATE_REASON_FLUSHED] = {401, 401, "ended", "Session ended", ENDED_HELP},
    [SGATE_REASON_BINDING] = {401, 401, "ended", "Session ended", ENDED_HELP},
    [SGATE_REASON_ROLE] = {403, 403, "role", "Role missing", ROLE_HELP},
    [SGATE_REASON_AUTH_AGE] = {401, 401, "reauth", "Login too long ago",
	AUTH_AGE_HELP},
    [SGATE_REASON_CSRF] = {403, 403, "csrf", "Request from another site",
	CSRF_HELP},
    [SGATE_REASON_POLICY] = {403, 403, "denied", "Not allowed", DENIED_HELP},
    [SGATE_REASON_LISTENER] = {403, 403, "denied", "Not allowed", DENIED_HELP},
    [SGATE_REASON_RATE] = {503, 429, "busy", "Too many logins", RATE_HELP},
    [SGATE_REASON_MAINTENANCE] = {503, 503, "maintenance", "Maintenance",
	MAINTENANCE_HELP},
    [SGATE_REASON_STORE] = {503, 503, "unavailable", "Unavailable", STORE_HELP},
    [SGATE_REASON_OVERLOAD] = {503, 503, "unavailable", "Unavailable",
	STORE_HELP},
};

const struct reply_reason *
reply_reason(enum sgate_reason reason)
{
	if ((unsigned)reason >= SGATE_REASON_COUNT ||
	    reason_table[reason].check_status == 0)
		reason = SGATE_REASON_STORE;
	return &reason_table[reason];
}

#define REPLY_HEAD "\r\nCache-Control: no-store\r\nVary: Cookie\r\n"
#define ROW(status, phrase)                                                    \
	{                                                                      \
		status, "Status: " #status " " phrase REPLY_HEAD,              \
		    sizeof("Status: " #status " " phrase REPLY_HEAD) - 1       \
	}

/* What each answer begins with. */
static const struct {
	int status;
	const char *text;
	size_t len;
} status_table[] = {
    ROW(200, "OK"),
    ROW(201, "Created"),
    ROW(302, "Found"),
    ROW(303, "See Other"),
    ROW(304, "Not Modified"),
    ROW(400, "Bad Request"),
    ROW(401, "Unauthorized"),
    ROW(403, "Forbidden"),
    ROW(404, "Not Found"),
    ROW(405, "Method Not Allowed"),
    ROW(409, "Conflict"),
    ROW(411, "Length Required"),
    ROW(412, "Precondition Failed"),
    ROW(413, "Content Too Large"),
    ROW(415, "Unsupported Media Type"),
    ROW(429, "Too Many Requests"),
    ROW(500, "Internal Server Error"),
    ROW(503, "Service Unavailable"),
};
#define STATUS_ROWS (sizeof(status_table) / sizeof(status_table[0]))

/* A status that is not in the table is our bug, and never a 2xx. */
static void
add_status(struct buf *out, int status)
{
	size_t i = 0;

	while (i < STATUS_ROWS && status_table[i].status != status)
		i++;
	if (i == STATUS_ROWS)
		buf_add_text(
		    out, "Status: 500 Internal Server Error" REPLY_HEAD);
	else
		buf_add(out, status_table[i].text, status_table[i].len);
}

void
reply_init(struct reply *reply, struct buf *out)
{
	memset(reply, 0, sizeof(*reply));
	reply->out = out;
	reply->start = out->len;
}

void
reply_clear(struct reply *reply)
{
	if (reply->cookie.data != NULL)
		buf_wipe(&reply->cookie);
}

static void
reply_cut(struct reply *reply, size_t len)
{
	struct buf *out = reply->out;

	if (out->data == NULL || len >= out->len)
		return;
	explicit_bzero(out->data + len, out->len - len);
	buf_cut(out, len);
}

void
reply_begin(struct reply *reply, int status)
{
	reply_cut(reply, reply->start);
	reply->status = status;
	reply->body_start = 0;
	add_status(reply->out, status);
	if (reply->cookie.len > 0)
		reply_header(reply, "Set-Cookie", buf_bytes(&reply->cookie));
	if (buf_failed(&reply->cookie))
		reply->is_broken = true;
}

void
reply_begin_public(struct reply *reply, int status)
{
	buf_reset(&reply->cookie);
	reply_begin(reply, status);
	/* The line of the status stays. */
	if (!buf_failed(reply->out))
		reply_cut(
		    reply, reply->out->len - (sizeof(REPLY_HEAD) - 1) + 2);
	reply_header(reply, "Cache-Control", bytes_of("public, max-age=3600"));
}

void
reply_header(struct reply *reply, const char *name, struct sgate_bytes value)
{
	if (bytes_has_control(value)) {
		reply->is_broken = true;
		return;
	}
	buf_add_text(reply->out, name);
	buf_add(reply->out, ": ", 2);
	buf_add_bytes(reply->out, value);
	buf_add(reply->out, "\r\n", 2);
}

void
reply_line(
    struct reply *reply, struct sgate_bytes begin, struct sgate_bytes value)
{
	char *at;

	if (bytes_has_control(value)) {
		reply->is_broken = true;
		return;
	}
	at = buf_extend(reply->out, begin.len + value.len + 2);
	if (at == NULL)
		return;
	memcpy(at, begin.data, begin.len);
	at += begin.len;
	if (value.len > 0)
		memcpy(at, value.data, value.len);
	memcpy(at + value.len, "\r\n", 2);
}

void
reply_body(struct reply *reply, const char *content_type)
{
	reply_header(reply, "Content-Type", bytes_of(content_type));
	reply_header(reply, "X-Content-Type-Options", bytes_of("nosniff"));
	reply_no_body(reply);
}

void
reply_no_body(struct reply *reply)
{
	buf_add(reply->out, "\r\n", 2);
	reply->body_start = reply->out->len;
}

void
reply_end(struct reply *reply)
{
	struct buf *out = reply->out;

	if (!reply->is_broken && !buf_failed(out) && reply->body_start != 0) {
		if (reply->is_head)
			reply_cut(reply, reply->body_start);
		return;
	}
	reply->status = 503;
	if (buf_failed(out) && reply->start == 0)
		buf_reset(out);
	reply_cut(reply, reply->start);
	buf_add_text(out, serve_unavailable);
}

void
reply_retry_after(struct reply *reply)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", reply->retry_after_s);
	reply_header(reply, "Retry-After",
	    bytes_of(reply->retry_after_s > 0 ? text : RETRY_AFTER_S));
}

void
reply_problem(struct reply *reply, int status, const char *code,
    const char *title, const char *detail)
{
	reply_begin(reply, status);
	reply_problem_body(reply, code, title, detail);
}

void
reply_problem_body(struct reply *reply, const char *code, const char *title,
    const char *detail)
{
	struct json j;

	if (reply->status == 503 || reply->status == 429)
		reply_retry_after(reply);
	reply_body(reply, "application/problem+json");
	json_init(&j, reply->out);
	json_object(&j, NULL);
	json_text(&j, "type", "about:blank");
	json_text(&j, "title", title);
	json_int(&j, "status", reply->status);
	json_text(&j, "code", code);
	if (detail != NULL)
		json_text(&j, "detail", detail);
	json_end(&j);
	buf_add_char(reply->out, '\n');
}
