/*
 * What `sessgatectl doctor` finds: one line a check. The drivers examine their
 * servers, with what the gateway's own account may see; what it may not see is
 * told as such and never counts as well.
 */
#ifndef SESSGATE_FINDING_H
#define SESSGATE_FINDING_H

#include "sessgate.h"

enum finding_state {
	FINDING_OK,
	FINDING_WARNING, /* it works; something that is promised may not hold */
	FINDING_ERROR,   /* it does not, or what was acknowledged may be lost */
	FINDING_UNSEEN   /* this account may not see it */
};
/* "ok", "warning", "error", "unseen". */
const char *finding_state_text(enum finding_state state);

struct finding {
	enum finding_state state;
	const char *where; /* "mysql 10.0.0.5:3306" */
	const char *check; /* "schema": a name that stays */
	const char *text;  /* how it is */
	const char *todo;  /* "": nothing */
};
typedef void finding_fn(void *arg, const struct finding *finding);

/* Who tells, for whom: what the checks of one server share. */
struct findings {
	finding_fn *fn;
	void *arg;
	const char *where;
};
void finding_tell(const struct findings *findings, enum finding_state state,
    const char *check, const char *todo, const char *format, ...)
    SGATE_PRINTF(5, 6);
/* An error of a store: its text has what to do. */
void finding_tell_error(const struct findings *findings,
    enum finding_state state, const char *check, const struct sgate_error *err);
/* The clock of a server, asked between these moments of this host's: UTC ms. */
void finding_tell_clock(const struct findings *findings, int64_t before_ms,
    int64_t at_server_ms, int64_t after_ms);

#endif
