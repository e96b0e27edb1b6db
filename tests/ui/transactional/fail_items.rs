//! Items that are no functions.
use outbox::prelude::*;

#[transactional_event]
struct Order;

#[transactional_event(retries = 3)]
impl Order {
    fn place(&self) {}
}

#[transactional_event]
mod orders {
    pub fn place() {}
}

fn main() {
    Order.place();
    orders::place();
}
