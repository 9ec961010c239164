/*
 * One request in, one answer out, and nothing about FastCGI or sockets: the
 * worker gives the params as they came, serve() gives the bytes of stdout.
 *
 * The decision starts at deny; "200" for a check is produced in one place
 * (check.c). Whatever fails on the way gives 503, never an empty answer:
 * lighttpd takes an empty answer of an authorizer for "allowed".
 */
#ifndef SESSGATE_SERVE_H
#define SESSGATE_SERVE_H

#include <stdbool.h>
#include <sys/types.h>

#include "buf.h"
#include "conf.h"
#include "csrf.h"
#include "session_manager.h"
#include "shared.h"

struct request;

/* What a worker (or the keeper) has for its whole life. */
struct gateway {
	const struct sgate_conf *conf;
	struct sgate_manager *mgr; /* NULL in the keeper's status listener */
	struct shared *shared;
	/* Where this process counts: a worker its own, by tally_add_own(). */
	struct tally *tally;
	struct csrf_recent csrf;
};

struct serve_input {
	char *const *params; /* "NAME=value", NULL-terminated */
	/* The same, read already, and not malformed; or NULL. */
	const struct request *request;
	int64_t began_us;   /* clock_monotonic_us(), when it was all there */
	bool is_authorizer; /* the FastCGI role; else responder */
	bool is_malformed;  /* NUL, duplicate or '=' in params: answer 400 */
	const struct conf_listener *listener;
	unsigned
	    allow; /* conf_listener.allow, or what this process may serve */
	/* SO_PEERCRED of a unix socket that allows more than check and api. */
	bool has_peer;
	uid_t peer_uid;
	pid_t peer_pid;
	/*
	 * The request's body: bytes read, 0 at the end, -1 when it broke off
	 * or timed out. Never called for authorizers and checks.
	 */
	ssize_t (*read_body)(void *arg, char *out, size_t max);
	void *read_body_arg;
};

/* Appends a whole CGI-style answer: "Status: ..." first. */
void serve(struct gateway *gw, const struct serve_input *input,
    struct buf *out_answer);

/* The answer when nothing else can be said: 503 with Retry-After. */
extern const char serve_unavailable[];

#endif
