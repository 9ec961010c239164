/*
 * Frames of the spool, and the header of its files.
 *
 *   byte 0   bit 0: the rest is a frame's body, whose beginning and sum are
 *            made for it; else it is taken as it is
 *
 * - What is read is written to the same bytes, or it was refused.
 * - A frame that is cut off is none; nor one with up to four bytes changed.
 */
#include "config.h"

#include "fuzz.h"

#include "crc32c.h"
#include "spool_file.h"

static const unsigned char writer[SPOOL_WRITER_BYTES] = "\1fuzzing";

/* magic 4 | writer 8 | length 4 | sum 4 | body: spool_file.h */
enum { LENGTH_AT = 12, CRC_AT = 16, BODY_AT = 20, REASON_AT = BODY_AT + 66 };

/* A frame around a body. Its length. */
static size_t
make_frame(struct sgate_bytes body, unsigned char *out)
{
	static const struct spool_frame plain = {
	    .kind = SPOOL_END, .audit.has_ref = true};
	size_t len = BODY_AT + body.len;
	uint32_t crc;

	/* For its magic and writer. */
	MUST(spool_frame_write(&plain, writer, out) > 0);
	memcpy(out + BODY_AT, body.data, body.len);
	spool_write_uint(out + LENGTH_AT, 4, len);
	crc = crc32c(crc32c(0, out, CRC_AT), out + BODY_AT, body.len);
	spool_write_uint(out + CRC_AT, 4, crc);
	return len;
}

/* The frame's length if it is read: then it is written to the same. */
static size_t
check(const unsigned char *bytes, size_t len)
{
	static unsigned char again[SPOOL_FRAME_MAX];
	static const unsigned char other[SPOOL_WRITER_BYTES] = "\2fuzzing";
	struct spool_frame frame;
	size_t n = spool_frame_read(bytes, len, writer, &frame);

	MUST(n <= len);
	if (n == 0)
		return 0;
	MUST(spool_frame_begins(bytes, len, writer));
	MUST(spool_frame_length(bytes, len, writer) == n);
	MUST(spool_frame_write(&frame, writer, again) == n);
	/* A reason that nobody knows is read as another one. */
	if (frame.audit.reason != SGATE_REASON_REVOKED)
		MUST(memcmp(again, bytes, n) == 0);
	else
		MUST(memcmp(again + REASON_AT + 2, bytes + REASON_AT + 2,
			 n - REASON_AT - 2) == 0);
	MUST(spool_frame_read(bytes, n - 1, writer, &frame) == 0);
	MUST(spool_frame_read(bytes, n, other, &frame) == 0);
	return n;
}

static void
damage_and_check(unsigned char *frame, size_t len, struct fuzz_input in)
{
	size_t at = (fuzz_byte(&in) * 256 + fuzz_byte(&in)) % len, i;
	struct spool_frame read;
	unsigned changed = 0, change;

	for (i = at; i < at + 4 && i < len; i++) {
		change = fuzz_byte(&in);
		frame[i] = (unsigned char)(frame[i] ^ change);
		changed |= change;
	}
	if (changed != 0)
		MUST(spool_frame_read(frame, len, writer, &read) == 0);
}

static void
check_header(struct sgate_bytes bytes)
{
	unsigned char header[SPOOL_HEADER_BYTES];
	char host[65] = "";

	memcpy(host, bytes.data, bytes.len < 64 ? bytes.len : 64);
	spool_header_write(host, (int64_t)bytes.len, header);
	MUST(spool_header_read(header, sizeof(header)) == SPOOL_HEADER_RIGHT);
	MUST(spool_header_read(header, sizeof(header) - 1) ==
	     SPOOL_HEADER_DAMAGED);
	header[bytes.len % sizeof(header)] ^= 0x10;
	MUST(spool_header_read(header, sizeof(header)) == SPOOL_HEADER_DAMAGED);
	MUST(spool_header_read((const unsigned char *)bytes.data, bytes.len) !=
		 SPOOL_HEADER_RIGHT ||
	     bytes.len >= SPOOL_HEADER_BYTES);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char frame[SPOOL_FRAME_MAX + 8192];
	struct fuzz_input in = {data, size};
	bool is_body = (fuzz_byte(&in) & 1) != 0;
	struct sgate_bytes rest = fuzz_rest(&in);
	size_t len;

	if (size > 8000)
		return 0;
	check_header(rest);
	if (!is_body) {
		check((const unsigned char *)rest.data, rest.len);
		return 0;
	}
	len = make_frame(rest, frame);
	if (check(frame, len) == len)
		damage_and_check(frame, len, in);
	return 0;
}
