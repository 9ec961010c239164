#include "config.h"

#include "forks.h"

#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

static unsigned count;
static bool is_counted;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
happened(void)
{
	count++;
}

static void
watch(void)
{
	is_counted = pthread_atfork(NULL, NULL, happened) == 0;
}

unsigned
forks_count(void)
{
	pthread_once(&once, watch);
	/* Out of memory, so it is asked each time. */
	return is_counted ? count : (unsigned)getpid();
}
