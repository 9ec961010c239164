/*
 * A FastCGI request as bytes: head.c, then libfcgi with the bytes that it let
 * through, then request.c with the params.
 *
 *   byte 0   which limits; byte 1, 2: how the stream is cut into pieces
 *   rest     what a peer sends
 *
 * - Whatever the pieces, the judgement is the same.
 * - It is the one of a slow reader written here from the specification.
 * - libfcgi takes what is complete, and finds the same params and body.
 * - request.c finds in them what the slow reader finds.
 * - What plain.c takes is complete and not malformed, and has the same head and
 *   the same fields.
 */
#include "config.h"

#include "fuzz.h"

#include "fcgi.h"
#include "head.h"
#include "plain.h"
#include "request.h"

#include <stdbool.h>

/* ---- the slow reader ---- */

struct pair {
	struct sgate_bytes name, value;
};

struct slow {
	enum head_verdict verdict;
	struct head head;
	uint8_t *params; /* content, out of its records */
	size_t params_len;
	struct pair pairs[HEAD_PARAMS_COUNT_MAX];
	size_t pairs_count;
	uint8_t *body;
};

static bool
is(struct sgate_bytes name, const char *text)
{
	return name.len == strlen(text) &&
	       memcmp(name.data, text, name.len) == 0;
}

static const struct pair *
find(const struct slow *slow, const char *name)
{
	size_t i;

	for (i = 0; i < slow->pairs_count; i++)
		if (is(slow->pairs[i].name, name))
			return &slow->pairs[i];
	return NULL;
}

/* How many bytes the length takes; 0: not all of it is there. */
static size_t
read_length(const uint8_t *at, size_t left, size_t *out)
{
	if (left == 0)
		return 0;
	*out = at[0];
	if (at[0] < 128)
		return 1;
	if (left < 4)
		return 0;
	*out = (size_t)(at[0] - 128) << 24 | (size_t)at[1] << 16 |
	       (size_t)at[2] << 8 | at[3];
	return 4;
}

/*
 * The pairs of what has come of the params. False: one is more than may be.
 * *out_is_whole: it ends with a pair.
 */
static bool
read_pairs(struct slow *slow, size_t params_max, bool *out_is_whole)
{
	const uint8_t *at = slow->params;
	size_t left = slow->params_len, name_len, value_len, n, m;

	slow->pairs_count = 0;
	while (left > 0) {
		*out_is_whole = false;
		n = read_length(at, left, &name_len);
		if (n == 0)
			return true;
		m = read_length(at + n, left - n, &value_len);
		if (m == 0)
			return true;
		if (name_len + value_len > params_max ||
		    slow->pairs_count == HEAD_PARAMS_COUNT_MAX)
			return false;
		at += n + m;
		left -= n + m;
		if (name_len + value_len > left)
			return true;
		slow->pairs[slow->pairs_count++] =
		    (struct pair){{(const char *)at, name_len},
			{(const char *)at + name_len, value_len}};
		at += name_len + value_len;
		left -= name_len + value_len;
	}
	*out_is_whole = true;
	return true;
}

static bool
is_doubtful(const struct slow *slow, size_t index)
{
	const struct pair *pair = &slow->pairs[index];
	size_t i;

	if (pair->name.len == 0)
		return true;
	for (i = 0; i < pair->name.len; i++) {
		unsigned char c = (unsigned char)pair->name.data[i];

		if (c < 0x20 || c == 0x7f || c == '=')
			return true;
	}
	for (i = 0; i < pair->value.len; i++)
		if (pair->value.data[i] == '\0')
			return true;
	if (is(pair->name, "REMOTE_USER") ||
	    ((slow->head.is_authorizer || slow->head.is_check) &&
		(is(pair->name, "CONTENT_LENGTH") ||
		    is(pair->name, "CONTENT_TYPE"))))
		return false;
	for (i = 0; i < index; i++)
		if (slow->pairs[i].name.len == pair->name.len &&
		    memcmp(slow->pairs[i].name.data, pair->name.data,
			pair->name.len) == 0)
			return true;
	return false;
}

static void
end_params(struct slow *slow)
{
	size_t i;

	for (i = 0; i < slow->pairs_count; i++)
		if (is(slow->pairs[i].name, "SESSGATE_CHECK") &&
		    slow->pairs[i].value.len > 0)
			slow->head.is_check = true;
	for (i = 0; i < slow->pairs_count; i++)
		if (is_doubtful(slow, i))
			slow->head.is_malformed = true;
	if (slow->head.is_authorizer ||
	    (slow->head.is_check && !slow->head.keep_connection))
		slow->verdict = HEAD_COMPLETE;
}

static void
judge(struct slow *slow, struct sgate_bytes bytes, size_t params_max,
    size_t body_wait_max)
{
	const uint8_t *start = (const uint8_t *)bytes.data, *at = start;
	const uint8_t *end = start + bytes.len;
	enum { BEGIN, PAIRS, BODY } stage = BEGIN;
	bool is_whole = true;
	unsigned id = 0;

	slow->verdict = HEAD_MORE;
	while (end - at >= 8) {
		unsigned type = at[1], record_id = at[2] * 256u + at[3];
		size_t len = at[4] * 256u + at[5], padding = at[6];
		bool is_right = at[0] == 1 && record_id != 0 &&
				(stage == BEGIN || record_id == id);
		size_t here;

		at += 8;
		here = (size_t)(end - at) < len ? (size_t)(end - at) : len;
		if (stage == BEGIN) {
			if (!is_right || type != 1 || len != 8 || padding > 0)
				goto bad;
			if (here < 8)
				return;
			if (at[0] != 0 || (at[1] != 1 && at[1] != 2))
				goto bad;
			slow->head.is_authorizer = at[1] == 2;
			slow->head.keep_connection = (at[2] & 1) != 0;
			id = record_id;
			stage = PAIRS;
		} else if (stage == PAIRS) {
			if (!is_right || type != 4 ||
			    len > params_max - slow->params_len)
				goto bad;
			memcpy(slow->params + slow->params_len, at, here);
			slow->params_len += here;
			if (!read_pairs(slow, params_max, &is_whole))
				goto bad;
			if (len == 0 && (!is_whole || padding > 0))
				goto bad;
			if (len == 0) {
				slow->head.head_len = (size_t)(at - start);
				end_params(slow);
				stage = BODY;
			}
		} else {
			if (!is_right || type != 5) {
				if (slow->verdict != HEAD_COMPLETE)
					goto bad;
				return;
			}
			memcpy(slow->body + slow->head.body_len, at, here);
			slow->head.body_len += here;
			if (len == 0) {
				slow->head.is_whole = true;
				slow->head.request_len = (size_t)(at - start);
				slow->verdict = HEAD_COMPLETE;
				return;
			}
			if (slow->verdict != HEAD_COMPLETE &&
			    slow->head.body_len > body_wait_max) {
				slow->verdict = HEAD_COMPLETE;
				return;
			}
		}
		if ((size_t)(end - at) < len + padding)
			return;
		at += len + padding;
	}
	return;
bad:
	slow->verdict = HEAD_BAD;
}

/* ---- what must hold ---- */

static void
must_be_same(const struct head *a, const struct head *b)
{
	MUST(a->head_len == b->head_len);
	MUST(a->request_len == b->request_len);
	MUST(a->body_len == b->body_len);
	MUST(a->is_whole == b->is_whole);
	MUST(a->is_authorizer == b->is_authorizer);
	MUST(a->keep_connection == b->keep_connection);
	MUST(a->is_malformed == b->is_malformed);
	MUST(a->is_check == b->is_check);
}

/*
 * In pieces: how much of a body that is too large has come by then is all that
 * may differ.
 */
static void
cut(struct sgate_bytes bytes, size_t params_max, size_t body_wait_max,
    unsigned first, unsigned next, const struct slow *slow)
{
	struct head_parser parser;
	struct sgate_bytes piece = {bytes.data, first % (bytes.len + 1)};
	size_t left = bytes.len;
	bool is_large;

	head_init(&parser, params_max, body_wait_max);
	for (;;) {
		enum head_verdict before = parser.verdict, after;

		after = head_feed(&parser, piece);
		MUST(after == parser.verdict);
		MUST(before == HEAD_MORE || after == before);
		left -= piece.len;
		if (left == 0)
			break;
		piece.data += piece.len;
		piece.len = next > 0 && next < left ? next : left;
	}
	MUST(parser.verdict == slow->verdict);
	if (parser.verdict != HEAD_COMPLETE)
		return;
	is_large = slow->head.body_len > body_wait_max &&
		   parser.head.body_len > body_wait_max && !slow->head.is_whole;
	if (is_large)
		parser.head.body_len = slow->head.body_len;
	must_be_same(&parser.head, &slow->head);
}

/* libfcgi puts the role first. */
static void
must_have_params(char *const *params, const struct slow *slow)
{
	size_t i;

	MUST(strncmp(params[0], "FCGI_ROLE=", 10) == 0);
	for (i = 0; i < slow->pairs_count; i++) {
		const struct pair *pair = &slow->pairs[i];
		const char *param = params[i + 1];

		MUST(param != NULL);
		MUST(strlen(param) == pair->name.len + 1 + pair->value.len);
		MUST(memcmp(param, pair->name.data, pair->name.len) == 0);
		MUST(param[pair->name.len] == '=');
		MUST(memcmp(param + pair->name.len + 1, pair->value.data,
			 pair->value.len) == 0);
	}
	MUST(params[i + 1] == NULL);
}

static void
must_have_body(struct fcgi *fcgi, const struct slow *slow, size_t part)
{
	char bytes[6000];
	size_t len = 0;
	ssize_t n;

	while ((n = fcgi_read(fcgi, bytes, part)) > 0) {
		MUST((size_t)n <= part);
		MUST(len + (size_t)n <= slow->head.body_len);
		MUST(memcmp(bytes, slow->body + len, (size_t)n) == 0);
		len += (size_t)n;
	}
	MUST(len == slow->head.body_len);
	MUST((n == 0) == slow->head.is_whole);
}

static const struct {
	const char *name;
	size_t offset;
} fields[] = {
    {"HTTP_HOST", offsetof(struct request, host)},
    {"HTTP_COOKIE", offsetof(struct request, cookie)},
    {"REMOTE_ADDR", offsetof(struct request, remote_addr)},
    {"REQUEST_URI", offsetof(struct request, uri)},
    {"REQUEST_METHOD", offsetof(struct request, method_text)},
    {"SESSGATE_CHECK", offsetof(struct request, check)},
    {"SESSGATE_POLICY", offsetof(struct request, policy)},
    {"SESSGATE_REALM", offsetof(struct request, realm)},
    {"FCGI_APACHE_ROLE", offsetof(struct request, apache_role)},
    {"HTTP_AUTHORIZATION", offsetof(struct request, authorization)},
    {"HTTP_X_FORWARDED_FOR", offsetof(struct request, forwarded_for)},
};

static void
must_have_fields(const struct request *req, const struct slow *slow)
{
	struct sgate_bytes path;
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct sgate_bytes *field =
		    (const void *)((const char *)req + fields[i].offset);
		const struct pair *pair = find(slow, fields[i].name);

		MUST(field->len == (pair == NULL ? 0 : pair->value.len));
		MUST(field->len == 0 ||
		     memcmp(field->data, pair->value.data, field->len) == 0);
	}
	MUST(req->role == (slow->head.is_authorizer ? REQUEST_AUTHORIZER
			      : slow->head.is_check ? REQUEST_CHECK
						    : REQUEST_API));
	path = request_path(req);
	MUST(path.len <= req->uri.len);
	MUST(memchr(path.len > 0 ? path.data : "", '?', path.len) == NULL);
}

static void
must_be_same_request(const struct request *a, const struct request *b)
{
	size_t at;

	MUST(a->role == b->role);
	MUST(a->method == b->method);
	MUST(a->is_malformed == b->is_malformed);
	for (at = offsetof(struct request, check); at < sizeof(*a);
	     at += sizeof(struct sgate_bytes)) {
		struct sgate_bytes one, other;

		memcpy(&one, (const char *)a + at, sizeof(one));
		memcpy(&other, (const char *)b + at, sizeof(other));
		MUST((one.data == NULL) == (other.data == NULL));
		MUST(one.len == other.len);
		MUST(
		    one.len == 0 || memcmp(one.data, other.data, one.len) == 0);
	}
}

/* plain: of plain.c; NULL when it has not taken them. */
static void
read_request(struct sgate_bytes bytes, const struct slow *slow, size_t part,
    const struct request *plain)
{
	static struct fcgi *fcgi;
	struct request req;

	if (fcgi == NULL)
		MUST(fcgi_new(&fcgi, NULL) == SGATE_OK);
	MUST(fcgi_open(fcgi, &slow->head, bytes));
	request_init(&req, fcgi_params(fcgi), slow->head.is_authorizer);
	if (plain != NULL)
		must_be_same_request(plain, &req);
	/* What is malformed is answered as such, whatever stands in it. */
	if (!slow->head.is_malformed) {
		must_have_params(fcgi_params(fcgi), slow);
		if (slow->pairs_count == 0 || find(slow, "FCGI_ROLE") == NULL)
			must_have_fields(&req, slow);
	}
	must_have_body(fcgi, slow, part);
	if (part % 2 == 0) {
		fcgi_drop(fcgi);
		return;
	}
	MUST(fcgi_finish(
	    fcgi, -1, (struct sgate_bytes){"Status: 403\r\n\r\n", 15}, 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t params_maxes[] = {32768, 40, 256, 65536};
	static const size_t body_maxes[] = {4096, 0, 16, 65536};
	struct fuzz_input in = {data, size};
	unsigned limits = fuzz_byte(&in);
	unsigned first = fuzz_byte(&in), next = fuzz_byte(&in);
	size_t params_max = params_maxes[limits % 4];
	size_t body_wait_max = body_maxes[limits / 4 % 4];
	struct sgate_bytes bytes = fuzz_rest(&in);
	struct slow *slow = calloc(1, sizeof(*slow));
	static struct plain plain;
	struct request plain_request;
	struct head head, plain_head;
	enum head_verdict verdict;
	bool is_plain;

	MUST(slow != NULL);
	slow->params = malloc(bytes.len + 1);
	slow->body = malloc(bytes.len + 1);
	MUST(slow->params != NULL && slow->body != NULL);
	judge(slow, bytes, params_max, body_wait_max);
	verdict = head_scan(bytes, params_max, body_wait_max, &head);
	MUST(verdict == slow->verdict);
	cut(bytes, params_max, body_wait_max, first, next, slow);
	is_plain =
	    plain_read(&plain, bytes, params_max, &plain_head, &plain_request);
	if (is_plain) {
		MUST(verdict == HEAD_COMPLETE);
		MUST(!head.is_malformed);
		must_be_same(&plain_head, &head);
	}
	if (verdict == HEAD_COMPLETE) {
		must_be_same(&head, &slow->head);
		read_request(bytes, slow, next * 16 + 1 + first % 2,
		    is_plain ? &plain_request : NULL);
	}
	free(slow->params);
	free(slow->body);
	free(slow);
	return 0;
}
