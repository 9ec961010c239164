/*
 * A private MariaDB for a test program: in a directory of its own, on a unix
 * socket alone, ended by its process id. Nothing of the machine's own server is
 * touched. Needs the package mariadb-server.
 */
#ifndef TESTS_MARIADB_H
#define TESTS_MARIADB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct mariadb {
	char directory[64];
	char socket[96];
	pid_t pid; /* 0 = not running */
};

/* Why there can be none here; NULL: it can be started. */
const char *mariadb_missing(void);
/*
 * Makes its tables and starts it; false: what it said is on standard error. It
 * dies with this process.
 */
bool mariadb_open(struct mariadb *server);
/* Start it again after mariadb_kill(). */
bool mariadb_start(struct mariadb *server);
/* SIGKILL, as a crash. What was committed is kept. */
void mariadb_kill(struct mariadb *server);
/* Ends it and removes its directory. */
void mariadb_close(struct mariadb *server);

/*
 * Statements as its administrator, one call each, on a connection of their
 * own; a failure ends the program. database NULL: none.
 */
void mariadb_run(
    const struct mariadb *server, const char *database, const char *sql);
/* The first column of the first row as a number; INT64_MIN: none. */
int64_t mariadb_number(
    const struct mariadb *server, const char *database, const char *sql);

/*
 * For a program that can do nothing without it: prints a plan that automake
 * counts as SKIP, or with SKIPS_AS_FAILS=1 as FAIL; returns the exit status.
 */
int mariadb_skip(const char *why);

#endif
