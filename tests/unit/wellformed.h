/*
 * Whether bytes are the inside of a well-formed XML element, as what we write
 * is: elements that are closed, attributes in double quotes and each once, the
 * five entities, UTF-8 without control bytes. Fails the test where they are
 * not. Each id stands once.
 */
#ifndef TESTS_UNIT_WELLFORMED_H
#define TESTS_UNIT_WELLFORMED_H

#include "buf.h"

#define WELLFORMED_DEPTH 32
#define WELLFORMED_IDS 256

struct wellformed {
	const char *at, *end;
	struct sgate_bytes open[WELLFORMED_DEPTH];
	size_t depth;
	struct sgate_bytes ids[WELLFORMED_IDS];
	size_t ids_count;
	size_t elements;
};

static void
wellformed_fail(const struct wellformed *w, const char *why)
{
	size_t left = (size_t)(w->end - w->at);

	fail_msg("%s: %.*s", why, (int)(left < 60 ? left : 60), w->at);
}

static bool
wellformed_take(struct wellformed *w, const char *text)
{
	size_t len = strlen(text);

	if ((size_t)(w->end - w->at) < len || memcmp(w->at, text, len) != 0)
		return false;
	w->at += len;
	return true;
}

static struct sgate_bytes
wellformed_name(struct wellformed *w)
{
	struct sgate_bytes name = {w->at, 0};

	while (w->at < w->end &&
	       ((*w->at >= 'a' && *w->at <= 'z') ||
		   (*w->at >= 'A' && *w->at <= 'Z') || *w->at == '-' ||
		   (*w->at >= '0' && *w->at <= '9')))
		w->at++;
	name.len = (size_t)(w->at - name.data);
	if (name.len == 0)
		wellformed_fail(w, "no name");
	return name;
}

static void
wellformed_entity(struct wellformed *w)
{
	static const char *const all[] = {
	    "&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (wellformed_take(w, all[i]))
			return;
	wellformed_fail(w, "no entity");
}

/* Text up to one of the bytes of `stop`. */
static void
wellformed_text(struct wellformed *w, char stop)
{
	while (w->at < w->end && *w->at != stop) {
		if (*w->at == '&') {
			wellformed_entity(w);
			continue;
		}
		if (*w->at == '<' || *w->at == '>' ||
		    ((unsigned char)*w->at < 0x20 && *w->at != '\n'))
			wellformed_fail(w, "no text");
		w->at++;
	}
}

static void
wellformed_id(struct wellformed *w, struct sgate_bytes id)
{
	size_t i;

	for (i = 0; i < w->ids_count; i++)
		if (bytes_equal(w->ids[i], id))
			wellformed_fail(w, "an id stands twice");
	if (w->ids_count == WELLFORMED_IDS)
		wellformed_fail(w, "too many ids");
	w->ids[w->ids_count++] = id;
}

static void
wellformed_attribute(
    struct wellformed *w, struct sgate_bytes *names, size_t count)
{
	struct sgate_bytes value;
	size_t i;

	names[count] = wellformed_name(w);
	for (i = 0; i < count; i++)
		if (bytes_equal(names[i], names[count]))
			wellformed_fail(w, "an attribute stands twice");
	if (!wellformed_take(w, "=\""))
		wellformed_fail(w, "no value");
	value.data = w->at;
	wellformed_text(w, '"');
	value.len = (size_t)(w->at - value.data);
	if (!wellformed_take(w, "\""))
		wellformed_fail(w, "a value without an end");
	if (bytes_equal_text(names[count], "id"))
		wellformed_id(w, value);
	if (bytes_equal_text(names[count], "style"))
		wellformed_fail(w, "the policy would refuse a style");
}

static void
wellformed_open_tag(struct wellformed *w)
{
	struct sgate_bytes name = wellformed_name(w), attributes[16];
	size_t count = 0;

	w->elements++;
	while (wellformed_take(w, " ")) {
		if (count == 16)
			wellformed_fail(w, "too many attributes");
		wellformed_attribute(w, attributes, count++);
	}
	if (wellformed_take(w, "/>"))
		return;
	if (!wellformed_take(w, ">"))
		wellformed_fail(w, "no end of a tag");
	if (w->depth == WELLFORMED_DEPTH)
		wellformed_fail(w, "too deep");
	w->open[w->depth++] = name;
}

static void
wellformed_close_tag(struct wellformed *w)
{
	struct sgate_bytes name = wellformed_name(w);

	if (w->depth == 0 || !bytes_equal(w->open[w->depth - 1], name))
		wellformed_fail(w, "closes what is not open");
	w->depth--;
	if (!wellformed_take(w, ">"))
		wellformed_fail(w, "no end of a tag");
}

/* How many elements there are. */
static size_t
wellformed(struct sgate_bytes text)
{
	struct wellformed w = {.at = text.data, .end = text.data + text.len};

	if (!bytes_is_utf8(text))
		wellformed_fail(&w, "no UTF-8");
	while (w.at < w.end) {
		if (wellformed_take(&w, "</"))
			wellformed_close_tag(&w);
		else if (wellformed_take(&w, "<"))
			wellformed_open_tag(&w);
		else
			wellformed_text(&w, '<');
	}
	if (w.depth != 0)
		wellformed_fail(&w, "not closed");
	return w.elements;
}

#endif
