/*
 * MySQL: making the tables, looking whether they are ours, the partitions of
 * audit, and the numbers that a server which was started or restored must not
 * use again.
 */
#include "config.h"

#include "durable_mysql.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "failpoint.h"
#include "lib/schema_mysql.h" /* made from conf/schema/mysql.sql */
#include "status.h"

#define DAY_MS INT64_C(86400000)
#define WEEK_MS (7 * DAY_MS)
/* Partitions are made so far ahead: `db maintain` may be missed for a month. */
#define AHEAD_MS (5 * WEEK_MS)
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)
#define SEQ_JUMP TEXT(MYDB_JUMP)

/* ---- checking ---- */

static enum sgate_status
check_version(struct durable *d, const char *operation, struct sgate_error *err)
{
	const char *problem = NULL;
	int64_t version = 0;
	int64_t count = 0;
	enum sgate_status status;

	status = mydb_ask(d,
	    "SELECT COUNT(*) FROM information_schema.TABLES "
	    "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'store'",
	    operation, &count, err);
	if (status == SGATE_OK && count > 0)
		status =
		    mydb_ask(d, "SELECT schema_version FROM store WHERE id = 1",
			operation, &version, err);
	if (status != SGATE_OK && status != SGATE_NOT_FOUND)
		return status;
	if (count == 0 || status == SGATE_NOT_FOUND)
		problem = "make its tables with `sessgatectl db init`";
	else if (version < MYDB_SCHEMA_VERSION)
		problem = "made by an older sessgate: stop every gateway and "
			  "convert it with `sessgatectl db init`, as the "
			  "database's administrator";
	else if (version > MYDB_SCHEMA_VERSION)
		problem = "made by a newer sessgate: install that one";
	if (problem == NULL)
		return SGATE_OK;
	return error_set(err, SGATE_INVALID, MYDB_SOURCE, operation, 0,
	    "%.80s: schema version %d, needed is %d: %s",
	    ((struct mydb *)d)->peer, (int)version, MYDB_SCHEMA_VERSION,
	    problem);
}

/* Without its row a user's lock cannot be taken, nor a session made. */
static enum sgate_status
check_user_locks(
    struct durable *d, const char *operation, struct sgate_error *err)
{
	int64_t count = 0;
	enum sgate_status status = mydb_ask(
	    d, "SELECT COUNT(*) FROM user_lock", operation, &count, err);

	if (status != SGATE_OK || count == MYDB_USER_LOCKS)
		return status;
	return error_set(err, SGATE_INVALID, MYDB_SOURCE, operation, 0,
	    "%.80s: table user_lock has %d of its %d rows: make them with "
	    "`sessgatectl db init`",
	    ((struct mydb *)d)->peer, (int)count, MYDB_USER_LOCKS);
}

enum sgate_status
mydb_check_tables(
    struct durable *d, bool all, const char *operation, struct sgate_error *err)
{
	int64_t count = 0;
	enum sgate_status status;

	if (!all) {
		/* The usual case in one question. */
		status =
		    mydb_ask(d, "SELECT schema_version FROM store WHERE id = 1",
			operation, &count, err);
		if (status == SGATE_OK && count == MYDB_SCHEMA_VERSION)
			return status;
		return check_version(d, operation, err);
	}
	status = mydb_ask(d,
	    "SELECT COUNT(*) FROM information_schema.TABLES "
	    "WHERE TABLE_SCHEMA = DATABASE() AND ENGINE = 'InnoDB' AND "
	    "TABLE_NAME IN ('store', 'meta', 'setting', 'session', "
	    "'user_state', 'user_lock', 'audit', 'idempotency', 'service_key', "
	    "'lease')",
	    operation, &count, err);
	if (status == SGATE_OK)
		status = check_version(d, operation, err);
	if (status == SGATE_OK && count != MYDB_TABLES)
		return error_set(err, SGATE_INVALID, MYDB_SOURCE, operation, 0,
		    "%.80s: has %d of sessgate's %d tables, or this account "
		    "may not see them: make them with `sessgatectl db init`",
		    ((struct mydb *)d)->peer, (int)count, MYDB_TABLES);
	return status == SGATE_OK ? check_user_locks(d, operation, err)
				  : status;
}

enum sgate_status
mydb_schema_check(struct durable *d, struct sgate_error *err)
{
	enum sgate_status status =
	    mydb_enter_new(d, MYDB_TO_CHECK, "schema_check", err);

	if (status == SGATE_OK)
		status = mydb_check_tables(d, true, "schema_check", err);
	return status;
}

/* ---- a server that was started anew ---- */

enum sgate_status
mydb_set_ident(
    struct durable *d, const char *operation, struct sgate_error *err)
{
	char sql[400];

	snprintf(sql, sizeof(sql),
	    "SET @sessgate_ident = LEFT(SHA2(CONCAT(@@hostname, '|', "
	    "@@port, '|', @@server_id, '|', (SELECT CAST(UNIX_TIMESTAMP() - "
	    "VARIABLE_VALUE AS SIGNED) FROM %s WHERE VARIABLE_NAME = "
	    "'Uptime')), 256), 32)",
	    ((struct mydb *)d)->is_mariadb
		? "information_schema.GLOBAL_STATUS"
		: "performance_schema.global_status");
	return mydb_query(d, sql, operation, err);
}

/*
 * A server that crashed may have lost a commit whose number somebody has seen:
 * no number is used again, so the first connection to a server that was
 * started anew raises them all. A server is known by its name, port, id and
 * start; start = now - uptime is exact only when asked in one statement, and
 * one that does not tell is not written to: the count is NULL then.
 * Looking first keeps the locks of the counters out of the usual case.
 */
enum sgate_status
mydb_jump(struct durable *d, const char *operation, struct sgate_error *err)
{
	int64_t count = 0;
	enum sgate_status status = mydb_set_ident(d, operation, err);

	if (status == SGATE_OK && mydb_is_led((struct mydb *)d))
		status = mydb_check_who((struct mydb *)d, operation, err);
	if (status == SGATE_OK)
		status = mydb_ask(d,
		    "SELECT IF(LENGTH(@sessgate_ident) = 32, (SELECT COUNT(*) "
		    "FROM meta WHERE ident <> @sessgate_ident), NULL)",
		    operation, &count, err);
	if (status == SGATE_NOT_FOUND)
		status =
		    error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation, 0,
			"%.100s: it does not tell when it was started",
			((struct mydb *)d)->peer);
	if (status == SGATE_OK && count > 0 && !failpoint_is_off("jump"))
		status = mydb_query(d,
		    "UPDATE meta SET seq = seq + " SEQ_JUMP
		    ", ident = @sessgate_ident "
		    "WHERE ident <> @sessgate_ident ORDER BY grp",
		    operation, err);
	return status;
}

enum sgate_status
mydb_restored(struct durable *d, unsigned *out_epoch, struct sgate_error *err)
{
	static const char *const steps[] = {"START TRANSACTION",
	    "UPDATE store SET epoch = epoch + 1 WHERE id = 1",
	    "UPDATE meta SET seq = seq + " SEQ_JUMP " ORDER BY grp", NULL};
	int64_t epoch = 0;
	enum sgate_status status;
	size_t i;

	*out_epoch = 0;
	status = mydb_enter_new(d, MYDB_TO_MAKE, "restored", err);
	if (status == SGATE_OK)
		status = mydb_check_tables(d, false, "restored", err);
	for (i = 0; steps[i] != NULL && status == SGATE_OK; i++)
		status = mydb_query(d, steps[i], "restored", err);
	if (status == SGATE_OK)
		status = mydb_ask(d, "SELECT epoch FROM store WHERE id = 1",
		    "restored", &epoch, err);
	if (status == SGATE_OK && epoch > 9999)
		status = error_set(err, SGATE_INVALID, MYDB_SOURCE, "restored",
		    0, "%.100s: its epoch cannot be above 9999",
		    ((struct mydb *)d)->peer);
	if (status == SGATE_OK)
		status = mydb_query(d, "COMMIT", "restored", err);
	/* What was not committed goes with the connection. */
	mydb_disconnect(d);
	if (status == SGATE_OK)
		*out_epoch = (unsigned)epoch;
	return status;
}

/* ---- the partitions of audit ---- */

struct partitions {
	struct buf old; /* names of those to drop, by commas */
	unsigned old_count;
	int64_t before_ms;
	int64_t last_ms; /* where the last one ends, 0: there is none */
};

/* "before_20261123": rows up to that day; 0 for another name. */
static int64_t
partition_end(const char *name)
{
	struct tm tm = {0};
	const char *rest;

	if (strncmp(name, "before_", 7) != 0)
		return 0;
	rest = strptime(name + 7, "%Y%m%d", &tm);
	if (rest == NULL || *rest != '\0')
		return 0;
	return (int64_t)timegm(&tm) * 1000;
}

static void
see_partition(void *arg, const char *name)
{
	struct partitions *partitions = arg;
	int64_t end_ms = partition_end(name);

	if (end_ms > partitions->last_ms)
		partitions->last_ms = end_ms;
	if (end_ms == 0 || end_ms > partitions->before_ms)
		return;
	buf_printf(&partitions->old, "%s%s",
	    partitions->old_count == 0 ? "" : ", ", name);
	partitions->old_count++;
}

/* Weeks from the last end, or from this week, to some weeks after now. */
static unsigned
partitions_text(int64_t last_ms, int64_t now_ms, struct buf *sql)
{
	unsigned char bound[DURABLE_EVENT_BYTES];
	int64_t end_ms = last_ms > 0 ? last_ms : now_ms - now_ms % WEEK_MS;
	unsigned count = 0;
	struct tm tm;
	time_t at;

	buf_add_text(
	    sql, "ALTER TABLE audit REORGANIZE PARTITION future INTO (");
	while (end_ms < now_ms + AHEAD_MS) {
		end_ms += WEEK_MS;
		at = (time_t)(end_ms / 1000);
		gmtime_r(&at, &tm);
		sql_event_id_at(end_ms, bound);
		buf_printf(sql,
		    "PARTITION before_%04d%02d%02d VALUES LESS THAN (X'",
		    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
		buf_add_hex(sql, bound, sizeof(bound));
		buf_add_text(sql, "'), ");
		count++;
	}
	buf_add_text(sql, "PARTITION future VALUES LESS THAN (MAXVALUE))");
	return count;
}

static enum sgate_status
make_partitions(struct durable *d, int64_t last_ms, int64_t now_ms,
    unsigned *out_made, struct sgate_error *err)
{
	struct buf sql = {0};
	unsigned count = partitions_text(last_ms, now_ms, &sql);
	enum sgate_status status = SGATE_OK;

	if (buf_failed(&sql))
		status = error_memory(err, "maintain");
	else if (count > 0)
		status = mydb_query(d, buf_text(&sql), "maintain", err);
	buf_clear(&sql);
	if (status == SGATE_OK)
		*out_made = count;
	return status;
}

static enum sgate_status
drop_partitions(struct durable *d, struct partitions *partitions,
    unsigned *out_dropped, struct sgate_error *err)
{
	struct buf sql = {0};
	enum sgate_status status = SGATE_OK;

	buf_printf(&sql, "ALTER TABLE audit DROP PARTITION %s",
	    buf_text(&partitions->old));
	if (buf_failed(&sql) || buf_failed(&partitions->old))
		status = error_memory(err, "maintain");
	else if (partitions->old_count > 0)
		status = mydb_query(d, buf_text(&sql), "maintain", err);
	buf_clear(&sql);
	if (status == SGATE_OK)
		*out_dropped = partitions->old_count;
	return status;
}

/* On the connection that is open; one that maintains at a time. */
static enum sgate_status
maintain(struct durable *d, int64_t now_ms, int64_t audit_before_ms,
    unsigned *out_made, unsigned *out_dropped, struct sgate_error *err)
{
	struct partitions partitions = {.before_ms = audit_before_ms};
	enum sgate_status status;

	status = mydb_ask_words(d,
	    "SELECT PARTITION_NAME FROM information_schema.PARTITIONS "
	    "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'audit' "
	    "AND PARTITION_NAME IS NOT NULL",
	    "maintain", see_partition, &partitions, err);
	if (status == SGATE_OK)
		status = make_partitions(
		    d, partitions.last_ms, now_ms, out_made, err);
	if (status == SGATE_OK)
		status = drop_partitions(d, &partitions, out_dropped, err);
	buf_clear(&partitions.old);
	return status;
}

static enum sgate_status
take_turn(struct durable *d, const char *operation, struct sgate_error *err)
{
	int64_t is_ours = 0;
	enum sgate_status status = mydb_ask(d,
	    "SELECT GET_LOCK(CONCAT('sessgate.', LEFT(DATABASE(), 50)), 30)",
	    operation, &is_ours, err);

	if (status == SGATE_NOT_FOUND || (status == SGATE_OK && is_ours != 1))
		return error_set(err, SGATE_UNAVAILABLE, MYDB_SOURCE, operation,
		    0, "%.100s: somebody else changes its tables just now",
		    ((struct mydb *)d)->peer);
	return status;
}

enum sgate_status
mydb_maintain(struct durable *d, int64_t now_ms, int64_t audit_before_ms,
    unsigned *out_made, unsigned *out_dropped, struct sgate_error *err)
{
	enum sgate_status status;

	*out_made = 0;
	*out_dropped = 0;
	if (!sql_time_is_sound(now_ms))
		return sql_misused(d, "maintain", "a time that cannot be", err);
	status = mydb_enter_new(d, MYDB_TO_MAKE, "maintain", err);
	if (status == SGATE_OK)
		status = mydb_check_tables(d, false, "maintain", err);
	if (status == SGATE_OK)
		status = take_turn(d, "maintain", err);
	if (status == SGATE_OK)
		status = maintain(
		    d, now_ms, audit_before_ms, out_made, out_dropped, err);
	/* The turn ends with the connection. */
	mydb_disconnect(d);
	return status;
}

/* ---- making ---- */

/* The statements of the schema, each up to a semicolon at the end of a line. */
static enum sgate_status
run_schema(struct durable *d, struct sgate_error *err)
{
	const char *at = schema_mysql;
	enum sgate_status status = SGATE_OK;
	const char *end;
	char *sql;

	while (status == SGATE_OK && (end = strstr(at, ";\n")) != NULL) {
		sql = bytes_dup((struct sgate_bytes){at, (size_t)(end - at)});
		if (sql == NULL)
			return error_memory(err, "schema_init");
		status = mydb_query(d, sql, "schema_init", err);
		free(sql);
		at = end + 2;
	}
	return status;
}

/*
 * Tables of version 1 become ours. Who made sessions by that version took
 * other locks than we do: none may run, before or after. So the version is 0
 * meanwhile, which every program refuses; what was not finished goes on from
 * there.
 */
#define BEING_CONVERTED 0

/* A gateway announces its host there every half minute (manager_announce()). */
static enum sgate_status
check_nobody_runs(struct durable *d, struct sgate_error *err)
{
	int64_t count = 0;
	enum sgate_status status = mydb_ask(d,
	    "SELECT COUNT(*) FROM lease WHERE name LIKE 'host:%' AND "
	    "until_ms > UNIX_TIMESTAMP(NOW(3)) * 1000",
	    "schema_init", &count, err);

	if (status != SGATE_OK || count == 0)
		return status;
	return error_set(err, SGATE_INVALID, MYDB_SOURCE, "schema_init", 0,
	    "%.80s: its tables are of an older version, and gateways of %d "
	    "hosts have used them within the last 90 seconds: stop all, wait, "
	    "then convert them with `sessgatectl db init`",
	    ((struct mydb *)d)->peer, (int)count);
}

/* Rows of users who are not blocked, some at a time. */
static enum sgate_status
drop_user_rows(struct durable *d, struct sgate_error *err)
{
	const struct mydb *store = (const struct mydb *)d;
	enum sgate_status status;

	do
		status = mydb_query(d,
		    "DELETE FROM user_state WHERE blocked_ms = 0 LIMIT 10000",
		    "schema_init", err);
	while (status == SGATE_OK && mysql_affected_rows(store->conn) > 0);
	return status;
}

static enum sgate_status
drop_user_index(struct durable *d, struct sgate_error *err)
{
	int64_t count = 0;
	enum sgate_status status = mydb_ask(d,
	    "SELECT COUNT(*) FROM information_schema.STATISTICS WHERE "
	    "TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'user_state' AND "
	    "INDEX_NAME = 'blocked'",
	    "schema_init", &count, err);

	if (status == SGATE_OK && count > 0)
		status =
		    mydb_query(d, "ALTER TABLE user_state DROP KEY blocked",
			"schema_init", err);
	return status;
}

/*
 * What is not set was 0 and is NULL. The rows of old keep their zeros, which
 * mean the same, and go with their sessions.
 */
static enum sgate_status
allow_nulls(struct durable *d, struct sgate_error *err)
{
	return mydb_query(d,
	    "ALTER TABLE session MODIFY seq BIGINT, "
	    "MODIFY prev_until_ms BIGINT, MODIFY successor_used_ms BIGINT, "
	    "MODIFY ended_ms BIGINT",
	    "schema_init", err);
}

static enum sgate_status
set_version(struct durable *d, const char *sql, struct sgate_error *err)
{
	enum sgate_status status = mydb_query(d, sql, "schema_init", err);

	/* An account that may not: what is to be done stands there, too. */
	if (status != SGATE_OK && ((struct mydb *)d)->conn != NULL)
		status = check_version(d, "schema_init", err);
	return status;
}

static enum sgate_status
convert(struct durable *d, struct sgate_error *err)
{
	enum sgate_status status = check_nobody_runs(d, err);

	if (status == SGATE_OK)
		status = set_version(d,
		    "UPDATE store SET schema_version = " TEXT(
			BEING_CONVERTED) " WHERE id = 1",
		    err);
	if (status == SGATE_OK)
		status = run_schema(d, err);
	if (status == SGATE_OK)
		status = drop_user_rows(d, err);
	if (status == SGATE_OK)
		status = drop_user_index(d, err);
	if (status == SGATE_OK)
		status = allow_nulls(d, err);
	if (status == SGATE_OK)
		status = set_version(d,
		    "UPDATE store SET schema_version = " TEXT(
			MYDB_SCHEMA_VERSION) " WHERE id = 1",
		    err);
	return status;
}

static enum sgate_status
make(struct durable *d, struct sgate_error *err)
{
	enum sgate_status status = run_schema(d, err);

	/* A new store has given no number yet: nothing to jump over. */
	if (status == SGATE_OK)
		status = mydb_set_ident(d, "schema_init", err);
	if (status == SGATE_OK)
		status = mydb_query(d,
		    "UPDATE meta SET ident = @sessgate_ident "
		    "WHERE ident = '' AND seq = 0 ORDER BY grp",
		    "schema_init", err);
	return status;
}

/* Asked when nobody else changes the tables; no store: as if it were ours. */
static int64_t
version_there(struct durable *d)
{
	int64_t version;

	if (mydb_ask(d, "SELECT schema_version FROM store WHERE id = 1",
		"schema_init", &version, NULL) != SGATE_OK)
		return MYDB_SCHEMA_VERSION;
	return version;
}

/*
 * What is there already is only looked at: the gateway's own account, which
 * may make nothing, can run this at every start.
 */
enum sgate_status
mydb_schema_init(struct durable *d, struct sgate_error *err)
{
	enum sgate_status status =
	    mydb_enter_new(d, MYDB_TO_MAKE, "schema_init", err);
	int64_t version;

	if (status != SGATE_OK)
		return status;
	status = mydb_check_tables(d, true, "schema_init", err);
	if (status != SGATE_INVALID)
		goto out;
	status = take_turn(d, "schema_init", err);
	if (status != SGATE_OK)
		goto out;
	version = version_there(d);
	/* Tables of a newer version are left as they are. */
	if (version >= BEING_CONVERTED && version < MYDB_SCHEMA_VERSION)
		status = convert(d, err);
	else if (version == MYDB_SCHEMA_VERSION)
		status = make(d, err);
	if (status == SGATE_OK)
		status = mydb_check_tables(d, true, "schema_init", err);
out:
	mydb_disconnect(d);
	/* For a session there is no answer where there are no tables. */
	if (status == SGATE_INVALID) {
		status = SGATE_UNAVAILABLE;
		if (err != NULL) {
			err->status = status;
			err->reason = SGATE_REASON_STORE;
		}
	}
	return status;
}
