/* Rotation: the table of "Rotation" in lib/README.md row by row, and proofs of
 * theft. */
#include "tap.h"

#include "world.h"

#include <stdlib.h>
#include <string.h>

#define GRACE 10000

struct chain {
	struct world w;
	struct made made;
	char *tokens[5]; /* [0] of the create, then successors */
};

/* A token that may not be NULL, for its owner to free. */
static char *
rotate(struct chain *c, const char *token)
{
	struct sgate_session *s = NULL;
	char *out = NULL;

	assert_status(&c->w,
	    sgate_session_rotate(c->w.mgr, B(token), &s, &out, &c->w.err),
	    SGATE_OK);
	assert_non_null(s);
	assert_non_null(out);
	sgate_session_free(s);
	return out;
}

/* Rotated `times` times, each well after the one before. */
static void
chain_start(struct chain *c, int times)
{
	int i;

	memset(c, 0, sizeof(*c));
	world_start(&c->w);
	world_create(&c->w, "ann", &c->made);
	c->tokens[0] = strdup(c->made.token);
	for (i = 0; i < times; i++) {
		c->tokens[i + 1] = rotate(c, c->tokens[i]);
		assert_string_not_equal(c->tokens[i], c->tokens[i + 1]);
		if (i + 1 == times)
			break;
		assert_int_equal(
		    world_look(&c->w, c->tokens[i + 1]), SGATE_REASON_OK);
		c->w.now_ms += GRACE + 1;
	}
}

static void
chain_stop(struct chain *c)
{
	size_t i;

	for (i = 0; i < 5; i++)
		sgate_token_free(c->tokens[i]);
	made_clear(&c->made);
	world_close(&c->w);
}

/* The token that a look with `token` says to use from now on. */
static void
look_is_answered_with(struct chain *c, const char *token, const char *successor)
{
	struct sgate_session *s = NULL;

	assert_status(&c->w,
	    sgate_session_get(
		c->w.mgr, B(token), SGATE_NO_TOUCH, &s, &c->w.err),
	    SGATE_OK);
	if (successor == NULL)
		assert_null(sgate_session_new_token(s));
	else
		assert_string_equal(sgate_session_new_token(s), successor);
	sgate_session_free(s);
}

static struct sgate_session *
row(struct chain *c)
{
	return world_row(&c->w, &c->made.ref);
}

static void
a_rotation_keeps_the_session_and_changes_the_secret(void **state)
{
	struct sgate_session *s;
	struct chain c;

	(void)state;
	chain_start(&c, 1);
	s = row(&c);
	assert_int_equal(s->version, 2);
	assert_true(s->has_prev);
	assert_int_equal(s->prev_until_ms, c.w.now_ms + GRACE);
	assert_int_equal(s->successor_used_ms, 0);
	sgate_session_free(s);
	assert_int_equal(world_audit(&c.w, "rotate", &c.made.ref), 1);
	look_is_answered_with(&c, c.tokens[1], NULL);
	chain_stop(&c);
}

static void
the_current_secret_marks_the_successors_first_use(void **state)
{
	struct sgate_session *s;
	struct chain c;
	int64_t used_ms;

	(void)state;
	chain_start(&c, 1);
	c.w.now_ms += 5;
	used_ms = c.w.now_ms;
	look_is_answered_with(&c, c.tokens[1], NULL);
	c.w.now_ms += 5;
	look_is_answered_with(&c, c.tokens[1], NULL);
	s = row(&c);
	assert_int_equal(s->successor_used_ms, used_ms);
	sgate_session_free(s);
	chain_stop(&c);
}

static void
a_repeated_rotation_with_the_old_token_gives_the_same_one(void **state)
{
	struct chain c;
	char *again;

	(void)state;
	chain_start(&c, 1);
	again = rotate(&c, c.tokens[0]);
	assert_string_equal(again, c.tokens[1]);
	sgate_token_free(again);
	look_is_answered_with(&c, c.tokens[0], c.tokens[1]);
	assert_int_equal(world_audit(&c.w, "rotate", NULL), 1);
	chain_stop(&c);
}

static void
rotating_again_while_the_old_secret_is_in_grace_changes_nothing(void **state)
{
	struct sgate_session *s;
	struct chain c;
	char *again;

	(void)state;
	chain_start(&c, 1);
	again = rotate(&c, c.tokens[1]);
	assert_string_equal(again, c.tokens[1]);
	sgate_token_free(again);
	/* That was its first use. */
	s = row(&c);
	assert_int_equal(s->successor_used_ms, c.w.now_ms);
	assert_int_equal(s->version, 2);
	sgate_session_free(s);
	c.w.now_ms += GRACE;
	again = rotate(&c, c.tokens[1]);
	assert_string_equal(again, c.tokens[1]);
	sgate_token_free(again);
	c.w.now_ms += 1;
	again = rotate(&c, c.tokens[1]);
	assert_string_not_equal(again, c.tokens[1]);
	sgate_token_free(again);
	assert_int_equal(world_audit(&c.w, "rotate", NULL), 2);
	chain_stop(&c);
}

static void
the_old_secret_is_in_grace_until_its_successor_was_used(void **state)
{
	struct chain c;

	(void)state;
	chain_start(&c, 1);
	c.w.now_ms += 20 * MINUTE;
	look_is_answered_with(&c, c.tokens[0], c.tokens[1]);
	look_is_answered_with(&c, c.tokens[1], NULL);
	c.w.now_ms += GRACE;
	look_is_answered_with(&c, c.tokens[0], c.tokens[1]);
	c.w.now_ms += 1;
	assert_int_equal(world_look(&c.w, c.tokens[0]), SGATE_REASON_THEFT);
	assert_int_equal(world_look(&c.w, c.tokens[1]), SGATE_REASON_THEFT);
	assert_int_equal(world_audit(&c.w, "end", &c.made.ref), 1);
	chain_stop(&c);
}

static void
an_older_secret_is_proved_a_theft_by_hashing_forward(void **state)
{
	struct chain c;

	(void)state;
	chain_start(&c, 4);
	assert_int_equal(world_look(&c.w, c.tokens[4]), SGATE_REASON_OK);
	assert_int_equal(world_look(&c.w, c.tokens[1]), SGATE_REASON_THEFT);
	assert_int_equal(manager_rows_older(c.w.mgr), 0);
	assert_int_equal(world_look(&c.w, c.tokens[4]), SGATE_REASON_THEFT);
	chain_stop(&c);
}

static void
a_late_secret_is_refused_by_rotate_and_extend_too(void **state)
{
	struct sgate_session *s = NULL;
	struct chain c;
	char *out = NULL;

	(void)state;
	chain_start(&c, 2);
	c.w.now_ms += GRACE + 1;
	assert_int_equal(world_look(&c.w, c.tokens[2]), SGATE_REASON_OK);
	c.w.now_ms += GRACE + 1;
	assert_status(&c.w,
	    sgate_session_rotate(c.w.mgr, B(c.tokens[0]), &s, &out, &c.w.err),
	    SGATE_NOT_FOUND);
	assert_int_equal(c.w.err.reason, SGATE_REASON_THEFT);
	assert_null(s);
	assert_null(out);
	assert_status(&c.w,
	    sgate_session_extend(c.w.mgr, B(c.tokens[2]), &s, &c.w.err),
	    SGATE_NOT_FOUND);
	assert_int_equal(c.w.err.reason, SGATE_REASON_THEFT);
	chain_stop(&c);
}

/* A secret of our making that does not lead to the row's: a restored dump. */
static void
a_row_older_than_its_token_is_no_theft(void **state)
{
	char text[SGATE_TOKEN_LEN + 1];
	struct sgate_session *s;
	struct token token;
	struct chain c;

	(void)state;
	chain_start(&c, 0);
	assert_int_equal(
	    token_read(manager_keys(c.w.mgr), B(""), B(c.tokens[0]), &token),
	    SGATE_REASON_OK);
	token.secret[0] ^= 1;
	assert_true(token_write(manager_keys(c.w.mgr), B(""), &token, text));
	assert_int_equal(world_look(&c.w, text), SGATE_REASON_UNKNOWN);
	assert_non_null(strstr(c.w.err.text, "older than the token"));
	assert_int_equal(manager_rows_older(c.w.mgr), 1);
	s = row(&c);
	assert_int_equal(s->state, SESSION_LIVE);
	sgate_session_free(s);
	assert_int_equal(world_look(&c.w, c.tokens[0]), SGATE_REASON_OK);
	assert_int_equal(world_audit(&c.w, NULL, NULL), 1);
	chain_stop(&c);
}

static void
logout_needs_only_a_right_tag(void **state)
{
	struct chain c;

	(void)state;
	chain_start(&c, 3);
	assert_status(&c.w,
	    sgate_session_end_token(
		c.w.mgr, B(c.tokens[0]), SGATE_REASON_LOGGED_OUT, &c.w.err),
	    SGATE_OK);
	assert_int_equal(
	    world_look(&c.w, c.tokens[3]), SGATE_REASON_LOGGED_OUT);
	chain_stop(&c);
}

static void
successors_hold_when_the_signing_key_changes(void **state)
{
	struct sgate_session *s = NULL;
	struct token token;
	struct chain c;
	uint8_t id;

	(void)state;
	chain_start(&c, 1);
	assert_status(&c.w,
	    keys_file_new(c.w.conf->keys.file, c.w.now_ms, &id, &c.w.err),
	    SGATE_OK);
	assert_status(&c.w,
	    keys_file_use(c.w.conf->keys.file, id, c.w.now_ms, &c.w.err),
	    SGATE_OK);
	sgate_manager_free(c.w.mgr);
	c.w.mgr = world_manager(&c.w, NULL);
	assert_int_equal(world_look(&c.w, c.tokens[1]), SGATE_REASON_OK);
	assert_status(&c.w,
	    sgate_session_get(c.w.mgr, B(c.tokens[0]), 0, &s, &c.w.err),
	    SGATE_OK);
	/* Another tag, the same secret. */
	assert_non_null(sgate_session_new_token(s));
	assert_int_equal(token_read(manager_keys(c.w.mgr), B(""),
			     B(sgate_session_new_token(s)), &token),
	    SGATE_REASON_OK);
	assert_int_equal(token.key_id, id);
	assert_int_equal(
	    world_look(&c.w, sgate_session_new_token(s)), SGATE_REASON_OK);
	sgate_session_free(s);
	chain_stop(&c);
}

static void
an_extension_with_the_old_secret_brings_the_new_one(void **state)
{
	struct sgate_session *s = NULL;
	struct chain c;

	(void)state;
	chain_start(&c, 1);
	c.w.now_ms += MINUTE;
	assert_status(&c.w,
	    sgate_session_extend(c.w.mgr, B(c.tokens[0]), &s, &c.w.err),
	    SGATE_OK);
	assert_string_equal(sgate_session_new_token(s), c.tokens[1]);
	assert_int_equal(sgate_session_get_last_seen_ms(s), c.w.now_ms);
	sgate_session_free(s);
	s = row(&c);
	assert_int_equal(s->last_seen_ms, c.w.now_ms);
	assert_int_equal(s->successor_used_ms, 0);
	assert_int_equal(s->version, 2);
	sgate_session_free(s);
	chain_stop(&c);
}

static void
a_rotation_while_the_clock_is_behind_keeps_the_last_activity(void **state)
{
	struct sgate_session *s;
	struct chain c;

	(void)state;
	chain_start(&c, 0);
	c.w.now_ms -= HOUR;
	c.tokens[1] = rotate(&c, c.tokens[0]);
	c.w.now_ms += HOUR;
	s = row(&c);
	assert_int_equal(s->last_seen_ms, c.w.now_ms);
	sgate_session_free(s);
	assert_int_equal(world_look(&c.w, c.tokens[1]), SGATE_REASON_OK);
	chain_stop(&c);
}

static const struct CMUnitTest manager_rotate[] = {
    cmocka_unit_test(a_rotation_keeps_the_session_and_changes_the_secret),
    cmocka_unit_test(the_current_secret_marks_the_successors_first_use),
    cmocka_unit_test(a_repeated_rotation_with_the_old_token_gives_the_same_one),
    cmocka_unit_test(
	rotating_again_while_the_old_secret_is_in_grace_changes_nothing),
    cmocka_unit_test(the_old_secret_is_in_grace_until_its_successor_was_used),
    cmocka_unit_test(an_older_secret_is_proved_a_theft_by_hashing_forward),
    cmocka_unit_test(a_late_secret_is_refused_by_rotate_and_extend_too),
    cmocka_unit_test(a_row_older_than_its_token_is_no_theft),
    cmocka_unit_test(logout_needs_only_a_right_tag),
    cmocka_unit_test(successors_hold_when_the_signing_key_changes),
    cmocka_unit_test(an_extension_with_the_old_secret_brings_the_new_one),
    cmocka_unit_test(
	a_rotation_while_the_clock_is_behind_keeps_the_last_activity),
};

TAP_MAIN(manager_rotate)
