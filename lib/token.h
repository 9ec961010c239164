/*
 * Tokens: what the cookie holds, and what is computed from it. No I/O here.
 *
 * 37 bytes, big-endian: key id 1, ref 12 (group 1, created seconds 4 and
 * milliseconds 10 bits, random 46 bits), secret 16, tag 8; as 50 characters of
 * base64url without padding. In older refs the first byte mod 16 is the group,
 * and all behind the seconds is random.
 * tag = SipHash-2-4 (crypto_shorthash) over the 29 bytes before it and the
 * realm, under KEYS_TAG of the key id. A wrong tag is refused with no I/O.
 */
#ifndef SESSGATE_TOKEN_H
#define SESSGATE_TOKEN_H

#include <stdbool.h>

#include "keys.h"
#include "sessgate.h"

#define TOKEN_BYTES 37
#define TOKEN_SECRET_BYTES 16
#define TOKEN_HASH_BYTES 32
#define TOKEN_GROUPS 16

struct token {
	uint8_t key_id;
	struct sgate_ref ref;
	unsigned char secret[TOKEN_SECRET_BYTES];
};

/* Random ref and secret, of the group mod 16. SGATE_OK or INTERNAL. */
SGATE_MUST_CHECK enum sgate_status token_make(uint8_t key_id, uint8_t group,
    int64_t now_ms, struct token *out, struct sgate_error *err);
/* out: 50 characters and a NUL. False: no such key. */
bool token_write(const struct keys *keys, struct sgate_bytes realm,
    const struct token *token, char out[SGATE_TOKEN_LEN + 1]);
/*
 * SGATE_REASON_OK, MALFORMED (length, alphabet, non-canonical last character)
 * or BAD_TAG (also: key id not known). Constant time in the tag.
 */
SGATE_MUST_CHECK enum sgate_reason token_read(const struct keys *keys,
    struct sgate_bytes realm, struct sgate_bytes text, struct token *out);
void token_wipe(struct token *token);
/*
 * The ref that is written in a text, whatever else stands there: nothing is
 * checked but the length. For who then goes by the whole text: the local cache,
 * which knows texts that token_read() has found good.
 */
SGATE_MUST_CHECK bool token_peek_ref(
    struct sgate_bytes text, struct sgate_ref *out);

/* SHA-256 of the secret: what stores hold. */
void token_hash(const unsigned char secret[TOKEN_SECRET_BYTES],
    unsigned char out[TOKEN_HASH_BYTES]);
/* The secret after a rotation: keyed hash of ref and secret (KEYS_CHAIN). */
void token_successor(const struct keys *keys, const struct sgate_ref *ref,
    const unsigned char secret[TOKEN_SECRET_BYTES],
    unsigned char out[TOKEN_SECRET_BYTES]);
/* The group byte of a user's sessions (KEYS_GROUP over realm and user). */
uint8_t token_user_group(
    const struct keys *keys, struct sgate_bytes realm, struct sgate_bytes user);
/* A user's name in keys of the cache, which is to tell nobody who he is
 * (KEYS_USER over realm and user). */
#define TOKEN_USER_BYTES 16
void token_user_hash(const struct keys *keys, struct sgate_bytes realm,
    struct sgate_bytes user, unsigned char out[TOKEN_USER_BYTES]);
/* Seconds in the ref, as ms. */
int64_t token_ref_created_ms(const struct sgate_ref *ref);
/* The fence group of a ref: its first byte mod 16. */
#define TOKEN_REF_GROUP_AT 0
static inline unsigned
token_ref_group(const struct sgate_ref *ref)
{
	return ref->bytes[TOKEN_REF_GROUP_AT] % TOKEN_GROUPS;
}

/*
 * Idempotency: the row's id (32 bytes) from realm, actor and key, and the
 * secret of the token that a repeat must give again, from id and nonce.
 */
void token_idempotency_id(const struct keys *keys, struct sgate_bytes realm,
    struct sgate_bytes actor, struct sgate_bytes key, unsigned char out[32]);
bool token_idempotency_secret(const struct keys *keys, uint8_t key_id,
    const unsigned char id[32], const unsigned char nonce[16],
    unsigned char out[TOKEN_SECRET_BYTES]);

/*
 * The CSRF token of a session for a UTC day: key id and 16 bytes keyed hash of
 * ref and day, base64url: 23 characters and a NUL. Check accepts today's and
 * yesterday's, in constant time.
 */
#define TOKEN_CSRF_LEN 23
#define TOKEN_CSRF_DAY_MS 86400000 /* it changes that often */
bool token_csrf_write(const struct keys *keys, const struct sgate_ref *ref,
    int64_t now_ms, char out[TOKEN_CSRF_LEN + 1]);
bool token_csrf_check(const struct keys *keys, const struct sgate_ref *ref,
    int64_t now_ms, struct sgate_bytes text);

/* Random bytes from the kernel (libsodium). */
void token_random(void *out, size_t len);

#endif
