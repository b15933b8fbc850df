//! Limits, who uses them, and the terms of starts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use everstep_common::flow::{Demand, KeyMark, Limit, Rate, Setting, Slot, Usage};
use everstep_common::ids::{Partition, WorkflowName};
use everstep_common::journal::{Entry, Fired, Start, StartTerms};
use everstep_common::key::StepKey;
use everstep_common::payload::Payload;
use everstep_common::summary::RunStatus;

use super::records::summary;
use super::{Sample, digest, entry, run, time, value};

/// Starts that say when, and the timers of runs.
pub(super) fn terms() -> Vec<Sample> {
    let start = |terms| {
        Entry::Start(Start {
            workflow: WorkflowName::new("order").unwrap(),
            version: None,
            input: Payload::unit(),
            digest: digest(),
            start_key: None,
            session: None,
            parent: None,
            tags: BTreeMap::new(),
            traceparent: None,
            terms,
            continues: None,
            listens_from: None,
            listened: Vec::new(),
        })
    };
    let later = StartTerms {
        delay: Some(Duration::from_millis(1_500)),
        deadline: Some(Duration::from_secs(3_600)),
        priority: -7,
        key: None,
    };
    let of_key = StartTerms {
        key: Some("customer 7".into()),
        ..StartTerms::default()
    };
    vec![
        entry!("start.terms", "start", start(later)),
        entry!("start.key", "start", start(of_key)),
        entry!("timer.begin", "timer.=start", Entry::Timer(Fired { due: time() })),
        entry!("timer.wait", "timer.=wait", Entry::Timer(Fired { due: time() })),
        value("summary.scheduled", summary(RunStatus::Scheduled)),
    ]
}

pub(super) fn limits() -> Vec<Sample> {
    let limit = Limit {
        concurrency: Some(20),
        per_key: Some(2),
        rate: Some(Rate::new(100, Duration::from_secs(1)).unwrap()),
        per_key_rate: None,
    };
    let five_a_minute = Rate::new(5, Duration::from_secs(60)).unwrap();
    let of_key = Limit {
        per_key_rate: Some(five_a_minute),
        ..Limit::NONE
    };
    let mut paced = Usage::default();
    paced.paces.begin(KeyMark::of("customer 7"), five_a_minute, time());
    let slot = |key: Option<&str>| Slot {
        run: run(),
        step: StepKey::from_path("charge~2"),
        attempt: 3,
        key: key.map(str::to_owned),
        started: None,
    };
    let of_run = Usage {
        slots: BTreeSet::from([Slot {
            started: Some(time()),
            ..slot(Some("customer 7"))
        }]),
        ..Usage::default()
    };
    let demand = Demand {
        count: 7,
        priority: -3,
        since: time(),
    };
    let usage = Usage {
        slots: BTreeSet::from([slot(None), slot(Some("customer 7"))]),
        waiting: BTreeMap::from([(Partition(5), demand)]),
        next: Some(time()),
        given: 70_000,
        ..Usage::default()
    };
    let declared = Usage {
        code: Some(of_key),
        ..Usage::default()
    };
    vec![
        value("limit.setting", Setting::new(Some(limit))),
        value("limit.setting.key_rate", Setting::new(Some(of_key))),
        value("limit.setting.none", Setting::new(Some(Limit::NONE))),
        value("limit.setting.removed", Setting::new(None)),
        value("limit.usage", usage),
        value("limit.usage.code", declared),
        value("limit.usage.paced", paced),
        value("limit.usage.run", of_run),
        value("limit.usage.nobody", Usage::default()),
    ]
}
