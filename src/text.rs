//! Numbers as people read them.

use std::time::Duration;

/// A number of bytes with a decimal unit: `412 MB`, `1.4 GB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A duration: `38 s`, `12 min 5 s`, `1 h 2 min`.
pub fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A number of things: `1 file`, `2 files`.
pub fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// The first `limit` items of a list in quotes, and how many more there are.
pub fn list<'a>(items: impl IntoIterator<Item = &'a str>, limit: usize) -> String {
    let quoted: Vec<String> = items
        .into_iter()
        .map(|item| format!("\"{item}\""))
        .collect();
    first(quoted.iter().map(String::as_str), limit, ", ")
}

/// The first `limit` items of a list with something between them, and how many more there are.
pub fn first<'a>(items: impl Iterator<Item = &'a str>, limit: usize, between: &str) -> String {
    let items: Vec<&str> = items.collect();
    match items.len().checked_sub(limit) {
        None | Some(0) => items.join(between),
        Some(more) => format!("{} and {more} more", items[..limit].join(between)),
    }
}

/// Whether a character of a foreign text may stand in a line: no controls, and none of those that
/// are invisible or turn the direction of what follows.
pub fn is_printable(c: char) -> bool {
    let hidden = matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    !c.is_control() && !hidden
}

/// The text in one line, whatever foreign text with line breaks found its way into it.
pub fn one_line(text: &str) -> String {
    let shown = |c| if is_printable(c) { c } else { ' ' };
    text.chars().map(shown).collect()
}

/// A JSON text of the same value that a terminal shows as it is: what does not print stands only within
/// strings there, and becomes an escape.
pub fn escaped_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || is_printable(c) {
            escaped.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

/// What is wrong with a JSON text, and where, without quoting anything of it: it may hold secrets.
pub fn json_fault(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "it is other JSON than expected",
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Io => "it cannot be read",
        serde_json::error::Category::Syntax => "it is no JSON",
    };
    format!("{kind}, at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_text_in_json_reaches_a_terminal_as_it_is() {
        let name: String = ('\0'..='\u{ffff}')
            .chain(['\u{e0001}', '😀', '"'])
            .collect();
        let document = format!("{:#}", serde_json::json!({ "name": name }));
        let escaped = escaped_json(&document);
        assert_eq!(escaped.lines().count(), 3);
        assert!(escaped.lines().all(|line| line.chars().all(is_printable)));
        let parsed: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(parsed["name"], name);
        assert!(escaped.contains('😀'));
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.0 kB");
        assert_eq!(bytes(411_900_000), "412 MB");
        assert_eq!(bytes(999_700_000), "1.0 GB");
        assert_eq!(bytes(u64::MAX), "18 EB");
        assert_eq!(duration(Duration::from_millis(38_900)), "38 s");
        assert_eq!(duration(Duration::from_secs(725)), "12 min 5 s");
        assert_eq!(duration(Duration::from_secs(3720)), "1 h 2 min");
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(list(["a", "b", "c"], 2), "\"a\", \"b\" and 1 more");
        assert_eq!(list(["a", "b"], 2), "\"a\", \"b\"");
    }
}
