/*
 * One session as the library holds it: all columns of its row. Plain values,
 * no I/O. What follows from the values (expired? which secret?) is here too,
 * so that every path judges alike.
 */
#ifndef SESSGATE_SESSION_H
#define SESSGATE_SESSION_H

#include <stdbool.h>

#include "sessgate.h"
#include "token.h"

#define SESSION_REALM_MAX 64
#define SESSION_USER_MAX 128
#define SESSION_CONTEXT_MAX 128
#define SESSION_CONTEXTS_MAX 32 /* how many */
#define SESSION_ROLE_MAX 64
#define SESSION_ROLES_MAX 32 /* how many */
#define SESSION_AGENT_MAX 255
#define SESSION_EXPORTS_MAX 3072
#define SESSION_FORMAT 1 /* of exports and data */

enum session_state { SESSION_LIVE = 1, SESSION_ENDED = 2 };

struct sgate_session {
	struct sgate_ref ref;
	uint64_t seq;     /* number of its last change in its fence group */
	uint64_t version; /* 1 at creation, + 1 with every change */
	enum session_state state;
	enum sgate_reason end_reason;
	int64_t ended_ms;
	char realm[SESSION_REALM_MAX + 1];
	char user[SESSION_USER_MAX + 1]; /* "" = anonymous; no NUL inside */
	unsigned char secret_hash[TOKEN_HASH_BYTES];
	bool has_prev;
	unsigned char prev_hash[TOKEN_HASH_BYTES];
	int64_t prev_until_ms;
	int64_t successor_used_ms; /* 0 = not yet */
	char context[SESSION_CONTEXT_MAX + 1];
	/*
	 * Heap strings, NUL-terminated, never NULL in a complete session:
	 * contexts joined by '\n', roles joined by ',' (the names cannot hold
	 * those bytes), exports as "NAME=value\n" lines, data as JSON text.
	 */
	char *contexts;
	char *roles;
	char *exports;
	char *data;
	int64_t created_ms, auth_ms, last_seen_ms;
	int64_t idle_ms, absolute_ms; /* a duration; a moment */
	unsigned char client_ip[16];
	size_t client_ip_len; /* 0, 4, 16 */
	char user_agent[SESSION_AGENT_MAX + 1];
	/* Not stored: what the manager found when it looked. */
	char new_token[SGATE_TOKEN_LEN + 1]; /* "" = keep the presented one */
	/* Room for sgate_session_get_client_ip(), of session_new(). */
	char *client_ip_text;
};

/* Zeroed, with empty strings; NULL when memory is out. */
struct sgate_session *session_new(void);
/* Replaces a heap string (takes ownership of nothing); false: no memory. */
bool session_set(char **field, struct sgate_bytes value);

/* The exports block, "NAME=value\n" lines. Borrowed. */
struct sgate_bytes session_get_exports(const struct sgate_session *s);

/* last_seen + idle + idle/10: see "throttled touch" in session.c. */
int64_t session_idle_deadline_ms(const struct sgate_session *s);
/*
 * How long a copy of it is kept elsewhere: a minute longer than it can live
 * without activity; and its tombstone: than it could have lived. From now_ms.
 */
int64_t session_copy_ttl_ms(const struct sgate_session *s, int64_t now_ms);
int64_t session_tombstone_ttl_ms(const struct sgate_session *s, int64_t now_ms);
/* SGATE_REASON_OK, EXPIRED_IDLE or EXPIRED_ABSOLUTE at now_ms. */
enum sgate_reason session_expiry(const struct sgate_session *s, int64_t now_ms);
/* The same of moments that stand elsewhere. */
enum sgate_reason session_expiry_of(
    int64_t last_seen_ms, int64_t idle_ms, int64_t absolute_ms, int64_t now_ms);
int64_t session_copy_ttl_of(
    int64_t idle_ms, int64_t absolute_ms, int64_t now_ms);
bool session_touch_is_due_of(
    int64_t last_seen_ms, int64_t idle_ms, int64_t now_ms);
/* Raises last_seen, never lowers it; a moment in the future counts as now. */
void session_seen(struct sgate_session *s, int64_t seen_ms, int64_t now_ms);
/* Whether activity at now_ms is worth writing (a tenth of idle has passed). */
bool session_touch_is_due(const struct sgate_session *s, int64_t now_ms);

/*
 * How a presented secret stands to a row: the table of "Rotation" in
 * lib/README.md. Constant time in the hashes.
 */
enum session_secret {
	SESSION_SECRET_CURRENT,
	SESSION_SECRET_GRACE, /* the previous one, in grace: send successor */
	SESSION_SECRET_LATE   /* neither: theft, if it can be proved */
};
enum session_secret session_secret(const struct sgate_session *s,
    const unsigned char hash[TOKEN_HASH_BYTES], int64_t now_ms,
    int64_t rotate_grace_ms);
/* Whether `previous secret` is still in grace (a rotate is then no change). */
bool session_prev_in_grace(
    const struct sgate_session *s, int64_t now_ms, int64_t rotate_grace_ms);

/*
 * A list joined by `separator`: how many, which ({NULL, 0} past the end),
 * whether. An empty text is an empty list.
 */
size_t session_list_count(const char *list, char separator);
struct sgate_bytes session_list_at(
    const char *list, char separator, size_t index);
bool session_list_has(
    const char *list, char separator, struct sgate_bytes item);

#endif
