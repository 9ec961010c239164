/* The cache contract over Redis: the server, and its data as others see it. */
#include "config.h"

#include "cache_server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token.h"

#define WORDS_MAX 128

struct redis server;
static struct buf answer;
static char address[128];

const char *
server_missing(void)
{
	return redis_missing();
}

int
server_skip(void)
{
	const char *is_fail = getenv("SKIPS_AS_FAILS");

	if (is_fail != NULL && strcmp(is_fail, "1") == 0) {
		printf("1..1\nnot ok 1 - %s\n", redis_missing());
		return 1;
	}
	printf("1..0 # SKIP %s\n", redis_missing());
	return 0;
}

int
server_open(void **state)
{
	(void)state;
	return redis_open(&server) ? 0 : -1;
}

int
server_close(void **state)
{
	(void)state;
	redis_close(&server);
	buf_clear(&answer);
	return 0;
}

void
server_open_case(struct fixture *f)
{
	/* A case that failed may have left it stopped or dead. */
	if (server.pid > 0)
		redis_resume(&server);
	else if (!redis_start(&server))
		fail_msg("the server cannot be started");
	server_run("CONFIG SET maxmemory 0");
	server_run("REPLICAOF NO ONE");
	server_run("SCRIPT FLUSH");
	server_run("FLUSHALL");
	server_run("CONFIG RESETSTAT");
	snprintf(address, sizeof(address), "unix:%s", server.socket);
	f->conf.redis.address = address;
}

void
server_close_case(struct fixture *f)
{
	(void)f;
	server_run("ACL LOG RESET");
}

const char *
server_run(const char *command)
{
	struct sgate_bytes words[WORDS_MAX];
	struct sgate_bytes rest = bytes_of(command);
	size_t count = 0;

	while (rest.data != NULL && count < WORDS_MAX)
		words[count++] = bytes_cut(&rest, ' ');
	redis_run_bytes(&server, &answer, words, count);
	return buf_text(&answer);
}

/* ---- as somebody else ---- */

static struct sgate_bytes
record_key(const struct sgate_ref *ref)
{
	static char key[80];
	char hex[SGATE_REF_HEX + 1];

	sgate_ref_text(ref, hex);
	snprintf(key, sizeof(key), "sg:{%u}:s:%s", token_ref_group(ref), hex);
	return bytes_of(key);
}

static struct sgate_bytes
sync_key(unsigned group)
{
	static char key[80];

	snprintf(key, sizeof(key), "sg:{%u}:sync", group);
	return bytes_of(key);
}

static struct sgate_bytes
get(struct sgate_bytes key)
{
	const struct sgate_bytes words[] = {bytes_of("GET"), key};

	return redis_run_bytes(&server, &answer, words, 2)
		   ? buf_bytes(&answer)
		   : (struct sgate_bytes){NULL, 0};
}

struct sgate_bytes
raw_record(const struct sgate_ref *ref)
{
	return get(record_key(ref));
}

int64_t
raw_ttl(const struct sgate_ref *ref)
{
	const struct sgate_bytes words[] = {bytes_of("PTTL"), record_key(ref)};
	int64_t ttl_ms;

	redis_run_bytes(&server, &answer, words, 2);
	ttl_ms = strtoll(buf_text(&answer), NULL, 10);
	/* -2: no key; -1: it lives for ever. */
	return ttl_ms == -1 ? INT64_MAX : ttl_ms == -2 ? -1 : ttl_ms;
}

void
raw_set(const struct sgate_ref *ref, struct sgate_bytes record, int64_t ttl_ms)
{
	char ttl[32];
	struct sgate_bytes words[] = {
	    bytes_of("SET"), record_key(ref), record, bytes_of("PX"), {ttl, 0}};

	snprintf(ttl, sizeof(ttl), "%" PRId64, ttl_ms);
	words[4].len = strlen(ttl);
	redis_run_bytes(&server, &answer, words, 5);
	assert_string_equal(buf_text(&answer), "OK");
}

struct sgate_bytes
raw_sync(unsigned group)
{
	return get(sync_key(group));
}

void
raw_set_sync(unsigned group, struct sgate_bytes sync)
{
	const struct sgate_bytes words[] = {
	    bytes_of("SET"), sync_key(group), sync};

	redis_run_bytes(&server, &answer, words, 3);
	assert_string_equal(buf_text(&answer), "OK");
}
