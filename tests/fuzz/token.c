/*
 * Tokens, refs, CSRF tokens and addresses: what is read is written the same.
 *
 *   line 1   of one byte: a token is made of the rest
 *   rest     the text
 */
#include "config.h"

#include "fuzz.h"

#include "buf.h"
#include "keyfile.h"
#include "token.h"

#include <sodium.h>

static const struct keys *
known_keys(void)
{
	static struct keys *keys;

	if (keys == NULL)
		keys = keyfile_keys(KEYFILE_KNOWN);
	MUST(keys != NULL);
	return keys;
}

static void
check_token(struct sgate_bytes text)
{
	struct sgate_bytes realm = bytes_of("shop");
	char again[SGATE_TOKEN_LEN + 1];
	struct token token;

	if (token_read(known_keys(), realm, text, &token) != SGATE_REASON_OK)
		return;
	MUST(text.len == SGATE_TOKEN_LEN);
	MUST(token_write(known_keys(), realm, &token, again));
	MUST(memcmp(again, text.data, text.len) == 0);
	MUST(token_read(known_keys(), bytes_of("other"), text, &token) !=
	     SGATE_REASON_OK);
	MUST(token_ref_created_ms(&token.ref) >= 0);
	MUST(token_ref_group(&token.ref) < TOKEN_GROUPS);
}

/* Any ref and secret make a token that is read back; one bit more is refused.
 */
static void
make_token(struct fuzz_input in)
{
	struct sgate_bytes realm = bytes_of("shop");
	char text[SGATE_TOKEN_LEN + 1];
	struct token token = {.key_id = 7}, read;
	unsigned at, bit;

	for (at = 0; at < sizeof(token.ref.bytes); at++)
		token.ref.bytes[at] = (unsigned char)fuzz_byte(&in);
	for (at = 0; at < sizeof(token.secret); at++)
		token.secret[at] = (unsigned char)fuzz_byte(&in);
	MUST(token_write(known_keys(), realm, &token, text));
	MUST(token_read(known_keys(), realm, bytes_of(text), &read) ==
	     SGATE_REASON_OK);
	MUST(memcmp(&read.ref, &token.ref, sizeof(read.ref)) == 0);
	MUST(memcmp(read.secret, token.secret, sizeof(read.secret)) == 0);
	at = fuzz_byte(&in) % SGATE_TOKEN_LEN;
	bit = fuzz_byte(&in) % 8;
	text[at] = (char)(text[at] ^ 1 << bit);
	MUST(token_read(known_keys(), realm,
		 (struct sgate_bytes){text, SGATE_TOKEN_LEN},
		 &read) != SGATE_REASON_OK);
}

static void
check_ref(struct sgate_bytes text)
{
	char again[SGATE_REF_HEX + 1];
	struct sgate_ref ref;
	size_t i;

	if (sgate_ref_parse(text, &ref) != SGATE_OK)
		return;
	MUST(text.len == SGATE_REF_HEX);
	sgate_ref_text(&ref, again);
	for (i = 0; i < text.len; i++)
		MUST((text.data[i] | 0x20) == (again[i] | 0x20));
}

static void
check_address(struct sgate_bytes text)
{
	unsigned char address[16], again[16];
	char written[46];
	size_t len = address_parse(text, address);

	if (len == 0)
		return;
	MUST(len == 4 || len == 16);
	address_text(address, len, written);
	MUST(address_parse(bytes_of(written), again) == len);
	MUST(memcmp(address, again, len) == 0);
}

/* With a port, as the configuration has it. */
static void
check_server(struct sgate_bytes text)
{
	char *copy = bytes_dup(text), written[64];
	unsigned char address[16], again[16];
	unsigned port = 1, port_again = 1;
	char host[46];
	size_t len;

	MUST(copy != NULL);
	len = address_port_parse(copy, address, &port);
	if (len > 0) {
		MUST(port > 0 && port <= 65535);
		address_text(address, len, host);
		snprintf(written, sizeof(written),
		    len == 16 ? "[%s]:%u" : "%s:%u", host, port);
		MUST(address_port_parse(written, again, &port_again) == len);
		MUST(port == port_again && memcmp(address, again, len) == 0);
	}
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct sgate_bytes text;
	struct sgate_ref ref = {{1, 2, 3}};
	int64_t now_ms = INT64_C(1800000000000);
	char ours[TOKEN_CSRF_LEN + 1];

	if (fuzz_line(&in).len == 1)
		make_token(in);
	text = fuzz_rest(&in);
	check_token(text);
	check_ref(text);
	check_address(text);
	check_server(text);
	MUST(token_csrf_write(known_keys(), &ref, now_ms, ours));
	if (token_csrf_check(known_keys(), &ref, now_ms, text))
		MUST(text.len == TOKEN_CSRF_LEN);
	MUST(token_csrf_check(known_keys(), &ref, now_ms, bytes_of(ours)));
	return 0;
}
