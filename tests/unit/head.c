/* The judge of request heads: every cut, limits, doubtful names, noise. */
#include "config.h"

#include "head.h"

#include <stdlib.h>
#include <string.h>

#include "packet.h"
#include "tap.h"

#define PARAMS_MAX 65536
#define BODY_MAX 131072

static struct packet pairs, packet;

static enum head_verdict
scan(const struct packet *p, struct head *out)
{
	return head_scan(packet_bytes(p), PARAMS_MAX, BODY_MAX, out);
}

static enum head_verdict
verdict(const struct packet *p)
{
	struct head head;

	return scan(p, &head);
}

static bool
is_malformed(const struct packet *p)
{
	struct head head;

	assert_int_equal(scan(p, &head), HEAD_COMPLETE);
	return head.is_malformed;
}

static void
every_prefix_of_a_responder_is_more(void **state)
{
	struct head head;
	size_t len;

	(void)state;
	packet_usual_pairs(&pairs);
	packet_request(&packet, RESPONDER, &pairs, "hello", 5);
	for (len = 0; len < packet.len; len++) {
		struct sgate_bytes bytes = {packet.data, len};

		assert_int_equal(
		    head_scan(bytes, PARAMS_MAX, BODY_MAX, &head), HEAD_MORE);
	}
	assert_int_equal(scan(&packet, &head), HEAD_COMPLETE);
	assert_true(head.is_whole);
	assert_int_equal(head.request_len, packet.len);
	assert_int_equal(head.head_len, packet.len - 8 - 13);
	assert_int_equal(head.body_len, 5);
	assert_false(head.is_authorizer);
	assert_false(head.keep_connection);
	assert_false(head.is_malformed);
	assert_false(head.is_check);
}

static void
every_prefix_of_an_authorizer_is_more(void **state)
{
	struct head head;
	size_t len;

	(void)state;
	packet_usual_pairs(&pairs);
	packet_request(&packet, AUTHORIZER, &pairs, "", 0);
	for (len = 0; len < packet.len; len++) {
		struct sgate_bytes bytes = {packet.data, len};

		assert_int_equal(
		    head_scan(bytes, PARAMS_MAX, BODY_MAX, &head), HEAD_MORE);
	}
	assert_int_equal(scan(&packet, &head), HEAD_COMPLETE);
	assert_int_equal(head.head_len, packet.len);
	assert_true(head.is_authorizer);
	assert_false(head.is_whole);
}

static void
any_cut_into_pieces_gives_the_same_verdict(void **state)
{
	struct head_parser parser;
	size_t size, at, part;

	(void)state;
	packet_usual_pairs(&pairs);
	packet_begin(&packet, RESPONDER, 1);
	packet_stream(&packet, PARAMS, pairs.data, pairs.len, 7, 3);
	packet_stream(&packet, STDIN, "some body", 9, 4, 5);
	for (size = 1; size < packet.len; size++) {
		head_init(&parser, PARAMS_MAX, BODY_MAX);
		for (at = 0; at < packet.len; at += part) {
			part = size < packet.len - at ? size : packet.len - at;
			assert_int_equal(parser.verdict, HEAD_MORE);
			head_feed(&parser,
			    (struct sgate_bytes){packet.data + at, part});
		}
		assert_int_equal(parser.verdict, HEAD_COMPLETE);
		assert_true(parser.head.keep_connection);
		assert_false(parser.head.is_malformed);
		assert_int_equal(parser.head.request_len, packet.len);
		assert_int_equal(parser.head.body_len, 9);
	}
}

static void
pairs_may_be_cut_across_records_anywhere(void **state)
{
	struct head head;
	size_t size, padding;

	(void)state;
	packet_usual_pairs(&pairs);
	for (size = 1; size < pairs.len + 2; size++) {
		for (padding = 0; padding < 256; padding += 51) {
			packet_begin(&packet, AUTHORIZER, 0);
			packet_stream(&packet, PARAMS, pairs.data, pairs.len,
			    size, padding);
			assert_int_equal(scan(&packet, &head), HEAD_COMPLETE);
			assert_false(head.is_malformed);
		}
	}
}

static void
a_check_is_complete_without_its_body(void **state)
{
	struct head head;
	size_t head_len;

	(void)state;
	packet_usual_pairs(&pairs);
	packet_pair(&pairs, "SESSGATE_CHECK", "1");
	packet_begin(&packet, RESPONDER, 0);
	packet_stream(&packet, PARAMS, pairs.data, pairs.len, 65528, 0);
	head_len = packet.len;
	assert_int_equal(scan(&packet, &head), HEAD_COMPLETE);
	assert_true(head.is_check);
	assert_false(head.is_whole);
	packet_record(&packet, STDIN, "x", 1);
	assert_int_equal(scan(&packet, &head), HEAD_COMPLETE);
	assert_false(head.is_whole);
	packet_record(&packet, STDIN, "", 0);
	assert_int_equal(scan(&packet, &head), HEAD_COMPLETE);
	assert_true(head.is_whole);
	assert_int_equal(head.request_len, packet.len);
	assert_int_equal(head.head_len, head_len);

	/* What is wrong behind a complete head makes it no less complete. */
	packet.len = head_len;
	packet_record(&packet, ABORT_REQUEST, "", 0);
	assert_int_equal(scan(&packet, &head), HEAD_COMPLETE);
	assert_false(head.is_whole);
}

static void
an_empty_sessgate_check_is_no_check(void **state)
{
	struct head head;

	(void)state;
	packet_usual_pairs(&pairs);
	packet_pair(&pairs, "SESSGATE_CHECK", "");
	packet_pair(&pairs, "SESSGATE_CHECKS", "1");
	packet_pair(&pairs, "SESSGATE_CHEC", "1");
	packet_begin(&packet, RESPONDER, 0);
	packet_stream(&packet, PARAMS, pairs.data, pairs.len, 65528, 0);
	assert_int_equal(scan(&packet, &head), HEAD_MORE);
	packet_record(&packet, STDIN, "", 0);
	assert_int_equal(scan(&packet, &head), HEAD_COMPLETE);
	assert_false(head.is_check);
}

static void
only_a_responder_or_an_authorizer_begins(void **state)
{
	int role;

	(void)state;
	packet_usual_pairs(&pairs);
	for (role = 0; role < 256; role++) {
		packet_request(&packet, role, &pairs, "", 0);
		assert_int_equal(verdict(&packet),
		    role == RESPONDER || role == AUTHORIZER ? HEAD_COMPLETE
							    : HEAD_BAD);
	}
	packet_request(&packet, AUTHORIZER, &pairs, "", 0);
	packet.data[8] = 1; /* the role's high byte */
	assert_int_equal(verdict(&packet), HEAD_BAD);
}

static void
records_that_libfcgi_must_not_see_are_bad(void **state)
{
	static const int types[] = {ABORT_REQUEST, END_REQUEST, STDIN, STDOUT,
	    STDERR, DATA, GET_VALUES, 10, 11, 12, 255, 0, BEGIN_REQUEST};
	size_t i;
	int id;

	(void)state;
	packet_usual_pairs(&pairs);
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		for (id = 0; id < 3; id++) {
			/* First of all. */
			packet.len = 0;
			packet_record_of(
			    &packet, types[i], id, "12345678", 8, 0);
			if (types[i] != BEGIN_REQUEST)
				assert_int_equal(verdict(&packet), HEAD_BAD);
			/* Among the params. */
			packet_begin(&packet, RESPONDER, 0);
			packet_record(&packet, PARAMS, pairs.data, pairs.len);
			packet_record_of(
			    &packet, types[i], id, "12345678", 8, 0);
			assert_int_equal(verdict(&packet), HEAD_BAD);
			/* In the body. */
			packet_request(&packet, RESPONDER, &pairs, "", 0);
			packet.len -= 8;
			packet_record_of(
			    &packet, types[i], id, "12345678", 8, 0);
			if (types[i] != STDIN || id != 1)
				assert_int_equal(verdict(&packet), HEAD_BAD);
		}
	}
}

static void
the_get_values_packet_that_crashes_libfcgi_is_bad(void **state)
{
	int i;

	(void)state;
	pairs.len = 0;
	for (i = 0; i < 2; i++) {
		packet_pair(&pairs, "FCGI_MAX_CONNS", "");
		packet_pair(&pairs, "FCGI_MAX_REQS", "");
		packet_pair(&pairs, "FCGI_MPXS_CONNS", "");
	}
	packet.len = 0;
	packet_record_of(&packet, GET_VALUES, 0, pairs.data, pairs.len, 0);
	assert_int_equal(verdict(&packet), HEAD_BAD);
}

/* Or libfcgi would read params in it that were not judged here. */
static void
padding_behind_the_begin_record_is_bad(void **state)
{
	static const char begin[8] = {0, AUTHORIZER};

	(void)state;
	packet_usual_pairs(&pairs);
	packet.len = 0;
	packet_record_of(&packet, BEGIN_REQUEST, 1, begin, sizeof(begin), 8);
	packet_stream(&packet, PARAMS, pairs.data, pairs.len, 65528, 0);
	assert_int_equal(verdict(&packet), HEAD_BAD);
}

static void
padding_behind_the_empty_params_record_is_bad(void **state)
{
	(void)state;
	packet_usual_pairs(&pairs);
	packet_begin(&packet, RESPONDER, 0);
	packet_record(&packet, PARAMS, pairs.data, pairs.len);
	packet_record_of(&packet, PARAMS, 1, "", 0, 8);
	assert_int_equal(verdict(&packet), HEAD_BAD);
}

static void
another_version_or_request_id_is_bad(void **state)
{
	size_t begin_len = 16, i;
	size_t headers[3];

	(void)state;
	packet_usual_pairs(&pairs);
	packet_request(&packet, RESPONDER, &pairs, "", 0);
	headers[0] = 0;
	headers[1] = begin_len;
	headers[2] = packet.len - 8;
	for (i = 0; i < 3; i++) {
		packet.data[headers[i]] = 0;
		assert_int_equal(verdict(&packet), HEAD_BAD);
		packet.data[headers[i]] = 2;
		assert_int_equal(verdict(&packet), HEAD_BAD);
		packet.data[headers[i]] = 1;
		packet.data[headers[i] + 3] = 0;
		assert_int_equal(verdict(&packet), HEAD_BAD);
		packet.data[headers[i] + 3] = 1;
		packet.data[headers[i] + 2] = 1;
		assert_int_equal(verdict(&packet), HEAD_BAD);
		packet.data[headers[i] + 2] = 0;
	}
	assert_int_equal(verdict(&packet), HEAD_COMPLETE);
	packet_begin(&packet, RESPONDER, 0);
	packet.data[5] = 7; /* BEGIN_REQUEST of another length */
	assert_int_equal(verdict(&packet), HEAD_BAD);
}

static void
params_that_end_within_a_pair_are_bad(void **state)
{
	size_t boundary, len;

	(void)state;
	pairs.len = 0;
	packet_pair(&pairs, "REQUEST_METHOD", "GET");
	boundary = pairs.len;
	packet_pair(&pairs, "REQUEST_URI", "/");
	for (len = 0; len <= pairs.len; len++) {
		packet_begin(&packet, AUTHORIZER, 0);
		packet_stream(&packet, PARAMS, pairs.data, len, 65528, 0);
		assert_int_equal(verdict(&packet),
		    len == 0 || len == boundary || len == pairs.len
			? HEAD_COMPLETE
			: HEAD_BAD);
	}
}

static void
long_lengths_are_refused_before_anything_is_allocated(void **state)
{
	static const char huge[][8] = {
	    {'\xff', '\xff', '\xff', '\xff', '\xff', '\xff', '\xff', '\xff'},
	    {'\xff', '\xff', '\xff', '\xfe', '\x80', 0, 0, 1},
	    {'\x80', 0, 0, 1, '\xff', '\xff', '\xff', '\xfe'},
	    {'\x80', 1, 0, 0, '\x80', 0, 0, 1}, /* 65,537 in all */
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
		packet_begin(&packet, AUTHORIZER, 0);
		packet_record(&packet, PARAMS, huge[i], 8);
		assert_int_equal(verdict(&packet), HEAD_BAD);
	}
}

static void
params_are_limited_in_bytes_and_in_number(void **state)
{
	static char value[PARAMS_MAX];
	char name[32];
	int i;

	(void)state;
	memset(value, 'v', sizeof(value));
	/* 1 byte of name length, 4 of value length, 1 of name. */
	pairs.len = 0;
	packet_pair_of(&pairs, "N", 1, value, PARAMS_MAX - 6);
	packet_begin(&packet, AUTHORIZER, 0);
	packet_stream(&packet, PARAMS, pairs.data, pairs.len, 65528, 0);
	assert_int_equal(verdict(&packet), HEAD_COMPLETE);
	pairs.len = 0;
	packet_pair_of(&pairs, "N", 1, value, PARAMS_MAX - 5);
	packet_begin(&packet, AUTHORIZER, 0);
	packet_stream(&packet, PARAMS, pairs.data, pairs.len, 65528, 0);
	assert_int_equal(verdict(&packet), HEAD_BAD);

	pairs.len = 0;
	for (i = 0; i < HEAD_PARAMS_COUNT_MAX; i++) {
		snprintf(name, sizeof(name), "NAME_%d", i);
		packet_pair(&pairs, name, "");
	}
	packet_request(&packet, AUTHORIZER, &pairs, "", 0);
	assert_false(is_malformed(&packet));
	packet_pair(&pairs, "ONE_MORE", "");
	packet_request(&packet, AUTHORIZER, &pairs, "", 0);
	assert_int_equal(verdict(&packet), HEAD_BAD);
}

static void
a_body_is_waited_for_up_to_the_limit(void **state)
{
	static char body[BODY_MAX + 1];
	struct head head;

	(void)state;
	packet_usual_pairs(&pairs);
	packet_request(&packet, RESPONDER, &pairs, body, BODY_MAX);
	packet.len -= 8;
	assert_int_equal(verdict(&packet), HEAD_MORE);
	packet.len += 8;
	assert_int_equal(scan(&packet, &head), HEAD_COMPLETE);
	assert_true(head.is_whole);
	assert_int_equal(head.body_len, BODY_MAX);
	packet_request(&packet, RESPONDER, &pairs, body, BODY_MAX + 1);
	packet.len -= 8;
	assert_int_equal(scan(&packet, &head), HEAD_COMPLETE);
	assert_false(head.is_whole);
	assert_int_equal(head.body_len, BODY_MAX + 1);
}

static bool
pair_is_malformed(
    const char *name, size_t name_len, const char *value, size_t value_len)
{
	size_t size;
	bool first = false;

	/* Whole, and cut into single bytes. */
	for (size = 65528; size > 0; size = size == 1 ? 0 : 1) {
		packet_usual_pairs(&pairs);
		packet_pair_of(&pairs, name, name_len, value, value_len);
		packet_begin(&packet, AUTHORIZER, 0);
		packet_stream(&packet, PARAMS, pairs.data, pairs.len, size, 0);
		if (size > 1)
			first = is_malformed(&packet);
		else
			assert_int_equal(is_malformed(&packet), first);
	}
	return first;
}

static void
doubtful_names_and_values_are_malformed(void **state)
{
	(void)state;
	assert_false(pair_is_malformed("NAME", 4, "value", 5));
	assert_false(pair_is_malformed("NAME", 4, "a\r\n\x01\xff=", 6));
	assert_true(pair_is_malformed("", 0, "", 0));
	assert_true(pair_is_malformed("", 0, "value", 5));
	assert_true(pair_is_malformed("NA=ME", 5, "value", 5));
	assert_true(pair_is_malformed("NA\0ME", 5, "value", 5));
	assert_true(pair_is_malformed("NAME\n", 5, "value", 5));
	assert_true(pair_is_malformed("NAME\x7f", 5, "value", 5));
	assert_true(pair_is_malformed("NAME", 4, "val\0ue", 6));
	assert_true(pair_is_malformed("NAME", 4, "\0", 1));
	assert_true(pair_is_malformed("HTTP_COOKIE", 11, "x", 1));
	assert_true(pair_is_malformed("EMPTY", 5, "", 0));
}

static void
names_that_stock_configurations_send_twice_may_be(void **state)
{
	static const char *const names[] = {
	    "REMOTE_USER", "CONTENT_LENGTH", "CONTENT_TYPE"};
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		packet_usual_pairs(&pairs);
		packet_pair(&pairs, names[i], "mallory");
		packet_pair(&pairs, names[i], "");
		packet_request(&packet, AUTHORIZER, &pairs, "", 0);
		assert_false(is_malformed(&packet));
		packet_request(&packet, RESPONDER, &pairs, "", 0);
		assert_int_equal(is_malformed(&packet), i > 0);
		/* Wherever the name of the check stands. */
		packet_pair(&pairs, "SESSGATE_CHECK", "1");
		packet_request(&packet, RESPONDER, &pairs, "", 0);
		assert_false(is_malformed(&packet));
		packet_pair(&pairs, "SESSGATE_CHECK", "1");
		packet_request(&packet, RESPONDER, &pairs, "", 0);
		assert_true(is_malformed(&packet));
	}
}

/* The same rules by another hand: slow, and only for bytes that are whole. */
static bool
is_right_by_the_book(const struct packet *p)
{
	const unsigned char *d = (const unsigned char *)p->data;
	static unsigned char content[sizeof(p->data)];
	size_t at = 0, len, padding, total = 0, i, name, value, count = 0;
	int role = 0, stage = 0;

	while (stage < 3) {
		if (p->len - at < 8)
			return false;
		len = (size_t)d[at + 4] << 8 | d[at + 5];
		padding = d[at + 6];
		if (d[at] != 1 || d[at + 2] != 0 || d[at + 3] != 1)
			return false;
		if (d[at + 1] != (stage == 0 ? 1 : stage == 1 ? 4 : 5))
			return false;
		at += 8;
		if (stage == 1 && len == 0 && padding != 0)
			return false;
		if (stage == 2 && len == 0)
			break;
		if (p->len - at < len + padding)
			return false;
		if (stage == 0) {
			if (len != 8 || d[at] != 0)
				return false;
			role = d[at + 1];
			if (role != RESPONDER && role != AUTHORIZER)
				return false;
		}
		if (stage == 1) {
			memcpy(content + total, d + at, len);
			total += len;
		}
		at += len + padding;
		if (stage == 0 || len == 0)
			stage++;
		if (stage == 2 && role == AUTHORIZER)
			stage = 3;
	}
	for (i = 0; i < total; i += name + value, count++) {
		if (i + 1 > total)
			return false;
		name = content[i];
		if (name >= 128) {
			if (total - i < 4)
				return false;
			name = (name & 127) << 24 |
			       (size_t)content[i + 1] << 16 |
			       (size_t)content[i + 2] << 8 | content[i + 3];
			i += 3;
		}
		i++;
		if (i >= total)
			return false;
		value = content[i];
		if (value >= 128) {
			if (total - i < 4)
				return false;
			value = (value & 127) << 24 |
				(size_t)content[i + 1] << 16 |
				(size_t)content[i + 2] << 8 | content[i + 3];
			i += 3;
		}
		i++;
		if (name > total - i || value > total - i - name)
			return false;
	}
	return total <= PARAMS_MAX && count <= HEAD_PARAMS_COUNT_MAX;
}

static void
a_changed_byte_is_complete_only_when_it_still_parses(void **state)
{
	size_t at, roles;
	int value;
	char right;

	(void)state;
	packet_usual_pairs(&pairs);
	for (roles = RESPONDER; roles <= AUTHORIZER; roles++) {
		packet_begin(&packet, (int)roles, 0);
		packet_stream(&packet, PARAMS, pairs.data, pairs.len, 100, 3);
		if (roles == RESPONDER)
			packet_stream(&packet, STDIN, "body", 4, 3, 0);
		for (at = 0; at < packet.len; at++) {
			right = packet.data[at];
			for (value = 0; value < 256; value++) {
				packet.data[at] = (char)value;
				if (verdict(&packet) == HEAD_COMPLETE)
					assert_true(
					    is_right_by_the_book(&packet));
				else
					assert_false(
					    is_right_by_the_book(&packet));
			}
			packet.data[at] = right;
		}
	}
}

static void
noise_neither_crashes_nor_reads_beyond(void **state)
{
	struct head_parser whole, pieces;
	size_t at, part;
	unsigned round, changes, i;
	char *exact;

	(void)state;
	srandom(20261122);
	for (round = 0; round < 100000; round++) {
		packet_usual_pairs(&pairs);
		pairs.len = (size_t)random() % (pairs.len + 1);
		packet_begin(
		    &packet, 1 + (int)(random() % 2), (int)(random() % 2));
		packet_stream(&packet, PARAMS, pairs.data, pairs.len,
		    1 + (size_t)random() % 300, (size_t)random() % 8);
		packet_stream(&packet, STDIN, "some body", 9,
		    1 + (size_t)random() % 9, 0);
		changes = (unsigned)random() % 4;
		for (i = 0; i < changes; i++)
			packet.data[(size_t)random() % packet.len] =
			    (char)random();
		packet.len -= (size_t)random() % 3 == 0
				  ? (size_t)random() % packet.len
				  : 0;
		/* On the heap, so that a sanitizer sees the end. */
		exact = malloc(packet.len);
		assert_non_null(exact);
		memcpy(exact, packet.data, packet.len);
		head_init(&whole, PARAMS_MAX, BODY_MAX);
		head_feed(&whole, (struct sgate_bytes){exact, packet.len});
		head_init(&pieces, PARAMS_MAX, BODY_MAX);
		for (at = 0; at < packet.len; at += part) {
			part = 1 + (size_t)random() % (packet.len - at);
			head_feed(
			    &pieces, (struct sgate_bytes){exact + at, part});
		}
		free(exact);
		assert_int_equal(whole.verdict, pieces.verdict);
		if (whole.verdict == HEAD_COMPLETE)
			assert_memory_equal(
			    &whole.head, &pieces.head, sizeof(whole.head));
	}
}

static const struct CMUnitTest head_tests[] = {
    cmocka_unit_test(every_prefix_of_a_responder_is_more),
    cmocka_unit_test(every_prefix_of_an_authorizer_is_more),
    cmocka_unit_test(any_cut_into_pieces_gives_the_same_verdict),
    cmocka_unit_test(pairs_may_be_cut_across_records_anywhere),
    cmocka_unit_test(a_check_is_complete_without_its_body),
    cmocka_unit_test(an_empty_sessgate_check_is_no_check),
    cmocka_unit_test(only_a_responder_or_an_authorizer_begins),
    cmocka_unit_test(records_that_libfcgi_must_not_see_are_bad),
    cmocka_unit_test(the_get_values_packet_that_crashes_libfcgi_is_bad),
    cmocka_unit_test(padding_behind_the_begin_record_is_bad),
    cmocka_unit_test(padding_behind_the_empty_params_record_is_bad),
    cmocka_unit_test(another_version_or_request_id_is_bad),
    cmocka_unit_test(params_that_end_within_a_pair_are_bad),
    cmocka_unit_test(long_lengths_are_refused_before_anything_is_allocated),
    cmocka_unit_test(params_are_limited_in_bytes_and_in_number),
    cmocka_unit_test(a_body_is_waited_for_up_to_the_limit),
    cmocka_unit_test(doubtful_names_and_values_are_malformed),
    cmocka_unit_test(names_that_stock_configurations_send_twice_may_be),
    cmocka_unit_test(a_changed_byte_is_complete_only_when_it_still_parses),
    cmocka_unit_test(noise_neither_crashes_nor_reads_beyond),
};

TAP_MAIN(head_tests)
