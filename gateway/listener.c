/*
 * Listening sockets. The instance's lock is held whenever one is made, so what
 * is left at a path of ours is a dead instance's; what somebody else listens
 * on, or is no socket at all, is never replaced.
 */
#include "config.h"

#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "status.h"
#include "user.h"

#define FIRST_PASSED_FD 3 /* SD_LISTEN_FDS_START of sd_listen_fds(3) */
#define KEEPER_BACKLOG 64

#define INVALID(err, ...)                                                      \
	error_set(err, SGATE_INVALID, "listener", "open", 0, __VA_ARGS__)
#define FAILED(err, format, ...)                                               \
	error_set(err, SGATE_INVALID, "listener", "open", errno,               \
	    format ": %s", __VA_ARGS__, strerror(errno))

const char *
listener_path(const struct conf_listener *conf)
{
	if (strncmp(conf->address, "unix:", 5) != 0)
		return NULL;
	return conf->address + 5;
}

bool
listener_is_listening(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) != 0 ||
	    value == 0)
		return false;
	len = sizeof(value);
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len) == 0 &&
	       value == SOCK_STREAM;
}

static bool
set_flags(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
	       fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static struct listener *
add(struct listeners *l, int fd, const struct conf_listener *conf)
{
	struct listener *items;

	items = realloc(l->items, (l->count + 1) * sizeof(*items));
	if (items == NULL)
		return NULL;
	l->items = items;
	items[l->count] = (struct listener){.fd = fd, .conf = conf};
	return &items[l->count++];
}

static bool
has(const struct listeners *l, const char *name)
{
	size_t i;

	for (i = 0; i < l->count; i++)
		if (strcmp(l->items[i].conf->name, name) == 0)
			return true;
	return false;
}

/* ---- owner and group ---- */

/* (uid_t)-1 and (gid_t)-1 leave as it is. */
static enum sgate_status
find_owner(const struct conf_listener *conf, const struct user *user,
    uid_t *out_uid, gid_t *out_gid, struct sgate_error *err)
{
	gid_t unused;

	*out_uid = geteuid() == 0 ? user->uid : (uid_t)-1;
	*out_gid = geteuid() == 0 ? user->gid : (gid_t)-1;
	if (conf->owner[0] != '\0' && !user_find(conf->owner, out_uid, &unused))
		return INVALID(err,
		    "listener.%s.owner: there is no user \"%s\"", conf->name,
		    conf->owner);
	if (conf->group[0] != '\0' && !group_find(conf->group, out_gid))
		return INVALID(err,
		    "listener.%s.group: there is no group \"%s\": addgroup "
		    "--system %s makes it",
		    conf->name, conf->group, conf->group);
	return SGATE_OK;
}

static enum sgate_status
set_owner(const struct conf_listener *conf, const struct user *user,
    const char *path, struct sgate_error *err)
{
	enum sgate_status status;
	uid_t uid;
	gid_t gid;

	status = find_owner(conf, user, &uid, &gid, err);
	if (status != SGATE_OK)
		return status;
	if (lchown(path, uid, gid) == 0)
		return SGATE_OK;
	if (errno == EPERM)
		return INVALID(err,
		    "listener.%s: user %s may not give a socket to owner "
		    "\"%s\", group \"%s\": start as root, or make %s a member "
		    "of that group",
		    conf->name, user->name, conf->owner, conf->group,
		    user->name);
	return FAILED(err, "listener.%s: %s", conf->name, path);
}

/* ---- unix sockets ---- */

static bool
unix_address(const char *path, struct sockaddr_un *out)
{
	size_t len = strlen(path);

	memset(out, 0, sizeof(*out));
	out->sun_family = AF_UNIX;
	if (len >= sizeof(out->sun_path))
		return false;
	memcpy(out->sun_path, path, len);
	return true;
}

static bool
is_answered(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool answered;

	if (fd < 0)
		return false;
	/* EAGAIN is a full backlog: somebody is there, and busy. */
	answered = connect(fd, (const struct sockaddr *)address,
		       sizeof(*address)) == 0 ||
		   errno == EAGAIN;
	close(fd);
	return answered;
}

/* Whether a socket may be put at path. */
static enum sgate_status
check_path(const struct conf_listener *conf, const char *path,
    const struct sockaddr_un *address, struct sgate_error *err)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? SGATE_OK
				       : FAILED(err, "listener.%s.address: %s",
					     conf->name, path);
	if (!S_ISSOCK(st.st_mode))
		return INVALID(err,
		    "listener.%s.address: %s is there and is no socket: "
		    "remove it, or name another path",
		    conf->name, path);
	if (is_answered(address))
		return INVALID(err,
		    "listener.%s.address: another program listens on %s: name "
		    "another path",
		    conf->name, path);
	return SGATE_OK;
}

/*
 * Bind under a temporary name, so that nobody connects before owner and mode
 * are right. The mode comes from the umask: a chmod() by path could be led
 * astray by whoever may write the directory.
 */
static enum sgate_status
bind_unix(struct listener *item, const struct user *user, const char *path,
    const struct sockaddr_un *temporary, struct sgate_error *err)
{
	const struct conf_listener *conf = item->conf;
	enum sgate_status status;
	struct stat st;
	mode_t old_mask;
	int rc;

	if (unlink(temporary->sun_path) != 0 && errno != ENOENT)
		return FAILED(err, "listener.%s.address: %s", conf->name,
		    temporary->sun_path);
	old_mask = umask(0777 & ~conf->mode);
	rc = bind(
	    item->fd, (const struct sockaddr *)temporary, sizeof(*temporary));
	umask(old_mask);
	if (rc != 0)
		return FAILED(err, "listener.%s.address: cannot make %s",
		    conf->name, path);
	status = set_owner(conf, user, temporary->sun_path, err);
	if (status == SGATE_OK && listen(item->fd, conf->backlog) != 0)
		status = FAILED(err, "listener.%s: listen", conf->name);
	if (status == SGATE_OK && (lstat(temporary->sun_path, &st) != 0 ||
				      rename(temporary->sun_path, path) != 0))
		status =
		    FAILED(err, "listener.%s.address: %s", conf->name, path);
	if (status != SGATE_OK) {
		unlink(temporary->sun_path);
		return status;
	}
	item->path_dev = st.st_dev;
	item->path_ino = st.st_ino;
	return SGATE_OK;
}

/*
 * The name to bind under: as long as the path, because sun_path has no room for
 * more, and in the same directory, because of rename().
 */
static bool
temporary_address(const char *path, struct sockaddr_un *out)
{
	size_t len = strlen(path);

	if (path[0] != '/' || !unix_address(path, out))
		return false;
	out->sun_path[len - 1] = path[len - 1] == '~' ? '-' : '~';
	return true;
}

static enum sgate_status
open_unix(struct listener *item, const struct user *user, const char *path,
    struct sgate_error *err)
{
	const struct conf_listener *conf = item->conf;
	struct sockaddr_un address, temporary;
	enum sgate_status status;

	if (!unix_address(path, &address) ||
	    !temporary_address(path, &temporary))
		return INVALID(err,
		    "listener.%s.address: %s must be an absolute path of at "
		    "most %zu bytes",
		    conf->name, path, sizeof(address.sun_path) - 1);
	status = check_path(conf, path, &address, err);
	if (status == SGATE_OK)
		status = check_path(conf, temporary.sun_path, &temporary, err);
	if (status != SGATE_OK)
		return status;
	item->fd =
	    socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (item->fd < 0)
		return FAILED(err, "listener.%s: socket", conf->name);
	return bind_unix(item, user, path, &temporary, err);
}

/* ---- tcp sockets ---- */

/* "127.0.0.1:9000" or "[::1]:9000". */
static bool
tcp_address(const char *text, struct sockaddr_storage *out, socklen_t *out_len)
{
	struct sgate_bytes host, port;
	unsigned char bytes[16];
	const char *colon = strrchr(text, ':');
	uint64_t number;
	size_t len;

	memset(out, 0, sizeof(*out));
	if (colon == NULL || colon == text)
		return false;
	port = bytes_of(colon + 1);
	host = (struct sgate_bytes){text, (size_t)(colon - text)};
	if (host.data[0] == '[' && host.data[host.len - 1] == ']')
		host = (struct sgate_bytes){host.data + 1, host.len - 2};
	if (!bytes_to_uint(port, 65535, &number) || number == 0)
		return false;
	len = address_parse(host, bytes);
	if (len == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;

		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)number);
		memcpy(&in->sin_addr, bytes, 4);
		*out_len = sizeof(*in);
	} else if (len == 16) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)number);
		memcpy(&in6->sin6_addr, bytes, 16);
		*out_len = sizeof(*in6);
	}
	return len != 0;
}

static enum sgate_status
open_tcp(struct listener *item, struct sgate_error *err)
{
	const struct conf_listener *conf = item->conf;
	struct sockaddr_storage address;
	socklen_t len = 0;
	int on = 1;

	if (strncmp(conf->address, "tcp:", 4) != 0 ||
	    !tcp_address(conf->address + 4, &address, &len))
		return INVALID(err,
		    "listener.%s.address: \"%s\": give unix:/path or "
		    "tcp:127.0.0.1:PORT",
		    conf->name, conf->address);
	item->fd = socket(
	    address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (item->fd < 0)
		return FAILED(err, "listener.%s: socket", conf->name);
	if (setsockopt(item->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) !=
		0 ||
	    bind(item->fd, (const struct sockaddr *)&address, len) != 0 ||
	    listen(item->fd, conf->backlog) != 0)
		return FAILED(
		    err, "listener.%s.address: %s", conf->name, conf->address);
	return SGATE_OK;
}

/* ---- the configuration's ---- */

static enum sgate_status
open_one(struct listeners *l, const struct conf_listener *conf,
    const struct user *user, bool is_keeper, struct sgate_error *err)
{
	struct listener *item = add(l, -1, conf);
	const char *path = listener_path(conf);

	if (item == NULL)
		return error_memory(err, "listeners_open");
	item->is_keeper = is_keeper;
	if (path != NULL)
		return open_unix(item, user, path, err);
	return open_tcp(item, err);
}

static void
free_keeper_conf(struct conf_listener *conf)
{
	if (conf == NULL)
		return;
	free(conf->roles);
	free(conf->name);
	free(conf->address);
	free(conf->owner);
	free(conf->group);
	free(conf->realm);
	free(conf);
}

static struct conf_listener *
make_keeper_conf(const struct sgate_conf *conf)
{
	struct conf_listener *keeper = calloc(1, sizeof(*keeper));
	struct buf address = {0};

	if (keeper == NULL)
		return NULL;
	buf_printf(&address, "unix:%s/keeper.sock", conf->gateway.runtime_dir);
	keeper->address = buf_take(&address);
	keeper->name = strdup("keeper");
	keeper->owner = strdup("");
	keeper->group = strdup("");
	keeper->realm = strdup("");
	keeper->roles = calloc(1, sizeof(*keeper->roles));
	keeper->mode = 0600;
	keeper->backlog = KEEPER_BACKLOG;
	keeper->allow = CONF_ALLOW_ALL;
	if (keeper->address == NULL || keeper->name == NULL ||
	    keeper->owner == NULL || keeper->group == NULL ||
	    keeper->realm == NULL || keeper->roles == NULL) {
		free_keeper_conf(keeper);
		return NULL;
	}
	return keeper;
}

static enum sgate_status
open_keeper(struct listeners *l, const struct sgate_conf *conf,
    const struct user *user, struct sgate_error *err)
{
	struct conf_listener *keeper = make_keeper_conf(conf);
	size_t count = l->count;
	enum sgate_status status;

	if (keeper == NULL)
		return error_memory(err, "listeners_open");
	status = open_one(l, keeper, user, true, err);
	if (l->count == count)
		free_keeper_conf(keeper);
	return status;
}

enum sgate_status
listeners_check(const struct sgate_conf *conf, struct sgate_error *err)
{
	enum sgate_status status;
	struct user user;
	uid_t uid;
	gid_t gid;
	size_t i;

	status = user_resolve(conf, &user, err);
	for (i = 0; status == SGATE_OK && i < conf->listeners_count; i++)
		status =
		    find_owner(&conf->listeners[i], &user, &uid, &gid, err);
	return status;
}

enum sgate_status
listeners_open(const struct sgate_conf *conf, struct listeners *out,
    struct sgate_error *err)
{
	enum sgate_status status;
	struct user user;
	size_t i;

	status = user_resolve(conf, &user, err);
	for (i = 0; status == SGATE_OK && i < conf->listeners_count; i++) {
		const struct conf_listener *one = &conf->listeners[i];

		if (strcmp(one->name, "inherited") == 0 || has(out, one->name))
			continue;
		status = open_one(out, one, &user, false, err);
	}
	if (status == SGATE_OK)
		status = open_keeper(out, conf, &user, err);
	if (status != SGATE_OK) {
		listeners_unlink(out);
		listeners_close(out);
	}
	return status;
}

/* ---- inherited ---- */

static uint64_t
number_of(const char *name)
{
	const char *text = getenv(name);
	uint64_t value = 0;

	if (text != NULL && !bytes_to_uint(bytes_of(text), INT32_MAX, &value))
		return 0;
	return value;
}

int
listeners_passed(void)
{
	if (number_of("LISTEN_PID") != (uint64_t)getpid())
		return 0;
	/* More than this is no systemd talking. */
	return number_of("LISTEN_FDS") > 64 ? 64 : (int)number_of("LISTEN_FDS");
}

static enum sgate_status
inherit(struct listeners *l, int fd, const struct conf_listener *conf,
    struct sgate_error *err)
{
	struct listener *item;

	if (!listener_is_listening(fd) || !set_flags(fd))
		return INVALID(err,
		    "inherited descriptor %d is no listening stream socket",
		    fd);
	item = add(l, fd, conf);
	if (item == NULL)
		return error_memory(err, "listeners_inherit");
	item->is_inherited = true;
	return SGATE_OK;
}

static enum sgate_status
inherit_passed(const struct sgate_conf *conf, struct listeners *l, int count,
    struct sgate_error *err)
{
	const char *names = getenv("LISTEN_FDNAMES");
	const struct conf_listener *section;
	enum sgate_status status;
	char name[65];
	int i;

	for (i = 0; i < count; i++) {
		size_t len = names == NULL ? 0 : strcspn(names, ":");

		snprintf(name, sizeof(name), "%.*s", (int)(len > 64 ? 64 : len),
		    len == 0 ? "" : names);
		section = len > 64 ? NULL : conf_listener(conf, name);
		if (section == NULL || strcmp(name, "inherited") == 0)
			return INVALID(err,
			    "LISTEN_FDNAMES: socket %d is named \"%s\": "
			    "FileDescriptorName= must name a listener section",
			    i + 1, name);
		status = inherit(l, FIRST_PASSED_FD + i, section, err);
		if (status != SGATE_OK)
			return status;
		if (names != NULL)
			names += len + (names[len] == ':' ? 1 : 0);
	}
	return SGATE_OK;
}

/*
 * The socket moves away from fd 0, where a library could take it for standard
 * input.
 */
static enum sgate_status
inherit_stdin(
    const struct sgate_conf *conf, struct listeners *l, struct sgate_error *err)
{
	const struct conf_listener *section = conf_listener(conf, "inherited");
	int fd, null;

	if (section == NULL)
		return INVALID(err,
		    "fd 0 is a listening socket, and there is no section "
		    "listener.inherited");
	fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, FIRST_PASSED_FD);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0) {
		int saved = errno;

		if (fd >= 0)
			close(fd);
		if (null >= 0)
			close(null);
		errno = saved;
		return FAILED(err, "inherited fd %d", STDIN_FILENO);
	}
	close(null);
	return inherit(l, fd, section, err);
}

enum sgate_status
listeners_inherit(const struct sgate_conf *conf, struct listeners *out,
    bool *out_any, struct sgate_error *err)
{
	int count = listeners_passed();
	enum sgate_status status = SGATE_OK;

	*out_any = false;
	if (count > 0)
		status = inherit_passed(conf, out, count, err);
	else if (listener_is_listening(STDIN_FILENO))
		status = inherit_stdin(conf, out, err);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (status != SGATE_OK)
		listeners_close(out);
	*out_any = out->count > 0;
	return status;
}

/* ---- later ---- */

void
listeners_rebind(struct listeners *l, const struct sgate_conf *conf)
{
	const struct conf_listener *section;
	size_t i;

	for (i = 0; i < l->count; i++) {
		if (l->items[i].is_keeper)
			continue;
		section = conf_listener(conf, l->items[i].conf->name);
		if (section != NULL)
			l->items[i].conf = section;
	}
}

void
listeners_unlink(const struct listeners *l)
{
	const char *path;
	struct stat st;
	size_t i;

	for (i = 0; i < l->count; i++) {
		const struct listener *item = &l->items[i];

		path = listener_path(item->conf);
		if (item->is_inherited || path == NULL || item->path_ino == 0)
			continue;
		if (lstat(path, &st) == 0 && st.st_dev == item->path_dev &&
		    st.st_ino == item->path_ino)
			unlink(path);
	}
}

void
listeners_close(struct listeners *l)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		if (l->items[i].fd >= 0)
			close(l->items[i].fd);
		if (l->items[i].is_keeper)
			free_keeper_conf(
			    (struct conf_listener *)(uintptr_t)l->items[i]
				.conf);
	}
	free(l->items);
	l->items = NULL;
	l->count = 0;
}
