/*
 * Where Redis is, when Sentinels watch over several: they are asked which
 * server is the master, and that server whether it is one.
 *
 * The first that answers is believed as long as its master says so itself: one
 * that was cut off names the master of before, which may say so too. That costs
 * nothing but time: how much a Redis is believed is read in its own data
 * (fence.h), and a master that was replaced lacks what came after.
 *
 * Each question has the store's time-out at most; all of them, the handle's
 * deadline. The Sentinel that answered last is asked first, so that those that
 * are dead are paid for once.
 */
#include "config.h"

#include "cache_redis.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "status.h"

#define OPERATION "locate"

struct sentinels {
	struct cache **asked;
	size_t count;
	size_t first; /* the one that answered last */
	struct cache *master;
	char *master_name;
	int64_t timeout_ms;
	struct place_address found; /* where `master` leads; len 0: nowhere */
};

/* ---- questions ---- */

struct sought {
	const struct sentinels *sentinels;
	struct place_address address; /* len 0: it knows of no such master */
	char wrong[64];               /* "", or what is no address */
};

static void
compose_sought(struct buf *out, void *arg, bool is_whole)
{
	const struct sought *sought = arg;

	(void)is_whole;
	redb_add_command(out, 3);
	redb_add_word(out, bytes_of("SENTINEL"));
	redb_add_word(out, bytes_of("GET-MASTER-ADDR-BY-NAME"));
	redb_add_word(out, bytes_of(sought->sentinels->master_name));
}

/* An address and a port, each as text. */
static bool
take_sought(void *arg, size_t index, const struct redb_reply *reply)
{
	struct sought *sought = arg;
	const struct redb_value *values = reply->values;
	uint64_t port;

	(void)index;
	if (!reply->is_list)
		return values[0].type == REDB_NOTHING;
	if (reply->count != 2 || values[0].type != REDB_TEXT ||
	    values[1].type != REDB_TEXT ||
	    !bytes_to_uint(values[1].text, 65535, &port) || port == 0)
		return false;
	sought->address.port = (unsigned)port;
	sought->address.len =
	    address_parse(values[0].text, sought->address.address);
	if (sought->address.len == 0)
		snprintf(sought->wrong, sizeof(sought->wrong), "%.*s",
		    values[0].text.len < sizeof(sought->wrong)
			? (int)values[0].text.len
			: (int)sizeof(sought->wrong) - 1,
		    values[0].text.data);
	return true;
}

static void
compose_role(struct buf *out, void *arg, bool is_whole)
{
	(void)arg;
	(void)is_whole;
	redb_add_command(out, 2);
	redb_add_word(out, bytes_of("INFO"));
	redb_add_word(out, bytes_of("replication"));
}

static bool
take_role(void *arg, size_t index, const struct redb_reply *reply)
{
	static const char master[] = "\r\nrole:master\r\n";
	const struct sgate_bytes text = reply->values[0].text;

	(void)index;
	if (reply->is_list || reply->values[0].type != REDB_TEXT)
		return false;
	*(bool *)arg =
	    memmem(text.data, text.len, master, sizeof(master) - 1) != NULL;
	return true;
}

/* ---- asking ---- */

/* What one of `others` more may take, so that each has its part. */
static void
set_deadline(const struct sentinels *s, const struct cache *of, struct cache *c,
    size_t others)
{
	int64_t now_ms = clock_monotonic_ms();
	int64_t part_ms = (of->deadline_ms - now_ms) / (int64_t)(others + 1);

	c->deadline_ms =
	    now_ms + (part_ms < s->timeout_ms ? part_ms : s->timeout_ms);
}

static enum sgate_status
ask_sentinel(const struct sentinels *s, struct cache *sentinel,
    struct place_address *out, struct sgate_error *err)
{
	struct sought sought = {.sentinels = s};
	const struct redb_question q = {
	    OPERATION, 1, compose_sought, take_sought, &sought};
	enum sgate_status status = redb_ask(sentinel, &q, err);

	*out = sought.address;
	if (status != SGATE_OK || out->len > 0)
		return status;
	if (sought.wrong[0] != '\0')
		return error_set(err, SGATE_UNAVAILABLE, REDB_SOURCE, OPERATION,
		    0,
		    "Sentinel names the master \"%s\", and names are not "
		    "looked up: set \"sentinel announce-hostnames no\"",
		    sought.wrong);
	return error_set(err, SGATE_UNAVAILABLE, REDB_SOURCE, OPERATION, 0,
	    "Sentinel knows of no master \"%.64s\": correct "
	    "redis.master_name, or see its \"sentinel monitor\"",
	    s->master_name);
}

static enum sgate_status
check_role(struct sentinels *s, const struct place_address *address,
    struct sgate_error *err)
{
	char peer[PLACE_TEXT_MAX + 1];
	bool is_master = false;
	const struct redb_question q = {
	    OPERATION, 1, compose_role, take_role, &is_master};
	enum sgate_status status;

	if (!place_equal(&s->found, address))
		redb_move(s->master, address);
	s->found = *address;
	status = redb_ask(s->master, &q, err);
	if (status != SGATE_OK || is_master)
		return status;
	place_text(address, peer);
	return error_set(err, SGATE_UNAVAILABLE, REDB_SOURCE, OPERATION, 0,
	    "%s: a Sentinel names it, but it is a replica", peer);
}

enum sgate_status
redb_locate(struct cache *c, struct place *at, struct sgate_error *err)
{
	struct sentinels *s = redb_sentinels(c);
	struct place_address address, refused = {.len = 0};
	enum sgate_status status = SGATE_OK;
	struct sgate_error ignored;
	size_t i, n;

	error_clear(err);
	if (s == NULL)
		return SGATE_OK;
	for (i = 0; i < s->count; i++) {
		n = (s->first + i) % s->count;
		set_deadline(s, c, s->asked[n], s->count - i);
		/* That the master does not do says more than that a Sentinel
		 * is not there. */
		status = ask_sentinel(
		    s, s->asked[n], &address, refused.len > 0 ? &ignored : err);
		if (status != SGATE_OK || place_equal(&address, &refused))
			continue;
		set_deadline(s, c, s->master, s->count - i - 1);
		status = check_role(s, &address, err);
		if (status == SGATE_OK) {
			s->first = n;
			place_set(at, &address);
			return status;
		}
		refused = address;
	}
	return err->status;
}

/* ---- doctor ---- */

static void
examine_sentinel(struct sentinels *s, struct cache *c, struct cache *sentinel,
    const struct place *at, const struct findings *findings)
{
	struct place_address named, known;
	char text[PLACE_TEXT_MAX + 1];
	struct sgate_error err;
	uint64_t generation;

	set_deadline(s, c, sentinel, 0);
	error_clear(&err);
	if (ask_sentinel(s, sentinel, &named, &err) != SGATE_OK) {
		finding_tell_error(findings, FINDING_WARNING, "sentinel", &err);
		return;
	}
	place_text(&named, text);
	if (at != NULL && place_get(at, &known, &generation) &&
	    !place_equal(&known, &named))
		finding_tell(findings, FINDING_WARNING, "sentinel",
		    "see its log: it is cut off from the others, or they are "
		    "about to change",
		    "names %s, which is not the one that is used", text);
	else
		finding_tell(
		    findings, FINDING_OK, "sentinel", "", "names %s", text);
}

void
sentinels_examine(struct cache *c, finding_fn *fn, void *arg)
{
	struct sentinels *s = redb_sentinels(c);
	char where[160];
	const struct findings findings = {fn, arg, where};
	size_t i;

	for (i = 0; s != NULL && i < s->count; i++) {
		snprintf(where, sizeof(where), "sentinel %s",
		    redb_peer(s->asked[i]));
		examine_sentinel(s, c, s->asked[i], c->at, &findings);
	}
}

/* ---- open, close ---- */

static enum sgate_status
add_sentinel(struct sentinels *s, const char *text,
    const struct sgate_conf *conf, struct sgate_error *err)
{
	struct place_address address = {.port = CONF_SENTINEL_PORT};
	enum sgate_status status;

	address.len = address_port_parse(text, address.address, &address.port);
	if (address.len == 0)
		return error_set(err, SGATE_INVALID, REDB_SOURCE, "open", 0,
		    "redis.sentinel: \"%.100s\" is no address", text);
	status = redb_new(
	    "", conf->redis.sentinel_password_file, &s->asked[s->count], err);
	if (status == SGATE_OK)
		redb_move(s->asked[s->count++], &address);
	return status;
}

enum sgate_status
sentinels_new(const struct sgate_conf *conf, struct sentinels **out,
    struct sgate_error *err)
{
	char *const *addresses = conf->redis.sentinel;
	struct sentinels *s = calloc(1, sizeof(*s));
	enum sgate_status status = SGATE_OK;
	size_t count = 0;

	*out = s;
	if (s == NULL)
		return error_memory(err, "open");
	while (addresses[count] != NULL)
		count++;
	s->timeout_ms = conf->redis.timeout_ms;
	s->asked = calloc(count, sizeof(struct cache *));
	s->master_name = strdup(conf->redis.master_name);
	if (s->asked == NULL || s->master_name == NULL)
		return error_memory(err, "open");
	while (status == SGATE_OK && s->count < count)
		status = add_sentinel(s, addresses[s->count], conf, err);
	if (status == SGATE_OK)
		status = redb_new(conf->redis.user, conf->redis.password_file,
		    &s->master, err);
	return status;
}

void
sentinels_free(struct sentinels *s)
{
	size_t i;

	if (s == NULL)
		return;
	for (i = 0; i < s->count; i++)
		redb_close(s->asked[i]);
	redb_close(s->master);
	free(s->asked);
	free(s->master_name);
	free(s);
}
