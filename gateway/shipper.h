/*
 * The keeper's work on the spool: finds what this host's workers have written,
 * also those that are gone, and brings it to both stores in pieces that end
 * soon.
 */
#ifndef SESSGATE_SHIPPER_H
#define SESSGATE_SHIPPER_H

#include "session_manager.h"

struct shipper;

/*
 * NULL: no memory. conf, mgr and stores are borrowed. breathe is called between
 * two pieces, each of which is one transaction or one question.
 */
struct shipper *shipper_new(const struct sgate_conf *conf,
    struct sgate_manager *mgr, struct stores *stores,
    void (*breathe)(void *arg), void *arg);
/* Writes down what is done. NULL is fine. */
void shipper_free(struct shipper *shipper);

/* Whatever is due now, for about `ms`; what is left goes on in the next one. */
void shipper_step(struct shipper *shipper, int64_t ms);
/*
 * Whether a cache is there again that may have lost what it had: what has ended
 * may be accepted until it is told.
 */
bool shipper_is_urgent(const struct shipper *shipper);
/* At the end: all that can be brought in that time. */
void shipper_last(struct shipper *shipper, int64_t ms);

#endif
