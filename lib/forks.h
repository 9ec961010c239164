/*
 * Which process this is, without asking the kernel each time: a connection
 * belongs to the process that made it, and each use of one looks.
 */
#ifndef SESSGATE_FORKS_H
#define SESSGATE_FORKS_H

/*
 * A number that is another one in a child that fork() has made since. It says
 * nothing else: two processes that are not parent and child may have the same,
 * and a child of _Fork() or of a bare clone() has its parent's.
 */
unsigned forks_count(void);

#endif
