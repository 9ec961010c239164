/*
 * away.pml: a session that is created while MySQL is away, and what others do
 * with it before and after it has landed (lib/manager_away.c, protocol 8).
 *
 * What meets here: creating without MySQL at A, the spool of A, landing by A's
 * keeper and by looks and changes at B, data changes, ends of every way,
 * cleanup of its user, the keepers' rounds, telling Redis again what the spool
 * has, every fault, Redis losing its data, and H32.
 *
 * CHANGES 0 or 1; ENDER: END, CLEANUP or NOBODY. DOUBLE: Redis may lose its
 * data while MySQL is away, too: then P1 and "no 401" alone must hold.
 *
 * run change: -DCHANGES=1 -DENDER=NOBODY -DLOSSES=0
 * run end: -DCHANGES=0 -DENDER=END -DLOSSES=0
 * run change-and-end: -DCHANGES=1 -DENDER=END -DLOSSES=0
 * run cleanup: -DCHANGES=0 -DENDER=CLEANUP -DLOSSES=0
 * run change-and-cleanup: -DCHANGES=1 -DENDER=CLEANUP -DLOSSES=0
 * run change-loss: -DCHANGES=1 -DENDER=NOBODY
 * run end-loss: -DCHANGES=0 -DENDER=END
 * run cleanup-loss: -DCHANGES=0 -DENDER=CLEANUP
 * run double: -DCHANGES=0 -DENDER=NOBODY -DDOUBLE=1
 * run double-end: -DCHANGES=0 -DENDER=END -DDOUBLE=1
 * mutant u-set: -DCHANGES=0 -DENDER=CLEANUP -DLOSSES=0
 * mutant u-state: -DCHANGES=0 -DENDER=NOBODY -DLOSSES=0
 * mutant u-land: -DCHANGES=0 -DENDER=NOBODY -DLOSSES=0
 * mutant u-guard: -DCHANGES=1 -DENDER=NOBODY
 * mutant h32: -DCHANGES=0 -DENDER=NOBODY -DDOUBLE=1
 * mutant spool-again: -DCHANGES=0 -DENDER=END -DDOUBLE=1
 * mutant spool-remember: -DCHANGES=0 -DENDER=END -DDOUBLE=1
 * mutant placeholder: -DCHANGES=0 -DENDER=END
 */
mtype = { nothing, put_guard, put_version, tombstone, fence, apply, apply_order,
	apply_from, apply_again, publish, spool, warm, u_set, u_state, u_land,
	u_guard, h32, placeholder, spool_again, spool_remember };

#include "stores.inc"

#define FIRST NONE
#include "group.inc"

#define NOBODY 0
#define END 1
#define CLEANUP 2
/* 1: a keeper of A does its rounds within the bound alone. */
#ifndef KEEPERS
#define KEEPERS 1
#endif
#ifndef DOUBLE
#define DOUBLE 0
#endif

/* The refs of U records of the user: X's is among them. */
bit user_set = 0;
/* Audit rows of X's creation: its event id is their key. */
bit audit = 0;

/* A's spool: the creation is to go to MySQL; it is kept, to be told again. */
bit frame_new = 0;
bit frame_kept = 0;
/* sync as it was when the session was created. */
byte frame_s0 = 0;
/* The spool of the host where it was ended: to MySQL, to Redis. */
bit frame_end = 0;
bit frame_tomb = 0;
bit tomb_kept = 0; /* told again after a loss */
bit has_lost = 0;  /* and it is to be: Redis has lost data */
bit end_host = 0;

/* A cleanup that could not read the set said so in its audit row. */
bit unread = 0;

/* B has been without MySQL, or it is not back for long (HELD_MS). */
bit is_held = 0;

byte creating = 0; /* 1 begun, 2 acknowledged, 3 not */
byte ending = 0;   /* 1 begun, 2 acknowledged, 3 not */
bit ends_x = 0;    /* X had been acknowledged when that began */
byte acked_version = 0;
byte bound_version = 0;
bit bound_ended = 0;

#define note_fault() calm = 0; settled = 0

/* Nobody has asked for X's end. */
#define must_live (creating == 2 && ending == 0)

/* ---- scripts of their own ---- */

/* CREATE: not where something has been counted since. */
inline script_create(version, s0)
{
	if
	:: (copy == NONE || copy != ENDED && copy_version < version ||
	       copy == NEW && copy_version == version) &&
	   (sync <= s0 || off(u_guard)) ->
		copy = NEW; copy_version = version;
		if
		:: !off(u_set) -> user_set = 1
		:: else
		fi
	:: else
	fi
}

/* LAND */
inline script_land(version)
{
	if
	:: copy == NEW && copy_version <= version ->
		copy = LIVE; copy_version = version
	:: else
	fi;
	user_set = 0
}

/* ---- landing ---- */

/* land(): one transaction. */
inline land()
{
	if
	:: audit == 0 ->
		audit = 1;
		if
		:: row == NONE && unread ->
			seq++; row = ENDED; row_version = 2; row_seq = seq
		:: row == NONE && !unread -> row = LIVE; row_version = 1
		:: else
		fi
	:: else
	fi
}

/* tell_landed(): the row is read, then the record becomes one of it. */
proctype lander(bit h)
{
	byte version;
	do
	:: atomic { /* A's keeper, from the spool; or who meets the record */
		!off(u_land) && mysql(h) &&
		(h == A && frame_new || redis(h) && copy == NEW &&
		    !off(u_state)) ->
		say("lands\n");
		land();
		if
		:: h == A -> frame_new = 0
		:: else
		fi
	   }
	   if
	   :: atomic {
		mysql(h) && row == LIVE -> say("lands: reads the row\n");
		version = row_version
	      }
	      atomic {
		if
		:: redis_takes(h) -> say("lands: LAND\n");
			script_land(version)
		:: else
		fi;
		version = 0
	      }
	   :: atomic { !(mysql(h) && row == LIVE) }
	   fi
	od
}

/*
 * away_publish_frame(): what the spool has is told to Redis again, at any time:
 * after each new connection.
 */

proctype again()
{
	do
	:: atomic {
		frame_kept && redis_takes(A) &&
		(copy == NONE || copy == NEW) ->
		say("the spool tells Redis of the creation again\n");
		script_create(1, frame_s0)
	   }
	od
}

/* manager_spool_apply() of an end. */
inline ship_end()
{
	if
	:: row == LIVE || row == NONE && !off(placeholder) ->
		seq++; row = ENDED; row_version++; row_seq = seq
	:: else
	fi;
	frame_end = 0
}

proctype shipper()
{
	do
	:: d_step {
		frame_end && mysql(end_host) ->
		say("the end comes to MySQL\n"); ship_end()
	   }
	:: d_step {
		frame_tomb && redis_takes(end_host) ->
		say("the end comes to Redis\n"); script_end(); frame_tomb = 0
	   }
	od
}

/* ---- create at A (manager_create.c, manager_away.c) ---- */

proctype create()
{
	byte s0, got;
	bit is_unknown;

	if
	:: atomic {
		mysql(A) && fault_may_strike -> /* no answer */
		say("create: commits, MySQL goes away with the answer\n");
		creating = 1;
		row = LIVE; row_version = 1; audit = 1;
		faults_left--; note_fault(); is_unknown = 1;
		if
		:: fault = MYSQL_AWAY
		:: fault = MYSQL_AWAY + 1 + A
		fi
	   }
	:: atomic { !mysql(A) -> creating = 1; is_unknown = 1 }
	:: atomic {
		mysql(A) -> say("create: commits\n");
		creating = 1;
		row = LIVE; row_version = 1; audit = 1; s0 = seq
	   }
	   atomic {
		if
		:: redis_takes(A) ->
			say("create: PUT\n"); script_put(1, s0, got)
		:: else
		fi;
		if
		:: got == WAS_ENDED -> creating = 3
		:: got == RETRY && mysql(A) && row == LIVE ->
			/* put_again(): create.pml has it step by step */
			script_put(row_version, seq, got); creating = 2
		:: got == RETRY && row == ENDED -> creating = 3
		:: else -> creating = 2
		fi
	   }
	fi;
	if
	:: atomic {
		/* check_host(): the copies must be believed here. */
		is_unknown && redis_takes(A) && sync != 0 && sync >= known[A] ->
		say("create: record U in Redis\n");
		frame_s0 = sync; script_create(1, sync);
		if
		:: copy == ENDED -> creating = 3; is_unknown = 0
		:: fault_may_strike ->
			say("create: killed\n");
			faults_left--; note_fault();
			creating = 3; is_unknown = 0
		:: copy != ENDED
		fi
	   }
	   if
	   :: atomic {
		is_unknown -> say("create: frame in the spool, acknowledged\n");
		frame_new = 1; frame_kept = 1; creating = 2
	      }
	   :: atomic { !is_unknown }
	   fi
	:: atomic {
		is_unknown &&
		!(redis_takes(A) && sync != 0 && sync >= known[A]) ->
		creating = 3
	   }
	:: atomic { !is_unknown }
	fi;
	atomic {
		if
		:: creating == 2 && acked_version == 0 -> acked_version = 1
		:: else
		fi;
		s0 = 0; got = 0; is_unknown = 0
	}
}

/* ---- a change, at A or B; it lands the session first ---- */

proctype change(bit h)
{
	byte version, s0, got;

	if
	:: atomic { h = A } :: atomic { h = B }
	fi;
	atomic {
		creating == 2 && mysql(h) && row == LIVE ->
		say("change: commits\n");
		seq++; row_version++; row_seq = seq;
		version = row_version; s0 = seq
	}
	atomic {
		if
		:: redis_takes(h) ->
			say("change: PUT\n"); script_put(version, s0, got)
		:: else
		fi;
		if
		:: got != WAS_ENDED -> acked_version = version
		:: else
		fi;
		version = 0; s0 = 0; got = 0; h = 0
	}
}

/* ---- an end by its token (manager_end.c) ---- */

proctype end()
{
	bit is_unknown;

	atomic {
		creating == 2 -> ending = 1; ends_x = 1;
		if
		:: end_host = A :: end_host = B
		fi
	}
	if
	:: atomic {
		/* A row that is not there is made, ended: end_unknown(). */
		mysql(end_host) -> say("end: commits\n");
		ship_end();
		tomb_kept = !off(spool_remember);
		if
		:: true
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
		is_unknown -> say("end: frame in the spool\n");
		frame_end = 1; frame_tomb = 1; tomb_kept = 1
	   }
	:: atomic { !is_unknown }
	fi;
	atomic {
		if
		:: redis_takes(end_host) ->
			say("end: tombstone, acknowledged\n");
			script_end(); ending = 2; frame_tomb = 0
		:: !redis_takes(end_host) && !is_unknown ->
			say("end: acknowledged\n"); ending = 2
		:: else -> ending = 3
		fi;
		is_unknown = 0
	}
}

/* ---- cleanup of the user (manager_user.c) ---- */

proctype cleanup(bit h)
{
	bit is_read, has_x;

	if
	:: atomic { h = A } :: atomic { h = B }
	fi;
	atomic {
		mysql(h) -> ending = 1; ends_x = (creating == 2);
		if
		:: redis(h) -> say("cleanup: reads the set\n");
			is_read = 1; has_x = user_set
		:: else
		fi
	}
	if
	:: atomic {
		mysql(h) -> say("cleanup: commits\n");
		unread = !is_read;
		if
		:: row == LIVE || row == NONE && has_x ->
			seq++; row = ENDED; row_version++; row_seq = seq
		:: else
		fi
	   }
	   atomic {
		if
		:: redis_takes(h) && row == ENDED ->
			say("cleanup: tombstones\n"); script_end()
		:: else
		fi
	   }
	   atomic {
		if
		:: redis_takes(h) && is_read && row != NONE ->
			say("cleanup: shortens the set\n"); user_set = 0
		:: else
		fi;
		say("cleanup: acknowledged\n");
		ending = 2
	   }
	:: atomic { !mysql(h) -> ending = 3 }
	fi;
	is_read = 0; has_x = 0; h = 0
}

/* ---- looks at B; see fence.pml ---- */

#define is_trusted (sync != 0 && sync >= known[B] || off(fence))
#define copy_is_good ((copy == LIVE || copy == NEW) && is_trusted)
#define copy_answers                                                           \
	(redis(B) && (copy == ENDED || copy_is_good && !is_blind[B]))

inline judge_look()
{
	/* Who must see the row (a change, a rotation) lands the session, or is
	 * told to come again. */
	assert(!(must_live && mysql(B) && row == NONE) ||
	    redis(B) && copy == NEW && !off(u_state) || is_held && !off(h32));
	if
	:: copy_answers || redis(B) && copy_is_good && !mysql(B) ->
		if
		:: copy == ENDED -> assert(!must_live) /* P2 */
		:: copy != ENDED ->
			assert(!bound_ended);                  /* P1 */
			assert(copy_version >= bound_version || DOUBLE) /* P3 */
		fi
	:: else ->
		if
		:: mysql(B) && row == LIVE -> assert(!bound_ended)
		:: mysql(B) && row == ENDED -> assert(!must_live)
		:: mysql(B) && row == NONE ->
			if
			/* It is landed, and then there is a row. */
			:: redis(B) && copy == NEW && !off(u_state) ->
				assert(!bound_ended)
			/* H32: 503, or 401. */
			:: else ->
				assert(!must_live || is_held && !off(h32));
				assert(!must_live || !calm || DOUBLE)
			fi
		:: !mysql(B) ->
			assert(!must_live || !calm || is_evicted || DOUBLE ||
			    !redis(B))
		fi
	fi
}

proctype reader()
{
	byte version, s0, got;
	do
	:: atomic {
		mysql(B) && row == LIVE && redis(B) &&
		(copy != LIVE || copy_version < row_version || !is_trusted) ->
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

inline bound_of_spools()
{
	if
	:: frame_new && mysql(A) && !off(u_land) -> land(); frame_new = 0
	:: else
	fi;
	if
	:: frame_end && mysql(end_host) -> ship_end()
	:: else
	fi;
	if
	:: frame_tomb && redis_takes(end_host) -> script_end(); frame_tomb = 0
	:: else
	fi;
	if
	:: frame_kept && redis_takes(A) && copy == NONE && has_lost ->
		script_create(1, frame_s0)
	:: else
	fi;
	if
	:: tomb_kept && redis_takes(end_host) && has_lost && !off(spool_again) ->
		script_end()
	:: else
	fi;
	has_lost = has_lost && !(redis_takes(A) && redis_takes(B))
}

proctype world()
{
	do
	:: d_step { creating >= 2 -> judge_look() }
	:: d_step {
		!is_busy[A] && !is_busy[B] -> say("THE BOUND PASSES\n");
		bound_of_spools();
		whole_round(A); whole_round(B);
		whole_got = 0; whole_has_row = 0;
		/* No creation takes as long as HELD_MS. */
		is_held = !mysql(B) ||
		    is_held && (!calm || frame_new || creating == 1);
		calm = 1;
		bound_version = acked_version;
		bound_ended = (ending == 2 && ends_x);
		settled = (fault == HEALTHY && !frame_new && !frame_end &&
		    !frame_tomb && creating != 1);
		/* P3, P4: nothing that was acknowledged is lost. */
		assert(!settled || creating != 2 || audit == 1);
		assert(!settled || !must_live || row == LIVE);
		assert(!settled || row_version >= acked_version);
		assert(!(fault == HEALTHY && must_live && row != LIVE))
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
		    fault >= REDIS_AWAY && fault < MYSQL_AWAY ||
		    DOUBLE && fault == MYSQL_AWAY && is_held) ->
		if
		:: say("FLUSHALL\n"); copy = NONE; copy_version = 0; sync = 0;
			user_set = 0; is_cold = 1; has_lost = 1
		:: is_dumped -> say("Redis from its dump\n");
			copy = dump_copy; copy_version = dump_version;
			sync = dump_sync; user_set = 0;
			is_cold = 1; has_lost = 1
		:: copy != NONE && !DOUBLE -> say("X is evicted\n");
			copy = NONE; copy_version = 0; is_evicted = 1
		:: sync != 0 -> say("sync is evicted\n"); sync = 0
		fi;
		/* Of two failures that overlap the bound counts from the last. */
		if
		:: DOUBLE -> bound_ended = 0; bound_version = 0
		:: else
		fi;
		losses_left--; note_fault()
	   }
	od
}

init {
	atomic {
		run keeper(B); run reader(); run world();
		if
		:: KEEPERS == 2 -> run keeper(A)
		:: else
		fi;
		run lander(A); run lander(B); run again(); run create();
		if
		:: CHANGES == 1 -> run change(0)
		:: else
		fi;
		if
		:: ENDER == END -> run end(); run shipper()
		:: ENDER == CLEANUP -> run cleanup(0)
		:: else
		fi
	}
}
