/* Words for statuses and reasons, and filling in struct sgate_error. */
#include "config.h"

#include "status.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

const char *
sgate_status_text(enum sgate_status status)
{
	switch (status) {
	case SGATE_OK:
		return "ok";
	case SGATE_NOT_FOUND:
		return "not found";
	case SGATE_CONFLICT:
		return "conflict";
	case SGATE_INVALID:
		return "invalid";
	case SGATE_CORRUPT:
		return "corrupt";
	case SGATE_TOO_LARGE:
		return "too large";
	case SGATE_DENIED:
		return "denied";
	case SGATE_UNAVAILABLE:
		return "unavailable";
	case SGATE_UNCERTAIN:
		return "uncertain";
	case SGATE_NO_MEMORY:
		return "out of memory";
	case SGATE_INTERNAL:
		return "internal error";
	}
	return "unknown status";
}

static const char *const reason_texts[SGATE_REASON_COUNT] = {
    [SGATE_REASON_OK] = "ok",
    [SGATE_REASON_NONE] = "none",
    [SGATE_REASON_MALFORMED] = "malformed",
    [SGATE_REASON_BAD_TAG] = "bad_tag",
    [SGATE_REASON_AMBIGUOUS] = "ambiguous",
    [SGATE_REASON_UNKNOWN] = "unknown",
    [SGATE_REASON_EXPIRED_IDLE] = "expired_idle",
    [SGATE_REASON_EXPIRED_ABSOLUTE] = "expired_absolute",
    [SGATE_REASON_LOGGED_OUT] = "logged_out",
    [SGATE_REASON_REVOKED] = "revoked",
    [SGATE_REASON_REPLACED] = "replaced",
    [SGATE_REASON_THEFT] = "theft",
    [SGATE_REASON_LIMIT] = "limit",
    [SGATE_REASON_BLOCKED] = "blocked",
    [SGATE_REASON_FLUSHED] = "flushed",
    [SGATE_REASON_BINDING] = "binding",
    [SGATE_REASON_ROLE] = "role",
    [SGATE_REASON_AUTH_AGE] = "auth_age",
    [SGATE_REASON_CSRF] = "csrf",
    [SGATE_REASON_POLICY] = "policy",
    [SGATE_REASON_LISTENER] = "listener",
    [SGATE_REASON_RATE] = "rate",
    [SGATE_REASON_MAINTENANCE] = "maintenance",
    [SGATE_REASON_STORE] = "store",
    [SGATE_REASON_OVERLOAD] = "overload",
};

const char *
sgate_reason_text(enum sgate_reason reason)
{
	if ((unsigned)reason >= SGATE_REASON_COUNT)
		return "unknown_reason";
	return reason_texts[reason];
}

const char *
sgate_version(void)
{
	return PACKAGE_VERSION;
}

typedef unsigned char octets __attribute__((vector_size(16)));

/* A ref is no secret: no need for sodium_bin2hex(), which is slower. */
void
sgate_ref_text(const struct sgate_ref *ref, char out_text[SGATE_REF_HEX + 1])
{
	octets bytes = {0}, high, low, first, last;

	memcpy(&bytes, ref->bytes, SGATE_REF_BYTES);
	high = bytes >> 4;
	low = bytes & 0x0f;
	/* Of each byte the high half first: eight bytes, then four. */
	first = __builtin_shufflevector(
	    high, low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
	last = __builtin_shufflevector(high, low, 8, 24, 9, 25, 10, 26, 11, 27,
	    12, 28, 13, 29, 14, 30, 15, 31);
	first += '0' + ((octets)(first > 9) & ('a' - '9' - 1));
	last += '0' + ((octets)(last > 9) & ('a' - '9' - 1));
	memcpy(out_text, &first, sizeof(first));
	memcpy(out_text + sizeof(first), &last, SGATE_REF_HEX - sizeof(first));
	out_text[SGATE_REF_HEX] = '\0';
}
_Static_assert(SGATE_REF_BYTES == 12 && SGATE_REF_HEX == 2 * SGATE_REF_BYTES,
    "the text's length is the ref's");

enum sgate_status
sgate_ref_parse(struct sgate_bytes text, struct sgate_ref *out_ref)
{
	size_t len = 0;

	memset(out_ref, 0, sizeof(*out_ref));
	if (text.len != SGATE_REF_HEX ||
	    sodium_hex2bin(out_ref->bytes, SGATE_REF_BYTES, text.data, text.len,
		NULL, &len, NULL) != 0 ||
	    len != SGATE_REF_BYTES) {
		memset(out_ref, 0, sizeof(*out_ref));
		return SGATE_INVALID;
	}
	return SGATE_OK;
}

void
error_clear(struct sgate_error *err)
{
	if (err != NULL)
		memset(err, 0, sizeof(*err));
}

static void
copy_text(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text == NULL ? "" : text);
}

enum sgate_status
error_set(struct sgate_error *err, enum sgate_status status, const char *source,
    const char *operation, int native_code, const char *format, ...)
{
	va_list args;
	char *c;

	if (err == NULL)
		return status;
	error_clear(err);
	err->status = status;
	if (status == SGATE_UNAVAILABLE || status == SGATE_UNCERTAIN ||
	    status == SGATE_CORRUPT)
		err->reason = SGATE_REASON_STORE;
	err->native_code = native_code;
	copy_text(err->source, sizeof(err->source), source);
	copy_text(err->operation, sizeof(err->operation), operation);
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	for (c = err->text; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return status;
}

enum sgate_status
error_reason(struct sgate_error *err, enum sgate_status status,
    enum sgate_reason reason, const char *operation)
{
	error_set(err, status, "session", operation, 0, "%s",
	    sgate_reason_text(reason));
	if (err != NULL)
		err->reason = reason;
	return status;
}

enum sgate_status
error_memory(struct sgate_error *err, const char *operation)
{
	return error_set(
	    err, SGATE_NO_MEMORY, "memory", operation, 0, "out of memory");
}
