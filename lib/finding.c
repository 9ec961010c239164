/* How findings are made. */
#include "config.h"

#include "finding.h"

#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* What the keeper warns of, too. */
#define CLOCKS_APART_MS 500

const char *
finding_state_text(enum finding_state state)
{
	switch (state) {
	case FINDING_OK:
		return "ok";
	case FINDING_WARNING:
		return "warning";
	case FINDING_ERROR:
		return "error";
	case FINDING_UNSEEN:
		return "unseen";
	}
	return "unknown";
}

void
finding_tell(const struct findings *findings, enum finding_state state,
    const char *check, const char *todo, const char *format, ...)
{
	struct finding finding = {
	    .state = state,
	    .where = findings->where,
	    .check = check,
	    .todo = state == FINDING_OK ? "" : todo,
	};
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	finding.text = text;
	findings->fn(findings->arg, &finding);
}

void
finding_tell_error(const struct findings *findings, enum finding_state state,
    const char *check, const struct sgate_error *err)
{
	finding_tell(findings, state, check, "", "%s", err->text);
}

void
finding_tell_clock(const struct findings *findings, int64_t before_ms,
    int64_t at_server_ms, int64_t after_ms)
{
	int64_t apart_ms = llabs(at_server_ms - (before_ms + after_ms) / 2);
	/* It was asked at some moment in between. */
	bool is_apart = apart_ms - (after_ms - before_ms) > CLOCKS_APART_MS;

	finding_tell(findings, is_apart ? FINDING_WARNING : FINDING_OK, "clock",
	    "set both clocks by NTP", "%lld.%03lld s from this host's",
	    (long long)(apart_ms / 1000), (long long)(apart_ms % 1000));
}
