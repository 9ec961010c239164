/* MySQL: the rows of audit, idempotency, leases and service keys. */
#include "config.h"

#include "durable_mysql.h"

#include <string.h>

#include "buf.h"
#include "status.h"

/* ---- audit ---- */

enum sgate_status
mydb_audit_insert(struct durable *d, const struct durable_audit *audit,
    struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status;

	if (!mydb_time_is_sound(audit->at_ms) ||
	    (unsigned)audit->reason >= SGATE_REASON_COUNT ||
	    !mydb_address_is_sound(audit->client_ip_len))
		return mydb_misused(
		    d, "audit_insert", "a value that no event has", err);
	status = run_open(&r, d, MYDB_STMT_AUDIT_INSERT, "audit_insert", err);
	if (status != SGATE_OK)
		return status;
	run_bind_blob(&r, audit->event_id, sizeof(audit->event_id));
	run_bind_int(&r, audit->at_ms);
	run_bind_text(&r, audit->host);
	run_bind_text(&r, audit->actor);
	run_bind_text(&r, audit->kind);
	run_bind_int(&r, audit->reason);
	if (audit->has_ref)
		run_bind_blob(&r, audit->ref.bytes, SGATE_REF_BYTES);
	else
		run_bind_null(&r);
	run_bind_text(&r, audit->realm);
	run_bind_text(&r, audit->user);
	run_bind_blob(&r, audit->client_ip, audit->client_ip_len);
	run_bind_text(&r, audit->detail);
	return run_finish(&r);
}

static enum sgate_status
audit_read(struct mydb_run *r, struct durable_audit *audit)
{
	memset(audit, 0, sizeof(*audit));
	run_get_blob(r, audit->event_id, sizeof(audit->event_id));
	audit->at_ms = run_get_time(r);
	run_get_text(r, audit->host, sizeof(audit->host));
	run_get_text(r, audit->actor, sizeof(audit->actor));
	run_get_text(r, audit->kind, sizeof(audit->kind));
	audit->reason =
	    (enum sgate_reason)run_get_int(r, 0, SGATE_REASON_COUNT - 1);
	audit->has_ref =
	    run_get_blob_or_null(r, audit->ref.bytes, SGATE_REF_BYTES);
	run_get_text(r, audit->realm, sizeof(audit->realm));
	run_get_text(r, audit->user, sizeof(audit->user));
	audit->client_ip_len = run_get_address(r, audit->client_ip);
	run_get_text(r, audit->detail, sizeof(audit->detail));
	return run_row_status(r, "an audit row");
}

void
mydb_event_id_at(int64_t at_ms, unsigned char out[DURABLE_EVENT_BYTES])
{
	int i;

	memset(out, 0, DURABLE_EVENT_BYTES);
	for (i = 5; i >= 0 && at_ms > 0; i--, at_ms >>= 8)
		out[i] = (unsigned char)(at_ms & 0xff);
}

/* Only the conditions that are asked for, so that the key that fits is used. */
static void
audit_list_sql(const struct durable_audit_filter *filter, struct buf *sql)
{
	buf_add_text(sql,
	    "SELECT " MYDB_AUDIT_COLUMNS " FROM audit WHERE event_id >= ?");
	if (filter->before_event_id != NULL)
		buf_add_text(sql, " AND event_id < ?");
	if (filter->ref != NULL)
		buf_add_text(sql, " AND ref = ?");
	if (filter->realm.data != NULL)
		buf_add_text(sql, " AND realm = ?");
	if (filter->user.len > 0)
		buf_add_text(sql, " AND user_id = ?");
	if (filter->kind.len > 0)
		buf_add_text(sql, " AND kind = ?");
	buf_add_text(sql, " ORDER BY event_id DESC LIMIT ?");
}

static void
audit_list_bind(struct mydb_run *r, const struct durable_audit_filter *filter,
    const unsigned char since[DURABLE_EVENT_BYTES])
{
	run_bind_blob(r, since, DURABLE_EVENT_BYTES);
	if (filter->before_event_id != NULL)
		run_bind_blob(r, filter->before_event_id, DURABLE_EVENT_BYTES);
	if (filter->ref != NULL)
		run_bind_blob(r, filter->ref->bytes, SGATE_REF_BYTES);
	if (filter->realm.data != NULL)
		run_bind_bytes(r, filter->realm);
	if (filter->user.len > 0)
		run_bind_bytes(r, filter->user);
	if (filter->kind.len > 0)
		run_bind_bytes(r, filter->kind);
	run_bind_limit(r, filter->limit == 0 ? SIZE_MAX : filter->limit);
}

static enum sgate_status
audit_list_open(struct mydb_run *r, struct durable *d,
    const struct durable_audit_filter *filter, struct sgate_error *err)
{
	struct buf sql = {0};
	enum sgate_status status;

	audit_list_sql(filter, &sql);
	if (buf_failed(&sql))
		status = error_memory(err, "audit_list");
	else
		status = run_open_text(
		    r, d, buf_text(&sql), false, "audit_list", err);
	buf_clear(&sql);
	return status;
}

enum sgate_status
mydb_audit_list(struct durable *d, const struct durable_audit_filter *filter,
    durable_audit_fn *fn, void *arg, struct sgate_error *err)
{
	unsigned char since[DURABLE_EVENT_BYTES];
	struct durable_audit audit;
	struct mydb_run r;
	enum sgate_status status = audit_list_open(&r, d, filter, err);

	if (status != SGATE_OK)
		return status;
	mydb_event_id_at(filter->since_ms, since);
	audit_list_bind(&r, filter, since);
	while ((status = run_step(&r)) == SGATE_OK) {
		status = audit_read(&r, &audit);
		if (status != SGATE_OK || fn(arg, &audit) != 0)
			break;
	}
	run_close(&r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

enum sgate_status
mydb_audit_exists(struct durable *d,
    const unsigned char event_id[DURABLE_EVENT_BYTES], struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status =
	    run_open(&r, d, MYDB_STMT_AUDIT_EXISTS, "audit_exists", err);

	if (status != SGATE_OK)
		return status;
	run_bind_blob(&r, event_id, DURABLE_EVENT_BYTES);
	status = run_step(&r);
	run_close(&r);
	return status;
}

/* ---- idempotency ---- */

enum sgate_status
mydb_idempotency_get(struct durable *d, const unsigned char id[32],
    struct durable_idempotency *out, struct sgate_error *err)
{
	struct durable_idempotency row = {0};
	struct mydb_run r;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status =
	    run_open(&r, d, MYDB_STMT_IDEMPOTENCY_GET, "idempotency_get", err);
	if (status != SGATE_OK)
		return status;
	run_bind_blob(&r, id, 32);
	status = run_step(&r);
	if (status == SGATE_OK) {
		memcpy(row.id, id, 32);
		run_get_blob(&r, row.body_hash, sizeof(row.body_hash));
		run_get_blob(&r, row.ref.bytes, SGATE_REF_BYTES);
		row.key_id = (uint8_t)run_get_int(&r, 0, UINT8_MAX);
		run_get_blob(&r, row.nonce, sizeof(row.nonce));
		row.expires_ms = run_get_time(&r);
		status = run_row_status(&r, "an idempotency row");
	}
	run_close(&r);
	if (status == SGATE_OK)
		*out = row;
	return status;
}

enum sgate_status
mydb_idempotency_insert(struct durable *d,
    const struct durable_idempotency *row, struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status = run_open(
	    &r, d, MYDB_STMT_IDEMPOTENCY_INSERT, "idempotency_insert", err);

	if (status != SGATE_OK)
		return status;
	run_bind_blob(&r, row->id, sizeof(row->id));
	run_bind_blob(&r, row->body_hash, sizeof(row->body_hash));
	run_bind_blob(&r, row->ref.bytes, SGATE_REF_BYTES);
	run_bind_int(&r, row->key_id);
	run_bind_blob(&r, row->nonce, sizeof(row->nonce));
	run_bind_int(&r, row->expires_ms);
	return run_finish(&r);
}

enum sgate_status
mydb_idempotency_remove(
    struct durable *d, const unsigned char id[32], struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status = run_open(
	    &r, d, MYDB_STMT_IDEMPOTENCY_REMOVE, "idempotency_remove", err);

	if (status != SGATE_OK)
		return status;
	run_bind_blob(&r, id, 32);
	return run_finish(&r);
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
	struct mydb_run r;
	enum sgate_status status =
	    run_open(&r, d, MYDB_STMT_LEASE_PUT, "lease_take", err);

	if (status != SGATE_OK)
		return status;
	run_bind_text(&r, lease->name);
	run_bind_text(&r, lease->holder);
	run_bind_int(&r, lease->until_ms);
	run_bind_int(&r, lease->now_ms);
	return run_finish(&r);
}

/* SGATE_DENIED: somebody else holds it now. */
static enum sgate_status
lease_look(
    struct durable *d, const struct lease *lease, struct sgate_error *err)
{
	char held_by[LEASE_TEXT_MAX + 1];
	struct mydb_run r;
	enum sgate_status status =
	    run_open(&r, d, MYDB_STMT_LEASE_GET, "lease_take", err);

	if (status != SGATE_OK)
		return status;
	run_bind_text(&r, lease->name);
	status = run_step(&r);
	if (status == SGATE_NOT_FOUND)
		status = run_missing(&r, "a lease");
	if (status == SGATE_OK) {
		run_get_text(&r, held_by, sizeof(held_by));
		run_get_time(&r);
		status = run_row_status(&r, "a lease");
	}
	if (status == SGATE_OK && strcmp(held_by, lease->holder) != 0)
		status = error_set(err, SGATE_DENIED, MYDB_SOURCE, "lease_take",
		    0, "%.64s is held by %.128s", lease->name, held_by);
	run_close(&r);
	return status;
}

static enum sgate_status
lease_work(struct durable *d, void *arg, struct sgate_error *err)
{
	enum sgate_status status = lease_put(d, arg, err);

	return status == SGATE_OK ? lease_look(d, arg, err) : status;
}

enum sgate_status
mydb_lease_take(struct durable *d, const char *name, const char *holder,
    int64_t now_ms, int64_t until_ms, struct sgate_error *err)
{
	struct lease lease = {name, holder, now_ms, until_ms};

	if (strlen(name) > LEASE_TEXT_MAX || strlen(holder) > LEASE_TEXT_MAX ||
	    !mydb_time_is_sound(until_ms))
		return mydb_misused(
		    d, "lease_take", "a value that no lease has", err);
	return mydb_transaction(d, lease_work, &lease, err);
}

enum sgate_status
mydb_lease_list(
    struct durable *d, durable_lease_fn *fn, void *arg, struct sgate_error *err)
{
	char name[LEASE_TEXT_MAX + 1];
	char holder[LEASE_TEXT_MAX + 1];
	int64_t until_ms;
	struct mydb_run r;
	enum sgate_status status =
	    run_open(&r, d, MYDB_STMT_LEASE_LIST, "lease_list", err);

	if (status != SGATE_OK)
		return status;
	while ((status = run_step(&r)) == SGATE_OK) {
		run_get_text(&r, name, sizeof(name));
		run_get_text(&r, holder, sizeof(holder));
		until_ms = run_get_time(&r);
		status = run_row_status(&r, "a lease");
		if (status != SGATE_OK || fn(arg, name, holder, until_ms) != 0)
			break;
	}
	run_close(&r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

/* ---- service keys ---- */

static enum sgate_status
service_read(struct mydb_run *r, struct durable_service *svc)
{
	memset(svc, 0, sizeof(*svc));
	run_get_text(r, svc->name, sizeof(svc->name));
	run_get_blob(r, svc->key_hash, sizeof(svc->key_hash));
	run_get_text(r, svc->scopes, sizeof(svc->scopes));
	svc->has_realm =
	    run_get_text_or_null(r, svc->realm, sizeof(svc->realm));
	svc->created_ms = run_get_time(r);
	svc->expires_ms = run_get_time(r);
	return run_row_status(r, "a service key");
}

enum sgate_status
mydb_service_get(struct durable *d, const unsigned char key_hash[32],
    struct durable_service *out, struct sgate_error *err)
{
	struct durable_service svc;
	struct mydb_run r;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = run_open(&r, d, MYDB_STMT_SERVICE_GET, "service_get", err);
	if (status != SGATE_OK)
		return status;
	run_bind_blob(&r, key_hash, 32);
	status = run_step(&r);
	if (status == SGATE_OK)
		status = service_read(&r, &svc);
	run_close(&r);
	if (status == SGATE_OK)
		*out = svc;
	return status;
}

static enum sgate_status
service_insert(struct durable *d, const struct durable_service *svc,
    struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status =
	    run_open(&r, d, MYDB_STMT_SERVICE_PUT, "service_put", err);

	if (status != SGATE_OK)
		return status;
	run_bind_text(&r, svc->name);
	run_bind_blob(&r, svc->key_hash, sizeof(svc->key_hash));
	run_bind_text(&r, svc->scopes);
	if (svc->has_realm)
		run_bind_text(&r, svc->realm);
	else
		run_bind_null(&r);
	run_bind_int(&r, svc->created_ms);
	run_bind_int(&r, svc->expires_ms);
	return run_finish(&r);
}

enum sgate_status
mydb_service_put(struct durable *d, const struct durable_service *svc,
    struct sgate_error *err)
{
	enum sgate_status status;

	if (mydb_in_transaction(d))
		return service_insert(d, svc, err);
	status = mydb_begin(d, err);
	if (status != SGATE_OK)
		return status;
	return mydb_end(d, service_insert(d, svc, err), err);
}

static enum sgate_status
service_delete(struct durable *d, const char *name, struct sgate_error *err)
{
	struct mydb_run r;
	enum sgate_status status =
	    run_open(&r, d, MYDB_STMT_SERVICE_REMOVE, "service_remove", err);

	if (status != SGATE_OK)
		return status;
	run_bind_text(&r, name);
	status = run_finish(&r);
	if (status == SGATE_OK && run_changes(&r) == 0)
		return SGATE_NOT_FOUND;
	return status;
}

enum sgate_status
mydb_service_remove(
    struct durable *d, const char *name, struct sgate_error *err)
{
	enum sgate_status status;

	if (mydb_in_transaction(d))
		return service_delete(d, name, err);
	status = mydb_begin(d, err);
	if (status != SGATE_OK)
		return status;
	return mydb_end(d, service_delete(d, name, err), err);
}

enum sgate_status
mydb_service_list(struct durable *d, durable_service_fn *fn, void *arg,
    struct sgate_error *err)
{
	struct durable_service svc;
	struct mydb_run r;
	enum sgate_status status =
	    run_open(&r, d, MYDB_STMT_SERVICE_LIST, "service_list", err);

	if (status != SGATE_OK)
		return status;
	while ((status = run_step(&r)) == SGATE_OK) {
		status = service_read(&r, &svc);
		if (status != SGATE_OK || fn(arg, &svc) != 0)
			break;
	}
	run_close(&r);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}
