#!/usr/bin/perl
# CGI::Session on MySQL in FastCGI processes:
#   cgi_session.pl SOCKET PROCESSES MYSQL_SOCKET
use strict;
use warnings;
use CGI::Session;
use DBI;
use FCGI;

my ($path, $processes, $mysql) = @ARGV;
my $socket = FCGI::OpenSocket($path, 1024);
my @children;

sub answer {
	my $db = DBI->connect("DBI:mysql:database=perl;mysql_socket=$mysql",
	    'root', '', {RaiseError => 1});
	my $request = FCGI::Request(\*STDIN, \*STDOUT, \*STDERR, \%ENV, $socket);

	while ($request->Accept() >= 0) {
		my ($id) = ($ENV{HTTP_COOKIE} // '') =~ /CGISESSID=(\w+)/;
		my $session = CGI::Session->load('driver:mysql', $id,
		    {Handle => $db});
		my $user = defined $session ? $session->param('user') : undef;

		if (($ENV{QUERY_STRING} // '') =~ /^user=(.+)/) {
			$session = CGI::Session->new('driver:mysql', undef,
			    {Handle => $db});
			$session->param('user', $1);
			$session->flush();
			print "Status: 201 Created\r\nSet-Cookie: CGISESSID=",
			    $session->id(), "\r\n\r\n";
		} elsif (defined $user) {
			print "Status: 200 OK\r\nX-User: $user\r\n\r\n";
		} else {
			print "Status: 401 Unauthorized\r\n\r\n";
		}
	}
	exit 0;
}

for (1 .. $processes) {
	my $pid = fork();
	answer() if $pid == 0;
	push @children, $pid;
}
# Without a handler the children would stay.
$SIG{TERM} = sub { kill 'TERM', @children; exit 0 };
wait() while 1;
