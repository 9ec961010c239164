/* The cache contract over Redis: one private server for the whole program. */
#ifndef TESTS_CACHE_SERVER_H
#define TESTS_CACHE_SERVER_H

#include "cache_cases.h"
#include "redis.h"

extern struct redis server;

const char *server_missing(void);
int server_skip(void);
/* For cmocka's group. */
int server_open(void **state);
int server_close(void **state);
/* A case has all of it, empty. */
void server_open_case(struct fixture *f);
void server_close_case(struct fixture *f);

/*
 * A command of words without blanks, with blanks between them: "CONFIG SET
 * maxmemory 0". Borrowed till the next one.
 */
const char *server_run(const char *command);

#endif
