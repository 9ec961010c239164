/*
 * Fills a gateway's stores with sessions, as logins would have left them: the
 * rows, the audit rows and the copies are written by the functions that serve
 * creations, sixty-four in a transaction, so each is one that its token can be
 * presented for.
 *
 *   fill CONF PREFIX FIRST COUNT EACH AGE EVERY
 *
 * Session N, from FIRST on, is of user PREFIX-M, where M is N / EACH: a user
 * has EACH of them. They were made and last seen AGE seconds ago. Prints
 * "TOKEN USER" of each EVERYth.
 */
#include "config.h"

#include "manager.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET_MS 20000

struct asked {
	const char *prefix;
	long first, count, each, age_s, every;
};

struct filling {
	struct sgate_manager *mgr;
	size_t count;
	struct sgate_session *sessions[DURABLE_CREATIONS_MAX];
	struct durable_audit audits[DURABLE_CREATIONS_MAX];
	struct durable_creation creations[DURABLE_CREATIONS_MAX];
	struct cache_putting puts[DURABLE_CREATIONS_MAX];
	struct buf records[DURABLE_CREATIONS_MAX];
	char tokens[DURABLE_CREATIONS_MAX][SGATE_TOKEN_LEN + 1];
};

static void
die(const char *what, const struct sgate_error *err)
{
	fprintf(stderr, "fill: %s: %s: %s\n", what, err->source, err->text);
	exit(1);
}

static void
add_session(struct filling *f, const struct asked *asked, long number)
{
	const struct sgate_conf *conf = f->mgr->conf;
	struct sgate_session *s = session_new();
	size_t i = f->count++;
	struct token token;
	struct sgate_error err;

	if (s == NULL || !session_set(&s->data, bytes_of("{}"))) {
		fprintf(stderr, "fill: no memory\n");
		exit(1);
	}
	snprintf(s->user, sizeof(s->user), "%s-%011ld", asked->prefix,
	    number / asked->each);
	s->version = 1;
	s->state = SESSION_LIVE;
	s->created_ms = manager_now_ms(f->mgr) - 1000 * asked->age_s;
	s->auth_ms = s->last_seen_ms = s->created_ms;
	s->idle_ms = conf->session.idle_timeout_ms;
	s->absolute_ms = s->created_ms + conf->session.absolute_timeout_ms;
	if (token_make(keys_signing_id(f->mgr->keys),
		token_user_group(f->mgr->keys, bytes_of(""), bytes_of(s->user)),
		s->created_ms, &token, &err) != SGATE_OK)
		die("token", &err);
	s->ref = token.ref;
	token_hash(token.secret, s->secret_hash);
	f->tokens[i][0] = '\0';
	if (number % asked->every == 0)
		token_write(f->mgr->keys, bytes_of(""), &token, f->tokens[i]);
	f->sessions[i] = s;
	audit_init(&f->audits[i], f->mgr, "create", SGATE_REASON_OK);
	audit_about(&f->audits[i], s);
	f->creations[i] =
	    (struct durable_creation){.session = s, .audit = &f->audits[i]};
}

/* Where the store takes them one by one. */
static enum sgate_status
insert_each(struct filling *f, struct sgate_error *err)
{
	const struct durable_ops *ops = f->mgr->ops;
	struct durable *d = f->mgr->durable;
	enum sgate_status status = SGATE_OK;
	struct durable_user user;
	size_t i;

	for (i = 0; i < f->count && status == SGATE_OK; i++) {
		status = ops->audit_insert(d, &f->audits[i], err);
		if (status == SGATE_OK)
			status = ops->user_lock(d, bytes_of(""),
			    bytes_of(f->sessions[i]->user), false, &user, err);
		if (status == SGATE_OK)
			status = ops->session_insert(d, f->sessions[i], err);
	}
	return status;
}

static enum sgate_status
apply(struct change *change, struct sgate_error *err)
{
	struct filling *f = change->arg;
	struct sgate_manager *mgr = f->mgr;
	int64_t now_ms = manager_now_ms(mgr);
	enum sgate_status status;
	size_t i;

	status = manager_write(mgr,
	    mgr->ops->create_many != NULL ? mgr->ops->create_many(mgr->durable,
						f->creations, f->count, err)
					  : insert_each(f, err),
	    err);
	for (i = 0; i < f->count && status == SGATE_OK; i++) {
		buf_wipe(&f->records[i]);
		status = record_write(f->mgr->keys, &f->creations[i].at.store,
		    'L', f->sessions[i], &f->records[i], err);
		f->puts[i] = (struct cache_putting){
		    .item = {.ref = f->sessions[i]->ref,
			.record = buf_bytes(&f->records[i]),
			.ttl_ms = session_copy_ttl_ms(f->sessions[i], now_ms)},
		    .s0 = f->creations[i].at.counter,
		    .put = CACHE_PUT_RETRY};
	}
	return status;
}

static void
publish(struct change *change)
{
	struct filling *f = change->arg;

	if (f->mgr->cache_ops != NULL)
		cached_put_many(f->mgr, f->puts, f->count);
}

static void
store(struct filling *f)
{
	struct sgate_manager *mgr = f->mgr;
	struct change change;
	struct sgate_error err;
	size_t i;

	if (manager_enter(mgr, &err) != SGATE_OK)
		die("begin", &err);
	change_init(&change, mgr, "create", SGATE_REASON_OK, apply, f);
	change.audit = f->audits[0];
	change.is_whole = true;
	change.publish = publish;
	if (change_run(&change, &err) != SGATE_OK)
		die("store", &err);
	for (i = 0; i < f->count; i++) {
		if (mgr->cache_ops != NULL && f->puts[i].put != CACHE_PUT_OK) {
			fprintf(stderr,
			    "fill: the cache did not take a copy (%d); is its "
			    "gateway running?\n",
			    (int)f->puts[i].put);
			exit(1);
		}
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

	if (argc != 8) {
		fprintf(stderr, "usage: fill CONF PREFIX FIRST COUNT EACH AGE "
				"EVERY\n");
		return 2;
	}
	asked = (struct asked){.prefix = argv[2],
	    .first = number(argv[3], 0),
	    .count = number(argv[4], 1),
	    .each = number(argv[5], 1),
	    .age_s = number(argv[6], 0),
	    .every = number(argv[7], 1)};
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
	for (i = 0; i < asked.count; i++) {
		if (filling.count == 0 &&
		    manager_enter(filling.mgr, &err) != SGATE_OK)
			die("begin", &err);
		add_session(&filling, &asked, asked.first + i);
		if (filling.count == DURABLE_CREATIONS_MAX ||
		    i + 1 == asked.count)
			store(&filling);
	}
	sgate_manager_free(filling.mgr);
	sgate_conf_free(conf);
	return fflush(stdout) == 0 ? 0 : 1;
}
