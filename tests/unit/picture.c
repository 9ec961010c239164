/* Pictures: numbers as people read them, shapes within their box, gaps where
 * nothing is known, and well-formed text whatever the values are. */
#include "tap.h"

#include "picture.h"

#include "wellformed.h"

#include <stdlib.h>
#include <string.h>

/* 14:00 UTC. */
#define END_MS INT64_C(1795442400000)

struct fixture {
	int64_t a[PICTURE_POINTS], b[PICTURE_POINTS];
	struct buf out;
};

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	size_t i;

	assert_non_null(f);
	for (i = 0; i < PICTURE_POINTS; i++)
		f->a[i] = f->b[i] = PICTURE_NONE;
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	buf_clear(&f->out);
	free(f);
	return 0;
}

static const char *
draw(struct fixture *f, enum picture_unit unit, bool is_stacked, bool is_peak)
{
	struct picture p = {.id = "p",
	    .title = "A <title> & \"more\"",
	    .about = "About it's <b>",
	    .unit = unit,
	    .is_stacked = is_stacked,
	    .is_peak = is_peak,
	    .end_ms = END_MS,
	    .count = 2,
	    .lines = {{"one & <all>", f->a}, {"two", f->b}}};

	buf_reset(&f->out);
	picture_add(&f->out, &p);
	assert_false(buf_failed(&f->out));
	wellformed(buf_bytes(&f->out));
	return buf_text(&f->out);
}

static const char *
draw_bands(struct fixture *f)
{
	struct picture_band bands[2] = {
	    {"<one>", f->a, {"fine", "so & so", "bad", NULL}},
	    {"two", f->b, {"a", "b", "c", "d"}}};
	struct picture_bands p = {.id = "p",
	    .title = "Bands",
	    .end_ms = END_MS,
	    .count = 2,
	    .bands = bands};

	buf_reset(&f->out);
	picture_add_bands(&f->out, &p);
	assert_false(buf_failed(&f->out));
	wellformed(buf_bytes(&f->out));
	return buf_text(&f->out);
}

static void
has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("no %s in %s", part, text);
}

static unsigned
count_of(const char *text, const char *part)
{
	unsigned count = 0;

	while ((text = strstr(text, part)) != NULL) {
		text += strlen(part);
		count++;
	}
	return count;
}

/* ---- numbers ---- */

static void
is_number(int64_t value, enum picture_unit unit, const char *expected)
{
	struct buf out = {0};

	picture_number(&out, value, unit);
	assert_string_equal(buf_text(&out), expected);
	buf_clear(&out);
}

static void
numbers_have_three_digits_and_a_unit(void **state)
{
	(void)state;
	is_number(0, PICTURE_COUNT, "0");
	is_number(9999, PICTURE_COUNT, "9999");
	is_number(10000, PICTURE_COUNT, "10k");
	is_number(12345, PICTURE_COUNT, "12.3k");
	is_number(999999, PICTURE_COUNT, "999k");
	is_number(1000000, PICTURE_COUNT, "1M");
	is_number(1234567, PICTURE_COUNT, "1.23M");
	is_number(INT64_MAX, PICTURE_COUNT, "9223372T");
	is_number(1, PICTURE_MILLI, "0.00");
	is_number(50, PICTURE_MILLI, "0.05");
	is_number(1500, PICTURE_MILLI, "1.50");
	is_number(12340, PICTURE_PER_SECOND, "12.3/s");
	is_number(1000, PICTURE_PER_SECOND, "1/s");
	is_number(123456, PICTURE_PER_SECOND, "123/s");
	is_number(12345678, PICTURE_PER_SECOND, "12.3k/s");
	is_number(0, PICTURE_US, "0 \xc2\xb5s");
	is_number(999, PICTURE_US, "999 \xc2\xb5s");
	is_number(1234, PICTURE_US, "1.23 ms");
	is_number(12345678, PICTURE_US, "12.3 s");
	is_number(1023, PICTURE_BYTES, "1023 B");
	is_number(1536, PICTURE_BYTES, "1.50 KiB");
	is_number(16383, PICTURE_BYTES, "15.9 KiB");
	is_number(INT64_MAX, PICTURE_BYTES, "8589934591 GiB");
	is_number(PICTURE_NONE, PICTURE_COUNT, "not known");
	is_number(INT64_MIN, PICTURE_US, "not known");
}

/* ---- lines and areas ---- */

static void
nothing_known_is_no_line_but_a_gap(void **state)
{
	struct fixture *f = *state;
	const char *text = draw(f, PICTURE_PER_SECOND, false, false);

	has(text, "There is no data yet. </desc>");
	has(text, "<rect class=\"gap\" x=\"0\" y=\"0\" width=\"3600\" ");
	has(text, "<path class=\"line s1\" d=\"M0 0\"/>");
	has(text, "one &amp; &lt;all&gt; <b>not known</b>");
	assert_int_equal(count_of(text, "<td>no data</td>"), 24);
	text = draw(f, PICTURE_COUNT, true, true);
	has(text, "<path class=\"area s1\" d=\"M0 0\"/>");
}

static void
one_sample_is_as_wide_as_its_interval(void **state)
{
	struct fixture *f = *state;
	const char *text;

	f->a[10] = 500;
	text = draw(f, PICTURE_COUNT, false, false);
	has(text, "<path class=\"line s1\" d=\"M0 0M100 0H110\"/>");
	has(text, "<rect class=\"gap\" x=\"0\" y=\"0\" width=\"100\" ");
	has(text, "<rect class=\"gap\" x=\"110\" y=\"0\" width=\"3490\" ");
	has(text, "<span>500</span><span>0</span>");
	has(text, "one &amp; &lt;all&gt;: last not known, least 500, most "
		  "500. No data for 60 min of the hour. ");
	text = draw(f, PICTURE_COUNT, true, false);
	has(text, "<path class=\"area s1\" d=\"M0 0M100 0H110H110V1000H100Z"
		  "\"/>");
}

static void
a_gap_in_the_middle_breaks_the_line(void **state)
{
	struct fixture *f = *state;
	const char *text;
	size_t i;

	for (i = 0; i < PICTURE_POINTS; i++)
		f->a[i] = i < 100 ? 100 : i < 130 ? PICTURE_NONE : 50;
	text = draw(f, PICTURE_COUNT, false, false);
	has(text, "d=\"M0 0M0 0H1000M1300 500H3600\"/>");
	assert_int_equal(count_of(text, "class=\"gap\""), 1);
	has(text, "<rect class=\"gap\" x=\"1000\" y=\"0\" width=\"300\" ");
	has(text, "No data for 5 min of the hour. ");
	/* The other line is known there: no gap, and it alone goes on. */
	for (i = 0; i < PICTURE_POINTS; i++)
		f->b[i] = 0;
	text = draw(f, PICTURE_COUNT, false, false);
	assert_int_equal(count_of(text, "class=\"gap\""), 0);
	has(text, "d=\"M0 0M0 0H1000M1300 500H3600\"/>");
	has(text, "<path class=\"line s2\" d=\"M0 0M0 1000H3600\"/>");
}

static void
steps_stand_where_values_change(void **state)
{
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < PICTURE_POINTS; i++)
		f->a[i] = i < 180 ? 0 : 10;
	has(draw(f, PICTURE_COUNT, false, false),
	    "<path class=\"line s1\" d=\"M0 0M0 1000H1800V0H3600\"/>");
}

static void
areas_stand_on_each_other(void **state)
{
	struct fixture *f = *state;
	const char *text;
	size_t i;

	for (i = 0; i < PICTURE_POINTS; i++) {
		f->a[i] = 60;
		f->b[i] = 40;
	}
	text = draw(f, PICTURE_COUNT, true, false);
	has(text, "<span>100</span><span>0</span>");
	has(text, "s1\" d=\"M0 0M0 400H3600H3600V1000H0Z\"/>");
	has(text, "s2\" d=\"M0 0M0 0H3600H3600V400H0Z\"/>");
}

static void
huge_values_stay_in_the_box(void **state)
{
	static const int64_t huge[] = {INT64_MAX, INT64_MAX - 1, INT64_MAX / 2,
	    INT64_C(1) << 62, INT64_MAX / 1000 + 1, INT64_MAX / 1000};
	struct fixture *f = *state;
	const char *at;
	size_t i, k;
	long y;

	for (k = 0; k < sizeof(huge) / sizeof(huge[0]); k++) {
		for (i = 0; i < PICTURE_POINTS; i++) {
			f->a[i] = i % 2 == 0 ? huge[k] : 0;
			f->b[i] = i % 3 == 0 ? huge[k] : 1;
		}
		for (i = 0; i < 2; i++) {
			at = draw(f, PICTURE_US, i == 1, k % 2 == 0);
			for (at = strchr(at, 'V'); at != NULL;
			     at = strchr(at + 1, 'V')) {
				y = strtol(at + 1, NULL, 10);
				assert_true(y >= 0 && y <= 1000);
			}
			assert_int_equal(
			    count_of(
				draw(f, PICTURE_COUNT, i == 1, false), "=\"-"),
			    0);
		}
	}
}

static void
a_row_of_the_table_is_the_mean_or_the_most(void **state)
{
	struct fixture *f = *state;
	const char *text;
	size_t i;

	for (i = 330; i < PICTURE_POINTS; i++)
		f->a[i] = i == 330 ? 300 : 6;
	f->a[340] = PICTURE_NONE;
	for (i = 300; i < 330; i++)
		f->a[i] = INT64_MAX;
	text = draw(f, PICTURE_COUNT, false, false);
	/* (300 + 28 * 6) / 29; the newest is the first. */
	has(text, "<tbody>\n<tr><th scope=\"row\">13:55</th><td>16</td>"
		  "<td>no data</td></tr>\n"
		  "<tr><th scope=\"row\">13:50</th><td>9223372T</td>");
	has(text, ": the mean of five minutes</caption>");
	text = draw(f, PICTURE_COUNT, false, true);
	has(text, "<tr><th scope=\"row\">13:55</th><td>300</td>");
	has(text, ": the most of five minutes</caption>");
	has(text, "<th scope=\"row\">13:00</th><td>no data</td>");
}

static void
texts_are_escaped_and_told_to_those_who_do_not_see(void **state)
{
	struct fixture *f = *state;
	const char *text = draw(f, PICTURE_COUNT, false, false);

	has(text, "<h2 id=\"p\">A &lt;title&gt; &amp; &quot;more&quot;</h2>");
	has(text, "<p class=\"about\">About it&#39;s &lt;b&gt;</p>");
	has(text, "role=\"img\" aria-labelledby=\"p-title\" "
		  "aria-describedby=\"p-desc\">\n<title id=\"p-title\">A "
		  "&lt;title&gt; &amp; &quot;more&quot;, the last hour</title>"
		  "\n<desc id=\"p-desc\">");
	assert_null(strstr(text, "<all>"));
}

/* ---- bands ---- */

static void
bands_are_higher_where_it_is_worse(void **state)
{
	struct fixture *f = *state;
	const char *text;
	size_t i;

	for (i = 0; i < PICTURE_POINTS; i++)
		f->a[i] = i < 100   ? PICTURE_NONE
			  : i < 200 ? 0
			  : i < 206 ? 2
				    : 1;
	text = draw_bands(f);
	has(text, "<rect class=\"gap\" x=\"0\" y=\"0\" width=\"1000\" "
		  "height=\"1000\"/>");
	has(text, "<rect class=\"b0\" x=\"1000\" y=\"750\" width=\"1000\" "
		  "height=\"250\"/>");
	has(text, "<rect class=\"b2\" x=\"2000\" y=\"250\" width=\"60\" "
		  "height=\"750\"/>");
	has(text, "<rect class=\"b1\" x=\"2060\" y=\"500\" width=\"1540\" "
		  "height=\"500\"/>");
	has(text, "fine: 17 min. so &amp; so: 26 min. bad: 60 s. No data for "
		  "17 min of the hour. </desc>");
	has(text, "<p>&lt;one&gt; <b>so &amp; so</b></p>");
	has(text, "<p>two <b>no data</b></p>");
	has(text, "There is no data yet. </desc>");
	/* Newest first, and nothing of what was fine. */
	has(text, "<ul role=\"list\">\n"
		  "<li>&lt;one&gt;, 13:34:20 to 14:00:00: so &amp; so</li>\n"
		  "<li>&lt;one&gt;, 13:33:20 to 13:34:20: bad</li>\n</ul>");
}

static void
what_no_state_has_is_not_known(void **state)
{
	static const int64_t nonsense[] = {3, 4, 77, INT64_MAX, INT64_MIN, -2};
	struct fixture *f = *state;
	const char *text;
	size_t i;

	for (i = 0; i < PICTURE_POINTS; i++)
		f->a[i] = nonsense[i % 6];
	text = draw_bands(f);
	has(text, "<rect class=\"gap\" x=\"0\" y=\"0\" width=\"3600\" ");
	assert_null(strstr(text, "<li>"));
	f->b[5] = 3;
	has(draw_bands(f), "<rect class=\"b3\" x=\"50\" y=\"0\" width=\"10\" ");
}

static void
of_many_changes_the_newest_are_told(void **state)
{
	struct fixture *f = *state;
	const char *text;
	size_t i;

	for (i = 0; i < PICTURE_POINTS; i++)
		f->a[i] = (int64_t)i % 2;
	text = draw_bands(f);
	assert_int_equal(count_of(text, "<li>"), 12);
	has(text, "13:59:50 to 14:00:00: so");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest picture_tests[] = {
    TEST(numbers_have_three_digits_and_a_unit),
    TEST(nothing_known_is_no_line_but_a_gap),
    TEST(one_sample_is_as_wide_as_its_interval),
    TEST(a_gap_in_the_middle_breaks_the_line),
    TEST(steps_stand_where_values_change),
    TEST(areas_stand_on_each_other),
    TEST(huge_values_stay_in_the_box),
    TEST(a_row_of_the_table_is_the_mean_or_the_most),
    TEST(texts_are_escaped_and_told_to_those_who_do_not_see),
    TEST(bands_are_higher_where_it_is_worse),
    TEST(what_no_state_has_is_not_known),
    TEST(of_many_changes_the_newest_are_told),
};

TAP_MAIN(picture_tests)
