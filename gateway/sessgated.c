/*
 * sessgated: the options, the configuration, and the steps of a start in their
 * order: what needs root first, then root is given up, then what must not be
 * done as root, then the master.
 *
 * It stays in the foreground: systemd, a web server or a tool like
 * daemonize(1) puts it into the background and knows its pid.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "batch.h"
#include "conf.h"
#include "confine.h"
#include "instance.h"
#include "listener.h"
#include "local.h"
#include "log.h"
#include "master.h"
#include "relay.h"
#include "user.h"

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct options {
	const char *given_path; /* -c */
	char *path;             /* absolute, or NULL: built-in defaults */
	const char **overrides; /* NULL-terminated */
	size_t overrides_count;
	bool is_test;
	bool is_relay;
	const char *socket;
};

static const char help[] =
    "usage: sessgated [-c FILE] [-o section.name=value]... [-t]\n"
    "       sessgated --relay [--socket PATH | -c FILE]\n"
    "\n"
    "Runs the session gateway: a master, its workers and a keeper.\n"
    "\n"
    "  -c FILE            read the configuration FILE "
    "(default: " CONF_DEFAULT_PATH ",\n"
    "                     or built-in defaults if that is not there)\n"
    "  -o SECTION.NAME=VALUE\n"
    "                     set an option for this run; may be repeated\n"
    "  -t                 test the configuration and exit\n"
    "  -f                 stay in the foreground: what it always does\n"
    "  --relay            pass connections of the listening socket on fd 0\n"
    "                     to the pool socket of a running instance; for web\n"
    "                     servers that start several processes\n"
    "  --socket PATH      the pool socket for --relay (default: as\n"
    "                     configured)\n"
    "  -h, --help         print this and exit\n"
    "  -V, --version      print the version and exit\n"
    "\n"
    "Signals: TERM, INT stop after the requests that have begun; HUP reloads\n"
    "the configuration; USR1 reopens the log; TTIN, TTOU one worker more,\n"
    "one less.\n"
    "\n"
    "Exit status: 0 stopped as told, or -t found nothing wrong; 1 could not\n"
    "start; 2 wrong usage.\n";

/* ---- options ---- */

static int
usage(const char *why, const char *what)
{
	fprintf(stderr, "sessgated: %s%s%s\n", why, what[0] == '\0' ? "" : " ",
	    what);
	fprintf(stderr,
	    "usage: sessgated [-c FILE] [-o section.name=value]... [-t] | "
	    "--relay [--socket PATH]; --help says more\n");
	return STATUS_USAGE;
}

static int
add_override(struct options *options, const char *text)
{
	const char *dot = strchr(text, '.');
	const char *equals = strchr(text, '=');
	const char **more;

	if (dot == NULL || equals == NULL || dot > equals || dot == text)
		return usage("-o needs section.name=value, not", text);
	more = realloc(
	    options->overrides, (options->overrides_count + 2) * sizeof(*more));
	if (more == NULL)
		return usage("out of memory", "");
	more[options->overrides_count++] = text;
	more[options->overrides_count] = NULL;
	options->overrides = more;
	return STATUS_OK;
}

/* Of "-xt" the option is x; a long one is the whole word. */
static int
unknown_option(char **argv)
{
	char name[] = {'-', (char)optopt, '\0'};

	return usage("unknown option", optopt == 0 ? argv[optind - 1] : name);
}

/* -1: go on; else the exit status. */
static int
parse_options(struct options *options, int argc, char **argv)
{
	static const struct option known[] = {
	    {"relay", no_argument, NULL, 'r'},
	    {"socket", required_argument, NULL, 's'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:c:o:tfhV", known, NULL)) != -1) {
		switch (c) {
		case 'c':
			options->given_path = optarg;
			break;
		case 'o':
			if (add_override(options, optarg) != STATUS_OK)
				return STATUS_USAGE;
			break;
		case 't':
			options->is_test = true;
			break;
		case 'f':
			break;
		case 'r':
			options->is_relay = true;
			break;
		case 's':
			options->socket = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return STATUS_OK;
		case 'V':
			printf("sessgated %s\n", sgate_version());
			return STATUS_OK;
		case ':':
			return usage(
			    "this option needs a value:", argv[optind - 1]);
		default:
			return unknown_option(argv);
		}
	}
	if (optind < argc)
		return usage("takes no argument such as", argv[optind]);
	if (options->socket != NULL && !options->is_relay)
		return usage("--socket is for --relay", "");
	if (options->socket != NULL && options->socket[0] != '/')
		return usage(
		    "--socket needs an absolute path, not", options->socket);
	return -1;
}

/*
 * The configuration's path, made absolute because a reload reads it again
 * from "/". False: it is not there; said on stderr.
 */
static bool
find_path(struct options *options)
{
	char resolved[PATH_MAX];
	const char *path = options->given_path;

	if (path == NULL)
		path = CONF_DEFAULT_PATH;
	if (path[0] != '/') {
		if (realpath(path, resolved) == NULL) {
			log_error("%s: %s", path, strerror(errno));
			return false;
		}
		path = resolved;
	}
	if (options->given_path == NULL && access(path, F_OK) != 0 &&
	    (errno == ENOENT || errno == ENOTDIR)) {
		log_notice("no %s: running with built-in defaults", path);
		return true;
	}
	options->path = strdup(path);
	if (options->path == NULL)
		log_error("out of memory");
	return options->path != NULL;
}

/* ---- the process ---- */

/*
 * 0, 1 and 2 are open from here on, so that no file of ours ever gets their
 * numbers; what else was inherited is closed, except for what systemd passed.
 */
static bool
sanitize_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return false;
	close(fd);
	closefrom(STDERR_FILENO + 1 + listeners_passed());
	return true;
}

static bool
block_signals(sigset_t *out_old)
{
	sigset_t signals;

	master_signals(&signals);
	signal(SIGPIPE, SIG_IGN);
	/* A write beyond RLIMIT_FSIZE then fails, as on a full disk. */
	signal(SIGXFSZ, SIG_IGN);
	return sigprocmask(SIG_BLOCK, &signals, out_old) == 0;
}

/* ---- starting ---- */

struct start {
	struct sgate_conf *conf;
	struct user user;
	struct listeners listeners;
	struct shared *shared;
	struct local *local;
	struct batch *batch; /* NULL: without MySQL */
	int lock_fd, spool_fd;
	sigset_t child_mask;
};

static bool
said(enum sgate_status status, const struct sgate_error *err)
{
	if (status != SGATE_OK)
		log_error("%s", err->text);
	return status != SGATE_OK;
}

/* What may need root; at the end nobody is root any more. */
static bool
start_as_root(struct start *start)
{
	const struct sgate_conf *conf = start->conf;
	struct sgate_error err;
	bool any;

	if (said(user_resolve(conf, &start->user, &err), &err) ||
	    said(instance_make_directories(conf, &start->user, &err), &err) ||
	    said(instance_lock(conf, &start->user, &start->lock_fd, &err),
		&err) ||
	    said(
		listeners_inherit(conf, &start->listeners, &any, &err), &err) ||
	    said(listeners_open(conf, &start->listeners, &err), &err))
		return false;
	return !said(user_become(&start->user, &err), &err);
}

static bool
start_as_user(struct start *start)
{
	const struct sgate_conf *conf = start->conf;
	struct sgate_error err;

	if (log_open(conf->log.destination, (enum log_level)conf->log.level) !=
	    0)
		log_warning("log.destination: %s: %s; using stderr",
		    conf->log.destination, strerror(errno));
	log_set_who("master");
	log_notice("sessgated %s starts: pid %ld, user %s, %s", sgate_version(),
	    (long)getpid(), start->user.name, conf->gateway.runtime_dir);
	if (!instance_prepare_stores(conf) ||
	    said(instance_lock_spool(conf, &start->spool_fd, &err), &err))
		return false;
	if (said(shared_create(conf->gateway.runtime_dir, &start->shared, &err),
		&err))
		return false;
	if (said(local_create(conf->cache.size_bytes, &start->local, &err),
		&err))
		return false;
	if (conf_has_mysql(conf) &&
	    said(batch_create(&start->batch, &err), &err))
		return false;
	if (conf_has_redis(conf))
		instance_read_fence(conf, &start->shared->stores);
	/* Until the tracker listens, nothing is believed. */
	if (conf_has_redis(conf) && start->local != NULL)
		local_set_mode(start->local, LOCAL_TRACKED);
	instance_warn(conf, &start->listeners, &start->user);
	if (confine(&err) != SGATE_OK)
		log_warning("%s", err.text);
	return true;
}

static int
run_gateway(struct options *options, struct start *start)
{
	struct master_args args = {
	    .path = options->path,
	    .overrides = options->overrides,
	    .listeners = &start->listeners,
	};
	int status = STATUS_FAILED;

	if (!start_as_root(start) || !start_as_user(start)) {
		listeners_unlink(&start->listeners);
		goto out;
	}
	args.shared = start->shared;
	args.local = start->local;
	args.batch = start->batch;
	args.child_mask = start->child_mask;
	args.conf = conf_dup(start->conf);
	if (args.conf == NULL)
		log_error("out of memory");
	else
		status = master_run(&args);
	shared_remove(start->conf->gateway.runtime_dir);
out:
	listeners_close(&start->listeners);
	shared_close(start->shared);
	local_close(start->local);
	batch_close(start->batch);
	if (start->spool_fd >= 0)
		close(start->spool_fd);
	instance_unlock(start->conf, start->lock_fd);
	return status;
}

static int
run_relay(const struct options *options, const struct sgate_conf *conf)
{
	struct relay_args args = {.pool_path = options->socket};
	const struct conf_listener *pool;

	args.params_max = 64 * 1024;
	if (conf != NULL) {
		args.params_max = conf->gateway.params_max_bytes;
		pool = conf_listener(conf, "pool");
		args.pool_path = pool == NULL ? NULL : listener_path(pool);
	}
	if (args.pool_path == NULL) {
		log_error("listener.pool has no unix path: use --socket PATH");
		return STATUS_FAILED;
	}
	return relay_run(&args);
}

/* Everything that needs the configuration. */
static int
run(struct options *options)
{
	struct start start = {.lock_fd = -1, .spool_fd = -1};
	struct sgate_error err;
	int status;

	if (!find_path(options))
		return STATUS_FAILED;
	if (chdir("/") != 0) {
		log_error("chdir /: %s", strerror(errno));
		return STATUS_FAILED;
	}
	if (said(sgate_conf_load(
		     options->path, options->overrides, &start.conf, &err),
		&err))
		return STATUS_FAILED;
	if (options->is_test) {
		status = said(listeners_check(start.conf, &err), &err)
			     ? STATUS_FAILED
			     : STATUS_OK;
		if (status == STATUS_OK)
			printf("%s: ok\n", options->path == NULL
					       ? "built-in defaults"
					       : options->path);
	} else if (options->is_relay) {
		status = run_relay(options, start.conf);
	} else if (!block_signals(&start.child_mask)) {
		status = STATUS_FAILED;
	} else {
		status = run_gateway(options, &start);
	}
	sgate_conf_free(start.conf);
	return status;
}

int
main(int argc, char **argv)
{
	struct options options = {0};
	int status = parse_options(&options, argc, argv);

	if (status >= 0) {
		free(options.overrides);
		return status;
	}
	if (!sanitize_descriptors()) {
		fprintf(stderr, "sessgated: /dev/null: %s\n", strerror(errno));
		free(options.overrides);
		return STATUS_FAILED;
	}
	umask(0077);
	log_set_who("sessgated");
	if (options.is_relay && options.socket != NULL)
		status = run_relay(&options, NULL);
	else
		status = run(&options);
	free(options.path);
	free(options.overrides);
	return status;
}
