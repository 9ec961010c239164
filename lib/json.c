/*
 * The JSON writer of buf.h. Text that it did not get as JSON comes out right
 * whatever the bytes are; bad UTF-8 becomes U+FFFD.
 */
#include "config.h"

#include "buf.h"

#include <assert.h>
#include <string.h>

void
json_init(struct json *json, struct buf *buf)
{
	memset(json, 0, sizeof(*json));
	json->buf = buf;
}

static void
add_string(struct buf *buf, struct sgate_bytes text)
{
	buf_add_char(buf, '"');
	while (text.len > 0) {
		unsigned char c = (unsigned char)text.data[0];
		size_t len = bytes_utf8_length(text);

		if (len == 0)
			buf_add_text(buf, "\xef\xbf\xbd");
		else if (c == '"' || c == '\\')
			buf_printf(buf, "\\%c", c);
		else if (c == '\n')
			buf_add_text(buf, "\\n");
		else if (c < 0x20 || c == 0x7f)
			buf_printf(buf, "\\u%04x", c);
		else
			buf_add(buf, text.data, len);
		text.data += len == 0 ? 1 : len;
		text.len -= len == 0 ? 1 : len;
	}
	buf_add_char(buf, '"');
}

static void
begin(struct json *json, const char *key)
{
	if (json->needs_comma)
		buf_add_char(json->buf, ',');
	json->needs_comma = true;
	if (key == NULL)
		return;
	add_string(json->buf, bytes_of(key));
	buf_add_char(json->buf, ':');
}

static void
open_level(struct json *json, const char *key, char opener, char closer)
{
	begin(json, key);
	buf_add_char(json->buf, opener);
	json->needs_comma = false;
	if (json->depth < sizeof(json->closers))
		json->closers[json->depth] = closer;
	else
		json->buf->failed = true;
	json->depth++;
}

void
json_object(struct json *json, const char *key)
{
	open_level(json, key, '{', '}');
}

void
json_array(struct json *json, const char *key)
{
	open_level(json, key, '[', ']');
}

void
json_end(struct json *json)
{
	assert(json->depth > 0);
	json->depth--;
	if (json->depth < sizeof(json->closers))
		buf_add_char(json->buf, json->closers[json->depth]);
	json->needs_comma = true;
}

void
json_string(struct json *json, const char *key, struct sgate_bytes value)
{
	begin(json, key);
	add_string(json->buf, value);
}

void
json_text(struct json *json, const char *key, const char *value)
{
	json_string(json, key, bytes_of(value));
}

void
json_int(struct json *json, const char *key, int64_t value)
{
	begin(json, key);
	buf_add_int(json->buf, value);
}

void
json_bool(struct json *json, const char *key, bool value)
{
	begin(json, key);
	buf_add_text(json->buf, value ? "true" : "false");
}

void
json_null(struct json *json, const char *key)
{
	begin(json, key);
	buf_add_text(json->buf, "null");
}

void
json_raw(struct json *json, const char *key, struct sgate_bytes value)
{
	begin(json, key);
	buf_add_bytes(json->buf, value);
}
