/*
 * Tokens and everything else that is computed from the keys.
 *
 * Several fields that go into one hash are each preceded by their length (four
 * bytes), unless all but the last have a fixed length: "ab" + "c" and "a" +
 * "bc" must not be the same input.
 */
#include "config.h"

#include "token.h"

#include "buf.h"
#include "failpoint.h"
#include "status.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define TAG_BYTES crypto_shorthash_BYTES
#define TAGGED_BYTES (TOKEN_BYTES - TAG_BYTES)
#define KEY_ID_AT 0
#define REF_AT 1
#define SECRET_AT (REF_AT + SGATE_REF_BYTES)
#define REF_CREATED_AT 1
#define REF_FINE_AT 5
#define REALM_MAX 64
#define CSRF_MAC_BYTES 16
#define CSRF_BYTES (1 + CSRF_MAC_BYTES)
#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING

static void
put_uint(unsigned char *out, size_t len, uint64_t value)
{
	while (len > 0) {
		out[--len] = (unsigned char)(value & 0xff);
		value >>= 8;
	}
}

void
token_random(void *out, size_t len)
{
	/* Fails only where the kernel has no random numbers; aborts there. */
	if (sodium_init() < 0)
		abort();
	randombytes_buf(out, len);
}

/* ---- the token itself ---- */

/*
 * Ten bits of milliseconds stand behind the seconds: within its group a new ref
 * is then behind those before it, and stores whose index goes by the ref fill
 * its pages. For the same reason the first byte is no more than the group: 16
 * places where an index grows, each with one page that is not full yet. 46 bits
 * are left that make a ref the only one.
 */
static void
put_milliseconds(struct sgate_ref *ref, int64_t now_ms)
{
	unsigned char *at = ref->bytes + REF_FINE_AT;

	put_uint(at, 2, (uint64_t)(now_ms % 1000) << 6 | (at[1] & 0x3f));
}

enum sgate_status
token_make(uint8_t key_id, uint8_t group, int64_t now_ms, struct token *out,
    struct sgate_error *err)
{
	memset(out, 0, sizeof(*out));
	if (now_ms < 0 || now_ms / 1000 > UINT32_MAX)
		return error_set(err, SGATE_INTERNAL, "token", "make", 0,
		    "the clock is not between 1970 and 2106");
	out->key_id = key_id;
	out->ref.bytes[TOKEN_REF_GROUP_AT] = group % TOKEN_GROUPS;
	put_uint(out->ref.bytes + REF_CREATED_AT, 4, (uint64_t)now_ms / 1000);
	token_random(
	    out->ref.bytes + REF_FINE_AT, SGATE_REF_BYTES - REF_FINE_AT);
	put_milliseconds(&out->ref, now_ms);
	token_random(out->secret, sizeof(out->secret));
	return SGATE_OK;
}

/*
 * False: there is no such key, or no realm can be that long. The realm is
 * written behind the tagged bytes, over whatever is there.
 */
static bool
compute_tag(const struct keys *keys, struct sgate_bytes realm,
    unsigned char bytes[TAGGED_BYTES + REALM_MAX], unsigned char out[TAG_BYTES])
{
	const unsigned char *key =
	    keys_subkey(keys, bytes[KEY_ID_AT], KEYS_TAG);

	if (key == NULL || realm.len > REALM_MAX)
		return false;
	if (realm.len > 0)
		memcpy(bytes + TAGGED_BYTES, realm.data, realm.len);
	crypto_shorthash(out, bytes, TAGGED_BYTES + realm.len, key);
	return true;
}

bool
token_write(const struct keys *keys, struct sgate_bytes realm,
    const struct token *token, char out[SGATE_TOKEN_LEN + 1])
{
	unsigned char bytes[TAGGED_BYTES + REALM_MAX], tag[TAG_BYTES];
	bool is_ok;

	out[0] = '\0';
	bytes[KEY_ID_AT] = token->key_id;
	memcpy(bytes + REF_AT, token->ref.bytes, SGATE_REF_BYTES);
	memcpy(bytes + SECRET_AT, token->secret, TOKEN_SECRET_BYTES);
	is_ok = compute_tag(keys, realm, bytes, tag);
	if (is_ok) {
		memcpy(bytes + TAGGED_BYTES, tag, TAG_BYTES);
		sodium_bin2base64(
		    out, SGATE_TOKEN_LEN + 1, bytes, TOKEN_BYTES, BASE64);
	}
	sodium_memzero(bytes, sizeof(bytes));
	return is_ok;
}

/* Sixteen characters, or what they stand for; signed ones can be compared in
 * one instruction, and the others go round without an overflow. */
typedef signed char chars __attribute__((vector_size(16)));
typedef unsigned char octets __attribute__((vector_size(16)));

/*
 * One more than what each character of base64url stands for; 0: it is none. No
 * branch and no look-up goes by the characters, which may be secret.
 */
static inline chars
char_values(chars c)
{
	/* There is an instruction for > and none for >=. */
	chars upper = (c > 'A' - 1) & (c < 'Z' + 1);
	chars lower = (c > 'a' - 1) & (c < 'z' + 1);
	chars digit = (c > '0' - 1) & (c < '9' + 1);

	octets u = (octets)c;

	return (upper & (chars)(u - ('A' - 1))) |
	       (lower & (chars)(u - ('a' - 27))) |
	       (digit & (chars)(u + (53 - '0'))) | ((c == '-') & 63) |
	       ((c == '_') & 64);
}

/* What of a token lies about while it is read: wiped at once. */
struct reading {
	unsigned char text[64];
	/* Decoded, as far as 64 characters go; then the realm. */
	unsigned char bytes[TAGGED_BYTES + REALM_MAX];
	unsigned char tag[TAG_BYTES], computed[TAG_BYTES];
};
_Static_assert(TAGGED_BYTES + REALM_MAX >= 64 / 4 * 3 + 2, "room to decode to");

typedef uint64_t lanes __attribute__((vector_size(16)));

/*
 * Sixteen six-bit values, one a byte, to two words of 48 bits, the first value
 * in the highest ones: two values become one, then two of these, and so on.
 */
static inline lanes
join(chars values)
{
	const lanes twos = {
	    UINT64_C(0x003f003f003f003f), UINT64_C(0x003f003f003f003f)};
	const lanes fours = {
	    UINT64_C(0x00000fff00000fff), UINT64_C(0x00000fff00000fff)};
	const lanes eights = {
	    UINT64_C(0x0000000000ffffff), UINT64_C(0x0000000000ffffff)};
	lanes w;

	memcpy(&w, &values, sizeof(w));
#if __BYTE_ORDER == __BIG_ENDIAN
	w = (lanes){htole64(w[0]), htole64(w[1])};
#endif
	w = (w & twos) << 6 | (w >> 8 & twos);
	w = (w & fours) << 12 | (w >> 16 & fours);
	return (w & eights) << 24 | (w >> 32 & eights);
}

/* 48 bits as six bytes, and two of zero. */
static inline void
put_six(uint64_t bits, unsigned char *out)
{
	bits = htobe64(bits << 16);
	memcpy(out, &bits, sizeof(bits));
}

/*
 * Each token has one spelling: other alphabets, padding, and a last character
 * whose unused bits are not 0 are refused. sodium_base642bin() would do, but
 * takes five times as many instructions as all else that a check needs of a
 * token. What is behind the text counts as 'A'. len: bytes, fewer than 48.
 */
static bool
decode(struct sgate_bytes text, struct reading *r, size_t len)
{
	chars values, bad = {0};
	uint64_t wrong[2];
	lanes bits;
	size_t i;

	if (len >= 48 || text.len != (len * 8 + 5) / 6)
		return false;
	memset(r->text, 'A', sizeof(r->text));
	memcpy(r->text, text.data, text.len);
	for (i = 0; i < sizeof(r->text); i += sizeof(values)) {
		memcpy(&values, r->text + i, sizeof(values));
		values = char_values(values);
		bad |= values == 0;
		bits = join((chars)((octets)values - 1));
		put_six(bits[0], r->bytes + i / 8 * 6);
		put_six(bits[1], r->bytes + i / 8 * 6 + 6);
	}
	memcpy(wrong, &bad, sizeof(wrong));
	return (wrong[0] | wrong[1] | r->bytes[len]) == 0;
}

/* In as many instructions whatever is in them. */
static bool
is_same_tag(const unsigned char *a, const unsigned char *b)
{
	uint64_t words[2];

	_Static_assert(sizeof(words[0]) == TAG_BYTES, "one word");
	memcpy(&words[0], a, sizeof(words[0]));
	memcpy(&words[1], b, sizeof(words[1]));
	return (words[0] ^ words[1]) == 0;
}

enum sgate_reason
token_read(const struct keys *keys, struct sgate_bytes realm,
    struct sgate_bytes text, struct token *out)
{
	enum sgate_reason reason = SGATE_REASON_OK;
	struct reading r BUF_NO_ZEROS;

	memset(out, 0, sizeof(*out));
	if (text.len != SGATE_TOKEN_LEN)
		return SGATE_REASON_MALFORMED;
	if (!decode(text, &r, TOKEN_BYTES)) {
		sodium_memzero(&r, sizeof(r));
		return SGATE_REASON_MALFORMED;
	}
	memcpy(r.tag, r.bytes + TAGGED_BYTES, TAG_BYTES);
	if (!compute_tag(keys, realm, r.bytes, r.computed) ||
	    (!is_same_tag(r.tag, r.computed) && !failpoint_is_off("tag"))) {
		reason = SGATE_REASON_BAD_TAG;
	} else {
		out->key_id = r.bytes[KEY_ID_AT];
		memcpy(out->ref.bytes, r.bytes + REF_AT, SGATE_REF_BYTES);
		memcpy(out->secret, r.bytes + SECRET_AT, TOKEN_SECRET_BYTES);
	}
	sodium_memzero(&r, sizeof(r));
	return reason;
}

/*
 * In the first 32 characters. The secret begins behind it, of which nothing is
 * decoded: of the third six bytes the first one alone.
 */
bool
token_peek_ref(struct sgate_bytes text, struct sgate_ref *out)
{
	unsigned char bytes[18 + 2] BUF_NO_ZEROS;
	chars values;
	lanes bits;

	_Static_assert(32 <= SGATE_TOKEN_LEN && REF_AT + SGATE_REF_BYTES == 13,
	    "thirteen bytes have the ref");
	if (text.len != SGATE_TOKEN_LEN)
		return false;
	memcpy(&values, text.data, sizeof(values));
	bits = join((chars)((octets)char_values(values) - 1));
	put_six(bits[0], bytes);
	put_six(bits[1], bytes + 6);
	memcpy(&values, text.data + 16, sizeof(values));
	bits = join((chars)((octets)char_values(values) - 1));
	put_six(bits[0] & UINT64_C(0xff) << 40, bytes + 12);
	memcpy(out->bytes, bytes + REF_AT, SGATE_REF_BYTES);
	return true;
}

void
token_wipe(struct token *token)
{
	if (token != NULL)
		sodium_memzero(token, sizeof(*token));
}

void
sgate_token_free(char *token)
{
	if (token == NULL)
		return;
	sodium_memzero(token, strlen(token));
	free(token);
}

/* ---- secrets ---- */

void
token_hash(const unsigned char secret[TOKEN_SECRET_BYTES],
    unsigned char out[TOKEN_HASH_BYTES])
{
	crypto_hash_sha256(out, secret, TOKEN_SECRET_BYTES);
}

void
token_successor(const struct keys *keys, const struct sgate_ref *ref,
    const unsigned char secret[TOKEN_SECRET_BYTES],
    unsigned char out[TOKEN_SECRET_BYTES])
{
	unsigned char message[SGATE_REF_BYTES + TOKEN_SECRET_BYTES];

	memcpy(message, ref->bytes, SGATE_REF_BYTES);
	memcpy(message + SGATE_REF_BYTES, secret, TOKEN_SECRET_BYTES);
	crypto_generichash(out, TOKEN_SECRET_BYTES, message, sizeof(message),
	    keys_subkey(keys, 0, KEYS_CHAIN), crypto_generichash_KEYBYTES);
	sodium_memzero(message, sizeof(message));
}

/* ---- names made of several fields ---- */

static void
hash_fields(const unsigned char *key, const struct sgate_bytes *fields,
    size_t count, unsigned char out[32])
{
	crypto_generichash_state state;
	unsigned char len[4];
	size_t i;

	crypto_generichash_init(&state, key, crypto_generichash_KEYBYTES, 32);
	for (i = 0; i < count; i++) {
		put_uint(len, sizeof(len), fields[i].len);
		crypto_generichash_update(&state, len, sizeof(len));
		crypto_generichash_update(&state,
		    (const unsigned char *)fields[i].data, fields[i].len);
	}
	crypto_generichash_final(&state, out, 32);
	sodium_memzero(&state, sizeof(state));
}

uint8_t
token_user_group(
    const struct keys *keys, struct sgate_bytes realm, struct sgate_bytes user)
{
	const struct sgate_bytes fields[] = {realm, user};
	unsigned char hash[32];

	hash_fields(keys_subkey(keys, 0, KEYS_GROUP), fields, 2, hash);
	return hash[0];
}

void
token_user_hash(const struct keys *keys, struct sgate_bytes realm,
    struct sgate_bytes user, unsigned char out[TOKEN_USER_BYTES])
{
	const struct sgate_bytes fields[] = {realm, user};
	unsigned char hash[32];

	hash_fields(keys_subkey(keys, 0, KEYS_USER), fields, 2, hash);
	memcpy(out, hash, TOKEN_USER_BYTES);
}

int64_t
token_ref_created_ms(const struct sgate_ref *ref)
{
	uint32_t seconds = 0;
	size_t i;

	for (i = REF_CREATED_AT; i < REF_FINE_AT; i++)
		seconds = seconds << 8 | ref->bytes[i];
	return (int64_t)seconds * 1000;
}

void
token_idempotency_id(const struct keys *keys, struct sgate_bytes realm,
    struct sgate_bytes actor, struct sgate_bytes key, unsigned char out[32])
{
	const struct sgate_bytes fields[] = {realm, actor, key};

	hash_fields(keys_subkey(keys, 0, KEYS_IDEMPOTENCY_ID), fields, 3, out);
}

bool
token_idempotency_secret(const struct keys *keys, uint8_t key_id,
    const unsigned char id[32], const unsigned char nonce[16],
    unsigned char out[TOKEN_SECRET_BYTES])
{
	const unsigned char *key = keys_subkey(keys, key_id, KEYS_IDEMPOTENCY);
	unsigned char message[32 + 16];

	memset(out, 0, TOKEN_SECRET_BYTES);
	if (key == NULL)
		return false;
	memcpy(message, id, 32);
	memcpy(message + 32, nonce, 16);
	crypto_generichash(out, TOKEN_SECRET_BYTES, message, sizeof(message),
	    key, crypto_generichash_KEYBYTES);
	return true;
}

/* ---- CSRF tokens ---- */

static bool
csrf_mac(const struct keys *keys, uint8_t key_id, const struct sgate_ref *ref,
    int64_t day, unsigned char out[CSRF_MAC_BYTES])
{
	const unsigned char *key = keys_subkey(keys, key_id, KEYS_CSRF);
	unsigned char message[SGATE_REF_BYTES + 8];

	if (key == NULL)
		return false;
	memcpy(message, ref->bytes, SGATE_REF_BYTES);
	put_uint(message + SGATE_REF_BYTES, 8, (uint64_t)day);
	crypto_generichash(out, CSRF_MAC_BYTES, message, sizeof(message), key,
	    crypto_generichash_KEYBYTES);
	return true;
}

bool
token_csrf_write(const struct keys *keys, const struct sgate_ref *ref,
    int64_t now_ms, char out[TOKEN_CSRF_LEN + 1])
{
	unsigned char bytes[CSRF_BYTES];

	out[0] = '\0';
	bytes[0] = keys_signing_id(keys);
	if (!csrf_mac(
		keys, bytes[0], ref, now_ms / TOKEN_CSRF_DAY_MS, bytes + 1))
		return false;
	sodium_bin2base64(
	    out, TOKEN_CSRF_LEN + 1, bytes, sizeof(bytes), BASE64);
	sodium_memzero(bytes, sizeof(bytes));
	return true;
}

bool
token_csrf_check(const struct keys *keys, const struct sgate_ref *ref,
    int64_t now_ms, struct sgate_bytes text)
{
	int64_t day = now_ms / TOKEN_CSRF_DAY_MS;
	unsigned char today[CSRF_MAC_BYTES], yesterday[CSRF_MAC_BYTES];
	bool is_today, is_yesterday;
	struct reading r;

	if (text.len != TOKEN_CSRF_LEN || !decode(text, &r, CSRF_BYTES) ||
	    !csrf_mac(keys, r.bytes[0], ref, day, today) ||
	    !csrf_mac(keys, r.bytes[0], ref, day - 1, yesterday))
		return false;
	is_today = sodium_memcmp(r.bytes + 1, today, sizeof(today)) == 0;
	is_yesterday =
	    sodium_memcmp(r.bytes + 1, yesterday, sizeof(yesterday)) == 0;
	sodium_memzero(&r, sizeof(r));
	sodium_memzero(today, sizeof(today));
	sodium_memzero(yesterday, sizeof(yesterday));
	return is_today || is_yesterday;
}
