/*
 * For fuzz targets. A target is one function that takes any bytes and stops
 * the process where what must hold does not. scripts/fuzz builds it with
 * libFuzzer, `make check` runs it over its corpus (corpus.c).
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sessgate.h"

/* libFuzzer's name for it; always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                        \
	do {                                                                   \
		if (!(condition)) {                                            \
			fprintf(stderr, "%s:%d: does not hold: %s\n",          \
			    __FILE__, __LINE__, #condition);                   \
			abort();                                               \
		}                                                              \
	} while (0)

/* What is left of an input. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* The next byte; 0 behind the end. */
static inline unsigned
fuzz_byte(struct fuzz_input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

static inline struct sgate_bytes
fuzz_rest(const struct fuzz_input *in)
{
	return (struct sgate_bytes){(const char *)in->at, in->left};
}

/* What stands before the next newline, or all. */
static inline struct sgate_bytes
fuzz_line(struct fuzz_input *in)
{
	struct sgate_bytes line = fuzz_rest(in);
	const uint8_t *end =
	    in->left > 0 ? memchr(in->at, '\n', in->left) : NULL;

	if (end != NULL)
		line.len = (size_t)(end - in->at);
	in->at += line.len + (end != NULL);
	in->left -= line.len + (end != NULL);
	return line;
}

/* Up to so many bytes. */
static inline struct sgate_bytes
fuzz_take(struct fuzz_input *in, size_t len)
{
	struct sgate_bytes part = {(const char *)in->at, len};

	if (part.len > in->left)
		part.len = in->left;
	in->at += part.len;
	in->left -= part.len;
	return part;
}

#endif
