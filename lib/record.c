/*
 * The sealed form of a session. A seal is checked before anything that it
 * covers is believed, and what is behind it is read as if it were not: lengths
 * are checked against what is left, texts hold no NUL, nothing may remain.
 *
 * When you add a field, raise both formats: old copies are then misses.
 */
#include "config.h"

#include "record.h"

#include "crc32c.h"
#include "failpoint.h"
#include "status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

/* As record.h draws them. */
#define FORMAT_WHOLE 1
#define FORMAT_APART 2
#define EPOCH_DIGITS 4
#define EPOCH_MAX 9999
#define VERSION_DIGITS 12
#define VERSION_MAX UINT64_C(999999999999)
#define LAST_SEEN_DIGITS 13
#define LAST_SEEN_MAX INT64_C(9999999999999)
#define REASON_DIGITS 2
#define REALM_AT (RECORD_LAST_SEEN_OFFSET + REASON_DIGITS)
#define REALM_DIGITS 8
#define REALM_MAX 99999999
#define FORMAT_AT RECORD_BODY_OFFSET
#define KEY_ID_AT (RECORD_BODY_OFFSET + 1)
#define FIELDS_AT (RECORD_BODY_OFFSET + 2)
/* Data apart: */
#define HEAD_LEN_AT FIELDS_AT
#define HEAD_LEN_BYTES 4
#define APART_FIELDS_AT (HEAD_LEN_AT + HEAD_LEN_BYTES)

/* ---- the seals ---- */

/* `record` is all of it, or its head, but the seal. False: there is no such
 * key. */
static bool
compute_seal(const struct keys *keys, const struct record_store *store,
    const struct sgate_ref *ref, const unsigned char *record, size_t len,
    unsigned char out[RECORD_SEAL_BYTES])
{
	const unsigned char *key =
	    keys_subkey(keys, record[KEY_ID_AT], KEYS_SEAL);
	crypto_generichash_state state;

	if (key == NULL)
		return false;
	crypto_generichash_init(
	    &state, key, crypto_generichash_KEYBYTES, RECORD_SEAL_BYTES);
	crypto_generichash_update(&state, store->id, sizeof(store->id));
	if (!failpoint_is_off("seal-ref"))
		crypto_generichash_update(&state, ref->bytes, SGATE_REF_BYTES);
	crypto_generichash_update(&state, record, RECORD_LAST_SEEN_OFFSET);
	crypto_generichash_update(
	    &state, record + RECORD_BODY_OFFSET, len - RECORD_BODY_OFFSET);
	crypto_generichash_final(&state, out, RECORD_SEAL_BYTES);
	sodium_memzero(&state, sizeof(state));
	return true;
}

/*
 * Of data that stands apart: it is that of the head with that seal, so also of
 * its store, ref, state, epoch and version. What is sealed here begins with a
 * seal, and there with a store's id: neither can be taken for the other.
 */
static bool
compute_data_seal(const struct keys *keys, uint8_t key_id,
    const unsigned char head_seal[RECORD_SEAL_BYTES], struct sgate_bytes data,
    unsigned char out[RECORD_SEAL_BYTES])
{
	const unsigned char *key = keys_subkey(keys, key_id, KEYS_SEAL);
	crypto_generichash_state state;

	if (key == NULL)
		return false;
	crypto_generichash_init(
	    &state, key, crypto_generichash_KEYBYTES, RECORD_SEAL_BYTES);
	crypto_generichash_update(&state, head_seal, RECORD_SEAL_BYTES);
	crypto_generichash_update(
	    &state, (const unsigned char *)data.data, data.len);
	crypto_generichash_final(&state, out, RECORD_SEAL_BYTES);
	sodium_memzero(&state, sizeof(state));
	return true;
}

/* ---- writing ---- */

static void
add_uint(struct buf *out, size_t len, uint64_t value)
{
	while (len > 0)
		buf_add_char(out, (char)(value >> 8 * --len & 0xff));
}

static void
add_bytes(struct buf *out, const void *data, size_t len)
{
	add_uint(out, 4, len);
	buf_add(out, data, len);
}

static void
add_text(struct buf *out, const char *text)
{
	add_bytes(out, text, text == NULL ? 0 : strlen(text));
}

/* Of data that stands apart, the length alone. */
static void
add_fields(struct buf *out, const struct sgate_session *s, bool is_apart)
{
	add_uint(out, 8, s->seq);
	add_uint(out, 8, (uint64_t)s->created_ms);
	add_uint(out, 8, (uint64_t)s->auth_ms);
	add_uint(out, 8, (uint64_t)s->idle_ms);
	add_uint(out, 8, (uint64_t)s->absolute_ms);
	buf_add(out, s->secret_hash, TOKEN_HASH_BYTES);
	add_uint(out, 1, s->has_prev);
	buf_add(out, s->prev_hash, TOKEN_HASH_BYTES);
	add_uint(out, 8, (uint64_t)s->prev_until_ms);
	add_bytes(out, s->client_ip, s->client_ip_len);
	add_text(out, s->realm);
	add_text(out, s->user);
	add_text(out, s->context);
	add_text(out, s->contexts);
	add_text(out, s->roles);
	add_text(out, s->user_agent);
	add_text(out, s->exports);
	if (is_apart)
		add_uint(out, 4, strlen(s->data));
	else
		add_text(out, s->data);
}

static void
add_birth(struct buf *out, const struct record_birth *birth)
{
	buf_add(out, birth->event_id, sizeof(birth->event_id));
	add_text(out, birth->host);
	add_text(out, birth->actor);
}

static size_t
text_len(const char *text)
{
	return text == NULL ? 0 : strlen(text);
}

static bool
fits(const struct record_store *store, const struct sgate_session *s)
{
	/* The fields of fixed size are together far below 4 KiB. */
	const size_t max = RECORD_MAX_BYTES - 4096;
	const size_t lens[] = {text_len(s->contexts), text_len(s->roles),
	    text_len(s->exports), text_len(s->data)};
	size_t sum = 0;
	size_t i;

	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		if (lens[i] > max - sum)
			return false;
		sum += lens[i];
	}
	return store->epoch <= EPOCH_MAX && s->version <= VERSION_MAX &&
	       s->last_seen_ms >= 0 && s->last_seen_ms <= LAST_SEEN_MAX;
}

/* What is behind the header, but for seals and data that stands apart. */
static void
add_head(struct buf *out, uint8_t key_id, const struct sgate_session *session,
    const struct record_birth *birth, bool is_apart)
{
	size_t header = out->len - RECORD_BODY_OFFSET;
	unsigned char len[HEAD_LEN_BYTES] = {0};
	size_t i;

	add_uint(out, 1, is_apart ? FORMAT_APART : FORMAT_WHOLE);
	add_uint(out, 1, key_id);
	if (is_apart)
		buf_add(out, len, sizeof(len));
	add_fields(out, session, is_apart);
	if (birth != NULL)
		add_birth(out, birth);
	if (!is_apart || buf_failed(out))
		return;
	for (i = 0; i < sizeof(len); i++)
		len[i] = (unsigned char)((out->len - header) >>
					 8 * (sizeof(len) - 1 - i));
	memcpy(out->data + header + HEAD_LEN_AT, len, sizeof(len));
}

/* birth NULL: 'L'; else 'U'. */
static enum sgate_status
write_live(const struct keys *keys, const struct record_store *store,
    const struct sgate_session *session, const struct record_birth *birth,
    struct buf *out, struct sgate_error *err)
{
	struct sgate_bytes data =
	    bytes_of(session->data == NULL ? "" : session->data);
	unsigned char seal[RECORD_SEAL_BYTES] = {0};
	bool is_apart = data.len > RECORD_DATA_INSIDE;
	uint8_t key_id = keys_signing_id(keys);
	size_t start = out->len;

	error_clear(err);
	if (session->state != SESSION_LIVE ||
	    session->client_ip_len > sizeof(session->client_ip))
		return error_set(err, SGATE_INTERNAL, "record", "write", 0,
		    "only a live session has a record");
	if (!fits(store, session))
		return error_set(err, SGATE_TOO_LARGE, "record", "write", 0,
		    "the session does not fit into a record");
	buf_printf(out, "%c%04u%012" PRIu64 "%013" PRId64,
	    birth != NULL ? 'U' : 'L', store->epoch, session->version,
	    session->last_seen_ms);
	if (!buf_failed(out))
		add_head(out, key_id, session, birth, is_apart);
	if (buf_failed(out))
		return error_memory(err, "write");
	compute_seal(keys, store, &session->ref,
	    (const unsigned char *)out->data + start, out->len - start, seal);
	buf_add(out, seal, sizeof(seal));
	if (is_apart) {
		compute_data_seal(keys, key_id, seal, data, seal);
		buf_add_bytes(out, data);
		buf_add(out, seal, sizeof(seal));
	}
	return buf_failed(out) ? error_memory(err, "write") : SGATE_OK;
}

enum sgate_status
record_write(const struct keys *keys, const struct record_store *store,
    char state, const struct sgate_session *session, struct buf *out,
    struct sgate_error *err)
{
	error_clear(err);
	if (state != 'L')
		return error_set(err, SGATE_INTERNAL, "record", "write", 0,
		    "only a live session has a record");
	return write_live(keys, store, session, NULL, out, err);
}

enum sgate_status
record_write_new(const struct keys *keys, const struct record_store *store,
    const struct sgate_session *session, const struct record_birth *birth,
    struct buf *out, struct sgate_error *err)
{
	return write_live(keys, store, session, birth, out, err);
}

/* ---- reading ---- */

struct reader {
	const unsigned char *at;
	size_t left;
	const char *wrong; /* NULL = nothing yet */
	bool no_memory;
};

/* NULL: less than len is left. */
static const unsigned char *
take(struct reader *in, size_t len)
{
	const unsigned char *at = in->at;

	if (in->wrong != NULL)
		return NULL;
	if (len > in->left) {
		in->wrong = "a field ends behind the record";
		return NULL;
	}
	in->at += len;
	in->left -= len;
	return at;
}

static uint64_t
take_uint(struct reader *in, size_t len)
{
	const unsigned char *at = take(in, len);
	uint64_t value = 0;

	while (at != NULL && len-- > 0)
		value = value << 8 | *at++;
	return value;
}

static void
take_hash(struct reader *in, unsigned char out[TOKEN_HASH_BYTES])
{
	const unsigned char *at = take(in, TOKEN_HASH_BYTES);

	if (at != NULL)
		memcpy(out, at, TOKEN_HASH_BYTES);
}

static struct sgate_bytes
take_bytes(struct reader *in)
{
	size_t len = (size_t)take_uint(in, 4);
	struct sgate_bytes bytes = {(const char *)take(in, len), len};

	return bytes.data == NULL ? bytes_of("") : bytes;
}

static struct sgate_bytes
take_text(struct reader *in)
{
	struct sgate_bytes text = take_bytes(in);

	if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
		in->wrong = "a NUL byte in a text";
	return text;
}

/* Into an array of `size` bytes, with the NUL. */
static void
take_array(struct reader *in, char *out, size_t size)
{
	struct sgate_bytes text = take_text(in);

	if (text.len >= size)
		in->wrong = "a text is too long";
	if (in->wrong != NULL)
		return;
	memcpy(out, text.data, text.len);
	out[text.len] = '\0';
}

static void
take_string(struct reader *in, char **field)
{
	struct sgate_bytes text = take_text(in);

	if (in->wrong == NULL && !session_set(field, text)) {
		in->wrong = "out of memory";
		in->no_memory = true;
	}
}

static void
take_address(struct reader *in, struct sgate_session *s)
{
	struct sgate_bytes address = take_bytes(in);

	if (address.len != 0 && address.len != 4 && address.len != 16)
		in->wrong = "an address of another length";
	if (in->wrong != NULL)
		return;
	memcpy(s->client_ip, address.data, address.len);
	s->client_ip_len = address.len;
}

/* *out_data_len: of data that stands apart. */
static void
take_fields(struct reader *in, struct sgate_session *s, bool is_apart,
    size_t *out_data_len)
{
	uint64_t has_prev;

	s->seq = take_uint(in, 8);
	s->created_ms = (int64_t)take_uint(in, 8);
	s->auth_ms = (int64_t)take_uint(in, 8);
	s->idle_ms = (int64_t)take_uint(in, 8);
	s->absolute_ms = (int64_t)take_uint(in, 8);
	take_hash(in, s->secret_hash);
	has_prev = take_uint(in, 1);
	if (has_prev > 1)
		in->wrong = "a flag that is neither 0 nor 1";
	s->has_prev = has_prev == 1;
	s->successor_used_ms = s->has_prev ? 1 : 0;
	take_hash(in, s->prev_hash);
	s->prev_until_ms = (int64_t)take_uint(in, 8);
	take_address(in, s);
	take_array(in, s->realm, sizeof(s->realm));
	take_array(in, s->user, sizeof(s->user));
	take_array(in, s->context, sizeof(s->context));
	take_string(in, &s->contexts);
	take_string(in, &s->roles);
	take_array(in, s->user_agent, sizeof(s->user_agent));
	take_string(in, &s->exports);
	*out_data_len = 0;
	if (is_apart)
		*out_data_len = (size_t)take_uint(in, 4);
	else
		take_string(in, &s->data);
	if (is_apart && in->wrong == NULL &&
	    *out_data_len <= RECORD_DATA_INSIDE)
		in->wrong = "data that need not stand apart";
}

static void
take_birth(struct reader *in, struct record_birth *birth)
{
	const unsigned char *id = take(in, sizeof(birth->event_id));

	if (id != NULL)
		memcpy(birth->event_id, id, sizeof(birth->event_id));
	take_array(in, birth->host, sizeof(birth->host));
	take_array(in, birth->actor, sizeof(birth->actor));
}

static bool
read_digits(struct sgate_bytes bytes, size_t offset, size_t len, uint64_t *out)
{
	struct sgate_bytes digits = {bytes.data + offset, len};

	return bytes_to_uint(digits, UINT64_MAX, out);
}

/* Where the parts of a record are. */
struct layout {
	bool is_apart;
	size_t fields_at;
	size_t head_len; /* up to its seal */
};

/* NULL, or why this can be none of our records. */
static const char *
find_parts(struct sgate_bytes bytes, struct layout *out)
{
	const unsigned char *record = (const unsigned char *)bytes.data;
	size_t i;

	if (bytes.len < FIELDS_AT + RECORD_SEAL_BYTES)
		return "too short";
	if (bytes.len > RECORD_MAX_BYTES)
		return "too long";
	if (record_is_newer(bytes))
		return "of a newer format: a newer version of sessgate has "
		       "written it";
	out->is_apart = record[FORMAT_AT] == FORMAT_APART;
	out->fields_at = out->is_apart ? APART_FIELDS_AT : FIELDS_AT;
	out->head_len = bytes.len - RECORD_SEAL_BYTES;
	if (!out->is_apart)
		return NULL;
	out->head_len = 0;
	for (i = 0; i < HEAD_LEN_BYTES; i++)
		out->head_len = out->head_len << 8 | record[HEAD_LEN_AT + i];
	if (out->head_len < APART_FIELDS_AT ||
	    out->head_len > bytes.len - RECORD_SEAL_BYTES)
		return "a head that ends behind the record";
	return NULL;
}

/* NULL, or why this is not one of our records, as far as its head goes. */
static const char *
check_seal(const struct keys *keys, const struct record_store *store,
    const struct sgate_ref *ref, struct sgate_bytes bytes,
    struct layout *out_parts)
{
	const unsigned char *record = (const unsigned char *)bytes.data;
	const char *wrong = find_parts(bytes, out_parts);
	unsigned char seal[RECORD_SEAL_BYTES];

	if (wrong != NULL)
		return wrong;
	if (!compute_seal(keys, store, ref, record, out_parts->head_len, seal))
		return "sealed with a key that is not there";
	if (sodium_memcmp(
		seal, record + out_parts->head_len, RECORD_SEAL_BYTES) != 0)
		return "wrong seal";
	return record[FORMAT_AT] == FORMAT_WHOLE ||
		       record[FORMAT_AT] == FORMAT_APART
		   ? NULL
		   : "another format";
}

/* Data that stands apart, behind a head that was read. */
static void
take_data(struct reader *in, const struct keys *keys, struct sgate_bytes bytes,
    const struct layout *parts, size_t data_len, struct sgate_session *s)
{
	const unsigned char *record = (const unsigned char *)bytes.data;
	const unsigned char *head_seal = record + parts->head_len;
	size_t at = parts->head_len + RECORD_SEAL_BYTES;
	struct sgate_bytes data = {bytes.data + at, data_len};
	unsigned char seal[RECORD_SEAL_BYTES];

	if (in->wrong != NULL)
		return;
	if (bytes.len - at < RECORD_SEAL_BYTES ||
	    bytes.len - at - RECORD_SEAL_BYTES != data_len)
		in->wrong = "data of another length";
	else if (!compute_data_seal(
		     keys, record[KEY_ID_AT], head_seal, data, seal) ||
		 sodium_memcmp(
		     seal, record + at + data_len, RECORD_SEAL_BYTES) != 0)
		in->wrong = "wrong seal of the data";
	else if (memchr(data.data, '\0', data.len) != NULL)
		in->wrong = "a NUL byte in a text";
	else if (!session_set(&s->data, data)) {
		in->wrong = "out of memory";
		in->no_memory = true;
	}
}

static const char *
read_header(const struct record_store *store, struct sgate_bytes bytes,
    struct sgate_session *s)
{
	uint64_t epoch, last_seen;

	if (bytes.data[0] != 'L' && bytes.data[0] != 'U')
		return "not the state of a live session";
	if (!read_digits(bytes, RECORD_VERSION_OFFSET, EPOCH_DIGITS, &epoch) ||
	    !read_digits(bytes, RECORD_VERSION_OFFSET + EPOCH_DIGITS,
		VERSION_DIGITS, &s->version) ||
	    !read_digits(
		bytes, RECORD_LAST_SEEN_OFFSET, LAST_SEEN_DIGITS, &last_seen))
		return "a header that is not digits";
	if (epoch != store->epoch)
		return "of another epoch";
	s->last_seen_ms = (int64_t)last_seen;
	return NULL;
}

bool
record_is_newer(struct sgate_bytes bytes)
{
	return bytes.len > FORMAT_AT && bytes.data[0] != 'T' &&
	       (unsigned char)bytes.data[FORMAT_AT] > FORMAT_APART;
}

bool
record_epoch(struct sgate_bytes bytes, unsigned *out_epoch)
{
	uint64_t epoch = 0;
	bool is_there =
	    bytes.len >= RECORD_LAST_SEEN_OFFSET &&
	    read_digits(bytes, RECORD_VERSION_OFFSET, EPOCH_DIGITS, &epoch);

	*out_epoch = (unsigned)epoch;
	return is_there;
}

static enum sgate_status
error_corrupt(
    struct sgate_error *err, const struct sgate_ref *ref, const char *wrong)
{
	char text[SGATE_REF_HEX + 1];

	sgate_ref_text(ref, text);
	return error_set(err, SGATE_CORRUPT, "record", "read", 0,
	    "the copy of session %s: %s", text, wrong);
}

/* is_head: of data that stands apart nothing is read, nor need be there. */
static enum sgate_status
read_live(const struct keys *keys, const struct record_store *store,
    const struct sgate_ref *ref, struct sgate_bytes bytes, bool is_head,
    struct sgate_session **out_session, struct record_birth *out_birth,
    struct sgate_error *err)
{
	struct reader in = {NULL, 0, NULL, false};
	struct layout parts = {.is_apart = false};
	struct sgate_session *s;
	size_t data_len;

	memset(out_birth, 0, sizeof(*out_birth));
	*out_session = NULL;
	error_clear(err);
	in.wrong = check_seal(keys, store, ref, bytes, &parts);
	if (in.wrong != NULL)
		return error_corrupt(err, ref, in.wrong);
	s = session_new();
	if (s == NULL)
		return error_memory(err, "read");
	in.at = (const unsigned char *)bytes.data + parts.fields_at;
	in.left = parts.head_len - parts.fields_at;
	in.wrong = read_header(store, bytes, s);
	take_fields(&in, s, parts.is_apart, &data_len);
	if (bytes.data[0] == 'U')
		take_birth(&in, out_birth);
	if (in.wrong == NULL && in.left > 0)
		in.wrong = "bytes behind the last field";
	if (parts.is_apart && !is_head)
		take_data(&in, keys, bytes, &parts, data_len, s);
	if (in.wrong != NULL) {
		sgate_session_free(s);
		return in.no_memory ? error_memory(err, "read")
				    : error_corrupt(err, ref, in.wrong);
	}
	s->ref = *ref;
	s->state = SESSION_LIVE;
	*out_session = s;
	return SGATE_OK;
}

enum sgate_status
record_read(const struct keys *keys, const struct record_store *store,
    const struct sgate_ref *ref, struct sgate_bytes bytes, char *out_state,
    struct sgate_session **out_session, struct sgate_error *err)
{
	struct record_birth ignored;
	enum sgate_status status;

	*out_state = '\0';
	status = read_live(
	    keys, store, ref, bytes, false, out_session, &ignored, err);
	if (status == SGATE_OK)
		*out_state = bytes.data[0];
	return status;
}

enum sgate_status
record_read_new(const struct keys *keys, const struct record_store *store,
    const struct sgate_ref *ref, struct sgate_bytes bytes,
    struct sgate_session **out_session, struct record_birth *out_birth,
    struct sgate_error *err)
{
	enum sgate_status status;

	status = read_live(
	    keys, store, ref, bytes, false, out_session, out_birth, err);
	if (status != SGATE_OK || bytes.data[0] == 'U')
		return status;
	sgate_session_free(*out_session);
	*out_session = NULL;
	return error_corrupt(err, ref, "not of a session without a row");
}

/* ---- heads ---- */

bool
record_has_head(struct sgate_bytes bytes)
{
	struct layout parts;

	return find_parts(bytes, &parts) == NULL && parts.is_apart &&
	       parts.head_len + RECORD_SEAL_BYTES <= RECORD_PEEK_BYTES;
}

enum sgate_status
record_read_head(const struct keys *keys, const struct record_store *store,
    const struct sgate_ref *ref, struct sgate_bytes bytes,
    struct sgate_session **out_session, struct sgate_error *err)
{
	struct record_birth ignored;

	*out_session = NULL;
	if (bytes.len == 0 || bytes.data[0] != 'L' || !record_has_head(bytes))
		return error_corrupt(err, ref, "it has to be read whole");
	return read_live(
	    keys, store, ref, bytes, true, out_session, &ignored, err);
}

/* ---- tombstones ---- */

static bool
is_end_reason(uint64_t reason)
{
	return reason >= SGATE_REASON_EXPIRED_IDLE &&
	       reason <= SGATE_REASON_BINDING;
}

uint64_t
record_realm(const char *realm)
{
	return crc32c(0, realm, strlen(realm)) % REALM_MAX + 1;
}

void
record_tombstone_of(
    const struct sgate_session *session, struct record_tombstone *out)
{
	out->version = session->version;
	out->reason = session->end_reason;
	out->realm = record_realm(session->realm);
}

void
record_tombstone_write(const struct record_store *store,
    const struct record_tombstone *tombstone, struct buf *out)
{
	enum sgate_reason reason = tombstone->reason;
	uint64_t version = tombstone->version;

	if (!is_end_reason(reason))
		reason = SGATE_REASON_REVOKED;
	buf_printf(out, "T%04u%012" PRIu64 "%02u%08" PRIu64,
	    store->epoch < EPOCH_MAX ? store->epoch : EPOCH_MAX,
	    version < VERSION_MAX ? version : VERSION_MAX, (unsigned)reason,
	    tombstone->realm);
}

bool
record_tombstone_read(struct sgate_bytes bytes, struct record_tombstone *out)
{
	uint64_t epoch, version, reason, realm;

	memset(out, 0, sizeof(*out));
	if (bytes.len != RECORD_TOMBSTONE_BYTES || bytes.data[0] != 'T' ||
	    !read_digits(bytes, RECORD_VERSION_OFFSET, EPOCH_DIGITS, &epoch) ||
	    !read_digits(bytes, RECORD_VERSION_OFFSET + EPOCH_DIGITS,
		VERSION_DIGITS, &version) ||
	    !read_digits(
		bytes, RECORD_LAST_SEEN_OFFSET, REASON_DIGITS, &reason) ||
	    !read_digits(bytes, REALM_AT, REALM_DIGITS, &realm))
		return false;
	out->version = version;
	out->reason = is_end_reason(reason) ? (enum sgate_reason)reason
					    : SGATE_REASON_REVOKED;
	out->realm = realm;
	return true;
}
