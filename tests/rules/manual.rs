//! Man page and completions: made from the texts of `--help` by `examples/manual`, so that whatever the program takes is
//! in them, and in a form that their readers accept.

#[path = "../../examples/manual/completions.rs"]
mod completions;
#[path = "../../examples/manual/help.rs"]
mod help;
#[path = "../../examples/manual/man.rs"]
mod man;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

use backup_sync_dropbox::commands;

/// The files, written to a folder of their own.
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        (man::FILE, man::page("2026-11-21")),
        (completions::BASH_FILE, completions::bash()),
        (completions::ZSH_FILE, completions::zsh()),
        (completions::FISH_FILE, completions::fish()),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// The command line, if its program is on this machine.
fn output(arguments: &[&str], folder: &Path) -> Option<Output> {
    let mut command = Command::new(arguments[0]);
    match command.args(&arguments[1..]).current_dir(folder).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("skipped: no {} on this machine", arguments[0]);
            None
        }
        output => Some(output.unwrap()),
    }
}

/// The help texts are where all the others come from; what the parser takes is the truth.
#[test]
fn the_help_lists_the_options_that_the_parser_takes() {
    for command in commands::ALL {
        let taken: BTreeSet<(&str, bool)> = [("root", true), ("help", false)]
            .into_iter()
            .chain(command.options.iter().map(|name| (*name, false)))
            .chain(command.settings.iter().map(|name| (*name, true)))
            .collect();
        let listed = help::options(command.help);
        let named = listed
            .iter()
            .map(|one| (one.name.as_str(), one.value.is_some()));
        assert_eq!(named.collect::<BTreeSet<_>>(), taken, "{}", command.name);
    }
}

#[test]
fn every_command_and_option_is_everywhere() {
    let page = man::page("2026-11-21").replace("\\-", "-");
    let (bash, zsh, fish) = (completions::bash(), completions::zsh(), completions::fish());
    for command in commands::ALL {
        let name = command.name;
        let section = page
            .split("\n.SS ")
            .find(|section| section.starts_with(&format!("{name}\n")))
            .unwrap();
        let in_bash = line_with(&bash, &format!("        {name}) words="));
        let in_zsh = zsh.split(&format!("\n                {name})\n")).nth(1);
        let in_zsh = in_zsh.unwrap().split(";;").next().unwrap();
        assert!(zsh.contains(&format!("'{name}:")), "{zsh}");
        line_with(&fish, &format!(" -a {name} -d '"));
        for option in help::options(command.help) {
            let option = option.name;
            assert!(section.contains(&format!("\n.B --{option}")), "{section}");
            assert!(in_bash.contains(&format!("--{option}")), "{in_bash}");
            assert!(in_zsh.contains(&format!("'--{option}")), "{in_zsh}");
            line_with(&fish, &format!("from {name}' -l {option} "));
        }
    }
}

fn line_with<'a>(text: &'a str, part: &str) -> &'a str {
    let found = text.lines().find(|line| line.contains(part));
    found.unwrap_or_else(|| unreachable!("no {part:?} in:\n{text}"))
}

#[test]
fn every_summary_says_something_short() {
    for command in commands::ALL {
        let options = help::options(command.help).into_iter();
        let summaries = options.map(|option| option.summary);
        let own = help::summary_of(command, backup_sync_dropbox::cli::HELP);
        for summary in summaries.chain([own]) {
            assert!((5..90).contains(&summary.len()), "{summary:?}");
        }
    }
}

#[test]
fn the_page_is_a_man_page() {
    let folder = written();
    let lint = ["mandoc", "-T", "lint", "-W", "warning", man::FILE];
    if let Some(output) = output(&lint, folder.path()) {
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.is_empty(), "{told}");
    }
    let Some(output) = output(&["mandoc", "-T", "ascii", man::FILE], folder.path()) else {
        return;
    };
    // Bold is a letter, a backspace and the letter again.
    let text = String::from_utf8(output.stdout).unwrap();
    let letters: Vec<char> = text.chars().collect();
    let plain: String = letters
        .iter()
        .enumerate()
        .filter(|(at, letter)| **letter != '\u{8}' && letters.get(at + 1) != Some(&'\u{8}'))
        .map(|(_, letter)| letter)
        .collect();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in [
        "backup-sync-dropbox [--root DIR] [COMMAND] [ARGUMENTS]",
        "--root DIR The folder to keep it in.",
        "the word \"latest\"",
        "backup-sync-dropbox status --json | jq -r .last_good_run.started_at",
    ] {
        assert!(words(&plain).contains(sentence), "{sentence}: {plain}");
    }
}

/// What bash offers for the last of the words.
fn offered(words: &[&str]) -> BTreeSet<String> {
    let folder = written();
    fs::create_dir(folder.path().join("a folder")).unwrap();
    let script = format!(
        "source {}; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); $(complete -p backup-sync-dropbox \
         | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        completions::BASH_FILE
    );
    let bash = [
        "bash",
        "--norc",
        "-c",
        &script,
        "bash",
        "backup-sync-dropbox",
    ];
    let output = output(&[&bash[..], words].concat(), folder.path()).unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_completes() {
    let offers = |words: &[&str], expected: &[&str]| {
        let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(offered(words), expected, "{words:?}");
    };
    offers(&["ver"], &["verify", "versions"]);
    offers(&["veri"], &["verify"]);
    offers(&["--r"], &["--root"]);
    offers(&["verify", "--"], &["--deep", "--root", "--json", "--help"]);
    offers(&["--root", "/", "status", "--j"], &["--json"]);
    offers(&["status", "--root", "a"], &["a folder"]);
    offers(&["authorize", "--app-key", ""], &[]);
    offers(&["download", "latest", "a"], &["a folder"]);
    offers(&["download", "--f"], &["--force"]);
    offers(&["no-command", "--"], &[]);
    let all = commands::ALL.map(|command| command.name);
    offers(
        &[""],
        &[&all[..], &["--root", "--version", "--help"]].concat(),
    );
}

#[test]
fn the_other_shells_can_read_theirs() {
    let folder = written();
    for shell in [
        ["zsh", "-n", completions::ZSH_FILE],
        ["fish", "-n", completions::FISH_FILE],
    ] {
        if let Some(output) = output(&shell, folder.path()) {
            assert!(output.status.success(), "{output:?}");
        }
    }
}
