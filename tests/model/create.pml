/*
 * create.pml: a session is created while others of its group change, while its
 * user is cleaned or blocked, and while it is looked at.
 *
 * What meets here: the transaction of a creation with the user's lock, the
 * number s0 that it reads, PUT and its repeats (manager_create.c), cleanup and
 * block (manager_user.c), changes of another session of the group, the keepers'
 * rounds, every fault, Redis losing its data.
 *
 * OTHERS: changes of another session; WITH: NOBODY, CLEANUP or BLOCK.
 *
 * run others: -DOTHERS=1 -DWITH=NOBODY
 * run others-twice: -DOTHERS=2 -DWITH=NOBODY -DLOSSES=0
 * run cleanup: -DOTHERS=0 -DWITH=CLEANUP
 * run cleanup-others: -DOTHERS=1 -DWITH=CLEANUP -DFAULTS=0
 * run block: -DOTHERS=0 -DWITH=BLOCK
 * mutant create-retry: -DOTHERS=1 -DWITH=NOBODY -DLOSSES=0
 * mutant user-lock: -DOTHERS=0 -DWITH=BLOCK -DFAULTS=0 -DLOSSES=0
 * mutant put-guard: -DOTHERS=0 -DWITH=CLEANUP -DFAULTS=0 -DLOSSES=0
 */
mtype = { nothing, put_guard, put_version, tombstone, fence, apply, apply_order,
	apply_from, apply_again, warm, create_retry, user_lock };

#include "stores.inc"

#define FIRST NONE
#include "group.inc"

#define NOBODY 0
#define CLEANUP 1
#define BLOCK 2

byte creating = 0; /* 1 begun, 2 acknowledged, 3 not */
byte ending = 0;   /* 1 begun, 2 acknowledged, 3 not */
bit ends_x = 0;    /* what began then must end X */
bit is_blocked = 0;
bit bound_ended = 0;

/* The user's lock: who creates shares it, who ends has it alone. */
bit lock_shared = 0;
bit lock_alone = 0;

#define note_fault() calm = 0; settled = 0

#define must_live (creating == 2 && (ending == 0 || ending == 3))

/* ---- create at A ---- */

proctype create()
{
	byte s0, got, tries, version;

	atomic {
		mysql(A) && !lock_alone -> say("create: shares the lock\n");
		creating = 1; lock_shared = 1;
		if
		:: is_blocked -> lock_shared = 0; creating = 3; goto over
		:: !is_blocked
		fi
	}
	if
	:: atomic { mysql(A) -> say("create: INSERT, reads s0\n"); s0 = seq }
	:: atomic { !mysql(A) -> lock_shared = 0; creating = 3; goto over }
	fi;
	if
	:: atomic {
		mysql(A) -> say("create: COMMIT\n");
		row = LIVE; row_version = 1; lock_shared = 0; version = 1;
		if
		:: true
		:: fault_may_strike ->
			say("create: killed\n");
			faults_left--; note_fault(); creating = 3; goto over
		fi
	   }
	:: atomic { !mysql(A) -> lock_shared = 0; creating = 3; goto over }
	fi;
put:
	atomic {
		if
		:: redis_takes(A) ->
			say("create: PUT\n"); script_put(version, s0, got)
		:: else -> got = OK
		fi;
		if
		:: got == WAS_ENDED -> creating = 3; goto over
		:: got == RETRY && tries < 2 && !off(create_retry)
		:: else ->
			say("create: acknowledged\n");
			creating = 2; goto over
		fi
	}
	/* put_again() */
	if
	:: atomic {
		mysql(A) && row == LIVE -> say("create: reads the row\n");
		version = row_version; s0 = seq; tries++; goto put
	   }
	:: atomic { mysql(A) && row == ENDED -> creating = 3 }
	:: atomic { !mysql(A) -> creating = 3 /* 503 */ }
	fi;
over:
	atomic { s0 = 0; got = 0; tries = 0; version = 0 }
}

/* ---- cleanup or block at B ---- */

proctype cleanup()
{
	bit has_x;

	atomic {
		mysql(B) && !lock_alone && (!lock_shared || off(user_lock)) ->
		say("cleanup: takes the lock, reads the user's rows\n");
		ending = 1;
		/* A creation that is not answered yet may come before or after;
		 * but no session of a blocked user is left. */
		ends_x = creating == 2 || WITH == BLOCK;
		lock_alone = !off(user_lock); has_x = (row == LIVE)
	}
	if
	:: atomic {
		mysql(B) -> say("cleanup: COMMIT\n");
		lock_alone = 0; is_blocked = (WITH == BLOCK);
		if
		:: has_x && row == LIVE ->
			seq++; row = ENDED; row_version++; row_seq = seq
		:: else -> has_x = 0
		fi
	   }
	   atomic {
		if
		:: has_x && redis_takes(B) ->
			say("cleanup: tombstones\n"); script_end()
		:: else
		fi;
		say("cleanup: acknowledged\n"); ending = 2
	   }
	:: atomic { !mysql(B) -> lock_alone = 0; ending = 3 }
	fi;
	has_x = 0
}

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

/* ---- looks at B; see fence.pml ---- */

#define is_trusted (sync != 0 && sync >= known[B] || off(fence))
#define copy_is_good (copy == LIVE && is_trusted)
#define copy_answers                                                           \
	(redis(B) && (copy == ENDED || copy_is_good && !is_blind[B]))

inline judge_look()
{
	if
	:: copy_answers || redis(B) && copy_is_good && !mysql(B) ->
		if
		:: copy == ENDED -> assert(!must_live) /* P2 */
		:: copy != ENDED -> assert(!bound_ended) /* P1 */
		fi
	:: else ->
		if
		:: mysql(B) && row == LIVE -> assert(!bound_ended)
		:: mysql(B) && row != LIVE -> assert(!must_live)
		:: !mysql(B) ->
			/* What could not be put there when it was made, and was
			 * not looked at since, is not there. */
			assert(!must_live || !calm || is_evicted || !redis(B))
		fi
	fi
}

proctype reader()
{
	byte version, s0, got;
	do
	:: atomic {
		mysql(B) && row == LIVE && redis(B) &&
		(copy != LIVE || !is_trusted) ->
		say("look: reads the row\n");
		version = row_version; s0 = seq
	   }
	   atomic {
		if
		:: redis_takes(B) -> say("look: PUT\n");
			script_put(version, s0, got)
		:: else
		fi;
		version = 0; s0 = 0; got = 0
	   }
	od
}

/* ---- time, faults, losses ---- */

proctype world()
{
	do
	:: d_step { creating >= 2 -> judge_look() }
	:: d_step {
		!is_busy[B] -> say("THE BOUND PASSES\n");
		if
		:: !is_busy[A] -> whole_round(A)
		:: else
		fi;
		whole_round(B);
		whole_got = 0; whole_has_row = 0;
		calm = 1;
		bound_ended = (ending == 2 && ends_x);
		settled = (fault == HEALTHY);
		/* No session is left of a user who was blocked. */
		assert(!(WITH == BLOCK && ending == 2 && creating == 2 &&
		    row == LIVE))
	   }
	:: d_step {
		!is_dumped && losses_left > 0 && creating > 0 ->
		say("Redis is dumped\n");
		is_dumped = 1;
		dump_copy = copy; dump_version = copy_version; dump_sync = sync
	   }
	:: atomic {
		fault_may_strike ->
		if
		:: say("FAULT: Redis\n"); fault = REDIS_AWAY
		:: say("FAULT: Redis, of A\n"); fault = REDIS_AWAY + 1 + A
		:: say("FAULT: Redis, of B\n"); fault = REDIS_AWAY + 1 + B
		:: say("FAULT: MySQL\n"); fault = MYSQL_AWAY
		:: say("FAULT: MySQL, of A\n"); fault = MYSQL_AWAY + 1 + A
		:: say("FAULT: MySQL, of B\n"); fault = MYSQL_AWAY + 1 + B
		:: say("FAULT: both, of A\n"); fault = BOTH_AWAY + 1 + A
		:: say("FAULT: both, of B\n"); fault = BOTH_AWAY + 1 + B
		:: say("FAULT: Redis refuses\n"); fault = REDIS_REFUSES
		fi;
		faults_left--; note_fault()
	   }
	:: d_step {
		fault != HEALTHY -> say("the fault is over\n");
		fault = HEALTHY; note_fault()
	   }
	:: atomic {
		losses_left > 0 && creating >= 2 &&
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
	atomic {
		run keeper(A); run keeper(B); run reader(); run world();
		run create();
		if
		:: WITH != NOBODY -> run cleanup()
		:: else
		fi;
		if
		:: OTHERS -> run other()
		:: else
		fi
	}
}
