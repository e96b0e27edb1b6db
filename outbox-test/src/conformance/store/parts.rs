//! Parts: frozen, replaced, settled.

use outbox_core::{Route, Store};

use super::steps::{claim, draft, emit, opened, plan, release_now};
use super::{Sample, StoreHarness};

/// By any number of others, under new tokens.
pub async fn a_part_is_replaced_in_one_step<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 10)).await;
    plan(&store, &main, 10).await;
    let first = claim(&store, &main).await;
    let old = store.freeze(&first, vec![draft(0..10)]).await.expect("freezes").remove(0);
    let new = store.replace(&first, old.no, vec![draft(0..5), draft(5..10)]).await.expect("replaces");
    assert!(new.iter().all(|part| part.token != old.token && part.no > old.no && !part.done));
    store.release(&first, &release_now()).await.expect("releases");
    harness.elapse(super::steps::TICK).await;
    let again = claim(&store, &main).await.parts;
    assert_eq!(
        again.iter().map(|part| (part.no, part.done)).collect::<Vec<_>>(),
        [(old.no, true), (new[0].no, false), (new[1].no, false)]
    );
    assert_eq!((&again[1], &again[2]), (&new[0], &new[1]));
}

/// And stay so for the next claim.
pub async fn parts_are_settled_one_by_one<H: StoreHarness>() {
    let (harness, store) = opened::<H>().await;
    let main = Route::default();
    emit(&harness, &Sample::many("k", 4)).await;
    plan(&store, &main, 10).await;
    let first = claim(&store, &main).await;
    store.freeze(&first, vec![draft(0..2), draft(2..4)]).await.expect("freezes");
    store.settle_part(&first, 1).await.expect("settles");
    store.release(&first, &release_now()).await.expect("releases");
    harness.elapse(super::steps::TICK).await;
    let again = claim(&store, &main).await;
    assert_eq!(again.parts.iter().map(|part| part.done).collect::<Vec<_>>(), [false, true]);
    let more = store.freeze(&again, vec![draft(0..1)]).await.expect("freezes");
    assert_eq!(more[0].no, 2, "numbers go on");
}
