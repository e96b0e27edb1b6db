//! What befalls ClickHouse and the network in front of it.

use std::time::Duration;

use fastrand::Rng;
use outbox_test::databases::ClickHouseDatabase;
use outbox_test::proxy::{FaultProxy, Mode};
use outbox_test::servers::PrivateClickHouse;
use tokio::time::{Instant, sleep, sleep_until};

use crate::calm::after_calm;
use crate::transaction::millis;

/// How long a black hole swallows everything, in milliseconds.
const BLACK_HOLE: std::ops::Range<u64> = 500..1500;

/// Between two health checks of ClickHouse.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Cuts in turn: refused, in the middle, reply lost, black hole. Returns how many connections were hit; a black hole
/// counts as one.
pub(crate) async fn cut_the_network(proxy: &FaultProxy, mut rng: Rng, until: Instant) -> u64 {
    let mut black_holes = 0;
    for turn in 0.. {
        sleep_until(after_calm(Instant::now() + millis(&mut rng, 100..1_200), until)).await;
        if Instant::now() >= until {
            break;
        }
        match turn % 4 {
            0 => {
                proxy.set(Mode::Refuse);
                sleep(millis(&mut rng, 50..400)).await;
                proxy.set(Mode::Pass);
            }
            1 => proxy.set_once(Mode::CutAfter(rng.u64(1..20_000))),
            2 => proxy.set_once(Mode::LoseReply),
            _ => {
                black_holes += 1;
                proxy.set(Mode::Blackhole);
                sleep(millis(&mut rng, BLACK_HOLE)).await;
                proxy.set(Mode::Pass);
            }
        }
    }
    proxy.set(Mode::Pass);
    proxy.cuts() + black_holes
}

/// SIGKILL and a new start, every few seconds. Returns the running server, and how often it was killed.
pub(crate) async fn crash_clickhouse(
    mut server: PrivateClickHouse,
    database: &ClickHouseDatabase,
    mut rng: Rng,
    until: Instant,
) -> (PrivateClickHouse, u64) {
    let mut crashes = 0;
    loop {
        let next = after_calm(Instant::now() + millis(&mut rng, 2_000..9_000), until);
        while Instant::now() < next && !is_dying(database).await {
            sleep_until(next.min(Instant::now() + LOOK_EVERY)).await;
        }
        if Instant::now() >= until {
            return (server, crashes);
        }
        server.kill();
        crashes += 1;
        sleep(millis(&mut rng, 0..500)).await;
        server.restart().await;
    }
}

/// When it aborts by itself, because a client was killed, it takes up to ten seconds to write down why. A service manager's
/// health check would not wait for that either.
async fn is_dying(database: &ClickHouseDatabase) -> bool {
    database.try_query("SELECT 1").await.is_err_and(|error| error.contains("Code: 236"))
}
