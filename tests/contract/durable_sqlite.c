/*
 * The durable contract: what is SQLite's own: files, damaged rows, full disks,
 * the caller's own statements. Damage is done by a plain connection beside the
 * store's.
 */
#include "config.h"

#include "durable_cases.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "clock.h"

/* ---- helpers ---- */

/* Runs statements on the file, past all of the store's checks. */
static void
damage(const char *file, const char *sql)
{
	sqlite3 *db = NULL;
	char *text = NULL;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
		fprintf(stderr, "%s: %s\n", sql, text);
	assert_null(text);
	sqlite3_close(db);
}

static void
write_file(const char *file, const char *content, mode_t mode)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_true(
	    write(fd, content, strlen(content)) == (ssize_t)strlen(content));
	close(fd);
}

/* A handle on another file of the case's directory. */
static struct durable *
open_file(struct fixture *f, const char *name)
{
	static char file[160];

	snprintf(file, sizeof(file), "%s/%s", f->directory, name);
	f->conf.sqlite.file = file;
	return open_handle(f);
}

static mode_t
mode_of(const char *file, const char *suffix)
{
	char name[160];
	struct stat st;

	snprintf(name, sizeof(name), "%s%s", file, suffix);
	assert_int_equal(stat(name, &st), 0);
	return st.st_mode & 07777;
}

/* ---- files ---- */

static void
the_store_s_files_are_for_their_owner_alone(struct fixture *f)
{
	add_session(f, make_session(1, 1));
	assert_int_equal(mode_of(f->file, ""), 0600);
	assert_int_equal(mode_of(f->file, "-wal"), 0600);
	assert_int_equal(mode_of(f->file, "-shm"), 0600);
}

static void
check_path_is_refused(struct fixture *f, char *path)
{
	struct durable *d = (void *)f;

	f->conf.sqlite.file = path;
	assert_status(f, SGATE_INVALID, f->ops->open(&f->conf, &d, &f->err));
	assert_null(d);
	assert_text(f, "absolute");
}

static void
a_path_that_is_not_absolute_is_refused(struct fixture *f)
{
	char memory[] = ":memory:";
	char uri[] = "file:/tmp/x?mode=memory";
	char relative[] = "store.db";
	char empty[] = "";

	check_path_is_refused(f, memory);
	check_path_is_refused(f, uri);
	check_path_is_refused(f, relative);
	check_path_is_refused(f, empty);
	check_path_is_refused(f, NULL);
}

static void
a_missing_file_is_unavailable_and_not_made_by_looking(struct fixture *f)
{
	struct durable *d = open_file(f, "none.db");

	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	assert_text(f, "db init");
	assert_status(f, SGATE_UNAVAILABLE, f->ops->begin(d, &f->err));
	assert_status(f, SGATE_INVALID, f->ops->schema_check(d, &f->err));
	assert_text(f, "db init");
	assert_int_equal(access(f->conf.sqlite.file, F_OK), -1);
	assert_ok(f, f->ops->schema_init(d, &f->err));
	assert_ok(f, f->ops->ping(d, &f->err));
	f->ops->close(d);
}

static void
a_missing_directory_is_unavailable_and_says_so(struct fixture *f)
{
	struct durable *d = open_file(f, "none/store.db");

	assert_status(f, SGATE_UNAVAILABLE, f->ops->schema_init(d, &f->err));
	assert_text(f, "none/store.db");
	assert_text(f, "directory must exist");
	assert_int_equal(f->err.native_code, ENOENT);
	f->ops->close(d);
}

static void
a_directory_in_its_place_is_unavailable(struct fixture *f)
{
	struct durable *d = open_file(f, "sub");

	assert_int_equal(mkdir(f->conf.sqlite.file, 0700), 0);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->schema_init(d, &f->err));
	assert_text(f, "regular file");
	f->ops->close(d);
}

static void
a_file_that_is_no_database_is_corrupt_and_left_in_place(struct fixture *f)
{
	const char *const content =
	    "#!/bin/sh\n# This is not a database; it is "
	    "longer than the header of one, which is a "
	    "hundred bytes, so that it is read.\n";
	struct durable *d = open_file(f, "text");
	struct stat st;

	write_file(f->conf.sqlite.file, content, 0600);
	assert_status(f, SGATE_CORRUPT, f->ops->ping(d, &f->err));
	assert_text(f, "not a database");
	assert_status(f, SGATE_CORRUPT, f->ops->schema_check(d, &f->err));
	assert_status(f, SGATE_CORRUPT, f->ops->schema_init(d, &f->err));
	assert_int_equal(f->err.reason, SGATE_REASON_STORE);
	assert_int_equal(stat(f->conf.sqlite.file, &st), 0);
	assert_int_equal(st.st_size, strlen(content));
	f->ops->close(d);
}

static void
an_empty_file_has_no_tables_until_init(struct fixture *f)
{
	struct durable *d = open_file(f, "empty.db");

	write_file(f->conf.sqlite.file, "", 0600);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	assert_status(f, SGATE_INVALID, f->ops->schema_check(d, &f->err));
	assert_text(f, "db init");
	assert_ok(f, f->ops->schema_init(d, &f->err));
	assert_ok(f, f->ops->schema_check(d, &f->err));
	f->ops->close(d);
}

static void
another_schema_version_is_refused_both_ways(struct fixture *f)
{
	struct durable *d;

	damage(f->file, "UPDATE store SET schema_version = 2");
	d = open_handle(f);
	assert_status(f, SGATE_INVALID, f->ops->schema_check(d, &f->err));
	assert_text(f, "newer");
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(d, &f->err));
	assert_status(f, SGATE_INVALID, f->ops->schema_init(d, &f->err));
	damage(f->file, "UPDATE store SET schema_version = 0");
	assert_status(f, SGATE_INVALID, f->ops->schema_check(d, &f->err));
	assert_text(f, "older");
	damage(f->file, "UPDATE store SET schema_version = 1");
	assert_ok(f, f->ops->schema_check(d, &f->err));
	assert_ok(f, f->ops->ping(d, &f->err));
	f->ops->close(d);
}

static void
a_foreign_table_named_store_is_not_taken_over(struct fixture *f)
{
	struct durable *d = open_file(f, "foreign.db");

	damage(f->conf.sqlite.file, "CREATE TABLE store (goods TEXT); "
				    "INSERT INTO store VALUES ('apples')");
	assert_status(f, SGATE_INVALID, f->ops->schema_init(d, &f->err));
	assert_text(f, "not sessgate's");
	damage(f->conf.sqlite.file, "UPDATE store SET goods = 'pears'");
	f->ops->close(d);
}

/* As a user who may not write there: root may everywhere. */
static int
try_as_nobody(struct fixture *f, const char *name)
{
	struct durable *d = NULL;
	enum sgate_status status;

	if (geteuid() == 0 && seteuid(65534) != 0)
		return 2;
	d = open_file(f, name);
	status = f->ops->schema_init(d, &f->err);
	if (status != SGATE_UNAVAILABLE ||
	    strstr(f->err.text, "writable for this user") == NULL) {
		fprintf(stderr, "%s: %s: %s\n", name, sgate_status_text(status),
		    f->err.text);
		return 1;
	}
	f->ops->close(d);
	return 0;
}

static void
check_as_nobody(struct fixture *f, const char *name)
{
	int status;
	pid_t pid = fork_child(f);

	if (pid == 0)
		_exit(try_as_nobody(f, name));
	assert_true(waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
a_read_only_directory_or_file_is_unavailable_and_says_so(struct fixture *f)
{
	char file[160];

	f->ops->close(f->a);
	f->ops->close(f->b);
	f->a = NULL;
	f->b = NULL;
	snprintf(file, sizeof(file), "%s/given.db", f->directory);
	/* A new file cannot be made; one that is there can be read only. */
	assert_int_equal(chmod(f->directory, 0555), 0);
	check_as_nobody(f, "new.db");
	assert_int_equal(chmod(f->directory, 0755), 0);
	assert_int_equal(chmod(f->file, 0444), 0);
	assert_int_equal(chmod(f->directory, 0555), 0);
	check_as_nobody(f, "store.db");
	/* Its own, but nowhere to put the -wal file. */
	assert_int_equal(chmod(f->file, 0666), 0);
	check_as_nobody(f, "store.db");
	assert_int_equal(chmod(f->directory, 0700), 0);
}

static void
a_file_that_was_replaced_is_noticed_within_two_seconds(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 1);
	char aside[160];
	struct durable *d;

	add_session(f, make_session(1, 1));
	snprintf(aside, sizeof(aside), "%s/aside.db", f->directory);
	assert_int_equal(rename(f->file, aside), 0);
	d = open_handle(f);
	assert_ok(f, f->ops->schema_init(d, &f->err));
	f->ops->close(d);
	usleep(1100 * 1000);
	assert_false(has_session(f, f->a, &ref));
	assert_int_equal(unlink(f->file), 0);
	usleep(1100 * 1000);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->begin(f->a, &f->err));
}

/* What is acknowledged must not go with a file that has no name any more. */
static void
a_write_never_goes_to_a_file_that_was_replaced(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 2);
	char aside[160];
	struct durable *d;

	add_session(f, make_session(1, 1));
	snprintf(aside, sizeof(aside), "%s/aside.db", f->directory);
	assert_int_equal(rename(f->file, aside), 0);
	d = open_handle(f);
	assert_ok(f, f->ops->schema_init(d, &f->err));
	add_session(f, make_session(1, 2));
	assert_true(has_session(f, d, &ref));
	assert_int_equal(unlink(f->file), 0);
	assert_status(f, SGATE_UNAVAILABLE, f->ops->begin(f->a, &f->err));
	f->ops->close(d);
}

/* ---- damaged rows ---- */

static const char *const damages[] = {
    "state = 3",
    "state = 0",
    "seq = -1",
    "version = 0",
    "end_reason = 99",
    "secret_hash = x'00'",
    "prev_hash = zeroblob(31)",
    "client_ip = x'7f'",
    "format = 2",
    "created_ms = -1",
    "idle_ms = 9223372036854775807",
    "absolute_ms = 253402300800000",
    "last_seen_ms = -9223372036854775808",
    "user_id = replace(hex(zeroblob(65)), '0', 'x')",
    "user_id = 'a' || char(0) || 'b'",
    "user_id = cast(x'ff' as text)",
    "realm = replace(hex(zeroblob(33)), '0', 'x')",
    "context_id = replace(hex(zeroblob(65)), '0', 'x')",
    "contexts = replace(hex(zeroblob(3000)), '0', 'x')",
    "roles = replace(hex(zeroblob(3000)), '0', 'x')",
    "exports = replace(hex(zeroblob(1537)), '0', 'x')",
    "user_agent = replace(hex(zeroblob(128)), '0', 'x')",
    "data = 'not json'",
    "data = '{'",
    "data = '{' || char(0) || '}'",
};

static void
a_row_that_cannot_be_right_is_corrupt_and_left_in_place(struct fixture *f)
{
	const struct sgate_ref good = make_ref(2, 1);
	const struct sgate_ref ref = make_ref(1, 1);
	struct sgate_session *s;
	char sql[256];
	size_t i;

	add_session(f, make_session(1, 1));
	add_session(f, make_session(2, 1));
	damage(f->file, "CREATE TABLE kept AS SELECT * FROM session");
	for (i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		snprintf(sql, sizeof(sql),
		    "UPDATE session SET %s WHERE hex(ref) LIKE '01%%'",
		    damages[i]);
		damage(f->file, sql);
		if (f->ops->session_get(f->a, &ref, 0, &s, NULL, &f->err) !=
		    SGATE_CORRUPT)
			fprintf(stderr, "accepted: %s\n", damages[i]);
		assert_status(f, SGATE_CORRUPT,
		    f->ops->session_get(f->a, &ref, 0, &s, NULL, &f->err));
		assert_null(s);
		assert_text(f, "left in place");
		assert_true(has_session(f, f->a, &good));
		damage(f->file, "DELETE FROM session; "
				"INSERT INTO session SELECT * FROM kept");
		assert_true(has_session(f, f->a, &ref));
	}
}

static int
count_session(void *arg, const struct sgate_session *session)
{
	(void)session;
	++*(int *)arg;
	return 0;
}

static void
a_damaged_row_does_not_stop_the_reaper(struct fixture *f)
{
	const int64_t far_ms = T0 + ms(100) * 86400 * 1000;
	struct sgate_ref cursor = {{0}};
	bool is_wrapped;
	int count = 0;
	unsigned i;

	for (i = 1; i <= 4; i++)
		add_session(f, make_session(i, 1));
	damage(
	    f->file, "UPDATE session SET state = 9 WHERE hex(ref) LIKE '02%'");
	assert_status(f, SGATE_CORRUPT,
	    f->ops->expired(f->a, far_ms, 0, 2, &cursor, &is_wrapped,
		count_session, &count, &f->err));
	assert_int_equal(count, 1);
	assert_int_equal(cursor.bytes[0], 2);
	assert_ok(f, f->ops->expired(f->a, far_ms, 0, 9, &cursor, &is_wrapped,
			 count_session, &count, &f->err));
	assert_int_equal(count, 3);
	assert_true(is_wrapped);
}

static void
damaged_pages_are_corrupt_and_nobody_s_not_found(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 1);
	struct sgate_session *s;
	enum sgate_status status;
	char page[4096];
	struct stat st;
	off_t at;
	int fd;

	add_session(f, make_session(1, 1));
	f->ops->close(f->a);
	f->ops->close(f->b);
	memset(page, 0xa5, sizeof(page));
	fd = open(f->file, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	for (at = 4096; at < st.st_size; at += 4096)
		assert_true(pwrite(fd, page, sizeof(page), at) == sizeof(page));
	close(fd);
	f->a = open_handle(f);
	f->b = NULL;
	status = f->ops->session_get(f->a, &ref, 0, &s, NULL, &f->err);
	assert_status(f, SGATE_CORRUPT, status);
	assert_text(f, "left in place");
}

/* ---- disk full ---- */

/*
 * With a limit on the size of files, writes fail in the middle of a
 * transaction or of its commit. Returns how many were acknowledged, -1 for a
 * wrong answer.
 */
static int
fill_disk(struct fixture *f)
{
	struct rlimit limit = {0, 0};
	struct sgate_session *s = make_largest_session(0);
	enum sgate_status status = SGATE_OK;
	struct durable *d = open_handle(f);
	char wal[160];
	struct stat st;
	int i;

	if (f->ops->ping(d, &f->err) != SGATE_OK)
		return -1;
	snprintf(wal, sizeof(wal), "%s-wal", f->file);
	if (stat(wal, &st) != 0)
		return -1;
	/* Not a multiple of a frame, so that one write is cut short. */
	limit.rlim_cur = limit.rlim_max = (rlim_t)st.st_size + 1000003;
	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return -1;
	for (i = 1; status == SGATE_OK; i++) {
		s->ref = make_ref(3, (unsigned)i);
		status = f->ops->begin(d, &f->err);
		if (status == SGATE_OK)
			status = f->ops->session_insert(d, s, &f->err);
		if (status == SGATE_OK)
			status = f->ops->commit(d, &f->err);
		else
			f->ops->rollback(d);
	}
	/* The last number was refused, and surely so. */
	if (status != SGATE_UNAVAILABLE ||
	    strstr(f->err.text, "space") == NULL) {
		fprintf(
		    stderr, "%s: %s\n", sgate_status_text(status), f->err.text);
		return -1;
	}
	if (!has_session(f, d, &(struct sgate_ref){{1, [11] = 1}}))
		return -1;
	return i - 2;
}

static void
a_full_disk_is_unavailable_and_nothing_is_lost(struct fixture *f)
{
	int pipes[2];
	int count;
	int status;
	int i;
	pid_t pid;
	struct sgate_ref ref;

	add_session(f, make_session(1, 1));
	assert_int_equal(pipe(pipes), 0);
	pid = fork_child(f);
	if (pid == 0) {
		alarm(60);
		count = fill_disk(f);
		_exit(write(pipes[1], &count, sizeof(count)) == sizeof(count)
			  ? 0
			  : 1);
	}
	assert_true(read(pipes[0], &count, sizeof(count)) == sizeof(count));
	assert_true(waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_true(count > 3);
	for (i = 1; i <= count; i++) {
		ref = make_ref(3, (unsigned)i);
		assert_true(has_session(f, f->a, &ref));
	}
	ref = make_ref(3, (unsigned)count + 1);
	assert_false(has_session(f, f->a, &ref));
	/* With room again it goes on. */
	add_session(f, make_session(1, 2));
	close(pipes[0]);
	close(pipes[1]);
}

/* ---- deadlines ---- */

static void
a_long_statement_ends_at_its_deadline(struct fixture *f)
{
	int64_t started_ms = clock_monotonic_ms();

	assert_ok(f, f->ops->begin(f->a, &f->err));
	f->a->deadline_ms = started_ms + 100;
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->exec(f->a,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
		"FROM n) SELECT count(*) FROM n",
		NULL, 0, NULL, NULL, &f->err));
	assert_true(clock_monotonic_ms() - started_ms < 100 + 100);
	f->ops->rollback(f->a);
	allow_ms(f, 5000);
	assert_ok(f, f->ops->begin(f->a, &f->err));
	f->ops->rollback(f->a);
}

/*
 * The deadline passes anywhere: before, in or after BEGIN, INSERT and COMMIT.
 * What is answered must be what is there.
 */
static void
answers_are_exact_wherever_the_deadline_passes(struct fixture *f)
{
	enum sgate_status status;
	struct sgate_session *s;
	unsigned done = 0;
	unsigned i;

	for (i = 1; i <= 600; i++) {
		s = make_session(1, i);
		f->a->deadline_ms = clock_monotonic_ms() + i % 2;
		/* Somewhere within a millisecond. */
		if (i % 2 == 1)
			usleep(i * 7 % 900);
		status = f->ops->begin(f->a, &f->err);
		if (status == SGATE_OK)
			status = f->ops->session_insert(f->a, s, &f->err);
		if (status == SGATE_OK)
			status = f->ops->commit(f->a, &f->err);
		f->ops->rollback(f->a);
		allow_ms(f, 30000);
		if (status != SGATE_OK)
			assert_status(f, SGATE_UNAVAILABLE, status);
		assert_int_equal(
		    has_session(f, f->b, &s->ref), status == SGATE_OK);
		done += status == SGATE_OK;
		sgate_session_free(s);
	}
	assert_true(done > 0 && done < 600);
}

/* ---- the caller's own statements ---- */

static enum sgate_status
exec_plain(struct fixture *f, const char *sql)
{
	return f->ops->exec(f->a, sql, NULL, 0, NULL, NULL, &f->err);
}

static void
exec_takes_one_statement_and_its_parameters(struct fixture *f)
{
	const struct sgate_value one = {
	    .kind = SGATE_VALUE_INTEGER, .integer = 1};

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, exec_plain(f, "CREATE TABLE own (a, b UNIQUE)"));
	assert_ok(f, exec_plain(f, "SELECT 1; -- and no more\n /* x */ ; "));
	assert_status(f, SGATE_INVALID, exec_plain(f, "SELECT 1; SELECT 2"));
	assert_text(f, "more than one");
	assert_status(f, SGATE_INVALID, exec_plain(f, "SELECT 1; COMMIT"));
	assert_status(f, SGATE_INVALID, exec_plain(f, "SELECT 1; nonsense"));
	assert_status(f, SGATE_INVALID, exec_plain(f, " -- nothing"));
	assert_status(f, SGATE_INVALID, exec_plain(f, ""));
	assert_status(f, SGATE_INVALID, exec_plain(f, "SELEC 1"));
	assert_status(f, SGATE_INVALID, exec_plain(f, "SELECT * FROM gone"));
	assert_status(f, SGATE_INVALID, exec_plain(f, "SELECT ?"));
	assert_text(f, "parameters");
	assert_status(f, SGATE_INVALID,
	    f->ops->exec(f->a, "SELECT 1", &one, 1, NULL, NULL, &f->err));
	assert_ok(f, f->ops->exec(f->a, "INSERT INTO own VALUES (?1, ?1)", &one,
			 1, NULL, NULL, &f->err));
	assert_status(f, SGATE_CONFLICT,
	    f->ops->exec(f->a, "INSERT INTO own VALUES (?1, ?1)", &one, 1, NULL,
		NULL, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
}

static void
exec_refuses_what_would_leave_the_transaction_or_touch_our_tables(
    struct fixture *f)
{
	static const char *const refused[] = {"BEGIN", "COMMIT", "END",
	    "ROLLBACK", "SAVEPOINT a", "RELEASE a", "ROLLBACK TO a",
	    "ATTACH '/tmp/other.db' AS o", "DETACH main",
	    "PRAGMA journal_mode=DELETE", "PRAGMA synchronous=OFF",
	    "DELETE FROM session", "UPDATE audit SET detail = ''",
	    "INSERT INTO audit DEFAULT VALUES", "REPLACE INTO meta VALUES (1)",
	    "DROP TABLE Session", "ALTER TABLE main.session RENAME TO s",
	    "UPDATE store SET epoch = 5", "CREATE INDEX i ON session (version)",
	    "DROP INDEX reap",
	    "CREATE TRIGGER t AFTER INSERT ON session BEGIN SELECT 1; END",
	    "WITH x AS (SELECT 1) DELETE FROM lease"};
	const struct sgate_ref ref = make_ref(1, 1);
	struct sgate_session *s = make_session(1, 1);
	enum sgate_status status;
	size_t i;

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, s, &f->err));
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		status = exec_plain(f, refused[i]);
		if (status != SGATE_DENIED && status != SGATE_INVALID)
			fprintf(stderr, "not refused: %s\n", refused[i]);
		assert_true(status == SGATE_DENIED || status == SGATE_INVALID);
	}
	assert_status(f, SGATE_DENIED, exec_plain(f, "COMMIT"));
	assert_status(f, SGATE_DENIED, exec_plain(f, "DELETE FROM session"));
	/* Reading ours is allowed; ours go on to be written by us. */
	assert_ok(f, exec_plain(f, "SELECT * FROM session"));
	assert_false(has_session(f, f->b, &ref));
	s->version = 2;
	assert_ok(f, f->ops->session_store(f->a, s, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_true(has_session(f, f->b, &ref));
	sgate_session_free(s);
}

static void
a_statement_that_rolls_back_ends_the_whole_transaction(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 1);
	struct sgate_session *s = make_session(1, 1);

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, exec_plain(f, "CREATE TABLE own (a UNIQUE)"));
	assert_ok(f, exec_plain(f, "INSERT INTO own VALUES (1)"));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_status(f, SGATE_CONFLICT,
	    exec_plain(f, "INSERT OR ROLLBACK INTO own VALUES (1)"));
	/* Nothing may now go on outside of a transaction. */
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->session_insert(f->a, s, &f->err));
	assert_text(f, "rolled back");
	assert_status(f, SGATE_UNAVAILABLE, f->ops->commit(f->a, &f->err));
	assert_false(has_session(f, f->b, &ref));
	assert_ok(f, f->ops->begin(f->a, &f->err));
	f->ops->rollback(f->a);
	sgate_session_free(s);
}

static int
stop_at_once(void *arg, const struct sgate_value *columns, size_t count)
{
	assert_int_equal(count, 2);
	assert_int_equal(columns[0].kind, SGATE_VALUE_TEXT);
	assert_true(bytes_equal_text(columns[0].bytes, "1.5"));
	assert_int_equal(columns[1].kind, SGATE_VALUE_TEXT);
	assert_int_equal(columns[1].bytes.len, 0);
	++*(int *)arg;
	return 1;
}

static void
exec_gives_rows_until_told_to_stop(struct fixture *f)
{
	int rows = 0;

	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f,
	    f->ops->exec(f->a,
		"SELECT 1.5, '' UNION ALL SELECT 1.5, '' UNION ALL SELECT 1, 2",
		NULL, 0, stop_at_once, &rows, &f->err));
	assert_int_equal(rows, 1);
	assert_ok(f, f->ops->commit(f->a, &f->err));
}

/* ---- what fails below SQLite ---- */

/* Memory and files as they are, but for the call that is to fail. */
static sqlite3_mem_methods real_memory;
static const sqlite3_io_methods *real_methods;
static int (*real_open)(
    sqlite3_vfs *, const char *, sqlite3_file *, int, int *);

enum fault {
	FAULT_MALLOC,
	FAULT_WRITE,
	FAULT_DISK_FULL,
	FAULT_SYNC,
	FAULT_SHARED_MEMORY,
	FAULT_READ
};
static enum fault fault;
static long fault_left = -1; /* calls until one fails; -1: never */

static bool
is_failing(enum fault what)
{
	return fault == what && fault_left >= 0 && fault_left-- == 0;
}

static void *
failing_malloc(int size)
{
	return is_failing(FAULT_MALLOC) ? NULL : real_memory.xMalloc(size);
}

static void *
failing_realloc(void *memory, int size)
{
	return is_failing(FAULT_MALLOC) ? NULL
					: real_memory.xRealloc(memory, size);
}

static int
failing_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
	/* A write that fails may have written a part. */
	if (is_failing(FAULT_WRITE)) {
		real_methods->xWrite(file, data, len / 2, at);
		return SQLITE_IOERR_WRITE;
	}
	if (is_failing(FAULT_DISK_FULL))
		return SQLITE_FULL;
	return real_methods->xWrite(file, data, len, at);
}

static int
failing_read(sqlite3_file *file, void *data, int len, sqlite3_int64 at)
{
	if (is_failing(FAULT_READ))
		return SQLITE_IOERR_READ;
	return real_methods->xRead(file, data, len, at);
}

static int
failing_sync(sqlite3_file *file, int flags)
{
	if (is_failing(FAULT_SYNC))
		return SQLITE_IOERR_FSYNC;
	return real_methods->xSync(file, flags);
}

static int
failing_shm_map(
    sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
	if (is_failing(FAULT_SHARED_MEMORY)) {
		*out = NULL;
		return SQLITE_IOERR_SHMSIZE;
	}
	return real_methods->xShmMap(file, page, size, extend, out);
}

static int
failing_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
    int *out_flags)
{
	/* The -wal file has other methods than the database: no locks. */
	static sqlite3_io_methods methods[2];
	sqlite3_io_methods *failing =
	    &methods[(flags & SQLITE_OPEN_MAIN_DB) != 0];
	int code = real_open(vfs, name, file, flags, out_flags);

	if (file->pMethods == NULL)
		return code;
	*failing = *file->pMethods;
	if ((flags & SQLITE_OPEN_MAIN_DB) != 0)
		real_methods = file->pMethods;
	failing->xWrite = failing_write;
	failing->xRead = failing_read;
	failing->xSync = failing_sync;
	if (failing->xShmMap != NULL)
		failing->xShmMap = failing_shm_map;
	file->pMethods = failing;
	return code;
}

/* Only before SQLite is used: in a child, after a restart. */
static void
install_faults(void)
{
	static sqlite3_vfs vfs;
	sqlite3_mem_methods memory;

	sqlite3_shutdown();
	sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory);
	memory = real_memory;
	memory.xMalloc = failing_malloc;
	memory.xRealloc = failing_realloc;
	sqlite3_config(SQLITE_CONFIG_MALLOC, &memory);
	sqlite3_initialize();
	vfs = *sqlite3_vfs_find(NULL);
	real_open = vfs.xOpen;
	vfs.zName = "failing";
	vfs.xOpen = failing_open;
	sqlite3_vfs_register(&vfs, 1);
}

/* One of everything that a login does; whether it was acknowledged. */
static enum sgate_status
log_in(struct fixture *f, struct durable *d, unsigned number)
{
	const struct durable_audit audit = make_audit(T0, number);
	const struct sgate_bytes user = {"anna", 4};
	struct sgate_session *s = make_session(1, number);
	struct durable_user state;
	enum sgate_status status = f->ops->begin(d, &f->err);

	if (status == SGATE_OK)
		status = f->ops->audit_insert(d, &audit, &f->err);
	if (status == SGATE_OK)
		status =
		    f->ops->user_lock(d, user, user, false, &state, &f->err);
	if (status == SGATE_OK)
		status = f->ops->session_insert(d, s, &f->err);
	if (status == SGATE_OK)
		status = f->ops->commit(d, &f->err);
	f->ops->rollback(d);
	sgate_session_free(s);
	return status;
}

/* Whether what was answered is what is there: row and event, or neither. */
static bool
answer_is_exact(struct fixture *f, struct durable *d, unsigned number,
    enum sgate_status answer)
{
	const struct durable_audit audit = make_audit(T0, number);
	const struct sgate_ref ref = make_ref(1, number);
	bool is_there = has_session(f, d, &ref);
	enum sgate_status event =
	    f->ops->audit_exists(d, audit.event_id, &f->err);

	if (event != (is_there ? SGATE_OK : SGATE_NOT_FOUND))
		return false;
	switch (answer) {
	case SGATE_OK:
		return is_there;
	case SGATE_UNAVAILABLE:
	case SGATE_NO_MEMORY:
		return !is_there;
	case SGATE_UNCERTAIN:
		return fault != FAULT_WRITE && fault != FAULT_DISK_FULL &&
		       fault != FAULT_READ;
	default:
		return false;
	}
}

struct tally {
	unsigned failed;
	unsigned uncertain;
	unsigned rounds;
};

/*
 * Fails the n-th call of a login on a new handle, for n = 0, 1, ... until the
 * login makes fewer calls than that.
 */
static bool
sweep(struct fixture *f, enum fault what, unsigned first, struct tally *out)
{
	struct durable *check = open_handle(f);
	struct durable *d;
	enum sgate_status status;
	bool is_consumed = true;
	unsigned n;

	*out = (struct tally){0};
	fault = what;
	for (n = first; is_consumed; n += 2) {
		d = open_handle(f);
		fault_left = out->rounds++;
		status = log_in(f, d, n);
		is_consumed = fault_left < 0;
		fault_left = -1;
		out->failed += status != SGATE_OK;
		out->uncertain += status == SGATE_UNCERTAIN;
		if (!answer_is_exact(f, check, n, status) ||
		    !answer_is_exact(f, d, n, status)) {
			fprintf(stderr, "fault %d, %u: not exact: %s: %s\n",
			    what, out->rounds, sgate_status_text(status),
			    f->err.text);
			return false;
		}
		/* Nothing is left behind for the next one to trip over. */
		status = log_in(f, d, n + 1);
		if (!answer_is_exact(f, check, n + 1, SGATE_OK)) {
			fprintf(stderr, "fault %d, %u: afterwards: %s: %s\n",
			    what, out->rounds, sgate_status_text(status),
			    f->err.text);
			return false;
		}
		f->ops->close(d);
	}
	f->ops->close(check);
	return true;
}

static int
sweep_all(struct fixture *f)
{
	struct tally tally;

	install_faults();
	if (!sweep(f, FAULT_MALLOC, 1, &tally) || tally.failed < 100)
		return 1;
	if (!sweep(f, FAULT_READ, 10001, &tally) || tally.failed < 3)
		return 2;
	if (!sweep(f, FAULT_WRITE, 20001, &tally) || tally.failed < 3)
		return 3;
	if (!sweep(f, FAULT_DISK_FULL, 30001, &tally) || tally.failed < 3)
		return 4;
	if (!sweep(f, FAULT_SHARED_MEMORY, 40001, &tally) || tally.failed < 1)
		return 5;
	if (!sweep(f, FAULT_SYNC, 50001, &tally) || tally.uncertain < 1)
		return 6;
	return 0;
}

static void
whatever_fails_below_is_answered_exactly(struct fixture *f)
{
	int status;
	pid_t pid = fork_child(f);

	if (pid == 0) {
		alarm(120);
		_exit(sweep_all(f));
	}
	assert_true(waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

const struct contract_case sqlite_cases[] = {
#define CASE(name)                                                             \
	{                                                                      \
#name, name, NEEDS_SQLITE                                      \
	}
    CASE(the_store_s_files_are_for_their_owner_alone),
    CASE(a_path_that_is_not_absolute_is_refused),
    CASE(a_missing_file_is_unavailable_and_not_made_by_looking),
    CASE(a_missing_directory_is_unavailable_and_says_so),
    CASE(a_directory_in_its_place_is_unavailable),
    CASE(a_file_that_is_no_database_is_corrupt_and_left_in_place),
    CASE(an_empty_file_has_no_tables_until_init),
    CASE(another_schema_version_is_refused_both_ways),
    CASE(a_foreign_table_named_store_is_not_taken_over),
    CASE(a_read_only_directory_or_file_is_unavailable_and_says_so),
    CASE(a_file_that_was_replaced_is_noticed_within_two_seconds),
    CASE(a_write_never_goes_to_a_file_that_was_replaced),
    CASE(a_row_that_cannot_be_right_is_corrupt_and_left_in_place),
    CASE(a_damaged_row_does_not_stop_the_reaper),
    CASE(damaged_pages_are_corrupt_and_nobody_s_not_found),
    CASE(a_full_disk_is_unavailable_and_nothing_is_lost),
    CASE(a_long_statement_ends_at_its_deadline),
    CASE(answers_are_exact_wherever_the_deadline_passes),
    CASE(exec_takes_one_statement_and_its_parameters),
    CASE(exec_refuses_what_would_leave_the_transaction_or_touch_our_tables),
    CASE(a_statement_that_rolls_back_ends_the_whole_transaction),
    CASE(exec_gives_rows_until_told_to_stop),
    CASE(whatever_fails_below_is_answered_exactly),
#undef CASE
    {NULL, NULL, 0},
};
