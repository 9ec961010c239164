/* What is done in the cells of the failpoint matrix, and what it means. */
#include "config.h"

#include "failpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch.h"
#include "clock.h"

#define B(text) bytes_of(text)

/* ---- sessions that are there before ---- */

static void
set_target(struct target *target, const struct sgate_session *session,
    const char *token)
{
	memset(target, 0, sizeof(*target));
	target->ref = session->ref;
	copy_text(target->token, sizeof(target->token), token);
}

static struct target *
make_with(
    struct site *site, struct cell *cell, const struct sgate_create *create)
{
	struct target *target = &cell->targets[cell->count++];
	struct sgate_session *session = NULL;
	struct sgate_error err;
	char *token = NULL;

	if (sgate_session_create(site->past, create, &session, &token, &err) ==
	    SGATE_OK)
		set_target(target, session, token);
	else
		cell_wrong(cell, "prepare: create: %s", err.text);
	sgate_session_free(session);
	sgate_token_free(token);
	return target;
}

static void
make_one(struct site *site, struct cell *cell)
{
	struct sgate_create create = {
	    .user_id = B(cell->user), .data = B("{\"a\":1}")};

	make_with(site, cell, &create);
}

/* More data than a check wants to fetch. */
static void
make_long(struct site *site, struct cell *cell)
{
	char data[6000];
	struct sgate_create create = {
	    .user_id = B(cell->user), .data = {data, sizeof(data) - 1}};

	snprintf(
	    data, sizeof(data), "{\"a\":\"%0*d\"}", (int)sizeof(data) - 9, 0);
	make_with(site, cell, &create);
}

static void
make_three(struct site *site, struct cell *cell)
{
	make_one(site, cell);
	make_one(site, cell);
	make_one(site, cell);
}

static void
make_short(struct site *site, struct cell *cell)
{
	struct sgate_create create = {
	    .user_id = B(cell->user), .idle_timeout_ms = 60000};

	make_with(site, cell, &create)->fate = FATE_OVER;
}

/* ---- what Redis has, as a dump would have kept it ---- */

static void
redis_key(const struct sgate_ref *ref, const char *kind, char *out, size_t size)
{
	char hex[SGATE_REF_HEX + 1];

	sgate_ref_text(ref, hex);
	if (strcmp(kind, "s") == 0)
		snprintf(out, size, "sg:{%u}:s:%s", token_ref_group(ref), hex);
	else
		snprintf(out, size, "sg:{%u}:sync", token_ref_group(ref));
}

static const char *const kinds[2] = {"s", "sync"};

static void
save_copy(struct site *site, struct cell *cell)
{
	char key[96];
	struct buf got = {0};
	size_t i;

	for (i = 0; i < 2; i++) {
		redis_key(&cell->targets[0].ref, kinds[i], key, sizeof(key));
		const struct sgate_bytes words[] = {B("GET"), B(key)};

		if (!redis_run_bytes(&site->redis, &got, words, 2)) {
			cell_wrong(cell, "prepare: no %s in Redis", key);
			continue;
		}
		cell->saved[i] = malloc(buf_bytes(&got).len + 1);
		memcpy(cell->saved[i], buf_text(&got), buf_bytes(&got).len);
		cell->saved_len[i] = buf_bytes(&got).len;
	}
	buf_clear(&got);
}

static void
restore_copy(struct site *site, struct cell *cell)
{
	char key[96];
	struct buf got = {0};
	size_t i;

	for (i = 0; i < 2; i++) {
		redis_key(&cell->targets[0].ref, kinds[i], key, sizeof(key));
		const struct sgate_bytes words[] = {
		    B("SET"), B(key), {cell->saved[i], cell->saved_len[i]}};

		if (cell->saved[i] != NULL)
			redis_run_bytes(&site->redis, &got, words, 3);
		free(cell->saved[i]);
		cell->saved[i] = NULL;
	}
	buf_clear(&got);
}

static void
lose_copy(struct site *site, struct cell *cell)
{
	char key[96], answer[8];
	const char *const words[] = {"DEL", key, NULL};

	redis_key(&cell->targets[0].ref, "s", key, sizeof(key));
	redis_run(&site->redis, answer, sizeof(answer), words);
}

/* By the other host, and it works. */
static void
end_there(struct site *site, struct cell *cell)
{
	struct target *target = &cell->targets[0];
	struct sgate_error err;

	if (sgate_session_end(site->there, &target->ref,
		SGATE_REASON_LOGGED_OUT, &err) != SGATE_OK)
		cell_wrong(cell, "prepare: end: %s", err.text);
	target->fate = FATE_ENDED;
	target->ends = 1;
}

static void
update_there(struct site *site, struct cell *cell)
{
	struct target *target = &cell->targets[0];
	struct sgate_update update = {.data_patch = B("{\"b\":2}")};
	struct sgate_session *session = NULL;
	struct sgate_error err;

	if (sgate_session_update(
		site->there, &target->ref, &update, &session, &err) != SGATE_OK)
		cell_wrong(cell, "prepare: update: %s", err.text);
	sgate_session_free(session);
	target->changes = 1;
}

static void
make_ended(struct site *site, struct cell *cell)
{
	make_one(site, cell);
	end_there(site, cell);
}

/* Redis was set back behind an end that all hosts know of. */
static void
make_stale(struct site *site, struct cell *cell)
{
	make_one(site, cell);
	save_copy(site, cell);
	end_there(site, cell);
	if (site_round(site, site->here) != SGATE_OK)
		cell_wrong(cell, "prepare: no round");
	restore_copy(site, cell);
}

static void
make_missing(struct site *site, struct cell *cell)
{
	make_one(site, cell);
	lose_copy(site, cell);
}

/* Changed and committed, and Redis was not told. */
static void
make_unpublished(struct site *site, struct cell *cell)
{
	make_one(site, cell);
	make_one(site, cell);
	save_copy(site, cell);
	update_there(site, cell);
	restore_copy(site, cell);
}

static void
make_unpublished_end(struct site *site, struct cell *cell)
{
	make_one(site, cell);
	save_copy(site, cell);
	end_there(site, cell);
	restore_copy(site, cell);
}

static void
make_rotated(struct site *site, struct cell *cell)
{
	struct target *target = &cell->targets[0];
	struct sgate_session *session = NULL;
	struct sgate_error err;
	char *token = NULL;

	make_one(site, cell);
	if (sgate_session_rotate(site->past, B(target->token), &session, &token,
		&err) != SGATE_OK) {
		cell_wrong(cell, "prepare: rotate: %s", err.text);
		return;
	}
	copy_text(target->token, sizeof(target->token), token);
	target->changes = 1;
	sgate_session_free(session);
	sgate_token_free(token);
}

/* ---- looks ---- */

static enum sgate_status
told(enum sgate_status status, struct sgate_session *session, char *token,
    struct result *out)
{
	if (session != NULL)
		out->ref = session->ref;
	if (token != NULL)
		copy_text(out->token, sizeof(out->token), token);
	sgate_session_free(session);
	sgate_token_free(token);
	return status;
}

static enum sgate_status
run_validate(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;

	(void)site;
	status =
	    sgate_session_get(mgr, B(cell->targets[0].token), 0, &session, err);
	return told(status, session, NULL, out);
}

/* As a check does it; what it accepts goes into the local cache. */
static enum sgate_status
run_identify(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	const struct sgate_bytes unbound = {NULL, 0};
	struct identity identity;
	enum sgate_status status;

	(void)site;
	status = manager_identify(
	    mgr, B(cell->targets[0].token), unbound, &identity, err);
	if (status == SGATE_OK) {
		out->ref = identity.ref;
		manager_remember(mgr);
	}
	return status;
}

/* The first look finds a long copy; the next ones fetch its beginning. */
static enum sgate_status
run_identify_again(struct site *site, struct sgate_manager *mgr,
    struct cell *cell, struct result *out, struct sgate_error *err)
{
	enum sgate_status status = run_identify(site, mgr, cell, out, err);

	return status == SGATE_OK ? run_identify(site, mgr, cell, out, err)
				  : status;
}

/* Live: not refused. Ended: not accepted. Nobody else's. */
static void
judge_look(struct site *site, struct cell *cell)
{
	const struct result *result = &site->common->result;
	const struct target *target = &cell->targets[0];

	if (!cell->is_known)
		return;
	if (result->status == SGATE_OK && target->fate != FATE_LIVE)
		cell_wrong(cell, "an ended session was accepted");
	if (result->status == SGATE_OK && !same_ref(&result->ref, &target->ref))
		cell_wrong(cell, "another session was found");
	if (result->status == SGATE_NOT_FOUND && target->fate == FATE_LIVE)
		cell_wrong(
		    cell, "a live session was refused: %s", result->text);
}

static enum sgate_status
run_list(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct sgate_list *list = NULL;
	enum sgate_status status;

	(void)site;
	status = sgate_user_sessions(mgr, B(cell->user), 100, &list, err);
	if (status == SGATE_OK)
		out->count = sgate_list_count(list);
	sgate_list_free(list);
	return status;
}

static void
judge_list(struct site *site, struct cell *cell)
{
	if (cell->is_acknowledged && site->common->result.count != cell->count)
		cell_wrong(cell, "%d sessions in the list",
		    (int)site->common->result.count);
}

/* ---- changes ---- */

static void
count_change(struct cell *cell, struct target *target)
{
	if (cell->is_acknowledged)
		target->changes++;
	else
		target->maybe++;
}

static enum sgate_status
run_update(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct sgate_update update = {.data_patch = B("{\"mine\":true}")};
	struct sgate_session *session = NULL;
	enum sgate_status status;

	(void)site;
	status = sgate_session_update(
	    mgr, &cell->targets[0].ref, &update, &session, err);
	return told(status, session, NULL, out);
}

static void
judge_update(struct site *site, struct cell *cell)
{
	struct sgate_session *session = NULL;
	struct sgate_error err;
	bool is_there = false;

	count_change(cell, &cell->targets[0]);
	if (!cell->is_acknowledged)
		return;
	if (manager_session_any(
		site->there, &cell->targets[0].ref, &session, &err) == SGATE_OK)
		is_there = strstr(session->data, "\"mine\":true") != NULL;
	if (!is_there)
		cell_wrong(cell, "a change that was acknowledged is not there");
	sgate_session_free(session);
}

static enum sgate_status
run_rotate(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;
	char *token = NULL;

	(void)site;
	status = sgate_session_rotate(
	    mgr, B(cell->targets[0].token), &session, &token, err);
	return told(status, session, token, out);
}

/* The old token is in its grace, the new one is good. */
static void
judge_rotate(struct site *site, struct cell *cell)
{
	struct target *target = &cell->targets[0];
	const struct result *result = &site->common->result;

	count_change(cell, target);
	if (!cell->is_acknowledged)
		return;
	if (result->token[0] == '\0')
		cell_wrong(cell, "a rotation gave no token");
	copy_text(target->spare, sizeof(target->spare), target->token);
	copy_text(target->token, sizeof(target->token), result->token);
}

static enum sgate_status
run_extend(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	enum sgate_status status;

	(void)site;
	status =
	    sgate_session_extend(mgr, B(cell->targets[0].token), &session, err);
	return told(status, session, NULL, out);
}

static enum sgate_status
run_db(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct sgate_db *db = NULL;
	enum sgate_status status;

	(void)site;
	(void)cell;
	(void)out;
	status = sgate_db_open(mgr, 0, &db, err);
	if (status == SGATE_OK)
		status = sgate_db_exec(
		    db, "INSERT INTO own VALUES (1)", NULL, 0, NULL, NULL, err);
	if (status == SGATE_OK)
		status = sgate_db_commit(db, err);
	sgate_db_close(db);
	return status;
}

static void
prepare_db(struct site *site, struct cell *cell)
{
	make_one(site, cell);
	site_sql(site, "CREATE TABLE IF NOT EXISTS own (n INT) ENGINE=InnoDB");
	site_sql(site, "DELETE FROM own");
}

static void
judge_db(struct site *site, struct cell *cell)
{
	int64_t rows = mariadb_number(
	    &site->db, site->database, "SELECT COUNT(*) FROM own");

	if (rows > 1 || (cell->is_acknowledged && rows != 1))
		cell_wrong(cell, "%d rows of one statement", (int)rows);
}

/* ---- creates ---- */

static void
fill_create(const struct cell *cell, struct sgate_create *create)
{
	memset(create, 0, sizeof(*create));
	create->user_id = B(cell->user);
	create->data = B("{\"a\":1}");
	create->idempotency_key = B(cell->user);
}

static enum sgate_status
run_create(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct sgate_session *session = NULL;
	struct sgate_create create;
	enum sgate_status status;
	char *token = NULL;

	(void)site;
	fill_create(cell, &create);
	status = sgate_session_create(mgr, &create, &session, &token, err);
	return told(status, session, token, out);
}

/* The caller asks again, elsewhere: the same session, or the first one. */
static void
next_create(struct site *site, struct cell *cell)
{
	const struct result *result = &site->common->result;
	struct target *target = &cell->targets[cell->count++];
	struct sgate_session *session = NULL;
	struct sgate_create create;
	struct sgate_error err;
	char *token = NULL;

	fill_create(cell, &create);
	if (sgate_session_create(
		site->there, &create, &session, &token, &err) != SGATE_OK) {
		cell_wrong(cell, "the caller asks again: %s", err.text);
		cell->count--;
		return;
	}
	set_target(target, session, token);
	if (cell->is_acknowledged && !same_ref(&target->ref, &result->ref))
		cell_wrong(cell, "the caller asks again: another session");
	if (cell->is_acknowledged && strcmp(token, result->token) != 0)
		cell_wrong(cell, "the caller asks again: another token");
	sgate_session_free(session);
	sgate_token_free(token);
}

/* Without a key, so it may be done together with others. */
static enum sgate_status
run_create_plain(struct site *site, struct sgate_manager *mgr,
    struct cell *cell, struct result *out, struct sgate_error *err)
{
	struct sgate_create create = {
	    .user_id = B(cell->user), .data = B("{\"a\":1}")};
	struct sgate_session *session = NULL;
	enum sgate_status status;
	char *token = NULL;

	(void)site;
	status = sgate_session_create(mgr, &create, &session, &token, err);
	return told(status, session, token, out);
}

static void
judge_away(struct site *site, struct cell *cell)
{
	const struct result *result = &site->common->result;
	struct target *target = &cell->targets[0];

	if (!cell->is_acknowledged)
		return;
	memset(target, 0, sizeof(*target));
	target->ref = result->ref;
	copy_text(target->token, sizeof(target->token), result->token);
	cell->count = 1;
}

/* It is believed elsewhere before MySQL has it. */
static void
next_away(struct site *site, struct cell *cell)
{
	struct sgate_session *session = NULL;
	struct sgate_error err;

	if (cell->is_acknowledged &&
	    sgate_session_get(site->there, B(cell->targets[0].token),
		SGATE_NO_TOUCH, &session, &err) != SGATE_OK)
		cell_wrong(cell, "a look at a new session: %s", err.text);
	sgate_session_free(session);
}

static void
die_at_work(void *arg, struct batch_item *items, size_t count)
{
	(void)arg;
	(void)items;
	(void)count;
	_exit(0);
}

/* A worker of the host has died with what it had in hand: who comes next hands
 * over what is his, finds that out, and takes it as he would take another's. */
static void
prepare_dead(struct site *site, struct cell *cell)
{
	struct batch_item item = {.bytes = NULL};
	int status = 1;
	pid_t pid = fork();

	if (pid == 0)
		batch_do_own(site->batch, 1, &item, 1, die_at_work, NULL);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		cell_wrong(cell, "prepare: nobody has died at work");
}

/* A key that was used more than a day ago. */
static void
prepare_old_key(struct site *site, struct cell *cell)
{
	struct sgate_create create;

	fill_create(cell, &create);
	make_with(site, cell, &create);
	site_sql(site, "UPDATE idempotency SET expires_ms = 1");
}

/* The limit is one session: an older one ends. */
static void
judge_limited(struct site *site, struct cell *cell)
{
	(void)site;
	cell->targets[0].fate = FATE_ENDED;
	cell->targets[0].ends = 1;
}

static void
next_limited(struct site *site, struct cell *cell)
{
	site->there->conf->session.max_sessions = 1;
	next_create(site, cell);
	site->there->conf->session.max_sessions = 0;
}

/* ---- ends ---- */

static void
judge_end_of(struct cell *cell, struct target *target)
{
	target->fate = cell->is_acknowledged ? FATE_ENDED : FATE_ANY;
	if (cell->is_acknowledged)
		target->ends++;
	else
		target->maybe_ends++;
}

static void
judge_end(struct site *site, struct cell *cell)
{
	(void)site;
	judge_end_of(cell, &cell->targets[0]);
}

static enum sgate_status
run_end(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	(void)site;
	(void)out;
	return sgate_session_end_token(
	    mgr, B(cell->targets[0].token), SGATE_REASON_LOGGED_OUT, err);
}

/* As programs have it that are no worker: nothing is gathered. */
static enum sgate_status
run_end_alone(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	manager_set_batch(mgr, NULL, 0);
	return run_end(site, mgr, cell, out, err);
}

static enum sgate_status
run_update_alone(struct site *site, struct sgate_manager *mgr,
    struct cell *cell, struct result *out, struct sgate_error *err)
{
	manager_set_batch(mgr, NULL, 0);
	return run_update(site, mgr, cell, out, err);
}

/* Where MySQL does not answer nobody knows that it had ended: the spool takes
 * it, and its audit row will be there as well. */
static void
judge_end_again(struct site *site, struct cell *cell)
{
	(void)site;
	cell->targets[0].maybe_ends++;
}

/* A row that was lost, and its copy stands in Redis. */
static void
make_unknown(struct site *site, struct cell *cell)
{
	char hex[SGATE_REF_HEX + 1];

	make_one(site, cell);
	sgate_ref_text(&cell->targets[0].ref, hex);
	site_sql(site, "DELETE FROM session WHERE ref = X'%s'", hex);
}

/* The session is not one that can be judged by a row: there may be none. */
static void
judge_unknown(struct site *site, struct cell *cell)
{
	(void)site;
	cell->count = 0;
}

static void
check_unknown(struct site *site, struct cell *cell)
{
	struct sgate_session *session = NULL;
	struct sgate_error err;
	enum sgate_status status;

	status = sgate_session_get(site->there, B(cell->targets[0].token),
	    SGATE_NO_TOUCH, &session, &err);
	if (cell->is_acknowledged && status != SGATE_NOT_FOUND)
		cell_wrong(cell, "an ended session was accepted");
	sgate_session_free(session);
}

static void
next_unknown(struct site *site, struct cell *cell)
{
	struct sgate_error err;
	enum sgate_status status;

	/* Unavailable: MySQL was away, and the session may be on its way. */
	status = sgate_session_end_token(site->there, B(cell->targets[0].token),
	    SGATE_REASON_LOGGED_OUT, &err);
	if (status != SGATE_OK && status != SGATE_UNAVAILABLE)
		cell_wrong(cell, "the caller asks again: %s", err.text);
}

static enum sgate_status
run_cleanup(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	(void)site;
	return sgate_user_cleanup(mgr, B(cell->user), &cell->targets[0].ref,
	    SGATE_REASON_REVOKED, &out->count, err);
}

static void
judge_cleanup(struct site *site, struct cell *cell)
{
	if (cell->is_acknowledged && site->common->result.count != 2)
		cell_wrong(cell, "%d sessions were ended",
		    (int)site->common->result.count);
	judge_end_of(cell, &cell->targets[1]);
	judge_end_of(cell, &cell->targets[2]);
}

/* One whose ref could not be read ends as it lands, and is not counted. */
static void
judge_cleanup_away(struct site *site, struct cell *cell)
{
	struct result *result = &site->common->result;

	if (cell->is_acknowledged && result->count == 1)
		result->count++;
	judge_cleanup(site, cell);
}

static enum sgate_status
run_block(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	(void)site;
	return sgate_user_block(
	    mgr, B(cell->user), B("test"), &out->count, err);
}

static void
judge_block(struct site *site, struct cell *cell)
{
	struct sgate_create create = {.user_id = B(cell->user)};
	struct sgate_session *session = NULL;
	struct sgate_error err;
	char *token = NULL;

	judge_end_of(cell, &cell->targets[0]);
	judge_end_of(cell, &cell->targets[1]);
	judge_end_of(cell, &cell->targets[2]);
	if (!cell->is_acknowledged)
		return;
	if (sgate_session_create(
		site->there, &create, &session, &token, &err) != SGATE_DENIED)
		cell_wrong(cell, "a blocked user has logged in");
	sgate_session_free(session);
	sgate_token_free(token);
}

/* ---- what is set for all hosts: of a realm that has nobody ---- */

static enum sgate_status
go_elsewhere(struct sgate_manager *mgr, struct sgate_error *err)
{
	const struct sgate_caller caller = {.realm = B("elsewhere")};

	return sgate_manager_set_caller(mgr, &caller, err);
}

static enum sgate_status
run_maintenance(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	char reason[40];
	const struct sgate_maintenance maintenance = {
	    .mode = SGATE_MAINTENANCE_EMERGENCY,
	    .reason = (struct sgate_bytes){reason,
		(size_t)snprintf(reason, sizeof(reason), "%s", cell->user)}};
	enum sgate_status status = go_elsewhere(mgr, err);

	(void)site;
	(void)out;
	if (status == SGATE_OK)
		status = sgate_maintenance_set(mgr, &maintenance, err);
	return status;
}

/* What was acknowledged is in force at another host after its next round. */
static void
check_maintenance(struct site *site, struct cell *cell)
{
	struct sgate_maintenance_state state;
	struct sgate_error err;

	if (site_round(site, site->there) != SGATE_OK)
		cell_wrong(cell, "no round: %s", site->why);
	settings_tell_maintenance(
	    &site->common->there.settings, "elsewhere", clock_utc_ms(), &state);
	if (state.mode == SGATE_MAINTENANCE_UNKNOWN ||
	    (cell->is_acknowledged && strcmp(state.reason, cell->user) != 0))
		cell_wrong(cell, "not in maintenance: %d, %s", (int)state.mode,
		    state.reason);
	if (go_elsewhere(site->there, &err) != SGATE_OK ||
	    sgate_maintenance_end(site->there, 0, &err) != SGATE_OK)
		cell_wrong(cell, "maintenance does not end: %s", err.text);
	if (sgate_manager_set_caller(site->there,
		&(struct sgate_caller){.budget_ms = 0}, &err) != SGATE_OK)
		cell_wrong(cell, "caller: %s", err.text);
}

/* Of a moment that is past: a flush until now waits until it is. */
static enum sgate_status
run_flush(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	const struct sgate_flush flush = {
	    .before_ms = 1000000 + (int64_t)site->number};
	enum sgate_status status = go_elsewhere(mgr, err);

	(void)cell;
	(void)out;
	if (status == SGATE_OK)
		status = sgate_sessions_flush(mgr, &flush, NULL, err);
	return status;
}

static void
check_flush(struct site *site, struct cell *cell)
{
	static struct settings settings;
	const struct sgate_bytes nobody = {NULL, 0};

	if (site_round(site, site->there) != SGATE_OK)
		cell_wrong(cell, "no round: %s", site->why);
	if (!settings_get(&site->common->there.settings, &settings))
		cell_wrong(cell, "nobody knows what is set");
	else if (cell->is_acknowledged &&
		 !settings_flushed(&settings, "elsewhere", nobody,
		     1000000 + (int64_t)site->number - 1))
		cell_wrong(cell, "nobody is flushed");
}

/* ---- the keeper ---- */

static enum sgate_status
run_round(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	const struct manager_round round = {.runtime_dir = site->dir};

	(void)cell;
	(void)out;
	return manager_fence_round(mgr, &round, err);
}

/* The second one hears of what came since the first. */
static enum sgate_status
run_rounds(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct sgate_error ignored;
	enum sgate_status status, round;

	round = run_round(site, mgr, cell, out, &ignored);
	status = run_end(site, mgr, cell, out, err);
	round = run_round(site, mgr, cell, out, &ignored);
	(void)round;
	return status;
}

/* The file never knows less than what is used, and is never a part of one. */
static void
judge_round(struct site *site, struct cell *cell)
{
	const struct fence *used = &site->common->here.fence;
	struct fence file;
	struct sgate_error err;
	enum sgate_status status = fence_file_read(site->dir, &file, &err);
	unsigned group;

	if (status == SGATE_CORRUPT)
		cell_wrong(cell, "the fence's file: %s", err.text);
	for (group = 0; status == SGATE_OK && group < TOKEN_GROUPS; group++)
		if (atomic_load(&file.known[group]) <
		    atomic_load(&used->known[group]))
			cell_wrong(cell, "the fence's file is behind");
}

/* Somebody was blocked, which all hosts must learn. */
static void
make_blocked(struct site *site, struct cell *cell)
{
	struct sgate_error err;
	uint64_t count;

	make_one(site, cell);
	if (sgate_user_block(
		site->there, B("blocked"), B("test"), &count, &err) != SGATE_OK)
		cell_wrong(cell, "prepare: block: %s", err.text);
}

static enum sgate_status
run_touch(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct durable_touch touches[TARGETS_MAX];
	size_t i;

	(void)site;
	(void)out;
	memset(touches, 0, sizeof(touches));
	for (i = 0; i < cell->count; i++) {
		touches[i].ref = cell->targets[i].ref;
		touches[i].last_seen_ms = manager_now_ms(mgr);
		touches[i].copy_ttl_ms = 60000;
	}
	return manager_touch_write(mgr, touches, cell->count, err);
}

static enum sgate_status
run_reap(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct sgate_reaped reaped;
	enum sgate_status status;

	(void)site;
	(void)cell;
	status = sgate_reap(mgr, &reaped, err);
	out->count = reaped.ended;
	return status;
}

static void
judge_reap(struct site *site, struct cell *cell)
{
	struct target *target = &cell->targets[0];

	if (cell->is_acknowledged && site->common->result.count > 0)
		target->ends++;
	else
		target->maybe_ends++;
}

static void
fill_frame(
    struct sgate_manager *mgr, struct cell *cell, struct spool_frame *frame)
{
	memset(frame, 0, sizeof(*frame));
	frame->kind = SPOOL_END;
	frame->ended_ms = manager_now_ms(mgr);
	frame->absolute_ms = frame->ended_ms + 3600000;
	audit_init(&frame->audit, mgr, "end", SGATE_REASON_LOGGED_OUT);
	frame->audit.has_ref = true;
	frame->audit.ref = cell->targets[0].ref;
	copy_text(frame->audit.user, sizeof(frame->audit.user), cell->user);
}

static enum sgate_status
run_append(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct spool_frame frame;

	(void)site;
	(void)out;
	fill_frame(mgr, cell, &frame);
	return manager_spool_append(mgr, &frame, true, err);
}

static void
make_spooled(struct site *site, struct cell *cell)
{
	struct target *target = &cell->targets[0];
	struct spool_frame frame;
	struct sgate_error err;

	make_one(site, cell);
	fill_frame(site->here, cell, &frame);
	if (spool_append(site->spool, &frame, true, &err) != SGATE_OK)
		cell_wrong(cell, "prepare: append: %s", err.text);
	target->fate = FATE_ENDED;
	target->ends = 1;
}

/* A session that was created while MySQL was away, and has to land. */
static void
make_created_away(struct site *site, struct cell *cell)
{
	struct sgate_create create = {.user_id = B(cell->user)};
	struct sgate_session *session = NULL;
	struct sgate_error err;
	char *token = NULL;

	manager_set_spool(site->here, site->spool);
	setenv("SESSGATE_FAILPOINTS", "durable-begin=error", 1);
	if (sgate_session_create(site->here, &create, &session, &token, &err) ==
	    SGATE_OK)
		set_target(&cell->targets[cell->count++], session, token);
	else
		cell_wrong(cell, "prepare: create: %s", err.text);
	unsetenv("SESSGATE_FAILPOINTS");
	manager_set_spool(site->here, NULL);
	breaker_close(
	    &site->common->here.durable, clock_monotonic_ms() - 60000);
	sgate_session_free(session);
	sgate_token_free(token);
}

static void
make_one_away_of_three(struct site *site, struct cell *cell)
{
	make_one(site, cell);
	make_created_away(site, cell);
	make_one(site, cell);
}

static enum sgate_status
run_ship(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	const struct spool_limits limits = {.dir = site->spool_dir,
	    .max_bytes = INT64_C(1) << 24,
	    .keep_ms = 60000};
	struct spool_reader *reader = NULL;
	enum sgate_status status;

	(void)cell;
	(void)out;
	status = spool_reader_open(
	    &limits, SPOOL_TO_DURABLE | SPOOL_TO_CACHE, &reader, err);
	if (status == SGATE_OK)
		status = site_ship(mgr, reader, err);
	spool_reader_close(reader);
	return status;
}

/* Another keeper does it then, if nothing is locked. */
static void
next_ship(struct site *site, struct cell *cell)
{
	struct sgate_error err;

	if (site_ship(site->there, site->reader, &err) != SGATE_OK)
		cell_wrong(cell, "the next keeper ships: %s", err.text);
}

/* ---- what else a store is asked ---- */

static enum sgate_status
run_health(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct sgate_health health;
	struct sgate_stats stats;
	enum sgate_status status;

	(void)site;
	(void)cell;
	(void)out;
	status = sgate_health(mgr, &health, err);
	return status == SGATE_OK ? sgate_stats(mgr, &stats, err) : status;
}

static int
count_row(void *arg, const struct durable_audit *audit)
{
	(void)audit;
	++*(unsigned *)arg;
	return 0;
}

static enum sgate_status
run_audit(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct durable_audit_filter filter = {
	    .ref = &cell->targets[0].ref, .limit = 10};
	unsigned count = 0;
	enum sgate_status status;

	(void)site;
	status = manager_audit_list(mgr, &filter, count_row, &count, err);
	out->count = count;
	if (status == SGATE_OK && count == 0)
		return SGATE_INTERNAL;
	return status;
}

static enum sgate_status
run_leases(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	enum sgate_status status;

	(void)site;
	(void)cell;
	(void)out;
	status = manager_announce(mgr, "host", 60000, err);
	if (status == SGATE_OK)
		status = manager_key_is_everywhere(mgr, 1, err);
	if (status == SGATE_OK)
		status = manager_reaper_take(mgr, "host", 1, err);
	return status;
}

static int
no_service(void *arg, const struct durable_service *service)
{
	(void)arg;
	(void)service;
	return 0;
}

static enum sgate_status
run_services(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	struct durable_service service = {.scopes = "create"}, found;
	char key[MANAGER_SERVICE_KEY_LEN + 1];
	enum sgate_status status;

	(void)site;
	(void)out;
	copy_text(service.name, sizeof(service.name), cell->user);
	status = manager_service_add(mgr, &service, key, err);
	if (status == SGATE_OK)
		status = manager_service_check(mgr, B(key), &found, err);
	if (status == SGATE_OK)
		status = manager_service_list(mgr, no_service, NULL, err);
	if (status == SGATE_OK)
		status = manager_service_remove(mgr, cell->user, err);
	return status;
}

static enum sgate_status
run_schema(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	unsigned made, dropped;
	bool is_needed;
	enum sgate_status status;

	(void)site;
	(void)cell;
	(void)out;
	status = manager_schema_init(mgr, err);
	if (status == SGATE_OK)
		status = manager_schema_check(mgr, err);
	if (status == SGATE_OK)
		status =
		    manager_maintain(mgr, &is_needed, &made, &dropped, err);
	return status;
}

/* No gateway runs then; whoever does it does it again until it is done. */
static enum sgate_status
run_restored(struct site *site, struct sgate_manager *mgr, struct cell *cell,
    struct result *out, struct sgate_error *err)
{
	bool is_needed;
	unsigned epoch;

	(void)site;
	(void)cell;
	(void)out;
	return manager_restored(mgr, &is_needed, &epoch, err);
}

static void
next_restored(struct site *site, struct cell *cell)
{
	struct sgate_error err;
	bool is_needed;
	unsigned epoch;

	if (manager_restored(site->there, &is_needed, &epoch, &err) != SGATE_OK)
		cell_wrong(cell, "it is done again: %s", err.text);
}

const struct op ops[] = {
    {.name = "create", .run = run_create, .next = next_create},
    {.name = "create_old_key",
	.prepare = prepare_old_key,
	.run = run_create,
	.next = next_create},
    {.name = "create_limited",
	.prepare = make_one,
	.run = run_create,
	.judge = judge_limited,
	.next = next_limited,
	.max_sessions = 1},
    /* MySQL does not answer, in every cell: it is made without it. */
    {.name = "create_away",
	.more = "durable-begin=error",
	.run = run_create_plain,
	.judge = judge_away,
	.next = next_away},
    {.name = "create_after_dead",
	.prepare = prepare_dead,
	.run = run_create_plain,
	.judge = judge_away,
	.next = next_away},
    {.name = "validate",
	.prepare = make_one,
	.run = run_validate,
	.judge = judge_look},
    {.name = "identify",
	.prepare = make_one,
	.run = run_identify,
	.judge = judge_look},
    {.name = "identify_long",
	.prepare = make_long,
	.run = run_identify_again,
	.judge = judge_look},
    {.name = "validate_missing",
	.prepare = make_missing,
	.run = run_validate,
	.judge = judge_look},
    {.name = "validate_ended",
	.prepare = make_ended,
	.run = run_validate,
	.judge = judge_look,
	.is_refused = true},
    {.name = "validate_stale",
	.prepare = make_stale,
	.run = run_validate,
	.judge = judge_look,
	.is_refused = true},
    {.name = "validate_rotated",
	.prepare = make_rotated,
	.run = run_validate,
	.judge = judge_look},
    {.name = "list",
	.prepare = make_three,
	.run = run_list,
	.judge = judge_list},
    {.name = "change",
	.prepare = make_one,
	.run = run_update,
	.judge = judge_update},
    {.name = "change_alone",
	.prepare = make_one,
	.run = run_update_alone,
	.judge = judge_update},
    {.name = "rotate",
	.prepare = make_one,
	.run = run_rotate,
	.judge = judge_rotate},
    {.name = "extend",
	.prepare = make_one,
	.run = run_extend,
	.judge = judge_look},
    {.name = "end", .prepare = make_one, .run = run_end, .judge = judge_end},
    {.name = "end_alone",
	.prepare = make_one,
	.run = run_end_alone,
	.judge = judge_end},
    {.name = "end_again",
	.prepare = make_unpublished_end,
	.run = run_end,
	.judge = judge_end_again},
    {.name = "end_unknown",
	.prepare = make_unknown,
	.run = run_end,
	.judge = judge_unknown,
	.next = next_unknown,
	.check = check_unknown},
    {.name = "cleanup",
	.prepare = make_three,
	.run = run_cleanup,
	.judge = judge_cleanup},
    {.name = "cleanup_away",
	.prepare = make_one_away_of_three,
	.run = run_cleanup,
	.judge = judge_cleanup_away,
	.next = next_ship},
    {.name = "block",
	.prepare = make_three,
	.run = run_block,
	.judge = judge_block},
    {.name = "maintenance",
	.prepare = make_one,
	.run = run_maintenance,
	.check = check_maintenance},
    {.name = "flush",
	.prepare = make_one,
	.run = run_flush,
	.check = check_flush},
    {.name = "reap",
	.prepare = make_short,
	.run = run_reap,
	.judge = judge_reap},
    {.name = "touch", .prepare = make_three, .run = run_touch},
    {.name = "touch_whole",
	.more = "touch-field=off",
	.prepare = make_one,
	.run = run_touch},
    {.name = "round",
	.prepare = make_unpublished,
	.run = run_round,
	.judge = judge_round,
	.may_fail = true},
    {.name = "rounds",
	.prepare = make_one,
	.run = run_rounds,
	.judge = judge_end},
    {.name = "round_end",
	.prepare = make_unpublished_end,
	.run = run_round,
	.judge = judge_round,
	.may_fail = true},
    {.name = "round_blocked",
	.prepare = make_blocked,
	.run = run_round,
	.judge = judge_round,
	.may_fail = true},
    {.name = "append",
	.prepare = make_one,
	.run = run_append,
	.judge = judge_end,
	.next = next_ship},
    {.name = "ship",
	.prepare = make_spooled,
	.run = run_ship,
	.next = next_ship},
    {.name = "ship_created",
	.prepare = make_created_away,
	.run = run_ship,
	.next = next_ship},
    {.name = "db", .prepare = prepare_db, .run = run_db, .judge = judge_db},
    {.name = "health", .prepare = make_one, .run = run_health},
    {.name = "audit", .prepare = make_one, .run = run_audit},
    {.name = "leases", .prepare = make_one, .run = run_leases},
    {.name = "services", .prepare = make_one, .run = run_services},
    {.name = "schema", .prepare = make_one, .run = run_schema},
    {.name = "restored",
	.prepare = make_one,
	.run = run_restored,
	.next = next_restored},
};
const size_t ops_count = sizeof(ops) / sizeof(ops[0]);
