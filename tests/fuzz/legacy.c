/*
 * Sessions of other systems, as their stores give them.
 *
 *   byte 0        which reader
 *   byte 1        bit 0: the store knows an end; bit 1: fields instead of
 * bytes; bit 2: the column for it is a number to the end    the session; as
 * fields: lines NAME=VALUE
 *
 * - Nothing but a verdict comes of it, with a reason where it cannot be read.
 * - What came out is data and a user that a session of ours may have.
 * - Its end is never later than the store's.
 * - It comes out the same a second time.
 */
#include "config.h"

#include "fuzz.h"

#include "data.h"
#include "legacy.h"

#define NOW_MS INT64_C(1795000000000)
#define STORE_END_MS (NOW_MS + 3600000)
#define FIELDS_MAX 16

static size_t
make_fields(struct fuzz_input *in, struct legacy_field fields[FIELDS_MAX])
{
	size_t count = 0;

	while (in->left > 0 && count < FIELDS_MAX) {
		struct sgate_bytes line = fuzz_line(in);

		fields[count].name = bytes_cut(&line, '=');
		fields[count].value = line;
		fields[count].is_null = line.data == NULL;
		count++;
	}
	return count;
}

static void
check_session(
    const struct legacy_raw *raw, const struct legacy_session *session)
{
	MUST(
	    (session->verdict == LEGACY_UNDECODABLE) == (session->why != NULL));
	if (session->verdict == LEGACY_UNDECODABLE)
		return;
	MUST(session->verdict != LEGACY_LIVE || session->user_key != NULL);
	MUST((session->user_key != NULL) == (session->user_id.len > 0));
	MUST(session->user_id.len <= 128);
	MUST(bytes_is_utf8(buf_bytes(&session->user_id)));
	MUST(!bytes_has_control(buf_bytes(&session->user_id)));
	MUST(raw->expires_ms == 0 ||
	     (session->expires_ms != 0 &&
		 session->expires_ms <= raw->expires_ms));
	MUST(session->verdict != LEGACY_LIVE || session->expires_ms == 0 ||
	     session->expires_ms > NOW_MS);
	MUST(data_scan(buf_bytes(&session->data), 65536, NULL) == SGATE_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct legacy_field fields[FIELDS_MAX] = {0};
	struct legacy_settings settings = {
	    .data_max_bytes = 65536, .secret = {"secret", 6}};
	struct legacy_raw raw = {
	    .id = {"an-id", 5}, .expiry = {"2026-11-18 12:06:40", 19}};
	struct legacy_session first, again;
	struct sgate_error err;
	unsigned flags;
	size_t readers = 0;

	while (legacy_reader_at(readers) != NULL)
		readers++;
	settings.reader = legacy_reader_at(fuzz_byte(&in) % readers);
	flags = fuzz_byte(&in);
	if ((flags & 4) != 0)
		raw.expiry = bytes_of("1795000001500000");
	if ((flags & 1) != 0)
		raw.expires_ms = STORE_END_MS;
	raw.changed_ms = NOW_MS - 60000;
	if ((flags & 2) != 0) {
		raw.fields_count = make_fields(&in, fields);
		raw.fields = fields;
	} else {
		raw.body = fuzz_rest(&in);
	}
	MUST(legacy_decode(&settings, &raw, NOW_MS, &first, &err) == SGATE_OK);
	check_session(&raw, &first);
	MUST(legacy_decode(&settings, &raw, NOW_MS, &again, &err) == SGATE_OK);
	MUST(first.verdict == again.verdict);
	MUST(bytes_equal(buf_bytes(&first.data), buf_bytes(&again.data)));
	legacy_session_clear(&first);
	legacy_session_clear(&again);
	return 0;
}
