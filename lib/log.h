/*
 * One line a message: who, what failed, on what, why, what happens next.
 * Programs log; the library does not. Never a token, cookie, payload or
 * password: use the ref.
 *
 * Messages go to the destination set with log_open(): "stderr", "syslog", or
 * "file:/path" (reopened by log_open() after a reload).
 */
#ifndef SESSGATE_LOG_H
#define SESSGATE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sessgate.h"

enum log_level {
	LOG_LEVEL_ERROR,   /* someone must act */
	LOG_LEVEL_WARNING, /* we coped, and say how */
	LOG_LEVEL_NOTICE,  /* start, stop, reload, store changed */
	LOG_LEVEL_INFO,    /* per request */
	LOG_LEVEL_DEBUG
};

/* 0, or -1 with errno when the file cannot be opened (stderr is then used). */
int log_open(const char *destination, enum log_level level);
/* "master", "worker 4", "keeper": stands in front of every line. Copied. */
void log_set_who(const char *who);
void log_write(enum log_level level, const char *format, ...)
    SGATE_PRINTF(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * How many lines there were. Zeros to begin with; it may be in memory that
 * processes share: then they are counted together.
 */
struct log_count {
	_Atomic int64_t started_ms; /* monotonic: the period */
	_Atomic unsigned written, dropped;
};
/*
 * True: one more may be written, of `burst` in each period_ms. *out_dropped:
 * how many may not have been since the last period with one; told once.
 */
bool log_may_tell(struct log_count *count, unsigned burst, int64_t period_ms,
    unsigned *out_dropped);
/* The same, told because nobody has come for a whole period; else 0. */
unsigned log_take_dropped(struct log_count *count, int64_t period_ms);

/*
 * For what can repeat with every request: at most `burst` lines in `period_ms`,
 * then one line says how many were dropped.
 *   static struct log_limit limit = {.burst = 10, .period_ms = 1000};
 */
struct log_limit {
	unsigned burst;
	int64_t period_ms;
	struct log_count *shared; /* NULL: each process by itself */
	struct log_count own;
};
void log_limited(struct log_limit *limit, enum log_level level,
    const char *format, ...) SGATE_PRINTF(3, 4);

#endif
