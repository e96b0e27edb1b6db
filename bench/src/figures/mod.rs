//! What is measured, a kind of figure per file.

mod backlog;
mod contest;
mod drain;
mod latency;
mod micro;
mod producer;
mod service;
mod stores;

pub(crate) use self::micro::encode_events;
use crate::place::Place;
use crate::report::Report;
use crate::size::Size;
use crate::{Result, What};

/// Measures what is wanted.
pub(crate) async fn all(size: &Size, what: &[What], report: &mut Report) -> Result<()> {
    let wanted = |this: What| what.contains(&What::All) || what.contains(&this);
    if wanted(What::Micro) {
        micro::measure(size, report)?;
    }
    if what == [What::Micro] {
        return Ok(());
    }
    let place = Place::prepare().await?;
    if wanted(What::Latency) {
        latency::measure(&place, size, report).await?;
    }
    if wanted(What::Producer) {
        producer::measure(&place, size, report).await?;
    }
    if wanted(What::Drain) {
        drain::measure(&place, size, report).await?;
    }
    if wanted(What::Backlog) {
        backlog::measure(&place, size, report).await?;
    }
    if wanted(What::Stores) {
        stores::measure(&place, size, report).await?;
    }
    Ok(())
}
