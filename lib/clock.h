/*
 * Time: UTC milliseconds for what is stored, monotonic milliseconds for
 * deadlines, milliseconds since boot for what outlives a process. Tests replace
 * the first, never the others.
 */
#ifndef SESSGATE_CLOCK_H
#define SESSGATE_CLOCK_H

#include <stdint.h>

int64_t clock_utc_ms(void);       /* CLOCK_REALTIME */
int64_t clock_monotonic_ms(void); /* CLOCK_MONOTONIC */
int64_t clock_monotonic_us(void);
int64_t clock_boot_ms(void); /* CLOCK_BOOTTIME: goes on through suspend */

/*
 * For how long this thread could have run and had to wait for a processor,
 * since it was made; 0 where the kernel does not say.
 */
int64_t clock_kept_waiting_us(void);

/* Milliseconds left until a monotonic deadline, 0 when past, for poll(). */
int clock_left_ms(int64_t deadline_ms);

/* "2026-11-22T14:03:05.123Z", 24 characters and a NUL. */
void clock_text(int64_t utc_ms, char out[25]);

#endif
