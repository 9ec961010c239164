/*
 * `sessgatectl doctor`: what the stores are like, one line a check, and below
 * it what to do. It asks them as the gateway does, with its account and without
 * the daemon, and changes nothing.
 */
#include "config.h"

#include "ctl.h"

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
	struct sgate_manager *mgr = ctl_open_manager(ctl);
	struct examination e = {.counts = {0}};
	struct sgate_error err;
	enum sgate_status status;
	enum ctl_exit code;

	if (mgr == NULL)
		return CTL_UNAVAILABLE;
	ctl_table_init(&e.table, 4, headers);
	json_init(&e.json, &e.json_text);
	json_object(&e.json, NULL);
	json_array(&e.json, "findings");
	status = manager_examine(mgr, add_finding, &e, &err);
	json_end(&e.json);
	json_int(&e.json, "errors", e.counts[FINDING_ERROR]);
	json_int(&e.json, "warnings", e.counts[FINDING_WARNING]);
	json_int(&e.json, "unseen", e.counts[FINDING_UNSEEN]);
	json_end(&e.json);
	sgate_manager_free(mgr);
	code = print_all(ctl, &e);
	ctl_table_clear(&e.table);
	buf_clear(&e.json_text);
	buf_clear(&e.todo);
	if (code == CTL_YES && status != SGATE_OK)
		return CTL_UNAVAILABLE;
	return code == CTL_YES && e.counts[FINDING_ERROR] > 0 ? CTL_NO : code;
}
