/*
 * Opening and closing. open_since_ms is the one word that says what a breaker
 * is: whoever changes it from 0 has opened it, whoever makes it 0 has closed
 * it. The other words are set around it and may be a moment behind.
 */
#include "config.h"

#include "breaker.h"

bool
breaker_is_open(const struct breaker *b)
{
	return atomic_load(&b->open_since_ms) != 0;
}

bool
breaker_lets(struct breaker *b, bool has_keeper, int64_t now_ms)
{
	int64_t retry_at_ms;

	if (!breaker_is_open(b))
		return true;
	if (has_keeper)
		return false;
	/* Of many threads or processes that find it due, one goes. */
	retry_at_ms = atomic_load(&b->retry_at_ms);
	return now_ms >= retry_at_ms &&
	       atomic_compare_exchange_strong(
		   &b->retry_at_ms, &retry_at_ms, now_ms + BREAKER_RETRY_MS);
}

void
breaker_succeeded(struct breaker *b, bool is_probe, int64_t now_ms)
{
	int64_t never = 0;

	now_ms = now_ms > 0 ? now_ms : 1;
	if (breaker_is_open(b)) {
		/* A late answer of a store that was given up proves little. */
		if (!is_probe)
			return;
		atomic_store(&b->failures, 0);
		atomic_store(&b->up_since_ms, now_ms);
		atomic_store(&b->open_since_ms, 0);
		return;
	}
	/* Nearly always there is nothing to write, and the words stay shared
	 * between the processors. */
	if (atomic_load(&b->failures) != 0)
		atomic_store(&b->failures, 0);
	if (atomic_load(&b->up_since_ms) == 0)
		atomic_compare_exchange_strong(&b->up_since_ms, &never, now_ms);
}

bool
breaker_failed(struct breaker *b, bool is_certain, int64_t now_ms)
{
	int64_t closed = 0;

	if (breaker_is_open(b))
		return false;
	if (atomic_fetch_add(&b->failures, 1) + 1 < BREAKER_FAILURES &&
	    !is_certain)
		return false;
	atomic_store(&b->retry_at_ms, now_ms + BREAKER_RETRY_MS);
	if (!atomic_compare_exchange_strong(
		&b->open_since_ms, &closed, now_ms > 0 ? now_ms : 1))
		return false;
	atomic_store(&b->up_since_ms, 0);
	atomic_store(&b->failures, 0);
	atomic_fetch_add(&b->opened, 1);
	return true;
}

int64_t
breaker_up_for_ms(const struct breaker *b, int64_t now_ms)
{
	int64_t since_ms = atomic_load(&b->up_since_ms);

	if (breaker_is_open(b) || since_ms == 0)
		return 0;
	return now_ms > since_ms ? now_ms - since_ms : 1;
}
