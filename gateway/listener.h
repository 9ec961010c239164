/*
 * Listening sockets: made here (libfcgi's own would steal a live socket's path
 * and has no mode), or inherited as fd 0 or from systemd. All are non-blocking
 * and close-on-exec; paths are bound under a temporary name, given their owner
 * and mode, and renamed into place.
 */
#ifndef SESSGATE_LISTENER_H
#define SESSGATE_LISTENER_H

#include <stdbool.h>

#include "conf.h"

struct listener {
	int fd;
	const struct conf_listener *conf; /* of the current configuration */
	bool is_inherited; /* whoever gave it keeps its path and backlog */
	bool is_keeper;    /* RUNTIME_DIR/keeper.sock, the keeper's own */
	dev_t path_dev;    /* what was bound, so that no other's is unlinked */
	ino_t path_ino;
};

struct listeners {
	struct listener *items;
	size_t count;
};

/*
 * Make all that the configuration names, and keeper.sock (0600, its conf is
 * made here: name "keeper", all of v1). As root, sockets without an owner or
 * group get those of gateway.user.
 */
SGATE_MUST_CHECK enum sgate_status listeners_open(const struct sgate_conf *conf,
    struct listeners *out, struct sgate_error *err);
/* Whether all owners and groups are there, as listeners_open() will ask. */
SGATE_MUST_CHECK enum sgate_status listeners_check(
    const struct sgate_conf *conf, struct sgate_error *err);
/*
 * Add what is inherited: LISTEN_FDS (LISTEN_FDNAMES name the sections; an
 * unnamed or unknown one is SGATE_INVALID), or fd 0 when it is a listening
 * socket (section "inherited"). *out_any: whether there was any. A listener
 * that is inherited is not made by listeners_open(): call this first.
 */
SGATE_MUST_CHECK enum sgate_status listeners_inherit(
    const struct sgate_conf *conf, struct listeners *out, bool *out_any,
    struct sgate_error *err);
/* How many descriptors from 3 on systemd has passed to this process. */
int listeners_passed(void);
/* After a reload: point at the new configuration's sections by name. */
void listeners_rebind(struct listeners *l, const struct sgate_conf *conf);
/* Unlink the paths that are ours: no new connection can come. */
void listeners_unlink(const struct listeners *l);
/* Also frees; unlinks nothing. */
void listeners_close(struct listeners *l);

/* Whether fd is a stream socket that listens. */
bool listener_is_listening(int fd);
/* "unix:/path" to its path; NULL for others. */
const char *listener_path(const struct conf_listener *conf);

#endif
