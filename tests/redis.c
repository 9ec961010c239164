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
#define WORDS_MAX 64

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

enum answer { ANSWER_NONE, ANSWER_NOTHING, ANSWER_TEXT };

/* ANSWER_NONE: an error, or no answer. */
static enum answer
read_reply(FILE *peer, struct buf *out)
{
	char line[512], *text = NULL;
	long len;
	bool is_whole;

	if (fgets(line, sizeof(line), peer) == NULL || line[0] == '-')
		return ANSWER_NONE;
	line[strcspn(line, "\r\n")] = '\0';
	if (line[0] != '$') {
		buf_add_text(out, line + 1);
		return ANSWER_TEXT;
	}
	len = strtol(line + 1, NULL, 10);
	if (len < 0)
		return ANSWER_NOTHING;
	text = calloc(1, (size_t)len + 1);
	is_whole =
	    text != NULL && fread(text, 1, (size_t)len, peer) == (size_t)len;
	if (is_whole)
		buf_add(out, text, (size_t)len);
	free(text);
	return is_whole ? ANSWER_TEXT : ANSWER_NONE;
}

static enum answer
try_run(const struct redis *server, struct buf *out,
    const struct sgate_bytes *words, size_t count)
{
	FILE *peer = dial(server);
	enum answer answer = ANSWER_NONE;
	size_t i;

	buf_reset(out);
	if (peer == NULL)
		return ANSWER_NONE;
	fprintf(peer, "*%zu\r\n", count);
	for (i = 0; i < count; i++) {
		fprintf(peer, "$%zu\r\n", words[i].len);
		fwrite(words[i].data, 1, words[i].len, peer);
		fprintf(peer, "\r\n");
	}
	if (fflush(peer) == 0)
		answer = read_reply(peer, out);
	fclose(peer);
	return answer;
}

bool
redis_run_bytes(const struct redis *server, struct buf *out,
    const struct sgate_bytes *words, size_t count)
{
	enum answer answer = try_run(server, out, words, count);

	if (answer == ANSWER_NONE) {
		fprintf(stderr, "redis: %.*s: no answer\n", (int)words[0].len,
		    words[0].data);
		abort();
	}
	return answer == ANSWER_TEXT;
}

bool
redis_try_bytes(const struct redis *server, struct buf *out,
    const struct sgate_bytes *words, size_t count)
{
	return try_run(server, out, words, count) != ANSWER_NONE;
}

void
redis_run(const struct redis *server, char *out, size_t size,
    const char *const *words)
{
	struct sgate_bytes bytes[WORDS_MAX];
	struct buf text = {0};
	size_t count;

	for (count = 0; words[count] != NULL && count < WORDS_MAX; count++)
		bytes[count] = bytes_of(words[count]);
	redis_run_bytes(server, &text, bytes, count);
	snprintf(out, size, "%s", buf_text(&text));
	buf_clear(&text);
}

/* ---- the server ---- */

/* A process of its own that ends with this one; its words go to log. */
static pid_t
spawn(const struct redis *server)
{
	const char *argv[WORDS_MAX] = {SERVER, "--port", "0", "--unixsocket",
	    server->socket, "--dir", server->directory, "--save", "",
	    "--appendonly", "no", "--maxmemory-policy", "volatile-ttl"};
	const char *const *option = server->options;
	size_t count = 13;
	char log[96];
	pid_t parent = getpid();
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	for (; option != NULL && *option != NULL; option++)
		argv[count++] = *option;
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
	const struct sgate_bytes ping = bytes_of("PING");
	const struct timespec pause = {0, 5000000};
	struct buf out = {0};
	bool is_up = false;
	int waited_ms;

	server->pid = spawn(server);
	for (waited_ms = 0; server->pid > 0 && waited_ms < START_MS;
	     waited_ms += 5) {
		is_up = try_run(server, &out, &ping, 1) != ANSWER_NONE;
		if (is_up || waitpid(server->pid, NULL, WNOHANG) != 0)
			break;
		nanosleep(&pause, NULL);
	}
	buf_clear(&out);
	if (!is_up)
		show_log(server);
	return is_up;
}

bool
redis_open(struct redis *server)
{
	return redis_open_with(server, NULL);
}

bool
redis_open_with(struct redis *server, const char *const *options)
{
	const char *temp = getenv("TMPDIR");

	memset(server, 0, sizeof(*server));
	server->options = options;
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
