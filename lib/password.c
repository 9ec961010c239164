/* Reading the password file of a store. */
#include "config.h"

#include "password.h"

#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One byte more than the longest line with its CR and LF. */
#define READ_MAX (PASSWORD_MAX + 3)

static enum sgate_status
check_file(int fd, const char *path, const char *source, const char *operation,
    struct sgate_error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return error_set(err, SGATE_UNAVAILABLE, source, operation,
		    errno, "%s.password_file: %.100s: %s", source, path,
		    strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, SGATE_UNAVAILABLE, source, operation,
		    EINVAL, "%s.password_file: %.100s: is not a plain file",
		    source, path);
	if ((st.st_mode & S_IRWXO) != 0)
		return error_set(err, SGATE_UNAVAILABLE, source, operation,
		    EPERM,
		    "%s.password_file: %.100s: everybody may read it: chmod "
		    "o= it",
		    source, path);
	return SGATE_OK;
}

static enum sgate_status
read_line(int fd, const char *path, const char *source, const char *operation,
    char line[READ_MAX + 1], struct sgate_error *err)
{
	ssize_t len = read(fd, line, READ_MAX);

	if (len < 0)
		return error_set(err, SGATE_UNAVAILABLE, source, operation,
		    errno, "%s.password_file: %.100s: %s", source, path,
		    strerror(errno));
	line[len] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	if (strlen(line) > PASSWORD_MAX)
		return error_set(err, SGATE_UNAVAILABLE, source, operation,
		    EMSGSIZE, "%s.password_file: %.100s: more than %d bytes",
		    source, path, PASSWORD_MAX);
	return SGATE_OK;
}

enum sgate_status
password_read(const char *path, const char *source, const char *operation,
    char out[PASSWORD_MAX + 1], struct sgate_error *err)
{
	/* O_NONBLOCK: a FIFO would wait for somebody who writes. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char line[READ_MAX + 1] = "";
	enum sgate_status status;

	out[0] = '\0';
	if (fd < 0)
		return error_set(err, SGATE_UNAVAILABLE, source, operation,
		    errno, "%s.password_file: %.100s: %s", source, path,
		    strerror(errno));
	status = check_file(fd, path, source, operation, err);
	if (status == SGATE_OK)
		status = read_line(fd, path, source, operation, line, err);
	if (status == SGATE_OK)
		memcpy(out, line, strlen(line) + 1);
	explicit_bzero(line, sizeof(line));
	close(fd);
	return status;
}
