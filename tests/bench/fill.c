/*
 * Fills a gateway's stores with sessions, as logins would have left them. What
 * is written is made by the library's own functions: tokens, the values of rows
 * and audit rows, sealed copies. What goes in bulk is how it gets there: a
 * thousand rows in a statement, a fence group's copies in an APPLY that leaves
 * its `sync` as it is. SQLite takes them one by one, a thousand in a
 * transaction.
 *
 *   fill CONF PREFIX FIRST COUNT EACH AGE EVERY [PART PARTS]
 *
 * Session N, from FIRST on, is of user PREFIX-M, where M is N / EACH: a user
 * has EACH of them. They were made and last seen AGE seconds ago. Prints
 * "TOKEN USER" of each EVERYth. PART of PARTS: only users of every PARTSth
 * fence group, so that several processes fill pages of their own.
 */
#include "config.h"

#include "durable_mysql.h"
#include "manager.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET_MS 60000
#define ROWS 1000
/* A keeper's own APPLY, or one that is under way, may come between. */
#define APPLIES_MAX 50

struct asked {
	const char *prefix;
	long first, count, each, age_s, every;
	long part, parts;
};

struct filling {
	struct sgate_manager *mgr;
	bool is_mysql;
	size_t count;
	struct sgate_session *sessions[ROWS];
	struct durable_audit audits[ROWS];
	struct buf records[ROWS];
	char tokens[ROWS][SGATE_TOKEN_LEN + 1];
};

static void
die(const char *what, const struct sgate_error *err)
{
	fprintf(stderr, "fill: %s: %s: %s\n", what, err->source, err->text);
	exit(1);
}

static void
must(enum sgate_status status, const char *what, const struct sgate_error *err)
{
	if (status != SGATE_OK)
		die(what, err);
}

static void
add_session(struct filling *f, const struct asked *asked, long number)
{
	const struct sgate_conf *conf = f->mgr->conf;
	struct sgate_session *s;
	char user[64];
	uint8_t group;
	size_t i = f->count;
	struct token token;
	struct sgate_error err;

	snprintf(user, sizeof(user), "%s-%011ld", asked->prefix,
	    number / asked->each);
	group = token_user_group(f->mgr->keys, bytes_of(""), bytes_of(user));
	if (group % TOKEN_GROUPS % asked->parts != asked->part)
		return;
	s = session_new();
	if (s == NULL || !session_set(&s->data, bytes_of("{}"))) {
		fprintf(stderr, "fill: no memory\n");
		exit(1);
	}
	memcpy(s->user, user, sizeof(user));
	s->version = 1;
	s->state = SESSION_LIVE;
	s->created_ms = manager_now_ms(f->mgr) - 1000 * asked->age_s;
	s->auth_ms = s->last_seen_ms = s->created_ms;
	s->idle_ms = conf->session.idle_timeout_ms;
	s->absolute_ms = s->created_ms + conf->session.absolute_timeout_ms;
	must(token_make(keys_signing_id(f->mgr->keys), group, s->created_ms,
		 &token, &err),
	    "token", &err);
	s->ref = token.ref;
	token_hash(token.secret, s->secret_hash);
	f->tokens[i][0] = '\0';
	if (number % asked->every == 0)
		token_write(f->mgr->keys, bytes_of(""), &token, f->tokens[i]);
	f->sessions[i] = s;
	audit_init(&f->audits[i], f->mgr, "create", SGATE_REASON_OK);
	audit_about(&f->audits[i], s);
	f->count++;
}

/* ---- rows ---- */

/* As durable_mysql_create.c writes them, and for its reason in order of when
 * they were made. */
static int
compare_made(const void *a, const void *b)
{
	const struct sgate_session *left =
	    *(const struct sgate_session *const *)a;
	const struct sgate_session *right =
	    *(const struct sgate_session *const *)b;

	if (left->created_ms != right->created_ms)
		return left->created_ms < right->created_ms ? -1 : 1;
	return memcmp(&left->ref, &right->ref, sizeof(left->ref));
}

static void
query(struct filling *f, struct buf *sql)
{
	struct sgate_error err;

	if (buf_failed(sql)) {
		fprintf(stderr, "fill: no memory\n");
		exit(1);
	}
	must(mydb_query(f->mgr->durable, buf_text(sql), "fill", &err), "rows",
	    &err);
	buf_reset(sql);
}

static void
insert_rows(struct filling *f)
{
	static struct buf sql;
	struct sgate_session *sorted[ROWS];
	struct durable *d = f->mgr->durable;
	struct sgate_error err;
	struct sql_run r;
	size_t i;

	memcpy(sorted, f->sessions, f->count * sizeof(sorted[0]));
	qsort(sorted, f->count, sizeof(sorted[0]), compare_made);
	must(mydb_enter((struct mydb *)d, "fill", &err), "connect", &err);
	buf_add_text(&sql, "START TRANSACTION");
	query(f, &sql);
	buf_add_text(&sql, "INSERT INTO audit (" SQL_AUDIT_COLUMNS ") VALUES");
	for (i = 0; i < f->count; i++) {
		sql_collect(&r, d, "fill", &err);
		must(sql_audit_bind(&r, &f->audits[i]), "audit", &err);
		mydb_add_row(&sql, &r, i == 0);
	}
	query(f, &sql);
	buf_add_text(&sql,
	    "INSERT INTO session (" SQL_SESSION_COLUMNS ", data, grp) VALUES");
	for (i = 0; i < f->count; i++) {
		sql_collect(&r, d, "fill", &err);
		must(sql_session_bind(&r, sorted[i]), "session", &err);
		mydb_add_row(&sql, &r, i == 0);
	}
	query(f, &sql);
	buf_add_text(&sql, "COMMIT");
	query(f, &sql);
}

/* Where the store takes them one by one. */
static void
insert_each(struct filling *f)
{
	const struct durable_ops *ops = f->mgr->ops;
	struct durable *d = f->mgr->durable;
	struct durable_user user;
	struct sgate_error err;
	size_t i;

	must(manager_begin_in(f->mgr, d, &err), "begin", &err);
	for (i = 0; i < f->count; i++) {
		must(ops->audit_insert(d, &f->audits[i], &err), "audit", &err);
		must(ops->user_lock(d, bytes_of(""),
			 bytes_of(f->sessions[i]->user), false, &user, &err),
		    "user", &err);
		must(ops->session_insert(d, f->sessions[i], &err), "session",
		    &err);
	}
	must(ops->commit(d, &err), "commit", &err);
}

/* ---- copies ---- */

/* Those of one group, as of its `sync`. False: that has moved meanwhile. */
static bool
apply_group(struct filling *f, unsigned group, const char *sync)
{
	struct sgate_manager *mgr = f->mgr;
	int64_t now_ms = manager_now_ms(mgr);
	char after[CACHE_SYNC_MAX + 1];
	struct cache_item items[ROWS];
	struct fence_sync at;
	struct sgate_error err;
	size_t i, count = 0;

	if (!fence_sync_read(sync, &at))
		return false;
	for (i = 0; i < f->count; i++) {
		const struct sgate_session *s = f->sessions[i];

		if (token_ref_group(&s->ref) != group)
			continue;
		buf_wipe(&f->records[i]);
		must(record_write(
			 mgr->keys, &at.store, 'L', s, &f->records[i], &err),
		    "record", &err);
		items[count++] = (struct cache_item){.ref = s->ref,
		    .record = buf_bytes(&f->records[i]),
		    .ttl_ms = session_copy_ttl_ms(s, now_ms)};
	}
	if (count == 0)
		return true;
	must(manager_cache_enter(mgr, false, &err), "copies", &err);
	must(mgr->cache_ops->apply(
		 mgr->cache, group, sync, sync, items, count, after, &err),
	    "copies", &err);
	return strcmp(after, sync) == 0;
}

static void
put_copies(struct filling *f)
{
	char sync[TOKEN_GROUPS][CACHE_SYNC_MAX + 1];
	unsigned left = (1u << TOKEN_GROUPS) - 1, group;
	struct sgate_manager *mgr = f->mgr;
	struct sgate_error err;
	int tries;

	for (tries = 0; left != 0; tries++) {
		if (tries == APPLIES_MAX) {
			fprintf(stderr, "fill: the cache does not take copies; "
					"is its gateway running?\n");
			exit(1);
		}
		must(manager_cache_enter(mgr, false, &err), "the cache", &err);
		must(mgr->cache_ops->sync_get(mgr->cache, sync, &err),
		    "the cache", &err);
		for (group = 0; group < TOKEN_GROUPS; group++)
			if ((left & 1u << group) != 0 &&
			    apply_group(f, group, sync[group]))
				left &= ~(1u << group);
	}
}

/* ---- the whole ---- */

static void
store(struct filling *f)
{
	struct sgate_error err;
	size_t i;

	if (f->count == 0)
		return;
	must(manager_enter(f->mgr, &err), "begin", &err);
	if (f->is_mysql)
		insert_rows(f);
	else
		insert_each(f);
	if (f->mgr->cache_ops != NULL)
		put_copies(f);
	for (i = 0; i < f->count; i++) {
		if (f->tokens[i][0] != '\0')
			printf("%s %s\n", f->tokens[i], f->sessions[i]->user);
		sgate_session_free(f->sessions[i]);
	}
	f->count = 0;
}

static long
number(const char *text, long min)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value < min) {
		fprintf(
		    stderr, "fill: \"%s\" must be %ld or more\n", text, min);
		exit(2);
	}
	return value;
}

int
main(int argc, char **argv)
{
	static struct filling filling;
	struct sgate_caller caller = {
	    .actor = bytes_of("fill"), .budget_ms = BUDGET_MS};
	struct sgate_conf *conf = NULL;
	struct sgate_error err;
	struct asked asked;
	long i;

	if (argc != 8 && argc != 10) {
		fprintf(stderr, "usage: fill CONF PREFIX FIRST COUNT EACH AGE "
				"EVERY [PART PARTS]\n");
		return 2;
	}
	asked = (struct asked){.prefix = argv[2],
	    .first = number(argv[3], 0),
	    .count = number(argv[4], 1),
	    .each = number(argv[5], 1),
	    .age_s = number(argv[6], 0),
	    .every = number(argv[7], 1),
	    .part = argc == 10 ? number(argv[8], 0) : 0,
	    .parts = argc == 10 ? number(argv[9], 1) : 1};
	signal(SIGPIPE, SIG_IGN);
	if (sgate_conf_load(argv[1], NULL, &conf, &err) != SGATE_OK)
		die(argv[1], &err);
	/* Nobody waits for it, and the machine has enough to do. */
	conf->mysql.read_timeout_ms = conf->mysql.write_timeout_ms = BUDGET_MS;
	conf->redis.timeout_ms = BUDGET_MS / 2;
	conf->sqlite.busy_timeout_ms = BUDGET_MS / 2;
	if (sgate_manager_new(conf, NULL, &filling.mgr, &err) != SGATE_OK ||
	    sgate_manager_set_caller(filling.mgr, &caller, &err) != SGATE_OK)
		die(argv[1], &err);
	must(manager_enter(filling.mgr, &err), "begin", &err);
	filling.is_mysql = strcmp(filling.mgr->ops->name, "mysql") == 0;
	for (i = 0; i < asked.count; i++) {
		add_session(&filling, &asked, asked.first + i);
		if (filling.count == ROWS)
			store(&filling);
	}
	store(&filling);
	sgate_manager_free(filling.mgr);
	sgate_conf_free(conf);
	return fflush(stdout) == 0 ? 0 : 1;
}
