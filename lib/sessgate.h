/*
 * sessgate: sessions for web sites, kept in a durable store.
 *
 * This is the only header that is installed. The library is for trusted
 * programs: it needs the key file and access to the store. Programs that must
 * not have those speak to login.sock instead (conf/README.md).
 *
 * Rules that hold for every function here:
 * - Inputs are const and come first, outputs are last and named out_*, the
 *   error is the very last and may be NULL. Outputs are cleared on entry and
 *   set only on SGATE_OK.
 * - Strings in are struct sgate_bytes: a pointer and a length, any bytes, no
 *   NUL needed. {NULL, 0} means "not given".
 * - Times are UTC milliseconds since 1970 (names end in _ms); durations are
 *   milliseconds.
 * - A getter's value is borrowed: it lives as long as its object.
 * - Every _free takes NULL. The library never exits, never prints, and logs
 *   nothing; it expects the program to ignore SIGPIPE.
 * - One manager a thread, made after fork(). A child that goes on with its
 *   parent's makes connections of its own to MySQL and Redis; with SQLite,
 *   which cannot do that, a process that was forked while a store was open
 *   gets SGATE_INTERNAL from every use.
 */
#ifndef SESSGATE_H
#define SESSGATE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SGATE_MUST_CHECK __attribute__((warn_unused_result))
#define SGATE_PRINTF(n, m) __attribute__((format(printf, n, m)))
#else
#define SGATE_MUST_CHECK
#define SGATE_PRINTF(n, m)
#endif

/* What came of a call. When you add one, extend sgate_status_text(). */
enum sgate_status {
	SGATE_OK = 0,
	SGATE_NOT_FOUND,   /* an answer, not an error: no such session */
	SGATE_CONFLICT,    /* if_version does not match, or a repeat differs */
	SGATE_INVALID,     /* the caller's input is wrong; the text says what */
	SGATE_CORRUPT,     /* a stored record was refused and left in place */
	SGATE_TOO_LARGE,   /* over a configured or fixed limit */
	SGATE_DENIED,      /* blocked, full, or not this caller's to do */
	SGATE_UNAVAILABLE, /* no store could answer: try again later */
	SGATE_UNCERTAIN,   /* a write may or may not have happened */
	SGATE_NO_MEMORY,
	SGATE_INTERNAL /* our bug, or the system refused something basic */
};

/*
 * Why a session is not accepted, or how it ended. Values are stored (column
 * end_reason, tombstones): never renumber, only append.
 */
enum sgate_reason {
	SGATE_REASON_OK = 0,
	SGATE_REASON_NONE = 1, /* no token given */
	SGATE_REASON_MALFORMED = 2,
	SGATE_REASON_BAD_TAG = 3,
	SGATE_REASON_AMBIGUOUS = 4,
	SGATE_REASON_UNKNOWN = 5, /* right tag, but no such session */
	SGATE_REASON_EXPIRED_IDLE = 6,
	SGATE_REASON_EXPIRED_ABSOLUTE = 7,
	SGATE_REASON_LOGGED_OUT = 8,
	SGATE_REASON_REVOKED = 9,
	SGATE_REASON_REPLACED = 10,
	SGATE_REASON_THEFT = 11,
	SGATE_REASON_LIMIT = 12,
	SGATE_REASON_BLOCKED = 13,
	SGATE_REASON_FLUSHED = 14,
	SGATE_REASON_BINDING = 15,
	SGATE_REASON_ROLE = 16,
	SGATE_REASON_AUTH_AGE = 17,
	SGATE_REASON_CSRF = 18,
	SGATE_REASON_POLICY = 19,
	SGATE_REASON_LISTENER = 20,
	SGATE_REASON_RATE = 21,
	SGATE_REASON_MAINTENANCE = 22,
	SGATE_REASON_STORE = 23,
	SGATE_REASON_OVERLOAD = 24,
	SGATE_REASON_COUNT
};

struct sgate_bytes {
	const char *data;
	size_t len;
};

/* A session's public name: 12 bytes, written as 24 hex digits. */
#define SGATE_REF_BYTES 12
#define SGATE_REF_HEX 24
struct sgate_ref {
	unsigned char bytes[SGATE_REF_BYTES];
};

/* A token's text: 37 bytes as base64url without padding. */
#define SGATE_TOKEN_LEN 50

/*
 * What went wrong, for a person: filled where it happened. source is "sqlite",
 * "keys", "data" and the like, operation what was tried, native_code the
 * library's or the system's own number (0 when there is none).
 */
struct sgate_error {
	enum sgate_status status;
	enum sgate_reason reason;
	char source[16];
	char operation[32];
	int native_code;
	char text[256];
};

struct sgate_conf;
struct sgate_manager;
struct sgate_session;
struct sgate_list;
struct sgate_db;

/* "not found", "unavailable", ... Never NULL. */
const char *sgate_status_text(enum sgate_status status);
/* "logged_out", "bad_tag", ...: stable, for programs. Never NULL. */
const char *sgate_reason_text(enum sgate_reason reason);
/* The library's version, "0.1.0". */
const char *sgate_version(void);
/* Writes 24 lower-case hex digits and a NUL. */
void sgate_ref_text(
    const struct sgate_ref *ref, char out_text[SGATE_REF_HEX + 1]);
/* SGATE_OK or SGATE_INVALID (anything but 24 hex digits). */
SGATE_MUST_CHECK enum sgate_status sgate_ref_parse(
    struct sgate_bytes text, struct sgate_ref *out_ref);

/* ---- configuration ---- */

/*
 * Read and check a configuration file.
 *
 * path: NULL for built-in defaults alone. overrides: "section.name=value"
 * strings ended by NULL, applied after the file; may be NULL.
 *
 * SGATE_OK:      *out_conf is new; free with sgate_conf_free().
 * SGATE_INVALID: err->text is "file:line: name: what is wrong, what would be
 *                right".
 */
SGATE_MUST_CHECK enum sgate_status sgate_conf_load(const char *path,
    const char *const *overrides, struct sgate_conf **out_conf,
    struct sgate_error *err);
void sgate_conf_free(struct sgate_conf *conf);

/* ---- manager ---- */

/*
 * clock: replaces the wall clock, for tests: returns UTC ms; NULL = real.
 */
struct sgate_options {
	int64_t (*clock)(void *arg);
	void *clock_arg;
};

/*
 * Make a session manager. The configuration is copied; keys are read from the
 * key file now, the store is opened at the first call that needs it.
 *
 * SGATE_OK:       *out_mgr is new; free with sgate_manager_free().
 * SGATE_INVALID:  the key file is missing, damaged or readable by others.
 */
SGATE_MUST_CHECK enum sgate_status sgate_manager_new(
    const struct sgate_conf *conf, const struct sgate_options *options,
    struct sgate_manager **out_mgr, struct sgate_error *err);
void sgate_manager_free(struct sgate_manager *mgr);

/*
 * Who calls, for all calls until the next sgate_manager_set_caller().
 *
 * realm: one site's sessions and users; "" is the default realm; else 1 to 64
 * of [A-Za-z0-9._-]. actor: who the audit rows name, up to 64 bytes (default
 * "library"); what stands behind " pid=" does not tell callers apart when an
 * idempotency key is repeated. client_ip: the visitor's address as text, or
 * empty. budget_ms: the time one call may take, cut to a day; 0 =
 * gateway.request_timeout.
 */
struct sgate_caller {
	struct sgate_bytes realm;
	struct sgate_bytes actor;
	struct sgate_bytes client_ip;
	int64_t budget_ms;
};
SGATE_MUST_CHECK enum sgate_status sgate_manager_set_caller(
    struct sgate_manager *mgr, const struct sgate_caller *caller,
    struct sgate_error *err);

/* ---- one session ---- */

/*
 * What a new session is made of. All zeros but user_id is a plain login.
 *
 * user_id: 1 to 128 bytes of UTF-8 without control characters; empty makes an
 * anonymous session (its whole life is the idle timeout). context: an id that
 * the application attaches (the old platform_connection_id), up to 128 bytes.
 * contexts: those that the browser may change to. roles: names of
 * [A-Za-z0-9._:-], up to 64 bytes each, 32 of them. data: a JSON object
 * without null members. replaces: the token of an anonymous session of this
 * realm that ends with reason "replaced" in the same transaction.
 * idempotency_key: up to 255 bytes; the same key with the same content within
 * 24 h gives the same session and token. client_ip: text; empty = caller's.
 */
struct sgate_create {
	struct sgate_bytes user_id;
	struct sgate_bytes context;
	const struct sgate_bytes *contexts;
	size_t contexts_count;
	const struct sgate_bytes *roles;
	size_t roles_count;
	struct sgate_bytes data;
	struct sgate_bytes replaces;
	struct sgate_bytes idempotency_key;
	int remember;                /* the remember_* timeouts */
	int64_t idle_timeout_ms;     /* 0 = configured; more is cut to it */
	int64_t absolute_timeout_ms; /* 0 = configured; more is cut to it */
	struct sgate_bytes client_ip;
	struct sgate_bytes user_agent; /* up to 255 bytes are kept */
};

/*
 * Create a session (old: create_session).
 *
 * SGATE_OK:          durable, with its audit row. *out_session: free with
 *                    sgate_session_free(); *out_token: sgate_token_free().
 * SGATE_INVALID, SGATE_TOO_LARGE: err->text names the member.
 * SGATE_DENIED:      reason blocked or limit.
 * SGATE_CONFLICT:    the idempotency key was used with other content, or its
 *                    session was rotated or has ended; err->text is
 *                    "idempotency_reuse" or "idempotency_used REF".
 * SGATE_NOT_FOUND:   it was created, and ended before it was acknowledged (a
 *                    cleanup at the same moment); err->reason says how.
 * SGATE_UNAVAILABLE, SGATE_UNCERTAIN: nothing is promised; try again with the
 *                    same idempotency key. Reason maintenance: it was refused,
 *                    and err->text says why.
 */
SGATE_MUST_CHECK enum sgate_status sgate_session_create(
    struct sgate_manager *mgr, const struct sgate_create *create,
    struct sgate_session **out_session, char **out_token,
    struct sgate_error *err);

/* Wipes and frees. */
void sgate_token_free(char *token);

#define SGATE_NO_TOUCH 1u /* this look is no activity */
#define SGATE_NO_DATA 2u  /* leave data out (exports are still there) */
/* Also a session that maintenance holds back. */
#define SGATE_IN_MAINTENANCE 4u

/*
 * Get the session that a token names (old: get_session, get_session_data,
 * get_session_context).
 *
 * token: as received, any bytes. flags: SGATE_NO_TOUCH, SGATE_NO_DATA,
 * SGATE_IN_MAINTENANCE.
 * Expiry is judged by the durable store's clock (sgate_options.clock in
 * tests), idle expiry with a tenth of leeway, because activity is written at
 * most once a tenth of the idle timeout.
 *
 * SGATE_OK:          *out_session is new; free with sgate_session_free(). If
 *                    sgate_session_new_token() is not NULL, the caller must
 *                    send that token to the client.
 * SGATE_NOT_FOUND:   err->reason says which: none, malformed, bad_tag,
 *                    unknown, expired_*, or how it ended. Not an error.
 * SGATE_UNAVAILABLE: no store could answer. Never read it as "not found". With
 *                    the reason maintenance: it is held back for now, and
 *                    err->text says why.
 * SGATE_CORRUPT:     a stored row was refused; treat as unavailable.
 */
SGATE_MUST_CHECK enum sgate_status sgate_session_get(struct sgate_manager *mgr,
    struct sgate_bytes token, unsigned flags,
    struct sgate_session **out_session, struct sgate_error *err);

/* As above by public name; only within the caller's realm. No touch. */
SGATE_MUST_CHECK enum sgate_status sgate_session_get_by_ref(
    struct sgate_manager *mgr, const struct sgate_ref *ref,
    struct sgate_session **out_session, struct sgate_error *err);

/* As sgate_session_get(), for those who need the answer alone. */
SGATE_MUST_CHECK enum sgate_status sgate_session_validate(
    struct sgate_manager *mgr, struct sgate_bytes token,
    struct sgate_ref *out_ref, struct sgate_error *err);

/*
 * What to change; members left {NULL, 0} stay as they are.
 *
 * data_patch: a JSON object merged as RFC 7396 says: null deletes, arrays are
 * replaced whole. context: "" (non-NULL, length 0) clears it. context_listed:
 * the context must be one of the session's contexts. if_version: 0, or the
 * version that must still stand. roles/contexts: replace the list when
 * set_roles/set_contexts is not 0.
 */
struct sgate_update {
	struct sgate_bytes data_patch;
	struct sgate_bytes context;
	int context_listed;
	int set_contexts;
	const struct sgate_bytes *contexts;
	size_t contexts_count;
	int set_roles;
	const struct sgate_bytes *roles;
	size_t roles_count;
	int64_t idle_timeout_ms; /* 0 = as it is; cut to the configured */
	uint64_t if_version;
};

/*
 * Change a session (old: update_session, switch_platform,
 * update_platform_context). Writers of different members both survive.
 *
 * SGATE_OK:        *out_session (may be NULL) is the session as changed.
 * SGATE_NOT_FOUND: as sgate_session_get_by_ref().
 * SGATE_CONFLICT:  if_version does not match; nothing was changed.
 * SGATE_DENIED:    the context is not among the session's contexts.
 * SGATE_INVALID, SGATE_TOO_LARGE, SGATE_UNAVAILABLE, SGATE_UNCERTAIN.
 */
SGATE_MUST_CHECK enum sgate_status sgate_session_update(
    struct sgate_manager *mgr, const struct sgate_ref *ref,
    const struct sgate_update *update, struct sgate_session **out_session,
    struct sgate_error *err);

/*
 * Slide the idle expiry now, as activity does, and wait for it (old:
 * extend_session). Never past the absolute expiry.
 */
SGATE_MUST_CHECK enum sgate_status sgate_session_extend(
    struct sgate_manager *mgr, struct sgate_bytes token,
    struct sgate_session **out_session, struct sgate_error *err);

/*
 * New secret, same session. *out_token is the token to use from now on; a
 * repeat with the old token within session.rotate_grace answers the same one.
 */
SGATE_MUST_CHECK enum sgate_status sgate_session_rotate(
    struct sgate_manager *mgr, struct sgate_bytes token,
    struct sgate_session **out_session, char **out_token,
    struct sgate_error *err);

/*
 * End a session (old: destroy_session). Idempotent: ending an ended session
 * is SGATE_OK. reason: LOGGED_OUT, REVOKED, ...
 * By ref: SGATE_NOT_FOUND for an unknown one. By token: needs only a right
 * tag (whatever the secret's age); SGATE_NOT_FOUND if there is no such token.
 */
SGATE_MUST_CHECK enum sgate_status sgate_session_end(struct sgate_manager *mgr,
    const struct sgate_ref *ref, enum sgate_reason reason,
    struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status sgate_session_end_token(
    struct sgate_manager *mgr, struct sgate_bytes token,
    enum sgate_reason reason, struct sgate_error *err);

void sgate_session_free(struct sgate_session *session);
/* A copy of its own; NULL when memory is out. */
struct sgate_session *sgate_session_dup(const struct sgate_session *session);

const struct sgate_ref *sgate_session_get_ref(const struct sgate_session *s);
struct sgate_bytes sgate_session_get_realm(const struct sgate_session *s);
/* Empty for an anonymous session. */
struct sgate_bytes sgate_session_get_user_id(const struct sgate_session *s);
struct sgate_bytes sgate_session_get_context(const struct sgate_session *s);
size_t sgate_session_count_contexts(const struct sgate_session *s);
struct sgate_bytes sgate_session_get_context_at(
    const struct sgate_session *s, size_t index);
size_t sgate_session_count_roles(const struct sgate_session *s);
struct sgate_bytes sgate_session_get_role_at(
    const struct sgate_session *s, size_t index);
/* All roles joined by commas. */
struct sgate_bytes sgate_session_get_roles(const struct sgate_session *s);
int sgate_session_has_role(
    const struct sgate_session *s, struct sgate_bytes role);
/* A JSON object; "{}" when empty or left out. */
struct sgate_bytes sgate_session_get_data(const struct sgate_session *s);
struct sgate_bytes sgate_session_get_user_agent(const struct sgate_session *s);
/* The address as text, "" when not known. */
const char *sgate_session_get_client_ip(const struct sgate_session *s);
uint64_t sgate_session_get_version(const struct sgate_session *s);
int sgate_session_is_anonymous(const struct sgate_session *s);
int64_t sgate_session_get_created_ms(const struct sgate_session *s);
int64_t sgate_session_get_auth_ms(const struct sgate_session *s);
int64_t sgate_session_get_last_seen_ms(const struct sgate_session *s);
int64_t sgate_session_get_idle_timeout_ms(const struct sgate_session *s);
int64_t sgate_session_get_idle_expires_ms(const struct sgate_session *s);
int64_t sgate_session_get_expires_ms(const struct sgate_session *s);
/* The token that replaces the one presented, or NULL. Borrowed. */
const char *sgate_session_new_token(const struct sgate_session *s);

/* ---- a user's sessions ---- */

/*
 * A user's live sessions, newest first, without their data (old:
 * get_user_sessions). limit: at most 1,000; 0 = that many.
 */
SGATE_MUST_CHECK enum sgate_status sgate_user_sessions(
    struct sgate_manager *mgr, struct sgate_bytes user_id, size_t limit,
    struct sgate_list **out_list, struct sgate_error *err);
size_t sgate_list_count(const struct sgate_list *list);
/* Borrowed; NULL past the end. */
const struct sgate_session *sgate_list_get(
    const struct sgate_list *list, size_t index);
void sgate_list_free(struct sgate_list *list);

/*
 * End all of a user's sessions but one (old: cleanup_user_sessions).
 * except: NULL = all. *out_count: how many distinct sessions were ended.
 * A session being created at the same moment either is ended, or was created
 * after the cleanup: never both refused and kept. More than 1,000 sessions end
 * in several transactions within the call's time; SGATE_UNAVAILABLE may then
 * mean that some have ended: call again.
 */
SGATE_MUST_CHECK enum sgate_status sgate_user_cleanup(struct sgate_manager *mgr,
    struct sgate_bytes user_id, const struct sgate_ref *except,
    enum sgate_reason reason, uint64_t *out_count, struct sgate_error *err);

/*
 * Block a user: ends all sessions, and create refuses until unblocked.
 * SGATE_OK also when nothing had to change.
 */
SGATE_MUST_CHECK enum sgate_status sgate_user_block(struct sgate_manager *mgr,
    struct sgate_bytes user_id, struct sgate_bytes reason_text,
    uint64_t *out_count, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status sgate_user_unblock(struct sgate_manager *mgr,
    struct sgate_bytes user_id, struct sgate_error *err);

/* ---- maintenance and flush ---- */

enum sgate_maintenance_mode {
	SGATE_MAINTENANCE_OFF = 0,
	SGATE_MAINTENANCE_NORMAL,    /* nobody new but roles let through */
	SGATE_MAINTENANCE_EMERGENCY, /* sessions of these roles alone */
	SGATE_MAINTENANCE_UNKNOWN    /* nobody could tell yet */
};

/*
 * Maintenance (old: prevent_non_admin_login, invalidate_non_admin_sessions),
 * in force on every host that reaches the durable store within two seconds. No
 * session ends. What it holds back is SGATE_UNAVAILABLE with the reason
 * maintenance: in normal mode sgate_session_create(), in emergency also every
 * function that takes a session's token, but sgate_session_end_token(). What
 * goes by ref or user, for those who manage sessions, is not held back.
 *
 * all_realms: not 0: of every realm; else of the caller's. What is set for all
 * and for one holds back by either. set_roles: not 0: `roles` are let through,
 * up to 255 bytes together, may be none; else session.admin_roles. reason: up
 * to 200 bytes, for whoever is held back to read. until_ms: then it is over by
 * itself; 0 = when it is ended.
 *
 * Set again, it takes the place of what was set. SGATE_INVALID, SGATE_TOO_LARGE
 * name the member. SGATE_UNAVAILABLE, SGATE_UNCERTAIN: what was set before is
 * still in force, or this is; set it again.
 */
struct sgate_maintenance {
	enum sgate_maintenance_mode mode;
	int all_realms;
	int set_roles;
	const struct sgate_bytes *roles;
	size_t roles_count;
	struct sgate_bytes reason;
	int64_t until_ms;
};
SGATE_MUST_CHECK enum sgate_status sgate_maintenance_set(
    struct sgate_manager *mgr, const struct sgate_maintenance *maintenance,
    struct sgate_error *err);
/*
 * Ends it (old: allow_non_admin_login, cleanup_maintenance_state): all_realms:
 * whatever was set for whom, else what was set for the caller's realm alone.
 * SGATE_OK also when there was nothing to end.
 */
SGATE_MUST_CHECK enum sgate_status sgate_maintenance_end(
    struct sgate_manager *mgr, int all_realms, struct sgate_error *err);

/* What is in force in the caller's realm; of two the stricter one. */
struct sgate_maintenance_state {
	enum sgate_maintenance_mode mode;
	int all_realms;
	int64_t since_ms, until_ms; /* 0: until it is ended */
	char roles[256];            /* let through; by commas */
	char reason[201];
};
/* SGATE_UNAVAILABLE: nobody could tell. */
SGATE_MUST_CHECK enum sgate_status sgate_maintenance_get(
    struct sgate_manager *mgr, struct sgate_maintenance_state *out_state,
    struct sgate_error *err);

/*
 * End sessions without touching any: all that were created before a moment,
 * anonymous ones too. They are "flushed" on every host that reaches the durable
 * store within two seconds, and nowhere listed or counted as live.
 *
 * all_realms: not 0: of every realm; else of the caller's. before_ms: not after
 * now; 0 = now: all that were created before the call, none that is created
 * after it has returned (it takes a part of a second). roles: only sessions
 * with one of them, or (but_roles) only those with none of them; none given =
 * all. *out_before_ms (may be NULL): that moment.
 */
struct sgate_flush {
	int all_realms;
	int64_t before_ms;
	const struct sgate_bytes *roles;
	size_t roles_count;
	int but_roles;
};
SGATE_MUST_CHECK enum sgate_status sgate_sessions_flush(
    struct sgate_manager *mgr, const struct sgate_flush *flush,
    int64_t *out_before_ms, struct sgate_error *err);

/* ---- care ---- */

struct sgate_reaped {
	uint64_t ended;   /* sessions ended because they had expired */
	uint64_t deleted; /* rows deleted, long after their end */
	int has_more;     /* a chunk was full: there are more to delete */
	int is_done;      /* 0: there is more; call again */
};
/*
 * One bounded step of tidying (old: cleanup_expired_sessions): ends what has
 * expired, deletes what ended long ago, at most reap.chunk rows each.
 */
SGATE_MUST_CHECK enum sgate_status sgate_reap(struct sgate_manager *mgr,
    struct sgate_reaped *out_reaped, struct sgate_error *err);

struct sgate_stats {
	uint64_t live;      /* sessions of users */
	uint64_t anonymous; /* live sessions without a user */
	uint64_t users;     /* distinct users with a live session */
	uint64_t ended;     /* ended and not deleted yet */
};
/*
 * Counts in the durable store (old: get_session_stats): index scans. A session
 * that nobody has used for too long counts as live until it is reaped.
 */
SGATE_MUST_CHECK enum sgate_status sgate_stats(struct sgate_manager *mgr,
    struct sgate_stats *out_stats, struct sgate_error *err);

struct sgate_health {
	int durable_up;
	char durable_name[16];
	int64_t durable_latency_us;
	char durable_text[256]; /* why it is down */
	char cache_name[16];    /* "" = there is none */
	int cache_up;
	int64_t cache_latency_us;
	char cache_text[256];
};
/* Asks each store once (old: health_check). SGATE_OK even when one is down. */
SGATE_MUST_CHECK enum sgate_status sgate_health(struct sgate_manager *mgr,
    struct sgate_health *out_health, struct sgate_error *err);

/* ---- the caller's own statements (old: get_db_session) ---- */

/* One bound parameter or one column: text/blob with a length, integer, NULL */
enum sgate_value_kind {
	SGATE_VALUE_NULL = 0,
	SGATE_VALUE_INTEGER,
	SGATE_VALUE_TEXT,
	SGATE_VALUE_BLOB
};
struct sgate_value {
	enum sgate_value_kind kind;
	int64_t integer;
	struct sgate_bytes bytes;
};
/* Called for each row; values are borrowed for the call. Not 0 stops. */
typedef int sgate_row_fn(
    void *arg, const struct sgate_value *columns, size_t columns_count);

/*
 * A transaction on the durable store for the caller's own tables. budget_ms:
 * all of it must be done by then; 0 = the caller's budget.
 * sgate_db_close() rolls back what was not committed, and takes NULL. It is a
 * connection of its own: sessions can be looked up meanwhile, but changes of
 * sessions may wait for it, and its deadline bounds how long. After a statement
 * that failed nothing can be committed any more.
 */
SGATE_MUST_CHECK enum sgate_status sgate_db_open(struct sgate_manager *mgr,
    int64_t budget_ms, struct sgate_db **out_db, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status sgate_db_exec(struct sgate_db *db,
    const char *sql, const struct sgate_value *params, size_t params_count,
    sgate_row_fn *row, void *row_arg, struct sgate_error *err);
SGATE_MUST_CHECK enum sgate_status sgate_db_commit(
    struct sgate_db *db, struct sgate_error *err);
void sgate_db_close(struct sgate_db *db);

#ifdef __cplusplus
}
#endif
#endif
