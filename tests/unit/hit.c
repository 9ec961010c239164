/*
 * A hit of the local cache, from the bytes of the request to those of the
 * answer: it allocates nothing, asks no store, and says what the stores said.
 */
#include "config.h"

#include "tap.h"

#include "site.h"

#include <string.h>

#include "clock.h"
#include "local.h"
#include "no_memory.h"
#include "packet.h"
#include "plain.h"

struct hit {
	struct site site;
	struct local *local;
	struct plain plain;
	struct packet pairs, request;
	struct buf first, answer;
};

/* As after a round of the keeper that has just begun. */
static void
hear(struct hit *h)
{
	struct fence *fence = &h->site.shared->stores.fence;
	unsigned group;

	for (group = 0; group < TOKEN_GROUPS; group++) {
		atomic_store(&fence->complete_ms[group], clock_boot_ms());
		atomic_store(&fence->heard_ms[group], clock_boot_ms());
	}
}

static int
set_up(void **state)
{
	static struct hit h;
	static const char *const overrides[] = {"session.export_data=tier",
	    "policy.staff.require_role=staff", NULL};
	struct sgate_bytes role = bytes_of("staff");
	struct sgate_create create = {.user_id = bytes_of("alice"),
	    .roles = &role,
	    .roles_count = 1,
	    .data = bytes_of("{\"tier\":\"gold\"}")};
	struct sgate_error err;

	memset(&h, 0, sizeof(h));
	site_open(&h.site, overrides);
	assert_int_equal(
	    local_create(UINT64_C(65536), &h.local, &err), SGATE_OK);
	manager_set_stores(h.site.mgr, &h.site.shared->stores);
	manager_set_local(h.site.mgr, h.local);
	site_create(&h.site, &create);
	hear(&h);
	*state = &h;
	return 0;
}

static int
tear_down(void **state)
{
	struct hit *h = *state;

	manager_set_local(h->site.mgr, NULL);
	local_close(h->local);
	buf_clear(&h->first);
	buf_clear(&h->answer);
	site_close(&h->site);
	return 0;
}

static void
make(struct hit *h, int role)
{
	h->pairs.len = 0;
	packet_pair(&h->pairs, "REQUEST_METHOD", "GET");
	packet_pair(&h->pairs, "REQUEST_URI", "/app/");
	packet_pair(&h->pairs, "HTTP_COOKIE", buf_text(&h->site.cookie));
	packet_pair(&h->pairs, "REMOTE_ADDR", "192.0.2.1");
	packet_pair(&h->pairs, "SESSGATE_CHECK", "1");
	packet_pair(&h->pairs, "SESSGATE_POLICY", "staff");
	packet_request(&h->request, role, &h->pairs, "", 0);
}

/* As front_serve.c does it; who served. */
static const char *
ask(struct hit *h, struct buf *out)
{
	struct serve_input input = {
	    .listener = &h->site.listener, .allow = CONF_ALLOW_CHECK};
	struct request request;
	struct head head;

	assert_true(plain_read(
	    &h->plain, packet_bytes(&h->request), 65536, &head, &request));
	input.request = &request;
	input.is_authorizer = head.is_authorizer;
	plain_begin(out);
	serve(&h->site.gw, &input, out);
	assert_true(plain_end(&h->plain, out));
	return manager_served_by(h->site.mgr);
}

static void
a_hit_allocates_nothing_and_says_what_the_look_said(void **state)
{
	static const int roles[] = {RESPONDER, AUTHORIZER};
	struct hit *h = *state;
	size_t i;

	for (i = 0; i < 2; i++) {
		make(h, roles[i]);
		local_drop_all(h->local);
		assert_string_not_equal(ask(h, &h->first), "local");
		/* Its buffer and the CSRF token's are there from then on. */
		assert_string_equal(ask(h, &h->answer), "local");
		no_memory_countdown = 0;
		assert_string_equal(ask(h, &h->answer), "local");
		assert_int_equal(no_memory_countdown, 0);
		no_memory_countdown = -1;
		assert_int_equal(h->answer.len, h->first.len);
		assert_memory_equal(
		    h->answer.data, h->first.data, h->first.len);
		assert_non_null(strstr(
		    h->answer.data + 8, "\r\nVariable-REMOTE_USER: alice\r\n"));
		assert_non_null(strstr(h->answer.data + 8,
		    "\r\nVariable-SESSION_DATA_TIER: gold\r\n"));
	}
}

/* What tells who calls is left out of a hit, and must not be missing later. */
static void
who_calls_is_known_when_a_hit_was_before(void **state)
{
	struct hit *h = *state;

	make(h, RESPONDER);
	ask(h, &h->answer);
	hear(h);
	assert_string_equal(ask(h, &h->answer), "local");
	site_end(&h->site, SGATE_REASON_REVOKED);
	hear(h);
	assert_string_not_equal(ask(h, &h->answer), "local");
	assert_non_null(strstr(h->answer.data + 8, "Status: 401 "));
	assert_true(site_log_has(&h->site, "reason=revoked"));
	assert_true(site_log_has(&h->site, "client=192.0.2.1"));
}

static const struct CMUnitTest hit_tests[] = {
    cmocka_unit_test_setup_teardown(
	a_hit_allocates_nothing_and_says_what_the_look_said, set_up, tear_down),
    cmocka_unit_test_setup_teardown(
	who_calls_is_known_when_a_hit_was_before, set_up, tear_down),
};

TAP_MAIN(hit_tests)
