/*
 * What the tracker makes of what Redis sends, and of what no Redis sends; and
 * what it takes a PONG for.
 */
#include "config.h"

#include "cache_redis_push.h"

#include "buf.h"
#include "clock.h"
#include "contract/cache_peer.h"
#include "tap.h"
#include "token.h"

#include <stdlib.h>
#include <string.h>

#define CHANNEL "$20\r\n__redis__:invalidate\r\n"
#define SUBSCRIBED "*3\r\n$9\r\nsubscribe\r\n" CHANNEL ":1\r\n"
#define MESSAGE "*3\r\n$7\r\nmessage\r\n" CHANNEL
/* Group 1, group 11. */
#define REF_1 "010203040506070809101112"
#define REF_2 "1b02030405060708091011ff"
#define KEY_1 "$33\r\nsg:{1}:s:" REF_1 "\r\n"
#define KEY_2 "$34\r\nsg:{11}:s:" REF_2 "\r\n"

/* ---- what is told ---- */

#define REFS_MAX 4
struct told {
	size_t changed, all, proofs;
	char refs[REFS_MAX][SGATE_REF_HEX + 1];
	int64_t before_ms;
};

static void
note_changed(void *arg, const struct sgate_ref *ref)
{
	struct told *told = arg;

	if (told->changed < REFS_MAX)
		sgate_ref_text(ref, told->refs[told->changed]);
	told->changed++;
}

static void
note_all(void *arg)
{
	((struct told *)arg)->all++;
}

static void
note_proof(void *arg, int64_t before_ms)
{
	struct told *told = arg;

	told->proofs++;
	told->before_ms = before_ms;
}

static void
note_nothing(void *arg, const struct tracking_question *question,
    const struct tracking_head *head)
{
	(void)arg;
	(void)question;
	(void)head;
	fail();
}

static struct tracking_hooks
hooks_of(struct told *told)
{
	memset(told, 0, sizeof(*told));
	return (struct tracking_hooks){
	    note_changed, note_all, note_proof, note_nothing, told};
}

/* All at once, or in two parts; NULL, or what is wrong with it. */
static const char *
feed(struct push *p, const char *bytes, size_t len, size_t first)
{
	const char *wrong = push_feed(p, bytes, first);

	return wrong != NULL || first == len
		   ? wrong
		   : push_feed(p, bytes + first, len - first);
}

/* ---- messages ---- */

static void
a_message_tells_the_refs_of_its_keys_however_it_is_split(void **state)
{
	static const char bytes[] = SUBSCRIBED MESSAGE
	    "*2\r\n" KEY_1 KEY_2 "*2\r\n$4\r\npong\r\n"
	    "$2\r\n17\r\n" MESSAGE "*0\r\n" MESSAGE "*-1\r\n" MESSAGE "$-1\r\n";
	struct tracking_hooks hooks;
	struct told told;
	struct push *p;
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(bytes); at++) {
		hooks = hooks_of(&told);
		p = push_new("sg", &hooks);
		assert_non_null(p);
		assert_null(feed(p, bytes, sizeof(bytes) - 1, at));
		assert_true(push_is_subscribed(p));
		assert_int_equal(told.changed, 2);
		assert_string_equal(told.refs[0], REF_1);
		assert_string_equal(told.refs[1], REF_2);
		assert_int_equal(told.all, 2);
		assert_int_equal(push_take_pong(p), 17);
		assert_int_equal(push_take_pong(p), 0);
		push_free(p);
	}
}

static void
a_key_is_told_before_its_message_is_whole(void **state)
{
	static const char bytes[] = MESSAGE "*2000000000\r\n" KEY_1;
	struct told told;
	struct tracking_hooks hooks = hooks_of(&told);
	struct push *p = push_new("sg", &hooks);
	int i;

	(void)state;
	assert_null(push_feed(p, bytes, sizeof(bytes) - 1));
	assert_int_equal(told.changed, 1);
	for (i = 0; i < 100000; i++)
		assert_null(push_feed(p, KEY_2, sizeof(KEY_2) - 1));
	assert_int_equal(told.changed, 100001);
	push_free(p);
}

static void
keys_of_others_are_nobodys(void **state)
{
	static const char *const keys[] = {
	    "",
	    "sg:{1}:s:",
	    "sg:{1}:s:" REF_1 "0",
	    "sg:{1}:s:0" REF_1,
	    "sg:{1}:s:01020304050607080910111",
	    "sg:{1}:s:01020304050607080910111z",
	    "sg:{2}:s:" REF_1,
	    "sg:{01}:s:" REF_1,
	    "sg:{1}:u:" REF_1,
	    "sg:{1}:sync",
	    "sg2:{1}:s:" REF_1,
	    "g:{1}:s:" REF_1,
	    "xsg:{1}:s:" REF_1,
	    REF_1,
	};
	struct told told;
	struct tracking_hooks hooks = hooks_of(&told);
	struct push *p = push_new("sg", &hooks);
	struct buf bytes = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		buf_reset(&bytes);
		buf_printf(&bytes, MESSAGE "*1\r\n$%zu\r\n%s\r\n",
		    strlen(keys[i]), keys[i]);
		assert_null(push_feed(p, bytes.data, bytes.len));
	}
	/* And one that only begins like ours, as long as they come. */
	buf_reset(&bytes);
	buf_printf(&bytes,
	    MESSAGE "*1\r\n$60000\r\nsg:{1}:s:%059967d" REF_1 "\r\n", 0);
	assert_null(push_feed(p, bytes.data, bytes.len));
	assert_int_equal(told.changed, 0);
	buf_clear(&bytes);
	push_free(p);
}

static void
what_no_redis_says_is_wrong_however_it_is_split(void **state)
{
	static const char *const wrong[] = {
	    "\r\n",
	    "x",
	    "+OK\r\n",
	    ":1\r\n",
	    "$-1\r\n",
	    "*-1\r\n",
	    "*0\r\n",
	    "$4\r\npong\r\n",
	    "-NOPERM no channel\r\n",
	    "*1\r\n$4\r\npong\r\n",
	    "*4\r\n$7\r\nmessage\r\n",
	    "*2\r\n$7\r\nmessage\r\n",
	    "*3\r\n$4\r\npong\r\n",
	    "*2\r\n$4\r\nping\r\n",
	    "*2\r\n+pong\r\n",
	    "*2\r\n:1\r\n",
	    "*2\r\n*1\r\n",
	    "*2\r\n$-1\r\n",
	    "*2\r\n$4\r\npong\r\n$1\r\n0\r\n",
	    "*2\r\n$4\r\npong\r\n$2\r\n-1\r\n",
	    "*2\r\n$4\r\npong\r\n$0\r\n\r\n",
	    "*2\r\n$4\r\npong\r\n$20\r\n99999999999999999999\r\n",
	    "*2\r\n$4\r\npong\r\n:1\r\n",
	    "*2\r\n$4\r\npong\r\n$-1\r\n",
	    "*2\r\n$4\r\npong\r\n*0\r\n",
	    "*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n",
	    "*3\r\n$7\r\nmessage\r\n:1\r\n",
	    "*3\r\n$7\r\nmessage\r\n*-1\r\n",
	    MESSAGE "$1\r\nx\r\n",
	    MESSAGE ":1\r\n",
	    MESSAGE "+OK\r\n",
	    MESSAGE "-ERR\r\n",
	    MESSAGE "*-2\r\n",
	    MESSAGE "*99999999999\r\n",
	    MESSAGE "*x\r\n",
	    MESSAGE "*1\r\n:1\r\n",
	    MESSAGE "*1\r\n$-1\r\n",
	    MESSAGE "*1\r\n+x\r\n",
	    MESSAGE "*1\r\n*1\r\n",
	    MESSAGE "*1\r\n*0\r\n",
	    MESSAGE "*1\r\n$-2\r\n",
	    MESSAGE "*1\r\n$x\r\n",
	    MESSAGE "*1\r\n" KEY_1 KEY_2,
	    "*3\r\n$9\r\nsubscribe\r\n" CHANNEL "$1\r\n1\r\n",
	    "*3\r\n$9\r\nsubscribe\r\n" CHANNEL "*0\r\n",
	    "*3\r\n$9\r\nsubscribe\r\n" CHANNEL "$-1\r\n",
	    "*3\r\n$9\r\nsubscribe\r\n$5\r\nother\r\n",
	};
	struct tracking_hooks hooks;
	struct told told;
	struct push *p;
	size_t i, at, len;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		len = strlen(wrong[i]);
		for (at = 0; at <= len; at++) {
			hooks = hooks_of(&told);
			p = push_new("sg", &hooks);
			if (feed(p, wrong[i], len, at) == NULL)
				fail_msg("taken: %s", wrong[i]);
			assert_int_equal(told.all, 0);
			push_free(p);
		}
	}
}

static void
what_redis_refuses_is_repeated(void **state)
{
	static const char bytes[] = "-NOPERM this user has no channels\r\n";
	struct told told;
	struct tracking_hooks hooks = hooks_of(&told);
	struct push *p = push_new("sg", &hooks);

	(void)state;
	assert_string_equal(push_feed(p, bytes, sizeof(bytes) - 1),
	    "NOPERM this user has no channels");
	push_free(p);
}

/* Lengths that are allowed, of what never ends. */
static void
a_value_without_an_end_is_wrong_before_it_fills_the_memory(void **state)
{
	static const char *const begins[] = {MESSAGE "*1\r\n$1000000000\r\n",
	    "*2\r\n$4\r\npong\r\n$900000\r\n", "*2\r\n$4", "*", "-", "+"};
	static char rest[16 * 1024];
	struct tracking_hooks hooks;
	const char *wrong;
	struct told told;
	struct push *p;
	size_t i, feeds;

	(void)state;
	memset(rest, '1', sizeof(rest));
	for (i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
		hooks = hooks_of(&told);
		p = push_new("sg", &hooks);
		wrong = push_feed(p, begins[i], strlen(begins[i]));
		for (feeds = 0; feeds < 6 && wrong == NULL; feeds++)
			wrong = push_feed(p, rest, sizeof(rest));
		assert_non_null(wrong);
		push_free(p);
	}
}

/* ---- heads ---- */

struct heads_told {
	size_t count;
	struct tracking_head last;
};

static void
note_head(void *arg, const struct tracking_head *head)
{
	struct heads_told *told = arg;

	told->count++;
	told->last = *head;
}

static const char *
feed_head(const char *bytes, size_t first, struct heads_told *out)
{
	struct heads *h = heads_new(note_head, out);
	static char wrong[128];
	const char *found;

	memset(out, 0, sizeof(*out));
	found = heads_feed(h, bytes, first);
	if (found == NULL && bytes[first] != '\0')
		found = heads_feed(h, bytes + first, strlen(bytes + first));
	snprintf(wrong, sizeof(wrong), "%s", found == NULL ? "" : found);
	heads_free(h);
	return found == NULL ? NULL : wrong;
}

static void
a_head_has_state_version_and_last_seen(void **state)
{
	static const char live[] = "$30\r\nL00030000000000421700000000123\r\n";
	static const char *const none[] = {
	    "$0\r\n\r\n",
	    "$19\r\nT0003000000000042 1\r\n",
	    "$30\r\nL000300000000004217000000x0123\r\n",
	    "$30\r\nL000300000000x0421700000000123\r\n",
	    "$31\r\nL000300000000004217000000001234\r\n",
	    "$2\r\nL0\r\n",
	};
	struct heads_told told;
	size_t i;

	(void)state;
	for (i = 0; i <= strlen(live); i++) {
		assert_null(feed_head(live, i, &told));
		assert_int_equal(told.count, 1);
		assert_int_equal(told.last.state, 'L');
		assert_int_equal(told.last.version, 42);
		assert_int_equal(told.last.last_seen_ms, 1700000000123);
	}
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		assert_null(feed_head(none[i], strlen(none[i]), &told));
		assert_int_equal(told.count, 1);
		assert_int_equal(told.last.state, 0);
	}
}

static void
an_answer_that_is_no_text_is_wrong(void **state)
{
	static const char *const wrong[] = {"$-1\r\n", "*0\r\n", "*1\r\n$0\r\n",
	    ":1\r\n", "+OK\r\n", "-NOPERM no\r\n", "-LOADING\r\n", "x\r\n",
	    "$-5\r\n"};
	struct heads_told told;
	size_t i, at;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		for (at = 0; at <= strlen(wrong[i]); at++) {
			if (feed_head(wrong[i], at, &told) == NULL &&
			    strcmp(wrong[i], "*1\r\n$0\r\n") != 0)
				fail_msg("taken: %s", wrong[i]);
			assert_int_equal(told.count, 0);
		}
	}
}

/* ---- the connection ---- */

#define PREAMBLE                                                               \
	{PEER_ACCEPT, NULL, 0}, {PEER_READ, NULL, 0}, {PEER_SAY, ":7\r\n", 0}, \
	    {PEER_READ, NULL, 0}, {PEER_SAY, "+OK\r\n", 0},                    \
	    {PEER_READ, NULL, 0}, {PEER_SAY, SUBSCRIBED, 0},                   \
	{                                                                      \
		PEER_READ, NULL, 0                                             \
	}
#define PONG(n) "*2\r\n$4\r\npong\r\n$1\r\n" n "\r\n"
#define LEASE_MS 400

struct scene {
	struct peer peer;
	struct sgate_conf conf;
	struct place at;
	struct told told;
	struct tracking *tracking;
	struct sgate_error err;
};

static enum sgate_status
begin(struct scene *scene, const struct peer_step *steps)
{
	static char nothing[] = "", prefix[] = "sg";
	struct tracking_hooks hooks = hooks_of(&scene->told);

	peer_open(&scene->peer, steps);
	memset(&scene->conf, 0, sizeof(scene->conf));
	memset(&scene->at, 0, sizeof(scene->at));
	scene->conf.redis.address = scene->peer.address;
	scene->conf.redis.user = scene->conf.redis.password_file = nothing;
	scene->conf.redis.prefix = prefix;
	scene->conf.redis.timeout_ms = 2000;
	assert_int_equal(tracking_new(&scene->conf, &scene->at, LEASE_MS,
			     &hooks, &scene->tracking, &scene->err),
	    SGATE_OK);
	return tracking_connect(scene->tracking, &scene->err);
}

static void
end(struct scene *scene)
{
	tracking_free(scene->tracking);
	peer_close(&scene->peer);
}

/* Till the peer has done so many steps, or it is over. */
static enum sgate_status
go_on(struct scene *scene, int steps, size_t proofs)
{
	int64_t deadline_ms = clock_monotonic_ms() + 5000;
	enum sgate_status status = SGATE_OK;

	while (status == SGATE_OK && clock_left_ms(deadline_ms) > 0 &&
	       (atomic_load(&scene->peer.done) < steps ||
		   scene->told.proofs < proofs))
		status = tracking_wait(scene->tracking, 5, NULL, &scene->err);
	return status;
}

static void
a_pong_proves_what_was_before_the_ping_before(void **state)
{
	static const struct peer_step steps[] = {PREAMBLE,
	    {PEER_WAIT, NULL, 50}, {PEER_SAY, PONG("1"), 0},
	    {PEER_READ, NULL, 0}, {PEER_WAIT, NULL, 50},
	    {PEER_SAY, PONG("2"), 0}, {PEER_READ, NULL, 0},
	    {PEER_WAIT, NULL, 30},
	    /* One that overtakes a message of its own turn. */
	    {PEER_SAY, PONG("3") MESSAGE "*1\r\n" KEY_1, 0},
	    {PEER_END, NULL, 0}};
	struct scene scene;
	int64_t began_ms = clock_boot_ms(), first_ms, second_ms;

	(void)state;
	assert_int_equal(begin(&scene, steps), SGATE_OK);
	assert_true(tracking_is_connected(scene.tracking));
	began_ms = clock_boot_ms();
	assert_int_equal(go_on(&scene, 10, 0), SGATE_OK);
	first_ms = clock_boot_ms();
	assert_int_equal(scene.told.proofs, 0);
	assert_int_equal(go_on(&scene, 13, 1), SGATE_OK);
	second_ms = clock_boot_ms();
	/* Of PING 1, which was sent at once. */
	assert_int_equal(scene.told.proofs, 1);
	assert_in_range(scene.told.before_ms, began_ms - 5, first_ms - 45);
	assert_int_equal(go_on(&scene, 16, 2), SGATE_OK);
	/* Of PING 2, which was sent when PONG 1 was here. */
	assert_int_equal(scene.told.proofs, 2);
	assert_in_range(scene.told.before_ms, first_ms - 20, second_ms - 45);
	assert_int_equal(scene.told.changed, 1);
	end(&scene);
}

static void
what_is_wrong_with_a_pong_or_a_message_ends_the_connection(void **state)
{
	static const char *const wrong[] = {PONG("2"), PONG("1") PONG("9"),
	    PONG("1") "+OK\r\n", "-ERR unknown command\r\n"};
	struct peer_step steps[] = {
	    PREAMBLE, {PEER_SAY, NULL, 0}, {PEER_END, NULL, 0}};
	struct scene scene;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		steps[8].text = wrong[i];
		assert_int_equal(begin(&scene, steps), SGATE_OK);
		assert_int_equal(go_on(&scene, 99, 0), SGATE_UNAVAILABLE);
		assert_false(tracking_is_connected(scene.tracking));
		assert_int_equal(scene.told.proofs, 0);
		end(&scene);
	}
}

static void
a_connection_that_says_nothing_is_given_up_with_its_lease(void **state)
{
	static const struct peer_step silent[] = {
	    PREAMBLE, {PEER_END, NULL, 0}};
	static const struct peer_step chatting[] = {PREAMBLE,
	    {PEER_FLOOD, MESSAGE "*1\r\n" KEY_1, 0}, {PEER_END, NULL, 0}};
	const struct peer_step *const both[] = {silent, chatting};
	struct scene scene;
	int64_t began_ms;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		assert_int_equal(begin(&scene, both[i]), SGATE_OK);
		began_ms = clock_boot_ms();
		assert_int_equal(go_on(&scene, 99, 0), SGATE_UNAVAILABLE);
		assert_in_range(
		    clock_boot_ms() - began_ms, LEASE_MS - 100, 3 * LEASE_MS);
		assert_non_null(strstr(scene.err.text, "no answer in time"));
		end(&scene);
	}
}

static void
a_connection_that_ends_and_another_master_are_noticed(void **state)
{
	static const struct peer_step closing[] = {
	    PREAMBLE, {PEER_CLOSE, NULL, 0}, {PEER_END, NULL, 0}};
	static const struct peer_step staying[] = {
	    PREAMBLE, {PEER_END, NULL, 0}};
	struct place_address other = {.len = 4, .port = 1};
	struct scene scene;

	(void)state;
	assert_int_equal(begin(&scene, closing), SGATE_OK);
	assert_int_equal(go_on(&scene, 99, 0), SGATE_UNAVAILABLE);
	end(&scene);
	assert_int_equal(begin(&scene, staying), SGATE_OK);
	place_set(&scene.at, &other);
	assert_int_equal(go_on(&scene, 99, 0), SGATE_UNAVAILABLE);
	assert_non_null(strstr(scene.err.text, "not the master"));
	end(&scene);
}

static void
who_may_not_listen_is_told_so(void **state)
{
	static const struct peer_step tracking[] = {{PEER_ACCEPT, NULL, 0},
	    {PEER_READ, NULL, 0}, {PEER_SAY, ":7\r\n", 0}, {PEER_READ, NULL, 0},
	    {PEER_SAY, "-NOPERM no client|tracking\r\n", 0},
	    {PEER_END, NULL, 0}};
	static const struct peer_step channels[] = {{PEER_ACCEPT, NULL, 0},
	    {PEER_READ, NULL, 0}, {PEER_SAY, ":7\r\n", 0}, {PEER_READ, NULL, 0},
	    {PEER_SAY, "+OK\r\n", 0}, {PEER_READ, NULL, 0},
	    {PEER_SAY, "-NOPERM no channel\r\n", 0}, {PEER_END, NULL, 0}};
	const struct peer_step *const both[] = {tracking, channels};
	struct scene scene;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		assert_int_equal(begin(&scene, both[i]), SGATE_UNAVAILABLE);
		assert_non_null(strstr(scene.err.text, "NOPERM"));
		assert_false(tracking_is_connected(scene.tracking));
		end(&scene);
	}
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_message_tells_the_refs_of_its_keys_however_it_is_split),
    cmocka_unit_test(a_key_is_told_before_its_message_is_whole),
    cmocka_unit_test(keys_of_others_are_nobodys),
    cmocka_unit_test(what_no_redis_says_is_wrong_however_it_is_split),
    cmocka_unit_test(what_redis_refuses_is_repeated),
    cmocka_unit_test(
	a_value_without_an_end_is_wrong_before_it_fills_the_memory),
    cmocka_unit_test(a_head_has_state_version_and_last_seen),
    cmocka_unit_test(an_answer_that_is_no_text_is_wrong),
    cmocka_unit_test(a_pong_proves_what_was_before_the_ping_before),
    cmocka_unit_test(
	what_is_wrong_with_a_pong_or_a_message_ends_the_connection),
    cmocka_unit_test(a_connection_that_says_nothing_is_given_up_with_its_lease),
    cmocka_unit_test(a_connection_that_ends_and_another_master_are_noticed),
    cmocka_unit_test(who_may_not_listen_is_told_so),
};

TAP_MAIN(tests)
