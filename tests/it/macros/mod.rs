//! What the macros make of the code that users write.

mod columns;
mod derive;
mod fields;
mod handlers;
mod schema;
mod shapes;
mod upcast;
