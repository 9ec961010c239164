/* The durable contract over MySQL: one private server for the whole program. */
#ifndef TESTS_DURABLE_SERVER_H
#define TESTS_DURABLE_SERVER_H

#include "durable_cases.h"
#include "mariadb.h"

extern struct mariadb server;

const char *server_missing(void);
int server_skip(void);
/* For cmocka's group. */
int server_open(void **state);
int server_close(void **state);
/* A case has a database of its own; f->file is its name. */
void server_open_case(struct fixture *f);
void server_close_case(struct fixture *f);

#endif
