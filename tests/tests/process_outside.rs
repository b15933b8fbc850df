//! kill -9 among runs that wait for people and signals: each word counts once, whoever dies before, while and after it is said.

use std::future::Future;
use std::path::Path;

use everstep::{Client, ClientError, PayloadHash, RunId};
use everstep_examples::approval::{Reviewed, approval_workflow};
use everstep_examples::onboarding::{Onboarded, onboard_customer};
use everstep_tests::processes::{DEADLINE, Fleet, Seed, Victim, returned, reviewed_order, until};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join, join_all};

const BINARY: &str = env!("CARGO_BIN_EXE_everstep-test-app");

const KILLS: usize = 6;

/// Runs of each workflow to which people speak around one kill.
const AT_A_TIME: usize = 6;

/// Says it until it is acknowledged; what is not asked yet is asked later.
async fn said<F: Future<Output = Result<(), ClientError>>>(say: impl Fn() -> F) {
    until("a word is taken", async || match say().await {
        Ok(()) => true,
        Err(
            error @ (ClientError::Answered { .. }
            | ClientError::Withdrawn { .. }
            | ClientError::Expired { .. }
            | ClientError::Refused { .. }
            | ClientError::Ambiguous { .. }
            | ClientError::SignalConflict { .. }
            | ClientError::Misfit { .. }),
        ) => panic!("{error}"),
        Err(_) => false,
    })
    .await;
}

fn yes(to: &str) -> PayloadHash {
    PayloadHash::of_canonical(to.as_bytes())
}

/// Allowed, paid with 50, and thanked for with five letters.
async fn review(client: Client, run: RunId) {
    said(|| client.approve(&run, "charging", yes("100"), "ada")).await;
    // Whoever dies: saying it twice is as good as once.
    said(|| client.signal(&run, "paid", "payment", &50_u64)).await;
    said(|| client.signal(&run, "paid", "payment", &50_u64)).await;
    said(|| client.answer(&run, "thanks", "merci", "bob")).await;
    assert_eq!(returned::<u64>(&client, &run).await, 100 + 50 + 5);
}

async fn decide_on_order(client: Client, run: RunId, fulfil: bool) {
    let word = if fulfil { "approve" } else { "reject" };
    said(|| client.answer(&run, "approve-order", word, "ada")).await;
    let reviewed = returned::<Reviewed>(&client, &run).await;
    assert_eq!(reviewed.by.as_deref(), Some("ada"));
    assert_eq!((reviewed.status == "fulfilled", reviewed.parcel.is_some()), (fulfil, fulfil));
}

async fn decide_on_letter(client: Client, run: RunId, send: bool) {
    let letter = yes(r#"["acme","Dear acme, how about Tuesday?"]"#);
    if send {
        said(|| client.approve(&run, "outreach", letter, "ada")).await;
    } else {
        said(|| client.reject(&run, "outreach", letter, "ada")).await;
    }
    let onboarded = returned::<Onboarded>(&client, &run).await;
    assert_eq!((onboarded.status == "sent", onboarded.message.is_some()), (send, send));
}

/// Starts the runs of which the people speak around that kill.
async fn start(client: &Client, kill: usize) -> Vec<LocalBoxFuture<'static, ()>> {
    let mut people = Vec::new();
    for number in kill * AT_A_TIME..(kill + 1) * AT_A_TIME {
        let even = number.is_multiple_of(2);
        let reviewed = client.start(reviewed_order, 100).key(format!("reviewed {number}"));
        let ordered = client
            .start(approval_workflow, format!("o-{number}"))
            .key(format!("order {number}"));
        let greeted = client
            .start(onboard_customer, "acme".to_owned())
            .key(format!("customer {number}"));
        let reviewed = reviewed.await.expect("a start").id().clone();
        let ordered = ordered.await.expect("a start").id().clone();
        let greeted = greeted.await.expect("a start").id().clone();
        people.push(review(client.clone(), reviewed).boxed_local());
        people.push(decide_on_order(client.clone(), ordered, even).boxed_local());
        people.push(decide_on_letter(client.clone(), greeted, even).boxed_local());
    }
    people
}

/// All runs wait from the start on, so most of them through several kills; somewhere between the words to some of them comes the next one.
async fn survives(mut victim: impl FnMut(&mut Seed) -> Victim) {
    let mut fleet = Fleet::start(Path::new(BINARY), 2, 2).await.expect("a fleet");
    let mut seed = Seed::from_environment();
    let mut people = Vec::new();
    for kill in 0..KILLS {
        people.push(start(&fleet.client, kill).await);
    }
    for spoken in people {
        let goal = fleet.ledger.mutations() + seed.below(2 * AT_A_TIME as u64) as usize;
        let kill = fleet.kill_at(goal, victim(&mut seed), &mut seed);
        let ended = tokio::time::timeout(2 * DEADLINE, join(join_all(spoken), kill)).await;
        ended.expect("no run is lost");
    }
    assert_eq!(fleet.ledger.mutations_of("charge"), KILLS * AT_A_TIME, "one for each yes");
    assert_eq!(fleet.ledger.mutations_of("confirm"), KILLS * AT_A_TIME);
}

everstep_tests::kills_change_nothing!(survives);
