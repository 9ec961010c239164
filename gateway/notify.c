/*
 * What `Type=notify` of systemd.service(5) listens to. A message that cannot
 * be sent is lost: nothing here may keep the master from its work.
 */
#include "config.h"

#include "notify.h"

#include "clock.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un manager;
static socklen_t manager_len; /* 0: nobody listens */

void
notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path == NULL ? 0 : strlen(path);

	manager_len = 0;
	if (len > 1 && len < sizeof(manager.sun_path) &&
	    (path[0] == '/' || path[0] == '@')) {
		memset(&manager, 0, sizeof(manager));
		manager.sun_family = AF_UNIX;
		memcpy(manager.sun_path, path, len);
		if (path[0] == '@') /* an abstract name: unix(7) */
			manager.sun_path[0] = '\0';
		manager_len =
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	}
	unsetenv("NOTIFY_SOCKET");
}

static void
tell(const char *text)
{
	int fd;

	if (manager_len == 0)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL,
	    (const struct sockaddr *)&manager, manager_len);
	close(fd);
}

void
notify_ready(int workers)
{
	char text[64];

	snprintf(text, sizeof(text), "READY=1\nSTATUS=%d workers\n", workers);
	tell(text);
}

void
notify_reloading(void)
{
	char text[128];

	snprintf(text, sizeof(text),
	    "RELOADING=1\nMONOTONIC_USEC=%" PRId64
	    "\nSTATUS=reading the configuration again\n",
	    clock_monotonic_ms() * 1000);
	tell(text);
}

void
notify_stopping(void)
{
	tell("STOPPING=1\nSTATUS=answering what has begun\n");
}
