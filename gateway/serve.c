/*
 * Which of the three roles asks, and for the API, which route. What a caller
 * may ask is a property of the listener; the routes themselves check it.
 */
#include "config.h"

#include "serve.h"

#include "api.h"
#include "call.h"
#include "check.h"
#include "clock.h"

#include <string.h>

static bool
is_hex_pair(const char *at, char high, char low)
{
	return at[1] == high && (at[2] == low || at[2] == low + ('a' - 'A'));
}

/*
 * What web servers and programs read differently: encoded dots, slashes and
 * NUL, empty and dot segments, path parameters. A request with one of these
 * may have been matched as another path than we would see.
 */
static bool
path_is_plain(struct sgate_bytes path)
{
	size_t i;

	if (path.len == 0 || path.data[0] != '/' || bytes_has_control(path))
		return false;
	for (i = 0; i < path.len; i++) {
		const char *at = path.data + i;
		size_t left = path.len - i;

		if (*at == ';' || *at == '\\' || *at == '#')
			return false;
		if (*at == '%' &&
		    (left < 3 || is_hex_pair(at, '2', 'E') ||
			is_hex_pair(at, '2', 'F') ||
			is_hex_pair(at, '5', 'C') || is_hex_pair(at, '0', '0')))
			return false;
		if (*at != '/')
			continue;
		if (left >= 2 && at[1] == '/')
			return false;
		if (left >= 2 && at[1] == '.' && (left == 2 || at[2] == '/'))
			return false;
		if (left >= 3 && at[1] == '.' && at[2] == '.' &&
		    (left == 3 || at[3] == '/'))
			return false;
	}
	return true;
}

static void
api_serve(struct call *c)
{
	struct sgate_bytes path = request_path(c->req);
	size_t mount_len = strlen(c->conf->gateway.mount);

	if (c->req->is_malformed || !path_is_plain(path)) {
		api_problem(c, 400, "malformed", NULL);
		return;
	}
	if (path.len < mount_len ||
	    memcmp(path.data, c->conf->gateway.mount, mount_len) != 0) {
		api_not_found(c);
		return;
	}
	path.data += mount_len;
	path.len -= mount_len;
	if (path.len >= 3 && memcmp(path.data, "v1/", 3) == 0) {
		path.data += 3;
		path.len -= 3;
		api_programs_serve(c, path);
	} else {
		api_browser_serve(c, path);
	}
}

static void
api_count(const struct call *c)
{
	static const enum tally_counter counters[TALLY_RESULTS] = {
	    [TALLY_RESULT_OK] = TALLY_API_OK,
	    [TALLY_RESULT_REFUSED] = TALLY_API_REFUSED,
	    [TALLY_RESULT_UNAVAILABLE] = TALLY_API_UNAVAILABLE,
	};
	struct tally *tally = c->gw->tally;
	enum tally_result result = TALLY_RESULT_OK;

	if (c->reply.status >= 500)
		result = TALLY_RESULT_UNAVAILABLE;
	else if (c->reply.status >= 400)
		result = TALLY_RESULT_REFUSED;
	call_count(c, counters[result]);
	if (c->operation == TALLY_NO_OPERATION)
		return;
	/* The keeper has none of these: this is a worker's own. */
	tally_add_own(&tally->operations[c->operation][result], 1);
	tally_add_time(&tally->operation_times[c->operation],
	    clock_monotonic_us() - c->input->began_us);
}

void
serve(
    struct gateway *gw, const struct serve_input *input, struct buf *out_answer)
{
	struct call c BUF_NO_ZEROS;

	call_init(&c, gw, input, out_answer);
	if (c.req->role == REQUEST_API) {
		c.reply.is_head = c.req->method == REQUEST_HEAD;
		api_serve(&c);
		reply_end(&c.reply);
		api_count(&c);
	} else {
		check_serve(&c);
	}
	call_clear(&c);
}
