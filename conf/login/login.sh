#!/bin/bash
# A login page in shell: conf/README.md, "Logging in". Change what is below.
sessgatectl=/usr/bin/sessgatectl
socket=/run/sessgate/login.sock
users=/etc/sessgate/users # NAME:HASH lines of "openssl passwd -6"

page() { # status, sentence
	printf 'Status: %s\nContent-Type: text/html; charset=utf-8\nCache-Control: no-store\n\n' "$1"
	printf '<!DOCTYPE html><html lang="en"><title>Log in</title><h1>Log in</h1><p>%s</p>\n' "$2"
	# To this same address: where the visitor wants to go stays in its query.
	echo '<form method="post"><p><label>Name <input name="user" autocomplete="username" required></label>
<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<p><label><input name="remember" type="checkbox"> Stay logged in on this device</label>
<p><button>Log in</button></form></html>'
	exit
}

field() { # of the form, decoded
	local part value
	while read -r -d '&' part || [ -n "$part" ]; do
		[ "${part%%=*}" = "$1" ] || continue
		value=${part#*=} value=${value//+/ } value=${value//\\/\\\\}
		printf '%b' "${value//%/\\x}"
		return
	done <<<"$form&"
}

[ "$REQUEST_METHOD" = POST ] || page '200 OK' ''
# No other site may log visitors in here: browsers say which sent the form.
origin=${HTTP_ORIGIN:-https://$HTTP_HOST}
case ${HTTP_SEC_FETCH_SITE:-${origin#*://}} in
same-origin | none | "$HTTP_HOST") ;;
*) page '403 Forbidden' 'Please use this form.' ;;
esac
[ "${CONTENT_LENGTH:-0}" -le 4096 ] || page '413 Content Too Large' 'That is too long.'
form=$(head -c "${CONTENT_LENGTH:-0}")
user=$(field user)

hash='$6$none$'
while IFS=: read -r name known; do
	[ "$name" = "$user" ] && hash=$known
done <"$users"
salt=${hash#'$6$'}
given=$(field password | openssl passwd -6 -salt "${salt%'$'*}" -stdin)
[ -n "$user" ] && [ "$given" = "$hash" ] || page '403 Forbidden' 'Wrong name or password.'

# It prints the header lines: the cookie, and where the visitor wanted to go.
remember=$(field remember)
header=$("$sessgatectl" --socket "$socket" create --from-cgi --set-cookie --redirect \
	${remember:+--remember} --user "$user") || page '503 Service Unavailable' 'Please try again later.'
printf '%s\n\n' "$header"
