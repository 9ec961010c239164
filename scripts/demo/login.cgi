#!/usr/bin/perl
# Log in: check name and password (crypt), let sessgate make the session.
use strict;
my ($form, %in) = ('');
read(STDIN, $form, $ENV{CONTENT_LENGTH} || 0) if ($ENV{CONTENT_LENGTH} || 0) < 4096;
for (split /&/, $form) { my ($k, $v) = split /=/, $_, 2; $v =~ tr/+/ /; $v =~ s/%([0-9a-f]{2})/chr hex $1/egi; $in{$k} = $v }
open my $passwords, '<', $ENV{DEMO_PASSWORDS} or die "password file: $!";
my %hash = map { chomp; split /:/, $_, 2 } <$passwords>;
my $known = $hash{$in{user} // ''};
if ($known && crypt($in{password} // '', $known) eq $known) {
    open my $sessgate, '-|', $ENV{SESSGATECTL}, '--socket', $ENV{LOGIN_SOCK}, 'create', '--from-cgi', '--set-cookie', '--user', $in{user} or die "sessgatectl: $!";
    my $cookie = <$sessgate>;
    close $sessgate or do { print "Status: 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Type: text/plain\r\n\r\nPlease try again.\n"; exit };
    print "Status: 303 See Other\r\nLocation: /app/addressbook.cgi\r\n$cookie\r\n";
} else {
    my $wrong = $form ? '<p>Wrong name or password.</p>' : '';
    print "Status: ", ($form ? '403 Forbidden' : '200 OK'), "\r\nContent-Type: text/html\r\nCache-Control: no-store\r\n\r\n";
    print "<html><title>Log in</title><h1>Log in</h1>$wrong<form method=post>Name <input name=user> Password <input name=password type=password> <input type=submit value='Log in'></form></html>\n";
}
