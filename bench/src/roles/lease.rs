//! A column that says until when a row is taken: no transaction is open while rows are delivered.

use super::rows::{COLUMNS, Delivery};
use super::{At, go};
use crate::Result;
use crate::place::connect;

pub(super) async fn play(url: &str, rows: i64, to: Option<At>) -> Result<u64> {
    let client = connect(url).await?;
    let delivery = Delivery::to(to);
    let take = format!(
        "UPDATE bench_queue q SET leased_until = now() + interval '30 s' FROM ( \
            SELECT seq FROM bench_queue WHERE leased_until < now() ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED) free \
         WHERE q.seq = free.seq RETURNING {COLUMNS}"
    );
    let take = client.prepare(&take).await?;
    let delete = client.prepare("DELETE FROM bench_queue WHERE seq = ANY ($1)").await?;
    go().await?;
    let mut events = 0;
    loop {
        let taken = client.query(&take, &[&rows]).await?;
        if taken.is_empty() {
            return Ok(events);
        }
        delivery.insert(&taken).await?;
        let seqs: Vec<i64> = taken.iter().map(|row| row.get(0)).collect();
        client.execute(&delete, &[&seqs]).await?;
        events += taken.len() as u64;
    }
}
