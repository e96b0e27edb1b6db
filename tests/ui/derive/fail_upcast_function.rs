//! Functions that do not upgrade a payload: the message is at the path.
use outbox::EventLog;
use serde_json::{Map, Value};

fn without_version(fields: Map<String, Value>) -> Result<Map<String, Value>, String> {
    Ok(fields)
}

fn of_value(_: i32, value: Value) -> Result<Value, String> {
    Ok(value)
}

struct NotAnError;

fn other_error(_: i32, fields: Map<String, Value>) -> Result<Map<String, Value>, NotAnError> {
    Ok(fields)
}

#[derive(EventLog)]
#[event_log(version = 2, upcast = without_version)]
struct A {}

#[derive(EventLog)]
#[event_log(version = 2, upcast = of_value)]
struct B {}

#[derive(EventLog)]
#[event_log(version = 2, upcast = other_error)]
struct C {}

#[derive(EventLog)]
#[event_log(version = 2, upcast = nowhere::to_be_found)]
struct D {}

fn main() {}
