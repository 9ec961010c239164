/* Rows of audit, idempotency, leases and service keys. */
#include "config.h"

#include "sql.h"

#include <string.h>

#include "buf.h"
#include "status.h"

/* ---- audit ---- */

enum sgate_status
sql_audit_bind(struct sql_run *r, const struct durable_audit *audit)
{
	if (!sql_time_is_sound(audit->at_ms) ||
	    (unsigned)audit->reason >= SGATE_REASON_COUNT ||
	    !sql_address_is_sound(audit->client_ip_len))
		return sql_misused(&r->store->durable, r->operation,
		    "a value that no event has", r->err);
	sql_bind_blob(r, audit->event_id, sizeof(audit->event_id));
	sql_bind_int(r, audit->at_ms);
	sql_bind_text(r, audit->host);
	sql_bind_text(r, audit->actor);
	sql_bind_text(r, audit->kind);
	sql_bind_int(r, audit->reason);
	if (audit->has_ref)
		sql_bind_blob(r, audit->ref.bytes, SGATE_REF_BYTES);
	else
		sql_bind_null(r);
	sql_bind_text(r, audit->realm);
	sql_bind_text(r, audit->user);
	sql_bind_blob(r, audit->client_ip, audit->client_ip_len);
	sql_bind_text(r, audit->detail);
	return SGATE_OK;
}

enum sgate_status
sql_audit_insert(struct durable *d, const struct durable_audit *audit,
    struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_AUDIT_INSERT, "audit_insert", err);

	if (status != SGATE_OK)
		return status;
	status = sql_audit_bind(&r, audit);
	if (status == SGATE_OK)
		return sql_finish(&r, NULL);
	sql_close(&r);
	return status;
}

static enum sgate_status
audit_read(struct sql_run *r, struct durable_audit *audit)
{
	memset(audit, 0, sizeof(*audit));
	sql_get_blob(r, audit->event_id, sizeof(audit->event_id));
	audit->at_ms = sql_get_time(r);
	sql_get_text(r, audit->host, sizeof(audit->host));
	sql_get_text(r, audit->actor, sizeof(audit->actor));
	sql_get_text(r, audit->kind, sizeof(audit->kind));
	audit->reason =
	    (enum sgate_reason)sql_get_int(r, 0, SGATE_REASON_COUNT - 1);
	audit->has_ref =
	    sql_get_blob_or_null(r, audit->ref.bytes, SGATE_REF_BYTES);
	sql_get_text(r, audit->realm, sizeof(audit->realm));
	sql_get_text(r, audit->user, sizeof(audit->user));
	audit->client_ip_len = sql_get_address(r, audit->client_ip);
	sql_get_text(r, audit->detail, sizeof(audit->detail));
	return sql_row_status(r, "an audit row");
}

void
sql_event_id_at(int64_t at_ms, unsigned char out[DURABLE_EVENT_BYTES])
{
	int i;

	memset(out, 0, DURABLE_EVENT_BYTES);
	for (i = 5; i >= 0 && at_ms > 0; i--, at_ms >>= 8)
		out[i] = (unsigned char)(at_ms & 0xff);
}

/*
 * Only the conditions that are asked for, so that the index that fits is used;
 * others are kept out of the choice where a store would sort for them. The
 * order is always that of the key, so a LIMIT stops early.
 */
static void
audit_list_sql(const struct sql_store *store,
    const struct durable_audit_filter *filter, struct buf *sql)
{
	bool by_ref = filter->ref != NULL;
	bool by_user = filter->user.len > 0 && !by_ref;
	const char *no_index = store->driver->no_index;

	buf_add_text(
	    sql, "SELECT " SQL_AUDIT_COLUMNS " FROM audit WHERE event_id >= ?");
	if (filter->before_event_id != NULL)
		buf_add_text(sql, " AND event_id < ?");
	if (by_ref)
		buf_add_text(sql, " AND ref = ?");
	if (filter->realm.data != NULL)
		buf_printf(sql, " AND %srealm = ?", by_user ? "" : no_index);
	if (filter->user.len > 0)
		buf_printf(sql, " AND %suser_id = ?", by_user ? "" : no_index);
	if (filter->kind.len > 0)
		buf_add_text(sql, " AND kind = ?");
	buf_add_text(sql, " ORDER BY event_id DESC LIMIT ?");
}

static void
audit_list_bind(struct sql_run *r, const struct durable_audit_filter *filter,
    const unsigned char since[DURABLE_EVENT_BYTES])
{
	sql_bind_blob(r, since, DURABLE_EVENT_BYTES);
	if (filter->before_event_id != NULL)
		sql_bind_blob(r, filter->before_event_id, DURABLE_EVENT_BYTES);
	if (filter->ref != NULL)
		sql_bind_blob(r, filter->ref->bytes, SGATE_REF_BYTES);
	if (filter->realm.data != NULL)
		sql_bind_bytes(r, filter->realm);
	if (filter->user.len > 0)
		sql_bind_bytes(r, filter->user);
	if (filter->kind.len > 0)
		sql_bind_bytes(r, filter->kind);
	sql_bind_limit(r, filter->limit == 0 ? SIZE_MAX : filter->limit);
}

static enum sgate_status
audit_list_open(struct sql_run *r, struct durable *d,
    const struct durable_audit_filter *filter, struct sgate_error *err)
{
	struct buf sql = {0};
	enum sgate_status status;

	audit_list_sql((const struct sql_store *)d, filter, &sql);
	if (buf_failed(&sql))
		status = error_memory(err, "audit_list");
	else
		status = sql_open_text(r, d, buf_text(&sql), "audit_list", err);
	buf_clear(&sql);
	return status;
}

enum sgate_status
sql_audit_list(struct durable *d, const struct durable_audit_filter *filter,
    durable_audit_fn *fn, void *arg, struct sgate_error *err)
{
	unsigned char since[DURABLE_EVENT_BYTES];
	struct durable_audit audit;
	struct sql_run r;
	enum sgate_status status = audit_list_open(&r, d, filter, err);

	if (status != SGATE_OK)
		return status;
	sql_event_id_at(filter->since_ms, since);
	audit_list_bind(&r, filter, since);
	while ((status = sql_step(&r)) == SGATE_OK) {
		status = audit_read(&r, &audit);
		if (status != SGATE_OK || fn(arg, &audit) != 0)
			break;
	}
	sql_close(&r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

enum sgate_status
sql_audit_exists(struct durable *d,
    const unsigned char event_id[DURABLE_EVENT_BYTES], struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_AUDIT_EXISTS, "audit_exists", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_blob(&r, event_id, DURABLE_EVENT_BYTES);
	status = sql_step(&r);
	sql_close(&r);
	return status;
}

/* ---- idempotency ---- */

enum sgate_status
sql_idempotency_get(struct durable *d, const unsigned char id[32],
    struct durable_idempotency *out, struct sgate_error *err)
{
	struct durable_idempotency row = {0};
	struct sql_run r;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = sql_open(&r, d, SQL_IDEMPOTENCY_GET, "idempotency_get", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_blob(&r, id, 32);
	status = sql_step(&r);
	if (status == SGATE_OK) {
		memcpy(row.id, id, 32);
		sql_get_blob(&r, row.body_hash, sizeof(row.body_hash));
		sql_get_blob(&r, row.ref.bytes, SGATE_REF_BYTES);
		row.key_id = (uint8_t)sql_get_int(&r, 0, UINT8_MAX);
		sql_get_blob(&r, row.nonce, sizeof(row.nonce));
		row.expires_ms = sql_get_time(&r);
		status = sql_row_status(&r, "an idempotency row");
	}
	sql_close(&r);
	if (status == SGATE_OK)
		*out = row;
	return status;
}

enum sgate_status
sql_idempotency_insert(struct durable *d, const struct durable_idempotency *row,
    struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_IDEMPOTENCY_INSERT, "idempotency_insert", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_blob(&r, row->id, sizeof(row->id));
	sql_bind_blob(&r, row->body_hash, sizeof(row->body_hash));
	sql_bind_blob(&r, row->ref.bytes, SGATE_REF_BYTES);
	sql_bind_int(&r, row->key_id);
	sql_bind_blob(&r, row->nonce, sizeof(row->nonce));
	sql_bind_int(&r, row->expires_ms);
	return sql_finish(&r, NULL);
}

enum sgate_status
sql_idempotency_remove(
    struct durable *d, const unsigned char id[32], struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_IDEMPOTENCY_REMOVE, "idempotency_remove", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_blob(&r, id, 32);
	return sql_finish(&r, NULL);
}

/* ---- leases ---- */

#define LEASE_TEXT_MAX 128

struct lease {
	const char *name;
	const char *holder;
	int64_t now_ms;
	int64_t until_ms;
};

static enum sgate_status
lease_put(struct durable *d, const struct lease *lease, struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_LEASE_PUT, "lease_take", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_text(&r, lease->name);
	sql_bind_text(&r, lease->holder);
	sql_bind_int(&r, lease->until_ms);
	sql_bind_int(&r, lease->now_ms);
	return sql_finish(&r, NULL);
}

/* SGATE_DENIED: somebody else holds it now. */
static enum sgate_status
lease_look(
    struct durable *d, const struct lease *lease, struct sgate_error *err)
{
	char held_by[LEASE_TEXT_MAX + 1];
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_LEASE_GET, "lease_take", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_text(&r, lease->name);
	status = sql_step(&r);
	if (status == SGATE_NOT_FOUND)
		status = sql_missing(&r, "a lease");
	if (status == SGATE_OK) {
		sql_get_text(&r, held_by, sizeof(held_by));
		sql_get_time(&r);
		status = sql_row_status(&r, "a lease");
	}
	if (status == SGATE_OK && strcmp(held_by, lease->holder) != 0)
		status = error_set(err, SGATE_DENIED, r.store->driver->source,
		    "lease_take", 0, "%.64s is held by %.128s", lease->name,
		    held_by);
	sql_close(&r);
	return status;
}

static enum sgate_status
lease_work(struct durable *d, void *arg, struct sgate_error *err)
{
	enum sgate_status status = lease_put(d, arg, err);

	return status == SGATE_OK ? lease_look(d, arg, err) : status;
}

enum sgate_status
sql_lease_take(struct durable *d, const char *name, const char *holder,
    int64_t now_ms, int64_t until_ms, struct sgate_error *err)
{
	struct lease lease = {name, holder, now_ms, until_ms};

	if (strlen(name) > LEASE_TEXT_MAX || strlen(holder) > LEASE_TEXT_MAX ||
	    !sql_time_is_sound(until_ms))
		return sql_misused(
		    d, "lease_take", "a value that no lease has", err);
	return ((struct sql_store *)d)
	    ->driver->transaction(d, lease_work, &lease, err);
}

enum sgate_status
sql_lease_list(
    struct durable *d, durable_lease_fn *fn, void *arg, struct sgate_error *err)
{
	char name[LEASE_TEXT_MAX + 1];
	char holder[LEASE_TEXT_MAX + 1];
	int64_t until_ms;
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_LEASE_LIST, "lease_list", err);

	if (status != SGATE_OK)
		return status;
	while ((status = sql_step(&r)) == SGATE_OK) {
		sql_get_text(&r, name, sizeof(name));
		sql_get_text(&r, holder, sizeof(holder));
		until_ms = sql_get_time(&r);
		status = sql_row_status(&r, "a lease");
		if (status != SGATE_OK || fn(arg, name, holder, until_ms) != 0)
			break;
	}
	sql_close(&r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

/* ---- service keys ---- */

static enum sgate_status
service_read(struct sql_run *r, struct durable_service *svc)
{
	memset(svc, 0, sizeof(*svc));
	sql_get_text(r, svc->name, sizeof(svc->name));
	sql_get_blob(r, svc->key_hash, sizeof(svc->key_hash));
	sql_get_text(r, svc->scopes, sizeof(svc->scopes));
	svc->has_realm =
	    sql_get_text_or_null(r, svc->realm, sizeof(svc->realm));
	svc->created_ms = sql_get_time(r);
	svc->expires_ms = sql_get_time(r);
	return sql_row_status(r, "a service key");
}

enum sgate_status
sql_service_get(struct durable *d, const unsigned char key_hash[32],
    struct durable_service *out, struct sgate_error *err)
{
	struct durable_service svc;
	struct sql_run r;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = sql_open(&r, d, SQL_SERVICE_GET, "service_get", err);
	if (status != SGATE_OK)
		return status;
	sql_bind_blob(&r, key_hash, 32);
	status = sql_step(&r);
	if (status == SGATE_OK)
		status = service_read(&r, &svc);
	sql_close(&r);
	if (status == SGATE_OK)
		*out = svc;
	return status;
}

static enum sgate_status
service_insert(struct durable *d, void *arg, struct sgate_error *err)
{
	const struct durable_service *svc = arg;
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_SERVICE_PUT, "service_put", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_text(&r, svc->name);
	sql_bind_blob(&r, svc->key_hash, sizeof(svc->key_hash));
	sql_bind_text(&r, svc->scopes);
	if (svc->has_realm)
		sql_bind_text(&r, svc->realm);
	else
		sql_bind_null(&r);
	sql_bind_int(&r, svc->created_ms);
	sql_bind_int(&r, svc->expires_ms);
	return sql_finish(&r, NULL);
}

static enum sgate_status
service_delete(struct durable *d, void *arg, struct sgate_error *err)
{
	const char *name = arg;
	struct sql_run r;
	uint64_t changes;
	enum sgate_status status =
	    sql_open(&r, d, SQL_SERVICE_REMOVE, "service_remove", err);

	if (status != SGATE_OK)
		return status;
	sql_bind_text(&r, name);
	status = sql_finish(&r, &changes);
	return status == SGATE_OK && changes == 0 ? SGATE_NOT_FOUND : status;
}

/* In the transaction that is open, else in one of its own. */
static enum sgate_status
work_within(
    struct durable *d, sql_work_fn *work, void *arg, struct sgate_error *err)
{
	const struct sql_driver *driver = ((struct sql_store *)d)->driver;

	if (driver->in_transaction(d))
		return work(d, arg, err);
	return driver->transaction(d, work, arg, err);
}

enum sgate_status
sql_service_put(struct durable *d, const struct durable_service *svc,
    struct sgate_error *err)
{
	struct durable_service row = *svc;

	return work_within(d, service_insert, &row, err);
}

enum sgate_status
sql_service_remove(struct durable *d, const char *name, struct sgate_error *err)
{
	char copy[sizeof(((struct durable_service *)NULL)->name)];

	error_clear(err);
	if (strlen(name) >= sizeof(copy))
		return SGATE_NOT_FOUND;
	memcpy(copy, name, strlen(name) + 1);
	return work_within(d, service_delete, copy, err);
}

enum sgate_status
sql_service_list(struct durable *d, durable_service_fn *fn, void *arg,
    struct sgate_error *err)
{
	struct durable_service svc;
	struct sql_run r;
	enum sgate_status status =
	    sql_open(&r, d, SQL_SERVICE_LIST, "service_list", err);

	if (status != SGATE_OK)
		return status;
	while ((status = sql_step(&r)) == SGATE_OK) {
		status = service_read(&r, &svc);
		if (status != SGATE_OK || fn(arg, &svc) != 0)
			break;
	}
	sql_close(&r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}
