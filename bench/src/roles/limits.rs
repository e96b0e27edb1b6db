//! What the machine can do at best: no bookkeeping, nothing decoded, nothing kept in mind.

use bytes::Bytes;
use clickhouse::Client;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_postgres::Statement;

use super::{At, go};
use crate::data::{COLUMNS, TABLE};
use crate::place::connect;
use crate::{Failure, Result};

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Limit {
    /// Reading the payloads with COPY.
    Copy,
    /// Reading the payloads with string_agg.
    StringAgg,
    /// ClickHouse taking one ready-made body again and again.
    Ingest,
    /// Both at once: while one body is read, the one before is sent.
    Pipe,
}

const STRING_AGG: &str = "SELECT string_agg(payload, ''::bytea) FROM \
    (SELECT payload FROM bench_body WHERE seq > $1 AND seq <= $2 ORDER BY seq) r";

pub(super) async fn play(url: &str, events: i64, rows: i64, limit: Limit, to: At) -> Result<u64> {
    let postgres = connect(url).await?;
    let string_agg = postgres.prepare(STRING_AGG).await?;
    let clickhouse = to.client();
    let starts = (0..events).step_by(usize::try_from(rows)?);
    match limit {
        Limit::Copy => {
            go().await?;
            for start in starts {
                let end = start + rows;
                let sql = format!(
                    "COPY (SELECT payload FROM bench_body WHERE seq > {start} AND seq <= {end} ORDER BY seq) TO STDOUT BINARY"
                );
                let mut chunks = std::pin::pin!(postgres.copy_out(&sql).await?);
                while chunks.try_next().await?.is_some() {}
            }
        }
        Limit::StringAgg => {
            go().await?;
            for start in starts {
                body(&postgres, &string_agg, start, start + rows).await?;
            }
        }
        Limit::Ingest => {
            let ready = body(&postgres, &string_agg, 0, rows).await?;
            go().await?;
            for _ in starts {
                insert(&clickhouse, ready.clone()).await?;
            }
        }
        Limit::Pipe => {
            go().await?;
            let (sender, mut bodies) = mpsc::channel(1);
            let reading = async move {
                for start in starts {
                    sender.send(body(&postgres, &string_agg, start, start + rows).await?).await?;
                }
                Ok::<(), Failure>(())
            };
            let sending = async move {
                while let Some(body) = bodies.recv().await {
                    insert(&clickhouse, body).await?;
                }
                Ok::<(), Failure>(())
            };
            let (read, sent) = tokio::join!(tokio::spawn(reading), tokio::spawn(sending));
            read??;
            sent??;
        }
    }
    Ok(events.unsigned_abs())
}

async fn body(client: &tokio_postgres::Client, statement: &Statement, after: i64, to: i64) -> Result<Bytes> {
    let row = client.query_one(statement, &[&after, &to]).await?;
    Ok(Bytes::copy_from_slice(row.try_get(0)?))
}

/// One INSERT of ready-made rows.
pub(crate) async fn insert(client: &Client, body: Bytes) -> Result<()> {
    let sql = format!("INSERT INTO {TABLE} ({COLUMNS}) FORMAT RowBinary");
    let mut insert = client.insert_formatted_with(sql);
    insert.send(body).await?;
    Ok(insert.end().await?)
}
