/*
 * What a Redis or a Sentinel replies to what it is asked, over connections to a
 * thread that says the input and closes.
 *
 *   byte 0   what is asked, see `questions`
 *   byte 1   bit 0: the rest is what a server would say, made from it, else it
 *            is said as it is; the others: how it is cut into pieces
 *
 * - What was answered is within its bounds; after an error there is nothing.
 * - What was understood whole is understood in pieces, and is the same.
 * - What a server says is told as it is: a slow reader says the same of INFO.
 */
#include "config.h"

#include "fuzz.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "cache.h"
#include "clock.h"
#include "token.h"

#define GROUP 3

/* ---- the servers ---- */

enum { REDIS, SENTINEL, MASTER, SERVERS };

struct servers {
	int listeners[SERVERS]; /* Redis on a unix socket, the others TCP */
	struct sockaddr_in at[SERVERS];
	char folder[64], path[80];
	pthread_t thread;
	pthread_mutex_t busy; /* with a connection */
	/* What each says; set while nobody is asked. */
	struct sgate_bytes says[SERVERS];
	size_t piece;
};
static struct servers servers = {.busy = PTHREAD_MUTEX_INITIALIZER};

static void
say(int fd, struct sgate_bytes bytes, size_t piece)
{
	ssize_t n;

	for (; bytes.len > 0; bytes.data += n, bytes.len -= (size_t)n) {
		size_t part =
		    piece > 0 && piece < bytes.len ? piece : bytes.len;

		n = send(fd, bytes.data, part, MSG_NOSIGNAL);
		if (n < 0)
			return;
	}
}

/* Whoever closes first keeps a port for a minute: that is this side, always
 * with the same port. */
static void
serve_one(int server)
{
	const int one = 1;
	char room[4096];
	int fd = accept(servers.listeners[server], NULL, NULL);

	MUST(fd >= 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (recv(fd, room, sizeof(room), 0) > 0)
		say(fd, servers.says[server], servers.piece);
	close(fd);
}

static void *
serve(void *arg)
{
	struct pollfd fds[SERVERS];
	int i;

	for (i = 0; i < SERVERS; i++)
		fds[i] = (struct pollfd){
		    .fd = servers.listeners[i], .events = POLLIN};
	for (;;) {
		poll(fds, SERVERS, -1);
		pthread_mutex_lock(&servers.busy);
		for (i = 0; i < SERVERS; i++)
			if (fds[i].revents != 0)
				serve_one(i);
		pthread_mutex_unlock(&servers.busy);
	}
	return arg;
}

static void
clean_up(void)
{
	unlink(servers.path);
	rmdir(servers.folder);
}

static void
listen_at(int server, struct sockaddr *address, socklen_t len)
{
	int fd = socket(address->sa_family, SOCK_STREAM, 0);

	servers.listeners[server] = fd;
	MUST(bind(fd, address, len) == 0 && listen(fd, 8) == 0);
	len = sizeof(servers.at[server]);
	if (address->sa_family == AF_INET)
		MUST(getsockname(fd, (void *)&servers.at[server], &len) == 0);
}

static void
servers_open(void)
{
	struct sockaddr_un near = {.sun_family = AF_UNIX};
	struct sockaddr_in far = {.sin_family = AF_INET};
	const char *parent = getenv("TMPDIR");
	sigset_t all, before;

	snprintf(servers.folder, sizeof(servers.folder), "%.40s/sgreply.XXXXXX",
	    parent == NULL ? "/tmp" : parent);
	MUST(mkdtemp(servers.folder) != NULL);
	atexit(clean_up);
	snprintf(servers.path, sizeof(servers.path), "%s/s", servers.folder);
	snprintf(near.sun_path, sizeof(near.sun_path), "%s", servers.path);
	far.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listen_at(REDIS, (void *)&near, sizeof(near));
	listen_at(SENTINEL, (void *)&far, sizeof(far));
	listen_at(MASTER, (void *)&far, sizeof(far));
	/* libFuzzer's alarm must not interrupt what it says. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	MUST(pthread_create(&servers.thread, NULL, serve, NULL) == 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static unsigned
port_of(int server)
{
	return ntohs(servers.at[server].sin_port);
}

/* ---- handles ---- */

static struct sgate_conf *
conf_of(const char *option, const char *more)
{
	/* Time enough on any machine: nobody here is late. */
	const char *const options[] = {"mysql.socket=/nowhere", "cache.size=0",
	    "gateway.request_timeout=9 s", "redis.timeout=8 s", option, more,
	    NULL};
	struct sgate_conf *conf;
	struct sgate_error err;

	if (sgate_conf_load(NULL, options, &conf, &err) != SGATE_OK) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return conf;
}

static struct cache *
handle(bool has_sentinel)
{
	static struct sgate_conf *plain, *watched;
	struct sgate_error err;
	struct cache *c;
	char option[120];

	if (plain == NULL) {
		servers_open();
		snprintf(option, sizeof(option), "redis.address=unix:%s",
		    servers.path);
		plain = conf_of(option, NULL);
		snprintf(option, sizeof(option), "redis.sentinel=127.0.0.1:%u",
		    port_of(SENTINEL));
		watched = conf_of(option, "redis.master_name=sessions");
	}
	MUST(cache_redis.open(has_sentinel ? watched : plain, &c, &err) ==
	     SGATE_OK);
	c->deadline_ms = clock_monotonic_ms() + 60000;
	return c;
}

/* ---- what is asked ---- */

/* What came of it, as text; "" and false after an error. */
typedef bool question_fn(struct cache *c, struct buf *out);

static struct sgate_ref
some_ref(void)
{
	return (struct sgate_ref){{GROUP, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
}

static struct cache_item
some_item(void)
{
	return (struct cache_item){
	    some_ref(), bytes_of("L00030000000000010000000000005x"), 60000};
}

static void
note_copy(enum cache_put put, const struct cache_copy *copy, struct buf *out)
{
	MUST(copy->record.len <= RECORD_MAX_BYTES);
	MUST(strnlen(copy->sync, sizeof(copy->sync)) <= CACHE_SYNC_MAX);
	buf_printf(out, "%d %s ", put, copy->sync);
	buf_add_bytes(out, copy->record);
}

static bool
ask_ping(struct cache *c, struct buf *out)
{
	struct sgate_error err;

	(void)out;
	return cache_redis.ping(c, &err) == SGATE_OK;
}

static bool
ask_get(struct cache *c, struct buf *out)
{
	struct sgate_ref ref = some_ref();
	struct cache_copy copy;
	struct sgate_error err;

	if (cache_redis.get(c, &ref, &copy, &err) != SGATE_OK) {
		MUST(copy.record.len == 0 && copy.sync[0] == '\0');
		return false;
	}
	note_copy(CACHE_PUT_OK, &copy, out);
	return true;
}

static bool
ask_put(struct cache *c, struct buf *out)
{
	struct cache_item item = some_item();
	struct sgate_bytes none = {NULL, 0};
	enum cache_put put;
	struct cache_copy copy;
	struct sgate_error err;

	if (cache_redis.put(c, &item, 1, none, &put, &copy, &err) != SGATE_OK) {
		MUST(put != CACHE_PUT_OK && copy.record.len == 0);
		return false;
	}
	note_copy(put, &copy, out);
	return true;
}

static bool
ask_put_many(struct cache *c, struct buf *out)
{
	struct cache_putting puts[3] = {{some_item(), 1, 0, "", 0},
	    {some_item(), 2, 0, "", 0}, {some_item(), 3, 0, "", 0}};
	struct sgate_error err;
	size_t i;

	if (cache_redis.put_many(c, puts, 3, &err) != SGATE_OK)
		return false;
	for (i = 0; i < 3; i++) {
		MUST(puts[i].tombstone_len <= sizeof(puts[i].tombstone));
		MUST(puts[i].put <= CACHE_PUT_RETRY);
		buf_printf(out, "%d ", puts[i].put);
		buf_add(out, puts[i].tombstone, puts[i].tombstone_len);
	}
	return true;
}

static bool
ask_touch(struct cache *c, struct buf *out)
{
	struct cache_touch touch = {some_ref(), 9, 60000};
	struct sgate_error err;

	(void)out;
	return cache_redis.touch(c, &touch, 1, &err) == SGATE_OK;
}

static bool
ask_sync_get(struct cache *c, struct buf *out)
{
	char sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];
	enum sgate_status status;
	struct sgate_error err;
	unsigned i;

	status = cache_redis.sync_get(c, sync, &err);
	for (i = 0; i < TOKEN_GROUPS; i++) {
		MUST(status == SGATE_OK || sync[i][0] == '\0');
		MUST(strnlen(sync[i], sizeof(sync[i])) <= CACHE_SYNC_MAX);
		buf_printf(out, "%s\n", sync[i]);
	}
	return status == SGATE_OK;
}

static bool
ask_apply(struct cache *c, struct buf *out)
{
	char sync[CACHE_SYNC_MAX + 1];
	struct sgate_error err;

	if (cache_redis.apply(c, GROUP, "", "1 s", NULL, 0, sync, &err) !=
	    SGATE_OK) {
		MUST(sync[0] == '\0');
		return false;
	}
	MUST(strnlen(sync, sizeof(sync)) <= CACHE_SYNC_MAX);
	buf_add_text(out, sync);
	return true;
}

static bool
ask_create(struct cache *c, struct buf *out)
{
	unsigned char user[TOKEN_USER_BYTES] = {1};
	struct cache_item item = some_item();
	enum cache_put put;
	struct cache_copy copy;
	struct sgate_error err;

	item.record = bytes_of("U00030000000000010000000000005x");
	if (cache_redis.create(
		c, &item, 1, user, 60000, 1, &put, &copy, &err) != SGATE_OK) {
		MUST(put != CACHE_PUT_OK && copy.record.len == 0);
		return false;
	}
	note_copy(put, &copy, out);
	return true;
}

static bool
ask_unlanded(struct cache *c, struct buf *out)
{
	unsigned char user[TOKEN_USER_BYTES] = {1};
	static struct sgate_ref refs[CACHE_UNLANDED_MAX];
	char text[SGATE_REF_HEX + 1];
	uint64_t cursor = 0;
	size_t i, count;
	struct sgate_error err;

	if (cache_redis.unlanded(c, GROUP, user, &cursor, refs, &count, &err) !=
	    SGATE_OK) {
		MUST(count == 0);
		return false;
	}
	MUST(count <= CACHE_UNLANDED_MAX);
	buf_printf(out, "%" PRIu64, cursor);
	for (i = 0; i < count; i++) {
		MUST(token_ref_group(&refs[i]) == GROUP);
		sgate_ref_text(&refs[i], text);
		buf_printf(out, " %s", text);
	}
	return true;
}

/* By the Sentinel that was asked last. */
static bool is_named;

static void
note_finding(void *arg, const struct finding *finding)
{
	MUST(finding->state <= FINDING_UNSEEN && finding->check[0] != '\0');
	if (strcmp(finding->check, "sentinel") == 0)
		is_named = strncmp(finding->text, "names ", 6) == 0;
	/* Clocks go on, and what is tried out is another question, to which a
	 * server that has closed has no answer. */
	if (strcmp(finding->check, "clock") != 0 &&
	    strcmp(finding->check, "peeking") != 0)
		buf_printf(arg, "%s %s: %s\n",
		    finding_state_text(finding->state), finding->check,
		    finding->text);
}

/* INFO. */
static bool
ask_examine(struct cache *c, struct buf *out)
{
	struct sgate_error err;

	return cache_redis.examine(c, note_finding, out, &err) == SGATE_OK;
}

/* SENTINEL GET-MASTER-ADDR-BY-NAME. */
static bool
ask_watched(struct cache *c, struct buf *out)
{
	struct place at = {0};
	struct place_address master = {
	    .address = {127, 0, 0, 1}, .len = 4, .port = port_of(MASTER)};
	struct sgate_error err;
	enum sgate_status status;

	servers.says[MASTER] = bytes_of("$0\r\n\r\n");
	place_set(&at, &master);
	c->at = &at;
	status = cache_redis.examine(c, note_finding, out, &err);
	c->at = NULL;
	/* What is wrong with a Sentinel is one of the findings. */
	return status == SGATE_OK && is_named;
}

/* INFO replication, of who a Sentinel has named. */
static bool
ask_locate(struct cache *c, struct buf *out)
{
	char port[8], named[80], text[PLACE_TEXT_MAX + 1];
	struct place_address found = {0};
	struct place at = {0};
	struct sgate_error err;
	uint64_t generation;

	snprintf(port, sizeof(port), "%u", port_of(MASTER));
	snprintf(named, sizeof(named),
	    "*2\r\n$9\r\n127.0.0.1\r\n$%zu\r\n%s\r\n", strlen(port), port);
	servers.says[MASTER] = servers.says[SENTINEL];
	servers.says[SENTINEL] = bytes_of(named);
	if (cache_redis.locate(c, &at, &err) != SGATE_OK) {
		MUST(!place_get(&at, &found, &generation));
		return false;
	}
	MUST(place_get(&at, &found, &generation));
	place_text(&found, text);
	buf_printf(out, "%s", text);
	return true;
}

static const struct {
	question_fn *ask;
	bool has_sentinel;
} questions[] = {{ask_ping, false}, {ask_get, false}, {ask_put, false},
    {ask_put_many, false}, {ask_touch, false}, {ask_sync_get, false},
    {ask_apply, false}, {ask_create, false}, {ask_unlanded, false},
    {ask_examine, false}, {ask_watched, true}, {ask_locate, true}};
#define QUESTIONS (sizeof(questions) / sizeof(questions[0]))

static bool
ask(unsigned which, struct sgate_bytes said, size_t piece, struct buf *out)
{
	struct cache *c = handle(questions[which].has_sentinel);
	bool is_answered;

	servers.says[REDIS] = servers.says[SENTINEL] = said;
	servers.piece = piece;
	is_answered = questions[which].ask(c, out);
	cache_redis.close(c);
	/* Who was not listened to any more may still be speaking. */
	pthread_mutex_lock(&servers.busy);
	pthread_mutex_unlock(&servers.busy);
	return is_answered;
}

/* ---- what a server would say ---- */

static void
say_text(struct sgate_bytes text, struct buf *out)
{
	buf_printf(out, "$%zu\r\n", text.len);
	buf_add_bytes(out, text);
	buf_add_text(out, "\r\n");
}

/* The value of the first line of that name. */
static void
value_in(struct sgate_bytes text, const char *name, char out[64])
{
	struct fuzz_input in = {(const uint8_t *)text.data, text.len};
	size_t i, len = strlen(name);

	out[0] = '\0';
	while (in.left > 0) {
		struct sgate_bytes line = fuzz_line(&in);

		if (line.len <= len || memcmp(line.data, name, len) != 0 ||
		    line.data[len] != ':')
			continue;
		for (i = 0; i < 63 && len + 1 + i < line.len &&
			    line.data[len + 1 + i] != '\r';
		     i++)
			out[i] = line.data[len + 1 + i];
		out[i] = '\0';
		return;
	}
}

/* What INFO says, and what must be found in it. */
static void
check_info(struct sgate_bytes text, size_t piece)
{
	struct buf said = {0}, told = {0};
	char role[64], policy[64], file[64], line[160];

	if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
		return;
	say_text(text, &said);
	MUST(ask(9, buf_bytes(&said), piece, &told) && !buf_failed(&told));
	value_in(text, "role", role);
	value_in(text, "maxmemory_policy", policy);
	value_in(text, "aof_enabled", file);
	MUST(strstr(buf_text(&told), strcmp(role, "master") == 0
					 ? "ok role: is a master\n"
					 : "error role: is a replica\n") !=
	     NULL);
	MUST(strstr(buf_text(&told), strcmp(file, "1") == 0
					 ? "ok appendonly: is yes\n"
					 : "warning appendonly: is no\n") !=
	     NULL);
	snprintf(line, sizeof(line), "%s maxmemory-policy: is %s\n",
	    strncmp(policy, "volatile-", 9) == 0 ||
		    strcmp(policy, "noeviction") == 0
		? "ok"
		: "error",
	    policy);
	MUST(strstr(buf_text(&told), line) != NULL);
	buf_clear(&said);
	buf_clear(&told);
}

/* A record and a sync, told as they stand there. */
static void
check_get(struct fuzz_input in, size_t piece)
{
	struct sgate_bytes sync = fuzz_take(&in, fuzz_byte(&in));
	struct sgate_bytes record = fuzz_rest(&in);
	struct buf said = {0}, told = {0}, expected = {0};
	bool is_ours =
	    sync.len <= CACHE_SYNC_MAX &&
	    (sync.len == 0 || memchr(sync.data, '\0', sync.len) == NULL);

	buf_add_text(&said, "*2\r\n");
	say_text(record, &said);
	say_text(sync, &said);
	buf_printf(&expected, "%d ", CACHE_PUT_OK);
	buf_add_bytes(&expected, is_ours ? sync : bytes_of(CACHE_SYNC_FOREIGN));
	buf_add_char(&expected, ' ');
	buf_add_bytes(&expected, record);
	MUST(ask(1, buf_bytes(&said), piece, &told) && !buf_failed(&told));
	MUST(bytes_equal(buf_bytes(&told), buf_bytes(&expected)));
	buf_clear(&said);
	buf_clear(&told);
	buf_clear(&expected);
}

/* An address and a port: who is named, or why nobody is. */
static void
check_named(struct fuzz_input in, size_t piece)
{
	struct sgate_bytes port = fuzz_take(&in, fuzz_byte(&in) % 8);
	struct sgate_bytes host = fuzz_rest(&in);
	struct place_address named = {.len = 0};
	struct buf said = {0}, told = {0};
	char text[PLACE_TEXT_MAX + 1], line[160];
	uint64_t number;

	buf_add_text(&said, "*2\r\n");
	say_text(host, &said);
	say_text(port, &said);
	MUST(ask(10, buf_bytes(&said), piece, &told) == is_named);
	MUST(!buf_failed(&told));
	named.len = address_parse(host, named.address);
	if (!bytes_to_uint(port, 65535, &number) || number == 0)
		named.len = 0;
	named.port = (unsigned)number;
	place_text(&named, text);
	snprintf(line, sizeof(line), "sentinel: names %s", text);
	MUST(is_named == (named.len > 0));
	MUST(!is_named || strstr(buf_text(&told), line) != NULL);
	buf_clear(&said);
	buf_clear(&told);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	unsigned which = fuzz_byte(&in) % QUESTIONS, how = fuzz_byte(&in);
	struct buf whole = {0}, pieces = {0};
	size_t piece = how / 2 % 16;

	if ((how & 1) != 0) {
		if (which % 3 == 0)
			check_info(fuzz_rest(&in), piece);
		else if (which % 3 == 1)
			check_get(in, piece);
		else
			check_named(in, piece);
		return 0;
	}
	if (ask(which, fuzz_rest(&in), 0, &whole))
		MUST(ask(which, fuzz_rest(&in), piece + 1, &pieces) &&
		     bytes_equal(buf_bytes(&whole), buf_bytes(&pieces)));
	buf_clear(&whole);
	buf_clear(&pieces);
	return 0;
}
