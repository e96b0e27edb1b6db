//! What most people write: lock the oldest rows that nobody else has, deliver them, delete them, in one transaction.

use super::rows::{COLUMNS, Delivery};
use super::{At, go};
use crate::Result;
use crate::place::connect;

pub(super) async fn play(url: &str, rows: i64, to: Option<At>) -> Result<u64> {
    let mut client = connect(url).await?;
    let delivery = Delivery::to(to);
    let select = format!("SELECT {COLUMNS} FROM bench_queue q ORDER BY q.seq LIMIT $1 FOR UPDATE SKIP LOCKED");
    let select = client.prepare(&select).await?;
    let delete = client.prepare("DELETE FROM bench_queue WHERE seq = ANY ($1)").await?;
    go().await?;
    let mut events = 0;
    loop {
        let transaction = client.transaction().await?;
        let taken = transaction.query(&select, &[&rows]).await?;
        if taken.is_empty() {
            return Ok(events);
        }
        delivery.insert(&taken).await?;
        let seqs: Vec<i64> = taken.iter().map(|row| row.get(0)).collect();
        transaction.execute(&delete, &[&seqs]).await?;
        transaction.commit().await?;
        events += taken.len() as u64;
    }
}
