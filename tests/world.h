/*
 * A small world for tests of the manager: a directory of its own with a key
 * file and an SQLite store, a configuration, and a clock that the test sets.
 * With SESSGATE_TEST_MYSQL in the environment, the socket of a MariaDB with an
 * administrator without a password, the store is a database of its own there.
 * With SESSGATE_TEST_REDIS as well, a Redis of its own stands before it.
 * tests/it/mysql.py runs these tests so.
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include "manager.h"
#include "redis.h"

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)

struct world {
	char dir[64];
	struct sgate_conf *conf; /* change it before world_manager() */
	char database[64];       /* of MySQL, else "" */
	struct redis redis;      /* directory "" = none */
	struct stores stores;    /* of this host: all its managers share it */
	int64_t now_ms;
	struct sgate_manager *mgr; /* of world_start() */
	struct sgate_error err;    /* of the last call that was given it */
};

/* Directory, keys, configuration. idle 30 min, absolute 8 h, grace 10 s. */
void world_open(struct world *w);
/* Another manager of this world; ops NULL = SQLite. */
struct sgate_manager *world_manager(
    struct world *w, const struct durable_ops *ops);
/* world_open(), w->mgr and its schema. */
void world_start(struct world *w);
/* The same with more "section.name=value" strings, NULL-terminated. */
void world_open_with(struct world *w, const char *const *more);
void world_start_with(struct world *w, const char *const *more);
void world_close(struct world *w);
/* "sqlite" or "mysql". */
const char *world_store(void);
bool world_has_redis(void);
/* Who serves what Redis has: "redis", or without one world_store(). */
const char *world_cache(void);
/* How many rows MySQL went through for call(); SQLite does not tell: 0. */
uint64_t world_rows_read(struct world *w, void (*call)(void *arg), void *arg);
/* What is opened from now on finds no store. */
void world_lose_store(struct world *w);
/* Runs "CREATE TABLE ...", which no transaction of MySQL can hold. */
void world_make_table(struct world *w, const char *sql);

/*
 * A world with Redis has no keeper: it does one round at its start, and another
 * when it is told to, so that what is believed does not depend on time. Without
 * Redis these do nothing.
 */
void world_round(struct world *w);
/* Everything in it is gone: FLUSHALL. */
void world_flush_cache(struct world *w);
/* Writes its dump, and starts it again on that: what came since is lost. */
void world_save_cache(struct world *w);
void world_restore_cache(struct world *w);
/* It does not answer from now on. */
void world_pause_cache(struct world *w);
/* It goes on with what it had, and the keeper has seen it. */
void world_resume_cache(struct world *w);
/* Whether it has a session's record (redis.prefix, redis.database). */
bool world_has_copy(struct world *w, const struct sgate_ref *ref);
/* One byte of that record becomes another. */
void world_damage_copy(struct world *w, const struct sgate_ref *ref);
/* How often it was asked to look at everything: SCAN, KEYS, SORT. */
unsigned long world_cache_scans(struct world *w);

/* A created session and its token. */
struct made {
	struct sgate_session *session;
	char *token;
	struct sgate_ref ref;
};
/* user "" = anonymous. */
void world_create(struct world *w, const char *user, struct made *out);
void world_create_with(
    struct world *w, const struct sgate_create *create, struct made *out);
void made_clear(struct made *made);

/* SGATE_OK, or NOT_FOUND's reason; anything else fails the test. */
enum sgate_reason world_look(struct world *w, const char *token);
enum sgate_reason world_look_at(struct world *w, const struct sgate_ref *ref);
/* The row as it is in the store. Free it. */
struct sgate_session *world_row(struct world *w, const struct sgate_ref *ref);

/* How many audit rows; kind NULL and ref NULL do not filter. */
size_t world_audit(
    struct world *w, const char *kind, const struct sgate_ref *ref);

/* How many sessions of the user live. */
size_t world_count(struct world *w, const char *user);

void world_caller(struct sgate_manager *mgr, const char *realm);

/* status, with err's text when it is another than expected. */
#define assert_status(w, call, expected)                                       \
	do {                                                                   \
		enum sgate_status got_ = (call);                               \
		if (got_ != (expected))                                        \
			print_error("%s: %s\n", sgate_status_text(got_),       \
			    (w)->err.text);                                    \
		assert_int_equal(got_, expected);                              \
	} while (0)

#define assert_bytes(bytes, text)                                              \
	do {                                                                   \
		struct sgate_bytes got_ = (bytes);                             \
		if (!bytes_equal_text(got_, text))                             \
			print_error("got: %.*s\n", (int)got_.len, got_.data);  \
		assert_true(bytes_equal_text(got_, text));                     \
	} while (0)

#define B(text) bytes_of(text)

/* It has been open for long, and nobody has taken its probe. */
void world_probe_is_late(struct breaker *breaker);

#endif
