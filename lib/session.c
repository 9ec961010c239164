/*
 * One session: its memory, its getters, and what follows from its values.
 *
 * Throttled touch. Activity is written at most once per tenth of the idle
 * timeout, so last_seen can be that much older than the last activity. The
 * idle deadline is therefore last_seen + idle + idle/10: nobody is logged out
 * early, and nobody stays more than a tenth too long. People are shown
 * last_seen + idle.
 */
#include "config.h"

#include "session.h"

#include "buf.h"
#include "failpoint.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define ADDRESS_TEXT_SIZE 46
#define TOUCHES_PER_IDLE 10
/* Clocks differ, and expiry is never judged by a time to live. */
#define COPY_KEPT_MS 60000

/* ---- memory ---- */

struct sgate_session *
session_new(void)
{
	const struct sgate_bytes empty = {NULL, 0};
	struct sgate_session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->client_ip_text = calloc(1, ADDRESS_TEXT_SIZE);
	if (s->client_ip_text == NULL || !session_set(&s->contexts, empty) ||
	    !session_set(&s->roles, empty) ||
	    !session_set(&s->exports, empty) || !session_set(&s->data, empty)) {
		sgate_session_free(s);
		return NULL;
	}
	return s;
}

bool
session_set(char **field, struct sgate_bytes value)
{
	char *copy;

	/* Most are empty, and most of them were. */
	if (value.len == 0 && *field != NULL) {
		**field = '\0';
		return true;
	}
	copy = malloc(value.len + 1);
	if (copy == NULL)
		return false;
	if (value.len > 0)
		memcpy(copy, value.data, value.len);
	copy[value.len] = '\0';
	free(*field);
	*field = copy;
	return true;
}

void
sgate_session_free(struct sgate_session *session)
{
	if (session == NULL)
		return;
	sodium_memzero(session->new_token, sizeof(session->new_token));
	free(session->contexts);
	free(session->roles);
	free(session->exports);
	free(session->data);
	free(session->client_ip_text);
	free(session);
}

struct sgate_session *
sgate_session_dup(const struct sgate_session *session)
{
	struct sgate_session *copy = session_new();
	struct sgate_session own;

	if (copy == NULL)
		return NULL;
	own = *copy;
	*copy = *session;
	copy->contexts = own.contexts;
	copy->roles = own.roles;
	copy->exports = own.exports;
	copy->data = own.data;
	copy->client_ip_text = own.client_ip_text;
	if (!session_set(&copy->contexts, bytes_of(session->contexts)) ||
	    !session_set(&copy->roles, bytes_of(session->roles)) ||
	    !session_set(&copy->exports, bytes_of(session->exports)) ||
	    !session_set(&copy->data, bytes_of(session->data))) {
		sgate_session_free(copy);
		return NULL;
	}
	return copy;
}

/* ---- times ---- */

/* Values come from stores: a sum that does not fit is "never". */
static int64_t
add_ms(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return b < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}

static int64_t
idle_deadline_ms(int64_t last_seen_ms, int64_t idle_ms)
{
	return add_ms(
	    add_ms(last_seen_ms, idle_ms), idle_ms / TOUCHES_PER_IDLE);
}

int64_t
session_idle_deadline_ms(const struct sgate_session *s)
{
	return idle_deadline_ms(s->last_seen_ms, s->idle_ms);
}

enum sgate_reason
session_expiry_of(
    int64_t last_seen_ms, int64_t idle_ms, int64_t absolute_ms, int64_t now_ms)
{
	if (now_ms >= absolute_ms)
		return SGATE_REASON_EXPIRED_ABSOLUTE;
	if (now_ms >= idle_deadline_ms(last_seen_ms, idle_ms))
		return SGATE_REASON_EXPIRED_IDLE;
	return SGATE_REASON_OK;
}

enum sgate_reason
session_expiry(const struct sgate_session *s, int64_t now_ms)
{
	return session_expiry_of(
	    s->last_seen_ms, s->idle_ms, s->absolute_ms, now_ms);
}

void
session_seen(struct sgate_session *s, int64_t seen_ms, int64_t now_ms)
{
	if (seen_ms > now_ms)
		seen_ms = now_ms;
	if (seen_ms > s->last_seen_ms)
		s->last_seen_ms = seen_ms;
}

static int64_t
tombstone_ttl_ms(int64_t absolute_ms, int64_t now_ms)
{
	int64_t left_ms =
	    absolute_ms > now_ms ? add_ms(absolute_ms, -now_ms) : 0;

	return add_ms(left_ms, COPY_KEPT_MS);
}

int64_t
session_tombstone_ttl_ms(const struct sgate_session *s, int64_t now_ms)
{
	return tombstone_ttl_ms(s->absolute_ms, now_ms);
}

int64_t
session_copy_ttl_of(int64_t idle_ms, int64_t absolute_ms, int64_t now_ms)
{
	int64_t kept_ms =
	    add_ms(add_ms(idle_ms, idle_ms / TOUCHES_PER_IDLE), COPY_KEPT_MS);
	int64_t rest_ms = tombstone_ttl_ms(absolute_ms, now_ms);

	return kept_ms < rest_ms ? kept_ms : rest_ms;
}

int64_t
session_copy_ttl_ms(const struct sgate_session *s, int64_t now_ms)
{
	return session_copy_ttl_of(s->idle_ms, s->absolute_ms, now_ms);
}

bool
session_touch_is_due_of(int64_t last_seen_ms, int64_t idle_ms, int64_t now_ms)
{
	return now_ms >= add_ms(last_seen_ms, idle_ms / TOUCHES_PER_IDLE);
}

bool
session_touch_is_due(const struct sgate_session *s, int64_t now_ms)
{
	return session_touch_is_due_of(s->last_seen_ms, s->idle_ms, now_ms);
}

/* ---- secrets: the table of "Rotation" in lib/README.md ---- */

bool
session_prev_in_grace(
    const struct sgate_session *s, int64_t now_ms, int64_t rotate_grace_ms)
{
	if (!s->has_prev)
		return false;
	/*
	 * The client learns of a rotation later than it happened: as long as
	 * it has not used the new secret, it may not have received it.
	 */
	return now_ms <= s->prev_until_ms ||
	       (s->successor_used_ms == 0 && !failpoint_is_off("grace")) ||
	       now_ms <= add_ms(s->successor_used_ms, rotate_grace_ms);
}

enum session_secret
session_secret(const struct sgate_session *s,
    const unsigned char hash[TOKEN_HASH_BYTES], int64_t now_ms,
    int64_t rotate_grace_ms)
{
	bool is_current =
	    sodium_memcmp(hash, s->secret_hash, TOKEN_HASH_BYTES) == 0;
	bool is_prev = sodium_memcmp(hash, s->prev_hash, TOKEN_HASH_BYTES) == 0;

	if (is_current)
		return SESSION_SECRET_CURRENT;
	if (is_prev && session_prev_in_grace(s, now_ms, rotate_grace_ms))
		return SESSION_SECRET_GRACE;
	return SESSION_SECRET_LATE;
}

/* ---- lists ---- */

size_t
session_list_count(const char *list, char separator)
{
	size_t count = 1;

	if (list == NULL || list[0] == '\0')
		return 0;
	for (; *list != '\0'; list++)
		if (*list == separator)
			count++;
	return count;
}

/* The item that begins at *at; moves *at to the next one or to NULL. */
static struct sgate_bytes
next_item(const char **at, char separator)
{
	const char *end = strchr(*at, separator);
	struct sgate_bytes item = {*at, 0};

	item.len = end == NULL ? strlen(*at) : (size_t)(end - *at);
	*at = end == NULL ? NULL : end + 1;
	return item;
}

struct sgate_bytes
session_list_at(const char *list, char separator, size_t index)
{
	const struct sgate_bytes none = {NULL, 0};
	struct sgate_bytes item = none;

	if (list == NULL || list[0] == '\0')
		return none;
	do {
		if (list == NULL)
			return none;
		item = next_item(&list, separator);
	} while (index-- > 0);
	return item;
}

bool
session_list_has(const char *list, char separator, struct sgate_bytes item)
{
	if (item.len == 0)
		return false;
	while (list != NULL)
		if (bytes_equal(next_item(&list, separator), item))
			return true;
	return false;
}

/* ---- getters ---- */

const struct sgate_ref *
sgate_session_get_ref(const struct sgate_session *s)
{
	return &s->ref;
}

struct sgate_bytes
sgate_session_get_realm(const struct sgate_session *s)
{
	return bytes_of(s->realm);
}

struct sgate_bytes
sgate_session_get_user_id(const struct sgate_session *s)
{
	return bytes_of(s->user);
}

struct sgate_bytes
sgate_session_get_context(const struct sgate_session *s)
{
	return bytes_of(s->context);
}

size_t
sgate_session_count_contexts(const struct sgate_session *s)
{
	return session_list_count(s->contexts, '\n');
}

struct sgate_bytes
sgate_session_get_context_at(const struct sgate_session *s, size_t index)
{
	return session_list_at(s->contexts, '\n', index);
}

size_t
sgate_session_count_roles(const struct sgate_session *s)
{
	return session_list_count(s->roles, ',');
}

struct sgate_bytes
sgate_session_get_role_at(const struct sgate_session *s, size_t index)
{
	return session_list_at(s->roles, ',', index);
}

struct sgate_bytes
sgate_session_get_roles(const struct sgate_session *s)
{
	return bytes_of(s->roles == NULL ? "" : s->roles);
}

int
sgate_session_has_role(const struct sgate_session *s, struct sgate_bytes role)
{
	return session_list_has(s->roles, ',', role);
}

struct sgate_bytes
sgate_session_get_data(const struct sgate_session *s)
{
	return bytes_of(s->data == NULL || s->data[0] == '\0' ? "{}" : s->data);
}

struct sgate_bytes
session_get_exports(const struct sgate_session *s)
{
	return bytes_of(s->exports == NULL ? "" : s->exports);
}

struct sgate_bytes
sgate_session_get_user_agent(const struct sgate_session *s)
{
	return bytes_of(s->user_agent);
}

const char *
sgate_session_get_client_ip(const struct sgate_session *s)
{
	if (s->client_ip_len == 0 || s->client_ip_text == NULL)
		return "";
	address_text(s->client_ip, s->client_ip_len, s->client_ip_text);
	return s->client_ip_text;
}

uint64_t
sgate_session_get_version(const struct sgate_session *s)
{
	return s->version;
}

int
sgate_session_is_anonymous(const struct sgate_session *s)
{
	return s->user[0] == '\0';
}

int64_t
sgate_session_get_created_ms(const struct sgate_session *s)
{
	return s->created_ms;
}

int64_t
sgate_session_get_auth_ms(const struct sgate_session *s)
{
	return s->auth_ms;
}

int64_t
sgate_session_get_last_seen_ms(const struct sgate_session *s)
{
	return s->last_seen_ms;
}

int64_t
sgate_session_get_idle_timeout_ms(const struct sgate_session *s)
{
	return s->idle_ms;
}

int64_t
sgate_session_get_idle_expires_ms(const struct sgate_session *s)
{
	int64_t idle_expires_ms = add_ms(s->last_seen_ms, s->idle_ms);

	return idle_expires_ms < s->absolute_ms ? idle_expires_ms
						: s->absolute_ms;
}

int64_t
sgate_session_get_expires_ms(const struct sgate_session *s)
{
	return s->absolute_ms;
}

const char *
sgate_session_new_token(const struct sgate_session *s)
{
	return s->new_token[0] == '\0' ? NULL : s->new_token;
}
