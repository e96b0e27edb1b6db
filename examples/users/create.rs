//! Runs `create_user` for every input.

use std::error::Error;

use crate::app::{AppError, NewUser};
use crate::database::Database;
use crate::input::Input;
use crate::progress::Progress;

const FIRST_NAMES: [&str; 6] = ["Ada", "Grace", "Edsger", "Barbara", "Leslie", "Zoë"];
const LAST_NAMES: [&str; 5] = ["Lovelace", "Hopper", "Dijkstra", "Liskov", "Lamport"];

/// Users made up, with e-mails that differ.
pub fn generated(count: u64) -> impl Iterator<Item = Input> {
    (1..=count).map(|no| {
        let pick = |names: &[&str]| names[no as usize % names.len()].to_owned();
        let user = NewUser {
            email: format!("user{no}@example.org"),
            first_name: pick(&FIRST_NAMES),
            last_name: pick(&LAST_NAMES),
        };
        (no, Ok(user))
    })
}

/// Creates them one after the other, and says which lines it could not use.
pub async fn many(database: Database, inputs: impl Iterator<Item = Input>, count: u64) -> Result<(), Box<dyn Error>> {
    let mut conn = database.connect().await?;
    let mut progress = Progress::new(count);
    let (mut created, mut refused, mut last) = (0_u64, 0_u64, None);
    for (line, input) in inputs {
        let outcome = match &input {
            Ok(new) => conn.create_user(new).await,
            Err(reason) => {
                progress.say(&format!("line {line}: {reason}"));
                refused += 1;
                progress.tick();
                continue;
            }
        };
        match outcome {
            Ok(user) => {
                created += 1;
                last = Some(user.id);
            }
            Err(error @ AppError::EmailTaken) => {
                progress.say(&format!("line {line}: {error}"));
                refused += 1;
            }
            Err(error) => return Err(error.into()),
        }
        progress.tick();
    }
    progress.finish();
    println!("created {created} users, each with its event; refused {refused}");
    if let Some(id) = last {
        println!("the last one has the id {id}");
    }
    Ok(())
}
