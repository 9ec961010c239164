/*
 * The plain check: what web servers ask thousands of times a second, read in
 * one pass where it lies, without libfcgi and without an allocation.
 *
 * Plain is a request of an authorizer or a check whose bytes stand together:
 * BEGIN_REQUEST, one PARAMS record, the empty one, and behind it nothing or the
 * empty STDIN. Whatever differs from that in any way is "not plain", and head.c
 * and libfcgi judge it. So nothing is refused here, and what is plain is what
 * head.c finds complete and not malformed (tests/unit/plain.c compares them).
 */
#ifndef SESSGATE_PLAIN_H
#define SESSGATE_PLAIN_H

#include "buf.h"
#include "head.h"
#include "request.h"

/* More than twice HEAD_PARAMS_COUNT_MAX. */
#define PLAIN_NAMES 1024

/* One a process; {0} is right. */
struct plain {
	uint16_t request_id;
	/* Names of this round, by their hashes, that request.h does not know.
	 */
	uint32_t round;
	struct {
		uint32_t round, hash;
	} names[PLAIN_NAMES];
};

/*
 * True: *out_head is what head_scan() says of these bytes, *out_request what
 * request_init() makes of their params, pointing into them. False: it is not
 * plain, and what stands in *out_request is nothing.
 */
SGATE_MUST_CHECK bool plain_read(struct plain *plain, struct sgate_bytes bytes,
    size_t params_max, struct head *out_head, struct request *out_request);

/*
 * An answer is appended between the two: then it is the records that libfcgi
 * would make of it. False: it has failed, is empty, or does not fit one record;
 * then plain_content() is what was appended.
 */
void plain_begin(struct buf *answer);
SGATE_MUST_CHECK bool plain_end(const struct plain *plain, struct buf *answer);
struct sgate_bytes plain_content(const struct buf *answer);

#endif
