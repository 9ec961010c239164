/*
 * A word: 24 bits of the address's hash, 20 of the minute, 20 of the count. Ten
 * more bits of the hash say which set of eight words is looked at; that two of
 * the addresses there are taken for one happens once in two million.
 */
#include "config.h"

#include "rate.h"

#include "buf.h"

#include <sodium.h>
#include <string.h>

#define MINUTE_MS 60000
#define COUNT_BITS 20
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)
#define MINUTE_BITS 20
#define MINUTE_MASK ((UINT64_C(1) << MINUTE_BITS) - 1)

_Static_assert(RATE_MAX <= COUNT_MASK, "every count fits");
_Static_assert(RATE_KEY_BYTES == crypto_shorthash_KEYBYTES, "the hash's key");

void
rate_init(struct rate_table *table)
{
	randombytes_buf(table->key, sizeof(table->key));
}

static uint64_t
word_of(uint64_t tag, uint64_t minute, uint64_t count)
{
	return tag << (MINUTE_BITS + COUNT_BITS) | minute << COUNT_BITS | count;
}

static uint64_t
word_tag(uint64_t word)
{
	return word >> (MINUTE_BITS + COUNT_BITS);
}

static uint64_t
word_minute(uint64_t word)
{
	return word >> COUNT_BITS & MINUTE_MASK;
}

static uint64_t
word_count(uint64_t word)
{
	return word & COUNT_MASK;
}

/* Also the next one: somebody's clock was read a moment after ours. */
static bool
is_of_now(uint64_t word, uint64_t minute)
{
	return word != 0 && ((word_minute(word) - minute) & MINUTE_MASK) <= 1;
}

static uint64_t
hash_address(const struct rate_table *table, struct sgate_bytes address)
{
	unsigned char hash[crypto_shorthash_BYTES];
	unsigned char bytes[16];
	size_t len = address_parse(address, bytes);
	uint64_t value;

	if (len == 16)
		len = 8;
	crypto_shorthash(hash, bytes, len, table->key);
	memcpy(&value, hash, sizeof(value));
	return value;
}

/* Where the address is counted, or would be; *out_word is what stands there. */
static _Atomic uint64_t *
find_word(
    _Atomic uint64_t *ways, uint64_t tag, uint64_t minute, uint64_t *out_word)
{
	_Atomic uint64_t *place = NULL;
	bool is_free = false;
	size_t i;

	for (i = 0; i < RATE_WAYS; i++) {
		uint64_t word =
		    atomic_load_explicit(&ways[i], memory_order_relaxed);

		if (!is_of_now(word, minute)) {
			if (is_free)
				continue;
			is_free = true;
		} else if (word_tag(word) == tag) {
			*out_word = word;
			return &ways[i];
		} else if (is_free ||
			   (place != NULL &&
			       word_count(word) >= word_count(*out_word))) {
			continue;
		}
		place = &ways[i];
		*out_word = word;
	}
	return place;
}

bool
rate_take(struct rate_table *table, struct sgate_bytes address, unsigned max,
    int64_t now_ms)
{
	uint64_t hash = hash_address(table, address);
	uint64_t tag = word_tag(hash);
	uint64_t minute = (uint64_t)(now_ms / MINUTE_MS) & MINUTE_MASK;
	_Atomic uint64_t *ways = table->words[hash % RATE_SETS];
	_Atomic uint64_t *place;
	uint64_t word, next;

	if (max == 0)
		return false;
	if (max > RATE_MAX)
		max = RATE_MAX;
	/* Once more only when somebody else has counted meanwhile. */
	do {
		place = find_word(ways, tag, minute, &word);
		if (!is_of_now(word, minute) || word_tag(word) != tag)
			next = word_of(tag, minute, 1);
		else if (word_count(word) >= max)
			return false;
		else
			next = word + 1;
	} while (!atomic_compare_exchange_strong_explicit(
	    place, &word, next, memory_order_relaxed, memory_order_relaxed));
	return true;
}

int
rate_wait_s(int64_t now_ms)
{
	return (int)((MINUTE_MS - now_ms % MINUTE_MS + 999) / 1000);
}
