/*
 * Every allocation and every write failing in turn, over a private MariaDB and
 * a private Redis, those of the client libraries included: the n-th one of a
 * call fails, for every n until the call comes to its end without it. Each
 * time: no crash, no leak (the sanitizer's build), an answer that is true,
 * never "allowed" where it is not, and the next call works.
 */
#include "config.h"

#include "tap.h"

#include "faulty.h"
#include "mariadb.h"
#include "world.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "spool.h"

/* More than any call makes: then something does not end. */
#define STEPS_MAX 3000

static struct mariadb server;

/*
 * libmariadb 3.3 forgets the columns of an answer when it has no memory to
 * unpack them. What we might forget of its answers the contract's other tests
 * show.
 */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libmariadb\n";
}

struct sweep {
	struct world w;
	struct made made;
	char dir[80]; /* of a spool, and of the fence's file */
	struct spool_limits limits;
	bool has_ended; /* the session, whatever the call */
};

/* One call: its answer. */
typedef enum sgate_status call_fn(struct sweep *s, struct sgate_manager *mgr);
struct call {
	const char *name;
	call_fn *run;
	bool ends; /* the session */
	bool changes;
	bool renews;   /* the next one needs another session */
	bool spools;   /* and another spool */
	bool connects; /* anew each time */
};

static const char *const kind_texts[] = {
    "memory", "errors", "full", "interrupted", "short"};

/* ---- the calls ---- */

static enum sgate_status
got(enum sgate_status status, struct sgate_session *session, char *token)
{
	assert_int_equal(session != NULL, status == SGATE_OK);
	if (status != SGATE_OK)
		assert_null(token);
	sgate_session_free(session);
	sgate_token_free(token);
	return status;
}

static enum sgate_status
call_create(struct sweep *s, struct sgate_manager *mgr)
{
	const struct sgate_bytes roles[] = {B("a"), B("b")};
	struct sgate_create create = {.user_id = B("bob"),
	    .roles = roles,
	    .roles_count = 2,
	    .data = B("{\"a\":[1,2],\"color\":\"red\"}")};
	struct sgate_session *session = NULL;
	char *token = NULL;
	enum sgate_status status;

	status =
	    sgate_session_create(mgr, &create, &session, &token, &s->w.err);
	return got(status, session, token);
}

/* Whatever fails: the right user, or no answer. */
static enum sgate_status
call_get(struct sweep *s, struct sgate_manager *mgr)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;

	status =
	    sgate_session_get(mgr, B(s->made.token), 0, &session, &s->w.err);
	if (status == SGATE_OK) {
		assert_bytes(sgate_session_get_user_id(session), "ann");
		assert_false(s->has_ended);
	}
	if (status == SGATE_NOT_FOUND)
		assert_true(s->has_ended);
	return got(status, session, NULL);
}

static enum sgate_status
call_get_ended(struct sweep *s, struct sgate_manager *mgr)
{
	enum sgate_status status = call_get(s, mgr);

	assert_int_not_equal(status, SGATE_OK);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

/* A token that is no longer what it was. */
static enum sgate_status
call_get_forged(struct sweep *s, struct sgate_manager *mgr)
{
	struct sgate_session *session = NULL;
	char token[256];
	enum sgate_status status;
	size_t len = strlen(s->made.token);

	memcpy(token, s->made.token, len + 1);
	token[len - 1] = token[len - 1] == 'A' ? 'B' : 'A';
	status = sgate_session_get(mgr, B(token), 0, &session, &s->w.err);
	assert_int_not_equal(status, SGATE_OK);
	assert_null(session);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

static enum sgate_status
call_update(struct sweep *s, struct sgate_manager *mgr)
{
	struct sgate_update update = {.data_patch = B("{\"b\":{\"c\":[1]}}")};
	struct sgate_session *session = NULL;
	enum sgate_status status;

	status = sgate_session_update(
	    mgr, &s->made.ref, &update, &session, &s->w.err);
	return got(status, session, NULL);
}

static enum sgate_status
call_extend(struct sweep *s, struct sgate_manager *mgr)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;

	s->w.now_ms += MINUTE;
	status =
	    sgate_session_extend(mgr, B(s->made.token), &session, &s->w.err);
	return got(status, session, NULL);
}

static enum sgate_status
call_rotate(struct sweep *s, struct sgate_manager *mgr)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;
	char *token = NULL;

	status = sgate_session_rotate(
	    mgr, B(s->made.token), &session, &token, &s->w.err);
	return got(status, session, token);
}

static enum sgate_status
call_end(struct sweep *s, struct sgate_manager *mgr)
{
	return sgate_session_end_token(
	    mgr, B(s->made.token), SGATE_REASON_LOGGED_OUT, &s->w.err);
}

static enum sgate_status
call_cleanup(struct sweep *s, struct sgate_manager *mgr)
{
	uint64_t count;

	return sgate_user_cleanup(
	    mgr, B("ann"), NULL, SGATE_REASON_REVOKED, &count, &s->w.err);
}

static enum sgate_status
call_list(struct sweep *s, struct sgate_manager *mgr)
{
	struct sgate_list *list = NULL;
	enum sgate_status status;

	status = sgate_user_sessions(mgr, B("ann"), 10, &list, &s->w.err);
	assert_int_equal(list != NULL, status == SGATE_OK);
	if (list != NULL)
		assert_int_equal(sgate_list_count(list), 1);
	sgate_list_free(list);
	return status;
}

static enum sgate_status
call_reap(struct sweep *s, struct sgate_manager *mgr)
{
	struct sgate_reaped reaped;

	return sgate_reap(mgr, &reaped, &s->w.err);
}

/* A file that cannot be written is told of, and the round goes on. */
static enum sgate_status
call_round(struct sweep *s, struct sgate_manager *mgr)
{
	const struct manager_round round = {.runtime_dir = s->dir};
	enum sgate_status status = manager_fence_round(mgr, &round, &s->w.err);

	return status == SGATE_INTERNAL ? SGATE_UNAVAILABLE : status;
}

static enum sgate_status
call_append(struct sweep *s, struct sgate_manager *mgr)
{
	struct spool *spool = NULL;
	struct spool_frame frame;
	enum sgate_status status;

	memset(&frame, 0, sizeof(frame));
	frame.kind = SPOOL_END;
	frame.ended_ms = s->w.now_ms;
	frame.absolute_ms = s->w.now_ms + HOUR;
	audit_init(&frame.audit, mgr, "end", SGATE_REASON_LOGGED_OUT);
	frame.audit.has_ref = true;
	frame.audit.ref = s->made.ref;
	memcpy(frame.audit.user, "ann", 4);
	status = spool_open(&s->limits, &spool, &s->w.err);
	if (status == SGATE_OK)
		status = spool_append(spool, &frame, true, &s->w.err);
	spool_close(spool);
	return status;
}

/* Whatever is read is whole. */
static enum sgate_status
read_spool(struct sweep *s, struct sgate_manager *mgr)
{
	static struct spool_frame frame;
	struct spool_reader *reader = NULL;
	struct spool_place place;
	struct spool_state state;
	enum sgate_status status;
	bool is_done = false;

	status = spool_reader_open(
	    &s->limits, SPOOL_TO_DURABLE | SPOOL_TO_CACHE, &reader, &s->w.err);
	if (status == SGATE_OK)
		status = spool_look(reader, &s->w.err);
	if (status == SGATE_OK)
		status = spool_pass_begin(reader, SPOOL_TO_DURABLE, &s->w.err);
	while (status == SGATE_OK && spool_pass_next(reader, &frame, &place)) {
		assert_memory_equal(
		    frame.audit.ref.bytes, s->made.ref.bytes, SGATE_REF_BYTES);
		assert_string_equal(frame.audit.user, "ann");
		status =
		    manager_spool_apply(mgr, &frame, 1, &is_done, &s->w.err);
		if (status != SGATE_OK)
			break;
		spool_done(reader, &place, SPOOL_TO_DURABLE);
		spool_done(reader, &place, SPOOL_TO_CACHE);
	}
	if (status == SGATE_OK)
		status = spool_look(reader, &s->w.err);
	if (status == SGATE_OK) {
		spool_state(reader, &state);
		assert_int_equal(state.damaged, 0);
	}
	spool_reader_close(reader);
	return status;
}

/* An end is written and shipped. */
static enum sgate_status
call_ship(struct sweep *s, struct sgate_manager *mgr)
{
	enum sgate_status status = call_append(s, mgr);

	return status == SGATE_OK ? read_spool(s, mgr) : status;
}

static enum sgate_status
call_services(struct sweep *s, struct sgate_manager *mgr)
{
	struct durable_service service = {.name = "one", .scopes = "create"},
			       found;
	char key[MANAGER_SERVICE_KEY_LEN + 1];
	enum sgate_status status;

	status = manager_service_add(mgr, &service, key, &s->w.err);
	if (status == SGATE_OK)
		status = manager_service_check(mgr, B(key), &found, &s->w.err);
	if (status == SGATE_OK || status == SGATE_CONFLICT)
		status = manager_service_remove(mgr, "one", &s->w.err);
	return status;
}

static enum sgate_status
call_db(struct sweep *s, struct sgate_manager *mgr)
{
	struct sgate_db *db = NULL;
	enum sgate_status status;

	status = sgate_db_open(mgr, 0, &db, &s->w.err);
	assert_int_equal(db != NULL, status == SGATE_OK);
	if (status == SGATE_OK)
		status = sgate_db_exec(
		    db, "SELECT 1", NULL, 0, NULL, NULL, &s->w.err);
	if (status == SGATE_OK)
		status = sgate_db_commit(db, &s->w.err);
	sgate_db_close(db);
	return status;
}

/* ---- the sweep ---- */

static void
sweep_start(struct sweep *s)
{
	memset(s, 0, sizeof(*s));
	world_start(&s->w);
	snprintf(s->dir, sizeof(s->dir), "%s.d", s->w.dir);
	assert_int_equal(mkdir(s->dir, 0700), 0);
	s->limits = (struct spool_limits){
	    .dir = s->dir, .max_bytes = INT64_C(1) << 24, .keep_ms = MINUTE};
	world_create(&s->w, "ann", &s->made);
}

static void
sweep_stop(struct sweep *s)
{
	char command[128];

	made_clear(&s->made);
	snprintf(command, sizeof(command), "rm -r %s", s->dir);
	assert_int_equal(system(command), 0);
	world_close(&s->w);
}

static size_t
count_others(struct sweep *s)
{
	return world_audit(&s->w, NULL, &s->made.ref) -
	       world_audit(&s->w, "create", &s->made.ref) -
	       world_audit(&s->w, "end", &s->made.ref);
}

/* What was left there is shipped, so that an end may have come from there. */
static void
empty_spool(struct sweep *s)
{
	char command[128];

	breaker_close(&s->w.stores.durable, 1);
	breaker_close(&s->w.stores.cache, 1);
	assert_status(&s->w, read_spool(s, s->w.mgr), SGATE_OK);
	snprintf(command, sizeof(command), "rm -rf %s/*", s->dir);
	assert_int_equal(system(command), 0);
}

/* All is as the answer says, and everything works again. */
static void
check_after(struct sweep *s, const struct call *call, enum sgate_status status,
    uint64_t version)
{
	struct sgate_session *row;
	bool is_live, may_change = call->changes || call->ends;
	struct fence file;
	struct sgate_error err;

	assert_int_not_equal(
	    fence_file_read(s->dir, &file, &err), SGATE_CORRUPT);

	if (call->spools)
		empty_spool(s);
	/* What the keeper does: breakers close, Redis gets what it lacks. */
	breaker_close(&s->w.stores.durable, 1);
	breaker_close(&s->w.stores.cache, 1);
	world_round(&s->w);
	row = world_row(&s->w, &s->made.ref);
	is_live = row->state == SESSION_LIVE;
	if (!s->has_ended) {
		assert_true(is_live || call->ends);
		assert_true(!is_live || !call->ends || status != SGATE_OK);
		assert_true(row->version == version ||
			    (may_change && row->version == version + 1));
		if (call->changes && status == SGATE_OK)
			assert_int_equal(row->version, version + 1);
		assert_int_equal(
		    row->version, 1 + count_others(s) +
				      world_audit(&s->w, "end", &s->made.ref));
		assert_int_equal(
		    world_look(&s->w, s->made.token) == SGATE_REASON_OK,
		    is_live);
	}
	sgate_session_free(row);
	if ((is_live && !call->renews) || s->has_ended)
		return;
	made_clear(&s->made);
	world_create(&s->w, "ann", &s->made);
}

static bool
is_answer(enum sgate_status status)
{
	return status == SGATE_OK || status == SGATE_NO_MEMORY ||
	       status == SGATE_UNAVAILABLE || status == SGATE_UNCERTAIN ||
	       status == SGATE_INVALID;
}

/* is_fresh: with connecting, and all that a manager of its own needs. */
static enum sgate_status
run(struct sweep *s, const struct call *call, bool is_fresh)
{
	struct sgate_manager *mgr = s->w.mgr;
	enum sgate_status status = SGATE_OK;

	if (is_fresh)
		status = manager_new_with(
		    s->w.conf, NULL, NULL, NULL, &mgr, &s->w.err);
	if (status == SGATE_OK) {
		if (is_fresh) {
			mgr->clock = s->w.mgr->clock;
			mgr->clock_arg = s->w.mgr->clock_arg;
			manager_set_stores(mgr, &s->w.stores);
		}
		status = call->run(s, mgr);
	}
	if (is_fresh)
		sgate_manager_free(mgr);
	return status;
}

static unsigned
sweep_kind(
    struct sweep *s, const struct call *call, enum faulty kind, bool is_fresh)
{
	enum sgate_status status;
	struct sgate_session *row;
	uint64_t version;
	bool has_fired;
	int n;

	for (n = 0;; n++) {
		assert_true(n < STEPS_MAX);
		row = world_row(&s->w, &s->made.ref);
		version = row->version;
		sgate_session_free(row);
		memset(&s->w.err, 0, sizeof(s->w.err));
		faulty_arm(kind, n);
		status = run(s, call, is_fresh);
		has_fired = faulty_disarm();
		if (!is_answer(status))
			print_error("%s, %s %d: %s: %s\n", call->name,
			    kind_texts[kind], n, sgate_status_text(status),
			    s->w.err.text);
		assert_true(is_answer(status));
		check_after(s, call, status, version);
		if (!has_fired)
			break;
	}
	assert_status(&s->w, status, SGATE_OK);
	return (unsigned)n;
}

static void
sweep_call(const struct call *call, bool has_ended)
{
	unsigned counts[2][FAULTY_SHORT + 1] = {{0}};
	struct sgate_error err;
	struct sweep s;
	int kind, is_fresh;

	sweep_start(&s);
	if (has_ended) {
		assert_int_equal(sgate_session_end(s.w.mgr, &s.made.ref,
				     SGATE_REASON_LOGGED_OUT, &err),
		    SGATE_OK);
		s.has_ended = true;
	}
	/* Not memory while it connects: mysql_real_connect_start() of
	 * libmariadb 3.3 frees what mysql_close() goes to. What is our own
	 * there fails in unit/manager_memory. */
	for (is_fresh = 0; is_fresh < 2; is_fresh++)
		for (kind = is_fresh || call->connects ? FAULTY_FAIL
						       : FAULTY_MEMORY;
		     kind <= FAULTY_SHORT; kind++)
			counts[is_fresh][kind] = sweep_kind(
			    &s, call, (enum faulty)kind, is_fresh == 1);
	print_message(
	    "# %s: %u allocations, %u writes; with connecting %u writes\n",
	    call->name, counts[0][FAULTY_MEMORY], counts[0][FAULTY_FAIL],
	    counts[1][FAULTY_FAIL]);
	sweep_stop(&s);
}

#define SWEEP(call_name, ...)                                                  \
	static void call_name##_with_each_fault(void **state)                  \
	{                                                                      \
		const struct call call = {                                     \
		    .name = #call_name, .run = call_##call_name, __VA_ARGS__}; \
                                                                               \
		(void)state;                                                   \
		sweep_call(&call, call.run == call_get_ended);                 \
	}
SWEEP(create, .ends = false)
SWEEP(get, .ends = false)
SWEEP(get_ended, .ends = false)
SWEEP(get_forged, .ends = false)
SWEEP(update, .changes = true)
SWEEP(extend, .ends = false)
SWEEP(rotate, .changes = true, .renews = true)
SWEEP(end, .ends = true)
SWEEP(cleanup, .ends = true)
SWEEP(list, .ends = false)
SWEEP(reap, .ends = false)
SWEEP(round, .ends = false)
SWEEP(ship, .ends = true, .spools = true)
SWEEP(services, .ends = false)
SWEEP(db, .connects = true)

/* ---- files ---- */

static void
a_key_file_is_whole_or_as_it_was(void **state)
{
	char path[96], command[128];
	struct sgate_error err;
	enum sgate_status status;
	struct keys *keys;
	size_t count, before = 0;
	unsigned sum = 0;
	struct world w;
	int kind, n;
	uint8_t id;

	(void)state;
	world_open(&w);
	snprintf(path, sizeof(path), "%s/new", w.dir);
	for (kind = FAULTY_MEMORY; kind <= FAULTY_SHORT; kind++) {
		for (n = 0; n < STEPS_MAX; n++, sum++) {
			faulty_arm((enum faulty)kind, n);
			status = keys_create(path, w.now_ms, &err);
			if (status == SGATE_OK && before > 0)
				status =
				    keys_file_new(path, w.now_ms, &id, &err);
			if (!faulty_disarm())
				break;
			if (kind == FAULTY_SHORT)
				assert_int_equal(status, SGATE_OK);
			if (access(path, F_OK) != 0) {
				assert_int_not_equal(status, SGATE_OK);
				continue;
			}
			assert_status(
			    &w, keys_load(path, &keys, &w.err), SGATE_OK);
			count = keys_count(keys);
			keys_free(keys);
			assert_true(count == before || count == before + 1);
			if (status == SGATE_OK)
				assert_int_equal(count, before + 1);
			before = count;
			if (count > 10) {
				snprintf(
				    command, sizeof(command), "rm %s", path);
				assert_int_equal(system(command), 0);
				before = 0;
			}
		}
		assert_int_equal(status, SGATE_OK);
		assert_status(&w, keys_load(path, &keys, &w.err), SGATE_OK);
		before = keys_count(keys);
		keys_free(keys);
	}
	print_message("# keys: %u faults\n", sum);
	world_close(&w);
}

/* A line is there whole, or not at all; the next one begins a line. */
static void
a_log_line_that_cannot_be_written_spoils_no_other(void **state)
{
	char destination[96], line[256];
	const char *path;
	struct world w;
	FILE *file;
	int kind, n, sum = 0;

	(void)state;
	world_open(&w);
	snprintf(destination, sizeof(destination), "file:%s/log", w.dir);
	path = destination + strlen("file:");
	assert_int_equal(log_open(destination, LOG_LEVEL_INFO), 0);
	for (kind = FAULTY_FAIL; kind <= FAULTY_INTERRUPT; kind++)
		for (n = 0; n < 2; n++, sum++) {
			faulty_arm((enum faulty)kind, n);
			log_notice("first %d", n);
			log_notice("second %d", n);
			faulty_disarm();
			log_notice("last %d", n);
		}
	assert_int_equal(log_open("stderr", LOG_LEVEL_INFO), 0);
	file = fopen(path, "r");
	assert_non_null(file);
	n = 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		assert_non_null(strchr(line, '\n'));
		if (strstr(line, "last") != NULL)
			n++;
	}
	fclose(file);
	assert_int_equal(n, sum);
	world_close(&w);
}

static int
set_up(void **state)
{
	(void)state;
	if (!mariadb_open(&server))
		return -1;
	setenv("SESSGATE_TEST_MYSQL", server.socket, 1);
	setenv("SESSGATE_TEST_REDIS", "1", 1);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	mariadb_close(&server);
	return 0;
}

static const struct CMUnitTest sweeps[] = {
    cmocka_unit_test(create_with_each_fault),
    cmocka_unit_test(get_with_each_fault),
    cmocka_unit_test(get_ended_with_each_fault),
    cmocka_unit_test(get_forged_with_each_fault),
    cmocka_unit_test(update_with_each_fault),
    cmocka_unit_test(extend_with_each_fault),
    cmocka_unit_test(rotate_with_each_fault),
    cmocka_unit_test(end_with_each_fault),
    cmocka_unit_test(cleanup_with_each_fault),
    cmocka_unit_test(list_with_each_fault),
    cmocka_unit_test(reap_with_each_fault),
    cmocka_unit_test(round_with_each_fault),
    cmocka_unit_test(ship_with_each_fault),
    cmocka_unit_test(services_with_each_fault),
    cmocka_unit_test(db_with_each_fault),
    cmocka_unit_test(a_key_file_is_whole_or_as_it_was),
    cmocka_unit_test(a_log_line_that_cannot_be_written_spoils_no_other),
};

int
main(int argc, char **argv)
{
	const char *missing = mariadb_missing();
	char pattern[128];

	if (missing == NULL)
		missing = redis_missing();
	if (missing != NULL)
		return mariadb_skip(missing);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (argc > 1) {
		snprintf(pattern, sizeof(pattern), "*%s*", argv[1]);
		cmocka_set_test_filter(pattern);
	}
	return cmocka_run_group_tests(sweeps, set_up, tear_down);
}
