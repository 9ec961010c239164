/*
 * What is right and wrong with the MySQL servers: for `sessgatectl doctor`.
 * Nothing is written, and no number is raised.
 *
 * All of it is asked with the gateway's account, which sees variables, status,
 * its own rights and its tables. A server that does not know a variable (no
 * MariaDB) leaves that check unseen.
 */
#include "config.h"

#include "durable_mysql.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "status.h"

#define OPERATION "doctor"
#define HOST_MS 2000
#define WORDS_MAX 8
#define WORD_MAX 40

/* ---- asking ---- */

struct words {
	char text[WORDS_MAX][WORD_MAX];
	size_t count;
};

/* One row's values, joined with '|'. */
static void
take_words(void *arg, const char *word)
{
	struct words *words = arg;
	size_t len;

	if (words->count > 0)
		return;
	do {
		len = strcspn(word, "|");
		snprintf(words->text[words->count++], WORD_MAX, "%.*s",
		    len < WORD_MAX ? (int)len : WORD_MAX - 1, word);
		word += len + 1;
	} while (word[-1] != '\0' && words->count < WORDS_MAX);
}

/* False: told that it cannot be seen. */
static bool
ask(struct mydb *look, const struct findings *findings, const char *check,
    const char *sql, size_t count, struct words *out)
{
	struct sgate_error err;

	memset(out, 0, sizeof(*out));
	error_clear(&err);
	if (mydb_ask_words(&look->sql.durable, sql, OPERATION, take_words, out,
		&err) != SGATE_OK) {
		finding_tell_error(findings, FINDING_UNSEEN, check, &err);
		return false;
	}
	if (out->count == count)
		return true;
	finding_tell(findings, FINDING_UNSEEN, check,
	    "sessgate knows MariaDB 10.11 or newer",
	    "the server does not tell");
	return false;
}

static bool
is_on(const char *word)
{
	return strcmp(word, "1") == 0 || strcasecmp(word, "ON") == 0;
}

static bool
is_some(const char *word)
{
	return strtol(word, NULL, 10) > 0;
}

/* ---- checks of one server ---- */

static void
check_schema(struct mydb *look, const struct findings *findings)
{
	struct sgate_error err;

	error_clear(&err);
	if (mydb_check_tables(&look->sql.durable, true, OPERATION, &err) !=
	    SGATE_OK)
		finding_tell_error(findings, FINDING_ERROR, "schema", &err);
	else
		finding_tell(findings, FINDING_OK, "schema", "",
		    "its tables are there, of version %d", MYDB_SCHEMA_VERSION);
}

/* Of replicas too: they are to be promoted as they are. */
static void
check_disk(struct mydb *look, const struct findings *findings)
{
	struct words w;

	if (!ask(look, findings, "durability",
		"SELECT CONCAT_WS('|', @@GLOBAL.innodb_flush_log_at_trx_commit,"
		" @@GLOBAL.log_bin, @@GLOBAL.sync_binlog)",
		3, &w))
		return;
	finding_tell(findings,
	    strcmp(w.text[0], "1") == 0 ? FINDING_OK : FINDING_ERROR,
	    "innodb_flush_log_at_trx_commit",
	    "set innodb_flush_log_at_trx_commit = 1: without it a commit that "
	    "was acknowledged is lost when the machine loses power",
	    "is %s", w.text[0]);
	if (!is_on(w.text[1]))
		finding_tell(findings, FINDING_OK, "sync_binlog", "",
		    "there is no binary log");
	else
		finding_tell(findings,
		    strcmp(w.text[2], "1") == 0 ? FINDING_OK : FINDING_ERROR,
		    "sync_binlog",
		    "set sync_binlog = 1: without it primary and replica "
		    "differ after the machine lost power",
		    "is %s", w.text[2]);
}

static void
check_clock(struct mydb *look, const struct findings *findings)
{
	int64_t before_ms = clock_utc_ms();
	int64_t at_ms = 0;
	struct sgate_error err;

	error_clear(&err);
	if (mydb_ask(&look->sql.durable,
		"SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
		OPERATION, &at_ms, &err) == SGATE_OK)
		finding_tell_clock(findings, before_ms, at_ms, clock_utc_ms());
	else
		finding_tell_error(findings, FINDING_UNSEEN, "clock", &err);
}

/* What mysql-accounts.sql grants, and nothing else. */
static void
check_rights(struct mydb *look, const struct findings *findings)
{
	static const char needed[] = "31";
	struct words w;

	if (!ask(look, findings, "account",
		"SELECT CONCAT_WS('|', (SELECT COUNT(*) FROM "
		"information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE <> "
		"'USAGE') + (SELECT COUNT(*) FROM "
		"information_schema.SCHEMA_PRIVILEGES WHERE TABLE_SCHEMA = "
		"DATABASE()), (SELECT COUNT(*) FROM "
		"information_schema.TABLE_PRIVILEGES WHERE TABLE_SCHEMA = "
		"DATABASE()), (SELECT COUNT(*) FROM "
		"information_schema.TABLE_PRIVILEGES WHERE TABLE_SCHEMA = "
		"DATABASE() AND (PRIVILEGE_TYPE = 'SELECT' AND TABLE_NAME IN "
		"('store', 'meta', 'audit', 'user_lock') OR PRIVILEGE_TYPE = "
		"'UPDATE' AND TABLE_NAME IN ('meta', 'user_lock') OR "
		"PRIVILEGE_TYPE = 'INSERT' AND "
		"TABLE_NAME = 'audit' OR PRIVILEGE_TYPE IN ('SELECT', "
		"'INSERT', 'UPDATE', 'DELETE') AND TABLE_NAME IN ('setting', "
		"'session', 'user_state', 'idempotency', 'service_key', "
		"'lease'))))",
		3, &w))
		return;
	if (is_some(w.text[0]) || (strcmp(w.text[2], needed) == 0 &&
				      strcmp(w.text[1], w.text[2]) != 0))
		finding_tell(findings, FINDING_WARNING, "account",
		    "use an account with the grants of "
		    "conf/schema/mysql-accounts.sql: who has its password "
		    "could change the audit trail",
		    "\"%s\" may more than sessgate needs", look->user);
	else if (strcmp(w.text[2], needed) != 0)
		finding_tell(findings, FINDING_ERROR, "account",
		    "run conf/schema/mysql-accounts.sql again",
		    "\"%s\" lacks some of its grants", look->user);
	else
		finding_tell(findings, FINDING_OK, "account", "",
		    "\"%s\" may what it needs and no more", look->user);
}

/* ---- replication ---- */

static void
check_semi_sync(
    struct mydb *look, const struct findings *findings, bool has_replicas)
{
	struct words w;

	if (!ask(look, findings, "replication",
		"SELECT CONCAT_WS('|', @@GLOBAL.rpl_semi_sync_master_enabled, "
		"@@GLOBAL.rpl_semi_sync_master_wait_point, "
		"MAX(IF(VARIABLE_NAME = 'RPL_SEMI_SYNC_MASTER_CLIENTS', "
		"VARIABLE_VALUE, NULL)), "
		"MAX(IF(VARIABLE_NAME = 'RPL_SEMI_SYNC_MASTER_STATUS', "
		"VARIABLE_VALUE, NULL)), "
		"MAX(IF(VARIABLE_NAME = 'SLAVES_CONNECTED', VARIABLE_VALUE, "
		"NULL))) FROM information_schema.GLOBAL_STATUS",
		5, &w))
		return;
	if (!has_replicas && !is_some(w.text[4]))
		finding_tell(findings, FINDING_OK, "replication", "",
		    "there is no replica: who loses this server has its "
		    "backup");
	else if (!is_on(w.text[0]))
		finding_tell(findings, FINDING_ERROR, "replication",
		    "set rpl_semi_sync_master_enabled = 1 there and "
		    "rpl_semi_sync_slave_enabled = 1 on the replicas: without "
		    "it a promoted replica lacks what was acknowledged last",
		    "is not semi-synchronous");
	else if (strcmp(w.text[1], "AFTER_SYNC") != 0)
		finding_tell(findings, FINDING_ERROR, "replication",
		    "set rpl_semi_sync_master_wait_point = AFTER_SYNC: "
		    "others see a commit before a replica has it",
		    "waits %s", w.text[1]);
	else if (!is_some(w.text[2]) || !is_on(w.text[3]))
		finding_tell(findings, FINDING_ERROR, "replication",
		    "see why no replica acknowledges (SHOW SLAVE STATUS, "
		    "rpl_semi_sync_slave_enabled): what is acknowledged now is "
		    "on one machine alone",
		    "is semi-synchronous, and %s replicas acknowledge",
		    w.text[2]);
	else
		finding_tell(findings, FINDING_OK, "replication", "",
		    "semi-synchronous, %s acknowledge", w.text[2]);
}

static void
check_replica(struct mydb *look, const struct findings *findings)
{
	struct words w;

	if (!ask(look, findings, "replication",
		"SELECT CONCAT_WS('|', @@GLOBAL.rpl_semi_sync_slave_enabled, "
		"MAX(IF(VARIABLE_NAME = 'SLAVES_RUNNING', VARIABLE_VALUE, "
		"NULL)), MAX(IF(VARIABLE_NAME = 'RPL_SEMI_SYNC_SLAVE_STATUS', "
		"VARIABLE_VALUE, NULL))) FROM "
		"information_schema.GLOBAL_STATUS",
		3, &w))
		return;
	if (!is_some(w.text[1]))
		finding_tell(findings, FINDING_ERROR, "replication",
		    "see SHOW SLAVE STATUS there: it falls behind, and must "
		    "not be promoted",
		    "it does not replicate");
	else if (!is_on(w.text[2]))
		finding_tell(findings, FINDING_ERROR, "replication",
		    is_on(w.text[0])
			? "STOP SLAVE; START SLAVE, as the setting counts "
			  "from then on; see the primary's too"
			: "set rpl_semi_sync_slave_enabled = 1: it does not "
			  "acknowledge what it has",
		    "is not semi-synchronous");
	else
		finding_tell(findings, FINDING_OK, "replication", "",
		    "a replica that acknowledges");
}

/* ---- all of them ---- */

enum role { ROLE_UNKNOWN, ROLE_PRIMARY, ROLE_REPLICA };

static enum role
examine_host(struct mydb *look, const struct findings *findings, bool is_alone,
    struct sgate_error *err)
{
	bool is_replica;
	struct words w;

	if (mydb_enter_new(&look->sql.durable, MYDB_TO_CHECK, OPERATION, err) !=
	    SGATE_OK) {
		finding_tell_error(findings, FINDING_ERROR, "answers", err);
		return ROLE_UNKNOWN;
	}
	finding_tell(findings, FINDING_OK, "answers", "", "%s",
	    mysql_get_server_info(look->conn));
	check_schema(look, findings);
	if (!ask(look, findings, "role", "SELECT @@GLOBAL.read_only", 1, &w))
		return ROLE_UNKNOWN;
	is_replica =
	    strcmp(w.text[0], "0") != 0 && strcasecmp(w.text[0], "OFF") != 0;
	if (is_alone && is_replica)
		finding_tell(findings, FINDING_ERROR, "role",
		    "SET GLOBAL read_only = 0, or name the primary: nobody "
		    "can log in",
		    "is read-only");
	else
		finding_tell(findings, FINDING_OK, "role", "",
		    is_replica ? "is read-only: a replica"
			       : "takes writes: the primary");
	check_disk(look, findings);
	if (is_replica)
		check_replica(look, findings);
	else
		check_semi_sync(look, findings, !is_alone);
	check_rights(look, findings);
	check_clock(look, findings);
	return is_replica ? ROLE_REPLICA : ROLE_PRIMARY;
}

static void
tell_primaries(const struct findings *findings, size_t count, bool is_partial)
{
	if (count == 1)
		finding_tell(findings, FINDING_OK, "primary", "",
		    "one of mysql.hosts takes writes");
	else if (count == 0 && is_partial)
		finding_tell(findings, FINDING_ERROR, "primary",
		    "start those that do not answer; only if the primary is "
		    "lost, promote a replica: nobody can log in",
		    "none of mysql.hosts that answer takes writes");
	else
		finding_tell(findings, FINDING_ERROR, "primary",
		    count == 0 ? "promote a replica, or SET GLOBAL read_only = "
				 "0 on the primary: nobody can log in"
			       : "SET GLOBAL read_only = 1 on those that are "
				 "not the primary: what is written there is "
				 "lost",
		    "%zu of mysql.hosts take writes", count);
}

enum sgate_status
mydb_examine(
    struct durable *d, finding_fn *fn, void *arg, struct sgate_error *err)
{
	struct mydb *store = (struct mydb *)d;
	size_t count = store->hosts_count > 0 ? store->hosts_count : 1;
	enum sgate_status status = SGATE_OK;
	struct findings findings = {fn, arg, "mysql"};
	struct sgate_error why;
	size_t primaries = 0;
	char where[160];
	size_t i;

	error_clear(err);
	for (i = 0; i < count; i++) {
		const struct mydb_host *host =
		    store->hosts_count > 0 ? &store->hosts[i] : NULL;
		struct mydb *look = mydb_copy(store, host);
		enum role role;

		if (look == NULL)
			return error_memory(err, OPERATION);
		look->sql.durable.deadline_ms = clock_monotonic_ms() + HOST_MS;
		snprintf(where, sizeof(where),
		    host != NULL && strchr(host->address, ':') != NULL
			? "mysql [%s]"
			: "mysql %s",
		    host != NULL ? host->address : store->socket);
		if (host != NULL)
			snprintf(where + strlen(where),
			    sizeof(where) - strlen(where), ":%u", host->port);
		findings.where = where;
		error_clear(&why);
		role = examine_host(look, &findings, count == 1, &why);
		primaries += role == ROLE_PRIMARY;
		if (role == ROLE_UNKNOWN && why.status != SGATE_OK) {
			status = why.status;
			*err = why;
		}
		mydb_close(&look->sql.durable);
	}
	findings.where = "mysql";
	if (count > 1)
		tell_primaries(&findings, primaries, status != SGATE_OK);
	return status;
}
