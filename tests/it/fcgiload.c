/*
 * Sends FastCGI authorizer requests to a unix socket and counts the answers.
 *
 *   fcgiload SOCKET THREADS COUNT [RATE] < tokens
 *
 * COUNT requests in all, each on a new connection, with the cookies
 * "sid=TOKEN" of standard input in turn. Ends early on SIGTERM. Prints one
 * JSON object: "answers" by status (0 = no whole answer, -1 = no connection),
 * and latencies in microseconds.
 *
 * Without RATE each thread asks as fast as it is answered. With it request N is
 * due N / RATE seconds after the start, whatever became of those before it, as
 * long as a thread is free; THREADS has to be enough for that. Each request is
 * then told in a line before the object: "DUE SENT DONE STATUS TOKEN",
 * microseconds of CLOCK_MONOTONIC and the token's line number from 0. "late_us"
 * is the latest start, "stall_us" the longest that a thread which only sleeps
 * was kept from running: what the machine, not the gateway, took; "stalls" is
 * when that was more than 20 ms, [BEGIN, END] each.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TOKENS_MAX 100000
#define THREADS_MAX 256
#define STALLS_MAX 1000
#define STALL_MIN_US 20000
#define STATUS_MAX 600
#define TIMEOUT_SECONDS 20

static char *tokens[TOKENS_MAX];
static long tokens_count;
static struct sockaddr_un address;
static atomic_long next_request;
static atomic_long statuses[STATUS_MAX + 1]; /* [0] = -1, [1] = 0, ... */
static long count;
static unsigned *latencies_us;
static double rate; /* 0: as fast as can be */
static double begin_us;
/* With a rate, of each request. */
static struct entry {
	int64_t due_us, sent_us;
	int status;
} * entries;
static long stall_us;
static struct stall {
	int64_t begin_us, end_us;
} stalls[STALLS_MAX];
static size_t stalls_count;
static atomic_int is_over;
static volatile sig_atomic_t stopped;

static void
on_stop(int number)
{
	(void)number;
	stopped = 1;
}

static double
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static size_t
add_pair(unsigned char *out, const char *name, const char *value)
{
	size_t name_len = strlen(name), value_len = strlen(value);

	/* All names and values here are shorter than 128 bytes. */
	out[0] = (unsigned char)name_len;
	out[1] = (unsigned char)value_len;
	memcpy(out + 2, name, name_len);
	memcpy(out + 2 + name_len, value, value_len);
	return 2 + name_len + value_len;
}

static size_t
add_record(unsigned char *out, int type, size_t len)
{
	const unsigned char head[8] = {1, (unsigned char)type, 0, 1,
	    (unsigned char)(len >> 8), (unsigned char)len, 0, 0};

	memcpy(out, head, 8);
	return 8;
}

static size_t
make_request(unsigned char *out, const char *token)
{
	unsigned char params[1024];
	char cookie[160];
	size_t len = 0, at = 0;
	const unsigned char begin[8] = {0, 2, 0, 0, 0, 0, 0, 0};

	snprintf(cookie, sizeof(cookie), "sid=%.100s", token);
	len += add_pair(params + len, "REQUEST_METHOD", "GET");
	len += add_pair(params + len, "REQUEST_URI", "/app/a.cgi?x=1");
	len += add_pair(params + len, "HTTP_HOST", "site.test");
	len += add_pair(params + len, "REMOTE_ADDR", "192.0.2.7");
	len += add_pair(params + len, "HTTP_COOKIE", cookie);
	at += add_record(out + at, 1, 8);
	memcpy(out + at, begin, 8);
	at += 8;
	at += add_record(out + at, 4, len);
	memcpy(out + at, params, len);
	at += len;
	at += add_record(out + at, 4, 0);
	return at;
}

/* The status of the answer, 0 for none, -1 for no connection. */
static int
ask(const unsigned char *request, size_t len)
{
	unsigned char answer[16384];
	const struct timeval timeout = {TIMEOUT_SECONDS, 0};
	size_t got = 0;
	ssize_t n;
	int fd, status = 0;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -1;
	}
	if (send(fd, request, len, MSG_NOSIGNAL) == (ssize_t)len) {
		while (got < sizeof(answer) - 1 &&
		       (n = recv(
			    fd, answer + got, sizeof(answer) - 1 - got, 0)) > 0)
			got += (size_t)n;
		answer[got] = '\0';
		/* One STDOUT record first, its content begins with Status. */
		if (got > 8 + 11 && memcmp(answer + 8, "Status: ", 8) == 0)
			status = atoi((char *)answer + 16);
	}
	close(fd);
	return status > 0 && status < STATUS_MAX ? status : 0;
}

static void
sleep_until(double us)
{
	struct timespec t = {.tv_sec = (time_t)(us / 1e6)};

	t.tv_nsec = (long)((us - (double)t.tv_sec * 1e6) * 1e3);
	while (!stopped && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t,
			       NULL) == EINTR)
		continue;
}

/* When it is due, if there is a rate; false: it will not be sent. */
static int
wait_for_turn(long number)
{
	double due_us = begin_us + (double)number * 1e6 / rate;

	if (rate <= 0)
		return 1;
	sleep_until(due_us);
	entries[number].due_us = (int64_t)due_us;
	return !stopped;
}

static void *
run(void *unused)
{
	unsigned char request[2048];
	double begin;
	long number;
	int status;

	(void)unused;
	while (
	    !stopped && (number = atomic_fetch_add(&next_request, 1)) < count) {
		size_t len =
		    make_request(request, tokens[number % tokens_count]);

		if (!wait_for_turn(number))
			break;
		begin = now_us();
		status = ask(request, len);
		latencies_us[number] = (unsigned)(now_us() - begin);
		if (rate > 0) {
			entries[number].sent_us = (int64_t)begin;
			entries[number].status = status;
		}
		atomic_fetch_add(&statuses[status + 1], 1);
	}
	return NULL;
}

/* How long a thread that has nothing to do is kept from running. */
static void *
watch_machine(void *unused)
{
	(void)unused;
	while (!atomic_load(&is_over)) {
		double due_us = now_us() + 2000;
		long late_us;

		if (stopped)
			usleep(2000);
		else
			sleep_until(due_us);
		late_us = (long)(now_us() - due_us);
		if (late_us > stall_us)
			stall_us = late_us;
		if (late_us > STALL_MIN_US && stalls_count < STALLS_MAX)
			stalls[stalls_count++] =
			    (struct stall){(int64_t)due_us, (int64_t)now_us()};
	}
	return NULL;
}

static void
print_entries(void)
{
	long i, late_us, latest_us = 0;
	size_t j;

	for (i = 0; i < count; i++) {
		const struct entry *e = &entries[i];

		if (e->sent_us == 0)
			continue;
		late_us = (long)(e->sent_us - e->due_us);
		if (late_us > latest_us)
			latest_us = late_us;
		printf("%lld %lld %lld %d %ld\n", (long long)e->due_us,
		    (long long)e->sent_us,
		    (long long)e->sent_us + latencies_us[i], e->status,
		    i % tokens_count);
	}
	printf("{\"late_us\": %ld, \"stall_us\": %ld, \"stalls\": [", latest_us,
	    stall_us);
	for (j = 0; j < stalls_count; j++)
		printf("%s[%lld, %lld]", j == 0 ? "" : ", ",
		    (long long)stalls[j].begin_us, (long long)stalls[j].end_us);
	printf("], ");
}

static int
compare(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return (x > y) - (x < y);
}

static void
print(double seconds)
{
	long done = 0;
	int i, printed = 0;

	if (rate > 0)
		print_entries();
	else
		printf("{");
	printf("\"answers\": {");
	for (i = 0; i <= STATUS_MAX; i++) {
		long n = atomic_load(&statuses[i]);

		done += n;
		if (n != 0)
			printf(
			    "%s\"%d\": %ld", printed++ ? ", " : "", i - 1, n);
	}
	qsort(latencies_us, (size_t)done, sizeof(*latencies_us), compare);
	printf("}, \"count\": %ld, \"per_second\": %.0f, \"p50_us\": %u, "
	       "\"p99_us\": %u, \"max_us\": %u}\n",
	    done, (double)done / seconds, done ? latencies_us[done / 2] : 0,
	    done ? latencies_us[done * 99 / 100] : 0,
	    done ? latencies_us[done - 1] : 0);
}

/* A number that is all of the text and in its range, else -1. */
static long
read_number(const char *text, long max)
{
	char *end;
	long value = strtol(text, &end, 10);

	return *end == '\0' && value >= 1 && value <= max ? value : -1;
}

static int
run_all(long threads_count)
{
	pthread_t threads[THREADS_MAX], watcher;
	long i;

	begin_us = now_us();
	if (rate > 0 &&
	    pthread_create(&watcher, NULL, watch_machine, NULL) != 0)
		return 1;
	for (i = 0; i < threads_count; i++)
		if (pthread_create(&threads[i], NULL, run, NULL) != 0)
			return 1;
	for (i = 0; i < threads_count; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&is_over, 1);
	if (rate > 0)
		pthread_join(watcher, NULL);
	print((now_us() - begin_us) / 1e6);
	return 0;
}

int
main(int argc, char **argv)
{
	char line[256];
	long i, threads_count;
	struct sigaction action = {.sa_handler = on_stop};

	if (argc < 4 || argc > 5 ||
	    strlen(argv[1]) >= sizeof(address.sun_path) ||
	    (threads_count = read_number(argv[2], THREADS_MAX)) < 0 ||
	    (count = read_number(argv[3], 100000000)) < 0 ||
	    (argc == 5 && (rate = (double)read_number(argv[4], 100000)) < 0)) {
		fprintf(stderr, "usage: fcgiload SOCKET THREADS COUNT [RATE] "
				"< tokens\n");
		return 2;
	}
	address.sun_family = AF_UNIX;
	memcpy(address.sun_path, argv[1], strlen(argv[1]) + 1);
	while (tokens_count < TOKENS_MAX && fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		tokens[tokens_count] = strdup(line);
		if (tokens[tokens_count++] == NULL)
			return 1;
	}
	latencies_us = calloc((size_t)count, sizeof(*latencies_us));
	if (rate > 0)
		entries = calloc((size_t)count, sizeof(*entries));
	if (tokens_count == 0 || latencies_us == NULL ||
	    (rate > 0 && entries == NULL)) {
		fprintf(stderr, "fcgiload: no tokens, or no memory\n");
		return 1;
	}
	sigaction(SIGTERM, &action, NULL);
	if (run_all(threads_count) != 0)
		return 1;
	for (i = 0; i < tokens_count; i++)
		free(tokens[i]);
	free(latencies_us);
	free(entries);
	return 0;
}
