/*
 * Whom the gateway runs as: names to ids, and giving root up for good.
 */
#ifndef SESSGATE_USER_H
#define SESSGATE_USER_H

#include "conf.h"

struct user {
	uid_t uid;
	gid_t gid;
	char name[64]; /* for messages */
};

/*
 * The user and group that gateway.user and gateway.group ask for. As root a
 * user is needed, and it must not be root; started by anybody else, both must
 * be empty or that one's own. SGATE_INVALID: err says which option and why.
 */
SGATE_MUST_CHECK enum sgate_status user_resolve(const struct sgate_conf *conf,
    struct user *out_user, struct sgate_error *err);
/*
 * Become that user, without its other groups, and check that there is no way
 * back. Nothing to do for who is not root.
 */
SGATE_MUST_CHECK enum sgate_status user_become(
    const struct user *user, struct sgate_error *err);

/* A user's or group's name or number. False: there is none. */
bool user_find(const char *name, uid_t *out_uid, gid_t *out_gid);
bool group_find(const char *name, gid_t *out_gid);

#endif
