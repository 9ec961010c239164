/*
 * Marks, the text of `sync`, what is believed, and the file.
 *
 * Order of reading and writing. fence_reset() makes `complete` and `known` zero
 * before it writes another store's id, and fence_trusts() reads them after the
 * id: who sees the new id finds nothing known, or what was known of that store
 * since.
 *
 * The file cannot be written (a full disk): the fence must rise all the same,
 * because a lower one believes what has ended. What must not be is a restart
 * that finds the old file and takes its lower marks for the truth; so the old
 * file is removed, which needs no room. A restart then knows nothing and
 * believes nothing until MySQL has answered.
 */
#include "config.h"

#include "fence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "buf.h"
#include "clock.h"
#include "failpoint.h"
#include "status.h"

#define EPOCH_MAX 9999
#define NONCE_MAX 32
#define PART_MAX 999999
/* How many polls a round may be old before this host is blind. */
#define YOUNG_POLLS 3
#define FILE_HEAD "sessgate fence 1\n"
#define FILE_MAX 32768
#define FILE_SUM_BYTES 16
#define BOOT_MAX 63
/* In place of the boot's id where it cannot be read: never that of any boot. */
#define BOOT_UNKNOWN "unknown"

/* ---- sync ---- */

static bool
is_nonce(struct sgate_bytes text)
{
	size_t i;

	if (text.len == 0 || text.len > NONCE_MAX)
		return false;
	for (i = 0; i < text.len; i++) {
		if (strchr("0123456789abcdef", text.data[i]) == NULL ||
		    text.data[i] == '\0')
			return false;
	}
	return true;
}

/* -1: neither a digit nor a small letter of them. */
static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Nothing of it is secret: it is in every sync. */
static bool
read_id(struct sgate_bytes hex, unsigned char out[16])
{
	size_t i;
	int high, low;

	if (hex.len != 32)
		return false;
	for (i = 0; i < 16; i++) {
		high = hex_digit(hex.data[2 * i]);
		low = hex_digit(hex.data[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static bool
read_number(struct sgate_bytes text, uint64_t max, uint64_t *out)
{
	return bytes_to_uint(text, max, out) &&
	       (text.len == 1 || text.data[0] != '0');
}

/*
 * Only what fence_sync_write() writes: no other spelling of it (a sign, leading
 * zeros, capitals) is ours.
 */
bool
fence_sync_read(const char *text, struct fence_sync *out)
{
	struct sgate_bytes rest = bytes_of(text), whole;
	struct fence_sync sync;
	uint64_t epoch, part;

	memset(out, 0, sizeof(*out));
	memset(&sync, 0, sizeof(sync));
	if (text == NULL)
		return false;
	whole = bytes_cut(&rest, ';');
	if (rest.data != NULL &&
	    (!is_nonce(bytes_cut(&rest, ';')) ||
		!read_number(rest, PART_MAX, &part) || part == 0))
		return false;
	if (!read_number(
		bytes_cut(&whole, ' '), FENCE_NUMBER_MAX, &sync.number) ||
	    !read_id(bytes_cut(&whole, ' '), sync.store.id) ||
	    !read_number(whole, EPOCH_MAX, &epoch))
		return false;
	sync.store.epoch = (unsigned)epoch;
	*out = sync;
	return true;
}

void
fence_sync_write(const struct fence_sync *sync, const char *nonce,
    unsigned part, char *out, size_t size)
{
	char id[33];

	sodium_bin2hex(id, sizeof(id), sync->store.id, sizeof(sync->store.id));
	if (part == 0)
		snprintf(out, size, "%" PRIu64 " %s %u", sync->number, id,
		    sync->store.epoch);
	else
		snprintf(out, size, "%" PRIu64 " %s %u;%s;%u", sync->number, id,
		    sync->store.epoch, nonce, part);
}

/* ---- what is believed ---- */

static void
store_id_words(const unsigned char id[16], uint64_t out[2])
{
	memcpy(out, id, 16);
}

static bool
is_behind(
    const struct fence *fence, unsigned group, const struct fence_sync *sync)
{
	uint64_t id[2], known, mark;

	store_id_words(sync->store.id, id);
	if (!failpoint_is_off("store-id") &&
	    (atomic_load(&fence->store_id[0]) != id[0] ||
		atomic_load(&fence->store_id[1]) != id[1]))
		return true;
	/* Loaded behind the id: see the top of the file. */
	known = atomic_load(&fence->known[group]);
	if (known == 0)
		return true;
	mark = fence_mark(sync->store.epoch, sync->number);
	return (!failpoint_is_off("fence") && mark < known) ||
	       (!failpoint_is_off("fence-untold") &&
		   mark < atomic_load(&fence->untold[group]));
}

enum fence_trust
fence_trusts(const struct fence *fence, unsigned group, const char *sync,
    int64_t poll_interval_ms, int64_t max_blind_ms, int64_t now_boot_ms,
    struct record_store *out_store)
{
	struct fence_sync read;
	int64_t age_ms;

	memset(out_store, 0, sizeof(*out_store));
	if (!fence_sync_read(sync, &read))
		return FENCE_NO;
	*out_store = read.store;
	if (group >= TOKEN_GROUPS || is_behind(fence, group, &read))
		return FENCE_NO;
	return fence_age(fence, atomic_load(&fence->complete_ms[group]),
	    poll_interval_ms, max_blind_ms, now_boot_ms, &age_ms);
}

enum fence_trust
fence_age(const struct fence *fence, int64_t round_ms, int64_t poll_interval_ms,
    int64_t max_blind_ms, int64_t now_boot_ms, int64_t *out_age_ms)
{
	int64_t young_ms = YOUNG_POLLS * poll_interval_ms;
	int64_t age_ms;

	*out_age_ms = INT64_MAX;
	if (atomic_load(&fence->is_alarmed) != 0 || round_ms <= 0 ||
	    __builtin_sub_overflow(now_boot_ms, round_ms, &age_ms))
		return FENCE_NO;
	/*
	 * Who read the clock before the round that it now finds sees a moment
	 * that is a little in the future. Further off it is nonsense.
	 */
	if (age_ms < -young_ms)
		return FENCE_NO;
	*out_age_ms = age_ms;
	if (age_ms <= young_ms)
		return FENCE_YES;
	return max_blind_ms < 0 || age_ms <= max_blind_ms ? FENCE_IF_BLIND
							  : FENCE_NO;
}

static void
raise_mark(_Atomic uint64_t *at, uint64_t mark)
{
	uint64_t now = atomic_load(at);

	while (now < mark && !atomic_compare_exchange_weak(at, &now, mark))
		continue;
}

void
fence_raise(struct fence *fence, unsigned group, uint64_t mark)
{
	raise_mark(&fence->known[group], mark);
}

void
fence_raise_untold(struct fence *fence, unsigned group, uint64_t mark)
{
	raise_mark(&fence->untold[group], mark);
}

void
fence_reset(struct fence *fence, const unsigned char store_id[16])
{
	uint64_t id[2];
	unsigned group;

	for (group = 0; group < TOKEN_GROUPS; group++) {
		atomic_store(&fence->complete_ms[group], 0);
		atomic_store(&fence->heard_ms[group], 0);
		atomic_store(&fence->known[group], 0);
		atomic_store(&fence->untold[group], 0);
	}
	store_id_words(store_id, id);
	atomic_store(&fence->store_id[0], id[0]);
	atomic_store(&fence->store_id[1], id[1]);
	atomic_store(&fence->settings, 0);
	atomic_store(&fence->clock_offset_ms, 0);
	atomic_store(&fence->is_alarmed, 0);
}

/* ---- the file ---- */

static bool
file_path(const char *runtime_dir, const char *name, char *out, size_t size)
{
	int len = snprintf(out, size, "%s/%s", runtime_dir, name);

	return len > 0 && (size_t)len < size;
}

/* The id that the kernel gives each boot, or BOOT_UNKNOWN. */
static void
boot_id(char out[BOOT_MAX + 1])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (file == NULL || fgets(out, BOOT_MAX + 1, file) == NULL)
		strcpy(out, BOOT_UNKNOWN);
	if (file != NULL)
		fclose(file);
	out[strcspn(out, "\n")] = '\0';
	if (!bytes_is_name(bytes_of(out), BOOT_MAX, "-"))
		strcpy(out, BOOT_UNKNOWN);
}

static void
add_sum(struct buf *text)
{
	unsigned char sum[FILE_SUM_BYTES];

	crypto_generichash(sum, sizeof(sum), (const unsigned char *)text->data,
	    text->len, NULL, 0);
	buf_add_text(text, "sum ");
	buf_add_hex(text, sum, sizeof(sum));
	buf_add_char(text, '\n');
}

/*
 * "set NUMBER EPOCH" and the lines of both rows (settings.c), those of flushes
 * behind a blank.
 */
static void
add_settings(const struct settings *settings, struct buf *out)
{
	struct buf flushes = {0};
	struct sgate_bytes rest, line;

	if (settings == NULL || settings->number == 0)
		return;
	buf_printf(out, "set %" PRIu64 " %u\n", settings->number,
	    settings->store.epoch);
	settings_write_maintenances(settings, out);
	settings_write_flushes(settings, &flushes);
	for (rest = buf_bytes(&flushes); rest.len > 0;) {
		line = bytes_cut(&rest, '\n');
		buf_add_char(out, ' ');
		buf_add_bytes(out, line);
		buf_add_char(out, '\n');
	}
	if (buf_failed(&flushes))
		out->failed = true;
	buf_clear(&flushes);
}

static void
file_text(
    const struct fence *fence, const struct settings *settings, struct buf *out)
{
	uint64_t id[2], known;
	char boot[BOOT_MAX + 1];
	unsigned group;

	boot_id(boot);
	id[0] = atomic_load(&fence->store_id[0]);
	id[1] = atomic_load(&fence->store_id[1]);
	buf_add_text(out, FILE_HEAD);
	buf_printf(out, "boot %s\n", boot);
	buf_add_text(out, "store ");
	buf_add_hex(out, id, sizeof(id));
	buf_printf(out, "\nalarmed %d\nsettings %" PRIu64 "\n",
	    atomic_load(&fence->is_alarmed) != 0,
	    atomic_load(&fence->settings));
	buf_printf(
	    out, "clock %" PRId64 "\n", atomic_load(&fence->clock_offset_ms));
	for (group = 0; group < TOKEN_GROUPS; group++) {
		known = atomic_load(&fence->known[group]);
		buf_printf(out,
		    "group %u epoch %" PRIu64 " number %" PRIu64
		    " complete %" PRId64 "\n",
		    group, known >> FENCE_NUMBER_BITS, known & FENCE_NUMBER_MAX,
		    atomic_load(&fence->complete_ms[group]));
	}
	add_settings(settings, out);
	if (!buf_failed(out))
		add_sum(out);
}

/* A cursor over the lines; once something is wrong, all that follows is. */
struct file_reader {
	struct sgate_bytes rest;
	bool is_wrong;
};

/* What stands behind `word` up to the next `end`. */
static struct sgate_bytes
take_word(struct file_reader *in, const char *word, char end)
{
	size_t len = strlen(word);

	if (in->is_wrong || in->rest.len < len ||
	    memcmp(in->rest.data, word, len) != 0) {
		in->is_wrong = true;
		return bytes_of("");
	}
	in->rest.data += len;
	in->rest.len -= len;
	if (memchr(in->rest.data, end, in->rest.len) == NULL) {
		in->is_wrong = true;
		return bytes_of("");
	}
	return bytes_cut(&in->rest, end);
}

static uint64_t
take_uint(struct file_reader *in, const char *word, char end, uint64_t max)
{
	struct sgate_bytes digits = take_word(in, word, end);
	uint64_t value = 0;

	if (!in->is_wrong && !bytes_to_uint(digits, max, &value))
		in->is_wrong = true;
	return value;
}

static int64_t
take_int(struct file_reader *in, const char *word, char end)
{
	struct sgate_bytes digits = take_word(in, word, end);
	bool is_negative = digits.len > 0 && digits.data[0] == '-';
	uint64_t value = 0;

	if (is_negative) {
		digits.data++;
		digits.len--;
	}
	if (!in->is_wrong &&
	    !bytes_to_uint(
		digits, (uint64_t)INT64_MAX + (is_negative ? 1 : 0), &value))
		in->is_wrong = true;
	if (is_negative && value == (uint64_t)INT64_MAX + 1)
		return INT64_MIN;
	return is_negative ? -(int64_t)value : (int64_t)value;
}

static void
take_group(struct file_reader *in, unsigned group, int64_t now_boot_ms,
    struct fence *out)
{
	uint64_t epoch, number, complete_ms;

	if (take_uint(in, "group ", ' ', TOKEN_GROUPS - 1) != group)
		in->is_wrong = true;
	epoch = take_uint(in, "epoch ", ' ', EPOCH_MAX);
	number = take_uint(in, "number ", ' ', FENCE_NUMBER_MAX);
	/* This boot's clock does not go back. */
	complete_ms = take_uint(in, "complete ", '\n', (uint64_t)now_boot_ms);
	if (complete_ms != 0 && failpoint_is_off("blind-clock"))
		complete_ms = (uint64_t)now_boot_ms;
	atomic_store(&out->known[group], fence_mark((unsigned)epoch, number));
	atomic_store(&out->complete_ms[group], (int64_t)complete_ms);
}

/* The sum stands in the last line and is right. */
static bool
has_sum(struct sgate_bytes text)
{
	const size_t sum_len = strlen("sum \n") + 2 * FILE_SUM_BYTES;
	struct buf whole = {0};
	bool is_right;

	if (text.len <= sum_len)
		return false;
	buf_add(&whole, text.data, text.len - sum_len);
	if (!buf_failed(&whole))
		add_sum(&whole);
	is_right = !buf_failed(&whole) && bytes_equal(buf_bytes(&whole), text);
	buf_clear(&whole);
	return is_right;
}

static bool
begins_with(struct sgate_bytes text, const char *word)
{
	size_t len = strlen(word);

	return text.len >= len && memcmp(text.data, word, len) == 0;
}

/* Lines of one row, up to the first that is none. */
static struct sgate_bytes
take_row(struct file_reader *in, bool is_flush)
{
	struct sgate_bytes row = {in->rest.data, 0};

	while (!in->is_wrong && !begins_with(in->rest, "sum ") &&
	       begins_with(in->rest, " ") == is_flush)
		(void)take_word(in, "", '\n');
	row.len = (size_t)(in->rest.data - row.data);
	return row;
}

static void
take_settings(
    struct file_reader *in, const unsigned char id[16], struct settings *out)
{
	struct sgate_bytes row, line;
	struct buf flushes = {0};

	memset(out, 0, sizeof(*out));
	if (in->is_wrong || !begins_with(in->rest, "set "))
		return;
	memcpy(out->store.id, id, sizeof(out->store.id));
	out->number = take_uint(in, "set ", ' ', UINT64_MAX);
	out->store.epoch = (unsigned)take_uint(in, "", '\n', EPOCH_MAX);
	row = take_row(in, false);
	if (!settings_read_maintenances(row, out))
		in->is_wrong = true;
	for (row = take_row(in, true); row.len > 0;) {
		line = bytes_cut(&row, '\n');
		buf_add(&flushes, line.data + 1, line.len - 1);
		buf_add_char(&flushes, '\n');
	}
	if (buf_failed(&flushes) ||
	    !settings_read_flushes(buf_bytes(&flushes), out))
		in->is_wrong = true;
	buf_clear(&flushes);
}

/* *out_boot: borrowed from text. */
static bool
read_text(struct sgate_bytes text, struct sgate_bytes *out_boot,
    struct fence *out, struct settings *out_settings)
{
	struct file_reader in = {text, false};
	int64_t now_boot_ms = clock_boot_ms();
	unsigned char id[16];
	unsigned group;

	if (!has_sum(text))
		return false;
	*out_boot = take_word(&in, FILE_HEAD "boot ", '\n');
	if (!read_id(take_word(&in, "store ", '\n'), id))
		return false;
	fence_reset(out, id);
	atomic_store(
	    &out->is_alarmed, (int)take_uint(&in, "alarmed ", '\n', 1));
	atomic_store(
	    &out->settings, take_uint(&in, "settings ", '\n', UINT64_MAX));
	atomic_store(&out->clock_offset_ms, take_int(&in, "clock ", '\n'));
	for (group = 0; group < TOKEN_GROUPS; group++)
		take_group(&in, group, now_boot_ms, out);
	take_settings(&in, id, out_settings);
	take_word(&in, "sum ", '\n');
	return !in.is_wrong && in.rest.len == 0;
}

/* SGATE_OK: the whole file, NUL-free or not, in out. */
static enum sgate_status
load(const char *path, char out[FILE_MAX], size_t *out_len,
    struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	struct stat st;
	ssize_t got = 0;
	int fd, native;

	*out_len = 0;
	/* Not to wait for a writer, were it a pipe. */
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		native = errno;
		return error_set(err,
		    native == ENOENT ? SGATE_NOT_FOUND : SGATE_CORRUPT, "fence",
		    "open", native, "%s: %s", path, strerror(native));
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    st.st_size >= FILE_MAX) {
		status = error_set(err, SGATE_CORRUPT, "fence", "read", 0,
		    "%s: not a file of ours", path);
		goto out;
	}
	do {
		got = read(fd, out + *out_len, FILE_MAX - *out_len);
		if (got > 0)
			*out_len += (size_t)got;
	} while (
	    (got > 0 && *out_len < FILE_MAX) || (got < 0 && errno == EINTR));
	if (got < 0) {
		native = errno;
		status = error_set(err, SGATE_CORRUPT, "fence", "read", native,
		    "%s: %s", path, strerror(native));
	}
out:
	close(fd);
	return status;
}

enum sgate_status
fence_file_read(
    const char *runtime_dir, struct fence *out, struct sgate_error *err)
{
	struct settings settings;

	return fence_file_read_all(runtime_dir, out, &settings, err);
}

enum sgate_status
fence_file_read_all(const char *runtime_dir, struct fence *out,
    struct settings *out_settings, struct sgate_error *err)
{
	static const unsigned char no_id[16];
	struct sgate_bytes text = {NULL, 0}, boot = {NULL, 0};
	char path[4096], bytes[FILE_MAX], this_boot[BOOT_MAX + 1];
	enum sgate_status status;

	fence_reset(out, no_id);
	memset(out_settings, 0, sizeof(*out_settings));
	error_clear(err);
	if (!file_path(runtime_dir, "fence", path, sizeof(path)))
		return error_set(err, SGATE_CORRUPT, "fence", "read",
		    ENAMETOOLONG, "%s: too long", runtime_dir);
	status = load(path, bytes, &text.len, err);
	if (status != SGATE_OK)
		return status;
	text.data = bytes;
	if (!read_text(text, &boot, out, out_settings)) {
		fence_reset(out, no_id);
		out_settings->number = 0;
		return error_set(err, SGATE_CORRUPT, "fence", "read", 0,
		    "%s: damaged, or of another version", path);
	}
	boot_id(this_boot);
	if (!bytes_equal_text(boot, this_boot) ||
	    strcmp(this_boot, BOOT_UNKNOWN) == 0) {
		fence_reset(out, no_id);
		out_settings->number = 0;
		return error_set(err, SGATE_NOT_FOUND, "fence", "read", 0,
		    "%s: of an earlier boot", path);
	}
	return SGATE_OK;
}

/* 0, or -1 with errno. */
static int
write_whole(int fd, struct sgate_bytes text)
{
	ssize_t done;

	while (text.len > 0) {
		done = write(fd, text.data, text.len);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -1;
		text.data += done;
		text.len -= (size_t)done;
	}
	return 0;
}

/* 0, or -1 with errno: then what was there under `path` is as it was. */
static int
replace_once(const char *path, const char *new_path, struct sgate_bytes text,
    bool is_synced)
{
	int fd, native;

	if (unlink(new_path) != 0 && errno != ENOENT)
		return -1;
	fd =
	    open(new_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		S_IRUSR | S_IWUSR);
	if (fd < 0)
		return -1;
	if (write_whole(fd, text) != 0 || (is_synced && fsync(fd) != 0)) {
		native = errno;
		close(fd);
	} else if (close(fd) != 0) {
		native = errno;
	} else if (failpoint_fails("fence-file-rename")) {
		native = EIO;
	} else if (rename(new_path, path) != 0) {
		native = errno;
	} else {
		return 0;
	}
	unlink(new_path);
	errno = native;
	return -1;
}

/*
 * During a reload two keepers live for a moment. Should they meet in here, one
 * finds the other's new file, or its own one gone: then once more.
 */
static int
replace(const char *path, const char *new_path, struct sgate_bytes text,
    bool is_synced)
{
	int rc = replace_once(path, new_path, text, is_synced);

	if (rc != 0 && (errno == EEXIST || errno == ENOENT))
		rc = replace_once(path, new_path, text, is_synced);
	return rc;
}

enum sgate_status
fence_file_write(const char *runtime_dir, const struct fence *fence,
    bool is_synced, struct sgate_error *err)
{
	return fence_file_write_all(runtime_dir, fence, NULL, is_synced, err);
}

enum sgate_status
fence_file_write_all(const char *runtime_dir, const struct fence *fence,
    const struct settings *settings, bool is_synced, struct sgate_error *err)
{
	char path[4096], new_path[4096];
	struct buf text = {0};
	int native = 0;

	error_clear(err);
	if (!file_path(runtime_dir, "fence", path, sizeof(path)) ||
	    !file_path(runtime_dir, "fence.new", new_path, sizeof(new_path)))
		return error_set(err, SGATE_INTERNAL, "fence", "write",
		    ENAMETOOLONG, "%s: too long", runtime_dir);
	file_text(fence, settings, &text);
	if (buf_failed(&text))
		native = ENOMEM;
	else if (failpoint_fails("fence-file-write"))
		native = EIO;
	else if (replace(path, new_path, buf_bytes(&text), is_synced) != 0)
		native = errno;
	else if (failpoint_fails("fence-file-write-done"))
		native = EIO;
	buf_clear(&text);
	if (native == 0)
		return SGATE_OK;
	/* An old one tells of less than is used: see the top of the file. */
	if (unlink(path) != 0 && errno != ENOENT)
		return error_set(err, SGATE_INTERNAL, "fence", "remove", errno,
		    "%s: it cannot be written (%s) nor be removed: %s", path,
		    strerror(native), strerror(errno));
	return error_set(err, SGATE_INTERNAL, "fence", "write", native,
	    "%s: %s", path, strerror(native));
}
