/*
 * What is read without libfcgi must be read as head.c and request.c read it:
 * whole requests, each prefix of them, and each with a byte changed anywhere.
 * What differs from a plain check in any way must be left to them.
 */
#include "config.h"

#include "plain.h"

#include <stddef.h>
#include <stdlib.h>

#include "packet.h"
#include "tap.h"

#define MAX 65536

static struct plain plain;
static struct packet pairs, request;

/* ---- the reference ---- */

/* "NAME=value" strings of the pairs in a PARAMS content that head.c accepts. */
struct strings {
	char *items[HEAD_PARAMS_COUNT_MAX + 1];
	size_t count;
	char bytes[2 * MAX];
};

static size_t
take_length(const unsigned char **at)
{
	size_t len = *(*at)++;

	if (len < 128)
		return len;
	len = (len & 0x7f) << 24 | (size_t)(*at)[0] << 16 |
	      (size_t)(*at)[1] << 8 | (*at)[2];
	*at += 3;
	return len;
}

static void
make_strings(struct sgate_bytes content, struct strings *out)
{
	const unsigned char *at = (const unsigned char *)content.data;
	const unsigned char *end = at + content.len;
	char *to = out->bytes;

	for (out->count = 0; at < end; out->count++) {
		size_t name_len = take_length(&at),
		       value_len = take_length(&at);

		out->items[out->count] = to;
		to = mempcpy(to, at, name_len);
		*to++ = '=';
		to = mempcpy(to, at + name_len, value_len);
		*to++ = '\0';
		at += name_len + value_len;
	}
	out->items[out->count] = NULL;
}

/* Of the one PARAMS record that a plain request has, behind BEGIN_REQUEST. */
static struct sgate_bytes
content_of(struct sgate_bytes bytes)
{
	const unsigned char *h = (const unsigned char *)bytes.data + 16;

	return (struct sgate_bytes){bytes.data + 24, (size_t)h[4] << 8 | h[5]};
}

static void
assert_same_field(struct sgate_bytes a, struct sgate_bytes b)
{
	assert_int_equal(a.data == NULL, b.data == NULL);
	assert_int_equal(a.len, b.len);
	if (a.len > 0)
		assert_memory_equal(a.data, b.data, a.len);
}

static void
assert_same_request(const struct request *a, const struct request *b)
{
	const size_t first = offsetof(struct request, check);
	size_t at;

	assert_int_equal(a->role, b->role);
	assert_int_equal(a->method, b->method);
	assert_int_equal(a->is_malformed, b->is_malformed);
	for (at = first; at < sizeof(*a); at += sizeof(struct sgate_bytes)) {
		struct sgate_bytes one, other;

		memcpy(&one, (const char *)a + at, sizeof(one));
		memcpy(&other, (const char *)b + at, sizeof(other));
		assert_same_field(one, other);
	}
}

/* Whether it is plain; if so, that head.c and request.c say the same. */
static bool
is_plain(struct sgate_bytes bytes, size_t params_max)
{
	static struct strings strings;
	struct request found, expected;
	struct head head, judged;
	/* Of its own size, so that a read behind it is found. */
	char *copy = malloc(bytes.len > 0 ? bytes.len : 1);
	struct sgate_bytes copied = {copy, bytes.len};
	bool is;

	assert_non_null(copy);
	memcpy(copy, bytes.data, bytes.len);
	is = plain_read(&plain, copied, params_max, &head, &found);
	if (is) {
		assert_int_equal(
		    head_scan(copied, params_max, 0, &judged), HEAD_COMPLETE);
		assert_false(judged.is_malformed);
		assert_int_equal(head.head_len, judged.head_len);
		assert_int_equal(head.request_len, judged.request_len);
		assert_int_equal(head.body_len, judged.body_len);
		assert_int_equal(head.is_whole, judged.is_whole);
		assert_int_equal(head.is_authorizer, judged.is_authorizer);
		assert_int_equal(head.keep_connection, judged.keep_connection);
		assert_int_equal(head.is_malformed, judged.is_malformed);
		assert_int_equal(head.is_check, judged.is_check);
		make_strings(content_of(copied), &strings);
		request_init(&expected, strings.items, head.is_authorizer);
		assert_same_request(&found, &expected);
	}
	free(copy);
	return is;
}

/* ---- requests ---- */

enum shape { PLAIN, KEPT, PADDED, WITHOUT_STDIN, ID_300, SHAPES };

/* Of `pairs`. */
static void
make(int role, enum shape shape)
{
	int id = shape == ID_300 ? 300 : 1;
	unsigned char body[8] = {0, (unsigned char)role, shape == KEPT};

	request.len = 0;
	packet_record_of(&request, BEGIN_REQUEST, id, body, 8, 0);
	packet_record_of(&request, PARAMS, id, pairs.data, pairs.len,
	    shape == PADDED ? 5 : 0);
	packet_record_of(&request, PARAMS, id, "", 0, 0);
	if (shape != WITHOUT_STDIN && role == RESPONDER)
		packet_record_of(&request, STDIN, id, "", 0, 0);
}

static void
make_check_pairs(void)
{
	static const char *const names[] = {"HTTP_USER_AGENT",
	    "HTTP_IF_NONE_MATCH", "HTTP_X_FORWARDED_FOR", "SESSGATE_POLICY",
	    "SESSGATE_REALM", "FCGI_APACHE_ROLE", "HTTP_SEC_FETCH_SITE", "A",
	    "HTTP_X_A_NAME_OF_SOME_LENGTH", "HTTP_X_A_NAME_OF_SOME_LENGTI",
	    "REMOTE_USER", "REMOTE_USER"};
	char value[300];
	size_t i;

	packet_usual_pairs(&pairs);
	packet_pair(&pairs, "SESSGATE_CHECK", "1");
	memset(value, 'v', sizeof(value));
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		packet_pair_of(
		    &pairs, names[i], strlen(names[i]), value, 7 * i);
	packet_pair_of(&pairs, "HTTP_REFERER", 12, value, sizeof(value));
}

static void
checks_and_authorizers_are_plain_in_each_usual_shape(void **state)
{
	int shape;

	(void)state;
	for (shape = PLAIN; shape < SHAPES; shape++) {
		make_check_pairs();
		make(RESPONDER, (enum shape)shape);
		assert_true(is_plain(packet_bytes(&request), MAX));
		make(AUTHORIZER, (enum shape)shape);
		assert_true(is_plain(packet_bytes(&request), MAX));
		packet_usual_pairs(&pairs);
		make(AUTHORIZER, (enum shape)shape);
		assert_true(is_plain(packet_bytes(&request), MAX));
		/* No check: it may have a body. */
		make(RESPONDER, (enum shape)shape);
		assert_false(is_plain(packet_bytes(&request), MAX));
	}
}

static void
what_has_not_all_come_is_not_plain(void **state)
{
	struct sgate_bytes bytes;
	int shape;
	size_t len;

	(void)state;
	make_check_pairs();
	for (shape = PLAIN; shape < SHAPES; shape++) {
		make(RESPONDER, (enum shape)shape);
		bytes = packet_bytes(&request);
		for (len = 0; len < request.len; len++) {
			bytes.len = len;
			/* Complete without the STDIN that nobody waits for. */
			assert_int_equal(is_plain(bytes, MAX),
			    shape != WITHOUT_STDIN && shape != KEPT &&
				len == request.len - 8);
		}
	}
}

static void
a_changed_byte_anywhere_is_judged_as_elsewhere(void **state)
{
	static const unsigned char values[] = {
	    0, 1, 4, 5, 8, 16, '=', 0x1f, 'A', 0x7f, 0x80, 0xff};
	struct sgate_bytes bytes;
	size_t at, i, count = 0;
	int role;

	(void)state;
	for (role = RESPONDER; role <= AUTHORIZER; role++) {
		make_check_pairs();
		make(role, PADDED);
		bytes = packet_bytes(&request);
		for (at = 0; at < request.len; at++) {
			char kept = request.data[at];

			for (i = 0; i < sizeof(values); i++) {
				request.data[at] = (char)values[i];
				count += is_plain(bytes, MAX);
			}
			request.data[at] = (char)(kept ^ 1);
			count += is_plain(bytes, MAX);
			request.data[at] = kept;
		}
	}
	/* Most values may be anything, so many of them still are plain. */
	assert_true(count > 1000);
}

static void
a_name_is_looked_at_wherever_in_it_something_stands(void **state)
{
	static const char doubtful[] = {0, 0x1f, '\n', '=', 0x7f};
	char name[40];
	size_t len, at, i;

	(void)state;
	memset(name, 'N', sizeof(name));
	for (len = 1; len <= sizeof(name); len++) {
		packet_usual_pairs(&pairs);
		packet_pair_of(&pairs, name, len, "\x1f=\x7f\n", 4);
		make(AUTHORIZER, PLAIN);
		assert_true(is_plain(packet_bytes(&request), MAX));
		for (at = 0; at < len; at++) {
			for (i = 0; i < sizeof(doubtful); i++) {
				name[at] = doubtful[i];
				packet_usual_pairs(&pairs);
				packet_pair_of(&pairs, name, len, "", 0);
				make(AUTHORIZER, PLAIN);
				assert_false(
				    is_plain(packet_bytes(&request), MAX));
			}
			name[at] = 'N';
		}
	}
}

static void
a_nul_in_a_value_is_found_wherever_it_stands(void **state)
{
	char value[40];
	size_t len, at;

	(void)state;
	memset(value, '\x01', sizeof(value));
	for (len = 1; len <= sizeof(value); len++) {
		for (at = 0; at < len; at++) {
			value[at] = '\0';
			packet_usual_pairs(&pairs);
			packet_pair_of(&pairs, "X", 1, value, len);
			make(AUTHORIZER, PLAIN);
			assert_false(is_plain(packet_bytes(&request), MAX));
			value[at] = '\x01';
		}
	}
}

static void
a_name_that_stands_twice_is_not_plain(void **state)
{
	char name[41], value[8];
	size_t len;
	int i;

	(void)state;
	packet_usual_pairs(&pairs);
	packet_pair(&pairs, "HTTP_HOST", "");
	make(AUTHORIZER, PLAIN);
	assert_false(is_plain(packet_bytes(&request), MAX));
	/* Also with an empty value the first time. */
	packet_usual_pairs(&pairs);
	packet_pair(&pairs, "HTTP_ORIGIN", "");
	packet_pair(&pairs, "HTTP_ORIGIN", "x");
	make(AUTHORIZER, PLAIN);
	assert_false(is_plain(packet_bytes(&request), MAX));
	memset(name, 'N', sizeof(name));
	for (len = 1; len < sizeof(name); len++) {
		packet_usual_pairs(&pairs);
		packet_pair_of(&pairs, name, len, "a", 1);
		for (i = 0; i < 200; i++) {
			snprintf(value, sizeof(value), "X_%d", i);
			packet_pair(&pairs, value, "");
		}
		make(AUTHORIZER, PLAIN);
		assert_true(is_plain(packet_bytes(&request), MAX));
		packet_pair_of(&pairs, name, len, "", 0);
		make(AUTHORIZER, PLAIN);
		assert_false(is_plain(packet_bytes(&request), MAX));
	}
}

/* nginx's stock fastcgi_params and a line of one's own. */
static void
what_describes_a_body_may_stand_twice(void **state)
{
	static const char *const names[] = {"CONTENT_LENGTH", "CONTENT_TYPE"};
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		make_check_pairs();
		packet_pair(&pairs, names[i], "12");
		packet_pair(&pairs, names[i], "");
		make(RESPONDER, PLAIN);
		assert_true(is_plain(packet_bytes(&request), MAX));
		make(AUTHORIZER, PLAIN);
		assert_true(is_plain(packet_bytes(&request), MAX));
	}
}

static void
names_are_forgotten_from_one_request_to_the_next(void **state)
{
	int i;

	(void)state;
	make_check_pairs();
	make(RESPONDER, PLAIN);
	/* Over the end of what rounds are counted with. */
	plain.round = UINT32_MAX - 3;
	for (i = 0; i < 8; i++)
		assert_true(is_plain(packet_bytes(&request), MAX));
}

static void
too_many_or_too_large_params_are_not_plain(void **state)
{
	char name[16];
	int count, i;

	(void)state;
	for (count = HEAD_PARAMS_COUNT_MAX; count <= HEAD_PARAMS_COUNT_MAX + 1;
	     count++) {
		pairs.len = 0;
		for (i = 0; i < count; i++) {
			snprintf(name, sizeof(name), "NAME_%d", i);
			packet_pair(&pairs, name, "value");
		}
		make(AUTHORIZER, PLAIN);
		assert_int_equal(is_plain(packet_bytes(&request), MAX),
		    count == HEAD_PARAMS_COUNT_MAX);
	}
	make_check_pairs();
	make(RESPONDER, PLAIN);
	assert_true(is_plain(packet_bytes(&request), pairs.len));
	assert_false(is_plain(packet_bytes(&request), pairs.len - 1));
}

static void
lengths_that_point_elsewhere_are_not_plain(void **state)
{
	static const char *const contents[] = {"\x01",
	    "\x01\x01"
	    "a",
	    "\xff\xff\xff\xff",
	    "\xff\xff\xff\xff\x01"
	    "a",
	    "\x80\x00\x00\x01",
	    "\x01\xff\xff\xff\xff"
	    "a",
	    "\x05\x7f"
	    "abcde",
	    "\x7f\x05"
	    "abcde",
	    "\x80\x00\x00"};
	static const size_t lens[] = {1, 3, 4, 6, 4, 6, 7, 7, 3};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		packet_usual_pairs(&pairs);
		packet_add(&pairs, contents[i], lens[i]);
		make(AUTHORIZER, PLAIN);
		assert_false(is_plain(packet_bytes(&request), MAX));
	}
	pairs.len = 0;
	make(AUTHORIZER, PLAIN);
	assert_false(is_plain(packet_bytes(&request), MAX));
}

static void
other_records_are_not_plain(void **state)
{
	static struct packet second;
	size_t cut;

	(void)state;
	make_check_pairs();
	/* Params in two records. */
	for (cut = 1; cut < pairs.len; cut += 13) {
		packet_begin(&request, RESPONDER, 0);
		packet_record(&request, PARAMS, pairs.data, cut);
		packet_record(
		    &request, PARAMS, pairs.data + cut, pairs.len - cut);
		packet_record(&request, PARAMS, "", 0);
		assert_false(is_plain(packet_bytes(&request), MAX));
	}
	/* A body, something behind the end, and what is no STDIN. */
	make(RESPONDER, WITHOUT_STDIN);
	packet_record(&request, STDIN, "body", 4);
	assert_false(is_plain(packet_bytes(&request), MAX));
	make(RESPONDER, PLAIN);
	packet_add(&request, "x", 1);
	assert_false(is_plain(packet_bytes(&request), MAX));
	make(RESPONDER, PLAIN);
	second = request;
	packet_add(&request, second.data, second.len);
	assert_false(is_plain(packet_bytes(&request), MAX));
	make(RESPONDER, WITHOUT_STDIN);
	packet_record(&request, ABORT_REQUEST, "", 0);
	assert_false(is_plain(packet_bytes(&request), MAX));
	make(RESPONDER, WITHOUT_STDIN);
	packet_record_of(&request, STDIN, 2, "", 0, 0);
	assert_false(is_plain(packet_bytes(&request), MAX));
	make(RESPONDER, WITHOUT_STDIN);
	packet_record_of(&request, STDIN, 1, "", 0, 8);
	assert_false(is_plain(packet_bytes(&request), MAX));
	make(FILTER, PLAIN);
	assert_false(is_plain(packet_bytes(&request), MAX));
}

static void
a_kept_check_is_plain_with_its_stdin_alone(void **state)
{
	(void)state;
	make_check_pairs();
	make(RESPONDER, KEPT);
	assert_true(is_plain(packet_bytes(&request), MAX));
	request.len -= 8;
	assert_false(is_plain(packet_bytes(&request), MAX));
	make(AUTHORIZER, KEPT);
	assert_true(is_plain(packet_bytes(&request), MAX));
}

/* ---- answers ---- */

static void
an_answer_is_one_record_and_the_ends(void **state)
{
	struct buf answer = {0};
	struct request out;
	struct packet *expected = &request;
	struct head head;
	size_t len;

	(void)state;
	make_check_pairs();
	make(AUTHORIZER, ID_300);
	assert_true(
	    plain_read(&plain, packet_bytes(&request), MAX, &head, &out));
	for (len = 1; len <= 65535; len += len < 20 ? 1 : 6551) {
		char *text = malloc(len);

		assert_non_null(text);
		memset(text, 't', len);
		plain_begin(&answer);
		buf_add(&answer, text, len);
		assert_true(plain_end(&plain, &answer));
		expected->len = 0;
		packet_record_of(
		    expected, STDOUT, 300, text, len, (8 - len % 8) % 8);
		packet_record_of(expected, STDOUT, 300, "", 0, 0);
		packet_record_of(
		    expected, END_REQUEST, 300, "\0\0\0\0\0\0\0", 8, 0);
		assert_int_equal(answer.len, expected->len);
		assert_memory_equal(answer.data, expected->data, answer.len);
		free(text);
	}
	buf_clear(&answer);
}

static void
an_answer_that_is_none_or_too_large_is_left_as_it_is(void **state)
{
	struct buf answer = {0};
	size_t i;

	(void)state;
	plain_begin(&answer);
	assert_false(plain_end(&plain, &answer));
	assert_int_equal(plain_content(&answer).len, 0);
	for (i = 0; i < 65536; i++)
		buf_add_char(&answer, 'x');
	assert_false(plain_end(&plain, &answer));
	assert_int_equal(plain_content(&answer).len, 65536);
	assert_int_equal(plain_content(&answer).data[0], 'x');
	answer.failed = true;
	assert_false(plain_end(&plain, &answer));
	assert_int_equal(plain_content(&answer).len, 0);
	buf_clear(&answer);
}

static const struct CMUnitTest plain_tests[] = {
    cmocka_unit_test(checks_and_authorizers_are_plain_in_each_usual_shape),
    cmocka_unit_test(what_has_not_all_come_is_not_plain),
    cmocka_unit_test(a_changed_byte_anywhere_is_judged_as_elsewhere),
    cmocka_unit_test(a_name_is_looked_at_wherever_in_it_something_stands),
    cmocka_unit_test(a_nul_in_a_value_is_found_wherever_it_stands),
    cmocka_unit_test(a_name_that_stands_twice_is_not_plain),
    cmocka_unit_test(what_describes_a_body_may_stand_twice),
    cmocka_unit_test(names_are_forgotten_from_one_request_to_the_next),
    cmocka_unit_test(too_many_or_too_large_params_are_not_plain),
    cmocka_unit_test(lengths_that_point_elsewhere_are_not_plain),
    cmocka_unit_test(other_records_are_not_plain),
    cmocka_unit_test(a_kept_check_is_plain_with_its_stdin_alone),
    cmocka_unit_test(an_answer_is_one_record_and_the_ends),
    cmocka_unit_test(an_answer_that_is_none_or_too_large_is_left_as_it_is),
};

TAP_MAIN(plain_tests)
