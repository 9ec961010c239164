#!/usr/bin/perl
# A login page in Perl: conf/README.md, "Logging in". Change what is below.
use strict;
use warnings;
my $sessgatectl = '/usr/bin/sessgatectl';
my $socket = '/run/sessgate/login.sock';
my $users = '/etc/sessgate/users';    # NAME:HASH lines of "openssl passwd -6"

sub page {
    my ($status, $sentence) = @_;
    print "Status: $status\nContent-Type: text/html; charset=utf-8\nCache-Control: no-store\n\n",
        qq(<!DOCTYPE html><html lang="en"><title>Log in</title><h1>Log in</h1><p>$sentence</p>\n),
        # To this same address: where the visitor wants to go stays in its query.
        qq(<form method="post"><p><label>Name <input name="user" autocomplete="username" required></label>
<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<p><label><input name="remember" type="checkbox"> Stay logged in on this device</label>
<p><button>Log in</button></form></html>\n);
    exit;
}

page('200 OK', '') if $ENV{REQUEST_METHOD} ne 'POST';
# No other site may log visitors in here: browsers say which sent the form.
my $from = $ENV{HTTP_SEC_FETCH_SITE} || $ENV{HTTP_ORIGIN} || 'none';
$from =~ s{^https?://}{};
page('403 Forbidden', 'Please use this form.') if !grep { $_ eq $from } 'same-origin', 'none', $ENV{HTTP_HOST};
page('413 Content Too Large', 'That is too long.') if ($ENV{CONTENT_LENGTH} || 0) > 4096;
read(STDIN, my $form, $ENV{CONTENT_LENGTH} || 0);
my %field;
for (split /&/, $form // '') {
    my ($name, $value) = split /=/, $_, 2;
    ($value //= '') =~ tr/+/ /;
    $value =~ s/%([0-9a-f]{2})/chr hex $1/egi;
    $field{$name} = $value;
}
my ($user, $password) = ($field{user} // '', $field{password} // '');

open my $file, '<', $users or page('503 Service Unavailable', 'Please try again later.');
my %hash = map { chomp; split /:/, $_, 2 } <$file>;
my $hash = $hash{$user} // '$6$none$';
page('403 Forbidden', 'Wrong name or password.') if $user eq '' || crypt($password, $hash) ne $hash;

# It prints the header lines: the cookie, and where the visitor wanted to go.
open my $made, '-|', $sessgatectl, '--socket', $socket, 'create', '--from-cgi', '--set-cookie', '--redirect',
    ($field{remember} ? '--remember' : ()), '--user', $user or page('503 Service Unavailable', 'Please try again later.');
my @header = <$made>;
close $made or page('503 Service Unavailable', 'Please try again later.');
print @header, "\n";
