/*
 * Sessions that are keys of a Redis under one prefix: texts, or hashes. SCAN
 * walks over them, since these systems keep no index that could be trusted.
 * Only commands that read are sent.
 */
#include "config.h"

#include "legacy_own.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <hiredis.h>

#include "clock.h"
#include "status.h"

#define DEFAULT_PORT 6379
#define SCAN_COUNT "500"

struct redis {
	struct legacy_source source;
	redisContext *context;
	char *prefix, *not_suffix;
	struct buf pattern, key;
	char cursor[24]; /* "" before the first SCAN */
	bool is_over;
	redisReply *keys; /* of the last SCAN */
	size_t at;
	redisReply *body; /* of the last session */
	struct legacy_field fields[LEGACY_FIELDS_MAX];
};

static void
redis_close(struct legacy_source *source)
{
	struct redis *redis = (struct redis *)source;

	freeReplyObject(redis->keys);
	freeReplyObject(redis->body);
	if (redis->context != NULL)
		redisFree(redis->context);
	free(redis->prefix);
	free(redis->not_suffix);
	buf_clear(&redis->pattern);
	buf_wipe(&redis->key);
	free(redis);
}

/* ---- asking ---- */

static enum sgate_status
fail(const struct redis *redis, const char *operation, const redisReply *reply,
    struct sgate_error *err)
{
	return error_set(err, SGATE_UNAVAILABLE, "redis", operation,
	    redis->context->err, "%s: %.200s", operation,
	    reply != NULL && reply->type == REDIS_REPLY_ERROR ? reply->str
	    : redis->context->err != 0 ? redis->context->errstr
				       : "an answer that makes no sense");
}

/* The answer to what was asked first; SGATE_OK with whatever type it has. */
static enum sgate_status
take_reply(struct redis *redis, const char *operation, redisReply **out,
    struct sgate_error *err)
{
	void *reply = NULL;

	*out = NULL;
	if (redisGetReply(redis->context, &reply) != REDIS_OK || reply == NULL)
		return fail(redis, operation, NULL, err);
	*out = reply;
	return SGATE_OK;
}

static enum sgate_status
ask(struct redis *redis, const char *operation, int count, const char **words,
    const size_t *lengths, redisReply **out, struct sgate_error *err)
{
	enum sgate_status status;

	redisAppendCommandArgv(redis->context, count, words, lengths);
	status = take_reply(redis, operation, out, err);
	if (status == SGATE_OK && (*out)->type == REDIS_REPLY_ERROR) {
		status = fail(redis, operation, *out, err);
		freeReplyObject(*out);
		*out = NULL;
	}
	return status;
}

/* ---- opening ---- */

/* One word of no more than so many arguments, and no answer but OK. */
static enum sgate_status
command(struct redis *redis, const char *name, const char *a, const char *b,
    struct sgate_error *err)
{
	const char *words[] = {name, a, b};
	const size_t lengths[] = {
	    strlen(name), strlen(a), b == NULL ? 0 : strlen(b)};
	redisReply *reply;
	enum sgate_status status =
	    ask(redis, name, b == NULL ? 2 : 3, words, lengths, &reply, err);

	freeReplyObject(reply);
	return status;
}

static enum sgate_status
log_in(struct redis *redis, const struct legacy_settings *settings,
    const char *database, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;

	if (settings->password != NULL && settings->account != NULL)
		status = command(
		    redis, "AUTH", settings->account, settings->password, err);
	else if (settings->password != NULL)
		status = command(redis, "AUTH", settings->password, NULL, err);
	if (status == SGATE_OK && database[0] != '\0')
		status = command(redis, "SELECT", database, NULL, err);
	return status;
}

static enum sgate_status
connect_to(struct redis *redis, const struct legacy_settings *settings,
    const struct legacy_address *address, struct sgate_error *err)
{
	const struct timeval wait = {LEGACY_WAIT_MS / 1000, 0};

	redis->context = address->path != NULL
			     ? redisConnectUnixWithTimeout(address->path, wait)
			     : redisConnectWithTimeout(
				   address->host, (int)address->port, wait);
	if (redis->context == NULL)
		return error_memory(err, "connect");
	if (redis->context->err != 0)
		return fail(redis, "connect", NULL, err);
	redisSetTimeout(redis->context, wait);
	return log_in(redis, settings, address->database, err);
}

/* What stands in the prefix stands for itself. */
static void
make_pattern(struct redis *redis)
{
	const char *at;

	for (at = redis->prefix; *at != '\0'; at++) {
		if (strchr("*?[]\\", *at) != NULL)
			buf_add_char(&redis->pattern, '\\');
		buf_add_char(&redis->pattern, *at);
	}
	buf_add_char(&redis->pattern, '*');
}

static enum sgate_status
redis_open(const struct legacy_settings *settings, const char *text,
    struct legacy_source **out, struct sgate_error *err)
{
	const char *not_suffix = settings->reader->not_suffix;
	struct redis *redis = calloc(1, sizeof(*redis));
	struct legacy_address address;
	enum sgate_status status;

	if (redis == NULL)
		return error_memory(err, "open");
	redis->source.type = &legacy_redis;
	redis->prefix = strdup(legacy_prefix(settings));
	redis->not_suffix = strdup(not_suffix == NULL ? "" : not_suffix);
	if (redis->prefix != NULL)
		make_pattern(redis);
	if (redis->prefix == NULL || redis->not_suffix == NULL ||
	    buf_failed(&redis->pattern)) {
		redis_close(&redis->source);
		return error_memory(err, "open");
	}
	if (!legacy_address_parse(text, DEFAULT_PORT, &address))
		status = error_set(err, SGATE_INVALID, "redis", "open", 0,
		    "\"redis:%.100s\": give redis:[NUMBER@]HOST:PORT or "
		    "redis:[NUMBER@]/SOCKET",
		    text);
	else
		status = connect_to(redis, settings, &address, err);
	legacy_address_clear(&address);
	if (status == SGATE_OK)
		*out = &redis->source;
	else
		redis_close(&redis->source);
	return status;
}

/* ---- one session ---- */

/*
 * The end of a key's life. -1: it has none. -2: it has gone meanwhile, which is
 * no session any more.
 */
static bool
take_life(const redisReply *reply, struct legacy_raw *out)
{
	if (reply->type != REDIS_REPLY_INTEGER || reply->integer == -2)
		return false;
	if (reply->integer >= 0)
		out->expires_ms = clock_utc_ms() + reply->integer;
	return true;
}

static void
take_fields(struct redis *redis, struct legacy_raw *out)
{
	size_t i;

	out->fields = redis->fields;
	out->fields_count = redis->body->elements / 2;
	for (i = 0; i < out->fields_count; i++) {
		const redisReply *name = redis->body->element[2 * i];
		const redisReply *value = redis->body->element[2 * i + 1];

		redis->fields[i] = (struct legacy_field){
		    .name = {name->str, name->len},
		    .value = {value->str, value->len},
		};
	}
}

/* A hash: only if it is not too large, since it comes whole. */
static enum sgate_status
read_hash(struct redis *redis, struct sgate_bytes key, struct legacy_raw *out,
    struct sgate_error *err)
{
	const char *count[] = {"HLEN", key.data};
	const char *memory[] = {"MEMORY", "USAGE", key.data, "SAMPLES", "0"};
	const char *all[] = {"HGETALL", key.data};
	const size_t count_len[] = {4, key.len};
	const size_t memory_len[] = {6, 5, key.len, 7, 1};
	const size_t all_len[] = {7, key.len};
	redisReply *fields = NULL, *bytes = NULL;
	enum sgate_status status;

	status = ask(redis, "HLEN", 2, count, count_len, &fields, err);
	if (status == SGATE_OK)
		status =
		    ask(redis, "MEMORY", 5, memory, memory_len, &bytes, err);
	if (status != SGATE_OK) {
		freeReplyObject(fields);
		return status;
	}
	if (fields->integer > LEGACY_FIELDS_MAX)
		out->why = "it has too many fields";
	else if (bytes->integer > (long long)LEGACY_BODY_MAX)
		out->why = LEGACY_WHY_LARGE;
	freeReplyObject(fields);
	freeReplyObject(bytes);
	if (out->why != NULL)
		return SGATE_OK;
	status = ask(redis, "HGETALL", 2, all, all_len, &redis->body, err);
	if (status != SGATE_OK)
		return status;
	if (redis->body->type != REDIS_REPLY_ARRAY ||
	    redis->body->elements > (size_t)2 * LEGACY_FIELDS_MAX)
		return fail(redis, "HGETALL", NULL, err);
	take_fields(redis, out);
	return redis->body->elements == 0 ? SGATE_NOT_FOUND : SGATE_OK;
}

/* GETRANGE: one byte more than may be tells that it is too long. */
static void
append_get(struct redis *redis, struct sgate_bytes key)
{
	char last[INT_TEXT_MAX];
	const size_t last_len = int_text((int64_t)LEGACY_BODY_MAX, last);
	const char *life[] = {"PTTL", key.data};
	const char *text[] = {"GETRANGE", key.data, "0", last};
	const size_t life_len[] = {4, key.len};
	const size_t text_len[] = {8, key.len, 1, last_len};

	redisAppendCommandArgv(redis->context, 2, life, life_len);
	redisAppendCommandArgv(redis->context, 4, text, text_len);
}

static enum sgate_status
read_key(struct redis *redis, struct sgate_bytes key, struct legacy_raw *out,
    struct sgate_error *err)
{
	redisReply *life = NULL;
	enum sgate_status status;
	bool is_there;

	freeReplyObject(redis->body);
	redis->body = NULL;
	out->id.data = key.data + strlen(redis->prefix);
	out->id.len = key.len - strlen(redis->prefix);
	append_get(redis, key);
	status = take_reply(redis, "PTTL", &life, err);
	if (status != SGATE_OK)
		return status;
	is_there = take_life(life, out);
	freeReplyObject(life);
	status = take_reply(redis, "GETRANGE", &redis->body, err);
	if (status != SGATE_OK)
		return status;
	if (redis->body->type == REDIS_REPLY_ERROR &&
	    strncmp(redis->body->str, "WRONGTYPE", 9) == 0) {
		freeReplyObject(redis->body);
		redis->body = NULL;
		status = read_hash(redis, key, out, err);
		if (status != SGATE_UNAVAILABLE || redis->context->err != 0)
			return status;
		/* A list or a set: none of its sessions, but not nothing. */
		error_clear(err);
		out->why = "its key is neither a text nor a hash";
		return SGATE_OK;
	}
	if (redis->body->type != REDIS_REPLY_STRING)
		return fail(redis, "GETRANGE", redis->body, err);
	out->body = (struct sgate_bytes){redis->body->str, redis->body->len};
	if (out->body.len > LEGACY_BODY_MAX)
		out->why = LEGACY_WHY_LARGE;
	return is_there ? SGATE_OK : SGATE_NOT_FOUND;
}

/* ---- all of them ---- */

static enum sgate_status
scan(struct redis *redis, struct sgate_error *err)
{
	const char *cursor = redis->cursor[0] == '\0' ? "0" : redis->cursor;
	const char *words[] = {
	    "SCAN", cursor, "MATCH", redis->pattern.data, "COUNT", SCAN_COUNT};
	const size_t lengths[] = {
	    4, strlen(cursor), 5, redis->pattern.len, 5, strlen(SCAN_COUNT)};
	const redisReply *reply;
	enum sgate_status status;

	freeReplyObject(redis->keys);
	redis->at = 0;
	status = ask(redis, "SCAN", 6, words, lengths, &redis->keys, err);
	if (status != SGATE_OK)
		return status;
	reply = redis->keys;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_STRING ||
	    reply->element[0]->len >= sizeof(redis->cursor) ||
	    reply->element[1]->type != REDIS_REPLY_ARRAY)
		return fail(redis, "SCAN", NULL, err);
	memcpy(
	    redis->cursor, reply->element[0]->str, reply->element[0]->len + 1);
	redis->is_over = strcmp(redis->cursor, "0") == 0;
	return SGATE_OK;
}

/* Whether the key can be a session's. */
static bool
is_session(const struct redis *redis, const redisReply *key)
{
	size_t prefix = strlen(redis->prefix);
	size_t suffix = strlen(redis->not_suffix);

	if (key->type != REDIS_REPLY_STRING || key->len <= prefix ||
	    key->len - prefix > LEGACY_ID_MAX)
		return false;
	return suffix == 0 || key->len < suffix ||
	       memcmp(key->str + key->len - suffix, redis->not_suffix,
		   suffix) != 0;
}

static enum sgate_status
redis_next(struct legacy_source *source, struct legacy_raw *out,
    struct sgate_error *err)
{
	struct redis *redis = (struct redis *)source;
	const redisReply *keys, *key;
	enum sgate_status status;

	for (;;) {
		keys = redis->keys == NULL ? NULL : redis->keys->element[1];
		if (keys == NULL || redis->at >= keys->elements) {
			if (redis->is_over)
				return SGATE_NOT_FOUND;
			status = scan(redis, err);
			if (status != SGATE_OK)
				return status;
			continue;
		}
		key = keys->element[redis->at++];
		if (!is_session(redis, key))
			continue;
		status = read_key(
		    redis, (struct sgate_bytes){key->str, key->len}, out, err);
		if (status != SGATE_NOT_FOUND)
			return status;
		memset(out, 0, sizeof(*out));
	}
}

static enum sgate_status
redis_find(struct legacy_source *source, struct sgate_bytes id,
    struct legacy_raw *out, struct sgate_error *err)
{
	struct redis *redis = (struct redis *)source;

	buf_reset(&redis->key);
	buf_add_text(&redis->key, redis->prefix);
	buf_add_bytes(&redis->key, id);
	if (buf_failed(&redis->key))
		return error_memory(err, "find");
	return read_key(redis, buf_bytes(&redis->key), out, err);
}

const struct legacy_source_type legacy_redis = {
    "redis:", LEGACY_REDIS, redis_open, redis_close, redis_next, redis_find};
