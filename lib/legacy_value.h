/*
 * Inside of legacy*.c: what a format's bytes become. A tree of plain values in
 * memory of its own, bounded in depth, count and bytes, whatever the bytes say.
 */
#ifndef SESSGATE_LEGACY_VALUE_H
#define SESSGATE_LEGACY_VALUE_H

#include "legacy.h"

#define LEGACY_DEPTH_MAX 64
#define LEGACY_VALUES_MAX 20000
#define LEGACY_TREE_BYTES_MAX (4 * LEGACY_BODY_MAX)

enum legacy_kind {
	LEGACY_NULL,
	LEGACY_BOOL,
	LEGACY_INTEGER,
	LEGACY_NUMBER,
	LEGACY_TEXT, /* any bytes */
	LEGACY_LIST,
	LEGACY_MAP,
	LEGACY_OTHER /* what is known to be something, and not resolved */
};

struct legacy_value {
	enum legacy_kind kind;
	int64_t integer; /* also of LEGACY_BOOL */
	double number;
	struct sgate_bytes text;
	struct sgate_bytes key; /* as a member of a map */
	struct legacy_value *first, *last, *next;
	bool is_gone; /* taken out of its map */
};

struct legacy_chunk;

struct legacy_tree {
	struct legacy_value root;
	struct legacy_chunk *chunks;
	size_t bytes, values;
	unsigned depth;
	bool has_no_memory;
	const char *why; /* the first failure; static, for people */
};

void legacy_tree_init(struct legacy_tree *tree);
/* Wipes. */
void legacy_tree_clear(struct legacy_tree *tree);
/* Always false; the first reason stays. */
bool legacy_fail(struct legacy_tree *tree, const char *why);
/* One level deeper; false: too deep. Each true needs a legacy_leave(). */
SGATE_MUST_CHECK bool legacy_enter(struct legacy_tree *tree);
void legacy_leave(struct legacy_tree *tree);
/*
 * A new value at the end of a list or map, LEGACY_NULL; key: {NULL, 0} in a
 * list. Keys and texts are borrowed: from the raw session, or legacy_room().
 * NULL: the tree has failed.
 */
struct legacy_value *legacy_add(struct legacy_tree *tree,
    struct legacy_value *parent, struct sgate_bytes key);
/* Memory of the tree, at least one byte; NULL: it has failed. */
char *legacy_room(struct legacy_tree *tree, size_t len);
/* Decimal. */
struct sgate_bytes legacy_int_text(struct legacy_tree *tree, int64_t value);

void legacy_set_text(struct legacy_value *value, struct sgate_bytes text);
void legacy_set_integer(struct legacy_value *value, int64_t integer);
void legacy_set_number(struct legacy_value *value, double number);
void legacy_set_bool(struct legacy_value *value, bool is_true);

/*
 * The last member of that name; or of "a.b" the member b of the member a, where
 * a number names an element of a list. NULL: there is none.
 */
struct legacy_value *legacy_find(struct legacy_value *map, const char *path);
/* The text of a text, an integer or (as 1 and 0) a truth. False: no such. */
bool legacy_get_text(struct legacy_value *map, const char *path,
    char number[INT_TEXT_MAX], struct sgate_bytes *out);
/* A number, or a text of digits. */
bool legacy_get_integer(
    struct legacy_value *map, const char *path, int64_t *out);
/* All members of that name. */
void legacy_remove(struct legacy_value *map, const char *name);

/*
 * The members as a JSON object that our own sessions may have as data: without
 * nulls, of two of one name the last one, integers beyond +-(2^53-1) as text.
 * What cannot be is left out (of a list: null) and counted.
 */
void legacy_render(const struct legacy_value *map, struct buf *out,
    struct legacy_dropped *dropped);

/* "2026-11-22T14:03:05.123456+01:00", "2026-11-22 14:03:05", a "Z"; without a
 * zone UTC. False: it is no such moment. */
bool legacy_parse_time(struct sgate_bytes text, int64_t *out_ms);

#endif
