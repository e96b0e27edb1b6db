//! Layouts, and what a table is made from.

use syn::LitStr;

use super::super::parse::{Ddl, Named};
use super::names::unknown;
use crate::faults::Faults;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Layout {
    Context,
    Columns,
}

/// The clauses of a table's DDL, as texts.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct TableDdl {
    pub(in super::super) engine: Option<String>,
    pub(in super::super) order_by: Option<String>,
    pub(in super::super) partition_by: Option<String>,
    pub(in super::super) ttl: Option<String>,
}

const LAYOUTS: [&str; 2] = ["context", "columns"];

pub(super) fn layout(given: Option<&LitStr>, faults: &mut Faults) -> Option<Layout> {
    let given = given?;
    match given.value().as_str() {
        "context" => Some(Layout::Context),
        "columns" => Some(Layout::Columns),
        _ => {
            unknown("layout", given, &LAYOUTS, faults);
            // The one in which every option has a use: one mistake, one message.
            Some(Layout::Columns)
        }
    }
}

impl TableDdl {
    /// What is given here, and otherwise `outer`.
    pub(super) fn of(given: Option<&Ddl>, outer: &Self, faults: &mut Faults) -> Self {
        let Some(given) = given else { return outer.clone() };
        let mut text = |given: &Option<LitStr>, outer: &Option<String>| {
            if let Some(empty) = given.as_ref().filter(|text| text.value().trim().is_empty()) {
                faults.at(empty, "this is empty: leave the option out, and the sink chooses");
            }
            given.as_ref().map(LitStr::value).or_else(|| outer.clone())
        };
        Self {
            engine: text(&given.engine, &outer.engine),
            order_by: text(&given.order_by, &outer.order_by),
            partition_by: text(&given.partition_by, &outer.partition_by),
            ttl: text(&given.ttl, &outer.ttl),
        }
    }
}

/// A `ddl(..)` that no table is made from.
pub(super) fn unused_ddl(options: &Named, used: bool, faults: &mut Faults) {
    if let (Some(ddl), false) = (&options.ddl, used) {
        faults.at(
            &ddl.place,
            "`ddl` is for a table of the event's own, and this event is stored in the shared one: say `layout = \"columns\"` as well",
        );
    }
}
