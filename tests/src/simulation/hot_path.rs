//! What a run costs in calls of the port once everything is warm: nothing on its way lists keys, reads a run back, asks about a stream or a
//! consumer, or makes one.

use std::collections::BTreeMap;
use std::time::Duration;

use everstep::Client;
use everstep_memory::Call;
use futures::FutureExt;

use super::clients::CLIENT;
use super::scenarios::{Scenario, expect_completed, scenario, usual};
use super::shop;
use super::world::World;

impl Scenario {
    /// A second order, when the first one has shown everybody everything. Wants a connection for each thread.
    pub const SECOND_ORDER: Self = scenario!(second_order);
}

/// How many of each call.
type Calls = BTreeMap<Call, u64>;

/// Until everybody has looked around: longer than what is done once after a start, and than what follows a run at a distance.
const SETTLED: Duration = Duration::from_secs(30);

/// What may be asked of the server for an order of three steps and a sleep, by connection; nothing else, and no more of it. A little is for
/// what comes with the time: the cursor, the marks of the task streams, a pull that has lasted its time.
const ALLOWED: [(&str, &[(Call, u64)]); 4] = [
    // Three tasks, a schedule, the timer's firing, the end, two summaries.
    (
        "orchestrator-1-partition-0",
        &[
            (Call::Publish, 8 + 2),
            (Call::GetLast, 1),
            (Call::PullNext, 1 + 1),
            (Call::Ack, 1),
        ],
    ),
    // Four renewals a second while the run lasts.
    ("orchestrator-1-leases", &[(Call::Publish, 12), (Call::GetLast, 2)]),
    (
        "worker-1",
        &[
            (Call::Publish, 3),
            (Call::PullNext, 3 + 2),
            (Call::Ack, 3),
            (Call::GetLast, 1),
        ],
    ),
    // The start; the end is pushed, and read then.
    (CLIENT, &[(Call::Publish, 1), (Call::Subscribe, 1), (Call::GetLast, 1)]),
];

async fn second_order(world: World) {
    usual(&world);
    let first = world.start(shop::order, "o-1".to_owned(), "first").await;
    expect_completed(&world, &first).await;
    world.pass(SETTLED).await;
    let before = calls(&world);
    let order = async |client: &Client| {
        let started = client.start(shop::order, "o-2".to_owned()).key("second").await;
        started.expect("nothing goes wrong").result().await
    };
    world.client(order).await.expect("a charge");
    for (connection, made) in calls(&world) {
        let made = since(&made, before.get(&connection));
        let allowed = ALLOWED.iter().find(|(name, _)| *name == connection);
        let most = |call| {
            let most = allowed.and_then(|(_, most)| most.iter().find(|(allowed, _)| *allowed == call));
            most.map_or(0, |(_, most)| *most)
        };
        let too_much = made.iter().find(|(call, count)| **count > most(**call));
        assert_eq!(too_much, None, "{connection} made these calls for one run: {made:?}");
    }
}

/// The calls of each connection so far.
fn calls(world: &World) -> BTreeMap<String, Calls> {
    let connections = world.0.brokers.borrow();
    let calls = connections.keys().map(|name| (name.clone(), world.server().calls(name)));
    calls.collect()
}

fn since(now: &Calls, before: Option<&Calls>) -> Calls {
    let before = |call| before.and_then(|before| before.get(call)).copied().unwrap_or(0);
    let made = now.iter().map(|(call, count)| (*call, count - before(call)));
    made.filter(|(_, count)| *count > 0).collect()
}
