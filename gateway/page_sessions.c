/*
 * The page on which a visitor sees where he is logged in, and ends what he does
 * not know. A list, for on a narrow screen a table of five columns is none.
 */
#include "config.h"

#include "page.h"

#include "agent.h"
#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_S 60
#define HOUR_S (60 * MINUTE_S)
#define DAY_S (24 * HOUR_S)

/* What is shown: the current session, then the others, as last seen. */
struct rows {
	const struct sgate_session *at[PAGE_SESSIONS_MAX + 1];
	size_t count;
};

static bool
is_same(const struct sgate_session *a, const struct sgate_session *b)
{
	return memcmp(sgate_session_get_ref(a)->bytes,
		   sgate_session_get_ref(b)->bytes, SGATE_REF_BYTES) == 0;
}

static int
compare_seen(const void *a, const void *b)
{
	int64_t x = sgate_session_get_last_seen_ms(
	    *(const struct sgate_session *const *)a);
	int64_t y = sgate_session_get_last_seen_ms(
	    *(const struct sgate_session *const *)b);

	return (x < y) - (x > y);
}

/*
 * The current one is there also when the list was cut off before it, and as it
 * was loaded: it has been seen since.
 */
static void
rows_fill(
    struct rows *rows, const struct call *c, const struct sgate_list *list)
{
	size_t i, n = sgate_list_count(list);

	rows->at[0] = c->session;
	rows->count = 1;
	for (i = 0; i < n && rows->count <= PAGE_SESSIONS_MAX; i++)
		if (!is_same(sgate_list_get(list, i), c->session))
			rows->at[rows->count++] = sgate_list_get(list, i);
	qsort(rows->at + 1, rows->count - 1, sizeof(rows->at[0]), compare_seen);
}

/* ---- moments ---- */

static void
add_count(struct buf *out, int64_t count, const char *unit)
{
	buf_add_int(out, count);
	buf_add_char(out, ' ');
	buf_add_text(out, unit);
	buf_add_text(out, count == 1 ? " ago" : "s ago");
}

static void
add_age(struct buf *out, int64_t age_s)
{
	if (age_s < MINUTE_S)
		buf_add_text(out, "just now");
	else if (age_s < HOUR_S)
		add_count(out, age_s / MINUTE_S, "minute");
	else if (age_s < 2 * DAY_S)
		add_count(out, age_s / HOUR_S, "hour");
	else
		add_count(out, age_s / DAY_S, "day");
}

/* "5 minutes ago (23 Nov 2026, 07:06 UTC)" */
static void
add_moment(struct buf *out, int64_t ms, int64_t now_ms)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char text[25]; /* 2026-11-23T07:06:20.123Z */
	int month;

	clock_text(ms, text);
	month = (text[5] - '0') * 10 + (text[6] - '0') - 1;
	buf_printf(out, "<time datetime=\"%s\">", text);
	add_age(out, (now_ms - ms) / 1000);
	buf_printf(out, " (%d %.3s %.4s, %.5s UTC)</time>",
	    (text[8] - '0') * 10 + (text[9] - '0'),
	    months + (size_t)3 * (size_t)month, text, text + 11);
}

/* ---- one session ---- */

static void
add_term(struct buf *out, const char *term)
{
	buf_add_text(out, "<div><dt>");
	buf_add_text(out, term);
	buf_add_text(out, "</dt><dd>");
}

static void
add_facts(struct call *c, const struct sgate_session *s)
{
	struct buf *out = c->reply.out;
	const char *address = sgate_session_get_client_ip(s);
	int64_t now_ms = call_now_ms(c);

	buf_add_text(out, "<dl>\n");
	add_term(out, "Address");
	buf_add_html(out, bytes_of(address[0] != '\0' ? address : "not known"));
	buf_add_text(out, "</dd></div>\n");
	add_term(out, "Since");
	add_moment(out, sgate_session_get_created_ms(s), now_ms);
	buf_add_text(out, "</dd></div>\n");
	add_term(out, "Last seen");
	add_moment(out, sgate_session_get_last_seen_ms(s), now_ms);
	buf_add_text(out, "</dd></div>\n</dl>\n");
}

/* The page again, which then tells what was done. */
static void
add_return(struct call *c, const char *done)
{
	struct buf url = {0};

	buf_add_text(&url, c->conf->gateway.mount);
	buf_add_text(&url, "sessions?done=");
	buf_add_text(&url, done);
	if (buf_failed(&url))
		c->reply.is_broken = true;
	page_form_field(c, "return_to", buf_bytes(&url));
	buf_clear(&url);
}

static void
add_end_form(
    struct call *c, const struct sgate_session *s, struct sgate_bytes about)
{
	char ref[SGATE_REF_HEX + 1];
	char route[SGATE_REF_HEX + sizeof("sessions//end")];

	sgate_ref_text(sgate_session_get_ref(s), ref);
	snprintf(route, sizeof(route), "sessions/%s/end", ref);
	page_form_begin(c, sgate_session_get_ref(c->session), route);
	add_return(c, ref);
	page_form_end(c, "End this session", about, false);
}

/* "Firefox on Linux, 192.0.2.7": which button is which, when it is read out. */
static void
about_session(
    const struct sgate_session *s, struct sgate_bytes device, struct buf *out)
{
	const char *address = sgate_session_get_client_ip(s);

	buf_add_bytes(out, device);
	if (address[0] != '\0') {
		buf_add_text(out, ", ");
		buf_add_text(out, address);
	}
}

static void
add_session(struct call *c, const struct sgate_session *s, bool may_end)
{
	bool is_own = s == c->session;
	struct buf device = {0}, about = {0};
	struct buf *out = c->reply.out;

	agent_describe(sgate_session_get_user_agent(s), &device);
	about_session(s, buf_bytes(&device), &about);
	if (buf_failed(&device) || buf_failed(&about))
		c->reply.is_broken = true;
	buf_add_text(
	    out, is_own ? "<li class=\"own\">\n<h2><bdi>" : "<li>\n<h2><bdi>");
	buf_add_html(out, buf_bytes(&device));
	buf_add_text(out, "</bdi>");
	if (is_own)
		buf_add_text(out, " <span class=\"tag\">this one</span>");
	buf_add_text(out, "</h2>\n");
	add_facts(c, s);
	if (is_own) {
		page_form_begin(c, sgate_session_get_ref(s), "logout");
		page_form_end(c, "Log out", buf_bytes(&about), false);
	} else if (may_end) {
		add_end_form(c, s, buf_bytes(&about));
	}
	buf_add_text(out, "</li>\n");
	buf_clear(&device);
	buf_clear(&about);
}

/* ---- the page ---- */

/*
 * Anybody can write a link to "sessions?done=...": the page tells of nothing
 * but what it sees itself.
 */
static const char *
what_was_done(const struct rows *rows, const struct page_sessions *p)
{
	struct sgate_ref ref;
	size_t i;

	if (bytes_equal_text(p->done, PAGE_DONE_OTHERS))
		return rows->count == 1 && !p->has_more
			   ? "All other sessions have ended."
			   : NULL;
	if (sgate_ref_parse(p->done, &ref) != SGATE_OK || p->has_more)
		return NULL;
	for (i = 0; i < rows->count; i++)
		if (memcmp(sgate_session_get_ref(rows->at[i])->bytes, ref.bytes,
			SGATE_REF_BYTES) == 0)
			return NULL;
	return "The session has ended.";
}

static void
add_introduction(struct call *c, const struct page_sessions *p, size_t count)
{
	struct buf *out = c->reply.out;

	buf_add_text(out, "<p>You are logged in as <strong><bdi>");
	buf_add_html(out, sgate_session_get_user_id(c->session));
	buf_add_text(out, "</bdi></strong>");
	if (p->has_more)
		buf_printf(out,
		    " in more than %d places. The newest are shown; when you "
		    "end some, others appear.",
		    PAGE_SESSIONS_MAX);
	else if (count == 1)
		buf_add_text(out, " on this device and nowhere else.");
	else
		buf_printf(out,
		    " in %zu places. If there is one that you do not know, end "
		    "it.",
		    count);
	buf_add_text(out, "</p>\n");
}

/* The login is older than session.self_service_max_auth_age. */
static void
add_login_first(struct call *c)
{
	struct buf url = {0};

	buf_add_text(c->reply.out,
	    "<p class=\"note\">To end other sessions, log in again first: your "
	    "login is too old for that.</p>\n");
	buf_add_text(&url, c->conf->gateway.mount);
	buf_add_text(&url, "sessions");
	if (buf_failed(&url))
		c->reply.is_broken = true;
	page_login_link(
	    c, "Log in", c->conf->gateway.login_url, buf_bytes(&url));
	buf_clear(&url);
}

static void
add_end_others(struct call *c, const struct page_sessions *p, size_t others)
{
	char label[64] = "End all other sessions";

	if (!p->has_more && others == 1)
		snprintf(label, sizeof(label), "End the other session");
	else if (!p->has_more)
		snprintf(
		    label, sizeof(label), "End the other %zu sessions", others);
	page_form_begin(
	    c, sgate_session_get_ref(c->session), "sessions/end-others");
	add_return(c, PAGE_DONE_OTHERS);
	page_form_end(c, label, (struct sgate_bytes){NULL, 0}, true);
}

void
page_sessions(struct call *c, const struct page_sessions *p)
{
	struct rows rows;
	const char *done;
	size_t i;

	rows_fill(&rows, c, p->list);
	done = what_was_done(&rows, p);
	page_begin(c, 200, "Your sessions");
	if (done != NULL)
		buf_printf(c->reply.out,
		    "<p class=\"note\" role=\"status\">%s</p>\n", done);
	add_introduction(c, p, rows.count);
	if (!p->may_end && rows.count > 1)
		add_login_first(c);
	buf_add_text(c->reply.out, "<ul role=\"list\">\n");
	for (i = 0; i < rows.count; i++)
		add_session(c, rows.at[i], p->may_end);
	buf_add_text(c->reply.out, "</ul>\n");
	if (p->may_end && rows.count > 1)
		add_end_others(c, p, rows.count - 1);
	page_end(c);
}
