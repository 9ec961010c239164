/*
 * FastCGI records as bytes, right and wrong ones, for the tests of the front.
 */
#ifndef TESTS_UNIT_PACKET_H
#define TESTS_UNIT_PACKET_H

#include <stddef.h>
#include <string.h>

#include "sessgate.h"

enum { BEGIN_REQUEST = 1, ABORT_REQUEST = 2, END_REQUEST = 3, PARAMS = 4 };
enum { STDIN = 5, STDOUT = 6, STDERR = 7, DATA = 8, GET_VALUES = 9 };
enum { RESPONDER = 1, AUTHORIZER = 2, FILTER = 3 };

struct packet {
	size_t len;
	char data[600000];
};

static inline void
packet_add(struct packet *p, const void *data, size_t len)
{
	if (len > sizeof(p->data) - p->len)
		len = sizeof(p->data) - p->len;
	memcpy(p->data + p->len, data, len);
	p->len += len;
}

static inline struct sgate_bytes
packet_bytes(const struct packet *p)
{
	struct sgate_bytes bytes = {p->data, p->len};

	return bytes;
}

static inline void
packet_record_of(struct packet *p, int type, int id, const void *content,
    size_t len, size_t padding)
{
	unsigned char header[8] = {1, (unsigned char)type,
	    (unsigned char)(id >> 8), (unsigned char)id,
	    (unsigned char)(len >> 8), (unsigned char)len,
	    (unsigned char)padding, 0};
	static const char zeros[256];

	packet_add(p, header, sizeof(header));
	packet_add(p, content, len);
	packet_add(p, zeros, padding);
}

static inline void
packet_record(struct packet *p, int type, const void *content, size_t len)
{
	packet_record_of(p, type, 1, content, len, 0);
}

static inline void
packet_begin(struct packet *p, int role, int flags)
{
	unsigned char body[8] = {0, (unsigned char)role, (unsigned char)flags};

	p->len = 0;
	packet_record(p, BEGIN_REQUEST, body, sizeof(body));
}

/* A pair as PARAMS content, appended to another packet. */
static inline void
packet_length(struct packet *p, size_t len)
{
	unsigned char bytes[4] = {(unsigned char)(len >> 24 | 0x80),
	    (unsigned char)(len >> 16), (unsigned char)(len >> 8),
	    (unsigned char)len};

	if (len < 128)
		packet_add(p, &bytes[3], 1);
	else
		packet_add(p, bytes, 4);
}

static inline void
packet_pair_of(struct packet *p, const char *name, size_t name_len,
    const char *value, size_t value_len)
{
	packet_length(p, name_len);
	packet_length(p, value_len);
	packet_add(p, name, name_len);
	packet_add(p, value, value_len);
}

static inline void
packet_pair(struct packet *p, const char *name, const char *value)
{
	packet_pair_of(p, name, strlen(name), value, strlen(value));
}

/* Content as records of at most `size` bytes, and the empty one. */
static inline void
packet_stream(struct packet *p, int type, const char *content, size_t len,
    size_t size, size_t padding)
{
	size_t part;

	for (; len > 0; content += part, len -= part) {
		part = len < size ? len : size;
		packet_record_of(p, type, 1, content, part, padding);
	}
	packet_record(p, type, "", 0);
}

/* A usual request: role, the params of `pairs`, and for a responder a body. */
static inline void
packet_request(struct packet *p, int role, const struct packet *pairs,
    const char *body, size_t body_len)
{
	packet_begin(p, role, 0);
	packet_stream(p, PARAMS, pairs->data, pairs->len, 65528, 0);
	if (role == RESPONDER)
		packet_stream(p, STDIN, body, body_len, 32768, 0);
}

static inline void
packet_usual_pairs(struct packet *pairs)
{
	pairs->len = 0;
	packet_pair(pairs, "REQUEST_METHOD", "GET");
	packet_pair(pairs, "REQUEST_URI", "/app/?a=1");
	packet_pair(pairs, "HTTP_HOST", "www.example.org");
	packet_pair(pairs, "HTTP_COOKIE", "a=b; __Host-sid=xyz");
	packet_pair(pairs, "REMOTE_ADDR", "192.0.2.1");
	packet_pair(pairs, "HTTP_ACCEPT",
	    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
	    "image/webp,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7");
	packet_pair(pairs, "EMPTY", "");
}

#endif
