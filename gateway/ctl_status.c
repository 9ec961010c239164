/*
 * sessgatectl status and stats; status --watch: how fast what goes, each
 * second, from the difference of two answers.
 */
#include "config.h"

#include "ctl.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define WATCH_PERIOD_MS 1000
/* Lines between two headings. */
#define WATCH_HEADING_EVERY 20

/* ---- until interrupted ---- */

static volatile sig_atomic_t is_interrupted;

static void
on_interrupt(int number)
{
	(void)number;
	is_interrupted = 1;
}

void
ctl_catch_interrupt(void)
{
	struct sigaction action = {.sa_handler = on_interrupt};

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool
ctl_is_interrupted(void)
{
	return is_interrupted != 0;
}

bool
ctl_sleep(int64_t ms)
{
	int64_t until_ms = clock_monotonic_ms() + ms;
	struct timespec t;
	int left_ms;

	while (!is_interrupted && (left_ms = clock_left_ms(until_ms)) > 0) {
		if (left_ms > 50)
			left_ms = 50; /* a signal may come before the sleep */
		t = (struct timespec){
		    .tv_sec = 0, .tv_nsec = left_ms * 1000000L};
		nanosleep(&t, NULL);
	}
	return !is_interrupted;
}

/* ---- what is asked ---- */

/* The keeper answers when all workers hang; the workers when it is replaced. */
static enum ctl_exit
ask_status(struct ctl *ctl, const char *route, struct ctl_reply *reply)
{
	struct ctl_request request;
	enum ctl_exit code;

	ctl_request_init(&request, "GET", route);
	request.socket = CTL_KEEPER;
	request.is_quiet = true;
	code = ctl_ask(ctl, &request, reply);
	if (code == CTL_UNAVAILABLE && reply->status == 0) {
		ctl_reply_clear(reply);
		request.socket = CTL_CONTROL;
		request.is_quiet = false;
		code = ctl_ask(ctl, &request, reply);
	}
	ctl_request_clear(&request);
	return code;
}

static enum ctl_exit
status_once(struct ctl *ctl, const char *route)
{
	struct ctl_reply reply;
	enum ctl_exit code = ask_status(ctl, route, &reply);

	ctl->now_ms = clock_utc_ms();
	if (code == CTL_YES)
		code = ctl_print_object(ctl, &reply);
	ctl_reply_clear(&reply);
	return code;
}

/* ---- watching ---- */

static const char *const watched[] = {"check_allowed", "check_denied",
    "check_unavailable", "created", "changed", "ended"};
static const char *const watched_stores[] = {
    "served_local", "served_cache", "served_durable"};
#define WATCHED (sizeof(watched) / sizeof(watched[0]))
#define WATCHED_ALL                                                            \
	(WATCHED + sizeof(watched_stores) / sizeof(watched_stores[0]))

struct watch {
	int64_t counts[WATCHED_ALL];
	int64_t at_ms; /* monotonic; 0: none yet */
	unsigned lines;
	bool is_terminal;
};

static void
read_counts(const struct data *status, int64_t out[WATCHED_ALL])
{
	const struct data *counters = data_get_object(status, "counters");
	const struct data *stores = data_get_object(status, "stores");
	size_t i;

	for (i = 0; i < WATCHED_ALL; i++) {
		out[i] = 0;
		if (i < WATCHED && counters != NULL)
			data_get_integer(counters, watched[i], &out[i]);
		else if (i >= WATCHED && stores != NULL)
			data_get_integer(
			    stores, watched_stores[i - WATCHED], &out[i]);
	}
}

static unsigned
count_workers(const struct data *status, const char *state)
{
	size_t i, count = data_array_count(status, "workers");
	unsigned found = 0;

	for (i = 0; i < count; i++) {
		const struct data *worker =
		    data_array_object(status, "workers", i);

		found +=
		    worker != NULL &&
		    (state == NULL ||
			bytes_equal_text(ctl_member(worker, "state"), state));
	}
	return found;
}

static void
add_store_state(struct buf *out, const struct data *status, const char *key)
{
	const struct data *store = data_get_object(status, key);
	struct sgate_bytes breaker;
	bool is_up = false;

	if (store == NULL)
		return;
	if (out->len > 0)
		buf_add_char(out, ' ');
	ctl_add_clean(out, ctl_member(store, "name"));
	breaker = ctl_member(store, "breaker");
	if (!data_get_bool(store, "up", &is_up))
		buf_add_text(out, "=?");
	else if (!is_up)
		buf_add_text(out, "=down");
	else if (breaker.len > 0 && !bytes_equal_text(breaker, "closed"))
		buf_printf(out, "=%.*s", (int)breaker.len, breaker.data);
	else
		buf_add_text(out, "=up");
}

/* A second, rounded. */
static long long
rate(int64_t before, int64_t now, int64_t ms)
{
	return ms <= 0 || now < before
		   ? 0
		   : (long long)(((now - before) * 1000 + ms / 2) / ms);
}

static void
print_figures(
    struct watch *watch, const struct data *status, const int64_t *counts)
{
	int64_t ms = clock_monotonic_ms() - watch->at_ms, looks = 0, hits;
	struct buf stores = {0};
	char hit_text[24] = "-", at[25];
	size_t i;

	add_store_state(&stores, status, "durable");
	add_store_state(&stores, status, "cache");
	for (i = WATCHED; i < WATCHED_ALL; i++)
		looks += counts[i] - watch->counts[i];
	hits = counts[WATCHED] - watch->counts[WATCHED];
	if (looks > 0 && hits >= 0)
		snprintf(hit_text, sizeof(hit_text), "%lld%%",
		    (long long)(hits * 100 / looks));
	if (watch->is_terminal || watch->lines++ % WATCH_HEADING_EVERY == 0)
		printf(
		    "TIME      ALLOWED/S  DENIED/S  503/S  LOCAL  CREATED/S  "
		    "CHANGED/S  ENDED/S  BUSY   STORES\n");
	clock_text(clock_utc_ms(), at);
	printf("%.8s  %9lld  %8lld  %5lld  %5s  %9lld  %9lld  %7lld  "
	       "%2u/%-3u %s\n",
	    at + 11, rate(watch->counts[0], counts[0], ms),
	    rate(watch->counts[1], counts[1], ms),
	    rate(watch->counts[2], counts[2], ms), hit_text,
	    rate(watch->counts[3], counts[3], ms),
	    rate(watch->counts[4], counts[4], ms),
	    rate(watch->counts[5], counts[5], ms),
	    count_workers(status, "busy"), count_workers(status, NULL),
	    buf_text(&stores));
	buf_clear(&stores);
}

/* What is wrong, in words, below the figures of a terminal. */
static void
print_problems(const struct data *status)
{
	struct sgate_bytes *items = NULL;
	size_t i, count = 0;
	struct buf text = {0};

	if (data_get_strings(status, "problems", &items, &count)) {
		for (i = 0; i < count; i++) {
			buf_add_text(&text, "! ");
			ctl_add_clean(&text, items[i]);
			buf_add_char(&text, '\n');
		}
	}
	printf("\n%s", count == 0 ? "All is well.\n" : buf_text(&text));
	free(items);
	buf_clear(&text);
}

static enum ctl_exit
watch_once(struct ctl *ctl, struct watch *watch)
{
	struct ctl_reply reply;
	enum ctl_exit code = ask_status(ctl, "v1/status", &reply);
	int64_t counts[WATCHED_ALL];

	if (code == CTL_YES && ctl->json) {
		code = ctl_print_object(ctl, &reply);
	} else if (code == CTL_YES) {
		read_counts(reply.data, counts);
		/* Home, and clear what is below: ECMA-48. */
		if (watch->is_terminal)
			fputs("\033[H\033[J", stdout);
		if (watch->at_ms != 0)
			print_figures(watch, reply.data, counts);
		if (watch->is_terminal)
			print_problems(reply.data);
		memcpy(watch->counts, counts, sizeof(counts));
		watch->at_ms = clock_monotonic_ms();
	}
	ctl_reply_clear(&reply);
	return code;
}

/* One that does not answer may do so later: said, and asked again. */
static enum ctl_exit
watch_on(struct ctl *ctl)
{
	struct watch watch = {
	    .is_terminal = isatty(STDOUT_FILENO) == 1 && !ctl->json};
	enum ctl_exit code;

	ctl_catch_interrupt();
	do {
		code = watch_once(ctl, &watch);
		if (code == CTL_USAGE || fflush(stdout) != 0 || ferror(stdout))
			return code;
	} while (ctl_sleep(WATCH_PERIOD_MS));
	return CTL_YES;
}

enum ctl_exit
ctl_status(struct ctl *ctl)
{
	return ctl_args_has(&ctl->args, "watch")
		   ? watch_on(ctl)
		   : status_once(ctl, "v1/status");
}

enum ctl_exit
ctl_stats(struct ctl *ctl)
{
	return status_once(ctl, "v1/stats");
}
