/* Pictures of the last hour: picture.h. */
#include "config.h"

#include "picture.h"

#include "clock.h"

#include <stdio.h>
#include <string.h>

/* A point is ten wide, so that it has a middle. */
#define POINT_WIDTH 10
#define WIDTH (PICTURE_POINTS * POINT_WIDTH)
#define HEIGHT 1000
/* Half of a line that runs along the edge. */
#define MARGIN 20
#define GRID_WIDTH (WIDTH / 6)
/* Five minutes: a row of the table. */
#define ROWS 12
#define ROW_POINTS (PICTURE_POINTS / ROWS)
/* A band's changes that are told, newest first. */
#define CHANGES_MAX 12
_Static_assert(ROWS *ROW_POINTS == PICTURE_POINTS, "rows are whole");

/* ---- numbers ---- */

/* value / scale, with three digits that count where it is no whole number. */
static void
add_scaled(struct buf *out, int64_t value, int64_t scale)
{
	int64_t whole = value / scale, rest = value % scale;

	if (whole >= 100 || rest == 0 || scale < 10) {
		buf_add_int(out, whole);
		return;
	}
	rest = rest * (whole >= 10 ? 10 : 100) / scale;
	buf_printf(out, whole >= 10 ? "%lld.%01lld" : "%lld.%02lld",
	    (long long)whole, (long long)rest);
}

/* The largest of its scales that a value reaches, or the first. */
static void
add_by_scales(struct buf *out, int64_t value, const int64_t *scales,
    const char *const *names, size_t count)
{
	size_t i = count - 1;

	while (i > 0 && value < scales[i])
		i--;
	add_scaled(out, value, scales[i]);
	buf_add_text(out, names[i]);
}

static void
add_large(struct buf *out, int64_t value, int64_t one)
{
	static const char *const names[] = {"", "k", "M", "G", "T"};
	const int64_t scales[] = {one, one * 10000, one * 1000000,
	    one * 1000000000, one * 1000000000000};
	size_t i = 4;

	while (i > 0 && value < scales[i])
		i--;
	/* Thousands only from ten of them on: 1,234 is 1234. */
	add_scaled(out, value, i == 1 ? one * 1000 : scales[i]);
	buf_add_text(out, names[i]);
}

void
picture_number(struct buf *out, int64_t value, enum picture_unit unit)
{
	static const int64_t us[] = {1, 1000, 1000000};
	static const char *const us_names[] = {" \xc2\xb5s", " ms", " s"};
	static const int64_t bytes[] = {1, 1 << 10, 1 << 20, 1 << 30};
	static const char *const byte_names[] = {" B", " KiB", " MiB", " GiB"};

	if (value < 0) {
		buf_add_text(out, "not known");
		return;
	}
	switch (unit) {
	case PICTURE_COUNT:
		add_large(out, value, 1);
		return;
	case PICTURE_MILLI:
		add_large(out, value, 1000);
		return;
	case PICTURE_PER_SECOND:
		add_large(out, value, 1000);
		buf_add_text(out, "/s");
		return;
	case PICTURE_US:
		add_by_scales(out, value, us, us_names, 3);
		return;
	case PICTURE_BYTES:
		add_by_scales(out, value, bytes, byte_names, 4);
		return;
	}
}

/* The least of 1, 2, 5, 10, 20 ... that is not below. */
static int64_t
nice_above(int64_t value)
{
	int64_t nice = 1;

	for (;;) {
		if (nice >= value)
			return nice;
		if (nice > INT64_MAX / 10)
			return INT64_MAX;
		if (2 * nice >= value)
			return 2 * nice;
		if (5 * nice >= value)
			return 5 * nice;
		nice *= 10;
	}
}

static int64_t
add_up(int64_t a, int64_t b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* What is out of bounds is not known, whoever wrote it. */
static int64_t
value_at(const int64_t *values, size_t i)
{
	return values[i] < 0 ? PICTURE_NONE : values[i];
}

/* ---- a line in words ---- */

struct summary {
	int64_t last, least, most; /* PICTURE_NONE: nothing is known */
};

static struct summary
summarize(const int64_t *values)
{
	struct summary s = {PICTURE_NONE, PICTURE_NONE, PICTURE_NONE};
	int64_t value;
	size_t i;

	for (i = 0; i < PICTURE_POINTS; i++) {
		value = value_at(values, i);
		if (value == PICTURE_NONE)
			continue;
		s.least = s.least == PICTURE_NONE || value < s.least ? value
								     : s.least;
		s.most = value > s.most ? value : s.most;
	}
	s.last = value_at(values, PICTURE_POINTS - 1);
	return s;
}

static bool
is_known_at(const struct picture *p, size_t i)
{
	size_t line;

	if (p->is_known != NULL)
		return p->is_known[i];
	for (line = 0; line < p->count; line++)
		if (value_at(p->lines[line].values, i) != PICTURE_NONE)
			return true;
	return false;
}

static void
add_minutes(struct buf *out, size_t points)
{
	int64_t seconds = (int64_t)points * (HISTORY_EVERY_MS / 1000);

	if (seconds < 120)
		buf_printf(out, "%lld s", (long long)seconds);
	else
		buf_printf(out, "%lld min", (long long)(seconds + 30) / 60);
}

static void
add_unknown_points(struct buf *out, size_t unknown)
{
	if (unknown == 0)
		return;
	if (unknown == PICTURE_POINTS) {
		buf_add_text(out, "There is no data yet. ");
		return;
	}
	buf_add_text(out, "No data for ");
	add_minutes(out, unknown);
	buf_add_text(out, " of the hour. ");
}

static void
add_description(struct buf *out, const struct picture *p)
{
	size_t i, unknown = 0;
	struct summary s;

	for (i = 0; i < PICTURE_POINTS; i++)
		unknown += !is_known_at(p, i);
	for (i = 0; i < p->count; i++) {
		s = summarize(p->lines[i].values);
		if (s.most == PICTURE_NONE)
			continue;
		buf_add_html(out, bytes_of(p->lines[i].name));
		buf_add_text(out, ": last ");
		picture_number(out, s.last, p->unit);
		buf_add_text(out, ", least ");
		picture_number(out, s.least, p->unit);
		buf_add_text(out, ", most ");
		picture_number(out, s.most, p->unit);
		buf_add_text(out, ". ");
	}
	add_unknown_points(out, unknown);
}

/* ---- shapes ---- */

static int
x_of(size_t point)
{
	return (int)point * POINT_WIDTH;
}

/* From HEIGHT, for 0, up to 0, for max and all above. */
static int
y_of(int64_t value, int64_t max)
{
	if (value >= max)
		return 0;
	if (max > INT64_MAX / HEIGHT)
		return HEIGHT - (int)(value / (max / HEIGHT));
	return HEIGHT - (int)(value * HEIGHT / max);
}

static void
add_svg_begin(struct buf *out, const char *id, const char *title)
{
	buf_printf(out,
	    "<svg viewBox=\"0 %d %d %d\" preserveAspectRatio=\"none\" "
	    "role=\"img\" aria-labelledby=\"%s-title\" "
	    "aria-describedby=\"%s-desc\">\n<title id=\"%s-title\">",
	    -MARGIN, WIDTH, HEIGHT + 2 * MARGIN, id, id, id);
	buf_add_html(out, bytes_of(title));
	buf_printf(out, ", the last hour</title>\n<desc id=\"%s-desc\">", id);
}

static void
add_grid(struct buf *out, bool has_rows)
{
	int x;

	buf_add_text(out, "<path class=\"grid\" d=\"");
	for (x = 0; x <= WIDTH; x += GRID_WIDTH)
		buf_printf(out, "M%d 0V%d", x, HEIGHT);
	if (has_rows)
		buf_printf(out, "M0 0H%dM0 %dH%dM0 %dH%d", WIDTH, HEIGHT / 2,
		    WIDTH, HEIGHT, WIDTH);
	buf_add_text(out, "\"/>\n");
}

/* The end of the run of points that are all known, or all not, from `from`. */
static size_t
run_end(const bool *is_known, size_t from)
{
	size_t i = from;

	while (i < PICTURE_POINTS && is_known[i] == is_known[from])
		i++;
	return i;
}

static void
add_gaps(struct buf *out, const bool *is_known)
{
	size_t i, end;

	for (i = 0; i < PICTURE_POINTS; i = end) {
		end = run_end(is_known, i);
		if (!is_known[i])
			buf_printf(out,
			    "<rect class=\"gap\" x=\"%d\" y=\"0\" width=\"%d\" "
			    "height=\"%d\"/>\n",
			    x_of(i), x_of(end) - x_of(i), HEIGHT);
	}
}

/* Steps, one for each stretch of the same height, from left to right. */
static void
add_steps(
    struct buf *out, const int64_t *values, size_t from, size_t to, int64_t max)
{
	int y = y_of(values[from], max), next;
	size_t i;

	buf_printf(out, "M%d %d", x_of(from), y);
	for (i = from + 1; i < to; i++) {
		next = y_of(values[i], max);
		if (next == y)
			continue;
		buf_printf(out, "H%dV%d", x_of(i), next);
		y = next;
	}
	buf_printf(out, "H%d", x_of(to));
}

/* Back along the lower edge of an area. */
static void
add_steps_back(
    struct buf *out, const int64_t *values, size_t from, size_t to, int64_t max)
{
	size_t i;
	int y = -1, next;

	for (i = to; i > from; i--) {
		next = y_of(values[i - 1], max);
		if (next != y)
			buf_printf(out, "H%dV%d", x_of(i), next);
		y = next;
	}
	buf_printf(out, "H%dZ", x_of(from));
}

static void
add_line(struct buf *out, const int64_t *values, size_t number, int64_t max)
{
	bool is_known[PICTURE_POINTS];
	size_t i, end;

	for (i = 0; i < PICTURE_POINTS; i++)
		is_known[i] = value_at(values, i) != PICTURE_NONE;
	buf_printf(out, "<path class=\"line s%zu\" d=\"M0 0", number + 1);
	for (i = 0; i < PICTURE_POINTS; i = end) {
		end = run_end(is_known, i);
		if (is_known[i])
			add_steps(out, values, i, end, max);
	}
	buf_add_text(out, "\"/>\n");
}

static void
add_lines(struct buf *out, const struct picture *p, int64_t max)
{
	size_t i;

	for (i = 0; i < p->count; i++)
		add_line(out, p->lines[i].values, i, max);
}

/* What one of them does not know counts as 0, where another is known. */
static void
add_areas(
    struct buf *out, const struct picture *p, const bool *is_known, int64_t max)
{
	int64_t below[PICTURE_POINTS] = {0}, top[PICTURE_POINTS];
	int64_t value;
	size_t i, line, end;

	for (line = 0; line < p->count; line++) {
		for (i = 0; i < PICTURE_POINTS; i++) {
			value = value_at(p->lines[line].values, i);
			top[i] = add_up(below[i], value < 0 ? 0 : value);
		}
		buf_printf(out, "<path class=\"area s%zu\" d=\"M0 0", line + 1);
		for (i = 0; i < PICTURE_POINTS; i = end) {
			end = run_end(is_known, i);
			if (!is_known[i])
				continue;
			add_steps(out, top, i, end, max);
			add_steps_back(out, below, i, end, max);
		}
		buf_add_text(out, "\"/>\n");
		memcpy(below, top, sizeof(below));
	}
}

/* Of all lines, or of all of them together. */
static int64_t
highest(const struct picture *p)
{
	int64_t most = 0, sum, value;
	size_t i, line;

	for (i = 0; i < PICTURE_POINTS; i++) {
		sum = 0;
		for (line = 0; line < p->count; line++) {
			value = value_at(p->lines[line].values, i);
			if (value == PICTURE_NONE)
				continue;
			sum = p->is_stacked ? add_up(sum, value) : value;
			most = sum > most ? sum : most;
		}
	}
	return most;
}

/* ---- what stands around ---- */

static void
add_heading(
    struct buf *out, const char *id, const char *title, const char *about)
{
	buf_printf(
	    out, "<section aria-labelledby=\"%s\">\n<h2 id=\"%s\">", id, id);
	buf_add_html(out, bytes_of(title));
	buf_add_text(out, "</h2>\n");
	if (about == NULL)
		return;
	buf_add_text(out, "<p class=\"about\">");
	buf_add_html(out, bytes_of(about));
	buf_add_text(out, "</p>\n");
}

/* A piece of each line or area, its name, and its last value. */
static void
add_key(struct buf *out, const struct picture *p)
{
	size_t i;

	buf_add_text(out, "<ul class=\"key\" role=\"list\">\n");
	for (i = 0; i < p->count; i++) {
		buf_printf(out,
		    "<li><svg viewBox=\"0 0 24 12\" aria-hidden=\"true\">"
		    "<path class=\"%s s%zu\" d=\"%s\"/></svg> ",
		    p->is_stacked ? "area" : "line", i + 1,
		    p->is_stacked ? "M0 0H24V12H0Z" : "M0 6H24");
		buf_add_html(out, bytes_of(p->lines[i].name));
		buf_add_text(out, " <b>");
		picture_number(out,
		    value_at(p->lines[i].values, PICTURE_POINTS - 1), p->unit);
		buf_add_text(out, "</b></li>\n");
	}
	buf_add_text(out, "</ul>\n");
}

static void
add_time_axis(struct buf *out)
{
	buf_add_text(out, "<p class=\"axis\" aria-hidden=\"true\">"
			  "<span>60 min</span><span>30 min</span>"
			  "<span>now</span></p>\n");
}

/* "14:03" of UTC. */
static void
add_clock(struct buf *out, int64_t utc_ms, bool has_seconds)
{
	char text[25];

	clock_text(utc_ms, text);
	buf_printf(out, has_seconds ? "%.8s" : "%.5s", text + 11);
}

/* Of one row of the table: the mean, or the most, of what is known. */
static int64_t
condense(const int64_t *values, size_t from, bool is_peak)
{
	int64_t most = PICTURE_NONE, mean = 0, rests = 0, known = 0, value;
	size_t i, to = from + ROW_POINTS;

	for (i = from; i < to; i++) {
		value = value_at(values, i);
		known += value != PICTURE_NONE;
		most = value > most ? value : most;
	}
	if (known == 0 || is_peak)
		return most;
	/* The sum of all might be too large for any integer. */
	for (i = from; i < to; i++) {
		value = value_at(values, i);
		if (value == PICTURE_NONE)
			continue;
		mean += value / known;
		rests += value % known;
	}
	return mean + rests / known;
}

static void
add_table_head(struct buf *out, const struct picture *p)
{
	size_t i;

	buf_printf(out,
	    "<details><summary>As a table</summary>\n<div class=\"wide\" "
	    "tabindex=\"0\" role=\"group\" aria-labelledby=\"%s\"><table>\n"
	    "<caption>",
	    p->id);
	buf_add_html(out, bytes_of(p->title));
	buf_add_text(out, p->is_peak ? ": the most of five minutes"
				     : ": the mean of five minutes");
	buf_add_text(out, "</caption>\n<thead><tr><th scope=\"col\">From "
			  "(UTC)</th>");
	for (i = 0; i < p->count; i++) {
		buf_add_text(out, "<th scope=\"col\">");
		buf_add_html(out, bytes_of(p->lines[i].name));
		buf_add_text(out, "</th>");
	}
	buf_add_text(out, "</tr></thead>\n<tbody>\n");
}

static void
add_table(struct buf *out, const struct picture *p)
{
	const int64_t row_ms = ROW_POINTS * (int64_t)HISTORY_EVERY_MS;
	size_t row, i;
	int64_t value;

	add_table_head(out, p);
	for (row = ROWS; row > 0; row--) {
		buf_add_text(out, "<tr><th scope=\"row\">");
		add_clock(
		    out, p->end_ms - (int64_t)(ROWS - row + 1) * row_ms, false);
		buf_add_text(out, "</th>");
		for (i = 0; i < p->count; i++) {
			value = condense(p->lines[i].values,
			    (row - 1) * ROW_POINTS, p->is_peak);
			buf_add_text(out, "<td>");
			if (value == PICTURE_NONE)
				buf_add_text(out, "no data");
			else
				picture_number(out, value, p->unit);
			buf_add_text(out, "</td>");
		}
		buf_add_text(out, "</tr>\n");
	}
	buf_add_text(out, "</tbody>\n</table></div></details>\n");
}

static void
add_scale(struct buf *out, int64_t max, enum picture_unit unit)
{
	buf_add_text(out, "<p class=\"scale\" aria-hidden=\"true\"><span>");
	picture_number(out, max, unit);
	buf_add_text(out, "</span><span>0</span></p>\n");
}

void
picture_add(struct buf *out, const struct picture *p)
{
	int64_t max = nice_above(highest(p));
	bool is_known[PICTURE_POINTS];
	size_t i;

	for (i = 0; i < PICTURE_POINTS; i++)
		is_known[i] = is_known_at(p, i);
	/* Below one a second there is nothing to tell from nothing. */
	if ((p->unit == PICTURE_PER_SECOND || p->unit == PICTURE_MILLI) &&
	    max < 1000)
		max = 1000;
	add_heading(out, p->id, p->title, p->about);
	add_key(out, p);
	buf_add_text(out, "<div class=\"plot\">\n");
	add_scale(out, max, p->unit);
	add_svg_begin(out, p->id, p->title);
	add_description(out, p);
	buf_add_text(out, "</desc>\n");
	add_gaps(out, is_known);
	add_grid(out, true);
	if (p->is_stacked)
		add_areas(out, p, is_known, max);
	else
		add_lines(out, p, max);
	buf_add_text(out, "</svg>\n</div>\n");
	add_time_axis(out);
	add_table(out, p);
	buf_add_text(out, "</section>\n");
}

/* ---- bands ---- */

static size_t
states_of(const struct picture_band *band)
{
	size_t count = 0;

	while (count < PICTURE_STATES_MAX && band->states[count] != NULL)
		count++;
	return count;
}

/* Another value than a state's is not known. */
static int64_t
state_at(const struct picture_band *band, size_t i)
{
	int64_t value = band->values[i];

	return value >= 0 && value < (int64_t)states_of(band) ? value
							      : PICTURE_NONE;
}

static size_t
state_end(const struct picture_band *band, size_t from)
{
	size_t i = from;

	while (i < PICTURE_POINTS && state_at(band, i) == state_at(band, from))
		i++;
	return i;
}

static void
add_state(struct buf *out, const struct picture_band *band, int64_t state)
{
	if (state == PICTURE_NONE)
		buf_add_text(out, "no data");
	else
		buf_add_html(out, bytes_of(band->states[state]));
}

/* The worse, the higher: it is not told by its colour alone. */
static void
add_band_shapes(struct buf *out, const struct picture_band *band)
{
	size_t i, end;
	int64_t state;
	int height;

	for (i = 0; i < PICTURE_POINTS; i = end) {
		end = state_end(band, i);
		state = state_at(band, i);
		height = state == PICTURE_NONE
			     ? HEIGHT
			     : HEIGHT * ((int)state + 1) / PICTURE_STATES_MAX;
		buf_add_text(out, "<rect class=\"");
		if (state == PICTURE_NONE)
			buf_add_text(out, "gap");
		else
			buf_printf(out, "b%d", (int)state);
		buf_printf(out,
		    "\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n",
		    x_of(i), HEIGHT - height, x_of(end) - x_of(i), height);
	}
}

static void
add_band_description(struct buf *out, const struct picture_band *band)
{
	size_t i, state, points, unknown = PICTURE_POINTS;

	for (state = 0; state < states_of(band); state++) {
		points = 0;
		for (i = 0; i < PICTURE_POINTS; i++)
			points += state_at(band, i) == (int64_t)state;
		if (points == 0)
			continue;
		unknown -= points;
		add_state(out, band, (int64_t)state);
		buf_add_text(out, ": ");
		add_minutes(out, points);
		buf_add_text(out, ". ");
	}
	add_unknown_points(out, unknown);
}

static void
add_band(
    struct buf *out, const struct picture_band *band, const char *id, size_t n)
{
	char own_id[64];

	snprintf(own_id, sizeof(own_id), "%s-%zu", id, n);
	buf_add_text(out, "<div class=\"band\">\n<p>");
	buf_add_html(out, bytes_of(band->name));
	buf_add_text(out, " <b>");
	add_state(out, band, state_at(band, PICTURE_POINTS - 1));
	buf_add_text(out, "</b></p>\n");
	add_svg_begin(out, own_id, band->name);
	add_band_description(out, band);
	buf_add_text(out, "</desc>\n");
	add_band_shapes(out, band);
	add_grid(out, false);
	buf_add_text(out, "</svg>\n</div>\n");
}

/* What was not as it should be, newest first. */
static void
add_changes(struct buf *out, const struct picture_band *band, int64_t end_ms)
{
	size_t i = PICTURE_POINTS, end, told = 0;
	int64_t state, begin_ms = end_ms - PICTURE_POINTS * HISTORY_EVERY_MS;

	while (i > 0 && told < CHANGES_MAX) {
		end = i;
		state = state_at(band, end - 1);
		while (i > 0 && state_at(band, i - 1) == state)
			i--;
		if (state <= 0)
			continue;
		told++;
		buf_add_text(out, "<li>");
		buf_add_html(out, bytes_of(band->name));
		buf_add_text(out, ", ");
		add_clock(out, begin_ms + (int64_t)i * HISTORY_EVERY_MS, true);
		buf_add_text(out, " to ");
		add_clock(
		    out, begin_ms + (int64_t)end * HISTORY_EVERY_MS, true);
		buf_add_text(out, ": ");
		add_state(out, band, state);
		buf_add_text(out, "</li>\n");
	}
}

static bool
has_changes(const struct picture_bands *bands)
{
	size_t band, i;

	for (band = 0; band < bands->count; band++)
		for (i = 0; i < PICTURE_POINTS; i++)
			if (state_at(&bands->bands[band], i) > 0)
				return true;
	return false;
}

void
picture_add_bands(struct buf *out, const struct picture_bands *bands)
{
	size_t i;

	add_heading(out, bands->id, bands->title, bands->about);
	for (i = 0; i < bands->count; i++)
		add_band(out, &bands->bands[i], bands->id, i + 1);
	add_time_axis(out);
	if (has_changes(bands)) {
		buf_add_text(out, "<details><summary>As a list (UTC)</summary>"
				  "\n<ul role=\"list\">\n");
		for (i = 0; i < bands->count; i++)
			add_changes(out, &bands->bands[i], bands->end_ms);
		buf_add_text(out, "</ul>\n</details>\n");
	}
	buf_add_text(out, "</section>\n");
}
