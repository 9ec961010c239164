/*
 * Inside of cache_redis*.c: a connection that is asked questions, and the
 * scripts. Nobody else includes this; cache.h is for everybody.
 *
 * A question is one or more commands, written at once and answered in their
 * order. cache_redis.c has the connection and nothing about sessions,
 * cache_redis_ops.c the questions, cache_redis_peek.c that for the beginning of
 * a record, cache_redis_sets.c those about users' sets,
 * cache_redis_scripts.c the scripts, cache_redis_sentinel.c where the server
 * is, cache_redis_doctor.c what may be wrong with it. cache_redis_tracking.c
 * speaks on connections of its own.
 */
#ifndef SESSGATE_CACHE_REDIS_H
#define SESSGATE_CACHE_REDIS_H

#include "buf.h"
#include "cache.h"

#define REDB_SOURCE "redis"

/* ---- scripts ---- */

struct redb_script {
	const char *text;
	const char *sha; /* SHA-1 of text, in hex; NULL: always sent as text */
};
/* What each does: at its text. They follow the failpoints. */
const struct redb_script *redb_script_put(void);
const struct redb_script *redb_script_end(void);
const struct redb_script *redb_script_touch(void);
const struct redb_script *redb_script_apply(void);
const struct redb_script *redb_script_create(void);
const struct redb_script *redb_script_land(void);
const struct redb_script *redb_script_unlanded(void);

/* ---- writing commands ---- */

/* The number of words of the command, then each word. */
void redb_add_command(struct buf *out, size_t words);
void redb_add_word(struct buf *out, struct sgate_bytes word);
void redb_add_number(struct buf *out, int64_t number);
/* PREFIX:{GROUP}:KIND and name behind it. */
void redb_add_key(struct buf *out, const struct cache *c, unsigned group,
    const char *kind, struct sgate_bytes name);
/* The key of a ref's record. */
void redb_add_record_key(
    struct buf *out, const struct cache *c, const struct sgate_ref *ref);
/*
 * The beginning of a script's command; keys and then arguments follow. By its
 * hash, or is_whole: as text, for a server that does not know the hash.
 */
void redb_add_script(struct buf *out, const struct redb_script *script,
    size_t keys, size_t arguments, bool is_whole);

/* ---- replies ---- */

enum redb_type {
	REDB_NOTHING, /* nil */
	REDB_TEXT,
	REDB_STATUS, /* +OK */
	REDB_INTEGER,
	REDB_ERROR
};

struct redb_value {
	enum redb_type type;
	struct sgate_bytes text; /* borrowed till the next reply */
	long long number;        /* of an integer */
};

#define REDB_VALUES_MAX TOKEN_GROUPS

struct redb_reply {
	bool is_list;
	size_t count; /* of values; 1 for what is no list */
	struct redb_value values[REDB_VALUES_MAX];
};

/* ---- questions ---- */

struct redb_question {
	const char *operation; /* for errors */
	size_t replies;        /* as many as there are commands, > 0 */
	/* Appends the commands; is_whole: see redb_add_script(). */
	void (*compose)(struct buf *out, void *arg, bool is_whole);
	/*
	 * A reply that is no error. False: it is of another kind than what was
	 * asked for, and the connection is given up.
	 */
	bool (*take)(void *arg, size_t index, const struct redb_reply *reply);
	void *arg;
};
/*
 * Ask, within the handle's deadline. SGATE_OK: every reply was taken. Else some
 * may have been taken: none of them counts. Borrowed texts of the last reply
 * stay till the next question.
 */
SGATE_MUST_CHECK enum sgate_status redb_ask(struct cache *c,
    const struct redb_question *question, struct sgate_error *err);

/* ---- handles ---- */

struct sentinels;

enum sgate_status redb_open(
    const struct sgate_conf *conf, struct cache **out, struct sgate_error *err);
void redb_close(struct cache *c);
/* What all keys begin with. */
const char *redb_prefix(const struct cache *c);

/* One to ask something else than for sessions; no I/O yet. user,
 * password_file: "" = none. */
SGATE_MUST_CHECK enum sgate_status redb_new(const char *user,
    const char *password_file, struct cache **out, struct sgate_error *err);
/* To that server from now on. */
void redb_move(struct cache *c, const struct place_address *to);
/*
 * Hands over the socket of the last question, non-blocking, connected and
 * logged in, for who goes on by himself: close() it. The handle is as it was
 * before it connected. -1: there is none.
 */
int redb_take_socket(struct cache *c);
/* For people: where it leads. */
const char *redb_peer(const struct cache *c);
/* Whether there is a local cache that has to hear from it. */
bool redb_has_listener(const struct cache *c);
/* NULL: it has an address of its own. */
struct sentinels *redb_sentinels(const struct cache *c);

/* ---- cache_redis_sentinel.c ---- */

SGATE_MUST_CHECK enum sgate_status sentinels_new(const struct sgate_conf *conf,
    struct sentinels **out, struct sgate_error *err);
void sentinels_free(struct sentinels *s);
/* struct cache_ops, locate */
enum sgate_status redb_locate(
    struct cache *c, struct place *at, struct sgate_error *err);
/* What each Sentinel says. */
void sentinels_examine(struct cache *c, finding_fn *fn, void *arg);

/* ---- cache_redis_sets.c ---- */

/* user: TOKEN_USER_BYTES. */
void redb_add_set_key(struct buf *out, const struct cache *c, unsigned group,
    const unsigned char *user);
/* struct cache_ops, unlanded and landed */
enum sgate_status redb_unlanded(struct cache *c, unsigned group,
    const unsigned char *user, uint64_t *cursor,
    struct sgate_ref out_refs[CACHE_UNLANDED_MAX], size_t *out_count,
    struct sgate_error *err);
enum sgate_status redb_landed(struct cache *c, unsigned group,
    const unsigned char *user, const struct sgate_ref *refs, size_t count,
    struct sgate_error *err);

/* ---- cache_redis_peek.c ---- */

/* struct cache_ops, peek */
enum sgate_status redb_peek(struct cache *c, const struct sgate_ref *ref,
    struct cache_copy *out, struct sgate_error *err);
/* The same, but that the record is not read whole where that is refused. */
SGATE_MUST_CHECK enum sgate_status redb_try_peeking(struct cache *c,
    const struct sgate_ref *ref, struct cache_copy *out,
    struct sgate_error *err);

/* ---- cache_redis_tracking.c ---- */

/* What the account may not do of what hearing and asking take: SGATE_OK, or the
 * server's refusal. The connection is another one after that. */
SGATE_MUST_CHECK enum sgate_status redb_try_listening(
    struct cache *c, struct sgate_error *err);

/* ---- cache_redis_doctor.c ---- */

/* struct cache_ops, examine */
enum sgate_status redb_examine(
    struct cache *c, finding_fn *fn, void *arg, struct sgate_error *err);

#endif
