/*
 * A process that runs front_step() with a serve() of its own, and peers that
 * speak to its sockets.
 */
#ifndef SESSGATE_TESTS_FRONT_FIXTURE_H
#define SESSGATE_TESTS_FRONT_FIXTURE_H

#include "counted.h"
#include "front.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "packet.h"

#define PARAMS_MAX 65536
#define BODY_MAX 131072
#define READ_TIMEOUT_MS 400
#define KEEP_TIMEOUT_MS 1000
#define LARGE_ANSWER 1000000
/* "at once", on a machine that does other things too */
#define SOON_MS 200
#define PATIENCE_MS 10000
/* How long serve() waits as if for a store, for the URI "/block". */
#define BLOCK_MS 600

#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

#define FRONTS_MAX 2

struct fixture {
	char dir[64];
	struct sgate_conf conf;
	struct conf_listener listener_confs[3];
	struct listener items[3]; /* pool, tcp, create */
	struct listeners listeners;
	struct sockaddr_un pool, create;
	struct sockaddr_in tcp;
	struct shared *shared;
	struct handover handover;
	pid_t pids[FRONTS_MAX]; /* 0 = none */
};

int set_up(void **state);
/* One process. */
int set_up_and_start(void **state);
int tear_down(void **state);
/* Start process number `index`; descriptors 0: as many as there are. */
void start(struct fixture *f, int index, rlim_t descriptors);
/* It must have lived to the end, and end well. */
void stop(struct fixture *f, int index);

struct answer {
	bool is_ended;  /* END_REQUEST has come */
	bool is_closed; /* then EOF and not a reset */
	size_t len;
	char text[LARGE_ANSWER + 1000]; /* stdout, NUL-terminated */
};
extern struct answer answer;
extern struct packet pairs, request;

int connect_to(const void *address, socklen_t len);
int connect_pool(const struct fixture *f);
/* False when the other side has closed. */
bool send_bytes(int fd, const char *data, size_t len);
bool send_packet(int fd, const struct packet *p);
/* Until the other side closes; closes fd too. */
void receive(int fd);
/* Until END_REQUEST; fd stays open. */
void receive_kept(int fd);
void make_request(int role, const char *uri, const char *body, size_t body_len);
/* The request in `request` asks to keep the connection. */
void set_keep(void);
/* Answered with this part, and closed. */
void assert_answered(const char *part);
void assert_told(const char *part);
void assert_no_answer(void);
/* Another client's whole request: how long it took. */
int64_t ask(struct fixture *f);
uint64_t bad_peers(const struct fixture *f);
void wait_for_bad_peers(const struct fixture *f, uint64_t count);

#endif
