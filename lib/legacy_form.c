/*
 * What Apache's mod_session keeps: NAME=VALUE&NAME=VALUE, encoded as a form is,
 * and never encrypted here (mod_session_crypto makes it something else, which
 * has no such names).
 */
#include "config.h"

#include "legacy_own.h"

#include <string.h>

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* Memory of the tree. */
static bool
decode(
    struct legacy_tree *tree, struct sgate_bytes text, struct sgate_bytes *out)
{
	char *copy = legacy_room(tree, text.len);
	size_t i, len = 0;

	if (copy == NULL)
		return false;
	for (i = 0; i < text.len; i++) {
		char c = text.data[i];

		if (c == '%') {
			if (text.len - i < 3 ||
			    hex_digit(text.data[i + 1]) < 0 ||
			    hex_digit(text.data[i + 2]) < 0)
				return legacy_fail(
				    tree, "it is not what mod_session writes");
			c = (char)(hex_digit(text.data[i + 1]) << 4 |
				   hex_digit(text.data[i + 2]));
			i += 2;
		} else if (c == '+') {
			c = ' ';
		}
		copy[len++] = c;
	}
	*out = (struct sgate_bytes){copy, len};
	return true;
}

bool
legacy_form(const struct legacy_settings *settings,
    const struct legacy_raw *raw, struct legacy_tree *tree)
{
	struct sgate_bytes rest = raw->body, value, name;
	struct legacy_value *member;

	(void)settings;
	while (rest.len > 0) {
		value = bytes_cut(&rest, '&');
		name = bytes_cut(&value, '=');
		if (name.len == 0 || value.data == NULL)
			return legacy_fail(
			    tree, "it is not what mod_session writes");
		if (!decode(tree, name, &name) || !decode(tree, value, &value))
			return false;
		member = legacy_add(tree, &tree->root, name);
		if (member == NULL)
			return false;
		legacy_set_text(member, value);
	}
	return true;
}
