/*
 * Filling in struct sgate_error. Fill it where the failure happens, while
 * errno is fresh; callers pass it up unchanged unless they know more.
 */
#ifndef SESSGATE_STATUS_H
#define SESSGATE_STATUS_H

#include "sessgate.h"

/* All out-parameters of errors may be NULL. Clears *err. */
void error_clear(struct sgate_error *err);

/*
 * Sets all fields and returns status, so that a failure is one line:
 *   return error_set(err, SGATE_INVALID, "keys", "load", 0, "%s: ...", path);
 * reason is set to SGATE_REASON_STORE for UNAVAILABLE, UNCERTAIN and CORRUPT,
 * else to SGATE_REASON_OK. Control bytes in the text become '?'.
 */
enum sgate_status error_set(struct sgate_error *err, enum sgate_status status,
    const char *source, const char *operation, int native_code,
    const char *format, ...) SGATE_PRINTF(6, 7);

/* SGATE_NOT_FOUND (or SGATE_DENIED) with a reason and its text. */
enum sgate_status error_reason(struct sgate_error *err,
    enum sgate_status status, enum sgate_reason reason, const char *operation);

/* SGATE_NO_MEMORY. */
enum sgate_status error_memory(struct sgate_error *err, const char *operation);

#endif
