//! Where a claim begins to look: past the index entries of batches that were settled long ago.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use outbox_core::Route;
use tokio::sync::Mutex;

use super::prepared::Prepare;
use super::rows::FloorRow;
use crate::Tables;

/// How often the smallest open batch is looked up anew.
const AGE_MAX: Duration = Duration::from_secs(1);

/// How often it is looked up from the beginning: a settlement that a crash undid brings a smaller number back, and so does a
/// parked batch that is parked no more.
const LOOK_BACK: Duration = Duration::from_secs(30);

/// A number up to the smallest open batch's of a route that is not parked, and when it was looked up.
///
/// Per route, because one route's planner is one at a time: a batch with a smaller number cannot appear later.
#[derive(Clone, Copy)]
struct Floor {
    no: i64,
    looked_up: Instant,
    from_the_beginning: Instant,
}

#[derive(Clone, Default)]
pub(super) struct Floors(Arc<Mutex<HashMap<Route, Floor>>>);

impl Floors {
    /// Any number up to the route's smallest open batch's, at most a second old.
    pub(super) async fn floor(&self, route: &Route, tables: &Tables, conn: &mut AsyncPgConnection) -> QueryResult<i64> {
        let mut floors = self.0.lock().await;
        let known = floors.get(route).copied();
        if let Some(known) = known.filter(|known| known.looked_up.elapsed() < AGE_MAX) {
            return Ok(known.no);
        }
        let recent = known.filter(|known| known.from_the_beginning.elapsed() < LOOK_BACK);
        let at_least = recent.map_or(0, |known| known.no);
        let sql = "SELECT min(no) AS floor FROM outbox_batch WHERE route = $1 AND no >= $2 AND NOT parked AND NOT dead";
        let found: FloorRow = diesel::sql_query(tables.sql(sql))
            .bind::<Text, _>(route.as_str())
            .bind::<BigInt, _>(at_least)
            .prepared()
            .get_result(conn)
            .await?;
        let no = found.floor.unwrap_or(at_least);
        let now = Instant::now();
        let from_the_beginning = recent.map_or(now, |known| known.from_the_beginning);
        floors.insert(route.clone(), Floor { no, looked_up: now, from_the_beginning });
        Ok(no)
    }

    /// Looks everything up anew: the database may be another one (a standby, a restore), or have forgotten what was not
    /// durable.
    pub(super) async fn forget(&self) {
        self.0.lock().await.clear();
    }
}
