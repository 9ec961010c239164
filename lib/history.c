/* The last hour in samples: history.h. */
#include "config.h"

#include "history.h"

#include <string.h>

static size_t
place_of(int64_t interval)
{
	return (size_t)(interval % HISTORY_SAMPLES);
}

/* A sequence counter: who reads while it is odd or changes has read nothing. */
void
history_put(struct history *history, int64_t at_ms,
    const uint64_t values[HISTORY_VALUES])
{
	int64_t interval = history_interval(at_ms);
	struct history_place *place = &history->places[place_of(interval)];
	uint64_t turn =
	    (atomic_load_explicit(&place->turn, memory_order_relaxed) + 1) | 1;
	size_t i;

	atomic_store_explicit(&place->turn, turn, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&place->interval, interval, memory_order_relaxed);
	atomic_store_explicit(&place->at_ms, at_ms, memory_order_relaxed);
	for (i = 0; i < HISTORY_VALUES; i++)
		atomic_store_explicit(
		    &place->values[i], values[i], memory_order_relaxed);
	atomic_store_explicit(&place->turn, turn + 1, memory_order_release);
}

bool
history_has(const struct history *history, int64_t at_ms)
{
	int64_t interval = history_interval(at_ms);
	const struct history_place *place =
	    &history->places[place_of(interval)];
	uint64_t turn =
	    atomic_load_explicit(&place->turn, memory_order_acquire);

	return turn != 0 && turn % 2 == 0 &&
	       atomic_load_explicit(&place->interval, memory_order_relaxed) ==
		   interval;
}

static bool
read_place(const struct history_place *place, int64_t interval, int64_t now_ms,
    struct history_sample *out)
{
	uint64_t turn =
	    atomic_load_explicit(&place->turn, memory_order_acquire);
	int64_t was_interval;
	size_t i;

	if (turn == 0 || turn % 2 != 0)
		return false;
	was_interval =
	    atomic_load_explicit(&place->interval, memory_order_relaxed);
	out->at_ms = atomic_load_explicit(&place->at_ms, memory_order_relaxed);
	for (i = 0; i < HISTORY_VALUES; i++)
		out->values[i] = atomic_load_explicit(
		    &place->values[i], memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&place->turn, memory_order_relaxed) ==
		   turn &&
	       was_interval == interval && out->at_ms >= 0 &&
	       out->at_ms <= now_ms && history_interval(out->at_ms) == interval;
}

void
history_read(const struct history *history, int64_t now_ms,
    struct history_sample out[HISTORY_SAMPLES])
{
	int64_t last = history_interval(now_ms), interval;
	size_t i;

	for (i = 0; i < HISTORY_SAMPLES; i++) {
		interval = last - HISTORY_INTERVALS + (int64_t)i;
		out[i].is_there =
		    interval >= 0 &&
		    read_place(&history->places[place_of(interval)], interval,
			now_ms, &out[i]);
		if (!out[i].is_there)
			memset(&out[i], 0, sizeof(out[i]));
	}
}
