/*
 * libfcgi, kept in one file: one request on one accepted connection that
 * head.h has judged complete. The recipe and its reasons: fcgi.c.
 */
#ifndef SESSGATE_FCGI_H
#define SESSGATE_FCGI_H

#include <stdbool.h>
#include <sys/types.h>

#include "head.h"
#include "sessgate.h"

struct fcgi;

/* Once a process, before the first request. NULL when libfcgi refuses. */
struct fcgi *fcgi_new(void);
void fcgi_free(struct fcgi *fcgi);
/*
 * Begin a request whose bytes were judged HEAD_COMPLETE. fd is non-blocking;
 * it is taken over. read: those bytes, when they have been read from fd;
 * {NULL, 0} when they still stand in the socket. Borrowed for this call.
 * False: libfcgi judges otherwise; the connection is closed.
 */
bool fcgi_open(struct fcgi *fcgi, int fd, const struct head *head,
    struct sgate_bytes read);
/* "NAME=value" strings, NULL-terminated; borrowed until fcgi_finish(). */
char *const *fcgi_params(const struct fcgi *fcgi);
bool fcgi_is_authorizer(const struct fcgi *fcgi);
/*
 * As serve_input.read_body; never waits. -1 behind the last byte that was
 * judged when the body's end was not among them: too large.
 */
ssize_t fcgi_read(struct fcgi *fcgi, char *out, size_t max);
/*
 * Write the answer and end the request, whatever KEEP_CONN said. Returns fd,
 * which is the caller's again, or -1 when the peer did not take the answer
 * within timeout_ms and the connection is closed.
 */
int fcgi_finish(
    struct fcgi *fcgi, struct sgate_bytes answer, int64_t timeout_ms);
/* Close without an answer: the web server says 500. */
void fcgi_drop(struct fcgi *fcgi);

#endif
