/* What it means that a store is away: outage.h. */
#include "config.h"

#include "outage.h"

#include "clock.h"
#include "crc32c.h"
#include "log.h"

#include <stdio.h>
#include <string.h>

/* A finding of the keeper that is older than this counts as not known. */
#define FRESH_MS 30000
/* With both stores there, an event in the spool is shipped in a second. */
#define SPOOL_LATE_MS 10000
/* "Unavailable" is told so often. */
#define NOTE_EVERY_MS 1000
/* That the spool could not be written is told for so long. */
#define SPOOL_FAILED_MS 60000

static int64_t
load(const _Atomic int64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

enum store_state
outage_store(const struct shared_store *store)
{
	int64_t checked_ms = load(&store->checked_ms);

	if (checked_ms == 0 || clock_utc_ms() - checked_ms > FRESH_MS)
		return STORE_UNKNOWN;
	return atomic_load_explicit(&store->is_up, memory_order_relaxed)
		   ? STORE_UP
		   : STORE_DOWN;
}

int64_t
outage_fence_age_ms(const struct fence *fence)
{
	int64_t oldest_ms = INT64_MAX, complete_ms, now_ms = clock_boot_ms();
	unsigned group;

	for (group = 0; group < TOKEN_GROUPS; group++) {
		complete_ms = load(&fence->complete_ms[group]);
		if (complete_ms <= 0)
			return -1;
		if (complete_ms < oldest_ms)
			oldest_ms = complete_ms;
	}
	return now_ms > oldest_ms ? now_ms - oldest_ms : 0;
}

enum outage
outage_now(const struct gateway *gw, int64_t *out_left_ms)
{
	const struct shared *shared = gw->shared;
	int64_t max_blind_ms = gw->conf->fence.max_blind_ms;
	int64_t age_ms;

	*out_left_ms = -1;
	if (shared == NULL)
		return OUTAGE_TOTAL;
	if (outage_store(&shared->state.durable) == STORE_UP)
		return OUTAGE_NONE;
	if (!conf_has_redis(gw->conf) ||
	    outage_store(&shared->state.cache) != STORE_UP ||
	    atomic_load(&shared->stores.fence.is_alarmed) != 0)
		return OUTAGE_TOTAL;
	age_ms = outage_fence_age_ms(&shared->stores.fence);
	if (age_ms < 0 || (max_blind_ms >= 0 && age_ms > max_blind_ms))
		return OUTAGE_TOTAL;
	if (max_blind_ms >= 0)
		*out_left_ms = max_blind_ms - age_ms;
	return OUTAGE_BLIND;
}

const char *
outage_durable_name(const struct gateway *gw)
{
	return conf_has_mysql(gw->conf) ? "mysql" : "sqlite";
}

void
outage_add_meaning(struct buf *out, const struct gateway *gw)
{
	int64_t left_ms;

	switch (outage_now(gw, &left_ms)) {
	case OUTAGE_NONE:
		buf_printf(out, "sessions are looked up in %s",
		    outage_durable_name(gw));
		return;
	case OUTAGE_BLIND:
		buf_add_text(out, "validation goes on from redis");
		if (left_ms >= 0)
			buf_printf(out, " for at most %lld s more",
			    (long long)(left_ms + 999) / 1000);
		buf_add_text(
		    out, gw->conf->session.create_without_mysql
			     ? ", logging out and creating go on, changing "
			       "answers 503"
			     : ", logging out goes on, creating and changing "
			       "answer 503");
		return;
	case OUTAGE_TOTAL:
		buf_add_text(out, "requests are answered 503");
		return;
	}
}

/* ---- the log ---- */

/* What fails, where, with which code: each is told by itself. */
static struct log_count *
count_of(struct shared *shared, const char *what, const struct sgate_error *err)
{
	static struct log_count own;
	uint32_t sum = crc32c(0, what, strlen(what));

	if (shared == NULL)
		return &own;
	sum = crc32c(sum, err->source, strlen(err->source));
	sum = crc32c(sum, err->operation, strlen(err->operation));
	sum = crc32c(sum, &err->native_code, sizeof(err->native_code));
	return &shared->unavailable[sum % SHARED_UNAVAILABLE];
}

void
outage_note(
    const struct gateway *gw, const char *what, const struct sgate_error *err)
{
	char more[64] = "";
	unsigned dropped;

	if (!log_may_tell(
		count_of(gw->shared, what, err), 1, NOTE_EVERY_MS, &dropped))
		return;
	if (dropped > 0)
		snprintf(more, sizeof(more),
		    " (and %u times since the line before)", dropped);
	log_error("%s: %s: %s: %s; answering \"unavailable\"%s", what,
	    err->source, err->operation, err->text, more);
}

void
outage_tell_rest(const struct gateway *gw)
{
	unsigned dropped = 0;
	size_t i;

	for (i = 0; i < SHARED_UNAVAILABLE; i++)
		dropped += log_take_dropped(
		    &gw->shared->unavailable[i], NOTE_EVERY_MS);
	if (dropped > 0)
		log_notice(
		    "%u more requests were answered \"unavailable\"", dropped);
}

/* ---- problems ---- */

/* Whom a sentence is told. */
struct teller {
	void (*tell)(void *arg, struct sgate_bytes sentence);
	void *arg;
};

/* The sentence in text, if there is one; text is empty then. */
static void
tell(const struct teller *teller, struct buf *text)
{
	if (text->len > 0)
		teller->tell(teller->arg, buf_bytes(text));
	buf_reset(text);
}

static void
add_store(const struct teller *teller, const struct gateway *gw,
    const struct shared_store *store, const char *name)
{
	enum store_state state = outage_store(store);
	int64_t for_ms = clock_utc_ms() - load(&store->since_ms);
	struct buf text = {0};

	if (state == STORE_UP)
		return;
	if (state == STORE_UNKNOWN) {
		buf_printf(&text, "%s has not been looked at yet", name);
		if (load(&store->checked_ms) != 0)
			buf_printf(&text, " for %lld s: is the keeper alive?",
			    (long long)(clock_utc_ms() -
					load(&store->checked_ms)) /
				1000);
	} else {
		buf_printf(&text, "%s is down for %lld s: ", name,
		    (long long)(for_ms < 0 ? 0 : for_ms) / 1000);
		outage_add_meaning(&text, gw);
		buf_add_text(&text, "; the log says why");
	}
	tell(teller, &text);
	buf_clear(&text);
}

/* What the log tells once and the counters do not: whose help is needed. */
static void
add_fence(const struct teller *teller, const struct gateway *gw)
{
	const struct stores *stores = &gw->shared->stores;
	unsigned behind = atomic_load(&stores->groups_behind);
	unsigned foreign = atomic_load(&stores->groups_foreign);
	struct buf text = {0};

	if (atomic_load(&stores->fence.is_alarmed) != 0)
		buf_add_text(&text,
		    "the numbers in mysql have fallen, an old dump was loaded: "
		    "no copy in redis is believed; stop every gateway, run "
		    "`sessgatectl db restored`, start them");
	else if (foreign > 0)
		buf_printf(&text,
		    "redis holds copies of another database in %u of %u "
		    "groups: those are not believed; set redis.prefix or "
		    "redis.database, or delete the keys %s:{*}:sync if that "
		    "database is no more",
		    foreign, (unsigned)TOKEN_GROUPS, gw->conf->redis.prefix);
	else if (behind > 0)
		buf_printf(&text,
		    "redis is behind mysql in %u of %u groups: those are "
		    "looked up in mysql until it has caught up",
		    behind, (unsigned)TOKEN_GROUPS);
	tell(teller, &text);
	buf_clear(&text);
}

/* What waits while its store is away is no problem of the spool's. */
static void
add_spool_waiting(struct buf *text, const struct gateway *gw)
{
	const struct stores_spool *spool = &gw->shared->stores.spool;
	int64_t oldest_ms = load(&spool->oldest_ms);
	uint64_t refused = atomic_load(&spool->refused);

	if (atomic_load(&spool->is_unreadable) != 0)
		buf_printf(text,
		    "the spool in %s cannot be read: ends that are in there "
		    "reach no store; the log says why",
		    gw->conf->spool.dir);
	else if (refused > 0)
		buf_printf(text,
		    "the stores do not take %llu events of the spool in %s: "
		    "the log says why",
		    (unsigned long long)refused, gw->conf->spool.dir);
	else if (oldest_ms != 0 &&
		 outage_store(&gw->shared->state.durable) == STORE_UP &&
		 clock_utc_ms() - oldest_ms > SPOOL_LATE_MS)
		buf_printf(text,
		    "the spool is being brought to the stores: its oldest "
		    "event is %lld s old",
		    (long long)(clock_utc_ms() - oldest_ms) / 1000);
}

static void
add_spool(const struct teller *teller, const struct gateway *gw)
{
	const struct stores_spool *spool = &gw->shared->stores.spool;
	uint64_t damaged = atomic_load(&spool->damaged);
	uint64_t foreign = atomic_load(&spool->foreign);
	int64_t failed_ms = load(&spool->failed_ms);
	struct buf text = {0};

	if (failed_ms != 0 && clock_utc_ms() - failed_ms < SPOOL_FAILED_MS)
		buf_printf(&text,
		    "the spool in %s cannot be written, its disk is full or "
		    "broken: an end that mysql is not told is answered 503",
		    gw->conf->spool.dir);
	tell(teller, &text);
	add_spool_waiting(&text, gw);
	tell(teller, &text);
	if (damaged > 0)
		buf_printf(&text,
		    "%llu damaged places in the spool in %s were passed over: "
		    "an end may be lost; look at the disk",
		    (unsigned long long)damaged, gw->conf->spool.dir);
	tell(teller, &text);
	if (foreign > 0)
		buf_printf(&text,
		    "%llu files in the spool in %s are of another version of "
		    "sessgate: start that one on them, or move them away",
		    (unsigned long long)foreign, gw->conf->spool.dir);
	tell(teller, &text);
	buf_clear(&text);
}

void
outage_tell_problems(const struct gateway *gw,
    void (*tell_sentence)(void *arg, struct sgate_bytes sentence), void *arg)
{
	const struct shared_state *state = &gw->shared->state;
	struct teller teller = {tell_sentence, arg};

	add_store(&teller, gw, &state->durable, outage_durable_name(gw));
	if (conf_has_redis(gw->conf)) {
		add_store(&teller, gw, &state->cache, "redis");
		if (outage_store(&state->durable) == STORE_UP &&
		    outage_store(&state->cache) == STORE_UP)
			add_fence(&teller, gw);
	}
	if (conf_has_spool(gw->conf))
		add_spool(&teller, gw);
}

static void
add_sentence(void *arg, struct sgate_bytes sentence)
{
	json_string(arg, NULL, sentence);
}

void
outage_add_problems(struct json *j, const struct gateway *gw)
{
	json_array(j, "problems");
	outage_tell_problems(gw, add_sentence, j);
	json_end(j);
}
