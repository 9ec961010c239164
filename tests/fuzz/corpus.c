/*
 * Runs a fuzz target over its corpus, for `make check`: each file as it is, cut
 * off, and with bytes changed, always the same ones. libFuzzer is not needed.
 *
 *   tests/fuzz/cookie              its files in tests/fuzz/corpus/cookie
 *   tests/fuzz/cookie FILE ...     these, as they are
 */
#include "config.h"

#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#define PATH_BYTES 512
#define INPUT_MAX (1024 * 1024)
#define CUTS 8
#define CHANGES 24
/* Of all files together, so that it stays a matter of a second. */
#define NEIGHBOURS_MAX 2000

static uint8_t *
load(const char *path, size_t *out_len)
{
	static uint8_t bytes[INPUT_MAX];
	FILE *file = fopen(path, "rb");
	uint8_t *copy;

	*out_len = file == NULL ? 0 : fread(bytes, 1, sizeof(bytes), file);
	if (file == NULL || ferror(file) || *out_len == sizeof(bytes)) {
		printf("Bail out! %s: %s\n", path, strerror(errno));
		exit(1);
	}
	fclose(file);
	copy = malloc(*out_len + 1);
	MUST(copy != NULL);
	memcpy(copy, bytes, *out_len);
	return copy;
}

/* In memory that ends where the input does. */
static void
run(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	MUST(copy != NULL);
	memcpy(copy, bytes, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static uint32_t
next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void
run_neighbours(uint8_t *bytes, size_t len, int max)
{
	uint32_t state = UINT32_C(2463534242);
	uint8_t saved;
	size_t at;
	int i;

	for (i = 0; i < CUTS && i < max / 2; i++)
		run(bytes, len * (size_t)i / CUTS);
	for (i = 0; len > 0 && i < CHANGES && i < max - max / 2; i++) {
		at = next_random(&state) % len;
		saved = bytes[at];
		bytes[at] = (uint8_t)(next_random(&state) >> 8);
		run(bytes, len);
		bytes[at] = saved;
	}
}

static size_t
run_folder(const char *folder)
{
	struct dirent **entries;
	size_t files = 0, len;
	uint8_t *bytes;
	int count, i;

	if (chdir(folder) != 0)
		return 0;
	count = scandir(".", &entries, NULL, alphasort);
	for (i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.') {
			bytes = load(entries[i]->d_name, &len);
			run(bytes, len);
			run_neighbours(bytes, len, NEIGHBOURS_MAX / count);
			free(bytes);
			files++;
		}
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return files;
}

int
main(int argc, char **argv)
{
	const char *source = getenv("SESSGATE_SOURCE");
	const char *name = program_invocation_short_name;
	char folder[PATH_BYTES];
	uint8_t *bytes;
	size_t files, len;
	int i;

	for (i = 1; i < argc; i++) {
		bytes = load(argv[i], &len);
		run(bytes, len);
		free(bytes);
	}
	if (argc > 1)
		return 0;
	snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s",
	    source == NULL ? "." : source, name);
	printf("1..1\n");
	fflush(stdout);
	files = run_folder(folder);
	printf(
	    "%sok 1 - %s: what must hold does over its corpus of %zu files\n",
	    files == 0 ? "not " : "", name, files);
	return files == 0;
}
