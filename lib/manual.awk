# Makes the library's manual page, mdoc(7), of its header: each block of the
# header, which is a comment and what it is about, keeps its text as it stands.

function escaped(line) {
	gsub(/\\/, "\\e", line)
	gsub(/-/, "\\-", line)
	return line ~ /^[.']/ ? "\\&" line : line
}

# Says what has been gathered: the declaration first, then its comment.
function flush() {
	if (code != "")
		printf ".Bd -literal\n%s.Ed\n", code
	if (comment != "")
		printf ".Bd -literal -offset indent\n%s.Ed\n", comment
	code = comment = ""
}

BEGIN {
	print ".Dd November 23, 2026\n.Dt LIBSESSGATE 3\n.Os"
	print ".Sh NAME\n.Nm libsessgate\n.Nd sessions kept in a durable store"
	print ".Sh LIBRARY\nlink with the flags of"
	print ".Ql pkg\\-config \\-\\-cflags \\-\\-libs sessgate"
	print ".Sh SYNOPSIS\n.In sessgate.h\n.Sh DESCRIPTION"
}

/^\/\* ---- .* ---- \*\/$/ {
	flush()
	gsub(/^\/\* ---- | ---- \*\/$/, "")
	print ".Ss " toupper(substr($0, 1, 1)) substr($0, 2)
	next
}
/^#if|^#else|^#endif|^#include|^extern "C"|^}$|SESSGATE_H/ { next }
/^#define SGATE_(MUST_CHECK|PRINTF)/ { next }

# Comments that stand at the margin; others are part of a declaration.
/^\/\*.*\*\/$/ {
	flush()
	sub(/^\/\* */, "")
	sub(/ *\*\/$/, "")
	comment = escaped($0) "\n"
	next
}
/^\/\*/ {
	flush()
	in_comment = 1
	next
}
in_comment && /\*\/$/ { in_comment = 0; next }
in_comment {
	sub(/^ \* ?/, "")
	comment = comment escaped($0) "\n"
	next
}
/^$/ { flush(); next }
{
	sub(/^SGATE_MUST_CHECK /, "")
	code = code escaped($0) "\n"
}

END {
	flush()
	print ".Sh SEE ALSO\n.Xr sessgate.conf 5 ,\n.Xr sessgated 8"
}
