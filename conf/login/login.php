<?php
// A login page in PHP: conf/README.md, "Logging in". Change what is below.
$sessgatectl = '/usr/bin/sessgatectl';
$socket = '/run/sessgate/login.sock';
$users = '/etc/sessgate/users'; // NAME:HASH lines of "openssl passwd -6"

function page(string $status, string $sentence): never {
    header("Status: $status");
    header('Cache-Control: no-store');
    // To this same address: where the visitor wants to go stays in its query.
    echo <<<PAGE
        <!DOCTYPE html><html lang="en"><title>Log in</title><h1>Log in</h1><p>$sentence</p>
        <form method="post"><p><label>Name <input name="user" autocomplete="username" required></label>
        <p><label>Password <input name="password" type="password" autocomplete="current-password" required></label>
        <p><label><input name="remember" type="checkbox"> Stay logged in on this device</label>
        <p><button>Log in</button></form></html>

        PAGE;
    exit;
}

function field(string $name): string {
    return is_string($_POST[$name] ?? null) ? $_POST[$name] : '';
}

if ($_SERVER['REQUEST_METHOD'] !== 'POST')
    page('200 OK', '');
// No other site may log visitors in here: browsers say which sent the form.
$from = ($_SERVER['HTTP_SEC_FETCH_SITE'] ?? '') ?: ($_SERVER['HTTP_ORIGIN'] ?? '') ?: 'none';
if (!in_array(preg_replace('#^https?://#', '', $from), ['same-origin', 'none', $_SERVER['HTTP_HOST']], true))
    page('403 Forbidden', 'Please use this form.');

$user = field('user');
$hash = '$6$none$';
foreach (file($users, FILE_IGNORE_NEW_LINES) as $line) {
    [$name, $known] = explode(':', $line, 2);
    if ($name === $user)
        $hash = $known;
}
if ($user === '' || !password_verify(field('password'), $hash))
    page('403 Forbidden', 'Wrong name or password.');

// It prints the header lines: the cookie, and where the visitor wanted to go.
$command = [$sessgatectl, '--socket', $socket, 'create', '--from-cgi', '--set-cookie', '--redirect',
    ...(field('remember') !== '' ? ['--remember'] : []), '--user', $user];
$process = proc_open($command, [1 => ['pipe', 'w']], $pipes); // without a shell
$lines = explode("\n", trim(stream_get_contents($pipes[1])));
if (proc_close($process) !== 0)
    page('503 Service Unavailable', 'Please try again later.');
foreach ($lines as $line)
    header($line, false);
