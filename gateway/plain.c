/*
 * Reading is written for few instructions: names that request.h knows are found
 * by their length, all others are looked at eight bytes at a time. Behind every
 * pair stands at least the header of the record that ends PARAMS, which is
 * eight bytes long, so eight bytes can be read wherever a name or a value
 * begins or goes on.
 */
#include "config.h"

#include "plain.h"

#include "records.h"

#include <endian.h>
#include <string.h>

enum { CONTENT_MAX = 65535 };

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS (ONES * 0x80)

struct place {
	const unsigned char *at, *end;
};

struct record {
	size_t content_len, padding_len;
};

/* ---- words ---- */

static inline uint64_t
word_at(const unsigned char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return le64toh(word);
}

/* Fewer than eight bytes; those behind them as if they were 'A'. */
static inline uint64_t
short_word(const unsigned char *at, size_t len)
{
	uint64_t behind = ~UINT64_C(0) << 8 * len;

	return (word_at(at) & ~behind) | (ONES * 'A' & behind);
}

/* The high bit of a byte of 0, and none when there is no such byte. */
static inline uint64_t
zero_bits(uint64_t word)
{
	return (word - ONES) & ~word & HIGHS;
}

/* Not 0: there is a byte of 0. The last eight together with some before. */
static inline uint64_t
nul_bits(const unsigned char *at, size_t len)
{
	uint64_t found;
	size_t i;

	if (len < 8)
		return zero_bits(short_word(at, len));
	found = zero_bits(word_at(at + len - 8));
	for (i = 0; i + 8 < len; i += 8)
		found |= zero_bits(word_at(at + i));
	return found;
}

static bool
is_doubtful(const unsigned char *name, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (head_is_doubtful(name[i]))
			return true;
	return false;
}

/* 0 when all eight are from '@' to '_' (or that and 0x80), as capitals are. */
static inline uint64_t
unusual_bits(uint64_t word)
{
	return (word ^ ONES * 0x40) & ONES * 0x60;
}

static inline uint64_t
mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

/*
 * Of length, begin and end of a name without a doubtful byte; else 0. Nearly
 * all names are capitals and '_', which is seen of eight at once.
 */
static inline uint64_t
name_hash(const unsigned char *name, size_t len)
{
	uint64_t first, last, unusual;
	size_t i;

	if (len < 8) {
		first = last = short_word(name, len);
	} else {
		first = word_at(name);
		last = word_at(name + len - 8);
	}
	unusual = unusual_bits(first) | unusual_bits(last);
	for (i = 8; i + 8 < len; i += 8)
		unusual |= unusual_bits(word_at(name + i));
	if (unusual != 0 && is_doubtful(name, len))
		return 0;
	return mix(mix(len, first), last) | 1;
}

/* ---- pairs ---- */

/*
 * True when a name of that hash has stood there in this round. Two names with
 * one hash are one here; head.c then tells them apart.
 */
static inline bool
is_repeated(struct plain *plain, uint64_t hash)
{
	size_t i = (size_t)(hash >> 54);

	for (; plain->names[i].round == plain->round; i = (i + 1) % PLAIN_NAMES)
		if (plain->names[i].hash == (uint32_t)hash)
			return true;
	plain->names[i].round = plain->round;
	plain->names[i].hash = (uint32_t)hash;
	return false;
}
_Static_assert(PLAIN_NAMES == 1 << (64 - 54), "a hash's first bits");
_Static_assert(PLAIN_NAMES > 2 * HEAD_PARAMS_COUNT_MAX, "there is a free one");

/* What is plain has no body. */
static bool
may_stand_twice(const unsigned char *name, size_t len)
{
	return request_may_stand_twice((const char *)name, len) !=
	       REQUEST_TWICE_NEVER;
}

/* False: they do not end within the pairs. */
static inline bool
read_length(struct place *p, size_t *out)
{
	uint32_t word;

	if (p->at == p->end)
		return false;
	if (*p->at < 0x80) {
		*out = *p->at++;
		return true;
	}
	if (p->end - p->at < 4)
		return false;
	memcpy(&word, p->at, sizeof(word));
	*out = be32toh(word) & 0x7fffffff;
	p->at += 4;
	return true;
}

/* A name that request.h does not know. */
static inline bool
take_other(struct plain *plain, const unsigned char *name, size_t len)
{
	uint64_t hash = name_hash(name, len);

	return hash != 0 &&
	       (!is_repeated(plain, hash) || may_stand_twice(name, len));
}

static inline bool
read_lengths(struct place *p, size_t *out_name_len, size_t *out_value_len)
{
	if (p->end - p->at >= 2 && (p->at[0] | p->at[1]) < 0x80) {
		*out_name_len = p->at[0];
		*out_value_len = p->at[1];
		p->at += 2;
		return true;
	}
	return read_length(p, out_name_len) && read_length(p, out_value_len);
}

/* Whether a value has a NUL is looked at in the end, once. */
static bool
read_pairs(struct plain *plain, struct place p, struct request *out)
{
	unsigned count = 0;
	uint64_t nuls = 0;
	size_t name_len, value_len, left;

	if (++plain->round == 0) {
		memset(plain->names, 0, sizeof(plain->names));
		plain->round = 1;
	}
	for (; p.at < p.end; p.at += name_len + value_len) {
		struct sgate_bytes *field;

		if (++count > HEAD_PARAMS_COUNT_MAX ||
		    !read_lengths(&p, &name_len, &value_len))
			return false;
		left = (size_t)(p.end - p.at);
		if (name_len == 0 || name_len > left ||
		    value_len > left - name_len)
			return false;
		nuls |= nul_bits(p.at + name_len, value_len);
		field = request_field(out, (const char *)p.at, name_len);
		if (field == NULL) {
			if (!take_other(plain, p.at, name_len))
				return false;
			continue;
		}
		if (field->data != NULL && !may_stand_twice(p.at, name_len))
			return false;
		field->data = (const char *)p.at + name_len;
		field->len = value_len;
	}
	return nuls == 0;
}

/* ---- records ---- */

/* A header of this type, and then all that it says; or false. */
static inline bool
read_record(struct place *p, const struct plain *plain, unsigned char type,
    struct record *out)
{
	const unsigned char *h = p->at;
	size_t left = (size_t)(p->end - h);

	if (left < HEADER_BYTES || h[0] != RECORD_VERSION || h[1] != type ||
	    h[2] != plain->request_id >> 8 ||
	    h[3] != (plain->request_id & 0xff))
		return false;
	out->content_len = (size_t)h[4] << 8 | h[5];
	out->padding_len = h[6];
	p->at += HEADER_BYTES;
	return out->content_len + out->padding_len <= left - HEADER_BYTES;
}

static inline bool
read_begin(struct plain *plain, struct place *p, struct head *out)
{
	struct record record;
	unsigned role;

	if (p->end - p->at < HEADER_BYTES)
		return false;
	plain->request_id = (uint16_t)(p->at[2] << 8 | p->at[3]);
	if (plain->request_id == 0 ||
	    !read_record(p, plain, RECORD_BEGIN, &record) ||
	    record.content_len != 8 || record.padding_len != 0)
		return false;
	role = (unsigned)p->at[0] << 8 | p->at[1];
	out->is_authorizer = role == ROLE_AUTHORIZER;
	out->keep_connection = (p->at[2] & FLAG_KEEP_CONN) != 0;
	p->at += record.content_len;
	return role == ROLE_RESPONDER || role == ROLE_AUTHORIZER;
}

static inline bool
read_empty(struct place *p, const struct plain *plain, unsigned char type)
{
	struct record record;

	return read_record(p, plain, type, &record) &&
	       record.content_len == 0 && record.padding_len == 0;
}

bool
plain_read(struct plain *plain, struct sgate_bytes bytes, size_t params_max,
    struct head *out_head, struct request *out_request)
{
	const unsigned char *begin = (const unsigned char *)bytes.data;
	struct place p = {begin, begin + bytes.len};
	struct head head = {0};
	struct record params;
	struct place pairs;

	if (!read_begin(plain, &p, &head) ||
	    !read_record(&p, plain, RECORD_PARAMS, &params) ||
	    params.content_len == 0 || params.content_len > params_max)
		return false;
	pairs = (struct place){p.at, p.at + params.content_len};
	p.at = pairs.end + params.padding_len;
	if (!read_empty(&p, plain, RECORD_PARAMS))
		return false;
	head.head_len = (size_t)(p.at - begin);
	if (p.at < p.end) {
		if (!read_empty(&p, plain, RECORD_STDIN) || p.at != p.end)
			return false;
		head.is_whole = true;
		head.request_len = bytes.len;
	}
	memset(out_request, 0, sizeof(*out_request));
	if (!read_pairs(plain, pairs, out_request))
		return false;
	head.is_check = out_request->check.len > 0;
	if (!head.is_authorizer &&
	    (!head.is_check || (head.keep_connection && !head.is_whole)))
		return false;
	request_settle(out_request, head.is_authorizer);
	*out_head = head;
	return true;
}

/* ---- answering ---- */

static void
write_header(
    const struct plain *plain, char *at, char type, size_t len, size_t padding)
{
	at[0] = RECORD_VERSION;
	at[1] = type;
	at[2] = (char)(plain->request_id >> 8);
	at[3] = (char)plain->request_id;
	at[4] = (char)(len >> 8);
	at[5] = (char)len;
	at[6] = (char)padding;
	at[7] = 0;
}

void
plain_begin(struct buf *answer)
{
	buf_reset(answer);
	buf_extend(answer, HEADER_BYTES);
}

struct sgate_bytes
plain_content(const struct buf *answer)
{
	struct sgate_bytes bytes = buf_bytes(answer);

	if (bytes.len <= HEADER_BYTES)
		return (struct sgate_bytes){NULL, 0};
	bytes.data += HEADER_BYTES;
	bytes.len -= HEADER_BYTES;
	return bytes;
}

/* STDOUT, its end, and END_REQUEST, whose 0 is FCGI_REQUEST_COMPLETE. */
bool
plain_end(const struct plain *plain, struct buf *answer)
{
	size_t len = plain_content(answer).len;
	size_t padding = -len % 8;
	char *at;

	if (len == 0 || len > CONTENT_MAX)
		return false;
	at = buf_extend(answer, padding + 3 * HEADER_BYTES);
	if (at == NULL)
		return false;
	write_header(plain, answer->data, RECORD_STDOUT, len, padding);
	memset(at, 0, padding);
	at += padding;
	write_header(plain, at, RECORD_STDOUT, 0, 0);
	write_header(plain, at + HEADER_BYTES, RECORD_END, HEADER_BYTES, 0);
	memset(at + 2 * HEADER_BYTES, 0, HEADER_BYTES);
	return true;
}
