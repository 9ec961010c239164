/*
 * Inside of conf*.c: the option table, and reading and printing one value.
 * Nobody else includes this; conf.h is for everybody.
 */
#ifndef SESSGATE_CONF_OPTION_H
#define SESSGATE_CONF_OPTION_H

#include "conf.h"

#define CONF_NAME_MAX 64 /* of a listener or a policy */

enum option_kind {
	OPTION_TEXT,      /* char * */
	OPTION_LIST,      /* char ** */
	OPTION_BOOL,      /* bool; words: another pair for no and yes */
	OPTION_INTEGER,   /* int */
	OPTION_COUNT,     /* int64_t */
	OPTION_DURATION,  /* int64_t, milliseconds */
	OPTION_SIZE,      /* size_t, bytes */
	OPTION_MODE,      /* mode_t */
	OPTION_WORD,      /* int or enum: the index in words */
	OPTION_TEXT_WORD, /* char *, one of words */
	OPTION_ALLOW,     /* unsigned, bits */
	OPTION_REALM      /* conf_listener.realm and has_realm */
};

struct option {
	struct conf_option row;
	enum option_kind kind;
	size_t offset;
	int64_t min, max;         /* numbers, durations, sizes */
	bool has_off;             /* a duration: "off" is -1 */
	const char *const *words; /* NULL-terminated */
	/* Of a text or of each item of a list; NULL: anything printable. */
	bool (*is_right)(const char *text);
	const char *right; /* what is_right() asks for: "an absolute path" */
};

/* NULL past the end. */
const struct option *option_at(size_t index);
/* Returns the index, or -1. */
int option_find(struct sgate_bytes section, struct sgate_bytes name);
bool option_is_section(struct sgate_bytes section);
bool option_is_named_section(const char *section); /* listener, policy */
/* section NULL: one of those that struct sgate_conf holds itself. */
bool option_is_in(const struct option *option, const char *section);
/*
 * The struct that holds the option: conf, or one listener or policy; NULL when
 * there is none of that index.
 */
void *option_base(
    struct sgate_conf *conf, const struct option *option, size_t section_index);
const void *option_get_base(const struct sgate_conf *conf,
    const struct option *option, size_t section_index);

/* What the file or -o gives for an option. */
struct option_given {
	enum {
		GIVEN_TEXT,
		GIVEN_INTEGER,
		GIVEN_BOOL,
		GIVEN_LIST,
		GIVEN_OTHER
	} type;
	bool is_loose; /* text stands for every type: -o and the defaults */
	const char *text;
	int64_t integer; /* also of GIVEN_BOOL */
	const char *const *items;
	size_t items_count;
};
/*
 * Check and store. SGATE_INVALID: *why says what is wrong and what would be
 * right, and the old value stands.
 */
SGATE_MUST_CHECK enum sgate_status option_set(const struct option *option,
    void *base, const struct option_given *given, struct buf *why);
/* The same for the text of a default or of -o. */
SGATE_MUST_CHECK enum sgate_status option_set_text(
    const struct option *option, void *base, const char *text, struct buf *why);
/* ", 0 to 200" or ": \"evict\" or \"refuse\"", behind the type. */
void option_print_range(const struct option *option, struct buf *out);
/* As the file would write it. */
void option_print(
    const struct option *option, const void *base, struct buf *out);
void option_free_value(const struct option *option, void *base);
/* After a plain copy of the struct: give it memory of its own. */
void option_forget_value(const struct option *option, void *base);
bool option_dup_value(
    const struct option *option, void *base, const void *from);

/* ---- where values come from ---- */

/* As an option's index: the listener or policy itself. */
#define CONF_ORIGIN_LISTENER SIZE_MAX
#define CONF_ORIGIN_POLICY (SIZE_MAX - 1)

struct conf_origin {
	size_t option;
	size_t section;
	char *text; /* "FILE:LINE" or "-o" */
};
/* NULL: it is the default. */
const char *conf_origin_get(
    const struct sgate_conf *conf, size_t option, size_t section);
bool conf_origin_put(
    struct sgate_conf *conf, size_t option, size_t section, const char *text);

/* SGATE_INVALID with "ORIGIN: NAME: ..."; a long origin loses its beginning. */
enum sgate_status conf_refuse(struct sgate_error *err, const char *origin,
    const char *name, const char *format, ...) SGATE_PRINTF(4, 5);

/* ---- the other files ---- */

/* conf_check.c: derive what depends on other options, then every pair. */
SGATE_MUST_CHECK enum sgate_status conf_check(
    struct sgate_conf *conf, struct sgate_error *err);

/*
 * conf_scan.c: read a file whole, and refuse what libconfig would misread:
 * see there. dir is where its @include looks.
 */
SGATE_MUST_CHECK enum sgate_status conf_scan(const char *path, const char *dir,
    struct buf *out_text, struct sgate_error *err);

#endif
