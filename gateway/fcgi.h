/*
 * libfcgi, kept in one file: one request on one accepted connection whose head
 * head_scan() has seen whole. The recipe and its reasons: fcgi.c.
 */
#ifndef SESSGATE_FCGI_H
#define SESSGATE_FCGI_H

#include <stdbool.h>
#include <sys/types.h>

#include "sessgate.h"

struct fcgi;

/* Once a process, before the first request. NULL when libfcgi refuses. */
struct fcgi *fcgi_new(void);
void fcgi_free(struct fcgi *fcgi);
/*
 * Read the head from fd, which is blocking and has receive and send time-outs;
 * takes fd over. False: the peer broke off; the connection is closed.
 */
bool fcgi_open(struct fcgi *fcgi, int fd);
/* "NAME=value" strings, NULL-terminated; borrowed until fcgi_finish(). */
char *const *fcgi_params(const struct fcgi *fcgi);
bool fcgi_is_authorizer(const struct fcgi *fcgi);
/* As serve_input.read_body. */
ssize_t fcgi_read(struct fcgi *fcgi, char *out, size_t max);
/*
 * Write the answer and end the request; the connection is closed, whatever
 * KEEP_CONN said. A responder's unread body is drained up to drain_max first
 * (an early close would reset the peer and lose the answer).
 */
void fcgi_finish(
    struct fcgi *fcgi, struct sgate_bytes answer, size_t drain_max);
/* Close without an answer: the web server says 500. */
void fcgi_drop(struct fcgi *fcgi);

#endif
