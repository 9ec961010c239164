/*
 * The record layer (FastCGI specification 3.3) takes 8-byte headers, content
 * and padding apart; the pair layer (3.4) reads name-value pairs out of the
 * PARAMS content, whatever records it was cut into. Both are fed any cut of
 * the bytes and keep their place.
 *
 * Stricter than the specification where libfcgi 2.4.2 is careless:
 * - padding behind BEGIN_REQUEST and behind the empty PARAMS record is refused:
 *   libfcgi does not skip it but reads records in it, which nobody has judged;
 * - lengths beyond params_max are refused at once: libfcgi allocates what they
 *   say and stops the process when it cannot;
 * - params that end within a pair, records of another request, of a wrong type
 *   or version are refused, not skipped.
 *
 * A request that parses but is doubtful is malformed: NUL in a name or value
 * (C strings end there), a name that is empty or has '=' or a control byte, or
 * a name that stands there twice, unless request.h lets it.
 */
#include "config.h"

#include "head.h"

#include "records.h"
#include "request.h"

#include <string.h>

enum stage {
	STAGE_BEGIN,
	STAGE_PARAMS,
	STAGE_STDIN,
	STAGE_END /* look at nothing more */
};

#define HASH_START UINT64_C(0xcbf29ce484222325) /* FNV-1a */
#define HASH_PRIME UINT64_C(0x100000001b3)

void
head_init(struct head_parser *parser, size_t params_max, size_t body_wait_max)
{
	/* All but the hashes, which the slots say to be set or not. */
	memset(parser, 0, offsetof(struct head_parser, hashes));
	parser->params_max = params_max;
	parser->body_wait_max = body_wait_max;
	parser->verdict = HEAD_MORE;
	parser->stage = STAGE_BEGIN;
}

static bool
refuse(struct head_parser *p)
{
	p->verdict = HEAD_BAD;
	p->stage = STAGE_END;
	return false;
}

static void
complete(struct head_parser *p)
{
	p->verdict = HEAD_COMPLETE;
	p->stage = STAGE_END;
}

/* ---- pairs ---- */

static bool
name_is(const struct head_parser *p, const char *text)
{
	size_t len = strlen(text);

	return p->name_len == len && memcmp(p->name, text, len) == 0;
}

/*
 * True when this name has stood there before. Two names with one 64-bit hash
 * count as one: that refuses a request that was made for it, and nothing else.
 */
static bool
name_is_repeated(struct head_parser *p)
{
	size_t slots = sizeof(p->slots) / sizeof(p->slots[0]);
	size_t i = (size_t)(p->name_hash ^ p->name_hash >> 32) % slots;

	for (; p->slots[i] != 0; i = (i + 1) % slots) {
		if (p->hashes[p->slots[i] - 1] == p->name_hash)
			return true;
	}
	p->hashes[p->params_count] = p->name_hash;
	p->slots[i] = (uint16_t)(p->params_count + 1);
	return false;
}

static void
end_of_name(struct head_parser *p)
{
	if (name_is(p, "SESSGATE_CHECK") && p->has_value)
		p->head.is_check = true;
	if (!name_is_repeated(p))
		return;
	switch (request_may_stand_twice(p->name, p->name_len)) {
	case REQUEST_TWICE_NEVER:
		p->head.is_malformed = true;
		break;
	case REQUEST_TWICE_WITHOUT_BODY:
		p->is_twice_for_a_body = true;
		break;
	case REQUEST_TWICE_ALWAYS:
		break;
	}
}

static void
end_of_pair(struct head_parser *p)
{
	p->params_count++;
	p->is_in_pair = false;
	p->small_len = 0;
}

static size_t
decode_length(const unsigned char *bytes)
{
	if ((bytes[0] & 0x80) == 0)
		return bytes[0];
	return (size_t)(bytes[0] & 0x7f) << 24 | (size_t)bytes[1] << 16 |
	       (size_t)bytes[2] << 8 | bytes[3];
}

static bool
begin_pair(struct head_parser *p, size_t name_len, size_t value_len)
{
	p->name_left = name_len;
	p->value_left = value_len;
	if (p->name_left > p->params_max ||
	    p->value_left > p->params_max - p->name_left)
		return refuse(p);
	if (p->params_count >= HEAD_PARAMS_COUNT_MAX)
		return refuse(p);
	p->is_in_pair = true;
	p->has_value = p->value_left > 0;
	p->name_len = 0;
	p->name_hash = HASH_START;
	if (p->name_left == 0) {
		p->head.is_malformed = true;
		if (p->value_left == 0)
			end_of_pair(p);
	}
	return true;
}

/* One more byte of the two lengths. */
static bool
feed_length(struct head_parser *p, unsigned char byte)
{
	unsigned name_size, value_size;

	p->small[p->small_len++] = byte;
	name_size = (p->small[0] & 0x80) != 0 ? 4 : 1;
	if (p->small_len <= name_size)
		return true;
	value_size = (p->small[name_size] & 0x80) != 0 ? 4 : 1;
	if (p->small_len < name_size + value_size)
		return true;
	return begin_pair(
	    p, decode_length(p->small), decode_length(p->small + name_size));
}

static void
feed_name(struct head_parser *p, const unsigned char *data, size_t len)
{
	uint64_t hash = p->name_hash;
	bool doubt = false;
	size_t i, room = 0;

	for (i = 0; i < len; i++) {
		hash = (hash ^ data[i]) * HASH_PRIME;
		doubt |= head_is_doubtful(data[i]);
	}
	p->name_hash = hash;
	if (p->name_len < sizeof(p->name))
		room = sizeof(p->name) - p->name_len;
	memcpy(p->name + sizeof(p->name) - room, data, len < room ? len : room);
	p->name_len += len;
	p->head.is_malformed |= doubt;
	p->name_left -= len;
	if (p->name_left > 0)
		return;
	end_of_name(p);
	if (p->value_left == 0)
		end_of_pair(p);
}

static void
feed_value(struct head_parser *p, const unsigned char *data, size_t len)
{
	if (memchr(data, '\0', len) != NULL)
		p->head.is_malformed = true;
	p->value_left -= len;
	if (p->value_left == 0)
		end_of_pair(p);
}

static bool
feed_params(struct head_parser *p, const unsigned char *data, size_t len)
{
	size_t part;

	while (len > 0) {
		if (!p->is_in_pair && p->small_len == 0 && len >= 2 &&
		    ((data[0] | data[1]) & 0x80) == 0) {
			/* Both at once, as they mostly are: one byte each. */
			part = 2;
			if (!begin_pair(p, data[0], data[1]))
				return false;
		} else if (!p->is_in_pair) {
			part = 1;
			if (!feed_length(p, *data))
				return false;
		} else if (p->name_left > 0) {
			part = len < p->name_left ? len : p->name_left;
			feed_name(p, data, part);
		} else {
			part = len < p->value_left ? len : p->value_left;
			feed_value(p, data, part);
		}
		data += part;
		len -= part;
	}
	return true;
}

/* ---- records ---- */

static bool
feed_begin(struct head_parser *p, const unsigned char *data, size_t len)
{
	unsigned role;

	memcpy(p->small + p->small_len, data, len);
	p->small_len += (unsigned)len;
	if (p->small_len < sizeof(p->small))
		return true;
	p->small_len = 0;
	role = (unsigned)p->small[0] << 8 | p->small[1];
	if (role != ROLE_RESPONDER && role != ROLE_AUTHORIZER)
		return refuse(p);
	p->head.is_authorizer = role == ROLE_AUTHORIZER;
	p->head.keep_connection = (p->small[2] & FLAG_KEEP_CONN) != 0;
	p->stage = STAGE_PARAMS;
	return true;
}

static bool
end_of_params(struct head_parser *p)
{
	struct head *head = &p->head;

	if (p->is_in_pair || p->small_len > 0 || p->padding_left > 0)
		return refuse(p);
	head->head_len = p->fed;
	p->stage = STAGE_STDIN;
	if (p->is_twice_for_a_body && !head->is_authorizer && !head->is_check)
		head->is_malformed = true;
	/*
	 * A check on a connection that is to be kept waits for the end of its
	 * STDIN, which Apache writes by itself: answered before it, the
	 * connection could not be used again, and Apache would use it.
	 */
	if (head->is_authorizer || (head->is_check && !head->keep_connection))
		p->verdict = HEAD_COMPLETE;
	return true;
}

static bool
begin_params(struct head_parser *p)
{
	if (p->content_left == 0)
		return end_of_params(p);
	if (p->content_left > p->params_max - p->params_len)
		return refuse(p);
	p->params_len += p->content_left;
	return true;
}

/*
 * An authorizer and a check are answered without their STDIN: what is wrong in
 * it cannot take back that they are complete.
 */
static bool
begin_stdin(struct head_parser *p, bool is_right)
{
	if (!is_right) {
		if (p->verdict != HEAD_COMPLETE)
			return refuse(p);
		p->stage = STAGE_END;
		return false;
	}
	if (p->content_left > 0)
		return true;
	p->head.is_whole = true;
	p->head.request_len = p->fed;
	complete(p);
	return false;
}

/* False: nothing more is to be looked at. */
static bool
begin_record(struct head_parser *p)
{
	const unsigned char *h = p->header;
	unsigned type = h[1];
	unsigned request_id = (unsigned)h[2] << 8 | h[3];
	bool is_ours = h[0] == RECORD_VERSION && request_id == p->request_id;

	p->content_left = (size_t)h[4] << 8 | h[5];
	p->padding_left = h[6];
	if (p->stage == STAGE_STDIN)
		return begin_stdin(p, is_ours && type == RECORD_STDIN);
	if (p->stage == STAGE_PARAMS) {
		if (!is_ours || type != RECORD_PARAMS)
			return refuse(p);
		return begin_params(p);
	}
	if (h[0] != RECORD_VERSION || type != RECORD_BEGIN || request_id == 0 ||
	    p->content_left != sizeof(p->small) || p->padding_left > 0)
		return refuse(p);
	p->request_id = request_id;
	return true;
}

static bool
feed_content(struct head_parser *p, const unsigned char *data, size_t len)
{
	p->content_left -= len;
	if (p->stage == STAGE_PARAMS)
		return feed_params(p, data, len);
	if (p->stage == STAGE_BEGIN)
		return feed_begin(p, data, len);
	p->head.body_len += len;
	if (p->verdict != HEAD_COMPLETE && p->head.body_len > p->body_wait_max)
		complete(p);
	return p->stage != STAGE_END;
}

/*
 * Take the next step in the bytes: a part of a header, of content or of
 * padding. How many bytes it was.
 */
static size_t
step(struct head_parser *p, const unsigned char *data, size_t len)
{
	size_t part;

	if (p->header_len < sizeof(p->header)) {
		part = sizeof(p->header) - p->header_len;
		part = len < part ? len : part;
		memcpy(p->header + p->header_len, data, part);
		p->header_len += (unsigned)part;
		p->fed += part;
		if (p->header_len == sizeof(p->header) && !begin_record(p))
			return part;
	} else if (p->content_left > 0) {
		part = len < p->content_left ? len : p->content_left;
		p->fed += part;
		if (!feed_content(p, data, part))
			return part;
	} else {
		part = len < p->padding_left ? len : p->padding_left;
		p->fed += part;
		p->padding_left -= part;
	}
	if (p->header_len == sizeof(p->header) && p->content_left == 0 &&
	    p->padding_left == 0)
		p->header_len = 0;
	return part;
}

enum head_verdict
head_feed(struct head_parser *parser, struct sgate_bytes bytes)
{
	const unsigned char *data = (const unsigned char *)bytes.data;
	size_t len = bytes.len, part;

	while (len > 0 && parser->stage != STAGE_END) {
		part = step(parser, data, len);
		data += part;
		len -= part;
	}
	return parser->verdict;
}

enum head_verdict
head_scan(struct sgate_bytes bytes, size_t params_max, size_t body_wait_max,
    struct head *out_head)
{
	struct head_parser parser;

	memset(out_head, 0, sizeof(*out_head));
	head_init(&parser, params_max, body_wait_max);
	if (head_feed(&parser, bytes) == HEAD_COMPLETE)
		*out_head = parser.head;
	return parser.verdict;
}
