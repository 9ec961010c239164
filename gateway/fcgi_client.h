/*
 * The asking side of FastCGI: one responder request over a unix socket, as a
 * web server would send it, and its answer. For sessgatectl; the gateway does
 * not use it. No libfcgi here: that is for the answering side only.
 *
 * The peer is not trusted: everything it sends is bounded, and everything that
 * is not the protocol ends the call.
 */
#ifndef SESSGATE_FCGI_CLIENT_H
#define SESSGATE_FCGI_CLIENT_H

#include <stdbool.h>

#include "buf.h"
#include "sessgate.h"

/* Of stderr records this much is kept, the rest is dropped. */
#define FCGI_CLIENT_ERRORS_MAX 4096

/* ---- the reader: takes bytes, not sockets ---- */

enum fcgi_reader_state {
	FCGI_READER_MORE, /* nothing wrong so far */
	FCGI_READER_DONE, /* END_REQUEST was there; later bytes are ignored */
	FCGI_READER_BAD   /* err of fcgi_reader_feed() says what */
};

struct fcgi_reader {
	size_t output_max_bytes;
	struct buf output; /* what stdout records carried */
	struct buf errors; /* what stderr records carried, cut */
	/* Inside: the record that is being read. */
	enum fcgi_reader_state state;
	unsigned char header[8];
	size_t header_len;
	unsigned char end_body[8];
	size_t end_len;
	size_t content_left;
	size_t padding_left;
};

void fcgi_reader_init(struct fcgi_reader *reader, size_t output_max_bytes);
/* Wipes: an answer may carry a token. */
void fcgi_reader_clear(struct fcgi_reader *reader);
/*
 * Take the next bytes of the stream, cut anywhere.
 *
 * SGATE_OK:        reader->state is MORE or DONE.
 * SGATE_TOO_LARGE: more than output_max_bytes of output.
 * SGATE_INVALID:   not FastCGI, or not an answer to request 1.
 * SGATE_UNAVAILABLE: the server refused the request (overloaded, unknown role).
 * SGATE_NO_MEMORY.
 */
SGATE_MUST_CHECK enum sgate_status fcgi_reader_feed(struct fcgi_reader *reader,
    const void *data, size_t len, struct sgate_error *err);

/* ---- one call ---- */

struct fcgi_param {
	const char *name;
	struct sgate_bytes value;
};

struct fcgi_call {
	const char *socket_path;
	const struct fcgi_param *params;
	size_t params_count;
	struct sgate_bytes body;
	int64_t deadline_ms; /* monotonic; for connecting, sending, reading */
	size_t answer_max_bytes;
};

/* The answer, taken apart. Texts are borrowed from `raw`. */
struct fcgi_answer {
	int status; /* 100 to 599; 200 when there is no Status header */
	struct sgate_bytes content_type; /* empty when there is none */
	struct sgate_bytes body;
	struct buf raw;
	struct buf errors; /* what the server wrote to stderr */
};

/*
 * Send one request and wait for its answer.
 *
 * SGATE_OK:          an answer came, whatever its status. Free with
 *                    fcgi_answer_clear() (also after a failure).
 * SGATE_UNAVAILABLE: nobody there, no permission, refused, or no time left
 *                    before anything was sent. native_code is errno.
 * SGATE_UNCERTAIN:   sent, but no whole answer: it may have been done.
 * SGATE_TOO_LARGE:   the answer is over answer_max_bytes.
 * SGATE_INVALID:     socket_path is too long, a param is too long.
 * SGATE_CORRUPT:     what came back is not FastCGI, or not a CGI answer.
 * SGATE_NO_MEMORY, SGATE_INTERNAL.
 */
SGATE_MUST_CHECK enum sgate_status fcgi_client_call(
    const struct fcgi_call *call, struct fcgi_answer *out_answer,
    struct sgate_error *err);
/* Wipes. */
void fcgi_answer_clear(struct fcgi_answer *answer);
/*
 * Take a CGI answer apart: headers, an empty line, body. Lines end with CRLF
 * or LF. SGATE_CORRUPT: empty, no end of the headers, a header without a name,
 * a Status that is no status, Status twice.
 */
SGATE_MUST_CHECK enum sgate_status fcgi_answer_split(
    struct fcgi_answer *answer, struct sgate_error *err);

#endif
