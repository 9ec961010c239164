/*
 * Two processes after fork() with one manager that was opened before it.
 *
 *   forker CONFIGURATION COUNT < two tokens
 *
 * Each process looks its own token up COUNT times and tells when the answer is
 * another one's, or none, and when a store's answer was not usable: what is
 * mixed on a connection is seldom taken for an answer, but it is seen. All of
 * that ROUNDS times, each with a manager of its own: after the first mixture
 * both have connections of their own. Exit 0: all was right.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session_manager.h"

#define TOKEN_MAX 128
#define USER_MAX 128
#define SECONDS_MAX 60
#define ROUNDS 20

struct who {
	char token[TOKEN_MAX + 2];
	char user[USER_MAX + 1];
};

/* False: err says why not, or user is another's. */
static int
look(struct sgate_manager *mgr, const struct who *who, char user[USER_MAX + 1],
    struct sgate_error *err)
{
	struct sgate_bytes token = {who->token, strlen(who->token)};
	struct sgate_session *session = NULL;
	struct sgate_bytes id;
	int is_found;

	user[0] = '\0';
	is_found = sgate_session_get(
		       mgr, token, SGATE_NO_TOUCH, &session, err) == SGATE_OK;
	if (is_found) {
		id = sgate_session_get_user_id(session);
		snprintf(user, USER_MAX + 1, "%.*s", (int)id.len, id.data);
	}
	sgate_session_free(session);
	return is_found;
}

/* What was wrong with the stores' answers so far. */
static long
count_failures(const struct sgate_manager *mgr)
{
	const struct stores *stores = manager_stores(mgr);

	return (long)(stores->counts[STORES_CACHE_ERRORS] +
		      stores->counts[STORES_DURABLE_ERRORS] +
		      stores->counts[STORES_BAD_SEALS]);
}

/* How many answers were wrong. */
static long
look_often(struct sgate_manager *mgr, const struct who *who, long count)
{
	char user[USER_MAX + 1];
	struct sgate_error err;
	long wrong = 0, failures = count_failures(mgr), i;

	for (i = 0; i < count; i++) {
		if (look(mgr, who, user, &err) && strcmp(user, who->user) == 0)
			continue;
		if (wrong++ == 0)
			printf("%s: at %ld: '%s', %s\n", who->user, i, user,
			    user[0] == '\0' ? err.text : "another's");
	}
	failures = count_failures(mgr) - failures;
	if (failures != 0)
		printf("%s: %ld answers of stores were not usable\n", who->user,
		    failures);
	fflush(stdout);
	return wrong + failures;
}

static int
fork_and_look(struct sgate_manager *mgr, const struct who who[2], long count)
{
	int status = 0;
	long wrong;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return 1;
	alarm(SECONDS_MAX);
	wrong = look_often(mgr, &who[pid == 0], count);
	if (pid == 0)
		_exit(wrong != 0);
	if (waitpid(pid, &status, 0) != pid)
		return 1;
	return wrong != 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* Connections are open then, to both stores. False: err says why not. */
static int
open_manager(const struct sgate_conf *conf, struct who who[2],
    struct sgate_manager **out_mgr, struct sgate_error *err)
{
	int i;

	if (sgate_manager_new(conf, NULL, out_mgr, err) != SGATE_OK)
		return 0;
	/* Twice: the second may be answered by another store. */
	for (i = 0; i < 4; i++)
		if (!look(*out_mgr, &who[i % 2], who[i % 2].user, err))
			return 0;
	return 1;
}

static int
read_tokens(struct who who[2])
{
	int i;

	for (i = 0; i < 2; i++) {
		if (fgets(who[i].token, sizeof(who[i].token), stdin) == NULL)
			return 0;
		who[i].token[strcspn(who[i].token, "\n")] = '\0';
	}
	return 1;
}

int
main(int argc, char **argv)
{
	struct sgate_conf *conf = NULL;
	struct sgate_manager *mgr = NULL;
	struct who who[2];
	struct sgate_error err;
	int i, status = 0;

	if (argc != 3 || !read_tokens(who)) {
		fprintf(stderr, "usage: forker CONFIGURATION COUNT < tokens\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (sgate_conf_load(argv[1], NULL, &conf, &err) != SGATE_OK)
		goto failed;
	for (i = 0; i < ROUNDS && status == 0; i++) {
		if (!open_manager(conf, who, &mgr, &err))
			goto failed;
		status = fork_and_look(mgr, who, strtol(argv[2], NULL, 10));
		sgate_manager_free(mgr);
		mgr = NULL;
	}
	goto out;
failed:
	printf("%s: %s\n", err.source, err.text);
	status = 1;
out:
	sgate_manager_free(mgr);
	sgate_conf_free(conf);
	return status;
}
