/*
 * pages.pml: a keeper brings many rows in pages, a page a script, while others
 * change, another keeper is at it, and Redis loses its data (manager_fence.c:
 * work_begin(), sync_after(), bring_group()).
 *
 * Rows X and Y of group 0 and Z of group 1; a page has one row. What sync says
 * between two pages is the old number with a nonce and the part behind it. Two
 * groups: a copy counts by its own group's sync and fence alone.
 *
 * run pages: -DCHANGES=3 -DLOSSES=1
 * run pages-more: -DCHANGES=4 -DLOSSES=0
 * mutant apply-from: -DCHANGES=3 -DLOSSES=1
 * mutant page-sync: -DCHANGES=3 -DLOSSES=0
 */
mtype = { nothing, apply_from, page_sync };

#include "stores.inc"

#define ROWS 3
#define X 0
#define Y 1
#define Z 2
#define group_of(r) ((r) == Z)

/* MySQL: the version of each row, the number of its last change; counters. */
byte version[ROWS], row_seq[ROWS];
byte seq[2] = { 1, 1 };

/* Redis: versions of copies (all live); sync is a number, who has brought a
 * part of what follows it (0: nobody, else host + 1), and which part. */
byte copy[ROWS];
byte sync[2] = { 1, 1 };
byte part_by[2], part[2];
bit is_lost; /* data was lost: sync is missing, copies are old */

byte known[4] = { 1, 1, 1, 1 }; /* of host h and group g: 2 * h + g */
#define fence(h, g) known[2 * (h) + (g)]

byte changes = 0;
byte bound[ROWS]; /* the version that was acknowledged when the bound passed */
bit is_busy[2];

#define covers(g, h) (sync[g] != 0 && sync[g] >= fence(h, g))

proctype keeper(bit h)
{
	byte g, c, from, from_by, from_part, last, r, v, next;
	bit has_more;
	do
	:: atomic {
		if
		:: fence(h, 0) < seq[0] || sync[0] < seq[0] -> g = 0
		:: fence(h, 1) < seq[1] || sync[1] < seq[1] -> g = 1
		fi;
		say("keeper: polls\n");
		is_busy[h] = 1;
		c = seq[g]; from = sync[g]; from_by = part_by[g];
		from_part = part[g];
		last = (fence(h, g) < from -> fence(h, g) : from);
		if
		/* Another keeper is at it; it may have stopped halfway. */
		:: from_by != 0 && from_by != h + 1 -> goto over
		:: from >= c -> goto up
		:: else
		fi
	   }
page:	   atomic { /* page_read(): the row with the next number */
		r = ROWS; next = 255; has_more = 0;
		if
		:: g == 0 && row_seq[X] > last -> r = X; next = row_seq[X]
		:: else
		fi;
		if
		:: g == 0 && row_seq[Y] > last && row_seq[Y] < next ->
			has_more = (r != ROWS); r = Y; next = row_seq[Y]
		:: g == 0 && row_seq[Y] > last && row_seq[Y] > next ->
			has_more = 1
		:: else
		fi;
		if
		:: g == 1 && row_seq[Z] > last -> r = Z; next = row_seq[Z]
		:: else
		fi;
		if
		:: r < ROWS -> v = version[r]
		:: else
		fi
	   }
	   atomic { /* apply_page() */
		if
		:: sync[g] == from && part_by[g] == from_by &&
		   part[g] == from_part || off(apply_from) ->
			say("keeper: APPLY of a page\n");
			if
			:: r < ROWS && copy[r] < v -> copy[r] = v
			:: else
			fi;
			if
			:: has_more && !off(page_sync) ->
				part_by[g] = h + 1; part[g] = from_part + 1;
				sync[g] = from
			:: has_more && off(page_sync) -> sync[g] = next
			:: !has_more ->
				sync[g] = c; part_by[g] = 0; part[g] = 0
			fi;
			from = sync[g]; from_by = part_by[g];
			from_part = part[g]; last = next;
			if
			:: has_more -> goto page
			:: else
			fi
		:: else -> say("keeper: APPLY is refused\n")
		fi;
up:		if
		:: fence(h, g) < c -> fence(h, g) = c
		:: else
		fi;
over:		g = 0; c = 0; from = 0; from_by = 0; from_part = 0; last = 0;
		r = 0; v = 0; next = 0; has_more = 0; is_busy[h] = 0
	   }
	od
}

inline change(r)
{
	seq[group_of(r)]++; version[r]++; row_seq[r] = seq[group_of(r)]
}

/* A whole round of B: it begins anew what has stopped halfway. */
inline whole_round(g)
{
	if
	:: sync[g] < seq[g] ->
		if
		:: g == 0 ->
			if
			:: row_seq[X] > sync[0] && copy[X] < version[X] ->
				copy[X] = version[X]
			:: else
			fi;
			if
			:: row_seq[Y] > sync[0] && copy[Y] < version[Y] ->
				copy[Y] = version[Y]
			:: else
			fi
		:: else ->
			if
			:: row_seq[Z] > sync[1] && copy[Z] < version[Z] ->
				copy[Z] = version[Z]
			:: else
			fi
		fi;
		sync[g] = seq[g]; part_by[g] = 0; part[g] = 0
	:: else
	fi;
	fence(B, g) = seq[g]
}

proctype world()
{
	byte r;
	do
	:: d_step { /* looks at B */
		assert(!covers(0, B) || copy[X] >= bound[X] && copy[Y] >= bound[Y]);
		assert(!covers(1, B) || copy[Z] >= bound[Z])
	   }
	/* Redis cannot be told by who changes: the keepers alone bring it. */
	:: atomic {
		changes < CHANGES ->
		changes++;
		if
		:: say("X changes\n"); change(X)
		:: say("Y changes\n"); change(Y)
		:: say("Z changes\n"); change(Z)
		fi
	   }
	:: d_step {
		!is_busy[B] -> say("THE BOUND PASSES\n");
		/* Also while Redis is not to be written: the fence rises. */
		fence(B, 0) = seq[0]; fence(B, 1) = seq[1];
		bound[X] = version[X]; bound[Y] = version[Y];
		bound[Z] = version[Z]
	   }
	:: d_step {
		!is_busy[B] -> say("a round of B, and the bound\n");
		whole_round(0); whole_round(1);
		bound[X] = version[X]; bound[Y] = version[Y];
		bound[Z] = version[Z]
	   }
	:: d_step {
		losses_left > 0 -> say("Redis from its first dump\n");
		losses_left--;
		copy[X] = 0; copy[Y] = 0; copy[Z] = 0;
		sync[0] = 1; sync[1] = 1; part_by[0] = 0; part_by[1] = 0;
		part[0] = 0; part[1] = 0
	   }
	od
}

init { atomic { run keeper(A); run keeper(B); run world() } }
