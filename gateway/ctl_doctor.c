/*
 * `sessgatectl doctor`: what this host (ctl_doctor_host.c), the stores and the
 * spool's directory are like, one line a check, and below it what to do. It
 * asks them as the gateway does, as its user, with its account and without the
 * daemon, and changes nothing.
 */
#include "config.h"

#include "ctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "session_manager.h"

struct examination {
	struct ctl_table table;
	struct buf json_text;
	struct json json;
	struct buf todo; /* for people, below the table */
	int counts[FINDING_UNSEEN + 1];
};

static void
add_finding(void *arg, const struct finding *finding)
{
	struct examination *e = arg;
	const char *state = finding_state_text(finding->state);

	e->counts[finding->state]++;
	ctl_table_text(&e->table, state);
	ctl_table_text(&e->table, finding->where);
	ctl_table_text(&e->table, finding->check);
	ctl_table_text(&e->table, finding->text);
	json_object(&e->json, NULL);
	json_text(&e->json, "state", state);
	json_text(&e->json, "where", finding->where);
	json_text(&e->json, "check", finding->check);
	json_text(&e->json, "text", finding->text);
	json_text(&e->json, "todo", finding->todo);
	json_end(&e->json);
	if (finding->todo[0] == '\0')
		return;
	buf_printf(&e->todo, "%s: %s: ", finding->where, finding->check);
	ctl_add_clean(&e->todo, bytes_of(finding->todo));
	buf_add_char(&e->todo, '\n');
}

/* ---- the spool ---- */

#define MIB (INT64_C(1024) * 1024)

/* What stands in it counts as room, too. -1: it cannot be read. */
static int64_t
bytes_in(int fd)
{
	const struct dirent *entry;
	struct stat st;
	int64_t bytes = 0;
	DIR *dir;

	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return -1;
	}
	while ((entry = readdir(dir)) != NULL)
		if (fstatat(dirfd(dir), entry->d_name, &st,
			AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			bytes += (int64_t)st.st_blocks * 512;
	closedir(dir);
	return bytes;
}

static void
check_room(const struct findings *findings, const struct sgate_conf *conf)
{
	int fd = open(
	    conf->spool.dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int64_t max = (int64_t)conf->spool.max_bytes, room, used;
	struct statvfs fs;

	if (fd < 0 || fstatvfs(fd, &fs) != 0) {
		finding_tell(findings, FINDING_UNSEEN, "room", "", "%s",
		    strerror(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	used = bytes_in(fd);
	room =
	    (int64_t)fs.f_bavail * (int64_t)fs.f_frsize + (used > 0 ? used : 0);
	finding_tell(findings, room < max ? FINDING_WARNING : FINDING_OK,
	    "room",
	    "make room on its disk, or set spool.max to what there is: a "
	    "logout that neither mysql nor the spool takes is answered 503",
	    "%" PRId64 " MiB, of which it may take %" PRId64, room / MIB,
	    max / MIB);
}

/* As spool_open() asks for it. */
static void
check_directory(const struct findings *findings, const struct sgate_conf *conf)
{
	struct stat st;

	if (lstat(conf->spool.dir, &st) != 0) {
		if (errno == ENOENT)
			finding_tell(findings, FINDING_OK, "directory", "",
			    "is not there: the first start makes it");
		else
			finding_tell(findings, FINDING_ERROR, "directory",
			    "let the gateway's user reach it: without it a "
			    "logout while mysql is away is answered 503",
			    "%s", strerror(errno));
		return;
	}
	if (!S_ISDIR(st.st_mode))
		finding_tell(findings, FINDING_ERROR, "directory",
		    "give the path of a directory in spool.dir",
		    S_ISLNK(st.st_mode) ? "is a symbolic link, which is not "
					  "followed"
					: "is no directory");
	else if (st.st_uid != geteuid() || (st.st_mode & 0777) != 0700)
		finding_tell(findings, FINDING_ERROR, "directory",
		    "chown it to the gateway's user, chmod 0700: what others "
		    "could write there would end sessions",
		    "belongs to uid %u with mode %04o, and the gateway is uid "
		    "%u",
		    (unsigned)st.st_uid, (unsigned)st.st_mode & 0777,
		    (unsigned)geteuid());
	else {
		finding_tell(
		    findings, FINDING_OK, "directory", "", "is the gateway's");
		check_room(findings, conf);
	}
}

static void
examine_spool(const struct sgate_conf *conf, struct examination *e)
{
	struct buf where = {0};
	struct findings findings = {add_finding, e, NULL};

	if (!conf_has_spool(conf))
		return;
	buf_printf(&where, "spool %s", conf->spool.dir);
	findings.where = buf_text(&where);
	check_directory(&findings, conf);
	buf_clear(&where);
}

/* Without keys nobody can be asked: told by whoever has looked at them. */
static enum sgate_status
examine_stores(struct ctl *ctl, struct examination *e)
{
	const struct sgate_caller caller = {
	    .actor = bytes_of("sessgatectl"), .budget_ms = ctl->timeout_ms};
	struct findings findings = {add_finding, e, "stores"};
	struct sgate_manager *mgr = NULL;
	struct sgate_error err;
	enum sgate_status status;

	status = sgate_manager_new(ctl->conf, NULL, &mgr, &err);
	if (status == SGATE_OK)
		status = sgate_manager_set_caller(mgr, &caller, &err);
	if (status == SGATE_OK) {
		status = manager_examine(mgr, add_finding, e, &err);
	} else {
		finding_tell(&findings, FINDING_ERROR, "asked",
		    "mend what is wrong with the keys, and run this again",
		    "no store was asked");
		status = SGATE_OK;
	}
	sgate_manager_free(mgr);
	return status;
}

static enum ctl_exit
print_all(const struct ctl *ctl, struct examination *e)
{
	if (buf_failed(&e->json_text) || buf_failed(&e->todo))
		return ctl_fail_memory();
	if (ctl->json) {
		puts(buf_text(&e->json_text));
		return CTL_YES;
	}
	if (!ctl_table_print(&e->table, stdout))
		return ctl_fail_memory();
	if (e->todo.len > 0)
		printf("\nWhat to do:\n%s", buf_text(&e->todo));
	return CTL_YES;
}

enum ctl_exit
ctl_doctor(struct ctl *ctl)
{
	static const char *const headers[] = {
	    "STATE", "WHERE", "CHECK", "HOW IT IS"};
	const struct sgate_conf *conf = ctl_conf(ctl);
	struct examination e = {.counts = {0}};
	enum sgate_status status;
	enum ctl_exit code;

	if (conf == NULL)
		return CTL_USAGE;
	if (!ctl_become_gateway(conf))
		return CTL_UNAVAILABLE;
	ctl_table_init(&e.table, 4, headers);
	json_init(&e.json, &e.json_text);
	json_object(&e.json, NULL);
	json_array(&e.json, "findings");
	ctl_doctor_host(conf, ctl->now_ms, add_finding, &e);
	status = examine_stores(ctl, &e);
	examine_spool(conf, &e);
	json_end(&e.json);
	json_int(&e.json, "errors", e.counts[FINDING_ERROR]);
	json_int(&e.json, "warnings", e.counts[FINDING_WARNING]);
	json_int(&e.json, "unseen", e.counts[FINDING_UNSEEN]);
	json_end(&e.json);
	code = print_all(ctl, &e);
	ctl_table_clear(&e.table);
	buf_clear(&e.json_text);
	buf_clear(&e.todo);
	if (code == CTL_YES && status != SGATE_OK)
		return CTL_UNAVAILABLE;
	return code == CTL_YES && e.counts[FINDING_ERROR] > 0 ? CTL_NO : code;
}
