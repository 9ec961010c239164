/* Where a store is: what readers get while somebody writes. */
#include "config.h"

#include "place.h"

#include "buf.h"
#include "tap.h"

#include <pthread.h>

static struct place_address
address(const char *text, uint64_t who)
{
	struct place_address a = {.who = who};

	a.len = address_port_parse(text, a.address, &a.port);
	assert_true(a.len > 0);
	return a;
}

static void
zeros_know_of_none(void **state)
{
	struct place place = {0};
	struct place_address got;
	uint64_t generation = 9;

	(void)state;
	assert_false(place_get(&place, &got, &generation));
	assert_int_equal(got.len, 0);
	assert_int_equal(generation, 0);
}

static void
what_is_set_is_got_and_a_change_has_another_generation(void **state)
{
	static const char *const texts[] = {
	    "10.0.0.1:6379", "[2001:db8::1]:26379", "10.0.0.1:6380"};
	struct place place = {0};
	struct place_address set, got;
	uint64_t before = 0, generation;
	char text[PLACE_TEXT_MAX + 1];
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		set = address(texts[i], 7);
		assert_true(place_set(&place, &set));
		assert_true(place_get(&place, &got, &generation));
		assert_true(place_equal(&got, &set));
		assert_int_equal(got.who, 7);
		place_text(&got, text);
		assert_string_equal(text, texts[i]);
		assert_true(generation != before);
		before = generation;
		/* The same again is no change. */
		assert_false(place_set(&place, &set));
		place_get(&place, &got, &generation);
		assert_int_equal(generation, before);
	}
	/* The same address of somebody else is. */
	set.who = 8;
	assert_true(place_set(&place, &set));
	assert_true(place_get(&place, &got, &generation));
	assert_true(generation != before);
}

static void
none_can_be_set_and_who_it_was_stays(void **state)
{
	struct place place = {0};
	struct place_address set = address("10.0.0.1:1", 7), got;
	uint64_t generation;

	(void)state;
	place_set(&place, &set);
	assert_true(place_set(&place, &(struct place_address){.who = 7}));
	assert_false(place_get(&place, &got, &generation));
	assert_int_equal(got.who, 7);
	assert_true(place_set(&place, &set));
	assert_true(place_set(&place, NULL));
	assert_false(place_get(&place, &got, &generation));
	assert_int_equal(got.who, 0);
}

static void
what_cannot_be_is_none(void **state)
{
	static const uint64_t lengths[] = {1, 5, 15, 17, 255};
	struct place place = {0};
	struct place_address got;
	uint64_t generation;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		atomic_store(&place.slots[0][2], lengths[i] << 16 | 6379);
		assert_false(place_get(&place, &got, &generation));
		assert_int_equal(got.len, 0);
	}
}

#define WRITES 200000

static void *
write_two(void *arg)
{
	struct place_address one = address("10.1.1.1:1111", 0x1111),
			     two = address("[2::2]:2222", 0x2222);
	int i;

	for (i = 0; i < WRITES; i++)
		place_set(arg, i % 2 == 0 ? &one : &two);
	return NULL;
}

static void
a_reader_gets_one_address_or_the_other_and_no_mixture(void **state)
{
	struct place_address one = address("10.1.1.1:1111", 0x1111),
			     two = address("[2::2]:2222", 0x2222), got;
	struct place place = {0};
	uint64_t generation = 0;
	pthread_t writer;
	int reads = 0;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, write_two, &place), 0);
	while (generation < WRITES) {
		if (!place_get(&place, &got, &generation))
			continue;
		reads++;
		assert_true((place_equal(&got, &one) && got.who == 0x1111) ||
			    (place_equal(&got, &two) && got.who == 0x2222));
	}
	pthread_join(writer, NULL);
	assert_true(reads > 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(zeros_know_of_none),
    cmocka_unit_test(what_is_set_is_got_and_a_change_has_another_generation),
    cmocka_unit_test(none_can_be_set_and_who_it_was_stays),
    cmocka_unit_test(what_cannot_be_is_none),
    cmocka_unit_test(a_reader_gets_one_address_or_the_other_and_no_mixture),
};

TAP_MAIN(tests)
