/*
 * Inside of conf*.c: what the text of an option may be. Each rule has a
 * function and the words that a refusal uses, "must be " RULE_x.
 */
#ifndef SESSGATE_CONF_RULE_H
#define SESSGATE_CONF_RULE_H

#include <stdbool.h>

#define RULE_account "a name of letters, digits, '.', '_' and '-'"
bool rule_account(const char *text); /* also "" */
#define RULE_path "an absolute path without a '/' at its end"
bool rule_path(const char *text);
#define RULE_mount                                                             \
	"a path that begins and ends with '/', of plain segments, as "         \
	"\"/.sessgate/\""
bool rule_mount(const char *text);
#define RULE_url "empty, a path as \"/login\", or http(s)://host/..."
bool rule_url(const char *text); /* also "" */
#define RULE_return_url "a path as \"/start\", or http(s)://host/..."
bool rule_return_url(const char *text);
#define RULE_origin                                                            \
	"as browsers send it: \"https://www.example.org\", lower case, "       \
	"without a path or a default port"
bool rule_origin(const char *text);
#define RULE_network                                                           \
	"an address or address/prefix as \"10.0.0.0/8\", and not everybody"
bool rule_network(const char *text);
#define RULE_address                                                           \
	"\"unix:/path\" (path up to 107 bytes) or loopback as "                \
	"\"tcp:127.0.0.1:9000\""
bool rule_address(const char *text); /* also "" */
#define RULE_realm "\"*\" for any, or up to 64 of [A-Za-z0-9._-]"
bool rule_realm(const char *text); /* also "" */
#define RULE_role "up to 64 of [A-Za-z0-9._:-]"
bool rule_role(const char *text);
#define RULE_section "up to 64 of [A-Za-z0-9._-]"
bool rule_section(const char *text);
#define RULE_member "the name of a member of data, up to 128 bytes"
bool rule_member(const char *text);
#define RULE_export "up to 64 of [A-Za-z0-9_], as it becomes a variable's name"
bool rule_export(const char *text);
#define RULE_cookie_name "up to 64 of [A-Za-z0-9_-]"
bool rule_cookie_name(const char *text);
#define RULE_cookie_path "a path that begins with '/', without ';' or blanks"
bool rule_cookie_path(const char *text);
#define RULE_domain "a host name without a dot in front, or empty"
bool rule_domain(const char *text); /* also "" */
#define RULE_server                                                            \
	"an address as \"10.0.0.1\", or with a port as \"10.0.0.1:3306\" or "  \
	"\"[2001:db8::1]:3306\"; names are not looked up"
bool rule_server(const char *text);
#define RULE_sentinel                                                          \
	"an address as \"10.0.0.1\", or with a port as \"10.0.0.1:26379\" or " \
	"\"[2001:db8::1]:26379\"; names are not looked up"
bool rule_sentinel(const char *text);
#define RULE_redis                                                             \
	"\"unix:/path\" (path up to 107 bytes), or an address as "             \
	"\"10.0.0.1:6379\" or \"[2001:db8::1]:6379\"; names are not looked "   \
	"up"
bool rule_redis(const char *text); /* also "" */
#define RULE_master_name "empty, or up to 64 of [A-Za-z0-9._-]"
bool rule_master_name(const char *text); /* also "" */
#define RULE_prefix "up to 16 of [A-Za-z0-9_.-]"
bool rule_prefix(const char *text);
#define RULE_socket "empty, or an absolute path of up to 107 bytes"
bool rule_socket(const char *text); /* also "" */
#define RULE_database "up to 64 of [A-Za-z0-9_.$-]"
bool rule_database(const char *text);
#define RULE_destination "\"stderr\", \"syslog\" or \"file:/path\""
bool rule_destination(const char *text);

#endif
