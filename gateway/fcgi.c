/*
 * What of libfcgi 2.4.2 is used, and around what.
 *
 * libfcgi can accept, but then reads a whole head while others wait, so we
 * accept (front.c) and put the connection into FCGX_Request.ipcFd, where
 * FCGX_Accept_r() finds it open and reads from it. Its header asks to leave
 * that field alone: tests/unit/front.c would notice another libfcgi.
 *
 * - keepConnection = 1 whenever libfcgi might look: it must not close, the
 *   caller does. listen_sock = -1: should it want to accept, it gets EBADF.
 * - detached = 1: what it closes after all it closes plainly. Otherwise it
 *   would shut down, poll and read for up to two seconds.
 * - A truncated stream looks like a complete one to it (FCGX_Accept_r gives 0
 *   for params that end between two pairs): FCGX_GetError() tells.
 * - It reads 8 KiB at a time, so it may swallow bytes that nobody judged, but
 *   it parses records only as far as it is asked for content. So it is asked
 *   for what head.h has counted, and to the end only when the end was judged.
 *   The connection is non-blocking: a misjudgement is an error, not a wait.
 *
 * A request that came in pieces was read by front.c. libfcgi then reads a
 * memory file in place of the connection, which is put in again for writing.
 */
#include "config.h"

#include "fcgi.h"

#include "clock.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/*
 * An answer up to this size is written at once, with the end of the request,
 * and a new connection's send buffer has room for it. A larger one may wait.
 */
#define FCGI_SMALL_ANSWER 4096
#define FCGI_CHUNK 4096

struct fcgi {
	FCGX_Request request;
	int fd;
	int memory; /* what libfcgi reads in place of fd, or -1 */
	size_t body_left;
	bool is_whole;
	bool is_authorizer;
};

/*
 * FCGX_Init() takes SIGPIPE, SIGUSR1 and SIGTERM over where they are default
 * or ignored. They stay what they were, but for SIGPIPE, which is ignored.
 */
static bool
init_library(void)
{
	static const int numbers[] = {SIGUSR1, SIGTERM};
	struct sigaction saved[2], ignore;
	bool is_ready;
	size_t i;

	setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", "0", 1);
	for (i = 0; i < 2; i++)
		sigaction(numbers[i], NULL, &saved[i]);
	is_ready = FCGX_Init() == 0;
	for (i = 0; i < 2; i++)
		sigaction(numbers[i], &saved[i], NULL);
	memset(&ignore, 0, sizeof(ignore));
	ignore.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &ignore, NULL);
	return is_ready;
}

struct fcgi *
fcgi_new(void)
{
	struct fcgi *fcgi = calloc(1, sizeof(*fcgi));

	if (fcgi == NULL)
		return NULL;
	fcgi->fd = -1;
	fcgi->memory = -1;
	if (!init_library() || FCGX_InitRequest(&fcgi->request, -1, 0) != 0) {
		free(fcgi);
		return NULL;
	}
	return fcgi;
}

void
fcgi_free(struct fcgi *fcgi)
{
	if (fcgi == NULL)
		return;
	fcgi_drop(fcgi);
	free(fcgi);
}

static bool
write_all(int fd, struct sgate_bytes bytes)
{
	ssize_t n;

	while (bytes.len > 0) {
		n = write(fd, bytes.data, bytes.len);
		if (n <= 0)
			return false;
		bytes.data += n;
		bytes.len -= (size_t)n;
	}
	return true;
}

/* -1 when there is no memory for it. */
static int
memory_file(struct sgate_bytes bytes)
{
	int fd = memfd_create("request", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	if (!write_all(fd, bytes) || lseek(fd, 0, SEEK_SET) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

bool
fcgi_open(
    struct fcgi *fcgi, int fd, const struct head *head, struct sgate_bytes read)
{
	FCGX_Request *request = &fcgi->request;

	fcgi->fd = fd;
	fcgi->body_left = head->body_len;
	fcgi->is_whole = head->is_whole;
	fcgi->is_authorizer = head->is_authorizer;
	request->ipcFd = fd;
	if (read.data != NULL) {
		fcgi->memory = memory_file(read);
		request->ipcFd = fcgi->memory;
		if (fcgi->memory < 0) {
			fcgi_drop(fcgi);
			return false;
		}
	}
	request->keepConnection = 1;
	request->detached = 1;
	if (FCGX_Accept_r(request) != 0) {
		/* It has closed what it read from. */
		if (fcgi->memory < 0)
			fcgi->fd = -1;
		fcgi->memory = -1;
		request->ipcFd = -1;
		fcgi_drop(fcgi);
		return false;
	}
	request->keepConnection = 1;
	if (FCGX_GetError(request->in) != 0) {
		fcgi_drop(fcgi);
		return false;
	}
	return true;
}

char *const *
fcgi_params(const struct fcgi *fcgi)
{
	return fcgi->request.envp;
}

bool
fcgi_is_authorizer(const struct fcgi *fcgi)
{
	return fcgi->is_authorizer;
}

ssize_t
fcgi_read(struct fcgi *fcgi, char *out, size_t max)
{
	size_t part = max < fcgi->body_left ? max : fcgi->body_left;

	if (max == 0)
		return 0;
	if (part == 0)
		return fcgi->is_whole ? 0 : -1;
	if (part > FCGI_CHUNK)
		part = FCGI_CHUNK;
	if (FCGX_GetStr(out, (int)part, fcgi->request.in) != (int)part)
		return -1;
	fcgi->body_left -= part;
	return (ssize_t)part;
}

/*
 * Closing with unread bytes in the socket resets the peer, which may then lose
 * the answer (Apache does). So what is known to stand there is read.
 */
static void
drain(struct fcgi *fcgi)
{
	char trash[FCGI_CHUNK];

	if (!fcgi->is_whole || fcgi->memory >= 0)
		return;
	while (FCGX_GetStr(trash, sizeof(trash), fcgi->request.in) > 0)
		;
}

/* Cookies and keys: libfcgi frees the params as they are. */
static void
wipe_params(struct fcgi *fcgi)
{
	char **param = fcgi->request.envp;

	for (; param != NULL && *param != NULL; param++)
		explicit_bzero(*param, strlen(*param));
	fcgi->request.envp = NULL;
}

/* libfcgi writes to the connection from here on. */
static void
leave_memory(struct fcgi *fcgi)
{
	if (fcgi->memory < 0)
		return;
	close(fcgi->memory);
	fcgi->memory = -1;
	fcgi->request.ipcFd = fcgi->fd;
}

static bool
wait_writable(int fd, int64_t deadline_ms)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

	return poll(&poll_fd, 1, clock_left_ms(deadline_ms)) == 1;
}

/*
 * libfcgi gives up at EAGAIN, so it writes to a blocking connection; poll()
 * keeps the deadline, SO_SNDTIMEO guards the writes between.
 */
static bool
write_large(struct fcgi *fcgi, struct sgate_bytes answer, int64_t timeout_ms)
{
	int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
	struct timeval limit = {.tv_sec = (time_t)(timeout_ms / 1000),
	    .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000)};
	size_t part;

	if (fcntl(fcgi->fd, F_SETFL, 0) != 0 ||
	    setsockopt(
		fcgi->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0)
		return false;
	while (answer.len > 0) {
		part = answer.len < FCGI_CHUNK ? answer.len : FCGI_CHUNK;
		if (!wait_writable(fcgi->fd, deadline_ms))
			return false;
		if (FCGX_PutStr(answer.data, (int)part, fcgi->request.out) !=
		    (int)part)
			return false;
		answer.data += part;
		answer.len -= part;
	}
	return wait_writable(fcgi->fd, deadline_ms);
}

static bool
write_answer(struct fcgi *fcgi, struct sgate_bytes answer, int64_t timeout_ms)
{
	if (answer.len > FCGI_SMALL_ANSWER)
		return write_large(fcgi, answer, timeout_ms);
	return FCGX_PutStr(answer.data, (int)answer.len, fcgi->request.out) ==
	       (int)answer.len;
}

int
fcgi_finish(struct fcgi *fcgi, struct sgate_bytes answer, int64_t timeout_ms)
{
	int fd;

	drain(fcgi);
	leave_memory(fcgi);
	wipe_params(fcgi);
	if (!write_answer(fcgi, answer, timeout_ms)) {
		fcgi_drop(fcgi);
		return -1;
	}
	/* Writes what is left of stdout, its end, and END_REQUEST. */
	FCGX_Finish_r(&fcgi->request);
	fd = fcgi->request.ipcFd;
	fcgi->request.ipcFd = -1;
	fcgi->fd = -1;
	return fd;
}

void
fcgi_drop(struct fcgi *fcgi)
{
	wipe_params(fcgi);
	fcgi->request.ipcFd = -1;
	FCGX_Free(&fcgi->request, 0);
	if (fcgi->memory >= 0)
		close(fcgi->memory);
	if (fcgi->fd >= 0)
		close(fcgi->fd);
	fcgi->memory = -1;
	fcgi->fd = -1;
}
