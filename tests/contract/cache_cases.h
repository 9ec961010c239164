/*
 * The cache contract: cases that run over every cache. A case gets two handles
 * on one empty data set, and what somebody else sees and changes of it.
 */
#ifndef TESTS_CACHE_CASES_H
#define TESTS_CACHE_CASES_H

#include "tap.h"

#include "buf.h"
#include "cache.h"
#include "record.h"

struct fixture {
	const struct cache_ops *ops;
	struct sgate_conf conf; /* its section redis alone */
	struct cache *a;
	struct cache *b;
	struct sgate_error err;
};

struct contract_case {
	const char *name;
	void (*run)(struct fixture *f);
};
/* Each ended by a case without a name. */
extern const struct contract_case put_cases[];   /* cache_put.c */
extern const struct contract_case group_cases[]; /* cache_groups.c */
extern const struct contract_case new_cases[];   /* cache_new.c */
extern const struct contract_case fake_cases[];  /* cache.c */
extern const struct contract_case wire_cases[];  /* cache_wire.c */
extern const struct contract_case redis_cases[]; /* cache_redis.c */

#define NONE ((struct sgate_bytes){NULL, 0})
#define MINUTE_MS INT64_C(60000)
#define GROUP 3

/* Both handles may work for so long from now on. */
void allow_ms(struct fixture *f, int64_t budget_ms);
/* A third handle, with 10 seconds; the caller closes it. */
struct cache *open_handle(struct fixture *f);

#define assert_status(f, expected, call)                                       \
	check_status(f, expected, call, #call, __FILE__, __LINE__)
#define assert_ok(f, call) assert_status(f, SGATE_OK, call)
void check_status(struct fixture *f, enum sgate_status expected,
    enum sgate_status got, const char *call, const char *file, int line);
#define assert_bytes(got, expected)                                            \
	check_bytes(got, expected, __FILE__, __LINE__)
void check_bytes(struct sgate_bytes got, struct sgate_bytes expected,
    const char *file, int line);
#define assert_err(f, word) assert_non_null(strstr((f)->err.text, word))

struct sgate_ref make_ref(unsigned group, unsigned number);
/* 'L' of epoch and version, last seen at seen_ms, and body. Borrowed for the
 * next thirty calls. */
struct sgate_bytes make_record(
    unsigned epoch, unsigned version, int64_t seen_ms, const char *body);
/* 'T' of that version, reason logged_out. Borrowed as above. */
struct sgate_bytes make_tombstone(unsigned epoch, unsigned version);
/* Of GROUP and the number, for ten minutes. */
struct cache_item make_item(unsigned number, struct sgate_bytes record);

/* On handle a. */
enum cache_put put(
    struct fixture *f, unsigned number, struct sgate_bytes record, uint64_t s0);
enum cache_put put_over(struct fixture *f, unsigned number,
    struct sgate_bytes record, uint64_t s0, struct sgate_bytes only_over);
void end(struct fixture *f, unsigned number, struct sgate_bytes tombstone);
void touch(struct fixture *f, unsigned number, int64_t seen_ms, int64_t ttl_ms);

/* ---- as somebody else: cache.c, for the cache that is tested ---- */

/* {NULL, 0}: none. Borrowed till the next call. */
struct sgate_bytes raw_record(const struct sgate_ref *ref);
int64_t raw_ttl(const struct sgate_ref *ref); /* -1: none there */
void raw_set(
    const struct sgate_ref *ref, struct sgate_bytes record, int64_t ttl_ms);
struct sgate_bytes raw_sync(unsigned group); /* {NULL, 0}: none */
void raw_set_sync(unsigned group, struct sgate_bytes sync);
/* Of GROUP. */
#define assert_record(number, expected)                                        \
	check_record(number, expected, __FILE__, __LINE__)
void check_record(
    unsigned number, struct sgate_bytes expected, const char *file, int line);
/* The time to live of GROUP's number, give or take a second. */
#define assert_ttl(number, ttl_ms) check_ttl(number, ttl_ms, __FILE__, __LINE__)
void check_ttl(unsigned number, int64_t ttl_ms, const char *file, int line);

#endif
