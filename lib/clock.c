/* Reading the clocks, and time as text. */
#include "config.h"

#include "clock.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int64_t
read_us(clockid_t id)
{
	struct timespec now;

	/* Cannot fail for these clocks: their ids are constants. */
	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000000 +
	       (int64_t)((uint64_t)now.tv_nsec / 1000);
}

static int64_t
read_ms(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000 +
	       (int64_t)((uint64_t)now.tv_nsec / 1000000);
}

int64_t
clock_utc_ms(void)
{
	return read_ms(CLOCK_REALTIME);
}

int64_t
clock_monotonic_ms(void)
{
	return read_ms(CLOCK_MONOTONIC);
}

int64_t
clock_monotonic_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

int64_t
clock_boot_ms(void)
{
	return read_ms(CLOCK_BOOTTIME);
}

int64_t
clock_kept_waiting_us(void)
{
	char text[128];
	long long ran, waited;
	ssize_t len;
	int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return 0;
	text[len] = '\0';
	return sscanf(text, "%lld %lld", &ran, &waited) == 2 ? waited / 1000
							     : 0;
}

int
clock_left_ms(int64_t deadline_ms)
{
	int64_t now_ms = clock_monotonic_ms();

	if (deadline_ms <= now_ms)
		return 0;
	return deadline_ms - now_ms > INT_MAX ? INT_MAX
					      : (int)(deadline_ms - now_ms);
}

void
clock_text(int64_t utc_ms, char out[25])
{
	const int64_t max_ms = INT64_C(253402300799999); /* the year 9999 */
	char seconds[20];
	struct tm tm;
	time_t t;

	if (utc_ms < 0)
		utc_ms = 0;
	if (utc_ms > max_ms)
		utc_ms = max_ms;
	t = (time_t)(utc_ms / 1000);
	gmtime_r(&t, &tm);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, 25, "%s.%03uZ", seconds, (unsigned)(utc_ms % 1000));
}
