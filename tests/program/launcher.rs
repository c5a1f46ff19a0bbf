//! `main.php` under a real PHP, with a stub in the program's place.
//!
//! Mounts are real where the machine allows private mount namespaces; where it does not (most
//! containers), the stub itself refuses to run from the places that would be mounted noexec.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chrono::DateTime;
use sandbox::host::find_php;
use tempfile::TempDir;

/// Tells where it runs from, what it was given, and leaves with a code of its own.
const STUB: &str = r#"#!/bin/sh
case "$0" in REFUSED*) echo "Permission denied" >&2; exit 126 ;; esac
{ echo "$1" >>STARTS; } 2>/dev/null
if [ "$1" = --version ]; then echo "backup-sync-dropbox 0.0.0"; exit 0; fi
if [ "$1" = page ] && [ "$QUERY_STRING" != fail ]; then printf 'Status: 200 OK\r\n\r\n%s' "$0 $*"; exit 0; fi
echo "$0 $*"
stat -c %a "$(dirname "$0")"
echo "to stderr" >&2
exit 3
"#;

/// A path that no stub is started from.
const NOWHERE: &str = "/nowhere/";

/// A plugin folder and, beside it, a folder for temporary files.
struct Plugin {
    folder: TempDir,
}

impl Plugin {
    fn new() -> Self {
        let plugin = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(plugin.program().parent().unwrap()).unwrap();
        fs::create_dir(plugin.temporary()).unwrap();
        for script in scripts() {
            let name = script.file_name().unwrap();
            fs::copy(&script, plugin.root().join(name)).unwrap();
        }
        plugin.put_stub(NOWHERE);
        plugin
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("plugin")
    }

    fn temporary(&self) -> PathBuf {
        self.folder.path().join("temporary")
    }

    fn program(&self) -> PathBuf {
        self.root()
            .join("bin")
            .join(std::env::consts::ARCH)
            .join("backup-sync-dropbox")
    }

    /// Where the stub notes the first argument of each start.
    fn starts(&self) -> PathBuf {
        self.folder.path().join("starts")
    }

    /// Installs the stub as the host's unpacking leaves it: without the executable bit.
    fn put_stub(&self, refused: &str) {
        let stub = STUB.replace("REFUSED", refused);
        let stub = stub.replace("STARTS", self.starts().to_str().unwrap());
        fs::write(self.program(), stub).unwrap();
        fs::set_permissions(self.program(), fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// `php main.php`, with every notice and deprecation on standard output.
    fn php(&self, flags: &[&str]) -> Command {
        self.php_behind(&[], flags)
    }

    /// The same, behind a program that takes a command as its last arguments.
    fn php_behind(&self, prefix: &[&str], flags: &[&str]) -> Command {
        self.script_behind("main.php", prefix, flags)
    }

    /// The same for any of the scripts.
    fn script_behind(&self, script: &str, prefix: &[&str], flags: &[&str]) -> Command {
        let php = find_php().expect("these tests need php: ./build.sh test installs it");
        let php = php.to_str().unwrap();
        let words = [
            prefix,
            &[php, "-d", "error_reporting=-1", "-d", "display_errors=1"],
            flags,
        ]
        .concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(self.root().join(script));
        command.current_dir("/").env("TMPDIR", self.temporary());
        command
    }

    /// Runs PHP where nothing below `folders` can be executed.
    fn run_where_noexec(&self, folders: &[&str]) -> Output {
        run(&mut self.script_where_noexec("main.php", folders))
    }

    /// A script where nothing below `folders` can be executed.
    fn script_where_noexec(&self, script: &str, folders: &[&str]) -> Command {
        if can_mount() {
            let shell = "for folder in $FOLDERS; do
                    mount --bind $folder $folder && mount -o remount,bind,noexec $folder || exit 99
                done
                exec \"$@\"";
            let prefix = [&namespace()[..], &["sh", "-c", shell, "sh"]].concat();
            let mut command = self.script_behind(script, &prefix, &[]);
            command.env("FOLDERS", folders.join(" "));
            command
        } else {
            // Simulated: see the module's first lines.
            self.put_stub(&folders.join("/*|"));
            self.script_behind(script, &[], &[])
        }
    }

    /// The only line of the log, which must be an error in the plain form, without its frame.
    fn error(&self) -> String {
        let log = fs::read_to_string(self.root().join("data/plugin.log")).unwrap();
        message_of(&log)
    }

    fn assert_no_copies_left(&self) {
        let is_empty = |folder: PathBuf| fs::read_dir(folder).unwrap().next().is_none();
        assert!(is_empty(self.temporary()));
        let data = self.root().join("data");
        assert!(
            !data.exists()
                || fs::read_dir(data)
                    .unwrap()
                    .all(|entry| entry.unwrap().file_name() == "plugin.log")
        );
    }
}

/// All PHP of the package.
fn scripts() -> Vec<PathBuf> {
    let entries = fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let scripts: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "php"))
        .collect();
    assert!(scripts.len() >= 2, "{scripts:?}");
    scripts
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// Takes `ERROR: <message> (<time>)` apart; there must be nothing else.
fn message_of(text: &str) -> String {
    let line = text.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "more than one line: {text}");
    let (message, time) = line.strip_suffix(')').unwrap().rsplit_once(" (").unwrap();
    DateTime::parse_from_rfc3339(time).unwrap();
    message.strip_prefix("ERROR: ").unwrap().to_owned()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Gives the command a mount namespace of its own.
fn namespace() -> Vec<&'static str> {
    if is_root() {
        vec!["unshare", "--mount"]
    } else {
        vec!["unshare", "--user", "--map-root-user", "--mount"]
    }
}

fn can_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount --bind $0 $0 && mount -o remount,bind,noexec $0";
    let words = [&namespace()[..], &["sh", "-c", script]].concat();
    let status = Command::new(words[0])
        .args(&words[1..])
        .arg(folder.path())
        .output();
    status.is_ok_and(|output| output.status.success())
}

#[test]
fn restores_the_executable_bit_and_passes_everything_through() {
    let plugin = Plugin::new();
    let output = run(&mut plugin.php(&[]));

    assert_eq!(output.status.code(), Some(3));
    let (program, root) = (plugin.program(), plugin.root());
    assert_eq!(
        stdout(&output),
        format!("{} --root {}\n755\n", program.display(), root.display())
    );
    assert_eq!(output.stderr, b"to stderr\n");
    assert_eq!(program.metadata().unwrap().mode() & 0o7777, 0o755);
    assert!(!root.join("data").exists(), "nothing to log");
}

#[test]
fn runs_a_private_copy_where_the_plugin_folder_is_mounted_noexec() {
    let plugin = Plugin::new();
    let output = plugin.run_where_noexec(&[plugin.root().to_str().unwrap()]);

    assert_eq!(output.status.code(), Some(3));
    let prefix = format!("{}/backup-sync-dropbox-", plugin.temporary().display());
    let (name, rest) = stdout(&output)
        .strip_prefix(&prefix)
        .unwrap()
        .split_once('/')
        .unwrap();
    assert!(
        name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "guessable: {name}"
    );
    assert_eq!(
        rest,
        format!(
            "backup-sync-dropbox --root {}\n700\n",
            plugin.root().display()
        )
    );
    assert_eq!(output.stderr, b"to stderr\n");
    plugin.assert_no_copies_left();
}

/// A page for somebody with a session, and with which arguments the program was started for it.
fn page(plugin: &Plugin, mut command: Command, query: &str) -> (String, String) {
    command.envs([("HTTP_COOKIE", "nms-session=a"), ("QUERY_STRING", query)]);
    let output = run(&mut command);
    let starts = fs::read_to_string(plugin.starts()).unwrap_or_default();
    (stdout(&output).to_owned(), starts)
}

#[test]
fn a_page_starts_the_program_once() {
    let plugin = Plugin::new();
    let (program, root) = (plugin.program(), plugin.root());
    let (body, starts) = page(&plugin, plugin.script_behind("public.php", &[], &[]), "");
    let expected = format!("{} page --root {}", program.display(), root.display());
    assert_eq!((body, starts.as_str()), (expected, "page\n"));
}

#[test]
fn a_page_without_an_answer_is_not_asked_for_again_where_the_program_can_be_run() {
    let plugin = Plugin::new();
    let (body, starts) = page(
        &plugin,
        plugin.script_behind("public.php", &[], &[]),
        "fail",
    );
    assert!(
        body.starts_with("This page cannot be shown at the moment."),
        "{body}"
    );
    assert_eq!(starts, "page\n--version\n");
    plugin.assert_no_copies_left();
}

#[test]
fn a_page_is_answered_by_a_private_copy_where_the_plugin_folder_is_mounted_noexec() {
    let plugin = Plugin::new();
    let root = plugin.root();
    let command = plugin.script_where_noexec("public.php", &[root.to_str().unwrap()]);
    let (body, starts) = page(&plugin, command, "");
    let prefix = format!("{}/backup-sync-dropbox-", plugin.temporary().display());
    assert!(body.starts_with(&prefix), "{body}");
    assert_eq!(starts, "--version\npage\n");
    plugin.assert_no_copies_left();
}

/// Lets a file or folder look as if it had been left so many seconds ago.
fn age(path: &Path, seconds: u64) {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
    fs::File::open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn copies_that_killed_processes_left_are_removed_and_nothing_else() {
    const HOUR: u64 = 60 * 60;
    // The name of a copy's folder, with one letter all over.
    let name = |letter: &str| format!("backup-sync-dropbox-{}", letter.repeat(32));
    let leave = |folder: &Path| {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("backup-sync-dropbox"), "a copy").unwrap();
    };
    // Also where no copy is needed any more.
    for is_noexec in [false, true] {
        let plugin = Plugin::new();
        fs::create_dir(plugin.root().join("data")).unwrap();
        let old = [
            plugin.temporary().join(name("a")),
            plugin.root().join("data").join(name("b")),
        ];
        for folder in &old {
            leave(folder);
            age(folder, HOUR + 60);
        }
        let at = |name: &str| plugin.temporary().join(name);
        let [young, foreign, full] = [
            at(&name("c")),
            at("backup-sync-dropbox-notes"),
            at(&name("d")),
        ];
        for (folder, seconds) in [(&young, HOUR - 60), (&foreign, 9 * HOUR), (&full, 9 * HOUR)] {
            leave(folder);
            if folder == &full {
                fs::write(folder.join("notes"), "somebody's own").unwrap();
            }
            age(folder, seconds);
        }
        let elsewhere = at("elsewhere");
        leave(&elsewhere);
        age(&elsewhere, 9 * HOUR);
        let link = at(&name("e"));
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        let somebody_elses = at(&name("f"));
        leave(&somebody_elses);
        age(&somebody_elses, 9 * HOUR);
        if is_root() {
            std::os::unix::fs::chown(&somebody_elses, Some(54_321), None).unwrap();
        }

        let output = if is_noexec {
            plugin.run_where_noexec(&[plugin.root().to_str().unwrap()])
        } else {
            run(&mut plugin.php(&[]))
        };
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert_eq!(output.stderr, b"to stderr\n");
        for folder in &old {
            assert!(!folder.exists(), "{} is still there", folder.display());
        }
        for folder in [&young, &foreign, &elsewhere, &link] {
            assert!(
                folder.join("backup-sync-dropbox").exists(),
                "{}",
                folder.display()
            );
        }
        assert!(full.join("notes").exists());
        assert!(!is_root() || somebody_elses.join("backup-sync-dropbox").exists());
    }
}

#[test]
fn copies_are_removed_where_a_function_for_it_is_disabled_or_the_run_goes_on_without() {
    let plugin = Plugin::new();
    for function in ["scandir", "fileowner", "preg_grep"] {
        let output = run(&mut plugin.php(&["-d", &format!("disable_functions={function}")]));
        assert_eq!(output.status.code(), Some(3), "{function}: {output:?}");
    }
}

#[test]
fn an_error_is_not_written_through_a_link() {
    let plugin = Plugin::new();
    fs::remove_file(plugin.program()).unwrap();
    fs::create_dir(plugin.root().join("data")).unwrap();
    let target = plugin.folder.path().join("target");
    fs::write(&target, "somebody's own").unwrap();
    std::os::unix::fs::symlink(&target, plugin.root().join("data/plugin.log")).unwrap();
    let output = run(&mut plugin.php(&[]));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&target).unwrap(), "somebody's own");
    assert!(message_of(std::str::from_utf8(&output.stderr).unwrap()).contains("is missing"));
}

#[test]
fn says_so_where_no_folder_lets_the_program_run() {
    let plugin = Plugin::new();
    let (root, temporary) = (plugin.root(), plugin.temporary());
    let folders = [
        root.to_str().unwrap(),
        temporary.to_str().unwrap(),
        "/tmp",
        "/var/tmp",
        "/dev/shm",
    ];
    let output = plugin.run_where_noexec(&folders);

    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    let error = plugin.error();
    assert!(
        error.contains("cannot be run on this server (Permission denied)"),
        "{error}"
    );
    assert!(error.contains("mount option exec"), "{error}");
    plugin.assert_no_copies_left();
}

#[test]
fn falls_back_to_the_data_folder_under_open_basedir() {
    let plugin = Plugin::new();
    let restriction = format!("open_basedir={}", plugin.root().display());

    let output = run(&mut plugin.php(&["-d", &restriction]));
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).starts_with(plugin.program().to_str().unwrap()));

    // Simulated: the stub refuses only the one folder, as a mount of bin/ alone would.
    plugin.put_stub(&format!("{}/bin/", plugin.root().display()));
    let output = run(&mut plugin.php(&["-d", &restriction]));
    assert_eq!(output.status.code(), Some(1), "there is no data/ yet");
    assert!(plugin.error().contains("open_basedir"));

    let output = run(&mut plugin.php(&["-d", &restriction]));
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).starts_with(&format!(
        "{}/data/backup-sync-dropbox-",
        plugin.root().display()
    )));
    plugin.assert_no_copies_left();
}

#[test]
fn says_so_when_php_may_not_start_programs() {
    for disabled in ["proc_open", "proc_close", "exec,proc_open,system"] {
        let plugin = Plugin::new();
        let output = run(&mut plugin.php(&["-d", &format!("disable_functions={disabled}")]));
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
        let error = plugin.error();
        assert!(
            error.contains("disable_functions") && error.contains("php.ini"),
            "{error}"
        );
    }
}

#[test]
fn says_so_when_another_function_is_disabled() {
    let plugin = Plugin::new();
    let output = run(&mut plugin.php(&["-d", "disable_functions=php_uname"]));
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    assert!(plugin.error().contains("php_uname"));
}

#[test]
fn says_so_on_an_unknown_processor() {
    let plugin = Plugin::new();
    // The kernel then reports the 32-bit name of the processor: i686, or armv8l.
    let output = run(&mut plugin.php_behind(&["setarch", "linux32"], &[]));
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    let error = plugin.error();
    assert!(
        error.starts_with("This server's processor type, "),
        "{error}"
    );
    assert!(error.contains("i686") || error.contains("armv"), "{error}");
}

#[test]
fn says_so_when_the_program_is_missing() {
    let plugin = Plugin::new();
    fs::remove_file(plugin.program()).unwrap();
    let output = run(&mut plugin.php(&[]));
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    let error = plugin.error();
    let name = format!("bin/{}/backup-sync-dropbox", std::env::consts::ARCH);
    assert!(
        error.starts_with(&format!("The file {name} is missing")),
        "{error}"
    );
}

#[test]
fn says_so_when_the_program_is_damaged() {
    let plugin = Plugin::new();
    fs::write(plugin.program(), b"\x7fELF and nothing more").unwrap();
    let output = run(&mut plugin.php(&[]));
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    let error = plugin.error();
    assert!(error.contains("install its ZIP again"), "{error}");
    plugin.assert_no_copies_left();
}

#[test]
fn says_so_when_the_program_is_for_another_processor() {
    let plugin = Plugin::new();
    let mut program = fs::read(std::env::current_exe().unwrap()).unwrap();
    program.truncate(4096);
    // The processor's number in the header: another one of 64 bits.
    program[18] = if cfg!(target_arch = "x86_64") {
        183
    } else {
        62
    };
    fs::write(plugin.program(), program).unwrap();
    let output = run(&mut plugin.php(&[]));
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    let error = plugin.error();
    assert!(error.contains("cannot be run on this server"), "{error}");
    plugin.assert_no_copies_left();
}

#[test]
fn says_so_when_the_launcher_is_missing() {
    let plugin = Plugin::new();
    fs::remove_file(plugin.root().join("launcher.php")).unwrap();
    let output = run(&mut plugin.php(&[]));
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    let error = plugin.error();
    assert!(
        error.starts_with("The file launcher.php is missing from the plugin's folder."),
        "{error}"
    );
}

/// Whatever is wrong, PHP has nothing to say of its own: no warning, notice or deprecation.
#[test]
fn no_script_makes_php_complain() {
    for script in scripts() {
        let name = script.file_name().unwrap();
        for is_whole in [true, false] {
            let plugin = Plugin::new();
            if !is_whole {
                fs::remove_file(plugin.program()).unwrap();
            }
            let output = Command::new(find_php().unwrap())
                .args(["-d", "error_reporting=-1", "-d", "display_errors=1"])
                .args(["-d", "html_errors=0", "-d", "log_errors=0"])
                .arg(plugin.root().join(name))
                .env("TMPDIR", plugin.temporary())
                .output()
                .unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            for complaint in [
                "Warning: ",
                "Notice: ",
                "Deprecated: ",
                "Fatal error: ",
                "Parse error: ",
            ] {
                assert!(!said.contains(complaint), "{name:?}: {said}");
            }
        }
    }
}

/// The host's oldest PHP is 8.1. What came later is looked for by its words, as no such PHP is at hand.
#[test]
fn the_scripts_use_nothing_that_php_8_1_lacks() {
    const LATER: [&str; 9] = [
        "readonly class",
        "#[\\Override]",
        "json_validate(",
        "array_find(",
        "array_any(",
        "array_all(",
        "mb_str_pad(",
        "SensitiveParameter",
        "|> ",
    ];
    for script in scripts() {
        let code = fs::read_to_string(&script).unwrap();
        assert!(code.contains("declare(strict_types=1);"), "{script:?}");
        for word in LATER {
            assert!(!code.contains(word), "{script:?} uses {word}");
        }
    }
}

#[test]
fn works_in_a_plugin_folder_that_it_cannot_write() {
    let plugin = Plugin::new();
    let open =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(plugin.folder.path(), 0o755);
    open(&plugin.temporary(), 0o1777);
    open(&plugin.root(), 0o555);
    // Permissions do not bind root, so root becomes the user nobody.
    let prefix: &[&str] = if is_root() {
        &[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ]
    } else {
        &[]
    };

    if is_root() {
        // Nobody does not own the file, so the bit cannot be restored.
        let output = run(&mut plugin.php_behind(prefix, &[]));
        assert_eq!(output.status.code(), Some(3));
        assert!(stdout(&output).starts_with(plugin.temporary().to_str().unwrap()));
        plugin.assert_no_copies_left();
    }

    fs::remove_file(plugin.program()).unwrap();
    let output = run(&mut plugin.php_behind(prefix, &[]));
    open(&plugin.root(), 0o755);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    // There is no log to write to: standard error is the only place left.
    assert!(message_of(std::str::from_utf8(&output.stderr).unwrap()).contains("is missing"));
    assert!(!plugin.root().join("data").exists());
}
