/*
 * The configuration: a file, and one option of the command line.
 *
 *   line 1   -o, if it is not empty
 *   rest     the file
 *
 * - It is refused with words that name what is wrong, or taken.
 * - What is taken, written as `config show` does and read again, is the same;
 *   so is a copy, and nothing of it needs a restart.
 */
#include "config.h"

#include "fuzz.h"

#include "conf.h"

#include <ctype.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[80], path[120];

/* libconfig 1.5 forgets a string that stands before an error of syntax. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_options(void);

const char *
__lsan_default_suppressions(void)
{
	return "leak:libconfig.so";
}

const char *
__lsan_default_options(void)
{
	return "print_suppressions=0";
}

static void
remove_directory(void)
{
	unlink(path);
	rmdir(directory);
}

static void
make_directory(void)
{
	if (directory[0] != '\0')
		return;
	snprintf(directory, sizeof(directory), "%s/sgfuzz.XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	MUST(mkdtemp(directory) != NULL);
	snprintf(path, sizeof(path), "%s/a.conf", directory);
	atexit(remove_directory);
}

static void
store(struct sgate_bytes text)
{
	FILE *file = fopen(path, "wb");

	MUST(file != NULL);
	MUST(fwrite(text.data, 1, text.len, file) == text.len);
	MUST(fclose(file) == 0);
}

/* ---- written again ---- */

/* All options of one section that were given, as a file has them. */
static void
add_options(const struct sgate_conf *conf, const char *section, size_t index,
    struct buf *out)
{
	const struct conf_option *option;
	struct buf value = {0}, origin = {0};
	size_t i;

	for (i = 0; (option = conf_option(i)) != NULL; i++) {
		if (strcmp(option->section, section) != 0)
			continue;
		buf_reset(&value);
		buf_reset(&origin);
		MUST(conf_value(conf, i, index, &value, &origin));
		if (strcmp(buf_text(&origin), "default") != 0)
			buf_printf(
			    out, "%s = %s;\n", option->name, buf_text(&value));
	}
	buf_clear(&value);
	buf_clear(&origin);
}

static void
add_named(const struct sgate_conf *conf, const char *section, struct buf *out)
{
	bool is_listener = strcmp(section, "listener") == 0;
	size_t i,
	    count = is_listener ? conf->listeners_count : conf->policies_count;

	for (i = 0; i < count; i++) {
		buf_printf(out, "%s: {\n",
		    is_listener ? conf->listeners[i].name
				: conf->policies[i].name);
		add_options(conf, section, i, out);
		buf_add_text(out, "};\n");
	}
}

static void
add_all(const struct sgate_conf *conf, struct buf *out)
{
	const struct conf_option *option;
	const char *last = "";
	size_t i;

	for (i = 0; (option = conf_option(i)) != NULL; i++) {
		if (strcmp(option->section, last) == 0)
			continue;
		last = option->section;
		buf_printf(out, "%s: {\n", last);
		if (strcmp(last, "listener") == 0 ||
		    strcmp(last, "policy") == 0)
			add_named(conf, last, out);
		else
			add_options(conf, last, 0, out);
		buf_add_text(out, "};\n");
	}
	MUST(!buf_failed(out));
}

static void
check_copy(const struct sgate_conf *conf, const struct buf *text)
{
	struct sgate_conf *copy = conf_dup(conf);
	struct buf again = {0}, changed = {0};

	MUST(copy != NULL);
	add_all(copy, &again);
	MUST(bytes_equal(buf_bytes(text), buf_bytes(&again)));
	conf_not_reloadable(conf, copy, &changed);
	MUST(changed.len == 0 && !buf_failed(&changed));
	MUST(conf_keep_not_reloadable(conf, copy, NULL) == SGATE_OK);
	sgate_conf_free(copy);
	buf_clear(&again);
	buf_clear(&changed);
}

/* A name that only -o can give: "a.b", "1". */
static bool
is_not_of_a_file(const char *name)
{
	return strchr(name, '.') != NULL || !isalpha((unsigned char)name[0]);
}

static bool
has_name_not_of_a_file(const struct sgate_conf *conf)
{
	size_t i;

	for (i = 0; i < conf->listeners_count; i++)
		if (is_not_of_a_file(conf->listeners[i].name))
			return true;
	for (i = 0; i < conf->policies_count; i++)
		if (is_not_of_a_file(conf->policies[i].name))
			return true;
	return false;
}

static void
check_conf(const struct sgate_conf *conf)
{
	struct buf text = {0}, again = {0};
	struct sgate_conf *read;
	struct sgate_error err;

	add_all(conf, &text);
	check_copy(conf, &text);
	if (!has_name_not_of_a_file(conf)) {
		store(buf_bytes(&text));
		if (sgate_conf_load(path, NULL, &read, &err) != SGATE_OK)
			fprintf(stderr, "%s\n", err.text);
		MUST(read != NULL);
		add_all(read, &again);
		MUST(bytes_equal(buf_bytes(&text), buf_bytes(&again)));
		sgate_conf_free(read);
	}
	buf_clear(&text);
	buf_clear(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	char *override = bytes_dup(fuzz_line(&in));
	const char *overrides[] = {override, NULL};
	struct sgate_conf *conf;
	struct sgate_error err;
	enum sgate_status status;

	MUST(override != NULL);
	make_directory();
	store(fuzz_rest(&in));
	if (override[0] == '\0')
		overrides[0] = NULL;
	status = sgate_conf_load(path, overrides, &conf, &err);
	MUST(status == SGATE_OK || status == SGATE_INVALID);
	MUST((status == SGATE_OK) == (conf != NULL));
	if (status == SGATE_INVALID)
		MUST(strlen(err.text) > 10 && strchr(err.text, ':') != NULL);
	if (conf != NULL)
		check_conf(conf);
	sgate_conf_free(conf);
	free(override);
	return 0;
}
