/*
 * sessgatectl audit, and what it prints while it goes on.
 *
 * The trail is in the order of the events' own times, and some come to light
 * later: a transaction that takes long, what was in a spool while MySQL was
 * away. So each round asks for more than what is new, a wide one for all that a
 * spool may have kept, and what was printed is remembered by its id.
 */
#include "config.h"

#include "ctl.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define FOLLOW_PERIOD_MS 1000
#define FOLLOW_OVERLAP_MS 5000
/* After a failure, and now and then, for what a host's spool has brought. */
#define FOLLOW_WIDE_MS 900000
#define FOLLOW_WIDE_EVERY_MS 15000
#define FOLLOW_LIMIT "1000"
#define FOLLOW_PAGES_MAX 64

/* False: said what is wrong. */
static bool
add_audit_filter(struct ctl *ctl, struct ctl_request *request)
{
	const char *ref = ctl_args_get(&ctl->args, "ref");
	const char *limit = ctl_args_get(&ctl->args, "limit");
	const char *since = ctl_args_get(&ctl->args, "since");
	int64_t since_ms;
	char number[24];
	uint64_t n;

	if (ref != NULL && !ctl_check_ref(ref))
		return false;
	if (limit != NULL &&
	    (!bytes_to_uint(bytes_of(limit), 1000, &n) || n == 0)) {
		ctl_fail(CTL_USAGE, "--limit: a number of 1 to 1000");
		return false;
	}
	if (since != NULL && !ctl_parse_since(since, ctl->now_ms, &since_ms)) {
		ctl_fail(CTL_USAGE,
		    "--since: like 2h, 2026-11-22 or 2026-11-22T14:03");
		return false;
	}
	ctl_request_query(request, "user", ctl_args_get(&ctl->args, "user"));
	ctl_request_query(request, "ref", ref);
	ctl_request_query(request, "kind", ctl_args_get(&ctl->args, "kind"));
	ctl_request_query(request, "limit", limit == NULL ? "100" : limit);
	if (since != NULL) {
		snprintf(number, sizeof(number), "%lld",
		    (long long)(since_ms / 1000));
		ctl_request_query(request, "since", number);
	}
	return true;
}

static const char *const audit_headers[] = {
    "TIME", "KIND", "REASON", "USER", "REF", "ADDRESS", "BY", "DETAIL"};
#define AUDIT_COLUMNS 8

static void
add_event(struct ctl_table *table, const struct data *event, int64_t now_ms)
{
	ctl_table_time(table, ctl_member_time(event, "at"), now_ms);
	ctl_table_add(table, ctl_member(event, "kind"));
	ctl_table_add(table, ctl_member(event, "reason"));
	ctl_table_add(table, ctl_member(event, "user_id"));
	ctl_table_add(table, ctl_member(event, "ref"));
	ctl_table_add(table, ctl_member(event, "client_ip"));
	ctl_table_add(table, ctl_member(event, "actor"));
	ctl_table_add(table, ctl_member(event, "detail"));
}

static enum ctl_exit
print_audit(struct ctl *ctl, const struct ctl_reply *reply)
{
	const struct data *event;
	struct ctl_table table;
	size_t i, count = data_array_count(reply->data, "events");

	if (ctl->json)
		return ctl_print_json(reply);
	if (count == 0) {
		puts("no events");
		return CTL_YES;
	}
	ctl_table_init(&table, AUDIT_COLUMNS, audit_headers);
	for (i = 0; i < count; i++) {
		event = data_array_object(reply->data, "events", i);
		if (event != NULL)
			add_event(&table, event, ctl->now_ms);
	}
	return ctl_print(&table);
}

/* ---- following ---- */

/*
 * Ids that were printed, or were there before: two tables, of which the older
 * one is forgotten when the newer is full. Far more than a wide round has.
 */
#define SEEN_PLACES 262144
#define SEEN_MAX (SEEN_PLACES / 2)
struct seen {
	uint64_t *tables[2];
	size_t count; /* in the first one */
};

struct follow {
	struct ctl *ctl;
	struct seen seen;
	int64_t newest_ms;  /* of what was printed; before that: the start */
	int64_t wide_at_ms; /* monotonic: when the next wide round is due */
	/* Of what could not be asked for: the newest that was known then. */
	int64_t lost_since_ms;
	bool is_lost;
	struct ctl_reply pages[FOLLOW_PAGES_MAX];
	size_t pages_count;
};

static bool
seen_init(struct seen *seen)
{
	seen->tables[0] = calloc(SEEN_PLACES, sizeof(uint64_t));
	seen->tables[1] = calloc(SEEN_PLACES, sizeof(uint64_t));
	return seen->tables[0] != NULL && seen->tables[1] != NULL;
}

static void
seen_clear(struct seen *seen)
{
	free(seen->tables[0]);
	free(seen->tables[1]);
}

/* FNV-1a; never 0. Two ids of the same word are one in 10^19. */
static uint64_t
word_of(struct sgate_bytes id)
{
	uint64_t word = UINT64_C(14695981039346656037);
	size_t i;

	for (i = 0; i < id.len; i++)
		word = (word ^ (unsigned char)id.data[i]) *
		       UINT64_C(1099511628211);
	return word != 0 ? word : 1;
}

static uint64_t *
place_of(uint64_t *table, uint64_t word)
{
	size_t i = (size_t)(word % SEEN_PLACES);

	while (table[i] != 0 && table[i] != word)
		i = (i + 1) % SEEN_PLACES;
	return &table[i];
}

/* False: it was there already. */
static bool
seen_add(struct seen *seen, struct sgate_bytes id)
{
	uint64_t word = word_of(id), *older = seen->tables[1];

	if (*place_of(seen->tables[0], word) != 0)
		return false;
	if (seen->count == SEEN_MAX) {
		seen->tables[1] = seen->tables[0];
		seen->tables[0] = older;
		memset(older, 0, SEEN_PLACES * sizeof(*older));
		seen->count = 0;
	}
	*place_of(seen->tables[0], word) = word;
	seen->count++;
	return *place_of(seen->tables[1], word) == 0;
}

static void
forget_pages(struct follow *follow)
{
	while (follow->pages_count > 0)
		ctl_reply_clear(&follow->pages[--follow->pages_count]);
}

/* All since then, newest first, into follow->pages. */
static enum ctl_exit
fetch_since(struct follow *follow, int64_t since_ms)
{
	struct ctl *ctl = follow->ctl;
	struct sgate_bytes cursor = {NULL, 0};
	struct ctl_request request;
	struct ctl_reply *page;
	enum ctl_exit code = CTL_YES;
	char since[24], at[80];

	forget_pages(follow);
	snprintf(since, sizeof(since), "%lld",
	    (long long)(since_ms > 0 ? since_ms / 1000 : 0));
	do {
		page = &follow->pages[follow->pages_count];
		snprintf(at, sizeof(at), "%.*s", (int)cursor.len,
		    cursor.len > 0 ? cursor.data : "");
		ctl_request_init(&request, "GET", "v1/audit");
		request.is_quiet = true;
		ctl_request_query(
		    &request, "user", ctl_args_get(&ctl->args, "user"));
		ctl_request_query(
		    &request, "ref", ctl_args_get(&ctl->args, "ref"));
		ctl_request_query(
		    &request, "kind", ctl_args_get(&ctl->args, "kind"));
		ctl_request_query(&request, "since", since);
		ctl_request_query(&request, "limit", FOLLOW_LIMIT);
		ctl_request_query(
		    &request, "cursor", cursor.len > 0 ? at : NULL);
		code = ctl_ask(ctl, &request, page);
		ctl_request_clear(&request);
		follow->pages_count++;
		cursor = ctl_member(page->data, "cursor");
	} while (code == CTL_YES && cursor.len > 0 &&
		 follow->pages_count < FOLLOW_PAGES_MAX);
	return code;
}

/* One event as one line: TIME KIND ..., or its JSON. */
static void
print_event(struct ctl *ctl, const struct data *event)
{
	struct sgate_error err;
	struct ctl_table table;
	struct buf text = {0};

	if (ctl->json) {
		if (data_print(event, &text, &err) == SGATE_OK)
			puts(buf_text(&text));
	} else {
		ctl_table_init(&table, AUDIT_COLUMNS, NULL);
		add_event(&table, event, clock_utc_ms());
		ctl_print(&table);
	}
	buf_clear(&text);
}

/* Oldest first, those that are new. */
static void
take_page(struct follow *follow, const struct data *answer)
{
	size_t i;
	const struct data *event;
	int64_t at_ms;

	for (i = data_array_count(answer, "events"); i-- > 0;) {
		event = data_array_object(answer, "events", i);
		if (event == NULL ||
		    !seen_add(&follow->seen, ctl_member(event, "event_id")))
			continue;
		at_ms = ctl_member_time(event, "at");
		if (at_ms > follow->newest_ms)
			follow->newest_ms = at_ms;
		print_event(follow->ctl, event);
	}
}

static void
take_pages(struct follow *follow)
{
	size_t i;

	for (i = follow->pages_count; i-- > 0;)
		take_page(follow, follow->pages[i].data);
	forget_pages(follow);
	fflush(stdout);
}

/* Said once an outage, on stderr: what is printed stays what it is. */
static void
tell_lost(struct follow *follow, bool is_lost)
{
	if (is_lost == follow->is_lost)
		return;
	follow->is_lost = is_lost;
	if (is_lost)
		follow->lost_since_ms = follow->newest_ms;
	fputs(is_lost ? "sessgatectl: the gateway or its store does not "
			"answer; trying again\n"
		      : "sessgatectl: it answers again\n",
	    stderr);
}

static void
follow_round(struct follow *follow)
{
	int64_t now_ms = clock_monotonic_ms();
	bool is_wide = now_ms >= follow->wide_at_ms || follow->is_lost;
	int64_t since_ms =
	    follow->newest_ms - (is_wide ? FOLLOW_WIDE_MS : FOLLOW_OVERLAP_MS);

	if (is_wide && follow->lost_since_ms != 0 &&
	    follow->lost_since_ms - FOLLOW_WIDE_MS < since_ms)
		since_ms = follow->lost_since_ms - FOLLOW_WIDE_MS;
	if (fetch_since(follow, since_ms) != CTL_YES) {
		forget_pages(follow);
		tell_lost(follow, true);
		return;
	}
	tell_lost(follow, false);
	if (is_wide)
		follow->wide_at_ms = now_ms + FOLLOW_WIDE_EVERY_MS;
	take_pages(follow);
}

/* Not to be printed when a wide round meets it. */
static void
mark_before(struct follow *follow, const struct data *page, int64_t before_ms)
{
	const struct data *event;
	size_t i;

	for (i = data_array_count(page, "events"); i-- > 0;) {
		event = data_array_object(page, "events", i);
		if (event != NULL && ctl_member_time(event, "at") < before_ms)
			seen_add(&follow->seen, ctl_member(event, "event_id"));
	}
}

/* What comes between the two answers is in the second one alone. */
static enum ctl_exit
follow_from(struct follow *follow, const struct ctl_reply *first)
{
	int64_t started_ms = follow->newest_ms;
	enum ctl_exit code;
	size_t i;

	take_page(follow, first->data);
	fflush(stdout);
	code = fetch_since(follow, started_ms - FOLLOW_WIDE_MS);
	for (i = 0; code == CTL_YES && i < follow->pages_count; i++)
		mark_before(follow, follow->pages[i].data,
		    started_ms - FOLLOW_OVERLAP_MS);
	if (code == CTL_YES)
		take_pages(follow);
	follow->wide_at_ms = clock_monotonic_ms() + FOLLOW_WIDE_EVERY_MS;
	return code;
}

static enum ctl_exit
follow_on(struct ctl *ctl, const struct ctl_reply *first)
{
	struct follow *follow = calloc(1, sizeof(*follow));
	enum ctl_exit code = CTL_UNAVAILABLE;

	if (follow == NULL || !seen_init(&follow->seen)) {
		if (follow != NULL)
			seen_clear(&follow->seen);
		free(follow);
		return ctl_fail_memory();
	}
	follow->ctl = ctl;
	follow->newest_ms = ctl->now_ms;
	ctl_catch_interrupt();
	code = follow_from(follow, first);
	while (
	    code == CTL_YES && !ferror(stdout) && ctl_sleep(FOLLOW_PERIOD_MS))
		follow_round(follow);
	forget_pages(follow);
	seen_clear(&follow->seen);
	free(follow);
	return ctl_is_interrupted() ? CTL_YES : code;
}

enum ctl_exit
ctl_audit(struct ctl *ctl)
{
	struct ctl_request request;
	struct ctl_reply reply = {0};
	enum ctl_exit code = CTL_USAGE;

	ctl_request_init(&request, "GET", "v1/audit");
	if (add_audit_filter(ctl, &request))
		code = ctl_ask(ctl, &request, &reply);
	if (code == CTL_YES && ctl_args_has(&ctl->args, "follow"))
		code = follow_on(ctl, &reply);
	else if (code == CTL_YES)
		code = print_audit(ctl, &reply);
	ctl_reply_clear(&reply);
	ctl_request_clear(&request);
	return code;
}
