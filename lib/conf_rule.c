/* What the texts of options may be. Control bytes and bad UTF-8 are refused
 * for all of them in conf_option.c. */
#include "config.h"

#include "conf_rule.h"

#include "buf.h"
#include "conf_option.h"

#include <string.h>
#include <sys/un.h>

/* A variable is SESSION_DATA_ and this. */
#define EXPORT_MAX 64
#define MEMBER_MAX 128
#define HOST_MAX 253
#define PATH_TEXT_MAX 1024

/* What follows prefix in text, or NULL. */
static const char *
after(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

bool
rule_account(const char *text)
{
	return *text == '\0' || (bytes_is_name(bytes_of(text), 64, "._-") &&
				    *text != '-' && *text != '.');
}

bool
rule_path(const char *text)
{
	size_t len = strlen(text);

	return len > 1 && len <= PATH_TEXT_MAX && text[0] == '/' &&
	       text[len - 1] != '/';
}

bool
rule_mount(const char *text)
{
	size_t len = strlen(text);

	if (text[0] != '/' || text[len - 1] != '/' || len > 128)
		return false;
	if (strstr(text, "//") != NULL || strstr(text, "/./") != NULL ||
	    strstr(text, "/../") != NULL)
		return false;
	return len == 1 || bytes_is_name(bytes_of(text + 1), 128, "._~/-");
}

/* host or host:port at the start; what follows them, or NULL. */
static const char *
skip_host(const char *text, const char **out_port)
{
	size_t len = strcspn(text, ":/?#[");

	*out_port = NULL;
	if (*text == '[') {
		unsigned char address[16];

		text++;
		len = strcspn(text, "]");
		if (text[len] != ']' ||
		    address_parse((struct sgate_bytes){text, len}, address) ==
			0)
			return NULL;
		text += len + 1;
	} else {
		if (!bytes_is_name(
			(struct sgate_bytes){text, len}, HOST_MAX, ".-_"))
			return NULL;
		text += len;
	}
	if (*text == ':') {
		uint64_t port;

		*out_port = ++text;
		len = strspn(text, "0123456789");
		if (!bytes_to_uint(
			(struct sgate_bytes){text, len}, 65535, &port) ||
		    port == 0)
			return NULL;
		text += len;
	}
	return text;
}

bool
rule_return_url(const char *text)
{
	const char *host, *port, *rest;

	/* Browsers read '\\' as '/', and drop blanks: open redirects. */
	if (strlen(text) > PATH_TEXT_MAX || strpbrk(text, " \\\"<>#") != NULL)
		return false;
	if (text[0] == '/')
		return text[1] != '/';
	host = after(text, "https://");
	if (host == NULL)
		host = after(text, "http://");
	if (host == NULL)
		return false;
	rest = skip_host(host, &port);
	return rest != NULL && (*rest == '\0' || *rest == '/');
}

bool
rule_url(const char *text)
{
	return *text == '\0' || rule_return_url(text);
}

bool
rule_origin(const char *text)
{
	bool is_https = after(text, "https://") != NULL;
	const char *host = after(text, is_https ? "https://" : "http://");
	const char *port, *rest;
	const char *c;

	for (c = text; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			return false;
	if (host == NULL)
		return false;
	rest = skip_host(host, &port);
	if (rest == NULL || *rest != '\0')
		return false;
	return port == NULL ||
	       (*port != '0' && strcmp(port, is_https ? "443" : "80") != 0);
}

bool
rule_network(const char *text)
{
	size_t len = strcspn(text, "/");
	unsigned char address[16];
	size_t bytes = address_parse((struct sgate_bytes){text, len}, address);
	uint64_t prefix;

	if (bytes == 0)
		return false;
	if (text[len] == '\0')
		return true;
	/* A prefix of 0 would let everybody name any address. */
	return bytes_to_uint(bytes_of(text + len + 1), bytes * 8, &prefix) &&
	       prefix > 0;
}

/* 127.0.0.0/8 or ::1, written as numbers: names are never looked up. */
static bool
is_loopback(struct sgate_bytes text)
{
	static const unsigned char one[16] = {[15] = 1};
	unsigned char address[16];
	size_t len = address_parse(text, address);

	return (len == 4 && address[0] == 127) ||
	       (len == 16 && memcmp(address, one, 16) == 0);
}

static bool
is_loopback_port(const char *text)
{
	const char *colon = strrchr(text, ':');
	struct sgate_bytes host;
	uint64_t port;

	if (colon == NULL ||
	    !bytes_to_uint(bytes_of(colon + 1), 65535, &port) || port == 0)
		return false;
	host = (struct sgate_bytes){text, (size_t)(colon - text)};
	if (*text == '[') {
		if (host.len < 3 || colon[-1] != ']')
			return false;
		host = (struct sgate_bytes){text + 1, host.len - 2};
		return memchr(host.data, ':', host.len) != NULL &&
		       is_loopback(host);
	}
	return memchr(host.data, ':', host.len) == NULL && is_loopback(host);
}

/* What follows "unix:". */
static bool
is_socket_path(const char *path)
{
	const struct sockaddr_un *un = NULL;

	return rule_path(path) && strlen(path) < sizeof(un->sun_path);
}

bool
rule_address(const char *text)
{
	const char *path = after(text, "unix:");
	const char *tcp = after(text, "tcp:");

	if (*text == '\0')
		return true;
	if (path != NULL)
		return is_socket_path(path);
	return tcp != NULL && is_loopback_port(tcp);
}

bool
rule_section(const char *text)
{
	return bytes_is_name(bytes_of(text), CONF_NAME_MAX, "._-");
}

bool
rule_realm(const char *text)
{
	return *text == '\0' || strcmp(text, "*") == 0 ||
	       bytes_is_name(bytes_of(text), CONF_REALM_MAX, "._-");
}

bool
rule_role(const char *text)
{
	return bytes_is_name(bytes_of(text), 64, "._:-");
}

bool
rule_member(const char *text)
{
	return *text != '\0' && strlen(text) <= MEMBER_MAX;
}

bool
rule_export(const char *text)
{
	return bytes_is_name(bytes_of(text), EXPORT_MAX, "_");
}

bool
rule_cookie_name(const char *text)
{
	return bytes_is_name(bytes_of(text), 64, "_-");
}

bool
rule_cookie_path(const char *text)
{
	return *text == '/' && strlen(text) <= 128 &&
	       strpbrk(text, "; ,\"\\") == NULL;
}

bool
rule_domain(const char *text)
{
	return *text == '\0' ||
	       (bytes_is_name(bytes_of(text), HOST_MAX, ".-") && *text != '.' &&
		   *text != '-');
}

bool
rule_destination(const char *text)
{
	const char *path = after(text, "file:");

	return strcmp(text, "stderr") == 0 || strcmp(text, "syslog") == 0 ||
	       (path != NULL && rule_path(path));
}

bool
rule_socket(const char *text)
{
	return *text == '\0' || (rule_path(text) && strlen(text) <= 107);
}

bool
rule_database(const char *text)
{
	return bytes_is_name(bytes_of(text), 64, "_.$-");
}

/*
 * Without brackets "::1:6379" is the address ::1:6379 and no port, which is
 * hardly what was meant; so are all whose last part may be one.
 */
static bool
is_ambiguous(const char *text)
{
	const char *colon = strrchr(text, ':');
	unsigned char address[16];
	uint64_t port;

	return *text != '[' && colon != NULL &&
	       bytes_to_uint(bytes_of(colon + 1), UINT16_MAX, &port) &&
	       address_parse((struct sgate_bytes){text, (size_t)(colon - text)},
		   address) == 16;
}

bool
rule_server(const char *text)
{
	unsigned char address[16];
	unsigned port = 0;

	return !is_ambiguous(text) &&
	       address_port_parse(text, address, &port) != 0;
}

bool
rule_sentinel(const char *text)
{
	return rule_server(text);
}

bool
rule_redis(const char *text)
{
	const char *path = after(text, "unix:");

	if (path != NULL)
		return is_socket_path(path);
	return *text == '\0' || rule_server(text);
}

bool
rule_master_name(const char *text)
{
	return *text == '\0' || bytes_is_name(bytes_of(text), 64, "._-");
}

bool
rule_prefix(const char *text)
{
	return bytes_is_name(bytes_of(text), 16, "_.-");
}
