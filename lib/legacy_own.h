/*
 * Inside of legacy*.c: what a reader, a format, a layout and a source are.
 */
#ifndef SESSGATE_LEGACY_OWN_H
#define SESSGATE_LEGACY_OWN_H

#include "legacy.h"
#include "legacy_value.h"

/* ---- formats ---- */

/*
 * The bytes as a tree whose root is a map. False: tree->why says why. Every
 * one is recursive by legacy_enter() alone.
 */
typedef bool legacy_format(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree);
legacy_format legacy_dumper;
legacy_format legacy_django; /* knows the secret */
legacy_format legacy_form;
legacy_format legacy_json;
legacy_format legacy_msgpack; /* or JSON */
legacy_format legacy_php;
legacy_format legacy_storable; /* or Base64 of it */
/* Data::Dumper, Storable or JSON, as it begins. */
legacy_format legacy_perl;

/* The fields of a hash or a row as texts. */
legacy_format legacy_fields;
/* A JSON text into a value of the tree. */
SGATE_MUST_CHECK bool legacy_json_into(struct legacy_tree *tree,
    struct legacy_value *value, struct sgate_bytes text);

/* ---- layouts ---- */

/*
 * Fills in the times, context and role, and takes the old system's own members
 * out of the tree. The user, the data and the verdict are legacy.c's. False:
 * tree->why says why it is no session.
 */
typedef bool legacy_layout(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree, int64_t now_ms,
    struct legacy_session *out);
legacy_layout legacy_layout_apache;
legacy_layout legacy_layout_cgi;
legacy_layout legacy_layout_connect;
legacy_layout legacy_layout_django;
legacy_layout legacy_layout_flask;
legacy_layout legacy_layout_mod_session;
legacy_layout legacy_layout_old;
legacy_layout legacy_layout_php;

/* The earlier of two ends, of which 0 is none. */
int64_t legacy_earlier(int64_t a_ms, int64_t b_ms);

/* ---- readers ---- */

struct legacy_reader {
	const char *name;
	const char *help;
	unsigned places; /* enum legacy_kind_of_place */
	legacy_format *format;
	legacy_layout *layout;
	const char *prefix;     /* of files' names or of keys */
	const char *not_suffix; /* of keys that are none of its sessions */
	const char *table, *id_column, *data_column, *expiry_column;
	/* More columns of the table, as fields; NULL: none. NULL-terminated. */
	const char *const *columns;
	const char *const *user_keys; /* NULL: the common guesses */
	int64_t lifetime_ms;
	bool needs_secret;
};

/* ---- sources ---- */

struct legacy_source {
	const struct legacy_source_type *type;
};

struct legacy_source_type {
	const char *scheme; /* what a place begins with: "/" or "redis:" */
	enum legacy_kind_of_place kind;
	/* address: behind the scheme. */
	enum sgate_status (*open)(const struct legacy_settings *settings,
	    const char *address, struct legacy_source **out,
	    struct sgate_error *err);
	void (*close)(struct legacy_source *source);
	enum sgate_status (*next)(struct legacy_source *source,
	    struct legacy_raw *out, struct sgate_error *err);
	enum sgate_status (*find)(struct legacy_source *source,
	    struct sgate_bytes id, struct legacy_raw *out,
	    struct sgate_error *err);
};
extern const struct legacy_source_type legacy_files;
extern const struct legacy_source_type legacy_mysql;
extern const struct legacy_source_type legacy_redis;
extern const struct legacy_source_type legacy_sqlite;

/* What a server may take to answer a question. */
#define LEGACY_WAIT_MS 5000
/* Said of what is too long to be read. */
#define LEGACY_WHY_LARGE "it is over 1 MiB"

/*
 * A table's sessions are read in the order of their ids, so many at a time,
 * each time from the last one on: no long transaction, no lock.
 */
#define LEGACY_ROWS 500
#define LEGACY_COLUMNS_MAX 16
#define LEGACY_COLUMN_BYTES_MAX 4096 /* of all but the data */

/* What a source asks a table: its id, the data (or ''), the expiry (or ''),
 * and the reader's columns. */
struct legacy_query {
	struct buf after; /* those behind an id, in order; one parameter */
	struct buf one;   /* of that id */
	size_t columns;   /* of the result */
};
#define LEGACY_COLUMN_ID 0
#define LEGACY_COLUMN_DATA 1
#define LEGACY_COLUMN_EXPIRY 2
#define LEGACY_COLUMN_MORE 3
/*
 * as_bytes, as_text: what stands before and behind a column's name, to get it
 * as it was stored, or as text. SGATE_OK, SGATE_INVALID (a name that is none,
 * or missing) or SGATE_NO_MEMORY. Clear in any case.
 */
struct legacy_dialect {
	const char *source; /* for errors */
	const char *bytes_before, *bytes_behind;
	const char *text_before, *text_behind;
};
SGATE_MUST_CHECK enum sgate_status legacy_query_make(
    const struct legacy_settings *settings,
    const struct legacy_dialect *dialect, struct legacy_query *out,
    struct sgate_error *err);
void legacy_query_clear(struct legacy_query *query);
/* A row's columns to a session; fields: room for as many. */
void legacy_query_take(const struct legacy_settings *settings,
    const struct legacy_query *query, const struct legacy_field *columns,
    struct legacy_field *fields, struct legacy_raw *out);

/*
 * "DATABASE@ADDRESS": ADDRESS is a socket's path, or host and port. False: it
 * is not of that form. Free with legacy_address_clear().
 */
struct legacy_address {
	char *database; /* "" without one */
	char *path;     /* NULL: host and port */
	char *host;
	unsigned port;
};
SGATE_MUST_CHECK bool legacy_address_parse(
    const char *text, unsigned default_port, struct legacy_address *out);
void legacy_address_clear(struct legacy_address *address);

#endif
