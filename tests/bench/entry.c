/*
 * Prints how many bytes of cache.size a session takes in the local cache: its
 * entry, and its part of what a set has besides. Only local.c knows.
 */
#include "local.c"

#include <stdio.h>

int
main(void)
{
	printf("%.1f\n", (double)sizeof(struct set) / LOCAL_WAYS);
	return 0;
}
