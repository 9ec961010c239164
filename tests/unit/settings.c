/* What is set for all hosts (lib/settings.h): its text, whom it means, and how
 * processes share it. */
#include "config.h"

#include "settings.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "tap.h"

#define B(text) bytes_of(text)
#define NOW INT64_C(1700000000000)

static struct settings_flush
flush(const char *realm, int64_t before_ms, enum settings_whom whom,
    const char *roles)
{
	struct settings_flush f = {.whom = whom,
	    .before_ms = before_ms,
	    .needed_until_ms = before_ms + 1000000};

	f.where.is_all = realm == NULL;
	if (realm != NULL)
		strcpy(f.where.realm, realm);
	strcpy(f.roles, roles);
	return f;
}

static struct settings_maintenance
maintenance(
    const char *realm, bool is_emergency, const char *roles, int64_t until_ms)
{
	struct settings_maintenance m = {.is_emergency = is_emergency,
	    .since_ms = NOW,
	    .until_ms = until_ms};

	m.where.is_all = realm == NULL;
	if (realm != NULL)
		strcpy(m.where.realm, realm);
	strcpy(m.roles, roles);
	strcpy(m.reason, "why not");
	return m;
}

static void
add_flush(struct settings *s, const char *realm, int64_t before_ms,
    enum settings_whom whom, const char *roles)
{
	struct settings_flush f = flush(realm, before_ms, whom, roles);

	assert_true(settings_add_flush(s, &f, before_ms));
}

static void
add_maintenance(struct settings *s, const char *realm, bool is_emergency,
    const char *roles, int64_t until_ms)
{
	struct settings_maintenance m =
	    maintenance(realm, is_emergency, roles, until_ms);

	assert_true(settings_add_maintenance(s, &m));
}

/* ---- text ---- */

static void
what_is_written_is_read(void **state)
{
	static struct settings s, read;
	struct buf text = {0}, again = {0};

	(void)state;
	memset(&s, 0, sizeof(s));
	add_maintenance(&s, NULL, true, "admin,ops", 0);
	add_maintenance(&s, "", false, "", NOW + 5);
	add_maintenance(&s, "shop.a-b_c", false, "x", NOW + 5);
	s.maintenances[2].reason[0] = '\0';
	settings_write_maintenances(&s, &text);
	assert_true(settings_read_maintenances(buf_bytes(&text), &read));
	assert_int_equal(read.maintenances_count, 3);
	settings_write_maintenances(&read, &again);
	assert_string_equal(buf_text(&text), buf_text(&again));
	buf_reset(&text);
	buf_reset(&again);
	add_flush(&s, "shop", NOW, SETTINGS_WITH, "a:b,c");
	add_flush(&s, "", NOW + 1, SETTINGS_WITHOUT, "admin");
	add_flush(&s, "", NOW - 1, SETTINGS_ALL, "");
	settings_write_flushes(&s, &text);
	assert_true(settings_read_flushes(buf_bytes(&text), &read));
	assert_int_equal(read.flushes_count, 3);
	settings_write_flushes(&read, &again);
	assert_string_equal(buf_text(&text), buf_text(&again));
	buf_clear(&text);
	buf_clear(&again);
}

static void
what_is_not_ours_is_not_read(void **state)
{
	static const char *const maintenances[] = {"normal", "normal\n",
	    "odd * 1 2 =a why\n", "normal x 1 2 =a why\n",
	    "normal =/ 1 2 =a why\n", "normal * -1 2 =a why\n",
	    "normal * 1 x =a why\n", "normal * 1 2 a why\n",
	    "normal * 1 2 =a,,b why\n", "normal * 1 2 =a\n",
	    "normal * 1 2 =a \xff\n", "normal * 1 2 =a why\n\n",
	    "normal * 1 2 =a why\n{\"mode\":1}\n"};
	static const char *const flushes[] = {"* 1 2\n", "* 1 2 x\n",
	    "* 0 2 *\n", "* 1 2 *x\n", "* 1 2 =\n", "* 1 2 !\n", "* 1 2 =a b\n",
	    "*x 1 2 *\n", " * 1 2 *\n", "* 99999999999999999999 2 *\n"};
	static struct settings s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(maintenances) / sizeof(maintenances[0]); i++) {
		s.maintenances_count = 7;
		if (settings_read_maintenances(B(maintenances[i]), &s))
			fail_msg("read: %s", maintenances[i]);
		assert_int_equal(s.maintenances_count, 0);
	}
	for (i = 0; i < sizeof(flushes) / sizeof(flushes[0]); i++)
		if (settings_read_flushes(B(flushes[i]), &s))
			fail_msg("read: %s", flushes[i]);
	assert_true(settings_read_flushes(B(""), &s));
	assert_true(settings_read_maintenances(B(""), &s));
}

static void
more_than_there_is_room_for_is_not_read(void **state)
{
	static struct settings s;
	struct buf text = {0};
	int i;

	(void)state;
	for (i = 0; i <= SETTINGS_FLUSHES; i++)
		buf_add_text(&text, "* 1 2 *\n");
	assert_false(settings_read_flushes(buf_bytes(&text), &s));
	buf_reset(&text);
	for (i = 0; i <= SETTINGS_MAINTENANCES; i++)
		buf_add_text(&text, "normal * 1 2 =a why\n");
	assert_false(settings_read_maintenances(buf_bytes(&text), &s));
	buf_reset(&text);
	buf_add_text(&text, "normal * 1 2 =");
	for (i = 0; i < SETTINGS_ROLES_MAX; i++)
		buf_add_text(&text, i % 9 == 8 ? "," : "r");
	buf_add_text(&text, "rr why\n");
	assert_false(settings_read_maintenances(buf_bytes(&text), &s));
	buf_clear(&text);
}

/* ---- whom they mean ---- */

static void
a_flush_means_who_was_created_before(void **state)
{
	static struct settings s;

	(void)state;
	memset(&s, 0, sizeof(s));
	assert_false(settings_flushed(&s, "", B(""), 1));
	add_flush(&s, "shop", NOW, SETTINGS_ALL, "");
	assert_true(settings_flushed(&s, "shop", B(""), NOW - 1));
	assert_false(settings_flushed(&s, "shop", B(""), NOW));
	assert_false(settings_flushed(&s, "", B(""), NOW - 1));
	assert_false(settings_flushed(&s, "shop2", B(""), NOW - 1));
	assert_true(settings_all_flushed_before(&s) == 0);
	assert_true(settings_any_flushed_before(&s) == NOW);
	add_flush(&s, NULL, NOW - 9, SETTINGS_ALL, "");
	assert_true(settings_flushed(&s, "", B(""), NOW - 10));
	assert_false(settings_flushed(&s, "", B(""), NOW - 9));
	assert_true(settings_all_flushed_before(&s) == NOW - 9);
}

static void
a_flush_by_role_means_whole_names(void **state)
{
	static struct settings s;

	(void)state;
	memset(&s, 0, sizeof(s));
	add_flush(&s, NULL, NOW, SETTINGS_WITH, "editor,author");
	assert_true(settings_flushed(&s, "", B("a,editor"), 1));
	assert_true(settings_flushed(&s, "", B("author"), 1));
	assert_false(settings_flushed(&s, "", B("edit,editors,auth"), 1));
	assert_false(settings_flushed(&s, "", B(""), 1));
	memset(&s, 0, sizeof(s));
	add_flush(&s, NULL, NOW, SETTINGS_WITHOUT, "admin");
	assert_false(settings_flushed(&s, "", B("a,admin"), 1));
	assert_true(settings_flushed(&s, "", B("administrator"), 1));
	assert_true(settings_flushed(&s, "", B(""), 1));
}

static void
a_flush_that_means_more_takes_the_place_of_others(void **state)
{
	static struct settings s;

	(void)state;
	memset(&s, 0, sizeof(s));
	add_flush(&s, "shop", NOW, SETTINGS_WITH, "a");
	add_flush(&s, "shop", NOW + 1, SETTINGS_WITH, "a");
	assert_int_equal(s.flushes_count, 1);
	assert_true(s.flushes[0].before_ms == NOW + 1);
	/* An earlier one changes nothing. */
	add_flush(&s, "shop", NOW - 5, SETTINGS_WITH, "a");
	assert_int_equal(s.flushes_count, 1);
	assert_true(s.flushes[0].before_ms == NOW + 1);
	add_flush(&s, "shop", NOW, SETTINGS_WITHOUT, "a");
	add_flush(&s, "", NOW, SETTINGS_ALL, "");
	assert_int_equal(s.flushes_count, 3);
	add_flush(&s, "shop", NOW, SETTINGS_ALL, "");
	assert_int_equal(s.flushes_count, 3);
	add_flush(&s, NULL, NOW + 2, SETTINGS_ALL, "");
	assert_int_equal(s.flushes_count, 1);
	assert_true(settings_all_flushed_before(&s) == NOW + 2);
}

static void
flushes_are_bounded_and_forgotten_when_nobody_is_that_old(void **state)
{
	static struct settings s;
	struct settings_flush f;
	char role[8] = "r00";
	int i;

	(void)state;
	memset(&s, 0, sizeof(s));
	for (i = 0; i < SETTINGS_FLUSHES; i++) {
		role[1] = (char)('0' + i / 10);
		role[2] = (char)('0' + i % 10);
		add_flush(&s, NULL, NOW, SETTINGS_WITH, role);
	}
	f = flush(NULL, NOW, SETTINGS_WITH, "another");
	assert_false(settings_add_flush(&s, &f, NOW));
	assert_int_equal(s.flushes_count, SETTINGS_FLUSHES);
	assert_true(settings_add_flush(&s, &f, NOW + 1000001));
	assert_int_equal(s.flushes_count, 1);
}

static bool
holds(const struct settings *s, const char *realm, const char *roles,
    bool is_new, int64_t now_ms)
{
	return settings_holding(s, realm, B(roles), is_new, now_ms) != NULL;
}

static void
maintenance_holds_back_but_for_roles(void **state)
{
	static struct settings s;

	(void)state;
	memset(&s, 0, sizeof(s));
	assert_null(settings_in_force(&s, "", NOW));
	add_maintenance(&s, "shop", false, "admin", NOW + 10);
	assert_true(holds(&s, "shop", "", true, NOW + 9));
	assert_false(holds(&s, "shop", "", true, NOW + 10));
	assert_false(holds(&s, "shop", "", false, NOW));
	assert_false(holds(&s, "shop", "x,admin", true, NOW));
	assert_false(holds(&s, "", "", true, NOW));
	add_maintenance(&s, NULL, true, "ops", 0);
	assert_true(holds(&s, "", "admin", false, NOW));
	assert_true(holds(&s, "shop", "admin", true, NOW));
	assert_true(holds(&s, "shop", "ops", true, NOW));
	assert_false(holds(&s, "shop", "ops", false, NOW));
	assert_false(holds(&s, "shop", "ops,admin", true, NOW));
	assert_true(settings_in_force(&s, "shop", NOW)->is_emergency);
	assert_true(settings_in_force(&s, "elsewhere", NOW)->is_emergency);
}

static void
maintenance_ends_where_it_was_set_or_everywhere(void **state)
{
	const struct settings_where all = {.is_all = true};
	const struct settings_where shop = {.realm = "shop"};
	static struct settings s;
	char realm[8] = "r0";
	int i;

	(void)state;
	memset(&s, 0, sizeof(s));
	add_maintenance(&s, NULL, false, "", 0);
	add_maintenance(&s, "shop", false, "", 0);
	add_maintenance(&s, "shop", true, "", 0);
	assert_int_equal(s.maintenances_count, 2);
	assert_true(settings_end_maintenance(&s, &shop));
	assert_false(settings_end_maintenance(&s, &shop));
	assert_int_equal(s.maintenances_count, 1);
	add_maintenance(&s, "shop", true, "", 0);
	assert_true(settings_end_maintenance(&s, &all));
	assert_int_equal(s.maintenances_count, 0);
	for (i = 0; i < SETTINGS_MAINTENANCES; i++) {
		realm[1] = (char)('0' + i);
		add_maintenance(&s, realm, false, "", i == 3 ? NOW : 0);
	}
	/* What is over makes room. */
	add_maintenance(&s, "x", false, "", 0);
	{
		struct settings_maintenance m = maintenance("y", true, "", 0);

		assert_false(settings_add_maintenance(&s, &m));
	}
}

/* ---- shared ---- */

static void
zeros_know_nothing(void **state)
{
	static struct settings_shared shared;
	static struct settings s;

	(void)state;
	memset(&shared, 0, sizeof(shared));
	assert_false(settings_are_known(&shared));
	assert_false(settings_get(&shared, &s));
	assert_true(settings_may_concern(&shared, INT64_MAX));
	s = (struct settings){.number = 1};
	settings_publish(&shared, &s, NOW);
	assert_true(settings_are_known(&shared));
	assert_true(settings_get(&shared, &s));
	assert_false(settings_may_concern(&shared, 0));
	assert_false(settings_may_concern(&shared, NOW));
	settings_forget(&shared);
	assert_false(settings_are_known(&shared));
	assert_false(settings_get(&shared, &s));
	assert_true(settings_may_concern(&shared, NOW));
}

static void
one_word_tells_whom_they_may_concern(void **state)
{
	static struct settings_shared shared;
	static struct settings s;

	(void)state;
	memset(&shared, 0, sizeof(shared));
	memset(&s, 0, sizeof(s));
	s.number = 5;
	add_flush(&s, "x", NOW, SETTINGS_WITH, "a");
	settings_publish(&shared, &s, NOW);
	assert_true(settings_may_concern(&shared, NOW - 1));
	assert_false(settings_may_concern(&shared, NOW));
	add_maintenance(&s, "y", false, "a", 0);
	settings_publish(&shared, &s, NOW);
	assert_false(settings_may_concern(&shared, NOW));
	add_maintenance(&s, "y", true, "a", NOW + 100);
	settings_publish(&shared, &s, NOW);
	assert_true(settings_may_concern(&shared, NOW));
	assert_true(settings_may_concern(&shared, NOW + 1000000));
	/* It ends by itself. */
	settings_watch(&shared, NOW + 100);
	assert_false(settings_may_concern(&shared, NOW));
	assert_true(settings_may_concern(&shared, NOW - 1));
	assert_true(settings_are_of(&shared, &s.store, 4));
	assert_false(settings_are_of(&shared, &s.store, 5));
	s.store.epoch = 1;
	assert_false(settings_are_of(&shared, &s.store, 4));
}

static void
a_killed_writer_leaves_what_was_there(void **state)
{
	static struct settings_shared shared;
	static struct settings s, got;
	uint64_t number;
	uint32_t i;

	(void)state;
	memset(&shared, 0, sizeof(shared));
	s = (struct settings){.number = 1};
	settings_publish(&shared, &s, NOW);
	for (i = 0; i < SETTINGS_SLOTS; i++)
		if (i != atomic_load(&shared.current))
			atomic_fetch_add(&shared.slots[i].turn, 1);
	assert_true(settings_get(&shared, &got));
	assert_true(got.number == 1);
	for (number = 2; number < 20; number++) {
		s.number = number;
		settings_publish(&shared, &s, NOW);
		assert_true(settings_get(&shared, &got));
		assert_true(got.number == number);
	}
}

static struct settings_shared crowd;
static _Atomic int is_over;

static void *
publish_all_the_time(void *arg)
{
	static _Thread_local struct settings s;
	uint64_t n;
	uint32_t i;

	for (n = (uint64_t)(uintptr_t)arg; !atomic_load(&is_over); n += 2) {
		s.number = n;
		s.flushes_count = SETTINGS_FLUSHES;
		for (i = 0; i < SETTINGS_FLUSHES; i++)
			s.flushes[i].before_ms = (int64_t)n;
		settings_publish(&crowd, &s, NOW);
	}
	return NULL;
}

static void
readers_see_whole_settings(void **state)
{
	static struct settings got;
	pthread_t writers[2];
	int64_t until_ms = clock_monotonic_ms() + 20000;
	unsigned found = 0;
	uintptr_t i;
	uint32_t k;

	(void)state;
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&writers[i], NULL,
				     publish_all_the_time, (void *)(i + 1)),
		    0);
	/* The writers may be slow to start on a busy machine. */
	while (found < 5000 && clock_monotonic_ms() < until_ms) {
		if (!settings_get(&crowd, &got))
			continue;
		found++;
		assert_int_equal(got.flushes_count, SETTINGS_FLUSHES);
		for (k = 0; k < SETTINGS_FLUSHES; k++)
			assert_true(
			    got.flushes[k].before_ms == (int64_t)got.number);
	}
	atomic_store(&is_over, 1);
	for (i = 0; i < 2; i++)
		pthread_join(writers[i], NULL);
	assert_int_equal(found, 5000);
}

/* Whoever broke into a worker writes what he likes. */
static void
nonsense_in_shared_memory_is_not_followed(void **state)
{
	static struct settings_shared shared;
	static struct settings got;

	(void)state;
	memset(&shared, 0x7f, sizeof(shared));
	atomic_store(&shared.slots[0].turn, 2);
	atomic_store(&shared.current, 0xfffffffcu);
	assert_false(settings_get(&shared, &got));
	shared.slots[0].settings.maintenances_count = 1;
	shared.slots[0].settings.flushes_count = 1;
	assert_true(settings_get(&shared, &got));
	assert_int_equal(
	    strlen(got.maintenances[0].reason), SETTINGS_REASON_MAX);
	assert_int_equal(strlen(got.flushes[0].roles), SETTINGS_ROLES_MAX);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_written_is_read),
    cmocka_unit_test(what_is_not_ours_is_not_read),
    cmocka_unit_test(more_than_there_is_room_for_is_not_read),
    cmocka_unit_test(a_flush_means_who_was_created_before),
    cmocka_unit_test(a_flush_by_role_means_whole_names),
    cmocka_unit_test(a_flush_that_means_more_takes_the_place_of_others),
    cmocka_unit_test(flushes_are_bounded_and_forgotten_when_nobody_is_that_old),
    cmocka_unit_test(maintenance_holds_back_but_for_roles),
    cmocka_unit_test(maintenance_ends_where_it_was_set_or_everywhere),
    cmocka_unit_test(zeros_know_nothing),
    cmocka_unit_test(one_word_tells_whom_they_may_concern),
    cmocka_unit_test(a_killed_writer_leaves_what_was_there),
    cmocka_unit_test(readers_see_whole_settings),
    cmocka_unit_test(nonsense_in_shared_memory_is_not_followed),
};

TAP_MAIN(tests)
