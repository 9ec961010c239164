/*
 * The cache in Redis: the table of cache.h. Each operation is one question: how
 * its commands are written, and what its replies must look like. A question may
 * be composed twice, when the server does not know a script by its hash.
 *
 * Keys: PREFIX:{GROUP}:s:REF holds a record, PREFIX:{GROUP}:sync the group's
 * sync. The braces make a group's keys one slot for whoever splits by slots.
 */
#include "config.h"

#include "cache_redis.h"

#include "clock.h"
#include "failpoint.h"
#include "record.h"
#include "status.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void
redb_add_record_key(
    struct buf *out, const struct cache *c, const struct sgate_ref *ref)
{
	char hex[SGATE_REF_HEX + 1];

	sgate_ref_text(ref, hex);
	redb_add_key(out, c, token_ref_group(ref),
	    "s:", (struct sgate_bytes){hex, SGATE_REF_HEX});
}

static void
add_sync_key(struct buf *out, const struct cache *c, unsigned group)
{
	redb_add_key(out, c, group, "sync", (struct sgate_bytes){"", 0});
}

static enum sgate_status
misused(const char *operation, const char *what, struct sgate_error *err)
{
	return error_set(
	    err, SGATE_INTERNAL, REDB_SOURCE, operation, 0, "%s", what);
}

/* ---- what replies look like ---- */

static bool
is_text(const struct redb_reply *reply)
{
	return !reply->is_list && reply->values[0].type == REDB_TEXT;
}

static bool
is_text_or_nothing(const struct redb_value *value)
{
	return value->type == REDB_TEXT || value->type == REDB_NOTHING;
}

/* A list of that many values, some of which may be missing. */
static bool
is_list_of(const struct redb_reply *reply, size_t count)
{
	size_t i;

	if (!reply->is_list || reply->count != count)
		return false;
	for (i = 0; i < count; i++)
		if (!is_text_or_nothing(&reply->values[i]))
			return false;
	return true;
}

static bool
is_status(const struct redb_reply *reply, const char *text)
{
	return !reply->is_list && reply->values[0].type == REDB_STATUS &&
	       bytes_equal_text(reply->values[0].text, text);
}

/* ---- ping ---- */

static void
compose_ping(struct buf *out, void *arg, bool is_whole)
{
	(void)arg;
	(void)is_whole;
	redb_add_command(out, 1);
	redb_add_word(out, bytes_of("PING"));
}

static bool
take_pong(void *arg, size_t index, const struct redb_reply *reply)
{
	(void)arg;
	(void)index;
	return is_status(reply, "PONG");
}

static enum sgate_status
redb_ping(struct cache *c, struct sgate_error *err)
{
	const struct redb_question q = {
	    "ping", 1, compose_ping, take_pong, NULL};

	return redb_ask(c, &q, err);
}

/* ---- get ---- */

struct get {
	const struct cache *c;
	const struct sgate_ref *ref;
	struct cache_copy *out;
};

static void
compose_get(struct buf *out, void *arg, bool is_whole)
{
	const struct get *get = arg;

	(void)is_whole;
	redb_add_command(out, 3);
	redb_add_word(out, bytes_of("MGET"));
	redb_add_record_key(out, get->c, get->ref);
	add_sync_key(out, get->c, token_ref_group(get->ref));
}

static bool
take_get(void *arg, size_t index, const struct redb_reply *reply)
{
	const struct get *get = arg;

	(void)index;
	if (!is_list_of(reply, 2) ||
	    reply->values[0].text.len > RECORD_MAX_BYTES)
		return false;
	if (reply->values[0].text.len > 0)
		get->out->record = reply->values[0].text;
	cache_sync_copy(reply->values[1].text, get->out->sync);
	return true;
}

static enum sgate_status
redb_get(struct cache *c, const struct sgate_ref *ref, struct cache_copy *out,
    struct sgate_error *err)
{
	struct get get = {c, ref, out};
	const struct redb_question q = {"get", 1, compose_get, take_get, &get};
	struct sgate_error own;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = redb_ask(c, &q, &own);
	if (status == SGATE_UNAVAILABLE && own.native_code == 0 &&
	    failpoint_is_off("error-is-miss"))
		status = SGATE_OK;
	if (status != SGATE_OK)
		memset(out, 0, sizeof(*out));
	if (err != NULL)
		*err = own;
	return status;
}

/* ---- put ---- */

struct put {
	const struct cache *c;
	const struct cache_item *item;
	uint64_t s0;
	struct sgate_bytes only_over;
	enum cache_put *out_put;
	struct cache_copy *out;
};

static void
compose_put(struct buf *out, void *arg, bool is_whole)
{
	const struct put *put = arg;
	bool is_forced = put->only_over.data != NULL;

	redb_add_script(out, redb_script_put(), 2, is_forced ? 4 : 3, is_whole);
	redb_add_record_key(out, put->c, &put->item->ref);
	add_sync_key(out, put->c, token_ref_group(&put->item->ref));
	redb_add_number(out, (int64_t)put->s0);
	redb_add_word(out, put->item->record);
	redb_add_number(out, put->item->ttl_ms);
	if (is_forced)
		redb_add_word(out, put->only_over);
}

/* Of PUT, CREATE and LAND: a tombstone, or a word. */
static bool
take_word(const struct redb_reply *reply, enum cache_put *out_put,
    struct cache_copy *out)
{
	static const struct {
		const char *text;
		enum cache_put put;
	} answers[] = {{"OK", CACHE_PUT_OK}, {"HAVE", CACHE_PUT_HAVE},
	    {"NOSYNC", CACHE_PUT_NOSYNC}, {"RETRY", CACHE_PUT_RETRY}};
	const struct sgate_bytes text = reply->values[0].text;
	size_t i;

	if (!is_text(reply) || text.len == 0 || text.len > RECORD_MAX_BYTES)
		return false;
	if (text.data[0] == 'T') {
		*out_put = CACHE_PUT_ENDED;
		out->record = text;
		return true;
	}
	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (bytes_equal_text(text, answers[i].text)) {
			*out_put = answers[i].put;
			return true;
		}
	}
	return false;
}

static bool
take_put(void *arg, size_t index, const struct redb_reply *reply)
{
	const struct put *put = arg;

	(void)index;
	return take_word(reply, put->out_put, put->out);
}

static enum sgate_status
redb_put(struct cache *c, const struct cache_item *item, uint64_t s0,
    struct sgate_bytes only_over, enum cache_put *out_put,
    struct cache_copy *out, struct sgate_error *err)
{
	struct put put = {c, item, s0, only_over, out_put, out};
	const struct redb_question q = {"put", 1, compose_put, take_put, &put};
	const char *wrong = cache_wrong_item(item, "LU");
	enum sgate_status status;

	*out_put = CACHE_PUT_RETRY;
	memset(out, 0, sizeof(*out));
	if (wrong == NULL && s0 > CACHE_NUMBER_MAX)
		wrong = "a number of the group that no counter has";
	if (wrong != NULL)
		return misused("put", wrong, err);
	status = redb_ask(c, &q, err);
	if (status != SGATE_OK) {
		*out_put = CACHE_PUT_RETRY;
		memset(out, 0, sizeof(*out));
	}
	return status;
}

struct puts {
	const struct cache *c;
	struct cache_putting *items;
	size_t count;
};

static void
compose_puts(struct buf *out, void *arg, bool is_whole)
{
	const struct puts *puts = arg;
	struct put put = {.c = puts->c};
	size_t i;

	for (i = 0; i < puts->count; i++) {
		put.item = &puts->items[i].item;
		put.s0 = puts->items[i].s0;
		/* What the first has loaded the others find. */
		compose_put(out, &put, is_whole && i == 0);
	}
}

static bool
take_puts(void *arg, size_t index, const struct redb_reply *reply)
{
	const struct puts *puts = arg;
	struct cache_putting *putting = &puts->items[index];
	struct cache_copy found = {.record = {NULL, 0}};

	if (!take_word(reply, &putting->put, &found))
		return false;
	putting->tombstone_len = found.record.len < sizeof(putting->tombstone)
				     ? found.record.len
				     : sizeof(putting->tombstone);
	if (putting->tombstone_len > 0)
		memcpy(putting->tombstone, found.record.data,
		    putting->tombstone_len);
	return true;
}

static enum sgate_status
redb_put_many(struct cache *c, struct cache_putting *items, size_t count,
    struct sgate_error *err)
{
	struct puts puts = {c, items, count};
	const struct redb_question q = {
	    "put_many", count, compose_puts, take_puts, &puts};
	const char *wrong =
	    count == 0 || count > CACHE_PUTS_MAX ? "none, or too many" : NULL;
	enum sgate_status status;
	size_t i;

	for (i = 0; i < count && wrong == NULL; i++) {
		wrong = cache_wrong_item(&items[i].item, "LU");
		if (wrong == NULL && items[i].s0 > CACHE_NUMBER_MAX)
			wrong = "a number of the group that no counter has";
		items[i].put = CACHE_PUT_RETRY;
		items[i].tombstone_len = 0;
	}
	if (wrong != NULL)
		return misused("put_many", wrong, err);
	status = redb_ask(c, &q, err);
	for (i = 0; i < count && status != SGATE_OK; i++)
		items[i].put = CACHE_PUT_RETRY;
	return status;
}

/* ---- end ---- */

struct end {
	const struct cache *c;
	const struct cache_item *tombstones;
	size_t count;
};

static size_t
count_group(const struct end *end, unsigned group)
{
	size_t count = 0;
	size_t i;

	for (i = 0; i < end->count; i++)
		if (token_ref_group(&end->tombstones[i].ref) == group)
			count++;
	return count;
}

static void
compose_group(
    struct buf *out, const struct end *end, unsigned group, bool is_whole)
{
	size_t count = count_group(end, group);
	size_t i;

	if (count == 0)
		return;
	redb_add_script(out, redb_script_end(), count, 2 * count, is_whole);
	for (i = 0; i < end->count; i++)
		if (token_ref_group(&end->tombstones[i].ref) == group)
			redb_add_record_key(
			    out, end->c, &end->tombstones[i].ref);
	for (i = 0; i < end->count; i++) {
		if (token_ref_group(&end->tombstones[i].ref) != group)
			continue;
		redb_add_word(out, end->tombstones[i].record);
		redb_add_number(out, end->tombstones[i].ttl_ms);
	}
}

static void
compose_end(struct buf *out, void *arg, bool is_whole)
{
	const struct end *end = arg;
	unsigned group;

	for (group = 0; group < TOKEN_GROUPS; group++)
		compose_group(out, end, group, is_whole);
}

static bool
take_done(void *arg, size_t index, const struct redb_reply *reply)
{
	(void)arg;
	(void)index;
	return is_text(reply) && bytes_equal_text(reply->values[0].text, "OK");
}

/* How many scripts it takes. */
static enum sgate_status
check_end(const struct end *end, size_t *out_scripts, struct sgate_error *err)
{
	unsigned group;
	size_t i;

	error_clear(err);
	*out_scripts = 0;
	for (i = 0; i < end->count; i++) {
		const char *wrong = cache_wrong_item(&end->tombstones[i], "T");

		if (wrong != NULL)
			return misused("end", wrong, err);
	}
	for (group = 0; group < TOKEN_GROUPS; group++)
		if (count_group(end, group) > 0)
			(*out_scripts)++;
	return SGATE_OK;
}

/*
 * WAIT counts the replicas that have what was written on this connection: so it
 * stands in one question with the scripts. Their texts are sent then: of one
 * that the server has forgotten it would say so at once, and nothing be
 * written, but nobody hears that before the WAIT behind it is over.
 */
struct wait {
	unsigned replicas; /* 0: it is not asked for */
	long long reached;
	bool is_written; /* the scripts have answered */
};
struct end_on {
	struct end end;
	size_t scripts;
	struct wait wait;
};

static void
add_wait(struct buf *out, const struct cache *c, const struct wait *wait)
{
	int64_t left_ms = clock_left_ms(c->deadline_ms);

	if (wait->replicas == 0)
		return;

	redb_add_command(out, 3);
	redb_add_word(out, bytes_of("WAIT"));
	redb_add_number(out, wait->replicas);
	/* 0 would be without an end. */
	redb_add_number(out, left_ms > 4 ? left_ms - left_ms / 4 : 1);
}

static bool
take_wait(const struct redb_reply *reply, struct wait *wait)
{
	wait->reached = reply->values[0].number;
	return !reply->is_list && reply->values[0].type == REDB_INTEGER;
}

/*
 * status: of the question. An idle Redis looks only ten times a second whether
 * a WAIT has come to its end, so the answer may be late: the server has
 * answered the scripts then, and is not what is missing (err->native_code 0).
 */
static enum sgate_status
judge_wait(
    enum sgate_status status, const struct wait *wait, struct sgate_error *err)
{
	bool is_late = status == SGATE_UNAVAILABLE && wait->is_written &&
		       err->native_code == ETIMEDOUT;

	if (wait->replicas == 0 || (status != SGATE_OK && !is_late) ||
	    (status == SGATE_OK && wait->reached >= (long long)wait->replicas))
		return status;
	return error_set(err, SGATE_UNAVAILABLE, REDB_SOURCE, "wait", 0,
	    "%lld replicas have it in time, not %u",
	    is_late ? 0LL : wait->reached, wait->replicas);
}

static void
compose_end_on(struct buf *out, void *arg, bool is_whole)
{
	struct end_on *on = arg;

	compose_end(out, &on->end, is_whole || on->wait.replicas > 0);
	add_wait(out, on->end.c, &on->wait);
}

static bool
take_end_on(void *arg, size_t index, const struct redb_reply *reply)
{
	struct end_on *on = arg;

	if (index == on->scripts)
		return take_wait(reply, &on->wait);
	on->wait.is_written = index + 1 == on->scripts;
	return take_done(&on->end, index, reply);
}

static enum sgate_status
redb_end(struct cache *c, const struct cache_item *tombstones, size_t count,
    unsigned replicas, struct sgate_error *err)
{
	struct end_on on = {
	    .end = {c, tombstones, count}, .wait = {.replicas = replicas}};
	struct sgate_error why;
	struct redb_question q = {"end", 0, compose_end_on, take_end_on, &on};
	enum sgate_status status = check_end(&on.end, &on.scripts, err);

	if (status != SGATE_OK || count == 0)
		return status;
	q.replies = on.scripts + (replicas > 0);
	status = judge_wait(redb_ask(c, &q, &why), &on.wait, &why);
	if (err != NULL)
		*err = why;
	return status;
}

/* ---- touch ---- */

struct touch {
	const struct cache *c;
	const struct cache_touch *touches;
	size_t count;
};

static void
add_last_seen(struct buf *out, int64_t last_seen_ms)
{
	char text[24];

	snprintf(text, sizeof(text), "%013" PRId64, last_seen_ms);
	redb_add_word(out, bytes_of(text));
}

static void
compose_touch(struct buf *out, void *arg, bool is_whole)
{
	const struct touch *touch = arg;
	size_t i;

	for (i = 0; i < touch->count; i++) {
		redb_add_script(out, redb_script_touch(), 1, 2, is_whole);
		redb_add_record_key(out, touch->c, &touch->touches[i].ref);
		add_last_seen(out, touch->touches[i].last_seen_ms);
		redb_add_number(out, touch->touches[i].ttl_ms);
	}
}

/* OK, MISS or ENDED: whichever, there is nothing more to do. */
static bool
take_touch(void *arg, size_t index, const struct redb_reply *reply)
{
	(void)arg;
	(void)index;
	return is_text(reply);
}

/* For the failpoint: a touch that writes back the record that it has read. */
static void
compose_write_back(struct buf *out, void *arg, bool is_whole)
{
	const struct put *put = arg;

	(void)is_whole;
	redb_add_command(out, 5);
	redb_add_word(out, bytes_of("SET"));
	redb_add_record_key(out, put->c, &put->item->ref);
	redb_add_word(out, put->item->record);
	redb_add_word(out, bytes_of("PX"));
	redb_add_number(out, put->item->ttl_ms);
}

static bool
take_any(void *arg, size_t index, const struct redb_reply *reply)
{
	(void)arg;
	(void)index;
	(void)reply;
	return true;
}

static enum sgate_status
write_back(
    struct cache *c, const struct cache_touch *touch, struct sgate_error *err)
{
	struct cache_item item = {touch->ref, {NULL, 0}, touch->ttl_ms};
	struct put put = {.c = c, .item = &item};
	const struct redb_question q = {
	    "touch", 1, compose_write_back, take_any, &put};
	struct buf record = {0};
	struct cache_copy copy;
	char text[24];
	enum sgate_status status = redb_get(c, &touch->ref, &copy, err);

	if (status != SGATE_OK || copy.record.len < RECORD_BODY_OFFSET ||
	    copy.record.data[0] == 'T')
		return status;
	snprintf(text, sizeof(text), "%013" PRId64, touch->last_seen_ms);
	buf_add(&record, copy.record.data, RECORD_LAST_SEEN_OFFSET);
	buf_add_text(&record, text);
	buf_add(&record, copy.record.data + RECORD_BODY_OFFSET,
	    copy.record.len - RECORD_BODY_OFFSET);
	failpoint("touch-write");
	item.record = buf_bytes(&record);
	status = redb_ask(c, &q, err);
	buf_clear(&record);
	return status;
}

static enum sgate_status
redb_touch(struct cache *c, const struct cache_touch *touches, size_t count,
    struct sgate_error *err)
{
	struct touch touch = {c, touches, count};
	const struct redb_question q = {
	    "touch", count, compose_touch, take_touch, &touch};
	enum sgate_status status = SGATE_OK;
	size_t i;

	error_clear(err);
	for (i = 0; i < count; i++) {
		const char *wrong = cache_wrong_touch(&touches[i]);

		if (wrong != NULL)
			return misused("touch", wrong, err);
	}
	if (!failpoint_is_off("touch-field"))
		return count == 0 ? SGATE_OK : redb_ask(c, &q, err);
	for (i = 0; status == SGATE_OK && i < count; i++)
		status = write_back(c, &touches[i], err);
	return status;
}

/* ---- sync ---- */

struct sync {
	const struct cache *c;
	char (*out)[CACHE_SYNC_MAX + 1];
	unsigned group;
	const char *text;
};

static void
compose_sync_get(struct buf *out, void *arg, bool is_whole)
{
	const struct sync *sync = arg;
	unsigned group;

	(void)is_whole;
	redb_add_command(out, 1 + TOKEN_GROUPS);
	redb_add_word(out, bytes_of("MGET"));
	for (group = 0; group < TOKEN_GROUPS; group++)
		add_sync_key(out, sync->c, group);
}

static bool
take_sync_get(void *arg, size_t index, const struct redb_reply *reply)
{
	const struct sync *sync = arg;
	unsigned group;

	(void)index;
	if (!is_list_of(reply, TOKEN_GROUPS))
		return false;
	for (group = 0; group < TOKEN_GROUPS; group++)
		cache_sync_copy(reply->values[group].text, sync->out[group]);
	return true;
}

static enum sgate_status
redb_sync_get(struct cache *c, char out_sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1],
    struct sgate_error *err)
{
	struct sync sync = {c, out_sync, 0, NULL};
	const struct redb_question q = {
	    "sync_get", 1, compose_sync_get, take_sync_get, &sync};
	const size_t size = TOKEN_GROUPS * sizeof(out_sync[0]);
	enum sgate_status status;

	memset(out_sync, 0, size);
	status = redb_ask(c, &q, err);
	if (status != SGATE_OK)
		memset(out_sync, 0, size);
	return status;
}

static void
compose_sync_set(struct buf *out, void *arg, bool is_whole)
{
	const struct sync *sync = arg;

	(void)is_whole;
	redb_add_command(out, 3);
	redb_add_word(out, bytes_of("SET"));
	add_sync_key(out, sync->c, sync->group);
	redb_add_word(out, bytes_of(sync->text));
}

static bool
take_ok(void *arg, size_t index, const struct redb_reply *reply)
{
	(void)arg;
	(void)index;
	return is_status(reply, "OK");
}

static enum sgate_status
redb_sync_set(
    struct cache *c, unsigned group, const char *text, struct sgate_error *err)
{
	struct sync sync = {c, NULL, group, text};
	const struct redb_question q = {
	    "sync_set", 1, compose_sync_set, take_ok, &sync};
	const char *wrong = cache_wrong_sync(group, text);

	return wrong == NULL ? redb_ask(c, &q, err)
			     : misused("sync_set", wrong, err);
}

/* ---- apply ---- */

struct apply {
	const struct cache *c;
	unsigned group;
	const char *from;
	const char *to;
	const struct cache_item *items;
	size_t count;
	char *out_sync;
};

static void
compose_apply(struct buf *out, void *arg, bool is_whole)
{
	const struct apply *apply = arg;
	size_t i;

	redb_add_script(out, redb_script_apply(), 1 + apply->count,
	    2 + 2 * apply->count, is_whole);
	add_sync_key(out, apply->c, apply->group);
	for (i = 0; i < apply->count; i++)
		redb_add_record_key(out, apply->c, &apply->items[i].ref);
	redb_add_word(out, bytes_of(apply->from));
	redb_add_word(out, bytes_of(apply->to));
	for (i = 0; i < apply->count; i++) {
		redb_add_word(out, apply->items[i].record);
		redb_add_number(out, apply->items[i].ttl_ms);
	}
}

static bool
take_apply(void *arg, size_t index, const struct redb_reply *reply)
{
	const struct apply *apply = arg;

	(void)index;
	if (!is_text(reply))
		return false;
	cache_sync_copy(reply->values[0].text, apply->out_sync);
	return true;
}

static enum sgate_status
redb_apply(struct cache *c, unsigned group, const char *from, const char *to,
    const struct cache_item *items, size_t count,
    char out_sync[CACHE_SYNC_MAX + 1], struct sgate_error *err)
{
	struct apply apply = {c, group, from, to, items, count, out_sync};
	const struct redb_question q = {
	    "apply", 1, compose_apply, take_apply, &apply};
	const char *wrong = cache_wrong_apply(group, from, to, items, count);
	enum sgate_status status;

	out_sync[0] = '\0';
	if (wrong != NULL)
		return misused("apply", wrong, err);
	status = redb_ask(c, &q, err);
	if (status != SGATE_OK)
		out_sync[0] = '\0';
	return status;
}

/* ---- sessions that the durable store has not got ---- */

struct newcomer {
	const struct cache *c;
	const struct cache_item *item;
	uint64_t s0;
	const unsigned char *user;
	int64_t set_ttl_ms; /* 0: it has landed */
	struct wait wait;
	enum cache_put *out_put;
	struct cache_copy *out;
};

static void
compose_newcomer(struct buf *out, void *arg, bool is_whole)
{
	const struct newcomer *n = arg;
	bool is_landed = n->set_ttl_ms == 0, has_user = n->user != NULL;
	char ref[SGATE_REF_HEX + 1];

	is_whole = is_whole || n->wait.replicas > 0;
	if (is_landed)
		redb_add_script(out, redb_script_land(), has_user ? 2 : 1,
		    has_user ? 3 : 2, is_whole);
	else
		redb_add_script(out, redb_script_create(), has_user ? 3 : 2,
		    has_user ? 5 : 3, is_whole);
	redb_add_record_key(out, n->c, &n->item->ref);
	if (!is_landed)
		add_sync_key(out, n->c, token_ref_group(&n->item->ref));
	if (has_user)
		redb_add_set_key(
		    out, n->c, token_ref_group(&n->item->ref), n->user);
	redb_add_word(out, n->item->record);
	redb_add_number(out, n->item->ttl_ms);
	if (!is_landed)
		redb_add_number(out, (int64_t)n->s0);
	sgate_ref_text(&n->item->ref, ref);
	if (has_user)
		redb_add_word(out, bytes_of(ref));
	if (has_user && !is_landed)
		redb_add_number(out, n->set_ttl_ms);
	add_wait(out, n->c, &n->wait);
}

static bool
take_newcomer(void *arg, size_t index, const struct redb_reply *reply)
{
	struct newcomer *n = arg;

	if (index > 0)
		return take_wait(reply, &n->wait);
	n->wait.is_written = true;
	return take_word(reply, n->out_put, n->out);
}

static enum sgate_status
ask_newcomer(struct cache *c, const char *operation,
    const struct newcomer *newcomer, const char *wrong, struct sgate_error *err)
{
	struct newcomer n = *newcomer;
	const struct redb_question q = {operation, n.wait.replicas > 0 ? 2 : 1,
	    compose_newcomer, take_newcomer, &n};
	enum sgate_status status;
	struct sgate_error why;

	*n.out_put = CACHE_PUT_RETRY;
	memset(n.out, 0, sizeof(*n.out));
	if (wrong != NULL)
		return misused(operation, wrong, err);
	status = judge_wait(redb_ask(c, &q, &why), &n.wait, &why);
	if (err != NULL)
		*err = why;
	if (status != SGATE_OK)
		*n.out_put = CACHE_PUT_RETRY;
	/* Its text was the first reply's, which the second one has replaced. */
	if (status != SGATE_OK || n.wait.replicas > 0)
		memset(n.out, 0, sizeof(*n.out));
	return status;
}

static enum sgate_status
redb_create(struct cache *c, const struct cache_item *item, uint64_t s0,
    const unsigned char *user, int64_t set_ttl_ms, unsigned replicas,
    enum cache_put *out_put, struct cache_copy *out, struct sgate_error *err)
{
	const struct newcomer n = {.c = c,
	    .item = item,
	    .s0 = s0,
	    .user = user,
	    .set_ttl_ms = set_ttl_ms,
	    .wait = {.replicas = replicas},
	    .out_put = out_put,
	    .out = out};

	return ask_newcomer(
	    c, "create", &n, cache_wrong_create(item, s0, set_ttl_ms), err);
}

static enum sgate_status
redb_land(struct cache *c, const struct cache_item *item,
    const unsigned char *user, enum cache_put *out_put, struct cache_copy *out,
    struct sgate_error *err)
{
	const struct newcomer n = {
	    .c = c, .item = item, .user = user, .out_put = out_put, .out = out};

	return ask_newcomer(c, "land", &n, cache_wrong_item(item, "L"), err);
}

const struct cache_ops cache_redis = {
    .name = "redis",
    .open = redb_open,
    .close = redb_close,
    .ping = redb_ping,
    .locate = redb_locate,
    .examine = redb_examine,
    .get = redb_get,
    .peek = redb_peek,
    .put = redb_put,
    .put_many = redb_put_many,
    .end = redb_end,
    .touch = redb_touch,
    .sync_get = redb_sync_get,
    .apply = redb_apply,
    .sync_set = redb_sync_set,
    .create = redb_create,
    .land = redb_land,
    .unlanded = redb_unlanded,
    .landed = redb_landed,
};
