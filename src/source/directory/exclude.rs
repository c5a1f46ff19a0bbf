//! Which paths of a folder are left out, by patterns as in .gitignore. Pure.

use std::path::Path;

use std::os::unix::ffi::OsStrExt;

/// Patterns; of those that match a path, the last one decides.
#[derive(Clone, Debug, Default)]
pub struct Exclude(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    glob: String,
    /// It takes back what one before it leaves out.
    is_exception: bool,
    is_for_folders: bool,
    /// It is about the path from the top, not about the name alone.
    is_of_path: bool,
}

impl Exclude {
    /// The patterns in these lines. Empty lines and comments are none.
    pub fn new(lines: &[String]) -> Self {
        Self(lines.iter().filter_map(|line| pattern(line)).collect())
    }

    /// Whether this path is left out, of which nothing above it is.
    pub fn has(&self, path: &Path, is_folder: bool) -> bool {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let matches = |pattern: &&Pattern| {
            let text = match pattern.is_of_path {
                true => path.as_os_str().as_bytes(),
                false => name,
            };
            (is_folder || !pattern.is_for_folders) && fast_glob::glob_match(&pattern.glob, text)
        };
        let last = self.0.iter().rfind(matches);
        last.is_some_and(|pattern| !pattern.is_exception)
    }
}

fn pattern(line: &str) -> Option<Pattern> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.starts_with('#') {
        return None;
    }
    let line = without_end(line);
    let (is_exception, line) = match line.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (is_for_folders, line) = match line.strip_suffix('/') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let is_of_path = line.contains('/');
    let line = line.strip_prefix('/').unwrap_or(line);
    (!line.is_empty()).then(|| Pattern {
        glob: glob(line),
        is_exception,
        is_for_folders,
        is_of_path,
    })
}

/// Without the blanks at its end, unless a backslash stands before them.
fn without_end(line: &str) -> &str {
    let trimmed = line.trim_end_matches(' ');
    let is_escaped = trimmed
        .bytes()
        .rev()
        .take_while(|byte| *byte == b'\\')
        .count()
        % 2
        == 1;
    match is_escaped && trimmed.len() < line.len() {
        true => &line[..=trimmed.len()],
        false => trimmed,
    }
}

/// The same for a matcher to which braces and an exclamation mark at the start mean something.
fn glob(line: &str) -> String {
    let mut glob = String::with_capacity(line.len());
    let mut is_escaped = false;
    for (at, character) in line.char_indices() {
        let is_special = "{}".contains(character) || (at == 0 && character == '!');
        if is_special && !is_escaped {
            glob.push('\\');
        }
        is_escaped = character == '\\' && !is_escaped;
        glob.push(character);
    }
    glob
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    /// Which of the paths are left out, each with what is above it.
    fn left_out<'a>(patterns: &str, paths: &[&'a str]) -> BTreeSet<&'a str> {
        let lines: Vec<String> = patterns.split('\n').map(str::to_owned).collect();
        let exclude = Exclude::new(&lines);
        let is_out = |path: &&&str| {
            let path = Path::new(path);
            let above: Vec<&Path> = path.ancestors().skip(1).collect();
            let mut folders = above
                .into_iter()
                .rev()
                .filter(|path| !path.as_os_str().is_empty());
            folders.any(|folder| exclude.has(folder, true)) || exclude.has(path, false)
        };
        paths.iter().filter(is_out).copied().collect()
    }

    /// What git says; `None` without git.
    fn by_git<'a>(patterns: &str, paths: &[&'a str]) -> Option<BTreeSet<&'a str>> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".gitignore"), patterns).unwrap();
        let git = || {
            let mut git = Command::new("git");
            git.current_dir(folder.path())
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap())
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_SYSTEM", "/dev/null");
            git
        };
        git().args(["init", "--quiet"]).status().ok()?;
        let mut check = git()
            .args(["check-ignore", "--stdin", "-z", "--no-index"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let all: String = paths.iter().map(|path| format!("{path}\0")).collect();
        check
            .stdin
            .take()
            .unwrap()
            .write_all(all.as_bytes())
            .unwrap();
        let output = check.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let said: BTreeSet<&str> = said.split('\0').collect();
        Some(
            paths
                .iter()
                .filter(|path| said.contains(*path))
                .copied()
                .collect(),
        )
    }

    const PATHS: &[&str] = &[
        "a", "b", "ab", "a.b", "ba", "a/a", "a/b", "a/ab", "b/a", "b/a.b", "a/b/a", "a/b/ab",
        "b/a/b", "a/a/a/b", "b/b/a/a", ".a", "a/.b", "!a", "#a", "a b", "a ", "{a}", "{a,b}",
        "b/{a,b}", "[a]", "a\\b", "aab", "abab", "a*b", "ä", "a/ä",
    ];

    #[test]
    fn what_people_write_means_what_git_makes_of_it() {
        for patterns in [
            "*.b",
            "/a",
            "a/",
            "/a/",
            "a/b",
            "/a/b",
            "**/b",
            "a/**",
            "a/**/b",
            "**/a/b",
            "a/*",
            "*/a",
            "*\n!a",
            "a/*\n!a/b",
            "a\n!a/b",
            "# a",
            "\\#a",
            "\\!a",
            "!a",
            "!!a\n",
            "a\\ ",
            "a ",
            "{a,b}",
            "[ab]",
            "[!a]",
            "[^a]",
            "[a-b]*",
            "a?b",
            "?",
            "a**b",
            "**",
            "/**",
            "a/**/",
            ".*",
            "*/",
            "\\a",
            "a\\*b",
            "[[]a]",
            "a\r",
            "",
            "/",
            "a//b",
            "ä",
            "[",
            "[a",
            "a\\",
        ] {
            let Some(by_git) = by_git(patterns, PATHS) else {
                return println!("Not tested: there is no git.");
            };
            assert_eq!(left_out(patterns, PATHS), by_git, "{patterns:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn any_patterns_mean_what_git_makes_of_them(
            patterns in prop::collection::vec("(!)?/?(a|b|\\*|\\*\\*|\\?|\\.|\\{|\\}|,|\\[ab\\]|\\[!a\\]|/|/\\*\\*/| ){1,6}/?", 1..4)
        ) {
            // What git makes of several asterisks beside anything else depends on where they stand.
            let is_plain = |part: &str| !part.contains("**") || part == "**";
            let mut parts = patterns.iter().flat_map(|pattern| pattern.trim_start_matches('!').split('/'));
            if !parts.all(is_plain) {
                return Ok(());
            }
            let patterns = patterns.join("\n");
            if let Some(by_git) = by_git(&patterns, PATHS) {
                prop_assert_eq!(left_out(&patterns, PATHS), by_git, "{:?}", patterns);
            }
        }
    }
}
