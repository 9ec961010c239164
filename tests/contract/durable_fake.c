/*
 * The fake store. A transaction works on a deep copy of the database, which a
 * commit puts in the place of the original: slow, and plainly right. Lists are
 * arrays of fixed-size rows in no order; what has an order is sorted when it
 * is listed.
 *
 * Every operation starts with fake_enter(), which counts it and looks into the
 * script. What changes something ends with fake_leave(), for answers that come
 * after the effect.
 */
#include "config.h"

#include "durable_fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "clock.h"
#include "status.h"

#define SOURCE "fake"
#define RULES_MAX 32
#define OPERATIONS_MAX 48

/* ---- the database ---- */

struct list {
	char *rows;
	size_t count;
	size_t row_size;
};

struct user_row {
	char realm[SESSION_REALM_MAX + 1];
	char user[SESSION_USER_MAX + 1];
	struct durable_user state;
};

struct lease_row {
	char name[129]; /* first: lists are sorted by it */
	char holder[129];
	int64_t until_ms;
};

struct setting_row {
	char name[DURABLE_SETTING_NAME_MAX + 1];
	char value[4096];
};

struct database {
	bool has_schema;
	struct list sessions; /* of struct sgate_session * */
	struct list audits;
	struct list idempotencies;
	struct list users;
	struct list leases;
	struct list services;
	struct list settings;
	uint64_t counters[TOKEN_GROUPS];
};

struct rule {
	const char *operation;
	unsigned call; /* the absolute number; 0: used up */
	enum fake_answer answer;
};

struct fake {
	struct durable durable;   /* first */
	struct database *working; /* NULL: not in a transaction */
};

static struct database *committed;
static struct fake_server server;
static struct fake *writer; /* who is in a transaction */
static struct rule rules[RULES_MAX];
static struct {
	const char *operation;
	unsigned calls;
} counts[OPERATIONS_MAX];

/* Running out of memory in earnest ends the test. */
static void *
must_alloc(void *memory)
{
	if (memory == NULL) {
		fprintf(stderr, "fake store: out of memory\n");
		abort();
	}
	return memory;
}

static void *
list_at(const struct list *list, size_t index)
{
	return list->rows + index * list->row_size;
}

static void
list_add(struct list *list, const void *row)
{
	list->rows =
	    must_alloc(realloc(list->rows, (list->count + 1) * list->row_size));
	memcpy(list_at(list, list->count++), row, list->row_size);
}

static void
list_remove(struct list *list, size_t index)
{
	memmove(list_at(list, index), list_at(list, index + 1),
	    (list->count - index - 1) * list->row_size);
	list->count--;
}

static struct list
list_copy(const struct list *list)
{
	struct list copy = {NULL, list->count, list->row_size};

	if (list->count == 0)
		return copy;
	copy.rows = must_alloc(malloc(list->count * list->row_size));
	memcpy(copy.rows, list->rows, list->count * list->row_size);
	return copy;
}

static struct sgate_session **
session_at(const struct database *db, size_t index)
{
	return list_at(&db->sessions, index);
}

static struct database *
database_new(void)
{
	struct database *db = must_alloc(calloc(1, sizeof(*db)));

	db->sessions.row_size = sizeof(struct sgate_session *);
	db->audits.row_size = sizeof(struct durable_audit);
	db->idempotencies.row_size = sizeof(struct durable_idempotency);
	db->users.row_size = sizeof(struct user_row);
	db->leases.row_size = sizeof(struct lease_row);
	db->services.row_size = sizeof(struct durable_service);
	db->settings.row_size = sizeof(struct setting_row);
	return db;
}

static struct database *
database_copy(const struct database *db)
{
	struct database *copy = database_new();
	size_t i;

	*copy = *db;
	copy->sessions = list_copy(&db->sessions);
	copy->audits = list_copy(&db->audits);
	copy->idempotencies = list_copy(&db->idempotencies);
	copy->users = list_copy(&db->users);
	copy->leases = list_copy(&db->leases);
	copy->services = list_copy(&db->services);
	copy->settings = list_copy(&db->settings);
	for (i = 0; i < copy->sessions.count; i++)
		*session_at(copy, i) =
		    must_alloc(sgate_session_dup(*session_at(copy, i)));
	return copy;
}

static void
database_free(struct database *db)
{
	size_t i;

	if (db == NULL)
		return;
	for (i = 0; i < db->sessions.count; i++)
		sgate_session_free(*session_at(db, i));
	free(db->sessions.rows);
	free(db->audits.rows);
	free(db->idempotencies.rows);
	free(db->users.rows);
	free(db->leases.rows);
	free(db->services.rows);
	free(db->settings.rows);
	free(db);
}

/* ---- the script ---- */

void
fake_reset(bool has_schema)
{
	database_free(committed);
	committed = database_new();
	committed->has_schema = has_schema;
	server = (struct fake_server){.store.epoch = 1, .ident = "fake"};
	memset(server.store.id, 0x5a, sizeof(server.store.id));
	writer = NULL;
	memset(rules, 0, sizeof(rules));
	memset(counts, 0, sizeof(counts));
}

static unsigned *
calls_of(const char *operation)
{
	size_t i;

	for (i = 0; i < OPERATIONS_MAX; i++) {
		if (counts[i].operation == NULL)
			counts[i].operation = operation;
		if (strcmp(counts[i].operation, operation) == 0)
			return &counts[i].calls;
	}
	abort();
}

void
fake_script(const char *operation, unsigned nth, enum fake_answer answer)
{
	size_t i = 0;

	while (i < RULES_MAX && rules[i].call != 0)
		i++;
	if (i == RULES_MAX || nth == 0)
		abort();
	rules[i].operation = operation;
	rules[i].call = *calls_of(operation) + nth;
	rules[i].answer = answer;
}

unsigned
fake_calls(const char *operation)
{
	return *calls_of(operation);
}

struct fake_server *
fake_server(void)
{
	return &server;
}

bool
fake_is_idle(void)
{
	return writer == NULL;
}

static enum sgate_status
scripted_status(enum fake_answer answer)
{
	switch (answer) {
	case FAKE_UNAVAILABLE:
	case FAKE_REFUSED:
		return SGATE_UNAVAILABLE;
	case FAKE_UNCERTAIN_DONE:
	case FAKE_UNCERTAIN_LOST:
		return SGATE_UNCERTAIN;
	case FAKE_CORRUPT:
		return SGATE_CORRUPT;
	case FAKE_CONFLICT:
		return SGATE_CONFLICT;
	case FAKE_NO_MEMORY:
		return SGATE_NO_MEMORY;
	}
	return SGATE_INTERNAL;
}

/* One call of an operation. */
struct call {
	struct fake *fake;
	struct database *db; /* what it sees */
	const char *operation;
	struct sgate_error *err;
	bool is_doubtful; /* to be done, then answered as uncertain */
};

static enum sgate_status
call_fail(const struct call *call, enum sgate_status status, const char *text)
{
	return error_set(call->err, status, SOURCE, call->operation, 0,
	    "fake store: %s", text);
}

static enum sgate_status
call_scripted(struct call *call)
{
	unsigned number = ++*calls_of(call->operation);
	size_t i;

	for (i = 0; i < RULES_MAX; i++) {
		if (rules[i].call != number ||
		    strcmp(rules[i].operation, call->operation) != 0)
			continue;
		rules[i].call = 0;
		call->is_doubtful = rules[i].answer == FAKE_UNCERTAIN_DONE;
		if (call->is_doubtful)
			return SGATE_OK;
		call->fake->durable.is_unreachable =
		    rules[i].answer != FAKE_REFUSED;
		call->fake->durable.has_answered =
		    rules[i].answer == FAKE_REFUSED;
		return call_fail(
		    call, scripted_status(rules[i].answer), "as scripted");
	}
	return SGATE_OK;
}

static enum sgate_status
fake_enter(struct call *call, struct durable *d, const char *operation,
    struct sgate_error *err)
{
	struct fake *fake = (struct fake *)d;
	enum sgate_status status;

	*call = (struct call){.fake = fake,
	    .db = fake->working != NULL ? fake->working : committed,
	    .operation = operation,
	    .err = err};
	error_clear(err);
	status = call_scripted(call);
	if (status != SGATE_OK)
		return status;
	if (clock_monotonic_ms() >= d->deadline_ms)
		return call_fail(call, SGATE_UNAVAILABLE, "no time left");
	return SGATE_OK;
}

/* Operations on rows. */
static enum sgate_status
fake_enter_made(struct call *call, struct durable *d, const char *operation,
    struct sgate_error *err)
{
	enum sgate_status status = fake_enter(call, d, operation, err);

	if (status == SGATE_OK && !call->db->has_schema)
		return call_fail(call, SGATE_UNAVAILABLE, "has no tables");
	return status;
}

/* Operations that belong in a transaction. */
static enum sgate_status
fake_enter_within(struct call *call, struct durable *d, const char *operation,
    struct sgate_error *err)
{
	enum sgate_status status = fake_enter_made(call, d, operation, err);

	if (status == SGATE_OK && call->fake->working == NULL)
		return call_fail(call, SGATE_INTERNAL, "needs a transaction");
	return status;
}

static enum sgate_status
fake_leave(const struct call *call)
{
	if (!call->is_doubtful)
		return SGATE_OK;
	call->fake->durable.is_unreachable = true;
	return call_fail(call, SGATE_UNCERTAIN, "as scripted");
}

/* ---- open, close, schema, transactions ---- */

static enum sgate_status
fake_open(const struct sgate_conf *conf, struct durable **out,
    struct sgate_error *err)
{
	struct fake *fake = must_alloc(calloc(1, sizeof(*fake)));

	(void)conf;
	error_clear(err);
	if (committed == NULL)
		fake_reset(false);
	fake->durable.ops = &durable_fake;
	*out = &fake->durable;
	return SGATE_OK;
}

static void
fake_rollback(struct durable *d)
{
	struct fake *fake = (struct fake *)d;

	if (fake->working == NULL)
		return;
	++*calls_of("rollback");
	database_free(fake->working);
	fake->working = NULL;
	writer = NULL;
}

static void
fake_close(struct durable *d)
{
	if (d == NULL)
		return;
	fake_rollback(d);
	free(d);
}

static enum sgate_status
fake_ping(struct durable *d, struct sgate_error *err)
{
	struct call call;

	return fake_enter_made(&call, d, "ping", err);
}

static enum sgate_status
fake_schema_init(struct durable *d, struct sgate_error *err)
{
	struct call call;
	enum sgate_status status = fake_enter(&call, d, "schema_init", err);

	if (status != SGATE_OK)
		return status;
	call.db->has_schema = true;
	return fake_leave(&call);
}

static enum sgate_status
fake_schema_check(struct durable *d, struct sgate_error *err)
{
	struct call call;
	enum sgate_status status = fake_enter(&call, d, "schema_check", err);

	if (status == SGATE_OK && !call.db->has_schema)
		return call_fail(&call, SGATE_INVALID, "has no tables");
	return status;
}

static enum sgate_status
fake_store_get(struct durable *d, unsigned char id[16], unsigned *out_epoch,
    struct sgate_error *err)
{
	struct call call;
	enum sgate_status status = fake_enter_made(&call, d, "store_get", err);

	memset(id, 0, 16);
	*out_epoch = 0;
	if (status != SGATE_OK)
		return status;
	memcpy(id, server.store.id, 16);
	*out_epoch = server.store.epoch;
	return SGATE_OK;
}

static enum sgate_status
fake_begin(struct durable *d, struct sgate_error *err)
{
	struct call call;
	enum sgate_status status = fake_enter_made(&call, d, "begin", err);

	if (status != SGATE_OK)
		return status;
	if (call.fake->working != NULL)
		return call_fail(
		    &call, SGATE_INTERNAL, "in a transaction already");
	/* One thread: waiting would be for ever. */
	if (writer != NULL)
		return call_fail(
		    &call, SGATE_UNAVAILABLE, "another handle is writing");
	call.fake->working = database_copy(committed);
	writer = call.fake;
	return SGATE_OK;
}

static enum sgate_status
fake_commit(struct durable *d, struct sgate_error *err)
{
	struct call call;
	enum sgate_status status = fake_enter_within(&call, d, "commit", err);

	if (status != SGATE_OK) {
		fake_rollback(d);
		return status;
	}
	database_free(committed);
	committed = call.fake->working;
	call.fake->working = NULL;
	writer = NULL;
	return fake_leave(&call);
}

/* ---- audit ---- */

static struct durable_audit *
audit_find(const struct database *db,
    const unsigned char event_id[DURABLE_EVENT_BYTES])
{
	struct durable_audit *audit;
	size_t i;

	for (i = 0; i < db->audits.count; i++) {
		audit = list_at(&db->audits, i);
		if (memcmp(audit->event_id, event_id, DURABLE_EVENT_BYTES) == 0)
			return audit;
	}
	return NULL;
}

static enum sgate_status
fake_audit_insert(struct durable *d, const struct durable_audit *audit,
    struct sgate_error *err)
{
	struct call call;
	enum sgate_status status =
	    fake_enter_within(&call, d, "audit_insert", err);

	if (status != SGATE_OK)
		return status;
	if (audit_find(call.db, audit->event_id) != NULL)
		return call_fail(&call, SGATE_CONFLICT, "event id is there");
	list_add(&call.db->audits, audit);
	return SGATE_OK;
}

static int64_t
event_ms(const unsigned char event_id[DURABLE_EVENT_BYTES])
{
	int64_t at_ms = 0;
	int i;

	for (i = 0; i < 6; i++)
		at_ms = at_ms << 8 | event_id[i];
	return at_ms;
}

static bool
audit_matches(
    const struct durable_audit *audit, const struct durable_audit_filter *f)
{
	if (f->realm.data != NULL && !bytes_equal_text(f->realm, audit->realm))
		return false;
	if (f->user.len > 0 && !bytes_equal_text(f->user, audit->user))
		return false;
	if (f->kind.len > 0 && !bytes_equal_text(f->kind, audit->kind))
		return false;
	if (f->ref != NULL && (!audit->has_ref || memcmp(f->ref, &audit->ref,
						      sizeof(audit->ref)) != 0))
		return false;
	if (f->before_event_id != NULL &&
	    memcmp(audit->event_id, f->before_event_id, DURABLE_EVENT_BYTES) >=
		0)
		return false;
	return event_ms(audit->event_id) >= f->since_ms;
}

static int
audit_compare_newest(const void *a, const void *b)
{
	return memcmp(((const struct durable_audit *)b)->event_id,
	    ((const struct durable_audit *)a)->event_id, DURABLE_EVENT_BYTES);
}

static enum sgate_status
fake_audit_list(struct durable *d, const struct durable_audit_filter *filter,
    durable_audit_fn *fn, void *arg, struct sgate_error *err)
{
	struct call call;
	struct list sorted;
	size_t given = 0;
	size_t i;
	enum sgate_status status = fake_enter_made(&call, d, "audit_list", err);

	if (status != SGATE_OK)
		return status;
	sorted = list_copy(&call.db->audits);
	if (sorted.count > 0)
		qsort(sorted.rows, sorted.count, sorted.row_size,
		    audit_compare_newest);
	for (i = 0; i < sorted.count; i++) {
		if (!audit_matches(list_at(&sorted, i), filter))
			continue;
		if (filter->limit != 0 && given++ == filter->limit)
			break;
		if (fn(arg, list_at(&sorted, i)) != 0)
			break;
	}
	free(sorted.rows);
	return SGATE_OK;
}

static enum sgate_status
fake_audit_exists(struct durable *d,
    const unsigned char event_id[DURABLE_EVENT_BYTES], struct sgate_error *err)
{
	struct call call;
	enum sgate_status status =
	    fake_enter_made(&call, d, "audit_exists", err);

	if (status != SGATE_OK)
		return status;
	return audit_find(call.db, event_id) != NULL ? SGATE_OK
						     : SGATE_NOT_FOUND;
}

/* ---- idempotency ---- */

/* The index, or count when it is not there. */
static size_t
idempotency_find(const struct database *db, const unsigned char id[32])
{
	const struct durable_idempotency *row;
	size_t i;

	for (i = 0; i < db->idempotencies.count; i++) {
		row = list_at(&db->idempotencies, i);
		if (memcmp(row->id, id, 32) == 0)
			break;
	}
	return i;
}

static enum sgate_status
fake_idempotency_get(struct durable *d, const unsigned char id[32],
    struct durable_idempotency *out, struct sgate_error *err)
{
	struct call call;
	size_t i;
	enum sgate_status status =
	    fake_enter_made(&call, d, "idempotency_get", err);

	memset(out, 0, sizeof(*out));
	if (status != SGATE_OK)
		return status;
	i = idempotency_find(call.db, id);
	if (i == call.db->idempotencies.count)
		return SGATE_NOT_FOUND;
	memcpy(out, list_at(&call.db->idempotencies, i), sizeof(*out));
	return SGATE_OK;
}

static enum sgate_status
fake_idempotency_insert(struct durable *d,
    const struct durable_idempotency *row, struct sgate_error *err)
{
	struct call call;
	enum sgate_status status =
	    fake_enter_within(&call, d, "idempotency_insert", err);

	if (status != SGATE_OK)
		return status;
	if (idempotency_find(call.db, row->id) < call.db->idempotencies.count)
		return call_fail(&call, SGATE_CONFLICT, "id is there");
	list_add(&call.db->idempotencies, row);
	return SGATE_OK;
}

static enum sgate_status
fake_idempotency_remove(
    struct durable *d, const unsigned char id[32], struct sgate_error *err)
{
	struct call call;
	size_t i;
	enum sgate_status status =
	    fake_enter_within(&call, d, "idempotency_remove", err);

	if (status != SGATE_OK)
		return status;
	i = idempotency_find(call.db, id);
	if (i < call.db->idempotencies.count)
		list_remove(&call.db->idempotencies, i);
	return SGATE_OK;
}

/* ---- users ---- */

static struct user_row *
user_find(const struct database *db, struct sgate_bytes realm,
    struct sgate_bytes user)
{
	struct user_row *row;
	size_t i;

	for (i = 0; i < db->users.count; i++) {
		row = list_at(&db->users, i);
		if (bytes_equal_text(realm, row->realm) &&
		    bytes_equal_text(user, row->user))
			return row;
	}
	return NULL;
}

static enum sgate_status
fake_user_lock(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, bool exclusive, struct durable_user *out,
    struct sgate_error *err)
{
	struct call call;
	const struct user_row *row;
	enum sgate_status status =
	    fake_enter_within(&call, d, "user_lock", err);

	(void)exclusive;
	memset(out, 0, sizeof(*out));
	if (status != SGATE_OK)
		return status;
	row = user_find(call.db, realm, user);
	if (row != NULL)
		*out = row->state;
	return SGATE_OK;
}

static void
copy_bytes(char *out, size_t size, struct sgate_bytes bytes)
{
	if (bytes.len >= size)
		abort();
	memset(out, 0, size);
	if (bytes.len > 0)
		memcpy(out, bytes.data, bytes.len);
}

static enum sgate_status
fake_user_block(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, int64_t blocked_ms, struct sgate_bytes reason,
    struct sgate_error *err)
{
	struct call call;
	struct user_row *row;
	struct user_row fresh = {0};
	enum sgate_status status =
	    fake_enter_within(&call, d, "user_block", err);

	if (status != SGATE_OK)
		return status;
	if (reason.len >= sizeof(fresh.state.blocked_reason))
		return call_fail(&call, SGATE_INTERNAL, "reason is too long");
	row = user_find(call.db, realm, user);
	if (row == NULL) {
		copy_bytes(fresh.realm, sizeof(fresh.realm), realm);
		copy_bytes(fresh.user, sizeof(fresh.user), user);
		list_add(&call.db->users, &fresh);
		row = user_find(call.db, realm, user);
	}
	memset(&row->state, 0, sizeof(row->state));
	row->state.blocked_ms = blocked_ms;
	if (blocked_ms != 0)
		copy_bytes(row->state.blocked_reason,
		    sizeof(row->state.blocked_reason), reason);
	return SGATE_OK;
}

static enum sgate_status
fake_blocked_users(struct durable *d, size_t limit, durable_user_fn *fn,
    void *arg, struct sgate_error *err)
{
	const struct user_row *row;
	struct call call;
	enum sgate_status status =
	    fake_enter_made(&call, d, "blocked_users", err);
	size_t i;

	for (i = 0; status == SGATE_OK && limit > 0 && i < call.db->users.count;
	     i++) {
		row = list_at(&call.db->users, i);
		if (row->state.blocked_ms == 0)
			continue;
		limit--;
		if (fn(arg, bytes_of(row->realm), bytes_of(row->user)) != 0)
			break;
	}
	return status;
}

static int
session_compare_newest(const void *a, const void *b)
{
	const struct sgate_session *x = *(struct sgate_session *const *)a;
	const struct sgate_session *y = *(struct sgate_session *const *)b;

	if (x->created_ms != y->created_ms)
		return x->created_ms < y->created_ms ? 1 : -1;
	return memcmp(&y->ref, &x->ref, sizeof(x->ref));
}

static int
session_compare_key(const void *a, const void *b)
{
	return memcmp(&(*(struct sgate_session *const *)a)->ref,
	    &(*(struct sgate_session *const *)b)->ref, SGATE_REF_BYTES);
}

/* Pointers to the database's own rows. */
static struct list
sessions_sorted(
    const struct database *db, int (*compare)(const void *, const void *))
{
	struct list sorted = list_copy(&db->sessions);

	if (sorted.count > 0)
		qsort(sorted.rows, sorted.count, sorted.row_size, compare);
	return sorted;
}

static struct sgate_session *
session_copy(const struct sgate_session *session, bool has_data)
{
	const struct sgate_bytes empty = {"", 0};
	struct sgate_session *copy = must_alloc(sgate_session_dup(session));

	if (!has_data && !session_set(&copy->data, empty))
		abort();
	return copy;
}

static enum sgate_status
fake_user_sessions(struct durable *d, struct sgate_bytes realm,
    struct sgate_bytes user, size_t limit, durable_session_fn *fn, void *arg,
    struct sgate_error *err)
{
	struct call call;
	struct list sorted;
	struct sgate_session *session;
	size_t given = 0;
	size_t i;
	int stop = 0;
	enum sgate_status status =
	    fake_enter_made(&call, d, "user_sessions", err);

	if (status != SGATE_OK)
		return status;
	sorted = sessions_sorted(call.db, session_compare_newest);
	for (i = 0; i < sorted.count && stop == 0; i++) {
		session = *(struct sgate_session **)list_at(&sorted, i);
		if (session->state != SESSION_LIVE ||
		    !bytes_equal_text(realm, session->realm) ||
		    !bytes_equal_text(user, session->user))
			continue;
		if (limit != 0 && given++ == limit)
			break;
		session = session_copy(session, false);
		stop = fn(arg, session);
		sgate_session_free(session);
	}
	free(sorted.rows);
	return SGATE_OK;
}

/* ---- sessions ---- */

static struct sgate_session **
session_find(const struct database *db, const struct sgate_ref *ref)
{
	size_t i;

	for (i = 0; i < db->sessions.count; i++)
		if (memcmp(&(*session_at(db, i))->ref, ref, sizeof(*ref)) == 0)
			return session_at(db, i);
	return NULL;
}

static struct durable_snapshot
snapshot_of(const struct database *db, unsigned group)
{
	return (struct durable_snapshot){db->counters[group], server.store};
}

static enum sgate_status
fake_session_get(struct durable *d, const struct sgate_ref *ref, unsigned flags,
    struct sgate_session **out, struct durable_snapshot *out_at,
    struct sgate_error *err)
{
	struct call call;
	struct sgate_session **found;
	enum sgate_status status;

	*out = NULL;
	if (out_at != NULL)
		memset(out_at, 0, sizeof(*out_at));
	if ((flags & DURABLE_FOR_UPDATE) != 0)
		status = fake_enter_within(&call, d, "session_get", err);
	else
		status = fake_enter_made(&call, d, "session_get", err);
	if (status != SGATE_OK)
		return status;
	found = session_find(call.db, ref);
	if (found == NULL)
		return SGATE_NOT_FOUND;
	*out = session_copy(*found, (flags & DURABLE_NO_DATA) == 0);
	if (out_at != NULL)
		*out_at = snapshot_of(call.db, token_ref_group(ref));
	return SGATE_OK;
}

static enum sgate_status
fake_session_insert(struct durable *d, const struct sgate_session *session,
    struct sgate_error *err)
{
	struct call call;
	struct sgate_session *copy;
	enum sgate_status status =
	    fake_enter_within(&call, d, "session_insert", err);

	if (status != SGATE_OK)
		return status;
	if (session_find(call.db, &session->ref) != NULL)
		return call_fail(&call, SGATE_CONFLICT, "ref is there");
	copy = session_copy(session, true);
	list_add(&call.db->sessions, &copy);
	return SGATE_OK;
}

static enum sgate_status
fake_session_store(struct durable *d, const struct sgate_session *session,
    struct sgate_error *err)
{
	struct call call;
	struct sgate_session **found;
	struct sgate_session *copy;
	enum sgate_status status =
	    fake_enter_within(&call, d, "session_store", err);

	if (status != SGATE_OK)
		return status;
	found = session_find(call.db, &session->ref);
	if (found == NULL)
		return SGATE_NOT_FOUND;
	copy = session_copy(session, true);
	memcpy(copy->realm, (*found)->realm, sizeof(copy->realm));
	memcpy(copy->user, (*found)->user, sizeof(copy->user));
	copy->created_ms = (*found)->created_ms;
	copy->absolute_ms = (*found)->absolute_ms;
	sgate_session_free(*found);
	*found = copy;
	return SGATE_OK;
}

static enum sgate_status
fake_snapshot(struct durable *d, unsigned group, struct durable_snapshot *out,
    struct sgate_error *err)
{
	struct call call;
	enum sgate_status status = fake_enter_made(&call, d, "snapshot", err);

	memset(out, 0, sizeof(*out));
	if (status != SGATE_OK)
		return status;
	if (group >= TOKEN_GROUPS)
		return call_fail(&call, SGATE_CORRUPT, "no such counter");
	*out = snapshot_of(call.db, group);
	return SGATE_OK;
}

static enum sgate_status
fake_poll(struct durable *d, struct durable_poll *out, struct sgate_error *err)
{
	struct call call;
	enum sgate_status status = fake_enter_made(&call, d, "poll", err);

	memset(out, 0, sizeof(*out));
	if (status != SGATE_OK)
		return status;
	out->store = server.store;
	memcpy(out->counters, call.db->counters, sizeof(out->counters));
	out->settings = server.settings;
	out->now_ms = server.now_ms != 0 ? server.now_ms : clock_utc_ms();
	memcpy(out->ident, server.ident, sizeof(out->ident));
	return SGATE_OK;
}

/* By number, then by key. */
static int
session_compare_change(const void *a, const void *b)
{
	const struct sgate_session *x = *(struct sgate_session *const *)a;
	const struct sgate_session *y = *(struct sgate_session *const *)b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return session_compare_key(a, b);
}

static enum sgate_status
fake_changes(struct durable *d, unsigned group, uint64_t after, int64_t now_ms,
    size_t limit, durable_session_fn *fn, void *arg, struct sgate_error *err)
{
	struct call call;
	struct list sorted;
	const struct sgate_session *session;
	uint64_t last = 0; /* number of the one given last */
	size_t given = 0;
	size_t i;
	enum sgate_status status = fake_enter_made(&call, d, "changes", err);

	if (status != SGATE_OK)
		return status;
	if (limit == 0)
		return call_fail(&call, SGATE_INTERNAL, "a limit of 0");
	sorted = sessions_sorted(call.db, session_compare_change);
	for (i = 0; i < sorted.count; i++) {
		session = *(struct sgate_session **)list_at(&sorted, i);
		if (token_ref_group(&session->ref) != group ||
		    session->seq <= after || session->absolute_ms <= now_ms)
			continue;
		if (given >= limit && session->seq != last)
			break;
		last = session->seq;
		given++;
		if (fn(arg, session) != 0)
			break;
	}
	free(sorted.rows);
	return SGATE_OK;
}

static enum sgate_status
fake_counter_next(struct durable *d, unsigned group, uint64_t *out_seq,
    struct sgate_error *err)
{
	struct call call;
	enum sgate_status status =
	    fake_enter_within(&call, d, "counter_next", err);

	*out_seq = 0;
	if (status != SGATE_OK)
		return status;
	if (group == DURABLE_SETTINGS) {
		*out_seq = ++server.settings;
		return SGATE_OK;
	}
	if (group >= TOKEN_GROUPS)
		return call_fail(&call, SGATE_CORRUPT, "no such counter");
	*out_seq = ++call.db->counters[group];
	return SGATE_OK;
}

/* ---- many changes ---- */

static enum sgate_status
fake_lock_many(struct durable *d, struct durable_change *changes, size_t count,
    struct sgate_error *err)
{
	struct call call;
	struct sgate_session **found;
	enum sgate_status status;
	size_t i;

	for (i = 0; i < count; i++)
		changes[i].session = NULL;
	status = fake_enter_within(&call, d, "lock_many", err);
	if (status == SGATE_OK && (count == 0 || count > DURABLE_CHANGES_MAX))
		status = call_fail(&call, SGATE_INTERNAL, "none, or too many");
	for (i = 0; i < count && status == SGATE_OK; i++) {
		found = session_find(call.db, changes[i].ref);
		if (found != NULL)
			changes[i].session = session_copy(*found, true);
	}
	return status;
}

static enum sgate_status
number_groups(struct durable *d, struct durable_change *changes, size_t count,
    struct sgate_error *err)
{
	struct durable_snapshot at[TOKEN_GROUPS] = {{.counter = 0}};
	enum sgate_status status = SGATE_OK;
	unsigned group;
	size_t i;

	for (i = 0; i < count && status == SGATE_OK; i++) {
		group = token_ref_group(changes[i].ref);
		if (changes[i].audit == NULL)
			continue;
		if (at[group].counter == 0)
			status = fake_counter_next(
			    d, group, &at[group].counter, err);
		at[group].store = server.store;
		changes[i].at = at[group];
	}
	return status;
}

static enum sgate_status
fake_store_many(struct durable *d, struct durable_change *changes, size_t count,
    struct sgate_error *err)
{
	struct call call;
	enum sgate_status status =
	    fake_enter_within(&call, d, "store_many", err);
	uint64_t seq;
	size_t i, changed = 0;

	for (i = 0; i < count && status == SGATE_OK; i++) {
		memset(&changes[i].at, 0, sizeof(changes[i].at));
		if (changes[i].audit == NULL)
			continue;
		changed++;
		status = changes[i].session == NULL
			     ? call_fail(&call, SGATE_INTERNAL, "no such row")
			     : fake_audit_insert(d, changes[i].audit, err);
	}
	if (status == SGATE_OK && changed == 0)
		status = call_fail(&call, SGATE_INTERNAL, "none");
	if (status == SGATE_OK)
		status = number_groups(d, changes, count, err);
	for (i = 0; i < count && status == SGATE_OK; i++) {
		if (changes[i].audit == NULL)
			continue;
		seq = changes[i].session->seq;
		changes[i].session->seq = changes[i].at.counter;
		status = fake_session_store(d, changes[i].session, err);
		changes[i].session->seq = seq;
	}
	return status;
}

/* ---- settings ---- */

static enum sgate_status
fake_setting_list(struct durable *d, durable_setting_fn *fn, void *arg,
    struct sgate_error *err)
{
	struct call call;
	const struct setting_row *row;
	enum sgate_status status =
	    fake_enter_made(&call, d, "setting_list", err);
	size_t i;

	for (i = 0; status == SGATE_OK && i < call.db->settings.count; i++) {
		row = list_at(&call.db->settings, i);
		if (fn(arg, row->name, bytes_of(row->value)) != 0)
			break;
	}
	return status;
}

static enum sgate_status
fake_setting_put(struct durable *d, const char *name, struct sgate_bytes value,
    uint64_t number, struct sgate_error *err)
{
	struct setting_row fresh = {.name = ""}, *row;
	struct call call;
	enum sgate_status status =
	    fake_enter_within(&call, d, "setting_put", err);
	size_t i;

	(void)number;
	if (status != SGATE_OK)
		return status;
	if (name[0] == '\0' || strlen(name) > DURABLE_SETTING_NAME_MAX)
		return call_fail(&call, SGATE_INTERNAL, "no such name");
	copy_bytes(fresh.name, sizeof(fresh.name), bytes_of(name));
	copy_bytes(fresh.value, sizeof(fresh.value), value);
	for (i = 0; i < call.db->settings.count; i++) {
		row = list_at(&call.db->settings, i);
		if (strcmp(row->name, name) == 0) {
			*row = fresh;
			return SGATE_OK;
		}
	}
	list_add(&call.db->settings, &fresh);
	return SGATE_OK;
}

static enum sgate_status
fake_latest_expiry(struct durable *d, int64_t *out_ms, struct sgate_error *err)
{
	struct call call;
	enum sgate_status status =
	    fake_enter_made(&call, d, "latest_expiry", err);
	size_t i;

	*out_ms = 0;
	for (i = 0; status == SGATE_OK && i < call.db->sessions.count; i++)
		if ((*session_at(call.db, i))->absolute_ms > *out_ms)
			*out_ms = (*session_at(call.db, i))->absolute_ms;
	return status;
}

/* ---- operations with a transaction of their own ---- */

/*
 * Their effect is one step on the committed database; the script's answers
 * come before or after it. Not while a transaction is open, as everywhere.
 */
static enum sgate_status
fake_enter_alone(struct call *call, struct durable *d, const char *operation,
    struct sgate_error *err)
{
	enum sgate_status status = fake_enter_made(call, d, operation, err);

	if (status != SGATE_OK)
		return status;
	if (call->fake->working != NULL)
		return call_fail(
		    call, SGATE_INTERNAL, "in a transaction already");
	if (writer != NULL)
		return call_fail(
		    call, SGATE_UNAVAILABLE, "another handle is writing");
	return SGATE_OK;
}

/* Operations of a transaction, or of one of their own. */
static enum sgate_status
fake_enter_either(struct call *call, struct durable *d, const char *operation,
    struct sgate_error *err)
{
	enum sgate_status status = fake_enter_made(call, d, operation, err);

	if (status == SGATE_OK && call->fake->working == NULL && writer != NULL)
		return call_fail(
		    call, SGATE_UNAVAILABLE, "another handle is writing");
	return status;
}

static void
touch_one(struct sgate_session *session, const struct durable_touch *touch)
{
	if (session->state != SESSION_LIVE)
		return;
	if (session->last_seen_ms < touch->last_seen_ms)
		session->last_seen_ms = touch->last_seen_ms;
	if (touch->successor_used_ms > 0 && session->has_prev &&
	    session->successor_used_ms == 0 &&
	    memcmp(session->secret_hash, touch->secret_hash,
		TOKEN_HASH_BYTES) == 0)
		session->successor_used_ms = touch->successor_used_ms;
}

static enum sgate_status
fake_touch(struct durable *d, const struct durable_touch *touches, size_t count,
    struct sgate_error *err)
{
	struct call call;
	struct sgate_session **found;
	size_t i;
	enum sgate_status status = fake_enter_alone(&call, d, "touch", err);

	if (status != SGATE_OK)
		return status;
	for (i = 0; i < count; i++) {
		found = session_find(call.db, &touches[i].ref);
		if (found != NULL)
			touch_one(*found, &touches[i]);
	}
	return fake_leave(&call);
}

static bool
is_live(const struct sgate_session *session, int64_t now_ms)
{
	return session->state == SESSION_LIVE && session->absolute_ms > now_ms;
}

/* What a walk over all rows is to do, and where it has come to. */
struct walk {
	bool (*is_wanted)(
	    const struct sgate_session *session, const struct walk *walk);
	bool has_data; /* what is given */
	int64_t now_ms, created_before_ms;
	size_t limit;
	struct sgate_ref *cursor;
	durable_session_fn *fn;
	void *arg;
};

static bool
wants_expired(const struct sgate_session *session, const struct walk *walk)
{
	return session->state == SESSION_LIVE &&
	       (session->created_ms < walk->created_before_ms ||
		   session_expiry(session, walk->now_ms) != SGATE_REASON_OK);
}

static bool
wants_live(const struct sgate_session *session, const struct walk *walk)
{
	return is_live(session, walk->now_ms);
}

/* Whether the end was reached. */
static bool
walk_rows(const struct database *db, const struct walk *walk)
{
	const struct sgate_ref start = *walk->cursor;
	struct list sorted = sessions_sorted(db, session_compare_key);
	struct sgate_session *session;
	size_t seen = 0;
	size_t i;
	int stop = 0;

	for (i = 0; i < sorted.count && seen < walk->limit && stop == 0; i++) {
		session = *(struct sgate_session **)list_at(&sorted, i);
		if (memcmp(&session->ref, &start, sizeof(start)) <= 0)
			continue;
		seen++;
		*walk->cursor = session->ref;
		if (!walk->is_wanted(session, walk))
			continue;
		session = session_copy(session, walk->has_data);
		stop = walk->fn(walk->arg, session);
		sgate_session_free(session);
	}
	free(sorted.rows);
	if (stop != 0 || seen == walk->limit)
		return false;
	memset(walk->cursor, 0, sizeof(*walk->cursor));
	return true;
}

static enum sgate_status
fake_expired(struct durable *d, int64_t now_ms, int64_t created_before_ms,
    size_t limit, struct sgate_ref *cursor, bool *out_wrapped,
    durable_session_fn *fn, void *arg, struct sgate_error *err)
{
	const struct walk walk = {wants_expired, false, now_ms,
	    created_before_ms, limit, cursor, fn, arg};
	struct call call;
	enum sgate_status status = fake_enter_made(&call, d, "expired", err);

	*out_wrapped = status == SGATE_OK && walk_rows(call.db, &walk);
	return status;
}

static enum sgate_status
fake_changed(struct durable *d, unsigned group, uint64_t after, size_t limit,
    durable_ref_fn *fn, void *arg, bool *out_is_all, struct sgate_error *err)
{
	const struct sgate_session *session;
	struct call call;
	size_t i, given = 0;
	enum sgate_status status = fake_enter_made(&call, d, "changed", err);

	*out_is_all = false;
	if (status != SGATE_OK)
		return status;
	for (i = 0; i < call.db->sessions.count; i++) {
		session = *session_at(call.db, i);
		if (token_ref_group(&session->ref) != group ||
		    session->seq <= after)
			continue;
		if (given++ == limit || fn(arg, &session->ref) != 0)
			return SGATE_OK;
	}
	*out_is_all = true;
	return SGATE_OK;
}

static enum sgate_status
fake_live(struct durable *d, int64_t now_ms, size_t limit,
    struct sgate_ref *cursor, bool *out_wrapped, durable_session_fn *fn,
    void *arg, struct sgate_error *err)
{
	const struct walk walk = {
	    wants_live, true, now_ms, 0, limit, cursor, fn, arg};
	struct call call;
	enum sgate_status status = fake_enter_made(&call, d, "live", err);

	*out_wrapped = status == SGATE_OK && walk_rows(call.db, &walk);
	return status;
}

static uint64_t
purge_sessions(struct database *db, int64_t before_ms, size_t limit)
{
	uint64_t count = 0;
	size_t i = 0;

	while (i < db->sessions.count && count < limit) {
		if ((*session_at(db, i))->absolute_ms >= before_ms) {
			i++;
			continue;
		}
		sgate_session_free(*session_at(db, i));
		list_remove(&db->sessions, i);
		count++;
	}
	return count;
}

static bool
audit_is_past(const void *row, int64_t before_ms)
{
	return event_ms(((const struct durable_audit *)row)->event_id) <
	       before_ms;
}

static bool
idempotency_is_past(const void *row, int64_t now_ms)
{
	return ((const struct durable_idempotency *)row)->expires_ms <= now_ms;
}

static bool
lease_is_past(const void *row, int64_t now_ms)
{
	return ((const struct lease_row *)row)->until_ms <= now_ms;
}

static uint64_t
purge_list(struct list *list, bool (*is_past)(const void *, int64_t),
    int64_t at_ms, size_t limit)
{
	uint64_t count = 0;
	size_t i = 0;

	while (i < list->count && count < limit) {
		if (!is_past(list_at(list, i), at_ms)) {
			i++;
			continue;
		}
		list_remove(list, i);
		count++;
	}
	return count;
}

static enum sgate_status
fake_purge(struct durable *d, int64_t sessions_before_ms,
    int64_t audit_before_ms, int64_t now_ms, size_t limit,
    uint64_t *out_sessions, uint64_t *out_others, struct sgate_error *err)
{
	struct call call;
	uint64_t sessions;
	uint64_t others;
	enum sgate_status status = fake_enter_alone(&call, d, "purge", err);

	*out_sessions = 0;
	*out_others = 0;
	if (status != SGATE_OK)
		return status;
	sessions = purge_sessions(call.db, sessions_before_ms, limit);
	others =
	    purge_list(&call.db->audits, audit_is_past, audit_before_ms, limit);
	others += purge_list(
	    &call.db->idempotencies, idempotency_is_past, now_ms, limit);
	others += purge_list(&call.db->leases, lease_is_past, now_ms, limit);
	status = fake_leave(&call);
	if (status == SGATE_OK) {
		*out_sessions = sessions;
		*out_others = others;
	}
	return status;
}

/* So that a user with several sessions is counted once. */
static bool
is_first_of_user(const struct database *db, size_t index, int64_t now_ms,
    int64_t created_from_ms)
{
	const struct sgate_session *s = *session_at(db, index);
	const struct sgate_session *other;
	size_t i;

	for (i = 0; i < index; i++) {
		other = *session_at(db, i);
		if (is_live(other, now_ms) &&
		    other->created_ms >= created_from_ms &&
		    strcmp(other->user, s->user) == 0 &&
		    strcmp(other->realm, s->realm) == 0)
			return false;
	}
	return true;
}

static enum sgate_status
fake_stats(struct durable *d, int64_t now_ms, size_t limit,
    struct durable_count *count, bool *out_done, struct sgate_error *err)
{
	struct call call;
	struct sgate_stats *stats = &count->stats;
	const struct sgate_session *s;
	size_t seen = 0;
	size_t i;
	enum sgate_status status = fake_enter_made(&call, d, "stats", err);

	*out_done = false;
	if (status != SGATE_OK)
		return status;
	/* In the order of the list: `rows` tells where it stands. */
	for (i = count->rows; i < call.db->sessions.count && seen < limit;
	     i++, seen++) {
		s = *session_at(call.db, i);
		if (s->state == SESSION_ENDED) {
			stats->ended++;
		} else if (s->created_ms < count->created_from_ms) {
			continue;
		} else if (is_live(s, now_ms) && s->user[0] == '\0') {
			stats->anonymous++;
		} else if (is_live(s, now_ms)) {
			stats->live++;
			if (is_first_of_user(
				call.db, i, now_ms, count->created_from_ms))
				stats->users++;
		}
	}
	count->rows = i;
	*out_done = seen < limit;
	return SGATE_OK;
}

/* ---- leases and service keys ---- */

static enum sgate_status
fake_lease_take(struct durable *d, const char *name, const char *holder,
    int64_t now_ms, int64_t until_ms, struct sgate_error *err)
{
	struct call call;
	struct lease_row row = {.until_ms = until_ms};
	struct lease_row *other;
	size_t i;
	enum sgate_status status =
	    fake_enter_alone(&call, d, "lease_take", err);

	if (status != SGATE_OK)
		return status;
	copy_bytes(row.name, sizeof(row.name), bytes_of(name));
	copy_bytes(row.holder, sizeof(row.holder), bytes_of(holder));
	for (i = 0; i < call.db->leases.count; i++) {
		other = list_at(&call.db->leases, i);
		if (strcmp(other->name, name) != 0)
			continue;
		if (other->until_ms > now_ms &&
		    strcmp(other->holder, holder) != 0)
			return call_fail(&call, SGATE_DENIED, other->holder);
		*other = row;
		return fake_leave(&call);
	}
	list_add(&call.db->leases, &row);
	return fake_leave(&call);
}

/* Rows that begin with their name. */
static int
compare_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static struct list
list_by_name(const struct list *list)
{
	struct list sorted = list_copy(list);

	if (sorted.count > 0)
		qsort(sorted.rows, sorted.count, sorted.row_size, compare_name);
	return sorted;
}

static enum sgate_status
fake_lease_list(
    struct durable *d, durable_lease_fn *fn, void *arg, struct sgate_error *err)
{
	struct call call;
	struct list sorted;
	const struct lease_row *row;
	size_t i;
	enum sgate_status status = fake_enter_made(&call, d, "lease_list", err);

	if (status != SGATE_OK)
		return status;
	sorted = list_by_name(&call.db->leases);
	for (i = 0; i < sorted.count; i++) {
		row = list_at(&sorted, i);
		if (fn(arg, row->name, row->holder, row->until_ms) != 0)
			break;
	}
	free(sorted.rows);
	return SGATE_OK;
}

static enum sgate_status
fake_service_get(struct durable *d, const unsigned char key_hash[32],
    struct durable_service *out, struct sgate_error *err)
{
	struct call call;
	const struct durable_service *svc;
	size_t i;
	enum sgate_status status =
	    fake_enter_made(&call, d, "service_get", err);

	memset(out, 0, sizeof(*out));
	if (status != SGATE_OK)
		return status;
	for (i = 0; i < call.db->services.count; i++) {
		svc = list_at(&call.db->services, i);
		if (memcmp(svc->key_hash, key_hash, 32) == 0) {
			*out = *svc;
			return SGATE_OK;
		}
	}
	return SGATE_NOT_FOUND;
}

static size_t
service_find(const struct database *db, const char *name)
{
	const struct durable_service *svc;
	size_t i;

	for (i = 0; i < db->services.count; i++) {
		svc = list_at(&db->services, i);
		if (strcmp(svc->name, name) == 0)
			break;
	}
	return i;
}

static enum sgate_status
fake_service_put(struct durable *d, const struct durable_service *svc,
    struct sgate_error *err)
{
	struct call call;
	enum sgate_status status =
	    fake_enter_either(&call, d, "service_put", err);

	if (status != SGATE_OK)
		return status;
	if (service_find(call.db, svc->name) < call.db->services.count)
		return call_fail(&call, SGATE_CONFLICT, "name is there");
	list_add(&call.db->services, svc);
	return fake_leave(&call);
}

static enum sgate_status
fake_service_remove(
    struct durable *d, const char *name, struct sgate_error *err)
{
	struct call call;
	size_t i;
	enum sgate_status status =
	    fake_enter_either(&call, d, "service_remove", err);

	if (status != SGATE_OK)
		return status;
	i = service_find(call.db, name);
	if (i == call.db->services.count)
		return SGATE_NOT_FOUND;
	list_remove(&call.db->services, i);
	return fake_leave(&call);
}

static enum sgate_status
fake_service_list(struct durable *d, durable_service_fn *fn, void *arg,
    struct sgate_error *err)
{
	struct call call;
	struct list sorted;
	size_t i;
	enum sgate_status status =
	    fake_enter_made(&call, d, "service_list", err);

	if (status != SGATE_OK)
		return status;
	sorted = list_by_name(&call.db->services);
	for (i = 0; i < sorted.count; i++)
		if (fn(arg, list_at(&sorted, i)) != 0)
			break;
	free(sorted.rows);
	return SGATE_OK;
}

/* Knows no SQL: whatever the text, one row with the parameters, if any. */
static enum sgate_status
fake_exec(struct durable *d, const char *sql, const struct sgate_value *params,
    size_t params_count, sgate_row_fn *row, void *row_arg,
    struct sgate_error *err)
{
	struct call call;
	enum sgate_status status = fake_enter_within(&call, d, "exec", err);

	(void)sql;
	if (status == SGATE_OK && row != NULL && params_count > 0)
		row(row_arg, params, params_count);
	return status;
}

const struct durable_ops durable_fake = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .ping = fake_ping,
    .schema_init = fake_schema_init,
    .schema_check = fake_schema_check,
    .store_get = fake_store_get,
    .begin = fake_begin,
    .commit = fake_commit,
    .rollback = fake_rollback,
    .audit_insert = fake_audit_insert,
    .audit_list = fake_audit_list,
    .audit_exists = fake_audit_exists,
    .idempotency_get = fake_idempotency_get,
    .idempotency_insert = fake_idempotency_insert,
    .idempotency_remove = fake_idempotency_remove,
    .user_lock = fake_user_lock,
    .user_block = fake_user_block,
    .blocked_users = fake_blocked_users,
    .user_sessions = fake_user_sessions,
    .session_get = fake_session_get,
    .session_insert = fake_session_insert,
    .session_store = fake_session_store,
    .lock_many = fake_lock_many,
    .store_many = fake_store_many,
    .snapshot = fake_snapshot,
    .poll = fake_poll,
    .changes = fake_changes,
    .changed = fake_changed,
    .live = fake_live,
    .counter_next = fake_counter_next,
    .setting_list = fake_setting_list,
    .setting_put = fake_setting_put,
    .latest_expiry = fake_latest_expiry,
    .touch = fake_touch,
    .expired = fake_expired,
    .purge = fake_purge,
    .stats = fake_stats,
    .lease_take = fake_lease_take,
    .lease_list = fake_lease_list,
    .service_get = fake_service_get,
    .service_put = fake_service_put,
    .service_remove = fake_service_remove,
    .service_list = fake_service_list,
    .exec = fake_exec,
};
