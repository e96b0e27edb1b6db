//! Live progress: a bar on a terminal, a line every tenth elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

pub struct Progress {
    bar: ProgressBar,
    total: u64,
    done: u64,
    lines: bool,
}

impl Progress {
    pub fn new(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} users ({per_sec}, {eta} left)") {
            bar.set_style(style);
        }
        Self { bar, total, done: 0, lines: !std::io::stderr().is_terminal() }
    }

    pub fn tick(&mut self) {
        self.done += 1;
        self.bar.set_position(self.done);
        let tenth = (self.total / 10).max(1);
        if self.lines && self.done.is_multiple_of(tenth) {
            eprintln!("{} of {} users", self.done, self.total);
        }
    }

    /// Prints a line above the bar.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
