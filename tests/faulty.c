/*
 * A program's own functions take the place of those of the C library, for its
 * shared libraries as well. Memory is handed on to whoever gives it otherwise,
 * which is the sanitizer where there is one; the rest to the kernel.
 */
#include "config.h"

#include "faulty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static enum faulty kind;
static int left = -1;
static bool has_fired;

void
faulty_arm(enum faulty what, int countdown)
{
	kind = what;
	has_fired = false;
	left = countdown;
}

bool
faulty_disarm(void)
{
	left = -1;
	return has_fired;
}

static bool
is_this_one(void)
{
	if (left < 0 || left-- > 0)
		return false;
	has_fired = true;
	return true;
}

/* ---- memory ---- */

static bool
has_no_memory(void)
{
	if (kind != FAULTY_MEMORY || !is_this_one())
		return false;
	errno = ENOMEM;
	return true;
}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__interceptor_malloc(size_t size) __attribute__((weak));
void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));
void *__interceptor_realloc(void *old, size_t size) __attribute__((weak));

void *
malloc(size_t size)
{
	if (has_no_memory())
		return NULL;
	return __interceptor_malloc != NULL ? __interceptor_malloc(size)
					    : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	if (has_no_memory())
		return NULL;
	return __interceptor_calloc != NULL ? __interceptor_calloc(count, size)
					    : __libc_calloc(count, size);
}

void *
realloc(void *old, size_t size)
{
	if (has_no_memory())
		return NULL;
	return __interceptor_realloc != NULL ? __interceptor_realloc(old, size)
					     : __libc_realloc(old, size);
}

void *
reallocarray(void *old, size_t count, size_t size)
{
	size_t sum;

	if (__builtin_mul_overflow(count, size, &sum)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(old, sum);
}

char *
strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = malloc(size);

	return copy == NULL ? NULL : memcpy(copy, text, size);
}

/* ---- files and sockets ---- */

static bool
is_socket(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* Standard output is the test's own. */
static bool
fails(int fd)
{
	if (kind == FAULTY_MEMORY || kind == FAULTY_SHORT || fd == 1 ||
	    !is_this_one())
		return false;
	if (kind == FAULTY_INTERRUPT)
		errno = EINTR;
	else if (is_socket(fd))
		errno = kind == FAULTY_FULL ? ENOBUFS : EPIPE;
	else
		errno = kind == FAULTY_FULL ? ENOSPC : EIO;
	return true;
}

static size_t
shorten(int fd, size_t len)
{
	if (kind != FAULTY_SHORT || len < 2 || fd == 1 || !is_this_one())
		return len;
	return len / 2;
}

ssize_t
write(int fd, const void *data, size_t len)
{
	if (fails(fd))
		return -1;
	return syscall(SYS_write, fd, data, shorten(fd, len));
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
	if (fails(fd))
		return -1;
	return syscall(SYS_pwrite64, fd, data, shorten(fd, len), offset);
}

ssize_t
writev(int fd, const struct iovec *parts, int count)
{
	if (fails(fd))
		return -1;
	return syscall(SYS_writev, fd, parts, count);
}

ssize_t
sendto(int fd, const void *data, size_t len, int flags,
    const struct sockaddr *to, socklen_t to_len)
{
	if (fails(fd))
		return -1;
	return syscall(
	    SYS_sendto, fd, data, shorten(fd, len), flags, to, to_len);
}

ssize_t
send(int fd, const void *data, size_t len, int flags)
{
	return sendto(fd, data, len, flags, NULL, 0);
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
	if (fails(fd))
		return -1;
	return syscall(SYS_sendmsg, fd, message, flags);
}

int
fsync(int fd)
{
	return fails(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
	return fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int
ftruncate(int fd, off_t len)
{
	return fails(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int
rename(const char *from, const char *to)
{
	return fails(-1) ? -1 : (int)syscall(SYS_rename, from, to);
}

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return fails(-1)
		   ? -1
		   : (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
}

static int
open_at(int dir, const char *path, int flags, va_list args)
{
	mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;

	return fails(-1) ? -1
			 : (int)syscall(SYS_openat, dir, path, flags, mode);
}

int
open(const char *path, int flags, ...)
{
	va_list args;
	int fd;

	va_start(args, flags);
	fd = open_at(AT_FDCWD, path, flags, args);
	va_end(args);
	return fd;
}

int
openat(int dir, const char *path, int flags, ...)
{
	va_list args;
	int fd;

	va_start(args, flags);
	fd = open_at(dir, path, flags, args);
	va_end(args);
	return fd;
}
