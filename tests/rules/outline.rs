//! A page as an outline: what somebody reads, where it leads to, and what decides its look; a line for each block.

/// Elements that begin a line; all others go on in it.
const BLOCKS: [&str; 17] = [
    "title",
    "body",
    "section",
    "h1",
    "h2",
    "p",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "caption",
    "tr",
    "svg",
    "figcaption",
    "details",
    "footer",
];

/// The outline of a page as the templates write it.
///
/// Attributes that are the same wherever an element occurs are left to the pages that are reviewed whole.
pub fn outline(html: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut is_ordinary_mark = false;
    for piece in html.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap();
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let value = |attribute: &str| {
            let (_, rest) = attributes.split_once(&format!("{attribute}=\""))?;
            rest.split('"').next()
        };
        let class = value("class").map_or(String::new(), |class| format!(".{class}"));
        let is_in_chart = lines.last().is_some_and(|line| line.starts_with("svg"));
        match name {
            "link" | "script" => continue,
            "title" if is_in_chart => {}
            name if BLOCKS.contains(&name) => lines.push(format!("{name}{class} ")),
            // Marks of runs that went as they should are many.
            "g" => {
                is_ordinary_mark = class == ".complete";
                add(&mut lines, if is_ordinary_mark { "*" } else { "\n   " });
                add(&mut lines, if is_ordinary_mark { "" } else { &class });
            }
            "/g" => is_ordinary_mark = false,
            "th" | "td" => add(&mut lines, &format!("|{class} ")),
            "a" => add(&mut lines, &format!("[{}]", value("href").unwrap())),
            "progress" => add(&mut lines, &format!("{{{attributes}}}")),
            name if !class.is_empty() && !name.starts_with("path") && !is_ordinary_mark => {
                add(&mut lines, &format!("{name}{class} "));
            }
            _ => {}
        }
        if !is_ordinary_mark {
            add(&mut lines, text.trim_matches('\n'));
        }
    }
    let lines = lines.iter().map(|line| line.trim_end());
    // A block that only holds others is no line of its own.
    let is_full = |line: &&str| line.contains(' ') || line.contains('.');
    lines
        .filter(is_full)
        .map(|line| format!("{line}\n"))
        .collect()
}

fn add(lines: &mut [String], text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text);
    }
}
