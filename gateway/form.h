/*
 * application/x-www-form-urlencoded, for bodies and query strings: one field
 * at a time, straight from the text.
 */
#ifndef SESSGATE_FORM_H
#define SESSGATE_FORM_H

#include "buf.h"

#define FORM_FIELDS_MAX 64

enum form_answer {
	FORM_ABSENT,
	FORM_FOUND,
	FORM_BAD /* twice, too many fields, bad %XX, NUL or not UTF-8 */
};

/* Find a field; its decoded value replaces what is in out. */
SGATE_MUST_CHECK enum form_answer form_get(
    struct sgate_bytes text, const char *name, struct buf *out);
/*
 * Decode one path segment (no '+' rule); replaces what is in out. False: bad
 * %XX, a NUL, not UTF-8, or no memory.
 */
SGATE_MUST_CHECK bool form_decode_segment(
    struct sgate_bytes text, struct buf *out);

#endif
