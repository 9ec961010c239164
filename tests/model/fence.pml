/*
 * fence.pml: one session that is changed and ended while it is looked at.
 *
 * What meets here: changes and ends with both stores (manager_change.c), looks
 * (manager_look.c), the keepers' rounds (manager_fence.c), touches, ends while
 * MySQL is away (the spool), every fault, and Redis losing its data.
 *
 * The session X is row, row_version, row_seq in MySQL and copy, copy_version in
 * Redis. Y is another session of its fence group: it only takes numbers.
 * Version stands for the data: who is given version n has all changes up to it.
 *
 * CHANGES, ENDS, OTHERS: how many there are in a run.
 *
 * run ends: -DCHANGES=1 -DENDS=1 -DOTHERS=0 -DLOSSES=0
 * run ends-loss: -DCHANGES=1 -DENDS=1 -DOTHERS=0 -DFAULTS=0
 * run changes: -DCHANGES=2 -DENDS=0 -DOTHERS=0 -DLOSSES=0
 * run others: -DCHANGES=1 -DENDS=0 -DOTHERS=1 -DLOSSES=0
 * run fault-and-loss: -DCHANGES=1 -DENDS=0 -DOTHERS=0
 * run end-fault-and-loss: -DCHANGES=0 -DENDS=1 -DOTHERS=0
 * run touches: -DCHANGES=1 -DENDS=0 -DOTHERS=0 -DTOUCHES=1 -DLOSSES=0
 * mutant put-guard: -DCHANGES=0 -DENDS=1 -DOTHERS=0 -DFAULTS=0
 * mutant put-version: -DCHANGES=2 -DENDS=0 -DOTHERS=0 -DLOSSES=0
 * mutant tombstone: -DCHANGES=1 -DENDS=1 -DOTHERS=0 -DLOSSES=0
 * mutant touch-field: -DCHANGES=1 -DENDS=0 -DOTHERS=0 -DTOUCHES=1 -DLOSSES=0
 * mutant fence: -DCHANGES=0 -DENDS=1 -DOTHERS=0 -DFAULTS=0
 * mutant apply: -DCHANGES=1 -DENDS=0 -DOTHERS=0 -DLOSSES=0
 * mutant apply-order: -DCHANGES=1 -DENDS=0 -DOTHERS=0 -DFAULTS=0 -DLOSSES=0
 * mutant apply-from: -DCHANGES=1 -DENDS=0 -DOTHERS=1 -DFAULTS=0
 * mutant apply-again: -DCHANGES=0 -DENDS=0 -DOTHERS=2 -DLOSSES=0
 * mutant publish: -DCHANGES=1 -DENDS=0 -DOTHERS=0 -DLOSSES=0
 * mutant spool: -DCHANGES=0 -DENDS=1 -DOTHERS=0
 * mutant warm: -DCHANGES=0 -DENDS=0 -DOTHERS=0
 * mutant row-alone: -DCHANGES=0 -DENDS=1 -DOTHERS=0 -DLOSSES=0
 */
mtype = { nothing, put_guard, put_version, tombstone, touch_field, fence, apply,
	apply_order, apply_from, apply_again, publish, spool, warm, row_alone };

#include "stores.inc"

#ifndef CHANGES
#define CHANGES 1
#endif
#ifndef ENDS
#define ENDS 1
#endif
#ifndef OTHERS
#define OTHERS 1
#endif
#ifndef TOUCHES
#define TOUCHES 0
#endif

#define FIRST LIVE
#include "group.inc"

/* The spool of the host where the end was: to which store it has to go. */
bit spool_mysql = 0;
bit spool_redis = 0;
bit end_host = 0;

/* What was acknowledged; and what was when the bound passed the last time. */
byte acked_version = 1;
byte ending = 0; /* 1: begun, 2: acknowledged */
byte bound_version = 1;
bit bound_ended = 0;

/*
 * MySQL was away, of B or of A alone, and the bound has not passed since it is
 * back: what was ended meanwhile may not be there yet.
 */
bit is_unsettled = 0;
bit is_a_alone = 0;

#define note_fault()                                                           \
	calm = 0; settled = 0;                                                 \
	is_unsettled = (is_unsettled || !mysql(B));                            \
	is_a_alone = (is_a_alone || !mysql(A) && mysql(B))

/* ---- the spool (manager_spool.c) ---- */

inline ship_to_mysql()
{
	if
	:: row == LIVE ->
		row = ENDED; row_version++; seq++; row_seq = seq
	:: else
	fi;
	spool_mysql = 0
}

proctype shipper()
{
	do
	:: d_step {
		spool_mysql && mysql(end_host) -> say("spool: to MySQL\n");
		ship_to_mysql()
	   }
	:: d_step {
		spool_redis && redis_takes(end_host) -> say("spool: to Redis\n");
		script_end(); spool_redis = 0
	   }
	od
}

/* ---- a change (manager_change.c, manager_edit.c) ---- */

proctype change(bit h)
{
	byte version, s0, got;

	if
	:: atomic { h = A } :: atomic { h = B }
	fi;
	atomic {
		mysql(h) && row == LIVE -> say("change: commits\n");
		seq++; row_version++; row_seq = seq;
		version = row_version; s0 = seq;
		if
		:: true
		:: fault_may_strike -> /* killed, or nobody hears of it */
			say("change: and is not answered\n");
			faults_left--; note_fault(); goto over
		:: fault_may_strike ->
			say("change: MySQL goes away with the answer\n");
			faults_left--; fault = MYSQL_AWAY; note_fault();
			goto over
		fi
	}
	atomic {
		if
		:: off(publish)
		:: !off(publish) && redis_takes(h) ->
			say("change: PUT\n");
			script_put(version, s0, got)
		:: !off(publish) && !redis_takes(h)
		fi;
		if
		:: got != WAS_ENDED && acked_version < version ->
			say("change: acknowledged\n");
			acked_version = version
		:: else
		fi
	}
over:
	atomic { version = 0; s0 = 0; got = 0; h = 0 }
}

/* ---- an end (sgate_session_end_token) ---- */

proctype end()
{
	bit is_unknown;

	atomic {
		ending = 1;
		if
		:: end_host = A :: end_host = B
		fi
	}
	if
	:: atomic {
		mysql(end_host) && row == LIVE -> say("end: commits\n");
		seq++; row_version++; row_seq = seq; row = ENDED;
		if
		:: true
		:: fault_may_strike ->
			say("end: killed\n");
			faults_left--; note_fault(); goto over
		:: fault_may_strike ->
			say("end: MySQL goes away with the answer\n");
			faults_left--; fault = MYSQL_AWAY; note_fault();
			is_unknown = 1
		fi
	   }
	:: atomic { !mysql(end_host) -> is_unknown = 1 }
	fi;
	if
	:: atomic {
		is_unknown && !off(spool) -> say("end: frame in the spool\n");
		spool_mysql = 1; spool_redis = 1
	   }
	:: atomic { !is_unknown || off(spool) }
	fi;
	atomic {
		if
		:: redis_takes(end_host) && !off(publish) ->
			say("end: tombstone\n");
			script_end();
			say("end: acknowledged\n");
			ending = 2; spool_redis = 0
		:: redis_takes(end_host) && off(publish) -> ending = 2
		:: !redis_takes(end_host) && !is_unknown ->
			say("end: acknowledged\n");
			ending = 2
		:: !redis_takes(end_host) && is_unknown /* 503, recorded */
		fi
	}
over:
	is_unknown = 0
}

/* Y changes. Its worker may be killed: the keepers bring it all the same. */
proctype other()
{
	byte n;
	do
	:: atomic {
		n < OTHERS && (mysql(A) || mysql(B)) ->
		say("another session of the group changes\n");
		n++; seq++
	   }
	:: n == OTHERS -> break
	od
}

/* ---- a look at B (manager_look.c) ---- */

/*
 * What a look answers is decided by what it reads in one moment: the copy with
 * its sync, the row, or what PUT finds. So its answer is judged as if all of it
 * were that moment (the fence is loaded later, but it only rises); and what it
 * leaves behind, the PUT of a row that was read before, is a process of its own.
 */
#define is_trusted (sync != 0 && sync >= known[B] || off(fence))
#define copy_is_good (copy == LIVE && is_trusted)
#define copy_answers                                                           \
	(redis(B) && (copy == ENDED || copy_is_good && !is_blind[B]))

inline judge_look()
{
	/* P5: while nothing has failed yet no copy is doubted, so that no
	 * change brings the looks of a whole group to MySQL. */
	assert(copy != LIVE || is_trusted || faults_left < FAULTS ||
	    losses_left < LOSSES);
	if
	:: copy_answers || redis(B) && copy_is_good && !mysql(B) ->
		if
		:: copy == ENDED -> assert(ending != 0) /* P2: no 401 */
		:: copy != ENDED ->
			assert(!bound_ended);                  /* P1 */
			assert(copy_version >= bound_version) /* P3 */
		fi
	:: else ->
		if
		:: mysql(B) ->
			assert(row == LIVE || ending != 0)
		:: !mysql(B) -> /* 503 */
			assert(!calm || is_evicted || ending != 0 ||
			    !redis(B)) /* P2 */
		fi
	fi
}

/*
 * A look leaves Redis out though it is there: its breaker is half open, or one
 * answer came late. It goes by the row, but not before B's spools and others'
 * are shipped (breaker_is_settled()). B does not know that A alone was without
 * MySQL: those are two failures at once (conf/README.md).
 */
inline judge_look_at_row_alone()
{
	if
	:: fault == HEALTHY && row == LIVE && !is_a_alone &&
	   (!is_unsettled || off(row_alone)) ->
		assert(!bound_ended) /* P1 */
	:: else
	fi
}

byte touch_version;

/* look_at_row(): any look may find a reason to ask the row. */
proctype reader()
{
	byte version, s0, got;
	do
	:: atomic {
		mysql(B) && row == LIVE && redis(B) &&
		(copy == NONE || copy == LIVE && copy_version < row_version ||
		    !is_trusted || is_blind[B]) ->
		say("look: reads the row\n");
		version = row_version; s0 = seq
	   }
	   if
	   :: atomic {
		redis_takes(B) -> say("look: PUT\n");
		script_put(version, s0, got);
		assert(got != WAS_ENDED || ending != 0);
		version = 0; s0 = 0; got = 0
	      }
	   :: atomic { !redis_takes(B) -> version = 0; s0 = 0 }
	   fi
	od
}

/* lib/cache_redis_ops.c: the last_seen field alone, which is not in here. */
proctype toucher()
{
	do
	:: atomic {
		redis(B) && copy == LIVE -> say("touch: has read the record\n");
		touch_version = copy_version
	   }
	   atomic {
		if
		:: redis_takes(B) && off(touch_field) && copy == LIVE ->
			say("touch: writes the record back\n");
			copy_version = touch_version
		:: else
		fi;
		touch_version = 0
	   }
	od
}

/* ---- time, faults, losses ---- */

proctype world()
{
	do
	:: d_step { true -> judge_look() }
	:: d_step { true -> judge_look_at_row_alone() }
	/* The bound passes: every keeper that can has made a whole round, and
	 * a host's spool is shipped. A's keeper may hang for longer. */
	:: d_step {
		!is_busy[B] -> say("THE BOUND PASSES\n");
		if
		:: spool_mysql && mysql(end_host) -> ship_to_mysql()
		:: else
		fi;
		if
		:: spool_redis && redis_takes(end_host) ->
			script_end(); spool_redis = 0
		:: else
		fi;
		if
		:: !is_busy[A] -> whole_round(A)
		:: else
		fi;
		whole_round(B);
		whole_got = 0; whole_has_row = 0;
		calm = 1;
		bound_version = acked_version;
		bound_ended = (ending == 2);
		is_unsettled = (is_unsettled && !mysql(B));
		is_a_alone = (is_a_alone && !mysql(A));
		settled = (fault == HEALTHY && !spool_mysql && !spool_redis)
	   }
	:: d_step {
		!is_dumped && losses_left > 0 -> say("Redis is dumped\n");
		is_dumped = 1;
		dump_copy = copy; dump_version = copy_version; dump_sync = sync
	   }
	:: atomic {
		fault_may_strike -> say("FAULT\n");
		if
		:: fault = REDIS_AWAY
		:: fault = REDIS_AWAY + 1 + A
		:: fault = REDIS_AWAY + 1 + B
		:: fault = MYSQL_AWAY
		:: fault = MYSQL_AWAY + 1 + A
		:: fault = MYSQL_AWAY + 1 + B
		:: fault = BOTH_AWAY + 1 + A
		:: fault = BOTH_AWAY + 1 + B
		:: fault = REDIS_REFUSES
		fi;
		faults_left--; note_fault()
	   }
	:: d_step {
		fault != HEALTHY -> say("the fault is over\n");
		fault = HEALTHY; note_fault()
	   }
	:: atomic {
		losses_left > 0 &&
		(settled && fault == HEALTHY ||
		    fault >= REDIS_AWAY && fault < MYSQL_AWAY) ->
		if
		:: say("FLUSHALL\n"); copy = NONE; copy_version = 0; sync = 0;
			is_cold = 1
		:: is_dumped -> say("Redis from its dump\n");
			copy = dump_copy; copy_version = dump_version;
			sync = dump_sync; is_cold = 1
		:: copy != NONE -> say("X is evicted\n");
			copy = NONE; copy_version = 0; is_evicted = 1
		:: sync != 0 -> say("sync is evicted\n"); sync = 0
		fi;
		losses_left--; note_fault()
	   }
	od
}

init {
	byte i;
	atomic {
		run keeper(A); run keeper(B); run reader(); run world();
		if
		:: TOUCHES -> run toucher()
		:: else
		fi;
		if
		:: ENDS -> run end(); run shipper()
		:: else
		fi;
		if
		:: OTHERS -> run other()
		:: else
		fi;
		do
		:: i < CHANGES -> run change(0); i++
		:: else -> break
		od;
		i = 0
	}
}
