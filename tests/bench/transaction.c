/*
 * What a durable login costs when each is a transaction of its own: a FastCGI
 * program as one would write it, with libfcgi's own accept loop, one connection
 * to each store a process, prepared statements, and nothing else: no checks, no
 * keys, no counters.
 *
 *   transaction SOCKET PROCESSES MYSQL_SOCKET DATABASE REDIS_SOCKET bare|whole
 *
 * For each request: a row into session and one into audit (the tables of
 * conf/schema/mysql.sql, so the same indexes), COMMIT, and a SET in Redis.
 * `whole` is the transaction of a creation of sessgate's: the user's lock and
 * whether he is blocked, and the number of the group with the store's id and
 * epoch, which its copy in Redis needs, are read in it, too.
 */
#include <endian.h>
#include <fcgiapp.h>
#include <hiredis/hiredis.h>
#include <mysql.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REF_LEN 12
#define EVENT_LEN 16
#define USER_LEN 16
#define RECORD_LEN 195 /* a sealed record of sessgate's, about */
#define LIFE_S "28860"

#define INSERT_SESSION                                                         \
	"INSERT INTO session (ref, grp, version, realm, user_id, "             \
	"secret_hash, context_id, contexts, roles, state, end_reason, "        \
	"created_ms, auth_ms, last_seen_ms, idle_ms, absolute_ms, client_ip, " \
	"user_agent, format, exports, data) "                                  \
	"VALUES (?, 0, 1, '', ?, REPEAT('h', 32), "                            \
	"'', '', '', 1, 0, ?, ?, ?, 1800000, ?, '', '', 1, '', '{}')"
#define INSERT_AUDIT                                                           \
	"INSERT INTO audit (event_id, at_ms, host, actor, kind, reason, ref, " \
	"realm, user_id, client_ip, detail) VALUES (?, ?, 'bench', 'login', "  \
	"'create', 0, ?, '', ?, '', '')"

/* One row, of two columns. */
#define SELECT_LOCK                                                            \
	"SELECT l.id, COALESCE(u.blocked_ms, 0) FROM user_lock l "             \
	"LEFT JOIN user_state u ON u.realm = '' AND u.user_id = ? "            \
	"WHERE l.id = ? LOCK IN SHARE MODE"
#define SELECT_COUNTER                                                         \
	"SELECT seq, CONCAT(store_id, epoch) FROM meta, store "                \
	"WHERE id = 1 AND grp = ?"

static char ref[REF_LEN], event[EVENT_LEN], user[USER_LEN + 1];
static long long now_ms, end_ms, place, group;
static MYSQL_STMT *session, *audit, *lock, *counter;

static void
bind_bytes(MYSQL_BIND *bind, void *bytes, unsigned long len)
{
	memset(bind, 0, sizeof(*bind));
	bind->buffer_type = MYSQL_TYPE_STRING;
	bind->buffer = bytes;
	bind->buffer_length = len;
	bind->length_value = len;
	bind->length = &bind->length_value;
}

static void
bind_number(MYSQL_BIND *bind, long long *number)
{
	memset(bind, 0, sizeof(*bind));
	bind->buffer_type = MYSQL_TYPE_LONGLONG;
	bind->buffer = number;
}

static MYSQL_STMT *
prepare(MYSQL *conn, const char *sql, MYSQL_BIND *binds)
{
	MYSQL_STMT *stmt = mysql_stmt_init(conn);

	if (stmt == NULL ||
	    mysql_stmt_prepare(stmt, sql, (unsigned long)strlen(sql)) != 0 ||
	    mysql_stmt_bind_param(stmt, binds) != 0) {
		fprintf(stderr, "transaction: %s\n", mysql_error(conn));
		exit(1);
	}
	return stmt;
}

/* The user of {"user_id":"..."}; the bodies are the benchmark's own. */
static bool
read_user(FCGX_Stream *in)
{
	char body[256];
	int len = FCGX_GetStr(body, sizeof(body) - 1, in);
	const char *at;

	body[len < 0 ? 0 : len] = '\0';
	at = strstr(body, "\"user_id\":\"");
	if (at == NULL)
		return false;
	snprintf(user, sizeof(user), "%.*s", USER_LEN, at + 11);
	return strlen(user) == USER_LEN;
}

static void
make_ids(void)
{
	static uint32_t count;
	struct timespec now;
	uint64_t ms;
	int i;

	clock_gettime(CLOCK_REALTIME, &now);
	now_ms = (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	end_ms = now_ms + 8LL * 3600 * 1000;
	if (getrandom(ref, sizeof(ref), 0) != (ssize_t)sizeof(ref))
		exit(1);
	group = ref[0] & 15;
	for (place = 0, i = 0; i < USER_LEN; i++)
		place = (place * 31 + user[i]) % 4096;
	ms = htobe64((uint64_t)now_ms << 16);
	memcpy(event, &ms, 6);
	snprintf(event + 6, sizeof(event) - 6, "%04x%05x",
	    (unsigned)getpid() & 0xffff, count++ & 0xfffff);
}

static bool
has_row(MYSQL_STMT *stmt)
{
	static char text[64];
	static long long number;
	unsigned long len;
	MYSQL_BIND columns[2];
	bool is_there;

	bind_number(&columns[0], &number);
	bind_bytes(&columns[1], text, sizeof(text));
	columns[1].length = &len;
	is_there = mysql_stmt_bind_result(stmt, columns) == 0 &&
		   mysql_stmt_execute(stmt) == 0 &&
		   mysql_stmt_store_result(stmt) == 0 &&
		   mysql_stmt_fetch(stmt) == 0;
	mysql_stmt_free_result(stmt);
	return is_there;
}

/* In the order of locks that sessgate has. */
static bool
make_rows(bool is_whole)
{
	if (!is_whole)
		return mysql_stmt_execute(session) == 0 &&
		       mysql_stmt_execute(audit) == 0;
	return mysql_stmt_execute(audit) == 0 && has_row(lock) &&
	       mysql_stmt_execute(session) == 0 && has_row(counter);
}

static bool
tell_redis(redisContext *redis)
{
	static char value[RECORD_LEN];
	redisReply *reply;
	bool is_ok;

	reply = redisCommand(redis, "SET tx:%b %b EX " LIFE_S, ref, sizeof(ref),
	    value, sizeof(value));
	is_ok = reply != NULL && reply->type == REDIS_REPLY_STATUS;
	freeReplyObject(reply);
	return is_ok;
}

static int
answer_all(int listen_fd, char **argv)
{
	MYSQL *conn = mysql_init(NULL);
	redisContext *redis = redisConnectUnix(argv[5]);
	MYSQL_BIND session_binds[6], audit_binds[4], lock_binds[2];
	MYSQL_BIND counter_binds[1];
	bool is_done, is_whole = strcmp(argv[6], "whole") == 0;
	FCGX_Request request;

	if (conn == NULL || redis == NULL || redis->err != 0 ||
	    mysql_real_connect(
		conn, NULL, "root", NULL, argv[4], 0, argv[3], 0) == NULL ||
	    mysql_autocommit(conn, 0) != 0 || FCGX_Init() != 0 ||
	    FCGX_InitRequest(&request, listen_fd, 0) != 0)
		return 1;
	bind_bytes(&session_binds[0], ref, sizeof(ref));
	bind_bytes(&session_binds[1], user, USER_LEN);
	bind_number(&session_binds[2], &now_ms);
	bind_number(&session_binds[3], &now_ms);
	bind_number(&session_binds[4], &now_ms);
	bind_number(&session_binds[5], &end_ms);
	bind_bytes(&audit_binds[0], event, sizeof(event));
	bind_number(&audit_binds[1], &now_ms);
	bind_bytes(&audit_binds[2], ref, sizeof(ref));
	bind_bytes(&audit_binds[3], user, USER_LEN);
	session = prepare(conn, INSERT_SESSION, session_binds);
	audit = prepare(conn, INSERT_AUDIT, audit_binds);
	if (is_whole) {
		bind_bytes(&lock_binds[0], user, USER_LEN);
		bind_number(&lock_binds[1], &place);
		bind_number(&counter_binds[0], &group);
		lock = prepare(conn, SELECT_LOCK, lock_binds);
		counter = prepare(conn, SELECT_COUNTER, counter_binds);
	}
	while (FCGX_Accept_r(&request) == 0) {
		is_done = read_user(request.in);
		if (is_done) {
			make_ids();
			is_done = make_rows(is_whole) &&
				  mysql_commit(conn) == 0 && tell_redis(redis);
		}
		if (!is_done)
			fprintf(stderr, "transaction: %s\n", mysql_error(conn));
		FCGX_PutS(is_done ? "Status: 201 Created\r\n\r\n"
				  : "Status: 503 Service Unavailable\r\n\r\n",
		    request.out);
		FCGX_Finish_r(&request);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	int fd, i, processes;

	if (argc != 7 || (processes = atoi(argv[2])) < 1 || processes > 256) {
		fprintf(stderr, "usage: transaction SOCKET PROCESSES "
				"MYSQL_SOCKET DATABASE REDIS_SOCKET "
				"bare|whole\n");
		return 2;
	}
	fd = FCGX_OpenSocket(argv[1], 1024);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	for (i = 0; i < processes; i++) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(answer_all(fd, argv));
		}
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
