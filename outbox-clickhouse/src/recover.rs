//! What became of an earlier send: when a repeat under the same token is safe, and when the ids must be read back.
//!
//! The token decides as long as the server remembers it and its memory is true. Three things end that:
//! * the server has started anew: the token can be there and the rows gone (not where Keeper keeps the tokens);
//! * the table was altered, or something that a view fills has no window now: the memory may be another one;
//! * so many blocks came since, to the table or to one that a view fills from it, or so much time passed, that the token may
//!   have fallen out of the window.
//!
//! Where rows are there already, only a server that remembers the token may get it again: to any other it would be new. So
//! what a view had not got by then stays away from it: there is a warning, and the row is where it belongs, once.
//!
//! What stays open: a plain MergeTree never flushes its memory of tokens to the disk, so after a power failure (not a crash
//! of the process) rows can be there and their token gone. Where all rows are there and no view reads from the table,
//! nothing is sent and nothing can double; else a repeat may.

use std::collections::HashSet;

use clickhouse::Row;
use outbox_core::{Part, Recovery, SinkError, SinkErrorKind, StoredEvent};
use serde::Deserialize;
use uuid::Uuid;

use crate::check::check;
use crate::columns::{self, Field};
use crate::definition::Definition;
use crate::deliver::{is_outdated, is_refusal, is_unexplained};
use crate::look::Scope;
use crate::observe::Watched;
use crate::report::{Finding, Severity};
use crate::send::query_id_prefix;
use crate::server::Server;
use crate::sink::ClickHouseSink;
use crate::sql;
use crate::statement::{self, Mark, Statement};

/// Ids per question. 5,000 are 195 kB of SQL, below the server's default `max_query_size` of 256 KiB.
const IDS_PER_QUESTION: usize = 5_000;

/// A token is trusted while less than this share of the window has been written since.
const WINDOW_SHARE: u64 = 10;

/// And while less than this share of the window's time has passed.
const SECONDS_SHARE: u64 = 2;

/// What happened to the destination since the first send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Since {
    restarted: bool,
    altered: bool,
    window_passed: bool,
}

impl Since {
    fn token_is_good(self) -> bool {
        !self.restarted && self.is_remembered()
    }

    /// Whether the token must be remembered, if anything of it has ever arrived. The memory outlives a restart.
    fn is_remembered(self) -> bool {
        !self.altered && !self.window_passed
    }
}

/// `definition` is the fingerprint of the table as it is now, None when it cannot tell repeats any more, and `window` the smallest
/// there was, then or now.
fn since(statement: &Statement, window: u64, first: &Mark, now: &Mark, definition: Option<&str>) -> Since {
    // Fewer blocks than before: partitions were dropped.
    let written = |now: i64, first: i64| u64::try_from(now.saturating_sub(first)).unwrap_or(u64::MAX);
    let is_full = |now, first| written(now, first) >= (window / WINDOW_SHARE).max(1);
    // One that is new since then has no token, and may have the rows all the same.
    let of_targets = |(name, now): (&String, &i64)| first.targets.get(name).is_none_or(|first| is_full(*now, *first));
    let seconds = u64::from(now.at.saturating_sub(first.at));
    let aged = statement.window_seconds.is_some_and(|window| seconds >= window / SECONDS_SHARE);
    Since {
        restarted: !now.start.is_same(&first.start),
        altered: definition != Some(statement.definition.as_str()),
        window_passed: aged || is_full(now.blocks, first.blocks) || now.targets.iter().any(of_targets),
    }
}

/// See [`Sink::recover`](outbox_core::Sink::recover).
pub(crate) async fn recover(sink: &ClickHouseSink, part: &Part) -> Result<Recovery, SinkError> {
    let (statement, first) = statement::thaw("recover", part)?;
    if part.events.is_empty() {
        return Ok(Recovery::Resend);
    }
    let pinned = statement.host.is_some();
    let server = sink.hosts.of_part("recover", statement.host.as_deref())?;
    let recovered = match statement.exactly_once && statement.has_ids() {
        true => on(sink, server, part, &statement, &first).await,
        false => at_least_once(sink, server, &statement).await,
    };
    recovered.map_err(|error| sink.hosts.blame(server, pinned, error))
}

/// A statement that is not the table's any more would be refused for ever, or its values bent.
async fn at_least_once(sink: &ClickHouseSink, server: &Server, statement: &Statement) -> Result<Recovery, SinkError> {
    match server.definition("recover", &statement.table).await? {
        Some(now) if now.fingerprint() != statement.definition => {
            sink.forget(&statement.table);
            Ok(Recovery::Replace { landed: Vec::new() })
        }
        _ => Ok(Recovery::Resend),
    }
}

async fn on(
    sink: &ClickHouseSink,
    server: &Server,
    part: &Part,
    statement: &Statement,
    first: &Mark,
) -> Result<Recovery, SinkError> {
    let definition = server.definition("recover", &statement.table).await?;
    let views = statement.views || definition.as_ref().is_some_and(|definition| !definition.views.is_empty());
    let watched = match &definition {
        Some(definition) => Watched::of(definition),
        None => {
            Watched { scope: Scope::Here, table: &statement.table, replicated: statement.replicated, targets: vec![] }
        }
    };
    let (now, _) = server.mark("recover", &watched).await?;
    let fit = |definition: &&Definition| {
        let once = |finding: &Finding| finding.severity != Severity::NotExactlyOnce;
        check(definition, &[], &server.ddl()).iter().all(once)
    };
    let fingerprint = definition.as_ref().filter(fit).map(Definition::fingerprint);
    let window = definition.as_ref().map_or(statement.window, |now| now.window().min(statement.window));
    let since = since(statement, window, first, &now, fingerprint.as_deref());
    // The events of a replay may have come under any token.
    if since.token_is_good() && !part.replay {
        tracing::info!(part = %part.id, table = %statement.table, "the same token decides: sent again");
        return Ok(Recovery::Resend);
    }
    if since.altered {
        sink.forget(&statement.table);
    }
    // A send that is in the middle of a view would leave the rest of it out.
    let end = if views { EarlierSends::Awaited } else { EarlierSends::Ended };
    end_earlier_sends(sink, server, part, statement, end).await?;
    let mut landed = server.read_back(statement, &part.events).await?;
    let mut resent = false;
    // When nothing is there, sending the old token once more cannot double, and turns away whoever still sends it.
    // After a restart it also completes what was interrupted, views too, where the server remembers what it has of it.
    let complete = landed.len() == part.events.len();
    // What a replay finds has come under other tokens.
    let interrupted = since.restarted && (!complete || views) && since.is_remembered() && !part.replay;
    // Unless the server would convert what it gets into something else now: then whoever still sends it sees that, too.
    let fits = !statement.format.is_json()
        || !since.altered
        || definition.as_ref().is_some_and(|definition| statement.still_fits(definition));
    if fits && (landed.is_empty() || interrupted) {
        match sink.send("recover", server, part, statement).await {
            Ok(_) => {
                resent = true;
                if !server.start("recover", statement).await?.is_same(&now.start) {
                    return Err(SinkError::unknown("recover", "ClickHouse has restarted meanwhile: asked again"));
                }
            }
            // The frozen statement does not fit the table any more, for nobody: the rest needs a new one. And rows that are
            // refused whatever was sent before are refused for whoever else sends them.
            Err(error) if since.altered && is_outdated(&error) => {}
            // (Where rows are there it may be a view that threw them back.)
            Err(error) if is_refusal(&error) && (landed.is_empty() || !is_unexplained(&error)) => {}
            Err(error) => return Err(error),
        }
        landed = server.read_back(statement, &part.events).await?;
    }
    tracing::info!(
        part = %part.id,
        table = %statement.table,
        rows = part.events.len(),
        landed = landed.len(),
        restarted = since.restarted,
        altered = since.altered,
        window_passed = since.window_passed,
        resent,
        "read back"
    );
    if views {
        warn_of_views(part, statement, landed.len(), resent);
    }
    if landed.len() == part.events.len() {
        return Ok(Recovery::Delivered);
    }
    let landed = part.events.iter().map(|stored| stored.event.id).filter(|id| landed.contains(id)).collect();
    Ok(Recovery::Replace { landed })
}

/// What materialized views have is not known everywhere, and nothing is sent for them alone.
fn warn_of_views(part: &Part, statement: &Statement, landed: usize, resent: bool) {
    let what = match resent {
        false if landed > 0 => {
            "has these rows, and they are not sent again: if a materialized view has failed or was slow meanwhile, it lacks them"
        }
        true if landed < part.events.len() => {
            "had dropped these rows although it does not have all of them: a materialized view may have them twice"
        }
        _ => return,
    };
    let id = |event: Option<&StoredEvent>| event.map(|of| tracing::field::display(of.event.id));
    tracing::warn!(
        part = %part.id,
        table = %statement.table,
        first = id(part.events.first()),
        last = id(part.events.last()),
        "the table {what}: compare what it fills with the table"
    );
}

/// What becomes of an earlier send that still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EarlierSends {
    /// It is ended. That needs no right but to see `system.processes`: a user may end queries of their own.
    Ended,
    /// It goes on to its end, which `CLICKHOUSE_INSERT_TIMEOUT` brings about between two blocks, and the sink is asked again.
    Awaited,
}

impl EarlierSends {
    /// How many of them still run on the host.
    async fn left(self, host: &Server, prefix: &str) -> Result<u64, SinkError> {
        let ours = format!("WHERE startsWith(query_id, {prefix})");
        match self {
            Self::Ended => {
                host.execute("recover", None, &format!("KILL QUERY {ours} SYNC FORMAT Null")).await?;
                Ok(0)
            }
            Self::Awaited => host.one("recover", &format!("SELECT count() FROM system.processes {ours}")).await,
        }
    }
}

fn none_left(left: u64, who: &str) -> Result<(), SinkError> {
    match left {
        0 => Ok(()),
        _ => {
            let message = format!("{who} is at an earlier send of this part still: asked again");
            Err(SinkError::new(SinkErrorKind::Environment, "recover", message))
        }
    }
}

/// Sees that no earlier send of this part runs any more, and that a replica has what the others have.
async fn end_earlier_sends(
    sink: &ClickHouseSink,
    server: &Server,
    part: &Part,
    statement: &Statement,
    end: EarlierSends,
) -> Result<(), SinkError> {
    let prefix = sql::text(&query_id_prefix(part.token));
    if statement.host.is_some() {
        // After a restart, too: it may have been sent before and after.
        return none_left(end.left(server, &prefix).await?, "the server");
    }
    // Whichever host it was sent through may be at it still.
    for host in sink.hosts.in_order() {
        let left = end.left(host, &prefix).await.map_err(|error| {
            let address = &host.address;
            let message = format!(
                "the host {address} may be at an earlier send of this part still and does not say: bring it back, or take it \
                 out of CLICKHOUSE_HOST"
            );
            SinkError::new(SinkErrorKind::Environment, "recover", message).with_host(&**address).with_source(error)
        })?;
        none_left(left, &format!("the host {}", host.address))?;
    }
    if let Some(cluster) = &statement.cluster {
        let processes = match statement.replicated {
            // Whichever replica took it may be at it.
            true => format!("clusterAllReplicas({}, 'system', 'processes')", sql::text(cluster)),
            false => Scope::Cluster(cluster).system("processes"),
        };
        let sql = format!("SELECT count() FROM {processes} WHERE startsWith(initial_query_id, {prefix})");
        none_left(server.one("recover", &sql).await?, "a shard")?;
    }
    if statement.replicated && statement.cluster.is_none() {
        server.execute("recover", Some(&statement.table), &format!("SYSTEM SYNC REPLICA {}", statement.table)).await?;
    }
    Ok(())
}

#[derive(Row, Deserialize)]
struct Id {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
}

impl Server {
    /// Which of the events are in the table.
    pub(crate) async fn read_back(
        &self,
        statement: &Statement,
        events: &[StoredEvent],
    ) -> Result<HashSet<Uuid>, SinkError> {
        let mut landed = HashSet::with_capacity(events.len());
        for chunk in events.chunks(IDS_PER_QUESTION) {
            let rows: Vec<Id> = self.rows("recover", Some(&statement.table), &question(statement, chunk)).await?;
            landed.extend(rows.into_iter().map(|row| row.event_id));
        }
        Ok(landed)
    }
}

fn question(statement: &Statement, events: &[StoredEvent]) -> String {
    let ids: Vec<_> = events.iter().map(|stored| format!("'{}'", stored.event.id)).collect();
    let mut bounds = String::new();
    if let Some((from, to)) = time_bounds(events).filter(|_| statement.has("event_date_time")) {
        let column = sql::name("event_date_time");
        bounds =
            format!(" AND {column} >= toDateTime64({from}, 6, 'UTC') AND {column} <= toDateTime64({to}, 6, 'UTC')");
    }
    if let Some(types) = event_types(statement, events) {
        bounds.push_str(&format!(" AND {} IN ({types})", sql::name("event_type")));
    }
    // Cloud's replicas answer with what all of them have agreed on.
    let consistent = if statement.replicated { "select_sequential_consistency = 1, " } else { "" };
    let table = match (&statement.cluster, &statement.local) {
        // The one replica of a shard that would be asked may be behind the one that took the rows.
        (Some(cluster), Some(local)) if statement.replicated => format!(
            "clusterAllReplicas({}, {}, {})",
            sql::text(cluster),
            sql::text(&local.database),
            sql::text(&local.table)
        ),
        _ => statement.table.to_string(),
    };
    // Rows that a lightweight DELETE hides have arrived all the same. And a user's profile must not cut the answer short.
    format!(
        "SELECT DISTINCT event_id FROM {} WHERE event_id IN ({}){bounds} SETTINGS {consistent}apply_deleted_mask = 0, \
         max_result_rows = 0, max_result_bytes = 0, max_rows_to_read = 0, max_bytes_to_read = 0, limit = 0, \
         result_overflow_mode = 'throw', read_overflow_mode = 'throw', timeout_overflow_mode = 'throw', \
         distinct_overflow_mode = 'throw', set_overflow_mode = 'throw'",
        table,
        ids.join(",")
    )
}

/// The events' times, a second wider on both sides because a column may hold less precision; None where a column of
/// another type could have bent them.
fn time_bounds(events: &[StoredEvent]) -> Option<(i64, i64)> {
    /// The first seconds of 1970 and of 2106: what DateTime can hold.
    const RANGE: std::ops::Range<i64> = 1..4_291_747_200;
    let seconds = || events.iter().map(|stored| stored.event.occurred_at.timestamp());
    let (from, to) = (seconds().min()?, seconds().max()?);
    (RANGE.contains(&from) && RANGE.contains(&to)).then_some((from - 1, to + 2))
}

/// The events' types, where they are few and the column is a text.
fn event_types(statement: &Statement, events: &[StoredEvent]) -> Option<String> {
    const TYPES_MAX: usize = 200;
    let column = statement.columns.iter().find(|column| column.name == "event_type" && !column.payload)?;
    columns::wire(Field::EventType, &column.server_type)?;
    let types: HashSet<&str> = events.iter().map(|stored| &*stored.event.event_type).collect();
    let mut types: Vec<_> = types.into_iter().map(sql::text).collect();
    types.sort_unstable();
    (types.len() <= TYPES_MAX).then(|| types.join(","))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use outbox_core::Event;

    use super::*;
    use crate::TableName;
    use crate::columns::Column;
    use crate::encode::Format;

    fn statement(window: u64) -> Statement {
        Statement {
            table: TableName::new("db", "event_log"),
            format: Format::RowBinary,
            columns: vec![],
            settings: std::collections::BTreeMap::new(),
            exactly_once: true,
            definition: "d".into(),
            window,
            window_seconds: None,
            views: false,
            host: None,
            cluster: None,
            local: None,
            stamp: String::new(),
            replicated: false,
        }
    }

    fn mark(start: &str, blocks: i64) -> Mark {
        serde_json::from_value(serde_json::json!({ "start": start, "blocks": blocks })).expect("a mark")
    }

    #[test]
    fn a_token_is_trusted_only_while_nothing_happened() {
        let first = mark("a", 100);
        let good = |now: &Mark, definition| since(&statement(1000), 1000, &first, now, definition).token_is_good();
        assert!(good(&mark("a", 199), Some("d")));
        assert!(!good(&mark("a", 200), Some("d")), "a tenth of the window has passed");
        assert!(!good(&mark("a", 99), Some("d")), "partitions were dropped");
        assert!(!good(&mark("b", 100), Some("d")), "restarted");
        assert!(!good(&mark("", 100), Some("d")), "nobody knows");
        assert!(!good(&mark("a", 100), Some("e")), "altered");
        assert!(!good(&mark("a", 100), None), "gone");
        assert!(
            since(&statement(5), 5, &first, &mark("a", 100), Some("d")).token_is_good(),
            "a tiny window still has a first try"
        );
        let filled = |blocks: i64| Mark { targets: [("db.by_hour".to_owned(), blocks)].into(), ..first.clone() };
        let since_filled = |now: &Mark| since(&statement(1000), 1000, &filled(7), now, Some("d"));
        assert!(since_filled(&filled(106)).token_is_good());
        assert!(!since_filled(&filled(107)).token_is_good(), "what a view fills has its own window");
        let of_new_view = |blocks| since(&statement(1000), 1000, &first, &filled(blocks), Some("d")).token_is_good();
        assert!(!of_new_view(1), "nobody knows what it was filled with");
        assert!(!since(&statement(1000), 20, &first, &mark("a", 102), Some("d")).token_is_good(), "the smaller one");
        let keeper = Statement { window_seconds: Some(3600), ..statement(1000) };
        let after = |seconds| Mark { at: first.at + seconds, ..first.clone() };
        assert!(since(&keeper, 1000, &first, &after(1799), Some("d")).token_is_good());
        assert!(!since(&keeper, 1000, &first, &after(1800), Some("d")).token_is_good(), "Keeper forgets by age, too");
    }

    #[test]
    fn the_question_is_bounded_by_what_the_statement_has() {
        let at = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
        let event = Event::stored(Uuid::nil(), "seen".into(), 1, at);
        let events = [StoredEvent { seq: 1, event }];
        let bare = question(&statement(1), &events);
        assert!(!bare.contains("event_date_time") && !bare.contains("event_type"), "{bare}");
        let columns =
            vec![Column::envelope("event_date_time", "DateTime64(6)"), Column::envelope("event_type", "String")];
        let bounded = question(&Statement { columns, replicated: true, ..statement(1) }, &events);
        for part in [
            "`event_date_time` >= toDateTime64(1699999999",
            "`event_type` IN ('seen')",
            "select_sequential_consistency",
        ] {
            assert!(bounded.contains(part), "{part} in {bounded}");
        }
        let local = Some(TableName::new("db", "local"));
        let shards = Statement { cluster: Some("c".into()), local, ..statement(1) };
        assert!(question(&shards, &events).contains("FROM `db`.`event_log` WHERE"));
        let replicas = question(&Statement { replicated: true, ..shards }, &events);
        assert!(replicas.contains("FROM clusterAllReplicas('c', 'db', 'local') WHERE"), "{replicas}");
    }
}
