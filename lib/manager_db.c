/*
 * The caller's own statements: a transaction on a connection of its own, so
 * that sessions can be looked up while it is open. It writes to the same
 * store: while it is open, changes of sessions wait for it (SQLite).
 */
#include "config.h"

#include "manager.h"

#include <stdlib.h>

#include "clock.h"
#include "status.h"

struct sgate_db {
	const struct durable_ops *ops;
	struct durable *durable;
	bool is_open;   /* the transaction is */
	bool is_broken; /* a statement failed: it can only be rolled back */
};

enum sgate_status
sgate_db_open(struct sgate_manager *mgr, int64_t budget_ms,
    struct sgate_db **out_db, struct sgate_error *err)
{
	struct sgate_db *db = NULL;
	enum sgate_status status;

	*out_db = NULL;
	error_clear(err);
	mgr->served_by = STORES_NOBODY;
	if (budget_ms < 0)
		return error_set(err, SGATE_INVALID, "input", "db_open", 0,
		    "budget_ms: a time cannot be negative");
	if (budget_ms > MANAGER_BUDGET_MAX_MS)
		budget_ms = MANAGER_BUDGET_MAX_MS;
	db = calloc(1, sizeof(*db));
	if (db == NULL)
		return error_memory(err, "db_open");
	db->ops = mgr->ops;
	status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = manager_open(mgr, &db->durable, err);
	if (status == SGATE_OK) {
		db->durable->deadline_ms =
		    clock_monotonic_ms() +
		    (budget_ms > 0 ? budget_ms : mgr->call.budget_ms);
		status = manager_begin_in(mgr, db->durable, err);
	}
	if (status != SGATE_OK) {
		sgate_db_close(db);
		return status;
	}
	db->is_open = true;
	*out_db = db;
	return SGATE_OK;
}

static enum sgate_status
check_open(const struct sgate_db *db, struct sgate_error *err)
{
	if (!db->is_open)
		return error_set(err, SGATE_INVALID, "db", "exec", 0,
		    "the transaction is over: open another");
	if (db->is_broken)
		return error_set(err, SGATE_INVALID, "db", "exec", 0,
		    "an earlier statement failed: close, and open another");
	return SGATE_OK;
}

enum sgate_status
sgate_db_exec(struct sgate_db *db, const char *sql,
    const struct sgate_value *params, size_t params_count, sgate_row_fn *row,
    void *row_arg, struct sgate_error *err)
{
	enum sgate_status status;

	error_clear(err);
	status = check_open(db, err);
	if (status != SGATE_OK)
		return status;
	status = db->ops->exec(
	    db->durable, sql, params, params_count, row, row_arg, err);
	db->is_broken = status != SGATE_OK;
	return status;
}

enum sgate_status
sgate_db_commit(struct sgate_db *db, struct sgate_error *err)
{
	enum sgate_status status;

	error_clear(err);
	status = check_open(db, err);
	if (status != SGATE_OK)
		return status;
	status = db->ops->commit(db->durable, err);
	if (status == SGATE_OK)
		db->is_open = false;
	else
		db->is_broken = true;
	return status;
}

void
sgate_db_close(struct sgate_db *db)
{
	if (db == NULL)
		return;
	if (db->durable != NULL) {
		if (db->is_open)
			db->ops->rollback(db->durable);
		db->ops->close(db->durable);
	}
	free(db);
}
