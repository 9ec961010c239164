/*
 * The Cookie header: cookie_find() against a slow scan written here, and what
 * cookie_write() writes is found again.
 *
 *   byte 0   which name is looked for
 *   rest     the header
 */
#include "config.h"

#include "fuzz.h"

#include "cookie.h"

#include <stdbool.h>

static const char *const names[] = {
    "__Host-sid", "sid", "a", "__Secure-session_id"};

/* Every cookie of the header, one after the other. */
static enum sgate_reason
slow_find(
    struct sgate_bytes header, const char *name, struct sgate_bytes *out_value)
{
	size_t start = 0, end, at, cookies = 0, found = 0, i;

	*out_value = (struct sgate_bytes){NULL, 0};
	if (header.len == 0)
		return SGATE_REASON_NONE;
	for (i = 0; i < header.len; i++)
		if ((unsigned char)header.data[i] < 0x20 ||
		    header.data[i] == 0x7f)
			return SGATE_REASON_MALFORMED;
	if (header.len > 8192)
		return SGATE_REASON_MALFORMED;
	/* A ';' at the end begins no cookie. */
	for (start = 0; start < header.len; start = end + 1) {
		for (end = start; end < header.len; end++)
			if (header.data[end] == ';')
				break;
		cookies++;
		for (at = start; at < end && header.data[at] == ' ';)
			at++;
		if (end - at > strlen(name) &&
		    strncmp(header.data + at, name, strlen(name)) == 0 &&
		    header.data[at + strlen(name)] == '=') {
			found++;
			out_value->data = header.data + at + strlen(name) + 1;
			out_value->len = end - at - strlen(name) - 1;
		}
	}
	if (cookies <= 64 && found == 1 && out_value->len > 0)
		return SGATE_REASON_OK;
	*out_value = (struct sgate_bytes){NULL, 0};
	return cookies > 64 ? SGATE_REASON_MALFORMED
	       : found > 1  ? SGATE_REASON_AMBIGUOUS
			    : SGATE_REASON_NONE;
}

/* A token of printable bytes without ';' comes back as it was. */
static void
write_and_find(struct sgate_bytes token)
{
	static const char *const options[] = {
	    "cookie.name=sid", "cookie.domain=example.org", NULL};
	static struct sgate_conf *host_only, *of_a_domain;
	const struct sgate_conf *conf;
	struct sgate_bytes value;
	struct buf line = {0};
	char text[65] = "";
	size_t i, end;

	if (host_only == NULL) {
		MUST(sgate_conf_load(NULL, NULL, &host_only, NULL) == SGATE_OK);
		MUST(sgate_conf_load(NULL, options, &of_a_domain, NULL) ==
		     SGATE_OK);
	}
	conf = token.len % 2 == 0 ? host_only : of_a_domain;
	for (i = 0; i < token.len && i < sizeof(text) - 1; i++) {
		unsigned char c = (unsigned char)token.data[i];

		text[i] = c > 0x20 && c < 0x7f && c != ';' ? (char)c : 'x';
	}
	if (i == 0)
		return;
	cookie_write(conf, text, (int64_t)token.len, &line);
	MUST(!buf_failed(&line));
	/* The browser sends back what stands before the first ';'. */
	end = strcspn(buf_text(&line), ";");
	MUST(cookie_find((struct sgate_bytes){line.data, end},
		 conf->cookie.name, &value) == SGATE_REASON_OK);
	MUST(value.len == strlen(text) &&
	     memcmp(value.data, text, value.len) == 0);
	MUST(!bytes_has_control(buf_bytes(&line)));
	MUST(
	    (strstr(buf_text(&line), "; Max-Age=") != NULL) == (token.len > 0));
	buf_reset(&line);
	cookie_clear(conf, &line);
	end = strcspn(buf_text(&line), ";");
	MUST(cookie_find((struct sgate_bytes){line.data, end},
		 conf->cookie.name, &value) == SGATE_REASON_NONE);
	buf_clear(&line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	const char *name = names[fuzz_byte(&in) % 4];
	struct sgate_bytes header = fuzz_rest(&in), value, expected;
	enum sgate_reason reason = cookie_find(header, name, &value);

	MUST(reason == slow_find(header, name, &expected));
	MUST(value.data == expected.data && value.len == expected.len);
	write_and_find(header);
	return 0;
}
