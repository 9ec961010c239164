/*
 * A user's set: the refs of what has been created while the durable store was
 * away. PREFIX:{GROUP}:u:USER; the scripts CREATE and LAND put single refs in
 * and take them out.
 */
#include "config.h"

#include "cache_redis.h"

#include "status.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

void
redb_add_set_key(struct buf *out, const struct cache *c, unsigned group,
    const unsigned char *user)
{
	char hex[2 * TOKEN_USER_BYTES + 1];

	sodium_bin2hex(hex, sizeof(hex), user, TOKEN_USER_BYTES);
	redb_add_key(out, c, group, "u:", bytes_of(hex));
}

static enum sgate_status
misused(const char *operation, struct sgate_error *err)
{
	return error_set(err, SGATE_INTERNAL, REDB_SOURCE, operation, 0,
	    "a group that is none, or a wrong number of refs");
}

struct unlanded {
	const struct cache *c;
	unsigned group;
	const unsigned char *user;
	uint64_t *cursor; /* as is asked */
	uint64_t next;
	struct sgate_ref *out_refs;
	size_t *out_count;
};

static void
compose_unlanded(struct buf *out, void *arg, bool is_whole)
{
	const struct unlanded *u = arg;

	char cursor[24];

	snprintf(
	    cursor, sizeof(cursor), "%llu", (unsigned long long)*u->cursor);
	redb_add_script(out, redb_script_unlanded(), 1, 2, is_whole);
	redb_add_set_key(out, u->c, u->group, u->user);
	redb_add_word(out, bytes_of(cursor));
	redb_add_number(out, CACHE_UNLANDED_PAGE);
}

/* "CURSOR REFS": the place of the refs; 0: it is none. */
static size_t
read_cursor(struct sgate_bytes text, uint64_t *out)
{
	size_t i;

	*out = 0;
	for (i = 0; i < text.len && text.data[i] >= '0' && text.data[i] <= '9';
	     i++)
		if (__builtin_mul_overflow(*out, 10, out) ||
		    __builtin_add_overflow(
			*out, (uint64_t)(text.data[i] - '0'), out))
			return 0;
	return i > 0 && i < text.len && text.data[i] == ' ' ? i + 1 : 0;
}

static bool
take_unlanded(void *arg, size_t index, const struct redb_reply *reply)
{
	struct unlanded *u = arg;
	struct sgate_bytes text = reply->values[0].text;
	char hex[SGATE_REF_HEX + 1];
	size_t i, at;

	(void)index;
	*u->out_count = 0;
	if (reply->is_list || reply->values[0].type != REDB_TEXT)
		return false;
	at = read_cursor(text, &u->next);
	if (at == 0)
		return false;
	text.data += at;
	text.len -= at;
	if (text.len % SGATE_REF_HEX != 0 ||
	    text.len / SGATE_REF_HEX > CACHE_UNLANDED_MAX)
		return false;
	for (i = 0; i < text.len / SGATE_REF_HEX; i++) {
		memcpy(hex, text.data + i * SGATE_REF_HEX, SGATE_REF_HEX);
		hex[SGATE_REF_HEX] = '\0';
		if (sgate_ref_parse(bytes_of(hex), &u->out_refs[i]) != SGATE_OK)
			return false;
	}
	*u->out_count = i;
	return true;
}

enum sgate_status
redb_unlanded(struct cache *c, unsigned group, const unsigned char *user,
    uint64_t *cursor, struct sgate_ref out_refs[CACHE_UNLANDED_MAX],
    size_t *out_count, struct sgate_error *err)
{
	struct unlanded u = {c, group, user, cursor, 0, out_refs, out_count};
	const struct redb_question q = {
	    "unlanded", 1, compose_unlanded, take_unlanded, &u};
	enum sgate_status status;

	*out_count = 0;
	if (group >= TOKEN_GROUPS)
		return misused("unlanded", err);
	status = redb_ask(c, &q, err);
	if (status == SGATE_OK)
		*cursor = u.next;
	else
		*out_count = 0;
	return status;
}

struct landed {
	const struct cache *c;
	unsigned group;
	const unsigned char *user;
	const struct sgate_ref *refs;
	size_t count;
};

static void
compose_landed(struct buf *out, void *arg, bool is_whole)
{
	const struct landed *l = arg;
	char hex[SGATE_REF_HEX + 1];
	size_t i;

	(void)is_whole;
	redb_add_command(out, 2 + l->count);
	redb_add_word(out, bytes_of("SREM"));
	redb_add_set_key(out, l->c, l->group, l->user);
	for (i = 0; i < l->count; i++) {
		sgate_ref_text(&l->refs[i], hex);
		redb_add_word(out, bytes_of(hex));
	}
}

static bool
take_landed(void *arg, size_t index, const struct redb_reply *reply)
{
	(void)arg;
	(void)index;
	return !reply->is_list && reply->values[0].type == REDB_INTEGER;
}

enum sgate_status
redb_landed(struct cache *c, unsigned group, const unsigned char *user,
    const struct sgate_ref *refs, size_t count, struct sgate_error *err)
{
	struct landed l = {c, group, user, refs, count};
	const struct redb_question q = {
	    "landed", 1, compose_landed, take_landed, &l};

	if (group >= TOKEN_GROUPS || count == 0 || count > CACHE_UNLANDED_MAX)
		return misused("landed", err);
	return redb_ask(c, &q, err);
}
