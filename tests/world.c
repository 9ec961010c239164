/* A small world for tests of the manager. */
#include "tap.h"

#include "world.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "keys.h"
#include "mariadb.h"

static int64_t
world_clock(void *arg)
{
	const struct world *w = arg;

	return w->now_ms;
}

static const char *
mysql_socket(void)
{
	return getenv("SESSGATE_TEST_MYSQL");
}

const char *
world_store(void)
{
	return mysql_socket() == NULL ? "sqlite" : "mysql";
}

bool
world_has_redis(void)
{
	return mysql_socket() != NULL && getenv("SESSGATE_TEST_REDIS") != NULL;
}

const char *
world_cache(void)
{
	return world_has_redis() ? "redis" : world_store();
}

static void
run_sql(const char *verb, const char *database)
{
	struct mariadb server = {.pid = 0};
	char sql[128];

	snprintf(server.socket, sizeof(server.socket), "%s", mysql_socket());
	snprintf(sql, sizeof(sql), "%s DATABASE %s", verb, database);
	mariadb_run(&server, NULL, sql);
}

static void
make_database(struct world *w)
{
	static unsigned number;

	snprintf(w->database, sizeof(w->database), "world_%d_%u", (int)getpid(),
	    ++number);
	run_sql("CREATE", w->database);
}

static int64_t
ask_rows_read(struct world *w)
{
	struct mariadb server = {.pid = 0};

	snprintf(server.socket, sizeof(server.socket), "%s", mysql_socket());
	return mariadb_number(&server, w->database,
	    "SELECT SUM(VARIABLE_VALUE) FROM information_schema.GLOBAL_STATUS "
	    "WHERE VARIABLE_NAME IN ('HANDLER_READ_NEXT', 'HANDLER_READ_PREV', "
	    "'HANDLER_READ_RND', 'HANDLER_READ_RND_NEXT')");
}

/* Less what a question itself costs. */
uint64_t
world_rows_read(struct world *w, void (*call)(void *arg), void *arg)
{
	int64_t first, second, third;

	if (mysql_socket() == NULL) {
		call(arg);
		return 0;
	}
	first = ask_rows_read(w);
	second = ask_rows_read(w);
	call(arg);
	third = ask_rows_read(w);
	return (uint64_t)(third - second - (second - first));
}

void
world_make_table(struct world *w, const char *sql)
{
	struct mariadb server = {.pid = 0};
	struct sgate_db *db = NULL;

	if (mysql_socket() != NULL) {
		snprintf(
		    server.socket, sizeof(server.socket), "%s", mysql_socket());
		mariadb_run(&server, w->database, sql);
		return;
	}
	assert_status(w, sgate_db_open(w->mgr, 0, &db, &w->err), SGATE_OK);
	assert_status(
	    w, sgate_db_exec(db, sql, NULL, 0, NULL, NULL, &w->err), SGATE_OK);
	assert_status(w, sgate_db_commit(db, &w->err), SGATE_OK);
	sgate_db_close(db);
}

void
world_lose_store(struct world *w)
{
	char **path = mysql_socket() == NULL ? &w->conf->sqlite.file
					     : &w->conf->mysql.socket;

	free(*path);
	*path = strdup("/nonexistent/store");
	assert_non_null(*path);
}

/* ---- Redis ---- */

static void
redis_say(
    const struct world *w, char *out, size_t size, const char *a, const char *b)
{
	const char *const words[] = {a, b, NULL};

	redis_run(&w->redis, out, size, words);
}

void
world_round(struct world *w)
{
	struct manager_round round = {.runtime_dir = NULL};
	int64_t now_ms = clock_monotonic_ms();

	if (!world_has_redis())
		return;
	/* As if the probes had been, and found the stores back. */
	if (breaker_is_open(&w->stores.durable))
		breaker_close(&w->stores.durable, now_ms);
	if (breaker_is_open(&w->stores.cache))
		breaker_close(&w->stores.cache, now_ms);
	assert_status(
	    w, manager_fence_round(w->mgr, &round, &w->err), SGATE_OK);
}

void
world_flush_cache(struct world *w)
{
	char answer[16];

	if (!world_has_redis())
		return;
	redis_say(w, answer, sizeof(answer), "FLUSHALL", NULL);
	assert_string_equal(answer, "OK");
}

void
world_save_cache(struct world *w)
{
	char answer[16];

	if (!world_has_redis())
		return;
	redis_say(w, answer, sizeof(answer), "SAVE", NULL);
	assert_string_equal(answer, "OK");
}

void
world_restore_cache(struct world *w)
{
	if (!world_has_redis())
		return;
	redis_kill(&w->redis);
	assert_true(redis_start(&w->redis));
}

/* As long as it answers it may take long, else nobody has to wait for it. */
#define REDIS_TIMEOUT_MS 2000

static void
wait_for_redis(struct world *w, int64_t timeout_ms)
{
	w->conf->redis.timeout_ms = timeout_ms;
	w->mgr->conf->redis.timeout_ms = timeout_ms;
}

void
world_pause_cache(struct world *w)
{
	if (!world_has_redis())
		return;
	redis_pause(&w->redis);
	wait_for_redis(w, 20);
}

void
world_resume_cache(struct world *w)
{
	char answer[16];

	if (!world_has_redis())
		return;
	redis_resume(&w->redis);
	redis_say(w, answer, sizeof(answer), "PING", NULL);
	wait_for_redis(w, REDIS_TIMEOUT_MS);
	world_round(w);
}

/* Calls command in the manager's database, on the key of a session. */
static void
redis_at_copy(struct world *w, const struct sgate_ref *ref, const char *script,
    char *out, size_t size)
{
	char hex[SGATE_REF_HEX + 1], key[128], database[16];
	const char *const words[] = {"EVAL", script, "1", key, database, NULL};

	sgate_ref_text(ref, hex);
	snprintf(key, sizeof(key), "%s:{%u}:s:%s", w->conf->redis.prefix,
	    ref->bytes[0] % TOKEN_GROUPS, hex);
	snprintf(database, sizeof(database), "%d", w->conf->redis.database);
	redis_run(&w->redis, out, size, words);
}

bool
world_has_copy(struct world *w, const struct sgate_ref *ref)
{
	char answer[16];

	if (!world_has_redis())
		return false;
	redis_at_copy(w, ref,
	    "redis.call('SELECT',ARGV[1]) "
	    "return redis.call('EXISTS',KEYS[1])",
	    answer, sizeof(answer));
	return strcmp(answer, "1") == 0;
}

void
world_damage_copy(struct world *w, const struct sgate_ref *ref)
{
	char answer[16];

	if (!world_has_redis())
		return;
	redis_at_copy(w, ref,
	    "redis.call('SELECT',ARGV[1]) "
	    "local c = redis.call('GETRANGE',KEYS[1],40,40) "
	    "return redis.call('SETRANGE',KEYS[1],40,c == 'x' and 'y' or 'x')",
	    answer, sizeof(answer));
	assert_true(strtoul(answer, NULL, 10) > 40);
}

unsigned long
world_cache_scans(struct world *w)
{
	static const char *const commands[] = {
	    "cmdstat_scan:", "cmdstat_keys:", "cmdstat_sort:"};
	static char stats[16384];
	unsigned long calls = 0;
	const char *at;
	size_t i;

	if (!world_has_redis())
		return 0;
	redis_say(w, stats, sizeof(stats), "INFO", "commandstats");
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		at = strstr(stats, commands[i]);
		if (at != NULL)
			calls +=
			    strtoul(at + strlen(commands[i]) + strlen("calls="),
				NULL, 10);
	}
	return calls;
}

/* ---- make and close ---- */

#define OVERRIDES_MAX 16

void
world_open_with(struct world *w, const char *const *more)
{
	char keys[96], store[160], database[96], address[128];
	const char *overrides[OVERRIDES_MAX + 1] = {keys, store, NULL};
	size_t count = 2;

	memset(w, 0, sizeof(*w));
	w->now_ms = INT64_C(1800000000000);
	snprintf(w->dir, sizeof(w->dir), "/tmp/sessgate-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(keys, sizeof(keys), "keys.file=%s/keys", w->dir);
	snprintf(store, sizeof(store), "sqlite.file=%s/store", w->dir);
	if (mysql_socket() != NULL) {
		make_database(w);
		snprintf(
		    store, sizeof(store), "mysql.socket=%s", mysql_socket());
		snprintf(database, sizeof(database), "mysql.database=%s",
		    w->database);
		overrides[count++] = database;
		overrides[count++] = "mysql.user=root";
	}
	if (world_has_redis()) {
		assert_null(redis_missing());
		assert_true(redis_open(&w->redis));
		snprintf(address, sizeof(address), "redis.address=unix:%s",
		    w->redis.socket);
		overrides[count++] = address;
	}
	for (; more != NULL && *more != NULL; more++) {
		assert_true(count < OVERRIDES_MAX);
		overrides[count++] = *more;
	}
	assert_status(
	    w, sgate_conf_load(NULL, overrides, &w->conf, &w->err), SGATE_OK);
	assert_status(
	    w, keys_create(w->conf->keys.file, w->now_ms, &w->err), SGATE_OK);
	/* Tests are about what happens, not about how long it may take. */
	w->conf->gateway.request_timeout_ms = 20000;
	w->conf->sqlite.busy_timeout_ms = 20000;
	w->conf->mysql.read_timeout_ms = 20000;
	w->conf->mysql.write_timeout_ms = 20000;
	if (world_has_redis()) {
		w->conf->redis.timeout_ms = REDIS_TIMEOUT_MS;
		/* A round counts as young for as long as a test takes. */
		w->conf->fence.poll_interval_ms = HOUR;
	}
	w->conf->session.idle_timeout_ms = 30 * MINUTE;
	w->conf->session.absolute_timeout_ms = 8 * HOUR;
	w->conf->session.remember_idle_timeout_ms = 240 * HOUR;
	w->conf->session.remember_absolute_timeout_ms = 720 * HOUR;
	/* What MySQL does not know there is not: unit/manager_away has the
	 * rest. */
	w->conf->session.create_without_mysql = false;
	w->conf->session.rotate_grace_ms = 10000;
}

struct sgate_manager *
world_manager(struct world *w, const struct durable_ops *ops)
{
	struct sgate_options options = {world_clock, w};
	struct sgate_manager *mgr = NULL;

	assert_status(w,
	    manager_new_with(w->conf, &options, ops, NULL, &mgr, &w->err),
	    SGATE_OK);
	if (world_has_redis() && ops == NULL)
		manager_set_stores(mgr, &w->stores);
	return mgr;
}

void
world_open(struct world *w)
{
	world_open_with(w, NULL);
}

void
world_start(struct world *w)
{
	world_start_with(w, NULL);
}

void
world_start_with(struct world *w, const char *const *more)
{
	world_open_with(w, more);
	w->mgr = world_manager(w, NULL);
	assert_status(w, manager_schema_init(w->mgr, &w->err), SGATE_OK);
	world_round(w);
	/* As if both stores had been up for long. */
	breaker_close(&w->stores.durable, 1);
	breaker_close(&w->stores.cache, 1);
}

void
world_close(struct world *w)
{
	char path[sizeof(w->dir) + 257];
	struct dirent *entry;
	DIR *dir;

	sgate_manager_free(w->mgr);
	sgate_conf_free(w->conf);
	if (w->database[0] != '\0')
		run_sql("DROP", w->database);
	redis_close(&w->redis);
	dir = opendir(w->dir);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", w->dir, entry->d_name);
		unlink(path);
	}
	closedir(dir);
	assert_int_equal(rmdir(w->dir), 0);
}

void
world_create_with(
    struct world *w, const struct sgate_create *create, struct made *out)
{
	memset(out, 0, sizeof(*out));
	assert_status(w,
	    sgate_session_create(
		w->mgr, create, &out->session, &out->token, &w->err),
	    SGATE_OK);
	out->ref = *sgate_session_get_ref(out->session);
}

void
world_create(struct world *w, const char *user, struct made *out)
{
	struct sgate_create create = {.user_id = B(user)};

	world_create_with(w, &create, out);
}

void
made_clear(struct made *made)
{
	sgate_session_free(made->session);
	sgate_token_free(made->token);
	memset(made, 0, sizeof(*made));
}

static enum sgate_reason
reason_of(
    struct world *w, enum sgate_status status, struct sgate_session *session)
{
	if (status == SGATE_OK) {
		assert_non_null(session);
		sgate_session_free(session);
		return SGATE_REASON_OK;
	}
	assert_null(session);
	assert_status(w, status, SGATE_NOT_FOUND);
	assert_int_not_equal(w->err.reason, SGATE_REASON_OK);
	return w->err.reason;
}

enum sgate_reason
world_look(struct world *w, const char *token)
{
	struct sgate_session *session = NULL;
	enum sgate_status status = sgate_session_get(
	    w->mgr, B(token), SGATE_NO_TOUCH, &session, &w->err);

	return reason_of(w, status, session);
}

enum sgate_reason
world_look_at(struct world *w, const struct sgate_ref *ref)
{
	struct sgate_session *session = NULL;
	enum sgate_status status =
	    sgate_session_get_by_ref(w->mgr, ref, &session, &w->err);

	return reason_of(w, status, session);
}

struct sgate_session *
world_row(struct world *w, const struct sgate_ref *ref)
{
	struct sgate_session *session = NULL;

	assert_status(
	    w, manager_session_any(w->mgr, ref, &session, &w->err), SGATE_OK);
	return session;
}

static int
count_audit(void *arg, const struct durable_audit *audit)
{
	size_t *count = arg;

	assert_true(audit->at_ms > 0);
	assert_true(audit->host[0] != '\0');
	(*count)++;
	return 0;
}

size_t
world_audit(struct world *w, const char *kind, const struct sgate_ref *ref)
{
	struct durable_audit_filter filter = {
	    .kind = B(kind), .ref = ref, .limit = 1000000};
	size_t count = 0;

	assert_status(w,
	    manager_audit_list(w->mgr, &filter, count_audit, &count, &w->err),
	    SGATE_OK);
	return count;
}

size_t
world_count(struct world *w, const char *user)
{
	struct sgate_list *list = NULL;
	size_t count;

	assert_status(w,
	    sgate_user_sessions(w->mgr, B(user), 0, &list, &w->err), SGATE_OK);
	count = sgate_list_count(list);
	sgate_list_free(list);
	return count;
}

void
world_caller(struct sgate_manager *mgr, const char *realm)
{
	struct sgate_caller caller = {.realm = B(realm), .actor = B("test")};
	struct sgate_error err;

	assert_int_equal(
	    sgate_manager_set_caller(mgr, &caller, &err), SGATE_OK);
}

void
world_probe_is_late(struct breaker *breaker)
{
	int64_t now_ms = clock_monotonic_ms();

	breaker_close(breaker, now_ms);
	breaker_open(breaker, now_ms - MINUTE);
}
