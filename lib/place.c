/* Two slots and the number of the one that counts. */
#include "config.h"

#include "place.h"

#include "buf.h"

#include <stdio.h>
#include <string.h>

/* A writer that overtakes a reader more often than this is none of ours. */
#define TRIES_MAX 100

/* In a slot: the address, how long it is and the port, who. */
enum { HIGH, LOW, REST, WHO };

bool
place_equal(const struct place_address *a, const struct place_address *b)
{
	return a->len == b->len && a->port == b->port &&
	       memcmp(a->address, b->address, a->len) == 0;
}

bool
place_get(const struct place *place, struct place_address *out,
    uint64_t *out_generation)
{
	uint64_t words[4], before;
	int tries = 0;
	size_t i;

	do {
		before = atomic_load(&place->generation);
		for (i = 0; i < 4; i++)
			words[i] = atomic_load(&place->slots[before & 1][i]);
	} while (
	    atomic_load(&place->generation) != before && ++tries < TRIES_MAX);
	memset(out, 0, sizeof(*out));
	*out_generation = before;
	/* Others can write here: nothing is taken as it is. */
	out->len = (words[REST] >> 16) & 0xff;
	if (tries == TRIES_MAX ||
	    (out->len != 4 && out->len != sizeof(out->address))) {
		out->len = 0;
		out->who = tries == TRIES_MAX ? 0 : words[WHO];
		return false;
	}
	memcpy(out->address, &words[HIGH], 8);
	memcpy(out->address + 8, &words[LOW], 8);
	out->port = (unsigned)(words[REST] & 0xffff);
	out->who = words[WHO];
	return true;
}

bool
place_set(struct place *place, const struct place_address *address)
{
	static const struct place_address none;
	uint64_t words[4] = {0};
	struct place_address before;
	uint64_t generation;
	size_t i;

	if (address == NULL)
		address = &none;
	place_get(place, &before, &generation);
	if (place_equal(&before, address) && before.who == address->who)
		return false;
	memcpy(&words[HIGH], address->address, 8);
	memcpy(&words[LOW], address->address + 8, 8);
	words[REST] = (uint64_t)address->len << 16 | (address->port & 0xffff);
	words[WHO] = address->who;
	for (i = 0; i < 4; i++)
		atomic_store(&place->slots[(generation + 1) & 1][i], words[i]);
	atomic_store(&place->generation, generation + 1);
	return true;
}

void
place_text(const struct place_address *address, char out[PLACE_TEXT_MAX + 1])
{
	char text[46];

	address_text(address->address, address->len, text);
	snprintf(out, PLACE_TEXT_MAX + 1,
	    address->len == 16 ? "[%s]:%u" : "%s:%u", text, address->port);
}
