/*
 * What the gateway and sessgatectl need of the manager beyond sessgate.h:
 * audit, service keys, keys, touches that somebody else writes. Not installed.
 */
#ifndef SESSGATE_SESSION_MANAGER_H
#define SESSGATE_SESSION_MANAGER_H

#include "cache.h"
#include "conf.h"
#include "durable.h"
#include "finding.h"
#include "keys.h"
#include "sessgate.h"
#include "stores.h"

/*
 * Where touches go. The gateway hands them to the keeper through shared
 * memory; without hooks the manager writes each by itself at once.
 *
 * put: false = no room, the manager then writes it itself. last_seen: what is
 * pending for a ref, 0 for nothing; asked before a row is judged idle-expired.
 */
struct manager_touch_hooks {
	bool (*put)(void *arg, const struct durable_touch *touch);
	int64_t (*last_seen)(void *arg, const struct sgate_ref *ref);
	/* Whether this host has noted the first use of a rotation's successor,
	 * and that was written: a copy does not tell. */
	bool (*is_marked)(void *arg, const struct sgate_ref *ref,
	    const unsigned char secret_hash[TOKEN_HASH_BYTES]);
	void *arg;
};
void manager_set_touch_hooks(
    struct sgate_manager *mgr, const struct manager_touch_hooks *hooks);

/* Own ops tables, for tests with the fake stores. NULL = by configuration. */
SGATE_MUST_CHECK enum sgate_status manager_new_with(
    const struct sgate_conf *conf, const struct sgate_options *options,
    const struct durable_ops *ops, const struct cache_ops *cache_ops,
    struct sgate_manager **out_mgr, struct sgate_error *err);

/*
 * Share what is known about the stores with the other processes of this host:
 * the keeper polls, this manager only reads. Without it a manager has its own
 * and polls by itself, at most once in fence.poll_interval, within a call.
 */
void manager_set_stores(struct sgate_manager *mgr, struct stores *stores);
/*
 * Behind that: where this process counts what it decides (STORES_COUNTERS
 * words), which nobody else writes. Without it that is stores->counts.
 */
void manager_set_counts(struct sgate_manager *mgr, _Atomic uint64_t *counts);
/*
 * The index of a worker: after an outage of a store they connect again one by
 * one.
 */
void manager_set_turn(struct sgate_manager *mgr, unsigned index);
const struct stores *manager_stores(const struct sgate_manager *mgr);

/*
 * The local cache that all processes of this host share, borrowed; NULL (a
 * library program): there is none. Who has it takes out of it what he changes.
 */
struct local;
void manager_set_local(struct sgate_manager *mgr, struct local *local);

/*
 * Where the workers of this host gather their creations, borrowed, and this
 * one's place there; NULL: each makes its own transactions.
 */
struct batch;
void manager_set_batch(
    struct sgate_manager *mgr, struct batch *batch, unsigned place);
/*
 * With such a place: gather(arg) is called before a creation is committed. It
 * may serve one more request, with this manager, within the call that runs;
 * false: there was none. What creates there is committed together with it.
 */
void manager_set_gather(
    struct sgate_manager *mgr, bool (*gather)(void *arg), void *arg);

/*
 * Who a token stands for: what a check needs of a session. Everything is
 * borrowed from the manager, until its next call.
 */
struct identity {
	struct sgate_ref ref;
	struct sgate_bytes user, roles, context, exports; /* as the session's */
	int64_t created_ms, auth_ms, absolute_ms;
	int64_t now_ms; /* it was judged at that moment */
	bool is_anonymous;
	const char *new_token; /* to be sent as the cookie; NULL: none */
	/* The whole but for its data; NULL: the local cache had it. */
	const struct sgate_session *session;
};
/*
 * As sgate_session_get() with SGATE_NO_DATA, but that the local cache may
 * answer (manager_served_by() is then "local").
 *
 * bound: what else the caller judges the session by (an address, a user agent),
 * LOCAL_BOUND_MAX bytes at most; what was remembered is found with the same
 * alone. manager_remember() lets the local cache have what was identified last,
 * when the caller has accepted it; in many cases there is nothing to remember.
 */
SGATE_MUST_CHECK enum sgate_status manager_identify(struct sgate_manager *mgr,
    struct sgate_bytes token, struct sgate_bytes bound, struct identity *out,
    struct sgate_error *err);
void manager_remember(struct sgate_manager *mgr);
/*
 * Only what the local cache answers of it: no caller need be set, the realm is
 * given instead. True: *out as above, and that was all. False says nothing:
 * ask manager_identify().
 */
SGATE_MUST_CHECK bool manager_recall(struct sgate_manager *mgr,
    struct sgate_bytes realm, struct sgate_bytes token,
    struct sgate_bytes bound, struct identity *out);
/*
 * The same in the caller's realm, for who only looks: it is no activity. *out
 * is new, to be shown and nothing else: ref, version, user, roles, context and
 * times; nothing else of the session is in it.
 */
SGATE_MUST_CHECK bool manager_glance(struct sgate_manager *mgr,
    struct sgate_bytes token, struct sgate_bytes bound,
    struct sgate_session **out);
bool identity_has_role(
    const struct identity *identity, struct sgate_bytes role);

/*
 * The keeper's round: poll MySQL, bring to Redis what is missing, raise the
 * fence (manager_fence.c). SGATE_OK also when there is no store to copy from
 * (SQLite); else the first failure, after which the round went on as far as it
 * could. It ends in about a second; what is left goes on in the next one.
 *
 * runtime_dir NULL: no file. beat (may be NULL) is called between its steps.
 * tell (may be NULL): what somebody must know; the same at most once a minute.
 */
struct manager_round {
	const char *runtime_dir;
	void (*beat)(void *arg);
	void (*tell)(void *arg, bool is_error, const char *text);
	void *arg;
};
SGATE_MUST_CHECK enum sgate_status manager_fence_round(
    struct sgate_manager *mgr, const struct manager_round *round,
    struct sgate_error *err);
/*
 * How often the rounds have found a store that may have lost what it had: the
 * first time that it is met, a durable store whose server has started anew or
 * is another one, a cache behind a new connection or with a sync that is
 * missing or has fallen. What the spool has is told again then (spool_again).
 */
struct manager_losses {
	uint64_t durable, cache;
};
void manager_losses(
    const struct sgate_manager *mgr, struct manager_losses *out);

/*
 * What the cache has lost, or has not heard of while it was away: all live
 * sessions, in pieces (manager_warm.c). Of a keeper: zeros are a good start.
 */
struct manager_warming {
	struct sgate_ref cursor;
	uint64_t losses; /* that this pass makes good; 0: none has begun */
};
/* Whether there is something to do, and both stores are there for it. */
bool manager_warm_is_due(const struct sgate_manager *mgr);
/* Up to limit (> 0) rows more, as far as the budget goes. What fails is done
 * again with the next call. */
SGATE_MUST_CHECK enum sgate_status manager_warm(struct sgate_manager *mgr,
    struct manager_warming *warming, size_t limit, struct sgate_error *err);
/* One host does it at a time: SGATE_DENIED when it is another's turn. */
SGATE_MUST_CHECK enum sgate_status manager_warmer_take(
    struct sgate_manager *mgr, const char *host, int64_t ttl_ms,
    struct sgate_error *err);
/* And then the next. */
SGATE_MUST_CHECK enum sgate_status manager_warmer_leave(
    struct sgate_manager *mgr, struct sgate_error *err);

/*
 * What the spool has (spool.h), for the keeper: up to MANAGER_SPOOL_BATCH
 * frames in any order. apply: into the durable store, each one's audit row, and
 * its effect where there still is something to end; publish: its tombstone into
 * the cache. Either may be first, and both may be repeated.
 *
 * out_done[i]: that store has frames[i]. SGATE_OK although some are not: the
 * store does not take these now, because they are of another durable store or
 * meet a damaged row; it is told of in err->text, and they are to be tried
 * again later. SGATE_UNAVAILABLE and the like: the store does not answer, and
 * the rest need not be tried now.
 */
#define MANAGER_SPOOL_BATCH 50
struct spool_frame;
SGATE_MUST_CHECK enum sgate_status manager_spool_apply(
    struct sgate_manager *mgr, const struct spool_frame *frames, size_t count,
    bool *out_done, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status manager_spool_publish(
    struct sgate_manager *mgr, const struct spool_frame *frames, size_t count,
    bool *out_done, struct sgate_error *err);

/*
 * This process's own spool, borrowed: what cannot be told to the durable store
 * is acknowledged when it is in there. NULL (a library program): there is none,
 * and such an event is SGATE_UNAVAILABLE.
 */
struct spool;
void manager_set_spool(struct sgate_manager *mgr, struct spool *spool);
/* Whether an end that was "unavailable" is in there, and comes true. */
bool manager_is_recorded(const struct sgate_error *err);

/*
 * Which server of each store is the primary, where that can change: for the
 * keeper, twice a second. It waits for redis.timeout and mysql.read_timeout
 * times a few. tell (may be NULL) hears of another primary; the answer is the
 * first failure, after which what was known stays.
 */
SGATE_MUST_CHECK enum sgate_status manager_locate(struct sgate_manager *mgr,
    const struct manager_round *round, struct sgate_error *err);

/*
 * What is right and wrong with the stores, for `sessgatectl doctor`: fn is told
 * each finding. SGATE_OK whatever was found; else the first store that does not
 * answer, which was told too.
 */
SGATE_MUST_CHECK enum sgate_status manager_examine(struct sgate_manager *mgr,
    finding_fn *fn, void *arg, struct sgate_error *err);

const struct keys *manager_keys(const struct sgate_manager *mgr);
/* The durable store's clock, UTC ms: what expiry is judged by. */
int64_t manager_now_ms(const struct sgate_manager *mgr);
/*
 * Which store answered the last call, a name of struct durable_ops or cache_ops
 * ("redis", "mysql", "sqlite"); "": none was asked, or none answered.
 */
const char *manager_served_by(const struct sgate_manager *mgr);
enum stores_server manager_server(const struct sgate_manager *mgr);
/*
 * Alarm counter: tokens of ours, right by their tag, that the row's secret
 * does not follow from. The row is older than the token: a restored dump, a
 * lost commit.
 */
uint64_t manager_rows_older(const struct sgate_manager *mgr);

/* db init, db check, ping and the like: opens the store when needed. */
SGATE_MUST_CHECK enum sgate_status manager_schema_init(
    struct sgate_manager *mgr, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status manager_schema_check(
    struct sgate_manager *mgr, struct sgate_error *err);
/*
 * db maintain, db restored. *out_is_needed: false where the store has no such
 * thing to do.
 */
SGATE_MUST_CHECK enum sgate_status manager_maintain(struct sgate_manager *mgr,
    bool *out_is_needed, unsigned *out_made, unsigned *out_dropped,
    struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status manager_restored(struct sgate_manager *mgr,
    bool *out_is_needed, unsigned *out_epoch, struct sgate_error *err);

/* filter->realm is replaced by the caller's realm. */
SGATE_MUST_CHECK enum sgate_status manager_audit_list(struct sgate_manager *mgr,
    const struct durable_audit_filter *filter, durable_audit_fn *fn, void *arg,
    struct sgate_error *err);
/*
 * What maintenance is in force in a realm, as this host knows it: for processes
 * without a manager, too. Mode UNKNOWN: it does not.
 */
void settings_tell_maintenance(const struct settings_shared *shared,
    const char *realm, int64_t now_ms, struct sgate_maintenance_state *out);
/* Whether maintenance holds back a session that was found in spite of it. */
bool manager_is_held(
    struct sgate_manager *mgr, const struct sgate_session *session);
/* Why a row that is live stands for no live session; SGATE_REASON_OK: it does.
 */
enum sgate_reason manager_why_gone(
    struct sgate_manager *mgr, const struct sgate_session *session);
/* A row whatever its state, in the caller's realm, for show and explain. */
SGATE_MUST_CHECK enum sgate_status manager_session_any(
    struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_session **out, struct sgate_error *err);

/* Touches that the keeper collected: any number, any order. */
SGATE_MUST_CHECK enum sgate_status manager_touch_write(
    struct sgate_manager *mgr, struct durable_touch *touches, size_t count,
    struct sgate_error *err);

/* The next piece of a count, some milliseconds long: struct durable_count. */
SGATE_MUST_CHECK enum sgate_status manager_count(struct sgate_manager *mgr,
    struct durable_count *count, bool *out_done, struct sgate_error *err);

/*
 * Service keys: "sgsk_" and 43 characters of base64url (32 random bytes); the
 * store holds SHA-256 of the text. check: SGATE_NOT_FOUND for unknown or
 * expired.
 */
#define MANAGER_SERVICE_KEY_LEN 48
SGATE_MUST_CHECK enum sgate_status manager_service_add(
    struct sgate_manager *mgr, const struct durable_service *svc,
    char out_key[MANAGER_SERVICE_KEY_LEN + 1], struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status manager_service_remove(
    struct sgate_manager *mgr, const char *name, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status manager_service_list(
    struct sgate_manager *mgr, durable_service_fn *fn, void *arg,
    struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status manager_service_check(
    struct sgate_manager *mgr, struct sgate_bytes key,
    struct durable_service *out, struct sgate_error *err);

/*
 * Announce this host: the lease row "host:NAME" with the key ids it has
 * loaded ("keys=1,2"), valid for ttl_ms; `key use` asks for these.
 */
SGATE_MUST_CHECK enum sgate_status manager_announce(struct sgate_manager *mgr,
    const char *host, int64_t ttl_ms, struct sgate_error *err);
/* SGATE_DENIED, err names a host that has not announced the key. */
SGATE_MUST_CHECK enum sgate_status manager_key_is_everywhere(
    struct sgate_manager *mgr, uint8_t key_id, struct sgate_error *err);
/* The reaper's election: SGATE_DENIED when another host has it. */
SGATE_MUST_CHECK enum sgate_status manager_reaper_take(
    struct sgate_manager *mgr, const char *host, int64_t ttl_ms,
    struct sgate_error *err);

#endif
