#include "config.h"

#include "call.h"

#include "clock.h"
#include "cookie.h"
#include "local.h"
#include "log.h"
#include "outage.h"
#include "token.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

void
call_init(struct call *c, struct gateway *gw, const struct serve_input *input,
    struct buf *out)
{
	memset(c, 0, offsetof(struct call, identity));
	c->realm_text[0] = c->client_ip[0] = c->actor[0] = '\0';
	c->err.reason = SGATE_REASON_OK;
	c->gw = gw;
	c->input = input;
	c->conf = gw->conf;
	reply_init(&c->reply, out);
	c->req = input->request;
	if (c->req == NULL) {
		request_init(&c->own_req, input->params, input->is_authorizer);
		c->own_req.is_malformed |= input->is_malformed;
		c->req = &c->own_req;
	}
}

void
call_clear(struct call *c)
{
	sgate_session_free(c->session);
	c->session = NULL;
	/* Nobody reads the body of a check. */
	if (c->req->role == REQUEST_API)
		body_clear(&c->body);
	reply_clear(&c->reply);
}

int64_t
call_now_ms(const struct call *c)
{
	return c->gw->mgr == NULL ? clock_utc_ms() : manager_now_ms(c->gw->mgr);
}

enum sgate_reason
call_find_realm(struct call *c)
{
	const struct conf_listener *listener = c->input->listener;
	struct sgate_bytes named = c->req->realm;

	c->realm = (struct sgate_bytes){"", 0};
	if (named.len > 0 && !bytes_is_name(named, CONF_REALM_MAX, "._-"))
		return SGATE_REASON_POLICY;
	if (listener != NULL && listener->has_realm) {
		c->realm = bytes_of(listener->realm);
		c->realm_is_given = true;
		if (named.len > 0 && !bytes_equal(named, c->realm))
			return SGATE_REASON_LISTENER;
	} else if (named.len > 0) {
		c->realm = named;
		c->realm_is_given = true;
	}
	return SGATE_REASON_OK;
}

/* "control uid=0 pid=1", "login.sock uid=33 pid=12". */
static void
call_name_peer(struct call *c)
{
	const struct conf_listener *listener = c->input->listener;
	const char *name = listener == NULL ? "inside" : listener->name;
	const char *suffix = call_may(c, CONF_ALLOW_ALL) ? "" : ".sock";

	if (c->input->has_peer)
		snprintf(c->actor, sizeof(c->actor), "%.24s%s uid=%lu pid=%ld",
		    name, suffix, (unsigned long)c->input->peer_uid,
		    (long)c->input->peer_pid);
	else
		snprintf(c->actor, sizeof(c->actor), "%.24s%s", name, suffix);
}

/* As much of it as there is room for. */
static void
copy_text(char *out, size_t size, const char *text)
{
	size_t len = strnlen(text, size - 1);

	memcpy(out, text, len);
	out[len] = '\0';
}

/* Once: to read and write it costs as much as all else of a hit. */
static void
call_find_client(struct call *c)
{
	if (c->client_ip[0] == '\0' && !c->is_program)
		request_client(
		    c->req, c->conf->gateway.trusted_proxies, c->client_ip);
}

enum sgate_reason
call_introduce(struct call *c, const char *actor)
{
	struct sgate_caller caller;

	memset(&caller, 0, sizeof(caller));
	if (c->gw->mgr == NULL)
		return SGATE_REASON_STORE;
	if (actor == NULL)
		call_name_peer(c);
	else if (actor != c->actor)
		copy_text(c->actor, sizeof(c->actor), actor);
	call_find_client(c);
	caller.realm = c->realm;
	caller.actor = bytes_of(c->actor);
	caller.client_ip = bytes_of(c->client_ip);
	if (sgate_manager_set_caller(c->gw->mgr, &caller, &c->err) !=
	    SGATE_OK) {
		call_note_error(c, "caller");
		return SGATE_REASON_STORE;
	}
	return SGATE_REASON_OK;
}

enum sgate_reason
call_reason(const struct call *c, enum sgate_status status)
{
	switch (status) {
	case SGATE_OK:
		return SGATE_REASON_OK;
	case SGATE_NOT_FOUND:
	case SGATE_DENIED:
		if (c->err.reason != SGATE_REASON_OK)
			return c->err.reason;
		return SGATE_REASON_UNKNOWN;
	case SGATE_UNAVAILABLE:
		if (c->err.reason == SGATE_REASON_MAINTENANCE)
			return c->err.reason;
		break;
	case SGATE_CONFLICT:
	case SGATE_INVALID:
	case SGATE_CORRUPT:
	case SGATE_TOO_LARGE:
	case SGATE_UNCERTAIN:
	case SGATE_NO_MEMORY:
	case SGATE_INTERNAL:
		break;
	}
	return SGATE_REASON_STORE;
}

/*
 * The agent was kept cut short, and with '?' for what is no plain text: those
 * places match any such byte.
 */
static bool
is_kept_agent(struct sgate_bytes kept, struct sgate_bytes agent)
{
	size_t i;

	if (agent.len > SESSION_AGENT_MAX)
		agent.len = SESSION_AGENT_MAX;
	if (agent.len != kept.len)
		return false;
	for (i = 0; i < kept.len; i++) {
		unsigned char c = (unsigned char)agent.data[i];

		if (kept.data[i] != agent.data[i] &&
		    (kept.data[i] != '?' || (c >= 0x20 && c < 0x7f)))
			return false;
	}
	return true;
}

/* Refused either way; that it could not be ended is the store's failure. */
static enum sgate_reason
call_end_stolen(struct call *c, const struct sgate_session *session)
{
	/* Others may be served meanwhile, and what was identified last is then
	 * theirs. */
	const struct sgate_ref ref = *sgate_session_get_ref(session);

	c->identity.session = NULL;
	if (sgate_session_end(
		c->gw->mgr, &ref, SGATE_REASON_BINDING, &c->err) == SGATE_OK)
		call_count_ended(c, 1);
	else
		call_note_error(c, "binding");
	return SGATE_REASON_BINDING;
}

/*
 * A session that was made for one browser and comes from another: "strict"
 * ends it, for the cookie must have been stolen; "log" says so.
 */
static enum sgate_reason
call_check_binding(struct call *c, const struct sgate_session *session)
{
	static struct log_limit limit = {.burst = 10, .period_ms = 60000};
	struct sgate_bytes kept = sgate_session_get_user_agent(session);
	const char *address = sgate_session_get_client_ip(session);
	char ref[SGATE_REF_HEX + 1];
	bool agent_differs, address_differs;

	agent_differs = c->conf->session.bind_agent != CONF_BIND_OFF &&
			kept.len > 0 &&
			!is_kept_agent(kept, c->req->user_agent);
	address_differs = c->conf->session.bind_address != CONF_BIND_OFF &&
			  address[0] != '\0' &&
			  strcmp(address, c->client_ip) != 0;
	if (!agent_differs && !address_differs)
		return SGATE_REASON_OK;
	if ((agent_differs &&
		c->conf->session.bind_agent == CONF_BIND_STRICT) ||
	    (address_differs &&
		c->conf->session.bind_address == CONF_BIND_STRICT))
		return call_end_stolen(c, session);
	sgate_ref_text(sgate_session_get_ref(session), ref);
	log_limited(&limit, LOG_LEVEL_NOTICE,
	    "session %s: used with another %s than it was made with; accepted "
	    "(session.bind_agent, bind_address)",
	    ref,
	    !address_differs ? "user agent"
	    : agent_differs  ? "user agent and address"
			     : "address");
	return SGATE_REASON_OK;
}

/*
 * What call_check_binding() goes by: the local cache answers only who comes
 * with the same as somebody who was let through. room: LOCAL_BOUND_MAX bytes.
 */
static inline struct sgate_bytes
call_bound(struct call *c, char *room)
{
	struct sgate_bytes agent = {NULL, 0}, address = {NULL, 0};
	char *at = room;

	if (c->conf->session.bind_agent != CONF_BIND_OFF)
		agent = c->req->user_agent;
	if (c->conf->session.bind_address != CONF_BIND_OFF) {
		call_find_client(c);
		address = bytes_of(c->client_ip);
	}
	/* Behind that the agent is not kept either. */
	if (agent.len > SESSION_AGENT_MAX)
		agent.len = SESSION_AGENT_MAX;
	*at++ = (char)address.len;
	if (address.len > 0)
		at = mempcpy(at, address.data, address.len);
	if (agent.len > 0)
		at = mempcpy(at, agent.data, agent.len);
	return (struct sgate_bytes){room, (size_t)(at - room)};
}

enum sgate_reason
call_find_token(struct call *c)
{
	return cookie_find(c->req->cookie, c->conf->cookie.name, &c->token);
}

static enum sgate_reason
call_get_session(struct call *c, unsigned flags)
{
	enum sgate_reason reason = call_find_token(c);
	enum sgate_status status;

	if (reason != SGATE_REASON_OK)
		return reason;
	status = sgate_session_get(
	    c->gw->mgr, c->token, flags, &c->session, &c->err);
	reason = call_reason(c, status);
	if (reason == SGATE_REASON_STORE)
		call_note_error(c, "validate");
	if (reason == SGATE_REASON_OK)
		reason = call_check_binding(c, c->session);
	return reason;
}

enum sgate_reason
call_load_session(struct call *c, unsigned flags)
{
	const char *token;

	c->reason = call_get_session(c, flags);
	if (c->reason != SGATE_REASON_OK) {
		sgate_session_free(c->session);
		c->session = NULL;
		return c->reason;
	}
	token = sgate_session_new_token(c->session);
	if (token != NULL)
		call_send_cookie(c, token, c->session);
	return SGATE_REASON_OK;
}

/* What was let through is remembered, and so is what it was judged by. */
static enum sgate_reason
call_identify(struct call *c, struct sgate_bytes bound)
{
	enum sgate_reason reason = call_introduce(c, "browser");
	enum sgate_status status;

	if (reason != SGATE_REASON_OK)
		return reason;
	status = manager_identify(
	    c->gw->mgr, c->token, bound, &c->identity, &c->err);
	reason = call_reason(c, status);
	if (reason == SGATE_REASON_STORE)
		call_note_error(c, "validate");
	if (reason == SGATE_REASON_OK && c->identity.session != NULL) {
		reason = call_check_binding(c, c->identity.session);
		if (reason == SGATE_REASON_OK)
			manager_remember(c->gw->mgr);
	}
	return reason;
}

/* Who calls is told the manager only when the local cache has no answer. */
static enum sgate_reason
call_recall(struct call *c)
{
	enum sgate_reason reason = call_find_token(c);
	char room[LOCAL_BOUND_MAX] BUF_NO_ZEROS;
	struct sgate_bytes bound;

	if (reason != SGATE_REASON_OK)
		return reason;
	bound = call_bound(c, room);
	if (manager_recall(c->gw->mgr, c->realm, c->token, bound, &c->identity))
		return SGATE_REASON_OK;
	return call_identify(c, bound);
}

enum sgate_reason
call_load_identity(struct call *c)
{
	c->reason = call_recall(c);
	c->has_identity = c->reason == SGATE_REASON_OK;
	if (c->has_identity && c->identity.new_token != NULL)
		call_send_cookie(c, c->identity.new_token, c->identity.session);
	return c->reason;
}

bool
call_glance(struct call *c)
{
	char room[LOCAL_BOUND_MAX] BUF_NO_ZEROS;

	return call_find_token(c) == SGATE_REASON_OK &&
	       manager_glance(
		   c->gw->mgr, c->token, call_bound(c, room), &c->session);
}

const struct sgate_ref *
call_ref(const struct call *c)
{
	if (c->has_identity)
		return &c->identity.ref;
	return c->session != NULL ? sgate_session_get_ref(c->session) : NULL;
}

bool
call_token_ref(const struct call *c, struct sgate_ref *out_ref)
{
	struct token token;
	bool is_right;

	if (c->token.len == 0 || c->gw->mgr == NULL)
		return false;
	is_right = token_read(manager_keys(c->gw->mgr), c->realm, c->token,
		       &token) == SGATE_REASON_OK;
	if (is_right)
		*out_ref = token.ref;
	token_wipe(&token);
	return is_right;
}

void
call_send_cookie(
    struct call *c, const char *token, const struct sgate_session *session)
{
	buf_reset(&c->reply.cookie);
	cookie_write(c->conf, token,
	    cookie_max_age_s(c->conf, session, call_now_ms(c)),
	    &c->reply.cookie);
}

void
call_clear_cookie(struct call *c)
{
	buf_reset(&c->reply.cookie);
	cookie_clear(c->conf, &c->reply.cookie);
}

void
call_count(const struct call *c, enum tally_counter counter)
{
	tally_add(&c->gw->tally->counters[counter], 1);
}

void
call_count_ended(const struct call *c, uint64_t sessions)
{
	tally_add(&c->gw->tally->counters[TALLY_ENDED], sessions);
}

/* The path alone (queries carry what should not be in a log), cut short. */
static void
call_describe(const struct call *c, struct buf *out)
{
	struct sgate_bytes method = c->req->method_text;
	struct sgate_bytes path = request_path(c->req);

	if (method.len > 16)
		method.len = 16;
	if (path.len > 200)
		path.len = 200;
	buf_add_escaped(out, method);
	buf_add_char(out, ' ');
	buf_add_escaped(out, path);
}

/*
 * Whoever tries out tokens must not fill the log and the figures: of each
 * address only so many a minute are told.
 */
static bool
is_worth_a_note(const struct call *c, enum sgate_reason reason)
{
	int max = c->conf->limit.bad_token_per_minute;

	if (reason != SGATE_REASON_BAD_TAG && reason != SGATE_REASON_MALFORMED)
		return true;
	return max == 0 || c->gw->shared == NULL ||
	       rate_take(&c->gw->shared->bad_tokens, bytes_of(c->client_ip),
		   (unsigned)max, clock_monotonic_ms());
}

void
call_note_denial(struct call *c, enum sgate_reason reason)
{
	static struct log_limit limit = {.period_ms = 60000};
	struct buf line = {0};
	struct sgate_ref ref;
	char ref_text[SGATE_REF_HEX + 1] = "-";

	call_find_client(c);
	if (!is_worth_a_note(c, reason))
		return;
	if ((unsigned)reason < SGATE_REASON_COUNT)
		tally_add(&c->gw->tally->denials[reason], 1);
	if (call_ref(c) != NULL)
		sgate_ref_text(call_ref(c), ref_text);
	else if (call_token_ref(c, &ref))
		sgate_ref_text(&ref, ref_text);
	limit.burst = (unsigned)c->conf->log.denials_per_minute;
	if (c->gw->shared != NULL)
		limit.shared = &c->gw->shared->denials;
	call_describe(c, &line);
	/* No cookie at all is every first visit: not worth a notice. */
	log_limited(&limit,
	    reason == SGATE_REASON_NONE ? LOG_LEVEL_INFO : LOG_LEVEL_NOTICE,
	    "denied: reason=%s ref=%s realm=%.*s client=%s request=\"%s\"",
	    sgate_reason_text(reason), ref_text, (int)c->realm.len,
	    c->realm.len > 0 ? c->realm.data : "",
	    c->client_ip[0] == '\0' ? "-" : c->client_ip, buf_text(&line));
	buf_clear(&line);
}

void
call_note_error(struct call *c, const char *what)
{
	outage_note(c->gw, what, &c->err);
}
