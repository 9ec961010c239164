/*
 * RequestScopedSessionManager: not sessions of users, but the transaction of
 * one request on the database.
 */
#include "parity.h"

#include <stdlib.h>
#include <string.h>

static struct sgate_db *
open_db(struct sgate_manager *mgr)
{
	struct sgate_db *db = NULL;

	assert_status(
	    &parity, sgate_db_open(mgr, 0, &db, &parity.err), SGATE_OK);
	assert_string_equal(manager_served_by(mgr), world_store());
	return db;
}

static int
count_row(void *arg, const struct sgate_value *columns, size_t count)
{
	(void)columns;
	assert_int_equal(count, 1);
	(*(int *)arg)++;
	return 0;
}

static void
run(struct sgate_db *db, const char *sql, enum sgate_status expected)
{
	assert_status(&parity,
	    sgate_db_exec(db, sql, NULL, 0, NULL, NULL, &parity.err), expected);
}

static int
rows_of_own(struct sgate_manager *mgr)
{
	struct sgate_db *db = open_db(mgr);
	int rows = 0;

	assert_status(&parity,
	    sgate_db_exec(db, "SELECT x FROM own", NULL, 0, count_row, &rows,
		&parity.err),
	    SGATE_OK);
	sgate_db_close(db);
	return rows;
}

/* Lazy: what asks for none meets no database; one request, one transaction. */
void
request_scoped_session_manager__get_request_session(void **state)
{
	struct sgate_manager *lost;
	struct sgate_session *s = NULL;
	struct sgate_db *db = NULL;

	(void)state;
	world_make_table(&parity, "CREATE TABLE own (x INTEGER)");
	db = open_db(parity.mgr);
	run(db, "INSERT INTO own VALUES (1)", SGATE_OK);
	run(db, "INSERT INTO own VALUES (2)", SGATE_OK);
	assert_status(&parity, sgate_db_commit(db, &parity.err), SGATE_OK);
	sgate_db_close(db);
	assert_int_equal(rows_of_own(parity.mgr), 2);

	lost = parity_without_durable();
	assert_status(&parity,
	    sgate_session_get(lost, B("unknown"), 0, &s, &parity.err),
	    SGATE_NOT_FOUND);
	assert_string_equal(manager_served_by(lost), "");
	assert_status(&parity, sgate_db_open(lost, 0, &db, &parity.err),
	    SGATE_UNAVAILABLE);
	sgate_manager_free(lost);
}

/*
 * Released on every path: what was neither committed nor closed in time holds
 * nobody up, nor does closing nothing fail.
 */
void
request_scoped_session_manager__close_request_session(void **state)
{
	struct sgate_manager *other = world_manager(&parity, NULL);
	struct sgate_db *db;

	(void)state;
	world_make_table(&parity, "CREATE TABLE own (x INTEGER)");
	db = open_db(parity.mgr);
	run(db, "INSERT INTO own VALUES (1)", SGATE_OK);
	sgate_db_close(db);
	sgate_db_close(NULL);
	db = open_db(other);
	run(db, "INSERT INTO own VALUES (2)", SGATE_OK);
	assert_status(&parity, sgate_db_commit(db, &parity.err), SGATE_OK);
	sgate_db_close(db);
	assert_int_equal(rows_of_own(parity.mgr), 1);
	sgate_manager_free(other);
}

/* Commits as a whole, and not at all after an error, which is told. */
void
request_scoped_session_manager__session_scope(void **state)
{
	struct sgate_db *db;

	(void)state;
	world_make_table(&parity, "CREATE TABLE own (x INTEGER)");
	db = open_db(parity.mgr);
	run(db, "INSERT INTO own VALUES (1)", SGATE_OK);
	assert_int_not_equal(
	    sgate_db_exec(db, "nonsense", NULL, 0, NULL, NULL, &parity.err),
	    SGATE_OK);
	assert_true(parity.err.text[0] != '\0');
	run(db, "INSERT INTO own VALUES (2)", SGATE_INVALID);
	assert_status(&parity, sgate_db_commit(db, &parity.err), SGATE_INVALID);
	sgate_db_close(db);
	assert_int_equal(rows_of_own(parity.mgr), 0);
}

/* One that is over says so, and does not begin another by itself. */
void
request_scoped_session_manager__is_session_active(void **state)
{
	struct sgate_db *db;

	(void)state;
	world_make_table(&parity, "CREATE TABLE own (x INTEGER)");
	db = open_db(parity.mgr);
	run(db, "SELECT 1", SGATE_OK);
	assert_status(&parity, sgate_db_commit(db, &parity.err), SGATE_OK);
	run(db, "INSERT INTO own VALUES (1)", SGATE_INVALID);
	assert_status(&parity, sgate_db_commit(db, &parity.err), SGATE_INVALID);
	sgate_db_close(db);
	assert_int_equal(rows_of_own(parity.mgr), 0);
}
