/*
 * A file of the spool that went through the worst: frames, damaged frames, cut
 * off ones, those of another file, old blocks, noise; in any order.
 *
 *   byte 0   the header, and which frames are done by then
 *   rest     what stands in the file: see add_part()
 *
 * - The reader finds the frames that a walk over every byte finds, in order,
 *   and no others.
 * - No frame that was written whole is missing.
 * - Damage is told if there is some, and only then.
 * - What was done is done for the next reader, and nothing else.
 */
#include "config.h"

#include "fuzz.h"

#include "buf.h"
#include "spool_file.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRAMES_MAX 512

static const unsigned char writer[SPOOL_WRITER_BYTES] = "\1fuzzing";
static const unsigned char other[SPOOL_WRITER_BYTES] = "\2fuzzing";

struct file {
	struct buf bytes;
	/* Where frames were put whole. */
	size_t whole[FRAMES_MAX], whole_count;
	/* Where a slow walk finds some. */
	size_t found[FRAMES_MAX], found_count;
	bool has_gap;     /* bytes that are no frame */
	bool has_cut;     /* which zeros behind it may complete */
	bool may_collide; /* the input had bytes of its own choice in it */
};

/* ---- the file ---- */

static size_t
make_frame(
    unsigned n, size_t record_len, const unsigned char *of, unsigned char *out)
{
	static char record[SPOOL_RECORD_MAX];
	struct spool_frame frame = {
	    .kind = record_len > 0 ? SPOOL_CREATE : SPOOL_END,
	    .version = n,
	    .ended_ms = 1000 + n,
	    .audit.has_ref = true,
	    .audit.reason = SGATE_REASON_LOGGED_OUT,
	    .record = {record_len > 0 ? record : NULL, record_len}};

	memset(record, (int)n, record_len);
	frame.audit.event_id[5] = (unsigned char)n;
	frame.audit.ref.bytes[0] = (unsigned char)n;
	memset(frame.audit.user, 'u', n % 100);
	return spool_frame_write(&frame, of, out);
}

static void
add_frame(struct file *file, struct fuzz_input *in, unsigned what)
{
	static unsigned char frame[SPOOL_FRAME_MAX];
	unsigned n = fuzz_byte(in);
	size_t record_len = what % 2 == 0 ? 0 : 1 + fuzz_byte(in) * 40;
	size_t len = make_frame(n, record_len, writer, frame);

	MUST(len > 0);
	if (file->whole_count < FRAMES_MAX)
		file->whole[file->whole_count++] = file->bytes.len;
	buf_add(&file->bytes, frame, len);
}

/* A frame with up to four bytes changed, cut off, or of another writer. */
static void
add_no_frame(struct file *file, struct fuzz_input *in, unsigned what)
{
	static unsigned char frame[SPOOL_FRAME_MAX];
	size_t len = make_frame(
		   fuzz_byte(in), 0, what == 4 ? other : writer, frame),
	       at = fuzz_byte(in) % len, i;

	if (what == 3) {
		len = at;
		file->has_cut = true;
	}
	frame[at] ^= 0x40;
	for (i = at + 1; i < at + 4 && i < len && what == 2; i++)
		frame[i] ^= (unsigned char)fuzz_byte(in);
	buf_add(&file->bytes, frame, len);
}

static void
add_part(struct file *file, struct fuzz_input *in)
{
	static const char zeros[1024];
	unsigned what = fuzz_byte(in) % 8;
	struct sgate_bytes noise;

	switch (what) {
	case 0:
	case 1:
		add_frame(file, in, what);
		return;
	case 2:
	case 3:
	case 4:
		add_no_frame(file, in, what);
		return;
	case 5:
		buf_add(&file->bytes, zeros, fuzz_byte(in) * 4);
		return;
	default:
		noise = fuzz_take(in, fuzz_byte(in));
		file->may_collide |= noise.len > 0;
		buf_add_bytes(&file->bytes, noise);
	}
}

/* Every byte may begin a frame. */
static void
walk(struct file *file, size_t at)
{
	const unsigned char *bytes = (unsigned char *)file->bytes.data;
	struct spool_frame frame;
	size_t len;

	while (at < file->bytes.len && file->found_count < FRAMES_MAX) {
		len = spool_frame_read(
		    bytes + at, file->bytes.len - at, writer, &frame);
		if (len > 0)
			file->found[file->found_count++] = at;
		file->has_gap |= len == 0;
		at += len > 0 ? len : 1;
	}
}

static void
check_whole_ones(const struct file *file)
{
	size_t i, at = 0;

	for (i = 0; i < file->whole_count; i++) {
		while (
		    at < file->found_count && file->found[at] < file->whole[i])
			at++;
		MUST(at < file->found_count &&
		     file->found[at] == file->whole[i]);
	}
	MUST(file->found_count == file->whole_count || file->has_cut);
}

/* ---- the reader ---- */

static struct spool_limits limits = {
    .max_bytes = 64 * 1024 * 1024, .keep_ms = 900000};
static char directory[80], path[160], marks[160];

static void
make_directory(void)
{
	char stem[SPOOL_STEM_MAX + 1];

	if (limits.dir != NULL)
		return;
	snprintf(directory, sizeof(directory), "%s/sgfuzz.XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	MUST(mkdtemp(directory) != NULL);
	spool_stem_write(writer, 1, stem);
	snprintf(path, sizeof(path), "%s/%s.spool", directory, stem);
	snprintf(marks, sizeof(marks), "%s/%s.done", directory, stem);
	limits.dir = directory;
}

static void
remove_directory(void)
{
	unlink(path);
	unlink(marks);
	rmdir(directory);
	limits.dir = NULL;
}

static struct spool_reader *
open_reader(void)
{
	struct spool_reader *reader;

	MUST(spool_reader_open(&limits, SPOOL_TO_DURABLE, &reader, NULL) ==
	     SGATE_OK);
	MUST(spool_look(reader, NULL) == SGATE_OK);
	return reader;
}

/*
 * Those of `found` that `of` says, bit by bit, over and over; all: 0xff. Each
 * that `done` says is marked.
 */
static void
check_pass(struct spool_reader *reader, const struct file *file, unsigned of,
    unsigned done)
{
	struct spool_place place;
	struct spool_frame frame;
	struct buf record = {0};
	size_t i = 0;

	MUST(spool_pass_begin(reader, SPOOL_TO_DURABLE, NULL) == SGATE_OK);
	while (spool_pass_next(reader, &frame, &place)) {
		while (i < file->found_count && (of >> i % 8 & 1) == 0)
			i++;
		MUST(i < file->found_count);
		MUST(place.offset == (int64_t)file->found[i]);
		buf_reset(&record);
		MUST(spool_load(reader, &place, &record, NULL) == SGATE_OK);
		MUST(record.len == frame.record.len);
		if ((done >> i % 8 & 1) != 0)
			spool_done(reader, &place, SPOOL_TO_DURABLE);
		i++;
	}
	while (i < file->found_count && (of >> i % 8 & 1) == 0)
		i++;
	MUST(i == file->found_count);
	buf_clear(&record);
}

static void
check_reader(const struct file *file, unsigned done)
{
	struct spool_reader *reader = open_reader();
	struct spool_state state;

	spool_state(reader, &state);
	MUST(state.is_whole && state.files == 1);
	MUST(state.foreign == 0);
	MUST(state.to_durable == file->found_count);
	MUST((state.damaged + state.torn > 0) == file->has_gap);
	check_pass(reader, file, 0xff, done);
	spool_reader_close(reader);
	reader = open_reader();
	check_pass(reader, file, ~done, 0);
	MUST(spool_again(reader, SPOOL_TO_DURABLE, 0, NULL) == SGATE_OK);
	check_pass(reader, file, 0xff, 0);
	spool_reader_close(reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	unsigned char header[SPOOL_HEADER_BYTES];
	unsigned done = fuzz_byte(&in);
	struct file file = {.may_collide = false};
	bool has_header = (done & 1) == 0;
	FILE *stream;

	if (limits.dir == NULL)
		atexit(remove_directory);
	make_directory();
	spool_header_write("fuzz", 1000, header);
	if (!has_header)
		header[done % 91] ^= 1;
	buf_add(&file.bytes, header, sizeof(header));
	while (in.left > 0)
		add_part(&file, &in);
	MUST(!buf_failed(&file.bytes));
	walk(&file, has_header ? sizeof(header) : 0);
	if (!file.may_collide)
		check_whole_ones(&file);
	unlink(marks);
	stream = fopen(path, "wb");
	MUST(stream != NULL);
	MUST(fwrite(file.bytes.data, 1, file.bytes.len, stream) ==
	     file.bytes.len);
	MUST(fclose(stream) == 0);
	if (file.found_count < FRAMES_MAX)
		check_reader(&file, done);
	buf_clear(&file.bytes);
	return 0;
}
