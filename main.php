<?php

// One run of the plugin: the host starts this file on its schedule and by "Execute manually".

declare(strict_types=1);

if (! is_file(__DIR__ . '/launcher.php')) {
    $line = "ERROR: The file launcher.php is missing from the plugin's folder. No backups are copied. "
        . 'Install the plugin again from its ZIP. (' . date(DATE_ATOM) . ")\n";
    @mkdir(__DIR__ . '/data');
    $log = __DIR__ . '/data/plugin.log';
    if (@is_link($log) || @file_put_contents($log, $line, FILE_APPEND) === false) {
        file_put_contents('php://stderr', $line);
    }
    exit(1);
}

require __DIR__ . '/launcher.php';

exit(\BackupSyncDropbox\launch(__DIR__));
