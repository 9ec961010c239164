/*
 * The body of an API request: read to its announced end, typed, and looked
 * into. Never touched for authorizers and checks: their web servers send no
 * end of it, and reading would wait for ever.
 */
#ifndef SESSGATE_BODY_H
#define SESSGATE_BODY_H

#include "buf.h"
#include "data.h"

struct call;

#define BODY_JSON (1u << 0)
#define BODY_MERGE_PATCH (1u << 1) /* application/merge-patch+json */
#define BODY_FORM (1u << 2)
#define BODY_REQUIRED (1u << 3)

struct body {
	struct buf text;
	unsigned kind;     /* one of the first three; 0 = there is no body */
	struct data *json; /* parsed by body_json() */
	struct buf field;  /* the last form field looked at */
};

/*
 * Read the body if there is one. takes: the BODY_ kinds that this route takes.
 * False: c->reply has the answer (400, 411, 413, 415).
 */
SGATE_MUST_CHECK bool body_read(struct call *c, unsigned takes);
/* Parse a JSON body (an empty one is {}). False: c->reply has the answer. */
SGATE_MUST_CHECK bool body_json(struct call *c);
/*
 * A field of a form body: {NULL, 0} when absent or the body is no form. False:
 * it is there twice or cannot be decoded, c->reply has the answer. The value
 * is borrowed until the next call.
 */
SGATE_MUST_CHECK bool body_field(
    struct call *c, const char *name, struct sgate_bytes *out_value);
bool body_is_form(const struct call *c);
/* Wipes: bodies carry tokens. */
void body_clear(struct body *body);

#endif
