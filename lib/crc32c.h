/*
 * CRC-32C, the sum that tells a frame of the spool from bytes that are none. It
 * finds damage; it is no defence against who can write the file.
 */
#ifndef SESSGATE_CRC32C_H
#define SESSGATE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of what gave `crc` (0: of nothing) and then these bytes. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
