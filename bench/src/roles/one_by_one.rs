//! As the published Rust outboxes deliver: a page of pending rows, and for each a send and a mark.

use super::rows::{COLUMNS, Delivery};
use super::{At, go};
use crate::Result;
use crate::place::connect;

const PAGE: i64 = 100;

pub(super) async fn play(url: &str, to: At) -> Result<u64> {
    let client = connect(url).await?;
    let delivery = Delivery::to(Some(to));
    let page = format!("SELECT {COLUMNS} FROM bench_queue q ORDER BY q.seq LIMIT $1");
    let page = client.prepare(&page).await?;
    let delete = client.prepare("DELETE FROM bench_queue WHERE seq = $1").await?;
    go().await?;
    let mut events = 0;
    loop {
        let pending = client.query(&page, &[&PAGE]).await?;
        if pending.is_empty() {
            return Ok(events);
        }
        for row in &pending {
            delivery.insert(std::slice::from_ref(row)).await?;
            client.execute(&delete, &[&row.get::<_, i64>(0)]).await?;
            events += 1;
        }
    }
}
