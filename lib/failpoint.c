/* Reading SESSGATE_FAILPOINTS. Empty without `configure --enable-failpoints`.
 */
#include "config.h"

#include "failpoint.h"

#ifdef SESSGATE_FAILPOINTS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* "off", "pause:300" or "kill" behind "name="; NULL when it is not named. */
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
pause_ms(long ms)
{
	struct timespec left = {
	    .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	while (nanosleep(&left, &left) != 0)
		continue;
}

void
failpoint(const char *name)
{
	size_t len;
	const char *value = find_value(name, &len);

	if (value == NULL)
		return;
	if (strncmp(value, "pause:", strlen("pause:")) == 0)
		pause_ms(strtol(value + strlen("pause:"), NULL, 10));
	else if (len == strlen("kill") && strncmp(value, "kill", len) == 0)
		raise(SIGKILL);
}

#endif
