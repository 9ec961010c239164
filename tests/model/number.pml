/*
 * number.pml: what numbers and fences are worth when a server loses its last
 * commit, when a dump is loaded, and when a gateway is started anew.
 *
 * What meets here: the jump of the counters (durable_mysql_schema.c), epochs and
 * `db restored` (manager_restored.c), the alarm (manager_fence.c), the fence's
 * file and the blind time (fence.c). Looks are at B, changes at A. A round is
 * one step here: fence.pml has its steps.
 *
 * WHAT: CRASH: MySQL is killed and loses the commit that was not synced.
 * RESTORED: a dump is loaded into MySQL and `db restored` is run, with all
 * gateways stopped. LOADED: the same without a word. RESTARTED: B is started
 * anew while MySQL is away, and Redis may come back from a dump.
 *
 * run crash: -DWHAT=CRASH
 * run restored: -DWHAT=RESTORED
 * run loaded: -DWHAT=LOADED
 * run restarted: -DWHAT=RESTARTED
 * mutant jump: -DWHAT=CRASH
 * mutant epoch: -DWHAT=RESTORED
 * mutant alarm: -DWHAT=LOADED
 * mutant fence-file: -DWHAT=RESTARTED
 * mutant blind-clock: -DWHAT=RESTARTED
 */
mtype = { nothing, jump, epoch, alarm, fence_file, blind_clock };

#include "stores.inc"

#define CRASH 1
#define RESTORED 2
#define LOADED 3
#define RESTARTED 4

#define LIVE 1
#define ENDED 2
#define JUMP 8      /* a million */
#define EPOCHS 32   /* a mark is an epoch and a number, compared as one */
#define MAX_BLIND 2 /* bounds */

/* MySQL, and a dump of it. */
byte row = LIVE, row_version = 1, row_seq = 0;
byte seq = 1, era = 1;
byte old_row, old_version, old_row_seq, old_seq;
bit is_dumped = 0;
/* A commit that is not synced yet: a crash loses it. */
bit is_unsynced = 0;
bit has_crashed = 0, is_new_server = 0;

/* Redis, and a dump of it. */
byte copy = LIVE, copy_version = 1, copy_era = 1;
byte sync = EPOCHS + 1;
byte redis_copy, redis_sync;
bit redis_is_dumped = 0;

/* B: the fence, its file, the age of its last round; alarmed. */
byte known = EPOCHS + 1, age = 0;
byte file_known = EPOCHS + 1, file_age = 0;
bit is_alarmed = 0;

byte changes = 2;
bit is_acked = 0, bound_ended = 0;
byte after_end = 0; /* bounds since the end was acknowledged */
bit is_loaded = 0;
/* To load a dump takes longer than a poll: B has polled since. */
bit is_polled = 1;

#define mark(e, n) ((e) * EPOCHS + (n))
#define number(m) ((m) % EPOCHS)

/* fence_trusts(), cached_open() */
#define is_trusted                                                             \
	(sync >= known && !is_alarmed && age <= MAX_BLIND &&                   \
	    (copy_era == sync / EPOCHS || off(epoch)))

inline round()
{
	if
	:: mark(era, seq) < known && !off(alarm) -> is_alarmed = 1
	:: else ->
		if
		:: sync < mark(era, seq) ->
			if
			:: row_seq > (number(known) < number(sync) ->
			    number(known) : number(sync)) ->
				if
				:: row == ENDED -> copy = ENDED
				:: else ->
					copy = row; copy_version = row_version;
					copy_era = era
				fi
			:: else
			fi;
			sync = mark(era, seq)
		:: else
		fi;
		if
		:: known < mark(era, seq) ->
			/* The file first. */
			if
			:: !off(fence_file) -> file_known = mark(era, seq)
			:: else
			fi;
			known = mark(era, seq)
		:: else
		fi;
		age = 0; file_age = 0
	fi
}

proctype world()
{
	byte tmp;
	do
	:: d_step { /* a look */
		copy == LIVE && is_trusted -> say("look: the copy\n");
		assert(!bound_ended); /* P1 */
		/* The time that was lost is over. */
		assert(!is_loaded || WHAT != RESTORED ||
		    copy_version <= row_version);
		tmp = 0
	   }
	:: d_step {
		mysql(B) -> say("round of B\n");
		round(); is_polled = 1
	   }
	/* A is without Redis: the keepers alone bring its changes. */
	:: d_step {
		mysql(A) && changes > 0 && !is_acked && is_polled ->
		say("another session of the group changes\n");
		changes--; seq++; is_unsynced = 1
	   }
	:: d_step {
		mysql(A) && row == LIVE && row_version < 3 && is_polled &&
		WHAT != CRASH ->
		say("X changes\n");
		seq++; row_version++; row_seq = seq;
		copy = (copy == ENDED -> ENDED : LIVE);
		copy_version = row_version; copy_era = era
	   }
	:: d_step {
		mysql(A) && row == LIVE && !is_acked && is_polled ->
		say("X is ended\n");
		seq++; row = ENDED; row_seq = seq; is_unsynced = 0;
		is_acked = 1
	   }
	:: d_step {
		WHAT == CRASH && !has_crashed && is_unsynced ->
		say("MySQL is killed, the last commit is lost\n");
		has_crashed = 1; seq--; is_unsynced = 0;
		/* The first connection of anybody to the new server. */
		if
		:: !off(jump) -> seq = seq + JUMP
		:: else
		fi
	   }
	:: d_step {
		(WHAT == RESTORED || WHAT == LOADED) && !is_dumped ->
		say("MySQL is dumped\n");
		is_dumped = 1; old_row = row; old_version = row_version;
		old_row_seq = row_seq; old_seq = seq
	   }
	:: d_step {
		is_dumped && !is_loaded && seq > old_seq ->
		say("the dump is loaded\n");
		is_loaded = 1; is_polled = (WHAT == RESTORED); row = old_row; row_version = old_version;
		row_seq = old_row_seq; seq = old_seq;
		is_acked = 0; bound_ended = 0; /* until it ends again */
		if
		:: WHAT == RESTORED ->
			era++; seq = seq + JUMP;
			if
			:: copy == ENDED && row == LIVE ->
				seq++; row = ENDED; row_seq = seq
			:: else
			fi;
			sync = mark(era, seq);
			known = file_known; age = file_age
		:: else
		fi
	   }
	:: d_step {
		WHAT == RESTARTED && fault == HEALTHY && faults_left > 0 ->
		say("MySQL goes away, of B\n");
		fault = MYSQL_AWAY + 1 + B; faults_left--
	   }
	:: d_step {
		WHAT == RESTARTED && fault != HEALTHY -> say("B restarts\n");
		known = file_known;
		age = (off(blind_clock) -> 0 : file_age)
	   }
	:: d_step {
		WHAT == RESTARTED && !redis_is_dumped ->
		say("Redis is dumped\n");
		redis_is_dumped = 1; redis_copy = copy; redis_sync = sync
	   }
	:: d_step {
		WHAT == RESTARTED && redis_is_dumped && losses_left > 0 ->
		say("Redis from its dump\n");
		losses_left--; copy = redis_copy; sync = redis_sync
	   }
	:: d_step {
		say("THE BOUND PASSES\n");
		if
		:: mysql(B) -> round()
		:: else ->
			age = (age < 9 -> age + 1 : age);
			file_age = (file_age < 9 -> file_age + 1 : file_age)
		fi;
		after_end = (is_acked && after_end < 9 -> after_end + 1 : 0);
		/* A host without MySQL, and who ended it without Redis. */
		bound_ended = is_acked &&
		    (mysql(B) || known >= mark(era, row_seq) ||
			after_end > MAX_BLIND)
	   }
	od
}

init { run world() }
