/* A private Redis for a test. */
#include "config.h"

#include "redis.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SERVER "/usr/bin/redis-server"
#define START_MS 10000
#define ANSWER_SECONDS 10

const char *
redis_missing(void)
{
	return access(SERVER, X_OK) != 0 ? "redis-server is not installed"
					 : NULL;
}

/* ---- a connection ---- */

static FILE *
dial(const struct redis *server)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = ANSWER_SECONDS};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(
	    address.sun_path, sizeof(address.sun_path), "%s", server->socket);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) !=
		0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	return fdopen(fd, "r+");
}

/* False: an error, or no answer. */
static bool
read_reply(FILE *peer, char *out, size_t size)
{
	char line[512], *text = NULL;
	long len;
	bool is_whole;

	if (fgets(line, sizeof(line), peer) == NULL || line[0] == '-')
		return false;
	line[strcspn(line, "\r\n")] = '\0';
	if (line[0] != '$') {
		snprintf(out, size, "%s", line + 1);
		return true;
	}
	len = strtol(line + 1, NULL, 10);
	snprintf(out, size, "%s", "");
	if (len < 0)
		return true;
	text = calloc(1, (size_t)len + 1);
	is_whole =
	    text != NULL && fread(text, 1, (size_t)len, peer) == (size_t)len;
	if (is_whole)
		snprintf(out, size, "%s", text);
	free(text);
	return is_whole;
}

static bool
try_run(const struct redis *server, char *out, size_t size,
    const char *const *words)
{
	FILE *peer = dial(server);
	size_t i, count = 0;
	bool is_answered;

	if (peer == NULL)
		return false;
	while (words[count] != NULL)
		count++;
	fprintf(peer, "*%zu\r\n", count);
	for (i = 0; i < count; i++)
		fprintf(peer, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
	is_answered = fflush(peer) == 0 && read_reply(peer, out, size);
	fclose(peer);
	return is_answered;
}

void
redis_run(const struct redis *server, char *out, size_t size,
    const char *const *words)
{
	if (!try_run(server, out, size, words)) {
		fprintf(stderr, "redis: %s: no answer\n", words[0]);
		abort();
	}
}

/* ---- the server ---- */

/* A process of its own that ends with this one; its words go to log. */
static pid_t
spawn(const struct redis *server)
{
	const char *const argv[] = {SERVER, "--port", "0", "--unixsocket",
	    server->socket, "--dir", server->directory, "--save", "",
	    "--appendonly", "no", "--maxmemory-policy", "volatile-ttl", NULL};
	char log[96];
	pid_t parent = getpid();
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
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
show_log(const struct redis *server)
{
	char line[512];
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/log", server->directory);
	file = fopen(path, "r");
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL)
		fprintf(stderr, "redis: %s", line);
	fclose(file);
}

bool
redis_start(struct redis *server)
{
	static const char *const ping[] = {"PING", NULL};
	const struct timespec pause = {0, 5000000};
	char answer[16];
	int waited_ms;

	server->pid = spawn(server);
	for (waited_ms = 0; server->pid > 0 && waited_ms < START_MS;
	     waited_ms += 5) {
		if (try_run(server, answer, sizeof(answer), ping))
			return true;
		if (waitpid(server->pid, NULL, WNOHANG) != 0)
			break;
		nanosleep(&pause, NULL);
	}
	show_log(server);
	return false;
}

bool
redis_open(struct redis *server)
{
	const char *temp = getenv("TMPDIR");

	memset(server, 0, sizeof(*server));
	/* A socket's path is short. */
	if (temp == NULL || temp[0] != '/' || strlen(temp) > 32)
		temp = "/tmp";
	snprintf(server->directory, sizeof(server->directory),
	    "%s/sgredis-XXXXXX", temp);
	if (mkdtemp(server->directory) == NULL)
		return false;
	snprintf(server->socket, sizeof(server->socket), "%s/socket",
	    server->directory);
	return redis_start(server);
}

void
redis_kill(struct redis *server)
{
	if (server->pid <= 0)
		return;
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

/* Returns when it has stopped: a signal alone is not yet obeyed. */
void
redis_pause(const struct redis *server)
{
	kill(server->pid, SIGSTOP);
	waitpid(server->pid, NULL, WUNTRACED);
}

void
redis_resume(const struct redis *server)
{
	kill(server->pid, SIGCONT);
}

void
redis_close(struct redis *server)
{
	const char *const argv[] = {
	    "/bin/rm", "-rf", "--", server->directory, NULL};
	pid_t pid;

	redis_kill(server);
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
