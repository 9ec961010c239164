/*
 * The operator's page: is all well, and what happened in the last hour. In the
 * order in which one asks: what is wrong and what to do, maintenance, the
 * figures of now, pictures of the hour, refused checks by reason, what runs
 * here.
 *
 * All of it from shared memory, so that it is there while stores hang, and all
 * of it of the whole pool of this host: nothing of any session or user.
 */
#include "config.h"

#include "page.h"

#include "clock.h"
#include "outage.h"
#include "picture.h"
#include "sample.h"

#include <stdlib.h>
#include <unistd.h>

/* "Now" is the last minute: less is noise. */
#define NOW_INTERVALS 6
/* The last sample is taken a moment after its interval has begun. */
#define SAMPLE_LATE_MS 3000

struct admin {
	struct call *c;
	struct buf *out;
	const struct gateway *gw;
	const struct shared *shared;
	struct history_sample samples[HISTORY_SAMPLES];
	bool is_sampled[HISTORY_INTERVALS]; /* at both ends */
	int64_t now_ms;                     /* UTC */
	int64_t end_ms;                     /* UTC, of the newest interval */
};

/* ---- samples ---- */

/* Up to the newest interval that can have ended: not the one that is only being
 * sampled at this moment. */
static void
read_samples(struct admin *a)
{
	int64_t now_ms = clock_boot_ms(), until_ms = now_ms;
	int64_t begin_ms = history_interval(now_ms) * HISTORY_EVERY_MS;
	size_t i;

	if (now_ms - begin_ms < SAMPLE_LATE_MS &&
	    !history_has(&a->shared->history, now_ms) && begin_ms > 0)
		until_ms = begin_ms - 1;
	history_read(&a->shared->history, until_ms, a->samples);
	for (i = 0; i < HISTORY_INTERVALS; i++)
		a->is_sampled[i] =
		    a->samples[i].is_there && a->samples[i + 1].is_there;
	a->end_ms =
	    a->now_ms - now_ms + history_interval(until_ms) * HISTORY_EVERY_MS;
}

static void
rates(const struct admin *a, int counter, int64_t out[PICTURE_POINTS])
{
	sample_rates(a->samples, counter, out);
}

static void
states(const struct admin *a, enum sample_value which, int64_t factor,
    int64_t out[PICTURE_POINTS])
{
	sample_states(a->samples, which, factor, out);
}

/* What a counter has grown by in the last intervals; below 0: not known. */
static int64_t
growth(const struct admin *a, int counter, size_t intervals)
{
	int64_t sum = -1, grown;
	size_t i;

	for (i = HISTORY_INTERVALS - intervals; i < HISTORY_INTERVALS; i++) {
		grown = sample_growth(a->samples, i, counter);
		if (grown < 0)
			continue;
		sum = sum < 0 ? 0 : sum;
		sum = sum > INT64_MAX - grown ? INT64_MAX : sum + grown;
	}
	return sum;
}

/* ---- words ---- */

struct problems {
	struct buf *out;
	unsigned count;
};

static void
add_problem(void *arg, struct sgate_bytes sentence)
{
	struct problems *problems = arg;

	problems->count++;
	buf_add_text(problems->out, "<li>");
	buf_add_html(problems->out, sentence);
	buf_add_text(problems->out, "</li>\n");
}

static void
add_is_it_well(struct admin *a)
{
	struct buf sentences = {0};
	struct problems problems = {&sentences, 0};

	outage_tell_problems(a->gw, add_problem, &problems);
	if (buf_failed(&sentences))
		a->c->reply.is_broken = true;
	if (problems.count == 0) {
		buf_add_text(a->out, "<p class=\"well\" role=\"status\">"
				     "<strong>All is well.</strong></p>\n");
	} else {
		buf_printf(a->out,
		    "<div class=\"ill\" role=\"status\"><strong>%u %s "
		    "wrong:</strong>\n<ul>\n",
		    problems.count,
		    problems.count == 1 ? "thing is" : "things are");
		buf_add_bytes(a->out, buf_bytes(&sentences));
		buf_add_text(a->out, "</ul></div>\n");
	}
	buf_clear(&sentences);
}

/* "23 Nov 14:03 UTC" is not needed: what is set has a date seldom. */
static void
add_moment(struct buf *out, int64_t utc_ms)
{
	char text[25];

	clock_text(utc_ms, text);
	buf_printf(out, "<time datetime=\"%s\">%.10s %.8s UTC</time>", text,
	    text, text + 11);
}

static void
add_one_maintenance(struct admin *a, const struct settings_maintenance *m)
{
	struct buf *out = a->out;

	buf_add_text(out, "<p class=\"ill\"><strong>Maintenance</strong>");
	buf_add_text(out, m->is_emergency
			      ? " (emergency): live sessions are held back"
			      : ": no new sessions");
	if (!m->where.is_all) {
		buf_add_text(out, " in the realm \"");
		buf_add_html(out, bytes_of(m->where.realm));
		buf_add_char(out, '"');
	}
	if (m->roles[0] != '\0') {
		buf_add_text(out, ", except with the roles ");
		buf_add_html(out, bytes_of(m->roles));
	}
	buf_add_text(out, ". Since ");
	add_moment(out, m->since_ms);
	if (m->until_ms != 0) {
		buf_add_text(out, ", until ");
		add_moment(out, m->until_ms);
	}
	buf_add_char(out, '.');
	if (m->reason[0] != '\0') {
		buf_add_text(out, " Visitors read: ");
		buf_add_html(out, bytes_of(m->reason));
	}
	buf_add_text(
	    out, " <code>sessgatectl maintenance off</code> ends it.</p>\n");
}

static void
add_maintenance(struct admin *a)
{
	struct settings settings;
	uint32_t i, shown = 0;

	if (!settings_get(&a->shared->stores.settings, &settings)) {
		buf_add_text(a->out,
		    "<p>Whether there is maintenance is not known yet.</p>\n");
		return;
	}
	for (i = 0; i < settings.maintenances_count; i++) {
		if (settings.maintenances[i].until_ms != 0 &&
		    settings.maintenances[i].until_ms <= a->now_ms)
			continue;
		add_one_maintenance(a, &settings.maintenances[i]);
		shown++;
	}
	if (shown == 0)
		buf_add_text(a->out, "<p>No maintenance is set.</p>\n");
}

/* As of when, and how to stop it. */
static void
add_refresh(struct admin *a, bool is_still)
{
	struct buf *out = a->out;

	buf_add_text(out, "<p>As of ");
	add_moment(out, a->now_ms);
	buf_add_text(out, is_still ? ". This page stays as it is.</p>\n"
				     "<p><a class=\"button\" href=\"?\">Go on "
				     "refreshing</a></p>\n"
				   : ". This page refreshes itself every ten "
				     "seconds.</p>\n<p><a class=\"button\" "
				     "href=\"?" PAGE_ADMIN_STILL
				     "\">Stop refreshing</a></p>\n");
}

/* ---- figures ---- */

static void
begin_figure(struct buf *out, const char *name)
{
	buf_add_text(out, "<div><dt>");
	buf_add_text(out, name);
	buf_add_text(out, "</dt><dd>");
}

static void
end_figure(struct buf *out)
{
	buf_add_text(out, "</dd></div>\n");
}

static void
add_figure(
    struct buf *out, const char *name, int64_t value, enum picture_unit unit)
{
	begin_figure(out, name);
	picture_number(out, value, unit);
	end_figure(out);
}

/* Thousandths a second of the last minute's intervals that are known. */
static int64_t
rate_now(const struct admin *a, int counter)
{
	int64_t all[HISTORY_INTERVALS], sum = 0, known = 0;
	size_t i;

	rates(a, counter, all);
	for (i = HISTORY_INTERVALS - NOW_INTERVALS; i < HISTORY_INTERVALS;
	     i++) {
		if (all[i] < 0)
			continue;
		known++;
		sum += all[i] / NOW_INTERVALS;
	}
	return known == 0 ? -1 : sum / known * NOW_INTERVALS;
}

static int64_t
last_state(const struct admin *a, enum sample_value which)
{
	int64_t all[HISTORY_INTERVALS];

	states(a, which, 1, all);
	return all[HISTORY_INTERVALS - 1];
}

static void
add_workers_figure(struct admin *a)
{
	begin_figure(a->out, "Workers busy");
	picture_number(a->out, last_state(a, SAMPLE_BUSY_MOST), PICTURE_COUNT);
	buf_add_text(a->out, " of ");
	picture_number(a->out, last_state(a, SAMPLE_WORKERS), PICTURE_COUNT);
	end_figure(a->out);
}

/* Of the last minute's checks. */
static void
add_time(struct admin *a, double share)
{
	int64_t us =
	    sample_quantile_us(a->samples, HISTORY_INTERVALS - NOW_INTERVALS,
		HISTORY_INTERVALS, SAMPLE_CHECK_TIMES, share);

	if (us < 0)
		buf_add_text(a->out, "nobody asked");
	else
		picture_number(a->out, us, PICTURE_US);
}

static void
add_times_figures(struct admin *a)
{
	begin_figure(a->out, "Half of the checks within");
	add_time(a, .5);
	end_figure(a->out);
	begin_figure(a->out, "99 of 100 within");
	add_time(a, .99);
	end_figure(a->out);
}

static void
add_figures(struct admin *a)
{
	buf_add_text(a->out,
	    "<section aria-labelledby=\"now\">\n<h2 id=\"now\">The last "
	    "minute</h2>\n<dl class=\"figures\">\n");
	add_figure(a->out, "Checks allowed",
	    rate_now(a, SAMPLE_COUNTERS + TALLY_CHECK_ALLOWED),
	    PICTURE_PER_SECOND);
	add_figure(a->out, "Checks refused",
	    rate_now(a, SAMPLE_COUNTERS + TALLY_CHECK_DENIED),
	    PICTURE_PER_SECOND);
	add_figure(a->out, "Checks answered 503",
	    rate_now(a, SAMPLE_COUNTERS + TALLY_CHECK_UNAVAILABLE),
	    PICTURE_PER_SECOND);
	add_times_figures(a);
	add_workers_figure(a);
	add_figure(
	    a->out, "Live sessions", last_state(a, SAMPLE_LIVE), PICTURE_COUNT);
	add_figure(a->out, "Sessions created",
	    growth(a, SAMPLE_COUNTERS + TALLY_CREATED, NOW_INTERVALS),
	    PICTURE_COUNT);
	if (conf_has_spool(a->gw->conf))
		add_figure(a->out, "Events in the spool",
		    last_state(a, SAMPLE_SPOOL_EVENTS), PICTURE_COUNT);
	buf_add_text(a->out, "</dl>\n</section>\n");
}

/* ---- pictures ---- */

static void
add_stores_picture(struct admin *a)
{
	int64_t values[4][PICTURE_POINTS];
	struct picture_band bands[4] = {
	    {.name = "Lookups",
		.states = {"as always", "from Redis alone", "answered 503"}},
	    {.name = "Maintenance",
		.states = {"none", "no new sessions", "emergency"}},
	    {.name = conf_has_mysql(a->gw->conf) ? "MySQL" : "SQLite",
		.states = {"is asked", "some ask", "is not asked", "down"}},
	    {.name = "Redis",
		.states = {"is asked", "some ask", "is not asked", "down"}}};
	static const enum sample_value which[] = {
	    SAMPLE_SERVING, SAMPLE_MAINTENANCE, SAMPLE_DURABLE, SAMPLE_CACHE};
	struct picture_bands p = {.id = "stores",
	    .title = "Stores, and what visitors get",
	    .about = "The worst of every ten seconds: the higher, the worse.",
	    .end_ms = a->end_ms,
	    .bands = bands,
	    .count = conf_has_redis(a->gw->conf) ? 4 : 3};
	size_t i;

	for (i = 0; i < 4; i++) {
		states(a, which[i], 1, values[i]);
		bands[i].values = values[i];
	}
	picture_add_bands(a->out, &p);
}

/* A line of a picture: a counter's rate, or a state times factor. */
struct source {
	const char *name;
	int which;
	int64_t factor; /* 0: it is a counter */
};

static void
add_picture(struct admin *a, struct picture *p, const struct source *sources)
{
	int64_t values[PICTURE_LINES_MAX][PICTURE_POINTS];
	size_t i;

	for (i = 0; i < p->count; i++) {
		p->lines[i].name = sources[i].name;
		p->lines[i].values = values[i];
		if (sources[i].factor == 0)
			rates(a, sources[i].which, values[i]);
		else
			states(a, (enum sample_value)sources[i].which,
			    sources[i].factor, values[i]);
	}
	p->end_ms = a->end_ms;
	picture_add(a->out, p);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void
add_checks_picture(struct admin *a)
{
	static const struct source sources[] = {
	    {"allowed", SAMPLE_COUNTERS + TALLY_CHECK_ALLOWED, 0},
	    {"refused", SAMPLE_COUNTERS + TALLY_CHECK_DENIED, 0},
	    {"answered 503", SAMPLE_COUNTERS + TALLY_CHECK_UNAVAILABLE, 0}};
	struct picture p = {.id = "checks",
	    .title = "Checks a second",
	    .unit = PICTURE_PER_SECOND,
	    .is_stacked = true,
	    .count = COUNT(sources)};

	add_picture(a, &p, sources);
}

static void
add_refusals_picture(struct admin *a)
{
	static const struct source sources[] = {
	    {"checks refused", SAMPLE_COUNTERS + TALLY_CHECK_DENIED, 0},
	    {"checks answered 503", SAMPLE_COUNTERS + TALLY_CHECK_UNAVAILABLE,
		0},
	    {"API refused", SAMPLE_COUNTERS + TALLY_API_REFUSED, 0},
	    {"API answered 503", SAMPLE_COUNTERS + TALLY_API_UNAVAILABLE, 0},
	    {"no whole request", SAMPLE_COUNTERS + TALLY_BAD_PEERS, 0}};
	struct picture p = {.id = "refusals",
	    .title = "Refusals a second",
	    .unit = PICTURE_PER_SECOND,
	    .count = COUNT(sources)};

	add_picture(a, &p, sources);
}

/* Below what half of an interval's requests, and 99 of 100, were answered. */
static void
add_times_picture(struct admin *a, struct picture *p, int times)
{
	static const char *const names[] = {"half of them", "99 of 100"};
	static const double shares[] = {.5, .99};
	int64_t values[COUNT(names)][PICTURE_POINTS];
	size_t i, line;

	for (line = 0; line < COUNT(names); line++) {
		for (i = 0; i < HISTORY_INTERVALS; i++)
			values[line][i] = sample_quantile_us(
			    a->samples, i, i + 1, times, shares[line]);
		p->lines[line].name = names[line];
		p->lines[line].values = values[line];
	}
	p->unit = PICTURE_US;
	p->is_peak = true;
	p->end_ms = a->end_ms;
	p->is_known = a->is_sampled;
	p->count = COUNT(names);
	picture_add(a->out, p);
}

static void
add_times_pictures(struct admin *a)
{
	struct picture checks = {.id = "times",
	    .title = "How long checks take",
	    .about = "From the last byte of a request to its answer. Where "
		     "nobody asked there is no line."};
	struct picture changes = {.id = "change-times",
	    .title = "How long logins and logouts take",
	    .about = "The same of what creates, changes or ends sessions."};

	add_times_picture(a, &checks, SAMPLE_CHECK_TIMES);
	add_times_picture(a, &changes, SAMPLE_CHANGE_TIMES);
}

static void
add_served_picture(struct admin *a)
{
	static const struct source with_redis[] = {
	    {"local cache", SAMPLE_STORES + STORES_SERVED_LOCAL, 0},
	    {"Redis", SAMPLE_STORES + STORES_SERVED_CACHE, 0},
	    {"MySQL", SAMPLE_STORES + STORES_SERVED_DURABLE, 0},
	    {"Redis alone", SAMPLE_STORES + STORES_SERVED_BLIND, 0},
	    {"nobody", SAMPLE_STORES + STORES_UNAVAILABLE, 0}};
	const struct source without[] = {
	    {"local cache", SAMPLE_STORES + STORES_SERVED_LOCAL, 0},
	    {conf_has_mysql(a->gw->conf) ? "MySQL" : "SQLite",
		SAMPLE_STORES + STORES_SERVED_DURABLE, 0},
	    {"nobody", SAMPLE_STORES + STORES_UNAVAILABLE, 0}};
	bool has_redis = conf_has_redis(a->gw->conf);
	struct picture p = {.id = "served",
	    .title = "Who answered, lookups a second",
	    .unit = PICTURE_PER_SECOND,
	    .is_stacked = true,
	    .count = has_redis ? COUNT(with_redis) : COUNT(without)};

	add_picture(a, &p, has_redis ? with_redis : without);
}

static void
add_workers_picture(struct admin *a)
{
	static const struct source sources[] = {
	    {"busy at once, the most", SAMPLE_BUSY_MOST, 1000},
	    {"busy, the mean", SAMPLE_BUSY_MEAN, 1},
	    {"there are", SAMPLE_WORKERS, 1000}};
	struct picture p = {.id = "workers",
	    .title = "Workers",
	    .unit = PICTURE_MILLI,
	    .is_peak = true,
	    .count = COUNT(sources)};

	add_picture(a, &p, sources);
}

static void
add_sessions_picture(struct admin *a)
{
	static const struct source sources[] = {
	    {"created", SAMPLE_COUNTERS + TALLY_CREATED, 0},
	    {"ended", SAMPLE_COUNTERS + TALLY_ENDED, 0},
	    {"changed", SAMPLE_COUNTERS + TALLY_CHANGED, 0}};
	struct picture p = {.id = "sessions",
	    .title = "Sessions a second",
	    .about = "By requests; those that expire are not in it.",
	    .unit = PICTURE_PER_SECOND,
	    .count = COUNT(sources)};

	add_picture(a, &p, sources);
}

static void
add_probes_picture(struct admin *a)
{
	const struct source sources[] = {
	    {conf_has_mysql(a->gw->conf) ? "MySQL" : "SQLite",
		SAMPLE_DURABLE_US, 1},
	    {"Redis", SAMPLE_CACHE_US, 1}};
	struct picture p = {.id = "probes",
	    .title = "How long the stores take to answer",
	    .about = "Asked by the keeper every two seconds, the slowest of "
		     "every ten.",
	    .unit = PICTURE_US,
	    .is_peak = true,
	    .count = conf_has_redis(a->gw->conf) ? 2 : 1};

	add_picture(a, &p, sources);
}

/* What waits to reach the stores, and how far the copies are behind. */
static void
add_behind_pictures(struct admin *a)
{
	static const struct source spool[] = {
	    {"events", SAMPLE_SPOOL_EVENTS, 1}};
	static const struct source fence[] = {
	    {"age", SAMPLE_FENCE_AGE_MS, 1000}};
	struct picture spool_picture = {.id = "spool",
	    .title = "Events in the spool",
	    .about = "What a store has not got yet, because it was away.",
	    .unit = PICTURE_COUNT,
	    .is_peak = true,
	    .count = 1};
	struct picture fence_picture = {.id = "fence",
	    .title = "Age of the fence",
	    .about = "How long ago this host has last heard from MySQL all "
		     "that Redis must know.",
	    .unit = PICTURE_US,
	    .is_peak = true,
	    .count = 1};

	if (conf_has_redis(a->gw->conf))
		add_picture(a, &fence_picture, fence);
	if (conf_has_spool(a->gw->conf))
		add_picture(a, &spool_picture, spool);
}

/* ---- refusals by reason ---- */

static void
add_count_cell(struct buf *out, int64_t count)
{
	buf_add_text(out, "<td>");
	picture_number(out, count, PICTURE_COUNT);
	buf_add_text(out, "</td>");
}

/* Those that there were, and all of the last hour first. */
static size_t
sort_reasons(const struct admin *a, int *out, int64_t *hour)
{
	size_t count = 0, at;
	int reason;

	for (reason = SGATE_REASON_NONE; reason < SGATE_REASON_COUNT;
	     reason++) {
		hour[reason] =
		    growth(a, SAMPLE_OUTCOMES + reason, HISTORY_INTERVALS);
		if (hour[reason] <= 0)
			continue;
		for (at = count; at > 0 && hour[out[at - 1]] < hour[reason];
		     at--)
			out[at] = out[at - 1];
		out[at] = reason;
		count++;
	}
	return count;
}

/* "expired_idle: Session expired": as logs name it, and as visitors read it. */
static void
add_reason(struct buf *out, enum sgate_reason reason)
{
	buf_add_html(out, bytes_of(sgate_reason_text(reason)));
	buf_add_text(out, ": ");
	buf_add_html(out, bytes_of(reply_reason(reason)->title));
}

static void
add_reasons(struct admin *a)
{
	int reasons[SGATE_REASON_COUNT];
	int64_t hour[SGATE_REASON_COUNT];
	size_t i, count = sort_reasons(a, reasons, hour);

	buf_add_text(a->out, "<section aria-labelledby=\"reasons\">\n<h2 "
			     "id=\"reasons\">Refused checks by reason</h2>\n");
	if (count == 0) {
		buf_add_text(
		    a->out, "<p>None in the last hour.</p>\n</section>\n");
		return;
	}
	buf_add_text(a->out,
	    "<div class=\"wide\" tabindex=\"0\" role=\"group\" "
	    "aria-labelledby=\"reasons\"><table>\n<thead><tr><th "
	    "scope=\"col\">Reason</th><th scope=\"col\">Last minute</th>"
	    "<th scope=\"col\">Last hour</th></tr></thead>\n<tbody>\n");
	for (i = 0; i < count; i++) {
		buf_add_text(a->out, "<tr><th scope=\"row\">");
		add_reason(a->out, (enum sgate_reason)reasons[i]);
		buf_add_text(a->out, "</th>");
		add_count_cell(a->out,
		    growth(a, SAMPLE_OUTCOMES + reasons[i], NOW_INTERVALS));
		add_count_cell(a->out, hour[reasons[i]]);
		buf_add_text(a->out, "</tr>\n");
	}
	buf_add_text(a->out,
	    "</tbody>\n</table></div>\n<p>Why one session was refused: "
	    "<code>sessgatectl explain REF</code>.</p>\n</section>\n");
}

/* ---- what runs here ---- */

static void
add_host_fact(struct buf *out)
{
	char host[65] = "";

	begin_figure(out, "Host");
	if (gethostname(host, sizeof(host) - 1) == 0 && host[0] != '\0')
		buf_add_html(out, bytes_of(host));
	else
		buf_add_text(out, "not known");
	end_figure(out);
}

static void
add_count_fact(struct buf *out, const char *name, const _Atomic uint64_t *value)
{
	begin_figure(out, name);
	buf_add_uint(out, atomic_load(value));
	end_figure(out);
}

static void
add_instance(struct admin *a)
{
	struct buf *out = a->out;

	buf_add_text(out,
	    "<section aria-labelledby=\"instance\">\n<h2 id=\"instance\">This "
	    "instance</h2>\n<dl class=\"facts\">\n");
	add_host_fact(out);
	begin_figure(out, "Version");
	buf_add_html(out, bytes_of(sgate_version()));
	end_figure(out);
	begin_figure(out, "Started");
	add_moment(out, atomic_load(&a->shared->started_ms));
	end_figure(out);
	add_count_fact(out, "Reloads since then", &a->shared->generation);
	add_count_fact(out, "Workers that died", &a->shared->worker_deaths);
	add_count_fact(out, "Keepers that died", &a->shared->keeper_deaths);
	buf_add_text(out, "</dl>\n</section>\n");
}

static void
add_all(struct admin *a, bool is_still)
{
	add_is_it_well(a);
	add_maintenance(a);
	add_refresh(a, is_still);
	add_figures(a);
	add_stores_picture(a);
	buf_add_text(a->out, "<div class=\"pictures\">\n");
	add_checks_picture(a);
	add_refusals_picture(a);
	add_served_picture(a);
	add_times_pictures(a);
	add_workers_picture(a);
	add_sessions_picture(a);
	add_probes_picture(a);
	add_behind_pictures(a);
	buf_add_text(a->out, "</div>\n");
	add_reasons(a);
	add_instance(a);
}

void
page_admin(struct call *c, bool is_still)
{
	struct admin *a = calloc(1, sizeof(*a));

	page_open_admin(c, "sessgate");
	if (a == NULL) {
		c->reply.is_broken = true;
		return;
	}
	a->c = c;
	a->out = c->reply.out;
	a->gw = c->gw;
	a->shared = c->gw->shared;
	a->now_ms = clock_utc_ms();
	read_samples(a);
	add_all(a, is_still);
	page_end(c);
	free(a);
}
