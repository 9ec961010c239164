/*
 * Inside the session manager: what its files share. Nobody else includes
 * this.
 *
 *   session_manager.c   make and free, the caller, the fallback table, rows
 *   manager_cache.c     every call of the cache: look, repair, publish, touch
 *   manager_look.c      token to live session: whom to believe, touches
 *   manager_identify.c  token to identity: from the local cache, or by a look
 *   manager_change.c    one change in one transaction; many that end in one
 *   manager_create.c    create
 *   manager_batch.c     creations and changes that are gathered
 *   manager_changes.c   changes of many calls in one transaction
 *   manager_away.c      created while the durable store is away, and landing
 *   manager_edit.c      update, extend, rotate
 *   manager_end.c       end of one session, also while the durable store is
 *                       away
 *   manager_input.c     checks of what callers give
 *   manager_fence.c     the round: poll, bring to the cache, raise the fence
 *   manager_bring.c     what a round brings (manager_round.h)
 *   manager_settings.c  maintenance and flush
 *   manager_user.c      a user's sessions: list, cleanup, block
 *   manager_spool.c     what the spool has, to both stores
 *   manager_local.c     taking out of the local cache what has changed
 *   manager_warm.c      what Redis has lost, from MySQL
 *   manager_care.c      reap, touches, stats, health, leases, schema, audit
 *   manager_restored.c  after a dump was loaded: the cache follows
 *   manager_service.c   service keys
 *   manager_db.c        the caller's own statements
 */
#ifndef SESSGATE_MANAGER_H
#define SESSGATE_MANAGER_H

#include <stdbool.h>
#include <sys/types.h>

#include "data.h"
#include "local.h"
#include "session_manager.h"

/* How far a presented secret is hashed forward to prove a theft. */
#define MANAGER_THEFT_STEPS 10000
/* How long a repeated create answers as the first did. */
#define MANAGER_IDEMPOTENCY_MS (INT64_C(24) * 60 * 60 * 1000)
/* A budget beyond this is cut to it: sums with clocks must not overflow. */
#define MANAGER_BUDGET_MAX_MS (INT64_C(24) * 60 * 60 * 1000)
/* A look may wait this long for the touch that it writes by itself. */
#define MANAGER_TOUCH_WAIT_MS 100
/* Rows in one transaction of a touch batch: durable.h. */
#define MANAGER_TOUCH_BATCH 100
/* Idle-expired rows are ended when both stores have been up for this long, */
#define MANAGER_REAP_UP_MS 10000
/* and so long after their deadline: hosts hold touches back for seconds. */
#define MANAGER_REAP_LATE_MS 10000
/* Likewise a look counts an idle time this much longer where other hosts may
 * have seen the session: keepers write activity every second, in rounds of two
 * at most, and an answer may be five seconds late besides idle/10 (H7). */
#define MANAGER_SEEN_LATE_MS 4000
/* After an outage processes connect again one by one: so long after each other,
 * and all of them within the second number. */
#define MANAGER_TURN_MS 5
#define MANAGER_TURNS_MS 250
/* Sessions that one transaction of a cleanup ends. */
#define MANAGER_CLEANUP_CHUNK 1000
/* The longest list of a user's sessions. */
#define MANAGER_LIST_MAX 1000

/* First uses of successors that a manager without hooks remembers. */
#define MANAGER_MARKS 64
struct manager_mark {
	struct sgate_ref ref;
	unsigned char secret_hash[TOKEN_HASH_BYTES];
};

/*
 * What manager_fence_round() remembers of the round before: how far a group's
 * rows have come when they are more than one round takes, and what was told.
 */
#define FENCE_NEWS 9
struct fence_group_work {
	char part[CACHE_SYNC_MAX + 1]; /* sync while an APPLY of many parts
					* runs; "" = none does */
	bool is_ours;                  /* we wrote it */
	struct fence_sync old;         /* what sync was before */
	char nonce[17];
	unsigned parts;         /* brought */
	uint64_t after;         /* number of the last row that was brought */
	unsigned failed_rounds; /* in a row: the rows could not be read */
};
struct fence_work {
	struct fence_group_work groups[TOKEN_GROUPS];
	unsigned first;     /* the group that the next round begins with */
	int64_t file_at_ms; /* monotonic: when the file is due for the disk */
	int64_t told_ms[FENCE_NEWS]; /* monotonic; 0 = never */
	bool is_clock_apart;         /* told, until they agree again */
	/* What the stores were by the last round, to see that they may have
	 * lost something. */
	char ident[33];
	uint64_t connections;
	uint64_t marks[TOKEN_GROUPS]; /* of sync */
	bool has_marks;
	struct manager_losses losses;
	bool was_polled;          /* MySQL has answered the last round */
	unsigned settings_failed; /* rounds in a row that could not read them */
	uint64_t settings_filed;  /* their number in the fence's file */
	uint64_t newer_told;      /* STORES_NEWER_COPIES */
	uint64_t blocked_turn; /* of the list of blocked users, as it was found
				* when that was written last */
};

/* What manager_identify() found last: what its answer points to. */
struct identified {
	struct local_entry entry;      /* of a hit */
	int64_t now_ms;                /* when it was judged */
	struct sgate_session *session; /* of a look; NULL: a hit, or nothing */
	unsigned char key[LOCAL_KEY_BYTES];
	struct local_ticket ticket;
	bool may_be_kept;
	bool is_shown; /* manager_glance(): that is no activity */
	/* The local cache has it, and it is flushed or held back: no store
	 * needs to be asked. SGATE_OK: that is not so. */
	enum sgate_status refused;
	struct sgate_error why;
};

/* What a keeper's rounds have taken out of the local cache. */
struct local_work {
	bool has_begun;               /* everything that was there before */
	unsigned char store_id[16];   /* of which database this is */
	uint64_t marks[TOKEN_GROUPS]; /* all changes up to there */
};

/* What is the running call's; another may be served within it. */
struct manager_call {
	int64_t deadline_ms; /* monotonic */
	int64_t budget_ms;
	bool is_probing;     /* takes a probe that is due */
	bool is_let;         /* breakers are passed over */
	bool is_durable_let; /* its breaker has let this call through */
	/* How often the durable store was asked and did not answer, since it
	 * answered, and when that began, monotonic: away_is_now(). */
	unsigned durable_losses;
	int64_t durable_lost_ms;
	/* Monotonic, when a question was asked whose answer should be quick; 0:
	 * none was. */
	int64_t durable_asked_ms, cache_asked_ms;
	/* The caller. */
	char realm[SESSION_REALM_MAX + 1];
	char actor[65];
	unsigned char client_ip[16];
	size_t client_ip_len;
};

struct sgate_manager {
	struct manager_call call;
	struct sgate_conf *conf;
	struct keys *keys;
	const struct durable_ops *ops;
	struct durable *durable;           /* NULL until a call needs it */
	const struct cache_ops *cache_ops; /* NULL: no cache */
	struct cache *cache;               /* NULL until a call needs it */
	unsigned peeks; /* how many looks that need no data are to peek */
	int64_t no_peek_before_ms; /* monotonic: it was refused */
	struct stores *stores;     /* own_stores, unless manager_set_stores() */
	struct stores own_stores;
	/* stores->counts, unless manager_set_counts(). */
	_Atomic uint64_t *counts;
	int64_t turn_ms; /* manager_set_turn() */
	/* Its last answer: it could not be reached, rather than it refused. */
	bool is_durable_away;
	bool is_durable_busy; /* or: others have the lock (durable.h) */
	/* Generations of the breakers when the handles were opened. */
	uint32_t durable_generation, cache_generation;
	uint64_t cache_connections; /* of the handles before */
	int64_t kept_waiting_us; /* clock_kept_waiting_us(), when last read */
	int64_t round_after_ms;  /* monotonic: when a round is due that this
				  * manager does by itself */
	struct fence_work fence_work;
	int64_t (*clock)(void *arg);
	void *clock_arg;
	struct manager_touch_hooks hooks;
	struct spool *spool; /* borrowed; NULL: there is none */

	/* Event ids: 48 bit ms | host 16 | this manager 32 | counter 32. */
	unsigned forks; /* whose store handle and event ids these are */
	char host[65];
	unsigned char event_host[2];
	unsigned char event_manager[4];
	uint32_t event_count;
	int64_t event_ms;

	enum stores_server served_by; /* the last call */
	struct local *local;          /* borrowed; NULL: there is none */
	struct local_hash local_hash; /* with local: by this manager's keys */
	struct batch *batch;          /* the same */
	unsigned batch_place;
	bool (*gather)(void *arg); /* manager_set_gather() */
	void *gather_arg;
	struct gathered *gathered; /* of calls that have begun */
	unsigned gathered_count;
	/* Monotonic: until when others may take time that are served within a
	 * creation; 0: none are. */
	int64_t inner_until_ms;
	struct identified identified;
	struct local_work local_work;

	/* First uses that are written: where no hooks remember them. */
	struct manager_mark marks[MANAGER_MARKS];

	/* The reaper's pass over all rows, and what it began with: UTC. */
	struct sgate_ref reap_cursor;
	int64_t reap_pass_ms;   /* 0: no pass has begun */
	int64_t reap_passed_ms; /* of the last whole pass; 0: none yet */
};

/* ---- session_manager.c ---- */

/*
 * Begins a public call: clears err, sets the deadline, lets go of what came
 * through fork(). A manager that no keeper polls for does its round first, when
 * one is due.
 */
void manager_begin(struct sgate_manager *mgr, struct sgate_error *err);
/*
 * The same for the round, for health and for who sets up: until the next
 * manager_begin() open breakers are passed over.
 */
void manager_begin_let(struct sgate_manager *mgr, struct sgate_error *err);
/*
 * Before the durable store is asked, any number of times within a call: opens
 * it if it is not open in this process. SGATE_UNAVAILABLE at once while its
 * breaker is open.
 */
SGATE_MUST_CHECK enum sgate_status manager_need_durable(
    struct sgate_manager *mgr, struct sgate_error *err);
/* A handle on the durable store: the caller's own. */
SGATE_MUST_CHECK enum sgate_status manager_open(
    struct sgate_manager *mgr, struct durable **out, struct sgate_error *err);
/* Begins a transaction on such a handle; manager_need_durable() was before. */
SGATE_MUST_CHECK enum sgate_status manager_begin_in(
    struct sgate_manager *mgr, struct durable *d, struct sgate_error *err);
/* Begins a public call that needs the durable store: both of them. */
SGATE_MUST_CHECK enum sgate_status manager_enter(
    struct sgate_manager *mgr, struct sgate_error *err);
/*
 * What an answer of the store means to the caller: the table "Fallback".
 * manager_read() for what only looks, manager_write() within a change.
 */
SGATE_MUST_CHECK enum sgate_status manager_read(struct sgate_manager *mgr,
    enum sgate_status answer, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status manager_write(struct sgate_manager *mgr,
    enum sgate_status answer, struct sgate_error *err);
/* Before a question to the durable store that is answered at once if it is
 * well: its answer counts for how slow that is. */
void manager_time_durable(struct sgate_manager *mgr);
bool manager_has_time(const struct sgate_manager *mgr);
/* Whether manager_now_ms() is the database's clock, not this host's own. */
bool manager_knows_time(const struct sgate_manager *mgr);
/* manager_now_ms() of a clock_boot_ms() that was read already. */
int64_t manager_now_at(const struct sgate_manager *mgr, int64_t now_boot_ms);
/* Whether it does rounds by itself: no keeper ever does them for it. */
bool manager_is_alone(const struct sgate_manager *mgr);
/* Whether it takes probes that are due: in the round, or where it is alone. */
bool manager_is_prober(const struct sgate_manager *mgr);
/* Within which three failures open a breaker: as long as two rounds in which
 * both stores hang, a second with the usual time-outs. */
int64_t manager_window_ms(const struct sgate_manager *mgr);
/* Whether an answer counts for the breaker of its store. */
bool manager_tells(
    const struct sgate_manager *mgr, const struct breaker *breaker);
/*
 * How an answer came that took took_ms, of a store that may take limit_ms;
 * other: the breaker of the other one, NULL where there is none. Slow is half
 * of the limit, where there is another place to look and this process was not
 * kept waiting for its processor.
 */
enum breaker_pace manager_pace(struct sgate_manager *mgr, int64_t took_ms,
    int64_t limit_ms, const struct breaker *other);
struct sgate_bytes manager_realm(const struct sgate_manager *mgr);

/* The row of a ref in the caller's realm, whatever its state. out_at: NULL, or
 * what session_get tells beside the row. */
SGATE_MUST_CHECK enum sgate_status manager_read_ref(struct sgate_manager *mgr,
    const struct sgate_ref *ref, unsigned durable_flags,
    struct sgate_session **out, struct durable_snapshot *out_at,
    struct sgate_error *err);
/*
 * The same outside of a transaction: one that was created while the durable
 * store was away is brought there first. SGATE_UNAVAILABLE also: it may be on
 * its way there.
 */
SGATE_MUST_CHECK enum sgate_status manager_find_ref(struct sgate_manager *mgr,
    const struct sgate_ref *ref, unsigned durable_flags,
    struct sgate_session **out, struct durable_snapshot *out_at,
    struct sgate_error *err);
/*
 * A row: SGATE_OK, or SGATE_NOT_FOUND with the reason: ended or expired. A
 * touch that somebody has not written yet counts, and before the row alone
 * says "idle" the cache's copy is asked for a later last_seen, which the
 * session then has. Without that: _known.
 */
SGATE_MUST_CHECK enum sgate_status manager_judge(struct sgate_manager *mgr,
    struct sgate_session *session, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status manager_judge_known(
    struct sgate_manager *mgr, const struct sgate_session *session,
    struct sgate_error *err);
/* Why a live row's session is not live: it has expired, or is flushed. */
enum sgate_reason manager_gone(struct sgate_manager *mgr,
    const struct sgate_session *session, int64_t now_ms);
/* The same for expiry alone. */
enum sgate_reason manager_expiry(struct sgate_manager *mgr,
    const struct sgate_session *session, int64_t now_ms);

/* A token as received: SGATE_OK, or SGATE_NOT_FOUND with the reason. */
SGATE_MUST_CHECK enum sgate_status manager_read_token(struct sgate_manager *mgr,
    struct sgate_bytes text, struct token *out, struct sgate_error *err);

/* ---- manager_cache.c ---- */

/*
 * Whether the durable store has had the time to get from every host's spool
 * what was ended while it was away. Until then a row alone, without a look at
 * the cache, which has the tombstone, is not enough to call a session live.
 */
bool manager_rows_have_ends(const struct sgate_manager *mgr);

/*
 * Before each call of the cache: opens it if it is not open in this process,
 * and sets its deadline: redis.timeout from now, but (is_in_budget) not past
 * the call's own. SGATE_UNAVAILABLE: there is none, or its breaker is open.
 */
SGATE_MUST_CHECK enum sgate_status manager_cache_enter(
    struct sgate_manager *mgr, bool is_in_budget, struct sgate_error *err);
/* Opens it if it is not open in this process. */
SGATE_MUST_CHECK enum sgate_status manager_cache_open(
    struct sgate_manager *mgr, struct sgate_error *err);
/* After each: tells breaker and counters of the answer, and returns it. err is
 * that of the answer, not NULL. */
SGATE_MUST_CHECK enum sgate_status manager_cache_left(struct sgate_manager *mgr,
    enum sgate_status answer, const struct sgate_error *err);

struct endings;

/* What the cache has under a ref. All zeros: nothing, or it was not asked. */
struct cached {
	enum sgate_reason ended;       /* of a tombstone, else OK */
	uint64_t ended_realm;          /* record_realm(), 0: not known */
	struct sgate_session *session; /* a well-sealed copy, else NULL */
	bool is_new; /* it is 'U': the durable store may not have it yet */
	struct record_birth birth;
	enum fence_trust trust;    /* how far the copy, or one that is made now,
				    * counts */
	struct record_store store; /* what a copy must be sealed for */
	uint64_t sync;             /* the group's number in the cache */
	struct buf unsealed;       /* the bytes of a copy with a wrong seal */
};
/*
 * SGATE_OK, SGATE_UNAVAILABLE (no answer, or there is no cache), NO_MEMORY.
 * cached_clear() in every case.
 */
SGATE_MUST_CHECK enum sgate_status cached_get(struct sgate_manager *mgr,
    const struct sgate_ref *ref, struct cached *out, struct sgate_error *err);
/* The same, for who needs no data: a copy may be without. */
SGATE_MUST_CHECK enum sgate_status cached_peek(struct sgate_manager *mgr,
    const struct sgate_ref *ref, struct cached *out, struct sgate_error *err);
/* The same when the durable store may have used up the call's budget. */
SGATE_MUST_CHECK enum sgate_status cached_get_late(struct sgate_manager *mgr,
    const struct sgate_ref *ref, struct cached *out, struct sgate_error *err);
void cached_clear(struct cached *cached);
/* Raises the row's last_seen to that of a well-sealed copy, if there is one. */
void cached_seen(struct sgate_manager *mgr, struct sgate_session *session);

struct put_result {
	enum cache_put answer;
	enum sgate_reason ended; /* with CACHE_PUT_ENDED */
	bool has_tombstones;     /* a publication's: all that it had */
};
/*
 * Puts a live row, read at `at`, whole, into the cache. unsealed (may be NULL):
 * the bytes of cached_get(). Anything but SGATE_OK: it is not known to be
 * there.
 */
SGATE_MUST_CHECK enum sgate_status cached_put(struct sgate_manager *mgr,
    const struct sgate_session *session, const struct durable_snapshot *at,
    const struct buf *unsealed, struct put_result *out,
    struct sgate_error *err);
/*
 * The cache's operations of those names. user: NULL, or TOKEN_USER_BYTES.
 * is_in_budget: not past the call's own deadline, and (create) it is told again
 * and need not be on redis.replicas.
 */
SGATE_MUST_CHECK enum sgate_status cached_create(struct sgate_manager *mgr,
    const struct cache_item *item, uint64_t s0, const unsigned char *user,
    int64_t set_ttl_ms, bool is_in_budget, struct put_result *out,
    struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status cached_land(struct sgate_manager *mgr,
    const struct cache_item *item, const unsigned char *user,
    struct put_result *out, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status cached_unlanded(struct sgate_manager *mgr,
    struct sgate_bytes user, uint64_t *cursor,
    struct sgate_ref out_refs[CACHE_UNLANDED_MAX], size_t *out_count,
    struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status cached_landed(struct sgate_manager *mgr,
    struct sgate_bytes user, const struct sgate_ref *refs, size_t count,
    struct sgate_error *err);
/*
 * Sessions of one transaction, in one question, within the cache's time-out:
 * what became of each is in it. False: they are not known to be there.
 */
bool cached_put_many(
    struct sgate_manager *mgr, struct cache_putting *puts, size_t count);
/* Of one that has ended there; never OK. */
enum sgate_reason cached_tombstone_reason(const struct cache_putting *put);
/* The same with what was read and written before: a record and its counter. */
SGATE_MUST_CHECK enum sgate_status cached_put_item(struct sgate_manager *mgr,
    const struct cache_item *item, uint64_t s0, struct put_result *out,
    struct sgate_error *err);
/* Of up to MANAGER_TOUCH_BATCH touches what concerns copies. */
bool cached_touch(struct sgate_manager *mgr,
    const struct durable_touch *touches, size_t count);

/*
 * What a change has to tell the cache when it is committed. It is made before
 * the commit, so that what was done does not fail for want of memory; {0} is an
 * empty one.
 */
struct publication {
	struct durable_snapshot at;
	struct buf record;      /* of the live session */
	struct cache_item live; /* record.len 0: none */
	struct buf tombstone_bytes;
	struct cache_item *tombstones;
	size_t tombstones_count;
};
SGATE_MUST_CHECK enum sgate_status publication_make(struct sgate_manager *mgr,
    const struct durable_snapshot *at, const struct sgate_session *live,
    const struct endings *endings, struct publication *out,
    struct sgate_error *err);
/* Each store's time-out at most. out: of the live session; OK: or not known.
 * False: the cache may not have all of it. */
bool publication_send(struct sgate_manager *mgr,
    const struct publication *publication, struct put_result *out);
void publication_clear(struct publication *publication);

/* ---- manager_fence.c: the round is in session_manager.h ---- */

/* Within a call, when it is not known what time it is in the database. */
SGATE_MUST_CHECK enum sgate_status manager_learn_clock(
    struct sgate_manager *mgr, struct sgate_error *err);

/* ---- manager_local.c ---- */

/*
 * Whoever has changed or ended a session, or may have, before he answers, and
 * after he has told the cache, or has tried to.
 */
void manager_drop(struct sgate_manager *mgr, const struct sgate_ref *ref);
/*
 * In a round, when MySQL has answered and before anything rises: a keeper that
 * has just started, or another database, finds nothing there.
 */
void local_work_begin(
    struct sgate_manager *mgr, const struct durable_poll *poll);
/*
 * In a round, when `known` has risen: the rows of a group that have changed, up
 * to what was polled; or everything, if they are too many, or cannot be read
 * (can_read: it is worth trying). Then the moment of that round is `heard`.
 */
void local_work_group(struct sgate_manager *mgr, unsigned group,
    const struct durable_poll *poll, int64_t began_boot_ms, bool can_read);
/* The round where the durable store is never copied, and this is all of it. */
SGATE_MUST_CHECK enum sgate_status local_work_alone(
    struct sgate_manager *mgr, struct sgate_error *err);

/* ---- manager_look.c ---- */

/* What a good token showed. */
struct look {
	struct token token;
	unsigned char hash[TOKEN_HASH_BYTES]; /* of its secret */
	enum session_secret secret;           /* CURRENT or GRACE */
	struct sgate_session *session; /* live; new_token set when in GRACE */
	bool is_copy;                  /* of the cache: it tells no first use */
	bool is_blind; /* a copy, because the durable store could not answer */
	bool is_new;   /* a copy of what the durable store may not have yet */
};
/*
 * Token to live session: the table at the top of manager_look.c, and that of
 * "Rotation" in lib/README.md but for its rotations. Writes no touch. flags:
 * those of sgate_session_get(); LOOK_AT_ROW: no copy is enough.
 * SGATE_NOT_FOUND: err->reason. A proven theft has ended the session.
 * look_clear() in every case.
 */
#define LOOK_AT_ROW 0x10000u
SGATE_MUST_CHECK enum sgate_status look_up(struct sgate_manager *mgr,
    struct sgate_bytes text, unsigned flags, struct look *out,
    struct sgate_error *err);
void look_clear(struct look *look);
/*
 * Whether what was found may be remembered: the current secret, of a session
 * that the durable store has, and of which nothing but activity is to be noted
 * with the next look.
 */
bool look_is_settled(struct sgate_manager *mgr, const struct look *look);
/* Activity, if it is worth writing, and the first use of a successor. */
void look_touch(struct sgate_manager *mgr, struct look *look, unsigned flags);
/*
 * What look_touch() writes: is_activity, and the first use if this is one.
 * False: nothing.
 */
bool look_touch_make(struct sgate_manager *mgr, const struct look *look,
    bool is_activity, struct durable_touch *out);
/* That the durable store has it. */
void look_touch_written(struct sgate_manager *mgr, struct look *look,
    const struct durable_touch *touch);

/* ---- manager_change.c ---- */

/* Fill in an audit row: event id, moment, host, caller. */
void audit_init(struct durable_audit *audit, struct sgate_manager *mgr,
    const char *kind, enum sgate_reason reason);
void audit_about(
    struct durable_audit *audit, const struct sgate_session *session);

/*
 * One change in one transaction.
 *
 * change_run() inserts `audit` first: its event id is the key that makes the
 * change happen once, whatever becomes of a commit's answer. Then apply()
 * makes the change, in the order of locks: idempotency, user, session
 * rows by ascending ref, counters by ascending group. It may run twice: what
 * it leaves for its caller it sets anew each time.
 */
struct change {
	struct sgate_manager *mgr;
	struct durable_audit audit;
	/* No key is needed: doing it twice does no harm. */
	bool is_repeatable;
	/* apply() inserts `audit` as well, and sets `at`; its SGATE_CONFLICT is
	 * that of the audit row. */
	bool is_whole;
	/* apply() is called once at most: what is not surely done then is not
	 * tried again. */
	bool is_once;
	/* Somebody else may have done this very event: then it is SGATE_OK, and
	 * nothing is changed. */
	bool may_be_done;
	enum sgate_status (*apply)(
	    struct change *change, struct sgate_error *err);
	void *arg;
	/* Tells the cache, in the place of `publication`; NULL: that does. */
	void (*publish)(struct change *change);
	/* Set by apply: there was nothing to change; roll back, SGATE_OK. */
	bool is_void;
	/* Set by apply, borrowed till change_run() ends: what is created or
	 * changed, and what ends (endings_store() sets that). */
	const struct sgate_session *live;
	const struct endings *endings;
	/* Of the live session, with is_whole. */
	struct durable_snapshot at;
	/* apply() has gone through once, so its results are there. */
	bool was_applied;
	/* What the cache is told, and what it said of the live session. */
	struct publication publication;
	struct put_result put;
};
void change_init(struct change *change, struct sgate_manager *mgr,
    const char *kind, enum sgate_reason reason,
    enum sgate_status (*apply)(struct change *change, struct sgate_error *err),
    void *arg);
/*
 * SGATE_NOT_FOUND also when it was committed and the cache says that the
 * session had ended by then.
 */
/* The cache could not be told what became of a session, whose row has the
 * number of that change: this host believes no copy that is older. */
void change_untold(struct sgate_manager *mgr, const struct durable_snapshot *at,
    const struct sgate_session *session);
SGATE_MUST_CHECK enum sgate_status change_run(
    struct change *change, struct sgate_error *err);
/* Within apply: the row, locked and judged live. */
SGATE_MUST_CHECK enum sgate_status change_lock(struct change *change,
    const struct sgate_ref *ref, struct sgate_session **out,
    struct sgate_error *err);
/* Within apply: version + 1, the group's next number, store. */
SGATE_MUST_CHECK enum sgate_status change_store(struct change *change,
    struct sgate_session *session, struct sgate_error *err);

/*
 * Sessions that end in one transaction. reason SGATE_REASON_OK: only if the
 * row has expired, and for that reason.
 */
struct ending {
	struct sgate_ref ref;
	enum sgate_reason reason;
	bool is_if_expired;
	int64_t ended_ms; /* 0: now */
	/* What is made where there is no row, as ended as it will be; NULL:
	 * nothing is. */
	struct sgate_session *absent;
	/* The ref was not read in a row: where there is one, of another user
	 * or realm than `absent`, it is left alone. */
	bool is_of_user;
	struct sgate_session *session; /* locked and to be ended, else NULL */
};
struct endings {
	struct ending *items;
	size_t count, size;
};
SGATE_MUST_CHECK enum sgate_status endings_add(struct endings *endings,
    const struct sgate_ref *ref, enum sgate_reason reason,
    struct sgate_error *err);
bool endings_have(const struct endings *endings, const struct sgate_ref *ref);
void endings_sort(struct endings *endings);
SGATE_MUST_CHECK enum sgate_status endings_lock(struct sgate_manager *mgr,
    struct endings *endings, size_t index, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status endings_lock_all(struct sgate_manager *mgr,
    struct endings *endings, struct sgate_error *err);
/*
 * Audit rows (has_audit: the change's own row is the one), numbers, rows.
 * *out_count: rows changed.
 */
SGATE_MUST_CHECK enum sgate_status endings_store(struct change *change,
    struct endings *endings, bool has_audit, uint64_t *out_count,
    struct sgate_error *err);
/* The same without audit rows, and without a change that would tell the cache.
 */
SGATE_MUST_CHECK enum sgate_status endings_write(struct sgate_manager *mgr,
    struct endings *endings, uint64_t *out_count, struct sgate_error *err);
/* Forgets the items; endings_clear() frees as well. */
/* The row of one that has ended, but for version and number. */
SGATE_MUST_CHECK enum sgate_status ending_mark(struct sgate_session *session,
    enum sgate_reason reason, int64_t ended_ms, struct sgate_error *err);
void endings_reset(struct endings *endings);
void endings_clear(struct endings *endings);

/* ---- manager_batch.c ---- */

/*
 * Create with others' creations in one transaction. *out_is_alone: that could
 * not be, and surely did not happen. Else as change_run() and its put.
 */
SGATE_MUST_CHECK enum sgate_status batched_create(struct sgate_manager *mgr,
    const struct sgate_session *session, const struct durable_audit *audit,
    struct put_result *out_put, bool *out_is_alone, struct sgate_error *err);

/* ---- manager_changes.c ---- */

/*
 * A change of one session that may be committed with others. edit: on the row,
 * which is locked, live and of the caller's realm; it may set state and reason
 * of an end. Anything but SGATE_OK: the change goes by itself.
 */
typedef enum sgate_status joint_edit_fn(struct sgate_manager *mgr, void *arg,
    struct sgate_session *session, struct sgate_error *err);
struct joint {
	struct sgate_ref ref;
	char realm[SESSION_REALM_MAX + 1];
	struct durable_audit audit; /* joints_commit() says whose it is */
	joint_edit_fn *edit;
	void *arg;
	/* What became of it; is_alone: nothing, surely. */
	bool is_alone;
	enum sgate_status status;
	struct sgate_error err;
	struct sgate_session *session; /* as it is now, with SGATE_OK */
	struct put_result put;
};
void joint_init(struct joint *joint, struct sgate_manager *mgr,
    const char *kind, const struct sgate_ref *ref, enum sgate_reason reason,
    joint_edit_fn *edit_fn, void *arg);
void joint_clear(struct joint *joint);
/* All in one transaction. */
void joints_commit(
    struct sgate_manager *mgr, struct joint **items, size_t items_count);
/* Of one that did not go alone: as change_run(). */
SGATE_MUST_CHECK enum sgate_status joint_result(struct sgate_manager *mgr,
    const struct joint *joint, struct sgate_error *err);
/* With others that are served within this call, and nobody else's. */
void batched_change(struct sgate_manager *mgr, struct joint *joint);

/* ---- manager_settings.c ---- */

/*
 * In a round, or when somebody else has polled: these are read if they are
 * others than before. keep (may be NULL) has them before they are in force.
 */
SGATE_MUST_CHECK enum sgate_status settings_round(struct sgate_manager *mgr,
    const struct durable_poll *poll, int64_t began_boot_ms,
    void (*keep)(void *arg, const struct settings *settings), void *arg,
    struct sgate_error *err);
/* Within a call: SGATE_OK: they are known; must_be_young: and were polled a
 * moment ago. Else the durable store is asked. */
SGATE_MUST_CHECK enum sgate_status settings_need(
    struct sgate_manager *mgr, bool must_be_young, struct sgate_error *err);
/*
 * A session that was found live: SGATE_OK; SGATE_NOT_FOUND, flushed;
 * SGATE_UNAVAILABLE: held back by maintenance (is_held: that is asked), or
 * nobody knows. is_row: it was the durable store's answer that was believed.
 */
SGATE_MUST_CHECK enum sgate_status settings_judge(struct sgate_manager *mgr,
    const struct sgate_session *session, bool is_row, bool is_held,
    struct sgate_error *err);
/* The same of one that stands elsewhere, by what is known. */
SGATE_MUST_CHECK enum sgate_status settings_judge_of(struct sgate_manager *mgr,
    const char *realm, struct sgate_bytes roles, int64_t created_ms,
    bool is_held, int64_t now_ms, struct sgate_error *err);
/* Before it is created, and before its ref is made: see settings_date(). */
SGATE_MUST_CHECK enum sgate_status settings_judge_new(struct sgate_manager *mgr,
    struct sgate_session *session, struct sgate_error *err);
/* Whether it is flushed, as far as is known. */
bool settings_are_against(
    const struct sgate_manager *mgr, const struct sgate_session *session);
/* Sessions that were created before: any of them may be flushed, all are. */
void settings_flushed_before(
    const struct sgate_manager *mgr, int64_t *out_any_ms, int64_t *out_all_ms);

/* ---- manager_end.c ---- */

/*
 * End one session that was read before, at `at`: SGATE_OK also when somebody
 * else was first. The cache is told in either case.
 */
SGATE_MUST_CHECK enum sgate_status change_end(struct sgate_manager *mgr,
    const struct sgate_session *session, const struct durable_snapshot *at,
    enum sgate_reason reason, struct sgate_error *err);

/*
 * The durable store has not answered: a synced frame, and the tombstone.
 * SGATE_UNAVAILABLE: manager_is_recorded() says whether it comes true.
 */
SGATE_MUST_CHECK enum sgate_status manager_end_away(struct sgate_manager *mgr,
    const struct sgate_session *session, enum sgate_reason reason,
    struct sgate_error *err);

/* ---- manager_spool.c: shipping is in session_manager.h ---- */

/*
 * Writes a frame to the spool, as spool_append(). A frame without a store id is
 * for the database that this host has polled last. SGATE_UNAVAILABLE also when
 * there is no spool.
 */
SGATE_MUST_CHECK enum sgate_status manager_spool_append(
    struct sgate_manager *mgr, struct spool_frame *frame, bool is_synced,
    struct sgate_error *err);
/*
 * Its tombstone into the cache, and on redis.replicas; beyond the call's budget
 * if need be.
 */
SGATE_MUST_CHECK enum sgate_status manager_spool_tell(struct sgate_manager *mgr,
    const struct spool_frame *frame, struct sgate_error *err);

/* ---- manager_away.c ---- */

/* Whether sessions are created without the durable store, here and elsewhere.
 */
bool away_is_on(const struct sgate_manager *mgr);
/* Whether there may be some: created before that was turned off, or by a host
 * on which it still is on. Those are met and landed all the same. */
bool away_is_possible(const struct sgate_manager *mgr);
/*
 * Whether it is the durable store that is away, and not this call that was not
 * served by it: what is true while it is there, of a user who is blocked say,
 * only it knows. Its breaker is open and nobody has heard of it since; or two
 * connections of this call, one after the other, were not answered, nor was
 * anybody else of this host meanwhile.
 */
bool away_is_now(const struct sgate_manager *mgr);
/* Another worker, who has asked for this call, has found that it is. */
void away_take_word(struct sgate_manager *mgr);
/* The durable store does not answer a round, or has not answered a creation. */
void away_lost(struct sgate_manager *mgr);
/* It has answered a round: what must be known when it is away next time. */
SGATE_MUST_CHECK enum sgate_status away_polled(struct sgate_manager *mgr,
    const struct durable_poll *poll, struct sgate_error *err);
/*
 * After the durable store has failed a creation. audit: of what was tried.
 * SGATE_OK: it is created; SGATE_DENIED: the user is blocked;
 * SGATE_UNAVAILABLE: err has both reasons.
 */
SGATE_MUST_CHECK enum sgate_status away_create(struct sgate_manager *mgr,
    const struct sgate_session *session, const struct durable_audit *audit,
    struct sgate_error *err);
/*
 * Brings a session that was found as 'U' to the durable store, within a call
 * and outside of a transaction. SGATE_OK: there is a row now, or its life is
 * over; another answer: it is not known.
 */
SGATE_MUST_CHECK enum sgate_status away_land(struct sgate_manager *mgr,
    const struct sgate_session *session, const struct record_birth *birth,
    struct sgate_error *err);
/*
 * The durable store has no such row: SGATE_OK: now it has, read it again;
 * SGATE_NOT_FOUND: nor has anybody else; SGATE_UNAVAILABLE: somebody may.
 */
SGATE_MUST_CHECK enum sgate_status away_meet(struct sgate_manager *mgr,
    const struct sgate_ref *ref, struct sgate_error *err);
/* The same when the cache has been asked already, and has it not. */
SGATE_MUST_CHECK enum sgate_status away_judge_absent(struct sgate_manager *mgr,
    const struct sgate_ref *ref, struct sgate_error *err);
/* A creation that the spool has, to each store. SGATE_OK: that has it. */
struct spool_frame;
SGATE_MUST_CHECK enum sgate_status away_apply_frame(struct sgate_manager *mgr,
    const struct spool_frame *frame, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status away_publish_frame(struct sgate_manager *mgr,
    const struct spool_frame *frame, struct sgate_error *err);
/* A row that has ended, for a ref of a user's set that has none. */
SGATE_MUST_CHECK enum sgate_status away_placeholder(
    const struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_bytes user, enum sgate_reason reason,
    struct sgate_session **out, struct sgate_error *err);
/* What a cleanup that could not read the set has in its audit row. */
#define AWAY_SET_UNREAD "without the cache"

/* ---- manager_input.c: each names the member in err ---- */

/* Up to max bytes of UTF-8 without control characters; empty is fine. */
SGATE_MUST_CHECK enum sgate_status input_text(const char *member,
    struct sgate_bytes value, size_t max, struct sgate_error *err);
/* As above, 1 to SESSION_USER_MAX bytes. */
SGATE_MUST_CHECK enum sgate_status input_user(
    struct sgate_bytes user, struct sgate_error *err);
/* "" or 1 to SESSION_REALM_MAX of [A-Za-z0-9._-]. */
SGATE_MUST_CHECK enum sgate_status input_realm(
    struct sgate_bytes realm, struct sgate_error *err);
/* Address text; empty gives length 0. */
SGATE_MUST_CHECK enum sgate_status input_address(struct sgate_bytes text,
    unsigned char out[16], size_t *out_len, struct sgate_error *err);
/* Joined as struct sgate_session holds them; replaces *field. */
SGATE_MUST_CHECK enum sgate_status input_contexts(
    const struct sgate_bytes *items, size_t count, char **field,
    struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status input_roles(const struct sgate_bytes *items,
    size_t count, char **field, struct sgate_error *err);
/* What may end a session: expired_idle to binding. */
SGATE_MUST_CHECK enum sgate_status input_reason(
    enum sgate_reason reason, struct sgate_error *err);
/* Sets session->data and ->exports; checks sizes again. */
SGATE_MUST_CHECK enum sgate_status input_render(const struct sgate_conf *conf,
    const struct data *data, struct sgate_session *session,
    struct sgate_error *err);
/* Kept up to max bytes, whole characters; what is no text becomes '?'. */
void input_agent(struct sgate_bytes text, char *out, size_t max);
/* A string that fits, or is cut. */
void input_copy(char *out, size_t size, struct sgate_bytes value);

#endif
