/* SQLite: the rows of audit, idempotency, leases and service keys. */
#include "config.h"

#include "durable_sqlite.h"

#include <string.h>

#include "buf.h"
#include "status.h"

#define SOURCE "sqlite"

/* ---- audit ---- */

enum sgate_status
sqlite_audit_insert(struct durable *d, const struct durable_audit *audit,
    struct sgate_error *err)
{
	struct sqlite_query q;
	enum sgate_status status;

	if (!sqlite_time_is_sound(audit->at_ms) ||
	    (unsigned)audit->reason >= SGATE_REASON_COUNT ||
	    !sqlite_address_is_sound(audit->client_ip_len))
		return sqlite_misused(
		    d, "audit_insert", "a value that no event has", err);
	status =
	    query_open(&q, d, SQLITE_STMT_AUDIT_INSERT, "audit_insert", err);
	if (status != SGATE_OK)
		return status;
	query_bind_blob(&q, audit->event_id, sizeof(audit->event_id));
	query_bind_int(&q, audit->at_ms);
	query_bind_text(&q, audit->host);
	query_bind_text(&q, audit->actor);
	query_bind_text(&q, audit->kind);
	query_bind_int(&q, audit->reason);
	if (audit->has_ref)
		query_bind_blob(&q, audit->ref.bytes, SGATE_REF_BYTES);
	else
		query_bind_null(&q);
	query_bind_text(&q, audit->realm);
	query_bind_text(&q, audit->user);
	query_bind_blob(&q, audit->client_ip, audit->client_ip_len);
	query_bind_text(&q, audit->detail);
	return query_run(&q);
}

static enum sgate_status
audit_read(struct sqlite_query *q, struct durable_audit *audit)
{
	memset(audit, 0, sizeof(*audit));
	query_get_blob(q, audit->event_id, sizeof(audit->event_id));
	audit->at_ms = query_get_time(q);
	query_get_text(q, audit->host, sizeof(audit->host));
	query_get_text(q, audit->actor, sizeof(audit->actor));
	query_get_text(q, audit->kind, sizeof(audit->kind));
	audit->reason =
	    (enum sgate_reason)query_get_int(q, 0, SGATE_REASON_COUNT - 1);
	audit->has_ref =
	    query_get_blob_or_null(q, audit->ref.bytes, SGATE_REF_BYTES);
	query_get_text(q, audit->realm, sizeof(audit->realm));
	query_get_text(q, audit->user, sizeof(audit->user));
	audit->client_ip_len = query_get_address(q, audit->client_ip);
	query_get_text(q, audit->detail, sizeof(audit->detail));
	return query_row_status(q, "an audit row");
}

void
sqlite_event_id_at(int64_t at_ms, unsigned char out[DURABLE_EVENT_BYTES])
{
	int i;

	memset(out, 0, DURABLE_EVENT_BYTES);
	for (i = 5; i >= 0 && at_ms > 0; i--, at_ms >>= 8)
		out[i] = (unsigned char)(at_ms & 0xff);
}

/*
 * Only the conditions that are asked for, so that SQLite sees which index
 * fits; a unary plus keeps it from one that would need sorting. The order is
 * always that of the key, so a LIMIT stops early.
 */
static void
audit_list_sql(const struct durable_audit_filter *filter, struct buf *sql)
{
	buf_add_text(sql,
	    "SELECT " SQLITE_AUDIT_COLUMNS " FROM audit WHERE event_id >= ?1"
	    " AND event_id < coalesce(?2, "
	    "x'ffffffffffffffffffffffffffffffffff')");
	if (filter->ref != NULL)
		buf_add_text(sql, " AND ref = ?3");
	if (filter->realm.data != NULL)
		buf_add_text(sql, filter->user.len > 0 && filter->ref == NULL
				      ? " AND realm = ?4"
				      : " AND +realm = ?4");
	if (filter->user.len > 0)
		buf_add_text(sql, filter->ref == NULL ? " AND user_id = ?5"
						      : " AND +user_id = ?5");
	if (filter->kind.len > 0)
		buf_add_text(sql, " AND kind = ?6");
	buf_add_text(sql, " ORDER BY event_id DESC LIMIT ?7");
}

static enum sgate_status
audit_list_open(struct sqlite_query *q, struct durable *d,
    const struct durable_audit_filter *filter, struct sgate_error *err)
{
	struct buf sql = {0};
	enum sgate_status status;

	audit_list_sql(filter, &sql);
	if (buf_failed(&sql))
		status = error_memory(err, "audit_list");
	else
		status =
		    query_open_text(q, d, buf_text(&sql), "audit_list", err);
	buf_clear(&sql);
	return status;
}

static void
audit_list_bind(struct sqlite_query *q,
    const struct durable_audit_filter *filter,
    const unsigned char since[DURABLE_EVENT_BYTES])
{
	query_bind_blob(q, since, DURABLE_EVENT_BYTES);
	if (filter->before_event_id != NULL)
		query_bind_blob(
		    q, filter->before_event_id, DURABLE_EVENT_BYTES);
	else
		query_bind_null(q);
	/* Numbers that the text does not have are skipped over. */
	if (filter->ref != NULL)
		query_bind_blob(q, filter->ref->bytes, SGATE_REF_BYTES);
	q->bound = 3;
	if (filter->realm.data != NULL)
		query_bind_bytes(q, filter->realm);
	q->bound = 4;
	if (filter->user.len > 0)
		query_bind_bytes(q, filter->user);
	q->bound = 5;
	if (filter->kind.len > 0)
		query_bind_bytes(q, filter->kind);
	q->bound = 6;
	query_bind_int(q, filter->limit == 0 || filter->limit > INT64_MAX
			      ? -1
			      : (int64_t)filter->limit);
}

enum sgate_status
sqlite_audit_list(struct durable *d, const struct durable_audit_filter *filter,
    durable_audit_fn *fn, void *arg, struct sgate_error *err)
{
	unsigned char since[DURABLE_EVENT_BYTES];
	struct durable_audit audit;
	struct sqlite_query q;
	enum sgate_status status = audit_list_open(&q, d, filter, err);

	if (status != SGATE_OK)
		return status;
	sqlite_event_id_at(filter->since_ms, since);
	audit_list_bind(&q, filter, since);
	while ((status = query_step(&q)) == SGATE_OK) {
		status = audit_read(&q, &audit);
		if (status != SGATE_OK || fn(arg, &audit) != 0)
			break;
	}
	query_close(&q);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

enum sgate_status
sqlite_audit_exists(struct durable *d,
    const unsigned char event_id[DURABLE_EVENT_BYTES], struct sgate_error *err)
{
	struct sqlite_query q;
	enum sgate_status status =
	    query_open(&q, d, SQLITE_STMT_AUDIT_EXISTS, "audit_exists", err);

	if (status != SGATE_OK)
		return status;
	query_bind_blob(&q, event_id, DURABLE_EVENT_BYTES);
	status = query_step(&q);
	query_close(&q);
	return status;
}

/* ---- idempotency ---- */

enum sgate_status
sqlite_idempotency_get(struct durable *d, const unsigned char id[32],
    struct durable_idempotency *out, struct sgate_error *err)
{
	struct durable_idempotency row = {0};
	struct sqlite_query q;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = query_open(
	    &q, d, SQLITE_STMT_IDEMPOTENCY_GET, "idempotency_get", err);
	if (status != SGATE_OK)
		return status;
	query_bind_blob(&q, id, 32);
	status = query_step(&q);
	if (status == SGATE_OK) {
		memcpy(row.id, id, 32);
		query_get_blob(&q, row.body_hash, sizeof(row.body_hash));
		query_get_blob(&q, row.ref.bytes, SGATE_REF_BYTES);
		row.key_id = (uint8_t)query_get_int(&q, 0, UINT8_MAX);
		query_get_blob(&q, row.nonce, sizeof(row.nonce));
		row.expires_ms = query_get_time(&q);
		status = query_row_status(&q, "an idempotency row");
	}
	query_close(&q);
	if (status == SGATE_OK)
		*out = row;
	return status;
}

enum sgate_status
sqlite_idempotency_insert(struct durable *d,
    const struct durable_idempotency *row, struct sgate_error *err)
{
	struct sqlite_query q;
	enum sgate_status status = query_open(
	    &q, d, SQLITE_STMT_IDEMPOTENCY_INSERT, "idempotency_insert", err);

	if (status != SGATE_OK)
		return status;
	query_bind_blob(&q, row->id, sizeof(row->id));
	query_bind_blob(&q, row->body_hash, sizeof(row->body_hash));
	query_bind_blob(&q, row->ref.bytes, SGATE_REF_BYTES);
	query_bind_int(&q, row->key_id);
	query_bind_blob(&q, row->nonce, sizeof(row->nonce));
	query_bind_int(&q, row->expires_ms);
	return query_run(&q);
}

enum sgate_status
sqlite_idempotency_remove(
    struct durable *d, const unsigned char id[32], struct sgate_error *err)
{
	struct sqlite_query q;
	enum sgate_status status = query_open(
	    &q, d, SQLITE_STMT_IDEMPOTENCY_REMOVE, "idempotency_remove", err);

	if (status != SGATE_OK)
		return status;
	query_bind_blob(&q, id, 32);
	return query_run(&q);
}

/* ---- leases ---- */

#define LEASE_TEXT_MAX 128

/* SGATE_DENIED: somebody else holds it now. */
static enum sgate_status
lease_look(struct durable *d, const char *name, const char *holder,
    int64_t now_ms, struct sgate_error *err)
{
	char held_by[LEASE_TEXT_MAX + 1];
	int64_t until_ms;
	struct sqlite_query q;
	enum sgate_status status =
	    query_open(&q, d, SQLITE_STMT_LEASE_GET, "lease_take", err);

	if (status != SGATE_OK)
		return status;
	query_bind_text(&q, name);
	status = query_step(&q);
	if (status == SGATE_OK) {
		query_get_text(&q, held_by, sizeof(held_by));
		until_ms = query_get_time(&q);
		status = query_row_status(&q, "a lease");
		if (status == SGATE_OK && until_ms > now_ms &&
		    strcmp(held_by, holder) != 0)
			status =
			    error_set(err, SGATE_DENIED, SOURCE, "lease_take",
				0, "%.64s is held by %.128s", name, held_by);
	}
	query_close(&q);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

static enum sgate_status
lease_put(struct durable *d, const char *name, const char *holder,
    int64_t until_ms, struct sgate_error *err)
{
	struct sqlite_query q;
	enum sgate_status status =
	    query_open(&q, d, SQLITE_STMT_LEASE_PUT, "lease_take", err);

	if (status != SGATE_OK)
		return status;
	query_bind_text(&q, name);
	query_bind_text(&q, holder);
	query_bind_int(&q, until_ms);
	return query_run(&q);
}

enum sgate_status
sqlite_lease_take(struct durable *d, const char *name, const char *holder,
    int64_t now_ms, int64_t until_ms, struct sgate_error *err)
{
	enum sgate_status status;

	if (strlen(name) > LEASE_TEXT_MAX || strlen(holder) > LEASE_TEXT_MAX ||
	    !sqlite_time_is_sound(until_ms))
		return sqlite_misused(
		    d, "lease_take", "a value that no lease has", err);
	status = sqlite_begin(d, err);
	if (status != SGATE_OK)
		return status;
	status = lease_look(d, name, holder, now_ms, err);
	if (status == SGATE_OK)
		status = lease_put(d, name, holder, until_ms, err);
	return sqlite_end(d, status, err);
}

enum sgate_status
sqlite_lease_list(
    struct durable *d, durable_lease_fn *fn, void *arg, struct sgate_error *err)
{
	char name[LEASE_TEXT_MAX + 1];
	char holder[LEASE_TEXT_MAX + 1];
	int64_t until_ms;
	struct sqlite_query q;
	enum sgate_status status =
	    query_open(&q, d, SQLITE_STMT_LEASE_LIST, "lease_list", err);

	if (status != SGATE_OK)
		return status;
	while ((status = query_step(&q)) == SGATE_OK) {
		query_get_text(&q, name, sizeof(name));
		query_get_text(&q, holder, sizeof(holder));
		until_ms = query_get_time(&q);
		status = query_row_status(&q, "a lease");
		if (status != SGATE_OK || fn(arg, name, holder, until_ms) != 0)
			break;
	}
	query_close(&q);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

/* ---- service keys ---- */

static enum sgate_status
service_read(struct sqlite_query *q, struct durable_service *svc)
{
	memset(svc, 0, sizeof(*svc));
	query_get_text(q, svc->name, sizeof(svc->name));
	query_get_blob(q, svc->key_hash, sizeof(svc->key_hash));
	query_get_text(q, svc->scopes, sizeof(svc->scopes));
	svc->has_realm =
	    query_get_text_or_null(q, svc->realm, sizeof(svc->realm));
	svc->created_ms = query_get_time(q);
	svc->expires_ms = query_get_time(q);
	return query_row_status(q, "a service key");
}

enum sgate_status
sqlite_service_get(struct durable *d, const unsigned char key_hash[32],
    struct durable_service *out, struct sgate_error *err)
{
	struct durable_service svc;
	struct sqlite_query q;
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	status = query_open(&q, d, SQLITE_STMT_SERVICE_GET, "service_get", err);
	if (status != SGATE_OK)
		return status;
	query_bind_blob(&q, key_hash, 32);
	status = query_step(&q);
	if (status == SGATE_OK)
		status = service_read(&q, &svc);
	query_close(&q);
	if (status == SGATE_OK)
		*out = svc;
	return status;
}

static enum sgate_status
service_insert(struct durable *d, const struct durable_service *svc,
    struct sgate_error *err)
{
	struct sqlite_query q;
	enum sgate_status status =
	    query_open(&q, d, SQLITE_STMT_SERVICE_PUT, "service_put", err);

	if (status != SGATE_OK)
		return status;
	query_bind_text(&q, svc->name);
	query_bind_blob(&q, svc->key_hash, sizeof(svc->key_hash));
	query_bind_text(&q, svc->scopes);
	if (svc->has_realm)
		query_bind_text(&q, svc->realm);
	else
		query_bind_null(&q);
	query_bind_int(&q, svc->created_ms);
	query_bind_int(&q, svc->expires_ms);
	return query_run(&q);
}

enum sgate_status
sqlite_service_put(struct durable *d, const struct durable_service *svc,
    struct sgate_error *err)
{
	enum sgate_status status;

	if (sqlite_in_transaction(d))
		return service_insert(d, svc, err);
	status = sqlite_begin(d, err);
	if (status != SGATE_OK)
		return status;
	return sqlite_end(d, service_insert(d, svc, err), err);
}

static enum sgate_status
service_delete(struct durable *d, const char *name, struct sgate_error *err)
{
	struct sqlite_query q;
	enum sgate_status status = query_open(
	    &q, d, SQLITE_STMT_SERVICE_REMOVE, "service_remove", err);

	if (status != SGATE_OK)
		return status;
	query_bind_text(&q, name);
	status = query_run(&q);
	if (status == SGATE_OK && query_changes(&q) == 0)
		return SGATE_NOT_FOUND;
	return status;
}

enum sgate_status
sqlite_service_remove(
    struct durable *d, const char *name, struct sgate_error *err)
{
	enum sgate_status status;

	if (sqlite_in_transaction(d))
		return service_delete(d, name, err);
	status = sqlite_begin(d, err);
	if (status != SGATE_OK)
		return status;
	return sqlite_end(d, service_delete(d, name, err), err);
}

enum sgate_status
sqlite_service_list(struct durable *d, durable_service_fn *fn, void *arg,
    struct sgate_error *err)
{
	struct durable_service svc;
	struct sqlite_query q;
	enum sgate_status status =
	    query_open(&q, d, SQLITE_STMT_SERVICE_LIST, "service_list", err);

	if (status != SGATE_OK)
		return status;
	while ((status = query_step(&q)) == SGATE_OK) {
		status = service_read(&q, &svc);
		if (status != SGATE_OK || fn(arg, &svc) != 0)
			break;
	}
	query_close(&q);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}
