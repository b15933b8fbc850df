//! The demo as a newcomer runs it.

use std::process::Command;

#[test]
fn the_demo_kills_a_worker_and_the_orchestrator_and_charges_once() {
    let demo = Command::new(env!("CARGO_BIN_EXE_demo"))
        .env_remove("EVERSTEP_LOG")
        .output()
        .expect("the demo starts");
    let told = String::from_utf8_lossy(&demo.stdout);
    let errors = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.success(), "{told}\n{errors}");
    assert_eq!(errors, "", "a newcomer sees no logs");
    for part in [
        "the worker is dead",
        "the orchestrator is dead",
        "handed out again",
        "end ",
        "charged once",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
