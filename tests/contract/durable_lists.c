/* The durable contract: what gives many rows, and what tidies them away. */
#include "config.h"

#include "durable_cases.h"

#include <string.h>

#define ROWS_MAX 32

/* ---- a user's sessions ---- */

struct seen_sessions {
	struct sgate_ref refs[ROWS_MAX];
	size_t count;
	size_t stop_at; /* 0 = never */
};

static int
see_session(void *arg, const struct sgate_session *session)
{
	struct seen_sessions *seen = arg;

	assert_true(seen->count < ROWS_MAX);
	assert_string_equal(session->data, "");
	assert_int_equal(session->state, SESSION_LIVE);
	seen->refs[seen->count++] = session->ref;
	return seen->count == seen->stop_at;
}

static size_t
list_user(struct fixture *f, const char *realm, const char *user, size_t limit,
    struct seen_sessions *seen)
{
	seen->count = 0;
	assert_ok(f, f->ops->user_sessions(f->b, bytes_of(realm),
			 bytes_of(user), limit, see_session, seen, &f->err));
	return seen->count;
}

/* Of "anna": live 1, 3, 4, created in that order; 2 has ended. */
static void
add_users(struct fixture *f)
{
	struct sgate_session *s;
	unsigned i;

	for (i = 4; i >= 1; i--) {
		s = make_session(1, i);
		if (i == 2)
			s->state = SESSION_ENDED;
		add_session(f, s);
	}
	s = make_session(1, 5);
	set_text(s->user, sizeof(s->user), "bert");
	add_session(f, s);
	s = make_session(1, 6);
	set_text(s->realm, sizeof(s->realm), "other");
	add_session(f, s);
	s = make_session(1, 7);
	set_text(s->user, sizeof(s->user), "");
	add_session(f, s);
}

static void
user_sessions_are_the_live_ones_of_that_user_newest_first(struct fixture *f)
{
	struct seen_sessions seen = {.stop_at = 0};

	add_users(f);
	assert_int_equal(list_user(f, "", "anna", 0, &seen), 3);
	assert_int_equal(seen.refs[0].bytes[11], 4);
	assert_int_equal(seen.refs[1].bytes[11], 3);
	assert_int_equal(seen.refs[2].bytes[11], 1);
	assert_int_equal(list_user(f, "other", "anna", 0, &seen), 1);
	assert_int_equal(seen.refs[0].bytes[11], 6);
	assert_int_equal(list_user(f, "", "ann", 0, &seen), 0);
	assert_int_equal(list_user(f, "", "ANNA", 0, &seen), 0);
	assert_int_equal(list_user(f, "", "", 0, &seen), 1);
}

static void
user_sessions_stop_at_the_limit_and_when_told(struct fixture *f)
{
	struct seen_sessions seen = {.stop_at = 0};

	add_users(f);
	assert_int_equal(list_user(f, "", "anna", 2, &seen), 2);
	assert_int_equal(seen.refs[1].bytes[11], 3);
	seen.stop_at = 1;
	assert_int_equal(list_user(f, "", "anna", 0, &seen), 1);
	seen.stop_at = 0;
	assert_int_equal(list_user(f, "", "anna", 0, &seen), 3);
}

static void
a_user_of_128_bytes_of_utf8_is_found_by_all_of_them(struct fixture *f)
{
	struct seen_sessions seen = {.stop_at = 0};
	struct sgate_session *s = make_session(1, 1);
	char user[SESSION_USER_MAX + 1];

	fill_utf8(user, sizeof(user));
	assert_int_equal(strlen(user), 128);
	memcpy(s->user, user, sizeof(user));
	add_session(f, s);
	assert_int_equal(list_user(f, "", user, 0, &seen), 1);
	user[124] = '\0';
	assert_int_equal(list_user(f, "", user, 0, &seen), 0);
}

/* ---- audit ---- */

struct seen_audits {
	struct durable_audit rows[ROWS_MAX];
	size_t count;
	size_t stop_at;
};

static int
see_audit(void *arg, const struct durable_audit *audit)
{
	struct seen_audits *seen = arg;

	assert_true(seen->count < ROWS_MAX);
	seen->rows[seen->count++] = *audit;
	return seen->count == seen->stop_at;
}

static size_t
list_audit(struct fixture *f, const struct durable_audit_filter *filter,
    struct seen_audits *seen)
{
	size_t i;

	seen->count = 0;
	assert_ok(
	    f, f->ops->audit_list(f->b, filter, see_audit, seen, &f->err));
	for (i = 1; i < seen->count; i++)
		assert_true(
		    memcmp(seen->rows[i - 1].event_id, seen->rows[i].event_id,
			DURABLE_EVENT_BYTES) > 0);
	return seen->count;
}

/*
 * Twelve events, one a second: user by turns anna and bert, realm "" four
 * times and then "r", kind create, end, create, ...; of every third the ref
 * is ref 1.
 */
static void
add_audits(struct fixture *f)
{
	struct durable_audit audit;
	unsigned i;

	for (i = 0; i < 12; i++) {
		audit = make_audit(T0 + 1000 * i, i);
		set_text(audit.user, sizeof(audit.user),
		    i % 2 == 0 ? "anna" : "bert");
		set_text(audit.realm, sizeof(audit.realm), i < 4 ? "" : "r");
		set_text(audit.kind, sizeof(audit.kind),
		    i % 4 < 2 ? "create" : "end");
		audit.has_ref = i % 3 == 0;
		if (audit.has_ref)
			audit.ref = make_ref(1, 1);
		add_audit(f, &audit);
	}
}

static void
audit_is_listed_newest_first_and_filters_combine(struct fixture *f)
{
	static struct seen_audits seen;
	const struct sgate_ref ref = make_ref(1, 1);
	const struct sgate_ref unknown = make_ref(1, 2);
	struct durable_audit_filter filter = {0};

	memset(&seen, 0, sizeof(seen));
	add_audits(f);
	assert_int_equal(list_audit(f, &filter, &seen), 12);
	filter.realm = bytes_of("");
	assert_int_equal(list_audit(f, &filter, &seen), 4);
	filter.realm = bytes_of("r");
	assert_int_equal(list_audit(f, &filter, &seen), 8);
	filter.user = bytes_of("anna"); /* 4 6 8 10 */
	assert_int_equal(list_audit(f, &filter, &seen), 4);
	filter.kind = bytes_of("end"); /* 6 10 */
	assert_int_equal(list_audit(f, &filter, &seen), 2);
	filter.ref = &ref; /* 6 */
	assert_int_equal(list_audit(f, &filter, &seen), 1);
	assert_true(seen.rows[0].at_ms == T0 + 6000);
	filter.ref = &unknown;
	assert_int_equal(list_audit(f, &filter, &seen), 0);
	filter = (struct durable_audit_filter){.ref = &ref};
	assert_int_equal(list_audit(f, &filter, &seen), 4);
	filter = (struct durable_audit_filter){.kind = {"create", 6}};
	assert_int_equal(list_audit(f, &filter, &seen), 6);
	filter = (struct durable_audit_filter){.user = {"bert", 4}};
	assert_int_equal(list_audit(f, &filter, &seen), 6);
}

static void
audit_is_paged_by_event_id_and_ends_at_since(struct fixture *f)
{
	static struct seen_audits seen;
	unsigned char cursor[DURABLE_EVENT_BYTES];
	struct durable_audit_filter filter = {.limit = 5};

	memset(&seen, 0, sizeof(seen));
	add_audits(f);
	assert_int_equal(list_audit(f, &filter, &seen), 5);
	assert_true(seen.rows[0].at_ms == T0 + 11000);
	memcpy(cursor, seen.rows[4].event_id, sizeof(cursor));
	filter.before_event_id = cursor;
	assert_int_equal(list_audit(f, &filter, &seen), 5);
	assert_true(seen.rows[0].at_ms == T0 + 6000);
	memcpy(cursor, seen.rows[4].event_id, sizeof(cursor));
	assert_int_equal(list_audit(f, &filter, &seen), 2);
	assert_true(seen.rows[1].at_ms == T0);
	filter = (struct durable_audit_filter){.since_ms = T0 + 9000};
	assert_int_equal(list_audit(f, &filter, &seen), 3);
	seen.stop_at = 2;
	assert_int_equal(list_audit(f, &filter, &seen), 2);
	filter = (struct durable_audit_filter){.since_ms = T0 + 12000};
	assert_int_equal(list_audit(f, &filter, &seen), 0);
}

static void
check_audit_round_trip(struct fixture *f, const struct durable_audit *audit)
{
	static struct seen_audits seen;
	const struct durable_audit_filter filter = {.limit = 1};
	const struct durable_audit *found = &seen.rows[0];

	memset(&seen, 0, sizeof(seen));
	add_audit(f, audit);
	assert_int_equal(list_audit(f, &filter, &seen), 1);
	assert_memory_equal(
	    found->event_id, audit->event_id, sizeof(audit->event_id));
	assert_true(found->at_ms == audit->at_ms);
	assert_string_equal(found->host, audit->host);
	assert_string_equal(found->actor, audit->actor);
	assert_string_equal(found->kind, audit->kind);
	assert_int_equal(found->reason, audit->reason);
	assert_int_equal(found->has_ref, audit->has_ref);
	assert_memory_equal(&found->ref, &audit->ref, sizeof(audit->ref));
	assert_string_equal(found->realm, audit->realm);
	assert_string_equal(found->user, audit->user);
	assert_int_equal(found->client_ip_len, audit->client_ip_len);
	assert_memory_equal(found->client_ip, audit->client_ip, 16);
	assert_string_equal(found->detail, audit->detail);
}

static void
an_audit_row_round_trips_at_its_smallest_and_largest(struct fixture *f)
{
	struct durable_audit audit = {.at_ms = 0};

	check_audit_round_trip(f, &audit);
	memset(audit.event_id, 0xff, sizeof(audit.event_id));
	audit.at_ms = T0;
	memset(audit.host, 'h', sizeof(audit.host) - 1);
	memset(audit.actor, 'a', sizeof(audit.actor) - 1);
	memset(audit.kind, 'k', sizeof(audit.kind) - 1);
	audit.reason = SGATE_REASON_COUNT - 1;
	audit.has_ref = true;
	memset(&audit.ref, 0xff, sizeof(audit.ref));
	memset(audit.realm, 'r', sizeof(audit.realm) - 1);
	fill_utf8(audit.user, sizeof(audit.user));
	memset(audit.client_ip, 0xfe, 16);
	audit.client_ip_len = 16;
	memset(audit.detail, 0xe4, sizeof(audit.detail) - 1);
	check_audit_round_trip(f, &audit);
}

/* ---- the reaper ---- */

static enum sgate_status
walk(struct fixture *f, int64_t now_ms, size_t limit, struct sgate_ref *cursor,
    bool *out_wrapped, struct seen_sessions *seen)
{
	seen->count = 0;
	return f->ops->expired(f->b, now_ms, 0, limit, cursor, out_wrapped,
	    see_session, seen, &f->err);
}

static void
expired_walks_by_key_in_chunks_and_wraps(struct fixture *f)
{
	struct seen_sessions seen = {.stop_at = 0};
	struct sgate_ref cursor = {{0}};
	const struct sgate_ref zero = {{0}};
	const int64_t far_ms = T0 + ms(100) * 86400 * 1000;
	bool is_wrapped;
	unsigned i;

	for (i = 7; i >= 1; i--)
		add_session(f, make_session(i, 0));
	assert_ok(f, walk(f, far_ms, 3, &cursor, &is_wrapped, &seen));
	assert_int_equal(seen.count, 3);
	assert_false(is_wrapped);
	assert_int_equal(cursor.bytes[0], 3);
	assert_int_equal(seen.refs[0].bytes[0], 1);
	assert_ok(f, walk(f, far_ms, 3, &cursor, &is_wrapped, &seen));
	assert_int_equal(seen.refs[0].bytes[0], 4);
	assert_false(is_wrapped);
	assert_ok(f, walk(f, far_ms, 3, &cursor, &is_wrapped, &seen));
	assert_int_equal(seen.count, 1);
	assert_true(is_wrapped);
	assert_memory_equal(&cursor, &zero, sizeof(zero));
	assert_ok(f, walk(f, far_ms, 100, &cursor, &is_wrapped, &seen));
	assert_int_equal(seen.count, 7);
	assert_true(is_wrapped);
	seen.stop_at = 2;
	assert_ok(f, walk(f, far_ms, 100, &cursor, &is_wrapped, &seen));
	assert_false(is_wrapped);
	assert_int_equal(cursor.bytes[0], 2);
}

static void
expired_gives_live_rows_that_are_over_with_their_leeway(struct fixture *f)
{
	struct seen_sessions seen = {.stop_at = 0};
	struct sgate_session *s = make_session(1, 0);
	struct sgate_ref cursor = {{0}};
	const int64_t idle_ms = 30 * 60 * 1000;
	bool is_wrapped;

	add_session(f, s);
	s = make_session(2, 0);
	s->state = SESSION_ENDED;
	add_session(f, s);
	s = make_session(3, 0);
	s->last_seen_ms = s->absolute_ms - 10;
	add_session(f, s);
	assert_ok(f, walk(f, T0 + idle_ms + idle_ms / 10 - 1, 100, &cursor,
			 &is_wrapped, &seen));
	assert_int_equal(seen.count, 0);
	assert_ok(f, walk(f, T0 + idle_ms + idle_ms / 10 + 1, 100, &cursor,
			 &is_wrapped, &seen));
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.refs[0].bytes[0], 1);
	assert_ok(f, walk(f, T0 + ms(8) * 3600 * 1000 + 1, 100, &cursor,
			 &is_wrapped, &seen));
	assert_int_equal(seen.count, 2);
}

static void
purge_deletes_at_most_the_limit_of_each_kind(struct fixture *f)
{
	static struct seen_audits seen;
	const struct durable_audit_filter all = {.limit = 0};
	const int64_t absolute_ms = T0 + ms(8) * 3600 * 1000;
	struct durable_idempotency row = {.expires_ms = T0};
	struct durable_idempotency found;
	struct sgate_ref ref;
	/* Where there is maintain, events go with their partition. */
	unsigned events = f->ops->maintain == NULL ? 2 : 0;
	uint64_t sessions;
	uint64_t others;
	unsigned i;

	for (i = 1; i <= 6; i++)
		add_session(f, make_session(1, i));
	add_audits(f);
	for (i = 1; i <= 3; i++) {
		row.id[0] = (unsigned char)i;
		row.expires_ms = T0 + i;
		assert_ok(f, f->ops->begin(f->a, &f->err));
		assert_ok(f, f->ops->idempotency_insert(f->a, &row, &f->err));
		assert_ok(f, f->ops->commit(f->a, &f->err));
	}
	assert_ok(f, f->ops->lease_take(f->a, "old", "a", T0, T0 + 1, &f->err));
	assert_ok(f, f->ops->lease_take(f->a, "new", "a", T0, T0 + 9, &f->err));
	/* Of sessions 1 to 3, events 0 and 1, rows 1 and 2, one lease. */
	assert_ok(f, f->ops->purge(f->b, absolute_ms + 4, T0 + 2000, T0 + 2, 2,
			 &sessions, &others, &f->err));
	assert_int_equal(sessions, 2);
	assert_int_equal(others, events + 2 + 1);
	assert_ok(f, f->ops->purge(f->b, absolute_ms + 4, T0 + 2000, T0 + 2, 2,
			 &sessions, &others, &f->err));
	assert_int_equal(sessions, 1);
	assert_int_equal(others, 0);
	for (i = 1; i <= 6; i++) {
		ref = make_ref(1, i);
		assert_int_equal(has_session(f, f->a, &ref), i >= 4);
	}
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(list_audit(f, &all, &seen), 12 - events);
	row.id[0] = 3;
	assert_ok(f, f->ops->idempotency_get(f->a, row.id, &found, &f->err));
}

/* In pieces of so many rows. */
static struct sgate_stats
count_all(struct fixture *f, int64_t now_ms, size_t limit)
{
	struct durable_count count = {.rows = 0};
	bool is_done = false;
	unsigned calls = 0;

	while (!is_done) {
		assert_true(++calls <= 12);
		assert_ok(f, f->ops->stats(f->b, now_ms, limit, &count,
				 &is_done, &f->err));
	}
	return count.stats;
}

static void
stats_count_sessions_and_distinct_users(struct fixture *f)
{
	struct sgate_stats stats = count_all(f, T0, 100);
	size_t limit;

	assert_int_equal(stats.live + stats.anonymous + stats.users, 0);
	add_users(f);
	for (limit = 1; limit <= 10; limit++) {
		stats = count_all(f, T0, limit);
		assert_int_equal(stats.live, 5);
		assert_int_equal(stats.anonymous, 1);
		assert_int_equal(stats.users, 3);
		assert_int_equal(stats.ended, 1);
		stats = count_all(f, T0 + ms(9) * 3600 * 1000, limit);
		assert_int_equal(stats.live + stats.anonymous + stats.users, 0);
		assert_int_equal(stats.ended, 1);
	}
}

/* Nothing is told apart but by its ref. */
static void
stats_count_sessions_that_differ_in_nothing_but_their_ref(struct fixture *f)
{
	struct sgate_session *s;
	struct sgate_stats stats;
	unsigned i;

	for (i = 0; i < 10; i++) {
		s = make_session(i, i);
		s->created_ms = T0;
		s->absolute_ms = T0 + 1000;
		if (i >= 5)
			set_text(s->user, sizeof(s->user), "");
		add_session(f, s);
	}
	for (i = 1; i <= 11; i++) {
		stats = count_all(f, T0, i);
		assert_int_equal(stats.live, 5);
		assert_int_equal(stats.anonymous, 5);
		assert_int_equal(stats.users, 1);
		assert_int_equal(stats.ended, 0);
	}
}

/* The expired rows of a user stand between those of others. */
static void
stats_count_a_user_once_however_the_pieces_fall(struct fixture *f)
{
	struct sgate_session *s;
	struct sgate_stats stats;
	unsigned i;

	for (i = 0; i < 9; i++) {
		s = make_session(1, i);
		set_text(
		    s->user, sizeof(s->user), i % 3 == 0 ? "anna" : "bert");
		if (i % 2 == 0)
			s->absolute_ms = T0;
		if (i == 7)
			s->state = SESSION_ENDED;
		add_session(f, s);
	}
	for (i = 1; i <= 10; i++) {
		stats = count_all(f, T0, i);
		assert_int_equal(stats.live, 3);
		assert_int_equal(stats.users, 2);
		assert_int_equal(stats.ended, 1);
	}
}

/* ---- leases and service keys ---- */

static int
join_lease(void *arg, const char *name, const char *holder, int64_t until_ms)
{
	buf_printf(arg, "%s=%s@%d ", name, holder, (int)(until_ms - T0));
	return 0;
}

static int
join_service(void *arg, const struct durable_service *svc)
{
	buf_printf(arg, "%s:%d ", svc->name, svc->has_realm);
	return 0;
}

static void
leases_and_service_keys_are_listed_by_name(struct fixture *f)
{
	struct durable_service svc = {.key_hash = {1}};
	struct buf text = {0};

	assert_ok(f, f->ops->lease_list(f->a, join_lease, &text, &f->err));
	assert_ok(f, f->ops->service_list(f->a, join_service, &text, &f->err));
	assert_string_equal(buf_text(&text), "");
	assert_ok(
	    f, f->ops->lease_take(f->a, "host:b", "1", T0, T0 + 5, &f->err));
	assert_ok(f, f->ops->lease_take(f->a, "a", "x", T0, T0 + 7, &f->err));
	assert_ok(
	    f, f->ops->lease_take(f->a, "host:b", "1", T0, T0 + 6, &f->err));
	assert_ok(f, f->ops->lease_list(f->b, join_lease, &text, &f->err));
	assert_string_equal(buf_text(&text), "a=x@7 host:b=1@6 ");
	buf_reset(&text);
	set_text(svc.name, sizeof(svc.name), "zeta");
	assert_ok(f, f->ops->service_put(f->a, &svc, &f->err));
	set_text(svc.name, sizeof(svc.name), "eta");
	svc.key_hash[0] = 2;
	svc.has_realm = true;
	assert_ok(f, f->ops->service_put(f->a, &svc, &f->err));
	assert_ok(f, f->ops->service_list(f->b, join_service, &text, &f->err));
	assert_string_equal(buf_text(&text), "eta:1 zeta:0 ");
	buf_clear(&text);
}

const struct contract_case list_cases[] = {
#define CASE(name)                                                             \
	{                                                                      \
#name, name, 0                                                 \
	}
    CASE(user_sessions_are_the_live_ones_of_that_user_newest_first),
    CASE(user_sessions_stop_at_the_limit_and_when_told),
    CASE(a_user_of_128_bytes_of_utf8_is_found_by_all_of_them),
    CASE(audit_is_listed_newest_first_and_filters_combine),
    CASE(audit_is_paged_by_event_id_and_ends_at_since),
    CASE(an_audit_row_round_trips_at_its_smallest_and_largest),
    CASE(expired_walks_by_key_in_chunks_and_wraps),
    CASE(expired_gives_live_rows_that_are_over_with_their_leeway),
    CASE(purge_deletes_at_most_the_limit_of_each_kind),
    CASE(stats_count_sessions_and_distinct_users),
    CASE(stats_count_sessions_that_differ_in_nothing_but_their_ref),
    CASE(stats_count_a_user_once_however_the_pieces_fall),
    CASE(leases_and_service_keys_are_listed_by_name),
#undef CASE
    {NULL, NULL, 0},
};
