/* The key file: its form, who may read it, its changes. */
#include "tap.h"

#include "keyfile.h"

#include <errno.h>
#include <sys/wait.h>

#include <sodium.h>

static struct keyfile file;

static int
setup(void **state)
{
	(void)state;
	keyfile_init(&file);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	keyfile_clear(&file);
	return 0;
}

static void
put(const char *text)
{
	keyfile_write(&file, text, strlen(text), 0640);
}

static struct keys *
load(void)
{
	struct sgate_error err;
	struct keys *keys;

	if (keys_load(file.path, &keys, &err) != SGATE_OK)
		fail_msg("%s", err.text);
	return keys;
}

static void
read_text(char out[20000])
{
	FILE *in = fopen(file.path, "r");
	size_t len;

	assert_non_null(in);
	len = fread(out, 1, 19999, in);
	out[len] = '\0';
	fclose(in);
}

/* The file is refused and the text of the error holds `words`. */
static void
refused(const char *text, size_t len, const char *words)
{
	struct sgate_error err;
	struct keys *keys = (struct keys *)&err;

	keyfile_write(&file, text, len, 0640);
	assert_int_equal(keys_load(file.path, &keys, &err), SGATE_INVALID);
	assert_null(keys);
	assert_int_equal(err.status, SGATE_INVALID);
	if (strstr(err.text, words) == NULL)
		fail_msg("\"%s\" is not in: %s", words, err.text);
	assert_null(strstr(err.text, "2021222324"));
}

static void
is_hex(const unsigned char *bytes, size_t len, const char *expected)
{
	char hex[65];

	sodium_bin2hex(hex, sizeof(hex), bytes, len);
	assert_string_equal(hex, expected);
}

static void
subkeys_are_those_computed_independently(void **state)
{
	/* tests/vectors.py */
	static const char *const expected[] = {NULL,
	    "aa6195092cd2633d464f9b16d25fc479",
	    "c0d5a0e996405f1f30d099507c7566ec536e9ca6103dccedc2e289b47c74a569",
	    "d19e20fbcb221dbb1d177ce820d6304032c2c22273885beef3ccc69042be3d25",
	    "8f66289f9de4253e1476f7d8abb4ad29a866ad3a7b3781124905ac34a7e0ef7b",
	    "c68907f76255ae36306eb414eb736f19c026015f12b5ce3413f4bb9de4346d2d",
	    "1fa3c2fcbd41592ed83cc7d45cea9aeb285e87c1587c0a8bd19b6998cf994881",
	    "93dfedc6da243be7cc3b15ab8c13534c3d700f8b65dfd4e3f82450d6688aeb44",
	    "ea169192dde5c0de18b9e7fb7a02ed07de438f2dca393f13d3a1ee91e3ec5c87"};
	struct keys *keys;
	unsigned use;

	(void)state;
	put(KEYFILE_KNOWN);
	keys = load();
	for (use = 1; use <= 8; use++)
		is_hex(keys_subkey(keys, 7, (enum keys_use)use),
		    use == KEYS_TAG ? 16 : 32, expected[use]);
	for (use = 1; use <= 4; use++)
		assert_null(keys_subkey(keys, 8, (enum keys_use)use));
	for (use = 5; use <= 8; use++)
		assert_ptr_equal(keys_subkey(keys, 8, (enum keys_use)use),
		    keys_subkey(keys, 7, (enum keys_use)use));
	assert_null(keys_subkey(keys, 7, (enum keys_use)0));
	assert_null(keys_subkey(keys, 7, (enum keys_use)9));
	keys_free(keys);
	keys_free(NULL);
}

static void
digest_of(const char *text, unsigned char out[KEYS_DIGEST_BYTES])
{
	struct keys *keys;

	put(text);
	keys = load();
	keys_digest(keys, out);
	keys_free(keys);
}

static void
the_digest_is_that_of_all_keys_that_verify(void **state)
{
	static const char *const others[] = {"group " KEYFILE_GROUP
					     "\nkey 8 " KEYFILE_KEY " 5 0\n",
	    "group " KEYFILE_GROUP "\nkey 7 " KEYFILE_OTHER " 5 0\n",
	    "group " KEYFILE_OTHER "\nkey 7 " KEYFILE_KEY " 5 0\n",
	    "group " KEYFILE_GROUP "\nkey 7 " KEYFILE_KEY
	    " 5 0\nkey 8 " KEYFILE_OTHER " 5 0\n"};
	unsigned char digest[KEYS_DIGEST_BYTES], other[KEYS_DIGEST_BYTES];
	size_t i;

	(void)state;
	digest_of(
	    "group " KEYFILE_GROUP "\nkey 7 " KEYFILE_KEY " 5 0\n", digest);
	digest_of("# again\nkey 7 " KEYFILE_KEY " 9 0\ngroup " KEYFILE_GROUP
		  "\n",
	    other);
	assert_memory_equal(digest, other, sizeof(digest));
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		digest_of(others[i], other);
		assert_memory_not_equal(digest, other, sizeof(digest));
	}
}

static void
a_file_with_remarks_blanks_and_many_keys_is_read(void **state)
{
	struct keys *keys;

	(void)state;
	put("# remark\n\n  \t\n"
	    "key 200 " KEYFILE_KEY " 5 0\n"
	    "last 201\n"
	    "key\t1 " KEYFILE_OTHER "  1   99999999999999\n"
	    " group " KEYFILE_GROUP); /* no newline at the end */
	keys = load();
	assert_int_equal(keys_count(keys), 2);
	assert_int_equal(keys_signing_id(keys), 200);
	assert_true(keys_info(keys, 0).signs);
	assert_int_equal(keys_info(keys, 0).created_ms, 5);
	assert_int_equal(keys_info(keys, 1).id, 1);
	assert_false(keys_info(keys, 1).signs);
	assert_int_equal(keys_info(keys, 1).stopped_ms, 99999999999999);
	assert_int_equal(keys_info(keys, 2).id, 0);
	assert_non_null(keys_subkey(keys, 1, KEYS_TAG));
	keys_free(keys);
}

static void
bad_lines_are_refused_with_their_number(void **state)
{
	static const struct {
		const char *line, *words;
	} cases[] = {
	    {"key 0 " KEYFILE_KEY " 1 0", ":3: the id is not"},
	    {"key 256 " KEYFILE_KEY " 1 0", ":3: the id is not"},
	    {"key -1 " KEYFILE_KEY " 1 0", ":3: the id is not"},
	    {"key 1x " KEYFILE_KEY " 1 0", ":3: the id is not"},
	    {"key 7 " KEYFILE_OTHER " 1 0", ":3: this id is there already"},
	    {"key 8 " KEYFILE_KEY "0 1 0", ":3: the key is not 64 hex"},
	    {"key 8 0x" KEYFILE_KEY " 1 0", ":3: the key is not 64 hex"},
	    {"key 8 abcd 1 0", ":3: the key is not 64 hex"},
	    {"key 8 " KEYFILE_KEY " 1", ":3: a key line is"},
	    {"key 8 " KEYFILE_KEY " 1 0 0", ":3: a key line is"},
	    {"key 8 " KEYFILE_KEY " -1 0", ":3: a time is not"},
	    {"key 8 " KEYFILE_KEY " 1 1e3", ":3: a time is not"},
	    {"key 8 " KEYFILE_KEY " 1 0\r", ":3: a time is not"},
	    {"key 8 " KEYFILE_KEY " 1 99999999999999999999", ":3: a time"},
	    {"key 8 " KEYFILE_KEY " 1 100000000000000", ":3: a time"},
	    {"group " KEYFILE_GROUP, ":3: a second group"},
	    {"last 0", ":3: the last id"},
	    {"last", ":3: the last id"},
	    {"keys 8 " KEYFILE_KEY " 1 0", ":3: the line begins with none"},
	    {"KEY 8 " KEYFILE_KEY " 1 0", ":3: the line begins with none"},
	    {"\xef\xbb\xbf# remark", ":3: the line begins with none"},
	};
	char text[1024];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(
		    text, sizeof(text), KEYFILE_KNOWN "%s\n", cases[i].line);
		refused(text, strlen(text), cases[i].words);
	}
}

static void
files_that_are_not_whole_are_refused(void **state)
{
	static char text[20000];
	size_t len = 0;
	int i;

	(void)state;
	refused("", 0, "no group key");
	refused("group " KEYFILE_GROUP "\n", 71, "no signing key");
	refused("key 7 " KEYFILE_KEY " 1 0\n", 75, "no group key");
	refused("group 00\n", 9, ":1: the group key is not");
	refused("group\n", 6, ":1: the group key is not");
	refused("key 7 " KEYFILE_KEY " 1 2\n", 75, ":1: the first key signs");
	/* The id is 7 with a NUL behind it. */
	refused("key 7\0 " KEYFILE_KEY " 1 0\n", 76, ":1: the id is not");
	memset(text, '#', sizeof(text));
	refused(text, sizeof(text), "longer than 16384");
	for (i = 1; i <= 17; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
		    "key %d " KEYFILE_KEY " 1 0\n", i);
	refused(text, len, ":17: more than 16 keys");
}

static void
every_truncation_is_refused_or_reads_whole_lines(void **state)
{
	static const char text[] = KEYFILE_KNOWN "key 8 " KEYFILE_OTHER " 1 2";
	struct sgate_error err;
	struct keys *keys;
	size_t len;

	(void)state;
	for (len = 0; len < sizeof(text) - 1; len++) {
		keyfile_write(&file, text, len, 0600);
		if (keys_load(file.path, &keys, &err) == SGATE_OK)
			assert_in_range(keys_count(keys), 1, 2);
		else
			assert_int_equal(err.status, SGATE_INVALID);
		keys_free(keys);
	}
}

static void
random_files_do_no_harm(void **state)
{
	static const unsigned char seed[randombytes_SEEDBYTES] = {1};
	static unsigned char noise[10000 * 4];
	static const char text[] = KEYFILE_KNOWN;
	char changed[sizeof(text)];
	struct sgate_error err;
	struct keys *keys;
	int i;

	(void)state;
	print_message("# seed: 01 and 31 zero bytes\n");
	randombytes_buf_deterministic(noise, sizeof(noise), seed);
	for (i = 0; i < 2000; i++) {
		const unsigned char *n = noise + 4 * i;

		memcpy(changed, text, sizeof(text));
		changed[(n[0] + 256u * n[1]) % (sizeof(text) - 1)] = (char)n[2];
		keyfile_write(&file, changed, sizeof(text) - 1, 0600);
		if (keys_load(file.path, &keys, &err) == SGATE_OK)
			assert_int_equal(keys_count(keys), 1);
		keys_free(keys);
	}
}

static void
files_that_others_can_reach_are_refused(void **state)
{
	static const mode_t good[] = {0400, 0440, 0600, 0640, 0700, 0750};
	struct sgate_error err;
	struct keys *keys;
	mode_t mode;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		keyfile_write(
		    &file, KEYFILE_KNOWN, strlen(KEYFILE_KNOWN), good[i]);
		keys_free(load());
	}
	for (mode = 1; mode < 0100; mode++) {
		if ((mode & 0027) == 0)
			continue;
		keyfile_write(
		    &file, KEYFILE_KNOWN, strlen(KEYFILE_KNOWN), 0600 | mode);
		assert_int_equal(
		    keys_load(file.path, &keys, &err), SGATE_INVALID);
		assert_non_null(strstr(err.text, "chmod 0640"));
	}
}

static void
only_a_regular_file_is_read(void **state)
{
	struct sgate_error err;
	char target[100];
	struct keys *keys;

	(void)state;
	assert_int_equal(keys_load(file.path, &keys, &err), SGATE_INVALID);
	assert_int_equal(err.native_code, ENOENT);
	assert_int_equal(
	    keys_load("/nowhere/at/all", &keys, &err), SGATE_INVALID);
	assert_int_equal(keys_load("", &keys, &err), SGATE_INVALID);
	assert_int_equal(keys_load("/tmp/", &keys, &err), SGATE_INVALID);
	assert_int_equal(keys_load(file.directory, &keys, &err), SGATE_INVALID);
	assert_non_null(strstr(err.text, "not a regular file"));

	assert_int_equal(mkfifo(file.path, 0600), 0);
	assert_int_equal(keys_load(file.path, &keys, &err), SGATE_INVALID);
	assert_non_null(strstr(err.text, "not a regular file"));

	put(KEYFILE_KNOWN);
	snprintf(target, sizeof(target), "%s/other", file.directory);
	assert_int_equal(rename(file.path, target), 0);
	assert_int_equal(symlink("other", file.path), 0);
	assert_int_equal(keys_load(file.path, &keys, &err), SGATE_INVALID);
	assert_non_null(strstr(err.text, "symbolic link"));
	assert_null(keys);
	assert_int_equal(unlink(target), 0);
	assert_int_equal(keys_load(file.path, &keys, NULL), SGATE_INVALID);
}

static void
create_makes_a_good_file_once(void **state)
{
	char first[20000], second[20000];
	struct sgate_error err;
	struct keys *keys;
	struct stat st;
	mode_t mask;

	(void)state;
	mask = umask(0777);
	assert_int_equal(keys_create(file.path, 1700000000000, &err), SGATE_OK);
	umask(mask);
	assert_int_equal(stat(file.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_nlink, 1);
	read_text(first);
	assert_int_equal(keys_create(file.path, 1700000000001, &err), SGATE_OK);
	read_text(second);
	assert_string_equal(first, second);
	keys = load();
	assert_int_equal(keys_count(keys), 1);
	assert_int_equal(keys_signing_id(keys), 1);
	assert_int_equal(keys_info(keys, 0).created_ms, 1700000000000);
	assert_int_equal(keys_info(keys, 0).stopped_ms, 0);
	keys_free(keys);
}

static void
create_says_what_is_missing(void **state)
{
	struct sgate_error err;
	char path[120];

	(void)state;
	snprintf(path, sizeof(path), "%s/no/keys", file.directory);
	assert_int_equal(keys_create(path, 1, &err), SGATE_INVALID);
	assert_non_null(strstr(err.text, "create it"));
	assert_int_equal(keys_create(file.path, -1, &err), SGATE_INTERNAL);
	/* A link that leads nowhere is not followed. */
	assert_int_equal(symlink("/nowhere/keys", file.path), 0);
	assert_int_equal(keys_create(file.path, 1, &err), SGATE_OK);
	assert_int_equal(readlink(file.path, path, sizeof(path)), 13);
}

static void
all_who_create_at_once_load_the_same_keys(void **state)
{
	unsigned char subkey[32], others[32];
	struct keys *keys;
	int fds[2];
	int i, result;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	for (i = 0; i < 8; i++) {
		if (fork() != 0)
			continue;
		if (keys_create(file.path, 1, NULL) != SGATE_OK ||
		    keys_load(file.path, &keys, NULL) != SGATE_OK ||
		    write(fds[1], keys_subkey(keys, 0, KEYS_CHAIN), 32) != 32)
			_exit(1);
		_exit(0);
	}
	for (i = 0; i < 8; i++) {
		assert_true(wait(&result) > 0);
		assert_int_equal(result, 0);
		assert_int_equal(read(fds[0], others, 32), 32);
		if (i == 0)
			memcpy(subkey, others, 32);
		assert_memory_equal(subkey, others, 32);
	}
	close(fds[0]);
	close(fds[1]);
}

static void
new_use_and_retire_change_the_file(void **state)
{
	const int64_t day = 86400000;
	struct sgate_error err;
	unsigned char chain[32], tag[16];
	struct keys *keys;
	uint8_t id;

	(void)state;
	put(KEYFILE_KNOWN);
	assert_int_equal(keys_file_new(file.path, 10, &id, &err), SGATE_OK);
	assert_int_equal(id, 8);
	keys = load();
	assert_int_equal(keys_count(keys), 2);
	assert_int_equal(keys_signing_id(keys), 7);
	assert_int_equal(keys_info(keys, 1).created_ms, 10);
	assert_int_equal(keys_info(keys, 1).stopped_ms, 0);
	memcpy(chain, keys_subkey(keys, 0, KEYS_CHAIN), 32);
	memcpy(tag, keys_subkey(keys, 7, KEYS_TAG), 16);
	assert_memory_not_equal(tag, keys_subkey(keys, 8, KEYS_TAG), 16);
	keys_free(keys);

	assert_int_equal(
	    keys_file_use(file.path, 9, 20, &err), SGATE_NOT_FOUND);
	assert_int_equal(keys_file_use(file.path, 8, 20, &err), SGATE_OK);
	assert_int_equal(keys_file_use(file.path, 8, 30, &err), SGATE_OK);
	keys = load();
	assert_int_equal(keys_signing_id(keys), 8);
	assert_int_equal(keys_info(keys, 0).stopped_ms, 0);
	assert_int_equal(keys_info(keys, 1).id, 7);
	assert_int_equal(keys_info(keys, 1).stopped_ms, 20);
	assert_memory_equal(chain, keys_subkey(keys, 0, KEYS_CHAIN), 32);
	assert_memory_equal(tag, keys_subkey(keys, 7, KEYS_TAG), 16);
	keys_free(keys);

	assert_int_equal(
	    keys_file_retire(file.path, 8, 40, day, &err), SGATE_DENIED);
	assert_non_null(strstr(err.text, "key use ID"));
	assert_int_equal(
	    keys_file_retire(file.path, 9, 40, day, &err), SGATE_NOT_FOUND);
	assert_int_equal(
	    keys_file_retire(file.path, 7, 20 + day - 1, day, &err),
	    SGATE_DENIED);
	assert_non_null(strstr(err.text, "1970-01-02T00:00:00.020Z"));
	assert_int_equal(
	    keys_file_retire(file.path, 7, 1, day, &err), SGATE_DENIED);
	assert_int_equal(
	    keys_file_retire(file.path, 7, 20 + day, day, &err), SGATE_OK);
	keys = load();
	assert_int_equal(keys_count(keys), 1);
	assert_null(keys_subkey(keys, 7, KEYS_TAG));
	assert_memory_equal(chain, keys_subkey(keys, 0, KEYS_CHAIN), 32);
	keys_free(keys);
}

static void
a_key_that_never_signed_is_retired_at_once(void **state)
{
	uint8_t id;

	(void)state;
	put(KEYFILE_KNOWN);
	assert_int_equal(keys_file_new(file.path, 10, &id, NULL), SGATE_OK);
	assert_int_equal(
	    keys_file_retire(file.path, id, 11, 86400000, NULL), SGATE_OK);
}

static void
a_key_that_signs_again_is_stamped_again(void **state)
{
	struct keys *keys;
	uint8_t id;

	(void)state;
	put(KEYFILE_KNOWN);
	assert_int_equal(keys_file_new(file.path, 10, &id, NULL), SGATE_OK);
	assert_int_equal(keys_file_new(file.path, 10, &id, NULL), SGATE_OK);
	/* 0 would say that it never signed. */
	assert_int_equal(keys_file_use(file.path, 9, 0, NULL), SGATE_OK);
	keys = load();
	assert_int_equal(keys_info(keys, 1).stopped_ms, 1);
	keys_free(keys);
	assert_int_equal(keys_file_use(file.path, 7, 50, NULL), SGATE_OK);
	assert_int_equal(keys_file_use(file.path, 8, 60, NULL), SGATE_OK);
	keys = load();
	assert_int_equal(keys_info(keys, 0).id, 8);
	assert_int_equal(keys_info(keys, 1).id, 7);
	assert_int_equal(keys_info(keys, 1).stopped_ms, 60);
	assert_int_equal(keys_info(keys, 2).id, 9);
	assert_int_equal(keys_info(keys, 2).stopped_ms, 50);
	keys_free(keys);
}

static void
ids_go_round_and_are_not_soon_used_again(void **state)
{
	uint8_t id;
	int i;

	(void)state;
	put(KEYFILE_KNOWN);
	assert_int_equal(keys_file_new(file.path, 1, &id, NULL), SGATE_OK);
	for (i = 9; i < 300; i++) {
		assert_int_equal(
		    keys_file_retire(file.path, id, 1, 1, NULL), SGATE_OK);
		assert_int_equal(
		    keys_file_new(file.path, 1, &id, NULL), SGATE_OK);
		if (i == 255)
			assert_int_equal(id, 255);
		if (i == 256)
			assert_int_equal(id, 1);
		if (i == 262)
			assert_int_equal(id, 8); /* 7 is in use */
	}
}

static void
no_more_than_16_keys_are_made(void **state)
{
	struct sgate_error err;
	uint8_t id;
	int i;

	(void)state;
	put(KEYFILE_KNOWN);
	for (i = 2; i <= 16; i++)
		assert_int_equal(
		    keys_file_new(file.path, 1, &id, &err), SGATE_OK);
	assert_int_equal(
	    keys_file_new(file.path, 1, &id, &err), SGATE_TOO_LARGE);
	assert_int_equal(id, 0);
	keys_free(load());
}

static void
a_change_keeps_mode_and_leaves_a_bad_file_alone(void **state)
{
	static const char bad[] = "group " KEYFILE_GROUP "\nkey 7 00 1 0\n";
	char text[20000], stale[100];
	struct sgate_error err;
	struct stat st;
	uint8_t id;
	int fd;

	(void)state;
	/* What a killed command left behind. */
	snprintf(stale, sizeof(stale), "%s.new", file.path);
	fd = open(stale, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	keyfile_write(&file, KEYFILE_KNOWN, strlen(KEYFILE_KNOWN), 0600);
	assert_int_equal(keys_file_new(file.path, 1, &id, &err), SGATE_OK);
	assert_int_equal(stat(file.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	put(bad);
	assert_int_equal(keys_file_new(file.path, 1, &id, &err), SGATE_INVALID);
	read_text(text);
	assert_string_equal(text, bad);
	assert_int_equal(unlink(file.path), 0);
	assert_int_equal(keys_file_new(file.path, 1, &id, &err), SGATE_INVALID);
}

static void
commands_at_once_lose_nothing(void **state)
{
	struct keys *keys;
	uint8_t id;
	int i, result;

	(void)state;
	put(KEYFILE_KNOWN);
	for (i = 0; i < 15; i++)
		if (fork() == 0)
			_exit(
			    keys_file_new(file.path, 1, &id, NULL) != SGATE_OK);
	for (i = 0; i < 15; i++) {
		assert_true(wait(&result) > 0);
		assert_int_equal(result, 0);
	}
	keys = load();
	assert_int_equal(keys_count(keys), 16);
	for (i = 8; i <= 22; i++)
		assert_non_null(keys_subkey(keys, (uint8_t)i, KEYS_TAG));
	keys_free(keys);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest keys[] = {
    CASE(subkeys_are_those_computed_independently),
    CASE(the_digest_is_that_of_all_keys_that_verify),
    CASE(a_file_with_remarks_blanks_and_many_keys_is_read),
    CASE(bad_lines_are_refused_with_their_number),
    CASE(files_that_are_not_whole_are_refused),
    CASE(every_truncation_is_refused_or_reads_whole_lines),
    CASE(random_files_do_no_harm),
    CASE(files_that_others_can_reach_are_refused),
    CASE(only_a_regular_file_is_read),
    CASE(create_makes_a_good_file_once),
    CASE(create_says_what_is_missing),
    CASE(all_who_create_at_once_load_the_same_keys),
    CASE(new_use_and_retire_change_the_file),
    CASE(a_key_that_never_signed_is_retired_at_once),
    CASE(a_key_that_signs_again_is_stamped_again),
    CASE(ids_go_round_and_are_not_soon_used_again),
    CASE(no_more_than_16_keys_are_made),
    CASE(a_change_keeps_mode_and_leaves_a_bad_file_alone),
    CASE(commands_at_once_lose_nothing),
};

TAP_MAIN(keys)
