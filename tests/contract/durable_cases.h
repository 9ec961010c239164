/*
 * The durable contract: cases that run over every store. A case gets two
 * handles on one fresh store; what it needs of the store stands beside it.
 */
#ifndef TESTS_DURABLE_CASES_H
#define TESTS_DURABLE_CASES_H

#include "tap.h"

#include <sys/types.h>

#include "buf.h"
#include "durable.h"

struct fixture {
	const struct durable_ops *ops;
	struct sgate_conf conf;
	char directory[64];
	char file[80]; /* conf.sqlite.file, or conf.mysql.database */
	struct durable *a;
	struct durable *b;
	struct sgate_error err;
};

#define NEEDS_PROCESSES 1u /* other processes see the same store */
#define NEEDS_SQLITE 2u
#define NEEDS_FAKE 4u
#define NEEDS_ONE_WRITER 8u /* begin waits for the one that writes */
#define NEEDS_MYSQL 16u
#define NEEDS_COPIES 32u /* what copies are judged by: snapshot, poll, ... */
#define NEEDS_MANY 64u   /* lock_many, store_many */

struct contract_case {
	const char *name;
	void (*run)(struct fixture *f);
	unsigned needs;
};
/* Each ended by a case without a name. */
extern const struct contract_case row_cases[];     /* durable_rows.c */
extern const struct contract_case list_cases[];    /* durable_lists.c */
extern const struct contract_case copy_cases[];    /* durable_copies.c */
extern const struct contract_case create_cases[];  /* durable_create.c */
extern const struct contract_case change_cases[];  /* durable_change.c */
extern const struct contract_case process_cases[]; /* durable_processes.c */
extern const struct contract_case mysql_cases[];   /* durable_mysql.c */
extern const struct contract_case sqlite_cases[];  /* durable_sqlite.c */
extern const struct contract_case fake_cases[];    /* durable.c */

#define ms(n) INT64_C(n)
/* When the cases happen. */
#define T0 INT64_C(1800000000000)

/* Both handles may work for so long from now on. */
void allow_ms(struct fixture *f, int64_t budget_ms);
/*
 * What a call took, without the time in which this thread could have run and a
 * busy machine did not let it: a bound on a wait of ours holds there, too.
 */
struct took {
	int64_t started_ms, kept_us;
};
struct took took_start(void);
int64_t took_ms(const struct took *took);
/* From now on handles are opened on another store, which is empty. */
void use_new_store(struct fixture *f);
/* A third handle, with 30 seconds; the caller closes it. */
struct durable *open_handle(struct fixture *f);
/*
 * fork(), with both handles opened anew before: a child of a process that has
 * the store open is refused.
 */
pid_t fork_child(struct fixture *f);

/* The status, and on a surprise the text of the error. */
#define assert_status(f, expected, call)                                       \
	check_status(f, expected, call, #call, __FILE__, __LINE__)
#define assert_ok(f, call) assert_status(f, SGATE_OK, call)
void check_status(struct fixture *f, enum sgate_status expected,
    enum sgate_status got, const char *call, const char *file, int line);
#define assert_text(f, word) assert_non_null(strstr((f)->err.text, word))

/* A plain live session: ref of the group byte and a number. Free it. */
struct sgate_ref make_ref(unsigned group, unsigned number);
struct sgate_session *make_session(unsigned group, unsigned number);
/* Every field at its largest. */
struct sgate_session *make_largest_session(unsigned number);
void set_text(char *out, size_t size, const char *text);
/* Fills with multi-byte characters to the last byte. */
void fill_utf8(char *out, size_t size);
void assert_sessions_equal(
    const struct sgate_session *a, const struct sgate_session *b);
/* An event at a moment; number tells those of one moment apart. */
struct durable_audit make_audit(int64_t at_ms, unsigned number);

/* In a transaction of its own on handle a; the session is freed. */
void add_session(struct fixture *f, struct sgate_session *session);
void add_audit(struct fixture *f, const struct durable_audit *audit);
/* NULL when it is not there. */
struct sgate_session *get_session(
    struct fixture *f, struct durable *d, const struct sgate_ref *ref);
bool has_session(
    struct fixture *f, struct durable *d, const struct sgate_ref *ref);

#endif
