/*
 * event.pml: an event happens once, and whoever was told of it was told the
 * truth (manager_change.c: change_run(); manager_end.c; manager_spool.c).
 *
 * What meets here: commits whose answer is lost, asking the audit table, the
 * second try with the same event id, an end's frame in the spool that may be
 * shipped more than once, the process that is killed.
 *
 * WHAT: CHANGE or END.
 *
 * run change: -DWHAT=CHANGE -DFAULTS=2
 * run end: -DWHAT=END -DFAULTS=2
 * mutant settle: -DWHAT=CHANGE
 * mutant event-id: -DWHAT=CHANGE -DFAULTS=2
 * mutant spool: -DWHAT=END
 */
mtype = { nothing, settle, event_id, spool };

#include "stores.inc"

#define CHANGE 1
#define END 2

/* Audit rows by event id: the first try's, and another that only the mutant
 * has. The effect: how often it was done. */
byte audit[2];
byte effects = 0;

#define TOLD_DONE 1
#define TOLD_FAILED 2  /* it did not happen */
#define TOLD_UNKNOWN 3 /* 503 */
byte told = 0;
bit frame = 0;   /* in the spool, not shipped */
byte again = 2;  /* how often the spool forgets that it was shipped */

#define may_fail (faults_left > 0)

inline transaction(id)
{
	if
	:: audit[id] == 0 -> audit[id] = 1; effects++
	:: else
	fi
}

proctype worker()
{
	byte tries, id;
try:
	atomic {
		tries++; id = (tries > 1 && off(event_id) -> 1 : 0);
		if
		:: fault != HEALTHY -> goto failed
		:: fault == HEALTHY ->
			say("commits\n"); transaction(id); goto done
		:: fault == HEALTHY && may_fail ->
			say("commits, the answer is lost\n");
			faults_left--; transaction(id)
		:: fault == HEALTHY && may_fail ->
			say("the commit is lost\n"); faults_left--
		:: fault == HEALTHY && may_fail ->
			say("commits, and is killed\n");
			faults_left--; transaction(id); goto over
		fi
	}
	/* change_settle() */
	atomic {
		if
		:: off(settle) -> told = TOLD_FAILED; goto over
		:: !off(settle) && fault == HEALTHY && audit[id] == 1 &&
		   !off(event_id) -> say("the audit row is there\n"); goto done
		:: !off(settle) && (fault != HEALTHY || off(event_id))
		:: !off(settle) && fault == HEALTHY && audit[id] == 0
		:: !off(settle) && fault == HEALTHY && may_fail ->
			say("nor can that be asked\n"); faults_left--
		fi;
		if
		:: tries < 2 -> goto try
		:: else
		fi
	}
failed:
	atomic {
		if
		:: WHAT == END && !off(spool) ->
			say("frame in the spool, tombstone\n");
			frame = 1; told = TOLD_DONE
		:: WHAT == END && off(spool) -> told = TOLD_DONE
		:: WHAT == CHANGE -> told = TOLD_UNKNOWN
		fi;
		goto over
	}
done:
	told = TOLD_DONE;
over:
	skip
}

proctype world()
{
	do
	:: atomic {
		frame && fault == HEALTHY -> say("is shipped\n");
		transaction(0); frame = 0;
		if
		:: true
		:: again > 0 -> again--; frame = 1
		fi
	   }
	:: d_step {
		fault == HEALTHY && may_fail -> say("FAULT: MySQL\n");
		fault = MYSQL_AWAY; faults_left--
	   }
	:: d_step {
		fault != HEALTHY -> say("the fault is over\n"); fault = HEALTHY
	   }
	:: d_step {
		/* P4: once, and if it was acknowledged, by now. */
		assert(audit[0] + audit[1] <= 1 && effects <= 1);
		assert(told != TOLD_FAILED || effects == 0);
		assert(told != TOLD_DONE || frame || effects == 1)
	   }
	od
}

init { atomic { run worker(); run world() } }
