/*
 * The key file: read it, derive the subkeys, change it safely.
 *
 * struct key_file is what stands in the file, with the secrets; it lives only
 * as long as one call. struct keys is what a process keeps: subkeys alone.
 *
 * A change holds a lock on the directory (not on the file, which is replaced),
 * so two commands at once lose nothing. The new file is written beside the old
 * one and renamed over it: a reader sees the one or the other, also after a
 * power loss.
 */
#include "config.h"

#include "keys.h"

#include "buf.h"
#include "clock.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#define SECRET_BYTES crypto_kdf_KEYBYTES
#define SECRET_HEX (2 * SECRET_BYTES)
#define SUBKEY_BYTES 32
/* 16 keys and the remarks of a careful operator are far below this. */
#define FILE_MAX_BYTES 16384
#define FILE_MODE 0640
#define FIELDS_MAX 6
/* The year 5138: sums of two such times do not overflow. */
#define TIME_MAX_MS UINT64_C(99999999999999)
/* Another command holds the lock for two fsyncs, not longer. */
#define LOCK_WAIT_MS 5000
#define LOCK_RETRY_MS 10

/* Uses below KEYS_GROUP are of a signing key, the others of the group key. */
#define USES (KEYS_IDEMPOTENCY_ID + 1)

struct key_record {
	uint8_t id;
	unsigned char secret[SECRET_BYTES];
	int64_t created_ms, stopped_ms;
};

struct key_file {
	bool has_group;
	unsigned char group[SECRET_BYTES];
	uint8_t last_id; /* given out last */
	size_t count;
	struct key_record records[KEYS_MAX]; /* the first one signs */
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

struct keys {
	size_t count;
	struct keys_info infos[KEYS_MAX];
	unsigned char signing[KEYS_MAX][KEYS_GROUP][SUBKEY_BYTES];
	unsigned char group[USES - KEYS_GROUP][SUBKEY_BYTES];
};

/* A key file's place: its directory, held open, and its name in there. */
struct place {
	const char *path;
	const char *name;
	char *directory;
	int fd;
};

static enum sgate_status
system_error(struct sgate_error *err, const char *operation, const char *path,
    const char *what)
{
	int native = errno;

	return error_set(err, SGATE_INTERNAL, "keys", operation, native,
	    "%s: %s: %s", path, what, strerror(native));
}

/* ---- reading ---- */

static ssize_t
read_all(int fd, char *out, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size) {
		n = read(fd, out + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

/* Without O_NONBLOCK a FIFO in the file's place would hold us for ever. */
static enum sgate_status
open_checked(const struct place *place, int *out_fd, struct stat *out_stat,
    struct sgate_error *err)
{
	int fd;

	*out_fd = -1;
	fd = openat(place->fd, place->name,
	    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ELOOP)
		return error_set(err, SGATE_INVALID, "keys", "load", ELOOP,
		    "%s: is a symbolic link; name the file itself",
		    place->path);
	if (fd < 0)
		return error_set(err, SGATE_INVALID, "keys", "load", errno,
		    "%s: %s%s", place->path, strerror(errno),
		    errno == ENOENT   ? "; `sessgatectl db init` makes it, on "
					"the first host"
		    : errno == EACCES ? "; it must belong to the gateway's user"
				      : "");
	if (fstat(fd, out_stat) != 0) {
		error_set(err, SGATE_INVALID, "keys", "load", errno, "%s: %s",
		    place->path, strerror(errno));
	} else if (!S_ISREG(out_stat->st_mode)) {
		error_set(err, SGATE_INVALID, "keys", "load", 0,
		    "%s: is not a regular file", place->path);
	} else if ((out_stat->st_mode & (S_IWGRP | S_IRWXO)) != 0) {
		error_set(err, SGATE_INVALID, "keys", "load", 0,
		    "%s: its mode is %04o: others can read or change the keys; "
		    "chmod 0640 and, if they could be read, make new ones",
		    place->path, (unsigned)out_stat->st_mode & 07777u);
	} else {
		*out_fd = fd;
		return SGATE_OK;
	}
	close(fd);
	return SGATE_INVALID;
}

/* Fields of a line, split at blanks; their number, FIELDS_MAX if more. */
static size_t
split(struct sgate_bytes line, struct sgate_bytes out[FIELDS_MAX])
{
	size_t count = 0;
	size_t i = 0;
	size_t start;

	while (count < FIELDS_MAX) {
		while (i < line.len &&
		       (line.data[i] == ' ' || line.data[i] == '\t'))
			i++;
		if (i == line.len)
			break;
		start = i;
		while (
		    i < line.len && line.data[i] != ' ' && line.data[i] != '\t')
			i++;
		out[count].data = line.data + start;
		out[count].len = i - start;
		count++;
	}
	return count;
}

static bool
parse_secret(struct sgate_bytes field, unsigned char out[SECRET_BYTES])
{
	size_t len = 0;

	return field.len == SECRET_HEX &&
	       sodium_hex2bin(out, SECRET_BYTES, field.data, field.len, NULL,
		   &len, NULL) == 0 &&
	       len == SECRET_BYTES;
}

static bool
parse_id(struct sgate_bytes field, uint8_t *out)
{
	uint64_t value;

	if (!bytes_to_uint(field, 255, &value) || value == 0)
		return false;
	*out = (uint8_t)value;
	return true;
}

static bool
parse_time(struct sgate_bytes field, int64_t *out)
{
	uint64_t value;

	if (!bytes_to_uint(field, TIME_MAX_MS, &value))
		return false;
	*out = (int64_t)value;
	return true;
}

static size_t
find(const struct key_file *file, uint8_t id)
{
	size_t i;

	for (i = 0; i < file->count; i++)
		if (file->records[i].id == id)
			break;
	return i;
}

/* NULL, or what is wrong with a "key" line. */
static const char *
parse_key(struct key_file *file, const struct sgate_bytes *fields, size_t count)
{
	struct key_record *record;

	if (count != 5)
		return "a key line is: key ID HEX CREATED_MS STOPPED_MS";
	if (file->count == KEYS_MAX)
		return "more than 16 keys";
	record = &file->records[file->count];
	if (!parse_id(fields[1], &record->id))
		return "the id is not a number from 1 to 255";
	if (find(file, record->id) < file->count)
		return "this id is there already";
	if (!parse_secret(fields[2], record->secret))
		return "the key is not 64 hex digits";
	if (!parse_time(fields[3], &record->created_ms) ||
	    !parse_time(fields[4], &record->stopped_ms))
		return "a time is not a number of milliseconds";
	if (file->count == 0 && record->stopped_ms != 0)
		return "the first key signs: its STOPPED_MS must be 0";
	file->count++;
	return NULL;
}

/* NULL, or what is wrong with the line. */
static const char *
parse_line(struct key_file *file, struct sgate_bytes line)
{
	struct sgate_bytes fields[FIELDS_MAX];
	size_t count = split(line, fields);

	if (count == 0 || fields[0].data[0] == '#')
		return NULL;
	if (bytes_equal_text(fields[0], "key"))
		return parse_key(file, fields, count);
	if (bytes_equal_text(fields[0], "group")) {
		if (file->has_group)
			return "a second group key";
		if (count != 2 || !parse_secret(fields[1], file->group))
			return "the group key is not 64 hex digits";
		file->has_group = true;
		return NULL;
	}
	if (bytes_equal_text(fields[0], "last")) {
		if (file->last_id != 0)
			return "a second last id";
		if (count != 2 || !parse_id(fields[1], &file->last_id))
			return "the last id is not a number from 1 to 255";
		return NULL;
	}
	return "the line begins with none of: group, key, last, #";
}

static enum sgate_status
parse_text(struct key_file *file, struct sgate_bytes text, const char *path,
    struct sgate_error *err)
{
	unsigned number = 0;
	bool has_last;
	size_t i;

	while (text.len > 0) {
		struct sgate_bytes line = bytes_cut(&text, '\n');
		const char *wrong = parse_line(file, line);

		number++;
		if (wrong != NULL)
			return error_set(err, SGATE_INVALID, "keys", "load", 0,
			    "%s:%u: %s", path, number, wrong);
	}
	if (!file->has_group)
		return error_set(err, SGATE_INVALID, "keys", "load", 0,
		    "%s: there is no group key", path);
	if (file->count == 0)
		return error_set(err, SGATE_INVALID, "keys", "load", 0,
		    "%s: there is no signing key", path);
	has_last = file->last_id != 0;
	for (i = 0; i < file->count && !has_last; i++)
		if (file->records[i].id > file->last_id)
			file->last_id = file->records[i].id;
	return SGATE_OK;
}

/* *file is wiped by the caller, whatever the answer is. */
static enum sgate_status
read_file(
    const struct place *place, struct key_file *file, struct sgate_error *err)
{
	char text[FILE_MAX_BYTES + 1];
	struct sgate_bytes bytes = {text, 0};
	enum sgate_status status;
	struct stat st;
	ssize_t len;
	int fd;

	memset(file, 0, sizeof(*file));
	status = open_checked(place, &fd, &st, err);
	if (status != SGATE_OK)
		return status;
	file->uid = st.st_uid;
	file->gid = st.st_gid;
	file->mode = st.st_mode & 07777;
	len = read_all(fd, text, sizeof(text));
	if (len < 0) {
		status = system_error(err, "load", place->path, "read");
	} else if (len > FILE_MAX_BYTES) {
		status = error_set(err, SGATE_INVALID, "keys", "load", 0,
		    "%s: longer than %d bytes: not a key file", place->path,
		    FILE_MAX_BYTES);
	} else {
		bytes.len = (size_t)len;
		status = parse_text(file, bytes, place->path, err);
	}
	close(fd);
	sodium_memzero(text, sizeof(text));
	return status;
}

/* ---- places and their lock ---- */

static void
place_close(struct place *place)
{
	if (place->fd >= 0)
		close(place->fd);
	free(place->directory);
	place->directory = NULL;
	place->fd = -1;
}

/* flags: O_PATH to read (search permission is enough), O_RDONLY to lock. */
static enum sgate_status
place_open(const char *path, int flags, const char *operation,
    struct place *out, struct sgate_error *err)
{
	const char *slash = strrchr(path, '/');

	memset(out, 0, sizeof(*out));
	out->fd = -1;
	out->path = path;
	out->name = slash == NULL ? path : slash + 1;
	if (out->name[0] == '\0' || strlen(out->name) > NAME_MAX - 4)
		return error_set(err, SGATE_INVALID, "keys", operation, 0,
		    "\"%s\" does not name a file", path);
	if (slash == NULL)
		out->directory = strdup(".");
	else
		out->directory =
		    strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (out->directory == NULL)
		return error_memory(err, operation);
	out->fd = open(out->directory, flags | O_CLOEXEC | O_DIRECTORY);
	if (out->fd >= 0)
		return SGATE_OK;
	if (errno == ENOENT)
		error_set(err, SGATE_INVALID, "keys", operation, ENOENT,
		    "%s: there is no directory %s; create it (mode 0750, owned "
		    "by the gateway's user)",
		    path, out->directory);
	else
		error_set(err, SGATE_INVALID, "keys", operation, errno,
		    "%s: directory %s: %s", path, out->directory,
		    strerror(errno));
	place_close(out);
	return SGATE_INVALID;
}

/* Closing the directory unlocks it. */
static enum sgate_status
place_lock(
    const struct place *place, const char *operation, struct sgate_error *err)
{
	int64_t deadline_ms = clock_monotonic_ms() + LOCK_WAIT_MS;

	while (flock(place->fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return system_error(
			    err, operation, place->directory, "lock");
		if (clock_monotonic_ms() >= deadline_ms)
			return error_set(err, SGATE_UNAVAILABLE, "keys",
			    operation, 0,
			    "%s: another command has held the lock on %s for "
			    "%d s",
			    place->path, place->directory, LOCK_WAIT_MS / 1000);
		poll(NULL, 0, LOCK_RETRY_MS);
	}
	return SGATE_OK;
}

/* ---- writing ---- */

static void
render_secret(struct buf *out, const unsigned char secret[SECRET_BYTES])
{
	char hex[SECRET_HEX + 1];

	sodium_bin2hex(hex, sizeof(hex), secret, SECRET_BYTES);
	buf_add(out, hex, SECRET_HEX);
	sodium_memzero(hex, sizeof(hex));
}

static void
render(const struct key_file *file, struct buf *out)
{
	size_t i;

	buf_add_text(
	    out, "# sessgate keys, do not edit by hand: sessgatectl key\n");
	buf_add_text(out, "group ");
	render_secret(out, file->group);
	buf_printf(out, "\nlast %u\n", file->last_id);
	for (i = 0; i < file->count; i++) {
		const struct key_record *record = &file->records[i];

		buf_printf(out, "key %u ", record->id);
		render_secret(out, record->secret);
		buf_printf(out, " %" PRId64 " %" PRId64 "\n",
		    record->created_ms, record->stopped_ms);
	}
}

static bool
write_all(int fd, struct sgate_bytes bytes)
{
	size_t done = 0;
	ssize_t n;

	while (done < bytes.len) {
		n = write(fd, bytes.data + done, bytes.len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

/* fchown() to what it is already needs no right. */
static bool
keep_owner(int fd, const struct key_file *file)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return false;
	if (st.st_uid == file->uid && st.st_gid == file->gid)
		return true;
	return fchown(fd, file->uid, file->gid) == 0;
}

/*
 * Write the file under a temporary name. The lock is held, so the name can be
 * a fixed one: what a killed command left behind is removed by the next.
 */
static enum sgate_status
write_temporary(const struct place *place, const struct key_file *file,
    bool is_new, const char *operation, char name[NAME_MAX + 1],
    struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	struct buf text;
	int fd;

	snprintf(name, NAME_MAX + 1, "%s.new", place->name);
	unlinkat(place->fd, name, 0);
	fd = openat(place->fd, name,
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return system_error(err, operation, place->directory,
		    "cannot make a file in this directory");
	buf_init(&text);
	render(file, &text);
	if (buf_failed(&text))
		status = error_memory(err, operation);
	else if (!is_new && !keep_owner(fd, file))
		status = system_error(err, operation, place->path,
		    "cannot keep its owner, run this as root");
	else if (fchmod(fd, is_new ? FILE_MODE : file->mode) != 0 ||
		 !write_all(fd, buf_bytes(&text)) || fsync(fd) != 0)
		status = system_error(err, operation, place->path, "write");
	buf_wipe(&text);
	if (close(fd) != 0 && status == SGATE_OK)
		status = system_error(err, operation, place->path, "close");
	if (status != SGATE_OK)
		unlinkat(place->fd, name, 0);
	return status;
}

static enum sgate_status
replace_file(const struct place *place, const struct key_file *file,
    const char *operation, struct sgate_error *err)
{
	char name[NAME_MAX + 1];
	enum sgate_status status;

	status = write_temporary(place, file, false, operation, name, err);
	if (status != SGATE_OK)
		return status;
	if (renameat(place->fd, name, place->fd, place->name) != 0) {
		status = system_error(err, operation, place->path, "rename");
		unlinkat(place->fd, name, 0);
		return status;
	}
	if (fsync(place->fd) != 0)
		return system_error(
		    err, operation, place->directory, "changed, but fsync");
	return SGATE_OK;
}

static void
make_record(struct key_record *record, uint8_t id, int64_t now_ms)
{
	memset(record, 0, sizeof(*record));
	record->id = id;
	record->created_ms = now_ms;
	randombytes_buf(record->secret, sizeof(record->secret));
}

/* link() refuses when the name is taken, also by a link that leads nowhere. */
static enum sgate_status
create_file(const struct place *place, int64_t now_ms, struct sgate_error *err)
{
	char name[NAME_MAX + 1];
	enum sgate_status status;
	struct key_file file;

	memset(&file, 0, sizeof(file));
	randombytes_buf(file.group, sizeof(file.group));
	make_record(&file.records[0], 1, now_ms);
	file.count = 1;
	file.last_id = 1;
	status = write_temporary(place, &file, true, "create", name, err);
	sodium_memzero(&file, sizeof(file));
	if (status != SGATE_OK)
		return status;
	if (linkat(place->fd, name, place->fd, place->name, 0) != 0 &&
	    errno != EEXIST)
		status = system_error(err, "create", place->path, "link");
	unlinkat(place->fd, name, 0);
	if (status == SGATE_OK && fsync(place->fd) != 0)
		status = system_error(err, "create", place->directory, "fsync");
	return status;
}

static bool
exists(const struct place *place)
{
	struct stat st;

	return fstatat(place->fd, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

enum sgate_status
keys_create(const char *path, int64_t now_ms, struct sgate_error *err)
{
	enum sgate_status status;
	struct place place;

	error_clear(err);
	if (now_ms < 0 || (uint64_t)now_ms > TIME_MAX_MS || sodium_init() < 0)
		return error_set(err, SGATE_INTERNAL, "keys", "create", 0,
		    "the clock or the random numbers do not work");
	status = place_open(path, O_RDONLY, "create", &place, err);
	if (status != SGATE_OK)
		return status;
	if (!exists(&place)) {
		status = place_lock(&place, "create", err);
		if (status == SGATE_OK && !exists(&place))
			status = create_file(&place, now_ms, err);
	}
	place_close(&place);
	return status;
}

/* ---- what a process keeps ---- */

static void
derive(unsigned char out[SUBKEY_BYTES],
    const unsigned char secret[SECRET_BYTES], enum keys_use use)
{
	size_t len = use == KEYS_TAG ? crypto_shorthash_KEYBYTES : SUBKEY_BYTES;

	crypto_kdf_derive_from_key(out, len, (uint64_t)use, "sessgate", secret);
}

static void
derive_all(struct keys *keys, const struct key_file *file)
{
	unsigned use;
	size_t i;

	keys->count = file->count;
	for (i = 0; i < file->count; i++) {
		keys->infos[i].id = file->records[i].id;
		keys->infos[i].signs = i == 0;
		keys->infos[i].created_ms = file->records[i].created_ms;
		keys->infos[i].stopped_ms = file->records[i].stopped_ms;
		for (use = KEYS_TAG; use < KEYS_GROUP; use++)
			derive(keys->signing[i][use], file->records[i].secret,
			    (enum keys_use)use);
	}
	for (use = KEYS_GROUP; use < USES; use++)
		derive(keys->group[use - KEYS_GROUP], file->group,
		    (enum keys_use)use);
}

enum sgate_status
keys_load(const char *path, struct keys **out_keys, struct sgate_error *err)
{
	enum sgate_status status;
	struct key_file file;
	struct place place;
	struct keys *keys;

	*out_keys = NULL;
	error_clear(err);
	if (sodium_init() < 0)
		return error_set(err, SGATE_INTERNAL, "keys", "load", 0,
		    "libsodium cannot be initialised");
	status = place_open(path, O_PATH, "load", &place, err);
	if (status != SGATE_OK)
		return status;
	status = read_file(&place, &file, err);
	place_close(&place);
	if (status == SGATE_OK) {
		keys = calloc(1, sizeof(*keys));
		if (keys == NULL) {
			status = error_memory(err, "load");
		} else {
			derive_all(keys, &file);
			*out_keys = keys;
		}
	}
	sodium_memzero(&file, sizeof(file));
	return status;
}

void
keys_free(struct keys *keys)
{
	if (keys == NULL)
		return;
	sodium_memzero(keys, sizeof(*keys));
	free(keys);
}

uint8_t
keys_signing_id(const struct keys *keys)
{
	return keys->infos[0].id;
}

const unsigned char *
keys_subkey(const struct keys *keys, uint8_t key_id, enum keys_use use)
{
	size_t i;

	if (use < KEYS_TAG || use >= USES)
		return NULL;
	if (use >= KEYS_GROUP)
		return keys->group[use - KEYS_GROUP];
	for (i = 0; i < keys->count; i++)
		if (keys->infos[i].id == key_id)
			return keys->signing[i][use];
	return NULL;
}

void
keys_digest(const struct keys *keys, unsigned char out[KEYS_DIGEST_BYTES])
{
	crypto_generichash_state state;
	size_t i;

	crypto_generichash_init(&state, keys->group[KEYS_USER - KEYS_GROUP],
	    crypto_generichash_KEYBYTES, KEYS_DIGEST_BYTES);
	for (i = 0; i < keys->count; i++) {
		crypto_generichash_update(&state, &keys->infos[i].id, 1);
		crypto_generichash_update(&state, keys->signing[i][KEYS_TAG],
		    crypto_shorthash_KEYBYTES);
	}
	crypto_generichash_final(&state, out, KEYS_DIGEST_BYTES);
	sodium_memzero(&state, sizeof(state));
}

size_t
keys_count(const struct keys *keys)
{
	return keys->count;
}

struct keys_info
keys_info(const struct keys *keys, size_t index)
{
	static const struct keys_info none;

	return index < keys->count ? keys->infos[index] : none;
}

/* ---- commands ---- */

/* What a command asks for; it fills in what it answers. */
struct change {
	const char *operation;
	uint8_t id;
	int64_t now_ms;
	int64_t largest_absolute_ms;
	bool is_done; /* nothing to write */
};
typedef enum sgate_status change_fn(struct key_file *file, const char *path,
    struct change *change, struct sgate_error *err);

static enum sgate_status
change_file(const char *path, change_fn *apply, struct change *change,
    struct sgate_error *err)
{
	enum sgate_status status;
	struct key_file file;
	struct place place;

	error_clear(err);
	if (change->now_ms < 0 || (uint64_t)change->now_ms > TIME_MAX_MS ||
	    sodium_init() < 0)
		return error_set(err, SGATE_INTERNAL, "keys", change->operation,
		    0, "the clock or the random numbers do not work");
	memset(&file, 0, sizeof(file));
	status = place_open(path, O_RDONLY, change->operation, &place, err);
	if (status != SGATE_OK)
		return status;
	status = place_lock(&place, change->operation, err);
	if (status == SGATE_OK)
		status = read_file(&place, &file, err);
	if (status == SGATE_OK)
		status = apply(&file, path, change, err);
	if (status == SGATE_OK && !change->is_done)
		status = replace_file(&place, &file, change->operation, err);
	sodium_memzero(&file, sizeof(file));
	place_close(&place);
	return status;
}

static enum sgate_status
error_unknown_key(
    struct sgate_error *err, const char *path, const struct change *change)
{
	return error_set(err, SGATE_NOT_FOUND, "keys", change->operation, 0,
	    "%s: there is no key %u; `sessgatectl key list` shows them", path,
	    change->id);
}

/*
 * Ids go round, so that one is not soon used for another key: a host that has
 * not reloaded would announce the old key under it.
 */
static enum sgate_status
apply_new(struct key_file *file, const char *path, struct change *change,
    struct sgate_error *err)
{
	uint8_t id = file->last_id;

	if (file->count == KEYS_MAX)
		return error_set(err, SGATE_TOO_LARGE, "keys", "new", 0,
		    "%s: there are %d keys already; retire one first", path,
		    KEYS_MAX);
	do
		id = id == 255 ? 1 : (uint8_t)(id + 1);
	while (find(file, id) < file->count);
	make_record(&file->records[file->count], id, change->now_ms);
	file->count++;
	file->last_id = id;
	change->id = id;
	return SGATE_OK;
}

enum sgate_status
keys_file_new(
    const char *path, int64_t now_ms, uint8_t *out_id, struct sgate_error *err)
{
	struct change change = {.operation = "new", .now_ms = now_ms};
	enum sgate_status status;

	*out_id = 0;
	status = change_file(path, apply_new, &change, err);
	if (status == SGATE_OK)
		*out_id = change.id;
	return status;
}

static enum sgate_status
apply_use(struct key_file *file, const char *path, struct change *change,
    struct sgate_error *err)
{
	size_t at = find(file, change->id);
	struct key_record record;

	if (at == file->count)
		return error_unknown_key(err, path, change);
	if (at == 0) {
		change->is_done = true;
		return SGATE_OK;
	}
	/* 0 would say that it never signed. */
	file->records[0].stopped_ms = change->now_ms > 0 ? change->now_ms : 1;
	record = file->records[at];
	record.stopped_ms = 0;
	memmove(&file->records[1], &file->records[0], at * sizeof(record));
	file->records[0] = record;
	sodium_memzero(&record, sizeof(record));
	return SGATE_OK;
}

enum sgate_status
keys_file_use(
    const char *path, uint8_t id, int64_t now_ms, struct sgate_error *err)
{
	struct change change = {.operation = "use", .id = id, .now_ms = now_ms};

	return change_file(path, apply_use, &change, err);
}

static enum sgate_status
apply_retire(struct key_file *file, const char *path, struct change *change,
    struct sgate_error *err)
{
	size_t at = find(file, change->id);
	int64_t stopped_ms, lives_until_ms;
	char when[25];

	if (at == file->count)
		return error_unknown_key(err, path, change);
	if (at == 0)
		return error_set(err, SGATE_DENIED, "keys", "retire", 0,
		    "%s: key %u signs; put another first with `sessgatectl key "
		    "use ID`",
		    path, change->id);
	stopped_ms = file->records[at].stopped_ms;
	lives_until_ms = stopped_ms + change->largest_absolute_ms;
	if (stopped_ms != 0 && change->now_ms < lives_until_ms) {
		clock_text(lives_until_ms, when);
		return error_set(err, SGATE_DENIED, "keys", "retire", 0,
		    "%s: key %u: sessions signed with it may live until %s; "
		    "retire it then",
		    path, change->id, when);
	}
	file->count--;
	memmove(&file->records[at], &file->records[at + 1],
	    (file->count - at) * sizeof(file->records[0]));
	return SGATE_OK;
}

enum sgate_status
keys_file_retire(const char *path, uint8_t id, int64_t now_ms,
    int64_t largest_absolute_ms, struct sgate_error *err)
{
	struct change change = {.operation = "retire",
	    .id = id,
	    .now_ms = now_ms,
	    .largest_absolute_ms = largest_absolute_ms};

	if (largest_absolute_ms < 0 ||
	    (uint64_t)largest_absolute_ms > TIME_MAX_MS)
		return error_set(err, SGATE_INTERNAL, "keys", "retire", 0,
		    "the largest absolute timeout is not a duration");
	return change_file(path, apply_retire, &change, err);
}
