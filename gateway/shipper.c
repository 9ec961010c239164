/*
 * Shipping: a look at the spool, then a pass for each store over what it has
 * not got, oldest first, MANAGER_SPOOL_BATCH frames at a time.
 *
 * The cache comes first: a tombstone refuses a session at once. A batch that
 * has no answer ends its pass. A frame that a store does not take although it
 * answers (another database's, a damaged row) is passed over. A pass that was
 * cut short goes on behind what it has tried, so that neither holds up any
 * other.
 *
 * A store that may have lost what it had (manager_losses) is told again all
 * that is still kept.
 */
#include "config.h"

#include "shipper.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "log.h"
#include "spool.h"

#define OPEN_EVERY_MS 5000
#define LOOK_EVERY_MS 200
/* What is not taken is tried again after so long. */
#define REFUSED_EVERY_MS 10000
#define CALL_MS 1000
#define LANES 2

/* The way to one store. */
struct lane {
	unsigned store;
	const char *name;           /* for people */
	uint64_t losses;            /* of which it has been told again */
	uint64_t telling;           /* of which it is being told, */
	struct spool_cursor cursor; /* as far as this */
	uint64_t failed;            /* of which a file could not be told, */
	int64_t tell_at_ms;         /* and when it is tried again: monotonic */
	bool is_behind;             /* the last pass ended for want of time, */
	unsigned char passed[DURABLE_EVENT_BYTES]; /* behind this event */
	uint64_t refused;                          /* of this pass, so far */
	bool is_failed;   /* a batch of this pass had no answer */
	uint64_t left;    /* of the last whole pass: refused */
	int64_t again_ms; /* monotonic: when those are tried again */
	bool has_waited;  /* events, since the store went or the keeper began */
	int64_t back_ms;  /* monotonic: since when they are brought; 0: not */
	uint64_t brought; /* of them, so far */
};

struct shipper {
	const struct sgate_conf *conf;
	struct sgate_manager *mgr;
	struct stores *stores;
	void (*breathe)(void *arg);
	void *arg;
	struct spool_reader *reader; /* NULL: could not be opened yet */
	int64_t open_at_ms, look_at_ms;
	struct lane lanes[LANES];
	struct log_limit refused_limit, unread_limit, damage_limit;
	uint64_t damaged_told;
	struct spool_frame frames[MANAGER_SPOOL_BATCH];
	struct spool_place places[MANAGER_SPOOL_BATCH];
	bool done[MANAGER_SPOOL_BATCH];
	struct buf records[MANAGER_SPOOL_BATCH]; /* of creations */
	size_t count;
};

struct shipper *
shipper_new(const struct sgate_conf *conf, struct sgate_manager *mgr,
    struct stores *stores, void (*breathe)(void *arg), void *arg)
{
	static const struct log_limit once_a_minute = {
	    .burst = 1, .period_ms = 60000};
	struct shipper *shipper = calloc(1, sizeof(*shipper));

	if (shipper == NULL)
		return NULL;
	shipper->conf = conf;
	shipper->mgr = mgr;
	shipper->stores = stores;
	shipper->breathe = breathe;
	shipper->arg = arg;
	shipper->lanes[0].has_waited = shipper->lanes[1].has_waited = true;
	shipper->lanes[0].store = SPOOL_TO_CACHE;
	shipper->lanes[0].name = "redis";
	shipper->lanes[1].store = SPOOL_TO_DURABLE;
	shipper->lanes[1].name = "mysql";
	shipper->refused_limit = once_a_minute;
	shipper->unread_limit = once_a_minute;
	shipper->damage_limit = once_a_minute;
	return shipper;
}

/* They hold data of sessions. */
static void
drop_records(struct shipper *shipper, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		buf_wipe(&shipper->records[i]);
}

void
shipper_free(struct shipper *shipper)
{
	if (shipper == NULL)
		return;
	spool_reader_close(shipper->reader);
	drop_records(shipper, MANAGER_SPOOL_BATCH);
	free(shipper);
}

/* ---- looking ---- */

static bool
has_lane(const struct shipper *shipper, const struct lane *lane)
{
	return lane->store == SPOOL_TO_DURABLE || conf_has_redis(shipper->conf);
}

static void
note_unreadable(struct shipper *shipper, const struct sgate_error *err)
{
	atomic_store(&shipper->stores->spool.is_unreadable, 1);
	log_limited(&shipper->unread_limit, LOG_LEVEL_ERROR,
	    "spool: %s; what is in there reaches no store until it can be read",
	    err->text);
}

static bool
open_reader(struct shipper *shipper)
{
	const struct sgate_conf *conf = shipper->conf;
	struct spool_limits limits = {
	    .dir = conf->spool.dir,
	    .max_bytes = (int64_t)conf->spool.max_bytes,
	    .reserve_percent = conf->spool.reserve_percent,
	    .keep_ms = conf->spool.keep_ms,
	};
	unsigned stores =
	    SPOOL_TO_DURABLE | (conf_has_redis(conf) ? SPOOL_TO_CACHE : 0);
	int64_t now_ms = clock_monotonic_ms();
	struct sgate_error err;

	if (shipper->reader != NULL)
		return true;
	if (now_ms < shipper->open_at_ms)
		return false;
	shipper->open_at_ms = now_ms + OPEN_EVERY_MS;
	if (spool_reader_open(&limits, stores, &shipper->reader, &err) ==
	    SGATE_OK)
		return true;
	note_unreadable(shipper, &err);
	return false;
}

static int64_t
older_ms(int64_t a_ms, int64_t b_ms)
{
	if (a_ms == 0 || b_ms == 0)
		return a_ms == 0 ? b_ms : a_ms;
	return a_ms < b_ms ? a_ms : b_ms;
}

static void
publish_state(struct shipper *shipper)
{
	struct stores_spool *out = &shipper->stores->spool;
	struct spool_state state;

	spool_state(shipper->reader, &state);
	atomic_store(&out->files, state.files);
	atomic_store(&out->bytes, state.bytes);
	atomic_store(&out->to_durable, state.to_durable);
	atomic_store(&out->to_cache, state.to_cache);
	atomic_store(&out->oldest_ms,
	    older_ms(state.oldest_durable_ms, state.oldest_cache_ms));
	atomic_store(&out->damaged, state.damaged);
	atomic_store(&out->torn, state.torn);
	atomic_store(&out->foreign, state.foreign);
	/* One that neither takes is one. */
	atomic_store(
	    &out->refused, shipper->lanes[0].left > shipper->lanes[1].left
			       ? shipper->lanes[0].left
			       : shipper->lanes[1].left);
	atomic_store(&out->looked_ms, clock_utc_ms());
	if (state.damaged > shipper->damaged_told)
		log_limited(&shipper->damage_limit, LOG_LEVEL_ERROR,
		    "spool: %llu damaged places were passed over, the last "
		    "one in %s: an end in there may be lost; look at the disk",
		    (unsigned long long)state.damaged, state.last_damage);
	shipper->damaged_told = state.damaged;
}

static void
look(struct shipper *shipper)
{
	int64_t now_ms = clock_monotonic_ms();
	struct sgate_error err;

	if (now_ms < shipper->look_at_ms)
		return;
	shipper->look_at_ms = now_ms + LOOK_EVERY_MS;
	if (spool_look(shipper->reader, &err) == SGATE_OK)
		atomic_store(&shipper->stores->spool.is_unreadable, 0);
	else
		note_unreadable(shipper, &err);
	publish_state(shipper);
}

/* ---- a store that may have lost what it had ---- */

static uint64_t
losses_now(const struct shipper *shipper, const struct lane *lane)
{
	struct manager_losses losses;

	manager_losses(shipper->mgr, &losses);
	return lane->store == SPOOL_TO_CACHE ? losses.cache : losses.durable;
}

static bool
is_to_be_told(const struct shipper *shipper, const struct lane *lane)
{
	uint64_t now = losses_now(shipper, lane);
	bool is_waiting = now == lane->failed && now != lane->telling &&
			  clock_left_ms(lane->tell_at_ms) > 0;

	return now != lane->losses && !is_waiting;
}

bool
shipper_is_urgent(const struct shipper *shipper)
{
	const struct lane *lane = &shipper->lanes[0];

	return has_lane(shipper, lane) && shipper->reader != NULL &&
	       is_to_be_told(shipper, lane);
}

/*
 * In pieces; what is lost meanwhile begins it anew. Where a file could not be
 * read all of it is done again, but not at once: the others have been told.
 */
static void
tell_again(struct shipper *shipper, struct lane *lane)
{
	uint64_t now = losses_now(shipper, lane);
	struct sgate_error err;

	if (!is_to_be_told(shipper, lane))
		return;
	if (now != lane->telling) {
		lane->telling = now;
		lane->cursor.after[0] = '\0';
		lane->is_behind = false;
		lane->again_ms = 0;
		lane->failed = 0;
	}
	if (!failpoint_is_off("spool-again") &&
	    spool_again_some(shipper->reader, lane->store, 0, &lane->cursor,
		&err) != SGATE_OK) {
		note_unreadable(shipper, &err);
		lane->failed = now;
		lane->tell_at_ms = clock_monotonic_ms() + REFUSED_EVERY_MS;
	}
	if (lane->cursor.after[0] != '\0')
		return;
	lane->telling = 0;
	if (lane->failed != now)
		lane->losses = now;
}

/* ---- a pass ---- */

/* While it is half open we ship: until then the rows of a store that is back
 * are those of before it went away, and some workers read them. */
static bool
is_open(const struct shipper *shipper, const struct lane *lane)
{
	return breaker_state(lane->store == SPOOL_TO_CACHE
				 ? &shipper->stores->cache
				 : &shipper->stores->durable) == BREAKER_OPEN;
}

static uint64_t
pending(const struct shipper *shipper, const struct lane *lane)
{
	struct spool_state state;

	spool_state(shipper->reader, &state);
	return lane->store == SPOOL_TO_CACHE ? state.to_cache
					     : state.to_durable;
}

static void
set_budget(struct shipper *shipper)
{
	struct sgate_caller caller = {
	    .actor = bytes_of("keeper"), .budget_ms = CALL_MS};
	struct sgate_error err;

	if (sgate_manager_set_caller(shipper->mgr, &caller, &err) != SGATE_OK)
		log_warning("spool: %s", err.text);
}

static void
note_refused(struct shipper *shipper, struct lane *lane, size_t count,
    const struct sgate_error *err)
{
	if (count == 0)
		return;
	lane->refused += count;
	log_limited(&shipper->refused_limit, LOG_LEVEL_ERROR,
	    "spool: %llu events are not taken by %s: %s; they are kept and "
	    "tried again",
	    (unsigned long long)lane->refused, lane->name, err->text);
}

/* One that cannot be read is not taken, and told of as such. */
static void
load_records(struct shipper *shipper, size_t count)
{
	struct sgate_error err;
	size_t i;

	for (i = 0; i < count; i++) {
		struct buf *record = &shipper->records[i];

		if (shipper->frames[i].record.len == 0)
			continue;
		buf_reset(record);
		if (spool_load(shipper->reader, &shipper->places[i], record,
			&err) == SGATE_OK)
			shipper->frames[i].record = buf_bytes(record);
	}
}

/* False: the store does not answer. */
static bool
send_batch(struct shipper *shipper, struct lane *lane)
{
	size_t i, refused = 0, count = shipper->count;
	enum sgate_status status;
	struct sgate_error err = {.text = ""};

	if (count == 0)
		return true;
	shipper->count = 0;
	load_records(shipper, count);
	set_budget(shipper);
	failpoint("ship");
	if (lane->store == SPOOL_TO_CACHE)
		status = manager_spool_publish(
		    shipper->mgr, shipper->frames, count, shipper->done, &err);
	else
		status = manager_spool_apply(
		    shipper->mgr, shipper->frames, count, shipper->done, &err);
	failpoint("shipped");
	drop_records(shipper, count);
	for (i = 0; i < count; i++) {
		if (!shipper->done[i]) {
			refused++;
			continue;
		}
		spool_done(shipper->reader, &shipper->places[i], lane->store);
		lane->brought++;
	}
	memcpy(lane->passed, shipper->frames[count - 1].audit.event_id,
	    sizeof(lane->passed));
	shipper->breathe(shipper->arg);
	if (status != SGATE_OK) {
		lane->is_failed = true;
		return false;
	}
	note_refused(shipper, lane, refused, &err);
	return true;
}

static void
begin_pass(struct shipper *shipper, struct lane *lane)
{
	struct sgate_error err;

	shipper->count = 0;
	if (!lane->is_behind) {
		lane->refused = 0;
		lane->is_failed = false;
		memset(lane->passed, 0, sizeof(lane->passed));
	}
	if (spool_pass_begin(shipper->reader, lane->store, &err) != SGATE_OK)
		note_unreadable(shipper, &err);
}

/*
 * One that was cut short goes on behind the last batch, also when that had no
 * answer: a row may be locked, and only the breaker tells whether the store is
 * away.
 */
static void
end_pass(const struct shipper *shipper, struct lane *lane, bool is_whole)
{
	lane->is_behind = !is_whole && !is_open(shipper, lane);
	if (!is_whole)
		return;
	lane->left = lane->is_failed ? 0 : lane->refused;
	lane->again_ms = clock_monotonic_ms() + REFUSED_EVERY_MS;
}

static void
pass(struct shipper *shipper, struct lane *lane, int64_t until_ms)
{
	bool is_answering = true, is_whole = false;
	struct spool_frame *frame;

	begin_pass(shipper, lane);
	while (is_answering && clock_left_ms(until_ms) > 0) {
		frame = &shipper->frames[shipper->count];
		if (!spool_pass_next(shipper->reader, frame,
			&shipper->places[shipper->count])) {
			send_batch(shipper, lane);
			is_whole = true;
			break;
		}
		if (memcmp(frame->audit.event_id, lane->passed,
			sizeof(lane->passed)) <= 0)
			continue;
		if (++shipper->count == MANAGER_SPOOL_BATCH)
			is_answering = send_batch(shipper, lane);
	}
	end_pass(shipper, lane, is_whole);
}

/* What has waited for a store that was away is told once, when it has it all.
 * One that goes again meanwhile has been away all the time. */
static void
note_away(const struct shipper *shipper, struct lane *lane)
{
	if (pending(shipper, lane) == 0)
		return;
	if (is_open(shipper, lane)) {
		lane->has_waited = true;
		lane->back_ms = 0;
	} else if (lane->back_ms == 0) {
		lane->back_ms = clock_monotonic_ms();
	}
}

static void
note_brought(const struct shipper *shipper, struct lane *lane)
{
	if (pending(shipper, lane) > 0)
		return;
	if (lane->has_waited && lane->brought > 0)
		log_notice("spool: %s has got all %llu events that waited for "
			   "it, within %lld ms",
		    lane->name, (unsigned long long)lane->brought,
		    (long long)(clock_monotonic_ms() - lane->back_ms));
	lane->has_waited = false;
	lane->back_ms = 0;
	lane->brought = 0;
}

static bool
is_due(const struct shipper *shipper, const struct lane *lane)
{
	uint64_t count = pending(shipper, lane);

	if (!has_lane(shipper, lane) || is_open(shipper, lane) || count == 0)
		return false;
	return lane->is_behind || count > lane->left ||
	       clock_left_ms(lane->again_ms) == 0;
}

void
shipper_step(struct shipper *shipper, int64_t ms)
{
	size_t i;

	if (!open_reader(shipper))
		return;
	look(shipper);
	for (i = 0; i < LANES; i++) {
		struct lane *lane = &shipper->lanes[i];

		if (has_lane(shipper, lane))
			tell_again(shipper, lane);
		note_away(shipper, lane);
		if (is_due(shipper, lane))
			pass(shipper, lane, clock_monotonic_ms() + ms / LANES);
		note_brought(shipper, lane);
		if (pending(shipper, lane) == 0)
			lane->left = 0;
	}
	publish_state(shipper);
}

void
shipper_last(struct shipper *shipper, int64_t ms)
{
	int64_t until_ms = clock_monotonic_ms() + ms;
	int64_t left_ms;

	do {
		shipper->look_at_ms = 0;
		left_ms = clock_left_ms(until_ms);
		shipper_step(shipper, left_ms);
	} while (shipper->reader != NULL && clock_left_ms(until_ms) > 0 &&
		 (is_due(shipper, &shipper->lanes[0]) ||
		     is_due(shipper, &shipper->lanes[1])));
}
