/*
 * The floor of the benchmark: what a FastCGI program costs that does nothing.
 * N processes with libfcgi's own accept loop and defaults, one fixed answer.
 *
 *   noop_stock SOCKET PROCESSES
 */
#include <fcgiapp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int
answer_all(int listen_fd)
{
	FCGX_Request request;

	if (FCGX_Init() != 0 || FCGX_InitRequest(&request, listen_fd, 0) != 0)
		return 1;
	while (FCGX_Accept_r(&request) == 0) {
		FCGX_PutS("Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n",
		    request.out);
		FCGX_Finish_r(&request);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	int fd, i, processes;

	if (argc != 3 || (processes = atoi(argv[2])) < 1 || processes > 64) {
		fprintf(stderr, "usage: noop_stock SOCKET PROCESSES (1-64)\n");
		return 2;
	}
	fd = FCGX_OpenSocket(argv[1], 1024);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	for (i = 0; i < processes; i++) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(answer_all(fd));
		}
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
