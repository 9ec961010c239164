/*
 * Is the head of a FastCGI request complete, and may libfcgi read it?
 *
 * Takes bytes, not sockets: what MSG_PEEK shows so far. A head is one
 * BEGIN_REQUEST record and PARAMS records of the same request up to the empty
 * one; anything else (management records above all: libfcgi 2.4.2 breaks on
 * six names in GET_VALUES) is refused before libfcgi sees it.
 */
#ifndef SESSGATE_HEAD_H
#define SESSGATE_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "sessgate.h"

enum head_verdict {
	HEAD_MORE,     /* nothing wrong so far, not all there */
	HEAD_COMPLETE, /* and so is the body as far as it is waited for */
	HEAD_BAD       /* close without an answer */
};

struct head {
	size_t head_len; /* bytes up to and with the empty PARAMS record */
	bool is_authorizer;
	bool keep_connection;
	bool is_malformed; /* parses, but NUL, '=' or a duplicate name is in it
			    */
	bool is_check;     /* SESSGATE_CHECK is there and not empty */
};

#define HEAD_PARAMS_COUNT_MAX 256

/*
 * params_max: bytes of all PARAMS content. body_wait_max: a responder that is
 * no check is complete only with its whole STDIN, or once this many bytes
 * stand behind the head.
 */
enum head_verdict head_scan(struct sgate_bytes bytes, size_t params_max,
    size_t body_wait_max, struct head *out_head);

#endif
