/*
 * Tokens and everything else that is computed from the keys.
 *
 * Several fields that go into one hash are each preceded by their length (four
 * bytes), unless all but the last have a fixed length: "ab" + "c" and "a" +
 * "bc" must not be the same input.
 */
#include "config.h"

#include "token.h"

#include "failpoint.h"
#include "status.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define TAG_BYTES crypto_shorthash_BYTES
#define TAGGED_BYTES (TOKEN_BYTES - TAG_BYTES)
#define KEY_ID_AT 0
#define REF_AT 1
#define SECRET_AT (REF_AT + SGATE_REF_BYTES)
#define REF_GROUP_AT 0
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
	out->ref.bytes[REF_GROUP_AT] = group % TOKEN_GROUPS;
	put_uint(out->ref.bytes + REF_CREATED_AT, 4, (uint64_t)now_ms / 1000);
	token_random(
	    out->ref.bytes + REF_FINE_AT, SGATE_REF_BYTES - REF_FINE_AT);
	put_milliseconds(&out->ref, now_ms);
	token_random(out->secret, sizeof(out->secret));
	return SGATE_OK;
}

/* False: there is no such key, or no realm can be that long. */
static bool
compute_tag(const struct keys *keys, struct sgate_bytes realm,
    const unsigned char bytes[TAGGED_BYTES], unsigned char out[TAG_BYTES])
{
	unsigned char message[TAGGED_BYTES + REALM_MAX];
	const unsigned char *key =
	    keys_subkey(keys, bytes[KEY_ID_AT], KEYS_TAG);

	if (key == NULL || realm.len > REALM_MAX)
		return false;
	memcpy(message, bytes, TAGGED_BYTES);
	if (realm.len > 0)
		memcpy(message + TAGGED_BYTES, realm.data, realm.len);
	crypto_shorthash(out, message, TAGGED_BYTES + realm.len, key);
	sodium_memzero(message, TAGGED_BYTES);
	return true;
}

bool
token_write(const struct keys *keys, struct sgate_bytes realm,
    const struct token *token, char out[SGATE_TOKEN_LEN + 1])
{
	unsigned char bytes[TOKEN_BYTES];
	bool is_ok;

	out[0] = '\0';
	bytes[KEY_ID_AT] = token->key_id;
	memcpy(bytes + REF_AT, token->ref.bytes, SGATE_REF_BYTES);
	memcpy(bytes + SECRET_AT, token->secret, TOKEN_SECRET_BYTES);
	is_ok = compute_tag(keys, realm, bytes, bytes + TAGGED_BYTES);
	if (is_ok)
		sodium_bin2base64(
		    out, SGATE_TOKEN_LEN + 1, bytes, TOKEN_BYTES, BASE64);
	sodium_memzero(bytes, sizeof(bytes));
	return is_ok;
}

/*
 * One more than what a character of base64url stands for; 0: it is none. No
 * branch and no look-up goes by the character, which may be secret.
 */
static unsigned char
char_value(unsigned char c)
{
	unsigned char upper = (unsigned char)-(c >= 'A' && c <= 'Z');
	unsigned char lower = (unsigned char)-(c >= 'a' && c <= 'z');
	unsigned char digit = (unsigned char)-(c >= '0' && c <= '9');
	unsigned char minus = (unsigned char)-(c == '-');
	unsigned char line = (unsigned char)-(c == '_');

	return (unsigned char)((upper & (c - 'A' + 1)) |
			       (lower & (c - 'a' + 27)) |
			       (digit & (c - '0' + 53)) | (minus & 63) |
			       (line & 64));
}

/*
 * Each token has one spelling: other alphabets, padding, and a last character
 * whose unused bits are not 0 are refused. sodium_base642bin() would do, but
 * takes five times as many instructions as all else that a check needs of a
 * token. 64 characters at once, what is behind the text as if it were 'A', so
 * that the compiler can use vectors.
 */
static bool
decode(struct sgate_bytes text, unsigned char *out, size_t len)
{
	unsigned char values[64], bytes[48];
	unsigned char is_bad = 0;
	size_t i;

	if (len >= sizeof(bytes) || text.len != (len * 8 + 5) / 6)
		return false;
	memset(values, 'A', sizeof(values));
	memcpy(values, text.data, text.len);
	for (i = 0; i < sizeof(values); i++)
		values[i] = char_value(values[i]);
	for (i = 0; i < sizeof(values); i++)
		is_bad |= (unsigned char)(values[i] == 0);
	for (i = 0; i < sizeof(values); i++)
		values[i]--;
	for (i = 0; i < sizeof(bytes) / 3; i++) {
		const unsigned char *v = values + 4 * i;

		bytes[3 * i] = (unsigned char)(v[0] << 2 | v[1] >> 4);
		bytes[3 * i + 1] = (unsigned char)(v[1] << 4 | v[2] >> 2);
		bytes[3 * i + 2] = (unsigned char)(v[2] << 6 | v[3]);
	}
	is_bad |= bytes[len];
	memcpy(out, bytes, len);
	sodium_memzero(values, sizeof(values));
	sodium_memzero(bytes, sizeof(bytes));
	return is_bad == 0;
}

enum sgate_reason
token_read(const struct keys *keys, struct sgate_bytes realm,
    struct sgate_bytes text, struct token *out)
{
	enum sgate_reason reason = SGATE_REASON_OK;
	unsigned char bytes[TOKEN_BYTES];
	unsigned char tag[TAG_BYTES];

	memset(out, 0, sizeof(*out));
	if (text.len != SGATE_TOKEN_LEN)
		return SGATE_REASON_MALFORMED;
	if (!decode(text, bytes, TOKEN_BYTES)) {
		reason = SGATE_REASON_MALFORMED;
	} else if (!compute_tag(keys, realm, bytes, tag) ||
		   (sodium_memcmp(tag, bytes + TAGGED_BYTES, TAG_BYTES) != 0 &&
		       !failpoint_is_off("tag"))) {
		reason = SGATE_REASON_BAD_TAG;
	} else {
		out->key_id = bytes[KEY_ID_AT];
		memcpy(out->ref.bytes, bytes + REF_AT, SGATE_REF_BYTES);
		memcpy(out->secret, bytes + SECRET_AT, TOKEN_SECRET_BYTES);
	}
	sodium_memzero(tag, sizeof(tag));
	sodium_memzero(bytes, sizeof(bytes));
	return reason;
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

unsigned
token_ref_group(const struct sgate_ref *ref)
{
	return ref->bytes[REF_GROUP_AT] % TOKEN_GROUPS;
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
	unsigned char bytes[CSRF_BYTES];
	unsigned char today[CSRF_MAC_BYTES], yesterday[CSRF_MAC_BYTES];
	bool is_today, is_yesterday;

	if (text.len != TOKEN_CSRF_LEN || !decode(text, bytes, sizeof(bytes)) ||
	    !csrf_mac(keys, bytes[0], ref, day, today) ||
	    !csrf_mac(keys, bytes[0], ref, day - 1, yesterday))
		return false;
	is_today = sodium_memcmp(bytes + 1, today, sizeof(today)) == 0;
	is_yesterday =
	    sodium_memcmp(bytes + 1, yesterday, sizeof(yesterday)) == 0;
	sodium_memzero(bytes, sizeof(bytes));
	sodium_memzero(today, sizeof(today));
	sodium_memzero(yesterday, sizeof(yesterday));
	return is_today || is_yesterday;
}
