//! A progress line on standard error that goes with what it shows, however that ends.

use std::ops::Deref;

use indicatif::{ProgressBar, ProgressStyle};

/// A line on a terminal; nothing elsewhere.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Of so many steps, each of which has a name.
    pub(crate) fn of_steps(steps: u64) -> Self {
        Self::new(steps, "{bar:20} {pos}/{len} {msg}")
    }

    /// Of so many bytes, to which something is being done.
    pub(crate) fn of_bytes(bytes: u64, doing: &'static str) -> Self {
        let progress =
            Self::new(bytes, "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}");
        progress.set_message(doing);
        progress
    }

    fn new(length: u64, template: &str) -> Self {
        let style = ProgressStyle::with_template(template).expect("the template is well formed");
        Self(ProgressBar::new(length).with_style(style))
    }
}

impl Deref for Progress {
    type Target = ProgressBar;

    fn deref(&self) -> &ProgressBar {
        &self.0
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
