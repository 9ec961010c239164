/*
 * Sealed records and tombstones.
 *
 *   byte 0   'L' or 'U': the rest is sealed as a record of that state; else it
 *            is taken as it is
 *   rest     29 bytes of header, and the fields
 *
 * - What is read is written to the same bytes, or it was refused.
 * - Without the right seal nothing is read, nor with one bit changed.
 * - A tombstone that is read is written to the same.
 */
#include "config.h"

#include "fuzz.h"

#include "keyfile.h"
#include "record.h"

#include <string.h>

#include <sodium.h>

static const struct record_store store = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, 3};
static const struct sgate_ref ref = {
    {0xab, 0x65, 0x53, 0xf1, 0x00, 1, 2, 3, 4, 5, 6, 7}};

static const struct keys *
known_keys(void)
{
	static struct keys *keys;

	if (keys == NULL)
		keys = keyfile_keys(KEYFILE_KNOWN);
	return keys;
}

/* As record.h says, written once more. */
static void
add_seal(struct buf *record)
{
	unsigned char seal[RECORD_SEAL_BYTES];
	crypto_generichash_state state;

	crypto_generichash_init(&state, keys_subkey(known_keys(), 7, KEYS_SEAL),
	    crypto_generichash_KEYBYTES, sizeof(seal));
	crypto_generichash_update(&state, store.id, sizeof(store.id));
	crypto_generichash_update(&state, ref.bytes, sizeof(ref.bytes));
	crypto_generichash_update(&state, (unsigned char *)record->data, 17);
	crypto_generichash_update(
	    &state, (unsigned char *)record->data + 30, record->len - 30);
	crypto_generichash_final(&state, seal, sizeof(seal));
	buf_add(record, seal, sizeof(seal));
}

/* Of data that stands apart, behind the head's seal. */
static void
add_data(struct buf *record, struct sgate_bytes data)
{
	unsigned char seal[RECORD_SEAL_BYTES];
	crypto_generichash_state state;

	crypto_generichash_init(&state, keys_subkey(known_keys(), 7, KEYS_SEAL),
	    crypto_generichash_KEYBYTES, sizeof(seal));
	crypto_generichash_update(&state,
	    (unsigned char *)record->data + record->len - sizeof(seal),
	    sizeof(seal));
	crypto_generichash_update(
	    &state, (const unsigned char *)data.data, data.len);
	crypto_generichash_final(&state, seal, sizeof(seal));
	buf_add_bytes(record, data);
	buf_add(record, seal, sizeof(seal));
}

/* Where its data stands apart, the head ends where it says, as far as it can.
 */
static void
seal(struct buf *record)
{
	const size_t fields = RECORD_BODY_OFFSET + 6;
	const unsigned char *bytes = (const unsigned char *)record->data;
	struct buf data = {0};
	size_t head;

	if (record->data[RECORD_BODY_OFFSET] != 2 || record->len < fields) {
		add_seal(record);
		return;
	}
	head = (size_t)bytes[fields - 2] << 8 | bytes[fields - 1];
	head = fields + head % (record->len - fields + 1);
	memset(record->data + fields - 4, 0, 2);
	record->data[fields - 2] = (char)(head >> 8 & 0xff);
	record->data[fields - 1] = (char)(head & 0xff);
	buf_add(&data, record->data + head, record->len - head);
	buf_cut(record, head);
	add_seal(record);
	add_data(record, buf_bytes(&data));
	buf_clear(&data);
}

/* What is read of its head is what the whole has, but for data. */
static void
check_head(struct sgate_bytes bytes, const struct sgate_session *whole)
{
	struct sgate_session *s;
	enum sgate_status status =
	    record_read_head(known_keys(), &store, &ref, bytes, &s, NULL);

	MUST(status == SGATE_OK || status == SGATE_CORRUPT);
	MUST((status == SGATE_OK) == (s != NULL));
	if (s != NULL)
		MUST(record_has_head(bytes) && s->data[0] == '\0');
	if (whole != NULL && bytes.data[0] == 'L')
		MUST((s != NULL) == record_has_head(bytes));
	if (whole != NULL && s != NULL)
		MUST(strcmp(s->user, whole->user) == 0 &&
		     strcmp(s->exports, whole->exports) == 0 &&
		     s->version == whole->version);
	sgate_session_free(s);
}

/* Reads it; what was read is written to the same. Whether it was read. */
static bool
check(struct sgate_bytes bytes)
{
	struct sgate_session *s, *born = NULL;
	struct record_birth birth;
	struct buf again = {0};
	enum sgate_status status, status_new;
	char state;

	status =
	    record_read(known_keys(), &store, &ref, bytes, &state, &s, NULL);
	MUST((status == SGATE_OK) == (s != NULL));
	MUST(status == SGATE_OK || status == SGATE_CORRUPT);
	check_head(bytes, s);
	status_new = record_read_new(
	    known_keys(), &store, &ref, bytes, &born, &birth, NULL);
	MUST((status_new == SGATE_OK) == (status == SGATE_OK && state == 'U'));
	if (status == SGATE_OK && state == 'L')
		MUST(record_write(known_keys(), &store, 'L', s, &again, NULL) ==
		     SGATE_OK);
	if (status == SGATE_OK && state == 'U')
		MUST(record_write_new(known_keys(), &store, born, &birth,
			 &again, NULL) == SGATE_OK);
	/* Much data that stands inside is of an older version. */
	if (status == SGATE_OK && (bytes.data[RECORD_BODY_OFFSET] == 2 ||
				      strlen(s->data) <= RECORD_DATA_INSIDE))
		MUST(bytes_equal(bytes, buf_bytes(&again)));
	sgate_session_free(s);
	sgate_session_free(born);
	buf_clear(&again);
	return status == SGATE_OK;
}

/* A bit, but for those of the last activity, which is not sealed. */
static void
change_and_check(struct buf *record, size_t at, unsigned bit)
{
	at %= record->len;
	if (at >= RECORD_LAST_SEEN_OFFSET && at < RECORD_BODY_OFFSET)
		return;
	record->data[at] = (char)(record->data[at] ^ 1 << bit);
	MUST(!check(buf_bytes(record)));
}

static void
check_tombstone(struct sgate_bytes bytes)
{
	struct record_store of = store;
	struct record_tombstone tombstone;
	struct buf again = {0};

	if (!record_tombstone_read(bytes, &tombstone))
		return;
	MUST(record_epoch(bytes, &of.epoch));
	record_tombstone_write(&of, &tombstone, &again);
	/* One that nobody knows is read as another one. */
	if (tombstone.reason == SGATE_REASON_REVOKED)
		MUST(again.len == bytes.len);
	else
		MUST(bytes_equal(bytes, buf_bytes(&again)));
	buf_clear(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	char state = (char)fuzz_byte(&in);
	struct sgate_bytes rest = fuzz_rest(&in);
	struct buf record = {0};

	check_tombstone((struct sgate_bytes){(const char *)data, size});
	if ((state != 'L' && state != 'U') || rest.len < 31) {
		check(rest);
		return 0;
	}
	buf_add_char(&record, state);
	buf_add_bytes(&record, rest);
	/* The key that there is. */
	record.data[RECORD_BODY_OFFSET + 1] = 7;
	seal(&record);
	MUST(!buf_failed(&record));
	check((struct sgate_bytes){record.data, record.len - 1});
	if (check(buf_bytes(&record)))
		change_and_check(
		    &record, data[size - 1] * 7 + size, data[size / 2] % 8);
	buf_clear(&record);
	return 0;
}
