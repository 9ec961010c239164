/* A peer that does what a list of steps says. */
#include "config.h"

#include "cache_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void
pause_ms(int ms)
{
	const struct timespec left = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&left, NULL);
}

static void
hang_up(struct peer *peer)
{
	int fd = atomic_exchange(&peer->connection, -1);

	if (fd >= 0)
		close(fd);
}

/* False: nobody listens. */
static int
say(struct peer *peer, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = send(peer->connection, text, len, MSG_NOSIGNAL);

		if (n <= 0)
			return 0;
		text += n;
		len -= (size_t)n;
	}
	return 1;
}

static void
listen_to(struct peer *peer)
{
	ssize_t n =
	    recv(peer->connection, peer->heard, sizeof(peer->heard) - 1, 0);

	peer->heard[n < 0 ? 0 : n] = '\0';
}

static void
take_step(struct peer *peer, const struct peer_step *step)
{
	size_t i;
	int fd;

	switch (step->what) {
	case PEER_ACCEPT:
		hang_up(peer);
		fd = accept(peer->listener, NULL, NULL);
		peer->connection = fd;
		if (fd >= 0)
			peer->accepted++;
		break;
	case PEER_READ:
		listen_to(peer);
		break;
	case PEER_SAY:
		say(peer, step->text, strlen(step->text));
		break;
	case PEER_TRICKLE:
		for (i = 0; step->text[i] != '\0' && !peer->is_over; i++) {
			if (!say(peer, step->text + i, 1))
				break;
			pause_ms(step->ms);
		}
		break;
	case PEER_FLOOD:
		while (
		    !peer->is_over && say(peer, step->text, strlen(step->text)))
			continue;
		break;
	case PEER_WAIT:
		pause_ms(step->ms);
		break;
	case PEER_HOLD:
		while (!peer->may_go && !peer->is_over)
			pause_ms(1);
		break;
	case PEER_CLOSE:
		hang_up(peer);
		break;
	case PEER_END:
		break;
	}
}

static void *
run(void *arg)
{
	struct peer *peer = arg;
	const struct peer_step *step;

	for (step = peer->steps; step->what != PEER_END && !peer->is_over;
	     step++) {
		take_step(peer, step);
		peer->done++;
	}
	return NULL;
}

void
peer_open(struct peer *peer, const struct peer_step *steps)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memset(peer, 0, sizeof(*peer));
	peer->steps = steps;
	peer->connection = -1;
	snprintf(
	    peer->directory, sizeof(peer->directory), "/tmp/sgpeer-XXXXXX");
	if (mkdtemp(peer->directory) == NULL)
		abort();
	snprintf(peer->address, sizeof(peer->address), "unix:%s/socket",
	    peer->directory);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s",
	    peer->address + strlen("unix:"));
	peer->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (peer->listener < 0 ||
	    bind(peer->listener, (struct sockaddr *)&address,
		sizeof(address)) != 0 ||
	    listen(peer->listener, 8) != 0 ||
	    pthread_create(&peer->thread, NULL, run, peer) != 0)
		abort();
}

void
peer_go(struct peer *peer)
{
	peer->may_go = 1;
}

void
peer_wait(const struct peer *peer, int steps)
{
	int waited_ms;

	for (waited_ms = 0; peer->done < steps && waited_ms < 10000;
	     waited_ms++)
		pause_ms(1);
}

void
peer_close(struct peer *peer)
{
	peer->is_over = 1;
	shutdown(peer->listener, SHUT_RDWR);
	if (peer->connection >= 0)
		shutdown(peer->connection, SHUT_RDWR);
	pthread_join(peer->thread, NULL);
	hang_up(peer);
	close(peer->listener);
	unlink(peer->address + strlen("unix:"));
	rmdir(peer->directory);
}
