/*
 * What the routes for programs share: who may call them, the realm that they
 * mean, and members of bodies and queries.
 */
#ifndef SESSGATE_API_PROGRAMS_H
#define SESSGATE_API_PROGRAMS_H

#include "api.h"

/*
 * api_route.needs of a v1 route: any of these is enough. control.sock has all;
 * a listener that allows `create` has CREATE, INTROSPECT and END; a service
 * key has those of its name, and END with CREATE or MANAGE.
 */
#define SCOPE_CREATE (1u << 0)
#define SCOPE_INTROSPECT (1u << 1)
#define SCOPE_MANAGE (1u << 2)
#define SCOPE_ADMIN (1u << 3)
#define SCOPE_END (1u << 4)
#define SCOPE_LOOK (1u << 5) /* health and ready: any valid key */
#define SCOPE_ALL 0x3fu

/* api_manage.c */
void api_session_show(struct call *c, const struct api_path *path);
void api_session_patch(struct call *c, const struct api_path *path);
void api_session_delete(struct call *c, const struct api_path *path);
void api_user_sessions(struct call *c, const struct api_path *path);
void api_user_cleanup(struct call *c, const struct api_path *path);
void api_user_block(struct call *c, const struct api_path *path);
void api_user_unblock(struct call *c, const struct api_path *path);
void api_audit(struct call *c, const struct api_path *path);

/* api_settings.c */
void api_maintenance_show(struct call *c, const struct api_path *path);
void api_maintenance_set(struct call *c, const struct api_path *path);
void api_maintenance_end(struct call *c, const struct api_path *path);
void api_flush(struct call *c, const struct api_path *path);

/*
 * A field of the query. False: it is there twice or cannot be decoded,
 * c->reply has the answer. *out is {NULL, 0} when absent, else it points into
 * *buf.
 */
SGATE_MUST_CHECK bool api_query(
    struct call *c, const char *name, struct buf *buf, struct sgate_bytes *out);
/*
 * The realm that a body or query names; empty = none. False: it is not the one
 * that listener, key or SESSGATE_REALM give; answered with 403.
 */
SGATE_MUST_CHECK bool api_use_realm(struct call *c, struct sgate_bytes name);
/* That of the member `realm` of a JSON body, which has been read. */
SGATE_MUST_CHECK bool api_use_body_realm(struct call *c);

/*
 * Members of a JSON body. Absent: true and nothing is set. Of another kind:
 * false, and c->reply has a 400 that names the member.
 */
SGATE_MUST_CHECK bool api_string(
    struct call *c, const char *name, struct sgate_bytes *out);
/* A string, or an integer as text in *buf: ids of either kind. */
SGATE_MUST_CHECK bool api_id(
    struct call *c, const char *name, struct buf *buf, struct sgate_bytes *out);
/* true or false; absent: *out stays. */
SGATE_MUST_CHECK bool api_bool(struct call *c, const char *name, int *out);
/* free() *out_items. */
SGATE_MUST_CHECK bool api_strings(struct call *c, const char *name,
    struct sgate_bytes **out_items, size_t *out_count);
/* Seconds, 1 to 10 years, as milliseconds. */
SGATE_MUST_CHECK bool api_duration(
    struct call *c, const char *name, int64_t *out_ms);
/* An object as JSON text in *buf. */
SGATE_MUST_CHECK bool api_object(
    struct call *c, const char *name, struct buf *buf, struct sgate_bytes *out);
/* context, or platform_connection_id, its old name; not both. */
SGATE_MUST_CHECK bool api_context(
    struct call *c, struct buf *buf, struct sgate_bytes *out);
/* Members that are not in the NULL-terminated list: false, answered. */
SGATE_MUST_CHECK bool api_only(
    struct call *c, const char *const *names, int status, const char *code);

/*
 * Whether this caller may give these roles: those of admin_roles need the
 * scope `admin`, and the listener's list, if it has one, is the limit. False:
 * answered with 403.
 */
SGATE_MUST_CHECK bool api_may_grant(
    struct call *c, const struct sgate_bytes *roles, size_t count);

/* All members of a session, as an object. */
void api_json_session_full(struct json *j, const char *key,
    const struct sgate_session *session, bool with_data);

#endif
