/*
 * Changes and ends of calls within one another, in one transaction: what each
 * is told, and what the stores have then. The front's part is a list of calls
 * that are made when the manager looks for more.
 */
#include "tap.h"

#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "batch.h"

#define CALLS_MAX 8

/* One that comes in while others are gathered. */
struct incoming {
	const struct made *made;
	const char *patch; /* NULL: an end */
	uint64_t if_version;
	const char *realm;
	/* What it was told. */
	enum sgate_status status;
	enum sgate_reason reason;
	struct sgate_session *session;
};

struct door {
	struct pair p;
	struct batch *batch;
	struct incoming calls[CALLS_MAX];
	size_t count, next;
	struct made made[CALLS_MAX];
};

static void
make_call(struct door *d, struct incoming *call)
{
	struct sgate_manager *mgr = d->p.w.mgr;
	struct sgate_update update = {.if_version = call->if_version};
	struct sgate_error err;

	world_caller(mgr, call->realm != NULL ? call->realm : "");
	if (call->patch == NULL) {
		call->status = sgate_session_end(
		    mgr, &call->made->ref, SGATE_REASON_LOGGED_OUT, &err);
	} else {
		update.data_patch = B(call->patch);
		call->status = sgate_session_update(
		    mgr, &call->made->ref, &update, &call->session, &err);
		assert_int_equal(
		    call->session != NULL, call->status == SGATE_OK);
	}
	call->reason = err.reason;
}

static bool
gather(void *arg)
{
	struct door *d = arg;

	if (d->next == d->count)
		return false;
	make_call(d, &d->calls[d->next++]);
	return true;
}

/* So many sessions of somebody, and a door. */
static void
open_door(struct door *d, size_t sessions)
{
	struct sgate_error err;
	size_t i;

	memset(d, 0, sizeof(*d));
	pair_start(&d->p);
	for (i = 0; i < sessions; i++)
		world_create(&d->p.w, "ann", &d->made[i]);
	assert_int_equal(batch_create(&d->batch, &err), SGATE_OK);
	manager_set_batch(d->p.w.mgr, d->batch, 0);
	manager_set_gather(d->p.w.mgr, gather, d);
}

static void
forget_calls(struct door *d)
{
	while (d->count > 0)
		sgate_session_free(d->calls[--d->count].session);
}

static void
close_door(struct door *d)
{
	size_t i;

	forget_calls(d);
	for (i = 0; i < CALLS_MAX; i++)
		made_clear(&d->made[i]);
	manager_set_gather(d->p.w.mgr, NULL, NULL);
	manager_set_batch(d->p.w.mgr, NULL, 0);
	batch_close(d->batch);
	pair_stop(&d->p);
}

static struct incoming *
add(struct door *d, size_t session, const char *patch)
{
	struct incoming *call = &d->calls[d->count++];

	*call = (struct incoming){.made = &d->made[session], .patch = patch};
	return call;
}

/* The first one, with the others within it; how many commits that took. */
static unsigned
serve(struct door *d)
{
	unsigned commits = fake_calls("commit");

	d->next = 0;
	assert_true(gather(d));
	assert_int_equal(d->next, d->count);
	assert_true(fake_is_idle());
	return fake_calls("commit") - commits;
}

static void
assert_row(struct door *d, size_t session, uint64_t version, const char *data)
{
	struct sgate_session *row = world_row(&d->p.w, &d->made[session].ref);

	assert_int_equal(row->version, version);
	assert_string_equal(row->data, data);
	assert_int_equal(row->state, strcmp(data, "{}") == 0 && version > 1
					 ? SESSION_ENDED
					 : SESSION_LIVE);
	sgate_session_free(row);
}

static void
assert_changed(const struct incoming *call, uint64_t version, const char *data)
{
	assert_int_equal(call->status, SGATE_OK);
	assert_int_equal(call->session->version, version);
	assert_bytes(sgate_session_get_data(call->session), data);
}

/* ---- cases ---- */

static void
changes_and_ends_share_a_transaction(void **state)
{
	struct sgate_session *row, *s;
	struct door d;
	size_t i;

	(void)state;
	open_door(&d, 4);
	add(&d, 0, "{\"a\":1}");
	add(&d, 1, NULL);
	add(&d, 2, "{\"b\":2}")->if_version = 1;
	add(&d, 3, "{\"c\":3}");
	assert_int_equal(serve(&d), 1);
	assert_changed(&d.calls[0], 2, "{\"a\":1}");
	assert_int_equal(d.calls[1].status, SGATE_OK);
	assert_changed(&d.calls[2], 2, "{\"b\":2}");
	assert_changed(&d.calls[3], 2, "{\"c\":3}");
	assert_row(&d, 0, 2, "{\"a\":1}");
	assert_row(&d, 1, 2, "{}");
	assert_row(&d, 2, 2, "{\"b\":2}");
	for (i = 0; i < 4; i++) {
		assert_int_equal(world_audit(&d.p.w, i == 1 ? "end" : "update",
				     &d.made[i].ref),
		    1);
		/* Of one user, so of one group: one number. */
		row = world_row(&d.p.w, &d.made[i].ref);
		assert_int_equal(row->seq, 1);
		sgate_session_free(row);
		assert_int_equal(
		    pair_state(&d.made[i].ref), i == 1 ? 'T' : 'L');
		assert_int_equal(pair_version(&d.made[i].ref), 2);
	}
	assert_int_equal(pair_count(&d.p, STORES_BATCH_CHANGES), 4);
	assert_int_equal(pair_count(&d.p, STORES_BATCH_COMMITS), 1);
	manager_set_gather(d.p.w.mgr, NULL, NULL);
	s = pair_get(&d.p, d.made[3].token, COPY);
	assert_bytes(sgate_session_get_data(s), "{\"c\":3}");
	sgate_session_free(s);
	pair_expect(
	    &d.p, d.p.w.mgr, d.made[1].token, SGATE_REASON_LOGGED_OUT, COPY);
	close_door(&d);
}

static void
whatever_is_wrong_with_one_concerns_that_one(void **state)
{
	struct made nobody;
	struct door d;

	(void)state;
	open_door(&d, 5);
	assert_status(&d.p.w,
	    sgate_session_end(
		d.p.w.mgr, &d.made[1].ref, SGATE_REASON_REVOKED, &d.p.w.err),
	    SGATE_OK);
	memset(&nobody, 0, sizeof(nobody));
	nobody.ref = d.made[0].ref;
	nobody.ref.bytes[11] ^= 1;
	add(&d, 0, "{\"a\":1}");
	add(&d, 1, "{\"a\":1}");
	add(&d, 2, "{\"a\":1}")->if_version = 7;
	add(&d, 0, "{\"a\":1}")->made = &nobody;
	add(&d, 3, "{\"a\":1}")->realm = "other";
	add(&d, 4, "{\"a\":1}");
	assert_int_equal(serve(&d), 1);
	assert_changed(&d.calls[0], 2, "{\"a\":1}");
	assert_int_equal(d.calls[1].status, SGATE_NOT_FOUND);
	assert_int_equal(d.calls[1].reason, SGATE_REASON_REVOKED);
	assert_int_equal(d.calls[2].status, SGATE_CONFLICT);
	assert_int_equal(d.calls[3].status, SGATE_NOT_FOUND);
	assert_int_equal(d.calls[4].status, SGATE_NOT_FOUND);
	assert_changed(&d.calls[5], 2, "{\"a\":1}");
	assert_row(&d, 2, 1, "{}");
	assert_row(&d, 3, 1, "{}");
	assert_int_equal(world_audit(&d.p.w, "update", NULL), 2);
	close_door(&d);
}

static void
two_changes_of_a_session_both_survive(void **state)
{
	struct door d;

	(void)state;
	open_door(&d, 2);
	add(&d, 0, "{\"a\":1}");
	add(&d, 0, "{\"b\":2}");
	add(&d, 1, "{\"c\":3}");
	add(&d, 0, "{\"a\":4}");
	assert_int_equal(serve(&d), 3);
	assert_int_equal(d.calls[0].status, SGATE_OK);
	assert_int_equal(d.calls[1].status, SGATE_OK);
	assert_int_equal(d.calls[3].status, SGATE_OK);
	assert_changed(&d.calls[2], 2, "{\"c\":3}");
	assert_row(&d, 0, 4, "{\"a\":4,\"b\":2}");
	assert_int_equal(world_audit(&d.p.w, "update", &d.made[0].ref), 3);
	/* It has ended for who comes after the end. */
	forget_calls(&d);
	add(&d, 0, NULL);
	add(&d, 0, "{\"d\":1}");
	serve(&d);
	assert_int_equal(d.calls[0].status, SGATE_OK);
	assert_int_equal(d.calls[1].status, SGATE_NOT_FOUND);
	assert_row(&d, 0, 5, "{}");
	close_door(&d);
}

/* A commit without an answer: all are told the same, never that it is done
 * unless it is known. */
static void
a_commit_without_an_answer_is_one_fate(void **state)
{
	static const enum fake_answer answers[] = {
	    FAKE_UNCERTAIN_DONE, FAKE_UNCERTAIN_LOST};
	struct door d;
	size_t i, n;

	(void)state;
	for (i = 0; i < 2; i++) {
		open_door(&d, 3);
		add(&d, 0, "{\"a\":1}");
		add(&d, 1, "{\"a\":1}");
		add(&d, 2, NULL);
		fake_script("commit", 1, answers[i]);
		assert_int_equal(serve(&d), 1);
		for (n = 0; n < 3; n++)
			assert_int_equal(d.calls[n].status,
			    i == 0 ? SGATE_OK : SGATE_UNCERTAIN);
		assert_int_equal(pair_version(&d.made[0].ref), i == 0 ? 2 : 1);
		assert_int_equal(
		    pair_state(&d.made[2].ref), i == 0 ? 'T' : 'L');
		assert_row(&d, 0, i == 0 ? 2 : 1, i == 0 ? "{\"a\":1}" : "{}");
		close_door(&d);
		/* Done, but nobody can say so. */
		if (i > 0)
			continue;
		open_door(&d, 2);
		add(&d, 0, "{\"a\":1}");
		add(&d, 1, NULL);
		fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
		fake_script("audit_exists", 1, FAKE_UNAVAILABLE);
		assert_int_equal(serve(&d), 1);
		assert_int_equal(d.calls[0].status, SGATE_UNCERTAIN);
		assert_int_equal(d.calls[1].status, SGATE_UNCERTAIN);
		assert_row(&d, 0, 2, "{\"a\":1}");
		close_door(&d);
	}
}

/* The first of them is left out: it is another event that is asked for. */
static void
a_commit_without_an_answer_is_settled_by_one_that_is_in_it(void **state)
{
	struct door d;

	(void)state;
	open_door(&d, 2);
	add(&d, 0, "{\"a\":1}")->if_version = 7;
	add(&d, 1, "{\"a\":1}")->if_version = 1;
	/* The innermost is the first of the transaction. */
	add(&d, 0, "{\"a\":1}")->if_version = 9;
	fake_script("commit", 1, FAKE_UNCERTAIN_DONE);
	assert_int_equal(serve(&d), 1);
	assert_int_equal(d.calls[0].status, SGATE_CONFLICT);
	assert_changed(&d.calls[1], 2, "{\"a\":1}");
	assert_int_equal(d.calls[2].status, SGATE_CONFLICT);
	close_door(&d);
}

static void
what_is_surely_not_done_goes_by_itself(void **state)
{
	static const char *const operations[] = {
	    "lock_many", "store_many", "audit_insert", "session_store"};
	static const enum fake_answer answers[] = {
	    FAKE_REFUSED, FAKE_CONFLICT, FAKE_NO_MEMORY, FAKE_CORRUPT};
	struct door d;
	size_t i, n;

	(void)state;
	for (i = 0; i < 16; i++) {
		open_door(&d, 3);
		add(&d, 0, "{\"a\":1}");
		add(&d, 1, "{\"a\":1}");
		add(&d, 2, NULL);
		fake_script(operations[i / 4], 1, answers[i % 4]);
		assert_int_equal(serve(&d), 3);
		for (n = 0; n < 3; n++)
			assert_int_equal(d.calls[n].status, SGATE_OK);
		assert_row(&d, 1, 2, "{\"a\":1}");
		assert_row(&d, 2, 2, "{}");
		assert_int_equal(world_audit(&d.p.w, "update", NULL), 2);
		assert_int_equal(world_audit(&d.p.w, "end", NULL), 1);
		close_door(&d);
	}
}

static void
a_store_that_is_away_is_so_for_all(void **state)
{
	struct door d;
	size_t n;

	(void)state;
	open_door(&d, 3);
	add(&d, 0, "{\"a\":1}");
	add(&d, 1, "{\"a\":1}");
	add(&d, 2, "{\"a\":1}");
	fake_script("lock_many", 1, FAKE_UNAVAILABLE);
	assert_int_equal(serve(&d), 0);
	for (n = 0; n < 3; n++)
		assert_int_equal(d.calls[n].status, SGATE_UNAVAILABLE);
	assert_row(&d, 1, 1, "{}");
	assert_int_equal(pair_version(&d.made[0].ref), 1);
	close_door(&d);
}

/* A tombstone that was written while the durable store was away stands. */
static void
who_has_ended_in_the_cache_is_told_so(void **state)
{
	struct door d;
	struct sgate_bytes tombstone;

	(void)state;
	open_door(&d, 3);
	assert_status(&d.p.w,
	    sgate_session_end(
		d.p.w.mgr, &d.made[2].ref, SGATE_REASON_LOGGED_OUT, &d.p.w.err),
	    SGATE_OK);
	tombstone = pair_save(&d.made[2].ref);
	pair_put_back(&d.made[1].ref, tombstone);
	add(&d, 0, "{\"a\":1}");
	add(&d, 1, "{\"a\":1}");
	assert_int_equal(serve(&d), 1);
	assert_changed(&d.calls[0], 2, "{\"a\":1}");
	assert_int_equal(d.calls[1].status, SGATE_NOT_FOUND);
	assert_int_equal(d.calls[1].reason, SGATE_REASON_LOGGED_OUT);
	assert_int_equal(pair_state(&d.made[1].ref), 'T');
	free((void *)(uintptr_t)tombstone.data);
	close_door(&d);
}

/* Whom the cache could not be told of is not looked up there any more. */
static void
a_cache_that_does_not_answer_fails_none(void **state)
{
	struct sgate_session *s;
	struct door d;

	(void)state;
	open_door(&d, 2);
	add(&d, 0, "{\"a\":1}");
	add(&d, 1, NULL);
	pair_cache_down();
	assert_int_equal(serve(&d), 1);
	assert_changed(&d.calls[0], 2, "{\"a\":1}");
	assert_int_equal(d.calls[1].status, SGATE_OK);
	pair_cache_back(&d.p);
	assert_int_equal(pair_version(&d.made[0].ref), 1);
	s = pair_get(&d.p, d.made[0].token, ROW);
	assert_bytes(sgate_session_get_data(s), "{\"a\":1}");
	sgate_session_free(s);
	pair_expect(
	    &d.p, d.p.w.mgr, d.made[1].token, SGATE_REASON_LOGGED_OUT, ROW);
	close_door(&d);
}

static const struct CMUnitTest manager_changes[] = {
    cmocka_unit_test(changes_and_ends_share_a_transaction),
    cmocka_unit_test(whatever_is_wrong_with_one_concerns_that_one),
    cmocka_unit_test(two_changes_of_a_session_both_survive),
    cmocka_unit_test(a_commit_without_an_answer_is_one_fate),
    cmocka_unit_test(
	a_commit_without_an_answer_is_settled_by_one_that_is_in_it),
    cmocka_unit_test(what_is_surely_not_done_goes_by_itself),
    cmocka_unit_test(a_store_that_is_away_is_so_for_all),
    cmocka_unit_test(who_has_ended_in_the_cache_is_told_so),
    cmocka_unit_test(a_cache_that_does_not_answer_fails_none),
};

TAP_MAIN(manager_changes)
