//! An error with all its causes, as one line of text.

use std::error::Error;

/// The error, and what caused it: `nothere.csv: cannot be read: No such file or directory`.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some errors say their cause themselves: once is enough.
        let its = error.to_string();
        if !text.contains(&its) {
            text = format!("{text}: {its}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{what}")]
    struct Outer {
        what: &'static str,
        source: io::Error,
    }

    #[test]
    fn a_cause_is_said_once() {
        let text = |what| with_causes(&Outer { what, source: io::Error::other("the disk is full") });
        assert_eq!(text("cannot be written"), "cannot be written: the disk is full");
        assert_eq!(text("cannot be written: the disk is full"), "cannot be written: the disk is full");
    }
}
