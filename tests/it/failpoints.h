/*
 * The failpoint matrix: inside of tests/it/failpoints.c (cells, healing, what
 * must hold in each) and failpoints_ops.c (what is done in them).
 */
#ifndef TESTS_IT_FAILPOINTS_H
#define TESTS_IT_FAILPOINTS_H

#include "manager.h"
#include "mariadb.h"
#include "redis.h"
#include "spool.h"

#define PLACES_MAX 256
#define TARGETS_MAX 4
#define TOKEN_MAX 160
#define SPEC_MAX 320
#define USER "user"

/* What the process that meets the failpoint tells, in shared memory. */
struct result {
	bool is_finished;
	enum sgate_status status;
	char text[200];
	/* What a create or a rotation gave, or whom a look found. */
	char token[TOKEN_MAX + 1];
	struct sgate_ref ref;
	size_t count;
	unsigned long reached[PLACES_MAX]; /* by the order of names */
};

struct common {
	struct stores here, there; /* of two hosts */
	struct result result;
};

struct site {
	struct mariadb db;
	struct redis redis;
	char database[32];
	char dir[64];
	char spool_dir[80];
	struct sgate_conf *conf;
	struct common *common;
	struct sgate_manager *here;  /* the keeper of the host that is hit */
	struct sgate_manager *there; /* the other host */
	struct sgate_manager *past;  /* the other host, some minutes ago */
	struct local *local; /* of the host that is hit, as the next one */
	struct batch *batch;
	struct spool *spool;
	struct spool_reader *reader;
	unsigned number; /* of the cell */
	char why[256];   /* the last round or shipment that failed */
};

/* A session that is looked at in the end. */
enum fate {
	FATE_LIVE, /* it must be live */
	FATE_ENDED,
	FATE_OVER, /* its time is over, whether its row says so or not */
	FATE_ANY   /* whether it has ended was not told to anybody */
};
struct target {
	struct sgate_ref ref;
	char token[TOKEN_MAX + 1];
	char spare[TOKEN_MAX + 1]; /* another token of it, "" = none */
	enum fate fate;
	/* Changes but creation and end that were acknowledged, and those that
	 * may have happened besides; and ends, each with an audit row whoever
	 * was first. */
	unsigned changes, maybe;
	unsigned ends, maybe_ends;
};

struct cell {
	const struct op *op;
	char spec[SPEC_MAX];
	bool is_paused; /* something else comes between */
	char user[40];
	struct target targets[TARGETS_MAX];
	size_t count;
	bool is_acknowledged;
	bool is_known;  /* the process has lived to tell how it went */
	char *saved[2]; /* of Redis, to be put back */
	size_t saved_len[2];
	char wrong[400]; /* the first thing; "" = nothing */
};
void cell_wrong(struct cell *cell, const char *format, ...) SGATE_PRINTF(2, 3);

/*
 * prepare: with all stores at their best. run: in a process of its own, which
 * may not live to its end. judge: what that means for the targets. next
 * (NULL: next_change): what another host does then, at once: it must work.
 * check: besides, when all is well again.
 */
struct op {
	const char *name;
	const char *more; /* failpoints that it has in each cell */
	void (*prepare)(struct site *site, struct cell *cell);
	enum sgate_status (*run)(struct site *site, struct sgate_manager *mgr,
	    struct cell *cell, struct result *out, struct sgate_error *err);
	void (*judge)(struct site *site, struct cell *cell);
	void (*next)(struct site *site, struct cell *cell);
	void (*check)(struct site *site, struct cell *cell);
	bool is_refused; /* also without a fault */
	bool may_fail;   /* with an error of its own: a file */
	int max_sessions;
};
extern const struct op ops[];
extern const size_t ops_count;

/* ---- failpoints.c, for the operations ---- */

void next_change(struct site *site, struct cell *cell);
/* A round of the keeper of a host, and the spool if it is `here`. */
enum sgate_status site_round(struct site *site, struct sgate_manager *mgr);
/* Statement on the database of the site. */
void site_sql(struct site *site, const char *format, ...) SGATE_PRINTF(2, 3);
enum sgate_status site_ship(struct sgate_manager *mgr,
    struct spool_reader *reader, struct sgate_error *err);
bool same_ref(const struct sgate_ref *a, const struct sgate_ref *b);
void copy_text(char *out, size_t size, const char *text);

#endif
