<?php

// One run of the plugin: the host starts this file on its schedule and by "Execute manually".

declare(strict_types=1);

require __DIR__ . '/launcher.php';

exit(\BackupSyncDropbox\launch(__DIR__));
