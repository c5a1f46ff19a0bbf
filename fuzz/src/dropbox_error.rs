//! Dropbox's answers that are no success: the first two bytes are the status, the rest is the body.

use backup_sync_dropbox::dropbox::Error;
use backup_sync_dropbox::http::retry::{Retry, Retryable};

/// Panics if what is made of the input is not as it should be.
pub fn check(input: &[u8]) {
    let Some((number, body)) = input.split_first_chunk() else {
        return;
    };
    let status = u16::from_le_bytes(*number);
    // The statuses that mean something, so that they are met more often than once in a thousand.
    const NAMED: [u16; 8] = [400, 401, 403, 404, 409, 429, 500, 503];
    let status = match NAMED.get(usize::from(status)) {
        Some(named) => *named,
        None => 100 + status % 900,
    };
    let error = Error::from_answer("files/route", status, status == 429, None, body);

    // Only a route's own error says something of a file, a session or the account's space.
    let of_the_route = error.is_not_found()
        || error.is_session_lost()
        || error.is_out_of_space()
        || error.correct_offset().is_some();
    assert!(status == 409 || !of_the_route, "{status}: {error}");
    match (status, error.retry()) {
        (500.., Retry::Backoff) | (429, Retry::After(_)) | (409, _) => {}
        (500.. | 429, other) => panic!("{status}: {other:?}"),
        (_, other) => assert!(matches!(other, Retry::Never), "{status}: {other:?}"),
    }
    assert!(error.to_string().starts_with(|c: char| c.is_alphabetic()));
}
