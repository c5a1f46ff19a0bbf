<?php

// After the form was saved: the authorization goes as far as it can. What there is to say stands in the plugin's log.

declare(strict_types=1);

require __DIR__ . '/launcher.php';

\BackupSyncDropbox\launch(__DIR__, ['setup']);
