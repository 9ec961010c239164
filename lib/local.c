/*
 * The table. Everything that processes share is single atomic words: nothing
 * is locked, nothing is waited for, and a process may be killed at any
 * instruction.
 *
 * Memory: sets of LOCAL_WAYS slots, each set with BUCKETS drop counters of its
 * own. A slot is one word `lock` and the words of one struct body. A ref has
 * its set and its counter by its random bytes, so that a drop costs that ref's
 * entry and one other of eight times.
 *
 * Why a copy is whole. A writer takes the slot (lock: count + 1, its pid),
 * writes, and lets go (count + 1, no pid). A reader copies between two looks at
 * `lock`, and believes the copy if nobody had the slot and the count is the
 * same. Counts have 42 bits: a reader that sleeps would have to sleep through
 * 2^42 writes of one slot to be deceived.
 *
 * Why a writer that is killed does no harm. Its pid stays in `lock`, so nobody
 * believes what it left half done. The next one who wants the slot asks the
 * kernel for that pid; only when there is no such process any more, it takes
 * the slot over. So one that was merely stopped, for however long, still has
 * its slot when it wakes, and nobody's entry is torn by it; until then the slot
 * is out of use. One that was stopped before it took the slot finds another
 * `lock` and writes nothing. A pid that was given to another process keeps a
 * slot out of use until that one ends, too; no more than that.
 *
 * Why a drop needs no more than an addition. The body holds the ticket that
 * its maker took before it asked a store. Whether that still is the newest is
 * judged when the entry is read, after it was copied, and not when it is
 * written: so there is no moment between the last look at the counter and the
 * writing of the entry in which a drop could be missed. A counter would have to
 * go round (2^32 drops) and then be read at the one right moment to deceive.
 *
 * What was dropped in doubt and turns out to be right is given the ticket of
 * after that drop (local_keep()): under the slot's lock, and only the entry
 * that had the ticket of before it. Who is killed there leaves a whole entry,
 * in a slot that the next fill takes.
 *
 * Why `epoch` begins at 1: a slot of zeros has none.
 */
#include "config.h"

#include "local.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sodium.h>

#include "buf.h"
#include "failpoint.h"
#include "session.h"
#include "status.h"

/* How often a reader copies again because somebody wrote meanwhile. */
#define COPIES 4
#define BUCKETS (8 * LOCAL_WAYS) /* of a set */
#define PID_BITS 22              /* PID_MAX_LIMIT of 64-bit Linux */
#define PID_MASK ((UINT64_C(1) << PID_BITS) - 1)
/* Four bytes of a ref that are random: behind group byte and time. */
#define REF_RANDOM 7

/* What a slot holds: written and read as words, never in place. */
struct body {
	unsigned char key[LOCAL_KEY_BYTES];
	uint64_t epoch;
	int64_t last_seen_ms;
	uint64_t version;
	int64_t created_ms, auth_ms, idle_ms, absolute_ms;
	uint32_t drops;
	struct sgate_ref ref;
	uint8_t user_len, roles_len, context_len, exports_len;
	char text[LOCAL_TEXT_MAX];
};
#define WORDS (sizeof(struct body) / sizeof(uint64_t))
_Static_assert(sizeof(struct body) % sizeof(uint64_t) == 0,
    "the text is to fill the last word");
_Static_assert(sizeof(struct sgate_ref) == SGATE_REF_BYTES, "no padding");
/* Before the text: what a look without the text copies. */
#define HEAD_WORDS (offsetof(struct body, text) / sizeof(uint64_t))

struct slot {
	_Atomic uint64_t lock;
	_Atomic uint64_t words[WORDS];
};

struct set {
	_Atomic uint32_t drops[BUCKETS];
	struct slot slots[LOCAL_WAYS];
};
_Static_assert(sizeof(struct set) <= LOCAL_WAYS * 320,
    "an entry and its counter: at most 320 bytes");

struct table {
	_Atomic uint64_t epoch;
	_Atomic int mode;
	_Atomic int64_t until_boot_ms;
	struct set sets[];
};

/* Private to each process, as it was at the fork: nobody writes here. */
struct local {
	struct table *table;
	size_t len;
	uint64_t sets;
	unsigned char key[crypto_generichash_KEYBYTES];
};
_Static_assert(LOCAL_KEY_BYTES == crypto_shorthash_siphashx24_BYTES &&
		   LOCAL_KEY_BYTES == crypto_shorthash_siphashx24_KEYBYTES,
    "of a hash and of what it is made with");

/* ---- make and free ---- */

enum sgate_status
local_create(uint64_t size_bytes, struct local **out, struct sgate_error *err)
{
	struct local *local;
	void *memory;

	*out = NULL;
	error_clear(err);
	if (size_bytes == 0)
		return SGATE_OK;
	if (size_bytes < sizeof(struct table) + sizeof(struct set) ||
	    size_bytes > SIZE_MAX / 2)
		return error_set(err, SGATE_INVALID, "local cache", "create", 0,
		    "no table can have %llu bytes",
		    (unsigned long long)size_bytes);
	local = calloc(1, sizeof(*local));
	if (local == NULL)
		return error_memory(err, "local cache");
	local->sets = (size_bytes - sizeof(struct table)) / sizeof(struct set);
	local->len = sizeof(struct table) + local->sets * sizeof(struct set);
	memory = mmap(NULL, local->len, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		error_set(err, SGATE_NO_MEMORY, "local cache", "mmap", errno,
		    "%zu bytes: %s; give cache.size less", local->len,
		    strerror(errno));
		free(local);
		return SGATE_NO_MEMORY;
	}
	/* Whose sessions these are is nothing for a core file. */
	madvise(memory, local->len, MADV_DONTDUMP);
	local->table = memory;
	randombytes_buf(local->key, sizeof(local->key));
	atomic_store(&local->table->epoch, 1);
	*out = local;
	return SGATE_OK;
}

void
local_close(struct local *local)
{
	if (local == NULL)
		return;
	munmap(local->table, local->len);
	sodium_memzero(local->key, sizeof(local->key));
	free(local);
}

/* ---- places ---- */

void
local_hash_init(const struct local *local, const unsigned char *digest,
    size_t digest_len, struct local_hash *out)
{
	crypto_generichash(out->key, sizeof(out->key), digest, digest_len,
	    local->key, sizeof(local->key));
}

/* The lengths stand before what has them, so that no two ways of cutting give
 * the same bytes. */
bool
local_key(const struct local_hash *hash, struct sgate_bytes realm,
    struct sgate_bytes token, struct sgate_bytes bound,
    unsigned char out[LOCAL_KEY_BYTES])
{
	unsigned char text[2 + SESSION_REALM_MAX + SGATE_TOKEN_LEN +
			   LOCAL_BOUND_MAX] BUF_NO_ZEROS;
	unsigned char *at = text;

	if (realm.len > SESSION_REALM_MAX || token.len > SGATE_TOKEN_LEN ||
	    bound.len > LOCAL_BOUND_MAX)
		return false;
	*at++ = (unsigned char)realm.len;
	*at++ = (unsigned char)token.len;
	if (realm.len > 0)
		at = mempcpy(at, realm.data, realm.len);
	if (token.len > 0)
		at = mempcpy(at, token.data, token.len);
	if (bound.len > 0)
		at = mempcpy(at, bound.data, bound.len);
	crypto_shorthash_siphashx24(
	    out, text, (unsigned long long)(at - text), hash->key);
	sodium_memzero(text, (size_t)(at - text));
	return true;
}

static struct set *
set_of(const struct local *local, const struct sgate_ref *ref)
{
	uint32_t random;

	memcpy(&random, ref->bytes + REF_RANDOM, sizeof(random));
	return &local->table->sets[(uint64_t)random * local->sets >> 32];
}

static _Atomic uint32_t *
counter_of(const struct local *local, const struct sgate_ref *ref)
{
	return &set_of(local, ref)
		    ->drops[ref->bytes[SGATE_REF_BYTES - 1] % BUCKETS];
}

void
local_take_ticket(const struct local *local, const struct sgate_ref *ref,
    struct local_ticket *out)
{
	out->epoch = atomic_load(&local->table->epoch);
	out->drops = atomic_load(counter_of(local, ref));
}

/* Of an entry's ticket, or of one that is about to become an entry's. */
static bool
is_newest(const struct local *local, const struct sgate_ref *ref,
    uint64_t epoch, uint32_t drops)
{
	uint64_t now = atomic_load(&local->table->epoch);

	if (epoch == 0 || (epoch != now && !failpoint_is_off("local-epoch")))
		return false;
	return drops == atomic_load(counter_of(local, ref)) ||
	       failpoint_is_off("local-ticket");
}

/* ---- one slot ---- */

static void
copy_words(const struct slot *slot, size_t from, size_t to, struct body *out)
{
	uint64_t word;
	size_t i;

	for (i = from; i < to; i++) {
		word =
		    atomic_load_explicit(&slot->words[i], memory_order_relaxed);
		memcpy((char *)out + i * sizeof(word), &word, sizeof(word));
	}
}

static size_t
text_len(const struct body *body)
{
	return (size_t)body->user_len + body->roles_len + body->context_len +
	       body->exports_len;
}

/* Words up to the end of the text, by lengths that may be half written yet. */
static size_t
used_words(const struct body *body)
{
	size_t used = (offsetof(struct body, text) + text_len(body) + 7) / 8;

	return used < WORDS ? used : WORDS;
}

/*
 * The body, without its text or with what is used of it; false: somebody writes
 * it. The acquiring fence keeps the copy before the second look at `lock`.
 */
static bool
copy_once(const struct slot *slot, bool with_text, struct body *out)
{
	uint64_t lock = atomic_load_explicit(&slot->lock, memory_order_acquire);

	if ((lock & PID_MASK) != 0)
		return false;
	copy_words(slot, 0, HEAD_WORDS, out);
	if (with_text) {
		/* This one has the lengths, and the first of the text. */
		copy_words(slot, HEAD_WORDS, HEAD_WORDS + 1, out);
		copy_words(slot, HEAD_WORDS + 1, used_words(out), out);
	}
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&slot->lock, memory_order_relaxed) == lock;
}
_Static_assert(offsetof(struct body, text) < 8 * (HEAD_WORDS + 1) &&
		   offsetof(struct body, user_len) >= 8 * HEAD_WORDS,
    "the lengths stand in the word behind HEAD_WORDS");

static bool
copy_body(const struct slot *slot, bool with_text, struct body *out)
{
	int tries;

	for (tries = 0; tries < COPIES; tries++)
		if (copy_once(slot, with_text, out))
			return true;
	return false;
}

/*
 * Whether that ref's entry may be in the slot: its bytes as they are just now,
 * which the copy then has or has not.
 */
static bool
may_hold(const struct slot *slot, const struct sgate_ref *ref)
{
	const size_t first = offsetof(struct body, ref) / sizeof(uint64_t);
	uint64_t want, have;

	_Static_assert(offsetof(struct body, ref) % sizeof(uint64_t) == 4,
	    "the last bytes of the ref fill a word");
	memcpy(&want, ref->bytes + 4, sizeof(want));
	have =
	    atomic_load_explicit(&slot->words[first + 1], memory_order_relaxed);
	return want == have;
}

static bool
is_ref(const struct body *body, const struct sgate_ref *ref)
{
	return memcmp(body->ref.bytes, ref->bytes, SGATE_REF_BYTES) == 0;
}

/* In as many instructions whatever is in them. */
static bool
is_key(const struct body *body, const unsigned char key[LOCAL_KEY_BYTES])
{
	uint64_t a[2], b[2];

	memcpy(a, body->key, sizeof(a));
	memcpy(b, key, sizeof(b));
	return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
}
_Static_assert(LOCAL_KEY_BYTES == 16, "two words");

/*
 * Whether that process is no more. The kernel has no process of a number that
 * was given to none: such a lock is nobody's.
 */
static bool
is_gone(uint64_t pid)
{
	return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/*
 * The releasing fence keeps the words behind the lock for who copies them.
 * is_whole: what is there is to be as its writer meant it; without that it may
 * be what a dead one left half done. *out_lock: what `lock` is while it is
 * ours.
 */
static bool
take_slot(struct slot *slot, bool is_whole, uint64_t *out_lock)
{
	uint64_t lock = atomic_load_explicit(&slot->lock, memory_order_acquire);
	uint64_t pid = lock & PID_MASK;

	if (pid != 0 && (is_whole || !is_gone(pid)))
		return false;
	*out_lock = ((lock >> PID_BITS) + 1) << PID_BITS |
		    ((uint64_t)getpid() & PID_MASK);
	if (!atomic_compare_exchange_strong(&slot->lock, &lock, *out_lock))
		return false;
	atomic_thread_fence(memory_order_release);
	return true;
}

static void
leave_slot(struct slot *slot, uint64_t lock)
{
	atomic_store_explicit(
	    &slot->lock, lock & ~PID_MASK, memory_order_release);
}

/* ---- read ---- */

bool
local_get(const struct local *local, const struct sgate_ref *ref,
    const unsigned char key[LOCAL_KEY_BYTES], struct local_entry *out)
{
	const struct set *set = set_of(local, ref);
	struct body body BUF_NO_ZEROS;
	size_t way;

	for (way = 0; way < LOCAL_WAYS; way++) {
		if (!may_hold(&set->slots[way], ref) ||
		    !copy_body(&set->slots[way], true, &body) ||
		    !is_ref(&body, ref) || !is_key(&body, key) ||
		    !is_newest(local, ref, body.epoch, body.drops))
			continue;
		out->ref = body.ref;
		out->version = body.version;
		out->created_ms = body.created_ms;
		out->auth_ms = body.auth_ms;
		out->last_seen_ms = body.last_seen_ms;
		out->idle_ms = body.idle_ms;
		out->absolute_ms = body.absolute_ms;
		out->user_len = body.user_len;
		out->roles_len = body.roles_len;
		out->context_len = body.context_len;
		out->exports_len = body.exports_len;
		if (text_len(&body) > LOCAL_TEXT_MAX)
			return false;
		memcpy(out->text, body.text, text_len(&body));
		return true;
	}
	return false;
}

bool
local_has(const struct local *local, const struct sgate_ref *ref,
    uint64_t *out_version)
{
	const struct set *set = set_of(local, ref);
	struct body body;
	bool has = false;
	size_t way;

	*out_version = 0;
	for (way = 0; way < LOCAL_WAYS; way++) {
		if (!may_hold(&set->slots[way], ref) ||
		    !copy_body(&set->slots[way], false, &body) ||
		    !is_ref(&body, ref) ||
		    !is_newest(local, ref, body.epoch, body.drops))
			continue;
		has = true;
		if (body.version > *out_version)
			*out_version = body.version;
	}
	return has;
}

/* ---- write ---- */

static void
make_body(const unsigned char key[LOCAL_KEY_BYTES],
    const struct local_ticket *ticket, const struct local_entry *entry,
    struct body *out)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->key, key, LOCAL_KEY_BYTES);
	out->epoch = ticket->epoch;
	out->drops = ticket->drops;
	out->ref = entry->ref;
	out->version = entry->version;
	out->created_ms = entry->created_ms;
	out->auth_ms = entry->auth_ms;
	out->last_seen_ms = entry->last_seen_ms;
	out->idle_ms = entry->idle_ms;
	out->absolute_ms = entry->absolute_ms;
	out->user_len = entry->user_len;
	out->roles_len = entry->roles_len;
	out->context_len = entry->context_len;
	out->exports_len = entry->exports_len;
	memcpy(out->text, entry->text, sizeof(out->text));
}

/*
 * Which slot a ref's entry goes to: its own; else one whose entry is none any
 * more; else that of who was seen least recently. NULL: its own is being
 * written, or all are. What is looked at may change meanwhile; then a good
 * entry goes, or a place is missed.
 */
static struct slot *
choose_slot(
    const struct local *local, struct set *set, const struct sgate_ref *ref)
{
	struct slot *victim = NULL;
	int64_t oldest_ms = INT64_MAX, seen_ms;
	struct body body;
	size_t way;

	for (way = 0; way < LOCAL_WAYS; way++) {
		struct slot *slot = &set->slots[way];
		uint64_t lock = atomic_load(&slot->lock);

		if (copy_body(slot, false, &body)) {
			if (is_ref(&body, ref))
				return slot;
			seen_ms =
			    is_newest(local, &body.ref, body.epoch, body.drops)
				? body.last_seen_ms
				: INT64_MIN;
		} else if ((lock & PID_MASK) != 0 && is_gone(lock & PID_MASK)) {
			seen_ms = INT64_MIN;
		} else if (may_hold(slot, ref)) {
			return NULL;
		} else {
			continue;
		}
		if (victim == NULL || seen_ms < oldest_ms) {
			victim = slot;
			oldest_ms = seen_ms;
		}
	}
	return victim;
}

static void
put_words(struct slot *slot, size_t count, const struct body *body)
{
	uint64_t words[WORDS];
	size_t i;

	memcpy(words, body, count * sizeof(words[0]));
	for (i = 0; i < count; i++) {
		atomic_store_explicit(
		    &slot->words[i], words[i], memory_order_relaxed);
		if (i == WORDS / 2)
			failpoint("local-write");
	}
}

void
local_fill(struct local *local, const unsigned char key[LOCAL_KEY_BYTES],
    const struct local_ticket *ticket, const struct local_entry *entry)
{
	struct set *set = set_of(local, &entry->ref);
	struct slot *slot;
	struct body body;
	uint64_t lock;

	/* Only to spare a good entry that would have to make room. */
	if (!is_newest(local, &entry->ref, ticket->epoch, ticket->drops))
		return;
	make_body(key, ticket, entry, &body);
	slot = choose_slot(local, set, &entry->ref);
	if (slot == NULL || !take_slot(slot, false, &lock))
		return;
	put_words(slot, WORDS, &body);
	leave_slot(slot, lock);
}

/*
 * Raises last_seen, and (ticket not NULL) makes the entry of one drop before
 * that ticket one of it. Under the slot's lock: otherwise somebody else's entry
 * that has just come there would be given the moment.
 */
static void
renew_slot(struct slot *slot, const struct sgate_ref *ref, uint64_t version,
    int64_t last_seen_ms, const struct local_ticket *ticket)
{
	uint64_t words[HEAD_WORDS], lock;
	struct body body;
	size_t i;

	if (!take_slot(slot, true, &lock))
		return;
	for (i = 0; i < HEAD_WORDS; i++)
		words[i] =
		    atomic_load_explicit(&slot->words[i], memory_order_relaxed);
	memcpy(&body, words, sizeof(words));
	if (is_ref(&body, ref) && body.version == version) {
		if (body.last_seen_ms < last_seen_ms)
			body.last_seen_ms = last_seen_ms;
		if (ticket != NULL && body.epoch == ticket->epoch &&
		    body.drops + 1 == ticket->drops)
			body.drops = ticket->drops;
		put_words(slot, HEAD_WORDS, &body);
	}
	leave_slot(slot, lock);
}

void
local_seen(struct local *local, const struct sgate_ref *ref, uint64_t version,
    int64_t last_seen_ms)
{
	struct set *set = set_of(local, ref);
	struct body body;
	size_t way;

	for (way = 0; way < LOCAL_WAYS; way++) {
		struct slot *slot = &set->slots[way];

		if (may_hold(slot, ref) && copy_body(slot, false, &body) &&
		    is_ref(&body, ref) && body.version == version &&
		    body.last_seen_ms < last_seen_ms)
			renew_slot(slot, ref, version, last_seen_ms, NULL);
	}
}

/* ---- drop ---- */

void
local_drop(struct local *local, const struct sgate_ref *ref)
{
	atomic_fetch_add(counter_of(local, ref), 1);
}

bool
local_doubt(struct local *local, const struct sgate_ref *ref,
    uint64_t *out_version, struct local_ticket *out_ticket)
{
	const struct set *set = set_of(local, ref);
	uint32_t before;
	struct body body;
	bool was_one = false;
	size_t way;

	*out_version = 0;
	out_ticket->epoch = atomic_load(&local->table->epoch);
	before = atomic_fetch_add(counter_of(local, ref), 1);
	out_ticket->drops = before + 1;
	for (way = 0; way < LOCAL_WAYS; way++) {
		if (!may_hold(&set->slots[way], ref) ||
		    !copy_body(&set->slots[way], false, &body) ||
		    !is_ref(&body, ref) || body.epoch != out_ticket->epoch ||
		    body.drops != before)
			continue;
		was_one = true;
		if (body.version > *out_version)
			*out_version = body.version;
	}
	return was_one;
}

void
local_keep(struct local *local, const struct sgate_ref *ref, uint64_t version,
    int64_t last_seen_ms, const struct local_ticket *ticket)
{
	struct set *set = set_of(local, ref);
	size_t way;

	if (!is_newest(local, ref, ticket->epoch, ticket->drops))
		return;
	for (way = 0; way < LOCAL_WAYS; way++) {
		if (may_hold(&set->slots[way], ref))
			renew_slot(&set->slots[way], ref, version, last_seen_ms,
			    ticket);
	}
}

void
local_drop_all(struct local *local)
{
	atomic_fetch_add(&local->table->epoch, 1);
}

/* ---- how this host hears of changes ---- */

void
local_set_mode(struct local *local, enum local_mode mode)
{
	local_drop_all(local);
	atomic_store(&local->table->until_boot_ms, 0);
	atomic_store(&local->table->mode, (int)mode);
	local_drop_all(local);
}

enum local_mode
local_get_mode(const struct local *local)
{
	return atomic_load(&local->table->mode) == (int)LOCAL_TRACKED
		   ? LOCAL_TRACKED
		   : LOCAL_POLLED;
}

void
local_renew(struct local *local, int64_t until_boot_ms)
{
	int64_t until = atomic_load(&local->table->until_boot_ms);

	while (until < until_boot_ms &&
	       !atomic_compare_exchange_weak(
		   &local->table->until_boot_ms, &until, until_boot_ms))
		continue;
}

bool
local_is_renewed(const struct local *local, int64_t now_boot_ms)
{
	return local_get_mode(local) == LOCAL_TRACKED &&
	       (now_boot_ms < atomic_load(&local->table->until_boot_ms) ||
		   failpoint_is_off("local-lease"));
}
