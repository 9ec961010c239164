/*
 * What the JSON routes share. The routes themselves: api_browser.c,
 * api_programs.c, api_status.c; all of them are listed in gateway/README.md.
 *
 * JSON of every route: moments (`*_at`, `server_time`, `iat`, `exp`, `since`)
 * are integers, UTC seconds; durations (`idle_timeout`) are seconds. What is
 * not known or not there is null. Errors are problem+json with a stable
 * `code`.
 */
#ifndef SESSGATE_API_H
#define SESSGATE_API_H

#include "call.h"

#define API_PARTS_MAX 4

/* A path below the mount (or below v1/), split at '/', still encoded. */
struct api_path {
	struct sgate_bytes part[API_PARTS_MAX];
	size_t count; /* API_PARTS_MAX + 1: too many */
};

struct api_route {
	const char *pattern; /* "sessions/x/end"; '*' takes any one part */
	enum request_method method;
	unsigned body;  /* BODY_ kinds it takes */
	unsigned needs; /* flags of the file that the route is in */
	void (*serve)(struct call *c, const struct api_path *path);
	enum tally_operation operation; /* whose times are told */
};

/* The three parts of the API; each writes the whole answer. */
void api_browser_serve(struct call *c, struct sgate_bytes path);
void api_programs_serve(struct call *c, struct sgate_bytes path);
/* GET health for browsers: up or down, nothing else. */
void api_status_public(struct call *c);
/* v1/health, ready, status, stats and metrics. */
void api_status_health(struct call *c, const struct api_path *path);
void api_status_ready(struct call *c, const struct api_path *path);
void api_status_full(struct call *c, const struct api_path *path);
void api_status_stats(struct call *c, const struct api_path *path);
/* api_metrics.c */
void api_status_metrics(struct call *c, const struct api_path *path);
/* Of these, what is about the stores: api_stores.c. */
void api_stores_json(struct json *j, const struct gateway *gw);
void api_spool_json(struct json *j, const struct gateway *gw);
void api_stores_counts(struct json *j, const struct tally *sum);
/* How long the oldest event has been waiting; 0: none is. */
int64_t api_spool_oldest_ms(const struct stores_spool *spool);

/*
 * Find the route. HEAD finds GET's. NULL: c->reply has the answer: 404, or
 * 405 with Allow.
 */
const struct api_route *api_find_route(struct call *c,
    const struct api_route *routes, size_t count, struct sgate_bytes path,
    struct api_path *out_path);

void api_problem(
    struct call *c, int status, const char *code, const char *detail);
void api_not_found(struct call *c);
/* The same about one member of a body; a long name is not echoed. */
void api_refuse_member(
    struct call *c, int status, const char *code, const char *name);
/* A refusal by reason, in the words that a browser may know; noted. */
void api_deny(struct call *c, enum sgate_reason reason);
/*
 * One more login of this address, which is none ("") where it is not known. A
 * trusted proxy's is no visitor's and is not counted. False: they were too many
 * in this minute; answered with 429.
 */
SGATE_MUST_CHECK bool api_count_login(
    struct call *c, struct sgate_bytes address);
/* What c->err and a status of the library come to. */
void api_fail(struct call *c, enum sgate_status status);

/* The same of a call that changes what is set for all: whoever may do that is
 * told why it could not be done. */
void api_fail_told(struct call *c, enum sgate_status status);
/* `maintenance` for everybody who asks: what is in force; or (has_null) null.
 */
void api_json_maintenance(struct json *j, const struct call *c, bool has_null);
/* What is set for all hosts: api_settings.c. */
void api_settings_json(struct json *j, const struct stores *stores);

/* Begin a JSON answer; the object is open, api_json_end() closes it. */
void api_json_begin(struct call *c, int status, struct json *j);
void api_json_end(struct call *c, struct json *j);
/* 0 is null. */
void api_json_seconds(struct json *j, const char *key, int64_t ms);
/* A string, or null when empty. */
void api_json_optional(
    struct json *j, const char *key, struct sgate_bytes value);
void api_json_ref(struct json *j, const char *key, const struct sgate_ref *ref);
/* The members that browsers and programs see alike, without data. */
void api_json_session(struct json *j, const struct sgate_session *session);

/* "\"ref.version\"" */
#define API_ETAG_MAX 96
void api_etag(const struct sgate_session *session, char out[API_ETAG_MAX]);
/*
 * Whether an If-Match or If-None-Match list names this etag. is_weak: W/ in
 * front does not matter (If-None-Match). "*" names any.
 */
bool api_etag_listed(struct sgate_bytes list, const char *etag, bool is_weak);
/*
 * If-Match against the session as it was loaded, which may be a copy that is
 * behind its row: a newer version than its own is let through. *out_version is
 * what the row must have (0 = no condition). False: c->reply has the 412.
 */
SGATE_MUST_CHECK bool api_if_match(
    struct call *c, const struct sgate_session *session, uint64_t *out_version);

#endif
