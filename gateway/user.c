/*
 * Whom the gateway runs as. Root is needed for owners of sockets and for the
 * runtime directory alone; it is given up before anything is read from a
 * request, a store or the key file.
 */
#include "config.h"

#include "user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "status.h"

static bool
parse_id(const char *name, uint64_t *out)
{
	return bytes_to_uint(bytes_of(name), UINT32_MAX - 1, out);
}

bool
user_find(const char *name, uid_t *out_uid, gid_t *out_gid)
{
	struct passwd *pw = getpwnam(name);
	uint64_t id;

	if (pw == NULL && parse_id(name, &id))
		pw = getpwuid((uid_t)id);
	if (pw == NULL)
		return false;
	*out_uid = pw->pw_uid;
	*out_gid = pw->pw_gid;
	return true;
}

bool
group_find(const char *name, gid_t *out_gid)
{
	struct group *gr = getgrnam(name);
	uint64_t id;

	if (gr == NULL && parse_id(name, &id))
		gr = getgrgid((gid_t)id);
	if (gr == NULL)
		return false;
	*out_gid = gr->gr_gid;
	return true;
}

#define INVALID(err, ...)                                                      \
	error_set(err, SGATE_INVALID, "user", "resolve", 0, __VA_ARGS__)

static enum sgate_status
resolve_as_root(const struct sgate_conf *conf, struct user *out_user,
    struct sgate_error *err)
{
	const char *user = conf->gateway.user, *group = conf->gateway.group;

	if (user[0] == '\0')
		return INVALID(err,
		    "gateway.user: running as root needs a user to become");
	if (!user_find(user, &out_user->uid, &out_user->gid))
		return INVALID(err,
		    "gateway.user: there is no user \"%s\": adduser --system "
		    "--group NAME makes one",
		    user);
	if (out_user->uid == 0)
		return INVALID(err,
		    "gateway.user: \"%s\" is root: name another user", user);
	if (group[0] != '\0' && !group_find(group, &out_user->gid))
		return INVALID(err,
		    "gateway.group: there is no group \"%s\": addgroup "
		    "--system NAME makes one",
		    group);
	if (out_user->gid == 0)
		return INVALID(err,
		    "gateway.group: the group of \"%s\" would be root's: name "
		    "another group",
		    user);
	return SGATE_OK;
}

static enum sgate_status
resolve_as_other(const struct sgate_conf *conf, struct user *out_user,
    struct sgate_error *err)
{
	const char *user = conf->gateway.user, *group = conf->gateway.group;
	uid_t uid;
	gid_t gid;

	out_user->uid = geteuid();
	out_user->gid = getegid();
	if (user[0] != '\0' &&
	    (!user_find(user, &uid, &gid) || uid != out_user->uid))
		return INVALID(err,
		    "gateway.user: only root can become \"%s\": start as that "
		    "user, or leave the option out",
		    user);
	if (group[0] != '\0' &&
	    (!group_find(group, &gid) || gid != out_user->gid))
		return INVALID(err,
		    "gateway.group: only root can become group \"%s\": start "
		    "with that group, or leave the option out",
		    group);
	return SGATE_OK;
}

enum sgate_status
user_resolve(const struct sgate_conf *conf, struct user *out_user,
    struct sgate_error *err)
{
	enum sgate_status status;
	struct passwd *pw;

	memset(out_user, 0, sizeof(*out_user));
	if (geteuid() == 0)
		status = resolve_as_root(conf, out_user, err);
	else
		status = resolve_as_other(conf, out_user, err);
	if (status != SGATE_OK)
		return status;
	pw = getpwuid(out_user->uid);
	if (pw != NULL && strlen(pw->pw_name) < sizeof(out_user->name))
		strcpy(out_user->name, pw->pw_name);
	else
		snprintf(out_user->name, sizeof(out_user->name), "%lu",
		    (unsigned long)out_user->uid);
	return SGATE_OK;
}

static bool
is_for_good(const struct user *user)
{
	uid_t r, e, s;
	gid_t gr, ge, gs;

	if (getresuid(&r, &e, &s) != 0 || getresgid(&gr, &ge, &gs) != 0)
		return false;
	if (r != user->uid || e != user->uid || s != user->uid ||
	    gr != user->gid || ge != user->gid || gs != user->gid)
		return false;
	return setuid(0) != 0 && seteuid(0) != 0 && setgid(0) != 0;
}

enum sgate_status
user_become(const struct user *user, struct sgate_error *err)
{
	if (geteuid() != 0)
		return SGATE_OK;
	if (setgroups(1, &user->gid) != 0 ||
	    setresgid(user->gid, user->gid, user->gid) != 0 ||
	    setresuid(user->uid, user->uid, user->uid) != 0)
		return error_set(err, SGATE_INTERNAL, "user", "become", errno,
		    "cannot become user %s: %s", user->name, strerror(errno));
	if (!is_for_good(user))
		return error_set(err, SGATE_INTERNAL, "user", "become", 0,
		    "became user %s, but root could be had back", user->name);
	return SGATE_OK;
}
