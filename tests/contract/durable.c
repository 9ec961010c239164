/*
 * The contract of durable.h, run over every store of the registry and the fake
 * one: "sqlite: name_of_the_case". This file has the frame, what cases share,
 * and the cases of the fake's script.
 *
 * MySQL needs a server, so it has a program of its own, which can be skipped:
 * the same files, compiled with CONTRACT_MYSQL.
 */
#include "config.h"

#include "durable_cases.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "durable_fake.h"
#ifdef CONTRACT_MYSQL
#include "durable_server.h"
#endif

#define CASES_MAX 256
#define BUDGET_MS 30000

/* ---- what cases share ---- */

struct took
took_start(void)
{
	return (struct took){clock_monotonic_ms(), clock_kept_waiting_us()};
}

int64_t
took_ms(const struct took *took)
{
	int64_t kept_us = clock_kept_waiting_us() - took->kept_us;

	return clock_monotonic_ms() - took->started_ms - kept_us / 1000;
}

void
allow_ms(struct fixture *f, int64_t budget_ms)
{
	f->a->deadline_ms = clock_monotonic_ms() + budget_ms;
	f->b->deadline_ms = f->a->deadline_ms;
}

struct durable *
open_handle(struct fixture *f)
{
	struct durable *d = NULL;

	assert_ok(f, f->ops->open(&f->conf, &d, &f->err));
	d->deadline_ms = clock_monotonic_ms() + BUDGET_MS;
	return d;
}

static void
reopen(struct fixture *f, struct durable **handle)
{
	int64_t deadline_ms;

	if (*handle == NULL)
		return;
	deadline_ms = (*handle)->deadline_ms;
	f->ops->close(*handle);
	*handle = open_handle(f);
	(*handle)->deadline_ms = deadline_ms;
}

pid_t
fork_child(struct fixture *f)
{
	pid_t pid;

	reopen(f, &f->a);
	reopen(f, &f->b);
	pid = fork();
	assert_true(pid >= 0);
	return pid;
}

void
check_status(struct fixture *f, enum sgate_status expected,
    enum sgate_status got, const char *call, const char *file, int line)
{
	if (got == expected)
		return;
	fprintf(stderr, "%s\n  is \"%s\", not \"%s\": %s\n", call,
	    sgate_status_text(got), sgate_status_text(expected), f->err.text);
	_fail(file, line);
}

struct sgate_ref
make_ref(unsigned group, unsigned number)
{
	struct sgate_ref ref = {{0}};

	ref.bytes[0] = (unsigned char)group;
	ref.bytes[10] = (unsigned char)(number >> 8);
	ref.bytes[11] = (unsigned char)number;
	return ref;
}

void
set_text(char *out, size_t size, const char *text)
{
	assert_true(strlen(text) < size);
	memset(out, 0, size);
	memcpy(out, text, strlen(text));
}

static void
set_heap(char **field, const char *text)
{
	assert_true(session_set(field, bytes_of(text)));
}

struct sgate_session *
make_session(unsigned group, unsigned number)
{
	struct sgate_session *s = session_new();

	assert_non_null(s);
	s->ref = make_ref(group, number);
	s->version = 1;
	s->state = SESSION_LIVE;
	set_text(s->user, sizeof(s->user), "anna");
	memset(s->secret_hash, (int)number, sizeof(s->secret_hash));
	set_heap(&s->data, "{}");
	s->created_ms = T0 + number;
	s->auth_ms = s->created_ms;
	s->last_seen_ms = s->created_ms;
	s->idle_ms = 30 * 60 * 1000;
	s->absolute_ms = s->created_ms + 8 * 3600 * 1000;
	return s;
}

void
fill_utf8(char *out, size_t size)
{
	static const char *const characters[] = {"\xf0\x9f\x94\x91", /* 4 */
	    "\xe2\x82\xac", "\xc3\xbc", "x"};
	size_t len = 0;
	size_t i = 0;

	memset(out, 0, size);
	while (len < size - 1) {
		if (strlen(characters[i]) > size - 1 - len) {
			i++;
			continue;
		}
		memcpy(out + len, characters[i], strlen(characters[i]));
		len += strlen(characters[i]);
	}
}

/* `count` names of `len` bytes, with separators between them. */
static void
set_list(char **field, size_t count, size_t len, char separator)
{
	size_t size = count * (len + 1);
	char *text = malloc(size);
	size_t i;

	assert_non_null(text);
	memset(text, 'r', size);
	for (i = 1; i <= count; i++)
		text[i * (len + 1) - 1] = separator;
	text[size - 1] = '\0';
	set_heap(field, text);
	free(text);
}

struct sgate_session *
make_largest_session(unsigned number)
{
	const size_t data_len = 65536;
	struct sgate_session *s = make_session(0xff, number);
	char *data = malloc(data_len + 1);

	assert_non_null(data);
	memset(data, 'd', data_len);
	memcpy(data, "{\"a\":\"", 6);
	memcpy(data + data_len - 2, "\"}", 3);
	set_heap(&s->data, data);
	free(data);
	s->seq = (uint64_t)1 << 62;
	s->version = UINT64_C(999999999999);
	s->state = SESSION_ENDED;
	s->end_reason = SGATE_REASON_COUNT - 1;
	s->ended_ms = T0 + 5;
	memset(s->realm, 'R', sizeof(s->realm) - 1);
	fill_utf8(s->user, sizeof(s->user));
	s->has_prev = true;
	memset(s->prev_hash, 0xfe, sizeof(s->prev_hash));
	s->prev_until_ms = T0 + 6;
	s->successor_used_ms = T0 + 7;
	fill_utf8(s->context, sizeof(s->context));
	set_list(&s->contexts, SESSION_CONTEXTS_MAX, SESSION_CONTEXT_MAX, '\n');
	set_list(&s->roles, SESSION_ROLES_MAX, SESSION_ROLE_MAX, ',');
	set_list(&s->exports, 1, SESSION_EXPORTS_MAX, '\n');
	s->idle_ms = INT64_C(365) * 86400 * 1000;
	memset(s->client_ip, 0xff, 16);
	s->client_ip_len = 16;
	memset(s->user_agent, 0xe4, sizeof(s->user_agent) - 1);
	return s;
}

void
assert_sessions_equal(
    const struct sgate_session *a, const struct sgate_session *b)
{
	assert_memory_equal(&a->ref, &b->ref, sizeof(a->ref));
	assert_true(a->seq == b->seq && a->version == b->version);
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->end_reason, b->end_reason);
	assert_true(a->ended_ms == b->ended_ms);
	assert_string_equal(a->realm, b->realm);
	assert_string_equal(a->user, b->user);
	assert_memory_equal(
	    a->secret_hash, b->secret_hash, sizeof(a->secret_hash));
	assert_int_equal(a->has_prev, b->has_prev);
	assert_memory_equal(a->prev_hash, b->prev_hash, sizeof(a->prev_hash));
	assert_true(a->prev_until_ms == b->prev_until_ms);
	assert_true(a->successor_used_ms == b->successor_used_ms);
	assert_string_equal(a->context, b->context);
	assert_string_equal(a->contexts, b->contexts);
	assert_string_equal(a->roles, b->roles);
	assert_string_equal(a->exports, b->exports);
	assert_string_equal(a->data, b->data);
	assert_true(a->created_ms == b->created_ms);
	assert_true(a->auth_ms == b->auth_ms);
	assert_true(a->last_seen_ms == b->last_seen_ms);
	assert_true(a->idle_ms == b->idle_ms);
	assert_true(a->absolute_ms == b->absolute_ms);
	assert_int_equal(a->client_ip_len, b->client_ip_len);
	assert_memory_equal(a->client_ip, b->client_ip, 16);
	assert_string_equal(a->user_agent, b->user_agent);
}

struct durable_audit
make_audit(int64_t at_ms, unsigned number)
{
	struct durable_audit audit = {.at_ms = at_ms};
	int i;

	for (i = 5; i >= 0; i--, at_ms >>= 8)
		audit.event_id[i] = (unsigned char)(at_ms & 0xff);
	audit.event_id[14] = (unsigned char)(number >> 8);
	audit.event_id[15] = (unsigned char)number;
	set_text(audit.host, sizeof(audit.host), "host");
	set_text(audit.actor, sizeof(audit.actor), "library");
	set_text(audit.kind, sizeof(audit.kind), "create");
	set_text(audit.user, sizeof(audit.user), "anna");
	return audit;
}

void
add_session(struct fixture *f, struct sgate_session *session)
{
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, session, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
	sgate_session_free(session);
}

void
add_audit(struct fixture *f, const struct durable_audit *audit)
{
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->audit_insert(f->a, audit, &f->err));
	assert_ok(f, f->ops->commit(f->a, &f->err));
}

struct sgate_session *
get_session(struct fixture *f, struct durable *d, const struct sgate_ref *ref)
{
	struct sgate_session *session = NULL;
	enum sgate_status status =
	    f->ops->session_get(d, ref, 0, &session, NULL, &f->err);

	if (status != SGATE_NOT_FOUND)
		assert_ok(f, status);
	else
		assert_null(session);
	return session;
}

bool
has_session(struct fixture *f, struct durable *d, const struct sgate_ref *ref)
{
	struct sgate_session *session = get_session(f, d, ref);
	bool is_there = session != NULL;

	sgate_session_free(session);
	return is_there;
}

/* ---- the fake's script ---- */

static void
the_nth_call_answers_as_scripted_and_the_next_is_normal(struct fixture *f)
{
	const struct sgate_ref ref = make_ref(1, 1);
	struct sgate_session *s;

	fake_script("ping", 2, FAKE_UNAVAILABLE);
	assert_ok(f, f->ops->ping(f->a, &f->err));
	assert_status(f, SGATE_UNAVAILABLE, f->ops->ping(f->a, &f->err));
	assert_int_equal(f->err.reason, SGATE_REASON_STORE);
	assert_ok(f, f->ops->ping(f->a, &f->err));
	assert_int_equal(fake_calls("ping"), 3);
	fake_script("session_get", 1, FAKE_CORRUPT);
	fake_script("session_get", 2, FAKE_NO_MEMORY);
	assert_status(f, SGATE_CORRUPT,
	    f->ops->session_get(f->a, &ref, 0, &s, NULL, &f->err));
	assert_status(f, SGATE_NO_MEMORY,
	    f->ops->session_get(f->a, &ref, 0, &s, NULL, &f->err));
	assert_status(f, SGATE_NOT_FOUND,
	    f->ops->session_get(f->a, &ref, 0, &s, NULL, &f->err));
}

static void
commit_one_scripted(struct fixture *f, unsigned number, enum fake_answer answer)
{
	struct sgate_session *s = make_session(1, number);

	fake_script("commit", 1, answer);
	assert_ok(f, f->ops->begin(f->a, &f->err));
	assert_ok(f, f->ops->session_insert(f->a, s, &f->err));
	assert_status(f,
	    answer == FAKE_UNAVAILABLE ? SGATE_UNAVAILABLE : SGATE_UNCERTAIN,
	    f->ops->commit(f->a, &f->err));
	f->ops->rollback(f->a);
	assert_true(fake_is_idle());
	sgate_session_free(s);
}

static void
a_scripted_commit_is_done_or_lost_as_it_says(struct fixture *f)
{
	const struct sgate_ref done = make_ref(1, 1);
	const struct sgate_ref lost = make_ref(1, 2);
	const struct sgate_ref refused = make_ref(1, 3);

	commit_one_scripted(f, 1, FAKE_UNCERTAIN_DONE);
	commit_one_scripted(f, 2, FAKE_UNCERTAIN_LOST);
	commit_one_scripted(f, 3, FAKE_UNAVAILABLE);
	assert_true(has_session(f, f->b, &done));
	assert_false(has_session(f, f->b, &lost));
	assert_false(has_session(f, f->b, &refused));
}

static void
a_scripted_touch_is_done_or_lost_as_it_says(struct fixture *f)
{
	struct durable_touch touch = {.ref = make_ref(1, 1)};
	struct sgate_session *s;

	add_session(f, make_session(1, 1));
	fake_script("touch", 1, FAKE_UNCERTAIN_DONE);
	fake_script("touch", 2, FAKE_UNCERTAIN_LOST);
	touch.last_seen_ms = T0 + 1000;
	assert_status(
	    f, SGATE_UNCERTAIN, f->ops->touch(f->a, &touch, 1, &f->err));
	touch.last_seen_ms = T0 + 2000;
	assert_status(
	    f, SGATE_UNCERTAIN, f->ops->touch(f->a, &touch, 1, &f->err));
	s = get_session(f, f->b, &touch.ref);
	assert_true(s->last_seen_ms == T0 + 1000);
	sgate_session_free(s);
}

const struct contract_case fake_cases[] = {
#define CASE(name)                                                             \
	{                                                                      \
#name, name, NEEDS_FAKE                                        \
	}
    CASE(the_nth_call_answers_as_scripted_and_the_next_is_normal),
    CASE(a_scripted_commit_is_done_or_lost_as_it_says),
    CASE(a_scripted_touch_is_done_or_lost_as_it_says),
#undef CASE
    {NULL, NULL, 0},
};

/* ---- the frame ---- */

/* One test of cmocka: a case on a store. */
struct run {
	char name[128];
	const struct durable_ops *ops;
	const struct contract_case *contract;
};

static void
remove_directory(const char *path)
{
	char name[512];
	struct dirent *entry;
	DIR *dir = opendir(path);

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (unlink(name) != 0)
			rmdir(name);
	}
	closedir(dir);
	rmdir(path);
}

static void
run_case(void **state)
{
	const struct run *run = *state;
	struct fixture f = {.ops = run->ops};

	set_text(f.directory, sizeof(f.directory), "/tmp/sessgate-XXXXXX");
	assert_non_null(mkdtemp(f.directory));
	snprintf(f.file, sizeof(f.file), "%s/store.db", f.directory);
	f.conf.sqlite.file = f.file;
#ifdef CONTRACT_MYSQL
	server_open_case(&f);
#endif
	if (f.ops == &durable_fake)
		fake_reset(false);
	f.a = open_handle(&f);
	f.b = open_handle(&f);
	assert_ok(&f, f.ops->schema_init(f.a, &f.err));
	run->contract->run(&f);
	if (f.ops == &durable_fake)
		assert_true(fake_is_idle());
	f.ops->close(f.b);
	f.ops->close(f.a);
	if (f.ops == &durable_fake)
		fake_reset(false);
#ifdef CONTRACT_MYSQL
	server_close_case(&f);
#endif
	remove_directory(f.directory);
}

static size_t
add_runs(struct run *runs, size_t count, const struct durable_ops *ops,
    const struct contract_case *cases)
{
	unsigned has = NEEDS_PROCESSES;

	if (ops == &durable_fake)
		has = NEEDS_FAKE | NEEDS_ONE_WRITER;
	if (ops == &durable_sqlite)
		has |= NEEDS_SQLITE | NEEDS_ONE_WRITER;
	if (ops == &durable_mysql)
		has |= NEEDS_MYSQL;
	if (ops->snapshot != NULL)
		has |= NEEDS_COPIES;
	if (ops->lock_many != NULL)
		has |= NEEDS_MANY;
	for (; cases->name != NULL; cases++) {
		if ((cases->needs & ~has) != 0)
			continue;
		if (count == CASES_MAX)
			abort();
		snprintf(runs[count].name, sizeof(runs[count].name), "%s: %s",
		    ops->name, cases->name);
		runs[count].ops = ops;
		runs[count].contract = cases;
		count++;
	}
	return count;
}

static size_t
add_store(struct run *runs, size_t count, const struct durable_ops *ops)
{
	count = add_runs(runs, count, ops, row_cases);
	count = add_runs(runs, count, ops, list_cases);
	count = add_runs(runs, count, ops, copy_cases);
	count = add_runs(runs, count, ops, create_cases);
	count = add_runs(runs, count, ops, change_cases);
	count = add_runs(runs, count, ops, process_cases);
#ifdef CONTRACT_MYSQL
	count = add_runs(runs, count, ops, mysql_cases);
#else
	count = add_runs(runs, count, ops, sqlite_cases);
#endif
	return add_runs(runs, count, ops, fake_cases);
}

#ifdef CONTRACT_MYSQL
static size_t
add_stores(struct run *runs)
{
	return add_store(runs, 0, &durable_mysql);
}

#define SETUP server_open
#define TEARDOWN server_close
#else
static size_t
add_stores(struct run *runs)
{
	size_t count = 0;
	size_t i;

	for (i = 0; durable_stores[i] != NULL; i++)
		if (durable_stores[i] != &durable_mysql)
			count = add_store(runs, count, durable_stores[i]);
	return add_store(runs, count, &durable_fake);
}

void
use_new_store(struct fixture *f)
{
	snprintf(f->file, sizeof(f->file), "%s/new.db", f->directory);
}

#define SETUP NULL
#define TEARDOWN NULL
#endif

int
main(int argc, char **argv)
{
	static struct run runs[CASES_MAX];
	static struct CMUnitTest tests[CASES_MAX];
	char pattern[128];
	size_t count;
	size_t i;

#ifdef CONTRACT_MYSQL
	if (server_missing() != NULL)
		return server_skip();
#endif
	count = add_stores(runs);
	for (i = 0; i < count; i++) {
		tests[i].name = runs[i].name;
		tests[i].test_func = run_case;
		tests[i].initial_state = &runs[i];
	}
	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (argc > 1) {
		snprintf(pattern, sizeof(pattern), "*%s*", argv[1]);
		cmocka_set_test_filter(pattern);
	}
	return _cmocka_run_group_tests(
	    "durable", tests, count, SETUP, TEARDOWN);
}
