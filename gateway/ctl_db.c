/*
 * The commands that make the store's tables and look after them.
 *
 * With SQLite all is done as the gateway's user: a file that root makes beside
 * the database would lock the gateway out. With MySQL it is the account that
 * counts, and root may have to read its password; only the key file is made as
 * the gateway's user then.
 */
#include "config.h"

#include "ctl.h"

#include "keys.h"
#include "session_manager.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Making a table may wait for those who use it. */
#define DB_BUDGET_MS 60000

static enum ctl_exit
make_keys(struct ctl *ctl)
{
	const struct sgate_conf *conf = ctl_conf(ctl);
	struct sgate_error err;

	if (!ctl_become_gateway(conf))
		return CTL_UNAVAILABLE;
	if (keys_create(conf->keys.file, ctl->now_ms, &err) != SGATE_OK)
		return ctl_fail_error(&err);
	return CTL_YES;
}

/* In a process of its own, which alone gives root up. */
static enum ctl_exit
make_keys_apart(struct ctl *ctl)
{
	pid_t pid, got;
	int status = 0;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return ctl_fail(CTL_UNAVAILABLE, "fork: %s", strerror(errno));
	if (pid == 0)
		_exit((int)make_keys(ctl));
	do
		got = waitpid(pid, &status, 0);
	while (got < 0 && errno == EINTR);
	if (got != pid || !WIFEXITED(status))
		return ctl_fail(CTL_UNAVAILABLE, "no key file was made");
	return (enum ctl_exit)WEXITSTATUS(status);
}

/* With MySQL as whoever runs this; with time for what takes long. */
static struct sgate_manager *
open_store(struct ctl *ctl)
{
	const struct sgate_conf *conf = ctl_conf(ctl);
	const struct sgate_caller caller = {.realm = bytes_of(ctl->realm),
	    .actor = bytes_of("sessgatectl"),
	    .budget_ms = DB_BUDGET_MS};
	struct sgate_manager *mgr = NULL;
	struct sgate_error err;

	if (conf == NULL)
		return NULL;
	if (!conf_has_mysql(conf) && !ctl_become_gateway(conf))
		return NULL;
	if (sgate_manager_new(conf, NULL, &mgr, &err) == SGATE_OK &&
	    sgate_manager_set_caller(mgr, &caller, &err) == SGATE_OK)
		return mgr;
	ctl_fail_error(&err);
	sgate_manager_free(mgr);
	return NULL;
}

enum ctl_exit
ctl_db_init(struct ctl *ctl)
{
	const struct sgate_conf *conf = ctl_conf(ctl);
	unsigned made, dropped;
	struct sgate_manager *mgr;
	struct sgate_error err;
	bool is_needed;
	enum ctl_exit code;

	if (conf == NULL)
		return CTL_USAGE;
	code = conf_has_mysql(conf) ? make_keys_apart(ctl) : make_keys(ctl);
	if (code != CTL_YES)
		return code;
	mgr = open_store(ctl);
	if (mgr == NULL)
		return CTL_UNAVAILABLE;
	if (manager_schema_init(mgr, &err) != SGATE_OK ||
	    manager_maintain(mgr, &is_needed, &made, &dropped, &err) !=
		SGATE_OK)
		code = ctl_fail_error(&err);
	sgate_manager_free(mgr);
	if (code == CTL_YES)
		puts(ctl->json ? "{\"ok\":true}" : "the tables are there");
	return code;
}

enum ctl_exit
ctl_db_check(struct ctl *ctl)
{
	struct sgate_manager *mgr = ctl_open_manager(ctl);
	struct sgate_error err;
	enum ctl_exit code = CTL_YES;

	if (mgr == NULL)
		return CTL_UNAVAILABLE;
	if (manager_schema_check(mgr, &err) != SGATE_OK)
		code = ctl_fail_error(&err);
	sgate_manager_free(mgr);
	if (code == CTL_USAGE) /* the tables are not as they should be: no */
		code = CTL_NO;
	if (code == CTL_YES)
		puts(ctl->json ? "{\"ok\":true}" : "the tables are right");
	return code;
}

static void
nothing_to_do(const struct ctl *ctl)
{
	puts(ctl->json ? "{\"ok\":true,\"needed\":false}"
		       : "nothing to do: the store is SQLite");
}

enum ctl_exit
ctl_db_maintain(struct ctl *ctl)
{
	struct sgate_manager *mgr = open_store(ctl);
	unsigned made, dropped;
	struct sgate_error err;
	enum ctl_exit code = CTL_YES;
	bool is_needed;

	if (mgr == NULL)
		return CTL_UNAVAILABLE;
	if (manager_maintain(mgr, &is_needed, &made, &dropped, &err) !=
	    SGATE_OK)
		code = ctl_fail_error(&err);
	sgate_manager_free(mgr);
	if (code != CTL_YES)
		return code;
	if (!is_needed)
		nothing_to_do(ctl);
	else if (ctl->json)
		printf("{\"ok\":true,\"needed\":true,\"made\":%u,"
		       "\"dropped\":%u}\n",
		    made, dropped);
	else
		printf("audit: %u weeks made, %u dropped\n", made, dropped);
	return code;
}

/* Without a terminal nobody is there to be asked. */
static bool
is_sure(void)
{
	char answer[8] = "";
	ssize_t len;

	if (isatty(STDIN_FILENO) != 1)
		return false;
	fputs("A gateway that runs meanwhile can let in who has been logged "
	      "out.\nHas every gateway on every host been stopped? Type yes: ",
	    stderr);
	len = read(STDIN_FILENO, answer, sizeof(answer) - 1);
	return len > 0 && strcmp(answer, "yes\n") == 0;
}

enum ctl_exit
ctl_db_restored(struct ctl *ctl)
{
	const struct sgate_conf *conf = ctl_conf(ctl);
	struct sgate_manager *mgr;
	struct sgate_error err;
	enum ctl_exit code = CTL_YES;
	bool is_needed;
	unsigned epoch;

	if (conf == NULL)
		return CTL_USAGE;
	if (conf_has_mysql(conf) && !ctl_args_has(&ctl->args, "yes") &&
	    !is_sure())
		return ctl_fail(CTL_USAGE,
		    "nothing was done: stop every gateway, then answer yes or "
		    "give --yes");
	mgr = open_store(ctl);
	if (mgr == NULL)
		return CTL_UNAVAILABLE;
	if (manager_restored(mgr, &is_needed, &epoch, &err) != SGATE_OK)
		code = ctl_fail_error(&err);
	sgate_manager_free(mgr);
	if (code != CTL_YES)
		return code;
	if (!is_needed)
		nothing_to_do(ctl);
	else if (ctl->json)
		printf("{\"ok\":true,\"needed\":true,\"epoch\":%u}\n", epoch);
	else
		printf("epoch %u: no copy from before is believed%s; the "
		       "gateways can be started\n",
		    epoch, conf_has_redis(conf) ? ", and Redis knows it" : "");
	return code;
}
