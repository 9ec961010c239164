/*
 * One FastCGI responder request over a unix socket.
 *
 * The request is built whole, then one loop writes what is left of it and
 * reads what is there until END_REQUEST or the deadline: a server that answers
 * before it has read the whole body (413, say) is heard. Record layout:
 * FastCGI specification 1.0, sections 3.3, 3.4 and 5.
 */
#include "config.h"

#include "fcgi_client.h"

#include "clock.h"
#include "records.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_ID 1
/* Below 65,535 and a multiple of 8, so that records need no padding. */
#define RECORD_CONTENT_MAX 65528
/* A header line's name and value that we look at are far below this. */
#define PARAM_MAX 65536

/* ---- reading ---- */

void
fcgi_reader_init(struct fcgi_reader *reader, size_t output_max_bytes)
{
	memset(reader, 0, sizeof(*reader));
	reader->output_max_bytes = output_max_bytes;
	buf_init(&reader->output);
	buf_init(&reader->errors);
}

void
fcgi_reader_clear(struct fcgi_reader *reader)
{
	buf_wipe(&reader->output);
	buf_wipe(&reader->errors);
}

static enum sgate_status
reader_bad(struct fcgi_reader *reader, struct sgate_error *err, const char *why)
{
	reader->state = FCGI_READER_BAD;
	return error_set(
	    err, SGATE_INVALID, "fastcgi", "read", 0, "not FastCGI: %s", why);
}

/* The 8 bytes of a record's header are complete: may such a record come? */
static enum sgate_status
reader_begin_record(struct fcgi_reader *reader, struct sgate_error *err)
{
	const unsigned char *h = reader->header;

	reader->content_left = (size_t)h[4] << 8 | h[5];
	reader->padding_left = h[6];
	reader->end_len = 0;
	if (h[0] != 1)
		return reader_bad(reader, err, "another protocol version");
	if (h[2] != 0 || h[3] != REQUEST_ID)
		return reader_bad(reader, err, "another request's record");
	if (h[1] == RECORD_END && reader->content_left < HEADER_BYTES)
		return reader_bad(reader, err, "a short END_REQUEST");
	if (h[1] != RECORD_END && h[1] != RECORD_STDOUT &&
	    h[1] != RECORD_STDERR)
		return reader_bad(reader, err, "an unexpected record type");
	return SGATE_OK;
}

static enum sgate_status
reader_content(struct fcgi_reader *reader, const unsigned char *data,
    size_t len, struct sgate_error *err)
{
	size_t room;

	switch (reader->header[1]) {
	case RECORD_STDOUT:
		if (len > reader->output_max_bytes - reader->output.len) {
			reader->state = FCGI_READER_BAD;
			return error_set(err, SGATE_TOO_LARGE, "fastcgi",
			    "read", 0, "the answer is larger than %zu bytes",
			    reader->output_max_bytes);
		}
		buf_add(&reader->output, data, len);
		break;
	case RECORD_STDERR:
		room = FCGI_CLIENT_ERRORS_MAX - reader->errors.len;
		buf_add(&reader->errors, data, len < room ? len : room);
		break;
	default:
		room = sizeof(reader->end_body) - reader->end_len;
		if (len < room)
			room = len;
		memcpy(reader->end_body + reader->end_len, data, room);
		reader->end_len += room;
		break;
	}
	if (buf_failed(&reader->output) || buf_failed(&reader->errors)) {
		reader->state = FCGI_READER_BAD;
		return error_memory(err, "read");
	}
	return SGATE_OK;
}

/* protocolStatus of END_REQUEST, section 5.5. */
static enum sgate_status
reader_end(struct fcgi_reader *reader, struct sgate_error *err)
{
	const char *why;

	switch (reader->end_body[4]) {
	case 0:
		reader->state = FCGI_READER_DONE;
		return SGATE_OK;
	case 1:
		why = "it cannot take another request";
		break;
	case 2:
		why = "it is overloaded";
		break;
	case 3:
		why = "it does not know the role of a responder";
		break;
	default:
		return reader_bad(reader, err, "an unknown protocol status");
	}
	reader->state = FCGI_READER_BAD;
	return error_set(err, SGATE_UNAVAILABLE, "fastcgi", "read", 0,
	    "the server refused the request: %s", why);
}

enum sgate_status
fcgi_reader_feed(struct fcgi_reader *reader, const void *data, size_t len,
    struct sgate_error *err)
{
	const unsigned char *bytes = data;
	enum sgate_status status = SGATE_OK;
	size_t take;

	while (len > 0 && reader->state == FCGI_READER_MORE) {
		if (reader->header_len < HEADER_BYTES) {
			reader->header[reader->header_len++] = *bytes;
			take = 1;
			if (reader->header_len == HEADER_BYTES)
				status = reader_begin_record(reader, err);
		} else if (reader->content_left > 0) {
			take = len < reader->content_left
				   ? len
				   : reader->content_left;
			reader->content_left -= take;
			status = reader_content(reader, bytes, take, err);
		} else {
			take = len < reader->padding_left
				   ? len
				   : reader->padding_left;
			reader->padding_left -= take;
		}
		if (status != SGATE_OK)
			return status;
		bytes += take;
		len -= take;
		if (reader->header_len < HEADER_BYTES ||
		    reader->content_left > 0)
			continue;
		if (reader->header[1] == RECORD_END)
			return reader_end(reader, err);
		if (reader->padding_left == 0)
			reader->header_len = 0;
	}
	return SGATE_OK;
}

/* ---- the request's bytes ---- */

static void
add_record_header(struct buf *out, enum record_type type, size_t len)
{
	const unsigned char header[HEADER_BYTES] = {1, (unsigned char)type, 0,
	    REQUEST_ID, (unsigned char)(len >> 8), (unsigned char)len, 0, 0};

	buf_add(out, header, sizeof(header));
}

/* A stream: any number of records, then the empty one that ends it. */
static void
add_stream(struct buf *out, enum record_type type, struct sgate_bytes content)
{
	size_t take;

	while (content.len > 0) {
		take = content.len < RECORD_CONTENT_MAX ? content.len
							: RECORD_CONTENT_MAX;
		add_record_header(out, type, take);
		buf_add(out, content.data, take);
		content.data += take;
		content.len -= take;
	}
	add_record_header(out, type, 0);
}

/* Section 3.4: one byte below 128, else four with the top bit set. */
static void
add_length(struct buf *out, size_t len)
{
	const unsigned char four[4] = {(unsigned char)(0x80 | len >> 24),
	    (unsigned char)(len >> 16), (unsigned char)(len >> 8),
	    (unsigned char)len};

	if (len < 128)
		buf_add(out, &four[3], 1);
	else
		buf_add(out, four, 4);
}

static enum sgate_status
add_request(
    struct buf *out, const struct fcgi_call *call, struct sgate_error *err)
{
	static const unsigned char begin[8] = {0, ROLE_RESPONDER, 0};
	struct buf params;
	size_t i, name_len;

	buf_init(&params);
	for (i = 0; i < call->params_count; i++) {
		name_len = strlen(call->params[i].name);
		if (name_len > PARAM_MAX ||
		    call->params[i].value.len > PARAM_MAX) {
			buf_wipe(&params);
			return error_set(err, SGATE_INVALID, "fastcgi", "send",
			    0, "%.64s is longer than %d bytes",
			    call->params[i].name, PARAM_MAX);
		}
		add_length(&params, name_len);
		add_length(&params, call->params[i].value.len);
		buf_add(&params, call->params[i].name, name_len);
		buf_add_bytes(&params, call->params[i].value);
	}
	add_record_header(out, RECORD_BEGIN, sizeof(begin));
	buf_add(out, begin, sizeof(begin));
	add_stream(out, RECORD_PARAMS, buf_bytes(&params));
	add_stream(out, RECORD_STDIN, call->body);
	if (buf_failed(&params))
		out->failed = true;
	buf_wipe(&params);
	return buf_failed(out) ? error_memory(err, "send") : SGATE_OK;
}

/* ---- the socket ---- */

static enum sgate_status
connect_failed(int code, struct sgate_error *err)
{
	if (code == EAGAIN || code == EINPROGRESS || code == ETIMEDOUT)
		return error_set(err, SGATE_UNAVAILABLE, "fastcgi", "connect",
		    ETIMEDOUT, "timed out: all workers are busy");
	return error_set(err, SGATE_UNAVAILABLE, "fastcgi", "connect", code,
	    "%s", strerror(code));
}

/*
 * A full backlog makes a non-blocking connect() fail at once, so it is done
 * blocking; on unix sockets it honours SO_SNDTIMEO (unix(7), socket(7)).
 */
static enum sgate_status
connect_by_deadline(
    const struct fcgi_call *call, int *out_fd, struct sgate_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval left;
	int fd, left_ms, rc, code;

	*out_fd = -1;
	if (call->socket_path[0] == '\0' ||
	    strlen(call->socket_path) >= sizeof(address.sun_path))
		return error_set(err, SGATE_INVALID, "fastcgi", "connect", 0,
		    "a socket's path has 1 to %zu bytes",
		    sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, call->socket_path, strlen(call->socket_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return connect_failed(errno, err);
	do {
		left_ms = clock_left_ms(call->deadline_ms);
		code = ETIMEDOUT;
		rc = -1;
		if (left_ms <= 0)
			break;
		left.tv_sec = left_ms / 1000;
		left.tv_usec = left_ms % 1000 * 1000;
		code = 0;
		if (setsockopt(
			fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof(left)) == 0)
			rc = connect(
			    fd, (struct sockaddr *)&address, sizeof(address));
		if (rc != 0)
			code = errno;
	} while (rc != 0 && code == EINTR);
	if (rc == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
		rc = -1;
		code = errno;
	}
	if (rc != 0) {
		close(fd);
		return connect_failed(code, err);
	}
	*out_fd = fd;
	return SGATE_OK;
}

/* Sends what is left. A peer that reads no more is still listened to. */
static void
send_some(int fd, struct sgate_bytes *left)
{
	ssize_t n = send(fd, left->data, left->len, MSG_NOSIGNAL);

	if (n >= 0) {
		left->data += n;
		left->len -= (size_t)n;
	} else if (errno != EAGAIN && errno != EINTR) {
		left->len = 0;
	}
}

static enum sgate_status
read_some(int fd, struct fcgi_reader *reader, struct sgate_error *err)
{
	char chunk[16384];
	enum sgate_status status = SGATE_OK;
	ssize_t n = recv(fd, chunk, sizeof(chunk), 0);

	if (n > 0)
		status = fcgi_reader_feed(reader, chunk, (size_t)n, err);
	else if (n == 0)
		status = error_set(err, SGATE_UNCERTAIN, "fastcgi", "read", 0,
		    "the connection was closed before the answer was whole");
	else if (errno != EAGAIN && errno != EINTR)
		status = error_set(err, SGATE_UNCERTAIN, "fastcgi", "read",
		    errno, "%s before the answer was whole", strerror(errno));
	explicit_bzero(chunk, sizeof(chunk));
	return status;
}

static enum sgate_status
exchange(int fd, const struct fcgi_call *call, struct sgate_bytes request,
    struct fcgi_reader *reader, struct sgate_error *err)
{
	struct pollfd p = {.fd = fd};
	enum sgate_status status = SGATE_OK;
	int left_ms, ready;

	while (status == SGATE_OK && reader->state == FCGI_READER_MORE) {
		left_ms = clock_left_ms(call->deadline_ms);
		p.events = POLLIN;
		if (request.len > 0)
			p.events |= POLLOUT;
		ready = left_ms > 0 ? poll(&p, 1, left_ms) : 0;
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0)
			return error_set(err, SGATE_INTERNAL, "fastcgi", "poll",
			    errno, "poll: %s", strerror(errno));
		if (ready == 0 && clock_left_ms(call->deadline_ms) > 0)
			continue;
		if (ready == 0)
			return error_set(err, SGATE_UNCERTAIN, "fastcgi",
			    "read", ETIMEDOUT, "no answer in time");
		if ((p.revents & POLLOUT) != 0 && request.len > 0)
			send_some(fd, &request);
		if ((p.revents & (POLLIN | POLLHUP | POLLERR)) != 0)
			status = read_some(fd, reader, err);
	}
	/* What the reader calls invalid is, for the caller, a bad answer. */
	if (status == SGATE_INVALID && err != NULL)
		err->status = SGATE_CORRUPT;
	return status == SGATE_INVALID ? SGATE_CORRUPT : status;
}

enum sgate_status
fcgi_client_call(const struct fcgi_call *call, struct fcgi_answer *out_answer,
    struct sgate_error *err)
{
	struct fcgi_reader reader;
	struct buf request;
	enum sgate_status status;
	int fd = -1;

	memset(out_answer, 0, sizeof(*out_answer));
	fcgi_reader_init(&reader, call->answer_max_bytes);
	buf_init(&request);
	status = add_request(&request, call, err);
	if (status == SGATE_OK)
		status = connect_by_deadline(call, &fd, err);
	if (status == SGATE_OK)
		status = exchange(fd, call, buf_bytes(&request), &reader, err);
	if (fd >= 0)
		close(fd);
	buf_wipe(&request);
	/* Hand the buffers over; the reader's are empty from here on. */
	out_answer->raw = reader.output;
	out_answer->errors = reader.errors;
	if (status == SGATE_OK)
		status = fcgi_answer_split(out_answer, err);
	return status;
}

/* ---- the answer ---- */

void
fcgi_answer_clear(struct fcgi_answer *answer)
{
	buf_wipe(&answer->raw);
	buf_wipe(&answer->errors);
	memset(answer, 0, sizeof(*answer));
}

static enum sgate_status
answer_bad(struct sgate_error *err, const char *why)
{
	return error_set(err, SGATE_CORRUPT, "fastcgi", "read", 0,
	    "not an answer of sessgate: %s", why);
}

/* The next line without its end; false when there is no line end. */
static bool
next_line(struct sgate_bytes *rest, struct sgate_bytes *out_line)
{
	struct sgate_bytes left = *rest;

	*out_line = bytes_cut(&left, '\n');
	if (left.data == NULL)
		return false;
	*rest = left;
	if (out_line->len > 0 && out_line->data[out_line->len - 1] == '\r')
		out_line->len--;
	return true;
}

/* "404 Not Found" -> 404; 0 when it is no status. */
static int
status_number(struct sgate_bytes value)
{
	struct sgate_bytes digits = {value.data, 3};
	uint64_t number;

	if (value.len < 3 || (value.len > 3 && value.data[3] != ' ') ||
	    !bytes_to_uint(digits, 599, &number) || number < 100)
		return 0;
	return (int)number;
}

enum sgate_status
fcgi_answer_split(struct fcgi_answer *answer, struct sgate_error *err)
{
	struct sgate_bytes rest = buf_bytes(&answer->raw);
	struct sgate_bytes line, name, value;
	bool has_status = false;

	answer->status = 200;
	answer->content_type = (struct sgate_bytes){NULL, 0};
	answer->body = (struct sgate_bytes){NULL, 0};
	while (next_line(&rest, &line)) {
		if (line.len == 0) {
			answer->body = rest;
			return SGATE_OK;
		}
		value = line;
		name = bytes_cut(&value, ':');
		if (value.data == NULL || name.len == 0)
			return answer_bad(err, "a header without a name");
		value = bytes_trim(value);
		if (bytes_equal_nocase(name, "Content-Type"))
			answer->content_type = value;
		if (!bytes_equal_nocase(name, "Status"))
			continue;
		answer->status = status_number(value);
		if (has_status || answer->status == 0)
			return answer_bad(err, "a wrong Status header");
		has_status = true;
	}
	return answer_bad(err,
	    rest.len == 0 ? "it is empty or cut" : "its headers do not end");
}
