/*
 * Key files for tests, in a directory of their own. The known keys are those
 * of tests/vectors.py: group key 00..1f, signing key 7 = 20..3f.
 */
#ifndef TESTS_KEYFILE_H
#define TESTS_KEYFILE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys.h"

#define KEYFILE_GROUP                                                          \
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEYFILE_KEY                                                            \
	"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
#define KEYFILE_OTHER                                                          \
	"404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
#define KEYFILE_KNOWN                                                          \
	"group " KEYFILE_GROUP "\nkey 7 " KEYFILE_KEY " 1700000000000 0\n"

struct keyfile {
	char directory[64];
	char path[80];
};

static inline void
keyfile_init(struct keyfile *file)
{
	snprintf(file->directory, sizeof(file->directory),
	    "/tmp/sessgate-test.XXXXXX");
	if (mkdtemp(file->directory) == NULL)
		abort();
	snprintf(file->path, sizeof(file->path), "%s/keys", file->directory);
}

static inline void
keyfile_write(
    const struct keyfile *file, const char *text, size_t len, mode_t mode)
{
	int fd;

	unlink(file->path);
	fd = open(file->path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len ||
	    fchmod(fd, mode) != 0 || close(fd) != 0)
		abort();
}

static inline void
keyfile_clear(const struct keyfile *file)
{
	unlink(file->path);
	if (rmdir(file->directory) != 0)
		abort(); /* something was left behind */
}

/* The keys of a file with this text. Free with keys_free(). */
static inline struct keys *
keyfile_keys(const char *text)
{
	struct sgate_error err;
	struct keyfile file;
	struct keys *keys;

	keyfile_init(&file);
	keyfile_write(&file, text, strlen(text), 0640);
	if (keys_load(file.path, &keys, &err) != SGATE_OK) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	keyfile_clear(&file);
	return keys;
}

#endif
