#!/usr/bin/perl
# address book, (c) 1998. One line per entry: owner|name|phone
# The web server tells us who it is in REMOTE_USER.

$file = $ENV{'ADDRESSBOOK_FILE'} || '/var/lib/addressbook/book.txt';
$user = $ENV{'REMOTE_USER'};

# somebody came as far as this program
open(LOG, ">>$file.visits"); print LOG "$user\n"; close(LOG);

if ($ENV{'REQUEST_METHOD'} eq 'POST') {
    read(STDIN, $buffer, $ENV{'CONTENT_LENGTH'});
    foreach $pair (split(/&/, $buffer)) {
        ($name, $value) = split(/=/, $pair);
        $value =~ tr/+/ /;
        $value =~ s/%([a-fA-F0-9][a-fA-F0-9])/pack("C", hex($1))/eg;
        $value =~ s/[|\r\n]//g;
        $FORM{$name} = $value;
    }
    open(BOOK, ">>$file");
    flock(BOOK, 2);
    print BOOK "$user|$FORM{'name'}|$FORM{'phone'}\n";
    close(BOOK);
}

sub html {
    local($text) = @_;
    $text =~ s/&/&amp;/g; $text =~ s/</&lt;/g; $text =~ s/"/&quot;/g;
    return $text;
}

print "Content-type: text/html\n\n";
print "<html><head><title>Address book</title></head><body>\n";
print "<h1>Address book of " . &html($user) . "</h1>\n<ul>\n";
if (open(BOOK, $file)) {
    while (<BOOK>) {
        chop;
        ($owner, $name, $phone) = split(/\|/);
        print "<li>" . &html($name) . ": " . &html($phone) . "\n" if $owner eq $user;
    }
    close(BOOK);
}
print "</ul>\n<form method=post>Name <input name=name> Phone <input name=phone>\n";
print "<input type=submit value=Add></form>\n";
print "<hr><form method=post action=\"/.sessgate/logout\"><input type=submit value=\"Log out\"></form>\n";
print "</body></html>\n";
