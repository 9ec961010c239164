/*
 * Writes frames: an end for each ref on stdin (hex, one a line), as a worker of
 * a gateway would have left them.
 *
 *   spoolfill DIRECTORY
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "session.h"
#include "spool.h"

static void
frame_of(const struct sgate_ref *ref, unsigned number, struct spool_frame *out)
{
	int64_t ms = clock_utc_ms();
	int i;

	memset(out, 0, sizeof(*out));
	out->kind = SPOOL_END;
	out->version = 1;
	out->absolute_ms = ms + INT64_C(8) * 3600 * 1000;
	out->ended_ms = ms;
	for (i = 0; i < 6; i++)
		out->audit.event_id[i] = (unsigned char)(ms >> 8 * (5 - i));
	for (i = 0; i < 4; i++)
		out->audit.event_id[12 + i] =
		    (unsigned char)(number >> 8 * (3 - i));
	out->audit.at_ms = ms;
	memcpy(out->audit.host, "filled", 7);
	memcpy(out->audit.actor, "test", 5);
	memcpy(out->audit.kind, "end", 4);
	memcpy(out->audit.user, "filled", 7);
	out->audit.reason = SGATE_REASON_LOGGED_OUT;
	out->audit.has_ref = true;
	out->audit.ref = *ref;
}

int
main(int argc, char **argv)
{
	struct spool_limits limits = {
	    .max_bytes = INT64_C(1) << 30, .keep_ms = 900000};
	struct spool *spool = NULL;
	struct spool_frame frame;
	struct sgate_error err;
	struct sgate_ref ref;
	unsigned number = 0;
	char line[64];

	if (argc != 2) {
		fprintf(stderr, "usage: spoolfill DIRECTORY <REFS\n");
		return 2;
	}
	limits.dir = argv[1];
	if (spool_open(&limits, &spool, &err) != SGATE_OK) {
		fprintf(stderr, "spoolfill: %s\n", err.text);
		return 1;
	}
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (sgate_ref_parse(bytes_of(line), &ref) != SGATE_OK) {
			fprintf(stderr, "spoolfill: no ref: %s\n", line);
			break;
		}
		frame_of(&ref, ++number, &frame);
		if (spool_append(spool, &frame, false, &err) != SGATE_OK) {
			fprintf(stderr, "spoolfill: %s\n", err.text);
			break;
		}
	}
	spool_close(spool);
	return feof(stdin) ? 0 : 1;
}
