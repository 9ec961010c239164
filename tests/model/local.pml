/*
 * local.pml: the local cache of one host, while stores and caches go on.
 *
 * What meets here: looks that fill the cache (manager_identify.c), hits, drops
 * and tickets (local.c), changes and ends at this host and at another one, the
 * keeper's round (manager_fence.c), the tracker: its connection, its PINGs and
 * invalidations, which a PONG may overtake, the change of mode when Redis
 * cannot be reached, touched records (gateway/tracker.c). Every fault, and
 * Redis losing its data.
 *
 * The cache is that of host B; A is any other host. Caches meet only in the
 * stores, so B's stands for all. It has one entry, of the session X: `version`
 * of it, 0 for none. A ticket is good until something is dropped; a process
 * that hangs or is dead is one that takes no step.
 *
 * Time: MARK and, one second later, THE BOUND PASSES. A moment is SINCE (since
 * the mark), OLD (before it), and with the bound it is so long ago that no
 * lease can come of it. Version 9 stands for "ended": no entry has it.
 *
 * CHANGES, ENDS: how many there are in a run. TOUCHES: of the record in Redis.
 * LOOKS: how many go on at a time. BREAKS: how often the connection is lost
 * without a fault, or the tracker or the keeper is killed.
 *
 * run changes: -DFAULTS=0 -DLOSSES=0
 * run ends: -DCHANGES=0 -DENDS=1 -DFAULTS=0 -DLOSSES=0
 * run changes-fault: -DLOSSES=0 -DBREAKS=0 -DWHOLE_HITS
 * run ends-fault: -DCHANGES=0 -DENDS=1 -DLOSSES=0 -DBREAKS=0 -DWHOLE_HITS
 * run changes-loss: -DFAULTS=0 -DBREAKS=0 -DWHOLE_HITS
 * run ends-loss: -DCHANGES=0 -DENDS=1 -DFAULTS=0 -DBREAKS=0 -DWHOLE_HITS
 * run touches: -DLOOKS=2 -DTOUCHES=1 -DFAULTS=0 -DLOSSES=0 -DWHOLE_HITS
 * long ends-fault-break: -DCHANGES=0 -DENDS=1 -DLOSSES=0
 * long ends-fault-loss: -DCHANGES=0 -DENDS=1 -DBREAKS=0 -DWHOLE_HITS
 * long changes-fault-loss: -DBREAKS=0 -DWHOLE_HITS
 * mutant local-ticket: -DFAULTS=0 -DLOSSES=0
 * mutant local-epoch: -DFAULTS=0 -DLOSSES=0
 * mutant local-lease: -DFAULTS=0 -DLOSSES=0
 * mutant local-own: -DFAULTS=0 -DLOSSES=0
 * mutant local-order: -DLOSSES=0 -DBREAKS=0 -DWHOLE_HITS
 * mutant local-round: -DLOSSES=0 -DBREAKS=0 -DWHOLE_HITS
 * mutant track-ping: -DFAULTS=0 -DLOSSES=0
 * mutant track-loss: -DCHANGES=0 -DENDS=1 -DLOSSES=0 -DWHOLE_HITS
 */
mtype = { nothing, put_guard, put_version, tombstone, touch_field, fence, apply,
	apply_order, apply_from, apply_again, publish, spool, warm, local_ticket,
	local_epoch, local_lease, local_own, local_order, local_round, track_ping, track_loss};

#include "stores.inc"

#ifndef CHANGES
#define CHANGES 1
#endif
#ifndef ENDS
#define ENDS 0
#endif
#ifndef TOUCHES
#define TOUCHES 0
#endif
#ifndef BREAKS
#define BREAKS 1
#endif
#ifndef LOOKS
#define LOOKS 1
#endif

#define FIRST LIVE
#include "group.inc"

#define is_well (faults_left == FAULTS && losses_left == LOSSES)
#define is_in_order                                                            \
	(fault == HEALTHY && !spool_mysql && sync >= seq && known[B] >= seq && \
	    round_began == NEVER && tracker == UP && is_connected && !turn &&  \
	    !sent && !sent_behind)

/* How often the connection may be lost without a fault, or the tracker, or
 * the keeper, be killed. */
byte breaks = BREAKS;

/* ---- moments ---- */

#define NEVER 0
#define AGED 1
#define BEFORE 2
#define SINCE 3
#define later(a, b) ((a) > (b) -> (a) : (b))
#define ages(moment) moment = (moment == SINCE -> BEFORE : moment)
#define passes(moment) moment = (moment == BEFORE -> NEVER : moment)

/* What was acknowledged: before the mark, and before the bound. */
#define IS_ENDED 9
byte acked = 1;
byte acked_marked = 1;
byte told = 1;
byte told_marked = 1;
byte told_bound = 1;
byte acked_bound = 1;
/* At B itself, and Redis has it: no hit at B is older from then on. */
byte acked_here = 1;
byte second = 0;

/* ---- the local cache of B (local.c) ---- */

byte version = 0;
/* Dropped in doubt (local_doubt()): the version that still lies there. */
byte doubted = 0;
/* Looks under way: what they have read, 0: nothing; and whether the ticket is
 * good. */
byte found[LOOKS];
bit has_ticket[LOOKS];
/* The counter that was read beside the row, until it is PUT. */
byte counter[LOOKS];

#define TRACKED 1
#define POLLED 0
bit mode = TRACKED;
/* What the tracker's lease comes from: the PING before the one answered. */
byte lease = SINCE;
/* When the last complete round of the group began. */
byte complete = SINCE;

byte i_ticket;
inline drop_tickets()
{
	i_ticket = 0;
	do
	:: i_ticket < LOOKS ->
		has_ticket[i_ticket] = 0;
		found[i_ticket] = (counter[i_ticket] != 0 -> found[i_ticket] : 0);
		i_ticket++
	:: else -> break
	od;
	i_ticket = 0
}

inline local_drop()
{
	version = 0; doubted = 0;
	if
	:: !off(local_ticket) -> drop_tickets()
	:: else
	fi
}

inline local_drop_all()
{
	version = 0; doubted = 0;
	if
	:: !off(local_epoch) -> drop_tickets()
	:: else
	fi
}

#define is_young (complete != NEVER || gives_up_mysql)
/* The breakers, open. How late they are counts for the fault. */
#define gives_up_mysql (!mysql(B))
#define gives_up_redis (!redis(B))

#define is_leased                                                              \
	(off(local_lease) ||                                                   \
	    mode == TRACKED && lease != NEVER && is_young || \
	    mode == POLLED && complete > AGED && gives_up_redis)

/* local_set_mode(): drop all, end the lease and change, drop all. */
byte stage = 0;
bit target = 0;
inline set_mode(m)
{
	target = m; local_drop_all(); stage = 1
}

/* ---- the tracker (gateway/tracker.c, cache_redis_tracking.c) ---- */

#define DEAD 0
#define DOWN 1
#define UP 2
byte tracker = UP;
/* The connection is there: Redis sends what it writes. */
bit is_connected = 1;
/* A write of the turn that runs; what has been sent, before and behind the
 * PONG. */
bit turn = 0;
bit sent = 0;
bit has_pong = 0;
bit sent_behind = 0;
/* The last PING, and the one before. */
byte ping = SINCE;
byte ping_before = SINCE;

byte was_copy;
byte was_version;
#define before_write() was_copy = copy; was_version = copy_version
#define after_write()                                                          \
	turn = (is_connected && (copy != was_copy ||                           \
	    copy_version != was_version) -> 1 : turn);                          \
	was_copy = 0; was_version = 0

inline disconnect()
{
	is_connected = 0; turn = 0; sent = 0; has_pong = 0; sent_behind = 0;
	ping = NEVER; ping_before = NEVER;
}

#define is_idle (tracker != DEAD && stage == 0)
#define hears (is_idle && tracker == UP && is_connected && redis(B))

inline distrust()
{
	if
	:: mode == TRACKED && !off(track_loss) -> set_mode(TRACKED)
	:: else
	fi
}

proctype tracking()
{
	do
	/* Redis: a turn ends. */
	:: d_step {
		turn && is_connected -> say("redis: sends the invalidation\n");
		if
		:: has_pong -> sent_behind = 1
		:: else -> sent = 1
		fi;
		turn = 0
	   }
	/* PING and its PONG, which has no invalidation of this turn before. */
	:: d_step {
		hears && !has_pong && lease != SINCE -> say("tracker: PING\n");
		ping_before = ping; ping = SINCE; has_pong = 1;
		sent_behind = turn; turn = 0
	   }
	:: d_step {
		hears && !sent && has_pong -> say("tracker: PONG, renews the lease\n");
		lease = later(lease, (off(track_ping) -> ping : ping_before));
		has_pong = 0; sent = sent_behind; sent_behind = 0
	   }
	:: d_step {
		hears && sent ->
		sent = 0;
		if
		:: version != 0 && TOUCHES ->
			say("tracker: invalidation, drops in doubt\n");
			drop_tickets();
			doubted = version; version = 0
		:: else ->
			say("tracker: invalidation, drops\n"); local_drop()
		fi
	   }
	:: d_step {
		is_idle && doubted != 0 ->
		if
		:: redis(B) && copy == LIVE && copy_version == doubted ->
			say("tracker: has asked, it is right\n");
			version = doubted
		:: else -> say("tracker: has asked, it is wrong\n")
		fi;
		doubted = 0
	   }
	/* Redis that is away may keep the connection, or not. */
	:: d_step {
		is_connected && (!redis(B) || breaks > 0) ->
		say("the connection is lost\n");
		breaks = (redis(B) -> breaks - 1 : breaks); disconnect()
	   }
	:: d_step {
		tracker != DEAD && breaks > 0 -> say("the tracker is killed\n");
		breaks--; disconnect(); stage = 0; doubted = 0; tracker = DEAD
	   }
	:: d_step {
		tracker == DEAD -> say("a new tracker: drops all\n");
		set_mode(redis(B)); tracker = DOWN
	   }
	:: d_step {
		is_idle && tracker == UP && !is_connected ->
		say("tracker: finds the connection lost\n"); tracker = DOWN;
		distrust()
	   }
	:: d_step {
		is_idle && tracker == DOWN && redis(B) ->
		say("tracker: connects\n"); is_connected = 1; tracker = UP;
		distrust()
	   }
	:: d_step { /* follow_breaker() */
		is_idle && mode != redis(B) -> say("tracker: another mode\n");
		set_mode(redis(B))
	   }
	:: d_step {
		stage == 1 && tracker != DEAD ->
		say("tracker: the mode is set\n");
		lease = NEVER; mode = target; stage = 2
	   }
	:: d_step {
		stage == 2 && tracker != DEAD -> say("tracker: drops all again\n");
		local_drop_all(); stage = 0; target = 0
	   }
	od
}

/* ---- the keeper of B (manager_fence.c) ---- */

byte round_began = NEVER;


/*
 * A new keeper does not know what the one before it has dropped. The rows are
 * read also when Redis has them already or does not answer.
 */
bit is_new_keeper = 0;

#define has_news                                                               \
	(known[B] < seq || redis(B) && sync < seq || is_new_keeper)

proctype keeper_here()
{
	byte c, y, got, state, row_is;
	bit has_row, has_rows;

	do
	:: d_step {
		mysql(B) && complete != SINCE && !has_news ->
		say("B's keeper: a quiet round\n"); complete = SINCE
	   }
	:: d_step {
		breaks > 0 && !is_new_keeper ->
		say("B's keeper is killed\n"); breaks--; is_new_keeper = 1
	   }
	:: d_step {
		mysql(B) && has_news -> say("B's keeper: polls\n");
		c = seq; y = (redis(B) -> sync : seq); round_began = SINCE
	   }
	   if
	   :: d_step {
		mysql(B) -> say("B's keeper: reads the rows\n");
		has_row = row_seq > rows_after(B, y); has_rows = !is_new_keeper;
		state = row; row_is = row_version;
		if
		:: off(local_order) && has_row -> local_drop()
		:: else
		fi
	      }
	   :: d_step { !mysql(B) -> say("B's keeper: has no rows\n") }
	   fi;
	   d_step {
		if
		:: y < c && state != NONE && redis_takes(B) ->
			say("B's keeper: APPLY\n"); before_write();
			script_apply(y, c, has_row, state, row_is, got);
			after_write()
		:: else
		fi
	   }
	   d_step { say("B's keeper: raises the fence\n"); raise(B, c) }
	   if
	   :: d_step {
		if
		:: off(local_order) || off(local_round)
		:: !off(local_order) && !off(local_round) && !has_rows ->
			say("B's keeper: drops all\n"); local_drop_all()
		:: else ->
			if
			:: has_row -> say("B's keeper: drops\n"); local_drop()
			:: else
			fi
		fi
	      }
	      d_step {
		say("B's keeper: the round is complete\n");
		complete = later(complete, round_began); is_new_keeper = 0
	      }
	   :: d_step {
		breaks > 0 -> say("B's keeper is killed\n");
		breaks--; is_new_keeper = 1
	      }
	   fi;
	   d_step {
		round_began = NEVER; c = 0; y = 0; got = 0; state = 0;
		row_is = 0; has_row = 0; has_rows = 0
	   }
	od
}

/* ---- a look at B that fills (manager_look.c, manager_identify.c) ---- */

#define is_trusted (sync != 0 && sync >= known[B] || off(fence))

proctype look(byte me)
{
	byte got;
	do
	/* The ticket is older than the answer; here as young as can be. */
	:: d_step {
		found[me] == 0 && redis(B) && copy == LIVE && is_trusted ->
		say("look: reads the copy\n");
		has_ticket[me] = 1; found[me] = copy_version
	   }
	:: d_step {
		found[me] == 0 && mysql(B) && row == LIVE &&
		(!redis(B) || copy == NONE || copy == LIVE && !is_trusted) ->
		say("look: reads the row\n");
		has_ticket[me] = 1; found[me] = row_version; counter[me] = seq
	   }
	:: d_step {
		found[me] != 0 && counter[me] != 0 ->
		if
		:: redis_takes(B) ->
			say("look: PUT\n"); before_write();
			script_put(found[me], counter[me], got); after_write();
			if
			:: got == WAS_ENDED || got == RETRY ->
				found[me] = 0; has_ticket[me] = 0
			:: else
			fi
		:: else
		fi;
		counter[me] = 0; got = 0;
		found[me] = (has_ticket[me] -> found[me] : 0)
	   }
	:: d_step {
		found[me] != 0 && counter[me] == 0 ->
		say("look: fills\n");
		version = found[me]; doubted = 0;
		found[me] = 0; has_ticket[me] = 0
	   }
	od
}

/*
 * A hit: lease and round are judged first; then the entry, if its ticket is
 * still good, lacks nothing that they stand for. WHOLE_HITS: at one moment.
 */
inline begin_hit()
{
	acked > 1 && version != 0 && is_leased;
	bound = later(acked_bound,
	    (is_well -> later(told_bound, acked_here) : 1))
}

inline end_hit()
{
	assert(version == 0 || version >= bound); /* P1, P3 */
	bound = 0
}

proctype hit()
{
	byte bound;
	do
#ifdef WHOLE_HITS
	:: d_step { begin_hit(); end_hit() }
#else
	:: d_step { begin_hit() } d_step { end_hit() }
#endif
	od
}

/* ---- changes and ends ---- */

bit spool_mysql = 0;

inline ship_to_mysql()
{
	if
	:: row == LIVE ->
		row = ENDED; row_version++; seq++; row_seq = seq
	:: else
	fi;
	spool_mysql = 0
}

/* The local cache of the host where it was, and the answer. */
inline acknowledge(h, what, is_in_redis)
{
	if
	:: h == B && !off(local_own) -> local_drop()
	:: else
	fi;
	acked = later(acked, what);
	told = ((is_in_redis) -> later(told, what) : told);
	if
	:: h == B && (is_in_redis) -> acked_here = later(acked_here, what)
	:: else
	fi;
	say("acknowledged\n")
}

proctype change()
{
	bit h;
	byte new_version, s0, got;

	if
	:: atomic { h = A } :: atomic { h = B }
	fi;
	atomic {
		mysql(h) && row == LIVE -> say("change: commits\n");
		seq++; row_version++; row_seq = seq;
		new_version = row_version; s0 = seq;
		if
		:: true
		:: fault_may_strike ->
			say("change: and is not answered\n");
			faults_left--; goto over
		fi
	}
	d_step {
		if
		:: redis_takes(h) ->
			say("change: PUT\n"); before_write();
			script_put(new_version, s0, got); after_write()
		:: else
		fi
	}
	d_step {
		if
		:: got != WAS_ENDED ->
			acknowledge(h, new_version, got == OK || got == HAVE || got == RETRY)
		:: else
		fi
	}
over:	atomic { new_version = 0; s0 = 0; got = 0; h = 0 }
}

proctype end()
{
	bit h, is_unknown, is_told;

	if
	:: atomic { h = A } :: atomic { h = B }
	fi;
	if
	:: atomic {
		mysql(h) && row == LIVE -> say("end: commits\n");
		seq++; row_version++; row_seq = seq; row = ENDED;
		if
		:: true
		:: fault_may_strike ->
			say("end: MySQL goes away with the answer\n");
			faults_left--; fault = MYSQL_AWAY; 
			is_unknown = 1; spool_mysql = 1
		fi
	   }
	:: atomic {
		!mysql(h) -> say("end: frame in the spool\n");
		is_unknown = 1; spool_mysql = 1
	   }
	fi;
	d_step {
		if
		:: redis_takes(h) ->
			say("end: tombstone\n"); before_write();
			script_end(); after_write(); is_told = 1
		:: else
		fi
	}
	d_step {
		if
		:: is_told || !is_unknown -> acknowledge(h, IS_ENDED, is_told)
		:: else
		fi;
		h = 0; is_unknown = 0; is_told = 0
	}
}

/* ---- time, other hosts, faults, losses ---- */

proctype world()
{
	byte touches = TOUCHES;
	do
	:: d_step {
		second == 0 && acked != acked_marked -> say("MARK\n");
		second = 1; acked_marked = acked; told_marked = told;
		ages(lease); ages(complete); ages(ping); ages(ping_before);
		ages(round_began)
	   }
	:: d_step {
		second == 1 -> say("A SECOND HAS PASSED\n");
		second = 2;
		told_bound = told_marked;
		passes(lease); passes(ping); passes(ping_before);
		complete = (complete == BEFORE -> AGED : complete);
		round_began = (round_began == BEFORE -> AGED : round_began)
	   }
	:: d_step {
		second == 2 -> say("TWO SECONDS HAVE PASSED\n");
		second = 0; acked_bound = acked_marked;
		complete = (complete == AGED -> NEVER : complete);
		round_began = (round_began == AGED -> NEVER : round_began)
	   }
	:: d_step { /* another entry needs the place */
		LOOKS > 1 && version + doubted != 0 -> version = 0; doubted = 0
	   }
	:: d_step {
		mysql(A) && sync < seq && redis_takes(A) ->
		say("A's keeper: a whole round\n");
		before_write();
		whole_has_row = (row_seq > sync);
		script_apply(sync, seq, whole_has_row, row, row_version,
		    whole_got);
		after_write(); whole_got = 0; whole_has_row = 0
	   }
	:: d_step { !settled && is_in_order -> settled = 1 }
	:: d_step {
		spool_mysql && mysql(A) -> say("spool: to MySQL\n");
		ship_to_mysql()
	   }
	:: d_step {
		touches > 0 && copy == LIVE && fault != REDIS_AWAY ->
		say("touch\n"); touches--; turn = is_connected
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
		faults_left--
	   }
	:: d_step {
		fault != HEALTHY -> say("the fault is over\n");
		fault = HEALTHY
	   }
	:: atomic {
		losses_left > 0 &&
		(is_in_order ||
		    fault >= REDIS_AWAY && fault < MYSQL_AWAY) ->
		if
		:: say("FLUSHALL\n"); copy = NONE; copy_version = 0; sync = 0;
			turn = is_connected
		:: is_dumped -> say("Redis starts from its dump\n");
			copy = dump_copy; copy_version = dump_version;
			sync = dump_sync; disconnect()
		:: is_dumped && fault == HEALTHY ->
			say("a dump is loaded into Redis\n");
			copy = dump_copy; copy_version = dump_version;
			sync = dump_sync; turn = is_connected
		:: copy != NONE -> say("X is evicted\n");
			copy = NONE; copy_version = 0; turn = is_connected
		:: sync != 0 -> say("sync is evicted\n"); sync = 0
		fi;
		losses_left--; settled = 0
	   }
	od
}

init {
	byte i;
	atomic {
		run tracking(); run keeper_here(); run hit(); run world();
		do
		:: i < LOOKS -> run look(i); i++
		:: else -> break
		od;
		if
		:: ENDS -> run end()
		:: else
		fi;
		i = 0;
		do
		:: i < CHANGES -> run change(); i++
		:: else -> break
		od;
		i = 0
	}
}
