/* A worker's life: how it starts, what ends it, and with which status. */
#include "config.h"

#include "counted.h"
#include "worker.h"

#include "clock.h"
#include "keys.h"
#include "log.h"
#include "serve.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "packet.h"
#include "tap.h"

#define PATIENCE_MS 10000
#define MAX_REQUESTS 100

const char serve_unavailable[] = "Status: 503 Service Unavailable\r\n\r\n";

void
serve(
    struct gateway *gw, const struct serve_input *input, struct buf *out_answer)
{
	(void)input;
	buf_add_text(out_answer,
	    gw->mgr != NULL ? "Status: 200 OK\r\n\r\n" : serve_unavailable);
}

struct fixture {
	char dir[64], keys_path[128];
	struct sgate_conf *conf;
	struct shared *shared;
	struct conf_listener listener_conf;
	struct listener item;
	struct listeners listeners;
	struct sockaddr_un address;
	pid_t pid;
};

static struct packet pairs, request;

static void
load_conf(struct fixture *f, const char *max_requests)
{
	char runtime_dir[128], keys_file[160], sqlite_file[160];
	const char *const overrides[] = {runtime_dir, keys_file, sqlite_file,
	    max_requests, "gateway.read_timeout=300 ms", NULL};
	struct sgate_error err;

	snprintf(
	    runtime_dir, sizeof(runtime_dir), "gateway.runtime_dir=%s", f->dir);
	snprintf(keys_file, sizeof(keys_file), "keys.file=%s", f->keys_path);
	snprintf(sqlite_file, sizeof(sqlite_file), "sqlite.file=%s/db", f->dir);
	if (sgate_conf_load(NULL, overrides, &f->conf, &err) != SGATE_OK)
		fail_msg("%s", err.text);
}

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sgate_error err;

	assert_non_null(f);
	strcpy(f->dir, "/tmp/sessgate-worker.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->keys_path, sizeof(f->keys_path), "%s/keys", f->dir);
	assert_int_equal(
	    keys_create(f->keys_path, clock_utc_ms(), &err), SGATE_OK);
	assert_int_equal(shared_create(f->dir, &f->shared, &err), SGATE_OK);
	load_conf(f, "gateway.max_requests=0");
	f->listener_conf.allow = CONF_ALLOW_CHECK;
	f->item.conf = &f->listener_conf;
	f->listeners.items = &f->item;
	f->listeners.count = 1;
	f->address.sun_family = AF_UNIX;
	snprintf(f->address.sun_path, sizeof(f->address.sun_path), "%s/pool",
	    f->dir);
	f->item.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(f->item.fd, (struct sockaddr *)&f->address,
			     sizeof(f->address)),
	    0);
	assert_int_equal(listen(f->item.fd, 200), 0);
	pairs.len = 0;
	packet_pair(&pairs, "REQUEST_URI", "/");
	packet_request(&request, AUTHORIZER, &pairs, "", 0);
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	close(f->item.fd);
	unlink(f->address.sun_path);
	unlink(f->keys_path);
	shared_close(f->shared);
	shared_remove(f->dir);
	sgate_conf_free(f->conf);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static int
run(struct fixture *f, pid_t master_pid)
{
	struct process_args args = {
	    .conf = f->conf,
	    .shared = f->shared,
	    .listeners = &f->listeners,
	    .index = 3,
	    .master_pid = master_pid,
	};

	return worker_run(&args);
}

static struct shared_worker *
row(struct fixture *f)
{
	return &f->shared->workers[3];
}

static void
wait_for_state(struct fixture *f, int state)
{
	int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;

	while (row(f)->state != state) {
		assert_true(clock_left_ms(until_ms) > 0);
		usleep(1000);
	}
}

static void
start(struct fixture *f)
{
	pid_t master_pid = getpid();

	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0)
		_exit(run(f, master_pid));
	wait_for_state(f, SHARED_IDLE);
	assert_int_equal(row(f)->pid, f->pid);
}

/* Its exit status; -1 when a signal ended it. */
static int
wait_for_end(struct fixture *f)
{
	int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;
	int status;

	while (waitpid(f->pid, &status, WNOHANG) == 0) {
		assert_true(clock_left_ms(until_ms) > 0);
		usleep(1000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Whether there was a whole answer. */
static bool
ask(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct timeval limit = {.tv_sec = 2};
	char reply[4096];
	ssize_t n, len = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(
	    connect(fd, (struct sockaddr *)&f->address, sizeof(f->address)), 0);
	send(fd, request.data, request.len, MSG_NOSIGNAL);
	while ((n = recv(fd, reply + len, sizeof(reply) - (size_t)len, 0)) > 0)
		len += n;
	close(fd);
	return n == 0 && len > 8 &&
	       memmem(reply, (size_t)len, "Status: 200 OK", 14) != NULL;
}

static void
it_serves_counts_and_ends_when_told(void **state)
{
	struct fixture *f = *state;
	int i;

	start(f);
	for (i = 0; i < 50; i++)
		assert_true(ask(f));
	assert_int_equal(row(f)->requests, 50);
	assert_int_equal(counted(f->shared, TALLY_REQUESTS), 50);
	assert_true(row(f)->started_ms > 0);
	kill(f->pid, SIGTERM);
	assert_int_equal(wait_for_end(f), EXIT_DONE);
	assert_int_equal(row(f)->state, SHARED_STOPPING);
}

static void
signals_to_the_whole_group_are_the_masters(void **state)
{
	static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2,
	    SIGTTIN, SIGTTOU, SIGPIPE};
	struct fixture *f = *state;
	size_t i;

	start(f);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		kill(f->pid, numbers[i]);
	assert_true(ask(f));
	kill(f->pid, SIGTERM);
	assert_int_equal(wait_for_end(f), EXIT_DONE);
}

static void
it_ends_near_max_requests(void **state)
{
	struct fixture *f = *state;
	int served = 0;

	sgate_conf_free(f->conf);
	load_conf(f, "gateway.max_requests=100");
	start(f);
	while (row(f)->state != SHARED_STOPPING && served < 200)
		served += ask(f);
	assert_int_equal(wait_for_end(f), EXIT_DONE);
	assert_in_range(row(f)->requests, MAX_REQUESTS * 9 / 10,
	    MAX_REQUESTS * 11 / 10 + 1);
}

static void
the_end_of_the_instance_or_of_the_master_ends_it(void **state)
{
	struct fixture *f = *state;

	start(f);
	atomic_store(&f->shared->stopping, 1);
	assert_int_equal(wait_for_end(f), EXIT_DONE);

	atomic_store(&f->shared->stopping, 0);
	atomic_store(&row(f)->state, SHARED_FREE);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0)
		_exit(run(f, 1)); /* its parent is not that one */
	assert_int_equal(wait_for_end(f), EXIT_DONE);
}

static void
without_a_key_file_it_cannot_run_and_says_why(void **state)
{
	struct fixture *f = *state;
	char log_path[160], destination[170], line[512] = "";
	FILE *file;

	snprintf(log_path, sizeof(log_path), "%s/log", f->dir);
	snprintf(destination, sizeof(destination), "file:%s", log_path);
	unlink(f->keys_path);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0) {
		log_open(destination, LOG_LEVEL_NOTICE);
		_exit(run(f, getppid()));
	}
	assert_int_equal(wait_for_end(f), EXIT_CANNOT_RUN);
	file = fopen(log_path, "r");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	fclose(file);
	unlink(log_path);
	assert_non_null(strstr(line, "error worker 3: cannot start: "));
	assert_non_null(strstr(line, f->keys_path));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest worker_tests[] = {
    TEST(it_serves_counts_and_ends_when_told),
    TEST(signals_to_the_whole_group_are_the_masters),
    TEST(it_ends_near_max_requests),
    TEST(the_end_of_the_instance_or_of_the_master_ends_it),
    TEST(without_a_key_file_it_cannot_run_and_says_why),
};

TAP_MAIN(worker_tests)
