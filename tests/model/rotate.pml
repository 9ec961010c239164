/*
 * rotate.pml: a browser with two requests at a time, whose replies may be late
 * or lost, rotates its secret; a thief has an old one (lib/README.md,
 * "Rotation"; manager_look.c, manager_edit.c, session.c).
 *
 * What meets here: rotation, grace, the mark of the successor's first use, a
 * copy that is behind, MySQL going away, time.
 *
 * Secrets are numbers: the successor of n is n + 1. A unit of time is as long as
 * a request may take, with what the keepers and the batch of touches need.
 *
 * run browser: -DREQUESTS=5 -DROTATIONS=2 -DEND=6 -DLOSSES=0
 * run two-rotations: -DREQUESTS=4 -DROTATIONS=2 -DEND=7 -DLOSSES=0 -DFAULTS=0
 * mutant grace: -DREQUESTS=4 -DROTATIONS=1 -DEND=6 -DFAULTS=0
 * mutant theft-row: -DREQUESTS=4 -DROTATIONS=1 -DEND=5 -DFAULTS=0
 * mutant mark: -DREQUESTS=4 -DROTATIONS=1 -DEND=7 -DFAULTS=0
 */
mtype = { nothing, grace, theft_row, mark };

#include "stores.inc"

#define GRACE 2 /* rotate_grace */
#define NEVER 255

byte now = 1;

/* The row: the current secret, until when the one before is good, and when the
 * current one was used first (0: it was not). A secret 0 has none before it. */
byte secret = 0;
byte until = 0;
byte used = 0;
bit has_ended = 0;

/* The copy in Redis; what it does not tell is `used`. */
byte copy_secret = 0;
byte copy_until = 0;

/* Touches that wait for their batch: the secret that was used, and when. */
bit has_mark = 0;
byte mark_secret, mark_at;

/* The browser's cookie. */
byte jar = 0;
byte requests = 0, rotations = 0;
/* When the server has first answered a request with the current secret, and
 * how often time has passed since with MySQL there. */
byte seen = NEVER;
byte since = 0;
/* Requests that are under way: time waits for them. */
byte in_flight = 0;

#define NOTHING 0
#define CHECK 1
#define ROTATE 2

/* session_prev_in_grace() */
#define in_grace                                                               \
	(secret > 0 && (now <= until || !off(grace) && used == 0 ||            \
	    used != 0 && now <= used + GRACE))

#define must_refuse(p)                                                         \
	((p) < secret && seen != NEVER && now > seen + GRACE + 1 &&            \
	    now > until && since > GRACE)

/* look_touch(): queued, and written with the next batch. */
inline note_use(p)
{
	if
	:: p == secret && seen == NEVER -> seen = now; since = 0
	:: else
	fi;
	if
	:: !off(mark) && p > 0 && (!has_mark || mark_secret < p) ->
		has_mark = 1; mark_secret = p; mark_at = now
	:: else
	fi
}

inline write_marks()
{
	if
	:: has_mark && mark_secret == secret && secret > 0 && used == 0 ->
		used = mark_at
	:: else
	fi;
	has_mark = 0; mark_secret = 0; mark_at = 0
}

/* The row judges a secret that is neither current nor in grace. */
inline refuse_late(p, is_thief)
{
	assert(is_thief || p > secret || has_ended); /* P2: no honest thief */
	if
	:: p < secret -> has_ended = 1
	:: else
	fi
}

/* out: the cookie of the answer. */
inline judge_row(op, p, out, is_thief)
{
	if
	:: has_ended
	:: !has_ended && p == secret ->
		if
		:: op == ROTATE && !in_grace ->
			say("rotates\n");
			secret++; until = now + GRACE; used = 0; seen = NEVER;
			out = secret
		:: op == ROTATE && in_grace ->
			say("rotate: no change, the one before is in grace\n");
			note_use(p)
		:: op == CHECK -> note_use(p)
		fi
	:: !has_ended && p + 1 == secret && in_grace ->
		assert(!is_thief || !must_refuse(p));
		out = secret
	:: !has_ended && p != secret && !(p + 1 == secret && in_grace) ->
		say("the row says: late\n");
		refuse_late(p, is_thief)
	fi
}

proctype browser()
{
	byte op, p, out;
	do
	:: atomic {
		requests < REQUESTS && !has_ended ->
		requests++; in_flight++; p = jar; out = p;
		if
		:: op = CHECK
		:: rotations < ROTATIONS -> rotations++; op = ROTATE
		fi;
		printf("sends %d, with secret %d\n", op, p)
	   }
	   atomic {
		if
		:: true -> say("is lost\n")
		:: op == CHECK && p == copy_secret ->
			say("the copy answers\n"); note_use(p)
		:: op == CHECK && p + 1 == copy_secret && now <= copy_until ->
			say("the copy answers, with the successor\n");
			out = copy_secret
		:: op == CHECK && p < copy_secret && off(theft_row) ->
			if
			:: !(p + 1 == copy_secret && now <= copy_until) ->
				assert(has_ended) /* P2 */
			:: else
			fi
		:: fault == HEALTHY ->
			say("the row answers\n"); judge_row(op, p, out, 0)
		:: fault != HEALTHY /* 503 */
		fi
	   }
	   atomic {
		if
		:: true -> say("its answer is lost\n")
		:: out != p ->
			printf("receives secret %d\n", out); jar = out
		:: out == p
		fi;
		op = 0; p = 0; out = 0; in_flight--
	   }
	od
}

/* Redis is told of a rotation by who made it, or by the next round. */
#define publish_now() copy_secret = secret; copy_until = until

proctype world()
{
	byte ignored, thief;
	do
	:: d_step {
		copy_secret != secret && fault == HEALTHY ->
		say("Redis has the rotation\n"); publish_now()
	   }
	:: d_step {
		has_mark && fault == HEALTHY -> say("the batch is written\n");
		write_marks()
	   }
	:: d_step {
		in_flight == 0 && now < END -> say("TIME\n");
		now++;
		if
		:: fault == HEALTHY ->
			publish_now(); write_marks();
			since = (seen != NEVER && since < 9 -> since + 1 : 0)
		:: else -> since = 0
		fi
	   }
	:: d_step {
		secret > 0 && fault == HEALTHY && !has_ended ->
		say("the thief comes with the secret before\n");
		thief = secret - 1;
		if
		:: thief + 1 == copy_secret && now <= copy_until ->
			assert(!must_refuse(thief))
		:: else ->
			if
			:: thief + 1 == secret && in_grace ->
				assert(!must_refuse(thief))
			:: else -> has_ended = 1
			fi
		fi;
		ignored = 0; thief = 0
	   }
	:: d_step {
		fault_may_strike -> say("FAULT: MySQL\n");
		fault = MYSQL_AWAY; faults_left--
	   }
	:: d_step {
		fault != HEALTHY -> say("the fault is over\n"); fault = HEALTHY
	   }
	od
}

init { atomic { run browser(); run browser(); run world() } }
