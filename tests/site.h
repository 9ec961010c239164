/*
 * One gateway without processes or sockets, for tests that drive serve(): a
 * configuration, a key file and a SQLite store in a directory of its own, a
 * clock that the test sets.
 */
#ifndef TESTS_SITE_H
#define TESTS_SITE_H

#include "counted.h"
#include "serve.h"

#define SITE_PARAMS_MAX 40

struct site {
	char directory[64];
	const struct sgate_conf *conf;
	struct sgate_conf *own_conf; /* NULL, as mgr: of site_open_over() */
	struct sgate_manager *mgr;
	struct shared *shared;
	struct gateway gw;
	struct conf_listener listener;
	char *no_roles[1];
	int64_t now_ms;
	struct buf answer;
	/* The session that site_login() made last. */
	char token[SGATE_TOKEN_LEN + 1];
	char ref[SGATE_REF_HEX + 1];
	struct buf cookie; /* "__Host-sid=TOKEN" */
};

/* overrides: "section.name=value" strings, NULL-terminated; may be NULL. */
void site_open(struct site *site, const char *const *overrides);
/*
 * The same over a manager that somebody else has made, with its configuration,
 * stores and clock; it outlives the site.
 */
void site_open_over(struct site *site, const struct sgate_conf *conf,
    struct sgate_manager *mgr);
void site_close(struct site *site);
/* A store that cannot answer: the database is replaced by a directory. */
void site_break_store(struct site *site);
void site_mend_store(struct site *site);

/* Create a session with the library and remember its token. */
void site_create(struct site *site, const struct sgate_create *create);
/* The same for a user with one role (may be NULL). */
void site_login(struct site *site, const char *user, const char *role);
/* End the remembered session. */
void site_end(struct site *site, enum sgate_reason reason);

/*
 * A request. Absent members are left out of the params. Defaults: GET, the
 * listener's own allow, responder.
 */
struct ask {
	const char *method; /* "GET" */
	const char *uri;    /* "/app/" */
	const char *cookie;
	const char *accept;
	const char *type; /* Content-Type */
	const char *body;
	const char *length;   /* instead of the body's own */
	const char *origin;   /* "" = none at all; NULL = our own */
	const char *more[12]; /* "NAME=value" */
	unsigned allow;       /* 0 = check, api */
	bool is_authorizer;
	bool is_check;
	bool is_malformed;
	bool body_breaks; /* read_body fails after the body's bytes */
	bool no_peer;
	int peer_pid; /* 0 = 12 */
};
/* The status of the answer, which is in site->answer. Asserts its form. */
int site_ask(struct site *site, const struct ask *ask);

/* The same with params as they are; check and api; no body is read. */
int site_ask_raw(struct site *site, char *const *params, bool is_authorizer);

/* The value of a header of the last answer, or NULL. Valid until the next. */
const char *site_header(struct site *site, const char *name);
int site_count_header(struct site *site, const char *name);
const char *site_body(const struct site *site);
/* A string or integer member of the last answer's JSON body; "" if absent. */
const char *site_member(struct site *site, const char *name);
bool site_body_has(const struct site *site, const char *text);
/* Whether the log so far (level info) has the text. */
bool site_log_has(const struct site *site, const char *text);

#endif
