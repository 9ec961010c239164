/*
 * Has a FastCGI request arrived, and may libfcgi read it?
 *
 * Takes bytes, not sockets: what has come so far. The head is one
 * BEGIN_REQUEST record and PARAMS records of the same request up to the empty
 * one; a responder's STDIN follows. Anything else (management records above
 * all: libfcgi 2.4.2 breaks on six names in GET_VALUES) is refused before
 * libfcgi sees it, and libfcgi never parses a byte that was not judged here.
 */
#ifndef SESSGATE_HEAD_H
#define SESSGATE_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sessgate.h"

enum head_verdict {
	HEAD_MORE,     /* nothing wrong so far, not all there */
	HEAD_COMPLETE, /* and so is the body as far as it is waited for */
	HEAD_BAD       /* close without an answer */
};

struct head {
	size_t head_len;    /* bytes up to and with the empty PARAMS record */
	size_t request_len; /* is_whole: up to and with the empty STDIN */
	size_t body_len;    /* content of STDIN among the bytes judged */
	bool is_whole;      /* the empty STDIN record has come */
	bool is_authorizer;
	bool keep_connection;
	bool is_malformed; /* parses, but a NUL, a bad or a duplicate name (see
			      head.c) is in it: answer 400 */
	bool is_check;     /* SESSGATE_CHECK is there and not empty */
};

#define HEAD_PARAMS_COUNT_MAX 256

/* What a name must not have in it. */
static inline bool
head_is_doubtful(unsigned char byte)
{
	return byte < 0x20 || byte == 0x7f || byte == '=';
}

/* A parser that is fed what comes; a plain value, nothing to free. */
struct head_parser {
	enum head_verdict verdict;
	struct head head; /* valid when the verdict is HEAD_COMPLETE */

	size_t params_max, body_wait_max;
	size_t fed;
	int stage;
	/* the record */
	unsigned char header[8];
	unsigned header_len;
	unsigned request_id;
	size_t content_left, padding_left;
	/* BEGIN_REQUEST's content, or a pair's lengths */
	unsigned char small[8];
	unsigned small_len;
	/* the pair */
	size_t params_len; /* of PARAMS content so far */
	size_t name_left, value_left;
	bool is_in_pair;
	bool has_value;
	bool is_twice_for_a_body;
	char name[24]; /* its beginning */
	size_t name_len;
	uint64_t name_hash;
	unsigned params_count;
	uint16_t slots[2 * HEAD_PARAMS_COUNT_MAX]; /* 1 + index, 0 = free */
	uint64_t hashes[HEAD_PARAMS_COUNT_MAX];
};

/*
 * params_max: bytes of all PARAMS content. body_wait_max: a responder that is
 * no check, or whose connection is to be kept, is complete only with its whole
 * STDIN, or once more than this many bytes of it have come (which is too large
 * then).
 */
void head_init(
    struct head_parser *parser, size_t params_max, size_t body_wait_max);
/*
 * The next bytes. The verdict is also in the parser; once it is HEAD_BAD or
 * HEAD_COMPLETE it stays.
 */
enum head_verdict head_feed(
    struct head_parser *parser, struct sgate_bytes bytes);

/* Both at once, for bytes that stand together. */
enum head_verdict head_scan(struct sgate_bytes bytes, size_t params_max,
    size_t body_wait_max, struct head *out_head);

#endif
