/*
 * Runs a cmocka group as TAP, for automake's driver. `program word` runs the
 * tests whose name contains word. TAP_MAIN_WITH: setup before the first test,
 * teardown after the last one.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define TAP_MAIN(tests) TAP_MAIN_WITH(tests, NULL, NULL)
#define TAP_MAIN_WITH(tests, setup, teardown)                                  \
	int main(int argc, char **argv)                                        \
	{                                                                      \
		char pattern[128];                                             \
		cmocka_set_message_output(CM_OUTPUT_TAP);                      \
		if (argc > 1) {                                                \
			snprintf(pattern, sizeof(pattern), "*%s*", argv[1]);   \
			cmocka_set_test_filter(pattern);                       \
		}                                                              \
		return cmocka_run_group_tests_name(                            \
		    #tests, tests, setup, teardown);                           \
	}

#endif
