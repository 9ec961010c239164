/*
 * The instance's lock, directory and first start.
 *
 * The lock file carries two locks. flock() belongs to the open file, which all
 * children inherit: it is free only when the last process of an instance has
 * ended. The POSIX record lock belongs to the master's process alone: whoever
 * does not get the first asks with F_GETLK whether a master lives, and its pid
 * comes from the kernel, not from a file that may be stale. The file is 0600:
 * whoever can open it, even for reading, could flock() it and keep a new
 * instance from starting.
 */
#include "config.h"

#include "instance.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "keys.h"
#include "log.h"
#include "session_manager.h"
#include "spool.h"
#include "status.h"

#define LOCK_WAIT_MS 5000
#define LOCK_POLL_MS 50
#define SPOOL_LOCK_WAIT_MS 1000
#define PREPARE_WAIT_MS 30000
#define STORE_RETRY_MS 5000

#define INVALID(err, what, ...)                                                \
	error_set(err, SGATE_INVALID, "instance", what, 0, __VA_ARGS__)
#define FAILED(err, what, format, ...)                                         \
	error_set(err, SGATE_INVALID, "instance", what, errno, format ": %s",  \
	    __VA_ARGS__, strerror(errno))

/* ---- directories ---- */

/* SGATE_OK also when something is there already; *out_is_new says. */
static enum sgate_status
make_dir(const char *path, mode_t mode, const struct user *user,
    bool *out_is_new, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	int fd;

	*out_is_new = false;
	if (mkdir(path, mode) != 0)
		return errno == EEXIST ? SGATE_OK
				       : FAILED(err, "mkdir",
					     "cannot make directory %s", path);
	*out_is_new = true;
	/* By descriptor, as the name may be another's by now; and the umask is
	 * not to narrow the mode. */
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, mode) != 0 ||
	    (geteuid() == 0 && fchown(fd, user->uid, user->gid) != 0))
		status = FAILED(err, "mkdir", "directory %s", path);
	if (fd >= 0)
		close(fd);
	return status;
}

static enum sgate_status
make_runtime_dir(const struct sgate_conf *conf, const struct user *user,
    struct sgate_error *err)
{
	const char *path = conf->gateway.runtime_dir;
	enum sgate_status status;
	struct stat st;
	bool is_new;

	status = make_dir(path, 0755, user, &is_new, err);
	if (status != SGATE_OK)
		return status;
	if (lstat(path, &st) != 0)
		return FAILED(
		    err, "runtime_dir", "gateway.runtime_dir: %s", path);
	if (!S_ISDIR(st.st_mode))
		return INVALID(err, "runtime_dir",
		    "gateway.runtime_dir: %s is no directory", path);
	if (st.st_uid != user->uid)
		return INVALID(err, "runtime_dir",
		    "gateway.runtime_dir: %s belongs to user %lu: it must "
		    "belong to %s (chown it, or name a directory that is not "
		    "there yet)",
		    path, (unsigned long)st.st_uid, user->name);
	if ((st.st_mode & 022) != 0)
		return INVALID(err, "runtime_dir",
		    "gateway.runtime_dir: others may write in %s: chmod 755 it",
		    path);
	return SGATE_OK;
}

/* One level, 0700: more than that is a mistake in the path. */
static enum sgate_status
make_parent(const char *path, const struct user *user, struct sgate_error *err)
{
	const char *slash = strrchr(path, '/');
	enum sgate_status status;
	char *parent;
	bool is_new;

	if (slash == NULL || slash == path)
		return SGATE_OK;
	parent = bytes_dup((struct sgate_bytes){path, (size_t)(slash - path)});
	if (parent == NULL)
		return error_memory(err, "mkdir");
	status = make_dir(parent, 0700, user, &is_new, err);
	if (is_new)
		log_notice("made directory %s", parent);
	free(parent);
	return status;
}

enum sgate_status
instance_make_directories(const struct sgate_conf *conf,
    const struct user *user, struct sgate_error *err)
{
	enum sgate_status status;

	status = make_runtime_dir(conf, user, err);
	if (status == SGATE_OK)
		status = make_parent(conf->keys.file, user, err);
	if (status == SGATE_OK && !conf_has_mysql(conf))
		status = make_parent(conf->sqlite.file, user, err);
	if (status == SGATE_OK && conf_has_spool(conf))
		status = make_parent(conf->spool.dir, user, err);
	return status;
}

/* ---- lock ---- */

static void
lock_path(const struct sgate_conf *conf, struct buf *out)
{
	buf_printf(out, "%s/lock", conf->gateway.runtime_dir);
}

/* The pid that holds the record lock; 0 = nobody. */
static pid_t
lock_holder(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid;
}

/* An instance that ends removes the file: is this still the one at path? */
static bool
is_same_file(int fd, const char *path)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 &&
	       ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

static int
open_lock(const char *path, const struct user *user)
{
	struct stat st;
	int fd;

	fd = open(
	    path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	/* Root is not to be led to write another's file. */
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 ||
	    (geteuid() == 0 && fchown(fd, user->uid, user->gid) != 0)) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	return fd;
}

static enum sgate_status
write_pid(int fd, const char *path, struct sgate_error *err)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[32];
	int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	if (fcntl(fd, F_SETLK, &lock) != 0 || ftruncate(fd, 0) != 0 ||
	    pwrite(fd, text, (size_t)len, 0) != len || fchmod(fd, 0600) != 0)
		return FAILED(err, "lock", "%s", path);
	return SGATE_OK;
}

static enum sgate_status
wait_for_lock(const char *path, const struct user *user, int *out_fd,
    struct sgate_error *err)
{
	int64_t deadline_ms = clock_monotonic_ms() + LOCK_WAIT_MS;
	pid_t holder;
	int fd = -1;

	for (;;) {
		if (fd < 0)
			fd = open_lock(path, user);
		if (fd < 0)
			return FAILED(err, "lock", "%s", path);
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			if (is_same_file(fd, path))
				break;
			close(fd);
			fd = -1;
			continue;
		}
		holder = lock_holder(fd);
		if (holder > 0 || clock_left_ms(deadline_ms) == 0) {
			close(fd);
			if (holder > 0)
				return error_set(err, SGATE_DENIED, "instance",
				    "lock", 0,
				    "already running, pid %ld (%s is locked)",
				    (long)holder, path);
			return error_set(err, SGATE_DENIED, "instance", "lock",
			    0,
			    "processes of an instance whose master is gone "
			    "still hold %s: wait, or end them (fuser %s)",
			    path, path);
		}
		poll(NULL, 0, LOCK_POLL_MS);
	}
	*out_fd = fd;
	return SGATE_OK;
}

enum sgate_status
instance_lock(const struct sgate_conf *conf, const struct user *user,
    int *out_fd, struct sgate_error *err)
{
	struct buf path = {0};
	enum sgate_status status;
	int fd = -1;

	*out_fd = -1;
	lock_path(conf, &path);
	if (buf_failed(&path)) {
		status = error_memory(err, "lock");
		goto out;
	}
	status = wait_for_lock(buf_text(&path), user, &fd, err);
	if (status != SGATE_OK)
		goto out;
	status = write_pid(fd, buf_text(&path), err);
	if (status != SGATE_OK) {
		close(fd);
		goto out;
	}
	*out_fd = fd;
out:
	buf_clear(&path);
	return status;
}

enum sgate_status
instance_lock_spool(
    const struct sgate_conf *conf, int *out_fd, struct sgate_error *err)
{
	int64_t deadline_ms = clock_monotonic_ms() + SPOOL_LOCK_WAIT_MS;
	bool is_taken;
	int fd;

	error_clear(err);
	*out_fd = -1;
	if (!conf_has_spool(conf))
		return SGATE_OK;
	fd = open(conf->spool.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return FAILED(err, "lock", "spool.dir: %s", conf->spool.dir);
	/* A process of ours that has just ended may not have let go yet. */
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		is_taken = errno == EWOULDBLOCK;
		if (is_taken && clock_left_ms(deadline_ms) > 0) {
			poll(NULL, 0, LOCK_POLL_MS);
			continue;
		}
		if (is_taken)
			error_set(err, SGATE_DENIED, "instance", "lock", 0,
			    "spool.dir: %s is another instance's, which is "
			    "running; give this one a directory of its own",
			    conf->spool.dir);
		else
			FAILED(err, "lock", "spool.dir: %s", conf->spool.dir);
		close(fd);
		return err->status;
	}
	*out_fd = fd;
	return SGATE_OK;
}

void
instance_unlock(const struct sgate_conf *conf, int fd)
{
	struct buf path = {0};

	if (fd < 0)
		return;
	lock_path(conf, &path);
	if (!buf_failed(&path) && is_same_file(fd, buf_text(&path)))
		unlink(buf_text(&path));
	buf_clear(&path);
	close(fd);
}

/* ---- first start ---- */

static bool
make_keys(const char *path)
{
	struct sgate_error err;
	bool is_new = access(path, F_OK) != 0 && errno == ENOENT;

	if (!is_new)
		return true;
	if (keys_create(path, clock_utc_ms(), &err) != SGATE_OK) {
		log_error("keys: %s", err.text);
		return false;
	}
	log_notice("made key file %s: keep a copy, without it all sessions "
		   "end",
	    path);
	return true;
}

/* Another program may hold the file for a moment: ask again for a while. */
static bool
make_schema(const struct sgate_conf *conf, struct sgate_manager *mgr)
{
	bool may_be_away = conf_has_redis(conf);
	int64_t deadline_ms =
	    clock_monotonic_ms() + (may_be_away ? 0 : STORE_RETRY_MS);
	struct sgate_error err;
	enum sgate_status status;

	for (;;) {
		status = manager_schema_init(mgr, &err);
		if (status == SGATE_OK)
			return true;
		if ((status != SGATE_UNAVAILABLE &&
			status != SGATE_UNCERTAIN) ||
		    clock_left_ms(deadline_ms) == 0)
			break;
		poll(NULL, 0, 200);
	}
	if (may_be_away &&
	    (status == SGATE_UNAVAILABLE || status == SGATE_UNCERTAIN)) {
		log_warning(
		    "%s: %s; starting without it", err.source, err.text);
		return true;
	}
	log_error("%s: %s", err.source, err.text);
	return false;
}

/* Made by the user that writes it; a start without it would promise what it
 * cannot keep. */
static bool
make_spool(const struct sgate_conf *conf)
{
	struct spool_limits limits = {
	    .dir = conf->spool.dir,
	    .max_bytes = (int64_t)conf->spool.max_bytes,
	    .reserve_percent = conf->spool.reserve_percent,
	    .keep_ms = conf->spool.keep_ms,
	};
	struct spool *spool = NULL;
	struct sgate_error err;
	enum sgate_status status;

	if (!conf_has_spool(conf))
		return true;
	status = spool_open(&limits, &spool, &err);
	spool_close(spool);
	if (status != SGATE_OK)
		log_error("spool.dir: %s", err.text);
	return status == SGATE_OK;
}

static bool
prepare(const struct sgate_conf *conf)
{
	struct sgate_manager *mgr = NULL;
	struct sgate_error err;
	bool is_ready;

	if (!make_keys(conf->keys.file) || !make_spool(conf))
		return false;
	if (sgate_manager_new(conf, NULL, &mgr, &err) != SGATE_OK) {
		log_error("%s: %s", err.source, err.text);
		return false;
	}
	is_ready = make_schema(conf, mgr);
	sgate_manager_free(mgr);
	return is_ready;
}

static bool
wait_for_child(pid_t pid)
{
	int64_t deadline_ms = clock_monotonic_ms() + PREPARE_WAIT_MS;
	int status = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0) {
		if (clock_left_ms(deadline_ms) == 0) {
			log_error("preparing the stores took more than %d s",
			    PREPARE_WAIT_MS / 1000);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return false;
		}
		poll(NULL, 0, 5);
	}
	if (got == pid && WIFSIGNALED(status))
		log_error("preparing the stores: killed by signal %d",
		    WTERMSIG(status));
	return got == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool
instance_prepare_stores(const struct sgate_conf *conf)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0) {
		log_error("fork: %s", strerror(errno));
		return false;
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(getppid() == parent && prepare(conf) ? 0 : 1);
	}
	return wait_for_child(pid);
}

/* What is set for all was known when the last complete round began. */
static void
take_settings(const struct settings *settings, struct stores *out)
{
	int64_t latest_ms = 0, now_boot_ms = clock_boot_ms();
	int64_t offset_ms = atomic_load(&out->fence.clock_offset_ms);
	unsigned group;

	for (group = 0; group < TOKEN_GROUPS; group++)
		if (atomic_load(&out->fence.complete_ms[group]) > latest_ms)
			latest_ms = atomic_load(&out->fence.complete_ms[group]);
	atomic_store(&out->settings.polled_ms, latest_ms);
	settings_publish(&out->settings, settings,
	    offset_ms != 0 ? now_boot_ms + offset_ms : clock_utc_ms());
}

void
instance_read_fence(const struct sgate_conf *conf, struct stores *out)
{
	struct settings settings;
	enum sgate_status status;
	struct sgate_error err;

	status = fence_file_read_all(
	    conf->gateway.runtime_dir, &out->fence, &settings, &err);
	if (status == SGATE_OK && settings.number != 0)
		take_settings(&settings, out);
	if (status == SGATE_CORRUPT)
		log_warning("%s; no copy in redis is believed until mysql has "
			    "answered",
		    err.text);
}

/* ---- warnings ---- */

/* The file behind a unix listener, also an inherited one. */
static bool
stat_listener(const struct listener *item, struct stat *out)
{
	struct sockaddr_un address = {0};
	socklen_t len = sizeof(address) - 1;

	if (!item->is_inherited) {
		const char *path = listener_path(item->conf);

		return path != NULL && lstat(path, out) == 0;
	}
	return getsockname(item->fd, (struct sockaddr *)&address, &len) == 0 &&
	       address.sun_family == AF_UNIX && address.sun_path[0] == '/' &&
	       lstat(address.sun_path, out) == 0;
}

static const struct listener *
find(const struct listeners *listeners, const char *name)
{
	size_t i;

	for (i = 0; i < listeners->count; i++)
		if (strcmp(listeners->items[i].conf->name, name) == 0)
			return &listeners->items[i];
	return NULL;
}

/*
 * The web server is whoever may open the pool socket: its group, its owner if
 * that is not the gateway itself, and the gateway's own user where the web
 * server started it.
 */
static bool
is_open_to_web_server(const struct stat *socket, const struct stat *pool,
    const struct user *user, bool is_own_child)
{
	if ((socket->st_mode & 002) != 0)
		return true;
	if (is_own_child)
		return socket->st_uid == user->uid ||
		       socket->st_gid == user->gid;
	if (pool == NULL)
		return false;
	if ((socket->st_mode & 020) != 0 && (pool->st_mode & 020) != 0 &&
	    socket->st_gid == pool->st_gid)
		return true;
	return pool->st_uid != user->uid && socket->st_uid == pool->st_uid;
}

static void
warn_create(const struct listeners *listeners, const struct user *user,
    bool is_own_child)
{
	const struct listener *pool = find(listeners, "pool");
	struct stat socket, pool_st;
	bool has_pool = pool != NULL && stat_listener(pool, &pool_st);
	size_t i;

	for (i = 0; i < listeners->count; i++) {
		const struct listener *item = &listeners->items[i];

		/* control.sock for its owner alone is what it should be. */
		if ((item->conf->allow & CONF_ALLOW_CREATE) == 0 ||
		    !stat_listener(item, &socket) ||
		    ((item->conf->allow & CONF_ALLOW_ALL) != 0 &&
			(socket.st_mode & 077) == 0) ||
		    !is_open_to_web_server(&socket, has_pool ? &pool_st : NULL,
			user, is_own_child))
			continue;
		log_warning("listener.%s: the web server can open it, so "
			    "every CGI program can log in as anybody; give it "
			    "a group that only the login program has",
		    item->conf->name);
		return;
	}
}

/* The web server must, so there is nothing to be seen of who else can. */
static void
warn_remote_user(const struct listeners *listeners)
{
	size_t i;

	for (i = 0; i < listeners->count; i++) {
		const struct conf_listener *conf = listeners->items[i].conf;

		if ((conf->allow & CONF_ALLOW_REMOTE_USER) != 0)
			log_warning("listener.%s: a program that runs as the "
				    "web server's user can log in as anybody "
				    "(remote-user); let CGI programs run as "
				    "another user",
			    conf->name);
	}
}

void
instance_warn(const struct sgate_conf *conf, const struct listeners *listeners,
    const struct user *user)
{
	const struct listener *inherited = find(listeners, "inherited");

	if (inherited != NULL)
		log_warning("started by the web server as its user %s: every "
			    "CGI program of that user can read the keys (%s)",
		    user->name, conf->keys.file);
	warn_create(listeners, user, inherited != NULL);
	warn_remote_user(listeners);
}
