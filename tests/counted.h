/* What all processes have counted together, for tests. */
#ifndef SESSGATE_TESTS_COUNTED_H
#define SESSGATE_TESTS_COUNTED_H

#include "shared.h"

static inline uint64_t
counted(const struct shared *shared, enum tally_counter counter)
{
	struct tally sum;

	shared_sum(shared, &sum);
	return atomic_load(&sum.counters[counter]);
}

static inline uint64_t
counted_denials(const struct shared *shared, enum sgate_reason reason)
{
	struct tally sum;

	shared_sum(shared, &sum);
	return atomic_load(&sum.denials[reason]);
}

#endif
