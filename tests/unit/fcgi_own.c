/*
 * A libfcgi that reads and writes for itself, as one linked with -Bsymbolic
 * does: here fcgi.c is built with its two functions under other names, so that
 * libfcgi calls its own.
 */
#include "config.h"

#include "fcgi.h"

#include <string.h>

#include "tap.h"

static void
a_libfcgi_that_reads_for_itself_is_refused(void **state)
{
	struct sgate_error err;
	struct fcgi *fcgi;

	(void)state;
	assert_int_equal(fcgi_new(&fcgi, &err), SGATE_INTERNAL);
	assert_null(fcgi);
	assert_string_equal(err.source, "libfcgi");
	assert_non_null(strstr(err.text, "-Bsymbolic"));
}

static const struct CMUnitTest fcgi_own_tests[] = {
    cmocka_unit_test(a_libfcgi_that_reads_for_itself_is_refused),
};

TAP_MAIN(fcgi_own_tests)
