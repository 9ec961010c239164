/*
 * A password file of a store: the first line is the password. Everybody else
 * must not be able to read it.
 */
#ifndef SESSGATE_PASSWORD_H
#define SESSGATE_PASSWORD_H

#include "sessgate.h"

#define PASSWORD_MAX 256

/*
 * out: the password and a NUL; the caller wipes it. SGATE_UNAVAILABLE: it
 * cannot be read, or not used; err names the option SOURCE.password_file.
 */
SGATE_MUST_CHECK enum sgate_status password_read(const char *path,
    const char *source, const char *operation, char out[PASSWORD_MAX + 1],
    struct sgate_error *err);

#endif
