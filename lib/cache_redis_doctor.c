/*
 * What is right and wrong with Redis and its Sentinels: for `sessgatectl
 * doctor`. All of it is in what INFO tells.
 */
#include "config.h"

#include "cache_redis.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "status.h"
#include "tracking.h"

#define OPERATION "doctor"
#define VERSION_MIN 7

struct info {
	struct buf text;
};

static void
compose_info(struct buf *out, void *arg, bool is_whole)
{
	(void)arg;
	(void)is_whole;
	redb_add_command(out, 1);
	redb_add_word(out, bytes_of("INFO"));
}

static bool
take_info(void *arg, size_t index, const struct redb_reply *reply)
{
	struct info *info = arg;

	(void)index;
	if (reply->is_list || reply->values[0].type != REDB_TEXT)
		return false;
	buf_add_char(&info->text, '\n');
	buf_add_bytes(&info->text, reply->values[0].text);
	return true;
}

/* The value of a line "name:value"; "" without one. */
static const char *
value_of(const struct info *info, const char *name, char out[64])
{
	char line[64];
	const char *at;
	size_t len;

	out[0] = '\0';
	snprintf(line, sizeof(line), "\n%s:", name);
	at = strstr(buf_text(&info->text), line);
	if (at == NULL)
		return out;
	at += strlen(line);
	len = strcspn(at, "\r\n");
	snprintf(out, 64, "%.*s", len < 64 ? (int)len : 63, at);
	return out;
}

static long long
number_of(const struct info *info, const char *name)
{
	char value[64];

	return strtoll(value_of(info, name, value), NULL, 10);
}

static bool
is(const struct info *info, const char *name, const char *text)
{
	char value[64];

	return strcmp(value_of(info, name, value), text) == 0;
}

/* ---- the checks ---- */

static void
check_role(const struct info *info, const struct findings *findings)
{
	bool is_master = is(info, "role", "master");

	finding_tell(findings, is_master ? FINDING_OK : FINDING_ERROR, "role",
	    "name the master in redis.address, or let Sentinel name it "
	    "(redis.sentinel): a replica takes no session",
	    is_master ? "is a master" : "is a replica");
}

static void
check_replicas(const struct info *info, const struct findings *findings)
{
	long long replicas = number_of(info, "connected_slaves");
	char good[64];

	value_of(info, "min_slaves_good_slaves", good);
	if (good[0] != '\0' && number_of(info, "min_slaves_good_slaves") < 1)
		finding_tell(findings, FINDING_ERROR, "replicas",
		    "see to its replicas: as long as none is near enough it "
		    "takes no writes (min-replicas-to-write)",
		    "no replica is near enough");
	else if (replicas > 0 && good[0] == '\0')
		finding_tell(findings, FINDING_WARNING, "replicas",
		    "with three servers set min-replicas-to-write 1: a master "
		    "that is cut off takes writes that are lost",
		    "%lld replicas, and it would write without them", replicas);
	else
		finding_tell(findings, FINDING_OK, "replicas", "",
		    "%lld replicas", replicas);
}

static void
check_memory(const struct info *info, const struct findings *findings)
{
	char policy[64];
	bool is_right;

	value_of(info, "maxmemory_policy", policy);
	is_right = strncmp(policy, "volatile-", 9) == 0 ||
		   strcmp(policy, "noeviction") == 0;
	finding_tell(findings, is_right ? FINDING_OK : FINDING_ERROR,
	    "maxmemory-policy",
	    "set maxmemory-policy volatile-lru: this one throws away the keys "
	    "that tell how far the others can be believed",
	    "is %s", policy);
	finding_tell(findings,
	    number_of(info, "maxmemory") > 0 ? FINDING_OK : FINDING_WARNING,
	    "maxmemory",
	    "set maxmemory: without it the machine's memory is the limit",
	    "is %lld bytes", number_of(info, "maxmemory"));
}

static void
check_persistence(const struct info *info, const struct findings *findings)
{
	bool has_file = is(info, "aof_enabled", "1");
	bool is_written = !is(info, "aof_last_write_status", "err") &&
			  !is(info, "rdb_last_bgsave_status", "err");

	finding_tell(findings, has_file ? FINDING_OK : FINDING_WARNING,
	    "appendonly",
	    "set appendonly yes: sessions could not be validated from a Redis "
	    "that was started anew while MySQL is away",
	    has_file ? "is yes" : "is no");
	finding_tell(findings, is_written ? FINDING_OK : FINDING_ERROR, "disk",
	    "see its log: it cannot save its data, and soon takes no writes",
	    is_written ? "its files are written" : "its files are not written");
}

static void
check_clock(const struct info *info, const struct findings *findings,
    int64_t before_ms, int64_t after_ms)
{
	long long at_us = number_of(info, "server_time_usec");

	if (at_us > 0)
		finding_tell_clock(findings, before_ms, at_us / 1000, after_ms);
}

/* Without it all is right, and slower. */
static void
check_listening(struct cache *c, const struct findings *findings)
{
	struct sgate_error err;

	if (!redb_has_listener(c))
		return;
	if (redb_try_listening(c, &err) == SGATE_OK)
		finding_tell(findings, FINDING_OK, "listening", "",
		    "the local cache can hear what is written");
	else
		finding_tell(findings, FINDING_WARNING, "listening",
		    "as the server's administrator: ACL SETUSER with the "
		    "account's name and " TRACKING_ACL,
		    "the local cache cannot hear what is written: %s",
		    err.text);
}

/* Without it all is right, too, and much data makes looks slow. */
static void
check_peeking(struct cache *c, const struct findings *findings)
{
	static const struct sgate_ref nobody;
	struct cache_copy ignored;
	struct sgate_error err;

	if (redb_try_peeking(c, &nobody, &ignored, &err) == SGATE_OK)
		finding_tell(findings, FINDING_OK, "peeking", "",
		    "a check does not fetch a session's data");
	else
		finding_tell(findings, FINDING_WARNING, "peeking",
		    "as the server's administrator: ACL SETUSER with the "
		    "account's name and +multi +exec +getrange",
		    "a check fetches a session's data, too: %s", err.text);
}

static void
check_server(const struct info *info, const struct findings *findings,
    int64_t before_ms, int64_t after_ms)
{
	char version[64];

	value_of(info, "redis_version", version);
	finding_tell(findings,
	    strtol(version, NULL, 10) >= VERSION_MIN ? FINDING_OK
						     : FINDING_ERROR,
	    "answers", "install Redis 7.0 or newer", "Redis %s", version);
	check_role(info, findings);
	check_replicas(info, findings);
	check_memory(info, findings);
	check_persistence(info, findings);
	check_clock(info, findings, before_ms, after_ms);
}

enum sgate_status
redb_examine(
    struct cache *c, finding_fn *fn, void *arg, struct sgate_error *err)
{
	char where[160];
	const struct findings findings = {fn, arg, where};
	struct info info = {{0}};
	const struct redb_question q = {
	    OPERATION, 1, compose_info, take_info, &info};
	int64_t before_ms = clock_utc_ms();
	enum sgate_status status = redb_ask(c, &q, err);
	int64_t after_ms = clock_utc_ms();

	/* Whom it has asked, it knows by now. */
	snprintf(where, sizeof(where), "redis %s", redb_peer(c));
	if (status == SGATE_OK && buf_failed(&info.text))
		status = error_memory(err, OPERATION);
	if (status == SGATE_OK) {
		check_server(&info, &findings, before_ms, after_ms);
		check_listening(c, &findings);
		check_peeking(c, &findings);
	} else if (strstr(err->text, "NOPERM") != NULL) {
		finding_tell_error(&findings, FINDING_UNSEEN, "settings", err);
		error_clear(err);
		status = SGATE_OK;
	} else {
		finding_tell_error(&findings, FINDING_ERROR, "answers", err);
	}
	buf_clear(&info.text);
	sentinels_examine(c, fn, arg);
	return status;
}
