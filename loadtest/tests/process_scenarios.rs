//! Every scenario, small, as it is run by hand: real processes, a real server, one line of figures.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Runs the load test; the objects that it printed.
fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = command(arguments).arg("--json").stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everstep-loadtest"));
    command.args(arguments);
    command
}

/// The figures of the last line, which must be of a scenario that went well and was really measured.
fn measured(scenario: &str, arguments: &[&str]) -> Value {
    let last = lines(&[&[scenario], arguments].concat()).pop().expect("a line");
    let number = |name: &str| last[name].as_f64().unwrap_or_else(|| panic!("{name} in {last}"));
    assert_eq!((last["scenario"].as_str(), number("failed")), (Some(scenario), 0.0), "{last}");
    assert!(
        number("wall_s") > 0.0 && number("runs_per_s") > 0.0 && number("fdatasync_p50_us") > 0.0,
        "{last}"
    );
    assert!(
        number("p50_ms") <= number("p99_ms") && number("p99_ms") <= number("max_ms"),
        "{last}"
    );
    for role in ["server", "orchestrator", "worker"] {
        assert!(last["rss_mb"][role].as_f64().is_some_and(|mib| mib > 1.0), "{role} in {last}");
    }
    last
}

#[test]
fn the_bare_loop_runs_at_both_durabilities() {
    for durability in ["strict", "relaxed"] {
        let size = [
            "--runs",
            "100",
            "--steps",
            "3",
            "--concurrency",
            "20",
            "--durability",
            durability,
        ];
        let floor = measured("floor", &size);
        assert_eq!(floor["durability"], durability);
        assert!(floor["cpu_s"]["client"].is_null(), "{floor}");
    }
}

#[test]
fn throughput_is_told_beside_the_bare_loop_of_the_same_size() {
    let size = ["--runs", "40", "--steps", "3", "--concurrency", "20", "--rounds", "2"];
    let lines = lines(&[&["throughput"], &size[..]].concat());
    let scenarios: Vec<_> = lines.iter().map(|line| line["scenario"].as_str().unwrap()).collect();
    assert_eq!(scenarios, ["floor", "throughput", "floor", "throughput", "throughput"]);
    assert!(
        lines
            .iter()
            .all(|line| line["runs"] == 40 && line["steps"] == 3 && line["failed"] == 0)
    );
    let last = &lines[4];
    let ratios = last["ratios"].as_array().unwrap();
    assert_eq!(ratios.len(), 2);
    assert!(last["ratio"].as_f64().unwrap() > 0.0);
}

#[test]
fn one_run_at_a_time_local_steps_and_wide_runs_are_measured() {
    measured("latency", &["--runs", "5"]);
    measured("chain", &["--runs", "2", "--steps", "3"]);
    measured("local", &["--runs", "10", "--concurrency", "5"]);
    assert_eq!(measured("batch", &["--items", "100", "--rounds", "1"])["steps"], 100);
    assert_eq!(measured("fanout", &["--runs", "1", "--width", "50"])["steps"], 50);
}

#[test]
fn every_sleeper_wakes_and_none_early() {
    let told = measured("sleepers", &["--runs", "50", "--seconds", "2"]);
    assert_eq!(
        (told["woken"].as_u64(), told["early"].as_u64()),
        (Some(50), Some(0)),
        "{told}"
    );
}

#[test]
fn a_killed_server_loses_and_doubles_nothing() {
    let told = measured("crash", &["--victim", "nats", "--runs", "60", "--kills", "1"]);
    assert_eq!(
        (told["kills"].as_u64(), told["bookings_doubled"].as_u64()),
        (Some(1), Some(0)),
        "{told}"
    );
    assert_eq!(told["bookings"], told["booking_keys"], "{told}");
}

#[test]
fn a_killed_harness_takes_its_processes_along() {
    let mut harness = command(&["sleepers", "--runs", "1", "--seconds", "600"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // nats-server, its watchdog, the orchestrator, the worker and the client.
    let children = wait_for(|| Some(descendants(harness.id())).filter(|found| clients(found) == 1));
    assert!(children.len() >= 4, "{children:?}");
    kill(&mut harness);
    wait_for(|| children.iter().all(|pid| !is_alive(*pid)).then_some(()));
}

fn kill(harness: &mut Child) {
    harness.kill().unwrap();
    harness.wait().unwrap();
}

/// Waits until `look` sees something.
fn wait_for<T>(look: impl Fn() -> Option<T>) -> T {
    #[expect(clippy::disallowed_methods, reason = "a test of processes has no Clock port")]
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "not seen in time");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn clients(pids: &BTreeSet<u32>) -> usize {
    let is_client = |pid: &&u32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').nth(2) == Some("client") && line.contains("Sleeper")
    };
    pids.iter().filter(is_client).count()
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('Z'));
    state == Some(false)
}

/// The processes below `root`.
fn descendants(root: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for child in children(parent) {
            if found.insert(child) {
                parents.push(child);
            }
        }
    }
    found
}

fn children(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(Path::new("/proc").join(parent.to_string()).join("task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}
