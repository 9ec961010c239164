/*
 * Growing strings and the small things that are done with bytes. The JSON
 * writer is in json.c.
 *
 * Buffers also hold tokens and bodies, so memory that a buffer outgrows is
 * wiped before it is freed: realloc() could leave a copy behind.
 */
#include "config.h"

#include "buf.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

/* No answer, body or page comes near this: more is a bug that runs away. */
#define BUF_LEN_MAX ((size_t)64 * 1024 * 1024)

void
buf_init(struct buf *buf)
{
	memset(buf, 0, sizeof(*buf));
}

void
buf_clear(struct buf *buf)
{
	free(buf->data);
	buf_init(buf);
}

void
buf_wipe(struct buf *buf)
{
	if (buf->data != NULL)
		explicit_bzero(buf->data, buf->cap);
	buf_clear(buf);
}

/* Room for len more bytes and the NUL; false when there is none. */
static bool
reserve(struct buf *buf, size_t len)
{
	size_t cap;
	char *data;

	if (buf->failed)
		return false;
	if (len > BUF_LEN_MAX - buf->len) {
		buf->failed = true;
		return false;
	}
	if (buf->data != NULL && buf->cap - buf->len > len)
		return true;
	cap = buf->cap < 64 ? 64 : buf->cap;
	while (cap - buf->len <= len)
		cap *= 2;
	/* So that who finds room need not look at the limit. */
	if (cap > BUF_LEN_MAX)
		cap = BUF_LEN_MAX + 1;
	data = malloc(cap);
	if (data == NULL) {
		buf->failed = true;
		return false;
	}
	if (buf->data != NULL) {
		memcpy(data, buf->data, buf->len);
		explicit_bzero(buf->data, buf->cap);
		free(buf->data);
	}
	data[buf->len] = '\0';
	buf->data = data;
	buf->cap = cap;
	return true;
}

char *
buf_take(struct buf *buf)
{
	char *data;

	if (!reserve(buf, 0)) {
		buf_wipe(buf);
		return NULL;
	}
	data = buf->data;
	buf_init(buf);
	return data;
}

char *
buf_grow(struct buf *buf, size_t len)
{
	return reserve(buf, len) ? buf_extend(buf, len) : NULL;
}

void
buf_add_text(struct buf *buf, const char *text)
{
	if (text != NULL)
		buf_add(buf, text, strlen(text));
}

void
buf_add_bytes(struct buf *buf, struct sgate_bytes bytes)
{
	buf_add(buf, bytes.data, bytes.len);
}

void
buf_add_char(struct buf *buf, char c)
{
	buf_add(buf, &c, 1);
}

/* 00 to 99. */
static const char two_digits[] = "0001020304050607080910111213141516171819"
				 "2021222324252627282930313233343536373839"
				 "4041424344454647484950515253545556575859"
				 "6061626364656667686970717273747576777879"
				 "8081828384858687888990919293949596979899";

/* How many digits it has: by its bits (1233 / 4096 is about log10(2)). */
static size_t
digits_of(uint64_t value)
{
	static const uint64_t tens[] = {UINT64_C(0), UINT64_C(10),
	    UINT64_C(100), UINT64_C(1000), UINT64_C(10000), UINT64_C(100000),
	    UINT64_C(1000000), UINT64_C(10000000), UINT64_C(100000000),
	    UINT64_C(1000000000), UINT64_C(10000000000), UINT64_C(100000000000),
	    UINT64_C(1000000000000), UINT64_C(10000000000000),
	    UINT64_C(100000000000000), UINT64_C(1000000000000000),
	    UINT64_C(10000000000000000), UINT64_C(100000000000000000),
	    UINT64_C(1000000000000000000), UINT64_C(10000000000000000000)};
	size_t bits = 64 - (size_t)__builtin_clzll(value | 1);
	size_t less = bits * 1233 >> 12;

	return less + (value >= tens[less]);
}

/*
 * All eight at once: four digits in each half of a word, then two in each
 * quarter, then one in each byte. x * 10486 >> 20 is x / 100 below 10000,
 * x * 103 >> 10 is x / 10 below 100, and neither reaches into its neighbour.
 */
static void
eight_digits(uint32_t value, char *out)
{
	uint64_t word = value / 10000 | (uint64_t)(value % 10000) << 32;
	uint64_t high;

	high = word * 10486 >> 20 & UINT64_C(0x0000007f0000007f);
	word = high | (word - high * 100) << 16;
	high = word * 103 >> 10 & UINT64_C(0x000f000f000f000f);
	word = high | (word - high * 10) << 8;
	word = htole64(word | UINT64_C(0x3030303030303030));
	memcpy(out, &word, sizeof(word));
}

/* What moments in seconds have, from 2001 to 2286. */
static size_t
ten_digits(uint64_t value, char *out)
{
	const uint64_t eight = 100000000;
	uint64_t first = value / eight;

	memcpy(out, two_digits + first * 2, 2);
	eight_digits((uint32_t)(value - first * eight), out + 2);
	return 10;
}

/* From the end to the begin, two at a time. */
static size_t
uint_text(uint64_t value, char *out)
{
	size_t len, at;

	if (value - 1000000000 < 9000000000)
		return ten_digits(value, out);
	len = at = digits_of(value);
	for (; value > 99; value /= 100) {
		at -= 2;
		memcpy(out + at, two_digits + value % 100 * 2, 2);
	}
	if (at == 2)
		memcpy(out, two_digits + value * 2, 2);
	else
		out[0] = (char)('0' + value);
	return len;
}

size_t
int_text(int64_t value, char out[INT_TEXT_MAX])
{
	if (value >= 0)
		return uint_text((uint64_t)value, out);
	out[0] = '-';
	return 1 + uint_text(-(uint64_t)value, out + 1);
}

void
buf_add_int(struct buf *buf, int64_t value)
{
	char text[INT_TEXT_MAX];

	buf_add(buf, text, int_text(value, text));
}

void
buf_add_uint(struct buf *buf, uint64_t value)
{
	char text[INT_TEXT_MAX];

	buf_add(buf, text, uint_text(value, text));
}

void
buf_add_hex(struct buf *buf, const void *data, size_t len)
{
	if (len > BUF_LEN_MAX / 2) {
		buf->failed = true;
		return;
	}
	if (!reserve(buf, len * 2))
		return;
	sodium_bin2hex(buf->data + buf->len, len * 2 + 1, data, len);
	buf->len += len * 2;
}

void
buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buf_vprintf(buf, format, args);
	va_end(args);
}

void
buf_vprintf(struct buf *buf, const char *format, va_list args)
{
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (len < 0) {
		buf->failed = true;
		return;
	}
	if (!reserve(buf, (size_t)len))
		return;
	vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
	buf->len += (size_t)len;
}

/* ---- characters ---- */

/* ASCII whatever the locale is. */
static bool
is_alnum(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z');
}

static bool
is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

size_t
bytes_utf8_length(struct sgate_bytes bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.data;
	unsigned char low = 0x80, high = 0xbf;
	size_t len, i;

	if (bytes.len == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	/* Unicode 15, table 3-7: what the second byte may be. */
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (bytes.len < len || p[1] < low || p[1] > high)
		return 0;
	for (i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

static struct sgate_bytes
skip(struct sgate_bytes bytes, size_t len)
{
	bytes.data += len;
	bytes.len -= len;
	return bytes;
}

void
buf_add_url(struct buf *buf, struct sgate_bytes bytes)
{
	size_t i;

	for (i = 0; i < bytes.len; i++) {
		unsigned char c = (unsigned char)bytes.data[i];

		if (is_alnum(c) || (c != '\0' && strchr("-._~/", c) != NULL))
			buf_add_char(buf, (char)c);
		else
			buf_printf(buf, "%%%02X", c);
	}
}

static const char *
html_entity(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

void
buf_add_html(struct buf *buf, struct sgate_bytes bytes)
{
	while (bytes.len > 0) {
		size_t len = bytes_utf8_length(bytes);
		const char *entity = html_entity(bytes.data[0]);

		if (entity != NULL)
			buf_add_text(buf, entity);
		else if (len == 0 || is_control((unsigned char)bytes.data[0]))
			buf_add_char(buf, '?');
		else
			buf_add(buf, bytes.data, len);
		bytes = skip(bytes, len == 0 ? 1 : len);
	}
}

/*
 * Also escaped: U+0080 to U+009F. A terminal takes U+009B as it takes ESC [.
 */
static void
add_escaped(struct buf *buf, struct sgate_bytes bytes, const char *more)
{
	while (bytes.len > 0) {
		unsigned char c = (unsigned char)bytes.data[0];
		size_t len = bytes_utf8_length(bytes);
		size_t i;

		if (len == 0 || is_control(c) || strchr(more, c) != NULL)
			buf_printf(buf, "\\x%02x", c);
		else if (c == 0xc2 && (unsigned char)bytes.data[1] < 0xa0)
			for (i = 0; i < len; i++)
				buf_printf(buf, "\\x%02x",
				    (unsigned char)bytes.data[i]);
		else
			buf_add(buf, bytes.data, len);
		bytes = skip(bytes, len == 0 ? 1 : len);
	}
}

void
buf_add_escaped(struct buf *buf, struct sgate_bytes bytes)
{
	add_escaped(buf, bytes, "\"\\");
}

void
buf_add_line(struct buf *buf, struct sgate_bytes bytes)
{
	add_escaped(buf, bytes, "");
}

/* ---- bytes ---- */

struct sgate_bytes
bytes_of(const char *text)
{
	struct sgate_bytes bytes = {text, text == NULL ? 0 : strlen(text)};

	return bytes;
}

bool
bytes_equal(struct sgate_bytes a, struct sgate_bytes b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool
bytes_equal_text(struct sgate_bytes a, const char *text)
{
	return bytes_equal(a, bytes_of(text));
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool
bytes_equal_nocase(struct sgate_bytes a, const char *text)
{
	struct sgate_bytes b = bytes_of(text);
	size_t i;

	if (a.len != b.len)
		return false;
	for (i = 0; i < a.len; i++)
		if (lower(a.data[i]) != lower(b.data[i]))
			return false;
	return true;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct sgate_bytes
bytes_trim(struct sgate_bytes bytes)
{
	while (bytes.len > 0 && is_blank(bytes.data[0]))
		bytes = skip(bytes, 1);
	while (bytes.len > 0 && is_blank(bytes.data[bytes.len - 1]))
		bytes.len--;
	return bytes;
}

bool
bytes_is_utf8(struct sgate_bytes bytes)
{
	while (bytes.len > 0) {
		size_t len = bytes_utf8_length(bytes);

		if (len == 0)
			return false;
		bytes = skip(bytes, len);
	}
	return true;
}

/*
 * The bit 0x80 of the lowest byte that is below 0x20 or 0x7f; other bits may be
 * set besides, but not when there is no such byte: (x - n) & ~x.
 */
static uint64_t
control_bits(uint64_t word)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);

	return ((word - ones * 0x20) | ((word ^ ones * 0x7f) - ones)) & ~word &
	       ones * 0x80;
}

static uint64_t
load_word(const char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

typedef unsigned char octets __attribute__((vector_size(16)));

static octets
load_octets(const char *at)
{
	octets bytes;

	memcpy(&bytes, at, sizeof(bytes));
	return bytes;
}

/* As control_bits(), of more than sixteen bytes and exactly. */
static bool
many_have_control(struct sgate_bytes bytes)
{
	octets at, found = {0};
	uint64_t words[2];
	size_t i;

	for (i = 0; i + sizeof(at) < bytes.len; i += sizeof(at)) {
		at = load_octets(bytes.data + i);
		found |= (octets)((at < 0x20) | (at == 0x7f));
	}
	at = load_octets(bytes.data + bytes.len - sizeof(at));
	found |= (octets)((at < 0x20) | (at == 0x7f));
	memcpy(words, &found, sizeof(words));
	return (words[0] | words[1]) != 0;
}

/*
 * Eight or sixteen at a time, the last ones together with some before them: it
 * is asked of all that goes into a header.
 */
bool
bytes_has_control(struct sgate_bytes bytes)
{
	uint64_t found = 0;
	size_t i;

	if (bytes.len > sizeof(octets))
		return many_have_control(bytes);
	if (bytes.len < sizeof(found)) {
		for (i = 0; i < bytes.len; i++)
			found |= is_control((unsigned char)bytes.data[i]);
		return found != 0;
	}
	found = control_bits(load_word(bytes.data));
	found |=
	    control_bits(load_word(bytes.data + bytes.len - sizeof(found)));
	return found != 0;
}

bool
bytes_is_name(struct sgate_bytes bytes, size_t max, const char *more)
{
	size_t i;

	if (bytes.len == 0 || bytes.len > max)
		return false;
	for (i = 0; i < bytes.len; i++) {
		unsigned char c = (unsigned char)bytes.data[i];

		if (!is_alnum(c) && (c == '\0' || strchr(more, c) == NULL))
			return false;
	}
	return true;
}

bool
bytes_to_uint(struct sgate_bytes bytes, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;
	size_t i;

	*out = 0;
	if (bytes.len == 0)
		return false;
	for (i = 0; i < bytes.len; i++) {
		unsigned digit = (unsigned char)bytes.data[i] - (unsigned)'0';

		if (digit > 9 || value > max / 10 || digit > max - value * 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

char *
bytes_dup(struct sgate_bytes bytes)
{
	char *text = malloc(bytes.len + 1);

	if (text == NULL)
		return NULL;
	if (bytes.len > 0)
		memcpy(text, bytes.data, bytes.len);
	text[bytes.len] = '\0';
	return text;
}

/* ---- addresses ---- */

size_t
address_parse(struct sgate_bytes text, unsigned char out[16])
{
	static const unsigned char mapped[12] = {
	    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	char copy[INET6_ADDRSTRLEN];

	memset(out, 0, 16);
	if (text.len == 0 || text.len >= sizeof(copy) ||
	    memchr(text.data, '\0', text.len) != NULL)
		return 0;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET, copy, out) == 1)
		return 4;
	if (inet_pton(AF_INET6, copy, out) != 1) {
		memset(out, 0, 16);
		return 0;
	}
	if (memcmp(out, mapped, sizeof(mapped)) != 0)
		return 16;
	memmove(out, out + 12, 4);
	memset(out + 4, 0, 12);
	return 4;
}

size_t
address_port_parse(const char *text, unsigned char out[16], unsigned *io_port)
{
	struct sgate_bytes address = bytes_of(text);
	const char *port = NULL;
	uint64_t number = *io_port;
	const char *end;
	size_t len;

	if (*text == '[') {
		end = strchr(text, ']');
		address = bytes_of(text + 1);
		address.len = end == NULL ? 0 : (size_t)(end - text) - 1;
		port = end == NULL || end[1] == '\0' ? NULL : end + 1;
	} else if (strchr(text, ':') == strrchr(text, ':')) {
		port = strchr(text, ':');
		if (port != NULL)
			address.len = (size_t)(port - text);
	}
	len = address_parse(address, out);
	if (port != NULL &&
	    (*port != ':' ||
		!bytes_to_uint(bytes_of(port + 1), UINT16_MAX, &number) ||
		number == 0)) {
		memset(out, 0, 16);
		return 0;
	}
	if (len > 0)
		*io_port = (unsigned)number;
	return len;
}

/* As inet_ntop(), which formats with printf: each check writes an address. */
static void
ipv4_text(const unsigned char address[4], char *out)
{
	size_t i;

	for (i = 0; i < 4; i++) {
		if (i > 0)
			*out++ = '.';
		out += uint_text(address[i], out);
	}
	*out = '\0';
}

void
address_text(const unsigned char *address, size_t len, char out[46])
{
	out[0] = '\0';
	if (len == 4)
		ipv4_text(address, out);
	else if (len == 16)
		inet_ntop(AF_INET6, address, out, 46);
}
