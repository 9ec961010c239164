/*
 * The floor of creations: what one bare transaction costs on the same server.
 * N connections insert one row each in a transaction of its own, with prepared
 * statements and nothing else, until the time is up; prints how many a second.
 *
 *   transaction SOCKET USER DATABASE CONNECTIONS SECONDS
 *
 * The row is as long as a new session's with its audit row.
 */
#include <mysql.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROW_BYTES 500

static double
now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
fail(MYSQL *conn, const char *what)
{
	fprintf(stderr, "transaction: %s: %s\n", what, mysql_error(conn));
	exit(1);
}

static MYSQL *
open_connection(char **argv)
{
	MYSQL *conn = mysql_init(NULL);

	if (conn == NULL || mysql_real_connect(conn, NULL, argv[2], NULL,
				argv[3], 0, argv[1], 0) == NULL)
		fail(conn, "connect");
	if (mysql_autocommit(conn, 0) != 0)
		fail(conn, "autocommit");
	return conn;
}

static unsigned long
insert_until(MYSQL *conn, double end_s)
{
	static const char sql[] = "INSERT INTO bare (body) VALUES (?)";
	unsigned long len = ROW_BYTES, count = 0;
	char body[ROW_BYTES];
	MYSQL_STMT *stmt = mysql_stmt_init(conn);
	MYSQL_BIND bind;

	memset(body, 'x', sizeof(body));
	memset(&bind, 0, sizeof(bind));
	bind.buffer_type = MYSQL_TYPE_BLOB;
	bind.buffer = body;
	bind.buffer_length = sizeof(body);
	bind.length = &len;
	if (stmt == NULL ||
	    mysql_stmt_prepare(stmt, sql, sizeof(sql) - 1) != 0 ||
	    mysql_stmt_bind_param(stmt, &bind) != 0)
		fail(conn, "prepare");
	for (; now_s() < end_s; count++)
		if (mysql_stmt_execute(stmt) != 0 || mysql_commit(conn) != 0)
			fail(conn, "insert");
	mysql_stmt_close(stmt);
	mysql_close(conn);
	return count;
}

static void
make_table(char **argv)
{
	static const char sql[] =
	    "CREATE TABLE IF NOT EXISTS bare (id BIGINT AUTO_INCREMENT "
	    "PRIMARY KEY, body VARBINARY(1000) NOT NULL) ENGINE=InnoDB";
	MYSQL *conn = open_connection(argv);

	if (mysql_query(conn, sql) != 0)
		fail(conn, "create table");
	mysql_close(conn);
}

int
main(int argc, char **argv)
{
	unsigned long *counts, total = 0;
	int i, status, connections, seconds;
	double begin_s;

	if (argc != 6 || (connections = atoi(argv[4])) < 1 ||
	    connections > 256 || (seconds = atoi(argv[5])) < 1) {
		fprintf(stderr, "usage: transaction SOCKET USER DATABASE "
				"CONNECTIONS SECONDS\n");
		return 2;
	}
	make_table(argv);
	counts = mmap(NULL, sizeof(*counts) * (size_t)connections,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	begin_s = now_s();
	for (i = 0; i < connections; i++) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			counts[i] = insert_until(
			    open_connection(argv), begin_s + seconds);
			_exit(0);
		}
	}
	for (i = 0; i < connections; i++) {
		if (wait(&status) < 0 || status != 0)
			return 1;
	}
	for (i = 0; i < connections; i++)
		total += counts[i];
	printf("%.1f\n", (double)total / (now_s() - begin_s));
	return 0;
}
