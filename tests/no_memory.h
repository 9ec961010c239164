/*
 * The n-th allocation fails. Link with NO_MEMORY_WRAP (Makefile.am): the
 * linker then sends the library's calls of malloc() and its kin through here.
 */
#ifndef TESTS_NO_MEMORY_H
#define TESTS_NO_MEMORY_H

/* Allocations that still succeed, then one fails; negative: none does. */
extern int no_memory_countdown;

#endif
