/* A private MariaDB for a test program. */
#include "config.h"

#include "mariadb.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mysql.h>

#define SERVER "/usr/sbin/mariadbd"
#define INSTALL "/usr/bin/mariadb-install-db"
#define ACCOUNT "mysql"
#define START_MS 30000

const char *
mariadb_missing(void)
{
	if (access(SERVER, X_OK) != 0 || access(INSTALL, X_OK) != 0)
		return "mariadb-server is not installed";
	if (geteuid() == 0 && getpwnam(ACCOUNT) == NULL)
		return "there is no user " ACCOUNT
		       ", and mariadbd does not run as root";
	return NULL;
}

int
mariadb_skip(const char *why)
{
	const char *is_fail = getenv("SKIPS_AS_FAILS");

	if (is_fail != NULL && strcmp(is_fail, "1") == 0) {
		printf("1..1\nnot ok 1 - %s\n", why);
		return 1;
	}
	printf("1..0 # SKIP %s\n", why);
	return 0;
}

/* Becomes the server's user, so that no root is left to become it itself. */
static void
become_user(void)
{
	const struct passwd *user;

	if (geteuid() != 0)
		return;
	user = getpwnam(ACCOUNT);
	if (user == NULL || initgroups(ACCOUNT, user->pw_gid) != 0 ||
	    setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)
		_exit(126);
}

/* In a process of its own that ends with this one; its words go to log. */
static pid_t
spawn(const struct mariadb *server, const char *const *argv)
{
	char log[96];
	pid_t parent = getpid();
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	become_user();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	snprintf(log, sizeof(log), "%s/log", server->directory);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(126);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

static void
show_log(const struct mariadb *server)
{
	char line[512];
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/log", server->directory);
	file = fopen(path, "r");
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL)
		fprintf(stderr, "mariadb: %s", line);
	fclose(file);
}

static MYSQL *
admin(const struct mariadb *server, const char *database)
{
	MYSQL *conn = mysql_init(NULL);

	if (conn == NULL)
		abort();
	if (mysql_real_connect(conn, NULL, "root", "", database, 0,
		server->socket, 0) == NULL) {
		mysql_close(conn);
		return NULL;
	}
	return conn;
}

bool
mariadb_start(struct mariadb *server)
{
	const struct timespec pause = {0, 20000000};
	char data[96];
	char socket[128];
	char pid_file[128];
	char temp[96];
	const char *const argv[] = {SERVER, "--no-defaults", data, socket,
	    pid_file, temp, "--skip-networking", "--skip-log-bin",
	    /* A process may be killed here, but the machine does not stop. */
	    "--innodb-flush-log-at-trx-commit=2",
	    "--innodb-flush-method=nosync", "--sync-frm=0",
	    "--skip-name-resolve", "--innodb-buffer-pool-size=32M",
	    "--key-buffer-size=1M", "--performance-schema=OFF",
	    "--max-connections=100", NULL};
	MYSQL *conn = NULL;
	int waited_ms;

	snprintf(data, sizeof(data), "--datadir=%s/data", server->directory);
	snprintf(socket, sizeof(socket), "--socket=%s", server->socket);
	snprintf(
	    pid_file, sizeof(pid_file), "--pid-file=%s/pid", server->directory);
	snprintf(temp, sizeof(temp), "--tmpdir=%s", server->directory);
	server->pid = spawn(server, argv);
	for (waited_ms = 0; server->pid > 0 && waited_ms < START_MS;
	     waited_ms += 20) {
		conn = admin(server, NULL);
		if (conn != NULL || waitpid(server->pid, NULL, WNOHANG) != 0)
			break;
		nanosleep(&pause, NULL);
	}
	if (conn == NULL) {
		show_log(server);
		return false;
	}
	mysql_close(conn);
	return true;
}

bool
mariadb_open(struct mariadb *server)
{
	char data[96];
	char own_temp[96];
	/* A server removes the temporary tables that it finds in its tmpdir
	 * when it starts, and others' too: each needs one of its own. */
	const char *const argv[] = {INSTALL, "--no-defaults", data, own_temp,
	    "--auth-root-authentication-method=normal", "--skip-test-db",
	    "--skip-name-resolve", NULL};
	const struct passwd *user;
	const char *temp;
	int status = -1;
	pid_t pid;

	memset(server, 0, sizeof(*server));
	/* A socket's path is short. */
	temp = getenv("TMPDIR");
	if (temp == NULL || temp[0] != '/' || strlen(temp) > 32)
		temp = "/tmp";
	snprintf(server->directory, sizeof(server->directory),
	    "%s/sgmariadb-XXXXXX", temp);
	if (mkdtemp(server->directory) == NULL)
		return false;
	user = geteuid() == 0 ? getpwnam(ACCOUNT) : NULL;
	if (user != NULL &&
	    chown(server->directory, user->pw_uid, user->pw_gid) != 0)
		return false;
	snprintf(server->socket, sizeof(server->socket), "%s/socket",
	    server->directory);
	snprintf(data, sizeof(data), "--datadir=%s/data", server->directory);
	snprintf(own_temp, sizeof(own_temp), "--tmpdir=%s", server->directory);
	pid = spawn(server, argv);
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (status != 0) {
		show_log(server);
		return false;
	}
	return mariadb_start(server);
}

void
mariadb_kill(struct mariadb *server)
{
	if (server->pid <= 0)
		return;
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

void
mariadb_close(struct mariadb *server)
{
	const char *const argv[] = {
	    "/bin/rm", "-rf", "--", server->directory, NULL};
	pid_t pid;

	mariadb_kill(server);
	if (server->directory[0] == '\0')
		return;
	pid = fork();
	if (pid == 0) {
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	server->directory[0] = '\0';
}

int64_t
mariadb_number(
    const struct mariadb *server, const char *database, const char *sql)
{
	MYSQL *conn = admin(server, database);
	MYSQL_RES *result = NULL;
	MYSQL_ROW row = NULL;
	int64_t number = INT64_MIN;

	if (conn == NULL || mysql_query(conn, sql) != 0) {
		fprintf(stderr, "mariadb: %s: %s\n", sql,
		    conn == NULL ? "no connection" : mysql_error(conn));
		abort();
	}
	result = mysql_store_result(conn);
	if (result != NULL)
		row = mysql_fetch_row(result);
	if (row != NULL && row[0] != NULL)
		number = strtoll(row[0], NULL, 10);
	mysql_free_result(result);
	mysql_close(conn);
	return number;
}

void
mariadb_run(const struct mariadb *server, const char *database, const char *sql)
{
	mariadb_number(server, database, sql);
}
