/*
 * `sessgatectl import`: other systems' sessions. "import plan" reads all of
 * them and counts what could be brought in; it writes nothing anywhere. A
 * session is shown by a hash of its id, since the id is the key to it.
 */
#include "config.h"

#include "ctl.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "legacy.h"
#include "password.h"

#define EXAMPLES_EACH 3
#define USER_KEYS_MAX 16
#define VERDICTS (LEGACY_UNDECODABLE + 1)
#define SHOWN_HASH_BYTES 6

/* Ids that were met: SCAN may give one twice. */
struct met {
	uint64_t *slots; /* 0: free */
	size_t count, size;
};

struct plan {
	struct legacy_settings settings;
	const struct sgate_conf *conf;
	const char *user_keys[USER_KEYS_MAX + 1];
	char password[PASSWORD_MAX + 1], secret[PASSWORD_MAX + 1];
	struct met met;
	int64_t now_ms, began_ms;
	int64_t counts[VERDICTS];
	int64_t by_user_key[USER_KEYS_MAX];
	int64_t sooner; /* live ones that would end before they do there */
	int64_t no_data, not_text, unknown, too_deep, passwords, ending,
	    bad_users;
	struct ctl_table examples;
	struct buf json_text;
	struct json json;
};

/* ---- what is asked ---- */

static enum ctl_exit
unknown_reader(void)
{
	const struct legacy_reader *reader;
	struct buf text = {0};
	size_t i;

	for (i = 0; (reader = legacy_reader_at(i)) != NULL; i++)
		buf_printf(&text, "\n  %-16s %s", legacy_reader_name(reader),
		    legacy_reader_help(reader));
	fprintf(stderr,
	    "sessgatectl: there is no reader of that name; there are:%s\n",
	    buf_text(&text));
	buf_clear(&text);
	return CTL_USAGE;
}

static bool
read_first_line(
    const struct ctl *ctl, const char *option, char out[PASSWORD_MAX + 1])
{
	const char *path = ctl_args_get(&ctl->args, option);
	struct sgate_error err;
	const char *what;

	if (path == NULL ||
	    password_read(path, "import", "read", out, &err) == SGATE_OK)
		return true;
	what = strstr(err.text, path);
	ctl_fail(CTL_USAGE, "--%s %s", option, what != NULL ? what : err.text);
	return false;
}

static bool
take_user_keys(const struct ctl *ctl, struct plan *plan)
{
	const char *key;
	int i;

	for (i = 0; (key = ctl_args_at(&ctl->args, "user-key", i)) != NULL;
	     i++) {
		if (i == USER_KEYS_MAX || key[0] == '\0') {
			ctl_fail(CTL_USAGE, "--user-key: give 1 to %d names",
			    USER_KEYS_MAX);
			return false;
		}
		plan->user_keys[i] = key;
	}
	if (i > 0)
		plan->settings.user_keys = plan->user_keys;
	return true;
}

static enum ctl_exit
take_settings(struct ctl *ctl, struct plan *plan)
{
	struct legacy_settings *s = &plan->settings;

	s->reader = legacy_reader_find(ctl->args.arguments[0]);
	if (s->reader == NULL)
		return unknown_reader();
	plan->conf = ctl_conf(ctl);
	if (plan->conf == NULL)
		return CTL_USAGE;
	s->place = ctl->args.arguments[1];
	s->prefix = ctl_args_get(&ctl->args, "prefix");
	s->account = ctl_args_get(&ctl->args, "account");
	s->table = ctl_args_get(&ctl->args, "table");
	s->id_column = ctl_args_get(&ctl->args, "id-column");
	s->data_column = ctl_args_get(&ctl->args, "data-column");
	s->expiry_column = ctl_args_get(&ctl->args, "expiry-column");
	s->data_max_bytes = plan->conf->session.data_max_bytes;
	if (!ctl_get_duration(ctl, "lifetime", &s->lifetime_ms) ||
	    !take_user_keys(ctl, plan) ||
	    !read_first_line(ctl, "password-file", plan->password) ||
	    !read_first_line(ctl, "secret-file", plan->secret))
		return CTL_USAGE;
	s->secret = bytes_of(plan->secret);
	if (s->secret.len == 0 && legacy_reader_needs_secret(s->reader))
		return ctl_fail(CTL_USAGE,
		    "%s: its sessions are signed: give --secret-file FILE with "
		    "the old site's secret in the first line",
		    legacy_reader_name(s->reader));
	if (ctl_args_has(&ctl->args, "password-file"))
		s->password = plan->password;
	return CTL_YES;
}

/* ---- what was met ---- */

static bool
met_grow(struct met *met)
{
	size_t size = met->size == 0 ? 1024 : met->size * 2;
	uint64_t *slots = calloc(size, sizeof(*slots));
	size_t i, at;

	if (slots == NULL)
		return false;
	for (i = 0; i < met->size; i++) {
		if (met->slots[i] == 0)
			continue;
		at = met->slots[i] % size;
		while (slots[at] != 0)
			at = (at + 1) % size;
		slots[at] = met->slots[i];
	}
	free(met->slots);
	met->slots = slots;
	met->size = size;
	return true;
}

/* False: no memory. */
static bool
met_add(struct met *met, struct sgate_bytes id, bool *out_is_new)
{
	unsigned char hash[crypto_generichash_BYTES];
	uint64_t number;
	size_t at;

	if (met->count >= met->size / 2 && !met_grow(met))
		return false;
	crypto_generichash(hash, sizeof(hash), (const unsigned char *)id.data,
	    id.len, NULL, 0);
	memcpy(&number, hash, sizeof(number));
	number |= 1;
	for (at = number % met->size; met->slots[at] != 0;
	     at = (at + 1) % met->size) {
		if (met->slots[at] == number) {
			*out_is_new = false;
			return true;
		}
	}
	met->slots[at] = number;
	met->count++;
	*out_is_new = true;
	return true;
}

/* ---- examples ---- */

static void
add_hash(struct buf *out, struct sgate_bytes id)
{
	unsigned char hash[crypto_generichash_BYTES];

	crypto_generichash(hash, sizeof(hash), (const unsigned char *)id.data,
	    id.len, NULL, 0);
	buf_add_hex(out, hash, SHOWN_HASH_BYTES);
}

static void
add_time_or_never(
    struct buf *out, const struct plan *plan, const struct legacy_session *s)
{
	if (s->verdict == LEGACY_UNDECODABLE)
		return;
	if (s->expires_ms == 0)
		buf_add_text(out, "never");
	else
		ctl_add_time(out, s->expires_ms, plan->now_ms);
}

static void
add_example(struct plan *plan, const struct legacy_session *s)
{
	struct buf hash = {0}, expires = {0};
	const char *why = s->why == NULL ? "" : s->why;

	add_hash(&hash, buf_bytes(&s->id));
	add_time_or_never(&expires, plan, s);
	ctl_table_text(&plan->examples, legacy_verdict_text(s->verdict));
	ctl_table_add(&plan->examples, buf_bytes(&hash));
	ctl_table_add(&plan->examples, buf_bytes(&s->user_id));
	ctl_table_add(&plan->examples, buf_bytes(&expires));
	ctl_table_text(&plan->examples, why);
	json_object(&plan->json, NULL);
	json_text(&plan->json, "verdict", legacy_verdict_text(s->verdict));
	json_string(&plan->json, "id_hash", buf_bytes(&hash));
	if (s->user_key != NULL) {
		json_string(&plan->json, "user_id", buf_bytes(&s->user_id));
		json_text(&plan->json, "user_key", s->user_key);
	}
	if (s->expires_ms != 0)
		json_int(&plan->json, "expires_at", s->expires_ms / 1000);
	if (s->why != NULL)
		json_text(&plan->json, "why", s->why);
	json_end(&plan->json);
	if (buf_failed(&hash) || buf_failed(&expires))
		plan->json_text.failed = true;
	buf_clear(&hash);
	buf_clear(&expires);
}

/* ---- reading ---- */

static void
count_user_key(struct plan *plan, const struct legacy_session *s)
{
	const char *const *keys = legacy_user_keys(&plan->settings);
	size_t i;

	for (i = 0; i < USER_KEYS_MAX && keys[i] != NULL; i++)
		if (keys[i] == s->user_key)
			plan->by_user_key[i]++;
}

static void
count_live(struct plan *plan, const struct legacy_session *s)
{
	const struct legacy_dropped *dropped = &s->dropped;
	int64_t ours_ms =
	    plan->now_ms + plan->conf->session.absolute_timeout_ms;

	plan->sooner += s->expires_ms == 0 || s->expires_ms > ours_ms;
	plan->no_data += dropped->data;
	plan->not_text += dropped->not_text;
	plan->unknown += dropped->unknown;
	plan->too_deep += dropped->too_deep;
	plan->passwords += dropped->passwords;
	plan->ending += dropped->ending;
	count_user_key(plan, s);
}

static enum sgate_status
take_session(
    struct plan *plan, const struct legacy_raw *raw, struct sgate_error *err)
{
	struct legacy_session session;
	bool is_new = true;
	enum sgate_status status;

	if (!met_add(&plan->met, raw->id, &is_new))
		return SGATE_NO_MEMORY;
	if (!is_new)
		return SGATE_OK;
	status =
	    legacy_decode(&plan->settings, raw, plan->now_ms, &session, err);
	if (status == SGATE_OK) {
		if (plan->counts[session.verdict]++ < EXAMPLES_EACH)
			add_example(plan, &session);
		if (session.verdict == LEGACY_LIVE)
			count_live(plan, &session);
		plan->bad_users +=
		    session.verdict == LEGACY_NO_USER && session.dropped.user;
	}
	legacy_session_clear(&session);
	return status;
}

static enum ctl_exit
read_all(struct plan *plan)
{
	struct legacy_source *source;
	struct sgate_error err = {0};
	struct legacy_raw raw;
	enum sgate_status status;

	status = legacy_source_open(&plan->settings, &source, &err);
	if (status != SGATE_OK)
		return ctl_fail_error(&err);
	do {
		status = legacy_source_next(source, &raw, &err);
		if (status == SGATE_OK)
			status = take_session(plan, &raw, &err);
	} while (status == SGATE_OK);
	legacy_source_close(source);
	if (status == SGATE_NO_MEMORY)
		return ctl_fail_memory();
	return status == SGATE_NOT_FOUND ? CTL_YES : ctl_fail_error(&err);
}

/* ---- what is said ---- */

static const char *const fates[VERDICTS] = {
    [LEGACY_LIVE] = "would go on here, with their users logged in",
    [LEGACY_EXPIRED] = "would not come along: their time is over",
    [LEGACY_ENDED] = "would not come along: they were ended there",
    [LEGACY_NO_USER] = "would not come along: nobody is logged in by them",
    [LEGACY_UNDECODABLE] = "would stay as they are: see why below",
};

static void
add_count(struct buf *out, int64_t count, const char *one, const char *many)
{
	if (count == 0)
		return;
	buf_printf(out, "%s%" PRId64 " %s", out->len == 0 ? "" : ", ", count,
	    count == 1 ? one : many);
}

static void
add_dropped(struct buf *out, const struct plan *plan)
{
	add_count(out, plan->no_data,
	    "session's whole data (more than ours may have)",
	    "sessions' whole data (more than ours may have)");
	add_count(out, plan->not_text, "text that is no UTF-8",
	    "texts that are no UTF-8");
	add_count(out, plan->unknown, "value that JSON has no word for",
	    "values that JSON has no word for");
	add_count(out, plan->too_deep, "value nested too deeply",
	    "values nested too deeply");
	add_count(out, plan->ending, "value with an end of its own",
	    "values with an end of their own");
	add_count(out, plan->passwords, "password in clear",
	    "passwords in clear: whoever can read that store has them");
}

static void
add_user_keys(struct buf *out, const struct plan *plan)
{
	const char *const *keys = legacy_user_keys(&plan->settings);
	size_t i;

	for (i = 0; i < USER_KEYS_MAX && keys[i] != NULL; i++)
		if (plan->by_user_key[i] > 0)
			buf_printf(out, "%s%s (%" PRId64 ")",
			    out->len == 0 ? "" : ", ", keys[i],
			    plan->by_user_key[i]);
}

/* Where it was looked, when nothing was there. */
static void
add_looked(struct buf *out, const struct plan *plan)
{
	const char *const *keys = legacy_user_keys(&plan->settings);
	size_t i;

	for (i = 0; keys[i] != NULL; i++)
		buf_printf(out, "%s%s", i == 0 ? "" : ", ", keys[i]);
}

static void
print_notes(const struct plan *plan)
{
	struct buf text = {0}, notes = {0};

	add_user_keys(&text, plan);
	if (text.len > 0)
		buf_printf(&notes, "The user stands in: %s\n", buf_text(&text));
	if (plan->counts[LEGACY_NO_USER] > 0) {
		buf_reset(&text);
		add_looked(&text, plan);
		buf_printf(&notes,
		    "Without user: none of %s says who it is. If another name "
		    "does: --user-key NAME\n",
		    buf_text(&text));
	}
	if (plan->bad_users > 0)
		buf_printf(&notes,
		    "Of those %" PRId64
		    " have a name of over 128 bytes or with control "
		    "characters, which no user of ours can have\n",
		    plan->bad_users);
	if (plan->sooner > 0)
		buf_printf(&notes,
		    "Would end sooner than there: %" PRId64
		    " (session.absolute_timeout)\n",
		    plan->sooner);
	buf_reset(&text);
	add_dropped(&text, plan);
	if (text.len > 0)
		buf_printf(&notes, "Would be left out: %s\n", buf_text(&text));
	fputs(buf_text(&notes), stdout);
	buf_clear(&text);
	buf_clear(&notes);
}

static enum ctl_exit
print_text(struct plan *plan)
{
	struct ctl_table table;
	struct buf text = {0};
	enum ctl_exit code;
	size_t i;

	ctl_table_init(&table, 3,
	    (const char *const[]){"SESSIONS", "HOW MANY",
		"WHAT WOULD BECOME "
		"OF THEM"});
	for (i = 0; i < VERDICTS; i++) {
		if (plan->counts[i] == 0 && i != LEGACY_LIVE)
			continue;
		ctl_table_text(
		    &table, legacy_verdict_text((enum legacy_verdict)i));
		ctl_table_int(&table, plan->counts[i]);
		ctl_table_text(&table, fates[i]);
	}
	code = ctl_print(&table);
	if (code != CTL_YES)
		return code;
	buf_printf(&text, "\nRead in ");
	ctl_add_duration(&text, clock_monotonic_ms() - plan->began_ms);
	buf_add_text(&text, ", and nothing was written.\n");
	fputs(buf_text(&text), stdout);
	buf_clear(&text);
	print_notes(plan);
	puts("\nExamples:");
	return ctl_table_print(&plan->examples, stdout) ? CTL_YES
							: ctl_fail_memory();
}

static enum ctl_exit
print_json(struct plan *plan)
{
	static const char *const names[VERDICTS] = {[LEGACY_LIVE] = "live",
	    [LEGACY_EXPIRED] = "expired",
	    [LEGACY_ENDED] = "ended",
	    [LEGACY_NO_USER] = "without_user",
	    [LEGACY_UNDECODABLE] = "undecodable"};
	const char *const *keys = legacy_user_keys(&plan->settings);
	struct json *json = &plan->json;
	size_t i;

	json_end(json); /* examples */
	json_object(json, "sessions");
	for (i = 0; i < VERDICTS; i++)
		json_int(json, names[i], plan->counts[i]);
	json_end(json);
	json_object(json, "user_keys");
	for (i = 0; i < USER_KEYS_MAX && keys[i] != NULL; i++)
		if (plan->by_user_key[i] > 0)
			json_int(json, keys[i], plan->by_user_key[i]);
	json_end(json);
	json_int(json, "would_end_sooner", plan->sooner);
	json_object(json, "left_out");
	json_int(json, "data", plan->no_data);
	json_int(json, "not_text", plan->not_text);
	json_int(json, "unknown", plan->unknown);
	json_int(json, "too_deep", plan->too_deep);
	json_int(json, "passwords", plan->passwords);
	json_int(json, "ending", plan->ending);
	json_end(json);
	json_int(json, "read_ms", clock_monotonic_ms() - plan->began_ms);
	json_end(json);
	if (buf_failed(&plan->json_text))
		return ctl_fail_memory();
	puts(buf_text(&plan->json_text));
	return CTL_YES;
}

static enum ctl_exit
print_plan(const struct ctl *ctl, struct plan *plan)
{
	const char *prefix = legacy_prefix(&plan->settings);
	enum ctl_exit code;

	if (buf_failed(&plan->json_text))
		return ctl_fail_memory();
	if (plan->met.count == 0 && !ctl->json && prefix[0] != '\0')
		return ctl_fail(CTL_NO,
		    "%s: no session whose name begins with \"%s\"; if they "
		    "have another prefix: --prefix TEXT",
		    plan->settings.place, prefix);
	if (plan->met.count == 0 && !ctl->json)
		return ctl_fail(
		    CTL_NO, "%s: there is no session", plan->settings.place);
	code = ctl->json ? print_json(plan) : print_text(plan);
	return code == CTL_YES && plan->met.count == 0 ? CTL_NO : code;
}

enum ctl_exit
ctl_import_plan(struct ctl *ctl)
{
	static const char *const headers[] = {
	    "SESSION", "HASH OF ITS ID", "USER", "ENDS", "WHY"};
	struct plan plan = {
	    .now_ms = ctl->now_ms, .began_ms = clock_monotonic_ms()};
	enum ctl_exit code = take_settings(ctl, &plan);

	if (code == CTL_YES && sodium_init() < 0)
		code = ctl_fail(CTL_UNAVAILABLE, "libsodium does not start");
	ctl_table_init(&plan.examples, 5, headers);
	json_init(&plan.json, &plan.json_text);
	json_object(&plan.json, NULL);
	json_array(&plan.json, "examples");
	if (code == CTL_YES)
		code = read_all(&plan);
	if (code == CTL_YES)
		code = print_plan(ctl, &plan);
	ctl_table_clear(&plan.examples);
	buf_clear(&plan.json_text);
	free(plan.met.slots);
	explicit_bzero(plan.password, sizeof(plan.password));
	explicit_bzero(plan.secret, sizeof(plan.secret));
	return code;
}
