/*
 * The same do-nothing answer as noop_stock, through sessgate's own accepting
 * (front.c, fcgi.c): what is left when the session work is taken away.
 *
 *   noop_own DIRECTORY PROCESSES     makes DIRECTORY/pool.sock
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front.h"

const char serve_unavailable[] =
    "Status: 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n";

void
serve(
    struct gateway *gw, const struct serve_input *input, struct buf *out_answer)
{
	(void)gw;
	(void)input;
	buf_add_text(
	    out_answer, "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n");
}

static int
answer_all(struct gateway *gw, const struct listeners *listeners,
    const struct handover *handover, int index)
{
	struct front_options options = {.listeners = listeners,
	    .slot = &gw->shared->workers[index],
	    .handover = handover};
	struct front *front;
	struct sgate_error err;
	sigset_t none;

	sigemptyset(&none);
	if (front_new(gw, &options, &front, &err) != SGATE_OK) {
		fprintf(stderr, "noop_own: %s\n", err.text);
		return 1;
	}
	while (front_step(front, 1000, &none) >= 0)
		;
	return 1;
}

int
main(int argc, char **argv)
{
	char runtime_dir[512];
	const char *overrides[] = {runtime_dir, NULL, NULL};
	struct listeners listeners = {0};
	struct sgate_conf *conf;
	struct gateway gw = {0};
	struct handover handover;
	struct sgate_error err;
	int i, processes;

	if (argc != 3 || (processes = atoi(argv[2])) < 1 || processes > 64) {
		fprintf(stderr, "usage: noop_own DIRECTORY PROCESSES (1-64)\n");
		return 2;
	}
	snprintf(runtime_dir, sizeof(runtime_dir), "gateway.runtime_dir=%s",
	    argv[1]);
	/* Nothing is given up here; but root must name somebody. */
	if (geteuid() == 0)
		overrides[1] = "gateway.user=nobody";
	if (sgate_conf_load(NULL, overrides, &conf, &err) != SGATE_OK ||
	    shared_create(argv[1], &gw.shared, &err) != SGATE_OK ||
	    listeners_open(conf, &listeners, &err) != SGATE_OK) {
		fprintf(stderr, "noop_own: %s\n", err.text);
		return 1;
	}
	if (!handover_open(&handover)) {
		perror("noop_own: socketpair");
		return 1;
	}
	gw.conf = conf;
	for (i = 0; i < processes; i++) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(answer_all(&gw, &listeners, &handover, i));
		}
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
