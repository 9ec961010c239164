/*
 * What comes on the tracker's two connections: messages and heads.
 *
 *   byte 0   bit 0: heads, else messages; bit 1: the rest is what a Redis would
 *            say, made from it, else it is taken as it comes
 *   byte 1   how the bytes are cut into pieces
 *
 * - Whatever the pieces, the same is told, and the same is wrong.
 * - What a Redis says is told as it is, once and in order.
 */
#include "config.h"

#include "fuzz.h"

#include "buf.h"
#include "cache_redis_push.h"
#include "token.h"

#include <inttypes.h>

/* What was told, as text. */
static void
note_changed(void *arg, const struct sgate_ref *ref)
{
	char text[SGATE_REF_HEX + 1];

	sgate_ref_text(ref, text);
	buf_printf(arg, "changed %s\n", text);
}

static void
note_all(void *arg)
{
	buf_add_text(arg, "all\n");
}

static void
note_head(void *arg, const struct tracking_head *head)
{
	buf_printf(arg, "head %d %" PRIu64 " %" PRId64 "\n", head->state,
	    head->version, head->last_seen_ms);
}

static void
feed_messages(struct sgate_bytes bytes, size_t piece, struct buf *told)
{
	const struct tracking_hooks hooks = {
	    .changed = note_changed, .changed_all = note_all, .arg = told};
	struct push *push = push_new("sg", &hooks);
	const char *wrong = NULL;
	uint64_t pong = 0, next;
	size_t part;

	MUST(push != NULL);
	for (; bytes.len > 0 && wrong == NULL; bytes.data += part) {
		part = piece > 0 && piece < bytes.len ? piece : bytes.len;
		wrong = push_feed(push, bytes.data, part);
		next = push_take_pong(push);
		pong = next > 0 ? next : pong;
		bytes.len -= part;
	}
	buf_printf(told, "%s, subscribed %d, pong %" PRIu64 "\n",
	    wrong == NULL ? "right" : wrong, push_is_subscribed(push), pong);
	push_free(push);
}

static void
feed_heads(struct sgate_bytes bytes, size_t piece, struct buf *told)
{
	struct heads *heads = heads_new(note_head, told);
	const char *wrong = NULL;
	size_t part;

	MUST(heads != NULL);
	for (; bytes.len > 0 && wrong == NULL; bytes.data += part) {
		part = piece > 0 && piece < bytes.len ? piece : bytes.len;
		wrong = heads_feed(heads, bytes.data, part);
		bytes.len -= part;
	}
	buf_printf(told, "%s\n", wrong == NULL ? "right" : wrong);
	heads_free(heads);
}

/* ---- what a Redis says ---- */

static void
say_word(struct buf *out, const char *word)
{
	buf_printf(out, "$%zu\r\n%s\r\n", strlen(word), word);
}

static void
say_keys(struct fuzz_input *in, unsigned count, struct buf *out,
    struct buf *expected)
{
	char text[SGATE_REF_HEX + 1], key[80];
	struct sgate_ref ref;
	unsigned i;
	size_t at;

	buf_printf(out, "*%u\r\n", count);
	for (i = 0; i < count; i++) {
		for (at = 0; at < sizeof(ref.bytes); at++)
			ref.bytes[at] = (unsigned char)fuzz_byte(in);
		sgate_ref_text(&ref, text);
		snprintf(key, sizeof(key), "sg:{%u}:s:%s",
		    token_ref_group(&ref), text);
		/* A key of the group beside it is nobody's. */
		if (fuzz_byte(in) % 8 == 1)
			key[4] = key[4] == '0' ? '2' : '0';
		else
			note_changed(expected, &ref);
		say_word(out, key);
	}
}

static void
say_messages(struct fuzz_input *in, struct buf *out, struct buf *expected)
{
	uint64_t pong = 0;
	char number[24];

	buf_add_text(out, "*3\r\n");
	say_word(out, "subscribe");
	say_word(out, TRACKING_CHANNEL);
	buf_add_text(out, ":1\r\n");
	while (in->left > 0) {
		unsigned what = fuzz_byte(in);

		if (what % 4 == 0) {
			pong = fuzz_byte(in) * 1000 + 1;
			buf_add_text(out, "*2\r\n");
			say_word(out, "pong");
			snprintf(number, sizeof(number), "%" PRIu64, pong);
			say_word(out, number);
			continue;
		}
		buf_add_text(out, "*3\r\n");
		say_word(out, "message");
		say_word(out, TRACKING_CHANNEL);
		if (what % 4 == 1) {
			buf_add_text(out, "$-1\r\n");
			note_all(expected);
		} else {
			say_keys(in, what / 4 % 8, out, expected);
		}
	}
	buf_printf(expected, "right, subscribed 1, pong %" PRIu64 "\n", pong);
}

static void
say_heads(struct fuzz_input *in, struct buf *out, struct buf *expected)
{
	while (in->left > 0) {
		struct tracking_head head = {.state = "LUT"[fuzz_byte(in) % 3],
		    .version = fuzz_byte(in) * UINT64_C(1000003),
		    .last_seen_ms = fuzz_byte(in) * INT64_C(7000000003)};

		if (fuzz_byte(in) % 4 == 1) {
			memset(&head, 0, sizeof(head));
			say_word(out, "");
		} else {
			buf_printf(out,
			    "$30\r\n%c0003%012" PRIu64 "%013" PRId64 "\r\n",
			    head.state, head.version, head.last_seen_ms);
		}
		note_head(expected, &head);
	}
	buf_add_text(expected, "right\n");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	unsigned what = fuzz_byte(&in), piece = fuzz_byte(&in);
	void (*feed)(struct sgate_bytes, size_t, struct buf *) =
	    (what & 1) != 0 ? feed_heads : feed_messages;
	struct buf said = {0}, expected = {0}, whole = {0}, pieces = {0};

	if ((what & 2) == 0)
		buf_add_bytes(&said, fuzz_rest(&in));
	else if ((what & 1) != 0)
		say_heads(&in, &said, &expected);
	else
		say_messages(&in, &said, &expected);
	feed(buf_bytes(&said), 0, &whole);
	feed(buf_bytes(&said), piece % 32 + 1, &pieces);
	MUST(!buf_failed(&said) && !buf_failed(&whole) && !buf_failed(&pieces));
	MUST(bytes_equal(buf_bytes(&whole), buf_bytes(&pieces)));
	if ((what & 2) != 0)
		MUST(bytes_equal(buf_bytes(&whole), buf_bytes(&expected)));
	buf_clear(&said);
	buf_clear(&expected);
	buf_clear(&whole);
	buf_clear(&pieces);
	return 0;
}
