#include "config.h"

#include "handover.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for one descriptor, aligned as the header wants it. */
union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

bool
handover_open(struct handover *out)
{
	int ends[2];

	out->give_fd = out->take_fd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC,
		0, ends) != 0)
		return false;
	out->give_fd = ends[0];
	out->take_fd = ends[1];
	return true;
}

void
handover_close(struct handover *handover)
{
	if (handover->give_fd >= 0)
		close(handover->give_fd);
	if (handover->take_fd >= 0)
		close(handover->take_fd);
	handover->give_fd = handover->take_fd = -1;
}

bool
handover_give(
    const struct handover *handover, int fd, const struct handover_note *note)
{
	struct handover_note copy = *note;
	struct iovec part = {.iov_base = &copy, .iov_len = sizeof(copy)};
	union control control;
	struct msghdr message = {.msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	struct cmsghdr *header;

	if (handover->give_fd < 0)
		return false;
	memset(&control, 0, sizeof(control));
	header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(handover->give_fd, &message, MSG_NOSIGNAL) ==
	       (ssize_t)sizeof(copy);
}

/* The descriptor that came with a message, or -1. */
static int
descriptor_of(struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int fd;

	if (header == NULL || header->cmsg_level != SOL_SOCKET ||
	    header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

int
handover_take(const struct handover *handover, struct handover_note *out_note)
{
	struct iovec part = {
	    .iov_base = out_note, .iov_len = sizeof(*out_note)};
	union control control;
	struct msghdr message = {.msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	ssize_t n;
	int fd;

	memset(out_note, 0, sizeof(*out_note));
	if (handover->take_fd < 0)
		return -1;
	n = recvmsg(handover->take_fd, &message, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -1;
	fd = descriptor_of(&message);
	if (fd >= 0 && n != (ssize_t)sizeof(*out_note)) {
		close(fd);
		return -1;
	}
	return fd;
}
