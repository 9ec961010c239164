/* Sealed records and tombstones. */
#include "tap.h"

#include "buf.h"
#include "keyfile.h"
#include "record.h"

#include <sys/mman.h>

#include <sodium.h>

/* tests/vectors.py */
static const char known_hex[] =
    "4c30303033303030303030303030303035313730303030303030313030300107"
    "00000000000000090000018bcfe568000000018bcfe569f400000000001b7740"
    "0000018bd19cdc00404142434445464748494a4b4c4d4e4f5051525354555657"
    "58595a5b5c5d5e5f01606162636465666768696a6b6c6d6e6f70717273747576"
    "7778797a7b7c7d7e7f0000018bcfe58f1000000004c00002070000000473686f"
    "7000000005616c6963650000000263310000000563310a63320000000a61646d"
    "696e2c75736572000000056167656e740000001153455353494f4e5f44415441"
    "5f413d310a000000077b2261223a317df4622fc9ae0dd8537deb9329f54f3b1d";

/* The same with data that stands apart: its head, and what is behind the data.
 */
static const char head_hex[] =
    "4c30303033303030303030303030303035313730303030303030313030300207"
    "000000ed00000000000000090000018bcfe568000000018bcfe569f400000000"
    "001b77400000018bd19cdc00404142434445464748494a4b4c4d4e4f50515253"
    "5455565758595a5b5c5d5e5f01606162636465666768696a6b6c6d6e6f707172"
    "737475767778797a7b7c7d7e7f0000018bcfe58f1000000004c0000207000000"
    "0473686f7000000005616c6963650000000263310000000563310a6332000000"
    "0a61646d696e2c75736572000000056167656e740000001153455353494f4e5f"
    "444154415f413d310a0000044c193f061a79384be02cc955b4652c552a";
static const char data_seal_hex[] = "e918e3dec9254e9a831613fa926ded61";
#define APART_LEN 1100

static const struct record_store store = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, 3};
static const struct sgate_ref ref = {
    {0xab, 0x65, 0x53, 0xf1, 0x00, 1, 2, 3, 4, 5, 6, 7}};
static struct keys *keys;
static unsigned char known[sizeof(known_hex) / 2];

static int
setup(void **state)
{
	(void)state;
	keys = keyfile_keys(KEYFILE_KNOWN);
	return sodium_hex2bin(known, sizeof(known), known_hex,
	    sizeof(known_hex) - 1, NULL, NULL, NULL);
}

static int
teardown(void **state)
{
	(void)state;
	keys_free(keys);
	return 0;
}

static struct sgate_bytes
known_bytes(void)
{
	struct sgate_bytes bytes = {(char *)known, sizeof(known)};

	return bytes;
}

static struct sgate_session *
known_session(void)
{
	struct sgate_session *s = session_new();
	unsigned char i;

	assert_non_null(s);
	s->ref = ref;
	s->seq = 9;
	s->version = 5;
	s->state = SESSION_LIVE;
	s->has_prev = true;
	for (i = 0; i < TOKEN_HASH_BYTES; i++) {
		s->secret_hash[i] = (unsigned char)(0x40 + i);
		s->prev_hash[i] = (unsigned char)(0x60 + i);
	}
	s->prev_until_ms = 1700000010000;
	s->successor_used_ms = 1700000002000;
	s->created_ms = 1700000000000;
	s->auth_ms = 1700000000500;
	s->last_seen_ms = 1700000001000;
	s->idle_ms = 1800000;
	s->absolute_ms = 1700028800000;
	memcpy(s->client_ip, "\xc0\x00\x02\x07", 4);
	s->client_ip_len = 4;
	strcpy(s->realm, "shop");
	strcpy(s->user, "alice");
	strcpy(s->context, "c1");
	strcpy(s->user_agent, "agent");
	strcpy(s->new_token, "never stored");
	assert_true(session_set(&s->contexts, bytes_of("c1\nc2")));
	assert_true(session_set(&s->roles, bytes_of("admin,user")));
	assert_true(session_set(&s->exports, bytes_of("SESSION_DATA_A=1\n")));
	assert_true(session_set(&s->data, bytes_of("{\"a\":1}")));
	return s;
}

/* All fields that a record holds. */
static void
same(const struct sgate_session *a, const struct sgate_session *b)
{
	assert_memory_equal(a->ref.bytes, b->ref.bytes, SGATE_REF_BYTES);
	assert_int_equal(a->seq, b->seq);
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->end_reason, b->end_reason);
	assert_int_equal(a->ended_ms, b->ended_ms);
	assert_string_equal(a->realm, b->realm);
	assert_string_equal(a->user, b->user);
	assert_memory_equal(a->secret_hash, b->secret_hash, TOKEN_HASH_BYTES);
	assert_int_equal(a->has_prev, b->has_prev);
	assert_memory_equal(a->prev_hash, b->prev_hash, TOKEN_HASH_BYTES);
	assert_int_equal(a->prev_until_ms, b->prev_until_ms);
	assert_string_equal(a->context, b->context);
	assert_string_equal(a->contexts, b->contexts);
	assert_string_equal(a->roles, b->roles);
	assert_string_equal(a->exports, b->exports);
	assert_string_equal(a->data, b->data);
	assert_int_equal(a->created_ms, b->created_ms);
	assert_int_equal(a->auth_ms, b->auth_ms);
	assert_int_equal(a->last_seen_ms, b->last_seen_ms);
	assert_int_equal(a->idle_ms, b->idle_ms);
	assert_int_equal(a->absolute_ms, b->absolute_ms);
	assert_int_equal(a->client_ip_len, b->client_ip_len);
	assert_memory_equal(a->client_ip, b->client_ip, 16);
	assert_string_equal(a->user_agent, b->user_agent);
}

static struct sgate_session *
read_known(struct sgate_bytes bytes)
{
	struct sgate_session *s;
	struct sgate_error err;
	char letter;

	if (record_read(keys, &store, &ref, bytes, &letter, &s, &err) !=
	    SGATE_OK)
		fail_msg("%s", err.text);
	return s;
}

static void
corrupt(const struct record_store *in, const struct sgate_ref *of,
    struct sgate_bytes bytes, const char *words)
{
	struct sgate_session *s = (struct sgate_session *)&bytes;
	struct sgate_error err;
	char letter = 'x';

	assert_int_equal(
	    record_read(keys, in, of, bytes, &letter, &s, &err), SGATE_CORRUPT);
	assert_null(s);
	assert_int_equal(letter, 0);
	assert_int_equal(err.reason, SGATE_REASON_STORE);
	if (strstr(err.text, words) == NULL)
		fail_msg("\"%s\" is not in: %s", words, err.text);
}

static void
round_trip(const struct sgate_session *s, char state)
{
	struct record_birth birth = {{1, 2, 3}, "host", "actor"}, read;
	struct sgate_session *got = NULL;
	enum sgate_status status;
	struct sgate_error err;
	struct buf out;
	char letter = 0;

	buf_init(&out);
	status = state == 'U'
		     ? record_write_new(keys, &store, s, &birth, &out, &err)
		     : record_write(keys, &store, state, s, &out, &err);
	if (status != SGATE_OK ||
	    record_read(keys, &store, &s->ref, buf_bytes(&out), &letter, &got,
		&err) != SGATE_OK)
		fail_msg("%s", err.text);
	assert_int_equal(letter, state);
	same(got, s);
	assert_string_equal(got->new_token, "");
	sgate_session_free(got);
	status = record_read_new(
	    keys, &store, &s->ref, buf_bytes(&out), &got, &read, &err);
	assert_int_equal(status, state == 'U' ? SGATE_OK : SGATE_CORRUPT);
	if (status == SGATE_OK)
		assert_memory_equal(&read, &birth, sizeof(read));
	else
		assert_null(got);
	sgate_session_free(got);
	buf_clear(&out);
}

static void
a_known_session_is_written_as_computed_independently(void **state)
{
	struct sgate_session *s = known_session();
	struct sgate_session *got;
	struct buf out;

	(void)state;
	buf_init(&out);
	buf_add_text(&out, "before"); /* it appends */
	assert_int_equal(
	    record_write(keys, &store, 'L', s, &out, NULL), SGATE_OK);
	assert_int_equal(out.len, 6 + sizeof(known));
	assert_memory_equal(out.data + 6, known, sizeof(known));
	got = read_known(known_bytes());
	same(got, s);
	sgate_session_free(got);
	sgate_session_free(s);
	buf_clear(&out);
}

static void
every_field_makes_the_round_trip(void **state)
{
	struct sgate_session *s = session_new();
	char *large = malloc(100001);

	(void)state;
	assert_non_null(s);
	s->state = SESSION_LIVE;
	round_trip(s, 'L');
	round_trip(s, 'U');

	s->seq = UINT64_MAX;
	s->version = 999999999999;
	s->has_prev = true;
	s->created_ms = INT64_MIN;
	s->auth_ms = -1;
	s->last_seen_ms = 9999999999999;
	s->idle_ms = INT64_MAX;
	s->absolute_ms = INT64_MAX;
	s->prev_until_ms = INT64_MAX;
	s->client_ip_len = 16;
	memset(s->client_ip, 0xff, 16);
	memset(s->ref.bytes, 0xff, SGATE_REF_BYTES);
	memset(s->secret_hash, 0xff, TOKEN_HASH_BYTES);
	memset(s->prev_hash, 0xfe, TOKEN_HASH_BYTES);
	memset(s->realm, 'r', SESSION_REALM_MAX);
	memset(s->user, 0xc3, SESSION_USER_MAX);
	memset(s->context, 'c', SESSION_CONTEXT_MAX);
	memset(s->user_agent, 'a', SESSION_AGENT_MAX);
	memset(large, 'x', 100000);
	large[100000] = '\0';
	assert_true(session_set(&s->data, bytes_of(large)));
	assert_true(session_set(&s->roles, bytes_of(large)));
	assert_true(session_set(&s->contexts, bytes_of(large)));
	assert_true(session_set(&s->exports, bytes_of(large)));
	round_trip(s, 'L');
	free(large);
	sgate_session_free(s);
}

/* The mark of the successor's first use is judged on the row alone. */
static void
a_copy_gives_grace_until_prev_until_and_no_longer(void **state)
{
	struct sgate_session *s = read_known(known_bytes());

	(void)state;
	assert_int_equal(session_secret(s, s->prev_hash, 1700000010000, 10000),
	    SESSION_SECRET_GRACE);
	assert_int_equal(session_secret(s, s->prev_hash, 1700000010001, 10000),
	    SESSION_SECRET_LATE);
	sgate_session_free(s);
}

static void
every_flipped_bit_is_refused(void **state)
{
	struct sgate_bytes bytes = known_bytes();
	unsigned accepted = 0;
	size_t bit;

	(void)state;
	for (bit = 0; bit < 8 * sizeof(known); bit++) {
		size_t at = bit / 8;
		struct sgate_session *s;
		char letter;

		known[at] ^= (unsigned char)(1u << bit % 8);
		if (record_read(keys, &store, &ref, bytes, &letter, &s, NULL) ==
		    SGATE_OK) {
			/* Only another last_seen, which has no seal. */
			assert_in_range(at, RECORD_LAST_SEEN_OFFSET,
			    RECORD_BODY_OFFSET - 1);
			assert_in_range(known[at], '0', '9');
			accepted++;
		}
		sgate_session_free(s);
		known[at] ^= (unsigned char)(1u << bit % 8);
	}
	assert_in_range(accepted, 13, 13 * 4);
	sgate_session_free(read_known(bytes));
}

static void
every_truncation_is_refused_and_nothing_behind_is_read(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct sgate_bytes bytes;
	char *map;

	(void)state;
	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(map != MAP_FAILED);
	assert_int_equal(mprotect(map + page, page, PROT_NONE), 0);
	for (bytes.len = 0; bytes.len <= sizeof(known); bytes.len++) {
		bytes.data = map + page - bytes.len;
		memcpy(map + page - bytes.len, known, bytes.len);
		if (bytes.len < sizeof(known))
			corrupt(&store, &ref, bytes, "");
		else
			sgate_session_free(read_known(bytes));
	}
	munmap(map, 2 * page);
	bytes.data = NULL;
	bytes.len = 0;
	corrupt(&store, &ref, bytes, "too short");
}

static void
a_record_with_more_behind_it_is_refused(void **state)
{
	char longer[sizeof(known) + 1] = {0};
	struct sgate_bytes bytes = {longer, sizeof(longer)};
	char *huge = calloc(1, RECORD_MAX_BYTES + 1);

	(void)state;
	memcpy(longer, known, sizeof(known));
	corrupt(&store, &ref, bytes, "wrong seal");
	bytes.data = huge;
	bytes.len = RECORD_MAX_BYTES + 1;
	corrupt(&store, &ref, bytes, "too long");
	free(huge);
}

static void
a_record_of_another_ref_store_or_epoch_is_refused(void **state)
{
	struct record_store other = store;
	struct sgate_ref wrong = ref;
	size_t i;

	(void)state;
	for (i = 0; i < SGATE_REF_BYTES; i++) {
		wrong.bytes[i] ^= 1;
		corrupt(&store, &wrong, known_bytes(), "wrong seal");
		wrong.bytes[i] ^= 1;
	}
	for (i = 0; i < sizeof(other.id); i++) {
		other.id[i] ^= 0x80;
		corrupt(&other, &ref, known_bytes(), "wrong seal");
		other.id[i] ^= 0x80;
	}
	other.epoch = 4;
	corrupt(&other, &ref, known_bytes(), "of another epoch");
	other.epoch = 2;
	corrupt(&other, &ref, known_bytes(), "of another epoch");
}

static void
a_record_of_a_key_that_is_gone_is_refused(void **state)
{
	struct keys *mine = keys;

	(void)state;
	keys = keyfile_keys(
	    "group " KEYFILE_GROUP "\nkey 9 " KEYFILE_OTHER " 1 0\n");
	corrupt(&store, &ref, known_bytes(), "key that is not there");
	keys_free(keys);
	keys = keyfile_keys(
	    "group " KEYFILE_GROUP "\nkey 7 " KEYFILE_OTHER " 1 0\n");
	corrupt(&store, &ref, known_bytes(), "wrong seal");
	keys_free(keys);
	keys = keyfile_keys("group " KEYFILE_GROUP "\nkey 9 " KEYFILE_OTHER
			    " 1 0\nkey 7 " KEYFILE_KEY " 1 5\n");
	sgate_session_free(read_known(known_bytes()));
	keys_free(keys);
	keys = mine;
}

static void
last_seen_rewritten_in_place_still_verifies(void **state)
{
	struct sgate_session *s;

	(void)state;
	memcpy(known + RECORD_LAST_SEEN_OFFSET, "1700000099999", 13);
	s = read_known(known_bytes());
	assert_int_equal(s->last_seen_ms, 1700000099999);
	sgate_session_free(s);
	memcpy(known + RECORD_LAST_SEEN_OFFSET, "170000009999 ", 13);
	corrupt(&store, &ref, known_bytes(), "not digits");
	memcpy(known + RECORD_LAST_SEEN_OFFSET, "-700000099999", 13);
	corrupt(&store, &ref, known_bytes(), "not digits");
	memcpy(known + RECORD_LAST_SEEN_OFFSET, "1700000001000", 13);
}

/* ---- data that stands apart ---- */

/* known_session() with so many bytes of data. */
static struct sgate_session *
session_with_data(size_t len)
{
	struct sgate_session *s = known_session();
	char *data = malloc(len + 1);

	assert_non_null(data);
	memset(data, 'x', len);
	memcpy(data, "{\"a\":\"", 6);
	memcpy(data + len - 2, "\"}", 3);
	assert_true(session_set(&s->data, bytes_of(data)));
	free(data);
	return s;
}

/* Its record, in *out. */
static struct sgate_session *
write_with_data(size_t len, struct buf *out)
{
	struct sgate_session *s = session_with_data(len);

	buf_init(out);
	assert_int_equal(
	    record_write(keys, &store, 'L', s, out, NULL), SGATE_OK);
	return s;
}

static void
much_data_stands_apart_as_computed_independently(void **state)
{
	unsigned char head[sizeof(head_hex) / 2], seal[RECORD_SEAL_BYTES];
	struct sgate_session *s, *got;
	struct buf out;

	(void)state;
	assert_int_equal(sodium_hex2bin(head, sizeof(head), head_hex,
			     sizeof(head_hex) - 1, NULL, NULL, NULL),
	    0);
	assert_int_equal(sodium_hex2bin(seal, sizeof(seal), data_seal_hex,
			     sizeof(data_seal_hex) - 1, NULL, NULL, NULL),
	    0);
	s = write_with_data(APART_LEN, &out);
	assert_int_equal(out.len, sizeof(head) + APART_LEN + sizeof(seal));
	assert_memory_equal(out.data, head, sizeof(head));
	assert_memory_equal(out.data + sizeof(head), s->data, APART_LEN);
	assert_memory_equal(
	    out.data + sizeof(head) + APART_LEN, seal, sizeof(seal));
	got = read_known(buf_bytes(&out));
	same(got, s);
	sgate_session_free(got);
	sgate_session_free(s);
	buf_clear(&out);
}

static void
data_of_every_length_makes_the_round_trip(void **state)
{
	static const size_t lens[] = {RECORD_DATA_INSIDE,
	    RECORD_DATA_INSIDE + 1, RECORD_PEEK_BYTES, 65536};
	struct sgate_session *s;
	struct buf out;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		s = write_with_data(lens[i], &out);
		assert_int_equal(out.data[RECORD_BODY_OFFSET], i == 0 ? 1 : 2);
		assert_int_equal(record_has_head(buf_bytes(&out)), i > 0);
		round_trip(s, 'L');
		round_trip(s, 'U');
		sgate_session_free(s);
		buf_clear(&out);
	}
}

static void
a_head_tells_all_but_data_without_what_is_behind_it(void **state)
{
	const size_t head_len = sizeof(head_hex) / 2;
	struct sgate_session *s, *got;
	struct sgate_bytes bytes;
	struct buf out;

	(void)state;
	s = write_with_data(65536, &out);
	assert_true(session_set(&s->data, bytes_of("")));
	bytes = buf_bytes(&out);
	for (bytes.len = 0; bytes.len <= RECORD_PEEK_BYTES; bytes.len++) {
		enum sgate_status status =
		    record_read_head(keys, &store, &ref, bytes, &got, NULL);

		assert_int_equal(
		    status, bytes.len < head_len ? SGATE_CORRUPT : SGATE_OK);
		assert_int_equal(record_has_head(bytes), bytes.len >= head_len);
		if (status == SGATE_OK)
			same(got, s);
		sgate_session_free(got);
	}
	/* Nobody takes it for the whole. */
	bytes.len = RECORD_PEEK_BYTES;
	corrupt(&store, &ref, bytes, "data of another length");
	sgate_session_free(s);
	buf_clear(&out);
}

static void
every_flipped_bit_of_a_head_or_of_data_is_refused(void **state)
{
	const size_t head_len = sizeof(head_hex) / 2;
	struct sgate_session *s, *got;
	struct buf out;
	size_t bit;
	char letter;

	(void)state;
	sgate_session_free(write_with_data(APART_LEN, &out));
	for (bit = 0; bit < 8 * out.len; bit++) {
		size_t at = bit / 8;
		char was = out.data[at];

		/* last_seen has no seal. */
		if (at >= RECORD_LAST_SEEN_OFFSET && at < RECORD_BODY_OFFSET)
			continue;
		out.data[at] = (char)(was ^ 1 << bit % 8);
		assert_int_equal(record_read(keys, &store, &ref,
				     buf_bytes(&out), &letter, &s, NULL),
		    SGATE_CORRUPT);
		assert_int_equal(record_read_head(keys, &store, &ref,
				     buf_bytes(&out), &got, NULL),
		    at < head_len ? SGATE_CORRUPT : SGATE_OK);
		sgate_session_free(got);
		out.data[at] = was;
	}
	buf_clear(&out);
}

static void
data_of_another_head_is_refused(void **state)
{
	const size_t head_len = sizeof(head_hex) / 2;
	struct sgate_session *s;
	struct buf old, now;

	(void)state;
	sgate_session_free(write_with_data(APART_LEN, &old));
	s = session_with_data(APART_LEN);
	s->version++;
	buf_init(&now);
	assert_int_equal(
	    record_write(keys, &store, 'L', s, &now, NULL), SGATE_OK);
	memcpy(now.data + head_len, old.data + head_len, old.len - head_len);
	corrupt(&store, &ref, buf_bytes(&now), "wrong seal of the data");
	/* Cut off, and with more behind it. */
	now.len--;
	corrupt(&store, &ref, buf_bytes(&now), "data of another length");
	now.len = head_len;
	corrupt(&store, &ref, buf_bytes(&now), "data of another length");
	buf_add_char(&old, 'x');
	corrupt(&store, &ref, buf_bytes(&old), "data of another length");
	sgate_session_free(s);
	buf_clear(&old);
	buf_clear(&now);
}

static void
a_head_of_another_store_ref_or_epoch_is_refused(void **state)
{
	struct record_store other = store;
	struct sgate_ref wrong = ref;
	struct sgate_session *s;
	struct buf out;

	(void)state;
	sgate_session_free(write_with_data(APART_LEN, &out));
	other.epoch++;
	assert_int_equal(
	    record_read_head(keys, &other, &ref, buf_bytes(&out), &s, NULL),
	    SGATE_CORRUPT);
	other = store;
	other.id[0] ^= 1;
	assert_int_equal(
	    record_read_head(keys, &other, &ref, buf_bytes(&out), &s, NULL),
	    SGATE_CORRUPT);
	wrong.bytes[3] ^= 1;
	assert_int_equal(
	    record_read_head(keys, &store, &wrong, buf_bytes(&out), &s, NULL),
	    SGATE_CORRUPT);
	buf_clear(&out);
}

static void
what_has_to_be_read_whole_is_no_head(void **state)
{
	struct record_birth birth = {{1, 2, 3}, "host", "actor"};
	struct sgate_session *s = session_with_data(APART_LEN), *got;
	struct buf out;
	char *large = malloc(RECORD_PEEK_BYTES + 1);

	(void)state;
	/* Small data; created while the durable store was away; a long head. */
	assert_int_equal(
	    record_read_head(keys, &store, &ref, known_bytes(), &got, NULL),
	    SGATE_CORRUPT);
	buf_init(&out);
	assert_int_equal(
	    record_write_new(keys, &store, s, &birth, &out, NULL), SGATE_OK);
	assert_int_equal(
	    record_read_head(keys, &store, &ref, buf_bytes(&out), &got, NULL),
	    SGATE_CORRUPT);
	buf_reset(&out);
	memset(large, 'e', RECORD_PEEK_BYTES);
	large[RECORD_PEEK_BYTES] = '\0';
	assert_true(session_set(&s->exports, bytes_of(large)));
	assert_int_equal(
	    record_write(keys, &store, 'L', s, &out, NULL), SGATE_OK);
	assert_false(record_has_head(buf_bytes(&out)));
	assert_int_equal(
	    record_read_head(keys, &store, &ref, buf_bytes(&out), &got, NULL),
	    SGATE_CORRUPT);
	got = read_known(buf_bytes(&out));
	same(got, s);
	sgate_session_free(got);
	sgate_session_free(s);
	buf_clear(&out);
	free(large);
}

/* Put the right seal on what is in `bytes`. */
static void
reseal(unsigned char *bytes, size_t len)
{
	crypto_generichash_state hash;
	size_t sealed = len - RECORD_SEAL_BYTES;

	crypto_generichash_init(&hash, keys_subkey(keys, 7, KEYS_SEAL), 32, 16);
	crypto_generichash_update(&hash, store.id, 16);
	crypto_generichash_update(&hash, ref.bytes, SGATE_REF_BYTES);
	crypto_generichash_update(&hash, bytes, 17);
	crypto_generichash_update(&hash, bytes + 30, sealed - 30);
	crypto_generichash_final(&hash, bytes + sealed, 16);
}

/* Whoever has the key could still have a bug: no trust in lengths. */
static void
well_sealed_nonsense_does_no_harm(void **state)
{
	static const unsigned char seed[randombytes_SEEDBYTES] = {4};
	static unsigned char noise[10000 * 8];
	unsigned char bytes[sizeof(known)];
	unsigned accepted = 0;
	size_t i, j;

	(void)state;
	print_message("# seed: 04 and 31 zero bytes\n");
	randombytes_buf_deterministic(noise, sizeof(noise), seed);
	for (i = 0; i < 10000; i++) {
		const unsigned char *n = noise + 8 * i;
		size_t len = sizeof(known) - (n[0] < 64 ? n[1] % 200 : 0);
		struct sgate_bytes all = {(char *)bytes, len};
		struct sgate_session *s;
		enum sgate_status status;
		char letter;

		memcpy(bytes, known, sizeof(known));
		for (j = 0; j < 1u + n[2] % 2; j++)
			bytes[32 + (n[3 + j] + 256u * n[5 + j]) %
				       (sizeof(known) - 32)] = n[6 + j];
		if (n[2] >= 250)
			bytes[n[3] % 32] = n[7];
		reseal(bytes, len);
		status =
		    record_read(keys, &store, &ref, all, &letter, &s, NULL);
		if (status == SGATE_OK) {
			accepted++;
			assert_true(strlen(s->realm) <= SESSION_REALM_MAX);
			assert_true(s->client_ip_len <= 16);
			assert_non_null(s->data);
		} else {
			assert_int_equal(status, SGATE_CORRUPT);
		}
		sgate_session_free(s);
	}
	assert_in_range(accepted, 1000, 9000);
}

static void
well_sealed_records_that_break_a_rule_are_refused(void **state)
{
	/* Offsets in the known record: see add_fields() of record.c. */
	enum { HAS_PREV = 104, ADDRESS = 145, REALM = 153 };
	unsigned char bytes[sizeof(known)];
	struct sgate_bytes all = {(char *)bytes, sizeof(bytes)};
	static const struct {
		size_t at;
		unsigned char value;
		const char *words;
	} cases[] = {
	    {0, 'T', "not the state"},
	    {0, 'l', "not the state"},
	    {1, ' ', "not digits"},
	    {16, 'a', "not digits"},
	    {30, 0, "another format"},
	    {30, 3, "a newer format"},
	    {30, 2, "a head that ends"},
	    {HAS_PREV, 2, "a flag"},
	    {ADDRESS + 3, 5, "an address"},
	    {REALM + 4, 0, "a NUL byte"},
	    {REALM, 0xff, "behind the record"},
	    {REALM + 3, 65, "too long"},
	    {sizeof(bytes) - 16 - 8, 6, "bytes behind"},
	    {sizeof(bytes) - 16 - 8, 8, "behind the record"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(bytes, known, sizeof(bytes));
		bytes[cases[i].at] = cases[i].value;
		reseal(bytes, sizeof(bytes));
		corrupt(&store, &ref, all, cases[i].words);
	}
}

/* As everybody wrote them before data could stand apart. */
static void
much_data_inside_is_still_read(void **state)
{
	/* Without the seal, the data and its length. */
	const size_t kept = sizeof(known) - RECORD_SEAL_BYTES - 7 - 4;
	struct sgate_session *s = session_with_data(65536), *got;
	struct buf out;

	(void)state;
	buf_init(&out);
	buf_add(&out, known, kept);
	buf_add(&out, "\0\1\0\0", 4);
	buf_add_text(&out, s->data);
	assert_non_null(buf_extend(&out, RECORD_SEAL_BYTES));
	reseal((unsigned char *)out.data, out.len);
	got = read_known(buf_bytes(&out));
	same(got, s);
	assert_false(record_has_head(buf_bytes(&out)));
	sgate_session_free(got);
	sgate_session_free(s);
	buf_clear(&out);
}

/* A head that says that little data stands apart. */
static void
little_data_that_stands_apart_is_refused(void **state)
{
	const size_t head_len = sizeof(head_hex) / 2 - RECORD_SEAL_BYTES;
	struct buf out;

	(void)state;
	sgate_session_free(write_with_data(APART_LEN, &out));
	out.data[head_len - 2] = 4;
	out.data[head_len - 1] = 0;
	reseal((unsigned char *)out.data, head_len + RECORD_SEAL_BYTES);
	corrupt(&store, &ref, buf_bytes(&out), "need not stand apart");
	buf_clear(&out);
}

static void
random_bytes_are_refused(void **state)
{
	static const unsigned char seed[randombytes_SEEDBYTES] = {5};
	static unsigned char noise[10000 * 16 + 256];
	size_t i;

	(void)state;
	print_message("# seed: 05 and 31 zero bytes\n");
	randombytes_buf_deterministic(noise, sizeof(noise), seed);
	for (i = 0; i < 10000; i++) {
		struct sgate_bytes bytes = {
		    (char *)noise + 16 * i, noise[16 * i]};
		struct record_tombstone tombstone;

		corrupt(&store, &ref, bytes, "");
		assert_false(record_tombstone_read(bytes, &tombstone));
	}
}

static void
what_does_not_fit_is_not_written(void **state)
{
	struct sgate_session *s = known_session();
	struct record_store late = store;
	char *large = malloc(RECORD_MAX_BYTES + 1);
	struct sgate_error err;
	struct buf out;

	(void)state;
	buf_init(&out);
	s->state = SESSION_ENDED;
	assert_int_equal(
	    record_write(keys, &store, 'L', s, &out, &err), SGATE_INTERNAL);
	s->state = SESSION_LIVE;
	assert_int_equal(
	    record_write(keys, &store, 'T', s, &out, &err), SGATE_INTERNAL);
	assert_int_equal(
	    record_write(keys, &store, 'U', s, &out, &err), SGATE_INTERNAL);
	late.epoch = 10000;
	assert_int_equal(
	    record_write(keys, &late, 'L', s, &out, &err), SGATE_TOO_LARGE);
	s->version = 1000000000000;
	assert_int_equal(
	    record_write(keys, &store, 'L', s, &out, &err), SGATE_TOO_LARGE);
	s->version = 1;
	s->last_seen_ms = -1;
	assert_int_equal(
	    record_write(keys, &store, 'L', s, &out, &err), SGATE_TOO_LARGE);
	s->last_seen_ms = 10000000000000;
	assert_int_equal(
	    record_write(keys, &store, 'L', s, &out, &err), SGATE_TOO_LARGE);
	s->last_seen_ms = 0;
	memset(large, 'x', RECORD_MAX_BYTES);
	large[RECORD_MAX_BYTES] = '\0';
	assert_true(session_set(&s->data, bytes_of(large)));
	assert_int_equal(
	    record_write(keys, &store, 'L', s, &out, &err), SGATE_TOO_LARGE);
	large[RECORD_MAX_BYTES / 2] = '\0';
	assert_true(session_set(&s->data, bytes_of(large)));
	assert_true(session_set(&s->roles, bytes_of(large)));
	assert_int_equal(
	    record_write(keys, &store, 'L', s, &out, &err), SGATE_TOO_LARGE);
	assert_int_equal(out.len, 0);
	free(large);
	sgate_session_free(s);
	buf_clear(&out);
}

static void
tombstones_make_the_round_trip(void **state)
{
	struct record_tombstone tombstone = {12, SGATE_REASON_LOGGED_OUT, 7};
	struct buf out;

	(void)state;
	buf_init(&out);
	record_tombstone_write(&store, &tombstone, &out);
	assert_string_equal(buf_text(&out), "T00030000000000120800000007");
	assert_int_equal(out.len, RECORD_TOMBSTONE_BYTES);
	memset(&tombstone, 0, sizeof(tombstone));
	assert_true(record_tombstone_read(buf_bytes(&out), &tombstone));
	assert_int_equal(tombstone.version, 12);
	assert_int_equal(tombstone.reason, SGATE_REASON_LOGGED_OUT);
	assert_int_equal(tombstone.realm, 7);
	corrupt(&store, &ref, buf_bytes(&out), "too short");
	buf_reset(&out);
	/* What is no reason to end a session still ends it. */
	tombstone = (struct record_tombstone){UINT64_MAX, SGATE_REASON_OK, 0};
	record_tombstone_write(&store, &tombstone, &out);
	assert_string_equal(buf_text(&out), "T00039999999999990900000000");
	buf_clear(&out);
}

static void
a_realm_has_eight_digits(void **state)
{
	char name[2] = "a";

	(void)state;
	assert_int_not_equal(record_realm(""), 0);
	assert_int_not_equal(record_realm(""), record_realm("shop"));
	for (; name[0] <= 'z'; name[0]++)
		assert_in_range(record_realm(name), 1, 99999999);
}

static void
tombstones_of_another_form_are_none(void **state)
{
	static const char *const wrong[] = {"", "T", "T000300000000001208",
	    "T0003000000000012080000001", "T0003000000000012080000000011",
	    "t00030000000000120800000001", "L00030000000000120800000001",
	    "T 0030000000000120800000001", "T000300000000001 0800000001",
	    "T00030000000000120x00000001", "T-0030000000000120800000001",
	    "T0003000000000012080000000x"};
	struct record_tombstone tombstone;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(
		    record_tombstone_read(bytes_of(wrong[i]), &tombstone));
	assert_true(record_tombstone_read(
	    bytes_of("T99990000000000129900000001"), &tombstone));
	assert_int_equal(tombstone.reason, SGATE_REASON_REVOKED);
	assert_true(record_tombstone_read(
	    bytes_of("T99990000000000120000000001"), &tombstone));
	assert_int_equal(tombstone.reason, SGATE_REASON_REVOKED);
}

static const struct CMUnitTest record[] = {
    cmocka_unit_test(a_known_session_is_written_as_computed_independently),
    cmocka_unit_test(every_field_makes_the_round_trip),
    cmocka_unit_test(a_copy_gives_grace_until_prev_until_and_no_longer),
    cmocka_unit_test(every_flipped_bit_is_refused),
    cmocka_unit_test(every_truncation_is_refused_and_nothing_behind_is_read),
    cmocka_unit_test(a_record_with_more_behind_it_is_refused),
    cmocka_unit_test(a_record_of_another_ref_store_or_epoch_is_refused),
    cmocka_unit_test(a_record_of_a_key_that_is_gone_is_refused),
    cmocka_unit_test(last_seen_rewritten_in_place_still_verifies),
    cmocka_unit_test(well_sealed_nonsense_does_no_harm),
    cmocka_unit_test(well_sealed_records_that_break_a_rule_are_refused),
    cmocka_unit_test(much_data_stands_apart_as_computed_independently),
    cmocka_unit_test(data_of_every_length_makes_the_round_trip),
    cmocka_unit_test(a_head_tells_all_but_data_without_what_is_behind_it),
    cmocka_unit_test(every_flipped_bit_of_a_head_or_of_data_is_refused),
    cmocka_unit_test(data_of_another_head_is_refused),
    cmocka_unit_test(a_head_of_another_store_ref_or_epoch_is_refused),
    cmocka_unit_test(what_has_to_be_read_whole_is_no_head),
    cmocka_unit_test(much_data_inside_is_still_read),
    cmocka_unit_test(little_data_that_stands_apart_is_refused),
    cmocka_unit_test(random_bytes_are_refused),
    cmocka_unit_test(what_does_not_fit_is_not_written),
    cmocka_unit_test(tombstones_make_the_round_trip),
    cmocka_unit_test(a_realm_has_eight_digits),
    cmocka_unit_test(tombstones_of_another_form_are_none),
};

TAP_MAIN_WITH(record, setup, teardown)
