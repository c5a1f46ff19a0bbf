//! `files/download`, with ranges and `If-None-Match`.

use super::super::answer::{Answer, Refusal, nested, tag};
use super::super::arguments::Pattern;
use super::super::service::Call;

pub(super) fn download(mut call: Call<'_, '_>) -> Result<Answer, Refusal> {
    let mut fields = call.fields()?;
    let path = fields.path("path", Pattern::Read)?;
    fields.optional_string("rev")?;
    fields.end()?;
    let mut world = call.shared.world();
    let path_error = |error| Refusal::Route(nested("path", error));
    let entry = world.folder(&call.app).version(&path).map_err(path_error)?;
    let Some(file) = &entry.file else {
        return Err(path_error(tag("not_file")));
    };
    let etag = format!("W/\"{}\"", file.rev);
    if call.head.header("if-none-match") == Some(etag.as_str()) {
        return Ok(Answer::NotModified);
    }
    let size = file.content.size;
    // Assumption: ranges are answered as RFC 9110 says; several ranges at once are not.
    let (from, length, range) = match call.head.header("range").map(|text| range(text, size)) {
        None => (0, size, None),
        Some(None) => return Err(Refusal::RangeNotSatisfiable(size)),
        Some(Some((from, to))) => {
            let content_range = format!("bytes {from}-{to}/{size}");
            (from, to - from + 1, Some(content_range))
        }
    };
    let Some(reader) = file.content.reader(from, length) else {
        let text = "This stand-in was told to keep no content (keep_content: false).";
        return Err(Refusal::BadInput(text.into()));
    };
    Ok(Answer::File {
        metadata: entry.metadata(),
        etag,
        reader,
        length,
        range,
    })
}

/// First and last byte of `bytes=a-b`, `bytes=a-` or `bytes=-n`.
fn range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let last = size.checked_sub(1)?;
    let (from, to) = match (from, to) {
        ("", suffix) => (size.saturating_sub(suffix.parse().ok()?), last),
        (from, "") => (from.parse().ok()?, last),
        (from, to) => (from.parse().ok()?, to.parse::<u64>().ok()?.min(last)),
    };
    (from <= to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_within_the_file() {
        assert_eq!(range("bytes=0-3", 10), Some((0, 3)));
        assert_eq!(range("bytes=4-", 10), Some((4, 9)));
        assert_eq!(range("bytes=-3", 10), Some((7, 9)));
        assert_eq!(range("bytes=8-100", 10), Some((8, 9)));
        assert_eq!(range("bytes=10-", 10), None);
        assert_eq!(range("bytes=0-0", 0), None);
        assert_eq!(range("lines=1-2", 10), None);
    }
}
