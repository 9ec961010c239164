/*
 * The table of the local cache: what a drop does, what is found and what is
 * not, and that processes which are killed or stopped while they write leave
 * nothing that is half one entry and half another.
 */
#include "tap.h"

#include "local.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "token.h"

#define KIB ((uint64_t)1024)
#define B(text) bytes_of(text)

static struct local *
made(uint64_t size)
{
	struct local *local = NULL;
	struct sgate_error err;

	assert_int_equal(local_create(size, &local, &err), SGATE_OK);
	assert_non_null(local);
	return local;
}

/* `set`: of the ref's place; refs that differ in `rest` alone share that. */
static struct sgate_ref
ref_of(uint32_t set, uint32_t rest)
{
	struct sgate_ref ref = {{0}};

	memcpy(ref.bytes + 7, &set, sizeof(set));
	ref.bytes[0] = (unsigned char)(rest >> 24);
	ref.bytes[1] = (unsigned char)(rest >> 16);
	ref.bytes[2] = (unsigned char)(rest >> 8);
	ref.bytes[11] = (unsigned char)rest;
	return ref;
}

static struct local_hash
hash_of(const struct local *local, const char *digest)
{
	struct local_hash hash;

	local_hash_init(
	    local, (const unsigned char *)digest, strlen(digest), &hash);
	return hash;
}

static void
key_of(const struct local *local, const char *token, unsigned char *out)
{
	const struct local_hash hash = hash_of(local, "keys");

	assert_true(local_key(&hash, B("shop"), B(token), B(""), out));
}

/* An entry all of whose values are made of one number. */
static struct local_entry
entry_of(const struct sgate_ref *ref, uint64_t n)
{
	struct local_entry entry;

	memset(&entry, 0, sizeof(entry));
	entry.ref = *ref;
	entry.version = n;
	entry.created_ms = (int64_t)n + 1;
	entry.auth_ms = (int64_t)n + 2;
	entry.last_seen_ms = (int64_t)n + 3;
	entry.idle_ms = (int64_t)n + 4;
	entry.absolute_ms = (int64_t)n + 5;
	entry.user_len = 40;
	entry.roles_len = 50;
	entry.context_len = 48;
	entry.exports_len = 50;
	memset(entry.text, 'a' + (int)(n % 26), sizeof(entry.text));
	return entry;
}

static bool
is_whole(const struct local_entry *entry)
{
	struct local_entry whole = entry_of(&entry->ref, entry->version);

	return memcmp(&whole, entry, sizeof(whole)) == 0;
}

static void
fill(struct local *local, const struct sgate_ref *ref, const char *token,
    uint64_t n)
{
	struct local_entry entry = entry_of(ref, n);
	unsigned char key[LOCAL_KEY_BYTES];
	struct local_ticket ticket;

	key_of(local, token, key);
	local_take_ticket(local, ref, &ticket);
	local_fill(local, key, &ticket, &entry);
}

/* The version that is found; 0: none. */
static uint64_t
find(struct local *local, const struct sgate_ref *ref, const char *token)
{
	unsigned char key[LOCAL_KEY_BYTES];
	struct local_entry entry;

	memset(&entry, 0, sizeof(entry));
	key_of(local, token, key);
	if (!local_get(local, ref, key, &entry))
		return 0;
	assert_true(is_whole(&entry));
	return entry.version;
}

/* ---- one process ---- */

static void
a_size_of_zero_is_no_table(void **state)
{
	struct local *local = NULL;
	struct sgate_error err;

	(void)state;
	assert_int_equal(local_create(0, &local, &err), SGATE_OK);
	assert_null(local);
	assert_int_equal(local_create(100, &local, &err), SGATE_INVALID);
	assert_null(local);
	assert_int_equal(local_create(UINT64_MAX, &local, &err), SGATE_INVALID);
	local_close(NULL);
}

static void
what_is_filled_is_found_by_its_key_alone(void **state)
{
	struct local *local = made(64 * KIB);
	struct local_hash hash;
	struct sgate_ref ref = ref_of(7, 1), other = ref_of(7, 2);
	unsigned char key[LOCAL_KEY_BYTES];
	struct local_entry entry;
	uint64_t version;

	(void)state;
	hash = hash_of(local, "keys");
	assert_int_equal(find(local, &ref, "token"), 0);
	assert_false(local_has(local, &ref, &version));
	fill(local, &ref, "token", 5);
	assert_int_equal(find(local, &ref, "token"), 5);
	assert_true(local_has(local, &ref, &version));
	assert_int_equal(version, 5);
	assert_int_equal(find(local, &ref, "Token"), 0);
	assert_int_equal(find(local, &other, "token"), 0);
	assert_false(local_has(local, &other, &version));
	/* The same bytes, cut otherwise. */
	assert_true(local_key(&hash, B("shopt"), B("oken"), B(""), key));
	assert_false(local_get(local, &ref, key, &entry));
	assert_true(local_key(&hash, B("shop"), B("tok"), B("en"), key));
	assert_false(local_get(local, &ref, key, &entry));
	assert_true(local_key(&hash, B(""), B("token"), B(""), key));
	assert_false(local_get(local, &ref, key, &entry));
	/* Likewise, by one who goes by other keys. */
	hash = hash_of(local, "others");
	assert_true(local_key(&hash, B("shop"), B("token"), B(""), key));
	assert_false(local_get(local, &ref, key, &entry));
	local_close(local);
}

static void
what_is_too_long_has_no_key(void **state)
{
	struct local *local = made(64 * KIB);
	const struct local_hash hash = hash_of(local, "keys");
	unsigned char key[LOCAL_KEY_BYTES];
	char text[LOCAL_BOUND_MAX + 1];

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_true(local_key(&hash, (struct sgate_bytes){text, 64},
	    (struct sgate_bytes){text, SGATE_TOKEN_LEN},
	    (struct sgate_bytes){text, LOCAL_BOUND_MAX}, key));
	assert_false(local_key(
	    &hash, (struct sgate_bytes){text, 65}, B("t"), B(""), key));
	assert_false(local_key(&hash, B(""),
	    (struct sgate_bytes){text, SGATE_TOKEN_LEN + 1}, B(""), key));
	assert_false(local_key(&hash, B(""), B("t"),
	    (struct sgate_bytes){text, LOCAL_BOUND_MAX + 1}, key));
	local_close(local);
}

static void
keys_of_two_tables_differ(void **state)
{
	struct local *one = made(64 * KIB), *two = made(64 * KIB);
	unsigned char key[LOCAL_KEY_BYTES], other[LOCAL_KEY_BYTES];

	(void)state;
	key_of(one, "token", key);
	key_of(two, "token", other);
	assert_memory_not_equal(key, other, sizeof(key));
	local_close(one);
	local_close(two);
}

static void
a_second_fill_takes_the_place_of_the_first(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref ref = ref_of(7, 1);
	uint64_t version;

	(void)state;
	fill(local, &ref, "old", 5);
	fill(local, &ref, "new", 6);
	assert_int_equal(find(local, &ref, "old"), 0);
	assert_int_equal(find(local, &ref, "new"), 6);
	assert_true(local_has(local, &ref, &version));
	assert_int_equal(version, 6);
	local_close(local);
}

static void
a_drop_ends_the_entry_and_every_fill_of_before(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref ref = ref_of(7, 1);
	struct local_entry entry = entry_of(&ref, 5);
	unsigned char key[LOCAL_KEY_BYTES];
	struct local_ticket ticket;

	(void)state;
	key_of(local, "token", key);
	fill(local, &ref, "token", 5);
	local_take_ticket(local, &ref, &ticket);
	local_drop(local, &ref);
	assert_int_equal(find(local, &ref, "token"), 0);
	local_fill(local, key, &ticket, &entry);
	assert_int_equal(find(local, &ref, "token"), 0);
	fill(local, &ref, "token", 6);
	assert_int_equal(find(local, &ref, "token"), 6);
	local_close(local);
}

static void
to_drop_all_ends_every_entry_and_every_fill_of_before(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref ref = ref_of(7, 1);
	struct local_entry entry = entry_of(&ref, 5);
	unsigned char key[LOCAL_KEY_BYTES];
	struct local_ticket ticket;
	uint64_t version;

	(void)state;
	key_of(local, "token", key);
	fill(local, &ref, "token", 5);
	local_take_ticket(local, &ref, &ticket);
	local_drop_all(local);
	assert_int_equal(find(local, &ref, "token"), 0);
	assert_false(local_has(local, &ref, &version));
	local_fill(local, key, &ticket, &entry);
	assert_int_equal(find(local, &ref, "token"), 0);
	fill(local, &ref, "token", 6);
	assert_int_equal(find(local, &ref, "token"), 6);
	local_close(local);
}

/* One of eight: there are so many more buckets than entries. */
static void
a_drop_seldom_costs_another_entry(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref mine = ref_of(7, 0), ref;
	unsigned other, lost = 0;

	(void)state;
	for (other = 1; other < 256; other++) {
		ref = ref_of(7, other);
		fill(local, &mine, "token", 5);
		local_drop(local, &ref);
		lost += find(local, &mine, "token") == 0;
	}
	assert_int_equal(lost, 3);
	local_close(local);
}

static void
what_was_dropped_in_doubt_can_be_kept(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref ref = ref_of(7, 1), other = ref_of(7, 2);
	unsigned char key[LOCAL_KEY_BYTES];
	struct local_ticket ticket;
	struct local_entry entry;
	uint64_t version;

	(void)state;
	key_of(local, "token", key);
	assert_false(local_doubt(local, &other, &version, &ticket));
	fill(local, &ref, "token", 5);
	assert_true(local_doubt(local, &ref, &version, &ticket));
	assert_int_equal(version, 5);
	assert_false(local_get(local, &ref, key, &entry));
	local_keep(local, &ref, 5, 1000, &ticket);
	assert_true(local_get(local, &ref, key, &entry));
	assert_int_equal(entry.last_seen_ms, 1000);
	/* Once dropped, a later doubt has nothing to keep. */
	local_drop(local, &ref);
	assert_false(local_doubt(local, &ref, &version, &ticket));
	local_keep(local, &ref, 5, 2000, &ticket);
	assert_false(local_get(local, &ref, key, &entry));
	local_close(local);
}

static void
what_was_dropped_since_the_doubt_is_not_kept(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref ref = ref_of(7, 1);
	struct local_ticket ticket;
	uint64_t version;

	(void)state;
	fill(local, &ref, "token", 5);
	assert_true(local_doubt(local, &ref, &version, &ticket));
	local_drop(local, &ref);
	local_keep(local, &ref, 5, 1000, &ticket);
	assert_int_equal(find(local, &ref, "token"), 0);
	fill(local, &ref, "token", 5);
	assert_true(local_doubt(local, &ref, &version, &ticket));
	local_drop_all(local);
	local_keep(local, &ref, 5, 1000, &ticket);
	assert_int_equal(find(local, &ref, "token"), 0);
	/* Another version lies there by now. */
	fill(local, &ref, "token", 6);
	assert_true(local_doubt(local, &ref, &version, &ticket));
	local_keep(local, &ref, 5, 1000, &ticket);
	assert_int_equal(find(local, &ref, "token"), 0);
	local_close(local);
}

static void
seen_raises_and_never_lowers(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref ref = ref_of(7, 1), other = ref_of(7, 2);
	unsigned char key[LOCAL_KEY_BYTES];
	struct local_entry entry;

	(void)state;
	key_of(local, "token", key);
	fill(local, &ref, "token", 5);
	local_seen(local, &ref, 5, 7);
	assert_int_equal(find(local, &ref, "token"), 5);
	local_seen(local, &ref, 5, 100);
	local_seen(local, &ref, 5, 99);
	local_seen(local, &ref, 4, 200);
	local_seen(local, &ref, 6, 300);
	local_seen(local, &other, 5, 400);
	assert_true(local_get(local, &ref, key, &entry));
	assert_int_equal(entry.last_seen_ms, 100);
	local_close(local);
}

static void
who_was_seen_least_recently_makes_room(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref ref;
	unsigned i, found = 0;

	(void)state;
	for (i = 0; i < LOCAL_WAYS; i++) {
		ref = ref_of(7, i);
		fill(local, &ref, "token", 1000 - i);
	}
	for (i = 0; i < LOCAL_WAYS; i++) {
		ref = ref_of(7, i);
		assert_int_equal(find(local, &ref, "token"), 1000 - i);
	}
	ref = ref_of(7, LOCAL_WAYS - 1);
	local_seen(local, &ref, 1001 - LOCAL_WAYS, 5000);
	ref = ref_of(7, 100);
	fill(local, &ref, "token", 3000);
	assert_int_equal(find(local, &ref, "token"), 3000);
	for (i = 0; i < LOCAL_WAYS; i++) {
		unsigned char key[LOCAL_KEY_BYTES];
		struct local_entry entry;

		ref = ref_of(7, i);
		key_of(local, "token", key);
		if (local_get(local, &ref, key, &entry))
			found |= 1u << i;
	}
	/* All but the last but one. */
	assert_int_equal(found, 0xff & ~(1u << (LOCAL_WAYS - 2)));
	local_close(local);
}

static void
what_is_no_entry_any_more_makes_room_first(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref ref;
	unsigned i;

	(void)state;
	for (i = 0; i < LOCAL_WAYS; i++) {
		ref = ref_of(7, i);
		fill(local, &ref, "token", 1000 + i);
	}
	ref = ref_of(7, LOCAL_WAYS - 1); /* seen last */
	local_drop(local, &ref);
	ref = ref_of(7, 100);
	fill(local, &ref, "token", 5);
	for (i = 0; i < LOCAL_WAYS - 1; i++) {
		ref = ref_of(7, i);
		assert_int_equal(find(local, &ref, "token"), 1000 + i);
	}
	ref = ref_of(7, 100);
	assert_int_equal(find(local, &ref, "token"), 5);
	local_close(local);
}

/* So many sets as fit: what is filled beyond that is not found. */
static void
memory_is_bounded(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref ref;
	unsigned i, found = 0;
	uint64_t version;

	(void)state;
	for (i = 0; i < 2000; i++) {
		ref = ref_of(i * 0x9e3779b9u, i);
		fill(local, &ref, "token", i + 1);
	}
	for (i = 0; i < 2000; i++) {
		ref = ref_of(i * 0x9e3779b9u, i);
		found += local_has(local, &ref, &version);
	}
	assert_true(found <= 64 * KIB / 320);
	assert_true(found > 64 * KIB / 320 * 8 / 10);
	local_close(local);
}

/* What refs have in common, group and time, must not choose their place. */
static void
refs_of_one_moment_have_all_the_memory(void **state)
{
	struct local *local = made(64 * KIB);
	static struct token tokens[2000];
	unsigned i, found = 0;
	uint64_t version;

	(void)state;
	for (i = 0; i < 2000; i++) {
		assert_int_equal(
		    token_make(1, 3, INT64_C(1700000000123), &tokens[i], NULL),
		    SGATE_OK);
		fill(local, &tokens[i].ref, "token", i + 1);
	}
	for (i = 0; i < 2000; i++)
		found += local_has(local, &tokens[i].ref, &version);
	assert_true(found > 64 * KIB / 320 * 8 / 10);
	local_close(local);
}

static void
the_lease_begins_ended_and_only_rises(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref ref = ref_of(7, 1);

	(void)state;
	assert_int_equal(local_get_mode(local), LOCAL_POLLED);
	local_renew(local, 1000);
	assert_false(local_is_renewed(local, 10));
	fill(local, &ref, "token", 5);
	local_set_mode(local, LOCAL_TRACKED);
	assert_int_equal(find(local, &ref, "token"), 0);
	assert_int_equal(local_get_mode(local), LOCAL_TRACKED);
	assert_false(local_is_renewed(local, 1));
	local_renew(local, 1000);
	local_renew(local, 900);
	assert_true(local_is_renewed(local, 999));
	assert_false(local_is_renewed(local, 1000));
	fill(local, &ref, "token", 6);
	local_set_mode(local, LOCAL_TRACKED);
	assert_int_equal(find(local, &ref, "token"), 0);
	assert_false(local_is_renewed(local, 1));
	local_close(local);
}

/* ---- several processes ---- */

static void
nap(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&left, NULL);
}

/* Fills, sees, doubts and drops a few refs of one set, without end. */
static void
write_for_ever(struct local *local, unsigned seed)
{
	struct local_ticket ticket;
	struct sgate_ref ref;
	uint64_t version;
	unsigned n = seed;

	for (;;) {
		n = n * 1103515245u + 12345u;
		ref = ref_of(7, n >> 16 & 15);
		fill(local, &ref, "token", 26 + (n >> 8 & 0xffff));
		if ((n >> 20 & 7) == 0)
			local_drop(local, &ref);
		if ((n >> 23 & 3) == 0 &&
		    local_doubt(local, &ref, &version, &ticket))
			local_keep(local, &ref, version, 0, &ticket);
	}
}

static pid_t
writer_start(struct local *local, unsigned seed)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		write_for_ever(local, seed);
		_exit(1);
	}
	return pid;
}

static void
writer_kill(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* How many of the set were found; each whole and under its own ref. */
static unsigned
look_at_all(struct local *local)
{
	unsigned char key[LOCAL_KEY_BYTES];
	struct local_entry entry;
	struct sgate_ref ref;
	unsigned i, found = 0;

	/* is_whole() compares what the compiler leaves between fields, too. */
	memset(&entry, 0, sizeof(entry));
	key_of(local, "token", key);
	for (i = 0; i < 16; i++) {
		ref = ref_of(7, i);
		if (!local_get(local, &ref, key, &entry))
			continue;
		found++;
		assert_memory_equal(&entry.ref, &ref, sizeof(ref));
		assert_true(is_whole(&entry));
	}
	return found;
}

/* Writers are killed wherever they are; whoever reads finds whole entries, and
 * what they have left is taken over. */
static void
no_copy_is_torn_while_writers_are_killed(void **state)
{
	int64_t until_ms = clock_monotonic_ms() +
			   (getenv("SESSGATE_LONG") != NULL ? 60000 : 1500);
	struct local *local = made(64 * KIB);
	unsigned long found = 0;
	pid_t writers[2];
	unsigned round = 0, i;
	struct sgate_ref ref;

	(void)state;
	while (clock_monotonic_ms() < until_ms) {
		for (i = 0; i < 2; i++)
			writers[i] = writer_start(local, 2 * round + i);
		for (i = 0; i < 300; i++)
			found += look_at_all(local);
		writer_kill(writers[0]);
		found += look_at_all(local);
		writer_kill(writers[1]);
		found += look_at_all(local);
		round++;
	}
	assert_true(found > 1000);
	/* Every slot can be filled again. */
	for (i = 0; i < LOCAL_WAYS; i++) {
		ref = ref_of(7, 100 + i);
		fill(local, &ref, "token", UINT64_C(1) << 40);
	}
	for (i = 0; i < LOCAL_WAYS; i++) {
		ref = ref_of(7, 100 + i);
		assert_int_equal(find(local, &ref, "token"), UINT64_C(1) << 40);
	}
	print_message("# %u rounds, %lu whole copies\n", round, found);
	local_close(local);
}

/*
 * One that is stopped while it writes has its slot when it goes on, and writes
 * into nobody's entry: the others leave that slot alone meanwhile.
 */
static void
a_writer_that_was_stopped_tears_nothing(void **state)
{
	int64_t until_ms = clock_monotonic_ms() +
			   (getenv("SESSGATE_LONG") != NULL ? 60000 : 1500);
	struct local *local = made(64 * KIB);
	unsigned long found = 0;
	unsigned round = 0, i;
	struct sgate_ref ref;
	pid_t writer;

	(void)state;
	while (clock_monotonic_ms() < until_ms) {
		writer = writer_start(local, ++round);
		for (i = 0; i < 20; i++) {
			assert_int_equal(kill(writer, SIGSTOP), 0);
			ref = ref_of(7, i % 16);
			fill(local, &ref, "token", 100000 + i);
			found += look_at_all(local);
			assert_int_equal(kill(writer, SIGCONT), 0);
			found += look_at_all(local);
			nap(1);
		}
		writer_kill(writer);
		found += look_at_all(local);
	}
	assert_true(found > 100);
	local_close(local);
}

/* What one process has ended is ended for another at once. */
static void
a_drop_is_seen_by_the_next_look_of_another(void **state)
{
	struct local *local = made(64 * KIB);
	struct sgate_ref ref = ref_of(7, 1);
	int to_child[2], from_child[2], status, i;
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(to_child), 0);
	assert_int_equal(pipe(from_child), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(to_child[1]);
		while (read(to_child[0], &byte, 1) == 1) {
			byte = find(local, &ref, "token") != 0;
			if (write(from_child[1], &byte, 1) != 1)
				_exit(1);
		}
		_exit(0);
	}
	close(to_child[0]);
	for (i = 0; i < 2000; i++) {
		if (i % 2 == 0)
			fill(local, &ref, "token", 5);
		else
			local_drop(local, &ref);
		assert_int_equal(write(to_child[1], "x", 1), 1);
		assert_int_equal(read(from_child[0], &byte, 1), 1);
		assert_int_equal(byte, i % 2 == 0);
	}
	close(to_child[1]);
	close(from_child[0]);
	close(from_child[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	local_close(local);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_size_of_zero_is_no_table),
    cmocka_unit_test(what_is_filled_is_found_by_its_key_alone),
    cmocka_unit_test(what_is_too_long_has_no_key),
    cmocka_unit_test(keys_of_two_tables_differ),
    cmocka_unit_test(a_second_fill_takes_the_place_of_the_first),
    cmocka_unit_test(a_drop_ends_the_entry_and_every_fill_of_before),
    cmocka_unit_test(to_drop_all_ends_every_entry_and_every_fill_of_before),
    cmocka_unit_test(a_drop_seldom_costs_another_entry),
    cmocka_unit_test(what_was_dropped_in_doubt_can_be_kept),
    cmocka_unit_test(what_was_dropped_since_the_doubt_is_not_kept),
    cmocka_unit_test(seen_raises_and_never_lowers),
    cmocka_unit_test(who_was_seen_least_recently_makes_room),
    cmocka_unit_test(what_is_no_entry_any_more_makes_room_first),
    cmocka_unit_test(memory_is_bounded),
    cmocka_unit_test(refs_of_one_moment_have_all_the_memory),
    cmocka_unit_test(the_lease_begins_ended_and_only_rises),
    cmocka_unit_test(no_copy_is_torn_while_writers_are_killed),
    cmocka_unit_test(a_writer_that_was_stopped_tears_nothing),
    cmocka_unit_test(a_drop_is_seen_by_the_next_look_of_another),
};

TAP_MAIN(tests)
