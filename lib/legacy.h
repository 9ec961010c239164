/*
 * Sessions of other systems: where they are (a source), how they are written
 * (a format) and what stands where in them (a layout). A reader is one of each
 * under a name; legacy.c has the table. Nothing is written anywhere, no code
 * of theirs is run, no class of theirs is looked up.
 *
 *   source   legacy_files.c, legacy_redis.c, legacy_mysql.c, legacy_sqlite.c:
 *            bytes of a session, its id, what the store knows of its end
 *   format   legacy_json.c and its like: bytes to a tree (legacy_value.h)
 *   layout   legacy_layout.c: whose session it is, since when, until when
 *
 * To add a format: a file with one function, a row in the table of legacy.c,
 * rows in tests/unit/legacy.c and tests/fuzz/legacy.c, and a case in
 * tests/it/legacy.py whose sessions the real program makes.
 */
#ifndef SESSGATE_LEGACY_H
#define SESSGATE_LEGACY_H

#include <stdbool.h>

#include "buf.h"
#include "sessgate.h"

/* Of one session as it is stored; more is not read. */
#define LEGACY_BODY_MAX ((size_t)1024 * 1024)
#define LEGACY_FIELDS_MAX 256
#define LEGACY_ID_MAX 512

/* Where a reader's sessions can be: bits of legacy_reader.places. */
enum legacy_kind_of_place {
	LEGACY_FILES = 1 << 0, /* a directory, one file each */
	LEGACY_REDIS = 1 << 1,
	LEGACY_TABLE = 1 << 2 /* of MySQL or SQLite */
};

struct legacy_reader;

/* What an operator says of the old store. Borrowed. */
struct legacy_settings {
	const struct legacy_reader *reader;
	/*
	 * "/directory", "redis:[NUMBER@]ADDRESS", "mysql:DATABASE@ADDRESS",
	 * "sqlite:/file"; ADDRESS is "/path/of/a/socket" or "HOST:PORT".
	 */
	const char *place;
	const char *account, *password; /* of the store; NULL: none */
	/* NULL: as the reader's makers have it. */
	const char *prefix;
	const char *table, *id_column, *data_column, *expiry_column;
	/* NULL-terminated; NULL: the guesses. "*-user": what ends so. */
	const char *const *user_keys;
	struct sgate_bytes secret; /* the old site's; empty: not known */
	int64_t lifetime_ms;       /* without activity; 0: the reader's */
	size_t data_max_bytes;     /* what a session of ours may have */
};

/* ---- readers ---- */

/* NULL past the end. */
const struct legacy_reader *legacy_reader_at(size_t index);
/* NULL: no reader of that name. */
const struct legacy_reader *legacy_reader_find(const char *name);
const char *legacy_reader_name(const struct legacy_reader *reader);
/* One line: whose sessions, and where they can be. */
const char *legacy_reader_help(const struct legacy_reader *reader);
/* Whether it cannot do without the old site's secret. */
bool legacy_reader_needs_secret(const struct legacy_reader *reader);
/* What settings say, or else the reader: never NULL but for expiry_column. */
const char *legacy_prefix(const struct legacy_settings *settings);
const char *legacy_table(const struct legacy_settings *settings);
const char *legacy_id_column(const struct legacy_settings *settings);
const char *legacy_data_column(const struct legacy_settings *settings);
const char *legacy_expiry_column(const struct legacy_settings *settings);
int64_t legacy_lifetime_ms(const struct legacy_settings *settings);
const char *const *legacy_user_keys(const struct legacy_settings *settings);

/* ---- sources ---- */

/* A column of a row or a field of a hash. */
struct legacy_field {
	struct sgate_bytes name, value;
	bool is_null;
};

/* One stored session. Borrowed from the source, until the next call. */
struct legacy_raw {
	struct sgate_bytes id; /* without prefix */
	struct sgate_bytes body;
	const struct legacy_field *fields; /* of a row or a hash */
	size_t fields_count;
	struct sgate_bytes expiry; /* what a table's column for it says */
	int64_t expires_ms;        /* by the store; 0: it does not say */
	int64_t changed_ms;        /* of a file; 0: not known */
	const char *why;           /* it could not be read; NULL: it could */
};

struct legacy_source;

/*
 * SGATE_OK, SGATE_INVALID (settings; err says what would be right) or
 * SGATE_UNAVAILABLE.
 */
SGATE_MUST_CHECK enum sgate_status legacy_source_open(
    const struct legacy_settings *settings, struct legacy_source **out,
    struct sgate_error *err);
void legacy_source_close(struct legacy_source *source);
/*
 * The next one in whatever order the store has them. SGATE_NOT_FOUND: that
 * were all. What comes or goes meanwhile may or may not be among them; Redis
 * may give one twice.
 */
SGATE_MUST_CHECK enum sgate_status legacy_source_next(
    struct legacy_source *source, struct legacy_raw *out,
    struct sgate_error *err);
/* The one with this id (as raw->id is). SGATE_NOT_FOUND: there is none. */
SGATE_MUST_CHECK enum sgate_status legacy_source_find(
    struct legacy_source *source, struct sgate_bytes id, struct legacy_raw *out,
    struct sgate_error *err);

/* ---- sessions ---- */

/* What did not come along, by why. */
struct legacy_dropped {
	unsigned not_text; /* bytes that are no UTF-8, or with a NUL */
	unsigned unknown;  /* objects, code, what JSON has no word for */
	unsigned too_deep;
	unsigned passwords;
	unsigned ending; /* members with an end of their own */
	bool data;       /* all of it: more than a session may have */
	bool user;       /* a user's name that is none of ours */
};

enum legacy_verdict {
	LEGACY_LIVE,
	LEGACY_EXPIRED,
	LEGACY_ENDED, /* the old store has it as ended */
	LEGACY_NO_USER,
	LEGACY_UNDECODABLE
};

struct legacy_session {
	enum legacy_verdict verdict;
	const char *why; /* of LEGACY_UNDECODABLE; for people, static */
	struct buf id, user_id, context, role, data; /* data: a JSON object */
	const char *user_key; /* where the user stood; of the settings */
	int64_t created_ms, last_seen_ms; /* 0: not known */
	int64_t expires_ms;               /* 0: never */
	struct legacy_dropped dropped;
};

/*
 * What a stored session says. SGATE_OK, also when it cannot be decoded: that
 * is a verdict. SGATE_NO_MEMORY. Clear *out in any case; it may be used again.
 */
SGATE_MUST_CHECK enum sgate_status legacy_decode(
    const struct legacy_settings *settings, const struct legacy_raw *raw,
    int64_t now_ms, struct legacy_session *out, struct sgate_error *err);
/* Wipes. */
void legacy_session_clear(struct legacy_session *session);
const char *legacy_verdict_text(enum legacy_verdict verdict);

#endif
