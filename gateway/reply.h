/*
 * Answers, as a CGI program writes them: Status first and once, headers, a
 * body. What each reason means to each role is one table, in reply.c.
 *
 * A value that could end a header line is never written: the whole answer is
 * then replaced by serve_unavailable at reply_end().
 */
#ifndef SESSGATE_REPLY_H
#define SESSGATE_REPLY_H

#include "buf.h"

struct reply {
	struct buf *out;
	size_t start;      /* where this answer begins in out */
	size_t body_start; /* 0 = no body yet */
	int status;
	bool is_head; /* headers of a GET, no body */
	bool is_broken;
	int retry_after_s; /* of a 503 or 429; 0 = the usual */
	struct buf cookie; /* a Set-Cookie value that waits; "" = none */
};

/* What a reason is to a check, to the API, and what a browser may know. */
struct reply_reason {
	int check_status;
	int api_status;
	const char *shown; /* the `code` of the answer: "expired", "role" ... */
	const char *title;
	const char *help; /* what a visitor can do about it */
};
/* Any value; what is not known is answered as a store's failure. */
const struct reply_reason *reply_reason(enum sgate_reason reason);

void reply_init(struct reply *reply, struct buf *out);
void reply_clear(struct reply *reply);

/*
 * Status, Cache-Control and Vary, and the waiting cookie. Called again, it
 * throws away what was written so far: there is never a second Status.
 */
void reply_begin(struct reply *reply, int status);
/*
 * The same for what is the same for everybody: it may be kept for an hour, and
 * a waiting cookie is not sent.
 */
void reply_begin_public(struct reply *reply, int status);
/* No control bytes in value, or the answer is broken. */
void reply_header(
    struct reply *reply, const char *name, struct sgate_bytes value);
/* The same for a line whose beginning is "Name: ", a constant. */
#define REPLY_NAME(text)                                                       \
	(struct sgate_bytes)                                                   \
	{                                                                      \
		text ": ", sizeof(text ": ") - 1                               \
	}
void reply_line(
    struct reply *reply, struct sgate_bytes begin, struct sgate_bytes value);
/* Content-Type and the end of the headers; append the body to reply->out. */
void reply_body(struct reply *reply, const char *content_type);
/* The end of the headers of an answer without a body. */
void reply_no_body(struct reply *reply);
/* Once, last: what is broken or could not be allocated becomes a 503. */
void reply_end(struct reply *reply);

/* When to try again, before the body of a 503 or 429. */
void reply_retry_after(struct reply *reply);

/* application/problem+json, RFC 9457. detail may be NULL. 503 and 429 carry
 * Retry-After. */
void reply_problem(struct reply *reply, int status, const char *code,
    const char *title, const char *detail);
/* The same behind headers of one's own: reply_begin() has been called. */
void reply_problem_body(struct reply *reply, const char *code,
    const char *title, const char *detail);

#endif
