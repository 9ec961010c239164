/*
 * MySQL: what copies of rows are judged by and made from: the counters of the
 * fence groups, id and epoch of the store, the change log.
 */
#include "config.h"

#include "durable_mysql.h"

#include <string.h>

#include "status.h"

/* The row of meta that has the number of the settings. */
#define SETTINGS_GROUP 255

/* The columns of STORE_COLUMNS. */
static void
store_read(struct mydb_run *r, struct record_store *out)
{
	run_get_blob(r, out->id, sizeof(out->id));
	out->epoch = (unsigned)run_get_int(r, 0, 9999);
}

enum sgate_status
mydb_snapshot_read(struct mydb_run *r, struct durable_snapshot *out)
{
	out->counter = (uint64_t)run_get_int(r, 0, INT64_MAX);
	store_read(r, &out->store);
	return run_row_status(r, "a counter, or the row of table store");
}

/* A plain read: no lock of the counter before those of rows. */
enum sgate_status
mydb_snapshot(struct durable *d, unsigned group, struct durable_snapshot *out,
    struct sgate_error *err)
{
	struct durable_snapshot at = {0};
	struct mydb_run r;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = run_open(&r, d, MYDB_STMT_SNAPSHOT, "snapshot", err);
	if (status != SGATE_OK)
		return status;
	run_bind_int(&r, group);
	status = run_step(&r);
	if (status == SGATE_NOT_FOUND)
		status = run_missing(&r, "the snapshot");
	if (status == SGATE_OK)
		status = mydb_snapshot_read(&r, &at);
	run_close(&r);
	if (status == SGATE_OK)
		*out = at;
	return status;
}

/* Each counter once; *has counts them. */
static enum sgate_status
poll_read(struct mydb_run *r, struct durable_poll *poll, unsigned *has)
{
	int64_t group = run_get_int(r, 0, SETTINGS_GROUP);
	uint64_t number = (uint64_t)run_get_int(r, 0, INT64_MAX);

	run_get_text(r, poll->ident, sizeof(poll->ident));
	poll->now_ms = run_get_time(r);
	store_read(r, &poll->store);
	if (group == SETTINGS_GROUP)
		poll->settings = number;
	else if (group < TOKEN_GROUPS)
		poll->counters[group] = number;
	else
		return SGATE_OK;
	++*has;
	return run_row_status(r, "a row of table meta");
}

enum sgate_status
mydb_poll(struct durable *d, struct durable_poll *out, struct sgate_error *err)
{
	struct durable_poll poll = {.now_ms = 0};
	struct mydb_run r;
	unsigned has = 0;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = run_open(&r, d, MYDB_STMT_POLL, "poll", err);
	if (status != SGATE_OK)
		return status;
	while ((status = run_step(&r)) == SGATE_OK) {
		status = poll_read(&r, &poll, &has);
		if (status != SGATE_OK)
			break;
	}
	if (status == SGATE_NOT_FOUND)
		status = has == TOKEN_GROUPS + 1
			     ? SGATE_OK
			     : run_missing(&r, "a counter of table meta");
	run_close(&r);
	if (status == SGATE_OK)
		*out = poll;
	return status;
}

enum sgate_status
mydb_changes(struct durable *d, unsigned group, uint64_t after, int64_t now_ms,
    size_t limit, durable_session_fn *fn, void *arg, struct sgate_error *err)
{
	struct sgate_session *session;
	struct mydb_run r;
	bool is_stopped = false;
	enum sgate_status status;
	int i;

	if (after > INT64_MAX || limit == 0)
		return mydb_misused(
		    d, "changes", "a number that cannot be", err);
	status = run_open(&r, d, MYDB_STMT_CHANGES, "changes", err);
	if (status != SGATE_OK)
		return status;
	for (i = 0; i < 2; i++) {
		run_bind_int(&r, group);
		run_bind_int(&r, (int64_t)after);
		run_bind_int(&r, now_ms);
	}
	run_bind_limit(&r, limit - 1);
	while (!is_stopped && (status = run_step(&r)) == SGATE_OK) {
		/* One that cannot be read is not passed over: who brings the
		 * others to a copy would call it complete. */
		status = mydb_session_read(&r, &session);
		if (status != SGATE_OK)
			break;
		is_stopped = fn(arg, session) != 0;
		sgate_session_free(session);
	}
	run_close(&r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}
