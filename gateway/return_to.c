#include "config.h"

#include "return_to.h"

#include "conf.h"

#include <string.h>

bool
return_to_is_allowed(struct sgate_bytes text, char *const *allow)
{
	size_t i;

	if (text.len == 0 || text.len > RETURN_TO_MAX)
		return false;
	for (i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];

		if (c <= 0x20 || c == 0x7f || c == '\\')
			return false;
	}
	if (text.data[0] == '/' && (text.len == 1 || text.data[1] != '/'))
		return true;
	return allow != NULL && conf_list_has(allow, text);
}

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
	       (c >= 'A' && c <= 'F');
}

/* RFC 3986: unreserved and reserved bytes, and %XX as it stands. */
static bool
is_uri_byte(struct sgate_bytes text, size_t i)
{
	char c = text.data[i];

	if (c == '%')
		return text.len - i >= 3 && is_hex(text.data[i + 1]) &&
		       is_hex(text.data[i + 2]);
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~:/?#[]@!$&'()*+,;=", c) != NULL);
}

void
return_to_write(struct sgate_bytes text, struct buf *out)
{
	size_t i;

	for (i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];

		if (is_uri_byte(text, i)) {
			buf_add_char(out, text.data[i]);
		} else {
			buf_add_char(out, '%');
			buf_add_hex(out, &c, 1);
		}
	}
}

void
return_to_login(const char *login_url, struct sgate_bytes text, struct buf *out)
{
	buf_add_text(out, login_url);
	/* A longer one would be refused on the way back, and may be more than
	 * the web server takes as a header. */
	if (text.len == 0 || text.len > RETURN_TO_MAX)
		return;
	buf_add_char(out, strchr(login_url, '?') == NULL ? '?' : '&');
	buf_add_text(out, "return_to=");
	buf_add_url(out, text);
}
