/*
 * One instance a host: its runtime directory, its lock, and what a first start
 * makes (keys, the embedded store's file and tables).
 */
#ifndef SESSGATE_INSTANCE_H
#define SESSGATE_INSTANCE_H

#include "listener.h"
#include "stores.h"
#include "user.h"

/*
 * Make gateway.runtime_dir (0755, the user's) if it is missing; what is there
 * must be a directory that belongs to the user and that nobody else writes.
 * Make the directories (0700) in which key file and store are to be, if they
 * are missing and the ones above are there.
 */
SGATE_MUST_CHECK enum sgate_status instance_make_directories(
    const struct sgate_conf *conf, const struct user *user,
    struct sgate_error *err);

/*
 * Take RUNTIME_DIR/lock, or say who has it. The lock is inherited over fork:
 * as long as any process of a killed master lives, a new master waits for it
 * (5 s), then refuses. The file holds the master's pid and a newline.
 *
 * SGATE_OK: *out_fd stays open for the life of the process.
 * SGATE_DENIED: err->text has "already running, pid N".
 */
SGATE_MUST_CHECK enum sgate_status instance_lock(const struct sgate_conf *conf,
    const struct user *user, int *out_fd, struct sgate_error *err);
/* Remove the file and let go. */
void instance_unlock(const struct sgate_conf *conf, int fd);

/*
 * Key file, store and tables, made if they are missing: in a process of its
 * own, because no store connection may be open across fork(). Logs what went
 * wrong; false: do not start. With Redis before it, a MySQL that does not
 * answer is no reason not to start: sessions can be looked up without it.
 */
bool instance_prepare_stores(const struct sgate_conf *conf);

/*
 * Keep other instances out of spool.dir, which is there: two would count each
 * other's files as theirs. The lock is inherited over fork, as instance_lock().
 *
 * SGATE_OK: *out_fd stays open for the life of the process; -1: no spool.
 * SGATE_DENIED: another instance has it.
 */
SGATE_MUST_CHECK enum sgate_status instance_lock_spool(
    const struct sgate_conf *conf, int *out_fd, struct sgate_error *err);

/*
 * What the instance before this one knew of the stores: how far copies may be
 * believed while MySQL cannot be asked.
 */
void instance_read_fence(const struct sgate_conf *conf, struct stores *out);

/*
 * The warnings that a start gives: keys within reach of every CGI program,
 * login.sock within reach of the web server.
 */
void instance_warn(const struct sgate_conf *conf,
    const struct listeners *listeners, const struct user *user);

#endif
