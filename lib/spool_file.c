/*
 * Names, headers and frames of the spool as bytes, and the calls that write
 * them. What is read is believed only when its sum is right, and then looked at
 * as if it were not: lengths against what is left, no NUL in a text, nothing
 * left over.
 *
 * When you change what a frame holds, raise SPOOL_VERSION: an older program
 * leaves such files alone.
 */
#include "config.h"

#include "spool_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "crc32c.h"

#define HEADER_TEXT "sessgate spool "
#define HEADER_TEXT_BYTES 15
#define HEADER_HOST_AT 16
#define HEADER_HOST_BYTES 64
#define HEADER_MADE_AT (HEADER_HOST_AT + HEADER_HOST_BYTES)
#define HEADER_CRC_AT (HEADER_MADE_AT + 8)

#define FRAME_WRITER_AT 4
#define FRAME_LENGTH_AT (FRAME_WRITER_AT + SPOOL_WRITER_BYTES)
#define FRAME_CRC_AT (FRAME_LENGTH_AT + 4)
#define FRAME_BODY_AT (FRAME_CRC_AT + 4)
#define DONE_MASK (SPOOL_TO_DURABLE | SPOOL_TO_CACHE)

static const unsigned char magic[4] = {SPOOL_MAGIC_FIRST, 'S', 'G', 'F'};

/* ---- integers and texts ---- */

void
spool_write_uint(unsigned char *out, size_t len, uint64_t value)
{
	while (len > 0) {
		out[--len] = (unsigned char)(value & 0xff);
		value >>= 8;
	}
}

uint64_t
spool_read_uint(const unsigned char *bytes, size_t len)
{
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < len; i++)
		value = value << 8 | bytes[i];
	return value;
}

/* Where the next field goes; all fields fit (spool_frame_write()). */
struct writer {
	unsigned char *bytes;
	size_t len;
};

static void
put_bytes(struct writer *out, const void *data, size_t len)
{
	if (len > 0)
		memcpy(out->bytes + out->len, data, len);
	out->len += len;
}

static void
put_uint(struct writer *out, size_t len, uint64_t value)
{
	spool_write_uint(out->bytes + out->len, len, value);
	out->len += len;
}

static void
put_text(struct writer *out, const char *text)
{
	size_t len = strlen(text);

	put_uint(out, 2, len);
	put_bytes(out, text, len);
}

struct reader {
	const unsigned char *at;
	size_t left;
	bool is_wrong; /* and everything read since is empty */
};

static const unsigned char *
take_bytes(struct reader *in, size_t len)
{
	static const unsigned char nothing[DURABLE_EVENT_BYTES];
	const unsigned char *bytes = in->at;

	if (len > in->left)
		in->is_wrong = true;
	if (in->is_wrong)
		return nothing;
	in->at += len;
	in->left -= len;
	return bytes;
}

/* len up to 8. */
static uint64_t
take_uint(struct reader *in, size_t len, uint64_t max)
{
	uint64_t value = spool_read_uint(take_bytes(in, len), len);

	if (value > max)
		in->is_wrong = true;
	return value;
}

static int64_t
take_time(struct reader *in)
{
	return (int64_t)take_uint(in, 8, INT64_MAX);
}

/* Exactly so many bytes are left, and are taken. */
static void
take_rest(struct reader *in, size_t len)
{
	if (in->left != len)
		in->is_wrong = true;
	in->left = 0;
}

static size_t
take_sized(struct reader *in, void *out, size_t max)
{
	size_t len = (size_t)take_uint(in, 2, max);
	const unsigned char *bytes;

	if (in->is_wrong || len > in->left) {
		in->is_wrong = true;
		return 0;
	}
	bytes = take_bytes(in, len);
	if (len > 0)
		memcpy(out, bytes, len);
	return len;
}

static void
take_text(struct reader *in, char *out, size_t size)
{
	size_t len = take_sized(in, out, size - 1);

	out[len] = '\0';
	if (strlen(out) != len)
		in->is_wrong = true;
}

/* ---- headers ---- */

void
spool_header_write(
    const char *host, int64_t now_ms, unsigned char out[SPOOL_HEADER_BYTES])
{
	memset(out, 0, SPOOL_HEADER_BYTES);
	memcpy(out, HEADER_TEXT, HEADER_TEXT_BYTES);
	out[HEADER_TEXT_BYTES] = SPOOL_VERSION;
	memcpy(out + HEADER_HOST_AT, host, strnlen(host, HEADER_HOST_BYTES));
	spool_write_uint(out + HEADER_MADE_AT, 8, (uint64_t)now_ms);
	spool_write_uint(out + HEADER_CRC_AT, 4, crc32c(0, out, HEADER_CRC_AT));
}

enum spool_header
spool_header_read(const unsigned char *bytes, size_t len)
{
	if (len < SPOOL_HEADER_BYTES ||
	    memcmp(bytes, HEADER_TEXT, HEADER_TEXT_BYTES) != 0 ||
	    crc32c(0, bytes, HEADER_CRC_AT) !=
		spool_read_uint(bytes + HEADER_CRC_AT, 4))
		return SPOOL_HEADER_DAMAGED;
	return bytes[HEADER_TEXT_BYTES] == SPOOL_VERSION ? SPOOL_HEADER_RIGHT
							 : SPOOL_HEADER_FOREIGN;
}

/* ---- frames ---- */

static uint32_t
frame_crc(const unsigned char *frame, size_t len)
{
	uint32_t crc = crc32c(0, frame, FRAME_CRC_AT);

	return crc32c(crc, frame + FRAME_BODY_AT, len - FRAME_BODY_AT);
}

static bool
is_writable(const struct spool_frame *frame)
{
	const struct durable_audit *audit = &frame->audit;

	if (frame->kind == SPOOL_CREATE
		? frame->record.len == 0 || frame->record.len > SPOOL_RECORD_MAX
		: frame->kind != SPOOL_END || frame->record.len != 0)
		return false;
	return (frame->done & ~DONE_MASK) == 0 && frame->absolute_ms >= 0 &&
	       frame->ended_ms >= 0 && audit->at_ms >= 0 && audit->has_ref &&
	       (unsigned)audit->reason < SGATE_REASON_COUNT &&
	       audit->client_ip_len <= sizeof(audit->client_ip);
}

static void
put_body(struct writer *out, const struct spool_frame *frame)
{
	const struct durable_audit *audit = &frame->audit;

	put_uint(out, 1, (uint64_t)frame->kind);
	put_uint(out, 1, frame->done);
	put_bytes(out, audit->event_id, sizeof(audit->event_id));
	put_bytes(out, frame->store_id, sizeof(frame->store_id));
	put_uint(out, 8, frame->version);
	put_uint(out, 8, (uint64_t)frame->absolute_ms);
	put_uint(out, 8, (uint64_t)frame->ended_ms);
	put_uint(out, 8, (uint64_t)audit->at_ms);
	put_uint(out, 2, (uint64_t)audit->reason);
	put_uint(out, 1, audit->has_ref);
	put_bytes(out, audit->ref.bytes, SGATE_REF_BYTES);
	put_text(out, audit->host);
	put_text(out, audit->actor);
	put_text(out, audit->kind);
	put_text(out, audit->realm);
	put_text(out, audit->user);
	put_text(out, audit->detail);
	put_uint(out, 2, audit->client_ip_len);
	put_bytes(out, audit->client_ip, audit->client_ip_len);
	put_uint(out, 4, frame->record.len);
	put_bytes(out, frame->record.data, frame->record.len);
}

/* The longest that an audit row can be. */
_Static_assert(
    SPOOL_FRAME_MIN + sizeof(struct durable_audit) <= SPOOL_PLAIN_MAX,
    "a frame must hold every audit row");

size_t
spool_frame_write(const struct spool_frame *frame,
    const unsigned char writer[SPOOL_WRITER_BYTES], unsigned char *out)
{
	struct writer to = {out, 0};

	if (!is_writable(frame))
		return 0;
	put_bytes(&to, magic, sizeof(magic));
	put_bytes(&to, writer, SPOOL_WRITER_BYTES);
	to.len = FRAME_BODY_AT;
	put_body(&to, frame);
	spool_write_uint(out + FRAME_LENGTH_AT, 4, to.len);
	spool_write_uint(out + FRAME_CRC_AT, 4, frame_crc(out, to.len));
	return to.len;
}

/* A reason that this version does not know ends the session all the same. */
static enum sgate_reason
take_reason(struct reader *in)
{
	uint64_t reason = take_uint(in, 2, UINT16_MAX);

	return reason < SGATE_REASON_COUNT ? (enum sgate_reason)reason
					   : SGATE_REASON_REVOKED;
}

static bool
take_body(struct reader *in, struct spool_frame *out)
{
	struct durable_audit *audit = &out->audit;

	memset(out, 0, sizeof(*out));
	out->kind = (enum spool_kind)take_uint(in, 1, UINT8_MAX);
	out->done = (unsigned)take_uint(in, 1, DONE_MASK);
	memcpy(audit->event_id, take_bytes(in, DURABLE_EVENT_BYTES),
	    DURABLE_EVENT_BYTES);
	memcpy(out->store_id, take_bytes(in, sizeof(out->store_id)),
	    sizeof(out->store_id));
	out->version = take_uint(in, 8, UINT64_MAX);
	out->absolute_ms = take_time(in);
	out->ended_ms = take_time(in);
	audit->at_ms = take_time(in);
	audit->reason = take_reason(in);
	audit->has_ref = take_uint(in, 1, 1) == 1;
	memcpy(
	    audit->ref.bytes, take_bytes(in, SGATE_REF_BYTES), SGATE_REF_BYTES);
	take_text(in, audit->host, sizeof(audit->host));
	take_text(in, audit->actor, sizeof(audit->actor));
	take_text(in, audit->kind, sizeof(audit->kind));
	take_text(in, audit->realm, sizeof(audit->realm));
	take_text(in, audit->user, sizeof(audit->user));
	take_text(in, audit->detail, sizeof(audit->detail));
	audit->client_ip_len =
	    take_sized(in, audit->client_ip, sizeof(audit->client_ip));
	out->record.len = (size_t)take_uint(in, 4, SPOOL_RECORD_MAX);
	if (out->record.len > 0)
		out->record.data = (const char *)in->at;
	take_rest(in, out->record.len);
	return !in->is_wrong && in->left == 0 && is_writable(out);
}

bool
spool_frame_begins(const unsigned char *bytes, size_t len,
    const unsigned char writer[SPOOL_WRITER_BYTES])
{
	unsigned char begin[FRAME_LENGTH_AT];
	uint64_t length;

	memcpy(begin, magic, sizeof(magic));
	memcpy(begin + FRAME_WRITER_AT, writer, SPOOL_WRITER_BYTES);
	if (memcmp(bytes, begin, len < sizeof(begin) ? len : sizeof(begin)) !=
	    0)
		return false;
	if (len < FRAME_CRC_AT)
		return true;
	length = spool_read_uint(bytes + FRAME_LENGTH_AT, 4);
	return length >= SPOOL_FRAME_MIN && length <= SPOOL_FRAME_MAX;
}

size_t
spool_frame_length(const unsigned char *bytes, size_t len,
    const unsigned char writer[SPOOL_WRITER_BYTES])
{
	if (len < FRAME_CRC_AT || !spool_frame_begins(bytes, len, writer))
		return 0;
	return (size_t)spool_read_uint(bytes + FRAME_LENGTH_AT, 4);
}

size_t
spool_frame_read(const unsigned char *bytes, size_t len,
    const unsigned char writer[SPOOL_WRITER_BYTES], struct spool_frame *out)
{
	struct reader in = {NULL, 0, false};
	size_t length = spool_frame_length(bytes, len, writer);

	if (length == 0 || length > len ||
	    frame_crc(bytes, length) !=
		spool_read_uint(bytes + FRAME_CRC_AT, 4))
		return 0;
	in.at = bytes + FRAME_BODY_AT;
	in.left = length - FRAME_BODY_AT;
	return take_body(&in, out) ? length : 0;
}

int64_t
spool_event_ms(const unsigned char event_id[DURABLE_EVENT_BYTES])
{
	return (int64_t)spool_read_uint(event_id, 6);
}

/* ---- names ---- */

void
spool_stem_write(const unsigned char writer[SPOOL_WRITER_BYTES],
    unsigned ordinal, char out[SPOOL_STEM_MAX + 1])
{
	char hex[2 * SPOOL_WRITER_BYTES + 1];

	sodium_bin2hex(hex, sizeof(hex), writer, SPOOL_WRITER_BYTES);
	snprintf(out, SPOOL_STEM_MAX + 1, "%s-%06u", hex, ordinal);
}

/* Only the one way in which it is written. */
bool
spool_stem_read(const char *name, const char *suffix,
    char out_stem[SPOOL_STEM_MAX + 1],
    unsigned char out_writer[SPOOL_WRITER_BYTES])
{
	size_t len = strlen(name), end = strlen(suffix), hex_len;
	char again[SPOOL_STEM_MAX + 1];
	const char *dash = strchr(name, '-');
	uint64_t ordinal;

	if (len <= end || strcmp(name + len - end, suffix) != 0 ||
	    len - end > SPOOL_STEM_MAX || dash == NULL ||
	    sodium_hex2bin(out_writer, SPOOL_WRITER_BYTES, name,
		(size_t)(dash - name), NULL, &hex_len, NULL) != 0 ||
	    hex_len != SPOOL_WRITER_BYTES ||
	    !bytes_to_uint((struct sgate_bytes){dash + 1,
			       (size_t)(name + len - end - dash - 1)},
		UINT32_MAX, &ordinal))
		return false;
	spool_stem_write(out_writer, (unsigned)ordinal, again);
	if (strlen(again) != len - end || memcmp(again, name, len - end) != 0)
		return false;
	memcpy(out_stem, again, sizeof(again));
	return true;
}

/* ---- the system's calls ---- */

static int
system_open(int dir, const char *name, int flags, mode_t mode)
{
	return openat(dir, name, flags, mode);
}

/* By another descriptor each time: one that failed tells it only once. */
static int
system_sync_dir(int dir)
{
	int fd, result, native;

	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	result = fsync(fd);
	native = errno;
	close(fd);
	errno = native;
	return result;
}

static int
system_rename(int dir, const char *from, const char *to)
{
	return renameat(dir, from, dir, to);
}

const struct spool_io spool_io_system = {
    .open = system_open,
    .write = write,
    .fdatasync = fdatasync,
    .sync_dir = system_sync_dir,
    .rename = system_rename,
};

int
spool_write_all(const struct spool_io *io, int fd, const void *data, size_t len,
    size_t *out_done)
{
	const unsigned char *bytes = data;
	ssize_t done;

	*out_done = 0;
	while (*out_done < len) {
		done = io->write(fd, bytes + *out_done, len - *out_done);
		if (done < 0 && errno == EINTR)
			continue;
		if (done == 0)
			errno = ENOSPC; /* not to ask for ever */
		if (done <= 0)
			return -1;
		*out_done += (size_t)done;
	}
	return 0;
}
