/*
 * Which of mysql.hosts is the primary, when there are several.
 *
 * The primary is the one that takes writes; a replica is read-only. That is not
 * enough where a primary was replaced and comes back: it takes writes too, and
 * lacks what was acknowledged since. So each host is asked who it is (its name,
 * port, id and start: the ident of protocol 9) and whose data it has (the ident
 * of the server that wrote to these tables last, in meta).
 *
 *   the one in use takes writes    it stays, whoever else does
 *   one other does                 it is used if it has the data of the one in
 *                                  use, or somebody uses it already
 *   several others do              none is used
 *   none does                      what was known stays
 *
 * Nothing is written here: the first connection that may write raises the
 * numbers, and it is made only to the server that was found, if that still is
 * the one that was looked at.
 */
#include "config.h"

#include "durable_mysql.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "status.h"

#define OPERATION "locate"
/* For one host; one that is dead must not delay the keeper's round. As long as
 * nobody is known, there is nothing else to do. */
#define LOOK_MS 100
#define FIRST_LOOK_MS 250

struct seen {
	struct place_address at;
	bool takes_writes;
	uint64_t whose;
	uint64_t number; /* of the first group */
	char name[PLACE_TEXT_MAX + 1];
};

/* ---- what one host says ---- */

/* The first 16 digits of an ident; 0: it is none. */
static uint64_t
ident_of(const char *text)
{
	char digits[17] = "";
	char *end;
	uint64_t value;

	snprintf(digits, sizeof(digits), "%s", text);
	value = strtoull(digits, &end, 16);
	return strlen(digits) == 16 && *end == '\0' ? value : 0;
}

static void
take_ident(void *arg, const char *word)
{
	*(uint64_t *)arg = ident_of(word);
}

enum sgate_status
mydb_who(struct durable *d, const char *operation, uint64_t *out,
    struct sgate_error *err)
{
	*out = 0;
	return mydb_ask_words(
	    d, "SELECT @sessgate_ident", operation, take_ident, out, err);
}

/* "0|its own ident|meta's|number" */
static void
take_seen(void *arg, const char *word)
{
	struct seen *seen = arg;
	const char *who = strchr(word, '|');
	const char *whose = who == NULL ? NULL : strchr(who + 1, '|');
	const char *number = whose == NULL ? NULL : strchr(whose + 1, '|');

	if (number == NULL)
		return;
	seen->at.who = ident_of(who + 1);
	seen->whose = ident_of(whose + 1);
	seen->number = strtoull(number + 1, NULL, 10);
	seen->takes_writes =
	    seen->at.who != 0 &&
	    (strncmp(word, "0|", 2) == 0 || strncasecmp(word, "OFF|", 4) == 0);
}

static enum sgate_status
look_at(struct mydb *look, struct seen *out, struct sgate_error *err)
{
	struct durable *d = &look->sql.durable;
	enum sgate_status status = SGATE_OK;

	if (look->conn != NULL && mydb_is_stale(look))
		mydb_disconnect(d);
	if (look->conn == NULL) {
		status = mydb_enter_new(d, MYDB_TO_CHECK, OPERATION, err);
		if (status == SGATE_OK)
			status = mydb_set_ident(d, OPERATION, err);
	}
	mydb_set_deadline(look, 0);
	if (status == SGATE_OK)
		status = mydb_ask_words(d,
		    "SELECT CONCAT_WS('|', @@GLOBAL.read_only, "
		    "IFNULL(@sessgate_ident, ''), "
		    "IFNULL((SELECT ident FROM meta WHERE grp = 0), ''), "
		    "IFNULL((SELECT seq FROM meta WHERE grp = 0), 0))",
		    OPERATION, take_seen, out, err);
	if (status != SGATE_OK)
		mydb_disconnect(d);
	return status;
}

/* ---- the choice ---- */

/*
 * How far its data will have come with the first number that is taken there:
 * who writes to a server for the first time raises them all (protocol 9).
 */
static uint64_t
mark_of(const struct seen *seen)
{
	return seen->number + (seen->whose == seen->at.who ? 0 : MYDB_JUMP);
}

/*
 * A server to which somebody else has written has been judged by him; but what
 * it wrote itself, before it was replaced, says nothing: then its numbers are
 * below those of its successor. One that was found and died before anybody
 * wrote to it has handed nothing on.
 */
static bool
has_history(const struct mydb *store, const struct place *at,
    const struct place_address *before, const struct seen *seen)
{
	return before->who == 0 || seen->whose == before->who ||
	       (seen->whose == seen->at.who &&
		   seen->number >= atomic_load(&at->mark)) ||
	       (store->found_whose != 0 && seen->whose == store->found_whose);
}

static enum sgate_status
use(struct mydb *store, struct place *at, const struct seen *seen)
{
	struct place_address before;
	uint64_t generation;

	place_get(at, &before, &generation);
	if (before.who != seen->at.who)
		store->found_whose = seen->whose;
	atomic_store(&at->mark, mark_of(seen));
	place_set(at, &seen->at);
	return SGATE_OK;
}

/* The same server under two addresses is one. */
static const struct seen *
another(const struct seen *seen, size_t count, const struct seen *than)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (seen[i].takes_writes &&
		    (than == NULL || seen[i].at.who != than->at.who))
			return &seen[i];
	return NULL;
}

static const struct seen *
in_use(const struct seen *seen, size_t count, const struct place_address *at)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (seen[i].takes_writes && seen[i].at.who == at->who)
			return &seen[i];
	return NULL;
}

/* Nobody is used; who was last is remembered. */
static void
use_nobody(struct place *at, const struct place_address *before)
{
	const struct place_address nobody = {.who = before->who};

	place_set(at, &nobody);
}

static enum sgate_status
choose(struct mydb *store, struct place *at, const struct seen *seen,
    size_t count, struct sgate_error *err)
{
	struct place_address before;
	const struct seen *used, *one, *other;
	uint64_t generation;

	place_get(at, &before, &generation);
	used = before.who == 0 ? NULL : in_use(seen, count, &before);
	one = used != NULL ? used : another(seen, count, NULL);
	if (one == NULL)
		return err->status != SGATE_OK
			   ? err->status
			   : error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE,
				 OPERATION, 0,
				 "none of mysql.hosts takes writes: all are "
				 "read-only");
	other = another(seen, count, one);
	if (used != NULL) {
		use(store, at, used);
		return other == NULL
			   ? SGATE_OK
			   : error_set(err, SGATE_CONFLICT, MYDB_SOURCE,
				 OPERATION, 0,
				 "%s takes writes beside %s, which is used: "
				 "set read_only there, and make it a replica",
				 other->name, used->name);
	}
	if (other != NULL) {
		use_nobody(at, &before);
		return error_set(err, SGATE_CONFLICT, MYDB_SOURCE, OPERATION, 0,
		    "%s and %s both take writes, and nobody knows which is the "
		    "primary, so none is used: set read_only on the other one",
		    one->name, other->name);
	}
	if (has_history(store, at, &before, one))
		return use(store, at, one);
	use_nobody(at, &before);
	return error_set(err, SGATE_CONFLICT, MYDB_SOURCE, OPERATION, 0,
	    "%s takes writes and lacks what the primary before has written "
	    "last, so it is not used: promote a replica that has it; if there "
	    "is none, stop every gateway and run `sessgatectl db restored`",
	    one->name);
}

/* ---- looking at all ---- */

static void
free_looks(struct mydb *store)
{
	size_t i;

	for (i = 0; store->looks != NULL && i < store->hosts_count; i++)
		if (store->looks[i] != NULL)
			mydb_close(&store->looks[i]->sql.durable);
	free(store->looks);
	store->looks = NULL;
}

void
mydb_hosts_free(struct mydb *store)
{
	free_looks(store);
}

static enum sgate_status
make_looks(struct mydb *store, struct sgate_error *err)
{
	size_t i;

	if (store->looks != NULL)
		return SGATE_OK;
	store->looks = calloc(store->hosts_count, sizeof(struct mydb *));
	for (i = 0; store->looks != NULL && i < store->hosts_count; i++) {
		store->looks[i] = mydb_copy(store, &store->hosts[i]);
		if (store->looks[i] == NULL) {
			free_looks(store);
			break;
		}
	}
	return store->looks == NULL ? error_memory(err, OPERATION) : SGATE_OK;
}

enum sgate_status
mydb_locate(struct durable *d, struct place *at, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	struct seen seen[MYDB_HOSTS_MAX];
	enum sgate_status status;
	struct sgate_error why;
	struct place_address before;
	int64_t until_ms, most_ms;
	uint64_t generation;
	size_t i;

	error_clear(err);
	if (store->hosts_count < 2)
		return SGATE_OK;
	if (!mydb_is_of_this_process(store))
		return sql_misused(d, OPERATION,
		    "opened in another process: open it after fork()", err);
	status = make_looks(store, err);
	if (status != SGATE_OK)
		return status;
	most_ms = place_get(at, &before, &generation) ? LOOK_MS : FIRST_LOOK_MS;
	memset(seen, 0, sizeof(seen));
	for (i = 0; i < store->hosts_count; i++) {
		until_ms = clock_monotonic_ms() + most_ms;
		store->looks[i]->sql.durable.deadline_ms =
		    until_ms < d->deadline_ms ? until_ms : d->deadline_ms;
		seen[i].at = store->hosts[i].at;
		place_text(&seen[i].at, seen[i].name);
		error_clear(&why);
		if (look_at(store->looks[i], &seen[i], &why) != SGATE_OK)
			*err = why;
	}
	status = choose(store, at, seen, store->hosts_count, err);
	if (status == SGATE_OK)
		error_clear(err);
	return status;
}

/* ---- connecting to it ---- */

bool
mydb_is_led(const struct mydb *store)
{
	return store->hosts_count > 1 && store->sql.durable.at != NULL;
}

bool
mydb_is_elsewhere(const struct mydb *store)
{
	struct place_address at;
	uint64_t generation;

	if (!mydb_is_led(store))
		return false;
	place_get(store->sql.durable.at, &at, &generation);
	return generation != store->generation;
}

enum sgate_status
mydb_find_host(
    struct mydb *store, const char *operation, struct sgate_error *err)
{
	struct place_address at;
	size_t i;

	if (place_get(store->sql.durable.at, &at, &store->generation))
		for (i = 0; i < store->hosts_count; i++)
			if (place_equal(&store->hosts[i].at, &at)) {
				store->host = i;
				store->primary = at.who;
				return SGATE_OK;
			}
	/* Saying so takes no time: no reason to open a breaker. */
	return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation, 0,
	    "none of mysql.hosts is known to be the primary");
}

enum sgate_status
mydb_check_who(
    struct mydb *store, const char *operation, struct sgate_error *err)
{
	uint64_t who;
	enum sgate_status status =
	    mydb_who(&store->sql.durable, operation, &who, err);

	/* From here on it hands on what is written to it. */
	store->found_whose = 0;
	if (status != SGATE_OK || who == store->primary)
		return status;
	return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation, 0,
	    "%.100s: it is not the server that was found to be the primary "
	    "there: it was started anew, perhaps",
	    store->peer);
}
