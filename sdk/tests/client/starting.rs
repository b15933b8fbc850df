//! Starts that cannot be made.

use std::time::Duration;

use everstep::RunId;
use everstep_common::ids::WorkflowName;
use everstep_memory::Nodes;

use crate::bench::{Bench, for_seeds, local, write};

#[test]
fn a_start_into_a_run_that_holds_entries_but_no_start_says_what_to_do() {
    for_seeds(1, async |seed| {
        let bench = Bench::start(Nodes::One, seed).await;
        let client = bench.client("client").await;
        let run = RunId::keyed(&WorkflowName::new("order").unwrap(), "k", 1);
        write(&client, &run, [local("left")]).await;
        let clock = client.store().clock().clone();
        let began = clock.now();
        let refused = client.start_named("order", None, &().into()).key("k").await;
        let mut error: &dyn std::error::Error = &refused.unwrap_err();
        let mut told = error.to_string();
        while let Some(source) = error.source() {
            told.push_str(&format!(": {source}"));
            error = source;
        }
        assert!(told.contains("was never started and yet holds"), "{told}");
        assert!(told.contains(run.as_str()) && told.contains("another start key"), "{told}");
        let took = clock.now().since(began);
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}
