//! What the macros make of the code that users write.

mod derive;
mod handlers;
mod shapes;
