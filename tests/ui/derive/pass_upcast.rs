//! Functions of every kind that upgrade a payload.
use std::convert::Infallible;

use outbox::EventLog;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

mod old {
    pub fn generic<E>(_: i32, fields: super::Fields) -> Result<super::Fields, E> {
        Ok(fields)
    }
}

fn boxed(_: i32, fields: Fields) -> Result<Fields, Box<dyn std::error::Error + Send + Sync>> {
    Ok(fields)
}

#[derive(EventLog)]
#[event_log(version = 2, upcast = old::generic::<Infallible>)]
struct Turbofish {}

#[derive(EventLog)]
#[event_log(version = 2, upcast = "boxed")]
struct AsText<'a, T: Clone> {
    text: &'a str,
    value: T,
}

#[derive(EventLog)]
#[event_log(version = 3, upcast = Self::step)]
struct Own {}

impl Own {
    fn step(version: i32, fields: Fields) -> Result<Fields, String> {
        if version == 1 { Ok(fields) } else { Err(format!("version {version}")) }
    }
}

#[derive(EventLog)]
enum Choice {
    #[event_log(version = 2, upcast = boxed)]
    One { a: u8 },
    Two(Own),
}

fn main() {
    let _ = (Turbofish {}.version(), Choice::Two(Own {}).version(), Choice::One { a: 1 }.version());
    let _ = AsText { text: "", value: 1 }.version();
}
