/*
 * What `sessgatectl doctor` looks at on this host: files and their rights, the
 * signing keys, what the cookie is like. As the gateway's user, and nothing is
 * changed. Who may open the sockets a wrong configuration is refused for.
 */
#include "config.h"

#include "ctl.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys.h"

#define DAY_MS (INT64_C(86400) * 1000)
/* A key that has signed for longer is due to be replaced. */
#define KEY_AGE_MAX_DAYS 365

struct host {
	const struct sgate_conf *conf;
	struct findings findings;
	struct buf where;
	int64_t now_ms;
};

/* What the findings to come are about: "KIND NAME". */
static void
look_at(struct host *h, const char *kind, const char *name)
{
	buf_reset(&h->where);
	buf_printf(&h->where, "%s %s", kind, name);
	h->findings.where = buf_failed(&h->where) ? kind : buf_text(&h->where);
}

/* Who else may do to a file what `bits` say. One that is not there has none. */
static void
check_rights(struct host *h, const char *path, mode_t bits, const char *todo)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		if (errno != ENOENT)
			finding_tell(&h->findings, FINDING_ERROR, "rights",
			    "let the gateway's user reach it", "%s",
			    strerror(errno));
		return;
	}
	finding_tell(&h->findings,
	    (st.st_mode & bits) != 0 ? FINDING_ERROR : FINDING_OK, "rights",
	    (st.st_mode & bits) != 0 ? todo : "", "its mode is %04o",
	    (unsigned)st.st_mode & 07777);
}

static void
check_configuration(struct host *h)
{
	if (h->conf->path[0] == '\0')
		return;
	look_at(h, "configuration", h->conf->path);
	check_rights(h, h->conf->path, S_IWGRP | S_IWOTH,
	    "chmod go-w it: who writes there decides who is let in");
}

static void
check_password(struct host *h, const char *path)
{
	if (path[0] == '\0')
		return;
	look_at(h, "password", path);
	check_rights(h, path, S_IRWXO | S_IWGRP,
	    "chmod 0640 it: who reads it has the store");
	if (access(path, R_OK) == 0)
		finding_tell(
		    &h->findings, FINDING_OK, "readable", "", "is read");
	else
		finding_tell(&h->findings, FINDING_ERROR, "readable",
		    "write the password into it, chgrp it to the gateway's "
		    "group, chmod 0640",
		    "%s", strerror(errno));
}

/* ---- keys ---- */

static void
check_retired(struct host *h, const struct keys *keys)
{
	int64_t life_ms = conf_largest_absolute_ms(h->conf);
	struct keys_info info;
	unsigned useless = 0;
	size_t i;

	for (i = 0; i < keys_count(keys); i++) {
		info = keys_info(keys, i);
		if (!info.signs && info.stopped_ms != 0 &&
		    info.stopped_ms + life_ms < h->now_ms)
			useless++;
	}
	if (useless > 0)
		finding_tell(&h->findings, FINDING_WARNING, "number",
		    "sessgatectl key list, then key retire ID: a key that "
		    "nobody needs can only be stolen",
		    "%zu keys, of which %u verify no session any more",
		    keys_count(keys), useless);
	else if (keys_count(keys) == KEYS_MAX)
		finding_tell(&h->findings, FINDING_WARNING, "number",
		    "retire some: there is no room for the next one",
		    "%zu keys, as many as there may be", keys_count(keys));
	else
		finding_tell(&h->findings, FINDING_OK, "number", "",
		    "%zu key%s", keys_count(keys),
		    keys_count(keys) == 1 ? "" : "s");
}

static void
check_age(struct host *h, const struct keys *keys)
{
	struct keys_info info;
	long long days;
	size_t i;

	for (i = 0; i < keys_count(keys); i++) {
		info = keys_info(keys, i);
		if (!info.signs)
			continue;
		days = (long long)((h->now_ms - info.created_ms) / DAY_MS);
		if (days < 0)
			finding_tell(&h->findings, FINDING_WARNING, "age",
			    "set the clock of this host, or of the one where "
			    "the key was made",
			    "key %u was made in the future", (unsigned)info.id);
		else if (days > KEY_AGE_MAX_DAYS)
			finding_tell(&h->findings, FINDING_WARNING, "age",
			    "sessgatectl key new, copy the file to every host "
			    "and reload, then key use ID",
			    "key %u signs, and is %lld days old",
			    (unsigned)info.id, days);
		else
			finding_tell(&h->findings, FINDING_OK, "age", "",
			    "key %u signs, and is %lld days old",
			    (unsigned)info.id, days);
	}
}

static void
check_keys(struct host *h)
{
	const char *path = h->conf->keys.file;
	struct keys *keys = NULL;
	struct sgate_error err;

	look_at(h, "keys", path);
	if (access(path, F_OK) != 0 && errno == ENOENT) {
		finding_tell(&h->findings, FINDING_WARNING, "file",
		    "copy it from another gateway host; the first start of the "
		    "first host makes it",
		    "is not there");
		return;
	}
	if (keys_load(path, &keys, &err) != SGATE_OK) {
		finding_tell_error(&h->findings, FINDING_ERROR, "file", &err);
		return;
	}
	finding_tell(&h->findings, FINDING_OK, "file", "", "is read");
	check_retired(h, keys);
	check_age(h, keys);
	keys_free(keys);
}

/* ---- the cookie ---- */

static void
check_cookie(struct host *h)
{
	const struct sgate_conf *conf = h->conf;

	look_at(h, "cookie", conf->cookie.name);
	if (conf->cookie.secure)
		finding_tell(&h->findings, FINDING_OK, "secure", "",
		    "goes over https alone");
	else
		finding_tell(&h->findings, FINDING_WARNING, "secure",
		    "serve the site over https and set cookie.secure = true: "
		    "who listens on the way has the session",
		    "goes over plain http, too");
	if (strncmp(conf->cookie.name, "__Host-", 7) == 0)
		finding_tell(&h->findings, FINDING_OK, "prefix", "",
		    "no other host of the domain can set it");
	else
		finding_tell(&h->findings, FINDING_WARNING, "prefix",
		    "name it __Host-..., with cookie.secure, without "
		    "cookie.domain and with the path /",
		    "another host of the domain can set it");
	if (strcmp(conf->cookie.samesite, "None") == 0)
		finding_tell(&h->findings, FINDING_WARNING, "samesite",
		    "set cookie.samesite = \"Lax\", unless other sites embed "
		    "this one; then give every policy csrf = true",
		    "other sites' requests carry it");
	else
		finding_tell(&h->findings, FINDING_OK, "samesite", "", "%s",
		    conf->cookie.samesite);
}

/* ---- places ---- */

static void
check_runtime_dir(struct host *h)
{
	const char *path = h->conf->gateway.runtime_dir;
	struct stat st;

	look_at(h, "runtime_dir", path);
	if (lstat(path, &st) != 0)
		finding_tell(&h->findings,
		    errno == ENOENT ? FINDING_OK : FINDING_ERROR, "directory",
		    errno == ENOENT ? "" : "let the gateway's user reach it",
		    errno == ENOENT ? "is not there: a start makes it"
				    : "cannot be reached");
	else if (!S_ISDIR(st.st_mode))
		finding_tell(&h->findings, FINDING_ERROR, "directory",
		    "give the path of a directory in gateway.runtime_dir",
		    "is no directory");
	else if (st.st_uid != geteuid() ||
		 (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		finding_tell(&h->findings, FINDING_ERROR, "directory",
		    "chown it to the gateway's user, chmod 0755: who writes "
		    "there can put a socket of his own in the place of ours",
		    "belongs to uid %u with mode %04o, and the gateway is uid "
		    "%u",
		    (unsigned)st.st_uid, (unsigned)st.st_mode & 07777,
		    (unsigned)geteuid());
	else
		finding_tell(&h->findings, FINDING_OK, "directory", "",
		    "is the gateway's");
}

void
ctl_doctor_host(
    const struct sgate_conf *conf, int64_t now_ms, finding_fn *fn, void *arg)
{
	struct host h = {
	    .conf = conf, .findings = {fn, arg, NULL}, .now_ms = now_ms};

	check_configuration(&h);
	check_keys(&h);
	if (conf_has_mysql(conf)) {
		check_password(&h, conf->mysql.password_file);
	} else {
		look_at(&h, "file", conf->sqlite.file);
		check_rights(&h, conf->sqlite.file, S_IRWXO | S_IWGRP,
		    "chmod 0600 it: it has who is logged in");
	}
	if (conf_has_redis(conf)) {
		check_password(&h, conf->redis.password_file);
		check_password(&h, conf->redis.sentinel_password_file);
	}
	check_cookie(&h);
	check_runtime_dir(&h);
	buf_clear(&h.where);
}
