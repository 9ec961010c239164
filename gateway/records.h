/*
 * The words of FastCGI records (specification 3.3, 3.5 and appendix A), for all
 * who read or write some without libfcgi. A header is: version, type, request
 * id and content length of two bytes each, padding length, and a byte of 0.
 */
#ifndef SESSGATE_RECORDS_H
#define SESSGATE_RECORDS_H

enum { RECORD_VERSION = 1, HEADER_BYTES = 8 };

enum record_type {
	RECORD_BEGIN = 1,
	RECORD_END = 3,
	RECORD_PARAMS = 4,
	RECORD_STDIN = 5,
	RECORD_STDOUT = 6,
	RECORD_STDERR = 7
};

/* In BEGIN_REQUEST's content. */
enum { ROLE_RESPONDER = 1, ROLE_AUTHORIZER = 2 };
enum { FLAG_KEEP_CONN = 1 };

#endif
