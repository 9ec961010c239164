/* Reading SESSGATE_FAILPOINTS. Empty without `configure --enable-failpoints`.
 */
#include "config.h"

#include "failpoint.h"

#ifdef SESSGATE_FAILPOINTS

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Made by the linker: where the section begins, and where it ends. Both are
 * NULL in a program without a failpoint. */
extern struct failpoint *const __start_sg_failpoints[] __attribute__((weak));
extern struct failpoint *const __stop_sg_failpoints[] __attribute__((weak));

/* "off", "pause:300" or "kill:2" behind "name="; NULL when it is not named. */
static const char *
find_value(const char *name, size_t *out_len)
{
	const char *item = getenv("SESSGATE_FAILPOINTS");
	size_t len = strlen(name);

	while (item != NULL) {
		if (strncmp(item, name, len) == 0 && item[len] == '=') {
			item += len + 1;
			*out_len = strcspn(item, ",");
			return item;
		}
		item = strchr(item, ',');
		if (item != NULL)
			item++;
	}
	return NULL;
}

bool
failpoint_is_off(const char *name)
{
	size_t len;
	const char *value = find_value(name, &len);

	return value != NULL && len == strlen("off") &&
	       strncmp(value, "off", len) == 0;
}

static void
pause_ms(unsigned long ms)
{
	struct timespec left = {.tv_sec = (time_t)(ms / 1000),
	    .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&left, &left) != 0)
		continue;
}

/* ":5" at *text, which goes on behind it; 0 when there is none. */
static unsigned long
take_number(const char **text)
{
	char *end;
	unsigned long number;

	if (**text != ':')
		return 0;
	number = strtoul(*text + 1, &end, 10);
	*text = end;
	return number;
}

static bool
take_word(const char **text, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*text, word, len) != 0)
		return false;
	*text += len;
	return true;
}

/* Whether it is meant for this time: none is given, or it is this one. */
static bool
is_now(const char *text, const struct failpoint *place)
{
	unsigned long at = take_number(&text);

	return at == 0 || at == place->reached;
}

bool
failpoint_reach(struct failpoint *place)
{
	unsigned long ms;
	size_t len;
	const char *value = find_value(place->name, &len);

	place->reached++;
	if (value == NULL)
		return false;
	if (take_word(&value, "pause")) {
		ms = take_number(&value);
		if (is_now(value, place))
			pause_ms(ms);
		return false;
	}
	if (take_word(&value, "kill")) {
		if (is_now(value, place))
			raise(SIGKILL);
		return false;
	}
	return take_word(&value, "error") && is_now(value, place);
}

size_t
failpoint_count(void)
{
	return (size_t)(__stop_sg_failpoints - __start_sg_failpoints);
}

const struct failpoint *
failpoint_get(size_t index)
{
	return __start_sg_failpoints[index];
}

void
failpoint_reset(void)
{
	size_t i;

	for (i = 0; i < failpoint_count(); i++)
		__start_sg_failpoints[i]->reached = 0;
}

#endif
