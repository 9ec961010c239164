/* The durable contract over MySQL: the server and a case's database. */
#include "config.h"

#include "durable_server.h"

#include <signal.h>
#include <string.h>

struct mariadb server;

const char *
server_missing(void)
{
	return mariadb_missing();
}

int
server_skip(void)
{
	return mariadb_skip(mariadb_missing());
}

int
server_open(void **state)
{
	(void)state;
	return mariadb_open(&server) ? 0 : -1;
}

int
server_close(void **state)
{
	(void)state;
	mariadb_close(&server);
	return 0;
}

static void
make_database(struct fixture *f)
{
	static unsigned number;
	char sql[160];

	snprintf(f->file, sizeof(f->file), "case_%u", ++number);
	snprintf(sql, sizeof(sql), "CREATE DATABASE %s", f->file);
	mariadb_run(&server, NULL, sql);
	f->conf.mysql.database = f->file;
}

void
use_new_store(struct fixture *f)
{
	server_close_case(f);
	make_database(f);
}

void
server_open_case(struct fixture *f)
{
	static char user[] = "root";

	if (server.pid > 0)
		kill(server.pid, SIGCONT);
	make_database(f);
	f->conf.mysql.socket = server.socket;
	f->conf.mysql.user = user;
	/* Tests are about what happens, not about how long it may take. */
	f->conf.mysql.read_timeout_ms = 20000;
	f->conf.mysql.write_timeout_ms = 20000;
}

void
server_close_case(struct fixture *f)
{
	char sql[160];

	/* A case that failed may have left it stopped. */
	if (server.pid > 0)
		kill(server.pid, SIGCONT);
	snprintf(sql, sizeof(sql), "DROP DATABASE %s", f->file);
	mariadb_run(&server, NULL, sql);
}
