<?php

// The status page and, with ?widget=1, the dashboard's widget. The program answers, and asks the host who may see it.

declare(strict_types=1);

require __DIR__ . '/launcher.php';

\BackupSyncDropbox\answer(__DIR__);
