//! SPDX licence expressions, and the slash that older crates write for `OR`.

use anyhow::{Result, ensure};

/// Whether an expression can be met with accepted licences only. `X WITH Y` counts as one licence.
///
/// # Errors
/// It is no licence expression.
pub fn allows(expression: &str, accepts: &dyn Fn(&str) -> bool) -> Result<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader {
        words: &words,
        accepts,
    };
    let answer = reader.either();
    ensure!(
        reader.words.is_empty() && answer.is_some(),
        "no licence expression: {expression:?}"
    );
    Ok(answer == Some(true))
}

/// The words that are left. `None` from any of its parts: a word was missing.
struct Reader<'a> {
    words: &'a [&'a str],
    accepts: &'a dyn Fn(&str) -> bool,
}

impl Reader<'_> {
    fn took(&mut self, word: &str) -> bool {
        let is_next = self.words.first() == Some(&word);
        if is_next {
            self.words = &self.words[1..];
        }
        is_next
    }

    fn next(&mut self) -> Option<String> {
        let (word, rest) = self.words.split_first()?;
        self.words = rest;
        Some((*word).to_owned())
    }

    fn either(&mut self) -> Option<bool> {
        let mut answer = self.both()?;
        while self.took("OR") {
            answer |= self.both()?;
        }
        Some(answer)
    }

    fn both(&mut self) -> Option<bool> {
        let mut answer = self.one()?;
        while self.took("AND") {
            answer &= self.one()?;
        }
        Some(answer)
    }

    fn one(&mut self) -> Option<bool> {
        if self.took("(") {
            let answer = self.either()?;
            return self.took(")").then_some(answer);
        }
        let mut licence = self.next()?;
        if self.took("WITH") {
            licence = format!("{licence} WITH {}", self.next()?);
        }
        Some((self.accepts)(&licence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_choice_is_enough_and_all_of_a_sum_are_needed() {
        let mit_and_isc = |id: &str| ["MIT", "ISC"].contains(&id);
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("Apache-2.0/MIT", true),
            ("MIT AND ISC", true),
            ("MIT AND Apache-2.0", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", false),
            ("Apache-2.0 AND ISC OR MIT", true),
            ("MIT WITH LLVM-exception", false),
        ] {
            assert_eq!(
                allows(expression, &mit_and_isc).unwrap(),
                expected,
                "{expression}"
            );
        }
        for broken in ["", "MIT OR", "(MIT", "MIT ISC", "MIT)"] {
            assert!(allows(broken, &mit_and_isc).is_err(), "{broken}");
        }
    }
}
