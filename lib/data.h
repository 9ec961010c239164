/*
 * JSON: a session's data (merge, exports) and the bodies of requests. The only
 * place that sees cJSON.
 *
 * Before cJSON sees bytes, data_scan() refuses what cJSON 1.7.15 gets wrong:
 * bad UTF-8, depth over 16, duplicate members, "\u0000", lone surrogates,
 * trailing text, more than 1,024 members of objects in all, integers beyond
 * +-(2^53-1), numbers that are not finite doubles or longer than 63 bytes.
 */
#ifndef SESSGATE_DATA_H
#define SESSGATE_DATA_H

#include <stdbool.h>

#include "buf.h"
#include "sessgate.h"

#define DATA_DEPTH_MAX 16
#define DATA_MEMBERS_MAX 1024
#define DATA_INTEGER_MAX INT64_C(9007199254740991)

/* A parsed JSON object. */
struct data;

/*
 * SGATE_OK, SGATE_INVALID (err->text: what, and the byte offset) or
 * SGATE_TOO_LARGE (over max_bytes). A top level other than an object is
 * SGATE_INVALID. No allocation grows with depth.
 */
SGATE_MUST_CHECK enum sgate_status data_scan(
    struct sgate_bytes json, size_t max_bytes, struct sgate_error *err);
/* The same with other limits: depth up to DATA_ANSWER_DEPTH_MAX. */
SGATE_MUST_CHECK enum sgate_status data_scan_within(struct sgate_bytes json,
    size_t max_bytes, size_t depth_max, size_t members_max,
    struct sgate_error *err);
/* Scan, then parse. Free with data_free(). */
SGATE_MUST_CHECK enum sgate_status data_parse(struct sgate_bytes json,
    size_t max_bytes, struct data **out_data, struct sgate_error *err);
/*
 * As data_parse(), for an answer of our own API, as sessgatectl gets it: a
 * list of sessions with their data has more members and levels than the data
 * of one may have.
 */
#define DATA_ANSWER_DEPTH_MAX (DATA_DEPTH_MAX + 4)
#define DATA_ANSWER_MEMBERS_MAX 200000
SGATE_MUST_CHECK enum sgate_status data_parse_answer(struct sgate_bytes json,
    size_t max_bytes, struct data **out_data, struct sgate_error *err);
void data_free(struct data *data);
/*
 * Compact JSON text that data_scan() takes and that means the same; SGATE_OK
 * or SGATE_NO_MEMORY. Integers within +-(2^53-1) have no exponent or fraction.
 */
SGATE_MUST_CHECK enum sgate_status data_print(
    const struct data *data, struct buf *out, struct sgate_error *err);

/*
 * SGATE_INVALID when a member of an object is null, at any depth (a create: a
 * merge could never make such a member). Null elements of arrays are kept.
 */
SGATE_MUST_CHECK enum sgate_status data_refuse_null(
    const struct data *data, struct sgate_error *err);
/*
 * RFC 7396, patch onto target. The depth of the result is at most that of the
 * deeper one; members and bytes may be more: print and scan it. After
 * SGATE_NO_MEMORY the target is only good for data_free().
 */
SGATE_MUST_CHECK enum sgate_status data_merge(
    struct data *target, const struct data *patch, struct sgate_error *err);

/* Top-level members, in order; the name is borrowed. NULL past the end. */
const char *data_member_at(const struct data *data, size_t index);

enum data_kind {
	DATA_ABSENT,
	DATA_NULL,
	DATA_BOOL,
	DATA_INTEGER, /* a number without fraction, within +-(2^53-1) */
	DATA_NUMBER,
	DATA_STRING,
	DATA_ARRAY,
	DATA_OBJECT
};
enum data_kind data_kind(const struct data *data, const char *name);
/* Each: false when the member is absent or of another kind. Borrowed. */
bool data_get_string(
    const struct data *data, const char *name, struct sgate_bytes *out);
bool data_get_integer(const struct data *data, const char *name, int64_t *out);
bool data_get_bool(const struct data *data, const char *name, bool *out);
/* An array of strings; *out_items is free()d by the caller, items borrowed. */
bool data_get_strings(const struct data *data, const char *name,
    struct sgate_bytes **out_items, size_t *out_count);
/* A member of any kind as JSON text, appended. False: absent or no memory. */
bool data_get_json(const struct data *data, const char *name, struct buf *out);
/* A member that is an object: a view into `data`, never freed. NULL: not. */
const struct data *data_get_object(const struct data *data, const char *name);
/* A member that is an array: how many; 0 also when it is none. */
size_t data_array_count(const struct data *data, const char *name);
/* Its element `index` if that is an object: a view as above. NULL: not. */
const struct data *data_array_object(
    const struct data *data, const char *name, size_t index);
/* A copy of the top-level members named in the NULL-terminated list. */
SGATE_MUST_CHECK enum sgate_status data_filter(const struct data *data,
    char *const *names, struct data **out, struct sgate_error *err);

/*
 * Render the exported members to a block of "SESSION_DATA_<NAME>=value\n"
 * lines: strings, numbers and booleans of the top level whose name stands in
 * `names`; other kinds and absent members give no line. NAME is upper case.
 * Strings with control bytes are refused (SGATE_INVALID), a block over
 * max_bytes is SGATE_TOO_LARGE.
 */
SGATE_MUST_CHECK enum sgate_status data_exports(const struct data *data,
    char *const *names, size_t max_bytes, struct buf *out,
    struct sgate_error *err);

#endif
