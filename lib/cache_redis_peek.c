/*
 * The cache in Redis: the beginning of a record, and its group's sync, of one
 * moment as with MGET: a transaction of GETRANGE and GET, sent at once. In
 * Redis that is a microsecond more than MGET, however long the record is, where
 * a script that does the same is three to six.
 *
 * Its account may not be allowed to do that; then the record is read whole.
 */
#include "config.h"

#include "cache_redis.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define OPERATION "peek"
#define REPLIES 4 /* OK, QUEUED, QUEUED, and both answers */

struct peek {
	const struct cache *c;
	const struct sgate_ref *ref;
	struct cache_copy *out;
};

static void
add_alone(struct buf *out, const char *word)
{
	redb_add_command(out, 1);
	redb_add_word(out, bytes_of(word));
}

static void
compose_peek(struct buf *out, void *arg, bool is_whole)
{
	const struct peek *peek = arg;

	(void)is_whole;
	add_alone(out, "MULTI");
	redb_add_command(out, 4);
	redb_add_word(out, bytes_of("GETRANGE"));
	redb_add_record_key(out, peek->c, peek->ref);
	redb_add_number(out, 0);
	redb_add_number(out, RECORD_PEEK_BYTES - 1);
	redb_add_command(out, 2);
	redb_add_word(out, bytes_of("GET"));
	redb_add_key(out, peek->c, token_ref_group(peek->ref), "sync",
	    (struct sgate_bytes){"", 0});
	add_alone(out, "EXEC");
}

static bool
take_peek(void *arg, size_t index, const struct redb_reply *reply)
{
	const struct peek *peek = arg;
	const struct redb_value *record = &reply->values[0];
	const struct redb_value *sync = &reply->values[1];

	if (index + 1 < REPLIES)
		return !reply->is_list && reply->values[0].type == REDB_STATUS;
	if (!reply->is_list || reply->count != 2 || record->type != REDB_TEXT ||
	    record->text.len > RECORD_PEEK_BYTES ||
	    (sync->type != REDB_TEXT && sync->type != REDB_NOTHING))
		return false;
	if (record->text.len > 0)
		peek->out->record = record->text;
	cache_sync_copy(sync->text, peek->out->sync);
	return true;
}

/* A transaction that was begun and not executed would take what is asked next:
 * so not on this connection. */
static void
leave_connection(struct cache *c)
{
	int fd = redb_take_socket(c);

	if (fd >= 0)
		close(fd);
}

enum sgate_status
redb_try_peeking(struct cache *c, const struct sgate_ref *ref,
    struct cache_copy *out, struct sgate_error *err)
{
	struct peek peek = {c, ref, out};
	const struct redb_question q = {
	    OPERATION, REPLIES, compose_peek, take_peek, &peek};
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = redb_ask(c, &q, err);
	if (status != SGATE_OK) {
		memset(out, 0, sizeof(*out));
		leave_connection(c);
	}
	return status;
}

enum sgate_status
redb_peek(struct cache *c, const struct sgate_ref *ref, struct cache_copy *out,
    struct sgate_error *err)
{
	struct sgate_error own;
	enum sgate_status status = redb_try_peeking(c, ref, out, &own);

	/* The server is there and has said something else. */
	if (status == SGATE_UNAVAILABLE &&
	    (own.native_code == 0 || own.native_code == EPROTO))
		return c->ops->get(c, ref, out, err);
	if (err != NULL)
		*err = own;
	return status;
}
