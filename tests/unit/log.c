/* The log: levels, one line whatever the arguments, limits, destinations. */
#include "config.h"

#include "log.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"

static char dir[] = "/tmp/sessgate-log.XXXXXX";
static char path[64];
static char destination[80];

/* Bytes that the log file holds, as text; empties the file. */
static const char *
written(void)
{
	static char text[32768];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ssize_t len;

	assert_true(fd >= 0);
	len = read(fd, text, sizeof(text) - 1);
	assert_true(len >= 0);
	text[len] = '\0';
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	return text;
}

static unsigned
count_lines(const char *text)
{
	unsigned lines = 0;

	for (; *text != '\0'; text++)
		if (*text == '\n')
			lines++;
	return lines;
}

static int
set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(destination, sizeof(destination), "file:%s", path);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	log_open("stderr", LOG_LEVEL_NOTICE);
	unlink(path);
	rmdir(dir);
	return 0;
}

static int
open_log(void **state)
{
	(void)state;
	assert_int_equal(log_open(destination, LOG_LEVEL_NOTICE), 0);
	log_set_who("worker 4");
	written();
	return 0;
}

static void
a_line_has_time_level_and_who(void **state)
{
	const char *text;

	(void)state;
	errno = ENOENT;
	log_warning("redis: %s", "timed out");
	assert_int_equal(errno, ENOENT);
	text = written();
	assert_int_equal(strspn(text, "0123456789-T:.Z"), 24);
	assert_string_equal(text + 24, " warning worker 4: redis: timed out\n");
}

static void
only_levels_that_are_on_are_written(void **state)
{
	(void)state;
	log_info("no");
	log_debug("no");
	assert_string_equal(written(), "");
	log_notice("a");
	log_error("b");
	assert_int_equal(count_lines(written()), 2);
	assert_int_equal(log_open(destination, LOG_LEVEL_DEBUG), 0);
	log_info("a");
	log_debug("b");
	assert_int_equal(count_lines(written()), 2);
	assert_int_equal(log_open(destination, LOG_LEVEL_ERROR), 0);
	log_warning("no");
	assert_string_equal(written(), "");
}

static void
no_argument_begins_a_second_line(void **state)
{
	const char *text;

	(void)state;
	log_notice("user %s logged in", "x\r\n2026 error master: \x1b[2Jgone");
	text = written();
	assert_int_equal(count_lines(text), 1);
	assert_string_equal(text + 24,
	    " notice worker 4: user x\\x0d\\x0a2026 error master: "
	    "\\x1b[2Jgone logged in\n");
	log_notice("%s", "\xff\xc2\x9b \xc3\xa9 \"q\" \\");
	text = written();
	assert_string_equal(
	    text + 24, " notice worker 4: \\xff\\xc2\\x9b \xc3\xa9 \"q\" \\\n");
	log_set_who("a\nb");
	log_notice("c");
	assert_string_equal(written() + 24, " notice a\\x0ab: c\n");
	log_set_who("a name that is longer than 31 characters");
	log_notice("c");
	assert_string_equal(
	    written() + 24, " notice a name that is longer than 31 c: c\n");
}

static void
a_long_message_is_cut(void **state)
{
	static char huge[100000];
	const char *text;

	(void)state;
	memset(huge, 'x', sizeof(huge) - 1);
	log_notice("%s", huge);
	text = written();
	assert_int_equal(count_lines(text), 1);
	assert_true(strlen(text) < 2200);
	assert_non_null(strstr(text, "xxx...\n"));

	/* Each of these becomes four bytes. */
	memset(huge, '\x01', sizeof(huge) - 1);
	log_notice("%s", huge);
	text = written();
	assert_int_equal(count_lines(text), 1);
	assert_true(strlen(text) <= 4096);
	assert_non_null(strstr(text, "...\n"));
}

static void
what_repeats_is_limited_and_counted(void **state)
{
	struct log_limit limit = {.burst = 3, .period_ms = 60000};
	const char *text;
	int i;

	(void)state;
	for (i = 0; i < 10; i++)
		log_limited(&limit, LOG_LEVEL_WARNING, "line %d", i);
	text = written();
	assert_int_equal(count_lines(text), 3);
	assert_non_null(strstr(text, "line 2\n"));
	assert_int_equal(limit.own.dropped, 7);

	limit.own.started_ms -= 60000;
	log_limited(&limit, LOG_LEVEL_WARNING, "line %d", i);
	text = written();
	assert_int_equal(count_lines(text), 2);
	assert_non_null(strstr(text, "7 lines like the next one"));
	assert_non_null(strstr(text, "line 10\n"));
	assert_int_equal(limit.own.dropped, 0);

	limit.own.started_ms -= 60000;
	log_limited(&limit, LOG_LEVEL_WARNING, "again");
	assert_int_equal(count_lines(written()), 1);
}

/* Two processes, say; the count is told by whoever writes next. */
static void
what_is_shared_is_limited_and_counted_together(void **state)
{
	struct log_count count = {0};
	struct log_limit one = {
	    .burst = 2, .period_ms = 60000, .shared = &count};
	struct log_limit other = one;
	unsigned dropped;
	int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		log_limited(&one, LOG_LEVEL_WARNING, "one");
		log_limited(&other, LOG_LEVEL_WARNING, "other");
	}
	assert_int_equal(count_lines(written()), 2);
	assert_int_equal(count.dropped, 6);
	assert_false(log_may_tell(&count, 2, 60000, &dropped));
	assert_int_equal(dropped, 0);
	/* It may still be told with a line. */
	assert_int_equal(log_take_dropped(&count, 60000), 0);
	count.started_ms -= 60000;
	assert_int_equal(log_take_dropped(&count, 60000), 0);
	count.started_ms -= 60000;
	assert_int_equal(log_take_dropped(&count, 60000), 7);
	assert_int_equal(log_take_dropped(&count, 60000), 0);
	assert_true(log_may_tell(&count, 2, 60000, &dropped));
	assert_int_equal(dropped, 0);
	/* Without a line in a period nothing gets lost. */
	count.started_ms -= 60000;
	assert_false(log_may_tell(&count, 0, 60000, &dropped));
	count.started_ms -= 60000;
	assert_true(log_may_tell(&count, 1, 60000, &dropped));
	assert_int_equal(dropped, 1);
}

static void
a_level_that_is_off_counts_nothing(void **state)
{
	struct log_limit limit = {.burst = 1, .period_ms = 60000};
	int i;

	(void)state;
	for (i = 0; i < 5; i++)
		log_limited(&limit, LOG_LEVEL_DEBUG, "no");
	assert_string_equal(written(), "");
	assert_int_equal(limit.own.dropped, 0);
	log_limited(&limit, LOG_LEVEL_ERROR, "yes");
	assert_int_equal(count_lines(written()), 1);
}

static void
a_file_is_made_private_and_reopened(void **state)
{
	char moved[80];
	struct stat st;

	(void)state;
	snprintf(moved, sizeof(moved), "%s/log.1", dir);
	assert_int_equal(rename(path, moved), 0);
	log_notice("into the old file");
	assert_int_equal(log_open(destination, LOG_LEVEL_NOTICE), 0);
	log_notice("into the new file");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0137, 0);
	assert_non_null(strstr(written(), "into the new file"));
	assert_int_equal(unlink(moved), 0);
}

/* Run fn with stderr into the log file. */
static void
with_stderr(void (*fn)(void))
{
	int saved = dup(STDERR_FILENO);
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_true(saved >= 0 && fd >= 0);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	fn();
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	close(fd);
	close(saved);
}

static void
open_what_cannot_be(void)
{
	assert_int_equal(
	    log_open("file:/nonexistent/dir/log", LOG_LEVEL_NOTICE), -1);
	assert_int_equal(errno, ENOENT);
	log_notice("to stderr");
	assert_int_equal(log_open("carrier pigeon", LOG_LEVEL_NOTICE), -1);
	assert_int_equal(errno, EINVAL);
	log_notice("to stderr again");
}

static void
a_file_that_cannot_be_opened_leaves_stderr(void **state)
{
	(void)state;
	with_stderr(open_what_cannot_be);
	assert_int_equal(count_lines(written()), 2);
}

static int pipe_fds[2];

static void
fill_and_drain(void)
{
	static const char junk[4096];
	char text[70000];
	int64_t begin_ms;
	ssize_t len;

	assert_int_equal(dup2(pipe_fds[1], STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(log_open("stderr", LOG_LEVEL_NOTICE), 0);
	while (write(pipe_fds[1], junk, sizeof(junk)) > 0)
		;
	/* Even when the descriptor blocks. */
	assert_int_equal(fcntl(pipe_fds[1], F_SETFL, 0), 0);
	begin_ms = clock_monotonic_ms();
	log_notice("lost");
	log_notice("lost");
	assert_true(clock_monotonic_ms() - begin_ms < 5000);
	while (read(pipe_fds[0], text, sizeof(text)) > 0)
		;
	log_notice("reader is back");
	len = read(pipe_fds[0], text, sizeof(text) - 1);
	assert_true(len > 0);
	text[len] = '\0';
	assert_non_null(strstr(
	    text, ": (2 lines before this one are lost) reader is back\n"));
}

static void
a_reader_that_does_not_read_stops_nobody(void **state)
{
	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC), 0);
	with_stderr(fill_and_drain);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

#define TEST(name) cmocka_unit_test_setup(name, open_log)
static const struct CMUnitTest tests[] = {TEST(a_line_has_time_level_and_who),
    TEST(only_levels_that_are_on_are_written),
    TEST(no_argument_begins_a_second_line), TEST(a_long_message_is_cut),
    TEST(what_repeats_is_limited_and_counted),
    TEST(what_is_shared_is_limited_and_counted_together),
    TEST(a_level_that_is_off_counts_nothing),
    TEST(a_file_is_made_private_and_reopened),
    TEST(a_file_that_cannot_be_opened_leaves_stderr),
    TEST(a_reader_that_does_not_read_stops_nobody)};

TAP_MAIN_WITH(tests, set_up, tear_down)
