<?php
// What a PHP program does: whose session is it?
session_start();
if (!isset($_SESSION['user'])) {
	http_response_code(401);
	exit;
}
header('X-User: ' . $_SESSION['user']);
