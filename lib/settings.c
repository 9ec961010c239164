/*
 * The text of a row. Of maintenance, a line an entry:
 *   normal|emergency WHERE SINCE UNTIL ROLES REASON
 * and of flushes:
 *   WHERE BEFORE NEEDED-UNTIL WHOM
 * WHERE is "*", all realms, or "=" and a realm's name; ROLES are "=" and names
 * by commas; WHOM is "*", everybody, or "=" and the roles of whom, or "!" and
 * the roles of whom not. Times are UTC milliseconds. The reason is the rest.
 * A newer version may write something else: that is not understood, and then it
 * is not known what is set.
 */
#include "config.h"

#include "settings.h"

#include <inttypes.h>
#include <string.h>

#define READS_MAX 16
#define TAKES_MAX 8

/* ---- roles and realms ---- */

static bool
have_common(struct sgate_bytes a, struct sgate_bytes b)
{
	while (a.len > 0) {
		struct sgate_bytes one = bytes_cut(&a, ','), rest = b;

		while (one.len > 0 && rest.len > 0)
			if (bytes_equal(bytes_cut(&rest, ','), one))
				return true;
	}
	return false;
}

static bool
covers(const struct settings_where *where, const char *realm)
{
	return where->is_all || strcmp(where->realm, realm) == 0;
}

static bool
is_same_where(const struct settings_where *a, const struct settings_where *b)
{
	return a->is_all == b->is_all &&
	       (a->is_all || strcmp(a->realm, b->realm) == 0);
}

/* ---- writing ---- */

static void
write_where(const struct settings_where *where, struct buf *out)
{
	buf_add_char(out, where->is_all ? '*' : '=');
	if (!where->is_all)
		buf_add_text(out, where->realm);
}

void
settings_write_maintenances(const struct settings *settings, struct buf *out)
{
	const struct settings_maintenance *m;
	uint32_t i;

	for (i = 0; i < settings->maintenances_count; i++) {
		m = &settings->maintenances[i];
		buf_add_text(out, m->is_emergency ? "emergency " : "normal ");
		write_where(&m->where, out);
		buf_printf(out, " %" PRId64 " %" PRId64 " =%s %s\n",
		    m->since_ms, m->until_ms, m->roles, m->reason);
	}
}

void
settings_write_flushes(const struct settings *settings, struct buf *out)
{
	static const char signs[] = {'*', '=', '!'};
	const struct settings_flush *f;
	uint32_t i;

	for (i = 0; i < settings->flushes_count; i++) {
		f = &settings->flushes[i];
		write_where(&f->where, out);
		buf_printf(out, " %" PRId64 " %" PRId64 " %c%s\n", f->before_ms,
		    f->needed_until_ms, signs[f->whom],
		    f->whom == SETTINGS_ALL ? "" : f->roles);
	}
}

/* ---- reading ---- */

static bool
copy(char *out, size_t size, struct sgate_bytes text)
{
	if (text.len >= size)
		return false;
	if (text.len > 0)
		memcpy(out, text.data, text.len);
	out[text.len] = '\0';
	return true;
}

static bool
read_where(struct sgate_bytes text, struct settings_where *out)
{
	memset(out, 0, sizeof(*out));
	out->is_all = bytes_equal_text(text, "*");
	if (out->is_all)
		return true;
	if (text.len == 0 || text.data[0] != '=')
		return false;
	text.data++;
	text.len--;
	return (text.len == 0 ||
		   bytes_is_name(text, SESSION_REALM_MAX, "._-")) &&
	       copy(out->realm, sizeof(out->realm), text);
}

static bool
read_time(struct sgate_bytes text, int64_t *out)
{
	uint64_t value;

	if (!bytes_to_uint(text, INT64_MAX, &value))
		return false;
	*out = (int64_t)value;
	return true;
}

/* Behind a sign of its own; names that no role can have are refused. */
static bool
read_roles(struct sgate_bytes text, char sign, char out[SETTINGS_ROLES_MAX + 1])
{
	struct sgate_bytes rest;

	if (text.len == 0 || text.data[0] != sign)
		return false;
	text.data++;
	text.len--;
	for (rest = text; rest.len > 0;)
		if (!bytes_is_name(
			bytes_cut(&rest, ','), SESSION_ROLE_MAX, "._:-"))
			return false;
	return copy(out, SETTINGS_ROLES_MAX + 1, text);
}

static bool
read_maintenance(struct sgate_bytes line, struct settings_maintenance *out)
{
	struct sgate_bytes mode = bytes_cut(&line, ' ');
	struct sgate_bytes where = bytes_cut(&line, ' ');
	struct sgate_bytes since = bytes_cut(&line, ' ');
	struct sgate_bytes until = bytes_cut(&line, ' ');
	struct sgate_bytes roles = bytes_cut(&line, ' ');

	memset(out, 0, sizeof(*out));
	out->is_emergency = bytes_equal_text(mode, "emergency");
	return (out->is_emergency || bytes_equal_text(mode, "normal")) &&
	       read_where(where, &out->where) &&
	       read_time(since, &out->since_ms) &&
	       read_time(until, &out->until_ms) &&
	       read_roles(roles, '=', out->roles) && line.data != NULL &&
	       bytes_is_utf8(line) && !bytes_has_control(line) &&
	       copy(out->reason, sizeof(out->reason), line);
}

static bool
read_flush(struct sgate_bytes line, struct settings_flush *out)
{
	struct sgate_bytes where = bytes_cut(&line, ' ');
	struct sgate_bytes before = bytes_cut(&line, ' ');
	struct sgate_bytes needed = bytes_cut(&line, ' ');

	memset(out, 0, sizeof(*out));
	if (!read_where(where, &out->where) ||
	    !read_time(before, &out->before_ms) || out->before_ms <= 0 ||
	    !read_time(needed, &out->needed_until_ms))
		return false;
	out->whom = SETTINGS_ALL;
	if (bytes_equal_text(line, "*"))
		return true;
	out->whom = SETTINGS_WITH;
	if (read_roles(line, '=', out->roles))
		return out->roles[0] != '\0';
	out->whom = SETTINGS_WITHOUT;
	return read_roles(line, '!', out->roles) && out->roles[0] != '\0';
}

bool
settings_read_maintenances(struct sgate_bytes text, struct settings *out)
{
	out->maintenances_count = 0;
	while (text.len > 0) {
		if (out->maintenances_count == SETTINGS_MAINTENANCES ||
		    !read_maintenance(bytes_cut(&text, '\n'),
			&out->maintenances[out->maintenances_count])) {
			out->maintenances_count = 0;
			return false;
		}
		out->maintenances_count++;
	}
	return true;
}

bool
settings_read_flushes(struct sgate_bytes text, struct settings *out)
{
	out->flushes_count = 0;
	while (text.len > 0) {
		if (out->flushes_count == SETTINGS_FLUSHES ||
		    !read_flush(bytes_cut(&text, '\n'),
			&out->flushes[out->flushes_count])) {
			out->flushes_count = 0;
			return false;
		}
		out->flushes_count++;
	}
	return true;
}

/* ---- changing ---- */

static void
remove_maintenance(struct settings *s, uint32_t index)
{
	s->maintenances[index] = s->maintenances[--s->maintenances_count];
}

bool
settings_end_maintenance(
    struct settings *settings, const struct settings_where *where)
{
	uint32_t i = 0, before = settings->maintenances_count;

	while (i < settings->maintenances_count) {
		if (where->is_all ||
		    is_same_where(&settings->maintenances[i].where, where))
			remove_maintenance(settings, i);
		else
			i++;
	}
	return settings->maintenances_count < before;
}

bool
settings_add_maintenance(
    struct settings *settings, const struct settings_maintenance *entry)
{
	uint32_t i;

	for (i = 0; i < settings->maintenances_count; i++)
		if (is_same_where(
			&settings->maintenances[i].where, &entry->where))
			break;
	/* One that is over by itself makes room. */
	if (i == SETTINGS_MAINTENANCES)
		for (i = 0; i < SETTINGS_MAINTENANCES; i++)
			if (settings->maintenances[i].until_ms != 0 &&
			    settings->maintenances[i].until_ms <=
				entry->since_ms)
				break;
	if (i == SETTINGS_MAINTENANCES)
		return false;
	settings->maintenances[i] = *entry;
	if (i == settings->maintenances_count)
		settings->maintenances_count++;
	return true;
}

/* Whoever `old` means, `entry` means too. */
static bool
makes_needless(
    const struct settings_flush *entry, const struct settings_flush *old)
{
	if (old->before_ms > entry->before_ms ||
	    !(entry->where.is_all || is_same_where(&entry->where, &old->where)))
		return false;
	return entry->whom == SETTINGS_ALL ||
	       (entry->whom == old->whom &&
		   strcmp(entry->roles, old->roles) == 0);
}

bool
settings_add_flush(struct settings *settings,
    const struct settings_flush *entry, int64_t now_ms)
{
	uint32_t i = 0;

	while (i < settings->flushes_count) {
		struct settings_flush *old = &settings->flushes[i];

		if (old->needed_until_ms < now_ms || makes_needless(entry, old))
			*old = settings->flushes[--settings->flushes_count];
		else if (makes_needless(old, entry))
			return true;
		else
			i++;
	}
	if (settings->flushes_count == SETTINGS_FLUSHES)
		return false;
	settings->flushes[settings->flushes_count++] = *entry;
	return true;
}

/* ---- judging ---- */

static bool
means(const struct settings_flush *flush, struct sgate_bytes roles)
{
	switch (flush->whom) {
	case SETTINGS_ALL:
		return true;
	case SETTINGS_WITH:
		return have_common(roles, bytes_of(flush->roles));
	case SETTINGS_WITHOUT:
		return !have_common(roles, bytes_of(flush->roles));
	}
	return true;
}

int64_t
settings_flushed_until(const struct settings *settings, const char *realm,
    struct sgate_bytes roles)
{
	int64_t until_ms = 0;
	uint32_t i;

	for (i = 0; i < settings->flushes_count; i++)
		if (settings->flushes[i].before_ms > until_ms &&
		    covers(&settings->flushes[i].where, realm) &&
		    means(&settings->flushes[i], roles))
			until_ms = settings->flushes[i].before_ms;
	return until_ms;
}

bool
settings_flushed(const struct settings *settings, const char *realm,
    struct sgate_bytes roles, int64_t created_ms)
{
	return created_ms < settings_flushed_until(settings, realm, roles);
}

int64_t
settings_all_flushed_before(const struct settings *settings)
{
	int64_t before_ms = 0;
	uint32_t i;

	for (i = 0; i < settings->flushes_count; i++)
		if (settings->flushes[i].where.is_all &&
		    settings->flushes[i].whom == SETTINGS_ALL &&
		    settings->flushes[i].before_ms > before_ms)
			before_ms = settings->flushes[i].before_ms;
	return before_ms;
}

int64_t
settings_any_flushed_before(const struct settings *settings)
{
	int64_t before_ms = 0;
	uint32_t i;

	for (i = 0; i < settings->flushes_count; i++)
		if (settings->flushes[i].before_ms > before_ms)
			before_ms = settings->flushes[i].before_ms;
	return before_ms;
}

static bool
is_in_force(const struct settings_maintenance *m, int64_t now_ms)
{
	return m->until_ms == 0 || now_ms < m->until_ms;
}

const struct settings_maintenance *
settings_holding(const struct settings *settings, const char *realm,
    struct sgate_bytes roles, bool is_new, int64_t now_ms)
{
	const struct settings_maintenance *m, *found = NULL;
	uint32_t i;

	for (i = 0; i < settings->maintenances_count; i++) {
		m = &settings->maintenances[i];
		if (!is_in_force(m, now_ms) || !covers(&m->where, realm) ||
		    (!m->is_emergency && !is_new) ||
		    have_common(roles, bytes_of(m->roles)))
			continue;
		if (found == NULL || m->is_emergency)
			found = m;
	}
	return found;
}

const struct settings_maintenance *
settings_in_force(
    const struct settings *settings, const char *realm, int64_t now_ms)
{
	const struct sgate_bytes nobody = {NULL, 0};

	return settings_holding(settings, realm, nobody, true, now_ms);
}

/* ---- shared ---- */

/* Counts and texts may have been written by anybody who broke in. */
static bool
copy_slot(const struct settings_slot *slot, struct settings *out)
{
	const struct settings *from = &slot->settings;
	uint32_t i;

	out->store = from->store;
	out->number = from->number;
	out->maintenances_count = from->maintenances_count;
	out->flushes_count = from->flushes_count;
	if (out->maintenances_count > SETTINGS_MAINTENANCES ||
	    out->flushes_count > SETTINGS_FLUSHES)
		return false;
	for (i = 0; i < out->maintenances_count; i++) {
		struct settings_maintenance *m = &out->maintenances[i];

		*m = from->maintenances[i];
		m->where.realm[sizeof(m->where.realm) - 1] = '\0';
		m->roles[sizeof(m->roles) - 1] = '\0';
		m->reason[sizeof(m->reason) - 1] = '\0';
	}
	for (i = 0; i < out->flushes_count; i++) {
		struct settings_flush *f = &out->flushes[i];

		*f = from->flushes[i];
		f->where.realm[sizeof(f->where.realm) - 1] = '\0';
		f->roles[sizeof(f->roles) - 1] = '\0';
	}
	return true;
}

bool
settings_get(const struct settings_shared *shared, struct settings *out)
{
	const struct settings_slot *slot;
	uint64_t turn;
	bool is_sound;
	int tries;

	for (tries = 0; tries < READS_MAX; tries++) {
		slot = &shared->slots[atomic_load(&shared->current) %
				      SETTINGS_SLOTS];
		turn = atomic_load(&slot->turn);
		is_sound = copy_slot(slot, out);
		atomic_thread_fence(memory_order_acquire);
		if (turn % 2 == 0 && atomic_load(&slot->turn) == turn)
			return is_sound && out->number != 0;
	}
	return false;
}

/* A slot that nobody reads or writes; after some tries also one whose writer
 * was killed, as all three of them can only be then. */
static uint32_t
take_slot(struct settings_shared *shared, uint64_t *out_turn)
{
	uint32_t current = atomic_load(&shared->current), i, index;
	uint64_t turn;
	int tries;

	for (tries = 0; tries < TAKES_MAX; tries++)
		for (i = 1; i < SETTINGS_SLOTS; i++) {
			index = (current + i) % SETTINGS_SLOTS;
			turn = atomic_load(&shared->slots[index].turn);
			if (turn % 2 != 0 && tries < TAKES_MAX - 1)
				continue;
			*out_turn = turn + 1 + turn % 2;
			if (atomic_compare_exchange_strong(
				&shared->slots[index].turn, &turn, *out_turn))
				return index;
		}
	return SETTINGS_SLOTS;
}

/* What is set later does not wait for what is written now: the next round sees
 * that these are not what was polled. */
void
settings_publish(struct settings_shared *shared,
    const struct settings *settings, int64_t now_ms)
{
	uint64_t turn;
	uint32_t index = take_slot(shared, &turn);

	if (index == SETTINGS_SLOTS)
		return;
	atomic_thread_fence(memory_order_release);
	shared->slots[index].settings = *settings;
	if (!atomic_compare_exchange_strong(
		&shared->slots[index].turn, &turn, turn + 1))
		return;
	atomic_store(&shared->current, index);
	atomic_fetch_add(&shared->published, 1);
	settings_watch(shared, now_ms);
}

void
settings_forget(struct settings_shared *shared)
{
	static const struct settings nothing;

	atomic_store(&shared->concerns, 0);
	settings_publish(shared, &nothing, 0);
}

static uint64_t
concerns_of(const struct settings *settings, int64_t now_ms)
{
	uint32_t i;

	for (i = 0; i < settings->maintenances_count; i++)
		if (settings->maintenances[i].is_emergency &&
		    is_in_force(&settings->maintenances[i], now_ms))
			return UINT64_MAX;
	return (uint64_t)settings_any_flushed_before(settings) + 1;
}

void
settings_watch(struct settings_shared *shared, int64_t now_ms)
{
	struct settings settings;
	uint32_t current;
	int tries = 0;

	do {
		current = atomic_load(&shared->current);
		atomic_store(
		    &shared->concerns, settings_get(shared, &settings)
					   ? concerns_of(&settings, now_ms)
					   : 0);
	} while (
	    atomic_load(&shared->current) != current && ++tries < READS_MAX);
}

bool
settings_are_of(const struct settings_shared *shared,
    const struct record_store *store, uint64_t number)
{
	struct settings settings;

	return settings_get(shared, &settings) &&
	       settings.number == number + 1 &&
	       settings.store.epoch == store->epoch &&
	       memcmp(settings.store.id, store->id, sizeof(store->id)) == 0;
}
