/*
 * The operator's page: who sees it, what it says, and that it is well-formed
 * whatever stands in shared memory. With SESSGATE_PICTURES=DIRECTORY some pages
 * are left there, to be looked at.
 */
#include "tap.h"

#include "clock.h"
#include "no_memory.h"
#include "outage.h"
#include "sample.h"
#include "site.h"

#include "wellformed.h"

#include <stdlib.h>
#include <string.h>

#define PAGE "/.sessgate/admin/"
#define UNKNOWN "/.sessgate/nothing/"
#define HTML "text/html,application/xhtml+xml,*/*;q=0.8"
#define EVERY HISTORY_EVERY_MS
#define ADMIN (CONF_ALLOW_API | CONF_ALLOW_ADMIN)

static int
look_at(struct site *site, const char *uri, unsigned allow)
{
	struct ask ask = {.uri = uri,
	    .accept = HTML,
	    .cookie = buf_text(&site->cookie),
	    .allow = allow};

	return site_ask(site, &ask);
}

/* Stores that the keeper has just found up. */
static void
set_well(struct site *site)
{
	struct shared_state *state = &site->shared->state;

	atomic_store(&state->durable.is_up, 1);
	atomic_store(&state->durable.checked_ms, clock_utc_ms());
	atomic_store(&state->cache.is_up, 1);
	atomic_store(&state->cache.checked_ms, clock_utc_ms());
}

static void
open_for(struct site *site, const char *role)
{
	site_open(site, NULL);
	manager_set_stores(site->mgr, &site->shared->stores);
	set_well(site);
	site_login(site, "olga", role);
}

/* From the heading to the end: what is ours of the page. */
static size_t
is_wellformed(const struct site *site)
{
	const char *body = site_body(site);
	const char *begin = strstr(body, "<main>"), *end;

	assert_non_null(begin);
	end = strstr(begin, "</body>");
	assert_non_null(end);
	return wellformed((struct sgate_bytes){begin, (size_t)(end - begin)});
}

static void
keep(const struct site *site, const char *name)
{
	const char *directory = getenv("SESSGATE_PICTURES");
	char path[512];
	FILE *f;

	if (directory == NULL)
		return;
	snprintf(path, sizeof(path), "%s/%s.html", directory, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(site_body(site), f);
	fclose(f);
}

/* ---- who sees it ---- */

static void
is_as_unknown(struct site *site, const struct ask *asked)
{
	struct ask ask = *asked;
	struct buf answer = {0};
	int status;

	ask.uri = UNKNOWN;
	status = site_ask(site, &ask);
	buf_add_bytes(&answer, buf_bytes(&site->answer));
	ask.uri = PAGE;
	assert_int_equal(site_ask(site, &ask), status);
	assert_int_equal(status, 404);
	assert_string_equal(buf_text(&site->answer), buf_text(&answer));
	buf_clear(&answer);
}

static void
an_operator_sees_it(void **state)
{
	struct site site;

	(void)state;
	open_for(&site, "admin");
	assert_int_equal(look_at(&site, PAGE, ADMIN), 200);
	assert_true(site_body_has(&site, "<h1>sessgate</h1>"));
	assert_true(site_body_has(&site, "All is well."));
	assert_string_equal(site_header(&site, "Refresh"), "10");
	assert_string_equal(site_header(&site, "Cache-Control"), "no-store");
	assert_string_equal(site_header(&site, "X-Frame-Options"), "DENY");
	assert_int_equal(look_at(&site, PAGE, CONF_ALLOW_ADMIN), 200);
	assert_true(is_wellformed(&site) > 100);
	keep(&site, "empty");
	/* Nothing of a session or user. */
	assert_false(site_body_has(&site, "olga"));
	assert_false(site_body_has(&site, site.ref));
	assert_false(site_body_has(&site, site.token));
	assert_false(site_body_has(&site, "<script"));
	assert_false(site_body_has(&site, " src="));
	site_close(&site);
}

static void
its_policy_names_both_styles_and_nothing_else(void **state)
{
	struct site site;
	const char *policy;

	(void)state;
	open_for(&site, "admin");
	assert_int_equal(look_at(&site, PAGE, ADMIN), 200);
	policy = site_header(&site, "Content-Security-Policy");
	assert_non_null(policy);
	assert_ptr_equal(
	    strstr(policy, "default-src 'none'; style-src 'sha256-"), policy);
	assert_non_null(strstr(policy, "' 'sha256-"));
	assert_non_null(strstr(policy, "; frame-ancestors 'none'"));
	assert_null(strstr(policy, "unsafe"));
	assert_null(strstr(policy, "script-src"));
	site_close(&site);
}

static void
its_refreshing_can_be_stopped(void **state)
{
	struct site site;

	(void)state;
	open_for(&site, "admin");
	assert_int_equal(look_at(&site, PAGE, ADMIN), 200);
	assert_true(site_body_has(&site, "href=\"?still\">Stop refreshing<"));
	assert_int_equal(look_at(&site, PAGE "?still", ADMIN), 200);
	assert_null(site_header(&site, "Refresh"));
	assert_true(site_body_has(&site, "href=\"?\">Go on refreshing<"));
	assert_int_equal(look_at(&site, PAGE "?", ADMIN), 200);
	assert_non_null(site_header(&site, "Refresh"));
	site_close(&site);
}

static void
everybody_else_meets_an_unknown_route(void **state)
{
	static const char *const methods[] = {
	    "GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"};
	static const char *const accepts[] = {HTML, "application/json"};
	struct site site;
	struct ask ask = {.allow = ADMIN};
	size_t i, k;

	(void)state;
	open_for(&site, "admin");
	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		for (k = 0; k < 2; k++) {
			ask.method = methods[i];
			ask.accept = accepts[k];
			/* Nobody, somebody forged, and the operator by a
			 * listener that does not allow it. */
			ask.allow = ADMIN;
			ask.cookie = NULL;
			is_as_unknown(&site, &ask);
			ask.cookie = "__Host-sid=forged";
			is_as_unknown(&site, &ask);
			ask.cookie = buf_text(&site.cookie);
			ask.allow = 0;
			is_as_unknown(&site, &ask);
		}
	}
	/* The operator himself, below the page and by another method. */
	ask.allow = CONF_ALLOW_ADMIN;
	ask.cookie = buf_text(&site.cookie);
	ask.method = "GET";
	ask.accept = HTML;
	ask.uri = PAGE "more";
	assert_int_equal(site_ask(&site, &ask), 404);
	ask.allow = ADMIN;
	ask.method = "POST";
	is_as_unknown(&site, &ask);
	/* Whose session has ended. */
	ask.method = "GET";
	site_end(&site, SGATE_REASON_LOGGED_OUT);
	is_as_unknown(&site, &ask);
	site_login(&site, "anna", "editor");
	ask.cookie = buf_text(&site.cookie);
	is_as_unknown(&site, &ask);
	assert_true(site_log_has(&site, "role"));
	site_login(&site, "berta", NULL);
	ask.cookie = buf_text(&site.cookie);
	is_as_unknown(&site, &ask);
	site_close(&site);
}

static void
the_refusals_are_counted_by_their_reason(void **state)
{
	struct site site;

	(void)state;
	open_for(&site, "editor");
	look_at(&site, PAGE, ADMIN);
	assert_int_equal(counted_denials(site.shared, SGATE_REASON_ROLE), 1);
	look_at(&site, PAGE, CONF_ALLOW_API);
	assert_int_equal(
	    counted_denials(site.shared, SGATE_REASON_LISTENER), 1);
	site_close(&site);
}

static void
roles_are_those_of_the_configuration(void **state)
{
	static const char *const more[] = {
	    "session.admin_roles=root,wheel", NULL};
	struct site site;

	(void)state;
	site_open(&site, more);
	site_login(&site, "olga", "admin");
	assert_int_equal(look_at(&site, PAGE, ADMIN), 404);
	site_login(&site, "olga", "wheel");
	assert_int_equal(look_at(&site, PAGE, ADMIN), 200);
	site_close(&site);
}

static void
to_look_is_no_activity(void **state)
{
	struct site site;

	(void)state;
	open_for(&site, "admin");
	site.now_ms += 29 * 60000;
	assert_int_equal(look_at(&site, PAGE, ADMIN), 200);
	/* The idle timeout, and its tenth. */
	site.now_ms += 4 * 60000;
	assert_int_equal(look_at(&site, PAGE, ADMIN), 404);
	site_close(&site);
}

static void
who_cannot_be_looked_up_is_told_so(void **state)
{
	struct site site;

	(void)state;
	open_for(&site, "admin");
	site_break_store(&site);
	assert_int_equal(look_at(&site, PAGE, ADMIN), 503);
	assert_string_equal(site_header(&site, "Refresh"), "10");
	assert_non_null(site_header(&site, "Retry-After"));
	assert_true(site_body_has(&site, "sessgatectl status"));
	/* Not to those who have no session for sure. */
	buf_reset(&site.cookie);
	assert_int_equal(look_at(&site, PAGE, ADMIN), 404);
	site_mend_store(&site);
	site_close(&site);
}

/* ---- what it says ---- */

static void
what_is_wrong_is_what_status_says(void **state)
{
	struct ask ask = {
	    .uri = "/.sessgate/v1/status", .allow = CONF_ALLOW_ALL};
	struct site site;
	struct buf page = {0};
	char sentence[256];
	const char *at;

	(void)state;
	open_for(&site, "admin");
	atomic_store(&site.shared->state.durable.is_up, 0);
	atomic_store(
	    &site.shared->state.durable.since_ms, clock_utc_ms() - 90500);
	assert_int_equal(look_at(&site, PAGE, ADMIN), 200);
	assert_true(site_body_has(&site, "1 thing is wrong:"));
	assert_false(site_body_has(&site, "All is well"));
	assert_true(site_body_has(&site, "role=\"status\""));
	buf_add_text(&page, site_body(&site));
	assert_int_equal(site_ask(&site, &ask), 200);
	at = strstr(site_body(&site), "\"problems\":[\"");
	assert_non_null(at);
	at += strlen("\"problems\":[\"");
	snprintf(sentence, sizeof(sentence), "<li>%.*s</li>",
	    (int)strcspn(at, "\""), at);
	assert_non_null(strstr(buf_text(&page), sentence));
	assert_non_null(strstr(sentence, "sqlite is down for 90 s"));
	buf_clear(&page);
	site_close(&site);
}

/* A settled hour: the values are set by `fill`. */
static void
fill_hour(
    struct site *site, void (*fill)(int64_t i, uint64_t values[HISTORY_VALUES]))
{
	int64_t last = history_interval(clock_boot_ms()), interval;
	uint64_t values[HISTORY_VALUES];
	int64_t i;

	for (i = 0; i < HISTORY_SAMPLES; i++) {
		interval = last - HISTORY_INTERVALS + i;
		memset(values, 0, sizeof(values));
		memset(values + SAMPLE_STATES, 0xff,
		    (SAMPLE_VALUES - SAMPLE_STATES) * sizeof(values[0]));
		fill(i, values);
		if (interval >= 0 && values[HISTORY_VALUES - 1] == 0)
			history_put(
			    &site->shared->history, interval * EVERY, values);
	}
}

/* 100 checks a second, of which 1 is refused; MySQL goes away for three minutes
 * and Redis for one. */
static void
fill_usual(int64_t i, uint64_t values[HISTORY_VALUES])
{
	uint64_t at = (uint64_t)i;

	values[SAMPLE_COUNTERS + TALLY_CHECK_ALLOWED] = 990 * at + at * at;
	values[SAMPLE_COUNTERS + TALLY_CHECK_DENIED] = 10 * at + at / 7;
	values[SAMPLE_COUNTERS + TALLY_CREATED] = 20 * at;
	values[SAMPLE_COUNTERS + TALLY_ENDED] = 15 * at;
	values[SAMPLE_COUNTERS + TALLY_CHANGED] = 3 * at;
	values[SAMPLE_OUTCOMES + SGATE_REASON_NONE] = 8 * at;
	values[SAMPLE_OUTCOMES + SGATE_REASON_EXPIRED_IDLE] = 2 * at;
	/* Below 50, 100, 200 us and 5 ms; 2 to 5 and 50 ms. */
	values[SAMPLE_CHECK_TIMES + 1] = 700 * at;
	values[SAMPLE_CHECK_TIMES + 2] = 200 * at + 90 * (at % 9);
	values[SAMPLE_CHECK_TIMES + 3] = 90 * at;
	values[SAMPLE_CHECK_TIMES + 7] = 8 * at + 3 * (at / 4);
	values[SAMPLE_CHANGE_TIMES + 7] = 30 * at;
	values[SAMPLE_CHANGE_TIMES + 10] = 5 * (at / 5);
	values[SAMPLE_STORES + STORES_SERVED_LOCAL] = 900 * at;
	values[SAMPLE_STORES + STORES_SERVED_CACHE] = 80 * at;
	values[SAMPLE_STORES + STORES_SERVED_DURABLE] = 10 * at;
	values[SAMPLE_SERVING] = i >= 200 && i < 218 ? OUTAGE_BLIND : 0;
	values[SAMPLE_DURABLE] = i >= 200 && i < 218 ? SAMPLE_STORE_DOWN : 0;
	if (i >= 218 && i < 220)
		values[SAMPLE_DURABLE] = SAMPLE_STORE_HALF;
	values[SAMPLE_CACHE] = i >= 290 && i < 296 ? SAMPLE_STORE_OPEN : 0;
	values[SAMPLE_MAINTENANCE] = i >= 100 && i < 112;
	values[SAMPLE_WORKERS] = 8;
	values[SAMPLE_BUSY_MOST] = i >= 200 && i < 203 ? 8 : 2 + at % 3;
	values[SAMPLE_BUSY_MEAN] = i >= 200 && i < 203 ? 5600 : 700 + at % 300;
	values[SAMPLE_FENCE_AGE_MS] =
	    i >= 200 && i < 218 ? (at - 199) * EVERY : 350 + at % 170;
	values[SAMPLE_SPOOL_EVENTS] = i >= 200 && i < 218 ? (at - 199) * 14 : 0;
	if (i < 200 || i >= 218)
		values[SAMPLE_DURABLE_US] = 700 + 31 * (at % 17);
	values[SAMPLE_CACHE_US] = 120 + 9 * (at % 11);
	values[SAMPLE_LIVE] = 81234 + 5 * at;
	/* The keeper was gone for two minutes. */
	values[HISTORY_VALUES - 1] = i >= 140 && i < 152;
}

/* The page looks at the configuration alone to know which stores there are. */
static void
as_with_mysql_and_redis(struct site *site, struct sgate_conf *conf)
{
	static char address[] = "tcp:127.0.0.1:6379", socket[] = "/none";

	*conf = *site->conf;
	conf->redis.address = address;
	conf->mysql.socket = socket;
	site->gw.conf = conf;
	atomic_store(&site->shared->stores.spool.looked_ms, 1);
}

static void
an_hour_with_outages_is_told(void **state)
{
	struct sgate_conf conf;
	struct site site;

	(void)state;
	if (clock_boot_ms() < (HISTORY_SAMPLES + 1) * (int64_t)EVERY)
		skip();
	open_for(&site, "admin");
	as_with_mysql_and_redis(&site, &conf);
	fill_hour(&site, fill_usual);
	assert_int_equal(look_at(&site, PAGE, ADMIN), 200);
	keep(&site, "outages");
	assert_true(is_wellformed(&site) > 300);
	/* The keeper's two minutes, and the interval behind them. */
	assert_true(site_body_has(&site, "No data for 130 s of the hour. ") ||
		    site_body_has(&site, "No data for 2 min of the hour. "));
	assert_true(site_body_has(&site, "is asked: 55 min. some ask: 20 s. "
					 "down: 3 min. "));
	assert_true(site_body_has(&site, "<li>MySQL, "));
	assert_true(site_body_has(&site, ": from Redis alone</li>"));
	assert_true(site_body_has(&site, "<dt>Live sessions</dt><dd>83.0k"));
	assert_true(site_body_has(&site, "<dt>Checks refused</dt><dd>1.0"));
	assert_true(site_body_has(&site, "<dt>Workers busy</dt><dd>2 of 8"));
	assert_true(site_body_has(&site, "<dt>Half of the checks within</dt>"
					 "<dd>4"));
	assert_true(site_body_has(&site,
	    "<tr><th scope=\"row\">none: Not logged in</th><td>48</td><td>2"));
	site_close(&site);
}

static void
without_samples_nothing_is_made_up(void **state)
{
	struct sgate_conf conf;
	struct site site;

	(void)state;
	open_for(&site, "admin");
	as_with_mysql_and_redis(&site, &conf);
	assert_int_equal(look_at(&site, PAGE, ADMIN), 200);
	keep(&site, "no-samples");
	assert_true(site_body_has(&site, "There is no data yet."));
	assert_true(
	    site_body_has(&site, "<dt>Checks allowed</dt><dd>not known"));
	assert_true(site_body_has(&site, "None in the last hour."));
	assert_true(
	    site_body_has(&site, "<dt>99 of 100 within</dt><dd>nobody"));
	assert_false(site_body_has(&site, "<b>0"));
	is_wellformed(&site);
	site_close(&site);
}

static void
maintenance_is_told_as_text(void **state)
{
	struct ask ask = {.method = "PUT",
	    .uri = "/.sessgate/v1/maintenance",
	    .type = "application/json",
	    .body = "{\"mode\": \"emergency\", \"roles\": [\"admin\"], "
		    "\"reason\": \"<New> & \\\"better\\\"\"}",
	    .allow = CONF_ALLOW_ALL};
	struct site site;

	(void)state;
	open_for(&site, "admin");
	assert_int_equal(look_at(&site, PAGE, ADMIN), 200);
	assert_true(site_body_has(&site, "No maintenance is set."));
	assert_int_equal(site_ask(&site, &ask), 200);
	assert_int_equal(look_at(&site, PAGE, ADMIN), 200);
	assert_true(site_body_has(&site,
	    "<strong>Maintenance</strong> (emergency): live sessions are held "
	    "back, except with the roles admin. Since "));
	assert_true(
	    site_body_has(&site, "&lt;New&gt; &amp; &quot;better&quot;"));
	keep(&site, "maintenance");
	is_wellformed(&site);
	site_close(&site);
}

/* ---- whatever stands there ---- */

static uint64_t
random_value(uint64_t *seed)
{
	static const uint64_t edges[] = {0, 1, UINT64_MAX, UINT64_MAX - 1,
	    INT64_MAX, (uint64_t)INT64_MAX + 1, 1000, 1u << 31, 999999,
	    (uint64_t)1 << 53};

	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	switch (*seed >> 62) {
	case 0:
		return edges[(*seed >> 32) % (sizeof(edges) / sizeof(*edges))];
	case 1:
		return (*seed >> 40) % 10;
	case 2:
		return *seed >> (*seed >> 56) % 64;
	default:
		return (*seed >> 20) % 100000;
	}
}

static void
fill_randomly(struct site *site, uint64_t *seed)
{
	int64_t last = history_interval(clock_boot_ms()), interval;
	uint64_t values[HISTORY_VALUES], growing[HISTORY_VALUES] = {0};
	bool is_growing = random_value(seed) % 2 == 0;
	uint64_t gaps = random_value(seed) % 5;
	size_t i;

	for (interval = last - HISTORY_INTERVALS; interval <= last;
	     interval++) {
		for (i = 0; i < HISTORY_VALUES; i++) {
			values[i] = random_value(seed);
			growing[i] += values[i] >> 4;
		}
		if (interval >= 0 && random_value(seed) % 5 >= gaps)
			history_put(&site->shared->history, interval * EVERY,
			    is_growing ? growing : values);
	}
}

/* Moves and lines between whole numbers, and nothing else. */
static void
has_plain_shapes(const struct site *site)
{
	const char *at = site_body(site);
	size_t count = 0;

	while ((at = strstr(at, " d=\"")) != NULL) {
		at += 4;
		assert_int_equal(at[strspn(at, "MHVZ0123456789 ")], '"');
		count++;
	}
	assert_true(count > 30);
}

static void
whatever_the_hour_was_the_page_is_wellformed(void **state)
{
	int rounds = getenv("SESSGATE_LONG") != NULL ? 5000 : 100;
	struct sgate_conf conf;
	uint64_t seed = 1;
	struct site site;

	(void)state;
	open_for(&site, "admin");
	as_with_mysql_and_redis(&site, &conf);
	while (rounds-- > 0) {
		if (rounds % 3 == 0)
			memset(&site.shared->history, 0,
			    sizeof(site.shared->history));
		fill_randomly(&site, &seed);
		set_well(&site);
		assert_int_equal(look_at(&site, PAGE, ADMIN), 200);
		is_wellformed(&site);
		has_plain_shapes(&site);
	}
	keep(&site, "random");
	site_close(&site);
}

/* A worker that was broken into writes what it likes. */
static void
whatever_stands_in_shared_memory_the_page_is_wellformed(void **state)
{
	struct site site;
	unsigned char *bytes;
	uint64_t seed = 7;
	size_t i, round;

	(void)state;
	open_for(&site, "admin");
	for (round = 0; round < 20; round++) {
		bytes = (unsigned char *)&site.shared->history;
		for (i = 0; i < sizeof(site.shared->history); i++)
			bytes[i] = (unsigned char)random_value(&seed);
		bytes = (unsigned char *)&site.shared->state;
		for (i = 0; i < sizeof(site.shared->state); i++)
			bytes[i] = (unsigned char)random_value(&seed);
		site.shared->started_ms = (int64_t)random_value(&seed);
		if (look_at(&site, PAGE, ADMIN) == 200)
			is_wellformed(&site);
	}
	site_close(&site);
}

/* Without an allocation of its own. */
static int
ask_raw(struct site *site, char *const *params)
{
	struct serve_input input;

	memset(&input, 0, sizeof(input));
	input.params = params;
	input.allow = ADMIN;
	buf_reset(&site->answer);
	serve(&site->gw, &input, &site->answer);
	if (strncmp(buf_text(&site->answer), "Status: ", 8) != 0)
		return 503; /* what serve_unavailable stands for */
	return atoi(buf_text(&site->answer) + 8);
}

/* Wherever memory ends: a whole page or none. */
static void
a_page_without_memory_is_unavailable(void **state)
{
	char method[] = "REQUEST_METHOD=GET", accept[] = "HTTP_ACCEPT=" HTML;
	char uri[] = "REQUEST_URI=" PAGE, cookie[256];
	char *params[] = {method, uri, accept, cookie, NULL};
	int n, got, refused = 0;
	struct site site;

	(void)state;
	open_for(&site, "admin");
	snprintf(
	    cookie, sizeof(cookie), "HTTP_COOKIE=%s", buf_text(&site.cookie));
	for (n = 0;; n++) {
		no_memory_countdown = n;
		got = ask_raw(&site, params);
		if (no_memory_countdown >= 0)
			break;
		no_memory_countdown = -1;
		assert_true(got == 200 || got == 503);
		if (got == 200)
			is_wellformed(&site);
		refused += got == 503;
	}
	no_memory_countdown = -1;
	assert_int_equal(got, 200);
	is_wellformed(&site);
	assert_true(refused > 10);
	site_close(&site);
}

static const struct CMUnitTest page_admin_tests[] = {
    cmocka_unit_test(an_operator_sees_it),
    cmocka_unit_test(its_policy_names_both_styles_and_nothing_else),
    cmocka_unit_test(its_refreshing_can_be_stopped),
    cmocka_unit_test(everybody_else_meets_an_unknown_route),
    cmocka_unit_test(the_refusals_are_counted_by_their_reason),
    cmocka_unit_test(roles_are_those_of_the_configuration),
    cmocka_unit_test(to_look_is_no_activity),
    cmocka_unit_test(who_cannot_be_looked_up_is_told_so),
    cmocka_unit_test(what_is_wrong_is_what_status_says),
    cmocka_unit_test(an_hour_with_outages_is_told),
    cmocka_unit_test(without_samples_nothing_is_made_up),
    cmocka_unit_test(maintenance_is_told_as_text),
    cmocka_unit_test(whatever_the_hour_was_the_page_is_wellformed),
    cmocka_unit_test(whatever_stands_in_shared_memory_the_page_is_wellformed),
    cmocka_unit_test(a_page_without_memory_is_unavailable),
};

TAP_MAIN(page_admin_tests)
