/*
 * A growing string of bytes, and the few things that are done with bytes
 * everywhere: base64url and hex (by libsodium), names, integers, JSON text.
 *
 * A buffer that failed to grow stays failed ("sticky"): append as you like,
 * ask buf_failed() once at the end. data is always NUL-terminated.
 */
#ifndef SESSGATE_BUF_H
#define SESSGATE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "sessgate.h"

/*
 * Local variables are filled with zeros (-ftrivial-auto-var-init=zero). This is
 * for large ones of a hit's way, which are written before they are read.
 */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define BUF_NO_ZEROS __attribute__((uninitialized))
#endif
#endif
#ifndef BUF_NO_ZEROS
#define BUF_NO_ZEROS
#endif

struct buf {
	char *data; /* NULL until the first append */
	size_t len;
	size_t cap;
	bool failed;
};

/* {0} is an empty buffer too. */
void buf_init(struct buf *buf);
/* Frees. buf_wipe() overwrites what is in it first. */
void buf_clear(struct buf *buf);
void buf_wipe(struct buf *buf);
/* Hands the memory over (free() it); NULL when failed. Empties the buffer. */
char *buf_take(struct buf *buf);

/* Empties, keeps the memory; also a failed one may be used again. */
static inline void
buf_reset(struct buf *buf)
{
	buf->len = 0;
	buf->failed = false;
	if (buf->data != NULL)
		buf->data[0] = '\0';
}

static inline bool
buf_failed(const struct buf *buf)
{
	return buf->failed;
}

/* NUL-terminated; "" when empty or failed. Borrowed. */
static inline const char *
buf_text(const struct buf *buf)
{
	return buf->failed || buf->data == NULL ? "" : buf->data;
}

static inline struct sgate_bytes
buf_bytes(const struct buf *buf)
{
	struct sgate_bytes bytes = {buf_text(buf), buf->failed ? 0 : buf->len};

	return bytes;
}

/* buf_extend() where there is no room yet. */
char *buf_grow(struct buf *buf, size_t len);

/* len bytes more, for the caller to write at once; NULL: it has failed. */
static inline char *
buf_extend(struct buf *buf, size_t len)
{
	char *at;

	if (buf->failed || buf->cap - buf->len <= len)
		return buf_grow(buf, len);
	at = buf->data + buf->len;
	buf->len += len;
	buf->data[buf->len] = '\0';
	return at;
}

static inline void
buf_add(struct buf *buf, const void *data, size_t len)
{
	char *at = buf_extend(buf, len);

	if (at != NULL && len > 0)
		memcpy(at, data, len);
}

void buf_add_text(struct buf *buf, const char *text);
/* Takes back what stands behind the first len bytes; the memory stays. */
static inline void
buf_cut(struct buf *buf, size_t len)
{
	if (len >= buf->len)
		return;
	buf->len = len;
	buf->data[len] = '\0';
}
void buf_add_bytes(struct buf *buf, struct sgate_bytes bytes);
void buf_add_char(struct buf *buf, char c);
void buf_add_int(struct buf *buf, int64_t value);
void buf_add_uint(struct buf *buf, uint64_t value);
void buf_add_hex(struct buf *buf, const void *data, size_t len);
void buf_printf(struct buf *buf, const char *format, ...) SGATE_PRINTF(2, 3);
void buf_vprintf(struct buf *buf, const char *format, va_list args)
    SGATE_PRINTF(2, 0);
/* Percent-encodes all but [A-Za-z0-9-._~/], for a query value. */
void buf_add_url(struct buf *buf, struct sgate_bytes bytes);
/* & < > " ' as entities; control bytes as '?'. */
void buf_add_html(struct buf *buf, struct sgate_bytes bytes);
/* For one line of a log: bytes < 0x20, 0x7f, '"', '\\' and bad UTF-8 as \xNN.
 */
void buf_add_escaped(struct buf *buf, struct sgate_bytes bytes);
/* The same without '"' and '\\', for a line whose parts are escaped already. */
void buf_add_line(struct buf *buf, struct sgate_bytes bytes);

/* ---- bytes ---- */

struct sgate_bytes bytes_of(const char *text); /* NULL gives {NULL, 0} */
bool bytes_equal(struct sgate_bytes a, struct sgate_bytes b);
bool bytes_equal_text(struct sgate_bytes a, const char *text);
/* ASCII only, for header names and schemes. */
bool bytes_equal_nocase(struct sgate_bytes a, const char *text);
/* Without the blanks and tabs at both ends. */
struct sgate_bytes bytes_trim(struct sgate_bytes bytes);
/*
 * What stands in *rest before the first `separator`; *rest becomes what stands
 * behind it. Without one: all of it, and *rest becomes {NULL, 0}.
 */
static inline struct sgate_bytes
bytes_cut(struct sgate_bytes *rest, char separator)
{
	struct sgate_bytes part = *rest;
	const char *end =
	    part.len == 0 ? NULL : memchr(part.data, separator, part.len);

	if (end == NULL) {
		*rest = (struct sgate_bytes){NULL, 0};
		return part;
	}
	part.len = (size_t)(end - part.data);
	rest->data = end + 1;
	rest->len -= part.len + 1;
	return part;
}
bool bytes_is_utf8(struct sgate_bytes bytes);
/* Bytes of the first character; 0 when there is none or it is not UTF-8. */
size_t bytes_utf8_length(struct sgate_bytes bytes);
/* A byte < 0x20 or 0x7f. */
bool bytes_has_control(struct sgate_bytes bytes);
/* 1 to max bytes of [A-Za-z0-9] and of `more`. */
bool bytes_is_name(struct sgate_bytes bytes, size_t max, const char *more);
/* Decimal, "-" and 20 digits at most; not NUL-terminated. Its length. */
#define INT_TEXT_MAX 21
size_t int_text(int64_t value, char out[INT_TEXT_MAX]);
/* Decimal without sign or blanks, at most `max`. */
bool bytes_to_uint(struct sgate_bytes bytes, uint64_t max, uint64_t *out);
/* strdup for bytes: NUL-terminated, free() it; NULL when memory is out. */
char *bytes_dup(struct sgate_bytes bytes);

/*
 * An address as text to 4 or 16 bytes (out[16]) and back (out of at least 46
 * bytes). Length 0: not an address. No names are ever looked up. An IPv4
 * address mapped into IPv6 (::ffff:192.0.2.1) is that IPv4 address.
 */
size_t address_parse(struct sgate_bytes text, unsigned char out[16]);
/*
 * The same for an address that may have a port: "10.0.0.1:80", "2001:db8::1",
 * "[2001:db8::1]:80". Without one *io_port stays as it is.
 */
size_t address_port_parse(
    const char *text, unsigned char out[16], unsigned *io_port);
void address_text(const unsigned char *address, size_t len, char out[46]);

/* ---- JSON out ---- */

/*
 * Writes JSON text to a buffer: members get their commas by themselves.
 *   struct json j; json_init(&j, &buf);
 *   json_object(&j, NULL); json_int(&j, "version", 3); json_end(&j);
 * key is NULL for array elements and the outermost value. Depth up to 16;
 * deeper fails the buffer. Bad UTF-8 becomes U+FFFD.
 */
struct json {
	struct buf *buf;
	unsigned depth;
	bool needs_comma;
	char closers[16];
};
void json_init(struct json *json, struct buf *buf);
void json_object(struct json *json, const char *key);
void json_array(struct json *json, const char *key);
void json_end(struct json *json); /* closes the innermost of either */
void json_string(struct json *json, const char *key, struct sgate_bytes value);
void json_text(struct json *json, const char *key, const char *value);
void json_int(struct json *json, const char *key, int64_t value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
/* JSON text that is known to be right, as data is. */
void json_raw(struct json *json, const char *key, struct sgate_bytes value);

#endif
