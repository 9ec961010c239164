/* Which cache stands before the durable store, and what all caches check. */
#include "config.h"

#include "cache.h"

#include "failpoint_stores.h"
#include "record.h"
#include "status.h"

#include <string.h>

const struct cache_ops *
cache_choose(const struct sgate_conf *conf)
{
	return failpoint_cache(conf_has_redis(conf) ? &cache_redis : NULL);
}

void
cache_sync_copy(struct sgate_bytes text, char out[CACHE_SYNC_MAX + 1])
{
	if (text.len > CACHE_SYNC_MAX ||
	    (text.len > 0 && memchr(text.data, '\0', text.len) != NULL))
		text = bytes_of(CACHE_SYNC_FOREIGN);
	if (text.len > 0)
		memcpy(out, text.data, text.len);
	out[text.len] = '\0';
}

static const char *
wrong_ttl(int64_t ttl_ms)
{
	return ttl_ms > 0 && ttl_ms <= CACHE_TTL_MAX_MS
		   ? NULL
		   : "a time to live that is none";
}

const char *
cache_wrong_item(const struct cache_item *item, const char *states)
{
	const struct sgate_bytes record = item->record;
	size_t shortest;

	if (record.len == 0 || record.data[0] == '\0' ||
	    strchr(states, record.data[0]) == NULL)
		return "a record of another state";
	shortest = record.data[0] == 'T' ? RECORD_LAST_SEEN_OFFSET
					 : RECORD_BODY_OFFSET;
	if (record.len < shortest || record.len > RECORD_MAX_BYTES)
		return "a record that is too short or too long";
	return wrong_ttl(item->ttl_ms);
}

const char *
cache_wrong_create(
    const struct cache_item *item, uint64_t s0, int64_t set_ttl_ms)
{
	const char *wrong = cache_wrong_item(item, "U");

	if (wrong == NULL && s0 > CACHE_NUMBER_MAX)
		wrong = "a number of the group that no counter has";
	return wrong != NULL ? wrong : wrong_ttl(set_ttl_ms);
}

const char *
cache_wrong_touch(const struct cache_touch *touch)
{
	const int64_t thirteen_digits = INT64_C(9999999999999);

	if (touch->last_seen_ms < 0 || touch->last_seen_ms > thirteen_digits)
		return "a time that has not 13 digits";
	return wrong_ttl(touch->ttl_ms);
}

const char *
cache_wrong_sync(unsigned group, const char *sync)
{
	if (group >= TOKEN_GROUPS)
		return "a group that is none";
	return *sync == '\0' || strlen(sync) > CACHE_SYNC_MAX
		   ? "a sync that is empty or too long"
		   : NULL;
}

const char *
cache_wrong_apply(unsigned group, const char *from, const char *to,
    const struct cache_item *items, size_t count)
{
	const char *wrong = cache_wrong_sync(group, to);
	size_t i;

	if (wrong == NULL && *from != '\0')
		wrong = cache_wrong_sync(group, from);
	for (i = 0; wrong == NULL && i < count; i++) {
		wrong = cache_wrong_item(&items[i], "LUT");
		if (token_ref_group(&items[i].ref) != group)
			wrong = "a record of another group";
	}
	return wrong;
}
