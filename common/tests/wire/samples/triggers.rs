//! What triggers keep, and the events that reach runs.

use std::time::Duration;

use everstep_common::event::{Event, EventName, RefusedEvent};
use everstep_common::ids::WorkflowName;
use everstep_common::journal::{Entry, Inbound, InboundKind};
use everstep_common::subscription::{EventPlace, Matching, Subscription};
use everstep_common::trigger::registration::{Registration, ScheduleRecord};
use everstep_common::trigger::{Batch, EventTrigger, Input, Misfire, Overlap, RunTerms, TermText, Trigger};

use super::{Sample, entry, inline, process, run, stored, time, value};

fn workflow() -> WorkflowName {
    WorkflowName::new("order").unwrap()
}

pub(super) fn triggers() -> Vec<Sample> {
    let least = Trigger::event("order.placed");
    let most = EventTrigger {
        filter: Some("cents > 0".into()),
        input: Input::Path("data.object".into()),
        dedupe: Some("id".into()),
        delay: Some(Duration::from_secs(5)),
        batch: Some(Batch {
            window: Duration::from_secs(10),
            max: 100,
        }),
        ..least.clone()
    };
    let mut hourly = Trigger::cron("cron", "@hourly");
    let mut nightly = Trigger::cron("nightly", "0 3 * * *");
    nightly.time_zone = "Europe/Berlin".into();
    (nightly.overlap, nightly.misfire) = (Overlap::Skip, Misfire::FireAll);
    nightly.input = Input::Fixed("7".into());
    hourly.input = Input::Nothing;
    let triggers = [
        Trigger::Event(least),
        Trigger::Event(most),
        Trigger::Cron(hourly.clone()),
        Trigger::Cron(nightly.clone()),
    ];
    let terms = |text: fn(String) -> TermText| RunTerms {
        limit_key: Some(text("shop".into())),
        session: Some(text("visitor".into())),
        priority: -3,
        deadline: Some(Duration::from_secs(600)),
        tags: [("tenant".to_owned(), "acme".to_owned())].into(),
    };
    let mut yearly = Trigger::cron("cron", "@yearly");
    yearly.terms = terms(TermText::Fixed);
    let visited = EventTrigger {
        terms: terms(TermText::Path),
        ..Trigger::event("shop.visited")
    };
    let termed = [Trigger::Event(visited), Trigger::Cron(yearly.clone())];
    let termed = Registration::renewed(None, workflow(), 3, &termed, 70_000, process());
    let begun_under_terms = ScheduleRecord::new(workflow(), 1, yearly);
    let nothing = Registration::renewed(None, workflow(), 1, &[], 0, process());
    let registration = Registration::renewed(None, workflow(), 3, &triggers, 70_000, process());
    let begun = ScheduleRecord::new(workflow(), 1, hourly);
    let paused = ScheduleRecord {
        paused: true,
        reason: Some("a holiday".into()),
        decided: Some(time()),
        pending: vec![time()],
        last_run: Some(run()),
        last_time: Some(time()),
        skipped: 4,
        ..ScheduleRecord::new(workflow(), 3, nightly)
    };
    let refused = RefusedEvent {
        workflow: workflow(),
        event: "order.placed".into(),
        sequence: 70_000,
        reason: "its body is not JSON".into(),
    };
    vec![
        value("registration.nothing", nothing),
        value("registration", registration),
        value("schedule.begun", begun),
        value("schedule.paused", paused),
        value("registration.terms", termed),
        value("schedule.terms", begun_under_terms),
        value("refused_event", refused),
    ]
}

pub(super) fn heard() -> Vec<Sample> {
    let subscription = |matching| Subscription {
        event: EventName::new("order.paid").unwrap(),
        matching,
    };
    let inbound = |what, value| {
        let place = EventPlace {
            stream: time(),
            sequence: 70_000,
            time: time(),
        };
        Entry::In(Inbound {
            kind: InboundKind::Event { what, place, value },
            by: None,
            reason: None,
        })
    };
    let by_order = Matching {
        path: "order.id".into(),
        value: "o-1".into(),
    };
    let least = Event {
        name: EventName::new("order.paid").unwrap(),
        id: None,
        source: None,
        time: time(),
        sequence: 70_000,
        traceparent: None,
        data: serde_json::Value::Null,
    };
    let most = Event {
        id: Some("p-1".into()),
        source: Some("everstep/run".into()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        data: "paid".into(),
        ..least.clone()
    };
    vec![
        entry!(
            "in.event",
            "in.event.order=2Epaid.=7Cp-1",
            inbound(subscription(None), inline())
        ),
        entry!(
            "in.event_stored",
            "in.event.order=2Epaid.=7Cp-1",
            inbound(subscription(Some(by_order)), stored("event"))
        ),
        value("event.minimal", least),
        value("event.full", most),
    ]
}
