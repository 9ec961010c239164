/* hiredis' parser, for the two files of the driver that read what it says. */
#ifndef SESSGATE_CACHE_REDIS_READER_H
#define SESSGATE_CACHE_REDIS_READER_H

#include <hiredis.h>

#if HIREDIS_MAJOR >= 1
typedef size_t redb_list_length;
#else
typedef int redb_list_length;
#endif

#endif
