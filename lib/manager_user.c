/*
 * All sessions of one user: list, cleanup, block.
 *
 * A cleanup takes the user's lock exclusively, which orders it with creates:
 * a session either is in the cleanup's list, or its create came after. It ends
 * MANAGER_CLEANUP_CHUNK sessions in a transaction; a user with more is cleaned
 * in several, each with its own audit row, within the call's budget. When the
 * budget ends between two of them, those before stand and the answer is
 * "unavailable": the same call again goes on.
 */
#include "config.h"

#include "manager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "status.h"

/* ---- list ---- */

struct sgate_list {
	struct sgate_session **items;
	size_t count, size;
};

struct listing {
	struct sgate_manager *mgr;
	struct sgate_list *list;
	size_t limit;
	size_t seen; /* rows, expired ones among them */
	int64_t now_ms;
	enum sgate_status status;
	struct sgate_error *err;
};

static bool
list_grow(struct sgate_list *list)
{
	size_t size = list->size == 0 ? 8 : 2 * list->size;
	struct sgate_session **items;

	if (list->count < list->size)
		return true;
	items = reallocarray(list->items, size, sizeof(*items));
	if (items == NULL)
		return false;
	list->items = items;
	list->size = size;
	return true;
}

static int
list_add(void *arg, const struct sgate_session *session)
{
	struct listing *l = arg;
	struct sgate_session *copy = NULL;

	l->seen++;
	if (manager_gone(l->mgr, session, l->now_ms) != SGATE_REASON_OK)
		return 0;
	if (!list_grow(l->list) ||
	    (copy = sgate_session_dup(session)) == NULL) {
		l->status = error_memory(l->err, "list");
		return 1;
	}
	l->list->items[l->list->count++] = copy;
	return l->list->count >= l->limit;
}

static void
list_empty(struct sgate_list *list)
{
	while (list->count > 0)
		sgate_session_free(list->items[--list->count]);
}

/*
 * The store is asked for no more rows than may be given: a user may have very
 * many. Expired ones are judged here; where they have taken the place of
 * others, it is asked for four times as many, from the first one on.
 */
static enum sgate_status
list_read(struct listing *l, struct sgate_bytes user, struct sgate_error *err)
{
	struct sgate_manager *mgr = l->mgr;
	enum sgate_status status;
	size_t asked = l->limit;

	for (;;) {
		list_empty(l->list);
		l->seen = 0;
		status = manager_read(mgr,
		    mgr->ops->user_sessions(mgr->durable, manager_realm(mgr),
			user, asked, list_add, l, err),
		    err);
		if (status == SGATE_OK)
			status = l->status;
		if (status != SGATE_OK || l->list->count >= l->limit ||
		    l->seen < asked)
			return status;
		asked *= 4;
	}
}

enum sgate_status
sgate_user_sessions(struct sgate_manager *mgr, struct sgate_bytes user_id,
    size_t limit, struct sgate_list **out_list, struct sgate_error *err)
{
	struct listing l = {.mgr = mgr, .limit = limit, .err = err};
	enum sgate_status status;

	*out_list = NULL;
	error_clear(err);
	mgr->served_by = STORES_NOBODY;
	if (limit == 0 || limit > MANAGER_LIST_MAX)
		l.limit = MANAGER_LIST_MAX;
	status = input_user(user_id, err);
	if (status == SGATE_OK)
		status = manager_enter(mgr, err);
	if (status != SGATE_OK)
		return status;
	l.list = calloc(1, sizeof(*l.list));
	if (l.list == NULL)
		return error_memory(err, "list");
	l.now_ms = manager_now_ms(mgr);
	status = settings_need(mgr, true, err);
	if (status == SGATE_OK)
		status = list_read(&l, user_id, err);
	if (status != SGATE_OK) {
		sgate_list_free(l.list);
		return status;
	}
	*out_list = l.list;
	return SGATE_OK;
}

size_t
sgate_list_count(const struct sgate_list *list)
{
	return list == NULL ? 0 : list->count;
}

const struct sgate_session *
sgate_list_get(const struct sgate_list *list, size_t index)
{
	return index < sgate_list_count(list) ? list->items[index] : NULL;
}

void
sgate_list_free(struct sgate_list *list)
{
	if (list == NULL)
		return;
	list_empty(list);
	free(list->items);
	free(list);
}

/* ---- cleanup and block ---- */

struct cleanup {
	struct sgate_bytes user;
	const struct sgate_ref *except;
	enum sgate_reason reason;
	bool is_block; /* this part blocks the user as well */
	struct sgate_bytes block_text;
	bool is_first_part;
	/* Of sessions that the durable store may not have yet: a page of the
	 * user's set, and what asks for the next one (0: there is none). */
	struct sgate_ref unlanded[CACHE_UNLANDED_MAX];
	size_t unlanded_count;
	uint64_t cursor;
	bool is_set_unread;
	/* What a part leaves. */
	size_t listed;
	uint64_t count;
	struct endings endings;
	struct sgate_error *err;
	enum sgate_status list_status;
};

static int
cleanup_add(void *arg, const struct sgate_session *session)
{
	struct cleanup *c = arg;

	c->listed++;
	if (c->except != NULL &&
	    memcmp(c->except->bytes, session->ref.bytes, SGATE_REF_BYTES) == 0)
		return 0;
	c->list_status =
	    endings_add(&c->endings, &session->ref, c->reason, c->err);
	return c->list_status != SGATE_OK;
}

/*
 * Sessions that were created while the durable store was away stand in the
 * user's set until they have landed. Each part takes a page of it, and before
 * it lists the rows: what lands in between is a row, then. When the set cannot
 * be read the cleanup says so, and they end as they land.
 */
static enum sgate_status
cleanup_read_set(
    struct sgate_manager *mgr, struct cleanup *c, struct sgate_error *err)
{
	enum sgate_status status;

	c->unlanded_count = 0;
	if (!away_is_on(mgr) || failpoint_is_off("u-set") ||
	    (!c->is_first_part && c->cursor == 0))
		return SGATE_OK;
	status = cached_unlanded(
	    mgr, c->user, &c->cursor, c->unlanded, &c->unlanded_count, err);
	if (status != SGATE_UNAVAILABLE)
		return status;
	c->is_set_unread = true;
	c->cursor = 0;
	return SGATE_OK;
}

/*
 * Each of the page has a row now, or is somebody else's, but for the session
 * that is kept: it leaves the set. So a set that has grown large in an outage,
 * of sessions that landed while Redis was away, or of creations that failed, is
 * empty after a cleanup, or shorter for the next one if the time was up.
 */
static void
cleanup_shorten_set(struct sgate_manager *mgr, struct cleanup *c)
{
	struct sgate_error ignored;
	enum sgate_status status;
	size_t i, count = 0;

	for (i = 0; i < c->unlanded_count; i++)
		if (c->except == NULL ||
		    memcmp(c->except->bytes, c->unlanded[i].bytes,
			SGATE_REF_BYTES) != 0)
			c->unlanded[count++] = c->unlanded[i];
	c->unlanded_count = 0;
	if (count == 0)
		return;
	status = cached_landed(mgr, c->user, c->unlanded, count, &ignored);
	(void)status;
}

static enum sgate_status
cleanup_add_unlanded(
    struct sgate_manager *mgr, struct cleanup *c, struct sgate_error *err)
{
	enum sgate_status status = SGATE_OK;
	const struct sgate_ref *ref;
	struct ending *item;
	size_t i;

	for (i = 0; i < c->unlanded_count && status == SGATE_OK; i++) {
		ref = &c->unlanded[i];
		if (endings_have(&c->endings, ref) ||
		    (c->except != NULL && memcmp(c->except->bytes, ref->bytes,
					      SGATE_REF_BYTES) == 0))
			continue;
		status = endings_add(&c->endings, ref, c->reason, err);
		if (status != SGATE_OK)
			break;
		item = &c->endings.items[c->endings.count - 1];
		item->is_of_user = true;
		status = away_placeholder(
		    mgr, ref, c->user, c->reason, &item->absent, err);
	}
	return status;
}

static enum sgate_status
cleanup_collect(
    struct sgate_manager *mgr, struct cleanup *c, struct sgate_error *err)
{
	enum sgate_status status;

	endings_reset(&c->endings);
	c->listed = 0;
	c->count = 0;
	c->err = err;
	c->list_status = SGATE_OK;
	status = manager_write(mgr,
	    mgr->ops->user_sessions(mgr->durable, manager_realm(mgr), c->user,
		MANAGER_CLEANUP_CHUNK, cleanup_add, c, err),
	    err);
	if (status == SGATE_OK)
		status = c->list_status;
	if (status == SGATE_OK)
		status = cleanup_add_unlanded(mgr, c, err);
	return status;
}

/* Hosts read the list of blocked users again; the last lock of all. */
static enum sgate_status
note_settings(struct sgate_manager *mgr, struct sgate_error *err)
{
	uint64_t number;

	if (mgr->ops->snapshot == NULL)
		return SGATE_OK;
	return manager_write(mgr,
	    mgr->ops->counter_next(
		mgr->durable, DURABLE_SETTINGS, &number, err),
	    err);
}

static enum sgate_status
cleanup_apply(struct change *change, struct sgate_error *err)
{
	struct sgate_manager *mgr = change->mgr;
	struct cleanup *c = change->arg;
	struct durable_user user;
	enum sgate_status status;

	memset(&user, 0, sizeof(user));
	status = manager_write(mgr,
	    mgr->ops->user_lock(
		mgr->durable, manager_realm(mgr), c->user, true, &user, err),
	    err);
	if (status == SGATE_OK && c->is_block)
		status = manager_write(mgr,
		    mgr->ops->user_block(mgr->durable, manager_realm(mgr),
			c->user, manager_now_ms(mgr), c->block_text, err),
		    err);
	if (status == SGATE_OK)
		status = cleanup_collect(mgr, c, err);
	if (status == SGATE_OK)
		status = endings_lock_all(mgr, &c->endings, err);
	if (status == SGATE_OK)
		status =
		    endings_store(change, &c->endings, false, &c->count, err);
	if (status == SGATE_OK && c->is_block)
		status = note_settings(mgr, err);
	/* What lands later looks for the word of a set that was not read. */
	change->is_void =
	    !c->is_first_part && c->count == 0 && !c->is_set_unread;
	return status;
}

static void
describe_cleanup(const struct cleanup *c, struct durable_audit *audit)
{
	const char *again = c->is_first_part ? "" : "continued";
	char ref[SGATE_REF_HEX + 1];
	size_t len;

	input_copy(audit->user, sizeof(audit->user), c->user);
	snprintf(audit->detail, sizeof(audit->detail), "%s", again);
	if (c->except != NULL) {
		sgate_ref_text(c->except, ref);
		snprintf(audit->detail, sizeof(audit->detail), "%s%sall but %s",
		    again, again[0] != '\0' ? ": " : "", ref);
	} else if (c->is_block)
		input_copy(audit->detail, sizeof(audit->detail), c->block_text);
	len = strlen(audit->detail);
	if (c->is_set_unread)
		snprintf(audit->detail + len, sizeof(audit->detail) - len,
		    "%s" AWAY_SET_UNREAD, len > 0 ? "; " : "");
}

static enum sgate_status
cleanup_run(struct sgate_manager *mgr, struct cleanup *c, uint64_t *out_count,
    struct sgate_error *err)
{
	struct change change;
	enum sgate_status status;
	uint64_t total = 0;

	c->is_first_part = true;
	do {
		if (!c->is_first_part && !manager_has_time(mgr)) {
			status = error_set(err, SGATE_UNAVAILABLE, "session",
			    "cleanup", 0,
			    "%llu sessions were ended and more are left, but "
			    "the time is up; try again",
			    (unsigned long long)total);
			break;
		}
		status = cleanup_read_set(mgr, c, err);
		if (status != SGATE_OK)
			break;
		change_init(&change, mgr, c->is_block ? "block" : "cleanup",
		    c->reason, cleanup_apply, c);
		describe_cleanup(c, &change.audit);
		status = change_run(&change, err);
		if (status != SGATE_OK)
			break;
		total += c->count;
		cleanup_shorten_set(mgr, c);
		c->is_first_part = false;
		c->is_block = false;
	} while (c->listed >= MANAGER_CLEANUP_CHUNK || c->cursor != 0);
	endings_clear(&c->endings);
	if (status == SGATE_OK && out_count != NULL)
		*out_count = total;
	return status;
}

enum sgate_status
sgate_user_cleanup(struct sgate_manager *mgr, struct sgate_bytes user_id,
    const struct sgate_ref *except, enum sgate_reason reason,
    uint64_t *out_count, struct sgate_error *err)
{
	struct cleanup c = {
	    .user = user_id, .except = except, .reason = reason};
	enum sgate_status status;

	if (out_count != NULL)
		*out_count = 0;
	error_clear(err);
	mgr->served_by = STORES_NOBODY;
	status = input_user(user_id, err);
	if (status == SGATE_OK)
		status = input_reason(reason, err);
	if (status == SGATE_OK)
		status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = cleanup_run(mgr, &c, out_count, err);
	return status;
}

#define BLOCK_TEXT_MAX 128 /* struct durable_user */

enum sgate_status
sgate_user_block(struct sgate_manager *mgr, struct sgate_bytes user_id,
    struct sgate_bytes reason_text, uint64_t *out_count,
    struct sgate_error *err)
{
	struct cleanup c = {.user = user_id,
	    .reason = SGATE_REASON_BLOCKED,
	    .is_block = true,
	    .block_text = reason_text};
	enum sgate_status status;

	if (out_count != NULL)
		*out_count = 0;
	error_clear(err);
	mgr->served_by = STORES_NOBODY;
	status = input_user(user_id, err);
	if (status == SGATE_OK)
		status = input_text("reason", reason_text, BLOCK_TEXT_MAX, err);
	if (status == SGATE_OK)
		status = manager_enter(mgr, err);
	if (status == SGATE_OK)
		status = cleanup_run(mgr, &c, out_count, err);
	return status;
}

static enum sgate_status
unblock_apply(struct change *change, struct sgate_error *err)
{
	struct sgate_manager *mgr = change->mgr;
	const struct sgate_bytes *user_id = change->arg;
	struct durable_user user;
	enum sgate_status status;

	memset(&user, 0, sizeof(user));
	status = manager_write(mgr,
	    mgr->ops->user_lock(
		mgr->durable, manager_realm(mgr), *user_id, true, &user, err),
	    err);
	if (status != SGATE_OK)
		return status;
	change->is_void = user.blocked_ms == 0;
	if (change->is_void)
		return SGATE_OK;
	status = manager_write(mgr,
	    mgr->ops->user_block(mgr->durable, manager_realm(mgr), *user_id, 0,
		bytes_of(""), err),
	    err);
	return status == SGATE_OK ? note_settings(mgr, err) : status;
}

enum sgate_status
sgate_user_unblock(struct sgate_manager *mgr, struct sgate_bytes user_id,
    struct sgate_error *err)
{
	struct change change;
	enum sgate_status status;

	error_clear(err);
	mgr->served_by = STORES_NOBODY;
	status = input_user(user_id, err);
	if (status == SGATE_OK)
		status = manager_enter(mgr, err);
	if (status != SGATE_OK)
		return status;
	change_init(
	    &change, mgr, "unblock", SGATE_REASON_OK, unblock_apply, &user_id);
	input_copy(change.audit.user, sizeof(change.audit.user), user_id);
	return change_run(&change, err);
}
