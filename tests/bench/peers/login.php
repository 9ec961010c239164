<?php
// A login: a new session for the user that is named.
session_start();
$_SESSION['user'] = $_GET['user'];
http_response_code(201);
