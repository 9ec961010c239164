/*
 * What the commands of sessgatectl share: the run's context, failing with a
 * sentence, and asking the daemon.
 *
 * sessgatectl.c has the table of commands; ctl_local.c has those that read the
 * configuration and need no daemon, ctl_db.c what makes and keeps the store's
 * tables, ctl_doctor.c what looks after the stores, ctl_import.c what reads
 * other systems' stores, ctl_create.c,
 * ctl_explain.c, ctl_remote.c and ctl_settings.c those that ask one; ctl_api.c
 * is how it is asked.
 */
#ifndef SESSGATE_CTL_H
#define SESSGATE_CTL_H

#include "conf.h"
#include "ctl_args.h"
#include "ctl_table.h"
#include "data.h"
#include "fcgi_client.h"
#include "finding.h"
#include "sessgate.h"

struct ctl {
	struct ctl_args args;
	struct sgate_conf *conf; /* NULL until ctl_conf() */
	int64_t now_ms;          /* UTC, of the start */
	int64_t timeout_ms;
	bool json;
	const char *realm; /* "" is the default one */
};

/* ---- failing ---- */

/* One line on stderr; returns code. */
enum ctl_exit ctl_fail(enum ctl_exit code, const char *format, ...)
    SGATE_PRINTF(2, 3);
/* The same from an error of the library, with the exit code that fits it. */
enum ctl_exit ctl_fail_error(const struct sgate_error *err);
/* Whether text is a ref. False: said on stderr, without what may be a token. */
bool ctl_check_ref(const char *text);
enum ctl_exit ctl_fail_memory(void);

/* ---- the context ---- */

/*
 * The configuration, read at the first call; NULL after it has said why not.
 * Without --config and without a file at the default place: the defaults.
 */
const struct sgate_conf *ctl_conf(struct ctl *ctl);
/* The option's value as a duration; 0 when not given. False: said so. */
SGATE_MUST_CHECK bool ctl_get_duration(
    const struct ctl *ctl, const char *name, int64_t *out_ms);
/*
 * Standard input to its end, at most max bytes, without the line's end.
 * False: said so. For a token on a terminal the first line is taken.
 */
SGATE_MUST_CHECK bool ctl_read_stdin(
    struct buf *out, size_t max, const char *what);
/* Prints and clears a table; exit code for "out of memory". */
enum ctl_exit ctl_print(struct ctl_table *table);

/* ---- the store, without the daemon (ctl_local.c) ---- */

/*
 * Gives root up for the gateway's user: what is made is that user's. False:
 * said so. A start by another user, or without gateway.user, stays.
 */
SGATE_MUST_CHECK bool ctl_become_gateway(const struct sgate_conf *conf);
/* As the gateway's user; NULL after it has said why not. */
struct sgate_manager *ctl_open_manager(struct ctl *ctl);

/* ---- asking the daemon (ctl_api.c) ---- */

#define CTL_ANSWER_MAX_BYTES ((size_t)16 * 1024 * 1024)

enum ctl_socket { CTL_CONTROL, CTL_KEEPER };

struct ctl_request {
	enum ctl_socket socket;
	const char *method;
	struct buf route; /* below the mount, with query; percent-encoded */
	struct buf body;  /* JSON; empty = none */
	const char *idempotency_key; /* or NULL */
	bool is_quiet; /* a failure is not printed: the caller asks elsewhere */
};
void ctl_request_init(
    struct ctl_request *request, const char *method, const char *route);
/* Wipes. */
void ctl_request_clear(struct ctl_request *request);
/* Appends ?name=value or &name=value; nothing when value is NULL. */
void ctl_request_query(
    struct ctl_request *request, const char *name, const char *value);

struct ctl_reply {
	struct fcgi_answer answer;
	struct data *data; /* NULL: no JSON body */
	int status;        /* of HTTP; 0: there was no answer */
};
/*
 * Ask and wait. CTL_YES: 2xx, reply->data is there. Else the problem has been
 * printed (with --json the API's problem document too). Clear in any case.
 */
enum ctl_exit ctl_ask(struct ctl *ctl, const struct ctl_request *request,
    struct ctl_reply *out_reply);
/* As ctl_ask(), with the path of a socket. */
enum ctl_exit ctl_ask_at(struct ctl *ctl, const char *socket_path,
    const struct ctl_request *request, struct ctl_reply *out_reply);
/* Wipes. */
void ctl_reply_clear(struct ctl_reply *reply);
/* The answer's body as it came, and a line's end. */
enum ctl_exit ctl_print_json(const struct ctl_reply *reply);

/* A member that is a moment; 0 when it is none. */
int64_t ctl_member_time(const struct data *data, const char *name);
/* A string member, or {NULL, 0}. */
struct sgate_bytes ctl_member(const struct data *data, const char *name);
/* The strings of an array, by commas; false: it is no array of strings. */
bool ctl_add_strings(
    struct buf *out, const struct data *data, const char *name);
/* All members, one a line; those of objects as "outer.inner". */
void ctl_table_object(
    struct ctl_table *table, const struct data *data, int64_t now_ms);

/* ---- the commands ---- */

extern const struct ctl_command ctl_commands[]; /* ended by a NULL name */

enum ctl_exit ctl_config_check(struct ctl *ctl);
enum ctl_exit ctl_config_show(struct ctl *ctl);
enum ctl_exit ctl_config_template(struct ctl *ctl);
enum ctl_exit ctl_config_mount(struct ctl *ctl);
enum ctl_exit ctl_key_new(struct ctl *ctl);
enum ctl_exit ctl_key_use(struct ctl *ctl);
enum ctl_exit ctl_key_list(struct ctl *ctl);
enum ctl_exit ctl_key_retire(struct ctl *ctl);
enum ctl_exit ctl_manual(struct ctl *ctl);
enum ctl_exit ctl_service_add(struct ctl *ctl);
enum ctl_exit ctl_service_list(struct ctl *ctl);
enum ctl_exit ctl_service_remove(struct ctl *ctl);
enum ctl_exit ctl_db_init(struct ctl *ctl);
enum ctl_exit ctl_db_check(struct ctl *ctl);
enum ctl_exit ctl_db_maintain(struct ctl *ctl);
enum ctl_exit ctl_db_restored(struct ctl *ctl);
/* Any answer as a table of its members, or as it came. */
enum ctl_exit ctl_print_object(struct ctl *ctl, const struct ctl_reply *reply);
/*
 * For what goes on until it is interrupted: SIGINT and SIGTERM end it in order
 * from then on. ctl_sleep(): false: it is to end.
 */
void ctl_catch_interrupt(void);
bool ctl_is_interrupted(void);
bool ctl_sleep(int64_t ms);

enum ctl_exit ctl_doctor(struct ctl *ctl);
/* Files, keys, cookie: as the gateway's user. */
void ctl_doctor_host(
    const struct sgate_conf *conf, int64_t now_ms, finding_fn *fn, void *arg);
enum ctl_exit ctl_import_plan(struct ctl *ctl);

enum ctl_exit ctl_create(struct ctl *ctl);
enum ctl_exit ctl_show(struct ctl *ctl);
enum ctl_exit ctl_list(struct ctl *ctl);
enum ctl_exit ctl_end(struct ctl *ctl);
enum ctl_exit ctl_cleanup(struct ctl *ctl);
enum ctl_exit ctl_block(struct ctl *ctl);
enum ctl_exit ctl_audit(struct ctl *ctl);
enum ctl_exit ctl_explain(struct ctl *ctl);
enum ctl_exit ctl_status(struct ctl *ctl);
enum ctl_exit ctl_maintenance(struct ctl *ctl);
enum ctl_exit ctl_flush(struct ctl *ctl);
enum ctl_exit ctl_stats(struct ctl *ctl);

#endif
