/*
 * What libconfig 1.5 accepts in silence, or dies of, is refused before it sees
 * the file. All of these were tried:
 *
 * - 4294967304 is read as 8: a number that does not fit is cut off.
 * - A comment that is never closed hides the rest of the file, rules and all;
 *   an @include without its closing quote likewise.
 * - A directory (as the file, or in an @include) ends the whole process: the
 *   scanner calls exit(). A FIFO hangs it.
 * - A file that ends in a comment without a newline is a syntax error.
 *
 * Words, strings and comments are told apart as its scanner does; everything
 * else is left to its parser. Included files are read here once more, only to
 * be looked at.
 */
#include "config.h"

#include "conf_option.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((off_t)1024 * 1024)
#define INCLUDE_DEPTH_MAX 10 /* as libconfig */
#define INCLUDES_MAX 100     /* together: ten levels of ten would be 10^10 */

struct scan {
	const char *path, *dir;
	struct sgate_bytes text;
	size_t pos;
	unsigned line;
	unsigned depth;
	unsigned *includes; /* how many so far, of all files */
	bool is_line_start; /* only blanks before this on the line */
	struct sgate_error *err;
};

static enum sgate_status scan_text(struct scan *scan);
static enum sgate_status read_file(
    const char *path, struct buf *out, struct sgate_error *err);

static enum sgate_status
refuse(const struct scan *scan, unsigned line, const char *what)
{
	char number[24];
	struct buf origin = {0};

	snprintf(number, sizeof(number), ":%u", line);
	buf_add_text(&origin, scan->path);
	buf_add_text(&origin, number);
	conf_refuse(scan->err, buf_text(&origin), NULL, "%s", what);
	buf_clear(&origin);
	return SGATE_INVALID;
}

static bool
at_end(const struct scan *scan)
{
	return scan->pos >= scan->text.len;
}

/* NUL past the end: the text itself holds none. */
static char
peek(const struct scan *scan, size_t ahead)
{
	return scan->text.len - scan->pos > ahead
		   ? scan->text.data[scan->pos + ahead]
		   : '\0';
}

static void
step(struct scan *scan)
{
	char c = peek(scan, 0);

	if (c == '\n') {
		scan->line++;
		scan->is_line_start = true;
	} else if (c != ' ' && c != '\t') {
		scan->is_line_start = false;
	}
	scan->pos++;
}

static enum sgate_status
scan_comment(struct scan *scan)
{
	unsigned line = scan->line;

	step(scan);
	step(scan);
	while (!at_end(scan)) {
		if (peek(scan, 0) == '*' && peek(scan, 1) == '/') {
			step(scan);
			step(scan);
			return SGATE_OK;
		}
		step(scan);
	}
	return refuse(scan, line,
	    "this comment is never closed, and hides the rest; close it "
	    "with */");
}

static enum sgate_status
scan_line_comment(struct scan *scan)
{
	while (!at_end(scan) && peek(scan, 0) != '\n')
		step(scan);
	if (at_end(scan) && scan->depth > 0)
		return refuse(scan, scan->line,
		    "an included file may not end in a comment without a "
		    "newline; add one");
	return SGATE_OK;
}

static enum sgate_status
scan_string(struct scan *scan)
{
	unsigned line = scan->line;

	step(scan);
	while (!at_end(scan)) {
		char c = peek(scan, 0);

		if (c == '\\' &&
		    (peek(scan, 1) == '"' || peek(scan, 1) == '\\'))
			step(scan);
		step(scan);
		if (c == '"')
			return SGATE_OK;
	}
	return refuse(
	    scan, line, "this string is never closed; close it with \"");
}

static bool
is_digit(char c, unsigned base)
{
	return (c >= '0' && c <= '9') ||
	       (base == 16 &&
		   ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
}

static enum sgate_status
scan_number(struct scan *scan)
{
	unsigned line = scan->line;
	unsigned base = 10;
	int64_t value = 0;

	if (peek(scan, 0) == '0' &&
	    (peek(scan, 1) == 'x' || peek(scan, 1) == 'X')) {
		base = 16;
		step(scan);
		step(scan);
	}
	for (; is_digit(peek(scan, 0), base); step(scan)) {
		char c = peek(scan, 0);
		int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;

		value = value * base + digit;
		if (value > INT_MAX)
			return refuse(scan, line,
			    "this number is too large; the largest is "
			    "2147483647");
	}
	return SGATE_OK;
}

static bool
is_name(char c, bool is_first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '*' ||
	       (!is_first && ((c >= '0' && c <= '9') || c == '-' || c == '_'));
}

/* At an @include of the form that libconfig knows? */
static bool
is_include(const struct scan *scan)
{
	size_t i = strlen("@include");

	if (!scan->is_line_start || scan->text.len - scan->pos < i ||
	    memcmp(scan->text.data + scan->pos, "@include", i) != 0)
		return false;
	if (peek(scan, i) != ' ' && peek(scan, i) != '\t')
		return false;
	while (peek(scan, i) == ' ' || peek(scan, i) == '\t')
		i++;
	return peek(scan, i) == '"';
}

static enum sgate_status
scan_included(struct scan *scan, const char *path)
{
	struct buf text = {0};
	struct scan inner = {.path = path,
	    .dir = scan->dir,
	    .depth = scan->depth + 1,
	    .includes = scan->includes,
	    .err = scan->err};
	enum sgate_status status;

	if (inner.depth > INCLUDE_DEPTH_MAX || ++*scan->includes > INCLUDES_MAX)
		return refuse(scan, scan->line,
		    "@include: the files include each other, or are too many; "
		    "at most 10 levels, 100 in all");
	status = read_file(path, &text, scan->err);
	if (status == SGATE_INVALID)
		status = refuse(scan, scan->line,
		    "@include: this file cannot be read; it must be a plain "
		    "file below the main file's directory");
	if (status == SGATE_OK) {
		inner.text = buf_bytes(&text);
		status = scan_text(&inner);
	}
	buf_clear(&text);
	return status;
}

static enum sgate_status
scan_include(struct scan *scan)
{
	struct buf path = {0};
	enum sgate_status status;
	size_t start;

	while (peek(scan, 0) != '"')
		step(scan);
	step(scan);
	start = scan->pos;
	while (!at_end(scan) && strchr("\"\\\n", peek(scan, 0)) == NULL)
		step(scan);
	if (peek(scan, 0) != '"' || scan->pos == start ||
	    scan->text.data[start] == '/')
		return refuse(scan, scan->line,
		    "@include: write the path in quotes on this line, "
		    "relative to the main file's directory");
	buf_add_text(&path, scan->dir);
	buf_add_char(&path, '/');
	buf_add(&path, scan->text.data + start, scan->pos - start);
	step(scan);
	if (buf_failed(&path))
		status = error_memory(scan->err, "load");
	else
		status = scan_included(scan, buf_text(&path));
	buf_clear(&path);
	return status;
}

static enum sgate_status
scan_one(struct scan *scan)
{
	char c = peek(scan, 0);

	if (c == '/' && peek(scan, 1) == '*')
		return scan_comment(scan);
	if (c == '"')
		return scan_string(scan);
	if (c >= '0' && c <= '9')
		return scan_number(scan);
	if (c == '@' && is_include(scan))
		return scan_include(scan);
	if (c == '#' || (c == '/' && peek(scan, 1) == '/'))
		return scan_line_comment(scan);
	step(scan);
	if (is_name(c, true))
		while (is_name(peek(scan, 0), false))
			step(scan);
	return SGATE_OK;
}

static enum sgate_status
scan_text(struct scan *scan)
{
	enum sgate_status status = SGATE_OK;

	scan->line = 1;
	scan->is_line_start = true;
	if (scan->text.len > 0 &&
	    memchr(scan->text.data, '\0', scan->text.len) != NULL)
		return refuse(
		    scan, 1, "the file holds a NUL byte; it must be text");
	while (status == SGATE_OK && !at_end(scan))
		status = scan_one(scan);
	return status;
}

static enum sgate_status
cannot_read(struct sgate_error *err, const char *path, int error)
{
	if (error == ENOENT)
		return error_set(err, SGATE_INVALID, "conf", "load", error,
		    "%.100s: there is no such file; make one with "
		    "`sessgatectl config template`, or name another with -c",
		    path);
	return error_set(err, SGATE_INVALID, "conf", "load", error,
	    "%.100s: cannot be read: %s; it must be a file that this user may "
	    "read",
	    path, strerror(error));
}

/* Appends the file to *out. Bounded: 1 MiB, and never a device or FIFO. */
static enum sgate_status
read_file(const char *path, struct buf *out, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	char chunk[4096];
	struct stat st;
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return cannot_read(err, path, errno);
	if (fstat(fd, &st) != 0)
		status = cannot_read(err, path, errno);
	else if (!S_ISREG(st.st_mode))
		status = error_set(err, SGATE_INVALID, "conf", "load", 0,
		    "%.100s: is not a plain file; name a file", path);
	while (status == SGATE_OK) {
		len = read(fd, chunk, sizeof(chunk));
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			status = cannot_read(err, path, errno);
		if (len <= 0)
			break;
		buf_add(out, chunk, (size_t)len);
		if (out->len > (size_t)FILE_MAX)
			status = error_set(err, SGATE_INVALID, "conf", "load",
			    0, "%.100s: is larger than 1 MiB; split it", path);
	}
	close(fd);
	if (status == SGATE_OK && buf_failed(out))
		status = error_memory(err, "load");
	return status;
}

enum sgate_status
conf_scan(const char *path, const char *dir, struct buf *out_text,
    struct sgate_error *err)
{
	unsigned includes = 0;
	struct scan scan = {
	    .path = path, .dir = dir, .includes = &includes, .err = err};
	enum sgate_status status = read_file(path, out_text, err);

	if (status != SGATE_OK)
		return status;
	buf_add_char(out_text, '\n');
	if (buf_failed(out_text))
		return error_memory(err, "load");
	scan.text = buf_bytes(out_text);
	return scan_text(&scan);
}
