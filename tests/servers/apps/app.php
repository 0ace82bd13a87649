<?php
// The answers of answers.py, for PHP-FPM. The pool of each release names its version.
$version = getenv('VERSION');
header('Content-Type: text/plain');
if ($_SERVER['QUERY_STRING'] === 'stream') {
    for ($i = 1; $i <= 50; $i++) {
        echo "version $version line $i of 50\n";
        flush();
        usleep(100000);
    }
} else {
    if ($_SERVER['QUERY_STRING'] === 'slow') {
        sleep(2);
    }
    echo "version $version\n";
}
