/* Tokens, secrets and what else is computed from keys. */
#include "tap.h"

#include "buf.h"
#include "keyfile.h"
#include "token.h"

#include <sys/mman.h>

#include <sodium.h>

/* tests/vectors.py */
#define KNOWN "B6tlU_EAAQIDBAUGB_Dx8vP09fb3-Pn6-_z9_v_aEd492WVSqA"
#define KNOWN_SHOP "B6tlU_EAAQIDBAUGB_Dx8vP09fb3-Pn6-_z9_v8RVXiXHAZ3zw"
#define KNOWN_MS 1700000000000

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static struct keys *keys;

static int
setup(void **state)
{
	(void)state;
	keys = keyfile_keys(KEYFILE_KNOWN);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	keys_free(keys);
	return 0;
}

static struct token
known_token(void)
{
	struct token token = {.key_id = 7,
	    .ref = {{0xab, 0x65, 0x53, 0xf1, 0x00, 1, 2, 3, 4, 5, 6, 7}}};
	unsigned i;

	for (i = 0; i < TOKEN_SECRET_BYTES; i++)
		token.secret[i] = (unsigned char)(0xf0 + i);
	return token;
}

static enum sgate_reason
read_in(const char *realm, const char *text)
{
	struct token token;

	return token_read(keys, bytes_of(realm), bytes_of(text), &token);
}

static void
is_hex(const unsigned char *bytes, size_t len, const char *expected)
{
	char hex[65];

	sodium_bin2hex(hex, sizeof(hex), bytes, len);
	assert_string_equal(hex, expected);
}

static void
siphash_gives_the_vector_of_its_paper(void **state)
{
	unsigned char key[16], message[15], out[8];
	unsigned char i;

	(void)state;
	for (i = 0; i < 16; i++)
		key[i] = i;
	for (i = 0; i < 15; i++)
		message[i] = i;
	crypto_shorthash(out, message, sizeof(message), key);
	is_hex(out, sizeof(out), "e545be4961ca29a1");
}

static void
a_known_token_is_written_and_read(void **state)
{
	struct token token = known_token();
	char text[SGATE_TOKEN_LEN + 1];
	struct token got;

	(void)state;
	assert_true(token_write(keys, bytes_of(""), &token, text));
	assert_string_equal(text, KNOWN);
	assert_true(token_write(keys, bytes_of("shop.example"), &token, text));
	assert_string_equal(text, KNOWN_SHOP);
	assert_int_equal(
	    token_read(keys, bytes_of(NULL), bytes_of(KNOWN), &got),
	    SGATE_REASON_OK);
	assert_memory_equal(&got, &token, sizeof(got));
	assert_int_equal(token_ref_created_ms(&got.ref), KNOWN_MS);
	assert_int_equal(token_ref_group(&got.ref), 0xab % 16);
	token_wipe(&got);
	assert_int_equal(got.secret[0], 0);
	token_wipe(NULL);
}

static void
the_ref_is_seen_in_every_text_of_that_length(void **state)
{
	char text[SGATE_TOKEN_LEN + 1], *all;
	struct sgate_error err;
	struct sgate_ref ref;
	struct token token;
	int i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		assert_int_equal(
		    token_make(7, (uint8_t)i, KNOWN_MS + i, &token, &err),
		    SGATE_OK);
		if (i % 2 != 0)
			token_random(&token.ref, sizeof(token.ref));
		assert_true(token_write(keys, bytes_of(""), &token, text));
		memset(&ref, 0xaa, sizeof(ref));
		assert_true(token_peek_ref(bytes_of(text), &ref));
		assert_memory_equal(&ref, &token.ref, sizeof(ref));
		/* Of the secret behind it nothing. */
		memset(text + 18, '*', SGATE_TOKEN_LEN - 18);
		memset(&ref, 0, sizeof(ref));
		assert_true(token_peek_ref(bytes_of(text), &ref));
		assert_memory_equal(&ref, &token.ref, sizeof(ref));
	}
	assert_false(token_peek_ref(bytes_of(""), &ref));
	assert_false(token_peek_ref(bytes_of(NULL), &ref));
	/* Where a byte too many would be read, the sanitizer says so. */
	for (i = 1; i < 2 * SGATE_TOKEN_LEN; i++) {
		all = malloc((size_t)i);
		assert_non_null(all);
		memset(all, 'A' + i % 64, (size_t)i);
		assert_int_equal(
		    token_peek_ref((struct sgate_bytes){all, (size_t)i}, &ref),
		    i == SGATE_TOKEN_LEN);
		free(all);
	}
}

static void
another_realm_is_refused(void **state)
{
	char longest[66];

	(void)state;
	memset(longest, 'r', 65);
	longest[65] = '\0';
	assert_int_equal(read_in("", KNOWN_SHOP), SGATE_REASON_BAD_TAG);
	assert_int_equal(read_in("shop", KNOWN_SHOP), SGATE_REASON_BAD_TAG);
	assert_int_equal(
	    read_in("Shop.example", KNOWN_SHOP), SGATE_REASON_BAD_TAG);
	assert_int_equal(read_in("shop.example", KNOWN_SHOP), SGATE_REASON_OK);
	assert_int_equal(read_in(longest, KNOWN), SGATE_REASON_BAD_TAG);
}

static void
every_other_character_at_every_place_is_refused(void **state)
{
	char text[] = KNOWN;
	unsigned malformed = 0, bad_tag = 0;
	size_t i;
	int c;

	(void)state;
	for (i = 0; i < SGATE_TOKEN_LEN; i++) {
		for (c = 0; c < 256; c++) {
			struct token token;
			struct sgate_bytes bytes = {text, SGATE_TOKEN_LEN};
			enum sgate_reason reason;

			if ((char)c == KNOWN[i])
				continue;
			text[i] = (char)c;
			reason = token_read(keys, bytes_of(""), bytes, &token);
			if (c == 0 || strchr(alphabet, c) == NULL)
				assert_int_equal(
				    reason, SGATE_REASON_MALFORMED);
			assert_true(sodium_is_zero(
			    (unsigned char *)&token, sizeof(token)));
			if (reason == SGATE_REASON_MALFORMED)
				malformed++;
			else if (reason == SGATE_REASON_BAD_TAG)
				bad_tag++;
			else
				fail_msg("accepted: %s", text);
		}
		text[i] = KNOWN[i];
	}
	/* 49 places take 63 others of the alphabet, the last one takes 3. */
	assert_int_equal(bad_tag, 49 * 63 + 3);
	assert_int_equal(malformed, 50 * 192 + 60);
}

static void
only_the_canonical_last_character_is_read(void **state)
{
	char text[] = KNOWN;
	size_t value = (size_t)(strchr(alphabet, KNOWN[49]) - alphabet);
	size_t i;

	(void)state;
	assert_int_equal(value % 16, 0);
	for (i = 1; i < 16; i++) { /* the same 37 bytes, spelled otherwise */
		text[49] = alphabet[value + i];
		assert_int_equal(read_in("", text), SGATE_REASON_MALFORMED);
	}
}

static void
other_lengths_and_spellings_are_malformed(void **state)
{
	char text[SGATE_TOKEN_LEN + 16];
	struct sgate_bytes bytes = {text, 0};
	struct token token;

	(void)state;
	memset(text, 'A', sizeof(text));
	memcpy(text, KNOWN, SGATE_TOKEN_LEN);
	for (bytes.len = 0; bytes.len < sizeof(text); bytes.len++)
		if (bytes.len != SGATE_TOKEN_LEN)
			assert_int_equal(
			    token_read(keys, bytes_of(""), bytes, &token),
			    SGATE_REASON_MALFORMED);
	bytes.data = NULL;
	bytes.len = 0;
	assert_int_equal(token_read(keys, bytes_of(""), bytes, &token),
	    SGATE_REASON_MALFORMED);
	assert_int_equal(read_in("", KNOWN "=="), SGATE_REASON_MALFORMED);
	assert_int_equal(read_in("", KNOWN " "), SGATE_REASON_MALFORMED);
	assert_int_equal(
	    read_in("", "B6tlU/EAAQIDBAUGB/Dx8vP09fb3+Pn6+/z9/v/aEd492WVSqA"),
	    SGATE_REASON_MALFORMED);
}

/* libsodium 1.0.18 reads each byte from 0x80 up as '_'. */
static void
a_high_byte_is_no_underscore(void **state)
{
	char text[] = KNOWN;
	char *underscore = strchr(text, '_');
	int c;

	(void)state;
	assert_non_null(underscore);
	for (c = 0x80; c < 256; c++) {
		*underscore = (char)c;
		assert_int_equal(read_in("", text), SGATE_REASON_MALFORMED);
	}
}

/* A page that may not be touched lies behind the token. */
static void
nothing_behind_the_token_is_read(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct token token;
	size_t len;
	char *map;

	(void)state;
	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(map != MAP_FAILED);
	assert_int_equal(mprotect(map + page, page, PROT_NONE), 0);
	for (len = 0; len <= 60; len++) {
		struct sgate_bytes bytes = {map + page - len, len};

		memset(map + page - len, 'A', len);
		if (len == SGATE_TOKEN_LEN)
			memcpy(map + page - len, KNOWN, len);
		assert_int_equal(token_read(keys, bytes_of(""), bytes, &token),
		    len == SGATE_TOKEN_LEN ? SGATE_REASON_OK
					   : SGATE_REASON_MALFORMED);
	}
	munmap(map, 2 * page);
}

static void
random_input_is_refused(void **state)
{
	static const unsigned char seed[randombytes_SEEDBYTES] = {2};
	static unsigned char noise[10000 * 64];
	size_t i, j;

	(void)state;
	print_message("# seed: 02 and 31 zero bytes\n");
	randombytes_buf_deterministic(noise, sizeof(noise), seed);
	for (i = 0; i < 10000; i++) {
		unsigned char *n = noise + 64 * i;
		struct sgate_bytes bytes = {(char *)n, SGATE_TOKEN_LEN};
		struct token token;
		enum sgate_reason reason;

		if (n[63] % 8 == 0)
			bytes.len = n[62] % 64;
		for (j = 0; j < 62 && n[63] % 2 == 1; j++)
			n[j] = (unsigned char)alphabet[n[j] % 64];
		reason = token_read(keys, bytes_of(""), bytes, &token);
		assert_true(reason == SGATE_REASON_MALFORMED ||
			    reason == SGATE_REASON_BAD_TAG);
	}
}

static void
a_retired_key_verifies_nothing(void **state)
{
	struct keys *both =
	    keyfile_keys("group " KEYFILE_GROUP "\nkey 9 " KEYFILE_OTHER
			 " 1 0\nkey 7 " KEYFILE_KEY " 1 5\n");
	struct keys *retired = keyfile_keys(
	    "group " KEYFILE_GROUP "\nkey 9 " KEYFILE_OTHER " 1 0\n");
	struct keys *again = keyfile_keys(
	    "group " KEYFILE_GROUP "\nkey 7 " KEYFILE_OTHER " 1 0\n");
	struct token token = known_token();
	char text[SGATE_TOKEN_LEN + 1];

	(void)state;
	assert_int_equal(
	    token_read(both, bytes_of(""), bytes_of(KNOWN), &token),
	    SGATE_REASON_OK);
	assert_int_equal(
	    token_read(retired, bytes_of(""), bytes_of(KNOWN), &token),
	    SGATE_REASON_BAD_TAG);
	assert_int_equal(
	    token_read(again, bytes_of(""), bytes_of(KNOWN), &token),
	    SGATE_REASON_BAD_TAG);
	token = known_token();
	strcpy(text, "x");
	assert_false(token_write(retired, bytes_of(""), &token, text));
	assert_string_equal(text, "");
	keys_free(both);
	keys_free(retired);
	keys_free(again);
}

static void
new_tokens_have_their_group_time_and_own_secret(void **state)
{
	struct token a, b;
	struct sgate_error err;

	(void)state;
	assert_int_equal(
	    token_make(7, 0xab, KNOWN_MS + 999, &a, &err), SGATE_OK);
	assert_int_equal(token_make(7, 0xab, KNOWN_MS, &b, &err), SGATE_OK);
	assert_int_equal(a.key_id, 7);
	assert_int_equal(a.ref.bytes[0], 0xb);
	assert_int_equal(token_ref_group(&a.ref), 0xb);
	assert_int_equal(token_ref_created_ms(&a.ref), KNOWN_MS);
	assert_memory_equal(a.ref.bytes, b.ref.bytes, 5);
	assert_memory_not_equal(a.ref.bytes, b.ref.bytes, SGATE_REF_BYTES);
	assert_memory_not_equal(a.secret, b.secret, TOKEN_SECRET_BYTES);
	assert_int_equal(
	    token_make(7, 0, INT64_C(4294967295999), &a, &err), SGATE_OK);
	assert_int_equal(token_ref_created_ms(&a.ref), INT64_C(4294967295000));
	assert_int_equal(
	    token_make(7, 0, INT64_C(4294967296000), &a, &err), SGATE_INTERNAL);
	assert_int_equal(token_make(7, 0, -1, &a, &err), SGATE_INTERNAL);
}

/* What is made later stands behind, so that an index fills its pages. */
static void
refs_of_a_group_are_in_the_order_of_milliseconds(void **state)
{
	struct token before, after;
	unsigned char seen = 0, all = 0xff;
	struct sgate_error err;
	int64_t at_ms;

	(void)state;
	assert_int_equal(
	    token_make(7, 3, KNOWN_MS - 1, &before, &err), SGATE_OK);
	for (at_ms = KNOWN_MS; at_ms <= KNOWN_MS + 2000; at_ms++) {
		assert_int_equal(
		    token_make(7, 3, at_ms, &after, &err), SGATE_OK);
		assert_true(memcmp(before.ref.bytes, after.ref.bytes,
				SGATE_REF_BYTES) < 0);
		assert_int_equal(
		    token_ref_created_ms(&after.ref), at_ms - at_ms % 1000);
		/* And the rest is random: no bit is always the same. */
		seen |= after.ref.bytes[6] & 0x3f;
		all &= after.ref.bytes[6] | 0xc0;
		before = after;
	}
	assert_int_equal(seen, 0x3f);
	assert_int_equal(all, 0xc0);
}

static void
hash_and_successor_are_those_computed_independently(void **state)
{
	struct token token = known_token();
	unsigned char hash[TOKEN_HASH_BYTES], next[TOKEN_SECRET_BYTES];
	struct sgate_ref other = token.ref;

	(void)state;
	token_hash(token.secret, hash);
	is_hex(hash, sizeof(hash),
	    "96053d1a0f5e0b02950c81282738484c5d28c6e250e8ad0315fe1d38cf0473a5");
	token_successor(keys, &token.ref, token.secret, next);
	is_hex(next, sizeof(next), "e19d138d551fb647652b978538818dc5");
	other.bytes[11] ^= 1;
	token_successor(keys, &other, token.secret, hash);
	assert_memory_not_equal(hash, next, TOKEN_SECRET_BYTES);
}

static void
successors_do_not_depend_on_the_signing_key(void **state)
{
	struct keys *others = keyfile_keys(
	    "group " KEYFILE_GROUP "\nkey 9 " KEYFILE_OTHER " 1 0\n");
	struct token token = known_token();
	unsigned char next[TOKEN_SECRET_BYTES];

	(void)state;
	token_successor(others, &token.ref, token.secret, next);
	is_hex(next, sizeof(next), "e19d138d551fb647652b978538818dc5");
	assert_int_equal(
	    token_user_group(others, bytes_of("shop"), bytes_of("alice")),
	    0xf8);
	keys_free(others);
}

static void
users_have_a_group_of_their_own(void **state)
{
	unsigned seen[TOKEN_GROUPS] = {0};
	unsigned i;

	(void)state;
	assert_int_equal(
	    token_user_group(keys, bytes_of("shop"), bytes_of("alice")), 0xf8);
	for (i = 0; i < 1600; i++) {
		char user[16];

		snprintf(user, sizeof(user), "user%u", i);
		seen[token_user_group(keys, bytes_of(""), bytes_of(user)) %
		     TOKEN_GROUPS]++;
	}
	for (i = 0; i < TOKEN_GROUPS; i++)
		assert_in_range(seen[i], 50, 150);
}

static void
idempotency_values_are_those_computed_independently(void **state)
{
	unsigned char id[32], other[32], nonce[16];
	unsigned char secret[TOKEN_SECRET_BYTES];
	unsigned char i;

	(void)state;
	for (i = 0; i < 16; i++)
		nonce[i] = i;
	token_idempotency_id(
	    keys, bytes_of("shop"), bytes_of("login"), bytes_of("k-1"), id);
	is_hex(id, sizeof(id),
	    "c733cf09ee9661c53f98769964258bbe7dbf101ecd612bd939f53d5faf45dc0d");
	assert_true(token_idempotency_secret(keys, 7, id, nonce, secret));
	is_hex(secret, sizeof(secret), "f2dc499a0f7f976a3108072f41dba165");
	assert_false(token_idempotency_secret(keys, 8, id, nonce, secret));
	assert_true(sodium_is_zero(secret, sizeof(secret)));
	/* Fields do not run into each other. */
	token_idempotency_id(
	    keys, bytes_of("shopl"), bytes_of("ogin"), bytes_of("k-1"), other);
	assert_memory_not_equal(id, other, 32);
	token_idempotency_id(keys, bytes_of("shop"), bytes_of("logink-1"),
	    bytes_of(NULL), other);
	assert_memory_not_equal(id, other, 32);
}

static bool
csrf(const char *text, int64_t now_ms)
{
	struct token token = known_token();

	return token_csrf_check(keys, &token.ref, now_ms, bytes_of(text));
}

static void
csrf_tokens_hold_for_today_and_yesterday(void **state)
{
	const int64_t day = 86400000;
	const int64_t start = KNOWN_MS / day * day;
	struct token token = known_token();
	char text[TOKEN_CSRF_LEN + 1];

	(void)state;
	assert_true(token_csrf_write(keys, &token.ref, KNOWN_MS, text));
	assert_string_equal(text, "B6XiXKFA07u9pZj4ueR2qB0");
	assert_true(csrf(text, start));
	assert_true(csrf(text, start + 2 * day - 1));
	assert_false(csrf(text, start + 2 * day));
	assert_false(csrf(text, start - 1));
	token.ref.bytes[5] ^= 1;
	assert_false(
	    token_csrf_check(keys, &token.ref, KNOWN_MS, bytes_of(text)));
}

static void
csrf_tokens_with_any_change_are_refused(void **state)
{
	char text[] = "B6XiXKFA07u9pZj4ueR2qB0x";
	size_t i;
	int c;

	(void)state;
	assert_false(csrf(text, KNOWN_MS));
	text[TOKEN_CSRF_LEN] = '\0';
	assert_true(csrf(text, KNOWN_MS));
	for (i = 0; i < TOKEN_CSRF_LEN; i++) {
		char right = text[i];

		for (c = 1; c < 256; c++) {
			text[i] = (char)c;
			assert_int_equal(
			    csrf(text, KNOWN_MS), (char)c == right);
		}
		text[i] = right;
	}
	assert_false(csrf(NULL, KNOWN_MS));
	assert_false(csrf("", KNOWN_MS));
	text[TOKEN_CSRF_LEN - 1] = '\0';
	assert_false(csrf(text, KNOWN_MS));
}

static void
a_token_that_is_freed_may_be_null(void **state)
{
	(void)state;
	sgate_token_free(NULL);
	sgate_token_free(strdup(KNOWN));
}

/* Each byte at each place. */
static void
a_ref_is_written_in_hex(void **state)
{
	char text[SGATE_REF_HEX + 1], expected[SGATE_REF_HEX + 1];
	struct sgate_ref ref;
	int byte;
	size_t i;

	(void)state;
	for (byte = 0; byte < 256; byte++) {
		for (i = 0; i < SGATE_REF_BYTES; i++)
			ref.bytes[i] = (unsigned char)(byte + 37 * i);
		sgate_ref_text(&ref, text);
		for (i = 0; i < SGATE_REF_BYTES; i++)
			snprintf(expected + 2 * i, 3, "%02x", ref.bytes[i]);
		assert_string_equal(text, expected);
	}
}

static const struct CMUnitTest token[] = {
    cmocka_unit_test(a_ref_is_written_in_hex),
    cmocka_unit_test(siphash_gives_the_vector_of_its_paper),
    cmocka_unit_test(a_known_token_is_written_and_read),
    cmocka_unit_test(the_ref_is_seen_in_every_text_of_that_length),
    cmocka_unit_test(another_realm_is_refused),
    cmocka_unit_test(every_other_character_at_every_place_is_refused),
    cmocka_unit_test(only_the_canonical_last_character_is_read),
    cmocka_unit_test(other_lengths_and_spellings_are_malformed),
    cmocka_unit_test(a_high_byte_is_no_underscore),
    cmocka_unit_test(nothing_behind_the_token_is_read),
    cmocka_unit_test(random_input_is_refused),
    cmocka_unit_test(a_retired_key_verifies_nothing),
    cmocka_unit_test(new_tokens_have_their_group_time_and_own_secret),
    cmocka_unit_test(refs_of_a_group_are_in_the_order_of_milliseconds),
    cmocka_unit_test(hash_and_successor_are_those_computed_independently),
    cmocka_unit_test(successors_do_not_depend_on_the_signing_key),
    cmocka_unit_test(users_have_a_group_of_their_own),
    cmocka_unit_test(idempotency_values_are_those_computed_independently),
    cmocka_unit_test(csrf_tokens_hold_for_today_and_yesterday),
    cmocka_unit_test(csrf_tokens_with_any_change_are_refused),
    cmocka_unit_test(a_token_that_is_freed_may_be_null),
};

TAP_MAIN_WITH(token, setup, teardown)
