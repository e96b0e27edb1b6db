//! Routes: opening one, and forgetting it.

use diesel::result::Error;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel::{QueryResult, RunQueryDsl};
use outbox_core::{Route, RouteSpec, RouteStart};

use super::connection::Step;
use super::plan::cursor;

/// Registers a route, or changes what it asks for.
pub(super) fn open(step: &mut Step<'_>, spec: &RouteSpec) -> QueryResult<()> {
    let json = |types: &Vec<String>| serde_json::to_string(types);
    let types = spec.event_types.as_ref().map(json).transpose().map_err(|e| Error::SerializationError(e.into()))?;
    let known = cursor(step, &spec.route)?;
    if known.is_some_and(|known| known.types == types && known.ordered == spec.ordered) {
        return Ok(());
    }
    let start = match spec.start {
        RouteStart::Oldest => "0",
        // Also when everything is pruned: the numbers go on.
        RouteStart::Now => "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox_event'), 0)",
    };
    step.write(|step| {
        step.query(&format!(
            "INSERT INTO outbox_cursor (route, pos, types, ordered) VALUES (?, {start}, ?, ?) \
             ON CONFLICT (route) DO UPDATE SET types = excluded.types, ordered = excluded.ordered"
        ))
        .bind::<Text, _>(spec.route.as_str())
        .bind::<Nullable<Text>, _>(types)
        .bind::<Bool, _>(spec.ordered)
        .execute(step.conn)
        .map(drop)
    })
}

/// Forgets a route with all its batches. False: there is none.
pub(super) fn remove(step: &mut Step<'_>, route: &Route) -> QueryResult<bool> {
    step.write(|step| {
        let batches = step.query("DELETE FROM outbox_batch WHERE route = ?");
        batches.bind::<Text, _>(route.as_str()).execute(step.conn)?;
        let cursor = step.query("DELETE FROM outbox_cursor WHERE route = ?");
        Ok(cursor.bind::<Text, _>(route.as_str()).execute(step.conn)? == 1)
    })
}
