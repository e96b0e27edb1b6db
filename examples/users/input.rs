//! Users from a CSV file.

use std::error::Error;
use std::path::Path;

use serde::Deserialize;

use crate::app::NewUser;

#[derive(Deserialize)]
struct Line {
    email: String,
    first_name: String,
    last_name: String,
}

/// What a line holds: a user, or what is wrong with it, each with the line's number.
pub type Input = (u64, Result<NewUser, String>);

/// Reads a file with the header `email,first_name,last_name`.
pub fn read(path: &Path) -> Result<(impl Iterator<Item = Input>, u64), Box<dyn Error>> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let headers = reader.headers()?.clone();
    if let Some(missing) = ["email", "first_name", "last_name"].iter().find(|name| !headers.iter().any(|h| h == **name))
    {
        return Err(format!("{} has no column `{missing}` in its first line", path.display()).into());
    }
    let lines: Vec<Input> = reader
        .into_records()
        .map(|record| match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                (line, user(record.deserialize(Some(&headers))))
            }
            Err(error) => (error.position().map_or(0, csv::Position::line), Err(reason(&error))),
        })
        .collect();
    let count = lines.len() as u64;
    Ok((lines.into_iter(), count))
}

fn user(line: Result<Line, csv::Error>) -> Result<NewUser, String> {
    let line = line.map_err(|error| reason(&error))?;
    match line.email.split_once('@') {
        Some((name, host)) if !name.is_empty() && !host.is_empty() => {
            Ok(NewUser { email: line.email, first_name: line.first_name, last_name: line.last_name })
        }
        _ => Err("the e-mail needs the form name@host".into()),
    }
}

fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} fields instead of {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".into(),
        _ => error.to_string(),
    }
}
