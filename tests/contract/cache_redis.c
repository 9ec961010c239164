/*
 * The cache contract: what is Redis's own: a server that stops, dies, comes
 * back with an old dump, is short of memory or a replica; users, databases and
 * prefixes; scripts by their hash; and memory of ours that runs out.
 */
#include "config.h"

#include "cache_server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache_fake.h"
#include "clock.h"
#include "no_memory.h"
#include "token.h"

#define DEADLINE_MS 60
#define LATEST_MS (DEADLINE_MS + 400)

/* ---- every operation, on handle a ---- */

typedef enum sgate_status operation_fn(struct fixture *f);

static enum sgate_status
do_get(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_copy copy;

	return f->ops->get(f->a, &ref, &copy, &f->err);
}

static enum sgate_status
do_peek(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_copy copy;

	return f->ops->peek(f->a, &ref, &copy, &f->err);
}

static enum sgate_status
do_put(struct fixture *f)
{
	struct cache_item item = make_item(1, make_record(1, 1, 5, "b"));
	enum cache_put answer;
	struct cache_copy copy;

	return f->ops->put(f->a, &item, 1, NONE, &answer, &copy, &f->err);
}

static enum sgate_status
do_end(struct fixture *f)
{
	struct cache_item items[2] = {make_item(2, make_tombstone(1, 1)),
	    make_item(3, make_tombstone(1, 1))};

	items[1].ref = make_ref(GROUP + 1, 3);
	return f->ops->end(f->a, items, 2, 0, &f->err);
}

static enum sgate_status
do_touch(struct fixture *f)
{
	struct cache_touch items[2] = {{make_ref(GROUP, 1), 9, MINUTE_MS},
	    {make_ref(GROUP, 2), 9, MINUTE_MS}};

	return f->ops->touch(f->a, items, 2, &f->err);
}

static enum sgate_status
do_sync_get(struct fixture *f)
{
	char sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];

	return f->ops->sync_get(f->a, sync, &f->err);
}

static enum sgate_status
do_apply(struct fixture *f)
{
	struct cache_item item = make_item(4, make_record(1, 1, 5, "b"));
	char sync[CACHE_SYNC_MAX + 1];

	return f->ops->apply(
	    f->a, GROUP, "1 s", "1 s", &item, 1, sync, &f->err);
}

static enum sgate_status
do_sync_set(struct fixture *f)
{
	return f->ops->sync_set(f->a, GROUP, "1 s", &f->err);
}

static const unsigned char ann[TOKEN_USER_BYTES] = {1};

static enum sgate_status
do_create(struct fixture *f)
{
	struct cache_item item = make_item(8, make_record(1, 1, 5, "b"));
	char record[64];
	enum cache_put answer;
	struct cache_copy copy;

	snprintf(record, sizeof(record), "U%.*s", (int)item.record.len - 1,
	    item.record.data + 1);
	item.record = bytes_of(record);
	return f->ops->create(
	    f->a, &item, 1, ann, MINUTE_MS, 0, &answer, &copy, &f->err);
}

static enum sgate_status
do_land(struct fixture *f)
{
	struct cache_item item = make_item(9, make_record(1, 1, 5, "b"));
	enum cache_put answer;
	struct cache_copy copy;

	return f->ops->land(f->a, &item, ann, &answer, &copy, &f->err);
}

static enum sgate_status
do_unlanded(struct fixture *f)
{
	struct sgate_ref refs[CACHE_UNLANDED_MAX];
	uint64_t cursor = 0;
	size_t count;

	return f->ops->unlanded(
	    f->a, GROUP, ann, &cursor, refs, &count, &f->err);
}

static enum sgate_status
do_landed(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 9);

	return f->ops->landed(f->a, GROUP, ann, &ref, 1, &f->err);
}

static enum sgate_status
do_ping(struct fixture *f)
{
	return f->ops->ping(f->a, &f->err);
}

static operation_fn *const operations[] = {do_sync_set, do_ping, do_get,
    do_peek, do_put, do_end, do_touch, do_sync_get, do_apply, do_create,
    do_land, do_unlanded, do_landed};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static void
assert_all_ok(struct fixture *f)
{
	size_t i;

	for (i = 0; i < OPERATIONS; i++)
		assert_ok(f, operations[i](f));
}

static void
reopen(struct fixture *f)
{
	f->ops->close(f->a);
	f->a = open_handle(f);
}

static void
assert_timed_out(struct fixture *f, operation_fn *operation)
{
	int64_t began_ms = clock_monotonic_ms();

	f->a->deadline_ms = began_ms + DEADLINE_MS;
	assert_status(f, SGATE_UNAVAILABLE, operation(f));
	assert_int_equal(f->err.native_code, ETIMEDOUT);
	assert_in_range(
	    clock_monotonic_ms() - began_ms, DEADLINE_MS - 2, LATEST_MS);
}

/* ---- scripts ---- */

static unsigned
evals(void)
{
	const char *stats = server_run("INFO commandstats");
	const char *line = strstr(stats, "cmdstat_eval:calls=");

	return line == NULL
		   ? 0
		   : (unsigned)strtoul(
			 line + strlen("cmdstat_eval:calls="), NULL, 10);
}

/* A wrong hash would work, and send the text each time. */
static void
a_script_is_sent_once_and_then_called_by_its_hash(struct fixture *f)
{
	assert_all_ok(f);
	/* Each of two groups and of two touches asked at once. */
	assert_int_equal(evals(), 9);
	assert_all_ok(f);
	assert_all_ok(f);
	assert_int_equal(evals(), 9);
	server_run("SCRIPT FLUSH");
	assert_all_ok(f);
	assert_int_equal(evals(), 18);
	assert_all_ok(f);
	assert_int_equal(evals(), 18);
}

/* That it is not known would be told behind the WAIT, when time is up. */
static void
a_script_before_a_wait_is_sent_each_time(struct fixture *f)
{
	struct cache_item item = make_item(1, make_tombstone(1, 1));
	unsigned i;

	for (i = 0; i < 2; i++) {
		f->a->deadline_ms = clock_monotonic_ms() + 800;
		assert_status(f, SGATE_UNAVAILABLE,
		    f->ops->end(f->a, &item, 1, 1, &f->err));
		assert_int_equal(f->err.native_code, 0);
		assert_err(f, "0 replicas have it");
	}
	assert_record(1, item.record);
	assert_int_equal(evals(), 2);
	assert_null(strstr(server_run("INFO commandstats"), "evalsha"));
}

/* ---- stopped ---- */

static void
a_server_that_is_stopped_costs_the_deadline(struct fixture *f)
{
	size_t i;

	assert_all_ok(f);
	redis_pause(&server);
	/* On the connection that is there, then on those that are made. */
	for (i = 0; i < OPERATIONS; i++)
		assert_timed_out(f, operations[i]);
	redis_resume(&server);
	allow_ms(f, 10000);
	assert_all_ok(f);
}

static void
what_a_stopped_server_was_sent_it_does_later(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 2);
	struct sgate_ref other = make_ref(GROUP, 5);
	struct cache_copy copy;

	assert_all_ok(f);
	raw_set(&ref, make_record(1, 1, 5, "b"), MINUTE_MS);
	raw_set(&other, make_record(1, 1, 5, "other"), MINUTE_MS);
	redis_pause(&server);
	assert_timed_out(f, do_end);
	redis_resume(&server);
	allow_ms(f, 10000);
	/* The late answer to the end is nobody's. */
	assert_ok(f, f->ops->get(f->a, &other, &copy, &f->err));
	assert_bytes(copy.record, make_record(1, 1, 5, "other"));
	assert_bytes(raw_record(&ref), make_tombstone(1, 1));
}

/* Two sessions, many times, while the server stops at any moment. */
static void
no_answer_is_ever_another_session_s(struct fixture *f)
{
	struct sgate_ref refs[2] = {make_ref(GROUP, 1), make_ref(GROUP, 2)};
	unsigned round, answered = 0;
	struct cache_copy copy;

	raw_set(&refs[0], make_record(1, 1, 5, "anna"), 10 * MINUTE_MS);
	raw_set(&refs[1], make_record(1, 1, 5, "boris"), 10 * MINUTE_MS);
	for (round = 0; round < 60; round++) {
		if (round % 3 == 0)
			redis_pause(&server);
		f->a->deadline_ms = clock_monotonic_ms() + 5;
		if (f->ops->get(f->a, &refs[0], &copy, &f->err) == SGATE_OK) {
			assert_bytes(copy.record, make_record(1, 1, 5, "anna"));
			answered++;
		}
		if (round % 3 == 0)
			redis_resume(&server);
		f->a->deadline_ms = clock_monotonic_ms() + 1000;
		assert_ok(f, f->ops->get(f->a, &refs[1], &copy, &f->err));
		assert_bytes(copy.record, make_record(1, 1, 5, "boris"));
	}
	assert_in_range(answered, 1, 59);
}

/* ---- dead ---- */

static void
a_server_that_was_started_anew_is_found_at_once(struct fixture *f)
{
	assert_all_ok(f);
	redis_kill(&server);
	assert_status(f, SGATE_UNAVAILABLE, do_get(f));
	assert_int_equal(f->err.native_code, ECONNREFUSED);
	assert_true(redis_start(&server));
	assert_all_ok(f);
	redis_kill(&server);
	assert_true(redis_start(&server));
	/* The connection is dead, and nobody has to find out by failing. */
	assert_all_ok(f);
}

static void
an_old_dump_brings_back_what_it_has(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_copy copy;

	raw_set_sync(GROUP, bytes_of("1 s 1"));
	assert_int_equal(put(f, 1, make_record(1, 1, 5, "b"), 1), CACHE_PUT_OK);
	server_run("SAVE");
	end(f, 1, make_tombstone(1, 2));
	raw_set_sync(GROUP, bytes_of("2 s 1"));
	redis_kill(&server);
	assert_true(redis_start(&server));
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	/* Which is why sync stands beside it. */
	assert_bytes(copy.record, make_record(1, 1, 5, "b"));
	assert_string_equal(copy.sync, "1 s 1");
	server_run("FLUSHALL");
	server_run("SAVE");
}

static void
a_connection_that_the_server_ends_is_made_anew(struct fixture *f)
{
	assert_all_ok(f);
	server_run("CLIENT KILL TYPE normal SKIPME yes");
	assert_all_ok(f);
}

/* ---- refusing ---- */

static void
an_end_is_written_though_memory_is_short(struct fixture *f)
{
	struct cache_item item = make_item(5, make_record(1, 1, 5, "b"));
	struct cache_item rows[2] = {make_item(6, make_record(1, 2, 5, "row")),
	    make_item(7, make_tombstone(1, 2))};
	char sync[CACHE_SYNC_MAX + 1];
	struct sgate_ref ref = make_ref(GROUP, 1);
	enum cache_put answer;
	struct cache_copy copy;

	assert_all_ok(f);
	server_run("CONFIG SET maxmemory-policy noeviction");
	server_run("CONFIG SET maxmemory 1");
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->put(f->a, &item, 1, NONE, &answer, &copy, &f->err));
	assert_int_equal(f->err.native_code, 0);
	assert_err(f, "maxmemory");
	assert_record(5, NONE);
	end(f, 1, make_tombstone(1, 2));
	assert_record(1, make_tombstone(1, 2));
	assert_ok(f,
	    f->ops->apply(f->a, GROUP, "1 s", "2 s", rows, 2, sync, &f->err));
	assert_string_equal(sync, "2 s");
	assert_record(6, rows[0].record);
	assert_record(7, rows[1].record);
	/* Also when the scripts have to be sent. */
	server_run("SCRIPT FLUSH");
	end(f, 6, make_tombstone(1, 3));
	assert_record(6, make_tombstone(1, 3));
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_bytes(copy.record, make_tombstone(1, 2));
	server_run("CONFIG SET maxmemory 0");
	server_run("CONFIG SET maxmemory-policy volatile-ttl");
	assert_all_ok(f);
}

static void
a_replica_is_read_and_not_written(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_item item = make_item(5, make_record(1, 1, 5, "b"));
	struct cache_touch later = {ref, 99, MINUTE_MS};
	enum cache_put answer;
	struct cache_copy copy;

	assert_all_ok(f);
	server_run("CONFIG SET replica-serve-stale-data yes");
	server_run("REPLICAOF 127.0.0.1 1");
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_status(f, SGATE_UNAVAILABLE,
	    f->ops->put(f->a, &item, 1, NONE, &answer, &copy, &f->err));
	assert_err(f, "READONLY");
	assert_status(f, SGATE_UNAVAILABLE, do_end(f));
	assert_status(f, SGATE_UNAVAILABLE, do_apply(f));
	assert_status(
	    f, SGATE_UNAVAILABLE, f->ops->touch(f->a, &later, 1, &f->err));
	assert_status(f, SGATE_UNAVAILABLE, do_sync_set(f));
	assert_ok(f, do_sync_get(f));
	server_run("CONFIG SET replica-serve-stale-data no");
	assert_status(f, SGATE_UNAVAILABLE, do_get(f));
	assert_err(f, "MASTERDOWN");
	server_run("CONFIG SET replica-serve-stale-data yes");
	server_run("REPLICAOF NO ONE");
	assert_all_ok(f);
}

static void
a_key_of_another_kind_is_an_error_and_no_miss(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	char hex[SGATE_REF_HEX + 1], command[120];

	assert_ok(f, do_sync_set(f));
	sgate_ref_text(&ref, hex);
	snprintf(command, sizeof(command), "LPUSH sg:{%d}:s:%s x", GROUP, hex);
	server_run(command);
	assert_status(f, SGATE_UNAVAILABLE, do_put(f));
	assert_err(f, "redis.prefix");
	/* What has ended has, whatever stood there. */
	end(f, 1, make_tombstone(1, 1));
	assert_record(1, make_tombstone(1, 1));
}

/* ---- whom, where ---- */

static void
write_password(struct fixture *f, const char *directory, const char *password)
{
	static char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/password", directory);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fprintf(file, "%s\nnot this\n", password) > 0);
	fclose(file);
	assert_int_equal(chmod(path, 0600), 0);
	f->conf.redis.password_file = path;
}

/* The very rules of conf/README.md. */
#define RULES                                                                  \
	" resetkeys ~sg:* resetchannels -@all +ping +select +get +mget +set "  \
	"+getrange +setrange +pexpire +sadd +srem +sscan +eval +evalsha "      \
	"+multi +exec"

static void
a_user_needs_no_more_than_the_manual_says(struct fixture *f)
{
	static char user[] = "sessgate";

	server_run("ACL SETUSER sessgate reset on >secret" RULES);
	write_password(f, server.directory, "secret");
	f->conf.redis.user = user;
	f->conf.redis.database = 3;
	reopen(f);
	assert_all_ok(f);
	server_run("SCRIPT FLUSH");
	assert_all_ok(f);
	assert_string_equal(server_run("ACL LOG"), "0");
	server_run("ACL DELUSER sessgate");
}

static void
a_password_that_was_changed_is_read_anew(struct fixture *f)
{
	static char user[] = "sessgate";

	server_run("ACL SETUSER sessgate reset on >first" RULES);
	write_password(f, server.directory, "first");
	f->conf.redis.user = user;
	reopen(f);
	assert_ok(f, do_ping(f));
	server_run("ACL SETUSER sessgate resetpass >second");
	server_run("CLIENT KILL USER sessgate");
	assert_status(f, SGATE_UNAVAILABLE, do_get(f));
	assert_int_equal(f->err.native_code, EBUSY);
	assert_err(f, "WRONGPASS");
	assert_err(f, "redis.password_file");
	write_password(f, server.directory, "second");
	assert_ok(f, do_get(f));
	server_run("ACL DELUSER sessgate");
}

static void
a_user_who_may_not_do_enough_is_told(struct fixture *f)
{
	static char user[] = "sessgate";

	server_run("ACL SETUSER sessgate reset on nopass ~sg:* -@all +ping");
	f->conf.redis.user = user;
	reopen(f);
	assert_ok(f, do_ping(f));
	assert_status(f, SGATE_UNAVAILABLE, do_get(f));
	assert_err(f, "NOPERM");
	assert_err(f, "conf/README.md");
	server_run("ACL DELUSER sessgate");
}

/* And what is asked next does not end in a transaction that was left. */
static void
who_may_not_peek_reads_the_whole(struct fixture *f)
{
	static const char *const lacks[] = {"ACL SETUSER default -multi",
	    "ACL SETUSER default -exec", "ACL SETUSER default -getrange"};
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct buf record = {0};
	struct cache_copy copy;
	size_t i;

	raw_set_sync(GROUP, bytes_of("1 s"));
	buf_add_bytes(&record, make_record(1, 1, 5, ""));
	while (record.len < 2 * RECORD_PEEK_BYTES)
		buf_add_char(&record, 'x');
	raw_set(&ref, buf_bytes(&record), MINUTE_MS);
	for (i = 0; i < sizeof(lacks) / sizeof(lacks[0]); i++) {
		server_run(lacks[i]);
		assert_ok(f, f->ops->peek(f->a, &ref, &copy, &f->err));
		assert_bytes(copy.record, buf_bytes(&record));
		assert_string_equal(copy.sync, "1 s");
		assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
		assert_bytes(copy.record, buf_bytes(&record));
		server_run("ACL SETUSER default +@all");
		assert_ok(f, f->ops->peek(f->a, &ref, &copy, &f->err));
		assert_int_equal(copy.record.len, RECORD_PEEK_BYTES);
	}
	buf_clear(&record);
}

static void
databases_and_prefixes_are_worlds_of_their_own(struct fixture *f)
{
	static char prefix[] = "x.y-z_0";
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache_copy copy;

	assert_all_ok(f);
	f->conf.redis.database = 7;
	reopen(f);
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_int_equal(copy.record.len, 0);
	assert_string_equal(copy.sync, "");
	f->conf.redis.database = 0;
	f->conf.redis.prefix = prefix;
	reopen(f);
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_int_equal(copy.record.len, 0);
	assert_all_ok(f);
	assert_string_equal(server_run("EXISTS x.y-z_0:{3}:sync"), "1");
	assert_string_equal(server_run("EXISTS sg:{3}:sync"), "1");
}

static void
keys_are_those_that_are_documented(struct fixture *f)
{
	assert_all_ok(f);
	assert_string_equal(server_run("GET sg:{3}:sync"), "1 s");
	assert_string_equal(
	    server_run("EXISTS sg:{3}:s:a3ff00000000000000000001"), "1");
	assert_string_equal(
	    server_run("SISMEMBER sg:{3}:u:01000000000000000000000000000000 "
		       "a3ff00000000000000000008"),
	    "1");
	/* Four records of the group, one of the next, a set, a sync. */
	assert_string_equal(server_run("DBSIZE"), "7");
}

static void
a_database_that_is_not_there_is_told(struct fixture *f)
{
	f->conf.redis.database = 16000;
	reopen(f);
	assert_status(f, SGATE_UNAVAILABLE, do_end(f));
	assert_err(f, "DB index is out of range");
	assert_string_equal(server_run("DBSIZE"), "0");
}

/* A port that is free at this moment. */
static unsigned
open_port(void)
{
	struct buf out = {0};
	unsigned port = 20000 + (unsigned)getpid() * 7 % 40000;
	bool is_open = false;
	unsigned tries;

	for (tries = 0; !is_open && tries < 50; tries++) {
		char text[16];
		struct sgate_bytes words[] = {bytes_of("CONFIG"),
		    bytes_of("SET"), bytes_of("port"), {text, 0}};

		port++;
		snprintf(text, sizeof(text), "%u", port);
		words[3].len = strlen(text);
		is_open = redis_try_bytes(&server, &out, words, 4);
	}
	buf_clear(&out);
	assert_true(is_open);
	return port;
}

static void
it_is_reached_by_address_and_port(struct fixture *f)
{
	char address[32];

	snprintf(address, sizeof(address), "127.0.0.1:%u", open_port());
	f->conf.redis.address = address;
	reopen(f);
	assert_all_ok(f);
	server_run("CONFIG SET port 0");
}

/* ---- the fake one ---- */

/* What both are asked in one step, from the same random numbers. */
struct step {
	unsigned what, number, version, epoch, seen, counter;
	char sync[40];
};

static unsigned
roll(unsigned sides)
{
	return (unsigned)random() % sides;
}

static struct step
make_step(void)
{
	struct step step = {roll(10), roll(4), roll(5) + 1,
	    roll(12) == 0 ? 2 : 1, roll(50), roll(6), ""};

	snprintf(step.sync, sizeof(step.sync), "%u s %u%s", roll(6), roll(2),
	    roll(8) == 0 ? ";n;1" : "");
	return step;
}

/* What it answered, as text. */
static void
take_step(struct fixture *f, const struct cache_ops *ops, struct cache *c,
    const struct step *step, struct buf *out)
{
	struct sgate_bytes record =
	    make_record(step->epoch, step->version, step->seen, "body");
	struct sgate_bytes tombstone =
	    make_tombstone(step->epoch, step->version);
	struct cache_item items[2] = {make_item(step->number, record),
	    make_item((step->number + 1) % 4, tombstone)};
	struct cache_touch touch = {
	    items[0].ref, step->seen, (step->seen + 1) * MINUTE_MS};
	char sync[CACHE_SYNC_MAX + 1] = "";
	struct cache_copy copy = {.sync = ""}, found;
	enum cache_put answer = CACHE_PUT_OK;

	c->deadline_ms = clock_monotonic_ms() + 10000;
	switch (step->what) {
	case 0:
		assert_ok(f, ops->end(c, &items[1], 1, 0, &f->err));
		break;
	case 1:
	case 2:
		assert_ok(f, ops->touch(c, &touch, 1, &f->err));
		break;
	case 3:
		assert_ok(f, ops->sync_set(c, GROUP, step->sync, &f->err));
		break;
	case 4:
		assert_ok(f, ops->get(c, &items[0].ref, &found, &f->err));
		assert_ok(f, ops->apply(c, GROUP, found.sync, step->sync, items,
				 2, sync, &f->err));
		break;
	case 5:
		assert_ok(f, ops->apply(c, GROUP, step->sync, "5 s 1", items, 2,
				 sync, &f->err));
		break;
	case 6:
		assert_ok(f, ops->put(c, &items[0], step->counter,
				 make_record(1, step->version, 0, "body"),
				 &answer, &copy, &f->err));
		break;
	default:
		assert_ok(f, ops->put(c, &items[0], step->counter, NONE,
				 &answer, &copy, &f->err));
		break;
	}
	buf_printf(out, "%d %s %.*s\n", (int)answer, sync, (int)copy.record.len,
	    copy.record.data == NULL ? "" : copy.record.data);
	assert_ok(f, ops->get(c, &items[0].ref, &copy, &f->err));
	buf_printf(out, "%s %.*s\n", copy.sync, (int)copy.record.len,
	    copy.record.data == NULL ? "" : copy.record.data);
}

/* Two writings of the same rules, in Lua and in C, and thousands of steps. */
static void
the_fake_one_does_as_redis_does(struct fixture *f)
{
	struct buf a = {0}, b = {0};
	struct cache *fake = NULL;
	unsigned i, number;

	srandom(20261122);
	cache_fake_reset();
	assert_ok(f, cache_fake.open(&f->conf, &fake, &f->err));
	for (i = 0; i < 4000; i++) {
		struct step step = make_step();

		if (i % 200 == 0) {
			server_run("FLUSHALL");
			cache_fake_flush();
		}
		buf_reset(&a);
		buf_reset(&b);
		take_step(f, f->ops, f->a, &step, &a);
		take_step(f, &cache_fake, fake, &step, &b);
		assert_string_equal(buf_text(&a), buf_text(&b));
		if (i % 20 != 0)
			continue;
		for (number = 0; number < 4; number++) {
			struct sgate_ref ref = make_ref(GROUP, number);
			int64_t left_ms = cache_fake_ttl(&ref) - raw_ttl(&ref);

			assert_in_range(left_ms + 1000, 900, 30000);
		}
	}
	cache_fake.close(fake);
	cache_fake_reset();
	buf_clear(&a);
	buf_clear(&b);
}

/* ---- our own memory ---- */

static void
try_without_memory(struct fixture *f, operation_fn *operation, bool is_fresh)
{
	enum sgate_status status = SGATE_NO_MEMORY;
	int n;

	for (n = 0; status != SGATE_OK; n++) {
		assert_in_range(n, 0, 50);
		if (is_fresh)
			reopen(f);
		no_memory_countdown = n;
		status = operation(f);
		no_memory_countdown = -1;
		if (status != SGATE_OK)
			assert_int_equal(status, SGATE_NO_MEMORY);
		allow_ms(f, 10000);
	}
}

static void
memory_that_is_out_is_told_and_comes_back(struct fixture *f)
{
	struct sgate_ref ref = make_ref(GROUP, 1);
	struct cache *c = NULL;
	struct cache_copy copy;
	size_t i;
	int n;

	assert_all_ok(f);
	for (i = 0; i < OPERATIONS; i++) {
		try_without_memory(f, operations[i], true);
		try_without_memory(f, operations[i], false);
	}
	assert_ok(f, f->ops->get(f->a, &ref, &copy, &f->err));
	assert_bytes(copy.record, make_record(1, 1, 9, "b"));
	for (n = 0; c == NULL; n++) {
		assert_in_range(n, 0, 20);
		no_memory_countdown = n;
		f->ops->open(&f->conf, &c, &f->err);
		no_memory_countdown = -1;
	}
	f->ops->close(c);
}

#define CASE(name)                                                             \
	{                                                                      \
#name, name                                                    \
	}
const struct contract_case redis_cases[] = {
    CASE(a_script_is_sent_once_and_then_called_by_its_hash),
    CASE(a_script_before_a_wait_is_sent_each_time),
    CASE(a_server_that_is_stopped_costs_the_deadline),
    CASE(what_a_stopped_server_was_sent_it_does_later),
    CASE(no_answer_is_ever_another_session_s),
    CASE(a_server_that_was_started_anew_is_found_at_once),
    CASE(an_old_dump_brings_back_what_it_has),
    CASE(a_connection_that_the_server_ends_is_made_anew),
    CASE(an_end_is_written_though_memory_is_short),
    CASE(a_replica_is_read_and_not_written),
    CASE(a_key_of_another_kind_is_an_error_and_no_miss),
    CASE(a_user_needs_no_more_than_the_manual_says),
    CASE(a_password_that_was_changed_is_read_anew),
    CASE(a_user_who_may_not_do_enough_is_told),
    CASE(who_may_not_peek_reads_the_whole),
    CASE(databases_and_prefixes_are_worlds_of_their_own),
    CASE(keys_are_those_that_are_documented),
    CASE(a_database_that_is_not_there_is_told),
    CASE(it_is_reached_by_address_and_port),
    CASE(the_fake_one_does_as_redis_does),
    CASE(memory_that_is_out_is_told_and_comes_back), {NULL, NULL}};
