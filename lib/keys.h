/*
 * The key file: signing keys and the group key, shared by all hosts.
 *
 * Text, one record a line, 0640 or less:
 *   # sessgate keys, do not edit by hand: sessgatectl key
 *   group HEX32
 *   last ID
 *   key ID HEX32 CREATED_MS STOPPED_MS
 * HEX32 is 32 bytes as 64 hex digits, ID is 1 to 255. The first key signs, the
 * others verify. STOPPED_MS is when it stopped signing (0 = never signed, or
 * signs now). The group key is made once and never changes: it places users
 * into fence groups, hashes user ids and computes successors of rotated
 * secrets. `last` is the id given out last (missing = the highest there is):
 * the next key gets the one after it, so that no id is soon used again.
 *
 * Each use has a subkey of its own (crypto_kdf, context "sessgate", one number
 * a use). Files are replaced by rename, with the old one's owner and mode, and
 * fsynced. A file that is a symbolic link, that others may read or write, or
 * that the group may write is refused.
 */
#ifndef SESSGATE_KEYS_H
#define SESSGATE_KEYS_H

#include <stdbool.h>

#include "sessgate.h"

#define KEYS_MAX 16

struct keys;

enum keys_use { /* the number is the crypto_kdf subkey id: never renumber */
	KEYS_TAG = 1,         /* 16 bytes, crypto_shorthash */
	KEYS_SEAL = 2,        /* 32 bytes, crypto_generichash */
	KEYS_IDEMPOTENCY = 3, /* 32: the secret of a token given again */
	KEYS_CSRF = 4,        /* 32 */
	KEYS_GROUP = 5,       /* 32, of the group key */
	KEYS_CHAIN = 6,       /* 32, of the group key: successors */
	KEYS_USER = 7,        /* 32, of the group key: user hash */
	/* 32, of the group key: a repeat is found after a change of keys. */
	KEYS_IDEMPOTENCY_ID = 8
};

/* SGATE_OK or SGATE_INVALID: err->text is "file:line: what is wrong". */
SGATE_MUST_CHECK enum sgate_status keys_load(
    const char *path, struct keys **out_keys, struct sgate_error *err);
/*
 * Make a key file with one key if there is none (0640, O_EXCL); SGATE_OK also
 * when it is there already.
 */
SGATE_MUST_CHECK enum sgate_status keys_create(
    const char *path, int64_t now_ms, struct sgate_error *err);
/* Wipes. */
void keys_free(struct keys *keys);

/* The signing key's id. */
uint8_t keys_signing_id(const struct keys *keys);
/*
 * A subkey. key_id is ignored for the uses of the group key. NULL: there is no
 * key of that id. Borrowed; 32 bytes (KEYS_TAG: 16 are used).
 */
const unsigned char *keys_subkey(
    const struct keys *keys, uint8_t key_id, enum keys_use use);
/*
 * Of all keys that verify tags, with their ids: the same for two processes that
 * take the same tokens for good ones, another as soon as one key differs.
 */
#define KEYS_DIGEST_BYTES 16
void keys_digest(const struct keys *keys, unsigned char out[KEYS_DIGEST_BYTES]);

struct keys_info {
	uint8_t id;
	bool signs;
	int64_t created_ms, stopped_ms;
};
size_t keys_count(const struct keys *keys);
struct keys_info keys_info(const struct keys *keys, size_t index);

/*
 * For sessgatectl key: each reads the file, changes it and replaces it, under
 * a lock on its directory (waiting 5 s at most, then SGATE_UNAVAILABLE).
 * new: appends a key that verifies only. use: puts it first and stamps the
 * former first one. retire: removes it, at once if it has never signed.
 * SGATE_NOT_FOUND: no key of that id. SGATE_TOO_LARGE: KEYS_MAX keys already.
 */
SGATE_MUST_CHECK enum sgate_status keys_file_new(
    const char *path, int64_t now_ms, uint8_t *out_id, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status keys_file_use(
    const char *path, uint8_t id, int64_t now_ms, struct sgate_error *err);
/*
 * SGATE_DENIED for the one that signs, and while tokens signed with it may live
 * (until stopped_ms + largest_absolute_ms).
 */
SGATE_MUST_CHECK enum sgate_status keys_file_retire(const char *path,
    uint8_t id, int64_t now_ms, int64_t largest_absolute_ms,
    struct sgate_error *err);

#endif
