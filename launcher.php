<?php

// Starts the program for this machine's processor and passes its output and exit code through.
//
// Works on PHP 8.1 to 8.3 and without the pcntl extension. Whatever keeps the program from
// starting becomes one ERROR line in data/plugin.log; there is no other logic here.
//
// Limitation: without pcntl no signal can be passed on. When the host kills PHP alone, the program
// goes on until its own deadline, which lies before the host's limit of one hour, and its lock keeps
// a second run away meanwhile. A private copy of the program then stays in the temporary folder until a
// later call finds that it is older than an hour.

declare(strict_types=1);

namespace BackupSyncDropbox;

const PROGRAM = 'backup-sync-dropbox';

// The cookies that make up a session of the host; what counts of a value is what src/page/access.rs passes on.
const SESSION = '/(?:^|;)\s*(?:PHPSESSID|nms-crm-php-session-id|nms-session)=[^;]*[A-Za-z0-9-]/';

// Files of the plugin that are locked while a request is answered, and so the most that are answered at a time.
const SLOTS = ['launcher.php', 'public.php'];

// Largest form that is passed on, in bytes; src/page/forms.rs takes no more.
const FORM_BYTES_MAX = 8192;

// How long somebody should wait who found no slot free, in seconds.
const RETRY_AFTER = 5;

// A private copy of the program that is older, in seconds, belongs to nobody any more: a run ends before.
const COPY_AGE_MAX = 3600;

/**
 * Runs the program on the plugin folder $root and returns its exit code.
 *
 * @param list<string> $arguments put before `--root <plugin folder>`
 */
function launch(string $root, array $arguments = []): int
{
    try {
        remove_old_copies(temporary_folders($root));

        return with_program($root, static function (string $program) use ($root, $arguments): int {
            // No descriptors named: the program inherits ours.
            $process = start(array_merge([$program], $arguments, ['--root', $root]), [], $pipes, null);
            $exitCode = proc_close($process);

            return $exitCode >= 0 && $exitCode <= 255 ? $exitCode : 1;
        });
    } catch (LaunchError $error) {
        log_error($root, $error->getMessage());
    } catch (\Throwable $error) {
        log_error($root, 'The plugin could not be started. No backups are copied. '
            . "Ask whoever runs this server's PHP about this message: " . $error->getMessage());
    }

    return 1;
}

/**
 * Answers a web request with what the program's command `page` says, and with a plain page and status 503
 * where it cannot be asked. The cause then goes to PHP's own error log: anybody can ask for this page, as often
 * as they like, so nothing of it may reach the plugin's log.
 *
 * For the same reason nothing is started for a request without a session, and never more than a few programs at
 * a time: each occupies one of the web server's few PHP processes, and asks the host, which needs one more.
 */
function answer(string $root): void
{
    header_remove('X-Powered-By');
    if (! preg_match(SESSION, $_SERVER['HTTP_COOKIE'] ?? '')) {
        answer_plainly(403, 'This page is for administrators who may view plugins. Log in as one and open it from the menu.');

        return;
    }
    try {
        $slot = take_slot($root);
        if ($slot === null) {
            header('Retry-After: ' . RETRY_AFTER);
            answer_plainly(503, 'Others are just being answered. Try again in a few seconds.');

            return;
        }
        // What it answers shows that it was run, so it is not started for that alone first.
        $response = with_program($root, static fn (string $program): ?string => ask($program, $root), true);
        [$head, $body] = explode("\r\n\r\n", (string) $response, 2) + [1 => null];
        if ($body === null || ! preg_match('/^Status: (\d{3}) /', $head, $status)) {
            throw new \UnexpectedValueException('The program gave no answer.');
        }
        http_response_code((int) $status[1]);
        array_map('header', array_slice(explode("\r\n", $head), 1));
        echo $body;
    } catch (\Throwable $error) {
        error_log(PROGRAM . ': ' . $error->getMessage());
        answer_plainly(503, 'This page cannot be shown at the moment. Try again in a minute.');
    }
}

function answer_plainly(int $status, string $text): void
{
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    header('X-Content-Type-Options: nosniff');
    header('Cache-Control: no-store');
    echo "$text\n";
}

/**
 * A free slot, which is held as long as the resource lives; null if there is none.
 *
 * What is locked are the plugin's own files, so that there is nothing to make, to leave behind or to be made by
 * others. The system frees the lock with its last holder, and the program, which inherits it, is one: where PHP
 * is killed, its slot stays taken until the program has ended as well.
 *
 * @return resource|null
 */
function take_slot(string $root)
{
    foreach (SLOTS as $name) {
        $slot = @fopen("$root/$name", 'r');
        // A file system without locks is no reason to answer nobody.
        if ($slot !== false && (flock($slot, LOCK_EX | LOCK_NB, $isTaken) || ! $isTaken)) {
            return $slot;
        }
    }

    return null;
}

/** What the program answers to the current request; null if it has not answered, or could not even be run. */
function ask(string $program, string $root): ?string
{
    // Named one by one: under a web server the environment holds the request's headers, whatever they are. What a form
    // holds goes through a pipe, as others could read it in the list of processes.
    $environment = [];
    foreach (['SSL_CERT_FILE', 'DROPBOX_API_URL', 'DROPBOX_CONTENT_URL', 'DROPBOX_WEB_URL'] as $name) {
        $environment[$name] = getenv($name, true);
    }
    foreach (['REQUEST_METHOD', 'QUERY_STRING', 'HTTP_COOKIE', 'HTTP_HOST', 'HTTP_ORIGIN', 'HTTP_SEC_FETCH_SITE'] as $name) {
        $environment[$name] = $_SERVER[$name] ?? false;
    }
    $environment = array_filter($environment, 'is_string');

    $form = '';
    if (($environment['REQUEST_METHOD'] ?? '') === 'POST') {
        // One byte more than is taken tells that there is too much. So little fits into a pipe that nobody reads yet.
        $form = (string) file_get_contents('php://input', false, null, 0, FORM_BYTES_MAX + 1);
    }

    $descriptors = [['pipe', 'r'], ['pipe', 'w'], ['null']];
    $process = @proc_open([$program, 'page', '--root', $root], $descriptors, $pipes, null, $environment);
    if ($process === false) {
        return null;
    }
    @fwrite($pipes[0], $form);
    fclose($pipes[0]);
    $response = (string) stream_get_contents($pipes[1]);
    fclose($pipes[1]);

    return proc_close($process) === 0 && $response !== '' ? $response : null;
}

/**
 * Gives the path of a program that can be run to $use and returns its result.
 *
 * Where a result other than null proves that the program was run, $provesIt, the question whether it can be is only
 * put where there is none.
 *
 * @template T
 * @param callable(string): T $use
 * @return T
 */
function with_program(string $root, callable $use, bool $provesIt = false)
{
    $program = find_program($root);
    $result = $provesIt ? $use($program) : null;
    if ($result !== null) {
        return $result;
    }
    $refusal = why_not_runnable($program);
    if ($refusal === null) {
        return $provesIt ? null : $use($program);
    }
    $copy = copy_to_runnable_folder($program, $root, $refusal);
    try {
        return $use($copy);
    } finally {
        remove_copy($copy);
    }
}

/**
 * proc_open() that throws.
 *
 * @param list<string> $command
 * @param array<string, string>|null $environment
 * @return resource
 */
function start(array $command, array $descriptors, ?array &$pipes, ?array $environment)
{
    $process = proc_open($command, $descriptors, $pipes, null, $environment);
    if ($process === false) {
        throw new LaunchError('PHP could not start a process. No backups are copied. '
            . 'See whether the server has memory left, then execute the plugin again.');
    }

    return $process;
}

final class LaunchError extends \RuntimeException
{
}

/** The program for this machine's processor, with its executable bit restored. */
function find_program(string $root): string
{
    if (! function_exists('proc_open') || ! function_exists('proc_close')) {
        throw new LaunchError('PHP on this server may not start programs, because its setting disable_functions names '
            . 'proc_open or proc_close. No backups are copied. Remove both names from disable_functions in php.ini.');
    }

    $machine = php_uname('m');
    switch ($machine) {
        case 'x86_64':
        case 'amd64':
            $architecture = 'x86_64';
            break;
        case 'aarch64':
        case 'arm64':
            $architecture = 'aarch64';
            break;
        default:
            throw new LaunchError("This server's processor type, $machine, is not one that the plugin has a program for. "
                . 'No backups are copied. Run the plugin on a server of type x86_64 or aarch64.');
    }

    $name = "bin/$architecture/" . PROGRAM;
    $program = "$root/$name";
    if (! is_file($program)) {
        throw new LaunchError("The file $name is missing from the plugin's folder. No backups are copied. "
            . "Install the plugin again from a ZIP whose file BUILD-INFO lists $architecture as built.");
    }

    // The host unpacks with PHP's ZipArchive::extractTo, which ignores stored file modes.
    if (! is_executable($program)) {
        @chmod($program, 0755);
    }

    return $program;
}

/**
 * The reason why a program cannot be run from where it is; null if it can.
 *
 * Only running it tells: is_executable() knows nothing of noexec mounts or damaged files, and
 * proc_open() may report success although the new process could not execute the file.
 */
function why_not_runnable(string $program): ?string
{
    $warning = null;
    // Depending on its version, PHP warns in this process or in the new one, where the text reaches the pipe.
    set_error_handler(static function (int $level, string $message) use (&$warning): bool {
        $warning = $message;
        file_put_contents('php://stderr', $message);

        return true;
    });
    try {
        $process = proc_open([$program, '--version'], [1 => ['pipe', 'w'], 2 => ['redirect', 1]], $pipes);
    } finally {
        restore_error_handler();
    }

    $answer = '';
    if ($process !== false) {
        $answer = (string) stream_get_contents($pipes[1]);
        fclose($pipes[1]);
        if (proc_close($process) === 0 && strpos($answer, PROGRAM . ' ') === 0) {
            return null;
        }
    }

    $reason = preg_replace('/^.*failed: /s', '', trim($warning ?? $answer));
    // A shell that takes a damaged file for a script quotes its bytes.
    $reason = (string) preg_replace('/[^\x20-\x7e]+/', ' ', (string) $reason);

    return $reason === '' ? 'it ended without an answer' : substr($reason, 0, 200);
}

/** Copies the program into the first folder that lets it run. */
function copy_to_runnable_folder(string $program, string $root, string $refusal): string
{
    $folders = temporary_folders($root);
    remove_old_copies($folders);
    foreach ($folders as $folder) {
        if (! @is_dir($folder) || is_open_to_tampering($folder)) {
            continue;
        }
        // mkdir() fails on anything that already exists, links included: the new folder is ours alone.
        $private = $folder . '/' . PROGRAM . '-' . bin2hex(random_bytes(16));
        if (! @mkdir($private, 0700)) {
            continue;
        }
        $copy = $private . '/' . PROGRAM;
        if (@copy($program, $copy) && @chmod($copy, 0700) && why_not_runnable($copy) === null) {
            return $copy;
        }
        remove_copy($copy);
    }

    throw new LaunchError('The program ' . substr($program, strlen($root) + 1) . " cannot be run on this server ($refusal), "
        . 'neither from the plugin\'s folder nor as a copy in ' . implode(', ', $folders) . '. No backups are copied. '
        . 'Let one of these folders run programs (mount option exec, PHP setting open_basedir); if the plugin has never run here, '
        . 'its file may be damaged: install its ZIP again.');
}

/** @return list<string> */
function temporary_folders(string $root): array
{
    return array_values(array_unique([sys_get_temp_dir(), '/tmp', '/var/tmp', '/dev/shm', "$root/data"]));
}

/**
 * Removes the copies that killed processes of this user have left: nothing that is young, a link, or somebody else's.
 *
 * @param list<string> $folders
 */
function remove_old_copies(array $folders): void
{
    try {
        // The owner of a process's own entry is its user; PHP's functions that tell it may be missing.
        $user = @fileowner('/proc/self');
        foreach ($folders as $folder) {
            $names = is_open_to_tampering($folder) ? [] : (@scandir($folder) ?: []);
            foreach (preg_grep('/^' . PROGRAM . '-[0-9a-f]{32}$/D', $names) as $name) {
                $private = "$folder/$name";
                $madeAt = @filemtime($private);
                $isOurs = ! @is_link($private) && @fileowner($private) === $user;
                if ($isOurs && $madeAt !== false && time() - $madeAt > COPY_AGE_MAX) {
                    remove_copy($private . '/' . PROGRAM);
                }
            }
        }
    } catch (\Throwable $error) {
        // Not worth a run: a function is disabled.
        error_log(PROGRAM . ': ' . $error->getMessage());
    }
}

/** Whether others could replace our folder in it: writable by everybody, without the sticky bit. */
function is_open_to_tampering(string $folder): bool
{
    $mode = @fileperms($folder);

    return $mode === false || ($mode & 01002) === 0002;
}

function remove_copy(string $copy): void
{
    @unlink($copy);
    @rmdir(dirname($copy));
}

/** Appends one line to the log that the host shows; to standard error where there is no writing to it. */
function log_error(string $root, string $message): void
{
    $message = trim((string) preg_replace('/\s+/', ' ', $message));
    $line = "ERROR: $message (" . date(DATE_ATOM) . ")\n";

    $folder = "$root/data";
    if (! is_dir($folder)) {
        @mkdir($folder);
    }
    $log = "$folder/plugin.log";
    // As the program: a link or a pipe is not followed.
    $isFit = ! @is_link($log) && (! @file_exists($log) || @is_file($log));
    if (! $isFit || @file_put_contents($log, $line, FILE_APPEND) === false) {
        file_put_contents('php://stderr', $line);
    }
}
