/*
 * Service keys: a program's right to call v1. The text is shown once, when it
 * is made; the store holds its SHA-256. 32 random bytes need no slow hash.
 */
#include "config.h"

#include "manager.h"

#include <string.h>

#include <sodium.h>

#include "status.h"

#define SERVICE_PREFIX "sgsk_"
#define SERVICE_SECRET_BYTES 32

static void
hash_service_key(struct sgate_bytes key, unsigned char out[32])
{
	crypto_hash_sha256(out, (const unsigned char *)key.data, key.len);
}

static void
make_service_key(char out[MANAGER_SERVICE_KEY_LEN + 1])
{
	unsigned char secret[SERVICE_SECRET_BYTES];
	size_t prefix = strlen(SERVICE_PREFIX);

	token_random(secret, sizeof(secret));
	memcpy(out, SERVICE_PREFIX, prefix);
	sodium_bin2base64(out + prefix, MANAGER_SERVICE_KEY_LEN + 1 - prefix,
	    secret, sizeof(secret), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(secret, sizeof(secret));
}

static enum sgate_status
service_add_apply(struct change *change, struct sgate_error *err)
{
	struct sgate_manager *mgr = change->mgr;

	return manager_write(
	    mgr, mgr->ops->service_put(mgr->durable, change->arg, err), err);
}

/* The realm that the audit row stands in is the key's, if it has one. */
static void
audit_service(
    struct change *change, const char *name, const struct durable_service *svc)
{
	struct durable_audit *audit = &change->audit;

	input_copy(audit->detail, sizeof(audit->detail), bytes_of(name));
	if (svc != NULL && svc->has_realm)
		input_copy(
		    audit->realm, sizeof(audit->realm), bytes_of(svc->realm));
}

enum sgate_status
manager_service_add(struct sgate_manager *mgr,
    const struct durable_service *svc,
    char out_key[MANAGER_SERVICE_KEY_LEN + 1], struct sgate_error *err)
{
	struct durable_service row = *svc;
	char key[MANAGER_SERVICE_KEY_LEN + 1];
	struct change change;
	enum sgate_status status;

	memset(out_key, 0, MANAGER_SERVICE_KEY_LEN + 1);
	error_clear(err);
	mgr->served_by = STORES_NOBODY;
	if (!bytes_is_name(bytes_of(row.name), sizeof(row.name) - 1, "._-"))
		return error_set(err, SGATE_INVALID, "input", "service", 0,
		    "name: not 1 to 64 of [A-Za-z0-9._-]");
	if (!bytes_is_name(bytes_of(row.scopes), sizeof(row.scopes) - 1, "_-,"))
		return error_set(err, SGATE_INVALID, "input", "service", 0,
		    "scopes: not names joined by commas");
	status = input_realm(bytes_of(row.realm), err);
	if (status == SGATE_OK)
		status = manager_enter(mgr, err);
	if (status != SGATE_OK)
		return status;
	row.created_ms = manager_now_ms(mgr);
	make_service_key(key);
	hash_service_key(bytes_of(key), row.key_hash);
	change_init(&change, mgr, "service_add", SGATE_REASON_OK,
	    service_add_apply, &row);
	audit_service(&change, row.name, &row);
	status = change_run(&change, err);
	if (status == SGATE_CONFLICT)
		error_set(err, status, "session", "service", 0,
		    "there is a service key of that name already");
	if (status == SGATE_OK)
		memcpy(out_key, key, sizeof(key));
	sodium_memzero(key, sizeof(key));
	return status;
}

struct service_removal {
	const char *name;
};

static enum sgate_status
service_remove_apply(struct change *change, struct sgate_error *err)
{
	struct sgate_manager *mgr = change->mgr;
	const struct service_removal *removal = change->arg;

	return manager_write(mgr,
	    mgr->ops->service_remove(mgr->durable, removal->name, err), err);
}

enum sgate_status
manager_service_remove(
    struct sgate_manager *mgr, const char *name, struct sgate_error *err)
{
	struct service_removal removal = {.name = name};
	struct change change;
	enum sgate_status status = manager_enter(mgr, err);

	if (status != SGATE_OK)
		return status;
	change_init(&change, mgr, "service_remove", SGATE_REASON_OK,
	    service_remove_apply, &removal);
	audit_service(&change, name, NULL);
	status = change_run(&change, err);
	if (status == SGATE_NOT_FOUND)
		error_set(err, status, "session", "service", 0,
		    "there is no service key of that name");
	return status;
}

enum sgate_status
manager_service_list(struct sgate_manager *mgr, durable_service_fn *fn,
    void *arg, struct sgate_error *err)
{
	enum sgate_status status = manager_enter(mgr, err);

	if (status == SGATE_OK)
		status = manager_read(mgr,
		    mgr->ops->service_list(mgr->durable, fn, arg, err), err);
	return status;
}

enum sgate_status
manager_service_check(struct sgate_manager *mgr, struct sgate_bytes key,
    struct durable_service *out, struct sgate_error *err)
{
	struct durable_service found;
	unsigned char hash[32];
	enum sgate_status status;

	memset(out, 0, sizeof(*out));
	memset(&found, 0, sizeof(found));
	error_clear(err);
	mgr->served_by = STORES_NOBODY;
	if (key.data == NULL || key.len != MANAGER_SERVICE_KEY_LEN ||
	    memcmp(key.data, SERVICE_PREFIX, strlen(SERVICE_PREFIX)) != 0)
		return error_reason(
		    err, SGATE_NOT_FOUND, SGATE_REASON_MALFORMED, "service");
	status = manager_enter(mgr, err);
	if (status != SGATE_OK)
		return status;
	hash_service_key(key, hash);
	status = manager_read(
	    mgr, mgr->ops->service_get(mgr->durable, hash, &found, err), err);
	if (status == SGATE_NOT_FOUND)
		return error_reason(
		    err, status, SGATE_REASON_UNKNOWN, "service");
	if (status == SGATE_OK && found.expires_ms != 0 &&
	    found.expires_ms <= manager_now_ms(mgr))
		return error_reason(err, SGATE_NOT_FOUND,
		    SGATE_REASON_EXPIRED_ABSOLUTE, "service");
	if (status == SGATE_OK)
		*out = found;
	return status;
}
