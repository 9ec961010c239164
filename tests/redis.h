/*
 * A private Redis for a test: in a directory of its own, on a unix socket
 * alone, ended by its process id. Nothing of the machine's own server is
 * touched. It keeps nothing on disk but what SAVE is told to. Needs the package
 * redis-server.
 */
#ifndef TESTS_REDIS_H
#define TESTS_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "buf.h"

struct redis {
	char directory[64];
	char socket[96];
	/* More of redis-server's for the next start: "--port", "7001", ...,
	 * NULL; itself NULL: nothing. */
	const char *const *options;
	pid_t pid; /* 0 = not running */
};

/* Why there can be none here; NULL: it can be started. */
const char *redis_missing(void);
/*
 * Starts it; false: what it said is on standard error. It dies with this
 * process.
 */
bool redis_open(struct redis *server);
bool redis_open_with(struct redis *server, const char *const *options);
/* Start it again after redis_kill(), on the dump that it has, if any. */
bool redis_start(struct redis *server);
/* SIGKILL, as a crash. */
void redis_kill(struct redis *server);
/* It does not answer any more, and then goes on where it was. */
void redis_pause(const struct redis *server);
void redis_resume(const struct redis *server);
/* Ends it and removes its directory. */
void redis_close(struct redis *server);

/*
 * One command, its words ended by NULL, on a connection of its own. The reply
 * goes to out, cut to its size: a text as it is, an array as its number of
 * elements, nothing as "". An error, or no answer in ten seconds, ends the
 * program.
 */
void redis_run(const struct redis *server, char *out, size_t size,
    const char *const *words);
/* The same with any bytes, whole; false: nothing is there. */
bool redis_run_bytes(const struct redis *server, struct buf *out,
    const struct sgate_bytes *words, size_t count);
/* The same; false: an error, or no answer. */
bool redis_try_bytes(const struct redis *server, struct buf *out,
    const struct sgate_bytes *words, size_t count);

#endif
