/*
 * What is set for all hosts at once, as one host knows it: maintenance, and the
 * moments before which sessions are flushed. It stands in the durable store's
 * table `setting`, a row a kind; the keeper's rounds bring it here whenever its
 * number (group 255) has changed. No I/O.
 *
 * One word says of nearly every session that nothing here concerns it: when the
 * session was created decides. Only an older one is judged by its realm and
 * roles.
 *
 * Written whole, into a slot that nobody reads, and then made the current one:
 * a writer that is killed leaves nothing half done. Readers copy, and look
 * whether anybody wrote meanwhile.
 *
 * Zeros: nothing is known, and then nobody can be judged.
 */
#ifndef SESSGATE_SETTINGS_H
#define SESSGATE_SETTINGS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "record.h"

/* Of different realms, all of them at once being one. */
#define SETTINGS_MAINTENANCES 8
/* Of different realms and roles; a later moment takes an earlier one's place,
 * and one that no session can be older than is forgotten. */
#define SETTINGS_FLUSHES 32
#define SETTINGS_ROLES_MAX 255 /* bytes of a list */
#define SETTINGS_REASON_MAX 200

/* Rows of the table. */
#define SETTINGS_MAINTENANCE "maintenance"
#define SETTINGS_FLUSH "flush"

struct settings_where {
	bool is_all; /* realms */
	char realm[SESSION_REALM_MAX + 1];
};

struct settings_maintenance {
	struct settings_where where;
	bool is_emergency;
	int64_t since_ms, until_ms;         /* 0: until it is ended */
	char roles[SETTINGS_ROLES_MAX + 1]; /* let through; by commas */
	char reason[SETTINGS_REASON_MAX + 1];
};

enum settings_whom { SETTINGS_ALL, SETTINGS_WITH, SETTINGS_WITHOUT };

struct settings_flush {
	struct settings_where where;
	enum settings_whom whom; /* all; who has one of the roles; who has none
				  */
	int64_t before_ms;       /* created before that: flushed */
	int64_t needed_until_ms; /* then none of those lives any more */
	char roles[SETTINGS_ROLES_MAX + 1];
};

struct settings {
	/* Of which poll: a database, its epoch, and the number and 1. */
	struct record_store store;
	uint64_t number; /* 0: not known */
	uint32_t maintenances_count, flushes_count;
	struct settings_maintenance maintenances[SETTINGS_MAINTENANCES];
	struct settings_flush flushes[SETTINGS_FLUSHES];
};

/* ---- their text ---- */

/*
 * The value of a row, a line an entry. read: false: not what these functions
 * write, and nothing was set. `out` has the entries of the other row already.
 */
void settings_write_maintenances(
    const struct settings *settings, struct buf *out);
void settings_write_flushes(const struct settings *settings, struct buf *out);
SGATE_MUST_CHECK bool settings_read_maintenances(
    struct sgate_bytes text, struct settings *out);
SGATE_MUST_CHECK bool settings_read_flushes(
    struct sgate_bytes text, struct settings *out);

/* ---- changing them ---- */

/* False: there is no room. */
SGATE_MUST_CHECK bool settings_add_maintenance(
    struct settings *settings, const struct settings_maintenance *entry);
/* All realms: of all of them. False: there was none. */
bool settings_end_maintenance(
    struct settings *settings, const struct settings_where *where);
/* What it makes needless goes, and so does what is not needed any more. */
SGATE_MUST_CHECK bool settings_add_flush(struct settings *settings,
    const struct settings_flush *entry, int64_t now_ms);

/* ---- judging by them ---- */

bool settings_flushed(const struct settings *settings, const char *realm,
    struct sgate_bytes roles, int64_t created_ms);
/* The moment that none of those who are flushed there was created at or behind;
 * 0: nobody is. */
int64_t settings_flushed_until(const struct settings *settings,
    const char *realm, struct sgate_bytes roles);
/* Every live session that was created before this one is flushed. */
int64_t settings_all_flushed_before(const struct settings *settings);
/* Every session of whatever realm and roles that is not, was created later. */
int64_t settings_any_flushed_before(const struct settings *settings);
/*
 * What holds a session back, or its creation (is_new); NULL: nothing. roles:
 * the session's, by commas.
 */
const struct settings_maintenance *settings_holding(
    const struct settings *settings, const char *realm,
    struct sgate_bytes roles, bool is_new, int64_t now_ms);
/* What is in force in a realm, the strictest of them; NULL: nothing. */
const struct settings_maintenance *settings_in_force(
    const struct settings *settings, const char *realm, int64_t now_ms);

/* ---- what all processes of a host share ---- */

#define SETTINGS_SLOTS 4
struct settings_slot {
	_Atomic uint64_t turn; /* odd: it is being written */
	struct settings settings;
};
struct settings_shared {
	/* Sessions that were created before this, less 1, are to be judged; 0:
	 * all of them, because nothing is known. */
	_Atomic uint64_t concerns;
	/* clock_boot_ms(): the question began whose answer showed that this is
	 * what is set. */
	_Atomic int64_t polled_ms;
	_Atomic uint64_t published; /* so often */
	_Atomic uint32_t current;
	struct settings_slot slots[SETTINGS_SLOTS];
};

/* False: none of them concerns it, and they are known. */
static inline bool
settings_may_concern(const struct settings_shared *shared, int64_t created_ms)
{
	return (uint64_t)created_ms <
	       atomic_load_explicit(&shared->concerns, memory_order_acquire) -
		   1;
}
static inline bool
settings_are_known(const struct settings_shared *shared)
{
	return atomic_load_explicit(&shared->concerns, memory_order_acquire) !=
	       0;
}
/* False: not known. */
SGATE_MUST_CHECK bool settings_get(
    const struct settings_shared *shared, struct settings *out);
void settings_publish(struct settings_shared *shared,
    const struct settings *settings, int64_t now_ms);
/* They are not known any more. */
void settings_forget(struct settings_shared *shared);
/* What has begun or ended by itself. */
void settings_watch(struct settings_shared *shared, int64_t now_ms);
/* Whether these are what a poll has shown. */
bool settings_are_of(const struct settings_shared *shared,
    const struct record_store *store, uint64_t number);

#endif
