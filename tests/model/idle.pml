/*
 * idle.pml: an active session is not ended for idleness, whichever store has
 * noted its activity (manager_look.c, manager_care.c).
 *
 * What meets here: looks, touches in both stores, batches that wait, the reaper,
 * MySQL or Redis away, a host that is killed, Redis from a dump, time. A unit of time is longer than a
 * bound; a batch that can be written is, within it.
 *
 * run idle: -DEND=7
 * mutant idle-row: -DEND=6
 * mutant seen-later: -DEND=6
 * mutant reap-copy: -DEND=6
 */
mtype = { nothing, idle_row, seen_later, reap_copy };

#include "stores.inc"

#define IDLE 2

byte now = 1;
byte used = 1;      /* when the session was really used last */
byte row_seen = 1;  /* MySQL */
byte copy_seen = 1; /* Redis; 0: there is no copy */
byte dump_seen = 1;
byte waiting = 0;   /* a touch that waits for its batch */
/* For how long both stores have been there: the reaper asks for more than 0. */
byte up = 1;
/* Of another session's change the fence may be ahead of sync. */
bit is_behind = 0;

#define is_mysql_up (fault != MYSQL_AWAY)
#define is_redis_up (fault != REDIS_AWAY)
#define is_idle(seen) (now - (seen) > IDLE)
#define is_active (!is_idle(used))
#define later(a, b) ((a) > (b) -> (a) : (b))

inline live()
{
	used = now; waiting = now;
	copy_seen = (is_redis_up && copy_seen != 0 -> now : copy_seen)
}

proctype world()
{
	byte seen;
	do
	/* look_ask(): the session is used. */
	:: atomic {
		is_active -> say("a look\n");
		if
		:: is_redis_up && copy_seen != 0 && !is_behind &&
		   !is_idle(copy_seen) -> live()
		:: is_redis_up && copy_seen != 0 && !is_behind &&
		   is_idle(copy_seen) && off(idle_row) ->
			say("look: the copy says idle\n"); assert(false)
		:: else ->
			if
			:: is_mysql_up ->
				seen = row_seen;
				if
				:: is_redis_up && !off(seen_later) ->
					seen = later(row_seen, copy_seen)
				:: else
				fi;
				assert(!is_idle(seen)); /* P2 */
				copy_seen = (is_redis_up -> seen : copy_seen);
				live()
			:: !is_mysql_up /* 503 */
			fi
		fi;
		seen = 0
	   }
	/* manager_touch_write(): copies first. */
	:: d_step {
		waiting != 0 && is_mysql_up -> say("the batch is written\n");
		row_seen = later(row_seen, waiting); waiting = 0
	   }
	:: d_step {
		waiting != 0 && fault_may_strike ->
		say("the host is killed with the touches that wait\n");
		faults_left--; losses_left = 0; waiting = 0
	   }
	/* reap_expired() */
	:: d_step {
		is_mysql_up && is_redis_up && up > 0 && is_idle(row_seen) ->
		if
		:: copy_seen != 0 && !is_idle(copy_seen) && !off(reap_copy) ->
			say("reaper: the row gets the copy's\n");
			row_seen = copy_seen
		:: else ->
			say("reaper: ends it\n");
			assert(!is_active) /* P2 */
		fi
	   }
	:: d_step {
		now < END && (waiting == 0 || !is_mysql_up) -> say("TIME\n");
		now++; up = (fault == HEALTHY -> 1 : 0)
	   }
	:: d_step { is_behind = 1 - is_behind }
	:: d_step {
		dump_seen != copy_seen && losses_left > 0 &&
		fault == HEALTHY && faults_left == FAULTS ->
		say("Redis is dumped\n"); dump_seen = copy_seen
	   }
	:: d_step { /* instead of a fault */
		losses_left > 0 && fault == HEALTHY && faults_left == FAULTS &&
		dump_seen != copy_seen ->
		say("Redis from its dump\n");
		losses_left--; faults_left = 0; copy_seen = dump_seen; up = 0
	   }
	:: atomic {
		fault_may_strike -> say("FAULT\n");
		if
		:: fault = MYSQL_AWAY :: fault = REDIS_AWAY
		fi;
		faults_left--; losses_left = 0; up = 0
	   }
	:: d_step {
		fault != HEALTHY -> say("the fault is over\n");
		fault = HEALTHY; up = 0
	   }
	od
}

init { run world() }
