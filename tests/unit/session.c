/* One session: expiry, the table of secrets, lists, getters. */
#include "tap.h"

#include "buf.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

static struct sgate_session *
session_at(int64_t last_seen_ms, int64_t idle_ms, int64_t absolute_ms)
{
	struct sgate_session *s = session_new();

	assert_non_null(s);
	s->last_seen_ms = last_seen_ms;
	s->idle_ms = idle_ms;
	s->absolute_ms = absolute_ms;
	return s;
}

static void
is_text(struct sgate_bytes bytes, const char *expected)
{
	assert_non_null(bytes.data);
	assert_true(bytes_equal_text(bytes, expected));
}

static void
a_new_session_is_empty(void **state)
{
	struct sgate_session *s = session_new();

	(void)state;
	assert_non_null(s);
	is_text(sgate_session_get_realm(s), "");
	is_text(sgate_session_get_user_id(s), "");
	is_text(sgate_session_get_context(s), "");
	is_text(sgate_session_get_roles(s), "");
	is_text(sgate_session_get_data(s), "{}");
	is_text(sgate_session_get_user_agent(s), "");
	is_text(session_get_exports(s), "");
	assert_string_equal(sgate_session_get_client_ip(s), "");
	assert_int_equal(sgate_session_count_contexts(s), 0);
	assert_int_equal(sgate_session_count_roles(s), 0);
	assert_null(sgate_session_get_role_at(s, 0).data);
	assert_null(sgate_session_get_context_at(s, 0).data);
	assert_true(sgate_session_is_anonymous(s));
	assert_null(sgate_session_new_token(s));
	sgate_session_free(s);
	sgate_session_free(NULL);
}

static void
getters_give_what_was_set(void **state)
{
	struct sgate_session *s = session_at(4000, 1000, 9000);
	const unsigned char address[4] = {192, 0, 2, 7};

	(void)state;
	memset(s->ref.bytes, 7, SGATE_REF_BYTES);
	strcpy(s->realm, "shop");
	strcpy(s->user, "alice");
	strcpy(s->context, "c1");
	strcpy(s->user_agent, "agent");
	strcpy(s->new_token, "t");
	s->version = 12;
	s->created_ms = 1;
	s->auth_ms = 2;
	memcpy(s->client_ip, address, 4);
	s->client_ip_len = 4;
	assert_true(session_set(&s->contexts, bytes_of("c1\nc 2\nc,3")));
	assert_true(session_set(&s->roles, bytes_of("admin,editor,a")));
	assert_true(session_set(&s->data, bytes_of("{\"a\":1}")));
	assert_true(session_set(&s->exports, bytes_of("SESSION_DATA_A=1\n")));

	assert_int_equal(sgate_session_get_ref(s)->bytes[11], 7);
	is_text(sgate_session_get_realm(s), "shop");
	is_text(sgate_session_get_user_id(s), "alice");
	is_text(sgate_session_get_context(s), "c1");
	is_text(sgate_session_get_user_agent(s), "agent");
	is_text(sgate_session_get_data(s), "{\"a\":1}");
	is_text(session_get_exports(s), "SESSION_DATA_A=1\n");
	assert_int_equal(sgate_session_count_contexts(s), 3);
	is_text(sgate_session_get_context_at(s, 0), "c1");
	is_text(sgate_session_get_context_at(s, 1), "c 2");
	is_text(sgate_session_get_context_at(s, 2), "c,3");
	assert_null(sgate_session_get_context_at(s, 3).data);
	assert_null(sgate_session_get_context_at(s, SIZE_MAX).data);
	assert_int_equal(sgate_session_count_roles(s), 3);
	is_text(sgate_session_get_role_at(s, 2), "a");
	is_text(sgate_session_get_roles(s), "admin,editor,a");
	assert_true(sgate_session_has_role(s, bytes_of("editor")));
	assert_true(sgate_session_has_role(s, bytes_of("a")));
	assert_false(sgate_session_has_role(s, bytes_of("edit")));
	assert_false(sgate_session_has_role(s, bytes_of("admin,editor")));
	assert_false(sgate_session_has_role(s, bytes_of("Admin")));
	assert_false(sgate_session_has_role(s, bytes_of("")));
	assert_false(sgate_session_has_role(s, bytes_of(NULL)));
	assert_string_equal(sgate_session_get_client_ip(s), "192.0.2.7");
	assert_int_equal(sgate_session_get_version(s), 12);
	assert_false(sgate_session_is_anonymous(s));
	assert_int_equal(sgate_session_get_created_ms(s), 1);
	assert_int_equal(sgate_session_get_auth_ms(s), 2);
	assert_int_equal(sgate_session_get_last_seen_ms(s), 4000);
	assert_int_equal(sgate_session_get_idle_timeout_ms(s), 1000);
	assert_int_equal(sgate_session_get_expires_ms(s), 9000);
	assert_string_equal(sgate_session_new_token(s), "t");
	sgate_session_free(s);
}

static void
a_session_that_is_not_complete_is_read_and_freed(void **state)
{
	struct sgate_session *s = calloc(1, sizeof(*s));

	(void)state;
	assert_non_null(s);
	s->client_ip_len = 4;
	is_text(sgate_session_get_data(s), "{}");
	is_text(sgate_session_get_roles(s), "");
	is_text(session_get_exports(s), "");
	assert_string_equal(sgate_session_get_client_ip(s), "");
	assert_false(sgate_session_has_role(s, bytes_of("a")));
	sgate_session_free(s);
}

static void
a_copy_is_independent(void **state)
{
	struct sgate_session *s = session_at(1, 2, 3);
	struct sgate_session *copy;

	(void)state;
	strcpy(s->user, "alice");
	strcpy(s->new_token, "t");
	s->client_ip_len = 16;
	s->client_ip[15] = 1;
	assert_true(session_set(&s->data, bytes_of("{\"a\":1}")));
	assert_true(session_set(&s->roles, bytes_of("a,b")));
	copy = sgate_session_dup(s);
	assert_non_null(copy);
	assert_string_equal(sgate_session_get_client_ip(s), "::1");
	strcpy(s->user, "bob");
	assert_true(session_set(&s->data, bytes_of("{}")));
	sgate_session_free(s);
	is_text(sgate_session_get_user_id(copy), "alice");
	is_text(sgate_session_get_data(copy), "{\"a\":1}");
	is_text(sgate_session_get_roles(copy), "a,b");
	assert_string_equal(sgate_session_get_client_ip(copy), "::1");
	assert_string_equal(sgate_session_new_token(copy), "t");
	assert_int_equal(sgate_session_get_expires_ms(copy), 3);
	sgate_session_free(copy);
}

static void
setting_a_field_to_part_of_itself_works(void **state)
{
	struct sgate_session *s = session_new();
	struct sgate_bytes part;

	(void)state;
	assert_true(session_set(&s->roles, bytes_of("first,second")));
	part.data = s->roles + 6;
	part.len = 6;
	assert_true(session_set(&s->roles, part));
	assert_string_equal(s->roles, "second");
	sgate_session_free(s);
}

static void
idle_expiry_has_a_tenth_of_leeway(void **state)
{
	struct sgate_session *s = session_at(100000, 10000, 900000);

	(void)state;
	assert_int_equal(session_idle_deadline_ms(s), 111000);
	assert_int_equal(session_expiry(s, 100000), SGATE_REASON_OK);
	assert_int_equal(session_expiry(s, 110999), SGATE_REASON_OK);
	assert_int_equal(session_expiry(s, 111000), SGATE_REASON_EXPIRED_IDLE);
	/* Shown to people without it. */
	assert_int_equal(sgate_session_get_idle_expires_ms(s), 110000);
	sgate_session_free(s);
}

static void
absolute_expiry_has_no_leeway_and_goes_first(void **state)
{
	struct sgate_session *s = session_at(100000, 10000, 105000);

	(void)state;
	assert_int_equal(session_expiry(s, 104999), SGATE_REASON_OK);
	assert_int_equal(
	    session_expiry(s, 105000), SGATE_REASON_EXPIRED_ABSOLUTE);
	assert_int_equal(
	    session_expiry(s, 999999), SGATE_REASON_EXPIRED_ABSOLUTE);
	assert_int_equal(sgate_session_get_idle_expires_ms(s), 105000);
	sgate_session_free(s);
}

static void
sums_that_do_not_fit_are_never(void **state)
{
	struct sgate_session *s = session_at(INT64_MAX - 5, 100, INT64_MAX);

	(void)state;
	assert_int_equal(session_idle_deadline_ms(s), INT64_MAX);
	assert_int_equal(session_expiry(s, 1000), SGATE_REASON_OK);
	assert_false(session_touch_is_due(s, 1000));
	s->last_seen_ms = INT64_MIN;
	s->idle_ms = -100;
	assert_int_equal(session_idle_deadline_ms(s), INT64_MIN);
	assert_int_equal(session_expiry(s, 0), SGATE_REASON_EXPIRED_IDLE);
	sgate_session_free(s);
}

static void
a_touch_is_due_after_a_tenth_of_idle(void **state)
{
	struct sgate_session *s = session_at(100000, 10000, 900000);

	(void)state;
	assert_false(session_touch_is_due(s, 0)); /* the clock went back */
	assert_false(session_touch_is_due(s, 100000));
	assert_false(session_touch_is_due(s, 100999));
	assert_true(session_touch_is_due(s, 101000));
	sgate_session_free(s);
}

/* Whoever acts more often than idle is never logged out by the throttle. */
static void
activity_just_inside_idle_keeps_a_session_alive(void **state)
{
	struct sgate_session *s = session_at(0, 1000, INT64_MAX);
	int64_t now_ms = 0;
	int i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		now_ms += i % 2 == 0 ? 99 : 1000;
		assert_int_equal(session_expiry(s, now_ms), SGATE_REASON_OK);
		if (session_touch_is_due(s, now_ms))
			s->last_seen_ms = now_ms;
	}
	sgate_session_free(s);
}

static unsigned char current[TOKEN_HASH_BYTES] = {1};
static unsigned char previous[TOKEN_HASH_BYTES] = {2};
static unsigned char unknown[TOKEN_HASH_BYTES] = {3};

static struct sgate_session *
rotated(void)
{
	struct sgate_session *s = session_at(0, 1000, INT64_MAX);

	memcpy(s->secret_hash, current, TOKEN_HASH_BYTES);
	memcpy(s->prev_hash, previous, TOKEN_HASH_BYTES);
	s->has_prev = true;
	s->prev_until_ms = 1000;
	return s;
}

static void
the_current_secret_is_current_at_any_time(void **state)
{
	struct sgate_session *s = rotated();

	(void)state;
	assert_int_equal(
	    session_secret(s, current, 0, 100), SESSION_SECRET_CURRENT);
	assert_int_equal(
	    session_secret(s, current, INT64_MAX, 100), SESSION_SECRET_CURRENT);
	assert_int_equal(
	    session_secret(s, unknown, 0, 100), SESSION_SECRET_LATE);
	sgate_session_free(s);
}

static void
the_previous_secret_is_in_grace_by_the_table(void **state)
{
	static const struct {
		int64_t used_ms, now_ms;
		enum session_secret expected;
	} cases[] = {
	    /* successor not used yet: in grace whenever it comes */
	    {0, 1000, SESSION_SECRET_GRACE},
	    {0, 1001, SESSION_SECRET_GRACE},
	    {0, INT64_MAX, SESSION_SECRET_GRACE},
	    /* used early: prev_until rules */
	    {500, 600, SESSION_SECRET_GRACE},
	    {500, 1000, SESSION_SECRET_GRACE},
	    {500, 1001, SESSION_SECRET_LATE},
	    /* used late: its own grace rules */
	    {5000, 5000, SESSION_SECRET_GRACE},
	    {5000, 5100, SESSION_SECRET_GRACE},
	    {5000, 5101, SESSION_SECRET_LATE},
	    {INT64_MAX, INT64_MAX, SESSION_SECRET_GRACE},
	};
	struct sgate_session *s = rotated();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s->successor_used_ms = cases[i].used_ms;
		assert_int_equal(
		    session_secret(s, previous, cases[i].now_ms, 100),
		    cases[i].expected);
		assert_int_equal(session_prev_in_grace(s, cases[i].now_ms, 100),
		    cases[i].expected == SESSION_SECRET_GRACE);
	}
	sgate_session_free(s);
}

static void
without_a_rotation_nothing_is_in_grace(void **state)
{
	static const unsigned char zeros[TOKEN_HASH_BYTES];
	struct sgate_session *s = rotated();

	(void)state;
	s->has_prev = false;
	assert_false(session_prev_in_grace(s, 0, 100));
	assert_int_equal(
	    session_secret(s, previous, 0, 100), SESSION_SECRET_LATE);
	memset(s->prev_hash, 0, TOKEN_HASH_BYTES);
	assert_int_equal(session_secret(s, zeros, 0, 100), SESSION_SECRET_LATE);
	sgate_session_free(s);
}

static void
every_bit_of_a_hash_counts(void **state)
{
	struct sgate_session *s = rotated();
	unsigned char hash[TOKEN_HASH_BYTES];
	unsigned bit;

	(void)state;
	for (bit = 0; bit < 8 * TOKEN_HASH_BYTES; bit++) {
		memcpy(hash, current, sizeof(hash));
		hash[bit / 8] ^= (unsigned char)(1u << bit % 8);
		assert_int_equal(
		    session_secret(s, hash, 2000, 100), SESSION_SECRET_LATE);
	}
	sgate_session_free(s);
}

static void
lists_are_split_at_their_separator(void **state)
{
	(void)state;
	assert_int_equal(session_list_count(NULL, ','), 0);
	assert_int_equal(session_list_count("", ','), 0);
	assert_int_equal(session_list_count("a", ','), 1);
	assert_int_equal(session_list_count("a,b\nc", '\n'), 2);
	is_text(session_list_at("a,b\nc", '\n', 0), "a,b");
	is_text(session_list_at("a,b\nc", '\n', 1), "c");
	is_text(session_list_at("a,b\nc", ',', 1), "b\nc");
	assert_null(session_list_at("a,b", ',', 2).data);
	assert_null(session_list_at("", ',', 0).data);
	assert_null(session_list_at(NULL, ',', 0).data);
	assert_true(session_list_has("a,bc", ',', bytes_of("bc")));
	assert_false(session_list_has("a,bc", ',', bytes_of("b")));
	assert_false(session_list_has("a,bc", ',', bytes_of("c")));
	assert_false(session_list_has("", ',', bytes_of("")));
	assert_false(session_list_has(NULL, ',', bytes_of("a")));
}

static const struct CMUnitTest session[] = {
    cmocka_unit_test(a_new_session_is_empty),
    cmocka_unit_test(getters_give_what_was_set),
    cmocka_unit_test(a_session_that_is_not_complete_is_read_and_freed),
    cmocka_unit_test(a_copy_is_independent),
    cmocka_unit_test(setting_a_field_to_part_of_itself_works),
    cmocka_unit_test(idle_expiry_has_a_tenth_of_leeway),
    cmocka_unit_test(absolute_expiry_has_no_leeway_and_goes_first),
    cmocka_unit_test(sums_that_do_not_fit_are_never),
    cmocka_unit_test(a_touch_is_due_after_a_tenth_of_idle),
    cmocka_unit_test(activity_just_inside_idle_keeps_a_session_alive),
    cmocka_unit_test(the_current_secret_is_current_at_any_time),
    cmocka_unit_test(the_previous_secret_is_in_grace_by_the_table),
    cmocka_unit_test(without_a_rotation_nothing_is_in_grace),
    cmocka_unit_test(every_bit_of_a_hash_counts),
    cmocka_unit_test(lists_are_split_at_their_separator),
};

TAP_MAIN(session)
