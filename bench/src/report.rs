//! What is printed, and what is written down.

use std::fmt::Write as _;
use std::path::Path;

use crate::Result;
use crate::figure::Figure;

/// All figures of one run.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Figure>);

impl Report {
    pub(crate) fn add(&mut self, figure: Figure) {
        eprintln!("{}", line(&figure));
        self.0.push(figure);
    }

    /// One table.
    pub(crate) fn markdown(&self) -> String {
        let mut text =
            String::from("| figure | median | min | max | unit | target | reached |\n|---|--:|--:|--:|---|---|---|\n");
        for figure in &self.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", line(figure));
        }
        text
    }

    /// The closing line.
    pub(crate) fn verdict(&self) -> String {
        let targets = self.0.iter().filter(|figure| figure.target.is_some()).count();
        let reached = self.0.iter().filter(|figure| figure.reached == Some(true)).count();
        format!("targets reached: {reached} of {targets}")
    }

    pub(crate) fn all_reached(&self) -> bool {
        self.0.iter().all(|figure| figure.reached != Some(false))
    }

    pub(crate) fn write_json(&self, file: &Path) -> Result<()> {
        Ok(std::fs::write(file, serde_json::to_string_pretty(&self.0)?)?)
    }
}

fn line(figure: &Figure) -> String {
    let Figure { figure: name, value, min, max, unit, target, reached } = figure;
    let reached = match reached {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    };
    let target = target.as_deref().unwrap_or_default();
    format!("| {name} | {} | {} | {} | {unit} | {target} | {reached} |", short(*value), short(*min), short(*max))
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Target;

    #[test]
    fn a_missed_target_is_said() {
        let one = |value: f64| Figure::new("rate", &[value].into_iter().collect(), "1/s").target(Target::AtLeast(10.0));
        let mut report = Report::default();
        report.add(one(12.345));
        assert!(report.all_reached());
        report.add(one(9.0));
        report.add(Figure::new("free", &[1.0].into_iter().collect(), "s"));
        assert!(!report.all_reached());
        assert_eq!(report.verdict(), "targets reached: 1 of 2");
        assert!(report.markdown().contains("| rate | 9.00 | 9.00 | 9.00 | 1/s | >= 10 | NO |"));
    }
}
