/*
 * Django's sessions (3.1 and later): what signing.dumps() writes,
 *
 *   [.]DATA:TIME:SIGNATURE    base64url without '='; '.': DATA is compressed
 *
 * SIGNATURE is HMAC-SHA256 of all before it, with SHA-256 of the salt and
 * SECRET_KEY as its key (django/core/signing.py, django/utils/crypto.py). Who
 * can write the table can make anybody's session; who has the key as well,
 * could do so before us.
 */
#include "config.h"

#include "legacy_own.h"

#include <sodium.h>
#include <string.h>

#include <zlib.h>

#define SALT "django.contrib.sessions.SessionStoresigner"

/* Memory of the tree. */
static bool
decode(
    struct legacy_tree *tree, struct sgate_bytes text, struct sgate_bytes *out)
{
	char *memory = legacy_room(tree, text.len);
	size_t len = 0;

	*out = (struct sgate_bytes){NULL, 0};
	if (memory == NULL)
		return false;
	if (sodium_base642bin((unsigned char *)memory, text.len, text.data,
		text.len, NULL, &len, NULL,
		sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
		return legacy_fail(tree, "it is not what Django signs");
	*out = (struct sgate_bytes){memory, len};
	return true;
}

/* To no more than a session may have, whatever it says. */
static bool
inflate_to(struct legacy_tree *tree, struct sgate_bytes *io)
{
	char *memory = legacy_room(tree, LEGACY_BODY_MAX);
	uLongf len = LEGACY_BODY_MAX;
	int code;

	if (memory == NULL)
		return false;
	code = uncompress(
	    (Bytef *)memory, &len, (const Bytef *)io->data, (uLong)io->len);
	if (code == Z_MEM_ERROR)
		tree->has_no_memory = true;
	if (code == Z_BUF_ERROR)
		return legacy_fail(tree, LEGACY_WHY_LARGE);
	if (code != Z_OK)
		return legacy_fail(tree, "it is not what Django signs");
	*io = (struct sgate_bytes){memory, (size_t)len};
	return true;
}

static bool
is_signed(struct sgate_bytes secret, struct sgate_bytes text,
    struct sgate_bytes signature)
{
	unsigned char key[crypto_hash_sha256_BYTES];
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	crypto_hash_sha256_state hash;
	crypto_auth_hmacsha256_state state;
	bool is_right;

	crypto_hash_sha256_init(&hash);
	crypto_hash_sha256_update(
	    &hash, (const unsigned char *)SALT, strlen(SALT));
	crypto_hash_sha256_update(
	    &hash, (const unsigned char *)secret.data, secret.len);
	crypto_hash_sha256_final(&hash, key);
	crypto_auth_hmacsha256_init(&state, key, sizeof(key));
	crypto_auth_hmacsha256_update(
	    &state, (const unsigned char *)text.data, text.len);
	crypto_auth_hmacsha256_final(&state, mac);
	is_right = signature.len == sizeof(mac) &&
		   sodium_memcmp(mac, signature.data, sizeof(mac)) == 0;
	sodium_memzero(key, sizeof(key));
	sodium_memzero(&state, sizeof(state));
	sodium_memzero(&hash, sizeof(hash));
	return is_right;
}

/* DATA, without a '.'; the signature is right. */
static bool
unsign(const struct legacy_settings *settings, struct sgate_bytes text,
    struct legacy_tree *tree, struct sgate_bytes *out)
{
	const char *colon =
	    text.len == 0 ? NULL : memrchr(text.data, ':', text.len);
	struct sgate_bytes before, signature;

	*out = text;
	if (colon == NULL)
		return legacy_fail(tree, "Django before 3.1 wrote it, or none");
	before = (struct sgate_bytes){text.data, (size_t)(colon - text.data)};
	text.len -= before.len + 1;
	text.data = colon + 1;
	if (!decode(tree, text, &signature))
		return false;
	if (!is_signed(settings->secret, before, signature))
		return legacy_fail(
		    tree, "its signature does not fit the secret (SECRET_KEY)");
	*out = bytes_cut(&before, ':');
	return true;
}

bool
legacy_django(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree)
{
	struct sgate_bytes data;
	bool is_compressed;

	if (!unsign(settings, raw->body, tree, &data))
		return false;
	is_compressed = data.len > 0 && data.data[0] == '.';
	data.data += is_compressed;
	data.len -= is_compressed;
	if (!decode(tree, data, &data) ||
	    (is_compressed && !inflate_to(tree, &data)))
		return false;
	if (data.len > 0 && (unsigned char)data.data[0] == 0x80)
		return legacy_fail(tree, "it is pickled, which only Python "
					 "itself could read");
	if (!legacy_json_into(tree, &tree->root, data))
		return false;
	return tree->root.kind == LEGACY_MAP ||
	       legacy_fail(tree, "its JSON is no object");
}
