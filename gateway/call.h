/*
 * One request under way: what all roles share. Who calls (realm, address,
 * actor), which session its cookie names, what is counted and logged.
 */
#ifndef SESSGATE_CALL_H
#define SESSGATE_CALL_H

#include "body.h"
#include "reply.h"
#include "request.h"
#include "serve.h"

struct call {
	struct gateway *gw;
	const struct serve_input *input;
	const struct sgate_conf *conf;
	const struct request *req;
	struct reply reply;
	struct body body;
	struct sgate_bytes realm; /* set by call_find_realm() */
	bool realm_is_given;      /* by listener, key or param: stands */
	bool wants_page;          /* a browser's visitor: refusals are pages */
	bool is_program; /* by service key: REMOTE_ADDR is no visitor's */
	bool has_identity;
	enum tally_operation operation; /* of the route */
	unsigned scopes;                /* of a program: api_programs.h */
	struct sgate_bytes token;       /* the cookie's value; empty = none */
	struct sgate_session *session;
	enum sgate_reason reason; /* why there is no session, no identity */

	/* call_init() sets all before this to 0, and texts to "". */
	struct identity identity; /* of a check, which has no session */
	char realm_text[CONF_REALM_MAX + 1];
	char client_ip[46]; /* "" also before somebody needs it */
	char actor[65];
	struct sgate_error err; /* of the last call into the library */
	struct request own_req; /* what req points to, unless it was given */
};

void call_init(struct call *c, struct gateway *gw,
    const struct serve_input *input, struct buf *out);
void call_clear(struct call *c);

static inline bool
call_may(const struct call *c, unsigned allow)
{
	return (c->input->allow & allow) != 0;
}

int64_t call_now_ms(const struct call *c);

/*
 * SGATE_REASON_OK and c->realm; LISTENER: another realm than the listener's is
 * named; POLICY: no realm can have that name.
 */
SGATE_MUST_CHECK enum sgate_reason call_find_realm(struct call *c);
/*
 * Tell the manager who calls. actor NULL: the socket's peer. SGATE_REASON_OK
 * or STORE (there is no manager in this process, or it refused).
 */
SGATE_MUST_CHECK enum sgate_reason call_introduce(
    struct call *c, const char *actor);
/* Find c->token in the cookies: as cookie_find(). */
SGATE_MUST_CHECK enum sgate_reason call_find_token(struct call *c);
/*
 * Find the token, then its session. SGATE_REASON_OK: c->session is live (it
 * may be anonymous); if its token has changed, the Set-Cookie waits in
 * c->reply. Anything else: c->session is NULL. c->reason keeps the answer.
 */
SGATE_MUST_CHECK enum sgate_reason call_load_session(
    struct call *c, unsigned flags);
/*
 * The same for a check, which needs no more than c->identity. It tells the
 * manager who calls, where that has to know.
 */
SGATE_MUST_CHECK enum sgate_reason call_load_identity(struct call *c);
/*
 * c->session as far as manager_glance() has it, once call_introduce() has told
 * who calls. False says nothing: call_load_session().
 */
SGATE_MUST_CHECK bool call_glance(struct call *c);
/* Of the session or identity that was found; NULL: there is neither. */
const struct sgate_ref *call_ref(const struct call *c);
/* The ref in c->token if its tag is right, whatever became of the session. */
bool call_token_ref(const struct call *c, struct sgate_ref *out_ref);
/* Let c->reply send this token as the session's cookie. */
void call_send_cookie(
    struct call *c, const char *token, const struct sgate_session *session);
/* Let c->reply tell the browser to forget the cookie. */
void call_clear_cookie(struct call *c);

/* The reason that a status of the library means when c->err names none. */
enum sgate_reason call_reason(const struct call *c, enum sgate_status status);

/* What is in force in c->realm, as this host knows it: api_settings.c. */
void call_maintenance(
    const struct call *c, struct sgate_maintenance_state *out);
/* Let c->reply tell when maintenance ends; of other reasons, nothing. */
void call_set_retry_after(struct call *c, enum sgate_reason reason);

void call_count(const struct call *c, enum tally_counter counter);
void call_count_ended(const struct call *c, uint64_t sessions);
/* Count a refusal and log it with its exact reason and the ref. */
void call_note_denial(struct call *c, enum sgate_reason reason);
/* Log c->err: a store failed, or the library met its own bug. */
void call_note_error(struct call *c, const char *what);

#endif
