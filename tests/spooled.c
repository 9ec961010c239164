#include "tap.h"

#include "spooled.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

/* ---- the directory ---- */

void
spooled_open(struct spooled *s)
{
	const char *temporary = getenv("TMPDIR");

	memset(s, 0, sizeof(*s));
	if (temporary == NULL || strlen(temporary) > 30)
		temporary = "/tmp";
	snprintf(s->dir, sizeof(s->dir), "%s/spooled-XXXXXX", temporary);
	assert_true(sodium_init() >= 0);
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->spool_dir, sizeof(s->spool_dir), "%s/spool", s->dir);
	s->limits.dir = s->spool_dir;
	s->limits.max_bytes = 64 * 1024 * 1024;
	s->limits.keep_ms = INT64_C(15) * 60 * 1000;
}

void
spooled_path(const struct spooled *s, const char *name, char out[160])
{
	snprintf(out, 160, "%s/spool/%s", s->dir, name);
}

static bool
ends_so(const char *name, const char *suffix)
{
	size_t len = strlen(name), end = strlen(suffix);

	return name[0] != '.' && len >= end &&
	       strcmp(name + len - end, suffix) == 0;
}

size_t
spooled_count(const struct spooled *s, const char *suffix, char out[160])
{
	const struct dirent *entry;
	size_t count = 0;
	char path[160];
	DIR *list;

	spooled_path(s, ".", path);
	list = opendir(path);
	assert_non_null(list);
	while ((entry = readdir(list)) != NULL) {
		if (!ends_so(entry->d_name, suffix))
			continue;
		assert_true(strlen(entry->d_name) < 64);
		if (out != NULL)
			spooled_path(s, entry->d_name, out);
		count++;
	}
	closedir(list);
	return count;
}

void
spooled_empty(const struct spooled *s)
{
	char path[160];

	while (spooled_count(s, "", path) > 0)
		assert_int_equal(remove(path), 0);
}

void
spooled_close(struct spooled *s)
{
	char path[160];

	spooled_path(s, ".", path);
	if (access(path, F_OK) == 0) {
		spooled_empty(s);
		spooled_path(s, "", path);
		assert_int_equal(rmdir(path), 0);
	}
	assert_int_equal(rmdir(s->dir), 0);
}

struct spool *
spooled_writer(struct spooled *s)
{
	struct spool *spool = NULL;
	enum sgate_status status = spool_open(&s->limits, &spool, &s->err);

	if (status != SGATE_OK)
		print_error("%s\n", s->err.text);
	assert_int_equal(status, SGATE_OK);
	return spool;
}

struct spool_reader *
spooled_reader(struct spooled *s)
{
	struct spool_reader *reader = NULL;
	enum sgate_status status = spool_reader_open(
	    &s->limits, SPOOL_TO_DURABLE | SPOOL_TO_CACHE, &reader, &s->err);

	if (status != SGATE_OK)
		print_error("%s\n", s->err.text);
	assert_int_equal(status, SGATE_OK);
	return reader;
}

/* ---- frames ---- */

/* Up to max characters; how many depends on n and salt. */
static void
fill_text(char *out, size_t max, unsigned n, unsigned salt)
{
	size_t i, len = (n * 7 + salt * 13) % (max + 1);

	for (i = 0; i < len; i++)
		out[i] = (char)('a' + (i + n + salt) % 26);
	out[len] = '\0';
}

void
spooled_frame(unsigned n, struct spool_frame *out)
{
	struct durable_audit *audit = &out->audit;
	size_t i;

	memset(out, 0, sizeof(*out));
	out->kind = SPOOL_END;
	memset(out->store_id, 0x11, sizeof(out->store_id));
	out->version = n % 3 == 0 ? 0 : UINT64_C(1) << n % 40;
	out->absolute_ms = n % 5 == 0 ? 0 : SPOOLED_MS + 3600000 + n;
	out->ended_ms = SPOOLED_MS + n;
	audit->at_ms = SPOOLED_MS + n;
	for (i = 0; i < 6; i++)
		audit->event_id[i] =
		    (unsigned char)((SPOOLED_MS + n) >> 8 * (5 - i));
	for (i = 0; i < 4; i++)
		audit->event_id[12 + i] = (unsigned char)(n >> 8 * (3 - i));
	audit->reason =
	    n % 2 == 0 ? SGATE_REASON_LOGGED_OUT : SGATE_REASON_REVOKED;
	audit->has_ref = true;
	for (i = 0; i < SGATE_REF_BYTES; i++)
		audit->ref.bytes[i] = (unsigned char)(n * 31 + i * 7);
	fill_text(audit->host, sizeof(audit->host) - 1, n, 1);
	fill_text(audit->actor, sizeof(audit->actor) - 1, n, 2);
	memcpy(audit->kind, "end", 4);
	fill_text(audit->realm, sizeof(audit->realm) - 1, n, 3);
	fill_text(audit->user, sizeof(audit->user) - 1, n, 4);
	fill_text(audit->detail, 32, n, 5);
	audit->client_ip_len = n % 3 == 0 ? 0 : n % 3 == 1 ? 4 : 16;
	for (i = 0; i < audit->client_ip_len; i++)
		audit->client_ip[i] = (unsigned char)(n + i);
}

unsigned
spooled_number(const struct spool_frame *frame)
{
	static const unsigned char nobody[SPOOL_WRITER_BYTES];
	unsigned char right[SPOOL_FRAME_MAX], got[SPOOL_FRAME_MAX];
	struct spool_frame expected;
	unsigned n = (unsigned)spool_read_uint(frame->audit.event_id + 12, 4);
	size_t len;

	spooled_frame(n, &expected);
	expected.done = frame->done;
	len = spool_frame_write(&expected, nobody, right);
	assert_true(len > 0);
	assert_int_equal(spool_frame_write(frame, nobody, got), len);
	assert_memory_equal(got, right, len);
	return n;
}

enum sgate_status
spooled_append(
    struct spooled *s, struct spool *spool, unsigned n, bool is_synced)
{
	struct spool_frame frame;

	spooled_frame(n, &frame);
	return spool_append(spool, &frame, is_synced, &s->err);
}

void
spooled_fill(struct spooled *s, unsigned from, unsigned to)
{
	struct spool *spool = spooled_writer(s);

	for (; from < to; from++)
		assert_int_equal(
		    spooled_append(s, spool, from, false), SGATE_OK);
	spool_close(spool);
}

/* ---- reading ---- */

void
spooled_look(struct spooled *s, struct spool_reader *reader)
{
	struct spool_state state;
	int i;

	for (i = 0; i < 50; i++) {
		assert_int_equal(spool_look(reader, &s->err), SGATE_OK);
		spool_state(reader, &state);
		if (state.is_whole)
			return;
	}
}

size_t
spooled_pass(struct spooled *s, struct spool_reader *reader, unsigned store,
    bool is_done, unsigned *out, size_t max)
{
	struct spool_frame frame;
	struct spool_place place;
	size_t count = 0;

	assert_int_equal(spool_pass_begin(reader, store, &s->err), SGATE_OK);
	while (spool_pass_next(reader, &frame, &place)) {
		if (out != NULL) {
			assert_true(count < max);
			out[count] = spooled_number(&frame);
		}
		count++;
		if (is_done)
			spool_done(reader, &place, store);
	}
	return count;
}

size_t
spooled_read(struct spooled *s, unsigned *out, size_t max)
{
	struct spool_reader *reader = spooled_reader(s);
	size_t count;

	spooled_look(s, reader);
	count = spooled_pass(s, reader, SPOOL_TO_DURABLE, false, out, max);
	spool_reader_close(reader);
	return count;
}

/* ---- files ---- */

unsigned char *
spooled_load(const char *path, size_t *out_len)
{
	unsigned char *bytes;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	bytes = malloc((size_t)st.st_size + 1);
	assert_non_null(bytes);
	assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
	close(fd);
	*out_len = (size_t)st.st_size;
	return bytes;
}

void
spooled_store(const char *path, const unsigned char *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	assert_int_equal(close(fd), 0);
}
