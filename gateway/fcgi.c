/*
 * What of libfcgi 2.4.2 is used, and around what.
 *
 * libfcgi wants to accept, to read and to close connections, and waits in each
 * of them. Here it gets a number that is no descriptor (STAND_IN) in place of
 * a connection. It reads and writes through two functions of its own, which
 * are exported, and calls them as any program would: OS_Read() and OS_Write().
 * Those defined here stand before them in the order of symbols. They give
 * libfcgi the bytes that front_serve.c has received, and write to the
 * connection what libfcgi has made of the answer. So the bytes are read once,
 * libfcgi sees no byte that was not judged, and it cannot close or wait for
 * anything.
 *
 * A libfcgi that was linked with -Bsymbolic calls its own functions: they get
 * "bad descriptor", and fcgi_new(), which tries, refuses to start. A static
 * libfcgi.a defines both a second time: that does not link.
 *
 * - ipcFd = STAND_IN, which its header asks to leave alone: with it
 *   FCGX_Accept_r() finds a connection open. listen_sock = -1: should it want
 *   to accept, it gets EBADF.
 * - keepConnection = 1: it closes after errors only, and what it closes then
 *   is no descriptor. detached = 1: it does so without shutdown and poll.
 * - A truncated stream looks like a complete one to it (FCGX_Accept_r gives 0
 *   for params that end between two pairs): FCGX_GetError() tells.
 */
#include "config.h"

#include "fcgi.h"

#include "buf.h"
#include "status.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcgios.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STAND_IN INT_MAX
#define FCGI_CHUNK 4096

struct fcgi {
	FCGX_Request request;
	struct sgate_bytes unread; /* what libfcgi has not taken yet */
	int fd;                    /* where the answer goes, or -1: nowhere */
	struct buf *rest;          /* what the peer does not take at once */
	size_t written;
	size_t body_left;
	bool is_whole;
};

/* The one whose request libfcgi works at: what STAND_IN stands for. */
static struct fcgi *fcgi_at_work;

/* ---- what libfcgi calls ---- */

int
OS_Read(int fd, char *buf, size_t len)
{
	struct sgate_bytes *unread;

	if (fd != STAND_IN || fcgi_at_work == NULL)
		return (int)read(fd, buf, len);
	unread = &fcgi_at_work->unread;
	if (unread->len == 0)
		return 0;
	if (len > unread->len)
		len = unread->len;
	memcpy(buf, unread->data, len);
	unread->data += len;
	unread->len -= len;
	return (int)len;
}

/* What the peer takes at once; 0: nothing now; -1: nothing any more. */
static ssize_t
send_part(int fd, const char *data, size_t len)
{
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	return n > 0 ? n : -1;
}

/* A part at least, or -1; never 0, which libfcgi would try again for ever. */
int
OS_Write(int fd, char *buf, size_t len)
{
	struct fcgi *fcgi = fcgi_at_work;
	ssize_t n;

	if (fd != STAND_IN || fcgi == NULL)
		return (int)write(fd, buf, len);
	fcgi->written += len;
	if (fcgi->fd < 0)
		return (int)len;
	if (fcgi->rest->len == 0) {
		n = send_part(fcgi->fd, buf, len);
		if (n != 0)
			return (int)n;
	}
	buf_add(fcgi->rest, buf, len);
	return buf_failed(fcgi->rest) ? -1 : (int)len;
}

bool
fcgi_send(int fd, struct sgate_bytes records, struct buf *rest)
{
	ssize_t n = send_part(fd, records.data, records.len);

	if (n < 0)
		return false;
	if ((size_t)n < records.len)
		buf_add(rest, records.data + n, records.len - (size_t)n);
	return !buf_failed(rest);
}

/* ---- the process's side ---- */

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

/* Whether libfcgi reads and writes through our functions: one request. */
static bool
is_library_ours(struct fcgi *fcgi)
{
	static const char bytes[] = {
	    1, 1, 0, 1, 0, 8, 0, 0, /* BEGIN_REQUEST */
	    0, 2, 0, 0, 0, 0, 0, 0, /* an authorizer */
	    1, 4, 0, 1, 0, 4, 0, 0, /* PARAMS */
	    1, 1, 'A', 'b',         /* A=b */
	    1, 4, 0, 1, 0, 0, 0, 0  /* and their end */
	};
	struct sgate_bytes request = {bytes, sizeof(bytes)};
	struct head head;
	bool is_ours;

	if (head_scan(request, sizeof(bytes), 0, &head) != HEAD_COMPLETE ||
	    !fcgi_open(fcgi, &head, request))
		return false;
	/* The first is FCGI_ROLE, which libfcgi adds. */
	is_ours = fcgi_params(fcgi)[0] != NULL &&
		  fcgi_params(fcgi)[1] != NULL &&
		  strcmp(fcgi_params(fcgi)[1], "A=b") == 0;
	return fcgi_finish(fcgi, -1, bytes_of("Status: 200\r\n\r\n"), NULL) &&
	       is_ours && fcgi->written > 0;
}

enum sgate_status
fcgi_new(struct fcgi **out, struct sgate_error *err)
{
	struct fcgi *fcgi;

	*out = NULL;
	fcgi = calloc(1, sizeof(*fcgi));
	if (fcgi == NULL)
		return error_memory(err, "libfcgi");
	fcgi->fd = -1;
	fcgi->request.ipcFd = -1;
	if (!init_library() || FCGX_InitRequest(&fcgi->request, -1, 0) != 0) {
		free(fcgi);
		return error_set(err, SGATE_INTERNAL, "libfcgi", "FCGX_Init", 0,
		    "it refuses to start");
	}
	if (!is_library_ours(fcgi)) {
		fcgi_free(fcgi);
		return error_set(err, SGATE_INTERNAL, "libfcgi", "OS_Read", 0,
		    "this libfcgi reads connections by itself: use a shared "
		    "libfcgi 2.4.2 that was linked without -Bsymbolic, as "
		    "Debian's is");
	}
	*out = fcgi;
	return SGATE_OK;
}

void
fcgi_free(struct fcgi *fcgi)
{
	if (fcgi == NULL)
		return;
	fcgi_drop(fcgi);
	free(fcgi);
}

/* ---- one request ---- */

bool
fcgi_open(struct fcgi *fcgi, const struct head *head, struct sgate_bytes bytes)
{
	FCGX_Request *request = &fcgi->request;

	fcgi->unread = bytes;
	fcgi->fd = -1;
	fcgi->written = 0;
	fcgi->body_left = head->body_len;
	fcgi->is_whole = head->is_whole;
	fcgi_at_work = fcgi;
	request->ipcFd = STAND_IN;
	request->keepConnection = 1;
	request->detached = 1;
	if (FCGX_Accept_r(request) != 0 || FCGX_GetError(request->in) != 0) {
		fcgi_drop(fcgi);
		return false;
	}
	request->keepConnection = 1;
	return true;
}

char *const *
fcgi_params(const struct fcgi *fcgi)
{
	return fcgi->request.envp;
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

void
fcgi_resume(struct fcgi *fcgi)
{
	fcgi_at_work = fcgi->request.ipcFd == STAND_IN ? fcgi : NULL;
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

static void
end_request(struct fcgi *fcgi)
{
	memset(&fcgi->unread, 0, sizeof(fcgi->unread));
	fcgi->request.ipcFd = -1;
	fcgi->fd = -1;
	fcgi->rest = NULL;
	fcgi_at_work = NULL;
}

bool
fcgi_finish(
    struct fcgi *fcgi, int fd, struct sgate_bytes answer, struct buf *rest)
{
	bool is_written;

	fcgi->fd = fd;
	fcgi->rest = rest;
	if (answer.len > INT_MAX || FCGX_PutStr(answer.data, (int)answer.len,
					fcgi->request.out) != (int)answer.len) {
		fcgi_drop(fcgi);
		return false;
	}
	wipe_params(fcgi);
	/*
	 * Writes what is left of stdout, its end, and END_REQUEST. Had it
	 * failed, it would have closed.
	 */
	FCGX_Finish_r(&fcgi->request);
	is_written = fcgi->request.ipcFd == STAND_IN;
	end_request(fcgi);
	return is_written;
}

void
fcgi_drop(struct fcgi *fcgi)
{
	wipe_params(fcgi);
	FCGX_Free(&fcgi->request, 0);
	end_request(fcgi);
}
