/*
 * The tracker's two connections to Redis: tracking.h. They are made as those of
 * the cache are (cache_redis.c: address, login, Sentinel's master), and then
 * spoken on here, where nothing may wait for one answer.
 */
#include "config.h"

#include "tracking.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cache_redis.h"
#include "cache_redis_push.h"
#include "clock.h"
#include "failpoint.h"
#include "record.h"
#include "status.h"

#define OPERATION "listen"
#define READ_BYTES (16 * 1024)
/* What is read before anything else gets its turn: 1 MiB. */
#define READS_MAX 64
#define PINGS_A_LEASE 4
#define QUESTIONS_MAX 1024
/* For a second connection, while the first has to wait; and the pause after one
 * that could not be made. */
#define ASKER_CONNECT_MS 20
#define ASKER_AGAIN_MS 1000

/* Who asks: the second connection. */
struct asker {
	struct cache *redis;
	int fd; /* -1: there is none */
	struct heads *heads;
	struct buf out;
	size_t sent;
	/* Asked and not answered, in a ring. */
	struct tracking_question open[QUESTIONS_MAX];
	size_t first, count;
	int64_t answer_by_ms; /* monotonic, the next one */
	int64_t not_before_ms;
};

struct tracking {
	const struct sgate_conf *conf;
	const struct place *at;
	int64_t lease_ms;
	struct tracking_hooks hooks;
	struct cache *redis;
	uint64_t generation; /* of the place */
	int fd;              /* -1: not connected */
	struct push *push;
	/* All clock_boot_ms(). */
	uint64_t pings;    /* sent; the last one's number */
	int64_t ping_ms;   /* when it was */
	int64_t before_ms; /* when the one before it was */
	int64_t proved_ms; /* told up to there; before that, connected */
	bool is_ping_open;
	struct asker asker;
};

static enum sgate_status
failed(const struct tracking *t, const char *what, struct sgate_error *err)
{
	return error_set(err, SGATE_UNAVAILABLE, REDB_SOURCE, OPERATION, 0,
	    "%.100s: %s", redb_peer(t->redis), what);
}

static int
earlier(int a_ms, int64_t b_ms)
{
	if (b_ms <= 0)
		return 0;
	return b_ms < a_ms ? (int)b_ms : a_ms;
}

/* ---- asking ---- */

static void
asker_close(struct asker *a)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
	heads_free(a->heads);
	a->heads = NULL;
	buf_reset(&a->out);
	a->sent = 0;
	a->first = a->count = 0;
}

static void
take_head(void *arg, const struct tracking_head *head)
{
	struct tracking *t = arg;
	struct asker *a = &t->asker;
	struct tracking_question question;

	/* An answer that nobody asked for: heads_feed() goes on, and
	 * asker_read() gives it up. */
	if (a->count == 0) {
		a->first = QUESTIONS_MAX;
		return;
	}
	question = a->open[a->first];
	a->first = (a->first + 1) % QUESTIONS_MAX;
	a->count--;
	a->answer_by_ms = clock_monotonic_ms() + t->conf->redis.timeout_ms;
	t->hooks.found(t->hooks.arg, &question, head);
}

static void
asker_connect(struct tracking *t)
{
	struct asker *a = &t->asker;
	int64_t now_ms = clock_monotonic_ms();
	struct sgate_error ignored;

	if (a->fd >= 0 || now_ms < a->not_before_ms)
		return;
	a->redis->deadline_ms =
	    now_ms + earlier(ASKER_CONNECT_MS, t->conf->redis.timeout_ms);
	if (a->redis->ops->ping(a->redis, &ignored) == SGATE_OK) {
		a->heads = heads_new(take_head, t);
		a->fd = redb_take_socket(a->redis);
	}
	if (a->fd >= 0 && a->heads != NULL)
		return;
	asker_close(a);
	a->not_before_ms = now_ms + ASKER_AGAIN_MS;
}

static void
add_question(
    struct buf *out, const struct cache *redis, const struct sgate_ref *ref)
{
	redb_add_command(out, 4);
	redb_add_word(out, bytes_of("GETRANGE"));
	redb_add_record_key(out, redis, ref);
	redb_add_number(out, 0);
	redb_add_number(out, RECORD_BODY_OFFSET - 1);
}

bool
tracking_ask(struct tracking *t, const struct tracking_question *question)
{
	struct asker *a = &t->asker;

	if (a->fd < 0 || a->count == QUESTIONS_MAX)
		return false;
	if (a->count == 0)
		a->answer_by_ms =
		    clock_monotonic_ms() + t->conf->redis.timeout_ms;
	add_question(&a->out, a->redis, &question->ref);
	a->open[(a->first + a->count++) % QUESTIONS_MAX] = *question;
	return true;
}

/* False: the connection is of no use any more. */
static bool
asker_write(struct asker *a)
{
	ssize_t n;

	if (buf_failed(&a->out))
		return false;
	while (a->sent < a->out.len) {
		n = send(a->fd, a->out.data + a->sent, a->out.len - a->sent,
		    MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		a->sent += (size_t)n;
	}
	buf_reset(&a->out);
	a->sent = 0;
	return true;
}

static bool
asker_read(struct asker *a)
{
	char bytes[READ_BYTES];
	ssize_t n = recv(a->fd, bytes, sizeof(bytes), 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	return n > 0 && heads_feed(a->heads, bytes, (size_t)n) == NULL &&
	       a->first < QUESTIONS_MAX;
}

/* A late answer could be taken for that of the next question. */
static void
asker_step(struct tracking *t, short revents)
{
	struct asker *a = &t->asker;
	bool is_good = a->fd >= 0;

	if (is_good && (revents & (POLLIN | POLLHUP | POLLERR)) != 0)
		is_good = asker_read(a);
	if (is_good && a->count > 0 && clock_left_ms(a->answer_by_ms) == 0)
		is_good = false;
	if (is_good && asker_write(a))
		return;
	if (a->fd >= 0) {
		asker_close(a);
		a->not_before_ms = clock_monotonic_ms() + ASKER_AGAIN_MS;
	}
	asker_connect(t);
}

/* ---- listening: connect ---- */

struct begin {
	const struct cache *redis;
	long long id;
};

static void
compose_id(struct buf *out, void *arg, bool is_whole)
{
	(void)arg;
	(void)is_whole;
	redb_add_command(out, 2);
	redb_add_word(out, bytes_of("CLIENT"));
	redb_add_word(out, bytes_of("ID"));
}

static bool
take_id(void *arg, size_t index, const struct redb_reply *reply)
{
	struct begin *begin = arg;

	(void)index;
	begin->id = reply->values[0].number;
	return !reply->is_list && reply->values[0].type == REDB_INTEGER;
}

static void
compose_tracking(struct buf *out, void *arg, bool is_whole)
{
	const struct begin *begin = arg;
	char prefix[80];
	unsigned group;

	(void)is_whole;
	redb_add_command(out, 6 + 2 * TOKEN_GROUPS);
	redb_add_word(out, bytes_of("CLIENT"));
	redb_add_word(out, bytes_of("TRACKING"));
	redb_add_word(out, bytes_of("ON"));
	redb_add_word(out, bytes_of("REDIRECT"));
	redb_add_number(out, begin->id);
	redb_add_word(out, bytes_of("BCAST"));
	for (group = 0; group < TOKEN_GROUPS; group++) {
		snprintf(prefix, sizeof(prefix),
		    "%s:{%u}:s:", redb_prefix(begin->redis), group);
		redb_add_word(out, bytes_of("PREFIX"));
		redb_add_word(out, bytes_of(prefix));
	}
}

static bool
take_tracking(void *arg, size_t index, const struct redb_reply *reply)
{
	(void)arg;
	(void)index;
	return !reply->is_list && reply->values[0].type == REDB_STATUS;
}

/* A few bytes on a connection that takes them at once, or is none. */
static bool
say(const struct tracking *t, const char *word, const char *argument)
{
	struct buf out = {0};
	bool is_sent;

	redb_add_command(&out, 2);
	redb_add_word(&out, bytes_of(word));
	redb_add_word(&out, bytes_of(argument));
	is_sent = !buf_failed(&out) && send(t->fd, out.data, out.len,
					   MSG_NOSIGNAL) == (ssize_t)out.len;
	buf_clear(&out);
	return is_sent;
}

/* What is there. SGATE_UNAVAILABLE: that was the end. *out_is_empty: there was
 * nothing. */
static enum sgate_status
receive(struct tracking *t, bool *out_is_empty, struct sgate_error *err)
{
	char bytes[READ_BYTES];
	ssize_t n = recv(t->fd, bytes, sizeof(bytes), 0);
	const char *wrong;

	*out_is_empty = n < 0 && (errno == EAGAIN || errno == EINTR);
	if (*out_is_empty)
		return SGATE_OK;
	if (n < 0)
		return failed(t, strerror(errno), err);
	if (n == 0)
		return failed(t, "it closed the connection", err);
	wrong = push_feed(t->push, bytes, (size_t)n);
	return wrong == NULL ? SGATE_OK : failed(t, wrong, err);
}

static enum sgate_status
subscribe(struct tracking *t, struct sgate_error *err)
{
	struct pollfd poller = {.fd = t->fd, .events = POLLIN};
	enum sgate_status status = SGATE_OK;
	bool is_empty;

	if (!say(t, "SUBSCRIBE", TRACKING_CHANNEL))
		return failed(t, "it closed the connection", err);
	while (status == SGATE_OK && !push_is_subscribed(t->push)) {
		if (clock_left_ms(t->redis->deadline_ms) == 0)
			return failed(t, "no answer in time", err);
		poll(&poller, 1, clock_left_ms(t->redis->deadline_ms));
		status = receive(t, &is_empty, err);
	}
	return status;
}

/* The connection of the cache's kind, till it tracks. */
static enum sgate_status
ask_to_track(struct cache *redis, struct sgate_error *err)
{
	struct begin begin = {redis, 0};
	const struct redb_question questions[] = {
	    {OPERATION, 1, compose_id, take_id, &begin},
	    {OPERATION, 1, compose_tracking, take_tracking, &begin}};
	enum sgate_status status = redb_ask(redis, &questions[0], err);

	return status == SGATE_OK ? redb_ask(redis, &questions[1], err)
				  : status;
}

static uint64_t
generation_of(const struct tracking *t)
{
	struct place_address ignored;
	uint64_t generation = 0;

	if (t->at != NULL)
		place_get(t->at, &ignored, &generation);
	return generation;
}

enum sgate_status
tracking_connect(struct tracking *t, struct sgate_error *err)
{
	enum sgate_status status;

	tracking_disconnect(t);
	error_clear(err);
	/* What changes later than here is noticed. */
	t->generation = generation_of(t);
	t->redis->deadline_ms =
	    clock_monotonic_ms() +
	    earlier((int)t->lease_ms, t->conf->redis.timeout_ms);
	status = ask_to_track(t->redis, err);
	if (status != SGATE_OK)
		return status;
	t->fd = redb_take_socket(t->redis);
	t->push = push_new(t->conf->redis.prefix, &t->hooks);
	if (t->push == NULL)
		status = error_memory(err, OPERATION);
	else
		status = subscribe(t, err);
	if (status != SGATE_OK) {
		tracking_disconnect(t);
		return status;
	}
	t->pings = 0;
	t->is_ping_open = false;
	t->proved_ms = clock_boot_ms();
	t->asker.not_before_ms = 0;
	asker_connect(t);
	return SGATE_OK;
}

bool
tracking_is_connected(const struct tracking *t)
{
	return t->fd >= 0;
}

void
tracking_disconnect(struct tracking *t)
{
	int fd = redb_take_socket(t->redis);

	/* One that was refused half-way tracks, perhaps. */
	if (fd >= 0)
		close(fd);
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	push_free(t->push);
	t->push = NULL;
	asker_close(&t->asker);
}

/* ---- listening ---- */

/* The first two follow each other: only the second one's PONG proves anything.
 */
static int64_t
ping_due_ms(const struct tracking *t)
{
	if (t->is_ping_open)
		return INT64_MAX;
	return t->pings < 2 ? 0 : t->ping_ms + t->lease_ms / PINGS_A_LEASE;
}

static enum sgate_status
ping(struct tracking *t, struct sgate_error *err)
{
	char number[24];

	if (clock_boot_ms() < ping_due_ms(t))
		return SGATE_OK;
	t->before_ms = t->ping_ms;
	t->ping_ms = clock_boot_ms();
	t->is_ping_open = true;
	snprintf(
	    number, sizeof(number), "%llu", (unsigned long long)++t->pings);
	return say(t, "PING", number)
		   ? SGATE_OK
		   : failed(t, "it takes nothing any more", err);
}

/* What stood before it has been told: this is what PING k-1 is good for. */
static enum sgate_status
take_pong(struct tracking *t, struct sgate_error *err)
{
	bool by_itself = failpoint_is_off("track-ping");
	uint64_t pong = push_take_pong(t->push);

	if (pong == 0)
		return SGATE_OK;
	if (!t->is_ping_open || pong != t->pings)
		return failed(t, "it answers a PING that was not sent", err);
	t->is_ping_open = false;
	if (t->pings < 2 && !by_itself)
		return SGATE_OK;
	t->proved_ms = by_itself ? t->ping_ms : t->before_ms;
	t->hooks.proved(t->hooks.arg, t->proved_ms);
	return SGATE_OK;
}

static enum sgate_status
listen_to(struct tracking *t, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	bool is_empty = false;
	int reads;

	for (reads = 0; reads < READS_MAX && !is_empty; reads++) {
		status = receive(t, &is_empty, err);
		if (status == SGATE_OK)
			status = take_pong(t, err);
		if (status != SGATE_OK)
			return status;
	}
	return status;
}

/* After what was there has been read: who was kept from reading is not late. */
static enum sgate_status
check(const struct tracking *t, struct sgate_error *err)
{
	if (generation_of(t) != t->generation)
		return failed(t, "it is not the master any more", err);
	if (clock_boot_ms() >= t->proved_ms + t->lease_ms)
		return failed(t, "no answer in time", err);
	return SGATE_OK;
}

/* Till the next PING, the end of the lease, or of an answer's time. */
static int
wait_ms(const struct tracking *t, int max_ms)
{
	int64_t now_ms = clock_boot_ms();
	int64_t due_ms = ping_due_ms(t);
	int ms = earlier(max_ms, t->proved_ms + t->lease_ms - now_ms);

	if (due_ms != INT64_MAX)
		ms = earlier(ms, due_ms - now_ms);
	if (t->asker.count > 0)
		ms = earlier(ms, clock_left_ms(t->asker.answer_by_ms));
	return ms;
}

static enum sgate_status
step(struct tracking *t, int max_ms, const sigset_t *mask,
    struct sgate_error *err)
{
	struct pollfd pollers[2] = {{.fd = t->fd, .events = POLLIN},
	    {.fd = t->asker.fd, .events = POLLIN}};
	enum sgate_status status = ping(t, err);
	struct timespec limit = {0};
	int ms;

	if (status != SGATE_OK)
		return status;
	ms = wait_ms(t, max_ms);
	limit.tv_sec = ms / 1000;
	limit.tv_nsec = (long)(ms % 1000) * 1000000;
	if (t->asker.sent < t->asker.out.len)
		pollers[1].events |= POLLOUT;
	if (ppoll(pollers, 2, &limit, mask) < 0)
		return errno == EINTR ? SGATE_OK
				      : failed(t, strerror(errno), err);
	if (pollers[0].revents != 0)
		status = listen_to(t, err);
	if (status == SGATE_OK)
		status = check(t, err);
	if (status == SGATE_OK)
		asker_step(t, pollers[1].revents);
	return status;
}

enum sgate_status
tracking_wait(struct tracking *t, int max_ms, const sigset_t *mask,
    struct sgate_error *err)
{
	enum sgate_status status;

	error_clear(err);
	if (t->fd < 0)
		return failed(t, "not connected", err);
	status = step(t, max_ms, mask, err);
	if (status != SGATE_OK)
		tracking_disconnect(t);
	return status;
}

/* ---- doctor ---- */

static void
compose_head(struct buf *out, void *arg, bool is_whole)
{
	static const struct sgate_ref nobody;
	const struct cache *redis = arg;

	(void)is_whole;
	add_question(out, redis, &nobody);
}

static bool
take_text(void *arg, size_t index, const struct redb_reply *reply)
{
	(void)arg;
	(void)index;
	return !reply->is_list && reply->values[0].type == REDB_TEXT;
}

static void
compose_subscribe(struct buf *out, void *arg, bool is_whole)
{
	(void)arg;
	(void)is_whole;
	redb_add_command(out, 2);
	redb_add_word(out, bytes_of("SUBSCRIBE"));
	redb_add_word(out, bytes_of(TRACKING_CHANNEL));
}

static bool
take_list(void *arg, size_t index, const struct redb_reply *reply)
{
	(void)arg;
	(void)index;
	return reply->is_list;
}

/* It subscribes without tracking: nothing comes between. */
enum sgate_status
redb_try_listening(struct cache *c, struct sgate_error *err)
{
	const struct redb_question head = {
	    OPERATION, 1, compose_head, take_text, c};
	const struct redb_question subscribe = {
	    OPERATION, 1, compose_subscribe, take_list, c};
	enum sgate_status status = redb_ask(c, &head, err);
	int fd;

	if (status == SGATE_OK)
		status = ask_to_track(c, err);
	fd = redb_take_socket(c);
	if (fd >= 0)
		close(fd);
	if (status == SGATE_OK)
		status = redb_ask(c, &subscribe, err);
	fd = redb_take_socket(c);
	if (fd >= 0)
		close(fd);
	return status;
}

/* ---- new and free ---- */

enum sgate_status
tracking_new(const struct sgate_conf *conf, const struct place *at,
    int64_t lease_ms, const struct tracking_hooks *hooks, struct tracking **out,
    struct sgate_error *err)
{
	struct tracking *t = calloc(1, sizeof(*t));
	enum sgate_status status;

	*out = NULL;
	if (t == NULL)
		return error_memory(err, OPERATION);
	t->conf = conf;
	t->at = at;
	t->lease_ms = lease_ms;
	t->hooks = *hooks;
	t->fd = t->asker.fd = -1;
	status = redb_open(conf, &t->redis, err);
	if (status == SGATE_OK)
		status = redb_open(conf, &t->asker.redis, err);
	if (status != SGATE_OK) {
		tracking_free(t);
		return status;
	}
	t->redis->at = t->asker.redis->at = at;
	*out = t;
	return SGATE_OK;
}

void
tracking_free(struct tracking *t)
{
	if (t == NULL)
		return;
	if (t->redis != NULL)
		tracking_disconnect(t);
	redb_close(t->redis);
	redb_close(t->asker.redis);
	buf_clear(&t->asker.out);
	free(t);
}
