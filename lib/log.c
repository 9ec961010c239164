/*
 * Writing the log: one line, one write(), so that lines of several processes
 * do not mix.
 *
 * What came from outside stands in messages (user names, paths, a store's
 * words), so the whole formatted line is escaped here, once: no argument can
 * begin a second line or speak to a terminal.
 *
 * A reader of the pipe behind stderr that does not read must not stop a worker:
 * a line that cannot be written within LOG_WAIT_MS is dropped and counted.
 * Syslog has no such limit: its call waits for the log daemon.
 */
#include "config.h"

#include "log.h"

#include "buf.h"
#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* A pipe takes up to PIPE_BUF (4,096) bytes whole once poll() says it can. */
#define LOG_LINE_MAX 4096
#define LOG_MESSAGE_MAX 2048
#define LOG_WAIT_MS 20

static struct {
	int fd; /* -1 = syslog */
	enum log_level level;
	char who[32];
	unsigned lost;
} log_state = {STDERR_FILENO, LOG_LEVEL_NOTICE, "sessgate", 0};

static const char *const level_names[] = {
    "error", "warning", "notice", "info", "debug"};

static void
use_fd(int fd)
{
	if (log_state.fd > STDERR_FILENO)
		close(log_state.fd);
	log_state.fd = fd;
}

int
log_open(const char *destination, enum log_level level)
{
	int fd;

	log_state.level = level;
	if (strcmp(destination, "syslog") == 0) {
		openlog("sessgate", LOG_PID, LOG_DAEMON);
		use_fd(-1);
		return 0;
	}
	if (strcmp(destination, "stderr") == 0) {
		use_fd(STDERR_FILENO);
		return 0;
	}
	if (strncmp(destination, "file:/", 6) != 0) {
		use_fd(STDERR_FILENO);
		errno = EINVAL;
		return -1;
	}
	fd = open(destination + 5,
	    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
	    0640);
	if (fd < 0) {
		int saved = errno;

		use_fd(STDERR_FILENO);
		errno = saved;
		return -1;
	}
	use_fd(fd);
	return 0;
}

void
log_set_who(const char *who)
{
	snprintf(log_state.who, sizeof(log_state.who), "%s", who);
}

static int
syslog_priority(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return LOG_ERR;
	case LOG_LEVEL_WARNING:
		return LOG_WARNING;
	case LOG_LEVEL_NOTICE:
		return LOG_NOTICE;
	case LOG_LEVEL_INFO:
		return LOG_INFO;
	case LOG_LEVEL_DEBUG:
		return LOG_DEBUG;
	}
	return LOG_ERR;
}

static bool
write_line(const char *line, size_t len)
{
	struct pollfd ready = {log_state.fd, POLLOUT, 0};
	ssize_t written;

	if (poll(&ready, 1, LOG_WAIT_MS) != 1)
		return false;
	do
		written = write(log_state.fd, line, len);
	while (written < 0 && errno == EINTR);
	return written == (ssize_t)len;
}

static void
emit(enum log_level level, struct sgate_bytes message)
{
	char now[25];
	struct buf line = {0};

	if (log_state.fd >= 0) {
		clock_text(clock_utc_ms(), now);
		buf_printf(&line, "%s %s ", now, level_names[level]);
	}
	buf_add_line(&line, bytes_of(log_state.who));
	buf_add_text(&line, ": ");
	if (log_state.lost > 0)
		buf_printf(&line, "(%u lines before this one are lost) ",
		    log_state.lost);
	buf_add_line(&line, message);
	if (line.len > LOG_LINE_MAX - 4) {
		line.len = LOG_LINE_MAX - 4;
		buf_add_text(&line, "...");
	}
	if (log_state.fd >= 0)
		buf_add_char(&line, '\n');
	if (buf_failed(&line))
		log_state.lost++;
	else if (log_state.fd < 0)
		syslog(syslog_priority(level), "%s", buf_text(&line));
	else if (!write_line(line.data, line.len))
		log_state.lost++;
	else
		log_state.lost = 0;
	buf_clear(&line);
}

static void log_vwrite(enum log_level level, const char *format, va_list args)
    SGATE_PRINTF(2, 0);

static void
log_vwrite(enum log_level level, const char *format, va_list args)
{
	char message[LOG_MESSAGE_MAX];
	int len;
	int saved = errno;

	len = vsnprintf(message, sizeof(message), format, args);
	if (len < 0)
		snprintf(message, sizeof(message), "a line without format");
	if (len >= (int)sizeof(message))
		memcpy(message + sizeof(message) - 4, "...", 4);
	emit(level, bytes_of(message));
	errno = saved;
}

static bool
is_on(enum log_level level)
{
	return level <= log_state.level;
}

void
log_write(enum log_level level, const char *format, ...)
{
	va_list args;

	if (!is_on(level))
		return;
	va_start(args, format);
	log_vwrite(level, format, args);
	va_end(args);
}

/* A process that is killed in between has begun the period, and lost a count.
 */
bool
log_may_tell(struct log_count *count, unsigned burst, int64_t period_ms,
    unsigned *out_dropped)
{
	int64_t now_ms = clock_monotonic_ms();
	int64_t started_ms = atomic_load(&count->started_ms);

	*out_dropped = 0;
	if ((started_ms == 0 || now_ms - started_ms >= period_ms) &&
	    atomic_compare_exchange_strong(
		&count->started_ms, &started_ms, now_ms)) {
		atomic_store(&count->written, 0);
		*out_dropped = atomic_exchange(&count->dropped, 0);
	}
	if (atomic_load(&count->written) < burst &&
	    atomic_fetch_add(&count->written, 1) < burst)
		return true;
	atomic_fetch_add(&count->dropped, *out_dropped + 1);
	*out_dropped = 0;
	return false;
}

unsigned
log_take_dropped(struct log_count *count, int64_t period_ms)
{
	int64_t started_ms = atomic_load(&count->started_ms);

	if (clock_monotonic_ms() - started_ms < 2 * period_ms)
		return 0;
	return atomic_exchange(&count->dropped, 0);
}

void
log_limited(
    struct log_limit *limit, enum log_level level, const char *format, ...)
{
	unsigned dropped;
	va_list args;

	if (!is_on(level) ||
	    !log_may_tell(limit->shared != NULL ? limit->shared : &limit->own,
		limit->burst, limit->period_ms, &dropped))
		return;
	if (dropped > 0)
		log_write(
		    level, "%u lines like the next one were left out", dropped);
	va_start(args, format);
	log_vwrite(level, format, args);
	va_end(args);
}
