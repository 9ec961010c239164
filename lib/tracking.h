/*
 * Hearing from Redis what is written there: invalidation messages, which name
 * the keys of records that may be other ones than before; and asking, of some
 * of them, what they are now. For the tracker (gateway/tracker.c), which says
 * what follows from either. Two connections, of which nobody here waits longer
 * than tracking_wait() was told, connecting aside: that waits redis.timeout.
 *
 * The first connection is tracking and listening at once: CLIENT TRACKING ON
 * REDIRECT (itself) BCAST, which is how RESP2 does it with nothing that can be
 * lost in silence: with two connections, the one that tracks could go while the
 * other one still answered. On it a numbered PING is sent four times in a
 * lease, never a second one before the first is answered. Redis writes a PONG
 * at once and the messages of what was written in the same turn of its loop
 * behind it; so that PING k is answered shows that what was changed before PING
 * k-1 was sent has been told, and no more than that. (PING k was sent when PONG
 * k-1 was here, and messages of the turns till then stand before PONG k.)
 *
 * The second one is an ordinary connection. Without it nothing can be asked,
 * and that is all.
 */
#ifndef SESSGATE_TRACKING_H
#define SESSGATE_TRACKING_H

#include <signal.h>
#include <stdbool.h>

#include "conf.h"
#include "local.h"
#include "place.h"

#define TRACKING_CHANNEL "__redis__:invalidate"
/* What the account of Redis needs for it, beside what the gateway asks. */
#define TRACKING_ACL                                                           \
	"&" TRACKING_CHANNEL " +client|id +client|tracking +subscribe "        \
	"+getrange"

/* What is asked of one ref, given back with its answer. */
struct tracking_question {
	struct sgate_ref ref;
	uint64_t version;
	struct local_ticket ticket;
};
/* What a record begins with (record.h). */
struct tracking_head {
	char state; /* 'L', 'U', 'T'; 0: there is none, or it is no record */
	uint64_t version;
	int64_t last_seen_ms;
};

/* What comes, in the order in which it came on the first connection. */
struct tracking_hooks {
	/* That record may be another one. */
	void (*changed)(void *arg, const struct sgate_ref *ref);
	/* Any may be. */
	void (*changed_all)(void *arg);
	/* What was changed before that moment (clock_boot_ms()) has been told,
	 * from when it began to listen. */
	void (*proved)(void *arg, int64_t before_boot_ms);
	void (*found)(void *arg, const struct tracking_question *question,
	    const struct tracking_head *head);
	void *arg;
};

struct tracking;
/*
 * No I/O yet. conf, and `at`, where Sentinel's master is (NULL: that is no
 * question), are borrowed. lease_ms: what can be proved is to be proved in that
 * time, or the connection is given up.
 */
SGATE_MUST_CHECK enum sgate_status tracking_new(const struct sgate_conf *conf,
    const struct place *at, int64_t lease_ms,
    const struct tracking_hooks *hooks, struct tracking **out,
    struct sgate_error *err);
void tracking_free(struct tracking *t);

/*
 * Connect, and begin to listen: on SGATE_OK whatever is written from now on is
 * told. SGATE_UNAVAILABLE, SGATE_NO_MEMORY: not connected.
 */
SGATE_MUST_CHECK enum sgate_status tracking_connect(
    struct tracking *t, struct sgate_error *err);
bool tracking_is_connected(const struct tracking *t);
void tracking_disconnect(struct tracking *t);

/*
 * Wait up to max_ms for what comes, and tell it; send what is due. mask: of
 * signals, meanwhile. SGATE_UNAVAILABLE: the connection is lost; SGATE_OK also
 * when a signal came.
 */
SGATE_MUST_CHECK enum sgate_status tracking_wait(struct tracking *t, int max_ms,
    const sigset_t *mask, struct sgate_error *err);

/* Ask with the next tracking_wait(). False: too many are open, or nobody can be
 * asked; there will be no answer. There may be none otherwise. */
bool tracking_ask(struct tracking *t, const struct tracking_question *question);

#endif
