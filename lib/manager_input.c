/*
 * Checks of what callers give, so that nothing unfit reaches a row. Each names
 * the member in its error. What is too long is SGATE_TOO_LARGE, what is of the
 * wrong kind SGATE_INVALID.
 */
#include "config.h"

#include "manager.h"

#include <stdlib.h>
#include <string.h>

#include "status.h"

/*
 * Control characters beyond ASCII: U+0080 to U+009F, two bytes each. They can
 * move a terminal's cursor as ESC can.
 */
static bool
has_c1_control(struct sgate_bytes value)
{
	size_t i;

	for (i = 0; i + 1 < value.len; i++) {
		unsigned char first = (unsigned char)value.data[i];
		unsigned char second = (unsigned char)value.data[i + 1];

		if (first == 0xc2 && second >= 0x80 && second <= 0x9f)
			return true;
	}
	return false;
}

enum sgate_status
input_text(const char *member, struct sgate_bytes value, size_t max,
    struct sgate_error *err)
{
	if (value.len == 0)
		return SGATE_OK;
	if (value.data == NULL)
		return error_set(err, SGATE_INVALID, "input", member, 0,
		    "%s: a length without bytes", member);
	if (value.len > max)
		return error_set(err, SGATE_TOO_LARGE, "input", member, 0,
		    "%s: %zu bytes, at most %zu are allowed", member, value.len,
		    max);
	if (!bytes_is_utf8(value))
		return error_set(err, SGATE_INVALID, "input", member, 0,
		    "%s: not UTF-8", member);
	if (bytes_has_control(value) || has_c1_control(value))
		return error_set(err, SGATE_INVALID, "input", member, 0,
		    "%s: control characters are not allowed", member);
	return SGATE_OK;
}

enum sgate_status
input_user(struct sgate_bytes user, struct sgate_error *err)
{
	if (user.len == 0)
		return error_set(err, SGATE_INVALID, "input", "user_id", 0,
		    "user_id: empty");
	return input_text("user_id", user, SESSION_USER_MAX, err);
}

enum sgate_status
input_realm(struct sgate_bytes realm, struct sgate_error *err)
{
	if (realm.len == 0)
		return SGATE_OK;
	if (realm.data == NULL ||
	    !bytes_is_name(realm, SESSION_REALM_MAX, "._-"))
		return error_set(err, SGATE_INVALID, "input", "realm", 0,
		    "realm: not 1 to %d of [A-Za-z0-9._-]", SESSION_REALM_MAX);
	return SGATE_OK;
}

enum sgate_status
input_address(struct sgate_bytes text, unsigned char out[16], size_t *out_len,
    struct sgate_error *err)
{
	memset(out, 0, 16);
	*out_len = 0;
	if (text.len == 0)
		return SGATE_OK;
	if (text.data != NULL)
		*out_len = address_parse(text, out);
	if (*out_len == 0)
		return error_set(err, SGATE_INVALID, "input", "client_ip", 0,
		    "client_ip: not an IPv4 or IPv6 address");
	return SGATE_OK;
}

enum sgate_status
input_reason(enum sgate_reason reason, struct sgate_error *err)
{
	if (reason < SGATE_REASON_EXPIRED_IDLE || reason > SGATE_REASON_BINDING)
		return error_set(err, SGATE_INVALID, "input", "reason", 0,
		    "reason: %s does not end a session",
		    sgate_reason_text(reason));
	return SGATE_OK;
}

/* ---- lists ---- */

typedef enum sgate_status item_check_fn(
    struct sgate_bytes item, struct sgate_error *err);

static enum sgate_status
check_context(struct sgate_bytes item, struct sgate_error *err)
{
	if (item.len == 0)
		return error_set(err, SGATE_INVALID, "input", "contexts", 0,
		    "contexts: an empty one");
	return input_text("contexts", item, SESSION_CONTEXT_MAX, err);
}

static enum sgate_status
check_role(struct sgate_bytes item, struct sgate_error *err)
{
	if (item.len > SESSION_ROLE_MAX)
		return error_set(err, SGATE_TOO_LARGE, "input", "roles", 0,
		    "roles: a name over %d bytes", SESSION_ROLE_MAX);
	if (item.data == NULL || !bytes_is_name(item, SESSION_ROLE_MAX, "._:-"))
		return error_set(err, SGATE_INVALID, "input", "roles", 0,
		    "roles: a name is not of [A-Za-z0-9._:-]");
	return SGATE_OK;
}

static enum sgate_status
join(const char *member, const struct sgate_bytes *items, size_t count,
    size_t max, item_check_fn *check, char separator, char **field,
    struct sgate_error *err)
{
	struct buf joined;
	enum sgate_status status = SGATE_OK;
	size_t i;

	buf_init(&joined);
	if (count > 0 && items == NULL)
		return error_set(err, SGATE_INVALID, "input", member, 0,
		    "%s: a count without items", member);
	if (count > max)
		return error_set(err, SGATE_TOO_LARGE, "input", member, 0,
		    "%s: %zu, at most %zu are allowed", member, count, max);
	for (i = 0; i < count && status == SGATE_OK; i++) {
		status = check(items[i], err);
		if (status == SGATE_OK && i > 0)
			buf_add_char(&joined, separator);
		if (status == SGATE_OK)
			buf_add_bytes(&joined, items[i]);
	}
	if (status == SGATE_OK &&
	    (buf_failed(&joined) || !session_set(field, buf_bytes(&joined))))
		status = error_memory(err, member);
	buf_clear(&joined);
	return status;
}

enum sgate_status
input_contexts(const struct sgate_bytes *items, size_t count, char **field,
    struct sgate_error *err)
{
	return join("contexts", items, count, SESSION_CONTEXTS_MAX,
	    check_context, '\n', field, err);
}

enum sgate_status
input_roles(const struct sgate_bytes *items, size_t count, char **field,
    struct sgate_error *err)
{
	return join("roles", items, count, SESSION_ROLES_MAX, check_role, ',',
	    field, err);
}

/* ---- data, and what is cut ---- */

/*
 * A merge can make more than either side was: size, depth and members are
 * looked at again on the text that will be stored.
 */
enum sgate_status
input_render(const struct sgate_conf *conf, const struct data *data,
    struct sgate_session *session, struct sgate_error *err)
{
	struct buf text, exports;
	enum sgate_status status;

	buf_init(&text);
	buf_init(&exports);
	status = data_print(data, &text, err);
	if (status == SGATE_OK)
		status = data_scan(
		    buf_bytes(&text), conf->session.data_max_bytes, err);
	if (status == SGATE_OK)
		status = data_exports(data, conf->session.export_data,
		    SESSION_EXPORTS_MAX, &exports, err);
	if (status == SGATE_OK &&
	    (buf_failed(&text) || buf_failed(&exports) ||
		!session_set(&session->data, buf_bytes(&text)) ||
		!session_set(&session->exports, buf_bytes(&exports))))
		status = error_memory(err, "data");
	buf_wipe(&text);
	buf_wipe(&exports);
	return status;
}

/* How many bytes of a character that was cut stand at the end. */
static size_t
cut_tail(const char *text, size_t len)
{
	size_t back = 1;

	while (back <= len && back < 4 &&
	       ((unsigned char)text[len - back] & 0xc0) == 0x80)
		back++;
	if (back > len || (unsigned char)text[len - back] < 0xc0)
		return 0;
	return bytes_is_utf8((struct sgate_bytes){text + len - back, back})
		   ? 0
		   : back;
}

void
input_copy(char *out, size_t size, struct sgate_bytes value)
{
	size_t len = value.len;

	if (len >= size) {
		len = size - 1;
		len -= cut_tail(value.data, len);
	}
	if (len > 0)
		memcpy(out, value.data, len);
	out[len] = '\0';
}

/*
 * A browser's own words: a login must not fail because of them, and whoever
 * reads them later must not be fooled.
 */
void
input_agent(struct sgate_bytes text, char *out, size_t max)
{
	size_t i;

	if (text.data == NULL)
		text.len = 0;
	input_copy(out, max + 1, text);
	for (i = 0; out[i] != '\0'; i++)
		if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
			out[i] = '?';
	if (bytes_is_utf8(bytes_of(out)) && !has_c1_control(bytes_of(out)))
		return;
	for (i = 0; out[i] != '\0'; i++)
		if ((unsigned char)out[i] >= 0x80)
			out[i] = '?';
}
