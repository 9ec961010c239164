/*
 * libfcgi, kept in one file: it parses a request whose bytes were received and
 * judged (head.h), and makes the records of the answer. It never has the
 * connection. How that is done: fcgi.c.
 */
#ifndef SESSGATE_FCGI_H
#define SESSGATE_FCGI_H

#include <stdbool.h>
#include <sys/types.h>

#include "buf.h"
#include "head.h"
#include "sessgate.h"

struct fcgi;

/*
 * Once a process, before the first request. SGATE_INTERNAL: this libfcgi reads
 * and writes connections by itself (a build with -Bsymbolic); err says so.
 */
SGATE_MUST_CHECK enum sgate_status fcgi_new(
    struct fcgi **out, struct sgate_error *err);
void fcgi_free(struct fcgi *fcgi);
/*
 * Begin a request whose bytes were judged HEAD_COMPLETE; they are borrowed
 * until fcgi_finish() or fcgi_drop(). False: libfcgi judges otherwise, and
 * there is no request.
 */
SGATE_MUST_CHECK bool fcgi_open(
    struct fcgi *fcgi, const struct head *head, struct sgate_bytes bytes);
/* "NAME=value" strings, NULL-terminated; borrowed as the bytes are. */
char *const *fcgi_params(const struct fcgi *fcgi);
/*
 * As serve_input.read_body; never waits. -1 behind the last byte that was
 * judged when the body's end was not among them: too large.
 */
ssize_t fcgi_read(struct fcgi *fcgi, char *out, size_t max);
/*
 * Write the answer and the end of the request to fd, as much as the peer takes
 * at once; what is left is added to *rest. Never waits. False: the peer takes
 * nothing more, or there is no memory.
 */
SGATE_MUST_CHECK bool fcgi_finish(
    struct fcgi *fcgi, int fd, struct sgate_bytes answer, struct buf *rest);
/* The same for records that are made already, and no request. */
SGATE_MUST_CHECK bool fcgi_send(
    int fd, struct sgate_bytes records, struct buf *rest);
/*
 * Go on with a request, open or not, after others were begun and ended with
 * another struct fcgi. Of two, the one begun last ends first.
 */
void fcgi_resume(struct fcgi *fcgi);
/* End it without an answer; nothing is written. */
void fcgi_drop(struct fcgi *fcgi);

#endif
