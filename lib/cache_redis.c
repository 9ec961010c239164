/*
 * The cache in Redis: a connection that is asked questions.
 *
 * Of hiredis it is the parser that is used. The connection is ours, because the
 * one of hiredis stays open across exec, writes with write(), which kills the
 * program with SIGPIPE unless it has thought of that, and begins its time-outs
 * anew with each byte and each signal. Here everything waits in wait_for(),
 * which goes by one absolute deadline, that of the handle, and connecting
 * counts. The parser's values go into a struct redb_reply of fixed size, so
 * that a reply cannot ask for more memory than a record needs.
 *
 * A reply belongs to a question by its place alone. So whatever goes wrong on
 * the connection closes it, nothing may be left over behind an answer, and
 * before a question nothing may be there to be read: a late reply would answer
 * the next question, with another session. An error that the server replies is
 * an answer like another, and the connection stays, except where another server
 * or another password could help.
 *
 * One connection a handle, opened by the first question, after fork. A question
 * that fails is not asked again: everybody has a second place to look.
 */
#include "config.h"

#include "cache_redis.h"

#include "cache_redis_reader.h"
#include "clock.h"
#include "failpoint.h"
#include "forks.h"
#include "password.h"
#include "record.h"
#include "status.h"
#include "wait.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_PORT 6379
#define READ_BYTES (16 * 1024)
/* A record, its sync and what stands around them; each short reply. */
#define ANSWER_MAX_BYTES (RECORD_MAX_BYTES + 4096)
#define REPLY_MAX_BYTES 256
/* What is kept of the memory of a large question or answer. */
#define KEEP_BYTES (64 * 1024)

/* The reply that the parser is at. Texts are places in bytes until it is
 * whole, because bytes moves when it grows. */
struct parsed {
	struct redb_reply reply;
	size_t starts[REDB_VALUES_MAX];
	struct buf bytes;
	bool is_foreign; /* of a form that we never ask for */
};

struct redb {
	struct cache cache; /* first */
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} address;
	socklen_t address_len; /* 0: not known */
	char peer[128];        /* for people */
	/* NULL: address is what the configuration says. Else it is that of
	 * cache.at, as it was in this generation. */
	struct sentinels *sentinels;
	uint64_t generation;
	int database;
	char *user;
	char *password_file;
	char *prefix;
	bool has_listener;

	unsigned forks; /* of the process that may use it */
	int fd;         /* -1: not connected */
	redisReader *reader;
	size_t received;
	struct buf out;
	char in[READ_BYTES]; /* what has just come */
	struct parsed parsed;
	char refusal[128]; /* the first error that the server replied; "" */
};

/* ---- waiting ---- */

/* Also while something arrives all the time. */
static bool
is_late(const struct redb *r)
{
	return clock_left_ms(r->cache.deadline_ms) == 0;
}

/* Whether fd is ready in time; else errno says why not. */
static bool
wait_for(const struct redb *r, short events)
{
	int64_t deadline_ms = r->cache.deadline_ms;

	if (deadline_ms > INT64_MAX / 1000)
		deadline_ms = INT64_MAX / 1000;
	return wait_ready(r->fd, events, deadline_ms * 1000) > 0;
}

/* ---- errors ---- */

static void
disconnect(struct redb *r)
{
	if (failpoint_is_off("drop-context") && r->reader != NULL)
		return;
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	redisReaderFree(r->reader);
	r->reader = NULL;
}

/* The connection could not be made or is lost; code is an errno. */
static enum sgate_status
lost(struct redb *r, const char *operation, int code, struct sgate_error *err)
{
	const char *why = code == ETIMEDOUT  ? "no answer in time"
			  : code == EPROTO   ? "it answers as no Redis does"
			  : code == EMSGSIZE ? "its answer is too long"
			  : code == EPIPE    ? "it closed the connection"
					     : strerror(code);

	disconnect(r);
	if (code == ENOMEM)
		return error_memory(err, operation);
	return error_set(err, SGATE_UNAVAILABLE, REDB_SOURCE, operation, code,
	    "%.100s: %s%s", r->peer, why,
	    code == ECONNREFUSED || code == ENOENT ? ": is the server running?"
						   : "");
}

/*
 * What the server can reply. closes: a connection made anew could lead to
 * another server, or with another password. is_all: it says the same to every
 * question, so it is as good as away.
 */
static const struct {
	const char *code;
	bool closes, is_all;
	const char *advice;
} refusals[] = {
    {"NOAUTH", true, true, "set redis.user and redis.password_file"},
    {"WRONGPASS", true, true, "correct redis.user or redis.password_file"},
    {"NOPERM", true, false, "the user may not do enough: see conf/README.md"},
    {"READONLY", true, false, "it is a replica: it must be the primary"},
    {"MASTERDOWN", true, true, "it is a replica: it must be the primary"},
    {"LOADING", true, true, "it is loading its data"},
    {"MOVED", true, false, "it is a cluster's node, which will not do"},
    {"CROSSSLOT", true, false, "it is a cluster's node, which will not do"},
    {"OOM", false, false, "raise its maxmemory, or let it evict: volatile-lru"},
    {"MISCONF", false, false, "it cannot save its data: see its log"},
    {"NOREPLICAS", false, false, "see its min-replicas-to-write"},
    {"BUSY", false, true, "a script of somebody's runs too long"},
    {"WRONGTYPE", false, false, "somebody else writes below redis.prefix"},
};

static enum sgate_status
refused(struct redb *r, const char *operation, struct sgate_error *err)
{
	size_t len = strcspn(r->refusal, " ");
	const char *advice = "it must be Redis 7 or later, as it comes";
	int code = 0;
	size_t i;

	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		if (strlen(refusals[i].code) != len ||
		    memcmp(refusals[i].code, r->refusal, len) != 0)
			continue;
		advice = refusals[i].advice;
		code = refusals[i].is_all ? EBUSY : 0;
		if (refusals[i].closes)
			disconnect(r);
	}
	return error_set(err, SGATE_UNAVAILABLE, REDB_SOURCE, operation, code,
	    "%.100s: %s: %s", r->peer, r->refusal, advice);
}

/* Without what it repeats of the command, which may be a password or a
 * session's data. */
static void
keep_refusal(struct redb *r, struct sgate_bytes text)
{
	char *args;

	if (r->refusal[0] != '\0')
		return;
	snprintf(r->refusal, sizeof(r->refusal), "%.*s",
	    (int)(text.len < 100 ? text.len : 100), text.data);
	args = strstr(r->refusal, ", with args");
	if (args != NULL)
		*args = '\0';
	if (r->refusal[0] == '\0')
		snprintf(r->refusal, sizeof(r->refusal), "ERR");
}

/* ---- replies ---- */

/* Where the parser's value goes; NULL: nowhere. */
static struct redb_value *
place(const redisReadTask *task, size_t *out_index)
{
	struct parsed *p = task->privdata;

	*out_index = 0;
	if (task->parent == NULL) {
		p->reply.is_list = false;
		p->reply.count = 1;
		return &p->reply.values[0];
	}
	/* Elements of a list in a list are of no question. */
	if (task->parent->parent != NULL || task->idx < 0 ||
	    (size_t)task->idx >= p->reply.count) {
		p->is_foreign = true;
		return NULL;
	}
	*out_index = (size_t)task->idx;
	return &p->reply.values[task->idx];
}

static enum redb_type
type_of(int type)
{
	switch (type) {
	case REDIS_REPLY_STRING:
		return REDB_TEXT;
	case REDIS_REPLY_STATUS:
		return REDB_STATUS;
	default:
		return REDB_ERROR;
	}
}

static void *
take_text(const redisReadTask *task, char *text, size_t len)
{
	struct parsed *p = task->privdata;
	size_t index;
	struct redb_value *value = place(task, &index);

	if (value == NULL)
		return NULL;
	value->type = type_of(task->type);
	value->text.len = len;
	p->starts[index] = p->bytes.len;
	buf_add(&p->bytes, text, len);
	return buf_failed(&p->bytes) ? NULL : value;
}

static void *
take_list(const redisReadTask *task, redb_list_length elements)
{
	struct parsed *p = task->privdata;

	if (task->type != REDIS_REPLY_ARRAY || task->parent != NULL ||
	    (long long)elements < 0 || (long long)elements > REDB_VALUES_MAX) {
		p->is_foreign = true;
		return NULL;
	}
	p->reply.is_list = true;
	p->reply.count = (size_t)elements;
	return &p->reply;
}

static void *
take_integer(const redisReadTask *task, long long number)
{
	size_t index;
	struct redb_value *value = place(task, &index);

	if (value != NULL)
		*value = (struct redb_value){REDB_INTEGER, {"", 0}, number};
	return value;
}

static void *
take_nothing(const redisReadTask *task)
{
	size_t index;
	struct redb_value *value = place(task, &index);

	if (value != NULL)
		*value = (struct redb_value){REDB_NOTHING, {"", 0}, 0};
	return value;
}

static void
free_nothing(void *object)
{
	(void)object; /* all of it is in the handle */
}

static redisReplyObjectFunctions parser_functions = {
    .createString = take_text,
    .createArray = take_list,
    .createInteger = take_integer,
    .createNil = take_nothing,
    .freeObject = free_nothing,
};

static void
parsed_clear(struct parsed *p)
{
	if (p->bytes.cap > KEEP_BYTES)
		buf_clear(&p->bytes);
	buf_reset(&p->bytes);
	memset(&p->reply, 0, sizeof(p->reply));
	p->is_foreign = false;
}

static void
parsed_finish(struct parsed *p)
{
	size_t i;

	for (i = 0; i < p->reply.count; i++) {
		struct redb_value *value = &p->reply.values[i];

		if (value->type == REDB_TEXT || value->type == REDB_STATUS ||
		    value->type == REDB_ERROR)
			value->text.data = p->bytes.data + p->starts[i];
	}
}

/* ---- the connection's bytes ---- */

/* 0, or an errno. */
static int
send_all(struct redb *r)
{
	size_t sent = 0;
	ssize_t n;

	while (sent < r->out.len) {
		if (is_late(r))
			return ETIMEDOUT;
		n = send(
		    r->fd, r->out.data + sent, r->out.len - sent, MSG_NOSIGNAL);
		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN && !wait_for(r, POLLOUT))
			return errno;
		else if (errno != EAGAIN && errno != EINTR)
			return errno;
	}
	return 0;
}

/* What is there, to the parser. 0, or an errno. */
static int
receive(struct redb *r, size_t max)
{
	ssize_t n;

	if (!wait_for(r, POLLIN))
		return errno;
	n = recv(r->fd, r->in, sizeof(r->in), 0);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : errno;
	if (n == 0)
		return EPIPE;
	r->received += (size_t)n;
	if (r->received > max)
		return EMSGSIZE;
	return redisReaderFeed(r->reader, r->in, (size_t)n) == REDIS_OK
		   ? 0
		   : ENOMEM;
}

/* The next reply into r->parsed. 0, or an errno. */
static int
read_reply(struct redb *r, size_t max)
{
	void *reply = NULL;
	int code = 0;

	parsed_clear(&r->parsed);
	while (code == 0) {
		if (redisReaderGetReply(r->reader, &reply) != REDIS_OK)
			return r->reader->err == REDIS_ERR_OOM &&
				       !r->parsed.is_foreign
				   ? ENOMEM
				   : EPROTO;
		if (reply != NULL) {
			parsed_finish(&r->parsed);
			return 0;
		}
		code = is_late(r) ? ETIMEDOUT : receive(r, max);
	}
	return code;
}

/* ---- one exchange ---- */

static bool
is_refusal(const struct redb_reply *reply)
{
	return !reply->is_list && reply->values[0].type == REDB_ERROR;
}

static bool
is_no_script(const struct redb_reply *reply)
{
	const struct sgate_bytes text = reply->values[0].text;

	return text.len >= 8 && memcmp(text.data, "NOSCRIPT", 8) == 0;
}

/* Every reply to the question. 0, or an errno. */
static int
read_replies(struct redb *r, const struct redb_question *q, size_t max,
    bool *out_unknown)
{
	const struct redb_reply *reply = &r->parsed.reply;
	size_t i;
	int code;

	for (i = 0; i < q->replies; i++) {
		code = read_reply(r, max);
		if (code != 0)
			return code;
		if (!is_refusal(reply) && !q->take(q->arg, i, reply))
			return EPROTO;
		if (is_refusal(reply) && is_no_script(reply))
			*out_unknown = true;
		else if (is_refusal(reply))
			keep_refusal(r, reply->values[0].text);
	}
	/* More answers than questions? */
	return r->reader->pos == r->reader->len ? 0 : EPROTO;
}

/* Ask what is written in r->out. out_unknown: a script is not known there. */
static enum sgate_status
exchange(struct redb *r, const struct redb_question *q, bool *out_unknown,
    struct sgate_error *err)
{
	const size_t max = ANSWER_MAX_BYTES + q->replies * REPLY_MAX_BYTES;
	int code;

	r->refusal[0] = '\0';
	r->received = 0;
	code = send_all(r);
	if (code == 0)
		code = read_replies(r, q, max, out_unknown);
	else if ((code == EPIPE || code == ECONNRESET) &&
		 read_reply(r, max) == 0 && is_refusal(&r->parsed.reply))
		/* It said why it closed: too many clients. */
		keep_refusal(r, r->parsed.reply.values[0].text);
	if (r->refusal[0] == '\0')
		return code == 0 ? SGATE_OK : lost(r, q->operation, code, err);
	if (code != 0)
		disconnect(r);
	return refused(r, q->operation, err);
}

/* ---- connecting ---- */

static int
connect_socket(struct redb *r)
{
	const int one = 1;
	int code = 0;
	socklen_t len = sizeof(code);

	r->fd = socket(r->address.any.sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (r->fd < 0)
		return errno;
	if (r->address.any.sa_family != AF_UNIX)
		setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(r->fd, &r->address.any, r->address_len) == 0)
		return 0;
	if (errno != EINPROGRESS && errno != EINTR)
		return errno;
	if (!wait_for(r, POLLOUT))
		return errno;
	if (getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
		return errno;
	return code;
}

struct login {
	const struct redb *redb;
	struct sgate_bytes password;
};

static bool
has_login(const struct redb *r)
{
	return r->user[0] != '\0' || r->password_file[0] != '\0';
}

static void
compose_login(struct buf *out, void *arg, bool is_whole)
{
	const struct login *login = arg;
	const struct redb *r = login->redb;

	(void)is_whole;
	if (has_login(r)) {
		redb_add_command(out, r->user[0] != '\0' ? 3 : 2);
		redb_add_word(out, bytes_of("AUTH"));
		if (r->user[0] != '\0')
			redb_add_word(out, bytes_of(r->user));
		redb_add_word(out, login->password);
	}
	if (r->database != 0) {
		redb_add_command(out, 2);
		redb_add_word(out, bytes_of("SELECT"));
		redb_add_number(out, r->database);
	}
}

static bool
take_ok(void *arg, size_t index, const struct redb_reply *reply)
{
	(void)arg;
	(void)index;
	return !reply->is_list && reply->values[0].type == REDB_STATUS;
}

/*
 * Before anything else is asked: a question that is sent together with SELECT
 * would go to database 0 when that fails.
 */
static enum sgate_status
log_in(struct redb *r, const char *operation, struct sgate_error *err)
{
	char password[PASSWORD_MAX + 1] = "";
	struct login login = {r, {"", 0}};
	struct redb_question q = {operation, 0, compose_login, take_ok, &login};
	enum sgate_status status = SGATE_OK;
	bool is_unknown = false;

	q.replies = (has_login(r) ? 1 : 0) + (r->database != 0 ? 1 : 0);
	if (q.replies == 0)
		return SGATE_OK;
	if (r->password_file[0] != '\0')
		status = password_read(
		    r->password_file, REDB_SOURCE, operation, password, err);
	login.password = bytes_of(password);
	if (status == SGATE_OK) {
		compose_login(&r->out, &login, false);
		status = buf_failed(&r->out)
			     ? error_memory(err, operation)
			     : exchange(r, &q, &is_unknown, err);
	}
	explicit_bzero(password, sizeof(password));
	buf_wipe(&r->out);
	return status;
}

static enum sgate_status
connect_to(struct redb *r, const char *operation, struct sgate_error *err)
{
	enum sgate_status status;
	int code = connect_socket(r);

	if (code != 0)
		return lost(r, operation, code, err);
	r->reader = redisReaderCreateWithFunctions(&parser_functions);
	if (r->reader == NULL)
		return lost(r, operation, ENOMEM, err);
	r->reader->privdata = &r->parsed;
	status = log_in(r, operation, err);
	if (status != SGATE_OK)
		disconnect(r);
	else
		r->cache.connections++;
	return status;
}

/*
 * Where Sentinel has the master now: a connection to the one before goes.
 * False: nobody knows yet.
 */
static bool
follow(struct redb *r)
{
	struct place_address at = {.len = 0};
	uint64_t generation = 0;

	if (r->sentinels == NULL)
		return true;
	if (r->cache.at == NULL || !place_get(r->cache.at, &at, &generation)) {
		disconnect(r);
		return false;
	}
	if (r->address_len == 0 || generation != r->generation)
		redb_move(&r->cache, &at);
	r->generation = generation;
	return true;
}

/* The server has closed it, or says something unasked. */
static bool
is_stale(const struct redb *r)
{
	struct pollfd poller = {.fd = r->fd, .events = POLLIN};

	return !failpoint_is_off("drop-context") && poll(&poller, 1, 0) != 0;
}

enum sgate_status
redb_ask(struct cache *c, const struct redb_question *question,
    struct sgate_error *err)
{
	struct redb *r = (struct redb *)c;
	enum sgate_status status = SGATE_OK;
	bool is_unknown = false;
	bool is_whole = false;

	error_clear(err);
	if (r->forks != forks_count() && !failpoint_is_off("fork"))
		return error_set(err, SGATE_INTERNAL, REDB_SOURCE,
		    question->operation, 0,
		    "%.100s: the connection was opened by another process",
		    r->peer);
	/* Not asked, so nothing is known about the server. */
	if (is_late(r))
		return error_set(err, SGATE_UNAVAILABLE, REDB_SOURCE,
		    question->operation, 0, "%.100s: no time is left to ask",
		    r->peer);
	if (!follow(r))
		return error_set(err, SGATE_UNAVAILABLE, REDB_SOURCE,
		    question->operation, 0,
		    "no Sentinel has told yet where the master is");
	if (r->fd >= 0 && is_stale(r))
		disconnect(r);
	if (r->fd < 0)
		status = connect_to(r, question->operation, err);
	do {
		if (status != SGATE_OK)
			return status;
		is_whole = is_unknown;
		is_unknown = false;
		question->compose(&r->out, question->arg, is_whole);
		status = buf_failed(&r->out)
			     ? error_memory(err, question->operation)
			     : exchange(r, question, &is_unknown, err);
		if (r->out.cap > KEEP_BYTES)
			buf_clear(&r->out);
		buf_reset(&r->out);
	} while (is_unknown && !is_whole);
	if (status == SGATE_OK && is_unknown)
		status = lost(r, question->operation, EPROTO, err);
	return status;
}

/* ---- commands ---- */

/* "*3\r\n", "$12\r\n" */
static void
add_count(struct buf *out, char of, size_t count)
{
	char text[INT_TEXT_MAX + 3] = {of};
	size_t len = 1 + int_text((int64_t)count, text + 1);

	memcpy(text + len, "\r\n", 2);
	buf_add(out, text, len + 2);
}

void
redb_add_command(struct buf *out, size_t words)
{
	add_count(out, '*', words);
}

void
redb_add_word(struct buf *out, struct sgate_bytes word)
{
	add_count(out, '$', word.len);
	buf_add(out, word.data, word.len);
	buf_add(out, "\r\n", 2);
}

void
redb_add_key(struct buf *out, const struct cache *c, unsigned group,
    const char *kind, struct sgate_bytes name)
{
	struct sgate_bytes prefix = bytes_of(redb_prefix(c));
	char braces[INT_TEXT_MAX + 5] = ":{";
	size_t len = 2 + int_text(group, braces + 2);

	memcpy(braces + len, "}:", 2);
	len += 2;
	add_count(out, '$', prefix.len + len + strlen(kind) + name.len);
	buf_add_bytes(out, prefix);
	buf_add(out, braces, len);
	buf_add_text(out, kind);
	buf_add_bytes(out, name);
	buf_add(out, "\r\n", 2);
}

void
redb_add_number(struct buf *out, int64_t number)
{
	char text[INT_TEXT_MAX];
	size_t len = int_text(number, text);

	redb_add_word(out, (struct sgate_bytes){text, len});
}

void
redb_add_script(struct buf *out, const struct redb_script *script, size_t keys,
    size_t arguments, bool is_whole)
{
	bool is_text = is_whole || script->sha == NULL;

	redb_add_command(out, 3 + keys + arguments);
	redb_add_word(out, bytes_of(is_text ? "EVAL" : "EVALSHA"));
	redb_add_word(out, bytes_of(is_text ? script->text : script->sha));
	redb_add_number(out, (int64_t)keys);
}

/* ---- open, close ---- */

static void
set_ip(struct redb *r, const struct place_address *to)
{
	memset(&r->address, 0, sizeof(r->address));
	if (to->len == 4) {
		r->address.in.sin_family = AF_INET;
		r->address.in.sin_port = htons((uint16_t)to->port);
		memcpy(&r->address.in.sin_addr, to->address, 4);
		r->address_len = sizeof(r->address.in);
	} else {
		r->address.in6.sin6_family = AF_INET6;
		r->address.in6.sin6_port = htons((uint16_t)to->port);
		memcpy(&r->address.in6.sin6_addr, to->address, 16);
		r->address_len = sizeof(r->address.in6);
	}
}

void
redb_move(struct cache *c, const struct place_address *to)
{
	struct redb *r = (struct redb *)c;
	char text[PLACE_TEXT_MAX + 1];

	disconnect(r);
	place_text(to, text);
	snprintf(r->peer, sizeof(r->peer), "%s", text);
	set_ip(r, to);
}

static bool
set_address(struct redb *r, const char *text)
{
	struct place_address to = {.port = DEFAULT_PORT};
	const char *path;

	snprintf(r->peer, sizeof(r->peer), "%s", text);
	if (strncmp(text, "unix:", 5) == 0) {
		path = text + 5;
		if (strlen(path) >= sizeof(r->address.un.sun_path))
			return false;
		r->address.un.sun_family = AF_UNIX;
		memcpy(r->address.un.sun_path, path, strlen(path) + 1);
		r->address_len = sizeof(r->address.un);
		return true;
	}
	to.len = address_port_parse(text, to.address, &to.port);
	if (to.len > 0)
		set_ip(r, &to);
	return to.len > 0;
}

static struct redb *
make(const char *user, const char *password_file, const char *prefix)
{
	struct redb *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->cache.ops = &cache_redis;
	r->forks = forks_count();
	r->fd = -1;
	r->user = strdup(user);
	r->password_file = strdup(password_file);
	r->prefix = strdup(prefix);
	if (r->user != NULL && r->password_file != NULL && r->prefix != NULL)
		return r;
	redb_close(&r->cache);
	return NULL;
}

enum sgate_status
redb_new(const char *user, const char *password_file, struct cache **out,
    struct sgate_error *err)
{
	struct redb *r = make(user, password_file, "");

	*out = r == NULL ? NULL : &r->cache;
	return r == NULL ? error_memory(err, "open") : SGATE_OK;
}

enum sgate_status
redb_open(
    const struct sgate_conf *conf, struct cache **out, struct sgate_error *err)
{
	struct redb *r = make(
	    conf->redis.user, conf->redis.password_file, conf->redis.prefix);
	enum sgate_status status = SGATE_OK;

	*out = NULL;
	error_clear(err);
	if (r == NULL)
		return error_memory(err, "open");
	r->database = conf->redis.database;
	r->has_listener =
	    conf->cache.size_bytes > 0 && conf->cache.lease_ms > 0;
	if (conf->redis.sentinel != NULL && conf->redis.sentinel[0] != NULL) {
		snprintf(
		    r->peer, sizeof(r->peer), "%.64s", conf->redis.master_name);
		status = sentinels_new(conf, &r->sentinels, err);
	} else if (!set_address(r, conf->redis.address)) {
		status = error_set(err, SGATE_INVALID, REDB_SOURCE, "open", 0,
		    "redis.address: \"%.100s\" is no address",
		    conf->redis.address);
	}
	if (status != SGATE_OK) {
		redb_close(&r->cache);
		return status;
	}
	*out = &r->cache;
	return SGATE_OK;
}

/* Without a word to the server: a parent's connection stays as it is. */
void
redb_close(struct cache *c)
{
	struct redb *r = (struct redb *)c;

	if (r == NULL)
		return;
	if (r->fd >= 0)
		close(r->fd);
	redisReaderFree(r->reader);
	sentinels_free(r->sentinels);
	buf_wipe(&r->out);
	buf_clear(&r->parsed.bytes);
	free(r->user);
	free(r->password_file);
	free(r->prefix);
	free(r);
}

int
redb_take_socket(struct cache *c)
{
	struct redb *r = (struct redb *)c;
	int fd = r->fd;

	redisReaderFree(r->reader);
	r->reader = NULL;
	r->fd = -1;
	return fd;
}

const char *
redb_prefix(const struct cache *c)
{
	return ((const struct redb *)c)->prefix;
}

bool
redb_has_listener(const struct cache *c)
{
	return ((const struct redb *)c)->has_listener;
}

struct sentinels *
redb_sentinels(const struct cache *c)
{
	return ((const struct redb *)c)->sentinels;
}

const char *
redb_peer(const struct cache *c)
{
	return ((const struct redb *)c)->peer;
}
