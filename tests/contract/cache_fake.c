/*
 * The fake cache. What an operation does to the data set is a struct effect,
 * so that it can be done now or, copied, later. The scripts' rules are those
 * of lib/cache_redis_scripts.c, said once more in C: the contract test holds
 * the two together.
 *
 * Every operation starts with enter(), which counts it, calls the hook and
 * looks into the script, and ends with leave().
 */
#include "config.h"

#include "cache_fake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "record.h"
#include "status.h"
#include "token.h"

#define SOURCE "fake cache"
#define RULES_MAX 32
#define OPERATIONS_MAX 24
#define LATE_MAX 64

/* ---- the data set ---- */

struct entry {
	struct sgate_ref ref;
	char *data;
	size_t len;
	int64_t expires_ms;
};

/* A ref in a user's set. */
struct member {
	struct sgate_ref ref;
	unsigned char user[TOKEN_USER_BYTES];
};

struct data_set {
	struct entry *entries;
	size_t count;
	struct member *members;
	size_t members_count;
	char sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];
};

struct rule {
	const char *operation;
	unsigned call; /* the absolute number; 0: used up */
	enum cache_fake_answer answer;
};

enum effect_kind {
	EFFECT_PUT,
	EFFECT_END,
	EFFECT_TOUCH,
	EFFECT_APPLY,
	EFFECT_SYNC,
	EFFECT_CREATE,
	EFFECT_LAND
};

struct effect {
	enum effect_kind kind;
	const struct cache_item *items;
	const struct cache_touch *touches;
	size_t count;
	uint64_t s0;
	struct sgate_bytes only_over;
	unsigned group;
	char from[CACHE_SYNC_MAX + 1];
	char to[CACHE_SYNC_MAX + 1];
	bool has_user;
	unsigned char user[TOKEN_USER_BYTES];
};

struct fake {
	struct cache cache; /* first */
	pid_t pid;
	struct buf record; /* what was lent last */
};

static struct data_set now, dump;
static int64_t clock_ms;
static struct rule rules[RULES_MAX];
static struct {
	const char *operation;
	unsigned calls;
} counts[OPERATIONS_MAX];
static bool is_down, is_read_only, is_full, refuses_peeks;
static enum cache_fake_answer down_answer;
static struct effect late[LATE_MAX];
static size_t late_count;
static cache_fake_hook *hook;
static void *hook_arg;
static bool in_hook;

/* Running out of memory in earnest ends the test. */
static void *
must_alloc(void *memory)
{
	if (memory == NULL) {
		fprintf(stderr, "fake cache: out of memory\n");
		abort();
	}
	return memory;
}

static void *
copy_of(const void *data, size_t len)
{
	return memcpy(must_alloc(malloc(len + 1)), data, len);
}

static void
remove_at(struct data_set *set, size_t index)
{
	free(set->entries[index].data);
	set->entries[index] = set->entries[--set->count];
}

/* NULL: none, or its time is over. */
static struct entry *
find(const struct sgate_ref *ref)
{
	size_t i;

	for (i = 0; i < now.count; i++) {
		if (memcmp(&now.entries[i].ref, ref, sizeof(*ref)) != 0)
			continue;
		if (now.entries[i].expires_ms > clock_ms)
			return &now.entries[i];
		remove_at(&now, i);
		return NULL;
	}
	return NULL;
}

static void
set_record(
    const struct sgate_ref *ref, const void *data, size_t len, int64_t ttl_ms)
{
	struct entry *entry = find(ref);
	char *copy = copy_of(data, len);

	if (entry == NULL) {
		now.entries = must_alloc(reallocarray(
		    now.entries, now.count + 1, sizeof(*now.entries)));
		entry = &now.entries[now.count++];
		*entry = (struct entry){.ref = *ref};
	}
	free(entry->data);
	entry->data = copy;
	entry->len = len;
	entry->expires_ms = clock_ms + ttl_ms;
}

static void
clear(struct data_set *set)
{
	while (set->count > 0)
		remove_at(set, set->count - 1);
	free(set->entries);
	free(set->members);
	memset(set, 0, sizeof(*set));
}

static void
copy_set(struct data_set *to, const struct data_set *from)
{
	size_t i;

	clear(to);
	*to = *from;
	to->entries = must_alloc(calloc(from->count + 1, sizeof(*to->entries)));
	for (i = 0; i < from->count; i++) {
		to->entries[i] = from->entries[i];
		to->entries[i].data =
		    copy_of(from->entries[i].data, from->entries[i].len);
	}
	to->members =
	    copy_of(from->members == NULL ? "" : (void *)from->members,
		from->members_count * sizeof(*to->members));
}

/* ---- what the scripts do ---- */

static bool
is_tombstone(const struct entry *entry)
{
	return entry->len > 0 && entry->data[0] == 'T';
}

/* c:sub(first, last) of Lua, for comparing. */
static struct sgate_bytes
part(const char *data, size_t len, size_t first, size_t last)
{
	if (last > len)
		last = len;
	if (first > last)
		return (struct sgate_bytes){"", 0};
	return (struct sgate_bytes){data + first - 1, last - first + 1};
}

static int
compare(struct sgate_bytes a, struct sgate_bytes b)
{
	int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static struct sgate_bytes
version_of(const char *data, size_t len)
{
	return part(
	    data, len, RECORD_VERSION_OFFSET + 1, RECORD_LAST_SEEN_OFFSET);
}

static struct sgate_bytes
last_seen_of(const char *data, size_t len)
{
	return part(data, len, RECORD_LAST_SEEN_OFFSET + 1, RECORD_BODY_OFFSET);
}

static bool
is_last_seen(struct sgate_bytes text)
{
	uint64_t value;

	return text.len == RECORD_BODY_OFFSET - RECORD_LAST_SEEN_OFFSET &&
	       bytes_to_uint(text, UINT64_MAX, &value);
}

/* The item, with the later last_seen of the two. */
static void
write_item(const struct cache_item *item, const struct entry *over)
{
	char *data = copy_of(item->record.data, item->record.len);

	if (over != NULL) {
		struct sgate_bytes seen = last_seen_of(over->data, over->len);

		if (is_last_seen(seen) &&
		    compare(seen, last_seen_of(data, item->record.len)) > 0)
			memcpy(data + RECORD_LAST_SEEN_OFFSET, seen.data,
			    seen.len);
	}
	set_record(&item->ref, data, item->record.len, item->ttl_ms);
	free(data);
}

static bool
sync_number(unsigned group, uint64_t *out)
{
	const char *text = now.sync[group];

	return bytes_to_uint(
	    (struct sgate_bytes){text, strspn(text, "0123456789")}, UINT64_MAX,
	    out);
}

static bool
is_the_same(const struct entry *entry, struct sgate_bytes bytes)
{
	return compare(
		   part(entry->data, entry->len, 1, RECORD_LAST_SEEN_OFFSET),
		   part(bytes.data, bytes.len, 1, RECORD_LAST_SEEN_OFFSET)) ==
		   0 &&
	       compare(part(entry->data, entry->len, RECORD_BODY_OFFSET + 1,
			   SIZE_MAX),
		   part(bytes.data, bytes.len, RECORD_BODY_OFFSET + 1,
		       SIZE_MAX)) == 0;
}

/* An older version, or what the database has not got and now has. */
static bool
gives_way(const struct entry *found, const struct cache_item *item)
{
	int order = compare(version_of(found->data, found->len),
	    version_of(item->record.data, item->record.len));

	return order < 0 || (order == 0 && found->data[0] == 'U');
}

static void
set_member(const struct effect *effect, bool is_in)
{
	const struct sgate_ref *ref = &effect->items[0].ref;
	struct member *member;
	size_t i;

	if (!effect->has_user)
		return;
	for (i = 0; i < now.members_count; i++) {
		member = &now.members[i];
		if (memcmp(&member->ref, ref, sizeof(*ref)) != 0 ||
		    memcmp(member->user, effect->user, TOKEN_USER_BYTES) != 0)
			continue;
		if (!is_in)
			*member = now.members[--now.members_count];
		return;
	}
	if (!is_in)
		return;
	now.members = must_alloc(reallocarray(
	    now.members, now.members_count + 1, sizeof(*now.members)));
	member = &now.members[now.members_count++];
	member->ref = *ref;
	memcpy(member->user, effect->user, TOKEN_USER_BYTES);
}

static enum cache_put
run_create(const struct effect *effect)
{
	const struct cache_item *item = &effect->items[0];
	const struct entry *found = find(&item->ref);
	uint64_t sync;

	if (found != NULL && is_tombstone(found))
		return CACHE_PUT_ENDED;
	if (found != NULL && !gives_way(found, item))
		return CACHE_PUT_HAVE;
	if (sync_number(token_ref_group(&item->ref), &sync) &&
	    sync > effect->s0)
		return CACHE_PUT_RETRY;
	write_item(item, found);
	set_member(effect, true);
	return CACHE_PUT_OK;
}

static enum cache_put
run_land(const struct effect *effect)
{
	const struct cache_item *item = &effect->items[0];
	const struct entry *found = find(&item->ref);
	bool is_ended = found != NULL && is_tombstone(found);

	if (found != NULL && found->data[0] == 'U' && gives_way(found, item))
		write_item(item, found);
	set_member(effect, false);
	return is_ended ? CACHE_PUT_ENDED : CACHE_PUT_OK;
}

static enum cache_put
run_put(const struct effect *effect)
{
	const struct cache_item *item = &effect->items[0];
	const struct entry *found = find(&item->ref);
	bool is_forced = false;
	uint64_t sync;

	if (found != NULL) {
		if (is_tombstone(found))
			return CACHE_PUT_ENDED;
		is_forced = effect->only_over.data != NULL &&
			    is_the_same(found, effect->only_over);
		if (!is_forced && !gives_way(found, item))
			return CACHE_PUT_HAVE;
	}
	if (!sync_number(token_ref_group(&item->ref), &sync))
		return CACHE_PUT_NOSYNC;
	if (sync > effect->s0)
		return CACHE_PUT_RETRY;
	write_item(item, is_forced ? NULL : found);
	return CACHE_PUT_OK;
}

static void
run_touch(const struct cache_touch *touch)
{
	struct entry *found = find(&touch->ref);
	char seen[32];

	if (found == NULL || is_tombstone(found) ||
	    found->len < RECORD_BODY_OFFSET)
		return;
	snprintf(seen, sizeof(seen), "%013lld", (long long)touch->last_seen_ms);
	if (compare(last_seen_of(found->data, found->len), bytes_of(seen)) >= 0)
		return;
	memcpy(found->data + RECORD_LAST_SEEN_OFFSET, seen,
	    RECORD_BODY_OFFSET - RECORD_LAST_SEEN_OFFSET);
	if (found->expires_ms < clock_ms + touch->ttl_ms)
		found->expires_ms = clock_ms + touch->ttl_ms;
}

static void
run_apply(const struct effect *effect)
{
	size_t i;

	if (strcmp(now.sync[effect->group], effect->from) != 0)
		return;
	for (i = 0; i < effect->count; i++) {
		const struct cache_item *item = &effect->items[i];
		const struct entry *found = find(&item->ref);

		if (item->record.data[0] == 'T')
			write_item(item, NULL);
		else if (found == NULL ||
			 (!is_tombstone(found) &&
			     compare(version_of(found->data, found->len),
				 version_of(
				     item->record.data, item->record.len)) < 0))
			write_item(item, found);
	}
	cache_fake_set_sync(effect->group, effect->to);
}

static enum cache_put
run(const struct effect *effect)
{
	size_t i;

	switch (effect->kind) {
	case EFFECT_PUT:
		return run_put(effect);
	case EFFECT_END:
		for (i = 0; i < effect->count; i++)
			write_item(&effect->items[i], NULL);
		break;
	case EFFECT_TOUCH:
		for (i = 0; i < effect->count; i++)
			run_touch(&effect->touches[i]);
		break;
	case EFFECT_APPLY:
		run_apply(effect);
		break;
	case EFFECT_SYNC:
		cache_fake_set_sync(effect->group, effect->to);
		break;
	case EFFECT_CREATE:
		return run_create(effect);
	case EFFECT_LAND:
		return run_land(effect);
	}
	return CACHE_PUT_OK;
}

/* ---- late ---- */

static void
keep(const struct effect *effect)
{
	struct effect *kept;
	struct cache_item *items;
	size_t i;

	if (late_count == LATE_MAX) {
		fprintf(stderr, "fake cache: too much is late\n");
		abort();
	}
	kept = &late[late_count++];
	*kept = *effect;
	if (effect->items != NULL) {
		items = copy_of(effect->items, effect->count * sizeof(*items));
		for (i = 0; i < effect->count; i++)
			items[i].record.data =
			    copy_of(items[i].record.data, items[i].record.len);
		kept->items = items;
	}
	if (effect->touches != NULL)
		kept->touches = copy_of(
		    effect->touches, effect->count * sizeof(*effect->touches));
	if (effect->only_over.data != NULL)
		kept->only_over.data =
		    copy_of(effect->only_over.data, effect->only_over.len);
}

/* free() of what is const. */
static void
drop(const void *memory)
{
	free((void *)(uintptr_t)memory);
}

static void
forget(struct effect *effect)
{
	size_t i;

	for (i = 0; effect->items != NULL && i < effect->count; i++)
		drop(effect->items[i].record.data);
	drop(effect->items);
	drop(effect->touches);
	drop(effect->only_over.data);
}

void
cache_fake_wake(void)
{
	size_t i;

	for (i = 0; i < late_count; i++) {
		run(&late[i]);
		forget(&late[i]);
	}
	late_count = 0;
}

/* ---- the script ---- */

static unsigned *
calls_of(const char *operation)
{
	size_t i;

	for (i = 0; i < OPERATIONS_MAX; i++) {
		if (counts[i].operation == NULL)
			counts[i].operation = operation;
		if (strcmp(counts[i].operation, operation) == 0)
			return &counts[i].calls;
	}
	fprintf(stderr, "fake cache: too many operations\n");
	abort();
}

unsigned
cache_fake_calls(const char *operation)
{
	unsigned sum = 0;
	size_t i;

	if (operation != NULL)
		return *calls_of(operation);
	for (i = 0; i < OPERATIONS_MAX; i++)
		sum += counts[i].calls;
	return sum;
}

void
cache_fake_script(
    const char *operation, unsigned nth, enum cache_fake_answer answer)
{
	size_t i;

	for (i = 0; i < RULES_MAX; i++) {
		if (rules[i].call != 0)
			continue;
		rules[i] = (struct rule){
		    operation, *calls_of(operation) + nth, answer};
		return;
	}
	fprintf(stderr, "fake cache: too many rules\n");
	abort();
}

void
cache_fake_set_down(bool down, enum cache_fake_answer answer)
{
	is_down = down;
	down_answer = answer;
}

void
cache_fake_set_read_only(bool read_only)
{
	is_read_only = read_only;
}

void
cache_fake_set_full(bool full)
{
	is_full = full;
}

void
cache_fake_refuse_peeks(void)
{
	refuses_peeks = true;
}

void
cache_fake_set_hook(cache_fake_hook *function, void *arg)
{
	hook = function;
	hook_arg = arg;
}

static void
call_hook(const char *operation, bool is_after)
{
	if (hook == NULL || in_hook)
		return;
	in_hook = true;
	hook(hook_arg, operation, is_after);
	in_hook = false;
}

static bool
has_answer(const char *operation, unsigned call, enum cache_fake_answer *out)
{
	size_t i;

	for (i = 0; i < RULES_MAX; i++) {
		if (rules[i].call != call ||
		    strcmp(rules[i].operation, operation) != 0)
			continue;
		rules[i].call = 0;
		*out = rules[i].answer;
		return true;
	}
	*out = down_answer;
	return is_down;
}

static enum sgate_status
refuse(
    const char *operation, int code, const char *why, struct sgate_error *err)
{
	return error_set(
	    err, SGATE_UNAVAILABLE, SOURCE, operation, code, "%s", why);
}

static enum sgate_status
misused(const char *operation, const char *what, struct sgate_error *err)
{
	return error_set(err, SGATE_INTERNAL, SOURCE, operation, 0, "%s", what);
}

/*
 * One call: counted, scripted, and what it does to the data set (effect NULL:
 * nothing). SGATE_OK: out_put is what became of it, and the hook is still to be
 * called.
 */
static enum sgate_status
enter(struct cache *c, const char *operation, const struct effect *effect,
    enum cache_put *out_put, struct sgate_error *err)
{
	struct fake *fake = (struct fake *)c;
	enum cache_fake_answer answer;
	unsigned call;

	error_clear(err);
	if (fake->pid != getpid())
		return misused(operation, "was opened by another process", err);
	call = ++*calls_of(operation);
	call_hook(operation, false);
	if (has_answer(operation, call, &answer)) {
		if (answer == CACHE_FAKE_NO_MEMORY)
			return error_memory(err, operation);
		if (answer == CACHE_FAKE_DONE && effect != NULL)
			run(effect);
		if (answer == CACHE_FAKE_LATE && effect != NULL)
			keep(effect);
		return refuse(operation,
		    answer == CACHE_FAKE_UNAVAILABLE ? ECONNREFUSED : ETIMEDOUT,
		    "told to fail", err);
	}
	if (effect == NULL)
		return SGATE_OK;
	if (is_read_only)
		return refuse(operation, 0, "READONLY", err);
	if (is_full &&
	    (effect->kind == EFFECT_PUT || effect->kind == EFFECT_TOUCH ||
		effect->kind == EFFECT_CREATE))
		return refuse(operation, 0, "OOM", err);
	*out_put = run(effect);
	return SGATE_OK;
}

/* ---- the operations ---- */

static enum sgate_status
fake_open(
    const struct sgate_conf *conf, struct cache **out, struct sgate_error *err)
{
	struct fake *fake = must_alloc(calloc(1, sizeof(*fake)));

	(void)conf;
	error_clear(err);
	fake->cache.ops = &cache_fake;
	fake->pid = getpid();
	*out = &fake->cache;
	return SGATE_OK;
}

static void
fake_close(struct cache *c)
{
	struct fake *fake = (struct fake *)c;

	if (fake == NULL)
		return;
	buf_clear(&fake->record);
	free(fake);
}

static enum sgate_status
fake_ping(struct cache *c, struct sgate_error *err)
{
	enum cache_put put;
	enum sgate_status status = enter(c, "ping", NULL, &put, err);

	if (status == SGATE_OK)
		call_hook("ping", true);
	return status;
}

static void
lend(struct cache *c, const struct sgate_ref *ref, struct cache_copy *out)
{
	struct fake *fake = (struct fake *)c;
	const struct entry *found = find(ref);

	buf_reset(&fake->record);
	if (found == NULL)
		return;
	buf_add(&fake->record, found->data, found->len);
	out->record = buf_bytes(&fake->record);
}

static enum sgate_status
look_at(struct cache *c, const char *operation, const struct sgate_ref *ref,
    struct cache_copy *out, struct sgate_error *err)
{
	enum cache_put put;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = enter(c, operation, NULL, &put, err);
	if (status != SGATE_OK)
		return status;
	lend(c, ref, out);
	memcpy(out->sync, now.sync[token_ref_group(ref)], sizeof(out->sync));
	call_hook(operation, true);
	return SGATE_OK;
}

static enum sgate_status
fake_get(struct cache *c, const struct sgate_ref *ref, struct cache_copy *out,
    struct sgate_error *err)
{
	return look_at(c, "get", ref, out, err);
}

static enum sgate_status
fake_peek(struct cache *c, const struct sgate_ref *ref, struct cache_copy *out,
    struct sgate_error *err)
{
	enum sgate_status status = look_at(c, "peek", ref, out, err);

	if (status == SGATE_OK && out->record.len > RECORD_PEEK_BYTES &&
	    !refuses_peeks)
		out->record.len = RECORD_PEEK_BYTES;
	return status;
}

static enum sgate_status
fake_put(struct cache *c, const struct cache_item *item, uint64_t s0,
    struct sgate_bytes only_over, enum cache_put *out_put,
    struct cache_copy *out, struct sgate_error *err)
{
	struct effect effect = {.kind = EFFECT_PUT,
	    .items = item,
	    .count = 1,
	    .s0 = s0,
	    .only_over = only_over};
	const char *wrong = cache_wrong_item(item, "LU");
	enum sgate_status status;

	*out_put = CACHE_PUT_RETRY;
	memset(out, 0, sizeof(*out));
	if (wrong == NULL && s0 > CACHE_NUMBER_MAX)
		wrong = "a number of the group that no counter has";
	if (wrong != NULL)
		return misused("put", wrong, err);
	status = enter(c, "put", &effect, out_put, err);
	if (status != SGATE_OK)
		return status;
	if (*out_put == CACHE_PUT_ENDED)
		lend(c, &item->ref, out);
	call_hook("put", true);
	return SGATE_OK;
}

static enum sgate_status
fake_put_many(struct cache *c, struct cache_putting *puts, size_t count,
    struct sgate_error *err)
{
	const struct sgate_bytes none = {NULL, 0};
	enum sgate_status status = SGATE_OK;
	struct cache_copy found;
	size_t i;

	if (count == 0 || count > CACHE_PUTS_MAX)
		return misused("put_many", "none, or too many", err);
	for (i = 0; i < count && status == SGATE_OK; i++) {
		status = fake_put(c, &puts[i].item, puts[i].s0, none,
		    &puts[i].put, &found, err);
		puts[i].tombstone_len =
		    found.record.len < sizeof(puts[i].tombstone)
			? found.record.len
			: sizeof(puts[i].tombstone);
		if (puts[i].tombstone_len > 0)
			memcpy(puts[i].tombstone, found.record.data,
			    puts[i].tombstone_len);
	}
	for (i = 0; i < count && status != SGATE_OK; i++)
		puts[i].put = CACHE_PUT_RETRY;
	return status;
}

/* It has no replicas. */
static enum sgate_status
fake_end(struct cache *c, const struct cache_item *tombstones, size_t count,
    unsigned replicas, struct sgate_error *err)
{
	struct effect effect = {
	    .kind = EFFECT_END, .items = tombstones, .count = count};
	enum sgate_status status;
	enum cache_put put;
	size_t i;

	for (i = 0; i < count; i++) {
		const char *wrong = cache_wrong_item(&tombstones[i], "T");

		if (wrong != NULL)
			return misused("end", wrong, err);
	}
	status = enter(c, "end", &effect, &put, err);
	if (status == SGATE_OK)
		call_hook("end", true);
	if (status == SGATE_OK && replicas > 0 && count > 0)
		return error_set(err, SGATE_UNAVAILABLE, "fake", "wait", 0,
		    "0 replicas have it in time, not %u", replicas);
	return status;
}

static enum sgate_status
fake_touch(struct cache *c, const struct cache_touch *touches, size_t count,
    struct sgate_error *err)
{
	struct effect effect = {
	    .kind = EFFECT_TOUCH, .touches = touches, .count = count};
	enum sgate_status status;
	enum cache_put put;
	size_t i;

	for (i = 0; i < count; i++) {
		const char *wrong = cache_wrong_touch(&touches[i]);

		if (wrong != NULL)
			return misused("touch", wrong, err);
	}
	status = enter(c, "touch", &effect, &put, err);
	if (status == SGATE_OK)
		call_hook("touch", true);
	return status;
}

static enum sgate_status
fake_sync_get(struct cache *c, char out_sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1],
    struct sgate_error *err)
{
	enum cache_put put;
	enum sgate_status status;

	memset(out_sync, 0, sizeof(now.sync));
	status = enter(c, "sync_get", NULL, &put, err);
	if (status != SGATE_OK)
		return status;
	memcpy(out_sync, now.sync, sizeof(now.sync));
	call_hook("sync_get", true);
	return SGATE_OK;
}

static enum sgate_status
fake_apply(struct cache *c, unsigned group, const char *from, const char *to,
    const struct cache_item *items, size_t count,
    char out_sync[CACHE_SYNC_MAX + 1], struct sgate_error *err)
{
	struct effect effect = {.kind = EFFECT_APPLY,
	    .items = items,
	    .count = count,
	    .group = group};
	const char *wrong = cache_wrong_apply(group, from, to, items, count);
	enum cache_put put;
	enum sgate_status status;

	out_sync[0] = '\0';
	if (wrong != NULL)
		return misused("apply", wrong, err);
	snprintf(effect.from, sizeof(effect.from), "%s", from);
	snprintf(effect.to, sizeof(effect.to), "%s", to);
	status = enter(c, "apply", &effect, &put, err);
	if (status != SGATE_OK)
		return status;
	memcpy(out_sync, now.sync[group], sizeof(now.sync[group]));
	call_hook("apply", true);
	return SGATE_OK;
}

static enum sgate_status
fake_sync_set(
    struct cache *c, unsigned group, const char *sync, struct sgate_error *err)
{
	struct effect effect = {.kind = EFFECT_SYNC, .group = group};
	const char *wrong = cache_wrong_sync(group, sync);
	enum cache_put put;
	enum sgate_status status;

	if (wrong != NULL)
		return misused("sync_set", wrong, err);
	snprintf(effect.to, sizeof(effect.to), "%s", sync);
	status = enter(c, "sync_set", &effect, &put, err);
	if (status == SGATE_OK)
		call_hook("sync_set", true);
	return status;
}

static enum sgate_status
newcomer(struct cache *c, const char *operation, struct effect *effect,
    const unsigned char *user, const char *wrong, enum cache_put *out_put,
    struct cache_copy *out, struct sgate_error *err)
{
	enum sgate_status status;

	*out_put = CACHE_PUT_RETRY;
	memset(out, 0, sizeof(*out));
	if (wrong != NULL)
		return misused(operation, wrong, err);
	effect->count = 1;
	effect->has_user = user != NULL;
	if (user != NULL)
		memcpy(effect->user, user, TOKEN_USER_BYTES);
	status = enter(c, operation, effect, out_put, err);
	if (status != SGATE_OK)
		return status;
	if (*out_put == CACHE_PUT_ENDED)
		lend(c, &effect->items[0].ref, out);
	call_hook(operation, true);
	return SGATE_OK;
}

static enum sgate_status
fake_create(struct cache *c, const struct cache_item *item, uint64_t s0,
    const unsigned char *user, int64_t set_ttl_ms, unsigned replicas,
    enum cache_put *out_put, struct cache_copy *out, struct sgate_error *err)
{
	struct effect effect = {.kind = EFFECT_CREATE, .items = item, .s0 = s0};
	enum sgate_status status;

	status = newcomer(c, "create", &effect, user,
	    cache_wrong_create(item, s0, set_ttl_ms), out_put, out, err);
	if (status == SGATE_OK && replicas > 0)
		return error_set(err, SGATE_UNAVAILABLE, "fake", "wait", 0,
		    "0 replicas have it in time, not %u", replicas);
	return status;
}

static enum sgate_status
fake_land(struct cache *c, const struct cache_item *item,
    const unsigned char *user, enum cache_put *out_put, struct cache_copy *out,
    struct sgate_error *err)
{
	struct effect effect = {.kind = EFFECT_LAND, .items = item};

	return newcomer(c, "land", &effect, user, cache_wrong_item(item, "L"),
	    out_put, out, err);
}

/* In the order of their first bytes, so that a page is not shifted by what goes
 * while it is read. */
static uint64_t
place_of(const struct sgate_ref *ref)
{
	uint64_t place = 0;
	size_t i;

	for (i = 0; i < 8; i++)
		place = place << 8 | ref->bytes[i];
	return place;
}

static int
compare_places(const void *a, const void *b)
{
	uint64_t one = place_of(a), other = place_of(b);

	return one < other ? -1 : one > other;
}

static enum sgate_status
fake_unlanded(struct cache *c, unsigned group, const unsigned char *user,
    uint64_t *cursor, struct sgate_ref out_refs[CACHE_UNLANDED_MAX],
    size_t *out_count, struct sgate_error *err)
{
	struct sgate_ref *refs;
	enum sgate_status status;
	enum cache_put put;
	size_t i, count = 0;

	*out_count = 0;
	if (group >= TOKEN_GROUPS)
		return misused("unlanded", "a group that is none", err);
	status = enter(c, "unlanded", NULL, &put, err);
	if (status != SGATE_OK)
		return status;
	refs = must_alloc(calloc(now.members_count + 1, sizeof(*refs)));
	for (i = 0; i < now.members_count; i++) {
		const struct member *member = &now.members[i];

		if (token_ref_group(&member->ref) == group &&
		    memcmp(member->user, user, TOKEN_USER_BYTES) == 0 &&
		    place_of(&member->ref) >= *cursor)
			refs[count++] = member->ref;
	}
	qsort(refs, count, sizeof(*refs), compare_places);
	*cursor = count > CACHE_UNLANDED_PAGE
		      ? place_of(&refs[CACHE_UNLANDED_PAGE])
		      : 0;
	if (count > CACHE_UNLANDED_PAGE)
		count = CACHE_UNLANDED_PAGE;
	memcpy(out_refs, refs, count * sizeof(*refs));
	free(refs);
	*out_count = count;
	call_hook("unlanded", true);
	return SGATE_OK;
}

static enum sgate_status
fake_landed(struct cache *c, unsigned group, const unsigned char *user,
    const struct sgate_ref *refs, size_t count, struct sgate_error *err)
{
	struct effect effect = {.count = 1, .has_user = true};
	struct cache_item item = {.ttl_ms = 1};
	enum sgate_status status;
	enum cache_put put;
	size_t i;

	if (group >= TOKEN_GROUPS || count == 0 || count > CACHE_UNLANDED_MAX)
		return misused("landed", "a wrong group or number", err);
	status = enter(c, "landed", NULL, &put, err);
	if (status != SGATE_OK)
		return status;
	effect.items = &item;
	memcpy(effect.user, user, TOKEN_USER_BYTES);
	for (i = 0; i < count; i++) {
		item.ref = refs[i];
		set_member(&effect, false);
	}
	call_hook("landed", true);
	return SGATE_OK;
}

const struct cache_ops cache_fake = {
    .name = "fake cache",
    .open = fake_open,
    .close = fake_close,
    .ping = fake_ping,
    .get = fake_get,
    .peek = fake_peek,
    .put = fake_put,
    .put_many = fake_put_many,
    .end = fake_end,
    .touch = fake_touch,
    .sync_get = fake_sync_get,
    .apply = fake_apply,
    .sync_set = fake_sync_set,
    .create = fake_create,
    .land = fake_land,
    .unlanded = fake_unlanded,
    .landed = fake_landed,
};

/* ---- the data set, as somebody else sees it ---- */

void
cache_fake_reset(void)
{
	size_t i;

	clear(&now);
	clear(&dump);
	for (i = 0; i < late_count; i++)
		forget(&late[i]);
	late_count = 0;
	clock_ms = 0;
	memset(rules, 0, sizeof(rules));
	memset(counts, 0, sizeof(counts));
	cache_fake_set_down(false, CACHE_FAKE_UNAVAILABLE);
	is_read_only = false;
	is_full = false;
	refuses_peeks = false;
	cache_fake_set_hook(NULL, NULL);
}

void
cache_fake_flush(void)
{
	clear(&now);
}

void
cache_fake_save(void)
{
	copy_set(&dump, &now);
}

void
cache_fake_restore(void)
{
	copy_set(&now, &dump);
}

void
cache_fake_pass(int64_t ms)
{
	clock_ms += ms;
}

struct sgate_bytes
cache_fake_record(const struct sgate_ref *ref)
{
	const struct entry *found = find(ref);

	return found == NULL ? (struct sgate_bytes){NULL, 0}
			     : (struct sgate_bytes){found->data, found->len};
}

int64_t
cache_fake_ttl(const struct sgate_ref *ref)
{
	const struct entry *found = find(ref);

	return found == NULL ? -1 : found->expires_ms - clock_ms;
}

void
cache_fake_set_record(
    const struct sgate_ref *ref, struct sgate_bytes record, int64_t ttl_ms)
{
	/* Of a time that is over it is gone. */
	set_record(
	    ref, record.data == NULL ? "" : record.data, record.len, ttl_ms);
	find(ref);
}

size_t
cache_fake_count(void)
{
	size_t count = 0;
	size_t i;

	for (i = 0; i < now.count; i++)
		if (now.entries[i].expires_ms > clock_ms)
			count++;
	return count;
}

const char *
cache_fake_sync(unsigned group)
{
	return now.sync[group];
}

void
cache_fake_set_sync(unsigned group, const char *sync)
{
	cache_sync_copy(bytes_of(sync), now.sync[group]);
}
