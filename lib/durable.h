/*
 * What a durable store must do: a table of functions that each driver fills
 * in, and nothing about sessions beyond rows. Transactions, their order of
 * locks (audit, idempotency, user's lock, session by key, counter) and what an
 * answer means belong to session_manager.c.
 *
 * Answers: SGATE_OK; SGATE_NOT_FOUND and SGATE_CONFLICT are answers of the
 * store; SGATE_UNAVAILABLE: it surely did not happen; SGATE_UNCERTAIN: a write
 * may have happened (only commit and autocommitted writes may say so);
 * SGATE_CORRUPT: a row was found that cannot be right. After any error inside
 * a transaction the caller rolls back.
 *
 * Every wait ends at handle->deadline_ms (monotonic), which the manager sets
 * before each operation. To add a store: copy tests/contract/durable_fake.c,
 * fill the table, add a line to durable_stores[] in durable.c; the contract
 * test finds it there.
 */
#ifndef SESSGATE_DURABLE_H
#define SESSGATE_DURABLE_H

#include <stdbool.h>

#include "conf.h"
#include "finding.h"
#include "place.h"
#include "record.h"
#include "session.h"

struct durable_ops;

/* Drivers embed this as the first member of their own handle. */
struct durable {
	const struct durable_ops *ops;
	int64_t deadline_ms; /* monotonic */
	/* Set by a server's driver with a failure after which nothing can be
	 * asked of it: refused, gone, too late, not to be written to. Not set:
	 * it has answered, with an error. The manager sets it back. */
	bool is_unreachable;
	/* Set beside it: nobody listens there. To ask again tells no more. */
	bool is_refused;
	/* Set with SGATE_UNAVAILABLE by user_lock: others have the lock, and
	 * let go of it soon. The transaction is over; to do all of it again is
	 * worth it. */
	bool is_busy;
	/* Set with any failure that a server has put into words, unless they
	 * say that it takes no writes: it is there, for others too. The manager
	 * sets it back. */
	bool has_answered;
	/* Borrowed; NULL: nobody tells which server is the primary, should
	 * there be several: the first is used that takes writes. */
	const struct place *at;
};

/* The audit table, and its kinds: names are stored, never rename. */
#define DURABLE_EVENT_BYTES 16
struct durable_audit {
	unsigned char
	    event_id[DURABLE_EVENT_BYTES]; /* 48 bit ms|host|counter */
	int64_t at_ms;
	char host[65];
	char actor[65];
	char kind[17]; /* create, update, rotate, end, cleanup, block, ... */
	enum sgate_reason reason;
	bool has_ref;
	struct sgate_ref ref;
	char realm[SESSION_REALM_MAX + 1];
	char user[SESSION_USER_MAX + 1];
	unsigned char client_ip[16];
	size_t client_ip_len;
	char detail[257]; /* for people: counts, member names; no values */
};
/*
 * Members left empty or 0 do not filter. Newest first: by event id, whose first
 * 48 bits are also what since_ms and purge go by.
 */
struct durable_audit_filter {
	struct sgate_bytes realm; /* data == NULL: all realms */
	struct sgate_bytes user;
	const struct sgate_ref *ref;
	struct sgate_bytes kind;
	int64_t since_ms;
	const unsigned char *before_event_id; /* cursor */
	size_t limit;
};

struct durable_idempotency {
	unsigned char id[32];
	unsigned char body_hash[32];
	struct sgate_ref ref;
	uint8_t key_id;
	unsigned char nonce[16];
	int64_t expires_ms;
};

struct durable_user {
	int64_t blocked_ms; /* 0 = not blocked */
	char blocked_reason[129];
};

struct durable_touch {
	struct sgate_ref ref;
	int64_t last_seen_ms; /* 0 = none: only the successor mark */
	int64_t copy_ttl_ms;  /* for Redis: how long a copy is kept; 0 = none */
	/* First use of a rotation's successor; 0 = none. Applied only where
	 * secret_hash still matches and the mark is still 0. */
	int64_t successor_used_ms;
	unsigned char secret_hash[TOKEN_HASH_BYTES];
};

struct durable_service {
	char name[65];
	unsigned char key_hash[32];
	char scopes[65]; /* "create,introspect" */
	bool has_realm;
	char realm[SESSION_REALM_MAX + 1];
	int64_t created_ms, expires_ms; /* 0 = never */
};

/* A row's surroundings, read in the same statement as the row. */
struct durable_snapshot {
	uint64_t counter; /* of the row's fence group */
	struct record_store store;
};

/* What the keeper asks twice a second, in one statement. */
struct durable_poll {
	struct record_store store;
	uint64_t counters[TOKEN_GROUPS];
	uint64_t settings; /* number of the settings, group 255 */
	int64_t now_ms;    /* the server's clock, UTC */
	char ident[33];    /* of the server and its start */
};

/* A new session with the audit row of its creation, one of many. */
struct durable_creation {
	const struct sgate_session *session;
	const struct durable_audit *audit;
	/* What the transaction found out. */
	bool is_blocked; /* its user: user_lock, shared */
	struct durable_snapshot at;
};
/* In one transaction. */
#define DURABLE_CREATIONS_MAX 64

/* A session whose row is changed, one of many, with the audit row of that. */
struct durable_change {
	const struct sgate_ref *ref;
	/* The row, by lock_many; freed by the caller, who changes it. NULL:
	 * there is none, or it cannot be had at once. */
	struct sgate_session *session;
	/* For store_many; NULL: the row stays as it is. */
	const struct durable_audit *audit;
	/* By store_many: the number of this change. */
	struct durable_snapshot at;
};
/* In one transaction, each of another ref. */
#define DURABLE_CHANGES_MAX 32

/*
 * A count of all sessions, piece by piece, while they change; zeros begin one.
 * Behind the figures stands the last row that was seen, for the store.
 */
struct durable_count {
	/* Given: live rows that were created before do not count at all. */
	int64_t created_from_ms;
	struct sgate_stats stats; /* so far */
	uint64_t rows;            /* seen */
	char realm[SESSION_REALM_MAX + 1];
	char user[SESSION_USER_MAX + 1];
	int64_t state, created_ms, absolute_ms;
	struct sgate_ref ref;
	bool is_user_counted;
};

/* What counter_next calls the number of the settings. */
#define DURABLE_SETTINGS 255
#define DURABLE_SETTING_NAME_MAX 64
/* Rows, and bytes of a value: more are not ours. */
#define DURABLE_SETTINGS_MAX 256
#define DURABLE_SETTING_MAX_BYTES 65536

/* flags of session_get */
#define DURABLE_FOR_UPDATE 1u /* inside a transaction */
#define DURABLE_NO_DATA 2u    /* leave data "" */

/*
 * Not 0 stops, which is no error. What is given is borrowed for the call. The
 * store must not be called from within.
 */
typedef int durable_session_fn(void *arg, const struct sgate_session *session);
typedef int durable_ref_fn(void *arg, const struct sgate_ref *ref);
typedef int durable_user_fn(
    void *arg, struct sgate_bytes realm, struct sgate_bytes user);
typedef int durable_setting_fn(
    void *arg, const char *name, struct sgate_bytes value);
typedef int durable_audit_fn(void *arg, const struct durable_audit *audit);
typedef int durable_service_fn(void *arg, const struct durable_service *svc);
typedef int durable_lease_fn(
    void *arg, const char *name, const char *holder, int64_t until_ms);

struct durable_ops {
	const char *name; /* "sqlite" */
	/* Gateways of several hosts may use it: what one of them knows and has
	 * not written yet the others do not. */
	bool is_shared;
	/* No I/O yet beyond checking options. */
	enum sgate_status (*open)(const struct sgate_conf *conf,
	    struct durable **out, struct sgate_error *err);
	void (*close)(struct durable *d);
	/* One round trip: is it there? */
	enum sgate_status (*ping)(struct durable *d, struct sgate_error *err);
	/*
	 * Find out which server is the primary, and write that into *at.
	 * SGATE_OK also where that is no question. SGATE_CONFLICT: somebody
	 * must set that right, as err says; *at may be nobody now. Else *at is
	 * as it was. NULL: it is always where it was opened.
	 */
	enum sgate_status (*locate)(
	    struct durable *d, struct place *at, struct sgate_error *err);
	/* For doctor. SGATE_OK whatever was found, unless it does not answer.
	 * NULL: nothing to be looked at but the schema. */
	enum sgate_status (*examine)(struct durable *d, finding_fn *fn,
	    void *arg, struct sgate_error *err);
	/* Create what is missing; repeatable. */
	enum sgate_status (*schema_init)(
	    struct durable *d, struct sgate_error *err);
	/* SGATE_INVALID: missing, older or newer, err says what to do. Every
	 * other operation is SGATE_UNAVAILABLE then. */
	enum sgate_status (*schema_check)(
	    struct durable *d, struct sgate_error *err);
	/*
	 * Make what the audit table needs for the weeks to come and drop, in
	 * whole partitions, what is older. NULL: purge is enough.
	 */
	enum sgate_status (*maintain)(struct durable *d, int64_t now_ms,
	    int64_t audit_before_ms, unsigned *out_made, unsigned *out_dropped,
	    struct sgate_error *err);
	/*
	 * After a dump was loaded, while no gateway runs: a new epoch, and
	 * numbers that were never given. NULL: nothing was copied from it.
	 */
	enum sgate_status (*restored)(
	    struct durable *d, unsigned *out_epoch, struct sgate_error *err);
	/* Random id of this database, and its epoch. */
	enum sgate_status (*store_get)(struct durable *d, unsigned char id[16],
	    unsigned *out_epoch, struct sgate_error *err);

	/* Write transactions. rollback never fails and takes any state. */
	enum sgate_status (*begin)(struct durable *d, struct sgate_error *err);
	enum sgate_status (*commit)(struct durable *d, struct sgate_error *err);
	void (*rollback)(struct durable *d);

	/* SGATE_CONFLICT: that event id is there already: roll back. */
	enum sgate_status (*audit_insert)(struct durable *d,
	    const struct durable_audit *audit, struct sgate_error *err);
	enum sgate_status (*audit_list)(struct durable *d,
	    const struct durable_audit_filter *filter, durable_audit_fn *fn,
	    void *arg, struct sgate_error *err);
	/* Whether an event id is there (settles an uncertain commit). */
	enum sgate_status (*audit_exists)(struct durable *d,
	    const unsigned char event_id[DURABLE_EVENT_BYTES],
	    struct sgate_error *err);

	enum sgate_status (*idempotency_get)(struct durable *d,
	    const unsigned char id[32], struct durable_idempotency *out,
	    struct sgate_error *err);
	/* SGATE_CONFLICT: there already. */
	enum sgate_status (*idempotency_insert)(struct durable *d,
	    const struct durable_idempotency *row, struct sgate_error *err);
	/* In a transaction: a row whose 24 h are over makes room. OK: gone. */
	enum sgate_status (*idempotency_remove)(struct durable *d,
	    const unsigned char id[32], struct sgate_error *err);

	/*
	 * Take the user's lock: shared for a create without a limit, exclusive
	 * for cleanup, block and a create with one. Held to the end of the
	 * transaction. Users may share a lock, so a transaction takes one only
	 * (create_many takes several, in an order).
	 */
	enum sgate_status (*user_lock)(struct durable *d,
	    struct sgate_bytes realm, struct sgate_bytes user, bool exclusive,
	    struct durable_user *out, struct sgate_error *err);
	/* blocked_ms 0 = unblock. The lock is held. */
	enum sgate_status (*user_block)(struct durable *d,
	    struct sgate_bytes realm, struct sgate_bytes user,
	    int64_t blocked_ms, struct sgate_bytes reason,
	    struct sgate_error *err);
	/* Blocked users, in any order, at most limit. */
	enum sgate_status (*blocked_users)(struct durable *d, size_t limit,
	    durable_user_fn *fn, void *arg, struct sgate_error *err);
	/* Live rows of a user, newest first, without data. limit 0 = all. */
	enum sgate_status (*user_sessions)(struct durable *d,
	    struct sgate_bytes realm, struct sgate_bytes user, size_t limit,
	    durable_session_fn *fn, void *arg, struct sgate_error *err);

	/*
	 * The row whatever its state, and out_at (may be NULL) of the same
	 * snapshot; with FOR_UPDATE read after the row was locked. Only a store
	 * that has `snapshot` fills in out_at->store. SGATE_NOT_FOUND: no row.
	 */
	enum sgate_status (*session_get)(struct durable *d,
	    const struct sgate_ref *ref, unsigned flags,
	    struct sgate_session **out, struct durable_snapshot *out_at,
	    struct sgate_error *err);
	/*
	 * All that creations without more need of a transaction that has just
	 * begun, in few round trips: audit rows, locks of users, rows, and the
	 * snapshot of each. At most DURABLE_CREATIONS_MAX, in any order.
	 * Without is_patient SGATE_UNAVAILABLE at once where somebody has one
	 * of the locks. SGATE_CONFLICT: an event id is there already.
	 * SGATE_DENIED: some are blocked. After anything but SGATE_OK none is
	 * made: roll back. NULL: one by one, by the functions around this one.
	 */
	enum sgate_status (*create_many)(struct durable *d,
	    struct durable_creation *creations, size_t count, bool is_patient,
	    struct sgate_error *err);
	/* SGATE_CONFLICT: that ref is taken. */
	enum sgate_status (*session_insert)(struct durable *d,
	    const struct sgate_session *session, struct sgate_error *err);
	/* All columns but ref, realm, user, created and absolute.
	 * SGATE_NOT_FOUND: no such row. */
	enum sgate_status (*session_store)(struct durable *d,
	    const struct sgate_session *session, struct sgate_error *err);
	/*
	 * Many rows in a transaction that has just begun, whole and locked, in
	 * few round trips. What somebody else has locked is left out: nobody
	 * waits for what is in another's way.
	 * NULL: one by one, by the functions around this one.
	 */
	enum sgate_status (*lock_many)(struct durable *d,
	    struct durable_change *changes, size_t count,
	    struct sgate_error *err);
	/*
	 * Then, once: the audit rows, a new number for each group, and the rows
	 * as session_store, but with that number whatever session->seq is.
	 * SGATE_CONFLICT: an event id is there already. After anything but
	 * SGATE_OK none is changed: roll back.
	 */
	enum sgate_status (*store_many)(struct durable *d,
	    struct durable_change *changes, size_t count,
	    struct sgate_error *err);
	/* Of a group as it is now: a plain read, no lock; in a transaction as
	 * well. NULL in a store that is never copied (SQLite), as are changes
	 * and live. */
	enum sgate_status (*snapshot)(struct durable *d, unsigned group,
	    struct durable_snapshot *out, struct sgate_error *err);
	enum sgate_status (*poll)(struct durable *d, struct durable_poll *out,
	    struct sgate_error *err);
	/*
	 * The change log: rows of a group, whatever their state, whole, with
	 * number > after and absolute_ms > now_ms, by ascending number, at most
	 * limit (rows of one number are never cut apart: the answer may be
	 * longer by the rest of the last number's rows). A damaged row ends it
	 * with SGATE_CORRUPT: what was given is not all there is.
	 */
	enum sgate_status (*changes)(struct durable *d, unsigned group,
	    uint64_t after, int64_t now_ms, size_t limit,
	    durable_session_fn *fn, void *arg, struct sgate_error *err);
	/*
	 * Of the same log the refs alone, of whatever rows, with number >
	 * after, in no order: limit at most. *out_is_all: there are no more.
	 */
	enum sgate_status (*changed)(struct durable *d, unsigned group,
	    uint64_t after, size_t limit, durable_ref_fn *fn, void *arg,
	    bool *out_is_all, struct sgate_error *err);
	/* As expired, below, but the live rows with absolute_ms > now_ms, and
	 * whole: with their data. */
	enum sgate_status (*live)(struct durable *d, int64_t now_ms,
	    size_t limit, struct sgate_ref *cursor, bool *out_wrapped,
	    durable_session_fn *fn, void *arg, struct sgate_error *err);
	/*
	 * The next number of a fence group (0..15): the last lock taken, but
	 * for that of the settings (DURABLE_SETTINGS), in a store that has
	 * `snapshot`: raised when users are blocked. Who writes settings takes
	 * that one in any store, before he reads or writes them: it is their
	 * lock.
	 */
	enum sgate_status (*counter_next)(struct durable *d, unsigned group,
	    uint64_t *out_seq, struct sgate_error *err);

	/* All rows of the settings, in any order; in a transaction as well. */
	enum sgate_status (*setting_list)(struct durable *d,
	    durable_setting_fn *fn, void *arg, struct sgate_error *err);
	/* In a transaction that has the number. Replaces. */
	enum sgate_status (*setting_put)(struct durable *d, const char *name,
	    struct sgate_bytes value, uint64_t number, struct sgate_error *err);
	/* The latest absolute expiry of any session; 0: there is none. */
	enum sgate_status (*latest_expiry)(
	    struct durable *d, int64_t *out_ms, struct sgate_error *err);

	/*
	 * One transaction of its own for up to 100 touches in ascending key
	 * order: last_seen = max(last_seen, given) where live.
	 */
	enum sgate_status (*touch)(struct durable *d,
	    const struct durable_touch *touches, size_t count,
	    struct sgate_error *err);

	/*
	 * The reaper: live rows that have expired at now_ms (absolute, or idle
	 * with its leeway), or were created before created_before_ms, looking
	 * at `limit` rows in key order after *cursor, which is moved on;
	 * *out_wrapped when the end was reached (the cursor is then zero
	 * again). A damaged row is passed over: the answer is SGATE_CORRUPT in
	 * the end, with cursor and *out_wrapped set.
	 */
	enum sgate_status (*expired)(struct durable *d, int64_t now_ms,
	    int64_t created_before_ms, size_t limit, struct sgate_ref *cursor,
	    bool *out_wrapped, durable_session_fn *fn, void *arg,
	    struct sgate_error *err);
	/* Delete at most `limit` each: sessions with absolute_ms < sessions_
	 * before_ms, audit older (not where there is maintain), idempotency
	 * and leases past. */
	enum sgate_status (*purge)(struct durable *d,
	    int64_t sessions_before_ms, int64_t audit_before_ms, int64_t now_ms,
	    size_t limit, uint64_t *out_sessions, uint64_t *out_others,
	    struct sgate_error *err);
	/*
	 * Count the next rows, about `limit` of them (or all at once, where
	 * that costs little). *out_done: there are no more. After a failure the
	 * count stands where it stood.
	 */
	enum sgate_status (*stats)(struct durable *d, int64_t now_ms,
	    size_t limit, struct durable_count *count, bool *out_done,
	    struct sgate_error *err);

	/* Take or renew a lease; SGATE_DENIED: another holds it till later. */
	enum sgate_status (*lease_take)(struct durable *d, const char *name,
	    const char *holder, int64_t now_ms, int64_t until_ms,
	    struct sgate_error *err);
	enum sgate_status (*lease_list)(struct durable *d, durable_lease_fn *fn,
	    void *arg, struct sgate_error *err);

	/*
	 * By hash: SGATE_NOT_FOUND. put: SGATE_CONFLICT if the name is there.
	 * put and remove: in the transaction that is open (so that its audit
	 * row goes with it), else in one of their own.
	 */
	enum sgate_status (*service_get)(struct durable *d,
	    const unsigned char key_hash[32], struct durable_service *out,
	    struct sgate_error *err);
	enum sgate_status (*service_put)(struct durable *d,
	    const struct durable_service *svc, struct sgate_error *err);
	enum sgate_status (*service_remove)(
	    struct durable *d, const char *name, struct sgate_error *err);
	enum sgate_status (*service_list)(struct durable *d,
	    durable_service_fn *fn, void *arg, struct sgate_error *err);

	/*
	 * The caller's own statement, within begin/commit. SGATE_INVALID: more
	 * than one, the wrong number of parameters, or wrong in itself;
	 * SGATE_DENIED: it would leave the transaction or write to our tables.
	 * A number that is no integer comes as text.
	 */
	enum sgate_status (*exec)(struct durable *d, const char *sql,
	    const struct sgate_value *params, size_t params_count,
	    sgate_row_fn *row, void *row_arg, struct sgate_error *err);
};

/* The registry: NULL-terminated. */
extern const struct durable_ops *const durable_stores[];
extern const struct durable_ops durable_mysql;
extern const struct durable_ops durable_sqlite;
/* The store that the configuration asks for. */
const struct durable_ops *durable_choose(const struct sgate_conf *conf);

#endif
