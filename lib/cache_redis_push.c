/*
 * Parsing what the tracker hears, with hiredis' parser: each value goes where
 * it belongs the moment it is whole. Keys are told one by one, so a message of
 * any number of them needs no memory; a key of another form than ours is
 * nobody's here, whoever wrote it.
 *
 * RESP2, so everything is a list:
 *     subscribe  __redis__:invalidate  1
 *     message    __redis__:invalidate  (key...)  or nil: FLUSHALL
 *     pong       number
 * Anything else, and a value that is longer than a key has reason to be, is
 * wrong: who cannot understand one message may have missed others.
 */
#include "config.h"

#include "cache_redis_push.h"

#include "buf.h"
#include "cache_redis_reader.h"
#include "record.h"
#include "token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that wait for the rest of one value. */
#define PENDING_MAX (64 * 1024)
#define HEAD_BYTES RECORD_BODY_OFFSET
#define VERSION_DIGITS 16
#define EPOCH_DIGITS 4

static const char is_foreign[] = "it answers as no Redis does";
static const char is_memory[] = "out of memory";

/* ---- messages ---- */

enum push_kind { PUSH_NONE, PUSH_SUBSCRIBE, PUSH_MESSAGE, PUSH_PONG };

struct push {
	const char *prefix;
	const struct tracking_hooks *hooks;
	redisReader *reader;
	/* Of the list that is being read. */
	enum push_kind kind;
	long long length;
	unsigned values; /* how many have been taken */
	bool is_subscribed;
	uint64_t pong;
	char wrong[128]; /* "" */
};

static void *
find_wrong(struct push *p)
{
	if (p->wrong[0] == '\0')
		snprintf(p->wrong, sizeof(p->wrong), "%s", is_foreign);
	return NULL;
}

/* "PREFIX:{GROUP}:s:REF", as cache_redis_ops.c writes it. */
static bool
read_key(const struct push *p, struct sgate_bytes key, struct sgate_ref *out)
{
	char begin[80];
	size_t len;

	if (key.len <= SGATE_REF_HEX ||
	    sgate_ref_parse(
		(struct sgate_bytes){
		    key.data + key.len - SGATE_REF_HEX, SGATE_REF_HEX},
		out) != SGATE_OK)
		return false;
	len = (size_t)snprintf(begin, sizeof(begin), "%s:{%u}:s:", p->prefix,
	    token_ref_group(out));
	return len < sizeof(begin) && key.len == len + SGATE_REF_HEX &&
	       memcmp(key.data, begin, len) == 0;
}

static void *
take_key(struct push *p, struct sgate_bytes key)
{
	struct sgate_ref ref;

	if (read_key(p, key, &ref))
		p->hooks->changed(p->hooks->arg, &ref);
	return p;
}

static void *
take_kind(struct push *p, struct sgate_bytes word)
{
	static const struct {
		const char *word;
		enum push_kind kind;
		long long length;
	} kinds[] = {{"message", PUSH_MESSAGE, 3}, {"pong", PUSH_PONG, 2},
	    {"subscribe", PUSH_SUBSCRIBE, 3}};
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (bytes_equal_text(word, kinds[i].word) &&
		    p->length == kinds[i].length) {
			p->kind = kinds[i].kind;
			return p;
		}
	}
	return find_wrong(p);
}

static void *
take_second(struct push *p, struct sgate_bytes word)
{
	uint64_t number;

	if (p->kind != PUSH_PONG)
		return bytes_equal_text(word, TRACKING_CHANNEL) ? p
								: find_wrong(p);
	if (!bytes_to_uint(word, INT64_MAX, &number) || number == 0)
		return find_wrong(p);
	p->pong = number;
	return p;
}

/* Where in a message the parser is: the how-manieth value of the list; of its
 * third one, if that is a list, all values are LISTED. */
enum { ALONE = -1, LISTED = -2, DEEPER = -3 };
static int
place(const redisReadTask *task)
{
	if (task->parent == NULL)
		return ALONE;
	if (task->parent->parent == NULL)
		return task->idx;
	return task->parent->parent->parent == NULL ? LISTED : DEEPER;
}

static void *
take_text(const redisReadTask *task, char *text, size_t len)
{
	struct push *p = task->privdata;
	const struct sgate_bytes bytes = {text, len};
	int at = place(task);

	/* What the server refuses is no list. */
	if (at == ALONE && task->type == REDIS_REPLY_ERROR) {
		snprintf(p->wrong, sizeof(p->wrong), "%.*s",
		    (int)(len < 100 ? len : 100), text);
		return find_wrong(p);
	}
	if (task->type != REDIS_REPLY_STRING)
		return find_wrong(p);
	if (at == LISTED)
		return take_key(p, bytes);
	p->values++;
	if (at == 0)
		return take_kind(p, bytes);
	return at == 1 ? take_second(p, bytes) : find_wrong(p);
}

static void *
take_list(const redisReadTask *task, redb_list_length elements)
{
	struct push *p = task->privdata;
	int at = place(task);

	if (task->type != REDIS_REPLY_ARRAY)
		return find_wrong(p);
	if (at == ALONE) {
		p->kind = PUSH_NONE;
		p->length = (long long)elements;
		p->values = 0;
		return p->length == 2 || p->length == 3 ? p : find_wrong(p);
	}
	p->values++;
	return at == 2 && p->kind == PUSH_MESSAGE ? p : find_wrong(p);
}

static void *
take_integer(const redisReadTask *task, long long number)
{
	struct push *p = task->privdata;

	(void)number;
	p->values++;
	return place(task) == 2 && p->kind == PUSH_SUBSCRIBE ? p
							     : find_wrong(p);
}

static void *
take_nothing(const redisReadTask *task)
{
	struct push *p = task->privdata;

	if (place(task) != 2 || p->kind != PUSH_MESSAGE)
		return find_wrong(p);
	p->values++;
	p->hooks->changed_all(p->hooks->arg);
	return p;
}

static void
free_nothing(void *object)
{
	(void)object; /* there are none */
}

static redisReplyObjectFunctions push_functions = {
    .createString = take_text,
    .createArray = take_list,
    .createInteger = take_integer,
    .createNil = take_nothing,
    .freeObject = free_nothing,
};

struct push *
push_new(const char *prefix, const struct tracking_hooks *hooks)
{
	struct push *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->prefix = prefix;
	p->hooks = hooks;
	p->reader = redisReaderCreateWithFunctions(&push_functions);
	if (p->reader == NULL) {
		free(p);
		return NULL;
	}
	p->reader->privdata = p;
	return p;
}

void
push_free(struct push *p)
{
	if (p == NULL)
		return;
	redisReaderFree(p->reader);
	free(p);
}

/* A list is whole, and each of its values was one that we know. */
static bool
finish_list(struct push *p)
{
	if (p->kind == PUSH_NONE || p->values != (unsigned long long)p->length)
		return false;
	if (p->kind == PUSH_SUBSCRIBE)
		p->is_subscribed = true;
	return true;
}

const char *
push_feed(struct push *p, const char *bytes, size_t len)
{
	void *reply;

	if (redisReaderFeed(p->reader, bytes, len) != REDIS_OK)
		return is_memory;
	do {
		reply = NULL;
		if (redisReaderGetReply(p->reader, &reply) != REDIS_OK)
			return p->wrong[0] != '\0'               ? p->wrong
			       : p->reader->err == REDIS_ERR_OOM ? is_memory
								 : is_foreign;
		if (reply != NULL && !finish_list(p))
			return is_foreign;
	} while (reply != NULL);
	return p->reader->len - p->reader->pos > PENDING_MAX ? is_foreign
							     : NULL;
}

uint64_t
push_take_pong(struct push *p)
{
	uint64_t pong = p->pong;

	p->pong = 0;
	return pong;
}

bool
push_is_subscribed(const struct push *p)
{
	return p->is_subscribed;
}

/* ---- heads ---- */

struct heads {
	void (*take)(void *arg, const struct tracking_head *head);
	void *arg;
	redisReader *reader;
	char wrong[128];
};

static void
read_head(struct sgate_bytes bytes, struct tracking_head *out)
{
	const char *text = bytes.data;
	const struct sgate_bytes version = {
	    text + RECORD_VERSION_OFFSET + EPOCH_DIGITS,
	    VERSION_DIGITS - EPOCH_DIGITS};
	const struct sgate_bytes seen = {text + RECORD_LAST_SEEN_OFFSET,
	    RECORD_BODY_OFFSET - RECORD_LAST_SEEN_OFFSET};
	uint64_t seen_ms;

	memset(out, 0, sizeof(*out));
	if (bytes.len != HEAD_BYTES ||
	    !bytes_to_uint(version, UINT64_MAX, &out->version) ||
	    !bytes_to_uint(seen, INT64_MAX, &seen_ms))
		return;
	out->last_seen_ms = (int64_t)seen_ms;
	out->state = text[0];
}

static void *
take_answer(const redisReadTask *task, char *text, size_t len)
{
	struct heads *h = task->privdata;
	struct tracking_head head;

	if (task->parent == NULL && task->type == REDIS_REPLY_STRING) {
		read_head((struct sgate_bytes){text, len}, &head);
		h->take(h->arg, &head);
		return h;
	}
	snprintf(h->wrong, sizeof(h->wrong), "%.*s",
	    (int)(len < 100 ? len : 100), text);
	return NULL;
}

static redisReplyObjectFunctions heads_functions = {
    .createString = take_answer,
    .freeObject = free_nothing,
};

struct heads *
heads_new(void (*take)(void *arg, const struct tracking_head *head), void *arg)
{
	struct heads *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->take = take;
	h->arg = arg;
	h->reader = redisReaderCreateWithFunctions(&heads_functions);
	if (h->reader == NULL) {
		free(h);
		return NULL;
	}
	h->reader->privdata = h;
	return h;
}

void
heads_free(struct heads *h)
{
	if (h == NULL)
		return;
	redisReaderFree(h->reader);
	free(h);
}

const char *
heads_feed(struct heads *h, const char *bytes, size_t len)
{
	void *reply;

	if (redisReaderFeed(h->reader, bytes, len) != REDIS_OK)
		return is_memory;
	do {
		reply = NULL;
		if (redisReaderGetReply(h->reader, &reply) != REDIS_OK)
			return h->wrong[0] != '\0' ? h->wrong : is_foreign;
		/* No list, and no number. */
		if (reply != NULL && reply != h)
			return is_foreign;
	} while (reply != NULL);
	return h->reader->len - h->reader->pos > PENDING_MAX ? is_foreign
							     : NULL;
}
